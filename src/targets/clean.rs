//! Turns pasted text into a checked host, or a reason for its rejection.
//!
//! People paste what their browser, spreadsheet or mail shows: URLs with paths, upper case, quotes, invisible
//! characters, names in their own script. This wrapping is removed and the name normalized. The result must be a valid
//! host name under a registrable domain, by IDNA2008 and the Public Suffix List, since each wrong target would be a
//! paid call that returns no data. Apart from `www.`, a name is never shortened, completed or corrected; a rejection
//! may include a suggestion. Cleaning is idempotent.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use icu_normalizer::ComposingNormalizerBorrowed;
use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use super::{
    Target, idna2008,
    reject::{MAX_LABEL_LENGTH, MAX_NAME_LENGTH, RejectReason, Rejection},
    suggest,
};
use crate::sanitize::is_invisible;

/// Bytes of a host as written: four for each character of the longest name. The mapping of Unicode names takes more
/// than linear time, so longer ones are not mapped.
const MAX_WRITTEN_BYTES: usize = 4 * MAX_NAME_LENGTH;

/// What counts as a target besides registrable domains and their subdomains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accept {
    pub addresses: bool,
    /// Public suffixes, of which some are sites: `gov.uk`.
    pub suffixes: bool,
}

impl Accept {
    pub const DOMAINS: Self = Self { addresses: false, suffixes: false };
    pub const ALL: Self = Self { addresses: true, suffixes: true };
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cleaned {
    pub target: Target,
    /// Whether the host is below its registrable domain: its history is not that of the whole site.
    pub subdomain: bool,
}

/// Finds the host in a text and checks that it is under a registrable domain.
///
/// Scheme, credentials, port, path, query, fragment, `www.`, a trailing dot, quotes, blanks and invisible characters
/// are removed; letters become lower case, and non-ASCII labels A-labels. Names that IDNA2008 does not allow are
/// rejected, even if compatibility mapping would give a name (`™`, fullwidth letters). A suffix from the private part
/// of the Public Suffix List (`blogspot.com`, `github.io`) is a site of its own and accepted.
pub fn clean(written: &str, accept: Accept) -> Result<Cleaned, Rejection> {
    let cleaned = cleaned(written, accept);
    if written.is_ascii() && !matches!(cleaned, Err(RejectReason::Character(_))) {
        return cleaned.map_err(|reason| Rejection { reason, suggestion: None });
    }
    let suggestion = |candidate: String| {
        let target = self::cleaned(&candidate, accept).ok()?.target;
        Some((
            candidate,
            Uts46::new().to_unicode(target.as_str().as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow).0.into(),
        ))
    };
    let mut repaired = suggest::repaired(written).filter_map(suggestion);
    let garbled = match cleaned {
        Ok(_) => repaired.find(|(candidate, _)| suggest::is_plausible(candidate)),
        Err(_) => repaired.next(),
    };
    if let Some((_, name)) = garbled {
        return Err(Rejection { reason: RejectReason::Garbled, suggestion: Some(name) });
    }
    cleaned.map_err(|reason| {
        let plainer = suggest::plainer(written).and_then(suggestion);
        Rejection { reason, suggestion: plainer.map(|(_, name)| name) }
    })
}

/// The same without suggestions.
fn cleaned(written: &str, accept: Accept) -> Result<Cleaned, RejectReason> {
    let host = host_in(written)?;
    if let Some(address) = ipv6_in(host) {
        return address_as_target(address.into(), accept);
    }
    let host = without_port(host)?;
    if host.len() > MAX_WRITTEN_BYTES {
        return Err(RejectReason::LongName);
    }
    let name = in_ascii(host)?;
    let mut name = name.strip_suffix('.').unwrap_or(&name);
    if let Ok(address) = name.parse::<Ipv4Addr>() {
        return address_as_target(address.into(), accept);
    }
    check_syntax(name)?;
    let mut subdomain = match is_below_registrable(name) {
        Err(RejectReason::PublicSuffix) if accept.suffixes => false,
        judged => judged?,
    };
    if is_reserved(name) {
        return Err(RejectReason::Hyphens);
    }
    // Never shortened to a suffix, accepted or not: `www.gov.uk` is a site of its own.
    while let Some(rest) = name.strip_prefix("www.")
        && let Ok(rest_is_below) = is_below_registrable(rest)
    {
        (name, subdomain) = (rest, rest_is_below);
    }
    Ok(Cleaned { target: Target(name.into()), subdomain })
}

/// The host in lower-case ASCII. Of all mappings, only letter case and the dots of other scripts are accepted.
fn in_ascii(host: &str) -> Result<Cow<'_, str>, RejectReason> {
    if host.is_ascii() && !host.as_bytes().windows(4).any(|four| four.eq_ignore_ascii_case(b"xn--")) {
        let is_lower = !host.contains(|character: char| character.is_ascii_uppercase());
        return Ok(if is_lower { host.into() } else { host.to_ascii_lowercase().into() });
    }
    let folded = folded(host);
    if let Some(violation) = idna2008::violation(&folded) {
        return Err(address_in_other_digits(host).unwrap_or(violation));
    }
    let (deny, hyphens) = (AsciiDenyList::EMPTY, Hyphens::Allow);
    let uts46 = Uts46::new();
    let ascii = uts46.to_ascii(folded.as_bytes(), deny, hyphens, DnsLength::Ignore).map_err(|_| RejectReason::Idna)?;
    // An `xn--` name must decode to a name that would itself be accepted.
    let (unicode, valid) = uts46.to_unicode(ascii.as_bytes(), deny, hyphens);
    valid.map_err(|_| RejectReason::Idna)?;
    match idna2008::violation(&unicode) {
        Some(violation) => Err(violation),
        None => Ok(ascii.into_owned().into()),
    }
}

