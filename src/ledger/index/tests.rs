use jiff::Timestamp;

use super::*;
use crate::{api::status::Stated, ledger::members::BodyMember};

const A: &str = "a.com";

fn usd(micros: i64) -> Usd {
    Usd::from_micros(micros)
}

fn target(name: &str) -> Target {
    crate::targets::clean(name, crate::targets::Accept::DOMAINS).expect("a domain").target
}

fn moment(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).expect("a time")
}

/// Consecutive records, one per second.
#[derive(Default)]
struct Story {
    index: Index,
    second: i64,
}

impl Story {
    fn take(&mut self, record: &Record) {
        self.second += 1;
        let offset = self.second.unsigned_abs();
        self.index.apply(record, Location { segment: 0, head: 7, body: 0, offset });
    }

    fn sent(&mut self, name: &str, form: BodyForm, reserved: Option<i64>) {
        let at = moment(self.second);
        let reserved_micros_usd = reserved.map(usd);
        let target = target(name);
        self.take(&Record::Sent { target, attempt: 1, at, since_boot: None, form, reserved_micros_usd, date_to: None });
    }

    fn called_off(&mut self, name: &str) {
        self.take(&Record::CalledOff { target: target(name), attempt: 1, at: moment(self.second) });
    }

    fn gave_up(&mut self, name: &str) {
        let class = Class::Rejected;
        self.take(&Record::GaveUp { target: target(name), at: moment(self.second), class });
    }

    fn answer(&self, name: &str, class: Class, cost: RecordedCost) -> AnswerRecord {
        AnswerRecord {
            target: target(name),
            attempt: 1,
            at: moment(self.second),
            since_boot: None,
            latency_micros: 0,
            class,
            http_status: Some(200),
            api_status_code: None,
            message: None,
            task_id: None,
            request_id: None,
            items: 0,
            stated: Stated::default(),
            cost_micros_usd: cost.and_then(|(_, price)| price).map(usd),
            cost_source: cost.map(|(source, _)| source),
            body_bytes: 0,
            body_member: BodyMember::default(),
            date_to: None,
        }
    }

    fn answered(&mut self, name: &str, class: Class, cost: RecordedCost) {
        self.take(&Record::Answer(Box::new(self.answer(name, class, cost))));
    }

    fn entry(&self, name: &str) -> &TargetEntry {
        self.index.get(target(name).view()).expect("asked")
    }

    fn resume_state(&self) -> ResumeState {
        self.index.resume_state(moment(self.second).into())
    }
}

/// A cost's source, and the price in microdollars, if known.
type RecordedCost = Option<(CostSource, Option<i64>)>;

const DEBIT: RecordedCost = Some((CostSource::Debit, Some(40_000)));
const UNKNOWN: RecordedCost = Some((CostSource::Unknown, None));

#[test]
fn the_counted_cost_of_a_call_depends_on_its_source() {
    // The reserved amount and the cost of a call; expected are the sums spent, reported as debits, reported upstream,
    // and reserved for good; then the calls without a price and those possibly billed without an answer
    let check = |reserved: Option<i64>, cost: RecordedCost, sums: [i64; 4], calls: [u64; 2]| {
        let mut story = Story::default();
        story.sent(A, BodyForm::Array, reserved);
        story.answered(A, Class::MaybeBilled, cost);
        let (past, spending) = (story.resume_state(), story.index.spending());
        let found = [past.spent, spending.debited, spending.upstream, spending.set_aside].map(Usd::micros);
        assert_eq!(found, sums, "{reserved:?} {cost:?}");
        assert_eq!([spending.unpriced_calls, spending.possibly_billed], calls, "{reserved:?} {cost:?}");
        assert_eq!((spending.calls, spending.retries), (1, 0));
        let price = cost.and_then(|(_, price)| price);
        let times = if matches!(cost, Some((CostSource::Upstream, _))) { 2 } else { 1 };
        assert_eq!(
            (past.known_cost, past.highest_price.price()),
            (usd(price.unwrap_or(0)), usd(price.unwrap_or(0) * times))
        );
        assert_eq!(past.priced_calls, u64::from(price.is_some()));
        assert_eq!(story.entry(A).cost_source(), cost.map(|(source, _)| source));
    };
    let debit = |price| Some((CostSource::Debit, Some(price)));
    let upstream = |price| Some((CostSource::Upstream, Some(price)));
    check(Some(50_000), debit(40_000), [40_000, 40_000, 0, 0], [0, 0]);
    check(None, debit(40_000), [40_000, 40_000, 0, 0], [0, 0]);
    check(Some(50_000), upstream(20_000), [50_000, 0, 20_000, 30_000], [0, 0]);
    check(Some(50_000), upstream(70_000), [140_000, 0, 70_000, 70_000], [0, 0]);
    check(None, upstream(20_000), [40_000, 0, 20_000, 20_000], [0, 0]);
    check(Some(50_000), UNKNOWN, [50_000, 0, 0, 50_000], [1, 1]);
    check(None, UNKNOWN, [100_000, 0, 0, 100_000], [1, 1]);
    check(Some(50_000), None, [0, 0, 0, 0], [0, 0]);
}

