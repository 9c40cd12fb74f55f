//! Collects the lines and rows of all files within the limits.
//!
//! A reader's error means damage if the file is compressed, and a problem with the disk otherwise, so it is converted
//! where the file is known.

use std::{
    borrow::Cow,
    io::{self, Read},
    mem,
    path::{Path, PathBuf},
};

use encoding_rs::Encoding;

use super::{
    InputError, Limits, ReadOptions, domain_column,
    error::{encoding_hint, not_valid},
    head::{Head, is_delimiter},
    open::{Layout, Opened, file_name},
    safe,
    table::{MAX_COLUMNS, MAX_ROW_BYTES, Row, Rows},
    text::{Length, MAX_LINE_BYTES, Text, decoded, read_line},
};
use crate::targets::{Inputs, InputsBuilder, LineStatus, RawLine, clean, merged_columns::AllColumns};

/// Characters of a rejected line that are stored: enough to find it.
pub(super) const MAX_REJECTED_LENGTH: usize = 200;

pub(super) struct InputReader<'a> {
    options: &'a ReadOptions,
    limits: Limits,
    /// Bytes that may still be read.
    allowance: u64,
    builder: InputsBuilder,
    columns: AllColumns,
    lines: usize,
    /// Whether any file has the domain column.
    has_column: bool,
    /// Whether any rejected line has a delimiter of tables.
    has_delimiter: bool,
}

struct Header {
    /// The index of the domain column.
    domain: usize,
    /// The index of each other column among those of all files.
    indices: Vec<Option<usize>>,
}

struct InputFile<'a> {
    path: &'a Path,
    /// As recorded with its lines.
    name: String,
    encoding: &'static Encoding,
    /// The reason for rejecting a line that is not in this encoding.
    undecodable: String,
}

/// A line or row before it is cleaned.
struct UncleanedLine<'a> {
    number: u64,
    written: &'a str,
    /// Why it is rejected without cleaning, if it is.
    unusable: Option<&'a str>,
    cells: &'a [(usize, &'a str)],
}

impl<'a> InputReader<'a> {
    pub(super) fn new(limits: Limits, options: &'a ReadOptions) -> Self {
        Self {
            options,
            limits,
            allowance: limits.read,
            builder: InputsBuilder::new(),
            columns: AllColumns::default(),
            lines: 0,
            has_column: false,
            has_delimiter: false,
        }
    }

    /// Reads a file to its end.
    pub(super) fn read(&mut self, path: &Path, opened: Opened<'_>) -> Result<(), InputError> {
        let compression = opened.compression;
        let result = self.read_text(path, opened.bytes);
        result.map_err(|interrupted| match (interrupted, compression) {
            (ReadFailure::Input(error), _) => error,
            (ReadFailure::Reading(source), _) if source.kind() == io::ErrorKind::FileTooLarge => {
                InputError::TooMuch { path: path.into(), limit: format!("{} bytes of text", self.limits.read) }
            }
            (ReadFailure::Reading(source), Some(compression)) => {
                InputError::Damaged { path: path.into(), compression, source }
            }
            (ReadFailure::Reading(source), None) => InputError::Unreadable { path: path.into(), source },
        })
    }

    fn read_text(&mut self, path: &Path, bytes: impl Read) -> Result<(), ReadFailure> {
        let mut text = Text::open(bytes, self.allowance, self.options.encoding)?;
        let encoding = text.encoding;
        let undecodable = format!("{}; {}", not_valid(encoding), encoding_hint());
        let file = InputFile { path, name: file_name(path), encoding, undecodable };
        let column = self.options.column.as_deref();
        match Layout::of(path, self.options.format) {
            Layout::Lines => self.read_lines(&file, 1, &mut text)?,
            Layout::Table { delimiter } => {
                let head = Head::read(&mut text, column)?;
                self.read_table(&file, &head, delimiter, &mut text)?;
            }
            Layout::Unknown => {
                let head = Head::read(&mut text, column)?;
                if head.is_table(column) {
                    self.read_table(&file, &head, None, &mut text)?;
                } else {
                    self.read_lines(&file, head.line, &mut head.bytes.chain(&mut text))?;
                }
            }
        }
        self.allowance = text.allowance;
        Ok(())
    }

