//! Checks that a directory's input lines, ledger, Parquet rows and cost agree. Changes nothing.
//!
//! ```text
//! _run.json -> its own digest -> digests of all files, and which files there are
//! ledgers -> the dataset built again, row by row -> the same rows in the Parquet files; sidecar files byte by byte
//!         -> calls, cost and sums -> _run.json, _SUCCESS
//! ```
//!
//! The dataset is a pure function of the ledger, so the export's own code determines its expected content. Differences
//! are listed by file. Checking continues after the first one, and nothing is ever fixed.

mod accounting;
mod difference;
mod digests;
mod rebuild;
mod run_manifest;
mod same_bytes;
mod stream;
mod tables;
mod unexpected;

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::Serialize;

pub use self::difference::{Advice, Difference, MAX_DIFFERENCES};
use self::{difference::Differences, digests::PublishedFiles};
use crate::{
    dataset,
    export::{ExportError, Provenance, RunManifest, read_and_merge},
    fs::io_hint,
    ledger::{Archive, FOLDER, LedgerError, Lock},
    money::Usd,
};

/// Why a directory cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error("{} is not a directory", .0.display())]
    NoDirectory(PathBuf),
    #[error("cannot open {}: {source}", path.display())]
    Open { path: PathBuf, source: io::Error },
    /// A run is in progress there, or the directory cannot be opened.
    #[error(transparent)]
    Lock(#[from] LedgerError),
}

impl VerifyError {
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoDirectory(_) => Some("use a directory that was the --out of a run or a replay".to_owned()),
            Self::Open { source, .. } => io_hint(source).map(str::to_owned),
            Self::Lock(error) => Some(error.hint()),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Input lines, each with its row in `targets`.
    pub lines: u64,
    /// Answers that were decoded again; without a dataset, answers whose checksums were checked.
    pub answers: u64,
    /// Rows of `backlinks_history`.
    pub rows: u64,
    pub files: u64,
    /// Bytes of Parquet files.
    pub bytes: u64,
    pub ledger_bytes: u64,
    pub calls: u64,
    /// Their cost, if known.
    #[serde(rename = "cost_micros_usd")]
    pub cost: Usd,
}

#[derive(Clone, Debug, Serialize)]
pub struct Verified {
    pub ok: bool,
    pub checked: Checked,
    /// What does not agree, by file; at most [`MAX_DIFFERENCES`].
    pub differences: Vec<Difference>,
    pub more_differences: u64,
    /// Remarks that are not differences.
    pub notes: Vec<String>,
    /// What to do about the differences.
    #[serde(skip)]
    pub advice: Option<Advice>,
}

/// Checks a run's directory, and locks it against runs during the check. Blocks on the disk.
pub fn verify(dir: &Path) -> Result<Verified, VerifyError> {
    match dir.metadata() {
        Ok(metadata) if metadata.is_dir() => {}
        Err(source) if io_hint(&source).is_some() => {
            return Err(VerifyError::Open { path: dir.to_owned(), source });
        }
        _ => return Err(VerifyError::NoDirectory(dir.to_owned())),
    }
    let _lock = Lock::shared(dir)?;
    let differences = Differences::default();
    let mut checked = Checked::default();
    if let Some(manifest) = run_manifest::read(dir, &differences) {
        Verification { dir, manifest: &manifest, differences: &differences }.run(&mut checked);
    } else if let Err(error) = check_ledger_only(dir, &mut checked) {
        digests::report_ledger(dir, &error, &differences);
    }
    let gathered = differences.finish();
    let reported = gathered.first.len() as u64;
    Ok(Verified {
        ok: gathered.count == 0,
        checked,
        advice: gathered.advice(),
        differences: gathered.first.into_iter().collect(),
        more_differences: gathered.count - reported,
        notes: gathered.notes,
    })
}

/// Checks the ledger of a directory without a usable manifest, such as that of a run that was killed.
fn check_ledger_only(dir: &Path, checked: &mut Checked) -> Result<(), LedgerError> {
    let archive = Archive::read(dir)?;
    archive.check_bodies()?;
    let spending = archive.spending();
    *checked = Checked {
        lines: archive.inputs()?.map_or(0, |inputs| inputs.counts().lines as u64),
        answers: archive.requested().filter(|(_, entry)| entry.state.is_final()).count() as u64,
        ledger_bytes: archive.files()?.iter().map(|(_, bytes)| bytes).sum(),
        calls: spending.calls,
        cost: spending.reported(),
        ..Checked::default()
    };
    Ok(())
}

#[derive(Clone, Copy)]
struct Verification<'a> {
    dir: &'a Path,
    manifest: &'a RunManifest,
    differences: &'a Differences,
}

impl Verification<'_> {
    fn run(&self, checked: &mut Checked) {
        let Self { dir, manifest, differences } = *self;
        let published = self.check_tables();
        let mut known = published.named.clone();
        known.extend(manifest.provenance.own_files().map(|(file, _)| format!("{FOLDER}/{file}")));
        unexpected::find_unexpected(dir, &known, differences);
        *checked = Checked {
            rows: manifest.totals.rows,
            files: manifest.files.len() as u64,
            bytes: manifest.files.iter().map(|file| file.bytes).sum(),
            calls: manifest.spending.calls,
            cost: manifest.spending.reported(),
            ..Checked::default()
        };
        if self.compare_with_ledgers(&published, checked).is_none()
            && let Some(counts) = self.compare_tables(&published)
        {
            checked.lines = counts.lines as u64;
            self.compare_summary(counts, manifest.summary.stale);
        }
    }

    /// Compares everything with the ledgers that the dataset was made from; `None` if they cannot be used, which is
    /// added as a difference, or as a note if nothing is wrong.
    fn compare_with_ledgers(&self, published: &PublishedFiles, checked: &mut Checked) -> Option<()> {
        let Self { dir, manifest, differences } = *self;
        let ledgers = &manifest.provenance.ledgers;
        if manifest.raw_discarded {
            differences.note("the raw answers were deleted by --discard-raw: rows were not compared with them");
            return None;
        }
        if ledgers.is_empty() {
            differences.add(dataset::RUN, "lists no ledger, so rows cannot be compared with answers");
            return None;
        }
        if !self.check_ledgers() {
            differences.note("the ledger is damaged or missing: rows were not compared with its answers");
            return None;
        }
        let layout = &manifest.provenance.layout;
        let dirs: Vec<_> = ledgers.iter().map(|ledger| ledger.run_dir(dir)).collect();
        let merged = self.reported(read_and_merge(&dirs, &layout.partition_by))?;
        let provenance = self.reported(Provenance::new(&merged, dir, layout))?;
        if !self.compare_ends(&provenance) {
            return None;
        }
        let (totals, answers) = self.reported(self.compare_rebuilt(&merged, published))?;
        self.compare_accounting(&merged, &provenance, &totals);
        let spending = merged.spending();
        *checked = Checked {
            ledger_bytes: provenance.ledgers.iter().flat_map(|ledger| &ledger.files).map(|(_, bytes)| bytes).sum(),
            lines: merged.inputs.counts().lines as u64,
            answers: answers as u64,
            rows: totals.rows,
            calls: spending.calls,
            cost: spending.reported(),
            ..checked.clone()
        };
        Some(())
    }

    fn reported<T>(&self, result: Result<T, ExportError>) -> Option<T> {
        let report = |error| match error {
            ExportError::Ledger(error) => digests::report_ledger(self.dir, &error, self.differences),
            other => self.differences.add(FOLDER, other.to_string()),
        };
        result.map_err(report).ok()
    }
}
