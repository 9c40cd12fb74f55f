//! Finds the end of the token at a position in a JSON text. Each function validates what it skips, eight bytes at a
//! time as one word, since most of the decoding time is spent here.

use super::scan::{Malformed, Scan};

/// Bytes of a word.
pub(super) const WORD: usize = 8;

/// The byte at a position; 0 at the end, which is not JSON outside of strings.
#[inline]
pub(super) fn byte(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or(0)
}

/// The next bytes as a word, the first of them lowest.
#[inline]
fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[inline]
pub(super) fn blanks_end(bytes: &[u8], mut at: usize) -> usize {
    while matches!(byte(bytes, at), b' ' | b'\n' | b'\t' | b'\r') {
        at += 1;
    }
    at
}

/// The end of a key and its colon.
#[inline]
pub(super) fn key_end(bytes: &[u8], at: usize) -> Scan<usize> {
    let at = blanks_end(bytes, string_end(bytes, at)?);
    if byte(bytes, at) == b':' { Ok(at + 1) } else { Err(Malformed) }
}

#[inline]
pub(super) fn literal_end<const N: usize>(bytes: &[u8], at: usize, literal: &[u8; N]) -> Scan<usize> {
    let is_it = bytes.get(at..).and_then(|rest| rest.first_chunk()) == Some(literal);
    if is_it { Ok(at + N) } else { Err(Malformed) }
}

#[inline]
pub(super) fn string_end(bytes: &[u8], mut at: usize) -> Scan<usize> {
    if byte(bytes, at) != b'"' {
        return Err(Malformed);
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
            0..0x20 => return Err(Malformed),
            _ => at += 1,
        }
    }
}

#[cold]
fn escape_end(bytes: &[u8], at: usize) -> Scan<usize> {
    match byte(bytes, at + 1) {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(at + 2),
        // Half a surrogate pair does not matter in what is skipped.
        b'u' if bytes.get(at + 2..at + 6).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) => Ok(at + 6),
        _ => Err(Malformed),
    }
}

#[inline]
pub(super) fn number_end(bytes: &[u8], at: usize) -> Scan<usize> {
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

/// For numbers that are negative, long, or not integers.
#[cold]
fn long_number_end(bytes: &[u8], mut at: usize) -> Scan<usize> {
    let digits = |mut at: usize| {
        let start = at;
        while byte(bytes, at).is_ascii_digit() {
            at += 1;
        }
        if at > start { Ok(at) } else { Err(Malformed) }
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

/// How many of a word's bytes, in text order, are digits before the first other byte.
#[inline]
fn digits(word: u64) -> usize {
    const HIGH: u64 = u64::from_le_bytes([0x80; WORD]);
    let values = word ^ u64::from_le_bytes([b'0'; WORD]);
    let others = (values.wrapping_add(u64::from_le_bytes([0x76; WORD])) | values) & HIGH;
    others.trailing_zeros() as usize / WORD
}

/// How many of a word's bytes, in text order, come before the first quote, backslash or control character.
#[inline]
pub(super) fn plain_bytes(word: u64) -> usize {
    const ONES: u64 = u64::from_le_bytes([0x01; WORD]);
    const HIGH: u64 = u64::from_le_bytes([0x80; WORD]);
    // The high bit of each byte that is zero; a borrow may mark later bytes wrongly, but never earlier ones
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word;
    let quotes = zeros(word ^ (ONES * u64::from(b'"')));
    let backslashes = zeros(word ^ (ONES * u64::from(b'\\')));
    let controls = word.wrapping_sub(ONES * 0x20) & !word;
    ((quotes | backslashes | controls) & HIGH).trailing_zeros() as usize / WORD
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
}
