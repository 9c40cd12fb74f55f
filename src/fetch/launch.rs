//! The sending half of the loop: which call may go out next, or what to wait for.

use std::sync::Arc;

use tokio::time::{Duration, Instant};

use super::{
    Fetch, FetchState, Journal, Step, StopReason,
    attempt::Grant,
    budget::ReserveError,
    circuit_breaker::{Admission, Reachability},
    queue::{Allowed, Job},
};
use crate::{api::Api, targets::Target};

/// If no call of a run was answered, an API that cannot be reached is given up this long after the first call, which
/// leaves time for five tries. Most likely, the URL, the network or a proxy is wrong.
const MAX_UNREACHABLE: Duration = Duration::from_secs(20);

impl<A: Api, J: Journal, I: ExactSizeIterator<Item = Target>> Fetch<A, J, I> {
    /// Starts one call if all guards allow it; otherwise returns what to wait for.
    pub(super) fn step(&mut self, now: Instant) -> Step {
        if self.ended.is_some() || self.queue.is_empty() {
            if self.running.is_empty() {
                return Step::Finished;
            }
            return self.wait(if self.ended.is_some() { FetchState::Finishing } else { FetchState::Calling }, None);
        }
        // A call counts as in flight until its answer is on disk, which limits how many answers a crash can cost.
        // While every answer is paid for and useless, one at a time is enough.
        let concurrency = if self.billed_failures.is_all() { 1 } else { self.limits.concurrency.get() };
        let max_in_flight = self.breaker.max_in_flight(concurrency) as usize;
        if self.running.len() >= max_in_flight || (!self.first_call_returned && !self.running.is_empty()) {
            return self.wait(FetchState::Calling, None);
        }
        let allowed = match self.admitted(now) {
            Ok(allowed) => allowed,
            Err(step) => return step,
        };
        let Some(job) = self.next_job(now, allowed) else {
            if self.queue.has_ready() && self.running.is_empty() && self.queue.next_due().is_none() {
                self.breaker.on_exhausted(now);
                return Step::Again;
            }
            return self.wait(FetchState::Calling, self.queue.next_due());
        };
        self.launch(job, now)
    }

    /// Which targets the breaker allows now; otherwise the step to take. Stops the run if the outage has lasted too
    /// long.
    fn admitted(&mut self, now: Instant) -> Result<Allowed, Step> {
        let give_up_at = self.give_up_at();
        if give_up_at.is_some_and(|moment| moment <= now) {
            let message = self.last_failure.as_deref().map(str::to_owned);
            self.stop(if self.reachability == Reachability::Unreachable {
                StopReason::Unreachable { message }
            } else {
                StopReason::Outage { message }
            });
            return Err(Step::Again);
        }
        let until = match self.breaker.admission(now) {
            Admission::Now(allowed) => return Ok(allowed),
            Admission::NotBefore(moment) => Some(give_up_at.map_or(moment, |give_up_at| give_up_at.min(moment))),
            Admission::AfterProbe => give_up_at,
        };
        let cause = self.last_failure.clone();
        Err(self.wait(FetchState::Outage { cause }, until))
    }

    /// When an outage will have lasted too long; `None`: there is no outage.
    fn give_up_at(&self) -> Option<Instant> {
        let give_up_at = self.breaker.down_since()? + self.limits.max_outage;
        let unreachable = self
            .first_sent
            .filter(|_| self.reachability == Reachability::Unreachable)
            .map(|first| first + MAX_UNREACHABLE);
        Some(unreachable.map_or(give_up_at, |earlier| earlier.min(give_up_at)))
    }

    /// The next target to call. During an outage, any remaining target may be the probe.
    fn next_job(&mut self, now: Instant, allowed: Allowed) -> Option<Job> {
        if self.breaker.down_since().is_none() {
            return self.queue.next(now, allowed, |job| self.breaker.attributes_to_target(job.first_failure));
        }
        let job = self.queue.next(now, allowed, |_| false);
        job.or_else(|| self.queue.next(now, Allowed::Everything, |_| false))
    }

    /// Reserves budget and a slot in the rate limit, and sends the call.
    fn launch(&mut self, mut job: Job, now: Instant) -> Step {
        let reservation = match self.budget.reserve(job.min_price_limit) {
            Ok(reservation) => reservation,
            Err(refused) => {
                self.queue.put_back(job);
                if refused == ReserveError::Exhausted && self.running.is_empty() {
                    self.stop(StopReason::Budget);
                    return Step::Again;
                }
                return self.wait(FetchState::Calling, None);
            }
        };
        let slot = match self.pacer.try_acquire(now) {
            Ok(slot) => slot,
            Err(until) => {
                self.budget.release(reservation);
                self.queue.put_back(job);
                let asked = self.pacer.held_until(now).map(|until| FetchState::AskedToWait(until - now));
                let until = self.give_up_at().map_or(until, |give_up_at| give_up_at.min(until));
                return self.wait(asked.unwrap_or(FetchState::RateLimit), Some(until));
            }
        };
        self.first_sent.get_or_insert(now);
        let is_probe = self.breaker.on_send(job.calls == 0, job.first_failure);
        job.calls += 1;
        self.set_state(FetchState::Calling);
        let grant = Grant { slot, reservation, form: self.form, is_probe };
        self.running.spawn(Arc::clone(&self.call_context).attempt(job, grant));
        Step::Again
    }
}
