//! Pasted forms and the targets or reasons they become.

use super::*;

fn accepted(written: &str) -> Cleaned {
    clean(written, Accept::DOMAINS).unwrap_or_else(|reject| panic!("{written:?}: {reject}"))
}

fn rejected(written: &str) -> Rejection {
    clean(written, Accept::DOMAINS).expect_err(written)
}

#[test]
fn every_pasted_form_of_a_site_becomes_its_host() {
    let check = |written: &str, expected: &str| assert_eq!(accepted(written).target.as_str(), expected, "{written:?}");
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
fn www_is_removed_only_if_a_site_remains() {
    let check = |written: &str, expected: &str| assert_eq!(accepted(written).target.as_str(), expected, "{written:?}");
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
fn subdomains_are_recognized() {
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
fn invalid_names_are_rejected_with_the_reason() {
    let check = |written: &str, expected: RejectReason| assert_eq!(rejected(written).reason, expected, "{written:?}");
    check("", RejectReason::Empty);
    check(" \u{200b}\"\" ", RejectReason::Empty);
    check("https:///path", RejectReason::Empty);
    check(".", RejectReason::Empty);
    check("192.0.2.7", RejectReason::IpAddress);
    check("http://192.0.2.7:80/x", RejectReason::IpAddress);
    check("１９２．0．2．7", RejectReason::IpAddress);
    check("2001:db8::1", RejectReason::IpAddress);
    check("https://[2001:db8::1]:443/", RejectReason::IpAddress);
    check("0x7f.0.0.1", RejectReason::Number);
    check("127.1", RejectReason::Number);
    check("1.0xff", RejectReason::Number);
    check("2130706433", RejectReason::SingleLabel);
    check("someone@example.com", RejectReason::Email);
    check("mailto:someone@example.com", RejectReason::Email);
    check("localhost", RejectReason::SingleLabel);
    check("com", RejectReason::SingleLabel);
    check("https//example.com", RejectReason::Scheme);
    check("HTTP:/example.com/a", RejectReason::Scheme);
    check("http:example.com", RejectReason::Scheme);
    check("https://https//example.com", RejectReason::Scheme);
    check("https", RejectReason::Scheme);
    check("co.uk", RejectReason::PublicSuffix);
    check("foo.ck", RejectReason::PublicSuffix);
    check("example.invalidtld", RejectReason::UnknownSuffix("invalidtld".into()));
    check("report.pdf", RejectReason::UnknownSuffix("pdf".into()));
    check("a..example.com", RejectReason::EmptyLabel);
    check(".example.com", RejectReason::EmptyLabel);
    check("example.com..", RejectReason::EmptyLabel);
    check(&format!("{}.com", "a".repeat(64)), RejectReason::LongLabel);
    check(&format!("{}com", "abcdefg.".repeat(40)), RejectReason::LongName);
    check(&"ü".repeat(100_000), RejectReason::LongName);
    check("-example.com", RejectReason::Hyphen);
    check("example-.com", RejectReason::Hyphen);
    check("_dmarc.example.com", RejectReason::Underscore);
    check("exam ple.com", RejectReason::Character(' '));
    check("*.example.com", RejectReason::Character('*'));
    check("ex%61mple.com", RejectReason::Character('%'));
    check("\u{1b}[31mexample.com", RejectReason::Character('\u{1b}'));
    check("example.com:port", RejectReason::Port);
    check("example.com:99999", RejectReason::Port);
    check("[example.com]", RejectReason::Character('['));
    check("xn--a.com", RejectReason::Idna);
    check("a\0.\0c\0o\0m\0", RejectReason::Nul);
    check("exa\u{fffd}mple.com", RejectReason::Character('\u{fffd}'));
}

#[test]
fn names_that_idna_2008_disallows_are_rejected_with_a_suggestion() {
    let check = |written: &str, expected: &str| assert_eq!(rejected(written).to_string(), expected, "{written:?}");
    let character = |shown: &str| format!("the character {shown}, which is not allowed in a domain name");
    check("my‑site.com", &format!("{}; did you mean my-site.com?", character("'‑' (U+2011)")));
    check("our–shop.com", &format!("{}; did you mean our-shop.com?", character("'–' (U+2013)")));
    check("• bullet.com", &format!("{}; did you mean bullet.com?", character("'•' (U+2022)")));
    check("→arrow.com", &format!("{}; did you mean arrow.com?", character("'→' (U+2192)")));
    check("our−shop.com", &format!("{}; did you mean our-shop.com?", character("'−' (U+2212)")));
    check("- example.com", &format!("{}; did you mean example.com?", character("' '")));
    check("*.example.com", &format!("{}; did you mean example.com?", character("'*'")));
    check("✓ https://a.com/x", &format!("{}; did you mean a.com?", character("'✓' (U+2713)")));
    check("\u{1b}[31mexample.com", &character("'\\u{1b}'"));
    check("1\u{fe0f}.com", &format!("{}; did you mean 1.com?", character("'\\u{fe0f}'")));
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
        check(reserved, "a label with hyphens in the third and fourth positions, which is reserved for encoded names");
    }
    check("-ñ.com", "a label begins or ends with a hyphen; did you mean ñ.com?");
    check("xn--zzzzzz99999999.com", "not a valid internationalized domain name");
    check("xn--example-.com", "not a valid internationalized domain name");
    check("\u{301}a.com", "not a valid internationalized domain name; did you mean a.com?");
    for garbled in ["bÃ¼cher.de", "bĂĽcher.de", "bГјcher.de", "https://www.bÃ¼cher.de/neu"] {
        check(garbled, "garbled text: UTF-8 decoded with the wrong encoding; did you mean bücher.de?");
    }
    for garbled in ["straÃŸe.de", "straÃ\u{9f}e.de"] {
        check(garbled, "garbled text: UTF-8 decoded with the wrong encoding; did you mean straße.de?");
    }
    check("æ—¥æœ¬.jp", "garbled text: UTF-8 decoded with the wrong encoding; did you mean 日本.jp?");
    for garbled in ["РїСЂРёРјРµСЂ.com", "Ð¿Ñ€Ð¸Ð¼ÐµÑ€.com"] {
        check(garbled, "garbled text: UTF-8 decoded with the wrong encoding; did you mean пример.com?");
    }
}

#[test]
fn suffixes_are_targets_if_allowed() {
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
    assert_eq!(cleaned("com", accept), Err(RejectReason::SingleLabel));
    assert_eq!(cleaned("a.invalidtld", accept), Err(RejectReason::UnknownSuffix("invalidtld".into())));
    assert!(rejected("gov.uk").to_string().contains("--allow-suffix"));
}

#[test]
fn names_and_labels_may_be_as_long_as_dns_allows() {
    let label = |length: usize| "a".repeat(length);
    let name = |last: usize| [label(63), label(63), label(63), label(last), "com".into()].join(".");
    let check = |written: &str, expected: Result<usize, RejectReason>| {
        let length = cleaned(written, Accept::DOMAINS).map(|cleaned| cleaned.target.as_str().len());
        assert_eq!(length, expected, "{written}");
    };
    check(&name(57), Ok(253));
    check(&name(58), Err(RejectReason::LongName));
    check(&format!("{}.com", label(63)), Ok(67));
    check(&format!("{}.com", label(64)), Err(RejectReason::LongLabel));
    // Invisible characters count as written: four bytes for each character of the longest name.
    let with_invisible = |count: usize| format!("exam{}ple-no.com", "\u{ad}".repeat(count));
    check(&with_invisible(499), Ok(14));
    check(&with_invisible(500), Err(RejectReason::LongName));
}

#[test]
fn addresses_are_targets_if_allowed() {
    let check = |written: &str, expected: &str| {
        let cleaned = clean(written, Accept { addresses: true, ..Accept::DOMAINS }).expect(written);
        assert_eq!((cleaned.target.as_str(), cleaned.target.view().is_subdomain()), (expected, false));
    };
    check("http://192.0.2.7:80/", "192.0.2.7");
    check("[2001:DB8:0::1]:443", "2001:db8::1");
    assert_eq!(cleaned("127.1", Accept::ALL), Err(RejectReason::Number));
}

#[test]
fn reasons_contain_no_control_characters() {
    for code in (0..=0x2fff).filter_map(char::from_u32) {
        if let Err(reject) = clean(&format!("a{code}b.com"), Accept::DOMAINS) {
            assert!(!reject.to_string().contains(char::is_control), "{code:?}: {reject}");
        }
    }
}

#[test]
fn odd_strings_never_panic_and_cleaning_twice_changes_nothing() {
    let parts = "http://|//|www.|com|co.uk|.|..|-|_|@|:|[|]|::1|/|\\|?|#|\"| |\t|\0|\u{1b}[2J|\u{feff}|\u{200d}|\u{202e}\
                 |ü|ß|例え|。|١|xn--|xn--bcher-kva|example|0x7f|127.1|8080|%00|\u{10ffff}";
    let parts: Vec<_> = parts.split('|').collect();
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..20_000 {
        let written: String = (0..=random.usize(..6)).filter_map(|_| random.choice(&parts).copied()).collect();
        for end in (0..=written.len()).filter(|end| written.is_char_boundary(*end)) {
            if let Ok(once) = clean(&written[..end], Accept::ALL) {
                assert_eq!(clean(once.target.as_str(), Accept::ALL).as_ref(), Ok(&once), "{written:?}");
            }
        }
    }
}

#[test]
fn the_bundled_list_contains_only_sites() {
    let mut seen = std::collections::HashSet::new();
    for line in include_str!("../../../inputs/domains.txt").lines().filter(|line| !line.starts_with('#')) {
        let cleaned = accepted(line);
        assert!(!cleaned.subdomain, "{line} is a subdomain");
        assert!(seen.insert(cleaned.target), "{line} is there twice");
    }
    assert!(seen.len() >= 1_000, "{} domains", seen.len());
}
