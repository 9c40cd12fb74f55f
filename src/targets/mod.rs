//! Reads input files and cleans, checks and deduplicates their targets.
//!
//! ```text
//! files -> decompressed lines -> cells (txt, csv, tsv) -> clean -> Inputs: every line with its status
//! ```
//!
//! [`clean()`] is pure: it turns a written form into a checked host or the reason for its rejection. [`read()`] streams
//! files and keeps every line, including rejected ones, since each becomes a row of the `targets` table. [`Inputs`]
//! stores a bare line in some sixty bytes; [`InputsBuilder`] builds it for [`read()`] and for the ledger, whose lines
//! are not checked again. Nothing here touches the network.

mod clean;
mod idna2008;
mod inputs;
mod merge;
mod merged_columns;
mod nested;
mod read;
mod reject;
mod set;
mod shard;
mod suggest;

use std::{borrow::Borrow, fmt};

use serde::{Deserialize, Serialize};

pub use clean::{Accept, Cleaned, clean};
pub use inputs::{Counts, InputLine, Inputs, InputsBuilder, LineStatus, LongerRows, RawLine};
pub use nested::Nested;
pub use read::{InputError, InputFormat, PackedFormat, ReadOptions, read};
pub use reject::{RejectReason, Rejection};
pub use set::TargetSet;
pub use shard::Shard;

/// A checked host as it is sent to the API: lower-case ASCII with A-labels (`xn--…`), no `www.`, no trailing dot.
///
/// Only [`clean()`] creates it; deserializing trusts the text, which comes from the program's own records. [`Inputs`]
/// and [`TargetSet`] store many in one string and give out [`TargetRef`]s.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Target(Box<str>);

impl Target {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn view(&self) -> TargetRef<'_> {
        TargetRef(&self.0)
    }
}

impl Borrow<str> for Target {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

/// A borrowed [`Target`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetRef<'a>(&'a str);

impl<'a> TargetRef<'a> {
    pub fn as_str(self) -> &'a str {
        self.0
    }

    pub fn to_target(self) -> Target {
        Target(self.0.into())
    }

    /// Whether the host has more labels than its registrable domain, as `blog.example.co.uk` has.
    pub fn is_subdomain(self) -> bool {
        psl::domain(self.0.as_bytes())
            .is_some_and(|domain| domain.suffix().is_known() && domain.as_bytes().len() < self.0.len())
    }
}

impl fmt::Display for TargetRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

impl fmt::Debug for TargetRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({})", self.0)
    }
}
