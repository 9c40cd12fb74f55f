//! Throughput and remaining time.
//!
//! The remaining time is computed from the limits, not only from the past: a run that has just started, or just come
//! out of an outage, has no useful past. Measured throughput has more weight the longer the run lasts.

use std::{collections::VecDeque, time::Duration};

use super::{
    ExportScope,
    snapshot::{Activity, Counted},
};
use crate::money::Usd;

/// The current speed is measured over this time.
const AVERAGING_PERIOD: Duration = Duration::from_secs(15);
/// After this time, the past has its full weight.
const SETTLED: Duration = Duration::from_mins(1);
/// The full weight of the past: measurements count as much as the limits.
const WEIGHT: f64 = 0.5;
/// Maximum expected calls per target, however the first targets fared.
const MAX_CALLS: f64 = 6.0;

/// Before this many targets are settled, their mean price is not used: prices depend on the length of a history.
const SETTLED_TARGETS: u64 = 10;

/// Remembers the recent past.
#[derive(Debug)]
pub(super) struct ThroughputEstimator {
    /// Counts, oldest first: those of [`AVERAGING_PERIOD`] and one before it.
    seen: VecDeque<Counted>,
    /// Calls in flight times seconds, over the whole run: by Little's law, latency times answers.
    busy: f64,
}

impl ThroughputEstimator {
    pub(super) fn new() -> Self {
        Self { seen: VecDeque::from([Counted::default()]), busy: 0.0 }
    }

    /// Records the counts. Called at most a few times per second.
    pub(super) fn look(&mut self, counted: &Counted) {
        let last = self.seen.back().map_or(Duration::ZERO, |seen| seen.elapsed);
        let passed = counted.elapsed.saturating_sub(last);
        if passed.is_zero() {
            return;
        }
        self.busy += float(counted.calls.saturating_sub(counted.answers)) * passed.as_secs_f64();
        self.seen.push_back(*counted);
        while self.seen.get(1).is_some_and(|seen| seen.elapsed + AVERAGING_PERIOD <= counted.elapsed) {
            self.seen.pop_front();
        }
    }

    /// Calls per minute, now.
    pub(super) fn per_minute(&self, counted: &Counted) -> u64 {
        let past = self.seen.front().copied().unwrap_or_default();
        let per_second =
            per_second(counted.calls.saturating_sub(past.calls), counted.elapsed.saturating_sub(past.elapsed));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative; saturates")]
        let per_minute = (per_second * 60.0).round() as u64;
        per_minute
    }

    /// The remaining time of the fetch; `None`: unknown.
    pub(super) fn left(&self, counted: &Counted, scope: &ExportScope) -> Option<Duration> {
        match counted.activity {
            _ if counted.down => return None,
            Activity::Calling | Activity::RateLimit | Activity::AskedToWait(_) => {}
            Activity::Outage
            | Activity::Finishing
            | Activity::Publishing(_)
            | Activity::Uploading(_)
            | Activity::Ended => return None,
        }
        let targets = scope.total.saturating_sub(counted.done).saturating_sub(counted.failed);
        if targets == 0 {
            return None;
        }
        let settled = counted.done.saturating_sub(scope.stored) + counted.failed;
        let calls_each =
            if settled == 0 { 1.0 } else { (float(counted.answers) / float(settled)).clamp(1.0, MAX_CALLS) };
        let allowed = f64::from(scope.rate.calls.get()) / scope.rate.period.as_secs_f64().max(1e-9);
        let latency = self.busy / float(counted.answers);
        let possible = match f64::from(scope.concurrency.get()) / latency {
            bound if bound.is_finite() => bound.min(allowed),
            _ => allowed,
        };
        let past = self.seen.front().copied().unwrap_or_default();
        let seen =
            per_second(counted.answers.saturating_sub(past.answers), counted.elapsed.saturating_sub(past.elapsed));
        let weight = WEIGHT * (counted.elapsed.as_secs_f64() / SETTLED.as_secs_f64()).min(1.0);
        let expected = possible * (1.0 - weight) + seen * weight;
        let wait = if let Activity::AskedToWait(wait) = counted.activity { wait } else { Duration::ZERO };
        Duration::try_from_secs_f64(float(targets) * calls_each / expected).ok()?.checked_add(wait)
    }
}

