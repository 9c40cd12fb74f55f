//! Decodes a file to UTF-8 with `\n` as line ends, a buffer at a time.
//!
//! Byte order marks are removed, UTF-16 and the encoding of `--input-encoding` are decoded, `\r\n` and lone `\r` become
//! `\n`. No encoding is guessed: invalid bytes stay or become bytes that are not UTF-8, by which [`decoded`] recognizes
//! the lines to reject. Memory is limited to a buffer and one line of limited length.

use std::io::{self, BufRead, Cursor, Read};

use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};

const BUFFER: usize = 64 * 1024;
/// Bytes of one line; the rest of a longer one is skipped.
pub(super) const MAX_LINE_BYTES: usize = 64 * 1024;

/// The first bytes of `reader`, at most `count`, and a reader that returns them again.
pub(super) fn peek<R: Read>(mut reader: R, count: u64) -> io::Result<(Vec<u8>, impl Read + use<R>)> {
    let mut head = Vec::new();
    reader.by_ref().take(count).read_to_end(&mut head)?;
    Ok((head.clone(), Cursor::new(head).chain(reader)))
}

/// Whether a text is in UTF-32, by its byte order mark or the zeros of its first two characters.
pub(super) fn is_utf_32(head: &[u8]) -> bool {
    let has_mark = matches!(head, [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..]);
    has_mark || matches!(head, [1..=255, 0, 0, 0, 1..=255, 0, 0, 0, ..] | [0, 0, 0, 1..=255, 0, 0, 0, 1..=255, ..])
}

/// Replaces bytes that cannot be decoded; never part of UTF-8.
const INVALID: u8 = 0xff;

pub(super) struct Text<R> {
    reader: R,
    /// `None`: UTF-8, which needs no decoding.
    decoder: Option<Decoder>,
    pub(super) encoding: &'static Encoding,
    /// Bytes for the decoder.
    raw: Vec<u8>,
    ready: Vec<u8>,
    /// Bytes of `ready` that were consumed.
    used: usize,
    ended: bool,
    after_return: bool,
    /// Bytes of text that may still be returned.
    pub(super) allowance: u64,
}

impl<R: Read> Text<R> {
    /// Beyond `allowance` bytes of text, reading is an error of kind [`FileTooLarge`](io::ErrorKind::FileTooLarge). A
    /// byte order mark takes precedence over `encoding`; without either it is UTF-8.
    pub(super) fn open(
        reader: R,
        allowance: u64,
        encoding: Option<&'static Encoding>,
    ) -> io::Result<Text<impl Read + use<R>>> {
        let (mark, mut reader) = peek(reader, 3)?;
        let (encoding, mark_length) = match mark.as_slice() {
            [0xff, 0xfe, ..] => (UTF_16LE, 2),
            [0xfe, 0xff, ..] => (UTF_16BE, 2),
            [0xef, 0xbb, 0xbf] => (UTF_8, 3),
            _ => (encoding.unwrap_or(UTF_8), 0),
        };
        reader.by_ref().take(mark_length).read_to_end(&mut Vec::new())?;
        let decoder = (encoding != UTF_8).then(|| encoding.new_decoder_without_bom_handling());
        let (raw, ready) = (Vec::new(), Vec::new());
        Ok(Text { reader, decoder, encoding, raw, ready, used: 0, ended: false, after_return: false, allowance })
    }

