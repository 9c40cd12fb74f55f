//! Checks the files of tables and ledgers against the digests in `_run.json`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use parquet::file::reader::{FileReader, SerializedFileReader};

use super::difference::{Differences, NEWER_VERSION, read_error};
use crate::{
    dataset::{HISTORY, Part, RUN, TARGETS, UNDATED},
    export::{LedgerFiles, Provenance, RunManifest},
    ledger::{self, Archive, LedgerError},
    sha256,
};

/// Threads that compute digests.
const THREADS: usize = 4;

/// The files that `_run.json` names, by table.
pub(super) struct PublishedFiles {
    /// Folders with their files in order of number; `None`: one of the files was changed.
    pub(super) folders: BTreeMap<PathBuf, Option<Vec<String>>>,
    /// The file of `targets`, if it is unchanged.
    pub(super) targets: Option<String>,
    pub(super) named: BTreeSet<String>,
}

/// Checks every table file that `_run.json` names.
pub(super) fn check_tables(dir: &Path, manifest: &RunManifest, differences: &Differences) -> PublishedFiles {
    let sound = in_parallel(&manifest.files, |file| is_sound(dir, file, &manifest.provenance, differences));
    let mut published = PublishedFiles { folders: BTreeMap::new(), targets: None, named: BTreeSet::new() };
    let mut numbered: BTreeMap<PathBuf, Vec<(u64, String, bool)>> = BTreeMap::new();
    let mut of_targets = 0;
    for (file, is_sound) in manifest.files.iter().zip(sound) {
        let path = file.path.display().to_string();
        match number(&file.path, &manifest.provenance) {
            None => differences.add(RUN, format!("lists {path}, which is not a valid path for a table's file")),
            Some(_) if file.path.starts_with(TARGETS) => {
                of_targets += 1;
                published.targets = is_sound.then(|| path.clone());
            }
            Some(number) => {
                let folder = file.path.parent().unwrap_or(Path::new("")).to_owned();
                numbered.entry(folder).or_default().push((number, path.clone(), is_sound));
            }
        }
        if !published.named.insert(path.clone()) {
            differences.add(RUN, format!("lists {path} twice"));
        }
    }
    if of_targets != 1 || !numbered.keys().any(|folder| folder.starts_with(HISTORY)) {
        differences.add(RUN, "does not list one file of the table targets and at least one of backlinks_history");
    }
    for (folder, mut files) in numbered {
        files.sort();
        if let Some([_, (_, path, _)]) = files.array_windows().find(|[one, next]| one.0 + 1 != next.0) {
            differences.add(path, "is out of sequence: its number does not follow the previous file's");
        }
        // If one file of a folder was changed, too many rows would be missing.
        let is_sound = files.iter().all(|(.., is_sound)| *is_sound);
        published.folders.insert(folder, is_sound.then(|| files.into_iter().map(|(_, path, _)| path).collect()));
    }
    published
}

/// The number in a file's name (0 without a number); `None`: a file of this name is not part of a table.
fn number(path: &Path, provenance: &Provenance) -> Option<u64> {
    let path = path.to_str()?;
    let (folder, name) = path.rsplit_once('/')?;
    let own = name.strip_prefix("part-")?.strip_prefix(&*provenance.run_id)?.strip_suffix(".parquet")?;
    if own.is_empty() {
        return [TARGETS, UNDATED].contains(&folder).then_some(0);
    }
    let keys = provenance.layout.partition_by.keys().iter().map(|key| key.name());
    let levels = folder.strip_prefix(HISTORY).unwrap_or_default().split('/').skip(1);
    let is_partition =
        folder.starts_with(HISTORY) && levels.map(|level| level.split_once('=').map_or("", |(key, _)| key)).eq(keys);
    let fits = is_partition || [TARGETS, UNDATED].contains(&folder);
    own.strip_prefix('-')?.parse().ok().filter(|_| fits)
}

/// Whether a file matches its entry in `_run.json`.
fn is_sound(dir: &Path, file: &Part, provenance: &Provenance, differences: &Differences) -> bool {
    let name = file.path.display().to_string();
    let path = dir.join(&file.path);
    let is_elsewhere = file.path.is_absolute() || name.split('/').any(|part| part == "..");
    if is_elsewhere || path.symlink_metadata().is_ok_and(|metadata| !metadata.is_file()) {
        differences.add(name, "is not a file in this directory");
        return false;
    }
    let digest = File::open(&path).and_then(|file| Ok((file.metadata()?.len(), sha256::of_reader(file)?)));
    match digest {
        Err(error) => {
            differences.add(name, read_error(&error));
            return false;
        }
        Ok((bytes, digest)) if (bytes, &digest) != (file.bytes, &file.sha256) => {
            let size =
                if bytes == file.bytes { String::new() } else { format!(" ({bytes} bytes instead of {})", file.bytes) };
            differences.add(name, format!("was changed after publishing: its digest differs{size}"));
            return false;
        }
        Ok(_) => {}
    }
    let reader = File::open(&path).map_err(Into::into).and_then(SerializedFileReader::new);
    let metadata = match reader {
        Ok(reader) => reader.metadata().file_metadata().clone(),
        Err(error) => {
            differences.add(name, format!("is not a Parquet file: {error}"));
            return false;
        }
    };
    let rows = u64::try_from(metadata.num_rows()).unwrap_or_default();
    differences.expect(&name, "the number of rows", &rows, &file.rows);
    for (key, expected) in provenance.file_metadata() {
        let entry = metadata.key_value_metadata().into_iter().flatten().find(|entry| entry.key == key);
        let found = entry.and_then(|entry| entry.value.clone());
        differences.expect(&name, &format!("the metadata's {key}"), &found, &Some(expected));
    }
    true
}

