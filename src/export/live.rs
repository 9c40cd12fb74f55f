//! Stages the dataset on its own thread while answers arrive.
//!
//! The recorder marks each target as final once its last record is synced, so nothing reaches the dataset before the
//! ledger. What is staged is published later, or dropped. If the writer fails, no more calls are made.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use jiff::civil::Date;
use tokio::sync::oneshot;

use super::{
    ExportError,
    cursor::{AnswerSource, Interrupted},
    publish::StagedHistory,
    row_buffer::RowBuffer,
    rows::AnswerRows,
};
use crate::{
    api::Parameters,
    dataset::{Options, Stage},
    ledger::{LedgerError, LedgerReader, LoadedBody},
    progress::Progress,
    targets::{Inputs, TargetRef},
};

/// What a [`LiveWriter`] needs to start.
pub(super) struct LiveDataset {
    pub(super) stage: Stage,
    pub(super) reader: LedgerReader,
    pub(super) inputs: Arc<Inputs>,
    pub(super) run_date: Date,
    /// The query parameters, with the last day that any answer will be requested for.
    pub(super) requested: Parameters,
    pub(super) options: Options,
    pub(super) progress: Progress,
}

/// A dataset that is being written on a thread of its own.
pub(super) struct LiveWriter {
    feed: Arc<Feed>,
    thread: Option<JoinHandle<()>>,
    staged: oneshot::Receiver<Result<StagedHistory, Interrupted>>,
}

/// Where the recorder delivers its answers.
pub(super) struct Feed {
    buffer: RowBuffer,
    answers: RunAnswers,
    has_failed: AtomicBool,
}

impl LiveWriter {
    /// Starts writing while the targets `to_call` (numbers in the inputs) are called. Uses its own thread rather than
    /// one of the runtime's: in tests with a paused clock, a blocking task of the runtime would stop the clock from
    /// advancing.
    pub(super) fn start(dataset: LiveDataset, to_call: &[u32]) -> Self {
        let LiveDataset { stage, reader, inputs, run_date, requested, options, progress } = dataset;
        let mut order: Vec<u32> = (0..).take(inputs.targets().len()).collect();
        order.sort_unstable_by_key(|number| inputs.target(*number));
        let mut is_called = vec![false; order.len()];
        for number in to_call {
            is_called[*number as usize] = true;
        }
        let buffer = RowBuffer::new(order.iter().map(|number| !is_called[*number as usize]).collect());
        let answers = RunAnswers { reader, inputs, order, run_date };
        let feed = Arc::new(Feed { buffer, answers, has_failed: AtomicBool::new(false) });
        let shared = Arc::clone(&feed);
        let (done, staged) = oneshot::channel();
        let thread = thread::spawn(move || {
            let Feed { buffer, answers, has_failed } = &*shared;
            let _abort_on_exit = AbortOnDrop(buffer);
            let staged = StagedHistory::write(stage, answers, Some(buffer), requested, &options, &progress);
            has_failed.store(matches!(staged, Err(Interrupted::Failed(_))), Ordering::Relaxed);
            // Nobody waits for it if the fetch was dropped.
            drop(done.send(staged));
        });
        Self { feed, thread: Some(thread), staged }
    }

    /// The feed for finished answers.
    pub(super) fn feed(&self) -> Arc<Feed> {
        Arc::clone(&self.feed)
    }

    /// Finishes the dataset after the last call; `None`: it will not be published.
    pub(super) async fn finish(mut self, is_published: bool) -> Result<Option<StagedHistory>, ExportError> {
        if is_published {
            self.feed.buffer.end();
        } else {
            self.feed.buffer.abort();
        }
        match (&mut self.staged).await {
            Ok(Ok(staged)) => Ok(Some(staged).filter(|_| is_published)),
            Ok(Err(Interrupted::Aborted)) => Ok(None),
            Ok(Err(Interrupted::Failed(error))) => Err(error),
            Err(_) => match self.thread.take().map(JoinHandle::join) {
                Some(Err(panic)) => std::panic::resume_unwind(panic),
                Some(Ok(())) | None => unreachable!("the thread sends its result before it ends"),
            },
        }
    }
}

impl Feed {
    /// Marks a target as final, whose last record must be synced. Without `rows`, the writer reads the target's answer,
    /// if any, from the ledger when its turn comes.
    pub(super) fn mark_final(&self, target: TargetRef<'_>, rows: Option<AnswerRows>) {
        let RunAnswers { inputs, order, .. } = &self.answers;
        let found = order.binary_search_by(|number| inputs.target(*number).cmp(&target));
        if let Some(position) = found.ok().and_then(|position| u32::try_from(position).ok()) {
            self.buffer.mark_final(position, rows);
        }
    }

    /// Waits for a writer that is behind.
    pub(super) async fn wait_for_writer(&self) {
        self.buffer.wait_for_writer().await;
    }

    /// Whether the dataset cannot be written, so that nothing more should be bought.
    pub(super) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Relaxed)
    }
}

/// Aborts the buffer when the writer exits, even by a panic.
struct AbortOnDrop<'a>(&'a RowBuffer);

impl Drop for AbortOnDrop<'_> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A dropped fetch must not leave a writer behind: its stage would block the next one in this directory.
impl Drop for LiveWriter {
    fn drop(&mut self) {
        self.feed.buffer.abort();
        // A panic there has no one left to report to; otherwise the thread ends at its next target.
        drop(self.thread.take().map(JoinHandle::join));
    }
}

struct RunAnswers {
    reader: LedgerReader,
    inputs: Arc<Inputs>,
    /// Numbers of the targets, sorted by name.
    order: Vec<u32>,
    run_date: Date,
}

impl AnswerSource for RunAnswers {
    fn len(&self) -> u32 {
        u32::try_from(self.order.len()).expect("targets are numbered with 32 bits")
    }

    fn target(&self, position: u32) -> TargetRef<'_> {
        self.inputs.target(self.order[position as usize])
    }

    fn run_date(&self, _position: u32) -> Date {
        self.run_date
    }

    fn read(&self, position: u32, max_bytes: u64) -> Result<Option<LoadedBody>, LedgerError> {
        self.reader.body(self.target(position), max_bytes)
    }
}
