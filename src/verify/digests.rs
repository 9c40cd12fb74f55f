//! Checks the files of tables and ledgers against the digests in `_run.json`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::Read,
    iter,
    path::{Path, PathBuf},
    thread,
};

use parquet::file::reader::{FileReader, SerializedFileReader};

use super::{
    Verification,
    difference::{Differences, NEWER_VERSION, read_error},
};
use crate::{
    dataset::{HISTORY, Part, RUN, TARGETS, UNDATED},
    export::{LedgerFiles, Provenance},
    ledger::{self, Archive, LedgerError},
    sha256,
};

/// Threads that compute digests.
const THREADS: usize = 4;

const CHANGED: &str = "was changed after publishing: its digest differs";

/// The files that `_run.json` names, by table.
pub(super) struct PublishedFiles {
    /// Folders with their files in order of number; `None`: one of the files was changed.
    pub(super) folders: BTreeMap<PathBuf, Option<Vec<String>>>,
    /// The file of `targets`, if it is unchanged.
    pub(super) targets: Option<String>,
    pub(super) named: BTreeSet<String>,
}

impl Verification<'_> {
    /// Checks every table file that `_run.json` names.
    pub(super) fn check_tables(&self) -> PublishedFiles {
        let Self { manifest, differences, .. } = *self;
        let sound = in_parallel(&manifest.files, |file| {
            differences.passed(&file.path.display().to_string(), self.check_part(file)).is_some()
        });
        let mut named = BTreeSet::new();
        let mut numbered: BTreeMap<PathBuf, Vec<(u64, String, bool)>> = BTreeMap::new();
        for (file, is_sound) in manifest.files.iter().zip(sound) {
            let path = file.path.display().to_string();
            if !named.insert(path.clone()) {
                differences.add(RUN, format!("lists {path} twice"));
            }
            match (number(&file.path, &manifest.provenance), file.path.parent()) {
                (Some(number), Some(folder)) => {
                    numbered.entry(folder.to_owned()).or_default().push((number, path, is_sound));
                }
                _ => differences.add(RUN, format!("lists {path}, which is not a valid path for a table's file")),
            }
        }
        let is_one = numbered.get(Path::new(TARGETS)).is_some_and(|files| files.len() == 1);
        if !is_one || !numbered.keys().any(|folder| folder.starts_with(HISTORY)) {
            differences.add(RUN, "does not list one file of the table targets and at least one of backlinks_history");
        }
        let folders = numbered.into_iter().map(|(folder, mut files)| {
            files.sort();
            if let Some([_, (_, path, _)]) = files.array_windows().find(|[one, next]| one.0 + 1 != next.0) {
                differences.add(path, "is out of sequence: its number does not follow the previous file's");
            }
            // If one file of a folder was changed, too many rows would be missing.
            let is_sound = files.iter().all(|(.., is_sound)| *is_sound);
            (folder, is_sound.then(|| files.into_iter().map(|(_, path, _)| path).collect()))
        });
        let mut folders: BTreeMap<PathBuf, Option<Vec<String>>> = folders.collect();
        let targets = folders.remove(Path::new(TARGETS)).flatten().and_then(|mut files| files.pop());
        PublishedFiles { folders, targets, named }
    }

    /// Compares a file with its entry in `_run.json`.
    fn check_part(&self, file: &Part) -> Result<(), String> {
        let Self { dir, manifest, differences } = *self;
        let (name, path) = (file.path.display().to_string(), dir.join(&file.path));
        let is_elsewhere = file.path.is_absolute() || name.split('/').any(|part| part == "..");
        if is_elsewhere || path.symlink_metadata().is_ok_and(|metadata| !metadata.is_file()) {
            return Err("is not a file in this directory".to_owned());
        }
        let (bytes, digest) = digest(&path, u64::MAX)?;
        if (bytes, &digest) != (file.bytes, &file.sha256) {
            let is_same = bytes == file.bytes;
            let size = if is_same { String::new() } else { format!(" ({bytes} bytes instead of {})", file.bytes) };
            return Err(format!("{CHANGED}{size}"));
        }
        let opened = File::open(&path).map_err(Into::into).and_then(SerializedFileReader::new);
        let reader = opened.map_err(|error| format!("is not a Parquet file: {error}"))?;
        let metadata = reader.metadata().file_metadata();
        differences.expect(&name, "the number of rows", &u64::try_from(metadata.num_rows()).ok(), &Some(file.rows));
        for (key, expected) in manifest.provenance.file_metadata() {
            let entry = metadata.key_value_metadata().into_iter().flatten().find(|entry| entry.key == key);
            let found = entry.and_then(|entry| entry.value.clone());
            differences.expect(&name, &format!("the metadata's {key}"), &found, &Some(expected));
        }
        Ok(())
    }

    /// Checks every ledger file, as far as the dataset was made from it; returns whether all are unchanged.
    pub(super) fn check_ledgers(&self) -> bool {
        let digests = self.manifest.raw_sha256.iter().map(Some).chain(iter::repeat(None));
        let ledgers: Vec<_> = self.manifest.provenance.ledgers.iter().zip(digests).collect();
        let sound = in_parallel(&ledgers, |(ledger, digests)| {
            let check = |(file, bytes): &(String, u64)| {
                let checked = self.check_ledger_file(ledger, file, *bytes, *digests);
                self.differences.passed(&label(ledger, file), checked)
            };
            let checked: Vec<Option<bool>> = ledger.files.iter().map(check).collect();
            if checked.iter().all(|checked| *checked == Some(true)) {
                return true;
            }
            // Each record has its own checksums: they locate the damage, and detect damage to files without a digest.
            let read = Archive::read(&ledger.run_dir(self.dir)).and_then(|archive| archive.check_bodies());
            read.map_err(|error| report_ledger(self.dir, &error, self.differences)).is_ok() && !checked.contains(&None)
        });
        !sound.contains(&false)
    }

    /// Compares a file of a ledger with its digest; returns whether it has one.
    fn check_ledger_file(
        &self,
        ledger: &LedgerFiles,
        file: &str,
        bytes: u64,
        digests: Option<&BTreeMap<String, String>>,
    ) -> Result<bool, String> {
        let (length, found) = digest(&ledger.file(self.dir, file), bytes)?;
        if length < bytes {
            return Err(format!("was truncated: it has {length} bytes, but the dataset was built from {bytes}"));
        }
        let Some(expected) = digests.and_then(|digests| digests.get(file)) else {
            let label = label(ledger, file);
            self.differences.note(format!("_run.json has no digest of {label}: only its checksums were checked"));
            return Ok(false);
        };
        if found == *expected { Ok(true) } else { Err(CHANGED.to_owned()) }
    }

    /// Compares the ends of the ledgers with the positions up to which the dataset was made from them; returns whether
    /// they are equal.
    pub(super) fn compare_ends(&self, now: &Provenance) -> bool {
        let Self { dir, manifest, differences } = *self;
        let mut is_current = true;
        for (then, now) in manifest.provenance.ledgers.iter().zip(&now.ledgers) {
            if then.files != now.files {
                is_current = false;
                let (file, whole) = now.files.last().cloned().unwrap_or_default();
                let of = then.files.iter().find(|(name, _)| *name == file).map_or(0, |(_, bytes)| *bytes);
                let what = "the dataset is older than the ledger; run `backlinks-export run …` again to publish it";
                let sizes = format!("({whole} bytes, but the dataset was built from {of})");
                differences.add(label(then, &file), format!("{what} {sizes}"));
            } else if let Some((file, bytes)) = then.files.last() {
                let length = then.file(dir, file).metadata().map_or(0, |it| it.len());
                let torn =
                    format!("ends within a line, at byte {bytes}: cut off by a crash or added later, and ignored");
                if length > *bytes && then.is_own() {
                    let hint = "run `backlinks-export run …` again to remove it";
                    differences.add(label(then, file), format!("{torn}; {hint}"));
                } else if length > *bytes {
                    differences.note(format!("{} {torn}", label(then, file)));
                }
            }
        }
        is_current
    }
}

