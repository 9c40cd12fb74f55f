//! Reads the rows of a CSV or TSV file into buffers of fixed size, with the line on which each begins.
//!
//! A quotation mark that is never closed turns the rest of the file into one row, which is skipped and reported.

use std::{
    borrow::Cow,
    io::{self, BufRead},
};

use csv_core::ReadRecordResult;

use super::text::{Length, decoded};

/// Bytes of the cells of one row.
pub(super) const MAX_ROW_BYTES: usize = 256 * 1024;
/// Columns of all files together.
pub(super) const MAX_COLUMNS: usize = 1_000;

/// The result of [`Rows::read`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Row {
    /// A row, cut if it is longer than [`MAX_ROW_BYTES`].
    Read(Length),
    /// A quotation mark is not closed before the end of the file.
    Unclosed,
}

/// A reader of rows that keeps the latest one. Lines must end in `\n`.
pub(super) struct Rows<R> {
    text: R,
    parser: csv_core::Reader,
    cells: Box<[u8]>,
    /// Where each cell ends in `cells`. One more than the limit on columns, so that one too many is noticed.
    ends: Box<[usize]>,
    length: usize,
    count: usize,
    line: u64,
}

impl<R: BufRead> Rows<R> {
    /// Rows from `text`, which begins on line `line` of its file.
    pub(super) fn new(text: R, delimiter: u8, line: u64) -> Self {
        let mut parser = csv_core::ReaderBuilder::new().delimiter(delimiter).build();
        parser.set_line(line);
        // One byte more, since the parser asks for space as soon as there is none, even at the end of a row.
        let cells = vec![0; MAX_ROW_BYTES + 1].into();
        Self { text, parser, cells, ends: [0; MAX_COLUMNS + 1].into(), length: 0, count: 0, line }
    }

