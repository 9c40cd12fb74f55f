//! Slows calls down while the API answers 429, but only as long as that reduces rejections.
//!
//! Results are judged in samples. If more of a sample was rejected than is tolerated, the next one is sent a little
//! slower than calls were accepted. An API that limits the rate then accepts nearly all of them, and the speed grows
//! again in small steps. If it rejects as many as before, the rate is not the reason: the speed is restored, and that
//! share of rejections is tolerated for a while. The rate of the run is never exceeded, whatever happens here.

use std::time::Duration;

use tokio::time::Instant;

/// A sample needs at least this many results, of calls sent since it began, and this much time, since limits are often
/// per second. Without rejections, `MIN_ACCEPTED` results are enough, so that a very low speed grows soon.
const MIN_RESULTS: u32 = 30;
const MIN_ACCEPTED: u32 = 10;
const MIN_SAMPLE: Duration = Duration::from_secs(1);
/// Rejections beyond the tolerated share that do not slow calls down; more than the rejections that [`GROWTH`] can
/// cause.
const MARGIN: f64 = 0.07;
/// Calls are slowed down to this fraction of the rate at which they were accepted, but never below a quarter of the
/// current rate in one step.
const BELOW_ACCEPTED: f64 = 0.9;
const MIN_SLOWDOWN: f64 = 0.25;
/// A share of rejections above this is never tolerated.
const MAX_TOLERATED: f64 = 0.7;
/// How much the tolerated share shrinks after a sample within it, so that slowing down is tested again at some time.
const FADING: f64 = 0.01;
/// The factor by which the speed grows after a sample without too many rejections.
const GROWTH: f64 = 1.1;
/// The longest interval between calls, in multiples of the shortest.
const SLOWEST: u32 = 32;

/// The interval between calls, and the results that it depends on.
#[derive(Debug)]
pub(super) struct Throttle {
    shortest: Duration,
    interval: Duration,
    last_sent: Option<Instant>,
    next_call: u64,
    sample: Sample,
    /// The share of rejections that slowing down has not reduced.
    tolerated: f64,
    /// Set while it is tested whether slowing down helps.
    test: Option<Test>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    began: Instant,
    /// Calls from before the sample were sent at another speed, and do not count.
    first_call: u64,
    sent: u32,
    accepted: u32,
    rejected: u32,
}

/// A slowdown whose effect is being tested.
#[derive(Clone, Copy, Debug)]
struct Test {
    interval_before: Duration,
    /// If more than this share is still rejected, slowing down has not helped.
    max_rejected: f64,
}

impl Sample {
    fn new(began: Instant, first_call: u64) -> Self {
        Self { began, first_call, sent: 0, accepted: 0, rejected: 0 }
    }
}

impl Throttle {
    /// At full speed: calls are `shortest` apart.
    pub(super) fn new(shortest: Duration) -> Self {
        let sample = Sample::new(Instant::now(), 0);
        Self { shortest, interval: shortest, last_sent: None, next_call: 0, sample, tolerated: 0.0, test: None }
    }

    /// When the next call may be sent; `None`: calls are not slowed down.
    pub(super) fn not_before(&self) -> Option<Instant> {
        self.last_sent.filter(|_| self.interval > self.shortest).map(|last| last + self.interval)
    }

    /// The call with this number is sent; numbers increase.
    pub(super) fn on_send(&mut self, now: Instant, call: u64) {
        self.last_sent = Some(now);
        self.next_call = call + 1;
        self.sample.sent += 1;
    }

    /// No call is sent for this long, which says nothing about the speed.
    pub(super) fn on_hold(&mut self, hold: Duration) {
        self.sample.began += hold;
    }

    /// The result of a call.
    pub(super) fn on_result(&mut self, now: Instant, call: u64, is_rejected: bool) {
        if call < self.sample.first_call {
            return;
        }
        self.sample.rejected += u32::from(is_rejected);
        self.sample.accepted += u32::from(!is_rejected);
        let results = self.sample.accepted + self.sample.rejected;
        let min_results = if self.sample.rejected == 0 { MIN_ACCEPTED } else { MIN_RESULTS };
        if results >= min_results && now.duration_since(self.sample.began) >= MIN_SAMPLE {
            let rejected = f64::from(self.sample.rejected) / f64::from(results);
            self.interval = self.judge(now, rejected).clamp(self.shortest, self.shortest * SLOWEST);
            self.sample = Sample::new(now, self.next_call);
        }
    }

