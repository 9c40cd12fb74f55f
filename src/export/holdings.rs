//! What is held: the answers in one run's ledger, or in those of several runs taken together.
//!
//! A target that several ledgers answer is taken from the newest answer; what its calls cost is the sum over all. Where
//! each run's rows are kept as a snapshot, that holds among the ledgers of runs that began on the same day.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    num::NonZeroU32,
    sync::Arc,
};

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use sha2::{Digest, Sha256};

use super::ExportError;
use crate::{
    api::{Parameters, record::TargetState},
    ledger::{Archive, Body, CostSource, LedgerError, Run, Spending, StoredAnswer, TargetEntry},
    money::Usd,
    targets::{Inputs, Shard, Target, TargetRef},
};

/// Ledgers that become one dataset, and the lines that it answers.
#[derive(Debug)]
pub struct MergedLedgers {
    sources: Vec<Source>,
    inputs: Arc<Inputs>,
    inputs_sha256: String,
    /// For targets that several ledgers know: which of them counts.
    contested: Contested,
    /// The same among the ledgers of each day on which runs began; `None`: the newest answer of all is kept alone.
    snapshots: Option<BTreeMap<Date, Contested>>,
}

/// For targets that several ledgers know: which of them counts.
type Contested = HashMap<Target, usize>;

#[derive(Debug)]
pub struct Source {
    pub run: Run,
    pub archive: Archive,
}

impl Source {
    /// The day on which the run began.
    pub fn run_date(&self) -> Date {
        run_date(&self.run)
    }
}

/// The day on which a run began, in UTC.
pub(super) fn run_date(run: &Run) -> Date {
    TimeZone::UTC.to_datetime(run.started_at).date()
}

/// A stored answer with rows: which ledger's, and which target's there. Eight bytes, since there is one for each
/// target.
#[derive(Clone, Copy, Debug)]
pub struct AnswerRef {
    source: u32,
    number: u32,
}

impl AnswerRef {
    /// Whether this is the answer that `account` tells of.
    pub fn is_that_of(self, account: &TargetHistory<'_>) -> bool {
        self.source as usize == account.source
    }
}

/// What all ledgers together know of one target.
#[derive(Clone, Debug)]
pub struct TargetHistory<'a> {
    pub standing: TargetState,
    /// Calls that went out.
    pub attempts: u32,
    /// Calls that may have been billed without an answer.
    pub possibly_billed: u32,
    /// What its calls cost, as far as anybody told.
    pub cost: Usd,
    /// The weakest source of that.
    pub cost_source: Option<CostSource>,
    /// Whether its answer was to be refreshed, and that was given up: an older answer is in force.
    pub refresh_given_up: bool,
    source: usize,
    known: &'a TargetEntry,
}

impl TargetHistory<'_> {
    /// When the answer came that stays in force because it could not be refreshed.
    pub fn kept_from(&self) -> Option<Timestamp> {
        self.known.at().filter(|_| self.refresh_given_up)
    }

    /// Whether its answer came before `since`.
    pub fn is_stale(&self, since: Timestamp) -> bool {
        self.standing.is_final() && !self.known.is_held_since(Some(since))
    }

    /// What its calls cost; `None`: nobody told.
    pub fn known_cost(&self) -> Option<Usd> {
        let nothing_is_known = self.cost_source == Some(CostSource::Unknown) && self.cost == Usd::ZERO;
        (!nothing_is_known).then_some(self.cost)
    }
}

impl MergedLedgers {
    /// Takes ledgers together.
    ///
    /// Fails where they answer different questions.
    ///
    /// With `snapshots` a target counts once for each day on which runs began.
    pub fn new(
        sources: Vec<Source>,
        (inputs, inputs_sha256): (impl Into<Arc<Inputs>>, String),
        snapshots: bool,
    ) -> Result<Self, ExportError> {
        let inputs = inputs.into();
        let mut holdings = Self { sources, inputs, inputs_sha256, contested: HashMap::new(), snapshots: None };
        holdings.check_questions()?;
        let all: Vec<usize> = (0..holdings.sources.len()).collect();
        holdings.contested = holdings.settled(&all);
        if snapshots {
            let mut days: BTreeMap<Date, Vec<usize>> = BTreeMap::new();
            for number in all {
                days.entry(holdings.sources[number].run_date()).or_default().push(number);
            }
            let settled = days.into_iter().map(|(day, numbers)| (day, holdings.settled(&numbers)));
            holdings.snapshots = Some(settled.collect());
        }
        Ok(holdings)
    }

