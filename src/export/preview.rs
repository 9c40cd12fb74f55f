//! What a run would do, for `plan` and `doctor`. Changes nothing.

use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
};

use super::{
    DatasetSize, Estimate, ExportError, QueryParams, RunManifest,
    directory::{check_discarded, check_is_run, read_ledger},
    open::{drop_tolerated_failures, remaining, to_refresh},
    previous::Previous,
    query_params::check_shard,
};
use crate::{
    api::{Parameters, call_events::TargetState},
    clock::Clock,
    dataset::DatasetLayout,
    fetch::pace::Rate,
    ledger::{self, Archive, ResumeState},
    targets::Inputs,
};

/// The state of a directory before a run, and what the run would call.
#[derive(Debug, Default)]
pub struct Preview {
    pub parameters: Parameters,
    pub past: ResumeState,
    /// Targets of the input that already have a final answer.
    pub stored: u64,
    /// Targets whose answer would be reused from an earlier run.
    pub taken_over: u64,
    /// How many of them end before an explicit `--date-to`, in words.
    pub reused_ending_early: Option<String>,
    /// Targets that would be called.
    pub remaining: u64,
    /// Targets that a limit leaves for later runs.
    pub pending: u64,
    /// Targets among `remaining` whose answer would be refreshed.
    pub refreshed: u64,
    /// Final answers in the directory, also for targets that are not in the input.
    pub answered: u64,
    /// Final answers with data.
    pub with_data: u64,
    /// The manifest of the published dataset, if there is one.
    pub published: Option<RunManifest>,
    /// The version that started the directory; `None`: there is no run in it.
    pub started_with: Option<String>,
}

impl Preview {
    /// What a run of these lines would do and cost.
    pub fn estimate(&self, rate: Rate, concurrency: NonZeroU32) -> Estimate {
        Estimate::new(self.remaining, &self.parameters, rate, concurrency, &self.past)
    }

    /// The size of the dataset after such a run with this layout.
    pub fn dataset(&self, layout: &DatasetLayout) -> DatasetSize {
        let published = self.published.as_ref();
        let unpublished = self.with_data.saturating_sub(published.map_or(0, |manifest| manifest.totals.ok));
        let fetched = self.remaining + self.taken_over;
        let all = self.with_data + fetched - self.refreshed;
        let before = DatasetSize::before(published, layout, &self.parameters);
        before.with(unpublished + fetched, all, &self.parameters)
    }

    /// Limits the targets that would be called.
    #[must_use]
    pub fn limited(self, limit: Option<NonZeroU32>) -> Self {
        let remaining = limit.map_or(self.remaining, |limit| self.remaining.min(limit.get().into()));
        // Answers are refreshed last.
        let refreshed = self.refreshed.saturating_sub(self.remaining - remaining);
        Self { remaining, refreshed, pending: self.remaining - remaining, ..self }
    }

    /// Inspects a directory, if there is one, and those of earlier runs.
    pub fn new(
        dir: Option<&Path>,
        inputs: &Inputs,
        previous: &[PathBuf],
        query: &QueryParams,
        clock: Clock,
    ) -> Result<Self, ExportError> {
        let published = dir.map(RunManifest::read).transpose()?.flatten();
        let archive = match (dir, published.as_ref()) {
            (Some(dir), Some(manifest)) if manifest.raw_discarded => {
                check_discarded(dir, manifest, inputs, query, None, clock)?;
                return Ok(Self::without_ledger(manifest.clone()));
            }
            (Some(dir), manifest) => {
                check_is_run(dir, manifest)?;
                read_ledger(dir, manifest)?
            }
            (None, _) => Archive::default(),
        };
        check_shard(archive.run(), inputs)?;
        let parameters = query.parameters(archive.run(), "", clock.today())?;
        let mut left = remaining(inputs, None, &archive, query.fresh_since);
        let stored = (inputs.targets().len() - left.len()) as u64;
        let are_kept = archive.inputs_digest().is_some_and(|kept| kept == ledger::digest(inputs))
            || archive.inputs()?.is_some_and(|kept| kept.is_same_but_for_folders(inputs));
        if are_kept {
            drop_tolerated_failures(&mut left, inputs, &archive, query.tolerated);
        }
        let mut previous = Previous::open(previous, dir, archive.run(), &parameters, |_| Ok(None))?;
        previous.choose(inputs, &mut left, query.fresh_since, parameters.date_to)?;
        Ok(Self {
            answered: archive.requested().filter(|(_, entry)| entry.state.is_final()).count() as u64,
            with_data: archive.requested().filter(|(_, entry)| entry.state == TargetState::Ok).count() as u64,
            published,
            started_with: archive.run().map(|run| run.version.clone()),
            past: archive.resume_state(clock.moment()),
            stored,
            taken_over: previous.chosen() as u64,
            reused_ending_early: previous.ending_early(query.date_to),
            remaining: left.len() as u64,
            pending: 0,
            refreshed: to_refresh(&left, inputs, &archive) as u64,
            parameters,
        })
    }

    /// The state of a directory whose ledger was deleted after its dataset was published.
    fn without_ledger(manifest: RunManifest) -> Self {
        Self {
            parameters: manifest.provenance.parameters.clone(),
            stored: manifest.totals.ok + manifest.totals.no_data,
            answered: manifest.totals.ok + manifest.totals.no_data,
            with_data: manifest.totals.ok,
            started_with: Some(manifest.provenance.version.clone()),
            published: Some(manifest),
            ..Self::default()
        }
    }
}
