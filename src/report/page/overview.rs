//! The head of the page with its key figures, and the section on all targets by month.

use super::{PageContent, change_in_tenths, known, percent, share, signed, whole};
use crate::{
    dataset::LineOutcome,
    humanize,
    report::{
        ReportError,
        html::Html,
        month::Month,
        plot::{self, Series},
        portfolio::{
            BACKLINKS, LOST_BACKLINKS, LOST_REFERRING_DOMAINS, MonthTotals, NEW_BACKLINKS, NEW_REFERRING_DOMAINS,
            Portfolio, REFERRING_DOMAINS,
        },
    },
};

/// Listed months with fewer targets than those around them.
const MOST_THIN: usize = 6;

/// Title, summary and key figures.
pub(super) fn header(content: &PageContent<'_>) -> Html {
    let PageContent { record, lines, portfolio, .. } = content;
    let mut html = Html::new();
    html.markup("<header>\n<p class=kicker>backlinks-export</p>\n<h1>Backlinks history</h1>\n<p class=lead>");
    html.text(&humanize::counted(lines.targets.len() as u64, "target", "targets")).markup(", ");
    html.show(humanize::counted(lines.count(LineOutcome::Ok), "history", "histories")).markup(", ");
    html.show(humanize::counted(record.totals.rows, "monthly row", "monthly rows"));
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

fn key_figures(content: &PageContent<'_>) -> Html {
    let PageContent { record, lines, portfolio, .. } = content;
    let mut html = Html::new();
    html.markup("<dl class=keys>\n");
    let mut key = |name: &'static str, value: String, note: String| {
        html.markup("<div><dt>").markup(name).markup("</dt><dd><b>").text(&value).markup("</b> <span>").text(&note);
        html.markup("</span></dd></div>\n");
    };
    if let (Some(last), Some(latest)) = (portfolio.last(), portfolio.latest) {
        let [value, before] = [Some(last), portfolio.before()]
            .map(|totals| move |column: usize| totals.and_then(|totals| totals.sums[column].value()));
        let change = |column| {
            let tenths = before(column).and_then(|before| change_in_tenths(before, value(column)?));
            tenths.map_or_else(|| format!("in {latest}"), |tenths| format!("{} in 12 months", percent(tenths)))
        };
        key("Referring domains", known(value(REFERRING_DOMAINS), whole), change(REFERRING_DOMAINS));
        key("Backlinks", known(value(BACKLINKS), whole), change(BACKLINKS));
        let (new, lost) = (value(NEW_REFERRING_DOMAINS), value(LOST_REFERRING_DOMAINS));
        let note = format!("{} new, {} lost in {latest}", known(new, whole), known(lost, whole));
        key("Net new domains", known(new.zip(lost), |(new, lost)| signed(new - lost)), note);
    }
    let answered = lines.count(LineOutcome::Ok) + lines.count(LineOutcome::NoData);
    let note = match (lines.count(LineOutcome::Failed), lines.count(LineOutcome::Pending)) {
        (0, 0) => "none failed".to_owned(),
        (failed, 0) => format!("{} failed", humanize::count(failed)),
        (failed, pending) => format!("{} failed, {} pending", humanize::count(failed), humanize::count(pending)),
    };
    key("Answered", humanize::percent(answered, lines.targets.len() as u64), note);
    key("Cost", humanize::money(record.spending.known()), humanize::counted(record.spending.calls, "call", "calls"));
    html.markup("</dl>\n");
    html
}

