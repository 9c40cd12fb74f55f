//! Tests each irregularity of answers by itself, then all of them at random, always against an independent decoder.

use std::fmt::Write as _;

use arrow::{
    array::{ArrayRef, AsArray},
    datatypes::{DataType, Date32Type, Int64Type, TimestampMicrosecondType},
};
use serde_json::{Value, json};

use super::*;
use crate::{money::Usd, targets};

pub(crate) mod generated;
#[path = "../../tests/oracle/mod.rs"]
mod oracle;

/// An answer with these items.
fn answer(items: &str) -> String {
    format!(
        r#"{{"version":"0.1","status_code":20000,"cost":0.03,"tasks":[{{"id":"x","status_code":20000,"data":{{"target":"a.com"}},"result":[{{"target":"a.com","items_count":1,"items":[{items}]}}]}}]}}"#
    )
}

/// The rows of a batch, each as an object without its null cells.
fn rows_of(batch: &RecordBatch) -> Vec<Value> {
    assert_eq!(batch.schema(), schema::undated());
    let cell = |row: usize, (name, column): (&String, &ArrayRef)| Some((name.clone(), known(column, row)?));
    let schema = batch.schema();
    let names: Vec<&String> = schema.fields().iter().map(|field| field.name()).collect();
    let cells = |row| names.iter().copied().zip(batch.columns()).filter_map(move |column| cell(row, column));
    (0..batch.num_rows()).map(|row| cells(row).collect()).collect()
}

/// A cell, unless it is null: a date in microseconds or days since 1970, a map as a list of its entries.
fn known(column: &ArrayRef, row: usize) -> Option<Value> {
    let all = |column: &ArrayRef| (0..column.len()).map(|row| known(column, row).into()).collect::<Vec<Value>>();
    column.is_valid(row).then(|| match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(row).into(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).into(),
        DataType::Boolean => column.as_boolean().value(row).into(),
        DataType::Timestamp(..) => column.as_primitive::<TimestampMicrosecondType>().value(row).into(),
        DataType::Date32 => column.as_primitive::<Date32Type>().value(row).into(),
        DataType::List(_) => all(&column.as_list::<i32>().value(row)).into(),
        DataType::Map(..) => {
            let entries = column.as_map().value(row);
            all(entries.column(0)).into_iter().zip(all(entries.column(1))).map(|entry| json!(entry)).collect()
        }
        other => panic!("a column of type {other}"),
    })
}

/// The rows of one answer, which must equal those of the independent decoder.
fn decoded(body: impl AsRef<[u8]>) -> Result<(Vec<Value>, DecodedRows), String> {
    let body = body.as_ref();
    let rows = Decoder::new().decode("a.com", body).rows;
    oracle::compare(body, rows.as_ref().ok());
    let rows = rows.map_err(|error| error.to_string())?;
    Ok((rows_of(&rows.batch), rows))
}

/// The only row of an answer with one item, and its schema drift.
pub(super) fn row(item: &str) -> (Value, Vec<String>) {
    let (mut rows, decoded) = decoded(answer(item)).expect(item);
    assert_eq!(rows.len(), 1, "{item}");
    (rows.remove(0), decoded.drift.iter().map(|(surprise, seen)| format!("{}x {surprise}", seen.count)).collect())
}

#[test]
fn the_schema_is_the_contract() {
    let mut columns = String::new();
    for field in schema::history().fields() {
        let null = if field.is_nullable() { "" } else { " not null" };
        writeln!(columns, "{}: {}{null}", field.name(), field.data_type()).expect("a string");
    }
    insta::assert_snapshot!(columns);
}

#[test]
fn nested_fields_have_the_names_that_engines_expect() {
    let parquet = parquet::arrow::ArrowSchemaConverter::new().convert(&schema::history()).expect("a Parquet schema");
    let mut columns = String::new();
    for column in parquet.columns().iter().filter(|column| column.path().parts().len() > 1 || column.name() == "date") {
        let kind = column.logical_type_ref().map(|kind| format!("{kind:?}")).unwrap_or_default();
        writeln!(columns, "{} {:?} {kind}", column.path(), column.physical_type()).expect("a string");
    }
    insta::assert_snapshot!(columns);
}

