//! The pipeline, and the only place where its stages meet.
//!
//! ```text
//! open:     lock -> ledger -> the question it holds -> lines, those of earlier readings included -> what is left
//! take:     what is left -> what earlier runs hold of it -> ledger
//! fetch:    what is left then -> calls -> ledger
//!           synced answers -> window -> cursor, in target order -> staged dataset
//! publish:  staged dataset, else ledger -> cursor -> staged dataset; then renamed into place
//! ```
//!
//! The dataset is a pure function of the ledger, whether it was staged beside the fetching or built afterwards. Nothing
//! here prints or reads flags; what people read comes from `summary`.

mod conclude;
mod cursor;
mod directory;
mod error;
mod estimate;
mod holdings;
mod lines;
mod live;
mod preview;
mod previous;
mod publish;
mod question;
mod record;
mod recorder;
mod rows;
mod window;

use std::{
    iter,
    num::NonZeroU32,
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
};

use jiff::{Timestamp, tz::TimeZone};

pub use self::{
    conclude::{PublishOptions, partial_summary, publish_and_summarize, stale_answers, summary_from_record},
    directory::open_for_replay,
    error::ExportError,
    estimate::{Estimate, PriceSource},
    holdings::{AnswerRef, MergedLedgers, Source, TargetHistory},
    lines::LineSink,
    preview::Preview,
    previous::PreviousError,
    publish::{DatasetLayout, Published, Rebuild, StagedHistory, rejected},
    question::{QueryParams, QuestionError},
    record::{FileRecord, LedgerRecord, Provenance, RunRecord},
    rows::Decoded,
};
use self::{
    directory::{check_directory, check_ledger},
    estimate::{Basis, estimate},
    holdings::run_date,
    live::{LiveDataset, LiveWriter},
    previous::Previous,
    question::check_shard,
    recorder::Recorder,
};
use crate::{
    api::{Api, Parameters, record::TargetState},
    clock::Clock,
    dataset::{self, PartitionBy, PartitionKey, Stage},
    fetch::{self, Ended, FetchContext, FetchLimits, pace::Rate},
    ledger::{self, Archive, Ledger, LedgerError, Lock, ResumeState, Run, Spending},
    progress::Progress,
    summary::MaxFailures,
    targets::{Inputs, TargetSet},
};

/// A directory that is open for a run, with what is left to fetch.
#[derive(Debug)]
pub struct Export {
    lock: Lock,
    archive: Archive,
    run: Run,
    parameters: Parameters,
    inputs: Inputs,
    inputs_sha256: String,
    /// To be called: targets without an answer, and behind them those whose answer is to be refreshed; by their places
    /// among those of the lines.
    remaining: Vec<u32>,
    /// Whether more targets are left than this run may call.
    is_limited: bool,
    fresh_since: Option<Timestamp>,
    /// What is taken over from earlier runs before any call.
    previous: Previous,
    clock: Clock,
}

