//! Reading the dataset while it is republished, and while publishing is killed, always finds complete tables.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use arrow::array::AsArray;
use backlinks_export::sandbox::Settings;
use fastrand::Rng;

use super::program::{Place, Running, ended, instant, print, rng, rows, sandbox, stderr};

/// Publications, not counting killed ones.
const PUBLICATIONS: u64 = 200;
/// The pause between two reads, so that the publisher gets a processor.
const PAUSE: Duration = Duration::from_millis(2);
/// Targets of the smallest dataset; the others have up to twice as many.
const TARGETS: usize = 12;

/// Parquet files below a folder, as a glob of `**/*.parquet` finds them.
fn parquet_files(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            parquet_files(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "parquet") {
            found.push(path);
        }
    }
    Ok(())
}

/// The result of one read.
enum Look {
    /// The table does not exist yet, or was replaced while it was read: read again.
    Again,
    /// Its targets.
    Whole(BTreeSet<String>),
}

/// Reads a table like an engine. Any file that can be opened must be complete.
fn look(table: &Path) -> io::Result<Look> {
    // The open folder keeps its inode number from being reused.
    let Ok(open) = fs::File::open(table) else { return Ok(Look::Again) };
    let number = open.metadata()?.ino();
    let mut files = Vec::new();
    let listed = parquet_files(table, &mut files).is_ok();
    let mut targets = BTreeSet::new();
    for file in &files {
        let Ok(bytes) = fs::read(file) else { continue };
        for batch in rows(&bytes) {
            let names = arrow::compute::cast(&batch["target"], &arrow::datatypes::DataType::Utf8).expect("text");
            targets.extend(names.as_string::<i32>().iter().flatten().map(str::to_owned));
        }
    }
    let same = fs::metadata(table).is_ok_and(|metadata| metadata.ino() == number);
    Ok(if same && listed { Look::Whole(targets) } else { Look::Again })
}

/// Reads until `done`. Every complete table has the targets of one of the published datasets.
#[expect(clippy::disallowed_methods, reason = "a thread of its own, on the real clock")]
fn poll(out: &Path, done: &AtomicBool, looks: &AtomicU64, allowed: &[BTreeSet<String>]) {
    let history = out.join("backlinks_history");
    while !done.load(Ordering::Relaxed) {
        if let Look::Whole(targets) = look(&history).expect("readable") {
            assert!(allowed.contains(&targets), "{} targets: {targets:?}", targets.len());
            looks.fetch_add(1, Ordering::Relaxed);
        }
        std::thread::sleep(PAUSE);
    }
}

/// The targets with a history, among this many.
async fn with_history(api: &str, targets: usize) -> BTreeSet<String> {
    let place = Place::new(targets);
    ended(place.run(api, ""), 0).await;
    let Look::Whole(names) = look(&place.out().join("backlinks_history")).expect("readable") else {
        panic!("no other run changes it")
    };
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_reader_during_two_hundred_publications_and_kills_sees_complete_tables() {
    let (api, place, mut rng) = (sandbox(Settings { gzip: false, ..instant() }).await, Place::new(TARGETS), rng());
    let mut allowed = Vec::new();
    for targets in TARGETS..=2 * TARGETS {
        allowed.push(with_history(&api.url(), targets).await);
    }
    ended(place.run(&api.url(), ""), 0).await;
    // Kills fall within the time that the last complete publication took, since the load of the machine varies.
    let mut usual = 2;
    let (done, looks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let reader = {
        let (out, done, looks) = (place.out(), Arc::clone(&done), Arc::clone(&looks));
        std::thread::spawn(move || poll(&out, &done, &looks, &allowed))
    };
    let (mut published, mut killed, mut targets) = (0, 0, TARGETS);
    while published < PUBLICATIONS && !reader.is_finished() {
        if published % 20 == 19 && targets < 2 * TARGETS {
            targets += 1;
            place.list(targets);
        }
        let flags = some_form(&mut rng);
        let start = tokio::time::Instant::now();
        let running = Running::start(place.run(&api.url(), &flags));
        let life = if rng.u64(..4) == 0 { rng.u64(..usual) } else { 60_000 };
        match running.kill_after(Duration::from_millis(life)).await {
            Ok(()) => killed += 1,
            Err(output) => {
                assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
                published += 1;
                usual = u64::try_from(start.elapsed().as_millis()).expect("short").max(2);
            }
        }
    }
    done.store(true, Ordering::Relaxed);
    reader.join().expect("the reader saw only whole tables");
    let looks = looks.load(Ordering::Relaxed);
    print(&format!("{published} publications, {killed} killed, {looks} looks"));
    assert!(looks > PUBLICATIONS && killed > 10, "{looks} looks, {killed} killed");
}

/// A different layout each time, so that there is something to publish.
fn some_form(rng: &mut Rng) -> String {
    let partitions = ["year", "year,month", "none"][rng.usize(..3)];
    let compression = ["zstd:1", "snappy", "none"][rng.usize(..3)];
    format!("--partition-by {partitions} --compression {compression} --row-group-rows {}", rng.u64(10..=10_000))
}