    /// Reads lines, starting with line `first` of the file. The name of the domain column at the top is a header, as in
    /// a table with one column.
    fn read_lines(&mut self, file: &InputFile<'_>, first: u64, text: &mut impl io::BufRead) -> Result<(), ReadFailure> {
        let too_long = format!("the line is longer than {} KiB", MAX_LINE_BYTES / 1024);
        let (mut line, mut is_top) = (Vec::new(), true);
        for number in first.. {
            let Some(length) = read_line(text, &mut line)? else { break };
            let (whole, is_text) = match decoded(&line, length) {
                Ok(whole) => (Cow::Borrowed(whole), true),
                // The text of a comment does not matter.
                Err(valid) if without_comment(valid).len() < valid.len() => (valid.into(), true),
                Err(_) => (String::from_utf8_lossy(&line), false),
            };
            let content = without_comment(&whole);
            // A comment may have any length.
            let is_cut = length == Length::Cut && content.len() == whole.len();
            let unusable = match (is_cut, is_text) {
                (true, _) => Some(too_long.as_str()),
                (false, false) => Some(file.undecodable.as_str()),
                (false, true) => None,
            };
            let written = content.trim();
            if written.is_empty() && unusable.is_none() {
                continue;
            }
            if mem::take(&mut is_top) && unusable.is_none() && self.is_header(written) {
                self.has_column = true;
                continue;
            }
            self.add(file, &UncleanedLine { number, written, unusable, cells: &[] })?;
        }
        Ok(())
    }

    fn is_header(&self, line: &str) -> bool {
        let names = domain_column::names(std::iter::once(line.into()));
        domain_column::find(&names, self.options.column.as_deref()).is_some()
    }

    fn read_table(
        &mut self,
        file: &InputFile<'_>,
        head: &Head,
        delimiter: Option<u8>,
        text: &mut impl io::BufRead,
    ) -> Result<(), ReadFailure> {
        self.has_column = true;
        if head.is_cut() {
            return Err(InputError::NoHeader { path: file.path.into() }.into());
        }
        let known = head.named_delimiter.or(delimiter);
        let delimiter = known.unwrap_or_else(|| head.delimiter(self.options.column.as_deref()));
        let mut rows = Rows::new(head.bytes.as_slice().chain(text), delimiter, head.line);
        let Some(Header { domain, indices }) = self.header(file, &mut rows)? else { return Ok(()) };

        let too_long = format!("the row is longer than {} KiB", MAX_ROW_BYTES / 1024);
        while let Some(length) = whole_row(file.path, &mut rows)? {
            let written = rows.cell(domain);
            let unusable = match length {
                Length::Cut => Some(too_long.as_str()),
                Length::Whole if !rows.is_text() => Some(file.undecodable.as_str()),
                Length::Whole => None,
            };
            let texts: Vec<_> = match length {
                Length::Whole => {
                    rows.cells().zip(&indices).filter_map(|(cell, index)| Some(((*index)?, cell))).collect()
                }
                Length::Cut => Vec::new(),
            };
            let cells: Vec<_> = texts.iter().map(|(index, cell)| (*index, cell.as_ref())).collect();
            let is_blank = written.is_empty() && cells.iter().all(|(_, cell)| cell.is_empty());
            if !is_blank || unusable.is_some() {
                self.add(file, &UncleanedLine { number: rows.line(), written: &written, unusable, cells: &cells })?;
            }
            if (indices.len()..rows.count()).any(|index| !rows.cell(index).is_empty()) {
                self.builder.note_longer_row(&file.name, rows.line());
            }
        }
        Ok(())
    }

    fn header(
        &mut self,
        file: &InputFile<'_>,
        rows: &mut Rows<impl io::BufRead>,
    ) -> Result<Option<Header>, ReadFailure> {
        let path = file.path;
        match whole_row(path, rows)? {
            None => return Ok(None),
            Some(Length::Cut) => return Err(InputError::NoHeader { path: path.into() }.into()),
            Some(Length::Whole) if !rows.is_text() => {
                return Err(InputError::Encoding { path: path.into(), encoding: file.encoding }.into());
            }
            Some(Length::Whole) => {}
        }
        let too_many = || InputError::TooManyColumns { path: path.into() };
        if rows.count() > MAX_COLUMNS {
            return Err(too_many().into());
        }
        let names = domain_column::names(rows.cells());
        let wanted = self.options.column.as_deref();
        let Some(domain) = domain_column::find(&names, wanted) else {
            let is_data = rows.cells().any(|cell| clean(&cell, self.options.accept).is_ok());
            let wanted = wanted.map(Into::into);
            return Err(InputError::NoColumn { path: path.into(), wanted, columns: names, is_data }.into());
        };
        let indices: Vec<_> = names
            .iter()
            .enumerate()
            .map(|(index, name)| (index != domain).then(|| self.columns.index_of(name)))
            .collect();
        if indices.iter().flatten().any(|index| *index >= MAX_COLUMNS) {
            return Err(too_many().into());
        }
        Ok(Some(Header { domain, indices }))
    }

