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
//! - the old table stays as it is for [`LISTING_TIME`] after the exchange;
//! - folders that only the new table has are created in the old one, empty, for as long before the exchange.
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
    DEEPEST, DatasetError, HistoryWriter, LOST_AND_FOUND, Options, Part, STAGING, TABLES, TARGETS, TargetsWriter,
    UNDATED, UNFINISHED,
    files::{entries, exists, remove_tree, rename, sync_folder},
    part, sidecar_files,
};

/// The longest run id: a file name has 255 bytes.
const LONGEST_RUN_ID: usize = 100;
/// How long a reader may take to list a folder, including the time in which it does not run: a container that has used
/// up its share of the processors is stopped for up to 100 ms.
const LISTING_TIME: Duration = Duration::from_millis(250);

/// Checks that the paths of tables contain nothing but an export's tables. Called before the first paid call too, so
/// that a run does not fail at its end.
pub fn inspect(dir: &Path) -> Result<(), DatasetError> {
    for table in TABLES {
        inspect_tree(&dir.join(table), DEEPEST)?;
    }
    let staging = dir.join(STAGING);
    for entry in entries(&staging)? {
        let name = entry.file_name();
        if TABLES.into_iter().any(|table| name == *table || name == *set_aside(table)) {
            inspect_tree(&entry.path(), DEEPEST)?;
        } else if !is_hidden_file(&entry)? {
            return Err(DatasetError::Foreign { path: entry.path() });
        }
    }
    Ok(())
}

fn is_hidden_file(entry: &fs::DirEntry) -> Result<bool, DatasetError> {
    let kind = entry.file_type().map_err(DatasetError::io("read", &entry.path()))?;
    Ok(kind.is_file() && entry.file_name().as_encoded_bytes().starts_with(b"."))
}

/// Accepts the names that an export creates, hidden files as desktops leave them, and an empty `lost+found`.
fn inspect_tree(folder: &Path, levels: usize) -> Result<(), DatasetError> {
    for entry in entries(folder)? {
        let path = entry.path();
        let kind = entry.file_type().map_err(DatasetError::io("read", &path))?;
        let name = entry.file_name();
        let name = name.to_str().unwrap_or_default();
        let is_part = name.starts_with("part-") && (name.ends_with(".parquet") || name.ends_with(UNFINISHED));
        let is_known = if kind.is_dir() { levels > 0 && name.contains('=') } else { is_part || name.starts_with('.') };
        match kind {
            kind if kind.is_symlink() => return Err(DatasetError::Symlink { path }),
            kind if kind.is_dir() && name == LOST_AND_FOUND && entries(&path)?.is_empty() => {}
            kind if is_known && kind.is_dir() => inspect_tree(&path, levels - 1)?,
            kind if is_known && kind.is_file() => {}
            _ => return Err(DatasetError::Foreign { path }),
        }
    }
    Ok(())
}

