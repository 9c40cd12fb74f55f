//! What the ledger says of each target, kept in memory: where it stands, what it cost, where its answer lies.
//!
//! Built by walking through the records on opening, and kept up to date by the same rules as records
//! are appended: there is one way to understand a record.

use std::collections::{HashMap, VecDeque};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    Location,
    record::{Answer, CostSource, Record},
};
use crate::{
    api::{
        BodyForm,
        record::Standing,
        status::{Class, UnknownClass},
    },
    money::Usd,
    targets::Target,
};

/// How long calls are remembered for the rate window: the longest period that a rate can have.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(1);

/// What is known of one target.
#[derive(Clone, Debug)]
pub struct Known {
    /// Where it stands.
    pub standing: Standing,
    /// Calls that went out, of all runs of this directory.
    pub attempts: u32,
    /// What its calls cost, as far as anybody told.
    pub cost: Usd,
    cost_source: Option<CostSource>,
    /// Calls that may have been billed without an answer, the one under way aside.
    lost: u16,
    /// Calls among them that a killed process left without any record of their result.
    interrupted: u16,
    /// Whether a call went out that has no result yet.
    unanswered: bool,
    /// Its answer, or the latest call's result where there is none; no head: nothing came of any call.
    last: Location,
}

/// A call that went out and has no result yet.
#[derive(Clone, Copy, Debug)]
struct Unanswered {
    at: Timestamp,
    reserved: Option<Usd>,
}

/// What is known of all targets, and of the account's calls.
///
/// A million targets take some 100 MB: the table, which is half empty after it has grown, holds numbers alone.
#[derive(Debug, Default)]
pub(super) struct Index {
    numbers: HashMap<Target, u32>,
    /// By the target's number.
    known: Vec<Known>,
    /// Calls without any record of their result yet, by their target's number.
    unanswered: HashMap<u32, Unanswered>,
    recent: VecDeque<Timestamp>,
    /// The form of body that the API has understood.
    form: Option<BodyForm>,
    asked_in: Option<BodyForm>,
    dearest: Usd,
    /// Reservations of calls whose price nobody told.
    unknown: Usd,
    debited: Usd,
    upstream: Usd,
    unpriced_calls: u64,
    priced_calls: u64,
}

/// What a process that starts now has to know of the calls before it.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// When calls went out that may still count for the rate, oldest first; those without a result count as of now.
    pub calls: Vec<Timestamp>,
    /// Money that is gone: known costs, and what was set aside for calls at an unknown price.
    pub spent: Usd,
    /// The dearest call so far; zero: no price is known.
    pub dearest: Usd,
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
    /// Calls that repeated one of the same target.
    pub retries: u64,
    /// What the gateway's header said was debited.
    pub debited: Usd,
    /// What bodies without that header said it cost upstream.
    pub upstream: Usd,
    /// What is reckoned under a spending cap for calls whose price nobody told.
    pub set_aside: Usd,
    /// Calls whose price nobody told.
    pub unknown: u64,
    /// Calls that may have been billed without an answer.
    pub possibly_billed: u64,
}

impl Spending {
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
        }
    }
}

impl Past {
    /// What a call has cost on average; `None`: no price is known.
    pub fn mean_price(&self) -> Option<Usd> {
        let calls = i64::try_from(self.priced_calls).ok().filter(|calls| *calls > 0)?;
        Some(self.known_cost.part(calls))
    }
}

impl Index {
    /// What is known of a target; `None`: never asked.
    pub(super) fn get(&self, target: &Target) -> Option<&Known> {
        self.numbers.get(target).map(|number| &self.known[*number as usize])
    }

