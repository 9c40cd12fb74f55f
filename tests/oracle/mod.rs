//! An independent decoder of answers, small and slow. Tests compare the program's results with its own, cell by cell
//! and including drift.
//!
//! It shares nothing with the program but the documentation, the type of the rows that it judges, and what a host name
//! means. The unit tests, the integration tests and the fuzz tests all include it by its path, each into a module that
//! imports these.

mod cells;
mod json;
mod rows;

use std::collections::BTreeMap;

use serde::de::IgnoredAny;

use self::{
    cells::columns,
    json::Json,
    rows::{COLUMNS, expected},
};
use super::{DecodedRows, targets};

/// Compares the rows that the program decoded from an answer about `a.com`, `None` for an error, with its content.
pub(crate) fn compare(body: &[u8], found: Option<&DecodedRows>) {
    let is_object = |body: &[u8]| {
        let text = String::from_utf8_lossy(object_within(body).unwrap_or(body));
        matches!(Json::read(&text), Some(Json::Object(..)))
    };
    let lenient = if is_object(body) { None } else { Some(made_json(body)).filter(|body| is_object(body)) };
    let body = lenient.as_deref().unwrap_or(body);
    let within = object_within(body);
    let text = String::from_utf8_lossy(within.unwrap_or(body));
    let answer = Json::read(&text);
    let expected = answer.as_ref().and_then(|answer| expected("a.com", answer));
    assert_eq!(found.is_some(), expected.is_some(), "{text}");
    let Some((found, mut expected)) = found.zip(expected) else { return };
    if lenient.is_some() {
        expected.drift.note("NaN, Infinity or a trailing comma, accepted");
    }
    if within.is_some() {
        expected.drift.note("text around the answer, ignored");
    }
    if matches!(text, std::borrow::Cow::Owned(_)) {
        expected.drift.note("invalid UTF-8, replaced");
    }
    let columns = columns(&found.batch, &COLUMNS.map(|(name, kind, _)| (name, kind))).expect("the schema's columns");
    assert_eq!(found.batch.num_rows(), expected.rows.len(), "{text}");
    for (number, row) in expected.rows.iter().enumerate() {
        for ((column, cell), (name, ..)) in columns.iter().zip(row).zip(COLUMNS) {
            assert!(column.is(number, cell), "{name} of row {number}: {text}");
            assert_eq!(column.cell(number), *cell, "{name} of row {number}: {text}");
        }
    }
    let drift = found.drift.iter().map(|(field, seen)| (field.to_string(), seen.count)).collect();
    assert_eq!(by_limit(drift), by_limit(expected.drift.0), "{text}");
}

/// The keys beyond the first hundred unknown ones are only counted, so where there are as many, all are.
fn by_limit(mut drift: BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    const LIMIT: usize = 100;
    let is_unknown = |what: &str| what.starts_with("unknown key ") || what == "further unknown keys";
    if drift.keys().filter(|what| is_unknown(what)).count() > LIMIT {
        let counted = drift.extract_if(.., |what, _| is_unknown(what)).map(|(_, count)| count).sum();
        drift.insert("unknown keys".to_owned(), counted);
    }
    drift
}

/// Where a body's object begins: at the first brace, if that is early enough, or else after a byte order mark.
fn object_start(body: &[u8]) -> usize {
    const MAX_BYTES_BEFORE: usize = 1024;
    let mark = if body.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    body.iter().take(MAX_BYTES_BEFORE).position(|byte| *byte == b'{').unwrap_or(mark)
}

/// A body with null for numbers that JSON does not have, and without commas after the last element.
fn made_json(body: &[u8]) -> Vec<u8> {
    let (before, mut rest) = body.split_at(object_start(body));
    let mut made = before.to_vec();
    let (mut is_text, mut is_escaped) = (false, false);
    while let Some(byte) = rest.first() {
        let word = [&b"NaN"[..], b"Infinity", b"-Infinity"].into_iter().find(|word| rest.starts_with(word));
        if let Some(word) = word.filter(|_| !is_text) {
            made.extend(b"null");
            rest = &rest[word.len()..];
            continue;
        }
        if matches!(byte, b'}' | b']') && !is_text {
            let last = made.iter().rposition(|byte| !b" \n\r\t".contains(byte)).unwrap_or(0);
            let is_first = matches!(made[..last].trim_ascii_end().last(), Some(b'[' | b'{'));
            if made.get(last) == Some(&b',') && !is_first {
                made.truncate(last);
            }
        }
        is_text ^= *byte == b'"' && !is_escaped;
        is_escaped = is_text && *byte == b'\\' && !is_escaped;
        made.push(*byte);
        rest = &rest[1..];
    }
    made
}

/// The JSON object in a body with other content around it, apart from white space. `None`: nothing is around it, or no
/// object is complete. After text other than a byte order mark, the object must have a task.
fn object_within(body: &[u8]) -> Option<&[u8]> {
    let is_blank = |bytes: &[u8]| bytes.iter().all(|byte| b" \n\r\t".contains(byte));
    let mark = if body.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    let (before, rest) = body.split_at(object_start(body));
    let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    let (object, behind) = rest.split_at(values.byte_offset());
    if !is_blank(&before[mark..]) {
        let text = String::from_utf8_lossy(object);
        let answer = Json::read(&text)?;
        let Json::List(tasks) = answer.get("tasks")? else { return None };
        matches!(tasks.iter().find(|task| **task != Json::Null)?, Json::Object(..)).then_some(())?;
    }
    (!is_blank(before) || !is_blank(behind)).then_some(object)
}
