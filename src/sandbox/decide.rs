//! Decides the reply to one call: the gateway's checks (in [`super::gateway`]), the API's checks, the fault, the debit.
//!
//! Everything is decided as soon as the request is complete, before any waiting, so that the bill never depends on what
//! the client does afterwards. The order of the checks is assumed; each check is documented or was observed.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    Settings,
    answer::{self, AnswerContent, EnvelopeFields},
    bill::{BillState, Receipt, SharedBill},
    faults::Fault,
    random::Random,
    request::{self, HistoryRequest, Refusal},
    settings::scaled,
};
use crate::{clock::Clock, money::Usd};

/// The header with the debit, in millionths of a dollar.
pub(super) const DEBIT: &str = "x-aisa-customer-cost-micros-usd";
/// The path of redirects: it does not exist on this server.
const ELSEWHERE: &str = "/elsewhere";
/// Streams of random draws for one attempt.
const LATENCY: u64 = 0x1a;
const TASK: u64 = 0x7a;
const REQUEST: u64 = 0x9e;
/// Refusals are this much faster than answers.
pub(super) const REFUSAL_SPEEDUP: u32 = 10;

#[derive(Debug)]
pub(super) struct ReceivedCall<'a> {
    pub(super) authorization: Option<&'a str>,
    pub(super) max_price: Option<&'a str>,
    /// `None`: it was too large.
    pub(super) body: Option<&'a [u8]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    Whole,
    /// Complete, but the client cannot use it.
    Unusable,
    Drip,
    CutOff,
    Reset,
    Stall,
}

#[derive(Debug)]
pub(super) struct CallReply {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
    /// The status code inside the body.
    pub(super) code: Option<i64>,
    pub(super) delay: Duration,
    pub(super) delivery: Delivery,
}

impl CallReply {
    pub(super) fn json(status: u16, body: Vec<u8>) -> Self {
        Self {
            status,
            content_type: "application/json",
            headers: Vec::new(),
            body,
            code: None,
            delay: Duration::ZERO,
            delivery: Delivery::Whole,
        }
    }
}

/// The state that all connections share.
#[derive(Debug)]
pub(super) struct SimulatedApi {
    pub(super) settings: Settings,
    pub(super) bill: SharedBill,
    pub(super) clock: Clock,
    pub(super) started: Instant,
}

#[derive(Clone, Copy)]
struct Charge {
    /// What the gateway takes from the credit.
    debit: Usd,
    /// The price that the body reports.
    upstream: Usd,
}

/// A call that passed all checks.
struct ValidCall<'a> {
    request: &'a HistoryRequest,
    fault: Option<Fault>,
    /// `None`: it is not billed.
    charge: Option<Charge>,
    hides_cost: bool,
    number: u32,
}

impl SimulatedApi {
    /// Decides and debits; does not wait.
    pub(super) fn decide(&self, call: &ReceivedCall<'_>, receipt: &mut Receipt) -> CallReply {
        let request_id = self.request_id(receipt.number);
        let mut reply = self.respond(call, receipt, &request_id);
        reply.headers.push(("x-request-id", request_id));
        let mut state = self.bill.lock();
        if matches!(reply.delivery, Delivery::Reset | Delivery::Stall) {
            state.bill.unanswered += 1;
        } else {
            *state.bill.statuses.entry(reply.status).or_default() += 1;
            if let Some(code) = reply.code {
                *state.bill.codes.entry(code).or_default() += 1;
            }
        }
        reply
    }

    pub(super) fn request_id(&self, number: u64) -> String {
        format!("req_{:016x}", Random::new("", &[self.settings.seed, number, REQUEST]).next())
    }

    fn respond(&self, call: &ReceivedCall<'_>, receipt: &mut Receipt, request_id: &str) -> CallReply {
        if let Some(refusal) = self.refused_early(call, receipt.number, request_id) {
            return refusal;
        }
        let Some(body) = call.body else {
            return CallReply::json(413, answer::plain_error("request body is too large"));
        };
        let today = self.clock.today();
        let request = match request::read(body, self.settings.body_form, today) {
            Ok(request) => request,
            Err(Refusal::Contract) => {
                return CallReply::json(400, answer::plain_error("request does not match the endpoint contract"));
            }
            Err(Refusal::Task { code, message, echo, extra_tasks }) => {
                let refusal = AnswerContent::Code(code, message);
                return self.refused_inside(&refusal, &echo, extra_tasks, receipt.number);
            }
        };
        let mut content = AnswerContent::of(&request, today);
        let mut state = self.bill.lock();
        let attempt = match self.debit(&request, &content, call, receipt, &mut state, request_id) {
            Ok(attempt) => attempt,
            Err(refusal) => return refusal,
        };
        drop(state);
        match attempt.fault {
            Some(Fault::WrongTarget) => content = AnswerContent::of_another(&request, today),
            Some(Fault::Code(code)) => content = AnswerContent::code(code),
            _ => {}
        }
        self.reply(&attempt, &content, request_id)
    }

