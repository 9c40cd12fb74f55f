//! gzip members (RFC 1952), which ledger files consist of.
//!
//! A member written here has its length in an extra field, like those of BGZF files, so that it can be skipped without
//! being decompressed. Every bit of its header is checked, and its content by its CRC-32. The body of an answer may be
//! a member that a server created: its length and checksum are in the record before it.

use std::{
    io::{self, BufRead, Read, Write},
    sync::LazyLock,
};

use flate2::{
    Compression, Crc, CrcWriter,
    bufread::{DeflateDecoder, GzDecoder},
    write::DeflateEncoder,
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::api::MAX_BODY_BYTES;

/// Maximum content of one member: the largest body as a JSON string, in which a byte may take six.
const MAX_CONTENT_BYTES: u64 = 6 * MAX_BODY_BYTES as u64 + 1024;

/// The beginning of every member written here: deflate, an extra field, no time, no file name, unknown system; then an
/// extra field of eight bytes, and the first letter of its name.
const PREFIX: [u8; 13] = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 8, 0, b'B'];
/// The second letter of the extra field's name: the content is stored uncompressed.
const STORED: u8 = b'S';
const DEFLATED: u8 = b'D';
/// The size of the field: it contains the member's length.
const FIELD: [u8; 2] = [4, 0];
pub(super) const HEADER_BYTES: usize = 20;
/// The CRC-32 of the content, and its length.
const TRAILER_BYTES: usize = 8;

/// The maximum content of a stored block (RFC 1951, 3.2.4), and the bytes before it.
const BLOCK: usize = u16::MAX as usize;
const BLOCK_HEADER_BYTES: usize = 5;

/// The end of an answer's line, after its body.
const LINE_END: &[u8] = b"}\n";
/// Size of the member with that end.
pub(super) const CLOSING_BYTES: usize = HEADER_BYTES + BLOCK_HEADER_BYTES + 2 + TRAILER_BYTES;
/// The bytes that show, without reading a body, whether it is where its record places it: its trailer and the end of
/// its line.
pub(super) const END_BYTES: usize = TRAILER_BYTES + CLOSING_BYTES;

/// What a record states about the member after it, which is its body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BodyMember {
    /// Its length; 0 without a body.
    #[serde(rename = "frame_bytes")]
    pub(super) bytes: u64,
    /// The CRC-32 of its bytes, so that any change of them is noticed, even of bits without a meaning.
    #[serde(rename = "frame_crc32")]
    pub(super) crc32: u32,
    pub(super) content_bytes: u64,
    pub(super) content_crc32: u32,
}

impl BodyMember {
    /// The values for a complete member that a server created.
    pub(super) fn of_server(member: &[u8]) -> Self {
        let end = trailer(&member[member.len().saturating_sub(TRAILER_BYTES)..]);
        let [content_crc32, length] = end.unwrap_or_default();
        let (bytes, crc32) = (member.len() as u64, crc32(member));
        Self { bytes, crc32, content_bytes: length.into(), content_crc32 }
    }

    /// Whether the last bytes of a body's member, and the end of its line, are as expected.
    pub(super) fn ends_with(self, end: &[u8]) -> bool {
        let length = u32::try_from(self.content_bytes);
        end.split_at_checked(TRAILER_BYTES).is_some_and(|(end, closing)| {
            length.is_ok_and(|length| trailer(end) == Some([self.content_crc32, length])) && closing == closing_member()
        })
    }

    /// Decompresses the member, which must match the record.
    pub(super) fn content(self, member: &[u8]) -> io::Result<Vec<u8>> {
        if self.content_bytes > MAX_CONTENT_BYTES {
            return Err(broken("a body with an implausible size"));
        }
        self.check(member)?;
        let mut content = Vec::with_capacity(usize::try_from(self.content_bytes).map_err(io::Error::other)?);
        // One byte more than recorded, to notice a longer body.
        GzDecoder::new(member).take(self.content_bytes + 1).read_to_end(&mut content)?;
        if content.len() as u64 != self.content_bytes {
            return Err(broken("a body whose length differs from its record"));
        }
        Ok(content)
    }

    /// Checks the member, which was valid when it was written, without decompressing it.
    pub(super) fn check(self, member: &[u8]) -> io::Result<()> {
        if (member.len() as u64, crc32(member)) != (self.bytes, self.crc32) {
            return Err(broken("its checksum does not match"));
        }
        Ok(())
    }
}

