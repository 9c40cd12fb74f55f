//! The program killed at any moment, hundreds of times: nothing is lost, and no stored answer is bought again.
//!
//! `KILLS=1000 cargo test killed` kills more often, `SEED=…` repeats a run.

use std::{collections::BTreeMap, fs, path::Path, process::Command, time::Duration};

use backlinks_export::{
    ledger::Archive,
    sandbox::{Faults, Sandbox, Settings},
};
use fastrand::Rng;

use super::program::{
    BINARY, Place, Running, ended, finished, history_rows, instant, latency, print, rng, sandbox, setting, stderr,
    summary, table, targets, verified,
};

/// Kills in the whole test unless `KILLS` is set.
const KILLS: u64 = 200;
/// Targets of one directory.
const TARGETS: usize = 60;
/// Maximum kills of one directory before it may finish.
const KILLS_EACH: u64 = 20;
/// Kills among them after the last call.
const LATE_KILLS_EACH: usize = 4;
/// Calls in flight.
const IN_FLIGHT: u64 = 8;

/// Each target with a stored answer, and how often it was billed up to then.
type Stored = BTreeMap<String, u64>;

/// What the program was doing when it was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Starting,
    Calling,
    Publishing,
    Around,
}

fn later(phases: &[Phase]) -> usize {
    phases.iter().filter(|phase| matches!(phase, Phase::Publishing | Phase::Around)).count()
}

/// Reads the ledger after a kill: the stored answers must never be billed again.
fn note_stored(place: &Place, api: &Sandbox, stored: &mut Stored) -> Phase {
    let archive = Archive::read(&place.out()).unwrap_or_else(|error| panic!("after a kill: {error}"));
    let billed = api.bill().billed_targets;
    for (target, known) in archive.requested() {
        if known.state.is_final() {
            let times = billed.get(target.as_str()).copied().unwrap_or(0);
            stored.entry(target.to_string()).or_insert(times);
        }
    }
    match (stored.len(), place.out().join("_staging").exists()) {
        (0, _) => Phase::Starting,
        (TARGETS, true) => Phase::Publishing,
        (TARGETS, false) => Phase::Around,
        _ => Phase::Calling,
    }
}

/// Waits until the API has noticed the end of a killed client's calls.
async fn settled(api: &Sandbox) {
    let mut before = None;
    loop {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let bill = api.bill();
        if bill.in_flight == 0 && before == Some(bill.calls) {
            return;
        }
        before = Some(bill.calls);
    }
}

/// How many milliseconds a run on a finished directory takes to start, and to publish again: an old table is kept for a
/// moment, for its readers.
const A_START: u64 = 20;
const A_PUBLICATION: u64 = 600;

/// Kills runs in one directory repeatedly, then lets one finish. Returns what each was doing when it was killed.
async fn killed_and_resumed(settings: Settings, flags: &str, rng: &mut Rng, most: u64) -> Vec<Phase> {
    let (api, place) = (sandbox(settings).await, Place::new(TARGETS));
    let flags = format!("{flags} --concurrency {IN_FLIGHT}");
    let (mut phases, mut stored, mut longest) = (Vec::new(), Stored::new(), 250);
    let allowed = rng.u64(1..=KILLS_EACH).min(most);
    while (phases.len() as u64) < allowed && later(&phases) < LATE_KILLS_EACH {
        let life = Duration::from_millis(rng.u64(..longest));
        match Running::start(place.run(&api.url(), &flags)).kill_after(life).await {
            Ok(()) => {
                settled(&api).await;
                phases.push(note_stored(&place, &api, &mut stored));
                if longest == A_START {
                    longest = A_PUBLICATION;
                }
            }
            Err(output) if output.status.code() == Some(0) => {
                // All answers are stored: only starts and publications can still be killed.
                let _ = fs::remove_file(place.out().join("_run.json"));
                longest = A_START;
            }
            Err(output) => panic!("{}", stderr(&output)),
        }
    }
    let output = ended(place.run(&api.url(), &flags), 0).await;
    judge(&place, &api, &summary(&output), &stored, phases.len() as u64);
    let bill = api.bill();
    ended(place.run(&api.url(), &flags), 0).await;
    assert_eq!(api.bill().calls, bill.calls, "a finished directory makes no call");
    verified(&place.out()).await;
    check_same_as_unbroken(&place, &flags).await;
    check_same_as_replay(&place, &flags).await;
    phases
}

