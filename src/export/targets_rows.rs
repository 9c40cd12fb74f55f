//! The values of the rows of `targets` and `_failures.csv`: the outcome of each input line, in input order. Only sums
//! are kept in memory. The columns are in `dataset/targets_columns.rs`.

use super::{
    AnswerRef, ExportError, MergedEntry, MergedLedgers,
    rows::{DecodeTally, UNREADABLE},
};
use crate::{
    api::{Parameters, call_events::TargetState},
    dataset::{FailureRow, LineOutcome, TargetRow},
    ledger::{AnswerRecord, CostSource, StoredAnswer},
    summary::Totals,
    targets::{InputLine, LineStatus, TargetRef},
};

/// Receives the rows of `targets` and of `_failures.csv`.
pub trait LineSink {
    /// Takes the row of the next input line, with its cells in the input's other columns.
    fn row(&mut self, row: &TargetRow<'_>, cells: &[Option<&str>]) -> Result<(), ExportError>;
    /// Takes the next row of `_failures.csv`.
    fn failure(&mut self, failure: &FailureRow<'_>) -> Result<(), ExportError>;
}

pub(super) struct LineRows<'a> {
    merged: &'a MergedLedgers,
    requested: Parameters,
    answers: &'a [AnswerRef],
    /// Positions in `answers` by target; `None`: it is sorted by target itself.
    by_target: Option<Vec<u32>>,
    /// The rows of each of `answers`.
    decoded: &'a DecodeTally,
    totals: Totals,
}

impl<'a> LineRows<'a> {
    pub(super) fn new(merged: &'a MergedLedgers, answers: &'a [AnswerRef], decoded: &'a DecodeTally) -> Self {
        let is_sorted = answers.is_sorted_by_key(|answer| merged.target(*answer));
        let by_target = (!is_sorted).then(|| by_target(merged, answers));
        let requested = merged.parameters();
        Self { merged, requested, answers, by_target, decoded, totals: Totals::default() }
    }

    /// Passes every row to `sink` and returns the sums.
    pub(super) fn write(mut self, sink: &mut impl LineSink) -> Result<Totals, ExportError> {
        let inputs = &self.merged.inputs;
        let run_id = self.merged.run_id();
        let mut cells = Vec::with_capacity(inputs.columns().len());
        for line in inputs.lines() {
            cells.clear();
            cells.extend((0..inputs.columns().len()).map(|column| line.column(column)));
            let source = format!("{}:{}", line.file, line.number);
            let bare = TargetRow { input: line.input, source: &source, run_id: &run_id, ..TargetRow::default() };
            self.line(&line, &bare, &cells, sink)?;
        }
        self.totals.rows = self.decoded.rows.iter().flatten().map(|rows| u64::from(*rows)).sum();
        self.totals.undated = self.decoded.undated;
        Ok(self.totals)
    }

    fn line(
        &mut self,
        line: &InputLine<'_>,
        bare: &TargetRow<'_>,
        cells: &[Option<&str>],
        sink: &mut impl LineSink,
    ) -> Result<(), ExportError> {
        let target = match line.status {
            LineStatus::Rejected(reason) => {
                return sink.row(&TargetRow { outcome: LineOutcome::Rejected, message: Some(reason), ..*bare }, cells);
            }
            LineStatus::Duplicate(target) | LineStatus::Target(target) => target,
        };
        let bare = TargetRow { target: Some(target.as_str()), ..*bare };
        if let LineStatus::Duplicate(_) = line.status {
            return sink.row(&TargetRow { outcome: LineOutcome::Duplicate, ..bare }, cells);
        }
        let bare = TargetRow {
            date_from: Some(self.requested.date_from),
            date_to: Some(self.requested.date_to),
            rank_scale: Some(self.requested.rank_scale.as_str()),
            ..bare
        };
        let Some(entry) = self.merged.entry(target) else {
            self.totals.pending += 1;
            let row = TargetRow { rows: Some(0), attempts: Some(0), possibly_billed: Some(0), ..bare };
            return sink.row(&TargetRow { outcome: LineOutcome::Pending, ..row }, cells);
        };
        let (run, latest) = self.merged.latest(&entry)?;
        let answer = latest.as_ref().map(|stored| &stored.answer);
        // Only one answer counts; with snapshots, the rows of several are kept.
        let position = self.positions_of(target).find(|position| self.answers[*position].is_from_source_of(&entry));
        let is_readable = position.is_some_and(|position| self.decoded.rows[position].is_some());
        let rows = self.positions_of(target).filter_map(|position| self.decoded.rows[position]).map(u64::from).sum();
        let outcome = self.count(&entry, is_readable, answer);
        let remark = position.and_then(|position| self.decoded.remarks.get(&position)).map(String::as_str);
        let mismatch = answer.and_then(|answer| answer.stated.mismatch.as_deref());
        self.totals.mismatches += u64::from(mismatch.is_some());
        let remarks: Vec<&str> = mismatch.into_iter().chain(remark).collect();
        let remarks = (!remarks.is_empty()).then(|| remarks.join("; "));
        let message = remarks.as_deref().or_else(|| answer.and_then(|answer| answer.message.as_deref()));
        if outcome == LineOutcome::Failed || entry.refresh_given_up {
            self.failure(target, &entry, entry.state == TargetState::Ok && !is_readable, sink)?;
        }
        let row = TargetRow {
            run_id: &run.run_id,
            outcome,
            rows: Some(rows),
            cost: entry.known_cost(),
            cost_source: entry.cost_source.map(CostSource::as_str),
            attempts: Some(u64::from(entry.attempts)),
            possibly_billed: Some(u64::from(entry.possibly_billed)),
            message,
            date_to: Some(run.parameters.date_to),
            ..bare
        };
        let Some(StoredAnswer { answer, from_run_id }) = &latest else { return sink.row(&row, cells) };
        let row = TargetRow {
            run_id: from_run_id.as_deref().unwrap_or(row.run_id),
            http_status: answer.http_status,
            api_status_code: answer.api_status_code,
            task_id: answer.task_id.as_deref(),
            items_count: answer.stated.items_count,
            api_version: answer.stated.api_version.as_deref(),
            api_seconds: answer.stated.api_seconds,
            latency_ms: Some(answer.latency_micros / 1000),
            fetched_at: Some(answer.at),
            date_to: answer.date_to.or(row.date_to),
            ..row
        };
        sink.row(&row, cells)
    }

