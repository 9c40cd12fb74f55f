//! Why an export cannot continue, whether the user can fix it, and how.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{PreviousError, QueryDifference, QueryError};
use crate::{dataset::DatasetError, fs::paid_io_hint, ledger::LedgerError};

#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    #[error(transparent)]
    QueryParams(#[from] QueryError),
    #[error(transparent)]
    Previous(#[from] PreviousError),
    #[error("these runs used different query parameters: {} and {}", .0.stored, .0.requested)]
    DifferentQueries(QueryDifference),
    #[error("{} is not empty and does not contain a run", .0.display())]
    Foreign(PathBuf),
    #[error("{} contains a dataset, but its ledger {} is missing", dir.display(), file.display())]
    LedgerGone { dir: PathBuf, file: PathBuf },
    #[error("{} contains a dataset built by replay", .0.display())]
    OfAReplay(PathBuf),
    #[error("{} has lost paid answers: it has {found} bytes; the dataset was built from {expected}", path.display())]
    CutShort {
        path: PathBuf,
        /// Bytes of complete records.
        found: u64,
        /// Bytes that the dataset was built from.
        expected: u64,
    },
    #[error("{} and {} contain the same run, whose calls would be counted twice", .0.display(), .1.display())]
    Twice(PathBuf, PathBuf),
    #[error("{} is not a directory", .0.display())]
    NoDirectory(PathBuf),
    #[error("{} is a symbolic link to a path that does not exist", .0.display())]
    DanglingLink(PathBuf),
    #[error("{} is the directory of a run, which has its own dataset", .0.display())]
    OfARun(PathBuf),
    #[error("{} and {} overlap: one contains the other", .0.display(), .1.display())]
    Nested(PathBuf, PathBuf),
    #[error("{} contains a dataset of another run, {run_id}", dir.display())]
    OtherRuns {
        dir: PathBuf,
        /// A run that is not among those of the new dataset.
        run_id: String,
    },
    #[error("{} does not exist", .0.display())]
    Missing(PathBuf),
    #[error("{} does not contain a run: it has no ledger", .0.display())]
    NoRun(PathBuf),
    #[error("the raw answers of {} were deleted by --discard-raw, so its dataset cannot be changed", .0.display())]
    Discarded(PathBuf),
    #[error("cannot read {}: {source}", path.display())]
    UnreadableManifest { path: PathBuf, source: serde_json::Error },
    #[error("{} cannot be named in _run.json: its path is not valid UTF-8", .0.display())]
    NotUtf8(PathBuf),
    #[error("cannot write the dataset")]
    WriterFailed,
    #[error("cannot {verb} {}: {source}", path.display())]
    Io { verb: &'static str, path: PathBuf, source: io::Error },
}

impl ExportError {
    pub(super) fn io(verb: &'static str, path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { verb, path: path.to_owned(), source }
    }

    /// Whether the user can fix it; it was found before the first call.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::QueryParams(_)
            | Self::DifferentQueries(_)
            | Self::Foreign(_)
            | Self::LedgerGone { .. }
            | Self::OfAReplay(_)
            | Self::Twice(..)
            | Self::NoDirectory(_)
            | Self::OfARun(_)
            | Self::Nested(..)
            | Self::OtherRuns { .. }
            | Self::Missing(_)
            | Self::NoRun(_)
            | Self::DanglingLink(_)
            | Self::NotUtf8(_)
            | Self::Discarded(_) => true,
            Self::Previous(error) => error.is_usage(),
            Self::Ledger(_)
            | Self::CutShort { .. }
            | Self::UnreadableManifest { .. }
            | Self::Dataset(_)
            | Self::WriterFailed
            | Self::Io { .. } => false,
        }
    }

    pub fn hint(&self) -> String {
        match self {
            Self::Ledger(error) => error.hint(),
            Self::QueryParams(error) => error.hint(),
            Self::Previous(error) => error.hint(),
            Self::DifferentQueries(_) => "replay them separately, each with its own --out".to_owned(),
            Self::Foreign(_) | Self::OfAReplay(_) | Self::NoDirectory(_) | Self::OfARun(_) => {
                "use a new or empty directory for --out".to_owned()
            }
            Self::Nested(..) => "use an --out outside the other directories".to_owned(),
            Self::DanglingLink(_) => "create the directory that the link leads to, or use another --out".to_owned(),
            Self::OtherRuns { .. } => {
                "add that run's directory, or use a new directory for --out; --replace overwrites the dataset in it"
                    .to_owned()
            }
            Self::LedgerGone { .. } => {
                "restore the file, and any others of _raw; until then the dataset can be read but not extended"
                    .to_owned()
            }
            Self::CutShort { .. } => {
                "restore a complete copy of the file; without one, see docs/faq.md before you change anything"
                    .to_owned()
            }
            Self::Twice(..) => {
                "list each run only once; if one is a copy, list only the newer one".to_owned()
            }
            Self::Missing(_) => "check the path; relative paths start from the current directory".to_owned(),
            Self::UnreadableManifest { .. } => {
                "restore the file from a copy; or, if _raw is complete, delete the file and run `run` or `replay` \
                 again, which rebuilds the dataset from stored answers"
                    .to_owned()
            }
            Self::NotUtf8(_) => "rename the directory".to_owned(),
            Self::NoRun(_) => "use a directory that was the --out of a run".to_owned(),
            Self::Discarded(_) => {
                "only the command that created it can be run again; for more targets, list only the new ones and use another --out"
                    .to_owned()
            }
            Self::Dataset(DatasetError::Io { source, .. }) | Self::Io { source, .. }
                if let Some(hint) = paid_io_hint(source) =>
            {
                hint.to_owned()
            }
            Self::Dataset(_) | Self::WriterFailed | Self::Io { .. } => {
                "all paid answers are saved; fix the problem above and run the same command again".to_owned()
            }
        }
    }
}
