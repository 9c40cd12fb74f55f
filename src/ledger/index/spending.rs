//! The cost of all calls, for the next run and for the summary.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    api::{BodyForm, pricing::HighestPrice},
    money::Usd,
};

/// What a new process has to know about earlier calls.
#[derive(Clone, Debug, Default)]
pub struct ResumeState {
    /// The minimum age of calls that may still count toward the rate, and their number; those without a result count as
    /// sent now.
    pub calls: Vec<(Duration, u32)>,
    /// Money spent: known costs, and the amounts reserved for calls with an unknown price.
    pub spent: Usd,
    /// The highest prices of calls so far.
    pub highest_price: HighestPrice,
    /// The cost of calls with a known price.
    pub known_cost: Usd,
    /// The number of these calls.
    pub priced_calls: u64,
    /// The form of body that the API has accepted, if any.
    pub form: Option<BodyForm>,
    /// The last calls in a row that cost money, or may have, without an answer.
    pub costly_failures: u32,
}

/// The totals of all calls of a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spending {
    /// Calls that were sent.
    pub calls: u64,
    /// Calls that repeated one for the same target; the first call of a refresh is not a retry.
    pub retries: u64,
    /// What the gateway's header reported as debited.
    pub debited: Usd,
    /// What bodies without that header reported as the upstream cost.
    pub upstream: Usd,
    /// The amount counted under a spending cap for calls with an unreported debit, beyond their known cost.
    pub set_aside: Usd,
    /// Calls with an unknown price.
    #[serde(rename = "unknown")]
    pub unpriced_calls: u64,
    /// Calls that may have been billed without an answer.
    pub possibly_billed: u64,
    /// Answers that replaced an older one of the same target.
    #[serde(default)]
    pub refreshed: u64,
    /// Answers that were copied from earlier runs, which cost nothing here.
    #[serde(default)]
    pub taken_over: u64,
}

impl Spending {
    /// Known cost: the debit, or else the upstream price.
    pub fn reported(&self) -> Usd {
        self.debited.plus(self.upstream)
    }

    /// The combined totals of several directories.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            calls: self.calls + other.calls,
            retries: self.retries + other.retries,
            debited: self.debited.plus(other.debited),
            upstream: self.upstream.plus(other.upstream),
            set_aside: self.set_aside.plus(other.set_aside),
            unpriced_calls: self.unpriced_calls + other.unpriced_calls,
            possibly_billed: self.possibly_billed + other.possibly_billed,
            refreshed: self.refreshed + other.refreshed,
            taken_over: self.taken_over + other.taken_over,
        }
    }
}

impl ResumeState {
    /// The mean price of a call; `None`: no price is known.
    pub fn mean_price(&self) -> Option<Usd> {
        let calls = i64::try_from(self.priced_calls).ok().filter(|calls| *calls > 0)?;
        Some(self.known_cost.part(calls))
    }
}
