//! What the ledger says of each target, kept in memory: where it stands, what it cost, where its answer lies.
//!
//! Built by walking through the records on opening, and kept up to date by the same rules as records
//! are appended: there is one way to understand a record.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};

use super::{
    Location,
    record::{Answer, CostSource, Record, TakenOver},
};
use crate::{
    api::{
        BodyForm,
        record::Standing,
        status::{Class, UnknownClass},
    },
    clock::Moment,
    money::Usd,
    targets::{Target, TargetSet},
};

/// How long calls are remembered for the rate window: the longest period that a rate can have.
const REMEMBERED: Duration = Duration::from_hours(1);
/// Calls are remembered as if they had gone out at the end of such a piece of time, together with all others in it.
const PIECE: Duration = Duration::from_millis(100);
/// Pieces among which a call's own is looked for: calls that go out together are answered seconds apart.
const PIECES_OPEN: usize = 64;

/// What a lost call is reckoned to have cost before any price is known: about twice the list price of a full history.
const PRESUMED_PRICE: Usd = Usd::from_micros(100_000);

/// What is known of one target, in 48 bytes.
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
    /// Where its answer lies, or the latest call's result where there is none: file, place, and bytes of both frames; no
    /// head: nothing came of any call.
    segment: u16,
    offset: u64,
    head: u32,
    body: u32,
    /// When that came, in microseconds since 1970.
    at: i64,
}

const _: () = assert!(size_of::<Known>() == 48);

/// A call that went out and has no result yet.
#[derive(Clone, Copy, Debug)]
struct Unanswered {
    reserved: Option<Usd>,
}

/// The calls for a target since its final answer, which stays in force until another one is there.
#[derive(Clone, Copy, Debug, Default)]
struct Refresh {
    calls: u32,
    /// The latest result, which is no answer; `None`: nothing came of any of them.
    last: Option<Location>,
    given_up: bool,
}

/// What is known of all targets, and of the account's calls.
///
/// A million targets take some 90 MB.
#[derive(Debug, Default)]
pub(super) struct Index {
    targets: TargetSet,
    /// By the target's number.
    known: Vec<Known>,
    /// Calls without any record of their result yet, by their target's number.
    unanswered: HashMap<u32, Unanswered>,
    /// Refreshes that were begun and have no answer yet, by their target's number.
    refreshing: HashMap<u32, Refresh>,
    /// First calls: of a target, or of a refresh.
    first_calls: u64,
    refreshed: u64,
    taken_over: u64,
    /// The last day that an answer was asked for which is not the run's.
    asked_up_to: Option<Date>,
    /// When calls with a result went out, and those of killed processes at the latest; how many at each moment.
    recent: VecDeque<(Moment, u32)>,
    /// The form of body that the API has understood.
    form: Option<BodyForm>,
    asked_in: Option<BodyForm>,
    dearest: Usd,
    /// What was set aside for calls whose debit nobody told, less what is known of it.
    unknown: Usd,
    debited: Usd,
    upstream: Usd,
    unpriced_calls: u64,
    priced_calls: u64,
}

