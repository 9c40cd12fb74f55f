//! One file of the ledger, read from its beginning: its records, and where it ends.
//!
//! Only the heads of answers are read; bodies are skipped, except for their last bytes. A record that a crash left
//! incomplete at the very end is not an error: it was never acknowledged. Any other mismatch is damage, and damage is
//! always reported. A valid record of an unknown kind is from a later version.

use std::{
    fs::{File, OpenOptions},
    io,
    ops::Range,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::{
    LedgerError, Location, inputs,
    members::{self, BodyMember, CLOSING_BYTES, END_BYTES, Measured},
    record::{self, AnswerRecord, Record},
};

/// Bytes read at once for a head: most heads fit, and often those of the next calls, too.
const READ_AHEAD_BYTES: usize = 4 * 1024;
/// The longest member other than a body: a chunk of input lines.
const MAX_MEMBER_BYTES: usize = 16 * 1024 * 1024;

/// Do not follow links: a ledger's file must be at its path.
pub(super) const NO_LINK: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();

/// A file of the ledger, open for reading at any offset.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u32,
    pub(super) path: PathBuf,
    pub(super) file: File,
}

/// Where the complete records of a file end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// At the end of the file.
    Clean(u64),
    /// Here; a crash left the rest incomplete.
    Torn(u64),
}

pub(super) struct FoundRecord {
    pub(super) location: Location,
    /// `None`: input lines.
    pub(super) record: Option<Record>,
}

/// A part of a file, read in advance.
#[derive(Default)]
struct ReadBuffer {
    at: u64,
    bytes: Vec<u8>,
}

impl ReadBuffer {
    /// The position of a file offset in the buffer; the buffer's end if it is outside.
    fn position_of(&self, offset: u64) -> usize {
        let place = offset.checked_sub(self.at).and_then(|place| usize::try_from(place).ok());
        place.filter(|place| *place < self.bytes.len()).unwrap_or(self.bytes.len())
    }
}

impl Segment {
    /// `ledger-<number>.jsonl.gz`
    pub(super) fn name(number: u32) -> String {
        format!("ledger-{number}.jsonl.gz")
    }

    /// The number in a file's name, if it is a ledger's.
    pub(super) fn number(name: &str) -> Option<u32> {
        name.strip_prefix("ledger-")?.strip_suffix(".jsonl.gz")?.parse().ok()
    }

    pub(super) fn open(path: &Path, number: u32) -> Result<Self, LedgerError> {
        let file =
            OpenOptions::new().read(true).custom_flags(NO_LINK).open(path).map_err(LedgerError::io("open", path))?;
        Ok(Self { number, path: path.to_owned(), file })
    }

    /// Reads all records in order and passes each to `visit`.
    pub(super) fn scan(
        &self,
        mut visit: impl FnMut(FoundRecord) -> Result<(), LedgerError>,
    ) -> Result<End, LedgerError> {
        let length = self.length()?;
        let (mut offset, mut buffer) = (0, ReadBuffer::default());
        while offset < length {
            let Some(found) = self.record_at(&mut buffer, offset, length)? else {
                self.check_torn(offset, length)?;
                return Ok(End::Torn(offset));
            };
            let next = found.location.end();
            if let Some(answer) = found.record.as_ref().and_then(Record::answer).filter(|_| found.location.body > 0) {
                self.check_body_end(&mut buffer, &found.location, answer.body_member, length)?;
                if next == length {
                    self.check_body(&found.location, answer)?;
                }
            }
            visit(found)?;
            offset = next;
        }
        Ok(End::Clean(length))
    }

    /// The position in the buffer of the complete member at an offset; `None` if the file ends within it, or none
    /// begins there.
    fn member_at(
        &self,
        buffer: &mut ReadBuffer,
        offset: u64,
        length: u64,
    ) -> Result<Option<Range<usize>>, LedgerError> {
        let mut start = buffer.position_of(offset);
        let rest = usize::try_from(length - offset).unwrap_or(usize::MAX);
        loop {
            match members::measure(&buffer.bytes[start..]) {
                Measured::Whole(size) => return Ok(Some(start..start + size)),
                Measured::Begun(needed) if needed <= rest.min(MAX_MEMBER_BYTES) => {
                    self.fill_buffer(buffer, offset, needed.max(READ_AHEAD_BYTES).min(rest))?;
                    start = 0;
                }
                Measured::Begun(_) | Measured::Foreign => return Ok(None),
            }
        }
    }

