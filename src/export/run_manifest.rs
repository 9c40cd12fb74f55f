//! `_run.json`: what a directory's dataset was built from, and its summary.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{ExportError, MergedLedgers, Published, Source};
use crate::{
    api::Parameters,
    dataset::{self, DatasetLayout, Part},
    decode, humanize,
    ledger::{self, Spending},
    summary::{RunSummary, Totals},
    targets::Counts,
};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunManifest {
    #[serde(flatten)]
    pub provenance: Provenance,
    pub totals: Totals,
    pub spending: Spending,
    /// The summary of the run that published the dataset.
    pub summary: RunSummary,
    /// Where the answers differ from the schema, one line each.
    pub drift: Vec<String>,
    /// Every file of the tables.
    pub files: Vec<Part>,
    /// Whether `--discard-raw` deleted the ledger afterwards.
    pub raw_discarded: bool,
    /// For each ledger the SHA-256 of its files by name, up to where they were read.
    #[serde(default)]
    pub raw_sha256: Vec<BTreeMap<String, String>>,
    /// When the oldest answer that counts arrived; without a ledger, this is the only record of it.
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
    pub parameters: Parameters,
    #[serde(flatten)]
    pub layout: DatasetLayout,
    pub inputs_sha256: String,
    pub ledgers: Vec<LedgerFiles>,
}

/// A ledger up to the position where it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerFiles {
    pub run_id: String,
    /// Its directory; `.` for the dataset's own.
    pub dir: PathBuf,
    /// Names and bytes of its files.
    pub files: Vec<(String, u64)>,
}

impl LedgerFiles {
    /// Whether it is the dataset's own ledger, rather than one that `replay` read elsewhere.
    pub fn is_own(&self) -> bool {
        self.dir == Path::new(".")
    }

    /// The directory of its run, for a dataset in `dir`.
    pub fn run_dir(&self, dir: &Path) -> PathBuf {
        if self.is_own() { dir.to_owned() } else { self.dir.clone() }
    }

    /// The path of one of its files, for a dataset in `dir`.
    pub fn file(&self, dir: &Path, name: &str) -> PathBuf {
        self.run_dir(dir).join(ledger::FOLDER).join(name)
    }
}

impl Provenance {
    /// Names and bytes of the files of the dataset's own ledger.
    pub fn own_files(&self) -> impl Iterator<Item = &(String, u64)> {
        self.ledgers.iter().filter(|ledger| ledger.is_own()).flat_map(|ledger| &ledger.files)
    }

    /// The key-value metadata of every Parquet file.
    pub fn file_metadata(&self) -> Vec<(String, String)> {
        file_metadata(self.schema_version, &self.version, &self.parameters)
    }

    /// The provenance of a dataset of `merged` in `dir`.
    pub fn new(merged: &MergedLedgers, dir: &Path, layout: &DatasetLayout) -> Result<Self, ExportError> {
        let ledgers = merged.sources.iter().map(|source| {
            let folder = |path: &Path| path.parent().and_then(Path::parent).map(Path::to_owned).unwrap_or_default();
            let files = source.archive.files()?;
            let origin = files.first().map(|(path, _)| folder(path)).unwrap_or_default();
            let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let dir = if origin == dir { PathBuf::from(".") } else { std::path::absolute(&origin).unwrap_or(origin) };
            if dir.to_str().is_none() {
                return Err(ExportError::NotUtf8(dir));
            }
            Ok(LedgerFiles {
                run_id: source.run.run_id.clone(),
                dir,
                files: files.iter().map(|(path, bytes)| (name(path), *bytes)).collect(),
            })
        });
        Ok(Self {
            program: "backlinks-export".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            schema_version: decode::schema::VERSION,
            run_id: merged.run_id(),
            simulated: merged.is_simulated(),
            parameters: merged.parameters(),
            layout: layout.clone(),
            inputs_sha256: merged.inputs_sha256.clone(),
            ledgers: ledgers.collect::<Result<_, ExportError>>()?,
        })
    }
}

