//! The command line's contract, checked with the real program: exit codes, second runs, the content of DIR.

use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt as _, process::Command};

use serde_json::Value;

use backlinks_export::ledger::Lock;

use super::members::gunzip;
use super::shell::{Api, DATES, Shell, TOKEN};

#[test]
fn a_second_run_makes_no_call_and_changes_nothing() {
    let (shell, api) = (Shell::with_domains(40), Api::new(""));
    let command = format!("run domains.txt --out out {} {DATES}", api.flags());
    shell.run(&command).expect(0);
    let (files, bill) = (shell.files("out"), api.bill());
    assert!(shell.is_complete("out") && bill.billed_calls == 40);
    shell.run(&command).expect(0);
    // The last day was fixed by the first run.
    shell.run(&command.replace(" --date-to 2024-02-29", "")).expect(0);
    shell.run(&format!("{command} --max-cost 0 --plan free --max-failures 50% --summary json -vv")).expect(0);
    assert_eq!(shell.files("out"), files);
    assert_eq!(api.bill(), bill);
}

#[test]
fn more_domains_are_added_and_only_they_are_called() {
    let (shell, api) = (Shell::with_domains(10), Api::new(""));
    let command = format!("run domains.txt --out out --summary json {} {DATES}", api.flags());
    shell.run(&command).expect(0);
    shell.list(5..15);
    let json = shell.run(&command).expect(0).json();
    // The five that are no longer in the file were paid for and stay.
    assert_eq!((&json["targets"], &json["calls_this_run"]), (&15.into(), &5.into()));
    assert_eq!(api.bill().calls, 15);
    assert_eq!(api.bill().bought_again().count(), 0);
}

#[test]
fn standard_input_is_an_input_and_standard_output_contains_only_the_result() {
    let (shell, api) = (Shell::new(), Api::new(""));
    let flags = format!("--out out --summary json --api {} {DATES}", api.url());
    let ran = shell.run_with(&format!("run - {flags}"), "www.site1.com\nnot a domain\nsite2.com\n").expect(0);
    let json = ran.json();
    assert_eq!((&json["targets"], &json["rejected"]), (&2.into(), &1.into()));
    assert!(ran.stderr.contains("[00:00]") && ran.stderr.contains("WARN"), "{}", ran.stderr);
    assert!(shell.read("out/_rejected.csv").contains("not a domain"));
}

#[test]
fn a_summary_in_json_has_the_promised_keys() {
    let (shell, api) = (Shell::with_domains(3), Api::new("--no-cost-header 0.5"));
    let json = shell.run(&format!("run domains.txt --out out --summary json {}", api.flags())).expect(0).json();
    let keys = "targets ok no_data failed pending rejected duplicates rows calls retries cost_usd possibly_billed \
                elapsed_s out success";
    for key in keys.split_whitespace() {
        assert!(!json[key].is_null(), "{key} in {json}");
    }
    let run: Value = serde_json::from_str(&shell.read("out/_run.json")).expect("JSON");
    assert_eq!(run["summary"]["rows"], json["rows"]);
}

#[test]
fn a_lock_damage_and_an_unusable_directory_exit_with_1() {
    let (shell, api) = (Shell::with_domains(3), Api::new(""));
    let command = format!("run domains.txt --out out {} {DATES}", api.flags());
    shell.run(&command).expect(0);
    // Another run is using the directory.
    let lock = Lock::take(&shell.path("out")).expect("free");
    let ran = shell.run(&command).expect(1);
    assert!(ran.stderr.contains("error: out is in use by another run\nhint: wait for it"), "{}", ran.stderr);
    drop(lock);
    // Damage in the middle of the ledger.
    let ledger = shell.path("out/_raw/ledger-0.jsonl.gz");
    let mut bytes = fs::read(&ledger).expect("a ledger");
    bytes[10] ^= 0xff;
    fs::write(&ledger, bytes).expect("written");
    let ran = shell.run(&command).expect(1);
    assert!(ran.stderr.contains("ledger-0.jsonl.gz is damaged at byte 0"), "{}", ran.stderr);
    assert!(ran.stderr.contains("hint: restore an intact copy"), "{}", ran.stderr);
    // A path where nothing can be created, even by root.
    let ran = shell.run(&format!("run domains.txt --out /proc/out {}", api.flags())).expect(1);
    assert!(ran.stderr.starts_with("error: cannot create /proc/out"), "{}", ran.stderr);
    assert_eq!(api.bill().calls, 3);
}

