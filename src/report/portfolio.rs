//! Sums of the history by month, and a few counts of each target.
//!
//! The rows are sorted by target and date within a file. If the API serves a month of a target several times, the last
//! row counts; these rows are adjacent.

use std::collections::{BTreeMap, HashMap};

use arrow::datatypes::Int64Type;

use super::{
    ReportError,
    month::Month,
    read::{Dataset, Months, number},
};
use crate::decode::schema;

/// Months between the ends of a comparison.
pub(super) const COMPARISON_MONTHS: i32 = 12;
/// Months of a comparison, including both ends.
const COMPARED_MONTHS: usize = COMPARISON_MONTHS as usize + 1;
/// The latest months, which are plotted.
const MAX_PLOTTED_MONTHS: i32 = 240;
/// Words of 64 bits with a bit for each plotted month.
const PLOTTED_WORDS: usize = (MAX_PLOTTED_MONTHS as usize).div_ceil(64);

/// The columns that are read besides target and date, in the order of [`Cells`].
pub(super) const COLUMNS: [&str; 8] = [
    "referring_domains",
    "backlinks",
    "new_referring_domains",
    "lost_referring_domains",
    "new_backlinks",
    "lost_backlinks",
    "rank",
    schema::INFO_TARGET_SPAM_SCORE,
];
pub(super) const REFERRING_DOMAINS: usize = 0;
pub(super) const BACKLINKS: usize = 1;
pub(super) const NEW_REFERRING_DOMAINS: usize = 2;
pub(super) const LOST_REFERRING_DOMAINS: usize = 3;
pub(super) const NEW_BACKLINKS: usize = 4;
pub(super) const LOST_BACKLINKS: usize = 5;
pub(super) const RANK: usize = 6;
pub(super) const SPAM_SCORE: usize = 7;
/// The first columns, which are summed.
const SUMMED: usize = 6;

type Cells = [Option<i64>; COLUMNS.len()];

/// All targets in one month.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MonthTotals {
    /// Targets with a row.
    pub(super) targets: u64,
    /// The sums of known values by column; `None`: no value is known.
    pub(super) sums: [Option<i128>; SUMMED],
}

impl MonthTotals {
    fn add(&mut self, cells: &Cells) {
        self.targets += 1;
        for (sum, cell) in self.sums.iter_mut().zip(cells) {
            if let Some(cell) = cell {
                *sum.get_or_insert(0) += i128::from(*cell);
            }
        }
    }
}

/// A summary of a target's history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct HistorySummary {
    /// Months with a row.
    pub(super) months: u64,
    pub(super) latest: Option<Month>,
    /// The cells of its latest month, by column.
    pub(super) cells: Cells,
    /// Referring domains in the months of the comparison.
    pub(super) compared: [Option<i64>; COMPARED_MONTHS],
    /// A bit for each plotted month with a row, starting with the latest.
    months_present: [u64; PLOTTED_WORDS],
}

impl HistorySummary {
    fn add(&mut self, month: Month, cells: &Cells, end: Option<Month>) {
        self.months += 1;
        if self.latest.is_none_or(|latest| latest <= month) {
            (self.latest, self.cells) = (Some(month), *cells);
        }
        let back = end.and_then(|end| usize::try_from(end.0 - month.0).ok());
        if let Some((back, bits)) = back.and_then(|back| Some((back, self.months_present.get_mut(back / 64)?))) {
            *bits |= 1 << (back % 64);
        }
        let index =
            end.map(|end| month.0 - end.back(COMPARISON_MONTHS).0).and_then(|index| usize::try_from(index).ok());
        if let Some(slot) = index.and_then(|index| self.compared.get_mut(index)) {
            *slot = cells[REFERRING_DOMAINS];
        }
    }

    /// Whether it lacks the month `back` months before the latest, but has one before and one after it. The latest
    /// month counts as a gap if the previous month has a row.
    fn has_gap(&self, back: usize) -> bool {
        let has = |back: usize| self.months_present.get(back / 64).is_some_and(|bits| bits >> (back % 64) & 1 == 1);
        let months = self.months_present.len() * 64;
        let is_around = if back == 0 { has(1) } else { (0..back).any(has) && (back + 1..months).any(has) };
        !has(back) && is_around
    }

    /// Referring domains at both ends of the comparison, if both are known.
    pub(super) fn ends(&self) -> Option<(i64, i64)> {
        Some((self.compared[0]?, self.compared[COMPARED_MONTHS - 1]?))
    }

    /// The change in referring domains over the comparison.
    pub(super) fn change(&self) -> Option<i64> {
        self.ends().map(|(first, last)| last.saturating_sub(first))
    }
}

