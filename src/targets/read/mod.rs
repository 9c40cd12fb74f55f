//! Reads input files into [`Inputs`]: every line with its status, file and number, in bounded memory.
//!
//! ```text
//! path -> open: bytes, decompressed -> text: UTF-8, \n -> lines | table: rows -> clean -> InputsBuilder
//! ```
//!
//! Files are streamed: memory holds a buffer, a line, and what [`Inputs`] stores of each line. A line that is too long
//! is cut and rejected; exceeding a limit on the whole input is an error.

mod domain_column;
mod error;
mod head;
mod input_reader;
mod open;
mod packed;
mod table;
mod text;

use std::{borrow::Cow, io::Read, path::PathBuf};

use encoding_rs::Encoding;

pub use self::error::InputError;
use self::input_reader::InputReader;
pub use self::packed::PackedFormat;
use super::{Accept, Inputs, InputsBuilder};

/// The path that means standard input.
const STANDARD_INPUT: &str = "-";

#[derive(Clone, Debug, Default)]
pub struct ReadOptions {
    /// The column of CSV and TSV files with the domains; by default the first of `domain`, `target`, `url`, `website`
    /// and `host` that a file has.
    pub column: Option<String>,
    pub accept: Accept,
    /// The format of standard input and of files whose name does not show it.
    pub format: InputFormat,
    /// The encoding of files without a byte order mark; by default UTF-8.
    pub encoding: Option<&'static Encoding>,
}

/// The format of a file whose name does not show it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum InputFormat {
    /// A table if its first line is a header, otherwise a list.
    #[default]
    Auto,
    /// One domain a line.
    Txt,
    /// A table with cells separated by commas, semicolons, tabs or vertical bars.
    Csv,
    /// A table with cells separated by tabs.
    Tsv,
}

/// Limits on all files together.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Decompressed bytes, including comments and blanks: a compressed file can contain many thousand times its size.
    read: u64,
    /// Stored lines: about a gigabyte of memory.
    lines: usize,
    /// Bytes of stored text.
    text: usize,
}

impl Limits {
    const USUAL: Self = Self { read: 16 << 30, lines: 10_000_000, text: InputsBuilder::MAX_TEXT_BYTES };
}

/// Reads files of domains; `-` stands for `stdin`.
///
/// A `.csv` or `.tsv` file is a table with a header; one column contains the domains, the others are stored with each
/// line. A `.txt` file has one domain a line; `#`, at the beginning or after a blank, starts a comment. The format of
/// other files and of standard input is set by `options` or recognized by the first lines. All may be compressed with
/// gzip or zstd, and are in UTF-8, in UTF-16 with a byte order mark, or in the encoding of `options`.
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
    let mut reader = InputReader::new(limits, options);
    for path in paths {
        let opened = if path.as_os_str() == STANDARD_INPUT {
            open::decompressed(path, stdin.take().ok_or(InputError::StandardInputAgain)?)?
        } else {
            open::file(path)?
        };
        reader.read(path, opened)?;
    }
    reader.finish(paths)
}

/// The text with control characters replaced, cut to `max_length` characters.
fn safe(text: &str, max_length: usize) -> Cow<'_, str> {
    let end = text.char_indices().nth(max_length).map_or(text.len(), |(index, _)| index);
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
