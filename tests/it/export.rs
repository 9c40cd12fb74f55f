//! The whole pipeline in one process on paused time: input lines, calls with faults, a real ledger, real Parquet.

use std::{
    collections::BTreeMap,
    fs,
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};

use arrow::{array::AsArray, datatypes::Int64Type};
use backlinks_export::{
    api::{Api, ApiError, ErrorKind, Reply, Request},
    dataset::{self, DatasetLayout},
    export::{Export, ExportError, Fetched, PublishOptions, QueryParams, publish_and_summarize},
    fetch::FetchLimits,
    money::Usd,
    progress::{ExportScope, Mode, Progress},
    summary::{MaxFailures, RunEnd, RunSummary, Signal},
    targets::Inputs,
};

use super::{
    market::{clock, limits, lines},
    program::{quick_folder, rows as rows_of, table},
};

/// Answers with two to four months each, after the faults that a target's name requests. Keeps a bill.
#[derive(Default)]
struct Months {
    /// Changes the order of answers.
    salt: u32,
    billed: Mutex<BTreeMap<String, u32>>,
    calls: Mutex<BTreeMap<String, u32>>,
}

impl Api for &'static Months {
    async fn post(&self, request: &Request) -> Result<Reply, ApiError> {
        let name = request.target.as_str();
        let number: u32 = name.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0);
        let call = {
            let mut calls = self.calls.lock().expect("sound");
            let call = calls.entry(name.to_owned()).or_default();
            *call += 1;
            *call
        };
        tokio::time::sleep(Duration::from_millis(u64::from(number.wrapping_mul(31 + self.salt) % 700))).await;
        let lost = || ApiError { kind: ErrorKind::Lost, message: "connection reset".to_owned() };
        match (number % 50, call) {
            (1, 1) => return Ok(Reply { status: 503, body: r#"{"error":"busy"}"#.into(), ..Reply::default() }),
            (2, 1) => {
                *self.billed.lock().expect("sound").entry(name.to_owned()).or_default() += 1;
                return Err(lost());
            }
            (3, _) => {
                let body = r#"{"tasks":[{"status_code":40501,"status_message":"Invalid Field: 'target'."}]}"#;
                return Ok(Reply { status: 200, body: body.into(), ..Reply::default() });
            }
            _ => {}
        }
        *self.billed.lock().expect("sound").entry(name.to_owned()).or_default() += 1;
        let debit = Some(Usd::from_micros(36_000));
        Ok(Reply { status: 200, body: answer(name, number).into(), debit, ..Reply::default() })
    }
}

fn answer(name: &str, number: u32) -> String {
    if number % 50 == 4 {
        return r#"{"status_code":20000,"tasks":[{"id":"t","status_code":20000,"result":null}]}"#.to_owned();
    }
    let items: Vec<String> = (0..2 + number % 3)
        .map(|month| {
            // The latest month first: rows must be sorted.
            let (year, backlinks) = (2024 - month, u64::from(number) * 10 + u64::from(month));
            format!(
                r#"{{"type":"backlinks_history","date":"{year}-05-01 00:00:00 +00:00","backlinks":{backlinks},"referring_links_tld":{{"com":{backlinks},"":null}}}}"#
            )
        })
        .collect();
    format!(
        r#"{{"status_code":20000,"tasks":[{{"id":"t","status_code":20000,"status_message":"Ok.","result":[{{"target":"{name}","items":[{}]}}]}}]}}"#,
        items.join(",")
    )
}

fn leaked(salt: u32) -> &'static Months {
    Box::leak(Box::new(Months { salt, ..Months::default() }))
}

fn inputs(folder: &Path, count: u32) -> Inputs {
    let path = folder.join("domains.txt");
    let mut names: Vec<String> = (0..count).map(|number| format!("https://www.site{number}.com/")).collect();
    names.extend(["site1.com".to_owned(), "not a domain".to_owned()]);
    fs::write(&path, names.join("\n")).expect("written");
    lines(&path)
}

fn open(dir: &Path, inputs: Inputs) -> Export {
    Export::open(dir, inputs, &QueryParams::default(), clock()).expect("an open directory")
}

/// One run into `dir`, stopped after `limit`, if given.
async fn run(api: &'static Months, dir: &Path, inputs: Inputs, limit: Option<Duration>) -> RunSummary {
    run_disturbed(api, dir, inputs, limit, || {}).await.expect("a sound disk")
}

