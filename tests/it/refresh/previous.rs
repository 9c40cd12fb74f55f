//! `--previous DIR`: answers of an earlier run are reused, cost nothing, and are marked as reused.

use std::{collections::BTreeMap, fs};

use backlinks_export::ledger::Lock;
use serde_json::Value;

use super::{age, records, target_rows, verified};
use crate::{
    program::number_of,
    shell::{Api, DATES, Shell},
};

/// The id of a run.
fn run_id(shell: &Shell, out: &str) -> String {
    let record: Value = serde_json::from_str(&shell.read(&format!("{out}/_run.json"))).expect("JSON");
    record["run_id"].as_str().expect("an id").to_owned()
}

#[test]
fn answers_of_an_earlier_run_are_reused_and_cost_nothing() {
    let (shell, api) = (Shell::with_domains(20), Api::new("--fail-code 40102:0.2"));
    let run = |out: &str, more: &str| format!("run domains.txt --out {out} --summary json {} {more}", api.flags());
    shell.run(&run("first", DATES)).expect(0);
    let (files, first) = (shell.files("first"), target_rows(&shell.path("first")));
    assert!(first.values().any(|row| row["outcome"] == "no_data"), "answers without data are stored, too");
    shell.list(10..30);
    let later = "--date-from 2023-11-01 --date-to 2024-04-30";
    let plan = format!("plan domains.txt --out second --previous first {later}");
    let json = shell.run(&format!("{plan} --format json")).expect(0).json();
    assert_eq!([&json["held"], &json["taken_over"], &json["calls"], &json["refreshed"]], [0, 10, 10, 0]);
    let text = shell.run(&plan).expect(0).stdout;
    let early = "10 reused answers end before --date-to 2024-04-30, the earliest on 2024-02-29";
    let previous = format!("previous    10 answers to reuse, at no cost\n              {early}\n  calls       10\n");
    assert!(text.contains(&previous), "{text}");
    assert!(!shell.path("second").exists());
    let command = run("second", &format!("{later} --previous first"));
    let ran = shell.run(&command).expect(0);
    assert!(ran.stderr.contains(early), "{}", ran.stderr);
    let json = ran.json();
    let count = |key: &str| json[key].as_u64().expect("a number");
    assert_eq!(["targets", "calls", "retries", "taken_over", "taken_over_this_run"].map(count), [20, 10, 0, 10, 10]);
    assert_eq!((api.bill().calls, api.bill().bought_again().count()), (30, 0));
    assert_eq!(shell.files("first"), files, "the earlier directory is only read");
    let second = target_rows(&shell.path("second"));
    let (ours, theirs) = (run_id(&shell, "second"), run_id(&shell, "first"));
    let mut cost = 0.0;
    for (target, row) in &second {
        cost += row["cost_usd"].parse::<f64>().expect("a cost");
        let cells = ["run_id", "cost_source", "attempts", "date_to"].map(|column| &*row[column]);
        if number_of(target) >= 20 {
            assert_eq!(cells, [&*ours, "debit", "1", "2024-04-30"], "{target}");
            continue;
        }
        assert_eq!(cells, [&*theirs, "previous", "0", "2024-02-29"], "{target}");
        assert_eq!(row["cost_usd"], "0.0");
        for column in ["outcome", "rows", "fetched_at", "task_id", "latency_ms", "http_status", "api_status_code"] {
            assert_eq!(row[column], first[target][column], "{target}: {column}");
        }
    }
    assert!((json["cost_usd"].as_f64().expect("a cost") - cost).abs() < 1e-9);
    verified(&shell, "second");
    // Once copied, it is stored: nothing changes any more, with or without the flag.
    let files = shell.files("second");
    shell.run(&command).expect(0);
    shell.run(&run("second", later)).expect(0);
    assert_eq!((shell.files("second") == files, api.bill().calls), (true, 30));
    // Both together are paid for once.
    shell.run("replay first second --out both").expect(0);
    verified(&shell, "both");
    let both = target_rows(&shell.path("both"));
    assert!(both.values().all(|row| row["cost_source"] == "debit" && row["attempts"] == "1"));
    // A third run reuses them, and the run that paid is still recorded.
    shell.run(&run("third", &format!("{later} --previous second"))).expect(0);
    assert_eq!(api.bill().calls, 30);
    let paid_by: BTreeMap<_, _> =
        target_rows(&shell.path("third")).into_iter().map(|(target, row)| (target, row["run_id"].clone())).collect();
    assert!(
        paid_by.iter().all(|(target, id)| *id == if number_of(target) >= 20 { &*ours } else { &*theirs }),
        "{paid_by:?}"
    );
    verified(&shell, "third");
}

