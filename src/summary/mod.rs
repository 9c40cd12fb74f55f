//! The summary of a run: counts, cost, failures, how it ended, and its exit code.
//!
//! [`RunSummary`] is a plain record. `--summary json` prints it as JSON, and `_run.json` contains it; other files show
//! it as text, Markdown and metrics. Nothing here reads or writes files. All untrusted text is sanitized when it is
//! shown.

use std::{cmp::Reverse, collections::BTreeMap, path::PathBuf, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::Value;

use crate::{humanize, ledger::Spending, money::Usd, targets::Counts};

mod end;
mod max_failures;
mod metrics;
mod text;

pub use self::{
    end::{RunEnd, Signal},
    max_failures::{MaxFailures, NotALimit},
    text::wrapped,
};

/// Reasons for failures that a summary lists.
const MAX_REASONS: usize = 5;

/// Sums over the rows of `targets`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Targets with a stored history.
    pub ok: u64,
    /// Targets for which the API has no data.
    pub no_data: u64,
    /// Targets that were given up.
    pub failed: u64,
    /// Targets without an answer yet.
    pub pending: u64,
    /// Rows of `backlinks_history`.
    pub rows: u64,
    /// Rows of `backlinks_undated`: items without a usable date.
    pub undated: u64,
    /// Targets whose answer's counts differ from its content.
    pub mismatches: u64,
    /// How many targets failed for each reason.
    pub failures: BTreeMap<String, u64>,
}

/// The summary of a run. Numbers are about the whole directory, including earlier runs, unless stated otherwise.
///
/// Field names are public: they are the keys in JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "facts that readers ask for one by one, not a state")]
pub struct RunSummary {
    pub targets: u64,
    pub ok: u64,
    /// Targets for which the API has no data.
    pub no_data: u64,
    pub failed: u64,
    /// Targets that were not called yet, or stopped before an answer.
    pub pending: u64,
    /// Input lines that are not valid domains.
    pub rejected: u64,
    /// Input lines that repeat a target.
    pub duplicates: u64,
    /// Targets that are subdomains, which the API may not know.
    pub subdomains: u64,
    pub rows: u64,
    /// Rows of `backlinks_undated`.
    pub undated: u64,
    /// Targets whose answer's counts differ from its content.
    pub count_mismatches: u64,
    pub calls: u64,
    /// Calls that repeated one for the same target.
    pub retries: u64,
    pub calls_this_run: u64,
    /// Known cost: the debit, or else the upstream price.
    pub cost_usd: Dollars,
    pub cost_usd_this_run: Dollars,
    pub cost_source: CostSources,
    /// Calls that were sent and got no answer: they may have been billed.
    pub possibly_billed: u64,
    /// Answers that replaced an older one.
    pub refreshed: u64,
    pub refreshed_this_run: u64,
    /// Answers that were reused from earlier runs.
    pub taken_over: u64,
    pub taken_over_this_run: u64,
    /// Targets whose answer is older than `--max-age` allows; it counts until there is a newer one.
    pub stale: u64,
    /// Answers from before this are older than `--max-age` allows; `None`: any age is allowed.
    pub fresh_since: Option<Timestamp>,
    pub max_cost_usd: Option<Dollars>,
    pub max_failures: MaxFailures,
    /// The most frequent reasons for failures, most frequent first.
    pub failure_reasons: Vec<FailureReason>,
    #[serde(rename = "elapsed_s", serialize_with = "write_seconds", deserialize_with = "read_seconds")]
    pub elapsed: Duration,
    #[serde(serialize_with = "write_path")]
    pub out: PathBuf,
    /// Whether the dataset agrees with the ledger.
    pub published: bool,
    /// Parquet files of the dataset.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The HTML report, if it was written.
    pub report: Option<String>,
    /// The dataset's copy in an object store.
    pub published_to: Option<UploadSummary>,
    /// How answers differ from the schema of this version, one line each.
    pub drift: Vec<String>,
    /// Whether nothing is left to do. Only then is `_SUCCESS` written.
    pub success: bool,
    /// As documented; after usage errors (2) there is no summary.
    pub exit_code: u8,
    /// Why the run was stopped, in one word; `None`: it finished. Later versions may add words.
    pub stopped: Option<String>,
    /// What went wrong, without `error:`; `None`: nothing.
    pub error: Option<String>,
    /// What to do about it, without `hint:`.
    pub hint: Option<String>,
    /// Whether the simulated API answered, so that nothing was spent.
    #[serde(skip)]
    pub simulated: bool,
    /// Whether the dataset was built by `replay`, which makes no call.
    #[serde(skip)]
    pub replayed: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CostSources {
    /// From the gateway's debit header.
    pub debit_usd: Dollars,
    /// From the answers: the upstream price; the gateway may debit a multiple of it.
    pub upstream_usd: Dollars,
    /// Billed calls of unknown price.
    pub unknown_calls: u64,
    /// Reserved under a spending cap for calls of unknown price.
    pub set_aside_usd: Dollars,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureReason {
    pub reason: String,
    /// Targets that failed for this reason.
    pub count: u64,
}

/// A published dataset's copy in an object store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadSummary {
    pub url: String,
    /// Objects of the dataset, `_SUCCESS` included.
    pub files: u64,
    /// Objects that were uploaded because they were missing.
    pub files_sent: u64,
    pub bytes_sent: u64,
    /// Whether `_SUCCESS` exists.
    pub success: bool,
}

/// An amount, in JSON a number of dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "f64", try_from = "f64")]
pub struct Dollars(pub Usd);

impl From<Dollars> for f64 {
    fn from(amount: Dollars) -> Self {
        amount.0.dollars()
    }
}

impl TryFrom<f64> for Dollars {
    type Error = String;

