//! Parsers for the values of flags.

use std::time::Duration;

/// A value that cannot be parsed, with an example of one that can.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is invalid; use a value such as {1}")]
pub struct InvalidValue(pub(super) String, pub(super) &'static str);

/// A factor in hundredths.
pub(super) fn percent(factor: &str) -> Option<u32> {
    const MOST: f64 = 1000.0;
    let factor: f64 = factor.parse().ok()?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
    (0.0..=MOST).contains(&factor).then(|| (factor * 100.0).round() as u32)
}

/// A duration such as `250ms`, `2s`, `1.5min` or `1h`; a bare number is in seconds.
pub(super) fn duration(text: &str) -> Option<Duration> {
    const MOST: f64 = 1e6;
    let text = text.trim();
    let units = [("ms", 0.001), ("min", 60.0), ("s", 1.0), ("h", 3600.0), ("", 1.0)];
    let (number, unit) =
        units.iter().find_map(|(suffix, unit)| text.strip_suffix(suffix).map(|number| (number, unit)))?;
    let seconds = number.trim().parse::<f64>().ok()? * unit;
    (0.0..=MOST).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
}
