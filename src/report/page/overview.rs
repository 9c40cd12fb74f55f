//! The head of the page, and all targets together by month.

use super::{Content, change_in_tenths, known, percent, share, signed, whole};
use crate::{
    dataset::LineOutcome,
    report::{
        ReportError,
        html::Html,
        month::Month,
        plot::{self, Series},
        portfolio::{MonthTotals, Portfolio, Sum},
    },
    words,
};

/// Months with fewer targets than those around them that are named.
const MOST_THIN: usize = 6;

/// Title, what is reported on, and the figures that matter.
pub(super) fn header(content: &Content<'_>) -> Html {
    let Content { record, lines, portfolio, .. } = content;
    let mut html = Html::new();
    html.markup("<header>\n<p class=kicker>backlinks-export</p>\n<h1>Backlinks history</h1>\n<p class=lead>");
    html.text(&words::counted(lines.targets.len() as u64, "target", "targets")).markup(", ");
    html.show(words::counted(lines.count(LineOutcome::Ok), "history", "histories")).markup(", ");
    html.show(words::counted(record.totals.rows, "monthly row", "monthly rows"));
    if let (Some((first, _)), Some(latest)) = (portfolio.months.first(), portfolio.latest) {
        html.markup(", ").show(first).markup(" to ").show(latest);
    }
    html.markup("</p>\n<p class=note>Run <code>").text(&record.made_of.run_id).markup("</code>");
    if let Some(asked) = &record.made_of.parameters {
        html.markup(", requested dates ").show(asked.date_from).markup(" to ").show(asked.date_to);
    }
    html.markup("</p>\n");
    if record.made_of.simulated {
        html.markup("<p class=warning>Simulated answers: these are not data about real sites.</p>\n");
    }
    html.piece(&key_figures(content)).markup("</header>\n");
    html
}

fn key_figures(content: &Content<'_>) -> Html {
    let Content { record, lines, portfolio, .. } = content;
    let mut html = Html::new();
    html.markup("<dl class=keys>\n");
    let mut key = |name: &'static str, value: String, note: String| {
        html.markup("<div><dt>").markup(name).markup("</dt><dd><b>").text(&value).markup("</b> <span>").text(&note);
        html.markup("</span></dd></div>\n");
    };
    if let (Some(last), Some(latest)) = (portfolio.last(), portfolio.latest) {
        let change = |of: fn(&MonthTotals) -> Sum| {
            let tenths = portfolio.before().and_then(|before| change_in_tenths(of(before).value()?, of(last).value()?));
            tenths.map_or_else(|| format!("in {latest}"), |tenths| format!("{} in 12 months", percent(tenths)))
        };
        let value = |sum: Sum| known(sum.value(), whole);
        key("Referring domains", value(last.referring_domains()), change(MonthTotals::referring_domains));
        key("Backlinks", value(last.backlinks()), change(MonthTotals::backlinks));
        let (new, lost) = (last.new_referring_domains().value(), last.lost_referring_domains().value());
        let note = format!("{} new, {} lost in {latest}", known(new, whole), known(lost, whole));
        key("Net new domains", known(new.zip(lost), |(new, lost)| signed(new - lost)), note);
    }
    let answered = lines.count(LineOutcome::Ok) + lines.count(LineOutcome::NoData);
    let note = match (lines.count(LineOutcome::Failed), lines.count(LineOutcome::Pending)) {
        (0, 0) => "none failed".to_owned(),
        (failed, 0) => format!("{} failed", words::count(failed)),
        (failed, pending) => format!("{} failed, {} pending", words::count(failed), words::count(pending)),
    };
    key("Answered", words::percent(answered, lines.targets.len() as u64), note);
    key("Cost", words::money(record.spending.known()), words::counted(record.spending.calls, "call", "calls"));
    html.markup("</dl>\n");
    html
}

/// The plots over months, and their figures.
pub(super) fn figures(content: &Content<'_>) -> Result<Html, ReportError> {
    let portfolio = content.portfolio;
    let mut html = Html::new();
    html.markup("<section aria-labelledby=h-months>\n<h2 id=h-months>All targets by month</h2>\n");
    let (Some((first, _)), Some(latest)) = (portfolio.months.first(), portfolio.latest) else {
        html.markup("<p>The dataset has no dated rows, so there is nothing to plot.</p>\n</section>\n");
        return Ok(html);
    };
    let months: Vec<Month> = portfolio.months.iter().map(|(month, _)| *month).collect();
    let series = |of: fn(&MonthTotals) -> Sum| -> Series {
        portfolio.months.iter().map(|(_, totals)| of(totals).value().map(plot::as_f64)).collect()
    };
    let label = |what: &str, values: &Series| {
        let shown = |value: Option<&f64>| known(value, |value| format!("{value:.0}"));
        let (begin, end) = (values.iter().flatten().next(), values.iter().rev().flatten().next());
        format!("{what}, all targets by month: {} in {first}, {} in {latest}", shown(begin), shown(end))
    };
    let (domains, links) = (series(MonthTotals::referring_domains), series(MonthTotals::backlinks));
    let (new, lost) = (series(MonthTotals::new_referring_domains), series(MonthTotals::lost_referring_domains));
    let there: Series =
        portfolio.months.iter().map(|(_, totals)| Some(plot::as_f64(i128::from(totals.targets)))).collect();
    html.markup("<div class=plots>\n");
    // A plot that begins late says from when on anybody knows.
    let mut figure = |caption: &'static str, values: &Series, svg: Html| {
        html.markup("<figure><figcaption>").markup(caption);
        let begin = values.iter().position(Option::is_some).filter(|place| *place > 0);
        if let Some(begin) = begin.and_then(|place| months.get(place)) {
            html.markup(" <span class=note>(available from ").show(begin).markup(")</span>");
        }
        html.markup("</figcaption>").piece(&svg).markup("</figure>\n");
    };
    figure("Referring domains", &domains, plot::line(&label("Referring domains", &domains), &months, &domains)?);
    figure("Backlinks", &links, plot::line(&label("Backlinks", &links), &months, &links)?);
    let name = "New and lost referring domains, all targets by month";
    figure(
        "<span class=gain>New</span> and <span class=loss>lost</span> referring domains",
        &new,
        plot::gains_and_losses(name, &months, &new, &lost)?,
    );
    figure("Targets with data", &there, plot::line(&label("Targets with data", &there), &months, &there)?);
    html.markup("</div>\n").piece(&thin_months(portfolio));
    if portfolio.outside > 0 || portfolio.undated > 0 {
        html.markup("<p class=note>Not in the charts: ");
        html.text(&words::counted(portfolio.outside, "row", "rows"));
        html.markup(" of earlier or later months, which fewer than half of the targets have, and ");
        html.text(&words::counted(portfolio.undated, "row", "rows")).markup(" without a usable date.</p>\n");
    }
    html.piece(&figures_table(&portfolio.months)).markup("</section>\n");
    Ok(html)
}

