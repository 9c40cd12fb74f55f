use std::io;

use insta::assert_snapshot;

use super::{bar::render, snapshot::ProgressSnapshot, *};

/// What was written, and whether the reader has closed the output.
#[derive(Clone, Default)]
struct CapturedOutput(Arc<Mutex<(Vec<u8>, bool)>>);

impl CapturedOutput {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().0.clone()).expect("UTF-8")
    }
}

impl Write for CapturedOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut paper = self.0.lock();
        if paper.1 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        paper.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).expect("above zero")
}

fn scope() -> ExportScope {
    ExportScope {
        total: 5_000,
        stored: 20,
        rate: Rate { calls: number(600), period: Duration::from_mins(1) },
        concurrency: number(20),
        spent: Usd::from_micros(550_000),
        cap: None,
        simulated: false,
    }
}

/// Ten calls per second, each answered with 95 rows for $0.0274, for this many seconds.
async fn calls(progress: &Progress, seconds: u64) {
    for _ in 0..seconds * 10 {
        progress.called(false);
        tokio::time::sleep(Duration::from_millis(100)).await;
        progress.answered(Some(TargetState::Ok), 95, Usd::from_micros(27_400));
    }
}

async fn a_run(mode: Mode, paper: &CapturedOutput) {
    let progress = Progress::start_with(mode, false, scope(), Box::new(paper.clone()));
    progress.state(&FetchState::RateLimit);
    calls(&progress, 12).await;
    progress.called(true);
    progress.answered(None, 0, Usd::ZERO);
    progress.failed();
    progress.note("the API sends a field that this version does not know: \u{1b}[31mtrust");
    progress.state(&FetchState::Outage { cause: None });
    tokio::time::sleep(Duration::from_secs(3)).await;
    progress.state(&FetchState::Calling);
    tokio::time::sleep(Duration::from_secs(2)).await;
    progress.state(&FetchState::AskedToWait(Duration::from_secs(30)));
    tokio::time::sleep(Duration::from_secs(10)).await;
    progress.state(&FetchState::Finishing);
    tokio::time::sleep(Duration::from_millis(100)).await;
    progress.publishing(139);
    progress.published(100);
    tokio::time::sleep(Duration::from_secs(9)).await;
    progress.published(39);
    progress.finish();
    progress.finish();
    drop(progress);
    tokio::time::sleep(Duration::from_mins(1)).await;
}

