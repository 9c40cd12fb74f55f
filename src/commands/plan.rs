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
    dataset::{DatasetLayout, RejectedLine},
    export::{DatasetSize, Estimate, Preview, PriceSource, QueryParams, rejected},
    fetch::pace::Rate,
    humanize,
    ledger::{LedgerError, Lock},
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
    if let Some(Err(error @ LedgerError::InUse { .. })) = arguments.out.as_deref().map(Lock::shared) {
        tracing::warn!("{error}, so less may be left to fetch");
    }
    let query = QueryParams { simulated: None, ..run::query(&arguments.job, context)? };
    let preview =
        Preview::new(arguments.out.as_deref(), &inputs, &arguments.job.reuse.previous, &query, context.clock)?
            .limited(call.limit);
    let estimate = preview.estimate(rate, concurrency);
    let balance = balance::balance(call, context);
    let affordable = call.max_cost.map(|cap| Affordable::new(&estimate, cap.minus(preview.past.spent)));
    let dataset = preview.dataset(&DatasetLayout::from(&arguments.job.own.dataset));
    let plan = Plan { call, inputs, preview, estimate, dataset, affordable, balance, rate };
    print(&match arguments.format {
        Format::Text => plan.text(),
        Format::Json => plan.json(),
    })?;
    Ok(exit::SUCCESS)
}

struct Plan<'a> {
    call: &'a CallArgs,
    inputs: Inputs,
    preview: Preview,
    estimate: Estimate,
    dataset: DatasetSize,
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

impl Plan<'_> {
    fn json(&self) -> String {
        let Self { inputs, preview, estimate, dataset, affordable, balance, .. } = self;
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
            "pending": preview.pending,
            "cost_usd_low": estimate.cost_low.dollars(),
            "cost_usd_high": estimate.cost_high.dollars(),
            "max_cost_pays_low": affordable.map(|affordable| affordable.low),
            "max_cost_pays_high": affordable.map(|affordable| affordable.high),
            "price_source": estimate.price_source.as_str(),
            "balance_usd": balance.as_ref().and_then(|balance| balance.as_ref().ok()).copied().map(Usd::dollars),
            "elapsed_s": humanize::seconds(estimate.elapsed),
            "rows": dataset.rows,
            "bytes": dataset.bytes,
        });
        format!("{plan:#}\n")
    }

    fn text(&self) -> String {
        let Self { preview, estimate, dataset, balance, rate, .. } = self;
        let mut lines = self.input_lines();
        let mut add = |name, value: String| lines.push((name, value));
        if preview.stored > 0 {
            add("stored", humanize::counted(preview.stored, "answer", "answers"));
        }
        if preview.taken_over > 0 {
            let answers = humanize::counted(preview.taken_over, "answer", "answers");
            add("previous", format!("{answers} to reuse, at no cost"));
            if let Some(early) = &preview.reused_ending_early {
                add("", early.clone());
            }
        }
        add("calls", self.format_calls());
        if estimate.calls > 0 {
            add("time", format!("{} at {rate}", humanize::rough_duration(estimate.elapsed)));
            add("cost", self.format_cost());
        }
        if let Some(covered) = self.format_cap() {
            add("", covered);
        }
        match balance {
            Some(Ok(balance)) => add("balance", format_balance(*balance, estimate)),
            Some(Err(reason)) if estimate.calls > 0 => add("balance", format!("unknown: {reason}")),
            Some(Err(_)) | None => {}
        }
        let (rows, bytes) = (humanize::count(dataset.rows), humanize::bytes(dataset.bytes));
        add(
            "dataset",
            if dataset.is_exact {
                format!("{rows} rows, {bytes}")
            } else {
                format!("up to {rows} rows, about {bytes}")
            },
        );
        let mut text = String::new();
        for (name, value) in lines {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {name:<12}{}", sanitize::plain(&value));
        }
        text
    }

    fn input_lines(&self) -> Vec<(&'static str, String)> {
        let counts = self.inputs.counts();
        let mut lines = vec![("targets", humanize::count(counts.targets as u64))];
        if counts.duplicates > 0 {
            lines.push(("duplicates", humanize::count(counts.duplicates as u64)));
        }
        if counts.rejected > 0 {
            lines.push(("rejected", humanize::count(counts.rejected as u64)));
        }
        for RejectedLine { input, file, line, reason } in rejected(&self.inputs).take(REASONS_SHOWN) {
            lines.push(("", format!("{file}:{line}  {input}  ({reason})")));
        }
        if let more @ 1.. = counts.rejected.saturating_sub(REASONS_SHOWN) {
            lines.push(("", format!("and {} more; --format json lists all", humanize::count(more as u64))));
        }
        if counts.subdomains > 0 {
            let example = self.inputs.first_subdomain().unwrap_or_default();
            let value = match counts.subdomains {
                1 => format!("1 ({example}): the API may have no data for it"),
                many => {
                    format!("{} (such as {example}): the API may have no data for them", humanize::count(many as u64))
                }
            };
            lines.push(("subdomains", value));
        }
        let remarks = [counted_twice(&self.inputs), dropped_cells(&self.inputs)];
        lines.extend(remarks.into_iter().flatten().map(|remark| ("", remark)));
        lines
    }

    fn format_calls(&self) -> String {
        let Preview { stored, taken_over, remaining, refreshed, pending, .. } = self.preview;
        let failed = (self.inputs.counts().targets as u64).saturating_sub(stored + taken_over + remaining + pending);
        let mut text = match (self.estimate.calls, failed) {
            (0, 0) => "none".to_owned(),
            (0, failed) => {
                let targets = humanize::counted(failed, "target has", "targets have");
                format!("none: {targets} failed, and --max-failures tolerates that")
            }
            (calls, _) => humanize::count(calls),
        };
        if pending > 0 {
            let _ = write!(text, " in this run, {} left for later (--limit)", humanize::count(pending));
        }
        if refreshed > 0 {
            let many = if refreshed == self.estimate.calls { "all".to_owned() } else { humanize::count(refreshed) };
            let _ = write!(text, ", {many} of them to refresh answers older than --max-age");
        }
        text
    }

    fn format_cost(&self) -> String {
        let Estimate { cost_low, cost_high, price_source, .. } = self.estimate;
        let source = match price_source {
            _ if self.call.sandbox => "simulated: nothing is charged",
            PriceSource::ListPrice => "one to two times DataForSEO's list price",
            PriceSource::OwnCalls => "mean and highest price of this directory's calls",
        };
        format!("{} ({source})", humanize::money_range(cost_low, cost_high))
    }

    /// How far `--max-cost` reaches, if it does not cover all calls.
    fn format_cap(&self) -> Option<String> {
        let Affordable { low, high } = self.affordable.filter(|affordable| affordable.low < self.estimate.calls)?;
        let number = match (humanize::count(low), humanize::count(high)) {
            (low, high) if low == high => low,
            (low, high) => format!("{low} to {high}"),
        };
        Some(format!("--max-cost {} covers about {number} of the calls", humanize::money(self.call.max_cost?)))
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
