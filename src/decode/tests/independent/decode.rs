//! A third reading of an answer, from the documented schema alone: for each column the cell it should have.
//!
//! It is small and slow and shares nothing with the export's own readings but the documentation: an object's key that
//! comes twice counts with its last value, a map's too, whose entries are in the order in which keys come first, what the API leaves out and
//! what is of another type is null, and what is no JSON object has no rows.

use std::{borrow::Cow, collections::HashMap};

use jiff::{Timestamp, civil, tz::Offset};

use super::json::Json;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Integer,
    Flag,
    /// Microseconds since 1970, UTC.
    Moment,
    /// Days since 1970.
    Day,
    Texts,
    Counts,
}

/// One cell as it should be.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Cell<'a> {
    #[default]
    Null,
    Text(Cow<'a, str>),
    Integer(i64),
    Flag(bool),
    Moment(i64),
    Day(i32),
    Texts(Vec<Option<&'a str>>),
    Counts(Vec<(&'a str, Option<i64>)>),
}

/// The columns of `backlinks_history` as they are documented: name, kind, and other names that the API has used.
pub(super) const COLUMNS: [(&str, Kind, &str); 36] = [
    ("target", Kind::Text, ""),
    ("type", Kind::Text, ""),
    ("date", Kind::Moment, ""),
    ("month_start", Kind::Day, ""),
    ("rank", Kind::Integer, ""),
    ("backlinks", Kind::Integer, ""),
    ("new_backlinks", Kind::Integer, ""),
    ("lost_backlinks", Kind::Integer, ""),
    ("new_referring_domains", Kind::Integer, "new_reffering_domains"),
    ("lost_referring_domains", Kind::Integer, "lost_reffering_domains"),
    ("crawled_pages", Kind::Integer, ""),
    ("internal_links_count", Kind::Integer, ""),
    ("external_links_count", Kind::Integer, ""),
    ("broken_backlinks", Kind::Integer, ""),
    ("broken_pages", Kind::Integer, ""),
    ("referring_domains", Kind::Integer, ""),
    ("referring_domains_nofollow", Kind::Integer, ""),
    ("referring_main_domains", Kind::Integer, ""),
    ("referring_main_domains_nofollow", Kind::Integer, ""),
    ("referring_ips", Kind::Integer, ""),
    ("referring_subnets", Kind::Integer, ""),
    ("referring_pages", Kind::Integer, ""),
    ("referring_pages_nofollow", Kind::Integer, ""),
    ("info_server", Kind::Text, ""),
    ("info_cms", Kind::Text, ""),
    ("info_country", Kind::Text, ""),
    ("info_ip_address", Kind::Text, ""),
    ("info_is_ip", Kind::Flag, ""),
    ("info_platform_type", Kind::Texts, ""),
    ("info_target_spam_score", Kind::Integer, ""),
    ("referring_links_tld", Kind::Counts, ""),
    ("referring_links_types", Kind::Counts, ""),
    ("referring_links_attributes", Kind::Counts, "referring_links_flags"),
    ("referring_links_platform_types", Kind::Counts, ""),
    ("referring_links_semantic_locations", Kind::Counts, ""),
    ("referring_links_countries", Kind::Counts, ""),
];

/// Items of an answer that are rows; what is beyond is in the ledger alone.
const MOST_ROWS: usize = 20_000;

/// One row of `backlinks_history` as it should be, in the order of [`COLUMNS`].
pub(super) type Row<'a> = Vec<Cell<'a>>;

/// An item of an answer that should be a row.
pub(super) struct Item<'a> {
    pub(super) date: Option<i64>,
    item: &'a Json<'a>,
}

impl<'a> Item<'a> {
    /// The row that it should be.
    pub(super) fn row(&self, target: &'a str) -> Row<'a> {
        row(target, self.item)
    }
}

/// The items of an answer that should be rows, by date, those without one last, and how many more it has; `None`: it is
/// no JSON object.
pub(super) fn items<'a>(answer: &'a Json<'a>) -> Option<(Vec<Item<'a>>, usize)> {
    let Json::Object(_) = answer else { return None };
    let tasks = answer.get("tasks").map(Json::elements).unwrap_or_default();
    let first = tasks.iter().find(|task| **task != Json::Null);
    let results = first.and_then(|task| task.get("result")).map(Json::elements).unwrap_or_default();
    let items = results.iter().filter_map(|result| result.get("items")).flat_map(Json::elements);
    let mut items = items.filter(|item| matches!(item, Json::Object(_)));
    let date = |item: &Json<'_>| if let Json::Text(text) = item.get("date")? { moment(text) } else { None };
    let mut rows: Vec<_> = items.by_ref().take(MOST_ROWS).map(|item| Item { date: date(item), item }).collect();
    rows.sort_by_key(|item| (item.date.is_none(), item.date));
    Some((rows, items.count()))
}

fn row<'a>(target: &'a str, item: &'a Json<'a>) -> Row<'a> {
    let info = item.get("info");
    let cell = |(name, kind, other): &(&str, Kind, &str)| {
        let value = match name.strip_prefix("info_") {
            Some(name) => info.and_then(|info| info.get(name)),
            None => item.get(name).or_else(|| item.get(other).filter(|_| !other.is_empty())),
        };
        if *name == "month_start" {
            return item.get("date").map_or(Cell::Null, month_start);
        }
        if *name == "target" { Cell::Text(target.into()) } else { value.map_or(Cell::Null, |value| cell(*kind, value)) }
    };
    COLUMNS.iter().map(cell).collect()
}

