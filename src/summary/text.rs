//! The summary for people: aligned lines for a terminal, a Markdown table for the pages of CI services.

use std::fmt::Write;

use super::{FailureReason, RunSummary, shown};
use crate::{money::Usd, words};

/// Where the values begin: behind two spaces and the longest label.
const INDENT: usize = 12;
/// Values are not squeezed below this many characters; a terminal narrower than that wraps them itself.
const NARROWEST_VALUE: usize = 20;

/// A line of the summary.
struct Entry {
    label: &'static str,
    value: String,
    /// Kept on one line whatever the width, since people copy it.
    whole: bool,
}

impl RunSummary {
    /// The summary for a terminal of `width` columns.
    pub fn text(&self, width: usize, colour: bool) -> String {
        let (strong, dim, reset) = match (colour, self.success) {
            (true, true) => ("\x1b[1;32m", "\x1b[2m", "\x1b[0m"),
            (true, false) => ("\x1b[1;33m", "\x1b[2m", "\x1b[0m"),
            (false, _) => ("", "", ""),
        };
        let mut text = format!("{strong}{}{reset}\n\n", self.headline());
        for Entry { label, value, whole } in self.entries() {
            let room = if whole { usize::MAX } else { width.saturating_sub(INDENT).max(NARROWEST_VALUE) };
            let mut label = label;
            for line in wrapped(&value, room) {
                let _ = writeln!(text, "  {dim}{label:<0$}{reset}{line}", INDENT - 2);
                label = "";
            }
        }
        text
    }

    /// The summary as a Markdown table.
    pub fn markdown(&self) -> String {
        let mut text = format!("**{}**\n\n| | |\n| --- | --- |\n", escaped(&self.headline()));
        for Entry { label, value, whole } in self.entries() {
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
            (None, true) if self.left() == 0 => "Done",
            (None, true) => "Done, with failures within the limit",
            (None, false) => "Finished with failures",
            (Some(_), _) => "Stopped early",
        };
        format!("{how}: {answered} answered")
    }

    fn entries(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        let mut add = |label, value: String| {
            if !value.is_empty() {
                entries.push(Entry { label, value, whole: false });
            }
        };
        add("targets", self.format_targets());
        add("refreshed", self.format_refreshed());
        add("reused", self.format_reused());
        add("input", self.format_input());
        add("rows", if self.published { words::count(self.rows) } else { String::new() });
        let items = words::counted(self.undated, "item without a usable date", "items without a usable date");
        add("undated", if self.undated > 0 { format!("{items}, in backlinks_undated") } else { String::new() });
        add("counts", self.format_mismatches());
        add("calls", self.format_calls());
        add("cost", self.format_cost());
        add("billed?", self.format_possibly_billed());
        add("time", words::duration(self.elapsed));
        for FailureReason { reason, count } in &self.failure_reasons {
            add("failure", format!("{}: {}", words::counted(*count, "target", "targets"), words::plain(reason)));
        }
        if self.failed + self.stale > 0 && self.published {
            add("failures", shown(&self.out.join("_failures.csv")));
        }
        for line in &self.drift {
            add("note", words::plain(line).into_owned());
        }
        add("dataset", self.format_dataset());
        if let Some(report) = &self.report {
            add("report", words::plain(report).into_owned());
        }
        if let Some(there) = &self.published_to {
            let files = words::counted(there.files, "file", "files");
            let sent = match there.files_sent {
                0 => "already up to date".to_owned(),
                sent => format!("{} uploaded: {}", words::count(sent), words::bytes(there.bytes_sent)),
            };
            let unfinished = if there.success { "" } else { ", without _SUCCESS" };
            add("uploaded", format!("{} ({files}, {sent}{unfinished})", words::plain(&there.url)));
        }
        if self.published && self.rows > 0 {
            let value = duckdb(&shown(&self.out));
            entries.push(Entry { label: "read it", value, whole: true });
        }
        entries
    }

    fn format_targets(&self) -> String {
        let mut text = format!("{} ok, {} without data", words::count(self.ok), words::count(self.no_data));
        for (number, word) in [(self.failed, "failed"), (self.pending, "pending")] {
            if number > 0 {
                let _ = write!(text, ", {} {word}", words::count(number));
            }
        }
        text
    }

    fn format_mismatches(&self) -> String {
        if self.count_mismatches == 0 {
            return String::new();
        }
        let answers = words::counted(
            self.count_mismatches,
            "answer has counts that do not match its content",
            "answers have counts that do not match their content",
        );
        format!("{answers} (see message in targets)")
    }

