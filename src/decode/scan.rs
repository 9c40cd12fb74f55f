//! A cursor over JSON text that copies strings and numbers out and skips the rest, validating all it passes.
//!
//! It accepts no text that is not JSON. What it skips may be any JSON; of what it copies out it gives some up
//! ([`Unfamiliar`]: half a surrogate pair), and the caller has another way for that. Nothing recurses, so that no depth of nesting can exhaust the stack. Eight bytes at a time are looked at as
//! one word, since that is where the time goes.

/// Not what answers usually look like, or no JSON at all.
#[derive(Debug)]
pub(crate) struct Unfamiliar;

pub(crate) type Scan<T> = Result<T, Unfamiliar>;

/// Bytes of a word.
const WORD: usize = 8;
/// Digits that always fit 63 bits.
const SAFE_DIGITS: usize = 18;

pub(crate) struct Scanner<'a> {
    text: &'a str,
    /// Where the next byte is; may be set back to a place where it was before.
    pub(crate) at: usize,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    /// The next byte; 0 at the end.
    #[inline]
    pub(crate) fn peek(&self) -> u8 {
        byte(self.bytes(), self.at)
    }

    /// The next `N` bytes.
    #[inline]
    pub(crate) fn ahead<const N: usize>(&self) -> Option<&'a [u8; N]> {
        self.bytes().get(self.at..)?.first_chunk()
    }

    #[inline]
    pub(crate) fn is_at_end(&self) -> bool {
        self.at == self.text.len()
    }

    /// Skips blanks and gives the byte after them.
    #[inline]
    pub(crate) fn blanks(&mut self) -> u8 {
        self.at = blanks_end(self.bytes(), self.at);
        self.peek()
    }

    /// Takes the next byte if it is this one.
    #[inline]
    pub(crate) fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == byte;
        self.at += usize::from(is_next);
        is_next
    }

    #[inline]
    pub(crate) fn expect(&mut self, byte: u8) -> Scan<()> {
        if self.take(byte) { Ok(()) } else { Err(Unfamiliar) }
    }

    /// Takes the colon after a key, with the blanks around it.
    #[inline]
    pub(crate) fn colon(&mut self) -> Scan<()> {
        self.blanks();
        self.expect(b':')?;
        self.blanks();
        Ok(())
    }

    /// Enters an object or a list; `false` if it is empty, and then it has been left as well.
    #[inline]
    pub(crate) fn open(&mut self, close: u8) -> bool {
        self.at += 1;
        self.blanks();
        !self.take(close)
    }

    /// After an element: `true` if another follows, `false` if the object or list has been left.
    #[inline]
    pub(crate) fn more(&mut self, close: u8) -> Scan<bool> {
        let byte = self.blanks();
        self.at += 1;
        if byte == b',' {
            self.blanks();
            Ok(true)
        } else if byte == close {
            Ok(false)
        } else {
            Err(Unfamiliar)
        }
    }

    /// Takes a quoted string if it is this one, letter for letter.
    #[inline]
    pub(crate) fn take_quoted(&mut self, name: &str) -> bool {
        let end = self.at + 1 + name.len();
        let is_next = self.peek() == b'"'
            && self.bytes().get(end) == Some(&b'"')
            && same(&self.bytes()[self.at + 1..end], name.as_bytes());
        if is_next {
            self.at = end + 1;
        }
        is_next
    }

    /// Takes a string and appends what it means to `out`.
    #[inline]
    pub(crate) fn string(&mut self, out: &mut Vec<u8>) -> Scan<()> {
        self.expect(b'"')?;
        loop {
            if let Some(chunk) = self.ahead::<WORD>() {
                let length = out.len();
                // A copy of fixed length, cut afterwards, is cheaper than one of the right length
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
                    return Ok(());
                }
                b'\\' => self.escape(out)?,
                // Also at the end
                0..0x20 => return Err(Unfamiliar),
                byte => {
                    out.push(byte);
                    self.at += 1;
                }
            }
        }
    }

    #[cold]
    fn escape(&mut self, out: &mut Vec<u8>) -> Scan<()> {
        self.at += 1;
        let letter = self.peek();
        self.at += 1;
        let meant = match letter {
            b'"' | b'\\' | b'/' => char::from(letter),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.four_hex()?;
                let unit = if (0xd800..0xdc00).contains(&first) {
                    self.expect(b'\\')?;
                    self.expect(b'u')?;
                    let second = self.four_hex()?.checked_sub(0xdc00).filter(|low| *low < 0x400).ok_or(Unfamiliar)?;
                    0x10000 + ((first - 0xd800) << 10) + second
                } else {
                    first
                };
                char::from_u32(unit).ok_or(Unfamiliar)?
            }
            _ => return Err(Unfamiliar),
        };
        out.extend_from_slice(meant.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }

    fn four_hex(&mut self) -> Scan<u32> {
        let digits = self.ahead::<4>().ok_or(Unfamiliar)?;
        self.at += 4;
        digits.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?)).ok_or(Unfamiliar)
    }

    /// Takes a number; the inner error is its text, if it is not written as an integer of 63 bits usually is.
    #[inline]
    pub(crate) fn integer(&mut self) -> Scan<Result<i64, &'a str>> {
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

    /// The text from a place where the cursor was.
    #[inline]
    pub(crate) fn since(&self, start: usize) -> &'a str {
        &self.text[start..self.at]
    }

    /// Skips a value of any kind and depth, and gives its text.
    pub(crate) fn value(&mut self) -> Scan<&'a str> {
        let start = self.at;
        self.skip()?;
        Ok(self.since(start))
    }

    /// Takes a key with its colon; what is between the quotes, as it is written there.
    pub(crate) fn key(&mut self) -> Scan<&'a str> {
        let start = self.at;
        self.at = string_end(self.bytes(), start)?;
        let key = &self.text[start + 1..self.at - 1];
        self.colon()?;
        Ok(key)
    }

    /// Skips a value of any kind and depth.
    pub(crate) fn skip(&mut self) -> Scan<()> {
        // The brackets that close what is open
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
                    // In ASCII each bracket closes two after the one that opens
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
                _ => return Err(Unfamiliar),
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
                    return Err(Unfamiliar);
                }
                open.pop();
            }
        }
    }

    /// Takes `true`, `false` or `null`.
    #[inline]
    pub(crate) fn literal<const N: usize>(&mut self, word: &[u8; N]) -> Scan<()> {
        self.at = literal_end(self.bytes(), self.at, word)?;
        Ok(())
    }
}

