//! The client against the simulated API over real sockets: how it sees each fault, and that nothing is sent that should
//! not be. No test here uses another host than 127.0.0.1.

use std::{net::SocketAddr, time::Duration};

use backlinks_export::{
    api::{
        Api, ApiError, BodyForm, ErrorKind, MAX_BODY_BYTES, Parameters, RankScale, Reply, Request, endpoint,
        http::HttpApi,
        status::{Assessment, Class, Cost, Fatal, assess},
    },
    clock::Clock,
    decode::Envelope,
    money::Usd,
    sandbox::{Bill, Sandbox, Settings},
    targets::{self, Target},
};
use jiff::civil::date;
use secrecy::SecretString;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::shell::settings;

const TOKEN: &str = "sk-test-6f1d";
/// Has a history without gaps: 72 months in the requested range.
const TARGET: &str = "site3.com";
/// The price of those.
const FULL: Usd = Usd::from_micros(39_888);
const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

async fn sandbox(flags: &str) -> Sandbox {
    Sandbox::start(LOCAL, settings(flags)).await.expect("a free port")
}

fn client(url: &str, timeout: Duration) -> HttpApi {
    HttpApi::new(url, &SecretString::from(TOKEN), timeout, Clock::system()).expect("a good URL")
}

fn target(name: &str) -> Target {
    targets::clean(name, targets::Accept::DOMAINS).expect("a domain").target
}

fn request(name: &str, max_price: Option<Usd>, form: BodyForm) -> Request {
    let parameters = Parameters {
        date_from: date(2019, 1, 1),
        date_to: date(2024, 12, 31),
        rank_scale: RankScale::OneThousand,
        tag: "run-1".to_owned(),
    };
    let target = target(name);
    Request { body: endpoint::body(target.as_str(), &parameters, form), target, price_limit: max_price }
}

type Result = std::result::Result<Reply, ApiError>;

async fn post(sandbox: &Sandbox, name: &str) -> Result {
    client(&sandbox.url(), Duration::from_secs(10)).post(&request(name, None, BodyForm::Array)).await
}

fn understood(result: &Result) -> Assessment {
    understood_about(result, &target(TARGET))
}

fn understood_about(result: &Result, target: &Target) -> Assessment {
    let envelope = result.as_ref().ok().and_then(|reply| Envelope::read(target.as_str(), &reply.body));
    assess(result, envelope)
}

/// One call with these flags: its class, the client's knowledge of its cost, and the bill.
async fn one_call(flags: &str) -> (Assessment, Bill) {
    let sandbox = sandbox(flags).await;
    let result = post(&sandbox, TARGET).await;
    let assessment = understood(&result);
    (assessment, settled(&sandbox).await)
}