    /// What became of answers that were too old.
    fn format_refreshed(&self) -> String {
        let mut text = Vec::new();
        if self.refreshed > 0 {
            let mut refreshed = words::counted(self.refreshed, "answer", "answers");
            add_share(&mut refreshed, self.refreshed_this_run, self.refreshed);
            text.push(refreshed);
        }
        if self.stale > 0 {
            let stale = words::counted(self.stale, "target still has an answer", "targets still have an answer");
            text.push(format!("{stale} older than --max-age"));
        }
        text.join("; ")
    }

    fn format_reused(&self) -> String {
        if self.taken_over == 0 {
            return String::new();
        }
        let mut text =
            format!("{} from earlier runs, at no cost", words::counted(self.taken_over, "answer", "answers"));
        add_share(&mut text, self.taken_over_this_run, self.taken_over);
        text
    }

    fn format_input(&self) -> String {
        let mut text = Vec::new();
        if self.rejected > 0 {
            // The file is written with the dataset.
            let seen =
                if self.published { shown(&self.out.join("_rejected.csv")) } else { "plan lists them".to_owned() };
            text.push(format!("{} rejected ({seen})", words::counted(self.rejected, "line", "lines")));
        }
        if self.duplicates > 0 {
            text.push(words::counted(self.duplicates, "duplicate", "duplicates"));
        }
        if self.subdomains > 0 {
            text.push(words::counted(self.subdomains, "subdomain", "subdomains"));
        }
        text.join(", ")
    }

    fn format_calls(&self) -> String {
        let mut text = words::count(self.calls);
        if self.retries > 0 {
            let _ = write!(text, ", including {}", words::counted(self.retries, "retry", "retries"));
        }
        add_share(&mut text, self.calls_this_run, self.calls);
        text
    }

    fn format_cost(&self) -> String {
        let mut text = words::money(self.cost_usd.0);
        if let Some(cap) = self.max_cost_usd {
            let _ = write!(text, " of {}", words::money(cap.0));
        }
        match (self.cost_source.debit_usd.0, self.cost_source.upstream_usd.0) {
            (Usd::ZERO, Usd::ZERO) => {}
            _ if self.simulated => text.push_str(", simulated"),
            (_, Usd::ZERO) => text.push_str(", as debited"),
            (Usd::ZERO, _) => text.push_str(", at the upstream price; the actual debit may be higher"),
            (debited, upstream) => {
                let (debited, upstream) = (words::money(debited), words::money(upstream));
                let _ = write!(
                    text,
                    ": {debited} as debited, {upstream} at the upstream price (the actual debit may be higher)"
                );
            }
        }
        if self.cost_source.unknown_calls > 0 {
            let calls = words::counted(self.cost_source.unknown_calls, "call", "calls");
            let _ = write!(text, "; not counted: {calls} of unknown price");
        }
        if self.calls_this_run != self.calls {
            let these = match self.cost_usd_this_run.0 {
                Usd::ZERO => "nothing".to_owned(),
                cost => words::money(cost),
            };
            let _ = write!(text, "; {these} in this run");
        }
        text
    }

    fn format_possibly_billed(&self) -> String {
        match self.possibly_billed {
            0 => String::new(),
            1 => "1 call got no answer and may have been billed".to_owned(),
            number => format!("{} calls got no answer and may have been billed", words::count(number)),
        }
    }

    fn format_dataset(&self) -> String {
        if !self.published {
            return "not published yet; run the same command again to resume".to_owned();
        }
        let (files, bytes) = (words::counted(self.files, "file", "files"), words::bytes(self.bytes));
        let folder = shown(&self.out.join("backlinks_history"));
        let unfinished = if self.success { "" } else { ", without _SUCCESS" };
        format!("{folder} ({files}, {bytes}{unfinished})")
    }
}

/// Says how much of a whole this run has done, where it is not all of it.
fn add_share(text: &mut String, this_run: u64, whole: u64) {
    match this_run {
        these if these == whole => {}
        0 => text.push_str(", none in this run"),
        these => {
            let _ = write!(text, "; {} in this run", words::count(these));
        }
    }
}

/// A command that shows the first rows, as a shell takes it.
fn duckdb(out: &str) -> String {
    let mut path = String::new();
    for character in out.trim_end_matches('/').chars() {
        match character {
            // Twice for SQL, inside its quotes.
            '\'' => path.push_str("''"),
            // These mean something to the shell between double quotes.
            '"' | '$' | '`' | '\\' => path.extend(['\\', character]),
            _ => path.push(character),
        }
    }
    format!("duckdb -c \"SELECT * FROM '{path}/backlinks_history/**/*.parquet' LIMIT 5\"")
}

/// A line broken between words where it passes `room`.
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

/// Text in which Markdown and HTML see no markup.
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
