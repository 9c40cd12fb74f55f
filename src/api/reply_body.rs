//! A reply's body: its text, and where it came gzipped the bytes that it came as.

use std::ops::Deref;

use bytes::Bytes;

/// The text of a body, decompressed; what came of it where it was cut off.
#[derive(Clone, Debug, Default)]
pub struct ReplyBody {
    text: Bytes,
    gzip: Option<Bytes>,
}

impl ReplyBody {
    /// A whole body that came as one gzip member, whose content is `text`.
    pub(super) fn compressed(text: Bytes, gzip: Bytes) -> Self {
        Self { text, gzip: Some(gzip) }
    }

    /// The gzip member that it came as, if any reader accepts that: nothing after it, nothing in its header but a file
    /// name.
    pub fn gzip(&self) -> Option<&Bytes> {
        self.gzip.as_ref()
    }

    /// The text, to share.
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
