//! Money, exact: millionths of a US dollar, the unit of the API's debit header.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Money in millionths of a US dollar, the unit of the API's debit header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Usd(i64);

impl Usd {
    pub const ZERO: Self = Self(0);

    /// From millionths of a dollar.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// From dollars as the API writes them; `None` if it is not an amount of money (NaN, negative, beyond 2^53
    /// millionths).
    pub fn from_dollars(dollars: f64) -> Option<Self> {
        const MAX: f64 = 9_007_199_254.0;
        #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
        let micros = (0.0..=MAX).contains(&dollars).then(|| (dollars * 1e6).round() as i64);
        micros.map(Self)
    }

    /// Millionths of a dollar.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Dollars, for display and for columns.
    #[expect(clippy::cast_precision_loss, reason = "exact below nine billion dollars")]
    pub fn dollars(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// `self + other`, never wrapping.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// `self` so many times, never wrapping.
    #[must_use]
    pub const fn times(self, count: i64) -> Self {
        Self(self.0.saturating_mul(count))
    }

    /// The `of`-th part, rounded down.
    #[must_use]
    pub const fn part(self, of: i64) -> Self {
        Self(self.0 / of)
    }

    /// `self - other`, never wrapping; may be negative.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

/// An amount in dollars, such as `50` or `$12.50`.
impl FromStr for Usd {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let dollars = text.strip_prefix('$').unwrap_or(text).parse().ok();
        dollars.and_then(Self::from_dollars).ok_or("expected an amount in dollars, such as 50 or 12.50")
    }
}

impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${:.6}", self.dollars())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_become_micros_and_invalid_values_none() {
        let check =
            |dollars: f64, expected: Option<i64>| assert_eq!(Usd::from_dollars(dollars).map(Usd::micros), expected);
        check(0.0, Some(0));
        check(0.02003, Some(20_030));
        check(0.027_384, Some(27_384));
        check(-0.01, None);
        check(f64::NAN, None);
        check(f64::INFINITY, None);
        check(1e300, None);
    }

    #[test]
    fn amounts_are_parsed_from_dollars() {
        let check = |text: &str, expected: Option<i64>| {
            assert_eq!(text.parse().ok(), expected.map(Usd::from_micros), "{text}");
        };
        check("12.5", Some(12_500_000));
        check("$50", Some(50_000_000));
        for wrong in ["-1", "x", "NaN", "$"] {
            check(wrong, None);
        }
    }
}
