//! Counts different targets in a row that failed in one way; the loop ends the run. If every call is billed and none
//! brings a usable answer, the query or the API is at fault, and each further call would be paid for nothing. A refusal
//! by an unknown party concerns one target; if several targets in a row are refused, it concerns all.

use crate::api::status::{Assessment, Class};

/// Targets in a row with a billed failure that end a run. A list with that many bad names in a row is rare, and at list
/// prices they cost about a dollar at most.
pub(super) const MAX_BILLED_FAILURES: u32 = 20;

/// How many end a run if the last calls of earlier runs failed, too: enough to get past a few bad names.
const MAX_BILLED_AGAIN: u32 = 10;

/// How many different targets in a row failed in one way, with no usable answer in between.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ConsecutiveFailures {
    targets: u32,
    /// Whether this run has a usable answer.
    has_answer: bool,
}

impl ConsecutiveFailures {
    /// Billed failures of a run of `targets` targets, after this many calls in a row that cost money without an answer.
    /// Few targets may be those that failed before.
    pub(super) fn after(costly_failures: u32, targets: usize) -> Self {
        let is_repeated = costly_failures >= MAX_BILLED_FAILURES && targets > MAX_BILLED_FAILURES as usize;
        let targets = if is_repeated { MAX_BILLED_FAILURES - MAX_BILLED_AGAIN } else { 0 };
        Self { targets, ..Self::default() }
    }

    /// Whether nothing else is known: no target has a usable answer.
    pub(super) fn is_all(self) -> bool {
        self.targets > 0 && !self.has_answer
    }

    /// Counts a result and returns the number of targets; `is_counted`: it is such a failure, and the first of its
    /// target. A target that fails again while others have got answers is not counted again.
    pub(super) fn count(&mut self, class: Class, is_counted: bool) -> u32 {
        match class {
            Class::Data | Class::NoData => *self = Self { targets: 0, has_answer: true },
            _ => self.targets += u32::from(is_counted),
        }
        self.targets
    }
}

/// Whether a call was billed for a refusal, or for an answer about another target. [`super::circuit_breaker`] limits
/// failures that may be due to an outage.
pub(super) fn is_billed_failure(assessment: &Assessment) -> bool {
    let is_failure = matches!(assessment.class, Class::Rejected | Class::Contract | Class::WrongTarget);
    is_failure && assessment.cost.is_costly()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::status::{Cost, Fatal, Stated},
        money::Usd,
    };

    #[test]
    fn different_targets_that_fail_without_an_answer_between_add_up() {
        let refused = Class::Refused(Fatal::TokenRefused);
        let mut targets = ConsecutiveFailures::default();
        let mut check = |class, is_counted, expected| {
            assert_eq!(targets.count(class, is_counted), expected, "{class:?}");
        };
        check(refused, true, 1);
        check(refused, false, 1);
        check(Class::Transient, false, 1);
        check(refused, true, 2);
        check(Class::NoData, false, 0);
        check(refused, false, 0);
        check(refused, true, 1);
    }

    #[test]
    fn after_billed_failures_in_earlier_runs_fewer_are_bought() {
        let check = |costly_failures: u32, targets: usize, expected: u32| {
            let mut failures = ConsecutiveFailures::after(costly_failures, targets);
            assert_eq!(failures.is_all(), expected < MAX_BILLED_FAILURES, "{costly_failures}, {targets}");
            let calls =
                (1..=MAX_BILLED_FAILURES).find(|_| failures.count(Class::Rejected, true) >= MAX_BILLED_FAILURES);
            assert_eq!(calls, Some(expected), "{costly_failures}, {targets}");
            assert!(failures.is_all());
            failures.count(Class::NoData, false);
            failures.count(Class::Rejected, true);
            assert!(!failures.is_all(), "there is an answer");
        };
        check(0, 1_000, 20);
        check(19, 1_000, 20);
        check(20, 1_000, 10);
        check(500, 21, 10);
        check(500, 20, 20);
    }

    #[test]
    fn only_a_billed_refusal_or_wrong_answer_is_a_billed_failure() {
        let paid = Cost::Upstream(Usd::from_micros(24_000));
        let check = |class: Class, cost: Cost, expected: bool| {
            let assessment = Assessment {
                class,
                http_status: Some(200),
                api_code: None,
                message: None,
                task_id: None,
                items: 0,
                json: true,
                cost,
                stated: Stated::default(),
            };
            assert_eq!(is_billed_failure(&assessment), expected, "{class:?}, {cost:?}");
        };
        check(Class::Rejected, paid, true);
        check(Class::Contract, Cost::Unknown, true);
        check(Class::WrongTarget, paid, true);
        check(Class::Rejected, Cost::Nothing, false);
        check(Class::Rejected, Cost::Debit(Usd::ZERO), false);
        check(Class::Transient, paid, false);
        check(Class::Data, paid, false);
    }
}
