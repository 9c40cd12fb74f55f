//! Each surprise of an answer by itself, then all of them at random: the fast way is held to the plain one.

use std::fmt::Write as _;

use super::*;

pub(crate) mod generated;
mod independent;

/// An answer with these items.
fn answer(items: &str) -> String {
    format!(
        r#"{{"version":"0.1","status_code":20000,"cost":0.03,"tasks":[{{"id":"x","status_code":20000,"data":{{"target":"a.com"}},"result":[{{"target":"a.com","items_count":1,"items":[{items}]}}]}}]}}"#
    )
}

/// The rows and the drift of one answer, which both ways have to agree on, and whether the fast one sufficed.
fn flattened(body: impl AsRef<[u8]>) -> Result<(Vec<PlainRow>, SchemaDrift, Appended), String> {
    let body = body.as_ref();
    let mut flattener = Flattener::new();
    let appended = flattener.push("a.com", body);
    let batch = flattener.finish();
    let rows = rows_of(&batch).expect("a batch of the schema");
    let mut plain_drift = SchemaDrift::default();
    let plain = plain::read("a.com", body, &mut plain_drift);
    match (appended, plain) {
        (Ok(appended), Ok(plain)) => {
            assert_eq!(rows, plain.rows, "{}", String::from_utf8_lossy(body));
            assert_eq!(*flattener.drift(), plain_drift, "{}", String::from_utf8_lossy(body));
            let counted = (appended.rows, appended.skipped, appended.beyond);
            assert_eq!(counted, (rows.len() as u64, plain.skipped, plain.beyond));
            Ok((rows, plain_drift, appended))
        }
        (Err(error), Err(plain)) => {
            assert_eq!(error.to_string(), plain.to_string());
            assert!(rows.is_empty() && flattener.drift().is_empty());
            Err(error.to_string())
        }
        (fast, plain) => {
            panic!("fast {fast:?}, plain {:?}: {}", plain.map(|plain| plain.rows), String::from_utf8_lossy(body))
        }
    }
}

