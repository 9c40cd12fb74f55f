//! The stored answers of one run, or of several runs merged.
//!
//! If several ledgers have an answer for a target, the newest counts; its cost is the sum over all. Snapshots keep one
//! set of rows for each day: then the newest answer counts among the runs that began on the same day.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    num::NonZeroU32,
    sync::Arc,
};

use jiff::{Timestamp, civil::Date, tz::TimeZone};

use super::{ExportError, QueryDifference};
use crate::{
    api::{Parameters, call_events::TargetState},
    ledger::{Archive, CostSource, LedgerError, LoadedBody, RunHeader, Spending, StoredAnswer, TargetEntry},
    money::Usd,
    sha256,
    targets::{Inputs, Shard, Target, TargetRef},
};

/// Ledgers that become one dataset, and its input lines.
#[derive(Debug)]
pub struct MergedLedgers {
    pub sources: Vec<Source>,
    pub inputs: Arc<Inputs>,
    pub inputs_sha256: String,
    winners: Winners,
    /// The same for each day on which runs began; `None`: there are no snapshots.
    snapshots: Option<BTreeMap<Date, Winners>>,
}

/// For targets in several ledgers: the source that counts.
type Winners = HashMap<Target, usize>;

#[derive(Debug)]
pub struct Source {
    pub run: RunHeader,
    pub archive: Archive,
}

impl Source {
    /// The day on which the run began.
    pub fn run_date(&self) -> Date {
        run_date(&self.run)
    }
}

/// The day on which a run began, in UTC.
pub(super) fn run_date(run: &RunHeader) -> Date {
    TimeZone::UTC.to_datetime(run.started_at).date()
}

/// A stored answer with rows: its source, and its target's number there. Eight bytes, since there is one per target.
#[derive(Clone, Copy, Debug)]
pub struct AnswerRef {
    source: u32,
    number: u32,
}

impl AnswerRef {
    /// Whether it is in the ledger that counts for the target of `entry`, which must be the answer's target.
    pub fn is_from_source_of(self, entry: &MergedEntry<'_>) -> bool {
        self.source as usize == entry.source
    }
}

/// What all ledgers contain about one target.
#[derive(Clone, Debug)]
pub struct MergedEntry<'a> {
    pub state: TargetState,
    /// Calls that went out.
    pub attempts: u32,
    /// Calls that may have been billed without an answer.
    pub possibly_billed: u32,
    /// Known cost of its calls.
    pub cost: Usd,
    /// The least certain source of that cost.
    pub cost_source: Option<CostSource>,
    /// Whether a refresh of its answer was given up, so that the older answer stays.
    pub refresh_given_up: bool,
    source: usize,
    best: &'a TargetEntry,
}

impl MergedEntry<'_> {
    /// When the kept answer arrived, if its refresh failed.
    pub fn kept_from(&self) -> Option<Timestamp> {
        self.best.at().filter(|_| self.refresh_given_up)
    }

    /// Whether its answer came before `since`.
    pub fn is_stale(&self, since: Timestamp) -> bool {
        self.state.is_final() && !self.best.is_fresh(Some(since))
    }

    /// Known cost of its calls; `None`: no price is known.
    pub fn known_cost(&self) -> Option<Usd> {
        let nothing_is_known = self.cost_source == Some(CostSource::Unknown) && self.cost == Usd::ZERO;
        (!nothing_is_known).then_some(self.cost)
    }
}

impl MergedLedgers {
    /// Merges ledgers; with `snapshots`, separately for each day on which runs began. Fails if query parameters differ.
    pub fn new(
        sources: Vec<Source>,
        inputs: impl Into<Arc<Inputs>>,
        inputs_sha256: String,
        snapshots: bool,
    ) -> Result<Self, ExportError> {
        let inputs = inputs.into();
        let mut merged = Self { sources, inputs, inputs_sha256, winners: HashMap::new(), snapshots: None };
        merged.check_queries()?;
        let all: Vec<usize> = (0..merged.sources.len()).collect();
        merged.winners = merged.winners_among(&all);
        if snapshots {
            let mut days: BTreeMap<Date, Vec<usize>> = BTreeMap::new();
            for number in all {
                days.entry(merged.sources[number].run_date()).or_default().push(number);
            }
            let winners = days.into_iter().map(|(day, numbers)| (day, merged.winners_among(&numbers)));
            merged.snapshots = Some(winners.collect());
        }
        Ok(merged)
    }

