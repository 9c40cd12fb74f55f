//! The bill: what every call was, what it cost, and how hard the server was pressed.
//!
//! A call is debited the moment it is decided, as at the real API: a client that gives up, is killed or loses its
//! connection has paid all the same. Each call holds a [`Receipt`] until its last byte has been handed over; what is
//! dropped before that counts as lost.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Serialize;
use tokio::time::Instant;

use super::settings::RateLimit;
use crate::money::Usd;

/// What the simulated API has seen, and what it debited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Bill {
    /// Calls to the paid endpoint, whatever came of them.
    pub calls: u64,
    /// Calls that were debited, the lost ones included.
    pub billed_calls: u64,
    /// Debited calls whose answer never reached the client whole and readable.
    pub billed_lost: u64,
    /// All debits, in millionths of a dollar.
    pub debited_micros: Usd,
    /// Debited calls of each target.
    pub billed_targets: BTreeMap<String, u64>,
    /// Most calls that arrived in any 60 seconds.
    pub most_calls_in_60_s: usize,
    /// Most calls that arrived in any second.
    pub most_calls_in_1_s: usize,
    /// Most calls at the same time, each from its request's head to its answer's last byte.
    pub most_in_flight: usize,
    /// Calls that are not finished yet.
    pub in_flight: usize,
    /// Answers by HTTP status.
    pub statuses: BTreeMap<u16, u64>,
    /// Answers by the status code inside the body.
    pub codes: BTreeMap<i64, u64>,
    /// Calls that were left without an answer: reset or stalled.
    pub unanswered: u64,
    /// Requests to anything but the paid endpoint, the bill and the balance.
    pub strayed: u64,
}

impl Bill {
    /// Targets that were paid for more than once.
    pub fn bought_again(&self) -> impl Iterator<Item = &str> {
        self.billed_targets.iter().filter(|(_, calls)| **calls > 1).map(|(target, _)| target.as_str())
    }
}

/// The books behind the bill, shared by all connections.
#[derive(Clone, Debug, Default)]
pub(super) struct Books(Arc<Mutex<Pages>>);

#[derive(Debug, Default)]
pub(super) struct Pages {
    pub(super) bill: Bill,
    /// Calls so far of each target that came as far as to be answered.
    attempts: HashMap<String, u32>,
    last_minute: Window,
    last_second: Window,
    /// Calls that the rate limit let pass.
    admitted: Window,
}

impl Books {
    /// A copy of the bill as it stands.
    pub(super) fn bill(&self) -> Bill {
        self.open().bill.clone()
    }

    pub(super) fn open(&self) -> MutexGuard<'_, Pages> {
        // Each change is complete in itself, so a panic elsewhere leaves nothing half-written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call's head has arrived.
    pub(super) fn arrival(&self, now: Instant) -> Receipt {
        let mut pages = self.open();
        pages.bill.calls += 1;
        pages.bill.in_flight += 1;
        pages.bill.most_in_flight = pages.bill.most_in_flight.max(pages.bill.in_flight);
        let in_minute = pages.last_minute.push(now, Duration::from_mins(1));
        let in_second = pages.last_second.push(now, Duration::from_secs(1));
        pages.bill.most_calls_in_60_s = pages.bill.most_calls_in_60_s.max(in_minute);
        pages.bill.most_calls_in_1_s = pages.bill.most_calls_in_1_s.max(in_second);
        let number = pages.bill.calls;
        drop(pages);
        Receipt { books: self.clone(), number, debited: false, delivered: false }
    }
}

impl Pages {
    /// Counts this attempt at a target; the first is 0.
    pub(super) fn attempt(&mut self, target: &str) -> u32 {
        if let Some(attempts) = self.attempts.get_mut(target) {
            *attempts += 1;
            return *attempts - 1;
        }
        self.attempts.insert(target.to_owned(), 1);
        0
    }

    /// Whether the rate limit lets one more call pass; counts it if so.
    pub(super) fn admits(&mut self, now: Instant, limit: RateLimit) -> bool {
        let most = usize::try_from(limit.calls.get()).unwrap_or(usize::MAX);
        let admits = self.admitted.count(now, limit.period) < most;
        if admits {
            self.admitted.push(now, limit.period);
        }
        admits
    }
}

