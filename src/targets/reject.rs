//! The reasons for rejecting an input line, as texts for `_rejected.csv`.

/// Characters of a host name, by RFC 1035 (255 octets with the root and the length octets).
pub(super) const MAX_NAME_LENGTH: usize = 253;
/// Characters of one label, by RFC 1035.
pub(super) const MAX_LABEL_LENGTH: usize = 63;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}{}", suggestion.as_ref().map(|name| format!("; did you mean {name}?")).unwrap_or_default())]
pub struct Rejection {
    pub reason: RejectReason,
    /// A valid name that may have been meant.
    pub suggestion: Option<Box<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RejectReason {
    /// Nothing is left without scheme, path and blanks.
    #[error("no host name")]
    Empty,
    /// An IP address in its usual form.
    #[error("an IP address, not a domain")]
    IpAddress,
    /// The last label is a number, as in `127.1` or `0x7f.0.0.1`.
    #[error("a number or an unusual form of an IP address, not a domain")]
    Number,
    #[error("an e-mail address, not a domain")]
    Email,
    #[error("a single word without a dot")]
    SingleLabel,
    #[error("a URL without `://` after http or https")]
    Scheme,
    #[error("a public suffix such as co.uk, not a domain; --allow-suffix accepts it")]
    PublicSuffix,
    #[error("`.{0}` is not a known top-level domain")]
    UnknownSuffix(Box<str>),
    #[error("an empty label: two dots in a row or a leading dot")]
    EmptyLabel,
    #[error("a label is longer than {MAX_LABEL_LENGTH} characters")]
    LongLabel,
    #[error("the name is longer than {MAX_NAME_LENGTH} characters")]
    LongName,
    #[error("a label begins or ends with a hyphen")]
    Hyphen,
    #[error("a label with hyphens in the third and fourth positions, which is reserved for encoded names")]
    Hyphens,
    #[error("an underscore, which is not allowed in a host name")]
    Underscore,
    #[error("the character {}, which is not allowed in a domain name", quoted_character(*.0))]
    Character(char),
    /// A character that is allowed only next to certain others.
    #[error("the character {}, which is not allowed in this position", quoted_character(*.0))]
    Misplaced(char),
    #[error("NUL characters; UTF-16 without a byte order mark needs --input-encoding utf-16le or utf-16be")]
    Nul,
    #[error("the text after the colon is not a port number")]
    Port,
    /// UTF-8 that was read as another encoding, as in `bÃ¼cher`.
    #[error("garbled text: UTF-8 decoded with the wrong encoding")]
    Garbled,
    /// Such as a label that cannot be decoded.
    #[error("not a valid internationalized domain name")]
    Idna,
}

/// A character in quotes and escaped, with its code point unless it is ASCII.
fn quoted_character(character: char) -> String {
    let quoted = format!("{character:?}");
    // An escaped character shows its code point already.
    if character.is_ascii() || quoted.starts_with("'\\") {
        return quoted;
    }
    format!("{quoted} (U+{:04X})", u32::from(character))
}
