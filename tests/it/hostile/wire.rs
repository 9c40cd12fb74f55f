//! The real program against a server that answers badly in every way: it continues, saves paid answers, stays small.

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
};

use arrow::{array::AsArray, datatypes::Int64Type};
use backlinks_export::{
    api::MAX_BODY_BYTES,
    ledger::{AnswerRecord, Archive, LoadedBody},
    targets::{Accept, clean},
};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};

use super::{
    MAX_MEMORY_KIB, measured, program,
    server::{Act, Server},
};
use crate::{
    program::{history_rows, print, rows, table},
    refresh::target_rows,
    shell::Ran,
};

/// A good answer with two rows and one more member in its first item.
fn good(target: &str, member: &str) -> String {
    let month = |month: u8| format!(r#""date":"2024-0{month}-01 00:00:00 +00:00","rank":{month}"#);
    format!(
        r#"{{"status_code":20000,"tasks":[{{"id":"1","status_code":20000,"cost":0.024,"result":[{{"target":"{target}","items":[{{{}{member}}},{{{}}}]}}]}}]}}"#,
        month(1),
        month(2)
    )
}

fn response(headers: &str, body: &[u8]) -> Act {
    let head = format!("HTTP/1.1 200 OK\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n", body.len());
    Act::Raw([head.as_bytes(), body].concat().into())
}

fn raw(text: String) -> Act {
    Act::Raw(text.into())
}

/// A million letters become a thousand bytes.
fn bomb(beginning: &str, millions: usize) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(beginning.as_bytes()).expect("room");
    let letters = vec![b'a'; 1_000_000];
    (0..millions).for_each(|_| gzip.write_all(&letters).expect("room"));
    gzip.finish().expect("room")
}

/// A text compressed twice.
fn layered(text: &str) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&bomb(text, 0)).expect("room");
    gzip.finish().expect("room")
}

/// Bytes that do not compress and are not text.
fn noise(length: usize) -> Bytes {
    let mut bytes = vec![0; length];
    fastrand::Rng::with_seed(1).fill(&mut bytes);
    bytes.into()
}

fn head(rest: &str) -> Bytes {
    format!("HTTP/1.1 200 OK\r\nx-aisa-customer-cost-micros-usd: 36000\r\n{rest}\r\n").into()
}

/// The response for each target, by the first word of its name.
fn script() -> impl Fn(&str) -> Act + Send + Sync {
    let (bomb, noise) = (bomb("{\"tasks\":\"", 100), noise(1 << 20));
    move |target| {
        let whole = good(target, "");
        match target.trim_end_matches(".com").trim_end_matches(char::is_numeric) {
            "bomb" => response("content-encoding: gzip\r\n", &bomb),
            "brotli" => response("content-encoding: br\r\n", &noise[..1_000]),
            "zstd" => response("content-encoding: zstd\r\n", &zstd::encode_all(whole.as_bytes(), 1).expect("room")),
            "large" => Act::Repeat(head("content-length: 41943040\r\n"), vec![b'a'; 1 << 20].into(), 40),
            "zeros" => Act::Repeat(head(""), vec![0; 1 << 20].into(), 40),
            "noise" => Act::Repeat(head(""), noise.clone(), 40),
            "deep" => {
                let nested = format!(",\"x\":{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
                response("", good(target, &nested).as_bytes())
            }
            "items" => {
                let items = format!("}},{}{{\"rank\":1", "{},".repeat(1_000_000));
                response("", good(target, &items).as_bytes())
            }
            "keys" => {
                let entries = (0..400_000).fold(String::from("\"\":0"), |mut text, key| {
                    let _ = write!(text, ",\"k{key}\":{key}");
                    text
                });
                response("", good(target, &format!(",\"referring_links_tld\":{{{entries}}}")).as_bytes())
            }
            "wide" => {
                let units = format!("\u{feff}{whole}").encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<u8>>();
                response("content-type: application/json; charset=utf-16\r\n", &units)
            }
            "nan" => response("", good(target, ",\"backlinks\":NaN").as_bytes()),
            "error" => raw(format!("HTTP/1.1 502 Bad Gateway\r\n\r\n{whole}")),
            "long" => response("", good(target, &format!(",\"type\":\"{}\"", "x".repeat(20_000_000))).as_bytes()),
            "overstated" => raw(format!("HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n{whole}")),
            "short" => raw(format!("HTTP/1.1 200 OK\r\ncontent-length: 40\r\n\r\n{whole}")),
            "drip" => Act::Drip(Bytes::from(format!("HTTP/1.1 200 OK\r\n\r\n{}", &whole[..100]))),
            "dripped" => Act::Drip(Bytes::from(format!("HTTP/1.1 200 OK\r\n\r\n{whole}"))),
            "headers" => raw(format!(
                "HTTP/1.1 200 OK\r\n{}\r\n{whole}",
                format!("x-a: {}\r\n", "a".repeat(1_000)).repeat(1_000)
            )),
            "garbage" => raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"tas\r\nzz\r\n".to_owned()),
            "ancient" => raw(format!("HTTP/1.0 200 OK\r\n\r\n{whole}")),
            "patient" => {
                let early = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n".repeat(20);
                raw(format!("{early}HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{whole}", whole.len()))
            }
            "noHTTP" | "nohttp" => raw("SSH-2.0-OpenSSH_9.2\r\n".to_owned()),
            _ => response("", whole.as_bytes()),
        }
    }
}

