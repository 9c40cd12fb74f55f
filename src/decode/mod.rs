//! Decodes an answer in one pass: the body of a paid call, as stored in the ledger, becomes its envelope (what it
//! reports about itself) and its rows (an Arrow record batch).
//!
//! ```text
//! body -> answer: tasks, results ─┬─> envelope
//!                                 └─> items -> columns -> sorted by date -> RecordBatch
//! ```
//!
//! The fields of an item that become columns are listed in [`schema`].
//!
//! Pure: the result depends on target and body only, not on what was decoded before. No answer is lost because of one
//! unexpected value: what the API leaves out is null, never 0, and what does not fit its column is null and counted in
//! [`SchemaDrift`]. Only a body without a JSON object is an error. The meaning of an answer for the run (no data,
//! failed, about another target) is decided elsewhere.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, PoisonError},
};

use arrow::array::{Array, RecordBatch};
use serde::de::IgnoredAny;

mod answer;
mod column_builders;
mod drift;
mod ends;
mod envelope;
mod item_keys;
mod items;
mod lenient;
mod scan;
pub mod schema;
#[cfg(test)]
pub(crate) mod tests;
mod value;

use self::items::ItemReader;
pub use self::{
    drift::{DriftKind, MAX_UNKNOWN_KEYS, SchemaDrift, Seen},
    envelope::{About, Envelope},
};

/// The largest answer that is read as rows: sixty times a full history. One that consists of maps takes seven times its
/// size in memory, so that the 32-bit offsets of a batch always suffice.
pub const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// The largest answer that is decoded concurrently with others: seven times a full history. Several larger ones at once
/// would take too much memory.
pub const MAX_BYTES_AHEAD: usize = 1024 * 1024;

/// Maximum rows of one answer: a row is a month, so this is sixteen centuries.
pub const MAX_ROWS: u64 = 20_000;

/// Why an answer has no rows.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The body is not JSON.
    #[error("the answer is not JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    /// The body is JSON, but not an object.
    #[error("the answer is a JSON {found}, not an object")]
    NotAnObject { found: &'static str },
    /// No history is that long.
    #[error("the answer has {bytes} bytes, more than the limit of {MAX_ANSWER_BYTES}")]
    TooLarge { bytes: u64 },
}

/// The decoded content of one answer.
#[derive(Debug)]
pub struct DecodedAnswer {
    /// As returned by [`Envelope::read`].
    pub envelope: Option<Envelope>,
    pub rows: Result<DecodedRows, DecodeError>,
}

/// The rows of one answer.
#[derive(Debug)]
pub struct DecodedRows {
    /// Sorted by date: equal dates in the answer's order, rows without a date last.
    pub batch: RecordBatch,
    /// Differences from the schema.
    pub drift: SchemaDrift,
}

impl DecodedRows {
    /// The number of rows without a usable date; they come last.
    pub fn undated(&self) -> u64 {
        self.batch.column_by_name(schema::DATE).map_or(0, |dates| dates.null_count() as u64)
    }

    /// The number of items beyond [`MAX_ROWS`], which have no row.
    pub fn items_over_limit(&self) -> u64 {
        self.drift.count(&DriftKind::TooManyItems)
    }
}

/// Decodes answers one after another. The state that it keeps between answers (capacity, the order of keys) only
/// affects speed.
#[derive(Default)]
pub struct Decoder(ItemReader);

impl Decoder {
    pub fn new() -> Self {
        Self::default()
    }

    /// Decodes an answer for `target`.
    pub fn decode(&mut self, target: &str, body: &[u8]) -> DecodedAnswer {
        if body.len() > MAX_ANSWER_BYTES {
            let rows = Err(DecodeError::TooLarge { bytes: body.len() as u64 });
            return DecodedAnswer { envelope: Envelope::read(target, body), rows };
        }
        let items = &mut self.0;
        items.start(target);
        let Ok(envelope) = answer::read(target, body, Some(items)) else {
            return DecodedAnswer { envelope: None, rows: Err(reason(body)) };
        };
        DecodedAnswer { envelope, rows: Ok(items.finish()) }
    }
}

/// Why a body does not begin with a JSON object, from a parser with descriptive errors.
#[cold]
fn reason(body: &[u8]) -> DecodeError {
    let text = String::from_utf8_lossy(body);
    match serde_json::from_str::<IgnoredAny>(&text) {
        Err(error) => error.into(),
        Ok(_) => DecodeError::NotAnObject { found: value::type_name(text.trim_start().bytes().next().unwrap_or(0)) },
    }
}

/// Decoders shared by many tasks, since they are expensive to create.
#[derive(Default)]
pub struct DecoderPool(Mutex<Vec<Decoder>>);

impl DecoderPool {
    /// Decodes an answer for `target`; one that is larger than [`MAX_BYTES_AHEAD`] without its rows.
    pub fn decode(&self, target: &str, body: &[u8]) -> (Option<Envelope>, Option<Result<DecodedRows, DecodeError>>) {
        if body.len() > MAX_BYTES_AHEAD {
            return (Envelope::read(target, body), None);
        }
        let mut decoder = self.lock().pop().unwrap_or_default();
        // The answer is not stored yet: a panic while decoding must not lose it. Its rows are decoded again from the
        // ledger.
        let decoded = catch_unwind(AssertUnwindSafe(|| decoder.decode(target, body)));
        let Ok(DecodedAnswer { envelope, rows }) = decoded else { return (Envelope::read(target, body), None) };
        self.lock().push(decoder);
        (envelope, Some(rows))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Decoder>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
