//! Shards: disjoint parts of the targets for several machines.

use std::{fmt, num::NonZeroU32, str::FromStr};

use crate::as_text::serde_as_text;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shard {
    /// From 1.
    pub number: NonZeroU32,
    pub of: NonZeroU32,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('/').and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
        match parsed {
            Some((number, of)) if number <= of => Ok(Self { number, of }),
            _ => Err("expected I/N with I from 1 to N, such as 2/4 for the second of four shards".to_owned()),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

serde_as_text!(Shard);

impl Shard {
    pub fn is_whole(self) -> bool {
        self.of.get() == 1
    }

    /// A part of a limit that all shards together never exceed; `None` if there are more shards than that.
    pub fn part_of(self, limit: NonZeroU32) -> Option<NonZeroU32> {
        NonZeroU32::new(limit.get() / self.of.get())
    }

    /// Whether a name belongs to this shard. The hash, FNV-1a with a final mix, must never change: the shards of a run
    /// must be disjoint on all machines and in all versions.
    pub fn contains(self, name: &str) -> bool {
        let hash = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let mixed = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        mixed % u64::from(self.of.get()) == u64::from(self.number.get() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_disjoint_complete_and_about_equal_in_size() {
        let shards: Vec<Shard> = (1..=4).map(|number| format!("{number}/4").parse().expect("a shard")).collect();
        let mut sizes = [0; 4];
        for number in 0..10_000 {
            let name = format!("site{number}.com");
            let holders: Vec<usize> = (0..4).filter(|shard| shards[*shard].contains(&name)).collect();
            assert_eq!(holders.len(), 1, "{name}");
            sizes[holders[0]] += 1;
        }
        assert!(sizes.iter().all(|size| (2_300..2_700).contains(size)), "{sizes:?}");
        assert_eq!(shards[2].to_string(), "3/4");
        for wrong in ["0/4", "5/4", "1", "1/0", "a/b", "1/4/2"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}
