//! The files of a directory's dataset, with size and digest, and their content in pieces.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::StoreError;
use crate::{
    dataset::{self, FAILURES, REJECTED, RUN},
    export::RunManifest,
    report, sha256,
};

/// A file to be uploaded.
#[derive(Clone, Debug)]
pub(super) struct LocalFile {
    /// Relative to the directory and to the prefix.
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    /// In hexadecimal.
    pub(super) sha256: String,
}

#[derive(Debug)]
pub(super) struct LocalDataset {
    /// `_run.json`.
    pub(super) manifest: LocalFile,
    /// The tables' parts, then the other files.
    pub(super) others: Vec<LocalFile>,
    /// Whether it has `_SUCCESS`.
    pub(super) success: bool,
    pub(super) simulated: bool,
}

impl LocalDataset {
    /// Lists the files of a directory, which must not change until they are uploaded. Blocks on the disk.
    pub(super) fn read(dir: &Path) -> Result<Self, StoreError> {
        let manifest = RunManifest::read(dir)?.ok_or_else(|| StoreError::NoDataset(dir.to_owned()))?;
        let mut others = Vec::with_capacity(manifest.files.len() + 3);
        for file in &manifest.files {
            let name: Option<Vec<&str>> = file.path.iter().map(|part| part.to_str()).collect();
            others.push(LocalFile {
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
        let simulated = manifest.provenance.simulated;
        Ok(Self { manifest: beside(dir, RUN)?, others, success: dataset::is_marked(dir), simulated })
    }

    /// All files, `_run.json` first.
    pub(super) fn all(&self) -> impl Iterator<Item = &LocalFile> {
        [&self.manifest].into_iter().chain(&self.others)
    }
}

/// A file outside the tables, whose digest is not in the manifest.
fn beside(dir: &Path, name: &str) -> Result<LocalFile, StoreError> {
    let path = dir.join(name);
    let read = || Ok((fs::metadata(&path)?.len(), sha256::of_reader(File::open(&path)?)?));
    let (bytes, sha256) = read().map_err(|source| StoreError::Io { path: path.clone(), source })?;
    Ok(LocalFile { name: name.to_owned(), path, bytes, sha256 })
}

/// A file that is read in pieces and compared to its digest at the end.
#[derive(Debug)]
pub(super) struct Pieces {
    file: File,
    path: PathBuf,
    left: u64,
    sha256: String,
    digest: Sha256,
}

impl Pieces {
    /// Opens the file. Blocks on the disk, as does [`Pieces::next`].
    pub(super) fn of(published: &LocalFile) -> Result<Self, StoreError> {
        let path = published.path.clone();
        // A symbolic link is not a published file.
        let regular = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file());
        let file = File::open(&path).map_err(|source| StoreError::Io { path: path.clone(), source })?;
        if !regular {
            return Err(StoreError::Changed(path));
        }
        Ok(Self { file, path, left: published.bytes, sha256: published.sha256.clone(), digest: Sha256::new() })
    }

    /// The next `max` bytes or the rest; after the last piece, an error unless the file equals the published one.
    pub(super) fn next(&mut self, max: usize) -> Result<Vec<u8>, StoreError> {
        let max = usize::try_from(self.left).unwrap_or(usize::MAX).min(max);
        let mut piece = vec![0; max];
        let read = self.file.read_exact(&mut piece);
        self.left -= max as u64;
        self.digest.update(&piece);
        match read {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(StoreError::Changed(self.path.clone())),
            Err(source) => Err(StoreError::Io { path: self.path.clone(), source }),
            Ok(()) if self.left == 0 && !self.is_whole() => Err(StoreError::Changed(self.path.clone())),
            Ok(()) => Ok(piece),
        }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.left == 0
    }

    fn is_whole(&mut self) -> bool {
        matches!(self.file.read(&mut [0]), Ok(0)) && sha256::hex(&self.digest.clone().finalize()) == self.sha256
    }
}
