//! Answers to Arrow record batches: the body of a paid call, byte for byte as the ledger holds it, to rows.
//!
//! ```text
//! target, body -> fast: one pass into columns ──────────────────┬─> sorted by date -> RecordBatch
//!                   └ anything it does not know -> plain: rows ─┘
//! ```
//!
//! Pure: rows are a function of target and body, whatever was read before. No answer is lost to one odd value: what the
//! API leaves out is null, never 0; what does not fit its column is null and counted in [`SchemaDrift`]; only a body that is
//! no JSON object is an error. What an answer means for the run (no data, failed, someone else's) is judged elsewhere.

use arrow::array::RecordBatch;

mod columns;
mod drift;
mod envelope;
mod fast;
mod keys;
mod plain;
mod raw;
mod read_back;
mod scan;
pub mod schema;
#[cfg(test)]
pub(crate) mod tests;
mod value;

use self::scan::Scanner;
use self::{
    columns::{Columns, INTEGERS, Row, SPAM_SCORE, bit},
    keys::KeyPredictor,
};
pub use self::{
    drift::{MOST_UNKNOWN_KEYS, SchemaDrift, Seen, UnexpectedField},
    envelope::Envelope,
    plain::{PlainInfo, PlainMap, PlainRow, plain_rows},
    read_back::rows_of,
};

/// Bytes of answers, or of targets in their rows, that one record batch may come from: its offsets have 32 bits.
pub const LARGEST_BATCH: usize = i32::MAX as usize;

/// The largest answer that is read as rows: sixty times a full history. One of maps alone takes seven times as much
/// memory as bytes.
pub const LARGEST_ANSWER: usize = 8 * 1024 * 1024;

/// Rows of one answer at most, each a month: those of sixteen centuries.
pub const MOST_ROWS: u64 = 20_000;

/// Why an answer has no rows.
#[derive(Debug, thiserror::Error)]
pub enum FlattenError {
    /// The body is no JSON.
    #[error("the answer is not JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    /// The body is JSON of another kind.
    #[error("the answer is a JSON {found}, not an object")]
    NotAnObject { found: &'static str },
    /// No history is that long.
    #[error("the answer has {bytes} bytes, more than the limit of {LARGEST_ANSWER}")]
    TooLarge { bytes: u64 },
    /// Too much for one record batch; nothing was appended.
    #[error("the answer does not fit in the record batch, which is limited to {LARGEST_BATCH} bytes")]
    Full,
}

/// What became of one answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    pub rows: u64,
    /// Items that are no objects and so have no row.
    pub skipped: u64,
    /// Items beyond [`MOST_ROWS`], which have no row either.
    pub beyond: u64,
    /// Whether the fast way sufficed.
    pub fast: bool,
}

/// Gathers the rows of many answers.
#[derive(Default)]
pub struct Flattener {
    columns: Columns,
    habits: KeyPredictor,
    drift: SchemaDrift,
    /// The drift of the answer under way: dropped if it has to be read again.
    drift_here: SchemaDrift,
    /// Bytes of the answers whose rows are gathered.
    gathered: usize,
}

impl Flattener {
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends the rows of one answer, sorted by date: equal dates in the answer's order, rows without a date last.
    ///
    /// After an error the rows are those from before. On [`FlattenError::Full`], [`finish`](Self::finish) and push
    /// again; batches of up to some hundred thousand rows never come near it.
    pub fn push(&mut self, target: &str, body: &[u8]) -> Result<Appended, FlattenError> {
        // What is not UTF-8 becomes U+FFFD, three bytes for as little as one
        let most = body.len().saturating_mul(3);
        if self.gathered.saturating_add(most) > LARGEST_BATCH {
            return Err(FlattenError::Full);
        }
        let before = self.columns.rows();
        let appended = self.read(target, body).and_then(|appended| {
            let targets = (self.columns.rows() - before).saturating_mul(target.len());
            let fits = self.columns.target_bytes().saturating_add(targets) <= LARGEST_BATCH;
            if fits { Ok(appended) } else { Err(FlattenError::Full) }
        });
        if appended.is_err() {
            self.columns.truncate(before);
            return appended;
        }
        self.gathered += most;
        self.columns.end_answer(before, target);
        if !self.drift_here.is_empty() {
            self.drift.absorb(std::mem::take(&mut self.drift_here));
        }
        appended
    }

