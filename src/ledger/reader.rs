//! Reads answers back from a ledger that is still being written. It only finds synced records, and changes nothing.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use parking_lot::Mutex;

use super::{Archive, LedgerError, LoadedBody, archive::body_at, segment::Segment};
use crate::{api::call_events::TargetState, targets::TargetRef};

/// A handle on a [`Ledger`](super::Ledger) for other threads.
#[derive(Debug)]
pub struct LedgerReader {
    folder: PathBuf,
    archive: Arc<Mutex<Archive>>,
    /// Files that were opened here: the writer may have started new ones.
    segments: Mutex<BTreeMap<u32, Arc<Segment>>>,
}

impl LedgerReader {
    pub(super) fn new(folder: PathBuf, archive: Arc<Mutex<Archive>>) -> Self {
        Self { folder, archive, segments: Mutex::default() }
    }

    /// The body of a target's answer, if it has at most `max_bytes` bytes; `None`: the target has no answer with rows.
    pub fn body(&self, target: TargetRef<'_>, max_bytes: u64) -> Result<Option<LoadedBody>, LedgerError> {
        let location = {
            let archive = self.archive.lock();
            let stored = archive.entry(target).filter(|entry| entry.state == TargetState::Ok);
            stored.and_then(super::TargetEntry::last)
        };
        location.map(|location| body_at(&*self.segment(location.segment)?, &location, max_bytes)).transpose()
    }

    fn segment(&self, number: u32) -> Result<Arc<Segment>, LedgerError> {
        let mut segments = self.segments.lock();
        if let Some(segment) = segments.get(&number) {
            return Ok(Arc::clone(segment));
        }
        let opened = Arc::new(Segment::open(&self.folder.join(Segment::name(number)), number)?);
        segments.insert(number, Arc::clone(&opened));
        Ok(opened)
    }
}
