//! The files of the tables against the record: which there are, and the digest, size and rows of each.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use parquet::file::reader::{FileReader, SerializedFileReader};
use sha2::{Digest, Sha256};

use super::{differences::Differences, frames::hex, history::Partitions, side::not_there};
use crate::{
    dataset::{HISTORY, RUN, TARGETS, UNDATED},
    export::{FileRecord, MadeOf, RunRecord},
};

/// Threads that reckon digests.
const THREADS: usize = 4;
/// What is read at once.
const READ: usize = 256 * 1024;

/// The files that can be read, by table.
pub(super) struct Parts {
    pub(super) partitions: Partitions,
    /// The file of `targets`.
    pub(super) targets: Option<String>,
    /// All that are named, with those that cannot be read.
    pub(super) named: BTreeSet<String>,
}

/// Checks every file that the record names.
pub(super) fn check(dir: &Path, record: &RunRecord, differences: &Differences) -> Parts {
    let sound = Mutex::new(BTreeSet::new());
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(file) = record.files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if is_sound(dir, file, &record.made_of, differences) {
                        sound.lock().unwrap_or_else(PoisonError::into_inner).insert(&file.path);
                    }
                }
            });
        }
    });
    let sound = sound.into_inner().unwrap_or_else(PoisonError::into_inner);
    by_table(record, &sound, differences)
}

/// Sorts the files into their tables and partitions.
fn by_table(record: &RunRecord, sound: &BTreeSet<&PathBuf>, differences: &Differences) -> Parts {
    let mut parts = Parts { partitions: Partitions::new(), targets: None, named: BTreeSet::new() };
    let mut numbered = Vec::new();
    let mut targets = Vec::new();
    for file in &record.files {
        let path = file.path.display().to_string();
        let (folder, name) = path.rsplit_once('/').unwrap_or_default();
        let number = place(folder, name, &record.made_of);
        let is_sound = sound.contains(&file.path);
        match number {
            None => differences.add(RUN, format!("names {path}, which is no place for a file of a table")),
            Some(_) if folder == TARGETS => targets.push(Some(path.clone()).filter(|_| is_sound)),
            Some(number) => numbered.push((folder.to_owned(), number, path.clone(), is_sound)),
        }
        if !parts.named.insert(path.clone()) {
            differences.add(RUN, format!("names {path} twice"));
        }
    }
    if targets.len() != 1 || numbered.iter().all(|(folder, ..)| folder == UNDATED) {
        differences.add(RUN, "does not name one file of the table targets and at least one of backlinks_history");
    }
    parts.targets = targets.pop().flatten();
    numbered.sort();
    // All folders count from the same number.
    let of_history = numbered.iter().filter(|(folder, ..)| folder != UNDATED);
    let first = of_history.map(|(_, number, ..)| *number).min().unwrap_or_default();
    for same in numbered.chunk_by(|one, next| one.0 == next.0) {
        let gap = same
            .iter()
            .enumerate()
            .find(|(place, (folder, number, ..))| first + place != *number && (folder != UNDATED || same.len() > 1));
        if let Some((_, (_, _, path, _))) = gap {
            differences.add(path, "does not follow the file before it in number");
        }
        // A partition with a file that is not sound is not compared: too much would be missing.
        let is_sound = same.iter().all(|(.., is_sound)| *is_sound);
        let files = is_sound.then(|| same.iter().map(|(_, _, path, _)| path.clone()).collect());
        parts.partitions.insert(same[0].0.clone(), files);
    }
    parts
}

/// The number of a part in its folder (0 in `targets`); `None`: no part may be there, or not under this name.
fn place(folder: &str, name: &str, made_of: &MadeOf) -> Option<usize> {
    let own = name.strip_prefix("part-")?.strip_prefix(&*made_of.run_id)?.strip_suffix(".parquet")?;
    if folder == TARGETS {
        let is_one = own.is_empty() || own.strip_prefix('-').is_some_and(|number| number.parse::<u64>().is_ok());
        return is_one.then_some(0);
    }
    let keys: Vec<&str> = made_of.partition_by.split(',').map(str::trim).filter(|key| *key != "none").collect();
    let mut levels = folder.split('/');
    let fits = folder == UNDATED
        || levels.next() == Some(HISTORY)
            && keys.iter().all(|key| {
                let value = levels.next().and_then(|level| level.split_once('='));
                value.is_some_and(|(name, value)| name == *key && !value.is_empty())
            })
            && levels.next().is_none();
    if folder == UNDATED && own.is_empty() {
        return Some(0);
    }
    own.strip_prefix('-')?.parse().ok().filter(|_| fits)
}

/// Whether a file is what the record says.
fn is_sound(dir: &Path, file: &FileRecord, made_of: &MadeOf, differences: &Differences) -> bool {
    let name = file.path.display().to_string();
    let path = dir.join(&file.path);
    let is_elsewhere = file.path.is_absolute() || name.split('/').any(|part| part == "..");
    if is_elsewhere || path.symlink_metadata().is_ok_and(|metadata| !metadata.is_file()) {
        differences.add(name, "is no file below this directory");
        return false;
    }
    let (digest, bytes) = match digest(&path) {
        Ok(digest) => digest,
        Err(error) => {
            differences.add(name, not_there(&error));
            return false;
        }
    };
    if (&digest, bytes) != (&file.sha256, file.bytes) {
        let size = if bytes == file.bytes { String::new() } else { format!(" ({bytes} bytes, were {})", file.bytes) };
        differences.add(name, format!("is not what was published: its digest differs{size}"));
        return false;
    }
    let metadata = File::open(&path).map_err(|error| error.to_string()).and_then(|file| {
        let reader = SerializedFileReader::new(file).map_err(|error| error.to_string())?;
        Ok(reader.metadata().file_metadata().clone())
    });
    let metadata = match metadata {
        Ok(metadata) => metadata,
        Err(error) => {
            differences.add(name, format!("is no Parquet file: {error}"));
            return false;
        }
    };
    let rows = u64::try_from(metadata.num_rows()).unwrap_or_default();
    differences.expect(&name, "the number of rows", &rows, &file.rows);
    let found = |key: &str| {
        let key = format!("backlinks_export.{key}");
        let entry = metadata.key_value_metadata().into_iter().flatten().find(|entry| entry.key == key);
        entry.and_then(|entry| entry.value.clone())
    };
    let asked = made_of.parameters.as_ref();
    let expect = |key: &str, expected: Option<String>| {
        differences.expect(&name, &format!("the metadata's {key}"), &found(key), &expected);
    };
    expect("schema_version", Some(made_of.schema_version.to_string()));
    expect("program_version", Some(made_of.version.clone()));
    expect("date_from", asked.map(|asked| asked.date_from.to_string()));
    expect("date_to", asked.map(|asked| asked.date_to.to_string()));
    expect("rank_scale", asked.map(|asked| asked.rank_scale.as_str().to_owned()));
    true
}

fn digest(path: &Path) -> io::Result<(String, u64)> {
    let mut file = File::open(path)?;
    let (mut digest, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; READ]);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((hex(&digest.finalize()), bytes));
        }
        digest.update(&buffer[..read]);
        bytes += read as u64;
    }
}
