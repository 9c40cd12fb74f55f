//! The only place that reads clocks; the wall clock is read once.
//!
//! All later times are that reading plus the time that `tokio`'s monotonic clock has counted since. A jump of the wall
//! clock therefore affects neither records nor waits, and in tests with paused time the calendar advances with the
//! paused clock. The age of an earlier process's events is measured by the time since boot, which nobody can set; the
//! wall clock is used only after another boot or on another machine.

use std::{fs, time::Duration};

use jiff::{SignedDuration, Timestamp, Unit, civil::Date, tz::TimeZone};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// How much the wall clocks of two boots or two machines may differ.
const WALL_CLOCKS_DIFFER: SignedDuration = SignedDuration::from_hours(1);

/// A calendar fixed at one reading of the wall clock and advanced by the monotonic one.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    wall: Timestamp,
    start: Instant,
    boot: Option<Boot>,
}

/// The current boot of this machine.
#[derive(Clone, Copy, Debug)]
struct Boot {
    id: BootId,
    /// The time since boot when the clock was created; `None`: it is read from the system each time.
    age: Option<Duration>,
}

/// Identifies a boot: the first half of Linux's random boot id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(pub u64);

/// A moment as the time since a boot, including suspension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinceBoot {
    pub boot: BootId,
    /// The time since that boot.
    #[serde(rename = "since_boot_micros")]
    micros: u64,
}

/// A moment that later processes can compare with theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    pub wall: Timestamp,
    /// The time since boot, if known.
    pub since_boot: Option<SinceBoot>,
}

impl Clock {
    /// Reads the wall clock. Called once by the program's entry point, and by the simulated API, which can run as its
    /// own program.
    #[expect(clippy::disallowed_methods, reason = "the only place that reads the wall clock")]
    pub fn system() -> Self {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().and_then(|text| boot_id(&text));
        Self { boot: id.map(|id| Boot { id, age: None }), ..Self::at(Timestamp::now()) }
    }

    /// A clock that shows `wall` now; for tests and for replays.
    pub fn at(wall: Timestamp) -> Self {
        Self { wall, start: Instant::now(), boot: None }
    }

    /// The same clock on a machine that booted as `boot` this long ago.
    #[must_use]
    pub fn with_boot(self, id: BootId, age: Duration) -> Self {
        Self { boot: Some(Boot { id, age: Some(age) }), ..self }
    }

    /// The current time in UTC, in microseconds, as records and columns store it.
    pub fn now(&self) -> Timestamp {
        let elapsed = self.start.elapsed();
        let moment = self.wall.checked_add(elapsed).unwrap_or(self.wall);
        moment.round(Unit::Microsecond).unwrap_or(moment)
    }

    /// The current moment by all clocks.
    pub fn moment(&self) -> Moment {
        let since_boot = self.boot.and_then(|boot| {
            let age = match boot.age {
                Some(age) => age + self.start.elapsed(),
                None => system_age()?,
            };
            Some(SinceBoot { boot: boot.id, micros: u64::try_from(age.as_micros()).ok()? })
        });
        Moment { wall: self.now(), since_boot }
    }

    /// Today's date in UTC.
    pub fn today(&self) -> Date {
        TimeZone::UTC.to_datetime(self.now()).date()
    }
}

impl SinceBoot {
    /// The moment this much earlier.
    #[must_use]
    pub fn earlier(self, by: Duration) -> Self {
        Self { micros: self.micros.saturating_sub(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)), ..self }
    }
}

impl Moment {
    /// The minimum time from this moment to `now`: zero if that is uncertain.
    pub fn age(&self, now: &Self) -> Duration {
        match (self.since_boot, now.since_boot) {
            (Some(then), Some(present)) if then.boot == present.boot => {
                Duration::from_micros(present.micros.saturating_sub(then.micros))
            }
            _ => {
                let passed = now.wall.duration_since(self.wall).saturating_sub(WALL_CLOCKS_DIFFER);
                Duration::try_from(passed).unwrap_or_default()
            }
        }
    }

