//! A snapshot of the counters, and the texts derived from it that several displays use. `render` has the bar, `lines`
//! the plain lines and JSON.

use std::time::Duration;

use super::ExportScope;
use crate::{humanize, money::Usd};

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
    /// For people; empty for normal activity.
    pub(super) fn describe(self) -> String {
        match self {
            Self::Calling | Self::Ended => String::new(),
            Self::RateLimit => "waiting for the rate limit".to_owned(),
            Self::AskedToWait(left) => format!("the API asks to wait {}", humanize::countdown(left)),
            Self::Outage => "API down, probing".to_owned(),
            Self::Finishing => "finishing calls in flight".to_owned(),
            Self::Publishing(_) => "writing Parquet".to_owned(),
            Self::Uploading(_) => "uploading the dataset".to_owned(),
        }
    }

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

    /// `9,500 rows`; `None` if all targets already had their answers.
    pub(super) fn rows(&self) -> Option<String> {
        let rows = humanize::count(self.counted.rows);
        match self.scope.stored {
            0 => Some(format!("{rows} rows")),
            stored if stored < self.scope.total => Some(format!("{rows} new rows")),
            _ => None,
        }
    }

    /// What all runs of the directory have spent.
    pub(super) fn spent(&self) -> Usd {
        self.scope.spent.plus(self.counted.spent)
    }

    /// `$12.40 of about $52`; `$3.29, simulated`
    pub(super) fn money(&self) -> String {
        let spent = humanize::money(self.spent());
        let projected =
            self.projected.map_or_else(String::new, |all| format!(" of about {}", humanize::rough_money(all)));
        let simulated = if self.scope.simulated { ", simulated" } else { "" };
        format!("{spent}{projected}{simulated}")
    }

    /// `at most $50.00`
    pub(super) fn cap(&self) -> Option<String> {
        self.scope.cap.map(|cap| format!("at most {}", humanize::money(cap)))
    }
}
