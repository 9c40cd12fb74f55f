//! The table of all targets, which the script sorts and filters.
//!
//! The rows are JSON in the page, of which the script shows a hundred at a time: ten thousand rows of markup would be
//! twice the size and slow to lay out. The first hundred are markup, too, for print and for readers without script. The
//! script formats cells in the same way.

use serde::Serialize;
use serde_json::json;

use super::{PageContent, change_in_tenths, signed, signed_percent, whole};
use crate::{
    dataset::LineOutcome,
    humanize,
    money::Usd,
    report::{
        html::{Html, html},
        input_results::{Column, Line, outcome_words},
        month::Month,
        portfolio::{BACKLINKS, HistorySummary, RANK, REFERRING_DOMAINS, SPAM_SCORE},
    },
};

/// Targets in the table: those with most referring domains.
const MAX_ROWS: usize = 20_000;
/// Rows that are shown at once.
const PAGE: usize = 100;
/// The prefix of input columns in the dataset.
const INPUT_PREFIX: &str = "input_";

/// The type of a column, which decides how it is shown and sorted.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Text,
    /// An index of the column's texts.
    Choice,
    Count,
    Signed,
    /// A change in tenths of a percent.
    Percent,
    Month,
    /// Micro-dollars.
    Money,
}

/// A cell's value, of the column's kind.
#[derive(Serialize)]
#[serde(untagged)]
enum CellValue<'a> {
    Text(&'a str),
    Number(Option<i64>),
}

#[derive(Serialize)]
struct Heading<'a> {
    #[serde(skip)]
    name: &'a str,
    kind: Kind,
    texts: Vec<&'a str>,
}

pub(super) fn targets(content: &PageContent<'_>) -> Html {
    let headings = headings(content);
    let empty = HistorySummary::default();
    let of = |line: &Line| content.portfolio.history(&line.target).unwrap_or(&empty).cells[REFERRING_DOMAINS];
    let mut lines: Vec<&Line> = content.lines.targets.iter().collect();
    lines.sort_by(|one, other| of(other).cmp(&of(one)).then_with(|| one.target.cmp(&other.target)));
    lines.truncate(MAX_ROWS);
    let class = |heading: &Heading<'_>| Html::literal(if heading.kind.is_text() { "" } else { " class=n" });
    let head = headings.iter().map(|heading| {
        let sort = Html::literal(if heading.name == SORTED_BY { " aria-sort=descending" } else { "" });
        let button = html!("<button type=button disabled>{}</button>", heading.name);
        html!("<th scope=col{}{}>{}", class(heading), sort, button)
    });
    let row = |line: &&Line| {
        let cells = headings.iter().zip(cells(content, line, &empty));
        let cells: Html =
            cells.map(|(heading, cell)| html!("<td{}>{}", class(heading), cell_text(heading, &cell))).collect();
        html!("<tr>{}\n", cells)
    };
    let rows: Vec<_> = lines.iter().map(|line| cells(content, line, &empty)).collect();
    html!(
        "<section aria-labelledby=targets>\n<h2 id=targets tabindex=-1>All targets</h2>\n{}\
         <div class=tools id=tools hidden><label for=filter>Filter</label> <input id=filter type=search \
         autocomplete=off spellcheck=false aria-controls=rows aria-describedby=filter-note> <span class=note \
         id=filter-note>Shows rows that contain every word. Click a heading to sort.</span></div>\n\
         <div class=scroll tabindex=0 role=region aria-labelledby=targets><table class=all id=rows><thead><tr>{}\
         </thead>\n<tbody>{}</tbody></table></div>\n\
         <div class=pager><button type=button id=previous hidden>Previous</button> <p id=status role=status>{}</p> \
         <button type=button id=next hidden>Next</button></div>\n\
         <noscript><p class=note>Sorting, filtering and further rows need the script in this file.</p></noscript>\n\
         <script type=application/json id=data>{}</script>\n</section>\n",
        notes(content),
        head.collect::<Html>(),
        lines.iter().take(PAGE).map(row).collect::<Html>(),
        status(lines.len()),
        Html::json(&json!({ "page": PAGE, "columns": headings, "rows": rows })),
    )
}

/// The column by which the table is initially sorted.
const SORTED_BY: &str = "Referring domains";

