//! The end of a run: what is held becomes the dataset, unless it is that already, and the result is reckoned.

use std::path::Path;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{
    DatasetLayout, ExportError, MergedLedgers, Provenance, RunRecord, Source, Totals,
    publish::{StagedHistory, publish},
    record::ledger_digests,
};
use crate::{
    api::record::TargetState,
    dataset,
    ledger::{self, Archive, Lock, Spending},
    money::Usd,
    outcome::{Ended, MaxFailures, Outcome, Spend},
    progress::Progress,
    targets::Counts,
};

/// Reasons of failures that the result tells.
const REASONS_TOLD: usize = 5;

/// What the result depends on besides what is held.
#[derive(Clone, Debug)]
pub struct PublishOptions {
    /// The form of the dataset.
    pub form: DatasetLayout,
    /// Failures that are tolerated.
    pub max_failures: MaxFailures,
    /// The spending cap, to be told.
    pub max_cost: Option<Usd>,
    /// Whether the ledger is dropped after a success.
    pub discard_raw: bool,
    /// Answers that came before this are too old; `None`: none is.
    pub fresh_since: Option<Timestamp>,
    /// Whether answers that are there are all that it is made of: no call is made.
    pub replayed: bool,
    /// What calls had come to before this run.
    pub before: Spending,
    /// When this run began.
    pub started: Instant,
}

/// Publishes the stored answers, unless a signal has ended the run, and returns its summary. What was staged beside
/// the fetching is not built again. Blocks on the disk.
pub fn publish_and_summarize(
    holdings: &MergedLedgers,
    staged: Option<StagedHistory>,
    (dir, lock): (&Path, &Lock),
    ended: Ended,
    terms: &PublishOptions,
    progress: &Progress,
) -> Result<Outcome, ExportError> {
    let counts = holdings.inputs().counts();
    let spending = holdings.spending();
    let stale = terms.fresh_since.map_or(0, |since| stale_answers(holdings, since));
    if let Ended::Signal(_) = ended {
        let simulated = holdings.is_simulated();
        return Ok(Outcome { stale, simulated, ..outcome(counts, &totals(holdings), spending, terms, dir, ended) });
    }
    let made_of = Provenance::new(holdings, dir, &terms.form)?;
    let side_files_are_there = [dataset::FAILURES, dataset::REJECTED].iter().all(|name| dir.join(name).is_file());
    let standing = RunRecord::read(dir)?
        .filter(|record| record.made_of == made_of && record.files_are_there(dir) && side_files_are_there);
    let is_new = standing.is_none();
    let mut record = if let Some(record) = standing {
        record
    } else {
        let published = publish(holdings, staged, dir, &terms.form, progress)?;
        let digests = ledger_digests(holdings, &made_of)?;
        RunRecord::new(made_of, &published, spending, digests, holdings.oldest_answer())
    };
    let outcome = Outcome {
        published: true,
        simulated: holdings.is_simulated(),
        stale,
        rows: record.totals.rows,
        undated: record.totals.undated,
        mismatches: record.totals.mismatches,
        files: record.files.len() as u64,
        bytes: record.files.iter().map(|file| file.bytes).sum(),
        drift: record.drift.clone(),
        ..outcome(counts, &record.totals, spending, terms, dir, ended)
    };
    let success = outcome.success();
    if is_new || success != dataset::is_marked(dir) {
        record.summary = outcome.json();
        if !success {
            dataset::unmark_success(dir)?;
        }
        record.write(dir, success)?;
    }
    if terms.discard_raw && success && !record.raw_discarded {
        record.raw_discarded = true;
        record.write(dir, success)?;
        ledger::discard(lock)?;
    }
    Ok(outcome)
}

/// What a run has come to that was ended before its dataset was published, as far as its ledger can be read.
pub fn partial_summary(dir: &Path, terms: &PublishOptions, ended: Ended) -> Option<Outcome> {
    let archive = Archive::read(dir).ok()?;
    let (run, inputs) = (archive.run().cloned()?, archive.inputs().ok()??);
    let inputs_sha256 = archive.inputs_digest()?.to_owned();
    let holdings = MergedLedgers::new(vec![Source { run, archive }], (inputs, inputs_sha256), false).ok()?;
    let (counts, simulated) = (holdings.inputs().counts(), holdings.is_simulated());
    Some(Outcome { simulated, ..outcome(counts, &totals(&holdings), holdings.spending(), terms, dir, ended) })
}

/// What a directory has come to whose ledger was dropped: all that is known is its record.
pub fn summary_from_record(record: &RunRecord, counts: Counts, terms: &PublishOptions, dir: &Path) -> Outcome {
    let terms = PublishOptions { before: record.spending, ..terms.clone() };
    Outcome {
        published: true,
        simulated: record.made_of.simulated,
        rows: record.totals.rows,
        undated: record.totals.undated,
        mismatches: record.totals.mismatches,
        files: record.files.len() as u64,
        bytes: record.files.iter().map(|file| file.bytes).sum(),
        drift: record.drift.clone(),
        ..outcome(counts, &record.totals, record.spending, &terms, dir, Ended::Finished)
    }
}

fn outcome(
    counts: Counts,
    totals: &Totals,
    spending: Spending,
    terms: &PublishOptions,
    dir: &Path,
    ended: Ended,
) -> Outcome {
    let mut reasons: Vec<(String, u64)> = totals.failures.clone().into_iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    reasons.truncate(REASONS_TOLD);
    let known = |spending: &Spending| spending.debited.plus(spending.upstream);
    Outcome {
        ended,
        published: false,
        targets: counts.targets as u64,
        ok: totals.ok,
        no_data: totals.no_data,
        failed: totals.failed,
        pending: totals.pending,
        rejected: counts.rejected as u64,
        duplicates: counts.duplicates as u64,
        subdomains: counts.subdomains as u64,
        rows: 0,
        calls: spending.calls,
        retries: spending.retries,
        calls_this_run: spending.calls - terms.before.calls,
        cost_this_run: known(&spending).minus(known(&terms.before)),
        spend: Spend {
            debited: spending.debited,
            upstream: spending.upstream,
            set_aside: spending.set_aside,
            unknown_calls: spending.unknown,
            possibly_billed: spending.possibly_billed,
        },
        max_cost: terms.max_cost,
        max_failures: terms.max_failures,
        replayed: terms.replayed,
        refreshed: spending.refreshed,
        refreshed_this_run: spending.refreshed - terms.before.refreshed,
        taken_over: spending.taken_over,
        taken_over_this_run: spending.taken_over - terms.before.taken_over,
        fresh_since: terms.fresh_since.map(|since| since.to_string()),
        failure_reasons: reasons,
        elapsed: terms.started.elapsed(),
        out: dir.to_owned(),
        ..Outcome::default()
    }
}

/// How many targets stand where, without looking at any answer.
fn totals(holdings: &MergedLedgers) -> Totals {
    let mut totals = Totals::default();
    for target in holdings.inputs().targets() {
        match holdings.account(target).map_or(TargetState::Pending, |account| account.standing) {
            TargetState::Ok => totals.ok += 1,
            TargetState::NoData => totals.no_data += 1,
            TargetState::Failed => totals.failed += 1,
            TargetState::Pending => totals.pending += 1,
        }
    }
    totals
}

/// Targets whose answer came before `since`.
pub fn stale_answers(holdings: &MergedLedgers, since: Timestamp) -> u64 {
    let accounts = holdings.inputs().targets().filter_map(|target| holdings.account(target));
    accounts.filter(|account| account.is_stale(since)).count() as u64
}
