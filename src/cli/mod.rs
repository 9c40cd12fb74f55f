//! The command line: flags and environment to checked values. Every default lives here.
//!
//! Never reads an input file or opens a connection. An invalid value is reported here, with exit code 2, before
//! anything else happens.

mod call;
mod config;
mod flags;
mod rate_limits;
mod texts;
mod token;
mod values;

use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
};

use clap::{
    Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum,
    builder::Resettable,
    error::{ContextKind, ContextValue},
};

pub use self::{
    call::{BodyArg, CallArgs},
    config::ConfigError,
    flags::{
        AfterPublishArgs, ConfigArgs, DatasetArgs, DisplayArgs, Format, InputArgs, LogFormat, Logging, QueryArgs,
        ReuseArgs, RunOnlyArgs,
    },
    rate_limits::{AccountPlan, RateArgs, TooManyShards},
    token::{Token, TokenError},
};
use crate::sandbox;

/// Export the backlinks history of many domains to partitioned Parquet. No paid answer is lost or paid for twice.
#[derive(Debug, Parser)]
#[command(
    name = "backlinks-export",
    version,
    after_help = texts::EXAMPLES,
    after_long_help = texts::MORE,
    max_term_width = 100,
    disable_help_subcommand = true
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub logging: Logging,
}

/// Why a command line cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// Includes requests for help and the version.
    #[error(transparent)]
    Line(#[from] clap::Error),
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl Cli {
    /// Parses a command line and the config file that it names.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, UsageError> {
        let arguments: Vec<OsString> = arguments.into_iter().collect();
        let command = without_empty_variables(Self::command(), |name| std::env::var_os(name));
        let command = config::with_file(without_api_variable(command, &arguments), &arguments)?;
        let matches = command.try_get_matches_from(arguments);
        Ok(matches.and_then(|matches| Self::from_arg_matches(&matches)).map_err(without_credentials)?)
    }
}

/// An empty variable counts as unset: CI services set every variable that a job may have.
fn without_empty_variables(command: clap::Command, value: fn(&OsStr) -> Option<OsString>) -> clap::Command {
    command.mut_subcommands(|command| {
        command.mut_args(|argument| {
            let is_empty = argument.get_env().and_then(value).is_some_and(|value| value.is_empty());
            if is_empty { argument.env(Resettable::Reset) } else { argument }
        })
    })
}

/// With `--sandbox`, the variable for `--api` counts as unset, so that a job which sets it for all its steps can still
/// use the sandbox. Both flags on one command line are an error.
fn without_api_variable(command: clap::Command, arguments: &[OsString]) -> clap::Command {
    if !arguments.iter().take_while(|argument| *argument != "--").any(|argument| argument == "--sandbox") {
        return command;
    }
    let reset =
        |argument: clap::Arg| if argument.get_id() == "api" { argument.env(Resettable::Reset) } else { argument };
    command.mut_subcommands(|command| command.mut_args(reset))
}

/// Keeps the invalid value in the message, but not the credentials in a URL.
fn without_credentials(mut error: clap::Error) -> clap::Error {
    let redacted = match error.get(ContextKind::InvalidValue) {
        Some(ContextValue::String(value)) => value.split_once("://").and_then(|(scheme, rest)| {
            let (_, host) = rest.rsplit_once('@')?;
            Some(format!("{scheme}://…@{host}"))
        }),
        _ => None,
    };
    if let Some(value) = redacted {
        error.insert(ContextKind::InvalidValue, ContextValue::String(value));
    }
    error
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Fetch every target, then publish the dataset; run again on the same DIR to resume
    #[command(after_help = texts::RUN_EXAMPLES, after_long_help = texts::RUN_MORE)]
    Run(RunArgs),
    /// Show what a run would do and cost; makes no paid calls
    #[command(after_help = texts::PLAN_EXAMPLES, mut_args(RunOnlyArgs::hidden()))]
    Plan(PlanArgs),
    /// Check the token, API, DIR and machine before a run; makes no paid calls
    #[command(
        after_help = texts::DOCTOR_EXAMPLES,
        mut_args(RunOnlyArgs::hidden()),
        mut_arg("inputs", |inputs| inputs.required(false)),
        mut_arg("out", |out| out.help("The run's directory, to check whether it can be used"))
    )]
    Doctor(PlanArgs),
    /// Rebuild a dataset from the ledgers of one or more runs; makes no calls
    #[command(
        after_help = texts::REPLAY_EXAMPLES,
        mut_arg("max_failures", |max_failures| max_failures.long_help(None::<&str>)),
        mut_arg("report", |report| report.help("Write DIR2/report.html after publishing"))
    )]
    Replay(ReplayArgs),
    /// Check that input, ledger, Parquet files and cost of DIR agree; exits 0 only if they do
    Verify(VerifyArgs),
    /// Write a self-contained HTML report of a dataset, with charts
    Report(ReportArgs),
    /// Print the schema of the tables
    Schema(SchemaArgs),
    /// Serve the simulated API, with configurable faults and a bill
    #[command(after_help = texts::SANDBOX_EXAMPLES)]
    Sandbox(SandboxArgs),
    /// Print shell completions
    Completions {
        /// Shell to generate completions for
        shell: clap_complete::Shell,
    },
    /// Print a man page, or write them all to a directory
    Man(ManArgs),
}

