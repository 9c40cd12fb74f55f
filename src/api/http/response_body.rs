//! Reads and decompresses the body of an answer.
//!
//! If a body is cut off, the part that arrived is kept, because it may have been paid for. Bodies larger than
//! [`USUAL_BODY`] are read one at a time, so that thirty of them take no more memory than one. A compressed body is
//! decompressed here in one go, which is faster than the client's own streaming. The bytes of a gzip body are kept
//! beside its text if the ledger can store them unchanged.

use std::{
    io::{self, Read},
    sync::Arc,
};

use bytes::Bytes;
use encoding_rs::Encoding;
use reqwest::{Response, header};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    Deadline,
    decompress::{ContentEncoding, Decompressor},
    headers::text,
    hide, lost,
};
use crate::api::{ApiError, ErrorKind, MAX_BODY_BYTES, ReplyBody};

/// Bodies up to this size are read concurrently: seven times a full history.
pub const USUAL_BODY: usize = 1024 * 1024;

/// Larger bodies that are in memory at once, from reading them until the ledger has stored them.
const LARGE_AT_ONCE: usize = 1;

/// Initial capacity for a body of undeclared length: a full history is about 137 KB.
const FIRST_ROOM: usize = 160 * 1024;

/// Maximum number of times a body is decompressed.
const MAX_LAYERS: usize = 2;

/// Reads bodies, and limits how many of them are large at the same time.
#[derive(Debug)]
pub(super) struct Bodies {
    /// Permits to read a large one.
    large: Arc<Semaphore>,
}

impl Default for Bodies {
    fn default() -> Self {
        Self { large: Arc::new(Semaphore::new(LARGE_AT_ONCE)) }
    }
}

impl Bodies {
    /// Reads a body until its end, the deadline or the limit. Returns what arrived, and the error if it is incomplete.
    pub(super) async fn read(&self, mut response: Response, deadline: &Deadline) -> (BodyBuffer, Option<ApiError>) {
        let named = text(response.headers(), &header::CONTENT_ENCODING).map(str::to_owned);
        let declared = response.content_length().and_then(|length| usize::try_from(length).ok());
        let mut body = BodyBuffer {
            bytes: Vec::with_capacity(declared.map_or(FIRST_ROOM, |length| length.min(USUAL_BODY))),
            ..BodyBuffer::default()
        };
        let reading = async {
            while let Some(chunk) = response.chunk().await.map_err(|error| lost(&error))? {
                if body.bytes.len() + chunk.len() > USUAL_BODY && body.permit.is_none() {
                    body.permit = Arc::clone(&self.large).acquire_owned().await.ok();
                }
                let room = MAX_BODY_BYTES - body.bytes.len();
                body.bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if chunk.len() > room {
                    return Err(too_large());
                }
            }
            Ok(())
        };
        let mut end = deadline.meet(reading).await.and_then(|end| end);
        let known = named.as_deref().and_then(ContentEncoding::named);
        let mut encoding = known.or_else(|| ContentEncoding::seen(&body.bytes));
        // Decompress even if reading ended early: a partial body is useful, too.
        for _ in 0..MAX_LAYERS {
            let Some(layer) = encoding else { break };
            end = end.and(self.decompress(&mut body, layer, deadline).await);
            encoding = ContentEncoding::seen(&body.bytes);
        }
        end = end.and(body.decode_utf16());
        if let Some(name) = named.filter(|_| known.is_none()) {
            end = end.and(body.check_text(&name));
        }
        (body, end.err())
    }

