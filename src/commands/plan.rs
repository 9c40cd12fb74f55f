//! `plan`: what a run would do and cost. Makes no paid call and writes nothing.

use std::fmt::Write as _;

use serde_json::json;

use super::{Context, Failure, exit, inputs::read_inputs, print};
use crate::{
    cli::{Format, PlanArgs},
    export::{Basis, Estimate, Preview, PriceSource, Question, estimate},
    fetch::pace::Rate,
    targets::{Fate, Inputs},
    words,
};

/// Reasons for rejections that are shown.
const REASONS_SHOWN: usize = 5;

pub(super) fn plan(arguments: &PlanArgs, context: &Context) -> Result<u8, Failure> {
    let inputs = read_inputs(&arguments.input)?;
    let question = Question::from(&arguments.question);
    let preview = Preview::new(arguments.out.as_deref(), &inputs, &question, context.clock)?;
    let (rate, concurrency) = arguments.call.limits(arguments.input.shard);
    let estimate = estimate(&Basis {
        calls: preview.remaining,
        targets: preview.remaining + preview.held,
        parameters: &preview.parameters,
        rate,
        concurrency,
        past: &preview.past,
    });
    let text = match arguments.format {
        Format::Text => text(&inputs, &preview, &estimate, rate),
        Format::Json => json(&inputs, &preview, &estimate),
    };
    print(&text)?;
    Ok(exit::SUCCESS)
}

fn json(inputs: &Inputs, preview: &Preview, estimate: &Estimate) -> String {
    let counts = inputs.counts();
    let plan = json!({
        "targets": counts.targets,
        "rejected": counts.rejected,
        "duplicates": counts.duplicates,
        "subdomains": counts.subdomains,
        "held": preview.held,
        "calls": estimate.calls,
        "cost_usd_low": estimate.cost_low.dollars(),
        "cost_usd_high": estimate.cost_high.dollars(),
        "price_source": estimate.price_source.as_str(),
        "elapsed_s": estimate.elapsed.as_secs_f64(),
        "rows": estimate.rows,
        "bytes": estimate.bytes,
    });
    format!("{plan:#}\n")
}

fn text(inputs: &Inputs, preview: &Preview, estimate: &Estimate, rate: Rate) -> String {
    let counts = inputs.counts();
    let mut text = String::new();
    let mut row = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {name:<12}{value}");
    };
    row("targets", words::count(counts.targets as u64));
    row("duplicates", words::count(counts.duplicates as u64));
    row("rejected", words::count(counts.rejected as u64));
    for line in inputs.lines().filter(|line| matches!(line.fate, Fate::Rejected(_))).take(REASONS_SHOWN) {
        let Fate::Rejected(reason) = line.fate else { continue };
        row("", words::plain(&format!("{}:{}  {}  ({reason})", line.file, line.number, line.input)).into_owned());
    }
    if counts.subdomains > 0 {
        let example = inputs.first_subdomain().unwrap_or_default();
        row("subdomains", format!("{}, such as {example}", words::count(counts.subdomains as u64)));
    }
    row("held", words::count(preview.held));
    row("calls", words::count(estimate.calls));
    row("time", format!("{} at {}", words::about(estimate.elapsed), rate));
    let source = match estimate.price_source {
        PriceSource::ListPrice => "list price; the gateway debits one to two times the upstream price",
        PriceSource::OwnCalls => "what this directory's calls have cost: the mean and the dearest",
    };
    let (low, high) = (words::money(estimate.cost_low), words::money(estimate.cost_high));
    row("cost", format!("{low} to {high} ({source})"));
    row("dataset", format!("up to {} rows, {}", words::count(estimate.rows), words::bytes(estimate.bytes)));
    text
}