/// The key-value metadata of Parquet files with answers to `requested`.
pub(super) fn file_metadata(schema: u32, program: &str, requested: &Parameters) -> Vec<(String, String)> {
    let entries = [
        ("schema_version", schema.to_string()),
        ("program_version", program.to_owned()),
        ("date_from", requested.date_from.to_string()),
        ("date_to", requested.date_to.to_string()),
        ("rank_scale", requested.rank_scale.as_str().to_owned()),
    ];
    entries.map(|(name, value)| (format!("backlinks_export.{name}"), value)).to_vec()
}

/// The digests of all ledger files, over as many bytes as in `provenance`, even if a run has appended more since.
pub(super) fn ledger_digests(
    merged: &MergedLedgers,
    provenance: &Provenance,
) -> Result<Vec<BTreeMap<String, String>>, ExportError> {
    let of_ledger = |(source, ledger): (&Source, &LedgerFiles)| {
        let digests = ledger.files.iter().enumerate();
        digests.map(|(file, (name, bytes))| Ok((name.clone(), source.archive.digest(file, *bytes)?))).collect()
    };
    merged.sources.iter().zip(&provenance.ledgers).map(of_ledger).collect()
}

impl RunManifest {
    pub fn new(
        provenance: Provenance,
        published: &Published,
        spending: Spending,
        raw_sha256: Vec<BTreeMap<String, String>>,
        oldest_answer: Option<Timestamp>,
    ) -> Self {
        let drift = published.drift.iter().map(|(field, seen)| {
            let times = humanize::counted(seen.count, "time", "times");
            format!("{field}: {times}, such as in the answer for {}", seen.example)
        });
        Self {
            provenance,
            totals: published.totals.clone(),
            spending,
            drift: drift.collect(),
            files: published.parts.clone(),
            raw_sha256,
            oldest_answer,
            ..Self::default()
        }
    }

    /// Reads a directory's manifest; `None`: it has none.
    pub fn read(dir: &Path) -> Result<Option<Self>, ExportError> {
        let path = dir.join(dataset::RUN);
        match fs::read(&path) {
            Ok(text) => {
                let parsed = serde_json::from_slice(&text).map(Some);
                parsed.map_err(|source| ExportError::UnreadableManifest { path, source })
            }
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

    /// Adds the path of the report to a directory's manifest.
    pub fn note_report(dir: &Path, report: &Path) -> Result<(), ExportError> {
        let Some(mut manifest) = Self::read(dir)? else { return Ok(()) };
        let path = Some(report.display().to_string());
        if manifest.summary.report == path {
            return Ok(());
        }
        manifest.summary.report = path;
        // `_SUCCESS` stays as it is.
        manifest.write(dir, false)
    }

    /// The numbers of a summary of this dataset, whose input lines are counted as `counts`.
    pub fn numbers(&self, counts: Counts) -> RunSummary {
        RunSummary {
            published: true,
            files: self.files.len() as u64,
            bytes: self.files.iter().map(|file| file.bytes).sum(),
            drift: self.drift.clone(),
            simulated: self.provenance.simulated,
            ..RunSummary::new(counts, &self.totals, self.spending)
        }
    }

    /// Whether the dataset is there as it was published. Otherwise the next run publishes it again.
    pub fn is_in_place(&self, dir: &Path) -> bool {
        self.files_are_there(dir) && [dataset::FAILURES, dataset::REJECTED].iter().all(|name| dir.join(name).is_file())
    }

    /// Whether every file of the tables is there with its size.
    pub(super) fn files_are_there(&self, dir: &Path) -> bool {
        self.files.iter().all(|file| {
            let metadata = fs::symlink_metadata(dir.join(&file.path));
            metadata.is_ok_and(|metadata| metadata.is_file() && metadata.len() == file.bytes)
        })
    }
}
