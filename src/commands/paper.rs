//! `completions` and `man`: what is derived from the command line's definition.

use std::{fs, path::Path};

use super::{Failure, definition, exit, print};
use crate::cli::ManArgs;

/// The name under which the program's own page is found.
const PROGRAM: &str = "backlinks-export";

pub(super) fn completions(shell: clap_complete::Shell) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut definition(), PROGRAM, &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(exit::SUCCESS)
}

pub(super) fn man(arguments: &ManArgs) -> Result<u8, Failure> {
    let mut definition = definition();
    definition.build();
    if let Some(dir) = &arguments.out {
        return write_all(&definition, dir);
    }
    let of = arguments.command.as_ref().and_then(|name| definition.find_subcommand(name));
    print(&String::from_utf8_lossy(&page(of.unwrap_or(&definition))?))?;
    Ok(exit::SUCCESS)
}

fn page(command: &clap::Command) -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page).map_err(Failure::unexpected)?;
    Ok(page)
}

/// A file for the program and for each command, as `man` looks for them.
fn write_all(definition: &clap::Command, dir: &Path) -> Result<u8, Failure> {
    let fails = |path: &Path, error| Failure::unexpected(format!("cannot write {}: {error}", path.display()));
    fs::create_dir_all(dir).map_err(|error| fails(dir, error))?;
    for command in std::iter::once(definition).chain(definition.get_subcommands()) {
        let name = command.get_display_name().unwrap_or(PROGRAM);
        let path = dir.join(format!("{name}.1"));
        fs::write(&path, page(command)?).map_err(|error| fails(&path, error))?;
    }
    Ok(exit::SUCCESS)
}
