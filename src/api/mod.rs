//! The paid API as the rest of the program sees it: one call, its reply, what the reply means.
//!
//! - [`Api`] has one method, `post`. [`http`] implements it over the network, tests with a script.
//! - [`endpoint`] has the path, and turns a call's fields into a body.
//! - [`pricing`] is the money rule: what a call counts as, however much is known about its price.
//! - [`account`] reads the balance, which costs nothing.
//! - [`call_events`] is what is recorded about a call.
//! - [`status`] maps every HTTP status and in-body code to one [`status::Class`].
//!
//! Nothing here waits, retries or stores anything; the body of a reply is passed on unchanged.

use std::{future::Future, time::Duration};

use bytes::Bytes;
use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};

use crate::{as_text::named, money::Usd, targets::Target};

pub mod account;
pub mod call_events;
pub mod endpoint;
pub mod http;
pub mod pricing;
mod reply_body;
pub mod status;

pub use reply_body::{MAX_BODY_BYTES, ReplyBody};

/// The earliest date the API knows (its documentation of `date_from`).
pub const EARLIEST_DATE: Date = jiff::civil::date(2019, 1, 1);

/// Maximum length of `tag`, in characters.
pub const MAX_TAG_LENGTH: usize = 255;

/// One paid call at a time. Implementations must put every byte that arrived into the reply.
pub trait Api: Send + Sync + 'static {
    /// Sends one call and reads its whole body.
    fn post(&self, request: &Request) -> impl Future<Output = Result<Reply, ApiError>> + Send;
}

/// One call: a target and the request for it.
#[derive(Clone, Debug)]
pub struct Request {
    /// The target whose history is bought.
    pub target: Target,
    /// The request body from [`endpoint::body`].
    pub body: Bytes,
    /// With a spending cap: the API refuses the call instead of debiting more than this.
    pub price_limit: Option<Usd>,
}

/// What a run requests for each of its targets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameters {
    /// First day of the history.
    pub date_from: Date,
    /// Last day of the history.
    pub date_to: Date,
    /// Scale of the column `rank`.
    pub rank_scale: RankScale,
    /// Free text that the API echoes.
    pub tag: String,
}

/// The scale of ranks: 0 to 1,000 or 0 to 100.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum RankScale {
    /// 0 to 1,000, the API's default.
    #[default]
    OneThousand,
    /// 0 to 100.
    OneHundred,
}

named!(RankScale: OneThousand = "one_thousand", OneHundred = "one_hundred");

/// The two documented shapes of a request body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BodyForm {
    /// `[{"target": …}]`
    Array,
    /// `{"target": …}`
    Object,
}

/// An HTTP response of any status.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    pub status: u16,
    /// The body; if it was cut off, the part that arrived.
    pub body: ReplyBody,
    /// How long the server asks the client to wait.
    pub retry_after: Option<Duration>,
    /// The real debit, from the header `X-AISA-Customer-Cost-Micros-USD`.
    pub debit: Option<Usd>,
    /// The gateway's id of this call, for its support.
    pub request_id: Option<String>,
    /// The server's time, from the header `Date`.
    pub date: Option<Timestamp>,
    /// Why the body is incomplete; `None`: it is complete.
    pub cut: Option<ApiError>,
}

/// Why there is no reply, or only a part of one.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// Determines whether the call may have been billed.
    pub kind: ErrorKind,
    /// What happened, without the URL and without secrets.
    pub message: String,
}

/// How far a call without a whole reply got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Unknown host, connection refused, no route, a timeout while connecting, an untrusted certificate, or a proxy
    /// that refuses: the request never reached the API.
    NotSent,
    /// Timed out, reset or cut off after it was sent: it may have been billed.
    Lost,
    /// The body exceeded the limit, of which only the beginning is usable, or it has an unknown content encoding: it
    /// was billed, and another call would bring the same.
    Unusable,
}
