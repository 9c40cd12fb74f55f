//! Hostile input: names that lead elsewhere, text that controls terminals and spreadsheets, lines without an end.

use std::{
    fs,
    io::Write,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Stdio,
};

use super::{MAX_MEMORY_KIB, program, ran};
use crate::program::{files, print};

/// None of this may appear in text for people: escapes, other control characters, marks that reorder text.
fn assert_harmless(what: &str, text: &str) {
    let steers = |character: &char| {
        character.is_control() && !matches!(character, '\n' | '\t')
            || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
    };
    assert_eq!(text.chars().find(steers), None, "{what}: {text:?}");
}

const ATTACKS: &[&str] = &[
    "../../etc/passwd",
    "%2e%2e%2fetc",
    "..\\..\\windows",
    "a/b",
    "CON",
    "NUL.com",
    "con.com",
    "/etc/passwd",
    "file:///etc/passwd",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-1",
    "@SUM(A1)",
    "<script>alert(1)</script>",
    "[x](javascript:alert(1))",
    "|a|b|",
    "\u{1b}[31mred.com",
    "\u{1b}]0;title\u{7}",
    "\u{9b}2Jx.com",
    "moc.\u{202e}elpmaxe",
    "example\u{2066}.com",
    "a\u{0}b.com",
    "😀.com",
    "аррӏе.com",
    "gооgle.com",
    "xn--a.com",
    "a..b.com",
    "year=2024",
    "'; DROP TABLE x; --",
    "${HOME}.com",
    "`id`.com",
    "good.com",
];

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_stay_text_and_all_files_stay_in_the_directory() {
    let dir = tempfile::tempdir().expect("a directory");
    let inputs = dir.path().join("evil \u{1b}[31m\u{202e}|name.txt");
    let long = format!("{}.com\n{}.com", "a".repeat(300), "b.".repeat(130));
    fs::write(&inputs, format!("{}\n{long}\n", ATTACKS.join("\n"))).expect("written");
    let out = dir.path().join("out");
    let flags =
        ["--sandbox", "--rate", "1000/s", "--max-failures", "100%", "-vv", "--partition-by", "year,month,run_date"];
    let page = dir.path().join("page.md");
    fs::write(&page, "").expect("written");
    for log in ["text", "json"] {
        let mut command = program(&["run", "--out", &out.display().to_string(), "--log-format", log]);
        command.arg(&inputs).args(flags).env("GITHUB_STEP_SUMMARY", &page);
        let ran = ran(command).await;
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert_harmless("standard output", &ran.stdout);
        assert_harmless("standard error", &ran.stderr);
    }
    let mut command = program(&["plan"]);
    command.arg(&inputs);
    let ran = ran(command).await;
    assert_harmless("plan", &ran.stdout);
    assert_harmless("plan's errors", &ran.stderr);
    assert_harmless("page", &fs::read_to_string(&page).expect("readable"));
    for name in ["_rejected.csv", "_failures.csv"] {
        let text = fs::read_to_string(out.join(name)).expect("readable");
        assert_harmless(name, &text);
        let mut rows = csv::Reader::from_reader(text.as_bytes());
        for cell in rows
            .records()
            .map(|row| row.expect("a row"))
            .flat_map(|row| row.iter().map(str::to_owned).collect::<Vec<_>>())
        {
            assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r']), "{name}: {cell}");
        }
    }
    let expected = |path: &Path| {
        let below = path.strip_prefix(&out).expect("below").display().to_string();
        let parts: Vec<&str> = below.split('/').collect();
        match parts[..] {
            ["_SUCCESS" | "_run.json" | "_rejected.csv" | "_failures.csv"] => true,
            ["_raw", file] => file.starts_with("ledger-"),
            ["targets", file] => file.starts_with("part-"),
            ["backlinks_history", year, month, day, file] => {
                year.starts_with("year=")
                    && month.starts_with("month=")
                    && day.starts_with("run_date=")
                    && file.starts_with("part-")
            }
            _ => false,
        }
    };
    assert_eq!(
        files(&out).into_iter().filter(|path| !expected(path)).collect::<Vec<_>>(),
        Vec::<std::path::PathBuf>::new()
    );
    assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 3, "nothing beside the directory");
}

