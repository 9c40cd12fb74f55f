//! What can be wrong with a ledger, and hints.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::fs::{is_disk_full, paid_io_hint};

/// Why the ledger cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LedgerError {
    #[error("cannot {verb} {}: {source}", path.display())]
    Io { verb: &'static str, path: PathBuf, source: Arc<io::Error> },
    #[error("{} is in use by another run", path.display())]
    InUse { path: PathBuf },
    /// The path of the ledger leads elsewhere.
    #[error("{} is a symbolic link; the ledger must be in the directory itself", path.display())]
    Symlink { path: PathBuf },
    #[error("{} is damaged at byte {offset}: {reason}", path.display())]
    Damaged {
        path: PathBuf,
        /// Where the first invalid record begins.
        offset: u64,
        reason: String,
    },
    #[error("{} was moved to {} while the run was writing to it", path.display(), to.display())]
    Moved { path: PathBuf, to: PathBuf },
    #[error("{} was deleted or replaced while the run was writing to it", path.display())]
    Deleted {
        path: PathBuf,
        /// The directory with a copy of the ledger; `None`: it is not copied yet.
        copy: Option<PathBuf>,
    },
    #[error(
        "{} was deleted or replaced while the run was writing to it, and its content could not be saved: {source}",
        path.display()
    )]
    Lost { path: PathBuf, source: Box<LedgerError> },
    #[error(
        "{} was changed while the run was writing to it: it has {found} bytes instead of {expected}", path.display()
    )]
    Resized { path: PathBuf, found: u64, expected: u64 },
    /// A valid record that this version does not know.
    #[error("{} was made by a newer version of backlinks-export", path.display())]
    NewerVersion { path: PathBuf },
    #[error("the input lines in the ledger cannot be used: {reason}")]
    Inputs { reason: String },
    #[error("the ledger accepts no more records after an earlier write error")]
    Closed,
}

impl LedgerError {
    pub fn hint(&self) -> String {
        match self {
            Self::InUse { .. } => "wait for it to end, then run the same command again".to_owned(),
            Self::Damaged { .. } => {
                "restore an intact copy of the file; without one, see docs/faq.md before you change anything".to_owned()
            }
            Self::Moved { to, .. } => format!(
                "all paid answers are in {}; move its directory back and run the same command again, or run it with \
                 the new path as --out",
                to.display()
            ),
            Self::Deleted { copy: Some(copy), .. } => format!(
                "all paid answers were saved in {}; run the same command with that --out to resume",
                copy.display()
            ),
            Self::Deleted { copy: None, .. } | Self::Lost { .. } => {
                "restore the directory from a copy; without one, its answers have to be paid for again".to_owned()
            }
            Self::Resized { found, expected, .. } if found > expected => {
                "all paid answers are saved, and what was appended was removed; run the same command again to resume"
                    .to_owned()
            }
            Self::Resized { .. } => {
                "restore a complete copy of the file; without one, run the same command again to fetch the lost \
                 answers, which are billed again"
                    .to_owned()
            }
            Self::NewerVersion { .. } => "upgrade backlinks-export and run the same command again".to_owned(),
            Self::Symlink { .. } => "remove the link, or use another --out".to_owned(),
            Self::Io { source, .. } if let Some(hint) = paid_io_hint(source) => hint.to_owned(),
            Self::Io { verb: "create", .. } => "check the path, or use another --out".to_owned(),
            Self::Io { .. } | Self::Inputs { .. } | Self::Closed => {
                "all paid answers are saved; fix the problem above and run the same command again".to_owned()
            }
        }
    }

    pub(super) fn io(verb: &'static str, path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| match source.raw_os_error() {
            // The error of opening a link without following it.
            Some(code) if code == rustix::io::Errno::LOOP.raw_os_error() => Self::Symlink { path: path.to_owned() },
            _ => Self::Io { verb, path: path.to_owned(), source: Arc::new(source) },
        }
    }

    /// Whether another program has deleted, moved or changed the files while they were written: other errors follow
    /// from that.
    pub fn is_interference(&self) -> bool {
        matches!(self, Self::Moved { .. } | Self::Deleted { .. } | Self::Lost { .. } | Self::Resized { .. })
    }

    /// Whether the disk, or the user's quota, is full.
    pub(super) fn is_disk_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if is_disk_full(source))
    }
}
