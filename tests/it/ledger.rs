//! The ledger on a real disk: acknowledged records are present, an incomplete end is cut off, and damage is named.

use super::members::gunzip;
use std::{fs, path::Path, time::Duration};

use backlinks_export::{
    api::{
        BodyForm, Parameters, RankScale, Reply,
        call_events::{Answered, GaveUp, Sent, TargetState},
        status::{Class, assess},
    },
    decode::Envelope,
    ledger::{Archive, Ledger, LedgerError, LoadedBody, Lock, RunHeader},
    money::Usd,
    targets::{Accept, Target, clean},
};
use jiff::{Timestamp, civil::date};

fn target(name: &str) -> Target {
    clean(name, Accept::DOMAINS).expect("a domain").target
}

fn moment(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).expect("a time")
}

fn run() -> RunHeader {
    RunHeader {
        run_id: "20261124T120000Z-abc123".to_owned(),
        started_at: moment(0),
        parameters: Parameters {
            date_from: date(2019, 1, 1),
            date_to: date(2026, 11, 24),
            rank_scale: RankScale::OneThousand,
            tag: "t".to_owned(),
        },
        version: "0.1.0".to_owned(),
        shard: None,
        simulated: false,
    }
}

fn sent(name: &str, attempt: u32, second: i64) -> Sent {
    let reserved = Some(Usd::from_micros(30_000));
    Sent { target: target(name), attempt, at: moment(second), form: BodyForm::Array, price_limit: reserved }
}

fn body_of(name: &str, padding: usize) -> String {
    let noise: String =
        (0..padding).map(|place| char::from(b'a' + u8::try_from(place * 7919 % 26).expect("small"))).collect();
    format!(
        r#"{{"status_code":20000,"tasks":[{{"id":"{name}-1","status_code":20000,"cost":0.027,"result":[{{"target":"{name}","items":[{{"date":"2024-01-01 00:00:00 +00:00","note":"{noise}"}}]}}]}}]}}"#
    )
}

fn answered(name: &str, attempt: u32, second: i64, body: &str) -> Answered {
    let reply = Ok(Reply { status: 200, body: body.to_owned().into(), ..Reply::default() });
    let assessment = assess(&reply, Envelope::read(name, body.as_bytes()));
    let body = Some(body.to_owned().into());
    Answered {
        target: target(name),
        attempt,
        at: moment(second),
        latency: Duration::from_millis(400),
        assessment,
        request_id: None,
        body,
    }
}

fn open(dir: &Path) -> Result<(Ledger, Lock), LedgerError> {
    let lock = Lock::take(dir)?;
    Ok((Ledger::open(Archive::read(dir)?, &lock, None, 30)?, lock))
}

