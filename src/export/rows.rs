//! The rows of one stored answer, with remarks about it.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;

use super::lines::UNREADABLE;
use crate::decode::{DecodeError, DecodedRows, SchemaDrift};

/// What one answer adds to `backlinks_history`.
#[derive(Debug)]
pub(super) struct AnswerRows {
    /// Its rows, sorted by date; `None`: the answer cannot be read as rows.
    pub(super) batch: Option<RecordBatch>,
    /// How many of them have no usable date: they come last, and belong to a separate table.
    pub(super) undated: u64,
    /// The text for the column `message`, instead of the API's own message.
    pub(super) remark: Option<String>,
    /// Differences from the schema.
    pub(super) drift: SchemaDrift,
    /// Memory that the rows take, in bytes.
    pub(super) bytes: usize,
}

impl AnswerRows {
    pub(super) fn unreadable(remark: String) -> Self {
        Self { batch: None, undated: 0, remark: Some(remark), drift: SchemaDrift::default(), bytes: 0 }
    }
}

impl From<Result<DecodedRows, DecodeError>> for AnswerRows {
    fn from(decoded: Result<DecodedRows, DecodeError>) -> Self {
        match decoded {
            Ok(rows) => {
                let (bytes, undated) = (rows.batch.get_array_memory_size(), rows.undated());
                let remark = remark(rows.batch.num_rows(), undated, rows.beyond);
                Self { batch: Some(rows.batch), undated, remark, drift: rows.drift, bytes }
            }
            // It stays in the ledger only: its target needs attention.
            Err(error) => Self::unreadable(format!("{UNREADABLE}: {error}")),
        }
    }
}

/// The remark about an answer with this many rows, of which some are `undated`, and with items `beyond` the limit;
/// `None`: nothing unusual.
fn remark(rows: usize, undated: u64, beyond: u64) -> Option<String> {
    let beyond = (beyond > 0).then(|| format!("only the first {rows} items are rows; {beyond} more are in the ledger"));
    let items = if undated == 1 { "item without a usable date is" } else { "items without a usable date are" };
    let undated = (undated > 0).then(|| format!("{undated} {items} in backlinks_undated"));
    let remarks: Vec<String> = beyond.into_iter().chain(undated).collect();
    (!remarks.is_empty()).then(|| remarks.join("; "))
}

/// The results of the answers whose rows were written, by position.
#[derive(Debug, Default)]
pub struct Decoded {
    /// Rows in `backlinks_history`; `None`: the answer cannot be read as rows.
    pub(super) rows: Vec<Option<u32>>,
    /// Items without a usable date, in all answers.
    pub(super) undated: u64,
    /// The remarks about some of them, by position.
    pub(super) remarks: BTreeMap<usize, String>,
    pub(super) drift: SchemaDrift,
}

impl Decoded {
    /// Counts the next answer.
    pub(super) fn add(&mut self, answer: AnswerRows) {
        self.remarks.extend(answer.remark.map(|remark| (self.rows.len(), remark)));
        let dated = |rows: usize| u32::try_from(rows as u64 - answer.undated).ok();
        self.rows.push(answer.batch.as_ref().and_then(|batch| dated(batch.num_rows())));
        self.undated += answer.undated;
        self.drift.absorb(answer.drift);
    }
}
