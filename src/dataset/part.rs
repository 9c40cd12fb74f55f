//! A Parquet file while it is written: hashed as bytes are written, synced when it is complete.
//!
//! Its name ends in `.unfinished` until the table is published, so that `*.parquet` does not match it. Which rows go
//! into which file is decided elsewhere.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::record_batch::RecordBatch;
use parquet::file::writer::SerializedFileWriter;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    DatasetError, UNFINISHED,
    encoding::WriterConfig,
    files::{create_new, rename},
    row_group::RowGroup,
};
use crate::sha256;

/// A complete, synced file of a table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Part {
    /// Relative to the run's directory, such as `backlinks_history/year=2024/part-<run>-<n>.parquet`.
    pub path: PathBuf,
    pub rows: u64,
    pub bytes: u64,
    /// The SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
}

/// The number of a table's first file, which depends on the table's content. Nine digits, so that names sort by number.
/// A reader lists names first and then opens the files one by one, some of them twice: if the files of two publications
/// had the same names, it could read some of each.
pub(super) fn first_number(content: Sha256) -> u64 {
    const FIRST: u64 = 100_000_000;
    const COUNT: u64 = 800_000_000;
    FIRST + content.finalize().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)) % COUNT
}

/// The path of a file until its table is published.
pub(super) fn unfinished(path: &Path) -> PathBuf {
    path.with_extension(UNFINISHED)
}

/// A file that takes rows.
pub(super) struct OpenPart {
    /// Its final path, relative to the run's directory.
    path: PathBuf,
    staged: PathBuf,
    config: WriterConfig,
    file: SerializedFileWriter<HashedFile>,
    row_group: Option<RowGroup>,
    rows: u64,
    /// Memory of the open row group.
    pub(super) memory: usize,
}

impl OpenPart {
    /// Creates the file for `path`, relative to the run's directory, in the staging folder.
    pub(super) fn create(staging: &Path, path: PathBuf, config: &WriterConfig) -> Result<Self, DatasetError> {
        let staged = unfinished(&staging.join(&path));
        if let Some(folder) = staged.parent() {
            fs::create_dir_all(folder).map_err(DatasetError::io("create", folder))?;
        }
        let file = HashedFile { file: create_new(&staged)?, hash: Sha256::new(), bytes: 0 };
        let file = SerializedFileWriter::new(file, config.columns.root_schema_ptr(), Arc::clone(&config.properties))
            .map_err(DatasetError::encode(&staged))?;
        Ok(Self { path, staged, config: config.clone(), file, row_group: None, rows: 0, memory: 0 })
    }

    /// Encodes rows. Page boundaries follow the calls: for reproducible files, callers must split rows by content only.
    pub(super) fn write(&mut self, rows: &RecordBatch) -> Result<(), DatasetError> {
        // The file's schema defines which columns are nullable in this table, the rows' schema which are in any table.
        let mut rest = RecordBatch::try_new(self.config.schema.clone(), rows.columns().to_vec())?;
        while rest.num_rows() > 0 {
            let row_group = match &mut self.row_group {
                Some(row_group) => row_group,
                none => none.insert(RowGroup::begin(&self.config).map_err(DatasetError::encode(&self.staged))?),
            };
            let count = rest.num_rows().min(self.config.row_group_rows - row_group.rows());
            row_group.write(&rest.slice(0, count)).map_err(DatasetError::encode(&self.staged))?;
            rest = rest.slice(count, rest.num_rows() - count);
            self.rows += count as u64;
            self.memory = row_group.memory();
            if row_group.rows() == self.config.row_group_rows {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Ends the row group.
    pub(super) fn flush(&mut self) -> Result<(), DatasetError> {
        self.memory = 0;
        let Some(row_group) = self.row_group.take() else { return Ok(()) };
        row_group.append_to(&mut self.file, self.config.zstd).map_err(DatasetError::encode(&self.staged))
    }

    /// Written row groups, whose metadata stays in memory until the file is closed.
    pub(super) fn row_groups(&self) -> usize {
        self.file.flushed_row_groups().len()
    }

    /// Bytes written so far.
    pub(super) fn bytes(&self) -> usize {
        self.file.bytes_written()
    }

    /// Writes the footer and makes the file durable.
    pub(super) fn close(mut self) -> Result<Part, DatasetError> {
        self.flush()?;
        self.file.finish().map_err(DatasetError::encode(&self.staged))?;
        let HashedFile { file, hash, bytes } = self.file.inner();
        file.sync_all().map_err(DatasetError::io("sync", &self.staged))?;
        let sha256 = sha256::hex(&hash.clone().finalize());
        Ok(Part { path: self.path, rows: self.rows, bytes: *bytes, sha256 })
    }
}

impl Part {
    /// Renames a finished file in the staging folder, for publication as `path`.
    pub(super) fn renamed(mut self, staging: &Path, path: PathBuf) -> Result<Self, DatasetError> {
        rename(&unfinished(&staging.join(&self.path)), &unfinished(&staging.join(&path)))?;
        self.path = path;
        Ok(self)
    }
}

struct HashedFile {
    file: File,
    hash: Sha256,
    bytes: u64,
}

impl Write for HashedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
