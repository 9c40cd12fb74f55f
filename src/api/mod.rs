//! The paid API as the rest of the program sees it: one call, its reply, what the reply means.
//!
//! - [`Api`] is the seam: one method, `post`. [`http`] implements it over the wire, tests with a script.
//! - [`request`] turns a call's fields into a body.
//! - [`pricing`] is the money rule: what a call counts for, whatever is known of its price.
//! - [`account`] is what a plan may ask without buying.
//! - [`record`] is what is kept of a call.
//! - [`status`] is the table: every HTTP status and in-body code to one [`status::Class`].
//!
//! Nothing here waits, retries or keeps anything; a reply's body passes through untouched.

use std::{future::Future, time::Duration};

use bytes::Bytes;
use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};

use crate::{money::Usd, targets::Target};

pub mod account;
pub mod http;
pub mod pricing;
pub mod record;
mod reply_body;
pub mod request;
pub mod status;

pub use reply_body::ReplyBody;

/// The earliest date the API knows (its documentation of `date_from`).
pub const EARLIEST_DATE: Date = jiff::civil::date(2019, 1, 1);

/// The longest `tag` the API takes, in characters.
pub const LONGEST_TAG: usize = 255;

/// One paid call at a time. Implementations hold nothing back: every byte that came is in the reply.
pub trait Api: Send + Sync + 'static {
    /// Sends one call and reads its whole body.
    fn post(&self, request: &Request) -> impl Future<Output = Result<Reply, ApiError>> + Send;
}

/// One call: a target and what is asked about it.
#[derive(Clone, Debug)]
pub struct Request {
    /// Whose history is bought.
    pub target: Target,
    /// The body, as [`request::body`] made it.
    pub body: Bytes,
    /// The price above which the API shall refuse instead of debiting, when a spending cap is set.
    pub max_price: Option<Usd>,
}

/// What is asked of every target of a run alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum RankScale {
    /// 0 to 1,000, the API's default.
    OneThousand,
    /// 0 to 100.
    OneHundred,
}

impl RankScale {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OneThousand => "one_thousand",
            Self::OneHundred => "one_hundred",
        }
    }
}

/// The two shapes of a request body that the API's pages document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BodyForm {
    /// `[{"target": …}]`
    Array,
    /// `{"target": …}`
    Object,
}

/// What came back over HTTP, whatever its status.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    pub status: u16,
    /// The body; what came of it where it was cut off.
    pub body: ReplyBody,
    /// How long the server asks to wait.
    pub retry_after: Option<Duration>,
    /// The real debit, from the header `X-AISA-Customer-Cost-Micros-USD`.
    pub debit: Option<Usd>,
    /// The gateway's name for this call, for its support.
    pub request_id: Option<String>,
    /// What time it is at the server, by the header `Date`.
    pub date: Option<Timestamp>,
    /// Why the body ends before its end; `None`: it is whole.
    pub cut: Option<ApiError>,
}

/// What kept a reply, or the rest of one, from coming.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// What is known of the bill.
    pub kind: ErrorKind,
    /// What happened, without the URL and without anything secret.
    pub message: String,
}

/// How far a call without a whole reply got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// Unknown host, untrusted certificate, a proxy that refuses: the request never reached the API, and waiting does
    /// not help.
    Unreachable,
    /// Refused, no route, no connection in time: the request never reached the API.
    NotSent,
    /// Timed out, reset or cut off after it was sent: it may have been billed.
    Lost,
    /// The body grew past the limit: billed, and of no use but for its beginning.
    TooLarge,
}