/// The host in lower case and composed form, with ASCII dots and without invisible characters.
fn folded(host: &str) -> String {
    let mut lower = String::with_capacity(host.len());
    for character in host.chars() {
        match character {
            '\u{ad}' | '\u{200b}' | '\u{2060}' | '\u{feff}' => {}
            '。' | '．' | '｡' => lower.push('.'),
            _ if idna2008::is_allowed(character) => lower.push(character),
            _ => lower.extend(character.to_lowercase()),
        }
    }
    ComposingNormalizerBorrowed::new_nfc().normalize_iter(lower.chars()).collect()
}

/// An address in digits of other scripts is rejected as an address.
fn address_in_other_digits(host: &str) -> Option<RejectReason> {
    let mapped = Uts46::new().to_ascii(host.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow, DnsLength::Ignore);
    mapped.ok()?.parse::<Ipv4Addr>().is_ok().then_some(RejectReason::IpAddress)
}

/// The host and port of a URL or bare name.
fn host_in(written: &str) -> Result<&str, RejectReason> {
    let text = without_operator(written.trim_matches(is_wrapping));
    let after_scheme = text
        .strip_prefix("//")
        .or_else(|| text.split_once("://").filter(|(scheme, _)| is_scheme(scheme)).map(|(_, rest)| rest));
    let rest = after_scheme.unwrap_or(text);
    // Browsers treat a backslash as a slash.
    let authority = rest.split(['/', '\\', '?', '#']).next().unwrap_or(rest);
    let host = match authority.rsplit_once('@') {
        Some((_, host)) if after_scheme.is_some() => host,
        Some(_) => return Err(RejectReason::Email),
        None => authority,
    };
    let (name, _) = host.split_once(':').unwrap_or((host, ""));
    if ["http", "https"].iter().any(|scheme| name.eq_ignore_ascii_case(scheme)) {
        return Err(RejectReason::Scheme);
    }
    if host.is_empty() { Err(RejectReason::Empty) } else { Ok(host) }
}

