//! The body of a reply: its text, and its original bytes if it was gzipped.

use std::ops::Deref;

use bytes::Bytes;

/// The largest body that is read, after decompression: about 200 times a full history.
pub const MAX_BODY_BYTES: usize = 32 * 1024 * 1024;

/// The decompressed text of a body; if it was cut off, the part that arrived.
#[derive(Clone, Debug, Default)]
pub struct ReplyBody {
    text: Bytes,
    gzip: Option<Bytes>,
}

impl ReplyBody {
    /// A complete body that arrived as one gzip member with the content `text`.
    pub(super) fn compressed(text: Bytes, gzip: Bytes) -> Self {
        Self { text, gzip: Some(gzip) }
    }

    /// The original gzip member, if every reader supports it: nothing after it, and nothing in its header but a file
    /// name.
    pub fn gzip(&self) -> Option<&Bytes> {
        self.gzip.as_ref()
    }

    /// The text, as a shareable buffer.
    pub fn text(&self) -> &Bytes {
        &self.text
    }
}

impl Deref for ReplyBody {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.text
    }
}

impl<T: Into<Bytes>> From<T> for ReplyBody {
    fn from(text: T) -> Self {
        Self { text: text.into(), gzip: None }
    }
}
