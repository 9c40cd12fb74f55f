//! The archive and write-ahead log of paid answers in one: what is stored, and what is left to fetch.
//!
//! ```text
//! DIR/_raw/ledger-<n>.jsonl.gz   run | input… inputs | taken_over… | sent answer | sent answer | … | gave_up
//! ```
//!
//! Every record is one line of JSON in its own gzip members, so that the files are valid `.jsonl.gz` for any reader and
//! each answer can be read separately. The line of an answer has three members: the record, the body (a body that
//! arrived gzipped is stored byte for byte), and the end of the line. A call is recorded before it is sent, and its
//! answer as soon as it arrives; both are durable before anything else happens. Nothing is ever rewritten.
//!
//! - [`Archive`] reads: each target's state and answer. It changes nothing on disk.
//! - [`Ledger`] appends, for the one process that has the [`Lock`].

use std::{mem, path::PathBuf, sync::Arc};

use jiff::civil::Date;
use parking_lot::Mutex;

use crate::{
    api::call_events::{Answered, GaveUp, Sent},
    clock::{Clock, SinceBoot},
    fs::sync_folder,
    targets::Inputs,
};

mod append;
mod archive;
mod error;
mod index;
mod inputs;
mod interference;
mod lock;
mod members;
mod reader;
mod record;
mod segment;
mod takeover;
mod writer;

use self::{
    append::Appender,
    interference::make_folder,
    members::{BodyMember, CLOSING_BYTES, Compressor},
    record::{FORMAT, InputsEnd, Record, WrittenBody},
    writer::{ClosedLedger, LedgerWriter, Purpose},
};
pub use self::{
    archive::{Archive, LoadedBody, StoredAnswer, discard, is_begun},
    error::LedgerError,
    index::{ResumeState, Spending, TargetEntry},
    inputs::digest,
    lock::Lock,
    reader::LedgerReader,
    record::{AnswerRecord, CostSource, RunHeader},
    takeover::Copied,
};

/// The ledger's folder in a run's directory.
pub const FOLDER: &str = "_raw";

/// Where a record is: the member of its line, followed by those of its body and of the line's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Location {
    segment: u32,
    /// Bytes of the member of the line, or of its beginning.
    head: u32,
    /// Bytes of the members of the body and of the line's end; 0 without a body.
    body: u32,
    offset: u64,
}

impl Location {
    fn end(&self) -> u64 {
        self.offset + u64::from(self.head) + u64::from(self.body)
    }
}

/// Capacity for the head of an answer: most have about 700 bytes.
const ROOM_FOR_HEAD: usize = 1024;

/// The only writer of a directory's ledger.
pub struct Ledger {
    folder: PathBuf,
    /// Adds a time to records that later processes can compare; `None`: only the wall clock's.
    clock: Option<Clock>,
    compressor: Compressor,
    appender: Appender,
    archive: Arc<Mutex<Archive>>,
    /// The last day that calls request, if it differs from the run's.
    date_to: Option<Date>,
}

impl Ledger {
    /// Opens the ledger to append after the content of `archive`, and reserves space for the answers of `in_flight`
    /// calls before they are sent; removes an incomplete record that a crash left.
    pub fn open(mut archive: Archive, lock: &Lock, clock: Option<Clock>, in_flight: u32) -> Result<Self, LedgerError> {
        let mut earlier = mem::take(&mut archive.segments);
        let (number, end) = earlier.pop().map_or((0, 0), |segment| (segment.number, archive.end));
        let folder = lock.dir.join(FOLDER);
        make_folder(&folder)?;
        sync_folder(&lock.dir, LedgerError::io)?;
        let writer = LedgerWriter::open(&folder, number, end, in_flight, archive.largest())?;
        let appender = Appender::start(writer.after(earlier));
        let compressor = Compressor::default();
        Ok(Self { folder, clock, compressor, appender, archive: Arc::new(Mutex::new(archive)), date_to: None })
    }

    /// Sets the last day that calls request from now on; by default that of the run.
    #[must_use]
    pub fn with_date_to(self, day: Date) -> Self {
        let of_run = self.archive.lock().run.as_ref().map(|run| run.parameters.date_to);
        Self { date_to: Some(day).filter(|day| of_run != Some(*day)), ..self }
    }

    /// The last day that was requested for the run or for any answer; `None` without a run.
    pub fn latest_date_to(&self) -> Option<Date> {
        self.archive.lock().latest_date_to()
    }

