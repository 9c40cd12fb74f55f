//! Failing and full disks: no success is reported, no more calls are bought, and nothing is lost.
//!
//! `strace` injects failures into the real program; full disks are small file systems in memory. Both need root, which
//! continuous integration has. `tests/run` installs `strace`.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use backlinks_export::{
    ledger::Archive,
    sandbox::{Sandbox, Settings},
};

use super::program::{
    BINARY, Place, ended, files, finished, history_rows, instant, is_root, latency, print, run, sandbox, stderr,
    summary, targets,
};

/// Targets of a small run.
const TARGETS: usize = 6;
/// Calls in flight of a small run.
const IN_FLIGHT: usize = 2;
/// No small run makes this many calls of one kind in one thread.
const MAX_CALLS: u32 = 120;

/// Whether this machine allows fault injection. It is an error if root lacks the tool, so that no check is skipped
/// silently.
fn can_inject() -> bool {
    let tool = Command::new("strace").arg("-V").output().is_ok_and(|output| output.status.success());
    assert!(tool || !is_root(), "strace is missing: apt-get install strace");
    if !tool {
        print("skipped: no strace, and not root");
    }
    tool
}

/// The program under `strace`, which makes the `nth` call of one kind fail in each thread.
fn broken(place: &Place, api: &str, call: &str, when: &str, only: Option<&Path>) -> Command {
    run(failing(place, call, when, only), &place.inputs(), &place.out(), api, &format!("--concurrency {IN_FLIGHT}"))
}

/// The beginning of that command, without the arguments of the run.
fn failing(place: &Place, call: &str, when: &str, only: Option<&Path>) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-qq", "-o"]).arg(log(place));
    command.args(["-e", &format!("trace={call}"), "-e", &format!("inject={call}:{when}")]);
    if let Some(path) = only {
        command.arg("-P").arg(path);
    }
    command.arg(BINARY);
    command
}

fn log(place: &Place) -> PathBuf {
    place.root.path().join("strace.log")
}

/// The calls of one kind that failed, with their files, and how many further calls there were for each file.
fn injected(place: &Place) -> Vec<(String, usize)> {
    let log = fs::read_to_string(log(place)).expect("strace's log");
    let lines: Vec<&str> = log.lines().collect();
    let file =
        |line: &str| line.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(file, _)| file.to_owned());
    let failed = lines.iter().enumerate().filter(|(_, line)| line.contains("(INJECTED)"));
    failed
        .map(|(place, line)| {
            let about = file(line).unwrap_or_default();
            // Another thread may already have been inside its call: only calls that began later count.
            let again = lines[place + 1..].iter().filter(|later| file(later).as_ref() == Some(&about));
            let again = again.filter(|later| !later.contains("resumed>")).count();
            (about, again)
        })
        .collect()
}

/// Targets whose answers are in the ledger.
fn stored(place: &Place) -> BTreeSet<String> {
    let archive = Archive::read(&place.out()).expect("readable");
    archive.requested().filter(|(_, known)| known.state.is_final()).map(|(target, _)| target.to_string()).collect()
}

/// Checks after a failure: no success, a clear error, and the next run resumes without losing anything.
async fn check_failed_and_resumed(place: &Place, api: &Sandbox, output: &Output, case: &str) {
    assert_eq!(output.status.code(), Some(1), "{case}: {}", stderr(output));
    if !output.stdout.is_empty() {
        let json = summary(output);
        assert_eq!((&json["success"], &json["exit_code"]), (&false.into(), &1.into()), "{case}: no success is claimed");
        assert_eq!(answered(&json), stored(place).len() as u64, "{case}: stored answers are reported");
    }
    assert!(!place.is_complete(), "{case}");
    let words = stderr(output);
    let line = words.lines().find(|line| line.starts_with("error: ")).unwrap_or_else(|| panic!("{case}: {words}"));
    assert!(line.contains(&place.out().display().to_string()), "{case}: {line}");
    assert!(words.contains("hint: all paid answers are saved"), "{case}: {words}");
    let (stored, before) = (stored(place), api.bill());
    let output = ended(place.run(&api.url(), ""), 0).await;
    let after = api.bill();
    for target in &stored {
        assert_eq!(before.billed_targets[target], after.billed_targets[target], "{case}: {target} was stored");
    }
    let listed = targets(&place.out());
    let surplus = after.billed_calls - TARGETS as u64;
    assert!(surplus <= (2 * IN_FLIGHT) as u64, "{case}: {surplus} bought twice");
    let possibly: i64 = listed.values().map(|row| row.possibly_billed).sum();
    assert!(u64::try_from(possibly).expect("positive") >= surplus, "{case}: each is listed");
    assert_eq!(summary(&output)["possibly_billed"], possibly);
    assert_eq!(listed.len(), TARGETS);
    assert!(place.is_complete());
}

