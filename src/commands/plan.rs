//! `plan`: what a run would do and cost. Makes no paid call and writes nothing.
//!
//! With a token it also shows the account's balance, which is free.

use std::fmt::Write as _;

use serde_json::json;

use super::{
    Context, Failure,
    balance::{self, Balance},
    exit,
    inputs::{counted_twice, dropped_cells, read_inputs},
    print, run,
};
use crate::{
    cli::{CallArgs, Format, JobArgs, PlanArgs},
    dataset::RejectedLine,
    export::{Estimate, Preview, PriceSource, QueryParams, discarded, rejected},
    fetch::pace::Rate,
    humanize,
    money::Usd,
    sanitize,
    targets::Inputs,
};

/// How many rejected lines are shown.
const REASONS_SHOWN: usize = 5;

pub(super) fn plan(arguments: &PlanArgs, context: &Context) -> Result<u8, Failure> {
    let JobArgs { input, call, .. } = &arguments.job;
    let (rate, concurrency) = call.limits(input.shard)?;
    let inputs = read_inputs(input)?;
    let query = QueryParams { simulated: None, ..run::query(&arguments.job, context)? };
    let preview = preview(arguments, &inputs, &query, context)?.limited(call.limit);
    let estimate = preview.estimate(rate, concurrency);
    let balance = balance::balance(call, context);
    let affordable = call.max_cost.map(|cap| Affordable::new(&estimate, cap.minus(preview.past.spent)));
    let plan = Plan { call, inputs, preview, estimate, affordable, balance, rate };
    print(&match arguments.format {
        Format::Text => plan.text(),
        Format::Json => plan.json(),
    })?;
    Ok(exit::SUCCESS)
}

/// What is shown.
struct Plan<'a> {
    call: &'a CallArgs,
    inputs: Inputs,
    preview: Preview,
    estimate: Estimate,
    /// `None`: there is no cap.
    affordable: Option<Affordable>,
    balance: Balance,
    rate: Rate,
}

/// How many calls the rest of the cap covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Affordable {
    /// At the highest price.
    low: u64,
    /// At the lowest price.
    high: u64,
}

impl Affordable {
    fn new(estimate: &Estimate, left: Usd) -> Self {
        let of = |cost: Usd| {
            let (left, cost) = (i128::from(left.micros().max(0)), i128::from(cost.micros().max(1)));
            let calls = i128::from(estimate.calls) * left / cost;
            u64::try_from(calls).unwrap_or(u64::MAX).min(estimate.calls)
        };
        Self { low: of(estimate.cost_high), high: of(estimate.cost_low) }
    }
}

/// The state of the directory, even if its ledger was deleted.
fn preview(arguments: &PlanArgs, inputs: &Inputs, query: &QueryParams, context: &Context) -> Result<Preview, Failure> {
    let clock = context.clock;
    let dropped = arguments.out.as_deref().map(|dir| discarded(dir, inputs, query, None, clock)).transpose()?;
    let Some(manifest) = dropped.flatten() else {
        return Ok(Preview::new(arguments.out.as_deref(), inputs, &arguments.job.reuse.previous, query, clock)?);
    };
    let bare = Preview::new(None, inputs, &[], query, clock)?;
    let stored = inputs.counts().targets as u64;
    Ok(Preview { parameters: manifest.provenance.parameters, stored, remaining: 0, ..bare })
}

