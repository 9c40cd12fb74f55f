//! One thin file per command: settings in, library calls, words out.
//!
//! A command ends with an exit code of the contract, or with a `Failure`, which is told on standard
//! error as `error: …` and perhaps `hint: …`. Standard output carries results alone.

mod inputs;
mod paper;
mod plan;
mod replay;
mod report;
mod result;
mod run;
mod sandbox;
mod schema;
mod signals;

use std::{
    fmt::Display,
    io::{self, Write},
    process::ExitCode,
};

use clap::{CommandFactory, Parser};

use crate::{
    cli::{Cli, Command},
    clock::Clock,
    export::ExportError,
    logging::Console,
    targets::InputError,
    words,
};

/// Exit codes of the contract that no outcome of a run stands behind.
mod exit {
    /// All is well.
    pub(super) const SUCCESS: u8 = 0;
    /// An unexpected error; what was paid for is kept.
    pub(super) const ERROR: u8 = 1;
    /// A wrong flag or input, found before the first call.
    pub(super) const USAGE: u8 = 2;
}

/// What a command has at hand.
struct Context {
    clock: Clock,
    console: Console,
}

/// Why a command ended early.
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

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Self {
        if error.is_usage() {
            return Self::usage(error);
        }
        Self::unexpected(error).hint("everything fetched is kept; once that is mended, run the same command again")
    }
}

impl From<InputError> for Failure {
    fn from(error: InputError) -> Self {
        let hint = error.hint();
        Self { exit: exit::USAGE, error: error.to_string(), hint }
    }
}

/// Runs the program with the arguments and the environment of this process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output, errors to standard error; neither may fail the program.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::SUCCESS });
        }
    };
    #[expect(clippy::disallowed_methods, reason = "the entry of the command line")]
    let filter = std::env::var("RUST_LOG").ok();
    let context = Context { clock: Clock::system(), console: Console::start(&cli.logging, filter.as_deref()) };
    let ended = match cli.command {
        Command::Run(arguments) => run::run(&arguments, &context),
        Command::Plan(arguments) => plan::plan(&arguments, &context),
        Command::Replay(arguments) => replay::replay(&arguments, &context),
        Command::Report(arguments) => report::report(&arguments),
        Command::Schema(arguments) => schema::schema(&arguments),
        Command::Sandbox(arguments) => sandbox::serve(arguments),
        Command::Completions { shell } => paper::completions(shell),
        Command::Man => paper::man(),
    };
    ended.map_or_else(|failure| ExitCode::from(tell(&failure)), ExitCode::from)
}

/// Says on standard error what went wrong and how to go on; gives the exit code.
fn tell(failure: &Failure) -> u8 {
    complain(&failure.error, failure.hint.as_deref());
    failure.exit
}

/// `error: …` and `hint: …` on standard error. Untrusted text is made harmless; a closed pipe does no harm.
fn complain(error: &str, hint: Option<&str>) {
    let hint = hint.map(|hint| format!("hint: {}\n", words::plain(hint))).unwrap_or_default();
    let text = format!("error: {}\n{hint}", words::plain(error));
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Writes a result to standard output. Whoever reads it may have gone already, which is no error.
fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::unexpected(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// The runtime of commands that call or serve. Two threads: answers are understood on one while the other calls.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    const WORKERS: usize = 2;
    let built = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build();
    built.map_err(|error| Failure::unexpected(format!("cannot start the runtime: {error}")))
}

/// The command line's definition, for what is derived from it.
fn definition() -> clap::Command {
    Cli::command()
}
