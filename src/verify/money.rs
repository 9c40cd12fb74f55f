//! `_run.json` against the ledgers: what the dataset is made of, how many lines came to what, every call and its cost,
//! and whether the run deserved `_SUCCESS`.

use std::{fs, io, path::Path};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::difference::{Differences, read_error};
use crate::{
    dataset::{RUN, SUCCESS},
    export::{MergedLedgers, Provenance, RunRecord, Totals, stale_answers},
    ledger::Spending,
    outcome::MaxFailures,
    targets::Counts,
};

/// Compares what the ledgers say with the record.
pub(super) fn compare(
    record: &RunRecord,
    made_of: &Provenance,
    holdings: &MergedLedgers,
    totals: &Totals,
    differences: &Differences,
) {
    // The version that made the dataset may be another one, which has been noted.
    let made_of = Provenance { version: record.made_of.version.clone(), ..made_of.clone() };
    expect("", &record.made_of, &made_of, differences);
    expect("totals", &record.totals, totals, differences);
    expect("spending", &record.spending, &holdings.spending(), differences);
    expect("oldest_answer", &record.oldest_answer, &holdings.oldest_answer(), differences);
    let since = record.summary["fresh_since"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let stale = since.map_or(0, |since| stale_answers(holdings, since));
    if record.summary["stale"] != stale {
        differences.add(RUN, format!("summary.stale is {}, should be {stale}", record.summary["stale"]));
    }
    compare_summary(record, holdings.inputs().counts(), differences);
}

/// Compares two values, each field by itself.
pub(super) fn expect<T: Serialize>(name: &str, found: &T, expected: &T, differences: &Differences) {
    let value = |of: &T| serde_json::to_value(of).expect("text and numbers always serialise");
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
            for (place, (found, expected)) in ones.iter().zip(others).enumerate() {
                expect_value(&format!("{name}[{place}]"), found, expected, differences);
            }
        }
        _ if found != expected => differences.add(RUN, format!("{name} is {found}, should be {expected}")),
        _ => {}
    }
}

/// Compares the result that was reported with the numbers that it was made from.
pub(super) fn compare_summary(record: &RunRecord, counts: Counts, differences: &Differences) {
    let Totals { ok, no_data, failed, pending, rows, undated, mismatches, .. } = record.totals;
    let Spending { calls, retries, debited, upstream, set_aside, unknown, possibly_billed, refreshed, taken_over } =
        record.spending;
    let (files, bytes) = (record.files.len() as u64, record.files.iter().map(|file| file.bytes).sum::<u64>());
    let expected = serde_json::json!({
        "targets": counts.targets,
        "ok": ok,
        "no_data": no_data,
        "failed": failed,
        "pending": pending,
        "rejected": counts.rejected,
        "duplicates": counts.duplicates,
        "rows": rows,
        "undated": undated,
        "count_mismatches": mismatches,
        "calls": calls,
        "retries": retries,
        "cost_usd": debited.plus(upstream).dollars(),
        "cost_source": {
            "debit_usd": debited.dollars(),
            "upstream_usd": upstream.dollars(),
            "unknown_calls": unknown,
            "set_aside_usd": set_aside.dollars(),
        },
        "possibly_billed": possibly_billed,
        "refreshed": refreshed,
        "taken_over": taken_over,
        "files": files,
        "bytes": bytes,
        "drift": record.drift,
        "published": true,
        "success": is_success(record, counts),
    });
    for (key, expected) in expected.as_object().into_iter().flatten() {
        let found = record.summary.get(key).unwrap_or(&Value::Null);
        if found != expected {
            differences.add(RUN, format!("summary.{key} is {found}, should be {expected}"));
        }
    }
}

/// Whether the run deserved `_SUCCESS`: it was not stopped, and no more targets than tolerated have no answer, or one
/// that is too old.
fn is_success(record: &RunRecord, counts: Counts) -> bool {
    let tolerated = record.summary["max_failures"].as_str().and_then(|text| text.parse::<MaxFailures>().ok());
    let without = record.totals.failed.saturating_add(record.totals.pending);
    let wanting = without.saturating_add(record.summary["stale"].as_u64().unwrap_or_default());
    let is_tolerated = tolerated.is_some_and(|tolerated| tolerated.allows(wanting, counts.targets as u64));
    record.summary["stopped"].is_null() && is_tolerated
}

/// Compares `_SUCCESS`, which is empty, with whether the run deserved it.
pub(super) fn compare_success(dir: &Path, record: &RunRecord, counts: Counts, differences: &Differences) {
    match (fs::read(dir.join(SUCCESS)), is_success(record, counts)) {
        (Ok(content), true) if content.is_empty() => {}
        (Ok(_), true) => differences.add(SUCCESS, "is not empty"),
        (Ok(_), false) => differences.add(SUCCESS, "exists, but the run did not complete"),
        (Err(error), false) if error.kind() == io::ErrorKind::NotFound => {}
        (Err(error), _) => differences.add(SUCCESS, read_error(&error)),
    }
}
