//! Ledger to dataset: every held answer in order of target, flattened by several threads, written by one.
//!
//! The order of rows is that of the targets, whichever thread flattens them: blocks of targets go to the
//! threads in turn, and the writer takes the blocks back in the same turn. Memory is bounded by the
//! blocks under way, whatever the number of targets and the size of their answers: what does not fit a
//! block is flattened by the writer itself when its turn comes, one answer at a time.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    path::Path,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use arrow::array::RecordBatch;
use jiff::civil::Date;

use super::{
    ExportError, Held, Holdings,
    lines::{Lines, Totals, UNREADABLE},
};
use crate::{
    dataset::{Compression, FailuresFile, Options, Part, PartitionBy, Rejected, Stage, write_rejected},
    flatten::{self, Drift, FlattenError, Flattener},
    ledger::Body,
    progress::Progress,
    targets::{Fate, Line, TargetRef},
};

/// Targets in a block: some 1,500 rows of full histories, or 2 MB.
const BLOCK: usize = 16;
/// Bytes of answers in a block at most: twice what sixteen full histories have.
const BLOCK_BYTES: usize = 4 << 20;
/// The largest answer that goes into a block: seven times a full history.
const USUAL_ANSWER: usize = 1 << 20;
/// Rows after which nothing is added to a block: ten times those of sixteen full histories.
const BLOCK_ROWS: usize = 16_000;
/// Blocks that wait for the writer, per thread.
const BLOCKS_AHEAD: usize = 2;
/// Threads that flatten; the writer keeps up with no more of them.
const MOST_THREADS: usize = 4;

/// The form of the dataset.
#[derive(Clone, Debug)]
pub struct Form {
    /// Partitions.
    pub partition_by: PartitionBy,
    /// Compression of Parquet pages.
    pub compression: Compression,
    /// Rows in a row group at most.
    pub row_group_rows: usize,
}

/// What was published.
#[derive(Debug, Default)]
pub struct Published {
    /// Every file of the tables.
    pub parts: Vec<Part>,
    /// How many lines met which fate, and what they cost.
    pub totals: Totals,
    /// What the answers had that the schema does not know.
    pub drift: Drift,
}

/// Builds the tables from what is held and puts them into place. `_SUCCESS` is gone afterwards; its new one is the caller's.
pub(super) fn publish(
    holdings: &Holdings,
    dir: &Path,
    form: &Form,
    progress: &Progress,
) -> Result<Published, ExportError> {
    let options = options(holdings, form);
    let stage = Stage::begin(dir)?;
    let held = holdings.held();
    progress.publishing(held.len() as u64);
    let mut history = stage.history(flatten::schema::history(), &options)?;
    if let Some(asked) = holdings.parameters() {
        history.without_rows(asked.date_to);
    }
    let (mut rows, mut remarks) = (Vec::with_capacity(held.len()), BTreeMap::new());
    let drift = flatten_in_order(holdings, &held, |block| {
        history.write(&block.batch, block.run_date)?;
        progress.published(block.rows.len() as u64);
        remarks.extend(block.remarks.into_iter().map(|(place, remark)| (rows.len() + place, remark)));
        rows.extend(block.rows);
        Ok(())
    })?;
    let mut parts = history.finish()?;
    let mut lines = Lines::new(holdings, (&held, &rows, &remarks), FailuresFile::begin(dir)?);
    parts.push(lines.write(&stage, &options)?);
    let (failures, totals) = lines.finish();
    stage.publish(&parts)?;
    failures.finish()?;
    write_rejected(dir, holdings.inputs().lines().filter_map(|line| rejected(&line)))?;
    Ok(Published { parts, totals, drift })
}

fn options(holdings: &Holdings, form: &Form) -> Options {
    let asked = holdings.parameters();
    let of = |name: &str, value: Option<String>| value.map(|value| (format!("backlinks_export.{name}"), value));
    let metadata = [
        of("schema_version", Some(flatten::schema::VERSION.to_string())),
        of("program_version", Some(env!("CARGO_PKG_VERSION").to_owned())),
        of("date_from", asked.as_ref().map(|asked| asked.date_from.to_string())),
        of("date_to", asked.as_ref().map(|asked| asked.date_to.to_string())),
        of("rank_scale", asked.as_ref().map(|asked| asked.rank_scale.as_str().to_owned())),
    ];
    Options {
        partition_by: form.partition_by.clone(),
        compression: form.compression,
        row_group_rows: form.row_group_rows,
        run_id: holdings.run_id(),
        metadata: metadata.into_iter().flatten().collect(),
    }
}

/// Rows of some targets that follow each other.
struct Block {
    batch: RecordBatch,
    run_date: Date,
    /// Rows of each target; `None`: its answer could not be read.
    rows: Vec<Option<u32>>,
    /// What is to be said of some of these targets.
    remarks: Vec<(usize, String)>,
}

/// Some targets that follow each other.
enum Piece {
    /// Flattened.
    Rows(Block),
    /// Too much for the block.
    Deferred(Held),
}

