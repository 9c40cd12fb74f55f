//! Answers in one process: assessed and decoded like an independent decoder does, regardless of what they contain.

use std::fmt::Write as _;

use backlinks_export::{
    api::{
        Reply,
        status::{Assessment, Class, assess},
    },
    decode::{DecodeError, DecodedRows, Decoder, Envelope, MAX_ANSWER_BYTES, MAX_ROWS},
    targets,
};
use tokio::time::{Duration, Instant};

#[path = "../../oracle/mod.rs"]
mod oracle;

/// More than any of these takes in the slowest profile on a busy machine.
const MAX_TIME: Duration = Duration::from_secs(30);

/// An answer about `a.com` with these items.
pub(super) fn answer(items: &str) -> String {
    format!(
        r#"{{"status_code":20000,"tasks":[{{"id":"1","status_code":20000,"cost":0.024,"result":[{{"target":"a.com","items":[{items}]}}]}}]}}"#
    )
}

fn understood(body: &[u8]) -> Assessment {
    let reply = Reply { status: 200, body: body.to_vec().into(), ..Reply::default() };
    assess(&Ok(reply), Envelope::read("a.com", body))
}

/// The rows of an answer, which must equal those of the independent decoder; the envelope must equal that of the answer
/// without its rows.
fn decoded(body: &[u8]) -> Result<DecodedRows, DecodeError> {
    let answer = Decoder::new().decode("a.com", body);
    assert_eq!(answer.envelope, Envelope::read("a.com", body));
    if !matches!(answer.rows, Err(DecodeError::TooLarge { .. })) {
        oracle::compare(body, answer.rows.as_ref().ok());
    }
    answer.rows
}

