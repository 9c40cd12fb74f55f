//! Record batches to Parquet tables that appear whole: staged, synced, then renamed into place.
//!
//! ```text
//! batches -> HistoryWriter -> DIR/_staging/backlinks_history/year=2024/part-<run>-<n>.unfinished ┐
//! rows    -> TargetsWriter -> DIR/_staging/targets/part-<run>.unfinished ───────────────────────┤
//!            Stage::publish: names ending in .parquet, each table's directory exchanged  <──────┘
//!            then the side files, and _SUCCESS last
//! ```
//!
//! - What is written is a pure function of the rows in their order and of [`Options`]: how the rows were cut into
//!   batches shows nowhere, and there is no clock and no randomness.
//! - Memory is bounded by named limits, whatever the number of rows and partitions.
//! - Nothing here knows where rows come from: the schema comes with the batches.
//! - All of it blocks on the disk; callers run it on a thread where that is allowed. One thread does: encoding a
//!   target's rows takes less than decoding its answer, which happens on the caller's other thread.

use std::{
    io,
    path::{Path, PathBuf},
};

use arrow::error::ArrowError;
use parquet::errors::ParquetError;

mod encoding;
mod files;
mod held_rows;
mod history;
mod part;
mod partition;
mod publish;
mod sidecar_files;
mod target_rows;

pub use self::{
    encoding::{Compression, CompressionError, IntegerEncoding, IntegerEncodingError},
    files::probe,
    history::HistoryWriter,
    part::{Part, digest, hex},
    partition::{PartitionBy, PartitionError, PartitionKey},
    publish::{Stage, inspect},
    sidecar_files::{
        Failure, FailureRows, FailuresFile, Rejected, is_marked, mark_success, replace_file, unmark_success,
        write_rejected, write_rejected_rows, write_run,
    },
    target_rows::{LineOutcome, TargetRow, TargetRows, TargetsWriter, input_column_names, targets_schema},
};

/// The directory of the table with one row per target and month.
pub const HISTORY: &str = "backlinks_history";
/// The directory of the table for items without a usable date; there only where there are any.
pub const UNDATED: &str = "backlinks_undated";
/// The directory of the table with one row per input line.
pub const TARGETS: &str = "targets";
/// Where tables are made; on the same file system as their place, or they could not be renamed into it.
pub const STAGING: &str = "_staging";
/// Targets that need a person.
pub const FAILURES: &str = "_failures.csv";
/// Input lines that were no domain.
pub const REJECTED: &str = "_rejected.csv";
/// The run's parameters, counts, cost and digests.
pub const RUN: &str = "_run.json";
/// There when every target has data or is known to have none, and everything else lies in place.
pub const SUCCESS: &str = "_SUCCESS";

/// What file systems keep for recovered files at their root.
const LOST_AND_FOUND: &str = "lost+found";

/// Whether something of this name may be in a run's directory without being part of it: hidden files of desktops and
/// version control, and `lost+found` where the directory is a file system's root.
pub fn is_ignored(name: &str) -> bool {
    name.starts_with('.') || name == LOST_AND_FOUND
}

/// Partition levels below a table at most: year, month, run date.
pub const DEEPEST: usize = 3;

/// Every table, in order of publication.
const TABLES: [&str; 3] = [HISTORY, UNDATED, TARGETS];
/// What file names end in until their table is published: no `*.parquet` matches it.
const UNFINISHED: &str = "unfinished";

/// Whether something of this name in a run's directory is what publishing makes, finished or not.
pub fn is_own(name: &str) -> bool {
    let whole = name.strip_suffix(UNFINISHED).and_then(|name| name.strip_suffix('.')).unwrap_or(name);
    [HISTORY, UNDATED, TARGETS, STAGING, FAILURES, REJECTED, RUN, SUCCESS].contains(&whole)
}

/// How the tables are written.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the directories of `backlinks_history` are named by.
    pub partition_by: PartitionBy,
    /// How pages are compressed.
    pub compression: Compression,
    /// How integers are encoded.
    pub integer_encoding: IntegerEncoding,
    /// Rows in a row group at most; fewer where many partitions are open at once.
    pub row_group_rows: usize,
    /// Goes into file names and nowhere else: ASCII letters, digits, `-`, `_` and `.`.
    pub run_id: String,
    /// Parquet key-value metadata of every file.
    pub metadata: Vec<(String, String)>,
}

impl Options {
    /// Rows in a row group unless said otherwise: some 23 MB in memory, 2 MB in a file.
    pub const ROW_GROUP_ROWS: usize = 16_384;
}

/// Why a dataset cannot be written or published.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// The file system refuses.
    #[error("cannot {verb} {}: {source}{}", path.display(), advice(source))]
    Io {
        verb: &'static str,
        path: PathBuf,
        /// The file system's answer.
        source: io::Error,
    },
    /// Rows that Parquet cannot take.
    #[error("cannot encode rows for {}: {source}", path.display())]
    Encode { path: PathBuf, source: ParquetError },
    /// Rows that cannot be divided or put together.
    #[error("cannot merge rows: {source}")]
    Arrange {
        #[from]
        source: ArrowError,
    },
    /// Partitioning by date needs one.
    #[error("cannot partition by {by}: the rows have no column `date` of type timestamp in microseconds")]
    NoDate {
        /// The partitioning asked for.
        by: PartitionBy,
    },
    /// The run id would not make a file name.
    #[error("run id {run_id:?} cannot be part of a file name; use up to 100 letters, digits, `-`, `_` and `.`")]
    RunId { run_id: String },
    /// A table's place leads elsewhere.
    #[error("{} is a symbolic link; replacing it could affect files outside of --out", path.display())]
    Symlink { path: PathBuf },
    /// A table's place holds something that publishing would delete.
    #[error("{} is not part of an export; publishing would delete it: move it or use another --out", path.display())]
    Foreign { path: PathBuf },
    /// A file in the staged table belongs to no finished part.
    #[error("{} was not finished; its table was not published", path.display())]
    Unfinished { path: PathBuf },
}

impl DatasetError {
    fn io(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { verb, path: path.to_owned(), source }
    }

    /// A failure to encode, or the file system's own word where that is what stopped it.
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

fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; free some space and run the same command again",
        _ => "",
    }
}

#[cfg(test)]
mod tests;