    /// Replaces a compressed body by its content, as far as it can be decompressed. A large one that gets no permit
    /// before the deadline stays compressed.
    async fn decompress(
        &self,
        body: &mut BodyBuffer,
        encoding: ContentEncoding,
        deadline: &Deadline,
    ) -> Result<(), ApiError> {
        let compressed = std::mem::replace(&mut body.bytes, Vec::with_capacity(FIRST_ROOM));
        body.gzip = None;
        if compressed.is_empty() {
            return Ok(());
        }
        let mut decoder = Decompressor::new(encoding, &compressed);
        let mut read = decoder.by_ref().take(USUAL_BODY as u64).read_to_end(&mut body.bytes);
        if body.bytes.len() == USUAL_BODY && read.is_ok() {
            if body.permit.is_none() {
                match deadline.meet(Arc::clone(&self.large).acquire_owned()).await {
                    Ok(permit) => body.permit = permit.ok(),
                    Err(late) => {
                        drop(decoder);
                        body.bytes = compressed;
                        return Err(late);
                    }
                }
            }
            // One byte more than allowed, to detect content that is too large.
            let max = MAX_BODY_BYTES - USUAL_BODY + 1;
            read = decoder.by_ref().take(max as u64).read_to_end(&mut body.bytes);
        }
        if body.bytes.len() > MAX_BODY_BYTES {
            body.bytes.truncate(MAX_BODY_BYTES);
            return Err(too_large());
        }
        if read.is_err() && body.bytes.is_empty() {
            // It is not compressed as its header claims: keep the bytes, and accept a complete answer.
            let is_whole = serde_json::from_slice::<serde::de::IgnoredAny>(&compressed).is_ok();
            body.bytes = compressed;
            if is_whole {
                return Ok(());
            }
        } else if read.is_ok() && decoder.is_one_plain_member() {
            body.gzip = Some(compressed);
        }
        read.map(drop).map_err(|error| unreadable(&error))
    }
}

fn unreadable(error: &io::Error) -> ApiError {
    let reason = if error.kind() == io::ErrorKind::UnexpectedEof { "it ends too early" } else { "it is damaged" };
    ApiError { kind: ErrorKind::Lost, message: format!("cannot decompress the body: {reason}") }
}

/// A body; a large one holds its permit until its last reader drops it.
#[derive(Default)]
pub(super) struct BodyBuffer {
    bytes: Vec<u8>,
    /// The gzip member that it arrived as.
    gzip: Option<Vec<u8>>,
    permit: Option<OwnedSemaphorePermit>,
}

impl BodyBuffer {
    /// Converts UTF-16 that begins with its byte order mark to UTF-8, with U+FFFD for invalid data. The token can only
    /// be found in UTF-8.
    fn decode_utf16(&mut self) -> Result<(), ApiError> {
        let encoding = Encoding::for_bom(&self.bytes).filter(|(encoding, _)| *encoding != encoding_rs::UTF_8);
        let Some((encoding, mark)) = encoding else { return Ok(()) };
        let (text, _) = encoding.decode_without_bom_handling(&self.bytes[mark..]);
        self.bytes = text.into_owned().into_bytes();
        self.gzip = None;
        if self.bytes.len() > MAX_BODY_BYTES {
            self.bytes.truncate(MAX_BODY_BYTES);
            return Err(too_large());
        }
        Ok(())
    }

    /// Fails for a body that is not text and has an unknown content encoding of this name, such as `br`.
    fn check_text(&self, encoding: &str) -> Result<(), ApiError> {
        std::str::from_utf8(&self.bytes).map(drop).map_err(|_| {
            let message = format!("the answer is compressed with {encoding:.20}, which this program cannot read");
            ApiError { kind: ErrorKind::Unusable, message }
        })
    }

    /// Redacts the token. Compressed bytes that contain it are dropped.
    pub(super) fn redact(&mut self, token: &[u8]) {
        let in_text = hide(token, &mut self.bytes);
        self.gzip.take_if(|gzip| in_text || hide(token, gzip));
    }
}

impl From<BodyBuffer> for ReplyBody {
    fn from(mut body: BodyBuffer) -> Self {
        let gzip = body.gzip.take().map(Bytes::from);
        let text = if body.permit.is_some() { Bytes::from_owner(body) } else { Bytes::from(body.bytes) };
        match gzip {
            Some(gzip) => Self::compressed(text, gzip),
            None => text.into(),
        }
    }
}

