//! The checks that do not need the ledgers: the tables against each other and against `_run.json`.

use std::{collections::BTreeMap, path::Path};

use arrow::{
    array::{Array, AsArray, Int64Array},
    datatypes::{Float64Type, Int64Type},
    record_batch::RecordBatch,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::{
    accounting::expect,
    difference::{Differences, read_error},
    digests::PublishedFiles,
    same_bytes::SameBytes,
};
use crate::{
    dataset::{HISTORY, LineOutcome, REJECTED, RUN, RejectedLine, write_rejected_rows},
    export::RunManifest,
    money::Usd,
    summary::Totals,
    targets::Counts,
};

/// Calls `take` with every batch of a file, reading only these columns.
fn read(dir: &Path, file: &str, columns: &[&str], mut take: impl FnMut(&RecordBatch)) -> Result<(), String> {
    let file = std::fs::File::open(dir.join(file)).map_err(|error| read_error(&error))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| error.to_string())?;
    if let Some(missing) = columns.iter().find(|name| builder.schema().field_with_name(name).is_err()) {
        return Err(format!("has no column {missing}"));
    }
    let mask = parquet::arrow::ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
    let reader = builder.with_projection(mask).build().map_err(|error| error.to_string())?;
    for batch in reader {
        take(&batch.map_err(|error| format!("cannot be read completely: {error}"))?);
    }
    Ok(())
}

/// Compares the tables; returns how many lines there are, if `targets` can be read.
pub(super) fn compare(
    dir: &Path,
    manifest: &RunManifest,
    published: &PublishedFiles,
    differences: &Differences,
) -> Option<Counts> {
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
        is_whole &= counted.map_err(|what| differences.add(file, what)).is_ok();
    }
    let file = published.targets.as_ref()?;
    let mut sums = Sums::default();
    let columns = ["input", "target", "outcome", "rows", "cost_usd", "attempts", "message", "source"];
    if let Err(what) = read(dir, file, &columns, |batch| sums.add(batch)) {
        differences.add(file, what);
        return None;
    }
    for (target, count) in sums.rows.iter().filter(|_| is_whole) {
        let found = rows.get(target).copied().unwrap_or_default();
        if found != *count {
            differences.add(file, format!("lists {count} rows for {target}, but there are {found}"));
        }
    }
    // No column has the failure reasons, the number of subdomains, the undated items or the count mismatches.
    sums.totals.failures.clone_from(&manifest.totals.failures);
    sums.counts.subdomains = usize::try_from(manifest.summary.subdomains).unwrap_or_default();
    (sums.totals.undated, sums.totals.mismatches) = (manifest.totals.undated, manifest.totals.mismatches);
    sums.totals.rows = if is_whole { rows.values().sum() } else { manifest.totals.rows };
    expect("totals", &manifest.totals, &sums.totals, differences);
    differences.expect(RUN, "spending.calls", &manifest.spending.calls, &sums.calls);
    let spent = manifest.spending.reported();
    differences.expect(RUN, "the cost of calls, compared to the column cost_usd,", &spent, &sums.cost);
    let lines = sums.rejected.iter().map(|[input, source, reason]| {
        let (file, line) = source.rsplit_once(':').unwrap_or_default();
        RejectedLine { input, file, line: line.parse().unwrap_or_default(), reason }
    });
    let compared = write_rejected_rows(SameBytes::open(dir, REJECTED), lines);
    match compared {
        Ok(compared) => compared.finish(differences),
        Err(error) => differences.add(REJECTED, read_error(&error)),
    }
    Some(sums.counts)
}

/// The sums over the rows of `targets`.
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
            match LineOutcome::parse(outcome.value(row)) {
                Some(LineOutcome::Rejected) => {
                    self.counts.rejected += 1;
                    self.rejected.push([input, source, message].map(|cells| cells.value(row).to_owned()));
                    continue;
                }
                Some(LineOutcome::Duplicate) => {
                    self.counts.duplicates += 1;
                    continue;
                }
                Some(LineOutcome::Ok) => self.totals.ok += 1,
                Some(LineOutcome::NoData) => self.totals.no_data += 1,
                Some(LineOutcome::Pending) => self.totals.pending += 1,
                Some(LineOutcome::Failed) | None => self.totals.failed += 1,
            }
            self.counts.targets += 1;
            self.calls += count(attempts, row);
            if cost.is_valid(row) {
                self.cost = self.cost.plus(Usd::from_dollars(cost.value(row)).unwrap_or_default());
            }
            self.rows.push((target.value(row).to_owned(), count(rows, row)));
        }
    }
}
