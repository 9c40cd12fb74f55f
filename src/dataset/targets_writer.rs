//! The file of `targets`, written a few thousand rows at a time. Its columns are those of
//! `TargetRow`, in `targets_columns`.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{
    DatasetError, Options, Part, TARGETS, TargetRow, TargetRows,
    encoding::WriterConfig,
    files::entries,
    part::{OpenPart, first_number},
};
use crate::sha256;

/// Maximum memory of the open row group; above it, the row group is ended early.
const OPEN_BYTES: usize = 32 << 20;

/// Writes `targets`. Dropped before [`finish`](Self::finish), it leaves a file that is never published.
pub struct TargetsWriter {
    staging: PathBuf,
    /// Where the table is or will be published.
    table: PathBuf,
    part: OpenPart,
    rows: TargetRows,
}

impl TargetsWriter {
    /// Writes a file in `staging`, for the table that is or will be published as `table`.
    pub(super) fn new(
        staging: PathBuf,
        table: PathBuf,
        options: &Options,
        columns: &[String],
    ) -> Result<Self, DatasetError> {
        let rows = TargetRows::new(columns);
        let path = Path::new(TARGETS).join(format!("part-{}.parquet", options.run_id));
        let config = WriterConfig::new(rows.schema.clone(), options, &[]).map_err(DatasetError::encode(&path))?;
        let part = OpenPart::create(&staging, path, &config)?;
        Ok(Self { staging, table, part, rows })
    }

    /// Takes a line with its cells in the input's other columns; cells that are missing at the end are null.
    pub fn push(&mut self, row: &TargetRow<'_>, cells: &[Option<&str>]) -> Result<(), DatasetError> {
        self.rows.push(row, cells);
        if self.rows.is_full() { self.write() } else { Ok(()) }
    }

    /// Writes the remaining rows and the footer. The file is named after the run; if the published table has other
    /// content, its name also gets a number that depends on the new content.
    pub fn finish(mut self) -> Result<Part, DatasetError> {
        self.write()?;
        let part = self.part.close()?;
        let is_new = entries(&self.table)?.is_empty();
        let place = self.table.join(part.path.file_name().unwrap_or_default());
        if is_new || is_same(&place, &part)? {
            return Ok(part);
        }
        let number = first_number(Sha256::new_with_prefix(&part.sha256));
        let path = part.path.with_extension("").display().to_string();
        part.renamed(&self.staging, format!("{path}-{number}.parquet").into())
    }

    fn write(&mut self) -> Result<(), DatasetError> {
        self.part.write(&self.rows.take()?)?;
        if self.part.memory > OPEN_BYTES {
            self.part.flush()?;
        }
        Ok(())
    }
}

/// Whether a file has the bytes of this part.
fn is_same(file: &Path, part: &Part) -> Result<bool, DatasetError> {
    match File::open(file).and_then(sha256::of_reader) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        found => Ok(found.map_err(DatasetError::io("read", file))? == part.sha256),
    }
}
