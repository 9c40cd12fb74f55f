//! Rebuilds the dataset from the ledgers, with the export's own code, and compares it with the published one: rows as
//! they are decoded, other files byte by byte. Encodes nothing, writes nothing.
//!
//! Memory is bounded by the batches of the open folders, regardless of the number of rows.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use arrow::{
    array::{Array, AsArray},
    compute::concat_batches,
    datatypes::DataType,
    record_batch::RecordBatch,
    util::display::{ArrayFormatter, FormatOptions},
};
use jiff::civil::Date;

use super::{
    Verification,
    difference::Differences,
    digests::PublishedFiles,
    same_bytes::{NEVER_FAILS, SameBytes},
    stream::{Slice, Stream},
};
use crate::{
    dataset::{
        FAILURES, FailureRow, FailureRows, PartitionBy, REJECTED, TargetRow, TargetRows, targets_schema,
        write_rejected_rows,
    },
    decode::schema,
    export::{DecodeTally, ExportError, LineSink, MergedLedgers, Rebuild, rejected},
    humanize,
    summary::Totals,
};

/// Folders that are open at once; more are compared in several passes.
const OPEN_FOLDERS: usize = 128;

impl Verification<'_> {
    /// Compares the tables and the other files; returns the sums over the expected rows, and the number of answers.
    pub(super) fn compare_rebuilt(
        &self,
        merged: &MergedLedgers,
        published: &PublishedFiles,
    ) -> Result<(Totals, usize), ExportError> {
        let Self { dir, differences, .. } = *self;
        let rebuild = Rebuild::new(merged);
        let decoded = self.compare_rows(&rebuild, published)?;
        let columns = merged.inputs.columns();
        let schema = targets_schema(columns);
        let failures = FailureRows::begin(SameBytes::open(dir, FAILURES)).expect(NEVER_FAILS);
        let table = published.targets.as_ref().map(|file| Stream::new(dir, [file], &schema, differences));
        let file = published.targets.clone().unwrap_or_default();
        let mut lines =
            LineComparison { table, file, rows: TargetRows::new(columns), missing: 0, failures, differences };
        let totals = rebuild.lines(&decoded, &mut lines)?;
        lines.finish(merged.inputs.counts().lines)?;
        let lines = rejected(&merged.inputs);
        write_rejected_rows(SameBytes::open(dir, REJECTED), lines).expect(NEVER_FAILS).finish(differences);
        Ok((totals, rebuild.answers()))
    }

    /// Compares `backlinks_history` and `backlinks_undated` with the answers, row by row.
    fn compare_rows(&self, rebuild: &Rebuild<'_>, published: &PublishedFiles) -> Result<DecodeTally, ExportError> {
        let Self { dir, manifest, differences } = *self;
        let schema = schema::history();
        let folders: Vec<&PathBuf> = published.folders.keys().collect();
        let mut rounds: Vec<&[&PathBuf]> = folders.chunks(OPEN_FOLDERS).collect();
        // Without any folder, each answer is still read once.
        rounds.extend(rounds.is_empty().then_some::<&[_]>(&[]));
        let mut decoded = DecodeTally::default();
        for (number, round) in rounds.into_iter().enumerate() {
            let sound = round.iter().filter_map(|folder| Some((*folder, published.folders[*folder].as_ref()?)));
            let mut streams: BTreeMap<&PathBuf, Stream<'_>> =
                sound.map(|(folder, files)| (folder, Stream::new(dir, files, &schema, differences))).collect();
            decoded = rebuild.rows(|target, run_date, rows| {
                for (folder, expected) in by_folder(&manifest.provenance.layout.partition_by, rows, run_date) {
                    if let Some(stream) = streams.get_mut(&folder) {
                        compare_target(target.as_str(), stream, &folder, &expected, differences);
                    } else if number == 0 && !published.folders.contains_key(&folder) {
                        report_missing_rows(target.as_str(), &folder, row_count(&expected), differences);
                    }
                }
            })?;
            streams.values_mut().for_each(Stream::finish);
        }
        Ok(decoded)
    }
}

/// The rows of one target in each folder, in order.
fn by_folder(partition_by: &PartitionBy, rows: &RecordBatch, run_date: Date) -> BTreeMap<PathBuf, Vec<RecordBatch>> {
    let mut folders: BTreeMap<PathBuf, Vec<RecordBatch>> = BTreeMap::new();
    for (folder, piece) in partition_by.split(rows, run_date) {
        folders.entry(folder).or_default().push(piece);
    }
    folders
}

fn row_count<'a>(rows: impl IntoIterator<Item = &'a RecordBatch>) -> usize {
    rows.into_iter().map(RecordBatch::num_rows).sum()
}

fn report_missing_rows(target: &str, folder: &Path, rows: usize, differences: &Differences) {
    let rows = match rows {
        1 => "the only row".to_owned(),
        rows => format!("all {rows} rows"),
    };
    differences.add(folder.display().to_string(), format!("is missing {rows} of {target}"));
}

/// Compares the rows of one target in one folder, and reports the first difference.
fn compare_target(
    target: &str,
    stream: &mut Stream<'_>,
    folder: &Path,
    expected: &[RecordBatch],
    differences: &Differences,
) {
    let (slices, should) = (stream.rows_of(target), row_count(expected));
    let Some(first) = slices.first() else { return report_missing_rows(target, folder, should, differences) };
    let found = row_count(slices.iter().map(|slice| &slice.rows));
    if found != should {
        let what = format!("has {} of {target}, expected {should}", humanize::counted(found as u64, "row", "rows"));
        return differences.add(&first.file, what);
    }
    let label = |expected: &RecordBatch, row: usize| {
        let date = expected.column_by_name(schema::DATE).map(|dates| value_text(dates, row)).unwrap_or_default();
        format!("{target}, {date}")
    };
    compare_slices(&slices, expected, label, 1, differences);
}

