//! Arguments in, exit code out; the only exit of the program.

use std::{hint::black_box, process::ExitCode};

/// Larger than the usual buffers of answers and row groups, smaller than what a hostile answer can make the program
/// allocate.
const LARGE_BLOCK: usize = 4 << 20;

fn main() -> ExitCode {
    // Once glibc has seen a large block freed, it treats blocks of that size as ordinary and keeps up to twice as much
    // freed memory for reuse. Until then it returns the buffers of every answer to the system and requests them again,
    // page by page, which takes a tenth of the publishing time. The block itself is never touched.
    drop(black_box(Vec::<u8>::with_capacity(LARGE_BLOCK)));
    backlinks_export::commands::main()
}
