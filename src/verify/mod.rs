//! Reconciles a directory: input lines, ledger, Parquet rows, counts and cost. Changes nothing.
//!
//! ```text
//! _run.json ─> its own digest ─> files: which there are, digests, sizes, rows
//! ledger, as any outsider reads it ─> lines and accounts ─┬─> targets, row by row; side files, byte by byte; sums, cost
//!                                  └> answers ─> decoded ─┴─> backlinks_history, row by row
//! ```
//!
//! It is a second opinion, so it shares as little as can be with what it checks: the ledger is read without the
//! ledger's index, answers are decoded by a reading of its own (`decode`, `json`), and the columns are written
//! down once more. What it finds it names by file; it never stops at the first difference, and never mends anything.

mod account;
mod alone;
mod cells;
mod decode;
mod differences;
mod frames;
mod history;
mod json;
mod ledger;
mod parts;
mod record;
mod side;
mod sources;
mod stream;
mod targets;

use std::{collections::BTreeSet, path::Path};

use serde::Serialize;

pub use self::differences::{Difference, MOST_DIFFERENCES};
use self::{differences::Differences, ledger::Ledger, parts::Parts, sources::Sources, targets::Lines};
use crate::{
    dataset::{FAILURES, REJECTED},
    export::{RunRecord, Totals},
    ledger::{LedgerError, Lock},
    money::Usd,
};

/// Why a directory cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// There is none.
    #[error("{} is no directory", .0.display())]
    NoDirectory(std::path::PathBuf),
    /// A run is under way there, or the directory cannot be opened.
    #[error(transparent)]
    Lock(#[from] LedgerError),
}

/// How much was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Input lines, each with its row in `targets`.
    pub lines: u64,
    /// Answers that were decoded once more.
    pub answers: u64,
    /// Rows of `backlinks_history`.
    pub rows: u64,
    /// Parquet files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of ledgers.
    pub ledger_bytes: u64,
    /// Calls.
    pub calls: u64,
    /// What they cost, as far as anybody told.
    #[serde(rename = "cost_micros_usd")]
    pub cost: Usd,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Verified {
    /// Whether everything agrees.
    pub ok: bool,
    /// How much was looked at.
    pub checked: Checked,
    /// What does not agree, by file; [`MOST_DIFFERENCES`] at most.
    pub differences: Vec<Difference>,
    /// How many more differences there are.
    pub more_differences: u64,
    /// What a person should know and is no difference.
    pub notes: Vec<String>,
}

/// Looks at a run's directory. Keeps runs out of it meanwhile. Blocks on the disk.
pub fn verify(dir: &Path) -> Result<Verified, VerifyError> {
    if !dir.is_dir() {
        return Err(VerifyError::NoDirectory(dir.to_owned()));
    }
    let _lock = Lock::take(dir)?;
    let differences = Differences::default();
    let mut checked = Checked::default();
    if let Some(record) = record::read(dir, &differences) {
        Verification { dir, record: &record, differences: &differences }.run(&mut checked);
    }
    let gathered = differences.finish();
    let told = gathered.first.len() as u64;
    Ok(Verified {
        ok: gathered.count == 0,
        checked,
        differences: gathered.first.into_iter().collect(),
        more_differences: gathered.count - told,
        notes: gathered.notes,
    })
}

struct Verification<'a> {
    dir: &'a Path,
    record: &'a RunRecord,
    differences: &'a Differences,
}

