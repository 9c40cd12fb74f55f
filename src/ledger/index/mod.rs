//! An index of the ledger in memory, by target: its state, its cost, and where its answer is.
//!
//! Built by reading the records on opening, and updated by the same rules as records are appended: there is only one
//! way to interpret a record.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use jiff::civil::Date;

use super::{
    Location,
    record::{AnswerRecord, CostSource, Record, TakenOver},
};
use crate::{
    api::{
        BodyForm,
        call_events::TargetState,
        pricing::{HighestPrice, counted_cost, unpriced},
        status::{Class, Cost},
    },
    clock::Moment,
    money::Usd,
    targets::{Target, TargetRef, TargetSet},
};

mod spending;
mod target_entry;

pub use self::{
    spending::{ResumeState, Spending},
    target_entry::TargetEntry,
};

/// How long calls are remembered for the rate limit: the longest period that a rate can have.
const REMEMBERED: Duration = Duration::from_hours(1);
/// Calls are remembered as if all calls within this time had been sent at its end.
const RATE_BUCKET: Duration = Duration::from_millis(100);
/// How many of these intervals are searched for that of a call: calls that are sent together are answered seconds
/// apart.
const BUCKETS_SEARCHED: usize = 64;

/// The calls for a target since its final answer, which counts until there is another one.
#[derive(Clone, Copy, Debug, Default)]
struct Refresh {
    calls: u32,
    /// The latest result, which is not an answer; `None`: none of them has a result.
    last: Option<Location>,
    given_up: bool,
}

/// What the ledger contains about all targets, and about the account's calls.
///
/// About 80 MB for a million targets.
#[derive(Debug, Default)]
pub(super) struct Index {
    targets: TargetSet,
    /// By the target's number.
    entries: Vec<TargetEntry>,
    /// The amounts reserved for calls without any record of their result yet, by their target's number.
    unanswered: HashMap<u32, Option<Usd>>,
    /// Refreshes that were begun and have no answer yet, by their target's number.
    refreshing: HashMap<u32, Refresh>,
    /// First calls for a target or for a refresh.
    first_calls: u64,
    /// What records add up to: all but the calls, the retries, and what a call without a result may have cost.
    spending: Spending,
    /// The last day that was requested for an answer, if it differs from the run's.
    latest_date_to: Option<Date>,
    /// When calls were sent (those of killed processes: the latest possible time), and how many at each moment.
    recent: VecDeque<(Moment, u32)>,
    /// The form of body that the API has accepted.
    form: Option<BodyForm>,
    asked_in: Option<BodyForm>,
    highest_price: HighestPrice,
    priced_calls: u64,
    /// The last calls in a row that cost money, or may have, without an answer.
    costly_failures: u32,
}

impl Index {
    /// The entry of a target; `None`: it was never called.
    pub(super) fn get(&self, target: TargetRef<'_>) -> Option<&TargetEntry> {
        self.targets.number(target).map(|number| &self.entries[number as usize])
    }

    /// All targets that were ever called, in order of their first calls.
    pub(super) fn iter(&self) -> impl Iterator<Item = (TargetRef<'_>, &TargetEntry)> {
        self.targets.iter().zip(&self.entries)
    }

    /// One of them, by its index in that order.
    pub(super) fn entry_at(&self, number: u32) -> (TargetRef<'_>, &TargetEntry) {
        (self.targets.get(number), &self.entries[number as usize])
    }

    /// What the next calls have to respect.
    pub(super) fn resume_state(&self, now: Moment) -> ResumeState {
        let mut calls: Vec<_> = self.recent.iter().map(|(at, calls)| (at.age(&now), *calls)).collect();
        calls.extend(self.unanswered.values().map(|_| (Duration::ZERO, 1)));
        let reported = self.entries.iter().map(|entry| entry.cost).fold(Usd::ZERO, Usd::plus);
        ResumeState {
            calls,
            spent: reported.plus(self.spending.set_aside).plus(self.unanswered_cost()),
            highest_price: self.highest_price,
            known_cost: reported,
            priced_calls: self.priced_calls,
            form: self.form,
            costly_failures: self.costly_failures,
        }
    }

