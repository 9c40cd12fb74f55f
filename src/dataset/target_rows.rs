//! The rows of `targets`: one for each input line, in one file, written a few thousand at a time.

use std::{
    collections::HashSet,
    fs::File,
    io, mem,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, Date32Builder, Float64Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
    record_batch::RecordBatch,
};
use jiff::{
    Timestamp,
    civil::{Date, date},
};

use sha2::{Digest, Sha256};

use super::{
    DatasetError, Options, Part, TARGETS,
    encoding::WriterConfig,
    files::entries,
    part::{OpenPart, first_number},
};
use crate::{money::Usd, sha256};

/// Maximum rows in a batch.
const BATCH_ROWS: usize = 4096;
/// Maximum bytes of text in a batch: input lines can be long.
const BATCH_BYTES: usize = 4 << 20;
/// Memory for the open row group, which is ended early past it.
const OPEN_BYTES: usize = 32 << 20;

/// What became of an input line, as the column `outcome` has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LineOutcome {
    Ok,
    NoData,
    Failed,
    #[default]
    Pending,
    Rejected,
    Duplicate,
}

impl LineOutcome {
    /// Outcomes of lines that stand for a target.
    pub const OF_TARGETS: [Self; 4] = [Self::Ok, Self::NoData, Self::Failed, Self::Pending];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NoData => "no_data",
            Self::Failed => "failed",
            Self::Pending => "pending",
            Self::Rejected => "rejected",
            Self::Duplicate => "duplicate",
        }
    }

    /// The outcome that a published table names; `None`: there is no such outcome.
    pub fn parse(word: &str) -> Option<Self> {
        let all = Self::OF_TARGETS.into_iter().chain([Self::Rejected, Self::Duplicate]);
        all.into_iter().find(|outcome| outcome.as_str() == word)
    }
}

/// A row of `targets`. What is unknown is `None`, never 0.
#[derive(Clone, Copy, Debug, Default)]
pub struct TargetRow<'a> {
    /// The run from which its data is.
    pub run_id: &'a str,
    /// The domain as written.
    pub input: &'a str,
    /// The domain as sent.
    pub target: Option<&'a str>,
    pub outcome: LineOutcome,
    /// Rows in `backlinks_history`.
    pub rows: Option<u64>,
    /// The cost of its calls.
    pub cost: Option<Usd>,
    /// The source of the cost.
    pub cost_source: Option<&'a str>,
    pub attempts: Option<u64>,
    /// Calls among them that may have been billed without an answer.
    pub possibly_billed: Option<u64>,
    /// HTTP status of the last attempt.
    pub http_status: Option<u16>,
    /// The status code inside the body.
    pub api_status_code: Option<i64>,
    /// The message of the API or the network, or why the line was rejected.
    pub message: Option<&'a str>,
    /// The API's id of the task.
    pub task_id: Option<&'a str>,
    /// The number of items that the answer reports.
    pub items_count: Option<i64>,
    pub api_version: Option<&'a str>,
    /// How long the API worked on the task, in seconds.
    pub api_seconds: Option<f64>,
    /// From the first byte sent to the last received.
    pub latency_ms: Option<u64>,
    /// When the answer was complete.
    pub fetched_at: Option<Timestamp>,
    /// The first day requested.
    pub date_from: Option<Date>,
    /// The last day requested.
    pub date_to: Option<Date>,
    /// The scale of ranks requested.
    pub rank_scale: Option<&'a str>,
    /// File and line, as `file:line`.
    pub source: &'a str,
}

/// The table's column names for those of a CSV input: prefixed, without control characters, and unique regardless of
/// letter case, which engines ignore.
pub fn input_column_names(columns: &[String]) -> Vec<String> {
    let mut taken = HashSet::new();
    let mut unique = |column: &String| {
        let plain: String = column.chars().filter(|character| !character.is_control()).collect();
        let name = format!("input_{}", plain.trim());
        // Ends: each number is tried once, and there are fewer names than numbers.
        let numbered = (2_u64..).map(|number| format!("{name}_{number}"));
        let free = std::iter::once(name.clone()).chain(numbered).find(|name| taken.insert(name.to_lowercase()));
        free.unwrap_or(name)
    };
    columns.iter().map(&mut unique).collect()
}

