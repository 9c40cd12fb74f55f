//! What a dataset says by itself, where its ledgers are gone: the tables against each other and against the record.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use super::{
    cells::Column,
    decode::{COLUMNS, Cell, Kind},
    differences::Differences,
    history::{Partitions, partition},
    side::{Csv, compare, harmless, not_there},
    stream::open,
    targets,
};
use crate::{
    dataset::{FAILURES, REJECTED, RUN},
    export::{RunRecord, Totals},
    money::Usd,
    targets::Counts,
};

/// Rows that are read at once.
const BATCH_ROWS: usize = 8192;

/// Rows of each target in `backlinks_history`. Checks order and partitions on the way.
pub(super) fn rows(
    dir: &Path,
    partitions: &Partitions,
    partition_by: &str,
    differences: &Differences,
) -> BTreeMap<String, u64> {
    let mut rows = BTreeMap::new();
    for (folder, files) in partitions {
        let mut last: Option<(String, bool, Option<i64>)> = None;
        for file in files.iter().flatten() {
            let kinds = COLUMNS.map(|(name, kind, _)| (name, kind));
            let batches = match open(&dir.join(file), &kinds, Some(&["target", "date"]), BATCH_ROWS) {
                Ok(batches) => batches,
                Err(what) => {
                    differences.add(file, what);
                    continue;
                }
            };
            for batch in batches {
                let Ok(batch) = batch else {
                    differences.add(file, "cannot be read to its end");
                    break;
                };
                let target = Column::of(&batch, "target", Kind::Text);
                let date = Column::of(&batch, "date", Kind::Moment);
                let Some((target, date)) = target.zip(date) else { continue };
                for row in 0..batch.num_rows() {
                    let Cell::Text(target) = target.cell(row) else { continue };
                    let date = if let Cell::Moment(date) = date.cell(row) { Some(date) } else { None };
                    *rows.entry(target.clone().into_owned()).or_default() += 1;
                    let this = (target.into_owned(), date.is_none(), date);
                    if last.as_ref().is_some_and(|last| *last > this) {
                        differences.add(file, format!("is not sorted at the rows of {}", this.0));
                    }
                    let expected = partition(partition_by, date, None);
                    if !partition_by.contains("run_date") && expected != *folder {
                        differences.add(file, format!("has a row of {} that belongs into {expected}", this.0));
                    }
                    last = Some(this);
                }
            }
        }
    }
    rows
}

/// The table `targets` read by itself.
#[derive(Default)]
struct Told {
    counts: Counts,
    totals: Totals,
    cost: Usd,
    calls: u64,
    failed: BTreeSet<String>,
}

/// Compares the tables and the side files with the record; returns how many lines there are.
pub(super) fn compare_tables(
    dir: &Path,
    record: &RunRecord,
    (file, rows): (&str, Option<BTreeMap<String, u64>>),
    differences: &Differences,
) -> Counts {
    let mut told = Told::default();
    let mut rejected = Csv::new(&["input", "file", "line", "reason"]);
    if let Err(what) = read_targets(&dir.join(file), &mut told, &mut rejected, |target, count| {
        let held = rows.as_ref().map(|rows| rows.get(target).copied().unwrap_or_default());
        if held.is_some_and(|held| held != count) {
            let held = held.unwrap_or_default();
            differences.add(file, format!("says that {target} has {count} rows; there are {held}"));
        }
    }) {
        differences.add(file, what);
    }
    // Reasons are in no table.
    told.totals.failures.clone_from(&record.totals.failures);
    differences.expect(RUN, "totals", &record.totals, &told.totals);
    if let Some(rows) = rows {
        differences.expect(RUN, "totals.rows", &record.totals.rows, &rows.values().sum());
    }
    differences.expect(RUN, "spending.calls", &record.spending.calls, &told.calls);
    let spent = record.spending.debited.plus(record.spending.upstream);
    differences.expect(RUN, "what calls cost, against the column cost_usd,", &spent, &told.cost);
    compare(dir, REJECTED, &rejected.0, differences);
    compare_failures(dir, &told.failed, differences);
    told.counts
}