#[test]
fn failures_beyond_the_limit_exit_with_3_and_are_retried_by_the_next_run() {
    let shell = Shell::with_domains(40);
    let command = |api: &Api, more: &str| format!("run domains.txt --out out {} {DATES} {more}", api.flags());
    // The same ones fail at each new API, which draws by target and attempt.
    let failing = || Api::new("--fail-code 40501:0.3");
    let ran = shell.run(&command(&failing(), "--summary json")).expect(3);
    let failed = ran.json()["failed"].as_u64().expect("a number");
    assert!((2..30).contains(&failed), "{failed}");
    assert!(ran.stderr.contains("(more than --max-failures 0)"), "{}", ran.stderr);
    assert!(!shell.is_complete("out") && shell.path("out/backlinks_history").exists());
    assert_eq!(shell.read("out/_failures.csv").lines().count() as u64, failed + 1);
    // Within the limit it is a success, as a number or as a percentage.
    shell.run(&command(&failing(), &format!("--max-failures {failed}"))).expect(0);
    assert!(shell.is_complete("out"));
    shell.run(&command(&failing(), "--max-failures 90%")).expect(0);
    shell.run(&command(&failing(), "--max-failures 1%")).expect(3);
    assert!(!shell.is_complete("out"));
    // Each run calls failed targets again, and no others.
    let sound = Api::new("");
    shell.run(&command(&sound, "")).expect(0);
    assert_eq!(sound.bill().calls, failed);
    assert_eq!(shell.read("out/_failures.csv").lines().count(), 1);
}

#[test]
fn a_run_that_tolerates_its_failures_retries_them_only_on_request() {
    let (shell, api) = (Shell::with_domains(30), Api::new("--fail-code 40501:0.3"));
    let run = |input: &str, tolerated: &str| {
        let flags = format!("--max-failures {tolerated} --summary json {} {DATES}", api.flags());
        shell.run(&format!("run {input} --out out {flags}"))
    };
    let first = run("domains.txt", "90%").expect(0).json();
    let failed = first["failed"].as_u64().expect("a number");
    assert!((2..20).contains(&failed), "{failed}");
    let (bill, files) = (api.bill(), shell.files("out"));
    assert_eq!(run("domains.txt", "90%").expect(0).json()["calls_this_run"], 0);
    let plan = format!("plan domains.txt --out out --format json --max-failures 90% {DATES}");
    assert_eq!(shell.run(&plan).expect(0).json()["calls"], 0);
    // The same lines of a file in another folder count as the same.
    fs::create_dir(shell.path("lists")).expect("made");
    fs::copy(shell.path("domains.txt"), shell.path("lists/domains.txt")).expect("copied");
    let elsewhere = plan.replace("plan domains.txt", "plan lists/domains.txt");
    assert_eq!(shell.run(&elsewhere).expect(0).json()["calls"], 0);
    assert_eq!(run("lists/domains.txt", "90%").expect(0).json()["calls_this_run"], 0);
    assert!(api.bill() == bill && shell.files("out") == files, "no call, and nothing is changed");
    // They are retried if they are the input, if fewer are tolerated, or if there are more lines.
    let left = |json: &Value| json["failed"].as_u64().expect("a number");
    let named = run("out/_failures.csv", "90%").expect(0).json();
    assert_eq!(named["calls_this_run"], failed);
    let fewer = run("domains.txt", "0").json();
    assert_eq!(fewer["calls_this_run"], left(&named));
    shell.list(0..40);
    let more = run("domains.txt", "90%").expect(0).json();
    assert_eq!(more["calls_this_run"], left(&fewer) + 10);
}

#[test]
fn the_list_of_failures_is_an_input_for_the_same_directory() {
    let shell = Shell::with_domains(30);
    let failing = Api::new("--fail-code 40501:0.3");
    let flags = |api: &Api| format!("--out out --summary json {} {DATES}", api.flags());
    let json = shell.run(&format!("run domains.txt {}", flags(&failing))).expect(3).json();
    let (failed, ok) = (json["failed"].as_u64().expect("a number"), json["ok"].as_u64().expect("a number"));
    let sound = Api::new("");
    let json = shell.run(&format!("run out/_failures.csv {}", flags(&sound))).expect(0).json();
    assert_eq!(sound.bill().calls, failed);
    assert_eq!(json["targets"], 30, "rows of the other targets stay");
    assert!(json["ok"].as_u64().expect("a number") >= ok);
}

#[test]
fn a_run_stopped_by_the_api_exits_with_4_and_publishes_the_stored_answers() {
    let check = |faults: &str, reason: &str, hint: &str| {
        let (shell, api) = (Shell::with_domains(12), Api::new(faults));
        let ran = shell.run(&format!("run domains.txt --out out --summary json {} {DATES}", api.flags())).expect(4);
        let (error, advice) = ran.stderr.split_once("\nhint: ").expect("a hint");
        assert!(error.contains("error: export stopped after ") && error.contains(reason), "{faults}: {error}");
        assert!(advice.contains(hint), "{faults}: {advice}");
        assert!(!shell.is_complete("out"), "{faults}");
        assert_eq!(ran.json()["success"], false);
        // Every paid answer is published.
        let json = ran.json();
        let answered = json["ok"].as_u64().zip(json["no_data"].as_u64()).map(|(ok, none)| ok + none);
        assert_eq!(answered, Some(api.bill().billed_calls), "{faults}");
        assert!(shell.path("out/backlinks_history").is_dir() && shell.path("out/targets").is_dir(), "{faults}");
        assert!(api.bill().calls <= 30, "{faults}: it stops at once");
    };
    check("--token another", "refused the token", "AISA_API_KEY");
    check("--unauthorized-after 5", "refused the token", "AISA_API_KEY");
    check("--credit 0.2", "no credit", "top up");
    check("--no-credit-after 4", "no credit", "top up");
    check("--quota-after 4", "no credit", "top up");
    check("--fail-code 40200:1", "no credit", "top up");
    check("--fail-code 40201:1", "account", "");
    check("--fail-code 40100:1", "refused the token", "AISA_API_KEY");
    check("--fail-status 403:1", "refused the token", "");
    check("--fail-status 404:1", "URL", "--api");
    check("--fail-status 400:1", "rejects the format of the requests", "--body");
    check("--fail-code 40503:1", "rejects the format of the requests", "--body");
}

