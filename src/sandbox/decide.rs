//! What one call is answered: the gateway's checks (in [`super::gateway`]), the API's checks, its fault, the debit.
//!
//! Decided in one go when the request is there, before any waiting, so that the bill never depends on what the client
//! does afterwards. The order of the checks is assumed; each check is documented or was seen.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    Settings,
    answer::{self, Content, Task},
    bill::{Books, Pages, Receipt},
    faults::Fault,
    random::Random,
    request::{self, Asked, Refusal},
};
use crate::{clock::Clock, money::Usd};

/// Header with the real debit, in millionths of a dollar.
pub(super) const DEBIT: &str = "x-aisa-customer-cost-micros-usd";
/// Where a redirect points to: a path of this server at which nothing is.
const ELSEWHERE: &str = "/elsewhere";
/// What the draws of one attempt are for.
const LATENCY: u64 = 0x1a;
const TASK: u64 = 0x7a;
const REQUEST: u64 = 0x9e;
/// Refusals come so much sooner than answers.
pub(super) const REFUSAL_SHARE: u32 = 10;

/// What counts of a call's request.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) authorization: Option<&'a str>,
    pub(super) max_price: Option<&'a str>,
    /// `None`: it was larger than the server reads.
    pub(super) body: Option<&'a [u8]>,
}

/// How an answer travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    Whole,
    Drip,
    CutOff,
    Reset,
    Stall,
}

/// What a call gets.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
    /// The status code inside the body.
    pub(super) code: Option<i64>,
    pub(super) after: Duration,
    pub(super) delivery: Delivery,
    /// Whether the client can make anything of it.
    pub(super) readable: bool,
}

impl Reply {
    pub(super) fn json(status: u16, body: Vec<u8>) -> Self {
        Self {
            status,
            content_type: "application/json",
            headers: Vec::new(),
            body,
            code: None,
            after: Duration::ZERO,
            delivery: Delivery::Whole,
            readable: true,
        }
    }
}

/// The simulated service behind all connections.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) settings: Settings,
    pub(super) books: Books,
    pub(super) clock: Clock,
    pub(super) started: Instant,
}

/// An attempt that came as far as to be answered.
struct Attempt<'a> {
    asked: &'a Asked,
    fault: Option<Fault>,
    /// What was debited and what the gateway paid, if anything.
    billed: Option<(Usd, Usd)>,
    hides_cost: bool,
    number: u32,
}

impl Service {
    /// Decides and debits; everything but the waiting.
    pub(super) fn decide(&self, call: &Call<'_>, receipt: &mut Receipt) -> Reply {
        let request_id = self.request_id(receipt.number);
        let mut reply = self.answered(call, receipt, &request_id);
        reply.headers.push(("x-request-id", request_id));
        let mut pages = self.books.open();
        if matches!(reply.delivery, Delivery::Reset | Delivery::Stall) {
            pages.bill.unanswered += 1;
        } else {
            *pages.bill.statuses.entry(reply.status).or_default() += 1;
            if let Some(code) = reply.code {
                *pages.bill.codes.entry(code).or_default() += 1;
            }
        }
        reply
    }

    /// The gateway's name for the n-th call.
    pub(super) fn request_id(&self, number: u64) -> String {
        format!("req_{:016x}", Random::of("", &[self.settings.seed, number, REQUEST]).next())
    }

    fn answered(&self, call: &Call<'_>, receipt: &mut Receipt, request_id: &str) -> Reply {
        if let Some(refusal) = self.at_the_gate(call, receipt.number, request_id) {
            return refusal;
        }
        let Some(body) = call.body else { return Reply::json(413, answer::plain_error("request body is too large")) };
        let today = self.clock.today();
        let asked = match request::read(body, self.settings.body_form, today) {
            Ok(asked) => asked,
            Err(Refusal::Contract) => {
                return Reply::json(400, answer::plain_error("request does not match the endpoint contract"));
            }
            Err(Refusal::Task { code, message, echo, extra_tasks }) => {
                return self.refused_inside((code, message), &echo, extra_tasks, receipt.number);
            }
        };
        let mut content = Content::of(&asked, today);
        let mut pages = self.books.open();
        let attempt = match self.debited(&asked, &content, call, receipt, &mut pages, request_id) {
            Ok(attempt) => attempt,
            Err(refusal) => return refusal,
        };
        drop(pages);
        match attempt.fault {
            Some(Fault::WrongTarget) => content = Content::of_another(&asked, today),
            Some(Fault::Code(code)) => content = Content::code(code),
            _ => {}
        }
        self.written(&attempt, &content, request_id)
    }

