//! The small files beside the tables, each written or replaced as a whole.
//!
//! Their text is untrusted: cells that a spreadsheet would read as a formula get an apostrophe in front, and control
//! characters, including line ends, become spaces. Both CSV files always exist, if only with a header, so that scripts
//! need not check.

use std::{
    fs::{self, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use jiff::Timestamp;
use rustix::{fs::OFlags, io::Errno};
use serde::Serialize;

use super::{
    DatasetError, FAILURES, REJECTED, RUN, SUCCESS,
    files::{create_new, rename},
};
use crate::{fs::sync_folder, sanitize::cell, sha256};

/// How often a pipe is looked at for a reader, and how long the wait in between is: ten seconds in all.
const READER_LOOKS: u32 = 200;
const READER_LOOK_WAIT: Duration = Duration::from_millis(50);

/// A target that needs attention.
#[derive(Clone, Copy, Debug)]
pub struct FailureRow<'a> {
    /// The domain, in the form that the next run reads.
    pub domain: &'a str,
    /// Why there is no data.
    pub reason: &'a str,
    /// HTTP status of the last attempt.
    pub http_status: Option<u16>,
    /// The status code inside the last body.
    pub api_status_code: Option<i64>,
    pub attempts: u64,
    /// Calls among them that may have been billed without an answer.
    pub possibly_billed: u64,
    /// The message of the API or the network.
    pub message: Option<&'a str>,
    /// The date of the older answer that is used because re-fetching it failed.
    pub kept_from: Option<Timestamp>,
}

/// An input line that is not a valid domain.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct RejectedLine<'a> {
    /// The line as written.
    pub input: &'a str,
    pub file: &'a str,
    /// Its number in the file, from 1.
    pub line: u64,
    /// Why it is not a valid domain.
    pub reason: &'a str,
}

/// The rows of `_failures.csv`: valid input for the next run.
pub struct FailureRows<W: Write>(csv::Writer<W>);

impl<W: Write> FailureRows<W> {
    pub fn begin(out: W) -> io::Result<Self> {
        let mut csv = csv::Writer::from_writer(out);
        csv.write_record([
            "domain",
            "reason",
            "http_status",
            "api_status_code",
            "attempts",
            "possibly_billed",
            "message",
            "kept_from",
        ])?;
        Ok(Self(csv))
    }

    pub fn push(&mut self, failure: &FailureRow<'_>) -> io::Result<()> {
        let written = self.0.write_record([
            cell(failure.domain),
            cell(failure.reason),
            failure.http_status.map(|status| status.to_string()).unwrap_or_default(),
            failure.api_status_code.map(|code| code.to_string()).unwrap_or_default(),
            failure.attempts.to_string(),
            failure.possibly_billed.to_string(),
            cell(failure.message.unwrap_or_default()),
            failure.kept_from.map(|at| at.to_string()).unwrap_or_default(),
        ]);
        Ok(written?)
    }

    /// Writes what is buffered, and returns the inner writer.
    pub fn finish(self) -> io::Result<W> {
        self.0.into_inner().map_err(csv::IntoInnerError::into_error)
    }
}

/// `_failures.csv` while it is written, row by row.
pub struct FailuresFile {
    unfinished: Unfinished,
    rows: FailureRows<fs::File>,
}

impl FailuresFile {
    /// Writes the header.
    pub fn begin(dir: &Path) -> Result<Self, DatasetError> {
        let (unfinished, file) = Unfinished::begin(dir, FAILURES)?;
        let rows = FailureRows::begin(file).map_err(unfinished.failed("write"))?;
        Ok(Self { unfinished, rows })
    }

    pub fn push(&mut self, failure: &FailureRow<'_>) -> Result<(), DatasetError> {
        self.rows.push(failure).map_err(self.unfinished.failed("write"))
    }

    /// Syncs the file and moves it into place.
    pub fn finish(self) -> Result<(), DatasetError> {
        let file = self.rows.finish().map_err(self.unfinished.failed("write"))?;
        self.unfinished.finish(&file)
    }
}

/// Writes `_rejected.csv`.
pub fn write_rejected<'a>(
    dir: &Path,
    rejected: impl IntoIterator<Item = RejectedLine<'a>>,
) -> Result<(), DatasetError> {
    let (unfinished, file) = Unfinished::begin(dir, REJECTED)?;
    let file = write_rejected_rows(file, rejected).map_err(unfinished.failed("write"))?;
    unfinished.finish(&file)
}

