//! The command line: flags and environment to checked values. Every default lives here.
//!
//! Nothing here reads an input file or opens a connection: what a flag's text can tell is found wrong
//! here, before anything else happens, with exit code 2.

mod token;
mod values;

use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::civil::Date;

pub use self::{
    token::{Token, TokenError},
    values::Shard,
};
use crate::{
    api::{BodyForm, RankScale},
    dataset::{Compression, Options, PartitionBy},
    fetch::pace::Rate,
    money::Usd,
    outcome::MaxFailures,
    progress::Requested,
    sandbox,
};

/// Where the API is, unless `--api` says otherwise.
const API: &str = "https://api.aisa.one/apis/v1";

const EXAMPLES: &str = "\
Examples:
  backlinks-export run inputs/domains.txt --sandbox --out out/demo    try it: simulated API, no token, no cost
  backlinks-export plan portfolio.csv                                 what it would cost, without a paid call
  backlinks-export run portfolio.csv --max-cost 50 --out out/audit    buy at most 50 dollars' worth; run it again to go on
";

/// Export backlinks history of many domains to partitioned Parquet. A paid answer is never lost and never bought twice.
#[derive(Debug, Parser)]
#[command(name = "backlinks-export", version, after_help = EXAMPLES, max_term_width = 110, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How much to tell.
    #[command(flatten)]
    pub logging: Logging,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Fetch every target, then publish the dataset; run it again on the same DIR to go on
    Run(RunArgs),
    /// Say what a run would do and cost; makes no paid call
    Plan(PlanArgs),
    /// Build a dataset anew from the ledgers of one or several runs; makes no call
    Replay(ReplayArgs),
    /// Make one HTML page of a dataset, with plots; it works offline
    Report(ReportArgs),
    /// Print the tables' schema
    Schema(SchemaArgs),
    /// Serve the simulated API, with faults and a bill
    Sandbox(SandboxArgs),
    /// Print completions for a shell
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Print the man page
    Man,
}

/// Flags that every command takes.
#[derive(Debug, Args)]
pub struct Logging {
    /// Form of the log lines on standard error
    #[arg(long, value_enum, default_value_t = LogFormat::Text, global = true, value_name = "FORMAT", help_heading = "Output")]
    pub log_format: LogFormat,
    /// Log more: -v each call, -vv everything
    #[arg(short, long, action = clap::ArgAction::Count, global = true, help_heading = "Output")]
    pub verbose: u8,
    /// Log errors alone
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Output")]
    pub quiet: bool,
}

/// Form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What is exported: files of domains.
#[derive(Debug, Args)]
pub struct InputArgs {
    /// Files of domains: .txt, .csv or .tsv, also .gz or .zst; `-` is standard input
    #[arg(required = true, value_name = "INPUT")]
    pub inputs: Vec<PathBuf>,
    /// Column of a CSV file that holds the domains [default: domain, target, url, website or host]
    #[arg(long, value_name = "NAME", help_heading = "Input")]
    pub column: Option<String>,
    /// Take IP addresses as targets; the API may not know them
    #[arg(long, help_heading = "Input")]
    pub allow_ip: bool,
    /// The I-th of N disjoint shares of the targets; rate and concurrency are divided by N
    #[arg(long, value_name = "I/N", default_value = "1/1", help_heading = "Input")]
    pub shard: Shard,
}

/// What is asked of every target.
#[derive(Debug, Args)]
pub struct QuestionArgs {
    /// First day of the history [default: 2019-01-01]
    #[arg(long, value_name = "DATE", value_parser = values::date, help_heading = "Question")]
    pub date_from: Option<Date>,
    /// Last day of the history [default: today in UTC at the first run of DIR]
    #[arg(long, value_name = "DATE", value_parser = values::date, help_heading = "Question")]
    pub date_to: Option<Date>,
    /// Scale of the column rank [default: `one_thousand`]
    #[arg(long, value_enum, value_name = "SCALE", help_heading = "Question")]
    pub rank_scale: Option<RankScale>,
    /// Text that the API echoes in its records [default: the run id]
    #[arg(long, value_parser = values::tag, help_heading = "Question")]
    pub tag: Option<String>,
}

