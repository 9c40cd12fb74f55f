//! `report`: one HTML page of a published dataset. Makes no call and needs no token.

use super::{Failure, exit, print};
use crate::{
    cli::ReportArgs,
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
