//! A snapshot of the counters, from which all displays are made.

use std::time::Duration;

use super::ExportScope;
use crate::money::Usd;

/// What the export is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Activity {
    #[default]
    Calling,
    RateLimit,
    /// With the remaining time.
    AskedToWait(Duration),
    Outage,
    Finishing,
    /// With the number of targets.
    Publishing(u64),
    /// With the number of bytes.
    Uploading(u64),
    Ended,
}

impl Activity {
    /// For programs.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Calling => "calling",
            Self::RateLimit => "rate_limit",
            Self::AskedToWait(_) => "asked_to_wait",
            Self::Outage => "outage",
            Self::Finishing => "finishing",
            Self::Publishing(_) => "publishing",
            Self::Uploading(_) => "uploading",
            Self::Ended => "ended",
        }
    }
}

/// The counters at one moment. Money is this run's.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counted {
    pub(super) elapsed: Duration,
    pub(super) calls: u64,
    pub(super) retries: u64,
    pub(super) answers: u64,
    pub(super) done: u64,
    pub(super) failed: u64,
    pub(super) rows: u64,
    /// Targets whose rows are in the dataset.
    pub(super) written: u64,
    /// Bytes of the dataset that are uploaded.
    pub(super) uploaded: u64,
    pub(super) spent: Usd,
    /// The API was down at the last report: the remaining time is unknown.
    pub(super) down: bool,
    pub(super) activity: Activity,
}

/// Everything that a display may show.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProgressSnapshot {
    pub(super) counted: Counted,
    pub(super) scope: ExportScope,
    /// Calls per minute, now.
    pub(super) per_minute: u64,
    pub(super) left: Option<Duration>,
    /// What all runs will have spent once all targets are settled; `None`: unknown, or equal to what they have spent.
    pub(super) projected: Option<Usd>,
}

impl ProgressSnapshot {
    /// Progress of the current phase: how many of how many targets are done.
    pub(super) fn progress(&self) -> (u64, u64) {
        match self.counted.activity {
            Activity::Publishing(total) => (self.counted.written, total),
            Activity::Uploading(total) => (self.counted.uploaded, total),
            _ => (self.counted.done, self.scope.total),
        }
    }

    /// Whether fetching has ended.
    pub(super) fn is_after_fetch(&self) -> bool {
        matches!(self.counted.activity, Activity::Publishing(_) | Activity::Uploading(_))
    }

    /// What all runs of the directory have spent.
    pub(super) fn spent(&self) -> Usd {
        self.scope.spent.plus(self.counted.spent)
    }
}