    fn check_queries(&self) -> Result<(), ExportError> {
        let differs = self.sources.array_windows().find_map(|[Source { run: one, .. }, Source { run: next, .. }]| {
            QueryDifference::find(one, Some(next.simulated), &next.parameters)
        });
        differs.map_or(Ok(()), |differs| Err(ExportError::DifferentQueries(differs)))
    }

    fn winners_among(&self, among: &[usize]) -> Winners {
        if among.len() < 2 {
            return Winners::new();
        }
        let mut winners = Winners::new();
        for (index, number) in among.iter().enumerate() {
            for (target, _) in self.sources[*number].archive.requested() {
                let knows = |number: &&usize| self.sources[**number].archive.entry(target).is_some();
                if !among[..index].iter().any(|earlier| knows(&earlier))
                    && among[index + 1..].iter().any(|later| knows(&later))
                {
                    winners.extend(self.best(target, &among[index..]).map(|best| (target.to_target(), best)));
                }
            }
        }
        winners
    }

    /// The source that counts for a target: one with an answer takes precedence, then the newest.
    fn best(&self, target: TargetRef<'_>, among: &[usize]) -> Option<usize> {
        let rank = |number: &usize| {
            let found = self.sources[*number].archive.entry(target)?;
            Some(((found.state.is_final(), found.at(), Reverse(*number)), *number))
        };
        among.iter().filter_map(rank).max().map(|(_, number)| number)
    }

    pub fn spending(&self) -> Spending {
        self.sources.iter().map(|source| source.archive.spending()).fold(Spending::default(), Spending::plus)
    }

    /// Shards that are missing while others of the same division are among the ledgers.
    pub fn missing_shards(&self) -> Vec<Shard> {
        let there: BTreeSet<Shard> = self.sources.iter().filter_map(|source| source.run.shard).collect();
        let divisions: BTreeSet<NonZeroU32> = there.iter().map(|shard| shard.of).collect();
        let shards =
            |of: NonZeroU32| (1..=of.get()).filter_map(NonZeroU32::new).map(move |number| Shard { number, of });
        divisions.into_iter().flat_map(shards).filter(|shard| !there.contains(shard)).collect()
    }

    /// Whether any answer is from the simulated API.
    pub fn is_simulated(&self) -> bool {
        self.sources.iter().any(|source| source.run.simulated)
    }

    /// The run id in file names: the run's own, or one derived from those of all runs.
    pub fn run_id(&self) -> String {
        let mut ids: Vec<&str> = self.sources.iter().map(|source| source.run.run_id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        match ids[..] {
            [only] => only.to_owned(),
            _ => format!("merged-{}", &sha256::of(ids.join("\n"))[..12]),
        }
    }

    /// The query parameters, with the latest day that was requested.
    pub fn parameters(&self) -> Parameters {
        let requested = self.sources.iter().map(|source| &source.run.parameters);
        let latest =
            requested.max_by_key(|requested| requested.date_to).expect("a dataset is built from one ledger or more");
        let up_to = self.sources.iter().filter_map(|source| source.archive.latest_date_to()).max();
        Parameters { date_to: up_to.unwrap_or(latest.date_to), ..latest.clone() }
    }

    /// Every answer with rows, by target; with snapshots, by day first.
    pub fn answers(&self) -> Vec<AnswerRef> {
        let mut answers = Vec::new();
        for (source, Source { archive, .. }) in (0..).zip(&self.sources) {
            let run_date = self.run_date(AnswerRef { source, number: 0 });
            let winners = self.snapshots.as_ref().and_then(|days| days.get(&run_date)).unwrap_or(&self.winners);
            let counts =
                |target: TargetRef<'_>| winners.get(target.as_str()).is_none_or(|chosen| *chosen == source as usize);
            let own = (0..)
                .zip(archive.requested())
                .filter(|(_, (target, entry))| entry.state == TargetState::Ok && counts(*target));
            answers.extend(own.map(|(number, _)| AnswerRef { source, number }));
        }
        // Rows are sorted by target within a partition, and each day is a partition.
        let day = |answer: &AnswerRef| self.snapshots.as_ref().map(|_| self.run_date(*answer));
        let order = |answer: &AnswerRef| (day(answer), self.target(*answer));
        answers.sort_unstable_by(|one, other| order(one).cmp(&order(other)));
        answers
    }

    pub fn target(&self, answer: AnswerRef) -> TargetRef<'_> {
        self.sources[answer.source as usize].archive.entry_at(answer.number).0
    }

