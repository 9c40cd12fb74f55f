//! `completions` and `man`: what is derived from the command line's definition.

use super::{Failure, definition, exit, print};

pub(super) fn completions(shell: clap_complete::Shell) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut definition(), "backlinks-export", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(exit::SUCCESS)
}

pub(super) fn man() -> Result<u8, Failure> {
    let mut page = Vec::new();
    clap_mangen::Man::new(definition()).render(&mut page).map_err(Failure::unexpected)?;
    print(&String::from_utf8_lossy(&page))?;
    Ok(exit::SUCCESS)
}
