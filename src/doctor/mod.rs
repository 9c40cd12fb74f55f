//! Checks before a run whether it is likely to succeed: directory, disk, network, token, money, clock and limits.
//!
//! Each [`Check`] that is not ok has a hint. Nothing here makes a paid call or leaves a file behind. Measuring is
//! separate from judging, so that the judgments can be tested on any machine.

mod directory;
mod network;

use std::num::NonZeroU32;

use jiff::Timestamp;
use serde::Serialize;

pub use self::{
    directory::{DirectoryChecks, check_directory},
    network::{ApiChecks, ask, reach},
};
use crate::{
    export::{DatasetSize, Estimate},
    humanize,
    money::Usd,
};

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    pub name: &'static str,
    pub level: Level,
    pub message: String,
    /// What to do, unless it is ok.
    pub hint: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Ok,
    /// A run may succeed.
    Warning,
    /// A run would fail.
    Failed,
}

impl Level {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

impl Check {
    pub fn ok(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, level: Level::Ok, message: message.into(), hint: None }
    }

    pub fn warning(name: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { name, level: Level::Warning, message: message.into(), hint: Some(hint.into()) }
    }

    pub fn failed(name: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { name, level: Level::Failed, message: message.into(), hint: Some(hint.into()) }
    }
}

/// What a run would cost, and what it may spend.
#[derive(Clone, Copy, Debug)]
pub struct RunCost<'a> {
    pub estimate: &'a Estimate,
    /// What is left of `--max-cost`; `None`: there is no cap.
    pub left: Option<Usd>,
}

/// Whether the cap is enough for the run.
pub fn cost(RunCost { estimate, left }: RunCost<'_>) -> Check {
    const NAME: &str = "cost";
    if estimate.calls == 0 {
        return Check::ok(NAME, "none: nothing to fetch");
    }
    let calls = humanize::counted(estimate.calls, "call", "calls");
    let estimated = format!("{} for {calls}", humanize::money_range(estimate.cost_low, estimate.cost_high));
    match left {
        None => Check::ok(NAME, estimated),
        Some(left) if left < estimate.cost_high => Check::warning(
            NAME,
            format!("{estimated}, but --max-cost leaves {}", humanize::money(left)),
            "the run will stop there with exit code 5; run it again with a higher --max-cost to resume",
        ),
        Some(left) => Check::ok(NAME, format!("{estimated}; --max-cost leaves {}", humanize::money(left))),
    }
}

/// Whether the balance is enough for the run; without an estimate, whether there is any.
pub fn balance(balance: Usd, cost: Option<RunCost<'_>>) -> Check {
    const NAME: &str = "balance";
    const HINT: &str = "top up the account, or list fewer targets; a run without credit stops with exit code 4 and can \
                        be resumed";
    let shown = format!("{} left on the account", humanize::money(balance));
    let Some(RunCost { estimate, left }) = cost.filter(|cost| cost.estimate.calls > 0) else {
        return match balance {
            Usd::ZERO => Check::warning(NAME, shown, HINT),
            _ => Check::ok(NAME, shown),
        };
    };
    let capped = |cost: Usd| left.map_or(cost, |left| cost.min(left));
    let (level, verdict) = match balance {
        _ if balance < capped(estimate.cost_low) => (Level::Failed, "not enough"),
        _ if balance < capped(estimate.cost_high) => (Level::Warning, "may not be enough"),
        _ => return Check::ok(NAME, shown),
    };
    let range = humanize::money_range(estimate.cost_low, estimate.cost_high);
    Check { level, ..Check::failed(NAME, format!("{shown}, {verdict} for the run ({range})"), HINT) }
}

/// Whether this machine's clock agrees with the server's.
pub fn clock(now: Timestamp, server: Option<Timestamp>) -> Check {
    const NAME: &str = "clock";
    /// `Date` headers have whole seconds, and an answer takes a few.
    const MAX_DIFFERENCE_S: u64 = 60;
    let Some(server) = server else {
        return Check::warning(
            NAME,
            "not compared: the API's answer has no date",
            "check the clock yourself: a wrong date changes which days are requested",
        );
    };
    let difference = now.duration_since(server);
    if difference.unsigned_abs().as_secs() <= MAX_DIFFERENCE_S {
        return Check::ok(NAME, format!("within {MAX_DIFFERENCE_S} s of the server's"));
    }
    let side = if difference.is_negative() { "behind" } else { "ahead of" };
    Check::warning(
        NAME,
        format!("{} {side} the server's", humanize::rough_duration(difference.unsigned_abs())),
        "set the clock (timedatectl set-ntp true): requested dates, records and TLS depend on it",
    )
}

/// Whether the disk has space for the answers and for two copies of the tables, which are replaced as a whole. `run` is
/// the number of calls and the resulting dataset, if there is anything to fetch.
pub fn space(free: u64, run: Option<(u64, DatasetSize)>) -> Check {
    const NAME: &str = "space";
    /// Bytes of a full history in the ledger, compressed.
    const PER_ANSWER: u64 = 22_000;
    /// Logs, the report, other files, and other programs.
    const OTHER: u64 = 50_000_000;
    let needed = run.map_or(0, |(calls, dataset)| calls * PER_ANSWER + 2 * dataset.bytes) + OTHER;
    let mut shown = format!("{} free", humanize::bytes(free));
    if run.is_some() || free < 2 * needed {
        shown = format!("{shown}; the run needs about {}", humanize::bytes(needed));
    }
    let hint = "free some disk space, or use an --out on another disk; a full disk stops the run, but loses no answers";
    if free < needed {
        Check::failed(NAME, shown, hint)
    } else if free < 2 * needed {
        Check::warning(NAME, shown, hint)
    } else {
        Check::ok(NAME, shown)
    }
}

