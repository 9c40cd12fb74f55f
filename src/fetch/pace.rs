//! When the next call may be sent: never more than N in any sliding period, including retries and earlier runs.
//!
//! There are three guards in a row. The throttle slows calls down while the API rejects too many. `governor` spreads
//! them evenly, so that the server sees a steady stream. By itself it would allow a burst plus a full period's calls in
//! one window, so a window of the last N calls decides: call k+N is never sent before a whole period, plus a margin for
//! network jitter, has passed since call k was actually sent.
//!
//! Nothing here sleeps: `Pacer::try_acquire` returns until when to wait, and the caller waits on `tokio`'s clock
//! (governor's own `until_ready` would sleep on the real one).

use std::{fmt, num::NonZeroU32, time::Duration};

use governor::{
    Quota, RateLimiter,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use tokio::time::Instant;

use super::{
    sliding_window::{CallSlot, SlidingWindow},
    throttle::Throttle,
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

/// Decides when the next call may be sent.
#[derive(Debug)]
pub(super) struct Pacer {
    spread: RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<SinceStart>>,
    window: SlidingWindow,
    throttle: Throttle,
    hold_until: Option<Instant>,
}

impl Pacer {
    /// A pacer whose window includes `earlier` calls, sent by previous processes on the same account.
    pub(super) fn new(rate: Rate, earlier: impl IntoIterator<Item = Instant>) -> Self {
        let quota = Quota::with_period(rate.interval().max(Duration::from_nanos(1)))
            .expect("an interval above zero")
            .allow_burst(rate.burst());
        Self {
            spread: RateLimiter::direct_with_clock(quota, TokioClock),
            window: SlidingWindow::new(rate.calls, rate.window(), earlier),
            throttle: Throttle::new(rate.interval()),
            hold_until: None,
        }
    }

    /// `Ok` allows one call now; `Err` is when to ask again.
    pub(super) fn try_acquire(&mut self, now: Instant) -> Result<CallSlot, Instant> {
        if let Some(until) = self.held_until(now).max(self.throttle.not_before()).filter(|until| *until > now) {
            return Err(until);
        }
        self.window.check_room(now)?;
        self.spread
            .check()
            .map_err(|denied| now + denied.wait_time_from(SinceStart(now)).max(Duration::from_micros(100)))?;
        let slot = self.window.grant();
        self.throttle.on_send(now, slot.number());
        Ok(slot)
    }

    /// The result of the call with this slot: whether the API asked for fewer calls, and for how long it asked to send
    /// none at all.
    pub(super) fn on_result(&mut self, now: Instant, slot: &CallSlot, is_rejected: bool, hold: Option<Duration>) {
        self.throttle.on_result(now, slot.number(), is_rejected);
        if let Some(hold) = hold {
            let until = (now + hold).max(self.hold_until.unwrap_or(now));
            self.throttle.on_hold(until - self.held_until(now).unwrap_or(now));
            self.hold_until = Some(until);
        }
    }

    /// Until when all calls have to wait, if the server asked for it and that time has not passed.
    pub(super) fn held_until(&self, now: Instant) -> Option<Instant> {
        self.hold_until.filter(|until| *until > now)
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
            match pacer.try_acquire(Instant::now()) {
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
    async fn a_hold_delays_every_call_until_its_end() {
        let mut pacer = Pacer::new(rate(6_000, Duration::from_mins(1)), []);
        let mut slot = pacer.try_acquire(Instant::now()).expect("the first call");
        slot.mark_sent();
        let asked = Instant::now();
        pacer.on_result(asked, &slot, true, Some(Duration::from_secs(3)));
        pacer.on_result(asked, &slot, true, Some(Duration::from_secs(1)));
        let until = asked + Duration::from_secs(3);
        assert_eq!(pacer.try_acquire(asked).expect_err("held"), until);
        assert_eq!(pacer.held_until(asked), Some(until), "the longest wait counts");
        assert_eq!(pacer.held_until(until - Duration::from_nanos(1)), Some(until));
        assert_eq!(pacer.held_until(until), None);
        tokio::time::advance(Duration::from_secs(3)).await;
        pacer.try_acquire(Instant::now()).expect("no longer held");
    }
}
