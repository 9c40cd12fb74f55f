//! What the result of a call can mean, and the name of each class in the ledger.

use std::{fmt, str::FromStr};

use crate::as_text::serde_as_text;

/// The meaning of one call's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Items for this target.
    Data,
    /// The API has no data for this target; a final answer.
    NoData,
    /// A temporary fault; not billed as far as we know.
    Transient,
    /// Too many calls; all calls have to slow down.
    SlowDown,
    /// Answered too late, cut off or unreadable: possibly billed.
    MaybeBilled,
    /// An answer about another target.
    WrongTarget,
    /// The price would exceed the limit that the call was sent with; not billed.
    PriceRefused,
    /// The endpoint does not accept the form or the fields of the body.
    Contract,
    /// A call for this target cannot succeed.
    Rejected,
    /// HTTP 401, 403 or 404 with a body from neither the API nor its gateway, such as that of a firewall that blocks
    /// the target. If the target is not the cause, no call can succeed, probably for the given reason.
    Refused(Fatal),
    /// No call can succeed until someone has fixed the cause.
    Fatal(Fatal),
}

impl Class {
    /// Every class with its name in the ledger.
    pub(super) const WORDS: [(Self, &str); 15] = [
        (Self::Data, "data"),
        (Self::NoData, "no_data"),
        (Self::Transient, "transient"),
        (Self::SlowDown, "slow_down"),
        (Self::MaybeBilled, "maybe_billed"),
        (Self::WrongTarget, "wrong_target"),
        (Self::PriceRefused, "price_refused"),
        (Self::Contract, "contract"),
        (Self::Rejected, "rejected"),
        (Self::Refused(Fatal::TokenRefused), "refused"),
        (Self::Refused(Fatal::WrongUrl), "not_found"),
        (Self::Fatal(Fatal::TokenRefused), "token_refused"),
        (Self::Fatal(Fatal::NoCredit), "no_credit"),
        (Self::Fatal(Fatal::AccountBlocked), "account_blocked"),
        (Self::Fatal(Fatal::WrongUrl), "wrong_url"),
    ];

    /// Its name in files.
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(class, _)| *class == self).map_or("rejected", |(_, word)| word)
    }
}

impl FromStr for Class {
    type Err = UnknownClass;

    fn from_str(word: &str) -> Result<Self, UnknownClass> {
        let found = Self::WORDS.iter().find(|(_, known)| *known == word);
        found.map(|(class, _)| *class).ok_or_else(|| UnknownClass(word.to_owned()))
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

serde_as_text!(Class);

/// A text that is not the name of a class.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a known class of answers")]
pub struct UnknownClass(String);

/// Why no further call can succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fatal {
    /// The token is missing, wrong, or not allowed here.
    TokenRefused,
    /// The account has no credit or its quota is used up.
    NoCredit,
    /// The account is blocked or paused.
    AccountBlocked,
    /// There is no API at this URL.
    WrongUrl,
}

impl Fatal {
    /// The cause, as the end of the sentence `export stopped: …`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::TokenRefused => "the API refused the token",
            Self::NoCredit => "the account has no credit",
            Self::AccountBlocked => "the account is blocked or paused",
            Self::WrongUrl => "there is no API at this URL",
        }
    }

    /// How to resume.
    pub fn hint(self) -> &'static str {
        match self {
            Self::TokenRefused => {
                "all paid answers are saved; set a valid AISA_API_KEY (or --token-file) and run the same command again"
            }
            Self::NoCredit => "all paid answers are saved; top up the account and run the same command again",
            Self::AccountBlocked => {
                "all paid answers are saved; contact the API's support, then run the same command again"
            }
            Self::WrongUrl => "all paid answers are saved; check --api and run the same command again",
        }
    }
}
