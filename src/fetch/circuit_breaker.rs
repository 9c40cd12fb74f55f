//! The circuit breaker: limits retries while calls fail, and allows only single probes while the API is down. `launch`
//! ends the run after `--max-outage`.
//!
//! There are three rules. A round is as many calls as may be in flight:
//!
//! 1. After two rounds of failures (at least [`MIN_THRESHOLD`]) without a success in between, only single probes are
//!    sent, at growing intervals. A target that fails while others succeed is itself the cause, and does not count.
//! 2. Retries use up tokens, which first calls earn slowly and successes quickly: during a total outage, retries stay
//!    below a tenth of the first calls, while occasional failures are retried freely.
//! 3. Failures that cost money, or may have, take effect sooner: each one lowers the limit on calls in flight until a
//!    call succeeds; one round of them, or [`MIN_THRESHOLD`] before the first success, opens the breaker; and probes
//!    are sent less often.

use std::time::Duration;

use tokio::time::Instant;

use super::queue::{Allowed, FirstFailure};
use crate::api::ErrorKind;

/// The first probe is sent this long after the breaker opened; each further wait is twice as long.
const FIRST_PROBE: Duration = Duration::from_secs(1);
/// The longest wait between two probes.
const MAX_PROBE_WAIT: Duration = Duration::from_secs(30);
/// The longest wait between two probes if they cost money.
const MAX_COSTLY_PROBE_WAIT: Duration = Duration::from_mins(2);
/// What a first call earns, in retries.
const EARNED_BY_FIRST_CALL: f64 = 0.1;
/// What a success earns, in retries: enough for the throughput to recover.
const EARNED_BY_ANSWER: f64 = 2.0;

/// The minimum threshold for any concurrency. It exceeds the default --max-attempts, so that one bad target cannot open
/// the breaker.
const MIN_THRESHOLD: u32 = 10;

/// What may be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// These targets; while the API is down, one of them, as a probe.
    Now(Allowed),
    /// Nothing before this moment.
    NotBefore(Instant),
    /// Nothing until the probe in flight is back.
    AfterProbe,
}

/// Watches failures and successes of all targets.
#[derive(Debug)]
pub(super) struct Breaker {
    threshold: u32,
    most_tokens: f64,
    tokens: f64,
    failures_in_a_row: u32,
    /// How many different targets failed in a row.
    targets_in_a_row: u32,
    /// How many of these failed at a cost, or possibly at one; always zero in a run of very few targets, whose attempts
    /// cost less than a round.
    costly_in_a_row: u32,
    counts_costs: bool,
    /// How often the API has answered.
    successes: u64,
    down: Option<Down>,
}

/// Whether the API can be reached, by the calls of this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reachability {
    /// No call has returned, or the last one failed after it was sent.
    Unknown,
    /// No call was answered, and the last one could not be sent.
    Unreachable,
    /// A call was answered, with data or an error.
    Answered,
}

