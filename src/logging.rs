//! Log lines on standard error, as text or JSON, above the progress display if there is one.

use std::{
    io::{self, IsTerminal, Write},
    sync::Arc,
};

use parking_lot::Mutex;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    filter::{Targets, filter_fn},
    fmt::{MakeWriter, time::SystemTime},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::{
    cli::{LogFormat, Logging},
    progress::Progress,
};

/// Where log lines go. With a display, they are written above it.
#[derive(Clone, Debug)]
pub struct Console {
    display: Arc<Mutex<Option<Progress>>>,
    format: LogFormat,
}

impl Console {
    /// Starts logging. `filter` is `RUST_LOG`, which overrides the flags.
    pub fn start(logging: &Logging, filter: Option<&str>) -> Self {
        let console = Self { display: Arc::default(), format: logging.log_format };
        let level = match (logging.quiet, logging.verbose) {
            (true, _) => LevelFilter::ERROR,
            (false, 0) => LevelFilter::WARN,
            (false, 1) => LevelFilter::DEBUG,
            (false, _) => LevelFilter::TRACE,
        };
        // Only this program's events: those of libraries may contain requests.
        let own = Targets::new().with_target("backlinks_export", level);
        let targets = filter.and_then(|filter| filter.parse().ok()).unwrap_or(own);
        let registry = tracing_subscriber::registry().with(targets).with(filter_fn(is_ours));
        let layer =
            tracing_subscriber::fmt::layer().with_writer(console.clone()).with_timer(SystemTime).with_ansi(false);
        // A second call in one process, as in tests, has no effect.
        let _ = match logging.log_format {
            LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
            // On a terminal, the time of day is not needed and space is limited.
            LogFormat::Text if io::stderr().is_terminal() => {
                registry.with(layer.with_target(false).without_time()).try_init()
            }
            LogFormat::Text => registry.with(layer.with_target(false)).try_init(),
        };
        console
    }

    /// From now on, lines are written above this display.
    pub fn attach(&self, progress: &Progress) {
        *self.display.lock() = Some(progress.clone());
    }

    /// Detaches the display, if any, before the command prints its result or error.
    pub fn finish(&self) {
        let display = self.display.lock().clone();
        if let Some(display) = display {
            display.finish();
        }
    }
}

fn is_ours(metadata: &tracing::Metadata<'_>) -> bool {
    metadata.target().starts_with("backlinks_export")
}

impl<'a> MakeWriter<'a> for Console {
    type Writer = LogWriter;

    fn make_writer(&'a self) -> LogWriter {
        let display = self.display.lock().clone();
        LogWriter { display, format: self.format }
    }
}

#[derive(Debug)]
pub struct LogWriter {
    display: Option<Progress>,
    format: LogFormat,
}

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        match (&self.display, self.format) {
            (Some(display), LogFormat::Text) => display.note(text.trim()),
            (Some(display), LogFormat::Json) => display.json_line(text.trim()),
            (None, _) => {
                // The program keeps running if standard error is closed.
                let _ = io::stderr().write_all(bytes);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
