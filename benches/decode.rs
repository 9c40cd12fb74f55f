//! What it costs to turn an answer into rows, beside what it costs to look at its bytes at all.
//!
//! The answer is made up: 95 months with all keys and ten entries in most maps, as large as real ones.

use std::fmt::Write as _;

use backlinks_export::flatten::{Flattener, plain_rows, schema};
use divan::{Bencher, black_box, counter::BytesCount};

const ROWS: usize = 95;

/// Answers in one record batch, whose making is a part of the cost.
const ANSWERS: usize = 200;

fn main() {
    divan::main();
}

/// How the answers of a benchmark differ from the usual one.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// As documented, oldest month first.
    Usual,
    /// Newest month first: the rows have to be turned round.
    NewestFirst,
    /// A new key in each item.
    UnknownKey,
    /// With blanks and line ends, twice as large.
    Pretty,
}

const SHAPES: [Shape; 4] = [Shape::Usual, Shape::NewestFirst, Shape::UnknownKey, Shape::Pretty];

fn answer(shape: Shape) -> Vec<u8> {
    let mut months: Vec<usize> = (0..ROWS).collect();
    if matches!(shape, Shape::NewestFirst) {
        months.reverse();
    }
    let items: Vec<String> = months.into_iter().map(|month| item(month, matches!(shape, Shape::UnknownKey))).collect();
    let text = format!(
        r#"{{"version":"0.1.20250825","status_code":20000,"status_message":"Ok.","time":"0.15 sec.","cost":0.0274,"tasks_count":1,"tasks_error":0,"tasks":[{{"id":"x","status_code":20000,"status_message":"Ok.","cost":0.0274,"result_count":1,"data":{{"target":"example.com"}},"result":[{{"target":"example.com","items_count":{ROWS},"items":[{}]}}]}}]}}"#,
        items.join(",")
    );
    if matches!(shape, Shape::Pretty) {
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        return serde_json::to_vec_pretty(&value).expect("JSON");
    }
    text.into_bytes()
}

fn item(month: usize, unknown_key: bool) -> String {
    const KEYS: [&[&str]; 6] = [
        &["com", "pics", "net", "org", "info", "hu", "co.uk", "io", "best", "co"],
        &["anchor", "redirect", "image", "canonical", "link"],
        &["noopener", "nofollow", "noreferrer", "external", "sponsored", "ugc", "alternate"],
        &["unknown", "cms", "blogs", "organization", "message-boards", "news", "ecommerce", "wikis"],
        &["", "article", "section", "main", "details", "figcaption", "figure", "header", "aside", "nav"],
        &["", "US", "WW", "IN", "GB", "IO", "CO", "DE", "IT", "BR"],
    ];
    let mut text = format!(
        r#"{{"type":"backlinks_history","date":"20{}-{:02}-01 00:00:00 +00:00""#,
        19 + month / 12,
        1 + month % 12
    );
    for (index, key) in schema::INTEGERS.iter().enumerate() {
        let value = (month + 3) * (index * 7_919 + 371) % 50_000;
        write!(text, ",\"{key}\":{value}").expect("a string");
        if index == 6 {
            text.push_str(r#","info":{"server":"cloudflare","cms":null,"platform_type":["unknown"],"ip_address":"192.0.2.80","country":"US","is_ip":false,"target_spam_score":0}"#);
        }
    }
    if unknown_key {
        text.push_str(r#","referring_links_new":{"a":1}"#);
    }
    for (name, keys) in schema::MAPS.iter().zip(KEYS) {
        let entries: Vec<String> = keys
            .iter()
            .enumerate()
            .map(|(index, key)| format!("\"{key}\":{}", (month + 7) * 104_729 % 9_000 / (index + 1)))
            .collect();
        write!(text, ",\"{name}\":{{{}}}", entries.join(",")).expect("a string");
    }
    text.push('}');
    text
}

#[divan::bench(args = SHAPES)]
fn floor_tokens_alone(bencher: Bencher<'_, '_>, shape: Shape) {
    let body = answer(shape);
    bencher
        .counter(BytesCount::new(body.len()))
        .bench(|| serde_json::from_slice::<serde::de::IgnoredAny>(black_box(&body)).expect("JSON"));
}

#[divan::bench(args = SHAPES)]
fn plain(bencher: Bencher<'_, '_>, shape: Shape) {
    let body = answer(shape);
    bencher
        .counter(BytesCount::new(body.len()))
        .bench(|| plain_rows("example.com", black_box(&body)).expect("an answer"));
}

/// A whole record batch: divide by 200.
#[divan::bench(args = SHAPES)]
fn fast_200_answers_to_a_batch(bencher: Bencher<'_, '_>, shape: Shape) {
    let body = answer(shape);
    let mut flattener = Flattener::new();
    bencher.counter(BytesCount::new(body.len() * ANSWERS)).bench_local(|| {
        for _ in 0..ANSWERS {
            flattener.push("example.com", black_box(&body)).expect("an answer");
        }
        flattener.finish()
    });
}

#[divan::bench(args = SHAPES)]
fn fast_push_alone(bencher: Bencher<'_, '_>, shape: Shape) {
    let body = answer(shape);
    let mut flattener = Flattener::new();
    let mut pushed = 0;
    bencher.counter(BytesCount::new(body.len())).bench_local(|| {
        pushed += 1;
        if pushed % ANSWERS == 0 {
            flattener = Flattener::new();
        }
        flattener.push("example.com", black_box(&body)).expect("an answer")
    });
}
