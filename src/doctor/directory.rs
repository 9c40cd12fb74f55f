//! The run's directory: whose it is, whether it can be written, and how much room there is.

use std::path::{Path, PathBuf};

use super::Check;
use crate::{
    clock::Clock,
    dataset,
    export::{ExportError, Preview, QueryParams, RunRecord},
    ledger::{FOLDER, Lock},
    targets::Inputs,
    words,
};

/// What was found about a directory.
#[derive(Debug)]
pub struct Looked {
    /// Whose it is, and whether it can be written.
    pub checks: Vec<Check>,
    /// What it holds; `None`: it cannot be used.
    pub preview: Option<Preview>,
    /// Bytes that may still be written there.
    pub free: Option<u64>,
}

/// Looks at a directory for these lines, with those of earlier runs, without changing it; what it lies in is written to and cleaned up again.
pub fn look(dir: &Path, given: (&Inputs, &[PathBuf]), question: &QueryParams, clock: Clock) -> Looked {
    let folder = existing(dir);
    // Keeps runs out while a file that is not theirs lies there. Nothing is made for it.
    let lock = dir.is_dir().then(|| Lock::take(dir)).transpose();
    let in_use = lock.is_err();
    let (whose, preview) = match (whose(dir, given, question, clock), &lock) {
        (Err(error), _) => (failed(&error), None),
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
    Looked { checks: std::iter::once(whose).chain(write).collect(), preview, free }
}

fn failed(error: &ExportError) -> Check {
    Check::failed("directory", error.to_string(), error.hint())
}

/// The directory, or what it would be made in.
fn existing(dir: &Path) -> PathBuf {
    let found = dir.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new(""));
    if found.as_os_str().is_empty() { PathBuf::from(".") } else { found.to_owned() }
}

fn whose(
    dir: &Path,
    given: (&Inputs, &[PathBuf]),
    question: &QueryParams,
    clock: Clock,
) -> Result<(Check, Preview), ExportError> {
    const NAME: &str = "directory";
    let shown = dir.display();
    let record = RunRecord::read(dir)?;
    if let Some(record) = &record
        && record.raw_discarded
    {
        let check = Check::warning(
            NAME,
            format!("{shown} has a dataset, but its raw answers were deleted: no targets can be added"),
            "for more targets, list only the new ones and use another --out",
        );
        return Ok((check, Preview::new(None, (given.0, &[]), question, clock)?));
    }
    if record.is_some() && !dir.join(FOLDER).is_dir() {
        let check = Check::failed(
            NAME,
            format!("{shown} contains a dataset built by replay, which a run cannot continue"),
            "use a new or empty directory for --out",
        );
        return Ok((check, Preview::new(None, (given.0, &[]), question, clock)?));
    }
    let preview = Preview::new(Some(dir), given, question, clock)?;
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
            let held = words::counted(preview.answered, "answer", "answers");
            Check::ok(NAME, format!("{shown} contains {held} of an earlier run, which will be resumed"))
        }
    };
    Ok((check, preview))
}
