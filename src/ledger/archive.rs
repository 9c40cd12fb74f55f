//! Reads the ledger: each target's state, its answer, and the totals of all calls. Changes nothing on disk, except
//! [`discard`].

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use jiff::{Timestamp, civil::Date};

use super::{
    FOLDER, LedgerError, Location, Lock,
    index::{Index, ResumeState, Spending, TargetEntry},
    inputs,
    record::{AnswerRecord, FORMAT, Record, RunHeader},
    segment::{End, FoundRecord, Segment},
    writer::FileDigest,
};
use crate::{
    api::call_events::TargetState,
    clock::Moment,
    fs::sync_folder,
    sha256,
    targets::{Inputs, TargetRef},
};

/// The content of a directory's ledger.
#[derive(Debug, Default)]
pub struct Archive {
    pub(super) segments: Vec<Segment>,
    pub(super) index: Index,
    pub(super) run: Option<RunHeader>,
    pub(super) inputs: inputs::Stored,
    /// Where the last complete record of the last file ends.
    pub(super) end: u64,
    /// The digests of files that this process has written, by their numbers.
    pub(super) written: BTreeMap<u32, FileDigest>,
}

/// An answer, or the latest result of a target that has none.
#[derive(Clone, Debug)]
pub struct StoredAnswer {
    pub answer: AnswerRecord,
    /// The run that paid for it, if that is another one.
    pub from_run_id: Option<String>,
}

/// A body, if it is not larger than the requested maximum.
#[derive(Clone, Debug)]
pub enum LoadedBody {
    Whole(Vec<u8>),
    /// It has this many bytes, which were not read.
    Larger(u64),
}

impl Archive {
    /// Reads the ledger of a run's directory; an empty one if it has none yet.
    pub fn read(dir: &Path) -> Result<Self, LedgerError> {
        let folder = dir.join(FOLDER);
        let mut archive = Self::default();
        let numbers = segment_numbers(&folder)?;
        for (index, number) in numbers.iter().copied().enumerate() {
            let segment = Segment::open(&folder.join(Segment::name(number)), number)?;
            if u32::try_from(index).is_ok_and(|expected| expected != number) {
                return Err(
                    segment.damaged(0, &format!("the previous file, {}, is missing", Segment::name(number - 1)))
                );
            }
            let end = segment.scan(|found| archive.take(&segment, found))?;
            archive.end = match end {
                End::Clean(end) => end,
                End::Torn(end) if index + 1 == numbers.len() => end,
                End::Torn(end) => {
                    return Err(segment.damaged(end, &"the file ends within a record, but another file follows"));
                }
            };
            archive.segments.push(segment);
        }
        Ok(archive)
    }

    fn take(&mut self, segment: &Segment, FoundRecord { location, record }: FoundRecord) -> Result<(), LedgerError> {
        let Some(record) = record else {
            self.inputs.note_chunk(location);
            return Ok(());
        };
        if matches!(record, Record::Run { format, .. } if format > FORMAT) {
            return Err(LedgerError::NewerVersion { path: segment.path.clone() });
        }
        self.index.apply(&record, location);
        match record {
            Record::Run { run, .. } if self.run.is_none() => self.run = Some(run),
            Record::Inputs(end) => {
                self.inputs.close(end).map_err(|error| segment.damaged(location.offset, &error))?;
            }
            _ => {}
        }
        Ok(())
    }

    /// The run of this directory; `None`: it was never started.
    pub fn run(&self) -> Option<&RunHeader> {
        self.run.as_ref()
    }

    /// The entry of a target; `None`: it was never called.
    pub fn entry(&self, target: TargetRef<'_>) -> Option<&TargetEntry> {
        self.index.get(target)
    }

    /// All targets that were ever called, in order of their first calls.
    pub fn requested(&self) -> impl Iterator<Item = (TargetRef<'_>, &TargetEntry)> {
        self.index.iter()
    }

    /// One of them, by its index in that order.
    pub fn entry_at(&self, number: u32) -> (TargetRef<'_>, &TargetEntry) {
        self.index.entry_at(number)
    }

    pub fn state(&self, target: TargetRef<'_>) -> TargetState {
        self.entry(target).map_or(TargetState::Pending, |entry| entry.state)
    }

