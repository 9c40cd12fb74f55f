//! Groups of flags that several commands share.

use std::{path::PathBuf, time::Duration};

use clap::{Arg, Args, Command, ValueEnum};
use encoding_rs::Encoding;
use jiff::civil::Date;

use super::values;
use crate::{
    api::RankScale,
    dataset::{Compression, DatasetLayout, IntegerEncoding, PartitionBy},
    money::Usd,
    progress::Requested,
    stores::StoreUrl,
    summary::MaxFailures,
    targets::{InputFormat, Shard},
};

/// Flags that every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct Logging {
    /// Format of log lines on standard error
    #[arg(long, default_value = "text", global = true, value_name = "FORMAT", hide_short_help = true)]
    pub log_format: LogFormat,
    /// Log more: -v for each call, -vv for everything; `RUST_LOG` overrides both
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
    /// Log only errors, and show no progress unless --progress is given
    #[arg(short, long, global = true, conflicts_with = "verbose", hide_short_help = true)]
    pub quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Human-readable text.
    Text,
    /// One JSON object per line.
    Json,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Input")]
pub struct InputArgs {
    /// Files of domains: .txt, .csv or .tsv, optionally .gz or .zst; `-` for standard input
    #[arg(required = true, value_name = "INPUT", help_heading = None::<&str>)]
    pub inputs: Vec<PathBuf>,
    /// Column with the domains [default: domain, target, url, website or host]
    #[arg(long, value_name = "NAME")]
    pub column: Option<String>,
    /// Format of standard input and of files without a known extension: auto, txt, csv or tsv
    ///
    /// `auto` reads text as a table if its first line is a header with a column of domains. The extensions .csv and
    /// .tsv always take precedence.
    #[arg(long, default_value = "auto", value_name = "FORMAT", hide_short_help = true, hide_possible_values = true)]
    pub input_format: InputFormat,
    /// Encoding of the files, such as windows-1251 or gbk [default: UTF-8, or UTF-16 if there is a BOM]
    ///
    /// Any label of the WHATWG Encoding Standard. A byte order mark in a file takes precedence. Lines with bytes that
    /// are not valid in the encoding are rejected.
    #[arg(long, value_name = "NAME", value_parser = values::encoding, hide_short_help = true)]
    pub input_encoding: Option<&'static Encoding>,
    /// Accept IP addresses as targets; the API may have no data for them
    #[arg(long, hide_short_help = true)]
    pub allow_ip: bool,
    /// Accept public suffixes such as gov.uk as targets; some have a website of their own
    #[arg(long, hide_short_help = true)]
    pub allow_suffix: bool,
    /// Process shard I of N at 1/N of the rate
    #[arg(long, value_name = "I/N", default_value = "1/1")]
    pub shard: Shard,
}

#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// Read flags from this TOML file; the command line overrides it
    ///
    /// Each key is a long flag: `max-cost = 50`, `sandbox = true`; INPUT is `input = ["a.txt"]`, and DIR of `replay` is
    /// `dir`. The file overrides environment variables and defaults. Paths are relative to the current directory, as
    /// on the command line. The token must not be in this file.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// What is requested for every target.
