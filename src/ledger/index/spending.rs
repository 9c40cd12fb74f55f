//! What all calls cost: for the next run and for the summary.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    api::{BodyForm, pricing::MaxPrice},
    money::Usd,
};

/// What a process that starts now has to know of the calls before it.
#[derive(Clone, Debug, Default)]
pub struct ResumeState {
    /// How long ago calls went out, at least, that may still count for the rate, and how many; those without a result
    /// count as of now.
    pub calls: Vec<(Duration, u32)>,
    /// Money that is gone: known costs, and what was set aside for calls at an unknown price.
    pub spent: Usd,
    /// The highest prices of calls so far.
    pub max_price: MaxPrice,
    /// What calls cost of which the price is known.
    pub known_cost: Usd,
    /// How many calls that are.
    pub priced_calls: u64,
    /// The form of body that the API has understood, if any.
    pub form: Option<BodyForm>,
}

/// What all calls of a directory came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spending {
    /// Calls that went out.
    pub calls: u64,
    /// Calls that repeated one of the same target; the first of a refresh is none.
    pub retries: u64,
    /// What the gateway's header reported as debited.
    pub debited: Usd,
    /// What bodies without that header reported as the upstream cost.
    pub upstream: Usd,
    /// What is counted under a spending cap for calls with an unreported debit, beyond what is known of it.
    pub set_aside: Usd,
    /// Calls with an unknown price.
    pub unknown: u64,
    /// Calls that may have been billed without an answer.
    pub possibly_billed: u64,
    /// Answers that have taken the place of an older one of the same target.
    #[serde(default)]
    pub refreshed: u64,
    /// Answers that were taken over from earlier runs, which cost nothing here.
    #[serde(default)]
    pub taken_over: u64,
}

impl Spending {
    /// Known cost: what was debited, or else the upstream price.
    pub fn known(&self) -> Usd {
        self.debited.plus(self.upstream)
    }

    /// What several directories' calls came to together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            calls: self.calls + other.calls,
            retries: self.retries + other.retries,
            debited: self.debited.plus(other.debited),
            upstream: self.upstream.plus(other.upstream),
            set_aside: self.set_aside.plus(other.set_aside),
            unknown: self.unknown + other.unknown,
            possibly_billed: self.possibly_billed + other.possibly_billed,
            refreshed: self.refreshed + other.refreshed,
            taken_over: self.taken_over + other.taken_over,
        }
    }
}

impl ResumeState {
    /// What a call has cost on average; `None`: no price is known.
    pub fn mean_price(&self) -> Option<Usd> {
        let calls = i64::try_from(self.priced_calls).ok().filter(|calls| *calls > 0)?;
        Some(self.known_cost.part(calls))
    }
}
