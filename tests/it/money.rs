//! The spending cap: regardless of prices, answers and killed processes, the API's bill stays within it.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use backlinks_export::{
    fetch::{FetchEnd, FetchLimits, StopReason},
    ledger::Archive,
    money::Usd,
    sandbox::{Faults, Price, Settings, faults::Probability},
};
use fastrand::Rng;

use super::{
    market::{Market, Terms, clock, limits, live},
    program::{Place, ended, instant, latency, list, quick_folder, rng, sandbox, setting, stderr, summary, verified},
};

/// Simulated runs, each with several processes.
const RUNS: u64 = 1_000;

/// Lists this many targets in a folder.
fn listed(folder: &Path, targets: usize) -> PathBuf {
    let file = folder.join("domains.txt");
    list(&file, targets);
    file
}

/// As fast as possible, within this cap in millionths of a dollar.
fn capped(cap: i64, in_flight: u32) -> FetchLimits {
    FetchLimits { max_cost: Some(Usd::from_micros(cap)), ..limits(60_000, in_flight) }
}

/// One directory with a cap, several processes that are killed, and a last one that is not.
async fn simulated(rng: &mut Rng) {
    let folder = quick_folder();
    let (dir, targets) = (folder.path().join("out"), rng.u8(3..=40));
    let file = listed(folder.path(), targets.into());
    let price = rng.i64(24_000..=90_000);
    let honors = rng.u64(..4) != 0;
    // No cap can hold if the API ignores the limit and raises its prices while it loses answers.
    let terms = Terms {
        honors,
        price,
        rises_after: (rng.u64(..3) == 0).then(|| (rng.u64(1..=30), rng.i64(2..=10))),
        wanders: honors && rng.u64(..2) == 0,
        busy: [0, 10][rng.usize(..2)],
        lost: if honors { [0, 5, 20][rng.usize(..3)] } else { 0 },
        silent: if honors { [0, 5, 20][rng.usize(..3)] } else { 0 },
        latency: 300,
    };
    let cap = price + rng.i64(0..price * i64::from(targets));
    let market = Market::new(terms.clone(), rng.fork());
    let limits = capped(cap, rng.u32(1..=30));
    let spent = || market.books.lock().expect("sound").spent;
    let kills = if honors { rng.u64(..4) } else { 0 };
    for _ in 0..kills {
        let life = Duration::from_millis(rng.u64(..1_500));
        live((&dir, &file), &market, limits.clone(), clock(), Some(life)).await.expect("sound");
        assert!(spent() <= cap, "{} of {cap}: {terms:?}", spent());
    }
    let ended = live((&dir, &file), &market, limits, clock(), None).await.expect("sound").expect("not killed").0;
    let books = market.books.lock().expect("sound");
    // Only the last call can exceed it, if the API ignores the limit and raises its price at that moment.
    let unforeseen = terms.rises_after.filter(|_| !honors).map_or(0, |(_, times)| (times - 1) * price);
    assert!(books.spent <= cap + unforeseen, "{} of {cap}: {terms:?}", books.spent);
    assert_eq!(books.unlimited, 0, "every call has a maximum price");
    if ended == FetchEnd::Stopped(StopReason::Budget) {
        let left =
            Usd::from_micros(cap).minus(Archive::read(&dir).expect("readable").resume_state(clock().now()).spent);
        // A call without a reported debit counts as twice its upstream price, which is two thirds of the debit here.
        let counted = if terms.silent > 0 { books.highest * 4 / 3 + 1 } else { books.highest };
        assert!(left.micros() < counted, "{left} left, at a price of {}: {terms:?}", books.highest);
    } else {
        assert_eq!(ended, FetchEnd::Done, "{terms:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_bill_exceeds_its_cap_in_a_thousand_runs() {
    let mut rng = rng();
    for _ in 0..setting("RUNS", RUNS) {
        simulated(&mut rng).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_price_that_rises_tenfold_with_thirty_in_flight_does_not_break_the_cap() {
    for (honors, times) in [(true, 3), (false, 3), (true, 10), (false, 10)] {
        let market = capped_at_a_jump(honors, times, 30).await;
        let books = market.books.lock().expect("sound");
        let left = JUMP_CAP - books.spent;
        assert!((0..times * JUMP_PRICE).contains(&left), "{} of {JUMP_CAP}, {times} times", books.spent);
    }
}

/// In millionths of a dollar: the price of a call before it jumps, and the cap of the run.
const JUMP_PRICE: i64 = 30_000;
const JUMP_CAP: i64 = 12_000_000;

/// What a run with a cap pays if the price becomes `times` as high after twenty calls.
async fn capped_at_a_jump(honors: bool, times: i64, in_flight: u32) -> Market {
    let folder = quick_folder();
    let (dir, file) = (folder.path().join("out"), listed(folder.path(), 200));
    let terms = Terms { honors, rises_after: Some((20, times)), ..Terms::steady(JUMP_PRICE) };
    let market = Market::new(terms, Rng::with_seed(1));
    let ended = live((&dir, &file), &market, capped(JUMP_CAP, in_flight), clock(), None)
        .await
        .expect("sound")
        .expect("not killed")
        .0;
    assert_eq!(ended, FetchEnd::Stopped(StopReason::Budget));
    market
}

#[tokio::test(start_paused = true)]
async fn a_price_that_rises_more_than_tenfold_exceeds_the_cap_only_by_the_calls_in_flight() {
    let check = async |times: i64, in_flight: u32| {
        let market = capped_at_a_jump(false, times, in_flight).await;
        let (price, cap) = (JUMP_PRICE, JUMP_CAP);
        let books = market.books.lock().expect("sound");
        let most = i64::from(in_flight) * (times - 10) * price;
        assert!(books.spent <= cap + most, "{} of {cap}, {times} times, {in_flight} in flight", books.spent);
        assert!(books.billed <= 20 + u64::from(in_flight) + (cap / (times * price)).unsigned_abs());
    };
    check(12, 30).await;
    check(40, 30).await;
    check(40, 5).await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_lost_before_any_price_was_known_counts_under_a_later_cap() {
    let folder = quick_folder();
    let (dir, file) = (folder.path().join("out"), listed(folder.path(), 20));
    let market = Market::new(Terms::steady(60_000), Rng::with_seed(5));
    let life = Some(Duration::from_millis(1));
    live((&dir, &file), &market, limits(60_000, 5), clock(), life).await.expect("sound");
    assert_eq!(market.books.lock().expect("sound").billed, 1, "killed in its first call, which had no cap");
    let cap = 400_000;
    live((&dir, &file), &market, capped(cap, 5), clock(), None).await.expect("sound");
    let spent = market.books.lock().expect("sound").spent;
    assert!(spent <= cap && spent > cap / 2, "{spent} of {cap}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_keeps_to_its_cap_and_reports_the_source_of_costs() {
    let price = Price::flat(Usd::from_micros(41_130));
    let settings = Settings { latency: latency(0, 20), price, ..instant() };
    let place = Place::new(60);
    let api = sandbox(settings.clone()).await;
    let output = ended(place.run(&api.url(), "--max-cost 1.00"), 5).await;
    let bill = api.bill();
    assert!(bill.debited_micros.micros() <= 1_000_000, "{}", bill.debited_micros);
    assert!(bill.debited_micros.micros() > 1_000_000 - 41_130, "{}", bill.debited_micros);
    let json = summary(&output);
    assert_eq!(json["cost_source"]["debit_usd"].as_f64(), Some(bill.debited_micros.dollars()));
    assert_eq!(json["published"], true);
    assert!(!place.is_complete());
    // A second run under the same cap buys nothing.
    ended(place.run(&api.url(), "--max-cost 1.00"), 5).await;
    assert_eq!(api.bill().calls, bill.calls);

    // A cap below the presumed price of the first call is reported before it, and ends the run like any other.
    let tiny = Place::new(2);
    let output = ended(tiny.run(&api.url(), "--max-cost 0.02"), 5).await;
    assert!(stderr(&output).contains("--max-cost leaves $0.0200, but the first call"), "{output:?}");
    assert_eq!(api.bill().debited_micros, bill.debited_micros);

    // The rest is from an API that does not report debits.
    let silent = Faults { no_cost_header: Probability::ALL, ..Faults::default() };
    let quiet = sandbox(Settings { faults: silent, ..settings }).await;
    let output = ended(place.run(&quiet.url(), "--max-cost 2.00"), 5).await;
    let all = bill.debited_micros.plus(quiet.bill().debited_micros);
    assert!(all.micros() <= 2_000_000, "{all}");
    let json = summary(&output);
    assert_eq!(json["cost_source"]["debit_usd"].as_f64(), Some(bill.debited_micros.dollars()));
    assert!(json["cost_source"]["upstream_usd"].as_f64().is_some_and(|upstream| upstream > 0.0), "{json}");

    // Lost answers have an unknown price.
    let losing =
        Faults { fail_reset_billed: "0.3".parse().expect("a share"), fail_attempts: Some(1), ..Faults::default() };
    let (lossy, place) = (sandbox(Settings { faults: losing, ..instant() }).await, Place::new(40));
    let output = ended(place.run(&lossy.url(), ""), 0).await;
    verified(&place.out()).await;
    let json = summary(&output);
    assert_eq!(json["cost_source"]["unknown_calls"], lossy.bill().billed_lost);
    assert_eq!(json["possibly_billed"], lossy.bill().billed_lost);
    let known = json["cost_usd"].as_f64().expect("a number");
    assert!(known < lossy.bill().debited_micros.dollars(), "lost answers are not counted as known cost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_calls_the_first_targets_of_the_input_and_each_further_run_the_next() {
    let (api, place) = (sandbox(instant()).await, Place::new(10));
    let run = || place.run(&api.url(), "--limit 4 --progress json");
    for (pending, calls) in [(6, 4), (2, 8)] {
        let output = ended(run(), 5).await;
        let summary = summary(&output);
        assert_eq!((&summary["pending"], &summary["stopped"]), (&pending.into(), &"limit".into()), "{summary}");
        assert_eq!((summary["published"].as_bool(), summary["success"].as_bool()), (Some(true), Some(false)));
        assert_eq!(api.bill().calls, calls);
        let words = stderr(&output);
        let left = format!("--limit reached ({pending} targets have not been called yet)");
        assert!(words.contains(&left) && words.contains("run the same command again"), "{words}");
        // Its progress is that of this run, not of what is left.
        let done = format!(r#""targets":{calls},"done":{calls},"#);
        assert!(words.contains(&done) && !words.contains(r#""targets":10"#), "{words}");
        assert!(!place.is_complete());
    }
    let archive = Archive::read(&place.out()).expect("readable");
    let called: BTreeSet<String> = archive.requested().map(|(target, _)| target.to_string()).collect();
    assert_eq!(called, (0..8).map(|number| format!("site{number}.com")).collect());
    // The rest is not more than the limit, so the run completes.
    ended(run(), 0).await;
    assert_eq!(api.bill().calls, 10);
    verified(&place.out()).await;
}