/// Compresses what does not arrive compressed. Encoders are expensive to create, so they are kept and shared.
#[derive(Default)]
pub(super) struct Compressor(Mutex<Vec<DeflateEncoder<Vec<u8>>>>);

impl Compressor {
    /// One member with the output of `write`.
    pub(super) fn member(
        &self,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<(Vec<u8>, BodyMember)> {
        let idle = self.0.lock().pop();
        let mut encoder = idle.unwrap_or_else(|| DeflateEncoder::new(Vec::new(), Compression::fast()));
        encoder.reset([&PREFIX[..], &[DEFLATED], &FIELD, &[0; 4]].concat())?;
        let mut content = CrcWriter::new(&mut encoder);
        write(&mut content)?;
        let content_crc32 = content.crc().sum();
        let content_bytes = encoder.total_in();
        let mut bytes = encoder.reset(Vec::new())?;
        self.0.lock().push(encoder);
        push_trailer(&mut bytes, content_crc32, content_bytes)?;
        let length = bytes.len();
        set_length(&mut bytes, length)?;
        let member = BodyMember { bytes: length as u64, crc32: crc32(&bytes), content_bytes, content_crc32 };
        Ok((bytes, member))
    }
}

/// Appends a member with `content` uncompressed.
pub(super) fn push_stored(out: &mut Vec<u8>, content: &[u8]) {
    let start = out.len();
    out.extend_from_slice(&PREFIX);
    out.push(STORED);
    out.extend_from_slice(&FIELD);
    out.extend_from_slice(&[0; 4]);
    let mut rest = content;
    loop {
        let (block, behind) = rest.split_at(rest.len().min(BLOCK));
        let length = u16::try_from(block.len()).expect("blocks are limited to this");
        out.push(u8::from(behind.is_empty()));
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(block);
        rest = behind;
        if rest.is_empty() {
            break;
        }
    }
    push_trailer(out, crc32(content), content.len() as u64).expect("records are smaller than 4 GiB");
    let length = out.len() - start;
    set_length(&mut out[start..], length).expect("records are smaller than 4 GiB");
}

/// A member with `content` uncompressed.
pub(super) fn stored(content: &[u8]) -> Vec<u8> {
    let mut member = Vec::with_capacity(content.len() + HEADER_BYTES + BLOCK_HEADER_BYTES + TRAILER_BYTES);
    push_stored(&mut member, content);
    member
}

/// The member that ends an answer's line.
pub(super) fn closing_member() -> &'static [u8] {
    static CLOSING: LazyLock<Vec<u8>> = LazyLock::new(|| stored(LINE_END));
    &CLOSING
}

/// What a byte slice begins with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Measured {
    /// A complete member written here, of this many bytes.
    Whole(usize),
    /// The beginning of such a member, of which this many bytes are needed to continue.
    Begun(usize),
    /// Not a member written here.
    Foreign,
}

/// Whether `bytes` begin like a member written here, as far as they go.
fn is_prefix(bytes: &[u8]) -> bool {
    [STORED, DEFLATED].iter().any(|kind| {
        let expected = PREFIX.iter().chain([kind]).chain(&FIELD);
        expected.zip(bytes).all(|(expected, byte)| expected == byte)
    })
}

/// Whether the rest of a file can be a member that a crash left incomplete: its beginning, or zeros instead of what the
/// file system lost.
pub(super) fn is_torn(rest: &[u8]) -> bool {
    let start = &rest[..rest.len().min(HEADER_BYTES)];
    let written = start.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    is_prefix(&start[..written])
}

/// Finds the length of the member at the beginning of `bytes` without decompressing it.
pub(super) fn measure(bytes: &[u8]) -> Measured {
    if !is_prefix(bytes) {
        return Measured::Foreign;
    }
    let Some(length) = bytes.get(HEADER_BYTES - 4..).and_then(<[u8]>::first_chunk) else {
        return Measured::Begun(HEADER_BYTES);
    };
    match usize::try_from(u32::from_le_bytes(*length)) {
        Ok(length) if length <= HEADER_BYTES + TRAILER_BYTES => Measured::Foreign,
        Ok(length) if length > bytes.len() => Measured::Begun(length),
        Ok(length) => Measured::Whole(length),
        Err(_) => Measured::Foreign,
    }
}

/// Where the next member written here may begin.
pub(super) fn find(bytes: &[u8]) -> impl Iterator<Item = usize> + '_ {
    memchr::memmem::find_iter(bytes, &PREFIX)
}

