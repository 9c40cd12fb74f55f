//! Recognizes archives, workbooks and files in unsupported compressions by their first bytes; their content would be
//! read as lines. File names do not count, since they may be wrong.

use std::path::Path;

/// First bytes that are enough to recognize all formats.
pub(super) const HEAD: u64 = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackedFormat {
    /// With its article.
    pub(super) name: &'static str,
    /// The command that unpacks it, without the file's name.
    command: &'static str,
    /// The same in a pipe.
    filter: Option<&'static str>,
}

impl PackedFormat {
    const fn new(name: &'static str, command: &'static str) -> Self {
        Self { name, command, filter: None }
    }

    const fn with_filter(self, filter: &'static str) -> Self {
        Self { filter: Some(filter), ..self }
    }

    /// How to unpack such a file.
    pub(super) fn hint(self, path: &Path) -> String {
        let is_piped = path.as_os_str() == super::STANDARD_INPUT;
        match self.filter.filter(|_| is_piped) {
            Some(filter) => format!("unpack it in the pipe: \u{2026} | {filter} | backlinks-export run - \u{2026}"),
            None if is_piped => format!("save it to a file and unpack that: {} FILE", self.command),
            None => format!("unpack it first: {} {}", self.command, quoted(path)),
        }
    }
}

/// A path quoted for a shell.
fn quoted(path: &Path) -> String {
    let path = path.display().to_string();
    let is_plain = path.chars().all(|c| c.is_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | '+' | ':' | ','));
    if is_plain { path } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

const WORKBOOK: PackedFormat = PackedFormat::new("a workbook", "libreoffice --headless --convert-to csv");
const ZIP: PackedFormat = PackedFormat::new("a zip archive", "unzip");
const TAR: PackedFormat = PackedFormat::new("a tar archive", "tar -xf");

/// Formats by how their files begin.
const SIGNATURES: [(&[u8], PackedFormat); 13] = [
    (b"\xfd7zXZ\0", PackedFormat::new("an xz file", "xz -dk").with_filter("xz -dc")),
    (b"PK\x03\x04", ZIP),
    (b"PK\x05\x06", ZIP),
    (b"PK\x07\x08", ZIP),
    (b"7z\xbc\xaf\x27\x1c", PackedFormat::new("a 7-Zip archive", "7z x")),
    (b"Rar!\x1a\x07", PackedFormat::new("a RAR archive", "unrar x")),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", WORKBOOK),
    (b"\x04\x22\x4d\x18", PackedFormat::new("an LZ4 file", "lz4 -dk").with_filter("lz4 -dc")),
    (b"LZIP\x01", PackedFormat::new("an lzip file", "lzip -dk").with_filter("lzip -dc")),
    (b"\x1f\x9d", PackedFormat::new("a compress file", "gzip -dk").with_filter("gzip -dc")),
    (b"%PDF-", PackedFormat::new("a PDF document", "pdftotext -layout")),
    // One layer of these is decompressed; this is a second.
    (b"\x1f\x8b\x08", PackedFormat::new("a gzip file inside another one", "gunzip -k").with_filter("gunzip")),
    (b"\x28\xb5\x2f\xfd", PackedFormat::new("a zstd file inside another one", "zstd -d").with_filter("zstd -dc")),
];

/// The format of a file that begins with `head`; `None` if it may be text. The extension only distinguishes workbooks
/// from other zip archives.
pub(super) fn format_of(head: &[u8], extension: &str) -> Option<PackedFormat> {
    let is_bzip2 = matches!(head, [b'B', b'Z', b'h', b'1'..=b'9', block @ ..]
        if block.starts_with(b"1AY&SY") || block.starts_with(b"\x17\x72\x45\x38\x50\x90"));
    if is_bzip2 {
        return Some(PackedFormat::new("a bzip2 file", "bzip2 -dk").with_filter("bzip2 -dc"));
    }
    if head.get(257..262) == Some(b"ustar") {
        return Some(TAR);
    }
    let (_, format) = SIGNATURES.iter().find(|(signature, _)| head.starts_with(signature))?;
    let is_sheet = matches!(extension, "xlsx" | "xlsm" | "xlsb" | "ods") || is_workbook(head);
    Some(if *format == ZIP && is_sheet { WORKBOOK } else { *format })
}

/// Whether a zip archive is a workbook, by the name and content of its first member.
fn is_workbook(head: &[u8]) -> bool {
    let member = head.get(30..).unwrap_or_default();
    [&b"[Content_Types].xml"[..], b"_rels/", b"xl/", b"mimetypeapplication/vnd.oasis.opendocument.spreadsheet"]
        .iter()
        .any(|name| member.starts_with(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_files_are_recognized_and_the_hint_has_a_command() {
        let check = |head: &[u8], path: &str, expected: Option<&str>| {
            let extension = Path::new(path).extension().map_or(String::new(), |e| e.to_string_lossy().into_owned());
            let hint = format_of(head, &extension).map(|format| format.hint(Path::new(path)));
            let command = hint.as_deref().and_then(|hint| hint.split_once(": ")).map(|(_, command)| command);
            assert_eq!(command, expected, "{path}");
        };
        let mut tar = vec![b'a'; 512];
        tar[257..262].copy_from_slice(b"ustar");
        let zip = |name: &str| [b"PK\x03\x04", &[0; 26][..], name.as_bytes()].concat();
        check(b"\xfd7zXZ\0\0\x04", "a.txt.xz", Some("xz -dk a.txt.xz"));
        check(b"\xfd7zXZ\0\0\x04", "my list", Some("xz -dk 'my list'"));
        check(b"\xfd7zXZ\0\0\x04", "-", Some("… | xz -dc | backlinks-export run - …"));
        check(b"BZh91AY&SY", "a.bz2", Some("bzip2 -dk a.bz2"));
        check(b"BZh9\x17\x72\x45\x38\x50\x90", "empty.bz2", Some("bzip2 -dk empty.bz2"));
        check(&zip("list.txt"), "a.zip", Some("unzip a.zip"));
        check(&zip("list.txt"), "-", Some("unzip FILE"));
        check(&zip("xl/workbook.xml"), "a", Some("libreoffice --headless --convert-to csv a"));
        check(&zip("docProps/app.xml"), "a.xlsx", Some("libreoffice --headless --convert-to csv a.xlsx"));
        check(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a.xls", Some("libreoffice --headless --convert-to csv a.xls"));
        check(b"7z\xbc\xaf\x27\x1c\0", "a.7z", Some("7z x a.7z"));
        check(b"Rar!\x1a\x07\0", "a.rar", Some("unrar x a.rar"));
        check(&tar, "a.tar.gz", Some("tar -xf a.tar.gz"));
        check(b"\x1f\x8b\x08\0", "a.gz", Some("gunzip -k a.gz"));
        check(b"BZhome.com\n", "a.txt", None);
        check(b"PKzip.com\n", "a.txt", None);
        check(b"7zip.org\n", "a.txt", None);
        check(b"", "a.zip", None);
        check(b"a.com\n", "a.xlsx", None);
    }
}
