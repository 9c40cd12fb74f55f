//! The head of the page with its key figures, and the section on all targets by month.

use super::{PageContent, change_in_tenths, known, share, signed, signed_percent, whole};
use crate::{
    dataset::LineOutcome,
    humanize,
    report::{
        html::{Html, html},
        month::Month,
        plot::{self, Series},
        portfolio::{
            BACKLINKS, LOST_BACKLINKS, LOST_REFERRING_DOMAINS, MonthTotals, NEW_BACKLINKS, NEW_REFERRING_DOMAINS,
            Portfolio, REFERRING_DOMAINS,
        },
    },
};

/// Listed months with fewer targets than those around them.
const MAX_THIN_MONTHS: usize = 6;

/// Title, summary and key figures.
pub(super) fn header(content: &PageContent<'_>) -> Html {
    let PageContent { manifest, lines, portfolio, .. } = content;
    let months = portfolio.months.first().zip(portfolio.latest);
    let months = months.map(|((first, _), latest)| html!(", {} to {}", first, latest));
    let requested = &manifest.provenance.parameters;
    let warning = manifest
        .provenance
        .simulated
        .then(|| html!("<p class=warning>Simulated answers: these are not data about real sites.</p>\n"));
    html!(
        "<header>\n<p class=kicker>backlinks-export</p>\n<h1>Backlinks history</h1>\n<p class=lead>{}, {}, {}{}</p>\n\
         <p class=note>Run <code>{}</code>, requested dates {} to {}</p>\n{}{}</header>\n",
        humanize::counted(lines.targets.len() as u64, "target", "targets"),
        humanize::counted(lines.count(LineOutcome::Ok), "history", "histories"),
        humanize::counted(manifest.totals.rows, "monthly row", "monthly rows"),
        months.unwrap_or_default(),
        manifest.provenance.run_id,
        requested.date_from,
        requested.date_to,
        warning.unwrap_or_default(),
        key_figures(content),
    )
}