/// The number of bytes that [`find`] needs to see at once.
pub(super) const FOUND_BY: usize = PREFIX.len();

/// The content of a complete member written here, which must be valid.
pub(super) fn content(member: &[u8]) -> io::Result<Vec<u8>> {
    if measure(member) != Measured::Whole(member.len()) {
        return Err(broken("a member whose length differs from its header"));
    }
    let (data, end) = member[HEADER_BYTES..].split_at(member.len() - HEADER_BYTES - TRAILER_BYTES);
    let [content_crc32, length] = trailer(end).unwrap_or_default();
    let content = if member[PREFIX.len()] == STORED { stored_content(data) } else { inflated(data, length) }?;
    if crc32(&content) != content_crc32 || content.len() as u64 != u64::from(length) {
        return Err(broken("a member with a wrong checksum"));
    }
    Ok(content)
}

fn stored_content(mut data: &[u8]) -> io::Result<Vec<u8>> {
    let mut content = Vec::with_capacity(data.len());
    loop {
        let Some(([last, low, high, not_low, not_high], rest)) = data.split_first_chunk() else {
            return Err(broken("a stored block without a header"));
        };
        let length = u16::from_le_bytes([*low, *high]);
        if *last > 1 || length != !u16::from_le_bytes([*not_low, *not_high]) || rest.len() < length.into() {
            return Err(broken("an invalid stored block"));
        }
        let (block, behind) = rest.split_at(length.into());
        content.extend_from_slice(block);
        data = behind;
        match (*last == 1, data.is_empty()) {
            (true, true) => return Ok(content),
            (false, false) => {}
            _ => return Err(broken("a wrong number of stored blocks")),
        }
    }
}

