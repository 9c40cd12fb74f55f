//! How a run ended: what the fetch says, and what publishing adds to it.

use crate::{api::status::Fatal, fetch};

/// Which signal asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// `SIGINT`: somebody pressed Ctrl-C.
    Interrupt,
    /// `SIGTERM`: the machine or the scheduler asks.
    Terminate,
}

impl Signal {
    /// The exit code by which shells know it: 128 and the signal's number.
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

/// How a run ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ended {
    /// Nothing is left to call and the dataset is published.
    #[default]
    Finished,
    /// The API cannot be used until a person has acted.
    Fatal {
        fatal: Fatal,
        /// What the API said.
        message: Option<String>,
    },
    /// The calls are not what the endpoint takes.
    Contract {
        /// What the API said.
        message: Option<String>,
    },
    /// Several targets in a row were refused by something that is not the API.
    Refused {
        /// The last of them, and what came.
        message: String,
    },
    /// The API was down for too long.
    Outage {
        /// What the last call met with.
        message: Option<String>,
    },
    /// No call was answered: the host's name, its certificate or a proxy is in the way.
    Unreachable {
        /// What the last call met with.
        message: Option<String>,
    },
    /// What is left of the cap does not pay one more call.
    Budget,
    /// As many targets were called as this run may call.
    Limit,
    /// A signal asked to stop.
    Signal(Signal),
    /// Keeping the answers or publishing the dataset failed.
    Unexpected {
        /// What happened, and to which file.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
}

impl Ended {
    /// How a fetch ended, where `signal` is the one that asked it to stop.
    pub fn of(ended: fetch::Ended, signal: Signal) -> Self {
        match ended {
            fetch::Ended::Done => Self::Finished,
            fetch::Ended::Fatal { fatal, message } => Self::Fatal { fatal, message },
            fetch::Ended::Contract { message } => Self::Contract { message },
            fetch::Ended::Refused { message } => Self::Refused { message },
            fetch::Ended::Outage { message } => Self::Outage { message },
            fetch::Ended::Unreachable { message } => Self::Unreachable { message },
            fetch::Ended::Budget => Self::Budget,
            fetch::Ended::Limit => Self::Limit,
            fetch::Ended::Shutdown => Self::Signal(signal),
        }
    }

    /// One word for programs; `None`: it was not stopped.
    pub(super) fn word(&self) -> Option<&'static str> {
        match self {
            Self::Finished => None,
            Self::Fatal { fatal: Fatal::TokenRefused, .. } => Some("token_refused"),
            Self::Fatal { fatal: Fatal::NoCredit, .. } => Some("no_credit"),
            Self::Fatal { fatal: Fatal::AccountBlocked, .. } => Some("account_blocked"),
            Self::Fatal { fatal: Fatal::WrongUrl, .. } => Some("wrong_url"),
            Self::Contract { .. } => Some("contract"),
            Self::Refused { .. } => Some("refused"),
            Self::Outage { .. } => Some("outage"),
            Self::Unreachable { .. } => Some("unreachable"),
            Self::Budget => Some("max_cost"),
            Self::Limit => Some("limit"),
            Self::Signal(Signal::Interrupt) => Some("sigint"),
            Self::Signal(Signal::Terminate) => Some("sigterm"),
            Self::Unexpected { .. } => Some("unexpected"),
        }
    }
}
