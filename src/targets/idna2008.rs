//! Which characters a label may contain: the derived property of IDNA2008 (RFC 5892) and its contextual rules.
//!
//! UTS 46, which the `idna` crate implements, also allows symbols, emoji and punctuation. No registry sells such names,
//! so a call for one is wasted. The property is computed from Unicode's by the algorithm of the RFC, as IANA does for
//! its tables, so that it follows the Unicode version of `idna`. That crate checks the rest: zero-width joiners in
//! context, right-to-left labels, leading combining marks.

use std::iter::once;

use icu_normalizer::uts46::Uts46MapperBorrowed;
use icu_properties::{
    CodePointMapData, CodePointSetData,
    props::{
        DefaultIgnorableCodePoint, GeneralCategory, GeneralCategoryGroup, HangulSyllableType, NoncharacterCodePoint,
        Script, WhiteSpace,
    },
};

use super::reject::RejectReason;

/// The derived property of a code point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Derived {
    Valid,
    /// Allowed next to certain other characters.
    InContext,
    Disallowed,
}

/// Checks a name whose A-labels are decoded. ASCII labels are checked elsewhere.
pub(super) fn violation(name: &str) -> Option<RejectReason> {
    name.split('.').filter(|label| !label.is_ascii()).find_map(violation_in)
}

fn violation_in(label: &str) -> Option<RejectReason> {
    let characters: Vec<char> = label.chars().collect();
    let beyond_ascii = || characters.iter().enumerate().filter(|(_, character)| !character.is_ascii());
    if let Some((_, stray)) = beyond_ascii().find(|(_, character)| derived(**character) == Derived::Disallowed) {
        return Some(RejectReason::Character(*stray));
    }
    let misplaced = |(index, character): &(usize, &char)| {
        derived(**character) == Derived::InContext && !is_in_context(&characters, *index)
    };
    if let Some((_, stray)) = beyond_ascii().find(misplaced) {
        return Some(RejectReason::Misplaced(*stray));
    }
    match characters[..] {
        ['-', ..] | [.., '-'] => Some(RejectReason::Hyphen),
        [_, _, '-', '-', ..] => Some(RejectReason::Hyphens),
        _ => None,
    }
}

/// Whether a label may contain a character, possibly only next to certain others.
pub(super) fn is_allowed(character: char) -> bool {
    derived(character) != Derived::Disallowed
}

/// RFC 5892, section 3; the exceptions are those of section 2.6.
fn derived(character: char) -> Derived {
    match character {
        '\u{df}' | '\u{3c2}' | '\u{6fd}' | '\u{6fe}' | '\u{f0b}' | '\u{3007}' => Derived::Valid,
        '\u{b7}' | '\u{375}' | '\u{5f3}' | '\u{5f4}' | '\u{30fb}' | '\u{660}'..='\u{669}' | '\u{6f0}'..='\u{6f9}' => {
            Derived::InContext
        }
        '\u{640}' | '\u{7fa}' | '\u{302e}' | '\u{302f}' | '\u{3031}'..='\u{3035}' | '\u{303b}' => Derived::Disallowed,
        '-' | '0'..='9' | 'a'..='z' => Derived::Valid,
        // Joiners, which `idna` checks.
        '\u{200c}' | '\u{200d}' => Derived::Valid,
        _ if is_unstable(character) || is_ignorable(character) || is_old_jamo(character) => Derived::Disallowed,
        _ if is_letter_or_digit(character) => Derived::Valid,
        _ => Derived::Disallowed,
    }
}

/// Whether case folding or compatibility mapping changes it. UTS 46 applies both, except for the exceptions above.
fn is_unstable(character: char) -> bool {
    !Uts46MapperBorrowed::new().map_normalize(once(character)).eq(once(character))
}

fn is_ignorable(character: char) -> bool {
    // The last three are combining marks for symbols and musical symbols.
    CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(character)
        || CodePointSetData::new::<WhiteSpace>().contains(character)
        || CodePointSetData::new::<NoncharacterCodePoint>().contains(character)
        || matches!(character, '\u{20d0}'..='\u{20ff}' | '\u{1d100}'..='\u{1d1ff}' | '\u{1d200}'..='\u{1d24f}')
}

fn is_old_jamo(character: char) -> bool {
    matches!(
        CodePointMapData::<HangulSyllableType>::new().get(character),
        HangulSyllableType::LeadingJamo | HangulSyllableType::VowelJamo | HangulSyllableType::TrailingJamo
    )
}

