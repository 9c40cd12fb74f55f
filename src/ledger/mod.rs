//! The archive and write-ahead log of paid answers, in one: says what is held and what is left to buy.
//!
//! ```text
//! DIR/_raw/ledger-<n>.jsonl.zst   run | input… inputs | taken_over… | sent answer | sent answer | … | gave_up
//! ```
//!
//! Every record is one line of JSON in zstd frames of its own, so that the files are valid `.jsonl.zst`
//! for any reader and each answer can be read alone. A call is recorded before it goes out, its answer
//! as soon as it is there; both are durable before anything else happens. Nothing is ever rewritten.
//!
//! - [`Archive`] reads: what each target's standing is, and its answer. It changes nothing on the disk.
//! - [`Ledger`] appends, for the one process that holds the [`Lock`].

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::{Timestamp, civil::Date};

use crate::{
    api::record::{Answered, GaveUp, Sent, Standing},
    clock::{Clock, Moment, SinceBoot},
    targets::{Inputs, Target},
};

mod append;
mod frame;
mod index;
mod inputs;
mod record;
mod segment;
mod takeover;

use self::{
    append::{Appender, Purpose, Tail},
    frame::Press,
    index::Index,
    record::{Answer, InputsEnd, Record},
    segment::{End, Found, Segment},
};
pub use self::{
    index::{Known, Past, Spending},
    inputs::digest,
    record::{CostSource, Run},
    takeover::Copied,
};

/// The folder of a run's directory in which the ledger lies.
pub const FOLDER: &str = "_raw";

/// Why the ledger cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file system refuses.
    #[error("cannot {verb} {}: {source}{}", path.display(), advice(source))]
    Io {
        /// What was attempted.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// The file system's answer.
        source: Arc<io::Error>,
    },
    /// Another process exports into this directory.
    #[error("{} is in use by another run", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The ledger's place leads elsewhere.
    #[error("{} is a symbolic link; a ledger lies in the directory itself, where nobody else can exchange it", path.display())]
    Symlink {
        /// The link.
        path: PathBuf,
    },
    /// A file is not what was written.
    #[error("{} is damaged at byte {offset}: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the first record that does not fit begins.
        offset: u64,
        /// What does not fit.
        reason: String,
    },
    /// The input lines that are kept are not what was written.
    #[error("the input lines in the ledger cannot be used: {reason}")]
    Inputs {
        /// What does not fit.
        reason: String,
    },
    /// The writing has ended.
    #[error("the ledger is closed")]
    Closed,
}

impl LedgerError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::InUse { .. } => "wait for it to end, or give another --out".to_owned(),
            Self::Damaged { offset, .. } => format!(
                "put back a sound copy of the file; or keep a copy and cut it there (truncate --size={offset}), which gives up what follows"
            ),
            Self::Symlink { .. } => "remove the link, or give another --out".to_owned(),
            Self::Io { .. } | Self::Inputs { .. } | Self::Closed => {
                "everything fetched is kept; once that is mended, run the same command again".to_owned()
            }
        }
    }

    fn io(verb: &'static str, path: &Path, source: io::Error) -> Self {
        // What opening a link says where links are not followed.
        if source.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
            return Self::Symlink { path: path.to_owned() };
        }
        Self::Io { verb, path: path.to_owned(), source: Arc::new(source) }
    }

    /// Whether the disk, or the user's share of it, has no room left.
    fn is_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if is_full(source))
    }
}

fn is_full(source: &io::Error) -> bool {
    matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn advice(source: &io::Error) -> &'static str {
    if is_full(source) { "; free some space and run the same command again" } else { "" }
}

/// Where a record lies: the frame of its line, and right behind it that of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Location {
    segment: u32,
    /// Bytes of the frame of the line, or of its beginning.
    head: u32,
    /// Bytes of the frame of the body; 0: there is none.
    body: u32,
    offset: u64,
}

impl Location {
    fn end(&self) -> u64 {
        self.offset + u64::from(self.head) + u64::from(self.body)
    }
}

