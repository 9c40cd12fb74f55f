//! What was found to differ: as many of the first, by file, as a person reads, and how many more there are.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;

/// Differences that are told.
pub const MOST_DIFFERENCES: usize = 100;
/// Bytes of foreign text in one of them.
const LONGEST: usize = 300;

/// Something that does not agree with something else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Difference {
    /// The file, relative to the directory that was looked at, or absolute where it lies elsewhere.
    pub file: String,
    /// What is the matter with it.
    pub what: String,
}

/// Gathers differences from several threads; which are kept does not depend on the threads.
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
        if what.len() > LONGEST {
            what.truncate(what.floor_char_boundary(LONGEST));
            what.push('…');
        }
        let mut gathered = self.gathered();
        gathered.count += 1;
        gathered.first.insert(Difference { file: file.into(), what });
        if gathered.first.len() > MOST_DIFFERENCES {
            gathered.first.pop_last();
        }
    }

    /// Says that two values of the same thing are not the same, if they are not.
    pub(super) fn expect<T: PartialEq + std::fmt::Debug>(&self, file: &str, name: &str, found: &T, expected: &T) {
        if found != expected {
            self.add(file, format!("{name} is {found:?}, should be {expected:?}"));
        }
    }

    /// Something that a person should know and that is no difference.
    pub(super) fn note(&self, note: impl Into<String>) {
        self.gathered().notes.push(note.into());
    }

    pub(super) fn finish(self) -> Gathered {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        assert_eq!((gathered.first.len(), gathered.count), (MOST_DIFFERENCES, 250));
        assert!(gathered.first.last().expect("some").what.starts_with("099"));
    }
}
