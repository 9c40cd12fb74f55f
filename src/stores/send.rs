//! One file to one object, which appears whole or not at all: in one request, or in pieces that are put together.

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
    files::{Pieces, Wanted},
};
use crate::progress::Progress;

/// Bytes of a piece: stores take no less than 5 MiB, and a failure costs sending one piece again.
pub(super) const PIECE: usize = 8 << 20;
/// Pieces in memory at once, of all files together.
const PIECES_AT_ONCE: usize = 4;
/// Pieces of an object at most, by the rules of S3.
const MOST_PIECES: u64 = 10_000;

/// The metadata that holds an object's digest: a name that all stores take.
pub(super) const SHA256: &str = "sha256";

/// Sends files, some pieces at a time.
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

    /// Puts a file in its place.
    pub(super) async fn send(&self, wanted: &Wanted) -> Result<(), StoreError> {
        let (store, name) = (&self.destination.store, Name::from(wanted.name.as_str()));
        let opened = wanted.clone();
        let pieces = on_disk(move || Pieces::of(&opened)).await?;
        if wanted.bytes <= self.piece as u64 {
            let _room = self.room().await;
            let (_, whole) = next(pieces, self.piece).await?;
            let options = PutOptions { attributes: attributes(wanted), ..PutOptions::default() };
            store.put_opts(&name, whole.into(), options).await.map_err(|error| self.failed(wanted, &error))?;
            self.progress.uploaded(wanted.bytes);
            return Ok(());
        }
        let options = PutMultipartOptions { attributes: attributes(wanted), ..PutMultipartOptions::default() };
        let mut upload = store.put_multipart_opts(&name, options).await.map_err(|error| self.failed(wanted, &error))?;
        let sent = match self.send_pieces(wanted, pieces, upload.as_mut()).await {
            Ok(()) => upload.complete().await.map(drop).map_err(|error| self.failed(wanted, &error)),
            Err(error) => Err(error),
        };
        if sent.is_err() {
            // What lies there of it would be paid for until somebody clears it away. Best effort.
            let _ = upload.abort().await;
        }
        sent
    }

    async fn send_pieces(
        &self,
        wanted: &Wanted,
        mut pieces: Pieces,
        upload: &mut dyn MultipartUpload,
    ) -> Result<(), StoreError> {
        let size = usize::try_from(wanted.bytes.div_ceil(MOST_PIECES)).unwrap_or(usize::MAX).max(self.piece);
        let mut under_way = JoinSet::new();
        while !pieces.is_at_end() {
            let room = self.room().await;
            let (rest, piece) = next(pieces, size).await?;
            pieces = rest;
            let (bytes, progress) = (piece.len() as u64, self.progress.clone());
            let part = upload.put_part(PutPayload::from(piece));
            under_way.spawn(async move {
                let sent = part.await;
                drop(room);
                sent.inspect(|()| progress.uploaded(bytes))
            });
            while let Some(sent) = under_way.try_join_next() {
                self.joined(wanted, sent)?;
            }
        }
        while let Some(sent) = under_way.join_next().await {
            self.joined(wanted, sent)?;
        }
        Ok(())
    }

    fn joined(
        &self,
        wanted: &Wanted,
        sent: Result<Result<(), object_store::Error>, tokio::task::JoinError>,
    ) -> Result<(), StoreError> {
        let sent = sent.unwrap_or_else(|source| Err(object_store::Error::JoinError { source }));
        sent.map_err(|error| self.failed(wanted, &error))
    }

    /// Room for a piece.
    async fn room(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.room).acquire_owned().await.expect("it is never closed")
    }

    fn failed(&self, wanted: &Wanted, error: &object_store::Error) -> StoreError {
        self.destination.refused(&format!("upload {}", wanted.name), error)
    }
}

/// The next piece, read on a thread where that may block.
async fn next(mut pieces: Pieces, most: usize) -> Result<(Pieces, Vec<u8>), StoreError> {
    on_disk(move || pieces.next(most).map(|piece| (pieces, piece))).await
}

pub(super) async fn on_disk<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match spawn_blocking(read).await {
        Ok(read) => read,
        // The program ends before it was its turn, and nobody waits for it.
        Err(error) if error.is_cancelled() => std::future::pending().await,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// What an object says of itself.
fn attributes(wanted: &Wanted) -> Attributes {
    let kind = match wanted.name.rsplit('.').next() {
        Some("parquet") => "application/vnd.apache.parquet",
        Some("csv") => "text/csv; charset=utf-8",
        Some("json") => "application/json",
        Some("html") => "text/html; charset=utf-8",
        _ => "application/octet-stream",
    };
    let mut attributes = Attributes::new();
    attributes.insert(Attribute::Metadata(SHA256.into()), AttributeValue::from(wanted.sha256.clone()));
    attributes.insert(Attribute::ContentType, AttributeValue::from(kind));
    // Names are used again: a copy that a cache has kept would belong to another dataset.
    attributes.insert(Attribute::CacheControl, AttributeValue::from("no-cache"));
    attributes
}