    /// All targets that were ever asked about.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Target, &Known)> {
        self.numbers.iter().map(|(target, number)| (target, &self.known[*number as usize]))
    }

    /// What the next calls have to heed.
    pub(super) fn past(&self, now: Timestamp) -> Past {
        let mut calls: Vec<Timestamp> = self.recent.iter().map(|at| (*at).min(now)).collect();
        calls.extend(self.unanswered.values().map(|_| now));
        let known = self.known.iter().map(|known| known.cost).fold(Usd::ZERO, Usd::plus);
        Past {
            calls,
            spent: known.plus(self.unknown).plus(self.lost()),
            dearest: self.dearest,
            known_cost: known,
            priced_calls: self.priced_calls,
            form: self.form,
        }
    }

    /// What calls without a result are reckoned to have cost.
    fn lost(&self) -> Usd {
        self.unanswered.values().map(|call| call.reserved.unwrap_or(self.dearest)).fold(Usd::ZERO, Usd::plus)
    }

    /// What all calls came to.
    pub(super) fn spending(&self) -> Spending {
        let all = self.known.iter().filter(|known| known.attempts > 0);
        let calls = all.clone().map(|known| u64::from(known.attempts)).sum();
        let lost = self.known.iter().map(|known| u64::from(known.lost_without_record())).sum::<u64>();
        Spending {
            calls,
            retries: calls - all.count() as u64,
            debited: self.debited,
            upstream: self.upstream,
            set_aside: self.unknown.plus(self.lost()),
            unknown: self.unpriced_calls + lost,
            possibly_billed: self.known.iter().map(|known| u64::from(known.possibly_billed())).sum(),
        }
    }

    /// Takes a record in; `location` is where it lies.
    pub(super) fn take(&mut self, record: &Record, location: Location) -> Result<(), UnknownClass> {
        match record {
            Record::Run(_) | Record::Inputs(_) => {}
            Record::Sent { target, at, form, reserved_micros_usd, .. } => {
                self.asked_in = Some(*form);
                let number = self.number(target);
                let known = &mut self.known[number as usize];
                known.attempts += 1;
                known.unanswered = true;
                if !known.standing.is_final() {
                    known.standing = Standing::Pending;
                }
                let unanswered = Unanswered { at: *at, reserved: *reserved_micros_usd };
                if let Some(earlier) = self.unanswered.insert(number, unanswered) {
                    // A process was killed with this call in flight.
                    known.lost = known.lost.saturating_add(1);
                    known.interrupted = known.interrupted.saturating_add(1);
                    known.cost_source = known.cost_source.max(Some(CostSource::Unknown));
                    self.unknown = self.unknown.plus(earlier.reserved.unwrap_or(self.dearest));
                    self.remember(earlier.at);
                }
            }
            Record::CalledOff { target, .. } => {
                let number = self.number(target);
                self.unanswered.remove(&number);
                let known = &mut self.known[number as usize];
                known.unanswered = false;
                known.attempts = known.attempts.saturating_sub(1);
            }
            Record::Answer(answer) => self.take_answer(answer, location)?,
            Record::GaveUp { target, .. } => {
                let number = self.number(target);
                let known = &mut self.known[number as usize];
                if !known.standing.is_final() {
                    known.standing = Standing::Failed;
                }
            }
        }
        Ok(())
    }

    fn take_answer(&mut self, answer: &Answer, location: Location) -> Result<(), UnknownClass> {
        let class = answer.class()?;
        let number = self.number(&answer.target);
        let reserved = self.unanswered.remove(&number).and_then(|call| call.reserved);
        let price = answer.cost_micros_usd.unwrap_or_default();
        self.dearest = self.dearest.max(price);
        match answer.cost_source {
            Some(CostSource::Debit) => self.debited = self.debited.plus(price),
            Some(CostSource::Upstream) => self.upstream = self.upstream.plus(price),
            Some(CostSource::Unknown) => self.unpriced_calls += 1,
            None => {}
        }
        if answer.cost_source == Some(CostSource::Unknown) {
            self.unknown = self.unknown.plus(reserved.unwrap_or(self.dearest));
        }
        self.remember(answer.left_at());
        self.priced_calls += u64::from(answer.cost_micros_usd.is_some());
        if matches!(class, Class::Data | Class::NoData) {
            self.form = self.asked_in;
        }
        let known = &mut self.known[number as usize];
        known.unanswered = false;
        known.cost = known.cost.plus(price);
        known.cost_source = known.cost_source.max(answer.cost_source);
        known.lost = known.lost.saturating_add(u16::from(answer.possibly_billed()));
        if !known.standing.is_final() {
            known.last = location;
            known.standing = match class {
                Class::Data => Standing::Ok,
                Class::NoData => Standing::NoData,
                _ => Standing::Pending,
            };
        }
        Ok(())
    }

    fn number(&mut self, target: &Target) -> u32 {
        if let Some(number) = self.numbers.get(target) {
            return *number;
        }
        let number = u32::try_from(self.known.len()).expect("a ledger of four billion targets fits no disk");
        self.known.push(Known::default());
        self.numbers.insert(target.clone(), number);
        number
    }

    fn remember(&mut self, at: Timestamp) {
        while self.recent.front().is_some_and(|first| at.duration_since(*first) > REMEMBERED) {
            self.recent.pop_front();
        }
        self.recent.push_back(at);
    }
}

impl Known {
    /// Calls that may have been billed, one without a result included.
    pub fn possibly_billed(&self) -> u32 {
        u32::from(self.lost) + u32::from(self.unanswered)
    }

    /// Calls without any record of their result.
    fn lost_without_record(&self) -> u32 {
        u32::from(self.interrupted) + u32::from(self.unanswered)
    }

    /// Where its answer lies, or the latest call's result where there is none.
    pub(super) fn last(&self) -> Option<&Location> {
        (self.last.head > 0).then_some(&self.last)
    }

    /// The weakest source of its costs, a call without a result included.
    pub fn cost_source(&self) -> Option<CostSource> {
        if self.unanswered { Some(CostSource::Unknown) } else { self.cost_source }
    }
}

impl Default for Known {
    fn default() -> Self {
        Self {
            standing: Standing::Pending,
            attempts: 0,
            cost: Usd::ZERO,
            cost_source: None,
            lost: 0,
            interrupted: 0,
            unanswered: false,
            last: Location { segment: 0, head: 0, body: 0, offset: 0 },
        }
    }
}
