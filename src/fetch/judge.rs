//! Decides what to do about a call's result: a pure function of its class and of the previous attempts.

use crate::api::status::{Class, Fatal};

/// Retries after calls that may have been billed without an answer: each may be billed again.
pub(super) const MAX_MAYBE_BILLED: u32 = 2;
/// Retries after an answer about another target.
pub(super) const MAX_WRONG_TARGET: u32 = 1;
/// How many different targets in a row, refused by an unknown party without an answer in between, end a run: one or two
/// may be blocked by a firewall, three mean a token or a route that no longer works.
pub(super) const MAX_REFUSED_TARGETS: u32 = 3;

/// The attempts for one target in this run, including the last call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TargetAttempts {
    /// Calls that count against `--max-attempts`.
    pub attempts: u32,
    /// Calls that were billed, or may have been, without an answer.
    pub maybe_billed: u32,
    /// Answers about another target.
    pub wrong_target: u32,
    /// Refusals by an unknown party.
    pub refused: u32,
}

/// What is known about the run as a whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct RunFacts {
    /// `--max-attempts`.
    pub max_attempts: u32,
    /// Whether any call, in this run or an earlier one, was answered.
    pub proven: bool,
    /// Whether the other form of the body can still be tried.
    pub other_form: bool,
    /// Targets in a row that were refused by an unknown party, with no answer in between.
    pub refused_targets: u32,
    /// How many of them end the run.
    pub max_refused_targets: u32,
}

/// What to do next about a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It has its answer.
    Done,
    /// Try again after a wait.
    Retry,
    /// Try again at once, in the other form of the body.
    OtherForm,
    /// Try again with more money reserved.
    RaiseLimit,
    /// Leave it as failed; the next run tries again.
    GiveUp,
    /// No call for any target can succeed.
    Stop(Stop),
}

/// Why the whole run stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The API cannot be used until someone has fixed the cause.
    Fatal(Fatal),
    /// The first answers mean that the calls are malformed.
    Contract,
    /// Several targets were refused by an unknown party.
    Refused,
}

/// Decides by the class of a call and the previous attempts.
pub(super) fn judge(class: Class, tried: TargetAttempts, run: RunFacts) -> Decision {
    let again = if tried.attempts < run.max_attempts { Decision::Retry } else { Decision::GiveUp };
    match class {
        Class::Data | Class::NoData => Decision::Done,
        Class::Transient | Class::SlowDown | Class::MaybeBilled if tried.maybe_billed > MAX_MAYBE_BILLED => {
            Decision::GiveUp
        }
        Class::Transient | Class::SlowDown | Class::MaybeBilled => again,
        Class::WrongTarget if tried.wrong_target > MAX_WRONG_TARGET => Decision::GiveUp,
        Class::WrongTarget => again,
        Class::PriceRefused => Decision::RaiseLimit,
        Class::Contract if run.proven => Decision::GiveUp,
        Class::Contract if run.other_form => Decision::OtherForm,
        Class::Contract => Decision::Stop(Stop::Contract),
        Class::Rejected => Decision::GiveUp,
        Class::Refused(_) if run.refused_targets < run.max_refused_targets => again,
        Class::Refused(_) if run.proven => Decision::Stop(Stop::Refused),
        // Nothing was ever answered here: most likely, the token or the URL is wrong.
        Class::Refused(fatal) => Decision::Stop(Stop::Fatal(fatal)),
        Class::Fatal(fatal) => Decision::Stop(Stop::Fatal(fatal)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_leads_to_its_decision() {
        let run =
            RunFacts { max_attempts: 6, proven: true, other_form: true, refused_targets: 0, max_refused_targets: 3 };
        let fresh = RunFacts { proven: false, ..run };
        let known_body = RunFacts { proven: false, other_form: false, ..run };
        let tried =
            |attempts, maybe_billed, wrong_target| TargetAttempts { attempts, maybe_billed, wrong_target, refused: 0 };
        let check = |class, tried, run, expected| assert_eq!(judge(class, tried, run), expected, "{class:?} {tried:?}");
        check(Class::Data, tried(1, 0, 0), run, Decision::Done);
        check(Class::NoData, tried(6, 0, 0), run, Decision::Done);
        check(Class::Transient, tried(5, 0, 0), run, Decision::Retry);
        check(Class::Transient, tried(6, 0, 0), run, Decision::GiveUp);
        check(Class::Transient, tried(2, 2, 0), run, Decision::Retry);
        check(Class::Transient, tried(3, 3, 0), run, Decision::GiveUp);
        check(Class::SlowDown, tried(1, 0, 0), run, Decision::Retry);
        check(Class::SlowDown, tried(6, 0, 0), run, Decision::GiveUp);
        check(Class::MaybeBilled, tried(1, 1, 0), run, Decision::Retry);
        check(Class::MaybeBilled, tried(2, 2, 0), run, Decision::Retry);
        check(Class::MaybeBilled, tried(3, 3, 0), run, Decision::GiveUp);
        check(Class::MaybeBilled, tried(6, 1, 0), run, Decision::GiveUp);
        check(Class::WrongTarget, tried(1, 0, 1), run, Decision::Retry);
        check(Class::WrongTarget, tried(2, 0, 2), run, Decision::GiveUp);
        check(Class::PriceRefused, tried(1, 0, 0), run, Decision::RaiseLimit);
        check(Class::Rejected, tried(1, 0, 0), run, Decision::GiveUp);
        let refused = |refused_targets| RunFacts { refused_targets, ..run };
        let class = Class::Refused(Fatal::WrongUrl);
        check(class, tried(1, 0, 0), refused(1), Decision::Retry);
        check(class, tried(6, 0, 0), refused(1), Decision::GiveUp);
        check(class, tried(1, 0, 0), refused(2), Decision::Retry);
        check(class, tried(1, 0, 0), refused(3), Decision::Stop(Stop::Refused));
        let unanswered = |refused_targets| RunFacts { refused_targets, ..fresh };
        check(class, tried(1, 0, 0), unanswered(2), Decision::Retry);
        check(class, tried(1, 0, 0), unanswered(3), Decision::Stop(Stop::Fatal(Fatal::WrongUrl)));
        let of_all = RunFacts { max_refused_targets: 1, ..unanswered(1) };
        check(class, tried(1, 0, 0), of_all, Decision::Stop(Stop::Fatal(Fatal::WrongUrl)));
        check(Class::Contract, tried(1, 0, 0), run, Decision::GiveUp);
        check(Class::Contract, tried(1, 0, 0), fresh, Decision::OtherForm);
        check(Class::Contract, tried(1, 0, 0), known_body, Decision::Stop(Stop::Contract));
        check(Class::Fatal(Fatal::NoCredit), tried(1, 0, 0), run, Decision::Stop(Stop::Fatal(Fatal::NoCredit)));
    }
}
