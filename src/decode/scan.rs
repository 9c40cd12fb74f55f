//! A cursor over JSON text that copies strings and numbers and skips the rest, validating everything.
//!
//! It accepts exactly the JSON grammar. Nothing recurses, so that no depth of nesting can exhaust the stack. `ends.rs`
//! finds where tokens end.
//!
//! Why a scanner of our own: with jiter 0.19 (without num-bigint) as the tokenizer for the same columns, the rows of
//! a usual answer of 137 KB take 0.47 ms; the envelope and the rows take 0.32 to 0.33 ms with this one (fastest of
//! 100 samples, both in one run of `cargo bench --bench decode`, November 2026). That is more than a tenth of a whole
//! run, and jiter has no way to keep a string with half a surrogate pair.

use std::collections::BTreeSet;

use super::ends::{WORD, blanks_end, byte, key_end, literal_end, number_end, plain_bytes, string_end};

/// The text is not valid JSON at this position.
#[derive(Debug)]
pub(super) struct Malformed;

pub(super) type Scan<T> = Result<T, Malformed>;

/// The number of digits that always fit 63 bits.
const SAFE_DIGITS: usize = 18;

pub(super) struct Scanner<'a> {
    text: &'a str,
    /// The position of the next byte; may be set back to an earlier position.
    pub(super) at: usize,
    /// The positions of values that a later value of the same key replaces.
    replaced: BTreeSet<usize>,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, replaced: BTreeSet::new() }
    }

    /// Whether the value at the cursor is known to be replaced by a later one of the same key. `before` is the position
    /// of the last value of that key in this object, or 0.
    #[inline]
    pub(super) fn is_replaced(&mut self, before: &mut usize) -> bool {
        let earlier = std::mem::replace(before, self.at);
        if earlier != 0 {
            self.replaced.insert(earlier);
        }
        !self.replaced.is_empty() && self.replaced.contains(&self.at)
    }

    /// How many values are known to be replaced.
    pub(super) fn replaced_count(&self) -> usize {
        self.replaced.len()
    }

    fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    /// The next byte; 0 at the end.
    #[inline]
    pub(super) fn peek(&self) -> u8 {
        byte(self.bytes(), self.at)
    }

    /// The next `N` bytes.
    #[inline]
    pub(super) fn ahead<const N: usize>(&self) -> Option<&'a [u8; N]> {
        self.bytes().get(self.at..)?.first_chunk()
    }

    #[inline]
    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.text.len()
    }

    /// Skips white space and returns the byte after it.
    #[inline]
    pub(super) fn blanks(&mut self) -> u8 {
        self.at = blanks_end(self.bytes(), self.at);
        self.peek()
    }

    /// Consumes the next byte if it is this one.
    #[inline]
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == byte;
        self.at += usize::from(is_next);
        is_next
    }

    #[inline]
    pub(super) fn expect(&mut self, byte: u8) -> Scan<()> {
        if self.take(byte) { Ok(()) } else { Err(Malformed) }
    }

    /// Consumes the colon after a key, with the white space around it.
    #[inline]
    pub(super) fn colon(&mut self) -> Scan<()> {
        self.blanks();
        self.expect(b':')?;
        self.blanks();
        Ok(())
    }

    /// Enters an object or a list; `false` if it is empty, in which case it is already closed.
    #[inline]
    pub(super) fn open(&mut self, close: u8) -> bool {
        self.at += 1;
        self.blanks();
        !self.take(close)
    }

    /// After an element: `true` if another follows, `false` if the object or list ends.
    #[inline]
    pub(super) fn more(&mut self, close: u8) -> Scan<bool> {
        let byte = self.blanks();
        self.at += 1;
        if byte == b',' {
            self.blanks();
            Ok(true)
        } else if byte == close {
            Ok(false)
        } else {
            Err(Malformed)
        }
    }

    /// Consumes a quoted string if it is exactly this one.
    #[inline]
    pub(super) fn take_quoted(&mut self, name: &str) -> bool {
        let end = self.at + 1 + name.len();
        let is_next = self.peek() == b'"'
            && self.bytes().get(end) == Some(&b'"')
            && same(&self.bytes()[self.at + 1..end], name.as_bytes());
        if is_next {
            self.at = end + 1;
        }
        is_next
    }

    /// Reads a string and appends its content to `out`, with U+FFFD for each unpaired surrogate; returns whether there
    /// is one.
    #[inline]
    pub(super) fn string(&mut self, out: &mut Vec<u8>) -> Scan<bool> {
        self.expect(b'"')?;
        let mut is_broken = false;
        loop {
            if let Some(chunk) = self.ahead::<WORD>() {
                let length = out.len();
                // A fixed-length copy, truncated afterwards, is cheaper than a copy of the right length
                out.extend_from_slice(chunk);
                let plain = plain_bytes(u64::from_le_bytes(*chunk));
                self.at += plain;
                if plain == WORD {
                    continue;
                }
                out.truncate(length + plain);
            }
            match self.peek() {
                b'"' => {
                    self.at += 1;
                    return Ok(is_broken);
                }
                b'\\' => is_broken |= self.escape(out)?,
                // Also at the end
                0..0x20 => return Err(Malformed),
                byte => {
                    out.push(byte);
                    self.at += 1;
                }
            }
        }
    }

    /// Reads one escape, or the two of a surrogate pair.
    #[cold]
    fn escape(&mut self, out: &mut Vec<u8>) -> Scan<bool> {
        self.at += 1;
        let letter = self.peek();
        self.at += 1;
        let meant = match letter {
            b'"' | b'\\' | b'/' => Some(char::from(letter)),
            b'b' => Some('\u{8}'),
            b'f' => Some('\u{c}'),
            b'n' => Some('\n'),
            b'r' => Some('\r'),
            b't' => Some('\t'),
            b'u' => {
                let unit = self.ahead().copied().and_then(hex).ok_or(Malformed)?;
                self.at += 4;
                let low = if (0xd800..0xdc00).contains(&unit) { self.low_surrogate() } else { None };
                char::from_u32(low.map_or(unit, |low| 0x10000 + ((unit - 0xd800) << 10) + low))
            }
            _ => return Err(Malformed),
        };
        out.extend_from_slice(meant.unwrap_or(char::REPLACEMENT_CHARACTER).encode_utf8(&mut [0; 4]).as_bytes());
        Ok(meant.is_none())
    }

    /// Reads the second half of a surrogate pair, if it follows.
    fn low_surrogate(&mut self) -> Option<u32> {
        let Some([b'\\', b'u', digits @ ..]) = self.ahead::<6>() else { return None };
        let low = hex(*digits)?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
        self.at += 6;
        Some(low)
    }

    /// Reads a number; the inner error is its text, if it is not in the usual form of a 63-bit integer.
    #[inline]
    pub(super) fn integer(&mut self) -> Scan<Result<i64, &'a str>> {
        let start = self.at;
        let negative = self.take(b'-');
        let first = self.at;
        let mut value: i64 = 0;
        loop {
            let digit = self.peek().wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            value = value.wrapping_mul(10).wrapping_add(i64::from(digit));
            self.at += 1;
        }
        let digits = self.at - first;
        let is_usual = matches!(digits, 1..=SAFE_DIGITS)
            && (digits == 1 || self.bytes()[first] != b'0')
            && !matches!(self.peek(), b'.' | b'e' | b'E');
        if is_usual {
            return Ok(Ok(if negative { -value } else { value }));
        }
        self.at = number_end(self.bytes(), start)?;
        Ok(Err(self.since(start)))
    }

    /// The text from an earlier position up to the cursor.
    #[inline]
    pub(super) fn since(&self, start: usize) -> &'a str {
        &self.text[start..self.at]
    }

    /// Skips a value of any type and depth, and returns its text.
    pub(super) fn value(&mut self) -> Scan<&'a str> {
        let start = self.at;
        self.skip()?;
        Ok(self.since(start))
    }

    /// Reads a key with its colon; returns the raw text between the quotes.
    pub(super) fn key(&mut self) -> Scan<&'a str> {
        let start = self.at;
        self.at = string_end(self.bytes(), start)?;
        let key = &self.text[start + 1..self.at - 1];
        self.colon()?;
        Ok(key)
    }

    /// Skips a value of any type and depth.
    pub(super) fn skip(&mut self) -> Scan<()> {
        // The brackets that will close the open ones
        let mut open: Vec<u8> = Vec::new();
        // Kept in a register, unlike a field
        let mut at = self.at;
        let bytes = self.bytes();
        loop {
            at = blanks_end(bytes, at);
            let first = byte(bytes, at);
            at = match first {
                b'"' => string_end(bytes, at)?,
                b'-' | b'0'..=b'9' => number_end(bytes, at)?,
                b'{' | b'[' => {
                    // In ASCII, the code of a closing bracket is that of the opening one plus two
                    let close = first + 2;
                    at = blanks_end(bytes, at + 1);
                    if byte(bytes, at) == close {
                        at + 1
                    } else {
                        open.push(close);
                        if close == b'}' {
                            at = key_end(bytes, at)?;
                        }
                        continue;
                    }
                }
                b't' => literal_end(bytes, at, b"true")?,
                b'f' => literal_end(bytes, at, b"false")?,
                b'n' => literal_end(bytes, at, b"null")?,
                _ => return Err(Malformed),
            };
            loop {
                let Some(close) = open.last().copied() else {
                    self.at = at;
                    return Ok(());
                };
                at = blanks_end(bytes, at);
                let byte = byte(bytes, at);
                at += 1;
                if byte == b',' {
                    if close == b'}' {
                        at = key_end(bytes, blanks_end(bytes, at))?;
                    }
                    break;
                }
                if byte != close {
                    return Err(Malformed);
                }
                open.pop();
            }
        }
    }

    /// Consumes `true`, `false` or `null`.
    #[inline]
    pub(super) fn literal<const N: usize>(&mut self, word: &[u8; N]) -> Scan<()> {
        self.at = literal_end(self.bytes(), self.at, word)?;
        Ok(())
    }
}

