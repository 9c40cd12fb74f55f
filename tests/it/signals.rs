//! Signals and closed pipes, with the real program: it stops at once, saves what is in flight, and prints how to resume.

use std::time::Duration;

use backlinks_export::{
    ledger::{Archive, Lock},
    sandbox::{Faults, Sandbox, Settings},
};
use tokio::time::{Instant, sleep, timeout};

use super::program::{Place, Running, ended, instant, latency, sandbox, stderr, summary, targets};

/// More than can be fetched before the signal.
const TARGETS: usize = 2_000;
/// A call that was sent when the signal came may still arrive within this time.
const ON_THE_WAY: Duration = Duration::from_millis(100);

/// Waits until the API has received this many calls.
async fn calls(api: &Sandbox, least: u64) {
    let waiting = async {
        while api.bill().calls < least {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_mins(1), waiting).await.expect("calls");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_stops_the_calls_at_once_and_keeps_those_in_flight() {
    for (name, code) in [("TERM", 143), ("INT", 130)] {
        let settings = Settings { latency: latency(400, 600), ..instant() };
        let (api, place) = (sandbox(settings).await, Place::new(TARGETS));
        let mut running = Running::start(place.run(&api.url(), "--concurrency 20"));
        calls(&api, 60).await;
        running.signal(name);
        sleep(ON_THE_WAY).await;
        let at_once = api.bill().calls;
        let output = running.output().await;
        let bill = api.bill();
        assert_eq!(bill.calls, at_once, "SIG{name}: no call after the signal");
        assert_eq!(output.status.code(), Some(code));
        let words = stderr(&output);
        assert!(words.contains(&format!("interrupted by SIG{name}")), "{words}");
        assert!(words.contains("run the same command again to resume"), "{words}");
        assert_eq!(summary(&output)["possibly_billed"], 0, "every answer in flight is kept");
        let archive = Archive::read(&place.out()).expect("readable");
        let stored = archive.requested().filter(|(_, known)| known.state.is_final()).count();
        assert_eq!(stored as u64, bill.billed_calls, "SIG{name}");
        assert_eq!(bill.billed_lost, 0);
        assert!(bill.most_in_flight <= 20, "{}", bill.most_in_flight);
        for folder in ["backlinks_history", "_staging"] {
            assert!(!place.out().join(folder).exists(), "nothing is published, and nothing left behind: {folder}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_the_program_and_calls_in_flight_are_listed() {
    let settings = Settings { latency: latency(20_000, 20_000), ..instant() };
    let (api, place) = (sandbox(settings).await, Place::new(20));
    let mut running = Running::start(place.run(&api.url(), "--concurrency 4"));
    calls(&api, 1).await;
    running.signal("INT");
    sleep(Duration::from_millis(300)).await;
    assert!(!running.has_ended(), "the call in flight is paid for, so it is waited for");
    running.signal("TERM");
    let start = Instant::now();
    let output = running.output().await;
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(output.status.code(), Some(143));
    assert!(stderr(&output).contains("run the same command again to resume"), "{}", stderr(&output));
    let next = sandbox(instant()).await;
    let output = ended(place.run(&next.url(), ""), 0).await;
    assert_eq!(summary(&output)["possibly_billed"], 1);
    assert_eq!(targets(&place.out()).values().map(|row| row.possibly_billed).sum::<i64>(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closed_output_pipes_do_not_stop_a_run() {
    for flags in ["-vv --progress plain", "-vv --progress json --log-format json", "--progress bar"] {
        let settings = Settings { latency: latency(10, 20), ..instant() };
        let (api, place) = (sandbox(settings).await, Place::new(100));
        let mut running = Running::start(place.run(&api.url(), &format!("{flags} --concurrency 8")));
        running.hang_up();
        let output = running.output().await;
        assert_eq!(output.status.code(), Some(0), "{flags}");
        assert_eq!(api.bill().billed_calls, 100, "{flags}");
        assert!(place.is_complete(), "{flags}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_ended_by_an_outage_can_be_resumed() {
    let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let closed = format!("http://{}/apis/v1", port.local_addr().expect("an address"));
    drop(port);
    let faults = Faults { fail_503: "1".parse().expect("a share"), ..Faults::default() };
    let settings = Settings { faults, ..instant() };
    let place = Place::new(100);
    for api in [None, Some(sandbox(settings).await)] {
        let url = api.as_ref().map_or_else(|| closed.clone(), Sandbox::url);
        let start = Instant::now();
        let output = ended(place.run(&url, "--max-outage 2s --concurrency 5"), 4).await;
        assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
        let words = stderr(&output);
        let reason = if api.is_some() { "the API has been down for too long" } else { "the API cannot be reached" };
        assert!(words.contains(reason) && words.contains("run the same command again"), "{words}");
        assert!(!place.is_complete());
        assert!(api.is_none_or(|api| api.bill().calls < 60 && api.bill().billed_calls == 0));
    }
    let api = sandbox(instant()).await;
    let output = ended(place.run(&api.url(), ""), 0).await;
    assert_eq!(summary(&output)["possibly_billed"], 0, "what was refused was not billed");
    assert_eq!(api.bill().billed_calls, 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspended_process_keeps_the_answers_that_arrived_during_the_pause() {
    let settings = Settings { latency: latency(700, 700), ..instant() };
    let (api, place) = (sandbox(settings).await, Place::new(40));
    let mut running = Running::start(place.run(&api.url(), "--concurrency 10 --timeout 1500ms"));
    calls(&api, 15).await;
    running.signal("STOP");
    sleep(Duration::from_secs(4)).await;
    running.signal("CONT");
    let output = running.output().await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(summary(&output)["possibly_billed"], 0);
    assert_eq!(api.bill().billed_calls, 40, "nothing was bought twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_while_waiting_for_standard_input_or_the_lock_ends_the_program_at_once() {
    use std::process::{Command, Stdio};
    let place = Place::new(1);
    let lock = Lock::take(&place.out()).expect("free");
    let list = place.out().with_file_name("waiting.txt");
    std::fs::write(&list, "a.com\n").expect("written");
    for (name, code) in [("TERM", 143), ("INT", 130)] {
        for input in ["-".to_owned(), list.display().to_string()] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_backlinks-export"));
            command.args(["run", &input, "--sandbox", "--progress", "none", "--out"]).arg(place.out());
            let mut waiting = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
            // By then it listens for signals; it only gives up waiting for the lock later.
            sleep(Duration::from_millis(300)).await;
            let killed = Command::new("kill").arg(format!("-{name}")).arg(waiting.id().to_string()).status();
            assert!(killed.expect("kill runs").success());
            let ended = async {
                loop {
                    if let Some(status) = waiting.try_wait().expect("a child") {
                        return status;
                    }
                    sleep(Duration::from_millis(10)).await;
                }
            };
            let status = timeout(Duration::from_secs(20), ended).await.expect("the program ends");
            assert_eq!(status.code(), Some(code), "SIG{name} with {input}");
        }
    }
    drop(lock);
}