#[tokio::test(flavor = "multi_thread")]
async fn file_names_in_errors_do_not_control_the_terminal() {
    let dir = tempfile::tempdir().expect("a directory");
    let evil = "x\u{1b}[2J\u{202e}\n\u{9b}31m";
    let good = dir.path().join("good.txt");
    fs::write(&good, "good.com").expect("written");
    let good = good.display().to_string();
    let evil_path = dir.path().join(evil).display().to_string();
    let evil_csv = dir.path().join(format!("{evil}.csv")).display().to_string();
    fs::write(&evil_csv, format!("{evil},b\n1,2\n")).expect("written");
    let evil_dir = dir.path().join(format!("{evil}dir")).display().to_string();
    fs::create_dir(&evil_dir).expect("made");
    fs::write(Path::new(&evil_dir).join("mine"), "").expect("written");
    for arguments in [
        &["run", &evil_path, "--sandbox", "--out", "/dev/null/x"][..],
        &["run", &evil_csv, "--sandbox", "--out", "/dev/null/x"],
        &["run", &good, "--sandbox", "--out", &evil_dir],
        &["run", &good, "--out", &evil_path],
        &["run", &good, "--out", &evil_path, "--token-file", &evil_path],
        &["run", &good, "--out", &evil_path, "--api", evil],
        &["plan", &evil_dir],
        &["replay", &evil_path, "--out", &evil_dir],
        &["run", &good, "--sandbox", "--out", &format!("{good}/{evil}")],
        &["run", &good, "--sandbox", "--out", &evil_path, "--tag", &evil.repeat(100)],
    ] {
        let ran = ran(program(arguments)).await;
        assert!(matches!(ran.code, Some(1 | 2)), "{arguments:?}: {:?} {}", ran.code, ran.stderr);
        assert!(ran.stderr.starts_with("error: "), "{}", ran.stderr);
        assert_harmless("standard error", &ran.stderr);
        assert_harmless("standard output", &ran.stdout);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_of_a_gigabyte_is_one_rejected_line() {
    let mut command = program(&["plan", "-", "--format", "json"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let status = std::path::PathBuf::from(format!("/proc/{}/status", child.id()));
    let writing = tokio::task::spawn_blocking(move || {
        let piece = vec![b'a'; 1 << 20];
        (0..1024).for_each(|_| stdin.write_all(&piece).expect("read"));
        let most = super::high_water(&status);
        stdin.write_all(b"\ngood.com\n").expect("read");
        most
    });
    let most = writing.await.expect("no panic").expect("a process");
    let output = child.wait_with_output().expect("it ends");
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&plan["targets"], &plan["rejected"]), (&1.into(), &1.into()));
    print(&format!("{} MiB", most / 1024));
    assert!(most < MAX_MEMORY_KIB / 4, "{} MiB", most / 1024);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_is_private_and_links_are_not_followed() {
    let dir = tempfile::tempdir().expect("a directory");
    let inputs = dir.path().join("domains.txt").display().to_string();
    fs::write(&inputs, "good.com").expect("written");
    let run =
        async |out: &Path| ran(program(&["run", &inputs, "--sandbox", "--out", &out.display().to_string()])).await;
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;

    let out = dir.path().join("out");
    assert_eq!(run(&out).await.code, Some(0));
    assert_eq!(mode(&out.join("_raw")), 0o700);
    assert_eq!(mode(&out.join("_raw/ledger-0.jsonl.gz")), 0o600);

    let elsewhere = dir.path().join("elsewhere");
    fs::create_dir(&elsewhere).expect("made");
    let refused = async |name: &str, make: &dyn Fn(&Path)| {
        let out = dir.path().join(name);
        fs::create_dir_all(out.join("_raw")).expect("made");
        make(&out);
        let ran = run(&out).await;
        assert_eq!(ran.code, Some(1), "{name}: {}", ran.stderr);
        assert!(ran.stderr.contains("is a symbolic link"), "{name}: {}", ran.stderr);
        assert_eq!(fs::read_dir(&elsewhere).expect("there").count(), 0, "{name}");
    };
    refused("raw", &|out| {
        fs::remove_dir(out.join("_raw")).expect("removed");
        symlink(&elsewhere, out.join("_raw")).expect("made");
    })
    .await;
    refused("file", &|out| symlink(elsewhere.join("new"), out.join("_raw/ledger-0.jsonl.gz")).expect("made")).await;
    refused("table", &|out| symlink(&elsewhere, out.join("backlinks_history")).expect("made")).await;
    refused("staging", &|out| symlink(&elsewhere, out.join("_staging")).expect("made")).await;
}
