//! What a terminal is told before anything is bought, and the question whether to buy it.
//!
//! Without a terminal nothing is told or asked: a job that runs unattended must not wait for an answer.

use std::{
    fmt::Write as _,
    io::{self, BufRead, IsTerminal, Write},
};

use tokio::task::spawn_blocking;

use super::{Context, Failure, result::width};
use crate::{
    api::pricing::PRESUMED_PRICE,
    cli::{LogFormat, RunArgs},
    export::Export,
    fetch::FetchLimits,
    money::Usd,
    summary::wrapped,
    words,
};

/// Where the values begin, behind the longest label.
const INDENT: usize = 9;

/// Says on a terminal what is about to be bought, and asks where it is much.
pub(super) async fn announce(
    arguments: &RunArgs,
    context: &Context,
    export: &Export,
    limits: &FetchLimits,
) -> Result<(), Failure> {
    if export.remaining() == 0 || !io::stderr().is_terminal() {
        return Ok(());
    }
    let estimate = export.estimate(limits);
    let high = limits.max_cost.map_or(estimate.cost_high, |cap| {
        // The cap holds for the directory, which may have cost something already.
        let left = cap.minus(export.past().spent).max(Usd::ZERO);
        estimate.cost_high.min(left)
    });
    let asks = high > arguments.confirm_above && !arguments.yes && !arguments.call.sandbox && io::stdin().is_terminal();
    if !asks && (context.quiet || context.log_format == LogFormat::Json) {
        return Ok(());
    }
    let targets = words::counted(export.inputs().counts().targets as u64, "target", "targets");
    let rate = words::count(limits.rate.calls.get().into());
    let per = limits.rate.to_string();
    let per = per.trim_start_matches(|character: char| character.is_ascii_digit());
    let cost = if arguments.call.sandbox {
        "none: the API is simulated".to_owned()
    } else {
        words::from_to(estimate.cost_low.min(high), high)
    };
    let reused = match (export.to_take_over() as u64, export.to_refresh() as u64) {
        (0, 0) => String::new(),
        (taken, 0) => format!("; {} reused at no cost", words::counted(taken, "answer", "answers")),
        (0, stale) => format!("; {} of them to refresh older answers", words::count(stale)),
        (taken, stale) => format!(
            "; {} of them to refresh older answers, {} reused at no cost",
            words::count(stale),
            words::counted(taken, "answer", "answers")
        ),
    };
    let lines = [
        (
            "calls",
            format!(
                "{} for {targets}, about {} at {rate}{per}{reused}",
                words::count(estimate.calls),
                words::about(estimate.elapsed)
            ),
        ),
        ("cost", cost),
        ("dataset", words::plain(&arguments.out.display().to_string()).into_owned()),
    ];
    let room = width(&console::Term::stderr()).saturating_sub(INDENT + 1).max(20);
    let mut text = String::new();
    for (label, value) in lines {
        let mut label = label;
        for line in wrapped(&value, room) {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{label:<INDENT$}{line}");
            label = "";
        }
    }
    let mut stderr = io::stderr();
    let _ = stderr.write_all(text.as_bytes());
    if asks { confirm().await } else { Ok(()) }
}

/// Says before the first call that the cap may not pay for it: its price is unknown until it is back.
pub(super) fn warn_of_cap(export: &Export, limits: &FetchLimits) {
    let past = export.past();
    let Some(left) = limits.max_cost.map(|cap| cap.minus(past.spent)) else { return };
    let is_unknown = past.max_price.price() == Usd::ZERO;
    if export.remaining() > 0 && is_unknown && left > Usd::ZERO && left < PRESUMED_PRICE {
        tracing::warn!(
            "--max-cost leaves {}, but the first call may cost up to {}, as its price is not known yet: possibly \
             nothing will be fetched",
            words::money(left),
            words::money(PRESUMED_PRICE)
        );
    }
}

/// After a question that was not answered by a line.
pub(super) fn end_of_line() {
    let _ = io::stderr().write_all(b"\n");
}

/// Asks on a thread of its own, so that a signal can end the program meanwhile.
async fn confirm() -> Result<(), Failure> {
    let asking = spawn_blocking(|| {
        let _ = io::stderr().write_all(b"Continue? [y/N] ");
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).map(|_| answer)
    });
    let answer = asking.await.ok().and_then(Result::ok).unwrap_or_default();
    if !answer.ends_with('\n') {
        end_of_line();
    }
    if matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    Err(Failure::usage("not confirmed; no calls were made")
        .hint("use --yes to skip the question, or --confirm-above USD to raise the threshold"))
}
