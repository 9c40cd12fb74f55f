//! Opening directories: those of a run, of a replay, or empty ones. Others are refused, not filled.

use std::{
    collections::HashMap,
    fs, io,
    path::{Component, Path, PathBuf},
};

use super::{ExportError, MergedLedgers, Provenance, QueryParams, RunManifest, Source};
use crate::{
    clock::Clock,
    dataset::{self, DatasetLayout, PartitionBy, PartitionKey},
    ledger::{self, Archive, LedgerError, Lock, RunHeader},
    targets::Inputs,
};

/// Refuses a directory that contains anything but a run. `manifest` is its manifest.
pub(super) fn check_is_run(dir: &Path, manifest: Option<&RunManifest>) -> Result<(), ExportError> {
    let fails = ExportError::io("read", dir);
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound && dir.is_symlink() => {
            return Err(ExportError::DanglingLink(dir.to_owned()));
        }
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
        let name = entry.map_err(&fails)?.file_name();
        is_empty &= name.to_str().is_some_and(dataset::is_ignored);
    }
    if is_empty {
        return Ok(());
    }
    let Some(Provenance { ledgers, .. }) = manifest.map(|manifest| &manifest.provenance) else {
        return Err(ExportError::Foreign(dir.to_owned()));
    };
    let Some(own) = ledgers.iter().find(|ledger| ledger.is_own()) else {
        return Err(ExportError::OfAReplay(dir.to_owned()));
    };
    let name = own.files.first().map_or("", |(name, _)| name);
    Err(ExportError::LedgerGone { dir: dir.to_owned(), file: own.file(dir, name) })
}

/// Reads the ledger of a directory with this manifest. A ledger that is shorter than when the dataset was built from it
/// is refused: the missing answers would be bought again.
pub(super) fn read_ledger(dir: &Path, manifest: Option<&RunManifest>) -> Result<Archive, ExportError> {
    let archive = Archive::read(dir)?;
    let manifest = manifest.filter(|manifest| !manifest.raw_discarded);
    let found: HashMap<PathBuf, u64> = archive.files()?.into_iter().collect();
    for (name, expected) in manifest.into_iter().flat_map(|manifest| manifest.provenance.own_files()) {
        let path = dir.join(ledger::FOLDER).join(name);
        let found = found.get(&path).copied().unwrap_or_default();
        if found < *expected {
            return Err(ExportError::CutShort { path, found, expected: *expected });
        }
    }
    Ok(archive)
}

/// Checks a directory whose ledger was deleted: it only answers the command that created it. Anything else is an error.
pub fn check_discarded(
    dir: &Path,
    manifest: &RunManifest,
    given: &Inputs,
    query: &QueryParams,
    layout: Option<&DatasetLayout>,
    clock: Clock,
) -> Result<(), ExportError> {
    let stored = RunHeader {
        run_id: manifest.provenance.run_id.clone(),
        started_at: clock.now(),
        parameters: manifest.provenance.parameters.clone(),
        version: manifest.provenance.version.clone(),
        shard: None,
        simulated: manifest.provenance.simulated,
    };
    query.parameters(Some(&stored), "", clock.today())?;
    // If the age of its oldest answer is unknown, all answers may be too old.
    let is_fresh = query.fresh_since.is_none_or(|since| manifest.oldest_answer.is_some_and(|oldest| oldest >= since));
    let has_lines = manifest.provenance.inputs_sha256 == ledger::digest(given);
    let has_layout = layout.is_none_or(|layout| manifest.provenance.layout == *layout);
    if has_lines && has_layout && is_fresh && manifest.files_are_there(dir) {
        return Ok(());
    }
    Err(ExportError::Discarded(dir.to_owned()))
}

/// Reads the ledger of a run in another directory; `lock` keeps other runs out of it.
pub(super) fn read_run<L>(
    dir: &Path,
    lock: impl FnOnce(&Path) -> Result<L, LedgerError>,
) -> Result<(L, RunHeader, Archive), ExportError> {
    if !dir.try_exists().map_err(ExportError::io("read", dir))? {
        return Err(ExportError::Missing(dir.to_owned()));
    }
    let lock = lock(dir)?;
    let manifest = RunManifest::read(dir)?;
    if manifest.as_ref().is_some_and(|manifest| manifest.raw_discarded) {
        return Err(ExportError::Discarded(dir.to_owned()));
    }
    let archive = read_ledger(dir, manifest.as_ref())?;
    let run = archive.run().cloned().ok_or_else(|| ExportError::NoRun(dir.to_owned()))?;
    Ok((lock, run, archive))
}

