//! A path to the bytes in it: opened, told apart by name and first bytes, decompressed on the way.
//!
//! The name says whether there is a table in it. Whether it is compressed, the first bytes say too, since downloads
//! and pipes come without the ending or with one that is no longer true. Several gzip members or zstd frames, one
//! after another, are one text. Nothing is decompressed ahead of the reader.

use std::{
    fs::File,
    io::{BufReader, Read},
    path::Path,
};

use super::{InputError, text};

/// Bytes at the beginning that tell compressed files and workbooks.
const MAGIC: u64 = 4;

/// How domains stand in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// One a line.
    Lines,
    /// Under a header; the delimiter, unless the header has to tell it.
    Table {
        /// What stands between two cells.
        delimiter: Option<u8>,
    },
}

impl Layout {
    /// The layout that a file's name promises.
    pub(super) fn of(path: &Path) -> Self {
        let is_compressed = matches!(extension(path).as_str(), "gz" | "zst");
        let inner = if is_compressed { path.with_extension("") } else { path.to_owned() };
        match extension(&inner).as_str() {
            "csv" => Self::Table { delimiter: None },
            "tsv" => Self::Table { delimiter: Some(b'\t') },
            _ => Self::Lines,
        }
    }
}

fn extension(path: &Path) -> String {
    path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase()).unwrap_or_default()
}

/// Decompressed bytes, and by which format.
pub(super) struct Opened<'a> {
    pub(super) bytes: Box<dyn Read + 'a>,
    /// The format, to say in an error what could not be undone.
    pub(super) compression: Option<&'static str>,
}

/// Opens the file at `path`.
pub(super) fn file(path: &Path) -> Result<Opened<'static>, InputError> {
    let opened = File::open(path).and_then(|file| Ok((file.metadata()?.is_dir(), file)));
    match opened {
        Ok((true, _)) => Err(InputError::Directory { path: path.into() }),
        Ok((false, file)) => decompressed(path, file),
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => Err(InputError::Missing { path: path.into() }),
        Err(source) => Err(InputError::Unreadable { path: path.into(), source }),
    }
}

/// Undoes the compression of `reader`, if there is one.
pub(super) fn decompressed<'a>(path: &Path, reader: impl Read + 'a) -> Result<Opened<'a>, InputError> {
    let unreadable = |source| InputError::Unreadable { path: path.into(), source };
    let (magic, reader) = text::peek(reader, MAGIC).map_err(unreadable)?;
    let (bytes, compression): (Box<dyn Read + 'a>, _) = match (magic.as_slice(), extension(path).as_str()) {
        ([b'P', b'K', 3, 4] | [0xd0, 0xcf, 0x11, 0xe0], _) => return Err(InputError::Workbook { path: path.into() }),
        ([0x1f, 0x8b, ..], _) | ([], "gz") => {
            (Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::new(reader))), Some("gzip"))
        }
        // The second is a frame to skip, which may come first.
        ([0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18], _) | ([], "zst") => {
            (Box::new(zstd::Decoder::new(reader).map_err(unreadable)?), Some("zstd"))
        }
        _ => (Box::new(reader), None),
    };
    Ok(Opened { bytes, compression })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_tells_the_layout() {
        let check = |name: &str, expected: Layout| assert_eq!(Layout::of(Path::new(name)), expected, "{name}");
        let (comma, tab) = (Layout::Table { delimiter: None }, Layout::Table { delimiter: Some(b'\t') });
        check("a.txt", Layout::Lines);
        check("a.txt.gz", Layout::Lines);
        check("a", Layout::Lines);
        check("-", Layout::Lines);
        check(".csv", Layout::Lines);
        check("a.list", Layout::Lines);
        check("a.csv.bak", Layout::Lines);
        check("a.csv", comma);
        check("dir.tsv/A.CSV", comma);
        check("a.csv.gz", comma);
        check("a.Csv.ZST", comma);
        check("a.tsv", tab);
        check("a.b.tsv.zst", tab);
    }
}
