//! The targets that are left to call: those not tried yet, in input order, and those that wait for another try.
//!
//! A waiting target does not count as a call in flight. Targets whose wait is over take precedence over new ones.

use std::{
    collections::{BTreeMap, VecDeque},
    iter::Peekable,
};

use tokio::time::Instant;

use super::{judge::TargetAttempts, retry::Waits};
use crate::{money::Usd, targets::Target};

/// The first failure of a target that may be due to an outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FirstFailure {
    /// How often the API had answered by then.
    pub(super) successes_before: u64,
}

/// A target that is being called.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) target: Target,
    /// Calls made so far in this run.
    pub(super) calls: u32,
    pub(super) tried: TargetAttempts,
    pub(super) waits: Waits,
    /// Its first failure that may be due to an outage.
    pub(super) first_failure: Option<FirstFailure>,
    /// The minimum cost of the next call, once a price was refused.
    pub(super) min_price_limit: Option<Usd>,
}

impl Job {
    fn new(target: Target) -> Self {
        Self {
            target,
            calls: 0,
            tried: TargetAttempts::default(),
            waits: Waits::default(),
            first_failure: None,
            min_price_limit: None,
        }
    }
}

/// The targets that are left, in the order of their calls.
pub(super) struct Queue<I: Iterator<Item = Target>> {
    fresh: Peekable<I>,
    /// By due time, then in order of arrival.
    waiting: BTreeMap<(Instant, u64), Job>,
    ready: VecDeque<Job>,
    arrivals: u64,
}

impl<I: Iterator<Item = Target>> Queue<I> {
    pub(super) fn new(targets: I) -> Self {
        Self { fresh: targets.peekable(), waiting: BTreeMap::new(), ready: VecDeque::new(), arrivals: 0 }
    }

    /// Retries a target at `due`.
    pub(super) fn again(&mut self, job: Job, due: Instant) {
        self.arrivals += 1;
        self.waiting.insert((due, self.arrivals), job);
    }

    /// Puts a target back at the front.
    pub(super) fn put_back(&mut self, job: Job) {
        self.ready.push_front(job);
    }

    /// Takes the next target that is due. Retries are returned only if they are `allowed`, or if the target
    /// `failed_alone`: the API has answered others since its first failure.
    ///
    /// During an outage, the target that has lost the fewest answers comes first: each lost answer may have been
    /// billed, so a target is given up after a few of them.
    pub(super) fn next(&mut self, now: Instant, allowed: Allowed, failed_alone: impl Fn(&Job) -> bool) -> Option<Job> {
        while let Some(entry) = self.waiting.first_entry().filter(|entry| entry.key().0 <= now) {
            self.ready.push_back(entry.remove());
        }
        let ready = match allowed {
            Allowed::Everything => {
                let lost = |job: &Job| if failed_alone(job) { 0 } else { job.tried.maybe_billed };
                let fewest = self.ready.iter().map(lost).enumerate().min_by_key(|(_, lost)| *lost);
                fewest.filter(|(_, lost)| *lost == 0 || self.fresh.peek().is_none()).map(|(index, _)| index)
            }
            Allowed::FirstCalls => self.ready.iter().position(|job| job.calls == 0 || failed_alone(job)),
        };
        ready.and_then(|index| self.ready.remove(index)).or_else(|| self.fresh.next().map(Job::new))
    }

    /// When the next waiting target is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.waiting.keys().next().map(|(due, _)| *due)
    }

    /// Whether a retry is due.
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Whether a target is left that has not been called.
    pub(super) fn has_fresh(&mut self) -> bool {
        self.fresh.peek().is_some()
    }

    /// Whether nothing is left.
    pub(super) fn is_empty(&mut self) -> bool {
        self.ready.is_empty() && self.waiting.is_empty() && self.fresh.peek().is_none()
    }
}

