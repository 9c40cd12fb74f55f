//! What a run has come to: totals, spend, failures, the words for them, and the exit code.
//!
//! A plain record that the pipeline fills in, and pure functions that put it before a person ([`Outcome::text`]),
//! a program ([`Outcome::json`]) and a page ([`Outcome::markdown`]). Nothing here counts, reads files or writes.
//! Every way to end has its sentence and says how to go on ([`Outcome::error`]); foreign text is made harmless.

use std::{path::PathBuf, time::Duration};

use serde_json::{Value, json};

use crate::{money::Usd, words};

mod ended;
mod max_failures;
mod metrics;
mod text;

pub use self::{
    ended::{Ended, Signal},
    max_failures::{MaxFailures, NotALimit},
    text::wrapped,
};

/// Money, by where it is known from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spend {
    /// Told by the gateway's debit header.
    pub debited: Usd,
    /// Told by the answers as the upstream price, of which the gateway may debit a multiple.
    pub upstream: Usd,
    /// Set aside under a spending cap for calls at an unknown price.
    pub set_aside: Usd,
    /// Billed calls whose price nobody told.
    pub unknown_calls: u64,
    /// Calls that were sent and have no answer: they may have been billed.
    pub possibly_billed: u64,
}

impl Spend {
    /// What is known to be spent.
    pub fn known(&self) -> Usd {
        self.debited.plus(self.upstream)
    }
}

/// A published dataset's copy in an object store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elsewhere {
    pub url: String,
    /// Objects of the dataset, `_SUCCESS` included.
    pub files: u64,
    /// Those that were not there yet.
    pub files_sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Whether `_SUCCESS` is there.
    pub success: bool,
}

/// Why a published dataset has no copy in its object store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UploadFailed {
    pub error: String,
    /// What to do about it.
    pub hint: String,
}

/// What a run has come to. Numbers are about the whole directory, earlier runs included, unless they say otherwise.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// How the run ended.
    pub ended: Ended,
    /// Whether the dataset stands as the ledger has it.
    pub published: bool,
    pub targets: u64,
    pub ok: u64,
    /// Targets of which the API knows nothing.
    pub no_data: u64,
    pub failed: u64,
    /// Targets not asked yet, or stopped before an answer.
    pub pending: u64,
    /// Input lines that were no domain.
    pub rejected: u64,
    /// Input lines that repeat a target.
    pub duplicates: u64,
    /// Targets that are subdomains, which the API may not know.
    pub subdomains: u64,
    /// Rows of the dataset.
    pub rows: u64,
    /// Rows of `backlinks_undated`.
    pub undated: u64,
    /// Targets whose answer's counts differ from what it has.
    pub mismatches: u64,
    pub calls: u64,
    /// Those of them that asked for a target again.
    pub retries: u64,
    /// Calls that this run sent.
    pub calls_this_run: u64,
    /// What is known to be spent by this run.
    pub cost_this_run: Usd,
    pub spend: Spend,
    pub max_cost: Option<Usd>,
    /// Failures that are tolerated.
    pub max_failures: MaxFailures,
    /// The most frequent reasons of failures with their counts, most frequent first.
    pub failure_reasons: Vec<(String, u64)>,
    /// How long this run took.
    pub elapsed: Duration,
    pub out: PathBuf,
    /// Parquet files of the dataset.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The HTML report, where it was written.
    pub report: Option<PathBuf>,
    /// Where else the dataset was put.
    pub published_to: Option<Elsewhere>,
    /// Why it is not there, where it was to be; the dataset in the run's directory is whole.
    pub upload_failed: Option<UploadFailed>,
    /// What the API sent that this version does not know, a line each.
    pub drift: Vec<String>,
    /// Answers that have taken the place of an older one.
    pub refreshed: u64,
    /// Those of them that this run has bought.
    pub refreshed_this_run: u64,
    /// Answers that were taken over from earlier runs.
    pub taken_over: u64,
    /// Those of them that this run has taken over.
    pub taken_over_this_run: u64,
    /// Targets whose answer is older than `--max-age` allows: it stays in force as long as there is no newer one.
    pub stale: u64,
    /// Answers from before this are older than `--max-age` allows; `None`: any age is allowed.
    pub fresh_since: Option<String>,
    /// Whether the simulated API answered, so that no money is gone.
    pub simulated: bool,
    /// Whether the dataset was built of answers that were there, without any call.
    pub replayed: bool,
}

