//! The links of all targets in the latest month by top-level domain and by country. The API lists only the largest
//! entries of each target, so the shares are of the listed links.

use std::collections::BTreeMap;

use arrow::{
    array::{Array, cast::AsArray},
    datatypes::Int64Type,
};

use super::{
    ReportError,
    read::{Batch, Dataset, Months, number},
};

const TLDS: &str = "referring_links_tld";
const COUNTRIES: &str = "referring_links_countries";
/// Keys that are counted separately; they are untrusted, and there are some 1,500 top-level domains.
const MAX_KEYS: usize = 4_096;
/// The longest key that is counted separately, in bytes: a domain name has at most 253.
const MAX_KEY_LENGTH: usize = 253;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    links: BTreeMap<Box<str>, i128>,
    /// Links with an empty key.
    pub(super) unknown: i128,
    /// Links under keys beyond the limits.
    rest: i128,
    /// Targets that have any entry.
    pub(super) targets: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shares {
    pub(super) tlds: Share,
    pub(super) countries: Share,
}

impl Shares {
    pub(super) fn read(dataset: &Dataset, months: &Months) -> Result<Self, ReportError> {
        let mut shares = Self::default();
        let Some(latest) = months.latest else { return Ok(shares) };
        dataset.history(&[TLDS, COUNTRIES], Some(latest), |rows| {
            shares.tlds.add(rows, TLDS)?;
            shares.countries.add(rows, COUNTRIES)
        })?;
        Ok(shares)
    }
}

impl Share {
    fn add(&mut self, rows: &Batch<'_>, name: &str) -> Result<(), ReportError> {
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
        // A negative count has no share.
        let links = i128::from(links.max(0));
        let key = key.trim_start_matches('.');
        let is_within_limits = self.links.len() < MAX_KEYS && key.len() <= MAX_KEY_LENGTH;
        if key.is_empty() {
            self.unknown += links;
        } else if is_within_limits || self.links.contains_key(key) {
            *self.links.entry(key.into()).or_default() += links;
        } else {
            self.rest += links;
        }
    }

    /// All listed links.
    pub(super) fn total(&self) -> i128 {
        self.links.values().sum::<i128>() + self.unknown + self.rest
    }

    /// The `max` keys with most links, and the links of all other keys except the unknown.
    pub(super) fn top(&self, max: usize) -> (Vec<(&str, i128)>, i128) {
        let mut top: Vec<_> = self.links.iter().map(|(key, links)| (&**key, *links)).collect();
        top.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(other.0)));
        top.truncate(max);
        let listed: i128 = top.iter().map(|(_, links)| links).sum();
        let rest = self.total() - self.unknown - listed;
        (top, rest)
    }
}
