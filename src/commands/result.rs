//! Progress and summary of the commands that build a dataset.

use std::{
    fs::OpenOptions,
    io::{self, IsTerminal, Write},
    path::PathBuf,
};

use super::{Context, Failure, is_stdout, print};
use crate::{
    cli::{DatasetArgs, DisplayArgs, Format, LogFormat},
    dataset::{DatasetLayout, write_output},
    environment,
    progress::{ExportScope, Progress, Requested, TerminalTraits, mode},
    sanitize,
    summary::{RunSummary, wrapped},
};

/// Columns without a terminal.
const USUAL_WIDTH: usize = 100;
/// Longer lines are hard to read.
const WIDEST: usize = 120;
/// Lines are not squeezed below this.
const NARROWEST: usize = 30;

impl From<&DatasetArgs> for DatasetLayout {
    fn from(arguments: &DatasetArgs) -> Self {
        Self {
            partition_by: arguments.partition_by.clone(),
            compression: arguments.compression,
            integer_encoding: arguments.parquet_encoding,
            row_group_rows: arguments.row_group_rows,
        }
    }
}

/// Starts the progress display that suits the environment.
pub(super) fn display(arguments: &DisplayArgs, context: &Context, scope: ExportScope) -> Progress {
    let terminal = io::stderr().is_terminal();
    let requested = match arguments.progress {
        Requested::Auto if context.quiet => Requested::None,
        // Programs that parse log lines have to parse the progress lines between them.
        Requested::Auto if context.log_format == LogFormat::Json => Requested::Json,
        requested => requested,
    };
    let environment =
        TerminalTraits { terminal, ci: is_ci(), dumb: environment::variable("TERM").as_deref() == Some("dumb") };
    Progress::start(mode(requested, environment), terminal && has_color(), scope)
}

/// Refuses a metrics file that could not be written at the end, or would replace a file that the command reads.
pub(super) fn check_metrics_path<'a>(
    arguments: &DisplayArgs,
    mut read: impl Iterator<Item = &'a PathBuf>,
) -> Result<(), Failure> {
    let Some(path) = &arguments.metrics else { return Ok(()) };
    let existing = path.canonicalize().ok().filter(|path| path.is_file());
    if existing.is_some() && read.any(|file| file.canonicalize().ok() == existing) {
        let error = format!("--metrics {} would replace a file that this command reads", sanitize::path(path));
        return Err(Failure::usage(error).hint("use another path"));
    }
    if path.is_dir() {
        return Err(
            Failure::usage(format!("--metrics {} is a directory", sanitize::path(path))).hint("use the path of a file")
        );
    }
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
            let error = format!("--metrics: the directory {} does not exist", sanitize::path(folder));
            Err(Failure::usage(error).hint("create the directory, or use another path"))
        }
        _ => Ok(()),
    }
}

/// Shows the summary on standard output, and its error on standard error.
pub(super) fn show(summary: &RunSummary, arguments: &DisplayArgs, context: &Context) -> Result<u8, Failure> {
    let stdout = io::stdout();
    let text = match arguments.summary {
        Format::Json => format!("{}\n", summary.json()),
        Format::Text => summary.text(width(&console::Term::stdout()), stdout.is_terminal() && has_color()),
    };
    print(&text)?;
    write_files(summary, arguments)?;
    if let Some(error) = &summary.error {
        context.complain(error, summary.hint.as_deref());
    }
    Ok(summary.exit_code)
}

/// Columns of a terminal for lines of text.
pub(super) fn width(terminal: &console::Term) -> usize {
    terminal.size_checked().map_or(USUAL_WIDTH, |(_, columns)| usize::from(columns).min(WIDEST))
}

/// Writes the summary to the files that were asked for. One that cannot be written is a warning.
fn write_files(summary: &RunSummary, arguments: &DisplayArgs) -> Result<(), Failure> {
    match &arguments.metrics {
        Some(path) if is_stdout(path) => print(&summary.metrics())?,
        Some(path) => {
            if let Err(error) = write_output(path, &summary.metrics()) {
                tracing::warn!("cannot write the metrics: {}", sanitize::plain(&error.to_string()));
            }
        }
        None => {}
    }
    // GitHub shows what a step appends to this file on the page of the workflow run.
    if let Some(path) = environment::variable("GITHUB_STEP_SUMMARY") {
        let appended = OpenOptions::new().create(true).append(true).open(&path);
        let written = appended.and_then(|mut file| writeln!(file, "### backlinks-export\n\n{}", summary.markdown()));
        if let Err(error) = written {
            tracing::warn!("cannot write the step summary: {error}");
        }
    }
    Ok(())
}

/// `error: …` or `hint: …`; on a terminal in color and wrapped.
pub(super) fn labeled(label: &str, words: &str) -> String {
    let line = format!("{label}: {words}");
    let stderr = io::stderr();
    if !stderr.is_terminal() {
        return line + "\n";
    }
    let lines = wrapped(&line, width(&console::Term::stderr()).max(NARROWEST)).join("\n");
    let style = if label == "error" { "\x1b[1;31m" } else { "\x1b[36m" };
    if has_color() { lines.replacen(label, &format!("{style}{label}\x1b[0m"), 1) + "\n" } else { lines + "\n" }
}

/// Whether colors are welcome, by the convention of `NO_COLOR`.
pub(super) fn has_color() -> bool {
    !is_set("NO_COLOR")
}

/// Whether the program runs in a CI job.
pub(super) fn is_ci() -> bool {
    is_set("CI")
}

fn is_set(name: &str) -> bool {
    environment::variable(name).is_some_and(|value| value != "false")
}
