//! The section on coverage: outcomes, failure reasons, failed targets and rejected lines.

use std::cmp::Reverse;

use super::{PageContent, known, shares_table};
use crate::{
    dataset::LineOutcome,
    humanize,
    report::{
        html::{Html, html},
        input_results::{ListedFailure, MAX_LISTED_FAILURES, outcome_words},
    },
};

pub(super) fn coverage(content: &PageContent<'_>) -> Html {
    let lines = content.lines;
    let outcomes = LineOutcome::OF_TARGETS.map(|outcome| (outcome_words(outcome).to_owned(), lines.count(outcome)));
    let failed = lines.count(LineOutcome::Failed);
    let failures = content.manifest.totals.failures.iter();
    let mut reasons: Vec<_> = failures.map(|(reason, count)| (reason.replace('_', " "), *count)).collect();
    reasons.sort_by_key(|(_, count)| Reverse(*count));
    let reasons = if reasons.is_empty() {
        html!("<div><h3>Failure reasons</h3><p>No target failed.</p></div>\n")
    } else {
        counts("Failure reasons", &reasons, failed)
    };
    html!(
        "<section aria-labelledby=h-coverage>\n<h2 id=h-coverage>Coverage and failures</h2>\n<div class=pair>\n\
         {}{}</div>\n{}{}{}</section>\n",
        counts("Targets by outcome", &outcomes, lines.targets.len() as u64),
        reasons,
        failed_targets(content, failed),
        unused_lines(content),
        drift(&content.manifest.drift),
    )
}

fn unused_lines(content: &PageContent<'_>) -> Html {
    let lines = content.lines;
    if lines.rejected + lines.duplicates == 0 {
        return Html::default();
    }
    let reason = |(reason, count): (&String, &u64)| html!("<li>{}: {}\n", humanize::count(*count), reason);
    let reasons: Html = lines.reasons.iter().map(reason).collect();
    html!(
        "<h3>Rejected and duplicate input lines</h3>\n<p>{} a target; {}.</p>\n{}",
        humanize::counted(lines.duplicates, "line repeats", "lines repeat"),
        humanize::counted(lines.rejected, "line is not a valid domain", "lines are not valid domains"),
        if lines.reasons.is_empty() { reasons } else { html!("<ul>{}</ul>\n", reasons) },
    )
}

fn drift(drift: &[String]) -> Html {
    if drift.is_empty() {
        return Html::default();
    }
    let lines: Html = drift.iter().map(|line| html!("<li>{}\n", line)).collect();
    html!("<h3>Unexpected content in the answers</h3>\n<ul>{}</ul>\n", lines)
}

fn counts(name: &str, counts: &[(String, u64)], all: u64) -> Html {
    let rows = counts.iter().map(|(word, count)| (word.as_str(), i128::from(*count)));
    html!("<div><h3>{}</h3>\n{}</div>\n", name, shares_table(rows, all.into(), all.into()))
}

fn failed_targets(content: &PageContent<'_>, failed: u64) -> Html {
    let listed = &content.lines.failures;
    if listed.is_empty() {
        return Html::default();
    }
    let more = (failed > listed.len() as u64)
        .then(|| html!(", of which the first {} are listed; all are in _failures.csv", MAX_LISTED_FAILURES));
    let row = |failed: &ListedFailure| {
        let number = |number: Option<i64>| known(number, |number| number.to_string());
        html!(
            "<tr><th scope=row>{}<td class=n>{}<td class=n>{}<td class=n>{}<td>{}\n",
            failed.target,
            number(failed.http_status),
            number(failed.api_status_code),
            number(failed.attempts),
            known(failed.message.as_ref(), String::clone),
        )
    };
    html!(
        "<details open><summary>{}{}</summary>\n\
         <div class=scroll tabindex=0 role=region aria-label=\"Failed targets\"><table class=failed><thead><tr>\
         <th scope=col>Target<th scope=col class=n>HTTP<th scope=col class=n>API<th scope=col class=n>Attempts\
         <th scope=col>Message</thead>\n<tbody>{}</tbody></table></div></details>\n",
        humanize::counted(failed, "failed target", "failed targets"),
        more.unwrap_or_default(),
        listed.iter().map(row).collect::<Html>(),
    )
}
