//! What a running export shows on standard error: a bar on a terminal, lines in CI, JSON for programs, or nothing.
//!
//! ```text
//! export, many tasks -> counters -> reporter, a few times a second -> Snapshot -> bar | line | JSON
//! ```
//!
//! An event only changes the counters; one task reads them and draws. Nothing here makes decisions, and a closed or
//! broken display does not affect a run: its errors are ignored. All times are from `tokio`'s clock.

use std::{io::Write, num::NonZeroU32, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    task::AbortHandle,
    time::{Instant, MissedTickBehavior},
};

use crate::{
    api::call_events::TargetState,
    fetch::{FetchState, pace::Rate},
    money::Usd,
    sanitize,
};

mod bar;
mod display;
mod lines;
mod mode;
mod phrases;
mod screen;
mod snapshot;
mod throughput;

pub use self::mode::{Mode, Requested, TerminalTraits, mode};
use self::{
    display::{Display, DisplayEvent},
    snapshot::{Activity, Counted},
};

/// How often the bar is drawn: smooth to the eye, and little traffic on a slow connection.
const REDRAW: Duration = Duration::from_millis(125);
/// How often a line is written.
const LINE: Duration = Duration::from_secs(10);

/// What is known before the first call.
#[derive(Clone, Copy, Debug)]
pub struct ExportScope {
    pub total: u64,
    /// Targets whose answers were stored by earlier runs.
    pub stored: u64,
    /// Calls in any sliding period.
    pub rate: Rate,
    /// Maximum calls in flight.
    pub concurrency: NonZeroU32,
    /// What earlier runs spent.
    pub spent: Usd,
    pub cap: Option<Usd>,
    /// Whether the cost is simulated.
    pub simulated: bool,
}

impl ExportScope {
    /// A scope of `targets` targets that all have their answers.
    pub fn all_stored(targets: u64) -> Self {
        let rate = Rate { calls: NonZeroU32::MIN, period: Duration::from_secs(1) };
        let (concurrency, spent) = (NonZeroU32::MIN, Usd::ZERO);
        Self { total: targets, stored: targets, rate, concurrency, spent, cap: None, simulated: false }
    }
}

/// Counts and displays events. Clones share one display, which ends when the last clone is dropped.
#[derive(Clone)]
pub struct Progress(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    reporter: Option<AbortHandle>,
}

struct Shared {
    started: Instant,
    /// The totals of all events; times are as of `started`.
    counters: Mutex<Counted>,
    /// The activity has changed to or from one that is shown at once.
    changed: Notify,
    display: Mutex<Display>,
}

impl Progress {
    /// Starts the display of an export of `scope`, with `color` if it is a bar. Must be called within a `tokio`
    /// runtime.
    pub fn start(mode: Mode, color: bool, scope: ExportScope) -> Self {
        Self::start_with(mode, color, scope, Box::new(std::io::stderr()))
    }

    fn start_with(mode: Mode, color: bool, scope: ExportScope, out: Box<dyn Write + Send>) -> Self {
        let started = Instant::now();
        let every = match mode {
            Mode::Bar => Some(REDRAW),
            Mode::Plain | Mode::Json => Some(LINE),
            Mode::None => None,
        };
        let shared = Arc::new(Shared {
            started,
            counters: Mutex::new(Counted { done: scope.stored, ..Counted::default() }),
            changed: Notify::new(),
            display: Mutex::new(Display::new(mode, color, scope, out)),
        });
        shared.show(DisplayEvent::Start);
        let reporter = every.map(|every| tokio::spawn(redraw(Arc::clone(&shared), every)).abort_handle());
        Self(Arc::new(Handle { shared, reporter }))
    }

    /// A call was sent.
    pub fn called(&self, retry: bool) {
        self.count(|counted| {
            counted.calls += 1;
            counted.retries += u64::from(retry);
        });
    }

    /// A call was not sent after all.
    pub fn called_off(&self, retry: bool) {
        self.count(|counted| {
            counted.calls -= 1;
            counted.retries -= u64::from(retry);
        });
    }

    /// A call's result is durable; with a `state` if it settles its target.
    pub fn answered(&self, state: Option<TargetState>, rows: u64, cost: Usd) {
        self.count(|counted| {
            counted.answers += 1;
            counted.down &= state.is_none();
            counted.rows += rows;
            counted.spent = counted.spent.plus(cost);
            counted.done += u64::from(state.is_some_and(TargetState::is_final));
        });
    }

