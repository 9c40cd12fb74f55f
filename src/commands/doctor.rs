//! `doctor`: checks whether a run would succeed. Makes no paid call and leaves nothing behind.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal},
    time::Duration,
};

use serde_json::json;

use super::{
    Context, Failure,
    announce::EARLY_END_HINT,
    exit,
    inputs::read_inputs,
    print,
    result::{has_color, width},
    run::{query, url},
    upload,
};
use crate::{
    api::http::{ApiEndpoint, HttpApi},
    cli::{CallArgs, Format, InputArgs, JobArgs, PlanArgs},
    dataset::DatasetLayout,
    doctor::{self, ApiChecks, Check, DirectoryChecks, Level, RunCost},
    export::Preview,
    humanize,
    money::Usd,
    sanitize,
    summary::wrapped,
    targets::Inputs,
};

/// Timeout of the free request to the API.
const BALANCE_TIMEOUT: Duration = Duration::from_secs(10);
/// Column where messages begin, after the level and the check's name.
const INDENT: usize = 20;

pub(super) fn doctor(arguments: &PlanArgs, context: &Context) -> Result<u8, Failure> {
    let checks = checks(arguments, context)?;
    let checks: Vec<_> = checks.into_iter().map(harmless).collect();
    print(&match arguments.format {
        Format::Text => text(&checks),
        Format::Json => json(&checks),
    })?;
    let failed = number_at(&checks, Level::Failed);
    if failed == 0 {
        return Ok(exit::SUCCESS);
    }
    let error = format!("{failed} of {} checks failed", checks.len());
    context.complain(&error, Some("follow the hints above, then run doctor again"));
    Ok(exit::ERROR)
}

/// Messages may quote untrusted text.
fn harmless(check: Check) -> Check {
    let plain = |text: String| sanitize::plain(&text).into_owned();
    Check { message: plain(check.message), hint: check.hint.map(plain), ..check }
}

fn checks(arguments: &PlanArgs, context: &Context) -> Result<Vec<Check>, Failure> {
    let JobArgs { input, reuse, call, .. } = &arguments.job;
    let mut checks = Vec::new();
    let mut inputs = None;
    if !input.inputs.is_empty() {
        let (check, read) = read(input);
        checks.push(check);
        inputs = read;
    }
    let none = Inputs::default();
    let given = inputs.as_ref().unwrap_or(&none);
    let previous = &reuse.previous;
    let query = query(&arguments.job, context)?;
    let directory =
        arguments.out.as_deref().map(|dir| doctor::check_directory(dir, given, previous, &query, context.clock));
    let (found, preview, free) = match directory {
        Some(DirectoryChecks { checks, preview, free }) => (checks, preview, free),
        None => match Preview::new(None, given, previous, &query, context.clock) {
            Ok(preview) => (vec![unchecked_directory()], Some(preview), None),
            Err(error) => (vec![Check::failed("query", error.to_string(), error.hint())], None, None),
        },
    };
    checks.extend(found);
    let early = preview.as_ref().and_then(|preview| preview.reused_ending_early.clone());
    checks.extend(early.map(|early| Check::warning("previous", early, EARLY_END_HINT)));
    let (rate, concurrency) = call.limits(input.shard)?;
    let preview = preview.map(|preview| preview.limited(call.limit));
    let estimate = inputs.as_ref().and(preview.as_ref()).map(|preview| preview.estimate(rate, concurrency));
    let layout = DatasetLayout::from(&arguments.job.own.dataset);
    let size =
        preview.as_ref().map(|preview| preview.dataset(&layout)).filter(|size| inputs.is_some() && !size.is_exact);
    let run = estimate.as_ref().map(|estimate| estimate.calls).zip(size);
    checks.extend(free.map(|free| doctor::space(free, run)));
    let left = call.max_cost.map(|cap| {
        let spent = preview.as_ref().map_or(Usd::ZERO, |preview| preview.past.spent);
        cap.minus(spent).max(Usd::ZERO)
    });
    let money = estimate.as_ref().map(|estimate| RunCost { estimate, left });
    let is_begun = preview.as_ref().is_some_and(|preview| preview.started_with.is_some());
    let makes_no_call = is_begun && estimate.as_ref().is_some_and(|estimate| estimate.calls == 0);
    checks.extend(check_api(&arguments.job, money, makes_no_call, context)?);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    checks.extend(doctor::files(limit, concurrency));
    Ok(checks)
}

fn unchecked_directory() -> Check {
    Check::warning("directory", "not checked, since --out is not given", "add --out DIR to check it and its disk")
}

