//! `replay`: a dataset built anew from ledgers. Makes no call and needs no token.

use std::{num::NonZeroU32, time::Duration};

use tokio::{task::spawn_blocking, time::Instant};

use super::{
    Context, Failure,
    report::reported,
    result::{display, finish},
    signals::Signals,
};
use crate::{
    cli::ReplayArgs,
    export::{Form, Terms, conclude, gather, open_for_replay},
    fetch::pace::Rate,
    money::Usd,
    outcome::{Ended, Outcome},
    progress::Plan,
};

pub(super) fn replay(arguments: &ReplayArgs, context: &Context) -> Result<u8, Failure> {
    let runtime = super::runtime()?;
    let ended = runtime.block_on(async {
        let signals = Signals::listen()?;
        tokio::select! {
            ended = rebuild(arguments, context) => ended,
            signal = signals.first() => Err(Failure::interrupted(signal, "before the dataset was published")),
        }
    });
    runtime.shutdown_background();
    ended
}

async fn rebuild(arguments: &ReplayArgs, context: &Context) -> Result<u8, Failure> {
    let started = Instant::now();
    let holdings = gather(&arguments.sources)?;
    let out = arguments.out.clone();
    let lock = open_for_replay(&out)?;
    let targets = holdings.inputs().counts().targets as u64;
    let rate = Rate { calls: NonZeroU32::MIN, period: Duration::from_secs(1) };
    let plan = Plan { total: targets, held: targets, rate, concurrency: NonZeroU32::MIN, spent: Usd::ZERO, cap: None };
    let progress = display(&arguments.display, context, plan);
    context.console.attach(&progress);
    let terms = Terms {
        form: Form::from(&arguments.dataset),
        max_failures: arguments.max_failures,
        max_cost: None,
        discard_raw: false,
        before: holdings.spending(),
    };
    let shown = progress.clone();
    let with_report = arguments.report;
    let concluding = spawn_blocking(move || {
        let outcome = conclude(&holdings, (&out, &lock), Ended::Finished, &terms, &shown)?;
        reported(outcome, with_report)
    });
    let outcome = concluding.await.map_err(Failure::unexpected)??;
    progress.finish();
    finish(&Outcome { elapsed: started.elapsed(), ..outcome }, &arguments.display, context)
}
