//! The display: decides what each event shows, and shows nothing after the end.

use std::{io::Write, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{
    ExportScope, Mode,
    estimate::{ThroughputEstimator, projected},
    lines,
    render::render,
    screen::Screen,
    snapshot::{Activity, Counted, RowsShown, Snapshot},
};
use crate::sanitize;

/// Two changes of what the fetch does within this time make one line: a struggling API changes them many times a second.
const QUIET: Duration = Duration::from_secs(1);
/// Drawings a second at most.
const DRAWINGS: u8 = 10;

/// What may cause an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DisplayEvent {
    Start,
    Tick,
    Change,
    End,
}

/// Where it is shown.
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
    /// The activity shown last, and when.
    last_shown: (&'static str, Duration),
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
        let last_shown = (Activity::Calling.word(), Duration::ZERO);
        Self { output, scope, throughput: ThroughputEstimator::new(), last_shown, ended: false }
    }

    /// The bar, for what has to draw around it.
    pub(super) fn bar(&self) -> Option<ProgressBar> {
        if let Output::Bar { bar, .. } = &self.output { Some(bar.clone()) } else { None }
    }

    pub(super) fn show(&mut self, event: DisplayEvent, counted: Counted) {
        if self.ended || matches!(self.output, Output::Nowhere(_)) {
            return;
        }
        self.ended = event == DisplayEvent::End;
        let snapshot = self.snapshot(counted);
        if event == DisplayEvent::Change && self.too_soon(&snapshot) {
            return;
        }
        self.last_shown = (snapshot.counted.activity.word(), counted.elapsed);
        match &mut self.output {
            Output::Bar { bar, .. } if self.ended => bar.finish_and_clear(),
            Output::Bar { bar, screen, color } => {
                bar.set_message(render(&snapshot, screen.columns(), *color).join("\n"));
            }
            Output::Plain(out) if event == DisplayEvent::Start => write(out, &lines::plain_start(&self.scope)),
            Output::Plain(out) => write(out, &lines::plain(&snapshot)),
            Output::Json(out) => write(out, &lines::json(&snapshot)),
            Output::Nowhere(_) => {}
        }
    }

    /// A log line for people; among lines of JSON it becomes one of them.
    pub(super) fn note(&mut self, elapsed: Duration, line: &str) {
        let line = sanitize::plain(line);
        if let Output::Json(out) = &mut self.output {
            return write(out, &lines::json_note(elapsed, &line));
        }
        self.line(&line);
    }

    /// A log line as it is.
    pub(super) fn line(&mut self, line: &str) {
        match &mut self.output {
            // After the end the bar would draw itself again below the line.
            Output::Bar { screen, .. } if self.ended => screen.line(line),
            Output::Bar { bar, .. } => bar.println(line),
            Output::Plain(out) | Output::Json(out) | Output::Nowhere(out) => write(out, line),
        }
    }

    fn snapshot(&mut self, mut counted: Counted) -> Snapshot {
        self.throughput.look(&counted);
        if self.ended {
            counted.activity = Activity::Ended;
        }
        Snapshot {
            counted,
            total: self.scope.total,
            per_minute: self.throughput.per_minute(&counted),
            left: self.throughput.left(&counted, &self.scope),
            spent: self.scope.spent.plus(counted.spent),
            projected: projected(&counted, &self.scope),
            cap: self.scope.cap,
            simulated: self.scope.simulated,
            rows: match self.scope.held {
                0 => RowsShown::All,
                held if held < self.scope.total => RowsShown::New,
                _ => RowsShown::Held,
            },
        }
    }

    /// Whether a change is not new, or follows another too closely. Phases are always shown.
    fn too_soon(&self, snapshot: &Snapshot) -> bool {
        let (word, at) = self.last_shown;
        let activity = snapshot.counted.activity;
        match activity {
            _ if activity.word() == word => true,
            Activity::Finishing | Activity::Publishing(_) | Activity::Uploading(_) => false,
            _ => at > Duration::ZERO && snapshot.counted.elapsed < at + QUIET,
        }
    }
}

/// One line at once, so that lines of several writers do not mix. A closed output is not an error.
fn write(out: &mut (dyn Write + Send), line: &str) {
    let _ = out.write_all(format!("{line}\n").as_bytes());
    let _ = out.flush();
}