fn read(arguments: &InputArgs) -> (Check, Option<Inputs>) {
    let inputs = match read_inputs(arguments) {
        Ok(inputs) => inputs,
        Err(failure) => {
            let hint = failure.hint.unwrap_or_else(|| "use a file with one domain per line".to_owned());
            return (Check::failed("inputs", failure.error, hint), None);
        }
    };
    let counts = inputs.counts();
    let targets = humanize::counted(counts.targets as u64, "target", "targets");
    let check = match counts.rejected {
        0 => Check::ok("inputs", targets),
        rejected => Check::warning(
            "inputs",
            format!(
                "{targets}; {}",
                humanize::counted(rejected as u64, "line is not a valid domain", "lines are not valid domains")
            ),
            "they will be skipped; `plan` lists them",
        ),
    };
    (check, Some(inputs))
}

/// Checks that call the API, real or simulated. A run that `makes_no_call` needs neither the API nor a token.
fn check_api(
    arguments: &JobArgs,
    money: Option<RunCost<'_>>,
    makes_no_call: bool,
    context: &Context,
) -> Result<Vec<Check>, Failure> {
    super::runtime()?.block_on(async {
        let (url, sandbox) = url(&arguments.call).await?;
        let endpoint = match ApiEndpoint::parse(&url) {
            Ok(endpoint) => endpoint,
            Err(error) => return Ok(vec![Check::failed("api", error.to_string(), error.hint())]),
        };
        let ApiChecks { mut checks, balance, date } = ask(&arguments.call, &url, &endpoint, context).await;
        if makes_no_call {
            for check in &mut checks {
                check.level = check.level.min(Level::Warning);
            }
        }
        if let Some(sandbox) = sandbox {
            // The rest is about a token, money and another machine's clock.
            checks.retain(|check| check.level != Level::Ok);
            if checks.is_empty() {
                checks.push(Check::ok("api", "simulated: it needs no token, and nothing is charged"));
            }
            checks.extend(money.map(doctor::cost).filter(|check| check.level != Level::Ok));
            sandbox.stop().await;
        } else {
            checks.extend(balance.map(|left| doctor::balance(left, money)));
            checks.extend(money.map(doctor::cost));
            checks.extend(date.map(|date| doctor::clock(context.clock.now(), date)));
        }
        if let Some(place) = &arguments.own.after.publish {
            checks.push(match upload::connect(Some(place), arguments.call.sandbox).await {
                Ok(_) => Check::ok("store", format!("objects can be written and deleted in {place}")),
                Err(failure) => {
                    let hint = failure.hint.unwrap_or_else(|| "check --publish and the credentials".to_owned());
                    Check::failed("store", failure.error, hint)
                }
            });
        }
        Ok(checks)
    })
}

async fn ask(call: &CallArgs, url: &str, endpoint: &ApiEndpoint, context: &Context) -> ApiChecks {
    let set_up = call.token().map_err(|error| (error.to_string(), error.hint()));
    let set_up = set_up.and_then(|token| {
        let api = HttpApi::new(url, &token.0, BALANCE_TIMEOUT, context.clock);
        api.map_err(|error| (error.to_string(), error.hint()))
    });
    match set_up {
        Ok(api) => doctor::ask(&api, endpoint, &whose(call)).await,
        Err((error, hint)) => {
            let checks = vec![doctor::reach(endpoint).await, Check::failed("token", error, hint)];
            ApiChecks { checks, balance: None, date: None }
        }
    }
}

/// The token's source.
pub(super) fn whose(call: &CallArgs) -> String {
    match &call.token_file {
        _ if call.sandbox => "any token".to_owned(),
        Some(path) => format!("the token in {}", path.display()),
        None => "the token in AISA_API_KEY".to_owned(),
    }
}

fn number_at(checks: &[Check], level: Level) -> u64 {
    checks.iter().filter(|check| check.level == level).count() as u64
}

fn json(checks: &[Check]) -> String {
    let json = json!({
        "checks": checks,
        "failed": number_at(checks, Level::Failed),
        "warnings": number_at(checks, Level::Warning),
        "ok": number_at(checks, Level::Failed) == 0,
    });
    format!("{json:#}\n")
}

fn text(checks: &[Check]) -> String {
    let stdout = io::stdout();
    let (is_terminal, has_color) = (stdout.is_terminal(), stdout.is_terminal() && has_color());
    let room = width(&console::Term::stdout()).saturating_sub(INDENT + 1).max(INDENT);
    let mut text = String::new();
    for check in checks {
        let hint = check.hint.as_ref().map(|hint| format!("hint: {hint}"));
        let lines = std::iter::once(check.message.clone()).chain(hint);
        let lines = lines.flat_map(|line| if is_terminal { wrapped(&line, room) } else { vec![line] });
        let level = check.level.as_str();
        let padding = " ".repeat(9 - level.len());
        let color = match check.level {
            Level::Ok => "\x1b[32m",
            Level::Warning => "\x1b[33m",
            Level::Failed => "\x1b[1;31m",
        };
        let level = if has_color { format!("{color}{level}\x1b[0m") } else { level.to_owned() };
        let mut label = format!("{level}{padding}{:<11}", check.name);
        for line in lines {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{label}{line}");
            label = " ".repeat(INDENT);
        }
    }
    text
}