/// Where the API is and how it is called.
#[derive(Debug, Args)]
pub struct CallArgs {
    /// Base URL of the API
    #[arg(long, value_name = "URL", env = "BACKLINKS_API_URL", default_value = API, help_heading = "API")]
    pub api: String,
    /// Export from the built-in simulated API: no token, no cost
    #[arg(long, help_heading = "API")]
    pub sandbox: bool,
    /// File with the API token [default: the environment's `AISA_API_KEY`]
    #[arg(long, value_name = "FILE", help_heading = "API")]
    pub token_file: Option<PathBuf>,
    /// Form of the request's body
    #[arg(long, value_enum, default_value_t = Body::Auto, value_name = "FORM", help_heading = "API")]
    pub body: Body,
    /// Plan of the account: sets rate and concurrency [default: starter]
    #[arg(long, value_enum, help_heading = "Pace")]
    pub plan: Option<Plan>,
    /// Calls in any sliding period at most, retries included: 600/min, 10/s, 5000/h
    #[arg(long, value_name = "N/PERIOD", value_parser = values::rate, help_heading = "Pace")]
    pub rate: Option<Rate>,
    /// Calls in flight at most
    #[arg(long, value_name = "N", help_heading = "Pace")]
    pub concurrency: Option<NonZeroU32>,
    /// Tries for one target
    #[arg(long, value_name = "N", default_value = "6", help_heading = "Pace")]
    pub max_attempts: NonZeroU32,
    /// One attempt, from connecting to the last byte
    #[arg(long, value_name = "DURATION", default_value = "130s", value_parser = values::duration, help_heading = "Pace")]
    pub timeout: Duration,
    /// How long the API may be down before the run stops, to be gone on with later
    #[arg(long, value_name = "DURATION", default_value = "10min", value_parser = values::duration, help_heading = "Pace")]
    pub max_outage: Duration,
    /// Hard cap on what DIR may cost in all; never exceeded, calls in flight counted in
    #[arg(long, value_name = "USD", value_parser = values::usd, help_heading = "Money")]
    pub max_cost: Option<Usd>,
}

/// Form of the request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Body {
    /// Whichever the API understands, the array first.
    Auto,
    /// `[{"target": …}]`
    Array,
    /// `{"target": …}`
    Object,
}

/// Plans of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Plan {
    /// 60 a minute, 5 in flight
    Free,
    /// 600 a minute, 20 in flight
    Starter,
    /// 3,000 a minute, 30 in flight
    Growth,
    /// 2,000 a minute, 30 in flight
    Dataforseo,
}

impl Plan {
    /// Calls a minute and in flight.
    pub fn limits(self) -> (u32, u32) {
        match self {
            Self::Free => (60, 5),
            Self::Starter => (600, 20),
            Self::Growth => (3000, 30),
            Self::Dataforseo => (2000, 30),
        }
    }
}

/// Calls a minute and in flight when the simulated API is in the same process.
const SANDBOX_LIMITS: (u32, u32) = (6000, 30);

impl CallArgs {
    /// Rate and concurrency of one of `shard`'s shares.
    pub fn limits(&self, shard: Shard) -> (Rate, NonZeroU32) {
        let plan = match self.plan {
            None if self.sandbox => SANDBOX_LIMITS,
            plan => plan.unwrap_or(Plan::Starter).limits(),
        };
        let per_minute = |calls| Rate { calls, period: Duration::from_mins(1) };
        let rate = self.rate.unwrap_or_else(|| per_minute(NonZeroU32::new(plan.0).unwrap_or(NonZeroU32::MIN)));
        let concurrency = self.concurrency.map_or(plan.1, NonZeroU32::get) / shard.of.get();
        (shard.rate(rate), NonZeroU32::new(concurrency).unwrap_or(NonZeroU32::MIN))
    }

    /// The form of the body; `None`: to be found out.
    pub fn body_form(&self) -> Option<BodyForm> {
        match self.body {
            Body::Auto => None,
            Body::Array => Some(BodyForm::Array),
            Body::Object => Some(BodyForm::Object),
        }
    }
}

/// The form of the dataset.
#[derive(Clone, Debug, Args)]
pub struct DatasetArgs {
    /// Partitions of the dataset: of year, month and `run_date`; or none
    #[arg(long, value_name = "LIST", default_value = "year", help_heading = "Dataset")]
    pub partition_by: PartitionBy,
    /// Compression of Parquet pages: zstd:LEVEL, snappy, lz4 or none
    #[arg(long, value_name = "CODEC", default_value = "zstd:1", help_heading = "Dataset")]
    pub compression: Compression,
    /// Rows in a Parquet row group at most
    #[arg(long, value_name = "ROWS", default_value_t = Options::ROW_GROUP_ROWS, value_parser = values::rows, help_heading = "Dataset")]
    pub row_group_rows: usize,
}

/// What is shown while a command runs, and at its end.
#[derive(Debug, Args)]
pub struct DisplayArgs {
    /// Progress on standard error
    #[arg(long, value_enum, default_value_t = Requested::Auto, value_name = "KIND", help_heading = "Output")]
    pub progress: Requested,
    /// The result on standard output
    #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT", help_heading = "Output")]
    pub summary: Format,
}

