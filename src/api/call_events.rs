//! What is recorded about a call: that it was sent, and its result.
//!
//! `fetch` creates these records and the ledger stores them; neither depends on the other.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    BodyForm, ReplyBody,
    status::{Assessment, Class},
};
use crate::{money::Usd, targets::Target};

/// A call about to be sent.
#[derive(Clone, Debug)]
pub struct Sent {
    pub target: Target,
    /// How many calls this target has had in this run, including this one.
    pub attempt: u32,
    pub at: Timestamp,
    pub form: BodyForm,
    /// The highest price that the API may charge under a spending cap; it refuses a higher one.
    pub price_limit: Option<Usd>,
}

/// The result of a call.
#[derive(Clone, Debug)]
pub struct Answered {
    pub target: Target,
    /// The attempt as in [`Sent`].
    pub attempt: u32,
    /// When the last byte arrived, or when the call was given up.
    pub at: Timestamp,
    /// From the first byte sent to the last byte received.
    pub latency: Duration,
    pub assessment: Assessment,
    /// The gateway's id of the call.
    pub request_id: Option<String>,
    /// The body, verbatim; `None` if there was no reply.
    pub body: Option<ReplyBody>,
}

/// A target that was given up in this run.
#[derive(Clone, Debug)]
pub struct GaveUp {
    /// The target whose history could not be fetched.
    pub target: Target,
    pub at: Timestamp,
    /// The class of the last call.
    pub class: Class,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TargetState {
    /// Its history is stored.
    Ok,
    /// The API has no data for it.
    NoData,
    /// It was given up; the next run tries again.
    Failed,
    /// Not called yet, or stopped before an answer.
    #[default]
    Pending,
}

impl TargetState {
    /// Whether its answer is stored, so that it is not fetched again.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Ok | Self::NoData)
    }
}
