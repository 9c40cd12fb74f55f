//! A store in memory that fails at any operation, and a reader who looks after each one.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use async_trait::async_trait;
use futures::{FutureExt, StreamExt, stream::BoxStream};
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, UploadPart, memory::InMemory, path::Path as Name,
};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::*;
use crate::{
    dataset::{FAILURES, REJECTED, RUN, SUCCESS},
    export::{FileRecord, Provenance, RunRecord, Totals},
    ledger::Spending,
    outcome::Elsewhere,
    progress::{Mode, Plan, Progress},
};

/// A file of more than so many bytes goes in pieces.
const PIECE: usize = 16;
/// No publication in these tests has so many operations.
const MOST: usize = 200;

/// When and how the store fails.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Never,
    /// At the n-th operation, which is not done.
    Refused(usize),
    /// At the n-th operation, which is done all the same.
    Unheard(usize),
    /// From the n-th operation on, none of which is done: the network has gone, or the program.
    Gone(usize),
}

/// A store in memory.
#[derive(Debug)]
struct Shared {
    inner: InMemory,
    fault: Fault,
    operations: AtomicUsize,
    changes: AtomicUsize,
    /// What a reader may see where `_SUCCESS` is.
    whole: Vec<BTreeMap<String, Vec<u8>>>,
    /// At the n-th change somebody else puts this object.
    intruder: Option<(usize, &'static str)>,
    sent: Mutex<Vec<String>>,
}

#[derive(Clone, Debug)]
struct Store(Arc<Shared>);

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("test")
    }
}

fn lost() -> object_store::Error {
    object_store::Error::Generic { store: "test", source: "lost".into() }
}

impl Store {
    fn new(inner: InMemory, fault: Fault, whole: &[&Dataset]) -> Self {
        let whole = whole.iter().map(|dataset| dataset.tables()).collect();
        let (operations, changes, sent) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::default());
        Self(Arc::new(Shared { inner, fault, operations, changes, whole, intruder: None, sent }))
    }

    /// One operation: done or not, heard of or not.
    async fn operate<T>(&self, done: impl Future<Output = object_store::Result<T>>) -> object_store::Result<T> {
        let number = self.0.operations.fetch_add(1, SeqCst) + 1;
        match self.0.fault {
            Fault::Refused(at) if number == at => Err(lost()),
            Fault::Gone(at) if number >= at => Err(lost()),
            Fault::Unheard(at) if number == at => {
                let _ = done.await;
                Err(lost())
            }
            _ => done.await,
        }
    }

    /// One operation that changes what is there, after which the reader looks.
    async fn change<T>(&self, done: impl Future<Output = object_store::Result<T>>) -> object_store::Result<T> {
        let changed = self.operate(done).await;
        let number = self.0.changes.fetch_add(1, SeqCst) + 1;
        if let Some((_, name)) = self.0.intruder.filter(|(at, _)| *at == number) {
            self.0.inner.put(&Name::from(format!("audit/{name}")), PutPayload::from_static(b"theirs")).await?;
        }
        if self.0.intruder.is_none() {
            self.look();
        }
        changed
    }

    /// A reader who waits for `_SUCCESS`.
    fn look(&self) {
        let objects = self.objects();
        if objects.contains_key(SUCCESS) {
            let tables: BTreeMap<_, _> = objects.into_iter().filter(|(name, _)| name.contains('/')).collect();
            assert!(self.0.whole.contains(&tables), "a mixture under _SUCCESS: {:?}", tables.keys());
        }
    }

    /// All that is there, by its name below the prefix.
    fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        let objects = async {
            let mut objects = BTreeMap::new();
            for object in self.0.inner.list(None).collect::<Vec<_>>().await {
                let location = object.unwrap().location;
                let bytes = self.0.inner.get(&location).await.unwrap().bytes().await.unwrap();
                objects.insert(location.as_ref().strip_prefix("audit/").unwrap().to_owned(), bytes.to_vec());
            }
            objects
        };
        objects.now_or_never().expect("memory does not wait")
    }
}

#[async_trait]
impl ObjectStore for Store {
    async fn put_opts(&self, name: &Name, bytes: PutPayload, options: PutOptions) -> object_store::Result<PutResult> {
        self.0.sent.lock().unwrap().push(name.to_string());
        self.change(self.0.inner.put_opts(name, bytes, options)).await
    }