/// The limit of open files, if it is too low for a run.
pub fn files(limit: Option<u64>, concurrency: NonZeroU32) -> Option<Check> {
    /// A file for each month of the history, the ledger, and the runtime's own.
    const OTHER: u64 = 160;
    let needed = u64::from(concurrency.get()) + OTHER;
    let limit = limit.filter(|limit| *limit < needed)?;
    let message =
        format!("limit of {} open files; {concurrency} calls in flight need about {needed}", humanize::count(limit));
    Some(Check::failed("files", message, "raise the limit (ulimit -n 1024), or lower --concurrency"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::export::PriceSource;

    fn usd(dollars: i64) -> Usd {
        Usd::from_micros(dollars * 1_000_000)
    }

    fn estimate(calls: u64) -> Estimate {
        Estimate {
            calls,
            cost_low: usd(30),
            cost_high: usd(60),
            price_source: PriceSource::ListPrice,
            elapsed: Duration::ZERO,
        }
    }

    #[test]
    fn the_balance_is_compared_to_what_may_be_spent() {
        let check = |left: i64, cap: Option<i64>, level: Level| {
            let estimate = estimate(1_000);
            let found = balance(usd(left), Some(RunCost { estimate: &estimate, left: cap.map(usd) }));
            assert_eq!(found.level, level, "{left} {cap:?}: {found:?}");
        };
        check(60, None, Level::Ok);
        check(59, None, Level::Warning);
        check(29, None, Level::Failed);
        check(29, Some(29), Level::Ok);
        check(29, Some(40), Level::Failed);
        check(40, Some(40), Level::Ok);
        check(0, Some(0), Level::Ok);
        assert_eq!(balance(usd(0), None).level, Level::Warning);
        assert_eq!(balance(usd(1), None).level, Level::Ok);
        let nothing = estimate(0);
        assert_eq!(balance(usd(1), Some(RunCost { estimate: &nothing, left: None })).level, Level::Ok);
    }

    #[test]
    fn a_cap_below_the_cost_is_a_warning() {
        let check = |calls: u64, cap: Option<i64>, level: Level, wanted: &str| {
            let estimate = estimate(calls);
            let found = cost(RunCost { estimate: &estimate, left: cap.map(usd) });
            assert!(found.level == level && found.message.contains(wanted), "{found:?}");
        };
        check(1_000, None, Level::Ok, "$30.00 to $60.00 for 1,000 calls");
        check(1_000, Some(60), Level::Ok, "leaves $60.00");
        check(1_000, Some(59), Level::Warning, "leaves $59.00");
        check(0, Some(0), Level::Ok, "none: ");
    }

    #[test]
    fn clocks_may_differ_by_a_minute() {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let check = |server: &str, level: Level, wanted: &str| {
            let found = clock(now, Some(server.parse().unwrap()));
            assert!(found.level == level && found.message.contains(wanted), "{found:?}");
        };
        check("2026-11-24T12:00:00Z", Level::Ok, "within 60 s");
        check("2026-11-24T12:01:00Z", Level::Ok, "within 60 s");
        check("2026-11-24T11:59:00Z", Level::Ok, "within 60 s");
        check("2026-11-24T12:01:01Z", Level::Warning, "about 1 min 10 s behind the server's");
        check("2026-11-24T10:00:00Z", Level::Warning, "about 2 h ahead of the server's");
        check("1970-01-01T00:00:00Z", Level::Warning, "ahead of");
        assert_eq!(clock(now, None).level, Level::Warning);
    }

    #[test]
    fn disk_space_and_open_files_are_compared_to_the_need() {
        let run = Some((1_000, DatasetSize { rows: 0, bytes: 10_000_000, is_exact: false }));
        let needed = 22_000_000 + 20_000_000 + 50_000_000;
        let check = |free: u64, run: Option<(u64, DatasetSize)>, level: Level, wanted: &str| {
            let found = space(free, run);
            assert!(found.level == level && found.message == wanted, "{found:?}");
        };
        check(needed - 1, run, Level::Failed, "91.9 MB free; the run needs about 92.0 MB");
        check(needed, run, Level::Warning, "92.0 MB free; the run needs about 92.0 MB");
        check(2 * needed, run, Level::Ok, "184.0 MB free; the run needs about 92.0 MB");
        check(100_000_000, None, Level::Ok, "100.0 MB free");
        check(99_000_000, None, Level::Warning, "99.0 MB free; the run needs about 50.0 MB");
        let thirty = NonZeroU32::new(30).unwrap();
        assert_eq!(files(Some(189), thirty).unwrap().level, Level::Failed);
        assert_eq!(files(Some(190), thirty), None);
        assert_eq!(files(None, thirty), None);
    }
}