#[derive(Debug, Args)]
#[command(next_help_heading = "Query")]
pub struct QueryArgs {
    /// First day of the history [default: 2019-01-01]
    #[arg(long, value_name = "DATE", value_parser = values::date)]
    pub date_from: Option<Date>,
    /// Last day of the history [default: the UTC date of the first run of DIR]
    #[arg(long, value_name = "DATE", value_parser = values::date)]
    pub date_to: Option<Date>,
    /// Scale of the `rank` column [default: 0 to 1,000]
    #[arg(long, value_name = "SCALE", hide_short_help = true)]
    pub rank_scale: Option<RankScale>,
    /// Text that the API echoes in its answers [default: the run id]
    ///
    /// Set by the first run of DIR: later runs ignore this flag.
    #[arg(long, value_parser = values::tag, hide_short_help = true)]
    pub tag: Option<String>,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Dataset")]
pub struct DatasetArgs {
    /// Partition columns, comma-separated: year, month and `run_date`, or none
    #[arg(long, value_name = "LIST", default_value = "year")]
    pub partition_by: PartitionBy,
    /// Parquet compression: zstd:LEVEL, snappy, lz4 or none
    #[arg(long, value_name = "CODEC", default_value = "zstd:1", hide_short_help = true)]
    pub compression: Compression,
    /// Encoding of integers: delta, or plain for readers that do not support it (Power BI, Spark before 3.3)
    #[arg(long, value_name = "ENCODING", default_value = "delta", hide_short_help = true)]
    pub parquet_encoding: IntegerEncoding,
    /// Maximum rows in a Parquet row group
    #[arg(
        long,
        value_name = "ROWS",
        default_value_t = DatasetLayout::ROW_GROUP_ROWS,
        value_parser = values::rows,
        hide_short_help = true
    )]
    pub row_group_rows: usize,
    /// Failed targets tolerated before exit code 3: 5 or 1%
    ///
    /// A run with at most this many failures counts as complete: running it again makes no calls. To retry the failed
    /// targets, use `run DIR/_failures.csv --out DIR`.
    #[arg(long, value_name = "N|P%", default_value = "0")]
    pub max_failures: MaxFailures,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct DisplayArgs {
    /// Progress on standard error: auto, bar, plain, json or none
    ///
    /// `auto` shows a bar on a terminal, and a line every ten seconds elsewhere. `plain` always prints lines, `json` an
    /// object every ten seconds.
    #[arg(long, default_value = "auto", value_name = "KIND", hide_possible_values = true)]
    pub progress: Requested,
    /// Summary on standard output: text or json
    #[arg(long, default_value = "text", value_name = "FORMAT", hide_possible_values = true)]
    pub summary: Format,
    /// Write the summary as metrics in Prometheus text format; `-` is standard output
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub metrics: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Human-readable text.
    Text,
    /// One JSON object.
    Json,
}

/// Which stored answers may be used.
#[derive(Debug, Args)]
#[command(next_help_heading = "Query")]
pub struct ReuseArgs {
    /// Re-fetch answers older than this: 30d, 2w, 12h [default: never]
    ///
    /// These calls request the history up to today, unless --date-to is given. An older answer is used until its newer
    /// one has arrived. To resume, run the same command again: answers fetched so far are recent enough.
    #[arg(long, value_name = "DURATION", value_parser = values::age)]
    pub max_age: Option<Duration>,
    /// Reuse answers from an earlier run in DIR; can be repeated
    ///
    /// Only complete answers no older than --max-age, fetched with the same --date-from and --rank-scale, are reused.
    /// They cost nothing and do not count toward --max-cost. They end on the last day that was requested then, even if
    /// --date-to is later; add --max-age to fetch older ones again. If --date-to is earlier, the command is refused. The
    /// earlier DIR is not changed.
    #[arg(long, value_name = "DIR", hide_short_help = true)]
    pub previous: Vec<PathBuf>,
}

/// What happens to the dataset after publishing.
#[derive(Debug, Args)]
#[command(next_help_heading = "Dataset")]
pub struct AfterPublishArgs {
    /// Write DIR/report.html after publishing
    #[arg(long)]
    pub report: bool,
    /// Also upload the dataset to an object store: `s3://BUCKET/PREFIX`, `gs://…` or `az://…`
    ///
    /// Credentials, region and endpoint come from the environment: AWS_*, GOOGLE_* or AZURE_*. Files that are already
    /// there are not uploaded again; _SUCCESS is deleted first and written last.
    #[arg(long, value_name = "URL", hide_short_help = true)]
    pub publish: Option<StoreUrl>,
}

/// The flags of `run` beyond those of `plan` and `doctor`, which accept and hide them so that one command line works
/// for all three.
#[derive(Debug, Args)]
pub struct RunOnlyArgs {
    #[command(flatten)]
    pub dataset: DatasetArgs,
    /// Delete raw answers after publishing; the dataset cannot be rebuilt afterwards
    #[arg(long, help_heading = "Dataset", hide_short_help = true)]
    pub discard_raw: bool,
    #[command(flatten)]
    pub after: AfterPublishArgs,
    /// Ask on a terminal before spending more than this
    #[arg(long, value_name = "USD", default_value = "10", allow_negative_numbers = true, help_heading = "Money")]
    pub confirm_above: Usd,
    /// Do not ask before spending
    #[arg(long, short, help_heading = "Money")]
    pub yes: bool,
    #[command(flatten)]
    pub display: DisplayArgs,
}

impl RunOnlyArgs {
    /// Hides these flags among a command's arguments.
    pub(super) fn hidden() -> impl FnMut(Arg) -> Arg {
        let own = Self::augment_args(Command::new("run"));
        move |argument| {
            let is_own = own.get_arguments().any(|own| own.get_id() == argument.get_id());
            argument.hide(is_own)
        }
    }
}
