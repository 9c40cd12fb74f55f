//! Ledger to dataset: every stored answer in order of target, decoded and written to staged tables, then published.

use std::{collections::BTreeMap, path::Path};

use jiff::civil::Date;

use super::{
    AnswerRef, ExportError, Holdings,
    cursor::{Interrupted, Stored, StoredAnswers, rows_in_order},
    lines::{Lines, Totals},
    window::Window,
};
use crate::{
    api::Parameters,
    dataset::{
        Compression, FailuresFile, IntegerEncoding, Options, Part, PartitionBy, Rejected, Stage, write_rejected,
    },
    flatten::{self, Drift},
    ledger::{Body, LedgerError},
    progress::Progress,
    targets::{Fate, Line, TargetRef},
};

/// The form of the dataset.
#[derive(Clone, Debug)]
pub struct Form {
    /// Partitions.
    pub partition_by: PartitionBy,
    /// Compression of Parquet pages.
    pub compression: Compression,
    /// Encoding of integers.
    pub integer_encoding: IntegerEncoding,
    /// Rows in a row group at most.
    pub row_group_rows: usize,
}

impl Default for Form {
    fn default() -> Self {
        Self {
            partition_by: PartitionBy::default(),
            compression: Compression::default(),
            integer_encoding: IntegerEncoding::default(),
            row_group_rows: Options::ROW_GROUP_ROWS,
        }
    }
}

/// What was published.
#[derive(Debug, Default)]
pub struct Published {
    /// Every file of the tables.
    pub parts: Vec<Part>,
    /// How many lines met which fate, and what they cost.
    pub totals: Totals,
    /// What the answers had that the schema does not know.
    pub drift: Drift,
}

/// Builds the tables from what is held and puts them into place; what is `staged` already, if it is of these holdings, is
/// not built again. `_SUCCESS` is gone afterwards; its new one is the caller's.
pub(super) fn publish(
    holdings: &Holdings,
    staged: Option<StagedHistory>,
    dir: &Path,
    form: &Form,
    progress: &Progress,
) -> Result<Published, ExportError> {
    let asked = holdings.parameters();
    let options = options(holdings.run_id(), asked.as_ref(), form);
    let held = holdings.held();
    progress.publishing(held.len() as u64);
    let staged = staged.filter(|staged| staged.asked == asked && staged.rows.len() == held.len());
    let staged = staged.map_or_else(|| StagedHistory::of(holdings, &held, dir, &options, progress), Ok)?;
    let StagedHistory { stage, mut parts, rows, undated, remarks, drift, asked: _ } = staged;
    let mut lines = Lines::new(holdings, (&held, &rows, &remarks), FailuresFile::begin(dir)?);
    parts.push(lines.write(&stage, &options)?);
    let (failures, totals) = lines.finish();
    let totals = Totals { undated, ..totals };
    stage.publish(&parts)?;
    failures.finish()?;
    write_rejected(dir, holdings.inputs().lines().filter_map(|line| rejected(&line)))?;
    Ok(Published { parts, totals, drift })
}

/// How the files of a run are written.
pub(super) fn options(run_id: String, asked: Option<&Parameters>, form: &Form) -> Options {
    let of = |name: &str, value: Option<String>| value.map(|value| (format!("backlinks_export.{name}"), value));
    let metadata = [
        of("schema_version", Some(flatten::schema::VERSION.to_string())),
        of("program_version", Some(env!("CARGO_PKG_VERSION").to_owned())),
        of("date_from", asked.map(|asked| asked.date_from.to_string())),
        of("date_to", asked.map(|asked| asked.date_to.to_string())),
        of("rank_scale", asked.map(|asked| asked.rank_scale.as_str().to_owned())),
    ];
    Options {
        partition_by: form.partition_by.clone(),
        compression: form.compression,
        integer_encoding: form.integer_encoding,
        row_group_rows: form.row_group_rows,
        run_id,
        metadata: metadata.into_iter().flatten().collect(),
    }
}

/// The table `backlinks_history`, written to the staging folder and not published yet.
#[derive(Debug)]
pub struct StagedHistory {
    stage: Stage,
    parts: Vec<Part>,
    /// Rows of each stored answer, in the order in which they were written; `None`: it cannot be read as rows.
    rows: Vec<Option<u32>>,
    /// Items without a usable date.
    undated: u64,
    /// What there is to say about some of these answers.
    remarks: BTreeMap<usize, String>,
    drift: Drift,
    asked: Option<Parameters>,
}

impl StagedHistory {
    /// Writes the rows of all `answers` to `stage`, each as soon as the `window` says that its target is settled.
    pub(super) fn write<S: StoredAnswers>(
        stage: Stage,
        answers: &S,
        window: Option<&Window>,
        asked: Option<Parameters>,
        options: &Options,
        progress: &Progress,
    ) -> Result<Self, Interrupted> {
        let mut history = stage.history(flatten::schema::history(), options)?;
        if let Some(asked) = &asked {
            history.without_rows(asked.date_to);
        }
        let (mut rows, mut remarks, mut drift, mut undated) = (Vec::new(), BTreeMap::new(), Drift::default(), 0);
        rows_in_order(answers, window, |position, answer| {
            if let Some(batch) = &answer.batch {
                history.write(batch, answers.run_date(position))?;
            }
            remarks.extend(answer.remark.map(|remark| (rows.len(), remark)));
            let dated = |rows: usize| u32::try_from(rows as u64 - answer.undated).ok();
            rows.push(answer.batch.as_ref().and_then(|batch| dated(batch.num_rows())));
            undated += answer.undated;
            drift.absorb(answer.drift);
            progress.published(1);
            Ok(())
        })?;
        Ok(Self { parts: history.finish()?, stage, rows, undated, remarks, drift, asked })
    }

    /// Writes what the ledgers hold.
    fn of(
        holdings: &Holdings,
        held: &[AnswerRef],
        dir: &Path,
        options: &Options,
        progress: &Progress,
    ) -> Result<Self, ExportError> {
        let answers = Held { holdings, held };
        match Self::write(Stage::begin(dir)?, &answers, None, holdings.parameters(), options, progress) {
            Ok(staged) => Ok(staged),
            Err(Interrupted::Failed(error)) => Err(error),
            Err(Interrupted::Aborted) => unreachable!("only a window aborts"),
        }
    }
}

/// The stored answers of finished runs.
struct Held<'a> {
    holdings: &'a Holdings,
    held: &'a [AnswerRef],
}

impl StoredAnswers for Held<'_> {
    fn len(&self) -> u32 {
        u32::try_from(self.held.len()).expect("targets are numbered with 32 bits")
    }

    fn target(&self, position: u32) -> TargetRef<'_> {
        self.holdings.target(self.held[position as usize])
    }

    fn run_date(&self, position: u32) -> Date {
        self.holdings.run_date(self.held[position as usize])
    }

    fn read(&self, position: u32, most: u64) -> Result<Stored, LedgerError> {
        Ok(match self.holdings.body_within(self.held[position as usize], most)? {
            Body::Whole(body) => Stored::Body(body),
            Body::Larger(bytes) => Stored::Larger(bytes),
        })
    }
}

fn rejected<'a>(line: &Line<'a>) -> Option<Rejected<'a>> {
    let Fate::Rejected(reason) = line.fate else { return None };
    Some(Rejected { input: line.input, file: line.file, line: line.number, reason })
}
