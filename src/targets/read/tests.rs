//! Whole files in all forms that people have, and the lines read from them.

use std::{
    fs,
    io::{self, Write as _},
};

use flate2::{Compression, write::GzEncoder};
use tempfile::TempDir;

use super::{
    input_reader::MAX_REJECTED_LENGTH,
    table::{MAX_COLUMNS, MAX_ROW_BYTES},
    text::MAX_LINE_BYTES,
    *,
};
use crate::targets::{InputLine, LineStatus};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).expect("memory")
}

struct Files(TempDir);

impl Files {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, content) in files {
            fs::write(folder.path().join(name), content).expect("a file");
        }
        Self(folder)
    }

    fn read_within(&self, limits: Limits, names: &[&str], column: Option<&str>) -> Result<Inputs, InputError> {
        let paths: Vec<_> = names.iter().map(|name| self.0.path().join(name)).collect();
        let options = ReadOptions { column: column.map(Into::into), ..ReadOptions::default() };
        super::read_within(limits, &paths, io::empty(), &options)
    }

    fn read(&self, names: &[&str]) -> Result<Inputs, InputError> {
        self.read_within(Limits::USUAL, names, None)
    }

    /// An error and its hint, without the directory's own name.
    fn error(&self, names: &[&str], column: Option<&str>) -> String {
        let error = self.read_within(Limits::USUAL, names, column).expect_err("an error");
        let shown = format!("{error}\n{}", error.hint().expect("a hint"));
        shown.replace(&format!("{}/", self.0.path().display()), "")
    }
}

fn one_file(name: &str, content: &[u8]) -> Inputs {
    Files::new(&[(name, content)]).read(&[name]).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A line as `number input -> target` or `number input: reason`.
fn shown(line: InputLine<'_>) -> String {
    match line.status {
        LineStatus::Target(target) => format!("{} {} -> {target}", line.number, line.input),
        LineStatus::Duplicate(target) => format!("{} {} -> {target} again", line.number, line.input),
        LineStatus::Rejected(reason) => format!("{} {}: {reason}", line.number, line.input),
    }
}

fn lines(inputs: &Inputs) -> Vec<String> {
    inputs.lines().map(shown).collect()
}

#[test]
fn a_text_file_gives_all_lines_except_for_comments() {
    let text = "# sites\n\nhttps://A.com/x#y\r\n  b.com # the second\n\u{feff}\n\t#c.com\nb.com\t#again\nb.com#frag\n a b \n#\nd.com";
    assert_eq!(
        lines(&one_file("a.txt", text.as_bytes())),
        [
            "3 https://A.com/x#y -> a.com",
            "4 b.com -> b.com",
            "5 \u{feff}: no host name",
            "7 b.com -> b.com again",
            "8 b.com#frag -> b.com again",
            "9 a b: the character ' ', which is not allowed in a domain name",
            "11 d.com -> d.com",
        ]
    );
}

#[test]
fn a_list_is_the_same_in_every_encoding_and_compression() {
    let text = "bücher.de\nb.com\n";
    let utf_16 = |to_bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
        "\u{feff}bücher.de\r\nb.com".encode_utf16().flat_map(to_bytes).collect()
    };
    let halves = |press: fn(&[u8]) -> Vec<u8>| [press("bücher.de\nb".as_bytes()), press(b".com")].concat();
    let mut skippable = b"\x50\x2a\x4d\x18\x03\0\0\0abc".to_vec();
    skippable.extend(zstd(text.as_bytes()));
    let check = |name: &str, content: &[u8]| {
        let expected = ["1 bücher.de -> xn--bcher-kva.de", "2 b.com -> b.com"];
        assert_eq!(lines(&one_file(name, content)), expected, "{name}");
    };
    check("a.txt", text.as_bytes());
    check("a", format!("\u{feff}{text}").as_bytes());
    check("a.list", text.replace('\n', "\r").as_bytes());
    check("utf-16-le.txt", &utf_16(u16::to_le_bytes));
    check("utf-16-be.txt", &utf_16(u16::to_be_bytes));
    check("a.txt.gz", &gzip(text.as_bytes()));
    check("A.TXT.GZ", &gzip(text.as_bytes()));
    check("a.gz", &halves(gzip));
    check("a.txt.zst", &halves(zstd));
    check("skippable.zst", &skippable);
    check("no-ending-gzip", &gzip(text.as_bytes()));
    check("no-ending-zstd.txt", &zstd(text.as_bytes()));
    check("no-longer.gz", text.as_bytes());
    check("utf-16.txt.gz", &gzip(&utf_16(u16::to_le_bytes)));
}