struct Ledger(Archive);

impl Ledger {
    fn of(out: &Path) -> Self {
        Self(Archive::read(out).expect("a sound ledger"))
    }

    /// The answer of a target, and its body; empty if it has none.
    fn kept(&self, name: &str) -> (AnswerRecord, Vec<u8>) {
        let entry =
            self.0.entry(clean(name, Accept::DOMAINS).expect("a domain").target.view()).expect("it was asked about");
        let kept = self.0.latest_result(entry).expect("readable").unwrap_or_else(|| panic!("{name}: nothing is kept"));
        let Ok(LoadedBody::Whole(body)) = self.0.body(entry, u64::MAX) else {
            panic!("{name}: the body is unreadable")
        };
        (kept.answer, body)
    }
}

/// Runs in this file need the whole machine: one at a time.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

async fn run(server: &Server, names: &[String], flags: &[&str]) -> (Ran, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a directory");
    (run_in(&dir, server, names, flags).await, dir)
}

/// The same in a directory that may already contain a run.
async fn run_in(dir: &tempfile::TempDir, server: &Server, names: &[String], flags: &[&str]) -> Ran {
    measured_run_in(dir, server, names, flags).await.0
}

/// The same, with the peak memory in KiB.
async fn measured_run_in(dir: &tempfile::TempDir, server: &Server, names: &[String], flags: &[&str]) -> (Ran, u64) {
    let _turn = TURN.lock().await;
    let inputs = dir.path().join("domains.txt");
    fs::write(&inputs, names.join("\n")).expect("written");
    let out = dir.path().join("out").display().to_string();
    let mut command = program(&["run", &inputs.display().to_string(), "--out", &out, "--api", &server.url()]);
    command.args(["--rate", "1000/s", "--concurrency", "30", "--max-failures", "100%", "--summary", "json"]);
    command.args(flags).env("AISA_API_KEY", "sk-hostile-0123456789");
    let (ran, most_memory) = measured(command).await;
    print(&format!("{} MiB at most", most_memory / 1024));
    assert!(most_memory < MAX_MEMORY_KIB, "{} MiB", most_memory / 1024);
    (ran, most_memory)
}

