//! The part of the index about one target.

use jiff::Timestamp;

use crate::{
    api::call_events::TargetState,
    ledger::{Location, record::CostSource},
    money::Usd,
};

/// What the ledger contains about one target, in 48 bytes.
#[derive(Clone, Debug, Default)]
pub struct TargetEntry {
    pub state: TargetState,
    /// Calls that were sent, in all runs of this directory.
    pub attempts: u32,
    /// The reported cost of its calls.
    pub cost: Usd,
    cost_source: Option<CostSource>,
    /// Calls that may have been billed without an answer, except for the one in progress.
    possibly_billed: u16,
    /// Calls among them that a killed process left without any record of their result.
    interrupted: u16,
    /// Whether a call was sent that has no result yet.
    unanswered: bool,
    /// Where its answer is, or else the latest call's result: file, offset, and bytes of head and body; without a head,
    /// no call has a result.
    segment: u16,
    offset: u64,
    head: u32,
    body: u32,
    /// When that arrived, in microseconds since 1970.
    at: i64,
}

const _: () = assert!(size_of::<TargetEntry>() == 48);

impl TargetEntry {
    /// Calls that may have been billed, including one without a result.
    pub fn possibly_billed(&self) -> u32 {
        u32::from(self.possibly_billed) + u32::from(self.unanswered)
    }

    /// Calls without any record of their result.
    pub(super) fn unrecorded_calls(&self) -> u32 {
        u32::from(self.interrupted) + u32::from(self.unanswered)
    }

    /// Where its answer is, or else the latest call's result.
    pub(in crate::ledger) fn last(&self) -> Option<Location> {
        let Self { segment, offset, head, body, .. } = *self;
        (head > 0).then_some(Location { segment: segment.into(), head, body, offset })
    }

    /// When its answer arrived, or else the latest call's result; `None`: no call has a result.
    pub fn at(&self) -> Option<Timestamp> {
        self.last().and_then(|_| Timestamp::from_microsecond(self.at).ok())
    }

    /// Whether its answer is stored and is not older than `since`, if given.
    pub fn is_fresh(&self, since: Option<Timestamp>) -> bool {
        self.state.is_final() && since.is_none_or(|since| self.at >= since.as_microsecond())
    }

    /// The least certain source of its costs, including a call without a result.
    pub fn cost_source(&self) -> Option<CostSource> {
        if self.unanswered { Some(CostSource::Unknown) } else { self.cost_source }
    }

    pub(super) fn sent(&mut self) {
        self.attempts += 1;
        self.unanswered = true;
    }

    pub(super) fn called_off(&mut self) {
        self.attempts = self.attempts.saturating_sub(1);
        self.unanswered = false;
    }

    /// The process of the previous call was killed while that call was in flight.
    pub(super) fn interrupted(&mut self) {
        self.possibly_billed = self.possibly_billed.saturating_add(1);
        self.interrupted = self.interrupted.saturating_add(1);
        self.has_cost_from(Some(CostSource::Unknown));
    }

    /// A call's result arrived.
    pub(super) fn answered(&mut self, price: Usd, source: Option<CostSource>, possibly_billed: bool) {
        self.unanswered = false;
        self.cost = self.cost.plus(price);
        self.possibly_billed = self.possibly_billed.saturating_add(u16::from(possibly_billed));
        self.has_cost_from(source);
    }

    /// The least certain source counts.
    pub(super) fn has_cost_from(&mut self, source: Option<CostSource>) {
        self.cost_source = self.cost_source.max(source);
    }

    /// Sets what counts from now on: the latest answer, or else the latest result.
    pub(super) fn set_state(&mut self, state: TargetState, at: Timestamp, location: Location) {
        let Location { segment, head, body, offset } = location;
        self.segment = segment.try_into().expect("65,536 files of the ledger have a gigabyte each");
        (self.offset, self.head, self.body) = (offset, head, body);
        (self.state, self.at) = (state, at.as_microsecond());
    }
}
