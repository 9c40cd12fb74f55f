//! The program killed while it refreshes and while it reuses answers: nothing is bought twice, nothing is lost.

use std::{collections::BTreeMap, fs, process::Command, time::Duration};

use backlinks_export::{ledger::Archive, sandbox::Settings};

use super::age;
use crate::program::{
    BINARY, Place, Running, ended, instant, latency, list, print, rng, run, sandbox, setting, stderr, summary, verified,
};

/// Kills of each test unless `KILLS` is set.
const KILLS: u64 = 25;
const IN_FLIGHT: u64 = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_refresh_resumes_and_buys_nothing_twice() {
    const TARGETS: usize = 80;
    let (mut rng, mut kills, wanted) = (rng(), 0, setting("KILLS", KILLS));
    while kills < wanted {
        let (api, place) = (sandbox(Settings { latency: latency(5, 30), ..instant() }).await, Place::new(TARGETS));
        let flags = format!("--concurrency {IN_FLIGHT}");
        ended(place.run(&api.url(), &flags), 0).await;
        age(&place.out(), 40);
        let flags = format!("{flags} --max-age 30d");
        let (mut refreshed, mut here) = (BTreeMap::new(), 0);
        while here < 6 {
            let life = Duration::from_millis(rng.u64(..300));
            match Running::start(place.run(&api.url(), &flags)).kill_after(life).await {
                Ok(()) => here += 1,
                Err(output) => {
                    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
                    break;
                }
            }
            while api.bill().in_flight > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let archive = Archive::read(&place.out()).expect("sound but for its end");
            assert_eq!(
                archive.requested().filter(|(_, known)| known.state.is_final()).count(),
                TARGETS,
                "none is lost"
            );
            let spending = archive.spending();
            let bill = api.bill();
            for (target, known) in archive.requested() {
                // It was refreshed and must never be billed again.
                if known.at().is_some_and(|at| at.as_second() > bill_begins(&archive)) {
                    refreshed.entry(target.to_string()).or_insert(bill.billed_targets[target.as_str()]);
                }
            }
            assert!(spending.refreshed <= TARGETS as u64);
        }
        kills += here;
        let output = ended(place.run(&api.url(), &flags), 0).await;
        let (json, bill) = (summary(&output), api.bill());
        assert_eq!([&json["refreshed"], &json["stale"]], [TARGETS, 0]);
        for (target, times) in &refreshed {
            assert_eq!(bill.billed_targets[target], *times, "{target} was refreshed and is billed again");
        }
        let surplus = bill.billed_calls - 2 * TARGETS as u64;
        assert!(surplus <= here * IN_FLIGHT, "{surplus} surplus bills in {here} kills");
        assert!(json["possibly_billed"].as_u64().expect("a number") >= surplus);
        verified(&place.out()).await;
        ended(place.run(&api.url(), &flags), 0).await;
        assert_eq!(api.bill().calls, bill.calls, "all are young");
    }
}

/// A time between the backdated answers and the refreshed ones, in seconds.
fn bill_begins(archive: &Archive) -> i64 {
    archive.run().expect("a run").started_at.as_second() + 20 * 24 * 3600
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_reuse_of_answers_resumes_and_copies_each_answer_once() {
    const EARLIER: usize = 1_500;
    const MORE: usize = 20;
    /// The approximate size of the input lines, in bytes.
    const LINES: u64 = 8_000;
    let (mut rng, mut kills, wanted) = (rng(), 0, setting("KILLS", KILLS));
    let (api, place) = (sandbox(instant()).await, Place::new(EARLIER));
    ended(place.run(&api.url(), ""), 0).await;
    let ledger = place.out().join("_raw/ledger-0.jsonl.gz");
    let bytes = fs::read(&ledger).expect("readable");
    let inputs = place.root.path().join("more.txt");
    list(&inputs, EARLIER + MORE);
    let previous = format!("--concurrency {IN_FLIGHT} --previous {}", place.out().display());
    let (mut number, mut midway) = (0, 0);
    let mut calls = api.bill().calls;
    while kills < wanted {
        number += 1;
        let out = place.root.path().join(format!("out-{number}"));
        let start = || Running::start(run(Command::new(BINARY), &inputs, &out, &api.url(), &previous));
        let mut here = 0;
        while here < 5 {
            let length = || fs::metadata(out.join("_raw/ledger-0.jsonl.gz")).map_or(0, |metadata| metadata.len());
            let (mut running, before) = (start(), length());
            // Most kills fall within the intended time, which begins when the ledger grows.
            while rng.u64(..100) != 0 && length() <= before + LINES && !running.has_ended() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            match running.kill_after(Duration::from_millis(rng.u64(..25))).await {
                Ok(()) => here += 1,
                Err(output) => {
                    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
                    break;
                }
            }
            let taken = Archive::read(&out).expect("sound but for its end").spending().taken_over;
            midway += u64::from(taken > 0 && taken < EARLIER as u64);
        }
        kills += here;
        let output = start().output().await;
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let json = summary(&output);
        let [taken_over, ok, no_data] =
            ["taken_over", "ok", "no_data"].map(|key| json[key].as_u64().expect("a number"));
        assert_eq!((taken_over, ok + no_data), (EARLIER as u64, (EARLIER + MORE) as u64));
        let bought = api.bill().calls - calls;
        calls += bought;
        assert!((MORE as u64..=MORE as u64 + here * IN_FLIGHT).contains(&bought), "{bought} calls in {here} kills");
        verified(&out).await;
        assert!(fs::read(&ledger).expect("readable") == bytes, "the earlier ledger is only read");
    }
    print(&format!("kills: {kills}, {midway} of them midway"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_stops_the_reuse_of_answers_and_the_counts_are_right() {
    const EARLIER: usize = 1_500;
    let (mut rng, mut midway) = (rng(), 0);
    let (api, place) = (sandbox(instant()).await, Place::new(EARLIER));
    ended(place.run(&api.url(), ""), 0).await;
    let calls = api.bill().calls;
    let previous = format!("--previous {}", place.out().display());
    for number in 0..8 {
        let out = place.root.path().join(format!("out-{number}"));
        let start = || Running::start(run(Command::new(BINARY), &place.inputs(), &out, &api.url(), &previous));
        let mut first = start();
        tokio::time::sleep(Duration::from_millis(rng.u64(20..=200))).await;
        if first.has_ended() {
            continue;
        }
        first.signal("INT");
        let output = first.output().await;
        let taken = Archive::read(&out).expect("sound").spending().taken_over;
        match output.status.code() {
            Some(130) if !output.stdout.is_empty() => assert_eq!(summary(&output)["taken_over"], taken),
            // Before the first answer, or while the dataset was published.
            Some(130 | 0) | None => {}
            _ => panic!("{}", stderr(&output)),
        }
        midway += u64::from(taken > 0 && taken < EARLIER as u64);
        let output = start().output().await;
        assert_eq!((output.status.code(), &summary(&output)["taken_over"]), (Some(0), &EARLIER.into()));
        verified(&out).await;
    }
    print(&format!("{midway} signals midway"));
    assert_eq!(api.bill().calls, calls);
}
