//! `report`: one HTML page of a published dataset. Makes no call and needs no token.

use super::{Failure, exit, print};
use crate::{
    cli::ReportArgs,
    export::RunRecord,
    outcome::Outcome,
    report::{self, ReportError},
    words,
};

pub(super) fn report(arguments: &ReportArgs) -> Result<u8, Failure> {
    let report = report::write(&arguments.dir, arguments.output.as_deref())?;
    print(&format!("{} ({})\n", words::plain(&report.path.display().to_string()), words::bytes(report.bytes)))?;
    Ok(exit::SUCCESS)
}

impl From<ReportError> for Failure {
    fn from(error: ReportError) -> Self {
        let failure = if error.is_usage() { Self::usage(&error) } else { Self::unexpected(&error) };
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// Makes the report of what a command has published, where it is wanted, and has `_run.json` say where it is. Blocks on
/// the disk.
pub(super) fn reported(outcome: Outcome, wanted: bool) -> Result<Outcome, Failure> {
    if !wanted || !outcome.published {
        return Ok(outcome);
    }
    let report = report::write(&outcome.out, None).map_err(|error| {
        Failure::unexpected(format!("the dataset was published, but the report was not written: {error}"))
    })?;
    RunRecord::note_report(&outcome.out, &report.path)?;
    Ok(Outcome { report: Some(report.path), ..outcome })
}
