//! What a directory's dataset consists of: each file with its size and its digest.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::StoreError;
use crate::{
    dataset::{self, FAILURES, REJECTED, RUN},
    export::RunRecord,
    report,
};

/// A file that is to be under the prefix.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// Below the directory, and below the prefix.
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    /// The SHA-256 of its bytes, in hexadecimal.
    pub(super) sha256: String,
}

#[derive(Debug)]
pub(super) struct Files {
    /// `_run.json`.
    pub(super) record: Wanted,
    /// The tables' parts and the other files.
    pub(super) others: Vec<Wanted>,
    /// Whether `_SUCCESS` is there.
    pub(super) success: bool,
    /// Whether the simulated API made it.
    pub(super) simulated: bool,
}

impl Files {
    /// Looks at a directory, which nobody may change meanwhile. Blocks on the disk.
    pub(super) fn of(dir: &Path) -> Result<Self, StoreError> {
        let record = RunRecord::read(dir)?.ok_or_else(|| StoreError::NoDataset(dir.to_owned()))?;
        let mut others = Vec::with_capacity(record.files.len() + 3);
        for file in &record.files {
            let name: Option<Vec<&str>> = file.path.iter().map(|part| part.to_str()).collect();
            others.push(Wanted {
                name: name.ok_or_else(|| StoreError::Changed(dir.join(&file.path)))?.join("/"),
                path: dir.join(&file.path),
                bytes: file.bytes,
                sha256: file.sha256.clone(),
            });
        }
        for name in [FAILURES, REJECTED, report::FILE] {
            if dir.join(name).is_file() {
                others.push(beside(dir, name)?);
            }
        }
        let simulated = record.made_of.simulated;
        Ok(Self { record: beside(dir, RUN)?, others, success: dataset::is_marked(dir), simulated })
    }

    /// All of them, `_run.json` first.
    pub(super) fn all(&self) -> impl Iterator<Item = &Wanted> {
        [&self.record].into_iter().chain(&self.others)
    }
}

/// A file beside the tables, whose digest nobody has written down.
fn beside(dir: &Path, name: &str) -> Result<Wanted, StoreError> {
    let path = dir.join(name);
    let look = || Ok((fs::metadata(&path)?.len(), dataset::digest(File::open(&path)?)?));
    let (bytes, sha256) = look().map_err(|source| StoreError::Io { path: path.clone(), source })?;
    Ok(Wanted { name: name.to_owned(), path, bytes, sha256 })
}

/// A file that is read piece by piece, and held against its digest at the end.
#[derive(Debug)]
pub(super) struct Pieces {
    file: File,
    path: PathBuf,
    left: u64,
    sha256: String,
    digest: Sha256,
}

impl Pieces {
    /// Opens it. Blocks on the disk, as does [`Pieces::next`].
    pub(super) fn of(wanted: &Wanted) -> Result<Self, StoreError> {
        let path = wanted.path.clone();
        // A link that leads elsewhere is not what was published.
        let regular = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file());
        let file = File::open(&path).map_err(|source| StoreError::Io { path: path.clone(), source })?;
        if !regular {
            return Err(StoreError::Changed(path));
        }
        Ok(Self { file, path, left: wanted.bytes, sha256: wanted.sha256.clone(), digest: Sha256::new() })
    }

    /// The next `most` bytes or the rest, which is given only where all of it is what was published.
    pub(super) fn next(&mut self, most: usize) -> Result<Vec<u8>, StoreError> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(most);
        let mut piece = vec![0; most];
        let read = self.file.read_exact(&mut piece);
        self.left -= most as u64;
        self.digest.update(&piece);
        match read {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(StoreError::Changed(self.path.clone())),
            Err(source) => Err(StoreError::Io { path: self.path.clone(), source }),
            Ok(()) if self.left == 0 && !self.is_whole() => Err(StoreError::Changed(self.path.clone())),
            Ok(()) => Ok(piece),
        }
    }

    /// Whether nothing is left.
    pub(super) fn is_at_end(&self) -> bool {
        self.left == 0
    }

    fn is_whole(&mut self) -> bool {
        matches!(self.file.read(&mut [0]), Ok(0)) && dataset::hex(&self.digest.clone().finalize()) == self.sha256
    }
}
