//! The table `backlinks_history`: the fields of an item as columns, in order, with types that engines read without a
//! cast.
//!
//! To add an integer or a map, extend [`INTEGERS`] or [`MAPS`]; a text or an integer of `info`, [`INFO_TEXTS`] or
//! [`INFO_INTEGERS`]. A field of another type also needs a `KeyKind` in `item_keys`, its reader in `items`, and a builder
//! in `column_builders`. Then increment [`VERSION`].
//!
//! No unsigned or 32-bit integers, no nanoseconds; the timestamp has a time zone, so that no engine treats it as local
//! time. Nested fields have the names that Parquet prescribes (`key_value`, `key`, `value`, `element`), which engines
//! expect; Arrow does not require them. Each part is created once, since every answer needs all of them.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

pub const TABLE: &str = "backlinks_history";

/// The version of this schema, for file metadata. Increment it with every change that readers can see.
pub const VERSION: u32 = 2;

/// The time zone of [`DATE`].
pub const TIME_ZONE: &str = "UTC";

/// The domain, as requested.
pub const TARGET: &str = "target";
/// The API's name for the kind of item: `backlinks_history`.
pub const TYPE: &str = "type";
/// The time that a row describes.
pub const DATE: &str = "date";
/// The first day of that month in UTC.
pub const MONTH_START: &str = "month_start";

/// The integers of an item, in the order of the API's documentation.
pub const INTEGERS: [&str; 19] = [
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

/// The texts in an item's `info`, and their columns.
pub const INFO_TEXTS: [(&str, &str); 4] =
    [("server", "info_server"), ("cms", "info_cms"), ("country", "info_country"), ("ip_address", "info_ip_address")];
/// Whether the target is an IP address.
pub const INFO_IS_IP: &str = "info_is_ip";
/// The kinds of platform of the target's site.
pub const INFO_PLATFORM_TYPE: &str = "info_platform_type";
/// The target's spam score.
pub const INFO_TARGET_SPAM_SCORE: &str = "info_target_spam_score";
/// The integers in an item's `info`, and their columns.
pub const INFO_INTEGERS: [(&str, &str); 1] = [("target_spam_score", INFO_TARGET_SPAM_SCORE)];

/// The maps of an item, in the order of the API's documentation.
pub const MAPS: [&str; 6] = [
    "referring_links_tld",
    "referring_links_types",
    "referring_links_attributes",
    "referring_links_platform_types",
    "referring_links_semantic_locations",
    "referring_links_countries",
];

/// Other names that the API has used for a key: the alias, and the standard name, which takes precedence.
pub const ALIASES: [(&str, &str); 3] = [
    ("new_reffering_domains", "new_referring_domains"),
    ("lost_reffering_domains", "lost_referring_domains"),
    ("referring_links_flags", "referring_links_attributes"),
];

/// The schema of `backlinks_history`. All columns but the target, the date and its month are nullable.
pub fn history() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| with_dates(false));
    Arc::clone(&SCHEMA)
}

/// The schema of `backlinks_undated`, and of rows as they are decoded: the same columns, but the date may be null.
pub fn undated() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| with_dates(true));
    Arc::clone(&SCHEMA)
}

fn with_dates(nullable: bool) -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let integer = |name: &str| Field::new(name, DataType::Int64, true);
    let mut fields = vec![
        Field::new(TARGET, DataType::Utf8, false),
        text(TYPE),
        Field::new(DATE, DataType::Timestamp(TimeUnit::Microsecond, Some(TIME_ZONE.into())), nullable),
        Field::new(MONTH_START, DataType::Date32, nullable),
    ];
    fields.extend(INTEGERS.map(integer));
    fields.extend(INFO_TEXTS.map(|(_, column)| text(column)));
    fields.push(Field::new(INFO_IS_IP, DataType::Boolean, true));
    fields.push(Field::new(INFO_PLATFORM_TYPE, DataType::List(list_element()), true));
    fields.extend(INFO_INTEGERS.map(|(_, column)| integer(column)));
    fields.extend(MAPS.map(|name| Field::new(name, DataType::Map(map_entries(), false), true)));
    Arc::new(Schema::new(fields))
}

/// An element of a list of texts.
pub(super) fn list_element() -> Arc<Field> {
    static FIELD: LazyLock<Arc<Field>> = LazyLock::new(|| Arc::new(Field::new("element", DataType::Utf8, true)));
    Arc::clone(&FIELD)
}

/// The entries of a map.
pub(super) fn map_entries() -> Arc<Field> {
    static FIELD: LazyLock<Arc<Field>> =
        LazyLock::new(|| Arc::new(Field::new("key_value", DataType::Struct(map_entry()), false)));
    Arc::clone(&FIELD)
}

/// The two fields of a map's entry.
pub(super) fn map_entry() -> Fields {
    static FIELDS: LazyLock<Fields> = LazyLock::new(|| {
        Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Int64, true)])
    });
    FIELDS.clone()
}