#[test]
fn irregular_complete_answers_become_rows() {
    let check = |name: &str, body: &[u8], rows: usize| {
        let begun = Instant::now();
        let assessment = understood(body);
        assert_eq!(assessment.class, Class::Data, "{name}: {assessment:?}");
        assert_eq!(decoded(body).map(|decoded| decoded.batch.num_rows()).ok(), Some(rows), "{name}");
        assert!(begun.elapsed() < MAX_TIME, "{name} took {:?}", begun.elapsed());
    };
    let item = |member: &str| answer(&format!("{{{member}}}")).into_bytes();
    let date = r#""date":"2024-01-01 00:00:00 +00:00""#;
    check("deep list", &item(&format!("{date},\"x\":{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000))), 1);
    check("deep object", &item(&format!("\"x\":{}1{}", "{\"a\":".repeat(500_000), "}".repeat(500_000))), 1);
    check("deep in a column", &item(&format!("\"rank\":{}{}", "[".repeat(500_000), "]".repeat(500_000))), 1);
    let keys = (0..500_000).fold(String::new(), |mut text, key| {
        let _ = write!(text, "{}\"k{key}\":{key}", if key > 0 { "," } else { "" });
        text
    });
    check("many map keys", &item(&format!("{date},\"referring_links_tld\":{{{keys}}}")), 1);
    check("many unknown keys", &item(&keys), 1);
    check("a long string", &item(&format!("\"type\":\"{}\"", "x".repeat(7_000_000))), 1);
    check(
        "numbers beyond",
        &item(r#""rank":1e400,"backlinks":9223372036854775808,"main_domain":-9223372036854775809"#),
        1,
    );
    check("keys twice", &item(r#""rank":1,"rank":2,"date":"2024-01-01 00:00:00 +00:00","date":null"#), 1);
    check("lone surrogates", &item(r#""type":"\ud800","info":{"\udc00":1,"cms":"\ud83d"}"#), 1);
    check("NUL and control", &item(r#""type":"\u0000\u001b[2J\u009b","x\u0000":1"#), 1);
    check("bidi", &item("\"type\":\"a\u{202e}moc\u{2066}\",\"\u{feff}\":1"), 1);
    check("blanks after it", &[item(date), vec![b' '; 1_000_000]].concat(), 1);
    check(
        "not UTF-8",
        &[
            &b"{\"tasks\":[{\"status_code\":20000,\"result\":[{\"target\":\"a.com\",\"items\":[{\"type\":\""[..],
            &[0xff, 0xfe, 0xc0, 0x80],
            b"\"}]}]}]}",
        ]
        .concat(),
        1,
    );
    check("NaN", &item(r#""rank":NaN"#), 1);
    check("infinite", &item(r#""rank":-Infinity"#), 1);
    check("trailing commas", answer(r#"{"rank":1,"info":{"platform_type":["cms",],},},"#).as_bytes(), 1);
    check("items that are none", answer("1,[],null,\"x\",{}").as_bytes(), 1);
}

#[test]
fn incomplete_answers_are_not_accepted() {
    let check = |name: &str, body: &[u8], class: Class| {
        assert_eq!(understood(body).class, class, "{name}");
        let _ = decoded(body);
    };
    let deep = [&b"{\"tasks\":"[..], &vec![b'['; 1_000_000]].concat();
    check("deep and never closed", &deep, Class::MaybeBilled);
    check("deep tasks", &[&deep[..], &vec![b']'; 1_000_000], b"}"].concat(), Class::MaybeBilled);
    check("not NaN", answer(r#"{"rank":nan}"#).as_bytes(), Class::MaybeBilled);
    check("two trailing commas", answer(r#"{"rank":1,,}"#).as_bytes(), Class::MaybeBilled);
    check("a raw control character", b"{\"tasks\":\"\x00\"}", Class::MaybeBilled);
    check("UTF-16", &answer("{}").encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>(), Class::MaybeBilled);
    check("half", &answer("{}").as_bytes()[..50], Class::MaybeBilled);
    let page = format!("<style>b {{}}</style>{}", answer("{}"));
    check("an answer after another object", page.as_bytes(), Class::MaybeBilled);
    check(
        "an object without a task after other text",
        b"x{\"status_code\":20000,\"tasks\":[null]}",
        Class::MaybeBilled,
    );
    let far = format!("{}{}", "x".repeat(1024), answer("{}"));
    check("an answer far behind other text", far.as_bytes(), Class::MaybeBilled);
}

#[test]
fn text_that_a_gateway_puts_around_an_answer_is_ignored_and_noted() {
    let whole = answer(r#"{"rank":7,"type":"}"}"#);
    let check = |name: &str, before: &str, behind: &str| {
        let body = format!("{before}{whole}{behind}");
        let assessment = understood(body.as_bytes());
        assert_eq!((assessment.class, assessment.items), (Class::Data, 1), "{name}");
        // It is not JSON on one line, so the ledger stores it as text.
        assert!(!assessment.json, "{name}");
        let rows = decoded(body.as_bytes()).expect("rows");
        assert_eq!(rows.batch.num_rows(), 1, "{name}");
        let drift: Vec<String> = rows.drift.iter().map(|(surprise, _)| surprise.to_string()).collect();
        assert!(drift.contains(&"text around the answer, ignored".to_owned()), "{name}: {drift:?}");
    };
    check("a byte order mark", "\u{feff}", "");
    check("a comment", "", "\n<!-- served by cache-7 -->");
    check("both", "\u{feff} ", "<!-- } -->");
    check("a comment before it", "<!-- cached -->\n", "");
    check("NUL bytes before it", "\0\0", "");
    check("a prefix against scripts", ")]}',\n", "");
    check("a list", "[", "]");
    check("a script's call", "/**/ callback(", ");");
    check("NUL bytes", "", "\0\0");
    check("another answer", "", &whole);
}

#[test]
fn rows_of_one_answer_are_limited_and_the_rest_is_counted() {
    let check = |items: u64, beyond: u64| {
        let body = answer(&vec!["{}"; usize::try_from(items).expect("few")].join(","));
        let rows = decoded(body.as_bytes()).expect("an answer");
        assert_eq!((rows.batch.num_rows() as u64, rows.items_over_limit()), (items - beyond, beyond));
    };
    check(MAX_ROWS, 0);
    check(MAX_ROWS + 1, 1);
    check(1_000_000, 1_000_000 - MAX_ROWS);
    let odd = answer(&format!("{{\"rank\":1,\"rank\":2}}{}", ",{}".repeat(30_000)));
    let rows = decoded(odd.as_bytes()).expect("an answer");
    assert_eq!((rows.batch.num_rows() as u64, rows.items_over_limit()), (MAX_ROWS, 30_001 - MAX_ROWS));
    let large = answer(&format!("{{\"type\":\"{}\"}}", "x".repeat(MAX_ANSWER_BYTES)));
    assert!(matches!(decoded(large.as_bytes()), Err(DecodeError::TooLarge { .. })));
}

#[test]
fn an_invented_cost_is_never_negative() {
    use backlinks_export::{api::status::Cost, money::Usd};
    for cost in ["-1", "-1e300", "1e400", "NaN", "\"1\"", "[]", "1e15", "9223372036854775807"] {
        let body = answer("{}").replace("0.024", cost);
        let assessment = understood(body.as_bytes());
        let harmless = match assessment.cost {
            Cost::Upstream(price) | Cost::Debit(price) => price >= Usd::ZERO,
            Cost::Unknown | Cost::Nothing => true,
        };
        assert!(harmless, "{cost}: {:?}", assessment.cost);
    }
}