/// A ledger with three answers, one failed target and one call without an answer.
async fn small_ledger(dir: &Path) {
    let (ledger, _lock) = open(dir).expect("a new ledger");
    ledger.start(&run()).await.expect("durable");
    for (number, name) in ["a.com", "b.com", "c.com"].into_iter().enumerate() {
        let second = i64::try_from(number).expect("small");
        ledger.sent(&sent(name, 1, second)).await.expect("durable");
        ledger.answered(&answered(name, 1, second + 1, &body_of(name, 40))).await.expect("durable");
    }
    ledger.sent(&sent("d.com", 1, 5)).await.expect("durable");
    ledger
        .answered(&answered("d.com", 1, 6, r#"{"tasks":[{"status_code":40501,"status_message":"Invalid"}]}"#))
        .await
        .expect("durable");
    ledger.gave_up(&GaveUp { target: target("d.com"), at: moment(6), class: Class::Rejected }).await.expect("durable");
    ledger.sent(&sent("e.com", 1, 7)).await.expect("durable");
    ledger.close().await.expect("closed");
}

fn file(dir: &Path) -> std::path::PathBuf {
    dir.join("_raw/ledger-0.jsonl.gz")
}

fn body(archive: &Archive, name: &str) -> Result<Option<Vec<u8>>, LedgerError> {
    let Some(entry) = archive.entry(target(name).view()) else { return Ok(None) };
    match archive.body(entry, u64::MAX)? {
        LoadedBody::Whole(body) => Ok(Some(body).filter(|body| !body.is_empty())),
        LoadedBody::Larger(_) => unreachable!("any size is asked for"),
    }
}

#[tokio::test]
async fn acknowledged_records_are_read_back() {
    let dir = tempfile::tempdir().expect("a directory");
    small_ledger(dir.path()).await;
    let archive = Archive::read(dir.path()).expect("readable");
    assert_eq!(archive.run(), Some(&run()));
    for name in ["a.com", "b.com", "c.com"] {
        assert_eq!(archive.state(target(name).view()), TargetState::Ok);
        assert_eq!(body(&archive, name).expect("readable").as_deref(), Some(body_of(name, 40).as_bytes()));
    }
    assert_eq!(archive.state(target("d.com").view()), TargetState::Failed);
    assert_eq!(archive.state(target("e.com").view()), TargetState::Pending);
    assert_eq!(archive.state(target("f.com").view()), TargetState::Pending);
    let lost = archive.entry(target("e.com").view()).expect("asked");
    assert_eq!((lost.attempts, lost.possibly_billed()), (1, 1));
    let past = archive.resume_state(moment(60));
    assert_eq!(past.calls.len(), 5);
    // For three calls the upstream price is known, and twice as much may have been debited; one keeps its reservation.
    assert_eq!(past.spent, Usd::from_micros(3 * 2 * 27_000 + 30_000));
    assert_eq!(past.form, Some(BodyForm::Array));
}

#[tokio::test]
async fn a_ledger_is_a_stream_of_json_lines_for_any_reader() {
    let dir = tempfile::tempdir().expect("a directory");
    small_ledger(dir.path()).await;
    let bytes = fs::read(file(dir.path())).expect("a file");
    let text = String::from_utf8(gunzip(&bytes).expect("gzip")).expect("UTF-8");
    let printed = std::process::Command::new("gzip").arg("-dc").arg(file(dir.path())).output().expect("gzip is there");
    assert!(printed.status.success() && printed.stdout == text.as_bytes(), "{:?}", printed.stderr);
    let records: Vec<String> = text
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).expect("JSON")["record"]
                .as_str()
                .expect("a word")
                .to_owned()
        })
        .collect();
    assert_eq!(
        records,
        ["run", "sent", "answer", "sent", "answer", "sent", "answer", "sent", "answer", "gave_up", "sent"]
    );
    let third: serde_json::Value = serde_json::from_str(text.lines().nth(2).expect("a line")).expect("JSON");
    assert_eq!(third["body"]["tasks"][0]["result"][0]["target"], "a.com", "the line contains the body unchanged");
}

#[tokio::test]
async fn a_second_run_cannot_lock_the_directory() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = Lock::take(dir.path()).expect("free");
    assert!(matches!(Lock::take(dir.path()), Err(LedgerError::InUse { .. })));
    drop(first);
    assert!(Lock::take(dir.path()).is_ok());
}

/// The names whose complete answers a ledger has, in order.
const NAMES: [&str; 3] = ["a.com", "b.com", "c.com"];

#[tokio::test]
async fn a_ledger_cut_at_any_byte_keeps_its_whole_records_and_can_be_extended() {
    let dir = super::program::quick_folder();
    small_ledger(dir.path()).await;
    let whole = fs::read(file(dir.path())).expect("a file");
    let mut most_stored = 0;
    for cut in 0..whole.len() {
        fs::write(file(dir.path()), &whole[..cut]).expect("written");
        let archive = Archive::read(dir.path()).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        let stored = NAMES.iter().filter(|name| archive.state(target(name).view()) == TargetState::Ok).count();
        assert!(stored >= most_stored, "cut at {cut}: a longer prefix has no fewer answers");
        most_stored = stored;
        for name in &NAMES[..stored] {
            assert_eq!(
                body(&archive, name).expect("whole").as_deref(),
                Some(body_of(name, 40).as_bytes()),
                "cut at {cut}"
            );
        }
        for name in &NAMES[stored..] {
            assert_eq!(archive.state(target(name).view()), TargetState::Pending, "cut at {cut}");
        }
    }
    assert_eq!(most_stored, 3);

    // The incomplete end is cut off when the ledger is extended, and what is appended can be read.
    for cut in (0..whole.len()).step_by(7) {
        fs::write(file(dir.path()), &whole[..cut]).expect("written");
        let (ledger, lock) = open(dir.path()).expect("recovered");
        ledger.answered(&answered("z.com", 1, 99, &body_of("z.com", 10))).await.expect("durable");
        ledger.close().await.expect("closed");
        drop(lock);
        let archive = Archive::read(dir.path()).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        assert_eq!(archive.state(target("z.com").view()), TargetState::Ok, "cut at {cut}");
    }
}

