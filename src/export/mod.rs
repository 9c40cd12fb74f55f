//! The pipeline, and the only place where its stages meet.
//!
//! ```text
//! open:     lock -> ledger -> its query parameters -> input lines, earlier ones included -> remaining targets
//! reuse:    answers of earlier runs -> ledger
//! fetch:    remaining targets -> calls -> ledger
//!           synced answers -> window -> cursor, in target order -> staged dataset
//! publish:  staged dataset, else ledger -> cursor -> staged dataset; renamed into place
//! ```
//!
//! The dataset is a pure function of the ledger, whether it was staged during the fetch or built afterwards. Nothing here
//! prints or reads flags.

mod cursor;
mod directory;
mod error;
mod estimate;
mod lines;
mod live;
mod merged_ledgers;
mod preview;
mod previous;
mod publish;
mod query_params;
mod record;
mod recorder;
mod rows;
mod summarize;
mod window;

use std::{
    iter,
    num::NonZeroU32,
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
};

use jiff::{Timestamp, tz::TimeZone};

use self::{
    directory::{check_directory, read_ledger},
    live::{LiveDataset, LiveWriter},
    merged_ledgers::run_date,
    previous::Previous,
    query_params::check_shard,
    recorder::Recorder,
};
pub use self::{
    directory::{discarded, gather, open_for_replay},
    error::ExportError,
    estimate::{Estimate, PriceSource},
    lines::LineSink,
    merged_ledgers::{AnswerRef, MergedLedgers, Source, TargetHistory},
    preview::Preview,
    previous::PreviousError,
    publish::{DatasetLayout, Published, Rebuild, StagedHistory, rejected},
    query_params::{QueryParams, QuestionError},
    record::{FileRecord, LedgerRecord, Provenance, RunRecord},
    rows::Decoded,
    summarize::{PublishOptions, partial_summary, publish_and_summarize, stale_answers, summary_from_record},
};
use crate::{
    api::{Api, Parameters, record::TargetState},
    clock::Clock,
    dataset::{self, Stage},
    fetch::{self, FetchContext, FetchEnd, FetchLimits, StopReason, pace::Rate},
    ledger::{self, Archive, Ledger, LedgerError, Lock, ResumeState, Run, Spending},
    progress::Progress,
    summary::MaxFailures,
    targets::{Inputs, TargetSet},
};

/// A directory that is open for a run, with the targets that remain to be fetched.
#[derive(Debug)]
pub struct Export {
    lock: Lock,
    archive: Archive,
    run: Run,
    parameters: Parameters,
    inputs: Inputs,
    inputs_sha256: String,
    /// Numbers of the targets to call: those without an answer, then those whose answer is to be refreshed.
    remaining: Vec<u32>,
    /// Whether more targets are left than this run may call.
    is_limited: bool,
    fresh_since: Option<Timestamp>,
    /// Answers of earlier runs, to be reused before any call.
    previous: Previous,
    clock: Clock,
}

