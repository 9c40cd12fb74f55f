//! What a terminal shows before the first call, and the confirmation prompt.
//!
//! Without a terminal nothing is shown or asked: an unattended job must not wait for an answer.

use std::{
    fmt::Write as _,
    io::{self, BufRead, IsTerminal, Write},
};

use super::{Context, Failure, result::width, signals::Signals};
use crate::{
    api::pricing::PRESUMED_PRICE,
    cli::{LogFormat, RunArgs},
    export::Export,
    fetch::FetchLimits,
    humanize,
    money::Usd,
    sanitize,
    summary::wrapped,
};

/// Column where values begin, after the longest label.
const INDENT: usize = 9;

/// Shows on a terminal what is about to be bought, and asks for confirmation if that costs more than `--confirm-above`.
pub(super) async fn announce(
    arguments: &RunArgs,
    context: &Context,
    export: &Export,
    limits: &FetchLimits,
    signals: &Signals,
) -> Result<(), Failure> {
    if export.remaining() == 0 || !io::stderr().is_terminal() {
        return Ok(());
    }
    let estimate = export.estimate(limits);
    let high = limits.max_cost.map_or(estimate.cost_high, |cap| {
        // The cap is for the directory, which may have cost something already.
        let left = cap.minus(export.resume_state().spent).max(Usd::ZERO);
        estimate.cost_high.min(left)
    });
    let RunArgs { out, job } = arguments;
    let asks = high > job.own.confirm_above && !job.own.yes && !job.call.sandbox && io::stdin().is_terminal();
    if !asks && (context.quiet || context.log_format == LogFormat::Json) {
        return Ok(());
    }
    let targets = humanize::counted(export.inputs.counts().targets as u64, "target", "targets");
    let rate = humanize::count(limits.rate.calls.get().into());
    let per = limits.rate.to_string();
    let per = per.trim_start_matches(|character: char| character.is_ascii_digit());
    let cost = if job.call.sandbox {
        "none: the API is simulated".to_owned()
    } else {
        humanize::money_range(estimate.cost_low.min(high), high)
    };
    let refreshed = match export.to_refresh() as u64 {
        0 => None,
        stale => Some(format!("{} of them to refresh older answers", humanize::count(stale))),
    };
    let reused = match export.to_take_over() as u64 {
        0 => None,
        taken => Some(format!("{} reused at no cost", humanize::counted(taken, "answer", "answers"))),
    };
    let details: Vec<String> = refreshed.into_iter().chain(reused).collect();
    let details = if details.is_empty() { String::new() } else { format!("; {}", details.join(", ")) };
    let lines = [
        (
            "calls",
            format!(
                "{} for {targets}, {} at {rate}{per}{details}",
                humanize::count(estimate.calls),
                humanize::rough_duration(estimate.elapsed)
            ),
        ),
        ("cost", cost),
        ("dataset", sanitize::path(out)),
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
    if asks { confirm(signals).await } else { Ok(()) }
}

/// Warns if the cap may not cover the first call, whose price is not known yet.
pub(super) fn warn_of_cap(export: &Export, limits: &FetchLimits) {
    let past = export.resume_state();
    let Some(left) = limits.max_cost.map(|cap| cap.minus(past.spent)) else { return };
    let is_unknown = past.highest_price.price() == Usd::ZERO;
    if export.remaining() > 0 && is_unknown && left > Usd::ZERO && left < PRESUMED_PRICE {
        tracing::warn!(
            "--max-cost leaves {}, but the first call may cost up to {} (its price is not known yet), so the run may \
             fetch nothing; raise --max-cost to be sure",
            humanize::money(left),
            humanize::money(PRESUMED_PRICE)
        );
    }
}

/// What to do about reused answers that lack the last months: they are not bought again.
pub(super) const EARLY_END_HINT: &str = "to fetch them up to that day, add --max-age or omit --previous";

/// Warns of reused answers that end early.
pub(super) fn warn_of_early_ends(export: &Export) {
    if let Some(early) = export.reused_ending_early() {
        tracing::warn!("{early}; {EARLY_END_HINT}");
    }
}

/// Asks on a separate thread, so that a signal can end the program during the wait.
async fn confirm(signals: &Signals) -> Result<(), Failure> {
    let asking = signals.unless_stopped(|| {
        let _ = io::stderr().write_all(b"Continue? [y/N] ");
        let mut answer = String::new();
        // An answer that cannot be read is not a confirmation.
        let _ = io::stdin().lock().read_line(&mut answer);
        Ok::<_, Failure>(answer)
    });
    let answer = asking.await;
    if !answer.as_ref().is_ok_and(|answer| answer.ends_with('\n')) {
        let _ = io::stderr().write_all(b"\n");
    }
    if matches!(answer?.trim().to_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    Err(Failure::usage("not confirmed; no calls were made")
        .hint("use --yes to skip the question, or --confirm-above USD to raise the threshold"))
}