/// What all runs of the directory will have spent once every target is settled, if the rest costs as much per target as
/// in this run; `None`: too few are settled, or none is left.
pub(super) fn projected(counted: &Counted, scope: &ExportScope) -> Option<Usd> {
    let settled = (counted.done + counted.failed).saturating_sub(scope.stored);
    let left = scope.total.saturating_sub(counted.done + counted.failed);
    let is_calling = !matches!(
        counted.activity,
        Activity::Finishing | Activity::Publishing(_) | Activity::Uploading(_) | Activity::Ended
    );
    if settled < SETTLED_TARGETS || left == 0 || !is_calling {
        return None;
    }
    let rest = i128::from(counted.spent.micros()) * i128::from(left) / i128::from(settled);
    let rest = i64::try_from(rest).ok().map(Usd::from_micros)?;
    Some(scope.spent.plus(counted.spent).plus(rest))
}

fn per_second(number: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { float(number) / time.as_secs_f64() }
}

#[expect(clippy::cast_precision_loss, reason = "an estimate, and exact below 2^53")]
fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::fetch::pace::Rate;

    fn scope(total: u64, per_minute: u32, concurrency: u32) -> ExportScope {
        let number = |number| NonZeroU32::new(number).expect("above zero");
        ExportScope {
            total,
            stored: 0,
            rate: Rate { calls: number(per_minute), period: Duration::from_mins(1) },
            concurrency: number(concurrency),
            spent: Usd::ZERO,
            cap: None,
            simulated: false,
        }
    }

    fn counted(seconds: u64, calls: u64, answers: u64, done: u64) -> Counted {
        Counted { elapsed: Duration::from_secs(seconds), calls, answers, done, ..Counted::default() }
    }

    /// A past with constant counts per second.
    #[derive(Clone, Copy)]
    struct Past {
        seconds: u64,
        /// Answers.
        per_second: u64,
        in_flight: u64,
    }

    /// The remaining seconds after it.
    fn left(scope: &ExportScope, past: Past, activity: Activity) -> Option<u64> {
        let Past { seconds, per_second, in_flight } = past;
        let mut estimator = ThroughputEstimator::new();
        let mut last = counted(0, 0, 0, 0);
        for second in 1..=seconds {
            let answers = second * per_second;
            last = counted(second, answers + in_flight, answers, answers);
            estimator.look(&last);
        }
        estimator.left(&Counted { activity, ..last }, scope).map(|left| left.as_secs())
    }

    #[test]
    fn the_remaining_time_depends_on_the_limits_and_the_past() {
        let check = |scope: ExportScope, past: Past, expected: Option<u64>| {
            assert_eq!(left(&scope, past, Activity::Calling), expected);
        };
        // Before the first answer, the rate limit counts.
        check(scope(5_000, 600, 20), Past { seconds: 0, per_second: 0, in_flight: 0 }, Some(500));
        // At the rate limit.
        check(scope(5_000, 600, 20), Past { seconds: 60, per_second: 10, in_flight: 5 }, Some(440));
        // 20 in flight, each taking 4 s, allow 5 per second, regardless of the rate.
        check(scope(5_000, 600, 20), Past { seconds: 60, per_second: 5, in_flight: 20 }, Some(940));
        // After a minute at half the possible speed: in between.
        check(scope(5_000, 600, 20), Past { seconds: 60, per_second: 5, in_flight: 5 }, Some(626));
        // Done.
        check(scope(600, 600, 20), Past { seconds: 60, per_second: 10, in_flight: 5 }, None);
    }

    #[test]
    fn the_remaining_time_is_unknown_in_an_outage_and_after_the_fetch() {
        let check = |activity, expected| {
            let past = Past { seconds: 60, per_second: 10, in_flight: 5 };
            assert_eq!(left(&scope(5_000, 600, 20), past, activity), expected);
        };
        check(Activity::RateLimit, Some(440));
        check(Activity::AskedToWait(Duration::from_secs(30)), Some(470));
        check(Activity::Outage, None);
        check(Activity::Finishing, None);
        check(Activity::Publishing(5_000), None);
        check(Activity::Ended, None);
    }

    #[test]
    fn retries_lengthen_the_remaining_time() {
        let mut estimator = ThroughputEstimator::new();
        let now = counted(10, 100, 100, 50);
        estimator.look(&now);
        let left = estimator.left(&now, &scope(650, 600, 20)).expect("an estimate");
        assert_eq!(left.as_secs(), 120);
    }

    #[test]
    fn the_speed_is_that_of_the_last_seconds() {
        let mut estimator = ThroughputEstimator::new();
        assert_eq!(estimator.per_minute(&counted(0, 0, 0, 0)), 0);
        for second in 0..100 {
            estimator.look(&counted(second, if second < 50 { second * 10 } else { 500 }, 0, 0));
        }
        assert_eq!(estimator.per_minute(&counted(99, 500, 0, 0)), 0);
        estimator.look(&counted(105, 560, 0, 0));
        assert_eq!(estimator.per_minute(&counted(105, 560, 0, 0)), 240);
        assert!(estimator.seen.len() < 20);
    }
}
