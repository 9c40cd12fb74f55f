//! Dataset to one HTML page that explains it: plots, winners and losers, coverage, cost, every target.
//!
//! ```text
//! _run.json ─> facts ────────────────────────────────────────────┐
//! targets ───> lines: outcomes, failures, the input's columns ───┤
//! history ───> months: which there are, which is the latest      ├─> page: one file, all within
//!         ───> portfolio: totals by month, a little per target ──┤
//!         ───> shares: top-level domains, countries, latest month┘
//! ```
//!
//! - Reads what is published and nothing else: neither the ledger nor the network nor the clock. The same dataset makes
//!   the same bytes.
//! - The history is read a few thousand rows and a few columns at a time; what is kept is a little per target.
//! - The page loads nothing and sends nothing: style, script, plots and data are within, and a policy in it says so.
//! - Foreign text becomes text: markup can be made of literals of this program alone (see `html`).

mod html;
mod lines;
mod month;
mod movers;
mod page;
mod plot;
mod portfolio;
mod read;
mod shares;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use self::{lines::Lines, portfolio::Portfolio, read::Dataset, shares::Shares};
use crate::{
    dataset::{self, DatasetError},
    export::{ExportError, RunRecord},
    fs::access_hint,
};

/// The page's name, unless it is given another.
pub const FILE: &str = "report.html";

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("{} does not contain a dataset", .0.display())]
    NoDataset(PathBuf),
    /// The record is there and the files are not, or are others.
    #[error("{} is missing, or was changed after publishing", .0.display())]
    Changed(PathBuf),
    /// The directory's record cannot be read.
    #[error(transparent)]
    Record(#[from] ExportError),
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        path: PathBuf,
        /// The file system's answer.
        source: io::Error,
    },
    /// A file is no table of ours.
    #[error("cannot read {}: {reason}", path.display())]
    Damaged {
        path: PathBuf,
        /// What the reader says.
        reason: String,
    },
    /// A plot could not be drawn.
    #[error("cannot draw a chart: {0}")]
    Plot(String),
    /// The page would have to take a directory's place.
    #[error("--output {} is a directory", .0.display())]
    Directory(PathBuf),
    /// The page cannot be written.
    #[error(transparent)]
    Write(#[from] DatasetError),
}

impl ReportError {
    /// Whether it is the user's to mend, by naming another directory.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::NoDataset(_) | Self::Directory(_))
    }

    /// How to go on.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoDataset(_) => "use the --out of a run with a published dataset, or finish the run",
            Self::Changed(_) | Self::Damaged { .. } => {
                "move that file away and run the same `run` or `replay` again to rebuild it from the ledger"
            }
            Self::Record(error) => return Some(error.hint()),
            Self::Directory(_) => "use a file name",
            Self::Read { source, .. } | Self::Write(DatasetError::Io { source, .. }) => access_hint(source)?,
            Self::Plot(_) | Self::Write(_) => return None,
        };
        Some(hint.to_owned())
    }
}

/// A report that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub path: PathBuf,
    pub bytes: u64,
}

/// Writes the report of the dataset in `dir`, to `output` or beside the dataset. A file that is the same already is
/// left alone. Blocks on the disk.
pub fn write(dir: &Path, output: Option<&Path>) -> Result<Report, ReportError> {
    let path = output.map_or_else(|| dir.join(FILE), Path::to_owned);
    if output.is_some() && path.is_dir() {
        return Err(ReportError::Directory(path));
    }
    let page = render(dir)?;
    if fs::read(&path).ok().as_deref() != Some(page.as_bytes()) {
        dataset::replace_file(&path, &page)?;
    }
    Ok(Report { path, bytes: page.len() as u64 })
}

/// The page of the dataset in `dir`.
pub fn render(dir: &Path) -> Result<String, ReportError> {
    let record = RunRecord::read(dir)?.ok_or_else(|| ReportError::NoDataset(dir.to_owned()))?;
    let dataset = Dataset::open(dir, &record)?;
    let months = dataset.months()?;
    let lines = Lines::read(&dataset)?;
    let portfolio = Portfolio::read(&dataset, &months)?;
    let shares = Shares::read(&dataset, &months)?;
    let snapshot = dataset.snapshot.as_ref();
    page::page(&page::Content { record: &record, lines: &lines, portfolio: &portfolio, shares: &shares, snapshot })
}

#[cfg(test)]
mod tests;
