//! Whether a run's directory contains anything else in a table's path, which publishing would delete.

use std::{fs, path::Path};

use super::{DEEPEST, DatasetError, LOST_AND_FOUND, STAGING, TABLES, UNFINISHED, files::entries};

/// Checks that the paths of tables contain nothing but an export's tables. Also called before the first paid call, so
/// that a run does not fail at its end.
pub fn inspect(dir: &Path) -> Result<(), DatasetError> {
    for table in TABLES {
        inspect_tree(&dir.join(table), DEEPEST)?;
    }
    let staging = dir.join(STAGING);
    for entry in entries(&staging)? {
        let name = entry.file_name();
        if TABLES.into_iter().any(|table| name == *table || name == *backup_name(table)) {
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

/// Accepts the names that an export creates, hidden files that desktops leave behind, and an empty `lost+found`.
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

/// The name of an old table in the staging folder where directories cannot be swapped in one step.
pub(super) fn backup_name(table: &str) -> String {
    format!("{table}.old")
}