#[test]
fn standard_input_is_a_list_which_may_be_compressed() {
    let check = |bytes: &[u8]| {
        let inputs = read(&["-".into()], bytes, &ReadOptions::default()).expect("inputs");
        let line = inputs.lines().next().expect("a line");
        assert_eq!((line.file, shown(line).as_str()), ("-", "1 a.com -> a.com"));
    };
    check(b"a.com\n");
    check(&gzip(b"a.com"));
    check(&zstd(b"a.com"));
    let twice = read(&["-".into(), "-".into()], &b"a.com"[..], &ReadOptions::default());
    assert!(matches!(twice, Err(InputError::StandardInputAgain)));
}

#[test]
fn the_name_of_the_domain_column_above_a_list_is_its_header() {
    let check = |name: &str, text: &str, column: Option<&str>, expected: &[&str]| {
        let options = ReadOptions { column: column.map(Into::into), ..ReadOptions::default() };
        let inputs = match name {
            "-" => read(&["-".into()], text.as_bytes(), &options),
            name => reading(name, text.as_bytes(), &options),
        };
        assert_eq!(lines(&inputs.expect("inputs")), expected, "{name}: {text:?} {column:?}");
    };
    for header in ["domain", "URL", "website", "Target", "host", "\u{feff}\"Domain\"", " 'url' ", "domain # of shops"] {
        for name in ["-", "list", "a.txt"] {
            check(name, &format!("{header}\na.com # A\n#b.com\n"), None, &["2 a.com -> a.com"]);
            check(name, &format!("# shops\n\n{header}\na.com\n"), None, &["4 a.com -> a.com"]);
        }
    }
    let not_a_domain = "a single word without a dot";
    for name in ["-", "a.csv", "a.txt"] {
        check(name, "site\na.com\n", Some("site"), &["2 a.com -> a.com"]);
        check(name, "domain\na.com\ndomain\n", None, &["2 a.com -> a.com", &format!("3 domain: {not_a_domain}")]);
    }
    check("-", "domains\na.com\n", None, &[&format!("1 domains: {not_a_domain}"), "2 a.com -> a.com"]);
    check("-", "a.com\nurl\n", None, &["1 a.com -> a.com", &format!("2 url: {not_a_domain}")]);
}

#[test]
fn addresses_are_read_if_allowed() {
    let options = ReadOptions { accept: Accept { addresses: true, ..Accept::DOMAINS }, ..ReadOptions::default() };
    let inputs = read(&["-".into()], &b"http://192.0.2.7/"[..], &options).expect("inputs");
    assert_eq!(lines(&inputs), ["1 http://192.0.2.7/ -> 192.0.2.7"]);
}

#[test]
fn a_table_has_its_other_columns_and_the_line_on_which_each_row_begins() {
    let text = "\n client ,Website,,notes\r\n\"Müller, Köln\",https://a.de/,x,\"two\r\nlines\"\n,,,\n\nB,b.com\n\
                C,,,no site\nD,d.com,1,2,3,4\n E , e.com ";
    let inputs = one_file("a.csv", text.as_bytes());
    assert_eq!(
        lines(&inputs),
        ["3 https://a.de/ -> a.de", "7 b.com -> b.com", "8 : no host name", "9 d.com -> d.com", "10 e.com -> e.com"]
    );
    assert_eq!(inputs.columns(), ["client", "column_3", "notes"]);
    let cells: Vec<_> = inputs.lines().map(|line| [0, 1, 2, 3].map(|index| line.column(index))).collect();
    assert_eq!(
        cells,
        [
            [Some("Müller, Köln"), Some("x"), Some("two\nlines"), None],
            [Some("B"), None, None, None],
            [Some("C"), None, Some("no site"), None],
            [Some("D"), Some("1"), Some("2"), None],
            [Some("E"), None, None, None],
        ]
    );
}