/// Writes the rows of `_rejected.csv`, and returns the inner writer.
pub fn write_rejected_rows<'a, W: Write>(
    out: W,
    rejected: impl IntoIterator<Item = RejectedLine<'a>>,
) -> io::Result<W> {
    let mut csv = csv::Writer::from_writer(out);
    csv.write_record(["input", "file", "line", "reason"])?;
    for it in rejected {
        csv.write_record([cell(it.input), cell(it.file), it.line.to_string(), cell(it.reason)])?;
    }
    csv.into_inner().map_err(csv::IntoInnerError::into_error)
}

/// Writes `_run.json`: an object, with its own digest added as the last entry, so that any change is noticed. The
/// digest is that of the file without this entry and the comma before it.
pub fn write_run(dir: &Path, run: &serde_json::Value) -> Result<(), DatasetError> {
    replace(dir, RUN, |out| {
        let mut text = serde_json::to_vec_pretty(run)?;
        text.push(b'\n');
        let digest = sha256::of(&text);
        let entries = text.strip_suffix(b"\n}\n").unwrap_or(&text);
        out.write_all(entries)?;
        write!(out, ",\n  \"sha256\": \"{digest}\"\n}}\n")
    })
}

/// Writes `_SUCCESS`; the last step.
pub fn mark_success(dir: &Path) -> Result<(), DatasetError> {
    let marked = replace(dir, SUCCESS, |_| Ok(()));
    if marked.is_err() {
        // It may not be durable, so remove it. The error is reported in any case.
        let _ = fs::remove_file(dir.join(SUCCESS));
    }
    marked
}

/// Removes `_SUCCESS`, durably, before what it guarantees changes.
pub fn unmark_success(dir: &Path) -> Result<(), DatasetError> {
    let path = dir.join(SUCCESS);
    match fs::remove_file(&path) {
        Ok(()) => sync_folder(dir, DatasetError::io),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(DatasetError::io("remove", &path)(source)),
    }
}

pub fn is_marked(dir: &Path) -> bool {
    fs::symlink_metadata(dir.join(SUCCESS)).is_ok()
}

/// Writes to a path that the user has chosen. A regular file is replaced, also behind a symbolic link; a pipe or a
/// device is written to.
pub fn write_output(path: &Path, text: &str) -> Result<(), DatasetError> {
    // The file behind an open descriptor may have other content.
    let is_descriptor = ["/dev/stderr", "/dev/fd", "/proc"].iter().any(|open| path.starts_with(open));
    if is_descriptor || fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        let written = open_pipe_or_device(path).and_then(|mut file| file.write_all(text.as_bytes()));
        return written.map_err(DatasetError::io("write to", path));
    }
    // A link to a file that does not exist yet stays a link, too.
    let linked = fs::read_link(path).map(|to| path.parent().unwrap_or(path).join(to));
    let path = fs::canonicalize(path).or(linked).unwrap_or_else(|_| path.to_owned());
    if is_part_of_a_run(&path) {
        return Err(DatasetError::PartOfARun { path });
    }
    replace_file(&path, text)
}

/// Opens a pipe once another program has opened it for reading, but does not wait forever: signals do not end the wait.
#[expect(
    clippy::disallowed_methods,
    reason = "the reader is another process: real time counts, on a thread that may block"
)]
fn open_pipe_or_device(path: &Path) -> io::Result<fs::File> {
    let mut options = OpenOptions::new();
    options.append(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    for _ in 0..READER_LOOKS {
        match options.open(path) {
            Err(error) if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => thread::sleep(READER_LOOK_WAIT),
            Err(error) => return Err(error),
            Ok(file) => {
                // Writing waits for a slow reader.
                rustix::fs::fcntl_setfl(&file, OFlags::APPEND)?;
                return Ok(file);
            }
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "no program has opened it for reading"))
}

/// Whether a path leads to what a run's directory consists of. Without the ledger, paid answers would be lost.
fn is_part_of_a_run(path: &Path) -> bool {
    path.ancestors().zip(path.ancestors().skip(1)).any(|(entry, folder)| {
        let name = entry.file_name().and_then(std::ffi::OsStr::to_str).unwrap_or_default();
        let is_ledger = name.starts_with("ledger-") && name.ends_with(".jsonl.gz");
        is_ledger || (super::is_own(name) && folder.join(RUN).is_file())
    })
}

/// Writes a file, so that it is never seen half-written.
pub fn replace_file(path: &Path, text: &str) -> Result<(), DatasetError> {
    let no_file = || DatasetError::io("write", path)(io::Error::from(io::ErrorKind::InvalidInput));
    let name = path.file_name().and_then(std::ffi::OsStr::to_str).ok_or_else(no_file)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    replace(folder, name, |out| out.write_all(text.as_bytes()))
}

/// Writes a file under another name, syncs it and moves it into place.
fn replace(
    dir: &Path,
    name: &str,
    write: impl FnOnce(&mut BufWriter<fs::File>) -> io::Result<()>,
) -> Result<(), DatasetError> {
    let (unfinished, file) = Unfinished::begin(dir, name)?;
    let mut out = BufWriter::new(file);
    write(&mut out).and_then(|()| out.flush()).map_err(unfinished.failed("write"))?;
    unfinished.finish(out.get_ref())
}

/// A file that has another name until it is complete.
struct Unfinished {
    temporary: PathBuf,
    place: PathBuf,
}

impl Unfinished {
    fn begin(dir: &Path, name: &str) -> Result<(Self, fs::File), DatasetError> {
        let unfinished = Self { temporary: dir.join(format!("{name}.{}", super::UNFINISHED)), place: dir.join(name) };
        match fs::remove_file(&unfinished.temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unfinished.failed("remove")(error)),
            _ => {}
        }
        let file = create_new(&unfinished.temporary)?;
        Ok((unfinished, file))
    }

    fn failed(&self, verb: &'static str) -> impl FnOnce(io::Error) -> DatasetError {
        DatasetError::io(verb, &self.temporary)
    }

    fn finish(self, file: &fs::File) -> Result<(), DatasetError> {
        file.sync_all().map_err(self.failed("sync"))?;
        rename(&self.temporary, &self.place)?;
        self.place.parent().map_or(Ok(()), |folder| sync_folder(folder, DatasetError::io))
    }
}