fn headings<'a>(content: &PageContent<'a>) -> Vec<Heading<'a>> {
    let plain = |name, kind| Heading { name, kind, texts: Vec::new() };
    let input = |column: &'a Column| Heading {
        name: without_prefix(&column.name),
        kind: Kind::Choice,
        texts: column.texts.iter().map(String::as_str).collect(),
    };
    let mut headings = vec![plain("Target", Kind::Text)];
    headings.extend(content.lines.columns.iter().map(input));
    let words = LineOutcome::OF_TARGETS.map(outcome_words).to_vec();
    headings.push(Heading { name: "Outcome", kind: Kind::Choice, texts: words });
    headings.extend([
        plain("Months", Kind::Count),
        plain("Latest", Kind::Month),
        plain(SORTED_BY, Kind::Count),
        plain("12-month change", Kind::Signed),
        plain("Change %", Kind::Percent),
        plain("Backlinks", Kind::Count),
        plain("Rank", Kind::Count),
        plain("Spam score", Kind::Count),
        plain("Cost", Kind::Money),
    ]);
    headings
}

/// A line's cells, one for each heading.
fn cells<'a>(content: &PageContent<'a>, line: &'a Line, empty: &'a HistorySummary) -> Vec<CellValue<'a>> {
    let history = content.portfolio.history(&line.target).unwrap_or(empty);
    let tenths = history.ends().and_then(|(first, last)| change_in_tenths(first.into(), last.into()));
    let mut cells = vec![CellValue::Text(&line.target)];
    cells.extend(line.cells.iter().map(|text| CellValue::Number(text.map(i64::from))));
    let outcome = LineOutcome::OF_TARGETS.iter().position(|outcome| *outcome == line.outcome);
    let numbers = [
        outcome.and_then(|index| i64::try_from(index).ok()),
        i64::try_from(history.months).ok().filter(|_| line.outcome == LineOutcome::Ok),
        history.latest.map(|latest| latest.0.into()),
        history.cells[REFERRING_DOMAINS],
        history.change(),
        tenths,
        history.cells[BACKLINKS],
        history.cells[RANK],
        history.cells[SPAM_SCORE],
        line.cost.map(Usd::micros),
    ];
    cells.extend(numbers.map(CellValue::Number));
    cells
}

/// A cell formatted as the script does.
fn cell_text(heading: &Heading<'_>, cell: &CellValue<'_>) -> String {
    let number = match cell {
        CellValue::Text(text) => return (*text).to_owned(),
        CellValue::Number(None) => return String::new(),
        CellValue::Number(Some(number)) => *number,
    };
    match heading.kind {
        Kind::Text | Kind::Choice => {
            let text = usize::try_from(number).ok().and_then(|index| heading.texts.get(index));
            text.copied().unwrap_or_default().to_owned()
        }
        Kind::Count => whole(number.into()),
        Kind::Signed => signed(number.into()),
        Kind::Percent => signed_percent(number),
        Kind::Month => i32::try_from(number).map_or_else(|_| String::new(), |month| Month(month).to_string()),
        Kind::Money => humanize::money(Usd::from_micros(number)),
    }
}

fn status(rows: usize) -> String {
    format!(
        "1 to {} of {}",
        humanize::count(rows.min(PAGE) as u64),
        humanize::counted(rows as u64, "target", "targets")
    )
}

fn notes(content: &PageContent<'_>) -> Html {
    let change =
        content.portfolio.latest.map(|latest| html!("The change is in referring domains, {}. ", super::span(latest)));
    let note = (content.lines.targets.len() > MAX_ROWS).then(|| {
        html!(
            "The {} targets with the most referring domains are listed; the dataset has all. ",
            humanize::count(MAX_ROWS as u64)
        )
    });
    let left_out: Vec<_> = content.lines.left_out.iter().map(|name| without_prefix(name)).collect();
    let left_out = (!left_out.is_empty()).then(|| html!("Input columns not shown: {}.", left_out.join(", ")));
    html!(
        "<p class=note>Each target is shown for its own latest month. {}</p>\n",
        [change, note, left_out].into_iter().flatten().collect::<Html>()
    )
}

/// An input column's name as in the input.
fn without_prefix(name: &str) -> &str {
    name.strip_prefix(INPUT_PREFIX).unwrap_or(name)
}

impl Kind {
    fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::Choice)
    }
}
