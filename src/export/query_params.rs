//! Query parameters: fixed when a directory is first used, so that all rows of its dataset are comparable.
//!
//! Other dates or another scale are refused before the first call. Only the last day may change, when answers are
//! refreshed: requesting the same months again would be useless. The record of each answer has its own last day.

use jiff::{Timestamp, civil::Date};

use crate::{
    api::{EARLIEST_DATE, Parameters, RankScale},
    humanize,
    ledger::RunHeader,
    summary::MaxFailures,
    targets::{Inputs, Shard, TargetRef},
};

/// The command line's query flags; `None` is the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryParams {
    pub date_from: Option<Date>,
    /// By default the day on which the directory was first used.
    pub date_to: Option<Date>,
    pub rank_scale: Option<RankScale>,
    /// By default the run's id.
    pub tag: Option<String>,
    /// Whether the simulated API is called; `None`: no API is.
    pub simulated: Option<bool>,
    /// Answers from before this are fetched again; `None`: no answer is.
    pub fresh_since: Option<Timestamp>,
    /// Failures that are not retried if nothing else is left to call.
    pub tolerated: MaxFailures,
    /// `None`: all targets.
    pub shard: Option<Shard>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    #[error("--date-from {from} is after --date-to {to}")]
    Order { from: Date, to: Date },
    #[error("--date-to {to} is in the future; today is {today} in UTC")]
    Future { to: Date, today: Date },
    #[error("this directory was started with {}, but this command uses {}", .0.stored, .0.requested)]
    Differs(QueryDifference),
    #[error("this directory contains shard {stored}, but {} to other shards, such as {example}", belong(*others))]
    OtherShard { stored: Shard, others: usize, example: String },
}

fn belong(count: usize) -> String {
    humanize::counted(count as u64, "target belongs", "targets belong")
}

impl QueryError {
    pub fn hint(&self) -> String {
        match self {
            Self::Order { .. } => "swap the dates; without --date-to the last day is today".to_owned(),
            Self::Future { .. } => "omit --date-to to request everything up to today".to_owned(),
            Self::Differs(QueryDifference { stored, .. }) => {
                format!("use {stored} to resume, or another --out to start over")
            }
            Self::OtherShard { stored, .. } => {
                format!("use --shard {stored}, or the --out of the shard they belong to")
            }
        }
    }
}

/// A flag in which two queries differ, with the value of each, such as `--date-from 2019-01-01`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryDifference {
    pub stored: String,
    pub requested: String,
}

impl QueryDifference {
    /// The first flag in which two queries differ, if their answers may not be in one dataset. The last day may differ,
    /// since each row of `targets` has its own. With `simulated`, real answers differ from simulated ones.
    pub(super) fn find(stored: &RunHeader, simulated: Option<bool>, requested: &Parameters) -> Option<Self> {
        let of_api = simulated.and_then(|simulated| Self::of_api(stored.simulated, simulated));
        let stored = &stored.parameters;
        let scale = |of: &Parameters| of.rank_scale.as_str();
        of_api
            .or_else(|| Self::of("date-from", &stored.date_from, &requested.date_from))
            .or_else(|| Self::of("rank-scale", &scale(stored), &scale(requested)))
    }

    /// The difference between real answers and simulated ones.
    fn of_api(stored: bool, requested: bool) -> Option<Self> {
        let flag =
            |simulated| if simulated { "--sandbox (simulated answers)" } else { "real answers (without --sandbox)" };
        (stored != requested).then(|| Self { stored: flag(stored).to_owned(), requested: flag(requested).to_owned() })
    }

    /// The difference between the values of one flag.
    pub(super) fn of(flag: &str, stored: &impl ToString, requested: &impl ToString) -> Option<Self> {
        let (stored, requested) = (stored.to_string(), requested.to_string());
        (stored != requested)
            .then(|| Self { stored: format!("--{flag} {stored}"), requested: format!("--{flag} {requested}") })
    }
}

/// Refuses targets of other shards in the directory of a shard: a replay of all shards would have them twice.
pub(super) fn check_shard(stored: Option<&RunHeader>, given: &Inputs) -> Result<(), QueryError> {
    let Some(stored) = stored.and_then(|run| run.shard) else { return Ok(()) };
    let mut others = given.targets().map(TargetRef::as_str).filter(|target| !stored.contains(target));
    match others.next().map(str::to_owned) {
        None => Ok(()),
        Some(example) => Err(QueryError::OtherShard { stored, others: 1 + others.count(), example }),
    }
}

impl QueryParams {
    /// The parameters of every call: those of the directory's run, if the command line does not contradict them.
    pub fn parameters(&self, stored: Option<&RunHeader>, run_id: &str, today: Date) -> Result<Parameters, QueryError> {
        let run = stored;
        let stored = run.map(|run| &run.parameters);
        let requested = Parameters {
            date_from: self.date_from.unwrap_or(EARLIEST_DATE),
            date_to: self.date_to.unwrap_or_else(|| self.usual_date_to(stored, today)),
            rank_scale: self.rank_scale.unwrap_or_default(),
            tag: self.tag.clone().or(stored.map(|stored| stored.tag.clone())).unwrap_or_else(|| run_id.to_owned()),
        };
        if requested.date_from > requested.date_to {
            return Err(QueryError::Order { from: requested.date_from, to: requested.date_to });
        }
        let moves_on = stored.is_none_or(|stored| self.fresh_since.is_some() && requested.date_to > stored.date_to);
        if moves_on && requested.date_to > today {
            return Err(QueryError::Future { to: requested.date_to, today });
        }
        let Some(run) = run else { return Ok(requested) };
        let last_day = || QueryDifference::of("date-to", &run.parameters.date_to, &requested.date_to);
        let differs = QueryDifference::find(run, self.simulated, &requested);
        match differs.or_else(|| last_day().filter(|_| !moves_on)) {
            Some(differs) => Err(QueryError::Differs(differs)),
            None => Ok(requested),
        }
    }