/// The only row of an answer with one item, and what was surprising.
fn row(item: &str) -> (PlainRow, Vec<String>) {
    let (mut rows, drift, _) = flattened(answer(item)).expect(item);
    assert_eq!(rows.len(), 1, "{item}");
    (rows.remove(0), drift.iter().map(|(surprise, seen)| format!("{}x {surprise}", seen.count)).collect())
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
fn in_parquet_nested_fields_bear_the_names_that_engines_look_for() {
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
    let (rows, drift, appended) = flattened(generated::usual_answer(3)).expect("an answer");
    assert!(appended.fast && drift.is_empty(), "{drift:?}");
    let map = || {
        Some([("", 20_318), ("com", 12_403), ("co.uk", 527)].map(|(key, value)| (key.to_owned(), Some(value))).to_vec())
    };
    let expected = PlainRow {
        target: "a.com".into(),
        kind: Some("backlinks_history".into()),
        date: value::date("2019-01-01T12:57:46Z"),
        integers: std::array::from_fn(|index| i64::try_from(index).ok()),
        info: PlainInfo {
            texts: [Some("cloudflare".into()), None, Some("US".into()), Some("192.0.2.7".into())],
            is_ip: Some(false),
            platform_type: Some(vec![Some("cms".into()), Some("blogs".into())]),
            target_spam_score: Some(4),
        },
        maps: std::array::from_fn(|_| map()),
    };
    assert_eq!(rows[0], expected);
}

#[test]
fn missing_and_null_are_null_and_never_zero() {
    let (missing, surprises) = row("{}");
    assert_eq!(missing, PlainRow { target: "a.com".into(), ..PlainRow::default() });
    assert!(surprises.is_empty());
    let all_null: Vec<String> = (["type", "date", "info"].iter().chain(&schema::INTEGERS).chain(&schema::MAPS))
        .map(|key| format!("\"{key}\":null"))
        .collect();
    assert_eq!(row(&format!("{{{}}}", all_null.join(","))), (missing.clone(), vec![]));
    let info = r#"{"info":{"server":null,"cms":null,"country":null,"ip_address":null,"is_ip":null,"platform_type":null,"target_spam_score":null}}"#;
    assert_eq!(row(info), (missing, vec![]));
}

#[test]
fn a_null_map_and_an_empty_one_stay_apart() {
    let (row, _) = row(r#"{"referring_links_tld":{},"referring_links_types":null,"info":{"platform_type":[]}}"#);
    assert_eq!(row.maps[0], Some(vec![]));
    assert_eq!(row.maps[1], None);
    assert_eq!(row.info.platform_type, Some(vec![]));
}

#[test]
fn map_entries_are_kept_as_served_each_key_once() {
    let (row, surprises) = row(r#"{"referring_links_countries":{"":9,"WW":1,"US":null,"":2,"US":3}}"#);
    let entries = [("", Some(2)), ("WW", Some(1)), ("US", Some(3))];
    assert_eq!(row.maps[5], Some(entries.map(|(key, value)| (key.to_owned(), value)).to_vec()));
    assert!(surprises.is_empty());
}

#[test]
fn the_right_key_goes_before_its_alias_in_either_order() {
    let check = |item: &str, expected: Option<i64>, surprises: usize| {
        let (row, seen) = row(item);
        assert_eq!((row.integers[4], seen.len()), (expected, surprises), "{item}: {seen:?}");
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
    let map = |item: &str| row(item).0.maps[2].clone();
    let one = Some(vec![("ugc".to_owned(), Some(1))]);
    assert_eq!(map(r#"{"referring_links_flags":{"ugc":1}}"#), one);
    assert_eq!(map(r#"{"referring_links_attributes":{"ugc":1},"referring_links_flags":{"x":2}}"#), one);
    assert_eq!(map(r#"{"referring_links_flags":{"x":2},"referring_links_attributes":{"ugc":1}}"#), one);
    assert_eq!(map(r#"{"referring_links_flags":{"ugc":1},"referring_links_attributes":null}"#), one);
    assert_eq!(map(r#"{"referring_links_flags":{"ugc":1},"referring_links_attributes":{}}"#), Some(vec![]));
}

#[test]
fn unknown_keys_are_counted_and_change_nothing() {
    let (row, surprises) = row(r#"{"rank":1,"new_key":{"a":[1,{}]},"info":{"city":"x"},"backlinks":2,"new_key":3}"#);
    assert_eq!((row.integers[0], row.integers[1]), (Some(1), Some(2)));
    assert_eq!(surprises, [r#"1x unknown key "info.city""#, r#"2x unknown key "new_key""#]);
}

#[test]
fn a_value_of_the_wrong_type_costs_its_cell_and_no_more() {
    let check = |member: &str, surprise: &str| {
        let (row, surprises) = row(&format!(r#"{{"rank":7,{member},"referring_pages":8}}"#));
        let rest = PlainRow {
            target: "a.com".into(),
            integers: std::array::from_fn(|index| {
                [(0, 7), (17, 8)].iter().find(|cell| cell.0 == index).map(|cell| cell.1)
            }),
            ..PlainRow::default()
        };
        assert_eq!(row, rest, "{member}");
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
    let entries = [("com", Some(1)), ("net", None), ("org", None)];
    assert_eq!(row.maps[0], Some(entries.map(|(key, value)| (key.to_owned(), value)).to_vec()));
    assert_eq!(row.info.platform_type, Some(vec![Some("cms".into()), None, None]));
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
        assert_eq!((row.integers[0], row.info.target_spam_score), (Some(value), Some(value)), "{text}");
        assert_eq!(row.maps[0], Some(vec![(String::new(), Some(value)), ("com".to_owned(), Some(3))]), "{text}");
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
    assert_eq!((row.integers, surprises.len()), ([Some(7); schema::INTEGERS.len()], schema::INTEGERS.len()));
}

#[test]
fn integers_written_as_floats_are_integers() {
    let (row, surprises) =
        row(r#"{"rank":12.0,"backlinks":1e3,"new_backlinks":-0,"lost_backlinks":9223372036854775807}"#);
    assert_eq!(row.integers[..4], [Some(12), Some(1_000), Some(0), Some(i64::MAX)]);
    assert!(surprises.is_empty());
}

#[test]
fn of_a_key_that_comes_twice_the_last_value_counts() {
    assert_eq!(row(r#"{"rank":1,"backlinks":5,"rank":2}"#).0.integers[..2], [Some(2), Some(5)]);
    assert_eq!(row(r#"{"rank":1,"rank":null}"#).0.integers[0], None);
    assert_eq!(row(r#"{"info":{"cms":"a","cms":"b"}}"#).0.info.texts[1].as_deref(), Some("b"));
    let map = row(r#"{"referring_links_tld":{"com":1,"net":2,"com":3,"":4,"net":null}}"#).0.maps[0].clone();
    let entries = [("com", Some(3)), ("net", None), ("", Some(4))];
    assert_eq!(map, Some(entries.map(|(key, value)| (key.to_owned(), value)).to_vec()), "engines refuse repeated keys");
    let twice = r#"{"tasks":[{"result":[{"items":[{"rank":1},{"rank":2}],"items":[{"rank":3}]}]}]}"#;
    let (rows, ..) = flattened(twice).expect(twice);
    assert_eq!(rows.iter().map(|row| row.integers[0]).collect::<Vec<_>>(), [Some(3)]);
}

#[test]
fn text_that_is_no_unicode_is_replaced_and_counted() {
    let (half, surprises) =
        row(r#"{"type":"a\ud83dz","referring_links_tld":{"\udc00":1},"info":{"cms":"\ud83d\ude00"}}"#);
    assert_eq!(half.kind.as_deref(), Some("a\u{fffd}z"));
    assert_eq!(half.maps[0], Some(vec![("\u{fffd}".to_owned(), Some(1))]));
    assert_eq!(half.info.texts[1].as_deref(), Some("😀"));
    assert_eq!(surprises.len(), 2, "{surprises:?}");
    let mut body = answer(r#"{"type":"a?z"}"#).into_bytes();
    let at = body.iter().position(|byte| *byte == b'?').expect("a mark");
    body[at] = 0xff;
    let (rows, drift, _) = flattened(&body).expect("an answer");
    assert_eq!(rows[0].kind.as_deref(), Some("a\u{fffd}z"));
    assert_eq!(drift.count(&UnexpectedField::NotUtf8), 1);
}

#[test]
fn escapes_and_other_scripts_mean_what_they_say() {
    let (row, surprises) =
        row(r#"{"r\u0061nk":4,"type":"\"\\\/\n\u00e9é日本","referring_links_tld":{"\u0440\u0444":1,"рф":2}}"#);
    assert_eq!(row.integers[0], Some(4));
    assert_eq!(row.kind.as_deref(), Some("\"\\/\néé日本"));
    assert_eq!(row.maps[0], Some(vec![("рф".to_owned(), Some(2))]), "the two are one key");
    assert!(surprises.is_empty());
}

#[test]
fn rows_are_sorted_by_date_with_the_undated_last_and_equals_in_their_order() {
    let dates = ["2021-03-01", "", "2019-01-31 00:00:00 +00:00", "2021-03-01T00:00:00Z", "never", "2020-02-29"];
    let item = |(rank, date): (usize, &&str)| {
        format!(
            r#"{{"rank":{rank},"date":"{date}","referring_links_tld":{{"k{rank}":{rank},"x":null}},"info":{{"cms":"c{rank}","platform_type":["p{rank}",null]}}}}"#
        )
    };
    let items: Vec<String> = dates.iter().enumerate().map(item).collect();
    let (rows, ..) = flattened(answer(&items.join(","))).expect("an answer");
    let ranks: Vec<_> = rows.iter().filter_map(|row| row.integers[0]).collect();
    assert_eq!(ranks, [2, 5, 0, 3, 1, 4]);
    for (row, rank) in rows.iter().zip(ranks) {
        assert_eq!(row.maps[0], Some(vec![(format!("k{rank}"), Some(rank)), ("x".to_owned(), None)]));
        assert_eq!(row.info.texts[1], Some(format!("c{rank}")));
        assert_eq!(row.info.platform_type, Some(vec![Some(format!("p{rank}")), None]));
    }
}

#[test]
fn items_that_are_no_objects_are_skipped_and_counted() {
    let (rows, drift, appended) = flattened(answer(r#"null,{"rank":1},3,"x",[{}],null"#)).expect("an answer");
    assert_eq!((rows.len(), appended.skipped), (1, 5));
    let null = UnexpectedField::WrongType { place: "items[]", expected: "object", found: "null" };
    assert_eq!(drift.count(&null), 2);
}

#[test]
fn the_rows_are_those_of_all_results_of_the_first_task_there_is() {
    let check = |body: &str, expected: &[i64], surprises: usize| {
        let (rows, drift, _) = flattened(body).expect(body);
        assert_eq!(rows.iter().filter_map(|row| row.integers[0]).collect::<Vec<_>>(), expected, "{body}");
        assert_eq!(drift.iter().count(), surprises, "{body}");
        let counted = crate::decode::Envelope::read(body.as_bytes()).map_or(0, |envelope| envelope.items);
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
fn only_what_is_no_json_object_is_an_error() {
    let check = |body: &[u8], expected: &str| assert_eq!(flattened(body).expect_err(expected), expected);
    check(b"", "the answer is not JSON: EOF while parsing a value at line 1 column 0");
    check(b"[]", "the answer is a JSON list, not an object");
    check(b"3", "the answer is a JSON number, not an object");
    check(b"null", "the answer is a JSON null, not an object");
    check(b"x {}", "the answer is not JSON: expected value at line 1 column 1");
    check(b"<html>", "the answer is not JSON: expected value at line 1 column 1");
    check(b"\xef\xbb\xbf", "the answer is not JSON: expected value at line 1 column 1");
    let whole = answer(r#"{"rank":1,"referring_links_tld":{"com":1}}"#);
    for cut in 0..whole.len() {
        assert!(flattened(&whole[..cut]).is_err(), "cut at {cut}");
    }
    assert!(flattened(answer(r#"{"rank":01}"#)).is_err());
    assert!(flattened(answer(r#"{"rank":NaN}"#)).is_err());
    assert!(flattened(answer("{\"type\":\"a\nb\"}")).is_err());
}

#[test]
fn an_error_takes_back_what_the_answer_had_begun() {
    let mut flattener = Flattener::new();
    let whole = answer(r#"{"rank":1,"type":"t","new":1,"referring_links_tld":{"com":1}}"#);
    flattener.push("a.com", whole.as_bytes()).expect("an answer");
    flattener.push("b.com", &whole.as_bytes()[..whole.len() - 1]).expect_err("cut");
    flattener.push("c.com", answer(r#"{"rank":3}"#).as_bytes()).expect("an answer");
    assert_eq!(flattener.rows(), 2);
    let rows = rows_of(&flattener.finish()).expect("a batch");
    let cells: Vec<_> = rows.iter().map(|row| (row.target.as_str(), row.integers[0], row.maps[0].is_some())).collect();
    assert_eq!(cells, [("a.com", Some(1), true), ("c.com", Some(3), false)]);
    assert_eq!(flattener.drift().count(&UnexpectedField::UnknownKey("new".into())), 1);
}

#[test]
fn a_full_batch_says_so_and_there_is_room_again_once_it_is_handed_over() {
    let mut flattener = Flattener::new();
    let body = answer(r#"{"rank":1}"#);
    for _ in 0..2 {
        flattener.push("a.com", body.as_bytes()).expect("an answer");
    }
    // Broken text may take three bytes for one.
    assert_eq!((flattener.gathered, flattener.columns.target_bytes()), (6 * body.len(), 10));
    flattener.gathered = LARGEST_BATCH - 3 * body.len();
    flattener.push("a.com", body.as_bytes()).expect("the last that fits");
    assert!(matches!(flattener.push("b.com", body.as_bytes()), Err(FlattenError::Full)));
    assert_eq!(flattener.finish().num_rows(), 3);
    flattener.push("b.com", body.as_bytes()).expect("room again");
    assert_eq!(flattener.rows(), 1);
}

#[test]
fn no_depth_is_too_much() {
    const DEPTH: usize = 350_000;
    let deep = |open: &str, close: &str| [open.repeat(DEPTH), "1".into(), close.repeat(DEPTH)].concat();
    for value in [deep("[", "]"), deep("{\"a\":", "}")] {
        let (rows, drift, appended) =
            flattened(answer(&format!(r#"{{"rank":1,"x":{value},"backlinks":{value}}}"#))).expect("an answer");
        assert!(appended.fast);
        assert_eq!((rows[0].integers[0], rows[0].integers[1]), (Some(1), None));
        assert_eq!(drift.iter().count(), 2);
        let around = format!(r#"{{"x":{value},"tasks":[{{"x":{value},"result":[{{"x":{value},"items":[{{}}]}}]}}]}}"#);
        assert_eq!(flattened(around).expect("an answer").0.len(), 1);
    }
    assert!(flattened(answer(&format!(r#"{{"x":{}"#, "[".repeat(DEPTH)))).is_err());
}

#[test]
fn a_million_of_anything_is_fine() {
    const MANY: usize = 1_000_000;
    let mut flattener = Flattener::new();
    let appended = flattener.push("a.com", answer(&vec!["{}"; MANY].join(",")).as_bytes()).expect("an answer");
    assert_eq!((appended.rows, appended.rows + appended.beyond), (MOST_ROWS, MANY as u64));
    assert_eq!(flattener.finish().num_rows() as u64, MOST_ROWS);
    let entries: Vec<String> = (0..MANY / 2).map(|entry| format!("\"{entry}\":{entry}")).collect();
    let (row, _) = row(&format!(r#"{{"referring_links_tld":{{{}}}}}"#, entries.join(",")));
    assert_eq!(row.maps[0].as_ref().map(Vec::len), Some(MANY / 2));
    let keys: Vec<String> = (0..MANY / 2).map(|key| format!("\"u{key}\":0")).collect();
    let (_, drift, _) = flattened(answer(&format!("{{{}}}", keys.join(",")))).expect("an answer");
    assert_eq!(drift.iter().count(), MOST_UNKNOWN_KEYS + 1);
}

#[test]
fn items_beyond_the_most_rows_are_counted_alike_by_both_ways() {
    let most = usize::try_from(MOST_ROWS).expect("small");
    for beyond in [0, 1, 3] {
        let items = [vec!["{}"; most], vec!["{}"; beyond], vec!["null"]].concat();
        let (rows, drift, appended) = flattened(answer(&items.join(","))).expect("an answer");
        let beyond = beyond as u64;
        assert_eq!((rows.len(), appended.beyond, appended.skipped), (most, beyond, 1));
        assert_eq!(drift.count(&UnexpectedField::TooManyItems), beyond);
    }
}

#[test]
fn a_map_with_many_different_keys_is_still_read_the_fast_way() {
    let entries: Vec<String> = (0..1_000).map(|entry| format!("\"k{entry}\":{entry}")).collect();
    let (_, _, appended) =
        flattened(answer(&format!(r#"{{"referring_links_tld":{{{}}}}}"#, entries.join(",")))).expect("an answer");
    assert!(appended.fast);
}

#[test]
fn what_was_read_before_changes_no_row() {
    let answers: Vec<String> = (0..60).map(|seed| generated::odd_answer(&mut generated::Dice::new(seed))).collect();
    let mut together = Flattener::new();
    let mut apart = Vec::new();
    for (index, body) in answers.iter().enumerate() {
        let target = format!("t{index}.com");
        if together.push(&target, body.as_bytes()).is_ok() {
            apart.extend(plain_rows(&target, body.as_bytes()).expect("an answer"));
        }
        if index % 7 == 0 {
            // Each batch begins without the last one's rows, but with its habits
            assert_eq!(rows_of(&together.finish()).expect("a batch"), std::mem::take(&mut apart));
        }
    }
    assert_eq!(rows_of(&together.finish()).expect("a batch"), apart);
}

#[test]
fn both_ways_agree_on_answers_with_any_mix_of_surprises() {
    let mut fast = 0;
    for seed in 0..3_000 {
        let body = generated::odd_answer(&mut generated::Dice::new(seed));
        fast += u32::from(flattened(&body).unwrap_or_else(|error| panic!("seed {seed}: {error}: {body}")).2.fast);
    }
    assert!((1_000..2_900).contains(&fast), "{fast} of 3,000 were read the fast way");
}

#[test]
fn both_ways_agree_on_damaged_answers() {
    let mut sound = 0;
    for seed in 0..6_000 {
        let mut dice = generated::Dice::new(seed);
        let mut body = generated::odd_answer(&mut dice).into_bytes();
        for _ in 0..=dice.below(3) {
            generated::damage(&mut body, &mut dice);
        }
        sound += u32::from(flattened(&body).is_ok());
    }
    assert!((500..5_500).contains(&sound), "{sound} of 6,000 were JSON still");
}