    /// Checks the account and debits it, under one lock.
    fn debit<'a>(
        &self,
        request: &'a HistoryRequest,
        content: &AnswerContent,
        call: &ReceivedCall<'_>,
        receipt: &mut Receipt,
        state: &mut BillState,
        request_id: &str,
    ) -> Result<ValidCall<'a>, CallReply> {
        let faults = &self.settings.faults;
        let rise = faults.price_percent(state.bill.billed_calls);
        let debit_of = |rows| scaled(self.settings.price.debit(rows), rise);
        let debit = debit_of(content.rows());
        if let Some(refusal) = self.refused_for_cost(call, debit, state, request_id) {
            return Err(refusal);
        }
        if self.settings.max_in_flight.is_some_and(|max| state.bill.in_flight > max.get() as usize) {
            return Err(self.refused_inside(
                &AnswerContent::code(40209),
                &request.echo,
                request.extra_tasks,
                receipt.number,
            ));
        }
        let number = state.attempt(&request.target);
        let fault = faults.draw(self.settings.seed, &request.target, number);
        let hides_cost = faults.hides_cost(self.settings.seed, &request.target, number);
        let rows = match fault {
            Some(Fault::Status(_) | Fault::Html | Fault::Quota | Fault::Redirect | Fault::Reset { billed: false }) => {
                None
            }
            Some(Fault::Code(40102)) => Some(0),
            Some(Fault::Code(code)) => is_late(code).then_some(content.rows()),
            _ => Some(content.rows()),
        };
        let charge = rows.map(|rows| Charge { debit: debit_of(rows), upstream: self.settings.price.upstream(rows) });
        if let Some(charge) = charge {
            receipt.debit(state, &request.target, charge.debit);
        }
        Ok(ValidCall { request, fault, charge, hides_cost, number })
    }

    fn reply(&self, attempt: &ValidCall<'_>, content: &AnswerContent, request_id: &str) -> CallReply {
        let ValidCall { request, fault, charge, .. } = *attempt;
        let delay = self.latency(&request.target, attempt.number.into());
        let late = matches!(fault, Some(Fault::Code(code)) if is_late(code));
        let task = EnvelopeFields {
            echo: &request.echo,
            extra_tasks: request.extra_tasks,
            cost: if late { None } else { Some(charge.map_or(Usd::ZERO, |charge| charge.upstream)) },
            took: delay,
            draws: Random::new(&request.target, &[self.settings.seed, attempt.number.into(), TASK]),
        };
        let good = || {
            let code = Some(content.status().0);
            CallReply { code, ..CallReply::json(200, answer::envelope(&task, content, Some(request))) }
        };
        let empty = |delivery| CallReply { delivery, ..CallReply::json(200, Vec::new()) };
        let mut reply = match fault {
            Some(Fault::Status(status)) => self.failed(status, request_id),
            Some(Fault::Html) => CallReply { content_type: "text/html", ..CallReply::json(502, HTML.into()) },
            Some(Fault::Quota) => Self::quota(request_id),
            Some(Fault::Redirect) => {
                CallReply { headers: vec![("location", ELSEWHERE.to_owned())], ..CallReply::json(307, Vec::new()) }
            }
            Some(Fault::Reset { .. }) => empty(Delivery::Reset),
            Some(Fault::Stall) => empty(Delivery::Stall),
            Some(Fault::CutOff) => CallReply { delivery: Delivery::CutOff, ..good() },
            Some(Fault::Drip) => CallReply { delivery: Delivery::Drip, ..good() },
            Some(Fault::Garbage) => {
                let page = CallReply { content_type: "text/html", ..CallReply::json(200, HTML.into()) };
                CallReply { delivery: Delivery::Unusable, ..page }
            }
            Some(Fault::Oversized) => {
                CallReply { delivery: Delivery::Unusable, ..CallReply::json(200, answer::oversized()) }
            }
            Some(Fault::Code(_)) if late => CallReply { delivery: Delivery::Unusable, ..good() },
            Some(Fault::Code(_) | Fault::WrongTarget) | None => good(),
        };
        reply.delay = delay;
        if let Some(charge) = charge.filter(|_| !attempt.hides_cost && !late) {
            reply.headers.push((DEBIT, charge.debit.micros().to_string()));
        }
        reply
    }

    /// A status code inside the body, not billed.
    fn refused_inside(&self, refusal: &AnswerContent, echo: &str, extra_tasks: usize, number: u64) -> CallReply {
        let delay = self.latency("", number) / REFUSAL_SPEEDUP;
        let draws = Random::new("", &[self.settings.seed, number, TASK]);
        let task = EnvelopeFields { echo, extra_tasks, cost: Some(Usd::ZERO), took: delay, draws };
        let body = answer::envelope(&task, refusal, None);
        CallReply { code: Some(refusal.status().0), delay, ..CallReply::json(200, body) }
    }

    pub(super) fn latency(&self, target: &str, number: u64) -> Duration {
        self.settings.latency.draw(&mut Random::new(target, &[self.settings.seed, number, LATENCY]))
    }
}

/// Whether a code means that the work was done too late: billed, but not reported.
fn is_late(code: i64) -> bool {
    matches!(code, 40101 | 50401 | 50402)
}

/// The error page of an intermediate proxy.
const HTML: &str = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n";