#[tokio::test(start_paused = true)]
async fn lines_show_a_whole_run() {
    let paper = CapturedOutput::default();
    a_run(Mode::Plain, &paper).await;
    assert!(!paper.text().contains('\u{1b}'));
    assert_snapshot!(paper.text(), @r#"
    [00:00] 4,980 of 5,000 targets to fetch, at most 600 calls in 1 min and 20 in flight
    [00:10] 120/5,000 targets (2.4 %), 9,500 new rows, 606/min, $3.29 of about $137, 0 retries, 0 failed, about 9 min left
    the API sends a field that this version does not know: trust
    [00:12] 140/5,000 targets (2.8 %), 11,400 new rows, 605/min, $3.84 of about $136, 1 retry, 1 failed, API down, probing
    [00:15] 140/5,000 targets (2.8 %), 11,400 new rows, 484/min, $3.84 of about $136, 1 retry, 1 failed
    [00:17] 140/5,000 targets (2.8 %), 11,400 new rows, 427/min, $3.84 of about $136, 1 retry, 1 failed, the API asks to wait 30 s
    [00:20] 140/5,000 targets (2.8 %), 11,400 new rows, 363/min, $3.84 of about $136, 1 retry, 1 failed, the API asks to wait 27 s
    [00:27] 140/5,000 targets (2.8 %), 11,400 new rows, 0/min, $3.84, 1 retry, 1 failed, finishing calls in flight
    [00:27] writing Parquet: 100/139 targets (71.9 %), 11,400 new rows, $3.84, 1 retry, 1 failed
    [00:30] writing Parquet: 100/139 targets (71.9 %), 11,400 new rows, $3.84, 1 retry, 1 failed
    [00:36] ended: 140/5,000 targets (2.8 %), 11,400 new rows, $3.84, 1 retry, 1 failed
    "#);
}

#[tokio::test(start_paused = true)]
async fn an_upload_is_a_separate_phase_in_bytes() {
    let check = async |mode: Mode, expected: &[&str]| {
        let paper = CapturedOutput::default();
        let progress = Progress::start_with(mode, false, ExportScope::all_stored(4), Box::new(paper.clone()));
        progress.uploading(3_000_000);
        tokio::time::sleep(Duration::from_secs(1)).await;
        progress.uploaded(1_500_000);
        tokio::time::sleep(Duration::from_secs(10)).await;
        let text = paper.text();
        for line in expected {
            assert!(text.contains(line), "{text}");
        }
    };
    let zero = "uploading the dataset: 0 B of 3.0 MB";
    check(Mode::Plain, &[zero, "uploading the dataset: 1.5 MB of 3.0 MB"]).await;
    check(Mode::Json, &["\"state\":\"uploading\"", "\"bytes_uploaded\":1500000"]).await;
}

#[tokio::test(start_paused = true)]
async fn json_shows_a_whole_run() {
    let paper = CapturedOutput::default();
    a_run(Mode::Json, &paper).await;
    for line in paper.text().lines() {
        serde_json::from_str::<serde_json::Value>(line).expect("a JSON object a line");
    }
    assert_snapshot!(paper.text(), @r#"
    {"event":"progress","elapsed_s":0.0,"state":"calling","targets":5000,"done":20,"failed":0,"rows":0,"calls":0,"retries":0,"calls_per_minute":0,"time_left_s":498,"cost_usd":0.55,"max_cost_usd":null,"projected_cost_usd":null,"targets_written":0,"bytes_uploaded":0}
    {"event":"progress","elapsed_s":10.0,"state":"rate_limit","targets":5000,"done":120,"failed":0,"rows":9500,"calls":101,"retries":0,"calls_per_minute":606,"time_left_s":488,"cost_usd":3.29,"max_cost_usd":null,"projected_cost_usd":137.002,"targets_written":0,"bytes_uploaded":0}
    {"event":"note","elapsed_s":12.0,"message":"the API sends a field that this version does not know: trust"}
    {"event":"progress","elapsed_s":12.0,"state":"outage","targets":5000,"done":140,"failed":1,"rows":11400,"calls":121,"retries":1,"calls_per_minute":605,"time_left_s":null,"cost_usd":3.838,"max_cost_usd":null,"projected_cost_usd":135.874297,"targets_written":0,"bytes_uploaded":0}
    {"event":"progress","elapsed_s":15.0,"state":"calling","targets":5000,"done":140,"failed":1,"rows":11400,"calls":121,"retries":1,"calls_per_minute":484,"time_left_s":null,"cost_usd":3.838,"max_cost_usd":null,"projected_cost_usd":135.874297,"targets_written":0,"bytes_uploaded":0}
    {"event":"progress","elapsed_s":17.0,"state":"asked_to_wait","targets":5000,"done":140,"failed":1,"rows":11400,"calls":121,"retries":1,"calls_per_minute":427,"time_left_s":null,"cost_usd":3.838,"max_cost_usd":null,"projected_cost_usd":135.874297,"targets_written":0,"bytes_uploaded":0}
    {"event":"progress","elapsed_s":20.0,"state":"asked_to_wait","targets":5000,"done":140,"failed":1,"rows":11400,"calls":121,"retries":1,"calls_per_minute":363,"time_left_s":null,"cost_usd":3.838,"max_cost_usd":null,"projected_cost_usd":135.874297,"targets_written":0,"bytes_uploaded":0}
    {"event":"progress","elapsed_s":27.0,"state":"finishing","targets":5000,"done":140,"failed":1,"rows":11400,"calls":121,"retries":1,"calls_per_minute":0,"time_left_s":null,"cost_usd":3.838,"max_cost_usd":null,"projected_cost_usd":null,"targets_written":0,"bytes_uploaded":0}
    {"event":"progress","elapsed_s":27.1,"state":"publishing","targets":5000,"done":140,"failed":1,"rows":11400,"calls":121,"retries":1,"calls_per_minute":0,"time_left_s":null,"cost_usd":3.838,"max_cost_usd":null,"projected_cost_usd":null,"targets_written":100,"bytes_uploaded":0}
    {"event":"progress","elapsed_s":30.0,"state":"publishing","targets":5000,"done":140,"failed":1,"rows":11400,"calls":121,"retries":1,"calls_per_minute":0,"time_left_s":null,"cost_usd":3.838,"max_cost_usd":null,"projected_cost_usd":null,"targets_written":100,"bytes_uploaded":0}
    {"event":"end","elapsed_s":36.1,"state":"ended","targets":5000,"done":140,"failed":1,"rows":11400,"calls":121,"retries":1,"calls_per_minute":0,"time_left_s":null,"cost_usd":3.838,"max_cost_usd":null,"projected_cost_usd":null,"targets_written":139,"bytes_uploaded":0}
    "#);
}

#[tokio::test(start_paused = true)]
async fn without_progress_log_lines_are_still_written() {
    let paper = CapturedOutput::default();
    a_run(Mode::None, &paper).await;
    assert_eq!(paper.text(), "the API sends a field that this version does not know: trust\n");
}

#[tokio::test(start_paused = true)]
async fn a_closed_output_is_ignored() {
    let paper = CapturedOutput::default();
    paper.0.lock().1 = true;
    a_run(Mode::Plain, &paper).await;
    a_run(Mode::Json, &paper).await;
}

#[tokio::test(start_paused = true)]
async fn the_reporter_ends_with_the_last_handle_and_shows_the_totals() {
    let paper = CapturedOutput::default();
    let progress = Progress::start_with(Mode::Plain, false, scope(), Box::new(paper.clone()));
    let other = progress.clone();
    drop(progress);
    calls(&other, 1).await;
    drop(other);
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(Arc::strong_count(&paper.0), 1, "the display is gone");
    assert_eq!(paper.text().lines().count(), 2, "{}", paper.text());
    assert!(paper.text().contains("ended: 30/5,000"), "{}", paper.text());
}

#[tokio::test(start_paused = true)]
async fn frequent_changes_of_activity_are_limited_to_few_lines() {
    let paper = CapturedOutput::default();
    let progress = Progress::start_with(Mode::Plain, false, scope(), Box::new(paper.clone()));
    for _ in 0..5_000 {
        progress.state(&FetchState::AskedToWait(Duration::from_millis(1)));
        tokio::time::sleep(Duration::from_millis(1)).await;
        progress.state(&FetchState::Calling);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(paper.text().lines().count() <= 13, "{}", paper.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn events_of_many_tasks_are_all_counted() {
    const TASKS: u64 = 8;
    const EVENTS: u64 = 10_000;
    let progress = Progress::start_with(Mode::Plain, false, scope(), Box::new(CapturedOutput::default()));
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let progress = progress.clone();
            tokio::spawn(async move {
                for _ in 0..EVENTS {
                    progress.called(true);
                    progress.state(&FetchState::RateLimit);
                    progress.answered(Some(TargetState::NoData), 2, Usd::from_micros(3));
                    progress.state(&FetchState::Calling);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic");
    }
    let counted = progress.0.shared.counted();
    let all = TASKS * EVENTS;
    let found = (counted.calls, counted.retries, counted.answers, counted.done, counted.rows);
    assert_eq!(found, (all, all, all, all + 20, 2 * all));
    assert_eq!(counted.spent, Usd::from_micros(240_000));
}

fn snapshot(activity: Activity) -> ProgressSnapshot {
    let counted = Counted {
        uploaded: 0,
        elapsed: Duration::from_secs(125),
        calls: 1_230,
        retries: 22,
        answers: 1_224,
        done: 1_204,
        failed: 2,
        rows: 112_400,
        written: 800,
        spent: Usd::from_micros(32_900_000),
        down: false,
        activity,
    };
    ProgressSnapshot {
        counted,
        scope: ExportScope { stored: 0, spent: Usd::ZERO, cap: Some(Usd::from_micros(150_000_000)), ..scope() },
        per_minute: 598,
        left: matches!(activity, Activity::Calling | Activity::RateLimit | Activity::AskedToWait(_))
            .then_some(Duration::from_secs(380)),
        projected: (!matches!(activity, Activity::Finishing | Activity::Publishing(_)))
            .then_some(Usd::from_micros(137_400_000)),
    }
}

const ACTIVITIES: [Activity; 6] = [
    Activity::Calling,
    Activity::RateLimit,
    Activity::AskedToWait(Duration::from_secs(30)),
    Activity::Outage,
    Activity::Finishing,
    Activity::Publishing(1_204),
];

fn drawn(width: usize) -> String {
    ACTIVITIES.map(|activity| render(&snapshot(activity), width, false).join("\n") + "\n").join("\n")
}

#[test]
fn the_bar_at_40_columns() {
    assert_snapshot!(drawn(40), @r#"
    ━───────  1,204/5,000  about 7 min left
    598/min, $32.90 of about $137, 2 failed

    ━───────  1,204/5,000  about 7 min left
    waiting for the rate limit

    ━───────  1,204/5,000  about 7 min left
    the API asks to wait 30 s

    ━━━━──────────────  1,204/5,000  24.0 %
    $32.90 of about $137, API down, probing

    ━━━━──────────────  1,204/5,000  24.0 %
    $32.90, finishing calls in flight

    ━━━━━━━━━━━━━───────  800/1,204  66.4 %
    $32.90, 2 failed, writing Parquet
    "#);
}

#[test]
fn the_bar_at_80_columns() {
    assert_snapshot!(drawn(80), @r#"
    ━━━━━━━━━───────────────────────────────  1,204/5,000  24.0 %  about 7 min left
    112,400 rows, 598/min, $32.90 of about $137, at most $150.00, 2 failed

    ━━━━━━━━━───────────────────────────────  1,204/5,000  24.0 %  about 7 min left
    598/min, $32.90 of about $137, 2 failed, waiting for the rate limit

    ━━━━━━━━━───────────────────────────────  1,204/5,000  24.0 %  about 7 min left
    598/min, $32.90 of about $137, 2 failed, the API asks to wait 30 s

    ━━━━━━━━━───────────────────────────────  1,204/5,000  24.0 %
    112,400 rows, 598/min, $32.90 of about $137, 2 failed, API down, probing

    ━━━━━━━━━───────────────────────────────  1,204/5,000  24.0 %
    112,400 rows, 598/min, $32.90, 2 failed, finishing calls in flight

    ━━━━━━━━━━━━━━━━━━━━━━━━━━──────────────  800/1,204  66.4 %
    112,400 rows, $32.90, at most $150.00, 22 retries, 2 failed, writing Parquet
    "#);
}

#[test]
fn the_bar_at_120_columns() {
    assert_snapshot!(drawn(120), @r#"
    ━━━━━━━━━───────────────────────────────  1,204/5,000  24.0 %  about 7 min left
    112,400 rows, 598/min, $32.90 of about $137, at most $150.00, 800 written, 22 retries, 2 failed

    ━━━━━━━━━───────────────────────────────  1,204/5,000  24.0 %  about 7 min left
    112,400 rows, 598/min, $32.90 of about $137, at most $150.00, 22 retries, 2 failed, waiting for the rate limit

    ━━━━━━━━━───────────────────────────────  1,204/5,000  24.0 %  about 7 min left
    112,400 rows, 598/min, $32.90 of about $137, at most $150.00, 22 retries, 2 failed, the API asks to wait 30 s

    ━━━━━━━━━───────────────────────────────  1,204/5,000  24.0 %
    112,400 rows, 598/min, $32.90 of about $137, at most $150.00, 22 retries, 2 failed, API down, probing

    ━━━━━━━━━───────────────────────────────  1,204/5,000  24.0 %
    112,400 rows, 598/min, $32.90, at most $150.00, 800 written, 22 retries, 2 failed, finishing calls in flight

    ━━━━━━━━━━━━━━━━━━━━━━━━━━──────────────  800/1,204  66.4 %
    112,400 rows, $32.90, at most $150.00, 22 retries, 2 failed, writing Parquet
    "#);
}

#[test]
fn no_line_wraps_at_any_width_and_color_changes_nothing_but_color() {
    let mut snapshots: Vec<ProgressSnapshot> = ACTIVITIES.into_iter().map(snapshot).collect();
    let mut huge = snapshot(Activity::AskedToWait(Duration::MAX));
    huge.scope.total = u64::MAX;
    huge.counted.done = u64::MAX;
    huge.counted.rows = u64::MAX;
    huge.scope.spent = Usd::from_micros(i64::MAX);
    snapshots.push(huge);
    for snapshot in snapshots {
        for width in 0..200 {
            let lines = render(&snapshot, width, false);
            for line in &lines {
                assert!(line.chars().count() <= width.saturating_sub(1), "{width}: {line}");
            }
            let colored = render(&snapshot, width, true);
            assert_eq!(colored.map(|line| console::strip_ansi_codes(&line).into_owned()), lines);
        }
    }
}
