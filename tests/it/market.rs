//! An API in this process, on paused time, that keeps its own bill, for tests of money and clocks.

use std::{
    num::NonZeroU32,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use backlinks_export::{
    api::{Api, ApiError, ErrorKind, Reply, Request},
    clock::Clock,
    dataset::DatasetLayout,
    export::{Export, ExportError, Fetched, QueryParams},
    fetch::{FetchEnd, FetchLimits, pace::Rate},
    money::Usd,
    progress::{ExportScope, Mode, Progress},
    targets::{Inputs, ReadOptions, read},
};
use fastrand::Rng;
use tokio::time::Instant;

/// The behavior of a market.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// Whether it refuses calls whose price would exceed their limit.
    pub(crate) honors: bool,
    /// The initial price, in millionths of a dollar.
    pub(crate) price: i64,
    /// After this many billed calls, the price is this many times as high.
    pub(crate) rises_after: Option<(u64, i64)>,
    /// Whether prices also fluctuate a little.
    pub(crate) wanders: bool,
    /// One call in this many is refused temporarily, unbilled; 0: none.
    pub(crate) busy: u64,
    /// One answer in this many is lost in transit; 0: none.
    pub(crate) lost: u64,
    /// One answer in this many does not report its debit; 0: none.
    pub(crate) silent: u64,
    /// The longest latency of an answer, in milliseconds.
    pub(crate) latency: u64,
}

impl Terms {
    /// Always this price, no faults, and price limits are respected.
    pub(crate) fn steady(price: i64) -> Self {
        Self { honors: true, price, rises_after: None, wanders: false, busy: 0, lost: 0, silent: 0, latency: 500 }
    }
}

/// The books of a market.
#[derive(Debug)]
pub(crate) struct Books {
    rng: Rng,
    price: i64,
    has_risen: bool,
    pub(crate) calls: u64,
    pub(crate) billed: u64,
    pub(crate) spent: i64,
    /// The highest price so far.
    pub(crate) highest: i64,
    /// Calls without a price limit.
    pub(crate) unlimited: u64,
    pub(crate) arrivals: Vec<Instant>,
}

/// An API with prices that change.
#[derive(Clone, Debug)]
pub(crate) struct Market {
    terms: Terms,
    pub(crate) books: Arc<Mutex<Books>>,
}

enum Word {
    Busy,
    TooExpensive,
    Lost,
    Answer { debit: Option<i64>, upstream: Option<i64> },
}

impl Market {
    pub(crate) fn new(terms: Terms, rng: Rng) -> Self {
        let books = Books {
            rng,
            price: terms.price,
            has_risen: false,
            calls: 0,
            billed: 0,
            spent: 0,
            highest: terms.price,
            unlimited: 0,
            arrivals: Vec::new(),
        };
        Self { terms, books: Arc::new(Mutex::new(books)) }
    }

    fn decide(&self, request: &Request) -> (Word, Duration) {
        let (terms, mut books) = (&self.terms, self.books.lock().expect("sound"));
        let happens = |books: &mut Books, of: u64| of > 0 && books.rng.u64(..of) == 0;
        books.calls += 1;
        books.arrivals.push(Instant::now());
        books.unlimited += u64::from(request.price_limit.is_none());
        let wait = Duration::from_millis(books.rng.u64(0..=terms.latency));
        if let Some((_, times)) = terms.rises_after.filter(|(after, _)| books.billed >= *after && !books.has_risen) {
            books.has_risen = true;
            books.price *= times;
        }
        if terms.wanders && books.rng.u64(..4) == 0 {
            let by = books.rng.i64(85..=115);
            books.price = books.price * by / 100 + 1;
        }
        books.highest = books.highest.max(books.price);
        if happens(&mut books, terms.busy) {
            return (Word::Busy, wait);
        }
        let price = books.price;
        if terms.honors && request.price_limit.is_some_and(|most| most.micros() < price) {
            return (Word::TooExpensive, wait);
        }
        books.billed += 1;
        books.spent += price;
        let word = if happens(&mut books, terms.lost) {
            Word::Lost
        } else if happens(&mut books, terms.silent) {
            // Half of these report what the gateway paid, which is less.
            let upstream = (books.rng.u64(..2) == 0).then_some(price * 2 / 3);
            Word::Answer { debit: None, upstream }
        } else {
            Word::Answer { debit: Some(price), upstream: None }
        };
        (word, wait)
    }
}

