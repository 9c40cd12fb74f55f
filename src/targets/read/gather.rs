//! The lines and rows of file after file, judged and kept, as long as they stay within the limits.
//!
//! What a reader's error means depends on the file: damage where there was compression, the disk elsewhere. So it is
//! carried up to where the file is known, and only there turned into words.

use std::{
    borrow::Cow,
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{
    InputError, Limits, ReadOptions,
    columns::{self, Columns},
    open::{Layout, Opened},
    safe,
    table::{self, MOST_COLUMNS, MOST_ROW, Row, Rows},
    text::{Length, MOST_LINE, Text, decoded, read_line},
};
use crate::targets::{Fate, Inputs, InputsBuilder, RawFate, RawLine, clean};

/// Characters of a rejected line that are kept: enough to find it again.
pub(super) const LONGEST_REJECTED: usize = 200;

/// The lines so far.
pub(super) struct Gathering<'a> {
    options: &'a ReadOptions,
    limits: Limits,
    /// Bytes that may still be read.
    allowance: u64,
    builder: InputsBuilder,
    columns: Columns,
    lines: usize,
}

/// What the columns of a table are.
struct Header {
    /// The index of the one that holds the domains.
    domain: usize,
    /// For each of the others its place among those of all files.
    places: Vec<Option<usize>>,
}

/// A line or row before it is judged.
struct Found<'a> {
    number: u64,
    written: &'a str,
    /// Why it cannot be judged, if so.
    beyond: Option<&'a str>,
    cells: &'a [(usize, &'a str)],
}

impl<'a> Gathering<'a> {
    pub(super) fn new(limits: Limits, options: &'a ReadOptions) -> Self {
        Self {
            options,
            limits,
            allowance: limits.read,
            builder: InputsBuilder::new(),
            columns: Columns::default(),
            lines: 0,
        }
    }

    /// Reads a file to its end.
    pub(super) fn read(&mut self, path: &Path, opened: Opened<'_>) -> Result<(), InputError> {
        let compression = opened.compression;
        let result = Text::open(opened.bytes, self.allowance).map_err(Interrupted::from).and_then(|mut text| {
            match Layout::of(path) {
                Layout::Lines => self.read_lines(path, &mut text)?,
                Layout::Table { delimiter } => self.read_table(path, &mut text, delimiter)?,
            }
            self.allowance = text.allowance();
            Ok(())
        });
        result.map_err(|interrupted| match (interrupted, compression) {
            (Interrupted::Input(error), _) => error,
            (Interrupted::Reading(source), _) if source.kind() == io::ErrorKind::FileTooLarge => {
                InputError::TooMuch { path: path.into(), limit: format!("{} bytes of text", self.limits.read) }
            }
            (Interrupted::Reading(source), Some(compression)) => {
                InputError::Damaged { path: path.into(), compression, source }
            }
            (Interrupted::Reading(source), None) => InputError::Unreadable { path: path.into(), source },
        })
    }

    fn read_lines(&mut self, path: &Path, text: &mut Text<impl Read>) -> Result<(), Interrupted> {
        let file = path.to_string_lossy();
        let beyond = format!("the line is longer than {} KiB", MOST_LINE / 1024);
        let (mut line, mut number) = (Vec::new(), 0);
        while let Some(length) = read_line(text, &mut line)? {
            number += 1;
            let whole = decoded(&line, length);
            let content = without_comment(&whole);
            // A comment may be as long as it likes.
            let is_cut = length == Length::Cut && content.len() == whole.len();
            let written = content.trim();
            if !written.is_empty() || is_cut {
                self.add(path, &file, &Found { number, written, beyond: is_cut.then_some(&beyond), cells: &[] })?;
            }
        }
        Ok(())
    }

    fn read_table(
        &mut self,
        path: &Path,
        text: &mut Text<impl Read>,
        delimiter: Option<u8>,
    ) -> Result<(), Interrupted> {
        let (mut first, mut number, mut said) = (Vec::new(), 0, None);
        while first.trim_ascii().is_empty() {
            match read_line(text, &mut first)? {
                None => return Ok(()),
                Some(Length::Cut) => return Err(InputError::NoHeader { path: path.into() }.into()),
                Some(Length::Whole) => number += 1,
            }
            // A line that some programs put above the header, for Excel.
            if let [b's', b'e', b'p', b'=', character] = first[..] {
                said = Some(character);
                first.clear();
            }
        }
        let delimiter = said.or(delimiter).unwrap_or_else(|| table::delimiter_of(&first));
        first.push(b'\n');
        let mut rows = Rows::new(first.as_slice().chain(text), delimiter, number);
        let Some(Header { domain, places }) = self.header(path, &mut rows)? else { return Ok(()) };

        let file = path.to_string_lossy();
        let beyond = format!("the row is longer than {} KiB", MOST_ROW / 1024);
        while let Some(length) = whole_row(path, &mut rows)? {
            let written = rows.cell(domain);
            let cut = (length == Length::Cut).then_some(beyond.as_str());
            let texts: Vec<_> = match length {
                Length::Whole => {
                    rows.cells().zip(&places).filter_map(|(cell, place)| Some(((*place)?, cell))).collect()
                }
                Length::Cut => Vec::new(),
            };
            let cells: Vec<_> = texts.iter().map(|(place, cell)| (*place, cell.as_ref())).collect();
            let is_blank = written.is_empty() && cells.iter().all(|(_, cell)| cell.is_empty());
            if !is_blank || cut.is_some() {
                self.add(path, &file, &Found { number: rows.line(), written: &written, beyond: cut, cells: &cells })?;
            }
        }
        Ok(())
    }

