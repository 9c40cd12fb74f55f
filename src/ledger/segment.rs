//! One file of the ledger, read from its beginning: which records it holds, and where it ends.
//!
//! Only the heads of answers are decompressed; bodies are stepped over. A record torn by a crash at
//! the very end is no error: it was never acknowledged. Anything else that does not fit is damage,
//! and damage is never passed over in silence.

use std::{
    fs::{File, OpenOptions},
    io,
    ops::Range,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::{
    LedgerError, Location,
    frame::{self, Measured},
    inputs,
    record::{self, Record},
};

/// What is read at once where a head is expected: most fit, and often those of the next calls.
const WINDOW: usize = 4 * 1024;
/// The longest frame that is no body: a chunk of input lines.
const LONGEST_FRAME: usize = 16 * 1024 * 1024;

/// Open no link: a ledger's file is where its name is.
pub(super) const NO_LINK: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();

/// A file of the ledger, open for reading at any offset.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u32,
    pub(super) path: PathBuf,
    pub(super) file: File,
}

/// Where a file's whole records end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// At the end of the file.
    Clean(u64),
    /// Here; what follows was torn by a crash.
    Torn(u64),
}

/// A record and what of it lies where.
pub(super) struct Found {
    pub(super) location: Location,
    /// `None`: input lines.
    pub(super) record: Option<Record>,
}

/// A part of a file, read ahead.
#[derive(Default)]
struct Window {
    at: u64,
    bytes: Vec<u8>,
}

impl Segment {
    /// `ledger-<number>.jsonl.zst`
    pub(super) fn name(number: u32) -> String {
        format!("ledger-{number}.jsonl.zst")
    }

    /// The number in a file's name, if it is a ledger's.
    pub(super) fn number(name: &str) -> Option<u32> {
        name.strip_prefix("ledger-")?.strip_suffix(".jsonl.zst")?.parse().ok()
    }

    pub(super) fn open(path: &Path, number: u32) -> Result<Self, LedgerError> {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(NO_LINK)
            .open(path)
            .map_err(|source| LedgerError::io("open", path, source))?;
        Ok(Self { number, path: path.to_owned(), file })
    }

    /// Walks through all records and hands each to `visit`.
    pub(super) fn scan(&self, mut visit: impl FnMut(Found) -> Result<(), LedgerError>) -> Result<End, LedgerError> {
        let length = self.length()?;
        let (mut offset, mut window) = (0, Window::default());
        while offset < length {
            let Some(found) = self.record_at(&mut window, offset, length)? else {
                self.must_be_torn(offset, length)?;
                return Ok(End::Torn(offset));
            };
            let next = found.location.end();
            if next == length && found.location.body > 0 {
                self.check_body(&found.location)?;
            }
            visit(found)?;
            offset = next;
        }
        Ok(End::Clean(length))
    }

    /// Where in the window the whole frame at an offset is; `None` when the file ends within it, or nothing begins there.
    fn frame_at(&self, window: &mut Window, offset: u64, length: u64) -> Result<Option<Range<usize>>, LedgerError> {
        let read = offset.checked_sub(window.at).and_then(|start| usize::try_from(start).ok());
        if let Some(start) = read.filter(|start| *start < window.bytes.len())
            && let Measured::Whole(size) = frame::measure(&window.bytes[start..])
        {
            return Ok(Some(start..start + size));
        }
        let rest = usize::try_from(length - offset).unwrap_or(usize::MAX);
        let mut size = WINDOW;
        loop {
            window.at = offset;
            self.read_into(&mut window.bytes, offset, size.min(rest))?;
            match frame::measure(&window.bytes) {
                Measured::Whole(size) => return Ok(Some(0..size)),
                Measured::Begun if size < rest.min(LONGEST_FRAME) => size *= 4,
                Measured::Begun | Measured::Foreign => return Ok(None),
            }
        }
    }

    /// The record at an offset; `None` when the file ends within it, or nothing begins there.
    fn record_at(&self, window: &mut Window, offset: u64, length: u64) -> Result<Option<Found>, LedgerError> {
        let Some(head) = self.frame_at(window, offset, length)? else { return Ok(None) };
        let head = &window.bytes[head];
        let content = frame::content(head).map_err(|source| self.damaged(offset, &source))?;
        let record = if inputs::is_chunk(&content) {
            None
        } else {
            Some(record::parse(&content).map_err(|error| self.damaged(offset, &error))?)
        };
        let body = record.as_ref().and_then(Record::answer).map_or(0, |answer| answer.frame_bytes);
        let size = |bytes: u64| u32::try_from(bytes).map_err(|error| self.damaged(offset, &error));
        let location = Location { segment: self.number, offset, head: size(head.len() as u64)?, body: size(body)? };
        Ok((location.end() <= length).then_some(Found { location, record }))
    }