fn read_targets(
    path: &Path,
    told: &mut Told,
    rejected: &mut Csv,
    mut check_rows: impl FnMut(&str, u64),
) -> Result<(), String> {
    let expected = column_kinds(path)?;
    let expected: Vec<_> = expected.iter().map(|(name, kind)| (name.as_str(), *kind)).collect();
    for batch in open(path, &expected, None, BATCH_ROWS)? {
        let batch = batch.map_err(|error| error.to_string())?;
        let columns: Vec<Column<'_>> =
            targets::COLUMNS.iter().filter_map(|(name, kind)| Column::of(&batch, name, *kind)).collect();
        for row in 0..batch.num_rows() {
            let text = |name: &str| match cell(&columns, name, row) {
                Cell::Text(text) => text.into_owned(),
                _ => String::new(),
            };
            let number = |name: &str| match cell(&columns, name, row) {
                Cell::Integer(number) => u64::try_from(number).unwrap_or_default(),
                _ => 0,
            };
            told.counts.lines += 1;
            let outcome = text("outcome");
            match &*outcome {
                "rejected" => {
                    told.counts.rejected += 1;
                    let source = text("source");
                    let (file, line) = source.rsplit_once(':').unwrap_or_default();
                    rejected.row(&[&harmless(&text("input")), &harmless(file), line, &harmless(&text("message"))]);
                    continue;
                }
                "duplicate" => {
                    told.counts.duplicates += 1;
                    continue;
                }
                "ok" => told.totals.ok += 1,
                "no_data" => told.totals.no_data += 1,
                "pending" => told.totals.pending += 1,
                "failed" => {
                    told.totals.failed += 1;
                    told.failed.insert(text("target"));
                }
                _ => return Err(format!("has an outcome {outcome:?}, which there is none of")),
            }
            told.counts.targets += 1;
            told.totals.rows += number("rows");
            told.calls += number("attempts");
            if let Cell::Float(dollars) = cell(&columns, "cost_usd", row) {
                told.cost = told.cost.plus(Usd::from_dollars(dollars).unwrap_or_default());
            }
            check_rows(&text("target"), number("rows"));
        }
    }
    Ok(())
}

fn cell<'a>(columns: &[Column<'a>], name: &str, row: usize) -> Cell<'a> {
    let place = targets::COLUMNS.iter().position(|(column, _)| *column == name);
    place.and_then(|place| columns.get(place)).map_or(Cell::Null, |column| column.cell(row))
}

/// The columns that a file of `targets` has to have: the fixed ones, and texts named `input_`.
fn column_kinds(path: &Path) -> Result<Vec<(String, Kind)>, String> {
    let file = fs::File::open(path).map_err(|error| not_there(&error))?;
    let builder = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file);
    let builder = builder.map_err(|error| error.to_string())?;
    let more = builder.schema().fields().iter().skip(targets::COLUMNS.len()).map(|field| field.name().clone());
    let fixed = targets::COLUMNS.iter().map(|(name, kind)| ((*name).to_owned(), *kind));
    Ok(fixed.chain(more.filter(|name| name.starts_with("input_")).map(|name| (name, Kind::Text))).collect())
}

/// The reasons are in no table: only the domains can be compared. Those with an older answer in force have not failed.
fn compare_failures(dir: &Path, failed: &BTreeSet<String>, differences: &Differences) {
    let text = match fs::read(dir.join(FAILURES)) {
        Ok(text) => text,
        Err(error) => return differences.add(FAILURES, not_there(&error)),
    };
    let mut reader = csv::Reader::from_reader(&*text);
    let place_of_kept = reader.headers().ok().and_then(|names| names.iter().position(|name| name == "kept_from"));
    let is_without =
        |record: &csv::StringRecord| place_of_kept.is_none_or(|place| record.get(place).is_none_or(str::is_empty));
    let records = reader.records().filter_map(Result::ok).filter(is_without);
    let domains: BTreeSet<String> = records.filter_map(|record| record.get(0).map(str::to_owned)).collect();
    if domains != *failed {
        differences.add(FAILURES, "does not name the targets that failed, by the table targets");
    }
}