fn judge(place: &Place, api: &Sandbox, summary: &serde_json::Value, stored: &Stored, kills: u64) {
    let bill = api.bill();
    for (target, times) in stored {
        assert_eq!(bill.billed_targets[target], *times, "{target} was stored and is billed again");
    }
    let listed = targets(&place.out());
    assert_eq!(listed.len(), TARGETS);
    for (target, times) in &bill.billed_targets {
        let surplus = i64::try_from(times - 1).expect("small");
        assert!(listed[target].possibly_billed >= surplus, "{target}: {times} bills, {:?}", listed[target]);
    }
    let surplus = bill.billed_calls - TARGETS as u64;
    let listed_surplus: i64 = listed.values().map(|row| row.possibly_billed).sum();
    assert!(surplus <= kills * IN_FLIGHT, "{surplus} surplus bills in {kills} kills");
    assert_eq!(summary["possibly_billed"], listed_surplus);
    assert!(u64::try_from(listed_surplus).expect("positive") <= kills * IN_FLIGHT);
    let rows = history_rows(&place.out());
    for (target, row) in &listed {
        assert!(row.outcome == "ok" && row.rows > 0 || row.outcome == "no_data", "{target}: {row:?}");
        assert_eq!(rows.get(target).copied().unwrap_or(0), row.rows, "{target} is in the dataset once");
    }
    assert!(place.is_complete() && !place.out().join("_staging").exists());
}

/// The dataset equals, byte for byte, that of a run that was not killed.
async fn check_same_as_unbroken(place: &Place, flags: &str) {
    let (api, unbroken) = (sandbox(instant()).await, Place::new(TARGETS));
    ended(unbroken.run(&api.url(), flags), 0).await;
    let [one, other] = [place, &unbroken].map(|place| table(&place.out(), "backlinks_history"));
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    assert!(one == other, "the bytes differ");
}

fn replay(place: &Place, other: &Path, flags: &str) -> Command {
    let mut command = Command::new(BINARY);
    command.arg("replay").arg(place.out()).arg("--out").arg(other).args(flags.split_whitespace());
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
    command
}

/// What was published equals, byte for byte, what a replay of its ledger publishes.
async fn check_same_as_replay(place: &Place, flags: &str) {
    let other = place.root.path().join("replayed");
    let layout: Vec<&str> = flags.split_whitespace().take_while(|flag| *flag != "--concurrency").collect();
    ended(replay(place, &other, &layout.join(" ")), 0).await;
    for name in ["backlinks_history", "targets"] {
        assert!(table(&place.out(), name) == table(&other, name), "the bytes of {name} differ");
    }
    for name in ["_failures.csv", "_rejected.csv"] {
        let [one, replayed] = [place.out(), other.clone()].map(|dir| fs::read(dir.join(name)).expect("a file"));
        assert!(one == replayed, "the bytes of {name} differ");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_killed_at_any_moment_loses_nothing_and_buys_no_stored_answer_again() {
    let (mut rng, wanted, mut phases) = (rng(), setting("KILLS", KILLS), BTreeMap::<_, u64>::new());
    let stumbling = || Settings {
        faults: Faults { fail_503: "0.05".parse().expect("a share"), fail_attempts: Some(1), ..Faults::default() },
        ..instant()
    };
    loop {
        let left = wanted.saturating_sub(phases.values().sum());
        if left == 0 {
            break;
        }
        let settings = match rng.u64(..3) {
            0 => instant(),
            1 => Settings { latency: latency(20, 80), ..instant() },
            _ => Settings { latency: latency(10, 40), ..stumbling() },
        };
        let flags = ["", "--partition-by year,month", "--partition-by none --compression none"];
        let flags = flags[rng.usize(..3)];
        for phase in killed_and_resumed(settings, flags, &mut rng, left).await {
            *phases.entry(phase).or_default() += 1;
        }
    }
    print(&format!("kills: {phases:?}"));
    assert!(wanted < KILLS || phases.len() == 4, "every phase was met: {phases:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_replay_can_be_repeated() {
    let (api, place, mut rng) = (sandbox(instant()).await, Place::new(TARGETS), rng());
    ended(place.run(&api.url(), ""), 0).await;
    let other = place.root.path().join("other");
    let replay = |flags: &str| replay(&place, &other, flags);
    // Kills fall within the time that the last complete replay took, since the load of the machine varies.
    let took = |start: tokio::time::Instant| u64::try_from(start.elapsed().as_millis()).expect("short").max(2);
    let start = tokio::time::Instant::now();
    ended(replay(""), 0).await;
    let mut usual = took(start);
    fs::remove_dir_all(&other).expect("removed");
    let mut kills = 0;
    for round in 0..30 {
        let flags = if round % 2 == 0 { "--partition-by none" } else { "" };
        let start = tokio::time::Instant::now();
        match Running::start(replay(flags)).kill_after(Duration::from_millis(rng.u64(..usual))).await {
            Ok(()) => kills += 1,
            Err(output) => {
                assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
                usual = took(start);
            }
        }
    }
    assert!(kills > 5, "{kills} kills");
    let output = finished(replay("")).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(table(&other, "backlinks_history") == table(&place.out(), "backlinks_history"), "the bytes differ");
}
