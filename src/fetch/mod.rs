//! Fetching: every target that is left, called until it has its answer or is given up.
//!
//! ```text
//! queue -> [place in flight -> breaker -> budget -> pace] -> spawn: record, post, assess, record -> judge -> done | queue, later
//! ```
//!
//! One loop owns all decisions and shares no lock with the calls, which run as tasks. A call goes out
//! only when all four guards grant it, and every wait is on `tokio`'s clock. The first call of a run
//! goes alone: whatever is wrong with the token, the URL or the form of the body shows on one call.
//!
//! Nothing here knows where records are kept ([`Journal`]) or how calls travel ([`Api`]).

use std::{future::Future, num::NonZeroU32, pin::pin, sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinSet, time::Instant};

use crate::{
    api::{
        Api, BodyForm, Parameters,
        pricing::MaxPrice,
        record::{Answered, GaveUp, Sent},
        status::{Assessment, Class, Fatal},
    },
    clock::Clock,
    decode::{DecodeError, DecodedRows},
    money::Usd,
    targets::Target,
};

mod attempt;
mod budget;
mod judge;
mod outage;
pub mod pace;
mod queue;
mod refusals;
mod retry;

use self::{
    attempt::{Attempted, CallContext, CallResult, Grant, Unrecorded},
    budget::{Budget, ReserveError},
    judge::{Decision, MAX_REFUSED_TARGETS, RunContext, Stop},
    outage::{Admission, Breaker, Contact},
    pace::{Pacer, Rate},
    queue::{Allowed, Job, Queue},
    refusals::{BilledRefusals, MAX_BILLED_REFUSALS, RefusedTargets},
};

/// A longer `Retry-After` is not waited out: the target is left for the next run.
const LONGEST_RETRY_AFTER: Duration = Duration::from_mins(10);

/// How long, from a run's first call on, a host that cannot be reached is tried for, where no call of the run has been
/// answered: some four tries. One that is under way then ends within as much time again, before a person loses patience.
const MAX_UNREACHABLE: Duration = Duration::from_secs(15);

/// Where a fetch records what it does. A record is durable when its future is ready.
pub trait Journal: Send + Sync + 'static {
    /// Why a record could not be made durable. No further call goes out then; what comes of those in flight is still
    /// recorded, unless that fails too.
    type Error: Send + 'static;

    /// A call is about to go out.
    fn sent(&self, sent: &Sent) -> impl Future<Output = Result<(), Self::Error>> + Send;
    /// A call did not go out after all.
    fn called_off(&self, sent: &Sent) -> impl Future<Output = Result<(), Self::Error>> + Send;
    /// A call has its result. `rows` are the answer's, decoded beforehand unless they are too many.
    fn answered(
        &self,
        answered: &Answered,
        rows: Option<Result<DecodedRows, DecodeError>>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;
    /// A target is given up.
    fn gave_up(&self, gave_up: &GaveUp) -> impl Future<Output = Result<(), Self::Error>> + Send;
    /// What the fetch is waiting for, whenever that changes.
    fn state(&self, _state: &FetchState) {}
}

/// What a fetch is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchState {
    /// Calling as many as may be in flight.
    Calling,
    /// Waiting for the rate limit.
    RateLimit,
    /// Waiting because the server asked for it.
    AskedToWait(Duration),
    /// The API is down; a probe goes out now and then.
    Outage {
        /// What the last call met with.
        cause: Option<Arc<str>>,
    },
    /// No call goes out any more; those in flight are finished.
    Finishing,
}

/// How fast, how often and for how much money the API is called.
#[derive(Clone, Debug)]
pub struct FetchLimits {
    /// Calls in any sliding period, retries included.
    pub rate: Rate,
    /// Calls in flight at most.
    pub concurrency: NonZeroU32,
    /// Tries of one target at most.
    pub max_attempts: NonZeroU32,
    /// What may be spent in all, earlier runs of the directory included.
    pub max_cost: Option<Usd>,
    /// How long the API may be down before the run is left for later.
    pub max_outage: Duration,
    /// The form of the body; `None`: whichever the API understands.
    pub body: Option<BodyForm>,
}

