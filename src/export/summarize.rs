//! The end of a run: stored answers become the dataset, unless they are already, and the run is summarized.

use std::path::Path;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{
    ExportError, MergedLedgers, Provenance, RunManifest, Source,
    publish::{StagedHistory, publish},
    run_manifest::ledger_digests,
};
use crate::{
    api::call_events::TargetState,
    dataset::{self, DatasetLayout},
    ledger::{self, Archive, Lock, Spending},
    money::Usd,
    progress::Progress,
    summary::{Dollars, MaxFailures, RunEnd, RunSummary, Totals},
    targets::Counts,
};

/// How a run publishes and what its summary compares with.
#[derive(Clone, Debug)]
pub struct PublishOptions {
    pub layout: DatasetLayout,
    pub max_failures: MaxFailures,
    pub max_cost: Option<Usd>,
    /// Whether the ledger is deleted after a success.
    pub discard_raw: bool,
    /// Answers from before this are too old; `None`: no answer is.
    pub fresh_since: Option<Timestamp>,
    /// Whether the dataset is built by `replay`, which makes no call.
    pub replayed: bool,
    /// The calls before this run.
    pub before: Spending,
    /// When this run began.
    pub started: Instant,
}

impl PublishOptions {
    /// Adds the data of this run to the `numbers` of a directory.
    fn summary(&self, numbers: RunSummary, dir: &Path, ended: &RunEnd) -> RunSummary {
        let summary = RunSummary {
            calls_this_run: numbers.calls.saturating_sub(self.before.calls),
            cost_usd_this_run: Dollars(numbers.cost_usd.0.minus(self.before.reported())),
            refreshed_this_run: numbers.refreshed.saturating_sub(self.before.refreshed),
            taken_over_this_run: numbers.taken_over.saturating_sub(self.before.taken_over),
            fresh_since: self.fresh_since,
            max_cost_usd: self.max_cost.map(Dollars),
            max_failures: self.max_failures,
            elapsed: self.started.elapsed(),
            out: dir.to_owned(),
            replayed: self.replayed,
            ..numbers
        };
        summary.with_end(ended)
    }

    /// The summary of ledgers whose dataset is not published: no answer is decoded for it.
    fn unpublished(&self, merged: &MergedLedgers, dir: &Path, ended: &RunEnd) -> RunSummary {
        let numbers = RunSummary {
            stale: self.stale(merged),
            simulated: merged.is_simulated(),
            ..RunSummary::new(merged.inputs.counts(), &totals(merged), merged.spending())
        };
        self.summary(numbers, dir, ended)
    }

    /// Answers that are older than `--max-age` allows.
    fn stale(&self, merged: &MergedLedgers) -> u64 {
        self.fresh_since.map_or(0, |since| stale_answers(merged, since))
    }
}

/// Publishes the stored answers, unless a signal ended the run, and returns its summary. What was staged during the
/// fetch is not built again. Blocks on the disk.
pub fn publish_and_summarize(
    merged: &MergedLedgers,
    staged: Option<StagedHistory>,
    lock: &Lock,
    ended: &RunEnd,
    options: &PublishOptions,
    progress: &Progress,
) -> Result<RunSummary, ExportError> {
    let dir = lock.dir();
    if let RunEnd::Signal(_) = ended {
        return Ok(options.unpublished(merged, dir, ended));
    }
    let provenance = Provenance::new(merged, dir, &options.layout)?;
    let current = match RunManifest::read(dir) {
        // Only `replay --replace` gets here with an unreadable manifest, and overwrites it.
        Err(ExportError::UnreadableManifest { .. }) => None,
        read => read?,
    };
    let current = current.filter(|manifest| manifest.provenance == provenance && manifest.is_in_place(dir));
    let is_new = current.is_none();
    let mut manifest = if let Some(manifest) = current {
        manifest
    } else {
        let published = publish(merged, staged, dir, &options.layout, progress);
        // A ledger that was deleted meanwhile is saved, and explains why the dataset cannot be published.
        for source in merged.sources.iter().filter(|_| !options.replayed) {
            source.archive.check_or_rescue(lock)?;
        }
        let published = published?;
        let digests = ledger_digests(merged, &provenance)?;
        RunManifest::new(provenance, &published, merged.spending(), digests, merged.oldest_answer())
    };
    let numbers = RunSummary { stale: options.stale(merged), ..manifest.numbers(merged.inputs.counts()) };
    let summary = options.summary(numbers, dir, ended);
    if is_new || summary.success != dataset::is_marked(dir) {
        manifest.summary = summary.clone();
        if !summary.success {
            dataset::unmark_success(dir)?;
        }
        manifest.write(dir, summary.success)?;
    }
    if options.discard_raw && summary.success && !manifest.raw_discarded {
        manifest.raw_discarded = true;
        manifest.write(dir, true)?;
        ledger::discard(lock)?;
    }
    Ok(summary)
}

/// The summary of a run that ended before its dataset was published, if its ledger can be read. The directory may
/// belong to another run by then.
pub fn partial_summary(dir: &Path, run_id: &str, options: &PublishOptions, ended: &RunEnd) -> Option<RunSummary> {
    let archive = Archive::read(dir).ok()?;
    let run = archive.run().filter(|run| run.run_id == run_id).cloned()?;
    let inputs = archive.inputs().ok()??;
    let inputs_sha256 = archive.inputs_digest()?.to_owned();
    let merged = MergedLedgers::new(vec![Source { run, archive }], inputs, inputs_sha256, false).ok()?;
    Some(options.unpublished(&merged, dir, ended))
}

/// The summary of a directory whose ledger was deleted, from its manifest only.
pub fn summary_from_manifest(
    manifest: &RunManifest,
    counts: Counts,
    options: &PublishOptions,
    dir: &Path,
) -> RunSummary {
    options.summary(manifest.numbers(counts), dir, &RunEnd::Finished)
}

/// How many targets are in each state, without reading any answer.
fn totals(merged: &MergedLedgers) -> Totals {
    let mut totals = Totals::default();
    for target in merged.inputs.targets() {
        match merged.entry(target).map_or(TargetState::Pending, |entry| entry.state) {
            TargetState::Ok => totals.ok += 1,
            TargetState::NoData => totals.no_data += 1,
            TargetState::Failed => totals.failed += 1,
            TargetState::Pending => totals.pending += 1,
        }
    }
    totals
}

/// Targets whose answer came before `since`.
pub fn stale_answers(merged: &MergedLedgers, since: Timestamp) -> u64 {
    let entries = merged.inputs.targets().filter_map(|target| merged.entry(target));
    entries.filter(|entry| entry.is_stale(since)).count() as u64
}
