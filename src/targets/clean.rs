//! One pasted form to one checked host, or the reason why it is none.
//!
//! People paste what their browser, sheet or mail shows them: URLs with paths, upper case, quotes, invisible
//! characters, names in their own script. All of that is peeled off. What is left has to be a name that somebody can
//! register, by IDNA2008 and the Public Suffix List: each wrong target would be a paid call without an answer. Nothing
//! is guessed: a name is never completed, corrected or cut to its registrable domain; what may have been meant is said
//! in the reason of its rejection. Cleaning twice changes nothing.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use icu_normalizer::ComposingNormalizerBorrowed;
use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use super::{
    Target, idna2008,
    reject::{LONGEST_LABEL, LONGEST_NAME, Reject, Rejection},
    suggest,
};

/// Bytes of a host as written at most: four for each character of the longest name. Keeps the mapping of Unicode names,
/// which is not linear in their length, from being fed whole documents.
const LONGEST_WRITTEN: usize = 4 * LONGEST_NAME;

/// What counts as a target besides registrable domains and what is below them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accept {
    pub addresses: bool,
    /// Public suffixes that a registry runs, of which some are sites: `gov.uk`.
    pub suffixes: bool,
}

impl Accept {
    pub const DOMAINS: Self = Self { addresses: false, suffixes: false };
    /// All that can be a target.
    pub const ALL: Self = Self { addresses: true, suffixes: true };
}

/// A target and what is worth a warning about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cleaned {
    /// The host to ask for.
    pub target: Target,
    /// Whether the host has more labels than its registrable domain: its history is not that of the whole site.
    pub subdomain: bool,
}

/// Finds the host in what somebody wrote and checks that it is a name one can register.
///
/// Scheme, credentials, port, path, query, fragment, `www.`, a trailing dot, quotes, blanks and invisible characters go;
/// letters become lower-case ones and names of other letters than ASCII's A-labels. What IDNA2008 does not allow is no
/// name, nor what is one by compatibility mapping only (`™`, fullwidth letters). A suffix from the private part of the
/// Public Suffix List (`blogspot.com`, `github.io`) is a site of its own and accepted.
pub fn clean(written: &str, accept: Accept) -> Result<Cleaned, Rejection> {
    let cleaned = cleaned(written, accept);
    if written.is_ascii() && !matches!(cleaned, Err(Reject::Character(_))) {
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
        return Err(Rejection { reason: Reject::Garbled, suggestion: Some(name) });
    }
    cleaned.map_err(|reason| {
        let plainer = suggest::plainer(written).and_then(suggestion);
        Rejection { reason, suggestion: plainer.map(|(_, name)| name) }
    })
}

/// The same without a look at what may have been meant.
fn cleaned(written: &str, accept: Accept) -> Result<Cleaned, Reject> {
    let host = host_in(written)?;
    if let Some(address) = ipv6_in(host) {
        return address_as_target(address.into(), accept);
    }
    let host = without_port(host)?;
    if host.len() > LONGEST_WRITTEN {
        return Err(Reject::LongName);
    }
    let name = in_ascii(host)?;
    let mut name = name.strip_suffix('.').unwrap_or(&name);
    if let Ok(address) = name.parse::<Ipv4Addr>() {
        return address_as_target(address.into(), accept);
    }
    check_syntax(name)?;
    let mut subdomain = match is_below_registrable(name) {
        Err(Reject::PublicSuffix) if accept.suffixes => false,
        judged => judged?,
    };
    if is_reserved(name) {
        return Err(Reject::Hyphens);
    }
    // Never down to a suffix, accepted or not: `www.gov.uk` is a site of its own.
    while let Some(rest) = name.strip_prefix("www.")
        && let Ok(rest_is_below) = is_below_registrable(rest)
    {
        (name, subdomain) = (rest, rest_is_below);
    }
    Ok(Cleaned { target: Target(name.into()), subdomain })
}

/// The host in lower-case ASCII. Of what only mapping makes a name, letter case and the dots of other scripts pass.
fn in_ascii(host: &str) -> Result<Cow<'_, str>, Reject> {
    if host.is_ascii() && !host.as_bytes().windows(4).any(|four| four.eq_ignore_ascii_case(b"xn--")) {
        let is_lower = !host.contains(|character: char| character.is_ascii_uppercase());
        return Ok(if is_lower { host.into() } else { host.to_ascii_lowercase().into() });
    }
    let folded = folded(host);
    if let Some(violation) = idna2008::violation(&folded) {
        return Err(address_in_other_digits(host).unwrap_or_else(|| violation.into()));
    }
    let (deny, hyphens) = (AsciiDenyList::EMPTY, Hyphens::Allow);
    let uts46 = Uts46::new();
    let ascii = uts46.to_ascii(folded.as_bytes(), deny, hyphens, DnsLength::Ignore).map_err(|_| Reject::Idna)?;
    // What is encoded must be what could have been written.
    let (unicode, valid) = uts46.to_unicode(ascii.as_bytes(), deny, hyphens);
    valid.map_err(|_| Reject::Idna)?;
    match idna2008::violation(&unicode) {
        Some(violation) => Err(violation.into()),
        None => Ok(ascii.into_owned().into()),
    }
}