/// Says which months fewer targets have than those around them, and the largest target that each lacks: their sums look
/// like a loss, and are none.
fn thin_months(portfolio: &Portfolio) -> Html {
    let months = &portfolio.months;
    let counts: Vec<u64> = months.iter().map(|(_, totals)| totals.targets).collect();
    let mut html = Html::new();
    let mut thin = thin(&counts);
    if thin.is_empty() {
        return html;
    }
    thin.sort_by_key(|(place, around)| std::cmp::Reverse(around - counts[*place]));
    let more = thin.len().saturating_sub(MOST_THIN) as u64;
    thin.truncate(MOST_THIN);
    thin.sort_unstable();
    html.markup("<p class=note>Each month sums only the targets that have data for it: ");
    for (listed, (place, around)) in thin.into_iter().enumerate() {
        html.markup(if listed > 0 { ", " } else { "" }).text(&words::count(counts[place])).markup(" of ");
        html.text(&words::count(around)).markup(" in ").show(months[place].0);
        if let Some((target, backlinks)) = portfolio.largest_lacking(place) {
            html.markup(" (without ").text(target).markup(", ").text(&share(backlinks.into(), portfolio.backlinks()));
            html.markup(" of all backlinks)");
        }
    }
    if more > 0 {
        html.markup("; there are also gaps in ").text(&words::counted(more, "month", "months"));
    }
    html.markup(".</p>\n");
    html
}

/// Places of counts that are below what was there before and comes after, with that number. The last count has nothing
/// after it, and is held against the one before.
fn thin(counts: &[u64]) -> Vec<(usize, u64)> {
    let mut most_after = counts.to_vec();
    for place in (1..counts.len()).rev() {
        most_after[place - 1] = most_after[place - 1].max(most_after[place]);
    }
    if let ([.., before, _], Some(last)) = (counts, most_after.last_mut()) {
        *last = (*last).max(*before);
    }
    let mut most_before = 0;
    let mut thin = Vec::new();
    for (place, count) in counts.iter().enumerate() {
        let around = most_before.min(most_after[place]);
        if *count < around {
            thin.push((place, around));
        }
        most_before = most_before.max(*count);
    }
    thin
}

fn figures_table(months: &[(Month, MonthTotals)]) -> Html {
    let mut html = Html::new();
    html.markup("<details><summary>Figures by month</summary>\n<div class=scroll tabindex=0 role=region ");
    html.markup("aria-label=\"Figures by month\"><table class=numbers><thead><tr><th scope=col>Month");
    html.markup("<th scope=col>Targets<th scope=col>Referring domains<th scope=col>new<th scope=col>lost");
    html.markup("<th scope=col>Backlinks<th scope=col>new<th scope=col>lost</thead>\n<tbody>");
    for (month, totals) in months.iter().rev() {
        html.markup("<tr><th scope=row>").show(month).markup("<td>").text(&words::count(totals.targets));
        let sums = [
            totals.referring_domains(),
            totals.new_referring_domains(),
            totals.lost_referring_domains(),
            totals.backlinks(),
            totals.new_backlinks(),
            totals.lost_backlinks(),
        ];
        for sum in sums {
            html.markup("<td>").text(&known(sum.value(), whole));
        }
        html.markup("\n");
    }
    html.markup("</tbody></table></div></details>\n");
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_that_a_target_lacks_are_told_and_growth_is_not() {
        let check = |counts: &[u64], expected: &[(usize, u64)]| assert_eq!(thin(counts), expected, "{counts:?}");
        check(&[], &[]);
        check(&[3], &[]);
        check(&[1, 2, 2, 3], &[]);
        check(&[2, 1, 2, 3], &[(1, 2)]);
        check(&[2, 0, 1, 2], &[(1, 2), (2, 2)]);
        check(&[2, 2, 1], &[(2, 2)]);
        // Histories that have ended are no gaps.
        check(&[3, 2, 2, 2], &[]);
    }
}
