//! Detects, before the next call, that another program moved, deleted or resized the ledger's files, and copies deleted
//! ones from the open files: their answers cannot be fetched again.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Seek},
    os::{
        fd::AsRawFd,
        unix::fs::{DirBuilderExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

use super::{Archive, FOLDER, LedgerError, Lock, segment::Segment};
use crate::fs::{is_same_file, sync_folder};

/// Copies of a ledger beside the run's directory: `DIR.recovered`, `DIR.recovered-2` and so on.
const MAX_COPIES: u32 = 99;

impl Segment {
    /// Checks that the file is still at its path and has this many bytes, with one system call if so. The size also
    /// detects a replaced file; inode numbers are not stable on some network file systems.
    pub(super) fn check_in_place(&self, bytes: u64) -> Result<(), LedgerError> {
        match fs::symlink_metadata(&self.path) {
            Ok(found) if found.len() == bytes => return Ok(()),
            Err(error) if ![io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) => {
                return Err(LedgerError::io("find", &self.path)(error));
            }
            _ => {}
        }
        let (path, found) = (self.path.clone(), self.length()?);
        if found != bytes {
            return Err(LedgerError::Resized { path, found, expected: bytes });
        }
        Err(match self.new_path(bytes) {
            Some(to) => LedgerError::Moved { path, to },
            None => LedgerError::Deleted { path, copy: None },
        })
    }

    /// Where the file is now, if it was only moved. A file that was deleted may still have a name that the file system
    /// gave it (`.nfs…`) until it is closed.
    fn new_path(&self, bytes: u64) -> Option<PathBuf> {
        let path = fs::read_link(format!("/proc/self/fd/{}", self.file.as_raw_fd())).ok()?;
        let is_there = fs::symlink_metadata(&path).is_ok_and(|found| found.len() == bytes);
        Some(path).filter(|path| is_there && path.file_name() == self.path.file_name())
    }
}

impl Archive {
    /// Checks, after writing, that the files are still in the locked directory. Those that were deleted or replaced are
    /// copied back; if something else is at their paths, they are copied to a new directory beside it. The error
    /// contains the directory of the copy.
    pub fn check_or_rescue(&self, lock: &Lock) -> Result<(), LedgerError> {
        let mut files = self.segments.iter().zip(self.files()?);
        match files.try_for_each(|(segment, (_, bytes))| segment.check_in_place(bytes)) {
            Err(LedgerError::Deleted { path, .. }) => Err(match self.copy_deleted(lock) {
                Ok(copy) => LedgerError::Deleted { path, copy: Some(copy) },
                Err(source) => LedgerError::Lost { path, source: Box::new(source) },
            }),
            checked => checked,
        }
    }

    /// Returns the directory of the copy.
    fn copy_deleted(&self, lock: &Lock) -> Result<PathBuf, LedgerError> {
        let is_in_place = |file: &Segment| is_same_file(&file.file, fs::symlink_metadata(&file.path));
        let missing = || self.segments.iter().filter(|file| !is_in_place(file));
        let is_free = |file: &Segment| fs::symlink_metadata(&file.path).is_err();
        if lock.is_at_its_path()
            && missing().all(is_free)
            && let Ok(dir) = copy_into(missing(), lock.dir())
        {
            return Ok(dir);
        }
        let beside = |suffix: &str| {
            let mut dir = OsString::from(lock.dir().components().as_path());
            dir.push(suffix);
            PathBuf::from(dir)
        };
        let is_empty = |dir: &PathBuf| fs::read_dir(dir).map_or(!dir.exists(), |mut entries| entries.next().is_none());
        let numbered = (2..=MAX_COPIES).map(|number| format!(".recovered-{number}"));
        let suffixes = ["", ".recovered"].map(str::to_owned).into_iter().chain(numbered);
        let Some(dir) = suffixes.map(|suffix| beside(&suffix)).find(is_empty) else {
            return Err(LedgerError::io("create", &beside(".recovered"))(io::ErrorKind::AlreadyExists.into()));
        };
        let copied = Lock::take(&dir).and_then(|_lock| copy_into(self.segments.iter(), &dir));
        if copied.is_err() {
            // Removes only empty directories.
            let _ = fs::remove_dir(dir.join(FOLDER)).and_then(|()| fs::remove_dir(&dir));
        }
        copied
    }
}

fn copy_into<'a>(files: impl Iterator<Item = &'a Segment>, dir: &Path) -> Result<PathBuf, LedgerError> {
    let folder = dir.join(FOLDER);
    make_folder(&folder)?;
    for file in files {
        let path = folder.join(Segment::name(file.number));
        let mut options = OpenOptions::new();
        let mut copy =
            options.write(true).create_new(true).mode(0o600).open(&path).map_err(LedgerError::io("create", &path))?;
        let mut from: &File = &file.file;
        let copied = from.rewind().and_then(|()| io::copy(&mut from, &mut copy)).and_then(|_| copy.sync_all());
        if let Err(error) = copied {
            // A partial copy could be mistaken for a complete one.
            let _ = fs::remove_file(&path);
            return Err(LedgerError::io("write", &path)(error));
        }
    }
    sync_folder(&folder, LedgerError::io)?;
    sync_folder(dir, LedgerError::io)?;
    Ok(dir.to_owned())
}

/// Creates the ledger's folder, if it does not exist. Paid answers and a user's list of sites are private.
pub(super) fn make_folder(folder: &Path) -> Result<(), LedgerError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(LedgerError::io("create", folder))
}
