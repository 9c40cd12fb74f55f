//! `replay`: a dataset built anew from ledgers. Makes no call and needs no token.

use tokio::{task::spawn_blocking, time::Instant};

use super::{
    Context, Failure,
    report::with_report,
    result::{display, show},
    signals::Signals,
    store,
};
use crate::{
    cli::ReplayArgs,
    export::{DatasetLayout, PublishOptions, gather, open_for_replay, publish_and_summarize},
    progress::Plan,
    summary::{Ended, RunSummary},
};

pub(super) fn replay(arguments: &ReplayArgs, context: &Context) -> Result<u8, Failure> {
    let runtime = super::runtime()?;
    let ended = runtime.block_on(async {
        let signals = Signals::listen()?;
        tokio::select! {
            ended = rebuild(arguments, context, &signals) => ended,
            signal = signals.clone().second() => Err(Failure::interrupted(signal, "again")),
        }
    });
    runtime.shutdown_background();
    ended
}

async fn rebuild(arguments: &ReplayArgs, context: &Context, signals: &Signals) -> Result<u8, Failure> {
    let started = Instant::now();
    let (sources, partition_by) = (arguments.sources.clone(), arguments.dataset.partition_by.clone());
    let holdings = signals.unless_stopped(move || gather(&sources, &partition_by)).await?;
    let missing: Vec<String> = holdings.missing_shards().iter().map(ToString::to_string).collect();
    if !missing.is_empty() {
        tracing::warn!("shards {} are not in these directories: their targets will be missing", missing.join(", "));
    }
    let out = arguments.out.clone();
    let lock = open_for_replay(&out, &holdings, arguments.replace)?;
    let interrupted = |signal| Err(Failure::interrupted(signal, "before the dataset was published"));
    let destination = tokio::select! {
        checked = store::checked(arguments.publish.as_ref(), holdings.is_simulated()) => checked?,
        signal = signals.clone().first() => return interrupted(signal),
    };
    let targets = holdings.inputs().counts().targets as u64;
    let progress = display(&arguments.display, context, Plan::of_held(targets));
    context.console.attach(&progress);
    let terms = PublishOptions {
        form: DatasetLayout::from(&arguments.dataset),
        max_failures: arguments.max_failures,
        max_cost: None,
        discard_raw: false,
        fresh_since: None,
        replayed: true,
        before: holdings.spending(),
        started,
    };
    let shown = progress.clone();
    let wants_report = arguments.report;
    let concluding = spawn_blocking(move || {
        let summary = publish_and_summarize(&holdings, None, &lock, &Ended::Finished, &terms, &shown)?;
        Ok::<_, Failure>((with_report(summary, wants_report)?, lock))
    });
    let (summary, lock) = tokio::select! {
        concluded = concluding => concluded.map_err(Failure::unexpected)??,
        signal = signals.clone().first() => return interrupted(signal),
    };
    let summary = store::put(destination, summary, lock, &progress, (context, signals)).await?;
    progress.finish();
    show(&RunSummary { elapsed: started.elapsed(), ..summary }, &arguments.display, context)
}
