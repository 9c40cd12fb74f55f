//! Rate and concurrency: the defaults of each plan, the flags that override them, and the part of one shard.

use std::{num::NonZeroU32, time::Duration};

use clap::{Args, ValueEnum};

use super::{CallArgs, values};
use crate::{fetch::pace::Rate, targets::Shard};

#[derive(Debug, Args)]
#[command(next_help_heading = "Rate limits")]
pub struct RateArgs {
    /// Set rate and concurrency: free, starter, growth or dataforseo
    ///
    /// Calls per minute and in flight: free 60 and 5, starter (the default) 600 and 20, growth 3,000 and 30, dataforseo
    /// 2,000 and 30; 6,000 and 30 with --sandbox unless a plan is given.
    #[arg(long, hide_possible_values = true)]
    pub plan: Option<AccountPlan>,
    /// Maximum call rate, retries included: 10/s, 600/min, 5000/h
    #[arg(long, value_name = "N/PERIOD", value_parser = values::rate)]
    pub rate: Option<Rate>,
    /// Maximum number of calls in flight
    #[arg(long, value_name = "N", value_parser = values::positive, hide_short_help = true)]
    pub concurrency: Option<NonZeroU32>,
    /// Maximum attempts for each target
    #[arg(long, value_name = "N", default_value = "6", value_parser = values::positive, hide_short_help = true)]
    pub max_attempts: NonZeroU32,
    /// Timeout of one attempt, from connecting to the last byte
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "130s",
        value_parser = values::duration,
        hide_short_help = true
    )]
    pub timeout: Duration,
    /// Stop (resumably) after the API has been down this long
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "10min",
        value_parser = values::duration,
        hide_short_help = true
    )]
    pub max_outage: Duration,
}

/// Account plans, which limit calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum AccountPlan {
    /// 60 a minute, 5 in flight
    Free,
    /// 600 a minute, 20 in flight
    #[default]
    Starter,
    /// 3,000 a minute, 30 in flight
    Growth,
    /// 2,000 a minute, 30 in flight
    Dataforseo,
}

impl AccountPlan {
    /// Calls per minute and in flight.
    pub fn limits(self) -> (u32, u32) {
        match self {
            Self::Free => (60, 5),
            Self::Starter => (600, 20),
            Self::Growth => (3000, 30),
            Self::Dataforseo => (2000, 30),
        }
    }
}

/// Calls per minute and in flight if the simulated API runs in this process.
const SANDBOX_LIMITS: (u32, u32) = (6000, 30);

/// A limit that is too low to be divided among the shards.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{of} shards cannot share {limit}: each needs at least one call")]
pub struct TooManyShards {
    of: NonZeroU32,
    limit: String,
    max: NonZeroU32,
}

impl TooManyShards {
    /// What to do about it.
    pub fn hint(&self) -> String {
        format!("use at most {} shards, or a higher limit if the account allows it", self.max)
    }
}

impl CallArgs {
    /// Rate and concurrency of one shard.
    pub fn limits(&self, shard: Shard) -> Result<(Rate, NonZeroU32), TooManyShards> {
        let plan = match self.rates.plan {
            None if self.sandbox => SANDBOX_LIMITS,
            plan => plan.unwrap_or_default().limits(),
        };
        let [per_minute, in_flight] = [plan.0, plan.1].map(|limit| NonZeroU32::new(limit).unwrap_or(NonZeroU32::MIN));
        let rate = self.rates.rate.unwrap_or(Rate { calls: per_minute, period: Duration::from_mins(1) });
        let concurrency = self.rates.concurrency.unwrap_or(in_flight);
        let part = |max: NonZeroU32, limit: &dyn Fn() -> String| {
            shard.part_of(max).ok_or_else(|| TooManyShards { of: shard.of, limit: limit(), max })
        };
        let calls = part(rate.calls, &|| format!("a rate of {rate}"))?;
        Ok((Rate { calls, ..rate }, part(concurrency, &|| format!("{concurrency} in flight"))?))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        call: CallArgs,
    }

    #[test]
    fn shards_never_exceed_a_limit_together() {
        let check = |flags: &str, of: u32, expected: Result<(u32, u32), u32>| {
            let call = Command::parse_from(std::iter::once("run").chain(flags.split_whitespace())).call;
            let shard = Shard { number: NonZeroU32::MIN, of: NonZeroU32::new(of).expect("positive") };
            let found = call.limits(shard);
            let found = found.map(|(rate, in_flight)| (rate.calls.get(), in_flight.get()));
            assert_eq!(found.map_err(|error| error.max.get()), expected, "{flags}, {of} shards");
        };
        check("", 1, Ok((600, 20)));
        check("--sandbox", 1, Ok((6000, 30)));
        check("--plan growth --concurrency 7", 3, Ok((1000, 2)));
        check("--rate 10/s", 4, Ok((2, 5)));
        check("--rate 4/s", 4, Ok((1, 5)));
        check("--rate 3/s", 4, Err(3));
        check("--plan free", 5, Ok((12, 1)));
        check("--plan free", 6, Err(5));
        check("--rate 1/s --concurrency 1", 1, Ok((1, 1)));
    }
}