#[test]
fn a_wrong_url_exits_with_4() {
    let (shell, api) = (Shell::with_domains(3), Api::new(""));
    let wrong = api.url().replace("/apis/v1", "/apis/v2");
    let ran = shell.run(&format!("run domains.txt --out out --api {wrong} --progress none")).expect(4);
    assert!(ran.stderr.contains("there is no API at this URL"), "{}", ran.stderr);
    // The variable sets it, too, and the flag takes precedence.
    let shell = Shell::with_domains(3).set("BACKLINKS_API_URL", &wrong);
    shell.run("run domains.txt --out out --progress none").expect(4);
    shell.run(&format!("run domains.txt --out out {}", api.flags())).expect(0);
}

#[test]
fn a_stopped_run_resumes() {
    let shell = Shell::with_domains(20);
    let command = |api: &Api| format!("run domains.txt --out out {} {DATES}", api.flags());
    let poor = Api::new("--no-credit-after 7");
    shell.run(&command(&poor)).expect(4);
    let rich = Api::new("");
    shell.run(&command(&rich)).expect(0);
    assert_eq!((poor.bill().billed_calls, rich.bill().calls), (7, 13));
    assert!(shell.is_complete("out"));
}

#[test]
fn the_cap_ends_a_run_with_5_and_is_never_exceeded() {
    let (shell, api) = (Shell::with_domains(30), Api::new("--price 0.05"));
    let command = |cap: &str| format!("run domains.txt --out out {} {DATES} --max-cost {cap}", api.flags());
    let ran = shell.run(&command("0.52")).expect(5);
    assert!(ran.stderr.contains("--max-cost $0.52 does not cover another call"), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("hint: all paid answers are saved; run the same command again with a higher --max-cost")
    );
    assert_eq!((api.bill().billed_calls, shell.is_complete("out")), (10, false));
    // The cap applies to the directory, not to one run.
    shell.run(&command("0.52")).expect(5);
    assert_eq!(api.bill().billed_calls, 10);
    shell.run(&command("1.50")).expect(0);
    assert_eq!(api.bill().billed_calls, 30);
}

#[test]
fn answers_about_another_target_are_never_accepted() {
    let (shell, api) = (Shell::with_domains(20), Api::new("--fail-wrong-target 1"));
    let ran = shell.run(&format!("run domains.txt --out out --summary json {} {DATES}", api.flags())).expect(3);
    let json = ran.json();
    assert_eq!((&json["ok"], &json["rows"], &json["failed"]), (&0.into(), &0.into(), &20.into()));
    // Each was called twice, and the cost is reported.
    assert_eq!(api.bill().billed_calls, 40);
    assert!(json["cost_usd"].as_f64().expect("a number") > 0.0);
    assert!(shell.read("out/_failures.csv").contains("wrong_target"));
}

#[test]
fn shards_are_disjoint_and_a_replay_of_all_is_the_whole_dataset() {
    let (shell, api) = (Shell::with_domains(60), Api::new(""));
    shell.run(&format!("run domains.txt --out whole {} {DATES}", api.flags())).expect(0);
    let mut targets = 0;
    for number in 1..=4 {
        let words =
            format!("run domains.txt --out part{number} --shard {number}/4 --summary json {} {DATES}", api.flags());
        targets += shell.run(&words).expect(0).json()["targets"].as_u64().expect("a number");
    }
    assert_eq!(targets, 60);
    let bill = api.bill();
    assert!(bill.calls == 120 && bill.billed_targets.values().all(|calls| *calls == 2), "each target in one shard");
    let shell = shell.unset("AISA_API_KEY");
    let some = shell.run("replay part1 part4 --out some").expect(0).stderr;
    assert!(some.contains("missing shards: 2/4, 3/4;"), "{some}");
    let all = shell.run("replay part1 part2 part3 part4 --out merged --summary json").expect(0);
    assert!(!all.stderr.contains("missing shards"), "{}", all.stderr);
    let json = all.json();
    assert_eq!((&json["targets"], &json["calls"]), (&60.into(), &60.into()));
    assert!(shell.is_complete("merged"));
    assert_eq!(shell.bytes("merged/backlinks_history"), shell.bytes("whole/backlinks_history"));
    assert_eq!(api.bill(), bill, "no call is made");
}

#[test]
fn a_directory_of_one_shard_rejects_lines_of_another() {
    let (shell, api) = (Shell::with_domains(40), Api::new("--fail-code 40501:0.3"));
    let run = |command: &str, input: &str, shard: &str| {
        format!("{command} {input} --out part {shard} {} {DATES}", api.flags())
    };
    shell.run(&run("run", "domains.txt", "--shard 1/4")).expect(3);
    let calls = api.bill().calls;
    for shard in ["--shard 2/4", "--shard 1/2", ""] {
        for command in ["run", "plan"] {
            let ran = shell.run(&run(command, "domains.txt", shard)).expect(2);
            assert!(ran.stderr.contains("this directory contains shard 1/4, but "), "{}", ran.stderr);
            assert!(ran.stderr.contains("hint: use --shard 1/4, or the --out of the shard"), "{}", ran.stderr);
        }
    }
    assert_eq!(api.bill().calls, calls, "nothing is called");
    // Lines of this shard are accepted, regardless of the flag.
    shell.run(&run("run", "part/_failures.csv", "")).expect(0);
    assert!(api.bill().calls > calls);
}

