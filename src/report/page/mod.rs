//! The page: its sections and texts.
//!
//! Style and script are included whole. Their digests are in the page's content security policy, so that the browser
//! runs nothing else and contacts no server.

mod coverage;
mod distribution;
mod facts;
mod overview;
mod ranking;
mod table;

use base64::{Engine, prelude::BASE64_STANDARD};
use sha2::{Digest, Sha256};

use super::{
    html::{Html, html},
    input_results::Lines,
    month::Month,
    movers::Movers,
    plot,
    portfolio::Portfolio,
    shares::Shares,
};
use crate::{export::RunManifest, humanize};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

pub(super) struct PageContent<'a> {
    pub(super) manifest: &'a RunManifest,
    pub(super) lines: &'a Lines,
    pub(super) portfolio: &'a Portfolio,
    pub(super) shares: &'a Shares,
    /// If the dataset keeps the rows of several runs: the day whose rows are shown, and the number of days.
    pub(super) snapshot: Option<&'a (String, usize)>,
}

pub(super) fn page(content: &PageContent<'_>) -> String {
    let provenance = &content.manifest.provenance;
    html!(
        "<!doctype html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n\
         <meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'sha256-{}'; \
         script-src 'sha256-{}'; base-uri 'none'; form-action 'none'\">\n\
         <meta name=viewport content=\"width=device-width,initial-scale=1\">\n\
         <meta name=color-scheme content=\"light dark\">\n<meta name=referrer content=no-referrer>\n\
         <title>Backlinks history, {}</title>\n<style>{}</style>\n</head>\n<body>\n\
         <a class=skip href=\"#targets\">Skip to the table of targets</a>\n\
         {}<main>\n{}{}{}{}{}{}</main>\n\
         <footer>Made by backlinks-export {} from the published dataset. This file loads nothing and sends nothing.\
         </footer>\n<script>{}</script>\n</body>\n</html>\n",
        digest(STYLE),
        digest(SCRIPT),
        provenance.run_id,
        Html::literal(STYLE),
        overview::header(content),
        overview::figures(content),
        ranking::movers(content, &Movers::new(content.portfolio)),
        distribution::distribution(content),
        coverage::coverage(content),
        facts::facts(content),
        table::targets(content),
        provenance.version,
        Html::literal(SCRIPT),
    )
    .into_string()
}

/// The digest of a style or script in a content security policy.
fn digest(content: &str) -> String {
    BASE64_STANDARD.encode(Sha256::digest(content))
}

/// `1,234`; with a minus sign below zero.
fn whole(number: i128) -> String {
    let digits = humanize::count(u64::try_from(number.unsigned_abs()).unwrap_or(u64::MAX));
    if number < 0 { format!("\u{2212}{digits}") } else { digits }
}

/// `+1,234`, `−1,234`, `0`
fn signed(number: i128) -> String {
    if number > 0 { format!("+{}", whole(number)) } else { whole(number) }
}

/// A change in tenths of a percent; `None` if it starts at nothing.
fn change_in_tenths(first: i128, last: i128) -> Option<i64> {
    if first <= 0 {
        return None;
    }
    let thousand = (last - first).checked_mul(1_000)?;
    // Rounded half away from zero; the script does not round again.
    let half = if thousand < 0 { -first / 2 } else { first / 2 };
    i64::try_from((thousand + half) / first).ok()
}

/// `+12.3 %`
fn signed_percent(tenths: i64) -> String {
    let size = tenths.unsigned_abs();
    let sign = match tenths {
        1.. => "+",
        0 => "",
        _ => "\u{2212}",
    };
    format!("{sign}{}.{} %", humanize::count(size / 10), size % 10)
}

/// A part of a whole: `12.3 %`
fn share(part: i128, whole: i128) -> String {
    if whole <= 0 {
        return "\u{2013}".to_owned();
    }
    let tenths = (part * 1_000 + whole / 2) / whole;
    format!("{}.{} %", tenths / 10, tenths % 10)
}

/// A table of parts of a whole, with bars relative to `largest`.
fn shares_table<'a>(parts: impl Iterator<Item = (&'a str, i128)>, largest: i128, all: i128) -> Html {
    let row = |(name, part)| {
        let (bar, share) = (plot::bar(part, largest), share(part, all));
        html!("<tr><th scope=row>{}<td>{}<td>{}<td>{}\n", name, bar, share, whole(part))
    };
    html!("<table class=\"numbers shares\"><tbody>{}</tbody></table>", parts.map(row).collect::<Html>())
}

/// A dash for an unknown value.
fn known<T>(value: Option<T>, shown: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "\u{2013}".to_owned(), shown)
}

/// `Nov 2025 to Nov 2026`
fn span(latest: Month) -> String {
    format!("{} to {latest}", latest.back(super::portfolio::COMPARISON_MONTHS))
}

/// A time in microseconds since 1970, to the minute.
fn moment(micros: i64) -> String {
    let moment = jiff::Timestamp::from_microsecond(micros).ok();
    known(moment, |moment| jiff::tz::TimeZone::UTC.to_datetime(moment).strftime("%Y-%m-%d %H:%M UTC").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_formatted_for_people() {
        assert_eq!(whole(-1_234), "\u{2212}1,234");
        assert_eq!((signed(1_234), signed(0), signed(-5)), ("+1,234".into(), "0".into(), "\u{2212}5".into()));
        assert_eq!((share(1, 3), share(0, 0)), ("33.3 %".into(), "\u{2013}".into()));
        assert_eq!(moment(0), "1970-01-01 00:00 UTC");
        let check = |first: i128, last: i128, expected: Option<&str>| {
            assert_eq!(change_in_tenths(first, last).map(signed_percent).as_deref(), expected, "{first} to {last}");
        };
        check(100, 112, Some("+12.0 %"));
        check(1_000, 999, Some("\u{2212}0.1 %"));
        check(3, 2, Some("\u{2212}33.3 %"));
        check(7, 7, Some("0.0 %"));
        check(0, 7, None);
        check(1, i128::from(i64::MAX), None);
    }

    #[test]
    fn style_and_script_cannot_end_their_element_and_contain_no_url() {
        let check = |content: &str| {
            for forbidden in ["</", "<!--", "http:", "https:", "url(", "@import", "innerHTML", "eval("] {
                assert!(!content.contains(forbidden), "{forbidden}");
            }
        };
        check(STYLE);
        check(SCRIPT);
    }
}
