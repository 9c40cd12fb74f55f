//! Recognizes tables and their delimiter by the first lines of a text.
//!
//! The header by itself can mislead: a column's name may contain a comma, and spreadsheets in countries with decimal
//! commas use semicolons as delimiters. So several lines count, and most of all whether there is a domain column.

use std::io::{self, BufRead, Read as _};

use super::{
    domain_column,
    table::{MAX_ROW_BYTES, Row, Rows},
    text::MAX_LINE_BYTES,
};
use crate::targets::{Accept, clean};

/// Lines that are examined.
const LINES: usize = 20;

/// The possible delimiters; the first is the default.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

pub(super) fn is_delimiter(character: char) -> bool {
    DELIMITERS.map(char::from).contains(&character)
}

/// The first lines of a text, from the first that is not blank.
pub(super) struct Head {
    /// The lines; what follows them is still to be read.
    pub(super) bytes: Vec<u8>,
    /// The number of the first.
    pub(super) line: u64,
    /// The delimiter by a line such as `sep=;` above the header, which some programs write for Excel.
    pub(super) named_delimiter: Option<u8>,
}

/// How well a delimiter fits; the greatest wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Fit {
    has_column: bool,
    /// Rows with the usual number of cells, if that is more than one.
    alike: usize,
    /// Rows with a domain in a cell.
    with_domain: usize,
    /// The usual number of cells.
    cells: usize,
}

impl Head {
    /// Reads the head. Blank lines and comments above the header are skipped; a line that starts with `#` is the header
    /// itself where `column` does, too.
    pub(super) fn read(text: &mut impl BufRead, column: Option<&str>) -> io::Result<Self> {
        let has_comments = !column.is_some_and(|name| name.starts_with('#'));
        let mut head = Self { bytes: Vec::new(), line: 1, named_delimiter: None };
        let mut lines = 0;
        while lines < LINES && head.bytes.len() < MAX_ROW_BYTES {
            let start = head.bytes.len();
            if text.take(MAX_LINE_BYTES as u64 + 1).read_until(b'\n', &mut head.bytes)? == 0 {
                break;
            }
            match head.bytes[start..] {
                [b's', b'e', b'p', b'=', delimiter, b'\n'] if start == 0 => {
                    head.named_delimiter = Some(delimiter);
                    head.skip();
                }
                [.., b'\n'] if start == 0 && head.bytes.trim_ascii().is_empty() => head.skip(),
                [.., b'\n'] if start == 0 && has_comments && head.bytes.trim_ascii().starts_with(b"#") => head.skip(),
                _ => lines += 1,
            }
        }
        Ok(head)
    }

    fn skip(&mut self) {
        self.bytes.clear();
        self.line += 1;
    }

    /// Whether the first line is longer than a line may be.
    pub(super) fn is_cut(&self) -> bool {
        self.bytes.len() > MAX_LINE_BYTES && !self.bytes[..=MAX_LINE_BYTES].contains(&b'\n')
    }

    /// Whether the first line is a header: it has the domain column, and others too unless the column was named.
    pub(super) fn is_table(&self, column: Option<&str>) -> bool {
        let (names, _) = self.rows(self.delimiter(column));
        let has_column = domain_column::find(&names, column).is_some();
        self.named_delimiter.is_some() || has_column && (names.len() > 1 || column.is_some())
    }

    pub(super) fn delimiter(&self, column: Option<&str>) -> u8 {
        if let Some(delimiter) = self.named_delimiter {
            return delimiter;
        }
        let mut best = (Fit::default(), DELIMITERS[0]);
        for delimiter in DELIMITERS {
            let fit = self.fit(delimiter, column);
            if fit > best.0 {
                best = (fit, delimiter);
            }
        }
        best.1
    }

    fn fit(&self, delimiter: u8, column: Option<&str>) -> Fit {
        let (names, rows) = self.rows(delimiter);
        let has_column = domain_column::find(&names, column).is_some();
        let with_domain = rows.iter().filter(|row| row.has_domain).count();
        let rows_with = |cells: usize| rows.iter().filter(|row| row.cells == cells).count();
        let usual = rows.iter().map(|row| row.cells).filter(|cells| *cells > 1);
        let (alike, cells) = usual.map(|cells| (rows_with(cells), cells)).max().unwrap_or_default();
        Fit { has_column, alike, with_domain, cells }
    }