    /// Appends an answer's rows in any order; some of them, or all, on an error.
    fn read(&mut self, target: &str, body: &[u8]) -> Result<Appended, FlattenError> {
        let before = self.columns.rows();
        if body.len() > LARGEST_ANSWER {
            return Err(FlattenError::TooLarge { bytes: body.len() as u64 });
        }
        let appended = |columns: &Columns, skipped, beyond, fast| Appended {
            rows: (columns.rows() - before) as u64,
            skipped,
            beyond,
            fast,
        };
        self.drift_here.clear();
        if let Ok(text) = std::str::from_utf8(body) {
            let mut reading = fast::Reading {
                scanner: Scanner::new(text),
                target,
                columns: &mut self.columns,
                habits: &mut self.habits,
                drift: &mut self.drift_here,
                skipped: 0,
                rows: 0,
                beyond: 0,
            };
            if reading.answer().is_ok() {
                return Ok(appended(reading.columns, reading.skipped, reading.beyond, true));
            }
            self.columns.truncate(before);
            self.drift_here.clear();
        }
        let answer = plain::read(target, body, &mut self.drift_here)?;
        answer.rows.iter().for_each(|row| append(&mut self.columns, row));
        Ok(appended(&self.columns, answer.skipped, answer.beyond, false))
    }

    pub fn rows(&self) -> usize {
        self.columns.rows()
    }

    /// Hands over what was gathered, in the order of the answers, and starts anew with as much room.
    pub fn finish(&mut self) -> RecordBatch {
        self.gathered = 0;
        self.columns.finish()
    }

    /// What all answers so far had that was not expected.
    pub fn drift(&self) -> &SchemaDrift {
        &self.drift
    }

    /// Hands over what the answers had that was not expected, and starts to count anew.
    pub fn take_drift(&mut self) -> SchemaDrift {
        std::mem::take(&mut self.drift)
    }
}

/// Appends a row that was read the plain way.
fn append(columns: &mut Columns, plain: &PlainRow) {
    let mut row = Row { date: plain.date.unwrap_or_default(), ..Row::default() };
    row.present |= if plain.date.is_some() { bit::DATE } else { 0 };
    row.present |= match plain.info.is_ip {
        None => 0,
        Some(false) => bit::IS_IP,
        Some(true) => bit::IS_IP | bit::IS_IP_TRUE,
    };
    let mut integers = [None; INTEGERS];
    integers[..SPAM_SCORE].copy_from_slice(&plain.integers);
    integers[SPAM_SCORE] = plain.info.target_spam_score;
    for (index, value) in integers.into_iter().enumerate() {
        row.integers[index] = value.unwrap_or_default();
        row.present |= if value.is_some() { bit::integer(index) } else { 0 };
    }
    for (index, text) in std::iter::once(&plain.kind).chain(&plain.info.texts).enumerate() {
        if let Some(text) = text {
            columns.texts[index].bytes.extend_from_slice(text.as_bytes());
            row.present |= bit::text(index);
        }
    }
    if let Some(elements) = &plain.info.platform_type {
        row.present |= bit::PLATFORM_TYPE;
        for element in elements {
            columns.platform_types.push_key(element.as_deref());
        }
    }
    for (index, entries) in plain.maps.iter().enumerate() {
        let Some(entries) = entries else { continue };
        row.present |= bit::map(index);
        for (key, value) in entries {
            columns.maps[index].push(key, *value);
        }
    }
    columns.end_row(&row);
}
