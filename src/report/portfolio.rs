//! The history as sums by month, and the little that is kept of each target.
//!
//! A target's rows come in the order of the files, each sorted by target and date. What the API serves for one target
//! and month more than once counts once, with the last of it: those rows follow one another.

use std::collections::{BTreeMap, HashMap};

use arrow::datatypes::Int64Type;

use super::{
    ReportError,
    month::Month,
    read::{Dataset, Months, number},
};
use crate::decode::schema;

/// Months from the beginning of a comparison to its end.
pub(super) const SPAN: i32 = 12;
/// Months of a comparison, both ends included.
const WINDOW: usize = SPAN as usize + 1;
/// Months that are plotted, the latest of them if there are more.
const MOST_PLOTTED: i32 = 240;
/// Words of 64 bits, one for each plotted month.
const PLOTTED_WORDS: usize = (MOST_PLOTTED as usize).div_ceil(64);

/// The columns that are read besides target and date, in the order of [`Cells`].
const COLUMNS: [&str; 8] = [
    "referring_domains",
    "backlinks",
    "new_referring_domains",
    "lost_referring_domains",
    "new_backlinks",
    "lost_backlinks",
    "rank",
    schema::INFO_TARGET_SPAM_SCORE,
];
const REFERRING_DOMAINS: usize = 0;
const BACKLINKS: usize = 1;
const RANK: usize = 6;
const SPAM_SCORE: usize = 7;
/// The columns that are summed.
const SUMMED: usize = 6;

type Cells = [Option<i64>; COLUMNS.len()];

/// A sum of what is known, and how many targets it is known of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) total: i128,
    pub(super) known: u64,
}

impl Sum {
    fn add(&mut self, value: Option<i64>) {
        if let Some(value) = value {
            self.total += i128::from(value);
            self.known += 1;
        }
    }

    /// The sum, unless nothing is known.
    pub(super) fn value(self) -> Option<i128> {
        (self.known > 0).then_some(self.total)
    }
}

/// All targets in one month.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MonthTotals {
    /// Targets with a row.
    pub(super) targets: u64,
    sums: [Sum; SUMMED],
}

impl MonthTotals {
    fn add(&mut self, cells: &Cells) {
        self.targets += 1;
        self.sums.iter_mut().zip(cells).for_each(|(sum, cell)| sum.add(*cell));
    }

    pub(super) fn referring_domains(&self) -> Sum {
        self.sums[REFERRING_DOMAINS]
    }
    pub(super) fn backlinks(&self) -> Sum {
        self.sums[BACKLINKS]
    }
    pub(super) fn new_referring_domains(&self) -> Sum {
        self.sums[2]
    }
    pub(super) fn lost_referring_domains(&self) -> Sum {
        self.sums[3]
    }
    pub(super) fn new_backlinks(&self) -> Sum {
        self.sums[4]
    }
    pub(super) fn lost_backlinks(&self) -> Sum {
        self.sums[5]
    }
}

/// What is kept of a target's history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct History {
    /// Months with a row.
    pub(super) months: u64,
    /// Its own latest month.
    pub(super) latest: Option<Month>,
    /// Cells of that month.
    cells: Cells,
    /// Referring domains in the months of the comparison.
    pub(super) window: [Option<i64>; WINDOW],
    /// A bit for each plotted month with a row, from the latest back.
    there: [u64; PLOTTED_WORDS],
}

impl History {
    fn add(&mut self, month: Month, cells: &Cells, end: Option<Month>) {
        self.months += 1;
        if self.latest.is_none_or(|latest| latest <= month) {
            (self.latest, self.cells) = (Some(month), *cells);
        }
        let back = end.and_then(|end| usize::try_from(end.0 - month.0).ok());
        if let Some((back, bits)) = back.and_then(|back| Some((back, self.there.get_mut(back / 64)?))) {
            *bits |= 1 << (back % 64);
        }
        let place = end.map(|end| month.0 - end.back(SPAN).0).and_then(|place| usize::try_from(place).ok());
        if let Some(slot) = place.and_then(|place| self.window.get_mut(place)) {
            *slot = cells[REFERRING_DOMAINS];
        }
    }

    /// Whether it lacks the month so many `back` from the latest, and has one before and one after it; the latest has
    /// nothing after it, and is lacking where the month before it is there.
    fn lacks(&self, back: usize) -> bool {
        let has = |back: usize| self.there.get(back / 64).is_some_and(|bits| bits >> (back % 64) & 1 == 1);
        let months = self.there.len() * 64;
        let is_around = if back == 0 { has(1) } else { (0..back).any(has) && (back + 1..months).any(has) };
        !has(back) && is_around
    }

    pub(super) fn referring_domains(&self) -> Option<i64> {
        self.cells[REFERRING_DOMAINS]
    }
    pub(super) fn backlinks(&self) -> Option<i64> {
        self.cells[BACKLINKS]
    }
    pub(super) fn rank(&self) -> Option<i64> {
        self.cells[RANK]
    }
    pub(super) fn spam_score(&self) -> Option<i64> {
        self.cells[SPAM_SCORE]
    }

    /// Referring domains at both ends of the comparison, where both are known.
    pub(super) fn ends(&self) -> Option<(i64, i64)> {
        Some((self.window[0]?, self.window[WINDOW - 1]?))
    }

