//! `--max-age`: older answers are refreshed, and are used until a newer one exists.

use std::fs;

use jiff::Timestamp;

use super::{age, count, records, target_rows, verified};
use crate::{
    program::number_of,
    shell::{Api, DATES, Shell},
};

const FROM: &str = "--date-from 2023-11-01";

fn today() -> String {
    #[expect(clippy::disallowed_methods, reason = "the program asks up to today")]
    Timestamp::now().to_string()[..10].to_owned()
}

#[test]
fn older_answers_are_refreshed_up_to_today_and_recent_ones_are_not() {
    let (shell, api) = (Shell::with_domains(12), Api::new(""));
    let run = |more: &str| format!("run domains.txt --out out --summary json {} {more}", api.flags());
    shell.run(&run(DATES)).expect(0);
    age(&shell.path("out"), 40);
    // Three more targets that are new and have no answer.
    shell.list(0..15);
    shell.run(&run(DATES)).expect(0);
    let before = target_rows(&shell.path("out"));
    assert_eq!(api.bill().calls, 15);
    // Without the flag an answer stays valid forever; with a longer age, too.
    shell.run(&run(DATES)).expect(0);
    shell.run(&run(&format!("{FROM} --max-age 8w"))).expect(0);
    assert_eq!(api.bill().calls, 15);
    let plan = shell.run(&format!("plan domains.txt --out out --format json {FROM} --max-age 30d")).expect(0).json();
    assert_eq!([&plan["held"], &plan["refreshed"], &plan["calls"], &plan["taken_over"]], [3, 12, 12, 0]);
    let text = shell.run(&format!("plan domains.txt --out out {FROM} --max-age 30d")).expect(0).stdout;
    assert!(text.contains("calls       12, all of them to refresh answers older than --max-age"), "{text}");
    let some = shell.run(&run(&format!("{FROM} --max-age 30d --limit 5"))).expect(5);
    assert!(some.stderr.contains("--limit reached (7 answers were not refreshed yet)"), "{}", some.stderr);
    let json = shell.run(&run(&format!("{FROM} --max-age 30d"))).expect(0).json();
    assert_eq!([&json["calls_this_run"], &json["refreshed_this_run"], &json["calls"], &json["retries"]], [7, 7, 27, 0]);
    assert_eq!((&json["stale"], json["fresh_since"].is_string()), (&0.into(), true));
    let after = target_rows(&shell.path("out"));
    for (target, row) in &after {
        let old = &before[target];
        assert_eq!(row["outcome"], old["outcome"]);
        if number_of(target) >= 12 {
            assert_eq!(row, old);
            continue;
        }
        assert_eq!((&*row["date_to"], &*old["date_to"]), (&*today(), "2024-02-29"));
        assert!(row["fetched_at"] > old["fetched_at"] && row["attempts"] == "2", "{row:?}");
        let dollars =
            |row: &std::collections::BTreeMap<String, String>| row["cost_usd"].parse::<f64>().expect("a cost");
        assert!(dollars(row) > 1.5 * dollars(old), "both were paid for");
        let rows = |row: &std::collections::BTreeMap<String, String>| row["rows"].parse::<u64>().expect("a number");
        assert!(row["outcome"] == "no_data" || rows(row) > rows(old) + 10, "{row:?}");
    }
    verified(&shell, "out");
    // The older answers are still there.
    let answers = records(&shell.path("out")).iter().filter(|record| record["record"] == "answer").count();
    assert_eq!(answers, 27);
    // The refreshed answers are recent: the same command makes no call and changes nothing.
    let files = shell.files("out");
    shell.run(&run(&format!("{FROM} --max-age 30d"))).expect(0);
    shell.run(&run(FROM)).expect(0);
    assert_eq!((api.bill().calls, shell.files("out") == files), (27, true));
    // A replay takes the newest answers, too.
    shell.run("replay out --out other").expect(0);
    assert!(shell.bytes("out/backlinks_history") == shell.bytes("other/backlinks_history"));
    verified(&shell, "other");
}

