//! The rows of all targets in order: those that the fetch has just decoded, else those of the ledger.
//!
//! One thread writes. Answers that have to be read back from the ledger are decoded by a few others, a little ahead of
//! it, so that memory is bounded regardless of the number of targets and the size of their answers. Which rows come in
//! which order does not depend on threads, on the fetch, or on what fit into memory.

use std::{
    collections::VecDeque,
    num::NonZeroUsize,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use jiff::civil::Date;
use parking_lot::Mutex;

use super::{
    ExportError,
    row_buffer::{RowBuffer, RowState},
    rows::AnswerRows,
};
use crate::{
    decode::{DecodeError, Decoder, MAX_ANSWER_BYTES, MAX_BYTES_AHEAD},
    ledger::{LedgerError, LoadedBody},
    targets::TargetRef,
};

/// Targets that are prepared ahead of the writer: about 2 MB of rows.
const AHEAD: usize = 16;
/// Maximum decoding threads; the writer cannot keep up with more.
const MAX_THREADS: usize = 4;

/// Answers that can be read from the ledger, by position in the order of the rows.
pub(super) trait AnswerSource: Sync {
    fn len(&self) -> u32;
    fn target(&self, position: u32) -> TargetRef<'_>;
    /// The day (UTC) on which the run that has the target's answer began.
    fn run_date(&self, position: u32) -> Date;
    /// The body of the target's answer, if it has at most `max_bytes` bytes; `None`: it has no answer with rows. Called
    /// once the target is final.
    fn read(&self, position: u32, max_bytes: u64) -> Result<Option<LoadedBody>, LedgerError>;
}

/// Why rows stop before the last target.
pub(super) enum Interrupted {
    /// Nothing will be published.
    Aborted,
    /// The ledger cannot be read, or the rows cannot be written.
    Failed(ExportError),
}

impl<E: Into<ExportError>> From<E> for Interrupted {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Passes the rows of every target that has any to `write`, in order, as soon as the target is final in the `buffer`;
/// without a buffer, all targets are final.
pub(super) fn rows_in_order<S: AnswerSource>(
    answers: &S,
    buffer: Option<&RowBuffer>,
    mut write: impl FnMut(u32, AnswerRows) -> Result<(), ExportError>,
) -> Result<(), Interrupted> {
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get).clamp(1, MAX_THREADS);
    let (sender, jobs) = sync_channel(AHEAD);
    let jobs = Mutex::new(jobs);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| decode_jobs(answers, &jobs));
        }
        let mut cursor = Cursor { answers, buffer, jobs: sender, ahead: VecDeque::with_capacity(AHEAD), next: 0 };
        let mut decoder = Decoder::new();
        loop {
            cursor.look_ahead()?;
            match cursor.ahead.pop_front() {
                Some((position, slot)) => {
                    if let Some(rows) = slot.rows(answers, position, &mut decoder)? {
                        write(position, rows)?;
                    }
                }
                None if cursor.next == answers.len() => return Ok(()),
                None => cursor.wait(),
            }
        }
    })
}

/// The writer's position among the targets.
struct Cursor<'a, S> {
    answers: &'a S,
    buffer: Option<&'a RowBuffer>,
    jobs: SyncSender<DecodeJob>,
    /// The next targets, with their rows or a channel that will deliver them.
    ahead: VecDeque<(u32, Upcoming)>,
    /// The first position that is not in `ahead`.
    next: u32,
}

/// The rows of one of the next targets.
enum Upcoming {
    Ready(AnswerRows),
    Coming(Receiver<Result<DecodeResult, LedgerError>>),
}

/// An answer to be read and decoded.
struct DecodeJob {
    position: u32,
    done: SyncSender<Result<DecodeResult, LedgerError>>,
}

enum DecodeResult {
    Nothing,
    Rows(AnswerRows),
    /// Too large to be decoded ahead: the writer decodes it itself, one at a time.
    Deferred,
}

impl<S: AnswerSource> Cursor<'_, S> {
    fn look_ahead(&mut self) -> Result<(), Interrupted> {
        while self.ahead.len() < AHEAD && self.next < self.answers.len() {
            let slot = match self.buffer.map_or(RowState::InLedger, |buffer| buffer.take(self.next)) {
                RowState::Pending => break,
                RowState::Aborted => return Err(Interrupted::Aborted),
                RowState::Rows(rows) => Upcoming::Ready(rows),
                RowState::InLedger => {
                    let (done, coming) = sync_channel(1);
                    // The threads take jobs as long as the cursor exists.
                    let _ = self.jobs.send(DecodeJob { position: self.next, done });
                    Upcoming::Coming(coming)
                }
            };
            self.ahead.push_back((self.next, slot));
            self.next += 1;
        }
        Ok(())
    }

    fn wait(&self) {
        if let Some(buffer) = self.buffer {
            buffer.wait(self.next);
        }
    }
}

impl Upcoming {
    fn rows<S: AnswerSource>(
        self,
        answers: &S,
        position: u32,
        decoder: &mut Decoder,
    ) -> Result<Option<AnswerRows>, LedgerError> {
        let coming = match self {
            Self::Ready(rows) => return Ok(Some(rows)),
            Self::Coming(coming) => coming,
        };
        let decoded =
            coming.recv().expect("a decoding thread ends only after its last job, or by a panic of its own")?;
        match decoded {
            DecodeResult::Nothing => Ok(None),
            DecodeResult::Rows(rows) => Ok(Some(rows)),
            DecodeResult::Deferred => match decode(answers, position, MAX_ANSWER_BYTES, decoder)? {
                DecodeResult::Rows(rows) => Ok(Some(rows)),
                DecodeResult::Nothing | DecodeResult::Deferred => Ok(None),
            },
        }
    }
}

/// The work of one decoding thread, until the cursor is dropped.
fn decode_jobs<S: AnswerSource>(answers: &S, jobs: &Mutex<Receiver<DecodeJob>>) {
    let mut decoder = Decoder::new();
    loop {
        let next = jobs.lock().recv();
        let Ok(DecodeJob { position, done }) = next else { return };
        // A writer that has failed needs no more answers.
        let _ = done.send(decode(answers, position, MAX_BYTES_AHEAD, &mut decoder));
    }
}

fn decode<S: AnswerSource>(
    answers: &S,
    position: u32,
    max_bytes: usize,
    decoder: &mut Decoder,
) -> Result<DecodeResult, LedgerError> {
    Ok(match answers.read(position, max_bytes as u64)? {
        None => DecodeResult::Nothing,
        Some(LoadedBody::Whole(body)) => {
            DecodeResult::Rows(decoder.decode(answers.target(position).as_str(), &body).rows)
        }
        Some(LoadedBody::Larger(_)) if max_bytes < MAX_ANSWER_BYTES => DecodeResult::Deferred,
        Some(LoadedBody::Larger(bytes)) => DecodeResult::Rows(Err(DecodeError::TooLarge { bytes })),
    })
}
