//! The status table: what a reply, or its absence, means.
//!
//! The pure function [`assess`] considers both the HTTP status and the status inside the body. `fetch::judge`, which
//! sees no bytes, decides what to do about it (wait, give up, stop). Messages vary, so codes decide. Messages are used
//! only where the API documents no code: for `No Search Results`, and for a gateway's report of an exhausted quota.

use serde::{Deserialize, Serialize};

pub use self::class::{Class, Fatal, UnknownClass};
use super::{ApiError, ErrorKind, Reply};
use crate::{
    decode::{About, Envelope},
    money::Usd,
};

mod class;
#[cfg(test)]
mod tests;

/// The code of a task that succeeded.
const OK: i64 = 20000;

/// What the result of a call means.
#[derive(Clone, Debug, PartialEq)]
pub struct Assessment {
    pub class: Class,
    /// HTTP status, if there was a reply.
    pub http_status: Option<u16>,
    /// The status code inside the body, if any.
    pub api_code: Option<i64>,
    /// The message of the API or of the network error.
    pub message: Option<String>,
    /// The API's id of the task.
    pub task_id: Option<String>,
    /// Items in the answer.
    pub items: u64,
    /// Whether the body is one complete JSON object.
    pub json: bool,
    /// The cost, if known.
    pub cost: Cost,
    /// Figures that the answer reports about itself.
    pub stated: Stated,
}

/// What an answer reports about itself; for information only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stated {
    /// How many items it claims to have.
    pub items_count: Option<i64>,
    pub api_version: Option<String>,
    /// How long the API worked on the task, in seconds.
    pub api_seconds: Option<f64>,
    /// Differences between its stated counts and its content; only for accepted answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mismatch: Option<String>,
}

/// The cost of one call, by its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// The gateway's debit header.
    Debit(Usd),
    /// The body's `cost`: the upstream price; the gateway debits a multiple of it.
    Upstream(Usd),
    /// Presumably billed; the price was not reported.
    Unknown,
    /// Such a result is not billed.
    Nothing,
}

impl Cost {
    /// The price that the gateway, or else the upstream API, reported; zero if neither did.
    pub fn reported(self) -> Usd {
        match self {
            Self::Debit(price) | Self::Upstream(price) => price,
            Self::Unknown | Self::Nothing => Usd::ZERO,
        }
    }

    /// Whether the call was billed, or may have been.
    pub fn is_costly(self) -> bool {
        self == Self::Unknown || self.reported() > Usd::ZERO
    }
}

/// Assesses the result of a call; `envelope` is read from the body of the reply.
pub fn assess(result: &Result<Reply, ApiError>, envelope: Option<Envelope>) -> Assessment {
    let error = match result {
        Ok(reply) => return assess_reply(reply, envelope),
        Err(error) => error,
    };
    let (class, cost) = match error.kind {
        ErrorKind::NotSent => (Class::Transient, Cost::Nothing),
        ErrorKind::Lost => (Class::MaybeBilled, Cost::Unknown),
        ErrorKind::Unusable => (Class::Rejected, Cost::Unknown),
    };
    Assessment {
        class,
        http_status: None,
        api_code: None,
        message: Some(error.message.clone()),
        task_id: None,
        items: 0,
        json: false,
        cost,
        stated: Stated::default(),
    }
}

fn assess_reply(reply: &Reply, envelope: Option<Envelope>) -> Assessment {
    let is_success = is_success(reply.status);
    let class = match (&envelope, &reply.cut) {
        (Some(envelope), _) => class_of_envelope(reply, envelope),
        (None, Some(ApiError { kind: ErrorKind::Unusable, .. })) if is_success => Class::Rejected,
        (None, _) => of_http(reply.status, &Envelope::default()),
    };
    let json = envelope.as_ref().is_some_and(|envelope| envelope.is_json);
    let cut = reply.cut.as_ref().filter(|_| envelope.is_none()).map(|cut| cut.message.clone());
    let envelope = envelope.unwrap_or_default();
    let cost = match (reply.debit, envelope.cost, class) {
        (Some(debit), ..) => Cost::Debit(debit),
        // An answer that came too late reports zero cost, but the gateway's debit is unknown.
        (None, Some(Usd::ZERO), Class::MaybeBilled) => Cost::Unknown,
        (None, Some(upstream), _) => Cost::Upstream(upstream),
        (None, None, Class::Data | Class::NoData | Class::WrongTarget | Class::MaybeBilled) => Cost::Unknown,
        (None, None, Class::Rejected) if is_success && cut.is_some() => Cost::Unknown,
        (None, None, _) => Cost::Nothing,
    };
    let is_good = envelope.code == Some(OK) && matches!(class, Class::Data | Class::NoData);
    let odd_status =
        (is_good && !is_success).then(|| format!("HTTP {}, but the answer is complete: accepted", reply.status));
    // The message of such an answer is that of a success.
    let no_task =
        (envelope.code == Some(OK) && class == Class::MaybeBilled).then(|| "the answer has no task".to_owned());
    let stated = Stated {
        mismatch: envelope.mismatch().filter(|_| is_good),
        items_count: envelope.items_count,
        api_version: envelope.version,
        api_seconds: envelope.seconds,
    };
    Assessment {
        class,
        http_status: Some(reply.status),
        api_code: envelope.code,
        message: cut.or(odd_status).or(no_task).or(envelope.message).or_else(|| readable(reply)),
        task_id: envelope.task_id,
        items: envelope.items,
        json,
        cost,
        stated,
    }
}

