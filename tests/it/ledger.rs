//! The ledger on a real disk: what is acknowledged is there, what is torn is cut, what is damaged is named.

use std::{fs, path::Path, time::Duration};

use backlinks_export::{
    api::{
        BodyForm, Parameters, RankScale, Reply,
        record::{Answered, GaveUp, Sent, Standing},
        status::{Class, assess},
    },
    ledger::{Archive, Ledger, LedgerError, Lock, Run},
    money::Usd,
    targets::{Target, clean},
};
use jiff::{Timestamp, civil::date};

fn target(name: &str) -> Target {
    clean(name, false).expect("a domain").target
}

fn moment(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).expect("a time")
}

fn run() -> Run {
    Run {
        run_id: "20261124T120000Z-abc123".to_owned(),
        started_at: moment(0),
        parameters: Parameters {
            date_from: date(2019, 1, 1),
            date_to: date(2026, 11, 24),
            rank_scale: RankScale::OneThousand,
            tag: "t".to_owned(),
        },
        version: "0.1.0".to_owned(),
    }
}

fn sent(name: &str, attempt: u32, second: i64) -> Sent {
    let reserved = Some(Usd::from_micros(30_000));
    Sent { target: target(name), attempt, at: moment(second), form: BodyForm::Array, reserved }
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
    let assessment = assess(&reply, &target(name));
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
    Ok((Ledger::open(Archive::read(dir)?, &lock)?, lock))
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
    dir.join("_raw/ledger-0.jsonl.zst")
}

fn body(archive: &Archive, name: &str) -> Result<Option<Vec<u8>>, LedgerError> {
    let Some(known) = archive.known(&target(name)) else { return Ok(None) };
    Ok(archive.kept(known)?.and_then(|kept| kept.body))
}

#[tokio::test]
async fn what_was_acknowledged_is_read_back() {
    let dir = tempfile::tempdir().expect("a directory");
    small_ledger(dir.path()).await;
    let archive = Archive::read(dir.path()).expect("readable");
    assert_eq!(archive.run(), Some(&run()));
    for name in ["a.com", "b.com", "c.com"] {
        assert_eq!(archive.standing(&target(name)), Standing::Ok);
        assert_eq!(body(&archive, name).expect("readable").as_deref(), Some(body_of(name, 40).as_bytes()));
    }
    assert_eq!(archive.standing(&target("d.com")), Standing::Failed);
    assert_eq!(archive.standing(&target("e.com")), Standing::Pending);
    assert_eq!(archive.standing(&target("f.com")), Standing::Pending);
    let lost = archive.known(&target("e.com")).expect("asked");
    assert_eq!((lost.attempts, lost.possibly_billed()), (1, 1));
    let past = archive.past(moment(60));
    assert_eq!(past.calls.len(), 5);
    assert_eq!(past.spent, Usd::from_micros(3 * 27_000 + 30_000), "a lost call keeps its reservation");
    assert_eq!(past.form, Some(BodyForm::Array));
}

#[tokio::test]
async fn a_ledger_is_a_stream_of_json_lines_for_any_reader() {
    let dir = tempfile::tempdir().expect("a directory");
    small_ledger(dir.path()).await;
    let bytes = fs::read(file(dir.path())).expect("a file");
    let text = String::from_utf8(zstd::stream::decode_all(&bytes[..]).expect("zstd")).expect("UTF-8");
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
    assert_eq!(third["body"]["tasks"][0]["result"][0]["target"], "a.com", "the body stands in its line as it is");
}

#[tokio::test]
async fn a_second_run_is_kept_out() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = Lock::take(dir.path()).expect("free");
    assert!(matches!(Lock::take(dir.path()), Err(LedgerError::InUse { .. })));
    drop(first);
    assert!(Lock::take(dir.path()).is_ok());
}

/// The names whose answers a ledger holds whole, in order.
const NAMES: [&str; 3] = ["a.com", "b.com", "c.com"];

#[tokio::test]
async fn cut_at_any_byte_the_whole_records_before_are_recovered_and_the_ledger_goes_on() {
    let dir = super::program::quick_folder();
    small_ledger(dir.path()).await;
    let whole = fs::read(file(dir.path())).expect("a file");
    let mut most_held = 0;
    for cut in 0..whole.len() {
        fs::write(file(dir.path()), &whole[..cut]).expect("written");
        let archive = Archive::read(dir.path()).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        let held = NAMES.iter().filter(|name| archive.standing(&target(name)) == Standing::Ok).count();
        assert!(held >= most_held, "cut at {cut}: a longer prefix holds no less");
        most_held = held;
        for name in &NAMES[..held] {
            assert_eq!(
                body(&archive, name).expect("whole").as_deref(),
                Some(body_of(name, 40).as_bytes()),
                "cut at {cut}"
            );
        }
        for name in &NAMES[held..] {
            assert_eq!(archive.standing(&target(name)), Standing::Pending, "cut at {cut}");
        }
    }
    assert_eq!(most_held, 3);

    // What was torn is cut off when the ledger goes on, and what comes then can be read.
    for cut in (0..whole.len()).step_by(7) {
        fs::write(file(dir.path()), &whole[..cut]).expect("written");
        let (ledger, lock) = open(dir.path()).expect("recovered");
        ledger.answered(&answered("z.com", 1, 99, &body_of("z.com", 10))).await.expect("durable");
        ledger.close().await.expect("closed");
        drop(lock);
        let archive = Archive::read(dir.path()).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        assert_eq!(archive.standing(&target("z.com")), Standing::Ok, "cut at {cut}");
    }
}

#[tokio::test]
async fn a_flipped_bit_is_named_or_was_in_the_torn_tail_and_never_read() {
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
    // Only a flip in the last record can look like a crash's torn tail, and it holds no answer here.
    assert_eq!(torn, 0, "{named} named");
    assert!(named > whole.len() * 7, "{named} of {} flips named", whole.len() * 8);
}

#[tokio::test]
async fn a_missing_file_in_between_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    small_ledger(dir.path()).await;
    fs::copy(file(dir.path()), dir.path().join("_raw/ledger-1.jsonl.zst")).expect("copied");
    fs::remove_file(file(dir.path())).expect("removed");
    let error = Archive::read(dir.path()).expect_err("a gap").to_string();
    assert!(error.contains("ledger-1.jsonl.zst") && error.contains("ledger-0.jsonl.zst"), "{error}");
}
