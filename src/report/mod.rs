//! Renders a dataset as one HTML page: charts, winners and losers, coverage, cost, all targets.
//!
//! ```text
//! _run.json ─> facts ────────────────────────────────────────────┐
//! targets ───> lines: outcomes, failures, the input's columns ───┤
//! history ───> months: rows of each, and the latest              ├─> page: one self-contained file
//!         ───> portfolio: totals by month, a little per target ──┤
//!         ───> shares: top-level domains, countries, latest month┘
//! ```
//!
//! - Reads only published files, neither the ledger nor the network nor the clock: the same dataset gives the same
//!   bytes.
//! - The history is read a few columns and a few thousand rows at a time; little is kept per target.
//! - The page is self-contained and loads nothing, which its content security policy enforces.
//! - Untrusted text stays text: markup consists of literals of this program (see `html`).

mod html;
mod input_results;
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

use self::{input_results::Lines, page::PageContent, portfolio::Portfolio, read::Dataset, shares::Shares};
use crate::{
    dataset::{self, DatasetError},
    export::{ExportError, RunManifest},
    fs::io_hint,
};

/// The default name of the page.
pub const FILE: &str = "report.html";

#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("{} does not contain a dataset", .0.display())]
    NoDataset(PathBuf),
    #[error("{} is missing, or was changed after publishing", .0.display())]
    Changed(PathBuf),
    #[error(transparent)]
    Manifest(#[from] ExportError),
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot read {}: {reason}", path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error("--output {} is a directory", .0.display())]
    Directory(PathBuf),
    #[error(transparent)]
    Write(#[from] DatasetError),
}

impl ReportError {
    /// Whether the arguments are wrong.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::NoDataset(_) | Self::Directory(_) | Self::Write(DatasetError::PartOfARun { .. }))
    }

    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoDataset(_) => "use the --out of a run with a published dataset, or finish the run",
            Self::Changed(_) | Self::Damaged { .. } => {
                "move that file away and run the same `run` or `replay` again to rebuild it from the ledger"
            }
            Self::Manifest(error) => return Some(error.hint()),
            Self::Directory(_) => "use a file name",
            Self::Write(DatasetError::PartOfARun { .. }) => "use another path",
            Self::Write(DatasetError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                "create the directory, or use another path"
            }
            Self::Read { source, .. } | Self::Write(DatasetError::Io { source, .. }) => io_hint(source)?,
            Self::Write(_) => return None,
        };
        Some(hint.to_owned())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub path: PathBuf,
    pub bytes: u64,
}

/// Writes the report of the dataset in `dir` to `output`, or to its default path. A file with the same content is not
/// replaced. Blocks on the disk.
pub fn write(dir: &Path, output: Option<&Path>) -> Result<Report, ReportError> {
    let path = output.map_or_else(|| dir.join(FILE), Path::to_owned);
    if output.is_some() && path.is_dir() {
        return Err(ReportError::Directory(path));
    }
    let page = render(dir)?;
    let is_same = || fs::read(&path).is_ok_and(|old| old == page.as_bytes());
    if !(path.is_file() && is_same()) {
        let write = if output.is_some() { dataset::write_output } else { dataset::replace_file };
        write(&path, &page)?;
    }
    Ok(Report { path, bytes: page.len() as u64 })
}

/// The page of the dataset in `dir`.
pub fn render(dir: &Path) -> Result<String, ReportError> {
    let manifest = RunManifest::read(dir)?.ok_or_else(|| ReportError::NoDataset(dir.to_owned()))?;
    let dataset = Dataset::open(dir, &manifest)?;
    let months = dataset.months()?;
    let lines = Lines::read(&dataset)?;
    let portfolio = Portfolio::read(&dataset, &months)?;
    let shares = Shares::read(&dataset, &months)?;
    let snapshot = dataset.snapshot.as_ref();
    let content = PageContent { manifest: &manifest, lines: &lines, portfolio: &portfolio, shares: &shares, snapshot };
    Ok(page::page(&content))
}

#[cfg(test)]
mod tests;