impl Verification<'_> {
    fn run(&self, checked: &mut Checked) {
        let parts = parts::check(self.dir, self.record, self.differences);
        checked.files = self.record.files.len() as u64;
        checked.bytes = self.record.files.iter().map(|file| file.bytes).sum();
        let mut known: BTreeSet<String> = parts.named.clone();
        let ledgers = &self.record.made_of.ledgers;
        for record in ledgers.iter().filter(|record| record.dir == Path::new(".")) {
            known.extend(record.files.iter().map(|(file, _)| format!("_raw/{file}")));
        }
        side::strangers(self.dir, &known, self.differences);
        let is_there = |record| ledger::folder(self.dir, record).join("ledger-0.jsonl.zst").try_exists();
        let are_there = |record| matches!(is_there(record), Ok(true));
        if self.record.raw_discarded && !ledgers.iter().all(are_there) {
            self.differences.note(
                "the ledger was dropped with --discard-raw: rows were not compared with answers, nor lines with the input",
            );
            return self.without_ledgers(&parts, checked);
        }
        let missing: Vec<_> = ledgers.iter().filter(|record| !are_there(record)).collect();
        if ledgers.is_empty() || !missing.is_empty() {
            for record in missing {
                let what = match is_there(record) {
                    Err(error) => {
                        format!("cannot be read, so that rows cannot be compared with the answers in it: {error}")
                    }
                    Ok(_) => "is not there, so that rows cannot be compared with the answers in it".to_owned(),
                };
                self.differences.add(format!("{}/ledger-0.jsonl.zst", ledger::name(record)), what);
            }
            return self.without_ledgers(&parts, checked);
        }
        let read = |(number, record)| {
            let digests = self.record.raw_sha256.get(number);
            Ledger::read(self.dir, record, digests, self.differences)
        };
        let ledgers: Vec<Option<Ledger>> = ledgers.iter().enumerate().map(read).collect();
        if let Some(mut ledgers) = ledgers.into_iter().collect::<Option<Vec<Ledger>>>() {
            self.with_ledgers(&mut ledgers, &parts, checked);
        } else {
            self.differences.note("the ledger is damaged: rows were not compared with the answers in it");
            self.without_ledgers(&parts, checked);
        }
    }

    /// Everything that can be known.
    fn with_ledgers(&self, ledgers: &mut [Ledger], parts: &Parts, checked: &mut Checked) {
        checked.ledger_bytes = ledgers.iter().map(|ledger| ledger.bytes).sum();
        let by_run = self.record.made_of.partition_by.split(',').any(|key| key.trim() == "run_date");
        let sources = Sources::new(ledgers, by_run);
        let table = history::Table {
            dir: self.dir,
            partitions: &parts.partitions,
            partition_by: &self.record.made_of.partition_by,
            differences: self.differences,
        };
        let counts = history::compare(&table, &sources);
        let run_id = sources.run_id();
        let differences = self.differences;
        let mut lines = Lines { sources: &sources, run_id, counts: &counts, differences, totals: Totals::default() };
        let path = parts.targets.as_ref().map(|file| (self.dir.join(file), file.as_str()));
        lines.compare(path.as_ref().map(|(path, name)| (path.as_path(), *name)));
        lines.totals.undated = counts.undated();
        record::compare(self.record, &sources, &lines.totals, self.differences);
        side::compare(self.dir, FAILURES, &side::failures(&sources, &counts, self.differences), self.differences);
        side::compare(self.dir, REJECTED, &side::rejected(&sources), self.differences);
        record::success(self.dir, self.record, sources.inputs.counts(), self.differences);
        let spending = sources.spending();
        checked.lines = sources.inputs.counts().lines as u64;
        checked.answers = sources.held.len() as u64;
        checked.rows = lines.totals.rows;
        checked.calls = spending.calls;
        checked.cost = spending.debited.plus(spending.upstream);
    }

    /// What can be known without any answer.
    fn without_ledgers(&self, parts: &Parts, checked: &mut Checked) {
        let by = &self.record.made_of.partition_by;
        let rows = alone::rows(self.dir, &parts.partitions, by, self.differences);
        checked.rows = rows.values().sum();
        checked.calls = self.record.spending.calls;
        checked.cost = self.record.spending.debited.plus(self.record.spending.upstream);
        // A file that is not what was published has been named; what it holds says nothing about the others.
        let rows = parts.partitions.values().all(Option::is_some).then_some(rows);
        let Some(targets) = &parts.targets else { return };
        let counts = alone::compare_tables(self.dir, self.record, (targets, rows), self.differences);
        checked.lines = counts.lines as u64;
        record::summary(self.record, counts, self.differences);
        record::success(self.dir, self.record, counts, self.differences);
    }
}

#[cfg(test)]
mod tests;
