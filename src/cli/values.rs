//! Parsers of flag values: rates, durations, dates, tags and amounts of money.

use std::{num::NonZeroU32, time::Duration};

use encoding_rs::Encoding;
use jiff::{SignedDuration, Span, SpanRelativeTo, civil::Date};

use crate::{
    api::{EARLIEST_DATE, MAX_TAG_LENGTH},
    fetch::pace::Rate,
};

/// A rate such as `600/min`.
pub(super) fn rate(text: &str) -> Result<Rate, &'static str> {
    let form = "expected a rate such as 600/min, 10/s or 5000/h";
    let (calls, period) = text.split_once('/').ok_or(form)?;
    let calls = calls.trim().replace([',', '_'], "").parse().map_err(|_| form)?;
    let period = match period.trim() {
        "s" | "sec" | "second" => Duration::from_secs(1),
        "m" | "min" | "minute" => Duration::from_mins(1),
        "h" | "hour" => Duration::from_hours(1),
        _ => return Err(form),
    };
    Ok(Rate { calls, period })
}

/// An encoding by any of its labels, except encodings that are unsafe to decode.
pub(super) fn encoding(text: &str) -> Result<&'static Encoding, &'static str> {
    Encoding::for_label_no_replacement(text.as_bytes())
        .ok_or("expected a label of the WHATWG Encoding Standard, such as windows-1252, gbk or utf-16le")
}

/// A number that is at least one.
pub(super) fn positive(text: &str) -> Result<NonZeroU32, &'static str> {
    text.replace([',', '_'], "").parse().map_err(|_| "expected a number of at least 1")
}

/// A duration such as `130s`, `10min` or `1h 30min`; not zero.
pub(super) fn duration(text: &str) -> Result<Duration, &'static str> {
    let duration = text.parse::<SignedDuration>().ok().and_then(|duration| duration.try_into().ok());
    above_zero(duration.ok_or("expected a duration such as 130s, 10min or 1h")?)
}

/// An age such as `30d`, `2w` or `12h`; not zero. A day has 24 hours, a week has seven days.
pub(super) fn age(text: &str) -> Result<Duration, &'static str> {
    // Months and years do not have a fixed number of days.
    let age = text.parse::<Span>().and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()));
    above_zero(age.ok().and_then(|age| age.try_into().ok()).ok_or("expected a duration such as 30d, 2w or 12h")?)
}

fn above_zero(duration: Duration) -> Result<Duration, &'static str> {
    if duration.is_zero() { Err("must be greater than zero") } else { Ok(duration) }
}

/// A date such as `2024-01-31`, no earlier than the API's first.
pub(super) fn date(text: &str) -> Result<Date, String> {
    let date: Date = text.parse().map_err(|_| "expected a date such as 2024-01-31".to_owned())?;
    // `parse` also accepts other ISO forms.
    if date.to_string() != text {
        return Err("expected a date such as 2024-01-31".to_owned());
    }
    if date < EARLIEST_DATE { Err(format!("the API's history starts on {EARLIEST_DATE}")) } else { Ok(date) }
}

/// A tag that the API accepts.
pub(super) fn tag(text: &str) -> Result<String, String> {
    let length = text.chars().count();
    if length > MAX_TAG_LENGTH {
        return Err(format!("has {length} characters; the API accepts at most {MAX_TAG_LENGTH}"));
    }
    if text.is_empty() || text.contains(char::is_control) {
        return Err("must not be empty or contain control characters".to_owned());
    }
    Ok(text.to_owned())
}

/// The number of rows in a row group.
pub(super) fn rows(text: &str) -> Result<usize, String> {
    /// The default of other writers.
    const MAX: usize = 1 << 20;
    let rows = text.replace([',', '_'], "").parse().ok().filter(|rows| (1..=MAX).contains(rows));
    rows.ok_or_else(|| format!("expected a number from 1 to {MAX}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_calls_in_a_period() {
        let check = |text: &str, expected: Option<(u32, u64)>| {
            let parsed = rate(text).ok().map(|rate| (rate.calls.get(), rate.period.as_secs()));
            assert_eq!(parsed, expected, "{text}");
        };
        check("600/min", Some((600, 60)));
        check("10/s", Some((10, 1)));
        check("5,000/h", Some((5000, 3600)));
        for wrong in ["0/min", "600", "600/day", "-1/s", "/s", "600/"] {
            check(wrong, None);
        }
    }

    #[test]
    fn durations_and_dates_are_checked() {
        assert_eq!(duration("130s"), Ok(Duration::from_secs(130)));
        assert_eq!(duration("10min"), Ok(Duration::from_mins(10)));
        assert_eq!(duration("1h 30min"), Ok(Duration::from_mins(90)));
        assert!(duration("0s").is_err() && duration("-5s").is_err() && duration("130").is_err());
        assert_eq!(age("30d"), Ok(Duration::from_hours(30 * 24)));
        assert_eq!(age("2w"), Ok(Duration::from_hours(2 * 7 * 24)));
        assert_eq!(age("1w 12h"), Ok(Duration::from_hours(7 * 24 + 12)));
        assert_eq!(age("12 hours"), Ok(Duration::from_hours(12)));
        assert_eq!(age("1s"), Ok(Duration::from_secs(1)));
        for wrong in ["0d", "-3d", "30", "1mo", "1y", "", "soon"] {
            assert!(age(wrong).is_err(), "{wrong}");
        }
        assert!(date("2019-01-01").is_ok() && date("2018-12-31").is_err());
        assert!(date("2024-02-30").is_err() && date("20240101").is_err() && date("01.02.2024").is_err());
        assert!(tag(&"ü".repeat(255)).is_ok() && tag(&"a".repeat(256)).is_err());
    }
}
