//! Publishes tables: each appears or is replaced as a whole, by one rename of its directory.
//!
//! A crash at any time leaves the old table or the new one. Files are synced when they are closed, directories before
//! and after each rename.
//!
//! Files get their final names in the staging folder right before their table moves, and the old table is there right
//! after, until it is deleted. For this time `DIR/**` matches the files of both, all of them complete;
//! `DIR/backlinks_history/**` never does.
//!
//! A reader lists one folder after the other, by path, and then opens the files. If it has listed the old table, it
//! gets an error, because the new table has other file names. But both have the same folder names. A reader that finds
//! a folder of the old table empty, or does not find one that only the new table has, would read the new table without
//! some of its partitions, and get no error. Two things prevent that:
//!
//! - the old table stays as it is for [`LISTING_TIME`] after the swap;
//! - folders that only the new table has are created in the old one, empty, for as long before the swap.
//!
//! Never follows a symbolic link and never deletes what an export did not write.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use arrow::datatypes::SchemaRef;
use rustix::{
    fs::{CWD, RenameFlags},
    io::Errno,
};

use super::{
    DatasetError, HistoryWriter, Options, Part, STAGING, TABLES, TARGETS, TargetsWriter, UNDATED,
    files::{entries, exists, remove_tree, rename},
    inspect::{backup_name, inspect},
    part, sidecar_files,
};
use crate::fs::sync_folder;

/// The longest run id: a file name has 255 bytes.
const MAX_RUN_ID_LENGTH: usize = 100;
/// How long a reader may take to list a folder, including the time in which it does not run: a container that has used
/// up its share of the processors is stopped for up to 100 ms.
const LISTING_TIME: Duration = Duration::from_millis(250);

/// Where tables are written until they are published. The ledger's lock ensures that a directory has only one stage.
///
/// Removes what was written to it if it is dropped before it is published.
#[derive(Debug)]
pub struct Stage {
    dir: PathBuf,
    staging: PathBuf,
    /// Whether tables have begun to move: from then on the staging folder may have the only copy of an old one.
    is_publishing: bool,
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !self.is_publishing {
            // The next stage removes what cannot be removed now.
            let _ = remove_tree(&self.staging);
        }
    }
}

impl Stage {
    /// Creates an empty `DIR/_staging`; what an interrupted publication left there is moved back or removed.
    pub fn begin(dir: &Path) -> Result<Self, DatasetError> {
        inspect(dir)?;
        let staging = dir.join(STAGING);
        for table in TABLES {
            let (backup, place) = (staging.join(backup_name(table)), dir.join(table));
            if exists(&backup)? && !exists(&place)? {
                rename(&backup, &place)?;
                sync_folder(dir, DatasetError::io)?;
            }
        }
        if holds_parts(&staging)? {
            // The interrupted publication may have been only a moment ago.
            let_readers_finish_listing();
        }
        remove_tree(&staging)?;
        fs::create_dir_all(&staging).map_err(DatasetError::io("create", &staging))?;
        Ok(Self { dir: dir.to_owned(), staging, is_publishing: false })
    }

    /// A writer for rows of `backlinks_history` with this schema.
    pub fn history(&self, schema: SchemaRef, options: &Options) -> Result<HistoryWriter, DatasetError> {
        check_run_id(&options.run_id)?;
        HistoryWriter::new(self.staging.clone(), schema, options)
    }

    /// A writer for rows of `targets`; `columns` names the input's other columns.
    pub fn targets(&self, options: &Options, columns: &[String]) -> Result<TargetsWriter, DatasetError> {
        check_run_id(&options.run_id)?;
        TargetsWriter::new(self.staging.clone(), self.dir.join(TARGETS), options, columns)
    }

    /// Publishes all tables that have parts, and removes `_SUCCESS`. The caller writes the sidecar files and a
    /// new `_SUCCESS` next.
    pub fn publish(self, parts: &[Part]) -> Result<(), DatasetError> {
        self.publish_beside_readers(parts, let_readers_finish_listing)
    }

    fn publish_beside_readers(mut self, parts: &[Part], let_readers_finish: impl Fn()) -> Result<(), DatasetError> {
        inspect(&self.dir)?;
        if self.make_new_folders(parts)? {
            let_readers_finish();
        }
        self.is_publishing = true;
        sidecar_files::unmark_success(&self.dir)?;
        for table in TABLES {
            let of_table: Vec<_> = parts.iter().filter(|part| part.path.starts_with(table)).collect();
            if !of_table.is_empty() {
                self.publish_table(table, &of_table)?;
            } else if table == UNDATED {
                self.set_table_aside(table)?;
            }
        }
        if holds_parts(&self.staging)? {
            let_readers_finish();
        }
        remove_tree(&self.staging)?;
        sync_folder(&self.dir, DatasetError::io)
    }

