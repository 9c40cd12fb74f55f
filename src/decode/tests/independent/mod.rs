//! An independent decoder of answers, for tests only, compared with the two that the export has.

mod cells;
mod decode;
mod json;

use self::{
    cells::columns,
    decode::{COLUMNS, Cell, Row, items},
    json::Json,
};
use crate::decode::{
    Flattener, PlainRow, plain_rows,
    tests::generated::{Dice, damage, odd_answer, usual_answer},
};

/// A row of the plain reading as cells.
fn cells(row: &PlainRow) -> Vec<Cell<'_>> {
    let text = |text: &'_ Option<String>| text.clone().map_or(Cell::Null, |text| Cell::Text(text.into()));
    let integer = |value: Option<i64>| value.map_or(Cell::Null, Cell::Integer);
    let mut cells = vec![Cell::Text((&*row.target).into()), text(&row.kind), row.date.map_or(Cell::Null, Cell::Moment)];
    cells.push(row.date.map_or(Cell::Null, |micros| {
        let moment = jiff::Timestamp::from_microsecond(micros).expect("a date");
        let first = jiff::tz::Offset::UTC.to_datetime(moment).date().first_of_month();
        Cell::Day((first - jiff::civil::date(1970, 1, 1)).get_days())
    }));
    cells.extend(row.integers.map(integer));
    cells.extend(row.info.texts.iter().map(text));
    cells.push(row.info.is_ip.map_or(Cell::Null, Cell::Flag));
    let elements = row.info.platform_type.as_ref();
    cells.push(elements.map_or(Cell::Null, |list| Cell::Texts(list.iter().map(Option::as_deref).collect())));
    cells.push(integer(row.info.target_spam_score));
    cells.extend(row.maps.iter().map(|entries| {
        let entries = entries.as_ref();
        entries.map_or(Cell::Null, |map| Cell::Counts(map.iter().map(|(key, count)| (&**key, *count)).collect()))
    }));
    cells
}

fn rows<'a>(answer: &'a Json<'a>) -> Option<Vec<Row<'a>>> {
    items(answer).map(|(items, _)| items.iter().map(|item| item.row("a.com")).collect())
}

/// Reads a body in all three ways; returns how many rows it has.
fn read_thrice(body: &[u8]) -> Option<usize> {
    let shown = String::from_utf8_lossy(body);
    let answer = Json::read(&shown);
    let third = answer.as_ref().and_then(rows);
    let plain = plain_rows("a.com", body).ok();
    let mut flattener = Flattener::new();
    let fast = flattener.push("a.com", body).ok();
    assert_eq!(third.is_some(), plain.is_some(), "{shown}");
    assert_eq!(third.is_some(), fast.is_some(), "{shown}");
    let (third, plain) = third.zip(plain)?;
    assert_eq!(third, plain.iter().map(cells).collect::<Vec<_>>(), "{shown}");
    let batch = flattener.finish();
    let columns = columns(&batch, &COLUMNS.map(|(name, kind, _)| (name, kind))).expect("the schema's columns");
    assert_eq!(batch.num_rows(), third.len(), "{shown}");
    for (number, row) in third.iter().enumerate() {
        for ((column, cell), (name, ..)) in columns.iter().zip(row).zip(COLUMNS) {
            assert!(column.is(number, cell), "{name} of row {number}: {shown}");
            assert_eq!(column.cell(number), *cell, "{name} of row {number}: {shown}");
        }
    }
    Some(third.len())
}

#[test]
fn usual_answers_are_read_alike() {
    assert_eq!(read_thrice(usual_answer(95).as_bytes()), Some(95));
}

#[test]
fn answers_with_every_surprise_are_read_alike() {
    let mut rows = 0;
    for seed in 0..4_000 {
        rows += read_thrice(odd_answer(&mut Dice::new(seed)).as_bytes()).unwrap_or_default();
    }
    assert!(rows > 4_000, "{rows}");
}

