//! The objects under a prefix, and whether they are an export that may be replaced.
//!
//! As with a directory, a prefix that contains anything else is refused: replacing a dataset deletes the old files.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{PROBE, StoreError, StoreUrl, files::LocalDataset};
use crate::{
    dataset::{DEEPEST, FAILURES, HISTORY, REJECTED, RUN, SUCCESS, TARGETS, UNDATED},
    report,
};

/// Files outside the tables.
const BESIDE: [&str; 4] = [FAILURES, REJECTED, RUN, report::FILE];

#[derive(Debug)]
pub(super) struct RemoteListing {
    /// Sizes by name below the prefix.
    pub(super) sizes: BTreeMap<String, u64>,
    /// `_run.json`; empty if there is none.
    pub(super) manifest: Vec<u8>,
}

/// The parts needed of a `_run.json` that another version may have written.
#[derive(Debug, Deserialize)]
struct RemoteManifest {
    program: String,
    #[serde(default)]
    simulated: bool,
}

impl RemoteListing {
    /// Refuses objects that are not part of an export, and a dataset of the real API if the new one is `simulated`.
    pub(super) fn inspect(&self, url: &StoreUrl, simulated: bool) -> Result<(), StoreError> {
        let foreign = |name: &str| StoreError::Foreign { url: url.clone(), name: name.to_owned() };
        let manifest: Option<RemoteManifest> = serde_json::from_slice(&self.manifest).ok();
        let Some(manifest) = manifest.filter(|manifest| manifest.program == "backlinks-export") else {
            let others = self.sizes.iter().find(|(name, bytes)| *name != PROBE && !is_folder(name, **bytes));
            return others.map_or(Ok(()), |(name, _)| Err(foreign(name)));
        };
        if let Some((name, _)) = self.sizes.iter().find(|(name, bytes)| !is_own(name) && !is_folder(name, **bytes)) {
            return Err(foreign(name));
        }
        if simulated && !manifest.simulated {
            return Err(StoreError::Real { url: url.clone() });
        }
        Ok(())
    }

    pub(super) fn is_marked(&self) -> bool {
        self.sizes.contains_key(SUCCESS)
    }

    /// Objects that are not part of `dataset` and have to be deleted, except for `_SUCCESS`, which is deleted first.
    pub(super) fn surplus(&self, dataset: &LocalDataset) -> Vec<String> {
        let own: BTreeSet<&str> = dataset.all().map(|file| file.name.as_str()).collect();
        let objects = self.sizes.iter().filter(|(name, bytes)| !is_folder(name, **bytes)).map(|(name, _)| name);
        objects.filter(|name| *name != SUCCESS && !own.contains(name.as_str())).cloned().collect()
    }
}

/// Whether an upload creates objects of this name.
fn is_own(name: &str) -> bool {
    let mut parts: Vec<&str> = name.split('/').collect();
    let Some(file) = parts.pop() else { return false };
    let Some((table, folders)) = parts.split_first() else {
        return BESIDE.contains(&file) || file == SUCCESS || file == PROBE;
    };
    let is_part = file.starts_with("part-") && file.ends_with(".parquet");
    let fits = folders.len() <= DEEPEST && folders.iter().all(|folder| folder.contains('='));
    [HISTORY, UNDATED, TARGETS].contains(table) && fits && is_part
}

/// Whether an object is an empty one that represents a folder; the web consoles of stores create them.
fn is_folder(name: &str, bytes: u64) -> bool {
    let last = name.rsplit('/').next().unwrap_or(name);
    bytes == 0
        && (name.is_empty()
            || [HISTORY, UNDATED, TARGETS].contains(&name)
            || (name.contains('/') && last.contains('=')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_prefixes_of_exports_may_be_replaced() {
        const REAL: &str = r#"{"program":"backlinks-export","simulated":false,"x":1}"#;
        const SANDBOX: &str = r#"{"program":"backlinks-export","simulated":true}"#;
        let url: StoreUrl = "s3://bucket/prefix".parse().unwrap();
        let check = |names: &[&str], manifest: &str, simulated: bool, expected: &str| {
            let sizes = names.iter().map(|name| ((*name).to_owned(), u64::from(!name.ends_with("history"))));
            let mut sizes: BTreeMap<String, u64> = sizes.collect();
            if !manifest.is_empty() {
                sizes.insert(RUN.to_owned(), manifest.len() as u64);
            }
            let listing = RemoteListing { sizes, manifest: manifest.as_bytes().to_vec() };
            let error = listing.inspect(&url, simulated).map_or_else(|error| error.to_string(), |()| String::new());
            assert_eq!(error.strip_prefix("s3://bucket/prefix contains ").unwrap_or(&error), expected, "{names:?}");
        };
        let part = "backlinks_history/year=2024/part-a-0.parquet";
        let others = |name: &str| format!("{name}, which is not part of an export");
        check(&[], "", false, "");
        check(&[PROBE, "backlinks_history"], "", true, "");
        check(&[part, "targets/part-a.parquet", SUCCESS, FAILURES, "report.html"], REAL, false, "");
        check(&["backlinks_history/run_date=2026-11-01/part-b-12.parquet"], SANDBOX, true, "");
        check(&[part], SANDBOX, false, "");
        check(&[part], "", false, &others(part));
        check(&[part], "{}", false, &others(RUN));
        check(&[part], r#"{"program":"another","run_id":"1"}"#, false, &others(RUN));
        check(&["notes.txt"], "", false, &others("notes.txt"));
        check(&["notes.txt"], REAL, false, &others("notes.txt"));
        check(&["_raw/ledger-0.jsonl.gz"], REAL, false, &others("_raw/ledger-0.jsonl.gz"));
        check(&["targets/mine.parquet"], REAL, false, &others("targets/mine.parquet"));
        check(&["targets/old/part-0.parquet"], REAL, false, &others("targets/old/part-0.parquet"));
        check(
            &["targets/a=1/b=2/c=3/d=4/part-0.parquet"],
            REAL,
            false,
            &others("targets/a=1/b=2/c=3/d=4/part-0.parquet"),
        );
        let real = "real data, but this dataset is simulated";
        check(&[part], REAL, true, real);
    }
}