#[derive(Debug, Args)]
pub struct RunArgs {
    /// The run's directory, for the dataset and the answers it is built from
    #[arg(long, short, value_name = "DIR")]
    pub out: PathBuf,
    #[command(flatten)]
    pub job: JobArgs,
}

/// Flags of `plan` and `doctor`: those of `run`, and the output format.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The run's directory, to check which answers are already stored
    #[arg(long, short, value_name = "DIR")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub job: JobArgs,
    /// Output format: text or json
    #[arg(long, default_value = "text", value_name = "FORMAT", hide_possible_values = true, help_heading = "Output")]
    pub format: Format,
}

/// What a run does, except for its directory.
#[derive(Debug, Args)]
pub struct JobArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    #[command(flatten)]
    pub input: InputArgs,
    #[command(flatten)]
    pub query: QueryArgs,
    #[command(flatten)]
    pub reuse: ReuseArgs,
    #[command(flatten)]
    pub call: CallArgs,
    #[command(flatten)]
    pub own: RunOnlyArgs,
}

#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Directories of runs; if several contain the same target, the newest answer is used
    #[arg(required = true, value_name = "DIR")]
    pub sources: Vec<PathBuf>,
    /// The directory of the new dataset
    #[arg(long, short, value_name = "DIR2")]
    pub out: PathBuf,
    /// Replace a dataset in DIR2 that was built from other runs
    #[arg(long)]
    pub replace: bool,
    #[command(flatten)]
    pub config: ConfigArgs,
    #[command(flatten)]
    pub dataset: DatasetArgs,
    #[command(flatten)]
    pub after: AfterPublishArgs,
    #[command(flatten)]
    pub display: DisplayArgs,
}

#[derive(Debug, Args)]
pub struct ManArgs {
    /// Command to print the page of [default: the program itself]
    #[arg(value_name = "COMMAND", value_parser = COMMANDS)]
    pub command: Option<String>,
    /// Write the man pages of the program and all commands to this directory
    #[arg(long, short, value_name = "DIR", conflicts_with = "command")]
    pub out: Option<PathBuf>,
}

const COMMANDS: [&str; 10] =
    ["run", "plan", "doctor", "replay", "verify", "report", "schema", "sandbox", "completions", "man"];

#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Directory of a run or replay with a published dataset
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Write the page to this file, or to standard output (`-`) [default: DIR/report.html]
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Directory of a run, or of a dataset built by `replay`
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Output format on standard output
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    pub format: Format,
}

#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// Format of the schema
    #[arg(long, default_value = "arrow", value_name = "FORMAT")]
    pub format: SchemaFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SchemaFormat {
    /// Column names, Arrow types and nullability
    Arrow,
    /// CREATE TABLE statements for DuckDB
    Duckdb,
    /// CREATE TABLE statements for Spark
    Spark,
    /// Markdown tables
    Markdown,
}

#[derive(Debug, Args)]
pub struct SandboxArgs {
    /// Address to listen on; must be a loopback address
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub listen: std::net::SocketAddr,
    #[command(flatten)]
    pub behavior: sandbox::Settings,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_valid() {
        Cli::command().debug_assert();
    }

    #[test]
    fn credentials_in_a_url_are_not_repeated() {
        let check = |url: &str, shown: &str| {
            let words = ["backlinks-export", "run", "a.txt", "--out", "out", "--publish", url];
            let message = Cli::read(words.map(OsString::from)).unwrap_err().to_string();
            assert!(message.contains(&format!("'{shown}'")), "{message}");
        };
        check("s3://key:secret@bucket/p", "s3://…@bucket/p");
        check("s3://key:sec@ret@bucket/p", "s3://…@bucket/p");
        check("s3:/bucket", "s3:/bucket");
    }

    #[test]
    fn every_command_has_a_man_page() {
        let definition = Cli::command();
        assert_eq!(definition.get_subcommands().map(clap::Command::get_name).collect::<Vec<_>>(), COMMANDS);
    }

    #[test]
    fn plan_and_doctor_accept_every_flag_of_run() {
        let definition = Cli::command();
        let flags = |name: &str| -> Vec<_> {
            let command = definition.find_subcommand(name).expect("a command");
            command
                .get_arguments()
                .map(|flag| (flag.get_long(), flag.get_short(), flag.get_action().takes_values()))
                .collect()
        };
        let (plan, doctor) = (flags("plan"), flags("doctor"));
        for flag in flags("run") {
            assert!(plan.contains(&flag) && doctor.contains(&flag), "{flag:?}");
        }
    }

    #[test]
    fn an_empty_variable_counts_as_unset() {
        let check = |value: fn(&OsStr) -> Option<OsString>, expected: Option<&str>| {
            let command = without_empty_variables(Cli::command(), value);
            for name in ["run", "plan", "doctor"] {
                let command = command.find_subcommand(name).expect("a command");
                let api = command.get_arguments().find(|argument| argument.get_id() == "api").expect("a flag");
                assert_eq!(api.get_env(), expected.map(OsStr::new), "{name}");
            }
        };
        check(|_| Some(OsString::new()), None);
        check(|_| Some("http://localhost:1".into()), Some("BACKLINKS_API_URL"));
        check(|_| None, Some("BACKLINKS_API_URL"));
    }
}