    fn check_questions(&self) -> Result<(), ExportError> {
        let mut runs = self.sources.iter().map(|source| &source.run);
        let Some(first) = runs.next() else { return Ok(()) };
        let flags = |run: &Run| {
            let Parameters { date_from, rank_scale, .. } = run.parameters;
            let api = if run.simulated { " --sandbox" } else { "" };
            format!("--date-from {date_from} --rank-scale {}{api}", rank_scale.as_str())
        };
        match runs.find(|other| flags(other) != flags(first)) {
            None => Ok(()),
            Some(other) => Err(ExportError::DifferentQuestions { first: flags(first), other: flags(other) }),
        }
    }

    /// For targets that several of these ledgers know: which of them counts.
    fn settled(&self, among: &[usize]) -> Contested {
        if among.len() < 2 {
            return Contested::new();
        }
        let mut settled = Contested::new();
        for (place, number) in among.iter().enumerate() {
            for (target, _) in self.sources[*number].archive.asked() {
                let knows = |number: &&usize| self.sources[**number].archive.known(target).is_some();
                if !among[..place].iter().any(|earlier| knows(&earlier))
                    && among[place + 1..].iter().any(|later| knows(&later))
                {
                    settled.extend(self.best(target, &among[place..]).map(|best| (target.to_target(), best)));
                }
            }
        }
        settled
    }

    /// Which of these ledgers counts for a target: an answer counts more than none, a newer one more than an older one.
    fn best(&self, target: TargetRef<'_>, among: &[usize]) -> Option<usize> {
        let rank = |number: &usize| {
            let known = self.sources[*number].archive.known(target)?;
            Some(((known.standing.is_final(), known.at(), Reverse(*number)), *number))
        };
        among.iter().filter_map(rank).max().map(|(_, number)| number)
    }

    /// The lines that the dataset answers, in order.
    pub fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    /// What sets these lines apart from any others.
    pub fn inputs_sha256(&self) -> &str {
        &self.inputs_sha256
    }

    /// What all calls came to.
    pub fn spending(&self) -> Spending {
        self.sources.iter().map(|source| source.archive.spending()).fold(Spending::default(), Spending::plus)
    }

    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// Shares of the targets that are not among the ledgers, while others of the same division are.
    pub fn missing_shards(&self) -> Vec<Shard> {
        let there: BTreeSet<Shard> = self.sources.iter().filter_map(|source| source.run.shard).collect();
        let divisions: BTreeSet<NonZeroU32> = there.iter().map(|shard| shard.of).collect();
        let shards =
            |of: NonZeroU32| (1..=of.get()).filter_map(NonZeroU32::new).map(move |number| Shard { number, of });
        divisions.into_iter().flat_map(shards).filter(|shard| !there.contains(shard)).collect()
    }

    /// Whether any of it is of the simulated API.
    pub fn is_simulated(&self) -> bool {
        self.sources.iter().any(|source| source.run.simulated)
    }