impl Export {
    /// Opens a directory for the input lines of this run. Creates the directory and writes nothing else.
    pub fn open(dir: &Path, given: Inputs, question: &QueryParams, clock: Clock) -> Result<Self, ExportError> {
        check_directory(dir)?;
        question.parameters(None, "", clock.today())?;
        let lock = Lock::take(dir)?;
        // Find what would prevent publishing before anything is bought.
        dataset::inspect(dir)?;
        let archive = read_ledger(dir)?;
        // Answers that count as stored from here on have to survive a power cut.
        archive.sync()?;
        check_shard(archive.run(), &given)?;
        let run = archive.run().cloned();
        let run_id = run.as_ref().map_or_else(|| new_run_id(question, clock), |run| run.run_id.clone());
        let parameters = question.parameters(run.as_ref(), &run_id, clock.today())?;
        let run = run.unwrap_or_else(|| Run {
            run_id,
            started_at: clock.now(),
            parameters: parameters.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            shard: question.shard,
            simulated: question.simulated == Some(true),
        });
        let fresh_since = question.fresh_since;
        let mut inputs_sha256 = ledger::digest(&given);
        let mut inputs = given;
        let mut named = None;
        // Equal lines are not read a second time: a million of them take a hundred megabytes.
        let mut are_kept = archive.inputs_digest() == Some(inputs_sha256.as_str());
        if !are_kept && let Some(earlier) = archive.inputs()? {
            are_kept = earlier.is_same_but_for_folders(&inputs);
            if are_kept {
                inputs = earlier.with_remarks_of(&inputs);
            } else {
                named = Some(inputs.target_set());
                inputs = earlier.followed_by(inputs);
            }
            inputs_sha256 = ledger::digest(&inputs);
        }
        let mut remaining = remaining(&inputs, named.as_ref(), &archive, fresh_since);
        if are_kept {
            drop_tolerated_failures(&mut remaining, &inputs, &archive, question.tolerated);
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
            is_limited: false,
            fresh_since,
            previous,
            clock,
        })
    }

    /// Reuses answers of the runs in these directories that are new enough. Reads and locks their ledgers, writes nothing.
    pub fn with_previous(mut self, dirs: &[PathBuf]) -> Result<Self, ExportError> {
        if dirs.is_empty() {
            return Ok(self);
        }
        self.previous = Previous::open(dirs, self.lock.dir(), &self.run, &self.parameters)?;
        self.previous.choose(&self.inputs, &mut self.remaining, self.fresh_since);
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
        self.remaining.truncate(limit);
        self.is_limited = true;
        self
    }

    /// Targets to call: they have no answer yet, or one that is too old.
    pub fn remaining(&self) -> usize {
        self.remaining.len()
    }

    /// Targets to call that have an answer, which is to be refreshed.
    pub fn to_refresh(&self) -> usize {
        to_refresh(&self.remaining, &self.inputs, &self.archive)
    }

    /// Answers of earlier runs to reuse.
    pub fn to_take_over(&self) -> usize {
        self.previous.chosen()
    }

    /// All input lines, those of earlier runs in this directory included.
    pub fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    pub fn past(&self) -> ResumeState {
        self.archive.past(self.clock.moment())
    }

    pub fn spending(&self) -> Spending {
        self.archive.spending()
    }

    pub fn estimate(&self, limits: &FetchLimits) -> Estimate {
        let (calls, targets) = (self.remaining.len() as u64, self.inputs.counts().targets as u64);
        Estimate::new(calls, targets, &self.parameters, limits.rate, limits.concurrency, &self.past())
    }

    /// Whether the cap covers all remaining targets. Otherwise the input's first lines are called first.
    fn pays_for_all(&self, limits: &FetchLimits, past: &ResumeState) -> bool {
        limits.max_cost.is_none_or(|cap| past.spent.plus(self.estimate(limits).cost_high) <= cap)
    }

    /// Whether the ledger already contains these input lines.
    fn inputs_are_kept(&self) -> bool {
        self.archive.inputs_digest() == Some(self.inputs_sha256.as_str())
    }

    /// Fetches the remaining targets, in target order if the cap covers all of them, and stages the dataset meanwhile. The
    /// directory stays locked until the result is dropped.
    pub async fn fetch<A: Api>(
        self,
        api: A,
        limits: FetchLimits,
        layout: &DatasetLayout,
        progress: &Progress,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(FetchEnd, Fetched), ExportError> {
        let (past, inputs_are_kept) = (self.past(), self.inputs_are_kept());
        let pays_for_all = self.pays_for_all(&limits, &past);
        let earlier = earlier(&past, limits.rate);
        let is_limited = self.is_limited;
        let Self { lock, archive, run, parameters, inputs, inputs_sha256, mut remaining, previous, clock, .. } = self;
        if pays_for_all && !is_limited {
            // Rows are written in this order: most answers then arrive when it is their turn.
            remaining.sort_unstable_by_key(|number| inputs.target(*number));
        }
        if remaining.is_empty() && previous.chosen() == 0 && inputs_are_kept && !archive.is_torn()? {
            let holdings = MergedLedgers::new(vec![Source { run, archive }], inputs, inputs_sha256, false)?;
            return Ok((FetchEnd::Done, Fetched { holdings, staged: None, lock }));
        }
        let is_new = archive.run().is_none();
        let asked_up_to = archive.asked_up_to().unwrap_or(parameters.date_to);
        let ledger = Ledger::open_for(archive, &lock, Some(clock), limits.concurrency.get())?;
        if is_new {
            ledger.start(&run).await?;
        }
        if !inputs_are_kept {
            ledger.set_inputs(&inputs).await?;
        }
        let mut shutdown = pin!(shutdown);
        let is_stopped = previous.take_over(&ledger, clock.now(), shutdown.as_mut()).await?;
        let ledger = ledger.asking_up_to(parameters.date_to);
        let inputs = Arc::new(inputs);
        let asked = Parameters { date_to: parameters.date_to.max(asked_up_to), ..run.parameters.clone() };
        let dataset = LiveDataset {
            stage: Stage::begin(lock.dir())?,
            reader: ledger.reader(),
            inputs: Arc::clone(&inputs),
            run_date: run_date(&run),
            options: publish::options(run.run_id.clone(), Some(&asked), layout),
            asked,
            progress: progress.clone(),
        };
        let writer = LiveWriter::start(dataset, &remaining);
        let recorder = Arc::new(Recorder { ledger, feed: writer.feed(), progress: progress.clone() });
        let ended = if is_stopped {
            Ok(FetchEnd::Shutdown)
        } else {
            let targets = remaining.iter().map(|number| inputs.target(*number).to_target());
            let (api, journal) = (Arc::new(api), Arc::clone(&recorder));
            fetch::fetch(targets, FetchContext { api, journal, clock, parameters, limits, earlier }, shutdown).await
        };
        let is_published = ended.as_ref().is_ok_and(|ended| *ended != FetchEnd::Shutdown);
        let staged = writer.finish(is_published).await;
        // Calls that a failure has cut short may keep the journal alive for a moment longer.
        let archive = match Arc::into_inner(recorder) {
            Some(recorder) => recorder.ledger.close().await,
            None => Err(LedgerError::Closed),
        };
        let (staged, ended, archive) = (staged?, ended?, archive?);
        let ended = if is_limited && ended == FetchEnd::Done { FetchEnd::Stopped(StopReason::Limit) } else { ended };
        let holdings = MergedLedgers::new(vec![Source { run, archive }], inputs, inputs_sha256, false)?;
        Ok((ended, Fetched { holdings, staged, lock }))
    }
}