#[tokio::test]
async fn a_flipped_bit_is_reported_and_never_read() {
    let dir = super::program::quick_folder();
    small_ledger(dir.path()).await;
    let whole = fs::read(file(dir.path())).expect("a file");
    let (mut named, mut torn) = (0, 0);
    for bit in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        fs::write(file(dir.path()), &damaged).expect("written");
        let archive = match Archive::read(dir.path()) {
            Ok(archive) => archive,
            Err(LedgerError::Damaged { path, offset, .. }) => {
                assert_eq!(path, file(dir.path()));
                assert!(usize::try_from(offset).expect("small") <= bit / 8, "bit {bit}: named byte {offset}");
                named += 1;
                continue;
            }
            Err(other) => panic!("bit {bit}: {other}"),
        };
        let mut all = true;
        for name in NAMES {
            match body(&archive, name) {
                Ok(Some(read)) => assert_eq!(read, body_of(name, 40).into_bytes(), "bit {bit}: a wrong answer"),
                Ok(None) => all = false,
                Err(LedgerError::Damaged { .. }) => named += 1,
                Err(other) => panic!("bit {bit}: {other}"),
            }
        }
        torn += usize::from(!all);
    }
    // Only a flip in the last record can look like an incomplete end after a crash; here, that record has no answer.
    assert_eq!(torn, 0, "{named} named");
    assert!(named > whole.len() * 7, "{named} of {} flips named", whole.len() * 8);
}

#[tokio::test]
async fn a_missing_file_in_between_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    small_ledger(dir.path()).await;
    fs::copy(file(dir.path()), dir.path().join("_raw/ledger-1.jsonl.gz")).expect("copied");
    fs::remove_file(file(dir.path())).expect("removed");
    let error = Archive::read(dir.path()).expect_err("a gap").to_string();
    assert!(error.contains("ledger-1.jsonl.gz") && error.contains("ledger-0.jsonl.gz"), "{error}");
}

#[tokio::test]
async fn an_answer_counts_until_there_is_a_newer_one() {
    let folder = tempfile::tempdir().expect("a directory");
    let name = "a.com";
    let refused = r#"{"tasks":[{"status_code":40501,"status_message":"Invalid"}]}"#;
    let open = || open(folder.path()).expect("sound");
    let gave_up = GaveUp { target: target(name), at: moment(102), class: Class::Rejected };
    // The state after these records, read from the disk again.
    let check = |at: i64, given_up: bool, calls: u64, retries: u64, refreshed: u64| {
        let archive = Archive::read(folder.path()).expect("sound");
        let entry = archive.entry(target(name).view()).expect("asked");
        assert_eq!((entry.state, entry.at()), (TargetState::Ok, Some(moment(at))));
        assert_eq!(archive.is_refresh_given_up(target(name).view()), given_up);
        let spending = archive.spending();
        assert_eq!((spending.calls, spending.retries, spending.refreshed), (calls, retries, refreshed));
        assert!(archive.is_fresh(target(name).view(), Some(moment(at))));
        assert!(!archive.is_fresh(target(name).view(), Some(moment(at + 1))));
        archive
    };
    let (ledger, lock) = open();
    ledger.start(&run()).await.expect("durable");
    ledger.sent(&sent(name, 1, 0)).await.expect("durable");
    ledger.answered(&answered(name, 1, 1, &body_of(name, 40))).await.expect("durable");
    ledger.close().await.expect("closed");
    drop(lock);
    check(1, false, 1, 0, 0);
    // A refresh that is refused and given up.
    let later = date(2026, 12, 24);
    let (ledger, lock) = open();
    let ledger = ledger.with_date_to(later);
    ledger.sent(&sent(name, 1, 100)).await.expect("durable");
    ledger.answered(&answered(name, 1, 101, refused)).await.expect("durable");
    ledger.gave_up(&gave_up).await.expect("durable");
    ledger.close().await.expect("closed");
    drop(lock);
    let archive = check(1, true, 2, 0, 0);
    let refusal = archive.failed_refresh(target(name).view()).expect("readable").expect("a refusal");
    assert_eq!(
        (refusal.answer.class, refusal.answer.at, refusal.answer.date_to),
        (Class::Rejected, moment(101), Some(later))
    );
    let kept = archive
        .latest_result(archive.entry(target(name).view()).expect("asked"))
        .expect("readable")
        .expect("an answer");
    let kept_body = body(&archive, name).expect("readable");
    assert_eq!((kept_body.map(|body| body.len()), kept.answer.date_to), (Some(body_of(name, 40).len()), None));
    assert_eq!(archive.latest_date_to(), Some(date(2026, 11, 24)), "no answer was had for the later day");
    // Refreshes: one that a kill interrupted, one that was called off, and one that succeeds.
    let (ledger, lock) = open();
    ledger.sent(&sent(name, 1, 200)).await.expect("durable");
    ledger.close().await.expect("closed");
    drop(lock);
    check(1, false, 3, 1, 0);
    let (ledger, lock) = open();
    let ledger = ledger.with_date_to(later);
    ledger.sent(&sent(name, 1, 300)).await.expect("durable");
    ledger.called_off(&sent(name, 1, 300)).await.expect("durable");
    ledger.close().await.expect("closed");
    drop(lock);
    check(1, false, 3, 1, 0);
    let (ledger, lock) = open();
    let ledger = ledger.with_date_to(later);
    ledger.sent(&sent(name, 1, 400)).await.expect("durable");
    ledger.answered(&answered(name, 1, 401, &body_of(name, 80))).await.expect("durable");
    ledger.close().await.expect("closed");
    drop(lock);
    let archive = check(401, false, 4, 2, 1);
    assert!(archive.failed_refresh(target(name).view()).expect("readable").is_none());
    assert_eq!(archive.latest_date_to(), Some(later));
    assert_eq!(archive.spending().possibly_billed, 1, "the call that was cut short");
    // The first call of a refresh does not count if it is called off.
    let (ledger, lock) = open();
    ledger.sent(&sent(name, 1, 500)).await.expect("durable");
    ledger.called_off(&sent(name, 1, 500)).await.expect("durable");
    ledger.close().await.expect("closed");
    drop(lock);
    check(401, false, 4, 2, 1);
}

