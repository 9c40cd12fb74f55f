//! Rows like those of the API, made up: counts that drift from month to month, maps of the ten largest buckets, and
//! nulls here and there. A pure function of the target's number.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BooleanBuilder, Int64Builder, ListBuilder, MapBuilder, StringBuilder, TimestampMicrosecondBuilder,
    },
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
    record_batch::RecordBatch,
};
use fastrand::Rng;
use jiff::{civil::Date, tz::TimeZone};

const NUMBERS: [&str; 19] = [
    "rank",
    "backlinks",
    "new_backlinks",
    "lost_backlinks",
    "new_referring_domains",
    "lost_referring_domains",
    "crawled_pages",
    "internal_links_count",
    "external_links_count",
    "broken_backlinks",
    "broken_pages",
    "referring_domains",
    "referring_domains_nofollow",
    "referring_main_domains",
    "referring_main_domains_nofollow",
    "referring_ips",
    "referring_subnets",
    "referring_pages",
    "referring_pages_nofollow",
];
const TEXTS: [&str; 4] = ["info_server", "info_cms", "info_country", "info_ip_address"];
/// Each map with its usual keys.
const MAPS: [(&str, &[&str]); 6] = [
    ("referring_links_tld", &["com", "net", "org", "info", "co.uk", "io", "de", "ru", "xyz", "top"]),
    ("referring_links_types", &["anchor", "image", "redirect", "canonical", "alternate", "meta"]),
    ("referring_links_attributes", &["nofollow", "noopener", "noreferrer", "external", "ugc", "sponsored"]),
    ("referring_links_platform_types", &["cms", "blogs", "unknown", "ecommerce", "message-boards", "news", "wikis"]),
    ("referring_links_semantic_locations", &["", "article", "footer", "section", "header", "aside", "main", "nav"]),
    ("referring_links_countries", &["", "US", "DE", "WW", "GB", "FR", "RU", "IN", "BR", "JP"]),
];
/// Months of a full history, from January 2019.
pub(crate) const MONTHS: i64 = 95;

/// The columns in order.
pub(crate) fn schema() -> SchemaRef {
    let entries = DataType::Struct(
        vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Int64, true)].into(),
    );
    let map = DataType::Map(Arc::new(Field::new("entries", entries, false)), false);
    let list = DataType::List(Arc::new(Field::new("item", DataType::Utf8, true)));
    let mut fields = vec![
        Field::new("target", DataType::Utf8, false),
        Field::new("type", DataType::Utf8, true),
        Field::new("date", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
    ];
    fields.extend(NUMBERS.map(|name| Field::new(name, DataType::Int64, true)));
    fields.extend(TEXTS.map(|name| Field::new(name, DataType::Utf8, true)));
    fields.push(Field::new("info_is_ip", DataType::Boolean, true));
    fields.push(Field::new("info_platform_type", list, true));
    fields.push(Field::new("info_target_spam_score", DataType::Int64, true));
    fields.extend(MAPS.map(|(name, _)| Field::new(name, map.clone(), true)));
    Arc::new(Schema::new(fields))
}

/// The rows of some targets, each with a full history; every 50th target's last row has no date.
pub(crate) fn rows(targets: std::ops::Range<u64>) -> RecordBatch {
    let mut columns = Columns::default();
    for number in targets {
        columns.push_target(number);
    }
    RecordBatch::try_new(schema(), columns.finish()).expect("columns fit their schema")
}

#[derive(Default)]
struct Columns {
    target: StringBuilder,
    kind: StringBuilder,
    date: Vec<Option<i64>>,
    numbers: [Int64Builder; 19],
    texts: [StringBuilder; 4],
    is_ip: BooleanBuilder,
    platform: ListBuilder<StringBuilder>,
    spam: Int64Builder,
    maps: Vec<MapBuilder<StringBuilder, Int64Builder>>,
}

impl Columns {
    fn push_target(&mut self, number: u64) {
        let mut random = Rng::with_seed(number);
        let mut counts = NUMBERS.map(|_| {
            let magnitude = 4 + random.u64(..14);
            i64::try_from(random.u64(..1 << magnitude)).expect("small")
        });
        let weights = MAPS.map(|(_, keys)| keys.iter().map(|_| random.u64(..1000)).collect::<Vec<_>>());
        let address = format!("172.{}.{}.{}", random.u64(..255), random.u64(..255), random.u64(..255));
        let country = ["US", "DE", "GB", "FR"][usize::try_from(random.u64(..4)).expect("small")];
        for month in 0..MONTHS {
            self.target.append_value(format!("site-{number:06}.example"));
            self.kind.append_value("backlinks_history");
            let without_date = number % 50 == 49 && month + 1 == MONTHS;
            self.date.push((!without_date).then(|| first_of_month(month)));
            for (count, column) in counts.iter_mut().zip(&mut self.numbers) {
                *count += i64::try_from(random.u64(..=count.unsigned_abs() / 20)).expect("small");
                column.append_option((random.u64(..200) > 0).then_some(*count));
            }
            let cms = (!number.is_multiple_of(3)).then_some("wordpress 6");
            for (text, column) in [Some("cloudflare"), cms, Some(country), Some(&*address)].iter().zip(&mut self.texts)
            {
                column.append_option(*text);
            }
            self.is_ip.append_value(false);
            self.platform.append_value([Some("cms"), Some("blogs")]);
            self.spam.append_value(i64::try_from(number % 30).expect("small"));
            self.push_maps(&mut random, &weights, counts[1]);
        }
    }

    fn push_maps(&mut self, random: &mut Rng, weights: &[Vec<u64>; 6], total: i64) {
        let total = total.unsigned_abs();
        for (place, ((_, keys), weights)) in MAPS.iter().zip(weights).enumerate() {
            if self.maps.len() == place {
                let names = arrow::array::MapFieldNames {
                    entry: "entries".to_owned(),
                    key: "key".to_owned(),
                    value: "value".to_owned(),
                };
                self.maps.push(MapBuilder::new(Some(names), StringBuilder::new(), Int64Builder::new()));
            }
            let map = &mut self.maps[place];
            let is_null = place == 2 && random.u64(..3) == 0;
            for (key, weight) in keys.iter().zip(weights).filter(|(_, weight)| !is_null && **weight > 50) {
                map.keys().append_value(key);
                let count = total * weight / 1000 + random.u64(..=total / 50);
                map.values().append_value(i64::try_from(count).expect("small"));
            }
            map.append(!is_null).expect("keys and values are as many");
        }
    }

    fn finish(mut self) -> Vec<ArrayRef> {
        let mut date = TimestampMicrosecondBuilder::new().with_timezone("UTC");
        self.date.iter().for_each(|micros| date.append_option(*micros));
        let mut all: Vec<ArrayRef> =
            vec![Arc::new(self.target.finish()), Arc::new(self.kind.finish()), Arc::new(date.finish())];
        all.extend(self.numbers.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        all.extend(self.texts.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        all.push(Arc::new(self.is_ip.finish()));
        all.push(Arc::new(self.platform.finish()));
        all.push(Arc::new(self.spam.finish()));
        all.extend(self.maps.iter_mut().map(|map| Arc::new(map.finish()) as ArrayRef));
        all
    }
}

fn first_of_month(month: i64) -> i64 {
    let year = i16::try_from(2019 + month / 12).expect("small");
    let date = Date::new(year, i8::try_from(month % 12 + 1).expect("small"), 1).expect("a date");
    TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0)).expect("a moment").as_microsecond()
}
