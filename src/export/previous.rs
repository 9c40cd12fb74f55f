//! `--previous`: answers of earlier runs, copied into this run's ledger before its first call.
//!
//! The earlier directories are only read, under a shared lock. Each answer is checked, copied and synced like a new
//! one, so that a run that is killed halfway copies the rest the next time. Refused before that are runs with other
//! query parameters, answers that were requested up to a later day, and simulated answers for a real run.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::{StreamExt, TryStreamExt, future::try_join_all, stream};
use jiff::{Timestamp, civil::Date};
use tokio::task::spawn_blocking;

use super::{ExportError, QueryDifference, directory::read_run};
use crate::{
    api::Parameters,
    humanize,
    ledger::{Archive, Copied, Ledger, LedgerError, Lock, RunHeader, TargetEntry},
    targets::Inputs,
};

/// Bytes of a block, which is copied at once: about thirty full histories.
const BLOCK_BYTES: u64 = 1 << 20;
/// Maximum answers in a block, however small.
const BLOCK_ANSWERS: usize = 64;
/// Blocks that are read and checked concurrently.
const BLOCKS_READ: usize = 4;
/// Blocks that are written and synced concurrently.
const BLOCKS_WRITTEN: usize = 8;

#[derive(Debug, thiserror::Error)]
pub enum PreviousError {
    #[error("--previous: {0}")]
    Unusable(Box<ExportError>),
    #[error("--previous {} is this run's own directory", .0.display())]
    Itself(PathBuf),
    #[error("--previous {} was fetched with {}, but this run uses {}", .0.display(), .1.stored, .1.requested)]
    Differs(PathBuf, QueryDifference),
}

impl PreviousError {
    pub(super) fn is_usage(&self) -> bool {
        match self {
            Self::Unusable(error) => error.is_usage(),
            Self::Itself(_) | Self::Differs(..) => true,
        }
    }

    pub(super) fn hint(&self) -> String {
        match self {
            Self::Unusable(error) => match **error {
                ExportError::Ledger(LedgerError::InUse { .. }) => {
                    "wait for that run to end; its answers can be reused then".to_owned()
                }
                ExportError::Discarded(_) => "omit --previous: answers can only be reused from a ledger".to_owned(),
                ref error => error.hint(),
            },
            Self::Itself(_) => "omit --previous: answers in DIR are reused anyway".to_owned(),
            Self::Differs(_, QueryDifference { stored, .. }) => {
                format!("use {stored} to reuse its answers, or omit --previous")
            }
        }
    }
}

/// Ledgers of earlier runs, and which of their answers are reused.
#[derive(Debug, Default)]
pub(super) struct Previous {
    earlier: Arc<Vec<PreviousLedger>>,
    /// In ledger order, so that blocks are read sequentially.
    chosen: Vec<Chosen>,
}

#[derive(Debug)]
struct PreviousLedger {
    dir: PathBuf,
    /// The last day of its run.
    date_to: Date,
    archive: Archive,
    /// Keeps other runs out; `None` for a plan.
    _lock: Option<Lock>,
}

/// An answer that is reused.
#[derive(Clone, Debug)]
struct Chosen {
    source: usize,
    entry: TargetEntry,
    /// The last day that was requested for it.
    date_to: Date,
}

impl Previous {
    /// Reads the ledgers of `dirs` for a `run` in the directory `own`; `lock` keeps other runs out of them.
    pub(super) fn open(
        dirs: &[PathBuf],
        own: Option<&Path>,
        run: Option<&RunHeader>,
        parameters: &Parameters,
        lock: impl Fn(&Path) -> Result<Option<Lock>, LedgerError>,
    ) -> Result<Self, ExportError> {
        let mut earlier = Vec::with_capacity(dirs.len());
        for dir in dirs {
            let path = dir.canonicalize().ok();
            if path.is_some() && path == own.and_then(|own| own.canonicalize().ok()) {
                return Err(PreviousError::Itself(dir.clone()).into());
            }
            let (lock, theirs, archive) =
                read_run(dir, &lock).map_err(|error| PreviousError::Unusable(Box::new(error)))?;
            // Without a run nothing is known of the API that is called.
            let simulated = run.map(|run| run.simulated);
            if let Some(differs) = QueryDifference::find(&theirs, simulated, parameters) {
                return Err(PreviousError::Differs(dir.clone(), differs).into());
            }
            earlier.push(PreviousLedger { dir: dir.clone(), date_to: theirs.parameters.date_to, archive, _lock: lock });
        }
        Ok(Self { earlier: Arc::new(earlier), chosen: Vec::new() })
    }

