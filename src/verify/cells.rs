//! Cells that should be there against cells that are: Parquet columns as they were read, compared one by one.

use std::borrow::Cow;

use arrow::{
    array::{
        Array, BooleanArray, Date32Array, Float64Array, Int64Array, ListArray, MapArray, StringArray,
        TimestampMicrosecondArray,
    },
    datatypes::{DataType, Schema, TimeUnit},
    record_batch::RecordBatch,
};
use jiff::Timestamp;

use super::decode::{Cell, Kind};

/// A column of a record batch.
pub(super) enum Column<'a> {
    Text(&'a StringArray),
    Integer(&'a Int64Array),
    Flag(&'a BooleanArray),
    Moment(&'a TimestampMicrosecondArray),
    Day(&'a Date32Array),
    Float(&'a Float64Array),
    Texts(&'a ListArray, &'a StringArray),
    Counts(&'a MapArray, &'a StringArray, &'a Int64Array),
}

/// Why a file's columns are not those that are documented; `None`: they are.
pub(super) fn differs(schema: &Schema, columns: &[(&str, Kind)]) -> Option<String> {
    let found = schema.fields();
    if let Some((field, (name, _))) = found.iter().zip(columns).find(|(field, (name, _))| field.name() != name) {
        return Some(format!("a column is {:?}, should be {name:?}", field.name()));
    }
    if found.len() != columns.len() {
        return Some(format!("there are {} columns, should be {}", found.len(), columns.len()));
    }
    let wrong = found.iter().zip(columns).find(|(field, (_, kind))| !is_of(*kind, field.data_type()));
    wrong.map(|(field, _)| format!("column {} is of type {}", field.name(), field.data_type()))
}

fn is_of(kind: Kind, found: &DataType) -> bool {
    match (kind, found) {
        (Kind::Text, found) => *found == DataType::Utf8,
        (Kind::Integer, found) => *found == DataType::Int64,
        (Kind::Flag, found) => *found == DataType::Boolean,
        (Kind::Moment, found) => *found == DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        (Kind::Day, found) => *found == DataType::Date32,
        (Kind::Float, found) => *found == DataType::Float64,
        (Kind::Texts, DataType::List(element)) => *element.data_type() == DataType::Utf8,
        (Kind::Counts, DataType::Map(entries, _)) => {
            let DataType::Struct(fields) = entries.data_type() else { return false };
            fields.iter().map(|field| field.data_type()).eq([&DataType::Utf8, &DataType::Int64])
        }
        (Kind::Texts | Kind::Counts, _) => false,
    }
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
            Kind::Float => Self::Float(column.downcast_ref()?),
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

    /// What stands in a row.
    pub(super) fn cell(&self, row: usize) -> Cell<'a> {
        match self {
            Self::Text(column) if column.is_valid(row) => Cell::Text(Cow::Borrowed(column.value(row))),
            Self::Integer(column) if column.is_valid(row) => Cell::Integer(column.value(row)),
            Self::Flag(column) if column.is_valid(row) => Cell::Flag(column.value(row)),
            Self::Moment(column) if column.is_valid(row) => Cell::Moment(column.value(row)),
            Self::Day(column) if column.is_valid(row) => Cell::Day(column.value(row)),
            Self::Float(column) if column.is_valid(row) => Cell::Float(column.value(row)),
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

    /// Whether a row's cell is as it should be, found out without copying anything.
    pub(super) fn is(&self, row: usize, expected: &Cell<'_>) -> bool {
        match (self, expected) {
            (Self::Text(column), Cell::Text(text)) => column.is_valid(row) && column.value(row) == text,
            (Self::Text(column), Cell::Beginning(text)) => column.is_valid(row) && column.value(row).starts_with(text),
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
            // Bit for bit, so that no two ways to write a number pass for the same.
            (Self::Float(column), Cell::Float(value)) => {
                column.is_valid(row) && column.value(row).to_bits() == value.to_bits()
            }
            _ => self.cell(row) == *expected,
        }
    }
}

fn range(offsets: &[i32], row: usize) -> std::ops::Range<usize> {
    let at = |index: usize| usize::try_from(offsets[index]).unwrap_or_default();
    at(row)..at(row + 1)
}

/// A cell for a person.
pub(super) fn shown(cell: &Cell<'_>) -> String {
    match cell {
        Cell::Null => "null".to_owned(),
        Cell::Text(text) => format!("{text:?}"),
        Cell::Beginning(text) => format!("{text:?} and so on"),
        Cell::Integer(value) => value.to_string(),
        Cell::Moment(micros) => {
            Timestamp::from_microsecond(*micros).map_or_else(|_| micros.to_string(), |at| at.to_string())
        }
        Cell::Flag(flag) => flag.to_string(),
        Cell::Day(days) => format!("day {days} since 1970"),
        Cell::Float(value) => value.to_string(),
        Cell::Texts(elements) => format!("{elements:?}"),
        Cell::Counts(entries) => {
            let entries = entries.iter().map(|(key, count)| match count {
                Some(count) => format!("{key:?}: {count}"),
                None => format!("{key:?}: null"),
            });
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
    }
}

/// What is wrong between two cells, in a few words: of maps only the first entry that differs.
pub(super) fn between(found: &Cell<'_>, expected: &Cell<'_>) -> String {
    if let (Cell::Counts(one), Cell::Counts(other)) = (found, expected) {
        let first = one.iter().zip(other).position(|(one, other)| one != other).unwrap_or(one.len().min(other.len()));
        let at = |entries: &[(&str, Option<i64>)]| {
            entries.get(first).map_or("nothing".to_owned(), |entry| shown(&Cell::Counts(vec![*entry])))
        };
        return format!("has {} as entry {}, should be {}", at(one), first + 1, at(other));
    }
    format!("is {}, should be {}", shown(found), shown(expected))
}