/// What a fetch works with.
pub struct FetchContext<A, J> {
    pub api: Arc<A>,
    /// Where calls and results are recorded.
    pub journal: Arc<J>,
    /// The wall clock of the records.
    pub clock: Clock,
    /// The query parameters, the same for every target.
    pub parameters: Parameters,
    /// How fast, how often and for how much money.
    pub limits: FetchLimits,
    /// What earlier runs have left behind.
    pub earlier: PriorCalls,
}

/// What earlier runs have left behind.
#[derive(Clone, Debug, Default)]
pub struct PriorCalls {
    /// When calls went out that may still count for the rate.
    pub calls: Vec<Instant>,
    /// Money that is gone.
    pub spent: Usd,
    /// The highest prices of calls so far.
    pub max_price: MaxPrice,
    /// The form of body that the API has understood.
    pub form: Option<BodyForm>,
}

/// How a fetch ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchEnd {
    /// Every target has its answer or was given up.
    Done,
    /// Targets are left that cannot be called now.
    Stopped(StopReason),
    /// The caller asked to stop.
    Shutdown,
}

/// Why no call goes out any more while targets are left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The API cannot be used until a person has acted.
    Fatal {
        fatal: Fatal,
        /// What the API said.
        message: Option<String>,
    },
    /// The first answers, or many billed refusals alike, say that the calls are malformed.
    Contract {
        /// What the API said.
        message: Option<String>,
    },
    /// Several targets in a row were refused by something that is not the API.
    Refused {
        /// The last of them, and what came.
        message: String,
    },
    /// The API was down for too long.
    Outage {
        /// What the last call met with.
        message: Option<String>,
    },
    /// No call was answered: the host's name, its certificate or a proxy is in the way.
    Unreachable {
        /// What the last call met with.
        message: Option<String>,
    },
    /// What is left of the cap does not pay one more call.
    Budget,
    /// As many targets were called as this run may call.
    Limit,
}

/// Fetches `targets` until all are settled, the run has to stop, or `shutdown` is ready.
///
/// When this returns, no call is in flight and every call has its record.
pub async fn fetch<A: Api, J: Journal>(
    targets: impl ExactSizeIterator<Item = Target>,
    context: FetchContext<A, J>,
    shutdown: impl Future<Output = ()>,
) -> Result<FetchEnd, J::Error> {
    let mut shutdown = pin!(shutdown);
    let mut fetch = Fetch::new(targets, context);
    loop {
        let wait = match fetch.step(Instant::now()) {
            Step::Started => continue,
            Step::Finished => return fetch.failure.map_or(Ok(fetch.ended.unwrap_or(FetchEnd::Done)), Err),
            Step::Wait(until) => until,
        };
        let moment = wait.unwrap_or_else(Instant::now);
        tokio::select! {
            biased;
            () = &mut shutdown, if fetch.ended.is_none() => fetch.end(FetchEnd::Shutdown),
            Some(attempted) = fetch.running.join_next() => {
                let attempted = attempted.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
                match attempted {
                    Ok(attempted) => fetch.take(attempted).await?,
                    Err(Unrecorded::Call(error)) => fetch.fail(error),
                    Err(Unrecorded::Result(error)) => return Err(fetch.failure.unwrap_or(error)),
                }
            }
            () = tokio::time::sleep_until(moment), if wait.is_some() => {}
        }
    }
}