    /// Chooses the newest answer since `since` for each of the `wanted` targets of `inputs`, and removes those targets.
    /// Fails if one of these answers was requested up to a day after `date_to`: it would bring rows nobody asked for.
    pub(super) fn choose(
        &mut self,
        inputs: &Inputs,
        wanted: &mut Vec<u32>,
        since: Option<Timestamp>,
        date_to: Date,
    ) -> Result<(), ExportError> {
        let sources = || self.earlier.iter().enumerate();
        let mut chosen = Vec::new();
        wanted.retain(|number| {
            let target = inputs.target(*number);
            let entries = sources().filter_map(|(source, earlier)| Some((source, earlier.archive.entry(target)?)));
            let suitable = entries.filter(|(_, entry)| entry.is_fresh(since));
            // The same answer in several directories is taken from the first.
            let newest = suitable.max_by_key(|(source, entry)| (entry.at(), std::cmp::Reverse(*source)));
            chosen.extend(newest);
            newest.is_none()
        });
        chosen.sort_by_key(|(source, entry)| (*source, entry.location()));
        let dated = chosen.into_iter().map(|(source, entry)| {
            let PreviousLedger { dir, date_to: of_run, archive, .. } = &self.earlier[source];
            let last_day = archive.own_date_to(entry)?.unwrap_or(*of_run);
            if last_day > date_to
                && let Some(differs) = QueryDifference::of("date-to", &last_day, &date_to)
            {
                return Err(PreviousError::Differs(dir.clone(), differs).into());
            }
            Ok(Chosen { source, entry: entry.clone(), date_to: last_day })
        });
        self.chosen = dated.collect::<Result<_, ExportError>>()?;
        Ok(())
    }

    /// How many answers are reused.
    pub(super) fn chosen(&self) -> usize {
        self.chosen.len()
    }

    /// How many reused answers end before an explicit `--date-to`, and the earliest last day that was requested.
    pub(super) fn ending_early(&self, date_to: Option<Date>) -> Option<String> {
        let date_to = date_to?;
        let early: Vec<Date> = self.chosen.iter().map(|chosen| chosen.date_to).filter(|last| *last < date_to).collect();
        let earliest = early.iter().min()?;
        let answers = humanize::counted(early.len() as u64, "reused answer ends", "reused answers end");
        Some(format!("{answers} before --date-to {date_to}, the earliest on {earliest}"))
    }

    /// Copies the chosen answers to the `ledger`; returns whether `shutdown` stopped it before the last one.
    pub(super) async fn take_over(
        self,
        ledger: &Ledger,
        at: Timestamp,
        shutdown: impl Future<Output = ()>,
    ) -> Result<bool, ExportError> {
        if self.chosen.is_empty() {
            return Ok(false);
        }
        let stopped = AtomicBool::new(false);
        let Self { earlier, chosen } = self;
        let copied = stream::iter(blocks(chosen))
            .take_while(|_| std::future::ready(!stopped.load(Ordering::Relaxed)))
            .map(|block| {
                let earlier = Arc::clone(&earlier);
                async move { spawn_blocking(move || copy(&earlier, &block, at)).await }
            })
            .buffered(BLOCKS_READ)
            .map(|copied| copied.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())));
        let kept = copied.try_for_each_concurrent(BLOCKS_WRITTEN, |block| async {
            let kept = try_join_all(block.into_iter().map(|copied| ledger.take_over(copied)));
            kept.await.map(drop).map_err(ExportError::from)
        });
        tokio::pin!(kept, shutdown);
        tokio::select! {
            biased;
            kept = &mut kept => return kept.map(|()| false),
            () = &mut shutdown => stopped.store(true, Ordering::Relaxed),
        }
        // Blocks that were begun are finished, so that the ledger records them.
        kept.await.map(|()| true)
    }
}

/// Groups answers into blocks of consecutive ones.
fn blocks(chosen: Vec<Chosen>) -> impl Iterator<Item = Vec<Chosen>> {
    let mut chosen = chosen.into_iter().peekable();
    std::iter::from_fn(move || {
        let mut block = vec![chosen.next()?];
        let mut bytes = block[0].entry.size();
        while block.len() < BLOCK_ANSWERS
            && let Some(next) = chosen.next_if(|next| bytes + next.entry.size() <= BLOCK_BYTES)
        {
            bytes += next.entry.size();
            block.push(next);
        }
        Some(block)
    })
}

fn copy(earlier: &[PreviousLedger], block: &[Chosen], at: Timestamp) -> Result<Vec<Copied>, ExportError> {
    let copied = block.iter().map(|chosen| earlier[chosen.source].archive.copy(&chosen.entry, at));
    Ok(copied.filter_map(Result::transpose).collect::<Result<_, LedgerError>>()?)
}
