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
use serde::{Deserialize, Serialize};

use super::{Account, ExportError, Held, Holdings};
use crate::{
    api::record::Standing,
    dataset::{
        Compression, Failure, FailuresFile, Options, Part, PartitionBy, Rejected, Stage, TargetRow, write_rejected,
    },
    flatten::{self, Drift, FlattenError, Flattener},
    ledger::{Body, Kept},
    progress::Progress,
    targets::{Fate, Line, Target},
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

/// Sums over the rows of `targets`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Targets whose history is held.
    pub ok: u64,
    /// Targets of which the API knows nothing.
    pub no_data: u64,
    /// Targets that were given up.
    pub failed: u64,
    /// Targets without an answer yet.
    pub pending: u64,
    /// Rows of `backlinks_history`.
    pub rows: u64,
    /// Why targets failed, with how many did.
    pub failures: BTreeMap<String, u64>,
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
    let mut lines = Lines {
        holdings,
        held: &held,
        by_target: (!held.is_sorted_by_key(|held| holdings.target(*held))).then(|| by_target(holdings, &held)),
        rows: &rows,
        remarks: &remarks,
        failures: FailuresFile::begin(dir)?,
        totals: Totals::default(),
    };
    parts.push(lines.write(&stage, &options)?);
    let Lines { failures, totals, .. } = lines;
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
    fn push(&mut self, target: &Target, body: &[u8], flattener: &mut Flattener) {
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

/// The rows of `targets`.
struct Lines<'a> {
    holdings: &'a Holdings,
    held: &'a [Held],
    /// The places of `held` by target; `None`: it is in that order itself.
    by_target: Option<Vec<u32>>,
    /// Rows of each of `held`.
    rows: &'a [Option<u32>],
    /// What is to be said of some of `held`.
    remarks: &'a BTreeMap<usize, String>,
    failures: FailuresFile,
    totals: Totals,
}

impl Lines<'_> {
    fn write(&mut self, stage: &Stage, options: &Options) -> Result<Part, ExportError> {
        let inputs = self.holdings.inputs();
        let mut writer = stage.targets(options, inputs.columns())?;
        let mut cells = Vec::with_capacity(inputs.columns().len());
        for line in inputs.lines() {
            cells.clear();
            cells.extend((0..inputs.columns().len()).map(|column| line.column(column)));
            let source = format!("{}:{}", line.file, line.number);
            self.line(&line, options, &source, |row| Ok(writer.push(row, &cells)?))?;
        }
        self.totals.rows = self.rows.iter().flatten().map(|rows| u64::from(*rows)).sum();
        Ok(writer.finish()?)
    }

    fn line(
        &mut self,
        line: &Line<'_>,
        options: &Options,
        source: &str,
        push: impl FnOnce(&TargetRow<'_>) -> Result<(), ExportError>,
    ) -> Result<(), ExportError> {
        let asked = self.holdings.parameters();
        let bare = TargetRow { input: line.input, source, run_id: &options.run_id, ..TargetRow::default() };
        let target = match line.fate {
            Fate::Rejected(reason) => {
                return push(&TargetRow { outcome: "rejected", message: Some(reason), ..bare });
            }
            Fate::Duplicate(target) => {
                return push(&TargetRow { outcome: "duplicate", target: Some(target.as_str()), ..bare });
            }
            Fate::Target(target) => target,
        };
        let bare = TargetRow {
            target: Some(target.as_str()),
            date_from: asked.as_ref().map(|asked| asked.date_from),
            date_to: asked.as_ref().map(|asked| asked.date_to),
            rank_scale: asked.as_ref().map(|asked| asked.rank_scale.as_str()),
            ..bare
        };
        let Some(account) = self.holdings.account(target) else {
            self.totals.pending += 1;
            return push(&TargetRow {
                outcome: "pending",
                rows: Some(0),
                attempts: Some(0),
                possibly_billed: Some(0),
                ..bare
            });
        };
        let (run, latest) = self.holdings.latest(&account)?;
        // The answer that counts, and the rows of all that are kept.
        let place = self.places_of(target).find(|place| self.held[*place].is_that_of(&account));
        let is_readable = place.is_some_and(|place| self.rows[place].is_some());
        let rows = self.places_of(target).filter_map(|place| self.rows[place]).map(u64::from).sum();
        let outcome = self.count(&account, is_readable, latest.as_ref());
        let remark = place.and_then(|place| self.remarks.get(&place)).map(String::as_str);
        let message = remark.or_else(|| latest.as_ref().and_then(|kept| kept.message.as_deref()));
        if outcome == FAILED || account.refresh_given_up {
            self.failure(target, &account, account.standing == Standing::Ok && !is_readable)?;
        }
        let from_run_id = latest.as_ref().and_then(|kept| kept.from_run_id.as_deref());
        push(&TargetRow {
            run_id: from_run_id.unwrap_or(&run.run_id),
            outcome,
            rows: Some(rows),
            cost: account.known_cost(),
            cost_source: account.cost_source.map(crate::ledger::CostSource::as_str),
            attempts: Some(u64::from(account.attempts)),
            possibly_billed: Some(u64::from(account.possibly_billed)),
            http_status: latest.as_ref().and_then(|kept| kept.http_status),
            api_status_code: latest.as_ref().and_then(|kept| kept.api_status_code),
            message,
            task_id: latest.as_ref().and_then(|kept| kept.task_id.as_deref()),
            latency_ms: latest.as_ref().map(|kept| kept.latency_ms),
            fetched_at: latest.as_ref().map(|kept| kept.at),
            date_to: Some(latest.as_ref().and_then(|kept| kept.date_to).unwrap_or(run.parameters.date_to)),
            ..bare
        })
    }

    /// Tells of a target that needs a person.
    fn failure(&mut self, target: &Target, account: &Account<'_>, is_unreadable: bool) -> Result<(), ExportError> {
        let why = self.holdings.failure(target, account)?;
        let class = why.as_ref().map_or(NO_ANSWER, |kept| kept.class.as_str());
        Ok(self.failures.push(&Failure {
            domain: target.as_str(),
            reason: if is_unreadable { UNREADABLE_ANSWER } else { class },
            http_status: why.as_ref().and_then(|kept| kept.http_status),
            api_status_code: why.as_ref().and_then(|kept| kept.api_status_code),
            attempts: u64::from(account.attempts),
            possibly_billed: u64::from(account.possibly_billed),
            message: Some(UNREADABLE)
                .filter(|_| is_unreadable)
                .or(why.as_ref().and_then(|kept| kept.message.as_deref())),
            kept_from: account.kept_from(),
        })?)
    }

    /// A target's places among those whose history is held: one at most, save where there are snapshots.
    fn places_of(&self, target: &Target) -> impl Iterator<Item = usize> {
        let found = |held: Held| self.holdings.target(held);
        let first = match &self.by_target {
            None => self.held.partition_point(|held| found(*held) < target),
            Some(places) => places.partition_point(|place| found(self.held[*place as usize]) < target),
        };
        let place = |at: usize| self.by_target.as_ref().map_or(at, |places| places[at] as usize);
        (first..self.held.len()).map(place).take_while(move |place| found(self.held[*place]) == target)
    }

    /// Why a target failed, in words that targets share: `rejected: 40501 Invalid Field.`
    fn reason(&self, standing: Standing, latest: Option<&Kept>) -> String {
        let Some(kept) = latest.filter(|_| standing != Standing::Ok) else {
            return if standing == Standing::Ok { UNREADABLE_ANSWER.to_owned() } else { NO_ANSWER.to_owned() };
        };
        let code = match (kept.api_status_code, kept.http_status) {
            (Some(code), _) => format!(" {code}"),
            (None, Some(status)) => format!(" HTTP {status}"),
            (None, None) => String::new(),
        };
        let bare = format!("{}:{code}", kept.class);
        let message: String = kept.message.iter().flat_map(|message| message.chars()).take(LONGEST_MESSAGE).collect();
        let worded = format!("{bare} {message}");
        let known = self.totals.failures.contains_key(&worded) || self.totals.failures.len() < MOST_WORDED;
        let reason = if known { worded } else { bare };
        reason.trim_end_matches([' ', ':']).to_owned()
    }

    fn count(&mut self, account: &Account<'_>, is_readable: bool, latest: Option<&Kept>) -> &'static str {
        let standing = match account.standing {
            Standing::Ok if !is_readable => Standing::Failed,
            standing => standing,
        };
        let (outcome, count) = match standing {
            Standing::Ok => ("ok", &mut self.totals.ok),
            Standing::NoData => ("no_data", &mut self.totals.no_data),
            Standing::Failed => (FAILED, &mut self.totals.failed),
            Standing::Pending => ("pending", &mut self.totals.pending),
        };
        *count += 1;
        if standing == Standing::Failed {
            *self.totals.failures.entry(self.reason(account.standing, latest)).or_default() += 1;
        }
        outcome
    }
}

/// The places of what is held in order of target.
fn by_target(holdings: &Holdings, held: &[Held]) -> Vec<u32> {
    let mut places: Vec<u32> = (0..).zip(held).map(|(place, _)| place).collect();
    places.sort_by_key(|place| holdings.target(held[*place as usize]));
    places
}

/// The outcome of a target that needs a person.
const FAILED: &str = "failed";
/// Why targets failed of which no call brought anything, or nothing that makes rows.
const NO_ANSWER: &str = "no_answer";
const UNREADABLE_ANSWER: &str = "unreadable_answer";
/// What stands beside a target whose answer is held but cannot be flattened.
const UNREADABLE: &str = "the answer is kept but cannot be read as rows";

/// Reasons that are told with what the API said. Beyond them, when its words differ from target to target, the code
/// stands alone.
const MOST_WORDED: usize = 20;
/// What the API said, cut to so many characters.
const LONGEST_MESSAGE: usize = 80;

fn rejected<'a>(line: &Line<'a>) -> Option<Rejected<'a>> {
    let Fate::Rejected(reason) = line.fate else { return None };
    Some(Rejected { input: line.input, file: line.file, line: line.number, reason })
}
