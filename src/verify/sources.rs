//! The ledgers that a dataset was made of, taken together.
//!
//! A target that several ledgers know is taken from the newest final answer, what its calls cost is the sum over all.

use std::{cmp::Reverse, collections::BTreeMap};

use jiff::civil::Date;
use sha2::{Digest, Sha256};

use super::{
    account::{Last, State},
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
    pub(super) ledger: &'a Ledger,
}

/// The ledgers.
pub(super) struct Sources<'a> {
    pub(super) ledgers: &'a [Ledger],
    pub(super) accounts: BTreeMap<&'a str, Account<'a>>,
    pub(super) inputs: Inputs,
    pub(super) inputs_sha256: String,
}

/// A target whose history is held.
pub(super) struct Held<'a> {
    pub(super) target: &'a str,
    pub(super) run_date: Option<Date>,
    pub(super) ledger: &'a Ledger,
    pub(super) last: &'a Last,
}

impl<'a> Sources<'a> {
    pub(super) fn new(ledgers: &'a mut [Ledger]) -> Self {
        let readings: Vec<Inputs> = ledgers.iter_mut().filter_map(|ledger| ledger.inputs.take()).collect();
        let ledgers: &[Ledger] = ledgers;
        let mut knowing: BTreeMap<&str, Vec<(&Ledger, &State)>> = BTreeMap::new();
        for ledger in ledgers {
            for (target, state) in &ledger.accounts.targets {
                knowing.entry(target).or_default().push((ledger, state));
            }
        }
        let accounts = knowing.into_iter().map(|(target, states)| (target, account(&states))).collect();
        let (inputs, inputs_sha256) = match <[Inputs; 1]>::try_from(readings) {
            Ok([only]) => (only, ledgers.first().map(|ledger| ledger.inputs_sha256.clone()).unwrap_or_default()),
            Err(several) => {
                let merged = Inputs::merged(&several);
                let digest = crate::ledger::digest(&merged);
                (merged, digest)
            }
        };
        Self { ledgers, accounts, inputs, inputs_sha256 }
    }

    /// Every target whose history is held, by name.
    pub(super) fn held(&self) -> Vec<Held<'a>> {
        let held = self.accounts.iter().filter(|(_, account)| account.standing == Standing::Ok);
        held.filter_map(|(target, account)| {
            let Account { ledger, last, .. } = *account;
            Some(Held { target, run_date: ledger.run_date, ledger, last: last? })
        })
        .collect()
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

    /// What was asked; the last day is the latest of all ledgers.
    pub(super) fn parameters(&self) -> Option<&'a Parameters> {
        self.ledgers.iter().filter_map(|ledger| ledger.parameters.as_ref()).max_by_key(|asked| asked.date_to)
    }

    /// What all calls came to.
    pub(super) fn spending(&self) -> Spending {
        self.ledgers.iter().map(|ledger| ledger.accounts.spending()).fold(Spending::default(), Spending::plus)
    }
}

fn account<'a>(states: &[(&'a Ledger, &'a State)]) -> Account<'a> {
    let rank = |place: usize, state: &State| {
        (state.standing.is_final(), state.last.as_ref().map(|last| last.at), Reverse(place))
    };
    let best = states.iter().enumerate().max_by_key(|(place, (_, state))| rank(*place, state));
    let (ledger, state) = *best.expect("a target is there because a ledger knows it").1;
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
        ledger,
    }
}
