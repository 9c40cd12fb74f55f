//! Bytes of a file to UTF-8 with `\n` at line ends, a buffer at a time.
//!
//! What sheets and editors write is evened out here, so that lines and rows need to know one form alone: byte order
//! marks go, UTF-16 is decoded, `\r\n` and lone `\r` become `\n`. Bytes that are no UTF-8 pass as they are, since only
//! a whole line tells what they may be: [`decoded`] then takes it as Windows-1252. Never holds more than a buffer and
//! one line of limited length.

use std::{
    borrow::Cow,
    io::{self, BufRead, Cursor, Read},
};

/// Bytes read at a time.
const BUFFER: usize = 64 * 1024;
/// Bytes of one line at most; of a longer one the rest is passed over.
pub(super) const MOST_LINE: usize = 64 * 1024;

/// The first bytes of `reader`, at most `count`, and a reader that gives them again.
pub(super) fn peek<R: Read>(mut reader: R, count: u64) -> io::Result<(Vec<u8>, impl Read + use<R>)> {
    let mut head = Vec::new();
    reader.by_ref().take(count).read_to_end(&mut head)?;
    Ok((head.clone(), Cursor::new(head).chain(reader)))
}

/// A reader's text in one form.
pub(super) struct Text<R> {
    reader: R,
    wide: Option<Wide>,
    ready: Vec<u8>,
    /// How much of `ready` is used up.
    used: usize,
    after_return: bool,
    /// Bytes that may still be handed out.
    allowance: u64,
}

impl<R: Read> Text<R> {
    /// Begins to read, and gives an error of kind [`FileTooLarge`](io::ErrorKind::FileTooLarge) beyond `allowance`
    /// bytes of text.
    pub(super) fn open(reader: R, allowance: u64) -> io::Result<Text<impl Read + use<R>>> {
        let (mark, mut reader) = peek(reader, 3)?;
        let (wide, mark_length) = match mark.as_slice() {
            [0xff, 0xfe, ..] => (Some(Wide::new(u16::from_le_bytes)), 2),
            [0xfe, 0xff, ..] => (Some(Wide::new(u16::from_be_bytes)), 2),
            [0xef, 0xbb, 0xbf] => (None, 3),
            _ => (None, 0),
        };
        reader.by_ref().take(mark_length).read_to_end(&mut Vec::new())?;
        Ok(Text { reader, wide, ready: Vec::new(), used: 0, after_return: false, allowance })
    }

    /// Bytes that may still be handed out.
    pub(super) fn allowance(&self) -> u64 {
        self.allowance
    }

    /// Fills `ready` anew. Leaves it empty at the end of the text, or if a chunk held nothing but half a line end.
    fn refill(&mut self) -> io::Result<usize> {
        self.used = 0;
        self.ready.resize(BUFFER, 0);
        let length = match self.reader.read(&mut self.ready) {
            Ok(length) => length,
            Err(error) => {
                self.ready.clear();
                return Err(error);
            }
        };
        self.ready.truncate(length);
        if let Some(wide) = &mut self.wide {
            wide.decode(&mut self.ready, length == 0);
        }
        if self.after_return || self.ready.contains(&b'\r') {
            let after_return = &mut self.after_return;
            self.ready.retain_mut(|byte| {
                let is_second_half = *byte == b'\n' && *after_return;
                *after_return = *byte == b'\r';
                if *after_return {
                    *byte = b'\n';
                }
                !is_second_half
            });
        }
        let beyond = || io::Error::from(io::ErrorKind::FileTooLarge);
        self.allowance = self.allowance.checked_sub(self.ready.len() as u64).ok_or_else(beyond)?;
        Ok(length)
    }
}

impl<R: Read> Read for Text<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(into)?;
        self.consume(length);
        Ok(length)
    }
}

impl<R: Read> BufRead for Text<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.used == self.ready.len() && self.refill()? > 0 {}
        Ok(&self.ready[self.used..])
    }

    fn consume(&mut self, amount: usize) {
        self.used += amount;
    }
}

/// What UTF-16 leaves over between two chunks.
struct Wide {
    unit: fn([u8; 2]) -> u16,
    /// Half a unit.
    byte: Option<u8>,
    /// Half a surrogate pair.
    high: Option<u16>,
}

impl Wide {
    fn new(unit: fn([u8; 2]) -> u16) -> Self {
        Self { unit, byte: None, high: None }
    }

    /// Replaces UTF-16 by UTF-8. What stands alone at the end becomes a replacement character.
    fn decode(&mut self, chunk: &mut Vec<u8>, at_end: bool) {
        let mut bytes = self.byte.take().into_iter().chain(chunk.iter().copied());
        let mut units: Vec<u16> = self.high.take().into_iter().collect();
        while let Some(first) = bytes.next() {
            match bytes.next() {
                Some(second) => units.push((self.unit)([first, second])),
                None if at_end => units.push(0xfffd),
                None => self.byte = Some(first),
            }
        }
        if !at_end {
            self.high = units.pop_if(|last| (0xd800..0xdc00).contains(last));
        }
        *chunk = String::from_utf16_lossy(&units).into_bytes();
    }
}

/// A line as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// All of it is there.
    Whole,
    /// It was longer than [`MOST_LINE`], and its rest is passed over.
    Cut,
}

