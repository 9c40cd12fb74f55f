//! Decodes an answer in one pass: the body of a paid call, as the ledger stores it, becomes its envelope (what it reports
//! about itself) and its rows (an Arrow record batch).
//!
//! ```text
//! body -> answer: tasks, results ─┬─> envelope
//!                                 └─> items -> columns -> sorted by date -> RecordBatch
//! ```
//!
//! The fields of an item that become columns are listed in [`schema`].
//!
//! Pure: both depend on target and body only, not on what was decoded before. No answer is lost to one odd value: what
//! the API leaves out is null, never 0; what does not fit its column is null and counted in [`SchemaDrift`]; only a
//! body without a JSON object is an error. What an answer means for the run (no data, failed, about another target) is
//! judged elsewhere.

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
    drift::{MOST_UNKNOWN_KEYS, SchemaDrift, Seen, UnexpectedField},
    envelope::Envelope,
};

/// The largest answer that is read as rows: sixty times a full history. One of maps alone takes seven times as much
/// memory as bytes, so that the offsets of a batch, which have 32 bits, always suffice.
pub const LARGEST_ANSWER: usize = 8 * 1024 * 1024;

/// The largest answer whose rows are decoded while others are: seven times a full history. Several larger ones at once
/// would take too much memory.
pub const LARGEST_AHEAD: usize = 1024 * 1024;

/// Rows of one answer at most, each a month: those of sixteen centuries.
pub const MOST_ROWS: u64 = 20_000;

/// Why an answer has no rows.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The body is not JSON.
    #[error("the answer is not JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    /// The body is JSON of another kind.
    #[error("the answer is a JSON {found}, not an object")]
    NotAnObject { found: &'static str },
    /// No history is that long.
    #[error("the answer has {bytes} bytes, more than the limit of {LARGEST_ANSWER}")]
    TooLarge { bytes: u64 },
}

/// What one answer has.
#[derive(Debug)]
pub struct DecodedAnswer {
    /// As [`Envelope::read`] has it.
    pub envelope: Option<Envelope>,
    pub rows: Result<DecodedRows, DecodeError>,
}

/// The rows of one answer.
#[derive(Debug)]
pub struct DecodedRows {
    /// Sorted by date: equal dates in the answer's order, rows without a date last.
    pub batch: RecordBatch,
    /// Items that are not objects and so have no row.
    pub skipped: u64,
    /// Items beyond [`MOST_ROWS`], which have no row either.
    pub beyond: u64,
    /// What was not expected.
    pub drift: SchemaDrift,
}

impl DecodedRows {
    /// How many rows have no usable date: they come last.
    pub fn undated(&self) -> u64 {
        self.batch.column_by_name(schema::DATE).map_or(0, |dates| dates.null_count() as u64)
    }
}

/// Decodes answers one after another. What it keeps from one to the next (room, the order of keys) is for speed only.
#[derive(Default)]
pub struct Decoder(ItemReader);

impl Decoder {
    pub fn new() -> Self {
        Self::default()
    }

    /// Decodes an answer about `target`.
    pub fn decode(&mut self, target: &str, body: &[u8]) -> DecodedAnswer {
        if body.len() > LARGEST_ANSWER {
            let rows = Err(DecodeError::TooLarge { bytes: body.len() as u64 });
            return DecodedAnswer { envelope: Envelope::read(body), rows };
        }
        let items = &mut self.0;
        items.start(target);
        let Ok(envelope) = answer::read(body, Some(items)) else {
            return DecodedAnswer { envelope: None, rows: Err(reason(body)) };
        };
        DecodedAnswer { envelope, rows: Ok(items.finish()) }
    }
}

/// Why a body does not begin with a JSON object, found with a reader that has words for it.
#[cold]
fn reason(body: &[u8]) -> DecodeError {
    let text = String::from_utf8_lossy(body);
    match serde_json::from_str::<IgnoredAny>(&text) {
        Err(error) => error.into(),
        Ok(_) => DecodeError::NotAnObject { found: value::type_name(text.trim_start().bytes().next().unwrap_or(0)) },
    }
}

/// Decoders that many tasks share: they are costly to set up.
#[derive(Default)]
pub struct DecoderPool(Mutex<Vec<Decoder>>);

impl DecoderPool {
    /// Decodes an answer about `target`; one that is larger than [`LARGEST_AHEAD`] without its rows.
    pub fn decode(&self, target: &str, body: &[u8]) -> (Option<Envelope>, Option<Result<DecodedRows, DecodeError>>) {
        if body.len() > LARGEST_AHEAD {
            return (Envelope::read(body), None);
        }
        let mut decoder = self.lock().pop().unwrap_or_default();
        // The answer is not stored yet: a panic over its rows must not lose it. They are decoded again from the ledger.
        let decoded = catch_unwind(AssertUnwindSafe(|| decoder.decode(target, body)));
        let Ok(DecodedAnswer { envelope, rows }) = decoded else { return (Envelope::read(body), None) };
        self.lock().push(decoder);
        (envelope, Some(rows))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Decoder>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
