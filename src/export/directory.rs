//! Which directories may be written to: a run's or a replay's own, or an empty one. Others are refused.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

use super::{ExportError, MergedLedgers, RunRecord};
use crate::{
    dataset,
    ledger::{self, Archive, Lock},
};

/// Refuses a directory that contains anything but a run.
pub(super) fn check_directory(dir: &Path) -> Result<(), ExportError> {
    let fails = |source| ExportError::Io { verb: "read", path: dir.to_owned(), source };
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(ExportError::NoDirectory(dir.to_owned()));
        }
        Err(error) => return Err(fails(error)),
    };
    if ledger::is_begun(dir)? {
        return Ok(());
    }
    let mut is_empty = true;
    for entry in entries {
        let name = entry.map_err(fails)?.file_name();
        is_empty &= name.to_str().is_some_and(dataset::is_ignored);
    }
    if is_empty {
        return Ok(());
    }
    Err(match RunRecord::read(dir)? {
        Some(record) if record.made_of.ledgers.iter().any(|ledger| ledger.dir == Path::new(".")) => {
            ExportError::LedgerGone(dir.to_owned())
        }
        Some(_) => ExportError::OfAReplay(dir.to_owned()),
        None => ExportError::Foreign(dir.to_owned()),
    })
}

/// Refuses a ledger that is shorter than when the dataset was built from it: what is missing would be bought again.
pub(super) fn check_ledger(dir: &Path, archive: &Archive) -> Result<(), ExportError> {
    let Some(record) = RunRecord::read(dir)?.filter(|record| !record.raw_discarded) else { return Ok(()) };
    let held: HashMap<PathBuf, u64> = archive.files()?.into_iter().collect();
    let own = record.made_of.ledgers.iter().filter(|ledger| ledger.dir == Path::new("."));
    for (name, expected) in own.flat_map(|ledger| &ledger.files) {
        let path = dir.join(ledger::FOLDER).join(name);
        let held = held.get(&path).copied().unwrap_or_default();
        if held < *expected {
            return Err(ExportError::CutShort { path, held, expected: *expected });
        }
    }
    Ok(())
}

/// Opens a directory for a dataset that is built from these ledgers. A dataset that contains other runs, whose rows it
/// would lose, is only replaced on request.
pub fn open_for_replay(dir: &Path, holdings: &MergedLedgers, replace: bool) -> Result<Lock, ExportError> {
    let folder = dir.join(ledger::FOLDER);
    if folder.try_exists().map_err(|source| ExportError::Io { verb: "read", path: folder, source })? {
        return Err(ExportError::OfARun(dir.to_owned()));
    }
    if let Some(record) = RunRecord::read(dir)? {
        let is_there = |run_id: &String| holdings.sources().iter().any(|source| source.run.run_id == *run_id);
        let mut lost = record.made_of.ledgers.iter().map(|ledger| &ledger.run_id).filter(|run_id| !is_there(run_id));
        if let Some(run_id) = lost.next().filter(|_| !replace) {
            return Err(ExportError::OtherRuns { dir: dir.to_owned(), run_id: run_id.clone() });
        }
    } else {
        check_directory(dir).or_else(|error| if was_begun(dir)? { Ok(()) } else { Err(error) })?;
    }
    Ok(Lock::take(dir)?)
}

/// Whether a directory contains only what a replay leaves that was killed before it wrote its record. The content of
/// these folders is checked before anything is replaced.
fn was_begun(dir: &Path) -> Result<bool, ExportError> {
    let fails = |source| ExportError::Io { verb: "read", path: dir.to_owned(), source };
    let folders = [dataset::STAGING, dataset::HISTORY, dataset::UNDATED, dataset::TARGETS];
    if !folders.into_iter().any(|folder| dir.join(folder).is_dir()) {
        return Ok(false);
    }
    for entry in fs::read_dir(dir).map_err(fails)? {
        let name = entry.map_err(fails)?.file_name();
        if !name.to_str().is_some_and(|name| dataset::is_own(name) || dataset::is_ignored(name)) {
            return Ok(false);
        }
    }
    Ok(true)
}
