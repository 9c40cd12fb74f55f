//! The pipeline, and the only place where its stages meet.
//!
//! ```text
//! open:     lock -> ledger -> its query parameters -> input lines, earlier ones included -> remaining targets
//! reuse:    answers of earlier runs -> ledger
//! fetch:    remaining targets -> calls -> ledger
//!           synced answers -> row buffer -> cursor, in target order -> staged dataset
//! publish:  staged dataset, else ledger -> cursor -> staged dataset; renamed into place
//! ```
//!
//! The dataset is a pure function of the ledger, whether it was staged during the fetch or built afterwards. Nothing
//! here prints or reads flags.

mod cursor;
mod directory;
mod error;
mod estimate;
mod fetch;
mod live;
mod merged_ledgers;
mod open;
mod preview;
mod previous;
mod publish;
mod query_params;
mod recorder;
mod row_buffer;
mod rows;
mod run_manifest;
mod summarize;
mod targets_rows;

pub use self::{
    directory::{check_discarded, open_for_replay, read_and_merge},
    error::ExportError,
    estimate::{DatasetSize, Estimate, PriceSource},
    fetch::Fetched,
    merged_ledgers::{AnswerRef, MergedEntry, MergedLedgers, Source},
    open::Export,
    preview::Preview,
    previous::PreviousError,
    publish::{Published, Rebuild, StagedHistory, rejected},
    query_params::{QueryDifference, QueryError, QueryParams},
    rows::DecodeTally,
    run_manifest::{LedgerFiles, Provenance, RunManifest},
    summarize::{PublishOptions, partial_summary, publish_and_summarize, stale_answers, summary_from_manifest},
    targets_rows::LineSink,
};
