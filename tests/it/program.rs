//! The real program and a simulated API to run it against, shared by several tests.
//!
//! The API runs in the test's own process, so that its bill is available; the program is its own process, so that it
//! can be killed.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::Duration,
};

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::Int64Type,
};
use backlinks_export::sandbox::{Latency, Sandbox, Settings};
use fastrand::Rng;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// A program that runs longer than this hangs.
const MAX_TIME: Duration = Duration::from_mins(3);

/// The simulated API on a free port.
pub(crate) async fn sandbox(settings: Settings) -> Sandbox {
    Sandbox::start(SocketAddr::from(([127, 0, 0, 1], 0)), settings).await.expect("a free port")
}

/// An API that answers at once and never fails.
pub(crate) fn instant() -> Settings {
    Settings { latency: Latency::NONE, ..Settings::default() }
}

/// Latencies in milliseconds.
pub(crate) fn latency(min: u64, max: u64) -> Latency {
    Latency { min: Duration::from_millis(min), max: Duration::from_millis(max) }
}

/// A run's directory and the list of its targets, both removed at the end.
pub(crate) struct Place {
    pub(crate) root: tempfile::TempDir,
}

impl Place {
    /// With this many targets.
    pub(crate) fn new(targets: usize) -> Self {
        let place = Self { root: quick_folder() };
        place.list(targets);
        place
    }

    /// Lists this many targets from now on.
    pub(crate) fn list(&self, targets: usize) {
        list(&self.inputs(), targets);
    }

    pub(crate) fn inputs(&self) -> PathBuf {
        self.root.path().join("domains.txt")
    }

    pub(crate) fn out(&self) -> PathBuf {
        self.root.path().join("out")
    }

    /// Whether the last run was a success.
    pub(crate) fn is_complete(&self) -> bool {
        self.out().join("_SUCCESS").exists()
    }

    /// `run` on this place: short histories, the result as JSON, and without a rate limit unless `flags` has one.
    pub(crate) fn run(&self, api: &str, flags: &str) -> Command {
        run(Command::new(BINARY), &self.inputs(), &self.out(), api, flags)
    }
}

/// Writes a list of this many targets.
pub(crate) fn list(file: &Path, targets: usize) {
    let names: Vec<String> = (0..targets).map(|number| format!("site{number}.com\n")).collect();
    fs::write(file, names.concat()).expect("written");
}

/// The number in a target's name.
pub(crate) fn number_of(target: &str) -> u32 {
    target.trim_start_matches("site").trim_end_matches(".com").parse().expect("a number")
}

/// A folder in memory, where syncing costs nothing; on disk if memory is too small for all tests or does not allow
/// programs.
pub(crate) fn quick_folder() -> tempfile::TempDir {
    const ROOM: u64 = 2 << 30;
    let memory = Path::new("/dev/shm");
    let has_room = |disk: rustix::fs::StatVfs| {
        // Some tests start a copy of the program there.
        disk.f_bavail * disk.f_frsize > ROOM && !disk.f_flag.contains(rustix::fs::StatVfsMountFlags::NOEXEC)
    };
    let at = if rustix::fs::statvfs(memory).is_ok_and(has_room) { memory.to_owned() } else { std::env::temp_dir() };
    tempfile::tempdir_in(at).expect("a directory")
}

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_backlinks-export");

/// Whether the tests have root's privileges.
pub(crate) fn is_root() -> bool {
    rustix::fs::stat("/proc/self").is_ok_and(|stat| stat.st_uid == 0)
}

