//! How columns are encoded, by their types in the schema, never by their names.
//!
//! Strings repeat: they get dictionaries. Dates and counts grow slowly along a target's history: their differences are
//! bit-packed, and a dictionary would only cost time and memory. Maps and lists get no statistics: readers do not use
//! them to skip, and they would make up half of the footer.

use std::{fmt, str::FromStr, sync::Arc};

use arrow::datatypes::SchemaRef;
use parquet::{
    arrow::ArrowSchemaConverter,
    basic::{self, Encoding, Type, ZstdLevel},
    errors::ParquetError,
    file::{
        metadata::{KeyValue, SortingColumn},
        properties::{EnabledStatistics, WriterProperties},
    },
    schema::types::SchemaDescPtr,
};

use super::{DatasetLayout, Options};
use crate::as_text::{named, serde_as_text};

/// Maximum rows in a page, so that one target's rows are found by reading a few kilobytes of each column. Also bounds
/// the memory of encoders: that of a dictionary column keeps eight bytes a value until the page is full.
const PAGE_ROWS: usize = 2048;
/// The writer of a file, in the form that readers parse to decide whether to trust its statistics.
const CREATED_BY: &str = concat!("backlinks-export version ", env!("CARGO_PKG_VERSION"));

/// How pages are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Zstandard at a level of 1 to 22.
    Zstd(ZstdLevel),
    Snappy,
    /// LZ4 in Parquet's own framing (`LZ4_RAW`), which every engine reads.
    Lz4,
    None,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompressionError {
    #[error("unknown compression {0:?}; use zstd:LEVEL, snappy, lz4 or none")]
    Unknown(String),
    #[error("invalid zstd level {0:?}; use 1 to 22, such as zstd:1")]
    Level(String),
}

impl Default for Compression {
    fn default() -> Self {
        Self::Zstd(ZstdLevel::default())
    }
}

impl FromStr for Compression {
    type Err = CompressionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "snappy" => Ok(Self::Snappy),
            "lz4" => Ok(Self::Lz4),
            "none" => Ok(Self::None),
            "zstd" => Ok(Self::default()),
            _ => {
                let unknown = || CompressionError::Unknown(text.to_owned());
                let level = text.strip_prefix("zstd:").ok_or_else(unknown)?;
                // To the library, 0 means its default level.
                let parsed = level.parse().ok().filter(|level| *level > 0);
                let parsed = parsed.and_then(|level| ZstdLevel::try_new(level).ok());
                parsed.map(Self::Zstd).ok_or_else(|| CompressionError::Level(level.to_owned()))
            }
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zstd(level) => write!(f, "zstd:{}", level.compression_level()),
            Self::Snappy => f.pad("snappy"),
            Self::Lz4 => f.pad("lz4"),
            Self::None => f.pad("none"),
        }
    }
}

serde_as_text!(Compression);

impl From<Compression> for basic::Compression {
    fn from(compression: Compression) -> Self {
        match compression {
            Compression::Zstd(level) => Self::ZSTD(level),
            Compression::Snappy => Self::SNAPPY,
            Compression::Lz4 => Self::LZ4_RAW,
            Compression::None => Self::UNCOMPRESSED,
        }
    }
}

/// How integers are encoded in Parquet pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IntegerEncoding {
    /// `DELTA_BINARY_PACKED`
    #[default]
    Delta,
    /// `PLAIN`: for readers without the former, such as Power BI, `StarRocks`, Spark before 3.3 and parquetjs.
    Plain,
}

named!(IntegerEncoding: Delta = "delta", Plain = "plain");

/// How the files of one table are written.
#[derive(Clone, Debug)]
pub(super) struct WriterConfig {
    pub(super) schema: SchemaRef,
    pub(super) columns: SchemaDescPtr,
    pub(super) properties: Arc<WriterProperties>,
    /// For rows that are encoded and not compressed yet.
    pub(super) open_properties: Arc<WriterProperties>,
    /// The level at which pages are compressed when a row group ends; `None`: encoders compress them.
    pub(super) zstd: Option<ZstdLevel>,
    /// Maximum rows in a row group.
    pub(super) row_group_rows: usize,
}