struct Fetch<A, J: Journal, I: Iterator<Item = Target>> {
    queue: Queue<I>,
    limits: FetchLimits,
    /// Targets of this run.
    count: u32,
    budget: Budget,
    breaker: Breaker,
    refusals: BilledRefusals,
    refused_targets: RefusedTargets,
    pacer: Pacer,
    running: JoinSet<Result<Attempted, Unrecorded<J::Error>>>,
    form: BodyForm,
    /// Whether the other form can still be tried.
    other_form: bool,
    /// Whether the API has understood a call.
    proven: bool,
    /// Whether the first call is back.
    first_is_back: bool,
    ended: Option<FetchEnd>,
    /// Why no further call can be recorded.
    failure: Option<J::Error>,
    last_failure: Option<Arc<str>>,
    /// When the first call of this run went out.
    first_sent: Option<Instant>,
    contact: Contact,
    close: watch::Sender<bool>,
    call_context: CallContext<A, J>,
    state: FetchState,
}

enum Step {
    /// A call went out, or something else changed; look again.
    Started,
    /// Nothing is left and nothing in flight.
    Finished,
    /// Nothing can go out before this moment, or before a call is back.
    Wait(Option<Instant>),
}

impl<A: Api, J: Journal, I: ExactSizeIterator<Item = Target>> Fetch<A, J, I> {
    fn new(targets: I, context: FetchContext<A, J>) -> Self {
        let FetchContext { api, journal, clock, parameters, limits, earlier } = context;
        let (concurrency, count) = (limits.concurrency.get(), targets.len());
        let (close, closed) = watch::channel(false);
        let parameters = Arc::new(parameters);
        Self {
            queue: Queue::new(targets),
            budget: Budget::new(limits.max_cost, earlier.spent, earlier.max_price),
            breaker: Breaker::new(concurrency, count),
            count: u32::try_from(count).unwrap_or(u32::MAX),
            refusals: BilledRefusals::default(),
            refused_targets: RefusedTargets::default(),
            pacer: Pacer::new(limits.rate, earlier.calls),
            running: JoinSet::new(),
            form: limits.body.or(earlier.form).unwrap_or(BodyForm::Array),
            other_form: limits.body.is_none(),
            proven: earlier.form.is_some(),
            first_is_back: false,
            ended: None,
            failure: None,
            last_failure: None,
            first_sent: None,
            contact: Contact::Unknown,
            close,
            call_context: CallContext { api, journal, parameters, clock, decoders: Arc::default(), closed },
            state: FetchState::Calling,
            limits,
        }
    }

    /// Starts one call if all guards grant it; else returns what to wait for.
    fn step(&mut self, now: Instant) -> Step {
        if self.ended.is_some() || self.queue.is_empty() {
            if self.running.is_empty() {
                return Step::Finished;
            }
            return self.wait(if self.ended.is_some() { FetchState::Finishing } else { FetchState::Calling }, None);
        }
        // A call counts as in flight until its answer is on disk, which limits how many answers a crash can cost.
        let concurrency = self.limits.concurrency.get() as usize;
        if self.running.len() >= concurrency || (!self.first_is_back && !self.running.is_empty()) {
            return self.wait(FetchState::Calling, None);
        }
        let (allowed, probe) = match self.admitted(now) {
            Ok(admitted) => admitted,
            Err(step) => return step,
        };
        let Some(job) = self.next_job(now, allowed, probe) else {
            if self.queue.has_ready() && self.running.is_empty() && self.queue.next_due().is_none() {
                self.breaker.on_exhausted(now);
                return Step::Started;
            }
            return self.wait(FetchState::Calling, self.queue.next_due());
        };
        self.launch(job, probe, now)
    }

