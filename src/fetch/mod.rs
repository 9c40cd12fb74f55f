//! Fetching: calls each remaining target until it has an answer or is given up.
//!
//! ```text
//! queue -> [place in flight -> breaker -> budget -> pace] -> spawn: record, post, assess, record -> judge -> queue
//! ```
//!
//! One loop makes all decisions and shares no lock with the calls, which run as tasks. A call is sent only if all four
//! guards allow it, and every wait uses `tokio`'s clock. The first call of a run is sent by itself: a problem with the
//! token, the URL or the form of the body then affects only one call.
//!
//! Nothing here depends on where records are stored ([`Journal`]) or how calls are sent ([`Api`]).

use std::{future::Future, num::NonZeroU32, pin::pin, sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinSet, time::Instant};

use crate::{
    api::{
        Api, BodyForm, Parameters,
        call_events::{Answered, GaveUp, Sent},
        pricing::HighestPrice,
        status::Fatal,
    },
    clock::Clock,
    decode::{DecodeError, DecodedRows, DecoderPool},
    money::Usd,
    targets::Target,
};

mod attempt;
mod budget;
mod circuit_breaker;
mod consecutive_failures;
mod judge;
mod launch;
pub mod pace;
mod queue;
mod results;
mod retry;
mod sliding_window;
mod throttle;
mod tokio_clock;

use self::{
    attempt::{Attempted, CallContext, Unrecorded},
    budget::Budget,
    circuit_breaker::{Breaker, Reachability},
    consecutive_failures::ConsecutiveFailures,
    pace::{Pacer, Rate},
    queue::Queue,
};

/// Records what a fetch does. A record is durable when its future is ready.
pub trait Journal: Send + Sync + 'static {
    /// Why a record could not be made durable. No further call is sent then; the results of those in flight are still
    /// recorded, unless that fails, too.
    type Error: Send + 'static;

    /// A call is about to be sent.
    fn sent(&self, sent: &Sent) -> impl Future<Output = Result<(), Self::Error>> + Send;
    /// A call was not sent after all.
    fn called_off(&self, sent: &Sent) -> impl Future<Output = Result<(), Self::Error>> + Send;
    /// A call has its result. `rows` are those of the answer, decoded beforehand unless it is too large.
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
    /// Sending calls, up to the limit on calls in flight.
    Calling,
    /// Waiting for the rate limit.
    RateLimit,
    /// Waiting because the server asked for it.
    AskedToWait(Duration),
    /// The API is down; a probe is sent now and then.
    Outage {
        /// The failure of the last call.
        cause: Option<Arc<str>>,
    },
    /// No more calls are sent; those in flight are finished.
    Finishing,
}

/// Limits on the rate, the number and the cost of calls.
#[derive(Clone, Debug)]
pub struct FetchLimits {
    /// Maximum calls in any sliding period, retries included.
    pub rate: Rate,
    /// Maximum calls in flight.
    pub concurrency: NonZeroU32,
    /// Maximum tries for one target.
    pub max_attempts: NonZeroU32,
    /// Maximum total cost, including earlier runs of the directory.
    pub max_cost: Option<Usd>,
    /// How long the API may be down before the run stops.
    pub max_outage: Duration,
    /// The form of the body; `None`: whichever the API accepts.
    pub body: Option<BodyForm>,
}

/// The dependencies and settings of a fetch.
pub struct FetchContext<A, J> {
    pub api: Arc<A>,
    /// Where calls and results are recorded.
    pub journal: Arc<J>,
    /// The clock for the times in records.
    pub clock: Clock,
    /// The query parameters, the same for every target.
    pub parameters: Parameters,
    pub limits: FetchLimits,
    /// State from earlier runs.
    pub earlier: PriorCalls,
}

/// State from earlier runs.
#[derive(Clone, Debug, Default)]
pub struct PriorCalls {
    /// When calls were sent that may still count toward the rate.
    pub calls: Vec<Instant>,
    /// Money spent.
    pub spent: Usd,
    /// The highest prices of calls so far.
    pub highest_price: HighestPrice,
    /// The form of body that the API has accepted.
    pub form: Option<BodyForm>,
    /// The last calls in a row that cost money, or may have, without an answer.
    pub costly_failures: u32,
}