#[test]
fn a_table_is_the_same_in_every_form_that_spreadsheets_save() {
    let text = "client;domain\nMüller, Söhne;a.com\n";
    let utf_16: Vec<u8> =
        "\u{feff}client\tdomain\r\n\"Müller, Söhne\"\ta.com\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let check = |name: &str, content: &[u8]| {
        let inputs = one_file(name, content);
        assert_eq!(lines(&inputs), [format!("{} a.com -> a.com", if name == "sep.csv" { 3 } else { 2 })], "{name}");
        assert_eq!(inputs.columns(), ["client"], "{name}");
        let cell = inputs.lines().next().and_then(|line| line.column(0));
        assert_eq!(cell, Some("Müller, Söhne"), "{name}");
    };
    check("a.csv", text.as_bytes());
    check("sep.csv", format!("sep=;\r\n{text}").as_bytes());
    check("a.csv.gz", &gzip(text.as_bytes()));
    check("a.csv.zst", &zstd(text.as_bytes()));
    check("comma.CSV", "\u{feff}domain,client\na.com,\"Müller, Söhne\"".as_bytes());
    check("utf-16.csv", &utf_16);
    check("utf-16.tsv", &utf_16);
    check("a.tsv", "client\tdomain\nMüller, Söhne\ta.com".as_bytes());
}

fn reading(name: &str, content: &[u8], options: &ReadOptions) -> Result<Inputs, InputError> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    fs::write(&path, content).expect("a file");
    super::read(&[path], io::empty(), options)
}

#[test]
fn no_encoding_is_guessed() {
    let reason = "bytes that are not valid UTF-8; set the encoding of the file, \
                  such as --input-encoding windows-1252, windows-1251, gbk or shift_jis";
    let text = b"\xef\xf0\xe8\xec\xe5\xf0.com\r\nb.com # M\xfcller\n# M\xfcller\nc.com\n\xff";
    let expected = [
        format!("1 \u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}.com: {reason}"),
        "2 b.com -> b.com".to_owned(),
        "4 c.com -> c.com".to_owned(),
        format!("5 \u{fffd}: {reason}"),
    ];
    assert_eq!(lines(&one_file("a.txt", text)), expected);

    let table = b"client;domain\nM\xfcller;a.com\nB;b.com\nC;c\xfc.com\n";
    let inputs = one_file("a.csv", table);
    let expected = [format!("2 a.com: {reason}"), "3 b.com -> b.com".to_owned(), format!("4 c\u{fffd}.com: {reason}")];
    assert_eq!(lines(&inputs), expected);

    let latin_1 = ReadOptions { encoding: Encoding::for_label(b"latin1"), ..ReadOptions::default() };
    let inputs = reading("a.csv", table, &latin_1).expect("inputs");
    assert_eq!(lines(&inputs), ["2 a.com -> a.com", "3 b.com -> b.com", "4 cü.com -> xn--c-eha.com"]);
    assert_eq!(inputs.lines().next().and_then(|line| line.column(0)), Some("Müller"));

    let gbk = ReadOptions { encoding: Encoding::for_label(b"gbk"), ..ReadOptions::default() };
    let inputs = reading("a.txt", b"\xd6\xd0\xb9\xfa.cn\n\xff\xff.cn\n", &gbk).expect("inputs");
    assert_eq!(
        lines(&inputs),
        [
            "1 中国.cn -> xn--fiqs8s.cn",
            "2 \u{fffd}\u{fffd}.cn: bytes that are not valid GBK; \
             set the encoding of the file, such as --input-encoding windows-1252, windows-1251, gbk or shift_jis"
        ]
    );
}

#[test]
fn concatenated_files_are_one_list() {
    let text = "\u{feff}a.com\n\u{feff}# more\n\u{feff}b.com\n\u{feff}domain,x\n";
    assert_eq!(
        lines(&one_file("a.txt", text.as_bytes())),
        [
            "1 a.com -> a.com",
            "3 \u{feff}b.com -> b.com",
            "4 \u{feff}domain,x: the character ',', which is not allowed in a domain name",
        ]
    );
}

