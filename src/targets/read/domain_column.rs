//! Names the columns of a table and finds the one with the domains.
//!
//! Letter case is ignored, since spreadsheets differ in it, unless a file has names that differ only in it. No column
//! is guessed from its content.

use std::collections::HashSet;

use super::safe;
use crate::{sanitize::is_invisible, targets::clean::is_wrapping};

/// Default names of the domain column, in order of preference.
pub(super) const DOMAIN_NAMES: [&str; 5] = ["domain", "target", "url", "website", "host"];
/// Characters of a column's name.
const MAX_NAME_LENGTH: usize = 100;

/// The names in a header, of limited length; empty ones are numbered, and no two are equal when case is ignored.
pub(super) fn names<'a>(header: impl Iterator<Item = std::borrow::Cow<'a, str>>) -> Vec<String> {
    let mut taken = HashSet::new();
    let mut take = |name: String| taken.insert(name.to_lowercase()).then_some(name);
    let mut names = Vec::new();
    for (index, cell) in header.enumerate() {
        let name = match safe(&visible(&cell), MAX_NAME_LENGTH) {
            empty if empty.is_empty() => format!("column_{}", index + 1),
            name => name.into_owned(),
        };
        let unique = take(name.clone()).or_else(|| (2..).find_map(|copy| take(format!("{name}_{copy}"))));
        names.extend(unique);
    }
    names
}

/// A name without the invisible characters and special blanks that spreadsheets and web pages add.
fn visible(name: &str) -> String {
    let is_gap = |character: char| character.is_whitespace() && !character.is_control();
    let seen: String = name.chars().filter(|character| !is_invisible(*character)).collect();
    seen.split(is_gap).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The index of the column `wanted`, or of the domain column.
pub(super) fn find(names: &[String], wanted: Option<&str>) -> Option<usize> {
    let alike = |name: &str| name.trim_matches(is_wrapping).to_lowercase();
    let any_case = |wanted: &str| names.iter().position(|name| alike(name) == alike(wanted));
    match wanted.map(visible) {
        Some(wanted) => names.iter().position(|name| *name == wanted).or_else(|| any_case(&wanted)),
        None => DOMAIN_NAMES.iter().find_map(|name| any_case(name)),
    }
}

/// The name that is similar to `wanted`, or to a default name.
pub(super) fn nearest<'a>(names: &'a [String], wanted: Option<&str>) -> Option<&'a str> {
    let Some(wanted) = wanted else {
        let sounds_right = |name: &&String| DOMAIN_NAMES.iter().any(|word| name.to_lowercase().contains(word));
        // A misspelt word usually has the right first letter; `market` does not mean `target`.
        let begins_right = |name: &&str, word: &str| name.to_lowercase().starts_with(&word[..1]);
        let misspelt =
            || DOMAIN_NAMES.iter().find_map(|word| similar(names, word).filter(|name| begins_right(name, word)));
        return names.iter().find(sounds_right).map(String::as_str).or_else(misspelt);
    };
    similar(names, wanted)
}

/// The name that differs from `wanted` in fewest characters, if they are few.
fn similar<'a>(names: &'a [String], wanted: &str) -> Option<&'a str> {
    let wanted: String = wanted.to_lowercase().chars().take(MAX_NAME_LENGTH).collect();
    let max = wanted.chars().count().div_ceil(3);
    let near = |name: &&'a String| {
        let distance = strsim::levenshtein(&wanted, &name.to_lowercase());
        (distance <= max).then_some(distance)
    };
    names
        .iter()
        .filter_map(|name| Some((near(&name)?, name)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| &**name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_column_has_a_unique_name() {
        let check = |header: &[&str], expected: &[&str]| {
            assert_eq!(names(header.iter().map(|cell| (*cell).into())), expected, "{header:?}");
        };
        check(&["a", "b"], &["a", "b"]);
        check(&["a", "", "A", "a", ""], &["a", "column_2", "A_2", "a_3", "column_5"]);
        check(&["a_2", "a", "a"], &["a_2", "a", "a_3"]);
        check(&["column_2", ""], &["column_2", "column_2_2"]);
        check(&["a\nb\u{1b}"], &["a\u{fffd}b\u{fffd}"]);
        check(&["dom\u{200b}ain\u{feff}", "\u{a0}a\u{a0} b", "\u{200b}"], &["domain", "a b", "column_3"]);
    }

    #[test]
    fn the_domain_column_is_found_by_name() {
        let check = |columns: &[&str], wanted: Option<&str>, expected: Option<usize>| {
            assert_eq!(find(&owned(columns), wanted), expected, "{columns:?} {wanted:?}");
        };
        check(&["client", "Website", "URL"], None, Some(2));
        check(&["host", "DOMAIN"], None, Some(1));
        check(&["client", "domains"], None, None);
        check(&["site", "Site"], Some("Site"), Some(1));
        check(&["site", "domain"], Some("SITE"), Some(0));
        check(&["Größe", "domain"], Some("GRÖSSE"), None);
        check(&["ÜBER", "domain"], Some(" über "), Some(0));
        check(&["domain"], Some("sites"), None);
        check(&["my site"], Some("my\u{a0}si\u{200b}te"), Some(0));
        check(&["client", "'Domain'"], None, Some(1));
        check(&["domain", "'domain'"], Some("'domain'"), Some(1));
    }

    #[test]
    fn only_similar_names_are_suggested() {
        let check = |columns: &[&str], wanted: Option<&str>, expected: Option<&str>| {
            assert_eq!(nearest(&owned(columns), wanted), expected, "{columns:?} {wanted:?}");
        };
        check(&["client", "website"], Some("webiste"), Some("website"));
        check(&["domains", "domain"], Some("domian"), Some("domain"));
        check(&["client", "market"], Some("website"), None);
        check(&["client", "Website URL"], None, Some("Website URL"));
        check(&["client", "market"], None, None);
        check(&["client", "Domian"], None, Some("Domian"));
        check(&["client", "Web site"], None, Some("Web site"));
    }
}
