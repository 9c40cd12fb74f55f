//! The whole program beside a plain exporter: processor time, wall time and peak memory per target, over real HTTP
//! from the simulated API in a process of its own.
//!
//! `cargo bench --bench pipeline -- [TARGETS]...`; 1,000 unless told otherwise. The server is kept on one core and the
//! program on another, where `taskset` is at hand. Linux only: it reads `/proc`.

#![expect(clippy::print_stdout, reason = "its result")]
#![allow(missing_docs, reason = "a benchmark has no readers of its items")]

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use parquet::{
    arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};
use tokio::time::Instant;

mod baseline;

const PROGRAM: &str = env!("CARGO_BIN_EXE_backlinks-export");
/// `/proc` counts processor time in hundredths of a second.
const TICK: f64 = 0.01;
/// So high that it never waits.
const NO_RATE: &str = "1000000/s";

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [mode, url, domains, out] = arguments.as_slice()
        && mode == "baseline"
    {
        return baseline::export(url, Path::new(domains), Path::new(out)).await;
    }
    let mut sizes: Vec<usize> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    if sizes.is_empty() {
        sizes.push(1_000);
    }
    let plain = Server::start("false");
    let gzip = Server::start("true");
    println!("{:>9}  {:<24} {:>9} {:>8} {:>9}", "targets", "what", "ms CPU", "s wall", "MiB peak");
    for size in sizes {
        measure(size, &plain.url, &gzip.url).await;
    }
}

async fn measure(size: usize, plain: &str, gzip: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let domains = path("domains.txt");
    fs::write(&domains, names(size)).expect("written");
    let itself = std::env::current_exe().expect("a path").display().to_string();
    let (run, again) = (path("run"), path("again"));
    let show = |what: &str, used: &Used| {
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let each = used.processor.as_secs_f64() * 1000.0 / size as f64;
        let wall = used.wall.as_secs_f64();
        println!("{size:>9}  {what:<24} {each:>9.3} {wall:>8.2} {:>9}", used.peak_kib / 1024);
        each
    };
    let export = |url: &str, out: &str| -> Vec<String> {
        let words = ["run", &domains, "--api", url, "--out", out, "--rate", NO_RATE, "--concurrency", "30", "-q"];
        words.iter().map(|word| (*word).to_owned()).collect()
    };
    let words = |words: &[&str]| -> Vec<String> { words.iter().map(|word| (*word).to_owned()).collect() };
    let baseline = used(&itself, &words(&["baseline", plain, &domains, &path("baseline.parquet")])).await;
    let naive = show("plain exporter", &baseline);
    let ours = show("run", &used(PROGRAM, &export(plain, &run)).await);
    show("run, gzip bodies", &used(PROGRAM, &export(gzip, &path("gzip"))).await);
    show("run again: nothing left", &used(PROGRAM, &export(plain, &run)).await);
    show("replay", &used(PROGRAM, &words(&["replay", &run, "--out", &again, "-q"])).await);
    show("verify", &used(PROGRAM, &words(&["verify", &run, "-q"])).await);
    let parquet = bytes(&Path::new(&run).join("backlinks_history"));
    let plain_parquet = fs::metadata(path("baseline.parquet")).expect("a file").len();
    let ledger = bytes(&Path::new(&run).join("_raw"));
    let each = |bytes: u64| bytes / size as u64;
    println!(
        "{size:>9}  run / plain exporter: {:.2} of the processor time; ledger {} bytes a target",
        ours / naive,
        each(ledger)
    );
    println!(
        "{size:>9}  Parquet: {:.2} of what the writer's defaults make of the same files at zstd 3; {:.2} of the plain exporter's one",
        ratio(parquet, with_defaults(&Path::new(&run).join("backlinks_history"))),
        ratio(parquet, plain_parquet),
    );
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn ratio(one: u64, other: u64) -> f64 {
    one as f64 / other as f64
}

fn names(size: usize) -> String {
    (1..=size).fold(String::new(), |mut text, number| {
        writeln!(text, "site-{number}.com").expect("a string");
        text
    })
}

/// What a process took.
struct Used {
    processor: Duration,
    wall: Duration,
    peak_kib: u64,
}

async fn used(program: &str, arguments: &[String]) -> Used {
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
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let wall = started.elapsed();
    assert!(ended.success(), "{program} {arguments:?} failed");
    Used { processor: Duration::from_secs_f64((children_ticks() - before) * TICK), wall, peak_kib }
}

/// Processor time of all children that have ended.
fn children_ticks() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    let after_name = stat.rsplit(") ").next().expect("a name");
    let fields: Vec<&str> = after_name.split(' ').collect();
    // User and system time of waited-for children: the 16th and 17th field of all.
    fields[13..15].iter().filter_map(|field| field.parse::<f64>().ok()).sum()
}

fn on_core(core: usize, program: &str, arguments: &[String]) -> Command {
    let has_taskset = PathBuf::from("/usr/bin/taskset").exists();
    let mut command = if has_taskset { Command::new("taskset") } else { Command::new(program) };
    if has_taskset {
        command.args(["-c", &core.to_string(), program]);
    }
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    let size = |entry: fs::DirEntry| {
        let metadata = entry.metadata().expect("metadata");
        if metadata.is_dir() { bytes(&entry.path()) } else { metadata.len() }
    };
    entries.map(size).sum()
}

/// Bytes of a folder's Parquet files, each written anew with the writer's defaults at zstd 3.
fn with_defaults(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let size = |path: PathBuf| {
        if path.is_dir() {
            return with_defaults(&path);
        }
        let file = fs::File::open(&path).expect("readable");
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet").with_batch_size(8192);
        let level = ZstdLevel::try_new(3).expect("a level");
        let properties = WriterProperties::builder().set_compression(Compression::ZSTD(level)).build();
        let mut writer = ArrowWriter::try_new(Vec::new(), reader.schema().clone(), Some(properties)).expect("a writer");
        for batch in reader.build().expect("a reader") {
            writer.write(&batch.expect("rows")).expect("written");
        }
        writer.into_inner().expect("a footer").len() as u64
    };
    entries.map(size).sum()
}

/// The simulated API without latency.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(gzip: &str) -> Self {
        let arguments = ["sandbox", "--listen", "127.0.0.1:0", "--latency", "none", "--gzip", gzip].map(str::to_owned);
        let mut child = on_core(1, PROGRAM, &arguments).stdout(Stdio::piped()).spawn().expect("started");
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
