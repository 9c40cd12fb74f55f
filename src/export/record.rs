//! `_run.json`: what a directory's dataset was built from, and its summary.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{DatasetLayout, ExportError, MergedLedgers, Published, Source};
use crate::{
    api::Parameters,
    dataset, decode, humanize,
    ledger::Spending,
    sha256,
    summary::{RunSummary, Totals},
    targets::Counts,
};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    #[serde(flatten)]
    pub made_of: Provenance,
    pub totals: Totals,
    pub spending: Spending,
    /// The summary of the run that published the dataset.
    pub summary: RunSummary,
    /// Where the answers differ from the schema, a line each.
    pub drift: Vec<String>,
    pub files: Vec<FileRecord>,
    /// Whether `--discard-raw` deleted the ledger afterwards.
    pub raw_discarded: bool,
    /// For each ledger the SHA-256 of its files by name, up to where they were read.
    #[serde(default)]
    pub raw_sha256: Vec<BTreeMap<String, String>>,
    /// When the oldest answer came that counts: without a ledger it is known from nowhere else.
    #[serde(default)]
    pub oldest_answer: Option<Timestamp>,
}

/// What a dataset is built from: two datasets with the same provenance are equal byte for byte.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// Always `backlinks-export`.
    pub program: String,
    pub version: String,
    pub schema_version: u32,
    pub run_id: String,
    pub simulated: bool,
    pub parameters: Option<Parameters>,
    pub partition_by: String,
    pub compression: String,
    pub parquet_encoding: String,
    pub row_group_rows: usize,
    pub inputs_sha256: String,
    pub ledgers: Vec<LedgerRecord>,
}

/// A ledger up to where it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerRecord {
    pub run_id: String,
    /// Its directory; `.` for the dataset's own.
    pub dir: PathBuf,
    /// Names and bytes of its files.
    pub files: Vec<(String, u64)>,
}

impl LedgerRecord {
    /// Whether it is the dataset's own ledger, not one that `replay` has read elsewhere.
    pub fn is_own(&self) -> bool {
        self.dir == Path::new(".")
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Relative to the run's directory.
    pub path: PathBuf,
    pub rows: u64,
    pub bytes: u64,
    /// In hexadecimal.
    pub sha256: String,
}

impl Provenance {
    /// Names and bytes of the files of the dataset's own ledger.
    pub fn own_files(&self) -> impl Iterator<Item = &(String, u64)> {
        self.ledgers.iter().filter(|ledger| ledger.is_own()).flat_map(|ledger| &ledger.files)
    }

    /// Whether the dataset already has this layout.
    pub fn has_layout(&self, layout: &DatasetLayout) -> bool {
        self.partition_by == layout.partition_by.to_string()
            && self.compression == layout.compression.to_string()
            && self.parquet_encoding == layout.integer_encoding.to_string()
            && self.row_group_rows == layout.row_group_rows
    }

