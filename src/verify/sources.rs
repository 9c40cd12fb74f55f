//! The ledgers that a dataset was made of, taken together.
//!
//! A target that several ledgers know is taken from the newest final answer, what its calls cost is the sum over all.

use std::{cmp::Reverse, collections::BTreeMap};

use jiff::{Timestamp, civil::Date};
use sha2::{Digest, Sha256};

use super::{
    account::{Last, Refresh, State},
    frames::hex,
    ledger::Ledger,
};
use crate::{
    api::{Parameters, record::Standing},
    ledger::{CostSource, Spending},
    money::Usd,
    targets::Inputs,
};

/// All that is known of one target.
pub(super) struct Account<'a> {
    pub(super) standing: Standing,
    pub(super) attempts: u64,
    pub(super) possibly_billed: u64,
    pub(super) cost: Option<Usd>,
    pub(super) cost_source: Option<CostSource>,
    pub(super) last: Option<&'a Last>,
    /// A refresh of its answer that has come to nothing so far.
    pub(super) refresh: Option<&'a Refresh>,
    pub(super) ledger: &'a Ledger,
}

impl Account<'_> {
    /// Whether its answer was to be refreshed, and that was given up.
    pub(super) fn refresh_given_up(&self) -> bool {
        self.refresh.is_some_and(|refresh| refresh.given_up)
    }
}

/// The ledgers.
pub(super) struct Sources<'a> {
    pub(super) ledgers: &'a [Ledger],
    pub(super) accounts: BTreeMap<&'a str, Account<'a>>,
    pub(super) inputs: Inputs,
    pub(super) inputs_sha256: String,
    /// All that is held, in the order of comparison.
    held: Vec<(&'a Ledger, &'a str, &'a Last)>,
}

/// A target whose history is held.
pub(super) struct Held<'a> {
    pub(super) target: &'a str,
    pub(super) run_date: Option<Date>,
    pub(super) ledger: &'a Ledger,
    pub(super) last: &'a Last,
}

impl<'a> Sources<'a> {
    /// With `snapshots` each day on which runs began keeps its own rows.
    pub(super) fn new(ledgers: &'a mut [Ledger], snapshots: bool) -> Self {
        let readings: Vec<Inputs> = ledgers.iter_mut().filter_map(|ledger| ledger.inputs.take()).collect();
        let ledgers: &[Ledger] = ledgers;
        let mut knowing: BTreeMap<&str, Vec<(&Ledger, &State)>> = BTreeMap::new();
        for ledger in ledgers {
            for (target, state) in &ledger.accounts.targets {
                knowing.entry(target).or_default().push((ledger, state));
            }
        }
        let held = held(&knowing, snapshots);
        let accounts = knowing.into_iter().map(|(target, states)| (target, account(&states))).collect();
        let (inputs, inputs_sha256) = match <[Inputs; 1]>::try_from(readings) {
            Ok([only]) => (only, ledgers.first().map(|ledger| ledger.inputs_sha256.clone()).unwrap_or_default()),
            Err(several) => {
                let merged = Inputs::merged(&several);
                let digest = crate::ledger::digest(&merged);
                (merged, digest)
            }
        };
        Self { ledgers, accounts, inputs, inputs_sha256, held }
    }

