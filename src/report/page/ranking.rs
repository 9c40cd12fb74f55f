//! The section on winners and losers over twelve months.

use super::{PageContent, change_in_tenths, known, signed, signed_percent, span, whole};
use crate::{
    humanize,
    report::{
        html::{Html, html},
        movers::{MAX_MOVERS, Mover, Movers},
        plot,
    },
};

pub(super) fn movers(content: &PageContent<'_>, movers: &Movers<'_>) -> Html {
    let head = html!("<section aria-labelledby=h-movers>\n<h2 id=h-movers>Winners and losers over 12 months</h2>\n");
    let Some(latest) = content.portfolio.latest.filter(|_| movers.compared > 0) else {
        return html!(
            "{}<p>No target has referring domains both in the latest month and twelve months before.</p>\n</section>\n",
            head
        );
    };
    html!(
        "{}<p class=note>By the change in referring domains, {}; {} can be compared, and up to {} are listed on each \
         side.</p>\n<div class=\"pair wide\">\n{}{}</div>\n</section>\n",
        head,
        span(latest),
        humanize::counted(movers.compared as u64, "target", "targets"),
        MAX_MOVERS,
        list("Winners", "No target has gained referring domains.", "gain", &movers.winners),
        list("Losers", "No target has lost referring domains.", "loss", &movers.losers),
    )
}

fn list(name: &str, none: &str, class: &str, movers: &[Mover<'_>]) -> Html {
    if movers.is_empty() {
        return html!("<div><h3>{}</h3>\n<p>{}</p></div>\n", name, none);
    }
    let row = |mover: &Mover<'_>| {
        let (first, last) = mover.history.ends().unwrap_or_default();
        html!(
            "<tr><th scope=row>{}<td>{}<td>{}<td class=delta>{}<td>{}\n",
            mover.target,
            plot::sparkline(&mover.history.compared),
            whole(last.into()),
            signed(mover.change.into()),
            known(change_in_tenths(first.into(), last.into()), signed_percent),
        )
    };
    html!(
        "<div><h3>{}</h3>\n<div class=scroll tabindex=0 role=region aria-label=\"{}\">\
         <table class=\"numbers movers {}\"><thead><tr><th scope=col>Target<th scope=col>12 months<th scope=col>Now<th scope=col>Change<th scope=col>%\
         </thead>\n<tbody>{}</tbody></table></div></div>\n",
        name,
        name,
        class,
        movers.iter().map(row).collect::<Html>(),
    )
}