impl WriterConfig {
    /// Properties for rows of `schema`, sorted by the columns `sorted_by`.
    pub(super) fn new(schema: SchemaRef, options: &Options, sorted_by: &[&str]) -> Result<Self, ParquetError> {
        let columns = ArrowSchemaConverter::new().with_coerce_types(true).convert(&schema)?;
        let DatasetLayout { compression, integer_encoding, row_group_rows, .. } = options.layout;
        let metadata = options.metadata.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone())).collect();
        let mut properties = WriterProperties::builder()
            .set_created_by(CREATED_BY.to_owned())
            .set_key_value_metadata(Some(metadata))
            .set_compression(compression.into())
            .set_max_row_group_row_count(None)
            .set_data_page_row_count_limit(PAGE_ROWS)
            // Standard names inside maps and lists, which all engines know
            .set_coerce_types(true)
            .set_dictionary_enabled(false)
            .set_statistics_enabled(EnabledStatistics::Page);
        let mut sorting = Vec::new();
        for (index, column) in columns.columns().iter().enumerate() {
            let path = column.path().clone();
            if column.max_rep_level() > 0 {
                properties = properties.set_column_statistics_enabled(path.clone(), EnabledStatistics::None);
            } else if sorted_by.contains(&column.name()) {
                let column_idx = i32::try_from(index).unwrap_or(i32::MAX);
                sorting.push(SortingColumn { column_idx, descending: false, nulls_first: false });
            }
            properties = match column.physical_type() {
                Type::BYTE_ARRAY => properties.set_column_dictionary_enabled(path, true),
                Type::INT32 | Type::INT64 if integer_encoding == IntegerEncoding::Delta => {
                    properties.set_column_encoding(path, Encoding::DELTA_BINARY_PACKED)
                }
                _ => properties,
            };
        }
        let properties = Arc::new(properties.set_sorting_columns((!sorting.is_empty()).then_some(sorting)).build());
        let (open_properties, zstd) = match compression {
            Compression::Zstd(level) => {
                let uncompressed = properties.as_ref().clone().into_builder();
                (Arc::new(uncompressed.set_compression(basic::Compression::UNCOMPRESSED).build()), Some(level))
            }
            _ => (Arc::clone(&properties), None),
        };
        Ok(Self {
            schema,
            columns: Arc::new(columns),
            properties,
            open_properties,
            zstd,
            row_group_rows: row_group_rows.max(1),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_compressions_are_read_and_shown() {
        let check = |text: &str, expected: &str| {
            let shown = text.parse::<Compression>().map_or_else(|error| error.to_string(), |it| it.to_string());
            assert_eq!(shown, expected, "{text}");
        };
        check("zstd:1", "zstd:1");
        check("zstd:22", "zstd:22");
        check("zstd", "zstd:1");
        check("snappy", "snappy");
        check("lz4", "lz4");
        check("none", "none");
        check("zstd:0", "invalid zstd level \"0\"; use 1 to 22, such as zstd:1");
        check("zstd:23", "invalid zstd level \"23\"; use 1 to 22, such as zstd:1");
        check("zstd:fast", "invalid zstd level \"fast\"; use 1 to 22, such as zstd:1");
        let encoding = |text: &str| text.parse::<IntegerEncoding>().map(|it| it.to_string());
        assert_eq!((encoding("delta"), encoding("plain")), (Ok("delta".to_owned()), Ok("plain".to_owned())));
        assert_eq!(encoding("rle"), Err("unknown value \"rle\"; use delta or plain".to_owned()));
        check("gzip", "unknown compression \"gzip\"; use zstd:LEVEL, snappy, lz4 or none");
    }
}