fn key_figures(content: &PageContent<'_>) -> Html {
    let PageContent { manifest, lines, portfolio, .. } = content;
    let mut keys = Html::default();
    let mut key = |name: &str, value: String, note: String| {
        keys += html!("<div><dt>{}</dt><dd><b>{}</b> <span>{}</span></dd></div>\n", name, value, note);
    };
    if let (Some(last), Some(latest)) = (portfolio.latest_totals(), portfolio.latest) {
        let [value, before] = [Some(last), portfolio.comparison_totals()]
            .map(|totals| move |column: usize| totals.and_then(|totals| totals.sums[column]));
        let change = |column| {
            let tenths = before(column).and_then(|before| change_in_tenths(before, value(column)?));
            tenths.map_or_else(|| format!("in {latest}"), |tenths| format!("{} in 12 months", signed_percent(tenths)))
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
    key(
        "Cost",
        humanize::money(manifest.spending.reported()),
        humanize::counted(manifest.spending.calls, "call", "calls"),
    );
    html!("<dl class=keys>\n{}</dl>\n", keys)
}

/// The charts over months, and their figures.
pub(super) fn figures(content: &PageContent<'_>) -> Html {
    let portfolio = content.portfolio;
    let head = html!("<section aria-labelledby=h-months>\n<h2 id=h-months>All targets by month</h2>\n");
    let (Some((first, _)), Some(latest)) = (portfolio.months.first(), portfolio.latest) else {
        return html!("{}<p>The dataset has no dated rows, so there is nothing to plot.</p>\n</section>\n", head);
    };
    let months: Vec<Month> = portfolio.months.iter().map(|(month, _)| *month).collect();
    let series = |column: usize| -> Series {
        portfolio.months.iter().map(|(_, totals)| totals.sums[column].map(plot::as_f64)).collect()
    };
    let label = |what: &str, values: &Series| {
        let shown = |value: Option<&f64>| known(value, |value| format!("{value:.0}"));
        let (begin, end) = (values.iter().flatten().next(), values.iter().rev().flatten().next());
        format!("{what}, all targets by month: {} in {first}, {} in {latest}", shown(begin), shown(end))
    };
    let (new, lost) = (series(NEW_REFERRING_DOMAINS), series(LOST_REFERRING_DOMAINS));
    let there: Series =
        portfolio.months.iter().map(|(_, totals)| Some(plot::as_f64(i128::from(totals.targets)))).collect();
    let figure = |caption: Html, values: &Series, svg: Html| {
        // A chart that begins late names the first month with a value.
        let begin = values.iter().position(Option::is_some).filter(|index| *index > 0);
        let since = begin
            .and_then(|index| months.get(index))
            .map(|begin| html!(" <span class=note>(available from {})</span>", begin));
        let since = since.unwrap_or_default();
        html!("<figure><figcaption>{}{}</figcaption>{}</figure>\n", caption, since, svg)
    };
    let line = |name: &'static str, values: &Series| {
        figure(Html::literal(name), values, plot::line_chart(&label(name, values), &months, values))
    };
    let name = "New and lost referring domains, all targets by month";
    let not_plotted = (portfolio.outside > 0 || portfolio.undated > 0).then(|| {
        html!(
            "<p class=note>Not in the charts: {} of earlier or later months, which fewer than half of the targets have, \
             and {} without a usable date.</p>\n",
            humanize::counted(portfolio.outside, "row", "rows"),
            humanize::counted(portfolio.undated, "row", "rows"),
        )
    });
    html!(
        "{}<div class=plots>\n{}{}{}{}</div>\n{}{}{}</section>\n",
        head,
        line("Referring domains", &series(REFERRING_DOMAINS)),
        line("Backlinks", &series(BACKLINKS)),
        figure(
            html!("<span class=gain>New</span> and <span class=loss>lost</span> referring domains"),
            &new,
            plot::gains_and_losses(name, &months, &new, &lost),
        ),
        line("Targets with data", &there),
        thin_months(portfolio),
        not_plotted.unwrap_or_default(),
        figures_table(&portfolio.months),
    )
}

/// Names the months for which fewer targets have data than around them, and the largest target that each lacks: their
/// sums look like a loss.
fn thin_months(portfolio: &Portfolio) -> Html {
    let months = &portfolio.months;
    let counts: Vec<u64> = months.iter().map(|(_, totals)| totals.targets).collect();
    let mut thin = thin(&counts);
    if thin.is_empty() {
        return Html::default();
    }
    thin.sort_by_key(|(index, around)| std::cmp::Reverse(around - counts[*index]));
    let more = thin.len().saturating_sub(MAX_THIN_MONTHS) as u64;
    thin.truncate(MAX_THIN_MONTHS);
    thin.sort_unstable();
    let mut list = Html::default();
    for (listed, (index, around)) in thin.into_iter().enumerate() {
        list += html!(
            "{}{} of {} in {}",
            if listed > 0 { ", " } else { "" },
            humanize::count(counts[index]),
            humanize::count(around),
            months[index].0
        );
        if let Some((target, backlinks)) = portfolio.largest_target_with_gap(index) {
            let share = share(backlinks.into(), portfolio.backlinks());
            list += html!(" (without {}, {} of all backlinks)", target, share);
        }
    }
    if more > 0 {
        list += html!("; there are also gaps in {}", humanize::counted(more, "month", "months"));
    }
    html!("<p class=note>Each month sums only the targets that have data for it: {}.</p>\n", list)
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
    let row = |(month, totals): &(Month, MonthTotals)| {
        let columns = [
            REFERRING_DOMAINS,
            NEW_REFERRING_DOMAINS,
            LOST_REFERRING_DOMAINS,
            BACKLINKS,
            NEW_BACKLINKS,
            LOST_BACKLINKS,
        ];
        let cells = columns.map(|column| html!("<td>{}", known(totals.sums[column], whole)));
        let cells: Html = cells.into_iter().collect();
        html!("<tr><th scope=row>{}<td>{}{}\n", month, humanize::count(totals.targets), cells)
    };
    html!(
        "<details><summary>Figures by month</summary>\n\
         <div class=scroll tabindex=0 role=region aria-label=\"Figures by month\"><table class=numbers><thead><tr>\
         <th scope=col>Month<th scope=col>Targets<th scope=col>Referring domains<th scope=col>new<th scope=col>lost\
         <th scope=col>Backlinks<th scope=col>new<th scope=col>lost</thead>\n\
         <tbody>{}</tbody></table></div></details>\n",
        months.iter().rev().map(row).collect::<Html>()
    )
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