/// How a fetch ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchEnd {
    /// Every target has its answer or was given up.
    Done,
    /// Some targets are left that cannot be called now.
    Stopped(StopReason),
    /// The caller asked to stop.
    Shutdown,
}

/// Why no more calls are sent although targets are left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The API cannot be used until someone has fixed the cause.
    Fatal {
        fatal: Fatal,
        /// The API's message.
        message: Option<String>,
    },
    /// The first answers mean that the calls are malformed.
    Contract {
        /// The API's message.
        message: Option<String>,
    },
    /// Many calls in a row were billed without a usable answer.
    BilledFailures {
        /// How many, and the result of the last one.
        message: String,
    },
    /// Several targets in a row were refused by something other than the API.
    Refused {
        /// The last of them, and the response.
        message: String,
    },
    /// The API was down for too long.
    Outage {
        /// The failure of the last call.
        message: Option<String>,
    },
    /// No call of this run could be sent: the host's name, its port, its certificate or a proxy may be wrong.
    Unreachable {
        /// The failure of the last call.
        message: Option<String>,
    },
    /// The rest of the cap does not cover another call.
    Budget,
    /// The maximum number of targets for this run was called.
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
            Step::Again => continue,
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
                    Ok(attempted) => {
                        if let Some(gave_up) = fetch.handle_result(attempted) {
                            fetch.call_context.journal.gave_up(&gave_up).await?;
                        }
                    }
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
    billed_failures: ConsecutiveFailures,
    refused_targets: ConsecutiveFailures,
    pacer: Pacer,
    running: JoinSet<Result<Attempted, Unrecorded<J::Error>>>,
    form: BodyForm,
    /// Whether the other form can still be tried.
    other_form: bool,
    /// Whether the API has accepted a call.
    proven: bool,
    /// Whether the first call is back.
    first_call_returned: bool,
    ended: Option<FetchEnd>,
    /// Why no more calls can be recorded.
    failure: Option<J::Error>,
    last_failure: Option<Arc<str>>,
    /// When the first call of this run was sent.
    first_sent: Option<Instant>,
    reachability: Reachability,
    close: watch::Sender<bool>,
    call_context: Arc<CallContext<A, J>>,
    state: FetchState,
}

enum Step {
    /// The state has changed: take another step at once.
    Again,
    /// No target is left and no call is in flight.
    Finished,
    /// Nothing can be sent before this time, or before a call has returned.
    Wait(Option<Instant>),
}

impl<A: Api, J: Journal, I: ExactSizeIterator<Item = Target>> Fetch<A, J, I> {
    fn new(targets: I, context: FetchContext<A, J>) -> Self {
        let FetchContext { api, journal, clock, parameters, limits, earlier } = context;
        let (concurrency, count) = (limits.concurrency.get(), targets.len());
        let (close, closed) = watch::channel(false);
        let decoders = DecoderPool::default();
        Self {
            queue: Queue::new(targets),
            budget: Budget::new(limits.max_cost, earlier.spent, earlier.highest_price),
            breaker: Breaker::new(concurrency, count, earlier.costly_failures),
            count: u32::try_from(count).unwrap_or(u32::MAX),
            billed_failures: ConsecutiveFailures::after(earlier.costly_failures, count),
            refused_targets: ConsecutiveFailures::default(),
            pacer: Pacer::new(limits.rate, earlier.calls),
            running: JoinSet::new(),
            form: limits.body.or(earlier.form).unwrap_or(BodyForm::Array),
            other_form: limits.body.is_none(),
            proven: earlier.form.is_some(),
            first_call_returned: false,
            ended: None,
            failure: None,
            last_failure: None,
            first_sent: None,
            reachability: Reachability::Unknown,
            close,
            call_context: Arc::new(CallContext { api, journal, parameters, clock, decoders, closed }),
            state: FetchState::Calling,
            limits,
        }
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
