//! The words that the bar and the plain lines share. `bar` and `lines` have the rest of theirs.

use super::snapshot::{Activity, ProgressSnapshot};
use crate::humanize;

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
}

impl ProgressSnapshot {
    /// `9,500 rows`; `None` if all targets already had their answers.
    pub(super) fn rows(&self) -> Option<String> {
        let rows = humanize::count(self.counted.rows);
        match self.scope.stored {
            0 => Some(format!("{rows} rows")),
            stored if stored < self.scope.total => Some(format!("{rows} new rows")),
            _ => None,
        }
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
