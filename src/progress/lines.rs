//! Progress as lines: text for the logs of CI services, JSON for programs. No line moves the cursor.

use std::time::Duration;

use serde::Serialize;

use super::{
    ExportScope,
    snapshot::{Activity, ProgressSnapshot},
};
use crate::{humanize, money::Usd};

/// `[00:10]`, `[1:02:03]`
fn stamp(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("[{hours}:{minutes:02}:{seconds:02}]") } else { format!("[{minutes:02}:{seconds:02}]") }
}

pub(super) fn plain_start(scope: &ExportScope) -> String {
    let left = scope.total.saturating_sub(scope.stored);
    if left == 0 {
        let targets = match scope.total {
            1 => "the target is".to_owned(),
            total => format!("all {} targets are", humanize::count(total)),
        };
        return format!("{} nothing to fetch: {targets} already stored", stamp(Duration::ZERO));
    }
    let per = match scope.rate.period {
        period if period == Duration::from_secs(1) => "1 s".to_owned(),
        period => humanize::duration(period),
    };
    format!(
        "{} {} of {} to fetch, at most {} calls in {per} and {} in flight",
        stamp(Duration::ZERO),
        humanize::count(left),
        humanize::counted(scope.total, "target", "targets"),
        humanize::count(scope.rate.calls.get().into()),
        scope.concurrency
    )
}

pub(super) fn plain_line(snapshot: &ProgressSnapshot) -> String {
    let counted = &snapshot.counted;
    let (done, total) = snapshot.progress();
    let way =
        format!("{}/{} targets ({})", humanize::count(done), humanize::count(total), humanize::percent(done, total));
    let mut parts = vec![match counted.activity {
        Activity::Publishing(_) => format!("writing Parquet: {way}"),
        Activity::Uploading(_) => {
            let (done, total) = (humanize::bytes(done), humanize::bytes(total));
            format!("uploading the dataset: {done} of {total}")
        }
        Activity::Ended => format!("ended: {way}"),
        _ => way,
    }];
    parts.extend(snapshot.rows());
    if !snapshot.is_after_fetch() && counted.activity != Activity::Ended {
        parts.push(format!("{}/min", humanize::count(snapshot.per_minute)));
    }
    parts.push(snapshot.money());
    parts.extend(snapshot.cap());
    if !snapshot.is_after_fetch() && counted.written > 0 && counted.activity != Activity::Ended {
        parts.push(format!("{} written", humanize::count(counted.written)));
    }
    parts.push(humanize::counted(counted.retries, "retry", "retries"));
    parts.push(format!("{} failed", humanize::count(counted.failed)));
    parts.extend(snapshot.left.map(|left| format!("{} left", humanize::rough_duration(left))));
    if matches!(counted.activity, Activity::AskedToWait(_) | Activity::Outage | Activity::Finishing) {
        parts.push(counted.activity.describe());
    }
    format!("{} {}", stamp(counted.elapsed), parts.join(", "))
}

/// One object of `--progress json`. The names are public.
#[derive(Serialize)]
struct JsonLine<'a> {
    event: &'a str,
    elapsed_s: f64,
    state: &'a str,
    targets: u64,
    done: u64,
    failed: u64,
    rows: u64,
    calls: u64,
    retries: u64,
    calls_per_minute: u64,
    time_left_s: Option<u64>,
    cost_usd: f64,
    max_cost_usd: Option<f64>,
    projected_cost_usd: Option<f64>,
    targets_written: u64,
    bytes_uploaded: u64,
}

#[derive(Serialize)]
struct Note<'a> {
    event: &'a str,
    elapsed_s: f64,
    message: &'a str,
}

pub(super) fn json(snapshot: &ProgressSnapshot) -> String {
    let counted = &snapshot.counted;
    let event = if counted.activity == Activity::Ended { "end" } else { "progress" };
    let line = JsonLine {
        event,
        elapsed_s: humanize::seconds(counted.elapsed),
        state: counted.activity.name(),
        targets: snapshot.scope.total,
        done: counted.done,
        failed: counted.failed,
        rows: counted.rows,
        calls: counted.calls,
        retries: counted.retries,
        calls_per_minute: snapshot.per_minute,
        time_left_s: snapshot.left.map(|left| left.as_secs()),
        cost_usd: snapshot.spent().dollars(),
        max_cost_usd: snapshot.scope.cap.map(Usd::dollars),
        projected_cost_usd: snapshot.projected.map(Usd::dollars),
        targets_written: counted.written,
        bytes_uploaded: counted.uploaded,
    };
    serde_json::to_string(&line).expect("numbers and words always serialize")
}

/// A warning as JSON.
pub(super) fn json_note(elapsed: Duration, message: &str) -> String {
    let note = Note { event: "note", elapsed_s: humanize::seconds(elapsed), message };
    serde_json::to_string(&note).expect("text always serializes")
}