// What follows looks at the text from a place on, and says where the thing that stands there ends.

/// The byte at a place; at the end 0, which is no JSON outside of strings.
#[inline]
fn byte(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or(0)
}

/// The next bytes as a word, the first of them lowest.
#[inline]
fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[inline]
fn blanks_end(bytes: &[u8], mut at: usize) -> usize {
    while matches!(byte(bytes, at), b' ' | b'\n' | b'\t' | b'\r') {
        at += 1;
    }
    at
}

/// The end of a key and its colon.
#[inline]
fn key_end(bytes: &[u8], at: usize) -> Scan<usize> {
    let at = blanks_end(bytes, string_end(bytes, at)?);
    if byte(bytes, at) == b':' { Ok(at + 1) } else { Err(Unfamiliar) }
}

#[inline]
fn literal_end<const N: usize>(bytes: &[u8], at: usize, literal: &[u8; N]) -> Scan<usize> {
    let is_it = bytes.get(at..).and_then(|rest| rest.first_chunk()) == Some(literal);
    if is_it { Ok(at + N) } else { Err(Unfamiliar) }
}

#[inline]
fn string_end(bytes: &[u8], mut at: usize) -> Scan<usize> {
    if byte(bytes, at) != b'"' {
        return Err(Unfamiliar);
    }
    at += 1;
    loop {
        if let Some(word) = word(bytes, at) {
            let plain = plain_bytes(word);
            at += plain;
            if plain == WORD {
                continue;
            }
        }
        match byte(bytes, at) {
            b'"' => return Ok(at + 1),
            b'\\' => at = escape_end(bytes, at)?,
            // Also at the end
            0..0x20 => return Err(Unfamiliar),
            _ => at += 1,
        }
    }
}

#[cold]
fn escape_end(bytes: &[u8], at: usize) -> Scan<usize> {
    match byte(bytes, at + 1) {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(at + 2),
        // Half a surrogate pair is no matter where nobody reads it
        b'u' if bytes.get(at + 2..at + 6).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) => Ok(at + 6),
        _ => Err(Unfamiliar),
    }
}

#[inline]
fn number_end(bytes: &[u8], at: usize) -> Scan<usize> {
    if let Some(word) = word(bytes, at) {
        let digits = digits(word);
        let is_usual = matches!(digits, 1..WORD)
            && (digits == 1 || bytes[at] != b'0')
            && !matches!(bytes[at + digits], b'.' | b'e' | b'E');
        if is_usual {
            return Ok(at + digits);
        }
    }
    long_number_end(bytes, at)
}

