//! Arguments in, exit code out; the only exit of the program.

use std::{hint::black_box, process::ExitCode};

/// Larger than what answers and row groups usually need, smaller than what a hostile answer makes the program hold.
const LARGE_BLOCK: usize = 4 << 20;

fn main() -> ExitCode {
    // Once glibc has seen a large block freed, it takes blocks of that size as ordinary and keeps up to twice as much
    // freed memory for what comes next. Until then it gives every answer's buffers back to the system and asks for
    // them again, page by page, which costs a tenth of the publishing. The block itself is never touched.
    drop(black_box(Vec::<u8>::with_capacity(LARGE_BLOCK)));
    backlinks_export::commands::main()
}
