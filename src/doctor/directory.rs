//! Checks the run's directory: what it contains, whether it can be written to, and how much space is free.

use std::path::{Path, PathBuf};

use super::Check;
use crate::{
    clock::Clock,
    dataset,
    export::{ExportError, Preview, QueryParams, RunManifest},
    humanize,
    ledger::{FOLDER, Lock},
    targets::Inputs,
};

#[derive(Debug)]
pub struct DirectoryChecks {
    pub checks: Vec<Check>,
    /// `None` if the directory cannot be used.
    pub preview: Option<Preview>,
    /// Free bytes on its disk.
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
    let in_use = lock.is_err();
    let (content, preview) = match (check_content(dir, inputs, previous, query, clock), &lock) {
        (Err(error), _) => (Check::failed("directory", error.to_string(), error.hint()), None),
        (Ok((_, preview)), Err(error)) => (Check::failed("directory", error.to_string(), error.hint()), Some(preview)),
        (Ok((check, preview)), Ok(_)) => (check, Some(preview)),
    };
    let write = match dataset::probe(&folder) {
        _ if in_use => None,
        Ok(()) => Some(Check::ok("write", format!("files can be written, synced and renamed in {}", folder.display()))),
        Err(error) => Some(Check::failed(
            "write",
            error.to_string(),
            "make it writable for this user, or use an --out on a file system that supports rename and sync",
        )),
    };
    let free = rustix::fs::statvfs(&folder).ok().map(|found| found.f_bavail.saturating_mul(found.f_frsize));
    DirectoryChecks { checks: std::iter::once(content).chain(write).collect(), preview, free }
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
    if let Some(manifest) = &manifest
        && manifest.raw_discarded
    {
        let check = Check::warning(
            NAME,
            format!("{shown} has a dataset, but its raw answers were deleted: no targets can be added"),
            "for more targets, list only the new ones and use another --out",
        );
        return Ok((check, Preview::new(None, inputs, &[], query, clock)?));
    }
    if manifest.is_some() && !dir.join(FOLDER).is_dir() {
        let check = Check::failed(
            NAME,
            format!("{shown} contains a dataset built by replay, which a run cannot continue"),
            "use a new or empty directory for --out",
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
            format!("{shown} was started with version {version}, this is {}", env!("CARGO_PKG_VERSION")),
            "back up _raw and read CHANGELOG.md before the next run",
        ),
        Some(_) => {
            let answers = humanize::counted(preview.answered, "answer", "answers");
            Check::ok(NAME, format!("{shown} contains {answers} of an earlier run, which will be resumed"))
        }
    };
    Ok((check, preview))
}
