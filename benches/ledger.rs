//! What keeping a full answer costs: written and synced, found again on opening, read back.
//!
//! Each benchmark does it for some hundred answers at once, thirty in flight: divide by their number, which divan does
//! as items a second.

#![allow(missing_docs, reason = "a benchmark has no readers of its items")]

use std::{path::Path, sync::Arc, time::Duration};

use backlinks_export::{
    api::{
        BodyForm, Parameters, RankScale,
        call_events::{Answered, Sent},
        status::{Assessment, Class, Cost, Stated},
    },
    clock::Clock,
    decode::Envelope,
    ledger::{Archive, Ledger, Lock, RunHeader},
    money::Usd,
    targets::{Accept, Target, clean},
};
use divan::{Bencher, black_box, counter::ItemsCount};
use tokio::{runtime::Runtime, task::JoinSet};

mod answers;

const ANSWERS: usize = 300;
const IN_FLIGHT: usize = 30;

fn main() {
    divan::main();
}

fn body() -> Vec<u8> {
    answers::answer(0..answers::ROWS, false)
}

fn target(number: usize) -> Target {
    clean(&format!("site-{number}.com"), Accept::DOMAINS).expect("a domain").target
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

fn answered(number: usize, body: &[u8], clock: Clock) -> Answered {
    let assessment = Assessment {
        class: Class::Data,
        http_status: Some(200),
        api_code: Some(20000),
        message: Some("Ok.".to_owned()),
        task_id: Some("11241200-1234-0553-0000-0123456789ab".to_owned()),
        items: answers::ROWS as u64,
        json: true,
        cost: Cost::Debit(Usd::from_micros(41_130)),
        stated: Stated {
            items_count: Some(95),
            api_version: Some("0.1.20260801".to_owned()),
            api_seconds: Some(0.1571),
            mismatch: None,
        },
    };
    let (request_id, body) = (Some("req_0123456789abcdef".to_owned()), Some(body.to_vec().into()));
    let latency = Duration::from_millis(500);
    Answered { target: target(number), attempt: 1, at: clock.now(), latency, assessment, request_id, body }
}

/// A ledger of so many answers, each call recorded before.
async fn write(dir: &Path, body: &[u8]) -> Archive {
    let clock = Clock::system();
    let lock = Lock::take(dir).expect("a lock");
    let ledger = Ledger::open(Archive::read(dir).expect("an archive"), &lock, None, 30).expect("a ledger");
    let run = RunHeader {
        run_id: "20261124T120000Z-abc123".to_owned(),
        started_at: clock.now(),
        parameters: Parameters {
            date_from: jiff::civil::date(2019, 1, 1),
            date_to: jiff::civil::date(2026, 11, 24),
            rank_scale: RankScale::OneThousand,
            tag: "t".to_owned(),
        },
        version: "0.1.0".to_owned(),
        shard: None,
        simulated: false,
    };
    ledger.start(&run).await.expect("recorded");
    let ledger = Arc::new(ledger);
    let mut calls = JoinSet::new();
    for number in 0..ANSWERS {
        if calls.len() >= IN_FLIGHT {
            calls.join_next().await.expect("a call").expect("no panic");
        }
        let (ledger, answered) = (Arc::clone(&ledger), answered(number, body, clock));
        calls.spawn(async move {
            let sent =
                Sent { target: target(number), attempt: 1, at: clock.now(), form: BodyForm::Array, price_limit: None };
            ledger.sent(&sent).await.expect("recorded");
            ledger.answered(&answered).await.expect("recorded");
        });
    }
    calls.join_all().await;
    let ledger = Arc::into_inner(ledger).expect("no call is left");
    ledger.close().await.expect("closed")
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn append_and_sync(bencher: Bencher<'_, '_>) {
    let (runtime, body) = (runtime(), body());
    bencher
        .counter(ItemsCount::new(ANSWERS))
        .with_inputs(|| tempfile::tempdir().expect("a folder"))
        .bench_local_refs(|dir| runtime.block_on(write(dir.path(), &body)));
}

#[divan::bench(sample_count = 20)]
fn open(bencher: Bencher<'_, '_>) {
    let dir = tempfile::tempdir().expect("a folder");
    runtime().block_on(write(dir.path(), &body()));
    bencher.counter(ItemsCount::new(ANSWERS)).bench_local(|| Archive::read(dir.path()).expect("an archive"));
}

#[divan::bench(sample_count = 20)]
fn read_back(bencher: Bencher<'_, '_>) {
    let dir = tempfile::tempdir().expect("a folder");
    let archive = runtime().block_on(write(dir.path(), &body()));
    let targets: Vec<Target> = (0..ANSWERS).map(target).collect();
    bencher.counter(ItemsCount::new(ANSWERS)).bench_local(|| {
        for target in &targets {
            let entry = archive.entry(target.view()).expect("known");
            black_box(archive.body(entry, u64::MAX).expect("readable"));
        }
    });
}

/// What an answer's envelope costs to understand: every byte of the body is looked at.
#[divan::bench]
fn understand(bencher: Bencher<'_, '_>) {
    let body = body();
    bencher.bench(|| Envelope::read("example.com", black_box(&body)).expect("an object"));
}
