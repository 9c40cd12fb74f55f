//! Uploads a dataset in the order that keeps readers from ever seeing a mixture.

use std::{collections::BTreeMap, future::ready, path::Path};

use futures::{StreamExt, TryStreamExt, stream};
use object_store::{Attribute, GetOptions, ObjectStore, ObjectStoreExt, PutPayload, path::Path as Name};

use super::{
    Destination, REQUESTS_AT_ONCE, StoreError,
    files::{LocalDataset, LocalFile},
    send::{SHA256, Sender, UPLOAD_PART_BYTES, on_disk},
};
use crate::{
    dataset::{RUN, SUCCESS},
    progress::Progress,
    summary::UploadSummary,
};

const FILES_AT_ONCE: usize = 4;

impl Destination {
    /// Uploads what differs of the dataset in `dir`, and `_SUCCESS` if `dir` has it. `dir` must not change during the
    /// upload.
    pub async fn upload(&self, dir: &Path, progress: &Progress) -> Result<UploadSummary, StoreError> {
        self.upload_in_parts(dir, progress, UPLOAD_PART_BYTES).await
    }

    pub(super) async fn upload_in_parts(
        &self,
        dir: &Path,
        progress: &Progress,
        piece: usize,
    ) -> Result<UploadSummary, StoreError> {
        let dir = dir.to_owned();
        let files = on_disk(move || LocalDataset::read(&dir)).await?;
        let listing = self.list(&self.store, files.simulated).await?;
        let to_send = self.to_send(&files, &listing.sizes).await?;
        let surplus = listing.surplus(&files);
        let summary = UploadSummary {
            url: self.url.to_string(),
            files: files.all().count() as u64 + u64::from(files.success),
            files_sent: to_send.len() as u64,
            bytes_sent: to_send.iter().map(|file| file.bytes).sum(),
            success: files.success,
        };
        let is_same = to_send.is_empty() && surplus.is_empty();
        if is_same && listing.is_marked() == files.success {
            return Ok(summary);
        }
        if listing.is_marked() {
            self.delete_success().await?;
        }
        if !is_same {
            progress.uploading(summary.bytes_sent);
            self.replace(&to_send, surplus, progress, piece).await?;
        }
        if files.success {
            self.confirm(&files).await?;
            let name = Name::from(SUCCESS);
            self.store
                .put(&name, PutPayload::default())
                .await
                .map_err(|error| self.request_error("upload _SUCCESS", &error))?;
        }
        Ok(summary)
    }

    /// The files that are not stored yet with the same size and digest.
    async fn to_send<'a>(
        &self,
        files: &'a LocalDataset,
        sizes: &BTreeMap<String, u64>,
    ) -> Result<Vec<&'a LocalFile>, StoreError> {
        let comparisons = stream::iter(files.all()).map(|file| async move {
            let has_size = sizes.get(&file.name) == Some(&file.bytes);
            let is_there = has_size && self.digest(&file.name).await?.as_deref() == Some(file.sha256.as_str());
            Ok((!is_there).then_some(file))
        });
        comparisons.buffered(REQUESTS_AT_ONCE).try_filter_map(|to_send| ready(Ok(to_send))).try_collect().await
    }

    /// The digest in an object's metadata.
    async fn digest(&self, name: &str) -> Result<Option<String>, StoreError> {
        let head = GetOptions { head: true, ..GetOptions::default() };
        match self.store.get_opts(&Name::from(name), head).await {
            Ok(object) => {
                let digest = object.attributes.get(&Attribute::Metadata(SHA256.into()));
                Ok(digest.map(|digest| digest.as_ref().to_owned()))
            }
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.request_error(&format!("check {name}"), &error)),
        }
    }

    /// Deletes `_SUCCESS` and checks that it is gone: from here on no reader takes the objects for a dataset.
    async fn delete_success(&self) -> Result<(), StoreError> {
        self.delete(SUCCESS).await?;
        match self.store.head(&Name::from(SUCCESS)).await {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            Ok(_) => Err(StoreError::Disturbed { url: self.url.clone(), name: SUCCESS.to_owned() }),
            Err(error) => Err(self.request_error("check whether _SUCCESS was deleted", &error)),
        }
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        match self.store.delete(&Name::from(name)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.request_error(&format!("delete {name}"), &error)),
        }
    }

    /// Replaces the stored files, after `_SUCCESS` was deleted.
    async fn replace(
        &self,
        to_send: &[&LocalFile],
        surplus: Vec<String>,
        progress: &Progress,
        piece: usize,
    ) -> Result<(), StoreError> {
        let sender = &Sender::new(self, progress, piece);
        if let Some(manifest) = to_send.iter().find(|file| file.name == RUN) {
            sender.send(manifest).await?;
        }
        let deletions = stream::iter(surplus).map(|name| async move { self.delete(&name).await });
        deletions.buffer_unordered(REQUESTS_AT_ONCE).try_collect::<()>().await?;
        // Parts are first in the list; the last of them may overlap with the other files.
        let others = to_send.iter().filter(|file| file.name != RUN);
        let sending = stream::iter(others).map(|file| sender.send(file));
        sending.buffer_unordered(FILES_AT_ONCE).try_collect().await
    }

    /// Checks that the prefix contains exactly the dataset.
    async fn confirm(&self, files: &LocalDataset) -> Result<(), StoreError> {
        let disturbed = |name: &str| Err(StoreError::Disturbed { url: self.url.clone(), name: name.to_owned() });
        let listing = self.list(&self.store, files.simulated).await?;
        for file in files.all() {
            if listing.sizes.get(&file.name) != Some(&file.bytes) {
                return disturbed(&file.name);
            }
        }
        if let Some(name) = listing.surplus(files).first() {
            return disturbed(name);
        }
        // Another writer uploads its manifest before any part.
        let digest = self.digest(RUN).await?;
        if listing.is_marked() || digest.as_ref() != Some(&files.manifest.sha256) {
            return disturbed(if listing.is_marked() { SUCCESS } else { RUN });
        }
        Ok(())
    }
}