#[test]
fn a_table_is_recognized_if_its_name_does_not_show_it() {
    let table = "client;Domain\nA;a.com\n";
    let list = "a.com\nb.com\n";
    let check = |name: &str, text: &str, format: InputFormat, column: Option<&str>, expected: &[&str]| {
        let options = ReadOptions { format, column: column.map(Into::into), ..ReadOptions::default() };
        let inputs = reading(name, text.as_bytes(), &options).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(lines(&inputs), expected, "{name} {format:?}");
        let piped = super::read(&["-".into()], text.as_bytes(), &options);
        assert_eq!(lines(&piped.expect("inputs")), expected, "standard input, {format:?}");
    };
    let (as_table, as_list) = (&["2 a.com -> a.com"][..], &["1 a.com -> a.com", "2 b.com -> b.com"][..]);
    check("63", table, InputFormat::Auto, None, as_table);
    check("63", table, InputFormat::Csv, None, as_table);
    check("63", &table.replace(';', "\t"), InputFormat::Tsv, None, as_table);
    check("63", &table.replace(';', "\t"), InputFormat::Auto, None, as_table);
    check("63", &table.replace("Domain", "site"), InputFormat::Auto, Some("site"), as_table);
    check("list", list, InputFormat::Auto, None, as_list);
    check("list", list, InputFormat::Txt, None, as_list);
    check("list", "\n\na.com\n", InputFormat::Auto, None, &["3 a.com -> a.com"]);
    check("a.txt", table, InputFormat::Csv, None, as_table);
    check("63", "domain\na.com\n", InputFormat::Csv, None, as_table);

    let file = one_file("a.txt", format!("{table}b.com\n").as_bytes());
    assert_eq!(file.counts().rejected, 2, "a .txt is a list unless the flag overrides it");
    let options = ReadOptions { format: InputFormat::Txt, ..ReadOptions::default() };
    assert_eq!(lines(&reading("a.csv", table.as_bytes(), &options).expect("inputs")), as_table);
}

#[test]
fn delimiters_and_column_names_of_spreadsheets_are_recognized() {
    let check = |text: &str, expected: &[&str]| {
        assert_eq!(lines(&one_file("a.csv", text.as_bytes())), expected, "{text}");
    };
    check("client|domain\nA, B|a.com\n", &["2 a.com -> a.com"]);
    check("client,\u{200b}dom\u{feff}ain\u{a0}\nA,a.com\n", &["2 a.com -> a.com"]);
    let options = ReadOptions { column: Some("my\u{a0}site".into()), ..ReadOptions::default() };
    let inputs = reading("a.csv", "client,my\u{200b} site\nA,a.com\n".as_bytes(), &options).expect("inputs");
    assert_eq!(lines(&inputs), ["2 a.com -> a.com"]);
}

#[test]
fn cells_beyond_the_header_are_counted() {
    let longer = |text: &str| one_file("a.csv", text.as_bytes()).longer_rows().map(|rows| rows.count);
    assert_eq!(longer("domain,x\na.com,1,2\nb.com,1,,\nc.com,1,,3\nd.com\n"), Some(2));
    assert_eq!(longer("domain,x\na.com,1\n"), None);
    let inputs = one_file("a.csv", b"domain,x\na.com,1,2\n");
    let first = &inputs.longer_rows().expect("a row").first;
    assert!(first.ends_with("a.csv:2"), "{first}");
    assert_eq!(inputs.shard(|_| false).longer_rows(), inputs.longer_rows());
}

#[test]
fn columns_of_several_files_are_combined_by_name() {
    let files = Files::new(&[
        ("1.csv", b"url,Client,since,client\na.com,A,2020,twice\n"),
        ("2.txt", b"b.com\n"),
        ("3.tsv", b"market\tclient\tdomain\turl\nDE\tC\ta.com\tx\n"),
    ]);
    let inputs = files.read(&["1.csv", "2.txt", "3.tsv"]).expect("inputs");
    assert_eq!(lines(&inputs), ["2 a.com -> a.com", "1 b.com -> b.com", "2 a.com -> a.com again"]);
    assert_eq!(inputs.columns(), ["Client", "since", "client_2", "market", "url"]);
    let last = inputs.lines().last().expect("a line");
    assert!(last.file.ends_with("3.tsv"));
    assert_eq!([0, 1, 2, 3, 4].map(|index| last.column(index)), [Some("C"), None, None, Some("DE"), Some("x")]);
}