#[test]
fn a_replay_replaces_the_dataset_of_other_runs_only_with_replace() {
    let (shell, api) = (Shell::with_domains(5), Api::new(""));
    for run in ["one", "two"] {
        shell.run(&format!("run domains.txt --out {run} {} {DATES}", api.flags())).expect(0);
    }
    let check = |words: &str, code: i32| {
        let ran = shell.run(&format!("replay {words}")).expect(code);
        assert_eq!(ran.stderr.contains("contains a dataset of another run"), code == 2, "{words}: {}", ran.stderr);
    };
    check("one --out merged", 0);
    let built = shell.files("merged");
    check("two --out merged", 2);
    assert!(shell.files("merged") == built, "nothing is touched");
    check("one --out merged --compression snappy", 0);
    // Adding a run removes nothing.
    check("one two --out merged", 0);
    check("two --out merged", 2);
    check("two --out merged --replace", 0);
    check("one --out merged --replace", 0);
    // An unreadable record may be of any run.
    shell.write("merged/_run.json", "{}");
    let refused = shell.run("replay two --out merged").expect(1);
    assert!(refused.stderr.contains("cannot read merged/_run.json: missing field"), "{}", refused.stderr);
    check("two --out merged --replace", 0);
}

#[test]
fn plan_shows_the_first_rejected_lines_and_lists_all_in_json() {
    let shell = Shell::with_domains(1);
    let check = |rejected: usize, more: &str| {
        let lines: Vec<String> = (1..=rejected).map(|number| format!("no domain {number}")).collect();
        shell.write("list.txt", format!("a.com\n{}\n", lines.join("\n")));
        let text = shell.run("plan list.txt").expect(0).stdout;
        assert_eq!(text.matches("no domain").count(), rejected.min(5), "{text}");
        assert_eq!(text.contains("more; --format json lists all"), !more.is_empty(), "{text}");
        assert!(text.contains(more), "{text}");
        let json = shell.run("plan list.txt --format json").expect(0).json();
        let listed = json["rejected_lines"].as_array().expect("a list");
        assert!(listed.iter().map(|line| line["input"].as_str().expect("a line")).eq(lines), "{json}");
        assert_eq!((&listed[0]["file"], &listed[0]["line"]), (&"list.txt".into(), &2.into()));
    };
    check(5, "");
    check(6, "and 1 more;");
    check(1_200, "and 1,195 more;");
}

#[test]
fn an_unreadable_record_is_an_error_of_every_command_and_costs_nothing() {
    let (shell, api) = (Shell::with_domains(5), Api::new(""));
    let flags = format!("{} {DATES}", api.flags());
    shell.run(&format!("run domains.txt --out out {flags}")).expect(0);
    let (record, files, calls) = (shell.read("out/_run.json"), shell.files("out"), api.bill().calls);
    let check = |words: &str| {
        let ran = shell.run(words).expect(1);
        let error = "cannot read out/_run.json: ";
        assert!([ran.stderr, ran.stdout].concat().contains(error), "{words}");
    };
    for text in ["", "{}", &record[..record.len() / 2], &record.replace("zstd:1", "new:9")] {
        shell.write("out/_run.json", text);
        check(&format!("run domains.txt --out out {flags}"));
        check(&format!("plan domains.txt --out out {DATES}"));
        check(&format!("doctor domains.txt --out out {flags}"));
        check(&format!("run domains.txt --out other --previous out {flags}"));
        check("replay out --out merged");
        check("report out");
        shell.run("verify out").expect(1);
    }
    // The hint recommends this.
    fs::remove_file(shell.path("out/_run.json")).expect("removed");
    shell.run(&format!("run domains.txt --out out {flags}")).expect(0);
    assert!(shell.files("out").keys().eq(files.keys()));
    assert_eq!(api.bill().calls, calls, "nothing is called");
}

#[test]
fn another_spelling_of_a_path_changes_nothing() {
    let (shell, api) = (Shell::with_domains(5), Api::new(""));
    let run = |input: &str, more: &str| format!("run {input} --out out {more} {} {DATES}", api.flags());
    shell.run(&run("domains.txt", "")).expect(0);
    let (before, calls) = (shell.files("out"), api.bill().calls);
    let absolute = shell.path("domains.txt").display().to_string();
    for input in ["./domains.txt", ".//domains.txt", "out/../domains.txt", &absolute] {
        shell.run(&run(input, "")).expect(0);
        assert!(shell.files("out") == before, "{input}");
    }
    // A file outside the current folder, with any spelling of its path.
    let elsewhere = tempfile::tempdir().expect("a folder");
    let (folder, copy) = (elsewhere.path().join("lists"), elsewhere.path().join("lists/domains.txt"));
    fs::create_dir(&folder).expect("made");
    fs::copy(shell.path("domains.txt"), &copy).expect("copied");
    for input in [copy.clone(), folder.join("../lists/domains.txt")] {
        shell.run(&run(&input.display().to_string(), "")).expect(0);
        assert!(shell.files("out") == before, "{}", input.display());
    }
    shell.run(&run(&absolute, "--discard-raw")).expect(0);
    let before = shell.files("out");
    shell.run(&run("./domains.txt", "--discard-raw")).expect(0);
    assert!(shell.files("out") == before);
    assert_eq!(api.bill().calls, calls);
}

