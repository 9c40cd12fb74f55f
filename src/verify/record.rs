//! `_run.json` against itself and against what was counted: its own digest first, then every number in it.

use std::{collections::BTreeMap, fs, path::Path};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{
    account::Last,
    differences::Differences,
    frames::hex,
    side::{self, not_there},
    sources::Sources,
};
use crate::{
    dataset::RUN,
    export::{RunRecord, Totals},
    flatten,
    ledger::{self, Spending},
    outcome::MaxFailures,
    targets::Counts,
};

const UNPUBLISHED: &str = "is not there: no dataset was published; run the same command again, which does it";
const NO_RUN: &str = "is not there, and no ledger: this is not the directory of a run, nor one that replay has built";

/// Reads the record and checks its own digest; `None`: it cannot be used, and why has been said.
pub(super) fn read(dir: &Path, differences: &Differences) -> Option<RunRecord> {
    let text = match fs::read(dir.join(RUN)) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let is_run = ledger::is_begun(dir).unwrap_or(true);
            differences.add(RUN, if is_run { UNPUBLISHED } else { NO_RUN });
            return None;
        }
        Err(error) => {
            differences.add(RUN, not_there(&error));
            return None;
        }
    };
    if !is_its_own(&text) {
        differences.add(RUN, "was changed after it was written: its last line is not the digest of the others");
    }
    let record: RunRecord = match serde_json::from_slice(&text) {
        Ok(record) => record,
        Err(error) => {
            differences.add(RUN, format!("cannot be read, so nothing else can be checked: {error}"));
            return None;
        }
    };
    let made_of = &record.made_of;
    if made_of.schema_version != flatten::schema::VERSION {
        let (theirs, ours) = (made_of.schema_version, flatten::schema::VERSION);
        differences.add(RUN, format!("is of schema version {theirs}, this program checks version {ours} alone"));
        return None;
    }
    if made_of.version != env!("CARGO_PKG_VERSION") {
        differences.note(format!("the dataset was made by version {} of this program", made_of.version));
    }
    Some(record)
}

/// Whether the last entry, `"sha256"`, is the digest of the document without it.
fn is_its_own(text: &[u8]) -> bool {
    const KEY: &[u8] = b",\n  \"sha256\": \"";
    const END: &[u8] = b"\"\n}\n";
    const DIGITS: usize = 64;
    let Some(rest) = text.strip_suffix(END) else { return false };
    let Some((rest, digits)) = rest.len().checked_sub(DIGITS).map(|place| rest.split_at(place)) else { return false };
    let Some(rest) = rest.strip_suffix(KEY) else { return false };
    hex(&Sha256::digest([rest, b"\n}\n"].concat())).as_bytes() == digits
}

/// Compares all that the ledgers say with the record.
pub(super) fn compare(record: &RunRecord, sources: &Sources<'_>, totals: &Totals, differences: &Differences) {
    let made_of = &record.made_of;
    let expect = |name: &str, found: &str, expected: &str| differences.expect(RUN, name, &found, &expected);
    expect("program", &made_of.program, "backlinks-export");
    expect("run_id", &made_of.run_id, &sources.run_id());
    expect("inputs_sha256", &made_of.inputs_sha256, &sources.inputs_sha256);
    expect_fields("parameters", &made_of.parameters, &sources.parameters(), differences);
    // A record of an earlier version does not tell it.
    if record.oldest_answer.is_some() {
        let micros = |at: Option<Timestamp>| at.map(Timestamp::as_microsecond);
        differences.expect(RUN, "oldest_answer", &micros(record.oldest_answer), &micros(sources.oldest_answer()));
    }
    stale(record, sources, differences);
    for (told, ledger) in made_of.ledgers.iter().zip(sources.ledgers) {
        expect("ledgers[].run_id", &told.run_id, &ledger.run_id);
    }
    expect_fields("totals", &by_class(&record.totals), totals, differences);
    expect_fields("spending", &record.spending, &sources.spending(), differences);
    summary(record, sources.inputs.counts(), differences);
}

/// Compares the fields of two values, each by itself.
fn expect_fields<T: Serialize>(name: &str, found: &T, expected: &T, differences: &Differences) {
    let value = |of: &T| serde_json::to_value(of).unwrap_or_default();
    let (found, expected) = (value(found), value(expected));
    let expect = |name: &str, found: &Value, expected: &Value| {
        if found != expected {
            differences.add(RUN, format!("{name} is {found}, should be {expected}"));
        }
    };
    match expected.as_object() {
        Some(fields) => fields.iter().for_each(|(key, one)| expect(&format!("{name}.{key}"), &found[key], one)),
        None => expect(name, &found, &expected),
    }
}

/// Compares how many answers are said to be too old with the answers.
fn stale(record: &RunRecord, sources: &Sources<'_>, differences: &Differences) {
    let since = record.summary["fresh_since"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let is_older = |last: &Last| since.is_some_and(|since| last.at() < since);
    let answered = sources.of_lines().filter(|account| account.standing.is_final());
    let expected = answered.filter(|account| account.last.is_some_and(is_older)).count();
    let found = &record.summary["stale"];
    // A record of an earlier version does not tell it.
    if *found != expected && !(found.is_null() && expected == 0) {
        differences.add(RUN, format!("summary.stale is {found}, should be {expected}"));
    }
}

/// Failures by their first word alone: the rest is what the API said, told for people and cut where it is much.
fn by_class(totals: &Totals) -> Totals {
    let mut by_class = Totals { failures: BTreeMap::new(), ..totals.clone() };
    for (reason, count) in &totals.failures {
        let class = reason.split(':').next().unwrap_or_default();
        *by_class.failures.entry(class.to_owned()).or_default() += count;
    }
    by_class
}

/// Compares the result that was told with the numbers that it was told from.
pub(super) fn summary(record: &RunRecord, counts: Counts, differences: &Differences) {
    let Totals { ok, no_data, failed, pending, rows, undated, .. } = record.totals;
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
        let is_of_earlier_version = found.is_null() && ["refreshed", "taken_over"].contains(&key.as_str());
        if found != expected && !(is_of_earlier_version && *expected == 0) {
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

/// Compares `_SUCCESS` with whether the run deserved it.
pub(super) fn success(dir: &Path, record: &RunRecord, counts: Counts, differences: &Differences) {
    side::success(dir, is_success(record, counts), differences);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_changed_byte_of_the_record_is_noticed() {
        let dir = tempfile::tempdir().expect("a folder");
        crate::dataset::write_run(dir.path(), &serde_json::json!({"rows": 1, "z": ["a"]})).expect("written");
        let written = fs::read(dir.path().join(RUN)).expect("a file");
        assert!(is_its_own(&written));
        let value: Value = serde_json::from_slice(&written).expect("JSON");
        assert_eq!(value["rows"], 1);
        for place in 0..written.len() {
            for bit in 0..8 {
                let mut changed = written.clone();
                changed[place] ^= 1 << bit;
                assert!(!is_its_own(&changed), "bit {bit} of byte {place}");
            }
        }
        assert!(!is_its_own(b"") && !is_its_own(b"{}\n"));
    }
}