impl AsRef<[u8]> for BodyBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn too_large() -> ApiError {
    let message = format!("the body is larger than {} MiB and was truncated", MAX_BODY_BYTES >> 20);
    ApiError { kind: ErrorKind::Unusable, message }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, GzBuilder, write};

    use super::*;

    /// The text of a body, and whether its bytes can be stored unchanged.
    async fn read(encoding: &str, bytes: Vec<u8>) -> (String, bool, Result<(), String>) {
        let mut body = BodyBuffer { bytes, ..BodyBuffer::default() };
        let encoding = ContentEncoding::named(encoding).expect("a known encoding");
        let end = Bodies::default().decompress(&mut body, encoding, &soon()).await;
        let compressed = ReplyBody::from(body);
        let text = String::from_utf8_lossy(&compressed).into_owned();
        (text, compressed.gzip().is_some(), end.map_err(|error| error.message))
    }

    fn soon() -> Deadline {
        Deadline::after(std::time::Duration::from_secs(5))
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_body_without_a_permit_by_the_deadline_stays_compressed() {
        let bodies = Bodies::default();
        let other = Arc::clone(&bodies.large).acquire_owned().await.expect("free");
        let bytes = gzipped(&"x".repeat(2 * USUAL_BODY), GzBuilder::new());
        let mut body = BodyBuffer { bytes: bytes.clone(), ..BodyBuffer::default() };
        let late = bodies.decompress(&mut body, ContentEncoding::Gzip, &soon()).await.expect_err("no permit");
        assert_eq!(late.message, "no complete answer within 5s");
        assert!(body.bytes == bytes, "as it came");
        drop(other);
        bodies.decompress(&mut body, ContentEncoding::Gzip, &soon()).await.expect("a permit");
        assert_eq!(body.bytes.len(), 2 * USUAL_BODY);
    }

    fn gzipped(text: &str, builder: GzBuilder) -> Vec<u8> {
        let mut encoder = builder.write(Vec::new(), Compression::new(6));
        encoder.write_all(text.as_bytes()).expect("room");
        encoder.finish().expect("a member")
    }

    const TEXT: &str = r#"{"tasks":[]}"#;

    #[tokio::test]
    async fn only_one_plain_gzip_member_is_stored_unchanged() {
        let plain = || gzipped(TEXT, GzBuilder::new());
        let check = async |bytes: Vec<u8>, text: &str, as_it_came: bool| {
            let expected = (text.to_owned(), as_it_came, Ok(()));
            assert_eq!(read("gzip", bytes.clone()).await, expected);
            assert_eq!(read("X-GZIP", bytes).await, expected);
        };
        check(plain(), TEXT, true).await;
        check(gzipped(TEXT, GzBuilder::new().filename("answer.json").mtime(7)), TEXT, true).await;
        check(gzipped(TEXT, GzBuilder::new().comment("hello")), TEXT, false).await;
        check(gzipped(TEXT, GzBuilder::new().extra(vec![1, 2])), TEXT, false).await;
        let divided = [gzipped(&TEXT[..5], GzBuilder::new()), gzipped(&TEXT[5..], GzBuilder::new())].concat();
        check(divided, TEXT, false).await;
        check([plain(), b"\0\0\0".to_vec()].concat(), TEXT, false).await;
        check(TEXT.into(), TEXT, false).await;
        let cut = plain();
        let (text, as_it_came, end) = read("gzip", cut[..cut.len() - 1].to_vec()).await;
        assert_eq!((text.as_str(), as_it_came), (TEXT, false));
        assert_eq!(end, Err("cannot decompress the body: it ends too early".into()));
        let large = "x".repeat(2 * USUAL_BODY);
        check(gzipped(&large, GzBuilder::new()), &large, true).await;
    }

    #[tokio::test]
    async fn encodings_that_were_not_requested_are_decompressed() {
        let mut zlib = write::ZlibEncoder::new(Vec::new(), Compression::fast());
        let mut deflate = write::DeflateEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(TEXT.as_bytes()).and_then(|()| deflate.write_all(TEXT.as_bytes())).expect("room");
        let expected = (TEXT.to_owned(), false, Ok(()));
        assert_eq!(read("deflate", zlib.finish().expect("whole")).await, expected);
        assert_eq!(read("deflate", deflate.finish().expect("whole")).await, expected);
        assert_eq!(read("zstd", zstd::encode_all(TEXT.as_bytes(), 1).expect("a frame")).await, expected);
        for encoding in ["deflate", "zstd"] {
            assert_eq!(read(encoding, TEXT.into()).await, expected, "{encoding} by its header only");
        }
    }

    #[test]
    fn only_text_may_have_an_unknown_encoding() {
        let check = |bytes: &[u8], encoding: &str, expected: Result<(), &str>| {
            assert!(ContentEncoding::named(encoding).is_none(), "{encoding}");
            let body = BodyBuffer { bytes: bytes.to_vec(), ..BodyBuffer::default() };
            let checked = body.check_text(encoding).map_err(|error| (error.kind, error.message));
            assert_eq!(checked, expected.map_err(|message| (ErrorKind::Unusable, message.to_owned())), "{encoding}");
        };
        let message = "the answer is compressed with br, which this program cannot read";
        check(b"\x1b\x0e\x00\xf8\xff", "br", Err(message));
        check(TEXT.as_bytes(), "br", Ok(()));
        check(TEXT.as_bytes(), "identity", Ok(()));
        check(b"", "br", Ok(()));
        let message = "the answer is compressed with xxxxxxxxxxxxxxxxxxxx, which this program cannot read";
        check(b"\xff", &"x".repeat(1_000), Err(message));
    }

    #[test]
    fn utf_16_with_a_byte_order_mark_becomes_utf_8_and_its_token_is_redacted() {
        let check = |bytes: Vec<u8>, expected: Option<&str>| {
            let mut body = BodyBuffer { bytes: bytes.clone(), gzip: Some(Vec::new()), permit: None };
            body.decode_utf16().expect("not too large");
            body.redact(b"sk-0123456789abcdef");
            assert_eq!(body.bytes, expected.map_or(bytes, |text| text.as_bytes().to_vec()));
            assert_eq!(body.gzip.is_some(), expected.is_none(), "gzip bytes of another text");
        };
        let text = "{\"tasks\":\"日本😀\"}";
        let units = |text: &str| format!("\u{feff}{text}").encode_utf16().collect::<Vec<u16>>();
        check(units(text).into_iter().flat_map(u16::to_le_bytes).collect(), Some(text));
        check(units(text).into_iter().flat_map(u16::to_be_bytes).collect(), Some(text));
        let damaged = units("of sk-0123456789abcdef ").into_iter().chain([0xd800]);
        check(damaged.flat_map(u16::to_le_bytes).collect(), Some("of ******************* \u{fffd}"));
        check(b"\xff\xfe{".to_vec(), Some("\u{fffd}"));
        check(format!("\u{feff}{text}").into_bytes(), None);
        check(text.into(), None);
        check(Vec::new(), None);

        let units = [0xfe, 0xff].into_iter().chain([0x65, 0xe5].into_iter().cycle().take(MAX_BODY_BYTES - 2));
        let mut body = BodyBuffer { bytes: units.collect(), ..BodyBuffer::default() };
        assert!(body.decode_utf16().is_err() && body.bytes.len() == MAX_BODY_BYTES, "three bytes for two");
    }

    #[tokio::test]
    async fn compressed_bytes_that_contain_the_token_are_not_stored() {
        let token = "sk-0123456789abcdef";
        let check = async |text: &str, name: &str, expected: &str, as_it_came: bool| {
            let mut body =
                BodyBuffer { bytes: gzipped(text, GzBuilder::new().filename(name)), ..BodyBuffer::default() };
            Bodies::default().decompress(&mut body, ContentEncoding::Gzip, &soon()).await.expect("whole");
            body.redact(token.as_bytes());
            let body = ReplyBody::from(body);
            assert_eq!((&body[..], body.gzip().is_some()), (expected.as_bytes(), as_it_came));
        };
        check("plain", "name", "plain", true).await;
        check("of sk-0123456789abcdef", "name", "of *******************", false).await;
        check("plain", token, "plain", false).await;
    }
}
