//! Uploads the published dataset to a prefix of an object store: S3 and compatible stores, Google Cloud Storage, Azure.
//!
//! ```text
//! check:    list the prefix -> is it empty or an export? -> write and delete a probe     (before anything is paid)
//! upload:   list, compare digests -> nothing differs: done
//!           else delete _SUCCESS, check that it is gone -> upload _run.json -> delete old parts
//!                -> upload new parts, then other files -> list again: exactly the dataset -> upload _SUCCESS
//! ```
//!
//! - A directory can be replaced in one step, a prefix cannot. The order keeps readers from a mixture: `_SUCCESS`
//!   exists only while everything under the prefix belongs to one dataset.
//! - `_run.json` changes before any part does. A reader that sees `_SUCCESS` and finds the same `_run.json` before and
//!   after reading the parts has read one dataset. It also marks the prefix of an interrupted upload as an export.
//! - Every object has its SHA-256 as metadata. Objects with the same size and digest are not uploaded again, so
//!   repeating an interrupted upload completes it.
//! - Only published files are uploaded, never the ledger. They are read in pieces and checked against the digests in
//!   `_run.json` on the way, so memory is bounded by the pieces in flight.
//! - A prefix has one writer at a time. A second one is detected before `_SUCCESS` is written, not prevented.
//!
//! The client library reads credentials from the environment; they are never shown. To add an object store: its
//! scheme in `url`, its builder and secrets in `connect`, its hints in `error`.

use std::{collections::BTreeMap, sync::Arc};

use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, path::Path as Name};

mod connect;
mod error;
mod files;
mod http_connector;
mod listing;
mod send;
mod upload;
mod url;

use self::listing::RemoteListing;
pub use self::{
    error::{Cause, StoreError},
    url::{StoreUrl, StoreUrlError},
};

/// Maximum objects under a prefix: a hundred times the parts of a large dataset. A prefix with more is not an export.
const MAX_OBJECTS: usize = 100_000;
/// The largest `_run.json` that is read back.
const MAX_MANIFEST_BYTES: u64 = 16 << 20;
/// Written and deleted to check the permissions.
const PROBE: &str = "_backlinks-export-probe";
/// Maximum requests for metadata, and deletions, in flight.
const REQUESTS_AT_ONCE: usize = 16;

#[derive(Debug)]
pub struct Destination {
    url: StoreUrl,
    /// For the upload at the end, which is retried for longer.
    store: Arc<dyn ObjectStore>,
    /// For the check at the beginning, while the user waits.
    check_store: Arc<dyn ObjectStore>,
    /// Redacted in every message.
    secrets: Vec<String>,
}

impl Destination {
    pub fn url(&self) -> &StoreUrl {
        &self.url
    }

    /// Checks, before the first paid call, that the prefix is empty or contains an export, and that objects can be
    /// written and deleted there. `simulated`: whether the dataset will be from the simulated API.
    pub async fn check(&self, simulated: bool) -> Result<(), StoreError> {
        self.list(&self.check_store, simulated).await?;
        let probe = Name::from(PROBE);
        let text = PutPayload::from_static(b"An access check of backlinks-export. It may be deleted.\n");
        self.check_store.put(&probe, text).await.map_err(|error| self.request_error("write objects", &error))?;
        self.check_store.delete(&probe).await.map_err(|error| self.request_error("delete objects", &error))
    }

    /// Lists the prefix; an error if it contains anything that is not part of an export.
    async fn list(&self, store: &Arc<dyn ObjectStore>, simulated: bool) -> Result<RemoteListing, StoreError> {
        let sizes = self.sizes(store).await?;
        let manifest = match sizes.get(crate::dataset::RUN) {
            Some(bytes) if *bytes <= MAX_MANIFEST_BYTES => self.manifest(store).await?,
            _ => Vec::new(),
        };
        let listing = RemoteListing { sizes, manifest };
        listing.inspect(&self.url, simulated)?;
        Ok(listing)
    }

    /// The names below the prefix with their sizes.
    async fn sizes(&self, store: &Arc<dyn ObjectStore>) -> Result<BTreeMap<String, u64>, StoreError> {
        let mut sizes = BTreeMap::new();
        let mut listing = store.list(None);
        while let Some(object) = listing.try_next().await.map_err(|error| self.request_error("list objects", &error))? {
            sizes.insert(object.location.to_string(), object.size);
            if sizes.len() > MAX_OBJECTS {
                return Err(StoreError::TooMany { url: self.url.clone() });
            }
        }
        Ok(sizes)
    }

    /// The stored `_run.json`; empty if it was deleted since it was listed.
    async fn manifest(&self, store: &Arc<dyn ObjectStore>) -> Result<Vec<u8>, StoreError> {
        let read = async { store.get(&Name::from(crate::dataset::RUN)).await?.bytes().await };
        match read.await {
            Ok(bytes) => Ok(bytes.to_vec()),
            Err(object_store::Error::NotFound { .. }) => Ok(Vec::new()),
            Err(error) => Err(self.request_error("read _run.json", &error)),
        }
    }

    /// An error of the store, without secrets.
    fn request_error(&self, action: &str, error: &object_store::Error) -> StoreError {
        let (cause, reason) = error::describe(error, &self.secrets);
        StoreError::RequestFailed { url: self.url.clone(), action: action.to_owned(), cause, reason }
    }
}

#[cfg(test)]
mod tests;
