//! The file system: durable file names, and hints for errors.

use std::{
    fs::{File, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
};

/// Makes the names in a folder durable. `error` converts an error that occurs while doing this (a verb) to a path.
pub fn sync_folder<'a, E, F: FnOnce(io::Error) -> E>(
    folder: &'a Path,
    error: impl FnOnce(&'static str, &'a Path) -> F,
) -> Result<(), E> {
    File::open(folder).and_then(|open| open.sync_all()).map_err(error("sync", folder))
}

/// Whether `found`, what is at a path now, is the file or directory that is open. Inode numbers are not stable on some
/// network file systems, so a mismatch proves nothing there.
pub fn is_same_file(open: &File, found: io::Result<Metadata>) -> bool {
    let id = |it: Metadata| (it.dev(), it.ino());
    open.metadata().map(id).is_ok_and(|open| found.map(id).is_ok_and(|found| found == open))
}

/// Whether the disk, or the user's quota, is full.
pub fn is_disk_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The hint of a command that buys answers, or builds a dataset from them.
pub fn paid_io_hint(error: &io::Error) -> Option<&'static str> {
    if is_disk_full(error) {
        return Some("all paid answers are saved; free some disk space and run the same command again");
    }
    io_hint(error)
}

/// The hint for a full disk or denied access; `None` for any other error.
pub fn io_hint(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        _ if is_disk_full(error) => Some("free some disk space and run the same command again"),
        io::ErrorKind::PermissionDenied => {
            Some("run as a user with access to that path, or give this user access; nothing is lost")
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            Some("the file system is read-only: mount it for writing, or work on a copy of the directory")
        }
        _ => None,
    }
}