/// The bill after every connection has noticed how its call ended.
async fn settled(sandbox: &Sandbox) -> Bill {
    for _ in 0..200 {
        if sandbox.bill().in_flight == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    sandbox.bill()
}

#[tokio::test]
async fn a_good_call_returns_a_full_history_and_its_price() {
    let sandbox = sandbox("").await;
    let result = post(&sandbox, TARGET).await;
    let assessment = understood(&result);
    assert_eq!((assessment.class, assessment.items, assessment.cost), (Class::Data, 72, Cost::Debit(FULL)));
    let reply = result.expect("an answer");
    assert!(reply.request_id.is_some_and(|id| id.starts_with("req_")));
    let answer: Value = serde_json::from_slice(&reply.body).expect("JSON");
    assert_eq!(answer["tasks"][0]["data"]["tag"], "run-1");
    let bill = settled(&sandbox).await;
    assert_eq!((bill.calls, bill.billed_calls, bill.billed_lost, bill.debited_micros), (1, 1, 0, FULL));
    assert_eq!((bill.most_in_flight, bill.statuses.get(&200), bill.codes.get(&20000)), (1, Some(&1), Some(&1)));
}

#[tokio::test]
async fn compressed_and_plain_answers_are_the_same() {
    let (compressed, plain) = (sandbox("").await, sandbox("--gzip false").await);
    let bodies = (post(&compressed, TARGET).await.expect("an answer"), post(&plain, TARGET).await.expect("an answer"));
    assert_eq!(bodies.0.body[..], bodies.1.body[..]);
    let on_the_wire = async |sandbox: &Sandbox| {
        let body = r#"[{"target":"site3.com","date_to":"2024-12-31"}]"#;
        raw(sandbox, &format!(
            "POST /apis/v1/dataforseo/backlinks/history/live HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n\
             accept-encoding: gzip\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await
        .len()
    };
    let (small, large) = (on_the_wire(&compressed).await, on_the_wire(&plain).await);
    assert!(small * 2 < large && large > 90_000, "{small} and {large} bytes");
}

#[tokio::test]
async fn every_fault_is_recognized_and_billed_correctly() {
    let check = async |flags: &str, class: Class, cost: Cost, billed: u64, lost: u64| {
        let (assessment, bill) = one_call(flags).await;
        assert_eq!((assessment.class, assessment.cost), (class, cost), "{flags}: {assessment:?}");
        assert_eq!((bill.calls, bill.billed_calls, bill.billed_lost), (1, billed, lost), "{flags}: {bill:?}");
    };
    let free = async |flags: &str, class: Class| check(flags, class, Cost::Nothing, 0, 0).await;
    free("--fail-429 1", Class::SlowDown).await;
    free("--fail-500 1", Class::Transient).await;
    free("--fail-502 1", Class::Transient).await;
    free("--fail-503 1", Class::Transient).await;
    free("--fail-504 1", Class::Transient).await;
    free("--fail-html 1", Class::Transient).await;
    free("--fail-status 409:1", Class::Rejected).await;
    free("--fail-status 403:1", Class::Fatal(Fatal::TokenRefused)).await;
    free("--fail-quota 1", Class::Fatal(Fatal::NoCredit)).await;
    free("--outage 0..60", Class::Transient).await;
    free("--no-credit-after 0", Class::Fatal(Fatal::NoCredit)).await;
    free("--credit 0.01", Class::Fatal(Fatal::NoCredit)).await;
    free("--quota-after 0", Class::Fatal(Fatal::NoCredit)).await;
    free("--unauthorized-after 0", Class::Fatal(Fatal::TokenRefused)).await;
    free("--token another", Class::Fatal(Fatal::TokenRefused)).await;
    free("--body-form object", Class::Contract).await;
    let inside = async |code: i64, class: Class| {
        check(&format!("--fail-code {code}:1"), class, Cost::Upstream(Usd::ZERO), 0, 0).await;
    };
    inside(40202, Class::SlowDown).await;
    inside(40209, Class::SlowDown).await;
    inside(40200, Class::Fatal(Fatal::NoCredit)).await;
    inside(40201, Class::Fatal(Fatal::AccountBlocked)).await;
    inside(40400, Class::Fatal(Fatal::WrongUrl)).await;
    inside(40501, Class::Rejected).await;
    inside(40503, Class::Contract).await;
    inside(50000, Class::Transient).await;
    check("--fail-code 40102:1", Class::NoData, Cost::Debit(Usd::from_micros(36_000)), 1, 0).await;
    check("--fail-code 50401:1", Class::MaybeBilled, Cost::Unknown, 1, 1).await;
    check("--fail-reset 1", Class::MaybeBilled, Cost::Unknown, 0, 0).await;
    check("--fail-reset-billed 1", Class::MaybeBilled, Cost::Unknown, 1, 1).await;
    check("--fail-cut-off 1", Class::MaybeBilled, Cost::Debit(FULL), 1, 1).await;
    check("--fail-cut-off 1 --gzip false", Class::MaybeBilled, Cost::Debit(FULL), 1, 1).await;
    check("--fail-garbage 1", Class::MaybeBilled, Cost::Debit(FULL), 1, 1).await;
    check("--fail-wrong-target 1", Class::WrongTarget, Cost::Debit(FULL), 1, 0).await;
    check("--fail-drip 1 --drip-time 100ms", Class::Data, Cost::Debit(FULL), 1, 0).await;
    check("--no-cost-header 1", Class::Data, Cost::Upstream(Usd::from_micros(26_592)), 1, 0).await;
    check("--price-rise 0:2", Class::Data, Cost::Debit(Usd::from_micros(79_776)), 1, 0).await;
}

#[tokio::test]
async fn a_stalled_call_times_out_and_is_billed() {
    let sandbox = sandbox("--fail-stall 1").await;
    let api = client(&sandbox.url(), Duration::from_millis(200));
    let result = api.post(&request(TARGET, None, BodyForm::Array)).await;
    assert_eq!(result.as_ref().err().map(|error| error.kind), Some(ErrorKind::Lost));
    assert_eq!(understood(&result).class, Class::MaybeBilled);
    let bill = settled(&sandbox).await;
    assert_eq!((bill.billed_calls, bill.billed_lost, bill.unanswered, bill.in_flight), (1, 1, 1, 0));
}

#[tokio::test]
async fn an_answer_that_arrives_after_the_timeout_is_billed() {
    let sandbox = Sandbox::start(LOCAL, Settings::default()).await.expect("a free port");
    let api = client(&sandbox.url(), Duration::from_millis(50));
    let result = api.post(&request(TARGET, None, BodyForm::Array)).await;
    assert_eq!(understood(&result).class, Class::MaybeBilled);
    let bill = settled(&sandbox).await;
    assert_eq!((bill.billed_calls, bill.billed_lost), (1, 1));
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_cut_there_compressed_or_not() {
    for flags in ["--fail-oversized 1", "--fail-oversized 1 --gzip false"] {
        let sandbox = sandbox(flags).await;
        let result = post(&sandbox, TARGET).await;
        assert_eq!(understood(&result).class, Class::Rejected, "{flags}");
        let reply = result.expect("a reply");
        assert_eq!(reply.cut.map(|error| error.kind), Some(ErrorKind::Unusable), "{flags}");
        assert_eq!(reply.body.len(), MAX_BODY_BYTES, "{flags}");
        assert_eq!(settled(&sandbox).await.billed_lost, 1, "{flags}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let sandbox = sandbox("--fail-redirect 1").await;
    let result = post(&sandbox, TARGET).await;
    assert_eq!(understood(&result).class, Class::Fatal(Fatal::WrongUrl));
    let bill = sandbox.bill();
    assert_eq!((bill.calls, bill.strayed, bill.statuses.get(&307)), (1, 0, Some(&1)));
}

#[tokio::test]
async fn resets_and_cut_off_answers_are_distinguished() {
    let body = r#"[{"target":"site3.com"}]"#;
    let call = format!(
        "POST /apis/v1/dataforseo/backlinks/history/live HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let what_came = async |flags: &str| {
        let sandbox = sandbox(flags).await;
        let mut stream = TcpStream::connect(sandbox.address()).await.expect("a listener");
        stream.write_all(call.as_bytes()).await.expect("a reader");
        let mut answer = Vec::new();
        let end = stream.read_to_end(&mut answer).await.map_err(|error| error.kind());
        (end, String::from_utf8(answer).expect("text"))
    };
    let (end, answer) = what_came("--fail-reset 1").await;
    assert_eq!((end, answer.as_str()), (Err(std::io::ErrorKind::ConnectionReset), ""));
    let (_, answer) = what_came("--fail-cut-off 1").await;
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let declared = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    assert_eq!(declared.parse::<usize>().map(|length| length / 2), Ok(body.len()));
}

#[tokio::test]
async fn a_refused_connection_costs_nothing() {
    let sandbox = sandbox("").await;
    let url = sandbox.url();
    sandbox.stop().await;
    let result = client(&url, Duration::from_secs(5)).post(&request(TARGET, None, BodyForm::Array)).await;
    assert_eq!(result.as_ref().err().map(|error| error.kind), Some(ErrorKind::NotSent));
    assert_eq!((understood(&result).class, understood(&result).cost), (Class::Transient, Cost::Nothing));
}

#[tokio::test]
async fn the_maximum_price_of_a_call_is_respected() {
    let sandbox = sandbox("").await;
    let api = client(&sandbox.url(), Duration::from_secs(10));
    let refused = api.post(&request(TARGET, Some(FULL.minus(Usd::from_micros(1))), BodyForm::Array)).await;
    assert_eq!((understood(&refused).class, understood(&refused).cost), (Class::PriceRefused, Cost::Nothing));
    assert_eq!(sandbox.bill().billed_calls, 0);
    let allowed = api.post(&request(TARGET, Some(FULL), BodyForm::Array)).await;
    assert_eq!(understood(&allowed).class, Class::Data);
    assert_eq!(settled(&sandbox).await.debited_micros, FULL);
}

#[tokio::test]
async fn retry_after_is_read_in_both_forms() {
    let check = async |flags: &str, low: u64, high: u64| {
        let sandbox = sandbox(flags).await;
        let reply = post(&sandbox, TARGET).await.expect("a reply");
        let wait = reply.retry_after.map(|wait| wait.as_secs());
        assert!(wait.is_some_and(|wait| (low..=high).contains(&wait)), "{flags}: {wait:?}");
    };
    check("--fail-429 1 --retry-after 7", 7, 7).await;
    check("--fail-503 1 --retry-after 0", 0, 0).await;
    check("--fail-429 1 --retry-after date:30", 28, 31).await;
    let sandbox = sandbox("--fail-429 1").await;
    assert_eq!(post(&sandbox, TARGET).await.expect("a reply").retry_after, None);
}

#[tokio::test]
async fn limits_are_enforced_and_cost_nothing() {
    let limited = sandbox("--rate-limit 3/h").await;
    let mut classes = Vec::new();
    for _ in 0..5 {
        classes.push(understood(&post(&limited, TARGET).await).class);
    }
    assert_eq!(classes, [Class::Data, Class::Data, Class::Data, Class::SlowDown, Class::SlowDown]);
    let bill = settled(&limited).await;
    assert_eq!((bill.calls, bill.billed_calls, bill.most_calls_in_60_s), (5, 3, 5));
    assert_eq!(bill.bought_again().collect::<Vec<_>>(), [TARGET]);

    let crowded = sandbox("--max-in-flight 2 --latency 200ms").await;
    let api = client(&crowded.url(), Duration::from_secs(10));
    let call = request(TARGET, None, BodyForm::Array);
    let results = tokio::join!(api.post(&call), api.post(&call), api.post(&call));
    let mut classes = [results.0, results.1, results.2].map(|result| understood(&result).class.as_str());
    classes.sort_unstable();
    assert_eq!(classes, ["data", "data", "slow_down"]);
    let bill = settled(&crowded).await;
    assert_eq!((bill.most_in_flight, bill.billed_calls, bill.codes.get(&40209)), (3, 2, Some(&1)));
}

#[tokio::test]
async fn an_answer_is_in_flight_until_its_last_byte() {
    let sandbox = sandbox("--fail-drip 1 --drip-time 400ms").await;
    let api = client(&sandbox.url(), Duration::from_secs(10));
    let call = request(TARGET, None, BodyForm::Array);
    let (_, in_flight) = tokio::join!(api.post(&call), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        sandbox.bill().in_flight
    });
    assert_eq!((in_flight, settled(&sandbox).await.in_flight), (1, 0));
}

#[tokio::test]
async fn the_first_attempts_fail_and_the_next_succeeds() {
    let sandbox = sandbox("--fail-503 1 --fail-attempts 2").await;
    let mut classes = Vec::new();
    for _ in 0..3 {
        classes.push(understood(&post(&sandbox, TARGET).await).class);
    }
    assert_eq!(classes, [Class::Transient, Class::Transient, Class::Data]);
}

#[tokio::test]
async fn both_forms_of_the_body_are_understood_where_both_are_allowed() {
    for (flags, form, class) in [
        ("", BodyForm::Array, Class::Data),
        ("", BodyForm::Object, Class::Data),
        ("--body-form object", BodyForm::Object, Class::Data),
        ("--body-form array", BodyForm::Object, Class::Contract),
    ] {
        let sandbox = sandbox(flags).await;
        let result = client(&sandbox.url(), Duration::from_secs(10)).post(&request(TARGET, None, form)).await;
        assert_eq!(understood(&result).class, class, "{flags} {form:?}");
    }
}

#[tokio::test]
async fn every_form_of_no_data_is_recognized_and_billed() {
    let sandbox = sandbox("").await;
    let api = client(&sandbox.url(), Duration::from_secs(10));
    let mut without = 0;
    for n in 0..500 {
        let call = request(&format!("site{n}.com"), None, BodyForm::Array);
        let assessment = understood_about(&api.post(&call).await, &call.target);
        match assessment.class {
            Class::Data => assert!(assessment.items > 0),
            Class::NoData => {
                without += 1;
                assert_eq!(assessment.cost, Cost::Debit(Usd::from_micros(36_000)));
            }
            other => panic!("{}: {other:?}", call.target),
        }
    }
    assert!((8..40).contains(&without), "{without} of 500");
    assert_eq!(settled(&sandbox).await.billed_calls, 500);
}

#[tokio::test]
async fn the_token_is_sent_only_in_its_header() {
    let listener = TcpListener::bind(LOCAL).await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let seen = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut text = String::new();
        let mut buffer = [0; 4096];
        while !text.contains("run-1") {
            let read = stream.read(&mut buffer).await.expect("a request");
            text.push_str(std::str::from_utf8(&buffer[..read]).expect("text"));
        }
        stream.write_all(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n").await.expect("a reader");
        text
    });
    let api = client(&format!("http://{address}/apis/v1"), Duration::from_secs(10));
    api.post(&request(TARGET, Some(Usd::from_micros(50_000)), BodyForm::Array)).await.expect("a reply");
    let seen = seen.await.expect("what was sent");
    assert!(seen.starts_with("POST /apis/v1/dataforseo/backlinks/history/live HTTP/1.1\r\n"), "{seen}");
    assert_eq!(seen.matches(TOKEN).count(), 1, "{seen}");
    assert!(seen.contains(&format!("authorization: Bearer {TOKEN}\r\n")), "{seen}");
    assert!(seen.contains("x-aisa-max-price-usd: 0.050000\r\n"), "{seen}");
    assert!(!format!("{api:?}").contains(TOKEN));
}

#[tokio::test]
async fn other_paths_and_methods_are_refused_and_the_bill_can_be_read() {
    let sandbox = sandbox("--credit 1.00").await;
    post(&sandbox, TARGET).await.expect("a reply");
    settled(&sandbox).await;
    let get = async |head: &str| {
        let answer = raw(&sandbox, &format!("{head}\r\nhost: x\r\nconnection: close\r\n\r\n")).await;
        String::from_utf8(answer).expect("text")
    };
    let check = async |head: &str, status: &str| {
        let answer = get(head).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{head}: {answer}");
    };
    check("GET /nothing HTTP/1.1", "404").await;
    check("GET /apis/v1/dataforseo/backlinks/history/live HTTP/1.1", "405").await;
    check("POST /bill HTTP/1.1", "405").await;
    check("GET /apis/v1/credits/balance HTTP/1.1", "401").await;
    let balance = get(&format!("GET /apis/v1/credits/balance HTTP/1.1\r\nauthorization: Bearer {TOKEN}")).await;
    assert!(balance.ends_with("{\"balance_usd\":0.960112}"), "{balance}");
    let bill = get("GET /bill HTTP/1.1").await;
    let bill: Value = serde_json::from_str(bill.split("\r\n\r\n").nth(1).expect("a body")).expect("JSON");
    assert_eq!((&bill["calls"], &bill["billed_targets"][TARGET]), (&1.into(), &1.into()));
    assert_eq!((&bill["debited_micros"], &bill["strayed"]), (&39_888.into(), &3.into()));
}

#[tokio::test]
async fn faults_that_add_up_to_more_than_all_calls_are_refused() {
    let refused = Sandbox::start(LOCAL, settings("--fail-503 0.6 --fail-502 0.6")).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("add up to 1.2;")));
    assert!(Sandbox::start(LOCAL, settings("--fail-503 0.7 --fail-502 0.2 --fail-429 0.1")).await.is_ok());
}

/// Sends bytes and reads until the server closes the connection.
async fn raw(sandbox: &Sandbox, request: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(sandbox.address()).await.expect("a listener");
    stream.write_all(request.as_bytes()).await.expect("a reader");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an answer");
    answer
}
