//! What is held: the answers in one run's ledger, or in those of several runs taken together.
//!
//! A target that several ledgers answer is taken from the newest answer; what its calls cost is the sum over all.

use std::collections::HashMap;

use jiff::{civil::Date, tz::TimeZone};
use sha2::{Digest, Sha256};

use super::{ExportError, question::is_simulated};
use crate::{
    api::{Parameters, record::Standing},
    ledger::{Archive, Body, CostSource, Kept, Known, LedgerError, Run, Spending},
    money::Usd,
    targets::{Inputs, Target},
};

/// Ledgers that become one dataset, and the lines that it answers.
#[derive(Debug)]
pub struct Holdings {
    sources: Vec<Source>,
    inputs: Inputs,
    inputs_sha256: String,
    /// For targets that several ledgers know: which of them counts.
    contested: HashMap<Target, usize>,
}

/// One run's ledger.
#[derive(Debug)]
pub struct Source {
    /// The run.
    pub run: Run,
    /// Its ledger.
    pub archive: Archive,
}

/// A target whose history is held.
#[derive(Clone, Copy, Debug)]
pub struct Held<'a> {
    /// The target.
    pub target: &'a Target,
    /// The day on which the run began that bought it.
    pub run_date: Date,
    source: usize,
    known: &'a Known,
}

/// What all ledgers together know of one target.
#[derive(Clone, Debug)]
pub struct Account<'a> {
    /// Where it stands.
    pub standing: Standing,
    /// Calls that went out.
    pub attempts: u32,
    /// Calls that may have been billed without an answer.
    pub possibly_billed: u32,
    /// What its calls cost, as far as anybody told.
    pub cost: Usd,
    /// The weakest source of that.
    pub cost_source: Option<CostSource>,
    source: usize,
    known: &'a Known,
}

impl Account<'_> {
    /// What its calls cost; `None`: nobody told.
    pub fn known_cost(&self) -> Option<Usd> {
        let nothing_is_known = self.cost_source == Some(CostSource::Unknown) && self.cost == Usd::ZERO;
        (!nothing_is_known).then_some(self.cost)
    }
}

impl Holdings {
    /// Takes ledgers together.
    ///
    /// Fails where they answer different questions, or where two of them have an answer of one target and the
    /// newer one cannot be told because a ledger cannot be read.
    pub fn new(sources: Vec<Source>, inputs: Inputs, inputs_sha256: String) -> Result<Self, ExportError> {
        let mut holdings = Self { sources, inputs, inputs_sha256, contested: HashMap::new() };
        holdings.check_questions()?;
        if holdings.sources.len() > 1 {
            holdings.settle_contested()?;
        }
        Ok(holdings)
    }

    fn check_questions(&self) -> Result<(), ExportError> {
        let mut runs = self.sources.iter().map(|source| &source.run);
        let Some(first) = runs.next() else { return Ok(()) };
        let flags = |run: &Run| {
            let Parameters { date_from, rank_scale, .. } = run.parameters;
            let api = if is_simulated(run) { " --sandbox" } else { "" };
            format!("--date-from {date_from} --rank-scale {}{api}", rank_scale.as_str())
        };
        match runs.find(|other| flags(other) != flags(first)) {
            None => Ok(()),
            Some(other) => Err(ExportError::DifferentQuestions { first: flags(first), other: flags(other) }),
        }
    }

    fn settle_contested(&mut self) -> Result<(), LedgerError> {
        let mut knowing: HashMap<&Target, Vec<usize>> = HashMap::new();
        for (number, source) in self.sources.iter().enumerate() {
            source.archive.asked().for_each(|(target, _)| knowing.entry(target).or_default().push(number));
        }
        let mut contested = HashMap::new();
        for (target, sources) in knowing.into_iter().filter(|(_, sources)| sources.len() > 1) {
            let mut best = None;
            for number in sources {
                let archive = &self.sources[number].archive;
                let Some(known) = archive.known(target) else { continue };
                let at = archive.head(known)?.map(|kept| kept.at);
                // An answer counts more than none, a newer one more than an older one.
                let rank = (known.standing.is_final(), at, std::cmp::Reverse(number));
                best = best.max(Some((rank, number)));
            }
            contested.extend(best.map(|(_, number)| (target.clone(), number)));
        }
        self.contested = contested;
        Ok(())
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

    /// The ledgers.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// Whether any of it is of the simulated API.
    pub fn is_simulated(&self) -> bool {
        self.sources.iter().any(|source| is_simulated(&source.run))
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

    /// What was asked; the last day is the latest of all runs.
    pub fn parameters(&self) -> Option<Parameters> {
        self.sources.iter().map(|source| &source.run.parameters).max_by_key(|asked| asked.date_to).cloned()
    }

    /// Every target whose history is held, by name.
    pub fn held(&self) -> Vec<Held<'_>> {
        let mut held = Vec::new();
        for (number, Source { run, archive }) in self.sources.iter().enumerate() {
            let run_date = TimeZone::UTC.to_datetime(run.started_at).date();
            let counts = |target: &Target| self.contested.get(target).is_none_or(|chosen| *chosen == number);
            let own = archive.asked().filter(|(target, known)| known.standing == Standing::Ok && counts(target));
            held.extend(own.map(|(target, known)| Held { target, run_date, source: number, known }));
        }
        held.sort_unstable_by(|one, other| one.target.cmp(other.target));
        held
    }

    /// The body of a held answer, verbatim.
    pub fn body(&self, held: &Held<'_>) -> Result<Vec<u8>, LedgerError> {
        let kept = self.sources[held.source].archive.kept(held.known)?;
        Ok(kept.and_then(|kept| kept.body).unwrap_or_default())
    }

    /// The same, if it has `most` bytes at most.
    pub fn body_within(&self, held: &Held<'_>, most: usize) -> Result<Body, LedgerError> {
        self.sources[held.source].archive.body(held.known, most as u64)
    }

    /// What is known of a target; `None`: it was never asked about.
    pub fn account(&self, target: &Target) -> Option<Account<'_>> {
        let mut account: Option<Account<'_>> = None;
        for (source, Source { archive, .. }) in self.sources.iter().enumerate() {
            let Some(known) = archive.known(target) else { continue };
            let entry = account.get_or_insert(Account {
                standing: known.standing,
                attempts: 0,
                possibly_billed: 0,
                cost: Usd::ZERO,
                cost_source: None,
                source,
                known,
            });
            entry.attempts += known.attempts;
            entry.possibly_billed += known.possibly_billed();
            entry.cost = entry.cost.plus(known.cost);
            entry.cost_source = entry.cost_source.max(known.cost_source());
            if self.contested.get(target) == Some(&source) {
                (entry.standing, entry.source, entry.known) = (known.standing, source, known);
            }
        }
        account
    }

    /// The run and the latest result behind what is known of a target, without its body. A body that makes no rows is
    /// read all the same, since nobody else would notice that it is damaged.
    pub fn latest(&self, account: &Account<'_>) -> Result<(&Run, Option<Kept>), LedgerError> {
        let Source { run, archive } = &self.sources[account.source];
        let latest = match account.standing {
            Standing::Ok => archive.head(account.known)?,
            Standing::NoData | Standing::Failed | Standing::Pending => archive.kept(account.known)?,
        };
        Ok((run, latest.map(|kept| Kept { body: None, ..kept })))
    }
}