impl Reachability {
    /// The state after one more call.
    pub(super) fn after(self, failure: Option<ErrorKind>) -> Self {
        match failure {
            _ if self == Self::Answered => self,
            None => Self::Answered,
            Some(ErrorKind::NotSent) => Self::Unreachable,
            Some(ErrorKind::Lost | ErrorKind::Unusable) => Self::Unknown,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Down {
    since: Instant,
    wait: Duration,
    next_probe: Instant,
    probing: bool,
}

impl Breaker {
    /// A breaker for `targets` targets and `concurrency` calls in flight. If a run is too small to distinguish an
    /// outage from a few bad targets, its retries are free. `costly_failures` is how many of the last calls of earlier
    /// runs cost money without an answer: if there were many, the first costly failure opens the breaker, except in a
    /// small run.
    pub(super) fn new(concurrency: u32, targets: usize, costly_failures: u32) -> Self {
        let threshold = concurrency.saturating_mul(2).max(MIN_THRESHOLD);
        let small = targets <= threshold as usize;
        let most_tokens = if small { f64::INFINITY } else { f64::from(threshold) };
        Self {
            threshold,
            most_tokens,
            tokens: if small { f64::INFINITY } else { 0.0 },
            failures_in_a_row: 0,
            targets_in_a_row: 0,
            counts_costs: targets > MIN_THRESHOLD as usize,
            costly_in_a_row: if small { 0 } else { costly_failures.min(MIN_THRESHOLD - 1) },
            successes: 0,
            down: None,
        }
    }

    /// What may be sent now.
    pub(super) fn admission(&self, now: Instant) -> Admission {
        match self.down {
            Some(down) if down.probing => Admission::AfterProbe,
            Some(down) if down.next_probe > now => Admission::NotBefore(down.next_probe),
            _ if self.tokens >= 1.0 => Admission::Now(Allowed::Everything),
            _ => Admission::Now(Allowed::FirstCalls),
        }
    }

    /// How many calls may be in flight, at most `concurrency`. Calls are sent one at a time from the first costly
    /// failure on if no call of this run has succeeded.
    pub(super) fn max_in_flight(&self, concurrency: u32) -> u32 {
        match self.costly_in_a_row {
            1.. if self.successes == 0 => 1,
            failures => concurrency.saturating_sub(failures).max(1),
        }
    }

    /// Whether a target itself causes its failures: the API has answered others since the first of them.
    pub(super) fn attributes_to_target(&self, first_failure: Option<FirstFailure>) -> bool {
        first_failure.is_some_and(|first| first.successes_before < self.successes)
    }

    /// A call is sent; `first_failure` is that of its target, if any. Returns whether it is a probe.
    pub(super) fn on_send(&mut self, is_first_call: bool, first_failure: Option<FirstFailure>) -> bool {
        let change = match is_first_call {
            true => EARNED_BY_FIRST_CALL,
            false if self.attributes_to_target(first_failure) => 0.0,
            false => -1.0,
        };
        self.tokens = (self.tokens + change).clamp(0.0, self.most_tokens);
        match &mut self.down {
            Some(down) => {
                down.probing = true;
                true
            }
            None => false,
        }
    }

    /// Only retries are left and no tokens. They continue as probes, or freely if the API has answered before: they are
    /// too few to indicate an outage.
    pub(super) fn on_exhausted(&mut self, now: Instant) {
        match self.down {
            None if self.successes == 0 => self.trip(now),
            None => self.tokens = self.tokens.max(1.0),
            Some(_) => {}
        }
    }

    /// The API cannot be reached, and more calls would show nothing new: from now on, only single probes are sent.
    pub(super) fn on_unreachable(&mut self, now: Instant) {
        if self.down.is_none() {
            self.trip(now);
        }
    }

    /// The API has answered, with data or an error: it is up.
    pub(super) fn on_response(&mut self) {
        self.successes += 1;
        self.failures_in_a_row = 0;
        self.targets_in_a_row = 0;
        self.costly_in_a_row = 0;
        self.tokens = (self.tokens + EARNED_BY_ANSWER).min(self.most_tokens);
        if self.down.take().is_some() {
            self.tokens = self.tokens.max(f64::from(self.threshold) / 2.0);
        }
    }

    /// A call failed in a way that may be due to an outage; `is_costly`: it was billed, or may have been. Returns the
    /// first failure of its target.
    pub(super) fn on_failure(
        &mut self,
        now: Instant,
        probe: bool,
        is_costly: bool,
        first_failure: Option<FirstFailure>,
    ) -> FirstFailure {
        if !self.attributes_to_target(first_failure) {
            let is_new = first_failure.is_none();
            self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
            self.targets_in_a_row = self.targets_in_a_row.saturating_add(u32::from(is_new));
            let is_counted = is_new && is_costly && self.counts_costs;
            self.costly_in_a_row = self.costly_in_a_row.saturating_add(u32::from(is_counted));
        }
        // Once the API has answered, a few targets that always fail are not an outage: only failures of different
        // targets count.
        let in_a_row = if self.successes == 0 { self.failures_in_a_row } else { self.targets_in_a_row };
        let max_costly = if self.successes == 0 { MIN_THRESHOLD } else { MIN_THRESHOLD.max(self.threshold / 2) };
        match &mut self.down {
            Some(down) if probe => {
                down.wait = (down.wait * 2).min(if is_costly { MAX_COSTLY_PROBE_WAIT } else { MAX_PROBE_WAIT });
                down.next_probe = now + down.wait;
                down.probing = false;
            }
            Some(_) => {}
            None if in_a_row >= self.threshold || self.costly_in_a_row >= max_costly => self.trip(now),
            None => {}
        }
        first_failure.unwrap_or(FirstFailure { successes_before: self.successes })
    }

    /// A probe was called off before it was sent.
    pub(super) fn on_cancelled(&mut self) {
        if let Some(down) = &mut self.down {
            down.probing = false;
        }
    }

    /// Since when the API has been down.
    pub(super) fn down_since(&self) -> Option<Instant> {
        self.down.map(|down| down.since)
    }

    fn trip(&mut self, now: Instant) {
        let next_probe = now + FIRST_PROBE;
        self.down = Some(Down { since: now, wait: FIRST_PROBE, next_probe, probing: false });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERYTHING: Admission = Admission::Now(Allowed::Everything);

    #[tokio::test(start_paused = true)]
    async fn two_rounds_of_failures_leave_only_probes() {
        let mut breaker = Breaker::new(20, 1_000, 0);
        for call in 0..40 {
            assert!(!matches!(breaker.admission(Instant::now()), Admission::NotBefore(_)), "call {call}");
            let probe = breaker.on_send(true, None);
            breaker.on_failure(Instant::now(), probe, false, None);
        }
        let first = Instant::now() + FIRST_PROBE;
        assert_eq!(breaker.admission(Instant::now()), Admission::NotBefore(first));
        tokio::time::advance(FIRST_PROBE).await;
        assert_eq!(breaker.admission(Instant::now()), EVERYTHING);
        assert!(breaker.on_send(false, None));
        assert_eq!(breaker.admission(Instant::now()), Admission::AfterProbe);
        breaker.on_failure(Instant::now(), true, false, None);
        assert_eq!(breaker.admission(Instant::now()), Admission::NotBefore(Instant::now() + 2 * FIRST_PROBE));
        breaker.on_response();
        assert_eq!(breaker.admission(Instant::now()), EVERYTHING);
    }

    #[tokio::test(start_paused = true)]
    async fn under_a_total_outage_retries_stay_under_a_tenth() {
        let mut breaker = Breaker::new(20, 100_000, 0);
        let (mut first_tries, mut retries) = (0_u32, 0_u32);
        let end = Instant::now() + Duration::from_mins(10);
        while Instant::now() < end {
            let retry = match breaker.admission(Instant::now()) {
                Admission::Now(allowed) => allowed == Allowed::Everything,
                Admission::NotBefore(moment) => {
                    tokio::time::sleep_until(moment).await;
                    continue;
                }
                Admission::AfterProbe => unreachable!("no call is left open here"),
            };
            let probe = breaker.on_send(!retry, None);
            *(if retry { &mut retries } else { &mut first_tries }) += 1;
            breaker.on_failure(Instant::now(), probe, false, None);
        }
        assert!(retries * 10 <= first_tries, "{retries} retries, {first_tries} first tries");
        assert!(first_tries + retries < 100, "the breaker was open");
    }

    #[tokio::test(start_paused = true)]
    async fn occasional_failures_are_retried_freely() {
        let mut breaker = Breaker::new(20, 100_000, 0);
        for _ in 0..100 {
            breaker.on_send(true, None);
            breaker.on_response();
        }
        for _ in 0..30 {
            assert_eq!(breaker.admission(Instant::now()), EVERYTHING);
            let probe = breaker.on_send(false, None);
            breaker.on_failure(Instant::now(), probe, false, None);
        }
    }

    /// Consecutive failed calls, each for another target.
    fn fail(breaker: &mut Breaker, targets: u32) {
        for _ in 0..targets {
            let probe = breaker.on_send(true, None);
            breaker.on_failure(Instant::now(), probe, false, None);
        }
    }

    /// How many retries may be sent in a row.
    fn retries(breaker: &Breaker) -> u32 {
        const MANY: u32 = 1_000;
        let mut breaker = Breaker { down: None, ..*breaker };
        let may_go_out = |_: &u32| {
            let is_open = breaker.admission(Instant::now()) == EVERYTHING;
            breaker.on_send(false, None);
            is_open
        };
        u32::try_from((0..MANY).take_while(may_go_out).count()).expect("small")
    }

    #[tokio::test(start_paused = true)]
    async fn probes_are_sent_at_growing_intervals_until_the_api_answers() {
        let mut breaker = Breaker::new(20, 1_000, 0);
        fail(&mut breaker, 39);
        assert_eq!(breaker.down_since(), None);
        fail(&mut breaker, 1);
        let since = Instant::now();
        for wait in [1, 2, 4, 8, 16, 30, 30] {
            let moment = Instant::now() + Duration::from_secs(wait);
            assert_eq!(breaker.admission(moment - Duration::from_nanos(1)), Admission::NotBefore(moment));
            tokio::time::advance(Duration::from_secs(wait)).await;
            assert_eq!(breaker.admission(moment), EVERYTHING);
            assert!(breaker.on_send(true, None), "a probe");
            // A call from before the outage returns and changes nothing.
            breaker.on_failure(moment, false, false, None);
            assert_eq!(breaker.admission(moment), Admission::AfterProbe);
            breaker.on_failure(moment, true, false, None);
        }
        assert_eq!(breaker.down_since(), Some(since));
        tokio::time::advance(MAX_PROBE_WAIT).await;
        breaker.on_send(true, None);
        breaker.on_cancelled();
        assert_eq!(breaker.admission(Instant::now()), EVERYTHING);
        breaker.on_response();
        assert_eq!((breaker.down_since(), breaker.admission(Instant::now())), (None, EVERYTHING));
        assert!(!breaker.on_send(true, None), "an ordinary call");
        fail(&mut breaker, 39);
        assert_eq!(breaker.down_since(), None, "what failed before is forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_that_cost_money_take_effect_sooner() {
        let now = Instant::now();
        let mut breaker = Breaker::new(20, 1_000, 0);
        assert_eq!(breaker.max_in_flight(20), 20);
        for call in 1..MIN_THRESHOLD {
            breaker.on_failure(now, false, true, None);
            assert_eq!((breaker.max_in_flight(20), breaker.down_since()), (1, None), "{call}: no call has succeeded");
        }
        breaker.on_failure(now, false, true, None);
        assert_eq!(breaker.down_since(), Some(now));
        for _ in 0..10 {
            breaker.on_failure(now, true, true, None);
        }
        assert_eq!(breaker.admission(now), Admission::NotBefore(now + MAX_COSTLY_PROBE_WAIT));

        breaker.on_response();
        assert_eq!(breaker.max_in_flight(20), 20);
        for call in 1..20 {
            breaker.on_failure(now, false, true, None);
            assert_eq!((breaker.max_in_flight(20), breaker.down_since()), (20 - call, None), "a call has succeeded");
        }
        breaker.on_failure(now, false, true, None);
        assert_eq!((breaker.max_in_flight(20), breaker.down_since()), (1, Some(now)));

        let mut resumed = Breaker::new(20, 1_000, 500);
        assert_eq!((resumed.max_in_flight(20), resumed.down_since()), (1, None));
        resumed.on_failure(now, false, true, None);
        assert_eq!(resumed.down_since(), Some(now));
    }

    #[test]
    fn once_a_call_was_answered_the_api_counts_as_reached() {
        let check = |before: Reachability, failure: Option<ErrorKind>, expected: Reachability| {
            assert_eq!(before.after(failure), expected, "{before:?} {failure:?}");
        };
        check(Reachability::Unknown, Some(ErrorKind::NotSent), Reachability::Unreachable);
        check(Reachability::Unreachable, Some(ErrorKind::NotSent), Reachability::Unreachable);
        check(Reachability::Unreachable, Some(ErrorKind::Lost), Reachability::Unknown);
        check(Reachability::Unreachable, None, Reachability::Answered);
        check(Reachability::Answered, Some(ErrorKind::NotSent), Reachability::Answered);
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_that_cannot_be_reached_is_probed_from_the_first_failure_on() {
        let (mut breaker, now) = (Breaker::new(20, 1_000, 0), Instant::now());
        breaker.on_unreachable(now);
        assert_eq!(breaker.admission(now), Admission::NotBefore(now + FIRST_PROBE));
        breaker.on_unreachable(now + FIRST_PROBE);
        assert_eq!(breaker.down_since(), Some(now), "nothing changes");
    }

    #[tokio::test(start_paused = true)]
    async fn a_first_call_earns_a_tenth_of_a_retry_and_a_success_two() {
        let check = |first_tries: u32, successes: u32, expected: u32| {
            let mut breaker = Breaker::new(20, 1_000, 0);
            for _ in 0..first_tries {
                breaker.on_send(true, None);
            }
            (0..successes).for_each(|_| breaker.on_response());
            assert_eq!(retries(&breaker), expected, "{first_tries} first tries, {successes} successes");
        };
        check(0, 0, 0);
        check(9, 0, 0);
        check(11, 0, 1);
        check(25, 0, 2);
        check(0, 1, 2);
        check(25, 3, 8);
        check(0, 20, 40);
        // At most two rounds
        check(0, 100, 40);
        check(1_000, 0, 40);
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_with_no_more_targets_than_two_rounds_retries_freely() {
        let check = |concurrency: u32, targets: usize, freely: bool| {
            let breaker = Breaker::new(concurrency, targets, 0);
            assert_eq!(retries(&breaker), if freely { 1_000 } else { 0 }, "{concurrency} in flight, {targets} targets");
        };
        check(20, 40, true);
        check(20, 41, false);
        check(1, 10, true);
        check(1, 11, false);
    }

    #[tokio::test(start_paused = true)]
    async fn a_round_of_retries_may_be_sent_at_once_after_an_outage() {
        let mut breaker = Breaker::new(20, 1_000, 0);
        fail(&mut breaker, 40);
        breaker.on_response();
        assert_eq!(retries(&breaker), 20);
        let mut breaker = Breaker::new(20, 1_000, 0);
        fail(&mut breaker, 39);
        breaker.on_response();
        assert_eq!(retries(&breaker), 5, "no outage");
    }

    #[tokio::test(start_paused = true)]
    async fn a_target_that_fails_while_others_succeed_is_the_cause() {
        let mut breaker = Breaker::new(1, 1_000, 0);
        let now = Instant::now();
        let bad = breaker.on_failure(now, false, false, None);
        assert!(
            !breaker.attributes_to_target(None) && !breaker.attributes_to_target(Some(bad)),
            "no call has succeeded"
        );
        breaker.on_response();
        assert!(breaker.attributes_to_target(Some(bad)) && !breaker.attributes_to_target(None));
        // Its retries are free and its failures do not count.
        let before = retries(&breaker);
        for _ in 0..50 {
            breaker.on_send(false, Some(bad));
            assert_eq!(breaker.on_failure(now, false, false, Some(bad)), bad);
        }
        assert_eq!((retries(&breaker), breaker.down_since()), (before, None));
        // Once the API has answered, one failing target is not an outage, but ten are.
        let late = breaker.on_failure(now, false, false, None);
        for _ in 0..50 {
            breaker.on_failure(now, false, false, Some(late));
        }
        assert_eq!(breaker.down_since(), None);
        fail(&mut breaker, 8);
        assert_eq!(breaker.down_since(), None);
        fail(&mut breaker, 1);
        assert_eq!(breaker.down_since(), Some(now));
        // Before that, any ten failures are an outage.
        let mut breaker = Breaker::new(1, 1_000, 0);
        let first = breaker.on_failure(now, false, false, None);
        for _ in 0..8 {
            breaker.on_failure(now, false, false, Some(first));
        }
        assert_eq!(breaker.down_since(), None);
        breaker.on_failure(now, false, false, Some(first));
        assert_eq!(breaker.down_since(), Some(now));
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_retries_continue_as_probes_or_freely_if_the_api_has_answered() {
        let now = Instant::now();
        let mut silent = Breaker::new(20, 1_000, 0);
        silent.on_exhausted(now);
        assert_eq!(silent.admission(now), Admission::NotBefore(now + FIRST_PROBE));
        silent.on_exhausted(now + FIRST_PROBE);
        assert_eq!(silent.down_since(), Some(now), "nothing changes");
        let mut answering = Breaker::new(20, 1_000, 0);
        answering.on_response();
        assert_eq!(retries(&answering), 2);
        answering.on_exhausted(now);
        assert_eq!(retries(&answering), 2, "what is earned is kept");
        for _ in 0..2 {
            answering.on_send(false, None);
        }
        assert_eq!(answering.admission(now), Admission::Now(Allowed::FirstCalls));
        answering.on_exhausted(now);
        assert_eq!((answering.admission(now), retries(&answering)), (EVERYTHING, 1));
    }
}
