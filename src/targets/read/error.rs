//! Why the input cannot be used, and what to do about it, in words for the person who gave it.

use std::{
    io,
    path::{Path, PathBuf},
};

use encoding_rs::{Encoding, UTF_8};

use super::{columns, packed::PackedFormat, table::MOST_COLUMNS};
use crate::targets::{Accept, clean};

/// Names listed in a message at most.
const MOST_LISTED: usize = 12;

/// Why input files cannot be read into [`Inputs`](crate::targets::Inputs).
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// No file of that name.
    #[error("{} does not exist", path.display())]
    Missing { path: PathBuf },
    /// A directory where a file was expected.
    #[error("{} is a directory, not a file of domains", path.display())]
    Directory { path: PathBuf },
    /// The file system refuses.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        path: PathBuf,
        /// The file system's answer.
        source: io::Error,
    },
    /// A compressed file is cut off or damaged.
    #[error("cannot decompress {} ({compression}): {source}", path.display())]
    Damaged {
        path: PathBuf,
        /// `gzip` or `zstd`.
        compression: &'static str,
        /// What the decompressor says.
        source: io::Error,
    },
    /// A workbook, archive or the like, by its first bytes.
    #[error("{} is {}, not text", path.display(), format.name)]
    Packed { path: PathBuf, format: PackedFormat },
    /// The header of a table is not in the encoding that it is taken for.
    #[error("the header of {} has {}", path.display(), not_valid(encoding))]
    Encoding {
        path: PathBuf,
        /// What it is taken for.
        encoding: &'static Encoding,
    },
    /// Standard input was asked for more than once.
    #[error("standard input (-) is given more than once")]
    StandardInputAgain,
    /// A column was named, and there is no table.
    #[error("no input has a column `{wanted}`")]
    NoTable {
        /// The column asked for.
        wanted: String,
    },
    /// A table has no column with domains.
    #[error("{} has no column {}; its columns are {}", path.display(), wanted_list(wanted.as_deref()), list(columns))]
    NoColumn {
        path: PathBuf,
        /// The column asked for, if one was.
        wanted: Option<String>,
        /// The columns that are there.
        columns: Vec<String>,
        /// Whether the first row names a domain, as if the header were missing.
        is_data: bool,
    },
    /// The first row is too long to be a header.
    #[error("the first row of {} is too long for a header", path.display())]
    NoHeader { path: PathBuf },
    /// More columns than are kept.
    #[error("more than {MOST_COLUMNS} columns in the input up to {}", path.display())]
    TooManyColumns {
        /// The file with the column that is one too many.
        path: PathBuf,
    },
    /// A quotation mark without its other.
    #[error("{}: unclosed quotation mark in the row that starts on line {line}", path.display())]
    Unclosed {
        path: PathBuf,
        /// Where the row begins.
        line: u64,
    },
    /// More than one run can hold.
    #[error("too much input: more than {limit} up to {}", path.display())]
    TooMuch {
        /// The file in which the limit was passed.
        path: PathBuf,
        /// The limit, as in `10000000 lines`.
        limit: String,
    },
    /// All has been read, and there is nothing to do.
    #[error("no domains in {}: {why}", list(files))]
    NoDomains {
        files: Vec<String>,
        /// What is there instead.
        why: String,
    },
}

impl InputError {
    /// What to do about it, where the message does not say so already.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Missing { path } if is_domain(path) => format!(
                "INPUT must be a file; for a single domain, use: echo {0} | backlinks-export run - \u{2026}",
                path.display()
            ),
            Self::Missing { .. } => "check the path; relative paths start from the current directory".into(),
            Self::Directory { path } => format!("list the files in it, such as {}", path.join("*.txt").display()),
            Self::Unreadable { .. } => "check that you can read the file and that its disk is available".into(),
            Self::Damaged { .. } => "the file is truncated or damaged; download or create it again".into(),
            Self::Packed { path, format } => format.hint(path),
            Self::Encoding { .. } => encoding_hint().into(),
            Self::StandardInputAgain => "use - only once".into(),
            Self::NoTable { .. } => {
                "check the name; a table without a .csv or .tsv extension may need --input-format csv or tsv".into()
            }
            Self::NoColumn { is_data: true, .. } => {
                "the first row looks like data: add a header row, or rename a file with one domain per line to .txt"
                    .into()
            }
            Self::NoColumn { wanted, columns, .. } => match columns::nearest(columns, wanted.as_deref()) {
                Some(near) => format!("did you mean --column {near:?}?"),
                None => "use --column to name the column with the domains".into(),
            },
            Self::NoHeader { .. } => "check that it is a text table with a header row".into(),
            Self::TooManyColumns { .. } => "remove columns that the export does not need".into(),
            Self::Unclosed { .. } => "close the quotation mark, or double it if it is part of the text".into(),
            Self::TooMuch { .. } => "split the input and run each part with its own --out".into(),
            Self::NoDomains { .. } => {
                "use a .txt file with one domain per line, or a .csv or .tsv file with a column of domains".into()
            }
        };
        Some(hint)
    }
}

/// What is wrong with bytes that cannot be decoded.
pub(super) fn not_valid(encoding: &'static Encoding) -> String {
    let name = if encoding == UTF_8 { "UTF-8" } else { encoding.name() };
    format!("bytes that are not valid {name}")
}

/// What to do about them: nobody can know the encoding but the person whose file it is.
pub(super) fn encoding_hint() -> &'static str {
    "set the encoding of the file, such as --input-encoding windows-1251"
}

/// Whether somebody seems to have given a domain for the file with domains in it.
fn is_domain(path: &Path) -> bool {
    // The one ending of files that is a top-level domain, too.
    let is_archive = path.extension().is_some_and(|extension| extension == "zip");
    let name = path.to_str().filter(|name| !is_archive && !name.contains(['/', ' ', '\'', ';', '&', '|']));
    name.is_some_and(|name| clean(name, Accept::DOMAINS).is_ok())
}

/// The column asked for, or those that would have done.
fn wanted_list(wanted: Option<&str>) -> String {
    match wanted {
        Some(wanted) => format!("`{wanted}`"),
        None => format!("named {}", columns::DOMAIN_NAMES.join(", ")),
    }
}

fn list(names: &[String]) -> String {
    let shown = names[..names.len().min(MOST_LISTED)].join(", ");
    match names.len().saturating_sub(MOST_LISTED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
