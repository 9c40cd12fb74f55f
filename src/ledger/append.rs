//! Queues records for the ledger: records that arrive while one group is being synced form the next.
//!
//! An append returns once its bytes are on disk, so nothing counts as done before that. [`super::writer`] writes the
//! groups.

use tokio::{
    sync::{mpsc, oneshot},
    task::{JoinHandle, spawn_blocking},
};

use super::{
    LedgerError, Location,
    writer::{AppendResult, ClosedLedger, LedgerWriter, Purpose, QueuedRecord},
};

/// Appends that can wait for the group before theirs.
const QUEUE_LEN: usize = 256;
/// A group with this many bytes accepts no more records, so that one sync stays short.
const MAX_GROUP_BYTES: usize = 8 << 20;
/// A record that is waiting to be written.
struct Append {
    record: QueuedRecord,
    placed: oneshot::Sender<AppendResult>,
}

/// Queues records for the task that writes them.
pub(super) struct Appender {
    queue: mpsc::Sender<Append>,
    task: JoinHandle<LedgerWriter>,
}

impl Appender {
    /// Starts appending at the position of `writer`.
    pub(super) fn start(writer: LedgerWriter) -> Self {
        let (queue, appends) = mpsc::channel(QUEUE_LEN);
        Self { queue, task: tokio::spawn(write_groups(appends, writer)) }
    }

    /// Appends a record, of which the last `body` bytes are its body and the end of its line; returns its location once
    /// it is durable.
    pub(super) async fn append(&self, purpose: Purpose, bytes: Vec<u8>, body: usize) -> Result<Location, LedgerError> {
        let size = |bytes| u32::try_from(bytes).expect("bodies are limited to 32 MiB");
        let (head, body) = (size(bytes.len() - body), size(body));
        let (placed, place) = oneshot::channel();
        if self.queue.send(Append { record: QueuedRecord { bytes, purpose }, placed }).await.is_err() {
            return Err(LedgerError::Closed);
        }
        let (segment, offset) = place.await.map_err(|_| LedgerError::Closed)??;
        Ok(Location { segment, head, body, offset })
    }

    /// Stops writing and releases unused space; returns what was written.
    pub(super) async fn close(self) -> Result<ClosedLedger, LedgerError> {
        drop(self.queue);
        let writer = self.task.await.map_err(|_| LedgerError::Closed)?;
        spawn_blocking(move || writer.finish()).await.map_err(|_| LedgerError::Closed)?
    }
}

async fn write_groups(mut appends: mpsc::Receiver<Append>, mut writer: LedgerWriter) -> LedgerWriter {
    while let Some(first) = appends.recv().await {
        let mut group = vec![first];
        let mut size = group[0].record.bytes.len();
        while size < MAX_GROUP_BYTES
            && let Ok(next) = appends.try_recv()
        {
            size += next.record.bytes.len();
            group.push(next);
        }
        let (records, waiting): (Vec<_>, Vec<_>) =
            group.into_iter().map(|append| (append.record, append.placed)).unzip();
        let written = spawn_blocking(move || {
            let placed = writer.write(&records);
            (writer, placed)
        });
        let placed;
        (writer, placed) = match written.await {
            Ok(written) => written,
            // The runtime shut down before the group was written, and no task waits for it.
            Err(error) if error.is_cancelled() => std::future::pending().await,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        // A task that no longer waits for its acknowledgment was stopped; its record is in the file anyway.
        waiting.into_iter().zip(placed).for_each(|(task, place)| drop(task.send(place)));
    }
    writer
}
