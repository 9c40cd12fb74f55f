//! The plain way from an answer to its rows: every rule about odd answers, written down once for a reader.
//!
//! It is slow, takes nothing for granted and shares no parsing with the fast way, which is held to it by tests. It
//! reads the answers that the fast way gives up on, and serves whoever wants to check what was published.
//!
//! - A key that comes twice, in an object or in a map, counts with its last value: engines refuse maps that repeat a key.
//!   A map's entries are in the order in which their keys come first.
//! - The rows are those of all results of the first task that is not null, as [`crate::api::wire`] counts them.
//! - An integer written as a string (`"512"`) counts as that integer, and is noted.
//! - A key under its right name counts if it is there and not null, whatever its value; else its alias does.
//! - What stands around the object (a byte order mark, anything behind it) is ignored and noted.
//! - Text that is not Unicode has U+FFFD in the place of each half of a surrogate pair, and of what is not UTF-8.
//! - JSON values are only ever cut out and looked into ([`RawValue`]): no depth of nesting is too much.

use std::{borrow::Cow, collections::HashMap};

use serde_json::value::RawValue;

use super::scan::object_within;
use super::{
    FlattenError,
    drift::{SchemaDrift, UnexpectedField},
    raw::{Object, Text, first_byte, is, object},
    schema, value,
};

/// One row of `backlinks_history`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlainRow {
    /// Whose history it is.
    pub target: String,
    /// The column `type`.
    pub kind: Option<String>,
    /// Microseconds since 1970, UTC.
    pub date: Option<i64>,
    /// In the order of [`schema::INTEGERS`].
    pub integers: [Option<i64>; schema::INTEGERS.len()],
    /// The columns `info_*`.
    pub info: PlainInfo,
    /// In the order of [`schema::MAPS`].
    pub maps: [Option<PlainMap>; schema::MAPS.len()],
}

/// The entries of a map as they were served.
pub type PlainMap = Vec<(String, Option<i64>)>;

/// The columns `info_*` of a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlainInfo {
    /// In the order of [`schema::INFO_TEXTS`].
    pub texts: [Option<String>; schema::INFO_TEXTS.len()],
    /// The column `info_is_ip`.
    pub is_ip: Option<bool>,
    /// The column `info_platform_type`.
    pub platform_type: Option<Vec<Option<String>>>,
    /// The column `info_target_spam_score`.
    pub target_spam_score: Option<i64>,
}

/// The rows of one answer, sorted by date: what [`super::Flattener`] makes of it too, found in another way.
pub fn plain_rows(target: &str, body: &[u8]) -> Result<Vec<PlainRow>, FlattenError> {
    if body.len() > super::LARGEST_ANSWER {
        return Err(FlattenError::TooLarge { bytes: body.len() as u64 });
    }
    read(target, body, &mut SchemaDrift::default()).map(|answer| answer.rows)
}

/// What is made of an answer.
pub(super) struct PlainAnswer {
    pub(super) rows: Vec<PlainRow>,
    /// Items without a row.
    pub(super) skipped: u64,
    /// Items after the last that may have one.
    pub(super) beyond: u64,
}