#[test]
fn sandbox_and_api_exclude_each_other() {
    let shell = Shell::with_domains(2);
    for command in ["run", "plan", "doctor"] {
        let ran = shell.run(&format!("{command} domains.txt --out out --sandbox --api http://127.0.0.1:1")).expect(2);
        assert!(ran.stderr.contains("cannot be used with"), "{}", ran.stderr);
    }
    let shell = shell.set("BACKLINKS_API_URL", "http://127.0.0.1:1");
    shell.run(&format!("run domains.txt --out out --sandbox {DATES}")).expect(0);
    // The command line takes precedence over a config file.
    shell.write("run.toml", "api = \"http://127.0.0.1:1\"\n");
    shell.run(&format!("run domains.txt --out out --sandbox --config run.toml {DATES}")).expect(0);
}

#[test]
fn a_broken_link_as_the_directory_is_rejected() {
    let shell = Shell::with_domains(1);
    std::os::unix::fs::symlink("nowhere", shell.path("out")).expect("a link");
    for command in ["run domains.txt --out out --sandbox", "plan domains.txt --out out"] {
        let ran = shell.run(command).expect(2);
        assert!(ran.stderr.contains("out is a symbolic link to a path that does not exist"), "{}", ran.stderr);
        assert!(ran.stderr.contains("hint: create the directory that the link leads to"), "{}", ran.stderr);
    }
}

#[test]
fn a_replay_rejects_the_same_run_twice_and_a_run_in_progress() {
    let (shell, api) = (Shell::with_domains(10), Api::new(""));
    shell.run(&format!("run domains.txt --out out {} {DATES}", api.flags())).expect(0);
    std::os::unix::fs::symlink(shell.path("out"), shell.path("link")).expect("a link");
    for again in ["out", "./out/", "link"] {
        let ran = shell.run(&format!("replay out {again} --out merged")).expect(2);
        assert!(ran.stderr.contains("contain the same run"), "{}", ran.stderr);
    }
    let open = fs::File::open(shell.path("out")).expect("a directory");
    open.lock().expect("locked, as by a run");
    let ran = shell.run("replay out --out merged").expect(1);
    assert!(ran.stderr.contains("out is in use by another run"), "{}", ran.stderr);
    let ran = shell.run("verify out").expect(1);
    let hint = "hint: wait for it to end, then run the same command again";
    assert!(ran.stderr.contains(hint) && !ran.stderr.contains("--out"), "{}", ran.stderr);
    drop(open);
    shell.run("replay out --out merged").expect(0);
}

#[test]
fn shards_that_cannot_share_a_limit_are_rejected() {
    let (shell, api) = (Shell::with_domains(10), Api::new(""));
    for (limits, what) in [("--rate 3/s", "a rate of 3/s"), ("--concurrency 3", "3 in flight")] {
        for command in ["run", "plan"] {
            let ran = shell
                .run(&format!("{command} domains.txt --out out --shard 2/4 {limits} --api {}", api.url()))
                .expect(2);
            assert!(ran.stderr.contains(&format!("4 shards cannot share {what}")), "{}", ran.stderr);
        }
    }
    assert_eq!(api.bill().calls, 0);
}

#[test]
fn a_directory_whose_name_is_not_utf_8_can_contain_a_run_but_is_not_replayed() {
    let shell = Shell::with_domains(2);
    let name = OsStr::from_bytes(b"d\xff");
    let run = shell.command("run domains.txt --sandbox --out").arg(name).status().expect("the program starts");
    assert_eq!(run.code(), Some(0));
    let ran = shell.command("replay --out other").arg(name).output().expect("the program starts");
    let stderr = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("not valid UTF-8") && stderr.contains("hint: rename"), "{stderr}");
}

#[test]
fn a_replay_takes_other_partitions_and_compressions() {
    let (shell, api) = (Shell::with_domains(10), Api::new(""));
    shell.run(&format!("run domains.txt --out out {} {DATES}", api.flags())).expect(0);
    let before = shell.files("out");
    let shell = shell.unset("AISA_API_KEY");
    let check = |flags: &str, example: &str| {
        let dir = flags.replace(|character: char| !character.is_ascii_alphanumeric(), "_");
        shell.run(&format!("replay out --out {dir} {flags}")).expect(0);
        let files = shell.files(&format!("{dir}/backlinks_history"));
        let found: Vec<_> = files.keys().map(|path| path.parent().expect("a folder").display().to_string()).collect();
        assert!(found.iter().any(|folder| folder == example), "{flags}: {found:?}");
        let again = shell.files(&dir);
        shell.run(&format!("replay out --out {dir} {flags}")).expect(0);
        assert_eq!(shell.files(&dir), again, "{flags}: a second time changes nothing");
    };
    check("--partition-by none --compression snappy", "");
    check("--partition-by year,month --compression lz4", "year=2024/month=2");
    check("--partition-by month --compression none", "month=11");
    check("--compression zstd:19", "year=2023");
    assert_eq!(shell.files("out"), before);
    let days = shell.run("replay out --out days --partition-by run_date").expect(0);
    assert!(days.stdout.starts_with("Done: 10 of 10"), "{}", days.stdout);
    let folders = fs::read_dir(shell.path("days/backlinks_history")).expect("a folder").count();
    assert_eq!(folders, 1);
}

