//! Targets by number, in the order of their coming: some thirty bytes each, names included.

use std::hash::{BuildHasher, RandomState};

use super::TargetRef;

/// Targets in one string, by number: four bytes each, beside their text.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    text: String,
    ends: Vec<u32>,
}

impl Names {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn get(&self, number: u32) -> TargetRef<'_> {
        let number = number as usize;
        let start = if number == 0 { 0 } else { self.ends[number - 1] as usize };
        TargetRef(&self.text[start..self.ends[number] as usize])
    }

    /// All, in the order of their numbers.
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

/// Targets, each once, by number: a hash table of numbers with linear probing, at most half full, beside the names.
#[derive(Clone, Debug, Default)]
pub struct TargetSet {
    names: Names,
    slots: Vec<u32>,
    hasher: RandomState,
}

/// Marks a slot that holds no number.
const FREE: u32 = u32::MAX;
/// Slots at first; a power of two, as all later sizes are.
const SMALLEST: usize = 64;

impl TargetSet {
    /// The number of a target; `None`: it is not in the set.
    pub fn number(&self, target: TargetRef<'_>) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        Some(self.slots[self.slot_of(target)]).filter(|number| *number != FREE)
    }

    /// Adds a target; its number, and whether it is new.
    ///
    /// # Panics
    ///
    /// Once all names together have four gigabytes.
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

    /// The target with a number that the set gave.
    pub fn get(&self, number: u32) -> TargetRef<'_> {
        self.names.get(number)
    }

    /// All targets, in the order of their numbers.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = TargetRef<'_>> {
        self.names.iter()
    }

    /// The same, without what finds them.
    pub(super) fn into_names(self) -> Names {
        self.names
    }

    pub(super) fn text_length(&self) -> usize {
        self.names.text_length()
    }

    fn grow(&mut self) {
        let length = (self.slots.len() * 2).max(SMALLEST);
        // The old table goes first: both at once would be the most that the set ever takes.
        self.slots = Vec::new();
        self.slots = vec![FREE; length];
        for number in 0..self.names.len() {
            let number = narrow(number);
            let slot = self.slot_of(self.names.get(number));
            self.slots[slot] = number;
        }
    }

    /// The slot that holds a target, or the free one where it belongs. Ends, since half of the slots are free.
    fn slot_of(&self, target: TargetRef<'_>) -> usize {
        let mask = self.slots.len() - 1;
        #[expect(clippy::cast_possible_truncation, reason = "the mask keeps the low bits alone")]
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
