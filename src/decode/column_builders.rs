//! Builds the columns of an answer's rows cell by cell, in buffers that Arrow takes over. `schema.rs` defines the
//! columns.
//!
//! The cells of a row are appended in any order. Ending the row fills the cells that are missing. Nothing here parses
//! JSON, and nothing is checked twice: Arrow's own constructors check the buffers.

use std::{collections::HashMap, ops::Range, sync::Arc};

use arrow::{
    array::{
        ArrayRef, BooleanArray, Date32Array, Int64Array, ListArray, MapArray, RecordBatch, StringArray, StructArray,
        TimestampMicrosecondArray, UInt32Array,
    },
    buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer},
    compute::take_record_batch,
};

use jiff::{Timestamp, tz::Offset};

use super::schema;

/// Microseconds of a day.
const MICROS_PER_DAY: i64 = 86_400_000_000;

/// How many columns hold integers: those of an item, and after them those of its `info`.
pub(super) const INTEGERS: usize = schema::INTEGERS.len() + schema::INFO_INTEGERS.len();
/// How many columns hold texts: the type and those of `info`.
pub(super) const TEXTS: usize = schema::INFO_TEXTS.len() + 1;
/// How many columns hold maps.
pub(super) const MAPS: usize = schema::MAPS.len();

/// Each cell is a bit of a word, beside the date, the list and the two of the flag.
const _: () = assert!(4 + TEXTS + MAPS + INTEGERS <= 64);

/// The cells of a row that have a value, as a bit set.
pub(super) mod bit {
    pub(in crate::decode) const DATE: u64 = 1;
    /// Whether `is_ip` is known.
    pub(in crate::decode) const IS_IP: u64 = 1 << 1;
    /// If it is known, whether it is true.
    pub(in crate::decode) const IS_IP_TRUE: u64 = 1 << 2;
    pub(in crate::decode) const PLATFORM_TYPE: u64 = 1 << 3;
    /// The first of the texts.
    const TEXT: u64 = 1 << 4;
    /// The first of the maps.
    const MAP: u64 = TEXT << super::TEXTS;
    /// The first of the integers.
    const INTEGER: u64 = MAP << super::MAPS;

    pub(in crate::decode) const fn text(index: usize) -> u64 {
        TEXT << index
    }
    pub(in crate::decode) const fn map(index: usize) -> u64 {
        MAP << index
    }
    pub(in crate::decode) const fn integer(index: usize) -> u64 {
        INTEGER << index
    }
}

/// The fixed-size cells of the current row.
#[derive(Default)]
pub(super) struct RowCells {
    pub(super) present: u64,
    pub(super) date: i64,
    pub(super) integers: [i64; INTEGERS],
}

/// Concatenated texts; each begins where the previous one ends.
#[derive(Default)]
pub(super) struct Texts {
    pub(super) bytes: Vec<u8>,
    ends: Vec<i32>,
}

/// The entries of all maps or lists of a column: keys with values, or only keys.
#[derive(Default)]
pub(super) struct Entries {
    pub(super) keys: Texts,
    pub(super) values: Vec<i64>,
    /// Which keys (of a list) or values (of a map) are null, ascending: usually none.
    nulls: Vec<u32>,
    /// Where each row's entries end.
    ends: Vec<i32>,
}

#[derive(Default)]
pub(super) struct ColumnBuilders {
    present: Vec<u64>,
    dates: Vec<i64>,
    integers: [Vec<i64>; INTEGERS],
    pub(super) texts: [Texts; TEXTS],
    pub(super) platform_types: Entries,
    pub(super) maps: [Entries; MAPS],
}