    /// Creates the folders of `parts` that a published table does not have; whether there were any.
    fn make_new_folders(&self, parts: &[Part]) -> Result<bool, DatasetError> {
        let mut are_new = false;
        for table in TABLES {
            if !exists(&self.dir.join(table))? {
                continue;
            }
            for folder in parts.iter().filter_map(|part| part.path.parent().filter(|path| path.starts_with(table))) {
                let folder = self.dir.join(folder);
                if !exists(&folder)? {
                    fs::create_dir_all(&folder).map_err(DatasetError::io("create", &folder))?;
                    are_new = true;
                }
            }
        }
        Ok(are_new)
    }

    /// Removes a table that has no rows any more, in one step for its readers.
    fn set_table_aside(&self, table: &str) -> Result<(), DatasetError> {
        let (place, backup) = (self.dir.join(table), self.staging.join(backup_name(table)));
        if exists(&place)? {
            rename(&place, &backup)?;
            sync_folder(&self.dir, DatasetError::io)?;
        }
        Ok(())
    }

    /// Publishes a table; the old one is in the staging folder afterwards.
    fn publish_table(&self, table: &str, parts: &[&Part]) -> Result<(), DatasetError> {
        for part in parts {
            let path = self.staging.join(&part.path);
            rename(&part::unfinished(&path), &path)?;
        }
        let staged = self.staging.join(table);
        sync_tree(&staged)?;
        sync_folder(&self.staging, DatasetError::io)?;
        swap(&staged, &self.dir.join(table), &self.staging.join(backup_name(table)))?;
        sync_folder(&self.dir, DatasetError::io)?;
        sync_folder(&self.staging, DatasetError::io)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "readers are other processes: real time counts, on a thread that may block"
)]
fn let_readers_finish_listing() {
    thread::sleep(LISTING_TIME);
}

/// Whether a folder contains files named like published parts, at any depth.
fn holds_parts(folder: &Path) -> Result<bool, DatasetError> {
    for entry in entries(folder)? {
        let path = entry.path();
        let is_folder = entry.file_type().map_err(DatasetError::io("read", &path))?.is_dir();
        if (is_folder && holds_parts(&path)?) || path.extension() == Some(OsStr::new("parquet")) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn check_run_id(run_id: &str) -> Result<(), DatasetError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if run_id.is_empty() || run_id.len() > MAX_RUN_ID_LENGTH || !run_id.bytes().all(fits) {
        return Err(DatasetError::RunId { run_id: run_id.to_owned() });
    }
    Ok(())
}

/// Moves a directory to `place`. What was there is then at `from` or at `backup`.
fn swap(from: &Path, place: &Path, backup: &Path) -> Result<(), DatasetError> {
    if !exists(place)? {
        return rename(from, place);
    }
    match rustix::fs::renameat_with(CWD, from, CWD, place, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(()),
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => swap_in_two(from, place, backup),
        Err(Errno::XDEV) => remove_and_rename(from, place),
        Err(errno) => Err(DatasetError::io("replace", place)(errno.into())),
    }
}

/// For file systems that cannot swap in one step. Between the two renames the old table is in the staging folder; after
/// a crash [`Stage::begin`] moves it back.
fn swap_in_two(from: &Path, place: &Path, backup: &Path) -> Result<(), DatasetError> {
    rename(place, backup)?;
    rename(from, place)
}

/// For a table that cannot be moved: on overlayfs, a directory of a lower layer, such as one that is part of a
/// container image. `_SUCCESS` is removed already, and a run that does not find the table publishes it again.
fn remove_and_rename(from: &Path, place: &Path) -> Result<(), DatasetError> {
    remove_tree(place)?;
    rename(from, place)
}

/// Syncs all folders of a staged table, and checks that each file is a finished part.
fn sync_tree(folder: &Path) -> Result<(), DatasetError> {
    for entry in entries(folder)? {
        let path = entry.path();
        if path.is_dir() {
            sync_tree(&path)?;
        } else if path.extension() != Some(OsStr::new("parquet")) {
            return Err(DatasetError::Unfinished { path });
        }
    }
    sync_folder(folder, DatasetError::io)
}

#[cfg(test)]
mod tests;
