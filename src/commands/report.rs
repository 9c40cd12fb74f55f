//! `report`: one HTML page of a published dataset. Makes no call and needs no token.

use super::{Failure, exit, is_stdout, print};
use crate::{
    cli::ReportArgs,
    export::RunManifest,
    humanize,
    report::{self, ReportError},
    sanitize,
    summary::RunSummary,
};

pub(super) fn report(arguments: &ReportArgs) -> Result<u8, Failure> {
    if arguments.output.as_deref().is_some_and(is_stdout) {
        print(&report::render(&arguments.dir)?)?;
        return Ok(exit::SUCCESS);
    }
    let report = report::write(&arguments.dir, arguments.output.as_deref())?;
    print(&format!("{} ({})\n", sanitize::path(&report.path), humanize::bytes(report.bytes)))?;
    Ok(exit::SUCCESS)
}

impl From<ReportError> for Failure {
    fn from(error: ReportError) -> Self {
        let exit = if error.is_usage() { exit::USAGE } else { exit::ERROR };
        Self { exit, hint: error.hint(), ..Self::unexpected(error) }
    }
}

/// Writes the report of a published dataset, if `wanted`, and its path to `_run.json`. Blocks on the disk.
pub(super) fn with_report(summary: RunSummary, wanted: bool) -> Result<RunSummary, Failure> {
    if !wanted || !summary.published {
        return Ok(summary);
    }
    let report = report::write(&summary.out, None).map_err(|error| {
        Failure::unexpected(format!("the dataset was published, but the report was not written: {error}"))
    })?;
    RunManifest::note_report(&summary.out, &report.path)?;
    Ok(RunSummary { report: Some(report.path.display().to_string()), ..summary })
}
