//! Single values: integers, dates and type names.

use jiff::{Timestamp, civil, tz::Offset};

/// The years of usable dates. Any other is a placeholder (`0001-01-01`), not a month of backlinks, and engines
/// interpret older dates differently.
const USABLE_YEARS: std::ops::RangeInclusive<i16> = 1900..=9999;

/// The name of a value's type, from its first byte.
pub(super) fn type_name(first: u8) -> &'static str {
    match first {
        b'"' => "string",
        b'{' => "object",
        b'[' => "list",
        b't' | b'f' => "boolean",
        b'n' => "null",
        _ => "number",
    }
}

/// The exact value of a JSON number, if it is a 64-bit integer in any notation (`12`, `12.0`, `1.2e1`); otherwise a
/// description of it. `token` must be a valid JSON number.
///
/// Never converts to a float: floats are exact up to 2^53 only.
pub(super) fn integer(token: &str) -> Result<i64, &'static str> {
    if let Ok(value) = token.parse() {
        return Ok(value);
    }
    let (sign, unsigned) = token.strip_prefix('-').map_or(("", token), |rest| ("-", rest));
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [whole, fraction].concat();
    let significant = digits.trim_end_matches('0');
    let leading = significant.trim_start_matches('0');
    if leading.is_empty() {
        return Ok(0);
    }
    // The position of the last significant digit, counted from the ones
    let dropped = digits.len() - significant.len();
    let shift = i64::try_from(dropped).unwrap_or(i64::MAX) - i64::try_from(fraction.len()).unwrap_or(i64::MAX);
    let exponent = exponent.parse().unwrap_or(if exponent.starts_with('-') { i64::MIN } else { i64::MAX });
    let power = exponent.saturating_add(shift);
    match usize::try_from(power) {
        Err(_) => Err("fraction"),
        // 20 digits are more than 64 bits hold
        Ok(zeros) if zeros > 20 || leading.len() > 20 => Err("number beyond 64 bits"),
        Ok(zeros) => format!("{sign}{leading}{}", "0".repeat(zeros)).parse().map_err(|_| "number beyond 64 bits"),
    }
}

/// The value of a text that is exactly a 64-bit integer: an optional minus and digits.
pub(super) fn integer_in_text(text: &str) -> Option<i64> {
    // `parse` also accepts a plus sign.
    text.parse().ok().filter(|_| !text.starts_with('+'))
}

/// The microseconds since 1970 of `2019-11-15 12:57:46 +00:00`, the API's format; `None` for any other format.
pub(super) fn date_as_served(bytes: &[u8; 26]) -> Option<i64> {
    let digits = |from: usize, to: usize| {
        bytes[from..to].iter().try_fold(0i16, |value, byte| {
            byte.is_ascii_digit().then(|| value.wrapping_mul(10).wrapping_add(i16::from(byte - b'0')))
        })
    };
    let byte = |at: usize| i8::try_from(digits(at, at + 2)?).ok();
    let punctuation = [(4, b'-'), (7, b'-'), (10, b' '), (13, b':'), (16, b':')];
    if &bytes[19..] != b" +00:00" || punctuation.iter().any(|(at, expected)| bytes[*at] != *expected) {
        return None;
    }
    let (year, month, day) = (digits(0, 4)?, byte(5)?, byte(8)?);
    let moment = civil::DateTime::new(year, month, day, byte(11)?, byte(14)?, byte(17)?, 0).ok()?;
    usable(Offset::UTC.to_timestamp(moment).ok()?)
}

/// The microseconds since 1970 of a date in any accepted format: with or without time, fraction and offset (default
/// UTC), with `T` or a blank in between, and an optional blank before the offset.
pub(super) fn date(text: &str) -> Option<i64> {
    let text = text.trim();
    let moment = text
        .parse::<Timestamp>()
        .or_else(|_| Timestamp::strptime("%Y-%m-%d %H:%M:%S%.f %:z", text))
        .or_else(|_| text.parse::<civil::DateTime>().and_then(|moment| Offset::UTC.to_timestamp(moment)));
    usable(moment.ok()?)
}

fn usable(moment: Timestamp) -> Option<i64> {
    USABLE_YEARS.contains(&Offset::UTC.to_datetime(moment).year()).then(|| moment.as_microsecond())
}

#[cfg(test)]
mod tests {
    use super::{super::tests::row, *};

