//! The summary for people: aligned lines for a terminal, a Markdown table for the pages of CI services.

use std::fmt::Write;

use super::{FailureReason, RunSummary, UploadSummary};
use crate::{humanize, money::Usd, sanitize};

/// The column of the values, after two spaces and the longest label.
const INDENT: usize = 12;
/// Minimum width of values in characters; a narrower terminal wraps them itself.
const NARROWEST_VALUE: usize = 20;

struct SummaryLine {
    label: &'static str,
    value: String,
    /// Not wrapped at any width, since people copy it.
    whole: bool,
}

impl RunSummary {
    /// The summary for a terminal of `width` columns.
    pub fn text(&self, width: usize, color: bool) -> String {
        let (strong, dim, reset) = match (color, self.success) {
            (true, true) => ("\x1b[1;32m", "\x1b[2m", "\x1b[0m"),
            (true, false) => ("\x1b[1;33m", "\x1b[2m", "\x1b[0m"),
            (false, _) => ("", "", ""),
        };
        let mut text = format!("{strong}{}{reset}\n\n", self.headline());
        for SummaryLine { label, value, whole } in self.entries() {
            let room = if whole { usize::MAX } else { width.saturating_sub(INDENT).max(NARROWEST_VALUE) };
            let mut label = label;
            for line in wrapped(&value, room) {
                let _ = writeln!(text, "  {dim}{label:<0$}{reset}{line}", INDENT - 2);
                label = "";
            }
        }
        text
    }

    pub fn markdown(&self) -> String {
        let mut text = format!("**{}**\n\n| | |\n| --- | --- |\n", escaped(&self.headline()));
        for SummaryLine { label, value, whole } in self.entries() {
            let value = if whole { format!("`{}`", value.replace('|', "\\|")) } else { escaped(&value) };
            let _ = writeln!(text, "| {label} | {value} |");
        }
        for (label, message) in [("Error", &self.error), ("Hint", &self.hint)] {
            if let Some(message) = message {
                let _ = write!(text, "\n{label}: {}\n", escaped(message));
            }
        }
        text
    }

    fn headline(&self) -> String {
        let answered = self.answered();
        let how = match (&self.stopped, self.success) {
            (None, true) if self.unfinished() == 0 => "Done",
            (None, true) => "Done, with failures within the limit",
            (None, false) => "Finished with failures",
            (Some(_), _) => "Stopped early",
        };
        format!("{how}: {answered} answered")
    }

    fn entries(&self) -> Vec<SummaryLine> {
        let mut entries = Vec::new();
        let mut add = |label, value: Option<String>| {
            entries.extend(value.map(|value| SummaryLine { label, value, whole: false }));
        };
        add("targets", Some(self.format_targets()));
        add("refreshed", join("; ", [self.format_refreshed(), self.format_stale()]));
        add("reused", self.format_reused());
        add("input", join(", ", self.format_input()));
        add("rows", self.published.then(|| humanize::count(self.rows)));
        let items = counted_if_any(self.undated, "item without a usable date", "items without a usable date");
        add("undated", items.map(|items| format!("{items}, in backlinks_undated")));
        add("counts", self.format_mismatches());
        add("calls", Some(self.format_calls()));
        add("cost", Some(self.format_cost()));
        let calls = counted_if_any(self.possibly_billed, "call", "calls");
        add("billed?", calls.map(|calls| format!("{calls} got no answer and may have been billed")));
        add("time", Some(humanize::duration(self.elapsed)));
        for FailureReason { reason, count } in &self.failure_reasons {
            add(
                "failure",
                Some(format!("{}: {}", humanize::counted(*count, "target", "targets"), sanitize::plain(reason))),
            );
        }
        let has_failures = self.failed + self.stale > 0 && self.published;
        add("failures", has_failures.then(|| sanitize::path(&self.out.join("_failures.csv"))));
        for line in &self.drift {
            add("note", Some(sanitize::plain(line).into_owned()));
        }
        add("dataset", Some(self.format_dataset()));
        add("report", self.report.as_ref().map(|report| sanitize::plain(report).into_owned()));
        add("uploaded", self.published_to.as_ref().map(format_upload));
        if self.published && self.rows > 0 {
            let value = duckdb(&sanitize::path(&self.out));
            entries.push(SummaryLine { label: "read it", value, whole: true });
        }
        entries
    }

    fn format_targets(&self) -> String {
        let mut text = format!("{} ok, {} without data", humanize::count(self.ok), humanize::count(self.no_data));
        for (number, word) in [(self.failed, "failed"), (self.pending, "pending")] {
            if number > 0 {
                let _ = write!(text, ", {} {word}", humanize::count(number));
            }
        }
        text
    }

    fn format_mismatches(&self) -> Option<String> {
        let answers = counted_if_any(
            self.count_mismatches,
            "answer has counts that do not match its content",
            "answers have counts that do not match their content",
        )?;
        Some(format!("{answers} (see message in targets)"))
    }

    fn format_refreshed(&self) -> Option<String> {
        let answers = counted_if_any(self.refreshed, "answer", "answers")?;
        Some(format!("{answers}{}", share(self.refreshed_this_run, self.refreshed)))
    }

    fn format_stale(&self) -> Option<String> {
        let targets = counted_if_any(self.stale, "target still has an answer", "targets still have an answer")?;
        Some(format!("{targets} older than --max-age"))
    }