fn is_letter_or_digit(character: char) -> bool {
    use GeneralCategory::{DecimalNumber, NonspacingMark, SpacingMark};
    let category = CodePointMapData::<GeneralCategory>::new().get(character);
    // Letters in title case are not valid either, but unstable.
    GeneralCategoryGroup::Letter.contains(category) || matches!(category, DecimalNumber | NonspacingMark | SpacingMark)
}

/// The rules of RFC 5892, appendices A.3 to A.9.
fn is_in_context(label: &[char], index: usize) -> bool {
    let before = index.checked_sub(1).map(|before| label[before]);
    let after = label.get(index + 1).copied();
    let is_of = |character: Option<char>, script: Script| character.is_some_and(|found| script_of(found) == script);
    match label[index] {
        // Catalan, as in `col·lecció`.
        '\u{b7}' => before == Some('l') && after == Some('l'),
        '\u{375}' => is_of(after, Script::Greek),
        '\u{5f3}' | '\u{5f4}' => is_of(before, Script::Hebrew),
        '\u{30fb}' => label.iter().any(|found| {
            matches!(script_of(*found), Script::Hiragana | Script::Katakana | Script::Han) && *found != '\u{30fb}'
        }),
        '\u{660}'..='\u{669}' => !label.iter().any(|found| matches!(found, '\u{6f0}'..='\u{6f9}')),
        '\u{6f0}'..='\u{6f9}' => !label.iter().any(|found| matches!(found, '\u{660}'..='\u{669}')),
        _ => false,
    }
}

fn script_of(character: char) -> Script {
    CodePointMapData::<Script>::new().get(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_have_the_property_in_iana_s_tables() {
        let check = |characters: &str, expected: Derived| {
            for character in characters.chars() {
                assert_eq!(derived(character), expected, "{character:?}");
            }
        };
        check("az09-üßςöñçığłжґϊ例えー々〆〇가\u{301}\u{e01}", Derived::Valid);
        // Upper-case Cherokee is the folded form.
        check("\u{13a0}", Derived::Valid);
        check("\u{200c}\u{200d}", Derived::Valid);
        check("·͵׳״・٠٩۰۹", Derived::InContext);
        check("AÜẞſK™½²ªµ①Ⅳﬁ㎏ａ１．𝐚ﬃǆĳ\u{e33}\u{ab70}", Derived::Disallowed);
        check("‐‑‒–—―−•→✓§°©®€£$_~!* \u{a0}\u{3000}…‚「」、。", Derived::Disallowed);
        check("😀❤☃♥\u{20e3}\u{fe0f}\u{1f3fb}\u{1f1e9}", Derived::Disallowed);
        check("\u{ad}\u{34f}\u{200b}\u{200e}\u{202e}\u{2060}\u{2066}\u{feff}\u{e0100}\u{e0041}", Derived::Disallowed);
        check("\u{fffd}\u{e000}\u{fdd0}\u{10ffff}\u{378}\u{1}\u{85}", Derived::Disallowed);
        check("ـߺ〮〱〵〻\u{1100}\u{1161}\u{11a8}\u{115f}\u{3164}\u{ffa0}\u{1d165}\u{19da}", Derived::Disallowed);
    }

    #[test]
    fn contextual_characters_are_allowed_only_in_context() {
        let check = |name: &str, expected: Option<RejectReason>| assert_eq!(violation(name), expected, "{name}");
        check("bücher.de", None);
        check("a--b.de", None);
        check("ab--cd.de", None);
        check("üb--cd.de", Some(RejectReason::Hyphens));
        check("-ü.de", Some(RejectReason::Hyphen));
        check("ü-.de", Some(RejectReason::Hyphen));
        check("col·lecció.cat", None);
        check("a·b.com", Some(RejectReason::Misplaced('·')));
        check("l·.com", Some(RejectReason::Misplaced('·')));
        check("·l.com", Some(RejectReason::Misplaced('·')));
        check("͵α.gr", None);
        check("α͵.gr", Some(RejectReason::Misplaced('͵')));
        check("א׳.il", None);
        check("׳א.il", Some(RejectReason::Misplaced('׳')));
        check("ア・イ.jp", None);
        check("a・b.jp", Some(RejectReason::Misplaced('・')));
        check("ب٠١.com", None);
        check("ب۰۱.com", None);
        check("ب٠۱.com", Some(RejectReason::Misplaced('٠')));
        check("ü.a😀", Some(RejectReason::Character('😀')));
    }
}
