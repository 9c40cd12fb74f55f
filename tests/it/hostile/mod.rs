//! Hostile answers and inputs: each is handled in bounded memory, paid answers are kept, and nothing in them reaches a
//! terminal, a spreadsheet or a page as more than text.

mod answers;
mod doctor;
mod input;
mod secrets;
pub(crate) mod server;
mod wire;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

/// Maximum memory of the program, regardless of what arrives.
const MAX_MEMORY_KIB: u64 = 300 * 1024;
/// A run that takes longer hangs.
const MAX_TIME: Duration = Duration::from_mins(5);

use crate::shell::Ran;

/// The real program without the environment variables that it reads.
fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_backlinks-export"));
    command.args(arguments).stdin(Stdio::null());
    for name in ["AISA_API_KEY", "BACKLINKS_API_URL", "RUST_LOG", "CI", "GITHUB_STEP_SUMMARY"] {
        command.env_remove(name);
    }
    command
}

/// Runs it to the end.
async fn ran(command: Command) -> Ran {
    measured(command).await.0
}

/// Runs it to the end within the memory limit; also returns the peak in KiB.
async fn measured(mut command: Command) -> (Ran, u64) {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().expect("the program starts");
    let status = PathBuf::from(format!("/proc/{}/status", child.id()));
    let waiting = tokio::task::spawn_blocking(move || child.wait_with_output());
    let mut waiting = std::pin::pin!(tokio::time::timeout(MAX_TIME, waiting));
    let mut most_memory = 0;
    loop {
        tokio::select! {
            ended = &mut waiting => {
                let output = ended.expect("it ends").expect("no panic").expect("it can be waited for");
                return (Ran::of(output), most_memory);
            }
            () = tokio::time::sleep(Duration::from_millis(10)) => {
                most_memory = most_memory.max(high_water(&status).unwrap_or(0));
            }
        }
    }
}

/// The peak memory of a process so far, in KiB.
fn high_water(status: &Path) -> Option<u64> {
    let text = fs::read_to_string(status).ok()?;
    text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.trim().parse().ok())
}