    /// The record at an offset; `None` if the file ends within it, or none begins there.
    fn record_at(&self, buffer: &mut ReadBuffer, offset: u64, length: u64) -> Result<Option<FoundRecord>, LedgerError> {
        let Some(head) = self.member_at(buffer, offset, length)? else { return Ok(None) };
        let head = &buffer.bytes[head];
        let content = members::content(head).map_err(|source| self.damaged(offset, &source))?;
        let record = if inputs::is_chunk(&content) { None } else { Some(self.parse(&content, offset)?) };
        let body = record.as_ref().and_then(Record::answer).map_or(0, |answer| match answer.body_member.bytes {
            0 => 0,
            bytes => bytes.saturating_add(CLOSING_BYTES as u64),
        });
        let size = |bytes: u64| u32::try_from(bytes).map_err(|error| self.damaged(offset, &error));
        let location = Location { segment: self.number, offset, head: size(head.len() as u64)?, body: size(body)? };
        Ok((location.end() <= length).then_some(FoundRecord { location, record }))
    }

    /// The record at an offset, whose first member has this content.
    pub(super) fn parse(&self, content: &[u8], offset: u64) -> Result<Record, LedgerError> {
        record::parse(content).map_err(|error| {
            if record::is_record(content) {
                LedgerError::NewerVersion { path: self.path.clone() }
            } else {
                self.damaged(offset, &error)
            }
        })
    }

    /// An end without a complete record is due to a crash only if a record begins there and nothing complete follows.
    fn check_torn(&self, offset: u64, length: u64) -> Result<(), LedgerError> {
        const STEP: usize = 1024 * 1024;
        let mut buffer = ReadBuffer::default();
        let mut at = self.end_of_own_body(&mut buffer, offset, length)?.unwrap_or(offset + 1);
        while at < length {
            let rest = usize::try_from(length - at).unwrap_or(usize::MAX);
            // Steps overlap a little, so that the beginning of a member is never split between two.
            let bytes = self.read(at, rest.min(STEP + members::FOUND_BY))?;
            for start in members::find(&bytes) {
                let place = at + start as u64;
                let follows = self.member_at(&mut buffer, place, length)?;
                if follows.is_some_and(|member| members::content(&buffer.bytes[member]).is_ok()) {
                    let reason = format!("the record is unreadable, but an intact one follows at byte {place}");
                    return Err(self.damaged(offset, &reason));
                }
            }
            at += STEP as u64;
        }
        let rest = usize::try_from(length - offset).unwrap_or(usize::MAX);
        if members::is_torn(&self.read(offset, rest.min(members::HEADER_BYTES))?) {
            return Ok(());
        }
        Err(self.damaged(offset, &"no record begins here; was the file recompressed, or something appended to it?"))
    }

    /// Where the body of an incomplete answer ends if it was compressed here and only the end of its line is missing:
    /// the body is complete, but not a record.
    fn end_of_own_body(&self, buffer: &mut ReadBuffer, offset: u64, length: u64) -> Result<Option<u64>, LedgerError> {
        let Some(head) = self.member_at(buffer, offset, length)? else { return Ok(None) };
        let body = offset + head.len() as u64;
        let record = members::content(&buffer.bytes[head]).ok().and_then(|content| record::parse(&content).ok());
        let Some(answer) = record.as_ref().and_then(Record::answer).filter(|_| body < length) else { return Ok(None) };
        let member = self.member_at(buffer, body, length)?.map(|member| member.len() as u64);
        Ok(member.filter(|size| *size == answer.body_member.bytes).map(|size| body + size))
    }