/// Reports a problem with a ledger under the name of its file.
pub(super) fn report_ledger(dir: &Path, error: &LedgerError, differences: &Differences) {
    let label = |path: &Path| path.strip_prefix(dir).unwrap_or(path).display().to_string();
    let (file, what) = match error {
        LedgerError::Damaged { path, offset, reason } => {
            (label(path), format!("is damaged at byte {offset}: {reason}"))
        }
        LedgerError::NewerVersion { path } => (label(path), NEWER_VERSION.to_owned()),
        LedgerError::Io { path, source, .. } => (label(path), read_error(source)),
        other => (ledger::FOLDER.to_owned(), other.to_string()),
    };
    differences.add(file, what);
}

/// The number in a file's name (0 without a number); `None`: a file of this name is not part of a table.
fn number(path: &Path, provenance: &Provenance) -> Option<u64> {
    let path = path.to_str()?;
    let (folder, name) = path.rsplit_once('/')?;
    let own = name.strip_prefix("part-")?.strip_prefix(&*provenance.run_id)?.strip_suffix(".parquet")?;
    if own.is_empty() {
        return [TARGETS, UNDATED].contains(&folder).then_some(0);
    }
    let keys = provenance.layout.partition_by.keys().iter().map(|key| key.as_str());
    let levels = folder.strip_prefix(HISTORY).unwrap_or_default().split('/').skip(1);
    let is_partition =
        folder.starts_with(HISTORY) && levels.map(|level| level.split_once('=').map_or("", |(key, _)| key)).eq(keys);
    let fits = is_partition || [TARGETS, UNDATED].contains(&folder);
    own.strip_prefix('-')?.parse().ok().filter(|_| fits)
}

/// The length of a file, and the digest of its first `bytes`.
fn digest(path: &Path, bytes: u64) -> Result<(u64, String), String> {
    let read = File::open(path).and_then(|file| Ok((file.metadata()?.len(), sha256::of_reader(file.take(bytes))?)));
    read.map_err(|error| read_error(&error))
}

/// The name of a ledger file in differences.
fn label(ledger: &LedgerFiles, file: &str) -> String {
    ledger.file(Path::new(""), file).display().to_string()
}

/// Applies `check` to every item on several threads; returns the results in order.
fn in_parallel<T: Sync, R: Send>(items: &[T], check: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let check = &check;
    thread::scope(|scope| {
        let share = items.len().div_ceil(THREADS).max(1);
        let work = |items: &'_ [T]| items.iter().map(check).collect::<Vec<_>>();
        let threads: Vec<_> = items.chunks(share).map(|items| scope.spawn(move || work(items))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("checks do not panic")).collect()
    })
}
