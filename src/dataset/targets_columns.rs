//! The columns and rows of `targets`, one row for each input line, as record batches. `export/targets_rows.rs` fills in
//! the values.

use std::{collections::HashSet, iter, mem, sync::Arc};

use arrow::{
    array::{
        ArrayBuilder, Date32Builder, Float64Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder,
        make_builder,
    },
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
    record_batch::RecordBatch,
};
use jiff::{
    Timestamp,
    civil::{Date, date},
};

use super::DatasetError;
use crate::{as_text::named, money::Usd};

const BATCH_ROWS: usize = 4096;
/// Maximum bytes of text in a batch: input lines can be long.
const BATCH_BYTES: usize = 4 << 20;

/// The outcome of an input line, as in the column `outcome`.
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
    /// Outcomes of lines with a valid target.
    pub const OF_TARGETS: [Self; 4] = [Self::Ok, Self::NoData, Self::Failed, Self::Pending];
}

named!(
    LineOutcome: Ok = "ok", NoData = "no_data", Failed = "failed", Pending = "pending", Rejected = "rejected",
    Duplicate = "duplicate"
);

/// A row of `targets`. What is unknown is `None`, never 0.
#[derive(Clone, Copy, Debug, Default)]
pub struct TargetRow<'a> {
    /// The run that its data comes from.
    pub run_id: &'a str,
    /// The domain as written.
    pub input: &'a str,
    /// The domain as sent.
    pub target: Option<&'a str>,
    pub outcome: LineOutcome,
    pub rows: Option<u64>,
    pub cost: Option<Usd>,
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
    pub date_from: Option<Date>,
    pub date_to: Option<Date>,
    pub rank_scale: Option<&'a str>,
    /// File and line, as `file:line`.
    pub source: &'a str,
}

impl<'a> TargetRow<'a> {
    /// The table's own columns in order: name, whether it may be null, and the row's value.
    fn columns(&self) -> [(&'static str, bool, Cell<'a>); 22] {
        [
            ("run_id", false, Cell::Text(Some(self.run_id))),
            ("input", false, Cell::Text(Some(self.input))),
            ("target", true, Cell::Text(self.target)),
            ("outcome", false, Cell::Text(Some(self.outcome.as_str()))),
            ("rows", true, Cell::Number(self.rows.map(int64))),
            ("cost_usd", true, Cell::Float(self.cost.map(Usd::dollars))),
            ("cost_source", true, Cell::Text(self.cost_source)),
            ("attempts", true, Cell::Number(self.attempts.map(int64))),
            ("possibly_billed", true, Cell::Number(self.possibly_billed.map(int64))),
            ("http_status", true, Cell::Number(self.http_status.map(i64::from))),
            ("api_status_code", true, Cell::Number(self.api_status_code)),
            ("message", true, Cell::Text(self.message)),
            ("task_id", true, Cell::Text(self.task_id)),
            ("items_count", true, Cell::Number(self.items_count)),
            ("api_version", true, Cell::Text(self.api_version)),
            ("api_seconds", true, Cell::Float(self.api_seconds)),
            ("latency_ms", true, Cell::Number(self.latency_ms.map(int64))),
            ("fetched_at", true, Cell::Timestamp(self.fetched_at.map(Timestamp::as_microsecond))),
            ("date_from", true, Cell::Date(self.date_from.map(days))),
            ("date_to", true, Cell::Date(self.date_to.map(days))),
            ("rank_scale", true, Cell::Text(self.rank_scale)),
            ("source", false, Cell::Text(Some(self.source))),
        ]
    }
}

/// A value of a row, by the type of its column.
enum Cell<'a> {
    Text(Option<&'a str>),
    Number(Option<i64>),
    Float(Option<f64>),
    /// Days since 1970.
    Date(Option<i32>),
    /// Microseconds since 1970.
    Timestamp(Option<i64>),
}

impl Cell<'_> {
    fn data_type(&self) -> DataType {
        match self {
            Self::Text(_) => DataType::Utf8,
            Self::Number(_) => DataType::Int64,
            Self::Float(_) => DataType::Float64,
            Self::Date(_) => DataType::Date32,
            Self::Timestamp(_) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        }
    }

    fn append_to(&self, column: &mut dyn ArrayBuilder) {
        match *self {
            Self::Text(value) => builder::<StringBuilder>(column).append_option(value),
            Self::Number(value) => builder::<Int64Builder>(column).append_option(value),
            Self::Float(value) => builder::<Float64Builder>(column).append_option(value),
            Self::Date(value) => builder::<Date32Builder>(column).append_option(value),
            Self::Timestamp(value) => builder::<TimestampMicrosecondBuilder>(column).append_option(value),
        }
    }

    fn text_bytes(&self) -> usize {
        if let Self::Text(Some(text)) = self { text.len() } else { 0 }
    }
}

fn builder<B: ArrayBuilder>(column: &mut dyn ArrayBuilder) -> &mut B {
    column.as_any_mut().downcast_mut().expect("the builder of the column's type")
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
    let fixed =
        TargetRow::default().columns().map(|(name, is_nullable, cell)| Field::new(name, cell.data_type(), is_nullable));
    let more = input_column_names(columns).into_iter().map(|name| Field::new(name, DataType::Utf8, true));
    Arc::new(Schema::new(fixed.into_iter().chain(more).collect::<Vec<_>>()))
}

/// Rows of `targets` in memory.
pub struct TargetRows {
    pub(super) schema: SchemaRef,
    columns: Vec<Box<dyn ArrayBuilder>>,
    rows: usize,
    text_bytes: usize,
}

impl TargetRows {
    /// Without rows; `columns` are the names of the input's other columns.
    pub fn new(columns: &[String]) -> Self {
        let schema = targets_schema(columns);
        Self { columns: builders(&schema), schema, rows: 0, text_bytes: 0 }
    }

    /// Adds a line with its cells in the input's other columns; cells that are missing at the end are null.
    pub fn push(&mut self, row: &TargetRow<'_>, cells: &[Option<&str>]) {
        let more = cells.iter().copied().chain(iter::repeat(None)).map(Cell::Text);
        let all = row.columns().into_iter().map(|(_, _, cell)| cell).chain(more);
        for (column, cell) in self.columns.iter_mut().zip(all) {
            cell.append_to(column.as_mut());
            self.text_bytes += cell.text_bytes();
        }
        self.rows += 1;
    }

    /// Whether there are enough rows for a batch.
    pub fn is_full(&self) -> bool {
        self.rows >= BATCH_ROWS || self.text_bytes > BATCH_BYTES
    }

    pub fn take(&mut self) -> Result<RecordBatch, DatasetError> {
        (self.rows, self.text_bytes) = (0, 0);
        // New builders rather than reused ones, so that the buffer of a long line is freed.
        let done = mem::replace(&mut self.columns, builders(&self.schema));
        let columns = done.into_iter().map(|mut column| column.finish()).collect();
        Ok(RecordBatch::try_new(self.schema.clone(), columns)?)
    }
}

fn builders(schema: &Schema) -> Vec<Box<dyn ArrayBuilder>> {
    schema.fields().iter().map(|field| make_builder(field.data_type(), 0)).collect()
}

/// A count in a signed column.
fn int64(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Days since 1970, as Arrow counts them.
fn days(day: Date) -> i32 {
    const EPOCH: Date = date(1970, 1, 1);
    (day - EPOCH).get_days()
}
