//! Arguments in, exit code out; the only exit of the program.

use std::process::ExitCode;

fn main() -> ExitCode {
    backlinks_export::commands::main()
}
