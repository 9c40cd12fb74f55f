//! Flags for the speed, prices and limits of the simulated API; those for its faults are in [`super::faults`].

use std::{fmt, num::NonZeroU32, time::Duration};

use clap::{Args, FromArgMatches};

use super::{
    faults::Faults,
    random::Random,
    values::{Expected, duration, factor_in_percent},
};
use crate::money::Usd;

/// The simulated API's settings; by default it has no faults and no limits.
#[derive(Clone, Debug, PartialEq, Args)]
pub struct Settings {
    /// How long an answer takes: FROM..TO, one duration, or `none`
    #[arg(long, value_name = "FROM..TO", default_value_t = Latency::default(), value_parser = latency)]
    pub latency: Latency,
    /// Price of an answer: upstream dollars per call, plus dollars per row, times the gateway's factor
    #[arg(long, value_name = "CALL[+ROW][xFACTOR]", default_value_t = Price::default(), value_parser = price)]
    pub price: Price,
    /// Accept only this token [default: any]
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
    /// Seed of the random faults and latencies; does not change the histories
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
    /// Whether to compress answers for clients that accept it
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub gzip: bool,
    /// Serve at most this many calls in any sliding period; others get 429, not billed [default: no limit]
    #[arg(long, value_name = "N/PERIOD", value_parser = rate_limit)]
    pub rate_limit: Option<RateLimit>,
    /// Serve at most this many calls at a time; others get 40209, not billed [default: no limit]
    #[arg(long, value_name = "N")]
    pub max_in_flight: Option<NonZeroU32>,
    /// Credit of the account; calls beyond it get 402, not billed [default: unlimited]
    #[arg(long, value_name = "USD")]
    pub credit: Option<Usd>,
    /// Shape of the request body to accept; others get 400
    #[arg(long, value_enum, default_value_t = AcceptedForm::Any)]
    pub body_form: AcceptedForm,
    /// What goes wrong, and how often
    #[command(flatten)]
    pub faults: Faults,
}

impl Default for Settings {
    fn default() -> Self {
        let matches = Self::augment_args(clap::Command::new("sandbox")).try_get_matches_from(["sandbox"]);
        matches.and_then(|matches| Self::from_arg_matches(&matches)).expect("no flag is required")
    }
}

/// The forms of a request body; the API's pages document both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum AcceptedForm {
    /// Both `[{"target": …}]` and `{"target": …}`
    Any,
    /// Only `[{"target": …}]`
    Array,
    /// Only `{"target": …}`
    Object,
}

/// How long answers take: between two limits, mostly near their geometric mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    pub min: Duration,
    pub max: Duration,
}

impl Latency {
    pub const NONE: Self = Self { min: Duration::ZERO, max: Duration::ZERO };

    pub(super) fn draw(self, random: &mut Random) -> Duration {
        // The sum of four uniform draws is close to normal; within -1 and 1.
        let bell = (0..4).map(|_| random.unit()).sum::<f64>() / 2.0 - 1.0;
        let (min, max) = (self.min.as_secs_f64(), self.max.as_secs_f64());
        let seconds =
            if min > 0.0 { (min * max).sqrt() * (max / min).sqrt().powf(bell) } else { max * f64::midpoint(bell, 1.0) };
        Duration::from_secs_f64(seconds).clamp(self.min, self.max.max(self.min))
    }
}

impl Default for Latency {
    fn default() -> Self {
        Self { min: Duration::from_millis(300), max: Duration::from_millis(700) }
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.max.is_zero() { f.write_str("none") } else { write!(f, "{:?}..{:?}", self.min, self.max) }
    }
}

fn latency(text: &str) -> Result<Latency, Expected> {
    if text == "none" {
        return Ok(Latency::NONE);
    }
    let (min, max) = text.split_once("..").unwrap_or((text, text));
    let latency = Latency { min: duration(min)?, max: duration(max)? };
    if latency.min <= latency.max { Ok(latency) } else { Err("expected none, or the shorter duration first") }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    /// Upstream price of a call.
    pub call: Usd,
    /// Upstream price of each row.
    pub row: Usd,
    /// The gateway's debit in percent of the upstream price.
    pub percent: u32,
}

impl Price {
    /// The same debit for every answer.
    pub const fn flat(debit: Usd) -> Self {
        Self { call: debit, row: Usd::ZERO, percent: 100 }
    }

    /// The body's `cost`: the upstream price of an answer with `rows`.
    pub fn upstream(self, rows: usize) -> Usd {
        self.call.plus(self.row.times(i64::try_from(rows).unwrap_or(i64::MAX)))
    }

