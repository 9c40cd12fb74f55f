//! What a run would do and cost, estimated before the first call. Pure.

use std::{num::NonZeroU32, time::Duration};

use jiff::civil::Date;

use super::RunManifest;
use crate::{
    api::{
        Parameters,
        pricing::{list_price, max_debit},
    },
    dataset::DatasetLayout,
    fetch::pace::Rate,
    ledger::ResumeState,
    money::Usd,
};

/// A typical call, from its first byte sent to the last received.
const LATENCY: Duration = Duration::from_millis(500);
/// Bytes of a row in Parquet at the default compression, measured on full histories.
const BYTES_PER_ROW: u64 = 176;
/// Bytes of a Parquet file besides its rows, most of them for the schema and the statistics of each column.
const BYTES_PER_FILE: u64 = 10_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// Calls to make, without retries.
    pub calls: u64,
    /// The calls at the lowest and the highest known price.
    pub cost_low: Usd,
    pub cost_high: Usd,
    pub price_source: PriceSource,
    pub elapsed: Duration,
}

/// The size of the dataset after a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatasetSize {
    /// At most, unless exact.
    pub rows: u64,
    /// About, unless exact.
    pub bytes: u64,
    /// Whether the run changes nothing, so that this is the size of the published dataset.
    pub is_exact: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PriceSource {
    /// The API's price page.
    ListPrice,
    /// Prices of this directory's earlier calls.
    OwnCalls,
}

impl PriceSource {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ListPrice => "list_price",
            Self::OwnCalls => "own_calls",
        }
    }
}

impl Estimate {
    pub(super) fn new(
        calls: u64,
        parameters: &Parameters,
        rate: Rate,
        concurrency: NonZeroU32,
        past: &ResumeState,
    ) -> Self {
        let rows_each = months(parameters.date_from, parameters.date_to);
        let listed = list_price(i64::try_from(rows_each).unwrap_or(i64::MAX));
        let (low, high, price_source) = match past.highest_price.price() {
            Usd::ZERO => (listed, max_debit(listed), PriceSource::ListPrice),
            highest => (past.mean_price().unwrap_or(highest), highest, PriceSource::OwnCalls),
        };
        let cost = |price: Usd| price.times(i64::try_from(calls).unwrap_or(i64::MAX));
        let by_rate = rate.period.mul_f64(ratio(calls, u64::from(rate.calls.get())));
        let by_latency = LATENCY.mul_f64(ratio(calls, u64::from(concurrency.get())));
        Self { calls, cost_low: cost(low), cost_high: cost(high), price_source, elapsed: by_rate.max(by_latency) }
    }
}

impl DatasetSize {
    /// The published dataset, or the empty one with a file for each year and one for the targets.
    pub(super) fn before(published: Option<&RunManifest>, layout: &DatasetLayout, parameters: &Parameters) -> Self {
        let years = u64::try_from(parameters.date_to.year() - parameters.date_from.year() + 1).unwrap_or(0);
        published.map_or(Self { rows: 0, bytes: (years + 1) * BYTES_PER_FILE, is_exact: false }, |manifest| Self {
            rows: manifest.totals.rows,
            bytes: manifest.files.iter().map(|file| file.bytes).sum(),
            is_exact: manifest.provenance.layout == *layout,
        })
    }

    /// After `histories` more answers, in a dataset of at most `all` histories.
    #[must_use]
    pub(super) fn with(self, histories: u64, all: u64, parameters: &Parameters) -> Self {
        let months = months(parameters.date_from, parameters.date_to);
        // Refreshed histories replace older ones.
        let added = (histories * months).min((all * months).saturating_sub(self.rows));
        Self {
            rows: self.rows + added,
            bytes: self.bytes + added * BYTES_PER_ROW,
            is_exact: self.is_exact && histories == 0,
        }
    }
}

/// The number of months that a history between two days covers, in part or whole.
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
        let estimated = |past: &ResumeState| Estimate::new(1_000, &parameters, rate, concurrency, past);
        let listed = estimated(&past);
        assert_eq!((listed.cost_low, listed.cost_high), (Usd::from_micros(27_420_000), Usd::from_micros(54_840_000)));
        assert_eq!(listed.elapsed, Duration::from_secs(100));
        assert_eq!(listed.price_source, PriceSource::ListPrice);
        past.highest_price.learn(Cost::Debit(Usd::from_micros(36_000)));
        (past.known_cost, past.priced_calls) = (Usd::from_micros(90_000), 3);
        let own = estimated(&past);
        assert_eq!((own.cost_low, own.cost_high), (Usd::from_micros(30_000_000), Usd::from_micros(36_000_000)));
        assert_eq!(own.price_source, PriceSource::OwnCalls);
    }
}