    /// An answer's body as it arrived; `head` is the content of its record's first member, `answer` the parsed record.
    pub(super) fn body(&self, location: &Location, head: &[u8], answer: &AnswerRecord) -> Result<Vec<u8>, LedgerError> {
        let (offset, bytes) = self.body_bytes(location, answer)?;
        let content = answer.body_member.content(&bytes[..bytes.len() - CLOSING_BYTES]);
        let content = content.map_err(|source| self.damaged(offset, &source))?;
        drop(bytes);
        record::body(head, content).map_err(|source| self.damaged(offset, &source))
    }

    /// Checks that an answer's body is complete, without keeping it in memory.
    pub(super) fn check_body(&self, location: &Location, answer: &AnswerRecord) -> Result<(), LedgerError> {
        self.verified_body_bytes(location, answer).map(drop)
    }

    /// An answer's body as stored, with the end of its line, once its checksum has been verified.
    pub(super) fn verified_body_bytes(
        &self,
        location: &Location,
        answer: &AnswerRecord,
    ) -> Result<Vec<u8>, LedgerError> {
        let (offset, bytes) = self.body_bytes(location, answer)?;
        let checked = answer.body_member.check(&bytes[..bytes.len() - CLOSING_BYTES]);
        checked.map_err(|source| self.damaged(offset, &source))?;
        Ok(bytes)
    }

    fn body_bytes(&self, location: &Location, answer: &AnswerRecord) -> Result<(u64, Vec<u8>), LedgerError> {
        let offset = location.offset + u64::from(location.head);
        let size = usize::try_from(location.body).map_err(|error| self.damaged(offset, &error))?;
        let bytes = self.read(offset, size)?;
        let end = bytes.len().checked_sub(END_BYTES).map(|start| &bytes[start..]);
        self.expect_body_end(offset, end.unwrap_or_default(), answer.body_member)?;
        Ok((offset, bytes))
    }

    /// Checks the last bytes of a body, so that a skipped body is where its record places it.
    fn check_body_end(
        &self,
        buffer: &mut ReadBuffer,
        location: &Location,
        member: BodyMember,
        length: u64,
    ) -> Result<(), LedgerError> {
        let body = location.offset + u64::from(location.head);
        let Some(end) = location.end().checked_sub(END_BYTES as u64).filter(|end| *end >= body) else {
            return self.expect_body_end(body, &[], member);
        };
        let mut start = buffer.position_of(end);
        if buffer.bytes.len() < start + END_BYTES {
            let rest = usize::try_from(length - end).unwrap_or(usize::MAX);
            self.fill_buffer(buffer, end, rest.min(READ_AHEAD_BYTES))?;
            start = 0;
        }
        self.expect_body_end(body, &buffer.bytes[start..start + END_BYTES], member)
    }

    fn expect_body_end(&self, offset: u64, end: &[u8], member: BodyMember) -> Result<(), LedgerError> {
        if member.ends_with(end) {
            return Ok(());
        }
        Err(self.damaged(offset, &"the answer's body is not at its recorded position"))
    }

    /// The content of a record's first member.
    pub(super) fn head(&self, location: &Location) -> Result<Vec<u8>, LedgerError> {
        let size = usize::try_from(location.head).map_err(|error| self.damaged(location.offset, &error))?;
        let bytes = self.read(location.offset, size)?;
        members::content(&bytes).map_err(|source| self.damaged(location.offset, &source))
    }

    pub(super) fn length(&self) -> Result<u64, LedgerError> {
        let metadata = self.file.metadata().map_err(LedgerError::io("read", &self.path))?;
        Ok(metadata.len())
    }