    /// Checks the integers in an item whose value is `json`.
    fn check_cells(json: &str, expected: Option<i64>) {
        let (row, _) = row(&format!(r#"{{"rank":{json},"referring_links_tld":{{"com":{json}}}}}"#));
        assert_eq!((row["rank"].as_i64(), row["referring_links_tld"][0][1].as_i64()), (expected, expected), "{json}");
    }

    #[test]
    fn integers_in_any_notation_are_read_without_rounding() {
        let check = |token: &str, expected: Result<i64, &'static str>| {
            assert_eq!(integer(token), expected, "{token}");
            check_cells(token, expected.ok());
        };
        check("0", Ok(0));
        check("-0", Ok(0));
        check("-0.0", Ok(0));
        check("0e999999999999999999999", Ok(0));
        check("0.000e-5", Ok(0));
        check("12.0", Ok(12));
        check("1e3", Ok(1_000));
        check("1E+3", Ok(1_000));
        check("1.25e2", Ok(125));
        check("1200e-2", Ok(12));
        check("-12.50e1", Ok(-125));
        check("0.000000000000000000001e21", Ok(1));
        check("100000000000000000000e-2", Ok(1_000_000_000_000_000_000));
        check("9007199254740993.0", Ok(9_007_199_254_740_993));
        check("9223372036854775807", Ok(i64::MAX));
        check("9223372036854775807.0", Ok(i64::MAX));
        check("-9223372036854775808", Ok(i64::MIN));
        check("-9.223372036854775808e18", Ok(i64::MIN));
        check("9223372036854775808", Err("number beyond 64 bits"));
        check("9.3e18", Err("number beyond 64 bits"));
        check("-9223372036854775809.0", Err("number beyond 64 bits"));
        check("1e400", Err("number beyond 64 bits"));
        check("1e99999999999999999999999", Err("number beyond 64 bits"));
        check("123456789012345678901234567890", Err("number beyond 64 bits"));
        check("0.5", Err("fraction"));
        check("1e-1", Err("fraction"));
        check("125e-2", Err("fraction"));
        check("1e-99999999999999999999999", Err("fraction"));
    }

    #[test]
    fn only_a_text_of_digits_is_an_integer() {
        let check = |text: &str, expected: Option<i64>| {
            assert_eq!(integer_in_text(text), expected, "{text:?}");
            check_cells(&format!("\"{text}\""), expected);
        };
        check("512", Some(512));
        check("-7", Some(-7));
        check("007", Some(7));
        check("9223372036854775807", Some(i64::MAX));
        check("-9223372036854775808", Some(i64::MIN));
        for other in ["", "-", "+5", "--5", "512.0", "5e2", " 512", "512 ", "1,000", "1_000", "0x10", "٣", "null"] {
            check(other, None);
        }
        check("9223372036854775808", None);
    }

    #[test]
    fn dates_are_read_in_every_accepted_format() {
        let check = |text: &str, expected: Option<&str>| {
            let expected = expected.map(|moment| moment.parse::<Timestamp>().expect(moment).as_microsecond());
            assert_eq!(date(text), expected, "{text}");
            assert_eq!(row(&format!(r#"{{"date":"{text}"}}"#)).0["date"].as_i64(), expected, "{text}");
        };
        check("2019-11-15 12:57:46 +00:00", Some("2019-11-15T12:57:46Z"));
        check(" 2019-11-15 12:57:46 +00:00 ", Some("2019-11-15T12:57:46Z"));
        check("2019-11-15 12:57:46.25 +00:00", Some("2019-11-15T12:57:46.25Z"));
        check("2019-11-15 12:57:46 +02:00", Some("2019-11-15T10:57:46Z"));
        check("2019-11-15 12:57:46+02:00", Some("2019-11-15T10:57:46Z"));
        check("2019-11-15T12:57:46Z", Some("2019-11-15T12:57:46Z"));
        check("2019-11-15T12:57:46.123456-05:30", Some("2019-11-15T18:27:46.123456Z"));
        check("2019-11-15 12:57:46", Some("2019-11-15T12:57:46Z"));
        check("2019-11-15", Some("2019-11-15T00:00:00Z"));
        check("2020-02-29", Some("2020-02-29T00:00:00Z"));
        check("2000-02-29 00:00:00 +00:00", Some("2000-02-29T00:00:00Z"));
        check("1969-12-31 23:59:59 +00:00", Some("1969-12-31T23:59:59Z"));
        check("1900-01-01 00:00:00 +00:00", Some("1900-01-01T00:00:00Z"));
        check("2019-11-15 23:59:60 +00:00", Some("2019-11-15T23:59:59Z"));
        check("2019-02-29", None);
        check("1900-02-29 00:00:00 +00:00", None);
        check("9999-12-31 23:59:59 +00:00", None);
        check("2019-11-15 24:00:00 +00:00", None);
        check("2019-11-15 12:57:46 +00:00[UTC]", None);
        check("-2019-11-15 12:57:46 +00:00", None);
        check("2019-13-01 00:00:00 +00:00", None);
        check("0000-00-00 00:00:00 +00:00", None);
        check("0001-01-01 00:00:00 +00:00", None);
        check("1899-12-31 23:59:59 +00:00", None);
        check("", None);
        check("yesterday", None);
        check("20191115125746000", None);
    }

    #[test]
    fn the_fast_and_the_tolerant_date_parser_agree() {
        let check = |text: &str| {
            let bytes: &[u8; 26] = text.as_bytes().try_into().expect(text);
            assert_eq!(date_as_served(bytes), date(text), "{text}");
        };
        for day in 0..20_000 {
            let start = civil::date(1969, 12, 20).checked_add(jiff::Span::new().days(day)).expect("a day");
            let (hour, minute, second) = (day % 24, day % 60, (day * 7) % 60);
            check(&format!("{start} {hour:02}:{minute:02}:{second:02} +00:00"));
        }
        for text in ["2019-02-29 00:00:00 +00:00", "2019-01-01 24:00:00 +00:00", "1899-12-31 23:59:59 +00:00"] {
            check(text);
        }
        for text in ["2019-11-15T12:57:46 +00:00", "2019-11-15 12:57:46 +01:00", "2019-11-15 12:5x:46 +00:00"] {
            assert_eq!(date_as_served(text.as_bytes().try_into().expect(text)), None, "{text}");
        }
    }
}