    async fn put_multipart_opts(
        &self,
        name: &Name,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.0.sent.lock().unwrap().push(name.to_string());
        let upload = self.operate(self.0.inner.put_multipart_opts(name, options)).await?;
        Ok(Box::new(Upload { store: self.clone(), upload }))
    }

    async fn get_opts(&self, name: &Name, options: GetOptions) -> object_store::Result<GetResult> {
        self.operate(self.0.inner.get_opts(name, options)).await
    }

    fn delete_stream(
        &self,
        names: BoxStream<'static, object_store::Result<Name>>,
    ) -> BoxStream<'static, object_store::Result<Name>> {
        let store = self.clone();
        let delete = move |name: object_store::Result<Name>| {
            let store = store.clone();
            async move {
                let name = name?;
                store.change(store.0.inner.delete(&name)).await.map(|()| name)
            }
        };
        names.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Name>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        let (store, listed) = (self.clone(), self.0.inner.list(prefix));
        let whole = async move {
            let heard = store.operate(async { Ok(()) }).await;
            let failed = heard.err().map(Err);
            futures::stream::iter(failed).chain(listed)
        };
        whole.into_stream().flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Name>) -> object_store::Result<ListResult> {
        self.0.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Name, to: &Name, options: CopyOptions) -> object_store::Result<()> {
        self.0.inner.copy_opts(from, to, options).await
    }
}

#[derive(Debug)]
struct Upload {
    store: Store,
    upload: Box<dyn MultipartUpload>,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, piece: PutPayload) -> UploadPart {
        let (store, part) = (self.store.clone(), self.upload.put_part(piece));
        Box::pin(async move { store.operate(part).await })
    }

    async fn complete(&mut self) -> object_store::Result<PutResult> {
        let store = self.store.clone();
        store.change(self.upload.complete()).await
    }

    async fn abort(&mut self) -> object_store::Result<()> {
        self.upload.abort().await
    }
}

/// A directory with a dataset.
struct Dataset {
    dir: TempDir,
    parts: Vec<(&'static str, &'static str)>,
}

impl Dataset {
    fn new(run_id: &str, parts: &[(&'static str, &'static str)], success: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let files = parts.iter().map(|(name, text)| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            let digits: Vec<String> = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
            FileRecord { path: (*name).into(), rows: 1, bytes: text.len() as u64, sha256: digits.concat() }
        });
        let made_of = Provenance {
            program: "backlinks-export".to_owned(),
            version: "0.1.0".to_owned(),
            schema_version: 1,
            run_id: run_id.to_owned(),
            simulated: false,
            parameters: None,
            partition_by: "year".to_owned(),
            compression: "none".to_owned(),
            parquet_encoding: "delta".into(),
            row_group_rows: 1,
            inputs_sha256: String::new(),
            ledgers: Vec::new(),
        };
        let record = RunRecord {
            made_of,
            totals: Totals::default(),
            spending: Spending::default(),
            summary: serde_json::Value::Null,
            drift: Vec::new(),
            files: files.collect(),
            raw_discarded: false,
            raw_sha256: Vec::new(),
            oldest_answer: None,
        };
        record.write(dir.path(), success).unwrap();
        fs::write(dir.path().join(FAILURES), "domain\n").unwrap();
        fs::write(dir.path().join(REJECTED), format!("input {run_id}\n")).unwrap();
        fs::create_dir(dir.path().join("_raw")).unwrap();
        fs::write(dir.path().join("_raw/ledger-0.jsonl.gz"), "paid for").unwrap();
        Self { dir, parts: parts.to_vec() }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn tables(&self) -> BTreeMap<String, Vec<u8>> {
        self.parts.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
    }

    /// All that is to be under the prefix.
    fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        let mut objects = self.tables();
        for name in [RUN, FAILURES, REJECTED, "report.html", SUCCESS] {
            if let Ok(bytes) = fs::read(self.path().join(name)) {
                objects.insert(name.to_owned(), bytes);
            }
        }
        objects
    }
}

const KEPT: (&str, &str) = ("backlinks_history/year=2023/part-a-0.parquet", "the same in both");

fn old() -> Dataset {
    let parts = [
        KEPT,
        ("backlinks_history/year=2024/part-a-0.parquet", "old, under a name that comes again"),
        ("backlinks_history/year=2025/part-a-0.parquet", "old"),
        ("targets/part-a.parquet", "old"),
    ];
    let dataset = Dataset::new("old", &parts, true);
    fs::write(dataset.path().join("report.html"), "<p>old").unwrap();
    dataset
}

