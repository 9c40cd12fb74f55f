//! Decoded answers on their way from the fetch to the writer, in limited memory.
//!
//! The fetch marks each target as final, with its rows if it has any; the writer takes the targets in order. A fetch
//! that is faster than the writer waits for it. Rows that still do not fit, such as those behind a call that hangs, are
//! dropped, because the ledger already has the answer. Nothing here reads the ledger.

use std::{collections::BTreeMap, pin::pin};

use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use super::rows::AnswerRows;

/// Memory for rows that wait for the writer: about 120 full histories.
const BUFFER_BYTES: usize = 16 << 20;
/// With so many bytes waiting, the fetch waits for a writer that could take the next rows at once. The rest of the
/// buffer is for the answers of calls in flight.
const BACKPRESSURE_BYTES: usize = BUFFER_BYTES / 2;

/// What the fetch has finished so far. Positions count the targets in the writer's order.
pub(super) struct RowBuffer {
    state: Mutex<BufferState>,
    changed: Condvar,
    /// The writer has taken rows, or is not going to.
    taken: Notify,
}

struct BufferState {
    /// By position: whether the target can no longer change in this run.
    is_final: Vec<bool>,
    rows: BTreeMap<u32, AnswerRows>,
    bytes: usize,
    /// The position that the writer takes next, and waits for until it is final.
    next: u32,
    phase: Phase,
}

/// How far the fetch has progressed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Fetching,
    /// No call is in flight and none will be sent: everything is final.
    Ended,
    /// Nothing will be published, or the writer has ended.
    Aborted,
}

/// What the writer can do with a target now.
pub(super) enum RowState {
    /// A call may still change the target.
    Pending,
    Rows(AnswerRows),
    /// The target is final; its answer, if any, is in the ledger.
    InLedger,
    /// Nothing will be published.
    Aborted,
}

impl RowBuffer {
    /// A buffer for targets of which some are final from the start.
    pub(super) fn new(is_final: Vec<bool>) -> Self {
        let state = BufferState { is_final, rows: BTreeMap::new(), bytes: 0, next: 0, phase: Phase::Fetching };
        Self { state: Mutex::new(state), changed: Condvar::new(), taken: Notify::new() }
    }

    /// Marks a target as final. Its answer, if any, must already be synced.
    pub(super) fn mark_final(&self, position: u32, rows: Option<AnswerRows>) {
        let mut state = self.state.lock();
        state.is_final[position as usize] = true;
        if let Some(rows) = rows {
            state.keep(position, rows);
        }
        if state.next == position {
            self.changed.notify_all();
        }
    }

    /// Waits while the buffer is over half full and already has the rows that the writer needs next. It never waits for
    /// a target that is not final, nor while the writer reads the ledger.
    pub(super) async fn wait_for_writer(&self) {
        loop {
            let mut taken = pin!(self.taken.notified());
            taken.as_mut().enable();
            if !self.state.lock().is_ahead() {
                return;
            }
            taken.await;
        }
    }

    /// The fetch has ended: every target is final.
    pub(super) fn end(&self) {
        self.set_phase(Phase::Ended);
    }

    /// The writer stops, because nothing will be published, or has ended.
    pub(super) fn abort(&self) {
        self.set_phase(Phase::Aborted);
    }

    fn set_phase(&self, phase: Phase) {
        let mut state = self.state.lock();
        // An abort is final.
        if state.phase != Phase::Aborted {
            state.phase = phase;
        }
        self.changed.notify_all();
        self.taken.notify_waiters();
    }

    /// The state of a position now. Removes its rows from the buffer.
    pub(super) fn take(&self, position: u32) -> RowState {
        let mut state = self.state.lock();
        let is_final = state.is_final[position as usize] || state.phase == Phase::Ended;
        match state.phase {
            Phase::Aborted => RowState::Aborted,
            Phase::Fetching | Phase::Ended if is_final => {
                state.next = position + 1;
                let rows = state.remove(position);
                self.taken.notify_waiters();
                rows.map_or(RowState::InLedger, RowState::Rows)
            }
            Phase::Fetching | Phase::Ended => RowState::Pending,
        }
    }

    /// Blocks until the target at a position is final, or the fetch has ended.
    pub(super) fn wait(&self, position: u32) {
        let mut state = self.state.lock();
        state.next = position;
        while !state.is_final[position as usize] && state.phase == Phase::Fetching {
            self.changed.wait(&mut state);
        }
    }
}

