//! What a run would do and cost, reckoned before anything is paid. Pure; makes no call.

use std::{num::NonZeroU32, time::Duration};

use jiff::civil::Date;

use crate::{
    api::{
        Parameters,
        pricing::{list_price, max_debit},
    },
    fetch::pace::Rate,
    ledger::ResumeState,
    money::Usd,
};

/// A typical call, from its first byte sent to the last received.
const LATENCY: Duration = Duration::from_millis(500);
/// Bytes of a row in Parquet at the default compression, measured on full histories.
const BYTES_PER_ROW: u64 = 176;

/// What is known before the first call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Basis<'a> {
    /// Calls to make, if none has to be repeated.
    pub(super) calls: u64,
    /// Targets of the dataset, those that are held included.
    pub(super) targets: u64,
    /// What is asked of each.
    pub(super) parameters: &'a Parameters,
    /// Calls in any sliding period.
    pub(super) rate: Rate,
    pub(super) concurrency: NonZeroU32,
    /// What calls of this directory have cost.
    pub(super) past: &'a ResumeState,
}

/// A run reckoned in advance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// Calls to make, if none has to be repeated.
    pub calls: u64,
    /// What they cost at least, as far as prices are known.
    pub cost_low: Usd,
    /// What they cost at most, as far as prices are known.
    pub cost_high: Usd,
    /// Where the prices are from.
    pub price_source: PriceSource,
    /// How long they take.
    pub elapsed: Duration,
    /// Rows of the dataset at most.
    pub rows: u64,
    /// Bytes of the dataset at most.
    pub bytes: u64,
}

/// Where prices are from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PriceSource {
    /// The API's price page.
    ListPrice,
    /// What this directory's calls have cost.
    OwnCalls,
}

impl PriceSource {
    /// The word for it in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ListPrice => "list_price",
            Self::OwnCalls => "own_calls",
        }
    }
}

pub(super) fn estimate(basis: &Basis<'_>) -> Estimate {
    let rows_each = months(basis.parameters.date_from, basis.parameters.date_to);
    let calls = i64::try_from(basis.calls).unwrap_or(i64::MAX);
    let listed = list_price(i64::try_from(rows_each).unwrap_or(i64::MAX));
    let (low, high, price_source) = match basis.past.max_price.price() {
        Usd::ZERO => (listed, max_debit(listed), PriceSource::ListPrice),
        highest => (basis.past.mean_price().unwrap_or(highest), highest, PriceSource::OwnCalls),
    };
    let by_rate = basis.rate.period.mul_f64(ratio(basis.calls, u64::from(basis.rate.calls.get())));
    let by_latency = LATENCY.mul_f64(ratio(basis.calls, u64::from(basis.concurrency.get())));
    let rows = basis.targets * rows_each;
    Estimate {
        calls: basis.calls,
        cost_low: low.times(calls),
        cost_high: high.times(calls),
        price_source,
        elapsed: by_rate.max(by_latency),
        rows,
        bytes: rows * BYTES_PER_ROW,
    }
}

/// Months that a history from one day to another touches.
fn months(from: Date, to: Date) -> u64 {
    let number = |date: Date| i64::from(date.year()) * 12 + i64::from(date.month());
    u64::try_from(number(to) - number(from) + 1).unwrap_or(0)
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn ratio(one: u64, other: u64) -> f64 {
    one as f64 / other as f64
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::api::{RankScale, status::Cost};

    #[test]
    fn a_thousand_full_histories_at_list_price() {
        let parameters = Parameters {
            date_from: date(2019, 1, 1),
            date_to: date(2026, 11, 24),
            rank_scale: RankScale::OneThousand,
            tag: String::new(),
        };
        let rate = Rate { calls: NonZeroU32::new(600).expect("positive"), period: Duration::from_mins(1) };
        let mut past = ResumeState::default();
        let concurrency = NonZeroU32::new(20).expect("positive");
        let reckoned = |past: &ResumeState| {
            estimate(&Basis { calls: 1_000, targets: 1_100, parameters: &parameters, rate, concurrency, past })
        };
        let listed = reckoned(&past);
        assert_eq!((listed.cost_low, listed.cost_high), (Usd::from_micros(27_420_000), Usd::from_micros(54_840_000)));
        assert_eq!(listed.elapsed, Duration::from_secs(100));
        assert_eq!(listed.rows, 1_100 * 95);
        assert_eq!(listed.price_source, PriceSource::ListPrice);
        past.max_price.learn(Cost::Debit(Usd::from_micros(36_000)));
        (past.known_cost, past.priced_calls) = (Usd::from_micros(90_000), 3);
        let own = reckoned(&past);
        assert_eq!((own.cost_low, own.cost_high), (Usd::from_micros(30_000_000), Usd::from_micros(36_000_000)));
        assert_eq!(own.price_source, PriceSource::OwnCalls);
    }
}
