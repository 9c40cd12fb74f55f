//! Appending, durably, in groups: what arrives while one group is being synced makes up the next.
//!
//! An append returns when its bytes are on the disk, so nothing counts as done before. Before a group
//! is written, room is made sure of for it and for the answers of all calls in flight: a disk that
//! fills up is found before the next call is bought. The first failure is the last word: a failed
//! sync is never tried again, because nobody knows what of it reached the disk.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use tokio::{
    sync::{mpsc, oneshot},
    task::{JoinHandle, spawn_blocking},
};

use super::{
    LedgerError, Location,
    segment::{self, Segment},
};

/// A file is followed by the next one past this size: small enough to copy and to ship.
const ROLL: u64 = 1 << 30;
/// Appends that wait for the group before theirs.
const QUEUE: usize = 256;
/// The most bytes in a group, so that one sync stays short.
const GROUP: usize = 8 << 20;
/// Room made sure of beyond what is written: an answer of usual size for each of a hundred calls in flight.
const HEADROOM: u64 = 4 << 20;

struct Append {
    bytes: Vec<u8>,
    placed: oneshot::Sender<Result<(u32, u64), LedgerError>>,
}

/// The writing end of a ledger.
pub(super) struct Appender {
    queue: mpsc::Sender<Append>,
    task: JoinHandle<Tail>,
}

impl Appender {
    /// Goes on at the end of a file.
    pub(super) fn start(tail: Tail) -> Self {
        let (queue, appends) = mpsc::channel(QUEUE);
        Self { queue, task: tokio::spawn(write_groups(appends, tail)) }
    }

    /// Appends a record, whose last `body` bytes are the frame of a body; returns where it lies once it is durable.
    pub(super) async fn append(&self, bytes: Vec<u8>, body: usize) -> Result<Location, LedgerError> {
        let size = |bytes| u32::try_from(bytes).expect("bodies are limited to 32 MiB");
        let (head, body) = (size(bytes.len() - body), size(body));
        let (placed, place) = oneshot::channel();
        if self.queue.send(Append { bytes, placed }).await.is_err() {
            return Err(LedgerError::Closed);
        }
        let (segment, offset) = place.await.map_err(|_| LedgerError::Closed)??;
        Ok(Location { segment, head, body, offset })
    }

    /// Ends the writing and gives unused room back.
    pub(super) async fn close(self) -> Result<(), LedgerError> {
        drop(self.queue);
        let tail = self.task.await.map_err(|_| LedgerError::Closed)?;
        spawn_blocking(move || tail.trim()).await.map_err(|_| LedgerError::Closed)?
    }
}

async fn write_groups(mut appends: mpsc::Receiver<Append>, mut tail: Tail) -> Tail {
    while let Some(first) = appends.recv().await {
        let mut group = vec![first];
        let mut size = group[0].bytes.len();
        while size < GROUP
            && let Ok(next) = appends.try_recv()
        {
            size += next.bytes.len();
            group.push(next);
        }
        let (bytes, acknowledged): (Vec<_>, Vec<_>) =
            group.into_iter().map(|append| (append.bytes, append.placed)).unzip();
        let written = spawn_blocking(move || {
            let placed = tail.write(&bytes);
            (tail, placed)
        });
        let placed;
        (tail, placed) = written.await.expect("writing a group does not panic");
        // Whoever no longer waits for an acknowledgement has been stopped; the bytes are there all the same.
        match placed {
            Ok(places) => acknowledged.into_iter().zip(places).for_each(|(ack, place)| drop(ack.send(Ok(place)))),
            Err(error) => acknowledged.into_iter().for_each(|ack| drop(ack.send(Err(error.clone())))),
        }
    }
    tail
}

/// The end of the ledger's last file.
pub(super) struct Tail {
    folder: PathBuf,
    number: u32,
    path: PathBuf,
    file: File,
    end: u64,
    reserved: u64,
    failed: Option<LedgerError>,
}

impl Tail {
    /// Opens a file to go on at `end`, cutting off what a crash left behind it.
    pub(super) fn open(folder: &Path, number: u32, end: u64) -> Result<Self, LedgerError> {
        let path = folder.join(Segment::name(number));
        let fails = |verb| {
            let path = path.clone();
            move |source| LedgerError::io(verb, &path, source)
        };
        let mut options = OpenOptions::new();
        options.create(true).append(true).mode(0o600).custom_flags(segment::NO_LINK);
        let file = options.open(&path).map_err(fails("open"))?;
        let length = file.metadata().map_err(fails("read"))?.len();
        if length != end {
            file.set_len(end).map_err(fails("cut"))?;
            file.sync_all().map_err(fails("sync"))?;
        }
        sync_folder(folder)?;
        Ok(Self { folder: folder.to_owned(), number, path, file, end, reserved: end, failed: None })
    }

    /// Writes and syncs a group; returns where each of its parts lies.
    fn write(&mut self, group: &[Vec<u8>]) -> Result<Vec<(u32, u64)>, LedgerError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let written = self.try_write(group);
        if let Err(error) = &written {
            self.failed = Some(error.clone());
        }
        written
    }

    fn try_write(&mut self, group: &[Vec<u8>]) -> Result<Vec<(u32, u64)>, LedgerError> {
        if self.end > ROLL {
            self.trim()?;
            *self = Self::open(&self.folder, self.number + 1, 0)?;
        }
        let size = group.iter().map(Vec::len).sum::<usize>() as u64;
        self.make_room(size)?;
        let mut places = Vec::with_capacity(group.len());
        let mut end = self.end;
        for bytes in group {
            self.file.write_all(bytes).map_err(|source| LedgerError::io("write", &self.path, source))?;
            places.push((self.number, end));
            end += bytes.len() as u64;
        }
        self.file.sync_data().map_err(|source| LedgerError::io("sync", &self.path, source))?;
        self.end = end;
        Ok(places)
    }

    /// Has the file system set room aside, where it can, for this group and what is sure to come.
    fn make_room(&mut self, size: u64) -> Result<(), LedgerError> {
        let needed = self.end + size + HEADROOM / 2;
        if needed <= self.reserved {
            return Ok(());
        }
        let wanted = self.end + size + HEADROOM;
        let flags = rustix::fs::FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(&self.file, flags, self.end, wanted - self.end) {
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                self.reserved = wanted;
                Ok(())
            }
            Err(errno) => Err(LedgerError::io("make room in", &self.path, errno.into())),
        }
    }

    /// Gives back room that was set aside and not used.
    fn trim(&self) -> Result<(), LedgerError> {
        if self.failed.is_some() {
            return Ok(());
        }
        self.file.set_len(self.end).map_err(|source| LedgerError::io("trim", &self.path, source))
    }
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> Result<(), LedgerError> {
    File::open(folder).and_then(|open| open.sync_all()).map_err(|source| LedgerError::io("sync", folder, source))
}
