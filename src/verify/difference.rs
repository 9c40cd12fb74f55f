//! The differences that were found: the first ones in file order, and the number of further ones.

use std::{collections::BTreeSet, io, path::Path};

use parking_lot::Mutex;
use serde::Serialize;
use serde_json::Value;

use crate::ledger;

/// Differences that are reported; the rest is counted.
pub const MAX_DIFFERENCES: usize = 100;
/// Maximum bytes of untrusted text in one of them.
const MAX_TEXT_BYTES: usize = 300;

/// Two things that do not agree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Difference {
    /// Relative to the directory that was checked, or absolute if it is elsewhere.
    pub file: String,
    pub what: String,
}

/// What to do about differences. No advice leads to buying stored answers again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Some files could not be read by this user.
    Permissions,
    /// The directory was written by a newer version, which can check it.
    Upgrade,
    /// There is nothing to check.
    OtherDirectory,
    /// No dataset was published yet.
    Publish,
    /// A ledger, from which everything else can be rebuilt, is damaged or missing.
    RestoreLedger,
    /// The ledger is valid, or there is none: the dataset can be rebuilt from it.
    Rebuild,
}

impl Gathered {
    /// What to do about them; `None`: no differences.
    pub(super) fn advice(&self) -> Option<Advice> {
        let any = |is: &dyn Fn(&Difference) -> bool| self.first.iter().any(is);
        if self.first.is_empty() {
            None
        } else if any(&|it| it.what.ends_with(NO_PERMISSION)) {
            Some(Advice::Permissions)
        } else if any(&|it| it.what == NEWER_VERSION) {
            Some(Advice::Upgrade)
        } else if any(&|it| it.what == NO_RUN) {
            Some(Advice::OtherDirectory)
        } else if any(&|it| Path::new(&it.file).components().any(|part| part.as_os_str() == ledger::FOLDER)) {
            Some(Advice::RestoreLedger)
        } else if any(&|it| it.what == UNPUBLISHED) {
            Some(Advice::Publish)
        } else {
            Some(Advice::Rebuild)
        }
    }
}

/// Collects differences from several threads; which ones are kept does not depend on the threads.
#[derive(Debug, Default)]
pub(super) struct Differences(Mutex<Gathered>);

#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) first: BTreeSet<Difference>,
    pub(super) count: u64,
    pub(super) notes: Vec<String>,
}

impl Differences {
    pub(super) fn add(&self, file: impl Into<String>, what: impl Into<String>) {
        let mut what = what.into();
        if what.len() > MAX_TEXT_BYTES {
            what.truncate(what.floor_char_boundary(MAX_TEXT_BYTES));
            what.push('…');
        }
        let mut gathered = self.0.lock();
        gathered.count += 1;
        gathered.first.insert(Difference { file: file.into(), what });
        if gathered.first.len() > MAX_DIFFERENCES {
            gathered.first.pop_last();
        }
    }

    /// Reports two values that should be equal, field by field.
    pub(super) fn expect<T: Serialize>(&self, file: &str, name: &str, found: &T, expected: &T) {
        let value = |of: &T| serde_json::to_value(of).expect("text and numbers always serialize");
        self.expect_value(file, name, &value(found), &value(expected));
    }

    fn expect_value(&self, file: &str, name: &str, found: &Value, expected: &Value) {
        match (found, expected) {
            (Value::Object(_), Value::Object(fields)) => {
                for (key, expected) in fields {
                    let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                    self.expect_value(file, &name, &found[key], expected);
                }
            }
            (Value::Array(ones), Value::Array(others)) if ones.len() == others.len() => {
                for (index, (found, expected)) in ones.iter().zip(others).enumerate() {
                    self.expect_value(file, &format!("{name}[{index}]"), found, expected);
                }
            }
            _ if found != expected => self.add(file, format!("{name} is {found}, expected {expected}")),
            _ => {}
        }
    }

    /// The result of a check of a file; `None`: it failed, and the reason is reported.
    pub(super) fn passed<T>(&self, file: &str, checked: Result<T, String>) -> Option<T> {
        checked.map_err(|what| self.add(file, what)).ok()
    }

    /// Reports something that is not a difference but worth knowing.
    pub(super) fn note(&self, note: impl Into<String>) {
        self.0.lock().notes.push(note.into());
    }

    pub(super) fn finish(self) -> Gathered {
        self.0.into_inner()
    }
}

const NO_PERMISSION: &str = "permission denied";
pub(super) const NEWER_VERSION: &str = "was made by a newer version of backlinks-export";
pub(super) const UNPUBLISHED: &str = "is missing: no dataset was published";
pub(super) const NO_RUN: &str = "is missing, and there is no ledger: this is not the directory of a run or replay";

/// The description of a file that cannot be read.
pub(super) fn read_error(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "is missing".to_owned(),
        io::ErrorKind::PermissionDenied => format!("cannot be read: {NO_PERMISSION}"),
        _ => format!("cannot be read: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_are_kept_and_all_are_counted() {
        let differences = Differences::default();
        for number in (0..250).rev() {
            differences.add("a", format!("{number:03}{}", "ü".repeat(400)));
        }
        let gathered = differences.finish();
        assert_eq!((gathered.first.len(), gathered.count), (MAX_DIFFERENCES, 250));
        assert!(gathered.first.last().expect("some").what.starts_with("099"));
    }
}