/// Lower-case letters, composed, with ASCII's dots between labels and without characters that nobody sees.
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

/// Why an address in digits of other scripts is rejected: as an address.
fn address_in_other_digits(host: &str) -> Option<Reject> {
    let mapped = Uts46::new().to_ascii(host.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow, DnsLength::Ignore);
    mapped.ok()?.parse::<Ipv4Addr>().is_ok().then_some(Reject::IpAddress)
}

/// The host and port in a URL or in a bare name, without scheme, credentials and what follows.
fn host_in(written: &str) -> Result<&str, Reject> {
    let text = without_operator(written.trim_matches(is_wrapping));
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

/// The text without what search engines write before a domain: exports of Search Console, lists to disavow, searches.
fn without_operator(text: &str) -> &str {
    let operators = ["sc-domain", "domain", "site"];
    match text.split_once(':') {
        Some((operator, rest)) if operators.iter().any(|known| operator.trim_end().eq_ignore_ascii_case(known)) => {
            rest.trim_matches(is_wrapping)
        }
        _ => text,
    }
}

/// What surrounds a name in mails, sheets and source code: blanks, quotes, list marks and characters nobody sees.
pub(super) fn is_wrapping(character: char) -> bool {
    character.is_whitespace()
        || matches!(character, '"' | '\'' | '`' | '<' | '>' | ',' | ';' | '“' | '”' | '„' | '‘' | '’' | '«' | '»')
        || is_invisible(character)
}

/// Characters that leave no trace when text is shown, but for blanks: from documents, sheets and chats.
pub(super) fn is_invisible(character: char) -> bool {
    matches!(
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

fn address_as_target(address: IpAddr, accept: Accept) -> Result<Cleaned, Reject> {
    let target = Target(address.to_string().into());
    if accept.addresses { Ok(Cleaned { target, subdomain: false }) } else { Err(Reject::IpAddress) }
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
        Some('\0') => return Err(Reject::Nul),
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

/// Whether no registry sells the domain, because its label looks like an encoded one and is none. Below it, and below
/// suffixes of companies (`branch--site.netlify.app`), there are such names.
fn is_reserved(name: &str) -> bool {
    let domain = psl::domain(name.as_bytes()).filter(|domain| domain.suffix().typ() == Some(psl::Type::Icann));
    domain.is_some_and(|domain| {
        let label = domain.as_bytes();
        label.get(2..4) == Some(b"--") && !label.starts_with(b"xn")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(written: &str) -> Cleaned {
        clean(written, Accept::DOMAINS).unwrap_or_else(|reject| panic!("{written:?}: {reject}"))
    }

    fn rejected(written: &str) -> Rejection {
        clean(written, Accept::DOMAINS).expect_err(written)
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
        check("example。com", "example.com");
        check("日本．jp", "xn--wgv71a.jp");
        check("sc-domain:example.com", "example.com");
        check("sc-domain: https://www.example.com/", "example.com");
        check("Domain:example.com", "example.com");
        check("site:example.com/path", "example.com");
        check("https://bücher.de/neu", "xn--bcher-kva.de");
        check("МВД.рф", "xn--b1aew.xn--p1ai");
        check("xn--bcher-kva.de", "xn--bcher-kva.de");
        check("straße.de", "xn--strae-oqa.de");
        check("STRASSE.de", "strasse.de");
        check("STRAẞE.de", "xn--strae-oqa.de");
        check("BU\u{308}CHER.de", "xn--bcher-kva.de");
        check("XN--BCHER-KVA.DE", "xn--bcher-kva.de");
        check("日本.jp", "xn--wgv71a.jp");
        check("пример.com", "xn--e1afmkfd.com");
        check("дії.com", "xn--d1a2ed.com");
        check("نامه\u{200c}ای.com", "xn--mgba3gch31f060k.com");
        check("ශ\u{dca}\u{200d}රී.com", "xn--10cl1a0b660p.com");
        check("xn--10cl1a0b660p.com", "xn--10cl1a0b660p.com");
        check("ヴァ・イ.jp", "xn--bckg2v3a.jp");
        check("col·lecció.cat", "xn--collecci-ioa91d.cat");
        check("r3---sn-x.googlevideo.com", "r3---sn-x.googlevideo.com");
        check("pr--site.netlify.app", "pr--site.netlify.app");
        check("a--b.com", "a--b.com");
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
        let check = |written: &str, expected: Reject| assert_eq!(rejected(written).reason, expected, "{written:?}");
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
        check("a\0.\0c\0o\0m\0", Reject::Nul);
        check("exa\u{fffd}mple.com", Reject::Character('\u{fffd}'));
    }

    #[test]
    fn what_idna_2008_disallows_is_rejected_with_what_may_have_been_meant() {
        let check = |written: &str, expected: &str| assert_eq!(rejected(written).to_string(), expected, "{written:?}");
        let character = |shown: &str| format!("the character {shown}, which is not allowed in a domain name");
        check("my‑site.com", &format!("{}; did you mean my-site.com?", character("'‑' (U+2011)")));
        check("our–shop.com", &format!("{}; did you mean our-shop.com?", character("'–' (U+2013)")));
        check("• bullet.com", &format!("{}; did you mean bullet.com?", character("'•' (U+2022)")));
        check("→arrow.com", &format!("{}; did you mean arrow.com?", character("'→' (U+2192)")));
        check("our−shop.com", &format!("{}; did you mean our-shop.com?", character("'−' (U+2212)")));
        check("- example.com", &format!("{}; did you mean example.com?", character("' '")));
        check("*.example.com", &format!("{}; did you mean example.com?", character("'*'")));
        check("brand™.com", &format!("{}; did you mean brandtm.com?", character("'™' (U+2122)")));
        check("½.com", &character("'½' (U+00BD)"));
        check("1\u{fe0f}\u{20e3}.com", &character("'\\u{fe0f}'"));
        check("ﬁve.com", &format!("{}; did you mean five.com?", character("'ﬁ' (U+FB01)")));
        check("ｅｘａｍｐｌｅ.com", &format!("{}; did you mean example.com?", character("'ｅ' (U+FF45)")));
        check("www.bü–cher.de/x", &format!("{}; did you mean bü-cher.de?", character("'–' (U+2013)")));
        check("😀.com", &character("'😀' (U+1F600)"));
        check("xn--e28h.com", &character("'😀' (U+1F600)"));
        check("moc.\u{202e}elpmaxe", &character("'\\u{202e}'"));
        check("exam\u{200e}ple.com", &format!("{}; did you mean example.com?", character("'\\u{200e}'")));
        check("exam\u{200d}ple.com", "not a valid internationalized domain name; did you mean example.com?");
        check("a·b.com", "the character '·' (U+00B7), which is not allowed in this position");
        for reserved in ["üb--cd.de", "ab--cd.de", "www.ab--cd.co.uk", "x.ab--cd.com"] {
            check(
                reserved,
                "a label with hyphens in the third and fourth positions, which is reserved for encoded names",
            );
        }
        check("-ñ.com", "a label begins or ends with a hyphen; did you mean ñ.com?");
        check("xn--zzzzzz99999999.com", "not a valid internationalized domain name");
        check("xn--example-.com", "not a valid internationalized domain name");
        check("\u{301}a.com", "not a valid internationalized domain name; did you mean a.com?");
        for garbled in ["bÃ¼cher.de", "bĂĽcher.de", "bГјcher.de", "https://www.bÃ¼cher.de/neu"] {
            check(garbled, "garbled text: UTF-8 decoded in another encoding; did you mean bücher.de?");
        }
        for garbled in ["РїСЂРёРјРµСЂ.com", "Ð¿Ñ€Ð¸Ð¼ÐµÑ€.com"] {
            check(garbled, "garbled text: UTF-8 decoded in another encoding; did you mean пример.com?");
        }
    }

    #[test]
    fn suffixes_are_targets_where_they_are_allowed() {
        let accept = Accept { suffixes: true, ..Accept::DOMAINS };
        let check = |written: &str, expected: &str| {
            let cleaned = clean(written, accept).expect(written);
            assert_eq!((cleaned.target.as_str(), cleaned.subdomain), (expected, false));
        };
        check("gov.uk", "gov.uk");
        check("https://nhs.uk/", "nhs.uk");
        check("www.gov.uk", "www.gov.uk");
        check("foo.ck", "foo.ck");
        check("www.example.com", "example.com");
        assert_eq!(cleaned("com", accept), Err(Reject::SingleLabel));
        assert_eq!(cleaned("a.invalidtld", accept), Err(Reject::UnknownSuffix("invalidtld".into())));
        assert!(rejected("gov.uk").to_string().contains("--allow-suffix"));
    }

    #[test]
    fn names_and_labels_may_be_as_long_as_dns_lets_them() {
        let label = |length: usize| "a".repeat(length);
        let name = |last: usize| [label(63), label(63), label(63), label(last), "com".into()].join(".");
        let check = |written: &str, expected: Result<usize, Reject>| {
            let length = cleaned(written, Accept::DOMAINS).map(|cleaned| cleaned.target.as_str().len());
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
            let cleaned = clean(written, Accept { addresses: true, ..Accept::DOMAINS }).expect(written);
            assert_eq!((cleaned.target.as_str(), cleaned.target.view().is_subdomain()), (expected, false));
        };
        check("http://192.0.2.7:80/", "192.0.2.7");
        check("[2001:DB8:0::1]:443", "2001:db8::1");
        assert_eq!(cleaned("127.1", Accept::ALL), Err(Reject::Number));
    }

    #[test]
    fn no_reason_carries_a_control_character() {
        for code in (0..=0x2fff).filter_map(char::from_u32) {
            if let Err(reject) = clean(&format!("a{code}b.com"), Accept::DOMAINS) {
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
                if let Ok(once) = clean(&written[..end], Accept::ALL) {
                    assert_eq!(clean(once.target.as_str(), Accept::ALL).as_ref(), Ok(&once), "{written:?}");
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
