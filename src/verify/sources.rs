//! The ledgers that a dataset was made of, taken together.
//!
//! A target that several ledgers know is taken from the newest final answer, what its calls cost is the sum over all.

use std::cmp::Reverse;

use jiff::Timestamp;
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
    targets::{Inputs, TargetRef},
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
    /// The place of the ledger whose answer counts.
    pub(super) source: u32,
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
    pub(super) inputs: Inputs,
    pub(super) inputs_sha256: String,
    /// All that is held, by target; with snapshots, that of one day after the other.
    pub(super) held: Vec<Held>,
}

/// A history that is held: which ledger's, and which target's there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Held {
    pub(super) ledger: u32,
    pub(super) number: u32,
}

impl<'a> Sources<'a> {
    /// With `snapshots` each day on which runs began keeps its own rows.
    pub(super) fn new(ledgers: &'a mut [Ledger], snapshots: bool) -> Self {
        let readings: Vec<Inputs> = ledgers.iter_mut().filter_map(|ledger| ledger.inputs.take()).collect();
        let of_one = ledgers.first().filter(|_| readings.len() == 1).map(|ledger| ledger.inputs_sha256.clone());
        let inputs = Inputs::merged(readings);
        let inputs_sha256 = of_one.unwrap_or_else(|| crate::ledger::digest(&inputs));
        let mut sources = Self { ledgers, inputs, inputs_sha256, held: Vec::new() };
        sources.held = sources.all_held(snapshots);
        sources
    }

    /// For each target one answer, or with `snapshots` one of each day.
    fn all_held(&self, snapshots: bool) -> Vec<Held> {
        let day = |ledger: &Ledger| ledger.run_date.filter(|_| snapshots);
        let mut all = Vec::new();
        for (place, ledger) in (0..).zip(self.ledgers) {
            for (number, target) in (0..).zip(ledger.accounts.targets.iter()) {
                let same_day: Vec<_> = self.states(target).filter(|(_, other, _)| day(other) == day(ledger)).collect();
                let (counts, state) = best(&same_day);
                if counts == place && state.standing == Standing::Ok && state.last.is_some() {
                    all.push(Held { ledger: place, number });
                }
            }
        }
        let order = |held: &Held| (day(self.ledger(*held)), self.target(*held));
        all.sort_unstable_by(|one, other| order(one).cmp(&order(other)));
        all
    }

    /// What each ledger knows of a target, with the ledger's place.
    fn states(&self, target: TargetRef<'_>) -> impl Iterator<Item = (u32, &'a Ledger, &'a State)> {
        let known =
            (0..).zip(self.ledgers).map(move |(place, ledger)| Some((place, ledger, ledger.accounts.get(target)?.1)));
        known.flatten()
    }

    pub(super) fn ledger(&self, held: Held) -> &'a Ledger {
        &self.ledgers[held.ledger as usize]
    }

    /// Whose history it is.
    pub(super) fn target(&self, held: Held) -> TargetRef<'a> {
        self.ledger(held).accounts.targets.get(held.number)
    }

    /// The answer.
    pub(super) fn last(&self, held: Held) -> &'a Last {
        self.ledger(held).accounts.state(held.number).last.as_ref().expect("what is held has an answer")
    }

    /// A target's history in each of the ledgers that know it, held or not.
    pub(super) fn histories(&self, target: TargetRef<'_>) -> impl Iterator<Item = Held> {
        let number =
            move |(place, ledger): (u32, &Ledger)| Some(Held { ledger: place, number: ledger.accounts.get(target)?.0 });
        (0..).zip(self.ledgers).filter_map(number)
    }

    /// What is known of a target; `None`: it was never asked about.
    pub(super) fn account(&self, target: TargetRef<'_>) -> Option<Account<'a>> {
        let states: Vec<_> = self.states(target).collect();
        (!states.is_empty()).then(|| account(self.ledgers, &states))
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
    pub(super) fn of_lines(&self) -> impl Iterator<Item = Account<'a>> {
        self.inputs.targets().filter_map(|target| self.account(target))
    }

    /// When the oldest answer came that is in force.
    pub(super) fn oldest_answer(&self) -> Option<Timestamp> {
        let answered = self.of_lines().filter(|account| account.standing.is_final());
        answered.filter_map(|account| account.last).map(Last::at).min()
    }

    /// What all calls came to.
    pub(super) fn spending(&self) -> Spending {
        self.ledgers.iter().map(|ledger| ledger.accounts.spending()).fold(Spending::default(), Spending::plus)
    }
}

/// The one of these ledgers whose state counts: an answer more than none, a newer one more than an older one.
fn best<'a>(states: &[(u32, &'a Ledger, &'a State)]) -> (u32, &'a State) {
    let rank =
        |place: u32, state: &State| (state.standing.is_final(), state.last.as_ref().map(Last::at), Reverse(place));
    let best = states.iter().max_by_key(|(place, _, state)| rank(*place, state));
    let (place, _, state) = best.expect("a target is there because a ledger knows it");
    (*place, *state)
}

fn account<'a>(ledgers: &'a [Ledger], states: &[(u32, &'a Ledger, &'a State)]) -> Account<'a> {
    let (source, state) = best(states);
    let sum = |count: fn(&State) -> u32| states.iter().map(|(.., state)| u64::from(count(state))).sum();
    let cost = states.iter().map(|(.., state)| state.cost).fold(Usd::ZERO, Usd::plus);
    let cost_source = states.iter().filter_map(|(.., state)| state.cost_source()).max();
    let nobody_told = cost_source == Some(CostSource::Unknown) && cost == Usd::ZERO;
    Account {
        standing: state.standing,
        attempts: sum(|state| state.attempts),
        possibly_billed: sum(State::possibly_billed),
        cost: (!nobody_told).then_some(cost),
        cost_source,
        last: state.last.as_ref(),
        refresh: state.refresh.as_deref(),
        source,
        ledger: &ledgers[source as usize],
    }
}