/// Flattens all that is held and hands it to `write` in order.
fn flatten_in_order(
    holdings: &Holdings,
    held: &[Held],
    mut write: impl FnMut(Block) -> Result<(), ExportError>,
) -> Result<Drift, ExportError> {
    // A block has one day of purchase, since that can be a partition.
    let is_same_day = |one: &Held, next: &Held| holdings.run_date(*one) == holdings.run_date(*next);
    let blocks: Vec<&[Held]> = held.chunk_by(is_same_day).flat_map(|same| same.chunks(BLOCK)).collect();
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get).clamp(1, MOST_THREADS);
    thread::scope(|scope| {
        let mut workers = Vec::with_capacity(threads);
        for first in 0..threads {
            let (sender, receiver) = sync_channel(BLOCKS_AHEAD);
            let own = blocks.iter().copied().skip(first).step_by(threads);
            workers.push((scope.spawn(move || flatten_blocks(holdings, own, &sender)), receiver));
        }
        let receivers: Vec<&Receiver<_>> = workers.iter().map(|(_, receiver)| receiver).collect();
        let mut flattener = Flattener::new();
        for number in 0..blocks.len() {
            // A thread that ended early has sent its error, or panicked, which joining tells.
            let Ok(pieces) = receivers[number % threads].recv() else { break };
            for piece in pieces? {
                write(match piece {
                    Piece::Rows(block) => block,
                    Piece::Deferred(held) => flatten_deferred(holdings, held, &mut flattener)?,
                })?;
            }
        }
        let mut drift = flattener.take_drift();
        for (worker, receiver) in workers {
            drop(receiver);
            drift.absorb(worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        Ok(drift)
    })
}

/// What one thread does: its share of the blocks, until nobody wants them any more.
fn flatten_blocks<'a>(
    holdings: &Holdings,
    blocks: impl Iterator<Item = &'a [Held]>,
    sender: &SyncSender<Result<Vec<Piece>, ExportError>>,
) -> Drift {
    let mut flattener = Flattener::new();
    for targets in blocks {
        let block = flatten_block(holdings, targets, &mut flattener);
        let failed = block.is_err();
        if sender.send(block).is_err() || failed {
            break;
        }
    }
    flattener.take_drift()
}

fn flatten_block(holdings: &Holdings, targets: &[Held], flattener: &mut Flattener) -> Result<Vec<Piece>, ExportError> {
    let run_date = holdings.run_date(targets[0]);
    let mut pieces = Vec::with_capacity(1);
    let mut open = Opened::default();
    let mut room = BLOCK_BYTES;
    for held in targets.iter().copied() {
        let most = if flattener.rows() < BLOCK_ROWS { room.min(USUAL_ANSWER) } else { 0 };
        match holdings.body_within(held, most)? {
            Body::Whole(body) => {
                room -= body.len();
                open.push(holdings.target(held), &body, flattener);
            }
            Body::Larger(_) => {
                pieces.extend(open.close(run_date, flattener).map(Piece::Rows));
                pieces.push(Piece::Deferred(held));
            }
        }
    }
    pieces.extend(open.close(run_date, flattener).map(Piece::Rows));
    Ok(pieces)
}

/// Flattens one answer that was too much for its block.
fn flatten_deferred(holdings: &Holdings, held: Held, flattener: &mut Flattener) -> Result<Block, ExportError> {
    let mut open = Opened::default();
    match holdings.body_within(held, flatten::LARGEST_ANSWER)? {
        Body::Whole(body) => open.push(holdings.target(held), &body, flattener),
        Body::Larger(bytes) => open.unreadable(&FlattenError::TooLarge { bytes }),
    }
    Ok(open.close(holdings.run_date(held), flattener).expect("a target was pushed"))
}

/// A block that still grows.
#[derive(Default)]
struct Opened {
    rows: Vec<Option<u32>>,
    remarks: Vec<(usize, String)>,
}

impl Opened {
    fn push(&mut self, target: TargetRef<'_>, body: &[u8], flattener: &mut Flattener) {
        match flattener.push(target.as_str(), body) {
            Ok(appended) => {
                if appended.beyond > 0 {
                    let (kept, beyond) = (appended.rows, appended.beyond);
                    let remark = format!("the first {kept} items are rows; {beyond} more are in the ledger alone");
                    self.remarks.push((self.rows.len(), remark));
                }
                self.rows.push(u32::try_from(appended.rows).ok());
            }
            // An answer that cannot be read stays in the ledger, and its target needs a person.
            Err(error) => self.unreadable(&error),
        }
    }

    fn unreadable(&mut self, error: &FlattenError) {
        self.remarks.push((self.rows.len(), format!("{UNREADABLE}: {error}")));
        self.rows.push(None);
    }

    /// The block, if there is any target in it; another one begins.
    fn close(&mut self, run_date: Date, flattener: &mut Flattener) -> Option<Block> {
        let Self { rows, remarks } = std::mem::take(self);
        (!rows.is_empty()).then(|| Block { batch: flattener.finish(), run_date, rows, remarks })
    }
}

fn rejected<'a>(line: &Line<'a>) -> Option<Rejected<'a>> {
    let Fate::Rejected(reason) = line.fate else { return None };
    Some(Rejected { input: line.input, file: line.file, line: line.number, reason })
}
