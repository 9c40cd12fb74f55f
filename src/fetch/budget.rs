//! The spending cap: what is spent and what is set aside for calls in flight never pass it.
//!
//! Before a call goes out, a price is set aside for it and told to the API, which refuses (unbilled)
//! above it. Until the first price is known one call at a time goes out with the whole rest set aside.
//! A call that may have been billed keeps its reservation for good. Without a cap only the sum is kept.

use crate::{api::status::Cost, money::Usd};

/// Set aside above the dearest price seen, so that an ordinary rise is not refused: a quarter.
const HEADROOM: i64 = 4;

/// Money spent, set aside and left.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    cap: Option<Usd>,
    spent: Usd,
    reserved: Usd,
    in_flight: u32,
    dearest: Usd,
}

/// What is set aside for one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reservation(Option<Usd>);

impl Reservation {
    /// The amount, where there is a cap.
    pub(super) fn amount(self) -> Option<Usd> {
        self.0
    }
}

/// Why nothing could be set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Calls in flight may leave enough when their price is known.
    Wait,
    /// What is left does not pay one more call.
    Exhausted,
}

impl Budget {
    /// A budget in which `spent` is gone already and the dearest call so far cost `dearest` (zero: not known).
    pub(super) fn new(cap: Option<Usd>, spent: Usd, dearest: Usd) -> Self {
        Self { cap, spent, reserved: Usd::ZERO, in_flight: 0, dearest }
    }

    /// Sets money aside for one call that is thought to cost at least `least`.
    pub(super) fn reserve(&mut self, least: Option<Usd>) -> Result<Reservation, Refused> {
        let Some(cap) = self.cap else { return Ok(Reservation(None)) };
        let rest = cap.minus(self.spent).minus(self.reserved);
        let refused = if self.in_flight > 0 { Refused::Wait } else { Refused::Exhausted };
        let expected = self.dearest.max(least.unwrap_or_default());
        if rest <= Usd::ZERO || rest < expected {
            return Err(refused);
        }
        let amount = if expected == Usd::ZERO {
            rest
        } else {
            rest.min(Usd::from_micros(expected.micros().saturating_add(expected.micros() / HEADROOM)))
        };
        self.reserved = self.reserved.plus(amount);
        self.in_flight += 1;
        Ok(Reservation(Some(amount)))
    }

    /// Gives a reservation back unused.
    pub(super) fn release(&mut self, reservation: Reservation) {
        self.take_back(reservation);
    }

    /// Books what the call cost; at an unknown price the reservation is taken for spent.
    pub(super) fn settle(&mut self, reservation: Reservation, cost: Cost) {
        self.take_back(reservation);
        let paid = match cost {
            Cost::Debit(price) | Cost::Upstream(price) => {
                self.dearest = self.dearest.max(price);
                price
            }
            Cost::Unknown => reservation.0.unwrap_or_default(),
            Cost::Nothing => Usd::ZERO,
        };
        self.spent = self.spent.plus(paid);
    }

    fn take_back(&mut self, reservation: Reservation) {
        if let Some(amount) = reservation.0 {
            self.reserved = self.reserved.minus(amount);
            self.in_flight -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn usd(micros: i64) -> Usd {
        Usd::from_micros(micros)
    }

    #[test]
    fn spent_and_reserved_never_pass_the_cap_whatever_the_prices() {
        let mut random = 7_u64;
        let mut next = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        for _ in 0..1_000 {
            let cap = i64::try_from(next(2_000_000)).expect("small") + 1;
            let mut price = i64::try_from(next(60_000)).expect("small") + 1;
            let mut budget = Budget::new(Some(usd(cap)), Usd::ZERO, Usd::ZERO);
            let (mut billed, mut in_flight) = (0_i64, Vec::new());
            let mut least = None;
            for _ in 0..500 {
                if next(50) == 0 {
                    price *= 3;
                }
                if in_flight.len() < 30 && next(2) == 0 {
                    match budget.reserve(least) {
                        Ok(reservation) => in_flight.push(reservation),
                        Err(Refused::Wait) => assert!(!in_flight.is_empty()),
                        Err(Refused::Exhausted) => {
                            assert!(in_flight.is_empty());
                            break;
                        }
                    }
                } else if let Some(reservation) = in_flight.pop() {
                    let allowed = reservation.amount().expect("a cap");
                    if usd(price) > allowed {
                        budget.settle(reservation, Cost::Nothing);
                        least = Some(usd(allowed.micros() + 1));
                    } else {
                        billed += price;
                        let cost = if next(10) == 0 { Cost::Unknown } else { Cost::Debit(usd(price)) };
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
        let mut budget = Budget::new(Some(usd(100_000)), Usd::ZERO, Usd::ZERO);
        let mut calls = 0;
        while let Ok(reservation) = budget.reserve(None) {
            budget.settle(reservation, Cost::Upstream(usd(27_000)));
            calls += 1;
        }
        assert_eq!(calls, 3);
        assert_eq!(budget.reserve(None), Err(Refused::Exhausted));
    }

    #[test]
    fn one_call_alone_learns_the_first_price() {
        let mut budget = Budget::new(Some(usd(1_000_000)), Usd::ZERO, Usd::ZERO);
        let first = budget.reserve(None).expect("the whole cap");
        assert_eq!(first.amount(), Some(usd(1_000_000)));
        assert_eq!(budget.reserve(None), Err(Refused::Wait));
        budget.settle(first, Cost::Debit(usd(40_000)));
        assert_eq!(budget.reserve(None).expect("room").amount(), Some(usd(50_000)));
    }

    #[test]
    fn without_a_cap_everything_may_go() {
        let mut budget = Budget::new(None, Usd::ZERO, Usd::ZERO);
        assert_eq!(budget.reserve(None), Ok(Reservation(None)));
    }
}