    /// Rounds up to a multiple of `piece`, separately for each clock.
    #[must_use]
    pub fn rounded_up(self, piece: Duration) -> Self {
        let micros = u64::try_from(piece.as_micros()).unwrap_or(u64::MAX).max(1);
        let wall = self.wall.as_microsecond();
        let up = i64::try_from(micros).map_or(0, |micros| (micros - wall.rem_euclid(micros)) % micros);
        let since_boot =
            self.since_boot.map(|since| SinceBoot { micros: since.micros.next_multiple_of(micros), ..since });
        Self { wall: Timestamp::from_microsecond(wall.saturating_add(up)).unwrap_or(self.wall), since_boot }
    }
}

impl From<Timestamp> for Moment {
    fn from(wall: Timestamp) -> Self {
        Self { wall, since_boot: None }
    }
}

/// Linux's `xxxxxxxx-xxxx-…` as a number that fits a 64-bit column.
fn boot_id(text: &str) -> Option<BootId> {
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).take(15).collect();
    u64::from_str_radix(&digits, 16).ok().map(BootId)
}

/// The time since this machine booted.
#[cfg(target_os = "linux")]
fn system_age() -> Option<Duration> {
    rustix::time::clock_gettime(rustix::time::ClockId::Boottime).try_into().ok()
}

/// On other systems the boot id is unknown, so the time since boot is useless.
#[cfg(not(target_os = "linux"))]
fn system_age() -> Option<Duration> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: BootId = BootId(7);

    fn moment(wall: &str, boot: Option<(BootId, u64)>) -> Moment {
        let since_boot = boot.map(|(boot, seconds)| SinceBoot { boot, micros: seconds * 1_000_000 });
        Moment { wall: wall.parse().expect("a time"), since_boot }
    }

    #[test]
    fn ages_use_the_time_since_boot_or_else_the_wall_clock_minus_its_uncertainty() {
        let check = |then: Moment, now: Moment, seconds: u64| {
            assert_eq!(then.age(&now), Duration::from_secs(seconds), "{then:?} {now:?}");
        };
        let noon = "2026-11-24T12:00:00Z";
        let then = moment(noon, Some((BOOT, 100)));
        check(then, moment("2026-11-24T12:00:05Z", Some((BOOT, 105))), 5);
        // The wall clock was set forward or back in between: the time since boot advances as before.
        check(then, moment("2026-11-24T13:00:05Z", Some((BOOT, 105))), 5);
        check(then, moment("2026-11-24T11:00:05Z", Some((BOOT, 105))), 5);
        check(then, moment(noon, Some((BOOT, 99))), 0);
        // Another or an unknown boot or machine: the wall clock is used, which may be wrong by an hour.
        for boot in [None, Some((BootId(8), 1_000_000))] {
            check(then, moment("2026-11-24T12:00:05Z", boot), 0);
            check(then, moment("2026-11-24T13:00:05Z", boot), 5);
            check(then, moment("2026-11-24T11:00:00Z", boot), 0);
        }
        check(moment(noon, None), moment("2026-11-24T14:00:00Z", Some((BOOT, 1))), 3600);
    }

    #[test]
    fn the_system_reports_its_boot() {
        let clock = Clock::system();
        let (first, second) = (clock.moment(), clock.moment());
        if cfg!(target_os = "linux") {
            assert_eq!(first.since_boot.map(|since| since.boot), second.since_boot.map(|since| since.boot));
            assert!(first.since_boot.is_some() && first.age(&second) < Duration::from_secs(5));
        }
        assert_eq!(boot_id("0f4e2c1a-9d3b-4c5e-8f7a-112233445566\n"), Some(BootId(0x0f4_e2c1_a9d3_b4c5)));
        assert_eq!(boot_id(""), None);
    }
}
