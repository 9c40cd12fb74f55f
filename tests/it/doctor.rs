//! `doctor`: its findings for correct and faulty setups; nothing is bought, and no file is left behind.

use std::fs;

use backlinks_export::ledger::Lock;
use insta::assert_snapshot;
use serde_json::Value;

use super::members::{member, members};
use super::shell::{Api, DATES, Ran, Shell};

/// Each check's name and level.
fn levels(json: &Value) -> Vec<String> {
    let checks = json["checks"].as_array().expect("a list");
    checks.iter().map(|check| format!("{} {}", text(&check["name"]), text(&check["level"]))).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn message<'a>(json: &'a Value, name: &str) -> &'a str {
    let found = json["checks"].as_array().expect("a list").iter().find(|check| check["name"] == name);
    text(&found.unwrap_or_else(|| panic!("no {name} in {json}"))["message"])
}

/// Runs it with JSON output. Every failure and every warning has a hint.
fn doctor(shell: &Shell, words: &str, code: i32) -> (Value, Ran) {
    let ran = shell.run(&format!("doctor --format json {words}")).expect(code);
    let json = ran.json();
    for check in json["checks"].as_array().expect("a list") {
        assert_eq!(check["hint"].is_string(), check["level"] != "ok", "{check}");
    }
    assert_eq!(json["ok"], code == 0, "{json}");
    assert_eq!(ran.stderr.contains("error: "), code != 0, "{}", ran.stderr);
    (json, ran)
}

#[test]
fn a_correct_setup_has_no_warnings() {
    let (shell, api) = (Shell::with_domains(20), Api::new(""));
    let (json, _) = doctor(&shell, &format!("domains.txt --out out --max-cost 5 {}", api.flags()), 0);
    let names = ["inputs", "directory", "write", "space", "api", "token", "balance", "cost", "clock"];
    let expected: Vec<_> = names.iter().map(|name| format!("{name} ok")).collect();
    assert_eq!(levels(&json), expected, "{json}");
    assert_eq!(message(&json, "inputs"), "20 targets");
    assert_eq!(message(&json, "directory"), "out will be created");
    assert_eq!(message(&json, "balance"), "$1,000.00 left on the account");
    assert!(message(&json, "cost").ends_with("for 20 calls; --max-cost leaves $5.00"), "{json}");
    assert_eq!((api.bill().calls, api.bill().strayed), (0, 0));
    let left: Vec<_> = fs::read_dir(shell.path(".")).expect("a folder").collect();
    assert_eq!(left.len(), 1, "{left:?}");
    // Also without any argument, and with its own simulated API, which has no token, balance or clock to check.
    let simulated = |words: &str| levels(&doctor(&shell, &format!("{words} --sandbox"), 0).0);
    assert_eq!(simulated(""), ["directory warning", "api ok"]);
    assert_eq!(simulated("domains.txt --out out"), ["inputs ok", "directory ok", "write ok", "space ok", "api ok"]);
    assert!(simulated("domains.txt --max-cost 0.1").contains(&"cost warning".to_owned()));
    assert!(!simulated("domains.txt --max-cost 0.1 --limit 1").contains(&"cost warning".to_owned()));
}

