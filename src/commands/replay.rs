//! `replay`: rebuilds a dataset from ledgers. Makes no call and needs no token.

use tokio::time::Instant;

use super::{
    Context, Failure,
    result::{display, show},
    run::{BEFORE_PUBLISHED, publish},
    signals::{self, Signals},
    upload,
};
use crate::{
    cli::ReplayArgs,
    dataset::DatasetLayout,
    export::{Fetched, PublishOptions, open_for_replay, read_and_merge},
    progress::ExportScope,
    summary::{RunEnd, RunSummary},
};

pub(super) fn replay(arguments: &ReplayArgs, context: &Context) -> Result<u8, Failure> {
    signals::block_on("again", async |signals| rebuild(arguments, context, signals).await)
}

async fn rebuild(arguments: &ReplayArgs, context: &Context, signals: &Signals) -> Result<u8, Failure> {
    let started = Instant::now();
    let (sources, partition_by) = (arguments.sources.clone(), arguments.dataset.partition_by.clone());
    let merged = signals.unless_stopped(move || read_and_merge(&sources, &partition_by)).await?;
    let missing: Vec<String> = merged.missing_shards().iter().map(ToString::to_string).collect();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        tracing::warn!("missing shards: {missing}; add their directories, or the dataset will lack their targets");
    }
    let lock = open_for_replay(&arguments.out, &arguments.sources, &merged, arguments.replace)?;
    let connecting = upload::connect(arguments.after.publish.as_ref(), merged.is_simulated());
    let destination = signals.interruptible(BEFORE_PUBLISHED, connecting).await?;
    let targets = merged.inputs.counts().targets as u64;
    let progress = display(&arguments.display, context, ExportScope::all_stored(targets));
    context.console.attach(&progress);
    let options = PublishOptions {
        layout: DatasetLayout::from(&arguments.dataset),
        max_failures: arguments.dataset.max_failures,
        max_cost: None,
        discard_raw: false,
        fresh_since: None,
        replayed: true,
        before: merged.spending(),
        started,
    };
    let stored = Fetched { merged, staged: None, lock };
    let publishing = publish(stored, RunEnd::Finished, options, arguments.after.report, &progress);
    let (summary, lock) = signals.interruptible(BEFORE_PUBLISHED, publishing).await?;
    let summary = upload::upload(destination, summary, lock, &progress, context, signals).await?;
    progress.finish();
    show(&RunSummary { elapsed: started.elapsed(), ..summary }, &arguments.display, context)
}