    /// A target was given up.
    pub fn failed(&self) {
        self.count(|counted| counted.failed += 1);
    }

    /// What the fetch is doing, whenever that changes.
    pub fn state(&self, state: &FetchState) {
        let shared = &self.0.shared;
        // Probes, sent in between, count like any other calls.
        if let FetchState::Outage { cause } = state
            && !std::mem::replace(&mut shared.counters.lock().down, true)
        {
            let cause =
                cause.as_deref().map_or_else(String::new, |cause| format!(" ({})", sanitize::plain(cause.trim())));
            tracing::warn!("the API is down{cause}: probing with single calls until it answers again (-v shows each)");
        }
        shared.does(match state {
            FetchState::Calling => Activity::Calling,
            FetchState::RateLimit => Activity::RateLimit,
            FetchState::AskedToWait(wait) => Activity::AskedToWait(shared.started.elapsed().saturating_add(*wait)),
            FetchState::Outage { .. } => Activity::Outage,
            FetchState::Finishing => Activity::Finishing,
        });
    }

    /// The second phase begins: the answers of `targets` targets become a dataset.
    pub fn publishing(&self, targets: u64) {
        self.0.shared.does(Activity::Publishing(targets));
    }

    /// This many more targets are written.
    pub fn published(&self, targets: u64) {
        self.count(|counted| counted.written += targets);
    }

    /// The third phase begins: `bytes` bytes of the dataset are uploaded to an object store.
    pub fn uploading(&self, bytes: u64) {
        self.0.shared.does(Activity::Uploading(bytes));
    }

    /// This many more bytes are uploaded.
    pub fn uploaded(&self, bytes: u64) {
        self.count(|counted| counted.uploaded += bytes);
    }

    fn count(&self, event: impl FnOnce(&mut Counted)) {
        event(&mut self.0.shared.counters.lock());
    }

    /// Displays one line for people, above the bar if there is one.
    pub fn note(&self, line: &str) {
        let shared = &self.0.shared;
        shared.display.lock().note(shared.started.elapsed(), line);
    }

    /// Writes one line unchanged, which is a JSON object.
    pub fn json_line(&self, line: &str) {
        self.0.shared.display.lock().line(line);
    }

    /// Runs code that writes to standard error itself, such as a log, without the bar. It must not call back here.
    pub fn suspend<R>(&self, write: impl FnOnce() -> R) -> R {
        // The display's lock is released before the write: other events only wait for the bar.
        let bar = self.0.shared.display.lock().bar();
        match bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Removes the display; line displays end with a line of totals. Nothing is displayed afterwards.
    pub fn finish(&self) {
        self.0.finish();
    }
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Progress")
    }
}

impl Handle {
    fn finish(&self) {
        if let Some(reporter) = &self.reporter {
            reporter.abort();
        }
        self.shared.show(DisplayEvent::End);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Shared {
    fn does(&self, activity: Activity) {
        let before = std::mem::replace(&mut self.counters.lock().activity, activity);
        // Calling and waiting for the rate limit are normal: they alternate many times per second, and are never shown
        // at once.
        let is_ordinary = |activity| matches!(activity, Activity::Calling | Activity::RateLimit);
        if before.name() != activity.name() && !(is_ordinary(before) && is_ordinary(activity)) {
            self.changed.notify_one();
        }
    }

    fn counted(&self) -> Counted {
        let (counted, elapsed) = (*self.counters.lock(), self.started.elapsed());
        let activity = match counted.activity {
            Activity::AskedToWait(until) => Activity::AskedToWait(until.saturating_sub(elapsed)),
            activity => activity,
        };
        Counted { elapsed, activity, ..counted }
    }

    fn show(&self, event: DisplayEvent) {
        let counted = self.counted();
        self.display.lock().show(event, counted);
    }
}

/// Updates the display until it is aborted.
async fn redraw(shared: Arc<Shared>, every: Duration) {
    let mut ticks = tokio::time::interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => shared.show(DisplayEvent::Tick),
            () = shared.changed.notified() => shared.show(DisplayEvent::Change),
        }
    }
}

#[cfg(test)]
mod tests;
