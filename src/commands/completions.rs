//! `completions`: shell completions made from the definition of the command line.

use super::{Failure, definition, exit, man::PROGRAM, print};

pub(super) fn completions(shell: clap_complete::Shell) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut definition(), PROGRAM, &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(exit::SUCCESS)
}