#[test]
fn the_requested_column_is_used() {
    let files = Files::new(&[("a.csv", b"domain,Site\na.com,b.com\n"), ("b.txt", b"c.com")]);
    let targets = |column| {
        let inputs = files.read_within(Limits::USUAL, &["a.csv", "b.txt"], column).expect("inputs");
        inputs.targets().map(|target| target.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(targets(None), ["a.com", "c.com"]);
    assert_eq!(targets(Some("site")), ["b.com", "c.com"]);
}

#[test]
fn overlong_lines_and_control_characters_are_rejected_safely() {
    let mut text = "a.com\n".to_owned();
    text.push_str(&"ü".repeat(MAX_LINE_BYTES));
    text.push_str("\nb.com #");
    text.push_str(&"x".repeat(3 * MAX_LINE_BYTES));
    text.push_str("\nc.com\0\n\u{1b}[2Jd.com\ne.com/\u{1b}[2J\n");
    text.push_str(&"y".repeat(1_000));
    let inputs = one_file("a.txt", text.as_bytes());
    assert_eq!(
        lines(&inputs),
        [
            "1 a.com -> a.com".into(),
            format!("2 {}…: the line is longer than 64 KiB", "ü".repeat(MAX_REJECTED_LENGTH)),
            "3 b.com -> b.com".into(),
            "4 c.com\u{fffd}: NUL characters; UTF-16 without a byte order mark needs --input-encoding utf-16le or utf-16be"
                .into(),
            "5 \u{fffd}[2Jd.com: the character '\\u{1b}', which is not allowed in a domain name".into(),
            "6 e.com/\u{fffd}[2J -> e.com".into(),
            format!("7 {}…: a single word without a dot", "y".repeat(MAX_REJECTED_LENGTH)),
        ]
    );

    let table = format!(
        "notes,domain\n{},a.com\nx,b.com\nx,c.com,{}\n",
        "n".repeat(MAX_ROW_BYTES + 1),
        "n".repeat(MAX_ROW_BYTES)
    );
    let inputs = one_file("a.csv", table.as_bytes());
    assert_eq!(
        lines(&inputs),
        ["2 : the row is longer than 256 KiB", "3 b.com -> b.com", "4 c.com: the row is longer than 256 KiB"]
    );
}

/// Repeats a text without storing it.
struct Endless {
    part: &'static [u8],
    left: usize,
}

impl Read for Endless {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = into.len().min(self.left).min(self.part.len());
        into[..length].copy_from_slice(&self.part[..length]);
        self.left -= length;
        Ok(length)
    }
}

#[test]
fn a_line_of_200_megabytes_is_one_rejected_line() {
    let giant = Endless { part: &[b'x'; 8_192], left: 200_000_000 };
    let inputs = read(&["-".into()], giant.chain(&b"\nb.com"[..]), &ReadOptions::default()).expect("inputs");
    let lines: Vec<_> = inputs.lines().collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0].input.chars().count(), MAX_REJECTED_LENGTH + 1);
    assert_eq!(lines[0].status, LineStatus::Rejected("the line is longer than 64 KiB"));
    assert_eq!(shown(lines[1]), "2 b.com -> b.com");
}

#[test]
fn too_much_of_anything_is_an_error_that_names_the_limit() {
    let blanks = gzip("\n".repeat(100_000).as_bytes());
    let files = Files::new(&[
        ("a.txt", b"a.com\nb.com\nc.com"),
        ("bomb.txt.gz", &blanks),
        ("a.csv", b"domain,notes\nd.com,0123456789\n"),
    ]);
    let check = |limits: Limits, names: &[&str], expected: Option<(&str, &str)>| {
        let result = files.read_within(limits, names, None);
        let found = match &result {
            Ok(_) => None,
            Err(InputError::TooMuch { path, limit }) => {
                Some((path.file_name().and_then(|name| name.to_str()).expect("a name"), limit.as_str()))
            }
            Err(other) => panic!("{other}"),
        };
        assert_eq!(found, expected, "{limits:?}");
    };
    let usual = Limits::USUAL;
    check(usual, &["a.txt", "bomb.txt.gz"], None);
    check(Limits { lines: 3, ..usual }, &["a.txt"], None);
    check(Limits { lines: 2, ..usual }, &["a.txt"], Some(("a.txt", "2 lines")));
    check(Limits { lines: 3, ..usual }, &["a.txt", "a.csv"], Some(("a.csv", "3 lines")));
    check(Limits { read: 100_017, ..usual }, &["a.txt", "bomb.txt.gz"], None);
    check(Limits { read: 100_016, ..usual }, &["a.txt", "bomb.txt.gz"], Some(("bomb.txt.gz", "100016 bytes of text")));
    check(Limits { text: 30, ..usual }, &["a.txt", "a.csv"], None);
    check(Limits { text: 29, ..usual }, &["a.txt", "a.csv"], Some(("a.csv", "29 bytes of text")));
}