#[test]
fn a_directory_is_described_by_its_contents() {
    let (shell, api) = (Shell::with_domains(6), Api::new(""));
    let run = format!("run domains.txt --out out {} {DATES}", api.flags());
    shell.run(&run).expect(0);
    let files = shell.files("out");
    let look = |dir: &str, more: &str, code: i32, wanted: &str| {
        let (json, _) = doctor(&shell, &format!("--out {dir} {} {more}", api.flags()), code);
        assert!(message(&json, "directory").contains(wanted), "{dir}: {json}");
        json
    };
    let dates = "--date-from 2023-11-01";
    look("out", dates, 0, "out contains 6 answers of an earlier run");
    // Stored answers cost nothing.
    let json = look("out", &format!("{dates} domains.txt"), 0, "is complete: 6 answers stored, nothing to fetch");
    assert!(message(&json, "cost").starts_with("none"), "{json}");
    assert!(message(&json, "space").ends_with("B free"), "{json}");
    shell.list(0..8);
    look("out", &format!("{dates} domains.txt"), 0, "contains 6 answers; 2 targets left");
    shell.list(0..6);
    assert_eq!(shell.files("out"), files);
    for name in ["_SUCCESS", "backlinks_history", "_failures.csv"] {
        let path = shell.path("out").join(name);
        if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }.expect("removed");
        look("out", &format!("{dates} domains.txt"), 0, "contains all 6 answers; the next run publishes the dataset");
        shell.run(&run).expect(0);
        assert!(path.exists() && api.bill().calls == 6, "{name}");
    }
    look("out", "", 1, "was started with --date-from 2023-11-01, but this command uses --date-from 2019-01-01");
    let (json, _) = doctor(&shell, &format!("--out out {dates} --sandbox"), 1);
    assert!(message(&json, "directory").contains("real answers (without --sandbox)"), "{json}");
    fs::create_dir(shell.path("empty")).expect("made");
    look("empty", "", 0, "empty is empty");
    fs::create_dir(shell.path("foreign")).expect("made");
    shell.write("foreign/thesis.doc", "years of work");
    look("foreign", "", 1, "foreign is not empty and does not contain a run");
    let json = look("domains.txt/x", "", 1, "domains.txt/x is not a directory");
    assert!(!levels(&json).contains(&"write ok".to_owned()), "nothing else is said about it: {json}");
    shell.run("replay out --out merged").expect(0);
    look("merged", "", 1, "contains a dataset built by replay");
    let ledger = shell.path("out/_raw/ledger-0.jsonl.gz");
    let stored = fs::read(&ledger).expect("a ledger");
    fs::remove_dir_all(shell.path("out/_raw")).expect("removed");
    look("out", dates, 1, "contains a dataset, but its ledger out/_raw/ledger-0.jsonl.gz is missing");
    fs::create_dir(shell.path("out/_raw")).expect("made");
    fs::write(&ledger, stored).expect("written");
    let lock = Lock::take(&shell.path("out")).expect("free");
    let json = look("out", dates, 1, "out is in use by another run");
    assert!(!levels(&json).contains(&"write ok".to_owned()), "nothing is written beside a run: {json}");
    drop(lock);
    // Damage, and other files among those that will be replaced.
    fs::write(shell.path("out/backlinks_history/notes.txt"), "mine").expect("written");
    look("out", dates, 1, "notes.txt");
    fs::remove_file(shell.path("out/backlinks_history/notes.txt")).expect("removed");
    shell.run(&format!("{run} --discard-raw")).expect(0);
    look("out", dates, 0, "its raw answers were deleted");
    let json = look("out", &format!("{dates} domains.txt"), 0, "is complete: 6 answers stored, nothing to fetch");
    assert!(message(&json, "cost").starts_with("none"), "{json}");
    shell.list(0..8);
    look("out", &format!("{dates} domains.txt"), 1, "so its dataset cannot be changed");
}

#[test]
fn a_run_with_nothing_to_fetch_needs_neither_the_api_nor_a_token() {
    let (shell, api) = (Shell::with_domains(2), Api::new(""));
    let flags = format!("--out out {DATES}");
    shell.run(&format!("run domains.txt {flags} {}", api.flags())).expect(0);
    let check = |shell: &Shell, api: &str, api_level: &str| {
        for (command, code) in [(format!("domains.txt {flags} {api}"), 0), (format!("--out new domains.txt {api}"), 1)]
        {
            let (json, _) = doctor(shell, &command, code);
            let wanted = [format!("api {api_level}"), "token warning".to_owned()];
            assert!(code == 1 || wanted.iter().all(|wanted| levels(&json).contains(wanted)), "{command}: {json}");
        }
        shell.run(&format!("run domains.txt {flags} {api}")).expect(0);
    };
    check(&shell, "--api http://127.0.0.1:1", "warning");
    let refusing = Api::new("--token another");
    check(&shell, &format!("--api {}", refusing.url()), "ok");
    let shell = shell.unset("AISA_API_KEY");
    check(&shell, &format!("--api {}", api.url()), "ok");
    // The URL is checked all the same.
    let (json, _) = doctor(&shell, &format!("domains.txt {flags} --api http://api.example.com"), 1);
    assert!(message(&json, "api").contains("would send the token unencrypted"), "{json}");
    shell.run(&format!("run domains.txt {flags} --api http://api.example.com")).expect(2);
}

#[test]
fn a_directory_of_another_version_is_a_warning() {
    let (shell, api) = (Shell::with_domains(2), Api::new(""));
    shell.run(&format!("run domains.txt --out out {}", api.flags())).expect(0);
    // The first record, in its own member, contains the version that started the run.
    let ledger = shell.path("out/_raw/ledger-0.jsonl.gz");
    let bytes = fs::read(&ledger).expect("a ledger");
    let (first, head) = members(&bytes).swap_remove(0);
    let head = String::from_utf8(head).expect("text");
    let version = concat!("\"version\":\"", env!("CARGO_PKG_VERSION"), "\"");
    assert!(head.contains(version), "{head}");
    let older = member(head.replace(version, "\"version\":\"0.0.9\"").as_bytes());
    let rewritten = [&older, &bytes[first.len()..]].concat();
    fs::write(&ledger, rewritten).expect("written");
    // The record contains the length of the ledger.
    fs::remove_file(shell.path("out/_run.json")).expect("removed");
    let (json, _) = doctor(&shell, &format!("--out out {}", api.flags()), 0);
    assert!(message(&json, "directory").starts_with("out was started with version 0.0.9"), "{json}");
}

