//! The spending cap: money spent and money reserved for calls in flight never exceed it.
//!
//! Each call has a price limit above which the API refuses it, unbilled. Several times that is reserved, in case a
//! gateway ignores the limit. Until the first price is known, one call at a time is sent and reserves the whole
//! remaining budget, which must cover at least the list price. Once a call has cost more than its limit, calls are sent
//! one at a time until the price is steady. [`crate::api::pricing`] decides what a finished call counts as. Without a
//! cap, only the sum is kept.

use crate::{
    api::{
        pricing::{HighestPrice, PRESUMED_PRICE, counted_cost, list_price},
        status::Cost,
    },
    money::Usd,
};

/// A call's limit exceeds the highest known price by a quarter, so that a normal price increase is not refused.
const HEADROOM: i64 = 4;
/// Multiple of the highest price that is reserved for one call: even a price that rises tenfold while calls are in
/// flight does not break the cap. Only the calls shortly before the cap are affected: fewer of them are in flight.
const RISE: i64 = 10;

/// A call that costs more than its limit shows that the gateway ignores limits and that the price is rising: calls are
/// then sent one at a time until this many in a row have stayed within theirs. After three, a price that rises with
/// each call has exceeded a limit again.
const STEADY_CALLS: u32 = 3;

/// Money spent, reserved and left.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    cap: Option<Usd>,
    spent: Usd,
    reserved: Usd,
    in_flight: u32,
    highest_price: HighestPrice,
    /// Consecutive calls that have stayed within their limits, counted up to [`STEADY_CALLS`].
    steady: u32,
}

/// The amounts reserved for one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reservation(Option<Amounts>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Amounts {
    /// The price above which the API refuses the call.
    limit: Usd,
    /// Reserved: unavailable to other calls until this one settles.
    reserved: Usd,
}

impl Reservation {
    /// The price above which the API refuses the call, if there is a cap.
    pub(super) fn price_limit(self) -> Option<Usd> {
        self.0.map(|amounts| amounts.limit)
    }
}

/// Why nothing could be reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReserveError {
    /// Calls in flight may leave enough once their price is known.
    Wait,
    /// The rest of the cap does not cover another call.
    Exhausted,
}

impl Budget {
    /// A budget of which `spent` is already used.
    pub(super) fn new(cap: Option<Usd>, spent: Usd, highest_price: HighestPrice) -> Self {
        Self { cap, spent, reserved: Usd::ZERO, in_flight: 0, highest_price, steady: STEADY_CALLS }
    }

    /// Reserves money for one call that is expected to cost at least `min_price_limit`.
    pub(super) fn reserve(&mut self, min_price_limit: Option<Usd>) -> Result<Reservation, ReserveError> {
        let Some(cap) = self.cap else { return Ok(Reservation(None)) };
        if self.steady < STEADY_CALLS && self.in_flight > 0 {
            return Err(ReserveError::Wait);
        }
        let rest = cap.minus(self.spent).minus(self.reserved);
        let refused = if self.in_flight > 0 { ReserveError::Wait } else { ReserveError::Exhausted };
        let highest = self.highest_price.price();
        let expected = highest.max(min_price_limit.unwrap_or_default());
        // No call is expected to cost less than the list price unless one did.
        let least = if highest == Usd::ZERO { expected.max(list_price(0)) } else { expected };
        if rest < least {
            return Err(refused);
        }
        let limit = if expected == Usd::ZERO { PRESUMED_PRICE } else { expected.plus(expected.part(HEADROOM)) };
        // While no price is known, the one call in flight reserves the whole rest.
        let reserved = if highest == Usd::ZERO { rest } else { limit.max(highest.times(RISE)) };
        if reserved > rest && self.in_flight > 0 {
            return Err(ReserveError::Wait);
        }
        let reserved = reserved.min(rest);
        self.reserved = self.reserved.plus(reserved);
        self.in_flight += 1;
        Ok(Reservation(Some(Amounts { limit: limit.min(rest), reserved })))
    }

    /// Returns an unused reservation.
    pub(super) fn release(&mut self, reservation: Reservation) {
        if let Some(amounts) = reservation.0 {
            self.reserved = self.reserved.minus(amounts.reserved);
            self.in_flight -= 1;
        }
    }