    /// Whether the breaker lets anything out, and what.
    fn admitted(&mut self, now: Instant) -> Result<(Allowed, bool), Step> {
        let give_up_at = self.give_up_at();
        if give_up_at.is_some_and(|moment| moment <= now) {
            let message = self.last_failure.as_deref().map(str::to_owned);
            self.stop(if self.contact == Contact::Unreachable {
                StopReason::Unreachable { message }
            } else {
                StopReason::Outage { message }
            });
            return Err(Step::Started);
        }
        let until = match self.breaker.admission(now) {
            Admission::Open => return Ok((Allowed::Everything, false)),
            Admission::FirstTries => return Ok((Allowed::FirstTries, false)),
            Admission::Probe { retry: true } => return Ok((Allowed::Everything, true)),
            Admission::Probe { retry: false } => return Ok((Allowed::FirstTries, true)),
            Admission::NotBefore(moment) => give_up_at.min(Some(moment)),
            Admission::AfterProbe => give_up_at,
        };
        let cause = self.last_failure.clone();
        Err(self.wait(FetchState::Outage { cause }, until))
    }

    /// When an outage has lasted for too long; `None`: there is none.
    fn give_up_at(&self) -> Option<Instant> {
        let give_up_at = self.breaker.down_since()? + self.limits.max_outage;
        let unreachable =
            self.first_sent.filter(|_| self.contact == Contact::Unreachable).map(|first| first + MAX_UNREACHABLE);
        Some(unreachable.map_or(give_up_at, |earlier| earlier.min(give_up_at)))
    }

    /// The next target; a probe goes out whatever is left.
    fn next_job(&mut self, now: Instant, allowed: Allowed, probe: bool) -> Option<Job> {
        let job = self.queue.next(now, allowed, |job| !probe && self.breaker.attributes_to_target(job.failures));
        if job.is_none() && probe { self.queue.next(now, Allowed::Everything, |_| false) } else { job }
    }

