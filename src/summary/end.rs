//! How a run ended, and the consequences: exit code, error message, and a hint on how to resume.

use super::{RunSummary, text::counted_if_any};
use crate::{
    api::status::Fatal,
    fetch::{self, StopReason},
    humanize,
    money::Usd,
    sanitize,
};

const SAVED: &str = "all paid answers are saved";

/// The signal that asked the program to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// `SIGINT`: the user pressed Ctrl-C.
    Interrupt,
    /// `SIGTERM`: the machine or the scheduler is stopping the program.
    Terminate,
}

impl Signal {
    /// The exit code that shells use: 128 plus the signal's number.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RunEnd {
    /// Nothing is left to call, and the dataset is published.
    #[default]
    Finished,
    /// Some targets are left that could not be called.
    Stopped(StopReason),
    Signal(Signal),
    /// Storing answers or publishing the dataset failed.
    Unexpected {
        /// What happened, and to which file.
        message: String,
        hint: Option<String>,
    },
}

impl RunEnd {
    /// How a run ended, from how its fetch ended; `signal` is the one that stopped it, if any did.
    pub fn new(ended: fetch::FetchEnd, signal: Signal) -> Self {
        match ended {
            fetch::FetchEnd::Done => Self::Finished,
            fetch::FetchEnd::Stopped(reason) => Self::Stopped(reason),
            fetch::FetchEnd::Shutdown => Self::Signal(signal),
        }
    }

    /// Why the run was stopped, in one word; `None`: it was not.
    fn word(&self) -> Option<&'static str> {
        match self {
            Self::Finished => None,
            Self::Stopped(reason) => Some(stop_word(reason)),
            Self::Signal(Signal::Interrupt) => Some("sigint"),
            Self::Signal(Signal::Terminate) => Some("sigterm"),
            Self::Unexpected { .. } => Some("unexpected"),
        }
    }
}

impl RunSummary {
    /// The summary with its end. Success and error depend on the numbers, which must be complete.
    #[must_use]
    pub fn with_end(self, ended: &RunEnd) -> Self {
        let problem = self.problem(ended);
        let success = problem.is_none();
        let (error, hint) = problem.unzip();
        Self {
            success,
            exit_code: self.exit_code(ended),
            stopped: ended.word().map(str::to_owned),
            error,
            hint,
            ..self
        }
    }

    /// The summary of a run whose dataset is published but was not uploaded.
    #[must_use]
    pub fn with_failed_upload(self, error: String, hint: String) -> Self {
        Self { success: false, exit_code: 1, error: Some(error), hint: Some(hint), ..self }
    }

    fn exit_code(&self, ended: &RunEnd) -> u8 {
        match ended {
            RunEnd::Finished if !self.published => 1,
            RunEnd::Finished if self.is_tolerated() => 0,
            RunEnd::Finished => 3,
            RunEnd::Stopped(
                StopReason::Fatal { .. }
                | StopReason::Contract { .. }
                | StopReason::BilledFailures { .. }
                | StopReason::Refused { .. }
                | StopReason::Outage { .. }
                | StopReason::Unreachable { .. },
            ) => 4,
            RunEnd::Stopped(StopReason::Budget | StopReason::Limit) => 5,
            RunEnd::Signal(signal) => signal.exit_code(),
            RunEnd::Unexpected { .. } => 1,
        }
    }

    /// What went wrong, and what to do about it; `None`: nothing went wrong.
    fn problem(&self, ended: &RunEnd) -> Option<(String, String)> {
        let (reason, hint) = match ended {
            RunEnd::Finished if !self.published => {
                ("the dataset was not published".to_owned(), format!("{SAVED}; run the same command again"))
            }
            RunEnd::Finished if self.is_tolerated() => return None,
            RunEnd::Finished => return Some(self.too_many_failures()),
            RunEnd::Stopped(reason) => self.stop_problem(reason),
            RunEnd::Signal(signal) => (
                format!("interrupted by {}", signal.name()),
                format!("{SAVED}, including the calls in flight; run the same command again to resume"),
            ),
            RunEnd::Unexpected { message, hint } => {
                let usual = || format!("{SAVED}; fix the problem above and run the same command again");
                (sanitize::plain(message).into_owned(), hint.clone().unwrap_or_else(usual))
            }
        };
        Some((format!("export stopped after {}: {reason}", self.answered()), hint))
    }

