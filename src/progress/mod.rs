//! What a running export tells on standard error: a bar on a terminal, lines in CI, JSON for programs, or nothing.
//!
//! ```text
//! export, many tasks -> counters (atomics) -> reporter, a few times a second -> Snapshot -> bar | line | JSON
//! ```
//!
//! An event is an addition to a counter and nothing else, so that thousands a second cost nothing; one task looks
//! at the counters and draws. Nothing here decides anything, and a display that is closed or broken harms no run:
//! its errors are ignored. Time is `tokio`'s alone.

use std::{
    io::Write,
    num::NonZeroU32,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    task::AbortHandle,
    time::{Instant, MissedTickBehavior},
};

use crate::{
    api::record::Standing,
    fetch::{State, pace::Rate},
    money::Usd,
    words,
};

mod display;
mod estimate;
mod lines;
mod mode;
mod render;
mod screen;
mod snapshot;

pub use self::mode::{Mode, Requested, Surroundings, mode};
use self::{
    display::{Display, Occasion},
    snapshot::{Activity, Counted},
};

/// The bar is drawn so often: smooth to the eye, and no load on a slow connection.
const REDRAW: Duration = Duration::from_millis(125);
/// A line is written so often.
const LINE: Duration = Duration::from_secs(10);

/// What is known before the first call.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Targets in all.
    pub total: u64,
    /// Those of them that have their answer from earlier runs.
    pub held: u64,
    /// Calls in any sliding period.
    pub rate: Rate,
    /// Calls in flight at most.
    pub concurrency: NonZeroU32,
    /// What earlier runs have spent.
    pub spent: Usd,
    /// The spending cap.
    pub cap: Option<Usd>,
    /// Whether the money is not real.
    pub simulated: bool,
}

impl Plan {
    /// So many targets, all of which have their answers.
    pub fn of_held(targets: u64) -> Self {
        let rate = Rate { calls: NonZeroU32::MIN, period: Duration::from_secs(1) };
        let (concurrency, spent) = (NonZeroU32::MIN, Usd::ZERO);
        Self { total: targets, held: targets, rate, concurrency, spent, cap: None, simulated: false }
    }
}

/// Counts what happens and shows it. Clones are the same display; the last one to go ends it.
#[derive(Clone)]
pub struct Progress(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    reporter: Option<AbortHandle>,
}

/// What events add to.
struct Shared {
    started: Instant,
    calls: AtomicU64,
    retries: AtomicU64,
    answers: AtomicU64,
    done: AtomicU64,
    failed: AtomicU64,
    rows: AtomicU64,
    /// Spent by this run, in millionths of a dollar.
    micros: AtomicU64,
    published: AtomicU64,
    to_publish: AtomicU64,
    uploaded: AtomicU64,
    to_upload: AtomicU64,
    /// An [`Activity`] in one number: its kind in the low three bits, above them the end of the wait.
    activity: AtomicU64,
    /// The API was down when it was heard of last.
    down: AtomicBool,
    /// The activity has become one that is told at once, or ceased to be.
    changed: Notify,
    display: Mutex<Display>,
}

impl Progress {
    /// Starts to show an export of `plan`, with `colour` where the display is a bar. Called within a `tokio` runtime.
    pub fn start(mode: Mode, colour: bool, plan: Plan) -> Self {
        Self::start_with(mode, colour, plan, Box::new(std::io::stderr()))
    }

    fn start_with(mode: Mode, colour: bool, plan: Plan, out: Box<dyn Write + Send>) -> Self {
        let started = Instant::now();
        let every = match mode {
            Mode::Bar => Some(REDRAW),
            Mode::Plain | Mode::Json => Some(LINE),
            Mode::None => None,
        };
        let shared = Arc::new(Shared {
            started,
            calls: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            answers: AtomicU64::new(0),
            done: AtomicU64::new(plan.held),
            failed: AtomicU64::new(0),
            rows: AtomicU64::new(0),
            micros: AtomicU64::new(0),
            published: AtomicU64::new(0),
            to_publish: AtomicU64::new(0),
            uploaded: AtomicU64::new(0),
            to_upload: AtomicU64::new(0),
            activity: AtomicU64::new(CALLING),
            down: AtomicBool::new(false),
            changed: Notify::new(),
            display: Mutex::new(Display::new(mode, colour, plan, out)),
        });
        shared.tell(Occasion::Start);
        let reporter = every.map(|every| tokio::spawn(report(Arc::clone(&shared), every)).abort_handle());
        Self(Arc::new(Handle { shared, reporter }))
    }

    /// A call went out.
    pub fn called(&self, retry: bool) {
        self.0.shared.calls.fetch_add(1, Relaxed);
        self.0.shared.retries.fetch_add(u64::from(retry), Relaxed);
    }

    /// A call did not go out after all.
    pub fn called_off(&self, retry: bool) {
        self.0.shared.calls.fetch_sub(1, Relaxed);
        self.0.shared.retries.fetch_sub(u64::from(retry), Relaxed);
    }

    /// A call's result is durable; `standing` is given where it settles its target.
    pub fn answered(&self, standing: Option<Standing>, rows: u64, cost: Usd) {
        let shared = &self.0.shared;
        shared.answers.fetch_add(1, Relaxed);
        if standing.is_some() {
            shared.down.store(false, Relaxed);
        }
        shared.rows.fetch_add(rows, Relaxed);
        shared.micros.fetch_add(u64::try_from(cost.micros()).unwrap_or(0), Relaxed);
        shared.done.fetch_add(u64::from(standing.is_some_and(Standing::is_final)), Relaxed);
    }