    /// The assumed cost of calls without a result.
    fn unanswered_cost(&self) -> Usd {
        self.unanswered.values().map(|reserved| unpriced(*reserved, self.highest_price)).fold(Usd::ZERO, Usd::plus)
    }

    pub(super) fn spending(&self) -> Spending {
        let calls = self.entries.iter().map(|entry| u64::from(entry.attempts)).sum::<u64>();
        let unrecorded = self.entries.iter().map(|entry| u64::from(entry.unrecorded_calls())).sum::<u64>();
        Spending {
            calls,
            retries: calls.saturating_sub(self.first_calls),
            set_aside: self.spending.set_aside.plus(self.unanswered_cost()),
            unpriced_calls: self.spending.unpriced_calls + unrecorded,
            possibly_billed: self.entries.iter().map(|entry| u64::from(entry.possibly_billed())).sum(),
            ..self.spending
        }
    }

    /// The latest result of a refresh that has no answer yet.
    pub(super) fn failed_refresh(&self, target: TargetRef<'_>) -> Option<&Location> {
        self.refreshing.get(&self.targets.number(target)?)?.last.as_ref()
    }

    pub(super) fn is_refresh_given_up(&self, target: TargetRef<'_>) -> bool {
        let refresh = self.targets.number(target).and_then(|number| self.refreshing.get(&number));
        refresh.is_some_and(|refresh| refresh.given_up)
    }

    /// The last day that was requested for an answer, if it differs from the run's.
    pub(super) fn latest_date_to(&self) -> Option<Date> {
        self.latest_date_to
    }

    pub(super) fn apply(&mut self, record: &Record, location: Location) {
        match record {
            Record::Run { .. } | Record::Inputs(_) => {}
            Record::Sent { target, at, since_boot, form, reserved_micros_usd, .. } => {
                self.asked_in = Some(*form);
                let number = self.number(target);
                self.count_sent(number);
                if let Some(earlier) = self.unanswered.insert(number, *reserved_micros_usd) {
                    // A process was killed with this call in flight.
                    self.entries[number as usize].interrupted();
                    let cost = unpriced(earlier, self.highest_price);
                    self.spending.set_aside = self.spending.set_aside.plus(cost);
                    // It was sent before this one, at an unknown time.
                    self.remember(Moment { wall: *at, since_boot: *since_boot });
                }
            }
            Record::CalledOff { target, .. } => self.apply_called_off(target),
            Record::Answer(answer) => self.apply_answer(answer, location),
            Record::TakenOver(taken) => self.apply_taken_over(taken, location),
            Record::GaveUp { target, .. } => {
                let number = self.number(target);
                let entry = &mut self.entries[number as usize];
                if entry.state.is_final() {
                    self.refreshing.entry(number).or_default().given_up = true;
                } else {
                    entry.state = TargetState::Failed;
                }
            }
        }
    }

    /// Counts a call that is sent: the first for its target, the first to refresh an answer, or a further one.
    fn count_sent(&mut self, number: u32) {
        let entry = &mut self.entries[number as usize];
        let is_first = if entry.state.is_final() {
            let refresh = self.refreshing.entry(number).or_default();
            refresh.calls += 1;
            refresh.given_up = false;
            refresh.calls == 1
        } else {
            entry.state = TargetState::Pending;
            entry.attempts == 0
        };
        entry.sent();
        self.first_calls += u64::from(is_first);
    }

