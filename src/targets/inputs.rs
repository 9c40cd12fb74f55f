//! Stores every input line with its status compactly: some sixty bytes for a bare domain.
//!
//! All text is in one string, and lines, cells and targets are referred to by index, so that a line costs one entry of
//! 32 bytes instead of several small strings. The order of [`push`](InputsBuilder::push) decides which line names a
//! target first.

use std::collections::HashMap;

use super::{TargetRef, TargetSet, set::Names};

/// All input lines of a run, in order.
#[derive(Debug, Default)]
pub struct Inputs {
    /// For each line its input, unless that equals its target, and then its cells, without separators.
    text: String,
    entries: Vec<StoredLine>,
    /// The cells of all lines that are not empty, in order.
    cells: Vec<StoredCell>,
    targets: Names,
    files: Vec<Box<str>>,
    reasons: Vec<Box<str>>,
    columns: Vec<String>,
    counts: Counts,
    first_subdomain: Option<u32>,
    longer_rows: Option<LongerRows>,
}

/// Table rows with cells beyond the header, which are dropped. Not stored in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LongerRows {
    pub count: u64,
    /// The first, as `file:line`.
    pub first: String,
}

/// The number of lines by status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All lines: `targets + duplicates + rejected`.
    pub lines: usize,
    pub targets: usize,
    pub duplicates: usize,
    pub rejected: usize,
    /// Targets below their registrable domain.
    pub subdomains: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineStatus<'a> {
    /// The first line with this target.
    Target(TargetRef<'a>),
    /// An earlier line has this target.
    Duplicate(TargetRef<'a>),
    /// The reason why the line is not a valid domain.
    Rejected(&'a str),
}

impl<'a> LineStatus<'a> {
    pub fn target(self) -> Option<TargetRef<'a>> {
        match self {
            Self::Target(target) | Self::Duplicate(target) => Some(target),
            Self::Rejected(_) => None,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct InputLine<'a> {
    /// The domain as written, trimmed.
    pub input: &'a str,
    /// The file, relative to the current directory where it is below that; `-` for standard input.
    pub file: &'a str,
    /// The line's number in its file, from 1.
    pub number: u64,
    pub status: LineStatus<'a>,
    cell_text: &'a str,
    cells: &'a [StoredCell],
}

impl<'a> InputLine<'a> {
    /// The cell in column `index` of [`Inputs::columns`], unless it is missing or empty.
    pub fn column(&self, index: usize) -> Option<&'a str> {
        let cell = self.cells.iter().position(|cell| cell.column as usize == index)?;
        let start = if cell == 0 { 0 } else { self.cells[cell - 1].end as usize };
        Some(&self.cell_text[start..self.cells[cell].end as usize])
    }
}

impl Inputs {
    /// Every line, in order of the given files and the lines in them.
    pub fn lines(&self) -> impl ExactSizeIterator<Item = InputLine<'_>> {
        (0..self.entries.len()).map(|index| self.line(index))
    }

    /// The names of the CSV columns of all files, except for the domain column, in order of first appearance. No two
    /// are equal when letter case is ignored.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Each target once, in order of first appearance.
    pub fn targets(&self) -> impl ExactSizeIterator<Item = TargetRef<'_>> {
        self.targets.iter()
    }

    /// A target by its number in that order.
    pub fn target(&self, number: u32) -> TargetRef<'_> {
        self.targets.get(number)
    }

    /// The targets as a set, with the same numbers.
    pub fn target_set(&self) -> TargetSet {
        let mut set = TargetSet::default();
        for target in self.targets() {
            set.insert(target);
        }
        set
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The first target below its registrable domain, as an example for a warning.
    pub fn first_subdomain(&self) -> Option<&str> {
        self.first_subdomain.map(|id| self.targets.get(id).as_str())
    }

    pub fn longer_rows(&self) -> Option<&LongerRows> {
        self.longer_rows.as_ref()
    }

    /// These inputs with the remark about longer rows of `other`, which has the same lines or more.
    #[must_use]
    pub fn with_remarks_of(self, other: &Self) -> Self {
        Self { longer_rows: other.longer_rows.clone(), ..self }
    }

    fn line(&self, index: usize) -> InputLine<'_> {
        let entry = &self.entries[index];
        let next = self.entries.get(index + 1);
        let text_end = next.map_or(self.text.len(), |next| next.text as usize);
        let cells_end = next.map_or(self.cells.len(), |next| next.cells as usize);
        let text = &self.text[entry.text as usize..text_end];
        let status = match entry.status {
            StoredStatus::Target(id) => LineStatus::Target(self.targets.get(id)),
            StoredStatus::Duplicate(id) => LineStatus::Duplicate(self.targets.get(id)),
            StoredStatus::Rejected(id) => LineStatus::Rejected(&self.reasons[id as usize]),
        };
        let (input, cell_text) = match status.target() {
            Some(target) if entry.input_length == SAME_AS_TARGET => (target.as_str(), text),
            _ => text.split_at(entry.input_length as usize),
        };
        InputLine {
            input,
            file: &self.files[entry.file as usize],
            number: entry.number,
            status,
            cell_text,
            cells: &self.cells[entry.cells as usize..cells_end],
        }
    }
}

