//! `run`: the main job.

use std::{net::SocketAddr, path::Path};

use futures::FutureExt;
use jiff::Timestamp;
use secrecy::SecretString;
use tokio::{task::spawn_blocking, time::Instant};

use super::{
    Context, Failure,
    announce::{announce, end_of_line, warn_of_cap},
    inputs::{read_inputs, warn_of, warn_of_cells},
    report::with_report,
    result::{display, show},
    signals::Signals,
    store,
};
use crate::{
    api::http::HttpApi,
    cli::{CallArgs, QuestionArgs, ReuseArgs, RunArgs, Token},
    export::{
        DatasetLayout, Export, ExportError, Fetched, PublishOptions, QueryParams, discarded, partial_summary,
        publish_and_summarize, summary_from_record,
    },
    fetch::FetchLimits,
    ledger::{self, Lock, Spending},
    progress::{Plan, Progress},
    sandbox::{Sandbox, Settings},
    summary::{Ended, MaxFailures, RunSummary, Signal},
};

pub(super) fn run(arguments: &RunArgs, context: &Context) -> Result<u8, Failure> {
    let runtime = super::runtime()?;
    let ended = runtime.block_on(async {
        let signals = Signals::listen()?;
        tokio::select! {
            ended = export(arguments, context, &signals) => ended,
            // Calls in flight are in the ledger as sent.
            signal = signals.clone().second() => Err(Failure::interrupted(signal, "again; calls in flight may have been billed")),
        }
    });
    // What still waits for the disk may not hold the end up.
    runtime.shutdown_background();
    ended
}

async fn export(arguments: &RunArgs, context: &Context, signals: &Signals) -> Result<u8, Failure> {
    let started = Instant::now();
    let limits = limits(arguments)?;
    let input = arguments.input.clone();
    let inputs = signals.unless_stopped(move || read_inputs(&input)).await?;
    warn_of_cells(&inputs);
    let fresh_since = fresh_since(&arguments.reuse, context)?;
    let question = QueryParams {
        simulated: Some(arguments.call.sandbox),
        fresh_since,
        tolerated: tolerated(&arguments.reuse, arguments.max_failures),
        shard: Some(arguments.input.shard).filter(|shard| !shard.is_whole()),
        ..QueryParams::from(&arguments.question)
    };
    let terms = |before| terms(arguments, (before, started), fresh_since);
    if let Some(record) =
        discarded(&arguments.out, &inputs, &question, Some(&DatasetLayout::from(&arguments.dataset)), context.clock)?
    {
        let lock = Lock::take(&arguments.out).map_err(ExportError::from)?;
        let destination = store::checked(arguments.publish.as_ref(), arguments.call.sandbox).await?;
        let summary = summary_from_record(&record, inputs.counts(), &terms(record.spending), &arguments.out);
        let summary = with_report(summary, arguments.report)?;
        let summary = if destination.is_some() {
            let progress = display(&arguments.display, context, Plan::of_held(summary.targets));
            let summary = store::put(destination, summary, lock, &progress, (context, signals)).await?;
            progress.finish();
            summary
        } else {
            summary
        };
        return show(&RunSummary { elapsed: started.elapsed(), ..summary }, &arguments.display, context);
    }
    let (url, sandbox) = url(&arguments.call).await?;
    let (token, missing) = match arguments.call.token() {
        Ok(token) => (token, None),
        // Where nothing is left to call none is needed, which the directory of a run tells once it is open.
        Err(error) if ledger::is_begun(&arguments.out).unwrap_or(false) => {
            (Token(SecretString::default()), Some(error))
        }
        Err(error) => return Err(error.into()),
    };
    let api = HttpApi::new(&url, &token.0, arguments.call.timeout, context.clock)?;
    let (out, clock, previous) = (arguments.out.clone(), context.clock, arguments.reuse.previous.clone());
    let limit = arguments.call.limit;
    let opening = move || {
        Ok::<_, ExportError>(Export::open(&out, inputs, &question, clock)?.with_previous(&previous)?.limited(limit))
    };
    let export = signals.unless_stopped(opening).await?;
    if let Some(error) = missing.filter(|_| export.remaining() > 0) {
        return Err(error.into());
    }
    let terms = terms(export.spending());
    let destination = tokio::select! {
        checked = store::checked(arguments.publish.as_ref(), arguments.call.sandbox) => checked?,
        signal = signals.clone().first() => return Ok(signal.exit_code()),
    };
    tokio::select! {
        announced = announce(arguments, context, &export, &limits) => announced?,
        // Nothing is bought yet: one signal is enough.
        signal = signals.clone().first() => {
            end_of_line();
            return Ok(signal.exit_code());
        }
    }
    warn_of_cap(&export, &limits);
    let progress = display(&arguments.display, context, plan(&export, &limits, arguments.call.sandbox));
    context.console.attach(&progress);
    if export.remaining() > 0 {
        warn_of(export.inputs());
    }
    let asked_to_stop = signals.clone().first().map(|_| ());
    let concluded = async {
        let form = DatasetLayout::from(&arguments.dataset);
        let (ended, fetched) = export.fetch(api, limits, &form, &progress, asked_to_stop).await?;
        let ended = Ended::of(ended, signals.came().unwrap_or(Signal::Interrupt));
        let interruptible = !matches!(ended, Ended::Signal(_));
        tokio::select! {
            summary = published(arguments, fetched, ended, terms.clone(), &progress) => summary,
            // Nothing is published before it is whole; the next run makes anew what was staged.
            signal = signals.clone().first(), if interruptible => {
                Err(Failure::interrupted(signal, "before the dataset was published"))
            }
        }
    };
    let (summary, lock) = match concluded.await {
        Ok(concluded) => concluded,
        Err(failure) => {
            progress.finish();
            let Some(summary) = stopped(&arguments.out, terms, &failure, signals).await else { return Err(failure) };
            return show(&RunSummary { elapsed: started.elapsed(), ..summary }, &arguments.display, context);
        }
    };
    let summary = store::put(destination, summary, lock, &progress, (context, signals)).await?;
    progress.finish();
    if let Some(sandbox) = sandbox {
        sandbox.stop().await;
    }
    show(&RunSummary { elapsed: started.elapsed(), ..summary }, &arguments.display, context)
}