fn new(success: bool) -> Dataset {
    let parts = [
        KEPT,
        ("backlinks_history/year=2024/part-a-0.parquet", "new, under a name that was there, of many pieces"),
        ("backlinks_history/year=2026/part-b-0.parquet", "new"),
        ("targets/part-a.parquet", "nEw"),
    ];
    Dataset::new("new", &parts, success)
}

fn place() -> Place {
    "s3://bucket/audit".parse().unwrap()
}

async fn publish(store: &Store, dataset: &Dataset) -> Result<Elsewhere, StoreError> {
    let destination = Destination::new(&place(), Arc::new(store.clone()));
    let progress = Progress::start(Mode::None, false, Plan::of_held(1));
    destination.publish_in_pieces(dataset.path(), &progress, PIECE).await
}

/// A store in which the old dataset lies.
async fn with_old(old: &Dataset) -> InMemory {
    let store = Store::new(InMemory::new(), Fault::Never, &[old]);
    publish(&store, old).await.unwrap();
    store.0.inner.fork()
}

#[tokio::test]
async fn a_dataset_is_put_whole_and_without_the_ledger_and_nothing_is_sent_twice() {
    let old = old();
    let store = Store::new(InMemory::new(), Fault::Never, &[&old]);
    let told = publish(&store, &old).await.unwrap();
    assert_eq!((told.files, told.files_sent, told.success), (9, 8, true));
    assert_eq!(store.objects(), old.objects());
    let sent = store.0.sent.lock().unwrap().clone();
    assert_eq!(sent.first().map(String::as_str), Some("audit/_run.json"));
    assert_eq!(sent.last().map(String::as_str), Some("audit/_SUCCESS"));
    let again = Store::new(store.0.inner.fork(), Fault::Never, &[&old]);
    let told = publish(&again, &old).await.unwrap();
    assert_eq!((told.files, told.files_sent, told.bytes_sent), (9, 0, 0));
    assert_eq!(again.0.changes.load(SeqCst), 0, "_SUCCESS stays where it is");
}

#[tokio::test]
async fn a_newer_dataset_replaces_an_older_one_and_sends_what_differs() {
    let (old, new) = (old(), new(true));
    let store = Store::new(with_old(&old).await, Fault::Never, &[&old, &new]);
    let told = publish(&store, &new).await.unwrap();
    assert_eq!(store.objects(), new.objects(), "the old report and parts are gone");
    assert_eq!((told.files, told.files_sent), (8, 5));
    let sent = store.0.sent.lock().unwrap().clone();
    assert!(!sent.iter().any(|name| name.ends_with(KEPT.0) || name.ends_with(FAILURES)), "{sent:?}");
}

#[tokio::test]
async fn after_a_failure_at_any_operation_readers_see_a_whole_dataset_or_none_and_a_rerun_completes() {
    let (old, new) = (old(), new(true));
    let mut failures = 0;
    for fault in [Fault::Refused, Fault::Unheard, Fault::Gone] {
        for stands in [false, true] {
            for nth in 1.. {
                assert!(nth < MOST, "it comes to an end");
                let inner = if stands { with_old(&old).await } else { InMemory::new() };
                let store = Store::new(inner, fault(nth), &[&old, &new]);
                let first = publish(&store, &new).await;
                if store.0.operations.load(SeqCst) < nth {
                    assert!(first.is_ok() && store.objects() == new.objects());
                    break;
                }
                let error = first.expect_err("a failure is told").to_string();
                assert!(error.starts_with("cannot ") && error.contains(" in s3://bucket/audit: "), "{error}");
                failures += 1;
                // Each operation was followed by a look already. The next try finds whatever was left.
                let again = Store::new(store.0.inner.fork(), Fault::Never, &[&old, &new]);
                publish(&again, &new).await.unwrap_or_else(|error| panic!("{:?}: {error}", fault(nth)));
                assert_eq!(again.objects(), new.objects(), "{:?}", fault(nth));
            }
        }
    }
    assert!(failures > 100, "{failures}");
}

#[tokio::test]
async fn a_dataset_without_success_takes_the_mark_away_and_gets_it_when_it_deserves_it() {
    let (old, new, complete) = (old(), new(false), new(true));
    let store = Store::new(with_old(&old).await, Fault::Never, &[&old, &complete]);
    let told = publish(&store, &new).await.unwrap();
    assert!(!told.success && !store.objects().contains_key(SUCCESS));
    assert_eq!(store.objects(), new.objects());
    publish(&store, &complete).await.unwrap();
    assert_eq!(store.objects(), complete.objects());
    // The mark alone is missing.
    store.0.inner.delete(&Name::from("audit/_SUCCESS")).await.unwrap();
    let told = publish(&store, &complete).await.unwrap();
    assert_eq!((told.files_sent, store.objects()), (0, complete.objects()));
}