impl Api for Market {
    async fn post(&self, request: &Request) -> Result<Reply, ApiError> {
        // Decided and billed on arrival: a client that is killed before the answer has paid.
        let (word, wait) = self.decide(request);
        tokio::time::sleep(wait).await;
        let name = request.target.as_str();
        let plain = |status, body: &str| Ok(Reply { status, body: body.to_owned().into(), ..Reply::default() });
        match word {
            Word::Busy => plain(503, r#"{"error":"busy"}"#),
            Word::TooExpensive => plain(402, r#"{"code":"estimated_price_exceeds_max_price","error":"x"}"#),
            Word::Lost => Err(ApiError { kind: ErrorKind::Lost, message: "connection reset".to_owned() }),
            Word::Answer { debit, upstream } => {
                let cost = upstream
                    .map_or_else(String::new, |micros| format!(r#""cost":{},"#, Usd::from_micros(micros).dollars()));
                let body = format!(
                    r#"{{"status_code":20000,"tasks":[{{"id":"1",{cost}"status_code":20000,"data":{{"target":"{name}"}},"result":[{{"target":"{name}","items":[{{}}]}}]}}]}}"#
                );
                Ok(Reply { status: 200, body: body.into(), debit: debit.map(Usd::from_micros), ..Reply::default() })
            }
        }
    }
}

/// The lines of a file of domains.
pub(crate) fn lines(file: &Path) -> Inputs {
    read(&[file.to_owned()], std::io::empty(), &ReadOptions::default()).expect("readable")
}

/// The start time of these tests.
pub(crate) fn clock() -> Clock {
    Clock::at("2026-11-24T12:00:00Z".parse().expect("a time"))
}

/// This many calls per minute and in flight, without a cap.
pub(crate) fn limits(per_minute: u32, concurrency: u32) -> FetchLimits {
    let number = |number| NonZeroU32::new(number).expect("positive");
    FetchLimits {
        rate: Rate { calls: number(per_minute), period: Duration::from_mins(1) },
        concurrency: number(concurrency),
        max_attempts: number(6),
        max_cost: None,
        max_outage: Duration::from_mins(10),
        body: None,
    }
}

/// The maximum number of calls in any minute.
pub(crate) fn most_in_a_minute(arrivals: &[Instant]) -> usize {
    let is_within = |first: &Instant, later: &Instant| later.duration_since(*first) < Duration::from_mins(1);
    let mut sorted = arrivals.to_vec();
    sorted.sort();
    let from = |first: usize| sorted[first..].partition_point(|later| is_within(&sorted[first], later));
    (0..sorted.len()).map(from).max().unwrap_or(0)
}

/// One process's part of a run: opens the directory and fetches until it ends or is killed after `life`. `None`: it was
/// killed.
pub(crate) async fn live(
    (dir, file): (&Path, &Path),
    market: &Market,
    limits: FetchLimits,
    clock: Clock,
    life: Option<Duration>,
) -> Result<Option<(FetchEnd, Fetched)>, ExportError> {
    let export = Export::open(dir, lines(file), &QueryParams::default(), clock)?;
    let progress = Progress::start(Mode::None, false, ExportScope::all_stored(0));
    let form = DatasetLayout::default();
    let fetching = export.fetch(market.clone(), limits, &form, &progress, std::future::pending());
    let Some(life) = life else { return fetching.await.map(Some) };
    let ended = tokio::time::timeout(life, fetching).await;
    // Writes in progress still reach the disk, as they may when a process is killed.
    tokio::time::sleep(Duration::from_millis(1)).await;
    ended.map_or(Ok(None), |ended| ended.map(Some))
}