/// The table's schema, where `columns` names those of a CSV input.
pub fn targets_schema(columns: &[String]) -> SchemaRef {
    let text = DataType::Utf8;
    let number = DataType::Int64;
    let fixed = [
        ("run_id", text.clone(), false),
        ("input", text.clone(), false),
        ("target", text.clone(), true),
        ("outcome", text.clone(), false),
        ("rows", number.clone(), true),
        ("cost_usd", DataType::Float64, true),
        ("cost_source", text.clone(), true),
        ("attempts", number.clone(), true),
        ("possibly_billed", number.clone(), true),
        ("http_status", number.clone(), true),
        ("api_status_code", number.clone(), true),
        ("message", text.clone(), true),
        ("task_id", text.clone(), true),
        ("items_count", number.clone(), true),
        ("api_version", text.clone(), true),
        ("api_seconds", DataType::Float64, true),
        ("latency_ms", number, true),
        ("fetched_at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        ("date_from", DataType::Date32, true),
        ("date_to", DataType::Date32, true),
        ("rank_scale", text.clone(), true),
        ("source", text, false),
    ];
    let fixed = fixed.into_iter().map(|(name, kind, nullable)| Field::new(name, kind, nullable));
    let more = input_column_names(columns).into_iter().map(|name| Field::new(name, DataType::Utf8, true));
    Arc::new(Schema::new(fixed.chain(more).collect::<Vec<_>>()))
}

/// Writes `targets`. Dropped before [`finish`](Self::finish), it leaves a file that is never published.
pub struct TargetsWriter {
    staging: PathBuf,
    /// Where the table is or will be published.
    table: PathBuf,
    part: OpenPart,
    rows: TargetRows,
}

/// Rows of `targets` in memory.
pub struct TargetRows {
    schema: SchemaRef,
    columns: Columns,
    rows: usize,
    text: usize,
}

impl TargetRows {
    /// Without rows; `columns` are the names of the input's other columns.
    pub fn new(columns: &[String]) -> Self {
        Self { schema: targets_schema(columns), columns: Columns::new(columns.len()), rows: 0, text: 0 }
    }

    /// Adds a line with its cells in the input's other columns; cells that are missing at the end are null.
    pub fn push(&mut self, row: &TargetRow<'_>, cells: &[Option<&str>]) {
        self.columns.push(row, cells);
        self.rows += 1;
        let texts = [Some(row.input), row.message, row.api_version].into_iter().chain(cells.iter().copied());
        self.text += texts.flatten().map(str::len).sum::<usize>();
    }

    /// Whether there are enough rows for a batch.
    pub fn is_full(&self) -> bool {
        self.rows >= BATCH_ROWS || self.text > BATCH_BYTES
    }

    pub fn take(&mut self) -> Result<RecordBatch, DatasetError> {
        (self.rows, self.text) = (0, 0);
        Ok(RecordBatch::try_new(self.schema.clone(), self.columns.finish())?)
    }
}

/// A builder for each column, in order.
struct Columns {
    run_id: StringBuilder,
    input: StringBuilder,
    target: StringBuilder,
    outcome: StringBuilder,
    rows: Int64Builder,
    cost_usd: Float64Builder,
    cost_source: StringBuilder,
    attempts: Int64Builder,
    possibly_billed: Int64Builder,
    http_status: Int64Builder,
    api_status_code: Int64Builder,
    message: StringBuilder,
    task_id: StringBuilder,
    items_count: Int64Builder,
    api_version: StringBuilder,
    api_seconds: Float64Builder,
    latency_ms: Int64Builder,
    fetched_at: TimestampMicrosecondBuilder,
    date_from: Date32Builder,
    date_to: Date32Builder,
    rank_scale: StringBuilder,
    source: StringBuilder,
    more: Vec<StringBuilder>,
}

impl TargetsWriter {
    /// Writes a file in `staging`, for the table that is or will be published as `table`.
    pub(super) fn new(
        staging: PathBuf,
        table: PathBuf,
        options: &Options,
        columns: &[String],
    ) -> Result<Self, DatasetError> {
        let rows = TargetRows::new(columns);
        let path = Path::new(TARGETS).join(format!("part-{}.parquet", options.run_id));
        let config = WriterConfig::new(rows.schema.clone(), options, &[]).map_err(DatasetError::encode(&path))?;
        let part = OpenPart::create(&staging, path, &config)?;
        Ok(Self { staging, table, part, rows })
    }

    /// Takes a line with its cells in the input's other columns; cells that are missing at the end are null.
    pub fn push(&mut self, row: &TargetRow<'_>, cells: &[Option<&str>]) -> Result<(), DatasetError> {
        self.rows.push(row, cells);
        if self.rows.is_full() { self.write() } else { Ok(()) }
    }

    /// Writes the remaining rows and the footer. The file is named after the run; if the published table has other
    /// content, its name also gets a number that depends on the new content.
    pub fn finish(mut self) -> Result<Part, DatasetError> {
        self.write()?;
        let part = self.part.close()?;
        let is_new = entries(&self.table)?.is_empty();
        let place = self.table.join(part.path.file_name().unwrap_or_default());
        if is_new || is_same(&place, &part)? {
            return Ok(part);
        }
        let number = first_number(Sha256::new_with_prefix(&part.sha256));
        let path = part.path.with_extension("").display().to_string();
        part.renamed(&self.staging, format!("{path}-{number}.parquet").into())
    }

    fn write(&mut self) -> Result<(), DatasetError> {
        self.part.write(&self.rows.take()?)?;
        if self.part.memory() > OPEN_BYTES {
            self.part.flush()?;
        }
        Ok(())
    }
}

impl Columns {
    fn new(more: usize) -> Self {
        Self {
            run_id: StringBuilder::new(),
            input: StringBuilder::new(),
            target: StringBuilder::new(),
            outcome: StringBuilder::new(),
            rows: Int64Builder::new(),
            cost_usd: Float64Builder::new(),
            cost_source: StringBuilder::new(),
            attempts: Int64Builder::new(),
            possibly_billed: Int64Builder::new(),
            http_status: Int64Builder::new(),
            api_status_code: Int64Builder::new(),
            message: StringBuilder::new(),
            task_id: StringBuilder::new(),
            items_count: Int64Builder::new(),
            api_version: StringBuilder::new(),
            api_seconds: Float64Builder::new(),
            latency_ms: Int64Builder::new(),
            fetched_at: TimestampMicrosecondBuilder::new().with_timezone("UTC"),
            date_from: Date32Builder::new(),
            date_to: Date32Builder::new(),
            rank_scale: StringBuilder::new(),
            source: StringBuilder::new(),
            more: (0..more).map(|_| StringBuilder::new()).collect(),
        }
    }

    fn push(&mut self, row: &TargetRow<'_>, cells: &[Option<&str>]) {
        self.run_id.append_value(row.run_id);
        self.input.append_value(row.input);
        self.target.append_option(row.target);
        self.outcome.append_value(row.outcome.as_str());
        self.rows.append_option(row.rows.map(count));
        self.cost_usd.append_option(row.cost.map(Usd::dollars));
        self.cost_source.append_option(row.cost_source);
        self.attempts.append_option(row.attempts.map(count));
        self.possibly_billed.append_option(row.possibly_billed.map(count));
        self.http_status.append_option(row.http_status.map(i64::from));
        self.api_status_code.append_option(row.api_status_code);
        self.message.append_option(row.message);
        self.task_id.append_option(row.task_id);
        self.items_count.append_option(row.items_count);
        self.api_version.append_option(row.api_version);
        self.api_seconds.append_option(row.api_seconds);
        self.latency_ms.append_option(row.latency_ms.map(count));
        self.fetched_at.append_option(row.fetched_at.map(Timestamp::as_microsecond));
        self.date_from.append_option(row.date_from.map(days));
        self.date_to.append_option(row.date_to.map(days));
        self.rank_scale.append_option(row.rank_scale);
        self.source.append_value(row.source);
        for (index, column) in self.more.iter_mut().enumerate() {
            column.append_option(cells.get(index).copied().flatten());
        }
    }

    fn finish(&mut self) -> Vec<ArrayRef> {
        // New builders rather than reused ones, so that the buffer of a long line is freed.
        let mut done = mem::replace(self, Self::new(self.more.len()));
        let fixed: [ArrayRef; 22] = [
            Arc::new(done.run_id.finish()),
            Arc::new(done.input.finish()),
            Arc::new(done.target.finish()),
            Arc::new(done.outcome.finish()),
            Arc::new(done.rows.finish()),
            Arc::new(done.cost_usd.finish()),
            Arc::new(done.cost_source.finish()),
            Arc::new(done.attempts.finish()),
            Arc::new(done.possibly_billed.finish()),
            Arc::new(done.http_status.finish()),
            Arc::new(done.api_status_code.finish()),
            Arc::new(done.message.finish()),
            Arc::new(done.task_id.finish()),
            Arc::new(done.items_count.finish()),
            Arc::new(done.api_version.finish()),
            Arc::new(done.api_seconds.finish()),
            Arc::new(done.latency_ms.finish()),
            Arc::new(done.fetched_at.finish()),
            Arc::new(done.date_from.finish()),
            Arc::new(done.date_to.finish()),
            Arc::new(done.rank_scale.finish()),
            Arc::new(done.source.finish()),
        ];
        let more = done.more.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef);
        fixed.into_iter().chain(more).collect()
    }
}

/// Whether a file has the bytes of this part.
fn is_same(file: &Path, part: &Part) -> Result<bool, DatasetError> {
    match File::open(file).and_then(sha256::of_reader) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        found => Ok(found.map_err(DatasetError::io("read", file))? == part.sha256),
    }
}

/// A count in a signed column.
fn count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Days since 1970, as Arrow counts them.
fn days(day: Date) -> i32 {
    const EPOCH: Date = date(1970, 1, 1);
    (day - EPOCH).get_days()
}
