//! The display: decides what each event displays, and displays nothing after the end.

use std::{io::Write, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{
    ExportScope, Mode,
    bar::render,
    lines,
    screen::Screen,
    snapshot::{Activity, Counted, ProgressSnapshot},
    throughput::{ThroughputEstimator, projected},
};
use crate::sanitize;

/// Two changes of activity within this time are one line: a struggling API causes many changes per second.
const QUIET: Duration = Duration::from_secs(1);
/// Maximum redraws per second.
const DRAWINGS: u8 = 10;

/// What may cause an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DisplayEvent {
    Start,
    Tick,
    Change,
    End,
}

/// Where progress is written.
enum Output {
    Bar {
        bar: ProgressBar,
        screen: Screen,
        color: bool,
    },
    Plain(Box<dyn Write + Send>),
    Json(Box<dyn Write + Send>),
    /// No progress, only log lines.
    Nowhere(Box<dyn Write + Send>),
}

pub(super) struct Display {
    output: Output,
    scope: ExportScope,
    throughput: ThroughputEstimator,
    last_shown: Counted,
    ended: bool,
}

impl Display {
    pub(super) fn new(mode: Mode, color: bool, scope: ExportScope, out: Box<dyn Write + Send>) -> Self {
        let output = match mode {
            Mode::Bar => {
                let screen = Screen::stderr();
                let target = ProgressDrawTarget::term_like_with_hz(Box::new(screen.clone()), DRAWINGS);
                let bar = ProgressBar::with_draw_target(None, target);
                bar.set_style(ProgressStyle::with_template("{msg}").expect("a template of one field"));
                Output::Bar { bar, screen, color }
            }
            Mode::Plain => Output::Plain(out),
            Mode::Json => Output::Json(out),
            Mode::None => Output::Nowhere(out),
        };
        let (throughput, last_shown) = (ThroughputEstimator::new(), Counted::default());
        Self { output, scope, throughput, last_shown, ended: false }
    }

    /// The bar, for code that writes around it.
    pub(super) fn bar(&self) -> Option<ProgressBar> {
        if let Output::Bar { bar, .. } = &self.output { Some(bar.clone()) } else { None }
    }

    pub(super) fn show(&mut self, event: DisplayEvent, counted: Counted) {
        if self.ended || matches!(self.output, Output::Nowhere(_)) {
            return;
        }
        self.ended = event == DisplayEvent::End;
        let snapshot = self.snapshot(counted);
        if event == DisplayEvent::Change && self.too_soon(&snapshot.counted) {
            return;
        }
        self.last_shown = snapshot.counted;
        match &mut self.output {
            Output::Bar { bar, .. } if self.ended => bar.finish_and_clear(),
            Output::Bar { bar, screen, color } => {
                bar.set_message(render(&snapshot, screen.columns(), *color).join("\n"));
            }
            Output::Plain(out) if event == DisplayEvent::Start => write(out, &lines::plain_start(&self.scope)),
            Output::Plain(out) => write(out, &lines::plain_line(&snapshot)),
            Output::Json(out) => write(out, &lines::json(&snapshot)),
            Output::Nowhere(_) => {}
        }
    }

    /// A log line for people; in JSON mode, it becomes a JSON line.
    pub(super) fn note(&mut self, elapsed: Duration, line: &str) {
        let line = sanitize::plain(line);
        if let Output::Json(out) = &mut self.output {
            return write(out, &lines::json_note(elapsed, &line));
        }
        self.line(&line);
    }

    /// A log line, written unchanged.
    pub(super) fn line(&mut self, line: &str) {
        match &mut self.output {
            // After the end, the bar would redraw itself below the line.
            Output::Bar { screen, .. } if self.ended => screen.line(line),
            Output::Bar { bar, .. } => bar.println(line),
            Output::Plain(out) | Output::Json(out) | Output::Nowhere(out) => write(out, line),
        }
    }

    fn snapshot(&mut self, mut counted: Counted) -> ProgressSnapshot {
        self.throughput.look(&counted);
        if self.ended {
            counted.activity = Activity::Ended;
        }
        ProgressSnapshot {
            counted,
            scope: self.scope,
            per_minute: self.throughput.per_minute(&counted),
            left: self.throughput.left(&counted, &self.scope),
            projected: projected(&counted, &self.scope),
        }
    }

    /// Whether a change is not new, or too soon after another. Phases are always shown.
    fn too_soon(&self, counted: &Counted) -> bool {
        let last = &self.last_shown;
        match counted.activity {
            activity if activity.name() == last.activity.name() => true,
            Activity::Finishing | Activity::Publishing(_) | Activity::Uploading(_) => false,
            _ => last.elapsed > Duration::ZERO && counted.elapsed < last.elapsed + QUIET,
        }
    }
}

/// Writes one line at once, so that lines of several writers are not mixed. A closed output is not an error.
fn write(out: &mut (dyn Write + Send), line: &str) {
    let _ = out.write_all(format!("{line}\n").as_bytes());
    let _ = out.flush();
}
