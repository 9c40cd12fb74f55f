//! The network between this machine and the API: a private certificate authority, and a proxy.
//!
//! `tls/` has a certificate authority and a server certificate for 127.0.0.1 and localhost, valid from 2020 to 2120.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
    thread,
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use super::shell::{Api, Shell, TOKEN};

const TARGETS: u64 = 2;

fn fixture(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/tls").join(name).display().to_string()
}

/// Serves each connection on its own thread; returns the port.
fn listen(serve: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            thread::spawn(move || {
                // A client that hangs up is not a server error.
                let _ = serve(stream);
            });
        }
    });
    port
}

/// The head of a request and its body.
fn request(stream: &mut impl Read) -> io::Result<(String, Vec<u8>)> {
    let mut reader = BufReader::with_capacity(1, stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    Ok((head, body))
}

/// The simulated API behind TLS; returns the port.
fn behind_tls(api: &Api) -> u16 {
    let certificate = CertificateDer::from_pem_file(fixture("server.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(fixture("server.key")).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a key that fits");
    let config = Arc::new(config);
    let url = api.url();
    let plain = url.trim_start_matches("http://").split('/').next().expect("an address").to_owned();
    listen(move |stream| {
        let connection = ServerConnection::new(Arc::clone(&config)).expect("a connection");
        let mut tls = StreamOwned::new(connection, stream);
        let (head, body) = request(&mut tls)?;
        let mut behind = TcpStream::connect(&plain)?;
        behind.write_all(head.replacen("\r\n", "\r\nconnection: close\r\n", 1).as_bytes())?;
        behind.write_all(&body)?;
        let mut answer = Vec::new();
        behind.read_to_end(&mut answer)?;
        tls.write_all(&answer)?;
        tls.conn.send_close_notify();
        tls.flush()
    })
}

/// A proxy that records the heads of its requests, and requires a password if one is given.
fn proxy(password: Option<&'static str>) -> (u16, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    let port = listen(move |mut client| {
        let (head, _) = request(&mut client)?;
        let address = head.split_whitespace().nth(1).unwrap_or_default().to_owned();
        kept.lock().expect("no panic").push(head.clone());
        if password.is_some_and(|password| !head.contains(password)) {
            return client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n");
        }
        let server = TcpStream::connect(address)?;
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
        let (mut up, mut down) = ((client.try_clone()?, server.try_clone()?), (server, client));
        thread::spawn(move || {
            let _ = io::copy(&mut up.0, &mut up.1);
            up.1.shutdown(Shutdown::Write)
        });
        io::copy(&mut down.0, &mut down.1)?;
        down.1.shutdown(Shutdown::Write)
    });
    (port, seen)
}

