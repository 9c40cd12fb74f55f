//! The published dataset under a prefix of an object store: S3 and what speaks like it, Google Cloud Storage, Azure.
//!
//! ```text
//! check:    list the prefix -> is it empty or an export's? -> put and delete a probe     (before anything is paid)
//! publish:  list, compare digests -> nothing differs: done
//!           else take _SUCCESS away, see that it is gone -> _run.json of the new dataset -> old parts go
//!                -> new parts -> other files -> list again: the dataset and nothing else -> _SUCCESS
//! ```
//!
//! - A directory can be exchanged in one step, a prefix cannot. What stands between readers and a mixture is the order:
//!   `_SUCCESS` is there only while everything under the prefix belongs to one dataset.
//! - `_run.json` changes before any part does. Who reads it, sees `_SUCCESS`, reads the parts, and finds `_run.json`
//!   unchanged has read one dataset; and an upload that was killed leaves behind whose the prefix is.
//! - Every object carries its SHA-256 as metadata. What is there already with the same size and digest is not sent
//!   again, so an upload that ended early is finished by doing it again.
//! - Nothing is sent but what was published: never the ledger. Files are read in pieces and held against the digests
//!   in `_run.json` as they go out; memory is bounded by the pieces under way.
//! - One prefix has one writer at a time. Two are noticed before `_SUCCESS` is put, not prevented.
//!
//! Nothing here knows flags or prints. Credentials are read from the environment by the client library and shown nowhere.

use std::{collections::BTreeMap, sync::Arc};

use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, path::Path as Name, prefix::PrefixStore};

mod connect;
mod error;
mod files;
mod listing;
mod place;
mod send;
mod upload;
mod wire;

use self::listing::RemoteListing;
pub use self::{
    error::{Blame, StoreError},
    place::{Place, PlaceError},
};

/// Objects under a prefix at most: a hundred times the parts of a large dataset. A prefix with more is somebody else's.
const MOST_OBJECTS: usize = 100_000;
/// The largest `_run.json` that is read back.
const LARGEST_RECORD: u64 = 16 << 20;
/// Put and deleted to see whether that is allowed.
const PROBE: &str = "_backlinks-export-probe";
/// Questions about objects, and deletions, in flight at most.
const QUESTIONS_AT_ONCE: usize = 16;

/// A prefix of an object store that can be written to.
#[derive(Debug)]
pub struct Destination {
    place: Place,
    /// For the upload at the end: it is worth some patience.
    store: Arc<dyn ObjectStore>,
    /// For the check at the beginning: somebody is waiting.
    hasty: Arc<dyn ObjectStore>,
    /// What must not be in any message.
    secrets: Vec<String>,
}

impl Destination {
    /// Sets up the connections, with credentials, region and endpoint from the environment; sends nothing.
    pub fn connect(place: &Place) -> Result<Self, StoreError> {
        let connected = connect::connect(place)?;
        let below = |store| Arc::new(PrefixStore::new(store, place.prefix().clone())) as Arc<dyn ObjectStore>;
        Ok(Self {
            place: place.clone(),
            store: below(connected.patient),
            hasty: below(connected.hasty),
            secrets: connected.secrets,
        })
    }

    /// A prefix of this store.
    #[cfg(test)]
    fn new(place: &Place, store: Arc<dyn ObjectStore>) -> Self {
        let store: Arc<dyn ObjectStore> = Arc::new(PrefixStore::new(store, place.prefix().clone()));
        Self { place: place.clone(), hasty: Arc::clone(&store), store, secrets: Vec::new() }
    }

    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Makes sure that the prefix is empty or an export's, and that objects can be put there and deleted. To be called
    /// before the first paid call. `simulated`: the dataset to come is of the simulated API.
    pub async fn check(&self, simulated: bool) -> Result<(), StoreError> {
        self.standing(&self.hasty, simulated).await?;
        let probe = Name::from(PROBE);
        let words = PutPayload::from_static(b"An access check of backlinks-export. It may be deleted.\n");
        self.hasty.put(&probe, words).await.map_err(|error| self.refused("write objects", &error))?;
        self.hasty.delete(&probe).await.map_err(|error| self.refused("delete objects", &error))
    }

    /// What lies under the prefix; an error where anything of it is not an export's.
    async fn standing(&self, store: &Arc<dyn ObjectStore>, simulated: bool) -> Result<RemoteListing, StoreError> {
        let sizes = self.sizes(store).await?;
        let record = match sizes.get(crate::dataset::RUN) {
            Some(bytes) if *bytes <= LARGEST_RECORD => self.record(store).await?,
            _ => Vec::new(),
        };
        let standing = RemoteListing { sizes, record };
        standing.inspect(&self.place, simulated)?;
        Ok(standing)
    }

    /// The names under the prefix with their sizes.
    async fn sizes(&self, store: &Arc<dyn ObjectStore>) -> Result<BTreeMap<String, u64>, StoreError> {
        let mut sizes = BTreeMap::new();
        let mut listing = store.list(None);
        while let Some(object) = listing.try_next().await.map_err(|error| self.refused("list objects", &error))? {
            sizes.insert(object.location.to_string(), object.size);
            if sizes.len() > MOST_OBJECTS {
                return Err(StoreError::TooMany { place: self.place.clone() });
            }
        }
        Ok(sizes)
    }

    /// The `_run.json` that stands there; nothing where it has just gone.
    async fn record(&self, store: &Arc<dyn ObjectStore>) -> Result<Vec<u8>, StoreError> {
        let read = async { store.get(&Name::from(crate::dataset::RUN)).await?.bytes().await };
        match read.await {
            Ok(bytes) => Ok(bytes.to_vec()),
            Err(object_store::Error::NotFound { .. }) => Ok(Vec::new()),
            Err(error) => Err(self.refused("read _run.json", &error)),
        }
    }

    /// An error of the store as one that may be shown.
    fn refused(&self, attempt: &str, error: &object_store::Error) -> StoreError {
        let (blame, reason) = error::told(error, &self.secrets);
        StoreError::Refused { place: self.place.clone(), attempt: attempt.to_owned(), blame, reason }
    }
}

#[cfg(test)]
mod tests;