/// Numbers of the targets to call, among the `wanted` ones if any are given. Those without an answer come first, then
/// those whose answer came before `since`: missing answers matter more than old ones.
fn remaining(inputs: &Inputs, wanted: Option<&TargetSet>, archive: &Archive, since: Option<Timestamp>) -> Vec<u32> {
    let (mut missing, mut stale) = (Vec::new(), Vec::new());
    let is_wanted = |target| wanted.is_none_or(|wanted| wanted.number(target).is_some());
    for (number, target) in (0..).zip(inputs.targets()).filter(|(_, target)| is_wanted(*target)) {
        if !archive.state(target).is_final() {
            missing.push(number);
        } else if !archive.is_held_since(target, since) {
            stale.push(number);
        }
    }
    missing.append(&mut stale);
    missing
}

/// Clears `remaining` if it only has failed targets, and so many are tolerated.
fn drop_tolerated_failures(remaining: &mut Vec<u32>, inputs: &Inputs, archive: &Archive, tolerated: MaxFailures) {
    let has_failed = |number: &u32| archive.state(inputs.target(*number)) == TargetState::Failed;
    if tolerated.allows(remaining.len() as u64, inputs.counts().targets as u64) && remaining.iter().all(has_failed) {
        remaining.clear();
    }
}

/// Remaining targets that have an answer, which is to be refreshed.
fn to_refresh(remaining: &[u32], inputs: &Inputs, archive: &Archive) -> usize {
    remaining.iter().filter(|number| archive.state(inputs.target(**number)).is_final()).count()
}

/// The result of a fetch, with the directory still locked.
#[derive(Debug)]
pub struct Fetched {
    pub holdings: MergedLedgers,
    /// The dataset as far as it was staged during the fetch.
    pub staged: Option<StagedHistory>,
    /// Keeps other runs out until the dataset is published.
    pub lock: Lock,
}

/// Calls of earlier processes as instants of this process, as far as they still count for the rate.
fn earlier(past: &ResumeState, rate: Rate) -> fetch::PriorCalls {
    let now = tokio::time::Instant::now();
    let recent = past.calls.iter().filter(|(ago, _)| *ago < rate.window());
    let moments = recent.filter_map(|(ago, calls)| now.checked_sub(*ago).map(|at| (at, *calls)));
    let calls = moments.flat_map(|(at, calls)| iter::repeat_n(at, calls as usize)).collect();
    fetch::PriorCalls { calls, spent: past.spent, max_price: past.max_price, form: past.form }
}

/// A unique id that sorts by time.
fn new_run_id(question: &QueryParams, clock: Clock) -> String {
    use std::hash::{BuildHasher, RandomState};
    let at = TimeZone::UTC.to_datetime(clock.now()).strftime("%Y%m%dT%H%M%SZ").to_string();
    let random = RandomState::new().hash_one(&at) & 0xff_ffff;
    // For people who see the file names.
    let prefix = if question.simulated == Some(true) { "sandbox-" } else { "" };
    format!("{prefix}{at}-{random:06x}")
}
