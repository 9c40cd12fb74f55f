//! From the command line's files to lines, and what is worth a warning about them.

use std::io;

use super::Failure;
use crate::{
    cli::InputArgs,
    targets::{Inputs, ReadOptions, read},
    words,
};

/// Reads the files and keeps this shard's share of their lines.
pub(super) fn read_inputs(arguments: &InputArgs) -> Result<Inputs, Failure> {
    let options = ReadOptions { column: arguments.column.clone(), allow_ip: arguments.allow_ip };
    let inputs = read(&arguments.inputs, io::stdin().lock(), &options)?;
    let shard = arguments.shard;
    Ok(if shard.is_whole() { inputs } else { inputs.share(|name| shard.holds(name)) })
}

/// Warnings about lines that will be called all the same.
pub(super) fn warn_of(inputs: &Inputs) {
    let counts = inputs.counts();
    if let Some(example) = inputs.first_subdomain() {
        let subdomains = words::counted(counts.subdomains as u64, "target is a subdomain", "targets are subdomains");
        tracing::warn!(
            "{subdomains}, such as {example}: called as written, though the API may know whole domains only"
        );
    }
    if counts.rejected > 0 {
        let lines = words::counted(counts.rejected as u64, "input line is", "input lines are");
        tracing::warn!(
            "{lines} no domain and will not be called; _rejected.csv lists them once the dataset is published"
        );
    }
}
