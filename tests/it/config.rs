//! `--config`: flags from a file, and which value takes precedence over others.

use std::{fmt::Write, fs};

use insta::assert_snapshot;

use super::shell::{Api, Shell, TOKEN};

/// The plan as JSON, which shows the effect of the flags.
const PLAN: &str = "plan --config run.toml --format json";

fn shell(config: &str) -> Shell {
    let shell = Shell::with_domains(6);
    shell.write("run.toml", config);
    shell
}

#[test]
fn every_kind_of_value_is_a_flag() {
    let api = Api::new("");
    let shell = shell(&format!(
        "# A run's flags\n\
         input = [\"domains.txt\", 'more.csv']\n\
         column = \"site\"\n\
         out = \"out\"\n\
         api = \"{}\"\n\
         rate = \"20000/s\" # fast\n\
         concurrency = 0x1_0\n\
         max-cost = 12.50\n\
         date-from = 2023-11-01\n\
         \"date-to\" = \"2024-02-29\"\n\
         partition-by = '''year,month'''\n\
         max-failures = 0\n\
         discard-raw = false\n\
         report = true\n\
         summary = \"json\"\n\
         progress = \"none\"\n\
         verbose = 0\n\
         yes = true\n",
        api.url()
    ));
    shell.write("more.csv", "site,x\nsite90.com,1\n");
    let json = shell.run("run --config run.toml").expect(0).json();
    assert_eq!((&json["targets"], &json["success"]), (&7.into(), &true.into()));
    assert!(shell.path("out/report.html").exists() && shell.path("out/_raw").exists());
    assert!(
        fs::read_dir(shell.path("out/backlinks_history/year=2024"))
            .expect("a folder")
            .all(|entry| { entry.expect("an entry").file_name().to_string_lossy().starts_with("month=") })
    );
    let run = shell.read("out/_run.json");
    assert!(run.contains("\"date_from\": \"2023-11-01\"") && run.contains("\"date_to\": \"2024-02-29\""), "{run}");
}

#[test]
fn the_command_line_overrides_the_file_and_the_file_the_environment() {
    let api = Api::new("");
    let config =
        format!("api = \"{}\"\ninput = \"domains.txt\"\nout = \"a\"\nrate = \"20000/s\"\nquiet = true\n", api.url());
    let shell = shell(&config).set("BACKLINKS_API_URL", "http://127.0.0.1:1");
    shell.write("other.txt", "site50.com\n");
    let run = |words: &str| shell.run(&format!("{words} --summary json --progress none")).expect(0).json();
    assert_eq!(run("run --config run.toml")["targets"], 6);
    // Inputs replace the file's; a repeated flag would be an error if the file's were not ignored.
    assert_eq!(run("run other.txt --config run.toml --out b --rate 10000/s")["targets"], 1);
    assert_eq!(run("run other.txt --config=run.toml -o c")["targets"], 1);
    assert_eq!(shell.run("plan --config run.toml --format json -o c -- other.txt").expect(0).json()["held"], 1);
    // Flags may precede the command, and -v overrides the file's quiet.
    assert!(
        shell.run("--log-format json -v run --config run.toml --out d --progress none").expect(0).stderr.contains('{')
    );
    assert!(["a", "b", "c", "d"].iter().all(|name| shell.is_complete(name)));
    // The flag takes precedence over the file: no server is at its address.
    shell.run("run --config run.toml --out e --api http://127.0.0.1:1 --max-outage 1s").expect(4);
    // The file's sandbox takes precedence over the variable, so that nothing is paid for, but not over the flag.
    shell.write("run.toml", "input = \"domains.txt\"\nsandbox = true\n");
    assert_eq!(run("run --config run.toml --out f")["success"], true);
    shell.run("run --config run.toml --out g --api http://127.0.0.1:1 --max-outage 1s").expect(4);
    shell.write("run.toml", "input = \"domains.txt\"\nsandbox = false\n");
    shell.run("run --config run.toml --out h --max-outage 1s").expect(4);
}

#[test]
fn one_file_serves_all_commands_that_take_one() {
    let shell = shell(
        "input = \"domains.txt\"\nout = \"out\"\nsandbox = true\nmax-cost = 50\nmax-failures = \"1%\"\nformat = \"json\"\n\
         summary = \"json\"\ndate-to = 2024-02-29\nprogress = \"none\"\n",
    );
    assert_eq!(shell.run("plan --config run.toml").expect(0).json()["targets"], 6);
    assert_eq!(shell.run("run --config run.toml").expect(0).json()["success"], true);
    assert_eq!(shell.run("replay out --config run.toml --out merged").expect(0).json()["success"], true);
    shell.write("replay.toml", "dir = [\"out\"]\nout = \"again\"\npartition-by = \"none\"\n");
    shell.run("replay --config replay.toml").expect(0);
    assert!(shell.is_complete("again"));
}

#[test]
fn names_that_look_like_flags_are_still_names() {
    let shell = shell("input = [\"-odd.txt\"]\nsandbox = true\n");
    shell.write("-odd.txt", "site1.com\n");
    assert_eq!(shell.run(PLAN).expect(0).json()["targets"], 1);
    assert_eq!(shell.run(&format!("{PLAN} --")).expect(0).json()["targets"], 1);
    shell.write("run.toml", "input = \"-\"\nsandbox = true\n");
    let ran = shell.run_with(PLAN, "site1.com\nsite2.com\n").expect(0);
    assert_eq!(ran.json()["targets"], 2);
    // An empty file changes nothing.
    shell.write("run.toml", "");
    assert_eq!(shell.run(&format!("{PLAN} domains.txt")).expect(0).json()["targets"], 6);
}

