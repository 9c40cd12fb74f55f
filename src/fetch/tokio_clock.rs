//! `tokio`'s clock, which tests can pause, for `governor`.

use std::time::Duration;

use governor::{clock, nanos::Nanos};
use tokio::time::Instant;

#[derive(Clone, Copy, Debug)]
pub(super) struct TokioClock;

impl clock::Clock for TokioClock {
    type Instant = SinceStart;

    fn now(&self) -> SinceStart {
        SinceStart(Instant::now())
    }
}

/// A time of `tokio`'s clock in the form that governor computes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SinceStart(pub(super) Instant);

impl std::ops::Add<Nanos> for SinceStart {
    type Output = Self;

    fn add(self, later: Nanos) -> Self {
        Self(self.0 + Duration::from(later))
    }
}

impl clock::Reference for SinceStart {
    fn duration_since(&self, earlier: Self) -> Nanos {
        self.0.saturating_duration_since(earlier.0).into()
    }

    fn saturating_sub(&self, duration: Nanos) -> Self {
        Self(self.0.checked_sub(duration.into()).unwrap_or(self.0))
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::{Clock, Reference};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn governor_uses_the_clock_that_tests_pause() {
        let start = SinceStart(Instant::now());
        tokio::time::advance(Duration::from_secs(5)).await;
        let now = TokioClock.now();
        let apart = Nanos::from(Duration::from_secs(5));
        let sum = start + apart;
        assert_eq!((sum, now.saturating_sub(apart)), (now, start));
        assert_eq!((now.duration_since(start), start.duration_since(now)), (apart, Nanos::from(Duration::ZERO)));
    }
}
