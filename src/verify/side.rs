//! The files beside the tables: written once more in memory, and compared byte for byte; and whatever else lies there.

use std::{collections::BTreeSet, fs, io, path::Path};

use super::{differences::Differences, history::Counts, sources::Sources, targets};
use crate::{
    api::record::Standing,
    dataset::{FAILURES, HISTORY, REJECTED, RUN, STAGING, SUCCESS, TARGETS, UNDATED},
    targets::Fate,
};

/// The page that `report` writes.
const REPORT: &str = "report.html";

/// `_failures.csv` as it should be.
pub(super) fn failures(sources: &Sources<'_>, counts: &Counts, differences: &Differences) -> Vec<u8> {
    let header =
        ["domain", "reason", "http_status", "api_status_code", "attempts", "possibly_billed", "message", "kept_from"];
    let mut csv = Csv::new(&header);
    for target in sources.inputs.targets() {
        let Some(account) = sources.account(target) else { continue };
        let is_unreadable = targets::is_unreadable(sources, counts, &account, target);
        if account.standing != Standing::Failed && !account.refresh_given_up() && !is_unreadable {
            continue;
        }
        let (last, kept) = match account.refresh.filter(|_| account.refresh_given_up()) {
            Some(refresh) => (refresh.last.as_ref(), account.last),
            None => (account.last, None),
        };
        let details = last.map(|last| account.ledger.details(last.place)).transpose();
        let fails = |error| differences.add(&account.ledger.name, format!("{target} cannot be read again: {error}"));
        let details = details.map_err(fails).unwrap_or_default();
        let class = details.as_ref().map_or(targets::NO_ANSWER, |details| &details.class);
        let message = details.as_ref().and_then(|details| details.message.as_deref()).unwrap_or_default();
        let number = |number: Option<i64>| number.map(|number| number.to_string()).unwrap_or_default();
        csv.row(&[
            &harmless(target.as_str()),
            &harmless(if is_unreadable { targets::UNREADABLE_ANSWER } else { class }),
            &number(details.as_ref().and_then(|details| details.http_status).map(i64::from)),
            &number(details.as_ref().and_then(|details| details.api_status_code)),
            &account.attempts.to_string(),
            &account.possibly_billed.to_string(),
            &harmless(if is_unreadable { targets::UNREADABLE } else { message }),
            &kept.map(|kept| kept.at().to_string()).unwrap_or_default(),
        ]);
    }
    csv.0
}

/// `_rejected.csv` as it should be.
pub(super) fn rejected(sources: &Sources<'_>) -> Vec<u8> {
    let mut csv = Csv::new(&["input", "file", "line", "reason"]);
    for line in sources.inputs.lines() {
        let Fate::Rejected(reason) = line.fate else { continue };
        csv.row(&[&harmless(line.input), &harmless(line.file), &line.number.to_string(), &harmless(reason)]);
    }
    csv.0
}

/// A CSV file in memory: cells in quotes where RFC 4180 wants them, lines ending in a line feed.
pub(super) struct Csv(pub(super) Vec<u8>);

impl Csv {
    pub(super) fn new(header: &[&str]) -> Self {
        let mut csv = Self(Vec::new());
        csv.row(header);
        csv
    }

    pub(super) fn row(&mut self, cells: &[&str]) {
        let written = |cell: &&str| {
            let needs_quotes = cell.contains(['"', ',', '\n', '\r']);
            if needs_quotes { format!("\"{}\"", cell.replace('"', "\"\"")) } else { (*cell).to_owned() }
        };
        self.0.extend(cells.iter().map(written).collect::<Vec<_>>().join(",").bytes());
        self.0.push(b'\n');
    }
}

