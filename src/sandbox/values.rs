//! Parsers for the values of flags.

use std::time::Duration;

/// What a flag expects instead of a value that cannot be parsed.
pub(super) type Expected = &'static str;

/// A factor in hundredths.
pub(super) fn factor_in_percent(factor: &str) -> Option<u32> {
    const MAX: f64 = 1000.0;
    let factor: f64 = factor.parse().ok()?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
    (0.0..=MAX).contains(&factor).then(|| (factor * 100.0).round() as u32)
}

/// A duration such as `250ms`, `2s`, `1.5min` or `1h`; a bare number is in seconds.
pub(super) fn duration(text: &str) -> Result<Duration, Expected> {
    const MAX: f64 = 1e6;
    let units = [("ms", 0.001), ("min", 60.0), ("s", 1.0), ("h", 3600.0), ("", 1.0)];
    let (number, unit) = units
        .iter()
        .find_map(|(suffix, unit)| Some((text.trim().strip_suffix(suffix)?, unit)))
        .expect("every text has the empty suffix");
    let seconds = number.trim().parse::<f64>().ok().map(|number| number * unit);
    let seconds = seconds.filter(|seconds| (0.0..=MAX).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or("expected a duration such as 500ms, 5s or 2min")
}