#[test]
fn a_reused_answer_ends_on_the_day_requested_for_it_not_later_than_requested_now() {
    let (shell, api) = (Shell::with_domains(4), Api::new(""));
    let run = |out: &str, to: &str, more: &str| {
        let flags = api.flags();
        format!("run domains.txt --out {out} --date-from 2023-11-01 --date-to {to} --summary json {flags} {more}")
    };
    shell.run(&run("first", "2024-01-31", "")).expect(0);
    shell.list(2..6);
    shell.run(&run("second", "2024-03-31", "--previous first")).expect(0);
    shell.list(0..6);
    let calls = api.bill().calls;
    // Two of the four answers of `second` are from `first`, and a third run has them from there.
    let command = run("third", "2024-04-30", "--previous second");
    let early = "4 reused answers end before --date-to 2024-04-30, the earliest on 2024-01-31";
    let plain = command.replace("--summary json", "");
    for command in [&plain.replacen("run ", "plan ", 1), &plain.replacen("run ", "doctor ", 1), &plain] {
        let ran = shell.run(&format!("{command} --limit 2"));
        let text = format!("{}{}", ran.stdout, ran.stderr);
        assert!(text.contains(early), "{command}: {text}");
    }
    assert_eq!(api.bill().calls, calls + 2);
    // Rows after the last day are not published: nothing is reused, and nothing is bought.
    let refused = |to: &str, previous: &str, stored: &str| {
        let command = run("cut", to, &format!("--previous {previous}"));
        for command in [&command, &command.replacen("run ", "plan ", 1)] {
            let stderr = shell.run(command).expect(2).stderr;
            let error = format!("{previous} was fetched with --date-to {stored}, but this run uses --date-to {to}");
            let hint = format!("hint: use --date-to {stored} to reuse its answers, or omit --previous");
            assert!(stderr.contains(&error) && stderr.contains(&hint), "{command}: {stderr}");
        }
        let doctor = shell.run(&command.replacen("run ", "doctor ", 1)).expect(1).stdout;
        assert!(doctor.contains(&format!("was fetched with --date-to {stored}")), "{doctor}");
    };
    refused("2024-01-30", "first", "2024-01-31");
    refused("2024-02-29", "second", "2024-03-31");
    // What ends in time is reused: here, only the two answers that are from `first`.
    shell.list(2..4);
    let json = shell.run(&run("cut", "2024-01-31", "--previous second")).expect(0).json();
    assert_eq!([&json["taken_over"], &json["calls"]], [2, 0]);
    verified(&shell, "cut");
    let manifest: Value = serde_json::from_str(&shell.read("cut/_run.json")).expect("JSON");
    assert_eq!(manifest["parameters"]["date_to"], "2024-01-31");
    assert_eq!(api.bill().calls, calls + 2);
}

#[test]
fn a_reused_record_repeats_the_first_and_is_not_counted_as_an_answer() {
    let (shell, api) = (Shell::with_domains(3), Api::new(""));
    let run = |out: &str, more: &str| format!("run domains.txt --out {out} {} {DATES} {more}", api.flags());
    shell.run(&run("first", "")).expect(0);
    shell.run(&run("second", "--previous first")).expect(0);
    let of = |out: &str, kind: &str| -> BTreeMap<String, _> {
        let of_kind = records(&shell.path(out)).into_iter().filter(|record| record["record"] == kind);
        of_kind.map(|record| (record["target"].as_str().expect("a name").to_owned(), record)).collect()
    };
    let (answers, mut taken) = (of("first", "answer"), of("second", "taken_over"));
    assert_eq!((answers.len(), taken.len(), of("second", "answer").len()), (3, 3, 0));
    for (target, record) in &mut taken {
        let mark = ["record", "from_run_id", "taken_over_at", "date_to"].map(|key| record.remove(key).expect(key));
        assert_eq!([&mark[1], &mark[3]], [&*run_id(&shell, "first"), "2024-02-29"]);
        let mut answer = answers[target].clone();
        answer.remove("record");
        assert_eq!(*record, answer, "verbatim, the time and the cost included");
    }
}

#[test]
fn only_recent_answers_are_reused_and_the_newest_of_several() {
    let (shell, api) = (Shell::with_domains(6), Api::new(""));
    let run =
        |out: &str, more: &str| format!("run domains.txt --out {out} --summary json {} {DATES} {more}", api.flags());
    for (out, days) in [("old", 60), ("older", 90), ("young", 10)] {
        if out == "young" {
            shell.list(0..2);
        }
        shell.run(&run(out, "")).expect(0);
        age(&shell.path(out), days);
    }
    shell.list(0..6);
    let ids = ["old", "older", "young"].map(|out| run_id(&shell, out));
    let calls = api.bill().calls;
    let from = |out: &str, id: &str| target_rows(&shell.path(out)).values().filter(|row| row["run_id"] == id).count();
    shell.run(&run("any", "--previous older --previous young --previous old")).expect(0);
    assert_eq!(([&ids[0], &ids[1], &ids[2]].map(|id| from("any", id)), api.bill().calls), ([4, 0, 2], calls));
    verified(&shell, "any");
    let json =
        shell.run(&run("fresh", "--previous older --previous young --previous old --max-age 30d")).expect(0).json();
    assert_eq!([&json["taken_over"], &json["calls"], &json["stale"]], [2, 4, 0]);
    verified(&shell, "fresh");
    // An own answer that is too old is replaced by a newer one of an earlier run.
    age(&shell.path("any"), 100);
    let json = shell.run(&run("any", "--previous young --max-age 30d")).expect(0).json();
    assert_eq!([&json["taken_over_this_run"], &json["calls"], &json["refreshed"]], [2, 4, 4]);
    verified(&shell, "any");
    // A target that failed before its answer was reused keeps the cost of its attempts.
    let failing = Api::new("--fail-code 40501:1");
    let own = format!("run domains.txt --out tried {} {DATES}", failing.flags());
    shell.run(&own).expect(3);
    shell.run(&run("tried", "--previous old")).expect(0);
    assert!(target_rows(&shell.path("tried")).values().all(|row| row["attempts"] == "1" && row["outcome"] == "ok"));
    verified(&shell, "tried");
}