impl Export {
    /// Opens a directory for the lines of this run's files. Makes the directory, and writes nothing else.
    pub fn open(dir: &Path, given: Inputs, question: &QueryParams, clock: Clock) -> Result<Self, ExportError> {
        check_directory(dir)?;
        question.parameters(None, "", clock.today())?;
        let lock = Lock::take(dir)?;
        // What would keep the dataset from being published is found before anything is bought for it.
        dataset::inspect(dir)?;
        let archive = Archive::read(dir)?;
        check_ledger(dir, &archive)?;
        // What is taken for held from here on has to outlive the machine.
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
        // The same lines are not read a second time: a million of them take a hundred megabytes.
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

    /// Answers that the runs of these directories hold are taken over instead of bought, as far as they are new enough.
    /// Reads those ledgers, which no run may write meanwhile, and writes nothing.
    pub fn with_previous(mut self, dirs: &[PathBuf]) -> Result<Self, ExportError> {
        if dirs.is_empty() {
            return Ok(self);
        }
        self.previous = Previous::open(dirs, &self.lock, (&self.run, &self.parameters))?;
        self.previous.choose(&self.inputs, &mut self.remaining, self.fresh_since);
        Ok(self)
    }

    /// Calls so many targets in this run at most: the first ones of the input, those that were never called before
    /// those that failed earlier, so that each further run comes to the next ones.
    #[must_use]
    pub fn limited(mut self, limit: Option<NonZeroU32>) -> Self {
        let Some(limit) = limit.map(|limit| limit.get() as usize).filter(|limit| *limit < self.remaining.len()) else {
            return self;
        };
        let state = |number: &u32| self.archive.standing(self.inputs.target(*number));
        self.remaining.sort_by_key(|number| (state(number).is_final(), state(number) == TargetState::Failed));
        self.remaining.truncate(limit);
        self.is_limited = true;
        self
    }

    /// Targets of this run's files that are left to be called: they have no answer yet, or one that is too old.
    pub fn remaining(&self) -> usize {
        self.remaining.len()
    }

    /// How many of them have an answer, which is to be refreshed.
    pub fn to_refresh(&self) -> usize {
        to_refresh(&self.remaining, &self.inputs, &self.archive)
    }

    /// Answers of earlier runs that are taken over before any call.
    pub fn to_take_over(&self) -> usize {
        self.previous.chosen()
    }

    /// All lines, those of earlier readings included.
    pub fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    /// What earlier runs of the directory did.
    pub fn past(&self) -> ResumeState {
        self.archive.past(self.clock.moment())
    }

    /// What calls of earlier runs came to.
    pub fn spending(&self) -> Spending {
        self.archive.spending()
    }

    /// What this run would do and cost.
    pub fn estimate(&self, limits: &FetchLimits) -> Estimate {
        estimate(&Basis {
            calls: self.remaining.len() as u64,
            targets: self.inputs.counts().targets as u64,
            parameters: &self.parameters,
            rate: limits.rate,
            concurrency: limits.concurrency,
            past: &self.past(),
        })
    }

    /// Whether the cap leaves enough for all that remains. Where it may not, the input's first lines are called first.
    fn pays_for_all(&self, limits: &FetchLimits, past: &ResumeState) -> bool {
        limits.max_cost.is_none_or(|cap| past.spent.plus(self.estimate(limits).cost_high) <= cap)
    }

    /// Whether the ledger holds these lines already.
    fn inputs_are_kept(&self) -> bool {
        self.archive.inputs_digest() == Some(self.inputs_sha256.as_str())
    }

    /// Fetches what is left, in target order where it can pay for all of it, and stages the dataset in this `form` beside
    /// it. The directory stays locked until what is returned is dropped.
    pub async fn fetch<A: Api>(
        self,
        api: A,
        limits: FetchLimits,
        form: &DatasetLayout,
        progress: &Progress,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(Ended, Fetched), ExportError> {
        let (past, inputs_are_kept) = (self.past(), self.inputs_are_kept());
        let pays_for_all = self.pays_for_all(&limits, &past);
        let earlier = earlier(&past, limits.rate);
        let is_limited = self.is_limited;
        let Self { lock, archive, run, parameters, inputs, inputs_sha256, mut remaining, previous, clock, .. } = self;
        if pays_for_all && !is_limited {
            // The order in which rows are written: most answers then come when it is their turn.
            remaining.sort_unstable_by_key(|number| inputs.target(*number));
        }
        if remaining.is_empty() && previous.chosen() == 0 && inputs_are_kept && !archive.is_torn()? {
            let holdings = MergedLedgers::new(vec![Source { run, archive }], (inputs, inputs_sha256), false)?;
            return Ok((Ended::Done, Fetched { holdings, staged: None, lock }));
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
            options: publish::options(run.run_id.clone(), Some(&asked), form),
            asked,
            progress: progress.clone(),
        };
        let writer = LiveWriter::start(dataset, &remaining);
        let recorder = Arc::new(Recorder { ledger, feed: writer.feed(), progress: progress.clone() });
        let ended = if is_stopped {
            Ok(Ended::Shutdown)
        } else {
            let targets = remaining.iter().map(|number| inputs.target(*number).to_target());
            let (api, journal) = (Arc::new(api), Arc::clone(&recorder));
            fetch::fetch(targets, FetchContext { api, journal, clock, parameters, limits, earlier }, shutdown).await
        };
        let is_published = ended.as_ref().is_ok_and(|ended| *ended != Ended::Shutdown);
        let staged = writer.finish(is_published).await;
        // Calls that a failure has cut short may hold the journal for another moment; it is of no more use then.
        let archive = match Arc::into_inner(recorder) {
            Some(recorder) => recorder.ledger.close().await,
            None => Err(LedgerError::Closed),
        };
        let (staged, ended, archive) = (staged?, ended?, archive?);
        let ended = if is_limited && ended == Ended::Done { Ended::Limit } else { ended };
        let holdings = MergedLedgers::new(vec![Source { run, archive }], (inputs, inputs_sha256), false)?;
        Ok((ended, Fetched { holdings, staged, lock }))
    }
}

/// Targets of these lines that are to be called, by number; of the `wanted` ones alone, where some are. Those without
/// an answer come first, then those whose answer came before `since`: what money there is buys what is missing.
fn remaining(inputs: &Inputs, wanted: Option<&TargetSet>, archive: &Archive, since: Option<Timestamp>) -> Vec<u32> {
    let (mut missing, mut stale) = (Vec::new(), Vec::new());
    let is_wanted = |target| wanted.is_none_or(|wanted| wanted.number(target).is_some());
    for (number, target) in (0..).zip(inputs.targets()).filter(|(_, target)| is_wanted(*target)) {
        if !archive.standing(target).is_final() {
            missing.push(number);
        } else if !archive.is_held_since(target, since) {
            stale.push(number);
        }
    }
    missing.append(&mut stale);
    missing
}

/// Leaves failed targets as they are where nothing else remains and so many are tolerated.
fn drop_tolerated_failures(remaining: &mut Vec<u32>, inputs: &Inputs, archive: &Archive, tolerated: MaxFailures) {
    let has_failed = |number: &u32| archive.standing(inputs.target(*number)) == TargetState::Failed;
    if tolerated.allows(remaining.len() as u64, inputs.counts().targets as u64) && remaining.iter().all(has_failed) {
        remaining.clear();
    }
}

/// Targets among those that remain which have an answer, to be refreshed.
fn to_refresh(remaining: &[u32], inputs: &Inputs, archive: &Archive) -> usize {
    remaining.iter().filter(|number| archive.standing(inputs.target(**number)).is_final()).count()
}

/// What a fetch leaves behind, with the directory still locked.
#[derive(Debug)]
pub struct Fetched {
    /// What is held now.
    pub holdings: MergedLedgers,
    /// The dataset of it as far as it was staged beside the fetching.
    pub staged: Option<StagedHistory>,
    /// Keeps other runs out until the dataset is published.
    pub lock: Lock,
}

/// The record of a directory whose ledger was dropped; `None`: it was not.
///
/// Such a directory answers what it was asked, and nothing more; its dataset stays in the form that it has.
pub fn discarded(
    dir: &Path,
    given: &Inputs,
    question: &QueryParams,
    form: Option<&DatasetLayout>,
    clock: Clock,
) -> Result<Option<RunRecord>, ExportError> {
    let Some(record) = RunRecord::read(dir)?.filter(|record| record.raw_discarded) else { return Ok(None) };
    let held = record.made_of.parameters.clone().map(|parameters| Run {
        run_id: record.made_of.run_id.clone(),
        started_at: clock.now(),
        parameters,
        version: record.made_of.version.clone(),
        shard: None,
        simulated: record.made_of.simulated,
    });
    question.parameters(held.as_ref(), "", clock.today())?;
    // Of a record that does not tell how old its answers are, nobody knows whether they are new enough.
    let is_fresh = question.fresh_since.is_none_or(|since| record.oldest_answer.is_some_and(|oldest| oldest >= since));
    let has_lines = record.made_of.inputs_sha256 == ledger::digest(given);
    let has_form = form.is_none_or(|form| record.made_of.has_form(form));
    if has_lines && has_form && is_fresh && record.files_are_there(dir) {
        return Ok(Some(record));
    }
    Err(ExportError::Discarded(dir.to_owned()))
}

/// Takes the ledgers of several runs together. Where the dataset is divided by the day on which runs began, the rows of
/// each run are kept.
pub fn gather(dirs: &[PathBuf], partition_by: &PartitionBy) -> Result<MergedLedgers, ExportError> {
    let mut sources: Vec<Source> = Vec::with_capacity(dirs.len());
    let mut readings = Vec::with_capacity(dirs.len());
    for (place, dir) in dirs.iter().enumerate() {
        if RunRecord::read(dir)?.is_some_and(|record| record.raw_discarded) {
            return Err(ExportError::Discarded(dir.clone()));
        }
        if !dir.try_exists().map_err(|source| ExportError::Io { verb: "read", path: dir.clone(), source })? {
            return Err(ExportError::Missing(dir.clone()));
        }
        // Of a run that is under way a part alone would be taken.
        drop(Lock::share(dir)?);
        let archive = Archive::read(dir)?;
        let Some(run) = archive.run().cloned() else { return Err(ExportError::NoRun(dir.clone())) };
        if let Some(same) = sources.iter().position(|source| source.run.run_id == run.run_id) {
            return Err(ExportError::Twice(dirs[same].clone(), dirs[place].clone()));
        }
        check_ledger(dir, &archive)?;
        readings.extend(archive.inputs()?);
        sources.push(Source { run, archive });
    }
    let inputs = Inputs::merged(readings);
    let inputs_sha256 = ledger::digest(&inputs);
    let snapshots = partition_by.keys().contains(&PartitionKey::RunDate);
    MergedLedgers::new(sources, (inputs, inputs_sha256), snapshots)
}

/// Calls of earlier processes as moments of this process's clock, as far as they may still count.
fn earlier(past: &ResumeState, rate: Rate) -> fetch::PriorCalls {
    let now = tokio::time::Instant::now();
    let recent = past.calls.iter().filter(|(ago, _)| *ago < rate.window());
    let moments = recent.filter_map(|(ago, calls)| now.checked_sub(*ago).map(|at| (at, *calls)));
    let calls = moments.flat_map(|(at, calls)| iter::repeat_n(at, calls as usize)).collect();
    fetch::PriorCalls { calls, spent: past.spent, max_price: past.max_price, form: past.form }
}

/// A name that sorts by time and that no other run has.
fn new_run_id(question: &QueryParams, clock: Clock) -> String {
    use std::hash::{BuildHasher, RandomState};
    let at = TimeZone::UTC.to_datetime(clock.now()).strftime("%Y%m%dT%H%M%SZ").to_string();
    let random = RandomState::new().hash_one(&at) & 0xff_ffff;
    // For people who see the names of the files.
    let prefix = if question.simulated == Some(true) { "sandbox-" } else { "" };
    format!("{prefix}{at}-{random:06x}")
}
