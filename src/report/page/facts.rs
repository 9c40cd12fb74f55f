//! The section on cost and run, from `_run.json`.

use super::{PageContent, moment};
use crate::{
    humanize,
    money::Usd,
    report::html::{Html, html},
};

pub(super) fn facts(content: &PageContent<'_>) -> Html {
    let (manifest, lines) = (content.manifest, content.lines);
    let (provenance, spending) = (&manifest.provenance, &manifest.spending);
    let mut facts = Html::default();
    let mut fact = |name: &str, value: String| {
        facts += html!("<div><dt>{}</dt><dd>{}</dd></div>\n", name, value);
    };
    let spent = spending.reported();
    fact("Cost", humanize::money(spent));
    if spending.debited != Usd::ZERO && spending.upstream != Usd::ZERO {
        fact("As debited", humanize::money(spending.debited));
    }
    if spending.upstream != Usd::ZERO {
        let upstream = humanize::money(spending.upstream);
        fact("At the upstream price", format!("{upstream}; the actual debit may be higher"));
    }
    let answered = i64::try_from(manifest.totals.ok + manifest.totals.no_data).unwrap_or(i64::MAX);
    if answered > 0 {
        fact("Per answered target", humanize::money(Usd::from_micros(spent.micros() / answered)));
    }
    if spending.unpriced_calls > 0 {
        fact("Of unknown price", humanize::counted(spending.unpriced_calls, "call", "calls"));
    }
    if spending.possibly_billed > 0 {
        fact("Unanswered, possibly billed", humanize::counted(spending.possibly_billed, "call", "calls"));
    }
    let retries = humanize::counted(spending.retries, "retry", "retries");
    fact("Calls", format!("{}, including {retries}", humanize::count(spending.calls)));
    if let Some((first, last)) = lines.fetched {
        let (first, last) = (moment(first), moment(last));
        fact("Answers fetched", if first == last { first } else { format!("{first} to {last}") });
    }
    let requested = &provenance.parameters;
    fact("Requested dates", format!("{} to {}", requested.date_from, requested.date_to));
    fact("Rank scale", requested.rank_scale.as_str().replace('_', " "));
    fact("Tag", requested.tag.clone());
    fact("Built from", humanize::counted(provenance.ledgers.len() as u64, "run", "runs"));
    let bytes = manifest.files.iter().map(|file| file.bytes).sum();
    let rows = humanize::counted(manifest.totals.rows, "row", "rows");
    let files = humanize::counted(manifest.files.len() as u64, "file", "files");
    fact("Dataset", format!("{rows}, {files}, {}", humanize::bytes(bytes)));
    if let Some((day, days)) = content.snapshot {
        fact("Snapshot", format!("{day}, the newest of {days}: this page shows only its rows"));
    }
    fact("Partitioned by", provenance.layout.partition_by.to_string().replace('_', " "));
    fact("Compression", provenance.layout.compression.to_string());
    fact("Program", format!("{} {}, schema {}", provenance.program, provenance.version, provenance.schema_version));
    html!(
        "<section aria-labelledby=h-run>\n<h2 id=h-run>Cost and run</h2>\n<dl class=facts>\n{}</dl>\n</section>\n",
        facts
    )
}