    /// Whether a target's answer is stored and is not older than `since`, if given.
    pub fn is_fresh(&self, target: TargetRef<'_>, since: Option<Timestamp>) -> bool {
        self.entry(target).is_some_and(|entry| entry.is_fresh(since))
    }

    /// What the next calls have to respect.
    pub fn resume_state(&self, now: impl Into<Moment>) -> ResumeState {
        self.index.resume_state(now.into())
    }

    /// Syncs what was read: a process that was killed may have left unsynced records.
    pub fn sync(&self) -> Result<(), LedgerError> {
        let Some(last) = self.segments.last() else { return Ok(()) };
        last.file.sync_data().map_err(LedgerError::io("sync", &last.path))
    }

    pub fn spending(&self) -> Spending {
        self.index.spending()
    }

    /// The digest of the stored input lines; `None`: there are none.
    pub fn inputs_digest(&self) -> Option<&str> {
        self.inputs.digest()
    }

    /// The stored input lines, as they were read.
    pub fn inputs(&self) -> Result<Option<Inputs>, LedgerError> {
        self.inputs.read(|location| self.segment(location.segment).head(location))
    }

    /// A target's answer, or its latest result, without its body; `None`: none of its calls has a result.
    pub fn latest_result(&self, entry: &TargetEntry) -> Result<Option<StoredAnswer>, LedgerError> {
        entry.last().map(|location| self.head_at(&location)).transpose()
    }

    /// The same, after checking that the body is complete, without keeping it in memory.
    pub fn latest_verified_result(&self, entry: &TargetEntry) -> Result<Option<StoredAnswer>, LedgerError> {
        if let Some(location) = entry.last().filter(|location| location.body > 0) {
            let segment = self.segment(location.segment);
            let record = segment.parse(&segment.head(&location)?, location.offset)?;
            record.answer().map_or(Ok(()), |answer| segment.check_body(&location, answer))?;
        }
        self.latest_result(entry)
    }

    /// The latest result of a call that was to refresh a target's answer and failed, without its body.
    pub fn failed_refresh(&self, target: TargetRef<'_>) -> Result<Option<StoredAnswer>, LedgerError> {
        self.index.failed_refresh(target).map(|location| self.head_at(location)).transpose()
    }

    pub fn is_refresh_given_up(&self, target: TargetRef<'_>) -> bool {
        self.index.is_refresh_given_up(target)
    }

    /// The last day that was requested for the run or for any answer; `None` without a run.
    pub fn latest_date_to(&self) -> Option<Date> {
        let run = self.run.as_ref()?;
        Some(self.index.latest_date_to().map_or(run.parameters.date_to, |other| other.max(run.parameters.date_to)))
    }

    /// The last day that was requested for a target's answer, if it differs from the run's.
    pub fn own_date_to(&self, entry: &TargetEntry) -> Result<Option<Date>, LedgerError> {
        // Usually no answer has its own, and then no record needs to be read.
        self.index
            .latest_date_to()
            .map_or(Ok(None), |_| Ok(self.latest_result(entry)?.and_then(|stored| stored.answer.date_to)))
    }

    /// The body of a target's answer if it has at most `max_bytes` bytes; empty if there is none.
    pub fn body(&self, entry: &TargetEntry, max_bytes: u64) -> Result<LoadedBody, LedgerError> {
        entry.last().map_or(Ok(LoadedBody::Whole(Vec::new())), |location| {
            body_at(self.segment(location.segment), &location, max_bytes)
        })
    }

    fn head_at(&self, location: &Location) -> Result<StoredAnswer, LedgerError> {
        let segment = self.segment(location.segment);
        match segment.parse(&segment.head(location)?, location.offset)? {
            Record::Answer(answer) => Ok(StoredAnswer { answer: *answer, from_run_id: None }),
            Record::TakenOver(taken) => Ok(StoredAnswer { answer: taken.answer, from_run_id: Some(taken.from_run_id) }),
            _ => Err(segment.damaged(location.offset, &"the record is not an answer")),
        }
    }