/// Looks at a lock that another process holds. One that was killed gives it back when the system has cleared it away,
/// which a sync under way can hold up.
const LOOKS_AT_LOCK: u32 = 50;
/// The time between two of them.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Keeps other processes from exporting into the same directory, as long as it lives.
#[derive(Debug)]
pub struct Lock {
    dir: PathBuf,
    _open: File,
}

impl Lock {
    /// Takes the lock of a run's directory, making the directory where there is none.
    pub fn take(dir: &Path) -> Result<Self, LedgerError> {
        fs::create_dir_all(dir).map_err(|source| LedgerError::io("make", dir, source))?;
        Self::wait(dir, File::try_lock)
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Keeps runs out of a directory that is only read; others may read it, too.
    pub fn share(dir: &Path) -> Result<Self, LedgerError> {
        Self::wait(dir, File::try_lock_shared)
    }

    fn wait(dir: &Path, lock: impl Fn(&File) -> Result<(), TryLockError>) -> Result<Self, LedgerError> {
        let open = File::open(dir).map_err(|source| LedgerError::io("open", dir, source))?;
        for look in 1.. {
            match lock(&open) {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if look < LOOKS_AT_LOCK => std::thread::park_timeout(BETWEEN_LOOKS),
                Err(TryLockError::WouldBlock) => return Err(LedgerError::InUse { path: dir.to_owned() }),
                Err(TryLockError::Error(source)) => return Err(LedgerError::io("lock", dir, source)),
            }
        }
        Ok(Self { dir: dir.to_owned(), _open: open })
    }
}

/// What a directory's ledger holds.
#[derive(Debug, Default)]
pub struct Archive {
    segments: Vec<Segment>,
    index: Index,
    run: Option<Run>,
    inputs: Option<inputs::Stored>,
    /// Where the last file's whole records end.
    end: u64,
}

/// An answer, or the latest result of a target that has none.
#[derive(Clone, Debug)]
pub struct Kept {
    /// HTTP status.
    pub http_status: Option<u16>,
    /// The status code inside the body.
    pub api_status_code: Option<i64>,
    /// What the API or the network said.
    pub message: Option<String>,
    /// The API's id of the task.
    pub task_id: Option<String>,
    /// From the first byte sent to the last received, in milliseconds.
    pub latency_ms: u64,
    /// When it was complete.
    pub at: Timestamp,
    /// What it means: a word of `api::status::Class`.
    pub class: String,
    /// The last day asked for, where it is not the run's.
    pub date_to: Option<Date>,
    /// The run that has paid for it, where that is another one.
    pub from_run_id: Option<String>,
    /// The body, verbatim.
    pub body: Option<Vec<u8>>,
}

/// A body, if it is no larger than was asked for.
#[derive(Clone, Debug)]
pub enum Body {
    /// Verbatim.
    Whole(Vec<u8>),
    /// It has this many bytes, which were not read.
    Larger(u64),
}

impl Archive {
    /// Reads the ledger of a run's directory; an empty one where there is none yet.
    pub fn read(dir: &Path) -> Result<Self, LedgerError> {
        let folder = dir.join(FOLDER);
        let mut archive = Self::default();
        let numbers = segment_numbers(&folder)?;
        for (place, number) in numbers.iter().copied().enumerate() {
            let segment = Segment::open(&folder.join(Segment::name(number)), number)?;
            if u32::try_from(place).is_ok_and(|expected| expected != number) {
                return Err(
                    segment.damaged(0, &format!("the file before it, {}, is missing", Segment::name(number - 1)))
                );
            }
            let end = segment.scan(|found| archive.take(&segment, found))?;
            archive.end = match end {
                End::Clean(end) => end,
                End::Torn(end) if place + 1 == numbers.len() => end,
                End::Torn(end) => {
                    return Err(segment.damaged(end, &"the file ends within a record, yet another follows"));
                }
            };
            archive.segments.push(segment);
        }
        Ok(archive)
    }

    fn take(&mut self, segment: &Segment, Found { location, record }: Found) -> Result<(), LedgerError> {
        let Some(record) = record else {
            inputs::Stored::note_chunk(&mut self.inputs, location);
            return Ok(());
        };
        let damaged = |reason: &dyn std::fmt::Display| segment.damaged(location.offset, reason);
        self.index.take(&record, location).map_err(|error| damaged(&error))?;
        match record {
            Record::Run(run) if self.run.is_none() => self.run = Some(run),
            Record::Inputs(end) => inputs::Stored::close(&mut self.inputs, end).map_err(|error| damaged(&error))?,
            _ => {}
        }
        Ok(())
    }

