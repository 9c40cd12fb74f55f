//! Uploads to a store that fails at any operation.

mod faulty_store;

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{Arc, atomic::Ordering::SeqCst},
};

use object_store::{ObjectStoreExt, PutPayload, memory::InMemory, path::Path as Name, prefix::PrefixStore};
use tempfile::TempDir;

use self::faulty_store::{Fault, Store};
use super::*;
use crate::{
    dataset::{FAILURES, Part, REJECTED, RUN, SUCCESS},
    export::{Provenance, RunManifest},
    progress::{ExportScope, Mode, Progress},
    sha256,
    summary::UploadSummary,
};

/// Larger files are uploaded in pieces.
const UPLOAD_PART_BYTES: usize = 16;
/// More operations than any upload in these tests.
const MAX_OPERATIONS: usize = 200;

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
            let sha256 = sha256::of(text);
            Part { path: (*name).into(), rows: 1, bytes: text.len() as u64, sha256 }
        });
        let provenance =
            Provenance { program: "backlinks-export".to_owned(), run_id: run_id.to_owned(), ..Provenance::default() };
        let manifest = RunManifest { provenance, files: files.collect(), ..RunManifest::default() };
        manifest.write(dir.path(), success).unwrap();
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

    /// All objects that an upload has to leave.
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

const SAME: (&str, &str) = ("backlinks_history/year=2023/part-a-0.parquet", "the same in both");

fn old() -> Dataset {
    let parts = [
        SAME,
        ("backlinks_history/year=2024/part-a-0.parquet", "old, under a name that is used again"),
        ("backlinks_history/year=2025/part-a-0.parquet", "old"),
        ("targets/part-a.parquet", "old"),
    ];
    let dataset = Dataset::new("old", &parts, true);
    fs::write(dataset.path().join("report.html"), "<p>old").unwrap();
    dataset
}

fn new(success: bool) -> Dataset {
    let parts = [
        SAME,
        ("backlinks_history/year=2024/part-a-0.parquet", "new, under a name that was used before, of many pieces"),
        ("backlinks_history/year=2026/part-b-0.parquet", "new"),
        ("targets/part-a.parquet", "nEw"),
    ];
    Dataset::new("new", &parts, success)
}

fn destination(store: impl ObjectStore) -> Destination {
    let url: StoreUrl = "s3://bucket/audit".parse().unwrap();
    let store: Arc<dyn ObjectStore> = Arc::new(PrefixStore::new(store, url.prefix.clone()));
    Destination { url, check_store: Arc::clone(&store), store, secrets: Vec::new() }
}

async fn upload(store: &Store, dataset: &Dataset) -> Result<UploadSummary, StoreError> {
    let progress = Progress::start(Mode::None, false, ExportScope::all_stored(1));
    destination(store.clone()).upload_in_parts(dataset.path(), &progress, UPLOAD_PART_BYTES).await
}

/// A store with the old dataset.
async fn with_old(old: &Dataset) -> InMemory {
    let store = Store::new(InMemory::new(), Fault::Never, &[old]);
    upload(&store, old).await.unwrap();
    store.0.inner.fork()
}

#[tokio::test]
async fn a_dataset_is_uploaded_once_without_the_ledger() {
    let old = old();
    let store = Store::new(InMemory::new(), Fault::Never, &[&old]);
    let uploaded = upload(&store, &old).await.unwrap();
    assert_eq!((uploaded.files, uploaded.files_sent, uploaded.success), (9, 8, true));
    assert_eq!(store.objects(), old.objects());
    let sent = store.0.sent.lock().unwrap().clone();
    assert_eq!(sent.first().map(String::as_str), Some("audit/_run.json"));
    assert_eq!(sent.last().map(String::as_str), Some("audit/_SUCCESS"));
    let again = Store::new(store.0.inner.fork(), Fault::Never, &[&old]);
    let uploaded = upload(&again, &old).await.unwrap();
    assert_eq!((uploaded.files, uploaded.files_sent, uploaded.bytes_sent), (9, 0, 0));
    assert_eq!(again.0.changes.load(SeqCst), 0, "_SUCCESS is not touched");
}

#[tokio::test]
async fn a_newer_dataset_replaces_an_older_one_and_only_differences_are_uploaded() {
    let (old, new) = (old(), new(true));
    let store = Store::new(with_old(&old).await, Fault::Never, &[&old, &new]);
    let uploaded = upload(&store, &new).await.unwrap();
    assert_eq!(store.objects(), new.objects(), "the old report and parts are gone");
    assert_eq!((uploaded.files, uploaded.files_sent), (8, 5));
    let sent = store.0.sent.lock().unwrap().clone();
    assert!(!sent.iter().any(|name| name.ends_with(SAME.0) || name.ends_with(FAILURES)), "{sent:?}");
}

