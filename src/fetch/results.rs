//! The receiving half of the loop: what a call's result means for its target and for the run.

use std::sync::Arc;

use tokio::time::{Duration, Instant};

use super::{
    Fetch, Journal, StopReason,
    attempt::{Attempted, CallResult, Grant},
    circuit_breaker::Reachability,
    consecutive_failures::{MAX_BILLED_FAILURES, is_billed_failure},
    judge::{self, Decision, MAX_REFUSED_TARGETS, RunFacts, Stop},
    queue::Job,
};
use crate::{
    api::{
        Api, BodyForm,
        call_events::GaveUp,
        status::{Assessment, Class},
    },
    money::Usd,
    targets::Target,
};

/// A target whose call is answered with a longer `Retry-After` is given up at once, regardless of `--max-attempts`;
/// the next run tries it again.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(10);

impl<A: Api, J: Journal, I: ExactSizeIterator<Item = Target>> Fetch<A, J, I> {
    /// Applies the result of a call to the budget, the breaker and the queue. Returns the target if it is given up.
    pub(super) fn handle_result(&mut self, attempted: Attempted) -> Option<GaveUp> {
        let Attempted { mut job, grant: Grant { slot, reservation, form, is_probe }, result } = attempted;
        let Some(result) = result else {
            self.budget.release(reservation);
            if is_probe {
                self.breaker.on_cancelled();
            }
            self.queue.put_back(job);
            return None;
        };
        let now = Instant::now();
        self.budget.settle(reservation, result.assessment.cost);
        self.learn(&mut job, &result, is_probe, now);
        // HTTP 429 asks for fewer calls, even with a complete answer.
        let is_rejected = result.assessment.class == Class::SlowDown || result.assessment.http_status == Some(429);
        let hold = result.retry_after.filter(|wait| is_rejected && *wait <= MAX_RETRY_AFTER);
        self.pacer.on_result(now, &slot, is_rejected, hold);
        let CallResult { assessment, retry_after, .. } = result;
        let is_refused = matches!(assessment.class, Class::Refused(_));
        let run_facts = RunFacts {
            max_attempts: self.limits.max_attempts.get(),
            proven: self.proven,
            other_form: form != self.form || self.other_form,
            refused_targets: self.refused_targets.count(assessment.class, is_refused && job.tried.refused == 1),
            // A run of one or two targets cannot reach the maximum: it ends if all of them are refused.
            max_refused_targets: if self.proven { MAX_REFUSED_TARGETS } else { MAX_REFUSED_TARGETS.min(self.count) },
        };
        let decision = judge::judge(assessment.class, job.tried, run_facts);
        // The others wait for the first call only while the form of the body is unknown.
        self.first_call_returned |= decision != Decision::OtherForm;
        match decision {
            Decision::Done => {}
            Decision::Retry if retry_after.is_some_and(|wait| wait > MAX_RETRY_AFTER) => {
                return Some(self.give_up(job, assessment.class));
            }
            Decision::Retry => {
                let wait = job.waits.next(retry_after);
                self.queue.again(job, now + wait);
            }
            Decision::OtherForm => {
                if form == self.form {
                    self.other_form = false;
                    self.form = match form {
                        BodyForm::Array => BodyForm::Object,
                        BodyForm::Object => BodyForm::Array,
                    };
                }
                self.queue.put_back(job);
            }
            Decision::RaiseLimit => match reservation.price_limit() {
                Some(refused) => {
                    job.min_price_limit = Some(refused.plus(Usd::from_micros(1)));
                    self.queue.put_back(job);
                }
                // A price was refused although there was no limit.
                None => return Some(self.give_up(job, assessment.class)),
            },
            Decision::GiveUp => return Some(self.give_up(job, assessment.class)),
            Decision::Stop(Stop::Fatal(fatal)) => {
                let message = if is_refused { Some(refusal(&job, &assessment)) } else { assessment.message };
                self.stop(StopReason::Fatal { fatal, message });
            }
            Decision::Stop(Stop::Refused) => self.stop(StopReason::Refused { message: refusal(&job, &assessment) }),
            Decision::Stop(Stop::Contract) => self.stop(StopReason::Contract { message: assessment.message }),
        }
        None
    }

    /// Updates what is known about the API and the target.
    fn learn(&mut self, job: &mut Job, result: &CallResult, is_probe: bool, now: Instant) {
        let assessment = &result.assessment;
        self.reachability = self.reachability.after(result.failure);
        // Calls during an outage reveal nothing about their target.
        let is_counted = !is_probe && self.breaker.down_since().is_none();
        job.tried.attempts += u32::from(is_counted);
        match assessment.class {
            Class::Transient | Class::SlowDown | Class::MaybeBilled => {
                let is_costly = assessment.cost.is_costly();
                job.tried.maybe_billed += u32::from(is_costly);
                job.first_failure = Some(self.breaker.on_failure(now, is_probe, is_costly, job.first_failure));
                self.last_failure = assessment.message.as_deref().map(Arc::from);
                if self.reachability == Reachability::Unreachable {
                    self.breaker.on_unreachable(now);
                }
            }
            _ => self.breaker.on_response(),
        }
        match assessment.class {
            Class::Data | Class::NoData => self.proven = true,
            Class::WrongTarget => job.tried.wrong_target += 1,
            Class::Refused(_) => job.tried.refused += 1,
            _ => {}
        }
        let is_first = assessment.class != Class::WrongTarget || job.tried.wrong_target == 1;
        let failures = self.billed_failures.count(assessment.class, is_first && is_billed_failure(assessment));
        if failures >= MAX_BILLED_FAILURES && self.queue.has_fresh() {
            let words = match assessment.class {
                Class::WrongTarget => "answered about another target",
                _ => assessment.message.as_deref().unwrap_or("no reason given"),
            };
            let message = format!("{failures} targets in a row, the last {}: {words}", job.target);
            self.stop(StopReason::BilledFailures { message });
        }
    }

    fn give_up(&self, job: Job, class: Class) -> GaveUp {
        GaveUp { target: job.target, at: self.call_context.clock.now(), class }
    }
}

/// `a.com: HTTP 403: <html>Forbidden</html>`: the target of the refused call, and the response.
fn refusal(job: &Job, assessment: &Assessment) -> String {
    let status = assessment.http_status.map(|status| format!("HTTP {status}"));
    let parts = [Some(job.target.to_string()), status, assessment.message.clone()];
    parts.into_iter().flatten().collect::<Vec<_>>().join(": ")
}