    /// Records the start of the run.
    pub async fn start(&self, run: &RunHeader) -> Result<(), LedgerError> {
        self.append(Purpose::BeforeCall, Record::Run { format: FORMAT, run: run.clone() }).await?;
        self.archive.lock().run = Some(run.clone());
        Ok(())
    }

    /// Records the input lines; they count once all are stored.
    pub async fn set_inputs(&self, inputs: &Inputs) -> Result<(), LedgerError> {
        let (mut digest, mut stored, mut chunks) = (inputs::Digest::default(), inputs::Stored::default(), 0);
        for chunk in inputs::chunks(inputs) {
            digest.add(&chunk);
            chunks += 1;
            let member = self.compressor.member(|out| out.write_all(&chunk));
            let (member, _) = member.map_err(LedgerError::io("compress data for", &self.folder))?;
            let location = self.appender.append(Purpose::BeforeCall, member, 0).await?;
            stored.note_chunk(location);
        }
        let lines = inputs.lines().len() as u64;
        let end = InputsEnd { chunks, lines, columns: inputs.columns().to_vec(), sha256: digest.finish(inputs) };
        self.append(Purpose::BeforeCall, Record::Inputs(end.clone())).await?;
        stored.close(end).expect("every chunk was noted");
        self.archive.lock().inputs = stored;
        Ok(())
    }

    /// Records that a call is about to be sent.
    pub async fn sent(&self, sent: &Sent) -> Result<(), LedgerError> {
        self.append(Purpose::BeforeCall, Record::sent(sent, self.since_boot(), self.date_to)).await
    }

    /// Records that a call was not sent after all.
    pub async fn called_off(&self, sent: &Sent) -> Result<(), LedgerError> {
        let Sent { target, attempt, at, .. } = sent.clone();
        self.append(Purpose::Result, Record::CalledOff { target, attempt, at }).await
    }

    /// Records the result of a call, with its body.
    pub async fn answered(&self, answered: &Answered) -> Result<(), LedgerError> {
        let record = |member| {
            let answer = AnswerRecord::of(answered, member, self.since_boot(), self.date_to);
            Record::Answer(Box::new(answer))
        };
        let Some(body) = &answered.body else {
            return self.append(Purpose::Result, record(BodyMember::default())).await;
        };
        let written = WrittenBody::of(body, answered.assessment.json);
        let compressed;
        let (member, described) = if let Some(gzip) = body.gzip().filter(|_| written.is_verbatim()) {
            (&gzip[..], BodyMember::of_server(gzip))
        } else {
            let made = self.compressor.member(|out| written.write(out));
            let (member, described) = made.map_err(LedgerError::io("compress data for", &self.folder))?;
            compressed = member;
            (&compressed[..], described)
        };
        let record = record(described);
        let mut bytes = Vec::with_capacity(ROOM_FOR_HEAD + member.len() + CLOSING_BYTES);
        members::push_stored(&mut bytes, &record::answer_head(&record, written.key));
        bytes.extend_from_slice(member);
        bytes.extend_from_slice(members::closing_member());
        let location = self.appender.append(Purpose::Result, bytes, member.len() + CLOSING_BYTES).await?;
        self.note(&record, location);
        Ok(())
    }

    /// Records that a target was given up in this run.
    pub async fn gave_up(&self, gave_up: &GaveUp) -> Result<(), LedgerError> {
        self.append(Purpose::Result, Record::from(gave_up)).await
    }

    /// Stops writing and returns the recorded content.
    pub async fn close(self) -> Result<Archive, LedgerError> {
        let archive = mem::take(&mut *self.archive.lock());
        let ClosedLedger { segments, end, digests } = self.appender.close().await?;
        Ok(Archive { segments, end, written: digests, ..archive })
    }

    /// A reader of answers for the time in which this ledger is written.
    pub fn reader(&self) -> LedgerReader {
        LedgerReader::new(self.folder.clone(), Arc::clone(&self.archive))
    }

    fn since_boot(&self) -> Option<SinceBoot> {
        self.clock.and_then(|clock| clock.moment().since_boot)
    }

    async fn append(&self, purpose: Purpose, record: Record) -> Result<(), LedgerError> {
        let member = members::stored(&record::to_line(&record));
        let location = self.appender.append(purpose, member, 0).await?;
        self.note(&record, location);
        Ok(())
    }

    fn note(&self, record: &Record, location: Location) {
        self.archive.lock().index.apply(record, location);
    }
}