    /// Asks the budget and the pacer, and sends the call.
    fn launch(&mut self, mut job: Job, probe: bool, now: Instant) -> Step {
        let reservation = match self.budget.reserve(job.least) {
            Ok(reservation) => reservation,
            Err(refused) => {
                self.queue.put_back(job);
                if refused == ReserveError::Exhausted && self.running.is_empty() {
                    self.stop(StopReason::Budget);
                    return Step::Started;
                }
                return self.wait(FetchState::Calling, None);
            }
        };
        let slot = match self.pacer.check(now) {
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
        self.breaker.on_send(job.calls == 0, job.failures);
        job.calls += 1;
        self.set_state(FetchState::Calling);
        let grant = Grant { slot, reservation, form: self.form, probe };
        self.running.spawn(self.call_context.clone().attempt(job, grant));
        Step::Started
    }

    /// Decides what to do about a call's target, given its result.
    async fn take(&mut self, attempted: Attempted) -> Result<(), J::Error> {
        let Attempted { mut job, reservation, form, probe, result } = attempted;
        let Some(result) = result else {
            self.budget.release(reservation);
            if probe {
                self.breaker.called_off();
            }
            self.queue.put_back(job);
            return Ok(());
        };
        let now = Instant::now();
        self.budget.settle(reservation, result.assessment.cost);
        self.learn(&mut job, &result, probe, now);
        let CallResult { assessment, retry_after, failure } = result;
        let run_context = RunContext {
            max_attempts: self.limits.max_attempts.get(),
            proven: self.proven,
            other_form: form != self.form || self.other_form,
            refused_targets: self.refused_targets.count(assessment.class, job.tried.refused == 1),
            // Where nothing was ever answered, refusals of all targets are as many as there can be.
            max_refused_targets: if self.proven { MAX_REFUSED_TARGETS } else { MAX_REFUSED_TARGETS.min(self.count) },
        };
        let decision = judge::judge(assessment.class, job.tried, run_context);
        // Without any reply the next first call goes with company, so that an outage is found soon.
        self.first_is_back |= decision != Decision::OtherForm || failure.is_some();
        match decision {
            Decision::Done => {}
            Decision::Retry if retry_after.is_some_and(|wait| wait > LONGEST_RETRY_AFTER) => {
                self.give_up(job, assessment.class).await?;
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
            Decision::RaiseLimit => match reservation.limit() {
                Some(refused) => {
                    job.least = Some(refused.plus(Usd::from_micros(1)));
                    self.queue.put_back(job);
                }
                // A price was refused although none was set.
                None => self.give_up(job, assessment.class).await?,
            },
            Decision::GiveUp => self.give_up(job, assessment.class).await?,
            Decision::Stop(Stop::Fatal(fatal)) => {
                let is_foreign = matches!(assessment.class, Class::Refused(_));
                let message = if is_foreign { Some(refusal(&job, &assessment)) } else { assessment.message };
                self.stop(StopReason::Fatal { fatal, message });
            }
            Decision::Stop(Stop::Refused) => self.stop(StopReason::Refused { message: refusal(&job, &assessment) }),
            Decision::Stop(Stop::Contract) => self.stop(StopReason::Contract { message: assessment.message }),
        }
        Ok(())
    }

    /// Updates what is known of the API and of the target.
    fn learn(&mut self, job: &mut Job, result: &CallResult, probe: bool, now: Instant) {
        let assessment = &result.assessment;
        self.contact = self.contact.after(result.failure);
        let counts = !probe && self.breaker.down_since().is_none();
        job.tried.attempts += u32::from(counts);
        match assessment.class {
            Class::Transient | Class::SlowDown | Class::MaybeBilled => {
                job.failures = Some(self.breaker.failed(now, probe, job.failures));
                self.last_failure = assessment.message.as_deref().map(Arc::from);
                if self.contact == Contact::Unreachable {
                    self.breaker.found_unreachable(now);
                }
            }
            _ => self.breaker.succeeded(),
        }
        match assessment.class {
            Class::Data | Class::NoData => self.proven = true,
            Class::MaybeBilled => job.tried.maybe_billed += 1,
            Class::WrongTarget => job.tried.wrong_target += 1,
            Class::Refused(_) => job.tried.refused += 1,
            Class::SlowDown => {
                self.pacer.slow_down(now, result.retry_after.filter(|wait| *wait <= LONGEST_RETRY_AFTER));
            }
            _ => {}
        }
        if self.refusals.is_exceeded_by(assessment) {
            let words = assessment.message.as_deref().unwrap_or("no reason given");
            let message = format!(
                "{MAX_BILLED_REFUSALS} identical billed refusals in a row, the last for {}: {words}",
                job.target
            );
            self.stop(StopReason::Contract { message: Some(message) });
        }
    }

    async fn give_up(&self, job: Job, class: Class) -> Result<(), J::Error> {
        let gave_up = GaveUp { target: job.target, at: self.call_context.clock.now(), class };
        self.call_context.journal.gave_up(&gave_up).await
    }

    fn stop(&mut self, reason: StopReason) {
        self.end(FetchEnd::Stopped(reason));
    }

    /// Stops further calls; the first reason is kept.
    fn end(&mut self, ended: FetchEnd) {
        self.close.send_replace(true);
        self.ended.get_or_insert(ended);
    }

    /// Stops because a call could not be recorded; the first failure is kept.
    fn fail(&mut self, error: J::Error) {
        self.end(FetchEnd::Shutdown);
        self.failure.get_or_insert(error);
    }

    fn wait(&mut self, state: FetchState, until: Option<Instant>) -> Step {
        self.set_state(state);
        Step::Wait(until)
    }

    fn set_state(&mut self, state: FetchState) {
        if self.state != state {
            self.state = state;
            self.call_context.journal.state(&self.state);
        }
    }
}

/// `a.com: HTTP 403: <html>Forbidden</html>`: whose call was refused, and what came.
fn refusal(job: &Job, assessment: &Assessment) -> String {
    let status = assessment.http_status.map(|status| format!("HTTP {status}"));
    let parts = [Some(job.target.to_string()), status, assessment.message.clone()];
    parts.into_iter().flatten().collect::<Vec<_>>().join(": ")
}
