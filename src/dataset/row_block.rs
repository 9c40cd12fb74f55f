//! Collects rows until there are enough of them to encode.

use std::{mem, ops::Range};

use arrow::{
    array::{Array, ArrayRef, AsArray},
    compute::concat_batches,
    datatypes::DataType,
    error::ArrowError,
    record_batch::RecordBatch,
};

/// Rows in a block: some 5 MB in memory, about 43 full histories.
const MAX_ROWS: usize = 4096;
/// A block ends early when its texts, lists and maps exceed this many bytes, four times the usual: a single row may
/// have as many as an answer.
const MAX_BYTES: usize = 12 << 20;
/// This many batches are joined into one: the fifty or so arrays of a one-row batch take far more memory than its row.
const JOINED: usize = 64;

#[derive(Default)]
pub(super) struct RowBlock {
    batches: Vec<RecordBatch>,
    /// How many batches at the front are joined ones.
    joined: usize,
    rows: usize,
    bytes: usize,
}

impl RowBlock {
    /// Adds the rows of a batch from `start` on, as far as there is room, and returns how many.
    pub(super) fn push(&mut self, batch: &RecordBatch, start: usize) -> Result<usize, ArrowError> {
        let rows = (batch.num_rows() - start).min(MAX_ROWS - self.rows);
        let piece = batch.slice(start, rows);
        self.bytes += variable_bytes(piece.columns());
        self.batches.push(piece);
        if self.batches.len() == self.joined + JOINED {
            let small = self.batches.split_off(self.joined);
            self.batches.push(concat_batches(&small[0].schema(), &small)?);
            self.joined += 1;
        }
        self.rows += rows;
        Ok(rows)
    }

    pub(super) fn is_full(&self) -> bool {
        self.rows == MAX_ROWS || self.bytes > MAX_BYTES
    }

    /// Empties the block and returns its rows.
    pub(super) fn take(&mut self) -> Vec<RecordBatch> {
        mem::take(self).batches
    }
}

/// Bytes of the texts, lists and maps of a batch, whose sizes vary. Depends on its rows only, not on its buffers.
fn variable_bytes(columns: &[ArrayRef]) -> usize {
    /// An entry's value and its key's offset.
    const ENTRY: usize = 12;
    let text = |array: &ArrayRef| array.as_string_opt::<i32>().map_or(0, |texts| span(texts.value_offsets()).len());
    let of = |column: &ArrayRef| match column.data_type() {
        DataType::List(_) => {
            let list = column.as_list::<i32>();
            let entries = span(list.value_offsets());
            ENTRY * entries.len() + text(&list.values().slice(entries.start, entries.len()))
        }
        DataType::Map(..) => {
            let map = column.as_map();
            let entries = span(map.value_offsets());
            ENTRY * entries.len() + text(&map.keys().slice(entries.start, entries.len()))
        }
        _ => text(column),
    };
    columns.iter().map(of).sum()
}

/// From the first offset to the last.
fn span(offsets: &[i32]) -> Range<usize> {
    let place = |offset: Option<&i32>| offset.and_then(|offset| usize::try_from(*offset).ok()).unwrap_or(0);
    place(offsets.first())..place(offsets.last())
}
