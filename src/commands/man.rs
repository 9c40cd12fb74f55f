//! `man`: pages made from the definition of the command line.

use std::{fs, io, path::Path};

use super::{Failure, definition, exit, print};
use crate::cli::ManArgs;

pub(super) const PROGRAM: &str = "backlinks-export";

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

/// Headings in the text below the flags that become sections of a page.
const HEADINGS: [&str; 3] = ["Examples:", "Exit codes:", "Files in DIR:"];
/// The section of text below the flags that has no heading.
const UNTITLED: &str = "Examples:";

fn page(command: &clap::Command) -> Result<Vec<u8>, Failure> {
    // Otherwise flags that the short help leaves out have no description.
    let command = command.clone().mut_args(|argument| argument.hide_short_help(false));
    let man = clap_mangen::Man::new(command.clone()).source(concat!("backlinks-export ", env!("CARGO_PKG_VERSION")));
    let mut page = Vec::new();
    sections(&man, &command, &mut page).map_err(Failure::unexpected)?;
    Ok(page)
}

fn sections(man: &clap_mangen::Man, command: &clap::Command, out: &mut Vec<u8>) -> io::Result<()> {
    man.render_title(out)?;
    man.render_name_section(out)?;
    man.render_synopsis_section(out)?;
    man.render_description_section(out)?;
    man.render_options_section(out)?;
    if command.has_subcommands() {
        man.render_subcommands_section(out)?;
    }
    if let Some(text) = command.get_after_long_help().or_else(|| command.get_after_help()) {
        out.extend_from_slice(below_flags(&text.to_string()).as_bytes());
    }
    if command.get_version().is_some() {
        man.render_version_section(out)?;
    }
    Ok(())
}

/// The text below the flags as sections with its lines as they are. The generator would join them under `EXTRA`.
fn below_flags(text: &str) -> String {
    let is_heading = |line: &str| HEADINGS.contains(&line);
    // Text before the first heading is about the flags, unless there is no heading at all.
    let untitled = if text.lines().any(is_heading) { "Notes:" } else { UNTITLED };
    let mut page = String::new();
    let mut lines = text.lines().peekable();
    while let Some(first) = lines.peek() {
        let heading = if is_heading(first) { lines.next().unwrap_or_default() } else { untitled };
        page.push_str(".SH \"");
        page.push_str(&heading.trim_end_matches(':').to_uppercase());
        page.push_str("\"\n.nf\n");
        while let Some(line) = lines.next_if(|line| !is_heading(line)) {
            page.push_str(&verbatim(line));
        }
        page.push_str(".fi\n");
    }
    page
}

/// Escapes a line so that `man` shows it as it is.
fn verbatim(line: &str) -> String {
    let guard = if line.starts_with(['.', '\'']) { "\\&" } else { "" };
    let escaped = line.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
    format!("{guard}{escaped}\n")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_every_command_has_the_version_and_a_description_of_every_visible_flag() {
        let mut definition = definition();
        definition.build();
        for command in std::iter::once(&definition).chain(definition.get_subcommands()) {
            let page = String::from_utf8(page(command).expect("a page")).expect("text");
            let lines: Vec<&str> = page.lines().collect();
            let version = concat!("\"backlinks-export ", env!("CARGO_PKG_VERSION"), "\"");
            assert!(lines.iter().any(|line| line.starts_with(".TH") && line.contains(version)), "{page}");
            assert!(!page.contains("EXTRA"), "{page}");
            for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
                let name = match argument.get_long() {
                    Some(long) => format!("\\fB\\-\\-{}\\fR", long.replace('-', "\\-")),
                    None => format!("\\fI{}\\fR", argument.get_value_names().expect("a name")[0]),
                };
                let described = lines.windows(3).any(|lines| {
                    let text = lines[2].starts_with(|first: char| first.is_alphanumeric() || first == '`');
                    lines[0] == ".TP" && lines[1].contains(&name) && text
                });
                assert!(described, "{} {name}:\n{page}", command.get_name());
            }
        }
    }

    #[test]
    fn a_page_shows_its_examples_verbatim() {
        let text = "Takes more.\n\nExamples:\n  a --b\n.c\n\nExit codes:\n  0  'fine'\\";
        let sections = ".SH \"NOTES\"\n.nf\nTakes more.\n\n.fi\n.SH \"EXAMPLES\"\n.nf\n  a \\-\\-b\n\\&.c\n\n.fi\n\
                        .SH \"EXIT CODES\"\n.nf\n  0  \\(aqfine\\(aq\\e\n.fi\n";
        assert_eq!(below_flags(text), sections);
        assert_eq!(below_flags("Try it:\n  a"), ".SH \"EXAMPLES\"\n.nf\nTry it:\n  a\n.fi\n");
    }
}
