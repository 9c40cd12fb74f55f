//! The ledger as any outsider reads it: zstd frames one after another that make up lines of JSON.
//!
//! Every frame is decompressed and its checksum looked at, every line is read as JSON, bodies included, as far as
//! the dataset's record says that the ledger was read. The export's own reader is not used.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use jiff::civil::Date;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, Visitor},
};
use sha2::{Digest, Sha256};
use zstd::{bulk::Decompressor, zstd_safe};

use super::{
    account::{Accounts, Details, Line, Place},
    differences::Differences,
    frames::{Frames, LONGEST_TAIL, Next, content, content_size, has_checksum, hex, something_whole},
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
    /// Where lines of input lie that no record has closed yet, and how many there are.
    open_lines: Vec<(Place, usize)>,
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
            compare_length(&path, &label, *bytes, (record.dir == Path::new("."), differences));
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
        self.files.push(file.try_clone()?);
        let mut frames = Frames::new(&mut file, end);
        let mut decompressor = Decompressor::new()?;
        let (mut line, mut head, mut offset, mut begun) = (Vec::new(), 0, 0_u64, 0_u64);
        let torn = loop {
            let size = match frames.next().map_err(|reason| Stop::Damaged(offset, reason))? {
                Next::Frame(size) => size,
                Next::End => break (!line.is_empty()).then_some(begun),
                Next::Torn => {
                    frames.must_be_torn(end - offset).map_err(|reason| Stop::Damaged(offset, reason))?;
                    break Some(begun);
                }
            };
            let at = offset;
            let damaged = |reason| Stop::Damaged(at, reason);
            let frame = frames.take(size);
            // A body that makes no rows is measured on the way, and never held.
            let is_large = !line.is_empty() && content_size(frame).is_some_and(|size| size > LARGEST_HELD);
            let measured = if is_large {
                Some(measure(&line, frame).map_err(damaged)?)
            } else {
                line.append(&mut content(&mut decompressor, frame).map_err(damaged)?);
                None
            };
            offset += size as u64;
            if begun + size as u64 == offset {
                head = size;
            }
            if is_large || line.ends_with(b"\n") {
                let place = self.place(begun, (offset - begun, head)).map_err(damaged)?;
                self.take(&mut line, measured, place).map_err(|reason| Stop::Damaged(begun, reason))?;
                line.clear();
                begun = offset;
            }
        };
        let digest = frames.finish()?;
        self.bytes += offset;
        Ok((torn, digest))
    }

    /// A line of the last file.
    fn place(&self, offset: u64, (length, head): (u64, usize)) -> Result<Place, String> {
        let narrow = |number: u64| u32::try_from(number).map_err(|_| "a line of more than four gigabytes".to_owned());
        let file = (self.files.len() - 1) as u64;
        Ok(Place { offset, length: narrow(length)?, head: narrow(head as u64)?, file: narrow(file)? })
    }

    /// Understands a line, or some of input. Of a line whose body was `measured`, that body is missing.
    fn take(&mut self, text: &mut Vec<u8>, measured: Option<u64>, place: Place) -> Result<(), String> {
        if text.starts_with(b"{\"record\":\"input\",") {
            self.open_lines.push((place, memchr::memchr_iter(b'\n', text).count()));
            return Ok(());
        }
        if measured.is_some() {
            text.extend_from_slice(NO_BODY);
        }
        let line = serde_json::from_slice(text).map_err(|error| format!("it is no line of JSON: {error}"));
        let mut line: Line<'_> = line?;
        line.measured = measured;
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
        let open = std::mem::take(&mut self.open_lines);
        let (wanted, columns) = end.lines.zip(end.columns.clone()).ok_or("input lines without an end")?;
        let there: usize = open.iter().map(|(_, lines)| lines).sum();
        let mut before = there.checked_sub(wanted).ok_or("some input lines are missing")?;
        let mut digest = Sha256::new();
        let mut builder = InputsBuilder::new();
        for (place, lines) in open {
            let skipped = before.min(lines);
            before -= skipped;
            if skipped == lines {
                continue;
            }
            let text = self.line(place).map_err(|error| error.to_string())?;
            for line in text.split_inclusive(|byte| *byte == b'\n').skip(skipped) {
                digest.update(line);
                let line: InputLine =
                    serde_json::from_slice(line).map_err(|error| format!("an input line: {error}"))?;
                line.push(&mut builder)?;
            }
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
        self.frames(place, place.length)
    }

    /// What a line says besides its body.
    pub(super) fn details(&self, place: Place) -> io::Result<Details> {
        let mut head = self.frames(place, place.head)?;
        if place.head < place.length {
            head.extend_from_slice(NO_BODY);
        }
        let line: Line<'_> = serde_json::from_slice(&head)?;
        Details::of(&line).ok_or_else(|| broken("the line is not what it was".to_owned()))
    }

    fn frames(&self, place: Place, length: u32) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length as usize];
        self.files[place.file as usize].read_exact_at(&mut bytes, place.offset)?;
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

/// What ends a line of which the body is left out.
const NO_BODY: &[u8] = b"null}";
/// Bodies whose frame holds more are measured, not held: they are larger than any that makes rows.
const LARGEST_HELD: usize = 2 * 8 * 1024 * 1024;

fn broken(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The length of the body in a frame that follows the beginning of its line.
fn measure(head: &[u8], frame: &[u8]) -> Result<u64, String> {
    /// A body of which only the length is kept.
    #[derive(Deserialize)]
    struct Tail {
        body: Option<IgnoredAny>,
        body_text: Option<Length>,
        body_latin1: Option<Length>,
    }
    has_checksum(frame)?;
    let fails = |error: &dyn std::fmt::Display| format!("it is no line of JSON: {error}");
    let decoder = zstd::Decoder::with_buffer(frame).map_err(|error| fails(&error))?.single_frame();
    let tail = serde_json::from_reader(head.chain(BufReader::new(decoder))).map_err(|error| fails(&error))?;
    match tail {
        // Without what closes the line.
        Tail { body: Some(IgnoredAny), body_text: None, body_latin1: None } => {
            Ok(content_size(frame).map_or(0, |size| size as u64).saturating_sub(2))
        }
        Tail { body: None, body_text: Some(length), body_latin1: None } => Ok(length.bytes),
        Tail { body: None, body_text: None, body_latin1: Some(length) } => Ok(length.characters),
        _ => Err("a line of which nobody knows what its body is".to_owned()),
    }
}

/// A text of which only the length is kept.
struct Length {
    bytes: u64,
    characters: u64,
}

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Measure;
        impl Visitor<'_> for Measure {
            type Value = Length;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a text")
            }

            fn visit_str<E>(self, text: &str) -> Result<Length, E> {
                Ok(Length { bytes: text.len() as u64, characters: text.chars().count() as u64 })
            }
        }
        deserializer.deserialize_str(Measure)
    }
}

/// Compares a file's length with how far it was read for the dataset.
fn compare_length(path: &Path, label: &str, bytes: u64, (is_own, differences): (bool, &Differences)) {
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
        let torn =
            format!("ends within a line, at byte {bytes}: torn by a crash, or added by somebody, and never counted");
        if is_own {
            differences.add(label, format!("{torn}; run the same command again, which cuts that off"));
        } else {
            differences.note(format!("{label} {torn}"));
        }
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
            (Some(target), None) => RawFate::Target(target.view()),
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