#[tokio::test]
async fn what_a_store_holds_of_others_is_refused_and_left_alone() {
    let new = new(true);
    let check = async |name: &str, simulated: bool, expected: &str| {
        let store = Store::new(InMemory::new(), Fault::Never, &[]);
        store.0.inner.put(&Name::from(format!("audit/{name}")), PutPayload::from_static(b"theirs")).await.unwrap();
        let destination = Destination::new(&place(), Arc::new(store.clone()));
        let told = destination.check(simulated).await.map_or_else(|error| error.to_string(), |()| String::new());
        assert_eq!(told, expected);
        if !expected.is_empty() {
            let error = publish(&store, &new).await.expect_err("refused again").to_string();
            assert_eq!(error, expected);
        }
        assert_eq!(store.objects().len(), 1, "nothing is put or deleted");
    };
    let part = "targets/part-x.parquet";
    check(part, false, &format!("s3://bucket/audit contains {part}, which is not part of an export")).await;
    check("_run.json", true, "s3://bucket/audit contains _run.json, which is not part of an export").await;
    // A real dataset is not replaced by an invented one.
    let old = old();
    let destination = Destination::new(&place(), Arc::new(with_old(&old).await));
    assert!(matches!(destination.check(true).await, Err(StoreError::Real { .. })));
    destination.check(false).await.unwrap();
}

#[tokio::test]
async fn the_check_leaves_nothing_behind_and_says_what_is_not_allowed() {
    let check = async |fault: Fault, expected: &str| {
        let store = Store::new(InMemory::new(), fault, &[]);
        let destination = Destination::new(&place(), Arc::new(store.clone()));
        let told = destination.check(false).await.map_or_else(|error| error.to_string(), |()| String::new());
        assert_eq!(told.replace(" in s3://bucket/audit", ""), expected);
        store
    };
    let store = check(Fault::Never, "").await;
    assert!(store.objects().is_empty());
    check(Fault::Refused(1), "cannot list objects: lost").await;
    check(Fault::Refused(2), "cannot write objects: lost").await;
    let store = check(Fault::Refused(3), "cannot delete objects: lost").await;
    // A probe that was left is no reason to refuse, and goes with the next dataset.
    let new = new(true);
    let store = Store::new(store.0.inner.fork(), Fault::Never, &[&new]);
    assert_eq!(store.objects().len(), 1);
    publish(&store, &new).await.unwrap();
    assert_eq!(store.objects(), new.objects());
}

#[tokio::test]
async fn a_file_that_is_not_what_was_published_ends_the_upload_without_success() {
    let check = async |name: &str, text: &str| {
        let (old, new) = (old(), new(true));
        fs::write(new.path().join(name), text).unwrap();
        let store = Store::new(with_old(&old).await, Fault::Never, &[&old]);
        let error = publish(&store, &new).await.expect_err("told").to_string();
        assert!(error.contains(name) && error.contains("was changed after publishing"), "{error}");
        assert!(!store.objects().contains_key(SUCCESS));
    };
    check("targets/part-a.parquet", "neW").await;
    check("targets/part-a.parquet", "nE").await;
    check("targets/part-a.parquet", "nEw and more").await;
    check("backlinks_history/year=2024/part-a-0.parquet", "new, under a name that was there, of many pieceS").await;
}

#[tokio::test]
async fn whoever_else_writes_meanwhile_is_noticed_before_success() {
    let new = new(true);
    let check = async |at: usize, name: &'static str| {
        let mut store = Store::new(InMemory::new(), Fault::Never, &[]);
        Arc::get_mut(&mut store.0).unwrap().intruder = Some((at, name));
        let error = publish(&store, &new).await.expect_err("noticed");
        assert!(matches!(error, StoreError::Disturbed { .. } | StoreError::Foreign { .. }), "{error}");
        assert!(!store.objects().contains_key(SUCCESS));
    };
    check(1, "backlinks_history/year=2024/part-z-9.parquet").await;
    check(3, "backlinks_history/year=2024/part-z-9.parquet").await;
    check(3, "_run.json").await;
}
