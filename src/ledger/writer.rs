//! Writes groups of records to the ledger's last file, and syncs each.
//!
//! Before a group is written, space is reserved for it and for the answers of all calls in flight: a full disk is
//! detected before the next call is bought, and answers already paid for still fit. The first write failure is final: a
//! failed sync is never retried, because it is unknown what reached the disk.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::Write,
    mem,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::{
    LedgerError,
    segment::{self, End, Segment},
};
use crate::{fs::sync_folder, sha256};

/// A file that exceeds this size is followed by the next one: small enough to copy.
const MAX_SEGMENT_BYTES: u64 = 1 << 30;
/// Space reserved for each future answer: four times the usual size, or 1.5 times the largest record so far if that is
/// more.
const RESERVED_BYTES_PER_ANSWER: u64 = 128 << 10;

/// The bytes of a record, and its purpose.
pub(super) struct QueuedRecord {
    pub(super) bytes: Vec<u8>,
    pub(super) purpose: Purpose,
}

/// The location of a record: its file and the offset in it.
pub(super) type AppendResult = Result<(u32, u64), LedgerError>;

/// The purpose of a record, which determines what happens on a full disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Written before calls (a call to be sent, the run's start, input lines, copied answers): refused as soon as there
    /// is no space for the answers of calls.
    BeforeCall,
    /// The result of a call: written to the space that was reserved for it.
    Result,
}

/// What can no longer be written, and why.
enum WriteBlock {
    /// Records of further calls.
    Calls(LedgerError),
    Everything(LedgerError),
}

/// The digest of a file that this process wrote from its beginning, so that it need not be read again.
#[derive(Clone, Debug)]
pub(super) struct FileDigest {
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

/// A ledger at the end of a run.
pub(super) struct ClosedLedger {
    /// All files, in order, open for reading.
    pub(super) segments: Vec<Segment>,
    /// Where the last one ends.
    pub(super) end: u64,
    /// The digests, by number, of the files that were written here from their beginning.
    pub(super) digests: BTreeMap<u32, FileDigest>,
}

/// Writes to the ledger's last file.
pub(super) struct LedgerWriter {
    folder: PathBuf,
    /// The files before the one that is written.
    earlier: Vec<Segment>,
    segment: Segment,
    end: u64,
    /// The digest of the file so far; `None`: another process wrote its beginning.
    hash: Option<Sha256>,
    /// The digests of the earlier files that were written here.
    finished: BTreeMap<u32, FileDigest>,
    reserved: u64,
    /// Answers for which space is reserved beyond what is written.
    in_flight: u32,
    /// The bytes of the largest record so far.
    largest: u64,
    /// Why no more calls may be sent, although the results of earlier ones can be written.
    no_more_calls: Option<LedgerError>,
    /// Why nothing can be written any more.
    failed: Option<LedgerError>,
}

impl LedgerWriter {
    /// Opens the file of a `number` to continue at `end`, truncating what a crash left after it. Space is reserved for
    /// the answers of `in_flight` calls; `largest` is the size of the largest record so far, in bytes.
    pub(super) fn open(
        folder: &Path,
        number: u32,
        end: u64,
        in_flight: u32,
        largest: u64,
    ) -> Result<Self, LedgerError> {
        let path = folder.join(Segment::name(number));
        let fails = |verb| LedgerError::io(verb, &path);
        let mut options = OpenOptions::new();
        options.create(true).read(true).append(true).mode(0o600).custom_flags(segment::NO_LINK);
        let file = options.open(&path).map_err(fails("open"))?;
        let length = file.metadata().map_err(fails("read"))?.len();
        if length != end {
            file.set_len(end).map_err(fails("truncate"))?;
            file.sync_all().map_err(fails("sync"))?;
        }
        sync_folder(folder, LedgerError::io)?;
        Ok(Self {
            folder: folder.to_owned(),
            earlier: Vec::new(),
            segment: Segment { number, path, file },
            end,
            hash: (end == 0).then(Sha256::new),
            finished: BTreeMap::new(),
            reserved: end,
            in_flight,
            largest,
            no_more_calls: None,
            failed: None,
        })
    }

    /// Adds the files before this one.
    pub(super) fn after(self, earlier: Vec<Segment>) -> Self {
        Self { earlier, ..self }
    }

    /// Space to reserve beyond what is written.
    fn headroom(&self) -> u64 {
        u64::from(self.in_flight) * RESERVED_BYTES_PER_ANSWER.max(self.largest + self.largest / 2)
    }

    /// Writes and syncs a group; returns the location of each record.
    pub(super) fn write(&mut self, group: &[QueuedRecord]) -> Vec<AppendResult> {
        let all_fail = |error: &LedgerError| group.iter().map(|_| Err(error.clone())).collect();
        if let Some(error) = &self.failed {
            return all_fail(error);
        }
        let sizes = || group.iter().map(|record| record.bytes.len() as u64);
        let size = sizes().sum();
        self.largest = sizes().max().unwrap_or(0).max(self.largest);
        if self.no_more_calls.is_none()
            && let Err(block) = self.prepare(size)
        {
            match block {
                WriteBlock::Calls(error) => self.no_more_calls = Some(error),
                WriteBlock::Everything(error) => {
                    self.failed = Some(error.clone());
                    return all_fail(&error);
                }
            }
        }
        let written = self.write_and_sync(group);
        if let Err(error) = &written {
            self.failed = Some(error.clone());
            return all_fail(error);
        }
        written.unwrap_or_default()
    }

