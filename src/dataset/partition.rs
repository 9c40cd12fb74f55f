//! Which directory a row belongs to, by `--partition-by`.
//!
//! Names follow Hive: `key=value`, months unpadded (some engines read `month=01` as text, others as a number), and a
//! fixed name for null. All files are at the same depth, or readers lose partition columns.

use std::{
    fmt,
    ops::Range,
    path::{Path, PathBuf},
    str::FromStr,
};

use arrow::{array::AsArray, datatypes::TimestampMicrosecondType, record_batch::RecordBatch};
use jiff::{Timestamp, civil::Date, tz::TimeZone};

use super::{HISTORY, UNDATED};
use crate::as_text::{named, serde_as_text};

/// The value that engines read as null.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// One level of partition directories. A new one also needs a field in `PartitionValues`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PartitionKey {
    /// The year of a row's date, in UTC.
    Year,
    /// The month of a row's date, in UTC, unpadded.
    Month,
    /// The day on which the row's run started.
    RunDate,
}

named!(PartitionKey: Year = "year", Month = "month", RunDate = "run_date");

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartitionError {
    #[error("cannot partition by {0:?}; use year, month and run_date, separated by commas, or none")]
    Unknown(String),
    #[error("cannot partition by {0} twice")]
    Repeated(PartitionKey),
    #[error("`none` cannot be combined with other values")]
    NoneAndMore,
}

/// The levels of partition directories, outermost first; may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionBy(Vec<PartitionKey>);

impl Default for PartitionBy {
    fn default() -> Self {
        Self(vec![PartitionKey::Year])
    }
}

impl FromStr for PartitionBy {
    type Err = PartitionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut keys = Vec::new();
        if text.trim() == "none" {
            return Ok(Self(keys));
        }
        for word in text.split(',').map(str::trim) {
            if word == "none" {
                return Err(PartitionError::NoneAndMore);
            }
            let key = word.parse().map_err(|_| PartitionError::Unknown(word.to_owned()))?;
            if keys.contains(&key) {
                return Err(PartitionError::Repeated(key));
            }
            keys.push(key);
        }
        Ok(Self(keys))
    }
}

impl fmt::Display for PartitionBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.pad("none");
        }
        f.pad(&self.0.iter().map(|key| key.as_str()).collect::<Vec<_>>().join(","))
    }
}

serde_as_text!(PartitionBy);

/// The values of the partition columns; `None` for those that are not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct PartitionValues {
    year: Option<i16>,
    month: Option<i8>,
    run_date: Option<Date>,
}

impl PartitionBy {
    /// The levels, outermost first.
    pub fn keys(&self) -> &[PartitionKey] {
        &self.0
    }

    /// The partition of a row by its date, in microseconds since 1970; without a usable date, the null partition.
    pub(super) fn values(&self, micros: Option<i64>, run_date: Option<Date>) -> PartitionValues {
        let has = |key| self.0.contains(&key);
        let moment = micros.and_then(|micros| Timestamp::from_microsecond(micros).ok());
        let date = moment.map(|moment| TimeZone::UTC.to_datetime(moment).date()).filter(|date| date.year() >= 0);
        PartitionValues {
            year: date.filter(|_| has(PartitionKey::Year)).map(Date::year),
            month: date.filter(|_| has(PartitionKey::Month)).map(Date::month),
            run_date: run_date.filter(|_| has(PartitionKey::RunDate)),
        }
    }

    /// Splits rows into slices of one partition each, in order, with the folder of each, relative to the run's
    /// directory.
    pub fn split(&self, rows: &RecordBatch, run_date: Date) -> Vec<(PathBuf, RecordBatch)> {
        let ranges = self.ranges(rows, Some(run_date)).into_iter();
        ranges
            .map(|(values, range)| (self.table_folder(values.as_ref()), rows.slice(range.start, range.len())))
            .collect()
    }

