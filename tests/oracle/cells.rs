//! Columns of a record batch, compared cell by cell with the expected values.

use std::borrow::Cow;

use super::rows::{Cell, Kind};
use arrow::{
    array::{
        Array, BooleanArray, Date32Array, Int64Array, ListArray, MapArray, StringArray, TimestampMicrosecondArray,
    },
    record_batch::RecordBatch,
};

/// A column of a record batch.
pub(super) enum Column<'a> {
    Text(&'a StringArray),
    Integer(&'a Int64Array),
    Flag(&'a BooleanArray),
    Moment(&'a TimestampMicrosecondArray),
    Day(&'a Date32Array),
    Texts(&'a ListArray, &'a StringArray),
    Counts(&'a MapArray, &'a StringArray, &'a Int64Array),
}

/// The columns of a batch in this order; `None`: one is missing or of another type.
pub(super) fn columns<'a>(batch: &'a RecordBatch, kinds: &[(&str, Kind)]) -> Option<Vec<Column<'a>>> {
    kinds.iter().map(|(name, kind)| Column::of(batch, name, *kind)).collect()
}

impl<'a> Column<'a> {
    pub(super) fn of(batch: &'a RecordBatch, name: &str, kind: Kind) -> Option<Self> {
        let column = batch.column_by_name(name)?.as_any();
        Some(match kind {
            Kind::Text => Self::Text(column.downcast_ref()?),
            Kind::Integer => Self::Integer(column.downcast_ref()?),
            Kind::Flag => Self::Flag(column.downcast_ref()?),
            Kind::Moment => Self::Moment(column.downcast_ref()?),
            Kind::Day => Self::Day(column.downcast_ref()?),
            Kind::Texts => {
                let list: &ListArray = column.downcast_ref()?;
                Self::Texts(list, list.values().as_any().downcast_ref()?)
            }
            Kind::Counts => {
                let map: &MapArray = column.downcast_ref()?;
                Self::Counts(map, map.keys().as_any().downcast_ref()?, map.values().as_any().downcast_ref()?)
            }
        })
    }

    /// The value in a row.
    pub(super) fn cell(&self, row: usize) -> Cell<'a> {
        match self {
            Self::Text(column) if column.is_valid(row) => Cell::Text(Cow::Borrowed(column.value(row))),
            Self::Integer(column) if column.is_valid(row) => Cell::Integer(column.value(row)),
            Self::Flag(column) if column.is_valid(row) => Cell::Flag(column.value(row)),
            Self::Moment(column) if column.is_valid(row) => Cell::Moment(column.value(row)),
            Self::Day(column) if column.is_valid(row) => Cell::Day(column.value(row)),
            Self::Texts(column, elements) if column.is_valid(row) => {
                let text = |element| elements.is_valid(element).then(|| elements.value(element));
                Cell::Texts(range(column.value_offsets(), row).map(text).collect())
            }
            Self::Counts(column, keys, counts) if column.is_valid(row) => {
                let entry = |entry| (keys.value(entry), counts.is_valid(entry).then(|| counts.value(entry)));
                Cell::Counts(range(column.value_offsets(), row).map(entry).collect())
            }
            _ => Cell::Null,
        }
    }

    /// Whether a row's cell has the expected value, determined without copying.
    pub(super) fn is(&self, row: usize, expected: &Cell<'_>) -> bool {
        match (self, expected) {
            (Self::Text(column), Cell::Text(text)) => column.is_valid(row) && column.value(row) == text,
            (Self::Integer(column), Cell::Integer(value)) => column.is_valid(row) && column.value(row) == *value,
            (Self::Counts(column, keys, counts), Cell::Counts(entries)) => {
                let entry = |entry: usize, (key, count): &(&str, Option<i64>)| {
                    keys.value(entry) == *key && counts.is_valid(entry).then(|| counts.value(entry)) == *count
                };
                let mut found = range(column.value_offsets(), row);
                column.is_valid(row)
                    && found.len() == entries.len()
                    && found.all({
                        let mut entries = entries.iter();
                        move |index| entries.next().is_some_and(|expected| entry(index, expected))
                    })
            }
            _ => self.cell(row) == *expected,
        }
    }
}

fn range(offsets: &[i32], row: usize) -> std::ops::Range<usize> {
    let at = |index: usize| usize::try_from(offsets[index]).unwrap_or_default();
    at(row)..at(row + 1)
}
