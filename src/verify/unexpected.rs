//! Finds files in a run's directory that no export wrote.

use std::{collections::BTreeSet, fs, path::Path};

use super::difference::{Differences, read_error};
use crate::{
    dataset::{self, FAILURES, HISTORY, REJECTED, RUN, STAGING, SUCCESS, TARGETS, UNDATED},
    ledger,
};

/// The page that `report` writes.
const REPORT: &str = "report.html";

/// Finds files that no export wrote. `known` are the files of the tables and of the ledger.
pub(super) fn find_unexpected(dir: &Path, known: &BTreeSet<String>, differences: &Differences) {
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(dir.join(&folder)) {
            Ok(entries) => entries,
            Err(error) => {
                differences.add(if folder.is_empty() { "." } else { &folder }, read_error(&error));
                continue;
            }
        };
        for entry in entries.filter_map(Result::ok) {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            let is_side_file = [FAILURES, REJECTED, RUN, SUCCESS].contains(&&*path);
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            } else if path == REPORT {
                differences.note("report.html is not checked: report builds it from the tables");
            } else if !is_side_file && !known.contains(&path) {
                report_unexpected(&path, &name, differences);
            }
        }
    }
}

fn report_unexpected(path: &str, name: &str, differences: &Differences) {
    let is_in = |folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
    let is_inside = [HISTORY, UNDATED, TARGETS, ledger::FOLDER].into_iter().any(is_in);
    if is_in(STAGING) && !name.ends_with(".parquet") {
        differences.note(format!("{path} is left over from an interrupted publish; the next run removes it"));
    } else if name.ends_with(".parquet") || is_inside && !dataset::is_ignored(name) {
        differences.add(path, "is not part of the export, but readers of the directory would include it");
    } else {
        differences.note(format!("{path} is not part of the export and was not checked"));
    }
}
