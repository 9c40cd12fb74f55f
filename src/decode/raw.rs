//! Pieces of JSON text for the plain way: cut out, told apart by their first byte, looked into one level at a time.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

pub(super) fn first_byte(raw: &RawValue) -> u8 {
    raw.get().as_bytes().first().copied().unwrap_or_default()
}

pub(super) fn is(raw: &RawValue, first: u8) -> bool {
    first_byte(raw) == first
}

pub(super) fn object(raw: &RawValue) -> Result<Object<'_>, serde_json::Error> {
    serde_json::from_str(raw.get())
}

/// The entries of an object as they stand there.
pub(super) struct Object<'a> {
    pub(super) entries: Vec<(String, &'a RawValue)>,
    pub(super) has_broken_key: bool,
}

impl<'a> Object<'a> {
    /// The value of a key; of several the last.
    pub(super) fn last(&self, name: &str) -> Option<&'a RawValue> {
        self.entries.iter().rfind(|(key, _)| key == name).map(|(_, raw)| *raw)
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Object<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut object = Object { entries: Vec::new(), has_broken_key: false };
                while let Some((key, raw)) = map.next_entry::<Text, &RawValue>()? {
                    object.entries.push((key.text, raw));
                    object.has_broken_key |= key.is_broken;
                }
                Ok(object)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// A string, with U+FFFD for each half of a surrogate pair that stands alone.
pub(super) struct Text {
    pub(super) text: String,
    pub(super) is_broken: bool,
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Text;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Text, E> {
                let mut text = String::with_capacity(bytes.len());
                let mut is_broken = false;
                for chunk in bytes.utf8_chunks() {
                    text.push_str(chunk.valid());
                    // Half a pair arrives as three bytes, each of them invalid, of which this is the first
                    if chunk.invalid().first() == Some(&0xed) {
                        text.push(char::REPLACEMENT_CHARACTER);
                        is_broken = true;
                    }
                }
                Ok(Text { text, is_broken })
            }
        }
        // As bytes, since serde_json has no error for surrogates there
        deserializer.deserialize_bytes(Bytes)
    }
}
