//! Flags for the faults of the simulated API, and which call has which.
//!
//! Faults depend only on seed, target and attempt: a repeated run has the same ones in any order of calls. Each call
//! has at most one fault, besides those that change the price.

use std::{
    ops::{Range, RangeInclusive},
    str::FromStr,
    time::Duration,
};

use super::{
    random::Random,
    values::{Expected, duration, factor_in_percent},
};

/// The faults of the simulated API, all off by default. `P` is a share of the calls, from 0 to 1.
#[derive(Clone, Debug, Default, PartialEq, clap::Args)]
#[command(next_help_heading = "Faults")]
pub struct Faults {
    /// 429, too many requests; not billed
    #[arg(long, value_name = "P", default_value = "0", hide_default_value = true)]
    pub fail_429: Probability,
    /// 500, internal error; not billed
    #[arg(long, value_name = "P", default_value = "0", hide_default_value = true)]
    pub fail_500: Probability,
    /// 502, provider request failed; not billed
    #[arg(long, value_name = "P", default_value = "0", hide_default_value = true)]
    pub fail_502: Probability,
    /// 503, a billing dependency timed out; not billed
    #[arg(long, value_name = "P", default_value = "0", hide_default_value = true)]
    pub fail_503: Probability,
    /// 504, provider timed out; not billed
    #[arg(long, value_name = "P", default_value = "0", hide_default_value = true)]
    pub fail_504: Probability,
    /// Any other HTTP status (400 to 599), with an error body; not billed
    #[arg(long, value_name = "STATUS:P", value_delimiter = ',', value_parser = status)]
    pub fail_status: Vec<Coded<u16>>,
    /// A status code in the body, with HTTP 200; billed for 40102 and, without reporting it, for 40101, 50401 and 50402
    #[arg(long, value_name = "CODE:P", value_delimiter = ',', value_parser = code)]
    pub fail_code: Vec<Coded<i64>>,
    /// 502 with an HTML page, as sent by a proxy; not billed
    #[arg(long, value_name = "P", default_value = "0", hide_default_value = true)]
    pub fail_html: Probability,
    /// 429 `quota_exceeded`, which retrying does not fix; not billed
    #[arg(long, value_name = "P", default_value = "0", hide_default_value = true)]
    pub fail_quota: Probability,
    /// 307 to another path of this server; not billed
    #[arg(long, value_name = "P", default_value = "0", hide_default_value = true)]
    pub fail_redirect: Probability,
    /// The connection is reset before the answer; not billed
    #[arg(long, value_name = "P", default_value = "0", hide_default_value = true)]
    pub fail_reset: Probability,
    /// The connection is reset before the answer; billed
    #[arg(long, value_name = "P", default_value = "0", hide_default_value = true)]
    pub fail_reset_billed: Probability,
    /// The connection is closed in the middle of the body; billed
    #[arg(long, value_name = "P", default_value = "0", hide_default_value = true)]
    pub fail_cut_off: Probability,
    /// No answer until the client gives up; billed
    #[arg(long, value_name = "P", default_value = "0", hide_default_value = true)]
    pub fail_stall: Probability,
    /// 200 with a body that is not JSON; billed
    #[arg(long, value_name = "P", default_value = "0", hide_default_value = true)]
    pub fail_garbage: Probability,
    /// An answer for another target; billed
    #[arg(long, value_name = "P", default_value = "0", hide_default_value = true)]
    pub fail_wrong_target: Probability,
    /// An answer of 40 MiB, small on the wire if gzip is on; billed
    #[arg(long, value_name = "P", default_value = "0", hide_default_value = true)]
    pub fail_oversized: Probability,
    /// A valid answer whose body takes `--drip-time`; billed
    #[arg(long, value_name = "P", default_value = "0", hide_default_value = true)]
    pub fail_drip: Probability,
    /// How long a body takes with --fail-drip [default: 5s]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub drip_time: Option<Duration>,
    /// A valid answer without the debit header; billed
    #[arg(long, value_name = "P", default_value = "0", hide_default_value = true)]
    pub no_cost_header: Probability,
    /// Retry-After of 429 and 503: seconds, or `date:SECONDS` to send it as an HTTP date [default: none]
    #[arg(long, value_name = "[date:]SECONDS", value_parser = retry_after)]
    pub retry_after: Option<RetryAfter>,
    /// Apply the faults above only to the first N calls for each target [default: all]
    #[arg(long, value_name = "N")]
    pub fail_attempts: Option<u32>,
    /// 503 for every call in this time span, in seconds since the start; can be repeated
    #[arg(long, value_name = "FROM..TO", value_delimiter = ',', value_parser = outage)]
    pub outage: Vec<Range<Duration>>,
    /// Multiply prices by FACTOR after AFTER billed calls
    #[arg(long, value_name = "AFTER:FACTOR", value_parser = price_rise)]
    pub price_rise: Option<PriceRise>,
    /// 401 for every call after the first N
    #[arg(long, value_name = "N")]
    pub unauthorized_after: Option<u64>,
    /// 402 for every call after N billed calls
    #[arg(long, value_name = "N")]
    pub no_credit_after: Option<u64>,
    /// 429 `quota_exceeded` for every call after N billed calls
    #[arg(long, value_name = "N")]
    pub quota_after: Option<u64>,
}

