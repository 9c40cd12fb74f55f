//! One Parquet file on its way: encoded, hashed as it is written, synced when it is whole.
//!
//! Its name ends in `.unfinished` until the table is published, so that no glob for `*.parquet` finds it. Never
//! decides what goes into which file.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use arrow::{datatypes::SchemaRef, record_batch::RecordBatch};
use parquet::arrow::{ArrowWriter, arrow_writer::ArrowWriterOptions};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{
    DatasetError, UNFINISHED,
    encoding::WriterConfig,
    files::{create_new, rename},
};

/// A file of a table: whole, synced, and as it is or will be published.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Part {
    /// Where in the run's directory, such as `backlinks_history/year=2024/part-<run>-<n>.parquet`.
    pub path: PathBuf,
    pub rows: u64,
    pub bytes: u64,
    /// The SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
}

/// The number of a table's first file, in which what the table holds has a say: nine digits, so that names sort by
/// number. A reader lists names first and opens them one by one, some of them twice: would another publication have
/// files of the same names, it could get some from each.
pub(super) fn first_number(content: Sha256) -> u64 {
    const LEAST: u64 = 100_000_000;
    const MANY: u64 = 800_000_000;
    LEAST + content.finalize().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)) % MANY
}

/// A file's name until its table is published.
pub(super) fn unfinished(path: &Path) -> PathBuf {
    path.with_extension(UNFINISHED)
}

/// A file that takes rows.
pub(super) struct OpenPart {
    /// Where it will lie in the run's directory.
    path: PathBuf,
    /// Where it lies now.
    staged: PathBuf,
    schema: SchemaRef,
    writer: ArrowWriter<HashedFile>,
    rows: u64,
    memory: usize,
}

impl OpenPart {
    /// Makes the file for `path`, relative to the run's directory, in the staging folder.
    pub(super) fn create(staging: &Path, path: PathBuf, recipe: &WriterConfig) -> Result<Self, DatasetError> {
        let staged = unfinished(&staging.join(&path));
        if let Some(folder) = staged.parent() {
            fs::create_dir_all(folder).map_err(DatasetError::io("make", folder))?;
        }
        let file = HashedFile { file: create_new(&staged)?, hash: Sha256::new(), bytes: 0 };
        // Without Arrow's own copy of the schema: other engines do not read it, and its order of metadata is random.
        let options = ArrowWriterOptions::new()
            .with_properties(recipe.properties.as_ref().clone())
            .with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(file, recipe.schema.clone(), options)
            .map_err(DatasetError::encode(&staged))?;
        Ok(Self { path, staged, schema: recipe.schema.clone(), writer, rows: 0, memory: 0 })
    }

    /// Encodes rows. Where calls end decides where pages end, so callers cut by row counts alone.
    pub(super) fn write(&mut self, rows: &RecordBatch) -> Result<(), DatasetError> {
        // The schema of the file says of each column whether it may be null; that of the rows only for all of them.
        let rows = RecordBatch::try_new(self.schema.clone(), rows.columns().to_vec())?;
        self.writer.write(&rows).map_err(DatasetError::encode(&self.staged))?;
        self.rows += rows.num_rows() as u64;
        self.memory = self.writer.memory_size();
        Ok(())
    }

    /// Ends the row group.
    pub(super) fn flush(&mut self) -> Result<(), DatasetError> {
        self.memory = 0;
        self.writer.flush().map_err(DatasetError::encode(&self.staged))
    }

    /// What the open row group takes in memory.
    pub(super) fn memory(&self) -> usize {
        self.memory
    }

    /// Row groups that are written, whose metadata stays in memory until the file is whole.
    pub(super) fn row_groups(&self) -> usize {
        self.writer.flushed_row_groups().len()
    }

    /// What is written so far.
    pub(super) fn bytes(&self) -> usize {
        self.writer.bytes_written()
    }

    /// Writes the footer and makes the file durable.
    pub(super) fn close(mut self) -> Result<Part, DatasetError> {
        self.writer.finish().map_err(DatasetError::encode(&self.staged))?;
        let HashedFile { file, hash, bytes } = self.writer.inner();
        file.sync_all().map_err(DatasetError::io("sync", &self.staged))?;
        let sha256 = hex(&hash.clone().finalize());
        Ok(Part { path: self.path, rows: self.rows, bytes: *bytes, sha256 })
    }
}

impl Part {
    /// Gives a finished file in the staging folder the name under which it will be published.
    pub(super) fn renamed(mut self, staging: &Path, path: PathBuf) -> Result<Self, DatasetError> {
        rename(&unfinished(&staging.join(&self.path)), &unfinished(&staging.join(&path)))?;
        self.path = path;
        Ok(self)
    }
}

/// The SHA-256 of what a reader gives, in hexadecimal.
pub fn digest(mut source: impl Read) -> io::Result<String> {
    const READ: usize = 256 * 1024;
    let (mut digest, mut buffer) = (Sha256::new(), vec![0; READ]);
    loop {
        match source.read(&mut buffer)? {
            0 => return Ok(hex(&digest.finalize())),
            read => digest.update(&buffer[..read]),
        }
    }
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A file whose digest is known without reading it again.
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
