//! The plain exporter that the program is compared with: what a good engineer writes in an afternoon.
//!
//! Typed serde structs, Arrow's builders, and one Parquet file with the writer's defaults at zstd 3. It has no ledger,
//! retries, rate limit, order or partitions, and nothing survives a crash.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read as _, Write as _},
    path::Path,
    sync::Arc,
};

use arrow::{
    array::{
        ArrayRef, BooleanBuilder, Date32Builder, Int64Builder, ListBuilder, MapBuilder, MapFieldNames, RecordBatch,
        StringBuilder, TimestampMicrosecondBuilder,
    },
    datatypes::{DataType, Field},
};
use backlinks_export::decode::schema;
use flate2::read::GzDecoder;
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};
use serde::Deserialize;
use tokio::task::JoinSet;

/// Calls in flight.
const CONCURRENCY: usize = 30;
/// How gzip begins. The API sends short answers uncompressed.
const GZIP: &[u8] = &[0x1f, 0x8b];
/// Rows in a record batch.
const BATCH: usize = 8192;

#[derive(Deserialize)]
struct Answer {
    tasks: Vec<Task>,
}

#[derive(Deserialize)]
struct Task {
    result: Option<Vec<Option<HistoryResult>>>,
}

#[derive(Deserialize)]
struct HistoryResult {
    target: String,
    items: Option<Vec<Item>>,
}

#[derive(Deserialize)]
struct Info {
    server: Option<String>,
    cms: Option<String>,
    country: Option<String>,
    ip_address: Option<String>,
    is_ip: Option<bool>,
    platform_type: Option<Vec<String>>,
    target_spam_score: Option<i64>,
}

type Map = Option<BTreeMap<String, Option<i64>>>;

macro_rules! items {
    ([$($integer:ident)*] [$($map:ident)*]) => {
        #[derive(Deserialize)]
        struct Item {
            r#type: Option<String>,
            date: Option<String>,
            info: Option<Info>,
            $($integer: Option<i64>,)*
            $($map: Map,)*
        }

        impl Item {
            fn integers(&self) -> [Option<i64>; 19] {
                [$(self.$integer),*]
            }

            fn maps(&self) -> [&Map; 6] {
                [$(&self.$map),*]
            }
        }
    };
}

items! {
    [rank backlinks new_backlinks lost_backlinks new_referring_domains lost_referring_domains crawled_pages
     internal_links_count external_links_count broken_backlinks broken_pages referring_domains
     referring_domains_nofollow referring_main_domains referring_main_domains_nofollow referring_ips
     referring_subnets referring_pages referring_pages_nofollow]
    [referring_links_tld referring_links_types referring_links_attributes referring_links_platform_types
     referring_links_semantic_locations referring_links_countries]
}

struct Rows {
    gathered: usize,
    target: StringBuilder,
    kind: StringBuilder,
    date: TimestampMicrosecondBuilder,
    month_start: Date32Builder,
    integers: [Int64Builder; 19],
    texts: [StringBuilder; 4],
    is_ip: BooleanBuilder,
    platform: ListBuilder<StringBuilder>,
    spam: Int64Builder,
    maps: [MapBuilder<StringBuilder, Int64Builder>; 6],
}

impl Rows {
    fn new() -> Self {
        let names = || MapFieldNames { entry: "key_value".into(), key: "key".into(), value: "value".into() };
        let map = |()| MapBuilder::new(Some(names()), StringBuilder::new(), Int64Builder::new());
        Self {
            gathered: 0,
            target: StringBuilder::new(),
            kind: StringBuilder::new(),
            date: TimestampMicrosecondBuilder::new().with_timezone("UTC"),
            month_start: Date32Builder::new(),
            integers: std::array::from_fn(|_| Int64Builder::new()),
            texts: std::array::from_fn(|_| StringBuilder::new()),
            is_ip: BooleanBuilder::new(),
            platform: ListBuilder::new(StringBuilder::new()).with_field(Field::new("element", DataType::Utf8, true)),
            spam: Int64Builder::new(),
            maps: [(); 6].map(map),
        }
    }

