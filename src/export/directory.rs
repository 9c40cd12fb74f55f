//! Whose a directory is: a run's or a replay's own, empty, or somebody else's, which is refused, not filled.

use std::{fs, io, path::Path};

use super::{ExportError, RunRecord};
use crate::{
    dataset,
    ledger::{self, Lock},
};

/// Refuses a directory of somebody else's for a run.
pub(super) fn check_directory(dir: &Path) -> Result<(), ExportError> {
    let fails = |source| ExportError::Io { verb: "read", path: dir.to_owned(), source };
    let mut entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(ExportError::NoDirectory(dir.to_owned()));
        }
        Err(error) => return Err(fails(error)),
    };
    if dir.join(ledger::FOLDER).is_dir() || entries.next().is_none() {
        return Ok(());
    }
    Err(ExportError::Foreign(dir.to_owned()))
}

/// Opens a directory for a dataset that is built from others.
pub fn open_for_replay(dir: &Path) -> Result<Lock, ExportError> {
    if dir.join(ledger::FOLDER).exists() {
        return Err(ExportError::OfARun(dir.to_owned()));
    }
    if RunRecord::read(dir).is_none() {
        check_directory(dir).or_else(|error| if was_begun(dir)? { Ok(()) } else { Err(error) })?;
    }
    Ok(Lock::take(dir)?)
}

/// Whether a directory holds nothing but what a replay leaves that was killed before its record was written. What lies
/// in these folders is looked at before anything is replaced.
fn was_begun(dir: &Path) -> Result<bool, ExportError> {
    let fails = |source| ExportError::Io { verb: "read", path: dir.to_owned(), source };
    let folders = [dataset::STAGING, dataset::HISTORY, dataset::TARGETS];
    if !folders.into_iter().any(|folder| dir.join(folder).is_dir()) {
        return Ok(false);
    }
    for entry in fs::read_dir(dir).map_err(fails)? {
        let name = entry.map_err(fails)?.file_name();
        if !name.to_str().is_some_and(dataset::is_own) {
            return Ok(false);
        }
    }
    Ok(true)
}
