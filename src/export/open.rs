//! A run's directory: opened for its input lines, with the targets that remain to be fetched.

use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
};

use jiff::{Timestamp, civil::Date, tz::TimeZone};

use super::{
    Estimate, ExportError, QueryParams, RunManifest,
    directory::{check_is_run, read_ledger},
    previous::Previous,
    query_params::check_shard,
};
use crate::{
    api::{Parameters, call_events::TargetState},
    clock::Clock,
    dataset,
    fetch::FetchLimits,
    ledger::{self, Archive, Lock, ResumeState, RunHeader, Spending},
    summary::MaxFailures,
    targets::{Inputs, TargetSet},
};

/// A directory that is open for a run, with the targets that remain to be fetched.
#[derive(Debug)]
pub struct Export {
    pub(super) lock: Lock,
    pub(super) archive: Archive,
    pub(super) run: RunHeader,
    pub(super) parameters: Parameters,
    /// All input lines, those of earlier runs in this directory included.
    pub inputs: Inputs,
    pub(super) inputs_sha256: String,
    /// Numbers of the targets to call: those without an answer, then those whose answer is to be refreshed.
    pub(super) remaining: Vec<u32>,
    /// How many more targets are left than this run may call.
    pub left_out: usize,
    fresh_since: Option<Timestamp>,
    /// `--date-to`, if given.
    date_to: Option<Date>,
    /// Answers of earlier runs, to be reused before any call.
    pub(super) previous: Previous,
    pub(super) clock: Clock,
}

impl Export {
    /// Opens a directory for the input lines of this run. Creates the directory and writes nothing else.
    pub fn open(dir: &Path, given: Inputs, query: &QueryParams, clock: Clock) -> Result<Self, ExportError> {
        check_is_run(dir, RunManifest::read(dir)?.as_ref())?;
        query.parameters(None, "", clock.today())?;
        let lock = Lock::take(dir)?;
        // Find what would prevent publishing before anything is bought.
        dataset::inspect(dir)?;
        let archive = read_ledger(dir, RunManifest::read(dir)?.as_ref())?;
        // Answers that count as stored from here on must survive a power failure.
        archive.sync()?;
        check_shard(archive.run(), &given)?;
        let run = archive.run().cloned();
        let run_id = run.as_ref().map_or_else(|| new_run_id(query, clock), |run| run.run_id.clone());
        let parameters = query.parameters(run.as_ref(), &run_id, clock.today())?;
        let run = run.unwrap_or_else(|| RunHeader {
            run_id,
            started_at: clock.now(),
            parameters: parameters.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            shard: query.shard,
            simulated: query.simulated == Some(true),
        });
        let fresh_since = query.fresh_since;
        let mut inputs_sha256 = ledger::digest(&given);
        let mut inputs = given;
        let mut named = None;
        // Identical lines are not parsed a second time: a million of them take a hundred megabytes.
        let mut are_kept = archive.inputs_digest() == Some(inputs_sha256.as_str());
        if !are_kept && let Some(earlier) = archive.inputs()? {
            are_kept = earlier.is_same_but_for_folders(&inputs);
            if are_kept {
                inputs = earlier.with_remarks_of(&inputs);
            } else {
                named = Some(inputs.target_set());
                inputs = earlier.updated_with(inputs);
            }
            inputs_sha256 = ledger::digest(&inputs);
        }
        let mut remaining = remaining(&inputs, named.as_ref(), &archive, fresh_since);
        if are_kept {
            drop_tolerated_failures(&mut remaining, &inputs, &archive, query.tolerated);
        }
        let previous = Previous::default();
        Ok(Self {
            lock,
            archive,
            run,
            parameters,
            inputs,
            inputs_sha256,
            remaining,
            left_out: 0,
            fresh_since,
            date_to: query.date_to,
            previous,
            clock,
        })
    }

    /// Reuses sufficiently new answers of the runs in these directories. Reads and locks their ledgers, writes nothing.
    pub fn with_previous(mut self, dirs: &[PathBuf]) -> Result<Self, ExportError> {
        if dirs.is_empty() {
            return Ok(self);
        }
        let lock = |dir: &Path| Lock::shared(dir).map(Some);
        self.previous = Previous::open(dirs, Some(self.lock.dir()), Some(&self.run), &self.parameters, lock)?;
        let date_to = self.parameters.date_to;
        self.previous.choose(&self.inputs, &mut self.remaining, self.fresh_since, date_to)?;
        Ok(self)
    }

