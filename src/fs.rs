//! The file system: durable file names, and hints for denied access.

use std::{fs::File, io, path::Path};

/// Makes the names in a folder durable.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The hint for a user without access; `None` for any other error.
pub fn access_hint(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            Some("run as a user with access to that path, or give this user access; nothing is lost")
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            Some("the file system is read-only: mount it for writing, or work on a copy of the directory")
        }
        _ => None,
    }
}