#[derive(Debug, Default)]
pub(super) struct Portfolio {
    pub(super) latest: Option<Month>,
    /// Sums of every month from the first plotted to the latest, including gaps.
    pub(super) months: Vec<(Month, MonthTotals)>,
    /// Rows without a usable date.
    pub(super) undated: u64,
    /// Rows of months that are not plotted.
    pub(super) outside: u64,
    names: HashMap<Box<str>, usize>,
    histories: Vec<HistorySummary>,
}

impl Portfolio {
    /// Reads the history once.
    pub(super) fn read(dataset: &Dataset, months: &Months) -> Result<Self, ReportError> {
        let portfolio = Self { latest: months.latest, undated: months.undated, ..Self::default() };
        let mut builder = PortfolioBuilder { portfolio, totals: BTreeMap::new(), pending: None, last_target: None };
        let mut columns = vec![schema::TARGET, schema::DATE];
        columns.extend(COLUMNS);
        dataset.history(&columns, None, |rows| {
            let (targets, dates) = (rows.texts(schema::TARGET)?, rows.dates()?);
            let mut numbers = Vec::with_capacity(COLUMNS.len());
            for name in COLUMNS {
                numbers.push(rows.numbers::<Int64Type>(name)?);
            }
            for row in 0..rows.len() {
                let Some(month) = number(dates, row).and_then(Month::from_micros) else { continue };
                let mut cells = Cells::default();
                cells.iter_mut().zip(&numbers).for_each(|(cell, numbers)| *cell = number(numbers, row));
                builder.row(targets.value(row), month, cells);
            }
            Ok(())
        })?;
        Ok(builder.finish(months))
    }

    pub(super) fn history(&self, target: &str) -> Option<&HistorySummary> {
        self.names.get(target).map(|index| &self.histories[*index])
    }

    /// All targets with a history, in no particular order.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &HistorySummary)> {
        self.names.iter().map(|(name, index)| (&**name, &self.histories[*index]))
    }

    /// The target with the most backlinks, by its latest count, among those that lack the month at this index of
    /// [`months`](Self::months) between others.
    pub(super) fn largest_target_with_gap(&self, index: usize) -> Option<(&str, i64)> {
        let back = self.months.len().checked_sub(index + 1)?;
        let lacking = self.all().filter(|(_, history)| history.has_gap(back));
        lacking
            .filter_map(|(name, history)| Some((name, history.cells[BACKLINKS]?)))
            .max_by_key(|(name, links)| (*links, *name))
    }

    /// Backlinks of all targets by their latest counts.
    pub(super) fn backlinks(&self) -> i128 {
        self.histories.iter().filter_map(|history| history.cells[BACKLINKS]).map(i128::from).sum()
    }

    pub(super) fn latest_totals(&self) -> Option<&MonthTotals> {
        self.months.last().map(|(_, totals)| totals)
    }

    /// The sums of the month with which the latest is compared.
    pub(super) fn comparison_totals(&self) -> Option<&MonthTotals> {
        let index = self.months.len().checked_sub(COMPARED_MONTHS)?;
        self.months.get(index).map(|(_, totals)| totals).filter(|totals| totals.targets > 0)
    }
}

struct PortfolioBuilder {
    portfolio: Portfolio,
    totals: BTreeMap<Month, MonthTotals>,
    /// The last row, which the next may replace.
    pending: Option<(usize, Month, Cells)>,
    /// The last row's target.
    last_target: Option<(Box<str>, usize)>,
}

impl PortfolioBuilder {
    fn row(&mut self, target: &str, month: Month, cells: Cells) {
        let index = match &self.last_target {
            Some((name, index)) if **name == *target => *index,
            _ => self.index(target),
        };
        match &mut self.pending {
            Some((of, in_month, pending)) if *of == index && *in_month == month => *pending = cells,
            _ => {
                self.close();
                self.pending = Some((index, month, cells));
            }
        }
    }

    fn index(&mut self, target: &str) -> usize {
        let next = self.portfolio.histories.len();
        let index = *self.portfolio.names.entry(target.into()).or_insert(next);
        if index == next {
            self.portfolio.histories.push(HistorySummary::default());
        }
        self.last_target = Some((target.into(), index));
        index
    }

    fn close(&mut self) {
        let Some((index, month, cells)) = self.pending.take() else { return };
        self.portfolio.histories[index].add(month, &cells, self.portfolio.latest);
        // Implausible dates must not add sums that are not plotted; they are counted as outside.
        let is_plotted = self.portfolio.latest.is_some_and(|end| end.back(MAX_PLOTTED_MONTHS) < month && month <= end);
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
