//! Why an export cannot go on, whose it is to mend that, and how.

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
    Question(#[from] QuestionError),
    /// Answers of an earlier run cannot be taken over.
    #[error(transparent)]
    Previous(#[from] PreviousError),
    /// Ledgers that are to become one dataset answer different questions.
    #[error("these runs asked different questions: one with {first}, one with {other}")]
    DifferentQuestions {
        /// As flags.
        first: String,
        /// As flags.
        other: String,
    },
    /// The directory is no run's.
    #[error("{} holds other files and no run", .0.display())]
    Foreign(PathBuf),
    /// The ledger of the directory's dataset is gone.
    #[error("{} holds a dataset whose ledger, {}/_raw, is gone", .0.display(), .0.display())]
    LedgerGone(PathBuf),
    /// The directory's dataset was built from other directories.
    #[error("{} holds a dataset that replay has built", .0.display())]
    OfAReplay(PathBuf),
    /// The ledger holds less than when the dataset was made of it.
    #[error("{} has lost paid answers: it holds {held} bytes, and {expected} when the dataset was made of it", path.display())]
    CutShort {
        /// The file.
        path: PathBuf,
        /// Bytes of whole records.
        held: u64,
        /// Bytes of which the dataset was made.
        expected: u64,
    },
    /// Two of the directories hold the same run.
    #[error("{} and {} hold the same run, whose calls would count twice", .0.display(), .1.display())]
    Twice(PathBuf, PathBuf),
    /// A file stands where a directory should.
    #[error("{} is no directory, or lies below a file", .0.display())]
    NoDirectory(PathBuf),
    /// A dataset built from others would stand beside a ledger that it is not made of.
    #[error("{} is the directory of a run and has its own dataset", .0.display())]
    OfARun(PathBuf),
    /// A dataset built from other runs would be lost.
    #[error("{} holds a dataset of another run, {run_id}", dir.display())]
    OtherRuns {
        /// The directory.
        dir: PathBuf,
        /// A run that is not among those of the new dataset.
        run_id: String,
    },
    /// No directory of that name.
    #[error("{} does not exist", .0.display())]
    Missing(PathBuf),
    /// The directory holds no ledger.
    #[error("{} holds no run: there is no ledger in it", .0.display())]
    NoRun(PathBuf),
    /// The answers were dropped.
    #[error("the answers of {} were dropped with --discard-raw, so its dataset can only stay as it is", .0.display())]
    Discarded(PathBuf),
    /// The dataset cannot be written, so no further call goes out.
    #[error("the dataset cannot be written")]
    WriterFailed,
    /// The file system refuses.
    #[error("cannot {verb} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// The file system's answer.
        source: io::Error,
    },
}

impl ExportError {
    /// Whether it is the user's to mend, and was found before the first call.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Question(_)
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
            Self::Question(error) => error.hint(),
            Self::Previous(error) => error.hint(),
            Self::DifferentQuestions { .. } => "replay them apart, each to an --out of its own".to_owned(),
            Self::Foreign(_) | Self::OfAReplay(_) | Self::NoDirectory(_) | Self::OfARun(_) => {
                "name a new or empty directory with --out".to_owned()
            }
            Self::OtherRuns { .. } => {
                "name that run's directory, too, or a new directory with --out; --replace gives up the dataset in it"
                    .to_owned()
            }
            Self::LedgerGone(_) => {
                "put the folder _raw back; until then the dataset can be read and not be added to".to_owned()
            }
            Self::CutShort { .. } => {
                "put back a whole copy of the file; without one, see docs/faq.md before you change anything".to_owned()
            }
            Self::Twice(..) => "name each run once; of two copies, the one that went on".to_owned(),
            Self::Missing(_) => "check the path; it is taken from the directory in which the command runs".to_owned(),
            Self::NoRun(_) => "name a directory that was the --out of a run".to_owned(),
            Self::Discarded(_) => {
                "run the command with which it was made; for more targets, list only the new ones and give another --out"
                    .to_owned()
            }
            Self::Dataset(DatasetError::Io { source, .. }) | Self::Io { source, .. }
                if let Some(hint) = access_hint(source) =>
            {
                hint.to_owned()
            }
            Self::Dataset(_) | Self::WriterFailed | Self::Io { .. } => {
                "everything fetched is kept; once that is mended, run the same command again".to_owned()
            }
        }
    }
}
