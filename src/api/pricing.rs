//! The money rule: what a call counts as, whether its debit is reported, estimated or unknown.
//!
//! Pure functions, shared by the spending cap, the ledger and the estimate, so that they cannot disagree. The debit
//! that the gateway reports takes precedence over any price here.

use super::status::Cost;
use crate::money::Usd;

/// The gateway debits at most this many times the upstream price (the API's price page: one to two times).
const GATEWAY_FACTOR: i64 = 2;
/// Upstream list price of a call (the API's price page).
const LIST_PRICE_PER_CALL: Usd = Usd::from_micros(24_000);
/// Upstream list price of a row (the API's price page).
const LIST_PRICE_PER_ROW: Usd = Usd::from_micros(36);
/// The assumed cost of a call while no price is known: about twice the list price of a full history, with margin for a
/// plan's multiplier.
pub const PRESUMED_PRICE: Usd = Usd::from_micros(100_000);

/// The most that may have been debited where only the upstream price is known.
pub fn max_debit(upstream: Usd) -> Usd {
    upstream.times(GATEWAY_FACTOR)
}

/// The upstream list price of a call that returns `rows` rows.
pub fn list_price(rows: i64) -> Usd {
    LIST_PRICE_PER_CALL.plus(LIST_PRICE_PER_ROW.times(rows))
}

/// What a finished call counts as. `reserved` is the price limit that the call was sent with.
pub fn counted_cost(cost: Cost, price_limit: Option<Usd>, highest_price: HighestPrice) -> Usd {
    match cost {
        Cost::Debit(price) => price,
        Cost::Upstream(price) => max_debit(price).max(price_limit.unwrap_or_default()),
        Cost::Unknown => unpriced(price_limit, highest_price),
        Cost::Nothing => Usd::ZERO,
    }
}

/// What a call counts as if its price is unknown or it got no answer.
pub fn unpriced(price_limit: Option<Usd>, highest_price: HighestPrice) -> Usd {
    price_limit.unwrap_or_else(|| highest_price.or_presumed())
}

/// The highest prices so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HighestPrice {
    debit: Usd,
    upstream: Usd,
}

impl HighestPrice {
    /// Updates the maximum with a call's cost; an unknown cost changes nothing.
    pub fn learn(&mut self, cost: Cost) {
        match cost {
            Cost::Debit(price) => self.debit = self.debit.max(price),
            Cost::Upstream(price) => self.upstream = self.upstream.max(price),
            Cost::Unknown | Cost::Nothing => {}
        }
    }

    /// The expected price of a call; zero while none is known. Without any reported debit it is the most that the
    /// gateway charges for an upstream price.
    pub fn price(self) -> Usd {
        if self.debit == Usd::ZERO { max_debit(self.upstream) } else { self.debit.max(self.upstream) }
    }

    /// The same, or the presumed price if none is known.
    pub fn or_presumed(self) -> Usd {
        match self.price() {
            Usd::ZERO => PRESUMED_PRICE,
            price => price,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn usd(micros: i64) -> Usd {
        Usd::from_micros(micros)
    }

    fn learned(costs: &[Cost]) -> HighestPrice {
        let mut highest_price = HighestPrice::default();
        for cost in costs {
            highest_price.learn(*cost);
        }
        highest_price
    }

    #[test]
    fn every_kind_of_cost_counts_for_its_amount() {
        let check = |cost: Cost, reserved: Option<i64>, learned_from: &[Cost], expected: i64| {
            let found = counted_cost(cost, reserved.map(usd), learned(learned_from));
            assert_eq!(found, usd(expected), "{cost:?}, {reserved:?} reserved, learned from {learned_from:?}");
        };
        let debit = [Cost::Debit(usd(40_000))];
        // The debit is reported.
        check(Cost::Debit(usd(30_000)), None, &[], 30_000);
        check(Cost::Debit(usd(30_000)), Some(50_000), &debit, 30_000);
        check(Cost::Debit(usd(60_000)), Some(50_000), &debit, 60_000);
        // Only the upstream price is known.
        check(Cost::Upstream(usd(20_000)), None, &debit, 40_000);
        check(Cost::Upstream(usd(20_000)), Some(50_000), &debit, 50_000);
        check(Cost::Upstream(usd(30_000)), Some(50_000), &debit, 60_000);
        // Nothing is known, or no answer came.
        check(Cost::Unknown, Some(50_000), &debit, 50_000);
        check(Cost::Unknown, None, &debit, 40_000);
        check(Cost::Unknown, None, &[Cost::Upstream(usd(30_000))], 60_000);
        check(Cost::Unknown, None, &[], 100_000);
        check(Cost::Nothing, Some(50_000), &debit, 0);
        assert_eq!(unpriced(None, HighestPrice::default()), PRESUMED_PRICE);
    }

    #[test]
    fn a_reported_debit_outweighs_upstream_prices() {
        let check = |costs: &[Cost], expected: i64| assert_eq!(learned(costs).price(), usd(expected), "{costs:?}");
        let (debit, upstream) = (|price| Cost::Debit(usd(price)), |price| Cost::Upstream(usd(price)));
        check(&[], 0);
        check(&[Cost::Unknown, Cost::Nothing], 0);
        check(&[debit(30), debit(40), debit(20)], 40);
        check(&[upstream(20), upstream(10)], 40);
        check(&[debit(30), upstream(20)], 30);
        check(&[debit(30), upstream(50)], 50);
    }

    #[test]
    fn a_full_history_has_the_list_price_of_its_rows() {
        assert_eq!((list_price(0), list_price(95)), (usd(24_000), usd(27_420)));
        assert_eq!(max_debit(list_price(95)), usd(54_840));
    }
}