    fn try_from(dollars: f64) -> Result<Self, String> {
        Usd::from_dollars(dollars).map(Self).ok_or_else(|| format!("{dollars} is not an amount of money"))
    }
}

impl RunSummary {
    /// The summary of a directory with these lines, results and calls.
    pub fn new(counts: Counts, totals: &Totals, spending: Spending) -> Self {
        let reasons =
            totals.failures.iter().map(|(reason, count)| FailureReason { reason: reason.clone(), count: *count });
        let mut failure_reasons: Vec<_> = reasons.collect();
        failure_reasons.sort_by_key(|reason| Reverse(reason.count));
        failure_reasons.truncate(MAX_REASONS);
        Self {
            targets: counts.targets as u64,
            ok: totals.ok,
            no_data: totals.no_data,
            failed: totals.failed,
            pending: totals.pending,
            rejected: counts.rejected as u64,
            duplicates: counts.duplicates as u64,
            subdomains: counts.subdomains as u64,
            rows: totals.rows,
            undated: totals.undated,
            count_mismatches: totals.mismatches,
            calls: spending.calls,
            retries: spending.retries,
            cost_usd: Dollars(spending.reported()),
            cost_source: CostSources {
                debit_usd: Dollars(spending.debited),
                upstream_usd: Dollars(spending.upstream),
                unknown_calls: spending.unpriced_calls,
                set_aside_usd: Dollars(spending.set_aside),
            },
            possibly_billed: spending.possibly_billed,
            refreshed: spending.refreshed,
            taken_over: spending.taken_over,
            failure_reasons,
            ..Self::default()
        }
    }

    /// The summary as one JSON object, its keys sorted.
    pub fn json(&self) -> Value {
        serde_json::to_value(self).expect("text and numbers always serialize")
    }

    /// Whether at most the tolerated number of targets has no answer, or one that is too old.
    pub fn is_tolerated(&self) -> bool {
        self.max_failures.allows(self.unfinished(), self.targets)
    }

    /// Targets without an answer, or without one that is new enough.
    fn unfinished(&self) -> u64 {
        self.failed.saturating_add(self.pending).saturating_add(self.stale)
    }

    /// `1,204 of 5,000 targets`
    fn answered(&self) -> String {
        let answered = humanize::count(self.ok.saturating_add(self.no_data));
        format!("{answered} of {}", humanize::counted(self.targets, "target", "targets"))
    }
}

#[expect(clippy::ptr_arg, reason = "serde passes the field's type")]
fn write_path<S: Serializer>(path: &PathBuf, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

fn write_seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(humanize::seconds(*duration))
}

fn read_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    Duration::try_from_secs_f64(f64::deserialize(deserializer)?).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests;