/// One call's place in the books, kept until it is finished.
#[derive(Debug)]
pub(super) struct Receipt {
    books: Books,
    /// The call's number, from 1.
    pub(super) number: u64,
    debited: bool,
    delivered: bool,
}

impl Receipt {
    /// Debits the account for this call.
    pub(super) fn debit(&mut self, pages: &mut Pages, target: &str, price: Usd) {
        self.debited = true;
        pages.bill.billed_calls += 1;
        pages.bill.debited_micros = pages.bill.debited_micros.plus(price);
        if let Some(calls) = pages.bill.billed_targets.get_mut(target) {
            *calls += 1;
        } else {
            pages.bill.billed_targets.insert(target.to_owned(), 1);
        }
    }

    /// The whole answer has been handed over.
    pub(super) fn deliver(mut self) {
        self.delivered = true;
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        let mut pages = self.books.open();
        pages.bill.in_flight -= 1;
        pages.bill.billed_lost += u64::from(self.debited && !self.delivered);
    }
}

/// The moments of the last calls, oldest first.
#[derive(Debug, Default)]
struct Window(VecDeque<Instant>);

impl Window {
    /// How many lie less than `length` back.
    fn count(&mut self, now: Instant, length: Duration) -> usize {
        while self.0.front().is_some_and(|moment| now.duration_since(*moment) >= length) {
            self.0.pop_front();
        }
        self.0.len()
    }

    /// Adds one and says how many lie less than `length` back, this one included.
    fn push(&mut self, now: Instant, length: Duration) -> usize {
        self.0.push_back(now);
        self.count(now, length)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    const PRICE: Usd = Usd::from_micros(41_130);

    #[test]
    fn debits_add_up_by_call_and_target_and_lost_ones_are_told_apart() {
        let books = Books::default();
        let call = |target: Option<&str>, delivered: bool| {
            let mut receipt = books.arrival(Instant::now());
            if let Some(target) = target {
                receipt.debit(&mut books.open(), target, PRICE);
            }
            if delivered {
                receipt.deliver();
            }
        };
        call(Some("a.com"), true);
        call(Some("a.com"), false);
        call(Some("b.com"), true);
        call(None, true);
        call(None, false);
        let bill = books.bill();
        assert_eq!((bill.calls, bill.billed_calls, bill.billed_lost, bill.in_flight), (5, 3, 1, 0));
        assert_eq!(bill.debited_micros, Usd::from_micros(3 * 41_130));
        assert_eq!(bill.bought_again().collect::<Vec<_>>(), ["a.com"]);
        assert_eq!(bill.most_in_flight, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_busiest_windows_are_found_exactly() {
        let books = Books::default();
        let arrive = async |calls: usize, then_ms: u64| {
            for _ in 0..calls {
                books.arrival(Instant::now()).deliver();
            }
            tokio::time::advance(Duration::from_millis(then_ms)).await;
        };
        arrive(3, 999).await;
        arrive(2, 1).await;
        assert_eq!(books.bill().most_calls_in_1_s, 5);
        arrive(2, 58_999).await; // One second after the first three, which have just left that window.
        assert_eq!(books.bill().most_calls_in_1_s, 5);
        arrive(1, 1).await; // At 59.999 s all eight lie within a minute.
        assert_eq!(books.bill().most_calls_in_60_s, 8);
        arrive(1, 0).await;
        assert_eq!(books.bill().most_calls_in_60_s, 8);
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_limit_counts_what_it_let_pass() {
        let books = Books::default();
        let limit = RateLimit { calls: NonZeroU32::new(2).expect("two"), period: Duration::from_secs(1) };
        let admits = || books.open().admits(Instant::now(), limit);
        assert_eq!([admits(), admits(), admits()], [true, true, false]);
        tokio::time::advance(Duration::from_millis(999)).await;
        assert!(!admits());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!([admits(), admits(), admits()], [true, true, false]);
    }

    #[test]
    fn calls_in_flight_count_until_their_last_byte() {
        let books = Books::default();
        let first = books.arrival(Instant::now());
        let second = books.arrival(Instant::now());
        first.deliver();
        let third = books.arrival(Instant::now());
        assert_eq!((books.bill().in_flight, books.bill().most_in_flight), (2, 2));
        drop((second, third));
        assert_eq!(books.bill().in_flight, 0);
    }
}