#[test]
fn every_failure_has_a_hint() {
    let (shell, api) = (Shell::with_domains(100), Api::new("--credit 1"));
    let shell = shell.set("AWS_ENDPOINT_URL", "http://127.0.0.1:1").set("AWS_REGION", "eu-central-1");
    let shell = shell.set("AWS_ACCESS_KEY_ID", "any").set("AWS_SECRET_ACCESS_KEY", "any");
    shell.write("mixed.txt", "site1.com\nnot a domain\n");
    let check = |words: &str, code: i32, name: &str, wanted: &str| {
        let (json, _) = doctor(&shell, words, code);
        assert!(message(&json, name).contains(wanted), "{words}: {json}");
    };
    let api_flags = api.flags();
    check(&format!("domains.txt {api_flags}"), 1, "balance", "$1.00 left on the account, not enough for the run");
    check(&format!("domains.txt {api_flags} --max-cost 0.5"), 0, "cost", "but --max-cost leaves $0.50");
    check(&format!("mixed.txt {api_flags}"), 0, "inputs", "1 target; 1 line is not a valid domain");
    check(&format!("missing.txt {api_flags}"), 1, "inputs", "missing.txt");
    check(&format!("--date-from 2024-02-01 --date-to 2024-01-01 {api_flags}"), 1, "query", "is after --date-to");
    check("--api http://api.example.com", 1, "api", "would send the token unencrypted");
    check("--api https://nowhere.invalid", 1, "api", "cannot reach https://nowhere.invalid, the DNS lookup failed: ");
    check("--api http://127.0.0.1:1", 1, "api", "cannot reach http://127.0.0.1:1 at 127.0.0.1:1: Connection refused");
    check("--api http://127.0.0.1:1", 1, "token", "could not be checked");
    check(&format!("{api_flags} --token-file missing"), 1, "token", "cannot read the token from missing");
    check(&format!("--out /proc/none {api_flags}"), 1, "write", "/proc/none cannot be used: cannot create /proc/");
    // A store that does not exist.
    check(&format!("{api_flags} --publish s3://bucket/latest"), 1, "store", "s3://bucket/latest");
    let refusing = Api::new("--token another");
    check(&refusing.flags(), 1, "token", "the token in AISA_API_KEY is refused: HTTP 401: ");
    let poor = Api::new("--credit 0");
    check(&poor.flags(), 0, "balance", "$0.00 left on the account");
    assert_eq!([&api, &refusing, &poor].map(|api| api.bill().calls), [0, 0, 0]);
    // Without a token, the connection to the API is still tried, and nothing is requested.
    let shell = shell.unset("AISA_API_KEY");
    let (json, _) = doctor(&shell, &api_flags, 1);
    assert!(message(&json, "token").starts_with("no API token: AISA_API_KEY is not set"), "{json}");
    assert!(message(&json, "api").contains(" at 127.0.0.1:"), "{json}");
}

#[test]
fn a_low_limit_of_open_files_is_a_failure() {
    let (shell, api) = (Shell::new(), Api::new(""));
    let mut command = std::process::Command::new("sh");
    let script = format!("ulimit -n 100; exec \"$0\" doctor --api {}", api.url());
    command.args(["-c", &script, env!("CARGO_BIN_EXE_backlinks-export")]).current_dir(shell.path("."));
    let output = command.env("AISA_API_KEY", "any").output().expect("a shell");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{stdout}");
    assert!(
        stdout.contains("failed   files      limit of 100 open files; 20 calls in flight need about 180\n"),
        "{stdout}"
    );
}

#[test]
fn the_text_has_a_line_for_each_check() {
    let shell = Shell::with_domains(3).unset("AISA_API_KEY");
    let ran = shell.run("doctor domains.txt --out out --api http://127.0.0.1:1 --max-cost 0.1").expect(1);
    let stdout: Vec<_> = ran.stdout.lines().filter(|line| !line.contains(" free; ")).collect();
    assert_snapshot!(format!("{}\n{}", stdout.join("\n"), ran.stderr));
    // Flags of run, and a config file, are accepted, too.
    shell.write(
        "run.toml",
        "input = \"domains.txt\"\nsandbox = true\nout = \"out\"\npartition-by = \"none\"\nyes = true\n",
    );
    let stdout = shell.run("doctor --config run.toml --report --max-failures 1%").expect(0).stdout;
    assert!(stdout.starts_with("ok       inputs     3 targets\nok       directory  out will be created\n"), "{stdout}");
}
