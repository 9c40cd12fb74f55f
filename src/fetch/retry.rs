//! How long a target waits before its next try: exponential, with full jitter.
//!
//! The crate `backoff` only provides the schedule. Its own retry loop uses the real clock and ignores `Retry-After`; in
//! the fetch loop, every wait is explicit.

use std::time::Duration;

use backoff::{ExponentialBackoffBuilder, backoff::Backoff};

/// The median of the first wait.
const FIRST: Duration = Duration::from_millis(500);
/// The median of the longest wait; six tries take about half a minute.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// The median doubles with each wait.
const GROWTH: f64 = 2.0;
/// Full jitter: from zero to twice the median, so that targets which failed together do not retry together.
const JITTER: f64 = 1.0;

/// The waits of one target.
#[derive(Debug)]
pub(super) struct Waits(backoff::ExponentialBackoff);

impl Default for Waits {
    fn default() -> Self {
        let schedule = ExponentialBackoffBuilder::new()
            .with_initial_interval(FIRST)
            .with_max_interval(MAX_WAIT)
            .with_multiplier(GROWTH)
            .with_randomization_factor(JITTER)
            .with_max_elapsed_time(None)
            .build();
        Self(schedule)
    }
}

impl Waits {
    /// The next wait; what the server asked for is the minimum.
    pub(super) fn next(&mut self, retry_after: Option<Duration>) -> Duration {
        let wait = self.0.next_backoff().unwrap_or(MAX_WAIT);
        wait.max(retry_after.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_are_jittered_and_bounded() {
        let mean = |nth: usize| {
            let total: Duration = (0..400)
                .map(|_| {
                    let mut waits = Waits::default();
                    (0..=nth).map(|_| waits.next(None)).last().unwrap_or_default()
                })
                .sum();
            total / 400
        };
        assert!((300..700).contains(&mean(0).as_millis()), "{:?}", mean(0));
        assert!(mean(2) > mean(1) && mean(1) > mean(0));
        let mut waits = Waits::default();
        assert!((0..50).map(|_| waits.next(None)).all(|wait| wait <= 2 * MAX_WAIT));
    }

    #[test]
    fn the_servers_retry_after_is_the_minimum() {
        assert!(Waits::default().next(Some(Duration::from_secs(90))) >= Duration::from_secs(90));
    }
}