/// The charts over months, and their figures.
pub(super) fn figures(content: &PageContent<'_>) -> Result<Html, ReportError> {
    let portfolio = content.portfolio;
    let mut html = Html::new();
    html.markup("<section aria-labelledby=h-months>\n<h2 id=h-months>All targets by month</h2>\n");
    let (Some((first, _)), Some(latest)) = (portfolio.months.first(), portfolio.latest) else {
        html.markup("<p>The dataset has no dated rows, so there is nothing to plot.</p>\n</section>\n");
        return Ok(html);
    };
    let months: Vec<Month> = portfolio.months.iter().map(|(month, _)| *month).collect();
    let series = |column: usize| -> Series {
        portfolio.months.iter().map(|(_, totals)| totals.sums[column].value().map(plot::as_f64)).collect()
    };
    let label = |what: &str, values: &Series| {
        let shown = |value: Option<&f64>| known(value, |value| format!("{value:.0}"));
        let (begin, end) = (values.iter().flatten().next(), values.iter().rev().flatten().next());
        format!("{what}, all targets by month: {} in {first}, {} in {latest}", shown(begin), shown(end))
    };
    let (domains, links) = (series(REFERRING_DOMAINS), series(BACKLINKS));
    let (new, lost) = (series(NEW_REFERRING_DOMAINS), series(LOST_REFERRING_DOMAINS));
    let there: Series =
        portfolio.months.iter().map(|(_, totals)| Some(plot::as_f64(i128::from(totals.targets)))).collect();
    html.markup("<div class=plots>\n");
    // A chart that begins late says since when the values are known.
    let mut figure = |caption: &'static str, values: &Series, svg: Html| {
        html.markup("<figure><figcaption>").markup(caption);
        let begin = values.iter().position(Option::is_some).filter(|index| *index > 0);
        if let Some(begin) = begin.and_then(|index| months.get(index)) {
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
        html.text(&humanize::counted(portfolio.outside, "row", "rows"));
        html.markup(" of earlier or later months, which fewer than half of the targets have, and ");
        html.text(&humanize::counted(portfolio.undated, "row", "rows")).markup(" without a usable date.</p>\n");
    }
    html.piece(&figures_table(&portfolio.months)).markup("</section>\n");
    Ok(html)
}

/// Names the months for which fewer targets have data than around them, and the largest target that each lacks: their
/// sums look like a loss.
fn thin_months(portfolio: &Portfolio) -> Html {
    let months = &portfolio.months;
    let counts: Vec<u64> = months.iter().map(|(_, totals)| totals.targets).collect();
    let mut html = Html::new();
    let mut thin = thin(&counts);
    if thin.is_empty() {
        return html;
    }
    thin.sort_by_key(|(index, around)| std::cmp::Reverse(around - counts[*index]));
    let more = thin.len().saturating_sub(MOST_THIN) as u64;
    thin.truncate(MOST_THIN);
    thin.sort_unstable();
    html.markup("<p class=note>Each month sums only the targets that have data for it: ");
    for (listed, (index, around)) in thin.into_iter().enumerate() {
        html.markup(if listed > 0 { ", " } else { "" }).text(&humanize::count(counts[index])).markup(" of ");
        html.text(&humanize::count(around)).markup(" in ").show(months[index].0);
        if let Some((target, backlinks)) = portfolio.largest_lacking(index) {
            html.markup(" (without ").text(target).markup(", ").text(&share(backlinks.into(), portfolio.backlinks()));
            html.markup(" of all backlinks)");
        }
    }
    if more > 0 {
        html.markup("; there are also gaps in ").text(&humanize::counted(more, "month", "months"));
    }
    html.markup(".</p>\n");
    html
}

/// Indices of counts that are below an earlier and a later one, with the lower of these. The last count is compared to
/// the one before.
fn thin(counts: &[u64]) -> Vec<(usize, u64)> {
    let mut most_after = counts.to_vec();
    for index in (1..counts.len()).rev() {
        most_after[index - 1] = most_after[index - 1].max(most_after[index]);
    }
    if let ([.., before, _], Some(last)) = (counts, most_after.last_mut()) {
        *last = (*last).max(*before);
    }
    let mut most_before = 0;
    let mut thin = Vec::new();
    for (index, count) in counts.iter().enumerate() {
        let around = most_before.min(most_after[index]);
        if *count < around {
            thin.push((index, around));
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
        html.markup("<tr><th scope=row>").show(month).markup("<td>").text(&humanize::count(totals.targets));
        for column in
            [REFERRING_DOMAINS, NEW_REFERRING_DOMAINS, LOST_REFERRING_DOMAINS, BACKLINKS, NEW_BACKLINKS, LOST_BACKLINKS]
        {
            html.markup("<td>").text(&known(totals.sums[column].value(), whole));
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
    fn months_that_a_target_lacks_are_found_and_growth_is_not() {
        let check = |counts: &[u64], expected: &[(usize, u64)]| assert_eq!(thin(counts), expected, "{counts:?}");
        check(&[], &[]);
        check(&[3], &[]);
        check(&[1, 2, 2, 3], &[]);
        check(&[2, 1, 2, 3], &[(1, 2)]);
        check(&[2, 0, 1, 2], &[(1, 2), (2, 2)]);
        check(&[2, 2, 1], &[(2, 2)]);
        // A history that has ended is not a gap.
        check(&[3, 2, 2, 2], &[]);
    }
}
