//! The fuzz targets, and what each promises for any bytes.

use std::{fs, path::Path, time::Duration};

use backlinks_export::{
    api::{
        BodyForm, Parameters, RankScale, Reply,
        call_events::{Answered, GaveUp, Sent},
        http,
        status::{self, Class},
    },
    clock::Clock,
    decode::{DecodedRows, Decoder, Envelope},
    ledger::{Archive, Ledger, LoadedBody, Lock, RunHeader},
    targets::{self, LineStatus, ReadOptions, Target, read},
};
use jiff::{Timestamp, civil::date};
use reqwest::header::{DATE, HeaderMap, HeaderValue, RETRY_AFTER};

use super::engine::{Seen, seen};

#[path = "../it/members.rs"]
#[expect(dead_code, reason = "not all that the integration tests ask for")]
mod members;
#[path = "../oracle/mod.rs"]
mod oracle;

use self::members::{member, members};

pub(crate) const DOMAINS: &[&str] = &[
    "https://",
    "www.",
    ".com",
    ".co.uk",
    "xn--",
    "://",
    "@",
    ":80",
    "[::1]",
    "127.0.0.1",
    "ü",
    "。",
    "\u{202e}",
    "--",
    "..",
    "%2e",
    "рф",
];
pub(crate) const JSON: &[&str] = &[
    r#""tasks":"#,
    r#""result":"#,
    r#""items":"#,
    r#""target":"a.com""#,
    r#""status_code":20000"#,
    "null",
    "[]",
    "{}",
    "true",
    "1e400",
    "-0",
    "9223372036854775808",
    r#""\ud800""#,
    r#""\u0000""#,
    r#""date":"2024-02-30 00:00:00 +00:00""#,
    r#""info":{"#,
    r#""referring_links_tld":{"":1}"#,
    r#""new_reffering_domains":1"#,
    r#""rank":"#,
    "NaN",
    "-Infinity",
    ",]",
    ",}",
    "\u{feff}",
    "[[[[",
    "]]]]",
];
pub(crate) const RECORDS: &[&str] = &[
    r#"{"record":"run","#,
    r#"{"record":"inputs","#,
    r#"{"record":"sent","#,
    r#"{"record":"called_off","#,
    r#"{"record":"answer","#,
    r#"{"record":"taken_over","#,
    r#"{"record":"gave_up","#,
    r#""target":"site0.com""#,
    r#""attempt":4294967295"#,
    r#""since_boot":"#,
    r#""frame_bytes":18446744073709551615"#,
    r#""body_bytes":0"#,
    r#""cost_micros_usd":9223372036854775807"#,
    r#""reserved_micros_usd":-1"#,
    r#""cost_source":"debit""#,
    r#""class":"data""#,
    r#""chunks":18446744073709551615"#,
    r#""lines":1"#,
    r#""date_to":"2026-12-31""#,
    r#""at":"-009999-01-01T00:00:00Z""#,
    "\u{1e}",
    "null",
    "\n",
];
pub(crate) const DATES: &[&str] =
    &["Wed, 21 Oct 2026 07:28:00 GMT", "18446744073709551615", "-1", "0", "\n", "99999999999999999999"];
pub(crate) const CELLS: &[&str] =
    &["domain", "target", "\"", "\"\"", ",", ";", "\t", "\r\n", "\u{feff}", "#", "a.com", "\0", "x.gz"];

/// Cleaning is idempotent, and a target is a name that DNS allows.
pub(crate) fn clean(bytes: &[u8]) -> Seen {
    let text = String::from_utf8_lossy(bytes);
    match targets::clean(&text, targets::Accept::DOMAINS) {
        Ok(cleaned) => {
            let name = cleaned.target.as_str();
            assert!(name.len() <= 253 && name.contains('.'), "{name}");
            assert!(
                name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte)),
                "{name}"
            );
            assert_eq!(targets::clean(name, targets::Accept::DOMAINS).as_ref(), Ok(&cleaned), "{name}");
            assert_eq!(cleaned.subdomain, cleaned.target.view().is_subdomain(), "{name}");
            seen((0, cleaned.subdomain, name.matches('.').count().min(4), name.starts_with("xn--")))
        }
        Err(rejection) => {
            let message = rejection.to_string();
            assert!(!message.contains('\u{1b}') && message.len() < 1_000, "{message:?}");
            seen((1, std::mem::discriminant(&rejection.reason)))
        }
    }
}

