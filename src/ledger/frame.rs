//! zstd frames: what the ledger's files are made of.
//!
//! Each frame carries its content's size and checksum, so that it can be measured without reading
//! on, decompressed alone, and trusted once it has been.

use std::{
    cell::RefCell,
    io::{self, Write},
    sync::{Mutex, MutexGuard, PoisonError},
};

use zstd::{
    bulk::{Compressor, Decompressor},
    zstd_safe::{self, CParameter},
};

use crate::api::http::LARGEST_BODY;

/// A level below 1 trades a third of the size for two thirds of the time; answers of 138 KB become some 30 KB.
const LEVEL: i32 = -3;

/// The most that one frame may hold: an answer's largest body as a JSON text, in which a byte may take six.
const LARGEST: usize = 6 * LARGEST_BODY + 1024;

/// Buffers that have grown past this size for an unusual body are not kept.
const LARGEST_KEPT: usize = 1 << 20;
/// Contents up to this size are written out before they are compressed, which is faster.
const SMALL: usize = 2 * 1024 * 1024;

/// Compresses frames. Contexts and buffers are costly to set up, so they are kept and shared.
#[derive(Default)]
pub(super) struct Press(Mutex<Vec<Plate>>);

/// What frames are made with.
struct Plate {
    compressor: Compressor<'static>,
    content: Vec<u8>,
    frame: Vec<u8>,
}

impl Plate {
    fn new() -> io::Result<Self> {
        let mut compressor = Compressor::new(LEVEL)?;
        compressor.set_parameter(CParameter::ChecksumFlag(true))?;
        Ok(Self { compressor, content: Vec::new(), frame: Vec::new() })
    }
}

impl Press {
    /// One frame with size and checksum.
    pub(super) fn frame(&self, content: &[u8]) -> io::Result<Vec<u8>> {
        let mut plate = self.take()?;
        let frame = plate.compressor.compress(content)?;
        self.put_back(plate);
        Ok(frame)
    }

