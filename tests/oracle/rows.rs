//! The expected result of an answer, from the documented schema only: the cell of each column, and the drift.
//!
//! If a key is repeated, in an object or in a map, its last value counts. Map entries keep the order in which keys
//! first appear. Values that the API leaves out, and values of the wrong type, are null.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use jiff::{Timestamp, civil, tz::Offset};

use super::{json::Json, targets};

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

/// An expected cell.
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

/// The documented columns of `backlinks_history`: name, kind, and other names that the API has used.
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

/// Maximum items of an answer that become rows; the others are only in the ledger.
const MAX_ROWS: usize = 20_000;

/// An expected row of `backlinks_history`, in the order of [`COLUMNS`].
pub(super) type Row<'a> = Vec<Cell<'a>>;

/// The expected result of an answer.
#[derive(Default)]
pub(super) struct Expected<'a> {
    /// By date, those without one last.
    pub(super) rows: Vec<Row<'a>>,
    pub(super) drift: Drift,
}

/// Differences from the documentation, in the export's wording, and their counts.
#[derive(Default)]
pub(super) struct Drift(pub(super) BTreeMap<String, u64>);

impl Drift {
    pub(super) fn note(&mut self, what: impl Into<String>) {
        *self.0.entry(what.into()).or_default() += 1;
    }

    fn wrong_type(&mut self, place: &str, expected: &str, found: &str) {
        self.note(format!("{place}: expected {expected}, found {found}"));
    }

    fn broken(&mut self, place: &str, is_broken: bool) {
        if is_broken {
            self.note(format!("{place}: unpaired surrogate, replaced"));
        }
    }

    fn unknown_keys<'a>(&mut self, prefix: &str, object: &Json<'_>, known: impl Iterator<Item = &'a str>) {
        let Json::Object(entries, _) = object else { return };
        let known: Vec<&str> = known.collect();
        for (key, _) in entries.iter().filter(|(key, _)| !known.contains(&key.as_ref())) {
            let shown: String = prefix.chars().chain(key.chars().take(80)).collect();
            self.note(format!("unknown key {shown:?}"));
        }
    }

    /// The elements of a list; anything else has none.
    fn list<'a>(&mut self, place: &str, value: Option<&'a Json<'a>>) -> &'a [Json<'a>] {
        match value {
            None => &[],
            Some(Json::List(elements)) => elements,
            Some(other) => {
                self.wrong_type(place, "list", other.type_name());
                &[]
            }
        }
    }

    /// Whether a value is an object.
    fn object(&mut self, place: &str, value: &Json<'_>) -> bool {
        if let Json::Object(_, is_broken) = value {
            self.broken(place, *is_broken);
            return true;
        }
        self.wrong_type(place, "object", value.type_name());
        false
    }
}

/// The expected result of an answer; `None`: it is not a JSON object.
pub(super) fn expected<'a>(target: &'a str, answer: &'a Json<'a>) -> Option<Expected<'a>> {
    let Json::Object(..) = answer else { return None };
    let mut all = Expected::default();
    let drift = &mut all.drift;
    let mut rows = Vec::new();
    let tasks = drift.list("tasks", answer.get("tasks"));
    let only = only_named(target, tasks);
    if only.is_some() {
        drift.note("results about other targets, ignored");
    }
    let first = only.map(|(task, _)| task).or_else(|| tasks.iter().find(|task| **task != Json::Null));
    let task = first.filter(|task| drift.object("tasks[]", task));
    for result in drift.list("result", task.and_then(|task| task.get("result"))) {
        if *result == Json::Null || !drift.object("result[]", result) {
            continue;
        }
        if only.and_then(|(_, only)| only).is_some_and(|only| !std::ptr::eq(only, result)) {
            continue;
        }
        for item in drift.list("items", result.get("items")) {
            let is_object = matches!(item, Json::Object(..));
            if is_object && rows.len() == MAX_ROWS {
                drift.note(format!("items beyond the first {MAX_ROWS}: not in the dataset, but stored in the ledger"));
            } else if drift.object("items[]", item) {
                rows.push(row(target, item, drift));
            }
        }
    }
    let date = |row: &Row<'_>| if let Cell::Moment(date) = row[2] { (false, date) } else { (true, 0) };
    rows.sort_by_key(date);
    all.rows = rows;
    Some(all)
}

/// A task and one of its results, or `None` for all of them.
type Place<'a> = (&'a Json<'a>, Option<&'a Json<'a>>);

/// The only result that names the target, unless the first task, which then counts, names no other.
fn only_named<'a>(target: &str, tasks: &'a [Json<'a>]) -> Option<Place<'a>> {
    let first = tasks.iter().find(|task| **task != Json::Null)?;
    let names = |task| names(task).into_iter().map(|(result, host)| (result, is_name_of(target, host)));
    if names(first).len() > 0 && names(first).all(|(_, is_ours)| is_ours) {
        return None;
    }
    let ours = |task| names(task).filter(|(_, is_ours)| *is_ours).map(move |(result, _)| (task, result));
    let mut all = tasks.iter().flat_map(ours);
    all.next().filter(|_| all.next().is_none())
}

/// The names in a task, each with its result, or else in the echo of the request.
fn names<'a>(task: &'a Json<'a>) -> Vec<(Option<&'a Json<'a>>, &'a str)> {
    let name = |of: &'a Json<'a>| match of.get("target") {
        Some(Json::Text(name, false)) => Some(name.as_ref()),
        _ => None,
    };
    let results = if let Some(Json::List(results)) = task.get("result") { results.as_slice() } else { &[] };
    let mut named: Vec<_> = results.iter().filter_map(|result| Some((Some(result), name(result)?))).collect();
    if named.is_empty() {
        named.extend(task.get("data").and_then(name).map(|host| (None, host)));
    }
    named
}