    fn apply_called_off(&mut self, target: &Target) {
        let number = self.number(target);
        self.unanswered.remove(&number);
        let entry = &mut self.entries[number as usize];
        entry.called_off();
        let was_first = if entry.state.is_final() {
            let refresh = self.refreshing.entry(number).or_default();
            refresh.calls = refresh.calls.saturating_sub(1);
            refresh.calls == 0 && self.refreshing.remove(&number).is_some()
        } else {
            entry.attempts == 0
        };
        self.first_calls = self.first_calls.saturating_sub(u64::from(was_first));
    }

    fn apply_answer(&mut self, answer: &AnswerRecord, location: Location) {
        let number = self.number(&answer.target);
        let reserved = self.unanswered.remove(&number).flatten();
        let price = answer.cost_micros_usd.unwrap_or_default();
        let cost = match answer.cost_source {
            Some(CostSource::Debit) => Cost::Debit(price),
            Some(CostSource::Upstream) => Cost::Upstream(price),
            Some(CostSource::Unknown) => Cost::Unknown,
            Some(CostSource::Previous) | None => Cost::Nothing,
        };
        let spending = &mut self.spending;
        match cost {
            Cost::Debit(price) => spending.debited = spending.debited.plus(price),
            Cost::Upstream(price) => spending.upstream = spending.upstream.plus(price),
            Cost::Unknown => spending.unpriced_calls += 1,
            Cost::Nothing => {}
        }
        self.highest_price.learn(cost);
        // What an unreported debit may have cost beyond the known amount.
        let beyond = counted_cost(cost, reserved, self.highest_price).minus(cost.reported());
        spending.set_aside = spending.set_aside.plus(beyond);
        self.remember(answer.sent_at());
        self.priced_calls += u64::from(answer.cost_micros_usd.is_some());
        let is_final = matches!(answer.class, Class::Data | Class::NoData);
        if is_final {
            self.form = self.asked_in;
            self.costly_failures = 0;
        } else if cost.is_costly() {
            self.costly_failures = self.costly_failures.saturating_add(1);
        }
        let entry = &mut self.entries[number as usize];
        entry.answered(price, answer.cost_source, answer.possibly_billed());
        self.spending.refreshed += u64::from(entry.state.is_final() && is_final);
        self.set_state(number, answer, location);
    }

    /// An answer that an earlier run paid for: it determines its target's state, and adds no call and no cost.
    fn apply_taken_over(&mut self, taken: &TakenOver, location: Location) {
        let number = self.number(&taken.answer.target);
        self.entries[number as usize].has_cost_from(Some(CostSource::Previous));
        self.spending.taken_over += 1;
        self.set_state(number, &taken.answer, location);
    }

    /// The latest final answer counts. Later results explain why it was not refreshed.
    fn set_state(&mut self, number: u32, answer: &AnswerRecord, location: Location) {
        let entry = &mut self.entries[number as usize];
        let state = match answer.class {
            Class::Data => TargetState::Ok,
            Class::NoData => TargetState::NoData,
            _ if entry.state.is_final() => {
                self.refreshing.entry(number).or_default().last = Some(location);
                return;
            }
            _ => TargetState::Pending,
        };
        entry.set_state(state, answer.at, location);
        if state.is_final() {
            self.refreshing.remove(&number);
            self.latest_date_to = self.latest_date_to.max(answer.date_to);
        }
    }

    fn number(&mut self, target: &Target) -> u32 {
        let (number, is_new) = self.targets.insert(target.view());
        if is_new {
            self.entries.push(TargetEntry::default());
        }
        number
    }

    fn remember(&mut self, at: Moment) {
        while self.recent.front().is_some_and(|(first, _)| first.age(&at) > REMEMBERED) {
            self.recent.pop_front();
        }
        let at = at.rounded_up(RATE_BUCKET);
        match self.recent.iter_mut().rev().take(BUCKETS_SEARCHED).find(|(moment, _)| *moment == at) {
            Some((_, calls)) => *calls += 1,
            None => self.recent.push_back((at, 1)),
        }
    }
}

#[cfg(test)]
mod tests;
