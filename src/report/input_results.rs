//! The results for the input: outcomes, reasons, failures, and the input's own columns.
//!
//! All text here is untrusted and of any length: it is truncated, and columns that would make the page large are left
//! out.

use std::collections::{BTreeMap, HashMap, HashSet};

use arrow::{
    array::StringArray,
    datatypes::{Float64Type, Int64Type, TimestampMicrosecondType},
};

use super::{
    ReportError,
    read::{Batch, Dataset, number, string_at},
};
use crate::{
    dataset::{LineOutcome, targets_schema},
    money::Usd,
    sanitize,
};

/// Input columns that are shown, the first ones.
pub(super) const MAX_COLUMNS: usize = 4;
/// Maximum size of the different texts of an input column, in bytes; columns with more do not group targets and are
/// left out.
const COLUMN_BYTES: usize = 128 << 10;
/// The longest text of an input column that is shown, in characters.
const MAX_CELL_LENGTH: usize = 60;
/// Failed targets that are listed; `_failures.csv` has all.
pub(super) const MAX_LISTED_FAILURES: usize = 100;
/// Different reasons of rejection that are listed.
const MAX_REASONS: usize = 20;
const OTHER_REASONS: &str = "other reasons";

/// What the report shows about one target.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    pub(super) target: Box<str>,
    pub(super) outcome: LineOutcome,
    pub(super) cost: Option<Usd>,
    /// For each shown input column, the index of the target's text among the column's texts.
    pub(super) cells: Vec<Option<u32>>,
}

/// An outcome, for display.
pub(super) fn outcome_words(outcome: LineOutcome) -> &'static str {
    if outcome == LineOutcome::NoData { "no data" } else { outcome.as_str() }
}

/// A target that needs attention.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListedFailure {
    pub(super) target: Box<str>,
    pub(super) http_status: Option<i64>,
    pub(super) api_status_code: Option<i64>,
    pub(super) attempts: Option<i64>,
    pub(super) message: Option<String>,
}

/// A column of the input: its name, and its different texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) texts: Vec<String>,
    positions: HashMap<String, u32>,
    bytes: usize,
    /// Whether its texts are more than can be shown.
    too_many: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Lines {
    /// One for each target, in the input's order.
    pub(super) targets: Vec<Line>,
    pub(super) columns: Vec<Column>,
    /// Names of input columns that are not shown.
    pub(super) left_out: Vec<String>,
    /// The first failed targets.
    pub(super) failures: Vec<ListedFailure>,
    /// Input lines that are not valid domains.
    pub(super) rejected: u64,
    /// Input lines that repeat a target.
    pub(super) duplicates: u64,
    /// Why lines were rejected, with how many were.
    pub(super) reasons: BTreeMap<String, u64>,
    /// When the first and the last answer were complete, in microseconds since 1970.
    pub(super) fetched: Option<(i64, i64)>,
}

impl Lines {
    pub(super) fn read(dataset: &Dataset) -> Result<Self, ReportError> {
        let mut lines = Self::default();
        let fixed: HashSet<String> = targets_schema(&[]).fields().iter().map(|field| field.name().clone()).collect();
        dataset.targets(|rows| {
            if lines.columns.is_empty() && lines.left_out.is_empty() {
                let mut names: Vec<_> = rows.names().into_iter().filter(|name| !fixed.contains(name)).collect();
                lines.left_out = names.split_off(names.len().min(MAX_COLUMNS));
                lines.columns = names.into_iter().map(|name| Column { name, ..Column::default() }).collect();
            }
            lines.add(rows)
        })?;
        lines.leave_out();
        Ok(lines)
    }