#[test]
fn without_raw_answers_a_dataset_cannot_be_changed() {
    let (shell, api) = (Shell::with_domains(8), Api::new(""));
    let command = format!("run domains.txt --out out --discard-raw {} {DATES}", api.flags());
    shell.run(&command).expect(0);
    assert!(shell.is_complete("out") && shell.files("out").keys().all(|path| !path.starts_with("_raw")));
    let files = shell.files("out");
    shell.run(&command).expect(0);
    shell.run(&command.replace(" --discard-raw", "")).expect(0);
    let plan = format!("plan domains.txt --out out --format json --sandbox {DATES}");
    let plan = shell.run(&plan).expect(0).json();
    assert_eq!((&plan["held"], &plan["calls"]), (&8.into(), &0.into()));
    shell.run(&format!("{command} --partition-by none")).expect(2);
    shell.run(&format!("{command} --compression snappy")).expect(2);
    shell.run("replay out --out other").expect(2);
    shell.list(0..9);
    let ran = shell.run(&command).expect(2);
    assert!(ran.stderr.contains("were deleted by --discard-raw"), "{}", ran.stderr);
    assert_eq!(shell.files("out"), files);
    assert_eq!(api.bill().calls, 8);
}

#[test]
fn a_plan_describes_the_run_and_writes_nothing() {
    let (shell, api) = (Shell::with_domains(20), Api::new("--no-credit-after 5 --price 0.05"));
    shell.run(&format!("run domains.txt --out out {} {DATES}", api.flags())).expect(4);
    shell.write("domains.txt", shell.read("domains.txt") + "site0.com\nno domain\n");
    let (files, bill) = (shell.files("out"), api.bill());
    let json = shell.run(&format!("plan domains.txt --out out --format json {} {DATES}", api.flags())).expect(0).json();
    for key in "targets rejected duplicates held calls cost_usd_low cost_usd_high elapsed_s rows bytes".split(' ') {
        assert!(json[key].is_number(), "{key} in {json}");
    }
    let counts =
        ["targets", "rejected", "duplicates", "held", "calls"].map(|key| json[key].as_u64().expect("a number"));
    assert_eq!(counts, [20, 1, 1, 5, 15]);
    assert_eq!(json["price_source"], "own_calls");
    assert_eq!(json["cost_usd_high"], 0.75);
    assert!(json["balance_usd"].as_f64().expect("a balance") > 0.0);
    let new = shell.run(&format!("plan domains.txt --out new {}", api.flags())).expect(0);
    assert!(new.stdout.contains("list price"), "{}", new.stdout);
    assert!(!shell.path("new").exists());
    assert_eq!((shell.files("out"), api.bill().calls), (files, bill.calls));
}

#[test]
fn a_plan_needs_no_token_and_no_api() {
    let shell = Shell::with_domains(2).unset("AISA_API_KEY");
    let plan = shell.run("plan domains.txt --format json").expect(0);
    assert!(plan.json()["balance_usd"].is_null());
    assert_eq!(plan.stderr, "");
    // A port without a server.
    let shell = shell.set("AISA_API_KEY", TOKEN);
    let plan = shell.run("plan domains.txt --api http://127.0.0.1:1/apis/v1").expect(0);
    assert!(plan.stdout.contains("balance     unknown: cannot reach http://127.0.0.1:1 "), "{}", plan.stdout);
    let lock = Lock::take(&shell.path("out")).expect("free");
    let plan = shell.run("plan domains.txt --out out").expect(0);
    assert!(plan.stderr.contains("out is in use by another run, so less may be left to fetch"), "{}", plan.stderr);
    drop(lock);
    let plan = shell.run("plan domains.txt --token-file nowhere").expect(0);
    assert!(plan.stdout.contains("balance     unknown: cannot read the token"), "{}", plan.stdout);
}

#[test]
fn a_plan_has_no_flag_that_could_buy() {
    let (shell, api) = (Shell::with_domains(2), Api::new(""));
    let plan = shell.run(&format!("plan domains.txt --quote {}", api.flags())).expect(2);
    assert!(plan.stderr.contains("--quote"), "{}", plan.stderr);
    assert_eq!(api.bill().calls, 0);
}