    fn push(&mut self, target: &str, item: &Item) {
        self.gathered += 1;
        self.target.append_value(target);
        self.kind.append_option(item.r#type.as_deref());
        let date = item.date.as_ref().and_then(|text| jiff::Timestamp::strptime("%Y-%m-%d %H:%M:%S %:z", text).ok());
        self.date.append_option(date.map(jiff::Timestamp::as_microsecond));
        let month = date.map(|date| jiff::tz::Offset::UTC.to_datetime(date).date().first_of_month());
        self.month_start.append_option(month.map(days_since_1970));
        self.integers.iter_mut().zip(item.integers()).for_each(|(column, value)| column.append_option(value));
        let info = item.info.as_ref();
        let texts = info.map(|info| [&info.server, &info.cms, &info.country, &info.ip_address]);
        for (index, column) in self.texts.iter_mut().enumerate() {
            column.append_option(texts.and_then(|texts| texts[index].as_deref()));
        }
        self.is_ip.append_option(info.and_then(|info| info.is_ip));
        let platform = info.and_then(|info| info.platform_type.as_ref());
        platform.into_iter().flatten().for_each(|element| self.platform.values().append_value(element));
        self.platform.append(platform.is_some());
        self.spam.append_option(info.and_then(|info| info.target_spam_score));
        for (column, map) in self.maps.iter_mut().zip(item.maps()) {
            for (key, value) in map.iter().flatten() {
                column.keys().append_value(key);
                column.values().append_option(*value);
            }
            column.append(map.is_some()).expect("keys and values are as many");
        }
    }

    fn finish(&mut self) -> RecordBatch {
        self.gathered = 0;
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(self.target.finish()),
            Arc::new(self.kind.finish()),
            Arc::new(self.date.finish()),
            Arc::new(self.month_start.finish()),
        ];
        columns.extend(self.integers.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        columns.extend(self.texts.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        columns.push(Arc::new(self.is_ip.finish()));
        columns.push(Arc::new(self.platform.finish()));
        columns.push(Arc::new(self.spam.finish()));
        columns.extend(self.maps.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        RecordBatch::try_new(schema::history(), columns).expect("columns fit their schema")
    }
}

fn days_since_1970(date: jiff::civil::Date) -> i32 {
    (date - jiff::civil::date(1970, 1, 1)).get_days()
}

/// Exports the domains in a file to one Parquet file, and prints how many bytes the answers' bodies had on the wire.
///
/// `encoding` is the one to ask the API for: `gzip` or `identity`.
#[tokio::main]
pub(crate) async fn run(url: &str, domains: &Path, out: &Path, encoding: &str) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::new();
    let endpoint = format!("{url}/dataforseo/backlinks/history/live");
    let domains = std::fs::read_to_string(domains).expect("domains");
    let properties =
        WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::try_new(3).expect("a level"))).build();
    let file = File::options().write(true).create(true).truncate(true).open(out).expect("a file");
    let mut writer = ArrowWriter::try_new(file, schema::history(), Some(properties)).expect("a writer");
    let mut rows = Rows::new();
    let mut received = 0;
    let mut waiting = domains.lines();
    let mut calls = JoinSet::new();
    loop {
        while calls.len() < CONCURRENCY
            && let Some(domain) = waiting.next()
        {
            let body = format!(r#"[{{"target":"{domain}","date_from":"2019-01-01","date_to":"2026-11-24"}}]"#);
            let call = client.post(&endpoint).bearer_auth("x").header("accept-encoding", encoding).body(body);
            calls.spawn(async { call.send().await.expect("a reply").bytes().await.expect("a body") });
        }
        let Some(body) = calls.join_next().await else { break };
        let body = body.expect("no panic");
        received += body.len();
        let answer = if body.starts_with(GZIP) { parse(&gunzip(&body)) } else { parse(&body) };
        for result in answer.tasks.into_iter().filter_map(|task| task.result).flatten().flatten() {
            result.items.iter().flatten().for_each(|item| rows.push(&result.target, item));
        }
        if rows.gathered >= BATCH {
            writer.write(&rows.finish()).expect("written");
        }
    }
    writer.write(&rows.finish()).expect("written");
    writer.into_inner().expect("finished").flush().expect("flushed");
    println!("{received}");
}

/// By hand, with the same library as the program: reqwest's own switch for it would change the program beside it.
fn gunzip(body: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    GzDecoder::new(body).read_to_end(&mut text).expect("gzip");
    text
}

fn parse(text: &[u8]) -> Answer {
    serde_json::from_slice(text).expect("an answer")
}