/// What a run has come to that a failure or a signal has ended while it fetched or published.
async fn stopped(dir: &Path, terms: PublishOptions, failure: &Failure, signals: &Signals) -> Option<RunSummary> {
    let ended = match signals.came().filter(|signal| signal.exit_code() == failure.exit) {
        Some(signal) => Ended::Signal(signal),
        None => Ended::Unexpected { message: failure.error.clone(), hint: failure.hint.clone() },
    };
    let dir = dir.to_owned();
    spawn_blocking(move || partial_summary(&dir, &terms, &ended)).await.ok().flatten()
}

/// Publishes on a thread where blocking on the disk is allowed. The directory stays locked.
async fn published(
    arguments: &RunArgs,
    fetched: Fetched,
    ended: Ended,
    terms: PublishOptions,
    progress: &Progress,
) -> Result<(RunSummary, Lock), Failure> {
    let (wants_report, progress) = (arguments.report, progress.clone());
    let Fetched { holdings, staged, lock } = fetched;
    let concluding = spawn_blocking(move || {
        let summary = publish_and_summarize(&holdings, staged, &lock, &ended, &terms, &progress)?;
        Ok((with_report(summary, wants_report)?, lock))
    });
    concluding.await.map_err(Failure::unexpected)?
}

impl From<&QuestionArgs> for QueryParams {
    fn from(arguments: &QuestionArgs) -> Self {
        Self {
            date_from: arguments.date_from,
            date_to: arguments.date_to,
            rank_scale: arguments.rank_scale,
            tag: arguments.tag.clone(),
            simulated: None,
            fresh_since: None,
            tolerated: MaxFailures::default(),
            shard: None,
        }
    }
}

/// From when on answers are new enough.
pub(super) fn fresh_since(arguments: &ReuseArgs, context: &Context) -> Result<Option<Timestamp>, Failure> {
    let Some(age) = arguments.max_age else { return Ok(None) };
    let since = context.clock.now().checked_sub(age);
    since.map(Some).map_err(|_| Failure::usage("--max-age is too long").hint("use a shorter duration, or omit it"))
}

/// Failed targets that are not tried again; with answers of earlier runs at hand, each of them may have one there.
pub(super) fn tolerated(reuse: &ReuseArgs, max_failures: MaxFailures) -> MaxFailures {
    if reuse.previous.is_empty() { max_failures } else { MaxFailures::default() }
}

fn terms(
    arguments: &RunArgs,
    (before, started): (Spending, Instant),
    fresh_since: Option<Timestamp>,
) -> PublishOptions {
    PublishOptions {
        form: DatasetLayout::from(&arguments.dataset),
        max_failures: arguments.max_failures,
        max_cost: arguments.call.max_cost,
        discard_raw: arguments.discard_raw,
        fresh_since,
        replayed: false,
        before,
        started,
    }
}

/// Where the API is: the real one, or the simulated one in this process.
pub(super) async fn url(arguments: &CallArgs) -> Result<(String, Option<Sandbox>), Failure> {
    if !arguments.sandbox {
        return Ok((arguments.api.clone(), None));
    }
    let sandbox = Sandbox::start(SocketAddr::from(([127, 0, 0, 1], 0)), Settings::default()).await;
    let sandbox = sandbox.map_err(|error| Failure::unexpected(format!("cannot start the simulated API: {error}")))?;
    Ok((sandbox.url(), Some(sandbox)))
}

fn limits(arguments: &RunArgs) -> Result<FetchLimits, Failure> {
    let (rate, concurrency) = arguments.call.limits(arguments.input.shard)?;
    Ok(FetchLimits {
        rate,
        concurrency,
        max_attempts: arguments.call.max_attempts,
        max_cost: arguments.call.max_cost,
        max_outage: arguments.call.max_outage,
        body: arguments.call.body_form(),
    })
}

fn plan(export: &Export, limits: &FetchLimits, simulated: bool) -> Plan {
    let total = export.inputs().counts().targets as u64;
    Plan {
        total,
        held: total.saturating_sub(export.remaining() as u64),
        rate: limits.rate,
        concurrency: limits.concurrency,
        spent: export.past().spent,
        cap: limits.max_cost,
        simulated,
    }
}