/// The value of four hexadecimal digits.
fn hex(digits: [u8; 4]) -> Option<u32> {
    digits.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
}

/// Whether two slices of equal length are equal, without the call that a slice comparison costs: names are short.
#[inline]
fn same(one: &[u8], other: &[u8]) -> bool {
    let equal = |one: &[u8; WORD], other: &[u8; WORD]| u64::from_le_bytes(*one) == u64::from_le_bytes(*other);
    match (one.last_chunk(), other.last_chunk()) {
        (Some(last), Some(other_last)) => {
            let (words, other_words) = (one.as_chunks().0, other.as_chunks().0);
            equal(last, other_last) && words.iter().zip(other_words).all(|(word, other)| equal(word, other))
        }
        _ => one.iter().zip(other).all(|(byte, other)| byte == other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_name_is_consumed() {
        let name = "referring_links_semantic_locations";
        for length in 0..=name.len() {
            let name = &name[..length];
            let quoted = format!("\"{name}\"");
            let mut scanner = Scanner::new(&quoted);
            assert!(scanner.take_quoted(name) && scanner.is_at_end(), "{name}");
            for at in 0..quoted.len() {
                let mut other = quoted.clone();
                other.replace_range(at..=at, "#");
                let mut scanner = Scanner::new(&other);
                assert!(!scanner.take_quoted(name) && scanner.at == 0, "{name} in {other}");
                assert!(!Scanner::new(&quoted[..at]).take_quoted(name), "{name} cut at {at}");
            }
        }
    }

    #[test]
    fn only_valid_json_is_skipped() {
        let check = |text: &str| {
            for padded in [text.to_owned(), format!(" {text}\n"), format!("[[{text}],{{\"k\":{text}}}]")] {
                let mut scanner = Scanner::new(&padded);
                let skipped = scanner.skip().is_ok() && scanner.blanks() == 0 && scanner.is_at_end();
                let valid = serde_json::from_str::<serde::de::IgnoredAny>(&padded).is_ok();
                assert_eq!(skipped, valid, "{padded}");
            }
        };
        for text in
            ["0", "-0", "01", "-", "1.", ".5", "1.5e", "1e+", "1E-7", "+1", "NaN", "Infinity", "1e400", "--1", "-01"]
        {
            check(text);
        }
        for text in ["1234567", "12345678", "123456789", "1234567.", "1234567.0", "12345678e", "0123456", "1234567a"] {
            check(text);
        }
        for text in ["true", "tru", "nul", "null", "falsey", "{}", "[]", "[,]", "[1,]", "{\"a\":}", "{\"a\"}", "{a:1}"]
        {
            check(text);
        }
        for text in
            [r#""""#, r#""\u12""#, r#""\ud800""#, r#""\x""#, "\"\n\"", "\"\u{0}\"", "\"", r#""\"#, r#"{"\ud800":1}"#]
        {
            check(text);
        }
        for text in
            ["", "]", "{\"a\":1,}", "[1 2]", "[1}", "{\"a\":1]", "[{]}", "\u{feff}1", "1\u{a0}", "\"é\u{7f}\u{2028}\""]
        {
            check(text);
        }
    }

    #[test]
    fn strings_are_read_as_serde_json_reads_them() {
        let check = |text: &str| {
            for padding in ["", "padding"] {
                let quoted = format!("\"{text}\"{padding}");
                let mut out = Vec::new();
                let taken = Scanner::new(&quoted).string(&mut out);
                let whole = matches!(taken, Ok(false)).then(|| String::from_utf8(out).expect("UTF-8"));
                assert_eq!(whole, serde_json::from_str::<String>(&format!("\"{text}\"")).ok(), "{text}");
                let is_json = serde_json::from_str::<serde::de::IgnoredAny>(&format!("\"{text}\"")).is_ok();
                assert_eq!(taken.is_ok(), is_json, "{text}");
            }
        };
        for text in ["", "a", "abcdefg", "abcdefgh", "abcdefghi", "é", "日本語日本語", "😀", r"\n\t\r\b\f\/\\", r#"\""#]
        {
            check(text);
        }
        for text in [r"\u00e9", r"\ud83d\ude00", r"\ud83d", r"\ude00", r"\ud83dx", r"\ud83d\n", r"\ud83d\u0041", r"\u"]
        {
            check(text);
        }
        for text in [r"abcdefg\n", r"abcdef\n", r"abcdefgh\u0000", "\t", "\u{7f}", r"\q", r"\u00g0", r"\u+123"] {
            check(text);
        }
    }
}
