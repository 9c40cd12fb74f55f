//! `doctor` against servers that answer badly or not at all: it terminates, names the problem, and never shows the
//! token.

use serde_json::Value;

use super::{
    program, ran,
    server::{Act, Server},
};
use crate::shell::Ran;

const CANARY: &str = "sk-canary-5c80e1f2d3";

fn reply(status: &str, headers: &str, body: &str) -> Act {
    let length = body.len();
    Act::Raw(
        format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}").into(),
    )
}

/// Its findings: the checks by name, each with its level and message.
async fn found(api: &str, code: i32) -> Value {
    let mut command = program(&["doctor", "--format", "json", "-vv", "--api", api]);
    command.env("AISA_API_KEY", CANARY).env("RUST_LOG", "trace");
    let Ran { stdout, stderr, .. } = ran(command).await.expect(code);
    assert!(!stdout.contains(CANARY) && !stderr.contains(CANARY), "{stdout}{stderr}");
    assert!(stdout.chars().chain(stderr.chars()).all(|character| character == '\n' || !character.is_control()));
    serde_json::from_str(&stdout).expect("JSON")
}

fn check(found: &Value, name: &str, level: &str, wanted: &str) {
    let checks = found["checks"].as_array().expect("a list");
    let check = checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name}: {found}"));
    let message = check["message"].as_str().expect("a text");
    assert!(check["level"] == level && message.contains(wanted), "{name} is not {level} with {wanted:?}: {check}");
}

/// The response, the exit code, and for some checks the name, the level and a part of the message.
type Case = (Act, i32, &'static [(&'static str, &'static str, &'static str)]);

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_judged_and_the_token_is_never_shown() {
    let echo = format!(r#"{{"error":{{"code":"x","message":"the \u001b[31mkey {CANARY}\u202e is wrong"}}}}"#);
    let cases: &[Case] = &[
        (
            reply("401 No", "", &echo),
            1,
            &[("api", "ok", "HTTP 401"), ("token", "failed", "is refused: HTTP 401: the key ******")],
        ),
        (reply("403 No", "", &echo), 1, &[("token", "failed", "HTTP 403")]),
        (reply("402 Pay", "", r#"{"error":"nothing left"}"#), 1, &[("balance", "failed", "HTTP 402: nothing left")]),
        (
            reply("404 Oops", "", &echo),
            0,
            &[("api", "warning", "answered with HTTP 404: the key ******"), ("token", "warning", "not be checked")],
        ),
        (reply("429 Slow", "retry-after: 9999\r\n", "{}"), 0, &[("api", "warning", "HTTP 429")]),
        (reply("503 Down", "", "<html>"), 1, &[("api", "failed", "HTTP 503")]),
        (reply("307 There", "location: http://127.0.0.1:1/\r\n", ""), 1, &[("api", "failed", "a redirect")]),
        (reply("200 OK", "", "<!doctype html><p>Sign in"), 1, &[("api", "failed", "with a web page instead of JSON")]),
        (
            reply("200 OK", "", r#"{"plan":"free"}"#),
            0,
            &[("api", "ok", "HTTP 200"), ("token", "ok", "was not refused"), ("balance", "warning", "no balance")],
        ),
        (
            reply("200 OK", "date: Tue, 24 Nov 2020 12:00:00 GMT\r\n", r#"{"balance_usd":3}"#),
            0,
            &[("balance", "ok", "$3.00"), ("clock", "warning", "ahead of the server's")],
        ),
        (reply("200 OK", "", r#"{"balance_usd":"3"}"#), 0, &[("clock", "warning", "has no date")]),
        (reply("200 OK", "date: soon\r\n", r#"{"balance_usd":-3}"#), 0, &[("clock", "warning", "has no date")]),
        (
            Act::Raw("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"balance_usd\":3}".into()),
            1,
            &[("api", "failed", "was cut off"), ("token", "warning", "not be checked")],
        ),
        (Act::Raw(format!("SSH-2.0 {CANARY}\r\n").into()), 1, &[("api", "failed", "but it did not answer")]),
        (Act::Raw("".into()), 1, &[("api", "failed", "but it did not answer")]),
        (
            Act::Repeat("HTTP/1.1 200 OK\r\n\r\n".into(), vec![b'a'; 1 << 20].into(), 40),
            1,
            &[("api", "failed", "32 MiB")],
        ),
    ];
    for (act, code, wanted) in cases {
        let served = act.clone();
        let server = Server::start(move |_| served.clone()).await;
        let found = found(&server.url(), *code).await;
        for (name, level, words) in *wanted {
            check(&found, name, level, words);
        }
        for request in server.requests() {
            assert!(request.starts_with("GET /apis/v1/credits/balance HTTP/1.1\r\n"), "{request}");
        }
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_drips_or_stays_silent_times_out() {
    let server = Server::start(|_| Act::Drip("HTTP/1.1 200 OK\r\n\r\n{".into())).await;
    // Accepts a connection, and never reads from it.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let dripping = server.url();
    let (dripped, silent) = tokio::join!(found(&dripping, 1), found(&url, 1));
    check(&dripped, "api", "failed", "no complete answer within 10s");
    check(&silent, "api", "failed", "no complete answer within 10s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tls_is_distinguished_from_none() {
    let server = Server::start(|_| reply("200 OK", "", "{}")).await;
    let url = format!("https://127.0.0.1:{}/apis/v1", server.port());
    check(&found(&url, 1).await, "api", "failed", "but TLS or the request failed");
}