    fn header(&mut self, path: &Path, rows: &mut Rows<impl io::BufRead>) -> Result<Option<Header>, Interrupted> {
        match whole_row(path, rows)? {
            None => return Ok(None),
            Some(Length::Cut) => return Err(InputError::NoHeader { path: path.into() }.into()),
            Some(Length::Whole) => {}
        }
        let too_many = || InputError::TooManyColumns { path: path.into() };
        if rows.count() > MOST_COLUMNS {
            return Err(too_many().into());
        }
        let names = columns::names(rows.cells());
        let wanted = self.options.column.as_deref();
        let Some(domain) = columns::find(&names, wanted) else {
            let is_data = rows.cells().any(|cell| clean(&cell, self.options.allow_ip).is_ok());
            let wanted = wanted.map(Into::into);
            return Err(InputError::NoColumn { path: path.into(), wanted, columns: names, is_data }.into());
        };
        let mut places = Vec::with_capacity(names.len());
        for (index, name) in names.iter().enumerate() {
            let place = if index == domain { None } else { Some(self.columns.place(name).ok_or_else(too_many)?) };
            places.push(place);
        }
        Ok(Some(Header { domain, places }))
    }

    /// Judges a line and keeps it.
    fn add(&mut self, path: &Path, file: &str, found: &Found<'_>) -> Result<(), InputError> {
        let judged = match found.beyond {
            Some(reason) => Err(Cow::Borrowed(reason)),
            None => clean(found.written, self.options.allow_ip).map_err(|reject| reject.to_string().into()),
        };
        let longest = if judged.is_ok() { usize::MAX } else { LONGEST_REJECTED };
        let input = safe(found.written, longest);
        let too_much = |limit: String| InputError::TooMuch { path: path.into(), limit };
        if self.lines == self.limits.lines {
            return Err(too_much(format!("{} lines", self.limits.lines)));
        }
        let length = input.len() + found.cells.iter().map(|(_, cell)| cell.len()).sum::<usize>();
        // A name in its own letters is shorter than its A-labels.
        let length = judged.as_ref().map_or(length, |cleaned| length.max(cleaned.target.as_str().len()));
        if length > self.limits.text.saturating_sub(self.builder.text_length()) {
            return Err(too_much(format!("{} bytes of text", self.limits.text)));
        }
        self.lines += 1;
        let fate = match &judged {
            Ok(cleaned) => RawFate::Target(cleaned.target.view()),
            Err(reason) => RawFate::Rejected(reason),
        };
        self.builder.push(RawLine { input: &input, file, number: found.number, fate, columns: found.cells });
        Ok(())
    }

    /// The lines of `paths`, of which at least one has to name a target.
    pub(super) fn finish(mut self, paths: &[PathBuf]) -> Result<Inputs, InputError> {
        self.builder.set_columns(self.columns.into_names());
        let inputs = self.builder.finish();
        if inputs.targets().len() > 0 {
            return Ok(inputs);
        }
        let rejected = inputs.lines().find_map(|line| match line.fate {
            Fate::Rejected(reason) => Some((line, reason)),
            Fate::Target(_) | Fate::Duplicate(_) => None,
        });
        let why = match rejected {
            Some((line, reason)) => format!(
                "{}, {:?} ({}:{}): {reason}",
                all_rejected(inputs.counts().lines),
                line.input,
                line.file,
                line.number
            ),
            None => "nothing is in there but blank lines, comments or a header".into(),
        };
        let files = paths.iter().map(|path| path.display().to_string()).collect();
        Err(InputError::NoDomains { files, why })
    }
}

fn all_rejected(lines: usize) -> String {
    if lines == 1 { "its one line is rejected".into() } else { format!("all {lines} lines are rejected, the first") }
}

/// Goes to the next row; one that is never closed is an error.
fn whole_row(path: &Path, rows: &mut Rows<impl io::BufRead>) -> Result<Option<Length>, Interrupted> {
    match rows.read()? {
        None => Ok(None),
        Some(Row::Read(length)) => Ok(Some(length)),
        Some(Row::Unclosed) => Err(InputError::Unclosed { path: path.into(), line: rows.line() }.into()),
    }
}

/// What ended the reading of a file, before it is known what the reader's errors mean there.
#[derive(Debug, thiserror::Error)]
enum Interrupted {
    #[error(transparent)]
    Reading(#[from] io::Error),
    #[error(transparent)]
    Input(#[from] InputError),
}

/// A line up to a `#` at its beginning or after a blank; one within a URL is a part of it.
fn without_comment(line: &str) -> &str {
    let is_comment = |(index, _): &(usize, &str)| line[..*index].chars().next_back().is_none_or(char::is_whitespace);
    line.match_indices('#').find(is_comment).map_or(line, |(index, _)| &line[..index])
}
