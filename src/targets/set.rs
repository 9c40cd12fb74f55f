//! Targets numbered in order of first appearance, in some thirty bytes each including the name.

use std::hash::{BuildHasher, RandomState};

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

/// A set of numbered targets: a hash table of numbers with linear probing, at most half full, beside the names.
#[derive(Clone, Debug, Default)]
pub struct TargetSet {
    names: Names,
    slots: Vec<u32>,
    hasher: RandomState,
}

/// An empty slot.
const FREE: u32 = u32::MAX;
/// The initial number of slots; a power of two, like all later sizes.
const SMALLEST: usize = 64;

impl TargetSet {
    /// The number of a target, if it is in the set.
    pub fn number(&self, target: TargetRef<'_>) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        Some(self.slots[self.slot_of(target)]).filter(|number| *number != FREE)
    }

    /// Adds a target and returns its number and whether it is new.
    ///
    /// # Panics
    ///
    /// If all names together have four gigabytes.
    pub fn insert(&mut self, target: TargetRef<'_>) -> (u32, bool) {
        if (self.names.len() + 1) * 2 > self.slots.len() {
            self.grow();
        }
        let slot = self.slot_of(target);
        if self.slots[slot] != FREE {
            return (self.slots[slot], false);
        }
        self.names.push(target);
        let number = narrow(self.names.len() - 1);
        self.slots[slot] = number;
        (number, true)
    }

    pub fn get(&self, number: u32) -> TargetRef<'_> {
        self.names.get(number)
    }

    /// All targets in order of their numbers.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = TargetRef<'_>> {
        self.names.iter()
    }

    pub(super) fn into_names(self) -> Names {
        self.names
    }

    pub(super) fn text_length(&self) -> usize {
        self.names.text_length()
    }

    fn grow(&mut self) {
        let length = (self.slots.len() * 2).max(SMALLEST);
        // The old table is freed first: both at once would be the peak of memory.
        self.slots = Vec::new();
        self.slots = vec![FREE; length];
        for number in 0..self.names.len() {
            let number = narrow(number);
            let slot = self.slot_of(self.names.get(number));
            self.slots[slot] = number;
        }
    }

    /// The slot of a target, or the free one where it belongs. Terminates, since half of the slots are free.
    fn slot_of(&self, target: TargetRef<'_>) -> usize {
        let mask = self.slots.len() - 1;
        #[expect(clippy::cast_possible_truncation, reason = "the mask keeps only the low bits")]
        let mut slot = self.hasher.hash_one(target) as usize & mask;
        while self.slots[slot] != FREE && self.names.get(self.slots[slot]) != target {
            slot = (slot + 1) & mask;
        }
        slot
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
        assert!(set.into_names().iter().map(TargetRef::as_str).eq(expected()));
    }
}