impl Outcome {
    /// Whether nothing is left to do: then, and only then, `_SUCCESS` is written.
    pub fn success(&self) -> bool {
        self.ended == Ended::Finished && self.published && self.tolerated() && self.upload_failed.is_none()
    }

    /// The exit code, as the manual lists them; usage errors (2) never get as far as an outcome.
    pub fn exit_code(&self) -> u8 {
        match &self.ended {
            _ if self.upload_failed.is_some() => 1,
            Ended::Finished if !self.published => 1,
            Ended::Finished if self.tolerated() => 0,
            Ended::Finished => 3,
            Ended::Fatal { .. } | Ended::Contract { .. } | Ended::Refused { .. } => 4,
            Ended::Outage { .. } | Ended::Unreachable { .. } => 4,
            Ended::Budget | Ended::Limit => 5,
            Ended::Signal(signal) => signal.exit_code(),
            Ended::Unexpected { .. } => 1,
        }
    }

    /// What went wrong and how to go on, without `error:` and `hint:` in front; `None`: nothing did.
    pub fn error(&self) -> Option<(String, Option<String>)> {
        const KEPT: &str = "all paid answers are saved";
        if let Some(UploadFailed { error, hint }) = &self.upload_failed {
            return Some((error.clone(), Some(hint.clone())));
        }
        let (reason, hint) = match &self.ended {
            Ended::Finished if !self.published => {
                ("the dataset was not published".to_owned(), format!("{KEPT}; run the same command again"))
            }
            Ended::Finished if self.tolerated() => return None,
            Ended::Finished => return Some(self.too_many_failures()),
            Ended::Fatal { fatal, message } => (said(fatal.reason(), message.as_deref()), fatal.hint().to_owned()),
            Ended::Contract { message } => (
                said("the API rejects the format of the requests", message.as_deref()),
                again("all paid answers are saved; check --body, --api, --date-from and --date-to"),
            ),
            Ended::Refused { message } => (
                said("several targets in a row were refused by something other than the API", Some(message)),
                again("all paid answers are saved; check the token, --api, and any proxy or firewall in between"),
            ),
            Ended::Outage { message } => (
                said("the API has been down for too long", message.as_deref()),
                format!("{KEPT}; run the same command again when the API is back"),
            ),
            Ended::Unreachable { message } => (
                said("the API cannot be reached", message.as_deref()),
                again("all paid answers are saved; check --api, the network, HTTPS_PROXY and SSL_CERT_FILE"),
            ),
            Ended::Budget => {
                (self.cap_reached(), format!("{KEPT}; run the same command again with a higher --max-cost"))
            }
            Ended::Limit => {
                let left = words::counted(self.pending, "target has", "targets have");
                let reason = format!("--limit reached ({left} not been called yet)");
                (reason, format!("{KEPT}; run the same command again for the next ones, or without --limit for all"))
            }
            Ended::Signal(signal) => (
                format!("interrupted by {}", signal.name()),
                format!("{KEPT}, including the calls in flight; run the same command again to resume"),
            ),
            Ended::Unexpected { message, hint } => {
                let hint = hint
                    .clone()
                    .unwrap_or_else(|| format!("{KEPT}; fix the problem above and run the same command again"));
                (words::plain(message).into_owned(), hint)
            }
        };
        let error = format!("export stopped after {}: {reason}", self.answered());
        Some((error, Some(hint)))
    }

