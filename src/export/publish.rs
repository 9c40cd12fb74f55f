//! Ledger to dataset: every stored answer in order of target, decoded and written to staged tables, then published.

use std::path::Path;

use arrow::array::RecordBatch;
use jiff::civil::Date;

use super::{
    AnswerRef, ExportError, MergedLedgers,
    cursor::{AnswerSource, Interrupted, rows_in_order},
    row_buffer::RowBuffer,
    rows::DecodeTally,
    run_manifest::file_metadata,
    targets_rows::{LineRows, LineSink},
};
use crate::{
    api::Parameters,
    dataset::{
        DatasetLayout, FailureRow, FailuresFile, Options, Part, RejectedLine, Stage, TargetRow, TargetsWriter,
        write_rejected,
    },
    decode::{self, SchemaDrift},
    ledger::{LedgerError, LoadedBody},
    progress::Progress,
    summary::Totals,
    targets::{Inputs, LineStatus, TargetRef},
};

#[derive(Debug, Default)]
pub struct Published {
    /// Every file of the tables.
    pub parts: Vec<Part>,
    pub totals: Totals,
    pub drift: SchemaDrift,
}

/// Builds the tables from the stored answers and renames them into place. A `staged` history of the same answers is not
/// built again. Removes `_SUCCESS`; the caller writes the new one.
pub(super) fn publish(
    merged: &MergedLedgers,
    staged: Option<StagedHistory>,
    dir: &Path,
    layout: &DatasetLayout,
    progress: &Progress,
) -> Result<Published, ExportError> {
    let requested = merged.parameters();
    let options = options(merged.run_id(), &requested, layout);
    let rebuild = Rebuild::new(merged);
    progress.publishing(rebuild.answers() as u64);
    let is_current =
        |staged: &StagedHistory| staged.requested == requested && staged.decoded.rows.len() == rebuild.answers();
    let staged = match staged.filter(is_current) {
        Some(staged) => staged,
        None => {
            StagedHistory::write(Stage::begin(dir)?, &rebuild, None, requested, &options, progress).map_err(failure)?
        }
    };
    let StagedHistory { stage, mut parts, decoded, requested: _ } = staged;
    let targets = stage.targets(&options, merged.inputs.columns())?;
    let mut files = LineFiles { targets, failures: FailuresFile::begin(dir)? };
    let totals = rebuild.lines(&decoded, &mut files)?;
    parts.push(files.targets.finish()?);
    stage.publish(&parts)?;
    files.failures.finish()?;
    write_rejected(dir, rejected(&merged.inputs))?;
    Ok(Published { parts, totals, drift: decoded.drift })
}

/// The files about input lines.
struct LineFiles {
    targets: TargetsWriter,
    failures: FailuresFile,
}

impl LineSink for LineFiles {
    fn row(&mut self, row: &TargetRow<'_>, cells: &[Option<&str>]) -> Result<(), ExportError> {
        Ok(self.targets.push(row, cells)?)
    }

    fn failure(&mut self, failure: &FailureRow<'_>) -> Result<(), ExportError> {
        Ok(self.failures.push(failure)?)
    }
}

/// How to write the files of a dataset with answers to `requested`.
pub(super) fn options(run_id: String, requested: &Parameters, layout: &DatasetLayout) -> Options {
    let metadata = file_metadata(decode::schema::VERSION, env!("CARGO_PKG_VERSION"), requested);
    Options { layout: layout.clone(), run_id, metadata }
}

/// The table `backlinks_history`, written to the staging folder and not published yet.
#[derive(Debug)]
pub struct StagedHistory {
    stage: Stage,
    parts: Vec<Part>,
    decoded: DecodeTally,
    requested: Parameters,
}

impl StagedHistory {
    /// Writes the rows of all `answers` to `stage`, each as soon as its target is final in the `buffer`.
    pub(super) fn write<S: AnswerSource>(
        stage: Stage,
        answers: &S,
        buffer: Option<&RowBuffer>,
        requested: Parameters,
        options: &Options,
        progress: &Progress,
    ) -> Result<Self, Interrupted> {
        let mut history = stage.history(decode::schema::history(), options)?;
        history.set_empty_date(requested.date_to);
        let mut decoded = DecodeTally::default();
        rows_in_order(answers, buffer, |position, answer| {
            if let Ok(rows) = &answer {
                history.write(&rows.batch, answers.run_date(position))?;
            }
            decoded.add(answer);
            progress.published(1);
            Ok(())
        })?;
        Ok(Self { parts: history.finish()?, stage, decoded, requested })
    }
}

fn failure(interrupted: Interrupted) -> ExportError {
    match interrupted {
        Interrupted::Failed(error) => error,
        Interrupted::Aborted => unreachable!("only a row buffer aborts"),
    }
}

/// The dataset as the ledgers define it, row by row; writes nothing.
pub struct Rebuild<'a> {
    merged: &'a MergedLedgers,
    answers: Vec<AnswerRef>,
}

impl<'a> Rebuild<'a> {
    pub fn new(merged: &'a MergedLedgers) -> Self {
        Self { merged, answers: merged.answers() }
    }

    /// Answers that have, or should have, rows.
    pub fn answers(&self) -> usize {
        self.answers.len()
    }

    /// Passes on the rows of each answer, with its target and the day on which its run began; sorted by date, rows
    /// without a date last.
    pub fn rows(&self, mut take: impl FnMut(TargetRef<'_>, Date, &RecordBatch)) -> Result<DecodeTally, ExportError> {
        let mut decoded = DecodeTally::default();
        let done = rows_in_order(self, None, |position, answer| {
            if let Ok(rows) = &answer {
                take(self.target(position), self.run_date(position), &rows.batch);
            }
            decoded.add(answer);
            Ok(())
        });
        done.map_err(failure)?;
        Ok(decoded)
    }

    /// Passes on the rows of `targets` and of `_failures.csv`, and returns the sums.
    pub fn lines(&self, decoded: &DecodeTally, sink: &mut impl LineSink) -> Result<Totals, ExportError> {
        LineRows::new(self.merged, &self.answers, decoded).write(sink)
    }
}

impl AnswerSource for Rebuild<'_> {
    fn len(&self) -> u32 {
        u32::try_from(self.answers.len()).expect("targets are numbered with 32 bits")
    }

    fn target(&self, position: u32) -> TargetRef<'_> {
        self.merged.target(self.answers[position as usize])
    }

    fn run_date(&self, position: u32) -> Date {
        self.merged.run_date(self.answers[position as usize])
    }

    fn read(&self, position: u32, max_bytes: u64) -> Result<Option<LoadedBody>, LedgerError> {
        self.merged.body_within(self.answers[position as usize], max_bytes).map(Some)
    }
}

/// The rows of `_rejected.csv`.
pub fn rejected(inputs: &Inputs) -> impl Iterator<Item = RejectedLine<'_>> {
    inputs.lines().filter_map(|line| {
        let LineStatus::Rejected(reason) = line.status else { return None };
        Some(RejectedLine { input: line.input, file: line.file, line: line.number, reason })
    })
}