    /// The ranges of consecutive rows in the same partition, in order, each with its partition; `None`: rows without a
    /// date, which belong to another table.
    pub(super) fn ranges(
        &self,
        rows: &RecordBatch,
        run_date: Option<Date>,
    ) -> Vec<(Option<PartitionValues>, Range<usize>)> {
        let dates = rows.column_by_name("date").expect("a column of the schema");
        let dates = dates.as_primitive::<TimestampMicrosecondType>().iter();
        let values: Vec<Option<PartitionValues>> =
            dates.map(|micros| micros.map(|micros| self.values(Some(micros), run_date))).collect();
        let mut end = 0;
        let range = |same: &[Option<PartitionValues>]| {
            end += same.len();
            (same[0], end - same.len()..end)
        };
        values.chunk_by(|one, next| one == next).map(range).collect()
    }

    /// The directory of a partition, relative to the run's directory; `None`: that of the rows without a date.
    pub(super) fn table_folder(&self, values: Option<&PartitionValues>) -> PathBuf {
        values.map_or_else(|| UNDATED.into(), |values| Path::new(HISTORY).join(self.folder(values)))
    }

    /// The directory of a partition, relative to its table; empty without partitions.
    pub(super) fn folder(&self, values: &PartitionValues) -> String {
        let level = |key: &PartitionKey| {
            let value = match key {
                PartitionKey::Year => values.year.map(|year| year.to_string()),
                PartitionKey::Month => values.month.map(|month| month.to_string()),
                PartitionKey::RunDate => values.run_date.map(|date| date.to_string()),
            };
            format!("{}={}", key.as_str(), value.as_deref().unwrap_or(NULL))
        };
        self.0.iter().map(level).collect::<Vec<_>>().join("/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_keys_are_read_in_the_order_given_and_shown_as_written() {
        let check = |text: &str, expected: &str| {
            let shown = text.parse::<PartitionBy>().map_or_else(|error| error.to_string(), |by| by.to_string());
            assert_eq!(shown, expected, "{text}");
        };
        check("year", "year");
        check("none", "none");
        check("year,month,run_date", "year,month,run_date");
        check("run_date, year", "run_date,year");
        check("month", "month");
        check("year,year", "cannot partition by year twice");
        check("year,none", "`none` cannot be combined with other values");
        check("", "cannot partition by \"\"; use year, month and run_date, separated by commas, or none");
        check("Day", "cannot partition by \"Day\"; use year, month and run_date, separated by commas, or none");
    }

    #[test]
    fn partitions_are_named_by_the_date_in_utc() {
        let check = |by: &str, date: Option<&str>, expected: &str| {
            let by: PartitionBy = by.parse().unwrap();
            let micros = date.map(|date| date.parse::<Timestamp>().unwrap().as_microsecond());
            assert_eq!(by.folder(&by.values(micros, Some(jiff::civil::date(2026, 11, 4)))), expected);
        };
        check("year", Some("2023-12-31T23:59:59.999999Z"), "year=2023");
        check("year", Some("2024-01-01T00:00:00Z"), "year=2024");
        check("year,month", Some("1969-09-30T23:00:00Z"), "year=1969/month=9");
        check("month", Some("2024-12-01T00:00:00Z"), "month=12");
        check("run_date,month", Some("2024-01-01T00:00:00Z"), "run_date=2026-11-04/month=1");
        check("year,month", None, "year=__HIVE_DEFAULT_PARTITION__/month=__HIVE_DEFAULT_PARTITION__");
        check("year", Some("-000005-01-01T00:00:00Z"), "year=__HIVE_DEFAULT_PARTITION__");
        check("none", Some("2024-12-01T00:00:00Z"), "");
    }

    #[test]
    fn dates_out_of_range_are_in_the_null_partition() {
        let by = PartitionBy::default();
        assert_eq!(by.folder(&by.values(Some(i64::MAX), None)), "year=__HIVE_DEFAULT_PARTITION__");
    }
}