/// Checks every ledger file, as far as the dataset was made from it; returns whether all are unchanged.
pub(super) fn check_ledgers(dir: &Path, manifest: &RunManifest, differences: &Differences) -> bool {
    let digests = (0..).zip(&manifest.provenance.ledgers).flat_map(|(number, ledger): (usize, _)| {
        ledger.files.iter().map(move |(file, bytes)| {
            let digest = manifest.raw_sha256.get(number).and_then(|digests| digests.get(file));
            (ledger, file, *bytes, digest)
        })
    });
    let digests: Vec<_> = digests.collect();
    let sound = in_parallel(&digests, |(ledger, file, bytes, expected)| {
        let label = label(ledger, file);
        let found = File::open(ledger.file(dir, file))
            .and_then(|file| Ok((file.metadata()?.len(), sha256::of_reader(file.take(*bytes))?)));
        let what = match found {
            Err(error) => read_error(&error),
            Ok((length, _)) if length < *bytes => {
                format!("was truncated: it has {length} bytes, but the dataset was built from {bytes}")
            }
            Ok((_, found)) if expected.is_some_and(|expected| *expected != found) => {
                "was changed after publishing: its digest differs".to_owned()
            }
            Ok(_) if expected.is_none() => {
                differences.note(format!("_run.json has no digest of {label}: only its checksums were checked"));
                return None;
            }
            Ok(_) => return Some(true),
        };
        differences.add(label, what);
        Some(false)
    });
    let mut is_sound = true;
    for ledger in &manifest.provenance.ledgers {
        let own = digests.iter().zip(&sound).filter(|((other, ..), _)| std::ptr::eq(*other, ledger));
        let own: Vec<Option<bool>> = own.map(|(_, sound)| *sound).collect();
        if own.iter().all(|sound| *sound == Some(true)) {
            continue;
        }
        // Each record has its own checksums: they locate the damage, and detect damage to files without a digest.
        let checked = Archive::read(&ledger.run_dir(dir)).and_then(|archive| archive.check_bodies());
        is_sound &=
            checked.map_err(|error| report_ledger(dir, &error, differences)).is_ok() && !own.contains(&Some(false));
    }
    is_sound
}

/// Reports a problem with a ledger under the name of its file.
pub(super) fn report_ledger(dir: &Path, error: &LedgerError, differences: &Differences) {
    let label = |path: &Path| path.strip_prefix(dir).unwrap_or(path).display().to_string();
    match error {
        LedgerError::Damaged { path, offset, reason } => {
            differences.add(label(path), format!("is damaged at byte {offset}: {reason}"));
        }
        LedgerError::NewerVersion { path } => differences.add(label(path), NEWER_VERSION),
        LedgerError::Io { path, source, .. } => differences.add(label(path), read_error(source)),
        other => differences.add(ledger::FOLDER, other.to_string()),
    }
}

/// Compares the ends of the ledgers with the positions up to which the dataset was made from them; returns whether they
/// are equal.
pub(super) fn compare_ends(dir: &Path, then: &Provenance, now: &Provenance, differences: &Differences) -> bool {
    let mut is_current = true;
    for (then, now) in then.ledgers.iter().zip(&now.ledgers) {
        if then.files != now.files {
            is_current = false;
            let (file, whole) = now.files.last().cloned().unwrap_or_default();
            let of = then.files.iter().find(|(name, _)| *name == file).map_or(0, |(_, bytes)| *bytes);
            let what = "the dataset is older than the ledger; run `backlinks-export run …` again to publish it";
            differences.add(label(then, &file), format!("{what} ({whole} bytes, but the dataset was built from {of})"));
        } else if let Some((file, bytes)) = then.files.last() {
            let length = then.file(dir, file).metadata().map_or(0, |it| it.len());
            let torn = format!("ends within a line, at byte {bytes}: cut off by a crash or added later, and ignored");
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

/// The name of a ledger file in differences.
fn label(ledger: &LedgerFiles, file: &str) -> String {
    ledger.file(Path::new(""), file).display().to_string()
}

/// Applies `check` to every item on several threads; returns the results in order.
fn in_parallel<T: Sync, R: Send>(items: &[T], check: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let work = &|| {
        let mut done = Vec::new();
        while let Some((index, item)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, items.get(at)?)))
        {
            done.push((index, check(item)));
        }
        done
    };
    let mut results = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS.min(items.len())).map(|_| scope.spawn(work)).collect();
        let joined = threads.into_iter().flat_map(|thread| thread.join().expect("checks do not panic"));
        joined.collect::<Vec<_>>()
    });
    results.sort_unstable_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}
