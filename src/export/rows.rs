//! The rows of one stored answer, with what there is to say about it.

use arrow::array::RecordBatch;

use super::lines::UNREADABLE;
use crate::flatten::{Drift, FlattenError, Flattener};

/// What one answer adds to `backlinks_history`.
#[derive(Debug)]
pub(super) struct AnswerRows {
    /// Its rows, sorted by date; `None`: the answer cannot be read as rows.
    pub(super) batch: Option<RecordBatch>,
    /// What goes into the column `message` instead of the API's own words.
    pub(super) remark: Option<String>,
    /// What the schema does not know.
    pub(super) drift: Drift,
    /// Memory that the rows take, in bytes.
    pub(super) bytes: usize,
}

impl AnswerRows {
    /// Decodes the body of an answer.
    pub(super) fn decode(target: &str, body: &[u8], decoder: &mut Flattener) -> Self {
        match decoder.push(target, body) {
            Ok(appended) => {
                let (kept, beyond) = (appended.rows, appended.beyond);
                let remark = (beyond > 0)
                    .then(|| format!("the first {kept} items are rows; {beyond} more are only in the ledger"));
                let batch = decoder.finish();
                let bytes = batch.get_array_memory_size();
                Self { batch: Some(batch), remark, drift: decoder.take_drift(), bytes }
            }
            Err(error) => Self { drift: decoder.take_drift(), ..Self::undecodable(&error) },
        }
    }

    /// An answer that stays in the ledger only: its target needs a person.
    pub(super) fn undecodable(error: &FlattenError) -> Self {
        Self::unreadable(format!("{UNREADABLE}: {error}"))
    }

    pub(super) fn unreadable(remark: String) -> Self {
        Self { batch: None, remark: Some(remark), drift: Drift::default(), bytes: 0 }
    }
}