    /// The names in the header, and all complete rows including it.
    fn rows(&self, delimiter: u8) -> (Vec<String>, Vec<SampleRow>) {
        let mut rows = Rows::new(self.bytes.as_slice(), delimiter, self.line);
        let (mut names, mut seen) = (Vec::new(), Vec::new());
        while let Ok(Some(Row::Read(_))) = rows.read() {
            if seen.is_empty() {
                names = domain_column::names(rows.cells());
            }
            let has_domain = rows.cells().any(|cell| clean(&cell, Accept::DOMAINS).is_ok());
            seen.push(SampleRow { cells: rows.count(), has_domain });
        }
        (names, seen)
    }
}

struct SampleRow {
    cells: usize,
    has_domain: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Head {
        Head::read(&mut text.as_bytes(), None).expect("memory")
    }

    #[test]
    fn the_delimiter_is_the_one_that_fits_most_lines() {
        let check = |text: &str, expected: u8| {
            assert_eq!(char::from(head(text).delimiter(None)), char::from(expected), "{text:?}");
        };
        check("domain", b',');
        check("domain,client", b',');
        check("domain;client", b';');
        check("domain;client, city", b';');
        check("\"client, city\";domain", b';');
        check("\"client; city\",domain\n\"A; B\",a.com", b',');
        check("domain\tclient", b'\t');
        check("client|domain\nA, B|a.com", b'|');
        check("\"a;b", b',');
        check("Domain;Revenue, EUR;City\na.com;12,5;Bonn\nb.com;7;Ulm\n", b';');
        check("Seite;Umsatz, EUR\na.com;12,5\nb.com;7,25\n", b';');
        check("Seite\tUmsatz, EUR\na.com\t12,5\nb.com\t7,25\n", b'\t');
        check("domain\nhttps://a.com/x,y\nb.com\n", b',');
        check("domain\na.com;x\nb.com;y\n", b';');
        check("domain,notes\na.com,x;y;z\nb.com,x;y;z\n", b',');
        check("domain,notes\na.com,\"one\ntwo; three; four\"\n", b',');
        check("sep=|\ndomain;x|y\n", b'|');
    }

    #[test]
    fn a_table_is_recognized_by_its_header() {
        let check = |text: &str, column: Option<&str>, expected: bool| {
            assert_eq!(head(text).is_table(column), expected, "{text:?} {column:?}");
        };
        check("domain,client\na.com,A\n", None, true);
        check("\n\nclient;URL\nA;a.com\n", None, true);
        check("sep=;\nx;y\n", None, true);
        check("a.com\nb.com\n", None, false);
        check("domain\na.com\n", None, false);
        check("domain\na.com\n", Some("domain"), true);
        check("client,site\nA,a.com\n", None, false);
        check("client,site\nA,a.com\n", Some("site"), true);
        check("# domain, client\na.com\n", None, false);
        check("", None, false);
    }

    #[test]
    fn lines_above_the_header_are_counted() {
        let check = |text: &str, line: u64, rest: &str| {
            let head = head(text);
            assert_eq!((head.line, String::from_utf8(head.bytes).as_deref()), (line, Ok(rest)), "{text:?}");
        };
        check("a\n\nb", 1, "a\n\nb");
        check("\n \t\na\n", 3, "a\n");
        check("\nsep=;\n\na;b\n", 4, "a;b\n");
        check("# from the shop\n \t# and more\nsep=;\na;b\n#c;d\n", 4, "a;b\n#c;d\n");
        check("\n\n", 3, "");
        let head_of = |column| Head::read(&mut &b"#site,client\na.com,A\n"[..], Some(column)).expect("memory").line;
        assert_eq!((head_of("#site"), head_of("site")), (1, 2));
        assert!(head(&"x".repeat(MAX_LINE_BYTES + 1)).is_cut());
        assert!(!head(&format!("{}\n", "x".repeat(MAX_LINE_BYTES))).is_cut());
    }
}
