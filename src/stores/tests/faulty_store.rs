//! A store in memory that fails at any operation, with a reader that checks it after each change.

use std::{
    collections::BTreeMap,
    fmt,
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

use super::Dataset;
use crate::dataset::SUCCESS;

/// When and how the store fails.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    Never,
    /// The n-th operation is not done.
    Refused(usize),
    /// The n-th operation is done, but reported as failed.
    AnswerLost(usize),
    /// No operation from the n-th on is done: the network is down, or the program was killed.
    Gone(usize),
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) inner: InMemory,
    fault: Fault,
    pub(super) operations: AtomicUsize,
    pub(super) changes: AtomicUsize,
    /// What a reader may see beside `_SUCCESS`.
    whole: Vec<BTreeMap<String, Vec<u8>>>,
    /// Another writer uploads this object at the n-th change.
    pub(super) intruder: Option<(usize, &'static str)>,
    pub(super) sent: Mutex<Vec<String>>,
}

#[derive(Clone, Debug)]
pub(super) struct Store(pub(super) Arc<Shared>);

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("test")
    }
}

fn lost() -> object_store::Error {
    object_store::Error::Generic { store: "test", source: "lost".into() }
}

impl Store {
    pub(super) fn new(inner: InMemory, fault: Fault, whole: &[&Dataset]) -> Self {
        let whole = whole.iter().map(|dataset| dataset.tables()).collect();
        let (operations, changes, sent) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::default());
        Self(Arc::new(Shared { inner, fault, operations, changes, whole, intruder: None, sent }))
    }

    async fn operate<T>(&self, done: impl Future<Output = object_store::Result<T>>) -> object_store::Result<T> {
        let number = self.0.operations.fetch_add(1, SeqCst) + 1;
        match self.0.fault {
            Fault::Refused(at) if number == at => Err(lost()),
            Fault::Gone(at) if number >= at => Err(lost()),
            Fault::AnswerLost(at) if number == at => {
                let _ = done.await;
                Err(lost())
            }
            _ => done.await,
        }
    }

    /// An operation that changes the store, after which the reader checks it.
    async fn change<T>(&self, done: impl Future<Output = object_store::Result<T>>) -> object_store::Result<T> {
        let changed = self.operate(done).await;
        let number = self.0.changes.fetch_add(1, SeqCst) + 1;
        if let Some((_, name)) = self.0.intruder.filter(|(at, _)| *at == number) {
            self.0.inner.put(&Name::from(format!("audit/{name}")), PutPayload::from_static(b"theirs")).await?;
        }
        if self.0.intruder.is_none() {
            self.check_as_reader();
        }
        changed
    }

    /// A reader that waits for `_SUCCESS` never sees a mixture.
    fn check_as_reader(&self) {
        let objects = self.objects();
        if objects.contains_key(SUCCESS) {
            let tables: BTreeMap<_, _> = objects.into_iter().filter(|(name, _)| name.contains('/')).collect();
            assert!(self.0.whole.contains(&tables), "a mixture under _SUCCESS: {:?}", tables.keys());
        }
    }

    /// All objects by name below the prefix.
    pub(super) fn objects(&self) -> BTreeMap<String, Vec<u8>> {
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
            let failed = store.operate(async { Ok(()) }).await.err().map(Err);
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