#[test]
fn a_usual_item_fills_every_column() {
    let (rows, DecodedRows { drift, .. }) = decoded(generated::usual_answer(3)).expect("an answer");
    assert!(drift.is_empty(), "{drift:?}");
    let mut expected = json!({
        "target": "a.com",
        "type": "backlinks_history",
        "date": value::date("2019-01-01T12:57:46Z"),
        "month_start": 17_897,
        "info_server": "cloudflare",
        "info_country": "US",
        "info_ip_address": "192.0.2.7",
        "info_is_ip": false,
        "info_platform_type": ["cms", "blogs"],
        "info_target_spam_score": 4,
    });
    for (index, name) in schema::INTEGERS.iter().enumerate() {
        expected[name] = index.into();
    }
    for name in schema::MAPS {
        expected[name] = json!([["", 20_318], ["com", 12_403], ["co.uk", 527]]);
    }
    assert_eq!(rows[0], expected);
}

#[test]
fn missing_and_null_are_null_and_never_zero() {
    let (missing, surprises) = row("{}");
    assert_eq!(missing, json!({"target": "a.com"}));
    assert!(surprises.is_empty());
    let all_null: Vec<String> = (["type", "date", "info"].iter().chain(&schema::INTEGERS).chain(&schema::MAPS))
        .map(|key| format!("\"{key}\":null"))
        .collect();
    assert_eq!(row(&format!("{{{}}}", all_null.join(","))), (missing.clone(), vec![]));
    let info = r#"{"info":{"server":null,"cms":null,"country":null,"ip_address":null,"is_ip":null,"platform_type":null,"target_spam_score":null}}"#;
    assert_eq!(row(info), (missing, vec![]));
}