#[test]
fn every_error_in_the_file_is_reported_with_its_line() {
    let shell = shell("");
    let mut messages = String::new();
    let mut check = |words: &str, config: &str| {
        shell.write("run.toml", config);
        let ran = shell.run(words).expect(2);
        assert_eq!(ran.stdout, "", "{config}");
        assert!(ran.stderr.starts_with("error: "), "{config}: {}", ran.stderr);
        assert!(ran.stderr.contains("\nhint: ") || ran.stderr.contains("--help"), "{config}: {}", ran.stderr);
        let shown = if config.len() > 200 { "…" } else { config.trim_end() };
        let _ = writeln!(messages, "{shown}\n$ backlinks-export {words}\n{}", ran.stderr);
    };
    let run = "run domains.txt --sandbox --out out --config run.toml";
    // Keys
    check(run, "rate = \"600/min\"\nmax-csot = 50\n");
    check(run, "max_cost = 50\n");
    check(run, "inputs = [\"a.txt\"]\n");
    check(run, "color = \"red\"\n");
    check(run, "config = \"other.toml\"\n");
    check(run, "help = true\n");
    check(run, "listen = \"127.0.0.1:8080\"\n");
    check(run, "[run]\nmax-cost = 50\n");
    check("replay out --config run.toml", "compresion = \"none\"\n");
    // Values
    check(run, "\n# pace\nrate = \"600\"\n");
    check(run, "rate = 600\n");
    check(run, "plan = \"starter\"\nmax-cost = -5\n");
    check(run, "plan = \"pro\"\n");
    check(run, "rank-scale = \"one_hundert\"\n");
    check(run, "date-from = 2018-12-31\n");
    check(run, "shard = \"5/4\"\n");
    check(run, "previous = [\"a\", \"b\"]\nmax-age = 30\n");
    check(run, "out = \"\"\n");
    check(run, "concurrency = [1]\n");
    check(run, "max-cost = true\n");
    check(run, "report = \"yes\"\n");
    check(run, "verbose = \"very\"\n");
    check(run, "input = [\"a.txt\", true]\n");
    check(run, "quiet = true\nverbose = 1\n");
    // An invalid value is an error even if the command line overrides it, and for other commands, too.
    check(&format!("{run} --rate 5/s"), "rate = \"fast\"\n");
    check(run, "format = \"yaml\"\n");
    // The file as a whole
    check(run, "max-cost 50\n");
    check(run, "out = out/audit\n");
    check(run, "max-cost = 50\nmax-cost = 60\n");
    check(run, &"#".repeat(300 * 1024));
    check("run domains.txt --sandbox --out out --config missing.toml", "");
    check("run domains.txt --sandbox --out out --config .", "");
    check("run domains.txt --sandbox --out out --config run.toml --config run.toml", "");
    // What is missing
    check("run --config run.toml", "sandbox = true\n");
    assert_snapshot!(messages);
    fs::write(shell.path("run.toml"), b"out = \"\xff\"\n").expect("written");
    assert!(shell.run(run).expect(2).stderr.contains("is not a text file"));
    assert!(!shell.path("out").exists(), "nothing was made");
}

#[test]
fn a_token_in_the_file_is_rejected_and_never_shown() {
    for line in [
        "token = '{}'",
        "api-key = \"{}\"",
        "AISA_API_KEY = \"{}\"",
        "aisa_api_key = '{}'",
        "secret.aisa = '{}'",
        "api-token = ['{}']",
        "authorization = 'Bearer {}'",
    ] {
        let shell = shell(&line.replace("{}", TOKEN));
        let ran = shell.run("run domains.txt --out out --config run.toml").expect(2);
        assert!(
            ran.stderr.contains("run.toml:1: tokens are not allowed in this file\nhint: "),
            "{line}: {}",
            ran.stderr
        );
        assert!(ran.stderr.contains("token-file") && !ran.stderr.contains(TOKEN), "{line}: {}", ran.stderr);
    }
    // Nor if the line is not TOML, or it is a flag's value.
    for line in ["token = {}", "{}", "max-cost = {}", "verbose = '{}'", "'{} = 1"] {
        let shell = shell(&line.replace("{}", TOKEN));
        let ran = shell.run("run domains.txt --out out --config run.toml").expect(2);
        assert!(!ran.stderr.contains(TOKEN), "{line}: {}", ran.stderr);
    }
    // The file with the token may be named.
    let (shell, api) = (shell("token-file = \"key\"\n").unset("AISA_API_KEY"), Api::new(&format!("--token {TOKEN}")));
    shell.write("key", TOKEN);
    shell.run(&format!("run domains.txt --out out --config run.toml {}", api.flags())).expect(0);
}

#[test]
fn control_characters_in_names_are_not_printed() {
    let shell = shell("");
    shell.write("bad\u{1b}[31m.toml", "\"ke\\u001b[31my\" = 1\n");
    let ran =
        shell.command("run domains.txt --out out --config").arg("bad\u{1b}[31m.toml").output().expect("it starts");
    let stderr = String::from_utf8(ran.stderr).expect("UTF-8");
    assert!(stderr.starts_with("error: bad.toml:1: unknown key key\n"), "{stderr:?}");
}