/// Where tables are written until they are published. The ledger's lock ensures that a directory has one at a time.
///
/// Removes what was written to it if it is dropped before it is published.
#[derive(Debug)]
pub struct Stage {
    dir: PathBuf,
    staging: PathBuf,
    /// Whether tables have started to move: from then on the staging folder may have the only copy of an old one.
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
            let (aside, place) = (staging.join(set_aside(table)), dir.join(table));
            if exists(&aside)? && !exists(&place)? {
                rename(&aside, &place)?;
                sync_folder(dir)?;
            }
        }
        if holds_parts(&staging)? {
            // The interrupted publication may have been a moment ago.
            let_readers_finish_listing();
        }
        remove_tree(&staging)?;
        fs::create_dir_all(&staging).map_err(DatasetError::io("make", &staging))?;
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

    /// Publishes all tables that have parts, and removes `_SUCCESS`. The caller writes the side files and a new
    /// `_SUCCESS` next.
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
        sync_folder(&self.dir)
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
                    fs::create_dir_all(&folder).map_err(DatasetError::io("make", &folder))?;
                    are_new = true;
                }
            }
        }
        Ok(are_new)
    }

    /// Removes a table that has no rows any more, in one step for its readers.
    fn set_table_aside(&self, table: &str) -> Result<(), DatasetError> {
        let (place, aside) = (self.dir.join(table), self.staging.join(set_aside(table)));
        if exists(&place)? {
            rename(&place, &aside)?;
            sync_folder(&self.dir)?;
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
        sync_folder(&self.staging)?;
        swap(&staged, &self.dir.join(table), &self.staging.join(set_aside(table)))?;
        sync_folder(&self.dir)?;
        sync_folder(&self.staging)
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
    if run_id.is_empty() || run_id.len() > LONGEST_RUN_ID || !run_id.bytes().all(fits) {
        return Err(DatasetError::RunId { run_id: run_id.to_owned() });
    }
    Ok(())
}

/// The name of an old table in the staging folder where directories cannot be exchanged.
fn set_aside(table: &str) -> String {
    format!("{table}.old")
}

/// Moves a directory to `place`. What was there is then at `from` or at `aside`.
fn swap(from: &Path, place: &Path, aside: &Path) -> Result<(), DatasetError> {
    if !exists(place)? {
        return rename(from, place);
    }
    match rustix::fs::renameat_with(CWD, from, CWD, place, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(()),
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => swap_in_two(from, place, aside),
        Err(Errno::XDEV) => remove_and_rename(from, place),
        Err(errno) => Err(DatasetError::io("replace", place)(errno.into())),
    }
}

/// For file systems that cannot exchange. Between the two renames the old table is in the staging folder; after a crash
/// [`Stage::begin`] moves it back.
fn swap_in_two(from: &Path, place: &Path, aside: &Path) -> Result<(), DatasetError> {
    rename(place, aside)?;
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
    sync_folder(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::HISTORY;

    fn folder_with(path: &Path, word: &str) {
        fs::create_dir_all(path).unwrap();
        fs::write(path.join("part-a-0.parquet"), word).unwrap();
    }

    fn word_in(path: &Path) -> Option<String> {
        fs::read_to_string(path.join("part-a-0.parquet")).ok()
    }

    #[test]
    fn a_table_is_replaced_whole_with_and_without_exchange() {
        type Way = fn(&Path, &Path, &Path) -> Result<(), DatasetError>;
        let check = |way: Way, stands: bool| {
            let dir = tempfile::tempdir().unwrap();
            let [from, place, aside] = ["staged", "place", "aside"].map(|name| dir.path().join(name));
            folder_with(&from, "new");
            if stands {
                folder_with(&place, "old");
            }
            way(&from, &place, &aside).unwrap();
            assert_eq!(word_in(&place).as_deref(), Some("new"));
            let left = word_in(&from).or(word_in(&aside));
            assert_eq!(left.as_deref(), stands.then_some("old"));
        };
        check(swap, false);
        check(swap, true);
        check(swap_in_two, true);
    }

    #[test]
    fn a_table_that_cannot_be_moved_is_removed_and_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let [from, place] = ["staged", "place"].map(|name| dir.path().join(name));
        folder_with(&from, "new");
        folder_with(&place, "old");
        remove_and_rename(&from, &place).unwrap();
        assert_eq!(word_in(&place).as_deref(), Some("new"));
        assert!(!from.exists());
    }

    #[test]
    fn a_stage_that_is_dropped_leaves_the_published_tables_alone() {
        let dir = tempfile::tempdir().unwrap();
        folder_with(&dir.path().join(HISTORY), "published");
        let staging = dir.path().join(STAGING);
        let stage = Stage::begin(dir.path()).unwrap();
        folder_with(&staging.join(HISTORY).join("year=2024"), "staged");
        drop(stage);
        assert!(!staging.exists());
        assert_eq!(word_in(&dir.path().join(HISTORY)).as_deref(), Some("published"));
    }

    /// Files and empty folders.
    fn names_below(folder: &Path) -> Vec<String> {
        let mut names = Vec::new();
        for entry in entries(folder).unwrap() {
            let name = entry.file_name().into_string().unwrap();
            let below = if entry.path().is_dir() { names_below(&entry.path()) } else { Vec::new() };
            if below.is_empty() {
                names.push(name);
            } else {
                names.extend(below.iter().map(|it| format!("{name}/{it}")));
            }
        }
        names.sort();
        names
    }

    /// Publishes a table of these partitions over one of those; what is in place and what in the staging folder at each
    /// wait for readers.
    fn waits(old: &[&str], new: &[&str]) -> Vec<(Vec<String>, Vec<String>)> {
        let dir = tempfile::tempdir().unwrap();
        let (place, staging) = (dir.path().join(HISTORY), dir.path().join(STAGING));
        for folder in old {
            fs::create_dir_all(place.join(folder)).unwrap();
            fs::write(place.join(folder).join("part-a-1.parquet"), "").unwrap();
        }
        let stage = Stage::begin(dir.path()).unwrap();
        let parts: Vec<Part> = new.iter().map(|folder| part_in(&staging, folder)).collect();
        let seen = std::cell::RefCell::new(Vec::new());
        let look = || seen.borrow_mut().push((names_below(&place), names_below(&staging.join(HISTORY))));
        stage.publish_beside_readers(&parts, look).unwrap();
        assert_eq!(
            names_below(&place),
            new.iter().map(|folder| format!("{folder}/part-b-1.parquet")).collect::<Vec<_>>()
        );
        assert!(!staging.exists());
        seen.into_inner()
    }

    fn part_in(staging: &Path, folder: &str) -> Part {
        let path = Path::new(HISTORY).join(folder).join("part-b-1.parquet");
        fs::create_dir_all(staging.join(&path).parent().unwrap()).unwrap();
        fs::write(part::unfinished(&staging.join(&path)), "").unwrap();
        Part { path, rows: 0, bytes: 0, sha256: String::new() }
    }

    #[test]
    fn a_reader_that_lists_folders_meanwhile_finds_every_partition_of_either_table() {
        let texts = |names: &[&str]| -> Vec<String> { names.iter().map(|name| (*name).to_owned()).collect() };
        let check = |old: &[&str], new: &[&str], expected: &[(&[&str], &[&str])]| {
            let expected: Vec<_> = expected.iter().map(|(place, staged)| (texts(place), texts(staged))).collect();
            assert_eq!(waits(old, new), expected, "{old:?} to {new:?}");
        };
        let old = ["year=2025/part-a-1.parquet", "year=2026/part-a-1.parquet"];
        let new = ["year=2025/part-b-1.parquet", "year=2026/part-b-1.parquet"];
        // The old table is whole after the new one is in its place.
        check(&["year=2025", "year=2026"], &["year=2025", "year=2026"], &[(&new, &old)]);
        check(&["year=2025", "year=2026"], &["year=2025"], &[(&new[..1], &old)]);
        // A new partition has a folder before the new table is in its place.
        check(
            &["year=2025"],
            &["year=2025", "year=2026"],
            &[
                (&[old[0], "year=2026"], &["year=2025/part-b-1.unfinished", "year=2026/part-b-1.unfinished"]),
                (&new, &[old[0], "year=2026"]),
            ],
        );
        check(&[], &["year=2025"], &[]);
    }

    #[test]
    fn a_crash_while_readers_may_list_leaves_only_what_the_next_stage_removes() {
        let dir = tempfile::tempdir().unwrap();
        let (place, staging) = (dir.path().join(HISTORY), dir.path().join(STAGING));
        folder_with(&place.join("year=2025"), "old");
        let parts = ["year=2025", "year=2026"].map(|folder| part_in(&staging, folder));
        for _before_and_after_the_exchange in 0..2 {
            // As a killed one, it removes nothing.
            let stage = Stage { dir: dir.path().to_owned(), staging: staging.clone(), is_publishing: true };
            let publish = std::panic::AssertUnwindSafe(|| stage.publish_beside_readers(&parts, || panic!("killed")));
            std::panic::catch_unwind(publish).unwrap_err();
        }
        assert!(holds_parts(&staging).unwrap(), "the old table");
        drop(Stage::begin(dir.path()).unwrap());
        assert!(!staging.exists());
        assert_eq!(names_below(&place), ["year=2025/part-b-1.parquet", "year=2026/part-b-1.parquet"]);
    }

    #[test]
    fn hidden_files_and_an_empty_lost_and_found_do_no_harm() {
        let dir = tempfile::tempdir().unwrap();
        for folder in [HISTORY, STAGING, "targets"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
            fs::write(dir.path().join(folder).join(".DS_Store"), "").unwrap();
        }
        let lost = dir.path().join(HISTORY).join(LOST_AND_FOUND);
        fs::create_dir(&lost).unwrap();
        Stage::begin(dir.path()).unwrap();
        fs::write(lost.join("#12"), "recovered").unwrap();
        let error = Stage::begin(dir.path()).map(|_| ()).unwrap_err();
        assert!(matches!(error, DatasetError::Foreign { .. }), "{error}");
    }

    #[test]
    fn a_table_that_a_crash_left_aside_is_put_back() {
        let dir = tempfile::tempdir().unwrap();
        let aside = dir.path().join(STAGING).join(set_aside(HISTORY));
        folder_with(&aside, "old");
        Stage::begin(dir.path()).unwrap();
        assert_eq!(word_in(&dir.path().join(HISTORY)).as_deref(), Some("old"));
        assert!(!aside.exists());
    }

    #[test]
    fn leftovers_of_a_crash_are_removed_and_tables_stay() {
        let dir = tempfile::tempdir().unwrap();
        folder_with(&dir.path().join(HISTORY), "published");
        folder_with(&dir.path().join(STAGING).join(HISTORY).join("year=2024"), "finished");
        fs::write(dir.path().join(STAGING).join(HISTORY).join("part-a-1.unfinished"), "").unwrap();
        let stage = Stage::begin(dir.path()).unwrap();
        assert_eq!(word_in(&dir.path().join(HISTORY)).as_deref(), Some("published"));
        assert_eq!(fs::read_dir(dir.path().join(STAGING)).unwrap().count(), 0);
        drop(stage);
        assert!(!dir.path().join(STAGING).exists());
    }

    #[test]
    fn places_that_hold_anything_else_are_refused_and_left_alone() {
        let check = |make: &dyn Fn(&Path), expected: &str| {
            let dir = tempfile::tempdir().unwrap();
            make(dir.path());
            let error = Stage::begin(dir.path()).map(|_| ()).unwrap_err().to_string();
            let error = error.replace(&format!("{}/", dir.path().display()), "");
            assert!(error.starts_with(expected), "{error}");
        };
        let link = |from: &'static str| {
            move |dir: &Path| {
                fs::create_dir_all(dir.join("elsewhere")).unwrap();
                fs::create_dir_all(dir.join(from).parent().unwrap()).unwrap();
                std::os::unix::fs::symlink(dir.join("elsewhere"), dir.join(from)).unwrap();
            }
        };
        let file = |name: &'static str| {
            move |dir: &Path| {
                fs::create_dir_all(dir.join(name).parent().unwrap()).unwrap();
                fs::write(dir.join(name), "mine").unwrap();
            }
        };
        check(&link("backlinks_history"), "backlinks_history is a symbolic link");
        check(&link("_staging"), "_staging is a symbolic link");
        check(&link("_staging/targets"), "_staging/targets is a symbolic link");
        check(&link("targets/year=2024"), "targets/year=2024 is a symbolic link");
        check(&file("targets/domains.txt"), "targets/domains.txt is not part of an export");
        check(&file("targets/old/part-0.parquet"), "targets/old is not part of an export");
        check(&file("_staging/notes"), "_staging/notes is not part of an export");
        check(&file("backlinks_history"), "backlinks_history is not part of an export");
    }

    #[test]
    fn run_ids_that_make_no_file_name_are_refused() {
        let check = |run_id: &str, fits: bool| assert_eq!(check_run_id(run_id).is_ok(), fits, "{run_id:?}");
        check("20261124T214700Z-3f", true);
        check("", false);
        check("a/b", false);
        check("a b", false);
        check(&"a".repeat(101), false);
    }
}