    /// The name under which the dataset's files go: the run's, or one made from those of all runs.
    pub fn run_id(&self) -> String {
        let mut ids: Vec<&str> = self.sources.iter().map(|source| source.run.run_id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        match ids[..] {
            [only] => only.to_owned(),
            _ => Sha256::digest(ids.join("\n"))[..6]
                .iter()
                .fold("merged-".to_owned(), |id, byte| format!("{id}{byte:02x}")),
        }
    }

    /// What was asked; the last day is the latest that any answer was asked for.
    pub fn parameters(&self) -> Option<Parameters> {
        let latest = self.sources.iter().map(|source| &source.run.parameters).max_by_key(|asked| asked.date_to)?;
        let up_to = self.sources.iter().filter_map(|source| source.archive.asked_up_to()).max();
        Some(Parameters { date_to: up_to.unwrap_or(latest.date_to), ..latest.clone() })
    }

    /// Every target whose history is held, by name; with snapshots, those of one day after the other.
    pub fn held(&self) -> Vec<AnswerRef> {
        let mut held = Vec::new();
        for (source, Source { archive, .. }) in (0..).zip(&self.sources) {
            let run_date = self.run_date(AnswerRef { source, number: 0 });
            let contested = self.snapshots.as_ref().and_then(|days| days.get(&run_date)).unwrap_or(&self.contested);
            let counts =
                |target: TargetRef<'_>| contested.get(target.as_str()).is_none_or(|chosen| *chosen == source as usize);
            let own = (0..)
                .zip(archive.asked())
                .filter(|(_, (target, known))| known.standing == TargetState::Ok && counts(*target));
            held.extend(own.map(|(number, _)| AnswerRef { source, number }));
        }
        // In each partition rows are sorted by target: with snapshots, that of a day is one of its own.
        let day = |held: &AnswerRef| self.snapshots.as_ref().map(|_| self.run_date(*held));
        let order = |held: &AnswerRef| (day(held), self.target(*held));
        held.sort_unstable_by(|one, other| order(one).cmp(&order(other)));
        held
    }

    /// Whose history this is.
    pub fn target(&self, held: AnswerRef) -> TargetRef<'_> {
        self.sources[held.source as usize].archive.numbered(held.number).0
    }

    /// The day on which the run began in whose ledger it lies.
    pub fn run_date(&self, held: AnswerRef) -> Date {
        self.sources[held.source as usize].run_date()
    }

    /// When the oldest answer came that is in force; `None`: there is none.
    pub fn oldest_answer(&self) -> Option<Timestamp> {
        let targets = self.inputs.targets().filter_map(|target| self.account(target));
        targets.filter(|account| account.standing.is_final()).filter_map(|account| account.known.at()).min()
    }

    /// The body of a held answer, verbatim, if it has `most` bytes at most.
    pub fn body_within(&self, held: AnswerRef, most: u64) -> Result<Body, LedgerError> {
        let archive = &self.sources[held.source as usize].archive;
        archive.body(archive.numbered(held.number).1, most)
    }

    /// What is known of a target; `None`: it was never asked about.
    pub fn account(&self, target: TargetRef<'_>) -> Option<TargetHistory<'_>> {
        let mut account: Option<TargetHistory<'_>> = None;
        for (source, Source { archive, .. }) in self.sources.iter().enumerate() {
            let Some(known) = archive.known(target) else { continue };
            let entry = account.get_or_insert(TargetHistory {
                standing: known.standing,
                attempts: 0,
                possibly_billed: 0,
                cost: Usd::ZERO,
                cost_source: None,
                refresh_given_up: false,
                source,
                known,
            });
            entry.attempts += known.attempts;
            entry.possibly_billed += known.possibly_billed();
            entry.cost = entry.cost.plus(known.cost);
            entry.cost_source = entry.cost_source.max(known.cost_source());
            if self.contested.get(target.as_str()) == Some(&source) {
                (entry.standing, entry.source, entry.known) = (known.standing, source, known);
            }
        }
        if let Some(account) = &mut account {
            account.refresh_given_up = self.sources[account.source].archive.is_refresh_given_up(target);
        }
        account
    }

    /// Why a target needs a person: the latest result of its calls, or of those that were to refresh its answer.
    pub fn failure(
        &self,
        target: TargetRef<'_>,
        account: &TargetHistory<'_>,
    ) -> Result<Option<StoredAnswer>, LedgerError> {
        if account.refresh_given_up {
            return self.sources[account.source].archive.refusal(target);
        }
        Ok(self.latest(account)?.1)
    }

    /// The run and the latest result behind what is known of a target, without its body. A body that makes no rows is
    /// read all the same, since nobody else would notice that it is damaged.
    pub fn latest(&self, account: &TargetHistory<'_>) -> Result<(&Run, Option<StoredAnswer>), LedgerError> {
        let Source { run, archive } = &self.sources[account.source];
        let latest = match account.standing {
            TargetState::Ok => archive.head(account.known)?,
            TargetState::NoData | TargetState::Failed | TargetState::Pending => archive.sound_head(account.known)?,
        };
        Ok((run, latest))
    }
}