fn inflated(data: &[u8], length: u32) -> io::Result<Vec<u8>> {
    if u64::from(length) > MAX_CONTENT_BYTES {
        return Err(broken("a member with an implausible size"));
    }
    let mut content = Vec::with_capacity(usize::try_from(length).map_err(io::Error::other)?);
    let mut decoder = DeflateDecoder::new(data);
    decoder.by_ref().take(u64::from(length) + 1).read_to_end(&mut content)?;
    if !decoder.get_mut().fill_buf()?.is_empty() {
        return Err(broken("a member with data after its content"));
    }
    Ok(content)
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// The CRC-32 and the length in the last bytes of a member.
fn trailer(bytes: &[u8]) -> Option<[u32; 2]> {
    let (crc32, rest) = bytes.split_first_chunk()?;
    Some([u32::from_le_bytes(*crc32), u32::from_le_bytes(rest.try_into().ok()?)])
}

fn push_trailer(out: &mut Vec<u8>, crc32: u32, length: u64) -> io::Result<()> {
    out.extend_from_slice(&crc32.to_le_bytes());
    out.extend_from_slice(&u32::try_from(length).map_err(io::Error::other)?.to_le_bytes());
    Ok(())
}

fn set_length(member: &mut [u8], length: usize) -> io::Result<()> {
    let length = u32::try_from(length).map_err(io::Error::other)?;
    member[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What any gzip reader returns for members, one after the other.
    fn read_by_others(members: &[u8]) -> Vec<u8> {
        let mut content = Vec::new();
        flate2::read::MultiGzDecoder::new(members).read_to_end(&mut content).expect("gzip");
        content
    }

    fn deflated(content: &[u8]) -> (Vec<u8>, BodyMember) {
        Compressor::default().member(|out| out.write_all(content)).expect("a member")
    }

    #[test]
    fn a_member_is_measured_and_read_back_here_and_by_any_reader() {
        let varied: Vec<u8> =
            (0..300_000_u32).map(|number| (number.wrapping_mul(number) >> 7).to_le_bytes()[0]).collect();
        for size in [0, 1, 7, 1_000, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 300_000] {
            let plain = &varied[..size];
            for mut bytes in [stored(plain), deflated(plain).0] {
                let length = bytes.len();
                assert_eq!(content(&bytes).expect("its content"), plain);
                assert_eq!(read_by_others(&bytes), plain);
                bytes.extend_from_slice(b"more");
                assert_eq!(measure(&bytes), Measured::Whole(length));
                for cut in (0..length).step_by(1 + length / 500) {
                    let needed = if cut < HEADER_BYTES { HEADER_BYTES } else { length };
                    assert_eq!(measure(&bytes[..cut]), Measured::Begun(needed), "cut at {cut} of {length}");
                }
                assert_eq!(find(&bytes).collect::<Vec<_>>(), [0]);
            }
        }
        for foreign in [&b"{\"a\":1}"[..], &[0; 64], &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 3, 0]] {
            assert_eq!(measure(foreign), Measured::Foreign);
        }
    }

    #[test]
    fn a_flipped_bit_is_noticed_or_changes_nothing() {
        let record = br#"{"record":"sent","target":"a.com","attempt":1,"again":"target a.com"}"#;
        let read = |member: &[u8], length: usize| match measure(member) {
            Measured::Whole(found) if found == length => content(member).ok(),
            _ => None,
        };
        for (member, may_mean_nothing) in [(stored(record), false), (deflated(record).0, true)] {
            for bit in 0..member.len() * 8 {
                let mut damaged = member.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                let read = read(&damaged, member.len());
                assert!(read.is_none() || may_mean_nothing && read.as_deref() == Some(record), "bit {bit}");
            }
        }
    }

    #[test]
    fn a_servers_member_is_checked_against_the_record_before_it() {
        let text = b"{\"tasks\":[1,2,3,1,2,3,1,2,3]}".repeat(40);
        let mut server =
            flate2::GzBuilder::new().filename("answer.json").mtime(7).write(Vec::new(), Compression::new(6));
        server.write_all(&text).expect("room");
        let server = server.finish().expect("a member");
        for (member, described) in [(server.clone(), BodyMember::of_server(&server)), deflated(&text)] {
            assert_eq!((described.bytes, described.content_bytes), (member.len() as u64, text.len() as u64));
            assert_eq!(described.content(&member).expect("sound"), text);
            described.check(&member).expect("sound");
            let end = [&member[member.len() - TRAILER_BYTES..], closing_member()].concat();
            assert_eq!(end.len(), END_BYTES);
            assert!(described.ends_with(&end) && !described.ends_with(&end[1..]));
            for bit in 0..end.len() * 8 {
                let mut damaged = end.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert!(!described.ends_with(&damaged), "bit {bit}");
            }
            for bit in 0..member.len() * 8 {
                let mut damaged = member.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert!(described.content(&damaged).is_err() && described.check(&damaged).is_err(), "bit {bit}");
            }
            for cut in 0..member.len() {
                assert!(
                    described.check(&member[..cut]).is_err() && described.content(&member[..cut]).is_err(),
                    "cut at {cut}"
                );
            }
            let longer = [&member[..], b"x"].concat();
            assert!(described.check(&longer).is_err() && described.content(&longer).is_err());
            for wrong in [
                BodyMember { content_bytes: described.content_bytes - 1, ..described },
                BodyMember { content_bytes: described.content_bytes + 1, ..described },
                BodyMember { content_bytes: MAX_CONTENT_BYTES + 1, ..described },
                BodyMember { bytes: described.bytes + 1, ..described },
                BodyMember { crc32: described.crc32 ^ 1, ..described },
            ] {
                assert!(wrong.content(&member).is_err(), "{wrong:?}");
            }
        }
    }

    #[test]
    fn only_a_member_with_a_plausible_size_is_decompressed() {
        // A body of 32 MiB in which each byte takes six, and the bytes around it
        const MAX: u32 = 201_327_616;
        let claims = |size: u32| {
            let (mut member, _) = deflated(b"content");
            let end = member.len() - 4;
            member[end..].copy_from_slice(&size.to_le_bytes());
            content(&member).expect_err("of another size").to_string()
        };
        assert_eq!(claims(MAX), "a member with a wrong checksum");
        assert_eq!(claims(MAX + 1), "a member with an implausible size");
        assert_eq!(claims(u32::MAX), "a member with an implausible size");
    }

    #[test]
    fn a_failing_writer_ends_the_member_and_an_encoder_is_used_again() {
        let compressor = Compressor::default();
        let failed = compressor.member(|_| Err(io::Error::other("full")));
        assert_eq!(failed.expect_err("the error of the writer").to_string(), "full");
        for size in [3, 400_000, 0, 7] {
            let plain = vec![7; size];
            let (member, _) = compressor.member(|out| out.write_all(&plain)).expect("a member");
            assert_eq!(content(&member).expect("sound"), plain);
            assert_eq!(compressor.0.lock().len(), 1);
        }
    }

    #[test]
    fn the_end_of_a_line_always_has_the_same_length() {
        assert_eq!((closing_member().len(), read_by_others(closing_member())), (CLOSING_BYTES, LINE_END.to_vec()));
    }
}
