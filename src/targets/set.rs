//! A set of targets that numbers them in the order of their coming, in some forty bytes each.

use std::hash::{BuildHasher, RandomState};

use super::Target;

/// Targets, each once, by number: a hash table of numbers with linear probing, at most half full, beside the names.
#[derive(Clone, Debug, Default)]
pub struct TargetSet {
    targets: Vec<Target>,
    slots: Vec<u32>,
    hasher: RandomState,
}

/// Marks a slot that holds no number.
const FREE: u32 = u32::MAX;
/// Slots at first; a power of two, as all later sizes are.
const SMALLEST: usize = 64;

impl TargetSet {
    /// The number of a target; `None`: it is not in the set.
    pub fn number(&self, target: &Target) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        Some(self.slots[self.slot_of(target)]).filter(|number| *number != FREE)
    }

    /// Adds a target; its number, and whether it is new.
    ///
    /// # Panics
    ///
    /// Once there are 2³² - 1 of them, which no machine has the memory for.
    pub fn insert(&mut self, target: Target) -> (u32, bool) {
        if (self.targets.len() + 1) * 2 > self.slots.len() {
            self.grow();
        }
        let slot = self.slot_of(&target);
        if self.slots[slot] != FREE {
            return (self.slots[slot], false);
        }
        let number = u32::try_from(self.targets.len()).ok().filter(|number| *number != FREE);
        let number = number.expect("four billion targets take more than a hundred gigabytes");
        self.targets.push(target);
        self.slots[slot] = number;
        (number, true)
    }

    /// All targets, in the order of their numbers.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// The same, without what finds them.
    pub fn into_targets(self) -> Vec<Target> {
        self.targets
    }

    fn grow(&mut self) {
        let length = (self.slots.len() * 2).max(SMALLEST);
        // The old table goes first: both at once would be the most that the set ever takes.
        self.slots = Vec::new();
        self.slots = vec![FREE; length];
        for (number, target) in (0..).zip(&self.targets) {
            let slot = self.slot_of(target);
            self.slots[slot] = number;
        }
    }

    /// The slot that holds a target, or the free one where it belongs. Ends, since half of the slots are free.
    fn slot_of(&self, target: &Target) -> usize {
        let mask = self.slots.len() - 1;
        #[expect(clippy::cast_possible_truncation, reason = "the mask keeps the low bits alone")]
        let mut slot = self.hasher.hash_one(target) as usize & mask;
        while self.slots[slot] != FREE && self.targets[self.slots[slot] as usize] != *target {
            slot = (slot + 1) & mask;
        }
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::clean;

    #[test]
    fn a_set_grows_without_losing_any_and_numbers_stay() {
        let target = |number: u32| clean(&format!("site{number}.com"), false).expect("a domain").target;
        let mut set = TargetSet::default();
        assert_eq!(set.number(&target(0)), None);
        for number in 0..5_000 {
            assert_eq!(set.insert(target(number)), (number, true));
            assert_eq!(set.number(&target(number + 1)), None);
        }
        for number in 0..5_000 {
            assert_eq!(set.insert(target(number)), (number, false));
            assert_eq!(set.number(&target(number)), Some(number));
            assert_eq!(set.targets()[number as usize], target(number));
        }
        assert_eq!(set.into_targets().len(), 5_000);
    }
}