/// Which targets may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allowed {
    /// All that are due.
    Everything,
    /// Only targets that have not been called yet.
    FirstCalls,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn target(name: &str) -> Target {
        crate::targets::clean(name, crate::targets::Accept::DOMAINS).expect("a domain").target
    }

    #[tokio::test(start_paused = true)]
    async fn retries_come_first_when_they_are_due_and_allowed() {
        let mut queue = Queue::new(["a.com", "b.com", "c.com"].map(target).into_iter());
        let mut first = queue.next(Instant::now(), Allowed::Everything, |_| false).expect("a target");
        first.calls = 1;
        queue.again(first, Instant::now() + Duration::from_secs(1));
        let name = |job: Option<Job>| job.map(|job| job.target.to_string());
        assert_eq!(name(queue.next(Instant::now(), Allowed::Everything, |_| false)).as_deref(), Some("b.com"));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(name(queue.next(Instant::now(), Allowed::FirstCalls, |_| false)).as_deref(), Some("c.com"));
        assert_eq!(name(queue.next(Instant::now(), Allowed::FirstCalls, |_| false)), None);
        assert!(queue.has_ready() && !queue.is_empty());
        assert_eq!(name(queue.next(Instant::now(), Allowed::Everything, |_| false)).as_deref(), Some("a.com"));
        assert!(queue.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn targets_due_together_or_put_back_are_not_lost() {
        let mut queue = Queue::new(["a.com", "b.com"].map(target).into_iter());
        let due = Instant::now();
        for _ in 0..2 {
            let mut job = queue.next(due, Allowed::FirstCalls, |_| false).expect("a target");
            job.calls = 1;
            queue.again(job, due + Duration::from_secs(1));
        }
        assert_eq!(queue.next_due(), Some(due + Duration::from_secs(1)));
        tokio::time::advance(Duration::from_secs(1)).await;
        let first = queue.next(Instant::now(), Allowed::Everything, |_| false).expect("a target");
        assert_eq!(first.target.as_str(), "a.com");
        queue.put_back(first);
        let again = [0, 1]
            .map(|_| queue.next(Instant::now(), Allowed::Everything, |_| false).map(|job| job.target.to_string()));
        assert_eq!(again, [Some("a.com".to_owned()), Some("b.com".to_owned())]);
        assert!(queue.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_target_that_has_lost_the_fewest_answers_comes_first_in_an_outage() {
        let check = |lost: &[u32], fresh: &[&str], failed_alone: bool, expected: &str| {
            let mut queue = Queue::new(fresh.iter().map(|name| target(name)));
            for (number, lost) in lost.iter().enumerate() {
                let mut job = Job::new(target(&format!("retry{number}.com")));
                job.calls = 1;
                job.tried.maybe_billed = *lost;
                queue.again(job, Instant::now());
            }
            let next = queue.next(Instant::now(), Allowed::Everything, |_| failed_alone).expect("a target");
            assert_eq!(next.target.as_str(), expected, "{lost:?} lost, {fresh:?}, failed alone: {failed_alone}");
        };
        check(&[], &["fresh.com"], false, "fresh.com");
        check(&[0, 0], &["fresh.com"], false, "retry0.com");
        check(&[1, 0], &["fresh.com"], false, "retry1.com");
        check(&[1, 2], &["fresh.com"], false, "fresh.com");
        check(&[2, 1, 1], &[], false, "retry1.com");
        check(&[2, 1], &["fresh.com"], true, "retry0.com");
    }

    #[tokio::test(start_paused = true)]
    async fn without_retries_only_untried_or_free_targets_are_called() {
        let mut queue = Queue::new(["a.com", "b.com"].map(target).into_iter());
        let next = |queue: &mut Queue<_>, free: bool| queue.next(Instant::now(), Allowed::FirstCalls, |_| free);
        assert!(!queue.has_ready());
        let untried = next(&mut queue, false).expect("a target");
        queue.put_back(untried);
        assert!(queue.has_ready());
        let mut tried = next(&mut queue, false).expect("one that was not called yet");
        assert_eq!(tried.target.as_str(), "a.com");
        tried.calls = 1;
        queue.put_back(tried);
        assert_eq!(next(&mut queue, false).expect("the one behind").target.as_str(), "b.com");
        assert!(next(&mut queue, false).is_none());
        assert_eq!(next(&mut queue, true).expect("free").target.as_str(), "a.com");
    }
}
