//! The texts of the program: help, schemas, and every error that exits with 2.
//!
//! Snapshots, so that a change of wording is reviewed before it is released.

use std::{fmt::Write, fs};

use insta::assert_snapshot;

use super::shell::{Api, Ran, Shell};

/// A usage error: exit 2, nothing on standard output, `error:` first, and a hint.
fn refused(shell: &Shell, words: &str) -> Ran {
    let ran = shell.run(words).expect(2);
    assert_eq!(ran.stdout, "", "{words}");
    assert!(ran.stderr.starts_with("error: "), "{words}: {}", ran.stderr);
    let lines: Vec<&str> = ran.stderr.lines().collect();
    let has_hint = lines.iter().any(|line| line.starts_with("hint: ") || line.contains("--help"));
    assert!(has_hint && lines.len() <= 8, "{words}: {}", ran.stderr);
    ran
}

#[test]
fn help_texts_are_as_reviewed() {
    let shell = Shell::new();
    let check = |name: &str, words: &str| assert_snapshot!(name, shell.run(words).expect(0).stdout);
    check("help", "--help");
    check("help_short", "-h");
    check("run_help", "run --help");
    check("run_help_short", "run -h");
    check("plan_help", "plan --help");
    check("doctor_help", "doctor --help");
    check("replay_help", "replay --help");
    check("report_help", "report --help");
    check("schema_help", "schema --help");
    check("sandbox_help", "sandbox --help");
    check("completions_help", "completions --help");
    check("man_help", "man --help");
}

#[test]
fn short_help_fits_a_screen() {
    let shell = Shell::new();
    for words in
        ["-h", "run -h", "plan -h", "doctor -h", "replay -h", "report -h", "schema -h", "completions -h", "man -h"]
    {
        let lines = shell.run(words).expect(0).stdout.lines().count();
        assert!(lines <= 52, "{words}: {lines} lines");
    }
}

#[test]
fn schemas_are_printed_for_each_reader() {
    let shell = Shell::new();
    for format in ["arrow", "duckdb", "spark", "markdown"] {
        assert_snapshot!(format!("schema_{format}"), shell.run(&format!("schema --format {format}")).expect(0).stdout);
    }
    assert_eq!(shell.run("schema").stdout, shell.run("schema --format arrow").stdout);
}

#[test]
fn completions_and_man_pages_are_generated() {
    let shell = Shell::new();
    for name in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = shell.run(&format!("completions {name}")).expect(0).stdout;
        assert!(script.contains("backlinks-export") && script.contains("max-cost"), "{name}");
    }
    assert!(shell.run("man").expect(0).stdout.contains(".TH backlinks-export 1"));
    let page = shell.run("man run").expect(0).stdout;
    assert!(page.contains(".TH backlinks-export-run 1") && page.contains("max\\-cost"), "{page}");
    assert!(refused(&shell, "man rum").stderr.contains("tip: a similar value exists: 'run'"));
    shell.run("man --out pages/man1").expect(0);
    let pages = shell.files("pages/man1");
    // Every page that the main page refers to exists, and equals the printed one.
    assert_eq!(pages.len(), 11);
    for (name, (bytes, _)) in &pages {
        let name = name.to_string_lossy();
        let command = name.trim_start_matches("backlinks-export").trim_end_matches(".1").trim_start_matches('-');
        let printed = shell.run(&format!("man {command}")).expect(0).stdout;
        assert_eq!(printed.as_bytes(), bytes, "{name}");
        let referred = format!("backlinks\\-export\\-{command}(1)");
        assert!(command.is_empty() || shell.run("man").stdout.contains(&referred), "{referred}");
    }
    shell.write("file", "");
    assert!(shell.run("man --out file/below").expect(1).stderr.starts_with("error: cannot write file/below: "));
    assert!(shell.run("--version").expect(0).stdout.starts_with("backlinks-export "));
}