/// Adds the arguments of a run to a command that is the program, or that starts it.
pub(crate) fn run(mut command: Command, inputs: &Path, out: &Path, api: &str, flags: &str) -> Command {
    command.arg("run").arg(inputs).arg("--out").arg(out).args(["--api", api, "--summary", "json"]);
    if !flags.contains("--date-from") {
        command.args(["--date-from", "2023-11-01"]);
    }
    if !flags.contains("--date-to") {
        command.args(["--date-to", "2024-02-29"]);
    }
    if !flags.contains("--rate") {
        command.args(["--rate", "20000/s"]);
    }
    command.args(flags.split_whitespace());
    command.env("AISA_API_KEY", "test").env_remove("RUST_LOG").env_remove("CI");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// `verify` on a run's directory, which must find no difference.
pub(crate) async fn verified(out: &Path) {
    let mut command = Command::new(BINARY);
    command.arg("verify").arg(out).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    ended(command, 0).await;
}

/// A process that is killed if the test gives up on it.
pub(crate) struct Running(Option<Child>);

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        Self(Some(command.spawn().expect("the program starts")))
    }

    fn child(&mut self) -> &mut Child {
        self.0.as_mut().expect("it was not waited for")
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&mut self, name: &str) {
        let id = self.child().id().to_string();
        let sent = Command::new("kill").args([format!("-{name}"), id]).status().expect("kill is there");
        assert!(sent.success(), "signal {name}");
    }

    /// Closes this end of standard output and standard error.
    pub(crate) fn hang_up(&mut self) {
        drop((self.child().stdout.take(), self.child().stderr.take()));
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child().try_wait().expect("it can be waited for").is_some()
    }

    /// Kills it after this time; an error with its output if it has already ended.
    pub(crate) async fn kill_after(mut self, life: Duration) -> Result<(), Output> {
        const LOOK: Duration = Duration::from_millis(10);
        let end = tokio::time::Instant::now() + life;
        while tokio::time::Instant::now() + LOOK < end && !self.has_ended() {
            tokio::time::sleep(LOOK).await;
        }
        if !self.has_ended() {
            tokio::time::sleep_until(end).await;
        }
        if self.has_ended() {
            return Err(self.output().await);
        }
        self.child().kill().expect("killed");
        let status: ExitStatus = self.child().wait().expect("waited for");
        // It may have ended at the last moment.
        if status.code().is_some() { Err(self.output().await) } else { Ok(()) }
    }

    /// Waits for its end.
    pub(crate) async fn output(mut self) -> Output {
        let child = self.0.take().expect("it was not waited for");
        let id = child.id();
        let waiting = tokio::task::spawn_blocking(move || child.wait_with_output());
        let Ok(output) = tokio::time::timeout(MAX_TIME, waiting).await else {
            let _ = Command::new("kill").args(["-KILL", &id.to_string()]).status();
            panic!("the program does not end")
        };
        output.expect("no panic").expect("it can be waited for")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Runs a command to the end.
pub(crate) async fn finished(command: Command) -> Output {
    Running::start(command).output().await
}

/// Runs a command to the end, which must have this exit code.
pub(crate) async fn ended(command: Command, code: i32) -> Output {
    let output = finished(command).await;
    assert_eq!(output.status.code(), Some(code), "{}\n{}", stderr(&output), String::from_utf8_lossy(&output.stdout));
    output
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The result on standard output.
pub(crate) fn summary(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", stderr(output)))
}

/// All Parquet files of a table, by their paths below it without the run's id, with their bytes.
pub(crate) fn table(out: &Path, table: &str) -> BTreeMap<String, Vec<u8>> {
    let part = |path: PathBuf| {
        let name = path.strip_prefix(out).expect("below it").display().to_string();
        let (folder, file) = name.rsplit_once("/part-").expect("a part");
        // `<date>-<random>` is the run's id; what follows is the number.
        let number = file.splitn(3, '-').nth(2).unwrap_or_default();
        (format!("{folder}/part-{number}"), fs::read(&path).expect("readable"))
    };
    files(&out.join(table)).into_iter().map(part).collect()
}

/// Every file below a folder, sorted.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Rows of Parquet bytes.
pub(crate) fn rows(bytes: &[u8]) -> Vec<RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::copy_from_slice(bytes)).expect("Parquet");
    reader.build().expect("a reader").map(|batch| batch.expect("rows")).collect()
}

/// The columns of a row of `targets` that tests check.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) outcome: String,
    pub(crate) rows: i64,
    pub(crate) possibly_billed: i64,
}

/// The table `targets` by target.
pub(crate) fn targets(out: &Path) -> BTreeMap<String, Listed> {
    let mut listed = BTreeMap::new();
    for bytes in table(out, "targets").values() {
        for batch in rows(bytes) {
            let text = |name: &str, row: usize| {
                batch.column_by_name(name).expect(name).as_string::<i32>().value(row).to_owned()
            };
            let number =
                |name: &str, row: usize| batch.column_by_name(name).expect(name).as_primitive::<Int64Type>().value(row);
            for row in 0..batch.num_rows() {
                let entry = Listed {
                    outcome: text("outcome", row),
                    rows: number("rows", row),
                    possibly_billed: number("possibly_billed", row),
                };
                assert!(listed.insert(text("target", row), entry).is_none(), "a target twice");
            }
        }
    }
    listed
}

/// Rows of `backlinks_history` by target.
pub(crate) fn history_rows(out: &Path) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::new();
    for bytes in table(out, "backlinks_history").values() {
        for batch in rows(bytes) {
            let names = batch.column_by_name("target").expect("a column");
            let names = arrow::compute::cast(names, &arrow::datatypes::DataType::Utf8).expect("text");
            let names = names.as_string::<i32>();
            (0..names.len()).for_each(|row| *counts.entry(names.value(row).to_owned()).or_default() += 1);
        }
    }
    counts
}

/// A number from the environment, for tests that can be made longer or repeated.
pub(crate) fn setting(name: &str, usual: u64) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a test's own knob")]
    let value = std::env::var(name);
    value.ok().map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// Random numbers from the seed `SEED`, else from one that is printed, so that a failure can be repeated.
pub(crate) fn rng() -> Rng {
    use std::hash::{BuildHasher, RandomState};
    let seed = setting("SEED", RandomState::new().hash_one(0) >> 16);
    print(&format!("SEED={seed}"));
    Rng::with_seed(seed)
}

/// A line in the test's output, which shows where a test fails.
#[expect(clippy::print_stdout, reason = "tests report what they met")]
pub(crate) fn print(line: &str) {
    println!("{line}");
}