/// Removes search operators, which occur in exports of Search Console, disavow lists and searches.
fn without_operator(text: &str) -> &str {
    let operators = ["sc-domain", "domain", "site"];
    match text.split_once(':') {
        Some((operator, rest)) if operators.iter().any(|known| operator.trim_end().eq_ignore_ascii_case(known)) => {
            rest.trim_matches(is_wrapping)
        }
        _ => text,
    }
}

/// Characters around names in mails, spreadsheets and source code: blanks, quotes, separators and invisible ones.
pub(super) fn is_wrapping(character: char) -> bool {
    character.is_whitespace()
        || matches!(character, '"' | '\'' | '`' | '<' | '>' | ',' | ';' | '“' | '”' | '„' | '‘' | '’' | '«' | '»')
        || is_invisible(character)
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

/// An IPv6 address, bare or in brackets with an optional port.
fn ipv6_in(host: &str) -> Option<Ipv6Addr> {
    let inside = host.strip_prefix('[').and_then(|rest| rest.split_once(']')).map_or(host, |(inside, _)| inside);
    inside.parse().ok()
}

fn address_as_target(address: IpAddr, accept: Accept) -> Result<Cleaned, RejectReason> {
    let target = Target(address.to_string().into());
    if accept.addresses { Ok(Cleaned { target, subdomain: false }) } else { Err(RejectReason::IpAddress) }
}

fn without_port(host: &str) -> Result<&str, RejectReason> {
    match host.rsplit_once(':') {
        None => Ok(host),
        Some((name, port)) if port.parse::<u16>().is_ok() || port.is_empty() => Ok(name),
        Some(_) => Err(RejectReason::Port),
    }
}

/// Checks the rules of DNS and RFC 1123 for a host name without a trailing dot.
fn check_syntax(name: &str) -> Result<(), RejectReason> {
    let is_invalid = |c: &char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '.');
    match name.chars().find(is_invalid) {
        Some('_') => return Err(RejectReason::Underscore),
        Some('\0') => return Err(RejectReason::Nul),
        Some(character) => return Err(RejectReason::Character(character)),
        None if name.is_empty() => return Err(RejectReason::Empty),
        None => {}
    }
    let Some((_, last)) = name.rsplit_once('.') else { return Err(RejectReason::SingleLabel) };
    if name.len() > MAX_NAME_LENGTH {
        return Err(RejectReason::LongName);
    }
    for label in name.split('.') {
        if label.is_empty() {
            return Err(RejectReason::EmptyLabel);
        }
        if label.len() > MAX_LABEL_LENGTH {
            return Err(RejectReason::LongLabel);
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err(RejectReason::Hyphen);
        }
    }
    let hexadecimal = last.strip_prefix("0x").unwrap_or("");
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit())
        || !hexadecimal.is_empty() && hexadecimal.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_number { Err(RejectReason::Number) } else { Ok(()) }
}

/// Whether a name is below its registrable domain; an error if it has none.
fn is_below_registrable(name: &str) -> Result<bool, RejectReason> {
    let suffix = psl::suffix(name.as_bytes()).filter(psl::Suffix::is_known);
    let Some(suffix) = suffix else {
        let last = name.rsplit('.').next().unwrap_or(name);
        return Err(RejectReason::UnknownSuffix(last.into()));
    };
    match psl::domain(name.as_bytes()) {
        Some(domain) => Ok(domain.as_bytes().len() < name.len()),
        None if suffix.typ() == Some(psl::Type::Private) => Ok(false),
        None => Err(RejectReason::PublicSuffix),
    }
}

/// Whether the domain's label has `--` where an encoded one has it, but is not encoded: registries do not sell such
/// names. Subdomains, and names below private suffixes (`branch--site.netlify.app`), may have it.
fn is_reserved(name: &str) -> bool {
    let domain = psl::domain(name.as_bytes()).filter(|domain| domain.suffix().typ() == Some(psl::Type::Icann));
    domain.is_some_and(|domain| {
        let label = domain.as_bytes();
        label.get(2..4) == Some(b"--") && !label.starts_with(b"xn")
    })
}

#[cfg(test)]
mod tests;
