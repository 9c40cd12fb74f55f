//! The only place where clocks are read; the wall clock is read once.
//!
//! All later times are that reading plus what `tokio`'s monotonic clock has counted since: a wall
//! clock that jumps moves neither records nor waits, and tests on paused time see a calendar that
//! advances with it. The age of an earlier process's events is measured by the time since the
//! machine's boot, which cannot be set; the wall clock is used only if the machine or the boot is another one.

use std::{fs, time::Duration};

use jiff::{SignedDuration, Timestamp, Unit, civil::Date, tz::TimeZone};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// By how much the wall clocks of two boots or two machines may differ.
const WALL_CLOCKS_DIFFER: SignedDuration = SignedDuration::from_hours(1);

/// A calendar fixed at one reading of the wall clock and advanced by the monotonic one.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    wall: Timestamp,
    start: Instant,
    boot: Option<Boot>,
}

/// A boot of this machine.
#[derive(Clone, Copy, Debug)]
struct Boot {
    id: BootId,
    /// Its age at the start of the clock; `None`: it is read from the system each time.
    age: Option<Duration>,
}

/// Names a boot of a machine: the first half of Linux's random id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(pub u64);

/// A moment by the time since a boot, suspension included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinceBoot {
    pub boot: BootId,
    /// How old it was.
    #[serde(rename = "since_boot_micros")]
    micros: u64,
}

/// A moment that later processes can compare with theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    pub wall: Timestamp,
    /// By the time since boot, where that is known.
    pub since_boot: Option<SinceBoot>,
}

impl Clock {
    /// Reads the wall clock. Called once by the program's entry, and by the simulated API, which is a program of its own.
    #[expect(clippy::disallowed_methods, reason = "this is the place the fence leaves open")]
    pub fn system() -> Self {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().and_then(|text| boot_id(&text));
        Self { boot: id.map(|id| Boot { id, age: None }), ..Self::at(Timestamp::now()) }
    }

    /// A clock that shows `wall` now; for tests and for replays of a known moment.
    pub fn at(wall: Timestamp) -> Self {
        Self { wall, start: Instant::now(), boot: None }
    }

    /// The same on a machine that was booted as `boot` so long ago.
    #[must_use]
    pub fn with_boot(self, id: BootId, age: Duration) -> Self {
        Self { boot: Some(Boot { id, age: Some(age) }), ..self }
    }

    /// The present moment, in UTC with microseconds, which is what records and columns keep.
    pub fn now(&self) -> Timestamp {
        let elapsed = self.start.elapsed();
        let moment = self.wall.checked_add(elapsed).unwrap_or(self.wall);
        moment.round(Unit::Microsecond).unwrap_or(moment)
    }

    /// The present moment by all clocks.
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
    /// The moment so much earlier.
    #[must_use]
    pub fn earlier(self, by: Duration) -> Self {
        Self { micros: self.micros.saturating_sub(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)), ..self }
    }
}

impl Moment {
    /// How long before `now` this was, at least: if that is uncertain, zero.
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
}

impl Moment {
    /// The end of the piece of time in which this moment is, by each clock for itself.
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

/// Linux's `xxxxxxxx-xxxx-…` as a number that fits a column of 64 bits.
fn boot_id(text: &str) -> Option<BootId> {
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).take(15).collect();
    u64::from_str_radix(&digits, 16).ok().map(BootId)
}

/// How long this machine has been up.
#[cfg(target_os = "linux")]
fn system_age() -> Option<Duration> {
    rustix::time::clock_gettime(rustix::time::ClockId::Boottime).try_into().ok()
}

/// Elsewhere the boot's id is unknown, so its age is of no use.
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
    fn ages_are_told_by_the_boot_and_by_the_wall_clock_only_as_far_as_it_can_be_trusted() {
        let check = |then: Moment, now: Moment, seconds: u64| {
            assert_eq!(then.age(&now), Duration::from_secs(seconds), "{then:?} {now:?}");
        };
        let noon = "2026-11-24T12:00:00Z";
        let then = moment(noon, Some((BOOT, 100)));
        check(then, moment("2026-11-24T12:00:05Z", Some((BOOT, 105))), 5);
        // Set forward or back in between: the time since boot advances as before.
        check(then, moment("2026-11-24T13:00:05Z", Some((BOOT, 105))), 5);
        check(then, moment("2026-11-24T11:00:05Z", Some((BOOT, 105))), 5);
        check(then, moment(noon, Some((BOOT, 99))), 0);
        // Another boot or machine, or an unknown one: the wall clock, which may be wrong by an hour.
        for boot in [None, Some((BootId(8), 1_000_000))] {
            check(then, moment("2026-11-24T12:00:05Z", boot), 0);
            check(then, moment("2026-11-24T13:00:05Z", boot), 5);
            check(then, moment("2026-11-24T11:00:00Z", boot), 0);
        }
        check(moment(noon, None), moment("2026-11-24T14:00:00Z", Some((BOOT, 1))), 3600);
    }

    #[test]
    fn the_system_tells_its_boot() {
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