    /// Records the cost of a call.
    pub(super) fn settle(&mut self, reservation: Reservation, cost: Cost) {
        self.release(reservation);
        self.highest_price.learn(cost);
        let counted = counted_cost(cost, reservation.price_limit(), self.highest_price);
        self.spent = self.spent.plus(counted);
        match reservation.price_limit() {
            Some(limit) if counted > limit => self.steady = 0,
            Some(_) if counted > Usd::ZERO => self.steady = STEADY_CALLS.min(self.steady + 1),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn usd(micros: i64) -> Usd {
        Usd::from_micros(micros)
    }

    /// A budget with this amount spent and this highest debit.
    fn of(cap: i64, spent: i64, highest: i64) -> Budget {
        let mut prices = HighestPrice::default();
        prices.learn(Cost::Debit(usd(highest)));
        Budget::new(Some(usd(cap)), usd(spent), prices)
    }

    #[test]
    fn spent_and_reserved_never_exceed_the_cap() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..1_000 {
            let (cap, mut price) = (random.i64(1..=2_000_000), random.i64(1..=60_000));
            let mut budget = of(cap, 0, 0);
            let (mut billed, mut in_flight) = (0_i64, Vec::new());
            let mut min_price_limit = None;
            for _ in 0..500 {
                if random.u8(..50) == 0 {
                    price *= 3;
                }
                if in_flight.len() < 30 && random.u8(..2) == 0 {
                    match budget.reserve(min_price_limit) {
                        Ok(reservation) => in_flight.push(reservation),
                        Err(ReserveError::Wait) => assert!(!in_flight.is_empty()),
                        Err(ReserveError::Exhausted) => {
                            assert!(in_flight.is_empty());
                            break;
                        }
                    }
                } else if let Some(reservation) = in_flight.pop() {
                    let allowed = reservation.price_limit().expect("a cap");
                    if usd(price) > allowed {
                        budget.settle(reservation, Cost::Nothing);
                        min_price_limit = Some(usd(allowed.micros() + 1));
                    } else {
                        billed += price;
                        let cost = if random.u8(..10) == 0 { Cost::Unknown } else { Cost::Debit(usd(price)) };
                        budget.settle(reservation, cost);
                    }
                }
                assert!(billed <= cap, "billed {billed} of {cap}");
                assert!(budget.spent.plus(budget.reserved) <= usd(cap));
            }
        }
    }

    #[test]
    fn the_unused_rest_is_under_one_price() {
        let mut budget = of(100_000, 0, 0);
        let mut calls = 0;
        while let Ok(reservation) = budget.reserve(None) {
            budget.settle(reservation, Cost::Debit(usd(27_000)));
            calls += 1;
        }
        assert_eq!(calls, 3);
        assert_eq!(budget.reserve(None), Err(ReserveError::Exhausted));
    }

    #[test]
    fn the_first_price_is_learned_from_a_single_call() {
        let mut budget = of(1_000_000, 0, 0);
        let first = budget.reserve(None).expect("the whole cap");
        assert_eq!(first.price_limit(), Some(PRESUMED_PRICE));
        assert_eq!(budget.reserve(None), Err(ReserveError::Wait));
        budget.settle(first, Cost::Debit(usd(40_000)));
        assert_eq!(budget.reserve(None).expect("room").price_limit(), Some(usd(50_000)));
    }

    #[test]
    fn a_price_that_rises_tenfold_without_refusals_does_not_break_the_cap() {
        let mut budget = of(10_000_000, 0, 30_000);
        let mut in_flight = Vec::new();
        while let Ok(reservation) = budget.reserve(None) {
            in_flight.push(reservation);
        }
        assert!(in_flight.len() > 30);
        let price = usd(300_000);
        for reservation in in_flight {
            budget.settle(reservation, Cost::Debit(price));
        }
        assert!(budget.spent <= usd(10_000_000));
    }

    #[test]
    fn calls_are_sent_one_at_a_time_after_a_call_above_its_limit() {
        let check = |first: i64, then: &[i64], waits: bool| {
            let mut budget = of(100_000_000, 0, 0);
            for price in std::iter::once(&first).chain(then) {
                let call = budget.reserve(None).expect("room");
                budget.settle(call, Cost::Debit(usd(*price)));
            }
            budget.reserve(None).expect("room for one");
            let beside = budget.reserve(None);
            assert_eq!(beside == Err(ReserveError::Wait), waits, "{first}, {then:?}");
        };
        check(40_000, &[], false);
        check(150_000, &[], true);
        check(150_000, &[150_000; 2], true);
        check(150_000, &[150_000; 3], false);
        check(150_000, &[150_000, 150_000, 400_000, 400_000, 400_000], true);
        check(40_000, &[50_000], false);
        check(40_000, &[50_001], true);
    }

    #[test]
    fn a_lost_first_call_counts_its_limit_and_the_rest_stays_usable() {
        let mut budget = of(1_000_000, 0, 0);
        let first = budget.reserve(None).expect("room");
        budget.settle(first, Cost::Unknown);
        assert_eq!(budget.spent, PRESUMED_PRICE);
        let second = budget.reserve(Some(usd(100_001))).expect("room");
        assert!(second.price_limit() > Some(usd(100_001)), "a refused limit is raised");
    }

    #[test]
    fn an_upstream_price_is_not_a_debit() {
        let mut budget = of(1_000_000, 0, 40_000);
        let call = budget.reserve(None).expect("room");
        budget.settle(call, Cost::Upstream(usd(20_000)));
        assert_eq!(budget.spent, usd(50_000), "booked at its limit");
        let mut budget = of(1_000_000, 0, 0);
        let (mut debited, price) = (0, 24_000);
        while let Ok(call) = budget.reserve(None) {
            debited += 2 * price;
            budget.settle(call, Cost::Upstream(usd(price)));
        }
        assert!(debited <= 1_000_000, "a gateway that debits twice the upstream price without reporting it: {debited}");
        assert!(debited > 700_000, "booked at a limit a quarter above that, which a gateway may reach: {debited}");
    }

    #[test]
    fn without_a_cap_every_call_is_allowed() {
        let mut budget = Budget::new(None, Usd::ZERO, HighestPrice::default());
        assert_eq!(budget.reserve(None), Ok(Reservation(None)));
    }

    #[test]
    fn a_limit_is_a_quarter_above_the_price_and_a_reservation_ten_times_the_highest() {
        let check = |cap: i64,
                     spent: i64,
                     highest: i64,
                     min_price_limit: Option<i64>,
                     expected: Result<(i64, i64), ReserveError>| {
            let mut budget = of(cap, spent, highest);
            let amounts = budget.reserve(min_price_limit.map(usd)).map(|reservation| reservation.0.expect("a cap"));
            let found = amounts.map(|amounts| (amounts.limit.micros(), amounts.reserved.micros()));
            assert_eq!(found, expected, "{cap}, {spent} spent, highest {highest}, at least {min_price_limit:?}");
        };
        // No price is known: everything is reserved.
        check(1_000_000, 0, 0, None, Ok((100_000, 1_000_000)));
        check(1_000_000, 940_000, 0, None, Ok((60_000, 60_000)));
        check(1_000_000, 976_000, 0, None, Ok((24_000, 24_000)));
        check(1_000_000, 976_001, 0, None, Err(ReserveError::Exhausted));
        check(1_000_000, 1_000_000, 0, None, Err(ReserveError::Exhausted));
        check(1_000_000, 0, 0, Some(100_001), Ok((125_001, 1_000_000)));
        check(1_000_000, 900_000, 0, Some(100_001), Err(ReserveError::Exhausted));
        check(1_000_000, 0, 40_000, None, Ok((50_000, 400_000)));
        check(1_000_000, 0, 40_000, Some(30_000), Ok((50_000, 400_000)));
        check(1_000_000, 0, 40_000, Some(200_000), Ok((250_000, 400_000)));
        // The last call may use all that is left, if that covers it.
        check(1_000_000, 900_000, 40_000, None, Ok((50_000, 100_000)));
        check(1_000_000, 960_000, 40_000, None, Ok((40_000, 40_000)));
        check(1_000_000, 960_001, 40_000, None, Err(ReserveError::Exhausted));
        check(1_000_000, 2_000_000, 40_000, None, Err(ReserveError::Exhausted));
    }

    #[test]
    fn a_call_waits_until_its_whole_reservation_fits_beside_others() {
        let mut budget = of(800_000, 0, 40_000);
        let [first, second] = [0, 1].map(|_| budget.reserve(None).expect("room for two"));
        assert_eq!(budget.reserve(None), Err(ReserveError::Wait));
        budget.release(first);
        budget.settle(second, Cost::Debit(usd(30_000)));
        let third = budget.reserve(None).expect("room");
        // 370,000 would cover a call, but not one whose price rises tenfold.
        assert_eq!(budget.reserve(None), Err(ReserveError::Wait));
        budget.settle(third, Cost::Nothing);
        assert_eq!((budget.spent, budget.reserved, budget.in_flight), (usd(30_000), Usd::ZERO, 0));
    }

    #[test]
    fn every_cost_is_counted_and_only_a_reported_price_is_learned() {
        let check = |cost: Cost, spent: i64, highest: i64| {
            let mut budget = of(1_000_000, 0, 40_000);
            let call = budget.reserve(None).expect("room");
            budget.settle(call, cost);
            assert_eq!((budget.spent, budget.highest_price.price()), (usd(spent), usd(highest)), "{cost:?}");
        };
        check(Cost::Debit(usd(30_000)), 30_000, 40_000);
        check(Cost::Debit(usd(60_000)), 60_000, 60_000);
        check(Cost::Upstream(usd(20_000)), 50_000, 40_000);
        check(Cost::Upstream(usd(30_000)), 60_000, 40_000);
        check(Cost::Upstream(usd(70_000)), 140_000, 70_000);
        check(Cost::Unknown, 50_000, 40_000);
        check(Cost::Nothing, 0, 40_000);
    }
}
