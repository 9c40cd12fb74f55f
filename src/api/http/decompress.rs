//! Content encodings, and the decompression of a body.

use std::io::{self, Read};

use flate2::bufread::{DeflateDecoder, GzDecoder, ZlibDecoder};

use crate::api::MAX_BODY_BYTES;

/// How every gzip member begins (RFC 1952).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// The only gzip header flag that all readers support: a file name follows.
const FILE_NAME_FLAG: u8 = 8;

/// How a body is compressed. Only gzip is requested, but some gateways send the others, too.
#[derive(Clone, Copy)]
pub(super) enum ContentEncoding {
    Gzip,
    Deflate,
    Zstd,
}

impl ContentEncoding {
    /// The encoding that a value of `Content-Encoding` names.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "deflate" => Some(Self::Deflate),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The encoding by the first bytes, which never begin JSON: some gateways drop the header, or compress twice.
    pub(super) fn seen(bytes: &[u8]) -> Option<Self> {
        bytes.starts_with(&GZIP_MAGIC).then_some(Self::Gzip)
    }
}

/// Decompresses a body that is in memory.
pub(super) enum Decompressor<'a> {
    Gzip(Members<'a>),
    /// `deflate` as the standard defines it (RFC 9110, 8.4.1.2).
    Zlib(ZlibDecoder<&'a [u8]>),
    /// `deflate` as some servers implement it, without the zlib header.
    Deflate(DeflateDecoder<&'a [u8]>),
    Zstd(zstd::stream::read::Decoder<'static, &'a [u8]>),
}

impl<'a> Decompressor<'a> {
    pub(super) fn new(encoding: ContentEncoding, compressed: &'a [u8]) -> Self {
        match encoding {
            ContentEncoding::Gzip => Self::Gzip(Members::new(compressed)),
            ContentEncoding::Deflate if is_zlib(compressed) => Self::Zlib(ZlibDecoder::new(compressed)),
            ContentEncoding::Deflate => Self::Deflate(DeflateDecoder::new(compressed)),
            ContentEncoding::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(compressed).expect("memory for a context");
                decoder.window_log_max(MAX_BODY_BYTES.ilog2()).expect("a window that zstd allows");
                Self::Zstd(decoder)
            }
        }
    }

    /// Whether the whole input, read to its end, was one gzip member that every reader supports.
    pub(super) fn is_one_plain_member(&self) -> bool {
        matches!(self, Self::Gzip(members) if members.is_one_and_plain)
    }
}

impl Read for Decompressor<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Gzip(members) => members.read(buffer),
            Self::Zlib(decoder) => decoder.read(buffer),
            Self::Deflate(decoder) => decoder.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
        }
    }
}

/// Whether bytes begin with a zlib header (RFC 1950).
fn is_zlib(bytes: &[u8]) -> bool {
    matches!(bytes, [method, flags, ..] if method & 15 == 8 && u16::from_be_bytes([*method, *flags]) % 31 == 0)
}

/// Consecutive gzip members; anything else after them is ignored.
pub(super) struct Members<'a> {
    decoder: GzDecoder<&'a [u8]>,
    /// Whether there is only one member, with nothing after it and nothing in its header but a file name.
    is_one_and_plain: bool,
}

impl<'a> Members<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let is_plain = bytes.get(3).is_some_and(|flags| flags & !FILE_NAME_FLAG == 0);
        Self { decoder: GzDecoder::new(bytes), is_one_and_plain: is_plain }
    }
}

impl Read for Members<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.decoder.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            let behind = *self.decoder.get_ref();
            self.is_one_and_plain &= behind.is_empty();
            if !behind.starts_with(&GZIP_MAGIC) {
                return Ok(0);
            }
            self.decoder = GzDecoder::new(behind);
        }
    }
}