#[test]
fn log_lines_are_json_on_request() {
    let (shell, api) = (Shell::with_domains(5), Api::new("--fail-503 0.5 --fail-attempts 1"));
    shell.write("more.txt", "no domain\nblog.site1.com\n");
    let lines = |words: &str, code: i32| {
        let ran = shell.run(words).expect(code);
        let lines: Vec<Value> = ran
            .stderr
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect();
        assert!(lines.iter().all(Value::is_object), "{}", ran.stderr);
        lines
    };
    let flags = format!("--api {} {DATES} --log-format json -v", api.url());
    let log = lines(&format!("run domains.txt more.txt --out out {flags}"), 0);
    assert!(log.iter().any(|line| line["event"] == "end"), "progress is JSON, too");
    assert!(log.iter().any(|line| line["level"] == "WARN") && log.iter().any(|line| line["level"] == "DEBUG"));
    assert!(log.iter().any(|line| line["message"] == "answered" && line["http_status"] == 200));
    let log = lines(&format!("run domains.txt --out other {flags} --progress none"), 0);
    assert!(log.iter().any(|line| line["message"] == "answered"), "without progress, too");
    let log = lines("run missing.txt --out other --log-format json", 2);
    assert_eq!((log[0]["level"].as_str(), log.len()), (Some("ERROR"), 1));
    assert!(log[0]["hint"].is_string());
    // In JSON mode, text lines become JSON, too.
    lines(&format!("run domains.txt more.txt --out third --api {} --progress json -v", api.url()), 0);
}

#[test]
fn progress_is_shown_as_requested() {
    let (shell, api) = (Shell::with_domains(5), Api::new(""));
    let stderr = |flags: &str, dir: &str| {
        shell.run(&format!("run domains.txt --out {dir} --api {} {DATES} {flags}", api.url())).expect(0).stderr
    };
    assert!(stderr("--progress plain", "a").starts_with("[00:00] 5 of 5 targets to fetch"));
    assert!(stderr("--progress bar", "b").starts_with("[00:00]"), "no terminal, no bar");
    assert!(stderr("", "c").starts_with("[00:00]"));
    assert!(stderr("--progress json", "d").starts_with("{\"event\":\"progress\""));
    assert_eq!(stderr("--progress none", "e"), "");
    assert_eq!(stderr("--quiet", "f"), "");
    assert!(stderr("--quiet --progress plain", "g").starts_with("[00:00]"));
}

#[test]
fn without_a_terminal_no_question_is_asked() {
    // Far above --confirm-above, but without a terminal it starts at once.
    let (shell, api) = (Shell::with_domains(20), Api::new(""));
    let ran = shell.run_with(&format!("run domains.txt --out out --confirm-above 0 {} {DATES}", api.flags()), "n\n");
    let ran = ran.expect(0);
    assert!(!ran.stderr.contains("Go on?"), "{}", ran.stderr);
    assert_eq!(api.bill().billed_calls, 20);
}

#[test]
fn the_token_appears_only_in_the_header() {
    let api = Api::new(&format!("--token {TOKEN} --latency 100ms --fail-503 0.2 --fail-code 40501:0.2"));
    let shell = Shell::with_domains(30);
    let words = format!("run domains.txt --out out {} {DATES} -vv --max-failures 90%", api.flags());
    let child = shell.command(&words).env("RUST_LOG", "trace").spawn().expect("the program starts");
    // While it runs, every user of the machine can read this.
    let seen = fs::read(format!("/proc/{}/cmdline", child.id())).unwrap_or_default();
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let has_token = |bytes: &[u8]| bytes.windows(TOKEN.len()).any(|window| window == TOKEN.as_bytes());
    assert!(!has_token(&seen) && !has_token(&output.stdout) && !has_token(&output.stderr));
    assert!(output.stderr.len() > 1_000, "it logs");
    for (path, (bytes, _)) in shell.files("out") {
        assert!(!has_token(&bytes), "{}", path.display());
    }
    let ledger = fs::read(shell.path("out/_raw/ledger-0.jsonl.gz")).expect("a ledger");
    assert!(!has_token(&gunzip(&ledger).expect("sound")));
    // From a file with a line break at its end, as editors write it.
    shell.write("token", format!("{TOKEN}\n"));
    let shell = shell.unset("AISA_API_KEY");
    shell.run(&format!("run domains.txt --out new --token-file token {} --max-failures 90%", api.flags())).expect(0);
}

#[test]
fn simulated_answers_are_never_mixed_with_real_ones() {
    let (shell, api) = (Shell::with_domains(2), Api::new(""));
    shell.run(&format!("run domains.txt --out out --sandbox --progress none {DATES}")).expect(0);
    assert!(shell.files("out/targets").keys().all(|path| path.display().to_string().starts_with("part-sandbox-")));
    let ran = shell.run(&format!("run domains.txt --out out {} {DATES}", api.flags())).expect(2);
    assert!(ran.stderr.contains("hint: use --sandbox (simulated answers) to resume"), "{}", ran.stderr);
    shell.run(&format!("run domains.txt --out real {} {DATES}", api.flags())).expect(0);
    shell.run("replay out real --out both").expect(2);
    assert_eq!(api.bill().calls, 2);
}

