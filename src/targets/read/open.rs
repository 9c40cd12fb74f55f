//! Opens a file and decompresses it on the fly.
//!
//! The name shows whether it is a table; the first bytes show whether it is compressed, since downloads and pipes lack
//! the extension or have a wrong one. Several gzip members or zstd frames are one text.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
};

use super::{
    InputError, InputFormat, STANDARD_INPUT,
    packed::{self, HEAD},
    text,
};

/// How a file lists its domains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    Lines,
    /// With a header; `None`: the first lines show the delimiter.
    Table {
        delimiter: Option<u8>,
    },
    /// The first lines show which.
    Unknown,
}

impl Layout {
    /// The layout by a file's name, or else by `format`, which may also make a table of a `.txt` file.
    pub(super) fn of(path: &Path, format: InputFormat) -> Self {
        let is_compressed = matches!(extension(path).as_str(), "gz" | "zst");
        let inner = if is_compressed { path.with_extension("") } else { path.to_owned() };
        let (csv, tsv) = (Self::Table { delimiter: None }, Self::Table { delimiter: Some(b'\t') });
        match (extension(&inner).as_str(), format) {
            ("csv", _) => csv,
            ("tsv", _) => tsv,
            ("txt", InputFormat::Auto) | (_, InputFormat::Txt) => Self::Lines,
            (_, InputFormat::Csv) => csv,
            (_, InputFormat::Tsv) => tsv,
            (_, InputFormat::Auto) => Self::Unknown,
        }
    }
}

fn extension(path: &Path) -> String {
    path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase()).unwrap_or_default()
}

/// A file's decompressed bytes, and its compression for error messages.
pub(super) struct Opened<'a> {
    pub(super) bytes: Box<dyn Read + 'a>,
    pub(super) compression: Option<&'static str>,
}

pub(super) fn file(path: &Path) -> Result<Opened<'static>, InputError> {
    let opened = File::open(path).and_then(|file| Ok((file.metadata()?.is_dir(), file)));
    match opened {
        Ok((true, _)) => Err(InputError::Directory { path: path.into() }),
        Ok((false, file)) => decompressed(path, file),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Err(InputError::Missing { path: path.into() }),
        Err(source) => Err(InputError::Unreadable { path: path.into(), source }),
    }
}

/// Decompresses `reader` if it is compressed, and refuses content that is not text.
pub(super) fn decompressed<'a>(path: &Path, reader: impl Read + 'a) -> Result<Opened<'a>, InputError> {
    let unreadable = |source| InputError::Unreadable { path: path.into(), source };
    let refuse = |head: &[u8]| match packed::format_of(head, &extension(path)) {
        Some(format) => Err(InputError::Packed { path: path.into(), format }),
        None if text::is_utf_32(head) => Err(InputError::Utf32 { path: path.into() }),
        None => Ok(()),
    };
    let (head, reader) = text::peek(reader, HEAD).map_err(unreadable)?;
    let (bytes, compression): (Box<dyn Read + 'a>, _) = match (head.as_slice(), extension(path).as_str()) {
        ([0x1f, 0x8b, ..], _) | ([], "gz") => {
            (Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::new(reader))), "gzip")
        }
        // The second is a skippable frame, which may come first.
        ([0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..], _) | ([], "zst") => {
            (Box::new(zstd::Decoder::new(reader).map_err(unreadable)?), "zstd")
        }
        _ => {
            refuse(&head)?;
            return Ok(Opened { bytes: Box::new(reader), compression: None });
        }
    };
    let damaged = |source| InputError::Damaged { path: path.into(), compression, source };
    let (head, bytes) = text::peek(bytes, HEAD).map_err(damaged)?;
    refuse(&head)?;
    Ok(Opened { bytes: Box::new(bytes), compression: Some(compression) })
}

/// The name of a file as its lines record it: relative to the current directory where it is below that. Other spellings
/// of a path are kept: [`Inputs::is_same_but_for_folders`](crate::targets::Inputs::is_same_but_for_folders)
/// compares across them.
pub(super) fn file_name(path: &Path) -> String {
    let absolute = std::path::absolute(path).ok().filter(|_| path.as_os_str() != STANDARD_INPUT);
    let below = absolute.as_deref().zip(std::env::current_dir().ok());
    let below = below.and_then(|(path, current)| path.strip_prefix(current).ok());
    below.filter(|below| below.as_os_str() != STANDARD_INPUT).unwrap_or(path).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_below_the_current_directory_are_named_relative_to_it() {
        let check = |path: &str, expected: &str| assert_eq!(file_name(Path::new(path)), expected, "{path}");
        let current = std::env::current_dir().expect("a directory");
        check("a.csv", "a.csv");
        check("./lists/./a.csv", "lists/a.csv");
        check(current.join("a.csv").to_str().expect("text"), "a.csv");
        check("../lists/a.csv", "../lists/a.csv");
        check("/data/a.csv", "/data/a.csv");
        check("-", "-");
        check("./-", "./-");
    }

    #[test]
    fn layout_follows_the_file_name() {
        let (comma, tab) = (Layout::Table { delimiter: None }, Layout::Table { delimiter: Some(b'\t') });
        let check = |name: &str, expected: [Layout; 4]| {
            let formats = [InputFormat::Auto, InputFormat::Txt, InputFormat::Csv, InputFormat::Tsv];
            assert_eq!(formats.map(|format| Layout::of(Path::new(name), format)), expected, "{name}");
        };
        for name in ["a.txt", "a.txt.gz", "a.TXT"] {
            check(name, [Layout::Lines, Layout::Lines, comma, tab]);
        }
        for name in ["a", "-", "/dev/fd/63", ".csv", "a.list", "a.csv.bak", "a.gz"] {
            check(name, [Layout::Unknown, Layout::Lines, comma, tab]);
        }
        for name in ["a.csv", "dir.tsv/A.CSV", "a.csv.gz", "a.Csv.ZST"] {
            check(name, [comma; 4]);
        }
        for name in ["a.tsv", "a.b.tsv.zst"] {
            check(name, [tab; 4]);
        }
    }
}