    /// A tail without a whole record is a crash's only if nothing whole follows.
    fn must_be_torn(&self, offset: u64, length: u64) -> Result<(), LedgerError> {
        const STEP: usize = 1024 * 1024;
        let (mut at, mut window) = (offset + 1, Window::default());
        while at < length {
            let rest = usize::try_from(length - at).unwrap_or(usize::MAX);
            // Steps overlap by a little, so that no frame's beginning falls between two.
            let bytes = self.read(at, rest.min(STEP + 4))?;
            for start in memchr_all(&bytes, 0x28) {
                let place = at + start as u64;
                let begins = frame::measure(&bytes[start..bytes.len().min(start + 4)]) == Measured::Begun;
                let follows = begins.then(|| self.frame_at(&mut window, place, length)).transpose()?.flatten();
                if follows.is_some_and(|frame| frame::content(&window.bytes[frame]).is_ok()) {
                    let reason = format!("it cannot be read, yet something whole follows at byte {place}");
                    return Err(self.damaged(offset, &reason));
                }
            }
            at += STEP as u64;
        }
        Ok(())
    }

    /// An answer's body as it came.
    pub(super) fn body(&self, location: &Location, head: &[u8]) -> Result<Vec<u8>, LedgerError> {
        let (offset, bytes) = self.body_frame(location)?;
        let tail = frame::content(&bytes).map_err(|source| self.damaged(offset, &source))?;
        drop(bytes);
        record::body(head, tail).map_err(|source| self.damaged(offset, &source))
    }

    /// Makes sure that an answer's body is whole, without holding it.
    pub(super) fn check_body(&self, location: &Location) -> Result<(), LedgerError> {
        self.sound_body_frame(location).map(drop)
    }

    /// The frame of an answer's body as it lies there, sound as its checksum says.
    pub(super) fn sound_body_frame(&self, location: &Location) -> Result<Vec<u8>, LedgerError> {
        let (offset, bytes) = self.body_frame(location)?;
        frame::check(&bytes).map_err(|source| self.damaged(offset, &source))?;
        Ok(bytes)
    }

    fn body_frame(&self, location: &Location) -> Result<(u64, Vec<u8>), LedgerError> {
        let offset = location.offset + u64::from(location.head);
        let size = usize::try_from(location.body).map_err(|error| self.damaged(offset, &error))?;
        let bytes = self.read(offset, size)?;
        if frame::measure(&bytes) != Measured::Whole(size) {
            return Err(self.damaged(offset, &"the answer's body is not where its record says"));
        }
        Ok((offset, bytes))
    }

    /// The content of a record's first frame.
    pub(super) fn head(&self, location: &Location) -> Result<Vec<u8>, LedgerError> {
        let size = usize::try_from(location.head).map_err(|error| self.damaged(location.offset, &error))?;
        let bytes = self.read(location.offset, size)?;
        frame::content(&bytes).map_err(|source| self.damaged(location.offset, &source))
    }

    pub(super) fn length(&self) -> Result<u64, LedgerError> {
        let metadata = self.file.metadata().map_err(|source| LedgerError::io("read", &self.path, source))?;
        Ok(metadata.len())
    }

    fn read(&self, offset: u64, size: usize) -> Result<Vec<u8>, LedgerError> {
        let mut bytes = Vec::new();
        self.read_into(&mut bytes, offset, size)?;
        Ok(bytes)
    }

    fn read_into(&self, bytes: &mut Vec<u8>, offset: u64, size: usize) -> Result<(), LedgerError> {
        bytes.resize(size, 0);
        match self.file.read_exact_at(bytes, offset) {
            Ok(()) => Ok(()),
            Err(source) if source.kind() == io::ErrorKind::UnexpectedEof => {
                Err(self.damaged(offset, &"the file ends here"))
            }
            Err(source) => Err(LedgerError::io("read", &self.path, source)),
        }
    }

    /// The error that names this file and a place in it.
    pub(super) fn damaged(&self, offset: u64, reason: &dyn std::fmt::Display) -> LedgerError {
        LedgerError::Damaged { path: self.path.clone(), offset, reason: reason.to_string() }
    }
}

/// Every place of a byte.
fn memchr_all(bytes: &[u8], wanted: u8) -> impl Iterator<Item = usize> + '_ {
    bytes.iter().enumerate().filter(move |(_, byte)| **byte == wanted).map(|(place, _)| place)
}
