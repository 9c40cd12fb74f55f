//! Putting a dataset under the prefix, in the order that keeps readers from ever seeing a mixture.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::ready,
    path::Path,
};

use futures::{StreamExt, TryStreamExt, stream};
use object_store::{Attribute, GetOptions, ObjectStore, ObjectStoreExt, PutPayload, path::Path as Name};

use super::{
    Destination, QUESTIONS_AT_ONCE, StoreError,
    files::{Files, Wanted},
    send::{PIECE, SHA256, Sender, on_disk},
};
use crate::{
    dataset::{RUN, SUCCESS},
    outcome::Elsewhere,
    progress::Progress,
};

/// Files under way at once.
const FILES_AT_ONCE: usize = 4;

impl Destination {
    /// Puts the dataset of `dir` under the prefix, which has to stay as it is meanwhile; nothing is sent that is there.
    /// `_SUCCESS` is put where `dir` has it.
    pub async fn publish(&self, dir: &Path, progress: &Progress) -> Result<Elsewhere, StoreError> {
        self.publish_in_pieces(dir, progress, PIECE).await
    }

    pub(super) async fn publish_in_pieces(
        &self,
        dir: &Path,
        progress: &Progress,
        piece: usize,
    ) -> Result<Elsewhere, StoreError> {
        let dir = dir.to_owned();
        let files = on_disk(move || Files::of(&dir)).await?;
        let standing = self.standing(&self.store, files.simulated).await?;
        let missing = self.missing(&files, &standing.sizes).await?;
        let names: BTreeSet<&str> = files.all().map(|wanted| wanted.name.as_str()).collect();
        let surplus = standing.surplus(|name| names.contains(name));
        let told = Elsewhere {
            url: self.place.to_string(),
            files: names.len() as u64 + u64::from(files.success),
            files_sent: missing.len() as u64,
            bytes_sent: missing.iter().map(|wanted| wanted.bytes).sum(),
            success: files.success,
        };
        let as_it_should_be = missing.is_empty() && surplus.is_empty();
        if as_it_should_be && standing.is_marked() == files.success {
            return Ok(told);
        }
        if standing.is_marked() {
            self.withdraw().await?;
        }
        if !as_it_should_be {
            progress.uploading(told.bytes_sent);
            self.exchange(&missing, surplus, progress, piece).await?;
        }
        if files.success {
            self.confirm(&files).await?;
            let name = Name::from(SUCCESS);
            self.store
                .put(&name, PutPayload::default())
                .await
                .map_err(|error| self.refused("upload _SUCCESS", &error))?;
        }
        Ok(told)
    }

    /// What is not there yet with the same bytes, by size and digest.
    async fn missing<'a>(
        &self,
        files: &'a Files,
        sizes: &BTreeMap<String, u64>,
    ) -> Result<Vec<&'a Wanted>, StoreError> {
        let looks = stream::iter(files.all()).map(|wanted| async move {
            let has_size = sizes.get(&wanted.name) == Some(&wanted.bytes);
            let is_there = has_size && self.digest(&wanted.name).await?.as_deref() == Some(wanted.sha256.as_str());
            Ok((!is_there).then_some(wanted))
        });
        looks.buffered(QUESTIONS_AT_ONCE).try_filter_map(|missing| ready(Ok(missing))).try_collect().await
    }

    /// The digest that an object carries.
    async fn digest(&self, name: &str) -> Result<Option<String>, StoreError> {
        let head = GetOptions { head: true, ..GetOptions::default() };
        match self.store.get_opts(&Name::from(name), head).await {
            Ok(object) => {
                let digest = object.attributes.get(&Attribute::Metadata(SHA256.into()));
                Ok(digest.map(|digest| digest.as_ref().to_owned()))
            }
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.refused(&format!("check {name}"), &error)),
        }
    }

    /// Takes `_SUCCESS` away, and sees that it is gone: from here on nobody takes what is there for a dataset.
    async fn withdraw(&self) -> Result<(), StoreError> {
        self.delete(SUCCESS).await?;
        match self.store.head(&Name::from(SUCCESS)).await {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            Ok(_) => Err(StoreError::Disturbed { place: self.place.clone(), name: SUCCESS.to_owned() }),
            Err(error) => Err(self.refused("check whether _SUCCESS was deleted", &error)),
        }
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        match self.store.delete(&Name::from(name)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.refused(&format!("delete {name}"), &error)),
        }
    }

    /// Makes what is there that which should be. `_SUCCESS` is gone.
    async fn exchange(
        &self,
        missing: &[&Wanted],
        surplus: Vec<String>,
        progress: &Progress,
        piece: usize,
    ) -> Result<(), StoreError> {
        let sender = &Sender::new(self, progress, piece);
        if let Some(record) = missing.iter().find(|wanted| wanted.name == RUN) {
            sender.send(record).await?;
        }
        let deletions = stream::iter(surplus).map(|name| async move { self.delete(&name).await });
        deletions.buffer_unordered(QUESTIONS_AT_ONCE).try_collect::<()>().await?;
        // Parts come first in the list; the last of them may still be under way with the other files.
        let others = missing.iter().filter(|wanted| wanted.name != RUN);
        let sending = stream::iter(others).map(|wanted| sender.send(wanted));
        sending.buffer_unordered(FILES_AT_ONCE).try_collect().await
    }

    /// Sees that the dataset is there, and nothing else.
    async fn confirm(&self, files: &Files) -> Result<(), StoreError> {
        let disturbed = |name: &str| Err(StoreError::Disturbed { place: self.place.clone(), name: name.to_owned() });
        let standing = self.standing(&self.store, files.simulated).await?;
        for wanted in files.all() {
            if standing.sizes.get(&wanted.name) != Some(&wanted.bytes) {
                return disturbed(&wanted.name);
            }
        }
        let names: BTreeSet<&str> = files.all().map(|wanted| wanted.name.as_str()).collect();
        if let Some(name) = standing.surplus(|name| names.contains(name)).first() {
            return disturbed(name);
        }
        // Whoever else publishes here has put a record of theirs before any part.
        let digest = self.digest(RUN).await?;
        if standing.is_marked() || digest.as_ref() != Some(&files.record.sha256) {
            return disturbed(if standing.is_marked() { SUCCESS } else { RUN });
        }
        Ok(())
    }
}
