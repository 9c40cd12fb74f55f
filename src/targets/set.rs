//! Targets numbered in order of first appearance, in some thirty bytes each including the name.

use std::hash::{BuildHasher, RandomState};

use hashbrown::{HashTable, hash_table::Entry};

use super::TargetRef;

/// The names of targets in one string.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    text: String,
    ends: Vec<u32>,
}

impl Names {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn get(&self, number: u32) -> TargetRef<'_> {
        let number = number as usize;
        let start = if number == 0 { 0 } else { self.ends[number - 1] as usize };
        TargetRef(&self.text[start..self.ends[number] as usize])
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = TargetRef<'_>> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let end = *end as usize;
            TargetRef(&self.text[std::mem::replace(&mut start, end)..end])
        })
    }

    pub(super) fn text_length(&self) -> usize {
        self.text.len()
    }

    fn push(&mut self, target: TargetRef<'_>) {
        self.text.push_str(target.as_str());
        self.ends.push(narrow(self.text.len()));
    }
}

fn narrow(number: usize) -> u32 {
    u32::try_from(number).expect("all names together have less than four gigabytes")
}

/// A set of numbered targets: a hash table of their numbers, beside the names.
#[derive(Clone, Debug, Default)]
pub struct TargetSet {
    pub(super) names: Names,
    numbers: HashTable<u32>,
    hasher: RandomState,
}

impl TargetSet {
    /// The number of a target, if it is in the set.
    pub fn number(&self, target: TargetRef<'_>) -> Option<u32> {
        self.numbers.find(self.hasher.hash_one(target), |number| self.names.get(*number) == target).copied()
    }

    /// Adds a target and returns its number and whether it is new.
    ///
    /// # Panics
    ///
    /// If all names together have four gigabytes.
    pub fn insert(&mut self, target: TargetRef<'_>) -> (u32, bool) {
        let Self { names, numbers, hasher } = self;
        let hash = |number: &u32| hasher.hash_one(names.get(*number));
        match numbers.entry(hasher.hash_one(target), |number| names.get(*number) == target, hash) {
            Entry::Occupied(known) => (*known.get(), false),
            Entry::Vacant(free) => {
                let number = narrow(names.len());
                free.insert(number);
                names.push(target);
                (number, true)
            }
        }
    }

    pub fn get(&self, number: u32) -> TargetRef<'_> {
        self.names.get(number)
    }

    /// All targets in order of their numbers.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = TargetRef<'_>> {
        self.names.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::{Accept, Target, clean};

    #[test]
    fn a_set_grows_without_losing_any_and_numbers_stay() {
        let targets: Vec<Target> = (0..=5_000)
            .map(|number| {
                clean(&format!("{}site{number}.com", "a".repeat(number % 40)), Accept::DOMAINS)
                    .expect("a domain")
                    .target
            })
            .collect();
        let target = |number: u32| targets[number as usize].view();
        let mut set = TargetSet::default();
        assert_eq!(set.number(target(0)), None);
        for number in 0..5_000 {
            assert_eq!(set.insert(target(number)), (number, true));
            assert_eq!(set.number(target(number + 1)), None);
        }
        for number in 0..5_000 {
            assert_eq!(set.insert(target(number)), (number, false));
            assert_eq!(set.number(target(number)), Some(number));
            assert_eq!(set.get(number), target(number));
        }
        let expected = || targets[..5_000].iter().map(Target::as_str);
        assert!(set.iter().map(TargetRef::as_str).eq(expected()));
        assert!(set.names.iter().map(TargetRef::as_str).eq(expected()));
    }
}
