//! The table `targets` against the input lines and what the ledgers know of each target.

use jiff::{
    Timestamp,
    civil::{Date, date},
};

use super::{
    account::Details,
    cells::{between, columns},
    decode::{Cell, Kind},
    differences::Differences,
    history::Counts,
    sources::{Account, Sources},
    stream::open,
};
use crate::{
    api::record::Standing,
    dataset::input_column_names,
    export::Totals,
    ledger::CostSource,
    money::Usd,
    targets::{Fate, Line, TargetRef},
};

/// The columns that are always there.
pub(super) const COLUMNS: [(&str, Kind); 19] = [
    ("run_id", Kind::Text),
    ("input", Kind::Text),
    ("target", Kind::Text),
    ("outcome", Kind::Text),
    ("rows", Kind::Integer),
    ("cost_usd", Kind::Float),
    ("cost_source", Kind::Text),
    ("attempts", Kind::Integer),
    ("possibly_billed", Kind::Integer),
    ("http_status", Kind::Integer),
    ("api_status_code", Kind::Integer),
    ("message", Kind::Text),
    ("task_id", Kind::Text),
    ("latency_ms", Kind::Integer),
    ("fetched_at", Kind::Moment),
    ("date_from", Kind::Day),
    ("date_to", Kind::Day),
    ("rank_scale", Kind::Text),
    ("source", Kind::Text),
];

/// Rows that are read at once.
const BATCH_ROWS: usize = 4096;
/// What stands beside a target whose answer is held and has no rows to be read.
pub(super) const UNREADABLE: &str = "the answer is kept but cannot be read as rows";
/// Why such a target failed, and one of which no call brought anything.
pub(super) const UNREADABLE_ANSWER: &str = "unreadable_answer";
pub(super) const NO_ANSWER: &str = "no_answer";

/// What the table is compared with.
pub(super) struct Lines<'a> {
    pub(super) sources: &'a Sources<'a>,
    pub(super) run_id: String,
    /// How many rows each answer should have.
    pub(super) counts: &'a Counts,
    pub(super) differences: &'a Differences,
    pub(super) totals: Totals,
}

/// What a target's row goes by.
struct Known<'a> {
    account: Account<'a>,
    /// What the result says that counts.
    details: Option<Details>,
    /// Rows of all its answers: one, or with snapshots one of each day.
    rows: u64,
    /// Whether its answer is held and makes no rows.
    is_unreadable: bool,
    /// What there is to say about its answer.
    remark: Option<String>,
}

/// Whether a target's answer is held and makes no rows.
pub(super) fn is_unreadable(
    sources: &Sources<'_>,
    counts: &Counts,
    account: &Account<'_>,
    target: TargetRef<'_>,
) -> bool {
    let counting = sources.histories(target).find(|held| held.ledger == account.source);
    account.standing == Standing::Ok && counting.is_none_or(|held| counts.of(held).is_none())
}

impl<'a> Lines<'a> {
    /// Compares every row of the file with its line, and counts; `None`: there is no file to be compared.
    pub(super) fn compare(&mut self, path: Option<(&std::path::Path, &str)>) {
        let differences = self.differences;
        let sources = self.sources;
        let more = input_column_names(sources.inputs.columns());
        let kinds: Vec<_> = COLUMNS.into_iter().chain(more.iter().map(|name| (name.as_str(), Kind::Text))).collect();
        let name = path.map(|(_, name)| name).unwrap_or_default();
        let mut lines = sources.inputs.lines();
        let mut batches = None;
        if let Some((path, name)) = path {
            match open(path, &kinds, None, BATCH_ROWS) {
                Ok(reader) => batches = Some(reader),
                Err(what) => differences.add(name, what),
            }
        }
        let is_compared = batches.is_some();
        for batch in batches.into_iter().flatten() {
            let batch = match batch {
                Ok(batch) => batch,
                Err(error) => {
                    differences.add(name, format!("cannot be read on: {error}"));
                    break;
                }
            };
            let Some(columns) = columns(&batch, &kinds) else { break };
            for row in 0..batch.num_rows() {
                let Some(line) = lines.next() else {
                    return differences.add(name, format!("has more rows than the {} input lines", lines.len()));
                };
                let source = format!("{}:{}", line.file, line.number);
                let known = self.known(&line);
                let expected = self.row(&line, known.as_ref(), &source);
                for (index, (column, cell)) in columns.iter().zip(&expected).enumerate() {
                    if !column.is(row, cell) {
                        let what = between(&column.cell(row), cell);
                        differences.add(name, format!("{source} ({}): {} {what}", line.input, kinds[index].0));
                    }
                }
            }
        }
        let mut missing = 0_u64;
        for line in lines {
            missing += 1;
            let known = self.known(&line);
            self.row(&line, known.as_ref(), "");
        }
        if is_compared && missing > 0 {
            differences.add(name, format!("lacks the rows of the last {missing} input lines"));
        }
        self.totals.rows = sources.held.iter().filter_map(|held| self.counts.of(*held)).sum();
    }