    /// The checks that need the account, then the debit, all under one lock.
    fn debited<'a>(
        &self,
        asked: &'a Asked,
        content: &Content,
        call: &Call<'_>,
        receipt: &mut Receipt,
        pages: &mut Pages,
        request_id: &str,
    ) -> Result<Attempt<'a>, Reply> {
        let faults = &self.settings.faults;
        let rise = i64::from(faults.price_percent(pages.bill.billed_calls));
        let risen = |price: Usd| Usd::from_micros(price.micros().saturating_mul(rise).saturating_add(99) / 100);
        let debit = risen(self.settings.price.debit(content.rows()));
        if let Some(refusal) = self.refused_for_money(call, debit, pages, request_id) {
            return Err(refusal);
        }
        if self.settings.max_in_flight.is_some_and(|most| pages.bill.in_flight > most.get() as usize) {
            let code = Content::code(40209);
            let (code, message) = code.status();
            let refusal = (code, message.to_owned());
            return Err(self.refused_inside(refusal, &asked.echo, asked.extra_tasks, receipt.number));
        }
        let number = pages.attempt(&asked.target);
        let fault = faults.draw(self.settings.seed, &asked.target, number);
        let hides_cost = faults.hides_cost(self.settings.seed, &asked.target, number);
        let rows = match fault {
            Some(Fault::Status(_) | Fault::Html | Fault::Quota | Fault::Redirect | Fault::Reset { billed: false }) => {
                None
            }
            Some(Fault::Code(40102)) => Some(0),
            Some(Fault::Code(code)) => is_late(code).then_some(content.rows()),
            _ => Some(content.rows()),
        };
        let billed = rows.map(|rows| (risen(self.settings.price.debit(rows)), self.settings.price.upstream(rows)));
        if let Some((debit, _)) = billed {
            receipt.debit(pages, &asked.target, debit);
        }
        Ok(Attempt { asked, fault, billed, hides_cost, number })
    }

    fn written(&self, attempt: &Attempt<'_>, content: &Content, request_id: &str) -> Reply {
        let Attempt { asked, fault, billed, .. } = *attempt;
        let after = self.latency(&asked.target, attempt.number.into());
        let late = matches!(fault, Some(Fault::Code(code)) if is_late(code));
        let task = Task {
            echo: &asked.echo,
            extra_tasks: asked.extra_tasks,
            cost: if late { None } else { Some(billed.map_or(Usd::ZERO, |(_, upstream)| upstream)) },
            took: after,
            draws: Random::of(&asked.target, &[self.settings.seed, attempt.number.into(), TASK]),
        };
        let good = || {
            let code = Some(content.status().0);
            Reply { code, ..Reply::json(200, answer::envelope(&task, content, Some(asked))) }
        };
        let empty = |delivery| Reply { delivery, ..Reply::json(200, Vec::new()) };
        let mut reply = match fault {
            Some(Fault::Status(status)) => self.failed(status, request_id),
            Some(Fault::Html) => Reply { content_type: "text/html", ..Reply::json(502, HTML.into()) },
            Some(Fault::Quota) => Self::quota(request_id),
            Some(Fault::Redirect) => {
                Reply { headers: vec![("location", ELSEWHERE.to_owned())], ..Reply::json(307, Vec::new()) }
            }
            Some(Fault::Reset { .. }) => empty(Delivery::Reset),
            Some(Fault::Stall) => empty(Delivery::Stall),
            Some(Fault::CutOff) => Reply { delivery: Delivery::CutOff, ..good() },
            Some(Fault::Drip) => Reply { delivery: Delivery::Drip, ..good() },
            Some(Fault::Garbage) => {
                Reply { content_type: "text/html", readable: false, ..Reply::json(200, HTML.into()) }
            }
            Some(Fault::Oversized) => Reply { readable: false, ..Reply::json(200, answer::oversized()) },
            Some(Fault::Code(_)) => Reply { readable: !late, ..good() },
            Some(Fault::WrongTarget) | None => good(),
        };
        reply.after = after;
        if let Some((debit, _)) = billed.filter(|_| !attempt.hides_cost && !late) {
            reply.headers.push((DEBIT, debit.micros().to_string()));
        }
        reply
    }

    /// A code inside the body, unbilled.
    fn refused_inside(&self, (code, message): (i64, String), echo: &str, extra_tasks: usize, number: u64) -> Reply {
        let after = self.latency("", number) / REFUSAL_SHARE;
        let draws = Random::of("", &[self.settings.seed, number, TASK]);
        let task = Task { echo, extra_tasks, cost: Some(Usd::ZERO), took: after, draws };
        let body = answer::envelope(&task, &Content::Code(code, message), None);
        Reply { code: Some(code), after, ..Reply::json(200, body) }
    }

    pub(super) fn latency(&self, target: &str, number: u64) -> Duration {
        self.settings.latency.draw(&mut Random::of(target, &[self.settings.seed, number, LATENCY]))
    }
}

/// Codes that come when the work was done too late to be of use: billed, and nobody says so.
fn is_late(code: i64) -> bool {
    matches!(code, 40101 | 50401 | 50402)
}

/// What a proxy in between writes.
const HTML: &str = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n";