    /// Cleans a line and stores it.
    fn add(&mut self, file: &InputFile<'_>, found: &UncleanedLine<'_>) -> Result<(), InputError> {
        let judged = match found.unusable {
            Some(reason) => Err(Cow::Borrowed(reason)),
            None => clean(found.written, self.options.accept).map_err(|rejection| rejection.to_string().into()),
        };
        let max_length = if judged.is_ok() { usize::MAX } else { MAX_REJECTED_LENGTH };
        let input = safe(found.written, max_length);
        let too_much = |limit: String| InputError::TooMuch { path: file.path.into(), limit };
        if self.lines == self.limits.lines {
            return Err(too_much(format!("{} lines", self.limits.lines)));
        }
        let length = input.len() + found.cells.iter().map(|(_, cell)| cell.len()).sum::<usize>();
        // A Unicode name is shorter than its A-labels.
        let length = judged.as_ref().map_or(length, |cleaned| length.max(cleaned.target.as_str().len()));
        if length > self.limits.text.saturating_sub(self.builder.text_length()) {
            return Err(too_much(format!("{} bytes of text", self.limits.text)));
        }
        self.lines += 1;
        self.has_delimiter |= judged.is_err() && found.written.contains(is_delimiter);
        let status = match &judged {
            Ok(cleaned) => LineStatus::Target(cleaned.target.view()),
            Err(reason) => LineStatus::Rejected(reason),
        };
        self.builder.push(RawLine {
            input: &input,
            file: &file.name,
            number: found.number,
            status,
            columns: found.cells,
        });
        Ok(())
    }

    /// The lines of `paths`; an error if none of them has a target.
    pub(super) fn finish(mut self, paths: &[PathBuf]) -> Result<Inputs, InputError> {
        if let Some(wanted) = self.options.column.as_ref().filter(|_| !self.has_column) {
            return Err(InputError::NoTable { wanted: wanted.clone() });
        }
        self.builder.set_columns(self.columns.into_names());
        let inputs = self.builder.finish();
        if inputs.targets().len() > 0 {
            return Ok(inputs);
        }
        let rejected = inputs.lines().find_map(|line| match line.status {
            LineStatus::Rejected(reason) => Some((line, reason)),
            LineStatus::Target(_) | LineStatus::Duplicate(_) => None,
        });
        let why = match rejected {
            Some((line, reason)) => format!(
                "{} {:?} ({}:{}): {reason}",
                all_rejected(inputs.counts().lines),
                line.input,
                line.file,
                line.number
            ),
            None => "only blank lines, comments or a header".into(),
        };
        let files = paths.iter().map(|path| path.display().to_string()).collect();
        Err(InputError::NoDomains { files, why, is_table: self.has_delimiter && !self.has_column })
    }
}

fn all_rejected(lines: usize) -> String {
    if lines == 1 {
        "its only line was rejected:".into()
    } else {
        format!("all {lines} lines were rejected, starting with")
    }
}

/// Reads the next row; an error if a quotation mark is never closed.
fn whole_row(path: &Path, rows: &mut Rows<impl io::BufRead>) -> Result<Option<Length>, ReadFailure> {
    match rows.read()? {
        None => Ok(None),
        Some(Row::Read(length)) => Ok(Some(length)),
        Some(Row::Unclosed) => Err(InputError::Unclosed { path: path.into(), line: rows.line() }.into()),
    }
}

/// What ended the reading of a file.
#[derive(Debug, thiserror::Error)]
enum ReadFailure {
    #[error(transparent)]
    Reading(#[from] io::Error),
    #[error(transparent)]
    Input(#[from] InputError),
}

/// A line up to a `#` at its beginning or after a blank. In a URL, `#` does not start a comment.
fn without_comment(line: &str) -> &str {
    // Concatenated files contain byte order marks.
    if line.trim_start_matches('\u{feff}').starts_with('#') {
        return "";
    }
    let is_comment = |(index, _): &(usize, &str)| line[..*index].chars().next_back().is_none_or(char::is_whitespace);
    line.match_indices('#').find(is_comment).map_or(line, |(index, _)| &line[..index])
}
