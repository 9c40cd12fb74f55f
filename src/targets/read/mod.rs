//! Input files to [`Inputs`]: every line, judged, with its file and number, in bounded memory.
//!
//! ```text
//! path -> open: bytes, decompressed -> text: UTF-8, \n -> lines | table: rows -> clean -> InputsBuilder
//! ```
//!
//! A file is a stream: whatever its size, what is held is a buffer, a line, and what [`Inputs`] keeps of each line. A
//! line that nobody can have meant is cut and rejected, not an error; a limit on the whole is. An error ends the
//! reading, and comes before anything is paid for.

mod columns;
mod error;
mod gather;
mod head;
mod open;
mod packed;
mod table;
mod text;

use std::{borrow::Cow, io::Read, path::PathBuf};

use encoding_rs::Encoding;

pub use self::error::InputError;
use self::gather::Gathering;
pub use self::packed::PackedFormat;
use super::{Accept, Inputs, InputsBuilder};

/// The path that stands for standard input.
const STANDARD_INPUT: &str = "-";

#[derive(Clone, Debug, Default)]
pub struct ReadOptions {
    /// The column of CSV and TSV files that holds the domains; else the first of `domain`, `target`, `url`, `website`
    /// and `host` that a file has.
    pub column: Option<String>,
    /// What counts as a target.
    pub accept: Accept,
    /// What standard input and files without a telling name are.
    pub format: InputFormat,
    /// The encoding of files without a byte order mark; else UTF-8.
    pub encoding: Option<&'static Encoding>,
}

/// What a file is whose name does not say so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum InputFormat {
    /// A table if its first line is a header, else a list.
    #[default]
    Auto,
    /// One domain a line.
    Txt,
    /// A table with commas, semicolons, tabs or vertical bars between cells.
    Csv,
    /// A table with tabs between cells.
    Tsv,
}

/// Limits on all files together.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Decompressed bytes, comments and blanks included: a compressed file can hold many thousand times its size.
    read: u64,
    /// Lines that are kept: some gigabyte of memory.
    lines: usize,
    /// Bytes of text that are kept.
    text: usize,
}

impl Limits {
    const USUAL: Self = Self { read: 16 << 30, lines: 10_000_000, text: InputsBuilder::MOST_TEXT };
}

/// Reads files of domains; `-` stands for `stdin`.
///
/// A `.csv` or `.tsv` file is a table with a header, of which one column holds the domains and the others are kept with
/// each line. A `.txt` file holds one domain a line; there `#`, at the beginning or after a blank, begins a comment. Of
/// other names and of standard input, `options` or the first line shows which they are. All may be compressed with gzip
/// or zstd. They are in UTF-8, in UTF-16 with a byte order mark, or in the encoding that `options` names.
pub fn read(paths: &[PathBuf], stdin: impl Read, options: &ReadOptions) -> Result<Inputs, InputError> {
    read_within(Limits::USUAL, paths, stdin, options)
}

fn read_within(
    limits: Limits,
    paths: &[PathBuf],
    stdin: impl Read,
    options: &ReadOptions,
) -> Result<Inputs, InputError> {
    let mut stdin = Some(stdin);
    let mut gathering = Gathering::new(limits, options);
    for path in paths {
        let opened = if path.as_os_str() == STANDARD_INPUT {
            open::decompressed(path, stdin.take().ok_or(InputError::StandardInputAgain)?)?
        } else {
            open::file(path)?
        };
        gathering.read(path, opened)?;
    }
    gathering.finish(paths)
}

/// A text that no terminal obeys and no list breaks at: control characters replaced, cut to `longest` characters.
fn safe(text: &str, longest: usize) -> Cow<'_, str> {
    let end = text.char_indices().nth(longest).map_or(text.len(), |(index, _)| index);
    let mut safe = Cow::from(&text[..end]);
    if safe.contains(char::is_control) {
        safe = safe.replace(char::is_control, "\u{fffd}").into();
    }
    if end < text.len() {
        safe.to_mut().push('…');
    }
    safe
}

#[cfg(test)]
mod tests;
