//! What a call may cost, where its debit is known and where it is not.

use crate::money::Usd;

/// What the gateway debits is at most so many times the upstream price (the API's price page: one to two times).
const MOST_TIMES_UPSTREAM: i64 = 2;

/// The most that may have been debited where the upstream price alone is known.
pub fn most_debited(upstream: Usd) -> Usd {
    upstream.times(MOST_TIMES_UPSTREAM)
}

/// The dearest calls so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dearest {
    debit: Usd,
    upstream: Usd,
}

impl Dearest {
    /// A call was debited at this price.
    pub fn debited(&mut self, price: Usd) {
        self.debit = self.debit.max(price);
    }

    /// A call had this upstream price, and nobody told its debit.
    pub fn upstream(&mut self, price: Usd) {
        self.upstream = self.upstream.max(price);
    }

    /// What a call is reckoned to cost; zero: no price is known. Where no debit was ever told, it may be all that the
    /// gateway makes of an upstream price.
    pub fn price(self) -> Usd {
        if self.debit == Usd::ZERO { most_debited(self.upstream) } else { self.debit.max(self.upstream) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debits_say_more_than_upstream_prices() {
        let check = |debits: &[i64], upstream: &[i64], expected: i64| {
            let mut dearest = Dearest::default();
            for price in debits {
                dearest.debited(Usd::from_micros(*price));
            }
            for price in upstream {
                dearest.upstream(Usd::from_micros(*price));
            }
            assert_eq!(dearest.price(), Usd::from_micros(expected), "{debits:?} {upstream:?}");
        };
        check(&[], &[], 0);
        check(&[30, 40, 20], &[], 40);
        check(&[], &[20, 10], 40);
        check(&[30], &[20], 30);
        check(&[30], &[50], 50);
    }
}