/// The same, with something that happens between the last call and publishing.
async fn run_disturbed(
    api: &'static Months,
    dir: &Path,
    inputs: Inputs,
    limit: Option<Duration>,
    disturb: impl FnOnce(),
) -> Result<RunSummary, ExportError> {
    let export = open(dir, inputs);
    let progress = Progress::start(Mode::None, false, ExportScope::all_stored(0));
    let terms = PublishOptions {
        layout: DatasetLayout::default(),
        max_failures: MaxFailures::default(),
        max_cost: None,
        discard_raw: false,
        fresh_since: None,
        replayed: false,
        before: export.spending(),
        started: tokio::time::Instant::now(),
    };
    let stop = async {
        match limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    let fetched = export.fetch(api, limits(60_000, 30), &terms.layout, &progress, stop).await;
    let (ended, Fetched { merged, staged, lock }) = fetched.expect("a sound disk");
    let ended = RunEnd::new(ended, Signal::Interrupt);
    disturb();
    publish_and_summarize(&merged, staged, &lock, &ended, &terms, &progress)
}

/// Rows and the sum of backlinks over all parts.
fn sums(dir: &Path) -> (usize, i64) {
    let (mut rows, mut backlinks) = (0, 0);
    for content in table(dir, dataset::HISTORY).into_values() {
        for batch in rows_of(&content) {
            rows += batch.num_rows();
            let column = batch.column_by_name("backlinks").expect("a column").as_primitive::<Int64Type>();
            backlinks += column.iter().flatten().sum::<i64>();
        }
    }
    (rows, backlinks)
}

fn expected(count: u32) -> (usize, i64) {
    let with_rows = (0..count).filter(|number| ![3, 4].contains(&(number % 50)));
    with_rows.fold((0, 0), |(rows, sum), number| {
        let months = 2 + number % 3;
        let backlinks = (0..months).map(|month| i64::from(number) * 10 + i64::from(month)).sum::<i64>();
        (rows + months as usize, sum + backlinks)
    })
}

#[tokio::test(start_paused = true)]
async fn five_thousand_targets_with_faults_become_a_dataset() {
    let folder = quick_folder();
    let (dir, api) = (folder.path().join("run"), leaked(0));
    let summary = run(api, &dir, inputs(folder.path(), 5_000), None).await;
    assert_eq!((summary.targets, summary.ok, summary.no_data, summary.failed), (5_000, 4_800, 100, 100));
    assert_eq!((summary.rejected, summary.duplicates, summary.pending), (1, 1, 0));
    assert_eq!((summary.exit_code, dataset::is_marked(&dir)), (3, false), "a hundred targets failed");
    assert_eq!(sums(&dir), expected(5_000));
    assert_eq!(usize::try_from(summary.rows).ok(), Some(expected(5_000).0));
    assert_eq!(summary.possibly_billed, 100, "calls whose answer was lost");
    let billed: u32 = api.billed.lock().expect("sound").values().sum();
    assert_eq!(billed, 4_900 + 100, "only targets whose answer was lost are billed twice");
    assert_eq!(summary.calls - summary.retries, 5_000);
}

#[tokio::test(start_paused = true)]
async fn the_order_of_answers_and_interruptions_do_not_change_the_dataset() {
    let folder = quick_folder();
    let dir = |name: &str| -> PathBuf { folder.path().join(name) };
    let lines = || inputs(folder.path(), 1_000);
    run(leaked(0), &dir("straight"), lines(), None).await;
    let (mut stops, api) = (0, leaked(7));
    loop {
        let limit = Duration::from_millis(150 + 40 * stops);
        let summary = run(api, &dir("stopped"), lines(), Some(limit)).await;
        if summary.exit_code != 130 {
            break;
        }
        assert!(!dir("stopped").join(dataset::HISTORY).exists(), "nothing is published by a run that was stopped");
        stops += 1;
    }
    assert!(stops > 5, "{stops} stops");
    assert_eq!(table(&dir("straight"), dataset::HISTORY), table(&dir("stopped"), dataset::HISTORY));
    let again: Vec<u32> = api.billed.lock().expect("sound").values().copied().filter(|times| *times > 1).collect();
    assert_eq!(again.len(), 20, "only those whose first answer was lost");
}

#[tokio::test(start_paused = true)]
async fn more_lines_are_fetched_and_a_partial_list_removes_nothing() {
    let folder = quick_folder();
    let (dir, api) = (folder.path().join("run"), leaked(0));
    run(api, &dir, inputs(folder.path(), 100), None).await;
    let more = run(api, &dir, inputs(folder.path(), 150), None).await;
    assert_eq!(
        (more.targets, more.calls_this_run),
        (150, 50 + 2 + 2),
        "the new ones with two retries, and the failed ones again"
    );
    assert_eq!(sums(&dir), expected(150));
    let failures = lines(&dir.join(dataset::FAILURES));
    assert_eq!(failures.counts().targets, 3);
    let retried = run(api, &dir, failures, None).await;
    assert_eq!((retried.targets, retried.calls_this_run, retried.ok), (150, 3, 144));
    assert_eq!(sums(&dir), expected(150));
}

#[tokio::test(start_paused = true)]
async fn other_parameters_and_a_directory_of_other_files_are_refused() {
    let folder = quick_folder();
    let dir = folder.path().join("run");
    run(leaked(0), &dir, inputs(folder.path(), 5), None).await;
    let other = QueryParams { date_from: Some(jiff::civil::date(2024, 1, 1)), ..QueryParams::default() };
    let refused = Export::open(&dir, inputs(folder.path(), 5), &other, clock());
    assert!(matches!(refused, Err(ExportError::QueryParams(_))));
    let refused = Export::open(folder.path(), inputs(folder.path(), 5), &QueryParams::default(), clock());
    assert!(matches!(refused, Err(ExportError::Foreign(_))));
    let _open = open(&dir, inputs(folder.path(), 5));
    let refused = Export::open(&dir, inputs(folder.path(), 5), &QueryParams::default(), clock());
    assert!(matches!(refused, Err(ExportError::Ledger(_))), "a second run is kept out");
}

/// Answers at once and records the order of the calls.
#[derive(Default)]
struct Called(Mutex<Vec<String>>);

impl Api for &'static Called {
    async fn post(&self, request: &Request) -> Result<Reply, ApiError> {
        let name = request.target.as_str();
        self.0.lock().expect("sound").push(name.to_owned());
        let debit = Some(Usd::from_micros(36_000));
        Ok(Reply { status: 200, body: answer(name, 4).into(), debit, ..Reply::default() })
    }
}