    /// A target is given up.
    pub fn failed(&self) {
        self.0.shared.failed.fetch_add(1, Relaxed);
    }

    /// What the fetch is doing, whenever that changes.
    pub fn state(&self, state: &State) {
        let shared = &self.0.shared;
        // Probes go out between, each of which is a call as any other.
        if let State::Outage { cause } = state
            && !shared.down.swap(true, Relaxed)
        {
            let cause = cause.as_deref().map_or_else(String::new, |cause| format!(" ({})", words::plain(cause.trim())));
            tracing::warn!("the API is down{cause}: single calls probe it until it answers again (-v tells each)");
        }
        shared.does(match state {
            State::Calling => CALLING,
            State::RateLimit => RATE_LIMIT,
            State::AskedToWait(wait) => {
                let until = (shared.started.elapsed() + *wait).as_millis();
                u64::try_from(until).unwrap_or(0) << KIND_BITS | ASKED_TO_WAIT
            }
            State::Outage { .. } => OUTAGE,
            State::Finishing => FINISHING,
        });
    }

    /// The second phase begins: the answers of so many targets are made a dataset.
    pub fn publishing(&self, targets: u64) {
        self.0.shared.to_publish.store(targets, Relaxed);
        self.0.shared.does(PUBLISHING);
    }

    /// So many more targets are written.
    pub fn published(&self, targets: u64) {
        self.0.shared.published.fetch_add(targets, Relaxed);
    }

    /// The third phase begins: so many bytes of the dataset go to an object store.
    pub fn uploading(&self, bytes: u64) {
        self.0.shared.to_upload.store(bytes, Relaxed);
        self.0.shared.does(UPLOADING);
    }

    /// So many more bytes are there.
    pub fn uploaded(&self, bytes: u64) {
        self.0.shared.uploaded.fetch_add(bytes, Relaxed);
    }

    /// Tells one line for people, above the bar where there is one.
    pub fn note(&self, line: &str) {
        let shared = &self.0.shared;
        shared.display().note(shared.started.elapsed(), line);
    }

    /// Tells one line as it is, which is a JSON object in itself.
    pub fn json_line(&self, line: &str) {
        self.0.shared.display().line(line);
    }

    /// Runs what writes to standard error itself, such as a log, with the bar out of its way. It must not call back here.
    pub fn suspend<R>(&self, write: impl FnOnce() -> R) -> R {
        // The display's lock is not held meanwhile: events that are told wait for the bar alone.
        let bar = self.0.shared.display().bar();
        match bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Takes the display away; lines end with one that has the totals. Nothing is shown after it.
    pub fn finish(&self) {
        if let Some(reporter) = &self.0.reporter {
            reporter.abort();
        }
        self.0.shared.tell(Occasion::End);
    }
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Progress")
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some(reporter) = &self.reporter {
            reporter.abort();
        }
        self.shared.tell(Occasion::End);
    }
}

const KIND_BITS: u32 = 3;
const CALLING: u64 = 0;
const RATE_LIMIT: u64 = 1;
const ASKED_TO_WAIT: u64 = 2;
const OUTAGE: u64 = 3;
const FINISHING: u64 = 4;
const PUBLISHING: u64 = 5;
const UPLOADING: u64 = 6;
const KIND: u64 = (1 << KIND_BITS) - 1;

impl Shared {
    fn does(&self, activity: u64) {
        let before = self.activity.swap(activity, Relaxed) & KIND;
        let now = activity & KIND;
        // Going on and waiting for the rate limit are the ordinary course: many times a second, and told by nobody.
        if before != now && before.max(now) > RATE_LIMIT {
            self.changed.notify_one();
        }
    }

    fn counted(&self) -> Counted {
        let activity = self.activity.load(Relaxed);
        let elapsed = self.started.elapsed();
        Counted {
            elapsed,
            calls: self.calls.load(Relaxed),
            retries: self.retries.load(Relaxed),
            answers: self.answers.load(Relaxed),
            done: self.done.load(Relaxed),
            failed: self.failed.load(Relaxed),
            rows: self.rows.load(Relaxed),
            written: self.published.load(Relaxed),
            uploaded: self.uploaded.load(Relaxed),
            spent: Usd::from_micros(i64::try_from(self.micros.load(Relaxed)).unwrap_or(i64::MAX)),
            down: self.down.load(Relaxed),
            activity: match activity & KIND {
                RATE_LIMIT => Activity::RateLimit,
                ASKED_TO_WAIT => {
                    Activity::AskedToWait(Duration::from_millis(activity >> KIND_BITS).saturating_sub(elapsed))
                }
                OUTAGE => Activity::Outage,
                FINISHING => Activity::Finishing,
                PUBLISHING => Activity::Publishing(self.to_publish.load(Relaxed)),
                UPLOADING => Activity::Uploading(self.to_upload.load(Relaxed)),
                _ => Activity::Calling,
            },
        }
    }

    fn tell(&self, occasion: Occasion) {
        let counted = self.counted();
        self.display().tell(occasion, counted);
    }

    fn display(&self) -> MutexGuard<'_, Display> {
        self.display.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks at the counters until it is aborted.
async fn report(shared: Arc<Shared>, every: Duration) {
    let mut ticks = tokio::time::interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => shared.tell(Occasion::Tick),
            () = shared.changed.notified() => shared.tell(Occasion::Change),
        }
    }
}

#[cfg(test)]
mod tests;
