//! One thin file per command: arguments in, library calls, text out.
//!
//! A command ends with an exit code, or with a `Failure`, which is printed on standard error as `error: …` and perhaps
//! `hint: …`. Standard output is for results only.

mod announce;
mod balance;
mod completions;
mod doctor;
mod hardening;
mod inputs;
mod man;
mod plan;
mod replay;
mod report;
mod result;
mod run;
mod sandbox;
mod schema;
mod signals;
mod upload;
mod verify;

use std::{
    fmt::Display,
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use clap::CommandFactory;
use serde_json::json;

use crate::{
    api::http::SetupError,
    cli::{Cli, Command, JobArgs, LogFormat, TokenError, TooManyShards, UsageError},
    clock::Clock,
    export::ExportError,
    logging::Console,
    sanitize,
    stores::StoreError,
    summary::Signal,
    targets::InputError,
};

/// Exit codes of commands that have no run summary.
mod exit {
    pub(super) const SUCCESS: u8 = 0;
    /// An unexpected error; paid answers are saved.
    pub(super) const ERROR: u8 = 1;
    /// A wrong flag or input, found before the first call.
    pub(super) const USAGE: u8 = 2;
}

struct Context {
    clock: Clock,
    console: Console,
    log_format: LogFormat,
    quiet: bool,
}

impl Context {
    /// `error: …` and `hint: …` on standard error, or the same as a log line of JSON. Untrusted text is
    /// sanitized, and a closed pipe is ignored.
    fn complain(&self, error: &str, hint: Option<&str>) {
        // An interrupted command leaves its progress bar on the line.
        self.console.finish();
        let (error, hint) = (sanitize::plain(error), hint.map(sanitize::plain));
        let text = match self.log_format {
            LogFormat::Json => {
                let timestamp = self.clock.now().to_string();
                format!("{}\n", json!({"timestamp": timestamp, "level": "ERROR", "message": error, "hint": hint}))
            }
            LogFormat::Text => {
                let hint = hint.map(|hint| result::labeled("hint", &hint)).unwrap_or_default();
                format!("{}{hint}", result::labeled("error", &error))
            }
        };
        let _ = io::stderr().write_all(text.as_bytes());
    }
}

#[derive(Debug)]
struct Failure {
    exit: u8,
    error: String,
    hint: Option<String>,
}

impl Failure {
    fn usage(error: impl Display) -> Self {
        Self { exit: exit::USAGE, error: error.to_string(), hint: None }
    }

    fn unexpected(error: impl Display) -> Self {
        Self { exit: exit::ERROR, error: error.to_string(), hint: None }
    }

    /// Ended by a signal, without a summary.
    fn interrupted(signal: Signal, suffix: &str) -> Self {
        let error = format!("interrupted by {} {suffix}", signal.name());
        Self { exit: signal.exit_code(), error, hint: None }
            .hint("all paid answers are saved; run the same command again to resume")
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Self {
        let exit = if error.is_usage() { exit::USAGE } else { exit::ERROR };
        Self { exit, hint: Some(error.hint()), ..Self::unexpected(error) }
    }
}

/// Errors that the user can fix, found before the first call.
macro_rules! usage_errors {
    ($($error:ty),*) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self { hint: error.hint().into(), ..Self::usage(error) }
            }
        }
    )*};
}

usage_errors!(TokenError, TooManyShards, SetupError, InputError, StoreError);

/// Runs the program with the arguments and the environment of this process.
pub fn main() -> ExitCode {
    hardening::set_up();
    // The panic hook has already printed the error.
    std::panic::catch_unwind(command).unwrap_or(ExitCode::from(exit::ERROR))
}

fn command() -> ExitCode {
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(UsageError::Config(error)) => {
            let lines = [("error", error.message), ("hint", error.hint)];
            let lines = lines.map(|(label, text)| result::labeled(label, &sanitize::plain(&text)));
            let _ = io::stderr().write_all(lines.concat().as_bytes());
            return ExitCode::from(exit::USAGE);
        }
        Err(UsageError::Line(error)) => {
            let text = error.render().to_string();
            // The error quotes an argument verbatim.
            if !error.use_stderr() || text.lines().all(sanitize::is_plain) {
                // Prints help to standard output and errors to standard error; failing to print is ignored.
                let _ = error.print();
            } else {
                let lines: Vec<_> = text.lines().map(sanitize::plain).collect();
                let _ = writeln!(io::stderr(), "{}", lines.join("\n"));
            }
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::SUCCESS });
        }
    };
    #[expect(clippy::disallowed_methods, reason = "the entry of the command line")]
    let filter = std::env::var("RUST_LOG").ok();
    let context = Context {
        clock: Clock::system(),
        console: Console::start(&cli.logging, filter.as_deref()),
        log_format: cli.logging.log_format,
        quiet: cli.logging.quiet,
    };
    let ended = match cli.command {
        Command::Run(arguments) => {
            let JobArgs { config, input, call, own, .. } = &arguments.job;
            let read = input.inputs.iter().chain(&call.token_file).chain(&config.config);
            result::check_metrics_path(&own.display, read).and_then(|()| run::run(&arguments, &context))
        }
        Command::Plan(arguments) => plan::plan(&arguments, &context),
        Command::Doctor(arguments) => doctor::doctor(&arguments, &context),
        Command::Replay(arguments) => result::check_metrics_path(&arguments.display, arguments.config.config.iter())
            .and_then(|()| replay::replay(&arguments, &context)),
        Command::Verify(arguments) => verify::verify(&arguments, &context),
        Command::Report(arguments) => report::report(&arguments),
        Command::Schema(arguments) => schema::schema(&arguments),
        Command::Sandbox(arguments) => sandbox::serve(arguments),
        Command::Completions { shell } => completions::completions(shell),
        Command::Man(arguments) => man::man(&arguments),
    };
    ExitCode::from(ended.unwrap_or_else(|failure| {
        context.complain(&failure.error, failure.hint.as_deref());
        failure.exit
    }))
}

/// Whether a path to write to means standard output, which may itself be a file that must not be replaced.
fn is_stdout(path: &Path) -> bool {
    ["-", "/dev/stdout"].iter().any(|name| path == Path::new(name))
}

/// Writes a result to standard output. A closed pipe is not an error.
fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::unexpected(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// The runtime of commands that call or serve: one thread decodes answers while the other makes calls.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    const WORKERS: usize = 2;
    let built = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build();
    built.map_err(|error| Failure::unexpected(format!("cannot start the runtime: {error}")))
}

/// The command line's definition, for completions and man pages.
fn definition() -> clap::Command {
    Cli::command()
}
