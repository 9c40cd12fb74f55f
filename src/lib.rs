//! Batch export of backlinks history: a file of domains in, a partitioned Parquet dataset out.
//!
//! ```text
//! fetch:    inputs -> targets -> ledger.remaining -> [spawn: budget -> pace -> post -> judge -> wait, again] x in flight
//!                 -> ledger.append (synced: from here on it is never paid for again) -> outcome
//! publish:  ledger (by target) -> decode -> flatten -> dataset (staged, synced, renamed) -> outcome
//! ```

pub mod api;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod dataset;
pub mod export;
pub mod fetch;
pub mod flatten;
pub mod ledger;
pub mod logging;
pub mod money;
pub mod outcome;
pub mod progress;
pub mod sandbox;
pub mod targets;
pub mod verify;
pub mod words;