/// What happens to a call instead of a valid answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Status(u16),
    Code(i64),
    Html,
    Quota,
    Redirect,
    Reset { billed: bool },
    CutOff,
    Stall,
    Garbage,
    WrongTarget,
    Oversized,
    Drip,
}

impl Faults {
    /// The fault of an attempt (the first is 0) at a target.
    pub(super) fn draw(&self, seed: u64, target: &str, attempt: u32) -> Option<Fault> {
        if self.fail_attempts.is_some_and(|first| attempt >= first) {
            return None;
        }
        let mut draw = Random::new(target, &[seed, u64::from(attempt), FAULT]).unit();
        for (fault, share) in self.table() {
            if draw < share.0 {
                return Some(fault);
            }
            draw -= share.0;
        }
        None
    }

    /// Whether the answer to this attempt lacks the debit header.
    pub(super) fn hides_cost(&self, seed: u64, target: &str, attempt: u32) -> bool {
        self.fail_attempts.is_none_or(|first| attempt < first)
            && Random::new(target, &[seed, u64::from(attempt), COST_HEADER]).chance(self.no_cost_header.0)
    }

    /// Whether every call fails at this time after the start.
    pub(super) fn is_outage(&self, since_start: Duration) -> bool {
        self.outage.iter().any(|outage| outage.contains(&since_start))
    }

    /// The prices in percent of the usual ones after `billed` calls.
    pub(super) fn price_percent(&self, billed: u64) -> u32 {
        self.price_rise.filter(|rise| billed >= rise.after).map_or(100, |rise| rise.percent)
    }

    /// The total probability of any fault; if it exceeds 1, the last faults never occur.
    pub(super) fn total(&self) -> f64 {
        self.table().map(|(_, share)| share.0).sum()
    }

    fn table(&self) -> impl Iterator<Item = (Fault, Probability)> + '_ {
        let fixed = [
            (Fault::Status(429), self.fail_429),
            (Fault::Status(500), self.fail_500),
            (Fault::Status(502), self.fail_502),
            (Fault::Status(503), self.fail_503),
            (Fault::Status(504), self.fail_504),
            (Fault::Html, self.fail_html),
            (Fault::Quota, self.fail_quota),
            (Fault::Redirect, self.fail_redirect),
            (Fault::Reset { billed: false }, self.fail_reset),
            (Fault::Reset { billed: true }, self.fail_reset_billed),
            (Fault::CutOff, self.fail_cut_off),
            (Fault::Stall, self.fail_stall),
            (Fault::Garbage, self.fail_garbage),
            (Fault::WrongTarget, self.fail_wrong_target),
            (Fault::Oversized, self.fail_oversized),
            (Fault::Drip, self.fail_drip),
        ];
        let statuses = self.fail_status.iter().map(|coded| (Fault::Status(coded.code), coded.share));
        let codes = self.fail_code.iter().map(|coded| (Fault::Code(coded.code), coded.share));
        fixed.into_iter().chain(statuses).chain(codes)
    }
}

/// How long a dripping body takes: longer than any valid answer, shorter than any sensible time-out.
pub(super) const DRIP_TIME: Duration = Duration::from_secs(5);

/// Streams of random draws for one attempt.
const FAULT: u64 = 0xfa;
const COST_HEADER: u64 = 0xc0;

/// The share of calls with a fault, from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Probability(f64);

impl Probability {
    pub const ALL: Self = Self(1.0);
}

impl FromStr for Probability {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
        share.map(Self).ok_or("expected a share from 0 to 1, such as 0.05")
    }
}

/// An HTTP status or a code inside the body, and how often it occurs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coded<C> {
    pub code: C,
    pub share: Probability,
}

fn status(text: &str) -> Result<Coded<u16>, Expected> {
    coded(text, 400..=599).ok_or("expected a status from 400 to 599 and a share, such as 409:0.05")
}

fn code(text: &str) -> Result<Coded<i64>, Expected> {
    coded(text, 20_000..=99_999).ok_or("expected a code of five digits and a share, such as 40202:0.05")
}

fn coded<C: FromStr + PartialOrd>(text: &str, codes: RangeInclusive<C>) -> Option<Coded<C>> {
    let (code, share) = text.split_once(':')?;
    Some(Coded { code: code.parse().ok().filter(|code| codes.contains(code))?, share: share.parse().ok()? })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    Seconds(u32),
    /// The HTTP date this many seconds ahead.
    Date(u32),
}

fn retry_after(text: &str) -> Result<RetryAfter, Expected> {
    let parsed = match text.strip_prefix("date:") {
        Some(seconds) => seconds.parse().map(RetryAfter::Date),
        None => text.parse().map(RetryAfter::Seconds),
    };
    parsed.map_err(|_| "expected seconds, such as 30 or date:30")
}