    /// Two frames, one behind the other, and the bytes of the second. `second` writes the content of that one, the same
    /// each time, which is held in memory only while it is small; `first` makes the other's content of those bytes.
    pub(super) fn two_frames(
        &self,
        first: impl FnOnce(usize) -> Vec<u8>,
        second: impl Fn(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<(Vec<u8>, usize)> {
        let mut counter = Counter(0);
        second(&mut counter)?;
        let mut plate = self.take()?;
        let Plate { compressor, content, frame } = &mut plate;
        frame.clear();
        if counter.0 <= SMALL {
            content.clear();
            second(content)?;
            frame.reserve(zstd_safe::compress_bound(content.len()));
            compressor.compress_to_buffer(content, frame)?;
        } else {
            let mut encoder = zstd::stream::write::Encoder::new(&mut *frame, LEVEL)?;
            encoder.include_checksum(true)?;
            encoder.include_contentsize(true)?;
            encoder.set_pledged_src_size(Some(counter.0 as u64))?;
            second(&mut encoder)?;
            encoder.finish()?;
        }
        let length = frame.len();
        let head = first(length);
        let mut frames = Vec::with_capacity(zstd_safe::compress_bound(head.len()) + length);
        compressor.compress_to_buffer(&head, &mut frames)?;
        frames.extend_from_slice(frame);
        self.put_back(plate);
        Ok((frames, length))
    }

    fn take(&self) -> io::Result<Plate> {
        let idle = self.plates().pop();
        idle.map_or_else(Plate::new, Ok)
    }

    fn put_back(&self, plate: Plate) {
        if plate.content.capacity().max(plate.frame.capacity()) <= LARGEST_KEPT {
            self.plates().push(plate);
        }
    }

    fn plates(&self) -> MutexGuard<'_, Vec<Plate>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts bytes and forgets them.
struct Counter(usize);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The bit of a frame header's descriptor that says that a checksum follows (RFC 8878, 3.1.1.1.1).
const CHECKSUM_FLAG: u8 = 0x04;

/// What stands at the beginning of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Measured {
    /// A frame of this many bytes.
    Whole(usize),
    /// The beginning of a frame whose end is not here.
    Begun,
    /// No frame.
    Foreign,
}

/// Finds the length of the frame at the beginning of `bytes` without decompressing it.
pub(super) fn measure(bytes: &[u8]) -> Measured {
    const MAGIC: [u8; 4] = zstd_safe::MAGICNUMBER.to_le_bytes();
    if !MAGIC.starts_with(&bytes[..bytes.len().min(4)]) {
        return Measured::Foreign;
    }
    // A frame that says it has no checksum is none of ours: a flipped bit would take its protection away.
    if bytes.get(4).is_some_and(|descriptor| descriptor & CHECKSUM_FLAG == 0) {
        return Measured::Foreign;
    }
    match zstd_safe::find_frame_compressed_size(bytes) {
        Ok(length) => Measured::Whole(length),
        Err(code) if zstd_safe::get_error_name(code) == "Src size is incorrect" => Measured::Begun,
        Err(_) => Measured::Foreign,
    }
}

thread_local! {
    /// A context takes as long to set up as a small frame to decompress.
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Decompresses one whole frame and checks its checksum.
pub(super) fn content(frame: &[u8]) -> io::Result<Vec<u8>> {
    let size = zstd_safe::get_frame_content_size(frame).ok().flatten();
    let size = size.and_then(|size| usize::try_from(size).ok()).filter(|size| *size <= LARGEST);
    let Some(size) = size else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame without a believable size"));
    };
    let content = DECOMPRESSOR.with_borrow_mut(|kept| {
        let decompressor = match kept {
            Some(decompressor) => decompressor,
            None => kept.insert(Decompressor::new()?),
        };
        decompressor.decompress(frame, size)
    })?;
    if content.len() != size {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame shorter than it says"));
    }
    Ok(content)
}

/// Checks one whole frame against its checksum, without holding its content where that is large.
pub(super) fn check(frame: &[u8]) -> io::Result<()> {
    let size = zstd_safe::get_frame_content_size(frame).ok().flatten();
    match size.and_then(|size| usize::try_from(size).ok()) {
        // Faster in one piece, with a context that is kept.
        Some(size) if size <= SMALL => content(frame).map(drop),
        _ => zstd::stream::copy_decode(frame, io::sink()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_the_same_to_a_reader_whether_it_was_streamed_or_not() {
        for size in [0, 1, SMALL, SMALL + 1, 3 * SMALL] {
            let bytes = vec![7; size];
            let (frames, length) =
                Press::default().two_frames(|_| b"head".to_vec(), |out| out.write_all(&bytes)).expect("two frames");
            let (head, frame) = frames.split_at(frames.len() - length);
            assert_eq!(content(head).expect("its content"), b"head");
            let frame = frame.to_vec();
            assert_eq!(measure(&frame), Measured::Whole(frame.len()));
            assert_eq!(content(&frame).expect("its content"), bytes);
            check(&frame).expect("sound");
            let mut damaged = frame.clone();
            *damaged.last_mut().expect("a checksum") ^= 1;
            assert!(check(&damaged).is_err());
        }
    }

    #[test]
    fn a_frame_is_measured_and_read_back() {
        let press = Press::default();
        for content_ in [Vec::new(), vec![7], vec![7; 300_000]] {
            let mut bytes = press.frame(&content_).expect("a frame");
            let length = bytes.len();
            assert_eq!(content(&bytes).expect("its content"), content_);
            bytes.extend_from_slice(b"more");
            assert_eq!(measure(&bytes), Measured::Whole(length));
            for cut in 1..length {
                assert_eq!(measure(&bytes[..cut]), Measured::Begun, "cut at {cut} of {length}");
            }
        }
        assert_eq!(measure(b"{\"a\":1}"), Measured::Foreign);
        assert_eq!(measure(&[0; 64]), Measured::Foreign);
    }

    #[test]
    fn a_flipped_bit_never_changes_what_is_read() {
        let record = br#"{"record":"sent","target":"a.com","attempt":1}"#;
        let frame = Press::default().frame(record).expect("a frame");
        for bit in 0..frame.len() * 8 {
            let mut damaged = frame.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            // One bit of a frame's header means nothing: the content is the same with either value.
            let noticed = measure(&damaged) != Measured::Whole(frame.len());
            assert!(noticed || content(&damaged).map_or(true, |read| read == record), "bit {bit}");
        }
    }

    #[test]
    fn only_a_frame_that_tells_a_believable_size_is_read() {
        // A body of 32 MiB in which each byte takes six, and what stands around it
        const MOST: u64 = 201_327_616;
        // A frame's beginning, by RFC 8878: one segment, a checksum, and a size of eight bytes
        let claims = |size: u64| [&[0x28, 0xb5, 0x2f, 0xfd, 0xe4][..], &size.to_le_bytes(), &[1, 0, 0]].concat();
        let refused = |frame: &[u8]| {
            let error = content(frame).expect_err("no frame").to_string();
            error == "a frame without a believable size"
        };
        assert!(!refused(&claims(MOST)), "refused for what it lacks");
        assert!(refused(&claims(MOST + 1)) && refused(&claims(u64::MAX - 2)));
        let mut untold = zstd::stream::write::Encoder::new(Vec::new(), LEVEL).expect("an encoder");
        untold.write_all(b"content").expect("room");
        assert!(refused(&untold.finish().expect("a frame")));
        assert!(refused(b"no frame at all"));
    }

    #[test]
    fn a_frame_without_a_checksum_or_of_an_unknown_kind_is_none() {
        let bare = zstd::bulk::compress(b"content", LEVEL).expect("a frame");
        assert_eq!(measure(&bare), Measured::Foreign);
        let mut unknown = Press::default().frame(b"content").expect("a frame");
        // Reserved for what comes
        unknown[4] |= 0x08;
        assert_eq!(measure(&unknown), Measured::Foreign);
    }

    #[test]
    fn what_made_a_frame_is_used_again_unless_an_unusual_body_has_made_it_large() {
        let check = |size: usize, kept: usize| {
            let press = Press::default();
            for _ in 0..3 {
                press.two_frames(|_| b"head".to_vec(), |out| out.write_all(&vec![7; size])).expect("two frames");
            }
            assert_eq!(press.plates().len(), kept, "{size} bytes");
            press.frame(b"content").expect("a frame");
            assert_eq!(press.plates().len(), 1);
        };
        check(1_000, 1);
        check(400_000, 1);
        check(1_500_000, 0);
    }

    #[test]
    fn a_counter_takes_all_and_counts_it() {
        let mut counter = Counter(1);
        assert_eq!((counter.write(b"abc").expect("taken"), counter.0), (3, 4));
        counter.flush().expect("nothing to do");
    }
}
