//! The fetch: calls the remaining targets, stores their answers, and stages the dataset as they arrive.

use std::{iter, pin::pin, sync::Arc};

use super::{
    Export, ExportError, MergedLedgers, Source, StagedHistory,
    live::{LiveDataset, LiveWriter},
    merged_ledgers::run_date,
    publish,
    recorder::Recorder,
};
use crate::{
    api::{Api, Parameters},
    dataset::{DatasetLayout, Stage},
    fetch::{self, FetchContext, FetchEnd, FetchLimits, StopReason, pace::Rate},
    ledger::{Archive, Ledger, LedgerError, Lock, ResumeState},
    progress::Progress,
};

impl Export {
    /// Fetches the remaining targets, in target order if the cap covers all of them, and stages the dataset as answers
    /// arrive.
    /// The directory stays locked until the result is dropped.
    pub async fn fetch<A: Api>(
        self,
        api: A,
        limits: FetchLimits,
        layout: &DatasetLayout,
        progress: &Progress,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(FetchEnd, Fetched), ExportError> {
        let (past, inputs_are_kept) = (self.resume_state(), self.inputs_are_kept());
        let pays_for_all = self.cap_covers_all(&limits, &past);
        let earlier = prior_calls(&past, limits.rate);
        let is_limited = self.left_out > 0;
        let Self { lock, archive, run, parameters, inputs, inputs_sha256, mut remaining, previous, clock, .. } = self;
        if pays_for_all && !is_limited {
            // Rows are written in this order: most answers then arrive when it is their turn.
            remaining.sort_unstable_by_key(|number| inputs.target(*number));
        }
        if remaining.is_empty() && previous.chosen() == 0 && inputs_are_kept && !archive.is_torn()? {
            let merged = MergedLedgers::new(vec![Source { run, archive }], inputs, inputs_sha256, false)?;
            return Ok((FetchEnd::Done, Fetched { merged, staged: None, lock }));
        }
        let is_new = archive.run().is_none();
        let ledger = Ledger::open(archive, &lock, Some(clock), limits.concurrency.get())?;
        let mut shutdown = pin!(shutdown);
        let begun = async {
            if is_new {
                ledger.start(&run).await?;
            }
            if !inputs_are_kept {
                ledger.set_inputs(&inputs).await?;
            }
            let is_stopped = previous.take_over(&ledger, clock.now(), shutdown.as_mut()).await?;
            Ok((is_stopped, Stage::begin(lock.dir())?))
        };
        let (is_stopped, stage) = match begun.await {
            Ok(begun) => begun,
            Err(error) => {
                close(ledger, &lock).await?;
                return Err(error);
            }
        };
        // Answers just copied from an earlier run may have been requested up to a later day.
        let date_to = ledger.latest_date_to().map_or(parameters.date_to, |day| day.max(parameters.date_to));
        let requested = Parameters { date_to, ..run.parameters.clone() };
        let ledger = ledger.with_date_to(parameters.date_to);
        let inputs = Arc::new(inputs);
        let dataset = LiveDataset {
            stage,
            reader: ledger.reader(),
            inputs: Arc::clone(&inputs),
            run_date: run_date(&run),
            options: publish::options(run.run_id.clone(), &requested, layout),
            requested,
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
            Some(recorder) => close(recorder.ledger, &lock).await,
            None => Err(LedgerError::Closed),
        };
        let archive = match archive {
            // It explains why calls were refused, and why the dataset could not be written.
            Err(error) if error.is_interference() => return Err(error.into()),
            archive => archive,
        };
        // Where the writer has failed, the fetch has failed because of it.
        let (staged, ended, archive) = (staged?, ended?, archive?);
        let ended = if is_limited && ended == FetchEnd::Done { FetchEnd::Stopped(StopReason::Limit) } else { ended };
        let merged = MergedLedgers::new(vec![Source { run, archive }], inputs, inputs_sha256, false)?;
        Ok((ended, Fetched { merged, staged, lock }))
    }
}

/// Stops writing. An error if another program has deleted or moved the ledger, which explains all other errors.
async fn close(ledger: Ledger, lock: &Lock) -> Result<Archive, LedgerError> {
    let archive = ledger.close().await?;
    archive.check_or_rescue(lock)?;
    Ok(archive)
}

/// The result of a fetch, with the directory still locked.
#[derive(Debug)]
pub struct Fetched {
    pub merged: MergedLedgers,
    /// The dataset as far as it was staged during the fetch.
    pub staged: Option<StagedHistory>,
    /// Keeps other runs out until the dataset is published.
    pub lock: Lock,
}

/// Calls of earlier processes as instants of this process, if they still count toward the rate.
fn prior_calls(past: &ResumeState, rate: Rate) -> fetch::PriorCalls {
    let now = tokio::time::Instant::now();
    let recent = past.calls.iter().filter(|(ago, _)| *ago < rate.window());
    let moments = recent.filter_map(|(ago, calls)| now.checked_sub(*ago).map(|at| (at, *calls)));
    let calls = moments.flat_map(|(at, calls)| iter::repeat_n(at, calls as usize)).collect();
    fetch::PriorCalls {
        calls,
        spent: past.spent,
        highest_price: past.highest_price,
        form: past.form,
        costly_failures: past.costly_failures,
    }
}
