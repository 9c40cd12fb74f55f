//! Processes on a core of their own, and what they use.

use std::{
    fs,
    io::{BufRead, BufReader, Read as _},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::PROGRAM;

/// `/proc` counts processor time in hundredths of a second.
const TICK: f64 = 0.01;
/// How often a process is asked for its peak memory, and whether it has ended.
const POLL: Duration = Duration::from_millis(5);

/// What a process used, and what it printed.
pub(crate) struct Used {
    pub(crate) processor: Duration,
    pub(crate) wall: Duration,
    pub(crate) peak_kib: u64,
    pub(crate) printed: String,
}

/// Runs a program to its end. What it prints has to fit a pipe's buffer.
pub(crate) fn measure(program: &str, arguments: &[&str]) -> Used {
    let (before, started) = (children_ticks(), Instant::now());
    let mut child = on_core(0, program, arguments).env("AISA_API_KEY", "x").spawn().expect("started");
    let status = format!("/proc/{}/status", child.id());
    let mut peak_kib = 0;
    let ended = loop {
        let peak = fs::read_to_string(&status).ok().and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
            line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
        });
        peak_kib = peak_kib.max(peak.unwrap_or(0));
        if let Some(ended) = child.try_wait().expect("a child") {
            break ended;
        }
        thread::sleep(POLL);
    };
    let wall = started.elapsed();
    assert!(ended.success(), "{program} {arguments:?} failed");
    let mut printed = String::new();
    child.stdout.take().expect("piped").read_to_string(&mut printed).expect("text");
    Used { processor: Duration::from_secs_f64((children_ticks() - before) * TICK), wall, peak_kib, printed }
}

/// Processor time of all children that have ended.
fn children_ticks() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    let after_name = stat.rsplit(") ").next().expect("a name");
    let fields: Vec<&str> = after_name.split(' ').collect();
    // User and system time of waited-for children: the 16th and 17th field of all.
    fields[13..15].iter().filter_map(|field| field.parse::<f64>().ok()).sum()
}

fn on_core(core: usize, program: &str, arguments: &[&str]) -> Command {
    let has_taskset = Path::new("/usr/bin/taskset").exists();
    let mut command = Command::new(if has_taskset { "taskset" } else { program });
    if has_taskset {
        command.args(["-c", &core.to_string(), program]);
    }
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// The simulated API as a process, which ends with this value.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
}

impl Server {
    /// `latency` is how long each answer takes, such as `none`.
    pub(crate) fn start(latency: &str) -> Self {
        Self::with(&["--latency", latency])
    }

    /// Without latency, and without compression for clients that would accept it.
    pub(crate) fn start_without_gzip() -> Self {
        Self::with(&["--latency", "none", "--gzip", "false"])
    }

    fn with(flags: &[&str]) -> Self {
        let arguments = [&["sandbox", "--listen", "127.0.0.1:0"], flags].concat();
        let mut child = on_core(1, PROGRAM, &arguments).spawn().expect("started");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let url = line.split([' ', ',']).find(|word| word.starts_with("http")).expect("a URL").to_owned();
        Self { child, url }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