fn is_success(http_status: u16) -> bool {
    (200..300).contains(&http_status)
}

fn class_of_envelope(reply: &Reply, envelope: &Envelope) -> Class {
    match envelope.code {
        Some(OK) => {
            let class = class_of_result(envelope);
            let is_accepted = is_success(reply.status) || is_paid_answer(class, reply, envelope);
            if is_accepted { class } else { of_http(reply.status, envelope) }
        }
        Some(code) if code >= 40000 => of_code(code, envelope.message.as_deref().unwrap_or_default()),
        _ => of_http(reply.status, envelope),
    }
}

/// The class of a task that succeeded.
fn class_of_result(envelope: &Envelope) -> Class {
    match envelope.about {
        About::Another => Class::WrongTarget,
        // Rows are only accepted if the answer names its target.
        About::Unnamed if envelope.items > 0 => Class::WrongTarget,
        About::Target if envelope.items > 0 => Class::Data,
        _ if envelope.has_task => Class::NoData,
        _ => Class::MaybeBilled,
    }
}

/// Whether an answer counts although its HTTP status is an error: calling again would pay for it twice. It has rows, or
/// reports that there are none and was billed, and nothing else in it reports an error.
fn is_paid_answer(class: Class, reply: &Reply, envelope: &Envelope) -> bool {
    let is_contradicted = envelope.has_gateway_error || envelope.top_code.is_some_and(|code| code != OK);
    let is_billed = [reply.debit, envelope.cost].into_iter().flatten().any(|price| price > Usd::ZERO);
    match class {
        Class::Data => !is_contradicted,
        Class::NoData => !is_contradicted && is_billed && envelope.about == About::Target,
        _ => false,
    }
}

/// The class of a status code inside the body.
fn of_code(code: i64, message: &str) -> Class {
    match code {
        40102 => Class::NoData,
        40501 if message.contains("No Search Results") => Class::NoData,
        40103 | 40601 | 40602 => Class::Transient,
        40202 | 40209 => Class::SlowDown,
        40101 | 50401 | 50402 => Class::MaybeBilled,
        40001..=40006 | 40502..=40506 => Class::Contract,
        40100 | 40104 => Class::Fatal(Fatal::TokenRefused),
        40200 | 40203 | 40210 => Class::Fatal(Fatal::NoCredit),
        40201 | 40204 | 40207 => Class::Fatal(Fatal::AccountBlocked),
        40400 | 40402 => Class::Fatal(Fatal::WrongUrl),
        50100 => Class::Rejected,
        50000..=59999 => Class::Transient,
        _ => Class::Rejected,
    }
}

/// The class of an HTTP status, if the code inside the body does not decide.
fn of_http(status: u16, envelope: &Envelope) -> Class {
    let gateway_says = |word: &str| envelope.gateway_code.as_deref().is_some_and(|code| code.contains(word));
    let is_known = envelope.has_gateway_error || envelope.code.is_some();
    match status {
        400 => Class::Contract,
        401 | 403 if !is_known => Class::Refused(Fatal::TokenRefused),
        404 if !is_known => Class::Refused(Fatal::WrongUrl),
        401 | 403 => Class::Fatal(Fatal::TokenRefused),
        402 if gateway_says("exceeds_max_price") => Class::PriceRefused,
        402 => Class::Fatal(Fatal::NoCredit),
        429 if gateway_says("quota_exceeded") => Class::Fatal(Fatal::NoCredit),
        429 => Class::SlowDown,
        // Redirects are not followed: body and token are meant for one host only.
        300..=399 | 404 | 405 => Class::Fatal(Fatal::WrongUrl),
        408 | 425 | 500..=599 => Class::Transient,
        // A success status with a body that is not an answer.
        200..=299 => Class::MaybeBilled,
        _ => Class::Rejected,
    }
}

/// The beginning of a body that is not JSON, for a message.
fn readable(reply: &Reply) -> Option<String> {
    /// Enough to recognize a gateway's error page.
    const SHOWN: usize = 120;
    let text = String::from_utf8_lossy(&reply.body[..reply.body.len().min(4 * SHOWN)]);
    let words: Vec<&str> = text.split_whitespace().collect();
    let shown: String = words.join(" ").chars().take(SHOWN).collect();
    (!shown.is_empty()).then_some(shown)
}