#[test]
fn a_target_that_cannot_be_refreshed_keeps_its_older_answer_and_is_reported() {
    let (shell, api) = (Shell::with_domains(30), Api::new(""));
    let run = |api: &Api, more: &str| format!("run domains.txt --out out --summary json {} {more}", api.flags());
    shell.run(&run(&api, DATES)).expect(0);
    age(&shell.path("out"), 31);
    shell.run(&run(&api, DATES)).expect(0);
    let before = target_rows(&shell.path("out"));
    let failing = Api::new("--fail-code 40501:0.3");
    let ran = shell.run(&run(&failing, &format!("{DATES} --max-age 30d"))).expect(3);
    let json = ran.json();
    let stale = json["stale"].as_u64().expect("a number");
    assert!((2..25).contains(&stale), "{stale}");
    assert!(ran.stderr.contains(&format!("{stale} of 30 targets could not be refreshed")), "{}", ran.stderr);
    assert_eq!([&json["failed"], &json["pending"], &json["refreshed"]], [0, 0, 30 - stale]);
    assert!(!shell.is_complete("out"));
    verified(&shell, "out");
    let listed = shell.read("out/_failures.csv");
    assert_eq!(listed.lines().count() as u64, stale + 1, "{listed}");
    let after = target_rows(&shell.path("out"));
    for line in listed.lines().skip(1) {
        let target = line.split(',').next().expect("a domain");
        assert!(line.contains("rejected,200,40501,2,0,") && line.ends_with('Z'), "{line}");
        for column in ["outcome", "rows", "fetched_at", "date_to", "run_id", "message"] {
            assert_eq!(after[target][column], before[target][column], "{target} {column}");
        }
        assert_eq!(after[target]["attempts"], "2");
    }
    assert_eq!(count(&shell.path("out"), "outcome", "failed"), 0);
    // --max-failures tolerates them like failures; without --max-age no target is stale. Each new API fails the same
    // targets.
    let failing = Api::new("--fail-code 40501:0.3");
    shell.run(&run(&failing, &format!("{DATES} --max-age 30d --max-failures 100%"))).expect(0);
    assert!(shell.is_complete("out"));
    verified(&shell, "out");
    let calls = failing.bill().calls;
    shell.run(&run(&failing, DATES)).expect(0);
    assert_eq!(failing.bill().calls, calls);
    verified(&shell, "out");
    // A replay has the same older answers and no maximum age.
    shell.run("replay out --out other").expect(0);
    verified(&shell, "other");
    // The list is an input for another attempt.
    let sound = Api::new("");
    shell.run(&run(&sound, &format!("{DATES} --max-age 30d")).replace("domains.txt", "out/_failures.csv")).expect(0);
    assert_eq!(sound.bill().calls, stale);
    assert_eq!(shell.read("out/_failures.csv").lines().count(), 1);
    verified(&shell, "out");
}

#[test]
fn the_cap_counts_all_past_cost_and_missing_answers_are_bought_first() {
    let (shell, api) = (Shell::with_domains(10), Api::new("--price 0.03"));
    let run = |more: &str| format!("run domains.txt --out out --summary json {} {DATES} {more}", api.flags());
    let spent = shell.run(&run("")).expect(0).json()["cost_usd"].as_f64().expect("a cost");
    age(&shell.path("out"), 40);
    shell.list(0..12);
    let cap = spent * 1.5;
    let ran = shell.run(&run(&format!("--max-age 30d --max-cost {cap}"))).expect(5);
    let json = ran.json();
    assert!(json["cost_usd"].as_f64().expect("a cost") < cap + 1e-9, "{cap}: {json}");
    assert_eq!((&json["pending"], &json["stopped"]), (&0.into(), &"max_cost".into()));
    let (stale, refreshed) = (json["stale"].as_u64().expect("a number"), json["refreshed"].as_u64().expect("a number"));
    assert!(stale + refreshed == 10 && refreshed >= 1, "{json}");
    assert!(ran.stderr.contains(&format!("{stale} targets left")), "{}", ran.stderr);
    verified(&shell, "out");
    // With a higher cap it resumes, and nothing is bought twice.
    shell.run(&run("--max-age 30d --max-cost 100")).expect(0);
    let bill = api.bill();
    assert_eq!((bill.calls, bill.bought_again().count()), (22, 10));
    verified(&shell, "out");
}

#[test]
fn a_directory_without_its_ledger_still_knows_the_age_of_its_answers() {
    let (shell, api) = (Shell::with_domains(3), Api::new(""));
    let run = |more: &str| format!("run domains.txt --out out {} {DATES} --discard-raw {more}", api.flags());
    shell.run(&run("")).expect(0);
    assert!(!shell.path("out/_raw/ledger-0.jsonl.gz").exists());
    shell.run(&run("--max-age 30d")).expect(0);
    shell.run("verify out").expect(0);
    let record = shell.read("out/_run.json");
    let oldest = record.lines().find(|line| line.contains("oldest_answer")).expect("a time").to_owned();
    let day = oldest.split('"').nth(3).expect("a time").to_owned();
    let older = format!("2020{}", &day[4..]);
    fs::write(shell.path("out/_run.json"), record.replace(&day, &older)).expect("written");
    let refused = shell.run(&run("--max-age 30d")).expect(2).stderr;
    assert!(refused.contains("the raw answers of out were deleted by --discard-raw"), "{refused}");
    assert_eq!(api.bill().calls, 3);
}

#[test]
fn an_age_is_a_number_of_days_weeks_or_hours() {
    let shell = Shell::with_domains(1);
    for wrong in ["0d", "30", "1mo", "-3d"] {
        let refused = shell.run(&format!("run domains.txt --out out --sandbox --max-age={wrong}")).expect(2).stderr;
        assert!(refused.contains("--max-age <DURATION>"), "{refused}");
    }
    assert!(!shell.path("out").exists());
}