/// Targets with an answer, by a run's summary.
fn answered(summary: &serde_json::Value) -> u64 {
    summary["ok"].as_u64().unwrap_or(0) + summary["no_data"].as_u64().unwrap_or(0)
}

/// Makes the n-th call of a kind fail, for every n of a small run.
async fn each_fails(call: &str, error: &str, only: Option<&str>, again: bool) -> u32 {
    for nth in 1..MAX_CALLS {
        let (api, place) = (sandbox(instant()).await, Place::new(TARGETS));
        if again {
            ended(place.run(&api.url(), ""), 0).await;
            place.list(TARGETS - 1);
            fs::remove_file(place.out().join("_run.json")).expect("removed");
        }
        place.list(TARGETS);
        let only = only.map(|name| place.out().join(name));
        let command = broken(&place, &api.url(), call, &format!("error={error}:when={nth}"), only.as_deref());
        let output = finished(command).await;
        let failures = injected(&place);
        if failures.is_empty() {
            assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
            return nth - 1;
        }
        let case = format!("{call} {nth} {failures:?}");
        if call.ends_with("sync") {
            assert!(failures.iter().all(|(_, again)| *again == 0), "{case}: a failed sync is never tried again");
        }
        let calls = api.bill().calls;
        assert!(calls <= (TARGETS + IN_FLIGHT) as u64, "{case}");
        check_failed_and_resumed(&place, &api, &output, &case).await;
    }
    panic!("{call}: more than {MAX_CALLS} calls")
}

