//! `plan`: what it shows in each state of a directory, and how close its estimates are to what a run then does.

use insta::assert_snapshot;
use serde_json::Value;

use super::shell::{Api, DATES, Shell};

/// The estimated rows and bytes.
fn size(plan: &Value) -> (u64, u64) {
    let number = |key: &str| plan[key].as_u64().expect("a number");
    (number("rows"), number("bytes"))
}

/// The rows and bytes of the dataset in `out`.
fn published(shell: &Shell) -> (u64, u64) {
    let manifest: Value = serde_json::from_str(&shell.read("out/_run.json")).expect("JSON");
    let files = manifest["files"].as_array().expect("a list");
    let bytes = files.iter().map(|file| file["bytes"].as_u64().expect("a number")).sum();
    (manifest["totals"]["rows"].as_u64().expect("a number"), bytes)
}

#[test]
fn every_line_says_something() {
    let shell = Shell::new().unset("AISA_API_KEY");
    shell.write("domains.txt", "a.com\nb.com\nblog.c.com\n");
    let plan = |words: &str| {
        let text = shell.run(&format!("plan domains.txt {words} {DATES}")).expect(0).stdout;
        format!("$ plan {words}\n{text}\n")
    };
    let mut texts = plan("--rate 10/s") + &plan("--limit 1 --rate 1/min") + &plan("--sandbox --max-cost 0.1");
    shell.run(&format!("run domains.txt --out out --sandbox --limit 2 {DATES}")).expect(5);
    shell.write("domains.txt", "a.com\nb.com\nblog.c.com\nA.com\nno domain\n");
    texts += &plan("--out out --sandbox --limit 1");
    shell.run(&format!("run domains.txt --out out --sandbox {DATES}")).expect(0);
    texts += &plan("--out out --sandbox");
    // The bytes of stored answers depend on the simulated ones.
    let lines = texts.lines().map(|line| line.split_once(" rows, ").map_or(line, |(rows, _)| rows));
    assert_snapshot!(lines.collect::<Vec<_>>().join("\n"));
}

#[test]
fn a_limit_shows_what_is_left_for_later() {
    let (shell, api) = (Shell::with_domains(10), Api::new(""));
    let check = |limit: u32, calls: u64, pending: u64| {
        let plan = format!("plan domains.txt --out out --format json --limit {limit} {DATES}");
        let json = shell.run(&plan).expect(0).json();
        assert_eq!((&json["calls"], &json["pending"]), (&calls.into(), &pending.into()), "{json}");
    };
    check(3, 3, 7);
    check(10, 10, 0);
    check(20, 10, 0);
    shell.run(&format!("run domains.txt --out out --limit 4 {} {DATES}", api.flags())).expect(5);
    check(3, 3, 3);
    check(6, 6, 0);
    assert_eq!(api.bill().calls, 4, "a plan buys nothing");
}

#[test]
fn tolerated_failures_are_not_called_stored() {
    let (shell, api) = (Shell::with_domains(20), Api::new("--fail-code 40501:0.4"));
    shell.run(&format!("run domains.txt --out out --max-failures 80% {} {DATES}", api.flags())).expect(0);
    let manifest: Value = serde_json::from_str(&shell.read("out/_run.json")).expect("JSON");
    let failed = manifest["totals"]["failed"].as_u64().expect("a number");
    assert!(failed > 1, "{manifest}");
    let check = || {
        let text = shell.run(&format!("plan domains.txt --out out --max-failures 80% {DATES}")).expect(0).stdout;
        let calls = format!("calls       none: {failed} targets have failed, and --max-failures tolerates that\n");
        assert!(text.contains(&format!("stored      {} answers\n  {calls}", 20 - failed)), "{text}");
    };
    check();
    shell.run(&format!("run domains.txt --out out --max-failures 80% --discard-raw {} {DATES}", api.flags())).expect(0);
    check();
    assert!(api.bill().calls < 40, "nothing is called again");
}

#[test]
fn the_size_is_close_before_a_run_and_exact_after_it() {
    let shell = Shell::new();
    let check = |targets: usize| {
        shell.list(0..targets);
        let plan = |more: &str| shell.run(&format!("plan domains.txt --out out --format json {more}")).expect(0).json();
        let (rows, bytes) = size(&plan(""));
        shell.run("run domains.txt --out out --sandbox --rate 60000/min").expect(0);
        let (found, found_bytes) = published(&shell);
        // A few targets have shorter histories or none.
        assert!((found..found * 5 / 4).contains(&rows), "{targets}: {rows}, {found}");
        assert!((found_bytes * 9 / 10..found_bytes * 3 / 2).contains(&bytes), "{targets}: {bytes}, {found_bytes}");
        assert_eq!(size(&plan("")), (found, found_bytes));
        // Refreshed histories replace older ones.
        assert!(size(&plan("--max-age 1s")).0 <= 100 * targets as u64);
    };
    let text = |words: &str| shell.run(&format!("plan domains.txt --out out {words}")).expect(0).stdout;
    // Each time with the answers of the time before.
    check(10);
    check(100);
    check(400);
    assert!(!text("").contains("about "), "{}", text(""));
    // Another layout changes the files.
    assert!(text("--partition-by none").contains(" rows, about "), "{}", text("--partition-by none"));
    shell.run("run domains.txt --out out --sandbox --discard-raw").expect(0);
    let json = shell.run("plan domains.txt --out out --format json").expect(0).json();
    assert_eq!((size(&json), &json["calls"]), (published(&shell), &0.into()));
}

#[test]
fn an_unknown_balance_has_the_reason_that_doctor_gives() {
    let shell = Shell::with_domains(1);
    let check = |api: &str, wanted: &str| {
        let plan = shell.run(&format!("plan domains.txt --api {api}")).expect(0).stdout;
        let balance = plan.lines().find(|line| line.contains("balance")).expect("a balance").trim_start();
        assert_eq!(balance, format!("balance     unknown: {wanted}"));
        let doctor = shell.run(&format!("doctor domains.txt --api {api}"));
        assert!(doctor.stdout.contains(wanted), "{}", doctor.stdout);
    };
    check("http://127.0.0.1:1", "cannot reach http://127.0.0.1:1 at 127.0.0.1:1: Connection refused (os error 111)");
    let refusing = Api::new("--token another");
    let reason = "the token in AISA_API_KEY is refused: HTTP 401: ";
    let plan = shell.run(&format!("plan domains.txt {}", refusing.flags())).expect(0).stdout;
    assert!(plan.contains(&format!("balance     unknown: {reason}")), "{plan}");
}