/// The first day of a date's month.
fn month_start<'a>(date: &Json<'_>) -> Cell<'a> {
    let Json::Text(text) = date else { return Cell::Null };
    let first = moment(text).and_then(|micros| Timestamp::from_microsecond(micros).ok());
    let first = first.map(|moment| Offset::UTC.to_datetime(moment).date().first_of_month());
    first.map_or(Cell::Null, |first| Cell::Day((first - civil::date(1970, 1, 1)).get_days()))
}

/// A map's entries, each key once.
fn counts<'a>(entries: impl Iterator<Item = (&'a str, Option<i64>)>) -> Vec<(&'a str, Option<i64>)> {
    let mut counts: Vec<(&str, Option<i64>)> = Vec::new();
    let mut places = HashMap::new();
    for (key, count) in entries {
        let place = *places.entry(key).or_insert(counts.len());
        match counts.get_mut(place) {
            Some(entry) => entry.1 = count,
            None => counts.push((key, count)),
        }
    }
    counts
}

fn cell<'a>(kind: Kind, value: &'a Json<'a>) -> Cell<'a> {
    match (kind, value) {
        (Kind::Text, Json::Text(text)) => Cell::Text(text.as_ref().into()),
        (Kind::Integer, value) => integer(value).map_or(Cell::Null, Cell::Integer),
        (Kind::Flag, Json::Flag(flag)) => Cell::Flag(*flag),
        (Kind::Moment, Json::Text(text)) => moment(text).map_or(Cell::Null, Cell::Moment),
        (Kind::Texts, Json::List(elements)) => {
            let text = |element: &'a Json<'a>| if let Json::Text(text) = element { Some(text.as_ref()) } else { None };
            Cell::Texts(elements.iter().map(text).collect())
        }
        (Kind::Counts, Json::Object(entries)) => {
            Cell::Counts(counts(entries.iter().map(|(key, value)| (key.as_ref(), integer(value)))))
        }
        _ => Cell::Null,
    }
}

/// The value of a number that is an integer of 64 bits, however it is written, or of a text that is nothing else.
fn integer(value: &Json<'_>) -> Option<i64> {
    /// More digits than 64 bits hold.
    const DIGITS: i64 = 20;
    let written = match value {
        Json::Number(written) => written,
        Json::Text(text) => return integer_in_text(text),
        _ => return None,
    };
    let (mantissa, exponent) = written.split_once(['e', 'E']).unwrap_or((written, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    let digits = format!("{}{fraction}", whole.trim_start_matches('-'));
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Some(0);
    }
    let bare = digits.trim_end_matches('0');
    // An exponent that 32 bits do not hold is beyond any number of digits that a body has room for.
    let exponent = exponent.parse::<i32>().ok()?;
    let zeros =
        i64::from(exponent) - i64::try_from(fraction.len()).ok()? + i64::try_from(digits.len() - bare.len()).ok()?;
    if !(0..=DIGITS).contains(&zeros) || i64::try_from(bare.len()).ok()? > DIGITS {
        return None;
    }
    let unsigned = bare.parse::<i128>().ok()?.checked_mul(10_i128.checked_pow(u32::try_from(zeros).ok()?)?)?;
    i64::try_from(if written.starts_with('-') { -unsigned } else { unsigned }).ok()
}

/// The value of a text of digits with an optional minus, computed digit by digit.
fn integer_in_text(text: &str) -> Option<i64> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    if digits.is_empty() {
        return None;
    }
    digits.chars().try_fold(0_i64, |value, digit| {
        let digit = sign * i64::from(char::to_digit(digit, 10)?);
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// Microseconds since 1970 of a date between the years 1900 and 9999.
fn moment(written: &str) -> Option<i64> {
    let micros = as_served(written).or_else(|| tolerated(written))?;
    let year = Offset::UTC.to_datetime(Timestamp::from_microsecond(micros).ok()?).year();
    (1900..=9999).contains(&year).then_some(micros)
}

/// Days from the first of January of the year 1 to that of 1970.
const EPOCH: i64 = 719_162;

/// `2019-11-15 12:57:46 +00:00`, reckoned by hand.
fn as_served(written: &str) -> Option<i64> {
    let bytes = written.strip_suffix(" +00:00")?.as_bytes();
    let form = bytes.len() == 19
        && bytes.iter().enumerate().all(|(place, byte)| match place {
            4 | 7 => *byte == b'-',
            10 => *byte == b' ',
            13 | 16 => *byte == b':',
            _ => byte.is_ascii_digit(),
        });
    let number = |from: usize, to: usize| bytes[from..to].iter().fold(0, |sum, byte| sum * 10 + i64::from(byte - b'0'));
    if !form {
        return None;
    }
    let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
    let (hour, minute, second) = (number(11, 13), number(14, 16), number(17, 19));
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_in = |month: i64| match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if !(1..=12).contains(&month) || !(1..=days_in(month)).contains(&day) || year < 1 {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let before = year - 1;
    let days = before * 365 + before / 4 - before / 100 + before / 400 + (1..month).map(days_in).sum::<i64>() + day - 1;
    Some((((days - EPOCH) * 24 + hour) * 60 + minute) * 60_000_000 + second * 1_000_000)
}

/// Any other form, as far as the calendar library knows it; without an offset it is UTC.
fn tolerated(written: &str) -> Option<i64> {
    let written = written.trim();
    let with_blank = || Timestamp::strptime("%Y-%m-%d %H:%M:%S%.f %:z", written);
    let bare = || written.parse::<civil::DateTime>().and_then(|bare| Offset::UTC.to_timestamp(bare));
    let moment = written.parse::<Timestamp>().or_else(|_| with_blank()).or_else(|_| bare());
    moment.ok().map(Timestamp::as_microsecond)
}