pub(super) fn read(target: &str, body: &[u8], drift: &mut SchemaDrift) -> Result<PlainAnswer, FlattenError> {
    let inner = object_within(body);
    if inner.is_some() {
        drift.note(UnexpectedField::Surrounded, target);
    }
    let body = inner.unwrap_or(body);
    let mut reading = Reading { target, drift };
    let text = String::from_utf8_lossy(body);
    if matches!(text, Cow::Owned(_)) {
        reading.drift.note(UnexpectedField::NotUtf8, target);
    }
    let top: &RawValue = serde_json::from_str(&text)?;
    if !is(top, b'{') {
        return Err(FlattenError::NotAnObject { found: value::type_name(first_byte(top)) });
    }
    let mut answer = PlainAnswer { rows: Vec::new(), skipped: 0, beyond: 0 };
    let tasks = reading.list("tasks", object(top)?.last("tasks"))?;
    if let Some(task) = tasks.into_iter().find(|task| !is(task, b'n')) {
        let results = match reading.object("tasks[]", task)? {
            Some(task) => reading.list("result", task.last("result"))?,
            None => Vec::new(),
        };
        for result in results.into_iter().filter(|result| !is(result, b'n')) {
            let Some(result) = reading.object("result[]", result)? else { continue };
            for item in reading.list("items", result.last("items"))? {
                match reading.object("items[]", item)? {
                    Some(_) if answer.rows.len() as u64 == super::MOST_ROWS => {
                        answer.beyond += 1;
                        reading.drift.note(UnexpectedField::TooManyItems, target);
                    }
                    Some(item) => answer.rows.push(reading.row(&item)?),
                    None => answer.skipped += 1,
                }
            }
        }
    }
    answer.rows.sort_by_key(|row| (row.date.is_none(), row.date));
    Ok(answer)
}

struct Reading<'a> {
    target: &'a str,
    drift: &'a mut SchemaDrift,
}

