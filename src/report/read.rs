//! The published tables as their readers need them: a few columns, a few thousand rows at a time.
//!
//! Which files there are is taken from `_run.json`, not from a look at the directory: files that it does not name are
//! none of the dataset, and one that it names and that is not there is an error, not fewer rows.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use arrow::{
    array::{Array, ArrayRef, BooleanArray, PrimitiveArray, RecordBatch, StringArray, cast::AsArray},
    datatypes::{ArrowPrimitiveType, TimestampMicrosecondType},
};
use parquet::arrow::{
    ProjectionMask,
    arrow_reader::{ArrowPredicateFn, ParquetRecordBatchReaderBuilder, RowFilter},
};

use super::{ReportError, month::Month};
use crate::{
    dataset::{HISTORY, TARGETS, UNDATED},
    decode::schema,
    export::RunRecord,
};

/// Rows read at once: of the few columns that are read, some 1 MB.
const BATCH_ROWS: usize = 8_192;
/// Months that are counted; histories begin in 2019, and only rows with absurd dates make more of them.
const MOST_MONTHS: usize = 4_096;
/// A month with fewer rows than this share of the fullest month's is not the latest: it has only begun to come in.
const LATEST_SHARE: u64 = 2;

#[derive(Debug)]
pub(super) struct Dataset {
    history: Vec<PathBuf>,
    targets: Vec<PathBuf>,
    /// Where each run's rows are kept: the day whose rows are read, and how many days there are.
    pub(super) snapshot: Option<(String, usize)>,
    /// Rows of `backlinks_undated`.
    undated: u64,
}

/// The months that a history has rows of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Months {
    pub(super) rows: BTreeMap<Month, u64>,
    /// Rows without a usable date.
    pub(super) undated: u64,
    /// The last month that is there for at least half as many targets as any other.
    pub(super) latest: Option<Month>,
}

/// Rows of a file, with the file for errors to name.
pub(super) struct Rows<'a> {
    path: &'a Path,
    batch: RecordBatch,
}