    fn fill_buffer(&self, buffer: &mut ReadBuffer, offset: u64, size: usize) -> Result<(), LedgerError> {
        buffer.at = offset;
        self.read_into(&mut buffer.bytes, offset, size)
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
            Err(source) => Err(LedgerError::io("read", &self.path)(source)),
        }
    }

    pub(super) fn damaged(&self, offset: u64, reason: &dyn std::fmt::Display) -> LedgerError {
        LedgerError::Damaged { path: self.path.clone(), offset, reason: reason.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{super::members::Compressor, *};

    const BODY: &[u8] = b"{\"tasks\":[]}";

    fn segment(bytes: &[u8]) -> (tempfile::TempDir, Segment) {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join(Segment::name(3));
        fs::write(&path, bytes).expect("written");
        let segment = Segment::open(&path, 3).expect("readable");
        (folder, segment)
    }

    /// Letters and digits that hardly compress.
    fn noise(bytes: usize) -> String {
        let mut random = fastrand::Rng::with_seed(7);
        (0..bytes).map(|_| random.alphanumeric().to_ascii_lowercase()).collect()
    }

    fn lines_of_input(bytes: usize) -> Vec<u8> {
        let content = format!("{{\"record\":\"input\",\"{}\":0}}\n", noise(bytes));
        members::stored(content.as_bytes())
    }

    /// The bytes of an answer, and how many of them are its body and its end.
    fn answer(body: &[u8]) -> (Vec<u8>, usize) {
        let (member, described) =
            Compressor::default().member(|out| io::Write::write_all(out, body)).expect("a member");
        let known =
            r#""target":"a.com","attempt":1,"at":"2026-11-24T12:00:00Z","latency_micros":0,"class":"data","items":0"#;
        let stored = serde_json::to_string(&described).expect("numbers always serialize");
        let stored = stored.trim_matches(['{', '}']);
        let head = format!(r#"{{"record":"answer",{known},"body_bytes":1,{stored},"body":"#);
        let bytes = [members::stored(head.as_bytes()), member, members::closing_member().to_vec()].concat();
        (bytes, usize::try_from(described.bytes).expect("small") + CLOSING_BYTES)
    }

    /// The records found in some bytes, and where they end.
    fn scanned(bytes: &[u8]) -> Result<(Vec<FoundRecord>, End), LedgerError> {
        let mut all = Vec::new();
        let end = segment(bytes).1.scan(|found| {
            all.push(found);
            Ok(())
        })?;
        Ok((all, end))
    }

    /// Where the damage is, and its description.
    fn damage<T>(result: Result<T, LedgerError>) -> (u64, String) {
        match result {
            Err(LedgerError::Damaged { offset, reason, .. }) => (offset, reason),
            Err(error) => panic!("another error: {error}"),
            Ok(_) => panic!("no damage was seen"),
        }
    }

    #[test]
    fn a_file_is_named_by_its_number() {
        assert_eq!((Segment::name(12), Segment::number(&Segment::name(12))), ("ledger-12.jsonl.gz".into(), Some(12)));
        for other in
            ["ledger-.jsonl.gz", "ledger-1.jsonl", "1.jsonl.gz", "ledger-x.jsonl.gz", "ledger-4294967296.jsonl.gz"]
        {
            assert_eq!(Segment::number(other), None, "{other}");
        }
    }

    #[test]
    fn records_of_any_size_are_found_at_their_offsets() {
        let (answer_, body) = answer(BODY);
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for size in [10, 5_000, 50, 300_000, 20, 7_000_000] {
            let lines = lines_of_input(size);
            expected.push((bytes.len(), lines.len(), 0, false));
            bytes.extend(lines);
            expected.push((bytes.len(), answer_.len() - body, body, true));
            bytes.extend(&answer_);
        }
        let (found, end) = scanned(&bytes).expect("sound");
        let place = |place: u64| usize::try_from(place).expect("small");
        let found: Vec<_> = (found.iter().map(|FoundRecord { location, record }| (*location, record.is_some())))
            .map(|(at, known)| (place(at.offset), at.head as usize, at.body as usize, known))
            .collect();
        assert_eq!((found, end), (expected, End::Clean(bytes.len() as u64)));
        let last = lines_of_input(10);
        assert_eq!(scanned(&last).expect("sound").1, End::Clean(last.len() as u64));
    }

    #[test]
    fn a_body_that_is_not_where_its_record_says_is_reported() {
        let (bytes, body) = answer(BODY);
        let (folder, segment) = segment(&[bytes.clone(), bytes.clone()].concat());
        let size = |bytes: usize| u32::try_from(bytes).expect("small");
        let head = bytes.len() - body;
        let second = bytes.len() as u64;
        let location = Location { segment: 3, offset: second, head: size(head), body: size(body) };
        let text = segment.head(&location).expect("sound");
        let record = segment.parse(&text, location.offset).expect("a record");
        let answer = record.answer().expect("an answer");
        assert_eq!(segment.body(&location, &text, answer).expect("sound"), BODY);
        assert_eq!(segment.verified_body_bytes(&location, answer).expect("sound"), bytes[head..]);
        segment.check_body(&location, answer).expect("sound");
        for wrong in [0, 1, END_BYTES - 1, body - 1] {
            let shorter = Location { body: size(wrong), ..location };
            let found = damage(segment.check_body(&shorter, answer));
            assert_eq!(
                found,
                (second + head as u64, "the answer's body is not at its recorded position".into()),
                "{wrong}"
            );
        }
        let longer = Location { body: size(body + 1), ..location };
        assert_eq!(damage(segment.body(&longer, &text, answer)), (second + head as u64, "the file ends here".into()));
        let beyond = Location { offset: 2 * second, ..location };
        assert_eq!(damage(segment.head(&beyond)), (2 * second, "the file ends here".into()));
        // A refusal by the file system is not damage.
        let directory = Segment::open(folder.path(), 3).expect("open");
        assert!(matches!(directory.head(&location), Err(LedgerError::Io { .. })));
    }

    #[test]
    fn an_incomplete_last_record_ends_the_file_before_it() {
        let first = lines_of_input(10);
        // A body that spans several steps of the search for complete members
        let (last, body) = answer(format!("\"{}\"", noise(4 << 20)).as_bytes());
        assert!(body > 2 << 20);
        let closing = last.len() - CLOSING_BYTES;
        let cuts = [1, 3, 4, 5, 19, 20, 21, 100, last.len() - body, last.len() - body + 1, last.len() / 2];
        for cut in cuts.into_iter().chain([closing - 1, closing, closing + 1, last.len() - 1]) {
            let bytes = [&first[..], &last[..cut]].concat();
            let (found, end) = scanned(&bytes).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
            assert_eq!((found.len(), end), (1, End::Torn(first.len() as u64)), "cut at {cut}");
        }
    }

    #[test]
    fn unreadable_bytes_before_a_complete_member_are_damage() {
        const STEP: usize = 1024 * 1024;
        let first = lines_of_input(10);
        let whole = lines_of_input(5_000);
        for length in [1, 3, 100_000, STEP - 3, STEP - 2, STEP - 1, STEP, STEP + 1, STEP + 2, 3 * STEP + 7] {
            // With the bytes by which a search recognizes the beginning of a member
            let mut foreign = vec![0; length];
            let beginning = members::closing_member();
            let start = (length / 2).min(length.saturating_sub(members::FOUND_BY));
            let beginning = &beginning[..members::FOUND_BY.min(length)];
            foreign[start..start + beginning.len()].copy_from_slice(beginning);
            let bytes = [&first[..], &foreign, &whole].concat();
            let (offset, reason) = damage(scanned(&bytes));
            let place = first.len() + length;
            let expected = format!("the record is unreadable, but an intact one follows at byte {place}");
            assert_eq!((offset, reason), (first.len() as u64, expected), "{length} bytes");
            // A member that is complete only by its size is part of an incomplete end, too.
            let mut unsound = bytes;
            *unsound.last_mut().expect("a checksum") ^= 1;
            if length >= members::HEADER_BYTES {
                assert_eq!(scanned(&unsound).expect("torn").1, End::Torn(first.len() as u64), "{length} bytes");
            } else {
                assert_eq!(damage(scanned(&unsound)).0, first.len() as u64, "{length} bytes");
            }
        }
    }

    #[test]
    fn only_the_beginning_of_a_record_is_a_torn_end() {
        let first = lines_of_input(10);
        let end = |rest: &[u8]| scanned(&[&first[..], rest].concat()).map(|(_, end)| end);
        let torn = |record: &[u8], written: usize, lost: usize| {
            let found = end(&[&record[..written], &vec![0; lost]].concat());
            let found = found.unwrap_or_else(|error| panic!("{written} bytes, {lost} zeros: {error}"));
            assert_eq!(found, End::Torn(first.len() as u64), "{written} bytes, {lost} zeros");
        };
        for record in [answer(BODY).0, lines_of_input(10)] {
            (1..record.len()).for_each(|written| torn(&record, written, 0));
            (0..members::HEADER_BYTES - 4).for_each(|written| torn(&record, written, 1));
            (0..members::HEADER_BYTES - 4).for_each(|written| torn(&record, written, 4096));
        }
        let foreign = |name: Option<&str>| {
            let builder = name.map_or_else(flate2::GzBuilder::new, |name| flate2::GzBuilder::new().filename(name));
            let mut encoder = builder.write(Vec::new(), flate2::Compression::fast());
            io::Write::write_all(&mut encoder, b"{\"record\":\"refund\"}\n").expect("memory");
            encoder.finish().expect("memory")
        };
        let (plain, named) = (foreign(None), foreign(Some("notes.txt")));
        for rest in [&plain[..], &named, &plain[..plain.len() - 1], &named[..4], b"\n", b"a line", &[0, 0, 0, 1]] {
            let (offset, reason) = damage(end(rest));
            assert_eq!(offset, first.len() as u64, "{rest:?}");
            assert!(reason.contains("was the file recompressed, or something appended to it?"), "{reason}");
        }
        // A file that was decompressed and compressed again
        assert_eq!(damage(scanned(&plain)).0, 0);
    }

    #[test]
    fn only_the_last_body_is_decompressed_and_all_must_end_as_recorded() {
        let (bytes, body) = answer(BODY);
        let mut last = [bytes.clone(), bytes.clone()].concat();
        let inside = bytes.len() - END_BYTES - 1;
        last[bytes.len() + inside] ^= 1;
        assert_eq!(damage(scanned(&last)).0, (2 * bytes.len() - body) as u64);
        let mut first = [bytes.clone(), bytes.clone()].concat();
        first[inside] ^= 1;
        assert_eq!(scanned(&first).expect("found when it is read").1, End::Clean(2 * bytes.len() as u64));
        for place in bytes.len() - END_BYTES..bytes.len() {
            let mut first = [bytes.clone(), bytes.clone()].concat();
            first[place] ^= 1;
            assert_eq!(damage(scanned(&first)).0, (bytes.len() - body) as u64, "{place}");
        }
        // An error of the visitor ends the scan.
        let refused =
            segment(&bytes).1.scan(|_| Err(LedgerError::io("keep", Path::new("x"))(io::Error::other("full"))));
        assert!(matches!(refused, Err(LedgerError::Io { .. })), "{refused:?}");
    }

    #[test]
    fn a_valid_record_of_an_unknown_kind_is_from_a_newer_version() {
        let whole = lines_of_input(10);
        let check = |record: &str, expected: &str| {
            let bytes = [&whole[..], &members::stored(record.as_bytes()), &whole].concat();
            let error = scanned(&bytes).err().expect("refused").to_string();
            assert!(error.ends_with(expected), "{record}: {error}");
        };
        let newer = "ledger-3.jsonl.gz was made by a newer version of backlinks-export";
        check(r#"{"record":"summed_up","of":7}"#, newer);
        check(r#"{"record":"summed_up","body":"#, newer);
        check(r#"{"record":"sent","target":"a.com","form":"graph"}"#, newer);
        check(r#"{"of":7}"#, "missing field `record` at line 1 column 8");
        check("anything", "expected value at line 1 column 1");
    }

    #[test]
    fn a_link_is_not_accepted_as_a_file_of_the_ledger() {
        let (folder, segment) = segment(b"");
        assert_eq!((segment.length().expect("a size"), segment.scan(|_| Ok(())).expect("sound")), (0, End::Clean(0)));
        let link = folder.path().join(Segment::name(4));
        std::os::unix::fs::symlink(&segment.path, &link).expect("a link");
        assert!(Segment::open(&link, 4).is_err());
    }
}