/// For numbers that are negative, long, or no integers.
#[cold]
fn long_number_end(bytes: &[u8], mut at: usize) -> Scan<usize> {
    let digits = |mut at: usize| {
        let start = at;
        while byte(bytes, at).is_ascii_digit() {
            at += 1;
        }
        if at > start { Ok(at) } else { Err(Unfamiliar) }
    };
    at += usize::from(byte(bytes, at) == b'-');
    at = if byte(bytes, at) == b'0' { at + 1 } else { digits(at)? };
    if byte(bytes, at) == b'.' {
        at = digits(at + 1)?;
    }
    if matches!(byte(bytes, at), b'e' | b'E') {
        at = digits(at + 1 + usize::from(matches!(byte(bytes, at + 1), b'+' | b'-')))?;
    }
    Ok(at)
}

/// How many of a word's bytes, in the order of the text, are digits before the first that is none.
#[inline]
fn digits(word: u64) -> usize {
    const HIGH: u64 = u64::from_le_bytes([0x80; WORD]);
    let values = word ^ u64::from_le_bytes([b'0'; WORD]);
    let others = (values.wrapping_add(u64::from_le_bytes([0x76; WORD])) | values) & HIGH;
    others.trailing_zeros() as usize / WORD
}

/// Whether two slices of one length are equal, without the call that a comparison of slices costs: names are short.
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

/// How many of a word's bytes, in the order of the text, come before the first quote, backslash or control character.
#[inline]
fn plain_bytes(word: u64) -> usize {
    const ONES: u64 = u64::from_le_bytes([0x01; WORD]);
    const HIGH: u64 = u64::from_le_bytes([0x80; WORD]);
    // The high bit of each byte that is zero; a borrow may mark later bytes wrongly, never earlier ones
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word;
    let quotes = zeros(word ^ (ONES * u64::from(b'"')));
    let backslashes = zeros(word ^ (ONES * u64::from(b'\\')));
    let controls = word.wrapping_sub(ONES * 0x20) & !word;
    ((quotes | backslashes | controls) & HIGH).trailing_zeros() as usize / WORD
}

/// The JSON object that a body begins with, where there is more around it: a byte order mark before it, anything behind
/// it. `None`: there is nothing around it, or no whole object.
///
/// Gateways add such things to answers that were paid for and are whole.
pub(crate) fn object_within(body: &[u8]) -> Option<&[u8]> {
    const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
    let rest = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<serde::de::IgnoredAny>();
    if rest.trim_ascii_start().first() != Some(&b'{') || values.next()?.is_err() {
        return None;
    }
    let object = &rest[..values.byte_offset()];
    (object.trim_ascii_start().len() < body.trim_ascii().len()).then_some(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_plain_text_is_found_in_a_word() {
        for stop in [b'"', b'\\', 0, 0x1f] {
            for at in 0..WORD {
                for filler in [b'a', b' ', b'!', b'#', b'[', b']', 0x7f, 0x80, 0xa2, 0xdc, 0xff] {
                    let mut bytes = [filler; WORD];
                    assert_eq!(plain_bytes(u64::from_le_bytes(bytes)), WORD, "{filler}");
                    bytes[at] = stop;
                    assert_eq!(plain_bytes(u64::from_le_bytes(bytes)), at, "{stop} among {filler}");
                }
            }
        }
    }

    #[test]
    fn digits_are_counted_up_to_the_first_other_byte() {
        for other in (0..=u8::MAX).filter(|byte| !byte.is_ascii_digit()) {
            for at in 0..WORD {
                for behind in [b'0', b'9', other, 0, 0x8a, 0xff] {
                    let mut bytes = [behind; WORD];
                    bytes[..at].copy_from_slice(&b"90817263"[..at]);
                    bytes[at] = other;
                    assert_eq!(digits(u64::from_le_bytes(bytes)), at, "{bytes:?}");
                }
            }
        }
        assert_eq!(digits(u64::from_le_bytes(*b"90817263")), WORD);
    }

    #[test]
    fn a_name_is_taken_letter_for_letter() {
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
    fn what_is_skipped_is_valid_json_and_nothing_else() {
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
    fn strings_mean_what_serde_json_says() {
        let check = |text: &str| {
            for padding in ["", "padding"] {
                let quoted = format!("\"{text}\"{padding}");
                let mut out = Vec::new();
                let taken =
                    Scanner::new(&quoted).string(&mut out).ok().map(|()| String::from_utf8(out).expect("UTF-8"));
                assert_eq!(taken, serde_json::from_str::<String>(&format!("\"{text}\"")).ok(), "{text}");
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