/// Compares rows with the same number of expected ones; reports differences up to a maximum.
fn compare_slices(
    slices: &[Slice],
    expected: &[RecordBatch],
    label: impl Fn(&RecordBatch, usize) -> String,
    max: usize,
    differences: &Differences,
) {
    let expected = match expected {
        [only] => only.clone(),
        [] => return,
        [first, ..] => concat_batches(first.schema_ref(), expected).expect("pieces of one batch have the same columns"),
    };
    let mut at = 0;
    for Slice { file, rows } in slices {
        let expected = expected.slice(at, rows.num_rows());
        at += rows.num_rows();
        if rows.columns() == expected.columns() {
            continue;
        }
        let differing = (0..rows.num_rows()).filter_map(|row| Some((row, first_difference(rows, &expected, row)?)));
        for (row, what) in differing.take(max) {
            differences.add(file, format!("{}: {what}", label(&expected, row)));
        }
    }
}

/// The first difference in a row: the column, the value found and the value expected.
fn first_difference(found: &RecordBatch, expected: &RecordBatch, row: usize) -> Option<String> {
    let schema = expected.schema();
    let mut columns = schema.fields().iter().zip(found.columns().iter().zip(expected.columns()));
    columns.find_map(|(field, (found, expected))| {
        let (found, expected) = (found.slice(row, 1), expected.slice(row, 1));
        (found.as_ref() != expected.as_ref()).then(|| format!("{} {}", field.name(), difference(&found, &expected)))
    })
}

/// The difference between two cells; for maps, only the first entry that differs.
fn difference(found: &dyn Array, expected: &dyn Array) -> String {
    let is_map = matches!(expected.data_type(), DataType::Map(..));
    if !is_map || found.is_null(0) || expected.is_null(0) {
        return format!("is {}, expected {}", value_text(found, 0), value_text(expected, 0));
    }
    let entry = |map: &dyn Array, index: usize| {
        let entries = map.as_map().value(0);
        if index >= entries.len() { "nothing".to_owned() } else { value_text(&entries, index) }
    };
    let entries = found.as_map().value(0).len().max(expected.as_map().value(0).len());
    let index = (0..entries).find(|index| entry(found, *index) != entry(expected, *index)).unwrap_or_default();
    format!("entry {} is {}, expected {}", index + 1, entry(found, index), entry(expected, index))
}

/// A cell for display.
fn value_text(cells: &dyn Array, row: usize) -> String {
    let options = FormatOptions::new().with_null("null");
    let formatter = ArrayFormatter::try_new(cells, &options);
    formatter.map_or_else(|error| error.to_string(), |formatter| formatter.value(row).to_string())
}

/// Compares `targets` and `_failures.csv` with their expected rows, as these are produced.
struct LineComparison<'a> {
    /// The published table; `None`: it cannot be compared, and the reason has been reported.
    table: Option<Stream<'a>>,
    file: String,
    rows: TargetRows,
    missing: usize,
    failures: FailureRows<SameBytes>,
    differences: &'a Differences,
}

impl LineSink for LineComparison<'_> {
    fn row(&mut self, row: &TargetRow<'_>, cells: &[Option<&str>]) -> Result<(), ExportError> {
        self.rows.push(row, cells);
        if self.rows.is_full() { self.compare() } else { Ok(()) }
    }

    fn failure(&mut self, failure: &FailureRow<'_>) -> Result<(), ExportError> {
        self.failures.push(failure).expect(NEVER_FAILS);
        Ok(())
    }
}

impl LineComparison<'_> {
    fn compare(&mut self) -> Result<(), ExportError> {
        let expected = self.rows.take()?;
        let Some(table) = &mut self.table else { return Ok(()) };
        let slices = table.next_rows(expected.num_rows());
        self.missing += expected.num_rows() - row_count(slices.iter().map(|slice| &slice.rows));
        let label = |expected: &RecordBatch, row: usize| {
            let cell = |name| expected.column_by_name(name).map(|cells| value_text(cells, row)).unwrap_or_default();
            format!("{} ({})", cell("source"), cell("input"))
        };
        compare_slices(&slices, &[expected], label, usize::MAX, self.differences);
        Ok(())
    }

    fn finish(mut self, lines: usize) -> Result<(), ExportError> {
        self.compare()?;
        match self.missing {
            0 => {}
            1 => self.differences.add(&self.file, "is missing the row of the last input line"),
            missing => {
                self.differences.add(&self.file, format!("is missing the rows of the last {missing} input lines"));
            }
        }
        if self.table.is_some_and(|mut table| !table.next_rows(1).is_empty()) {
            self.differences.add(&self.file, format!("has more rows than the {lines} input lines"));
        }
        self.failures.finish().expect(NEVER_FAILS).finish(self.differences);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_rows_of_a_target_are_counted_in_the_message() {
        let check = |rows: usize, expected: &str| {
            let differences = Differences::default();
            report_missing_rows("a.com", Path::new("year=2024"), rows, &differences);
            let found: Vec<String> = differences.finish().first.into_iter().map(|found| found.what).collect();
            assert_eq!(found, [expected]);
        };
        check(1, "is missing the only row of a.com");
        check(2, "is missing all 2 rows of a.com");
    }
}