/// After an error, nothing is left to remove by hand. A finished file has its own name.
impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.temporary);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_written_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let full = |_: &mut BufWriter<fs::File>| Err(io::Error::from(io::ErrorKind::StorageFull));
        replace(dir.path(), "report.html", full).unwrap_err();
        FailuresFile::begin(dir.path()).map(drop).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn csv_files_have_a_header_even_without_lines_and_are_replaced_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        FailuresFile::begin(dir.path()).unwrap().finish().unwrap();
        assert_eq!(
            read(FAILURES),
            "domain,reason,http_status,api_status_code,attempts,possibly_billed,message,kept_from\n"
        );
        fs::write(dir.path().join("_failures.csv.unfinished"), "left by a crash").unwrap();
        let failure = FailureRow {
            domain: "a.com",
            reason: "gave up",
            http_status: Some(200),
            api_status_code: Some(50000),
            attempts: 6,
            possibly_billed: 1,
            message: Some("=1+1, \"x\"\nnext"),
            kept_from: Some(Timestamp::UNIX_EPOCH),
        };
        let silent = FailureRow {
            domain: "b.com",
            http_status: None,
            api_status_code: None,
            message: None,
            kept_from: None,
            ..failure
        };
        let mut file = FailuresFile::begin(dir.path()).unwrap();
        file.push(&failure).unwrap();
        file.push(&silent).unwrap();
        file.finish().unwrap();
        assert_eq!(
            read(FAILURES).lines().skip(1).collect::<Vec<_>>(),
            ["a.com,gave up,200,50000,6,1,\"'=1+1, \"\"x\"\" next\",1970-01-01T00:00:00Z", "b.com,gave up,,,6,1,,"]
        );
        write_rejected(dir.path(), [RejectedLine { input: "-x", file: "a.txt", line: 7, reason: "no domain" }])
            .unwrap();
        assert_eq!(read(REJECTED), "input,file,line,reason\n'-x,a.txt,7,no domain\n");
        let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
    }

    #[test]
    fn success_is_marked_and_unmarked() {
        let dir = tempfile::tempdir().unwrap();
        unmark_success(dir.path()).unwrap();
        assert!(!is_marked(dir.path()));
        mark_success(dir.path()).unwrap();
        assert!(is_marked(dir.path()));
        unmark_success(dir.path()).unwrap();
        assert!(!is_marked(dir.path()));
        write_run(dir.path(), &serde_json::json!({"rows": 1})).unwrap();
        let digest = sha256::of("{\n  \"rows\": 1\n}\n");
        let expected = format!("{{\n  \"rows\": 1,\n  \"sha256\": \"{digest}\"\n}}\n");
        assert_eq!(fs::read_to_string(dir.path().join(RUN)).unwrap(), expected);
    }

    #[test]
    fn a_link_in_place_of_a_file_is_replaced_and_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("elsewhere"), "untouched").unwrap();
        for name in [SUCCESS, "_SUCCESS.unfinished"] {
            std::os::unix::fs::symlink(dir.path().join("elsewhere"), dir.path().join(name)).unwrap();
        }
        mark_success(dir.path()).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("elsewhere")).unwrap(), "untouched");
        assert!(!fs::symlink_metadata(dir.path().join(SUCCESS)).unwrap().is_symlink());
    }
}
