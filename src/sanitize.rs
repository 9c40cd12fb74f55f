//! Makes untrusted text safe to display: domain names, the API's messages, and text from other people's files.
//!
//! The only lists of characters that are invisible or that reorder text.

use std::{borrow::Cow, path::Path};

/// The longest text that [`plain`] returns, in characters.
const MAX_LENGTH: usize = 300;

/// Whether the text has nothing that controls a terminal, is invisible, or reorders text.
pub fn is_plain(text: &str) -> bool {
    text.chars().all(is_visible)
}

/// Text on one line, without anything that controls a terminal or reorders text: escape sequences, control characters,
/// bidirectional marks and other invisible characters; truncated to 300 characters.
pub fn plain(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_LENGTH && is_plain(text) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::new();
    let mut characters = text.chars().peekable();
    let mut length = 0;
    while let Some(character) = characters.next() {
        if length == MAX_LENGTH {
            shown.push('…');
            break;
        }
        match character {
            '\u{1b}' if characters.next_if_eq(&'[').is_some() => {
                // Skip the parameters, up to the letter that ends the sequence.
                while characters.next_if(|next| matches!(next, '\u{20}'..='\u{3f}')).is_some() {}
                characters.next_if(|next| matches!(next, '\u{40}'..='\u{7e}'));
                continue;
            }
            '\n' | '\r' | '\t' if !shown.ends_with(' ') => shown.push(' '),
            _ if is_visible(character) => shown.push(character),
            _ => continue,
        }
        length += 1;
    }
    Cow::Owned(shown)
}

/// A path as plain text.
pub fn path(path: &Path) -> String {
    plain(&path.display().to_string()).into_owned()
}

/// A CSV cell that no spreadsheet treats as a formula and no terminal as a command. Joiners stay: some scripts need
/// them.
pub fn cell(text: &str) -> String {
    const FORMULA: [char; 10] = ['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠'];
    let quote = if text.starts_with(FORMULA) { "'" } else { "" };
    let is_unsafe = |character: char| character.is_control() || breaks_line(character) || turns_text(character);
    quote.chars().chain(text.chars().map(|character| if is_unsafe(character) { ' ' } else { character })).collect()
}

/// Characters, other than white space, that are invisible: from documents, spreadsheets and chats.
pub fn is_invisible(character: char) -> bool {
    turns_text(character)
        || matches!(
            character,
            '\u{ad}' | '\u{180e}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}'
                | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

/// Marks that change the direction of text, so that it reads differently.
fn turns_text(character: char) -> bool {
    matches!(
        character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

/// Line and paragraph separators that are not control characters.
fn breaks_line(character: char) -> bool {
    matches!(character, '\u{2028}' | '\u{2029}')
}

fn is_visible(character: char) -> bool {
    !character.is_control() && !is_invisible(character) && !breaks_line(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untrusted_text_cannot_control_a_terminal() {
        let check = |text: &str, expected: &str| assert_eq!(plain(text), expected);
        check("Not Found.", "Not Found.");
        check("müller.example 网站", "müller.example 网站");
        check("\u{1b}[31;1mred\u{1b}[0m\u{7}", "red");
        check("\u{1b}]0;title\u{7}x", "]0;titlex");
        check("\u{9b}31mred", "31mred");
        check("two\r\nlines\tand", "two lines and");
        check("a\u{202e}moc\u{2066}b\u{200b}c\u{feff}\u{2028}", "amocbc");
        check(&"x".repeat(301), &format!("{}…", "x".repeat(300)));
    }

    #[test]
    fn cells_are_harmless_to_spreadsheets_and_terminals() {
        let check = |text: &str, expected: &str| assert_eq!(cell(text), expected, "{text:?}");
        check("example.com", "example.com");
        check("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0");
        check("+1", "'+1");
        check("-1", "'-1");
        check("@SUM(A1)", "'@SUM(A1)");
        check("\t=1", "' =1");
        check("\r=1", "' =1");
        check("＝1", "'＝1");
        check("a\nb\u{1b}[2Jc\u{9b}d\u{2029}e", "a b [2Jc d e");
        check("moc.\u{202e}elpmaxe", "moc. elpmaxe");
        check("می\u{200c}خواهم", "می\u{200c}خواهم");
        check("Ünal, \"x\"", "Ünal, \"x\"");
        check("", "");
    }
}
