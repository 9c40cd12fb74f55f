//! Why an export cannot continue, whether the user can fix it, and how.

use std::{io, path::PathBuf};

use super::{PreviousError, QuestionError};
use crate::{dataset::DatasetError, fs::access_hint, ledger::LedgerError};

/// Why an export cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The ledger cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The dataset cannot be written.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The question cannot be asked, or not of this directory.
    #[error(transparent)]
    QueryParams(#[from] QuestionError),
    /// Answers of an earlier run cannot be taken over.
    #[error(transparent)]
    Previous(#[from] PreviousError),
    /// Ledgers that are to become one dataset answer different questions.
    #[error("these runs used different query parameters: {first} and {other}")]
    DifferentQuestions { first: String, other: String },
    /// The directory is no run's.
    #[error("{} is not empty and does not contain a run", .0.display())]
    Foreign(PathBuf),
    /// The ledger of the directory's dataset is gone.
    #[error("{} contains a dataset, but its ledger {}/_raw is missing", .0.display(), .0.display())]
    LedgerGone(PathBuf),
    /// The directory's dataset was built from other directories.
    #[error("{} contains a dataset built by replay", .0.display())]
    OfAReplay(PathBuf),
    /// The ledger holds less than when the dataset was made of it.
    #[error("{} has lost paid answers: it has {held} bytes, but the dataset was built from {expected}", path.display())]
    CutShort {
        path: PathBuf,
        /// Bytes of whole records.
        held: u64,
        /// Bytes of which the dataset was made.
        expected: u64,
    },
    /// Two of the directories hold the same run.
    #[error("{} and {} contain the same run, whose calls would be counted twice", .0.display(), .1.display())]
    Twice(PathBuf, PathBuf),
    /// A file stands where a directory should.
    #[error("{} is not a directory", .0.display())]
    NoDirectory(PathBuf),
    /// A dataset built from others would stand beside a ledger that it is not made of.
    #[error("{} is the directory of a run, which has its own dataset", .0.display())]
    OfARun(PathBuf),
    /// A dataset built from other runs would be lost.
    #[error("{} contains a dataset of another run, {run_id}", dir.display())]
    OtherRuns {
        dir: PathBuf,
        /// A run that is not among those of the new dataset.
        run_id: String,
    },
    /// No directory of that name.
    #[error("{} does not exist", .0.display())]
    Missing(PathBuf),
    /// The directory holds no ledger.
    #[error("{} does not contain a run: it has no ledger", .0.display())]
    NoRun(PathBuf),
    /// The answers were dropped.
    #[error("the raw answers of {} were deleted by --discard-raw, so its dataset cannot be changed", .0.display())]
    Discarded(PathBuf),
    /// The dataset cannot be written, so no further call goes out.
    #[error("cannot write the dataset")]
    WriterFailed,
    /// The file system refuses.
    #[error("cannot {verb} {}: {source}", path.display())]
    Io {
        verb: &'static str,
        path: PathBuf,
        /// The file system's answer.
        source: io::Error,
    },
}

impl ExportError {
    /// Whether it is the user's to mend, and was found before the first call.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::QueryParams(_)
            | Self::DifferentQuestions { .. }
            | Self::Foreign(_)
            | Self::LedgerGone(_)
            | Self::OfAReplay(_)
            | Self::Twice(..)
            | Self::NoDirectory(_)
            | Self::OfARun(_)
            | Self::OtherRuns { .. }
            | Self::Missing(_)
            | Self::NoRun(_)
            | Self::Discarded(_) => true,
            Self::Previous(error) => error.is_usage(),
            Self::Ledger(_) | Self::CutShort { .. } | Self::Dataset(_) | Self::WriterFailed | Self::Io { .. } => false,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Ledger(error) => error.hint(),
            Self::QueryParams(error) => error.hint(),
            Self::Previous(error) => error.hint(),
            Self::DifferentQuestions { .. } => "replay them separately, each with its own --out".to_owned(),
            Self::Foreign(_) | Self::OfAReplay(_) | Self::NoDirectory(_) | Self::OfARun(_) => {
                "use a new or empty directory for --out".to_owned()
            }
            Self::OtherRuns { .. } => {
                "add that run's directory, or use a new directory for --out; --replace overwrites the dataset in it"
                    .to_owned()
            }
            Self::LedgerGone(_) => {
                "restore the _raw directory; until then the dataset can be read but not extended".to_owned()
            }
            Self::CutShort { .. } => {
                "restore a complete copy of the file; without one, see docs/faq.md before you change anything"
                    .to_owned()
            }
            Self::Twice(..) => "give each run once; of two copies, give the one that was continued".to_owned(),
            Self::Missing(_) => "check the path; relative paths start from the current directory".to_owned(),
            Self::NoRun(_) => "use a directory that was the --out of a run".to_owned(),
            Self::Discarded(_) => {
                "run the command that created it; for more targets, list only the new ones and use another --out"
                    .to_owned()
            }
            Self::Dataset(DatasetError::Io { source, .. }) | Self::Io { source, .. }
                if let Some(hint) = access_hint(source) =>
            {
                hint.to_owned()
            }
            Self::Dataset(_) | Self::WriterFailed | Self::Io { .. } => {
                "all paid answers are saved; fix the problem above and run the same command again".to_owned()
            }
        }
    }
}