    /// What the run of this directory is; `None`: it was never started.
    pub fn run(&self) -> Option<&Run> {
        self.run.as_ref()
    }

    /// What is known of a target; `None`: never asked.
    pub fn known(&self, target: &Target) -> Option<&Known> {
        self.index.get(target)
    }

    /// All targets that were ever asked about, in no order.
    pub fn asked(&self) -> impl Iterator<Item = (&Target, &Known)> {
        self.index.iter()
    }

    /// Where a target stands.
    pub fn standing(&self, target: &Target) -> Standing {
        self.known(target).map_or(Standing::Pending, |known| known.standing)
    }

    /// Whether a target's answer is held and came no earlier than `since`, if that is given.
    pub fn is_held_since(&self, target: &Target, since: Option<Timestamp>) -> bool {
        self.known(target).is_some_and(|known| known.is_held_since(since))
    }

    /// What the next calls have to heed.
    pub fn past(&self, now: impl Into<Moment>) -> Past {
        self.index.past(now.into())
    }

    /// Makes durable what was read: a process that was killed may have left records that no sync has seen.
    pub fn sync(&self) -> Result<(), LedgerError> {
        let Some(last) = self.segments.last() else { return Ok(()) };
        last.file.sync_data().map_err(|source| LedgerError::io("sync", &last.path, source))
    }

    /// What all calls came to.
    pub fn spending(&self) -> Spending {
        self.index.spending()
    }

    /// The digest of the input lines that are kept; `None`: there are none.
    pub fn inputs_digest(&self) -> Option<&str> {
        self.inputs.as_ref()?.digest()
    }

    /// The input lines that are kept, as they were read.
    pub fn inputs(&self) -> Result<Option<Inputs>, LedgerError> {
        self.inputs
            .as_ref()
            .map_or(Ok(None), |stored| stored.read(|location| self.segment(location.segment).head(location)))
    }

    /// A target's answer, or its latest result; `None`: nothing came of any call.
    pub fn kept(&self, known: &Known) -> Result<Option<Kept>, LedgerError> {
        known.last().map(|location| self.kept_at(location, true)).transpose()
    }

    /// The same without the body, which is not read.
    pub fn head(&self, known: &Known) -> Result<Option<Kept>, LedgerError> {
        known.last().map(|location| self.kept_at(location, false)).transpose()
    }

    /// The latest result of a call that was to refresh a target's answer and did not, without its body.
    pub fn refusal(&self, target: &Target) -> Result<Option<Kept>, LedgerError> {
        self.index.refusal(target).map(|location| self.kept_at(location, false)).transpose()
    }

    /// Whether a target's answer was to be refreshed, and that was given up.
    pub fn is_refresh_given_up(&self, target: &Target) -> bool {
        self.index.is_refresh_given_up(target)
    }

    /// The last day that any answer was asked for; `None`: there is none.
    pub fn asked_up_to(&self) -> Option<Date> {
        let run = self.run.as_ref()?;
        Some(self.index.asked_up_to().map_or(run.parameters.date_to, |other| other.max(run.parameters.date_to)))
    }

    /// The body of a target's answer if it has `most` bytes at most; of no bytes where there is none.
    pub fn body(&self, known: &Known, most: u64) -> Result<Body, LedgerError> {
        let Some(location) = known.last() else { return Ok(Body::Whole(Vec::new())) };
        let segment = self.segment(location.segment);
        let head = segment.head(location)?;
        match record::parse(&head) {
            Ok(record) if record.answer().is_some_and(|answer| answer.body_bytes > most) => {
                Ok(Body::Larger(record.answer().map_or(0, |answer| answer.body_bytes)))
            }
            _ if location.body == 0 => Ok(Body::Whole(Vec::new())),
            _ => segment.body(location, &head).map(Body::Whole),
        }
    }

