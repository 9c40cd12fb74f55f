//! The bill: all calls, their cost, and the load on the server.
//!
//! A call is debited when it is decided, as at the real API: a client that gives up, is killed or loses its connection
//! has still paid. Each call owns a [`Receipt`] until its last byte is sent; one that is dropped before counts as lost.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};
use serde::Serialize;
use tokio::time::Instant;

use super::settings::RateLimit;
use crate::money::Usd;

/// The calls to the simulated API and their cost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Bill {
    /// All calls to the paid endpoint.
    pub calls: u64,
    /// Debited calls, including lost ones.
    pub billed_calls: u64,
    /// Debited calls whose answer did not reach the client whole and readable.
    pub billed_lost: u64,
    /// All debits, in millionths of a dollar.
    pub debited_micros: Usd,
    /// Debited calls of each target.
    pub billed_targets: BTreeMap<String, u64>,
    pub most_calls_in_60_s: usize,
    pub most_calls_in_1_s: usize,
    /// Most calls at the same time, each from its request's head to its answer's last byte.
    pub most_in_flight: usize,
    pub in_flight: usize,
    /// Answers by HTTP status.
    pub statuses: BTreeMap<u16, u64>,
    /// Answers by the status code inside the body.
    pub codes: BTreeMap<i64, u64>,
    /// Calls that were reset or stalled.
    pub unanswered: u64,
    /// Requests to any path but the paid endpoint, the bill and the balance.
    pub strayed: u64,
}

impl Bill {
    /// Targets that were billed more than once.
    pub fn bought_again(&self) -> impl Iterator<Item = &str> {
        self.billed_targets.iter().filter(|(_, calls)| **calls > 1).map(|(target, _)| target.as_str())
    }
}

/// The bill and its counters, shared by all connections.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedBill(Arc<Mutex<BillState>>);

#[derive(Debug, Default)]
pub(super) struct BillState {
    pub(super) bill: Bill,
    /// Calls of each target that passed all checks.
    attempts: HashMap<String, u32>,
    last_minute: RecentCalls,
    last_second: RecentCalls,
    /// Calls within the rate limit.
    admitted: RecentCalls,
}

impl SharedBill {
    pub(super) fn snapshot(&self) -> Bill {
        self.lock().bill.clone()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, BillState> {
        self.0.lock()
    }

    /// Counts a call whose head has arrived.
    pub(super) fn arrival(&self, now: Instant) -> Receipt {
        let mut state = self.lock();
        state.bill.calls += 1;
        state.bill.in_flight += 1;
        state.bill.most_in_flight = state.bill.most_in_flight.max(state.bill.in_flight);
        let in_minute = state.last_minute.push(now, Duration::from_mins(1));
        let in_second = state.last_second.push(now, Duration::from_secs(1));
        state.bill.most_calls_in_60_s = state.bill.most_calls_in_60_s.max(in_minute);
        state.bill.most_calls_in_1_s = state.bill.most_calls_in_1_s.max(in_second);
        let number = state.bill.calls;
        drop(state);
        Receipt { bill: self.clone(), number, debited: false, delivered: false }
    }
}

impl BillState {
    /// Counts an attempt at a target and returns its number; the first is 0.
    pub(super) fn attempt(&mut self, target: &str) -> u32 {
        let attempts = self.attempts.entry(target.to_owned()).or_default();
        *attempts += 1;
        *attempts - 1
    }

    /// Whether the rate limit allows one more call; counts it if so.
    pub(super) fn admits(&mut self, now: Instant, limit: RateLimit) -> bool {
        let max = usize::try_from(limit.calls.get()).unwrap_or(usize::MAX);
        let admits = self.admitted.count(now, limit.period) < max;
        if admits {
            self.admitted.push(now, limit.period);
        }
        admits
    }
}

/// One call that is in flight.
#[derive(Debug)]
pub(super) struct Receipt {
    bill: SharedBill,
    /// The call's number, from 1.
    pub(super) number: u64,
    debited: bool,
    delivered: bool,
}

impl Receipt {
    /// Debits the account for this call.
    pub(super) fn debit(&mut self, state: &mut BillState, target: &str, price: Usd) {
        self.debited = true;
        state.bill.billed_calls += 1;
        state.bill.debited_micros = state.bill.debited_micros.plus(price);
        *state.bill.billed_targets.entry(target.to_owned()).or_default() += 1;
    }

    /// Counts the call as delivered: the whole answer was sent.
    pub(super) fn deliver(mut self) {
        self.delivered = true;
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        let mut state = self.bill.lock();
        state.bill.in_flight -= 1;
        state.bill.billed_lost += u64::from(self.debited && !self.delivered);
    }
}

/// The times of the last calls, oldest first.
#[derive(Debug, Default)]
struct RecentCalls(VecDeque<Instant>);

impl RecentCalls {
    /// How many are less than `length` ago.
    fn count(&mut self, now: Instant, length: Duration) -> usize {
        while self.0.front().is_some_and(|moment| now.duration_since(*moment) >= length) {
            self.0.pop_front();
        }
        self.0.len()
    }

    /// Adds one and counts those that are less than `length` ago, including it.
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
    fn debits_are_counted_by_call_and_target_and_lost_ones_separately() {
        let bill = SharedBill::default();
        let call = |target: Option<&str>, delivered: bool| {
            let mut receipt = bill.arrival(Instant::now());
            if let Some(target) = target {
                receipt.debit(&mut bill.lock(), target, PRICE);
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
        let bill = bill.snapshot();
        assert_eq!((bill.calls, bill.billed_calls, bill.billed_lost, bill.in_flight), (5, 3, 1, 0));
        assert_eq!(bill.debited_micros, Usd::from_micros(3 * 41_130));
        assert_eq!(bill.bought_again().collect::<Vec<_>>(), ["a.com"]);
        assert_eq!(bill.most_in_flight, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_busiest_windows_are_found_exactly() {
        let bill = SharedBill::default();
        let arrive = async |calls: usize, then_ms: u64| {
            for _ in 0..calls {
                bill.arrival(Instant::now()).deliver();
            }
            tokio::time::advance(Duration::from_millis(then_ms)).await;
        };
        arrive(3, 999).await;
        arrive(2, 1).await;
        assert_eq!(bill.snapshot().most_calls_in_1_s, 5);
        arrive(2, 58_999).await; // One second after the first three, which have just left that window.
        assert_eq!(bill.snapshot().most_calls_in_1_s, 5);
        arrive(1, 1).await; // At 59.999 s all eight are within a minute.
        assert_eq!(bill.snapshot().most_calls_in_60_s, 8);
        arrive(1, 0).await;
        assert_eq!(bill.snapshot().most_calls_in_60_s, 8);
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_limit_counts_admitted_calls() {
        let bill = SharedBill::default();
        let limit = RateLimit { calls: NonZeroU32::new(2).expect("two"), period: Duration::from_secs(1) };
        let admits = || bill.lock().admits(Instant::now(), limit);
        assert_eq!([admits(), admits(), admits()], [true, true, false]);
        tokio::time::advance(Duration::from_millis(999)).await;
        assert!(!admits());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!([admits(), admits(), admits()], [true, true, false]);
    }

    #[test]
    fn calls_are_in_flight_until_their_last_byte() {
        let bill = SharedBill::default();
        let first = bill.arrival(Instant::now());
        let second = bill.arrival(Instant::now());
        first.deliver();
        let third = bill.arrival(Instant::now());
        assert_eq!((bill.snapshot().in_flight, bill.snapshot().most_in_flight), (2, 2));
        drop((second, third));
        assert_eq!(bill.snapshot().in_flight, 0);
    }
}
