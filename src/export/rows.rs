//! The rows of one stored answer, with remarks about it.

use std::collections::BTreeMap;

use crate::decode::{DecodeError, DecodedRows, SchemaDrift};

/// The message of a target whose stored answer cannot be decoded.
pub(super) const UNREADABLE: &str = "the answer is saved but cannot be read as rows";

/// What one answer adds to the dataset, or why it cannot be read as rows.
pub(super) type AnswerRows = Result<DecodedRows, DecodeError>;

/// The results of the answers whose rows were written, by position.
#[derive(Debug, Default)]
pub struct DecodeTally {
    /// Rows in `backlinks_history`; `None`: the answer cannot be read as rows.
    pub(super) rows: Vec<Option<u32>>,
    /// Items without a usable date, in all answers.
    pub(super) undated: u64,
    /// The remarks about some of them, by position.
    pub(super) remarks: BTreeMap<usize, String>,
    pub(super) drift: SchemaDrift,
}

impl DecodeTally {
    /// Counts the next answer.
    pub(super) fn add(&mut self, answer: AnswerRows) {
        let position = self.rows.len();
        match answer {
            Ok(rows) => {
                let undated = rows.undated();
                self.remarks.extend(remark(&rows).map(|remark| (position, remark)));
                self.rows.push(u32::try_from(rows.batch.num_rows() as u64 - undated).ok());
                self.undated += undated;
                self.drift.absorb(rows.drift);
            }
            // It stays in the ledger only: its target needs attention.
            Err(error) => {
                self.remarks.insert(position, format!("{UNREADABLE}: {error}"));
                self.rows.push(None);
            }
        }
    }
}

/// The text for the column `message`, instead of the API's own message; `None`: nothing unusual.
fn remark(answer: &DecodedRows) -> Option<String> {
    let (rows, undated, beyond) = (answer.batch.num_rows(), answer.undated(), answer.items_over_limit());
    let beyond = (beyond > 0).then(|| format!("only the first {rows} items are rows; {beyond} more are in the ledger"));
    let items = if undated == 1 { "item without a usable date is" } else { "items without a usable date are" };
    let undated = (undated > 0).then(|| format!("{undated} {items} in backlinks_undated"));
    let remarks: Vec<String> = beyond.into_iter().chain(undated).collect();
    (!remarks.is_empty()).then(|| remarks.join("; "))
}
