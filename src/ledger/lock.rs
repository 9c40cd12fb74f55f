//! One run at a time in a directory.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    time::Duration,
};

use super::LedgerError;

/// Looks at a lock that another process holds. One that was killed gives it back when the system has cleared it away,
/// which a sync under way can hold up.
const LOOKS_AT_LOCK: u32 = 50;
/// The time between two of them.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Keeps other processes from exporting into the same directory, as long as it lives.
#[derive(Debug)]
pub struct Lock {
    pub(super) dir: PathBuf,
    _open: File,
}

impl Lock {
    /// Takes the lock of a run's directory, making the directory where there is none.
    pub fn take(dir: &Path) -> Result<Self, LedgerError> {
        fs::create_dir_all(dir).map_err(|source| LedgerError::io("make", dir, source))?;
        Self::wait(dir, File::try_lock)
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Keeps runs out of a directory that is only read; others may read it, too.
    pub fn share(dir: &Path) -> Result<Self, LedgerError> {
        Self::wait(dir, File::try_lock_shared)
    }

    fn wait(dir: &Path, lock: impl Fn(&File) -> Result<(), TryLockError>) -> Result<Self, LedgerError> {
        let open = File::open(dir).map_err(|source| LedgerError::io("open", dir, source))?;
        for look in 1.. {
            match lock(&open) {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if look < LOOKS_AT_LOCK => std::thread::park_timeout(BETWEEN_LOOKS),
                Err(TryLockError::WouldBlock) => return Err(LedgerError::InUse { path: dir.to_owned() }),
                Err(TryLockError::Error(source)) => return Err(LedgerError::io("lock", dir, source)),
            }
        }
        Ok(Self { dir: dir.to_owned(), _open: open })
    }
}
