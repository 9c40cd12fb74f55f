//! Answers and inputs made to do harm: each is survived in bounded memory, what was paid for is kept, and nothing of
//! it reaches a terminal, a sheet or a page as more than text.

mod answers;
mod doctor;
mod input;
mod secrets;
mod server;
mod wire;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

/// The most that the program may have in memory, whatever comes.
const MOST_MEMORY_KIB: u64 = 300 * 1024;
/// No run in these tests takes longer; one that does has hung.
const LONGEST: Duration = Duration::from_mins(5);

/// What a run of the real program left behind.
struct Ran {
    output: Output,
    /// The most memory it had at once, in KiB.
    most_memory: u64,
}

impl Ran {
    fn code(&self) -> Option<i32> {
        self.output.status.code()
    }

    fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }
}

/// The real program with nothing from this process's environment that it heeds.
fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_backlinks-export"));
    command.args(arguments).stdin(Stdio::null());
    for name in ["AISA_API_KEY", "BACKLINKS_API_URL", "RUST_LOG", "CI", "GITHUB_STEP_SUMMARY"] {
        command.env_remove(name);
    }
    command
}

/// Runs it to its end with an eye on its memory.
async fn ran(mut command: Command) -> Ran {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().expect("the program starts");
    let status = PathBuf::from(format!("/proc/{}/status", child.id()));
    let waiting = tokio::task::spawn_blocking(move || child.wait_with_output());
    let mut waiting = std::pin::pin!(tokio::time::timeout(LONGEST, waiting));
    let mut most_memory = 0;
    loop {
        tokio::select! {
            ended = &mut waiting => {
                let output = ended.expect("it ends").expect("no panic").expect("it can be waited for");
                return Ran { output, most_memory };
            }
            () = tokio::time::sleep(Duration::from_millis(10)) => {
                most_memory = most_memory.max(high_water(&status).unwrap_or(0));
            }
        }
    }
}

/// The most memory that a process has had so far, in KiB.
fn high_water(status: &Path) -> Option<u64> {
    let text = fs::read_to_string(status).ok()?;
    text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.trim().parse().ok())
}

/// Every file below a directory.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}
