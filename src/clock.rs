//! The only place where the wall clock is read, and it is read once.
//!
//! All later times are that reading plus what `tokio`'s monotonic clock has counted since: a wall
//! clock that jumps moves neither records nor waits, and tests on paused time see a calendar that
//! advances with it.

use jiff::{Timestamp, Unit, civil::Date, tz::TimeZone};
use tokio::time::Instant;

/// A calendar fixed at one reading of the wall clock and advanced by the monotonic one.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    wall: Timestamp,
    start: Instant,
}

impl Clock {
    /// Reads the wall clock. Called once by the program's entry, and by the simulated API, which is a program of its own.
    #[expect(clippy::disallowed_methods, reason = "this is the place the fence leaves open")]
    pub fn system() -> Self {
        Self::at(Timestamp::now())
    }

    /// A clock that shows `wall` now; for tests and for replays of a known moment.
    pub fn at(wall: Timestamp) -> Self {
        Self { wall, start: Instant::now() }
    }

    /// The present moment, in UTC with microseconds, which is what records and columns keep.
    pub fn now(&self) -> Timestamp {
        let elapsed = self.start.elapsed();
        let moment = self.wall.checked_add(elapsed).unwrap_or(self.wall);
        moment.round(Unit::Microsecond).unwrap_or(moment)
    }

    /// Today's date in UTC.
    pub fn today(&self) -> Date {
        TimeZone::UTC.to_datetime(self.now()).date()
    }
}
