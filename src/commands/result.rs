//! The result of a command that builds a dataset: its display, and its words at the end.

use std::{
    fs::OpenOptions,
    io::{self, IsTerminal, Write},
};

use super::{Failure, complain, print};
use crate::{
    cli::{DatasetArgs, DisplayArgs, Format},
    dataset::replace_file,
    export::Form,
    outcome::Outcome,
    progress::{Plan, Progress, Surroundings, mode},
    words,
};

/// Columns where nobody can tell how wide the terminal is.
const USUAL_WIDTH: usize = 100;

impl From<&DatasetArgs> for Form {
    fn from(arguments: &DatasetArgs) -> Self {
        Self {
            partition_by: arguments.partition_by.clone(),
            compression: arguments.compression,
            row_group_rows: arguments.row_group_rows,
        }
    }
}

/// Starts the display that suits where the program runs.
pub(super) fn display(arguments: &DisplayArgs, plan: Plan) -> Progress {
    let terminal = io::stderr().is_terminal();
    let surroundings = Surroundings { terminal, ci: is_set("CI"), dumb: variable("TERM").as_deref() == Some("dumb") };
    Progress::start(mode(arguments.progress, surroundings), terminal && has_colour(), plan)
}

/// Tells the outcome: the result on standard output, what is wrong on standard error.
pub(super) fn finish(outcome: &Outcome, arguments: &DisplayArgs) -> Result<u8, Failure> {
    let stdout = io::stdout();
    let text = match arguments.summary {
        Format::Json => format!("{}\n", outcome.json()),
        Format::Text => outcome.text(USUAL_WIDTH, stdout.is_terminal() && has_colour()),
    };
    print(&text)?;
    tell_machines(outcome, arguments);
    if let Some((error, hint)) = outcome.error() {
        complain(&error, hint.as_deref());
    }
    Ok(outcome.exit_code())
}

/// Tells the outcome to those who asked for a file. A file that cannot be written is told, and changes nothing.
fn tell_machines(outcome: &Outcome, arguments: &DisplayArgs) {
    if let Some(path) = &arguments.metrics
        && let Err(error) = replace_file(path, &outcome.metrics())
    {
        tracing::warn!("the metrics were not written: {}", words::plain(&error.to_string()));
    }
    // GitHub's runners show what a step appends to this file on the page of the run.
    if let Some(path) = variable("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) {
        let appended = OpenOptions::new().create(true).append(true).open(&path);
        let written = appended.and_then(|mut file| writeln!(file, "### backlinks-export\n\n{}", outcome.markdown()));
        if let Err(error) = written {
            tracing::warn!("the step summary was not written: {error}");
        }
    }
}

/// Whether colours are welcome, by the convention of `NO_COLOR`.
fn has_colour() -> bool {
    !is_set("NO_COLOR")
}

fn is_set(name: &str) -> bool {
    variable(name).is_some_and(|value| !value.is_empty() && value != "false")
}

#[expect(clippy::disallowed_methods, reason = "a command may look at its surroundings")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
