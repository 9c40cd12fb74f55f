//! Numbers, dollars, durations and sizes as text for people.
//!
//! Pure functions without a locale, so that the same run prints the same text on every machine.

use std::time::Duration;

use crate::money::Usd;

/// `5000` as `5,000`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut written = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            written.push(',');
        }
        written.push(digit);
    }
    written
}

/// `1 call`, `5,000 calls`.
pub fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// Dollars and cents; below ten cents, the range of a single call, with four decimals.
pub fn money(amount: Usd) -> String {
    /// Ten cents, in millionths of a dollar.
    const SMALL: u64 = 100_000;
    let micros = amount.micros().unsigned_abs();
    let sign = if amount < Usd::ZERO { "-" } else { "" };
    if micros != 0 && micros < SMALL {
        let hundredths = micros.div_ceil(100);
        return format!("{sign}$0.{hundredths:04}");
    }
    let cents = micros.saturating_add(5_000) / 10_000;
    format!("{sign}${}.{:02}", count(cents / 100), cents % 100)
}

/// An estimated amount: in whole dollars from ten dollars up.
pub fn rough_money(amount: Usd) -> String {
    const DOLLAR: i64 = 1_000_000;
    match u64::try_from(amount.micros().saturating_add(DOLLAR / 2) / DOLLAR) {
        Ok(dollars) if dollars >= 10 => format!("${}", count(dollars)),
        _ => money(amount),
    }
}

/// `$0.06 to $0.12`; `$0.12` if both are displayed alike.
pub fn money_range(low: Usd, high: Usd) -> String {
    let (low, high) = (money(low), money(high));
    if low == high { high } else { format!("{low} to {high}") }
}

/// Seconds with at most three decimals, for JSON.
pub fn seconds(duration: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "exact for some hundred thousand years")]
    let millis = duration.as_millis() as f64;
    millis / 1_000.0
}

/// `0.4 s`, `42 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`.
pub fn duration(duration: Duration) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let seconds = duration.as_secs();
    let two = |first: u64, unit: &str, second: u64, smaller: &str| match second {
        0 => format!("{first} {unit}"),
        _ => format!("{first} {unit} {second} {smaller}"),
    };
    match seconds {
        0..10 => format!("{}.{} s", seconds, duration.subsec_millis() / 100),
        10..MINUTE => format!("{seconds} s"),
        MINUTE..HOUR => two(seconds / MINUTE, "min", seconds % MINUTE, "s"),
        HOUR..DAY => two(seconds / HOUR, "h", seconds % HOUR / MINUTE, "min"),
        DAY.. => two(seconds / DAY, "d", seconds % DAY / HOUR, "h"),
    }
}

/// `1 s`, `42 s`, `3 min 20 s`: remaining time, rounded up, so that zero means it is over.
pub fn countdown(left: Duration) -> String {
    let seconds = u64::try_from(left.as_millis().div_ceil(1_000)).unwrap_or(u64::MAX);
    if seconds < 10 { format!("{seconds} s") } else { duration(Duration::from_secs(seconds)) }
}

/// An estimated duration: `under 10 s`, `about 50 s`; rounded up to ten seconds, minutes, or tens of minutes.
pub fn rough_duration(left: Duration) -> String {
    if left < Duration::from_secs(10) {
        return "under 10 s".to_owned();
    }
    let step = match left.as_secs() {
        0..90 => 10,
        90..7_200 => 60,
        _ => 600,
    };
    let seconds = left.as_millis().div_ceil(1_000);
    let rounded = u64::try_from(seconds).unwrap_or(u64::MAX).div_ceil(step).saturating_mul(step);
    format!("about {}", duration(Duration::from_secs(rounded)))
}

/// `512 B`, `12.3 MB`, in decimal units.
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if number < 1_000 {
        return format!("{number} B");
    }
    let (mut tenths, mut unit) = (number / 100, 0);
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths /= 1_000;
        unit += 1;
    }
    format!("{}.{} {}", count(tenths / 10), tenths % 10, UNITS[unit])
}

