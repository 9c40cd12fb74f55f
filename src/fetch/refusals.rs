//! Counts consecutive refusals; the loop ends the run. If every target is refused for the same reason and billed, the
//! query is at fault, and each further call would be paid for nothing. A refusal by an unknown party concerns one
//! target; if several targets in a row are refused, it concerns all.

use crate::{
    api::status::{Assessment, Class, Cost},
    money::Usd,
};

/// Billed refusals of one kind in a row that end a run. A list with that many bad names in a row is rare, and at list
/// prices they cost about a dollar at most.
pub(super) const MAX_BILLED_REFUSALS: u32 = 20;

/// How many calls in a row were billed and refused for the same reason, with no answer in between.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BilledRefusals {
    kind: Option<(Option<u16>, Option<i64>)>,
    count: u32,
}

impl BilledRefusals {
    /// Counts a result; true if it is one refusal too many.
    pub(super) fn is_exceeded_by(&mut self, assessment: &Assessment) -> bool {
        match assessment.class {
            Class::Data | Class::NoData => *self = Self::default(),
            Class::Rejected | Class::Contract if is_billed(assessment.cost) => {
                let kind = Some((assessment.http_status, assessment.api_code));
                self.count = if self.kind == kind { self.count + 1 } else { 1 };
                self.kind = kind;
            }
            // Neither an answer nor a billed refusal: it shows nothing about the query.
            _ => {}
        }
        self.count >= MAX_BILLED_REFUSALS
    }
}

/// How many different targets in a row were refused by an unknown party, with no answer in between.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RefusedTargets(u32);

impl RefusedTargets {
    /// Counts a result and returns the number of targets; `is_first`: the target was not refused before. A target that
    /// is refused again while others have got answers is not counted again.
    pub(super) fn count(&mut self, class: Class, is_first: bool) -> u32 {
        match class {
            Class::Data | Class::NoData => self.0 = 0,
            Class::Refused(_) => self.0 += u32::from(is_first),
            _ => {}
        }
        self.0
    }
}

fn is_billed(cost: Cost) -> bool {
    cost == Cost::Unknown || cost.known() > Usd::ZERO
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::status::{Fatal, Stated};

    fn result(class: Class, api_code: i64, cost: Cost) -> Assessment {
        Assessment {
            class,
            http_status: Some(200),
            api_code: Some(api_code),
            message: None,
            task_id: None,
            items: 0,
            json: true,
            cost,
            stated: Stated::default(),
        }
    }

    #[test]
    fn different_targets_refused_without_an_answer_between_add_up() {
        let refused = Class::Refused(Fatal::TokenRefused);
        let mut targets = RefusedTargets::default();
        let mut check = |class, is_first, expected| assert_eq!(targets.count(class, is_first), expected, "{class:?}");
        check(refused, true, 1);
        check(refused, false, 1);
        check(Class::Transient, true, 1);
        check(refused, true, 2);
        check(Class::NoData, true, 0);
        check(refused, false, 0);
        check(refused, true, 1);
    }

    #[test]
    fn only_billed_refusals_of_one_kind_without_an_answer_between_add_up() {
        let paid = Cost::Upstream(Usd::from_micros(24_000));
        let refused = result(Class::Rejected, 40_501, paid);
        let check = |between: &Assessment, is_exceeded: bool| {
            let mut refusals = BilledRefusals::default();
            for number in 1..MAX_BILLED_REFUSALS {
                assert!(!refusals.is_exceeded_by(&refused), "{number}");
            }
            refusals.is_exceeded_by(between);
            assert_eq!(refusals.is_exceeded_by(&refused), is_exceeded, "{between:?}");
        };
        check(&result(Class::Transient, 50_000, Cost::Nothing), true);
        check(&result(Class::Rejected, 40_501, Cost::Nothing), true);
        check(&result(Class::Rejected, 40_501, Cost::Debit(Usd::ZERO)), true);
        check(&result(Class::Data, 20_000, paid), false);
        check(&result(Class::NoData, 40_102, paid), false);
        check(&result(Class::Rejected, 40_503, paid), false);
    }
}