/// `verify` finds no difference, in bounded memory.
async fn assert_sound(out: &Path) {
    let (verified, most_memory) = measured(program(&["verify", &out.display().to_string()])).await;
    verified.expect(0);
    assert!(most_memory < MAX_MEMORY_KIB, "{} MiB", most_memory / 1024);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_worst_answers_neither_end_a_run_nor_lose_a_paid_answer() {
    let server = Server::start(script()).await;
    let kinds = [
        "good",
        "bomb",
        "zstd",
        "large",
        "noise",
        "deep",
        "items",
        "keys",
        "long",
        "overstated",
        "short",
        "drip",
        "dripped",
        "headers",
        "garbage",
        "ancient",
        "patient",
        "nohttp",
        "wide",
        "nan",
        "error",
        "brotli",
    ];
    let mut names: Vec<String> = kinds.iter().map(|kind| format!("{kind}0.com")).collect();
    names.extend((1..20).map(|number| format!("good{number}.com")));
    let (ran, dir) = run(&server, &names, &["--timeout", "60s", "--max-attempts", "1"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let summary = ran.json();
    let ledger = Ledger::of(&dir.path().join("out"));
    let check = |kind: &str, class: &str, least: usize, most: usize| {
        let (answer, body) = ledger.kept(&format!("{kind}0.com"));
        assert_eq!(answer.class.as_str(), class, "{kind}: {:?}", answer.message);
        assert!((least..=most).contains(&body.len()), "{kind}: {} bytes", body.len());
        (answer, body)
    };
    let whole = good("good0.com", "").len();
    let (cut, _) = check("bomb", "rejected", MAX_BODY_BYTES, MAX_BODY_BYTES);
    assert_eq!(cut.message.as_deref(), Some("the body is larger than 32 MiB and was truncated"));
    check("large", "rejected", MAX_BODY_BYTES, MAX_BODY_BYTES);
    let (_, noisy) = check("noise", "rejected", MAX_BODY_BYTES, MAX_BODY_BYTES);
    assert_eq!(noisy[..1 << 20], noise(1 << 20)[..]);
    let (brotli, _) = check("brotli", "rejected", 1_000, 1_000);
    assert_eq!(brotli.message.as_deref(), Some("the answer is compressed with br, which this program cannot read"));
    check("short", "maybe_billed", 40, 40);
    check("drip", "maybe_billed", 100, 2_000);
    check("garbage", "maybe_billed", 5, 5);
    check("headers", "maybe_billed", 0, 0);
    check("nohttp", "maybe_billed", 0, 0);
    for kind in ["good", "zstd", "overstated", "ancient", "patient", "dripped", "wide", "nan", "error"] {
        check(kind, "data", whole, whole + 2_000);
    }
    check("deep", "data", 2_000_000, 2_100_000);
    check("items", "data", 3_000_000, 3_100_000);
    check("keys", "data", 4_000_000, 8_000_000);
    check("long", "data", 20_000_000, 20_100_000);
    // Two rows for each answer, except for the one with a million items, none of which has a date, and the one that is
    // too large to be a history.
    assert_eq!((&summary["rows"], &summary["undated"]), (&(2 * (21 + 2 + 4 + 3) + 1).into(), &19_999.into()));
    assert_eq!((&summary["ok"], &summary["failed"]), (&31.into(), &10.into()), "{summary}");
    let failures = fs::read_to_string(dir.path().join("out/_failures.csv")).expect("a file");
    assert_eq!(failures.lines().count(), 1 + 10, "{failures}");
    assert!(failures.contains("long0.com,unreadable_answer,200,20000,1,0,"), "{failures}");
    assert_sound(&dir.path().join("out")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dozen_large_bodies_at_once_need_no_more_memory_than_one() {
    let server = Server::start(script()).await;
    let names: Vec<String> = (0..14)
        .map(|number| match number {
            0..2 => format!("good{number}.com"),
            2 => "noise2.com".to_owned(),
            3 => "zeros3.com".to_owned(),
            4 => "bomb4.com".to_owned(),
            _ => format!("large{number}.com"),
        })
        .collect();
    let (ran, dir) = run(&server, &names, &["--timeout", "280s", "--max-attempts", "1"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let ledger = Ledger::of(&dir.path().join("out"));
    for name in names.iter().filter(|name| !name.starts_with("good")) {
        assert_eq!(ledger.kept(name).1.len(), MAX_BODY_BYTES, "{name}");
    }
    assert_sound(&dir.path().join("out")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forty_answers_that_are_almost_too_large_are_published_in_bounded_memory() {
    let server = Server::start(script()).await;
    let names: Vec<String> =
        (0..40).map(|number| format!("{}{number}.com", ["good", "keys", "items", "long"][number % 4])).collect();
    let (ran, dir) = run(&server, &names, &["--timeout", "280s", "--max-attempts", "1"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let archive = Archive::read(&dir.path().join("out")).expect("a sound ledger");
    let long = archive.entry(clean("long3.com", Accept::DOMAINS).expect("a domain").target.view()).expect("asked");
    assert!(matches!(archive.body(long, 1_000), Ok(LoadedBody::Larger(20_000_000..))));
    let summary = ran.json();
    assert_eq!((&summary["rows"], &summary["undated"]), (&(2 * 20 + 10).into(), &(10 * 19_999).into()));
    assert_sound(&dir.path().join("out")).await;
}

/// The rows of a whole run would take several times what is allowed here.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_hangs_does_not_keep_the_rows_of_the_others_in_memory() {
    let text = format!(",\"type\":\"{}\"", "x".repeat(400_000));
    let server = Server::start(move |target| match target {
        "a.com" => Act::Drip(head("")),
        _ => response("", good(target, &text).as_bytes()),
    })
    .await;
    // The first call of a run is sent by itself; the second one hangs.
    let peak = async |second: &str, failed: u32| {
        let others = (0..400).map(|number| format!("s{number}.com"));
        let names: Vec<String> = ["0.com", second].map(str::to_owned).into_iter().chain(others).collect();
        let dir = tempfile::tempdir().expect("a directory");
        let flags = ["--timeout", "15s", "--max-attempts", "1"];
        let (ran, memory) = measured_run_in(&dir, &server, &names, &flags).await;
        assert_eq!((&ran.json()["failed"], &ran.json()["rows"]), (&failed.into(), &(2 * (402 - failed)).into()));
        memory
    };
    let usual = peak("z.com", 0).await;
    let hanging = peak("a.com", 1).await;
    assert!(hanging < usual + 64 * 1024, "{} MiB, usually {} MiB", hanging / 1024, usual / 1024);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_only_result_about_the_target_is_used_at_the_first_call() {
    let server = Server::start(|target| {
        let result = |name: &str, month: u8| {
            format!(r#"{{"target":"{name}","items":[{{"date":"2024-0{month}-01 00:00:00 +00:00","rank":{month}}}]}}"#)
        };
        let (ours, other) = (result(target, 1), format!("{},{}", result("other.com", 2), result("b.com", 3)));
        let results = match target {
            "first.com" => format!("{ours},{other}"),
            "last.com" => format!("{other},{ours}"),
            "task.com" => format!(r#"{other}]}},{{"status_code":20000,"cost":0.01,"result":[{ours}"#),
            _ => format!("{ours},{other},{ours}"),
        };
        let body =
            format!(r#"{{"tasks":[{{"status_code":20000,"cost":0.02,"result_count":3,"result":[{results}]}}]}}"#);
        response("", body.as_bytes())
    })
    .await;
    let names = ["first.com", "last.com", "task.com", "twice.com"].map(str::to_owned);
    let (ran, dir) = run(&server, &names, &[]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let calls = |name: &str| server.requests().iter().filter(|request| request.contains(name)).count();
    assert_eq!(names.each_ref().map(|name| calls(name)), [1, 1, 1, 2], "two results about it prove nothing");
    let out = dir.path().join("out");
    let history = table(&out, "backlinks_history");
    assert_eq!(history_rows(&out), names[..3].iter().map(|name| (name.clone(), 1)).collect());
    let ranks = history.values().flat_map(|bytes| rows(bytes)).flat_map(|batch| {
        let ranks = batch.column_by_name("rank").expect("a column").as_primitive::<Int64Type>().clone();
        ranks.iter().collect::<Vec<_>>()
    });
    assert_eq!(ranks.collect::<Vec<_>>(), [Some(1); 3]);
    let summary = ran.json();
    assert!(summary["drift"].to_string().contains("results about other targets, ignored"), "{summary}");
    assert_eq!((&summary["ok"], &summary["failed"], &summary["rows"]), (&3.into(), &1.into(), &3.into()), "{summary}");
    assert_eq!(summary["cost_usd"], 0.02 * 5.0 + 0.01);
    assert_sound(&out).await;
    let again = dir.path().join("again");
    let replay = program(&["replay", &out.display().to_string(), "--out", &again.display().to_string()]);
    let replayed = measured(replay).await.0;
    assert_eq!(replayed.code, Some(3), "{}", replayed.stderr);
    assert!(table(&again, "backlinks_history") == history, "the same files");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_complete_answer_is_accepted_at_the_first_call_with_any_headers() {
    let server = Server::start(|target| {
        let whole = good(target, "");
        let headers = match target.trim_end_matches(".com") {
            "lying" => "content-encoding: gzip\r\n".to_owned(),
            "blank" => "X-Cache Status: MISS\r\n".to_owned(),
            "spaced" => "X-Odd : 1\r\n".to_owned(),
            "folded" => "X-Long: one\r\n  two\r\n".to_owned(),
            "many" => "x-many: 1\r\n".repeat(200),
            "layered" => "content-encoding: gzip\r\n".to_owned(),
            _ => String::new(),
        };
        let body = match target {
            "mark.com" => format!("\u{feff}{whole}").into(),
            "comment.com" => format!("{whole}<!-- cache -->").into(),
            "unlabeled.com" => bomb(&whole, 0),
            "layered.com" => layered(&whole),
            _ => whole.into_bytes(),
        };
        response(&headers, &body)
    })
    .await;
    let kinds = ["plain", "lying", "blank", "spaced", "folded", "many", "mark", "comment", "unlabeled", "layered"];
    let names = kinds.map(|kind| format!("{kind}.com"));
    let (ran, dir) = run(&server, &names, &[]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let summary = ran.json();
    assert_eq!(
        (&summary["calls"], &summary["ok"], &summary["rows"]),
        (&10.into(), &10.into(), &20.into()),
        "{summary}"
    );
    // The ledger has every byte as it arrived.
    let ledger = Ledger::of(&dir.path().join("out"));
    let body = |name: &str| ledger.kept(name).1;
    for name in ["lying.com", "unlabeled.com", "layered.com"] {
        assert_eq!(body(name), good(name, "").into_bytes());
    }
    assert!(body("mark.com").starts_with(b"\xef\xbb\xbf{") && body("comment.com").ends_with(b"<!-- cache -->"));
    assert_sound(&dir.path().join("out")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metadata_of_an_answer_is_recorded_and_compared_with_its_items() {
    let server = Server::start(|target| {
        let stated = match target.trim_end_matches(".com") {
            "ninety" => r#""items_count":95,"#,
            "agreed" => r#""items_count":2,"#,
            _ => "",
        };
        let whole = good(target, "").replace(r#""items":"#, &format!(r#"{stated}"items":"#));
        let whole = match target {
            "silent.com" => whole,
            _ => whole.replace(r#"{"id":"#, r#"{"time":"0.1571 sec.","id":"#).replacen(
                '{',
                r#"{"version":"0.1.2","status_message":"Ok.","#,
                1,
            ),
        };
        response("", whole.as_bytes())
    })
    .await;
    let names = ["ninety", "agreed", "silent"].map(|kind| format!("{kind}.com"));
    let (ran, dir) = run(&server, &names, &[]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let summary = ran.json();
    assert_eq!((&summary["ok"], &summary["count_mismatches"]), (&3.into(), &1.into()), "{summary}");
    let out = dir.path().join("out");
    let targets = target_rows(&out);
    let check = |kind: &str, expected: [&str; 4]| {
        let row = &targets[&format!("{kind}.com")];
        assert_eq!(
            ["items_count", "api_version", "api_seconds", "message"].map(|name| &*row[name]),
            expected,
            "{kind}"
        );
    };
    check("ninety", ["95", "0.1.2", "0.1571", "items_count is 95, but the answer has 2 items"]);
    check("agreed", ["2", "0.1.2", "0.1571", "Ok."]);
    assert_eq!(["items_count", "api_version", "api_seconds"].map(|name| &*targets["silent.com"][name]), [""; 3]);
    assert_sound(&out).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_firewall_that_blocks_one_target_fails_it_and_one_that_blocks_all_stops_the_run() {
    let page = "<html><title>Request blocked</title></html>";
    let blocked = format!("HTTP/1.1 403 Forbidden\r\ncontent-length: {}\r\n\r\n{page}", page.len());
    let names: Vec<String> =
        (0..100).map(|number| format!("good{number}.com")).chain(["casino.com".to_owned()]).collect();
    let once = blocked.clone();
    let server = Server::start(move |target| match target {
        "casino.com" => raw(once.clone()),
        _ => response("", good(target, "").as_bytes()),
    })
    .await;
    let (ran, dir) = run(&server, &names, &["--max-attempts", "2"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let summary = ran.json();
    assert_eq!((&summary["ok"], &summary["failed"]), (&100.into(), &1.into()), "{summary}");
    let failures = fs::read_to_string(dir.path().join("out/_failures.csv")).expect("a file");
    assert!(failures.contains("casino.com,refused,403,,2,0,"), "{failures}");
    assert_sound(&dir.path().join("out")).await;

    let answers = AtomicU32::new(0);
    let server = Server::start(move |target| match answers.fetch_add(1, Ordering::Relaxed) {
        0..10 => response("", good(target, "").as_bytes()),
        _ => raw(blocked.clone()),
    })
    .await;
    // Ten good answers first, so that none comes between the refusals; no retries, which would be further calls.
    let (ran, dir) = run(&server, &names, &["--limit", "10"]).await;
    assert_eq!(ran.code, Some(5), "{}", ran.stderr);
    let ran = run_in(&dir, &server, &names, &["--max-attempts", "1"]).await;
    assert_eq!(ran.code, Some(4), "{}", ran.stderr);
    let texts = ["several targets in a row were refused by something other than the API", ".com: HTTP 403: <html>"];
    assert!(texts.iter().all(|text| ran.stderr.contains(text)), "{}", ran.stderr);
    let summary = ran.json();
    assert_eq!((&summary["ok"], &summary["stopped"]), (&10.into(), &"refused".into()), "{summary}");
    assert!(server.requests().len() <= 10 + 3 + 30, "{} calls", server.requests().len());
    assert_sound(&dir.path().join("out")).await;
}
