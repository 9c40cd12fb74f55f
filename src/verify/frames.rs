//! zstd frames one after another, as they lie in a file: measured, decompressed, and hashed on the way.

use std::{
    fs::File,
    io::{self, Read},
};

use sha2::{Digest, Sha256};
use zstd::{bulk::Decompressor, zstd_safe};

/// What is read at once.
const READ: usize = 1 << 20;
/// The most that a frame may hold, which is what the largest body may take as a text.
const LARGEST_FRAME: usize = 6 * 32 * 1024 * 1024 + 1024;
/// Bytes behind the last whole line in which something whole is looked for.
pub(super) const LONGEST_TAIL: u64 = 64 << 20;
/// The bit of a frame's descriptor that says that a checksum follows.
const CHECKSUM: u8 = 0x04;

/// The frames of one file.
pub(super) struct Frames<'a> {
    source: io::Take<&'a mut File>,
    buffer: Vec<u8>,
    /// Where the next frame begins in the buffer.
    at: usize,
    digest: Sha256,
}

/// What comes next in a file.
pub(super) enum Next {
    /// A frame of this size, which is in the buffer whole.
    Frame(usize),
    /// Something that is no whole frame, up to the end.
    Torn,
    /// The end.
    End,
}

impl<'a> Frames<'a> {
    /// Those in the first `end` bytes.
    pub(super) fn new(file: &'a mut File, end: u64) -> Self {
        Self { source: file.take(end), buffer: Vec::new(), at: 0, digest: Sha256::new() }
    }

    /// Reads as far as the next frame goes.
    pub(super) fn next(&mut self) -> Result<Next, String> {
        loop {
            let rest = &self.buffer[self.at..];
            if let Ok(size) = zstd_safe::find_frame_compressed_size(rest)
                && !rest.is_empty()
            {
                return Ok(Next::Frame(size));
            }
            if rest.len() > LARGEST_FRAME {
                return Err("there is no end to a frame".to_owned());
            }
            if self.more().map_err(|error| error.to_string())? == 0 {
                return Ok(if self.at < self.buffer.len() { Next::Torn } else { Next::End });
            }
        }
    }

    fn more(&mut self) -> io::Result<usize> {
        self.buffer.drain(..self.at);
        self.at = 0;
        let before = self.buffer.len();
        // In large steps where a frame is large, so that it is not measured over and over again.
        let wanted = READ.max(before) as u64;
        let read = self.source.by_ref().take(wanted).read_to_end(&mut self.buffer)?;
        self.digest.update(&self.buffer[before..]);
        Ok(read)
    }

    pub(super) fn take(&mut self, size: usize) -> &[u8] {
        self.at += size;
        &self.buffer[self.at - size..self.at]
    }

    /// What is left was torn by a crash only if nothing whole follows in it.
    pub(super) fn must_be_torn(&mut self, rest: u64) -> Result<(), String> {
        if rest > LONGEST_TAIL {
            return Err("it cannot be read, and much follows".to_owned());
        }
        while self.more().map_err(|error| error.to_string())? > 0 {}
        match something_whole(&self.buffer[self.at..]) {
            Some(start) => Err(format!("it cannot be read, yet something whole follows {start} bytes later")),
            None => Ok(()),
        }
    }

    /// The digest of everything up to the end.
    pub(super) fn finish(mut self) -> io::Result<String> {
        self.at = self.buffer.len();
        while self.more()? > 0 {
            self.at = self.buffer.len();
        }
        Ok(hex(&self.digest.finalize()))
    }
}

/// What is in a frame, if its checksum says so.
pub(super) fn content(decompressor: &mut Decompressor<'_>, frame: &[u8]) -> Result<Vec<u8>, String> {
    has_checksum(frame)?;
    let size = content_size(frame).ok_or("a frame without a believable size")?;
    let content = decompressor.decompress(frame, size).map_err(|error| error.to_string())?;
    if content.len() == size { Ok(content) } else { Err("a frame shorter than it says".to_owned()) }
}

/// A flipped bit would take the protection of a frame away that has none.
pub(super) fn has_checksum(frame: &[u8]) -> Result<(), String> {
    let has_one = frame.get(4).is_some_and(|descriptor| descriptor & CHECKSUM != 0);
    if has_one { Ok(()) } else { Err("a frame without a checksum".to_owned()) }
}

/// How much a frame says it holds, if that can be.
pub(super) fn content_size(frame: &[u8]) -> Option<usize> {
    let size = zstd_safe::get_frame_content_size(frame).ok().flatten();
    size.and_then(|size| usize::try_from(size).ok()).filter(|size| *size <= LARGEST_FRAME)
}

/// Where in some bytes a whole frame begins, if one does.
pub(super) fn something_whole(bytes: &[u8]) -> Option<usize> {
    let mut decompressor = Decompressor::new().ok()?;
    let magic = zstd_safe::MAGICNUMBER.to_le_bytes();
    let mut begins = bytes.windows(4).enumerate().filter(|(_, word)| *word == magic).map(|(start, _)| start);
    begins.find(|start| {
        let frame = &bytes[*start..];
        let size = zstd_safe::find_frame_compressed_size(frame).ok();
        size.is_some_and(|size| content(&mut decompressor, &frame[..size]).is_ok())
    })
}

/// Bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}