#[test]
fn damaged_answers_are_read_or_refused_alike() {
    let mut read = 0;
    for seed in 0..4_000 {
        let mut dice = Dice::new(seed + 100_000);
        let mut body = odd_answer(&mut dice).into_bytes();
        for _ in 0..=dice.below(3) {
            damage(&mut body, &mut dice);
        }
        read += usize::from(read_thrice(&body).is_some());
    }
    assert!((200..3_800).contains(&read), "{read}");
}

#[test]
fn numbers_and_dates_are_read_alike() {
    let check = |item: &str| {
        let body = format!(r#"{{"tasks":[{{"result":[{{"items":[{item}]}}]}}]}}"#);
        assert_eq!(read_thrice(body.as_bytes()), Some(1), "{item}");
    };
    let numbers = [
        "0",
        "-0",
        "-0.0",
        "0e999999999999999999999",
        "12.0",
        "1e3",
        "1E+3",
        "1.25e2",
        "1200e-2",
        "-12.50e1",
        "9007199254740993.0",
        "9223372036854775807",
        "9223372036854775807.0",
        "-9223372036854775808",
        "-9.223372036854775808e18",
        "9223372036854775808",
        "9.3e18",
        "1e400",
        "1e99999999999999999999999",
        "0.5",
        "1e-1",
        "125e-2",
        "1e-99999999999999999999999",
        "0.000000000000000000001e21",
        "100000000000000000000e-2",
        r#""512""#,
        r#""-7""#,
        r#""007""#,
        r#""\u0035\u0031""#,
        r#""9223372036854775807""#,
        r#""-9223372036854775808""#,
        r#""9223372036854775808""#,
        "\"\"",
        r#""-""#,
        r#""+5""#,
        r#"" 512""#,
        r#""512.0""#,
        r#""5e2""#,
        r#""\ud800""#,
        r#""٣""#,
    ];
    for number in numbers {
        check(&format!(r#"{{"rank":{number},"referring_links_tld":{{"com":{number}}}}}"#));
    }
    let dates = [
        "2019-11-15 12:57:46 +00:00",
        " 2019-11-15 12:57:46 +00:00 ",
        "2019-11-15 12:57:46.25 +00:00",
        "2019-11-15 12:57:46 +02:00",
        "2019-11-15 12:57:46+02:00",
        "2019-11-15T12:57:46Z",
        "2019-11-15 12:57:46",
        "2019-11-15",
        "2020-02-29",
        "2019-02-29",
        "2019-13-01 00:00:00 +00:00",
        "0000-00-00 00:00:00 +00:00",
        "0001-01-01 00:00:00 +00:00",
        "1899-12-31 23:59:59 +00:00",
        "1900-01-01 00:00:00 +00:00",
        "9999-12-31 23:59:59 +00:00",
        "2019-11-15 23:59:60 +00:00",
        "2019-11-15 24:00:00 +00:00",
        "",
        "yesterday",
        "20191115125746000",
        "2019-11-15 12:57:46 +00:00[UTC]",
        "2000-02-29 00:00:00 +00:00",
        "1900-02-29 00:00:00 +00:00",
        "1969-12-31 23:59:59 +00:00",
        "-2019-11-15 12:57:46 +00:00",
    ];
    for date in dates {
        check(&format!(r#"{{"date":"{date}"}}"#));
    }
}

#[test]
fn dates_as_they_are_served_are_reckoned_right_by_hand() {
    for day in 0..60_000 {
        let start = jiff::civil::date(1900, 1, 1).checked_add(jiff::Span::new().days(day)).expect("a day");
        let body = format!(r#"{{"tasks":[{{"result":[{{"items":[{{"date":"{start} 12:57:46 +00:00"}}]}}]}}]}}"#);
        let answer = Json::read(&body).expect("JSON");
        let rows = rows(&answer).expect("an object");
        let noon = jiff::tz::Offset::UTC.to_timestamp(start.at(12, 57, 46, 0)).expect("a time").as_microsecond();
        assert_eq!(rows[0][2], Cell::Moment(noon), "{start}");
    }
}
