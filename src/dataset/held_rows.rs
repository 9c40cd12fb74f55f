//! A partition's rows on their way into a row group.
//!
//! Rows come in pieces as small as one, each with a buffer or three for every column. Small pieces are put together
//! until they are worth keeping, each row being copied a few times at most. How they are cut depends on the sizes of
//! the pieces alone.

use std::{collections::VecDeque, mem};

use arrow::{compute::concat_batches, error::ArrowError, record_batch::RecordBatch};

/// Rows in a piece at least: smaller ones are put together, for a piece of a single row takes 20 KB.
const PIECE_ROWS: usize = 256;
/// Smaller pieces that wait for it at most.
const LOOSE_PIECES: usize = 8;

/// Rows in their order, in pieces.
#[derive(Default)]
pub(super) struct HeldRows {
    pieces: VecDeque<RecordBatch>,
    /// The last rows, in pieces too small to keep.
    loose: Vec<RecordBatch>,
    pub(super) rows: usize,
    /// What they take in memory.
    pub(super) bytes: usize,
}

impl HeldRows {
    /// Adds rows behind all others.
    pub(super) fn push(&mut self, piece: RecordBatch) -> Result<(), ArrowError> {
        self.rows += piece.num_rows();
        self.bytes += piece.get_array_memory_size();
        self.loose.push(piece);
        let rows: usize = self.loose.iter().map(RecordBatch::num_rows).sum();
        if rows >= PIECE_ROWS {
            let piece = self.tighten()?;
            self.pieces.extend(piece);
        } else if self.loose.len() >= LOOSE_PIECES {
            let piece = self.tighten()?;
            self.loose.extend(piece);
        }
        Ok(())
    }

    /// Takes the loose pieces as one.
    fn tighten(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        let loose = mem::take(&mut self.loose);
        let piece = match loose.as_slice() {
            [] => return Ok(None),
            [whole] => whole.clone(),
            [first, ..] => concat_batches(first.schema_ref(), &loose)?,
        };
        let before: usize = loose.iter().map(RecordBatch::get_array_memory_size).sum();
        self.bytes = (self.bytes + piece.get_array_memory_size()).saturating_sub(before);
        Ok(Some(piece))
    }

    /// Takes a piece with `most` rows at most; `None`: there are no rows.
    pub(super) fn pop(&mut self, most: usize) -> Result<Option<RecordBatch>, ArrowError> {
        let next = match self.pieces.pop_front() {
            None => self.tighten()?,
            piece => piece,
        };
        let Some(piece) = next else { return Ok(None) };
        let taken = piece.slice(0, most.min(piece.num_rows()));
        if taken.num_rows() < piece.num_rows() {
            self.pieces.push_front(piece.slice(most, piece.num_rows() - most));
        } else {
            self.bytes = self.bytes.saturating_sub(piece.get_array_memory_size());
        }
        self.rows -= taken.num_rows();
        Ok(Some(taken))
    }
}