#[tokio::test(start_paused = true)]
async fn calls_are_made_in_target_order_if_the_cap_covers_all_else_in_input_order() {
    let check = async |max_cost: Option<i64>, limit: Option<u32>, expected: &[&str]| {
        let folder = quick_folder();
        let list = folder.path().join("domains.txt");
        fs::write(&list, "c.com\na.com\nd.com\nb.com\n").expect("written");
        let api: &'static Called = Box::leak(Box::default());
        let limits = FetchLimits { max_cost: max_cost.map(Usd::from_micros), ..limits(60_000, 1) };
        let export = open(&folder.path().join("out"), lines(&list))
            .limited(limit.map(|limit| NonZeroU32::new(limit).expect("positive")));
        let progress = Progress::start(Mode::None, false, ExportScope::all_stored(0));
        let fetched = export.fetch(api, limits, &DatasetLayout::default(), &progress, std::future::pending()).await;
        drop(fetched.expect("a sound disk"));
        assert_eq!(*api.0.lock().expect("sound"), expected, "{max_cost:?} {limit:?}");
    };
    check(None, None, &["a.com", "b.com", "c.com", "d.com"]).await;
    check(Some(1_000_000), None, &["a.com", "b.com", "c.com", "d.com"]).await;
    check(Some(130_000), None, &["c.com", "a.com", "d.com"]).await;
    check(None, Some(2), &["c.com", "a.com"]).await;
    check(None, Some(4), &["a.com", "b.com", "c.com", "d.com"]).await;
}

#[tokio::test(start_paused = true)]
async fn answers_that_are_deleted_before_publishing_are_saved_beside_what_was_written_there() {
    let folder = tempfile::tempdir().expect("a directory");
    let (dir, api) = (folder.path().join("out"), leaked(1));
    let remove = || fs::remove_dir_all(&dir).expect("removed");
    let error = run_disturbed(api, &dir, inputs(folder.path(), 50), None, remove).await.expect_err("no ledger");
    let saved = folder.path().join("out.recovered");
    let hint = format!("all paid answers were saved in {};", saved.display());
    assert!(error.to_string().contains("was deleted or replaced while") && error.hint().starts_with(&hint), "{error}");
    let billed = || api.billed.lock().expect("sound").clone();
    let before = billed();
    let summary = run(api, &saved, inputs(folder.path(), 50), None).await;
    assert_eq!((summary.pending, summary.possibly_billed), (0, 1));
    assert_eq!((sums(&saved), billed()), (expected(50), before), "nothing was bought again");
}
