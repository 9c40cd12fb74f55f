//! The section on coverage: outcomes, failure reasons, failed targets and rejected lines.

use super::{PageContent, known, share};
use crate::{
    dataset::LineOutcome,
    humanize,
    report::{
        html::Html,
        lines::{MOST_FAILURES, outcome_words},
        plot,
    },
};

pub(super) fn coverage(content: &PageContent<'_>) -> Html {
    let lines = content.lines;
    let mut html = Html::new();
    html.markup(
        "<section aria-labelledby=h-coverage>\n<h2 id=h-coverage>Coverage and failures</h2>\n<div class=pair>\n",
    );
    let all = lines.targets.len() as u64;
    let outcomes = LineOutcome::OF_TARGETS.map(|outcome| (outcome_words(outcome), lines.count(outcome)));
    html.piece(&counts("Targets by outcome", &outcomes, all));
    let failed = lines.count(LineOutcome::Failed);
    let spaced: Vec<(String, u64)> =
        content.record.totals.failures.iter().map(|(reason, count)| (reason.replace('_', " "), *count)).collect();
    let mut reasons: Vec<(&str, u64)> = spaced.iter().map(|(reason, count)| (reason.as_str(), *count)).collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    if reasons.is_empty() {
        html.markup("<div><h3>Failure reasons</h3><p>No target failed.</p></div>\n");
    } else {
        html.piece(&counts("Failure reasons", &reasons, failed));
    }
    html.markup("</div>\n").piece(&failures(content, failed));
    let input = lines.rejected + lines.duplicates;
    if input > 0 {
        html.markup("<h3>Rejected and duplicate input lines</h3>\n<p>");
        html.text(&humanize::counted(lines.duplicates, "line repeats", "lines repeat")).markup(" a target; ");
        html.text(&humanize::counted(lines.rejected, "line is not a valid domain", "lines are not valid domains"));
        html.markup(".</p>\n");
        if !lines.reasons.is_empty() {
            html.markup("<ul>");
            for (reason, count) in &lines.reasons {
                html.markup("<li>").text(&humanize::count(*count)).markup(": ").text(reason).markup("\n");
            }
            html.markup("</ul>\n");
        }
    }
    let drift = &content.record.drift;
    if !drift.is_empty() {
        html.markup("<h3>Unexpected content in the answers</h3>\n<ul>");
        for line in drift {
            html.markup("<li>").text(line).markup("\n");
        }
        html.markup("</ul>\n");
    }
    html.markup("</section>\n");
    html
}

fn counts(name: &'static str, counts: &[(&str, u64)], all: u64) -> Html {
    let mut html = Html::new();
    html.markup("<div><h3>").markup(name).markup("</h3>\n<table class=\"numbers shares\"><tbody>");
    for (word, count) in counts {
        html.markup("<tr><th scope=row>").text(word);
        html.markup("<td>").piece(&plot::bar((*count).into(), all.into()));
        html.markup("<td>").text(&share((*count).into(), all.into()));
        html.markup("<td>").text(&humanize::count(*count)).markup("\n");
    }
    html.markup("</tbody></table></div>\n");
    html
}

fn failures(content: &PageContent<'_>, failed: u64) -> Html {
    let mut html = Html::new();
    let listed = &content.lines.failures;
    if listed.is_empty() {
        return html;
    }
    html.markup("<details open><summary>");
    html.text(&humanize::counted(failed, "failed target", "failed targets"));
    if failed > listed.len() as u64 {
        html.markup(", of which the first ").show(MOST_FAILURES).markup(" are listed; all are in _failures.csv");
    }
    html.markup("</summary>\n<div class=scroll tabindex=0 role=region aria-label=\"Failed targets\">");
    html.markup(
        "<table class=failed><thead><tr><th scope=col>Target<th scope=col class=n>HTTP<th scope=col class=n>API",
    );
    html.markup("<th scope=col class=n>Attempts<th scope=col>Message</thead>\n<tbody>");
    for failed in listed {
        html.markup("<tr><th scope=row>").text(&failed.target);
        for number in [failed.http_status, failed.api_status_code, failed.attempts] {
            html.markup("<td class=n>").text(&known(number, |number| number.to_string()));
        }
        html.markup("<td>").text(failed.message.as_deref().unwrap_or("\u{2013}")).markup("\n");
    }
    html.markup("</tbody></table></div></details>\n");
    html
}