impl Reading<'_> {
    fn row(&mut self, item: &Object<'_>) -> Result<PlainRow, FlattenError> {
        let mut values = HashMap::new();
        for (key, raw) in &item.entries {
            let is_known = [schema::TYPE, schema::DATE, "info"].contains(&key.as_str())
                || schema::INTEGERS.contains(&key.as_str())
                || schema::MAPS.contains(&key.as_str())
                || schema::ALIASES.iter().any(|(alias, _)| alias == key);
            if is_known {
                values.insert(key.as_str(), *raw);
            } else {
                self.drift.unknown_key("", key, self.target);
            }
        }
        values.retain(|_, raw| !is(raw, b'n'));
        for (alias, right) in schema::ALIASES {
            if let Some(raw) = values.get(alias).copied() {
                values.entry(right).or_insert(raw);
            }
        }
        let value = |name| values.get(name).copied();
        let mut row = PlainRow {
            target: self.target.to_owned(),
            kind: self.text(schema::TYPE, value(schema::TYPE))?,
            date: self.date(value(schema::DATE))?,
            info: self.info(value("info"))?,
            ..PlainRow::default()
        };
        for (cell, name) in row.integers.iter_mut().zip(schema::INTEGERS) {
            *cell = self.integer(name, value(name))?;
        }
        for (cell, name) in row.maps.iter_mut().zip(schema::MAPS) {
            *cell = self.map(name, value(name))?;
        }
        Ok(row)
    }

    fn info(&mut self, raw: Option<&RawValue>) -> Result<PlainInfo, FlattenError> {
        let mut info = PlainInfo::default();
        let Some(raw) = raw else { return Ok(info) };
        let Some(object) = self.object("info", raw)? else { return Ok(info) };
        for (key, _) in &object.entries {
            let others = ["is_ip", "platform_type", "target_spam_score"];
            if !schema::INFO_TEXTS.contains(&key.as_str()) && !others.contains(&key.as_str()) {
                self.drift.unknown_key("info.", key, self.target);
            }
        }
        let value = |key| object.last(key).filter(|raw| !is(raw, b'n'));
        for (index, key) in schema::INFO_TEXTS.iter().enumerate() {
            info.texts[index] = self.text(schema::INFO_TEXT_COLUMNS[index], value(key))?;
        }
        info.is_ip = value("is_ip").and_then(|raw| match raw.get() {
            "true" => Some(true),
            "false" => Some(false),
            _ => self.wrong_type(schema::INFO_IS_IP, "boolean", raw),
        });
        info.platform_type = self.platform_type(value("platform_type"))?;
        info.target_spam_score = self.integer(schema::INFO_TARGET_SPAM_SCORE, value("target_spam_score"))?;
        Ok(info)
    }

    fn platform_type(&mut self, raw: Option<&RawValue>) -> Result<Option<Vec<Option<String>>>, FlattenError> {
        let Some(raw) = raw.filter(|raw| !is(raw, b'n')) else { return Ok(None) };
        if !is(raw, b'[') {
            return Ok(self.wrong_type(schema::INFO_PLATFORM_TYPE, "list", raw));
        }
        let elements = self.list(schema::INFO_PLATFORM_TYPE, Some(raw))?;
        let texts = elements.into_iter().map(|raw| self.text(schema::INFO_PLATFORM_TYPE, Some(raw)));
        texts.collect::<Result<_, _>>().map(Some)
    }

    fn map(&mut self, name: &'static str, raw: Option<&RawValue>) -> Result<Option<PlainMap>, FlattenError> {
        let Some(raw) = raw else { return Ok(None) };
        let Some(object) = self.object(name, raw)? else { return Ok(None) };
        let mut entries = PlainMap::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        for (key, raw) in object.entries {
            let value = self.integer(name, Some(raw))?;
            if let Some(place) = places.get(&key) {
                entries[*place].1 = value;
            } else {
                places.insert(key.clone(), entries.len());
                entries.push((key, value));
            }
        }
        Ok(Some(entries))
    }

    fn integer(&mut self, name: &'static str, raw: Option<&RawValue>) -> Result<Option<i64>, FlattenError> {
        let Some(raw) = raw.filter(|raw| !is(raw, b'n')) else { return Ok(None) };
        let found = match value::type_name(first_byte(raw)) {
            "number" => value::integer(raw.get()),
            "string" => {
                let text: Text = serde_json::from_str(raw.get())?;
                let value = value::integer_in_text(&text.text);
                if value.is_some() {
                    self.drift.note(UnexpectedField::IntegerInText(name), self.target);
                }
                value.ok_or("string")
            }
            other => Err(other),
        };
        Ok(found.map_err(|found| self.drift.wrong_type(name, "integer", found, self.target)).ok())
    }

    fn text(&mut self, name: &'static str, raw: Option<&RawValue>) -> Result<Option<String>, FlattenError> {
        let Some(raw) = raw.filter(|raw| !is(raw, b'n')) else { return Ok(None) };
        if !is(raw, b'"') {
            return Ok(self.wrong_type(name, "string", raw));
        }
        let text: Text = serde_json::from_str(raw.get())?;
        self.note_broken(name, text.is_broken);
        Ok(Some(text.text))
    }

    fn date(&mut self, raw: Option<&RawValue>) -> Result<Option<i64>, FlattenError> {
        let Some(text) = self.text(schema::DATE, raw)? else { return Ok(None) };
        let date = value::date(&text);
        if date.is_none() {
            self.drift.note(UnexpectedField::UnusableDate, self.target);
        }
        Ok(date)
    }

    /// A list's elements; null and what is missing have none.
    fn list<'a>(&mut self, place: &'static str, raw: Option<&'a RawValue>) -> Result<Vec<&'a RawValue>, FlattenError> {
        let Some(raw) = raw.filter(|raw| !is(raw, b'n')) else { return Ok(Vec::new()) };
        if is(raw, b'[') {
            return Ok(serde_json::from_str(raw.get())?);
        }
        Ok(self.wrong_type(place, "list", raw).unwrap_or_default())
    }

    fn object<'a>(&mut self, place: &'static str, raw: &'a RawValue) -> Result<Option<Object<'a>>, FlattenError> {
        if !is(raw, b'{') {
            return Ok(self.wrong_type(place, "object", raw));
        }
        let object = object(raw)?;
        self.note_broken(place, object.has_broken_key);
        Ok(Some(object))
    }

    fn wrong_type<T>(&mut self, place: &'static str, expected: &'static str, raw: &RawValue) -> Option<T> {
        self.drift.wrong_type(place, expected, value::type_name(first_byte(raw)), self.target);
        None
    }

    fn note_broken(&mut self, place: &'static str, is_broken: bool) {
        if is_broken {
            self.drift.note(UnexpectedField::BrokenText(place), self.target);
        }
    }
}