    fn kept_at(&self, location: &Location, with_body: bool) -> Result<Kept, LedgerError> {
        let segment = self.segment(location.segment);
        let head = segment.head(location)?;
        let damaged = |reason: &dyn std::fmt::Display| segment.damaged(location.offset, reason);
        let (answer, from_run_id) = match record::parse(&head).map_err(|error| damaged(&error))? {
            Record::Answer(answer) => (*answer, None),
            Record::TakenOver(taken) => (taken.answer, Some(taken.from_run_id)),
            _ => return Err(damaged(&"it is no answer")),
        };
        let body = (with_body && location.body > 0).then(|| segment.body(location, &head)).transpose()?;
        let Answer { http_status, api_status_code, message, task_id, latency_micros, at, class, date_to, .. } = answer;
        let latency_ms = latency_micros / 1000;
        Ok(Kept { http_status, api_status_code, message, task_id, latency_ms, at, class, date_to, from_run_id, body })
    }

    /// The ledger's files with their sizes in bytes.
    pub fn files(&self) -> Result<Vec<(PathBuf, u64)>, LedgerError> {
        self.segments.iter().map(|segment| Ok((segment.path.clone(), segment.length()?))).collect()
    }

    fn segment(&self, number: u32) -> &Segment {
        // Files are numbered from 0 without gaps, which `read` has made sure of.
        &self.segments[number as usize]
    }
}

fn segment_numbers(folder: &Path) -> Result<Vec<u32>, LedgerError> {
    if fs::symlink_metadata(folder).is_ok_and(|metadata| metadata.is_symlink()) {
        return Err(LedgerError::Symlink { path: folder.to_owned() });
    }
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(LedgerError::io("read", folder, source)),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| LedgerError::io("read", folder, source))?;
        numbers.extend(entry.file_name().to_str().and_then(Segment::number));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Removes the ledger of a locked directory, for good.
pub fn discard(lock: &Lock) -> Result<(), LedgerError> {
    let folder = lock.dir.join(FOLDER);
    for number in segment_numbers(&folder)?.into_iter().rev() {
        let path = folder.join(Segment::name(number));
        fs::remove_file(&path).map_err(|source| LedgerError::io("remove", &path, source))?;
    }
    append::sync_folder(&folder)
}

/// Calls in flight unless said otherwise.
const USUAL_IN_FLIGHT: u32 = 30;

/// The one writer of a directory's ledger.
pub struct Ledger {
    folder: PathBuf,
    /// Stamps records with a time that later processes can compare; `None`: with the wall clock's alone.
    clock: Option<Clock>,
    press: Press,
    appender: Appender,
    archive: Mutex<Archive>,
    /// The last day that calls ask for, where it is not the run's.
    date_to: Option<Date>,
}

impl Ledger {
    /// Goes on at the end of what `archive` holds, cutting off what a crash has torn.
    pub fn open(archive: Archive, lock: &Lock) -> Result<Self, LedgerError> {
        Self::open_for(archive, lock, None, USUAL_IN_FLIGHT)
    }

    /// The same for so many calls `in_flight`, for whose answers room is made sure of before they go out.
    pub fn open_for(archive: Archive, lock: &Lock, clock: Option<Clock>, in_flight: u32) -> Result<Self, LedgerError> {
        let (number, end) = archive.segments.last().map_or((0, 0), |segment| (segment.number, archive.end));
        let folder = lock.dir.join(FOLDER);
        // Paid answers, and whose sites somebody asks about, are nobody else's to read.
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.map_err(|source| LedgerError::io("make", &folder, source))?;
        append::sync_folder(&lock.dir)?;
        let appender = Appender::start(Tail::open(&folder, number, end, in_flight)?);
        let press = Press::default();
        Ok(Self { folder, clock, press, appender, archive: Mutex::new(archive), date_to: None })
    }

    /// Says up to which day the calls from now on ask; by default that is what the run was started with.
    #[must_use]
    pub fn asking_up_to(self, day: Date) -> Self {
        let of_run = self.archive().run.as_ref().map(|run| run.parameters.date_to);
        Self { date_to: Some(day).filter(|day| of_run != Some(*day)), ..self }
    }

    /// Records the run's beginning.
    pub async fn start(&self, run: &Run) -> Result<(), LedgerError> {
        self.append(Purpose::Ahead, Record::Run(run.clone())).await?;
        self.archive().run = Some(run.clone());
        Ok(())
    }