#[test]
fn the_page_of_fields_has_every_column_of_an_answer() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/fields.md")).expect("the page");
    let schema = Shell::new().run("schema --format markdown").expect(0).stdout;
    let history = schema.split("## backlinks_undated").next().unwrap_or_default();
    let columns = history.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let of_targets = ["task_id", "items_count", "api_version", "api_seconds", "api_status_code", "message", "cost_usd"];
    let columns: Vec<&str> = columns.chain(of_targets).collect();
    assert!(columns.len() > 40, "{columns:?}");
    for column in columns {
        let field = column.replacen("info_", "info.", 1);
        let is_there = [format!("`{field}`"), format!("targets.{field}`")].iter().any(|name| page.contains(name));
        assert!(is_there, "{column}");
    }
}

#[test]
fn every_usage_error_has_a_hint() {
    let shell = Shell::with_domains(2);
    let write = |name: &str, content: &str| shell.write(name, content);
    write("empty.txt", "");
    write("comments.txt", "# nothing\n\n");
    write("rejected.txt", "foo\n");
    write("portfolio.csv", "Name,Domian\na,site1.com\n");
    write("data.csv", "site1.com,x\nsite2.com,y\n");
    write("cut.txt.gz", "\u{1f}\u{8b}");
    fs::create_dir(shell.path("folder")).expect("made");
    fs::create_dir(shell.path("foreign")).expect("made");
    write("foreign/thesis.doc", "years of work");
    write("blank-token", "\n");
    let mut messages = String::new();
    let mut check = |words: &str| {
        let ran = refused(&shell, words);
        let _ = write!(messages, "$ backlinks-export {words}\n{}\n", ran.stderr.trim_end().to_owned() + "\n");
    };
    // Inputs
    check("run missing.txt --out out --sandbox");
    check("run folder --out out --sandbox");
    check("run empty.txt --out out --sandbox");
    check("run comments.txt --out out --sandbox");
    check("run rejected.txt --out out --sandbox");
    check("run portfolio.csv --out out --sandbox");
    check("run portfolio.csv --column domain --out out --sandbox");
    check("run domains.txt --column domain --out out --sandbox");
    check("run data.csv --out out --sandbox");
    check("run - - --out out --sandbox");
    // Parameters
    check("run domains.txt --out out --sandbox --date-from 2018-12-31");
    check("run domains.txt --out out --sandbox --date-from 31.12.2023");
    check("run domains.txt --out out --sandbox --date-from 2024-02-01 --date-to 2024-01-01");
    check(&format!("run domains.txt --out out --sandbox --tag {}", "x".repeat(256)));
    check("run domains.txt --out out --sandbox --rank-scale percent");
    // Rate limits and cost
    check("run domains.txt --out out --sandbox --rate 600");
    check("run domains.txt --out out --sandbox --rate 600/day");
    check("run domains.txt --out out --sandbox --concurrency 0");
    check("run domains.txt --out out --sandbox --timeout 5");
    check("run domains.txt --out out --sandbox --plan pro");
    check("run domains.txt --out out --sandbox --max-cost -5");
    check("run domains.txt --out out --sandbox --max-cost much");
    check("run domains.txt --out out --sandbox --max-failures some");
    check("run domains.txt --out out --sandbox --shard 5/4");
    // The dataset
    check("run domains.txt --out out --sandbox --partition-by week");
    check("run domains.txt --out out --sandbox --partition-by none,year");
    check("run domains.txt --out out --sandbox --compression gzip");
    check("run domains.txt --out out --sandbox --compression zstd:99");
    check("run domains.txt --out foreign --sandbox");
    check("run domains.txt --out domains.txt --sandbox");
    check("run domains.txt --out out --sandbox --publish bucket/prefix");
    check("run domains.txt --out out --sandbox --publish s3://bucket/a//b");
    // The API
    check("run domains.txt --out out --token-file nowhere");
    check("run domains.txt --out out --token-file blank-token");
    check("run domains.txt --out out --api http://api.example.com/v1");
    check("run domains.txt --out out --api api.example.com/v1");
    check("run domains.txt --out out --api https://user:secret@api.example.com");
    check("run domains.txt --out out --api ftp://127.0.0.1");
    check("sandbox --listen 0.0.0.0:8080");
    // The command line itself
    check("run domains.txt --sandbox");
    check("run --out out --sandbox");
    check("run domains.txt --out out --sandbox --max-csot 5");
    check("run domains.txt --out out --verbose --quiet");
    check("replya out --out other");
    check("schema --format json");
    // Replays
    check("replay missing --out other");
    check("replay foreign --out other");
    assert_snapshot!(messages);
    assert!(!shell.path("out").exists(), "nothing was made");
}