    fn format_reused(&self) -> Option<String> {
        let answers = counted_if_any(self.taken_over, "answer", "answers")?;
        Some(format!("{answers} from earlier runs, at no cost{}", share(self.taken_over_this_run, self.taken_over)))
    }

    fn format_input(&self) -> [Option<String>; 3] {
        // The file is written with the dataset.
        let list = if self.published {
            sanitize::path(&self.out.join("_rejected.csv"))
        } else {
            "plan --format json lists them".to_owned()
        };
        [
            counted_if_any(self.rejected, "line", "lines").map(|lines| format!("{lines} rejected ({list})")),
            counted_if_any(self.duplicates, "duplicate", "duplicates"),
            counted_if_any(self.subdomains, "subdomain", "subdomains"),
        ]
    }

    fn format_calls(&self) -> String {
        let retries = counted_if_any(self.retries, "retry", "retries");
        let retries = retries.map_or_else(String::new, |retries| format!(", including {retries}"));
        format!("{}{retries}{}", humanize::count(self.calls), share(self.calls_this_run, self.calls))
    }

    fn format_cost(&self) -> String {
        let mut text = humanize::money(self.cost_usd.0);
        if let Some(cap) = self.max_cost_usd {
            let _ = write!(text, " of {}", humanize::money(cap.0));
        }
        match (self.cost_source.debit_usd.0, self.cost_source.upstream_usd.0) {
            (Usd::ZERO, Usd::ZERO) => {}
            _ if self.simulated => text.push_str(", simulated"),
            (_, Usd::ZERO) => text.push_str(", as debited"),
            (Usd::ZERO, _) => text.push_str(", at the upstream price; the actual debit may be higher"),
            (debited, upstream) => {
                let (debited, upstream) = (humanize::money(debited), humanize::money(upstream));
                let _ = write!(
                    text,
                    ": {debited} as debited, {upstream} at the upstream price (the actual debit may be higher)"
                );
            }
        }
        if let Some(calls) = counted_if_any(self.cost_source.unknown_calls, "call", "calls") {
            let _ = write!(text, "; not counted: {calls} of unknown price");
        }
        if self.calls_this_run != self.calls {
            let these = match self.cost_usd_this_run.0 {
                Usd::ZERO => "nothing".to_owned(),
                cost => humanize::money(cost),
            };
            let _ = write!(text, "; {these} in this run");
        }
        text
    }

    fn format_dataset(&self) -> String {
        if !self.published {
            return "not published yet; run the same command again to resume".to_owned();
        }
        let (files, bytes) = (humanize::counted(self.files, "file", "files"), humanize::bytes(self.bytes));
        let folder = sanitize::path(&self.out.join("backlinks_history"));
        let unfinished = if self.success { "" } else { ", without _SUCCESS" };
        format!("{folder} ({files}, {bytes}{unfinished})")
    }
}

fn format_upload(upload: &UploadSummary) -> String {
    let files = humanize::counted(upload.files, "file", "files");
    let sent = match upload.files_sent {
        0 => "already up to date".to_owned(),
        sent => format!("{} uploaded: {}", humanize::count(sent), humanize::bytes(upload.bytes_sent)),
    };
    let unfinished = if upload.success { "" } else { ", without _SUCCESS" };
    format!("{} ({files}, {sent}{unfinished})", sanitize::plain(&upload.url))
}

/// `3 lines`; `None` if there are none.
pub(super) fn counted_if_any(number: u64, one: &str, many: &str) -> Option<String> {
    (number > 0).then(|| humanize::counted(number, one, many))
}

/// The parts that exist; `None` if none does.
fn join<const N: usize>(separator: &str, parts: [Option<String>; N]) -> Option<String> {
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(separator))
}

/// How much of `whole` is from this run, unless all of it is.
fn share(this_run: u64, whole: u64) -> String {
    match this_run {
        these if these == whole => String::new(),
        0 => ", none in this run".to_owned(),
        these => format!("; {} in this run", humanize::count(these)),
    }
}

/// A command that shows the first rows, quoted for a shell.
fn duckdb(out: &str) -> String {
    let mut path = String::new();
    for character in out.trim_end_matches('/').chars() {
        match character {
            // Doubled for SQL, inside its quotes.
            '\'' => path.push_str("''"),
            // These are special to a shell inside double quotes.
            '"' | '$' | '`' | '\\' => path.extend(['\\', character]),
            _ => path.push(character),
        }
    }
    format!("duckdb -c \"SELECT * FROM '{path}/backlinks_history/**/*.parquet' LIMIT 5\"")
}

/// Wraps a line between words so that it does not exceed `room`.
pub fn wrapped(line: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut length = 0;
    for word in line.split(' ') {
        let letters = word.chars().count();
        if length > 0 && length + 1 + letters > room {
            lines.push(String::new());
            length = 0;
        }
        let last = lines.last_mut().expect("there is one");
        if length > 0 {
            last.push(' ');
            length += 1;
        }
        last.push_str(word);
        length += letters;
    }
    lines
}

/// Escapes characters that are markup in Markdown or HTML.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '~' | '!' => {
                escaped.push('\\');
                escaped.push(character);
            }
            _ => escaped.push(character),
        }
    }
    escaped
}
