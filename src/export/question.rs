//! What a run asks of every target: fixed when a directory is first used, and held to ever after.
//!
//! A dataset whose rows answer different questions would be of no use, so other dates or another scale
//! on the same directory are refused before anything is paid. The last day alone may move on, where answers are to be
//! refreshed: the same months once more would be of no use either. Each answer's record says up to which day it was asked.

use jiff::{Timestamp, civil::Date};

use crate::{
    api::{EARLIEST_DATE, Parameters, RankScale},
    ledger::Run,
    summary::MaxFailures,
    targets::{Inputs, Shard, TargetRef},
};

/// What the command line says; `None` is its default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryParams {
    /// First day of the history.
    pub date_from: Option<Date>,
    /// Last day of the history; by default the one on which the directory was first used.
    pub date_to: Option<Date>,
    /// Scale of the column `rank`.
    pub rank_scale: Option<RankScale>,
    /// Text that the API echoes; by default the run's id.
    pub tag: Option<String>,
    /// Whether the simulated API is asked; `None`: nobody is.
    pub simulated: Option<bool>,
    /// Answers that came before this are asked for again; `None`: an answer is held for good.
    pub fresh_since: Option<Timestamp>,
    /// A run that has so many failed targets, and nothing else left to call, is finished: they are not tried again.
    pub tolerated: MaxFailures,
    /// The share of the targets that is asked about; `None`: all.
    pub shard: Option<Shard>,
}

/// Why a question cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    /// The days are in the wrong order.
    #[error("--date-from {from} is after --date-to {to}")]
    Order { from: Date, to: Date },
    /// The last day has not come yet.
    #[error("--date-to {to} is in the future; today is {today} in UTC")]
    Future { to: Date, today: Date },
    /// The directory answers another question.
    #[error("this directory was started with --{flag} {held}, but now it is {asked}")]
    Differs {
        flag: &'static str,
        /// What the directory holds.
        held: String,
        /// What is asked now.
        asked: String,
    },
    /// The directory is another shard's.
    #[error("this directory contains shard {held}, but {} of other shards, such as {example}", targets_are(*others))]
    OtherShard {
        /// Its share of the targets.
        held: Shard,
        /// How many targets are not of it.
        others: usize,
        example: String,
    },
    /// Real and simulated answers would stand in one dataset.
    #[error("this directory was started {}, but this command runs {}", api(*held), api(!*held))]
    OtherApi {
        /// Whether the directory holds simulated answers.
        held: bool,
    },
}

fn targets_are(count: usize) -> String {
    if count == 1 { "1 target is".to_owned() } else { format!("{count} targets are") }
}

fn api(simulated: bool) -> &'static str {
    if simulated { "with --sandbox (simulated answers)" } else { "without --sandbox (real answers)" }
}

impl QuestionError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Order { .. } => "swap the dates; without --date-to the last day is today".to_owned(),
            Self::Future { .. } => "omit --date-to to request everything up to today".to_owned(),
            Self::Differs { flag, held, .. } => {
                format!("use --{flag} {held} to resume, or another --out to start over")
            }
            Self::OtherShard { held, .. } => {
                format!("use --shard {held}, or the --out of the shard they belong to")
            }
            Self::OtherApi { held: true } => "use --sandbox to resume, or another --out to start over".to_owned(),
            Self::OtherApi { held: false } => "omit --sandbox to resume, or use another --out to start over".to_owned(),
        }
    }
}

/// Refuses targets of other shards for a directory that holds one: a replay of all shards would have them twice.
pub(super) fn check_shard(held: Option<&Run>, given: &Inputs) -> Result<(), QuestionError> {
    let Some(held) = held.and_then(|run| run.shard) else { return Ok(()) };
    let mut others = given.targets().map(TargetRef::as_str).filter(|target| !held.holds(target));
    match others.next().map(str::to_owned) {
        None => Ok(()),
        Some(example) => Err(QuestionError::OtherShard { held, others: 1 + others.count(), example }),
    }
}

