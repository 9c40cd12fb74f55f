//! Answers that are refreshed when they are old, reused from earlier runs, and kept as snapshots: the real program
//! against the simulated API, checked against its bill. No test waits for answers to age: a ledger's records are
//! backdated.

mod crash;
mod previous;
mod snapshots;
mod stale;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use arrow::{compute::cast, datatypes::DataType, util::display::array_value_to_string};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::{
    program::{rows, table},
    shell::Shell,
};
use crate::members::{gunzip, member, members};

/// Backdates a run's ledger by this many days.
pub(super) fn age(out: &Path, days: i64) {
    let files: Vec<PathBuf> =
        fs::read_dir(out.join("_raw")).expect("a ledger").map(|it| it.expect("it").path()).collect();
    for file in files {
        let bytes = fs::read(&file).expect("readable");
        let mut aged = Vec::new();
        for (whole, content) in members(&bytes) {
            // Bodies and input lines do not contain times.
            if content.starts_with(br#"{"record":"#) && !content.starts_with(br#"{"record":"input","#) {
                aged.extend(member(&dated_back(content, days)));
            } else {
                aged.extend(whole);
            }
        }
        fs::write(&file, aged).expect("written");
    }
    // It contains the lengths of the files.
    let path = out.join("_run.json");
    if let Ok(text) = fs::read(&path) {
        let mut record: Value = serde_json::from_slice(&text).expect("JSON");
        for file in record["ledgers"][0]["files"].as_array_mut().expect("files") {
            file[1] = 0.into();
        }
        fs::write(&path, record.to_string()).expect("written");
    }
}

/// A record's line, or its beginning, with its times moved back by this many days.
fn dated_back(content: Vec<u8>, days: i64) -> Vec<u8> {
    let mut text = String::from_utf8(content).expect("text");
    for key in ["at", "started_at", "taken_over_at"] {
        let begin = format!("\"{key}\":\"");
        let Some(start) = text.find(&begin).map(|place| place + begin.len()) else { continue };
        let end = start + text[start..].find('"').expect("an end");
        let time: Timestamp = text[start..end].parse().expect("a time");
        let earlier = time.checked_sub(SignedDuration::from_hours(24 * days)).expect("a time");
        text.replace_range(start..end, &earlier.to_string());
    }
    text.into_bytes()
}

/// The records of a run's ledger in order, without bodies.
pub(super) fn records(out: &Path) -> Vec<Map<String, Value>> {
    let bytes = fs::read(out.join("_raw/ledger-0.jsonl.gz")).expect("a ledger");
    let text = String::from_utf8(gunzip(&bytes).expect("sound")).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

/// The table `targets`: for each target its columns as text, empty for null; without duplicates.
pub(super) fn target_rows(out: &Path) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut targets = BTreeMap::new();
    for bytes in table(out, "targets").values() {
        for batch in rows(bytes) {
            for row in 0..batch.num_rows() {
                let columns = batch.schema_ref().fields().iter().zip(batch.columns());
                let cells = columns.map(|(field, column)| {
                    // Times as microseconds: formatting them needs a calendar.
                    let is_time = matches!(column.data_type(), DataType::Timestamp(..));
                    let column = if is_time { &cast(column, &DataType::Int64).expect("a number") } else { column };
                    (field.name().clone(), array_value_to_string(column, row).expect("a value"))
                });
                let cells: BTreeMap<String, String> = cells.collect();
                if cells["outcome"] != "duplicate" {
                    targets.insert(cells["target"].clone(), cells);
                }
            }
        }
    }
    targets
}

/// The number of targets with this value in a column.
pub(super) fn count(out: &Path, column: &str, value: &str) -> usize {
    target_rows(out).values().filter(|cells| cells[column] == value).count()
}

/// Rows of each partition of the history.
pub(super) fn rows_by_partition(out: &Path) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for (path, bytes) in table(out, "backlinks_history") {
        let folder = path.rsplit_once('/').expect("a folder").0.to_owned();
        *counts.entry(folder).or_default() +=
            rows(&bytes).iter().map(arrow::array::RecordBatch::num_rows).sum::<usize>();
    }
    counts
}

/// `verify` must find no difference.
pub(super) fn verified(shell: &Shell, out: &str) {
    shell.run(&format!("verify {out}")).expect(0);
}
