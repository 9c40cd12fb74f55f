//! Where the links come from in the latest month: top-level domains and countries, over all targets.
//!
//! The API serves the largest entries of each target alone, so that shares are of the links that it tells.

use std::collections::BTreeMap;

use arrow::{
    array::{Array, cast::AsArray},
    datatypes::Int64Type,
};

use super::{
    ReportError,
    read::{Dataset, Months, Rows, number},
};

const TLDS: &str = "referring_links_tld";
const COUNTRIES: &str = "referring_links_countries";
/// Different keys that are told apart; keys are foreign text, and there are some 1,500 top-level domains.
const MOST_KEYS: usize = 4_096;
/// The longest key that is told apart, in bytes: a domain name has 253.
const LONGEST_KEY: usize = 253;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    links: BTreeMap<Box<str>, i128>,
    /// Links whose key is empty: nobody knows.
    pub(super) unknown: i128,
    /// Links under keys beyond the limits.
    rest: i128,
    /// Targets that have any entry.
    pub(super) targets: u64,
}

/// The shares of the latest month.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shares {
    pub(super) tlds: Share,
    pub(super) countries: Share,
}

impl Shares {
    /// Reads the maps of the latest month.
    pub(super) fn read(dataset: &Dataset, months: &Months) -> Result<Self, ReportError> {
        let mut shares = Self::default();
        let Some(latest) = months.latest else { return Ok(shares) };
        dataset.history_of(latest, &[TLDS, COUNTRIES], |rows| {
            shares.tlds.add(rows, TLDS)?;
            shares.countries.add(rows, COUNTRIES)
        })?;
        Ok(shares)
    }
}

impl Share {
    fn add(&mut self, rows: &Rows<'_>, name: &str) -> Result<(), ReportError> {
        let maps = rows.column(name)?.as_map_opt().ok_or_else(|| rows.damaged(name))?;
        let keys = maps.keys().as_string_opt::<i32>().ok_or_else(|| rows.damaged(name))?;
        let values = maps.values().as_primitive_opt::<Int64Type>().ok_or_else(|| rows.damaged(name))?;
        for row in 0..maps.len() {
            let offsets = maps.value_offsets();
            let range = usize::try_from(offsets[row]).unwrap_or(0)..usize::try_from(offsets[row + 1]).unwrap_or(0);
            if maps.is_null(row) || range.is_empty() {
                continue;
            }
            self.targets += 1;
            for entry in range {
                if let Some(links) = number(values, entry) {
                    self.count(keys.value(entry), links);
                }
            }
        }
        Ok(())
    }

    fn count(&mut self, key: &str, links: i64) {
        // Fewer than no links is nothing that a share can be made of.
        let links = i128::from(links.max(0));
        match key.trim_start_matches('.') {
            "" => self.unknown += links,
            key if self.links.contains_key(key) => *self.links.get_mut(key).expect("it is there") += links,
            key if self.links.len() < MOST_KEYS && key.len() <= LONGEST_KEY => {
                self.links.insert(key.into(), links);
            }
            _ => self.rest += links,
        }
    }

    /// All links that have an entry.
    pub(super) fn total(&self) -> i128 {
        self.links.values().sum::<i128>() + self.unknown + self.rest
    }

    /// The `most` keys with most links, and what is left of the total, without the unknown.
    pub(super) fn top(&self, most: usize) -> (Vec<(&str, i128)>, i128) {
        let mut top: Vec<_> = self.links.iter().map(|(key, links)| (&**key, *links)).collect();
        top.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(other.0)));
        top.truncate(most);
        let told: i128 = top.iter().map(|(_, links)| links).sum();
        let rest = self.total() - self.unknown - told;
        (top, rest)
    }
}