#[test]
fn a_call_without_a_result_counts_as_lost() {
    let mut story = Story::default();
    story.sent(A, BodyForm::Array, Some(50_000));
    // Spent, calls, retries, without a price, possibly billed
    let check = |story: &Story, expected: (i64, u64, u64, u64, u64)| {
        let spending = story.index.spending();
        let calls = (spending.calls, spending.retries, spending.unpriced_calls, spending.possibly_billed);
        let spent = story.resume_state().spent;
        assert_eq!((spent.micros(), calls.0, calls.1, calls.2, calls.3), expected);
        assert_eq!(spending.set_aside.plus(spending.debited), spent);
    };
    check(&story, (50_000, 1, 0, 1, 1));
    assert_eq!(story.entry(A).cost_source(), Some(CostSource::Unknown));
    assert_eq!(story.resume_state().calls, [(Duration::ZERO, 1)]);
    story.sent(A, BodyForm::Array, None);
    check(&story, (150_000, 2, 1, 2, 2));
    assert_eq!(story.resume_state().calls.len(), 2);
    story.answered(A, Class::Data, DEBIT);
    check(&story, (90_000, 2, 1, 1, 1));
    assert_eq!(story.entry(A).cost_source(), Some(CostSource::Unknown), "the weakest source");
    assert_eq!((story.entry(A).attempts, story.entry(A).possibly_billed()), (2, 1));
    // From here on, a price is known.
    story.sent("b.com", BodyForm::Array, None);
    check(&story, (130_000, 3, 1, 2, 2));
    story.called_off("b.com");
    check(&story, (90_000, 2, 1, 1, 1));
    assert_eq!((story.entry("b.com").attempts, story.entry("b.com").cost_source()), (0, None));
    story.sent("b.com", BodyForm::Array, None);
    story.answered("b.com", Class::Transient, UNKNOWN);
    check(&story, (130_000, 3, 1, 2, 2));
}

