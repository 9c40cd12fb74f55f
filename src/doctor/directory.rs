//! Checks the run's directory: what it contains, whether it can be written to, and how much space is free.

use std::path::{Path, PathBuf};

use super::{Check, Level};
use crate::{
    clock::Clock,
    dataset,
    export::{ExportError, Preview, QueryParams, RunManifest},
    humanize,
    ledger::Lock,
    targets::Inputs,
};

#[derive(Debug)]
pub struct DirectoryChecks {
    pub checks: Vec<Check>,
    /// `None` if the directory cannot be used.
    pub preview: Option<Preview>,
    /// Free bytes on its disk; `None` if they are unknown, or a run would fail anyway.
    pub free: Option<u64>,
}

/// Checks a directory for a run over `inputs` that reuses answers of `previous` runs. Leaves nothing behind.
pub fn check_directory(
    dir: &Path,
    inputs: &Inputs,
    previous: &[PathBuf],
    query: &QueryParams,
    clock: Clock,
) -> DirectoryChecks {
    let folder = existing(dir);
    // Keeps runs out while the probe exists; creates no file.
    let lock = dir.is_dir().then(|| Lock::take(dir)).transpose();
    let (content, preview) = match (check_content(dir, inputs, previous, query, clock), &lock) {
        (Err(error), _) => (Check::failed("directory", error.to_string(), error.hint()), None),
        (Ok((_, preview)), Err(error)) => (Check::failed("directory", error.to_string(), error.hint()), Some(preview)),
        (Ok((check, preview)), Ok(_)) => (check, Some(preview)),
    };
    if content.level == Level::Failed {
        return DirectoryChecks { checks: vec![content], preview, free: None };
    }
    if let Err(error) = dataset::probe(&folder) {
        let write = Check::failed(
            "write",
            format!("{} cannot be used: {error}", dir.display()),
            "make it writable for this user, or use an --out on a file system that supports rename and sync",
        );
        return DirectoryChecks { checks: vec![write], preview, free: None };
    }
    let write = Check::ok("write", format!("files can be written, synced and renamed in {}", folder.display()));
    let free = rustix::fs::statvfs(&folder).ok().map(|found| found.f_bavail.saturating_mul(found.f_frsize));
    DirectoryChecks { checks: vec![content, write], preview, free }
}

/// The directory, or the one that it would be created in.
fn existing(dir: &Path) -> PathBuf {
    let found = dir.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new(""));
    if found.as_os_str().is_empty() { PathBuf::from(".") } else { found.to_owned() }
}

fn check_content(
    dir: &Path,
    inputs: &Inputs,
    previous: &[PathBuf],
    query: &QueryParams,
    clock: Clock,
) -> Result<(Check, Preview), ExportError> {
    const NAME: &str = "directory";
    let shown = dir.display();
    let manifest = RunManifest::read(dir)?;
    if manifest.as_ref().is_some_and(|manifest| manifest.raw_discarded) && inputs.targets().len() == 0 {
        let check = Check::warning(
            NAME,
            format!("{shown} has a dataset, but its raw answers were deleted: no targets can be added"),
            "for more targets, list only the new ones and use another --out",
        );
        return Ok((check, Preview::new(None, inputs, &[], query, clock)?));
    }
    let preview = Preview::new(Some(dir), inputs, previous, query, clock)?;
    dataset::inspect(dir)?;
    let check = match &preview.started_with {
        None if dir.exists() => Check::ok(NAME, format!("{shown} is empty")),
        None => Check::ok(NAME, format!("{shown} will be created")),
        Some(version) if version != env!("CARGO_PKG_VERSION") => Check::warning(
            NAME,
            format!("{shown} was started with version {version}; this is version {}", env!("CARGO_PKG_VERSION")),
            "back up _raw and read CHANGELOG.md before the next run",
        ),
        Some(_) => {
            let is_in_place = manifest.as_ref().is_some_and(|manifest| manifest.is_in_place(dir));
            let is_complete = dataset::is_marked(dir) && is_in_place;
            Check::ok(NAME, format!("{shown} {}", describe(&preview, inputs, is_complete)))
        }
    };
    Ok((check, preview))
}

/// What a directory with a run contains, and what is left to do for these lines, if there are any.
fn describe(preview: &Preview, inputs: &Inputs, is_complete: bool) -> String {
    let answers = humanize::counted(preview.answered, "answer", "answers");
    let left = preview.remaining + preview.pending + preview.taken_over;
    match (left, is_complete) {
        _ if inputs.targets().len() == 0 => format!("contains {answers} of an earlier run"),
        (0, true) => format!("is complete: {answers} stored, nothing to fetch"),
        (0, false) => format!("contains all {answers}; the next run publishes the dataset"),
        (left, _) => {
            format!("contains {answers}; {} left", humanize::counted(left, "target", "targets"))
        }
    }
}
