//! Checks `_run.json` against the ledgers: what the dataset was made from, the counts of lines, every call and its
//! cost, and whether the run was entitled to `_SUCCESS`.

use std::{fs, io, path::Path};

use serde::Serialize;
use serde_json::Value;

use super::difference::{Differences, read_error};
use crate::{
    dataset::{RUN, SUCCESS},
    export::{MergedLedgers, Provenance, RunManifest, stale_answers},
    summary::{RunSummary, Totals},
    targets::Counts,
};

/// Compares the ledgers with `_run.json`.
pub(super) fn compare(
    dir: &Path,
    manifest: &RunManifest,
    provenance: &Provenance,
    merged: &MergedLedgers,
    totals: &Totals,
    differences: &Differences,
) {
    // A different version may have made the dataset, which is already noted.
    let provenance = Provenance { version: manifest.provenance.version.clone(), ..provenance.clone() };
    expect("", &manifest.provenance, &provenance, differences);
    expect("totals", &manifest.totals, totals, differences);
    expect("spending", &manifest.spending, &merged.spending(), differences);
    expect("oldest_answer", &manifest.oldest_answer, &merged.oldest_answer(), differences);
    let stale = manifest.summary.fresh_since.map_or(0, |since| stale_answers(merged, since));
    compare_summary(dir, manifest, merged.inputs().counts(), stale, differences);
}

/// Compares two values field by field.
pub(super) fn expect<T: Serialize>(name: &str, found: &T, expected: &T, differences: &Differences) {
    let value = |of: &T| serde_json::to_value(of).expect("text and numbers always serialize");
    expect_value(name, &value(found), &value(expected), differences);
}

fn expect_value(name: &str, found: &Value, expected: &Value, differences: &Differences) {
    match (found, expected) {
        (Value::Object(_), Value::Object(fields)) => {
            for (key, expected) in fields {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                expect_value(&name, &found[key], expected, differences);
            }
        }
        (Value::Array(ones), Value::Array(others)) if ones.len() == others.len() => {
            for (index, (found, expected)) in ones.iter().zip(others).enumerate() {
                expect_value(&format!("{name}[{index}]"), found, expected, differences);
            }
        }
        _ if found != expected => differences.add(RUN, format!("{name} is {found}, expected {expected}")),
        _ => {}
    }
}

/// Compares the stored summary with the numbers that it was made from, and `_SUCCESS`, which is empty, with whether the
/// run was entitled to it: the run was not stopped, and at most the tolerated number of targets has no answer, or one
/// that is too old.
pub(super) fn compare_summary(
    dir: &Path,
    manifest: &RunManifest,
    counts: Counts,
    stale: u64,
    differences: &Differences,
) {
    let stored = manifest.summary.clone();
    let numbers = RunSummary { stale, max_failures: stored.max_failures, ..manifest.numbers(counts) };
    let success = numbers.is_tolerated() && stored.stopped.is_none();
    let expected = RunSummary {
        success,
        // Nothing else records the data of the run that published it.
        calls_this_run: stored.calls_this_run,
        cost_usd_this_run: stored.cost_usd_this_run,
        refreshed_this_run: stored.refreshed_this_run,
        taken_over_this_run: stored.taken_over_this_run,
        fresh_since: stored.fresh_since,
        max_cost_usd: stored.max_cost_usd,
        elapsed: stored.elapsed,
        out: stored.out,
        report: stored.report,
        published_to: stored.published_to,
        exit_code: stored.exit_code,
        stopped: stored.stopped,
        error: stored.error,
        hint: stored.hint,
        ..numbers
    };
    expect("summary", &manifest.summary, &expected, differences);
    match (fs::read(dir.join(SUCCESS)), success) {
        (Ok(content), true) if content.is_empty() => {}
        (Ok(_), true) => differences.add(SUCCESS, "is not empty"),
        (Ok(_), false) => differences.add(SUCCESS, "exists, but the run did not complete"),
        (Err(error), false) if error.kind() == io::ErrorKind::NotFound => {}
        (Err(error), _) => differences.add(SUCCESS, read_error(&error)),
    }
}