/// The rows equal those of the independent decoder, and an answer that counts as data has some.
pub(crate) fn answer(bytes: &[u8]) -> Seen {
    let reply = Reply { status: 200, body: bytes.to_vec().into(), ..Reply::default() };
    let answer = Decoder::new().decode("a.com", bytes);
    assert_eq!(answer.envelope, Envelope::read("a.com", bytes));
    let assessment = status::assess(&Ok(reply), answer.envelope);
    let found = answer.rows.as_ref().ok();
    oracle::compare(bytes, found);
    let counted = found.map(|found| found.batch.num_rows() as u64 + found.items_over_limit());
    assert!(assessment.items == 0 || counted == Some(assessment.items), "{assessment:?}");
    assert!(assessment.class != Class::Data || found.is_some(), "{assessment:?}");
    let rows = found.map(|found| found.batch.num_rows().min(4));
    let drift =
        found.map(|found| found.drift.iter().map(|(field, _)| std::mem::discriminant(field)).collect::<Vec<_>>());
    seen((assessment.class.as_str(), rows, drift, assessment.message.is_some(), assessment.task_id.is_some()))
}

/// A ledger of any bytes is read, or reported as damaged; every answer that it lists can be read.
pub(crate) fn ledger(folder: &Path, bytes: &[u8]) -> Seen {
    let raw = folder.join("_raw");
    fs::create_dir_all(&raw).expect("made");
    fs::write(raw.join("ledger-0.jsonl.gz"), bytes).expect("written");
    let archive = match Archive::read(folder) {
        Ok(archive) => archive,
        Err(error) => return seen((0, std::mem::discriminant(&error))),
    };
    let mut kept = 0;
    let mut broken = 0;
    for (_, known) in archive.requested() {
        match archive.latest_result(known).and_then(|_| archive.body(known, u64::MAX)) {
            Ok(found) => kept += usize::from(!matches!(found, LoadedBody::Whole(body) if body.is_empty())),
            Err(_) => broken += 1,
        }
    }
    let inputs = archive.inputs().map(|inputs| inputs.map(|inputs| inputs.lines().len())).ok();
    let spending = archive.spending();
    seen((1, kept, broken, inputs, spending.calls, archive.run().is_some()))
}

/// Separates the contents of members when valid members are made from the bytes.
const END_OF_MEMBER: u8 = 0x1e;

/// A ledger with valid members of any content: past the checksums, which mutated bytes hardly ever match.
pub(crate) fn records(folder: &Path, bytes: &[u8]) -> Seen {
    let contents = bytes.split(|byte| *byte == END_OF_MEMBER);
    ledger(folder, &contents.flat_map(member).collect::<Vec<u8>>())
}

/// The contents of a ledger's members, as a run writes them.
pub(crate) fn some_records() -> Vec<Vec<u8>> {
    let contents = |ledger: Vec<u8>| {
        let contents: Vec<_> = members(&ledger).into_iter().map(|(_, content)| content).collect();
        contents.join(&END_OF_MEMBER)
    };
    some_ledgers().into_iter().map(contents).collect()
}

fn some_target(name: &str) -> Target {
    targets::clean(name, targets::Accept::DOMAINS).expect("a domain").target
}