#[test]
fn a_report_and_metrics_go_where_the_path_leads_and_replace_nothing_else() {
    let (shell, api) = (Shell::with_domains(3), Api::new(""));
    let run = format!("run domains.txt --out out {DATES} {}", api.flags());
    shell.run(&run).expect(0);
    let page = {
        shell.run("report out").expect(0);
        shell.read("out/report.html")
    };
    let metrics = |text: &str| text.contains("backlinks_export_targets");
    for output in ["-", "/dev/stdout"] {
        assert!(shell.run(&format!("report out --output {output}")).expect(0).stdout == page, "{output}");
        assert!(metrics(&shell.run(&format!("{run} --metrics {output}")).expect(0).stdout), "{output}");
    }
    // Standard output may be a file that has content.
    shell.write("log", "before\n");
    let log = fs::OpenOptions::new().append(true).open(shell.path("log")).expect("there");
    assert!(shell.command("report out --output /dev/stdout").stdout(log).status().expect("it ends").success());
    assert!(shell.read("log") == format!("before\n{page}"));
    // A symbolic link stays one, and the file that it leads to is written, whether or not it exists.
    fs::create_dir(shell.path("real")).expect("made");
    shell.write("real/old", "old");
    for name in ["old", "new"] {
        let link = shell.path(name);
        std::os::unix::fs::symlink(format!("real/{name}"), &link).expect("linked");
        shell.run(&format!("report out --output {name}")).expect(0);
        assert!(link.is_symlink() && shell.read(&format!("real/{name}")) == page, "{name}");
        shell.run(&format!("{run} --metrics {name}")).expect(0);
        assert!(link.is_symlink() && metrics(&shell.read(&format!("real/{name}"))), "{name}");
    }
    // A named pipe is written to.
    let pipe = shell.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo is there").success());
    for command in ["report out --output pipe", &format!("{run} --metrics pipe")] {
        let mut child = shell.command(command).spawn().expect("it starts");
        let read = fs::read_to_string(&pipe).expect("readable");
        assert!(child.wait().expect("it ends").success());
        assert!(read == page || metrics(&read), "{command}: {read}");
        assert!(!pipe.is_file(), "{command}");
    }
    let ran = shell.run("report out --output pipe").expect(1);
    assert!(ran.stderr.contains("no program has opened it for reading"), "{}", ran.stderr);
    // Unsuitable paths.
    let before = shell.files("out");
    std::os::unix::fs::symlink("out/_raw/ledger-0.jsonl.gz", shell.path("ledger")).expect("linked");
    for path in ["out/_raw/ledger-0.jsonl.gz", "ledger", "out/_run.json", "out/_SUCCESS", "out/backlinks_history/x"] {
        let ran = shell.run(&format!("report out --output {path}")).expect(2);
        assert!(ran.stderr.contains("is part of an export"), "{path}: {}", ran.stderr);
        let ran = shell.run(&format!("{run} --metrics {path}")).expect(0);
        assert!(ran.stderr.contains("is part of an export"), "{path}: {}", ran.stderr);
    }
    assert!(shell.files("out") == before, "nothing was written");
    // Files that the command reads.
    let link = shell.path("list");
    std::os::unix::fs::symlink("domains.txt", &link).expect("linked");
    shell.write("token", TOKEN);
    shell.write("run.toml", "max-cost = 5\n");
    for path in ["domains.txt", "list", "./out/../domains.txt", "token", "run.toml"] {
        let reading = format!("{run} --token-file token --config run.toml");
        let ran = shell.run(&format!("{reading} --metrics {path}")).expect(2);
        assert!(ran.stderr.contains(&format!("--metrics {path} would replace a file")), "{path}: {}", ran.stderr);
    }
    assert_eq!(shell.read("domains.txt").lines().count(), 3);
    shell.run("report out --output /dev/null").expect(0);
    let ran = shell.run("report out --output none/x.html").expect(1);
    assert!(ran.stderr.contains("hint: create the directory, or use another path"), "{}", ran.stderr);
    assert!(shell.run("report out --output out/targets").expect(2).stderr.contains("is a directory"));
}

#[test]
fn a_replay_goes_neither_into_its_sources_nor_around_them() {
    let (shell, api) = (Shell::with_domains(3), Api::new(""));
    shell.run(&format!("run domains.txt --out all/one {DATES} {}", api.flags())).expect(0);
    let before = shell.files("all");
    std::os::unix::fs::symlink(shell.path("all/one"), shell.path("link")).expect("linked");
    let absolute = shell.path("all").display().to_string();
    for (source, out) in [
        ("all/one", "all/one/sub"),
        ("all/one", "all/one/sub/new"),
        ("all/one/", "./link/sub"),
        ("link", "all/one/_raw"),
        ("all/one", "all"),
        ("link", &absolute),
        ("all/one", "nosuch/../all/one/sub"),
        ("all/one", "nosuch/below/../../link/sub"),
        ("all/one", "nosuch/.."),
    ] {
        let ran = shell.run(&format!("replay {source} --out {out}")).expect(2);
        assert!(ran.stderr.contains("overlap: one contains the other"), "{source} {out}: {}", ran.stderr);
    }
    assert!(shell.files("all") == before && !shell.path("nosuch").exists(), "nothing was written");
    let beside = ["all/one-replayed", "new/below", "all/one/../two", "nosuch/../all/one/../three", "link/../four"];
    for (source, out) in beside.map(|out| ("all/one", out)).into_iter().chain([("link", "two")]) {
        shell.run(&format!("replay {source} --out {out}")).expect(0);
    }
}
