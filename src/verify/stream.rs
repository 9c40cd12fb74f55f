//! The published Parquet files of one folder as one stream of rows, of which few are in memory. Does not decide what is
//! right.

use std::{collections::VecDeque, fs::File, path::Path};

use arrow::{
    array::{Array, AsArray},
    datatypes::{DataType, Schema},
    record_batch::RecordBatch,
};
use parquet::{
    arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder},
    file::metadata::{ParquetMetaData, RowGroupMetaData},
};

use super::difference::{Differences, read_error};
use crate::humanize;

/// Rows that are read at once from each folder.
const BATCH_ROWS: usize = 1024;
/// Maximum bytes of these rows before compression: usual rows have a thousand.
const BATCH_BYTES: u64 = 8 << 20;

/// Consecutive rows of a file.
pub(super) struct Slice {
    pub(super) file: String,
    pub(super) rows: RecordBatch,
}

/// The rows of some files, one file after the other.
pub(super) struct Stream<'a> {
    dir: &'a Path,
    schema: &'a Schema,
    files: VecDeque<&'a String>,
    /// The file that is being read.
    file: &'a str,
    reader: Option<ParquetRecordBatchReader>,
    batch: Option<RecordBatch>,
    /// The next row of the batch.
    at: usize,
    differences: &'a Differences,
}

/// Opens a file that must have the columns of `schema`, in order.
pub(super) fn open(path: &Path, schema: &Schema) -> Result<ParquetRecordBatchReader, String> {
    let file = File::open(path).map_err(|error| read_error(&error))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| error.to_string())?;
    let columns = |of: &Schema| of.fields().iter().map(|it| (it.name().clone(), it.data_type().clone())).collect();
    let (found, expected): (Vec<_>, Vec<_>) = (columns(builder.schema()), columns(schema));
    if let Some((found, expected)) = found.iter().zip(&expected).find(|(found, expected)| found != expected) {
        let text = |(name, of): &(String, DataType)| format!("`{name}` ({of})");
        return Err(format!("has a column {}, expected {}", text(found), text(expected)));
    }
    if found.len() != expected.len() {
        return Err(format!("has {} columns, expected {}", found.len(), expected.len()));
    }
    let rows = BATCH_ROWS.min(rows_in(BATCH_BYTES, builder.metadata()));
    builder.with_batch_size(rows).build().map_err(|error| error.to_string())
}

/// How many of a file's rows have this many bytes together; at least one.
fn rows_in(bytes: u64, file: &ParquetMetaData) -> usize {
    let sum = |of: fn(&RowGroupMetaData) -> i64| {
        file.row_groups().iter().map(|group| u64::try_from(of(group)).unwrap_or_default()).sum::<u64>()
    };
    let (all, rows) = (sum(RowGroupMetaData::total_byte_size), sum(RowGroupMetaData::num_rows));
    usize::try_from(bytes.saturating_mul(rows) / all.max(1)).unwrap_or(usize::MAX).max(1)
}

impl<'a> Stream<'a> {
    pub(super) fn new(
        dir: &'a Path,
        files: impl IntoIterator<Item = &'a String>,
        schema: &'a Schema,
        differences: &'a Differences,
    ) -> Self {
        let files = files.into_iter().collect();
        Self { dir, schema, files, file: "", reader: None, batch: None, at: 0, differences }
    }

    /// The rows of a target. Targets must be requested in order; rows of any other target in between are unexpected.
    pub(super) fn rows_of(&mut self, target: &str) -> Vec<Slice> {
        let mut slices = Vec::new();
        while let Some((found, rows)) = self.next_target() {
            match found.as_str().cmp(target) {
                std::cmp::Ordering::Greater => break,
                std::cmp::Ordering::Equal => slices.extend(self.take(rows)),
                std::cmp::Ordering::Less => self.skip(&found, rows),
            }
        }
        slices
    }

    /// The next `wanted` rows, or all that are left.
    pub(super) fn next_rows(&mut self, wanted: usize) -> Vec<Slice> {
        let (mut slices, mut left) = (Vec::new(), wanted);
        while left > 0
            && let Some(rows) = self.rows_left()
        {
            slices.extend(self.take(rows.min(left)));
            left -= rows.min(left);
        }
        slices
    }

    /// Reads the remaining rows, which are unexpected.
    pub(super) fn finish(&mut self) {
        while let Some((found, rows)) = self.next_target() {
            self.skip(&found, rows);
        }
    }

    fn skip(&mut self, target: &str, rows: usize) {
        self.at += rows;
        let what = format!(
            "{} of {target} without a stored answer or out of order",
            humanize::counted(rows as u64, "row", "rows")
        );
        self.differences.add(self.file, what);
    }

    fn take(&mut self, rows: usize) -> Option<Slice> {
        let rows = self.batch.as_ref()?.slice(self.at, rows);
        self.at += rows.num_rows();
        Some(Slice { file: self.file.to_owned(), rows })
    }

    /// The target of the next row, and how many rows of it follow in the batch.
    fn next_target(&mut self) -> Option<(String, usize)> {
        self.rows_left()?;
        let targets = self.batch.as_ref()?.column_by_name("target")?.as_string::<i32>();
        let target = targets.value(self.at);
        let rows = (self.at..targets.len()).take_while(|row| targets.value(*row) == target).count();
        Some((target.to_owned(), rows))
    }

    /// How many rows are left in the current batch, or else in the next one; `None` at the end.
    fn rows_left(&mut self) -> Option<usize> {
        loop {
            if let Some(batch) = self.batch.as_ref().filter(|batch| self.at < batch.num_rows()) {
                return Some(batch.num_rows() - self.at);
            }
            (self.at, self.batch) = (0, None);
            match self.reader.as_mut().and_then(Iterator::next) {
                Some(Ok(batch)) => self.batch = Some(batch),
                Some(Err(error)) => {
                    self.differences.add(self.file, format!("cannot be read completely: {error}"));
                    self.reader = None;
                }
                None => {
                    self.file = self.files.pop_front()?;
                    let opened = open(&self.dir.join(self.file), self.schema);
                    self.reader = self.differences.passed(self.file, opened);
                }
            }
        }
    }
}
