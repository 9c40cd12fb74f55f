//! When the next call may be sent: never more than N in any sliding period, including retries and earlier runs.
//!
//! There are two guards in a row. `governor` spreads the calls evenly, so that the server sees a steady stream. By
//! itself it would allow a burst plus a full period's calls in one window, so a window of the last N calls decides:
//! call k+N is never sent before a whole period, plus a margin for network jitter, has passed since call k was actually
//! sent.
//!
//! Nothing here sleeps: `Pacer::check` returns until when to wait, and the caller waits on `tokio`'s clock (governor's
//! own `until_ready` would sleep on the real one).

use std::{fmt, num::NonZeroU32, time::Duration};

use governor::{
    Quota, RateLimiter,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use tokio::time::Instant;

use super::{
    sliding_window::{CallSlot, SlidingWindow},
    tokio_clock::{SinceStart, TokioClock},
};

/// At most `calls` in any sliding `period`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub calls: NonZeroU32,
    pub period: Duration,
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.period.as_secs() {
            1 => write!(f, "{}/s", self.calls),
            60 => write!(f, "{}/min", self.calls),
            3600 => write!(f, "{}/h", self.calls),
            seconds => write!(f, "{} in {seconds} s", self.calls),
        }
    }
}

impl Rate {
    /// The interval between evenly spaced calls.
    pub fn interval(self) -> Duration {
        self.period / self.calls.get()
    }

    /// The minimum time between call k and call k+N: the period, and a margin for jitter between this program and the
    /// server's clock. A hundredth keeps 99 % of the rate; the bounds keep the margin useful for periods of a second
    /// and small for those of an hour.
    pub fn window(self) -> Duration {
        const MIN: Duration = Duration::from_millis(20);
        const MAX: Duration = Duration::from_secs(1);
        self.period + (self.period / 100).clamp(MIN, MAX)
    }

    /// How many calls may be sent at once after a pause: those of 50 ms, so that timers which fire a little late cost
    /// no throughput.
    fn burst(self) -> NonZeroU32 {
        const CATCH_UP: f64 = 0.050;
        let calls = f64::from(self.calls.get()) * CATCH_UP / self.period.as_secs_f64();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive and clamped")]
        let burst = (calls.ceil() as u32).saturating_add(1).min(self.calls.get());
        NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN)
    }
}

/// Every 429 doubles the interval between calls, up to this factor.
const SLOWEST: f64 = 32.0;
/// Several 429s within this time count as one: they are responses to calls sent together.
const ECHO: Duration = Duration::from_secs(1);
/// After this long without a 429, the interval shrinks by [`RECOVERY`].
const CALM: Duration = Duration::from_secs(5);
/// The factor by which the slowdown shrinks after each [`CALM`].
const RECOVERY: f64 = 0.75;

/// Decides when the next call may be sent.
#[derive(Debug)]
pub(super) struct Pacer {
    rate: Rate,
    spread: RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<SinceStart>>,
    window: SlidingWindow,
    hold_until: Option<Instant>,
    slowness: f64,
    /// The last 429 that counted.
    slowed_at: Option<Instant>,
    /// Since when there was no 429, minus the time for which the interval has already shrunk.
    calm_since: Option<Instant>,
    last: Option<Instant>,
}

impl Pacer {
    /// A pacer whose window includes `earlier` calls, sent by previous processes on the same account.
    pub(super) fn new(rate: Rate, earlier: impl IntoIterator<Item = Instant>) -> Self {
        let quota = Quota::with_period(rate.interval().max(Duration::from_nanos(1)))
            .expect("an interval above zero")
            .allow_burst(rate.burst());
        Self {
            rate,
            spread: RateLimiter::direct_with_clock(quota, TokioClock),
            window: SlidingWindow::new(rate, earlier),
            hold_until: None,
            slowness: 1.0,
            slowed_at: None,
            calm_since: None,
            last: None,
        }
    }

    /// `Ok` allows one call now; `Err` is when to ask again.
    pub(super) fn check(&mut self, now: Instant) -> Result<CallSlot, Instant> {
        if let Some(until) = self.hold_until.filter(|until| *until > now) {
            return Err(until);
        }
        self.recover(now);
        if let Some(last) = self.last.filter(|_| self.slowness > 1.0) {
            let next = last + self.rate.interval().mul_f64(self.slowness);
            if next > now {
                return Err(next);
            }
        }
        self.window.has_room(now)?;
        self.spread
            .check()
            .map_err(|denied| now + denied.wait_time_from(SinceStart(now)).max(Duration::from_micros(100)))?;
        self.last = Some(now);
        Ok(self.window.grant())
    }

