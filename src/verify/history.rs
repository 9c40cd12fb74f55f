//! `backlinks_history` against the answers: every row of every answer, and not one more.
//!
//! ```text
//! partitions, each a stream sorted by target ──┐ (this thread)
//! targets in order ────────────────────────────┴─> rows of one target ─> answer decoded anew, compared (other threads)
//! ```
//!
//! Memory is bounded by the batches of the open partitions, whatever the number of rows.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use jiff::{Timestamp, civil::Date, tz::Offset};

use super::{
    account::Line,
    cells::{between, columns},
    decode::{COLUMNS, Item, LARGEST_ANSWER, items},
    differences::Differences,
    json::Json,
    ledger::Ledger,
    sources::{Held, Sources},
    stream::{Slice, Stream},
};
use crate::{dataset::UNDATED, export::remark};

/// Partitions that are open at once; more are compared in several rounds.
const OPEN_PARTITIONS: usize = 128;
/// Targets that wait for a thread.
const TARGETS_AHEAD: usize = 64;
/// Threads that decode answers.
const MOST_THREADS: usize = 8;
/// What stands for null in a partition's name.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";
/// Answers that are larger are decoded one at a time: ten times a full history.
const USUAL_ANSWER: u64 = 1 << 20;
/// Rows of one target that may wait for a thread: twenty times those of a full history.
const USUAL_ROWS: usize = 2_000;
/// Says that an answer makes no rows.
const UNREADABLE: u32 = u32::MAX;
/// Says that nothing is held.
const NOT_HELD: u32 = u32::MAX - 1;

/// The partitions of the table: their folders with their files in order; `None`: not to be compared.
pub(super) type Partitions = BTreeMap<String, Option<Vec<String>>>;

/// What the comparison goes by.
pub(super) struct Table<'a> {
    pub(super) dir: &'a Path,
    pub(super) partitions: &'a Partitions,
    pub(super) partition_by: &'a str,
    pub(super) differences: &'a Differences,
}

/// The rows of one target, in each partition that has any.
struct Job<'a> {
    held: Held,
    slices: Vec<(&'a str, Vec<Slice>)>,
}

/// How many rows each answer should have.
pub(super) struct Counts {
    /// By ledger and target.
    rows: Vec<Vec<AtomicU32>>,
    /// What there is to say about some of them.
    remarks: Mutex<BTreeMap<Held, String>>,
    /// Items without a usable date, in all answers.
    undated: AtomicU64,
}

impl Counts {
    fn new(sources: &Sources<'_>) -> Self {
        let none = |ledger: &Ledger| ledger.accounts.targets.iter().map(|_| AtomicU32::new(NOT_HELD)).collect();
        Self { rows: sources.ledgers.iter().map(none).collect(), remarks: Mutex::default(), undated: AtomicU64::new(0) }
    }

    fn set(&self, held: Held, count: u32, undated: usize, beyond: usize) {
        self.rows[held.ledger as usize][held.number as usize].store(count, Ordering::Relaxed);
        self.undated.fetch_add(undated as u64, Ordering::Relaxed);
        if let Some(remark) = remark(u64::from(count), undated as u64, beyond as u64).filter(|_| count != UNREADABLE) {
            self.remarks.lock().unwrap_or_else(PoisonError::into_inner).insert(held, remark);
        }
    }

    /// Rows of an answer; `None`: it has none to be read, or none is held.
    pub(super) fn of(&self, held: Held) -> Option<u64> {
        let count = self.rows[held.ledger as usize][held.number as usize].load(Ordering::Relaxed);
        Some(u64::from(count)).filter(|_| ![UNREADABLE, NOT_HELD].contains(&count))
    }

    /// What there is to say about an answer.
    pub(super) fn remark(&self, held: Held) -> Option<String> {
        self.remarks.lock().unwrap_or_else(PoisonError::into_inner).get(&held).cloned()
    }

    /// Items without a usable date, in all answers.
    pub(super) fn undated(&self) -> u64 {
        self.undated.load(Ordering::Relaxed)
    }
}