    fn add(&mut self, rows: &Batch<'_>) -> Result<(), ReportError> {
        let (targets, outcomes, messages) = (rows.texts("target")?, rows.texts("outcome")?, rows.texts("message")?);
        let (costs, times) =
            (rows.numbers::<Float64Type>("cost_usd")?, rows.numbers::<TimestampMicrosecondType>("fetched_at")?);
        let (http, codes) = (rows.numbers::<Int64Type>("http_status")?, rows.numbers::<Int64Type>("api_status_code")?);
        let attempts = rows.numbers::<Int64Type>("attempts")?;
        let mut inputs: Vec<&StringArray> = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            inputs.push(rows.texts(&column.name)?);
        }
        for row in 0..rows.len() {
            let (word, message) = (string_at(outcomes, row).unwrap_or_default(), string_at(messages, row));
            let (outcome, target) = match (word.parse().ok(), string_at(targets, row)) {
                (Some(outcome), Some(target)) if LineOutcome::OF_TARGETS.contains(&outcome) => (outcome, target),
                (outcome, _) => {
                    self.no_target(outcome, message);
                    continue;
                }
            };
            if let Some(at) = number(times, row) {
                let (first, last) = self.fetched.unwrap_or((at, at));
                self.fetched = Some((first.min(at), last.max(at)));
            }
            if outcome == LineOutcome::Failed && self.failures.len() < MAX_LISTED_FAILURES {
                self.failures.push(ListedFailure {
                    target: target.into(),
                    http_status: number(http, row),
                    api_status_code: number(codes, row),
                    attempts: number(attempts, row),
                    message: message.map(|message| sanitize::plain(message).into_owned()),
                });
            }
            let columns = self.columns.iter_mut().zip(&inputs);
            let cells = columns.map(|(column, texts)| column.index_of(string_at(texts, row)?)).collect();
            let cost = number(costs, row).and_then(Usd::from_dollars);
            self.targets.push(Line { target: target.into(), outcome, cost, cells });
        }
        Ok(())
    }

    fn no_target(&mut self, outcome: Option<LineOutcome>, message: Option<&str>) {
        if outcome == Some(LineOutcome::Duplicate) {
            self.duplicates += 1;
            return;
        }
        self.rejected += 1;
        let reason = sanitize::plain(message.unwrap_or(OTHER_REASONS)).into_owned();
        let is_listed = self.reasons.len() < MAX_REASONS || self.reasons.contains_key(&reason);
        *self.reasons.entry(if is_listed { reason } else { OTHER_REASONS.to_owned() }).or_default() += 1;
    }

    /// Removes columns with too many different texts, and columns without any.
    fn leave_out(&mut self) {
        let is_shown = |column: &Column| !column.too_many && !column.texts.is_empty();
        let columns = std::mem::take(&mut self.columns).into_iter().enumerate();
        let (shown, others): (Vec<_>, Vec<_>) = columns.partition(|(_, column)| is_shown(column));
        for line in &mut self.targets {
            line.cells = shown.iter().map(|(index, _)| line.cells[*index]).collect();
        }
        self.columns = shown.into_iter().map(|(_, column)| column).collect();
        self.left_out.splice(0..0, others.into_iter().map(|(_, column)| column.name));
    }

    /// How many targets have this outcome.
    pub(super) fn count(&self, outcome: LineOutcome) -> u64 {
        self.targets.iter().filter(|line| line.outcome == outcome).count() as u64
    }
}

impl Column {
    /// The index of a truncated text among those of the column; `None` for an empty one, or if there are too many.
    fn index_of(&mut self, text: &str) -> Option<u32> {
        let text = sanitize::plain(text.trim());
        let shown = match text.char_indices().nth(MAX_CELL_LENGTH) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text.into_owned(),
        };
        if self.too_many || shown.is_empty() {
            return None;
        }
        if let Some(index) = self.positions.get(&shown) {
            return Some(*index);
        }
        self.bytes += shown.len();
        if self.bytes > COLUMN_BYTES {
            self.too_many = true;
            (self.texts, self.positions) = (Vec::new(), HashMap::new());
            return None;
        }
        let index = u32::try_from(self.texts.len()).ok()?;
        self.texts.push(shown.clone());
        self.positions.insert(shown, index);
        Some(index)
    }
}