    /// Checks that the body of every record is complete, including those of failed calls and of replaced answers.
    pub fn check_bodies(&self) -> Result<(), LedgerError> {
        for segment in &self.segments {
            segment.scan(|FoundRecord { location, record }| {
                let answer = record.as_ref().and_then(Record::answer).filter(|_| location.body > 0);
                answer.map_or(Ok(()), |answer| segment.check_body(&location, answer))
            })?;
        }
        Ok(())
    }

    /// The ledger's files, each with the number of bytes of its complete records.
    pub fn files(&self) -> Result<Vec<(PathBuf, u64)>, LedgerError> {
        let last = self.segments.len().saturating_sub(1);
        let bytes = |(index, segment): (usize, &Segment)| {
            Ok((segment.path.clone(), if index == last { self.end } else { segment.length()? }))
        };
        self.segments.iter().enumerate().map(bytes).collect()
    }

    /// The SHA-256 of the first `bytes` of a file, by its index in [`files`](Self::files).
    pub fn digest(&self, file: usize, bytes: u64) -> Result<String, LedgerError> {
        let segment = &self.segments[file];
        if let Some(written) = self.written.get(&segment.number).filter(|written| written.bytes == bytes) {
            return Ok(written.sha256.clone());
        }
        let digest = File::open(&segment.path).and_then(|file| sha256::of_reader(file.take(bytes)));
        digest.map_err(LedgerError::io("read", &segment.path))
    }

    /// Whether a crash left an incomplete record after the last complete one.
    pub fn is_torn(&self) -> Result<bool, LedgerError> {
        self.segments.last().map_or(Ok(false), |last| Ok(last.length()? > self.end))
    }

    /// The bytes of the largest answer.
    pub(super) fn largest(&self) -> u64 {
        self.index.iter().filter_map(|(_, entry)| entry.last()).map(|last| last.end() - last.offset).max().unwrap_or(0)
    }

    pub(super) fn segment(&self, number: u32) -> &Segment {
        // Files are numbered from 0 without gaps, which `read` has checked.
        &self.segments[number as usize]
    }
}

/// The body of the answer at a location if it has at most `max_bytes` bytes; empty if there is none.
pub(super) fn body_at(segment: &Segment, location: &Location, max_bytes: u64) -> Result<LoadedBody, LedgerError> {
    let head = segment.head(location)?;
    let record = segment.parse(&head, location.offset)?;
    match record.answer() {
        Some(answer) if answer.body_bytes > max_bytes => Ok(LoadedBody::Larger(answer.body_bytes)),
        Some(answer) if location.body > 0 => segment.body(location, &head, answer).map(LoadedBody::Whole),
        _ => Ok(LoadedBody::Whole(Vec::new())),
    }
}

/// Whether a directory has a ledger, even one without any file yet. A folder of the same name that only has other files
/// is not a ledger.
pub fn is_begun(dir: &Path) -> Result<bool, LedgerError> {
    let folder = dir.join(FOLDER);
    let fails = LedgerError::io("read", &folder);
    match fs::metadata(&folder) {
        Ok(metadata) if metadata.is_dir() => {}
        Err(error) if ![io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) => {
            return Err(fails(error));
        }
        _ => return Ok(false),
    }
    let is_empty = || fs::read_dir(&folder).map(|mut entries| entries.next().is_none());
    Ok(!segment_numbers(&folder)?.is_empty() || is_empty().map_err(fails)?)
}

/// The numbers of the files, in order.
pub(super) fn segment_numbers(folder: &Path) -> Result<Vec<u32>, LedgerError> {
    if fs::symlink_metadata(folder).is_ok_and(|metadata| metadata.is_symlink()) {
        return Err(LedgerError::Symlink { path: folder.to_owned() });
    }
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(LedgerError::io("read", folder)(source)),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let entry = entry.map_err(LedgerError::io("read", folder))?;
        numbers.extend(entry.file_name().to_str().and_then(Segment::number));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Permanently deletes the ledger of a locked directory.
pub fn discard(lock: &Lock) -> Result<(), LedgerError> {
    let folder = lock.dir.join(FOLDER);
    for number in segment_numbers(&folder)?.into_iter().rev() {
        let path = folder.join(Segment::name(number));
        fs::remove_file(&path).map_err(LedgerError::io("remove", &path))?;
    }
    sync_folder(&folder, LedgerError::io)
}