    /// The outcome as one JSON object. Keys are public and stay.
    pub fn json(&self) -> Value {
        let dollars = |amount: Usd| amount.dollars();
        let (error, hint) = self.error().map_or((None, None), |(error, hint)| (Some(error), hint));
        let reasons = self.failure_reasons.iter().map(|(reason, count)| json!({"reason": reason, "count": count}));
        json!({
            "targets": self.targets,
            "ok": self.ok,
            "no_data": self.no_data,
            "failed": self.failed,
            "pending": self.pending,
            "rejected": self.rejected,
            "duplicates": self.duplicates,
            "subdomains": self.subdomains,
            "rows": self.rows,
            "undated": self.undated,
            "count_mismatches": self.mismatches,
            "calls": self.calls,
            "retries": self.retries,
            "calls_this_run": self.calls_this_run,
            "cost_usd": dollars(self.spend.known()),
            "cost_usd_this_run": dollars(self.cost_this_run),
            "cost_source": {
                "debit_usd": dollars(self.spend.debited),
                "upstream_usd": dollars(self.spend.upstream),
                "unknown_calls": self.spend.unknown_calls,
                "set_aside_usd": dollars(self.spend.set_aside),
            },
            "possibly_billed": self.spend.possibly_billed,
            "refreshed": self.refreshed,
            "refreshed_this_run": self.refreshed_this_run,
            "taken_over": self.taken_over,
            "taken_over_this_run": self.taken_over_this_run,
            "stale": self.stale,
            "fresh_since": self.fresh_since,
            "max_cost_usd": self.max_cost.map(dollars),
            "max_failures": self.max_failures.to_string(),
            "failure_reasons": reasons.collect::<Vec<_>>(),
            "elapsed_s": words::seconds(self.elapsed),
            "out": self.out.display().to_string(),
            "published": self.published,
            "files": self.files,
            "bytes": self.bytes,
            "report": self.report.as_ref().map(|path| path.display().to_string()),
            "published_to": self.published_to.as_ref().map(|there| json!({
                "url": there.url,
                "files": there.files,
                "files_sent": there.files_sent,
                "bytes_sent": there.bytes_sent,
                "success": there.success,
            })),
            "drift": self.drift,
            "success": self.success(),
            "exit_code": self.exit_code(),
            "stopped": self.ended.word(),
            "error": error,
            "hint": hint,
        })
    }

    /// Targets without an answer in a run that has finished.
    fn unanswered(&self) -> u64 {
        self.failed.saturating_add(self.pending)
    }

    /// Targets without an answer, or without one that is new enough.
    fn wanting(&self) -> u64 {
        self.unanswered().saturating_add(self.stale)
    }

    fn tolerated(&self) -> bool {
        self.max_failures.allows(self.wanting(), self.targets)
    }

    /// `1,204 of 5,000 targets`
    fn answered(&self) -> String {
        let answered = words::count(self.ok.saturating_add(self.no_data));
        format!("{answered} of {}", words::counted(self.targets, "target", "targets"))
    }

    fn too_many_failures(&self) -> (String, Option<String>) {
        let targets = words::counted(self.targets, "target", "targets");
        let have = if self.pending == 1 { "has no answer yet" } else { "have no answer yet" };
        let parts = [(self.failed, "failed"), (self.pending, have), (self.stale, "could not be refreshed")];
        let mut told: Vec<String> = Vec::new();
        for (number, what) in parts.into_iter().filter(|(number, _)| *number > 0) {
            let of = if told.is_empty() { format!(" of {targets}") } else { String::new() };
            told.push(format!("{}{of} {what}", words::count(number)));
        }
        let last = told.pop().unwrap_or_default();
        let what = if told.is_empty() { last } else { format!("{} and {last}", told.join(", ")) };
        let older = if self.unanswered() == 0 { ": their older answers are used" } else { "" };
        let error = format!("finished, but {what}{older} (more than --max-failures {})", self.max_failures);
        let again = if self.replayed {
            "resume the run in its directory, then replay again"
        } else {
            "run the same command again to retry them"
        };
        let file = self.out.join("_failures.csv");
        (error, Some(format!("see {}; {again}", shown(&file))))
    }

    fn cap_reached(&self) -> String {
        let cap = self.max_cost.map_or_else(String::new, |cap| format!(" {}", words::money(cap)));
        let set_aside = match self.spend.set_aside {
            Usd::ZERO => String::new(),
            amount => format!(", {} reserved for calls of unknown price", words::money(amount)),
        };
        format!(
            "--max-cost{cap} does not cover another call ({} spent{set_aside}; {} left)",
            words::money(self.spend.known()),
            words::counted(self.wanting(), "target", "targets")
        )
    }
}

fn again(first: &str) -> String {
    format!("{first}, then run the same command again")
}

/// A reason with what the API said, if it said anything.
fn said(reason: &str, message: Option<&str>) -> String {
    let message = message.map(|message| words::plain(message.trim())).filter(|message| !message.is_empty());
    message.map_or_else(|| reason.to_owned(), |message| format!("{reason} (last message: {message})"))
}

/// A path before a person. Names of files may be anything, too.
fn shown(path: &std::path::Path) -> String {
    words::plain(&path.display().to_string()).into_owned()
}

#[cfg(test)]
mod tests;