#[tokio::test]
async fn an_answer_is_copied_between_ledgers_completely_or_not_at_all() {
    let folder = tempfile::tempdir().expect("a directory");
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    let (ledger, lock) = open(&from).expect("new");
    ledger.start(&run()).await.expect("durable");
    // JSON on one line, JSON on several, and one that is too large to be compressed in memory.
    let bodies = [body_of("a.com", 40), body_of("b.com", 40).replace(',', ",\n"), body_of("c.com", 3 << 20)];
    for (name, body) in ["a.com", "b.com", "c.com"].into_iter().zip(&bodies) {
        ledger.sent(&sent(name, 1, 0)).await.expect("durable");
        ledger.answered(&answered(name, 1, 1, body)).await.expect("durable");
    }
    ledger.sent(&sent("d.com", 1, 2)).await.expect("durable");
    let earlier = ledger.close().await.expect("closed");
    drop(lock);
    let (ledger, _lock) = open(&to).expect("new");
    let own = RunHeader { run_id: "20261224T120000Z-abc123".to_owned(), ..run() };
    ledger.start(&own).await.expect("durable");
    for name in ["a.com", "b.com", "c.com", "d.com"] {
        let entry = earlier.entry(target(name).view()).expect("asked");
        let copied = earlier.copy(entry, moment(50)).expect("sound");
        assert_eq!(copied.is_some(), name != "d.com");
        if let Some(copied) = copied {
            ledger.take_over(copied).await.expect("durable");
        }
    }
    let archive = ledger.close().await.expect("closed");
    for archive in [&archive, &Archive::read(&to).expect("sound")] {
        for (name, expected) in ["a.com", "b.com", "c.com"].into_iter().zip(&bodies) {
            let entry = archive.entry(target(name).view()).expect("stored");
            let kept = archive.latest_result(entry).expect("readable").expect("an answer");
            assert_eq!(body(archive, name).expect("readable").as_deref(), Some(expected.as_bytes()), "{name}");
            assert_eq!((kept.answer.at, kept.from_run_id), (moment(1), Some(run().run_id)));
            assert_eq!((kept.answer.date_to, entry.attempts, entry.cost), (Some(date(2026, 11, 24)), 0, Usd::ZERO));
        }
        let spending = archive.spending();
        assert_eq!((spending.taken_over, spending.calls, spending.upstream), (3, 0, Usd::ZERO));
        assert_eq!(archive.resume_state(moment(60)).spent, Usd::ZERO);
    }
    // If any byte of a body has changed since the ledger was opened, it is not copied.
    let sound = fs::read(file(&from)).expect("readable");
    let entry = earlier.entry(target("a.com").view()).expect("asked");
    let (_, begin) = entry.location();
    let end = usize::try_from(begin + entry.size()).expect("small");
    for place in usize::try_from(begin).expect("small")..end {
        let mut damaged = sound.clone();
        damaged[place] ^= 0x40;
        fs::write(file(&from), &damaged).expect("written");
        let error = earlier.copy(entry, moment(50)).expect_err("damaged").to_string();
        assert!(error.contains("is damaged at byte"), "{place}: {error}");
    }
}
