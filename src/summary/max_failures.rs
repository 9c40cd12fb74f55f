//! `--max-failures`: how many targets may have no answer before a finished run counts as failed.

use std::{fmt, str::FromStr};

use crate::as_text::serde_as_text;

/// A number of targets, or a share of them; in JSON, as written on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxFailures {
    Count(u64),
    /// In hundredths of a percent of the targets.
    Share(u16),
}

/// Text that is not a number or share of targets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not valid; use a number of targets, such as 5, or a percentage, such as 2% or 0.25%")]
pub struct NotALimit(String);

/// Hundredths of a percent in 100 %.
const WHOLE: u16 = 10_000;

impl MaxFailures {
    /// Whether `failures` of `targets` are tolerated.
    pub fn allows(self, failures: u64, targets: u64) -> bool {
        match self {
            Self::Count(max) => failures <= max,
            Self::Share(share) => u128::from(failures) * u128::from(WHOLE) <= u128::from(targets) * u128::from(share),
        }
    }
}

impl Default for MaxFailures {
    fn default() -> Self {
        Self::Count(0)
    }
}

impl FromStr for MaxFailures {
    type Err = NotALimit;

    fn from_str(text: &str) -> Result<Self, NotALimit> {
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let parsed = match text.trim().strip_suffix('%') {
            None => text.trim().parse().ok().map(Self::Count).filter(|_| digits(text.trim())),
            Some(percent) => {
                let (whole, hundredths) = percent.trim_end().split_once('.').unwrap_or((percent.trim_end(), "0"));
                let sound = digits(whole) && digits(hundredths) && (1..=2).contains(&hundredths.len());
                format!("{whole}{hundredths:0<2}")
                    .parse()
                    .ok()
                    .filter(|share| sound && !whole.is_empty() && *share <= WHOLE)
                    .map(Self::Share)
            }
        };
        parsed.ok_or_else(|| NotALimit(text.to_owned()))
    }
}

impl fmt::Display for MaxFailures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Count(max) => write!(f, "{max}"),
            Self::Share(share) if share % 100 == 0 => write!(f, "{}%", share / 100),
            Self::Share(share) => write!(f, "{}.{:02}%", share / 100, share % 100),
        }
    }
}

serde_as_text!(MaxFailures);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_or_a_share() {
        let check = |text: &str, expected: Option<MaxFailures>| assert_eq!(text.parse().ok(), expected, "{text}");
        check("0", Some(MaxFailures::Count(0)));
        check("5", Some(MaxFailures::Count(5)));
        check("2%", Some(MaxFailures::Share(200)));
        check("0.25%", Some(MaxFailures::Share(25)));
        check("0.5 %", Some(MaxFailures::Share(50)));
        check("100%", Some(MaxFailures::Share(10_000)));
        check("100.01%", None);
        check("0.125%", None);
        check("1.%", None);
        check("%", None);
        check("-1", None);
        check("+1", None);
        check("-1%", None);
        check("some", None);
        check("", None);
    }

    #[test]
    fn a_limit_is_written_as_it_was_given() {
        let check = |text: &str| assert_eq!(text.parse::<MaxFailures>().expect("a limit").to_string(), text);
        check("0");
        check("12");
        check("2%");
        check("0.25%");
    }

    #[test]
    fn a_limit_tolerates_up_to_itself() {
        let check = |limit: &str, failures, targets, expected| {
            let limit: MaxFailures = limit.parse().expect("a limit");
            assert_eq!(limit.allows(failures, targets), expected, "{limit}: {failures} of {targets}");
        };
        check("0", 0, 10, true);
        check("0", 1, 10, false);
        check("5", 5, 10, true);
        check("5", 6, 10, false);
        check("2%", 100, 5_000, true);
        check("2%", 101, 5_000, false);
        check("2%", 1, 49, false);
        check("100%", 10, 10, true);
        check("0%", 0, 0, true);
    }
}
