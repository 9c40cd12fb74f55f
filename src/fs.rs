//! What a refusal of the file system means to a user.

use std::io;

/// What to do where this user may not do what was attempted; `None`: there is another reason.
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