/// Whether a name in an answer is that of the target.
fn is_name_of(target: &str, host: &str) -> bool {
    targets::clean(host, targets::Accept::ALL).is_ok_and(|cleaned| cleaned.target.as_str() == target)
}

fn row<'a>(target: &'a str, item: &'a Json<'a>, drift: &mut Drift) -> Row<'a> {
    let of_item = COLUMNS.iter().filter(|(name, ..)| !name.starts_with("info_") && *name != "month_start");
    let names = of_item.skip(1).flat_map(|(name, _, other)| [*name, *other]).chain(["info"]);
    drift.unknown_keys("", item, names.filter(|name| !name.is_empty()));
    let info = item.get("info");
    if let Some(info) = info
        && drift.object("info", info)
    {
        drift.unknown_keys("info.", info, COLUMNS.iter().filter_map(|(name, ..)| name.strip_prefix("info_")));
    }
    let cell = |(name, kind, other): &(&'static str, Kind, &str)| {
        let value = match name.strip_prefix("info_") {
            Some(name) => info.and_then(|info| info.get(name)),
            None => item.get(name).or_else(|| item.get(other).filter(|_| !other.is_empty())),
        };
        if *name == "month_start" {
            return item.get("date").map_or(Cell::Null, month_start);
        }
        if *name == "target" {
            Cell::Text(target.into())
        } else {
            value.map_or(Cell::Null, |value| cell(name, *kind, value, drift))
        }
    };
    COLUMNS.iter().map(cell).collect()
}

/// The first day of a date's month.
fn month_start<'a>(date: &Json<'_>) -> Cell<'a> {
    let Json::Text(text, _) = date else { return Cell::Null };
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

fn cell<'a>(name: &str, kind: Kind, value: &'a Json<'a>, drift: &mut Drift) -> Cell<'a> {
    let expected = match (kind, value) {
        (Kind::Text, Json::Text(text, is_broken)) => {
            drift.broken(name, *is_broken);
            return Cell::Text(text.as_ref().into());
        }
        (Kind::Integer, value) => return count(name, value, drift).map_or(Cell::Null, Cell::Integer),
        (Kind::Flag, Json::Flag(flag)) => return Cell::Flag(*flag),
        (Kind::Moment, Json::Text(text, is_broken)) => {
            drift.broken(name, *is_broken);
            let moment = moment(text);
            if moment.is_none() {
                drift.note("date: not a usable date");
            }
            return moment.map_or(Cell::Null, Cell::Moment);
        }
        (Kind::Texts, Json::List(elements)) => {
            let text = |element: &'a Json<'a>| match element {
                Json::Text(text, is_broken) => {
                    drift.broken(name, *is_broken);
                    Some(text.as_ref())
                }
                Json::Null => None,
                other => {
                    drift.wrong_type(name, "string", other.type_name());
                    None
                }
            };
            return Cell::Texts(elements.iter().map(text).collect());
        }
        (Kind::Counts, Json::Object(entries, is_broken)) => {
            drift.broken(name, *is_broken);
            return Cell::Counts(counts(entries.iter().map(|(key, value)| (key.as_ref(), count(name, value, drift)))));
        }
        (Kind::Text | Kind::Moment | Kind::Day, _) => "string",
        (Kind::Flag, _) => "boolean",
        (Kind::Texts, _) => "list",
        (Kind::Counts, _) => "object",
    };
    drift.wrong_type(name, expected, value.type_name());
    Cell::Null
}

/// An integer of a column or in a map; null is not an integer.
fn count(name: &str, value: &Json<'_>, drift: &mut Drift) -> Option<i64> {
    let found = match value {
        Json::Null => return None,
        Json::Number(written) => integer(written),
        Json::Text(text, _) => {
            let value = integer_in_text(text);
            if value.is_some() {
                drift.note(format!("{name}: integer written as a string, accepted"));
            }
            value.ok_or("string")
        }
        other => Err(other.type_name()),
    };
    found.map_err(|found| drift.wrong_type(name, "integer", found)).ok()
}

/// The value of a number that is a 64-bit integer, in any notation; otherwise, a description of it.
fn integer(written: &str) -> Result<i64, &'static str> {
    /// More digits than 64 bits hold.
    const DIGITS: i64 = 20;
    const BEYOND: &str = "number beyond 64 bits";
    let length = |text: &str| i64::try_from(text.len()).unwrap_or(i64::MAX);
    let (mantissa, exponent) = written.split_once(['e', 'E']).unwrap_or((written, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    let digits = format!("{}{fraction}", whole.trim_start_matches('-'));
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Ok(0);
    }
    let bare = digits.trim_end_matches('0');
    // An exponent that 32 bits do not hold is beyond any number of digits that a body has room for.
    let exponent = exponent.parse::<i32>().map_err(|_| if exponent.starts_with('-') { "fraction" } else { BEYOND })?;
    let zeros = i64::from(exponent) - length(fraction) + length(digits) - length(bare);
    if zeros < 0 {
        return Err("fraction");
    }
    if zeros > DIGITS || length(bare) > DIGITS {
        return Err(BEYOND);
    }
    let power = u32::try_from(zeros).ok().and_then(|zeros| 10_i128.checked_pow(zeros));
    let unsigned =
        bare.parse::<i128>().ok().zip(power).and_then(|(bare, power)| bare.checked_mul(power)).ok_or(BEYOND)?;
    i64::try_from(if written.starts_with('-') { -unsigned } else { unsigned }).map_err(|_| BEYOND)
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

/// `2019-11-15 12:57:46 +00:00`, computed by hand.
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