    /// Records the input lines; they count once all are there.
    pub async fn set_inputs(&self, inputs: &Inputs) -> Result<(), LedgerError> {
        let (mut digest, mut stored, mut chunks) = (inputs::Digest::default(), None, 0);
        for chunk in inputs::chunks(inputs) {
            digest.add(&chunk);
            chunks += 1;
            let frame = self.frame(&chunk)?;
            let location = self.appender.append(Purpose::Ahead, frame, 0).await?;
            inputs::Stored::note_chunk(&mut stored, location);
        }
        let lines = inputs.lines().len() as u64;
        let end = InputsEnd { chunks, lines, columns: inputs.columns().to_vec(), sha256: digest.finish(inputs) };
        self.append(Purpose::Ahead, Record::Inputs(end.clone())).await?;
        inputs::Stored::close(&mut stored, end).expect("every chunk was noted");
        self.archive().inputs = stored;
        Ok(())
    }

    /// Records that a call is about to go out.
    pub async fn sent(&self, sent: &Sent) -> Result<(), LedgerError> {
        self.append(Purpose::Ahead, Record::sent(sent, self.since_boot(), self.date_to)).await
    }

    /// Records that a call did not go out after all.
    pub async fn called_off(&self, sent: &Sent) -> Result<(), LedgerError> {
        let Sent { target, attempt, at, .. } = sent.clone();
        self.append(Purpose::Result, Record::CalledOff { target, attempt, at }).await
    }

    /// Records what came of a call, with its body.
    pub async fn answered(&self, answered: &Answered) -> Result<(), LedgerError> {
        let Some(body) = &answered.body else {
            let answer = Answer::of(answered, 0, self.since_boot(), self.date_to);
            return self.append(Purpose::Result, Record::Answer(Box::new(answer))).await;
        };
        let written = record::Tail::of(body, answered.assessment.json);
        let mut answer = None;
        let framed = self.press.two_frames(
            |body| {
                let record = Answer::of(answered, body as u64, self.since_boot(), self.date_to);
                record::answer_head(answer.insert(Record::Answer(Box::new(record))), written.key)
            },
            |out| written.write(out),
        );
        let (bytes, tail) = framed.map_err(|source| self.uncompressed(source))?;
        let location = self.appender.append(Purpose::Result, bytes, tail).await?;
        let answer = answer.expect("made with its frame");
        self.note(&answer, location);
        Ok(())
    }

    /// Records that a target was given up for this run.
    pub async fn gave_up(&self, gave_up: &GaveUp) -> Result<(), LedgerError> {
        self.append(Purpose::Result, Record::from(gave_up)).await
    }

    /// Ends the writing; what was recorded can be read from now on.
    pub async fn close(self) -> Result<Archive, LedgerError> {
        self.appender.close().await?;
        let mut archive = self.archive.into_inner().unwrap_or_else(PoisonError::into_inner);
        archive.segments.clear();
        for number in segment_numbers(&self.folder)? {
            let segment = Segment::open(&self.folder.join(Segment::name(number)), number)?;
            archive.end = segment.length()?;
            archive.segments.push(segment);
        }
        Ok(archive)
    }

    fn since_boot(&self) -> Option<SinceBoot> {
        self.clock.and_then(|clock| clock.moment().since_boot)
    }

    async fn append(&self, purpose: Purpose, record: Record) -> Result<(), LedgerError> {
        let frame = self.frame(&record::line(&record))?;
        let location = self.appender.append(purpose, frame, 0).await?;
        self.note(&record, location);
        Ok(())
    }

    fn note(&self, record: &Record, location: Location) {
        self.archive().index.take(record, location).expect("this version knows its own words");
    }

    fn frame(&self, content: &[u8]) -> Result<Vec<u8>, LedgerError> {
        self.press.frame(content).map_err(|source| self.uncompressed(source))
    }

    fn uncompressed(&self, source: io::Error) -> LedgerError {
        LedgerError::io("compress for", &self.folder, source)
    }

    fn archive(&self) -> MutexGuard<'_, Archive> {
        self.archive.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