    /// Refills `ready`. It stays empty at the end of the text, or if a chunk is only half a line end.
    fn refill(&mut self) -> io::Result<usize> {
        self.used = 0;
        self.ready.clear();
        if self.ended {
            return Ok(0);
        }
        let into = if self.decoder.is_some() { &mut self.raw } else { &mut self.ready };
        into.resize(BUFFER, 0);
        let result = self.reader.read(into);
        into.truncate(*result.as_ref().unwrap_or(&0));
        let length = result?;
        self.ended = length == 0;
        if let Some(decoder) = &mut self.decoder {
            decode(decoder, &self.raw, &mut self.ready, self.ended);
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

/// Appends `bytes` as UTF-8, with [`INVALID`] for bytes that cannot be decoded.
fn decode(decoder: &mut Decoder, mut bytes: &[u8], text: &mut Vec<u8>, at_end: bool) {
    loop {
        let start = text.len();
        let max = decoder.max_utf8_buffer_length_without_replacement(bytes.len());
        text.resize(start + max.expect("a buffer's length"), 0);
        let (result, read, written) = decoder.decode_to_utf8_without_replacement(bytes, &mut text[start..], at_end);
        text.truncate(start + written);
        bytes = &bytes[read..];
        match result {
            DecoderResult::InputEmpty => return,
            DecoderResult::OutputFull => {}
            DecoderResult::Malformed(..) => text.push(INVALID),
        }
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    Whole,
    /// The rest was too long and skipped.
    Cut,
}

/// Reads the next line into `line`, without its end; `None` at the end of the text.
pub(super) fn read_line(text: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Option<Length>> {
    line.clear();
    text.take(MAX_LINE_BYTES as u64 + 1).read_until(b'\n', line)?;
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if line.is_empty() {
        return Ok(None);
    } else if line.len() > MAX_LINE_BYTES {
        text.skip_until(b'\n')?;
        line.truncate(MAX_LINE_BYTES);
        return Ok(Some(Length::Cut));
    }
    Ok(Some(Length::Whole))
}

/// A line or cell as text, which may be cut within a character. The error is the part before the first invalid byte.
pub(super) fn decoded(bytes: &[u8], length: Length) -> Result<&str, &str> {
    let valid = |length: usize| std::str::from_utf8(&bytes[..length]).expect("valid up to there");
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(error) if length == Length::Cut && error.error_len().is_none() => Ok(valid(error.valid_up_to())),
        Err(error) => Err(valid(error.valid_up_to())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a few bytes at a time, as a pipe may.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let max = self.1.min(into.len());
            self.0.read(&mut into[..max])
        }
    }

    fn lines(bytes: &[u8], chunk: usize, encoding: Option<&'static Encoding>) -> Vec<String> {
        let mut text = Text::open(Trickle(bytes, chunk), u64::MAX, encoding).expect("text");
        let (mut line, mut lines) = (Vec::new(), Vec::new());
        while let Some(length) = read_line(&mut text, &mut line).expect("a line") {
            lines.push(match decoded(&line, length) {
                Ok(text) => text.to_owned(),
                Err(_) => format!("not valid: {}", String::from_utf8_lossy(&line)),
            });
        }
        lines
    }

    fn utf_16(text: &str, to_bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(to_bytes).collect()
    }

    #[test]
    fn line_ends_and_byte_order_marks_are_handled_in_chunks_of_any_size() {
        let check = |bytes: &[u8], expected: &[&str]| {
            for chunk in [1, 2, 3, 5, 1_000] {
                assert_eq!(lines(bytes, chunk, None), expected, "{bytes:?} in chunks of {chunk}");
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
        check(b"\xef\xbba", &["not valid: \u{fffd}a"]);
        check(b"b\xfccher.de\nb\xc3\xbccher.de", &["not valid: b\u{fffd}cher.de", "bücher.de"]);
        check(b"a\0b", &["a\0b"]);
        check(&utf_16("\u{feff}ü.de\r\n例え.jp\r\n😀", u16::to_le_bytes), &["ü.de", "例え.jp", "😀"]);
        check(&utf_16("\u{feff}ü.de\r\n例え.jp\r\n😀", u16::to_be_bytes), &["ü.de", "例え.jp", "😀"]);
        check(b"\xff\xfea\0b", &["not valid: a\u{fffd}"]);
        check(b"\xff\xfe\x3d\xd8", &["not valid: \u{fffd}"]);
        check(b"\xff\xfe", &[]);
    }

    #[test]
    fn every_label_is_decoded_and_invalid_bytes_are_recognized() {
        let check = |label: &str, bytes: &[u8], expected: &[&str]| {
            let encoding = Encoding::for_label_no_replacement(label.as_bytes()).expect(label);
            for chunk in [1, 2, 3, 1_000] {
                assert_eq!(lines(bytes, chunk, Some(encoding)), expected, "{label} in chunks of {chunk}");
            }
        };
        check("windows-1251", b"\xef\xf0\xe8\xec\xe5\xf0.com\r\nb.com", &["пример.com", "b.com"]);
        check("WINDOWS-1252", b"b\xfccher.de", &["bücher.de"]);
        check("latin2", b"\xb1\xb6.pl", &["ąś.pl"]);
        check("gbk", b"\xd6\xd0\xb9\xfa.cn\n\xff\xff\nb.cn", &["中国.cn", "not valid: \u{fffd}\u{fffd}", "b.cn"]);
        check("gbk", b"a\n\xd6", &["a", "not valid: \u{fffd}"]);
        check("shift_jis", b"\x93\xfa\x96{.jp", &["日本.jp"]);
        check("utf-16le", &utf_16("ü.de\nb", u16::to_le_bytes), &["ü.de", "b"]);
        check("utf-8", "ü.de".as_bytes(), &["ü.de"]);
        // A byte order mark is part of the text itself.
        check("windows-1251", "\u{feff}ü.de".as_bytes(), &["ü.de"]);
        check("gbk", &utf_16("\u{feff}ü.de", u16::to_be_bytes), &["ü.de"]);
    }

    #[test]
    fn a_line_at_the_limit_is_whole_and_one_beyond_it_is_cut() {
        let check = |bytes: usize, expected: (Length, usize)| {
            let mut text = "x".repeat(bytes);
            text.push_str("\nnext");
            let (mut text, mut line) = (Text::open(text.as_bytes(), u64::MAX, None).expect("text"), Vec::new());
            let length = read_line(&mut text, &mut line).expect("a line").expect("a line");
            assert_eq!((length, line.len()), expected);
            assert_eq!(read_line(&mut text, &mut line).expect("a line"), Some(Length::Whole));
            assert_eq!(line, b"next");
        };
        check(MAX_LINE_BYTES - 1, (Length::Whole, MAX_LINE_BYTES - 1));
        check(MAX_LINE_BYTES, (Length::Whole, MAX_LINE_BYTES));
        check(MAX_LINE_BYTES + 1, (Length::Cut, MAX_LINE_BYTES));
        check(5 * MAX_LINE_BYTES, (Length::Cut, MAX_LINE_BYTES));
    }

    #[test]
    fn a_line_cut_within_a_character_is_still_utf_8() {
        assert_eq!(decoded(b"b\xc3", Length::Cut), Ok("b"));
        assert_eq!(decoded(b"b\xc3", Length::Whole), Err("b"));
        assert_eq!(decoded(b"b\xffc", Length::Cut), Err("b"));
    }

    #[test]
    fn text_beyond_the_allowance_is_an_error() {
        let all = |allowance| {
            let mut text = Text::open(&b"\xef\xbb\xbfabc\r\n"[..], allowance, None).expect("text");
            text.read_to_end(&mut Vec::new()).map_err(|error| error.kind())
        };
        assert_eq!(all(4), Ok(4));
        assert_eq!(all(3), Err(io::ErrorKind::FileTooLarge));
    }
}