/// Form of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

/// Flags of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// What is exported.
    #[command(flatten)]
    pub input: InputArgs,
    /// The run's directory
    #[arg(long, short, value_name = "DIR")]
    pub out: PathBuf,
    /// What is asked.
    #[command(flatten)]
    pub question: QuestionArgs,
    /// How the API is called.
    #[command(flatten)]
    pub call: CallArgs,
    /// The form of the dataset.
    #[command(flatten)]
    pub dataset: DatasetArgs,
    /// Failed targets tolerated before exit code 3: a number or a percentage
    #[arg(long, value_name = "N|P%", default_value = "0", help_heading = "Dataset")]
    pub max_failures: MaxFailures,
    /// Drop the ledger's answers once the dataset is published; it can then not be built anew
    #[arg(long, help_heading = "Dataset")]
    pub discard_raw: bool,
    /// Make DIR/report.html of the dataset once it is published
    #[arg(long, help_heading = "Dataset")]
    pub report: bool,
    /// Ask on a terminal before spending more than this
    #[arg(long, value_name = "USD", default_value = "10", value_parser = values::usd, help_heading = "Money")]
    pub confirm_above: Usd,
    /// Do not ask before spending
    #[arg(long, short, help_heading = "Money")]
    pub yes: bool,
    /// What is shown.
    #[command(flatten)]
    pub display: DisplayArgs,
}

/// Flags of `plan`: those of `run`, and the form of the answer.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// What is exported.
    #[command(flatten)]
    pub input: InputArgs,
    /// The run's directory, to see what it already holds
    #[arg(long, short, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// What is asked.
    #[command(flatten)]
    pub question: QuestionArgs,
    /// How the API is called.
    #[command(flatten)]
    pub call: CallArgs,
    /// What a plan does not need.
    #[command(flatten)]
    pub ignored: RunOnlyArgs,
    /// Form of the plan
    #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub format: Format,
}

/// Flags of `run` that change nothing in a plan; taken so that one command line serves both.
#[derive(Debug, Args)]
#[command(next_help_heading = "Taken as `run` does, without effect here")]
pub struct RunOnlyArgs {
    #[arg(long, hide = true, default_value = "year")]
    partition_by: PartitionBy,
    #[arg(long, hide = true, default_value = "zstd:1")]
    compression: Compression,
    #[arg(long, hide = true)]
    row_group_rows: Option<usize>,
    #[arg(long, hide = true)]
    max_failures: Option<MaxFailures>,
    #[arg(long, hide = true)]
    discard_raw: bool,
    #[arg(long, hide = true)]
    report: bool,
    #[arg(long, hide = true, value_parser = values::usd)]
    confirm_above: Option<Usd>,
    #[arg(long, short, hide = true)]
    yes: bool,
    #[arg(long, hide = true)]
    progress: Option<Requested>,
    #[arg(long, hide = true)]
    summary: Option<Format>,
}

/// Flags of `replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Directories of runs; a target that several hold is taken from the newest answer
    #[arg(required = true, value_name = "DIR")]
    pub sources: Vec<PathBuf>,
    /// The directory of the new dataset
    #[arg(long, short, value_name = "DIR2")]
    pub out: PathBuf,
    /// The form of the dataset.
    #[command(flatten)]
    pub dataset: DatasetArgs,
    /// Failed targets tolerated before exit code 3: a number or a percentage
    #[arg(long, value_name = "N|P%", default_value = "0", help_heading = "Dataset")]
    pub max_failures: MaxFailures,
    /// What is shown.
    #[command(flatten)]
    pub display: DisplayArgs,
}

/// Flags of `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The directory of a run or a replay that has published its dataset
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// The page's file [default: DIR/report.html]
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Flags of `schema`.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// For whom
    #[arg(long, value_enum, default_value_t = SchemaFormat::Arrow, value_name = "FORMAT")]
    pub format: SchemaFormat,
}

/// Forms of the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SchemaFormat {
    /// Column, Arrow type and whether null is possible
    Arrow,
    /// CREATE TABLE statements for DuckDB
    Duckdb,
    /// DDL strings for Spark
    Spark,
    /// Tables in Markdown
    Markdown,
}

/// Flags of `sandbox`.
#[derive(Debug, Args)]
pub struct SandboxArgs {
    /// Address to listen on; only loopback makes sense
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub listen: std::net::SocketAddr,
    /// How it behaves.
    #[command(flatten)]
    pub behaviour: sandbox::Settings,
}