    /// The provenance of a dataset of `holdings` in `dir`.
    pub fn new(holdings: &MergedLedgers, dir: &Path, layout: &DatasetLayout) -> Result<Self, ExportError> {
        let ledgers = holdings.sources().iter().map(|source| {
            let folder = |path: &Path| path.parent().and_then(Path::parent).map(Path::to_owned).unwrap_or_default();
            let files = source.archive.files()?;
            let origin = files.first().map(|(path, _)| folder(path)).unwrap_or_default();
            let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let dir = if origin == dir { PathBuf::from(".") } else { std::path::absolute(&origin).unwrap_or(origin) };
            if dir.to_str().is_none() {
                return Err(ExportError::NotUtf8(dir));
            }
            Ok(LedgerRecord {
                run_id: source.run.run_id.clone(),
                dir,
                files: files.iter().map(|(path, bytes)| (name(path), *bytes)).collect(),
            })
        });
        Ok(Self {
            program: "backlinks-export".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            schema_version: decode::schema::VERSION,
            run_id: holdings.run_id(),
            simulated: holdings.is_simulated(),
            parameters: holdings.parameters(),
            partition_by: layout.partition_by.to_string(),
            compression: layout.compression.to_string(),
            parquet_encoding: layout.integer_encoding.to_string(),
            row_group_rows: layout.row_group_rows,
            inputs_sha256: holdings.inputs_sha256().to_owned(),
            ledgers: ledgers.collect::<Result<_, ExportError>>()?,
        })
    }
}

/// The digests of all ledgers' files: of as many bytes as in `made_of`, whatever a run adds meanwhile.
pub(super) fn ledger_digests(
    holdings: &MergedLedgers,
    made_of: &Provenance,
) -> Result<Vec<BTreeMap<String, String>>, ExportError> {
    let of_ledger = |(source, record): (&Source, &LedgerRecord)| {
        let files = source.archive.files()?;
        let digests = files.iter().zip(&record.files).map(|((path, _), (name, bytes))| {
            let digest = digest(path, *bytes).map_err(ExportError::io("read", path))?;
            Ok((name.clone(), digest))
        });
        digests.collect()
    };
    holdings.sources().iter().zip(&made_of.ledgers).map(of_ledger).collect()
}

fn digest(path: &Path, bytes: u64) -> io::Result<String> {
    sha256::of_reader(fs::File::open(path)?.take(bytes))
}

impl RunRecord {
    pub fn new(
        made_of: Provenance,
        published: &Published,
        spending: Spending,
        raw_sha256: Vec<BTreeMap<String, String>>,
        oldest_answer: Option<Timestamp>,
    ) -> Self {
        let files = published.parts.iter().map(|part| FileRecord {
            path: part.path.clone(),
            rows: part.rows,
            bytes: part.bytes,
            sha256: part.sha256.clone(),
        });
        let drift = published.drift.iter().map(|(surprise, seen)| {
            let times = humanize::counted(seen.count, "time", "times");
            format!("{surprise}: {times}, such as in the answer for {}", seen.example)
        });
        Self {
            made_of,
            totals: published.totals.clone(),
            spending,
            drift: drift.collect(),
            files: files.collect(),
            raw_sha256,
            oldest_answer,
            ..Self::default()
        }
    }

    /// Reads a directory's record; `None` where there is none, or none that this version can read.
    pub fn read(dir: &Path) -> Result<Option<Self>, ExportError> {
        let path = dir.join(dataset::RUN);
        match fs::read(&path) {
            Ok(text) => Ok(serde_json::from_slice(&text).ok()),
            Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) => Ok(None),
            Err(error) => Err(ExportError::io("read", &path)(error)),
        }
    }

    /// Writes it, and then `_SUCCESS` on `success`.
    pub fn write(&self, dir: &Path, success: bool) -> Result<(), ExportError> {
        dataset::write_run(dir, &serde_json::to_value(self).expect("strings and numbers always serialize"))?;
        if success {
            dataset::mark_success(dir)?;
        }
        Ok(())
    }

    /// Adds the path of the report to a directory's record.
    pub fn note_report(dir: &Path, report: &Path) -> Result<(), ExportError> {
        let Some(mut record) = Self::read(dir)? else { return Ok(()) };
        let path = Some(report.display().to_string());
        if record.summary.report == path {
            return Ok(());
        }
        record.summary.report = path;
        // `_SUCCESS` stays as it is.
        record.write(dir, false)
    }

    /// The numbers of a summary of this dataset, whose input lines are counted as `counts`.
    pub fn numbers(&self, counts: Counts) -> RunSummary {
        RunSummary {
            published: true,
            files: self.files.len() as u64,
            bytes: self.files.iter().map(|file| file.bytes).sum(),
            drift: self.drift.clone(),
            simulated: self.made_of.simulated,
            ..RunSummary::new(counts, &self.totals, self.spending)
        }
    }

    /// Whether every file of the tables is there with its size.
    pub fn files_are_there(&self, dir: &Path) -> bool {
        self.files.iter().all(|file| {
            let metadata = fs::symlink_metadata(dir.join(&file.path));
            metadata.is_ok_and(|metadata| metadata.is_file() && metadata.len() == file.bytes)
        })
    }
}