/// Merges the ledgers of several runs. If the dataset is partitioned by the day on which runs began, the rows of each
/// run are kept.
pub fn read_and_merge(dirs: &[PathBuf], partition_by: &PartitionBy) -> Result<MergedLedgers, ExportError> {
    let mut sources: Vec<Source> = Vec::with_capacity(dirs.len());
    let mut readings = Vec::with_capacity(dirs.len());
    for (index, dir) in dirs.iter().enumerate() {
        // A run in progress would be read in part; the lock is not kept.
        let (_, run, archive) = read_run(dir, Lock::shared)?;
        if let Some(same) = sources.iter().position(|source| source.run.run_id == run.run_id) {
            return Err(ExportError::Twice(dirs[same].clone(), dirs[index].clone()));
        }
        readings.extend(archive.inputs()?);
        sources.push(Source { run, archive });
    }
    let inputs = Inputs::merged(readings);
    let inputs_sha256 = ledger::digest(&inputs);
    let snapshots = partition_by.keys().contains(&PartitionKey::RunDate);
    MergedLedgers::new(sources, inputs, inputs_sha256, snapshots)
}

/// Opens a directory for a dataset that is built from the ledgers of `sources`. A dataset that contains other runs,
/// whose rows it would lose, is only replaced on request.
pub fn open_for_replay(
    dir: &Path,
    sources: &[PathBuf],
    merged: &MergedLedgers,
    replace: bool,
) -> Result<Lock, ExportError> {
    let path = absolute(dir);
    for source in sources {
        let source_path = absolute(source);
        if path != source_path && (path.starts_with(&source_path) || source_path.starts_with(&path)) {
            return Err(ExportError::Nested(dir.to_owned(), source.clone()));
        }
    }
    let folder = dir.join(ledger::FOLDER);
    if folder.try_exists().map_err(ExportError::io("read", &folder))? {
        return Err(ExportError::OfARun(dir.to_owned()));
    }
    let manifest = match RunManifest::read(dir) {
        // The unreadable manifest may be that of any run.
        Err(ExportError::UnreadableManifest { .. }) if replace && was_begun(dir)? => return Ok(Lock::take(dir)?),
        read => read?,
    };
    if let Some(manifest) = manifest {
        let is_there = |run_id: &String| merged.sources.iter().any(|source| source.run.run_id == *run_id);
        let mut lost =
            manifest.provenance.ledgers.iter().map(|ledger| &ledger.run_id).filter(|run_id| !is_there(run_id));
        if let Some(run_id) = lost.next().filter(|_| !replace) {
            return Err(ExportError::OtherRuns { dir: dir.to_owned(), run_id: run_id.clone() });
        }
    } else {
        check_is_run(dir, None).or_else(|error| if was_begun(dir)? { Ok(()) } else { Err(error) })?;
    }
    Ok(Lock::take(dir)?)
}

/// A path without links and `..`, as it is once the directories on it that do not exist yet are created.
fn absolute(path: &Path) -> PathBuf {
    let start = fs::canonicalize(".").unwrap_or_default();
    path.components().fold(start, |mut before, component| {
        if component == Component::ParentDir {
            before.pop();
            return before;
        }
        let path = before.join(component);
        fs::canonicalize(&path).unwrap_or(path)
    })
}

/// Whether a directory contains only what a replay leaves behind, such as one that was killed before it wrote its
/// manifest. The content of these folders is checked before anything is replaced.
fn was_begun(dir: &Path) -> Result<bool, ExportError> {
    let fails = ExportError::io("read", dir);
    let folders = [dataset::STAGING, dataset::HISTORY, dataset::UNDATED, dataset::TARGETS];
    if !folders.into_iter().any(|folder| dir.join(folder).is_dir()) {
        return Ok(false);
    }
    for entry in fs::read_dir(dir).map_err(&fails)? {
        let name = entry.map_err(&fails)?.file_name();
        if !name.to_str().is_some_and(|name| dataset::is_own(name) || dataset::is_ignored(name)) {
            return Ok(false);
        }
    }
    Ok(true)
}
