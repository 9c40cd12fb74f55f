//! One run at a time in a directory.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    time::Duration,
};

use super::LedgerError;
use crate::fs::is_same_file;

/// How often to try a lock that another process has. When a process is killed, the system releases its lock only after
/// cleaning up, which a sync in progress can delay.
const LOCK_ATTEMPTS: u32 = 50;
/// The time between two attempts.
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(20);

/// Keeps other processes from exporting to the same directory until it is dropped.
#[derive(Debug)]
pub struct Lock {
    pub(super) dir: PathBuf,
    /// Whether the directory was created for it.
    is_new: bool,
    open: File,
}

impl Lock {
    /// Locks a run's directory, creating it if it does not exist.
    pub fn take(dir: &Path) -> Result<Self, LedgerError> {
        let is_new = !dir.exists();
        fs::create_dir_all(dir).map_err(LedgerError::io("create", dir))?;
        let mut lock = Self::wait(dir, File::try_lock)?;
        lock.is_new = is_new;
        Ok(lock)
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether the path still leads to the locked directory.
    pub(super) fn is_at_its_path(&self) -> bool {
        is_same_file(&self.open, fs::metadata(&self.dir))
    }

    /// Keeps runs out of a directory that is only read; other processes may read it, too.
    pub fn shared(dir: &Path) -> Result<Self, LedgerError> {
        Self::wait(dir, File::try_lock_shared)
    }

    fn wait(dir: &Path, lock: impl Fn(&File) -> Result<(), TryLockError>) -> Result<Self, LedgerError> {
        let open = File::open(dir).map_err(LedgerError::io("open", dir))?;
        for look in 1.. {
            match lock(&open) {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if look < LOCK_ATTEMPTS => std::thread::park_timeout(BETWEEN_ATTEMPTS),
                Err(TryLockError::WouldBlock) => return Err(LedgerError::InUse { path: dir.to_owned() }),
                Err(TryLockError::Error(source)) => return Err(LedgerError::io("lock", dir)(source)),
            }
        }
        Ok(Self { dir: dir.to_owned(), is_new: false, open })
    }
}

/// A run that is refused leaves no empty directory behind.
impl Drop for Lock {
    fn drop(&mut self) {
        if self.is_new {
            // It is only removed if it is empty.
            let _ = fs::remove_dir(&self.dir);
        }
    }
}
