//! Reads the input files, and warns about their content.

use std::io;

use super::Failure;
use crate::{
    cli::InputArgs,
    humanize,
    targets::{Accept, Inputs, LongerRows, Nested, ReadOptions, read},
};

/// Reads the files and keeps the lines of this shard.
pub(super) fn read_inputs(arguments: &InputArgs) -> Result<Inputs, Failure> {
    let options = ReadOptions {
        column: arguments.column.clone(),
        accept: Accept { addresses: arguments.allow_ip, suffixes: arguments.allow_suffix },
        format: arguments.input_format,
        encoding: arguments.input_encoding,
    };
    let inputs = read(&arguments.inputs, io::stdin().lock(), &options)?;
    let shard = arguments.shard;
    Ok(if shard.is_whole() { inputs } else { inputs.shard(|name| shard.contains(name)) })
}

/// Warning about cells beyond a table's header.
pub(super) fn dropped_cells(inputs: &Inputs) -> Option<String> {
    let LongerRows { count, first } = inputs.longer_rows()?;
    let rows = humanize::counted(*count, "table row has", "table rows have");
    Some(format!("{rows} more cells than the header, the first at {first}: the extra cells are dropped"))
}

/// Warning about targets that are subdomains of other targets.
pub(super) fn counted_twice(inputs: &Inputs) -> Option<String> {
    let Nested { count, inner, outer } = inputs.nested()?;
    let targets = humanize::counted(count, "target is a subdomain", "targets are subdomains");
    Some(format!(
        "{targets} of another target, such as {inner} of {outer}: the history of {outer} includes its subdomains, so \
         sums over both count them twice"
    ))
}

/// Warns about lines that are skipped, and targets that are called but may not have an answer.
pub(super) fn warn_about_inputs(inputs: &Inputs) {
    let counts = inputs.counts();
    if let Some(example) = inputs.first_subdomain() {
        let subdomains = humanize::counted(counts.subdomains as u64, "target is a subdomain", "targets are subdomains");
        tracing::warn!(
            "{subdomains}, such as {example}: they are sent as written, but the API may have data only for the \
             registrable domain"
        );
    }
    if let Some(twice) = counted_twice(inputs) {
        tracing::warn!("{twice}");
    }
    if counts.rejected > 0 {
        let lines = humanize::counted(
            counts.rejected as u64,
            "input line is not a valid domain",
            "input lines are not valid domains",
        );
        tracing::warn!("{lines} and will be skipped; they are listed in _rejected.csv after publishing");
    }
}
