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
    estimate::{Basis, Estimate, PriceSource, estimate},
    holdings::{Account, Held, Holdings, Source},
    publish::{Form, Published, Totals},
    question::{Question, QuestionError},
    record::{FileRecord, LedgerRecord, MadeOf, RunRecord},
};
use crate::{
    api::{Api, BodyForm, Parameters},
    clock::Clock,
    dataset::{self, DatasetError},
    fetch::{self, Ended, pace::Rate},
    ledger::{self, Archive, Ledger, LedgerError, Lock, Past, Run, Spending},
    money::Usd,
    progress::Progress,
    targets::{Inputs, Target},
};

/// Why an export cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The ledger cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The dataset cannot be written.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The question cannot be asked, or not of this directory.
    #[error(transparent)]
    Question(#[from] QuestionError),
    /// Ledgers that are to become one dataset answer different questions.
    #[error("these runs asked different questions: one with {first}, one with {other}")]
    DifferentQuestions {
        /// As flags.
        first: String,
        /// As flags.
        other: String,
    },
    /// The directory is no run's.
    #[error("{} holds other files and no run; name a new or empty directory with --out", .0.display())]
    Foreign(PathBuf),
    /// The directory holds no ledger.
    #[error("{} holds no run: there is no ledger in it", .0.display())]
    NoRun(PathBuf),
    /// The answers were dropped.
    #[error("the answers of {} were dropped with --discard-raw, so nothing can be added to its dataset; name another --out", .0.display())]
    Discarded(PathBuf),
    /// The file system refuses.
    #[error("cannot {verb} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// The file system's answer.
        source: io::Error,
    },
}

impl ExportError {
    /// Whether it is the user's to mend, and was found before the first call.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Question(_)
            | Self::DifferentQuestions { .. }
            | Self::Foreign(_)
            | Self::NoRun(_)
            | Self::Discarded(_) => true,
            Self::Ledger(_) | Self::Dataset(_) | Self::Io { .. } => false,
        }
    }
}

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
        let run = archive.run().cloned();
        let run_id = run.as_ref().map_or_else(|| new_run_id(clock), |run| run.run_id.clone());
        let parameters = question.parameters(run.as_ref(), &run_id, clock.today())?;
        let run = run.unwrap_or_else(|| Run {
            run_id,
            started_at: clock.now(),
            parameters: parameters.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        });
        let remaining = given.targets().filter(|target| !archive.standing(target).is_final()).cloned().collect();
        let inputs = match archive.inputs()? {
            Some(earlier) => earlier.followed_by(given),
            None => given,
        };
        let inputs_sha256 = ledger::digest(&inputs);
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
        self.archive.past(self.clock.now())
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
        let Self { lock, archive, run, parameters, inputs, inputs_sha256, remaining, clock } = self;
        if remaining.is_empty() && inputs_are_kept {
            let holdings = Holdings::new(vec![Source { run, archive }], inputs, inputs_sha256)?;
            return Ok((Ended::Done, Fetched { holdings, lock }));
        }
        let is_new = archive.run().is_none();
        let ledger = Ledger::open(archive, &lock)?;
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
        let earlier = earlier(&past, clock);
        let count = remaining.len();
        let parts = (Arc::new(api), Arc::clone(&recorder), clock);
        let ended = fetch::fetch(remaining.into_iter(), count, settings, earlier, parts, shutdown).await?;
        let recorder = Arc::into_inner(recorder).expect("a fetch that has ended holds no journal");
        let archive = recorder.ledger.close().await?;
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
        Ok(Self { parameters, past: archive.past(clock.now()), held, remaining })
    }
}

/// The record of a directory whose ledger was dropped; `None`: it was not.
///
/// Such a directory answers what it was asked, and nothing more.
pub fn discarded(
    dir: &Path,
    given: &Inputs,
    question: &Question,
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
    let is_same = record.made_of.inputs_sha256 == ledger::digest(given) && record.files_are_there(dir);
    if is_same { Ok(Some(record)) } else { Err(ExportError::Discarded(dir.to_owned())) }
}

/// Takes the ledgers of several runs together.
pub fn gather(dirs: &[PathBuf]) -> Result<Holdings, ExportError> {
    let mut sources = Vec::with_capacity(dirs.len());
    let mut readings = Vec::with_capacity(dirs.len());
    for dir in dirs {
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
    let is_foreign = check_directory(dir).is_err() && RunRecord::read(dir).is_none();
    if is_foreign || dir.join(ledger::FOLDER).exists() {
        return Err(ExportError::Foreign(dir.to_owned()));
    }
    Ok(Lock::take(dir)?)
}

/// Calls of earlier processes as moments of this process's clock.
fn earlier(past: &Past, clock: Clock) -> fetch::Earlier {
    let (now, instant) = (clock.now(), tokio::time::Instant::now());
    let ago = |at: &jiff::Timestamp| now.duration_since(*at).try_into().unwrap_or(Duration::ZERO);
    let calls = past.calls.iter().filter_map(|at| instant.checked_sub(ago(at))).collect();
    fetch::Earlier { calls, spent: past.spent, dearest: past.dearest, form: past.form }
}

/// A name that sorts by time and that no other run has.
fn new_run_id(clock: Clock) -> String {
    use std::hash::{BuildHasher, RandomState};
    let at = TimeZone::UTC.to_datetime(clock.now()).strftime("%Y%m%dT%H%M%SZ").to_string();
    let random = RandomState::new().hash_one(&at) & 0xff_ffff;
    format!("{at}-{random:06x}")
}

/// A directory of somebody else's is refused, not filled.
fn check_directory(dir: &Path) -> Result<(), ExportError> {
    let fails = |source| ExportError::Io { verb: "read", path: dir.to_owned(), source };
    let mut entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Err(ExportError::Foreign(dir.to_owned())),
        Err(error) => return Err(fails(error)),
    };
    if dir.join(ledger::FOLDER).is_dir() || entries.next().is_none() {
        return Ok(());
    }
    Err(ExportError::Foreign(dir.to_owned()))
}
