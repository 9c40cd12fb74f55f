//! Publication next to readers, after crashes, and over files that are not part of an export.

use super::*;
use crate::dataset::{HISTORY, LOST_AND_FOUND};

fn folder_with(path: &Path, word: &str) {
    fs::create_dir_all(path).unwrap();
    fs::write(path.join("part-a-0.parquet"), word).unwrap();
}

fn word_in(path: &Path) -> Option<String> {
    fs::read_to_string(path.join("part-a-0.parquet")).ok()
}

#[test]
fn a_table_is_replaced_as_a_whole_with_and_without_an_atomic_swap() {
    type Way = fn(&Path, &Path, &Path) -> Result<(), DatasetError>;
    let check = |way: Way, is_kept: bool| {
        let dir = tempfile::tempdir().unwrap();
        let [from, place, backup] = ["staged", "place", "aside"].map(|name| dir.path().join(name));
        folder_with(&from, "new");
        if is_kept {
            folder_with(&place, "old");
        }
        way(&from, &place, &backup).unwrap();
        assert_eq!(word_in(&place).as_deref(), Some("new"));
        let left = word_in(&from).or(word_in(&backup));
        assert_eq!(left.as_deref(), is_kept.then_some("old"));
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
fn a_dropped_stage_does_not_change_the_published_tables() {
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

/// Publishes a table with the partitions `new` over one with the partitions `old`. Returns what the table's path and
/// the staging folder contain at each wait for readers.
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
    assert_eq!(names_below(&place), new.iter().map(|folder| format!("{folder}/part-b-1.parquet")).collect::<Vec<_>>());
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
fn a_reader_that_lists_folders_during_publication_finds_every_partition() {
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
fn the_next_stage_removes_what_a_crash_during_publication_leaves() {
    let dir = tempfile::tempdir().unwrap();
    let (place, staging) = (dir.path().join(HISTORY), dir.path().join(STAGING));
    folder_with(&place.join("year=2025"), "old");
    let parts = ["year=2025", "year=2026"].map(|folder| part_in(&staging, folder));
    for _before_and_after_the_swap in 0..2 {
        // Like a killed process, it removes nothing.
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
fn hidden_files_and_an_empty_lost_and_found_are_accepted() {
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
fn a_table_that_a_crash_left_aside_is_restored() {
    let dir = tempfile::tempdir().unwrap();
    let backup = dir.path().join(STAGING).join(backup_name(HISTORY));
    folder_with(&backup, "old");
    Stage::begin(dir.path()).unwrap();
    assert_eq!(word_in(&dir.path().join(HISTORY)).as_deref(), Some("old"));
    assert!(!backup.exists());
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
fn table_paths_with_other_content_are_refused_and_not_changed() {
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
fn run_ids_that_are_not_valid_in_file_names_are_refused() {
    let check = |run_id: &str, fits: bool| assert_eq!(check_run_id(run_id).is_ok(), fits, "{run_id:?}");
    check("20261124T214700Z-3f", true);
    check("", false);
    check("a/b", false);
    check("a b", false);
    check(&"a".repeat(101), false);
}