#[test]
fn the_latest_records_determine_the_state_of_a_target() {
    use TargetState::{Failed, NoData, Ok, Pending};
    let check = |records: &[&str], state: TargetState, given_up: bool, refreshed: u64, retries: u64| {
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
        let found = (story.entry(A).state, story.index.is_refresh_given_up(target(A).view()));
        assert_eq!(found, (state, given_up), "{records:?}");
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
    // An answer counts until there is another one.
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
fn an_answer_and_a_later_refusal_have_separate_locations_and_times() {
    let mut story = Story::default();
    story.sent(A, BodyForm::Array, None);
    assert_eq!((story.entry(A).last(), story.entry(A).at()), (None, None));
    let stored = |story: &Story| (story.entry(A).last().map(|last| last.offset), story.entry(A).at());
    story.answered("b.com", Class::Data, DEBIT);
    assert_eq!(stored(&story), (None, None), "that is another target's");
    story.answered(A, Class::Transient, None);
    assert_eq!(stored(&story), (Some(3), Some(moment(2))));
    assert!(!story.entry(A).is_fresh(None) && story.index.failed_refresh(target(A).view()).is_none());
    story.answered(A, Class::Data, DEBIT);
    assert_eq!(stored(&story), (Some(4), Some(moment(3))));
    assert!(story.entry(A).is_fresh(None) && story.entry(A).is_fresh(Some(moment(3))));
    assert!(!story.entry(A).is_fresh(Some(moment(4))));
    assert_eq!(story.index.failed_refresh(target(A).view()), None);
    story.sent(A, BodyForm::Array, None);
    assert_eq!(story.index.failed_refresh(target(A).view()), None, "nothing came of it yet");
    story.answered(A, Class::Rejected, None);
    assert_eq!(story.index.failed_refresh(target(A).view()).map(|last| last.offset), Some(6));
    assert_eq!(stored(&story), (Some(4), Some(moment(3))));
    story.sent(A, BodyForm::Array, None);
    story.answered(A, Class::NoData, DEBIT);
    assert_eq!(story.index.failed_refresh(target(A).view()), None);
    assert_eq!(stored(&story), (Some(8), Some(moment(7))));
    assert_eq!(story.index.failed_refresh(target("never.com").view()), None);
    assert!(story.index.get(target("never.com").view()).is_none());
}

#[test]
fn copied_answers_cost_nothing_and_are_not_calls() {
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
    assert_eq!((story.resume_state().spent, story.resume_state().calls.len()), (Usd::ZERO, 0));
    let entry = story.entry(A);
    assert_eq!((entry.state, entry.cost_source()), (TargetState::Ok, Some(CostSource::Previous)));
    assert_eq!(story.index.latest_date_to(), Some(days[1]), "the latest day of all");
    assert_eq!(story.index.iter().map(|(target, _)| target.as_str()).collect::<Vec<_>>(), [A]);
}

#[test]
fn calls_are_remembered_for_the_longest_rate_period() {
    // Ages by a wall clock that may be wrong by an hour
    let check = |seconds: &[i64], expected: &[u64]| {
        let mut story = Story::default();
        for second in seconds {
            story.sent(A, BodyForm::Array, None);
            story.second = *second;
            story.answered(A, Class::Transient, None);
            story.second = *second;
        }
        let ages: Vec<_> = story.resume_state().calls.iter().map(|(age, _)| age.as_secs()).collect();
        assert_eq!(ages, expected, "{seconds:?}");
    };
    check(&[0, 10, 20], &[0, 0, 0]);
    check(&[0, 10, 3_615], &[15, 5, 0]);
    check(&[0, 10, 7_200], &[3_600, 3_590, 0]);
    check(&[0, 10, 7_201], &[3_591, 0]);
}

#[test]
fn calls_in_one_interval_are_remembered_together_at_its_end() {
    let check = |milliseconds: &[i64], expected: &[(i64, u32)]| {
        let mut index = Index::default();
        let at = |of: i64| Moment::from(moment(0).saturating_add(jiff::Span::new().milliseconds(of)).expect("a time"));
        for of in milliseconds {
            index.remember(at(*of));
        }
        let expected: Vec<_> = expected.iter().map(|(of, calls)| (at(*of), *calls)).collect();
        assert_eq!(index.recent, expected, "{milliseconds:?}");
    };
    check(&[0], &[(0, 1)]);
    check(&[0, 1, 100, 101, 60, 250], &[(0, 1), (100, 3), (200, 1), (300, 1)]);
    // A call that returns late is still found among 64 intervals, and counted separately after more.
    let later = |pieces: i64| (1..=pieces).map(|piece| piece * 100);
    let with_zeros = |pieces: i64| [0].into_iter().chain(later(pieces)).chain([0]).collect::<Vec<_>>();
    let apart = |pieces: i64| later(pieces).map(|of| (of, 1));
    check(&with_zeros(63), &[(0, 2)].into_iter().chain(apart(63)).collect::<Vec<_>>());
    check(&with_zeros(64), &[(0, 1)].into_iter().chain(apart(64)).chain([(0, 1)]).collect::<Vec<_>>());
}

#[test]
fn the_form_is_that_of_the_latest_accepted_call() {
    use BodyForm::{Array, Object};
    let check = |calls: &[(BodyForm, Class)], expected: Option<BodyForm>| {
        let mut story = Story::default();
        for (form, class) in calls {
            story.sent(A, *form, None);
            story.answered(A, *class, None);
        }
        assert_eq!(story.resume_state().form, expected, "{calls:?}");
    };
    check(&[(Array, Class::Contract)], None);
    check(&[(Array, Class::Contract), (Object, Class::Data)], Some(Object));
    check(&[(Array, Class::NoData)], Some(Array));
    check(&[(Array, Class::Data), (Object, Class::Transient)], Some(Array));
}

#[test]
fn the_mean_price_is_known_if_any_price_is() {
    let check = |known_cost: i64, priced_calls: u64, expected: Option<i64>| {
        let past = ResumeState { known_cost: usd(known_cost), priced_calls, ..ResumeState::default() };
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
    assert_eq!(
        (story.resume_state().mean_price(), story.resume_state().highest_price.price()),
        (Some(usd(45_000)), usd(60_000))
    );
    assert_eq!(story.resume_state().spent, usd(195_000), "an unreported price counts as the highest one");
}

#[test]
fn the_spending_of_several_directories_is_added_up() {
    let of = |step: u64| Spending {
        calls: step,
        retries: 2 * step,
        debited: usd(3_000),
        upstream: usd(4_000),
        set_aside: usd(5_000),
        unpriced_calls: 6 * step,
        possibly_billed: 7 * step,
        refreshed: 8 * step,
        taken_over: 9 * step,
    };
    let sum = Spending { debited: usd(6_000), upstream: usd(8_000), set_aside: usd(10_000), ..of(11) };
    assert_eq!(of(1).plus(of(10)), sum);
}

#[test]
fn calls_in_a_row_that_cost_money_without_an_answer_are_counted() {
    let check = |calls: &[(Class, RecordedCost)], expected: u32| {
        let mut story = Story::default();
        for (class, cost) in calls {
            story.sent(A, BodyForm::Array, None);
            story.answered(A, *class, *cost);
        }
        assert_eq!(story.resume_state().costly_failures, expected, "{calls:?}");
    };
    check(&[(Class::MaybeBilled, UNKNOWN), (Class::Transient, DEBIT), (Class::Rejected, DEBIT)], 3);
    check(&[(Class::MaybeBilled, UNKNOWN), (Class::Transient, None)], 1);
    check(&[(Class::MaybeBilled, UNKNOWN), (Class::NoData, DEBIT)], 0);
    check(&[(Class::Data, DEBIT), (Class::MaybeBilled, UNKNOWN)], 1);
}