    /// The interval after a sample of which this share was rejected.
    fn judge(&mut self, now: Instant, rejected: f64) -> Duration {
        match self.test.take() {
            Some(test) if rejected > test.max_rejected && rejected <= MAX_TOLERATED => {
                self.tolerated = rejected;
                test.interval_before
            }
            test if rejected <= self.tolerated + MARGIN => {
                self.tolerated = if test.is_some() { rejected } else { (self.tolerated - FADING).max(0.0) };
                self.interval.div_f64(GROWTH)
            }
            test => {
                let accepted = 1.0 - rejected;
                let slowdown = (BELOW_ACCEPTED * accepted).max(MIN_SLOWDOWN);
                // Halfway between the two expected shares: reduced if the rate is the reason, unchanged if it is not.
                let max_rejected = f64::midpoint(rejected, (1.0 - accepted / slowdown).max(0.0));
                let interval_before = test.map_or(self.interval, |test| test.interval_before);
                self.test = Some(Test { interval_before, max_rejected });
                (now - self.sample.began).div_f64(f64::from(self.sample.sent) * slowdown)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use fastrand::Rng;

    use super::*;

    const IN_FLIGHT: usize = 60;
    /// At most 100 calls a second.
    const SHORTEST: Duration = Duration::from_millis(10);

    /// What an API has done with the calls of each 10 seconds: accepted and rejected.
    type Tally = Vec<(u32, u32)>;

    /// Sends calls as fast as the throttle allows; `rejects` decides about each at its time. An answer takes between 0.3
    /// and 0.7 s.
    async fn tally(seconds: u64, mut rejects: impl FnMut(Duration, &mut Rng) -> bool) -> Tally {
        let (mut throttle, mut rng, start) = (Throttle::new(SHORTEST), Rng::with_seed(1), Instant::now());
        let (mut calls, mut last, mut in_flight) = (0, None, VecDeque::new());
        let mut tally = vec![(0, 0); usize::try_from(seconds / 10).expect("small")];
        loop {
            let now = Instant::now();
            let since = now - start;
            if since >= Duration::from_secs(seconds) {
                return tally;
            }
            in_flight.retain(|(until, call, is_rejected)| {
                if *until <= now {
                    throttle.on_result(now, *call, *is_rejected);
                }
                *until > now
            });
            let due = throttle.not_before().max(last.map(|last: Instant| last + SHORTEST)).unwrap_or(now);
            if due <= now && in_flight.len() < IN_FLIGHT {
                throttle.on_send(now, calls);
                let is_rejected = rejects(since, &mut rng);
                in_flight.push_back((now + Duration::from_millis(rng.u64(300..700)), calls, is_rejected));
                (calls, last) = (calls + 1, Some(now));
                let (accepted, rejected) = &mut tally[usize::try_from(since.as_secs() / 10).expect("small")];
                *(if is_rejected { rejected } else { accepted }) += 1;
            }
            tokio::time::advance(Duration::from_millis(1)).await;
        }
    }

    /// An API that serves at most `max_calls` in any sliding second.
    fn limited(max_calls: usize) -> impl FnMut(Duration) -> bool {
        let mut served = VecDeque::new();
        move |now: Duration| {
            served.retain(|at| *at + Duration::from_secs(1) > now);
            let is_rejected = served.len() >= max_calls;
            if !is_rejected {
                served.push_back(now);
            }
            is_rejected
        }
    }

    #[tokio::test(start_paused = true)]
    async fn random_rejections_hardly_slow_calls_down() {
        for (share, min_accepted) in [(0.0, 1.0), (0.01, 0.97), (0.1, 0.9), (0.3, 0.8), (0.5, 0.75)] {
            let tally = tally(120, |_, rng| rng.f64() < share).await;
            let accepted: u32 = tally.iter().map(|(accepted, _)| accepted).sum();
            let part = f64::from(accepted) / (120.0 * 100.0 * (1.0 - share));
            assert!(part >= min_accepted, "{share}: {part} of what is possible, {tally:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn calls_are_sent_about_as_fast_as_the_api_serves_them() {
        for limit in [10, 20, 50, 80] {
            let mut api = limited(limit);
            let tally = tally(120, |now, _| api(now)).await;
            let late = tally[2..].iter().copied().reduce(|sum, more| (sum.0 + more.0, sum.1 + more.1));
            let (accepted, rejected) = late.expect("ten");
            assert!(accepted as usize >= limit * 100 * 85 / 100, "{limit}: {tally:?}");
            assert!(rejected * 10 <= accepted, "{limit}: {tally:?}");
            assert!(tally[0].1 <= 300, "{limit}: {tally:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_speed_follows_a_limit_that_is_set_and_lifted() {
        let mut api = limited(10);
        let tally = tally(180, |now, _| (30..90).contains(&now.as_secs()) && api(now)).await;
        assert_eq!(tally[..3], [(1_000, 0); 3]);
        assert!(tally[4..9].iter().all(|(_, rejected)| *rejected <= 60), "{tally:?}");
        assert!(tally[15..].iter().all(|(accepted, _)| *accepted >= 950), "{tally:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_that_rejects_everything_gets_few_calls() {
        let tally = tally(120, |_, _| true).await;
        assert!(tally[2..].iter().all(|(_, rejected)| *rejected <= 35), "{tally:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn calls_from_before_a_change_of_speed_and_holds_do_not_count() {
        let (mut throttle, start) = (Throttle::new(SHORTEST), Instant::now());
        let judged = start + MIN_SAMPLE;
        for call in 0..60 {
            throttle.on_send(start, call);
        }
        for call in 0..29 {
            throttle.on_result(judged, call, true);
        }
        assert_eq!(throttle.not_before(), None, "too few results");
        throttle.on_hold(Duration::from_secs(1));
        throttle.on_result(judged, 29, true);
        assert_eq!(throttle.not_before(), None, "too early");
        // 60 calls in a second, without the hold: a quarter of that.
        throttle.on_result(judged + Duration::from_secs(1), 30, true);
        let next = throttle.not_before();
        assert_eq!(next.map(|next| (next - start).as_millis()), Some(1_000 / 15), "none was accepted");
        for call in 31..60 {
            throttle.on_result(judged + Duration::from_secs(9), call, false);
        }
        throttle.on_send(start, 60);
        throttle.on_result(judged + Duration::from_secs(9), 60, false);
        assert_eq!(throttle.not_before(), next, "one result at this speed");
    }
}
