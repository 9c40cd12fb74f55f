//! The two lines of the bar for a terminal's width: fields that do not fit are left out, the least informative first,
//! and nothing ever wraps. The words for activity, rows and money are in `phrases`.

use super::snapshot::{Activity, ProgressSnapshot};
use crate::humanize;

/// A shorter bar is not useful.
const MIN_BAR_WIDTH: usize = 8;
/// A longer bar shows no more detail.
const MAX_BAR_WIDTH: usize = 40;
/// Maximum length of lines on wide terminals: longer lines are hard to read.
const MAX_LINE_WIDTH: usize = 110;

/// Separates the fields of the first line.
const GAP: &str = "  ";

const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const YELLOW: &str = "\x1b[33m";
const DIM: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";
const AS_IS: &str = "";

/// A text to display.
struct Field {
    text: String,
    /// Fields with higher values are left out first; 0 is always shown.
    expendable: u8,
    style: &'static str,
}

fn field(expendable: u8, style: &'static str, text: String) -> Field {
    Field { text, expendable, style }
}

/// Two lines, each shorter than `width`: a terminal moves the cursor to the next line after its last column.
pub(super) fn render(snapshot: &ProgressSnapshot, width: usize, color: bool) -> [String; 2] {
    let room = width.saturating_sub(1).min(MAX_LINE_WIDTH);
    [bar_line(snapshot, room, color), stats_line(snapshot, room, color)]
}

fn bar_line(snapshot: &ProgressSnapshot, room: usize, color: bool) -> String {
    let (done, total) = snapshot.progress();
    let over = if snapshot.is_after_fetch() { 0 } else { snapshot.counted.failed };
    let shown =
        if matches!(snapshot.counted.activity, Activity::Uploading(_)) { humanize::bytes } else { humanize::count };
    let mut fields = vec![field(0, AS_IS, format!("{}/{}", shown(done), shown(total)))];
    fields.push(field(2, AS_IS, humanize::percent(done, total)));
    if let Some(left) = snapshot.left {
        fields.push(field(1, AS_IS, format!("{} left", humanize::rough_duration(left))));
    }
    let for_bar = |fields: &[Field]| room.saturating_sub(length(fields, GAP) + GAP.len());
    if for_bar(&fields) < MIN_BAR_WIDTH {
        // The bar also shows it.
        fields.retain(|field| field.expendable != 2);
    }
    let cells = for_bar(&fields).min(MAX_BAR_WIDTH);
    if cells < MIN_BAR_WIDTH {
        return joined(fields, GAP, room, color);
    }
    let bar = bar(done.saturating_add(over), total, cells, color);
    format!("{bar}{GAP}{}", joined(fields, GAP, room - cells - GAP.len(), color))
}

fn stats_line(snapshot: &ProgressSnapshot, room: usize, color: bool) -> String {
    let counted = &snapshot.counted;
    let publishing = snapshot.is_after_fetch();
    let mut fields: Vec<Field> = snapshot.rows().map(|rows| field(4, AS_IS, rows)).into_iter().collect();
    if !publishing {
        fields.push(field(3, AS_IS, format!("{}/min", humanize::count(snapshot.per_minute))));
    }
    fields.push(field(1, AS_IS, snapshot.money()));
    fields.extend(snapshot.cap().map(|cap| field(4, AS_IS, cap)));
    if !publishing && counted.written > 0 {
        fields.push(field(7, AS_IS, format!("{} written", humanize::count(counted.written))));
    }
    fields.push(field(6, AS_IS, humanize::counted(counted.retries, "retry", "retries")));
    let (expendable, style) = if counted.failed > 0 { (2, RED) } else { (5, AS_IS) };
    fields.push(field(expendable, style, format!("{} failed", humanize::count(counted.failed))));
    let doing = counted.activity.describe();
    if !doing.is_empty() {
        let style = if publishing || counted.activity == Activity::RateLimit { DIM } else { YELLOW };
        fields.push(field(0, style, doing));
    }
    joined(fields, ", ", room, color)
}

fn bar(done: u64, total: u64, cells: usize, color: bool) -> String {
    let share = u128::from(done) * cells as u128 / u128::from(total.max(1));
    let filled = if total == 0 { cells } else { usize::try_from(share).unwrap_or(cells).min(cells) };
    let (filled, rest) = ("━".repeat(filled), "─".repeat(cells - filled));
    if color { format!("{GREEN}{filled}{RESET}{DIM}{rest}{RESET}") } else { filled + &rest }
}

/// Columns that the fields take; all their characters are one column wide.
fn length(fields: &[Field], gap: &str) -> usize {
    let gaps = gap.len() * fields.len().saturating_sub(1);
    gaps + fields.iter().map(|field| field.text.chars().count()).sum::<usize>()
}

/// The fields in one line of at most `room` columns, without those that do not fit.
fn joined(mut fields: Vec<Field>, gap: &str, room: usize, color: bool) -> String {
    while length(&fields, gap) > room && fields.len() > 1 {
        let index = (0..fields.len()).max_by_key(|index| fields[*index].expendable).unwrap_or(0);
        fields.remove(index);
    }
    if let [field] = &mut fields[..] {
        field.text = field.text.chars().take(room).collect();
    }
    let styled = fields.into_iter().map(|Field { text, style, .. }| match style {
        style if color && style != AS_IS => format!("{style}{text}{RESET}"),
        _ => text,
    });
    styled.collect::<Vec<_>>().join(gap)
}