#[test]
fn unusable_files_are_errors_with_a_hint() {
    let half = |bytes: Vec<u8>| bytes[..bytes.len() - 6].to_vec();
    let long_text = "some.com\nother.org\nthird.net\n".repeat(20);
    let files = Files::new(&[
        ("cut.txt.gz", &half(gzip(long_text.as_bytes()))),
        ("cut.csv.zst", &half(zstd(long_text.as_bytes()))),
        ("no-bytes.gz", b""),
        ("no-bytes.zst", b""),
        ("utf-32.txt", b"\xff\xfe\0\0a\0\0\0.\0\0\0d\0\0\0e\0\0\0"),
        ("utf-32-be.txt", b"\0\0\0a\0\0\0.\0\0\0d\0\0\0e"),
        ("sheet.xlsx", b"PK\x03\x04\x14\0"),
        ("zip.txt.gz", &gzip(b"PK\x03\x04\x14\0")),
        ("header.csv", b"domain,Gr\xf6\xdfe\na.com,1\n"),
        ("a.txt", b"a.com"),
        ("no-columns.csv", b"client,Web site,market\nA,a.com,DE\n"),
        ("no-header.csv", b"a.com,A\nb.com,B\n"),
        ("open.csv", b"domain,notes\na.com,x\nb.com,\"y\nc.com,z\n"),
    ]);
    let first_line =
        |names: &[&str], column| files.error(names, column).lines().next().map(ToOwned::to_owned).expect("a line");
    let check = |names: &[&str], column, expected: &str| assert_eq!(files.error(names, column), expected);
    check(
        &["a.txt", "none.txt"],
        None,
        "none.txt does not exist\ncheck the path; relative paths start from the current directory",
    );
    check(
        &["sheet.xlsx"],
        None,
        "sheet.xlsx is a workbook, not text\n\
         unpack it first: libreoffice --headless --convert-to csv sheet.xlsx",
    );
    for name in ["utf-32.txt", "utf-32-be.txt"] {
        let expected =
            "is in UTF-32, which is not supported\nconvert it to UTF-8, such as with iconv -f UTF-32 -t UTF-8";
        check(&[name], None, &format!("{name} {expected}"));
    }
    check(&["zip.txt.gz"], None, "zip.txt.gz is a zip archive, not text\nunpack it first: unzip zip.txt.gz");
    check(
        &["header.csv"],
        None,
        "the header of header.csv has bytes that are not valid UTF-8\n\
         set the encoding of the file, such as --input-encoding windows-1252, windows-1251, gbk or shift_jis",
    );
    check(
        &["no-columns.csv"],
        None,
        "no-columns.csv has no column named domain, target, url, website or host; its columns are client, Web site, \
         market\n\
         did you mean --column \"Web site\"?",
    );
    check(
        &["no-columns.csv"],
        Some("website"),
        "no-columns.csv has no column `website`; its columns are client, Web site, market\n\
         did you mean --column \"Web site\"?",
    );
    check(
        &["no-header.csv"],
        None,
        "no-header.csv has no column named domain, target, url, website or host; its columns are a.com, A\n\
         the first row looks like data: add a header row, or rename a file with one domain per line to .txt",
    );
    check(
        &["a.txt"],
        Some("site"),
        "no input has a column `site`\n\
         check the name; a table without a .csv or .tsv extension may need --input-format csv or tsv",
    );
    check(
        &["open.csv"],
        None,
        "open.csv: unclosed quotation mark in the row that starts on line 3\n\
         close the quotation mark, or double it if it is part of the text",
    );
    assert!(files.error(&[""], None).contains("is a directory"));
    for (name, compression) in
        [("cut.txt.gz", "gzip"), ("cut.csv.zst", "zstd"), ("no-bytes.gz", "gzip"), ("no-bytes.zst", "zstd")]
    {
        let error = first_line(&[name], None);
        assert!(error.starts_with(&format!("cannot decompress {name} ({compression}): ")), "{error}");
    }
}

