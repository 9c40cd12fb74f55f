//! Distinguishes targets that fail by themselves from targets that fail because the API is down: a target fails by
//! itself if the API has answered a call that was sent after the target's. Nothing is decided here.

use tokio::time::Instant;

/// The number of a call in the order of sending.
pub(super) type CallNumber = u64;

/// The targets that have failed and have no answer yet.
#[derive(Clone, Debug, Default)]
pub(super) struct FailingTargets {
    /// The last call that was answered, in the order of sending.
    last_answered: Option<CallNumber>,
    /// The first failures of targets after which no call was sent that was answered.
    unexplained: Vec<(CallNumber, Instant)>,
    /// How many targets fail by themselves.
    by_themselves: usize,
    /// The first failures of targets during the last outage, which say nothing about these targets.
    excused: Option<(CallNumber, CallNumber)>,
}

impl FailingTargets {
    /// `by_themselves`: how many of the targets have failed in an earlier run.
    pub(super) fn new(by_themselves: usize) -> Self {
        Self { by_themselves, ..Self::default() }
    }

    /// Whether the API has answered any call of this run.
    pub(super) fn has_answer(&self) -> bool {
        self.last_answered.is_some()
    }

    /// Whether a target with this first failure fails by itself.
    pub(super) fn fails_by_itself(&self, first_failure: Option<CallNumber>) -> bool {
        first_failure.is_some_and(|call| self.last_answered > Some(call))
    }

    /// How many targets fail for an unknown reason.
    pub(super) fn unexplained(&self) -> usize {
        self.unexplained.len()
    }

    /// Since when no call has been answered, if targets fail for an unknown reason.
    pub(super) fn failing_since(&self) -> Option<Instant> {
        self.unexplained.first().map(|(_, at)| *at)
    }

    /// Whether the API may be down: more targets fail for an unknown reason than by themselves.
    pub(super) fn suggest_outage(&self) -> bool {
        self.unexplained.len() > self.by_themselves
    }

    /// Whether a target failed only during the last outage.
    pub(super) fn is_excused(&self, first_failure: Option<CallNumber>) -> bool {
        let excused = first_failure.zip(self.excused);
        excused.is_some_and(|(call, (first, last))| (first..=last).contains(&call))
    }

    /// A call failed, perhaps because the API is down; `first_failure` is that of its target, if it has failed before.
    pub(super) fn on_failure(&mut self, now: Instant, call: CallNumber, first_failure: Option<CallNumber>) {
        match first_failure {
            Some(_) => {}
            None if self.last_answered > Some(call) => self.by_themselves += 1,
            None => self.unexplained.push((call, now)),
        }
    }

    /// A call was answered, and its target, which first failed at `first_failure`, no longer fails.
    pub(super) fn on_answer(&mut self, call: CallNumber, first_failure: Option<CallNumber>) {
        if self.fails_by_itself(first_failure) {
            self.by_themselves = self.by_themselves.saturating_sub(1);
        }
        self.unexplained.retain(|(failed, _)| Some(*failed) != first_failure);
        self.last_answered = self.last_answered.max(Some(call));
        let failing = self.unexplained.len();
        self.unexplained.retain(|(failed, _)| *failed > call);
        self.by_themselves += failing - self.unexplained.len();
    }

    /// An outage is over.
    pub(super) fn on_recovery(&mut self) {
        let calls = || self.unexplained.iter().map(|(call, _)| *call);
        self.excused = calls().min().zip(calls().max());
        self.unexplained.clear();
    }

    /// If a single target is left unexplained although the API has answered others, takes the target for the cause.
    pub(super) fn blame_last(&mut self) -> bool {
        let is_last = self.unexplained.len() == 1 && self.has_answer();
        if is_last {
            self.by_themselves += 1;
            self.unexplained.clear();
        }
        is_last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_target_fails_by_itself_if_a_later_call_was_answered() {
        let now = Instant::now();
        let mut failing = FailingTargets::default();
        failing.on_failure(now, 7, None);
        failing.on_failure(now, 9, Some(7));
        failing.on_failure(now, 8, None);
        let state = |failing: &FailingTargets| (failing.unexplained(), failing.by_themselves);
        assert_eq!((state(&failing), failing.failing_since()), ((2, 0), Some(now)));
        assert!(failing.suggest_outage() && !failing.has_answer());
        // Answers to calls that were sent before do not show that the API is up.
        failing.on_answer(6, None);
        assert_eq!((state(&failing), failing.has_answer()), ((2, 0), true));
        assert!(failing.suggest_outage() && !failing.fails_by_itself(Some(7)));
        failing.on_answer(10, None);
        assert_eq!((state(&failing), failing.failing_since()), ((0, 2), None));
        assert!(
            failing.fails_by_itself(Some(7)) && !failing.fails_by_itself(Some(10)) && !failing.fails_by_itself(None)
        );
        // A call that was overtaken by an answer
        failing.on_failure(now, 5, None);
        assert_eq!(state(&failing), (0, 3));
        // Targets that have their answers after all
        failing.on_failure(now, 11, None);
        failing.on_answer(12, Some(11));
        failing.on_answer(13, Some(7));
        assert_eq!(state(&failing), (0, 2));
        for call in 14..16 {
            failing.on_failure(now, call, None);
        }
        assert!(!failing.suggest_outage(), "as many fail by themselves");
        failing.on_failure(now, 16, None);
        assert!(failing.suggest_outage());
    }

    #[tokio::test(start_paused = true)]
    async fn targets_that_failed_in_an_outage_are_excused() {
        let now = Instant::now();
        let mut failing = FailingTargets::new(2);
        failing.on_answer(1, None);
        for call in [3, 2, 4] {
            failing.on_failure(now, call, None);
        }
        assert!(failing.suggest_outage() && !failing.is_excused(Some(3)));
        failing.on_recovery();
        failing.on_answer(9, None);
        assert_eq!((failing.unexplained(), failing.by_themselves), (0, 2));
        let excused = |call| failing.is_excused(Some(call));
        assert_eq!([1, 2, 3, 4, 5].map(excused), [false, true, true, true, false]);
        assert!(!failing.is_excused(None));
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_single_target_is_blamed_and_only_if_others_were_answered() {
        let check = |is_answered: bool, failures: u64, expected: bool| {
            let mut failing = FailingTargets::default();
            if is_answered {
                failing.on_answer(0, None);
            }
            for call in 1..=failures {
                failing.on_failure(Instant::now(), call, None);
            }
            assert_eq!(failing.blame_last(), expected, "{is_answered} {failures}");
            assert_eq!(failing.suggest_outage(), !expected && failures > 0, "{is_answered} {failures}");
        };
        check(true, 1, true);
        check(true, 0, false);
        check(true, 2, false);
        check(false, 1, false);
    }
}
