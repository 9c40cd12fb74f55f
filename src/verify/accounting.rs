//! Checks `_run.json` against the ledgers: what the dataset was made from, the counts of lines, every call and its
//! cost, and whether the run was entitled to `_SUCCESS`.

use std::{fs, io};

use super::{Verification, difference::read_error};
use crate::{
    dataset::{RUN, SUCCESS},
    export::{MergedLedgers, Provenance, stale_answers},
    summary::{RunSummary, Totals},
    targets::Counts,
};

/// Entries of the summary that nothing else records: they are about the run that published it.
const UNRECORDED: [&str; 14] = [
    "calls_this_run",
    "cost_usd_this_run",
    "elapsed_s",
    "error",
    "exit_code",
    "fresh_since",
    "hint",
    "max_cost_usd",
    "out",
    "published_to",
    "refreshed_this_run",
    "report",
    "stopped",
    "taken_over_this_run",
];

impl Verification<'_> {
    /// Compares the ledgers with `_run.json`.
    pub(super) fn compare_accounting(&self, merged: &MergedLedgers, provenance: &Provenance, totals: &Totals) {
        let Self { manifest, differences, .. } = *self;
        // A different version may have made the dataset, which is already noted.
        let provenance = Provenance { version: manifest.provenance.version.clone(), ..provenance.clone() };
        differences.expect(RUN, "", &manifest.provenance, &provenance);
        differences.expect(RUN, "totals", &manifest.totals, totals);
        differences.expect(RUN, "spending", &manifest.spending, &merged.spending());
        differences.expect(RUN, "oldest_answer", &manifest.oldest_answer, &merged.oldest_answer());
        let stale = manifest.summary.fresh_since.map_or(0, |since| stale_answers(merged, since));
        self.compare_summary(merged.inputs.counts(), stale);
    }

    /// Compares the stored summary with the numbers that it was made from, and `_SUCCESS`, which is empty, with whether
    /// the run was entitled to it: the run was not stopped, and at most the tolerated number of targets has no answer,
    /// or one that is too old.
    pub(super) fn compare_summary(&self, counts: Counts, stale: u64) {
        let Self { dir, manifest, differences } = *self;
        let summary = &manifest.summary;
        let numbers = RunSummary { stale, max_failures: summary.max_failures, ..manifest.numbers(counts) };
        let success = numbers.is_tolerated() && summary.stopped.is_none();
        let (stored, mut expected) = (summary.json(), RunSummary { success, ..numbers }.json());
        for key in UNRECORDED {
            expected[key] = stored[key].clone();
        }
        differences.expect(RUN, "summary", &stored, &expected);
        match (fs::read(dir.join(SUCCESS)), success) {
            (Ok(content), true) if content.is_empty() => {}
            (Ok(_), true) => differences.add(SUCCESS, "is not empty"),
            (Ok(_), false) => differences.add(SUCCESS, "exists, but the run did not complete"),
            (Err(error), false) if error.kind() == io::ErrorKind::NotFound => {}
            (Err(error), _) => differences.add(SUCCESS, read_error(&error)),
        }
    }
}
