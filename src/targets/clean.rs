//! One pasted form to one checked host, or the reason why it is none.
//!
//! People paste what their browser, sheet or mail shows them: URLs with paths, upper case, quotes, invisible
//! characters, names in their own script. All of that is peeled off. What is left has to be a name that somebody can
//! register, by the Public Suffix List: each wrong target would be a paid call without an answer. Nothing is guessed:
//! a name is never completed, corrected or cut to its registrable domain. Cleaning twice changes nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use super::Target;

/// Characters of a host name at most, by RFC 1035 (255 octets with the root and the length octets).
const LONGEST_NAME: usize = 253;
/// Characters of one label at most, by RFC 1035.
const LONGEST_LABEL: usize = 63;
/// Bytes of a host as written at most: four for each character of the longest name. Keeps the mapping of Unicode names,
/// which is not linear in their length, from being fed whole documents.
const LONGEST_WRITTEN: usize = 4 * LONGEST_NAME;

/// A target and what is worth a warning about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cleaned {
    /// The host to ask for.
    pub target: Target,
    /// Whether the host has more labels than its registrable domain: its history is not that of the whole site.
    pub subdomain: bool,
}

/// Why a written form is no target. The text goes into `_rejected.csv`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    /// Nothing is left once scheme, path and blanks are gone.
    #[error("no host name in it")]
    Empty,
    /// An IP address in its usual form.
    #[error("an IP address, not a domain")]
    IpAddress,
    /// The last label is a number, as in `127.1` or `0x7f.0.0.1`.
    #[error("a number or an unusual form of an IP address, not a domain")]
    Number,
    /// An e-mail address.
    #[error("an e-mail address, not a domain")]
    Email,
    /// A name without a dot.
    #[error("a single word: a domain has a dot in it")]
    SingleLabel,
    /// A name under which others register theirs.
    #[error("a public suffix such as co.uk: nobody's domain")]
    PublicSuffix,
    /// A last label that is in no registry.
    #[error("`.{0}` is not a known top-level domain")]
    UnknownSuffix(Box<str>),
    /// Two dots in a row, or one in front.
    #[error("an empty label: two dots in a row or one in front")]
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
    /// An underscore, which DNS allows and host names do not.
    #[error("an underscore, which no host name has")]
    Underscore,
    /// A character that no host name has, written so that no terminal obeys it.
    #[error("the character {0:?}, which no host name has")]
    Character(char),
    /// What follows the colon is no port.
    #[error("what follows the colon is no port number")]
    Port,
    /// A name that internationalised domain names do not allow.
    #[error("not a valid internationalised domain name")]
    Idna,
}

/// Finds the host in what somebody wrote and checks that it is a name one can register.
///
/// Scheme, credentials, port, path, query, fragment, `www.`, a trailing dot, quotes, blanks and invisible characters go;
/// Unicode names become A-labels. An IP address is a target only if `allow_ip`. A suffix from the private part of the
/// Public Suffix List (`blogspot.com`, `github.io`) is a site of its own and accepted, one that a registry runs
/// (`co.uk`) is not.
pub fn clean(written: &str, allow_ip: bool) -> Result<Cleaned, Reject> {
    let host = host_in(written)?;
    if let Some(address) = ipv6_in(host) {
        return address_as_target(address.into(), allow_ip);
    }
    let host = without_port(host)?;
    if host.len() > LONGEST_WRITTEN {
        return Err(Reject::LongName);
    }
    let mapped = Uts46::new()
        .to_ascii(host.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow, DnsLength::Ignore)
        .map_err(|_| Reject::Idna)?;
    let mut name = mapped.strip_suffix('.').unwrap_or(&mapped);
    // Only now: digits and dots of other scripts have become ASCII ones.
    if let Ok(address) = name.parse::<Ipv4Addr>() {
        return address_as_target(address.into(), allow_ip);
    }
    check_syntax(name)?;
    let mut subdomain = is_below_registrable(name)?;
    while let Some(rest) = name.strip_prefix("www.")
        && let Ok(rest_is_below) = is_below_registrable(rest)
    {
        (name, subdomain) = (rest, rest_is_below);
    }
    Ok(Cleaned { target: Target(name.into()), subdomain })
}

