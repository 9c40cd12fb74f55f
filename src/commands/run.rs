//! `run`: the main job.

use std::net::SocketAddr;

use futures::FutureExt;
use jiff::Timestamp;
use secrecy::SecretString;
use tokio::{task::spawn_blocking, time::Instant};

use super::{
    Context, Failure,
    announce::{announce, warn_of_cap, warn_of_early_ends},
    inputs::{dropped_cells, read_inputs, warn_about_inputs},
    report::with_report,
    result::{display, show},
    signals::{self, Signals},
    upload,
};
use crate::{
    api::http::HttpApi,
    cli::{CallArgs, JobArgs, RunArgs, Token},
    dataset::DatasetLayout,
    export::{
        Export, ExportError, Fetched, PublishOptions, QueryParams, RunManifest, check_discarded, partial_summary,
        publish_and_summarize, summary_from_manifest,
    },
    fetch::FetchLimits,
    ledger::{self, Lock, Spending},
    progress::{ExportScope, Progress},
    sandbox::{Sandbox, Settings},
    stores::Destination,
    summary::{MaxFailures, RunEnd, RunSummary, Signal},
};

pub(super) const BEFORE_PUBLISHED: &str = "before the dataset was published";

pub(super) fn run(arguments: &RunArgs, context: &Context) -> Result<u8, Failure> {
    signals::block_on("again; calls in flight may have been billed", async |signals| {
        Box::pin(RunCommand { arguments, context, signals, started: Instant::now() }.export()).await
    })
}

/// What every step of the command needs.
#[derive(Clone, Copy)]
struct RunCommand<'a> {
    arguments: &'a RunArgs,
    context: &'a Context,
    signals: &'a Signals,
    started: Instant,
}

/// What is left to do in the run's directory.
enum Prepared {
    /// Nothing to fetch or build, and no ledger to do it with: it was deleted after a success.
    AlreadyDone {
        summary: Box<RunSummary>,
        lock: Lock,
        destination: Option<Destination>,
    },
    ToFetch(Box<PreparedRun>),
}

/// A run that is ready for its first call.
struct PreparedRun {
    export: Export,
    api: HttpApi,
    limits: FetchLimits,
    options: PublishOptions,
    destination: Option<Destination>,
    /// Runs until it is dropped.
    _sandbox: Option<Sandbox>,
}

impl RunCommand<'_> {
    async fn export(self) -> Result<u8, Failure> {
        let summary = match self.prepare().await? {
            Prepared::AlreadyDone { summary, lock, destination } => self.upload(*summary, lock, destination).await?,
            Prepared::ToFetch(run) => self.fetch_and_publish(*run).await?,
        };
        show(&RunSummary { elapsed: self.started.elapsed(), ..summary }, &self.arguments.job.own.display, self.context)
    }

    /// Checks everything that can be checked before the first call, and asks on a terminal whether to go ahead.
    async fn prepare(self) -> Result<Prepared, Failure> {
        let Self { arguments, context, signals, .. } = self;
        let RunArgs { out, job } = arguments;
        let limits = limits(job)?;
        let input = job.input.clone();
        let inputs = signals.unless_stopped(move || read_inputs(&input)).await?;
        if let Some(dropped) = dropped_cells(&inputs) {
            tracing::warn!("{dropped}");
        }
        let query = query(job, context)?;
        let options = self.publish_options(query.fresh_since);
        let connecting = upload::connect(job.own.after.publish.as_ref(), job.call.sandbox);
        if let Some(manifest) = RunManifest::read(out)?.filter(|manifest| manifest.raw_discarded) {
            check_discarded(out, &manifest, &inputs, &query, Some(&options.layout), context.clock)?;
            let lock = Lock::take(out).map_err(ExportError::from)?;
            let destination = signals.interruptible("before anything was fetched or published", connecting).await?;
            let options = PublishOptions { before: manifest.spending, ..options };
            let summary = summary_from_manifest(&manifest, inputs.counts(), &options, out);
            let summary = Box::new(with_report(summary, job.own.after.report)?);
            return Ok(Prepared::AlreadyDone { summary, lock, destination });
        }
        let (url, sandbox) = url(&job.call).await?;
        let (token, missing) = match job.call.token() {
            Ok(token) => (token, None),
            // No token is needed if nothing is left to call, which is only known once the directory is open.
            Err(error) if ledger::is_begun(out).unwrap_or(false) => (Token(SecretString::default()), Some(error)),
            Err(error) => return Err(error.into()),
        };
        let api = HttpApi::new(&url, &token.0, job.call.rates.timeout, context.clock)?;
        let (out, clock, previous) = (out.clone(), context.clock, job.reuse.previous.clone());
        let limit = job.call.limit;
        let opening = move || {
            Ok::<_, ExportError>(Export::open(&out, inputs, &query, clock)?.with_previous(&previous)?.limited(limit))
        };
        let export = signals.unless_stopped(opening).await?;
        if let Some(error) = missing.filter(|_| export.remaining() > 0) {
            return Err(error.into());
        }
        let destination = signals.interruptible("before anything was fetched or published", connecting).await?;
        announce(arguments, context, &export, &limits, signals).await?;
        warn_of_cap(&export, &limits);
        warn_of_early_ends(&export);
        let options = PublishOptions { before: export.spending(), ..options };
        Ok(Prepared::ToFetch(Box::new(PreparedRun { export, api, limits, options, destination, _sandbox: sandbox })))
    }

    async fn fetch_and_publish(self, run: PreparedRun) -> Result<RunSummary, Failure> {
        let Self { arguments, context, signals, .. } = self;
        let JobArgs { call, own, .. } = &arguments.job;
        let PreparedRun { export, api, limits, options, destination, _sandbox } = run;
        let progress = display(&own.display, context, scope(&export, &limits, call.sandbox));
        context.console.attach(&progress);
        if export.remaining() > 0 {
            warn_about_inputs(&export.inputs);
        }
        let run_id = export.run_id().to_owned();
        let publishing = async {
            let asked_to_stop = signals.clone().first().map(|_| ());
            let (ended, fetched) = export.fetch(api, limits, &options.layout, &progress, asked_to_stop).await?;
            let ended = RunEnd::new(ended, signals.received().unwrap_or(Signal::Interrupt));
            let is_stopped = matches!(ended, RunEnd::Signal(_));
            let publishing = publish(fetched, ended, options.clone(), own.after.report, &progress);
            if is_stopped {
                return publishing.await;
            }
            // Nothing is published before it is complete; the next run rebuilds what was staged.
            signals.interruptible(BEFORE_PUBLISHED, publishing).await
        };
        let summary = match publishing.await {
            Ok((summary, lock)) => upload::upload(destination, summary, lock, &progress, context, signals).await?,
            Err(failure) => self.partial_summary(run_id, options, &failure).await.ok_or(failure)?,
        };
        progress.finish();
        Ok(summary)
    }

    /// Uploads a dataset that was published earlier.
    async fn upload(
        self,
        summary: RunSummary,
        lock: Lock,
        destination: Option<Destination>,
    ) -> Result<RunSummary, Failure> {
        if destination.is_none() {
            return Ok(summary);
        }
        let progress = display(&self.arguments.job.own.display, self.context, ExportScope::all_stored(summary.targets));
        let summary = upload::upload(destination, summary, lock, &progress, self.context, self.signals).await?;
        progress.finish();
        Ok(summary)
    }

    /// The summary of a run that a failure or a signal ended while it fetched or published; `None` without a ledger to
    /// summarize.
    async fn partial_summary(self, run_id: String, options: PublishOptions, failure: &Failure) -> Option<RunSummary> {
        let ended = match self.signals.received().filter(|signal| signal.exit_code() == failure.exit) {
            Some(signal) => RunEnd::Signal(signal),
            None => RunEnd::Unexpected { message: failure.error.clone(), hint: failure.hint.clone() },
        };
        let dir = self.arguments.out.clone();
        spawn_blocking(move || partial_summary(&dir, &run_id, &options, &ended)).await.ok().flatten()
    }

    fn publish_options(self, fresh_since: Option<Timestamp>) -> PublishOptions {
        let JobArgs { call, own, .. } = &self.arguments.job;
        PublishOptions {
            layout: DatasetLayout::from(&own.dataset),
            max_failures: own.dataset.max_failures,
            max_cost: call.max_cost,
            discard_raw: own.discard_raw,
            fresh_since,
            replayed: false,
            before: Spending::default(),
            started: self.started,
        }
    }
}

