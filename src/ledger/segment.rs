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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{super::frame::Press, *};

    /// The end of an answer that is its body.
    const BODY: &[u8] = b"{\"tasks\":[]}}\n";

    fn segment(bytes: &[u8]) -> (tempfile::TempDir, Segment) {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join(Segment::name(3));
        fs::write(&path, bytes).expect("written");
        let segment = Segment::open(&path, 3).expect("readable");
        (folder, segment)
    }

    /// Letters and digits that no frame makes much smaller.
    fn noise(bytes: usize) -> String {
        let mut state = 7_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from_digit(u32::try_from((state >> 33) % 36).expect("small"), 36).expect("a digit")
        };
        (0..bytes).map(|_| next()).collect()
    }

    fn lines_of_input(bytes: usize) -> Vec<u8> {
        let content = format!("{{\"record\":\"input\",\"{}\":0}}\n", noise(bytes));
        Press::default().frame(content.as_bytes()).expect("a frame")
    }

    /// The two frames of an answer, and how long the second is.
    fn answer(tail: &[u8]) -> (Vec<u8>, usize) {
        let head = |length: usize| {
            let known = r#""target":"a.com","attempt":1,"at":"2026-11-24T12:00:00Z","latency_micros":0,"class":"data","items":0"#;
            format!(r#"{{"record":"answer",{known},"body_bytes":1,"frame_bytes":{length},"body":"#).into_bytes()
        };
        Press::default().two_frames(head, |out| out.write_all(tail)).expect("two frames")
    }

    /// What a walk through some bytes finds, and where it ends.
    fn scanned(bytes: &[u8]) -> Result<(Vec<Found>, End), LedgerError> {
        let mut all = Vec::new();
        let end = segment(bytes).1.scan(|found| {
            all.push(found);
            Ok(())
        })?;
        Ok((all, end))
    }

    /// Where the damage is, and what is wrong.
    fn damage<T>(result: Result<T, LedgerError>) -> (u64, String) {
        match result {
            Err(LedgerError::Damaged { offset, reason, .. }) => (offset, reason),
            Err(error) => panic!("another error: {error}"),
            Ok(_) => panic!("no damage was seen"),
        }
    }

    #[test]
    fn a_file_is_named_by_its_number() {
        assert_eq!((Segment::name(12), Segment::number(&Segment::name(12))), ("ledger-12.jsonl.zst".into(), Some(12)));
        for other in
            ["ledger-.jsonl.zst", "ledger-1.jsonl", "1.jsonl.zst", "ledger-x.jsonl.zst", "ledger-4294967296.jsonl.zst"]
        {
            assert_eq!(Segment::number(other), None, "{other}");
        }
    }

    #[test]
    fn frames_of_any_size_are_found_where_they_lie() {
        let (answer_, body) = answer(BODY);
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for size in [10, 5_000, 50, 300_000, 20, 7_000_000] {
            let frame = lines_of_input(size);
            expected.push((bytes.len(), frame.len(), 0, false));
            bytes.extend(frame);
            expected.push((bytes.len(), answer_.len() - body, body, true));
            bytes.extend(&answer_);
        }
        let (found, end) = scanned(&bytes).expect("sound");
        let place = |place: u64| usize::try_from(place).expect("small");
        let found: Vec<_> = (found.iter().map(|Found { location, record }| (*location, record.is_some())))
            .map(|(at, known)| (place(at.offset), at.head as usize, at.body as usize, known))
            .collect();
        assert_eq!((found, end), (expected, End::Clean(bytes.len() as u64)));
        let last = lines_of_input(10);
        assert_eq!(scanned(&last).expect("sound").1, End::Clean(last.len() as u64));
    }

    #[test]
    fn an_answers_body_is_where_its_record_says_or_that_is_told() {
        let (bytes, body) = answer(BODY);
        let (folder, segment) = segment(&[bytes.clone(), bytes.clone()].concat());
        let size = |bytes: usize| u32::try_from(bytes).expect("small");
        let head = bytes.len() - body;
        let second = bytes.len() as u64;
        let location = Location { segment: 3, offset: second, head: size(head), body: size(body) };
        let text = segment.head(&location).expect("sound");
        assert_eq!(segment.body(&location, &text).expect("sound"), BODY[..BODY.len() - 2]);
        assert_eq!(segment.sound_body_frame(&location).expect("sound"), bytes[head..]);
        segment.check_body(&location).expect("sound");
        let shorter = Location { body: size(body - 1), ..location };
        let told = damage(segment.check_body(&shorter));
        assert_eq!(told, (second + head as u64, "the answer's body is not where its record says".into()));
        let longer = Location { body: size(body + 1), ..location };
        assert_eq!(damage(segment.body(&longer, &text)), (second + head as u64, "the file ends here".into()));
        let beyond = Location { offset: 2 * second, ..location };
        assert_eq!(damage(segment.head(&beyond)), (2 * second, "the file ends here".into()));
        // What the file system refuses is no damage.
        let directory = Segment::open(folder.path(), 3).expect("open");
        assert!(matches!(directory.head(&location), Err(LedgerError::Io { .. })));
    }

    #[test]
    fn a_tail_that_was_torn_anywhere_ends_the_file_before_it() {
        let first = lines_of_input(10);
        // A body that spans several steps of the search for something whole behind
        let (last, body) = answer(format!("\"{}\"}}\n", noise(4 << 20)).as_bytes());
        assert!(body > 2 << 20);
        for cut in [1, 3, 4, 5, 100, last.len() - body, last.len() - body + 1, last.len() / 2, last.len() - 1] {
            let bytes = [&first[..], &last[..cut]].concat();
            let (found, end) = scanned(&bytes).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
            assert_eq!((found.len(), end), (1, End::Torn(first.len() as u64)), "cut at {cut}");
        }
    }

    #[test]
    fn what_cannot_be_read_before_something_whole_is_damage_however_long_it_is() {
        const STEP: usize = 1024 * 1024;
        let first = lines_of_input(10);
        let whole = lines_of_input(5_000);
        for length in [1, 3, 100_000, STEP - 3, STEP - 2, STEP - 1, STEP, STEP + 1, STEP + 2, 3 * STEP + 7] {
            // With the bytes in it by which a search finds a frame's beginning
            let mut foreign = vec![0; length];
            foreign[length / 2] = 0x28;
            let bytes = [&first[..], &foreign, &whole].concat();
            let (offset, reason) = damage(scanned(&bytes));
            let place = first.len() + length;
            let expected = format!("it cannot be read, yet something whole follows at byte {place}");
            assert_eq!((offset, reason), (first.len() as u64, expected), "{length} bytes");
            // A frame that is whole by its size alone is a torn tail's as well.
            let mut unsound = bytes;
            *unsound.last_mut().expect("a checksum") ^= 1;
            assert_eq!(scanned(&unsound).expect("torn").1, End::Torn(first.len() as u64), "{length} bytes");
        }
    }

    #[test]
    fn only_the_last_body_is_looked_at_on_the_way() {
        let (bytes, body) = answer(BODY);
        let mut last = [bytes.clone(), bytes.clone()].concat();
        *last.last_mut().expect("a checksum") ^= 1;
        assert_eq!(damage(scanned(&last)).0, (2 * bytes.len() - body) as u64);
        let mut first = [bytes.clone(), bytes.clone()].concat();
        first[bytes.len() - 1] ^= 1;
        assert_eq!(scanned(&first).expect("looked at when it is read").1, End::Clean(2 * bytes.len() as u64));
        // An error of who is told ends the walk.
        let refused =
            segment(&bytes).1.scan(|_| Err(LedgerError::io("keep", Path::new("x"), io::Error::other("full"))));
        assert!(matches!(refused, Err(LedgerError::Io { .. })), "{refused:?}");
    }

    #[test]
    fn no_link_is_taken_for_a_file_of_the_ledger() {
        let (folder, segment) = segment(b"");
        assert_eq!((segment.length().expect("a size"), segment.scan(|_| Ok(())).expect("sound")), (0, End::Clean(0)));
        let link = folder.path().join(Segment::name(4));
        std::os::unix::fs::symlink(&segment.path, &link).expect("a link");
        assert!(Segment::open(&link, 4).is_err());
    }
}