    /// Every target whose history is held, by name; with snapshots, those of one day after the other.
    pub(super) fn held(&self) -> Vec<Held<'a>> {
        let held = |(ledger, target, last): &(&'a Ledger, &'a str, &'a Last)| Held {
            target,
            run_date: ledger.run_date,
            ledger,
            last,
        };
        self.held.iter().map(held).collect()
    }

    /// Whether this is the answer that counts for its target.
    pub(super) fn counts(&self, held: &Held<'_>) -> bool {
        self.accounts.get(held.target).is_some_and(|account| std::ptr::eq(account.ledger, held.ledger))
    }

    /// The name under which the dataset's files go.
    pub(super) fn run_id(&self) -> String {
        let mut ids: Vec<&str> = self.ledgers.iter().map(|ledger| &*ledger.run_id).collect();
        ids.sort_unstable();
        ids.dedup();
        match ids[..] {
            [only] => only.to_owned(),
            _ => format!("merged-{}", hex(&Sha256::digest(ids.join("\n"))[..6])),
        }
    }

    /// What was asked; the last day is the latest that any answer was asked for.
    pub(super) fn parameters(&self) -> Option<Parameters> {
        let runs = self.ledgers.iter().filter_map(|ledger| ledger.parameters.as_ref());
        let latest = runs.max_by_key(|asked| asked.date_to)?.clone();
        let refreshed = self.ledgers.iter().filter_map(|ledger| ledger.accounts.asked_up_to).max();
        Some(Parameters { date_to: refreshed.map_or(latest.date_to, |day| day.max(latest.date_to)), ..latest })
    }

    /// Targets of the lines, with what is known of them.
    pub(super) fn of_lines(&self) -> impl Iterator<Item = &Account<'a>> {
        self.inputs.targets().filter_map(|target| self.accounts.get(target.as_str()))
    }

    /// When the oldest answer came that is in force.
    pub(super) fn oldest_answer(&self) -> Option<Timestamp> {
        let answered = self.of_lines().filter(|account| account.standing.is_final());
        answered.filter_map(|account| account.last).map(|last| last.at).min()
    }

    /// What all calls came to.
    pub(super) fn spending(&self) -> Spending {
        self.ledgers.iter().map(|ledger| ledger.accounts.spending()).fold(Spending::default(), Spending::plus)
    }
}

/// The one of these ledgers whose state counts: an answer more than none, a newer one more than an older one.
fn best<'a>(states: &[(&'a Ledger, &'a State)]) -> (&'a Ledger, &'a State) {
    let rank = |place: usize, state: &State| {
        (state.standing.is_final(), state.last.as_ref().map(|last| last.at), Reverse(place))
    };
    let best = states.iter().enumerate().max_by_key(|(place, (_, state))| rank(*place, state));
    *best.expect("a target is there because a ledger knows it").1
}

/// What is held: for each target one answer, or with `snapshots` one of each day, in order of day and target.
fn held<'a>(
    knowing: &BTreeMap<&'a str, Vec<(&'a Ledger, &'a State)>>,
    snapshots: bool,
) -> Vec<(&'a Ledger, &'a str, &'a Last)> {
    let mut held = Vec::new();
    for (target, states) in knowing {
        let mut days: BTreeMap<Option<Date>, Vec<(&Ledger, &State)>> = BTreeMap::new();
        for (ledger, state) in states {
            days.entry(ledger.run_date.filter(|_| snapshots)).or_default().push((*ledger, *state));
        }
        for (day, states) in days {
            let (ledger, state) = best(&states);
            let last = state.last.as_ref().filter(|_| state.standing == Standing::Ok);
            held.extend(last.map(|last| (day, ledger, *target, last)));
        }
    }
    held.sort_by_key(|(day, _, target, _)| (*day, *target));
    held.into_iter().map(|(_, ledger, target, last)| (ledger, target, last)).collect()
}

fn account<'a>(states: &[(&'a Ledger, &'a State)]) -> Account<'a> {
    let (ledger, state) = best(states);
    let sum = |count: fn(&State) -> u32| states.iter().map(|(_, state)| u64::from(count(state))).sum();
    let cost = states.iter().map(|(_, state)| state.cost).fold(Usd::ZERO, Usd::plus);
    let cost_source = states.iter().filter_map(|(_, state)| state.cost_source()).max();
    let nobody_told = cost_source == Some(CostSource::Unknown) && cost == Usd::ZERO;
    Account {
        standing: state.standing,
        attempts: sum(|state| state.attempts),
        possibly_billed: sum(State::possibly_billed),
        cost: (!nobody_told).then_some(cost),
        cost_source,
        last: state.last.as_ref(),
        refresh: state.refresh.as_ref(),
        ledger,
    }
}