#[test]
fn without_a_token_no_run_starts() {
    let shell = Shell::with_domains(2).unset("AISA_API_KEY");
    assert_snapshot!(refused(&shell, "run domains.txt --out out").stderr, @r"
    error: no API token: AISA_API_KEY is not set and --token-file is not given
    hint: set AISA_API_KEY or use --token-file FILE; --sandbox needs no token
    ");
    let shell = shell.set("AISA_API_KEY", "  ");
    refused(&shell, "run domains.txt --out out");
    let shell = shell.set("AISA_API_KEY", "two\u{7}bells");
    assert_snapshot!(refused(&shell, "run domains.txt --out out").stderr, @r"
    error: the token contains line breaks or control characters
    hint: copy the token again, on one line
    ");
    assert!(!shell.path("out").exists());
}

#[test]
fn a_directory_keeps_its_parameters() {
    let (shell, api) = (Shell::with_domains(2), Api::new(""));
    let run = |more: &str| format!("run domains.txt --out out {} --date-to 2024-02-29 {more}", api.flags());
    shell.run(&run("")).expect(0);
    let mut messages = String::new();
    let mut check = |words: &str| {
        let _ = writeln!(messages, "{}", refused(&shell, words).stderr);
    };
    check(&run("").replace("2024-02-29", "2024-03-31"));
    check(&run("--date-from 2020-01-01"));
    check(&run("--rank-scale one_hundred"));
    check("plan domains.txt --out out --sandbox --date-from 2020-01-01");
    check("replay out --out out");
    check("run domains.txt --out out --sandbox --date-to 2024-02-29");
    shell.run(&run("").replace("--out out", "--out hundred --rank-scale one_hundred")).expect(0);
    check("replay out hundred --out both");
    shell.run(&run("--discard-raw")).expect(0);
    check("replay out --out other");
    check(&run("--partition-by none"));
    assert_snapshot!(messages, @r"
    error: this directory was started with --date-to 2024-02-29, but this command uses --date-to 2024-03-31
    hint: use --date-to 2024-02-29 to resume, or another --out to start over

    error: this directory was started with --date-from 2019-01-01, but this command uses --date-from 2020-01-01
    hint: use --date-from 2019-01-01 to resume, or another --out to start over

    error: this directory was started with --rank-scale one_thousand, but this command uses --rank-scale one_hundred
    hint: use --rank-scale one_thousand to resume, or another --out to start over

    error: this directory was started with --date-from 2019-01-01, but this command uses --date-from 2020-01-01
    hint: use --date-from 2019-01-01 to resume, or another --out to start over

    error: out is the directory of a run, which has its own dataset
    hint: use a new or empty directory for --out

    error: this directory was started with real answers (without --sandbox), but this command uses --sandbox (simulated answers)
    hint: use real answers (without --sandbox) to resume, or another --out to start over

    error: these runs used different query parameters: --rank-scale one_thousand and --rank-scale one_hundred
    hint: replay them separately, each with its own --out

    error: the raw answers of out were deleted by --discard-raw, so its dataset cannot be changed
    hint: only the command that created it can be run again; for more targets, list only the new ones and use another --out

    error: the raw answers of out were deleted by --discard-raw, so its dataset cannot be changed
    hint: only the command that created it can be run again; for more targets, list only the new ones and use another --out
    ");
    assert_eq!(api.bill().calls, 4);
}