#[test]
fn an_unsuitable_earlier_run_is_rejected_before_any_call() {
    let (shell, api) = (Shell::with_domains(4), Api::new(""));
    let run = |out: &str, more: &str| format!("run domains.txt --out {out} {} {DATES} {more}", api.flags());
    shell.run(&run("first", "")).expect(0);
    shell.run(&run("dropped", "--discard-raw")).expect(0);
    shell.run(&format!("run domains.txt --sandbox --out simulated --progress none {DATES}")).expect(0);
    fs::create_dir(shell.path("empty")).expect("made");
    let calls = api.bill().calls;
    let refused = |code: i32, command: &str, error: &str, hint: &str| {
        for command in [command.to_owned(), command.replacen("run ", "plan ", 1)] {
            let stderr = shell.run(&command).expect(code).stderr;
            assert!(stderr.contains(error) && stderr.contains(hint), "{command}: {stderr}");
        }
    };
    let away = "hint: omit --previous";
    refused(2, &run("new", "--previous missing"), "--previous: missing does not exist", "hint: check the path");
    refused(2, &run("new", "--previous empty"), "--previous: empty does not contain a run", "hint: use a directory");
    refused(2, &run("new", "--previous dropped"), "dropped were deleted by --discard-raw", away);
    refused(2, &run("first", "--previous ./first"), "./first is this run's own directory", away);
    let earlier = run("new", "--previous first").replace("2023-11-01", "2023-10-01");
    refused(
        2,
        &earlier,
        "first was fetched with --date-from 2023-11-01, but this run uses --date-from 2023-10",
        "hint: use",
    );
    let scale = run("new", "--previous first --rank-scale one_hundred");
    refused(2, &scale, "was fetched with --rank-scale one_thousand, but this run uses --rank-scale", "hint: use");
    refused(2, &run("first", "--previous simulated"), "was fetched with --sandbox (simulated", "hint: use");
    let stderr = shell.run(&run("new", "--previous simulated")).expect(2).stderr;
    assert!(stderr.contains("this run uses real answers (without --sandbox)"), "{stderr}");
    assert!(!shell.path("new").exists(), "no empty directory is left");
    // A run is using it.
    let lock = Lock::take(&shell.path("first")).expect("free");
    let stderr = shell.run(&run("new", "--previous first")).expect(1).stderr;
    assert!(
        stderr.contains("first is in use by another run") && stderr.contains("wait for that run to end"),
        "{stderr}"
    );
    drop(lock);
    // Several runs may read it at the same time.
    let lock = Lock::shared(&shell.path("first")).expect("free");
    shell.run(&run("beside", "--previous first")).expect(0);
    drop(lock);
    // Damage to a record, and to a body.
    let file = shell.path("first/_raw/ledger-0.jsonl.gz");
    let sound = fs::read(&file).expect("readable");
    for place in [sound.len() / 3, sound.len() * 2 / 3, 20] {
        let mut damaged = sound.clone();
        damaged[place] ^= 0x10;
        fs::write(&file, damaged).expect("written");
        let stderr = shell.run(&run("new", "--previous first")).expect(1).stderr;
        assert!(stderr.contains("first/_raw/ledger-0.jsonl.gz is damaged at byte"), "{stderr}");
        assert!(stderr.contains("restore an intact copy of the file"), "{stderr}");
    }
    // A missing part would be bought again.
    fs::write(&file, &sound[..sound.len() / 2]).expect("written");
    for command in [run("new", "--previous first"), "plan domains.txt --previous first".to_owned() + " " + DATES] {
        let stderr = shell.run(&command).expect(1).stderr;
        assert!(stderr.contains("ledger-0.jsonl.gz has lost paid answers"), "{stderr}");
        assert!(stderr.contains("restore a complete copy"), "{stderr}");
    }
    assert_eq!(api.bill().calls, calls);
    // Answers before the damage may be stored already; the rest follows once it is repaired.
    fs::write(&file, &sound).expect("written");
    shell.run(&run("new", "--previous first")).expect(0);
    assert_eq!(api.bill().calls, calls);
    verified(&shell, "new");
    let taken = records(&shell.path("new")).iter().filter(|record| record["record"] == "taken_over").count();
    assert_eq!(taken, 4, "each once");
}