const LEDGER: &str = "_raw/ledger-0.jsonl.gz";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_at_any_sync_claims_no_success_and_loses_nothing() {
    if can_inject() {
        let (data, all) =
            (each_fails("fdatasync", "EIO", None, false).await, each_fails("fsync", "EIO", None, false).await);
        print(&format!("fdatasync: {data}, fsync: {all}"));
        assert!(data >= 5 && all >= 10, "{data} {all}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_at_any_write_claims_no_success_and_loses_nothing() {
    if can_inject() {
        let ledger = each_fails("write", "EIO", Some(LEDGER), false).await;
        let room = each_fails("fallocate", "EIO", None, false).await;
        print(&format!("write: {ledger}, fallocate: {room}"));
        assert!(ledger >= 5 && room >= 1, "{ledger} {room}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_at_any_rename_claims_no_success_and_loses_nothing() {
    if can_inject() {
        let moved = each_fails("rename", "EIO", None, false).await;
        let swapped = each_fails("renameat2", "EIO", None, true).await;
        print(&format!("rename: {moved}, renameat2: {swapped}"));
        assert!(moved >= 5 && swapped >= 2, "{moved} {swapped}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failed_sync_no_call_is_made() {
    if !can_inject() {
        return;
    }
    let settings = Settings { latency: latency(20, 40), ..Settings::default() };
    let (api, place) = (sandbox(settings).await, Place::new(60));
    let when = "error=EIO:when=8+";
    let command = broken(&place, &api.url(), "fdatasync", when, None);
    let running = tokio::spawn(finished(command));
    // The first failure shows in strace's log; from then on the number of calls does not change.
    let mut calls = None;
    while !running.is_finished() {
        let failed = fs::read_to_string(log(&place)).is_ok_and(|log| log.contains("(INJECTED)"));
        if failed && calls.is_none() {
            calls = Some(api.bill().calls);
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let output = running.await.expect("no panic");
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let calls = calls.unwrap_or_else(|| api.bill().calls);
    assert_eq!(api.bill().calls, calls, "no call after the failure");
    assert!(calls < 60, "{calls}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failure_to_stage_rows_no_call_is_made_and_nothing_is_lost() {
    const MANY: usize = 300;
    if !can_inject() {
        return;
    }
    let settings = Settings { latency: latency(20, 40), ..Settings::default() };
    let (api, place) = (sandbox(settings).await, Place::new(MANY));
    ended(full(&place, &api.url(), "--limit 1"), 5).await;
    let published = files(&place.out().join("backlinks_history"));
    let part = published[0].strip_prefix(place.out()).expect("below it").display().to_string();
    let (name, _) = part.rsplit_once('-').expect("a number");
    let staged = place.out().join(format!("_staging/{name}-0.unfinished"));
    let broken = failing(&place, "openat", "error=ENOSPC:when=1+", Some(&staged));
    let flags = "--concurrency 8 --date-from 2019-01-01";
    let output = finished(run(broken, &place.inputs(), &place.out(), &api.url(), flags)).await;
    let (words, bill) = (stderr(&output), api.bill());
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(words.contains("_staging") && words.contains("free some disk space"), "{words}");
    assert!(bill.calls < MANY as u64 / 2, "{} calls", bill.calls);
    assert_eq!(stored(&place).len() as u64, bill.billed_calls, "every paid answer is stored");
    ended(full(&place, &api.url(), ""), 0).await;
    assert_eq!(api.bill().billed_calls, MANY as u64, "nothing was bought twice");
}

/// A disk of this size in memory; removed at the end.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None`: this machine does not allow tests to mount anything.
    fn mount(at: &Path, size: &str) -> Option<Self> {
        fs::create_dir_all(at).expect("a directory");
        let options = format!("size={size}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at).output();
        let mounted = mounted.expect("mount is there");
        if !mounted.status.success() {
            // The only excuse is a container without permission to mount.
            let error = stderr(&mounted);
            assert!(!is_root() || error.contains("permission denied"), "{error}");
            print(&format!("skipped: {error}"));
            return None;
        }
        Some(Self(at.to_owned()))
    }

    fn grow(&self, size: &str) {
        let options = format!("remount,size={size}");
        let grown = Command::new("mount").args(["-o", &options]).arg(&self.0).status().expect("mount is there");
        assert!(grown.success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Full histories, so that answers have their usual size.
fn full(place: &Place, api: &str, flags: &str) -> Command {
    place.run(api, &format!("{flags} --date-from 2019-01-01"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_loses_no_paid_answer_and_the_run_resumes() {
    const MANY: usize = 400;
    let settings = Settings { latency: latency(5, 30), ..Settings::default() };
    let (api, place) = (sandbox(settings).await, Place::new(MANY));
    let Some(disk) = SmallDisk::mount(&place.out(), "3m") else { return };
    // 1 MiB is reserved for the answers of 8 calls in flight; answers fill the rest.
    let output = finished(full(&place, &api.url(), "--concurrency 8")).await;
    let words = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(words.contains("allocate space in") && words.contains("ledger-0.jsonl.gz"), "{words}");
    assert!(words.contains("free some disk space and run the same command again"), "{words}");
    let bill = api.bill();
    let stored = stored(&place);
    assert!(bill.billed_calls > 20 && bill.billed_calls < MANY as u64, "{}", bill.billed_calls);
    assert_eq!(stored.len() as u64, bill.billed_calls, "every paid answer is stored");
    let json = summary(&output);
    assert_eq!((answered(&json), &json["success"]), (bill.billed_calls, &false.into()), "{json}");
    assert!(json["error"].as_str().is_some_and(|error| error.contains("allocate space in")), "{json}");
    // As long as nothing changes, nothing is bought.
    ended(full(&place, &api.url(), "--concurrency 8"), 1).await;
    assert_eq!(api.bill().calls, bill.calls);
    disk.grow("64m");
    let output = ended(full(&place, &api.url(), "--concurrency 8"), 0).await;
    assert_eq!(api.bill().billed_calls, MANY as u64, "nothing was bought twice");
    assert_eq!(summary(&output)["possibly_billed"], 0);
    assert!(history_rows(&place.out()).len() > MANY / 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn space_for_the_calls_in_flight_is_reserved_before_the_first_one() {
    let (api, place) = (sandbox(instant()).await, Place::new(TARGETS));
    let Some(disk) = SmallDisk::mount(&place.out(), "1m") else { return };
    let output = ended(place.run(&api.url(), "--concurrency 30"), 1).await;
    assert!(stderr(&output).contains("free some disk space"), "{}", stderr(&output));
    assert_eq!(api.bill().calls, 0, "the disk was too small for the answers of 30 calls");
    disk.grow("16m");
    ended(place.run(&api.url(), "--concurrency 30"), 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_too_full_to_publish_keeps_everything_for_the_next_run() {
    let (api, place) = (sandbox(instant()).await, Place::new(300));
    let Some(disk) = SmallDisk::mount(&place.out(), "16m") else { return };
    let run = || place.run(&api.url(), "--compression none --concurrency 4");
    // Everything is fetched, the dataset is deleted, and then other data fills the disk.
    ended(place.run(&api.url(), "--concurrency 4"), 0).await;
    for table in ["backlinks_history", "targets"] {
        fs::remove_dir_all(place.out().join(table)).expect("removed");
    }
    fs::remove_file(place.out().join("_run.json")).expect("removed");
    let ballast = place.out().join("_raw/ballast");
    let mut size = 16_u64 << 20;
    while fs::write(&ballast, vec![1; usize::try_from(size).expect("small")]).is_err() && size > 4096 {
        size -= 4096 * 16;
    }
    let calls = api.bill().calls;
    let words = stderr(&ended(run(), 1).await);
    assert!(words.contains("free some disk space") && words.contains("_staging"), "{words}");
    fs::remove_file(ballast).expect("removed");
    disk.grow("32m");
    ended(run(), 0).await;
    assert_eq!(api.bill().calls, calls, "publishing is done again, not fetching");
}

/// A directory whose content is a lower layer of an overlay file system, like data in a container image.
struct Overlay(PathBuf);

impl Overlay {
    /// `None`: this machine does not allow tests to mount overlays.
    fn mount(disk: &Path, lower: &Path, at: &Path) -> Option<Self> {
        let [upper, work] = ["upper", "work"].map(|name| disk.join(name));
        for folder in [&upper, &work] {
            fs::create_dir_all(folder).expect("a directory");
        }
        let layers = [("lowerdir", lower), ("upperdir", &*upper), ("workdir", &*work)];
        let options: Vec<_> = layers.iter().map(|(name, path)| format!("{name}={}", path.display())).collect();
        let mounted =
            Command::new("mount").args(["-t", "overlay", "-o", &options.join(","), "overlay"]).arg(at).output();
        let mounted = mounted.expect("mount is there");
        if !mounted.status.success() {
            print(&format!("skipped: {}", stderr(&mounted)));
            return None;
        }
        Some(Self(at.to_owned()))
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_in_a_lower_layer_of_an_overlay_are_replaced() {
    let (api, place) = (sandbox(instant()).await, Place::new(TARGETS));
    ended(place.run(&api.url(), ""), 0).await;
    let before = history_rows(&place.out());
    let disk = place.root.path().join("layers");
    let Some(_disk) = SmallDisk::mount(&disk, "64m") else { return };
    let lower = disk.join("lower");
    let copied = Command::new("cp").arg("-a").arg(place.out()).arg(&lower).status().expect("cp is there");
    assert!(copied.success());
    let Some(_overlay) = Overlay::mount(&disk, &lower, &place.out()) else { return };
    let calls = api.bill().calls;
    ended(place.run(&api.url(), "--partition-by none"), 0).await;
    assert_eq!(api.bill().calls, calls, "nothing was bought again");
    assert_eq!(history_rows(&place.out()), before);
    assert!(place.is_complete() && !place.out().join("_staging").exists());
    assert!(lower.join("backlinks_history").exists(), "the lower layer stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hidden_files_and_lost_and_found_do_not_stop_a_run() {
    let (api, place) = (sandbox(instant()).await, Place::new(TARGETS));
    fs::create_dir_all(place.out().join("lost+found")).expect("a directory");
    for name in [".gitkeep", ".DS_Store"] {
        fs::write(place.out().join(name), "").expect("a file");
    }
    ended(place.run(&api.url(), ""), 0).await;
    assert!(place.out().join("lost+found").exists() && place.out().join(".gitkeep").exists());
}