    /// How many referring domains were won in the comparison; lost, below zero.
    pub(super) fn change(&self) -> Option<i64> {
        self.ends().map(|(first, last)| last.saturating_sub(first))
    }
}

/// The history of all targets.
#[derive(Debug, Default)]
pub(super) struct Portfolio {
    pub(super) latest: Option<Month>,
    /// Sums of every month from the first plotted to the latest, gaps included.
    pub(super) months: Vec<(Month, MonthTotals)>,
    /// Rows without a usable date.
    pub(super) undated: u64,
    /// Rows of months that are not plotted.
    pub(super) outside: u64,
    names: HashMap<Box<str>, usize>,
    histories: Vec<History>,
}

impl Portfolio {
    /// Reads the history once.
    pub(super) fn read(dataset: &Dataset, months: &Months) -> Result<Self, ReportError> {
        let mut reading = Reading { portfolio: Self::default(), totals: BTreeMap::new(), open: None, same: None };
        (reading.portfolio.latest, reading.portfolio.undated) = (months.latest, months.undated);
        let mut columns = vec![schema::TARGET, schema::DATE];
        columns.extend(COLUMNS);
        dataset.history(&columns, |rows| {
            let (targets, dates) = (rows.texts(schema::TARGET)?, rows.dates()?);
            let mut numbers = Vec::with_capacity(COLUMNS.len());
            for name in COLUMNS {
                numbers.push(rows.numbers::<Int64Type>(name)?);
            }
            for row in 0..rows.len() {
                let Some(month) = number(dates, row).and_then(Month::of_micros) else { continue };
                let mut cells = Cells::default();
                cells.iter_mut().zip(&numbers).for_each(|(cell, numbers)| *cell = number(numbers, row));
                reading.row(targets.value(row), month, cells);
            }
            Ok(())
        })?;
        Ok(reading.finish(months))
    }

    /// What is kept of a target.
    pub(super) fn history(&self, target: &str) -> Option<&History> {
        self.names.get(target).map(|index| &self.histories[*index])
    }

    /// All targets with a history, in no particular order.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &History)> {
        self.names.iter().map(|(name, index)| (&**name, &self.histories[*index]))
    }

    /// The target with the most backlinks, at last count, among those that lack the month at this place of
    /// [`months`](Self::months) between others, with that number.
    pub(super) fn largest_lacking(&self, place: usize) -> Option<(&str, i64)> {
        let back = self.months.len().checked_sub(place + 1)?;
        let lacking = self.all().filter(|(_, history)| history.lacks(back));
        lacking
            .filter_map(|(name, history)| Some((name, history.backlinks()?)))
            .max_by_key(|(name, links)| (*links, *name))
    }

    /// Backlinks of all targets, each at its last count.
    pub(super) fn backlinks(&self) -> i128 {
        self.histories.iter().filter_map(History::backlinks).map(i128::from).sum()
    }

    /// The sums of the latest month.
    pub(super) fn last(&self) -> Option<&MonthTotals> {
        self.months.last().map(|(_, totals)| totals)
    }

    /// The sums of the month with which the latest is compared.
    pub(super) fn before(&self) -> Option<&MonthTotals> {
        let place = self.months.len().checked_sub(WINDOW)?;
        self.months.get(place).map(|(_, totals)| totals).filter(|totals| totals.targets > 0)
    }
}

/// A history under way.
struct Reading {
    portfolio: Portfolio,
    totals: BTreeMap<Month, MonthTotals>,
    /// The last row, until one of another target or month comes.
    open: Option<(usize, Month, Cells)>,
    /// The last row's target.
    same: Option<(Box<str>, usize)>,
}

impl Reading {
    fn row(&mut self, target: &str, month: Month, cells: Cells) {
        let index = match &self.same {
            Some((same, index)) if **same == *target => *index,
            _ => self.index(target),
        };
        match &mut self.open {
            Some((same, of, open)) if *same == index && *of == month => *open = cells,
            _ => {
                self.close();
                self.open = Some((index, month, cells));
            }
        }
    }

    fn index(&mut self, target: &str) -> usize {
        let next = self.portfolio.histories.len();
        let index = *self.portfolio.names.entry(target.into()).or_insert(next);
        if index == next {
            self.portfolio.histories.push(History::default());
        }
        self.same = Some((target.into(), index));
        index
    }

    fn close(&mut self) {
        let Some((index, month, cells)) = self.open.take() else { return };
        self.portfolio.histories[index].add(month, &cells, self.portfolio.latest);
        // Absurd dates may not make more sums than can be plotted; they are told as rows outside.
        let is_plotted = self.portfolio.latest.is_some_and(|end| end.back(MOST_PLOTTED) < month && month <= end);
        if is_plotted {
            self.totals.entry(month).or_default().add(&cells);
        }
    }

    fn finish(mut self, months: &Months) -> Portfolio {
        self.close();
        let (Some((first, _)), Some(latest)) = (self.totals.first_key_value(), self.portfolio.latest) else {
            return self.portfolio;
        };
        let all = (first.0..=latest.0).map(Month);
        self.portfolio.months =
            all.map(|month| (month, self.totals.get(&month).copied().unwrap_or_default())).collect();
        let plotted = *first..=latest;
        let outside = months.rows.iter().filter(|(month, _)| !plotted.contains(month));
        self.portfolio.outside = outside.map(|(_, rows)| rows).sum();
        self.portfolio
    }
}
