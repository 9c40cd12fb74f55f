//! Converts record batches to rows with a field for each cell, which tests can write down.

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    datatypes::{DataType, Int64Type, TimestampMicrosecondType},
};

use crate::decode::schema;

/// One row of `backlinks_history`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PlainRow {
    pub(super) target: String,
    /// The column `type`.
    pub(super) kind: Option<String>,
    /// Microseconds since 1970, UTC.
    pub(super) date: Option<i64>,
    /// In the order of [`schema::INTEGERS`].
    pub(super) integers: [Option<i64>; schema::INTEGERS.len()],
    /// The columns `info_*`.
    pub(super) info: PlainInfo,
    /// In the order of [`schema::MAPS`].
    pub(super) maps: [Option<PlainMap>; schema::MAPS.len()],
}

/// The entries of a map as served.
pub(super) type PlainMap = Vec<(String, Option<i64>)>;

/// The columns `info_*` of a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PlainInfo {
    /// In the order of [`schema::INFO_TEXTS`].
    pub(super) texts: [Option<String>; schema::INFO_TEXTS.len()],
    /// The column `info_is_ip`.
    pub(super) is_ip: Option<bool>,
    /// The column `info_platform_type`.
    pub(super) platform_type: Option<Vec<Option<String>>>,
    /// The column `info_target_spam_score`.
    pub(super) target_spam_score: Option<i64>,
}

/// The rows of a batch with the columns of [`schema::history`], in any order and possibly among others; `None` if a
/// column is missing or of another type.
pub(super) fn rows_of(batch: &RecordBatch) -> Option<Vec<PlainRow>> {
    let expected = schema::undated();
    let column = |name: &str| {
        let column = batch.column_by_name(name)?;
        let is_expected = column.data_type() == expected.field_with_name(name).ok()?.data_type();
        is_expected.then_some(column)
    };
    let columns: Vec<&ArrayRef> = expected.fields().iter().map(|field| column(field.name())).collect::<Option<_>>()?;
    Some((0..batch.num_rows()).map(|row| plain_row(&columns, row)).collect())
}

/// `columns` are those of the schema, in its order.
fn plain_row(columns: &[&ArrayRef], row: usize) -> PlainRow {
    let of_integers = 4;
    let of_info = of_integers + schema::INTEGERS.len();
    let after_texts = of_info + schema::INFO_TEXTS.len();
    let of_maps = after_texts + 3;
    PlainRow {
        target: text(columns[0], row).unwrap_or_default(),
        kind: text(columns[1], row),
        date: columns[2].is_valid(row).then(|| columns[2].as_primitive::<TimestampMicrosecondType>().value(row)),
        integers: std::array::from_fn(|index| integer(columns[of_integers + index], row)),
        info: PlainInfo {
            texts: std::array::from_fn(|index| text(columns[of_info + index], row)),
            is_ip: columns[after_texts].is_valid(row).then(|| columns[after_texts].as_boolean().value(row)),
            platform_type: columns[after_texts + 1].is_valid(row).then(|| {
                let elements = columns[after_texts + 1].as_list::<i32>().value(row);
                (0..elements.len()).map(|element| text(&elements, element)).collect()
            }),
            target_spam_score: integer(columns[after_texts + 2], row),
        },
        maps: std::array::from_fn(|index| map(columns[of_maps + index], row)),
    }
}

fn text(column: &ArrayRef, row: usize) -> Option<String> {
    debug_assert_eq!(column.data_type(), &DataType::Utf8);
    column.is_valid(row).then(|| column.as_string::<i32>().value(row).to_owned())
}

fn integer(column: &ArrayRef, row: usize) -> Option<i64> {
    column.is_valid(row).then(|| column.as_primitive::<Int64Type>().value(row))
}

fn map(column: &ArrayRef, row: usize) -> Option<PlainMap> {
    column.is_valid(row).then(|| {
        let entries = column.as_map().value(row);
        let (keys, values) = (entries.column(0), entries.column(1));
        (0..entries.len()).map(|entry| (text(keys, entry).unwrap_or_default(), integer(values, entry))).collect()
    })
}
