//! The token: only in one header to one host, even if anything fails and however verbose the log is.

use std::{fs, path::Path};

use super::{
    program, ran,
    server::{Act, Server},
};
use crate::{members::gunzip, program::files};

const CANARY: &str = "sk-canary-7d1f0c2b9e";

/// No file below a directory contains the token, even decompressed.
fn assert_not_kept(out: &Path) {
    for file in files(out) {
        let mut bytes = fs::read(&file).expect("readable");
        if file.extension().is_some_and(|extension| extension == "gz") {
            bytes = gunzip(&bytes).expect("whole members");
        }
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(CANARY), "{}: {text}", file.display());
    }
}

fn refused(status: &str, body: &str) -> Act {
    let length = body.len();
    Act::Raw(
        format!(
            "HTTP/1.1 {status}\r\nx-request-id: {CANARY}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        )
        .into(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_never_shown_at_any_verbosity_on_any_failure() {
    let echo = format!(r#"{{"error":{{"code":"x","message":"the key {CANARY} is wrong"}}}}"#);
    let in_body = format!(r#"{{"tasks":[{{"status_code":40501,"status_message":"Invalid Field: {CANARY}."}}]}}"#);
    let acts = [
        refused("401 Unauthorized", &echo),
        refused("500 Oops", &echo),
        refused("429 Slow", &echo),
        refused("200 OK", &in_body),
        refused("200 OK", CANARY),
        Act::Raw(format!("{CANARY} no HTTP").into()),
        Act::Raw(format!("HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n{CANARY}").into()),
        Act::Raw("".into()),
    ];
    let verbosity: [(&[&str], Option<&str>); 6] = [
        (&["-q"], None),
        (&[], None),
        (&["-v"], None),
        (&["-vv"], None),
        (&["-vv", "--log-format", "json"], None),
        (&["--progress", "json"], Some("trace")),
    ];
    for (number, act) in acts.into_iter().enumerate() {
        let served = act.clone();
        let server = Server::start(move |_| served.clone()).await;
        for (flags, filter) in verbosity {
            let dir = tempfile::tempdir().expect("a directory");
            let inputs = dir.path().join("domains.txt").display().to_string();
            fs::write(&inputs, "a.com\nb.com").expect("written");
            let out = dir.path().join("out");
            let mut command = program(&["run", &inputs, "--out", &out.display().to_string(), "--api", &server.url()]);
            command.args(["--max-attempts", "1", "--timeout", "2s", "--rate", "100/s"]).args(flags);
            let file = dir.path().join("token");
            if number % 2 == 0 {
                command.env("AISA_API_KEY", CANARY);
            } else {
                fs::write(&file, format!("{CANARY}\n")).expect("written");
                command.arg("--token-file").arg(&file);
            }
            if let Some(filter) = filter {
                command.env("RUST_LOG", filter);
            }
            let ran = ran(command).await;
            assert!(matches!(ran.code, Some(3 | 4)), "{number} {flags:?}: {:?} {}", ran.code, ran.stderr);
            let seen = format!("{}{}", ran.stdout, ran.stderr);
            assert!(!seen.contains(CANARY), "{number} {flags:?}: {seen}");
            assert_not_kept(&out);
        }
        let requests = server.requests();
        assert!(!requests.is_empty());
        for request in requests {
            assert_eq!(request.matches(CANARY).count(), 1, "{request}");
            assert!(request.contains(&format!("authorization: Bearer {CANARY}\r\n")), "{request}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_goes_to_no_other_host() {
    let other = Server::start(|_| Act::Raw("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".into())).await;
    let elsewhere = format!("http://localhost:{}/apis/v1", other.port());
    let there = elsewhere.clone();
    let server = Server::start(move |_| {
        Act::Raw(
            format!("HTTP/1.1 307 Elsewhere\r\nlocation: {there}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                .into(),
        )
    })
    .await;
    let dir = tempfile::tempdir().expect("a directory");
    let inputs = dir.path().join("domains.txt").display().to_string();
    fs::write(&inputs, "a.com").expect("written");
    let out = dir.path().join("out").display().to_string();
    let mut command = program(&["run", &inputs, "--out", &out, "--api", &server.url()]);
    command.env("AISA_API_KEY", CANARY);
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env(name, format!("http://127.0.0.1:{}", other.port()));
    }
    let ran = ran(command).await;
    assert_eq!(ran.code, Some(4), "{}", ran.stderr);
    assert_eq!((server.requests().len(), other.requests().len()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_leaves_no_core_dump_and_no_readable_memory() {
    use std::process::Stdio;
    let mut command = program(&["sandbox", "--listen", "127.0.0.1:0"]);
    command.stdout(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    // It prints its address once it is set up.
    let mut stdout = std::io::BufReader::new(child.stdout.take().expect("a pipe"));
    std::io::BufRead::read_line(&mut stdout, &mut String::new()).expect("a line");
    let limits = fs::read_to_string(format!("/proc/{}/limits", child.id())).expect("readable");
    child.kill().expect("killed");
    child.wait().expect("waited for");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit");
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
}
