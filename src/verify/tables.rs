//! The checks that do not need the ledgers: the tables against each other and against `_run.json`.

use std::{collections::BTreeMap, fs::File, path::Path};

use arrow::{
    array::{Array, AsArray, Int64Array},
    datatypes::{Float64Type, Int64Type},
    record_batch::RecordBatch,
};
use parquet::arrow::{ProjectionMask, arrow_reader::ParquetRecordBatchReaderBuilder};

use super::{
    Verification,
    difference::read_error,
    digests::PublishedFiles,
    same_bytes::{NEVER_FAILS, SameBytes},
};
use crate::{
    dataset::{HISTORY, LineOutcome, REJECTED, RUN, RejectedLine, write_rejected_rows},
    money::Usd,
    summary::Totals,
    targets::Counts,
};

impl Verification<'_> {
    /// Compares the tables; returns how many lines there are, if `targets` can be read.
    pub(super) fn compare_tables(&self, published: &PublishedFiles) -> Option<Counts> {
        let Self { dir, manifest, differences } = *self;
        let mut rows: BTreeMap<String, u64> = BTreeMap::new();
        let of_history = published.folders.iter().filter(|(folder, _)| folder.starts_with(HISTORY));
        let files: Option<Vec<&Vec<String>>> = of_history.map(|(_, files)| files.as_ref()).collect();
        // A changed file has been reported; its content shows nothing about the others.
        let mut is_whole = files.is_some();
        for file in files.into_iter().flatten().flatten() {
            let counted = read(dir, file, &["target"], |batch| {
                for target in batch.column(0).as_string::<i32>().iter().flatten() {
                    *rows.entry(target.to_owned()).or_default() += 1;
                }
            });
            is_whole &= differences.passed(file, counted).is_some();
        }
        let file = published.targets.as_ref()?;
        let mut sums = Sums::default();
        differences.passed(file, read(dir, file, &COLUMNS, |batch| sums.add(batch)))?;
        for (target, count) in sums.rows.iter().filter(|_| is_whole) {
            let found = rows.get(target).copied().unwrap_or_default();
            if found != *count {
                differences.add(file, format!("lists {count} rows for {target}, but there are {found}"));
            }
        }
        // No column has the failure reasons, the number of subdomains, the undated items or the count mismatches.
        let Totals { failures, undated, mismatches, .. } = manifest.totals.clone();
        let rows = if is_whole { rows.values().sum() } else { manifest.totals.rows };
        let totals = Totals { rows, undated, mismatches, failures, ..sums.totals };
        differences.expect(RUN, "totals", &manifest.totals, &totals);
        differences.expect(RUN, "spending.calls", &manifest.spending.calls, &sums.calls);
        let spent = manifest.spending.reported();
        differences.expect(RUN, "the cost of calls, compared to the column cost_usd,", &spent, &sums.cost);
        let lines = sums.rejected.iter().map(|[input, source, reason]| {
            let (file, line) = source.rsplit_once(':').unwrap_or_default();
            RejectedLine { input, file, line: line.parse().unwrap_or_default(), reason }
        });
        write_rejected_rows(SameBytes::open(dir, REJECTED), lines).expect(NEVER_FAILS).finish(differences);
        let subdomains = usize::try_from(manifest.summary.subdomains).unwrap_or_default();
        Some(Counts { subdomains, ..sums.counts })
    }
}

/// Calls `take` with every batch of a file, reading only these columns.
fn read(dir: &Path, file: &str, columns: &[&str], mut take: impl FnMut(&RecordBatch)) -> Result<(), String> {
    let file = File::open(dir.join(file)).map_err(|error| read_error(&error))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| error.to_string())?;
    if let Some(missing) = columns.iter().find(|name| builder.schema().field_with_name(name).is_err()) {
        return Err(format!("has no column {missing}"));
    }
    let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
    let mut batches = builder.with_projection(mask).build().map_err(|error| error.to_string())?;
    let read = batches.try_for_each(|batch| batch.map(|batch| take(&batch)));
    read.map_err(|error| format!("cannot be read completely: {error}"))
}

/// The columns of `targets` that are read.
const COLUMNS: [&str; 8] = ["input", "target", "outcome", "rows", "cost_usd", "attempts", "message", "source"];

#[derive(Default)]
struct Sums {
    counts: Counts,
    totals: Totals,
    cost: Usd,
    calls: u64,
    /// Rows of each target.
    rows: Vec<(String, u64)>,
    /// Input, source and reason of each rejected line.
    rejected: Vec<[String; 3]>,
}

impl Sums {
    fn add(&mut self, batch: &RecordBatch) {
        let column = |name: &str| batch.column_by_name(name).expect("it was asked for");
        let text = |name: &str| column(name).as_string::<i32>();
        let number = |name: &str| column(name).as_primitive::<Int64Type>();
        let [input, target, outcome, message, source] = ["input", "target", "outcome", "message", "source"].map(text);
        let [rows, attempts] = ["rows", "attempts"].map(number);
        let cost = column("cost_usd").as_primitive::<Float64Type>();
        let count = |cells: &Int64Array, row: usize| {
            if cells.is_null(row) { 0 } else { u64::try_from(cells.value(row)).unwrap_or_default() }
        };
        for row in 0..batch.num_rows() {
            self.counts.lines += 1;
            let of_outcome = match outcome.value(row).parse().ok() {
                Some(LineOutcome::Rejected) => {
                    self.counts.rejected += 1;
                    self.rejected.push([input, source, message].map(|cells| cells.value(row).to_owned()));
                    continue;
                }
                Some(LineOutcome::Duplicate) => {
                    self.counts.duplicates += 1;
                    continue;
                }
                Some(LineOutcome::Ok) => &mut self.totals.ok,
                Some(LineOutcome::NoData) => &mut self.totals.no_data,
                Some(LineOutcome::Pending) => &mut self.totals.pending,
                Some(LineOutcome::Failed) | None => &mut self.totals.failed,
            };
            *of_outcome += 1;
            self.counts.targets += 1;
            self.calls += count(attempts, row);
            let dollars = if cost.is_null(row) { 0.0 } else { cost.value(row) };
            self.cost = self.cost.plus(Usd::from_dollars(dollars).unwrap_or_default());
            self.rows.push((target.value(row).to_owned(), count(rows, row)));
        }
    }
}