#[test]
fn tables_beyond_the_limits_are_errors() {
    let many_columns = format!("domain{}\n", ",x".repeat(MAX_COLUMNS));
    let long_header = format!("domain,{}\n", "x".repeat(MAX_LINE_BYTES));
    let long_quoted_header = format!("domain,\"{}\"\n", "x\n".repeat(MAX_ROW_BYTES));
    let most = |first: usize| {
        let names: Vec<String> = (first..first + MAX_COLUMNS - 1).map(|number| format!("c{number}")).collect();
        format!("domain,{}\na.com\n", names.join(","))
    };
    let files = Files::new(&[
        ("many.csv", many_columns.as_bytes()),
        ("long.csv", long_header.as_bytes()),
        ("quoted.csv", long_quoted_header.as_bytes()),
        ("1.csv", most(0).as_bytes()),
        ("2.csv", most(5).as_bytes()),
    ]);
    assert!(matches!(files.read(&["many.csv"]), Err(InputError::TooManyColumns { .. })));
    assert!(matches!(files.read(&["long.csv"]), Err(InputError::NoHeader { .. })));
    assert!(matches!(files.read(&["quoted.csv"]), Err(InputError::NoHeader { .. })));
    assert!(files.read(&["1.csv", "1.csv"]).is_ok());
    assert!(matches!(files.read(&["1.csv", "2.csv"]), Err(InputError::TooManyColumns { .. })));
}

#[test]
fn an_input_without_domains_is_an_error_that_describes_it() {
    let files = Files::new(&[
        ("empty.txt", b""),
        ("comments.txt", b"# a\n\n  # b\n"),
        ("header.csv", b"domain,client\n"),
        ("blank.csv", b"\n\n"),
        ("words.txt", b"\nword\n1.2.3.4\n"),
        ("one.txt", b"word"),
        ("table.txt", b"client\tDomain\nA\ta.com\n"),
        ("a.txt", b"a.com"),
    ]);
    let check = |names: &[&str], expected: &str| {
        assert_eq!(files.error(names, None).lines().next(), Some(expected));
    };
    let nothing = "only blank lines, comments or a header";
    check(&["empty.txt"], &format!("no domains in empty.txt: {nothing}"));
    check(&["comments.txt"], &format!("no domains in comments.txt: {nothing}"));
    check(&["header.csv", "blank.csv"], &format!("no domains in header.csv, blank.csv: {nothing}"));
    check(
        &["empty.txt", "words.txt"],
        "no domains in empty.txt, words.txt: all 2 lines were rejected, starting with \"word\" (words.txt:2): \
         a single word without a dot",
    );
    check(
        &["one.txt"],
        "no domains in one.txt: its only line was rejected: \"word\" (one.txt:1): \
         a single word without a dot",
    );
    let hint = |name: &str| files.error(&[name], None).lines().last().map(str::to_owned);
    let as_table = "if it is a table with a header, rename it to .csv or .tsv, or use --input-format csv";
    assert_eq!(hint("table.txt").as_deref(), Some(as_table));
    assert_ne!(hint("one.txt").as_deref(), Some(as_table));
    assert!(files.read(&["empty.txt", "a.txt"]).is_ok());
}

#[test]
fn the_bundled_portfolio_has_every_status() {
    let inputs = one_file("portfolio.csv", include_bytes!("../../../inputs/portfolio.csv"));
    let counts = inputs.counts();
    assert_eq!((counts.lines, counts.duplicates, counts.rejected, counts.subdomains), (64, 2, 3, 1));
    assert_eq!(inputs.columns(), ["client", "market", "priority", "since"]);
}
