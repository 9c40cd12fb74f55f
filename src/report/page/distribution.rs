//! The section on the latest month: histograms of ranks and spam scores, and the sources of links.

use super::{PageContent, share, shares_table};
use crate::{
    api::RankScale,
    humanize,
    report::{
        html::{Html, html},
        plot,
        portfolio::{RANK, SPAM_SCORE},
        shares::Share,
    },
};

/// Classes of ranks and of spam scores.
const CLASSES: usize = 10;
const MAX_SPAM_SCORE: i64 = 100;
/// Rows of a table of shares.
const ROWS: usize = 10;

pub(super) fn distribution(content: &PageContent<'_>) -> Html {
    let head = html!("<section aria-labelledby=h-latest>\n<h2 id=h-latest>The latest month");
    let Some(latest) = content.portfolio.latest else {
        return html!("{}</h2>\n<p>The dataset has no dated rows.</p>\n</section>\n", head);
    };
    let scale = content.manifest.provenance.parameters.rank_scale;
    let most_rank = if scale == RankScale::OneHundred { 100 } else { 1_000 };
    let (tlds, countries) = (&content.shares.tlds, &content.shares.countries);
    let com = tlds.top(usize::MAX).0.into_iter().find(|(key, _)| *key == "com").map_or(0, |(_, links)| links);
    html!(
        "{}, {}</h2>\n<div class=plots>\n{}{}</div>\n<div class=pair>\n{}{}</div>\n</section>\n",
        head,
        latest,
        figure(content, "Rank", most_rank, RANK),
        figure(content, "Spam score", MAX_SPAM_SCORE, SPAM_SCORE),
        shares("Top-level domains", &format!("{} from .com", share(com, tlds.total())), tlds, "."),
        shares(
            "Countries",
            &format!("{} from unknown countries", share(countries.unknown, countries.total())),
            countries,
            ""
        ),
    )
}

fn figure(content: &PageContent<'_>, name: &str, max: i64, column: usize) -> Html {
    let latest = content.portfolio.latest;
    let (mut counts, mut unknown) = ([0_u64; CLASSES], 0_u64);
    let width = max / 10;
    for (_, history) in content.portfolio.all().filter(|(_, history)| history.latest >= latest) {
        let class = history.cells[column].map(|value| usize::try_from(value.max(0) / width).unwrap_or(usize::MAX));
        match class {
            // The last class includes the highest value and any above.
            Some(class) => counts[class.min(CLASSES - 1)] += 1,
            None => unknown += 1,
        }
    }
    let classes = (0_i64..).zip(counts).map(|(class, count)| format!("{count} from {}", class * width));
    let label = format!("{name}, targets by class: {}", classes.collect::<Vec<_>>().join(", "));
    let unknown = match unknown {
        0 => Html::default(),
        _ => html!(" <span class=note>(unknown for {})</span>", humanize::count(unknown)),
    };
    html!(
        "<figure><figcaption>{}, number of targets{}</figcaption>{}</figure>\n",
        name,
        unknown,
        plot::histogram(&label, width, &counts),
    )
}

fn shares(name: &str, headline: &str, of: &Share, prefix: &str) -> Html {
    let head = html!("<div><h3>{} of referring links: {}</h3>\n", name, headline);
    let total = of.total();
    if total <= 0 {
        return html!("{}<p>The answers contain none.</p></div>\n", head);
    }
    let (top, rest) = of.top(ROWS);
    let largest = top.first().map_or(0, |(_, links)| *links).max(of.unknown).max(rest);
    let keys: Vec<_> = top.into_iter().map(|(key, links)| (format!("{prefix}{key}"), links)).collect();
    let others = [("others", rest), ("unknown", of.unknown)].into_iter().filter(|(_, links)| *links > 0);
    let rows = keys.iter().map(|(key, links)| (key.as_str(), *links)).chain(others);
    html!(
        "{}{}\n<p class=note>Based on the largest entries that the API lists for each target ({}).</p></div>\n",
        head,
        shares_table(rows, largest, total),
        humanize::counted(of.targets, "target", "targets"),
    )
}