    /// The day on which the run that stored the answer began.
    pub fn run_date(&self, answer: AnswerRef) -> Date {
        self.sources[answer.source as usize].run_date()
    }

    /// When the oldest answer that counts arrived; `None`: there is none.
    pub fn oldest_answer(&self) -> Option<Timestamp> {
        let targets = self.inputs.targets().filter_map(|target| self.entry(target));
        targets.filter(|entry| entry.state.is_final()).filter_map(|entry| entry.best.at()).min()
    }

    /// The body of an answer, verbatim, if it has at most `max_bytes` bytes.
    pub fn body_within(&self, answer: AnswerRef, max_bytes: u64) -> Result<LoadedBody, LedgerError> {
        let archive = &self.sources[answer.source as usize].archive;
        archive.body(archive.entry_at(answer.number).1, max_bytes)
    }

    /// The entry of a target; `None`: it was never called.
    pub fn entry(&self, target: TargetRef<'_>) -> Option<MergedEntry<'_>> {
        let mut merged: Option<MergedEntry<'_>> = None;
        for (source, Source { archive, .. }) in self.sources.iter().enumerate() {
            let Some(found) = archive.entry(target) else { continue };
            let entry = merged.get_or_insert(MergedEntry {
                state: found.state,
                attempts: 0,
                possibly_billed: 0,
                cost: Usd::ZERO,
                cost_source: None,
                refresh_given_up: false,
                source,
                best: found,
            });
            entry.attempts += found.attempts;
            entry.possibly_billed += found.possibly_billed();
            entry.cost = entry.cost.plus(found.cost);
            entry.cost_source = entry.cost_source.max(found.cost_source());
            if self.winners.get(target.as_str()) == Some(&source) {
                (entry.state, entry.source, entry.best) = (found.state, source, found);
            }
        }
        let entry = merged?;
        let refresh_given_up = self.sources[entry.source].archive.is_refresh_given_up(target);
        Some(MergedEntry { refresh_given_up, ..entry })
    }

    /// Why a target failed: the latest result of its calls, or of those that should have refreshed its answer.
    pub fn failure(&self, target: TargetRef<'_>, entry: &MergedEntry<'_>) -> Result<Option<StoredAnswer>, LedgerError> {
        if entry.refresh_given_up {
            return self.sources[entry.source].archive.failed_refresh(target);
        }
        Ok(self.latest(entry)?.1)
    }

    /// The run and the latest result of a target, without its body. A body without rows is read all the same, since
    /// nothing else would notice damage to it.
    pub fn latest(&self, entry: &MergedEntry<'_>) -> Result<(&RunHeader, Option<StoredAnswer>), LedgerError> {
        let Source { run, archive } = &self.sources[entry.source];
        let latest = match entry.state {
            TargetState::Ok => archive.latest_result(entry.best)?,
            TargetState::NoData | TargetState::Failed | TargetState::Pending => {
                archive.latest_verified_result(entry.best)?
            }
        };
        Ok((run, latest))
    }
}