/// A time span, counted from the start, in which every call fails.
fn outage(text: &str) -> Result<Range<Duration>, Expected> {
    let ends = text.split_once("..").and_then(|(from, to)| Some(duration(from).ok()?..duration(to).ok()?));
    ends.filter(|outage| !outage.is_empty()).ok_or("expected a time span such as 10..40 or 1min..2min")
}

/// A rise to `percent` of the usual prices after some billed calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PriceRise {
    pub after: u64,
    pub percent: u32,
}

fn price_rise(text: &str) -> Result<PriceRise, Expected> {
    let rise = text.split_once(':').and_then(|(after, factor)| {
        Some(PriceRise { after: after.parse().ok()?, percent: factor_in_percent(factor)? })
    });
    rise.ok_or("expected a number of calls and a factor, such as 100:2.5")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        faults: Faults,
    }

    fn parsed(flags: &str) -> Result<Faults, clap::Error> {
        let words = std::iter::once("sandbox").chain(flags.split_whitespace());
        Command::try_parse_from(words).map(|line| line.faults)
    }

    fn faults(flags: &str) -> Faults {
        parsed(flags).unwrap_or_else(|error| panic!("{flags}: {error}"))
    }

    #[test]
    fn each_flag_has_its_own_fault() {
        let check = |flags: &str, expected: Fault| {
            assert_eq!(faults(flags).draw(1, "a.com", 0), Some(expected), "{flags}");
        };
        check("--fail-429 1", Fault::Status(429));
        check("--fail-500 1", Fault::Status(500));
        check("--fail-502 1", Fault::Status(502));
        check("--fail-503 1", Fault::Status(503));
        check("--fail-504 1", Fault::Status(504));
        check("--fail-status 409:1", Fault::Status(409));
        check("--fail-code 40202:1", Fault::Code(40202));
        check("--fail-code 40202:0,50000:1", Fault::Code(50000));
        check("--fail-html 1", Fault::Html);
        check("--fail-quota 1", Fault::Quota);
        check("--fail-redirect 1", Fault::Redirect);
        check("--fail-reset 1", Fault::Reset { billed: false });
        check("--fail-reset-billed 1", Fault::Reset { billed: true });
        check("--fail-cut-off 1", Fault::CutOff);
        check("--fail-stall 1", Fault::Stall);
        check("--fail-garbage 1", Fault::Garbage);
        check("--fail-wrong-target 1", Fault::WrongTarget);
        check("--fail-oversized 1", Fault::Oversized);
        check("--fail-drip 1", Fault::Drip);
        assert!(faults("--no-cost-header 1").hides_cost(1, "a.com", 0));
        assert_eq!(faults("").draw(1, "a.com", 0), None);
    }

    #[test]
    fn invalid_values_are_refused() {
        for wrong in [
            "--fail-503 1.5",
            "--fail-503 -1",
            "--fail-503 NaN",
            "--fail-code 40202",
            "--fail-status 200:1",
            "--outage 5..5",
            "--price-rise 3",
            "--retry-after soon",
        ] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn faults_are_as_frequent_as_asked_and_repeat_for_the_same_calls() {
        let faults = faults("--fail-503 0.2 --fail-cut-off 0.1 --fail-code 40202:0.1");
        let met = |seed| -> Vec<Option<Fault>> {
            (0..10_000).map(|n| faults.draw(seed, &format!("site{n}.com"), 0)).collect()
        };
        let first = met(1);
        let count = |fault| first.iter().filter(|met| **met == Some(fault)).count();
        assert!((1850..2150).contains(&count(Fault::Status(503))));
        assert!((850..1150).contains(&count(Fault::CutOff)));
        assert!((850..1150).contains(&count(Fault::Code(40202))));
        assert_eq!(first, met(1));
        assert_ne!(first, met(2));
    }

    #[test]
    fn only_the_first_attempts_fail_with_fail_attempts() {
        let faults = faults("--fail-503 1 --no-cost-header 1 --fail-attempts 2");
        let met: Vec<bool> = (0..4).map(|attempt| faults.draw(1, "a.com", attempt).is_some()).collect();
        assert_eq!(met, [true, true, false, false]);
        assert!(faults.hides_cost(1, "a.com", 1) && !faults.hides_cost(1, "a.com", 2));
    }

    #[test]
    fn outages_and_price_rises_begin_and_end_on_time() {
        let faults = faults("--outage 10..20,1min..2min --price-rise 100:2.5");
        let down = |seconds| faults.is_outage(Duration::from_secs(seconds));
        assert_eq!([9, 10, 19, 20, 60, 119, 120].map(down), [false, true, true, false, true, true, false]);
        assert_eq!([0, 99, 100, 1000].map(|billed| faults.price_percent(billed)), [100, 100, 250, 250]);
    }
}
