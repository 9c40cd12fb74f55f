//! Lists of domains in all forms, and the paid calls for them: the bill contains every name that was called.

use std::{fs, process::Stdio};

use super::shell::{Api, DATES, Shell};

const UTF_8_HINT: &str = "bytes that are not valid UTF-8; set the encoding of the file, \
                          such as --input-encoding windows-1252, windows-1251, gbk or shift_jis";

/// Names that were billed.
fn called(api: &Api) -> Vec<String> {
    api.bill().billed_targets.into_keys().collect()
}

/// Checks which names a run over a file calls, and why the others are rejected.
fn check(name: &str, content: impl AsRef<[u8]>, flags: &str, expected: &[&str], reasons: &[&str]) {
    let (shell, api) = (Shell::new(), Api::new(""));
    shell.write(name, content);
    shell.run(&format!("run {name} --out out {flags} {} {DATES}", api.flags())).expect(0);
    assert_eq!(called(&api), expected, "{name} {flags}");
    let rejected = shell.read("out/_rejected.csv");
    let found: Vec<String> = csv::Reader::from_reader(rejected.as_bytes())
        .records()
        .map(|row| row.expect("a row").get(3).expect("a reason").to_owned())
        .collect();
    assert_eq!(found, reasons, "{name} {flags}");
}

#[test]
fn encodings_are_named_and_never_guessed() {
    let cyrillic = b"\xef\xf0\xe8\xec\xe5\xf0.com\nplain-one.com\n";
    check("a.txt", cyrillic, "", &["plain-one.com"], &[UTF_8_HINT]);
    check("a.txt", cyrillic, "--input-encoding Windows-1251", &["plain-one.com", "xn--e1afmkfd.com"], &[]);
    check("a.txt", b"\xd6\xd0\xb9\xfa.cn\nb.cn", "--input-encoding gbk", &["b.cn", "xn--fiqs8s.cn"], &[]);
    check("a.txt", b"\x93\xfa\x96{.jp", "--input-encoding Shift_JIS", &["xn--wgv71a.jp"], &[]);
    check("a.txt", b"\xe6\xf3\xb3w.pl", "--input-encoding latin2", &["xn--w-uga3dvm.pl"], &[]);
    check("a.txt", "a\u{0}.\u{0}d\u{0}e\u{0}\n\u{0}", "--input-encoding utf-16le", &["a.de"], &[]);
    check("a.txt", b"\xff\xff.cn\nb.cn", "--input-encoding gbk", &["b.cn"], &[&UTF_8_HINT.replace("UTF-8", "GBK")]);
    check("a.csv", b"domain,client\na.com,M\xfcller\nb.com,B\n", "", &["b.com"], &[UTF_8_HINT]);
    check("a.csv", b"domain,client\na.com,M\xfcller\n", "--input-encoding windows-1252", &["a.com"], &[]);

    let shell = Shell::new();
    shell.write("a.txt", "a.com\n");
    shell.write("a.csv", b"domain,Gr\xf6\xdfe\na.com,1\n");
    for words in ["plan a.txt --input-encoding nope", "plan a.txt --input-encoding replacement"] {
        assert!(shell.run(words).expect(2).stderr.contains("WHATWG"), "{words}");
    }
    let ran = shell.run("run a.csv --sandbox --out out").expect(2);
    assert!(ran.stderr.contains("the header of a.csv has bytes that are not valid UTF-8"), "{}", ran.stderr);
    assert!(ran.stderr.contains("hint: set the encoding of the file, such as --input-encoding"), "{}", ran.stderr);
}

#[test]
fn a_run_continues_with_lines_that_an_encoding_makes_readable() {
    let (shell, api) = (Shell::new(), Api::new(""));
    shell.write("a.txt", b"\xef\xf0\xe8\xec\xe5\xf0.com\nplain-one.com\n");
    shell.run(&format!("run a.txt --out out {} {DATES}", api.flags())).expect(0);
    let flags = format!("--input-encoding windows-1251 {} {DATES}", api.flags());
    shell.run(&format!("run a.txt --out out {flags}")).expect(0);
    assert_eq!((called(&api).len(), api.bill().calls), (2, 2));
    assert_eq!(shell.read("out/_rejected.csv").lines().count(), 1);
    shell.run(&format!("run a.txt --out out {flags}")).expect(0);
    assert_eq!(api.bill().calls, 2);
    shell.run("verify out").expect(0);
}

#[test]
fn names_that_cannot_be_registered_are_not_called() {
    let bad = "my‑site.com,our–shop.com,• bullet.com,→arrow.com,brand™.com,½.com,1️⃣.com,😀.com,xn--e28h.com,bÃ¼cher.de,\
               РїСЂРёРјРµСЂ.com,a·b.com,a\u{200d}b.com,ab\u{202e}c.com,№1.com,xn--zzzzzzzzzzz9.com,\u{301}a.com,\
               our−shop.com,ⓔxample.com,٠۱.com,üb--cd.de,_a.com";
    let bad: Vec<_> = bad.split(',').collect();
    let good = "bücher.de\nstraße.de\n日本.jp\nпример.com\nBLOG.Bücher.DE\nplain-two.com\nexample。com\n";
    let (shell, api) = (Shell::new(), Api::new(""));
    shell.write("a.txt", format!("{good}{}\n", bad.join("\n")));
    shell.run(&format!("run a.txt --out out {} {DATES}", api.flags())).expect(0);
    assert_eq!(
        called(&api),
        [
            "blog.xn--bcher-kva.de",
            "example.com",
            "plain-two.com",
            "xn--bcher-kva.de",
            "xn--e1afmkfd.com",
            "xn--strae-oqa.de",
            "xn--wgv71a.jp",
        ]
    );
    let rejected = shell.read("out/_rejected.csv");
    assert_eq!(rejected.lines().count(), bad.len() + 1, "{rejected}");
    for name in ["my-site.com", "our-shop.com", "bullet.com", "arrow.com", "bücher.de", "пример.com"] {
        assert!(rejected.contains(&format!("did you mean {name}?")), "{name} in {rejected}");
    }
    let plan = shell.run(&format!("plan a.txt {}", api.flags())).expect(0).stdout;
    assert!(plan.contains("did you mean my-site.com?"), "{plan}");
}