#[test]
fn a_null_map_differs_from_an_empty_one() {
    let (row, _) = row(r#"{"referring_links_tld":{},"referring_links_types":null,"info":{"platform_type":[]}}"#);
    assert_eq!(row, json!({"target": "a.com", "referring_links_tld": [], "info_platform_type": []}));
}

#[test]
fn map_entries_are_kept_as_served_each_key_once() {
    let (row, surprises) = row(r#"{"referring_links_countries":{"":9,"WW":1,"US":null,"":2,"US":3}}"#);
    assert_eq!(row["referring_links_countries"], json!([["", 2], ["WW", 1], ["US", 3]]));
    assert!(surprises.is_empty());
}

#[test]
fn a_key_takes_precedence_over_its_alias_in_either_order() {
    let check = |item: &str, expected: Option<i64>, surprises: usize| {
        let (row, seen) = row(item);
        let found = row["new_referring_domains"].as_i64();
        assert_eq!((found, seen.len()), (expected, surprises), "{item}: {seen:?}");
    };
    check(r#"{"new_reffering_domains":1}"#, Some(1), 0);
    check(r#"{"new_reffering_domains":1,"new_referring_domains":2}"#, Some(2), 0);
    check(r#"{"new_referring_domains":2,"new_reffering_domains":1}"#, Some(2), 0);
    check(r#"{"new_referring_domains":0,"new_reffering_domains":1}"#, Some(0), 0);
    check(r#"{"new_referring_domains":null,"new_reffering_domains":1}"#, Some(1), 0);
    check(r#"{"new_reffering_domains":1,"new_referring_domains":null}"#, Some(1), 0);
    check(r#"{"new_reffering_domains":null,"new_referring_domains":2}"#, Some(2), 0);
    check(r#"{"new_reffering_domains":"1","new_referring_domains":2}"#, Some(2), 0);
    check(r#"{"new_reffering_domains":"1"}"#, Some(1), 1);
    check(r#"{"new_reffering_domains":"one"}"#, None, 1);
    check(r#"{"new_reffering_domains":1,"new_referring_domains":"two"}"#, None, 1);
    let map = |item: &str| row(item).0["referring_links_attributes"].clone();
    let one = json!([["ugc", 1]]);
    assert_eq!(map(r#"{"referring_links_flags":{"ugc":1}}"#), one);
    assert_eq!(map(r#"{"referring_links_attributes":{"ugc":1},"referring_links_flags":{"x":2}}"#), one);
    assert_eq!(map(r#"{"referring_links_flags":{"x":2},"referring_links_attributes":{"ugc":1}}"#), one);
    assert_eq!(map(r#"{"referring_links_flags":{"ugc":1},"referring_links_attributes":null}"#), one);
    assert_eq!(map(r#"{"referring_links_flags":{"ugc":1},"referring_links_attributes":{}}"#), json!([]));
}

#[test]
fn unknown_keys_are_counted_and_change_nothing() {
    let (row, surprises) = row(r#"{"rank":1,"new_key":{"a":[1,{}]},"info":{"city":"x"},"backlinks":2,"new_key":3}"#);
    assert_eq!(row, json!({"target": "a.com", "rank": 1, "backlinks": 2}));
    assert_eq!(surprises, [r#"1x unknown key "info.city""#, r#"2x unknown key "new_key""#]);
}

#[test]
fn a_value_of_the_wrong_type_only_makes_its_cell_null() {
    let check = |member: &str, surprise: &str| {
        let (row, surprises) = row(&format!(r#"{{"rank":7,{member},"referring_pages":8}}"#));
        assert_eq!(row, json!({"target": "a.com", "rank": 7, "referring_pages": 8}), "{member}");
        assert_eq!(surprises, [format!("1x {surprise}")], "{member}");
    };
    for text in ["12.0", " 12", "12 ", "+12", "1e2", "", "-", "1,200", "9223372036854775808", r"\ud800"] {
        check(&format!("\"backlinks\":\"{text}\""), "backlinks: expected integer, found string");
    }
    check(r#""backlinks":true"#, "backlinks: expected integer, found boolean");
    check(r#""backlinks":[1]"#, "backlinks: expected integer, found list");
    check(r#""backlinks":1.5"#, "backlinks: expected integer, found fraction");
    check(r#""backlinks":1e400"#, "backlinks: expected integer, found number beyond 64 bits");
    check(r#""backlinks":9223372036854775808"#, "backlinks: expected integer, found number beyond 64 bits");
    check(r#""type":5"#, "type: expected string, found number");
    check(r#""date":20191115"#, "date: expected string, found number");
    check(r#""date":"soon""#, "date: not a usable date");
    check(r#""date":"2019-02-30 00:00:00 +00:00""#, "date: not a usable date");
    check(r#""info":"nginx""#, "info: expected object, found string");
    check(r#""info":{"cms":{}}"#, "info_cms: expected string, found object");
    check(r#""info":{"is_ip":0}"#, "info_is_ip: expected boolean, found number");
    check(r#""info":{"platform_type":"cms"}"#, "info_platform_type: expected list, found string");
    check(r#""info":{"target_spam_score":"low"}"#, "info_target_spam_score: expected integer, found string");
    check(r#""referring_links_tld":[]"#, "referring_links_tld: expected object, found list");
}

#[test]
fn a_wrong_value_within_a_map_or_list_is_null_there() {
    let (row, surprises) =
        row(r#"{"referring_links_tld":{"com":1,"net":"2.0","org":0.5},"info":{"platform_type":["cms",null,3]}}"#);
    assert_eq!(row["referring_links_tld"], json!([["com", 1], ["net", null], ["org", null]]));
    assert_eq!(row["info_platform_type"], json!(["cms", null, null]));
    assert_eq!(
        surprises,
        [
            "1x info_platform_type: expected string, found number",
            "1x referring_links_tld: expected integer, found fraction",
            "1x referring_links_tld: expected integer, found string",
        ]
    );
}

#[test]
fn integers_written_as_strings_are_integers_and_noted() {
    let check = |text: &str, value: i64| {
        let item = format!(
            r#"{{"rank":"{text}","referring_links_tld":{{"":"{text}","com":3}},"info":{{"target_spam_score":"{text}"}}}}"#
        );
        let (row, surprises) = row(&item);
        let expected = json!({
            "target": "a.com", "rank": value, "info_target_spam_score": value,
            "referring_links_tld": [["", value], ["com", 3]],
        });
        assert_eq!(row, expected, "{text}");
        let noted = |column: &str| format!("1x {column}: integer written as a string, accepted");
        let columns = ["info_target_spam_score", "rank", "referring_links_tld"];
        assert_eq!(surprises, columns.map(noted), "{text}");
    };
    check("512", 512);
    check("0", 0);
    check("-40", -40);
    check("007", 7);
    check("-9223372036854775808", i64::MIN);
    check("9223372036854775807", i64::MAX);
    // However the digits are written.
    check(r"\u0035\u00312", 512);
    let all = schema::INTEGERS.map(|key| format!("\"{key}\":\"7\"")).join(",");
    let (row, surprises) = row(&format!("{{{all}}}"));
    assert!(schema::INTEGERS.iter().all(|key| row[key] == 7) && surprises.len() == schema::INTEGERS.len());
}

#[test]
fn integers_written_as_floats_are_integers() {
    let (row, surprises) =
        row(r#"{"rank":12.0,"backlinks":1e3,"new_backlinks":-0,"lost_backlinks":9223372036854775807}"#);
    let expected = json!({
        "target": "a.com", "rank": 12, "backlinks": 1_000, "new_backlinks": 0, "lost_backlinks": i64::MAX,
    });
    assert_eq!(row, expected);
    assert!(surprises.is_empty());
}

#[test]
fn the_last_value_of_a_repeated_key_counts() {
    let one = |item: &str, key: &str| row(item).0[key].clone();
    assert_eq!(row(r#"{"rank":1,"backlinks":5,"rank":2}"#).0, json!({"target": "a.com", "rank": 2, "backlinks": 5}));
    assert_eq!(one(r#"{"rank":1,"rank":null}"#, "rank"), Value::Null);
    assert_eq!(one(r#"{"info":{"cms":"a","cms":"b"}}"#, "info_cms"), "b");
    let map = one(r#"{"referring_links_tld":{"com":1,"net":2,"com":3,"":4,"net":null}}"#, "referring_links_tld");
    assert_eq!(map, json!([["com", 3], ["net", null], ["", 4]]), "engines refuse repeated keys");
    let replaced = r#"[{"rank":1,"x":0},{"rank":2}]"#;
    let last = r#"[{"rank":1,"rank":3}]"#;
    let check = |body: &str| {
        let (rows, found) = decoded(body).expect(body);
        assert_eq!(rows, [json!({"target": "a.com", "rank": 3})], "{body}");
        assert!(found.drift.is_empty(), "{body}");
        assert_eq!(Envelope::read("a.com", body.as_bytes()).map(|envelope| envelope.items), Some(1), "{body}");
    };
    check(&format!(r#"{{"tasks":[{{"result":[{{"items":{replaced},"items":{last}}}]}}]}}"#));
    check(&format!(r#"{{"tasks":[{{"result":[{{"items":{replaced}}}],"result":[{{"it\u0065ms":{last}}}]}}]}}"#));
    check(&format!(
        r#"{{"tasks":[{{"result":[7]}},7],"tasks":[{{"result":{{}},"result":[{{"items":{replaced},"items":{last}}}]}}]}}"#
    ));
}

#[test]
fn invalid_unicode_is_replaced_and_counted() {
    let (half, surprises) =
        row(r#"{"type":"a\ud83dz","referring_links_tld":{"\udc00":1},"info":{"cms":"\ud83d\ude00"}}"#);
    let expected =
        json!({"target": "a.com", "type": "a\u{fffd}z", "referring_links_tld": [["\u{fffd}", 1]], "info_cms": "😀"});
    assert_eq!(half, expected);
    assert_eq!(surprises.len(), 2, "{surprises:?}");
    let mut body = answer(r#"{"type":"a?z"}"#).into_bytes();
    let at = body.iter().position(|byte| *byte == b'?').expect("a mark");
    body[at] = 0xff;
    let (rows, DecodedRows { drift, .. }) = decoded(&body).expect("an answer");
    assert_eq!(rows[0]["type"], "a\u{fffd}z");
    assert_eq!(drift.count(&DriftKind::NotUtf8), 1);
}

#[test]
fn escapes_and_other_scripts_are_decoded() {
    let (row, surprises) =
        row(r#"{"r\u0061nk":4,"type":"\"\\\/\n\u00e9é日本","referring_links_tld":{"\u0440\u0444":1,"рф":2}}"#);
    assert_eq!((&row["rank"], &row["type"]), (&json!(4), &json!("\"\\/\néé日本")));
    assert_eq!(row["referring_links_tld"], json!([["рф", 2]]), "the two are one key");
    assert!(surprises.is_empty());
}

#[test]
fn rows_are_sorted_by_date_stably_with_undated_rows_last() {
    let dates = ["2021-03-01", "", "2019-01-31 00:00:00 +00:00", "2021-03-01T00:00:00Z", "never", "2020-02-29"];
    let item = |(rank, date): (usize, &&str)| {
        format!(
            r#"{{"rank":{rank},"date":"{date}","referring_links_tld":{{"k{rank}":{rank},"x":null}},"info":{{"cms":"c{rank}","platform_type":["p{rank}",null]}}}}"#
        )
    };
    let items: Vec<String> = dates.iter().enumerate().map(item).collect();
    let (rows, ..) = decoded(answer(&items.join(","))).expect("an answer");
    for (row, rank) in rows.iter().zip([2, 5, 0, 3, 1, 4]) {
        assert_eq!((&row["rank"], &row["info_cms"]), (&json!(rank), &json!(format!("c{rank}"))));
        assert_eq!(row["referring_links_tld"], json!([[format!("k{rank}"), rank], ["x", null]]));
        assert_eq!(row["info_platform_type"], json!([format!("p{rank}"), null]));
    }
}

#[test]
fn items_that_are_not_objects_are_skipped_and_counted() {
    let (rows, DecodedRows { drift, .. }) = decoded(answer(r#"null,{"rank":1},3,"x",[{}],null"#)).expect("an answer");
    assert_eq!(rows.len(), 1);
    let skipped = |found| drift.count(&DriftKind::WrongType { place: "items[]", expected: "object", found });
    assert_eq!(["null", "number", "string", "list"].map(skipped), [2, 1, 1, 1]);
}

#[test]
fn the_only_result_about_the_target_is_found_among_those_about_others() {
    let result = |name: &str, rank: u8| format!(r#"{{"items":[{{"rank":{rank}}}],"target":"{name}"}}"#);
    let task = |rest: &str| format!(r#"{{"status_code":20000,"cost":0.01,{rest}}}"#);
    let results = |results: &[&str]| task(&format!(r#""result":[{}]"#, results.join(",")));
    let check = |tasks: &[&str], about: About, expected: &[i64], is_noted: bool| {
        let body = format!(r#"{{"tasks":[{}]}}"#, tasks.join(","));
        let (rows, DecodedRows { drift, .. }) = decoded(&body).expect(&body);
        assert_eq!(rows.iter().map(|row| row["rank"].clone()).collect::<Vec<_>>(), expected, "{body}");
        assert_eq!(drift.count(&DriftKind::OtherTargets), u64::from(is_noted), "{body}");
        let envelope = Envelope::read("a.com", body.as_bytes()).expect(&body);
        assert_eq!((envelope.about, envelope.items), (about, expected.len() as u64), "{body}");
        let cost = tasks.iter().fold(Usd::ZERO, |sum, _| sum.plus(Usd::from_micros(10_000)));
        assert_eq!(envelope.cost, Some(cost), "all tasks were billed: {body}");
        // A repeated key needs a pass of its own
        let twice = body.replace(r#""rank":1"#, r#""rank":0,"rank":1"#);
        assert_eq!(decoded(&twice).expect(&twice).0, rows, "{twice}");
    };
    let (ours, other) = (result("www.A.com", 1), result("b.com", 2));
    check(&[&results(&[&other, &ours])], About::Target, &[1], true);
    check(&[&results(&[&ours, &other])], About::Target, &[1], true);
    check(&[&results(&[r#"{"items":[{"rank":3}]}"#, &other, "null", &ours])], About::Target, &[1], true);
    check(&[&results(&[&other]), &results(&[&ours])], About::Target, &[1], true);
    check(&[&results(&["{}"]), &results(&[&other, &ours])], About::Target, &[1], true);
    let echoed = task(r#""data":{"target":"a.com"},"result":[{"items":[{"rank":4},{"rank":5}]}]"#);
    check(&[&results(&[&other]), &echoed], About::Target, &[4, 5], true);
    check(&[&results(&[&ours]), &results(&[&other])], About::Target, &[1], false);
    check(&[&results(&[&ours]), &results(&[&ours])], About::Target, &[1], false);
    check(&[&results(&[&other, &ours, &ours])], About::Another, &[2, 1, 1], false);
    check(&[&results(&[&other]), &results(&[&ours]), &echoed], About::Another, &[2], false);
    check(&[&results(&[&other, &other])], About::Another, &[2, 2], false);
}

#[test]
fn rows_come_from_all_results_of_the_first_task() {
    let check = |body: &str, expected: &[i64], surprises: usize| {
        let (rows, DecodedRows { drift, .. }) = decoded(body).expect(body);
        assert_eq!(rows.iter().map(|row| row["rank"].clone()).collect::<Vec<_>>(), expected, "{body}");
        assert_eq!(drift.iter().count(), surprises, "{body}");
        let counted = Envelope::read("a.com", body.as_bytes()).map_or(0, |envelope| envelope.items);
        assert!(counted == expected.len() as u64 || surprises > 0, "the envelope counts {counted}: {body}");
    };
    let one = r#"{"items":[{"rank":1}]}"#;
    check(&format!(r#"{{"tasks":[{{"result":[{one},null,{{"items":null}},{{}},{one}]}}]}}"#), &[1, 1], 0);
    check(&format!(r#"{{"tasks":[null,{{"result":[{one}]}},{{"result":[{one}]}}]}}"#), &[1], 0);
    check(&format!(r#"{{"tasks":[{{"result":null}},{{"result":[{one}]}}]}}"#), &[], 0);
    check(&format!(r#"{{"tasks":[7,{{"result":[{one}]}}]}}"#), &[], 1);
    for empty in ["{}", r#"{"tasks":null}"#, r#"{"tasks":[]}"#, r#"{"tasks":[null]}"#, r#"{"tasks":[{}]}"#] {
        check(empty, &[], 0);
    }
    for empty in ["null", "[]", "[null]", "[{}]", r#"[{"items":null}]"#, r#"[{"items":[]}]"#] {
        check(&format!(r#"{{"tasks":[{{"result":{empty}}}]}}"#), &[], 0);
    }
    for odd in [r#"{"tasks":{}}"#, r#"{"tasks":[{"result":"x"}]}"#, r#"{"tasks":[{"result":[[]]}]}"#] {
        check(odd, &[], 1);
    }
    check(r#"{"tasks":[{"result":[{"items":{"0":{}}}]}]}"#, &[], 1);
}

#[test]
fn only_a_body_without_a_json_object_is_an_error() {
    let check = |body: &[u8], expected: &str| assert_eq!(decoded(body).expect_err(expected), expected);
    check(b"", "the answer is not JSON: EOF while parsing a value at line 1 column 0");
    check(b"[]", "the answer is a JSON list, not an object");
    check(b"3", "the answer is a JSON number, not an object");
    check(b"null", "the answer is a JSON null, not an object");
    check(b"x {}", "the answer is not JSON: expected value at line 1 column 1");
    check(b"<html>", "the answer is not JSON: expected value at line 1 column 1");
    check(b"\xef\xbb\xbf", "the answer is not JSON: expected value at line 1 column 1");
    let whole = answer(r#"{"rank":1,"referring_links_tld":{"com":1}}"#);
    for cut in 0..whole.len() {
        assert!(decoded(&whole[..cut]).is_err(), "cut at {cut}");
    }
    assert!(decoded(answer(r#"{"rank":01}"#)).is_err());
    assert!(decoded(answer(r#"{"rank":NaNs}"#)).is_err());
    assert!(decoded(answer("{\"type\":\"a\nb\"}")).is_err());
}

#[test]
fn non_json_numbers_are_null_and_trailing_commas_are_ignored() {
    let check = |item: &str| {
        let (rows, DecodedRows { drift, .. }) = decoded(answer(item)).expect(item);
        assert_eq!((rows.len(), &rows[0]["rank"], &rows[0]["backlinks"]), (1, &json!(7), &Value::Null), "{item}");
        assert_eq!((drift.iter().count(), drift.count(&DriftKind::NotStrictJson)), (1, 1), "{item}");
        let envelope = Envelope::read("a.com", answer(item).as_bytes()).expect(item);
        assert!(!envelope.is_json && envelope.items == 1, "{item}");
    };
    check(r#"{"rank":7,"backlinks":NaN}"#);
    check(r#"{"backlinks":Infinity,"rank":7}"#);
    check(r#"{"rank":7,"backlinks":-Infinity}"#);
    check(r#"{"rank":7,}"#);
    check("{\"rank\":7},\n");
    check(r#"{"rank":7,"type":"NaN,}","info":{"platform_type":["a",],},}"#);
}

#[test]
fn an_error_does_not_affect_the_next_answer() {
    let mut decoder = Decoder::new();
    let whole = answer(r#"{"rank":1,"type":"t","new":1,"referring_links_tld":{"com":1}}"#);
    let cut = decoder.decode("b.com", &whole.as_bytes()[..whole.len() - 1]);
    assert!(cut.rows.is_err() && cut.envelope.is_none());
    let next = decoder.decode("c.com", answer(r#"{"rank":3}"#).as_bytes()).rows.expect("an answer");
    assert_eq!(rows_of(&next.batch), [json!({"target": "c.com", "rank": 3})]);
    assert!(next.drift.is_empty());
}

#[test]
fn any_depth_of_nesting_is_accepted() {
    const DEPTH: usize = 350_000;
    let deep = |open: &str, close: &str| [open.repeat(DEPTH), "1".into(), close.repeat(DEPTH)].concat();
    for value in [deep("[", "]"), deep("{\"a\":", "}")] {
        let (rows, DecodedRows { drift, .. }) =
            decoded(answer(&format!(r#"{{"rank":1,"x":{value},"backlinks":{value}}}"#))).expect("an answer");
        assert_eq!(rows, [json!({"target": "a.com", "rank": 1})]);
        assert_eq!(drift.iter().count(), 2);
        let around = format!(r#"{{"x":{value},"tasks":[{{"x":{value},"result":[{{"x":{value},"items":[{{}}]}}]}}]}}"#);
        assert_eq!(decoded(around).expect("an answer").0.len(), 1);
    }
    assert!(decoded(answer(&format!(r#"{{"x":{}"#, "[".repeat(DEPTH)))).is_err());
}

#[test]
fn a_million_of_anything_is_accepted() {
    const MANY: usize = 1_000_000;
    let body = answer(&vec!["{}"; MANY].join(","));
    let rows = Decoder::new().decode("a.com", body.as_bytes()).rows.expect("an answer");
    assert_eq!((rows.batch.num_rows() as u64, MAX_ROWS + rows.items_over_limit()), (MAX_ROWS, MANY as u64));
    let entries: Vec<String> = (0..MANY / 2).map(|entry| format!("\"{entry}\":{entry}")).collect();
    let (row, _) = row(&format!(r#"{{"referring_links_tld":{{{}}}}}"#, entries.join(",")));
    assert_eq!(row["referring_links_tld"].as_array().map(Vec::len), Some(MANY / 2));
    let keys: Vec<String> = (0..MANY / 2).map(|key| format!("\"u{key}\":0")).collect();
    let (_, DecodedRows { drift, .. }) = decoded(answer(&format!("{{{}}}", keys.join(",")))).expect("an answer");
    assert_eq!(drift.iter().count(), MAX_UNKNOWN_KEYS + 1);
}

#[test]
fn items_beyond_the_most_rows_are_counted() {
    let max = usize::try_from(MAX_ROWS).expect("small");
    for beyond in [0, 1, 3] {
        // With a repeated key before them, too
        for first in ["{}", r#"{"rank":1,"rank":2}"#] {
            let items = [vec![first], vec!["{}"; max - 1], vec!["{}"; beyond], vec!["null"]].concat();
            let (rows, found) = decoded(answer(&items.join(","))).expect("an answer");
            assert_eq!((rows.len(), found.items_over_limit()), (max, beyond as u64));
        }
    }
}

#[test]
fn earlier_answers_do_not_affect_the_result() {
    let mut decoder = Decoder::new();
    for seed in 0..60 {
        let body = generated::odd_answer(&mut generated::Dice::new(seed));
        let of = |decoder: &mut Decoder| decoder.decode("a.com", body.as_bytes()).rows.expect("an answer");
        let (again, fresh) = (of(&mut decoder), of(&mut Decoder::new()));
        assert_eq!((again.batch, again.drift), (fresh.batch, fresh.drift), "{body}");
    }
}

#[test]
fn answers_with_any_mix_of_irregularities_are_decoded() {
    for seed in 0..6_000 {
        let body = generated::odd_answer(&mut generated::Dice::new(seed));
        decoded(&body).unwrap_or_else(|error| panic!("seed {seed}: {error}: {body}"));
    }
}

#[test]
fn damaged_answers_are_decoded_or_refused() {
    let mut sound = 0;
    for seed in 0..10_000 {
        let mut dice = generated::Dice::new(seed);
        let mut body = generated::odd_answer(&mut dice).into_bytes();
        for _ in 0..=dice.below(3) {
            generated::damage(&mut body, &mut dice);
        }
        sound += u32::from(decoded(&body).is_ok());
    }
    assert!((800..9_200).contains(&sound), "{sound} of 10,000 were JSON still");
}

#[test]
fn every_day_of_two_centuries_is_decoded() {
    let first = jiff::civil::date(1900, 1, 1);
    for start in (0..60_000).step_by(20_000) {
        let days = (start..start + 20_000).map(|day| first.checked_add(jiff::Span::new().days(day)).expect("a day"));
        let days: Vec<_> = days.collect();
        let items: Vec<String> = days.iter().map(|day| format!(r#"{{"date":"{day} 12:57:46 +00:00"}}"#)).collect();
        let (rows, _) = decoded(answer(&items.join(","))).expect("an answer");
        for (row, day) in rows.iter().zip(days) {
            let noon = jiff::tz::Offset::UTC.to_timestamp(day.at(12, 57, 46, 0)).expect("a time").as_microsecond();
            assert_eq!(row["date"], noon, "{day}");
        }
    }
}
