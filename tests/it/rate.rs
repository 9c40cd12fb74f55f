//! The rate as the server sees it: sliding windows over kills, resumes and a process that is stopped for seconds.

use std::time::Duration;

use backlinks_export::sandbox::Settings;
use tokio::time::{Instant, sleep};

use super::program::{Place, Running, instant, latency, sandbox, seed, told};

/// Calls a minute.
const RATE: usize = 240;
/// The test goes on for so long: more than a window, so that calls of early processes leave it again.
const SPAN: Duration = Duration::from_secs(75);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_minute_sees_more_than_the_rate_over_kills_and_stops_whatever_the_latency() {
    let settings = Settings { latency: latency(0, 5_000), ..instant() };
    let (api, place, mut draws) = (sandbox(settings).await, Place::new(3_000), seed());
    let (start, mut kills, mut stops) = (Instant::now(), 0, 0);
    while start.elapsed() < SPAN {
        let mut running = Running::start(place.run(&api.url(), &format!("--rate {RATE}/min --concurrency 30")));
        sleep(Duration::from_millis(draws.between(300, 2_000))).await;
        if draws.one_in(3) {
            stops += 1;
            running.signal("STOP");
            sleep(Duration::from_millis(draws.between(500, 3_000))).await;
            running.signal("CONT");
        }
        match running.kill_after(Duration::from_millis(draws.between(300, 3_000))).await {
            Ok(()) => kills += 1,
            Err(output) => panic!("{}", told(&output)),
        }
    }
    let bill = api.bill();
    println!("{kills} kills, {stops} stops, {} calls, {} in a minute", bill.calls, bill.most_calls_in_60_s);
    assert!(bill.most_calls_in_60_s <= RATE, "{} in a minute", bill.most_calls_in_60_s);
    assert!(bill.most_calls_in_60_s >= RATE / 2, "{} in a minute: it hardly called", bill.most_calls_in_60_s);
    assert!(bill.most_in_flight <= 30 * 2, "a killed client's calls go on for a while: {}", bill.most_in_flight);
    assert!(kills >= 10, "{kills} kills");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_in_flight_never_pass_their_limit_during_retries_and_at_the_end() {
    let faults = backlinks_export::sandbox::Faults {
        fail_503: "0.2".parse().expect("a share"),
        fail_drip: "0.1".parse().expect("a share"),
        drip_time: Duration::from_millis(300),
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
    super::program::ended(place.run(&api.url(), "--concurrency 12"), 0).await;
    assert_eq!(api.bill().most_in_flight, 12);
    assert_eq!(api.bill().billed_calls, 400);
}
