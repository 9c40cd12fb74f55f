//! JSON as written: numbers as text, objects with every entry in order.
//!
//! A separate parser, so that a mistake of the program's scanner shows here. `serde_json` cannot take its place: it
//! keeps neither numbers beyond 64 bits as written, repeated keys, nor half a surrogate pair. Strings without escapes
//! are borrowed. Values nested deeper than any column are only skipped.

use std::borrow::Cow;

use serde::de::IgnoredAny;

/// Levels that are kept; a column is at most nine levels deep.
const DEEPEST: usize = 16;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json<'a> {
    Null,
    Flag(bool),
    /// As it is written.
    Number(&'a str),
    /// With U+FFFD for each half of a surrogate pair, and whether there is one.
    Text(Cow<'a, str>, bool),
    List(Vec<Json<'a>>),
    /// Every entry in order, and whether a key has half a surrogate pair.
    Object(Vec<(Cow<'a, str>, Json<'a>)>, bool),
    /// A list or an object nested too deep for any column.
    Deep,
}

impl<'a> Json<'a> {
    /// Reads a whole text; `None`: it is not JSON.
    pub(super) fn read(text: &'a str) -> Option<Self> {
        let mut reader = Reader { text, at: 0 };
        let value = reader.value(0)?;
        reader.blanks();
        (reader.at == text.len()).then_some(value)
    }

    /// The last entry of a key that is not null; `None` also for anything but an object.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let Self::Object(entries, _) = self else { return None };
        let last = entries.iter().rfind(|(name, _)| name == key).map(|(_, value)| value);
        last.filter(|value| **value != Self::Null)
    }

    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Flag(_) => "boolean",
            Self::Number(_) => "number",
            Self::Text(..) => "string",
            Self::List(_) => "list",
            Self::Object(..) => "object",
            Self::Deep => "something deep",
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.byte(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Skips white space and this byte, if it follows; returns whether it did.
    fn passes(&mut self, byte: u8) -> bool {
        self.blanks();
        let is_next = self.byte() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn value(&mut self, depth: usize) -> Option<Json<'a>> {
        self.blanks();
        match self.byte()? {
            b'{' | b'[' if depth == DEEPEST => self.skip(),
            b'{' => self.object(depth),
            b'[' => self.list(depth),
            b'"' => self.string().map(|(text, is_broken)| Json::Text(text, is_broken)),
            b't' => self.word("true", Json::Flag(true)),
            b'f' => self.word("false", Json::Flag(false)),
            b'n' => self.word("null", Json::Null),
            _ => self.number(),
        }
    }

    fn skip(&mut self) -> Option<Json<'a>> {
        let mut values = serde_json::Deserializer::from_str(&self.text[self.at..]).into_iter::<IgnoredAny>();
        values.next()?.ok()?;
        self.at += values.byte_offset();
        Some(Json::Deep)
    }

    fn object(&mut self, depth: usize) -> Option<Json<'a>> {
        self.at += 1;
        let (mut entries, mut has_broken_key) = (Vec::new(), false);
        if self.passes(b'}') {
            return Some(Json::Object(entries, false));
        }
        loop {
            self.blanks();
            let (key, is_broken) = self.string()?;
            has_broken_key |= is_broken;
            if !self.passes(b':') {
                return None;
            }
            entries.push((key, self.value(depth + 1)?));
            if self.passes(b'}') {
                return Some(Json::Object(entries, has_broken_key));
            }
            if !self.passes(b',') {
                return None;
            }
        }
    }

    fn list(&mut self, depth: usize) -> Option<Json<'a>> {
        self.at += 1;
        let mut elements = Vec::new();
        if self.passes(b']') {
            return Some(Json::List(elements));
        }
        loop {
            elements.push(self.value(depth + 1)?);
            if self.passes(b']') {
                return Some(Json::List(elements));
            }
            if !self.passes(b',') {
                return None;
            }
        }
    }

    fn word(&mut self, word: &str, meaning: Json<'a>) -> Option<Json<'a>> {
        self.text[self.at..].starts_with(word).then(|| {
            self.at += word.len();
            meaning
        })
    }

    fn number(&mut self) -> Option<Json<'a>> {
        let from = self.at;
        self.at += usize::from(self.byte() == Some(b'-'));
        let leads_with_zero = self.byte() == Some(b'0');
        let whole = self.digits();
        if whole == 0 || leads_with_zero && whole > 1 {
            return None;
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            (self.digits() > 0).then_some(())?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.byte(), Some(b'+' | b'-')));
            (self.digits() > 0).then_some(())?;
        }
        Some(Json::Number(&self.text[from..self.at]))
    }

    fn digits(&mut self) -> usize {
        let from = self.at;
        while self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - from
    }

    fn string(&mut self) -> Option<(Cow<'a, str>, bool)> {
        if self.byte() != Some(b'"') {
            return None;
        }
        self.at += 1;
        let (mut unescaped, mut is_broken) = (String::new(), false);
        let mut from = self.at;
        loop {
            match self.byte()? {
                b'"' => {
                    let rest = &self.text[from..self.at];
                    self.at += 1;
                    if unescaped.is_empty() {
                        return Some((Cow::Borrowed(rest), false));
                    }
                    return Some((Cow::Owned(unescaped + rest), is_broken));
                }
                b'\\' => {
                    unescaped.push_str(&self.text[from..self.at]);
                    is_broken |= self.escapes(&mut unescaped)?;
                    from = self.at;
                }
                0..0x20 => return None,
                _ => self.at += 1,
            }
        }
    }

    /// One escape, or several consecutive ones of UTF-16; half a surrogate pair becomes U+FFFD.
    fn escapes(&mut self, into: &mut String) -> Option<bool> {
        let escape = *self.text.as_bytes().get(self.at + 1)?;
        if escape != b'u' {
            self.at += 2;
            into.push(match escape {
                b'"' | b'\\' | b'/' => char::from(escape),
                b'b' => '\u{8}',
                b'f' => '\u{c}',
                b'n' => '\n',
                b'r' => '\r',
                b't' => '\t',
                _ => return None,
            });
            return Some(false);
        }
        let mut units = Vec::new();
        while self.text.as_bytes()[self.at..].starts_with(b"\\u") {
            let digits = self.text.get(self.at + 2..self.at + 6)?;
            if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return None;
            }
            units.push(u16::from_str_radix(digits, 16).ok()?);
            self.at += 6;
        }
        let mut is_broken = false;
        into.extend(char::decode_utf16(units).map(|unit| {
            is_broken |= unit.is_err();
            unit.unwrap_or(char::REPLACEMENT_CHARACTER)
        }));
        Some(is_broken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_json_is_read_as_written() {
        let text = |text: &'static str| Json::Text(Cow::Borrowed(text), false);
        let check = |written: &str, expected: Json<'_>| assert_eq!(Json::read(written), Some(expected), "{written}");
        check(" [ ] ", Json::List(vec![]));
        check(r#"{"a":1.50e+3,"a":null}"#, {
            Json::Object(vec![("a".into(), Json::Number("1.50e+3")), ("a".into(), Json::Null)], false)
        });
        check(r#""a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00""#, text("a\"\\/\u{8}\u{c}\n\r\té😀"));
        let broken = Json::Text("\u{fffd}😀 \u{fffd}A\u{fffd}".into(), true);
        check(r#""\ud83d\ud83d\ude00 \ud800A\udfff""#, broken);
        check("[true,false,-0]", Json::List(vec![Json::Flag(true), Json::Flag(false), Json::Number("-0")]));
        let deep = format!("[{}{}]", "[".repeat(1_000_000), "]".repeat(1_000_000));
        assert!(Json::read(&deep).is_some());
    }

    #[test]
    fn invalid_json_is_refused_like_the_library_does() {
        let words = [
            "",
            "nul",
            "01",
            "1.",
            ".5",
            "1e",
            "+1",
            "-",
            "[1,]",
            "{,}",
            "{\"a\"}",
            "[1 2]",
            "\"\n\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\\u+123\"",
            "\"a",
            "[1]]",
            "{\"a\":1,}",
            "tru",
            "\u{feff}1",
            "'a'",
            "nan",
            "\"\\",
            "1e+",
        ];
        for word in words {
            assert_eq!(Json::read(word), None, "{word}");
            assert!(serde_json::from_str::<IgnoredAny>(word).is_err(), "{word}");
        }
    }
}
