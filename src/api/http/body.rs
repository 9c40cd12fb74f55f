//! An answer's body as far as it comes, decompressed.
//!
//! What came of a body is kept, whatever ends it: it was perhaps paid for. Bodies beyond [`USUAL_BODY`] are read one
//! at a time, so that thirty of them at once take no more memory than one. A gzip body is decompressed here in one
//! piece: the client's own way goes in small steps through several layers.

use std::{
    io::{self, Read},
    sync::Arc,
};

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use reqwest::{Response, header};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Deadline, lost, text};
use crate::api::{ApiError, ErrorKind};

/// The largest body that is read, after decompression: some 200 times a full history.
pub const LARGEST_BODY: usize = 32 * 1024 * 1024;

/// Bodies up to this size are read side by side: seven times a full history.
pub const USUAL_BODY: usize = 1024 * 1024;

/// Larger bodies that are in memory at once, from their reading until the ledger has them.
const LARGE_AT_ONCE: usize = 1;

/// Room for a body of undeclared length: a full history is some 137 KB.
const FIRST_ROOM: usize = 160 * 1024;

/// Reads bodies, of which few may be large.
#[derive(Debug)]
pub(super) struct Bodies {
    /// Who may read a large one.
    large: Arc<Semaphore>,
}

impl Default for Bodies {
    fn default() -> Self {
        Self { large: Arc::new(Semaphore::new(LARGE_AT_ONCE)) }
    }
}

impl Bodies {
    /// Reads a body until its end, the deadline or the limit; what came by then, and why it is not all.
    pub(super) async fn read(&self, mut response: Response, deadline: &Deadline) -> (Body, Option<ApiError>) {
        let is_gzip = text(response.headers(), &header::CONTENT_ENCODING).is_some_and(is_gzip);
        let declared = response.content_length().and_then(|length| usize::try_from(length).ok());
        let mut body = Body {
            bytes: Vec::with_capacity(declared.map_or(FIRST_ROOM, |length| length.min(USUAL_BODY))),
            permit: None,
        };
        let reading = async {
            while let Some(chunk) = response.chunk().await.map_err(|error| lost(&error))? {
                if body.bytes.len() + chunk.len() > USUAL_BODY && body.permit.is_none() {
                    body.permit = Arc::clone(&self.large).acquire_owned().await.ok();
                }
                let room = LARGEST_BODY - body.bytes.len();
                body.bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if chunk.len() > room {
                    return Err(too_large());
                }
            }
            Ok(())
        };
        let end = deadline.meet(reading).await.and_then(|end| end);
        let end = if is_gzip { end.and(self.decompress(&mut body).await) } else { end };
        (body, end.err())
    }

    /// Puts a gzip body's content in its place, as far as the body goes.
    async fn decompress(&self, body: &mut Body) -> Result<(), ApiError> {
        let compressed = std::mem::replace(&mut body.bytes, Vec::with_capacity(FIRST_ROOM));
        if compressed.is_empty() {
            return Ok(());
        }
        let mut decoder = MultiGzDecoder::new(compressed.as_slice());
        let mut read = decoder.by_ref().take(USUAL_BODY as u64).read_to_end(&mut body.bytes);
        if body.bytes.len() == USUAL_BODY && read.is_ok() {
            if body.permit.is_none() {
                body.permit = Arc::clone(&self.large).acquire_owned().await.ok();
            }
            // One byte more than may be tells whether there are more.
            let most = LARGEST_BODY - USUAL_BODY + 1;
            read = decoder.take(most as u64).read_to_end(&mut body.bytes);
        }
        if body.bytes.len() > LARGEST_BODY {
            body.bytes.truncate(LARGEST_BODY);
            return Err(too_large());
        }
        if read.is_err() && body.bytes.is_empty() {
            // Nothing of it is gzip, whatever its header says: what came is kept, and a whole answer is taken as it is.
            let is_whole = serde_json::from_slice::<serde::de::IgnoredAny>(&compressed).is_ok();
            body.bytes = compressed;
            if is_whole {
                return Ok(());
            }
        }
        read.map(drop).map_err(|error| {
            let reason =
                if error.kind() == io::ErrorKind::UnexpectedEof { "it ends too soon" } else { "it is damaged" };
            ApiError { kind: ErrorKind::Lost, message: format!("the compressed body cannot be read: {reason}") }
        })
    }
}

/// A body, where it is large with the permit to be that, which it gives back when its last reader is done.
pub(super) struct Body {
    bytes: Vec<u8>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Body {
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl From<Body> for Bytes {
    fn from(body: Body) -> Self {
        if body.permit.is_some() { Self::from_owner(body) } else { body.bytes.into() }
    }
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn is_gzip(encoding: &str) -> bool {
    encoding.eq_ignore_ascii_case("gzip") || encoding.eq_ignore_ascii_case("x-gzip")
}

fn too_large() -> ApiError {
    let message = format!("the body is larger than {} MiB; it is cut there", LARGEST_BODY >> 20);
    ApiError { kind: ErrorKind::TooLarge, message }
}
