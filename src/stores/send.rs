//! Uploads one file as one object, which appears whole or not at all: in one request or as a multipart upload.

use std::sync::Arc;

use object_store::{
    Attribute, AttributeValue, Attributes, MultipartUpload, ObjectStore, PutMultipartOptions, PutOptions, PutPayload,
    path::Path as Name,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{JoinSet, spawn_blocking},
};

use super::{
    Destination, StoreError,
    files::{LocalFile, Pieces},
};
use crate::progress::Progress;

/// Bytes of a piece: stores require at least 5 MiB, and a failure means sending one piece again.
pub(super) const UPLOAD_PART_BYTES: usize = 8 << 20;
/// Pieces in memory, of all files together.
const PIECES_AT_ONCE: usize = 4;
/// Maximum pieces of an object, by the rules of S3.
const MAX_PIECES: u64 = 10_000;

/// The metadata key of an object's digest: a name that all stores accept.
pub(super) const SHA256: &str = "sha256";

/// Uploads files with a limited number of pieces in memory.
#[derive(Clone, Debug)]
pub(super) struct Sender<'a> {
    destination: &'a Destination,
    room: Arc<Semaphore>,
    progress: &'a Progress,
    piece: usize,
}

impl<'a> Sender<'a> {
    pub(super) fn new(destination: &'a Destination, progress: &'a Progress, piece: usize) -> Self {
        Self { destination, room: Arc::new(Semaphore::new(PIECES_AT_ONCE)), progress, piece }
    }

    pub(super) async fn send(&self, file: &LocalFile) -> Result<(), StoreError> {
        let (store, name) = (&self.destination.store, Name::from(file.name.as_str()));
        let opened = file.clone();
        let pieces = on_disk(move || Pieces::of(&opened)).await?;
        if file.bytes <= self.piece as u64 {
            let _room = self.room().await;
            let (_, whole) = next(pieces, self.piece).await?;
            let options = PutOptions { attributes: attributes(file), ..PutOptions::default() };
            store.put_opts(&name, whole.into(), options).await.map_err(|error| self.failed(file, &error))?;
            self.progress.uploaded(file.bytes);
            return Ok(());
        }
        let options = PutMultipartOptions { attributes: attributes(file), ..PutMultipartOptions::default() };
        let mut upload = store.put_multipart_opts(&name, options).await.map_err(|error| self.failed(file, &error))?;
        let sent = match self.send_pieces(file, pieces, upload.as_mut()).await {
            Ok(()) => upload.complete().await.map(drop).map_err(|error| self.failed(file, &error)),
            Err(error) => Err(error),
        };
        if sent.is_err() {
            // Best effort: an abandoned upload takes paid storage until it is deleted.
            let _ = upload.abort().await;
        }
        sent
    }

    async fn send_pieces(
        &self,
        file: &LocalFile,
        mut pieces: Pieces,
        upload: &mut dyn MultipartUpload,
    ) -> Result<(), StoreError> {
        let size = usize::try_from(file.bytes.div_ceil(MAX_PIECES)).unwrap_or(usize::MAX).max(self.piece);
        let mut in_flight = JoinSet::new();
        while !pieces.is_at_end() {
            let room = self.room().await;
            let (rest, piece) = next(pieces, size).await?;
            pieces = rest;
            let (bytes, progress) = (piece.len() as u64, self.progress.clone());
            let part = upload.put_part(PutPayload::from(piece));
            in_flight.spawn(async move {
                let sent = part.await;
                drop(room);
                sent.inspect(|()| progress.uploaded(bytes))
            });
            while let Some(sent) = in_flight.try_join_next() {
                self.joined(file, sent)?;
            }
        }
        while let Some(sent) = in_flight.join_next().await {
            self.joined(file, sent)?;
        }
        Ok(())
    }

    fn joined(
        &self,
        file: &LocalFile,
        sent: Result<Result<(), object_store::Error>, tokio::task::JoinError>,
    ) -> Result<(), StoreError> {
        let sent = sent.unwrap_or_else(|source| Err(object_store::Error::JoinError { source }));
        sent.map_err(|error| self.failed(file, &error))
    }

    async fn room(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.room).acquire_owned().await.expect("it is never closed")
    }

    fn failed(&self, file: &LocalFile, error: &object_store::Error) -> StoreError {
        self.destination.request_error(&format!("upload {}", file.name), error)
    }
}

/// Reads the next piece on a thread that may block.
async fn next(mut pieces: Pieces, max: usize) -> Result<(Pieces, Vec<u8>), StoreError> {
    on_disk(move || pieces.next(max).map(|piece| (pieces, piece))).await
}

pub(super) async fn on_disk<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match spawn_blocking(read).await {
        Ok(read) => read,
        // The program is ending, and nothing waits for the result.
        Err(error) if error.is_cancelled() => std::future::pending().await,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn attributes(file: &LocalFile) -> Attributes {
    let kind = match file.name.rsplit('.').next() {
        Some("parquet") => "application/vnd.apache.parquet",
        Some("csv") => "text/csv; charset=utf-8",
        Some("json") => "application/json",
        Some("html") => "text/html; charset=utf-8",
        _ => "application/octet-stream",
    };
    let mut attributes = Attributes::new();
    attributes.insert(Attribute::Metadata(SHA256.into()), AttributeValue::from(file.sha256.clone()));
    attributes.insert(Attribute::ContentType, AttributeValue::from(kind));
    // Names are reused: a cached copy may belong to another dataset.
    attributes.insert(Attribute::CacheControl, AttributeValue::from("no-cache"));
    attributes
}