    /// The last day if the command line does not set one.
    fn usual_date_to(&self, stored: Option<&Parameters>, today: Date) -> Date {
        match stored {
            // If the clock was set back, no month is removed.
            Some(stored) if self.fresh_since.is_some() => stored.date_to.max(today),
            Some(stored) => stored.date_to,
            None => today,
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn stored() -> RunHeader {
        let parameters = Parameters {
            date_from: date(2020, 1, 1),
            date_to: date(2026, 1, 31),
            rank_scale: RankScale::OneHundred,
            tag: "first".to_owned(),
        };
        let started_at = "2026-01-31T00:00:00Z".parse().expect("a time");
        RunHeader {
            run_id: "r".to_owned(),
            started_at,
            parameters,
            version: "0".to_owned(),
            shard: None,
            simulated: false,
        }
    }

    const TODAY: Date = date(2026, 2, 10);

    #[test]
    fn the_last_day_is_fixed_at_the_first_run() {
        let first = QueryParams::default().parameters(None, "id", TODAY).expect("allowed");
        assert_eq!((first.date_from, first.date_to, first.tag.as_str()), (EARLIEST_DATE, TODAY, "id"));
        let same = QueryParams {
            date_from: Some(date(2020, 1, 1)),
            rank_scale: Some(RankScale::OneHundred),
            ..QueryParams::default()
        };
        assert_eq!(same.parameters(Some(&stored()), "id", TODAY), Ok(stored().parameters));
    }

    #[test]
    fn another_query_in_the_same_directory_is_refused() {
        let same = QueryParams {
            date_from: Some(date(2020, 1, 1)),
            rank_scale: Some(RankScale::OneHundred),
            ..QueryParams::default()
        };
        let check = |query: QueryParams, wanted: &str| {
            let error = query.parameters(Some(&stored()), "id", TODAY).expect_err("refused").to_string();
            assert!(error.contains(wanted), "{error}");
        };
        check(QueryParams { date_from: Some(date(2021, 1, 1)), ..same.clone() }, "--date-from 2020-01-01");
        check(QueryParams { date_from: None, ..same.clone() }, "uses --date-from 2019-01-01");
        check(QueryParams { date_to: Some(TODAY), ..same.clone() }, "--date-to 2026-01-31");
        check(QueryParams { rank_scale: None, ..same }, "--rank-scale one_hundred");
    }

    #[test]
    fn a_refresh_requests_up_to_today_and_no_less_than_before() {
        let refresh = QueryParams {
            date_from: Some(date(2020, 1, 1)),
            rank_scale: Some(RankScale::OneHundred),
            fresh_since: Some(Timestamp::UNIX_EPOCH),
            ..QueryParams::default()
        };
        let up_to = |to: Option<Date>, today: Date| {
            let query = QueryParams { date_to: to, ..refresh.clone() };
            query
                .parameters(Some(&stored()), "id", today)
                .map(|requested| requested.date_to)
                .map_err(|error| error.to_string())
        };
        assert_eq!(up_to(None, TODAY), Ok(TODAY));
        assert_eq!(up_to(Some(date(2026, 2, 5)), TODAY), Ok(date(2026, 2, 5)));
        assert_eq!(up_to(Some(date(2026, 1, 31)), TODAY), Ok(date(2026, 1, 31)), "as before");
        assert_eq!(up_to(None, date(2025, 12, 31)), Ok(date(2026, 1, 31)), "the clock was set back");
        let check = |to, wanted: &str| {
            let error = up_to(Some(to), TODAY).expect_err("refused");
            assert!(error.contains(wanted), "{error}");
        };
        check(date(2026, 1, 30), "was started with --date-to 2026-01-31");
        check(date(2026, 2, 11), "is in the future");
        let other = QueryParams { date_from: Some(date(2021, 1, 1)), ..refresh.clone() };
        assert!(other.parameters(Some(&stored()), "id", TODAY).is_err(), "the first day stays");
    }

    #[test]
    fn days_in_the_wrong_order_or_in_the_future_are_refused() {
        let query = |from, to| QueryParams { date_from: from, date_to: to, ..QueryParams::default() };
        let check = |from, to, wanted: &str| {
            let error = query(from, to).parameters(None, "id", TODAY).expect_err("refused").to_string();
            assert!(error.contains(wanted), "{error}");
        };
        check(Some(date(2026, 1, 2)), Some(date(2026, 1, 1)), "is after --date-to");
        check(Some(date(2026, 2, 11)), None, "is after --date-to");
        check(None, Some(date(2026, 2, 11)), "is in the future");
        assert!(query(Some(date(2026, 1, 1)), Some(date(2026, 1, 1))).parameters(None, "id", TODAY).is_ok());
    }
}
