//! What a run would do, told before anything is done: for a plan.

use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
};

use super::{
    Estimate, ExportError, QueryParams,
    directory::{check_directory, check_ledger},
    drop_tolerated_failures,
    estimate::{Basis, estimate},
    previous::Previous,
    question::check_shard,
    remaining, to_refresh,
};
use crate::{
    api::Parameters,
    clock::Clock,
    fetch::pace::Rate,
    ledger::{self, Archive, ResumeState},
    targets::Inputs,
};

/// What is held at the outset, seen without touching anything.
#[derive(Debug)]
pub struct Preview {
    /// What would be asked of every target.
    pub parameters: Parameters,
    /// What earlier runs of the directory did.
    pub past: ResumeState,
    /// Targets of these lines that have a final answer, which stays as it is.
    pub held: u64,
    /// Those whose answer would be taken over from an earlier run.
    pub taken_over: u64,
    /// Those that would be called.
    pub remaining: u64,
    /// Those of them whose answer would be refreshed.
    pub refreshed: u64,
    /// Final answers of the directory, whatever they are about.
    pub answered: u64,
    /// The version that started the directory; `None`: nothing did.
    pub started_with: Option<String>,
}

impl Preview {
    /// What a run of these lines would do and cost.
    pub fn estimate(&self, rate: Rate, concurrency: NonZeroU32) -> Estimate {
        estimate(&Basis {
            calls: self.remaining,
            targets: self.remaining + self.held + self.taken_over,
            parameters: &self.parameters,
            rate,
            concurrency,
            past: &self.past,
        })
    }

    /// The same, with so many targets called at most.
    #[must_use]
    pub fn limited(self, limit: Option<NonZeroU32>) -> Self {
        let remaining = limit.map_or(self.remaining, |limit| self.remaining.min(limit.get().into()));
        // Answers are refreshed last.
        let refreshed = self.refreshed.saturating_sub(self.remaining - remaining);
        Self { remaining, refreshed, ..self }
    }

    /// Looks at a directory, if there is one, for these lines, and at those of earlier runs.
    pub fn new(
        dir: Option<&Path>,
        (inputs, previous): (&Inputs, &[PathBuf]),
        question: &QueryParams,
        clock: Clock,
    ) -> Result<Self, ExportError> {
        let archive = match dir {
            Some(dir) => {
                check_directory(dir)?;
                let archive = Archive::read(dir)?;
                check_ledger(dir, &archive)?;
                archive
            }
            None => Archive::default(),
        };
        check_shard(archive.run(), inputs)?;
        let parameters = question.parameters(archive.run(), "", clock.today())?;
        let mut left = remaining(inputs, None, &archive, question.fresh_since);
        if archive.inputs_digest() == Some(ledger::digest(inputs).as_str()) {
            drop_tolerated_failures(&mut left, inputs, &archive, question.tolerated);
        }
        let held = (inputs.targets().len() - left.len()) as u64;
        let mut previous = Previous::look(previous, (dir, archive.run()), &parameters)?;
        previous.choose(inputs, &mut left, question.fresh_since);
        Ok(Self {
            answered: archive.asked().filter(|(_, known)| known.standing.is_final()).count() as u64,
            started_with: archive.run().map(|run| run.version.clone()),
            past: archive.past(clock.moment()),
            held,
            taken_over: previous.chosen() as u64,
            remaining: left.len() as u64,
            refreshed: to_refresh(&left, inputs, &archive) as u64,
            parameters,
        })
    }
}