/// A line on its way into [`InputsBuilder::push`].
#[derive(Clone, Copy, Debug)]
pub struct RawLine<'a> {
    /// The domain as written, trimmed.
    pub input: &'a str,
    pub file: &'a str,
    /// The line's number in its file, from 1.
    pub number: u64,
    /// A target counts as a duplicate if an earlier line has it.
    pub status: LineStatus<'a>,
    /// Cells by index of their column, as set by [`InputsBuilder::set_columns`].
    pub columns: &'a [(usize, &'a str)],
}

#[derive(Debug, Default)]
pub struct InputsBuilder {
    inputs: Inputs,
    targets: TargetSet,
    reason_ids: HashMap<Box<str>, u32>,
}

impl InputsBuilder {
    /// Bytes of text, including cells, that one builder takes at most: its offsets have 32 bits.
    pub const MAX_TEXT_BYTES: usize = u32::MAX as usize;

    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the names of the columns. May be called at any time: cells refer to them by index.
    pub fn set_columns(&mut self, columns: Vec<String>) {
        self.inputs.columns = columns;
    }

    /// Adds a line, which is a duplicate if its target was pushed before.
    ///
    /// # Panics
    ///
    /// If all lines have more than [`MAX_TEXT_BYTES`](Self::MAX_TEXT_BYTES) bytes of text.
    pub fn push(&mut self, line: RawLine<'_>) {
        let inputs = &mut self.inputs;
        let entry_text = narrow(inputs.text.len());
        let entry_cells = narrow(inputs.cells.len());
        let is_target = line.status.target().is_some_and(|target| target.as_str() == line.input);
        if !is_target {
            inputs.text.push_str(line.input);
        }
        let cells_start = inputs.text.len();
        for &(column, cell) in line.columns.iter().filter(|(_, cell)| !cell.is_empty()) {
            inputs.text.push_str(cell);
            inputs.cells.push(StoredCell { column: narrow(column), end: narrow(inputs.text.len() - cells_start) });
        }
        if inputs.files.last().is_none_or(|last| **last != *line.file) {
            inputs.files.push(line.file.into());
        }
        let file = narrow(inputs.files.len() - 1);
        let status = match line.status {
            LineStatus::Target(target) | LineStatus::Duplicate(target) => self.target(target),
            LineStatus::Rejected(reason) => self.reject(reason),
        };
        self.inputs.counts.lines += 1;
        self.inputs.entries.push(StoredLine {
            text: entry_text,
            input_length: if is_target { SAME_AS_TARGET } else { narrow(line.input.len()) },
            cells: entry_cells,
            file,
            number: line.number,
            status,
        });
    }

    /// Counts a table row with cells beyond the header.
    pub(super) fn note_longer_row(&mut self, file: &str, line: u64) {
        let first = || LongerRows { count: 0, first: format!("{file}:{line}") };
        self.inputs.longer_rows.get_or_insert_with(first).count += 1;
    }

    /// Bytes of text so far, of lines or of targets, whichever is more.
    pub(super) fn text_length(&self) -> usize {
        self.inputs.text.len().max(self.targets.names.text_length())
    }

    pub fn finish(self) -> Inputs {
        Inputs { targets: self.targets.names, ..self.inputs }
    }

    fn target(&mut self, target: TargetRef<'_>) -> StoredStatus {
        let counts = &mut self.inputs.counts;
        let (id, is_new) = self.targets.insert(target);
        if !is_new {
            counts.duplicates += 1;
            return StoredStatus::Duplicate(id);
        }
        if target.is_subdomain() {
            counts.subdomains += 1;
            self.inputs.first_subdomain.get_or_insert(id);
        }
        counts.targets += 1;
        StoredStatus::Target(id)
    }

    fn reject(&mut self, reason: &str) -> StoredStatus {
        self.inputs.counts.rejected += 1;
        if let Some(&id) = self.reason_ids.get(reason) {
            return StoredStatus::Rejected(id);
        }
        let id = narrow(self.inputs.reasons.len());
        self.inputs.reasons.push(reason.into());
        self.reason_ids.insert(reason.into(), id);
        StoredStatus::Rejected(id)
    }
}

