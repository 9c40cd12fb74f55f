//! Record batches to Parquet tables that appear whole: staged, synced, then renamed into place.
//!
//! ```text
//! batches -> HistoryWriter -> DIR/_staging/backlinks_history/year=2024/part-<run>-<n>.unfinished ┐
//! rows    -> TargetsWriter -> DIR/_staging/targets/part-<run>.unfinished ───────────────────────┤
//!            Stage::publish: names ending in .parquet, each table's directory swapped in <──────┘
//!            then the sidecar files, and _SUCCESS last
//! ```
//!
//! - The output depends only on the sequence of rows and on [`Options`], not on how the rows were cut into batches.
//!   There is no clock and no randomness.
//! - Memory is bounded by named limits, regardless of the number of rows and partitions.
//! - The schema comes with the batches: nothing here depends on where rows come from.
//! - Everything blocks on the disk; callers use a thread that may block. One is enough: encoding a target's rows takes
//!   less time than decoding its answer, which happens on another thread.

use std::{
    io,
    path::{Path, PathBuf},
};

use arrow::error::ArrowError;
use parquet::errors::ParquetError;
use serde::{Deserialize, Serialize};

mod encoding;
mod files;
mod history_writer;
mod inspect;
mod part;
mod partition;
mod publish;
mod row_block;
mod row_group;
mod sidecar_files;
mod targets_columns;
mod targets_writer;

pub use self::{
    encoding::{Compression, CompressionError, IntegerEncoding},
    files::probe,
    history_writer::HistoryWriter,
    inspect::inspect,
    part::Part,
    partition::{PartitionBy, PartitionError, PartitionKey},
    publish::Stage,
    sidecar_files::{
        FailureRow, FailureRows, FailuresFile, RejectedLine, is_marked, mark_success, replace_file, unmark_success,
        write_output, write_rejected, write_rejected_rows, write_run,
    },
    targets_columns::{LineOutcome, TargetRow, TargetRows, input_column_names, targets_schema},
    targets_writer::TargetsWriter,
};

/// The directory of the table with one row per target and month.
pub const HISTORY: &str = "backlinks_history";
/// The directory of the table for items without a usable date; exists only if there are any.
pub const UNDATED: &str = "backlinks_undated";
/// The directory of the table with one row per input line.
pub const TARGETS: &str = "targets";
/// Where tables are written before they are published; on the same file system, so that they can be renamed.
pub const STAGING: &str = "_staging";
/// Targets that need attention.
pub const FAILURES: &str = "_failures.csv";
/// Input lines that are not valid domains.
pub const REJECTED: &str = "_rejected.csv";
/// The run's parameters, counts, cost and digests.
pub const RUN: &str = "_run.json";
/// Exists when every target has data or is known to have none, and everything else is published.
pub const SUCCESS: &str = "_SUCCESS";

/// The directory at the root of a file system for recovered files.
const LOST_AND_FOUND: &str = "lost+found";

/// Whether a file of this name may be in a run's directory without being part of the run: hidden files of desktops and
/// version control, and `lost+found` where the directory is the root of a file system.
pub fn is_ignored(name: &str) -> bool {
    name.starts_with('.') || name == LOST_AND_FOUND
}

/// Maximum number of partition levels below a table.
pub const DEEPEST: usize = PartitionKey::ALL.len();

/// Every table, in order of publication.
const TABLES: [&str; 3] = [HISTORY, UNDATED, TARGETS];
/// The extension of files until their table is published, so that `*.parquet` does not match them.
const UNFINISHED: &str = "unfinished";

/// Whether publishing creates files of this name in a run's directory, finished or not.
pub fn is_own(name: &str) -> bool {
    let whole = name.strip_suffix(UNFINISHED).and_then(|name| name.strip_suffix('.')).unwrap_or(name);
    [HISTORY, UNDATED, TARGETS, STAGING, FAILURES, REJECTED, RUN, SUCCESS].contains(&whole)
}

/// How the tables are laid out in files; serialized as the texts of the flags.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetLayout {
    /// The partition columns of `backlinks_history`.
    pub partition_by: PartitionBy,
    pub compression: Compression,
    #[serde(rename = "parquet_encoding")]
    pub integer_encoding: IntegerEncoding,
    /// Maximum rows in a row group; there are fewer where many partitions are open at once.
    pub row_group_rows: usize,
}

impl DatasetLayout {
    /// Rows in a row group by default: some 5 MB in memory, 3 MB in a file.
    pub const ROW_GROUP_ROWS: usize = 20_480;
}

impl Default for DatasetLayout {
    fn default() -> Self {
        Self {
            partition_by: PartitionBy::default(),
            compression: Compression::default(),
            integer_encoding: IntegerEncoding::default(),
            row_group_rows: Self::ROW_GROUP_ROWS,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Options {
    pub layout: DatasetLayout,
    /// Used in file names only: ASCII letters, digits, `-`, `_` and `.`.
    pub run_id: String,
    /// Parquet key-value metadata of every file.
    pub metadata: Vec<(String, String)>,
}

/// Why a dataset cannot be written or published.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    #[error("cannot {verb} {}: {source}", path.display())]
    Io { verb: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot encode rows for {}: {source}", path.display())]
    Encode { path: PathBuf, source: ParquetError },
    #[error("cannot merge rows: {source}")]
    Arrange {
        #[from]
        source: ArrowError,
    },
    #[error("run id {run_id:?} cannot be part of a file name; use up to 100 letters, digits, `-`, `_` and `.`")]
    RunId { run_id: String },
    #[error("{} is a symbolic link; replacing it could affect files outside of --out", path.display())]
    Symlink { path: PathBuf },
    /// A path for a report or metrics leads into an export.
    #[error("{} is part of an export; writing there would destroy it", path.display())]
    PartOfARun { path: PathBuf },
    /// The path of a table contains something that publishing would delete.
    #[error("{} is not part of an export; publishing would delete it: move it or use another --out", path.display())]
    Foreign { path: PathBuf },
    /// A staged table contains a file that is not a finished part.
    #[error("{} was not finished; its table was not published", path.display())]
    Unfinished { path: PathBuf },
}

impl DatasetError {
    fn io(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { verb, path: path.to_owned(), source }
    }

    /// A failure to encode, or the file system's error where that is the cause.
    fn encode(path: &Path) -> impl FnOnce(ParquetError) -> Self {
        move |source| match source {
            ParquetError::External(cause) => match cause.downcast::<io::Error>() {
                Ok(source) => Self::Io { verb: "write", path: path.to_owned(), source: *source },
                Err(cause) => Self::Encode { path: path.to_owned(), source: ParquetError::External(cause) },
            },
            source => Self::Encode { path: path.to_owned(), source },
        }
    }
}

#[cfg(test)]
mod tests;
