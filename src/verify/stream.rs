//! The files of one partition as one stream of rows, sorted by target, of which few are in memory.

use std::{collections::VecDeque, fs::File, path::Path};

use arrow::{
    array::{Array, StringArray},
    record_batch::RecordBatch,
};
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder},
    },
    file::metadata::{ParquetMetaData, RowGroupMetaData},
};

use super::{
    cells::differs,
    decode::{COLUMNS, Kind},
    differences::Differences,
};

/// Rows that are read at once of each partition.
const BATCH_ROWS: usize = 1024;
/// Bytes of them at most, as they are before compression: usual rows have a thousand.
const BATCH_BYTES: u64 = 8 << 20;

/// Rows of one target that follow each other in a file.
pub(super) struct Slice {
    pub(super) file: String,
    pub(super) batch: RecordBatch,
}

/// The rows of one partition.
pub(super) struct Stream<'a> {
    dir: &'a Path,
    files: VecDeque<&'a String>,
    /// The file that is being read.
    file: &'a str,
    reader: Option<ParquetRecordBatchReader>,
    batch: Option<RecordBatch>,
    /// The next row of the batch.
    at: usize,
    differences: &'a Differences,
}

/// Opens a file whose columns have to be these; `wanted` names those that are read.
pub(super) fn open(
    path: &Path,
    expected: &[(&str, Kind)],
    wanted: Option<&[&str]>,
    rows: usize,
) -> Result<ParquetRecordBatchReader, String> {
    let file = File::open(path).map_err(|error| format!("cannot be opened: {error}"))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| error.to_string())?;
    if let Some(what) = differs(builder.schema(), expected) {
        return Err(what);
    }
    let mask = match wanted {
        None => ProjectionMask::all(),
        Some(names) => ProjectionMask::columns(builder.parquet_schema(), names.iter().copied()),
    };
    let rows = rows.min(rows_in(BATCH_BYTES, builder.metadata()));
    builder.with_projection(mask).with_batch_size(rows).build().map_err(|error| error.to_string())
}

/// How many of a file's rows have so many bytes together, one at least.
fn rows_in(bytes: u64, file: &ParquetMetaData) -> usize {
    let sum = |of: fn(&RowGroupMetaData) -> i64| {
        file.row_groups().iter().map(|group| u64::try_from(of(group)).unwrap_or_default()).sum::<u64>()
    };
    let (all, rows) = (sum(RowGroupMetaData::total_byte_size), sum(RowGroupMetaData::num_rows));
    usize::try_from(bytes.saturating_mul(rows) / all.max(1)).unwrap_or(usize::MAX).max(1)
}

impl<'a> Stream<'a> {
    pub(super) fn new(dir: &'a Path, files: &'a [String], differences: &'a Differences) -> Self {
        Self { dir, files: files.iter().collect(), file: "", reader: None, batch: None, at: 0, differences }
    }

    /// Takes the rows of a target. Targets have to be asked for in order; rows of any other on the way belong to nobody.
    pub(super) fn rows_of(&mut self, target: &str) -> Vec<Slice> {
        let mut slices = Vec::new();
        while let Some((found, rows)) = self.next_target() {
            if *found > *target {
                break;
            }
            if found == target {
                slices.extend(self.take(rows));
            } else {
                self.nobody(&found, rows);
            }
        }
        slices
    }

    /// Goes through what is left, which belongs to nobody.
    pub(super) fn finish(&mut self) {
        while let Some((found, rows)) = self.next_target() {
            self.nobody(&found, rows);
        }
    }

    fn nobody(&mut self, target: &str, rows: usize) {
        self.at += rows;
        let what = format!("{rows} rows of {target} belong to no answer, or are not in order of target");
        self.differences.add(self.file, what);
    }

    fn take(&mut self, rows: usize) -> Option<Slice> {
        let batch = self.batch.as_ref()?.slice(self.at, rows);
        self.at += rows;
        Some(Slice { file: self.file.to_owned(), batch })
    }

    /// The target of the next row, and how many rows of it follow in the batch.
    fn next_target(&mut self) -> Option<(String, usize)> {
        while self.batch.as_ref().is_none_or(|batch| self.at >= batch.num_rows()) {
            self.next_batch()?;
        }
        let column = self.batch.as_ref()?.column_by_name("target")?;
        let targets: &StringArray = column.as_any().downcast_ref()?;
        let target = targets.value(self.at);
        let rows = (self.at..targets.len()).take_while(|row| targets.value(*row) == target).count();
        Some((target.to_owned(), rows))
    }

    /// Reads on, in this file or the next; `None`: the end of all.
    fn next_batch(&mut self) -> Option<()> {
        self.at = 0;
        self.batch = None;
        loop {
            let Some(reader) = &mut self.reader else {
                self.file = self.files.pop_front()?;
                let columns = COLUMNS.map(|(name, kind, _)| (name, kind));
                match open(&self.dir.join(self.file), &columns, None, BATCH_ROWS) {
                    Ok(reader) => self.reader = Some(reader),
                    Err(what) => self.differences.add(self.file, what),
                }
                continue;
            };
            match reader.next() {
                Some(Ok(batch)) => {
                    self.batch = Some(batch);
                    return Some(());
                }
                Some(Err(error)) => {
                    self.differences.add(self.file, format!("cannot be read on: {error}"));
                    self.reader = None;
                }
                None => self.reader = None,
            }
        }
    }
}
