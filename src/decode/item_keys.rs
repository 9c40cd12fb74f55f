//! The keys of an item and of its `info`, and the type of their values.
//!
//! Items repeat their keys in the same order, so each key is first compared with the one that followed last time, and
//! only looked up if they differ. The prediction is only compared with the text: a wrong one costs time and changes
//! nothing.

use super::{
    scan::{Scan, Scanner},
    schema,
};

/// The type of a key's value.
#[derive(Clone, Copy)]
pub(super) enum KeyKind {
    Date,
    Info,
    Integer(usize),
    Map(usize),
    /// An alias of a known key: its index among the aliases, and the index of the key.
    Alias(usize, usize),
    Text(usize),
    IsIp,
    PlatformType,
}

#[derive(Clone, Copy)]
pub(super) struct Key {
    /// The name in the API's JSON.
    pub(super) name: &'static str,
    /// The column name, for messages.
    pub(super) column: &'static str,
    pub(super) kind: KeyKind,
}

/// The keys of an object, and which one followed each of them last time.
pub(super) struct Keys {
    /// The object's name in messages.
    pub(super) object: &'static str,
    /// The prefix of its unknown keys in messages.
    pub(super) prefix: &'static str,
    pub(super) known: Vec<Key>,
    /// For each key, and in the last element for the beginning of the object.
    follower: Vec<usize>,
}

/// The keys of an item: those not listed in `schema.rs` are the type, the date and `info`.
pub(super) const ITEM_KEYS: usize = 3 + schema::INTEGERS.len() + schema::MAPS.len() + schema::ALIASES.len();
/// Each key is a bit of a word. `info` has fewer keys: those not listed in `schema.rs` are a flag and a list.
const _: () = assert!(ITEM_KEYS <= 64 && schema::INFO_TEXTS.len() + schema::INFO_INTEGERS.len() + 2 <= ITEM_KEYS);

/// The keys of an item, and of its `info`.
pub(super) const ITEM: usize = 0;
pub(super) const INFO: usize = 1;

/// A key without a column; its name is in the scratch buffer.
pub(super) struct UnknownKey {
    /// Whether it has half a surrogate pair.
    pub(super) is_broken: bool,
}

impl Keys {
    fn new(object: &'static str, prefix: &'static str, known: Vec<Key>) -> Self {
        let follower = (1..=known.len()).chain([0]).collect();
        Self { object, prefix, known, follower }
    }

    pub(super) fn of_item() -> Self {
        let key = |(name, kind)| Key { name, column: name, kind };
        let integers = schema::INTEGERS.iter().enumerate().map(|(index, name)| (*name, KeyKind::Integer(index)));
        let maps = schema::MAPS.iter().enumerate().map(|(index, name)| (*name, KeyKind::Map(index)));
        let first = [(schema::TYPE, KeyKind::Text(0)), (schema::DATE, KeyKind::Date), ("info", KeyKind::Info)];
        let mut known: Vec<Key> = first.into_iter().chain(integers).chain(maps).map(key).collect();
        for (index, (alias, right)) in schema::ALIASES.into_iter().enumerate() {
            let place = known.iter().position(|key| key.name == right).expect("aliases are of known keys");
            known.push(key((alias, KeyKind::Alias(index, place))));
        }
        Self::new("items[]", "", known)
    }

    pub(super) fn of_info() -> Self {
        let key = |((name, column), kind)| Key { name, column, kind };
        // The first text is the item's type, and the first integers are the item's.
        let texts = schema::INFO_TEXTS.into_iter().zip((1..).map(KeyKind::Text));
        let integers = schema::INFO_INTEGERS.into_iter().zip((schema::INTEGERS.len()..).map(KeyKind::Integer));
        let others = [
            (("is_ip", schema::INFO_IS_IP), KeyKind::IsIp),
            (("platform_type", schema::INFO_PLATFORM_TYPE), KeyKind::PlatformType),
        ];
        Self::new("info", "info.", texts.chain(others).chain(integers).map(key).collect())
    }

    /// Reads the next key.
    #[inline]
    pub(super) fn take(
        &mut self,
        scanner: &mut Scanner<'_>,
        before: usize,
        scratch: &mut Vec<u8>,
    ) -> Scan<Result<usize, UnknownKey>> {
        let guess = self.follower[before];
        if let Some(key) = self.known.get(guess)
            && scanner.take_quoted(key.name)
        {
            return Ok(Ok(guess));
        }
        scratch.clear();
        let is_broken = scanner.string(scratch)?;
        let found = self.known.iter().position(|key| key.name.as_bytes() == scratch);
        if let Some(index) = found {
            self.follower[before] = index;
        }
        Ok(found.ok_or(UnknownKey { is_broken }))
    }
}
