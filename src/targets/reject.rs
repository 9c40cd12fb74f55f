//! Why a written form is not a target, in words for the person who wrote it.

use super::idna2008::Violation;

/// Characters of a host name at most, by RFC 1035 (255 octets with the root and the length octets).
pub(super) const LONGEST_NAME: usize = 253;
/// Characters of one label at most, by RFC 1035.
pub(super) const LONGEST_LABEL: usize = 63;
/// Why a written form is not a target, and what may have been meant. The text goes into `_rejected.csv`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}{}", suggestion.as_ref().map(|name| format!("; did you mean {name}?")).unwrap_or_default())]
pub struct Rejection {
    pub reason: Reject,
    /// A name that would be a target.
    pub suggestion: Option<Box<str>>,
}

/// Why a written form is not a target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    /// Nothing is left once scheme, path and blanks are gone.
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
    /// A name without a dot.
    #[error("a single word without a dot")]
    SingleLabel,
    /// A name under which others register theirs.
    #[error("a public suffix such as co.uk, not a domain; --allow-suffix accepts it")]
    PublicSuffix,
    /// A last label that is in no registry.
    #[error("`.{0}` is not a known top-level domain")]
    UnknownSuffix(Box<str>),
    /// Two dots in a row, or one in front.
    #[error("an empty label: two dots in a row or a leading dot")]
    EmptyLabel,
    /// A label of more than 63 characters.
    #[error("a label is longer than {LONGEST_LABEL} characters")]
    LongLabel,
    /// A name of more than 253 characters.
    #[error("the name is longer than {LONGEST_NAME} characters")]
    LongName,
    /// A label begins or ends with a hyphen.
    #[error("a label begins or ends with a hyphen")]
    Hyphen,
    /// A label has hyphens where encoded ones have them.
    #[error("a label with hyphens in the third and fourth positions, which is reserved for encoded names")]
    Hyphens,
    /// An underscore, which DNS allows and host names do not.
    #[error("an underscore, which is not allowed in a host name")]
    Underscore,
    /// A character that may not be in a name, written so that no terminal obeys it.
    #[error("the character {}, which is not allowed in a domain name", shown(*.0))]
    Character(char),
    /// A character that is allowed beside certain others only.
    #[error("the character {}, which is not allowed in this position", shown(*.0))]
    Misplaced(char),
    /// A NUL, as the text of an encoding with two bytes a letter has in every other place.
    #[error("NUL characters; UTF-16 without a byte order mark needs --input-encoding utf-16le or utf-16be")]
    Nul,
    /// What follows the colon is no port.
    #[error("what follows the colon is not a port number")]
    Port,
    /// UTF-8 that was read as another encoding, as in `bÃ¼cher`.
    #[error("garbled text: UTF-8 decoded in another encoding")]
    Garbled,
    /// A name that internationalised domain names do not allow, such as a label that cannot be decoded.
    #[error("not a valid internationalized domain name")]
    Idna,
}

impl From<Violation> for Reject {
    fn from(violation: Violation) -> Self {
        match violation {
            Violation::Disallowed(character) => Self::Character(character),
            Violation::Misplaced(character) => Self::Misplaced(character),
            Violation::Hyphen => Self::Hyphen,
            Violation::Hyphens => Self::Hyphens,
        }
    }
}

/// A character in quotes; one that could be taken for another with its number.
fn shown(character: char) -> String {
    let quoted = format!("{character:?}");
    // What is escaped has its number already.
    if character.is_ascii() || quoted.starts_with("'\\") {
        return quoted;
    }
    format!("{quoted} (U+{:04X})", u32::from(character))
}
