//! Batch export of backlinks history: a file of domains in, a partitioned Parquet dataset out.
//!
//! ```text
//! fetch:    inputs -> targets -> what the ledger lacks -> [budget -> pace -> post -> judge -> wait, again] x in flight
//!                 -> ledger (synced: from here on it is never paid for again) -> summary
//! beside:   each synced answer (after a restart: read back from the ledger) -> decode -> dataset (staged)
//! publish:  dataset (staged, else built from the ledger) -> synced, renamed -> summary
//! ```
//!
//! In reading order:
//!
//! | module | what it is |
//! | --- | --- |
//! | [`commands`] | one thin file per command: reads settings, calls the library, prints the result |
//! | [`cli`] | turns flags and the environment into checked values; has the defaults of all commands |
//! | [`export`] | the pipeline, and the only place where its stages meet |
//! | [`targets`] | reads input files into cleaned targets, each line with its status |
//! | [`api`] | the paid API behind a one-method trait, and the status table |
//! | [`fetch`] | calls each remaining target until it has an answer or is given up |
//! | [`ledger`] | the archive and write-ahead log of paid answers |
//! | [`decode`] | turns an answer's text into its envelope and its rows as Arrow record batches; has the schema |
//! | [`dataset`] | writes record batches to Parquet tables, published as a whole |
//! | [`summary`], [`progress`] | the result of a run, and its progress while it runs |
//! | [`verify`] | checks a directory against its digests, ledger, cost and a rebuilt dataset |
//! | [`doctor`] | checks before a run: API, token, directory, machine |
//! | [`report`] | draws the published dataset as one HTML page |
//! | [`stores`] | uploads the published dataset to an object store |
//! | [`sandbox`] | the simulated API, with faults and a bill |
//! | [`humanize`], [`sanitize`] | numbers for people; untrusted text made safe to show |
//! | [`fs`], [`sha256`], `as_text` | syncing folders and access hints; digests; values as texts in JSON |
//! | [`clock`], `environment`, [`money`], [`logging`] | the wall clock; variables; exact amounts; log lines |
//!
//! Rules that apply everywhere:
//!
//! - Fetching only appends to the ledger, and the dataset has nothing that the ledger does not have: it is a pure
//!   function of the ledger.
//! - No call goes out before it is recorded, and nothing counts as done before it is synced.
//! - Only [`export`] joins the stages; imports run one way, which a test enforces.
//! - The wall clock is read only in [`clock`]; the fetch waits on `tokio`'s clock, which tests pause.
//! - Only [`commands`], [`progress`] and [`logging`] print; untrusted text passes [`sanitize::plain`] first.

pub mod api;
mod as_text;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod dataset;
pub mod decode;
pub mod doctor;
mod environment;
pub mod export;
pub mod fetch;
pub mod fs;
pub mod humanize;
pub mod ledger;
pub mod logging;
pub mod money;
pub mod progress;
pub mod report;
pub mod sandbox;
pub mod sanitize;
pub mod sha256;
pub mod stores;
pub mod summary;
pub mod targets;
pub mod verify;