impl Plan<'_> {
    fn json(&self) -> String {
        let Self { inputs, preview, estimate, affordable, balance, .. } = self;
        let counts = inputs.counts();
        let plan = json!({
            "targets": counts.targets,
            "rejected": counts.rejected,
            "rejected_lines": rejected(inputs).collect::<Vec<_>>(),
            "duplicates": counts.duplicates,
            "subdomains": counts.subdomains,
            "held": preview.stored,
            "taken_over": preview.taken_over,
            "refreshed": preview.refreshed,
            "calls": estimate.calls,
            "cost_usd_low": estimate.cost_low.dollars(),
            "cost_usd_high": estimate.cost_high.dollars(),
            "max_cost_pays_low": affordable.map(|affordable| affordable.low),
            "max_cost_pays_high": affordable.map(|affordable| affordable.high),
            "price_source": estimate.price_source.as_str(),
            "balance_usd": balance.as_ref().and_then(|balance| balance.as_ref().ok()).copied().map(Usd::dollars),
            "elapsed_s": humanize::seconds(estimate.elapsed),
            "rows": estimate.rows,
            "bytes": estimate.bytes,
        });
        format!("{plan:#}\n")
    }

    fn text(&self) -> String {
        let Self { call, inputs, preview, estimate, affordable, balance, rate } = self;
        let counts = inputs.counts();
        let mut text = String::new();
        let mut row = |name: &str, value: String| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {name:<12}{value}");
        };
        row("targets", humanize::count(counts.targets as u64));
        row("duplicates", humanize::count(counts.duplicates as u64));
        row("rejected", humanize::count(counts.rejected as u64));
        for RejectedLine { input, file, line, reason } in rejected(inputs).take(REASONS_SHOWN) {
            row("", sanitize::plain(&format!("{file}:{line}  {input}  ({reason})")).into_owned());
        }
        if let more @ 1.. = counts.rejected.saturating_sub(REASONS_SHOWN) {
            row("", format!("and {} more; --format json lists all", humanize::count(more as u64)));
        }
        if counts.subdomains > 0 {
            let example = inputs.first_subdomain().unwrap_or_default();
            row("subdomains", format!("{}, such as {example}", humanize::count(counts.subdomains as u64)));
        }
        for remark in [counted_twice(inputs), dropped_cells(inputs)].into_iter().flatten() {
            row("", sanitize::plain(&remark).into_owned());
        }
        row("stored", humanize::count(preview.stored));
        if preview.taken_over > 0 {
            let answers = humanize::counted(preview.taken_over, "answer", "answers");
            row("previous", format!("{answers} to reuse, at no cost"));
        }
        let refreshed = match preview.refreshed {
            0 => String::new(),
            number => format!(", {} of them to refresh answers older than --max-age", humanize::count(number)),
        };
        row("calls", format!("{}{refreshed}", humanize::count(estimate.calls)));
        if estimate.calls > 0 {
            row("time", format!("about {} at {rate}", humanize::rough_duration(estimate.elapsed)));
        }
        let source = match estimate.price_source {
            PriceSource::ListPrice => "list price; the gateway debits one to two times the upstream price",
            PriceSource::OwnCalls => "from this directory's calls: mean and highest price",
        };
        match estimate.calls {
            0 => row("cost", "none".to_owned()),
            _ if call.sandbox => row("cost", "none: the API is simulated".to_owned()),
            _ => row("cost", format!("{} ({source})", humanize::money_range(estimate.cost_low, estimate.cost_high))),
        }
        if let (Some(cap), Some(affordable)) =
            (call.max_cost, affordable.filter(|affordable| affordable.low < estimate.calls))
        {
            let number = match (humanize::count(affordable.low), humanize::count(affordable.high)) {
                (low, high) if low == high => low,
                (low, high) => format!("{low} to {high}"),
            };
            row("", format!("--max-cost {} covers about {number} of them", humanize::money(cap)));
        }
        match balance {
            None => {}
            Some(Ok(balance)) => row("balance", format_balance(*balance, estimate)),
            Some(Err(reason)) => row("balance", sanitize::plain(&format!("unknown ({reason})")).into_owned()),
        }
        row("dataset", format!("up to {} rows, {}", humanize::count(estimate.rows), humanize::bytes(estimate.bytes)));
        text
    }
}

fn format_balance(balance: Usd, estimate: &Estimate) -> String {
    let enough = match balance {
        _ if estimate.calls == 0 => "",
        _ if balance < estimate.cost_low => ", not enough for this run",
        _ if balance < estimate.cost_high => ", may not be enough for this run",
        _ => "",
    };
    format!("{}{enough}", humanize::money(balance))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_cap_covers_more_calls_at_the_low_price_than_at_the_high_one() {
        let micros = Usd::from_micros;
        let estimate = Estimate {
            calls: 100,
            cost_low: micros(3_000_000),
            cost_high: micros(6_000_000),
            price_source: PriceSource::ListPrice,
            elapsed: Duration::ZERO,
            rows: 0,
            bytes: 0,
        };
        let check = |left: i64, low: u64, high: u64| {
            assert_eq!(Affordable::new(&estimate, micros(left)), Affordable { low, high }, "{left}");
        };
        check(1_600_000, 26, 53);
        check(3_000_000, 50, 100);
        check(6_000_000, 100, 100);
        check(0, 0, 0);
        check(-1, 0, 0);
        check(i64::MAX, 100, 100);
        let nothing = Estimate { calls: 0, cost_low: Usd::ZERO, cost_high: Usd::ZERO, ..estimate.clone() };
        assert_eq!(Affordable::new(&nothing, micros(1)), Affordable { low: 0, high: 0 });
    }
}
