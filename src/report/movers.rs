//! The targets that gained and lost most referring domains over twelve months.

use super::portfolio::{HistorySummary, Portfolio};

/// Targets in each list.
pub(super) const MAX_MOVERS: usize = 25;

#[derive(Clone, Copy, Debug)]
pub(super) struct Mover<'a> {
    pub(super) target: &'a str,
    pub(super) history: &'a HistorySummary,
    /// Of referring domains; negative if it lost some.
    pub(super) change: i64,
}

/// Both lists start with the greatest change.
#[derive(Debug)]
pub(super) struct Movers<'a> {
    pub(super) winners: Vec<Mover<'a>>,
    pub(super) losers: Vec<Mover<'a>>,
    /// Targets with a count at both ends of the comparison.
    pub(super) compared: usize,
}

impl<'a> Movers<'a> {
    pub(super) fn new(portfolio: &'a Portfolio) -> Self {
        let compared = portfolio.all().filter_map(|(target, history)| {
            let change = history.change()?;
            Some(Mover { target, history, change })
        });
        let mut all: Vec<_> = compared.collect();
        all.sort_unstable_by(|one, other| other.change.cmp(&one.change).then_with(|| one.target.cmp(other.target)));
        let winners = all.iter().take_while(|mover| mover.change > 0).take(MAX_MOVERS).copied().collect();
        let mut losers: Vec<_> =
            all.iter().rev().take_while(|mover| mover.change < 0).take(MAX_MOVERS).copied().collect();
        losers.sort_by(|one, other| one.change.cmp(&other.change).then_with(|| one.target.cmp(other.target)));
        Self { winners, losers, compared: all.len() }
    }
}