/// `run` against the API behind TLS with these variables.
fn run(port: u16, variables: &[(&'static str, String)]) -> (Shell, super::shell::Ran) {
    let mut shell = Shell::with_domains(usize::try_from(TARGETS).expect("small"));
    for (name, value) in variables {
        shell = shell.set(name, value);
    }
    let api = format!("--api https://127.0.0.1:{port}/apis/v1 --rate 20000/s --progress none");
    let ran = shell.run(&format!("run domains.txt --out out --max-attempts 1 --max-outage 1s {api}"));
    (shell, ran)
}

#[test]
fn a_private_authority_is_trusted_if_ssl_cert_file_names_it() {
    let api = Api::new("");
    let port = behind_tls(&api);
    let (_, ran) = run(port, &[("SSL_CERT_FILE", fixture("authority.pem"))]);
    ran.expect(0);
    assert_eq!(api.bill().calls, TARGETS);
    // Without it, nothing is sent, and `doctor` names the variable to set.
    let (shell, ran) = run(port, &[]);
    assert_ne!(ran.code, Some(0), "{}", ran.stdout);
    let doctor = shell.run(&format!("doctor domains.txt --api https://127.0.0.1:{port}/apis/v1")).expect(1);
    assert!(doctor.stdout.contains("invalid peer certificate: UnknownIssuer"), "{}", doctor.stdout);
    assert!(doctor.stdout.contains("SSL_CERT_FILE"), "{}", doctor.stdout);
    assert_eq!(api.bill().calls, TARGETS);
}

#[test]
fn a_proxy_sees_the_host_and_neither_token_nor_targets() {
    let api = Api::new("");
    let port = behind_tls(&api);
    let check = |variables: &[(&'static str, String)], password, is_used: bool| {
        let (proxy, seen) = proxy(password);
        let mut variables: Vec<_> = variables
            .iter()
            .map(|(name, value)| (*name, value.replace("PROXY", &format!("127.0.0.1:{proxy}"))))
            .collect();
        variables.push(("SSL_CERT_FILE", fixture("authority.pem")));
        let calls = api.bill().calls;
        let (_, ran) = run(port, &variables);
        ran.expect(0);
        assert_eq!(api.bill().calls, calls + TARGETS, "{variables:?}");
        let seen = seen.lock().expect("no panic");
        assert_eq!(!seen.is_empty(), is_used, "{variables:?}: {seen:?}");
        for head in seen.iter() {
            assert!(head.starts_with(&format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\n")), "{head}");
            assert!(!head.contains(TOKEN) && !head.contains("site0.com"), "{head}");
        }
    };
    let http = || "http://PROXY".to_owned();
    check(&[("HTTPS_PROXY", http())], None, true);
    check(&[("https_proxy", http())], None, true);
    check(&[("ALL_PROXY", http())], None, true);
    check(&[("HTTPS_PROXY", "PROXY".to_owned())], None, true);
    check(&[("HTTPS_PROXY", "http://user:p%40ss@PROXY".to_owned())], Some("Basic dXNlcjpwQHNz"), true);
    check(&[("HTTPS_PROXY", http()), ("NO_PROXY", "127.0.0.0/8".to_owned())], None, false);
    check(&[("HTTP_PROXY", http())], None, false);
}

#[test]
fn a_proxy_that_cannot_be_used_is_an_error_before_the_first_call() {
    let api = Api::new("");
    let port = behind_tls(&api);
    let check = |value: &str| {
        let (shell, ran) = run(port, &[("HTTPS_PROXY", value.to_owned()), ("SSL_CERT_FILE", fixture("authority.pem"))]);
        let error = "HTTPS_PROXY does not contain the URL of an http or https proxy";
        assert!(ran.code == Some(2) && ran.stderr.contains(error), "{value}: {ran:?}");
        assert!(!ran.stderr.contains("secret"), "{}", ran.stderr);
        let doctor = shell.run(&format!("doctor domains.txt --api https://127.0.0.1:{port}/apis/v1")).expect(1);
        assert!(doctor.stdout.contains(error), "{}", doctor.stdout);
        // A host that is called directly does not need the proxy.
        let direct = shell.set("NO_PROXY", "127.0.0.1");
        let doctor = direct.run(&format!("doctor domains.txt --api https://127.0.0.1:{port}/apis/v1"));
        assert!(!doctor.stdout.contains("proxy") && doctor.stdout.contains("ok       token"), "{}", doctor.stdout);
    };
    check("socks5://127.0.0.1:1080");
    check("socks6://user:secret@127.0.0.1:1080");
    check("http:// 127.0.0.1");
    assert_eq!(api.bill().calls, 0);
}

#[test]
fn a_proxy_that_refuses_is_named() {
    let api = Api::new("");
    let port = behind_tls(&api);
    let (proxy, seen) = proxy(Some("Basic dXNlcjpwYXNz"));
    let (shell, ran) = run(port, &[("HTTPS_PROXY", format!("http://127.0.0.1:{proxy}"))]);
    assert_ne!(ran.code, Some(0), "{}", ran.stdout);
    let doctor = shell.run(&format!("doctor domains.txt --api https://127.0.0.1:{port}/apis/v1")).expect(1);
    assert!(doctor.stdout.contains("proxy authorization required"), "{}", doctor.stdout);
    assert!(!seen.lock().expect("no panic").is_empty());
    assert_eq!(api.bill().calls, 0);
}

#[test]
fn an_unreachable_api_ends_the_run_after_a_few_tries_with_the_reason() {
    let api = Api::new("");
    let port = behind_tls(&api);
    let (proxy, seen) = proxy(Some("Basic dXNlcjpwYXNz"));
    let check = |url: &str, variables: &[(&'static str, String)], cause: &str| {
        let shell = variables.iter().fold(Shell::with_domains(300), |shell, (name, value)| shell.set(name, value));
        let ran = shell.run(&format!("run domains.txt --out out --progress none --api {url}")).expect(4);
        let error = ran.stderr.lines().find(|line| line.starts_with("error: ")).expect("an error");
        assert!(error.contains("the API cannot be reached (last message: "), "{error}");
        assert!(error.contains(cause), "{error}");
        // The cause is reported at the first failure, too.
        let warning = ran.stderr.lines().find(|line| line.contains("the API is down (")).expect("a warning");
        assert!(warning.contains(cause), "{warning}");
    };
    thread::scope(|scope| {
        scope.spawn(|| check("https://no-such-host.invalid/apis/v1", &[], "dns error"));
        let tls = format!("https://127.0.0.1:{port}/apis/v1");
        scope.spawn(move || check(&tls, &[], "invalid peer certificate: UnknownIssuer"));
        let variables = [("HTTPS_PROXY", format!("http://127.0.0.1:{proxy}"))];
        scope.spawn(move || check("https://api.example.org/apis/v1", &variables, "proxy authorization required"));
    });
    assert_eq!(api.bill().calls, 0);
    let tries = seen.lock().expect("no panic").len();
    assert!((2..=6).contains(&tries), "{tries} tries");
}