/// Ledgers as a run writes them.
pub(crate) fn some_ledgers() -> Vec<Vec<u8>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let bodies: [&[u8]; 3] = [br#"{"tasks":[{"status_code":20000,"result":null}]}"#, b"<html>\n", b"\xff\x00"];
    (0..=bodies.len())
        .map(|calls| {
            let dir = tempfile::tempdir().expect("a directory");
            runtime.block_on(async {
                let lock = Lock::take(dir.path()).expect("free");
                let ledger = Ledger::open(Archive::read(dir.path()).expect("empty"), &lock, None, 1).expect("new");
                let at = Timestamp::from_second(1_790_000_000).expect("a time");
                let parameters = Parameters {
                    date_from: date(2019, 1, 1),
                    date_to: date(2026, 11, 24),
                    rank_scale: RankScale::OneThousand,
                    tag: "t".to_owned(),
                };
                let version = "0.1.0".to_owned();
                ledger
                    .start(&RunHeader {
                        run_id: "r".to_owned(),
                        started_at: at,
                        parameters,
                        version,
                        shard: None,
                        simulated: false,
                    })
                    .await
                    .expect("durable");
                let lines =
                    read(&["-".into()], &b"a.com\nno domain\nb.com"[..], &ReadOptions::default()).expect("lines");
                ledger.set_inputs(&lines).await.expect("durable");
                for (number, body) in bodies[..calls].iter().enumerate() {
                    let target = some_target(&format!("site{number}.com"));
                    let sent =
                        Sent { target: target.clone(), attempt: 1, at, form: BodyForm::Array, price_limit: None };
                    ledger.sent(&sent).await.expect("durable");
                    let reply = Reply { status: 200, body: body.to_vec().into(), ..Reply::default() };
                    let assessment = status::assess(&Ok(reply), Envelope::read(target.as_str(), body));
                    let body = Some(body.to_vec().into());
                    let latency = Duration::from_millis(400);
                    let answered = Answered {
                        target: target.clone(),
                        attempt: 1,
                        at,
                        latency,
                        assessment,
                        request_id: None,
                        body,
                    };
                    ledger.answered(&answered).await.expect("durable");
                    ledger.gave_up(&GaveUp { target, at, class: Class::MaybeBilled }).await.expect("durable");
                }
                ledger.close().await.expect("durable");
            });
            fs::read(dir.path().join("_raw/ledger-0.jsonl.gz")).expect("written")
        })
        .collect()
}

/// A wait is found or not; a date in the past means no wait.
pub(crate) fn retry_after(bytes: &[u8]) -> Seen {
    let mut parts = bytes.splitn(2, |byte| *byte == b'|');
    let mut headers = HeaderMap::new();
    for (name, part) in [(RETRY_AFTER, parts.next()), (DATE, parts.next())] {
        if let Some(value) = part.and_then(|part| HeaderValue::from_bytes(part).ok()) {
            headers.insert(name, value);
        }
    }
    let clock = Clock::at(Timestamp::from_second(1_790_000_000).expect("a time"));
    let wait = http::retry_after(&headers, clock);
    let magnitude = wait.map(|wait| wait.as_secs().checked_ilog10());
    seen((headers.len(), magnitude))
}

/// Tables in every form, compressed too.
pub(crate) fn some_tables() -> Vec<Vec<u8>> {
    let table = b"domain,client\na.com,\"x, y\"\n\"b.com\",\n";
    let wide: Vec<u8> =
        [0xfeff].into_iter().chain("domain\tx\na.com\t1\n".encode_utf16()).flat_map(u16::to_le_bytes).collect();
    vec![table.to_vec(), wide, zstd::encode_all(&table[..], 1).expect("room")]
}

/// A file of any bytes, as a table or as lines, yields lines or an error with a message.
pub(crate) fn table(folder: &Path, bytes: &[u8]) -> Seen {
    let mut all = Vec::new();
    for name in ["a.csv", "a.tsv", "a.txt"] {
        let path = folder.join(name);
        fs::write(&path, bytes).expect("written");
        all.push(match read(&[path], std::io::empty(), &ReadOptions::default()) {
            Ok(inputs) => {
                let counts = inputs.counts();
                let mut targets = 0;
                for line in inputs.lines() {
                    targets += usize::from(matches!(line.status, LineStatus::Target(_)));
                    assert!(
                        (0..inputs.columns().len()).filter_map(|column| line.column(column)).count()
                            <= inputs.columns().len()
                    );
                }
                assert_eq!(targets, counts.targets);
                seen((
                    0,
                    targets.min(4),
                    counts.rejected.min(4),
                    counts.duplicates.min(2),
                    inputs.columns().len().min(5),
                ))
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                seen((1, std::mem::discriminant(&error)))
            }
        });
    }
    seen(all)
}