/// The host and port in a URL or in a bare name, without scheme, credentials and what follows.
fn host_in(written: &str) -> Result<&str, Reject> {
    let text = written.trim_matches(is_wrapping);
    let after_scheme = text
        .strip_prefix("//")
        .or_else(|| text.split_once("://").filter(|(scheme, _)| is_scheme(scheme)).map(|(_, rest)| rest));
    let rest = after_scheme.unwrap_or(text);
    // Browsers take a backslash for a slash.
    let authority = rest.split(['/', '\\', '?', '#']).next().unwrap_or(rest);
    let host = match authority.rsplit_once('@') {
        Some((_, host)) if after_scheme.is_some() => host,
        Some(_) => return Err(Reject::Email),
        None => authority,
    };
    if host.is_empty() { Err(Reject::Empty) } else { Ok(host) }
}

/// What surrounds a name in mails, sheets and source code: blanks, quotes, list marks and characters nobody sees.
fn is_wrapping(character: char) -> bool {
    character.is_whitespace()
        || matches!(character, '"' | '\'' | '`' | '<' | '>' | ',' | ';' | '“' | '”' | '„' | '‘' | '’' | '«' | '»')
        || matches!(
            character,
            '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
        )
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

/// An IPv6 address, bare or in brackets; what follows the bracket can only be a port.
fn ipv6_in(host: &str) -> Option<Ipv6Addr> {
    let inside = host.strip_prefix('[').and_then(|rest| rest.split_once(']')).map_or(host, |(inside, _)| inside);
    inside.parse().ok()
}

fn address_as_target(address: IpAddr, allow_ip: bool) -> Result<Cleaned, Reject> {
    let target = Target(address.to_string().into());
    if allow_ip { Ok(Cleaned { target, subdomain: false }) } else { Err(Reject::IpAddress) }
}

fn without_port(host: &str) -> Result<&str, Reject> {
    match host.rsplit_once(':') {
        None => Ok(host),
        Some((name, port)) if port.parse::<u16>().is_ok() || port.is_empty() => Ok(name),
        Some(_) => Err(Reject::Port),
    }
}

/// Checks what DNS and RFC 1123 ask of a host name, the trailing dot gone.
fn check_syntax(name: &str) -> Result<(), Reject> {
    let stranger = |c: &char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '.');
    match name.chars().find(stranger) {
        Some('_') => return Err(Reject::Underscore),
        Some(character) => return Err(Reject::Character(character)),
        None if name.is_empty() => return Err(Reject::Empty),
        None => {}
    }
    let Some((_, last)) = name.rsplit_once('.') else { return Err(Reject::SingleLabel) };
    if name.len() > LONGEST_NAME {
        return Err(Reject::LongName);
    }
    for label in name.split('.') {
        if label.is_empty() {
            return Err(Reject::EmptyLabel);
        }
        if label.len() > LONGEST_LABEL {
            return Err(Reject::LongLabel);
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err(Reject::Hyphen);
        }
    }
    let hexadecimal = last.strip_prefix("0x").unwrap_or("");
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit())
        || !hexadecimal.is_empty() && hexadecimal.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_number { Err(Reject::Number) } else { Ok(()) }
}