    fn failure(
        &self,
        target: TargetRef<'_>,
        entry: &MergedEntry<'_>,
        is_unreadable: bool,
        sink: &mut impl LineSink,
    ) -> Result<(), ExportError> {
        let why = self.merged.failure(target, entry)?.map(|stored| stored.answer);
        let why = why.as_ref();
        let class = why.map_or(NO_ANSWER, |answer| answer.class.as_str());
        sink.failure(&FailureRow {
            domain: target.as_str(),
            reason: if is_unreadable { UNREADABLE_ANSWER } else { class },
            http_status: why.and_then(|answer| answer.http_status),
            api_status_code: why.and_then(|answer| answer.api_status_code),
            attempts: u64::from(entry.attempts),
            possibly_billed: u64::from(entry.possibly_billed),
            message: Some(UNREADABLE).filter(|_| is_unreadable).or(why.and_then(|answer| answer.message.as_deref())),
            kept_from: entry.kept_from(),
        })
    }

    /// Positions in `answers` of a target's answers: at most one, except with snapshots.
    fn positions_of(&self, target: TargetRef<'_>) -> impl Iterator<Item = usize> {
        let found = |answer: AnswerRef| self.merged.target(answer);
        let first = match &self.by_target {
            None => self.answers.partition_point(|answer| found(*answer) < target),
            Some(positions) => positions.partition_point(|position| found(self.answers[*position as usize]) < target),
        };
        let position = |at: usize| self.by_target.as_ref().map_or(at, |positions| positions[at] as usize);
        (first..self.answers.len()).map(position).take_while(move |position| found(self.answers[*position]) == target)
    }

    /// Why a target failed, in a text that several targets can share: `rejected: 40501 Invalid Field.`
    fn reason(&self, state: TargetState, answer: Option<&AnswerRecord>) -> String {
        let Some(answer) = answer.filter(|_| state != TargetState::Ok) else {
            return if state == TargetState::Ok { UNREADABLE_ANSWER.to_owned() } else { NO_ANSWER.to_owned() };
        };
        let code = match (answer.api_status_code, answer.http_status) {
            (Some(code), _) => format!(" {code}"),
            (None, Some(status)) => format!(" HTTP {status}"),
            (None, None) => String::new(),
        };
        let bare = format!("{}:{code}", answer.class);
        let message: String =
            answer.message.iter().flat_map(|message| message.chars()).take(MAX_MESSAGE_LENGTH).collect();
        let worded = format!("{bare} {message}");
        let known = self.totals.failures.contains_key(&worded) || self.totals.failures.len() < MAX_REASONS_WITH_MESSAGE;
        let reason = if known { worded } else { bare };
        reason.trim_end_matches([' ', ':']).to_owned()
    }

    fn count(&mut self, entry: &MergedEntry<'_>, is_readable: bool, answer: Option<&AnswerRecord>) -> LineOutcome {
        let (outcome, count) = match entry.state {
            TargetState::Ok if is_readable => (LineOutcome::Ok, &mut self.totals.ok),
            TargetState::NoData => (LineOutcome::NoData, &mut self.totals.no_data),
            TargetState::Ok | TargetState::Failed => (LineOutcome::Failed, &mut self.totals.failed),
            TargetState::Pending => (LineOutcome::Pending, &mut self.totals.pending),
        };
        *count += 1;
        if outcome == LineOutcome::Failed {
            *self.totals.failures.entry(self.reason(entry.state, answer)).or_default() += 1;
        }
        outcome
    }
}

/// Positions in `answers`, by target.
fn by_target(merged: &MergedLedgers, answers: &[AnswerRef]) -> Vec<u32> {
    let mut positions: Vec<u32> = (0..).zip(answers).map(|(position, _)| position).collect();
    positions.sort_by_key(|position| merged.target(answers[*position as usize]));
    positions
}

/// Reasons of targets without any answer, and of targets with an answer that has no rows.
const NO_ANSWER: &str = "no_answer";
const UNREADABLE_ANSWER: &str = "unreadable_answer";

/// Maximum reasons that include the API's message. If messages differ from target to target, further reasons only have
/// codes.
const MAX_REASONS_WITH_MESSAGE: usize = 20;
/// Characters of the API's message in a reason.
const MAX_MESSAGE_LENGTH: usize = 80;
