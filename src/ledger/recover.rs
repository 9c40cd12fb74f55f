//! What other programs do to the ledger's files while a run writes to them. It is noticed before the next call is sent.
//! Answers cannot be fetched again, so files that were deleted are copied from what this process still has open.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Seek},
    os::{
        fd::AsRawFd,
        unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

use super::{FOLDER, LedgerError, Lock, segment::Segment};
use crate::fs::sync_folder;

/// Appended to the name of a run's directory for the copy: the first that gives an empty or a new directory.
const SUFFIXES: [&str; 4] = ["", ".recovered", ".recovered-2", ".recovered-3"];

impl Segment {
    /// Checks that the file is still at its path and has this many bytes, with one system call if so. The size also
    /// tells it from a file that took its place: identity numbers change on some network file systems.
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

    /// Where the file is now, if it was only moved. A file that was deleted may still have a name of its file system's
    /// own (`.nfs…`) until it is closed.
    fn new_path(&self, bytes: u64) -> Option<PathBuf> {
        let path = fs::read_link(format!("/proc/self/fd/{}", self.file.as_raw_fd())).ok()?;
        let is_there = fs::symlink_metadata(&path).is_ok_and(|found| found.len() == bytes);
        Some(path).filter(|path| is_there && path.file_name() == self.path.file_name())
    }
}

/// Which directory a run has locked, to recognize it at its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DirectoryId(u64, u64);

impl DirectoryId {
    pub(super) fn of(dir: &Path) -> Option<Self> {
        fs::metadata(dir).ok().map(|found| Self(found.dev(), found.ino()))
    }
}

/// Copies the files that were deleted to the run's directory `dir`, or to a new one beside it if `dir` is used for
/// something else by now. Returns the directory. `id` is that of the directory which this process has locked.
pub(super) fn copy_deleted(files: &[&Segment], dir: &Path, id: Option<&DirectoryId>) -> Result<PathBuf, LedgerError> {
    if id.is_some() && DirectoryId::of(dir).as_ref() == id {
        return copy_into(files.iter().filter(|file| !file.path.exists()), dir);
    }
    let mut tried = Err(LedgerError::Closed);
    for suffix in SUFFIXES {
        let mut dir = OsString::from(dir.components().as_path());
        dir.push(suffix);
        let dir = PathBuf::from(dir);
        if fs::read_dir(&dir).is_ok_and(|mut entries| entries.next().is_some()) {
            continue;
        }
        tried = Lock::take(&dir).and_then(|_lock| copy_into(files.iter(), &dir));
        if tried.is_ok() {
            break;
        }
    }
    tried
}

fn copy_into<'a>(files: impl Iterator<Item = &'a &'a Segment>, dir: &Path) -> Result<PathBuf, LedgerError> {
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
            // A part of it would be taken for the whole.
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