    /// The server asked for fewer calls, and possibly for a wait; both apply to all calls.
    pub(super) fn slow_down(&mut self, now: Instant, retry_after: Option<Duration>) {
        if let Some(wait) = retry_after {
            self.hold_until = self.hold_until.max(Some(now + wait));
        }
        self.recover(now);
        if self.slowed_at.is_none_or(|at| now.duration_since(at) >= ECHO) {
            self.slowness = (self.slowness * 2.0).min(SLOWEST);
            (self.slowed_at, self.calm_since) = (Some(now), Some(now));
        }
    }

    /// Until when all calls have to wait, if the server asked for it and that time has not passed.
    pub(super) fn held_until(&self, now: Instant) -> Option<Instant> {
        self.hold_until.filter(|until| *until > now)
    }

    fn recover(&mut self, now: Instant) {
        while let Some(since) = self.calm_since.filter(|since| now.duration_since(*since) >= CALM) {
            self.slowness = 1.0 + (self.slowness - 1.0) * RECOVERY;
            self.calm_since = Some(since + CALM);
            if self.slowness < 1.05 {
                self.slowness = 1.0;
                self.calm_since = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(calls: u32, period: Duration) -> Rate {
        Rate { calls: NonZeroU32::new(calls).expect("not zero"), period }
    }

    /// Sends calls as fast as they are allowed for `span`, each `delay(k)` after it was allowed.
    async fn granted(pacer: &mut Pacer, span: Duration, delay: impl Fn(usize) -> Duration) -> Vec<Instant> {
        let end = Instant::now() + span;
        let mut left = Vec::new();
        while Instant::now() < end {
            match pacer.check(Instant::now()) {
                Ok(mut slot) => {
                    tokio::time::advance(delay(left.len())).await;
                    slot.mark_sent();
                    left.push(Instant::now());
                }
                Err(until) => tokio::time::sleep_until(until).await,
            }
        }
        left
    }

    fn most_in(moments: &[Instant], period: Duration) -> usize {
        (0..moments.len())
            .map(|first| moments[first..].iter().take_while(|later| **later - moments[first] <= period).count())
            .max()
            .unwrap_or(0)
    }

    #[tokio::test(start_paused = true)]
    async fn no_window_has_more_calls_than_the_rate_and_nearly_all_are_used() {
        for (calls, period) in
            [(60, 60), (600, 60), (3000, 60), (5, 1), (33, 1), (100, 1), (1000, 1), (50, 3600), (1, 1)]
        {
            let rate = rate(calls, Duration::from_secs(period));
            let mut pacer = Pacer::new(rate, []);
            let left = granted(&mut pacer, rate.period * 4, |_| Duration::ZERO).await;
            assert!(
                most_in(&left, rate.period) <= calls as usize,
                "{calls}/{period}s: {}",
                most_in(&left, rate.period)
            );
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let used = left.len() as f64 / (4.0 * f64::from(calls));
            assert!(used >= 0.97, "{calls}/{period}s: only {used} of the rate");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_counts_from_when_it_was_actually_sent() {
        let rate = rate(10, Duration::from_secs(1));
        let mut pacer = Pacer::new(rate, []);
        let hiccups = |k: usize| if k.is_multiple_of(7) { Duration::from_millis(300) } else { Duration::ZERO };
        let left = granted(&mut pacer, Duration::from_secs(20), hiccups).await;
        assert!(most_in(&left, rate.period) <= 10);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_of_an_earlier_process_fill_the_window() {
        let rate = rate(600, Duration::from_mins(1));
        let start = Instant::now();
        tokio::time::advance(Duration::from_secs(30)).await;
        let earlier: Vec<_> = (0..600).map(|k| start + Duration::from_millis(50 * k)).collect();
        let mut pacer = Pacer::new(rate, earlier.clone());
        let mut all = earlier;
        all.extend(granted(&mut pacer, Duration::from_mins(2), |_| Duration::ZERO).await);
        assert!(most_in(&all, rate.period) <= 600);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_down_slows_every_call_and_the_speed_recovers() {
        let rate = rate(600, Duration::from_mins(1));
        let mut pacer = Pacer::new(rate, []);
        let before = granted(&mut pacer, Duration::from_secs(10), |_| Duration::ZERO).await.len();
        pacer.slow_down(Instant::now(), Some(Duration::from_secs(3)));
        pacer.slow_down(Instant::now(), None);
        let asked = Instant::now();
        let after = granted(&mut pacer, Duration::from_secs(10), |_| Duration::ZERO).await;
        assert!(after[0] - asked >= Duration::from_secs(3), "Retry-After is a floor for all calls");
        assert!(after.len() * 2 < before, "{} then {}", before, after.len());
        granted(&mut pacer, Duration::from_mins(1), |_| Duration::ZERO).await;
        let later = granted(&mut pacer, Duration::from_secs(10), |_| Duration::ZERO).await.len();
        assert!(later * 100 >= before * 95, "{before} before, {later} a minute later");
    }

    #[test]
    fn a_rate_is_shown_with_its_unit_and_has_a_margin_and_a_burst() {
        let check = |calls: u32, seconds: u64, text: &str, window: u64, burst: u32| {
            let rate = rate(calls, Duration::from_secs(seconds));
            let found = (rate.to_string(), rate.window(), rate.burst().get());
            assert_eq!(found, (text.to_owned(), Duration::from_millis(window), burst));
        };
        check(1, 1, "1/s", 1_020, 1);
        check(5, 1, "5/s", 1_020, 2);
        check(1_000, 1, "1000/s", 1_020, 51);
        check(50, 5, "50 in 5 s", 5_050, 2);
        check(3_000, 60, "3000/min", 60_600, 4);
        check(50, 3_600, "50/h", 3_601_000, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_down_doubles_the_interval_and_calm_shortens_it_by_a_quarter() {
        let start = Instant::now();
        let check = |slowed_at: &[u64], now: u64, distance: u64| {
            let mut pacer = Pacer::new(rate(1, Duration::from_mins(1)), []);
            pacer.check(start).expect("the first call").mark_sent();
            for at in slowed_at {
                pacer.slow_down(start + Duration::from_millis(*at), None);
            }
            let next = pacer.check(start + Duration::from_millis(now)).expect_err("too early");
            assert_eq!((next - start).as_millis(), u128::from(distance), "{slowed_at:?}, asked at {now}");
        };
        check(&[], 0, 60_600);
        check(&[0], 0, 120_000);
        check(&[0, 999], 999, 120_000);
        check(&[0, 1_000], 1_000, 240_000);
        check(&[0, 999, 1_000], 1_000, 240_000);
        check(&[0, 1_000, 2_000, 3_000, 4_000], 4_000, 32 * 60_000);
        check(&[0, 1_000, 2_000, 3_000, 4_000, 5_000, 6_000], 6_000, 32 * 60_000);
        check(&[0, 1_000], 5_999, 240_000);
        check(&[0, 1_000], 6_000, 195_000);
        check(&[0, 1_000], 10_999, 195_000);
        check(&[0, 1_000], 11_000, 161_250);
        // A factor below 1.05 counts as none; the window still applies.
        check(&[0], 54_999, 63_378);
        check(&[0], 55_000, 60_600);
        check(&[0, 55_000], 55_000, 120_000);
        // A shrunk interval does not make the next 429 part of the previous one.
        check(&[0, 5_500], 5_500, 210_000);
        check(&[0, 5_500, 6_499], 6_499, 210_000);
    }

    #[tokio::test(start_paused = true)]
    async fn every_wait_ends_at_the_announced_time() {
        let mut pacer = Pacer::new(rate(60, Duration::from_mins(1)), []);
        pacer.check(Instant::now()).expect("the first call").mark_sent();
        let asked = Instant::now();
        pacer.slow_down(asked, Some(Duration::from_secs(3)));
        pacer.slow_down(asked, Some(Duration::from_secs(1)));
        let until = asked + Duration::from_secs(3);
        assert_eq!(pacer.check(asked).expect_err("held"), until);
        assert_eq!(pacer.held_until(asked), Some(until), "the longest wait counts");
        assert_eq!(pacer.held_until(until - Duration::from_nanos(1)), Some(until));
        assert_eq!(pacer.held_until(until), None);
        tokio::time::advance(Duration::from_secs(3)).await;
        pacer.check(Instant::now()).expect("no longer held").mark_sent();
        let next = pacer.check(Instant::now()).expect_err("twice the distance");
        assert_eq!(next, until + Duration::from_secs(2));
        assert_eq!(pacer.check(next - Duration::from_nanos(1)).expect_err("too early"), next);
        tokio::time::advance(Duration::from_secs(2)).await;
        pacer.check(Instant::now()).expect("the announced moment");
    }
}
