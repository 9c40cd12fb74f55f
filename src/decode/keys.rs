//! The keys of an item and of its `info`, what each holds, and which one to expect next.
//!
//! The guess is only ever compared with what stands there: a wrong one costs time and changes nothing.

use super::scan::{Scan, Scanner};
use super::{columns::SPAM_SCORE, schema};

/// What a key of an item, or of its `info`, holds.
#[derive(Clone, Copy)]
pub(super) enum Slot {
    Type,
    Date,
    Info,
    Integer(usize),
    Map(usize),
    /// Another name of the key at this place.
    Alias(usize),
    Text(usize),
    IsIp,
    PlatformType,
}

/// The keys of an object, and which followed which the last time.
pub(super) struct Keys {
    pub(super) known: Vec<(&'static str, Slot)>,
    /// For each key, and at the end for the object's beginning.
    follower: Vec<usize>,
}

impl Keys {
    fn new(known: Vec<(&'static str, Slot)>) -> Self {
        let follower = (1..=known.len()).chain([0]).collect();
        Self { known, follower }
    }

    fn find(&self, name: &[u8]) -> Option<usize> {
        self.known.iter().position(|(known, _)| known.as_bytes() == name)
    }

    /// Takes the key that comes next; `None` for an unknown one, whose name is then in `scratch`.
    #[inline]
    pub(super) fn take(
        &mut self,
        scanner: &mut Scanner<'_>,
        before: usize,
        scratch: &mut Vec<u8>,
    ) -> Scan<Option<usize>> {
        let guess = self.follower[before];
        if let Some((name, _)) = self.known.get(guess)
            && scanner.take_quoted(name)
        {
            return Ok(Some(guess));
        }
        scratch.clear();
        scanner.string(scratch)?;
        let found = self.find(scratch);
        if let Some(index) = found {
            self.follower[before] = index;
        }
        Ok(found)
    }
}

/// What is kept from answer to answer, for speed alone: no row depends on it.
pub(super) struct KeyPredictor {
    pub(super) item: Keys,
    pub(super) info: Keys,
    /// For one short text at a time.
    pub(super) scratch: Vec<u8>,
}

impl Default for KeyPredictor {
    fn default() -> Self {
        let integers = schema::INTEGERS.iter().enumerate().map(|(index, name)| (*name, Slot::Integer(index)));
        let maps = schema::MAPS.iter().enumerate().map(|(index, name)| (*name, Slot::Map(index)));
        let mut item = vec![(schema::TYPE, Slot::Type), (schema::DATE, Slot::Date), ("info", Slot::Info)];
        item.extend(integers.chain(maps));
        for (alias, right) in schema::ALIASES {
            let place = item.iter().position(|(name, _)| *name == right).unwrap_or_default();
            item.push((alias, Slot::Alias(place)));
        }
        let texts = schema::INFO_TEXTS.iter().enumerate().map(|(index, name)| (*name, Slot::Text(index + 1)));
        let mut info: Vec<(&str, Slot)> = texts.collect();
        info.extend([("is_ip", Slot::IsIp), ("platform_type", Slot::PlatformType)]);
        info.push(("target_spam_score", Slot::Integer(SPAM_SCORE)));
        Self { item: Keys::new(item), info: Keys::new(info), scratch: Vec::new() }
    }
}
