//! The whole program compared with a plain exporter: processor time, wall time and peak memory, over real HTTP.
//!
//! `cargo bench --bench pipeline -- [TARGETS]...`; 1,000 by default. The simulated API runs in its own process on one
//! core, and the measured program on another, if `taskset` is installed. Linux only, because it reads `/proc`.

#![expect(clippy::print_stdout, reason = "its result")]
#![expect(clippy::disallowed_methods, reason = "measures other processes in real time")]
#![allow(missing_docs, reason = "a benchmark has no readers of its items")]

use std::{fmt::Write as _, fs, path::Path, time::SystemTime};

use process::{Server, Used};

mod baseline;
mod output;
mod process;

const PROGRAM: &str = env!("CARGO_BIN_EXE_backlinks-export");
/// High enough that no call ever waits for it.
const NO_RATE: &str = "1000000/s";
/// Answers take this long where the wait after the last one is measured.
const LATENCY: &str = "100ms";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [mode, url, domains, out, encoding] = arguments.as_slice()
        && mode == "baseline"
    {
        return baseline::run(url, Path::new(domains), Path::new(out), encoding);
    }
    let mut sizes: Vec<usize> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    if sizes.is_empty() {
        sizes.push(1_000);
    }
    println!("{:>9}  {:<28} {:>9} {:>8} {:>9}", "targets", "what", "ms CPU", "s wall", "MiB peak");
    for size in sizes {
        measure(size);
    }
}

/// Prints a row for each command, then how they compare.
fn measure(size: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let domains = path("domains.txt");
    fs::write(&domains, names(size)).expect("written");
    let itself = std::env::current_exe().expect("a path").display().to_string();
    let show = |what: &str, used: Used| {
        let (each, wall) = (used.processor.as_secs_f64() * 1000.0 / number(size), used.wall.as_secs_f64());
        println!("{size:>9}  {what:<28} {each:>9.3} {wall:>8.2} {:>9}", used.peak_kib / 1024);
        used
    };
    let export = |server: &Server, out: &str| {
        let flags = ["--api", &server.url, "--out", out, "--rate", NO_RATE, "--concurrency", "30", "-q"];
        process::measure(PROGRAM, &[&["run", &domains], &flags[..]].concat())
    };
    let baseline = |server: &Server, encoding: &str| {
        let out = path(&format!("baseline-{encoding}.parquet"));
        process::measure(&itself, &["baseline", &server.url, &domains, &out, encoding])
    };

    let server = Server::start("none");
    let plain_gzip = show("plain exporter, gzip bodies", baseline(&server, "gzip"));
    let plain = show("plain exporter, plain bodies", baseline(&server, "identity"));
    let (run, run_plain) = (path("run"), path("run-plain"));
    let ours_gzip = show("run, gzip bodies", export(&server, &run));
    let ours = show("run, plain bodies", export(&Server::start_without_gzip(), &run_plain));
    show("run again, nothing left", export(&server, &run));
    let replay = show("replay", process::measure(PROGRAM, &["replay", &run, "--out", &path("replayed"), "-q"]));
    let verify = show("verify", process::measure(PROGRAM, &["verify", &run, "-q"]));
    drop(server);

    let slow = path("slow");
    export(&Server::start(LATENCY), &slow);
    let wait = SystemTime::now().duration_since(output::last_answer(Path::new(&slow))).expect("an answer came");
    let received: f64 = plain_gzip.printed.trim().parse().expect("the plain exporter prints the bytes of all bodies");
    let ledger = number(output::bytes(&Path::new(&run).join("_raw"))) / number(size);
    let history = Path::new(&run).join("backlinks_history");
    let parquet = number(output::bytes(&history));
    let with_defaults = number(output::with_defaults(&history));
    let single = number(fs::metadata(path("baseline-gzip.parquet")).expect("a file").len());
    println!(
        "run over plain exporter, CPU: {:.2} with gzip bodies, {:.2} with plain ones; verify over replay: {:.2}
last answer to end of process, answers after {LATENCY}: {:.2} s
ledger, gzip bodies: {ledger:.0} bytes per target, {:.0} more than the server sent
Parquet: {:.2} of the size with the writer's defaults at zstd 3, {:.2} of the plain exporter's file
row groups: {}",
        ours_gzip.processor.div_duration_f64(plain_gzip.processor),
        ours.processor.div_duration_f64(plain.processor),
        verify.processor.div_duration_f64(replay.processor),
        wait.as_secs_f64(),
        ledger - received / number(size),
        parquet / with_defaults,
        parquet / single,
        output::row_groups(&history),
    );
}

#[expect(clippy::cast_precision_loss, reason = "counts and sizes far below 2^53")]
fn number(value: impl TryInto<u64>) -> f64 {
    value.try_into().ok().expect("it fits") as f64
}

fn names(size: usize) -> String {
    (1..=size).fold(String::new(), |mut text, number| {
        writeln!(text, "site-{number}.com").expect("a string");
        text
    })
}