    /// Why some targets could not be called, and what to do about it.
    fn stop_problem(&self, reason: &StopReason) -> (String, String) {
        match reason {
            StopReason::Fatal { fatal, message } => {
                (with_message(fatal.reason(), message.as_deref()), fatal.hint().to_owned())
            }
            StopReason::Contract { message } => (
                with_message("the API rejects the format of the requests", message.as_deref()),
                then_run_again("check --body, --api, --date-from and --date-to"),
            ),
            StopReason::BilledFailures { message } => (
                format!("too many calls were billed without a usable answer ({})", sanitize::plain(message)),
                then_run_again("check the input, --api, --date-from and --date-to"),
            ),
            StopReason::Refused { message } => (
                with_message("several targets in a row were refused by something other than the API", Some(message)),
                then_run_again("check the token, --api, and any proxy or firewall in between"),
            ),
            StopReason::Outage { message } => (
                with_message("the API has been down for too long", message.as_deref()),
                format!("{SAVED}; run the same command again when the API is back"),
            ),
            StopReason::Unreachable { message } => (
                with_message("the API cannot be reached", message.as_deref()),
                then_run_again("check --api, the network, HTTPS_PROXY and SSL_CERT_FILE"),
            ),
            StopReason::Budget => {
                (self.cap_reached(), format!("{SAVED}; run the same command again with a higher --max-cost"))
            }
            StopReason::Limit => {
                let new =
                    counted_if_any(self.pending, "target has not been called yet", "targets have not been called yet");
                let old = counted_if_any(self.stale, "answer was not refreshed yet", "answers were not refreshed yet");
                let left: Vec<_> = new.into_iter().chain(old).collect();
                let reason = format!("--limit reached ({})", left.join(", "));
                (reason, format!("{SAVED}; run the same command again for the next ones, or without --limit for all"))
            }
        }
    }

    fn too_many_failures(&self) -> (String, String) {
        let targets = humanize::counted(self.targets, "target", "targets");
        let have = if self.pending == 1 { "has no answer yet" } else { "have no answer yet" };
        let parts = [(self.failed, "failed"), (self.pending, have), (self.stale, "could not be refreshed")];
        let mut problems: Vec<String> = Vec::new();
        for (number, what) in parts.into_iter().filter(|(number, _)| *number > 0) {
            let of = if problems.is_empty() { format!(" of {targets}") } else { String::new() };
            problems.push(format!("{}{of} {what}", humanize::count(number)));
        }
        let last = problems.pop().unwrap_or_default();
        let what = if problems.is_empty() { last } else { format!("{} and {last}", problems.join(", ")) };
        let older = if self.failed + self.pending == 0 { ": their older answers are used" } else { "" };
        let error = format!("finished, but {what}{older} (more than --max-failures {})", self.max_failures);
        let again = if self.replayed {
            "resume the run in its directory, then replay again"
        } else {
            "run the same command again to retry them"
        };
        (error, format!("see {}; {again}", sanitize::path(&self.out.join("_failures.csv"))))
    }

    fn cap_reached(&self) -> String {
        let cap = self.max_cost_usd.map_or_else(String::new, |cap| format!(" {}", humanize::money(cap.0)));
        let reserved = match self.cost_source.set_aside_usd.0 {
            Usd::ZERO => String::new(),
            amount => format!(", {} reserved for calls of unknown price", humanize::money(amount)),
        };
        format!(
            "--max-cost{cap} does not cover another call ({} spent{reserved}; {} left)",
            humanize::money(self.cost_usd.0),
            humanize::counted(self.unfinished(), "target", "targets")
        )
    }
}

fn stop_word(reason: &StopReason) -> &'static str {
    match reason {
        StopReason::Fatal { fatal: Fatal::TokenRefused, .. } => "token_refused",
        StopReason::Fatal { fatal: Fatal::NoCredit, .. } => "no_credit",
        StopReason::Fatal { fatal: Fatal::AccountBlocked, .. } => "account_blocked",
        StopReason::Fatal { fatal: Fatal::WrongUrl, .. } => "wrong_url",
        StopReason::Contract { .. } => "contract",
        StopReason::BilledFailures { .. } => "billed_failures",
        StopReason::Refused { .. } => "refused",
        StopReason::Outage { .. } => "outage",
        StopReason::Unreachable { .. } => "unreachable",
        StopReason::Budget => "max_cost",
        StopReason::Limit => "limit",
    }
}

fn then_run_again(first: &str) -> String {
    format!("{SAVED}; {first}, then run the same command again")
}

/// A reason, with the API's message if there is one.
fn with_message(reason: &str, message: Option<&str>) -> String {
    let message = message.map(|message| sanitize::plain(message.trim())).filter(|message| !message.is_empty());
    message.map_or_else(|| reason.to_owned(), |message| format!("{reason} (last message: {message})"))
}
