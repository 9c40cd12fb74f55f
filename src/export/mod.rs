//! The pipeline, and the only place where its stages meet.
//!
//! ```text
//! open:     lock -> ledger -> the question it holds -> lines, those of earlier readings included -> what is left
//! fetch:    what is left -> calls -> ledger
//! publish:  ledger -> flatten -> dataset
//! ```
//!
//! Fetching and publishing never overlap: the dataset is a pure function of the ledger. Nothing here
//! prints or reads flags; what a person is told comes from `outcome`.

mod conclude;
mod error;
mod estimate;
mod holdings;
mod publish;
mod question;
mod record;
mod recorder;

use std::{
    fs, io,
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::tz::TimeZone;

use self::recorder::Recorder;
pub use self::{
    conclude::{Terms, conclude, of_record},
    error::ExportError,
    estimate::{Basis, Estimate, PriceSource, estimate},
    holdings::{Account, Held, Holdings, Source},
    publish::{Form, Published, Totals},
    question::{Question, QuestionError, SIMULATED},
    record::{FileRecord, LedgerRecord, MadeOf, RunRecord},
};
use crate::{
    api::{Api, BodyForm, Parameters},
    clock::Clock,
    dataset,
    fetch::{self, Ended, pace::Rate},
    ledger::{self, Archive, Ledger, LedgerError, Lock, Past, Run, Spending},
    money::Usd,
    progress::Progress,
    targets::{Inputs, Target},
};

/// How calls are made.
#[derive(Clone, Debug)]
pub struct Calls {
    /// Calls in any sliding period, retries included.
    pub rate: Rate,
    /// Calls in flight at most.
    pub concurrency: NonZeroU32,
    /// Tries of one target at most.
    pub max_attempts: NonZeroU32,
    /// What the directory may cost in all.
    pub max_cost: Option<Usd>,
    /// How long the API may be down.
    pub max_outage: Duration,
    /// The form of the body; `None`: to be found out.
    pub body: Option<BodyForm>,
}

/// A directory that is open for a run, with what is left to fetch.
#[derive(Debug)]
pub struct Export {
    lock: Lock,
    archive: Archive,
    run: Run,
    parameters: Parameters,
    inputs: Inputs,
    inputs_sha256: String,
    remaining: Vec<Target>,
    clock: Clock,
}

impl Export {
    /// Opens a directory for the lines of this run's files. Makes the directory, and writes nothing else.
    pub fn open(dir: &Path, given: Inputs, question: &Question, clock: Clock) -> Result<Self, ExportError> {
        check_directory(dir)?;
        question.parameters(None, "", clock.today())?;
        let lock = Lock::take(dir)?;
        // What would keep the dataset from being published is found before anything is bought for it.
        dataset::inspect(dir)?;
        let archive = Archive::read(dir)?;
        // What is taken for held from here on has to outlive the machine.
        archive.sync()?;
        let run = archive.run().cloned();
        let run_id = run.as_ref().map_or_else(|| new_run_id(question, clock), |run| run.run_id.clone());
        let parameters = question.parameters(run.as_ref(), &run_id, clock.today())?;
        let run = run.unwrap_or_else(|| Run {
            run_id,
            started_at: clock.now(),
            parameters: parameters.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        });
        let remaining = given.targets().filter(|target| !archive.standing(target).is_final()).cloned().collect();
        let mut inputs_sha256 = ledger::digest(&given);
        let mut inputs = given;
        // The same lines are not read a second time: a million of them take a hundred megabytes.
        if archive.inputs_digest() != Some(inputs_sha256.as_str())
            && let Some(earlier) = archive.inputs()?
        {
            inputs = earlier.followed_by(inputs);
            inputs_sha256 = ledger::digest(&inputs);
        }
        Ok(Self { lock, archive, run, parameters, inputs, inputs_sha256, remaining, clock })
    }

    /// Targets of this run's files that have no final answer yet.
    pub fn remaining(&self) -> usize {
        self.remaining.len()
    }

    /// All lines, those of earlier readings included.
    pub fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    /// What earlier runs of the directory did.
    pub fn past(&self) -> Past {
        self.archive.past(self.clock.moment())
    }

    /// What calls of earlier runs came to.
    pub fn spending(&self) -> Spending {
        self.archive.spending()
    }

    /// What this run would do and cost.
    pub fn estimate(&self, calls: &Calls) -> Estimate {
        estimate(&Basis {
            calls: self.remaining.len() as u64,
            targets: self.inputs.counts().targets as u64,
            parameters: &self.parameters,
            rate: calls.rate,
            concurrency: calls.concurrency,
            past: &self.past(),
        })
    }

    /// Whether the ledger holds these lines already.
    fn inputs_are_kept(&self) -> bool {
        self.archive.inputs_digest() == Some(self.inputs_sha256.as_str())
    }

    /// Fetches what is left. The directory stays locked until what is returned is dropped.
    pub async fn fetch<A: Api>(
        self,
        api: A,
        calls: Calls,
        progress: &Progress,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(Ended, Fetched), ExportError> {
        let (past, inputs_are_kept) = (self.past(), self.inputs_are_kept());
        let earlier = earlier(&past);
        let Self { lock, archive, run, parameters, inputs, inputs_sha256, remaining, clock } = self;
        if remaining.is_empty() && inputs_are_kept {
            let holdings = Holdings::new(vec![Source { run, archive }], inputs, inputs_sha256)?;
            return Ok((Ended::Done, Fetched { holdings, lock }));
        }
        let is_new = archive.run().is_none();
        let ledger = Ledger::open_for(archive, &lock, Some(clock), calls.concurrency.get())?;
        if is_new {
            ledger.start(&run).await?;
        }
        if !inputs_are_kept {
            ledger.set_inputs(&inputs).await?;
        }
        let recorder = Arc::new(Recorder { ledger, progress: progress.clone() });
        let settings = fetch::Settings {
            rate: calls.rate,
            concurrency: calls.concurrency,
            max_attempts: calls.max_attempts,
            max_cost: calls.max_cost,
            max_outage: calls.max_outage,
            body: calls.body,
            parameters,
        };
        let count = remaining.len();
        let parts = (Arc::new(api), Arc::clone(&recorder), clock);
        let ended = fetch::fetch(remaining.into_iter(), count, settings, earlier, parts, shutdown).await;
        // Calls that a failure has cut short may hold the journal for another moment; it is of no more use then.
        let archive = match Arc::into_inner(recorder) {
            Some(recorder) => recorder.ledger.close().await,
            None => Err(LedgerError::Closed),
        };
        let (ended, archive) = (ended?, archive?);
        let holdings = Holdings::new(vec![Source { run, archive }], inputs, inputs_sha256)?;
        Ok((ended, Fetched { holdings, lock }))
    }
}

/// What a fetch leaves behind, with the directory still locked.
#[derive(Debug)]
pub struct Fetched {
    /// What is held now.
    pub holdings: Holdings,
    /// Keeps other runs out until the dataset is published.
    pub lock: Lock,
}

/// What is held at the outset, seen without touching anything: for a plan.
#[derive(Debug)]
pub struct Preview {
    /// What would be asked of every target.
    pub parameters: Parameters,
    /// What earlier runs of the directory did.
    pub past: Past,
    /// Targets of these lines that have a final answer.
    pub held: u64,
    /// Those that have none.
    pub remaining: u64,
    /// Final answers of the directory, whatever they are about.
    pub answered: u64,
    /// The version that started the directory; `None`: nothing did.
    pub started_with: Option<String>,
}

impl Preview {
    /// Looks at a directory, if there is one, for these lines.
    pub fn new(dir: Option<&Path>, inputs: &Inputs, question: &Question, clock: Clock) -> Result<Self, ExportError> {
        let archive = match dir {
            Some(dir) => {
                check_directory(dir)?;
                Archive::read(dir)?
            }
            None => Archive::default(),
        };
        let parameters = question.parameters(archive.run(), "", clock.today())?;
        let held = inputs.targets().filter(|target| archive.standing(target).is_final()).count() as u64;
        let remaining = inputs.targets().len() as u64 - held;
        let answered = archive.asked().filter(|(_, known)| known.standing.is_final()).count() as u64;
        let started_with = archive.run().map(|run| run.version.clone());
        Ok(Self { parameters, past: archive.past(clock.moment()), held, remaining, answered, started_with })
    }
}

/// The record of a directory whose ledger was dropped; `None`: it was not.
///
/// Such a directory answers what it was asked, and nothing more; its dataset stays in the form that it has.
pub fn discarded(
    dir: &Path,
    given: &Inputs,
    question: &Question,
    form: Option<&Form>,
    clock: Clock,
) -> Result<Option<RunRecord>, ExportError> {
    let Some(record) = RunRecord::read(dir).filter(|record| record.raw_discarded) else { return Ok(None) };
    let held = record.made_of.parameters.clone().map(|parameters| Run {
        run_id: record.made_of.run_id.clone(),
        started_at: clock.now(),
        parameters,
        version: record.made_of.version.clone(),
    });
    question.parameters(held.as_ref(), "", clock.today())?;
    let has_lines = record.made_of.inputs_sha256 == ledger::digest(given);
    let has_form = form.is_none_or(|form| record.made_of.has_form(form));
    if has_lines && has_form && record.files_are_there(dir) {
        return Ok(Some(record));
    }
    Err(ExportError::Discarded(dir.to_owned()))
}

/// Takes the ledgers of several runs together.
pub fn gather(dirs: &[PathBuf]) -> Result<Holdings, ExportError> {
    let mut sources = Vec::with_capacity(dirs.len());
    let mut readings = Vec::with_capacity(dirs.len());
    for dir in dirs {
        if RunRecord::read(dir).is_some_and(|record| record.raw_discarded) {
            return Err(ExportError::Discarded(dir.clone()));
        }
        if !dir.exists() {
            return Err(ExportError::Missing(dir.clone()));
        }
        let archive = Archive::read(dir)?;
        let Some(run) = archive.run().cloned() else { return Err(ExportError::NoRun(dir.clone())) };
        readings.extend(archive.inputs()?);
        sources.push(Source { run, archive });
    }
    let inputs = Inputs::merged(&readings);
    let inputs_sha256 = ledger::digest(&inputs);
    Holdings::new(sources, inputs, inputs_sha256)
}

/// Opens a directory for a dataset that is built from others.
pub fn open_for_replay(dir: &Path) -> Result<Lock, ExportError> {
    if dir.join(ledger::FOLDER).exists() {
        return Err(ExportError::OfARun(dir.to_owned()));
    }
    if RunRecord::read(dir).is_none() {
        check_directory(dir).or_else(|error| if was_begun(dir)? { Ok(()) } else { Err(error) })?;
    }
    Ok(Lock::take(dir)?)
}

/// Whether a directory holds nothing but what a replay leaves that was killed before its record was written. What lies
/// in these folders is looked at before anything is replaced.
fn was_begun(dir: &Path) -> Result<bool, ExportError> {
    let fails = |source| ExportError::Io { verb: "read", path: dir.to_owned(), source };
    let folders = [dataset::STAGING, dataset::HISTORY, dataset::TARGETS];
    if !folders.into_iter().any(|folder| dir.join(folder).is_dir()) {
        return Ok(false);
    }
    for entry in fs::read_dir(dir).map_err(fails)? {
        let name = entry.map_err(fails)?.file_name();
        if !name.to_str().is_some_and(dataset::is_own) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Calls of earlier processes as moments of this process's clock.
fn earlier(past: &Past) -> fetch::Earlier {
    let now = tokio::time::Instant::now();
    let calls = past.calls.iter().filter_map(|ago| now.checked_sub(*ago)).collect();
    fetch::Earlier { calls, spent: past.spent, dearest: past.dearest, form: past.form }
}

/// A name that sorts by time and that no other run has.
fn new_run_id(question: &Question, clock: Clock) -> String {
    use std::hash::{BuildHasher, RandomState};
    let at = TimeZone::UTC.to_datetime(clock.now()).strftime("%Y%m%dT%H%M%SZ").to_string();
    let random = RandomState::new().hash_one(&at) & 0xff_ffff;
    let prefix = if question.simulated == Some(true) { question::SIMULATED } else { "" };
    format!("{prefix}{at}-{random:06x}")
}

/// A directory of somebody else's is refused, not filled.
fn check_directory(dir: &Path) -> Result<(), ExportError> {
    let fails = |source| ExportError::Io { verb: "read", path: dir.to_owned(), source };
    let mut entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(ExportError::NoDirectory(dir.to_owned()));
        }
        Err(error) => return Err(fails(error)),
    };
    if dir.join(ledger::FOLDER).is_dir() || entries.next().is_none() {
        return Ok(());
    }
    Err(ExportError::Foreign(dir.to_owned()))
}