/// Compares all.
pub(super) fn compare(table: &Table<'_>, sources: &Sources<'_>) -> Counts {
    let (counts, large) = (Counts::new(sources), Mutex::new(()));
    let folders: Vec<&str> = table.partitions.keys().map(String::as_str).collect();
    // Even without any partition each answer is looked at once.
    let rounds: Vec<&[&str]> = if folders.is_empty() { vec![&[]] } else { folders.chunks(OPEN_PARTITIONS).collect() };
    for (number, round) in rounds.into_iter().enumerate() {
        let comparison = Comparison { table, round, is_first: number == 0, sources, counts: &counts, large: &large };
        comparison.run();
    }
    counts
}

/// One round: some of the partitions.
struct Comparison<'a> {
    table: &'a Table<'a>,
    round: &'a [&'a str],
    is_first: bool,
    sources: &'a Sources<'a>,
    counts: &'a Counts,
    /// Whose turn it is to decode a large answer.
    large: &'a Mutex<()>,
}

impl Comparison<'_> {
    fn run(&self) {
        let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get).clamp(1, MOST_THREADS);
        let (sender, receiver) = sync_channel(TARGETS_AHEAD);
        let receiver = Mutex::new(receiver);
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| self.work(&receiver));
            }
            self.hand_out(&sender);
            drop(sender);
        });
    }

    /// Goes through the partitions side by side, target by target.
    fn hand_out<'a>(&'a self, sender: &SyncSender<Job<'a>>) {
        let partitions =
            self.round.iter().filter_map(|folder| Some((*folder, self.table.partitions[*folder].as_ref()?)));
        let mut streams: Vec<_> = partitions
            .map(|(folder, files)| (folder, Stream::new(self.table.dir, files, self.table.differences)))
            .collect();
        for held in self.sources.held.iter().copied() {
            // Snapshots come one day after the other, and each day has partitions of its own.
            let day = self.sources.ledger(held).run_date.map(|day| format!("run_date={day}"));
            let is_of = |folder: &str| {
                let mut keys = folder.split('/').filter(|key| key.starts_with("run_date="));
                keys.all(|key| day.as_deref() == Some(key))
            };
            let own = streams.iter_mut().filter(|(folder, _)| is_of(folder));
            let rows_in = own.filter_map(|(folder, stream)| {
                let slices = stream.rows_of(self.sources.target(held).as_str());
                (!slices.is_empty()).then_some((*folder, slices))
            });
            let job = Job { held, slices: rows_in.collect() };
            // Many rows do not wait for a thread: they would be held meanwhile.
            let rows: usize =
                job.slices.iter().flat_map(|(_, slices)| slices).map(|slice| slice.batch.num_rows()).sum();
            if rows > USUAL_ROWS {
                self.compare_target(&job);
            } else if sender.send(job).is_err() {
                return;
            }
        }
        for (_, stream) in &mut streams {
            stream.finish();
        }
    }

    fn work(&self, jobs: &Mutex<Receiver<Job<'_>>>) {
        loop {
            let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(job) = job else { return };
            self.compare_target(&job);
        }
    }

    fn compare_target(&self, job: &Job<'_>) {
        let (ledger, last) = (self.sources.ledger(job.held), self.sources.last(job.held));
        let target = self.sources.target(job.held).as_str();
        if last.body_bytes > LARGEST_ANSWER {
            self.counts.set(job.held, UNREADABLE, 0, 0);
            return self.compare_rows(job, target, Vec::new());
        }
        let is_large = last.body_bytes > USUAL_ANSWER;
        let _turn = is_large.then(|| self.large.lock().unwrap_or_else(PoisonError::into_inner));
        let add = |what: String| self.table.differences.add(&ledger.name, format!("the answer for {target} {what}"));
        let text = match ledger.line(last.place) {
            Ok(text) => text,
            Err(error) => return add(format!("cannot be read again: {error}")),
        };
        let Ok(line) = serde_json::from_slice::<Line<'_>>(&text) else { return add("is no line of JSON".to_owned()) };
        let body = line.body().unwrap_or_default();
        let answer = Json::read(&body);
        let expected = answer.as_ref().and_then(items);
        let is_readable = expected.is_some();
        let (rows, beyond) = expected.unwrap_or_default();
        let dated = rows.iter().filter(|item| item.date.is_some()).count();
        let count = u32::try_from(dated).ok().filter(|_| is_readable).unwrap_or(UNREADABLE);
        self.counts.set(job.held, count, rows.len() - dated, beyond);
        self.compare_rows(job, target, rows);
    }

    fn compare_rows(&self, job: &Job<'_>, target: &str, expected: Vec<Item<'_>>) {
        let run_date = self.sources.ledger(job.held).run_date;
        let mut by_folder: BTreeMap<String, Vec<Item<'_>>> = BTreeMap::new();
        for item in expected {
            let folder = partition(self.table.partition_by, item.date, run_date);
            by_folder.entry(folder).or_default().push(item);
        }
        for (folder, slices) in &job.slices {
            let rows = by_folder.remove(*folder).unwrap_or_default();
            self.compare_partition(target, &rows, slices);
        }
        for (folder, rows) in by_folder {
            let what = || format!("lacks all {} rows of {target}", rows.len());
            match self.table.partitions.get(&folder) {
                None if self.is_first => self.table.differences.add(folder, what()),
                Some(Some(files)) if self.round.contains(&&*folder) => {
                    self.table.differences.add(files.first().unwrap_or(&folder), what());
                }
                _ => {}
            }
        }
    }

    /// Rows of one target in one partition: the first that differs is told.
    fn compare_partition(&self, target: &str, expected: &[Item<'_>], slices: &[Slice]) {
        let found: usize = slices.iter().map(|slice| slice.batch.num_rows()).sum();
        if found != expected.len() {
            let file = slices.first().map(|slice| slice.file.clone()).unwrap_or_default();
            let what = format!("{target}: the number of rows here is {found}, should be {}", expected.len());
            return self.table.differences.add(file, what);
        }
        let mut rows = expected.iter();
        for slice in slices {
            let add = |what: String| self.table.differences.add(&slice.file, format!("{target}{what}"));
            let Some(columns) = columns(&slice.batch, &COLUMNS.map(|(name, kind, _)| (name, kind))) else {
                return add(": the columns are not those of the schema".to_owned());
            };
            for (number, item) in (0..slice.batch.num_rows()).zip(&mut rows) {
                let row = item.row(target);
                let wrong = columns.iter().zip(&row).position(|(column, cell)| !column.is(number, cell));
                if let Some(wrong) = wrong {
                    let what = between(&columns[wrong].cell(number), &row[wrong]);
                    return add(format!("{}: {} {what}", day(item), COLUMNS[wrong].0));
                }
            }
        }
    }
}

fn day(item: &Item<'_>) -> String {
    let moment = item.date.and_then(|micros| Timestamp::from_microsecond(micros).ok());
    moment.map_or(", without a date".to_owned(), |moment| format!(", {moment}"))
}

/// The folder of a row with this date, below the run's directory.
pub(super) fn partition(partition_by: &str, micros: Option<i64>, run_date: Option<Date>) -> String {
    let moment = micros.and_then(|micros| Timestamp::from_microsecond(micros).ok());
    let date = moment.map(|moment| Offset::UTC.to_datetime(moment).date());
    if date.is_none() {
        return UNDATED.to_owned();
    }
    let mut folder = "backlinks_history".to_owned();
    for key in partition_by.split(',').map(str::trim).filter(|key| *key != "none") {
        let value = match key {
            "year" => date.map(|date| date.year().to_string()),
            "month" => date.map(|date| date.month().to_string()),
            _ => run_date.map(|date| date.to_string()),
        };
        folder = format!("{folder}/{key}={}", value.as_deref().unwrap_or(NULL));
    }
    folder
}
