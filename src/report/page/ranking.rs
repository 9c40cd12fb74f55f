//! The section on winners and losers over twelve months.

use super::{PageContent, change_in_tenths, known, percent, signed, span, whole};
use crate::{
    humanize,
    report::{
        html::Html,
        movers::{MOST, Mover, Movers},
        plot,
    },
};

pub(super) fn movers(content: &PageContent<'_>, movers: &Movers<'_>) -> Html {
    let mut html = Html::new();
    html.markup("<section aria-labelledby=h-movers>\n<h2 id=h-movers>Winners and losers over 12 months</h2>\n");
    let Some(latest) = content.portfolio.latest.filter(|_| movers.compared > 0) else {
        html.markup("<p>No target has referring domains both in the latest month and twelve months before.</p>\n");
        html.markup("</section>\n");
        return html;
    };
    html.markup("<p class=note>By the change in referring domains, ").text(&span(latest)).markup("; ");
    html.text(&humanize::counted(movers.compared as u64, "target", "targets"));
    html.markup(" can be compared, and up to ").show(MOST).markup(" are listed on each side.</p>\n");
    html.markup("<div class=\"pair wide\">\n");
    html.piece(&list("Winners", "No target has gained referring domains.", "gain", &movers.winners));
    html.piece(&list("Losers", "No target has lost referring domains.", "loss", &movers.losers));
    html.markup("</div>\n</section>\n");
    html
}

fn list(name: &'static str, none: &'static str, class: &'static str, movers: &[Mover<'_>]) -> Html {
    let mut html = Html::new();
    html.markup("<div><h3>").markup(name).markup("</h3>\n");
    if movers.is_empty() {
        html.markup("<p>").markup(none).markup("</p></div>\n");
        return html;
    }
    html.markup("<div class=scroll tabindex=0 role=region aria-label=\"").markup(name);
    html.markup("\"><table class=\"numbers movers ").markup(class).markup("\"><thead><tr><th scope=col>Target");
    html.markup("<th scope=col>12 months<th scope=col>Now<th scope=col>Change<th scope=col>%</thead>\n<tbody>");
    for mover in movers {
        let (first, last) = mover.history.ends().unwrap_or_default();
        let tenths = change_in_tenths(first.into(), last.into());
        html.markup("<tr><th scope=row>").text(mover.target);
        html.markup("<td>").piece(&plot::sparkline(&mover.history.window));
        html.markup("<td>").text(&whole(last.into())).markup("<td class=delta>").text(&signed(mover.change.into()));
        html.markup("<td>").text(&known(tenths, percent)).markup("\n");
    }
    html.markup("</tbody></table></div></div>\n");
    html
}