/// A length as an Arrow offset. [`super::MAX_ANSWER_BYTES`] keeps it in range.
fn offset(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

fn start(ends: &[i32], index: usize) -> usize {
    index.checked_sub(1).map_or(0, |before| usize::try_from(ends[before]).unwrap_or(0))
}

fn range(ends: &[i32], index: usize) -> Range<usize> {
    start(ends, index)..start(ends, index + 1)
}

impl Texts {
    #[inline]
    pub(super) fn end(&mut self) {
        self.ends.push(offset(self.bytes.len()));
    }

    fn truncate(&mut self, length: usize) {
        self.ends.truncate(length);
        self.bytes.truncate(start(&self.ends, self.ends.len()));
    }

    fn finish(&mut self, nulls: Option<NullBuffer>) -> StringArray {
        StringArray::new(offsets(&mut self.ends), Buffer::from_vec(taken(&mut self.bytes)), nulls)
    }
}

impl Entries {
    /// Marks the next entry as null.
    pub(super) fn null(&mut self) {
        self.nulls.push(u32::try_from(self.keys.ends.len()).unwrap_or(u32::MAX));
    }

    /// Ends a map entry whose key is complete.
    #[inline]
    pub(super) fn end_entry(&mut self, value: Option<i64>) {
        if value.is_none() {
            self.null();
        }
        self.values.push(value.unwrap_or_default());
        self.keys.end();
    }

    /// If the current map has a key twice, keeps the last value, at the position of the first. Nearly all maps have
    /// about ten different keys, which a few bits distinguish.
    #[inline]
    pub(super) fn drop_repeated_keys(&mut self) {
        let mut seen = [0_u64; 4];
        let looks_repeated = (start(&self.ends, self.ends.len())..self.keys.ends.len()).any(|index| {
            let key = &self.keys.bytes[range(&self.keys.ends, index)];
            let ends = [key.first(), key.last()].map(|byte| usize::from(byte.copied().unwrap_or_default()));
            let mark = ends[0] * 7 + ends[1] * 31 + key.len() * 3;
            let (word, bit) = (&mut seen[mark / 64 % 4], 1 << (mark % 64));
            std::mem::replace(word, *word | bit) & bit != 0
        });
        if looks_repeated {
            self.keep_last_values();
        }
    }

    #[cold]
    fn keep_last_values(&mut self) {
        let entries = start(&self.ends, self.ends.len())..self.keys.ends.len();
        let count = entries.len();
        let mut positions: HashMap<&[u8], usize> = HashMap::new();
        let mut kept: Vec<(&[u8], Option<i64>)> = Vec::new();
        for index in entries {
            let key = &self.keys.bytes[range(&self.keys.ends, index)];
            let is_null = u32::try_from(index).is_ok_and(|index| self.nulls.binary_search(&index).is_ok());
            let value = (!is_null).then_some(self.values[index]);
            let position = *positions.entry(key).or_insert(kept.len());
            match kept.get_mut(position) {
                Some(entry) => entry.1 = value,
                None => kept.push((key, value)),
            }
        }
        if kept.len() == count {
            return;
        }
        let kept: Vec<(Vec<u8>, Option<i64>)> = kept.into_iter().map(|(key, value)| (key.to_vec(), value)).collect();
        self.discard();
        for (key, value) in kept {
            self.keys.bytes.extend(key);
            self.end_entry(value);
        }
    }

    /// Discards the entries after the last ended row.
    fn discard(&mut self) {
        let entries = start(&self.ends, self.ends.len());
        self.keys.truncate(entries);
        self.values.truncate(entries);
        self.nulls.truncate(self.nulls.partition_point(|null| (*null as usize) < entries));
    }

    fn clear(&mut self) {
        self.ends.clear();
        self.discard();
    }

    fn end(&mut self) {
        self.ends.push(offset(self.keys.ends.len()));
    }

    fn nulls(&mut self) -> Option<NullBuffer> {
        let mut valid = vec![true; if self.nulls.is_empty() { return None } else { self.keys.ends.len() }];
        self.nulls.drain(..).for_each(|null| valid[null as usize] = false);
        Some(NullBuffer::from(valid))
    }

    fn finish_list(&mut self, nulls: Option<NullBuffer>) -> ListArray {
        let inner = self.nulls();
        let elements = self.keys.finish(inner);
        ListArray::new(schema::list_element(), offsets(&mut self.ends), Arc::new(elements), nulls)
    }

    fn finish_map(&mut self, nulls: Option<NullBuffer>) -> MapArray {
        let inner = self.nulls();
        let keys = self.keys.finish(None);
        let values = Int64Array::new(ScalarBuffer::from(taken(&mut self.values)), inner);
        let entries = StructArray::new(schema::map_entry(), vec![Arc::new(keys), Arc::new(values)], None);
        MapArray::new(schema::map_entries(), offsets(&mut self.ends), entries, nulls, false)
    }
}

impl ColumnBuilders {
    pub(super) fn rows(&self) -> usize {
        self.present.len()
    }

    /// Ends the current row.
    pub(super) fn end_row(&mut self, row: &RowCells) {
        self.present.push(row.present);
        self.dates.push(row.date);
        self.integers.iter_mut().zip(row.integers).for_each(|(column, value)| column.push(value));
        self.texts.iter_mut().for_each(Texts::end);
        self.platform_types.end();
        self.maps.iter_mut().for_each(Entries::end);
    }

    /// Discards all rows.
    pub(super) fn clear(&mut self) {
        self.present.clear();
        self.dates.clear();
        self.integers.iter_mut().for_each(Vec::clear);
        self.texts.iter_mut().for_each(|column| column.truncate(0));
        self.platform_types.clear();
        self.maps.iter_mut().for_each(Entries::clear);
    }

    /// Returns the rows as a record batch for `target`, sorted by date, with undated rows last. The capacity for the
    /// next rows is that of these.
    pub(super) fn finish(&mut self, target: &str) -> RecordBatch {
        let order = self.order();
        let present = taken(&mut self.present);
        let nulls = |bit: u64| {
            let everywhere = present.iter().all(|row| row & bit != 0);
            (!everywhere).then(|| NullBuffer::new(bits(&present, bit)))
        };
        let targets = StringArray::from_iter_values(std::iter::repeat_n(target, present.len()));
        let mut arrays: Vec<ArrayRef> = vec![Arc::new(targets)];
        let mut texts = self.texts.iter_mut().enumerate().map(|(index, column)| column.finish(nulls(bit::text(index))));
        arrays.extend(texts.next().map(|kinds| Arc::new(kinds) as ArrayRef));
        let dates = ScalarBuffer::from(taken(&mut self.dates));
        let months = dates.iter().map(|micros| month_start(*micros)).collect::<Vec<_>>();
        let undated = nulls(bit::DATE);
        let months = Date32Array::new(ScalarBuffer::from(months), undated.clone());
        let dates = TimestampMicrosecondArray::new(dates, undated).with_timezone(schema::TIME_ZONE);
        arrays.push(Arc::new(dates));
        arrays.push(Arc::new(months));
        let mut integers: Vec<ArrayRef> = (self.integers.iter_mut().enumerate())
            .map(|(index, column)| Int64Array::new(ScalarBuffer::from(taken(column)), nulls(bit::integer(index))))
            .map(|column| Arc::new(column) as ArrayRef)
            .collect();
        let info_integers = integers.split_off(schema::INTEGERS.len());
        arrays.extend(integers);
        arrays.extend(texts.map(|column| Arc::new(column) as ArrayRef));
        arrays.push(Arc::new(BooleanArray::new(bits(&present, bit::IS_IP_TRUE), nulls(bit::IS_IP))));
        arrays.push(Arc::new(self.platform_types.finish_list(nulls(bit::PLATFORM_TYPE))));
        arrays.extend(info_integers);
        let maps = self.maps.iter_mut().enumerate();
        arrays.extend(maps.map(|(index, map)| Arc::new(map.finish_map(nulls(bit::map(index)))) as ArrayRef));
        let batch = RecordBatch::try_new(schema::undated(), arrays);
        let batch = batch.expect("columns are made in the schema's order and types");
        match order {
            None => batch,
            Some(order) => take_record_batch(&batch, &order).expect("each index is that of a row"),
        }
    }

    /// The order of rows by date, equal dates in the answer's order, undated rows last; `None`: they already are in
    /// order.
    fn order(&self) -> Option<UInt32Array> {
        let key = |row: &u32| {
            let row = *row as usize;
            (self.present[row] & bit::DATE == 0, self.dates[row])
        };
        let mut order: Vec<u32> = (0..).take(self.rows()).collect();
        if order.is_sorted_by_key(key) {
            return None;
        }
        order.sort_by_key(key);
        Some(order.into())
    }
}

/// The first day of the month of a timestamp in UTC, in days since 1970.
fn month_start(micros: i64) -> i32 {
    let days = micros.div_euclid(MICROS_PER_DAY);
    let Ok(moment) = Timestamp::from_microsecond(micros) else { return 0 };
    let day_of_month = i64::from(Offset::UTC.to_datetime(moment).day());
    i32::try_from(days - (day_of_month - 1)).unwrap_or_default()
}

/// Takes a vector and leaves an empty one of the same capacity.
fn taken<T>(vector: &mut Vec<T>) -> Vec<T> {
    let room = Vec::with_capacity(vector.len());
    std::mem::replace(vector, room)
}

fn offsets(ends: &mut Vec<i32>) -> OffsetBuffer<i32> {
    let mut offsets = Vec::with_capacity(ends.len() + 1);
    offsets.push(0);
    offsets.append(ends);
    OffsetBuffer::new(ScalarBuffer::from(offsets))
}

fn bits(rows: &[u64], bit: u64) -> BooleanBuffer {
    BooleanBuffer::collect_bool(rows.len(), |row| rows[row] & bit != 0)
}