impl Dataset {
    /// The files that `record` names, none of which may be missing.
    pub(super) fn open(dir: &Path, record: &RunRecord) -> Result<Self, ReportError> {
        let of = |table: &str| {
            let files = record.files.iter().filter(|file| file.path.starts_with(table));
            let mut paths: Vec<_> = files.map(|file| &file.path).collect();
            // A partition's parts in the order of their numbers: a target's rows may go on in the next.
            paths.sort_by_key(|path| (path.parent(), path.as_os_str().len(), *path));
            paths.into_iter().map(|path| dir.join(path)).collect::<Vec<_>>()
        };
        let mut found =
            Self { history: of(HISTORY), targets: of(TARGETS), undated: rows_of(record, UNDATED), snapshot: None };
        found.keep_newest_snapshot(dir);
        if found.history.is_empty() || found.targets.is_empty() || !dir.join(HISTORY).is_dir() {
            return Err(ReportError::NoDataset(dir.to_owned()));
        }
        for file in &record.files {
            let path = dir.join(&file.path);
            match fs::symlink_metadata(&path) {
                Ok(metadata) if metadata.is_file() && metadata.len() == file.bytes => {}
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(ReportError::Read { path, source });
                }
                _ => return Err(ReportError::Changed(path)),
            }
        }
        Ok(found)
    }

    /// Where the rows of several runs are kept side by side, a sum over all would count targets more than once.
    fn keep_newest_snapshot(&mut self, dir: &Path) {
        let day = |path: &PathBuf| {
            let keys = path.strip_prefix(dir).unwrap_or(path).iter().filter_map(|part| part.to_str());
            keys.filter_map(|part| part.strip_prefix("run_date=")).map(str::to_owned).next()
        };
        let days: BTreeSet<String> = self.history.iter().filter_map(day).collect();
        if let Some(newest) = days.last().filter(|_| days.len() > 1) {
            self.history.retain(|path| day(path).as_ref() == Some(newest));
            self.snapshot = Some((newest.clone(), days.len()));
        }
    }

    /// Goes through `columns` of the history, file by file, each sorted by target and date.
    pub(super) fn history(
        &self,
        columns: &[&str],
        mut take: impl FnMut(&Rows<'_>) -> Result<(), ReportError>,
    ) -> Result<(), ReportError> {
        self.history.iter().try_for_each(|path| read(path, Some(columns), None, &mut take))
    }

    /// Likewise, but only rows of one month. The other rows' columns are not decoded.
    pub(super) fn history_of(
        &self,
        month: Month,
        columns: &[&str],
        mut take: impl FnMut(&Rows<'_>) -> Result<(), ReportError>,
    ) -> Result<(), ReportError> {
        self.history.iter().try_for_each(|path| read(path, Some(columns), Some(month), &mut take))
    }

    /// Goes through all columns of `targets`.
    pub(super) fn targets(
        &self,
        mut take: impl FnMut(&Rows<'_>) -> Result<(), ReportError>,
    ) -> Result<(), ReportError> {
        self.targets.iter().try_for_each(|path| read(path, None, None, &mut take))
    }

    /// Which months there are. Reads the dates alone.
    pub(super) fn months(&self) -> Result<Months, ReportError> {
        let mut months = Months { undated: self.undated, ..Months::default() };
        self.history(&[schema::DATE], |rows| {
            let dates = rows.dates()?;
            for date in dates {
                match date.and_then(Month::of_micros) {
                    Some(month) if months.rows.len() < MOST_MONTHS || months.rows.contains_key(&month) => {
                        *months.rows.entry(month).or_default() += 1;
                    }
                    _ => months.undated += 1,
                }
            }
            Ok(())
        })?;
        let fullest = months.rows.values().copied().max().unwrap_or(0);
        months.latest = months.rows.iter().rfind(|(_, rows)| **rows * LATEST_SHARE >= fullest).map(|(month, _)| *month);
        Ok(months)
    }
}

/// Rows of a table, as the record says.
fn rows_of(record: &RunRecord, table: &str) -> u64 {
    record.files.iter().filter(|file| file.path.starts_with(table)).map(|file| file.rows).sum()
}

impl Rows<'_> {
    pub(super) fn len(&self) -> usize {
        self.batch.num_rows()
    }

    /// Names of the columns, in order.
    pub(super) fn names(&self) -> Vec<String> {
        self.batch.schema().fields().iter().map(|field| field.name().clone()).collect()
    }

    pub(super) fn texts(&self, name: &str) -> Result<&StringArray, ReportError> {
        let column = self.column(name)?;
        column.as_string_opt().ok_or_else(|| self.damaged(name))
    }

    pub(super) fn numbers<T: ArrowPrimitiveType>(&self, name: &str) -> Result<&PrimitiveArray<T>, ReportError> {
        let column = self.column(name)?;
        column.as_primitive_opt().ok_or_else(|| self.damaged(name))
    }

    /// The dates in microseconds.
    pub(super) fn dates(&self) -> Result<&PrimitiveArray<TimestampMicrosecondType>, ReportError> {
        self.numbers(schema::DATE)
    }

    pub(super) fn column(&self, name: &str) -> Result<&ArrayRef, ReportError> {
        self.batch.column_by_name(name).ok_or_else(|| self.damaged(name))
    }

    pub(super) fn damaged(&self, name: &str) -> ReportError {
        damaged(self.path, format!("the column {name:?} has an unexpected type"))
    }
}

/// A text, if there is one.
pub(super) fn text(texts: &StringArray, row: usize) -> Option<&str> {
    texts.is_valid(row).then(|| texts.value(row))
}

/// A number, if there is one.
pub(super) fn number<T: ArrowPrimitiveType>(numbers: &PrimitiveArray<T>, row: usize) -> Option<T::Native> {
    numbers.is_valid(row).then(|| numbers.value(row))
}

fn damaged(path: &Path, reason: impl Into<String>) -> ReportError {
    ReportError::Damaged { path: path.to_owned(), reason: reason.into() }
}

fn read(
    path: &Path,
    columns: Option<&[&str]>,
    month: Option<Month>,
    take: &mut impl FnMut(&Rows<'_>) -> Result<(), ReportError>,
) -> Result<(), ReportError> {
    let file = File::open(path).map_err(|source| ReportError::Read { path: path.to_owned(), source })?;
    let mut builder =
        ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| damaged(path, error.to_string()))?;
    let columns_there = builder.parquet_schema();
    let mask = columns.map(|columns| ProjectionMask::columns(columns_there, columns.iter().copied()));
    let dates = ProjectionMask::columns(columns_there, [schema::DATE]);
    if let Some(mask) = mask {
        builder = builder.with_projection(mask);
    }
    if let Some(month) = month {
        let is_of_month = move |batch: RecordBatch| {
            let dates = batch.column(0).as_primitive::<TimestampMicrosecondType>();
            Ok(dates.iter().map(|date| Some(date.and_then(Month::of_micros) == Some(month))).collect::<BooleanArray>())
        };
        builder = builder.with_row_filter(RowFilter::new(vec![Box::new(ArrowPredicateFn::new(dates, is_of_month))]));
    }
    let reader = builder.with_batch_size(BATCH_ROWS).build().map_err(|error| damaged(path, error.to_string()))?;
    for batch in reader {
        let batch = batch.map_err(|error| damaged(path, error.to_string()))?;
        take(&Rows { path, batch })?;
    }
    Ok(())
}