impl BufferState {
    /// Keeps rows; if there is no space, the ones last in order are dropped.
    fn keep(&mut self, position: u32, rows: AnswerRows) {
        self.bytes += memory(&rows);
        self.rows.insert(position, rows);
        while self.bytes > BUFFER_BYTES
            && let Some((_, dropped)) = self.rows.pop_last()
        {
            self.bytes -= memory(&dropped);
        }
    }

    /// Whether the fetch should wait for the writer.
    fn is_ahead(&self) -> bool {
        self.phase == Phase::Fetching && self.bytes > BACKPRESSURE_BYTES && self.rows.contains_key(&self.next)
    }

    fn remove(&mut self, position: u32) -> Option<AnswerRows> {
        let rows = self.rows.remove(&position)?;
        self.bytes -= memory(&rows);
        Some(rows)
    }
}

/// Bytes that the rows take.
fn memory(rows: &AnswerRows) -> usize {
    rows.as_ref().map_or(0, |rows| rows.batch.get_array_memory_size())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, RecordBatch, StringArray};
    use futures::FutureExt;

    use super::*;
    use crate::decode::{DecodedRows, SchemaDrift};

    /// Rows with a text of this length.
    fn rows(bytes: usize) -> DecodedRows {
        let text: ArrayRef = Arc::new(StringArray::from_iter_values(["x".repeat(bytes)]));
        let batch = RecordBatch::try_from_iter([("text", text)]).expect("a column");
        DecodedRows { batch, drift: SchemaDrift::default() }
    }

    fn is_kept(buffer: &RowBuffer, position: u32) -> bool {
        match buffer.take(position) {
            RowState::Rows(_) => true,
            RowState::InLedger => false,
            RowState::Pending | RowState::Aborted => panic!("position {position} is not final"),
        }
    }

    #[test]
    fn rows_are_kept_while_there_is_space_and_the_last_in_order_are_dropped() {
        let buffer = RowBuffer::new(vec![false; 4]);
        for position in [3, 1, 2] {
            buffer.mark_final(position, Some(Ok(rows(BUFFER_BYTES / 2 - 1024))));
        }
        assert!(matches!(buffer.take(0), RowState::Pending));
        assert_eq!([1, 2, 3].map(|position| is_kept(&buffer, position)), [true, true, false]);
        assert_eq!(buffer.state.lock().bytes, 0);
        buffer.mark_final(0, Some(Ok(rows(BUFFER_BYTES + 1))));
        assert!(!is_kept(&buffer, 0));
    }

    #[tokio::test]
    async fn the_fetch_waits_for_a_writer_that_has_its_next_rows() {
        let buffer = RowBuffer::new(vec![false; 4]);
        buffer.mark_final(1, Some(Ok(rows(BACKPRESSURE_BYTES + 1))));
        buffer.wait_for_writer().await; // the writer could not take position 0
        buffer.mark_final(0, Some(Ok(rows(1))));
        let mut waiting = pin!(buffer.wait_for_writer());
        assert!(waiting.as_mut().now_or_never().is_none());
        assert!(is_kept(&buffer, 0));
        assert!(waiting.as_mut().now_or_never().is_none());
        assert!(is_kept(&buffer, 1));
        waiting.await;
        buffer.mark_final(2, Some(Ok(rows(BACKPRESSURE_BYTES + 1))));
        let mut waiting = pin!(buffer.wait_for_writer());
        assert!(waiting.as_mut().now_or_never().is_none());
        buffer.abort();
        waiting.await;
    }

    #[test]
    fn the_end_of_the_fetch_makes_everything_final_and_an_abort_is_final() {
        let buffer = RowBuffer::new(vec![true, false]);
        assert!(!is_kept(&buffer, 0));
        assert!(matches!(buffer.take(1), RowState::Pending));
        buffer.end();
        buffer.wait(1);
        assert!(!is_kept(&buffer, 1));
        buffer.abort();
        buffer.end();
        assert!(matches!(buffer.take(1), RowState::Aborted));
    }

    #[test]
    fn a_waiting_writer_wakes_when_its_target_is_final() {
        let buffer = RowBuffer::new(vec![false; 2]);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| buffer.wait(1));
            buffer.mark_final(0, None);
            buffer.mark_final(1, None);
            waiting.join().expect("no panic");
        });
        assert!(!is_kept(&buffer, 1));
    }
}