#[test]
fn tables_are_recognized_by_their_first_lines() {
    let table = "Domain;Revenue, EUR;City\nplain-three.com;12,5;Bonn\nplain-four.com;7;Ulm\n";
    let both = ["plain-four.com", "plain-three.com"];
    check("a.csv", table, "", &both, &[]);
    check("a.csv", table.replace(';', "\t"), "", &both, &[]);
    check("a.tsv", table.replace(';', "\t"), "", &both, &[]);
    check("list", table, "", &both, &[]);
    check("a.csv", format!("# from the shop\n\n# domain, client\n{table}"), "", &both, &[]);
    check("list", format!("# from the shop\n\n# domain, client\n{table}"), "", &both, &[]);
    check("a.csv", "\u{feff}Cli\u{200b}ent,\u{a0}Do\u{feff}main\nA,a.com\n", "", &["a.com"], &[]);
    check("a.csv", "client,si\u{200b}te\nA,a.com\n", "--column site", &["a.com"], &[]);
    check("a.txt", "sc-domain:plain-five.com\ndomain:plain-six.com\n", "", &["plain-five.com", "plain-six.com"], &[]);

    let (shell, api) = (Shell::new(), Api::new(""));
    let piped = |words: &str, text: &str| shell.run_with(&format!("plan {words} --format json {}", api.flags()), text);
    let targets = |words: &str, text: &str| piped(words, text).expect(0).json()["targets"].clone();
    assert_eq!(targets("-", table), 2);
    assert_eq!(targets("-", &format!("# from the shop\n{table}")), 2);
    assert_eq!(targets("- --input-format csv", &format!("# from the shop\n{table}")), 2);
    assert_eq!(targets("/dev/stdin", table), 2);
    assert_eq!(targets("- --input-format csv", table), 2);
    assert_eq!(targets("- --input-format csv", "domain\na.com\n"), 1);
    assert_eq!(targets("- --input-format tsv", "domain\tx\na.com\t1\n"), 1);
    assert_eq!(targets("- --input-format txt", "a.com\nb.com\n"), 2);
    assert_eq!(targets("- --column site", "client,site\nA,a.com\n"), 1);
    piped("- --input-format csv", "client,site\nA,a.com\n").expect(2);

    shell.write("a.csv", table);
    let mut command = std::process::Command::new("bash");
    command.arg("-c").arg(format!(
        "'{}' plan <(cat a.csv) --format json {}",
        env!("CARGO_BIN_EXE_backlinks-export"),
        api.flags()
    ));
    let output = command.current_dir(shell.path("")).stdin(Stdio::null()).output().expect("bash");
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(plan["targets"], 2);
}

#[test]
fn packed_files_are_refused_with_the_command_that_unpacks_them() {
    let shell = Shell::new();
    let check = |name: &str, bytes: &[u8], command: &str| {
        shell.write(name, [bytes, b"\nsome.com\n"].concat());
        let ran = shell.run(&format!("run {name} --sandbox --out out")).expect(2);
        assert!(ran.stderr.contains(&format!("hint: unpack it first: {command} {name}")), "{ran:?}");
        assert!(!shell.path("out").exists());
    };
    check("a.txt.xz", b"\xfd7zXZ\0\0\x04", "xz -dk");
    check("a.xlsx", b"PK\x03\x04\x14\0", "libreoffice --headless --convert-to csv");
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, b"PK\x03\x04\x14\0some.com\n").expect("memory");
    fs::write(shell.path("a.gz"), packed.finish().expect("memory")).expect("written");
    let ran = shell.run("plan a.gz").expect(2);
    assert!(ran.stderr.contains("a.gz is a zip archive, not text"), "{}", ran.stderr);
}

#[test]
fn public_suffixes_are_called_if_allowed() {
    let suffix = "a public suffix such as co.uk, not a domain; --allow-suffix accepts it";
    let list = "gov.uk\nhttps://www.nhs.uk/\nwww.gov.uk\n";
    check("a.txt", list, "", &["www.gov.uk", "www.nhs.uk"], &[suffix]);
    check("a.txt", list, "--allow-suffix", &["gov.uk", "www.gov.uk", "www.nhs.uk"], &[]);
    check("a.txt", "nhs.uk\na.com\n", "--allow-suffix", &["a.com", "nhs.uk"], &[]);
}

#[test]
fn nested_targets_and_dropped_cells_are_warnings() {
    let (shell, api) = (Shell::new(), Api::new(""));
    shell.write("a.csv", "domain,client\nblog.x.com,A\nx.com,A,more\nb.com,B,,\n");
    let twice = "the history of x.com includes its subdomains, so sums over both count them twice";
    let dropped = "1 table row has more cells than the header, the first at a.csv:3: the extra cells are dropped";
    let plan = shell.run(&format!("plan a.csv {}", api.flags())).expect(0).stdout;
    let run = shell.run(&format!("run a.csv --out out {} {DATES}", api.flags())).expect(0).stderr;
    for text in [plan, run] {
        assert!(text.contains(twice) && text.contains(dropped), "{text}");
    }
}
