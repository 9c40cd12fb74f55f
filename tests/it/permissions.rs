//! Another user: every command names what it may not read or write, and no hint recommends buying stored answers. Needs
//! root, which continuous integration has.

use std::{
    fs::{self, Permissions},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::{Command, Stdio},
};

use super::{
    program::{BINARY, Place, ended, finished, instant, is_root, print, sandbox},
    shell::DATES,
};

/// The user `nobody`.
const NOBODY: u32 = 65534;

/// Sets the mode, and returns the previous one.
pub(super) fn set_mode(path: &Path, mode: u32) -> u32 {
    let before = fs::metadata(path).expect("there").permissions().mode();
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("changed");
    before
}

fn open_for_all(path: &Path) {
    let is_folder = path.is_dir();
    set_mode(path, if is_folder { 0o755 } else { 0o644 });
    if is_folder {
        fs::read_dir(path).expect("readable").for_each(|entry| open_for_all(&entry.expect("an entry").path()));
    }
}

/// The program as this user, copied to a folder that is open to all: the original may be in a folder of root's.
pub(super) fn as_nobody(folder: &Path) -> Command {
    let copy = folder.join("backlinks-export");
    if !copy.exists() {
        fs::copy(BINARY, &copy).expect("copied");
        set_mode(&copy, 0o755);
    }
    let mut command = Command::new(copy);
    command.current_dir(folder).uid(NOBODY).gid(NOBODY);
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_another_user_may_not_use_are_named_with_a_hint() {
    if !is_root() {
        return print("skipped: not root");
    }
    let (api, place) = (sandbox(instant()).await, Place::new(4));
    ended(place.run(&api.url(), ""), 0).await;
    let (root, calls) = (place.root.path(), api.bill().calls);
    open_for_all(root);
    fs::write(root.join("more.txt"), "one-more.com\n").expect("written");
    let own = root.join("own");
    fs::create_dir(&own).expect("made");
    std::os::unix::fs::chown(&own, Some(NOBODY), Some(NOBODY)).expect("given away");

    let run = |input: &str, more: &str| format!("run {input} --api {} {DATES} --rate 20000/s {more}", api.url());
    let resume = run("domains.txt", "--out out");
    let previous = run("domains.txt", "--out own/new --previous out");
    let plan = resume.replacen("run", "plan", 1);
    let doctor = resume.replacen("run", "doctor", 1);
    let replay = "replay out --out own/replayed";
    let (whole, read) = ([&*resume, &previous, &plan, &doctor, replay, "verify out", "report out"], 0o700);
    let mut cases: Vec<(&str, u32, &str, &str)> = whole.map(|command| ("out", read, command, "out")).to_vec();
    cases.extend(whole.map(|command| ("out/_run.json", 0o600, command, "_run.json")));
    cases.extend(whole[..6].iter().map(|command| ("out/_raw", read, *command, "_raw")));
    cases.extend(["verify out", "report out"].map(|command| ("out/targets", read, command, "targets")));
    // A directory that can be read but not written to.
    let (other_form, more_targets) =
        (run("domains.txt", "--out out --partition-by none"), run("more.txt", "--out out"));
    cases.push(("out", 0o755, &other_form, "out"));
    cases.push(("out", 0o755, &more_targets, "out/_raw"));
    cases.push(("out", 0o755, "report out", "out/report.html"));
    for (locked, mode, command, named) in cases {
        let before = set_mode(&root.join(locked), mode);
        let mut program = as_nobody(root);
        program.args(command.split_whitespace()).env("AISA_API_KEY", "test").env("HOME", root);
        program.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = finished(program).await;
        set_mode(&root.join(locked), before);
        let text = String::from_utf8([output.stdout, output.stderr].concat()).expect("text");
        assert_eq!(output.status.code(), Some(1), "{locked}, {command}: {text}");
        let text = text.to_lowercase();
        let line = text.lines().find(|line| line.contains("permission denied"));
        let is_named = |line: &str| line.contains(named) || text.contains(&format!("{named}\n"));
        assert!(line.is_some_and(is_named), "{locked}, {command}: {text}");
        assert!(text.contains("run as a user "), "{locked}, {command}: {text}");
        for word in ["bought", "buy", "another --out", "move "] {
            assert!(!text.contains(word), "{locked}, {command}: {text}");
        }
    }
    assert_eq!(api.bill().calls, calls, "nothing was bought");
}