#[tokio::test]
async fn after_a_failure_at_any_operation_readers_see_a_whole_dataset_or_none_and_a_rerun_completes() {
    let (old, new) = (old(), new(true));
    let mut failures = 0;
    for fault in [Fault::Refused, Fault::AnswerLost, Fault::Gone] {
        for has_old in [false, true] {
            for nth in 1.. {
                assert!(nth < MAX_OPERATIONS, "the upload ends");
                let inner = if has_old { with_old(&old).await } else { InMemory::new() };
                let store = Store::new(inner, fault(nth), &[&old, &new]);
                let first = upload(&store, &new).await;
                if store.0.operations.load(SeqCst) < nth {
                    assert!(first.is_ok() && store.objects() == new.objects());
                    break;
                }
                let error = first.expect_err("a failure is reported").to_string();
                assert!(error.starts_with("cannot ") && error.contains(" in s3://bucket/audit: "), "{error}");
                failures += 1;
                // The next try finds what was left.
                let again = Store::new(store.0.inner.fork(), Fault::Never, &[&old, &new]);
                upload(&again, &new).await.unwrap_or_else(|error| panic!("{:?}: {error}", fault(nth)));
                assert_eq!(again.objects(), new.objects(), "{:?}", fault(nth));
            }
        }
    }
    assert!(failures > 100, "{failures}");
}

#[tokio::test]
async fn success_is_deleted_and_written_like_in_the_directory() {
    let (old, new, complete) = (old(), new(false), new(true));
    let store = Store::new(with_old(&old).await, Fault::Never, &[&old, &complete]);
    let uploaded = upload(&store, &new).await.unwrap();
    assert!(!uploaded.success && !store.objects().contains_key(SUCCESS));
    assert_eq!(store.objects(), new.objects());
    upload(&store, &complete).await.unwrap();
    assert_eq!(store.objects(), complete.objects());
    // Only _SUCCESS is missing.
    store.0.inner.delete(&Name::from("audit/_SUCCESS")).await.unwrap();
    let uploaded = upload(&store, &complete).await.unwrap();
    assert_eq!((uploaded.files_sent, store.objects()), (0, complete.objects()));
}

#[tokio::test]
async fn a_prefix_with_other_objects_is_refused_and_not_changed() {
    let new = new(true);
    let check = async |name: &str, simulated: bool, expected: &str| {
        let store = Store::new(InMemory::new(), Fault::Never, &[]);
        store.0.inner.put(&Name::from(format!("audit/{name}")), PutPayload::from_static(b"theirs")).await.unwrap();
        let destination = destination(store.clone());
        assert_eq!(destination.check(simulated).await.expect_err("refused").to_string(), expected);
        assert_eq!(upload(&store, &new).await.expect_err("refused again").to_string(), expected);
        assert_eq!(store.objects().len(), 1, "nothing is written or deleted");
    };
    let part = "targets/part-x.parquet";
    check(part, false, &format!("s3://bucket/audit contains {part}, which is not part of an export")).await;
    check("_run.json", true, "s3://bucket/audit contains _run.json, which is not part of an export").await;
    // A real dataset is not replaced by a simulated one.
    let old = old();
    let destination = destination(with_old(&old).await);
    assert!(matches!(destination.check(true).await, Err(StoreError::Real { .. })));
    destination.check(false).await.unwrap();
}

#[tokio::test]
async fn the_check_leaves_nothing_behind_and_reports_missing_permissions() {
    let check = async |fault: Fault, expected: &str| {
        let store = Store::new(InMemory::new(), fault, &[]);
        let destination = destination(store.clone());
        let error = destination.check(false).await.map_or_else(|error| error.to_string(), |()| String::new());
        assert_eq!(error.replace(" in s3://bucket/audit", ""), expected);
        store
    };
    let store = check(Fault::Never, "").await;
    assert!(store.objects().is_empty());
    check(Fault::Refused(1), "cannot list objects: lost").await;
    check(Fault::Refused(2), "cannot write objects: lost").await;
    let store = check(Fault::Refused(3), "cannot delete objects: lost").await;
    // A leftover probe is accepted, and deleted with the next dataset.
    let new = new(true);
    let store = Store::new(store.0.inner.fork(), Fault::Never, &[&new]);
    assert_eq!(store.objects().len(), 1);
    upload(&store, &new).await.unwrap();
    assert_eq!(store.objects(), new.objects());
}

#[tokio::test]
async fn a_file_changed_after_publishing_ends_the_upload_without_success() {
    let check = async |name: &str, text: &str| {
        let (old, new) = (old(), new(true));
        fs::write(new.path().join(name), text).unwrap();
        let store = Store::new(with_old(&old).await, Fault::Never, &[&old]);
        let error = upload(&store, &new).await.expect_err("an error").to_string();
        assert!(error.contains(name) && error.contains("was changed after publishing"), "{error}");
        assert!(!store.objects().contains_key(SUCCESS));
    };
    check("targets/part-a.parquet", "neW").await;
    check("targets/part-a.parquet", "nE").await;
    check("targets/part-a.parquet", "nEw and more").await;
    check("backlinks_history/year=2024/part-a-0.parquet", "new, under a name that was used before, of many pieceS")
        .await;
}

#[tokio::test]
async fn another_writer_is_detected_before_success() {
    let new = new(true);
    let check = async |at: usize, name: &'static str| {
        let mut store = Store::new(InMemory::new(), Fault::Never, &[]);
        Arc::get_mut(&mut store.0).unwrap().intruder = Some((at, name));
        let error = upload(&store, &new).await.expect_err("detected");
        assert!(matches!(error, StoreError::Disturbed { .. } | StoreError::Foreign { .. }), "{error}");
        assert!(!store.objects().contains_key(SUCCESS));
    };
    check(1, "backlinks_history/year=2024/part-z-9.parquet").await;
    check(3, "backlinks_history/year=2024/part-z-9.parquet").await;
    check(3, "_run.json").await;
}
