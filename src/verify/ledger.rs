//! The ledger as any outsider reads it: zstd frames one after another that make up lines of JSON.
//!
//! Every frame is decompressed and its checksum looked at, every line is read as JSON, bodies included, as far as
//! the dataset's record says that the ledger was read. The export's own reader is not used.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use jiff::civil::Date;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use zstd::{bulk::Decompressor, zstd_safe};

use super::{
    account::{Accounts, Line, Place},
    differences::Differences,
    frames::{Frames, LONGEST_TAIL, Next, content, hex, something_whole},
};
use crate::{
    api::Parameters,
    export::LedgerRecord,
    targets::{Inputs, InputsBuilder, RawFate, RawLine, Target},
};

/// One ledger, read to its end or to where it is damaged.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// How its folder is called in differences.
    pub(super) name: String,
    pub(super) run_id: String,
    pub(super) run_date: Option<Date>,
    pub(super) parameters: Option<Parameters>,
    pub(super) accounts: Accounts,
    pub(super) inputs: Option<Inputs>,
    pub(super) inputs_sha256: String,
    files: Vec<File>,
    /// Bytes that were read.
    pub(super) bytes: u64,
    /// Lines of input that no record has closed yet, and how many.
    open_lines: Vec<u8>,
}

/// Why reading ended early.
enum Stop {
    Io(io::Error),
    Damaged(u64, String),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Ledger {
    /// Reads the ledger of `dir` as far as `record` says; `None`: it cannot be relied on, and why has been said.
    pub(super) fn read(
        dir: &Path,
        record: &LedgerRecord,
        digests: Option<&BTreeMap<String, String>>,
        differences: &Differences,
    ) -> Option<Self> {
        let mut ledger = Self { name: name(record), ..Self::default() };
        let mut is_sound = true;
        for (number, (file, bytes)) in record.files.iter().enumerate() {
            let path = folder(dir, record).join(file);
            let label = format!("{}/{file}", ledger.name);
            let mut wrong = |what: String| {
                differences.add(&label, what);
                is_sound = false;
            };
            if *file != format!("ledger-{number}.jsonl.zst") {
                wrong(format!("has a gap before it: ledger-{number}.jsonl.zst is not among the ledger's files"));
            }
            let digest = digests.and_then(|digests| digests.get(file));
            if digest.is_none() {
                differences.note(format!("_run.json has no digest of {label}: only its checksums were looked at"));
            }
            match ledger.read_file(&path, *bytes) {
                Err(Stop::Io(error)) => wrong(format!("cannot be read: {error}")),
                Err(Stop::Damaged(offset, reason)) => wrong(format!("is damaged at byte {offset}: {reason}")),
                Ok((_, found)) if digest.is_some_and(|digest| *digest != found) => {
                    wrong("is not what the dataset was made of: its digest differs".to_owned());
                }
                Ok((Some(torn), _)) if number + 1 == record.files.len() => differences
                    .note(format!("{label} ends within a line, at byte {torn}: torn by a crash, and never counted")),
                Ok((Some(torn), _)) => wrong(format!("ends within a line, at byte {torn}, yet another file follows")),
                Ok((None, _)) => {}
            }
            compare_length(&path, &label, *bytes, differences);
        }
        if is_sound && ledger.run_id.is_empty() {
            differences.add(&ledger.name, "does not say which run it belongs to");
            is_sound = false;
        }
        is_sound.then_some(ledger)
    }

    /// Reads one file; returns where it is torn, if it is, and the digest of what was read.
    fn read_file(&mut self, path: &Path, end: u64) -> Result<(Option<u64>, String), Stop> {
        let mut file = File::open(path)?;
        let mut frames = Frames::new(&mut file, end);
        let mut decompressor = Decompressor::new()?;
        let (mut line, mut offset, mut begun) = (Vec::new(), 0_u64, 0_u64);
        let number = self.files.len();
        let torn = loop {
            let size = match frames.next().map_err(|reason| Stop::Damaged(offset, reason))? {
                Next::Frame(size) => size,
                Next::End => break (!line.is_empty()).then_some(begun),
                Next::Torn => {
                    frames.must_be_torn(end - offset).map_err(|reason| Stop::Damaged(offset, reason))?;
                    break Some(begun);
                }
            };
            let frame = frames.take(size);
            let content = content(&mut decompressor, frame).map_err(|reason| Stop::Damaged(offset, reason))?;
            offset += size as u64;
            line.extend_from_slice(&content);
            if line.ends_with(b"\n") {
                let length = usize::try_from(offset - begun).unwrap_or(usize::MAX);
                let place = Place { file: number, offset: begun, length };
                self.take(&line, place).map_err(|reason| Stop::Damaged(begun, reason))?;
                line.clear();
                begun = offset;
            }
        };
        let digest = frames.finish()?;
        self.bytes += offset;
        self.files.push(file);
        Ok((torn, digest))
    }

    /// Understands a line, or some of input.
    fn take(&mut self, text: &[u8], place: Place) -> Result<(), String> {
        if text.starts_with(b"{\"record\":\"input\",") {
            self.open_lines.extend_from_slice(text);
            return Ok(());
        }
        let line: Line<'_> = serde_json::from_slice(text).map_err(|error| format!("it is no line of JSON: {error}"))?;
        match &*line.record {
            "run" if self.run_id.is_empty() => {
                self.run_id = line.run_id.ok_or("a run without a name")?;
                let started_at = line.started_at.ok_or("a run without a beginning")?;
                self.run_date = Some(jiff::tz::Offset::UTC.to_datetime(started_at).date());
                let asked = line.date_from.zip(line.date_to).zip(line.rank_scale.zip(line.tag));
                let parameters =
                    |((date_from, date_to), (rank_scale, tag))| Parameters { date_from, date_to, rank_scale, tag };
                self.parameters = Some(asked.map(parameters).ok_or("a run without a question")?);
                Ok(())
            }
            "run" => Ok(()),
            "inputs" => self.close_inputs(&line),
            word => self.accounts.take(&line, place).ok_or_else(|| format!("a line of {word:?} that makes no sense")),
        }
    }

    /// The last so many input lines are those that count.
    fn close_inputs(&mut self, end: &Line<'_>) -> Result<(), String> {
        let text = std::mem::take(&mut self.open_lines);
        let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
        let (wanted, columns) = end.lines.zip(end.columns.clone()).ok_or("input lines without an end")?;
        let first = lines.len().checked_sub(wanted).ok_or("some input lines are missing")?;
        let mut digest = Sha256::new();
        let mut builder = InputsBuilder::new();
        for line in &lines[first..] {
            digest.update(line);
            let line: InputLine = serde_json::from_slice(line).map_err(|error| format!("an input line: {error}"))?;
            line.push(&mut builder)?;
        }
        digest.update(serde_json::to_vec(&columns).map_err(|error| error.to_string())?);
        builder.set_columns(columns);
        self.inputs_sha256 = hex(&digest.finalize());
        if end.sha256.as_ref() != Some(&self.inputs_sha256) {
            return Err("the input lines are not those whose digest was recorded".to_owned());
        }
        self.inputs = Some(builder.finish());
        Ok(())
    }

    /// A line once more.
    pub(super) fn line(&self, place: Place) -> io::Result<Vec<u8>> {
        let broken = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        let mut bytes = vec![0; place.length];
        self.files[place.file].read_exact_at(&mut bytes, place.offset)?;
        let mut decompressor = Decompressor::new()?;
        let (mut line, mut at) = (Vec::new(), 0);
        while at < bytes.len() {
            let size = zstd_safe::find_frame_compressed_size(&bytes[at..]);
            let size = size.map_err(|code| broken(zstd_safe::get_error_name(code).to_owned()))?;
            line.append(&mut content(&mut decompressor, &bytes[at..at + size]).map_err(broken)?);
            at += size;
        }
        Ok(line)
    }
}

/// Compares a file's length with how far it was read for the dataset.
fn compare_length(path: &Path, label: &str, bytes: u64, differences: &Differences) {
    let Ok(length) = path.metadata().map(|metadata| metadata.len()) else { return };
    if length < bytes {
        differences.add(label, format!("was cut short: it has {length} bytes, the dataset was made of {bytes}"));
    }
    if length <= bytes {
        return;
    }
    let mut rest = vec![0; usize::try_from((length - bytes).min(LONGEST_TAIL)).unwrap_or_default()];
    let read = File::open(path).and_then(|file| file.read_exact_at(&mut rest, bytes));
    if read.is_ok() && length - bytes < LONGEST_TAIL && something_whole(&rest).is_none() {
        differences.note(format!("{label} ends within a line, at byte {bytes}: torn by a crash, and never counted"));
    } else {
        let what = "the dataset is older than the ledger; run the same command again, which publishes it anew";
        differences.add(label, format!("{what} ({length} bytes, the dataset was made of {bytes})"));
    }
}

/// The folder in which a ledger lies.
pub(super) fn folder(dir: &Path, record: &LedgerRecord) -> PathBuf {
    if record.dir == Path::new(".") { dir.join("_raw") } else { record.dir.join("_raw") }
}

/// How a ledger's folder is called: as seen from the dataset's directory where it lies there.
pub(super) fn name(record: &LedgerRecord) -> String {
    if record.dir == Path::new(".") { "_raw".to_owned() } else { record.dir.join("_raw").display().to_string() }
}

#[derive(Deserialize)]
struct InputLine {
    source: String,
    line: u64,
    input: String,
    target: Option<Target>,
    rejected: Option<String>,
    #[serde(default)]
    columns: Vec<Option<String>>,
}

impl InputLine {
    fn push(&self, builder: &mut InputsBuilder) -> Result<(), String> {
        let fate = match (&self.target, &self.rejected) {
            (Some(target), None) => RawFate::Target(target.clone()),
            (None, Some(reason)) => RawFate::Rejected(reason),
            _ => return Err("an input line that is neither a target nor rejected".to_owned()),
        };
        let cells = self.columns.iter().enumerate();
        let columns: Vec<_> = cells.filter_map(|(index, cell)| Some((index, cell.as_deref()?))).collect();
        let (input, file, number) = (&*self.input, &*self.source, self.line);
        builder.push(RawLine { input, file, number, fate, columns: &columns });
        Ok(())
    }
}
