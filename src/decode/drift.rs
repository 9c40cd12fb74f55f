//! Counts where answers differ from the schema: a run reports each difference once, with an example target.
//!
//! No difference makes an answer unusable. Counts and examples do not depend on the order of the answers (the
//! alphabetically first target is the example), so that reports of the same ledger agree. If there are more than
//! [`MAX_UNKNOWN_KEYS`] unknown keys, the order decides which of them are named.

use std::{collections::BTreeMap, fmt};

/// Number of unknown keys that are counted by name; further ones are counted together. The API has about thirty keys in
/// all.
pub const MAX_UNKNOWN_KEYS: usize = 100;

/// Maximum characters of an unknown key.
const MAX_KEY_LENGTH: usize = 80;

/// A way in which an answer differs from the schema.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DriftKind {
    /// A key without a column, as `key` or `info.key`.
    UnknownKey(String),
    /// An unknown key after [`MAX_UNKNOWN_KEYS`] others.
    FurtherUnknownKeys,
    /// A value of the wrong type: the cell is null and the row is kept; an item that is not an object has no row.
    WrongType {
        /// The column, or the path in the answer.
        place: &'static str,
        expected: &'static str,
        found: &'static str,
    },
    /// An integer written as a string in this column: read as an integer.
    IntegerInText(&'static str),
    /// Text that is not a date, or a date outside the years 1900 to 9999: null.
    UnusableDate,
    /// Half a surrogate pair in a text (or key) of this column, replaced by U+FFFD.
    BrokenText(&'static str),
    /// Bytes in the answer that are not UTF-8, replaced by U+FFFD.
    NotUtf8,
    /// Anything but white space before or after the answer: ignored.
    Surrounded,
    /// `NaN` or `Infinity`, read as null, or a comma after the last element, ignored.
    NotStrictJson,
    /// Results about other targets beside the one about the right target: ignored.
    OtherTargets,
    /// An item beyond [`MAX_ROWS`](super::MAX_ROWS): no row.
    TooManyItems,
}

impl fmt::Display for DriftKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // As Debug, so that control characters of an answer do not reach a terminal
            Self::UnknownKey(key) => write!(f, "unknown key {key:?}"),
            Self::FurtherUnknownKeys => write!(f, "further unknown keys"),
            Self::WrongType { place, expected, found } => write!(f, "{place}: expected {expected}, found {found}"),
            Self::IntegerInText(column) => write!(f, "{column}: integer written as a string, accepted"),
            Self::UnusableDate => write!(f, "date: not a usable date"),
            Self::BrokenText(column) => write!(f, "{column}: unpaired surrogate, replaced"),
            Self::NotUtf8 => write!(f, "invalid UTF-8, replaced"),
            Self::Surrounded => write!(f, "text around the answer, ignored"),
            Self::NotStrictJson => write!(f, "NaN, Infinity or a trailing comma, accepted"),
            Self::OtherTargets => write!(f, "results about other targets, ignored"),
            Self::TooManyItems => {
                write!(f, "items beyond the first {}: not in the dataset, but stored in the ledger", super::MAX_ROWS)
            }
        }
    }
}

/// How often a difference was seen, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Occurrences: one for each cell, key or item.
    pub count: u64,
    /// The first, in alphabetical order, of the targets whose answers have it.
    pub example: String,
}

/// All differences of some answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SchemaDrift {
    seen: BTreeMap<DriftKind, Seen>,
    unknown_keys: usize,
}

impl SchemaDrift {
    /// Whether there are no differences.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// The differences, unknown keys first.
    pub fn iter(&self) -> impl Iterator<Item = (&DriftKind, &Seen)> {
        self.seen.iter()
    }

    /// How often this was seen.
    pub fn count(&self, field: &DriftKind) -> u64 {
        self.seen.get(field).map_or(0, |seen| seen.count)
    }

    /// Adds the differences of other answers.
    pub fn absorb(&mut self, other: Self) {
        for (field, seen) in other.seen {
            self.add(field, seen.count, &seen.example);
        }
    }

    pub(super) fn clear(&mut self) {
        self.seen.clear();
        self.unknown_keys = 0;
    }

    pub(super) fn note(&mut self, field: DriftKind, target: &str) {
        self.add(field, 1, target);
    }

    pub(super) fn unknown_key(&mut self, prefix: &str, key: &str, target: &str) {
        let kept: String = prefix.chars().chain(key.chars().take(MAX_KEY_LENGTH)).collect();
        self.note(DriftKind::UnknownKey(kept), target);
    }

    fn add(&mut self, mut field: DriftKind, count: u64, target: &str) {
        if let Some(seen) = self.seen.get_mut(&field) {
            seen.count += count;
            if *target < *seen.example {
                target.clone_into(&mut seen.example);
            }
            return;
        }
        if matches!(field, DriftKind::UnknownKey(_)) {
            if self.unknown_keys == MAX_UNKNOWN_KEYS {
                field = DriftKind::FurtherUnknownKeys;
                if self.seen.contains_key(&field) {
                    return self.add(field, count, target);
                }
            } else {
                self.unknown_keys += 1;
            }
        }
        self.seen.insert(field, Seen { count, example: target.to_owned() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_are_counted_by_name_up_to_a_limit_and_counted_beyond() {
        let mut drift = SchemaDrift::default();
        for round in 0..3 {
            for key in 0..MAX_UNKNOWN_KEYS + 5 {
                drift.unknown_key("", &format!("k{key}"), if round == 1 { "a.com" } else { "b.com" });
            }
        }
        assert_eq!(drift.iter().count(), MAX_UNKNOWN_KEYS + 1);
        assert_eq!(drift.count(&DriftKind::UnknownKey("k7".into())), 3);
        assert_eq!(drift.count(&DriftKind::FurtherUnknownKeys), 15);
        assert!(drift.iter().all(|(_, seen)| seen.example == "a.com"));
        let mut twice = drift.clone();
        twice.absorb(drift);
        assert_eq!(twice.iter().count(), MAX_UNKNOWN_KEYS + 1);
        assert_eq!(twice.count(&DriftKind::FurtherUnknownKeys), 30);
    }

    #[test]
    fn a_long_key_is_truncated_and_displayed_without_control_characters() {
        let mut drift = SchemaDrift::default();
        drift.unknown_key("info.", &"\u{1b}[31m".repeat(1_000), "a.com");
        let shown = drift.iter().next().expect("one").0.to_string();
        assert!(shown.len() < 300 && !shown.contains('\u{1b}'), "{shown}");
    }
}