/// The length of an input that equals its target and is not stored.
const SAME_AS_TARGET: u32 = u32::MAX;

/// A line by offsets; its text and cells end where those of the next line begin.
#[derive(Debug)]
struct StoredLine {
    text: u32,
    input_length: u32,
    cells: u32,
    file: u32,
    number: u64,
    status: StoredStatus,
}

#[derive(Clone, Copy, Debug)]
struct StoredCell {
    column: u32,
    /// In the text after the line's input.
    end: u32,
}

/// A [`LineStatus`] by index of target or reason.
#[derive(Clone, Copy, Debug)]
enum StoredStatus {
    Target(u32),
    Duplicate(u32),
    Rejected(u32),
}

fn narrow(number: usize) -> u32 {
    u32::try_from(number)
        .expect("text is limited to MAX_TEXT_BYTES, and every index counts something of at least a byte")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::{Accept, clean};

    fn target(host: &'static str) -> LineStatus<'static> {
        assert_eq!(clean(host, Accept::DOMAINS).expect("a domain").target.as_str(), host);
        LineStatus::Target(TargetRef(host))
    }

    fn push(builder: &mut InputsBuilder, number: u64, input: &str, status: LineStatus<'_>, columns: &[(usize, &str)]) {
        builder.push(RawLine { input, file: "a.csv", number, status, columns });
    }

    #[test]
    fn lines_are_returned_as_pushed_and_repeated_targets_as_duplicates() {
        let mut builder = InputsBuilder::new();
        push(&mut builder, 2, "https://B.com", target("b.com"), &[(0, "Ünal"), (1, ""), (2, "x")]);
        push(&mut builder, 3, "nonsense", LineStatus::Rejected("no"), &[(1, "y")]);
        push(&mut builder, 5, "blog.a.com", target("blog.a.com"), &[]);
        builder.push(RawLine {
            input: "b.com",
            file: "b.txt",
            number: 1,
            status: target("b.com"),
            columns: &[(1, "z")],
        });
        push(&mut builder, 9, "c.com", target("c.com"), &[(0, "é"), (2, "y")]);
        builder.set_columns(vec!["client".into(), "owner".into(), "since".into()]);
        let inputs = builder.finish();

        let shown: Vec<_> = inputs.lines().map(|line| (line.input, line.file, line.number)).collect();
        assert_eq!(
            shown,
            [
                ("https://B.com", "a.csv", 2),
                ("nonsense", "a.csv", 3),
                ("blog.a.com", "a.csv", 5),
                ("b.com", "b.txt", 1),
                ("c.com", "a.csv", 9)
            ]
        );
        let cells: Vec<_> = inputs.lines().map(|line| [0, 1, 2, 3].map(|index| line.column(index))).collect();
        assert_eq!(cells[0], [Some("Ünal"), None, Some("x"), None]);
        assert_eq!(cells[1], [None, Some("y"), None, None]);
        assert_eq!(cells[2], [None; 4]);
        assert_eq!(cells[3], [None, Some("z"), None, None]);
        assert_eq!(cells[4], [Some("é"), None, Some("y"), None]);
        let targets: Vec<_> = inputs.targets().collect();
        let statuses: Vec<_> = inputs.lines().map(|line| line.status).collect();
        let [b, blog, c] = targets[..] else { panic!("three targets") };
        let expected = [
            LineStatus::Target(b),
            LineStatus::Rejected("no"),
            LineStatus::Target(blog),
            LineStatus::Duplicate(b),
            LineStatus::Target(c),
        ];
        assert_eq!(statuses, expected);
        assert_eq!([b, blog, c], [0, 1, 2].map(|number| inputs.target(number)));
        assert!(inputs.target_set().iter().eq(inputs.targets()));
        assert_eq!(inputs.counts(), Counts { lines: 5, targets: 3, duplicates: 1, rejected: 1, subdomains: 1 });
        assert_eq!(inputs.first_subdomain(), Some("blog.a.com"));
        assert_eq!(inputs.columns(), ["client", "owner", "since"]);
    }

    #[test]
    fn no_lines_are_accepted() {
        let inputs = InputsBuilder::new().finish();
        assert_eq!((inputs.lines().len(), inputs.targets().len(), inputs.counts()), (0, 0, Counts::default()));
        assert_eq!(inputs.first_subdomain(), None);
    }

    #[test]
    fn a_line_takes_no_more_than_its_entry_and_its_text() {
        assert_eq!(size_of::<StoredLine>(), 32);
    }
}