    /// The gateway's debit for an answer with `rows`, rounded up.
    pub fn debit(self, rows: usize) -> Usd {
        scaled(self.upstream(rows), self.percent)
    }
}

/// A price in percent of another, rounded up.
pub(super) fn scaled(price: Usd, percent: u32) -> Usd {
    price.times(percent.into()).plus(Usd::from_micros(99)).part(100)
}

impl Default for Price {
    /// The API's prices of November 2026, and a factor in the middle of those that users report.
    fn default() -> Self {
        Self { call: Usd::from_micros(24_000), row: Usd::from_micros(36), percent: 150 }
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{:.6}x{}", self.call.dollars(), self.row.dollars(), f64::from(self.percent) / 100.0)
    }
}

fn price(text: &str) -> Result<Price, Expected> {
    let (upstream, factor) = text.split_once('x').unwrap_or((text, "1"));
    let (call, row) = upstream.split_once('+').unwrap_or((upstream, "0"));
    let percent = factor_in_percent(factor).ok_or("expected a price such as 0.03 or 0.024+0.000036x1.5")?;
    Ok(Price { call: call.parse()?, row: row.parse()?, percent })
}

/// At most `calls` in any sliding period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    pub calls: NonZeroU32,
    pub period: Duration,
}

fn rate_limit(text: &str) -> Result<RateLimit, Expected> {
    let limit = text.split_once('/').and_then(|(calls, period)| {
        let is_bare_unit = !period.starts_with(|first: char| first.is_ascii_digit());
        let period = duration(&format!("{}{period}", if is_bare_unit { "1" } else { "" })).ok()?;
        Some(RateLimit { calls: calls.parse().ok()?, period })
    });
    limit.filter(|limit| !limit.period.is_zero()).ok_or("expected a limit such as 600/min, 10/s or 5/100ms")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        settings: Settings,
    }

    fn parsed(flags: &str) -> Settings {
        let words = std::iter::once("sandbox").chain(flags.split_whitespace());
        Command::try_parse_from(words).unwrap_or_else(|error| panic!("{flags}: {error}")).settings
    }

    #[test]
    fn latencies_prices_and_limits_are_parsed() {
        let ms = Duration::from_millis;
        assert_eq!(parsed("--latency none").latency, Latency::NONE);
        assert_eq!(parsed("--latency 1s").latency, Latency { min: ms(1000), max: ms(1000) });
        assert_eq!(parsed("--latency 5ms..0.1s").latency, Latency { min: ms(5), max: ms(100) });
        assert_eq!(parsed("--price 0.05").price, Price::flat(Usd::from_micros(50_000)));
        assert_eq!(parsed("--price 0.024+0.000036x1.5").price, Price::default());
        assert_eq!(parsed("--rate-limit 600/min").rate_limit.map(|limit| limit.period), Some(ms(60_000)));
        assert_eq!(parsed("--rate-limit 5/100ms").rate_limit.map(|limit| limit.period), Some(ms(100)));
        assert_eq!(parsed("--credit 1.5").credit, Some(Usd::from_micros(1_500_000)));
        for wrong in ["--latency 7..3s", "--latency -1s", "--price 1+", "--rate-limit 0/s", "--rate-limit 5/week"] {
            assert!(Command::try_parse_from(std::iter::once("sandbox").chain(wrong.split(' '))).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_answer_costs_what_its_rows_cost() {
        let price = Price::default();
        assert_eq!(price.upstream(95), Usd::from_micros(27_420));
        assert_eq!(price.debit(95), Usd::from_micros(41_130));
        assert_eq!(price.debit(0), Usd::from_micros(36_000));
        assert_eq!(Price::flat(Usd::from_micros(50_000)).debit(95), Usd::from_micros(50_000));
        assert_eq!(Price { percent: 101, ..Price::flat(Usd::from_micros(1)) }.debit(0), Usd::from_micros(2));
    }

    #[test]
    fn latencies_are_between_their_ends_with_most_in_the_middle() {
        let latency = Latency::default();
        let mut random = Random::new("a.com", &[]);
        let mut draws: Vec<Duration> = (0..1001).map(|_| latency.draw(&mut random)).collect();
        draws.sort();
        assert!(draws[0] >= latency.min && draws[1000] <= latency.max);
        assert!((430..490).contains(&draws[500].as_millis()), "{:?}", draws[500]);
        assert_eq!(Latency::NONE.draw(&mut random), Duration::ZERO);
        let from_zero = Latency { min: Duration::ZERO, max: Duration::from_millis(10) };
        assert!(from_zero.draw(&mut random) <= from_zero.max);
    }
}
