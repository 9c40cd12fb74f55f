//! `run`: the main job.

use std::net::SocketAddr;

use futures::FutureExt;
use jiff::Timestamp;
use secrecy::SecretString;
use tokio::{task::spawn_blocking, time::Instant};

use super::{
    Context, Failure,
    announce::{announce, warn_of_cap},
    inputs::{read_inputs, warn_of, warn_of_cells},
    report::with_report,
    result::{display, show},
    signals::{self, Signals},
    upload,
};
use crate::{
    api::http::HttpApi,
    cli::{CallArgs, QueryArgs, ReuseArgs, RunArgs, Token},
    dataset::DatasetLayout,
    export::{
        Export, ExportError, Fetched, PublishOptions, QueryParams, discarded, partial_summary, publish_and_summarize,
        summary_from_record,
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
            Prepared::ToFetch(job) => self.fetch_and_publish(*job).await?,
        };
        show(&RunSummary { elapsed: self.started.elapsed(), ..summary }, &self.arguments.own.display, self.context)
    }

    /// Checks everything that can be checked before the first call, and asks on a terminal whether to go ahead.
    async fn prepare(self) -> Result<Prepared, Failure> {
        let Self { arguments, context, signals, .. } = self;
        let limits = limits(arguments)?;
        let input = arguments.input.clone();
        let inputs = signals.unless_stopped(move || read_inputs(&input)).await?;
        warn_of_cells(&inputs);
        let query = QueryParams {
            simulated: Some(arguments.call.sandbox),
            fresh_since: fresh_since(&arguments.reuse, context)?,
            tolerated: tolerated(&arguments.reuse, arguments.own.dataset.max_failures),
            shard: Some(arguments.input.shard).filter(|shard| !shard.is_whole()),
            ..QueryParams::from(&arguments.query)
        };
        let options = self.publish_options(query.fresh_since);
        let connecting = upload::connect(arguments.own.after.publish.as_ref(), arguments.call.sandbox);
        if let Some(record) = discarded(&arguments.out, &inputs, &query, Some(&options.layout), context.clock)? {
            let lock = Lock::take(&arguments.out).map_err(ExportError::from)?;
            let destination = signals.unless("before anything was fetched or published", connecting).await?;
            let options = PublishOptions { before: record.spending, ..options };
            let summary = summary_from_record(&record, inputs.counts(), &options, &arguments.out);
            let summary = Box::new(with_report(summary, arguments.own.after.report)?);
            return Ok(Prepared::AlreadyDone { summary, lock, destination });
        }
        let (url, sandbox) = url(&arguments.call).await?;
        let (token, missing) = match arguments.call.token() {
            Ok(token) => (token, None),
            // No token is needed if nothing is left to call, which is only known once the directory is open.
            Err(error) if ledger::is_begun(&arguments.out).unwrap_or(false) => {
                (Token(SecretString::default()), Some(error))
            }
            Err(error) => return Err(error.into()),
        };
        let api = HttpApi::new(&url, &token.0, arguments.call.rates.timeout, context.clock)?;
        let (out, clock, previous) = (arguments.out.clone(), context.clock, arguments.reuse.previous.clone());
        let limit = arguments.call.limit;
        let opening = move || {
            Ok::<_, ExportError>(Export::open(&out, inputs, &query, clock)?.with_previous(&previous)?.limited(limit))
        };
        let export = signals.unless_stopped(opening).await?;
        if let Some(error) = missing.filter(|_| export.remaining() > 0) {
            return Err(error.into());
        }
        let destination = signals.unless("before anything was fetched or published", connecting).await?;
        announce(arguments, context, &export, &limits, signals).await?;
        warn_of_cap(&export, &limits);
        let options = PublishOptions { before: export.spending(), ..options };
        Ok(Prepared::ToFetch(Box::new(PreparedRun { export, api, limits, options, destination, _sandbox: sandbox })))
    }

    async fn fetch_and_publish(self, job: PreparedRun) -> Result<RunSummary, Failure> {
        let Self { arguments, context, signals, .. } = self;
        let PreparedRun { export, api, limits, options, destination, _sandbox } = job;
        let progress = display(&arguments.own.display, context, scope(&export, &limits, arguments.call.sandbox));
        context.console.attach(&progress);
        if export.remaining() > 0 {
            warn_of(export.inputs());
        }
        let publishing = async {
            let asked_to_stop = signals.clone().first().map(|_| ());
            let (ended, fetched) = export.fetch(api, limits, &options.layout, &progress, asked_to_stop).await?;
            let ended = RunEnd::of(ended, signals.came().unwrap_or(Signal::Interrupt));
            let is_stopped = matches!(ended, RunEnd::Signal(_));
            let publishing = publish(fetched, ended, options.clone(), arguments.own.after.report, &progress);
            if is_stopped {
                return publishing.await;
            }
            // Nothing is published before it is complete; the next run rebuilds what was staged.
            signals.unless(BEFORE_PUBLISHED, publishing).await
        };
        let summary = match publishing.await {
            Ok((summary, lock)) => upload::upload(destination, summary, lock, &progress, context, signals).await?,
            Err(failure) => self.partial_summary(options, &failure).await.ok_or(failure)?,
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
        let progress = display(&self.arguments.own.display, self.context, ExportScope::of_held(summary.targets));
        let summary = upload::upload(destination, summary, lock, &progress, self.context, self.signals).await?;
        progress.finish();
        Ok(summary)
    }

    /// The summary of a run that a failure or a signal ended while it fetched or published; `None` without a ledger to
    /// summarize.
    async fn partial_summary(self, options: PublishOptions, failure: &Failure) -> Option<RunSummary> {
        let ended = match self.signals.came().filter(|signal| signal.exit_code() == failure.exit) {
            Some(signal) => RunEnd::Signal(signal),
            None => RunEnd::Unexpected { message: failure.error.clone(), hint: failure.hint.clone() },
        };
        let dir = self.arguments.out.clone();
        spawn_blocking(move || partial_summary(&dir, &options, &ended)).await.ok().flatten()
    }

    fn publish_options(self, fresh_since: Option<Timestamp>) -> PublishOptions {
        PublishOptions {
            layout: DatasetLayout::from(&self.arguments.own.dataset),
            max_failures: self.arguments.own.dataset.max_failures,
            max_cost: self.arguments.call.max_cost,
            discard_raw: self.arguments.own.discard_raw,
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

impl From<&QueryArgs> for QueryParams {
    fn from(arguments: &QueryArgs) -> Self {
        Self {
            date_from: arguments.date_from,
            date_to: arguments.date_to,
            rank_scale: arguments.rank_scale,
            tag: arguments.tag.clone(),
            ..Self::default()
        }
    }
}

/// Answers from before this are too old; `None`: no answer is.
pub(super) fn fresh_since(arguments: &ReuseArgs, context: &Context) -> Result<Option<Timestamp>, Failure> {
    let Some(age) = arguments.max_age else { return Ok(None) };
    let since = context.clock.now().checked_sub(age);
    since.map(Some).map_err(|_| Failure::usage("--max-age is too long").hint("use a shorter duration, or omit it"))
}

/// Failures that are not retried: none if earlier runs may have an answer.
pub(super) fn tolerated(reuse: &ReuseArgs, max_failures: MaxFailures) -> MaxFailures {
    if reuse.previous.is_empty() { max_failures } else { MaxFailures::default() }
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

fn limits(arguments: &RunArgs) -> Result<FetchLimits, Failure> {
    let (rate, concurrency) = arguments.call.limits(arguments.input.shard)?;
    Ok(FetchLimits {
        rate,
        concurrency,
        max_attempts: arguments.call.rates.max_attempts,
        max_cost: arguments.call.max_cost,
        max_outage: arguments.call.rates.max_outage,
        body: arguments.call.body_form(),
    })
}

fn scope(export: &Export, limits: &FetchLimits, simulated: bool) -> ExportScope {
    let total = export.inputs().counts().targets as u64;
    ExportScope {
        total,
        held: total.saturating_sub(export.remaining() as u64),
        rate: limits.rate,
        concurrency: limits.concurrency,
        spent: export.past().spent,
        cap: limits.max_cost,
        simulated,
    }
}