    /// Checks that a group of `size` bytes can be written, and makes room for it. If only further calls are blocked,
    /// the results of calls in flight are still written: to the space reserved for them, even if the file was moved or
    /// deleted; in a shortened file, after its last complete record.
    fn prepare(&mut self, size: u64) -> Result<(), WriteBlock> {
        self.segment.check_in_place(self.end).map_err(|error| match error {
            LedgerError::Resized { .. } if self.truncate_to_complete_records().is_err() => {
                WriteBlock::Everything(error)
            }
            error => WriteBlock::Calls(error),
        })?;
        let blocked = |error: LedgerError| {
            if error.is_disk_full() { WriteBlock::Calls(error) } else { WriteBlock::Everything(error) }
        };
        self.make_room(size).map_err(blocked)
    }

    /// Removes what another program appended, or what it left of the last record.
    fn truncate_to_complete_records(&mut self) -> Result<(), LedgerError> {
        if self.segment.length()? > self.end {
            return self.segment.file.set_len(self.end).map_err(LedgerError::io("truncate", &self.segment.path));
        }
        let (End::Clean(end) | End::Torn(end)) = self.segment.scan(|_| Ok(()))?;
        self.segment.file.set_len(end).map_err(LedgerError::io("truncate", &self.segment.path))?;
        (self.end, self.reserved, self.hash) = (end, end, None);
        Ok(())
    }

    /// Writes the records that may be written; refuses each of the others.
    fn write_and_sync(&mut self, group: &[QueuedRecord]) -> Result<Vec<AppendResult>, LedgerError> {
        let mut places = Vec::with_capacity(group.len());
        let mut end = self.end;
        for QueuedRecord { bytes, purpose } in group {
            if let Some(error) = self.no_more_calls.as_ref().filter(|_| *purpose == Purpose::BeforeCall) {
                places.push(Err(error.clone()));
                continue;
            }
            self.segment.file.write_all(bytes).map_err(LedgerError::io("write", &self.segment.path))?;
            if let Some(hash) = &mut self.hash {
                hash.update(bytes);
            }
            places.push(Ok((self.segment.number, end)));
            end += bytes.len() as u64;
        }
        if end > self.end {
            self.segment.file.sync_data().map_err(LedgerError::io("sync", &self.segment.path))?;
        }
        self.end = end;
        Ok(places)
    }

    /// Reserves space for this group and for the answers in flight; starts the next file if this one exceeds
    /// [`MAX_SEGMENT_BYTES`].
    fn make_room(&mut self, size: u64) -> Result<(), LedgerError> {
        if self.end <= MAX_SEGMENT_BYTES {
            return self.reserve_space(size);
        }
        let mut next = Self::open(&self.folder, self.segment.number + 1, 0, self.in_flight, self.largest)?;
        if let Err(error) = next.reserve_space(size) {
            // The space for future answers is in the current file, which therefore stays the last one.
            let path = &next.segment.path;
            fs::remove_file(path).map_err(LedgerError::io("remove", path))?;
            return Err(error);
        }
        self.trim()?;
        next.finished = self.digests();
        next.earlier = mem::take(&mut self.earlier);
        let full = mem::replace(self, next).segment;
        self.earlier.push(full);
        Ok(())
    }

    /// Reserves space after the end of the file, if the file system can.
    fn reserve_space(&mut self, size: u64) -> Result<(), LedgerError> {
        let needed = self.end + size + self.headroom();
        if needed <= self.reserved {
            return Ok(());
        }
        // Twice the headroom, so that most groups need no new reservation; on a nearly full disk, only what is needed.
        let wanted = needed + self.headroom();
        let reserved = match self.allocate(wanted) {
            Err(Errno::NOSPC | Errno::DQUOT) => self.allocate(needed).map(|()| needed),
            done => done.map(|()| wanted),
        };
        self.reserved =
            reserved.map_err(|errno| LedgerError::io("allocate space in", &self.segment.path)(errno.into()))?;
        Ok(())
    }

    fn allocate(&self, until: u64) -> Result<(), Errno> {
        let length = until - self.end;
        let fallocate =
            || rustix::fs::fallocate(&self.segment.file, rustix::fs::FallocateFlags::KEEP_SIZE, self.end, length);
        match rustix::io::retry_on_intr(fallocate) {
            // The space cannot be reserved, but the free space can be checked.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                let free = rustix::fs::fstatvfs(&self.segment.file)?;
                if free.f_bavail.saturating_mul(free.f_frsize) < length { Err(Errno::NOSPC) } else { Ok(()) }
            }
            allocated => allocated,
        }
    }

    /// The digests of all files that were written here from their beginning.
    fn digests(&mut self) -> BTreeMap<u32, FileDigest> {
        let mut digests = mem::take(&mut self.finished);
        let sha256 = self.hash.take().map(|hash| sha256::hex(&hash.finalize()));
        digests.extend(sha256.map(|sha256| (self.segment.number, FileDigest { bytes: self.end, sha256 })));
        digests
    }

    /// Releases space that was reserved and not used.
    fn trim(&self) -> Result<(), LedgerError> {
        self.segment.file.set_len(self.end).map_err(LedgerError::io("truncate", &self.segment.path))
    }

    /// Releases unused space; returns what was written.
    pub(super) fn finish(mut self) -> Result<ClosedLedger, LedgerError> {
        let is_resized = |error: &LedgerError| matches!(error, LedgerError::Resized { .. });
        if let Some(error) = self.failed.take().or_else(|| self.no_more_calls.take_if(|error| is_resized(error))) {
            return Err(error);
        }
        self.trim()?;
        let digests = self.digests();
        let Self { mut earlier, segment, end, .. } = self;
        earlier.push(segment);
        Ok(ClosedLedger { segments: earlier, end, digests })
    }
}