    /// All that is known of a line's target; `None`: it is no target, or was never asked about.
    fn known(&self, line: &Line<'_>) -> Option<Known<'a>> {
        let Fate::Target(target) = line.fate else { return None };
        let account = self.sources.account(target)?;
        let details = account.last.and_then(|last| {
            let read = account.ledger.details(last.place);
            let fails = |error| {
                let name = &account.ledger.name;
                self.differences.add(name, format!("the result of {target} cannot be read again: {error}"));
            };
            read.map_err(fails).ok()
        });
        let histories = || self.sources.histories(target);
        let counting = histories().find(|held| held.ledger == account.source);
        let remark = counting.and_then(|held| self.counts.remark(held));
        Some(Known {
            details,
            rows: histories().filter_map(|held| self.counts.of(held)).sum(),
            is_unreadable: is_unreadable(self.sources, self.counts, &account, target),
            remark,
            account,
        })
    }

    /// The row that a line should have, counted.
    fn row<'b>(&mut self, line: &Line<'b>, known: Option<&'b Known<'a>>, source: &'b str) -> Vec<Cell<'b>> {
        let sources = self.sources;
        let asked = sources.parameters();
        let mut row = Row { run_id: self.run_id.clone(), ..Row::default() };
        match line.fate {
            Fate::Rejected(reason) => {
                row.outcome = "rejected";
                row.message = text(Some(reason));
            }
            Fate::Duplicate(target) => {
                row.outcome = "duplicate";
                row.target = Some(target.as_str());
            }
            Fate::Target(target) => {
                row.target = Some(target.as_str());
                row.date_from = asked.as_ref().map(|asked| asked.date_from);
                row.date_to = asked.as_ref().map(|asked| asked.date_to);
                row.rank_scale = asked.as_ref().map(|asked| asked.rank_scale.as_str());
                self.tell(&mut row, known);
            }
        }
        let cells = (0..sources.inputs.columns().len()).map(|column| text(line.column(column)));
        row.cells(line.input, source).into_iter().chain(cells).collect()
    }

    /// Fills in what is known of a target, and counts it.
    fn tell<'b>(&mut self, row: &mut Row<'b>, known: Option<&'b Known<'a>>) {
        (row.rows, row.attempts, row.possibly_billed) = (Some(0), Some(0), Some(0));
        let Some(Known { account, details, rows, is_unreadable, remark }) = known else {
            row.outcome = "pending";
            self.totals.pending += 1;
            return;
        };
        let (outcome, count) = match account.standing {
            Standing::Ok if *is_unreadable => ("failed", &mut self.totals.failed),
            Standing::Ok => ("ok", &mut self.totals.ok),
            Standing::NoData => ("no_data", &mut self.totals.no_data),
            Standing::Failed => ("failed", &mut self.totals.failed),
            Standing::Pending => ("pending", &mut self.totals.pending),
        };
        *count += 1;
        if outcome == "failed" {
            let class = details.as_ref().map_or(NO_ANSWER, |details| &details.class);
            let reason = if *is_unreadable { UNREADABLE_ANSWER } else { class };
            *self.totals.failures.entry(reason.to_owned()).or_default() += 1;
        }
        row.run_id.clone_from(&account.ledger.run_id);
        row.outcome = outcome;
        row.rows = Some(*rows);
        row.cost = account.cost;
        row.cost_source = account.cost_source.map(CostSource::as_str);
        row.attempts = Some(account.attempts);
        row.possibly_billed = Some(account.possibly_billed);
        row.date_to = account.ledger.parameters.as_ref().map(|asked| asked.date_to);
        if let Some(details) = details {
            row.http_status = details.http_status;
            row.api_status_code = details.api_status_code;
            row.message = text(remark.as_deref().or(details.message.as_deref()));
            row.task_id = details.task_id.as_deref();
            row.latency_ms = Some(details.latency_ms);
            row.fetched_at = Some(details.at);
            row.date_to = details.date_to.or(row.date_to);
            if let Some(paid) = &details.from_run_id {
                row.run_id.clone_from(paid);
            }
        }
        if *is_unreadable {
            // How it cannot be read is told in the words of the export's own readings.
            row.message = Cell::Beginning(UNREADABLE);
        }
    }
}

/// What a row says, besides the line itself.
#[derive(Default)]
struct Row<'a> {
    run_id: String,
    target: Option<&'a str>,
    outcome: &'static str,
    rows: Option<u64>,
    cost: Option<Usd>,
    cost_source: Option<&'static str>,
    attempts: Option<u64>,
    possibly_billed: Option<u64>,
    http_status: Option<u16>,
    api_status_code: Option<i64>,
    message: Cell<'a>,
    task_id: Option<&'a str>,
    latency_ms: Option<u64>,
    fetched_at: Option<Timestamp>,
    date_from: Option<Date>,
    date_to: Option<Date>,
    rank_scale: Option<&'static str>,
}

impl<'a> Row<'a> {
    fn cells(self, input: &'a str, source: &'a str) -> [Cell<'a>; COLUMNS.len()] {
        [
            Cell::Text(self.run_id.into()),
            text(Some(input)),
            text(self.target),
            text(Some(self.outcome)),
            count(self.rows),
            self.cost.map_or(Cell::Null, |cost| Cell::Float(cost.dollars())),
            text(self.cost_source),
            count(self.attempts),
            count(self.possibly_billed),
            self.http_status.map_or(Cell::Null, |status| Cell::Integer(status.into())),
            self.api_status_code.map_or(Cell::Null, Cell::Integer),
            self.message,
            text(self.task_id),
            count(self.latency_ms),
            self.fetched_at.map_or(Cell::Null, |at| Cell::Moment(at.as_microsecond())),
            day(self.date_from),
            day(self.date_to),
            text(self.rank_scale),
            text(Some(source)),
        ]
    }
}

fn text(text: Option<&str>) -> Cell<'_> {
    text.map_or(Cell::Null, |text| Cell::Text(text.into()))
}

fn count<'a>(count: Option<u64>) -> Cell<'a> {
    count.map_or(Cell::Null, |count| Cell::Integer(i64::try_from(count).unwrap_or(i64::MAX)))
}

fn day<'a>(day: Option<Date>) -> Cell<'a> {
    let days = day.and_then(|day| day.since(date(1970, 1, 1)).ok()).map(|span| span.get_days());
    days.map_or(Cell::Null, Cell::Day)
}