/// A cell that no spreadsheet takes for a formula, and that neither breaks lines nor turns the direction of text.
pub(super) fn harmless(text: &str) -> String {
    let quote = if text.starts_with(['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠']) { "'" } else { "" };
    let is_harmful = |character: char| {
        character.is_control()
            || ('\u{2028}'..='\u{202e}').contains(&character)
            || ('\u{2066}'..='\u{2069}').contains(&character)
            || matches!(character, '\u{200e}' | '\u{200f}')
    };
    let kept = text.chars().map(|character| if is_harmful(character) { ' ' } else { character });
    quote.chars().chain(kept).collect()
}

/// Compares a file with what it should hold; the first byte that differs is told.
pub(super) fn compare(dir: &Path, name: &str, expected: &[u8], differences: &Differences) {
    let found = match fs::read(dir.join(name)) {
        Ok(found) => found,
        Err(error) => return differences.add(name, not_there(&error)),
    };
    if found == expected {
        return;
    }
    let place = found.iter().zip(expected).take_while(|(one, other)| one == other).count();
    let line = found[..place].split(|byte| *byte == b'\n').count();
    let (has, should) = (found.len(), expected.len());
    differences
        .add(name, format!("differs from what the ledger says in line {line} ({has} bytes, should be {should})"));
}

/// A file that cannot be read, in words.
pub(super) fn not_there(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound { "is not there".to_owned() } else { format!("cannot be read: {error}") }
}

/// Compares `_SUCCESS`, which is empty, with whether it should be there.
pub(super) fn success(dir: &Path, should_be_there: bool, differences: &Differences) {
    match (fs::read(dir.join(SUCCESS)), should_be_there) {
        (Ok(content), true) if content.is_empty() => {}
        (Ok(_), true) => differences.add(SUCCESS, "is not empty"),
        (Ok(_), false) => differences.add(SUCCESS, "is there, yet the run did not end with everything answered"),
        (Err(error), false) if error.kind() == io::ErrorKind::NotFound => {}
        (Err(error), _) => differences.add(SUCCESS, not_there(&error)),
    }
}

/// Finds what no export wrote. `known` are the files of the tables and of the ledger.
pub(super) fn strangers(dir: &Path, known: &BTreeSet<String>, differences: &Differences) {
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(dir.join(&folder)) else { continue };
        for entry in entries.filter_map(Result::ok) {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            let is_side_file = [FAILURES, REJECTED, RUN, SUCCESS].contains(&&*path);
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            } else if path == REPORT {
                differences.note("report.html is not looked at: report makes it anew from the tables");
            } else if !is_side_file && !known.contains(&path) {
                stranger(&path, &name, differences);
            }
        }
    }
}

fn stranger(path: &str, name: &str, differences: &Differences) {
    let is_inside =
        [HISTORY, UNDATED, TARGETS, crate::ledger::FOLDER].iter().any(|folder| path.starts_with(&format!("{folder}/")));
    if path.starts_with(&format!("{STAGING}/")) && !name.ends_with(".parquet") {
        differences.note(format!("{path} was left by a publication that was interrupted; the next run removes it"));
    } else if name.ends_with(".parquet") || is_inside && !name.starts_with('.') {
        differences.add(path, "is no part of the export, and whoever reads the directory would read it");
    } else {
        differences.note(format!("{path} is no part of the export and is not looked at"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_is_written_as_the_export_writes_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let texts = ["a", "=1", "a,b", "a\"b", "a\nb\u{202e}c\u{85}", "", " a ", "-x", "'", "Ünal", "\t", "#a", "a\\b"];
        for text in texts {
            let line = crate::dataset::Rejected { input: text, file: text, line: 7, reason: text };
            crate::dataset::write_rejected(dir.path(), [line]).expect("written");
            let mut csv = Csv::new(&["input", "file", "line", "reason"]);
            csv.row(&[&harmless(text), &harmless(text), "7", &harmless(text)]);
            let written = fs::read_to_string(dir.path().join(REJECTED)).expect("a file");
            assert_eq!(String::from_utf8(csv.0).expect("text"), written, "{text:?}");
        }
    }
}
