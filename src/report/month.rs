//! Calendar months as numbers, so that they can be subtracted.

use std::fmt;

use jiff::{Timestamp, civil::Date, tz::TimeZone};

const NAMES: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A month, as its number since January of year 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Month(pub(super) i32);

impl Month {
    /// The month in UTC of a time in microseconds since 1970.
    pub(super) fn from_micros(micros: i64) -> Option<Self> {
        let moment = Timestamp::from_microsecond(micros).ok()?;
        Some(Self::from_date(TimeZone::UTC.to_datetime(moment).date()))
    }

    pub(super) fn from_date(date: Date) -> Self {
        Self(i32::from(date.year()) * 12 + i32::from(date.month()) - 1)
    }

    pub(super) fn year(self) -> i32 {
        self.0.div_euclid(12)
    }

    pub(super) fn is_january(self) -> bool {
        self.0.rem_euclid(12) == 0
    }

    /// The month `months` earlier.
    pub(super) fn back(self, months: i32) -> Self {
        Self(self.0 - months)
    }

    fn name(self) -> &'static str {
        NAMES[usize::try_from(self.0.rem_euclid(12)).unwrap_or(0)]
    }
}

impl fmt::Display for Month {
    /// `Nov 2026`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name(), self.year())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_in_utc() {
        let check = |moment: &str, shown: &str| {
            let micros = moment.parse::<Timestamp>().unwrap().as_microsecond();
            assert_eq!(Month::from_micros(micros).unwrap().to_string(), shown);
        };
        check("2026-11-30T00:00:00Z", "Nov 2026");
        check("2026-12-31T23:59:59.999999Z", "Dec 2026");
        check("2027-01-01T00:30:00+01:00", "Dec 2026");
        check("1969-01-01T00:00:00Z", "Jan 1969");
        assert_eq!(Month::from_micros(i64::MAX), None);
        assert_eq!(Month::from_date(jiff::civil::date(2026, 1, 31)).back(12).to_string(), "Jan 2025");
    }
}
