//! One attempt: record the call, send it, assess the answer, record the result. Nothing is decided here.
//!
//! Each attempt is its own task, so that a slow scheduler never makes an answer late. It counts as in flight until its
//! answer is on disk.

use std::sync::Arc;

use tokio::{
    sync::watch,
    time::{Duration, Instant},
};

use super::{Journal, budget::Reservation, queue::Job, sliding_window::CallSlot};
use crate::{
    api::{
        Api, BodyForm, ErrorKind, Parameters, Reply, Request,
        call_events::{Answered, Sent},
        endpoint,
        status::{Assessment, assess},
    },
    clock::Clock,
    decode::DecoderPool,
};

/// What all attempts of a run share.
pub(super) struct CallContext<A, J> {
    pub(super) api: Arc<A>,
    pub(super) journal: Arc<J>,
    pub(super) parameters: Parameters,
    pub(super) clock: Clock,
    pub(super) decoders: DecoderPool,
    /// Becomes true when no further call may be sent.
    pub(super) closed: watch::Receiver<bool>,
}

/// Everything that a call needs before it may be sent.
pub(super) struct Grant {
    pub(super) slot: CallSlot,
    pub(super) reservation: Reservation,
    pub(super) form: BodyForm,
    /// Whether it is sent to find out if the API is back.
    pub(super) is_probe: bool,
}

/// The outcome of an attempt.
pub(super) struct Attempted {
    pub(super) job: Job,
    pub(super) grant: Grant,
    /// `None`: the run was stopped before the call was sent.
    pub(super) result: Option<CallResult>,
}

/// The assessed and recorded result of a call.
pub(super) struct CallResult {
    pub(super) assessment: Assessment,
    pub(super) retry_after: Option<Duration>,
    /// Why there is no answer; `None` if there is one.
    pub(super) failure: Option<ErrorKind>,
}

/// Which record of an attempt could not be made durable.
pub(super) enum Unrecorded<E> {
    /// The record that the call is sent; it was therefore not sent.
    Call(E),
    /// The record of its result.
    Result(E),
}

impl<A: Api, J: Journal> CallContext<A, J> {
    pub(super) async fn attempt(
        self: Arc<Self>,
        job: Job,
        mut grant: Grant,
    ) -> Result<Attempted, Unrecorded<J::Error>> {
        let (target, form, price_limit) = (job.target.clone(), grant.form, grant.reservation.price_limit());
        let request = Request {
            body: endpoint::body(target.as_str(), &self.parameters, form),
            price_limit,
            target: target.clone(),
        };
        let attempt = job.calls;
        let sent = Sent { target, attempt, at: self.clock.now(), form, price_limit };
        self.journal.sent(&sent).await.map_err(Unrecorded::Call)?;
        if *self.closed.borrow() {
            self.journal.called_off(&sent).await.map_err(Unrecorded::Result)?;
            return Ok(Attempted { job, grant, result: None });
        }
        grant.slot.mark_sent();
        let left = Instant::now();
        let result = self.api.post(&request).await;
        let latency = left.elapsed();
        let (envelope, rows) = match &result {
            Ok(reply) => self.decoders.decode(sent.target.as_str(), &reply.body),
            Err(_) => (None, None),
        };
        let assessment = assess(&result, envelope);
        let failure = result.as_ref().err().map(|error| error.kind);
        let Reply { retry_after, request_id, body, .. } = result.unwrap_or_default();
        let body = failure.is_none().then_some(body);
        let answered =
            Answered { target: sent.target, attempt, at: self.clock.now(), latency, assessment, request_id, body };
        self.journal.answered(&answered, rows).await.map_err(Unrecorded::Result)?;
        let result = CallResult { assessment: answered.assessment, retry_after, failure };
        Ok(Attempted { job, grant, result: Some(result) })
    }
}
