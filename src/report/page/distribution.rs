//! The section on the latest month: histograms of ranks and spam scores, and the sources of links.

use super::{PageContent, share, whole};
use crate::{
    api::RankScale,
    humanize,
    report::{ReportError, html::Html, plot, portfolio::History, shares::Share},
};

/// Classes of ranks and of spam scores.
const CLASSES: usize = 10;
/// The highest spam score.
const MOST_SPAM: i64 = 100;
/// Rows of a table of shares.
const ROWS: usize = 10;

pub(super) fn distribution(content: &PageContent<'_>) -> Result<Html, ReportError> {
    let mut html = Html::new();
    html.markup("<section aria-labelledby=h-latest>\n<h2 id=h-latest>The latest month");
    let Some(latest) = content.portfolio.latest else {
        html.markup("</h2>\n<p>The dataset has no dated rows.</p>\n</section>\n");
        return Ok(html);
    };
    html.markup(", ").show(latest).markup("</h2>\n<div class=plots>\n");
    let scale = content.record.made_of.parameters.as_ref().map(|asked| asked.rank_scale);
    let most_rank = if scale == Some(RankScale::OneHundred) { 100 } else { 1_000 };
    html.piece(&figure(content, "Rank", most_rank, History::rank)?);
    html.piece(&figure(content, "Spam score", MOST_SPAM, History::spam_score)?);
    html.markup("</div>\n<div class=pair>\n");
    let com = content.shares.tlds.top(usize::MAX).0.into_iter().find(|(key, _)| *key == "com");
    let com = com.map_or(0, |(_, links)| links);
    let headline = format!("{} from .com", share(com, content.shares.tlds.total()));
    html.piece(&shares("Top-level domains", &headline, &content.shares.tlds, "."));
    let unknown = content.shares.countries.unknown;
    let headline = format!("{} from unknown countries", share(unknown, content.shares.countries.total()));
    html.piece(&shares("Countries", &headline, &content.shares.countries, ""));
    html.markup("</div>\n</section>\n");
    Ok(html)
}

fn figure(
    content: &PageContent<'_>,
    name: &'static str,
    most: i64,
    of: fn(&History) -> Option<i64>,
) -> Result<Html, ReportError> {
    let latest = content.portfolio.latest;
    let (mut counts, mut unknown) = ([0_u64; CLASSES], 0_u64);
    let width = most / 10;
    for (_, history) in content.portfolio.all().filter(|(_, history)| history.latest >= latest) {
        let class = of(history).map(|value| usize::try_from(value.max(0) / width).unwrap_or(usize::MAX));
        match class {
            // The last class includes the highest value and any above.
            Some(class) => counts[class.min(CLASSES - 1)] += 1,
            None => unknown += 1,
        }
    }
    let classes = (0..)
        .step_by(usize::try_from(width).unwrap_or(1))
        .zip(counts)
        .map(|(from, count)| format!("{count} from {from}"));
    let label = format!("{name}, targets by class: {}", classes.collect::<Vec<_>>().join(", "));
    let mut html = Html::new();
    html.markup("<figure><figcaption>").markup(name).markup(", number of targets");
    if unknown > 0 {
        html.markup(" <span class=note>(unknown for ").text(&humanize::count(unknown)).markup(")</span>");
    }
    html.markup("</figcaption>").piece(&plot::histogram(&label, width, &counts)?).markup("</figure>\n");
    Ok(html)
}

fn shares(name: &'static str, headline: &str, of: &Share, prefix: &'static str) -> Html {
    let mut html = Html::new();
    html.markup("<div><h3>").markup(name).markup(" of referring links: ").text(headline).markup("</h3>\n");
    let (top, rest) = of.top(ROWS);
    let total = of.total();
    if total <= 0 {
        html.markup("<p>The answers contain none.</p></div>\n");
        return html;
    }
    html.markup("<table class=\"numbers shares\"><tbody>");
    let largest = top.first().map_or(0, |(_, links)| *links).max(of.unknown).max(rest);
    let mut row = |key: &str, prefix: &'static str, links: i128| {
        html.markup("<tr><th scope=row>").markup(prefix).text(key).markup("<td>").piece(&plot::bar(links, largest));
        html.markup("<td>").text(&share(links, total)).markup("<td>").text(&whole(links)).markup("\n");
    };
    for (key, links) in top {
        row(key, prefix, links);
    }
    if rest > 0 {
        row("others", "", rest);
    }
    if of.unknown > 0 {
        row("unknown", "", of.unknown);
    }
    html.markup("</tbody></table>\n<p class=note>Based on the largest entries that the API lists for each target (");
    html.text(&humanize::counted(of.targets, "target", "targets")).markup(").</p></div>\n");
    html
}