/// Whether a name lies below its registrable domain; an error if it has none.
fn is_below_registrable(name: &str) -> Result<bool, Reject> {
    let suffix = psl::suffix(name.as_bytes()).filter(psl::Suffix::is_known);
    let Some(suffix) = suffix else {
        let last = name.rsplit('.').next().unwrap_or(name);
        return Err(Reject::UnknownSuffix(last.into()));
    };
    match psl::domain(name.as_bytes()) {
        Some(domain) => Ok(domain.as_bytes().len() < name.len()),
        None if suffix.typ() == Some(psl::Type::Private) => Ok(false),
        None => Err(Reject::PublicSuffix),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(written: &str) -> Cleaned {
        clean(written, false).unwrap_or_else(|reject| panic!("{written:?}: {reject}"))
    }

    #[test]
    fn every_pasted_form_of_a_site_becomes_its_host() {
        let check =
            |written: &str, expected: &str| assert_eq!(accepted(written).target.as_str(), expected, "{written:?}");
        check("example.com", "example.com");
        check("  EXAMPLE.Com. ", "example.com");
        check("https://www.example.com/a/b?c=d#e", "example.com");
        check("HTTP://Example.com:8080", "example.com");
        check("//example.com/path", "example.com");
        check("ftp://user:p@ss@example.com:21/file", "example.com");
        check("example.com/@user", "example.com");
        check("example.com?u=https://other.org/", "example.com");
        check("example.com:", "example.com");
        check("https://example.com\\x", "example.com");
        check("\"example.com\",", "example.com");
        check("<https://example.com>", "example.com");
        check("“example.com”", "example.com");
        check("\u{feff}exam\u{ad}ple.com\u{200b}", "example.com");
        check("https://\u{200b}example.com", "example.com");
        check("ｅｘａｍｐｌｅ。ｃｏｍ", "example.com");
        check("https://bücher.de/neu", "xn--bcher-kva.de");
        check("МВД.рф", "xn--b1aew.xn--p1ai");
        check("xn--bcher-kva.de", "xn--bcher-kva.de");
        check("straße.de", "xn--strae-oqa.de");
        check("r3---sn-x.googlevideo.com", "r3---sn-x.googlevideo.com");
    }

    #[test]
    fn www_goes_only_where_a_site_remains() {
        let check =
            |written: &str, expected: &str| assert_eq!(accepted(written).target.as_str(), expected, "{written:?}");
        check("www.bbc.co.uk", "bbc.co.uk");
        check("www.www.example.com", "example.com");
        check("www.blog.example.com", "blog.example.com");
        check("www2.example.com", "www2.example.com");
        check("www.gov.uk", "www.gov.uk");
        check("www.com", "www.com");
        check("www.www.com", "www.com");
        check("www.ck", "www.ck");
        check("www.blogspot.com", "blogspot.com");
    }

    #[test]
    fn names_below_the_registrable_domain_are_told_apart() {
        let check = |written: &str, expected: bool| {
            let cleaned = accepted(written);
            assert_eq!((cleaned.subdomain, cleaned.target.view().is_subdomain()), (expected, expected), "{written:?}");
        };
        check("example.co.uk", false);
        check("blog.example.co.uk", true);
        check("www.example.co.uk", false);
        check("someone.github.io", false);
        check("docs.someone.github.io", true);
        check("github.io", false);
        check("www.gov.uk", false);
        check("city.kawasaki.jp", false);
    }

    #[test]
    fn what_is_no_domain_is_rejected_with_its_reason() {
        let check = |written: &str, expected: Reject| assert_eq!(clean(written, false), Err(expected), "{written:?}");
        check("", Reject::Empty);
        check(" \u{200b}\"\" ", Reject::Empty);
        check("https:///path", Reject::Empty);
        check(".", Reject::Empty);
        check("192.0.2.7", Reject::IpAddress);
        check("http://192.0.2.7:80/x", Reject::IpAddress);
        check("１９２．0．2．7", Reject::IpAddress);
        check("2001:db8::1", Reject::IpAddress);
        check("https://[2001:db8::1]:443/", Reject::IpAddress);
        check("0x7f.0.0.1", Reject::Number);
        check("127.1", Reject::Number);
        check("1.0xff", Reject::Number);
        check("2130706433", Reject::SingleLabel);
        check("someone@example.com", Reject::Email);
        check("mailto:someone@example.com", Reject::Email);
        check("localhost", Reject::SingleLabel);
        check("com", Reject::SingleLabel);
        check("co.uk", Reject::PublicSuffix);
        check("foo.ck", Reject::PublicSuffix);
        check("example.invalidtld", Reject::UnknownSuffix("invalidtld".into()));
        check("report.pdf", Reject::UnknownSuffix("pdf".into()));
        check("a..example.com", Reject::EmptyLabel);
        check(".example.com", Reject::EmptyLabel);
        check("example.com..", Reject::EmptyLabel);
        check(&format!("{}.com", "a".repeat(64)), Reject::LongLabel);
        check(&format!("{}com", "abcdefg.".repeat(40)), Reject::LongName);
        check(&"ü".repeat(100_000), Reject::LongName);
        check("-example.com", Reject::Hyphen);
        check("example-.com", Reject::Hyphen);
        check("_dmarc.example.com", Reject::Underscore);
        check("exam ple.com", Reject::Character(' '));
        check("*.example.com", Reject::Character('*'));
        check("ex%61mple.com", Reject::Character('%'));
        check("\u{1b}[31mexample.com", Reject::Character('\u{1b}'));
        check("example.com:port", Reject::Port);
        check("example.com:99999", Reject::Port);
        check("[example.com]", Reject::Character('['));
        check("xn--a.com", Reject::Idna);
        check("exa\u{fffd}mple.com", Reject::Idna);
    }

    #[test]
    fn names_and_labels_may_be_as_long_as_dns_lets_them() {
        let label = |length: usize| "a".repeat(length);
        let name = |last: usize| [label(63), label(63), label(63), label(last), "com".into()].join(".");
        let check = |written: &str, expected: Result<usize, Reject>| {
            let length = clean(written, false).map(|cleaned| cleaned.target.as_str().len());
            assert_eq!(length, expected, "{written}");
        };
        check(&name(57), Ok(253));
        check(&name(58), Err(Reject::LongName));
        check(&format!("{}.com", label(63)), Ok(67));
        check(&format!("{}.com", label(64)), Err(Reject::LongLabel));
        // What nobody sees counts as written: four bytes for each character of the longest name.
        let with_unseen = |count: usize| format!("exam{}ple-no.com", "\u{ad}".repeat(count));
        check(&with_unseen(499), Ok(14));
        check(&with_unseen(500), Err(Reject::LongName));
    }

    #[test]
    fn addresses_are_targets_where_they_are_allowed() {
        let check = |written: &str, expected: &str| {
            let cleaned = clean(written, true).expect(written);
            assert_eq!((cleaned.target.as_str(), cleaned.target.view().is_subdomain()), (expected, false));
        };
        check("http://192.0.2.7:80/", "192.0.2.7");
        check("[2001:DB8:0::1]:443", "2001:db8::1");
        assert_eq!(clean("127.1", true), Err(Reject::Number));
    }

    #[test]
    fn no_reason_carries_a_control_character() {
        for code in (0..=0x2fff).filter_map(char::from_u32) {
            if let Err(reject) = clean(&format!("a{code}b.com"), false) {
                assert!(!reject.to_string().contains(char::is_control), "{code:?}: {reject}");
            }
        }
    }

    #[test]
    fn odd_strings_never_panic_and_cleaning_twice_changes_nothing() {
        let parts = [
            "http://",
            "//",
            "www.",
            "com",
            "co.uk",
            ".",
            "..",
            "-",
            "_",
            "@",
            ":",
            "[",
            "]",
            "::1",
            "/",
            "\\",
            "?",
            "#",
            "\"",
            " ",
            "\t",
            "\0",
            "\u{1b}[2J",
            "\u{feff}",
            "\u{200d}",
            "\u{202e}",
            "ü",
            "ß",
            "例え",
            "。",
            "١",
            "xn--",
            "xn--bcher-kva",
            "example",
            "0x7f",
            "127.1",
            "8080",
            "%00",
            "\u{10ffff}",
        ];
        // A linear congruential generator: the same strings at every run.
        let mut state = 7_u64;
        let mut next = |bound: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 40).expect("24 bits") % bound
        };
        for _ in 0..20_000 {
            let written: String = (0..=next(6)).map(|_| parts[next(parts.len())]).collect();
            for end in (0..=written.len()).filter(|end| written.is_char_boundary(*end)) {
                if let Ok(once) = clean(&written[..end], true) {
                    assert_eq!(clean(once.target.as_str(), true).as_ref(), Ok(&once), "{written:?}");
                }
            }
        }
    }

    #[test]
    fn the_list_that_comes_with_the_program_holds_sites_only() {
        let mut seen = std::collections::HashSet::new();
        for line in include_str!("../../inputs/domains.txt").lines().filter(|line| !line.starts_with('#')) {
            let cleaned = accepted(line);
            assert!(!cleaned.subdomain, "{line} is a subdomain");
            assert!(seen.insert(cleaned.target), "{line} is there twice");
        }
        assert!(seen.len() >= 1_000, "{} domains", seen.len());
    }
}
