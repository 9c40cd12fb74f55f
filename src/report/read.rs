//! Reads the published tables, a few columns and a few thousand rows at a time.
//!
//! The files are those that `_run.json` names: others are not part of the dataset, and a missing one is an error.

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
    export::RunManifest,
};

/// Some 1 MB of the few columns that are read.
const BATCH_ROWS: usize = 8_192;
/// Months that are counted; histories begin in 2019, and only implausible dates give more.
const MAX_MONTHS: usize = 4_096;
/// The latest month has at least one row for this many of the fullest month: a newer one is still incomplete.
const LATEST_SHARE: u64 = 2;

#[derive(Debug)]
pub(super) struct Dataset {
    history: Vec<PathBuf>,
    targets: Vec<PathBuf>,
    /// If the dataset keeps the rows of several runs: the day whose rows are read, and the number of days.
    pub(super) snapshot: Option<(String, usize)>,
    /// Rows of `backlinks_undated`.
    undated: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Months {
    pub(super) rows: BTreeMap<Month, u64>,
    /// Rows without a usable date.
    pub(super) undated: u64,
    /// The last month with at least half as many rows as any other.
    pub(super) latest: Option<Month>,
}

/// Rows of a file, with its path for errors.
pub(super) struct Batch<'a> {
    path: &'a Path,
    batch: RecordBatch,
}

impl Dataset {
    /// Opens the files that `manifest` names, none of which may be missing or changed in size.
    pub(super) fn open(dir: &Path, manifest: &RunManifest) -> Result<Self, ReportError> {
        let of = |table: &str| {
            let files = manifest.files.iter().filter(|file| file.path.starts_with(table));
            let mut paths: Vec<_> = files.map(|file| &file.path).collect();
            // In order of their numbers: the rows of a target may continue in the next part.
            paths.sort_by_key(|path| (path.parent(), path.as_os_str().len(), *path));
            paths.into_iter().map(|path| dir.join(path)).collect::<Vec<_>>()
        };
        let mut found =
            Self { history: of(HISTORY), targets: of(TARGETS), undated: rows_of(manifest, UNDATED), snapshot: None };
        found.keep_newest_snapshot(dir);
        if found.history.is_empty() || found.targets.is_empty() || !dir.join(HISTORY).is_dir() {
            return Err(ReportError::NoDataset(dir.to_owned()));
        }
        for file in &manifest.files {
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

    /// Of a dataset with the rows of several runs, reads the newest: a sum over all would count targets repeatedly.
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

    /// Reads `columns` of the history, or of one month of it, file by file. Each file is sorted by target and date.
    pub(super) fn history(
        &self,
        columns: &[&str],
        month: Option<Month>,
        mut take: impl FnMut(&Batch<'_>) -> Result<(), ReportError>,
    ) -> Result<(), ReportError> {
        self.history.iter().try_for_each(|path| read(path, Some(columns), month, &mut take))
    }

    /// Reads all columns of `targets`.
    pub(super) fn targets(
        &self,
        mut take: impl FnMut(&Batch<'_>) -> Result<(), ReportError>,
    ) -> Result<(), ReportError> {
        self.targets.iter().try_for_each(|path| read(path, None, None, &mut take))
    }

    /// Counts the rows of each month. Reads only the dates.
    pub(super) fn months(&self) -> Result<Months, ReportError> {
        let mut months = Months { undated: self.undated, ..Months::default() };
        self.history(&[schema::DATE], None, |rows| {
            for date in rows.dates()? {
                match date.and_then(Month::from_micros) {
                    Some(month) if months.rows.len() < MAX_MONTHS || months.rows.contains_key(&month) => {
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

fn rows_of(manifest: &RunManifest, table: &str) -> u64 {
    manifest.files.iter().filter(|file| file.path.starts_with(table)).map(|file| file.rows).sum()
}

impl Batch<'_> {
    pub(super) fn len(&self) -> usize {
        self.batch.num_rows()
    }

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

pub(super) fn string_at(texts: &StringArray, row: usize) -> Option<&str> {
    texts.is_valid(row).then(|| texts.value(row))
}

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
    take: &mut impl FnMut(&Batch<'_>) -> Result<(), ReportError>,
) -> Result<(), ReportError> {
    let file = File::open(path).map_err(|source| ReportError::Read { path: path.to_owned(), source })?;
    let mut builder =
        ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| damaged(path, error.to_string()))?;
    if let Some(columns) = columns {
        let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
        builder = builder.with_projection(mask);
    }
    if let Some(month) = month {
        let dates = ProjectionMask::columns(builder.parquet_schema(), [schema::DATE]);
        let is_of_month = move |batch: RecordBatch| {
            let dates = batch.column(0).as_primitive::<TimestampMicrosecondType>();
            Ok(dates
                .iter()
                .map(|date| Some(date.and_then(Month::from_micros) == Some(month)))
                .collect::<BooleanArray>())
        };
        builder = builder.with_row_filter(RowFilter::new(vec![Box::new(ArrowPredicateFn::new(dates, is_of_month))]));
    }
    let reader = builder.with_batch_size(BATCH_ROWS).build().map_err(|error| damaged(path, error.to_string()))?;
    for batch in reader {
        let batch = batch.map_err(|error| damaged(path, error.to_string()))?;
        take(&Batch { path, batch })?;
    }
    Ok(())
}