/// `24.0 %`, rounded down: `100.0 %` means that nothing is missing.
pub fn percent(part: u64, whole: u64) -> String {
    let tenths = if whole == 0 { 1_000 } else { u128::from(part) * 1_000 / u128::from(whole) };
    format!("{}.{} %", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_thousands_separators() {
        let check = |number: u64, expected: &str| assert_eq!(count(number), expected);
        check(0, "0");
        check(999, "999");
        check(1_000, "1,000");
        check(1_234_567, "1,234,567");
        check(u64::MAX, "18,446,744,073,709,551,615");
        assert_eq!(counted(1, "retry", "retries"), "1 retry");
        assert_eq!(counted(1_200, "retry", "retries"), "1,200 retries");
    }

    #[test]
    fn money_has_cents_and_small_amounts_are_not_zero() {
        let check = |micros: i64, expected: &str| assert_eq!(money(Usd::from_micros(micros)), expected);
        check(0, "$0.00");
        check(1, "$0.0001");
        check(27_384, "$0.0274");
        check(99_999, "$0.1000");
        check(100_000, "$0.10");
        check(12_344_999, "$12.34");
        check(12_345_000, "$12.35");
        check(1_234_567_890_000, "$1,234,567.89");
        check(-1_500_000, "-$1.50");
        check(i64::MIN, "-$9,223,372,036,854.78");
    }

    #[test]
    fn large_estimates_are_in_whole_dollars() {
        let check = |micros: i64, expected: &str| assert_eq!(rough_money(Usd::from_micros(micros)), expected);
        check(27_384, "$0.0274");
        check(9_499_999, "$9.50");
        check(12_400_000, "$12");
        check(1_234_500_000, "$1,235");
        check(-1, "-$0.0001");
    }

    #[test]
    fn durations_have_two_units_at_most() {
        let check = |millis: u64, expected: &str| assert_eq!(duration(Duration::from_millis(millis)), expected);
        check(0, "0.0 s");
        check(440, "0.4 s");
        check(42_900, "42 s");
        check(200_000, "3 min 20 s");
        check(180_000, "3 min");
        check(7_500_000, "2 h 5 min");
        check(273_600_000, "3 d 4 h");
        let check = |seconds: u64, expected: &str| assert_eq!(rough_duration(Duration::from_secs(seconds)), expected);
        check(0, "under 10 s");
        check(9, "under 10 s");
        check(10, "about 10 s");
        check(41, "about 50 s");
        check(55, "about 1 min");
        check(100, "about 2 min");
        check(3_700, "about 1 h 2 min");
        check(7_300, "about 2 h 10 min");
    }

    #[test]
    fn a_range_of_equal_prices_is_one_price() {
        let check = |low: i64, high: i64, expected: &str| {
            assert_eq!(money_range(Usd::from_micros(low), Usd::from_micros(high)), expected);
        };
        check(60_000_000, 120_000_000, "$60.00 to $120.00");
        check(120_000_000, 120_000_001, "$120.00");
    }

    #[test]
    fn seconds_in_json_have_three_decimals_at_most() {
        for millis in 0..20_000 {
            let json = serde_json::to_string(&seconds(Duration::from_millis(millis))).unwrap();
            assert!(json.split_once('.').is_some_and(|(_, decimals)| decimals.len() <= 3), "{json}");
        }
        assert!((seconds(Duration::from_micros(1_243_999)) - 1.243).abs() < f64::EPSILON);
    }

    #[test]
    fn bytes_and_percents() {
        let check = |number: u64, expected: &str| assert_eq!(bytes(number), expected);
        check(999, "999 B");
        check(1_000, "1.0 kB");
        check(999_999, "999.9 kB");
        check(12_345_678, "12.3 MB");
        check(u64::MAX, "18,446.7 PB");
        assert_eq!(percent(120, 5_000), "2.4 %");
        assert_eq!(percent(9_999, 10_000), "99.9 %");
        assert_eq!(percent(3, 3), "100.0 %");
        assert_eq!(percent(0, 0), "100.0 %");
    }
}