/// Reads the next line into `line`, without its end; `None` where there is none.
pub(super) fn read_line(text: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Option<Length>> {
    line.clear();
    text.take(MOST_LINE as u64 + 1).read_until(b'\n', line)?;
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if line.is_empty() {
        return Ok(None);
    } else if line.len() > MOST_LINE {
        text.skip_until(b'\n')?;
        line.truncate(MOST_LINE);
        return Ok(Some(Length::Cut));
    }
    Ok(Some(Length::Whole))
}

/// A line or a cell as text: UTF-8, possibly cut within a character, or else Windows-1252.
pub(super) fn decoded(bytes: &[u8], length: Length) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(error) if length == Length::Cut && error.error_len().is_none() => {
            String::from_utf8_lossy(&bytes[..error.valid_up_to()])
        }
        Err(_) => bytes.iter().map(|byte| windows_1252(*byte)).collect::<String>().into(),
    }
}

/// Latin-1, but for what Windows has where Latin-1 has control characters.
fn windows_1252(byte: u8) -> char {
    const FROM_80: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘',
        '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
    ];
    match byte {
        0x80..=0x9f => FROM_80[usize::from(byte - 0x80)],
        _ => char::from(byte),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out a few bytes at a time, as a pipe may.
    struct Sips<'a>(&'a [u8], usize);

    impl Read for Sips<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let most = self.1.min(into.len());
            self.0.read(&mut into[..most])
        }
    }

    fn lines(bytes: &[u8], sip: usize) -> Vec<String> {
        let mut text = Text::open(Sips(bytes, sip), u64::MAX).expect("text");
        let (mut line, mut lines) = (Vec::new(), Vec::new());
        while let Some(length) = read_line(&mut text, &mut line).expect("a line") {
            lines.push(decoded(&line, length).into_owned());
        }
        lines
    }

    fn utf_16(text: &str, to_bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(to_bytes).collect()
    }

    #[test]
    fn every_encoding_and_line_end_gives_the_same_lines_in_sips_of_any_size() {
        let check = |bytes: &[u8], expected: &[&str]| {
            for sip in [1, 2, 3, 5, 1_000] {
                assert_eq!(lines(bytes, sip), expected, "{bytes:?} in sips of {sip}");
            }
        };
        check(b"", &[]);
        check(b"\n", &[""]);
        check(b"a\nb", &["a", "b"]);
        check(b"a\r\nb\r\n", &["a", "b"]);
        check(b"a\rb\r\rc\r", &["a", "b", "", "c"]);
        check(b"a\n\rb\r\n\n", &["a", "", "b", ""]);
        check("\u{feff}ü\n".as_bytes(), &["ü"]);
        check("\u{feff}".as_bytes(), &[]);
        check(b"\xef\xbba", &["ï»a"]);
        check(b"b\xfccher.de\n\x80\x9f\nb\xc3\xbccher.de", &["bücher.de", "€Ÿ", "bücher.de"]);
        check(b"a\0b", &["a\0b"]);
        check(&utf_16("\u{feff}ü.de\r\n例え.jp\r\n😀", u16::to_le_bytes), &["ü.de", "例え.jp", "😀"]);
        check(&utf_16("\u{feff}ü.de\r\n例え.jp\r\n😀", u16::to_be_bytes), &["ü.de", "例え.jp", "😀"]);
        check(b"\xff\xfea\0b", &["a\u{fffd}"]);
        check(b"\xff\xfe\x3d\xd8", &["\u{fffd}"]);
        check(b"\xff\xfe", &[]);
    }

    #[test]
    fn a_line_at_the_limit_is_whole_and_one_beyond_it_is_cut() {
        let check = |bytes: usize, expected: (Length, usize)| {
            let mut text = "x".repeat(bytes);
            text.push_str("\nnext");
            let (mut text, mut line) = (Text::open(text.as_bytes(), u64::MAX).expect("text"), Vec::new());
            let length = read_line(&mut text, &mut line).expect("a line").expect("a line");
            assert_eq!((length, line.len()), expected);
            assert_eq!(read_line(&mut text, &mut line).expect("a line"), Some(Length::Whole));
            assert_eq!(line, b"next");
        };
        check(MOST_LINE - 1, (Length::Whole, MOST_LINE - 1));
        check(MOST_LINE, (Length::Whole, MOST_LINE));
        check(MOST_LINE + 1, (Length::Cut, MOST_LINE));
        check(5 * MOST_LINE, (Length::Cut, MOST_LINE));
    }

    #[test]
    fn a_line_cut_within_a_character_is_still_utf_8() {
        assert_eq!(decoded(b"b\xc3", Length::Cut), "b");
        assert_eq!(decoded(b"b\xc3", Length::Whole), "bÃ");
    }

    #[test]
    fn no_more_text_comes_than_is_allowed() {
        let all = |allowance| {
            let mut text = Text::open(&b"\xef\xbb\xbfabc\r\n"[..], allowance).expect("text");
            text.read_to_end(&mut Vec::new()).map_err(|error| error.kind())
        };
        assert_eq!(all(4), Ok(4));
        assert_eq!(all(3), Err(io::ErrorKind::FileTooLarge));
    }
}
