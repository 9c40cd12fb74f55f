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
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use jiff::{Timestamp, civil::Date, tz::Offset};

use super::{
    account::Line,
    cells::{between, columns},
    decode::{COLUMNS, Row, date_of, rows},
    differences::Differences,
    json::Json,
    sources::Held,
    stream::{Slice, Stream},
};

/// Partitions that are open at once; more are compared in several rounds.
const OPEN_PARTITIONS: usize = 128;
/// Targets that wait for a thread.
const TARGETS_AHEAD: usize = 64;
/// Threads that decode answers.
const MOST_THREADS: usize = 8;
/// What stands for null in a partition's name.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";
/// Says that a target's answer is no JSON object.
const UNREADABLE: u64 = u64::MAX;

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
    held: &'a Held<'a>,
    place: usize,
    slices: Vec<(&'a str, Vec<Slice>)>,
}

/// Compares all; returns how many rows each target should have, `None` for an answer that has none to be read.
pub(super) fn compare(table: &Table<'_>, held: &[Held<'_>]) -> Vec<Option<u64>> {
    let counts: Vec<AtomicU64> = held.iter().map(|_| AtomicU64::new(0)).collect();
    let folders: Vec<&str> = table.partitions.keys().map(String::as_str).collect();
    // Even without any partition each answer is looked at once.
    let rounds: Vec<&[&str]> = if folders.is_empty() { vec![&[]] } else { folders.chunks(OPEN_PARTITIONS).collect() };
    for (number, round) in rounds.into_iter().enumerate() {
        let comparison = Comparison { table, round, is_first: number == 0, counts: &counts };
        comparison.run(held);
    }
    let count = |count: &AtomicU64| Some(count.load(Ordering::Relaxed)).filter(|count| *count != UNREADABLE);
    counts.iter().map(count).collect()
}

/// One round: some of the partitions.
struct Comparison<'a> {
    table: &'a Table<'a>,
    round: &'a [&'a str],
    is_first: bool,
    counts: &'a [AtomicU64],
}

impl Comparison<'_> {
    fn run(&self, held: &[Held<'_>]) {
        let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get).clamp(1, MOST_THREADS);
        let (sender, receiver) = sync_channel(TARGETS_AHEAD);
        let receiver = Mutex::new(receiver);
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| self.work(&receiver));
            }
            self.hand_out(held, &sender);
            drop(sender);
        });
    }

    /// Goes through the partitions side by side, target by target.
    fn hand_out<'a>(&'a self, held: &'a [Held<'a>], sender: &SyncSender<Job<'a>>) {
        let partitions =
            self.round.iter().filter_map(|folder| Some((*folder, self.table.partitions[*folder].as_ref()?)));
        let mut streams: Vec<_> = partitions
            .map(|(folder, files)| (folder, Stream::new(self.table.dir, files, self.table.differences)))
            .collect();
        for (place, held) in held.iter().enumerate() {
            // Snapshots come one day after the other, and each day has partitions of its own.
            let day = held.run_date.map(|day| format!("run_date={day}"));
            let is_of = |folder: &str| {
                let mut keys = folder.split('/').filter(|key| key.starts_with("run_date="));
                keys.all(|key| day.as_deref() == Some(key))
            };
            let own = streams.iter_mut().filter(|(folder, _)| is_of(folder));
            let rows_in = own.filter_map(|(folder, stream)| {
                let slices = stream.rows_of(held.target);
                (!slices.is_empty()).then_some((*folder, slices))
            });
            let job = Job { held, place, slices: rows_in.collect() };
            if sender.send(job).is_err() {
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
        let Held { target, ledger, last, .. } = job.held;
        let add = |what: String| self.table.differences.add(&ledger.name, format!("the answer for {target} {what}"));
        let text = match ledger.line(last.place) {
            Ok(text) => text,
            Err(error) => return add(format!("cannot be read again: {error}")),
        };
        let Ok(line) = serde_json::from_slice::<Line<'_>>(&text) else { return add("is no line of JSON".to_owned()) };
        let body = line.body().unwrap_or_default();
        let answer = Json::read(&body);
        let expected = answer.as_ref().and_then(|answer| rows(target, answer));
        let count = expected.as_ref().map_or(UNREADABLE, |rows| rows.len() as u64);
        self.counts[job.place].store(count, Ordering::Relaxed);
        self.compare_rows(job, expected.unwrap_or_default());
    }

    fn compare_rows(&self, job: &Job<'_>, expected: Vec<Row<'_>>) {
        let mut by_folder: BTreeMap<String, Vec<Row<'_>>> = BTreeMap::new();
        for row in expected {
            let folder = partition(self.table.partition_by, date_of(&row), job.held.run_date);
            by_folder.entry(folder).or_default().push(row);
        }
        for (folder, slices) in &job.slices {
            let rows = by_folder.remove(*folder).unwrap_or_default();
            self.compare_partition(job.held.target, &rows, slices);
        }
        for (folder, rows) in by_folder {
            let what = || format!("lacks all {} rows of {}", rows.len(), job.held.target);
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
    fn compare_partition(&self, target: &str, expected: &[Row<'_>], slices: &[Slice]) {
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
            for (number, row) in (0..slice.batch.num_rows()).zip(&mut rows) {
                let wrong = columns.iter().zip(row).position(|(column, cell)| !column.is(number, cell));
                if let Some(wrong) = wrong {
                    let what = between(&columns[wrong].cell(number), &row[wrong]);
                    return add(format!("{}: {} {what}", day(row), COLUMNS[wrong].0));
                }
            }
        }
    }
}

fn day(row: &Row<'_>) -> String {
    let moment = date_of(row).and_then(|micros| Timestamp::from_microsecond(micros).ok());
    moment.map_or(", without a date".to_owned(), |moment| format!(", {moment}"))
}

/// The folder of a row with this date, below the run's directory.
pub(super) fn partition(partition_by: &str, micros: Option<i64>, run_date: Option<Date>) -> String {
    let moment = micros.and_then(|micros| Timestamp::from_microsecond(micros).ok());
    let date = moment.map(|moment| Offset::UTC.to_datetime(moment).date());
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
