//! The errors of reading input files, with hints.

use std::{
    io,
    path::{Path, PathBuf},
};

use encoding_rs::{Encoding, UTF_8};

use super::{domain_column, packed::PackedFormat, table::MAX_COLUMNS};
use crate::targets::{Accept, clean};

/// Names listed in a message.
const MAX_LISTED: usize = 12;

#[derive(Debug, thiserror::Error)]
pub enum InputError {
    #[error("{} does not exist", path.display())]
    Missing { path: PathBuf },
    #[error("{} is a directory, not a file of domains", path.display())]
    Directory { path: PathBuf },
    #[error("cannot read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("cannot decompress {} ({compression}): {source}", path.display())]
    Damaged { path: PathBuf, compression: &'static str, source: io::Error },
    #[error("{} is {}, not text", path.display(), format.name)]
    Packed { path: PathBuf, format: PackedFormat },
    #[error("{} is in UTF-32, which is not supported", path.display())]
    Utf32 { path: PathBuf },
    #[error("the header of {} has {}", path.display(), not_valid(encoding))]
    Encoding { path: PathBuf, encoding: &'static Encoding },
    #[error("standard input (-) is given more than once")]
    StandardInputAgain,
    /// A column was named, but no input is a table.
    #[error("no input has a column `{wanted}`")]
    NoTable { wanted: String },
    #[error("{} has no column {}; its columns are {}", path.display(), wanted_list(wanted.as_deref()), list(columns))]
    NoColumn {
        path: PathBuf,
        wanted: Option<String>,
        columns: Vec<String>,
        /// Whether the first row contains a domain, as if the header were missing.
        is_data: bool,
    },
    #[error("the first row of {} is too long for a header", path.display())]
    NoHeader { path: PathBuf },
    #[error("the files up to and including {} have more than {MAX_COLUMNS} columns", path.display())]
    TooManyColumns { path: PathBuf },
    #[error("{}: unclosed quotation mark in the row that starts on line {line}", path.display())]
    Unclosed { path: PathBuf, line: u64 },
    /// The limit is a text such as `10000000 lines`.
    #[error("too much input: the files up to and including {} exceed {limit}", path.display())]
    TooMuch { path: PathBuf, limit: String },
    #[error("no domains in {}: {why}", list(files))]
    NoDomains {
        files: Vec<String>,
        why: String,
        /// Whether the lines look like those of a table.
        is_table: bool,
    },
}

impl InputError {
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Missing { path } if is_domain(path) => format!(
                "INPUT must be a file; for a single domain, use: echo {0} | backlinks-export run - \u{2026}",
                path.display()
            ),
            Self::Missing { .. } => "check the path; relative paths start from the current directory".into(),
            Self::Directory { path } => format!("pass the files in it, such as {}", path.join("*.txt").display()),
            Self::Unreadable { .. } => "check that you can read the file and that its disk is available".into(),
            Self::Damaged { .. } => "the file is truncated or damaged; download or create it again".into(),
            Self::Packed { path, format } => format.hint(path),
            Self::Utf32 { .. } => "convert it to UTF-8, such as with iconv -f UTF-32 -t UTF-8".into(),
            Self::Encoding { .. } => encoding_hint().into(),
            Self::StandardInputAgain => "use - only once".into(),
            Self::NoTable { .. } => {
                "check the name; a table without a .csv or .tsv extension may need --input-format csv or tsv".into()
            }
            Self::NoColumn { is_data: true, .. } => {
                "the first row looks like data: add a header row, or rename a file with one domain per line to .txt"
                    .into()
            }
            Self::NoColumn { wanted, columns, .. } => match domain_column::nearest(columns, wanted.as_deref()) {
                Some(near) => format!("did you mean --column {near:?}?"),
                None => "use --column to name the column with the domains".into(),
            },
            Self::NoHeader { .. } => "check that it is a text table with a header row".into(),
            Self::TooManyColumns { .. } => "remove columns that the export does not need".into(),
            Self::Unclosed { .. } => "close the quotation mark, or double it if it is part of the text".into(),
            Self::TooMuch { .. } => "split the input and run each part with its own --out".into(),
            Self::NoDomains { is_table: true, .. } => {
                "if it is a table with a header, rename it to .csv or .tsv, or use --input-format csv".into()
            }
            Self::NoDomains { .. } => {
                "use a .txt file with one domain per line, or a .csv or .tsv file with a column of domains".into()
            }
        };
        Some(hint)
    }
}

pub(super) fn not_valid(encoding: &'static Encoding) -> String {
    let name = if encoding == UTF_8 { "UTF-8" } else { encoding.name() };
    format!("bytes that are not valid {name}")
}

pub(super) fn encoding_hint() -> &'static str {
    "set the encoding of the file, such as --input-encoding windows-1252, windows-1251, gbk or shift_jis"
}

/// Whether a domain was given instead of a file.
fn is_domain(path: &Path) -> bool {
    // A file extension that is also a top-level domain.
    let is_archive = path.extension().is_some_and(|extension| extension == "zip");
    let name = path.to_str().filter(|name| !is_archive && !name.contains(['/', ' ', '\'', ';', '&', '|']));
    name.is_some_and(|name| clean(name, Accept::DOMAINS).is_ok())
}

/// The requested column, or the default ones.
fn wanted_list(wanted: Option<&str>) -> String {
    if let Some(wanted) = wanted {
        return format!("`{wanted}`");
    }
    let [names @ .., last] = domain_column::DOMAIN_NAMES;
    format!("named {} or {last}", names.join(", "))
}

fn list(names: &[String]) -> String {
    let shown = names[..names.len().min(MAX_LISTED)].join(", ");
    match names.len().saturating_sub(MAX_LISTED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