    /// Limits the targets that this run calls to the first ones of the input. New targets come before those that failed
    /// earlier, so that the next run continues with the next ones.
    #[must_use]
    pub fn limited(mut self, limit: Option<NonZeroU32>) -> Self {
        let Some(limit) = limit.map(|limit| limit.get() as usize).filter(|limit| *limit < self.remaining.len()) else {
            return self;
        };
        let state = |number: &u32| self.archive.state(self.inputs.target(*number));
        self.remaining.sort_by_cached_key(|number| (state(number).is_final(), state(number) == TargetState::Failed));
        self.left_out = self.remaining.len() - limit;
        self.remaining.truncate(limit);
        self
    }

    /// Targets to call: they have no answer yet, or one that is too old.
    pub fn remaining(&self) -> usize {
        self.remaining.len()
    }

    pub fn run_id(&self) -> &str {
        &self.run.run_id
    }

    /// Targets to call that have an answer, which is to be refreshed.
    pub fn to_refresh(&self) -> usize {
        to_refresh(&self.remaining, &self.inputs, &self.archive)
    }

    /// Answers of earlier runs to reuse.
    pub fn to_take_over(&self) -> usize {
        self.previous.chosen()
    }

    /// How many of them end before an explicit `--date-to`, in words.
    pub fn reused_ending_early(&self) -> Option<String> {
        self.previous.ending_early(self.date_to)
    }

    pub fn resume_state(&self) -> ResumeState {
        self.archive.resume_state(self.clock.moment())
    }

    pub fn spending(&self) -> Spending {
        self.archive.spending()
    }

    pub fn estimate(&self, limits: &FetchLimits) -> Estimate {
        let calls = self.remaining.len() as u64;
        Estimate::new(calls, &self.parameters, limits.rate, limits.concurrency, &self.resume_state())
    }

    /// Whether the cap covers all remaining targets. Otherwise the input's first lines are called first.
    pub(super) fn cap_covers_all(&self, limits: &FetchLimits, past: &ResumeState) -> bool {
        limits.max_cost.is_none_or(|cap| past.spent.plus(self.estimate(limits).cost_high) <= cap)
    }

    /// Whether the ledger already contains these input lines.
    pub(super) fn inputs_are_kept(&self) -> bool {
        self.archive.inputs_digest() == Some(self.inputs_sha256.as_str())
    }
}

/// Numbers of the targets to call, among the `wanted` ones if any are given. Those without an answer come first, then
/// those whose answer came before `since`: missing answers matter more than old ones.
pub(super) fn remaining(
    inputs: &Inputs,
    wanted: Option<&TargetSet>,
    archive: &Archive,
    since: Option<Timestamp>,
) -> Vec<u32> {
    let (mut missing, mut stale) = (Vec::new(), Vec::new());
    let is_wanted = |target| wanted.is_none_or(|wanted| wanted.number(target).is_some());
    for (number, target) in (0..).zip(inputs.targets()).filter(|(_, target)| is_wanted(*target)) {
        if !archive.state(target).is_final() {
            missing.push(number);
        } else if !archive.is_fresh(target, since) {
            stale.push(number);
        }
    }
    missing.append(&mut stale);
    missing
}

/// Clears `remaining` if it only has failed targets, and so many are tolerated.
pub(super) fn drop_tolerated_failures(
    remaining: &mut Vec<u32>,
    inputs: &Inputs,
    archive: &Archive,
    tolerated: MaxFailures,
) {
    let has_failed = |number: &u32| archive.state(inputs.target(*number)) == TargetState::Failed;
    if tolerated.allows(remaining.len() as u64, inputs.counts().targets as u64) && remaining.iter().all(has_failed) {
        remaining.clear();
    }
}

/// Remaining targets that have an answer, which is to be refreshed.
pub(super) fn to_refresh(remaining: &[u32], inputs: &Inputs, archive: &Archive) -> usize {
    remaining.iter().filter(|number| archive.state(inputs.target(**number)).is_final()).count()
}

/// A unique id that sorts by time.
fn new_run_id(query: &QueryParams, clock: Clock) -> String {
    use std::hash::{BuildHasher, RandomState};
    let at = TimeZone::UTC.to_datetime(clock.now()).strftime("%Y%m%dT%H%M%SZ").to_string();
    let random = RandomState::new().hash_one(&at) & 0xff_ffff;
    // For people who see the file names.
    let prefix = if query.simulated == Some(true) { "sandbox-" } else { "" };
    format!("{prefix}{at}-{random:06x}")
}