/// Publishes on a thread that may block on the disk. The directory stays locked.
pub(super) async fn publish(
    fetched: Fetched,
    ended: RunEnd,
    options: PublishOptions,
    wants_report: bool,
    progress: &Progress,
) -> Result<(RunSummary, Lock), Failure> {
    let progress = progress.clone();
    let Fetched { merged, staged, lock } = fetched;
    let publishing = spawn_blocking(move || {
        let summary = publish_and_summarize(&merged, staged, &lock, &ended, &options, &progress)?;
        Ok((with_report(summary, wants_report)?, lock))
    });
    publishing.await.map_err(Failure::unexpected)?
}

/// The query of a run with these flags.
pub(super) fn query(arguments: &JobArgs, context: &Context) -> Result<QueryParams, Failure> {
    let JobArgs { input, query, reuse, call, own, .. } = arguments;
    let too_long = |_| Failure::usage("--max-age is too long").hint("use a shorter duration, or omit it");
    let fresh_since = reuse.max_age.map(|age| context.clock.now().checked_sub(age).map_err(too_long)).transpose()?;
    Ok(QueryParams {
        date_from: query.date_from,
        date_to: query.date_to,
        rank_scale: query.rank_scale,
        tag: query.tag.clone(),
        simulated: Some(call.sandbox),
        fresh_since,
        // All failures are retried if earlier runs may have an answer.
        tolerated: if reuse.previous.is_empty() { own.dataset.max_failures } else { MaxFailures::default() },
        shard: Some(input.shard).filter(|shard| !shard.is_whole()),
    })
}

/// The URL of the API: the real one, or the simulated one, started in this process.
pub(super) async fn url(arguments: &CallArgs) -> Result<(String, Option<Sandbox>), Failure> {
    if !arguments.sandbox {
        return Ok((arguments.api.clone(), None));
    }
    let sandbox = Sandbox::start(SocketAddr::from(([127, 0, 0, 1], 0)), Settings::default()).await;
    let sandbox = sandbox.map_err(|error| Failure::unexpected(format!("cannot start the simulated API: {error}")))?;
    Ok((sandbox.url(), Some(sandbox)))
}

fn limits(arguments: &JobArgs) -> Result<FetchLimits, Failure> {
    let JobArgs { input, call, .. } = arguments;
    let (rate, concurrency) = call.limits(input.shard)?;
    Ok(FetchLimits {
        rate,
        concurrency,
        max_attempts: call.rates.max_attempts,
        max_cost: call.max_cost,
        max_outage: call.rates.max_outage,
        body: call.body_form(),
    })
}

fn scope(export: &Export, limits: &FetchLimits, simulated: bool) -> ExportScope {
    let total = export.inputs.counts().targets.saturating_sub(export.left_out) as u64;
    ExportScope {
        total,
        stored: total.saturating_sub(export.remaining() as u64),
        rate: limits.rate,
        concurrency: limits.concurrency,
        spent: export.resume_state().spent,
        cap: limits.max_cost,
        simulated,
    }
}
