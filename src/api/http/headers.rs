//! Response headers: debit, server time, and how long to wait.

use std::time::{Duration, SystemTime};

use reqwest::header::{self, HeaderMap, HeaderName};

use crate::{clock::Clock, money::Usd};

const DEBIT: HeaderName = HeaderName::from_static("x-aisa-customer-cost-micros-usd");

pub(super) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// The reported debit. A negative one is ignored, because it would raise the spending cap.
pub(super) fn debit(headers: &HeaderMap) -> Option<Usd> {
    text(headers, &DEBIT)?.parse().ok().map(Usd::from_micros).filter(|price| *price >= Usd::ZERO)
}

/// The server's own clock.
pub(super) fn date(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(text(headers, &header::DATE)?).ok()
}

/// `Retry-After`, in seconds or as a date. A date is compared with the server's own clock if it sends one.
pub fn retry_after(headers: &HeaderMap, clock: Clock) -> Option<Duration> {
    let written = text(headers, &header::RETRY_AFTER)?;
    if let Some(wait) = seconds(written) {
        return Some(wait);
    }
    let until = httpdate::parse_http_date(written).ok()?;
    let now = date(headers).or_else(|| clock.now().try_into().ok())?;
    Some(until.duration_since(now).unwrap_or_default())
}

/// Seconds, rounded up to whole milliseconds because the wait is a minimum. The standard only allows whole seconds, but
/// some gateways send `3.5`.
fn seconds(written: &str) -> Option<Duration> {
    let (whole, fraction) = written.split_once('.').unwrap_or((written, "0"));
    let are_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !are_digits(whole) || !are_digits(fraction) {
        return None;
    }
    // A number that overflows is a long time, too.
    let seconds = Duration::from_secs(whole.parse().unwrap_or(u64::MAX));
    let thousandths: u64 = format!("{fraction:0<3}")[..3].parse().ok()?;
    let rounded_up = u64::from(fraction.bytes().skip(3).any(|digit| digit != b'0'));
    Some(seconds.saturating_add(Duration::from_millis(thousandths + rounded_up)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().expect("a header"))])
    }

    #[test]
    fn a_debit_is_a_whole_number_of_millionths_and_never_a_credit() {
        let check = |value: &str, expected: Option<i64>| {
            assert_eq!(debit(&headers(DEBIT, value)).map(Usd::micros), expected, "{value}");
        };
        check("36000", Some(36_000));
        check("0", Some(0));
        check("-1", None);
        check("0.5", None);
        check("9223372036854775808", None);
        check("", None);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_nothing_else() {
        let clock = Clock::at("2026-11-24T12:00:00Z".parse().expect("a time"));
        let check_at = |value: &str, date: &str, expected: Option<Duration>| {
            let mut headers = headers(header::RETRY_AFTER, value);
            headers.insert(header::DATE, date.parse().expect("a header"));
            assert_eq!(retry_after(&headers, clock), expected, "{value}");
        };
        let check = |value: &str, expected: Option<u64>| check_at(value, "", expected.map(Duration::from_millis));
        check("7", Some(7_000));
        check(" 0 ", Some(0));
        check("4294967296", Some(4_294_967_296_000));
        check("3.5", Some(3_500));
        check("0.0004", Some(1));
        check("2.9990", Some(2_999));
        check("1.9999", Some(2_000));
        for wrong in ["-1", "soon", "", ".5", "3.", "3.5.1", "-3.5", "3.5s", "3,5", "1e3"] {
            check(wrong, None);
        }
        let forever = Duration::from_secs(u64::MAX);
        check_at("99999999999999999999999", "", Some(forever));
        check_at("99999999999999999999999.5", "", Some(forever + Duration::from_millis(500)));
        // The local clock has advanced since it was set.
        let wait = retry_after(&headers(header::RETRY_AFTER, "Tue, 24 Nov 2026 12:00:30 GMT"), clock);
        assert_eq!(wait.map(|wait| wait.as_secs_f64().round()), Some(30.0));
        check("Tue, 24 Nov 2026 11:00:00 GMT", Some(0));
        let date = "Tue, 24 Nov 2026 15:00:00 GMT";
        check_at("Tue, 24 Nov 2026 15:00:30 GMT", date, Some(Duration::from_secs(30)));
    }
}