impl QueryParams {
    /// What is asked of every target: what `held` says, where the command line does not contradict it.
    pub fn parameters(&self, held: Option<&Run>, run_id: &str, today: Date) -> Result<Parameters, QuestionError> {
        if let Some(run) = held
            && self.simulated.is_some_and(|simulated| simulated != run.simulated)
        {
            return Err(QuestionError::OtherApi { held: run.simulated });
        }
        let held = held.map(|run| &run.parameters);
        let asked = Parameters {
            date_from: self.date_from.unwrap_or(EARLIEST_DATE),
            date_to: self.date_to.unwrap_or_else(|| self.usual_date_to(held, today)),
            rank_scale: self.rank_scale.unwrap_or(RankScale::OneThousand),
            tag: self.tag.clone().or(held.map(|held| held.tag.clone())).unwrap_or_else(|| run_id.to_owned()),
        };
        if asked.date_from > asked.date_to {
            return Err(QuestionError::Order { from: asked.date_from, to: asked.date_to });
        }
        let moves_on = held.is_none_or(|held| self.fresh_since.is_some() && asked.date_to > held.date_to);
        if moves_on && asked.date_to > today {
            return Err(QuestionError::Future { to: asked.date_to, today });
        }
        let Some(held) = held else { return Ok(asked) };
        let differs = |flag, held: &dyn ToString, asked: &dyn ToString| {
            let (held, asked) = (held.to_string(), asked.to_string());
            if held == asked { Ok(()) } else { Err(QuestionError::Differs { flag, held, asked }) }
        };
        differs("date-from", &held.date_from, &asked.date_from)?;
        if !moves_on {
            differs("date-to", &held.date_to, &asked.date_to)?;
        }
        differs("rank-scale", &held.rank_scale.as_str(), &asked.rank_scale.as_str())?;
        Ok(asked)
    }

    /// The last day where the command line names none.
    fn usual_date_to(&self, held: Option<&Parameters>, today: Date) -> Date {
        match held {
            // A clock that was set back takes no month away.
            Some(held) if self.fresh_since.is_some() => held.date_to.max(today),
            Some(held) => held.date_to,
            None => today,
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn held() -> Run {
        let parameters = Parameters {
            date_from: date(2020, 1, 1),
            date_to: date(2026, 1, 31),
            rank_scale: RankScale::OneHundred,
            tag: "first".to_owned(),
        };
        let started_at = "2026-01-31T00:00:00Z".parse().expect("a time");
        Run { run_id: "r".to_owned(), started_at, parameters, version: "0".to_owned(), shard: None, simulated: false }
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
        assert_eq!(same.parameters(Some(&held()), "id", TODAY), Ok(held().parameters));
    }

    #[test]
    fn another_question_to_the_same_directory_is_refused() {
        let same = QueryParams {
            date_from: Some(date(2020, 1, 1)),
            rank_scale: Some(RankScale::OneHundred),
            ..QueryParams::default()
        };
        let check = |question: QueryParams, wanted: &str| {
            let error = question.parameters(Some(&held()), "id", TODAY).expect_err("refused").to_string();
            assert!(error.contains(wanted), "{error}");
        };
        check(QueryParams { date_from: Some(date(2021, 1, 1)), ..same.clone() }, "--date-from 2020-01-01");
        check(QueryParams { date_from: None, ..same.clone() }, "now it is 2019-01-01");
        check(QueryParams { date_to: Some(TODAY), ..same.clone() }, "--date-to 2026-01-31");
        check(QueryParams { rank_scale: None, ..same }, "--rank-scale one_hundred");
    }

    #[test]
    fn a_refresh_asks_up_to_today_and_never_for_less_than_before() {
        let refresh = QueryParams {
            date_from: Some(date(2020, 1, 1)),
            rank_scale: Some(RankScale::OneHundred),
            fresh_since: Some(Timestamp::UNIX_EPOCH),
            ..QueryParams::default()
        };
        let up_to = |to: Option<Date>, today: Date| {
            let question = QueryParams { date_to: to, ..refresh.clone() };
            question
                .parameters(Some(&held()), "id", today)
                .map(|asked| asked.date_to)
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
        assert!(other.parameters(Some(&held()), "id", TODAY).is_err(), "the first day stays");
    }

    #[test]
    fn days_in_the_wrong_order_or_to_come_are_refused() {
        let question = |from, to| QueryParams { date_from: from, date_to: to, ..QueryParams::default() };
        let check = |from, to, wanted: &str| {
            let error = question(from, to).parameters(None, "id", TODAY).expect_err("refused").to_string();
            assert!(error.contains(wanted), "{error}");
        };
        check(Some(date(2026, 1, 2)), Some(date(2026, 1, 1)), "is after --date-to");
        check(Some(date(2026, 2, 11)), None, "is after --date-to");
        check(None, Some(date(2026, 2, 11)), "is in the future");
        assert!(question(Some(date(2026, 1, 1)), Some(date(2026, 1, 1))).parameters(None, "id", TODAY).is_ok());
    }
}
