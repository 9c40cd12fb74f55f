//! Suggests valid names for rejected ones, only for the text of the reason.

use std::iter::once;

use encoding_rs::{Encoding, WINDOWS_1250, WINDOWS_1251, WINDOWS_1252};
use icu_normalizer::uts46::Uts46MapperBorrowed;

use crate::sanitize::is_invisible;

/// The text without bullets around it and without invisible characters, with hyphens for dashes and with letters and
/// digits for their typographic forms. `None` if that changes nothing, or if the text has control characters.
pub(super) fn plainer(text: &str) -> Option<String> {
    if text.contains(char::is_control) {
        return None;
    }
    let without_marks = text.trim_matches(|character: char| !character.is_alphanumeric());
    let mapper = Uts46MapperBorrowed::new();
    let visible = without_marks.chars().filter(|character| !is_invisible(*character));
    let plainer: String = mapper.map_normalize(visible.map(|c| if is_dash(c) { '-' } else { c })).collect();
    (plainer != text && !plainer.contains(char::REPLACEMENT_CHARACTER)).then_some(plainer)
}

/// Hyphens, dashes and minus signs beyond ASCII. Their fullwidth and small forms are mapped anyway.
fn is_dash(character: char) -> bool {
    matches!(character, '\u{2010}'..='\u{2015}' | '\u{2043}' | '\u{2212}' | '\u{2e3a}' | '\u{2e3b}' | '\u{58a}')
}

/// The original of a `text` that is UTF-8 decoded as Windows-1252, -1250, -1251 or Latin-1, such as `Ã¼` for `ü`.
pub(super) fn repaired(text: &str) -> impl Iterator<Item = String> {
    let windows = [WINDOWS_1252, WINDOWS_1250, WINDOWS_1251].into_iter().filter_map(|code| encoded(text, code));
    let latin_1 = once(text).filter_map(|text| text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect());
    windows.chain(latin_1).filter_map(|bytes| String::from_utf8(bytes).ok()).filter(move |repaired| repaired != text)
}

fn encoded(text: &str, encoding: &'static Encoding) -> Option<Vec<u8>> {
    let (bytes, _, has_others) = encoding.encode(text);
    (!has_others).then(|| bytes.into_owned())
}

/// Whether a repaired name is more likely than its garbled text, if that is a valid name, too.
///
/// Garbled text is mostly full of symbols, but not always: `straÃŸe`, `РїСЂРёРјРµСЂ`. Real names that happen to look
/// garbled are very rare; the known ones are short and would become a single ideograph (`дії`).
pub(super) fn is_plausible(repaired: &str) -> bool {
    repaired.split('.').filter(|label| !label.is_ascii()).all(|label| {
        let beyond_ascii = || label.chars().filter(|character| !character.is_ascii());
        let has_ascii_letters = label.contains(|character: char| character.is_ascii_alphabetic());
        let is_latin = beyond_ascii().all(|character| character < '\u{180}');
        let is_one_alphabet = beyond_ascii().all(|character| character < '\u{800}');
        let wide = beyond_ascii().filter(|character| *character >= '\u{800}').count();
        is_latin || !has_ascii_letters && (is_one_alphabet || wide > 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_names_that_look_garbled_are_kept() {
        let check = |repaired: &str, expected: bool| assert_eq!(is_plausible(repaired), expected, "{repaired}");
        check("bücher.de", true);
        check("пример.com", true);
        check("日本.jp", true);
        check("䳿.com", false);
        check("w꿹.pl", false);
        check("kՊ.ee", false);
    }
}
