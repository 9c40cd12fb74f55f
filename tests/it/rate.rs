//! The rate as the server sees it: sliding windows across kills, resumes and a process that is suspended for seconds.

use std::time::Duration;

use backlinks_export::{
    clock::{BootId, Clock},
    sandbox::{Faults, Settings},
};
use fastrand::Rng;
use jiff::SignedDuration;
use tokio::time::{Instant, sleep};

use super::{
    market::{Market, Terms, clock, limits, live, most_in_a_minute},
    program::{Place, Running, ended, instant, latency, list, print, quick_folder, rng, sandbox, stderr},
};

/// Calls per minute: so few that without the window, the burst at each start would exceed it.
const RATE: usize = 60;
/// How long the test takes: more than a window, so that calls of early processes leave it.
const SPAN: Duration = Duration::from_secs(75);

/// Kills a run repeatedly and suspends it now and then; returns the maximum number of calls in any minute.
async fn most_in_a_minute_over_kills(longest_latency: u64, lives: (u64, u64), mut rng: Rng) -> usize {
    let settings = Settings { latency: latency(0, longest_latency), ..instant() };
    let (api, place) = (sandbox(settings).await, Place::new(3_000));
    let (start, mut kills, mut stops) = (Instant::now(), 0, 0);
    while start.elapsed() < SPAN {
        let mut running = Running::start(place.run(&api.url(), &format!("--rate {RATE}/min --concurrency 30")));
        if rng.u64(..6) == 0 {
            stops += 1;
            sleep(Duration::from_millis(rng.u64(lives.0..=lives.1))).await;
            running.signal("STOP");
            sleep(Duration::from_millis(rng.u64(500..=3_000))).await;
            running.signal("CONT");
        }
        match running.kill_after(Duration::from_millis(rng.u64(lives.0..=lives.1))).await {
            Ok(()) => kills += 1,
            Err(output) => panic!("{}", stderr(&output)),
        }
    }
    let bill = api.bill();
    let most = bill.most_calls_in_60_s;
    print(&format!(
        "up to {longest_latency} ms: {kills} kills, {stops} stops, {} calls, {most} in a minute",
        bill.calls
    ));
    assert!(most <= RATE, "{most} in a minute");
    assert!(kills >= 10, "{kills} kills");
    most
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_minute_has_more_calls_than_the_rate_across_kills_and_suspensions() {
    let rng = rng();
    let (quick, _) = tokio::join!(
        most_in_a_minute_over_kills(40, (600, 1_500), rng.clone()),
        most_in_a_minute_over_kills(5_000, (1_000, 6_000), rng)
    );
    assert!(quick * 10 >= RATE * 9, "{quick} in a minute: it hardly called");
}

/// Two processes, between which the wall clock is set by this many minutes, on the same boot or another.
async fn most_in_a_minute_over_a_set_clock(minutes: i64, same_boot: bool) -> usize {
    let folder = quick_folder();
    let (dir, file) = (folder.path().join("out"), folder.path().join("domains.txt"));
    list(&file, 1_200);
    let market = Market::new(Terms { latency: 200, ..Terms::steady(1) }, Rng::with_seed(3));
    let (wall, up, start) = (clock().now(), Duration::from_secs(1_000), Instant::now());
    let first = Clock::at(wall).with_boot(BootId(1), up);
    live((&dir, &file), &market, limits(600, 30), first, Some(Duration::from_secs(30))).await.expect("sound");
    let set = wall + SignedDuration::from_mins(minutes) + SignedDuration::from_secs(30);
    let boot = if same_boot { BootId(1) } else { BootId(2) };
    let second = Clock::at(set).with_boot(boot, up + start.elapsed());
    live((&dir, &file), &market, limits(600, 30), second, Some(Duration::from_secs(50))).await.expect("sound");
    most_in_a_minute(&market.books.lock().expect("sound").arrivals)
}

#[tokio::test(start_paused = true)]
async fn setting_the_wall_clock_between_two_processes_does_not_move_the_window() {
    for minutes in [-90, -60, -1, 0, 1, 60, 90] {
        let most = most_in_a_minute_over_a_set_clock(minutes, true).await;
        assert!((560..=600).contains(&most), "set by {minutes} min: {most} in a minute");
    }
    for minutes in [-60, -1, 0, 1, 59] {
        let most = most_in_a_minute_over_a_set_clock(minutes, false).await;
        assert!(most <= 600, "another boot, set by {minutes} min: {most} in a minute");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_in_flight_never_exceed_their_limit() {
    let faults = Faults {
        fail_503: "0.2".parse().expect("a share"),
        fail_drip: "0.1".parse().expect("a share"),
        drip_time: Some(Duration::from_millis(300)),
        fail_attempts: Some(2),
        ..Default::default()
    };
    let settings = Settings { latency: latency(0, 60), faults, ..instant() };
    let (api, place) = (sandbox(settings).await, Place::new(400));
    let mut running = Running::start(place.run(&api.url(), "--concurrency 12"));
    while api.bill().billed_calls < 300 {
        sleep(Duration::from_millis(20)).await;
    }
    running.signal("TERM");
    assert_eq!(running.output().await.status.code(), Some(143));
    ended(place.run(&api.url(), "--concurrency 12"), 0).await;
    assert_eq!(api.bill().most_in_flight, 12);
    assert_eq!(api.bill().billed_calls, 400);
}