/// What a process that starts now has to know of the calls before it.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// How long ago calls went out, at least, that may still count for the rate, and how many; those without a result
    /// count as of now.
    pub calls: Vec<(Duration, u32)>,
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
    /// Calls that repeated one of the same target; the first of a refresh is none.
    pub retries: u64,
    /// What the gateway's header said was debited.
    pub debited: Usd,
    /// What bodies without that header said it cost upstream.
    pub upstream: Usd,
    /// What is reckoned under a spending cap for calls whose debit nobody told, beyond what is known of it.
    pub set_aside: Usd,
    /// Calls whose price nobody told.
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
        self.targets.number(target).map(|number| &self.known[number as usize])
    }

    /// All targets that were ever asked about, in the order in which they first were.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Target, &Known)> {
        self.targets.targets().iter().zip(&self.known)
    }

    /// One of them, by its place in that order.
    pub(super) fn numbered(&self, number: u32) -> (&Target, &Known) {
        (&self.targets.targets()[number as usize], &self.known[number as usize])
    }

    /// What the next calls have to heed.
    pub(super) fn past(&self, now: Moment) -> Past {
        let mut calls: Vec<_> = self.recent.iter().map(|(at, calls)| (at.age(&now), *calls)).collect();
        calls.extend(self.unanswered.values().map(|_| (Duration::ZERO, 1)));
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
        self.unanswered.values().map(|call| self.presumed(call.reserved)).fold(Usd::ZERO, Usd::plus)
    }

    /// What a call at an unknown price is reckoned to have cost: what was set aside for it, or the dearest price.
    fn presumed(&self, reserved: Option<Usd>) -> Usd {
        let dearest = if self.dearest == Usd::ZERO { PRESUMED_PRICE } else { self.dearest };
        reserved.unwrap_or(dearest)
    }

    /// What all calls came to.
    pub(super) fn spending(&self) -> Spending {
        let calls = self.known.iter().map(|known| u64::from(known.attempts)).sum::<u64>();
        let lost = self.known.iter().map(|known| u64::from(known.lost_without_record())).sum::<u64>();
        Spending {
            calls,
            retries: calls.saturating_sub(self.first_calls),
            debited: self.debited,
            upstream: self.upstream,
            set_aside: self.unknown.plus(self.lost()),
            unknown: self.unpriced_calls + lost,
            possibly_billed: self.known.iter().map(|known| u64::from(known.possibly_billed())).sum(),
            refreshed: self.refreshed,
            taken_over: self.taken_over,
        }
    }

    /// The latest result of a refresh that has no answer yet.
    pub(super) fn refusal(&self, target: &Target) -> Option<&Location> {
        self.refreshing.get(&self.targets.number(target)?)?.last.as_ref()
    }

    /// Whether a target's answer was to be refreshed, and that was given up.
    pub(super) fn is_refresh_given_up(&self, target: &Target) -> bool {
        let refresh = self.targets.number(target).and_then(|number| self.refreshing.get(&number));
        refresh.is_some_and(|refresh| refresh.given_up)
    }

    /// The last day that an answer was asked for which is not the run's.
    pub(super) fn asked_up_to(&self) -> Option<Date> {
        self.asked_up_to
    }

    /// Takes a record in; `location` is where it lies.
    pub(super) fn take(&mut self, record: &Record, location: Location) -> Result<(), UnknownClass> {
        match record {
            Record::Run(_) | Record::Inputs(_) => {}
            Record::Sent { target, at, since_boot, form, reserved_micros_usd, .. } => {
                self.asked_in = Some(*form);
                let number = self.number(target);
                self.count_sent(number);
                let known = &mut self.known[number as usize];
                known.unanswered = true;
                let unanswered = Unanswered { reserved: *reserved_micros_usd };
                if let Some(earlier) = self.unanswered.insert(number, unanswered) {
                    // A process was killed with this call in flight.
                    known.lost = known.lost.saturating_add(1);
                    known.interrupted = known.interrupted.saturating_add(1);
                    known.cost_source = known.cost_source.max(Some(CostSource::Unknown));
                    self.unknown = self.unknown.plus(self.presumed(earlier.reserved));
                    // It went out before this one, nobody knows when.
                    self.remember(Moment { wall: *at, since_boot: *since_boot });
                }
            }
            Record::CalledOff { target, .. } => self.take_called_off(target),
            Record::Answer(answer) => self.take_answer(answer, location)?,
            Record::TakenOver(taken) => self.take_taken_over(taken, location)?,
            Record::GaveUp { target, .. } => {
                let number = self.number(target);
                let known = &mut self.known[number as usize];
                if known.standing.is_final() {
                    self.refreshing.entry(number).or_default().given_up = true;
                } else {
                    known.standing = Standing::Failed;
                }
            }
        }
        Ok(())
    }

    /// Counts a call that goes out: the first of its target, the first that is to refresh an answer, or a further one.
    fn count_sent(&mut self, number: u32) {
        let known = &mut self.known[number as usize];
        let is_first = if known.standing.is_final() {
            let refresh = self.refreshing.entry(number).or_default();
            refresh.calls += 1;
            refresh.given_up = false;
            refresh.calls == 1
        } else {
            known.standing = Standing::Pending;
            known.attempts == 0
        };
        known.attempts += 1;
        self.first_calls += u64::from(is_first);
    }

    fn take_called_off(&mut self, target: &Target) {
        let number = self.number(target);
        self.unanswered.remove(&number);
        let known = &mut self.known[number as usize];
        known.unanswered = false;
        known.attempts = known.attempts.saturating_sub(1);
        let was_first = if known.standing.is_final() {
            let refresh = self.refreshing.entry(number).or_default();
            refresh.calls = refresh.calls.saturating_sub(1);
            refresh.calls == 0 && self.refreshing.remove(&number).is_some()
        } else {
            known.attempts == 0
        };
        self.first_calls = self.first_calls.saturating_sub(u64::from(was_first));
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
            Some(CostSource::Previous) | None => {}
        }
        // What an untold debit may have come to beyond what is known of it.
        self.unknown = self.unknown.plus(match answer.cost_source {
            Some(CostSource::Unknown) => self.presumed(reserved),
            Some(CostSource::Upstream) => reserved.unwrap_or_default().minus(price).max(Usd::ZERO),
            Some(CostSource::Debit | CostSource::Previous) | None => Usd::ZERO,
        });
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
        self.refreshed += u64::from(known.standing.is_final() && matches!(class, Class::Data | Class::NoData));
        self.settle(number, class, answer, location);
        Ok(())
    }

    /// An answer that was paid for elsewhere: it settles where its target stands, and no call and no cost.
    fn take_taken_over(&mut self, taken: &TakenOver, location: Location) -> Result<(), UnknownClass> {
        let class = taken.answer.class()?;
        let number = self.number(&taken.answer.target);
        let known = &mut self.known[number as usize];
        known.cost_source = known.cost_source.max(Some(CostSource::Previous));
        self.taken_over += 1;
        self.settle(number, class, &taken.answer, location);
        Ok(())
    }

    /// The latest final answer is in force. What comes of calls after it tells why it was not refreshed.
    fn settle(&mut self, number: u32, class: Class, answer: &Answer, location: Location) {
        let known = &mut self.known[number as usize];
        let standing = match class {
            Class::Data => Standing::Ok,
            Class::NoData => Standing::NoData,
            _ if known.standing.is_final() => {
                self.refreshing.entry(number).or_default().last = Some(location);
                return;
            }
            _ => Standing::Pending,
        };
        (known.standing, known.at) = (standing, answer.at.as_microsecond());
        known.set_last(location);
        if standing.is_final() {
            self.refreshing.remove(&number);
            self.asked_up_to = self.asked_up_to.max(answer.date_to);
        }
    }

    fn number(&mut self, target: &Target) -> u32 {
        let (number, is_new) = self.targets.insert(target.clone());
        if is_new {
            self.known.push(Known::default());
        }
        number
    }

    fn remember(&mut self, at: Moment) {
        while self.recent.front().is_some_and(|(first, _)| first.age(&at) > REMEMBERED) {
            self.recent.pop_front();
        }
        let at = at.rounded_up(PIECE);
        match self.recent.iter_mut().rev().take(PIECES_OPEN).find(|(moment, _)| *moment == at) {
            Some((_, calls)) => *calls += 1,
            None => self.recent.push_back((at, 1)),
        }
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
    pub(super) fn last(&self) -> Option<Location> {
        let Self { segment, offset, head, body, .. } = *self;
        (head > 0).then_some(Location { segment: segment.into(), head, body, offset })
    }

    fn set_last(&mut self, Location { segment, head, body, offset }: Location) {
        self.segment = segment.try_into().expect("65,536 files of the ledger have a gigabyte each");
        (self.offset, self.head, self.body) = (offset, head, body);
    }

    /// When its answer came, or the latest call's result where there is none; `None`: nothing came of any call.
    pub fn at(&self) -> Option<Timestamp> {
        self.last().and_then(|_| Timestamp::from_microsecond(self.at).ok())
    }

    /// Whether its answer is held and came no earlier than `since`, if that is given.
    pub fn is_held_since(&self, since: Option<Timestamp>) -> bool {
        self.standing.is_final() && since.is_none_or(|since| self.at >= since.as_microsecond())
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
            segment: 0,
            offset: 0,
            head: 0,
            body: 0,
            at: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "a.com";

    fn usd(micros: i64) -> Usd {
        Usd::from_micros(micros)
    }

    fn target(name: &str) -> Target {
        crate::targets::clean(name, false).expect("a domain").target
    }

    fn moment(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).expect("a time")
    }

    /// Records that follow each other, one a second.
    #[derive(Default)]
    struct Story {
        index: Index,
        second: i64,
    }

    impl Story {
        fn take(&mut self, record: &Record) {
            self.second += 1;
            let offset = self.second.unsigned_abs();
            self.index.take(record, Location { segment: 0, head: 7, body: 0, offset }).expect("a known word");
        }

        fn sent(&mut self, name: &str, form: BodyForm, reserved: Option<i64>) {
            let at = moment(self.second);
            let reserved_micros_usd = reserved.map(usd);
            let target = target(name);
            self.take(&Record::Sent {
                target,
                attempt: 1,
                at,
                since_boot: None,
                form,
                reserved_micros_usd,
                date_to: None,
            });
        }

        fn called_off(&mut self, name: &str) {
            self.take(&Record::CalledOff { target: target(name), attempt: 1, at: moment(self.second) });
        }

        fn gave_up(&mut self, name: &str) {
            let class = Class::Rejected.as_str().to_owned();
            self.take(&Record::GaveUp { target: target(name), at: moment(self.second), class });
        }

        fn answer(&self, name: &str, class: Class, cost: Option<(CostSource, Option<i64>)>) -> Answer {
            Answer {
                target: target(name),
                attempt: 1,
                at: moment(self.second),
                since_boot: None,
                latency_micros: 0,
                class: class.as_str().to_owned(),
                http_status: Some(200),
                api_status_code: None,
                message: None,
                task_id: None,
                request_id: None,
                items: 0,
                cost_micros_usd: cost.and_then(|(_, price)| price).map(usd),
                cost_source: cost.map(|(source, _)| source),
                body_bytes: 0,
                frame_bytes: 0,
                date_to: None,
            }
        }

        fn answered(&mut self, name: &str, class: Class, cost: Option<(CostSource, Option<i64>)>) {
            self.take(&Record::Answer(Box::new(self.answer(name, class, cost))));
        }

        fn known(&self, name: &str) -> &Known {
            self.index.get(&target(name)).expect("asked")
        }

        fn past(&self) -> Past {
            self.index.past(moment(self.second).into())
        }
    }

    const DEBIT: Option<(CostSource, Option<i64>)> = Some((CostSource::Debit, Some(40_000)));
    const UNKNOWN: Option<(CostSource, Option<i64>)> = Some((CostSource::Unknown, None));

    #[test]
    fn what_a_call_is_reckoned_to_have_cost_depends_on_who_told() {
        // What was set aside, and what came of it: the sums spent, told as debits and upstream, and set aside for good;
        // calls without a price, and those perhaps billed in vain
        let check =
            |reserved: Option<i64>, cost: Option<(CostSource, Option<i64>)>, sums: [i64; 4], calls: [u64; 2]| {
                let mut story = Story::default();
                story.sent(A, BodyForm::Array, reserved);
                story.answered(A, Class::MaybeBilled, cost);
                let (past, spending) = (story.past(), story.index.spending());
                let found = [past.spent, spending.debited, spending.upstream, spending.set_aside].map(Usd::micros);
                assert_eq!(found, sums, "{reserved:?} {cost:?}");
                assert_eq!([spending.unknown, spending.possibly_billed], calls, "{reserved:?} {cost:?}");
                assert_eq!((spending.calls, spending.retries), (1, 0));
                let price = cost.and_then(|(_, price)| price);
                assert_eq!((past.known_cost, past.dearest), (usd(price.unwrap_or(0)), usd(price.unwrap_or(0))));
                assert_eq!(past.priced_calls, u64::from(price.is_some()));
                assert_eq!(story.known(A).cost_source(), cost.map(|(source, _)| source));
            };
        let debit = |price| Some((CostSource::Debit, Some(price)));
        let upstream = |price| Some((CostSource::Upstream, Some(price)));
        check(Some(50_000), debit(40_000), [40_000, 40_000, 0, 0], [0, 0]);
        check(None, debit(40_000), [40_000, 40_000, 0, 0], [0, 0]);
        check(Some(50_000), upstream(20_000), [50_000, 0, 20_000, 30_000], [0, 0]);
        check(Some(50_000), upstream(70_000), [70_000, 0, 70_000, 0], [0, 0]);
        check(None, upstream(20_000), [20_000, 0, 20_000, 0], [0, 0]);
        check(Some(50_000), UNKNOWN, [50_000, 0, 0, 50_000], [1, 1]);
        check(None, UNKNOWN, [100_000, 0, 0, 100_000], [1, 1]);
        check(Some(50_000), None, [0, 0, 0, 0], [0, 0]);
    }

    #[test]
    fn a_call_without_a_result_counts_as_lost_whether_under_way_or_of_a_killed_process() {
        let mut story = Story::default();
        story.sent(A, BodyForm::Array, Some(50_000));
        // Spent, calls, retries, without a price, perhaps billed
        let check = |story: &Story, expected: (i64, u64, u64, u64, u64)| {
            let spending = story.index.spending();
            let calls = (spending.calls, spending.retries, spending.unknown, spending.possibly_billed);
            let spent = story.past().spent;
            assert_eq!((spent.micros(), calls.0, calls.1, calls.2, calls.3), expected);
            assert_eq!(spending.set_aside.plus(spending.debited), spent);
        };
        check(&story, (50_000, 1, 0, 1, 1));
        assert_eq!(story.known(A).cost_source(), Some(CostSource::Unknown));
        assert_eq!(story.past().calls, [(Duration::ZERO, 1)]);
        story.sent(A, BodyForm::Array, None);
        check(&story, (150_000, 2, 1, 2, 2));
        assert_eq!(story.past().calls.len(), 2);
        story.answered(A, Class::Data, DEBIT);
        check(&story, (90_000, 2, 1, 1, 1));
        assert_eq!(story.known(A).cost_source(), Some(CostSource::Unknown), "the weakest source");
        assert_eq!((story.known(A).attempts, story.known(A).possibly_billed()), (2, 1));
        // From now on a price is known.
        story.sent("b.com", BodyForm::Array, None);
        check(&story, (130_000, 3, 1, 2, 2));
        story.called_off("b.com");
        check(&story, (90_000, 2, 1, 1, 1));
        assert_eq!((story.known("b.com").attempts, story.known("b.com").cost_source()), (0, None));
        story.sent("b.com", BodyForm::Array, None);
        story.answered("b.com", Class::Transient, UNKNOWN);
        check(&story, (130_000, 3, 1, 2, 2));
    }

    #[test]
    fn a_target_stands_where_its_latest_records_say() {
        use Standing::{Failed, NoData, Ok, Pending};
        let check = |records: &[&str], standing: Standing, given_up: bool, refreshed: u64, retries: u64| {
            let mut story = Story::default();
            for record in records {
                match *record {
                    "sent" => story.sent(A, BodyForm::Array, None),
                    "called off" => story.called_off(A),
                    "gave up" => story.gave_up(A),
                    class => story.answered(A, class.parse().expect(class), None),
                }
            }
            let spending = story.index.spending();
            let found = (story.known(A).standing, story.index.is_refresh_given_up(&target(A)));
            assert_eq!(found, (standing, given_up), "{records:?}");
            assert_eq!((spending.refreshed, spending.retries), (refreshed, retries), "{records:?}");
        };
        check(&["sent"], Pending, false, 0, 0);
        check(&["sent", "data"], Ok, false, 0, 0);
        check(&["sent", "no_data"], NoData, false, 0, 0);
        check(&["sent", "transient"], Pending, false, 0, 0);
        check(&["sent", "transient", "gave up"], Failed, false, 0, 0);
        check(&["sent", "transient", "gave up", "sent"], Pending, false, 0, 1);
        check(&["sent", "transient", "sent", "data"], Ok, false, 0, 1);
        check(&["sent", "called off"], Pending, false, 0, 0);
        check(&["sent", "called off", "sent", "data"], Ok, false, 0, 0);
        check(&["sent", "transient", "sent", "called off", "sent", "data"], Ok, false, 0, 1);
        // An answer stays in force until there is another one.
        check(&["sent", "data", "sent"], Ok, false, 0, 0);
        check(&["sent", "data", "sent", "called off"], Ok, false, 0, 0);
        check(&["sent", "data", "sent", "transient", "sent"], Ok, false, 0, 1);
        check(&["sent", "data", "sent", "transient", "sent", "called off"], Ok, false, 0, 0);
        check(&["sent", "data", "sent", "rejected", "gave up"], Ok, true, 0, 0);
        check(&["sent", "data", "sent", "rejected", "gave up", "sent"], Ok, false, 0, 1);
        check(&["sent", "data", "sent", "no_data"], NoData, false, 1, 0);
        check(&["sent", "no_data", "sent", "data"], Ok, false, 1, 0);
        check(&["sent", "data", "sent", "rejected", "gave up", "sent", "data"], Ok, false, 1, 1);
        check(&["sent", "data", "sent", "data", "sent", "data"], Ok, false, 2, 0);
    }

    #[test]
    fn an_answer_in_force_has_its_place_and_time_and_a_refusal_its_own() {
        let mut story = Story::default();
        story.sent(A, BodyForm::Array, None);
        assert_eq!((story.known(A).last(), story.known(A).at()), (None, None));
        let held = |story: &Story| (story.known(A).last().map(|last| last.offset), story.known(A).at());
        story.answered("b.com", Class::Data, DEBIT);
        assert_eq!(held(&story), (None, None), "that is another target's");
        story.answered(A, Class::Transient, None);
        assert_eq!(held(&story), (Some(3), Some(moment(2))));
        assert!(!story.known(A).is_held_since(None) && story.index.refusal(&target(A)).is_none());
        story.answered(A, Class::Data, DEBIT);
        assert_eq!(held(&story), (Some(4), Some(moment(3))));
        assert!(story.known(A).is_held_since(None) && story.known(A).is_held_since(Some(moment(3))));
        assert!(!story.known(A).is_held_since(Some(moment(4))));
        assert_eq!(story.index.refusal(&target(A)), None);
        story.sent(A, BodyForm::Array, None);
        assert_eq!(story.index.refusal(&target(A)), None, "nothing came of it yet");
        story.answered(A, Class::Rejected, None);
        assert_eq!(story.index.refusal(&target(A)).map(|last| last.offset), Some(6));
        assert_eq!(held(&story), (Some(4), Some(moment(3))));
        story.sent(A, BodyForm::Array, None);
        story.answered(A, Class::NoData, DEBIT);
        assert_eq!(story.index.refusal(&target(A)), None);
        assert_eq!(held(&story), (Some(8), Some(moment(7))));
        assert_eq!(story.index.refusal(&target("never.com")), None);
        assert!(story.index.get(&target("never.com")).is_none());
    }

    #[test]
    fn answers_taken_over_cost_nothing_and_are_no_calls() {
        let mut story = Story::default();
        let mut answer = story.answer(A, Class::Data, DEBIT);
        let days = [1, 3, 2].map(|day| jiff::civil::date(2026, 11, day));
        for day in days {
            answer.date_to = Some(day);
            let taken = TakenOver { from_run_id: "r".to_owned(), copied_at: moment(9), answer: answer.clone() };
            story.take(&Record::TakenOver(Box::new(taken)));
        }
        let spending = story.index.spending();
        assert_eq!(spending, Spending { taken_over: 3, ..Spending::default() });
        assert_eq!((story.past().spent, story.past().calls.len()), (Usd::ZERO, 0));
        let known = story.known(A);
        assert_eq!((known.standing, known.cost_source()), (Standing::Ok, Some(CostSource::Previous)));
        assert_eq!(story.index.asked_up_to(), Some(days[1]), "the latest day of all");
        assert_eq!(story.index.iter().map(|(target, _)| target.as_str()).collect::<Vec<_>>(), [A]);
    }

    #[test]
    fn calls_are_remembered_as_long_as_any_rate_looks_back() {
        // Ages by a wall clock that may be wrong by an hour
        let check = |seconds: &[i64], expected: &[u64]| {
            let mut story = Story::default();
            for second in seconds {
                story.sent(A, BodyForm::Array, None);
                story.second = *second;
                story.answered(A, Class::Transient, None);
                story.second = *second;
            }
            let ages: Vec<_> = story.past().calls.iter().map(|(age, _)| age.as_secs()).collect();
            assert_eq!(ages, expected, "{seconds:?}");
        };
        check(&[0, 10, 20], &[0, 0, 0]);
        check(&[0, 10, 3_615], &[15, 5, 0]);
        check(&[0, 10, 7_200], &[3_600, 3_590, 0]);
        check(&[0, 10, 7_201], &[3_591, 0]);
    }

    #[test]
    fn calls_in_one_piece_of_time_are_remembered_together_as_of_its_end() {
        let check = |milliseconds: &[i64], expected: &[(i64, u32)]| {
            let mut index = Index::default();
            let at =
                |of: i64| Moment::from(moment(0).saturating_add(jiff::Span::new().milliseconds(of)).expect("a time"));
            for of in milliseconds {
                index.remember(at(*of));
            }
            let expected: Vec<_> = expected.iter().map(|(of, calls)| (at(*of), *calls)).collect();
            assert_eq!(index.recent, expected, "{milliseconds:?}");
        };
        check(&[0], &[(0, 1)]);
        check(&[0, 1, 100, 101, 60, 250], &[(0, 1), (100, 3), (200, 1), (300, 1)]);
        // One that comes back late is still found among 64, and is one by itself after more.
        let later = |pieces: i64| (1..=pieces).map(|piece| piece * 100);
        let told = |pieces: i64| [0].into_iter().chain(later(pieces)).chain([0]).collect::<Vec<_>>();
        let alone = |pieces: i64| later(pieces).map(|of| (of, 1));
        check(&told(63), &[(0, 2)].into_iter().chain(alone(63)).collect::<Vec<_>>());
        check(&told(64), &[(0, 1)].into_iter().chain(alone(64)).chain([(0, 1)]).collect::<Vec<_>>());
    }

    #[test]
    fn the_form_is_that_of_the_latest_call_that_was_understood() {
        use BodyForm::{Array, Object};
        let check = |calls: &[(BodyForm, Class)], expected: Option<BodyForm>| {
            let mut story = Story::default();
            for (form, class) in calls {
                story.sent(A, *form, None);
                story.answered(A, *class, None);
            }
            assert_eq!(story.past().form, expected, "{calls:?}");
        };
        check(&[(Array, Class::Contract)], None);
        check(&[(Array, Class::Contract), (Object, Class::Data)], Some(Object));
        check(&[(Array, Class::NoData)], Some(Array));
        check(&[(Array, Class::Data), (Object, Class::Transient)], Some(Array));
    }

    #[test]
    fn prices_have_a_mean_where_any_is_known() {
        let check = |known_cost: i64, priced_calls: u64, expected: Option<i64>| {
            let past = Past { known_cost: usd(known_cost), priced_calls, ..Past::default() };
            assert_eq!(past.mean_price(), expected.map(usd));
        };
        check(0, 0, None);
        check(0, 1, Some(0));
        check(40_000, 1, Some(40_000));
        check(100_000, 3, Some(33_333));
        let mut story = Story::default();
        for (name, price) in [(A, 30_000), ("b.com", 60_000), ("c.com", 45_000)] {
            story.sent(name, BodyForm::Array, None);
            story.answered(name, Class::Data, Some((CostSource::Debit, Some(price))));
        }
        story.sent("d.com", BodyForm::Array, None);
        story.answered("d.com", Class::Data, UNKNOWN);
        assert_eq!((story.past().mean_price(), story.past().dearest), (Some(usd(45_000)), usd(60_000)));
        assert_eq!(story.past().spent, usd(195_000), "an untold price is taken for the dearest");
    }

    #[test]
    fn what_several_directories_spent_adds_up() {
        let of = |step: u64| Spending {
            calls: step,
            retries: 2 * step,
            debited: usd(3_000),
            upstream: usd(4_000),
            set_aside: usd(5_000),
            unknown: 6 * step,
            possibly_billed: 7 * step,
            refreshed: 8 * step,
            taken_over: 9 * step,
        };
        let sum = Spending { debited: usd(6_000), upstream: usd(8_000), set_aside: usd(10_000), ..of(11) };
        assert_eq!(of(1).plus(of(10)), sum);
    }
}
