//! What is kept of a call: that it was sent, and what came of it.
//!
//! `fetch` makes these, the ledger keeps them; neither knows the other.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    BodyForm, ReplyBody,
    status::{Assessment, Class},
};
use crate::{money::Usd, targets::Target};

/// A call about to go out.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Whose history is asked for.
    pub target: Target,
    /// How many calls this target has had in this run, this one included.
    pub attempt: u32,
    /// When it goes out.
    pub at: Timestamp,
    pub form: BodyForm,
    /// What is set aside for it under a spending cap; the API refuses above it.
    pub reserved: Option<Usd>,
}

/// What came of a call.
#[derive(Clone, Debug)]
pub struct Answered {
    /// Whose history was asked for.
    pub target: Target,
    /// The attempt as in [`Sent`].
    pub attempt: u32,
    /// When the last byte was here, or the hope for it was given up.
    pub at: Timestamp,
    /// From the first byte sent to the last received.
    pub latency: Duration,
    pub assessment: Assessment,
    /// The gateway's name for the call.
    pub request_id: Option<String>,
    /// The body, verbatim; `None` where there was no reply.
    pub body: Option<ReplyBody>,
}

/// A target that was given up in this run.
#[derive(Clone, Debug)]
pub struct GaveUp {
    /// Whose history could not be had.
    pub target: Target,
    pub at: Timestamp,
    /// What the last call meant.
    pub class: Class,
}

/// The state of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TargetState {
    /// Its history is stored.
    Ok,
    /// The API knows nothing of it.
    NoData,
    /// It was given up; the next run tries again.
    Failed,
    /// Not asked yet, or stopped before an answer.
    Pending,
}

impl TargetState {
    /// Whether an answer is stored, which is not fetched again.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Ok | Self::NoData)
    }
}