    /// Reads the next row, skipping empty lines; `None` at the end.
    pub(super) fn read(&mut self) -> io::Result<Option<Row>> {
        while let Some(b'\n') = self.text.fill_buf()?.first() {
            self.text.consume(1);
            self.parser.set_line(self.parser.line() + 1);
        }
        if self.text.fill_buf()?.is_empty() {
            return Ok(None);
        }
        (self.line, self.length, self.count) = (self.parser.line(), 0, 0);
        let mut length = Length::Whole;
        // For cells that do not fit.
        let (mut spilled_cells, mut spilled_ends) = ([0; 1024], [0; 64]);
        loop {
            let input = self.text.fill_buf()?;
            let at_end = input.is_empty();
            let input = if at_end { b"\n" } else { input };
            let is_spilling = length == Length::Cut;
            let cells = if is_spilling { &mut spilled_cells } else { &mut self.cells[self.length..] };
            let ends = if is_spilling || self.count == self.ends.len() {
                &mut spilled_ends
            } else {
                &mut self.ends[self.count..]
            };
            let (result, read, written, ended) = self.parser.read_record(input, cells, ends);
            if !is_spilling {
                self.length += written;
                self.count = (self.count + ended).min(self.ends.len());
            }
            if !at_end {
                self.text.consume(read);
            }
            match result {
                ReadRecordResult::Record | ReadRecordResult::End => return Ok(Some(Row::Read(length))),
                // A line end ends a row, except within quotation marks.
                ReadRecordResult::InputEmpty if at_end => return Ok(Some(Row::Unclosed)),
                ReadRecordResult::OutputFull => length = Length::Cut,
                ReadRecordResult::InputEmpty | ReadRecordResult::OutputEndsFull => {}
            }
        }
    }

    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// The number of cells of the row, at most one more than [`MAX_COLUMNS`].
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// A cell as trimmed text, with replacement characters for invalid bytes; empty if the row has none.
    pub(super) fn cell(&self, index: usize) -> Cow<'_, str> {
        let (bytes, length) = self.bytes(index);
        match decoded(bytes, length) {
            Ok(text) => text.trim().into(),
            Err(_) => String::from_utf8_lossy(bytes).trim().to_owned().into(),
        }
    }

    /// Whether all cells are text.
    pub(super) fn is_text(&self) -> bool {
        (0..self.count).map(|index| self.bytes(index)).all(|(bytes, length)| decoded(bytes, length).is_ok())
    }

    fn bytes(&self, index: usize) -> (&[u8], Length) {
        let start = if index == 0 { 0 } else { self.ends[..self.count].get(index - 1).copied().unwrap_or(self.length) };
        let (end, length) = match self.ends[..self.count].get(index) {
            Some(end) => (*end, Length::Whole),
            // The cell in which a row was cut.
            None if index == self.count => (self.length, Length::Cut),
            None => (start, Length::Whole),
        };
        (&self.cells[start..end], length)
    }

    pub(super) fn cells(&self) -> impl Iterator<Item = Cow<'_, str>> {
        (0..self.count).map(|index| self.cell(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<(u64, Vec<String>)> {
        let mut rows = Rows::new(text.as_bytes(), b',', 1);
        std::iter::from_fn(|| {
            let row = rows.read().expect("text")?;
            assert_eq!(row, Row::Read(Length::Whole), "{text:?}");
            Some((rows.line(), rows.cells().map(Cow::into_owned).collect()))
        })
        .collect()
    }

    #[test]
    fn rows_have_the_line_on_which_they_begin() {
        let check = |text: &str, expected: &[(u64, &[&str])]| {
            let rows = rows(text);
            let rows: Vec<(u64, Vec<&str>)> =
                rows.iter().map(|(line, cells)| (*line, cells.iter().map(String::as_str).collect())).collect();
            let expected: Vec<(u64, Vec<&str>)> =
                expected.iter().map(|(line, cells)| (*line, cells.to_vec())).collect();
            assert_eq!(rows, expected, "{text:?}");
        };
        check("", &[]);
        check("\n\n", &[]);
        check("a,b\nc,d", &[(1, &["a", "b"]), (2, &["c", "d"])]);
        check("\n\na\n\n\nb\n\n", &[(3, &["a"]), (6, &["b"])]);
        check("\"x\n\ny\",1\nb\n", &[(1, &["x\n\ny", "1"]), (4, &["b"])]);
        check("\"x\ny\",end", &[(1, &["x\ny", "end"])]);
        check("\"x\ny\"", &[(1, &["x\ny"])]);
        check("a, b ,\"c, d\",\"e\"\"f\"\n", &[(1, &["a", "b", "c, d", "e\"f"])]);
        check("a,\n,\n", &[(1, &["a", ""]), (2, &["", ""])]);
    }

    #[test]
    fn a_quotation_mark_that_is_never_closed_is_reported() {
        let check = |text: &str, line: u64| {
            let mut rows = Rows::new(text.as_bytes(), b',', 1);
            let last = std::iter::from_fn(|| rows.read().expect("text")).last();
            assert_eq!((last, rows.line()), (Some(Row::Unclosed), line), "{:?}", &text[..text.len().min(40)]);
        };
        check("a\n\"b\nc\n", 2);
        check("a\n\"b", 2);
        check("\"", 1);
        check(&format!("a\n\nb,\"{}", "c\n".repeat(MAX_ROW_BYTES)), 3);
    }

    #[test]
    fn a_row_beyond_the_limit_is_cut_and_the_next_is_whole() {
        let (longest, beyond) = ("x".repeat(MAX_ROW_BYTES - 1), "x".repeat(3 * MAX_ROW_BYTES));
        let rows_text = format!("{longest},y\nsite.com,{beyond},z\nnext,row\n");
        let mut rows = Rows::new(rows_text.as_bytes(), b',', 1);
        assert_eq!(rows.read().expect("text"), Some(Row::Read(Length::Whole)));
        assert_eq!(rows.cell(1), "y");
        assert_eq!(rows.read().expect("text"), Some(Row::Read(Length::Cut)));
        assert_eq!((rows.cell(0).as_ref(), rows.count()), ("site.com", 1));
        assert_eq!(rows.cell(1).len(), MAX_ROW_BYTES + 1 - "site.com".len());
        assert_eq!(rows.read().expect("text"), Some(Row::Read(Length::Whole)));
        assert_eq!((rows.cells().collect::<Vec<_>>(), rows.line()), (vec!["next".into(), "row".into()], 3));
        assert_eq!(rows.read().expect("text"), None);
    }

    #[test]
    fn any_number_of_cells_is_read_and_counted_up_to_one_too_many() {
        let mut rows_text = "c,".repeat(MAX_COLUMNS * 3);
        rows_text.push_str("last\na,b\n");
        let mut rows = Rows::new(rows_text.as_bytes(), b',', 1);
        assert_eq!(rows.read().expect("text"), Some(Row::Read(Length::Whole)));
        assert_eq!((rows.count(), rows.cell(MAX_COLUMNS)), (MAX_COLUMNS + 1, "c".into()));
        assert_eq!(rows.read().expect("text"), Some(Row::Read(Length::Whole)));
        assert_eq!(rows.cells().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(rows.cell(2), "");
    }
}
