//! The file system operations of tables: new files, renames. The only module that renames.
//!
//! Never follows a symbolic link: its target does not belong to the export.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::Path,
};

use super::{DatasetError, UNFINISHED};
use crate::fs::sync_folder;

/// Creates a file; fails if the path exists, even as a link.
pub(super) fn create_new(path: &Path) -> Result<File, DatasetError> {
    OpenOptions::new().write(true).create_new(true).open(path).map_err(DatasetError::io("create", path))
}

/// Renames; durable once the folder is synced.
#[expect(clippy::disallowed_methods, reason = "the one module that may rename")]
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), DatasetError> {
    fs::rename(from, to).map_err(DatasetError::io("rename to", to))
}

/// Creates, syncs, renames and removes a small file in a folder, to find out whether an export can do so.
pub fn probe(folder: &Path) -> Result<(), DatasetError> {
    let name = |stage: u8| folder.join(format!(".probe-{}-{stage}.{UNFINISHED}", std::process::id()));
    let (first, second) = (name(0), name(1));
    let try_it = || {
        let mut file = create_new(&first)?;
        file.write_all(b"probe").and_then(|()| file.sync_all()).map_err(DatasetError::io("write", &first))?;
        rename(&first, &second)?;
        sync_folder(folder, DatasetError::io)
    };
    // A file of that name was left by a process that no longer runs.
    let _ = fs::remove_file(&first);
    let tried = try_it();
    for path in [&first, &second] {
        match fs::remove_file(path) {
            Err(error) if tried.is_ok() && path == &second => return Err(DatasetError::io("remove", path)(error)),
            _ => {}
        }
    }
    tried
}

/// Whether the path exists, even as a broken link.
pub(super) fn exists(path: &Path) -> Result<bool, DatasetError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(DatasetError::io("read", path)(source)),
    }
}

/// The entries of a directory; none if it does not exist.
pub(super) fn entries(folder: &Path) -> Result<Vec<fs::DirEntry>, DatasetError> {
    match fs::symlink_metadata(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(DatasetError::io("read", folder)(source)),
        Ok(metadata) if metadata.is_symlink() => return Err(DatasetError::Symlink { path: folder.to_owned() }),
        Ok(metadata) if !metadata.is_dir() => return Err(DatasetError::Foreign { path: folder.to_owned() }),
        Ok(_) => {}
    }
    fs::read_dir(folder).and_then(Iterator::collect).map_err(DatasetError::io("read", folder))
}

/// Removes a directory and its contents, if it exists. Links in it are removed, not followed.
pub(super) fn remove_tree(path: &Path) -> Result<(), DatasetError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(DatasetError::io("remove", path)),
    }
}
