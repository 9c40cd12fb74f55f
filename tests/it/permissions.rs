//! Another user: what may not be read or written is called that, whatever the command, and no hint leads to buying what
//! is there. Needs root, as continuous integration has it.

use std::{
    fs::{self, Permissions},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::{Command, Stdio},
};

use super::program::{BINARY, Place, ended, finished, instant, sandbox, say};

/// The user `nobody`.
const NOBODY: u32 = 65534;

fn set_mode(path: &Path, mode: u32) -> u32 {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_user_may_not_use_is_named_with_what_to_do() {
    if !rustix::fs::stat("/proc/self").is_ok_and(|stat| stat.st_uid == 0) {
        return say("left out: not root");
    }
    let (api, place) = (sandbox(instant()).await, Place::new(4));
    ended(place.run(&api.url(), ""), 0).await;
    let (root, calls) = (place.root.path(), api.bill().calls);
    open_for_all(root);
    fs::write(root.join("more.txt"), "one-more.com\n").expect("written");
    // Where other users may go: the program may be in a folder of root's.
    let copy = root.join("backlinks-export");
    fs::copy(BINARY, &copy).expect("copied");
    set_mode(&copy, 0o755);
    let own = root.join("own");
    fs::create_dir(&own).expect("made");
    std::os::unix::fs::chown(&own, Some(NOBODY), Some(NOBODY)).expect("given away");

    let run = |input: &str, more: &str| {
        let days = "--date-from 2023-11-01 --date-to 2024-02-29";
        format!("run {input} --api {} {days} --rate 20000/s {more}", api.url())
    };
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
    // A directory that can be read and not be written.
    let (other_form, more_targets) =
        (run("domains.txt", "--out out --partition-by none"), run("more.txt", "--out out"));
    cases.push(("out", 0o755, &other_form, "out"));
    cases.push(("out", 0o755, &more_targets, "out/_raw"));
    cases.push(("out", 0o755, "report out", "out/report.html"));
    for (locked, mode, command, named) in cases {
        let before = set_mode(&root.join(locked), mode);
        let mut program = Command::new(&copy);
        program.args(command.split_whitespace()).current_dir(root).uid(NOBODY).gid(NOBODY);
        program.env("AISA_API_KEY", "test").env("HOME", root).stdin(Stdio::null());
        let output = finished({
            program.stdout(Stdio::piped()).stderr(Stdio::piped());
            program
        });
        let output = output.await;
        set_mode(&root.join(locked), before);
        let told = [&output.stdout[..], &output.stderr].concat();
        let told = String::from_utf8(told).expect("text");
        assert_eq!(output.status.code(), Some(1), "{locked}, {command}: {told}");
        let told = told.to_lowercase();
        let line = told.lines().find(|line| line.contains("permission denied"));
        let named_before = |line: &str| line.contains(named) || told.contains(&format!("{named}\n"));
        assert!(line.is_some_and(named_before), "{locked}, {command}: {told}");
        assert!(told.contains("run as a user "), "{locked}, {command}: {told}");
        for word in ["bought", "buy", "another --out", "move "] {
            assert!(!told.contains(word), "{locked}, {command}: {told}");
        }
    }
    assert_eq!(api.bill().calls, calls, "nothing was bought");
}
