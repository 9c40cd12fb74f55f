//! The API over the wire: reqwest with rustls, HTTP/1.1, one attempt a call.
//!
//! Never follows a redirect, never repeats a call by itself, never sends the token to another host
//! than the one it was built for, and never holds more of a body than [`LARGEST_BODY`]. HTTP/2 is off because one
//! lost connection would make thirty paid calls uncertain at once.

mod body;
mod deadline;
mod endpoint;
mod proxy;

use std::{
    net::SocketAddr,
    sync::Once,
    time::{Duration, SystemTime},
};

use memchr::memmem;
use reqwest::{
    Client, ClientBuilder, RequestBuilder, Url,
    header::{self, HeaderMap, HeaderName, HeaderValue},
    redirect, retry,
};
use secrecy::{ExposeSecret, SecretString};

use self::{
    body::Bodies,
    deadline::Deadline,
    endpoint::{BALANCE, LOCALHOST, LOOPBACK, url},
};
pub use self::{
    body::{LARGEST_BODY, USUAL_BODY},
    endpoint::{ApiEndpoint, ENDPOINT, SetupError, is_loopback},
    proxy::is_proxied,
};
use super::{Api, ApiError, ErrorKind, Reply, Request};
use crate::{clock::Clock, money::Usd};

/// Connections unused for longer are closed: gateways drop theirs after about a minute, and a call
/// on a dropped connection may be billed without an answer.
const POOL_IDLE: Duration = Duration::from_secs(20);

/// Headers of an answer at most; beyond them it cannot be read. The usual parser stops at a hundred.
const MOST_HEADERS: usize = 400;
/// Reaching the server at all; a call that fails here was never sent.
const CONNECT: Duration = Duration::from_secs(15);

/// The authentication scheme, before the token in its header.
const SCHEME: &str = "Bearer ";

/// Shorter tokens are not redacted from answers: they may be words.
const SHORTEST_SECRET: usize = 16;

const MAX_PRICE: HeaderName = HeaderName::from_static("x-aisa-max-price-usd");
const DEBIT: HeaderName = HeaderName::from_static("x-aisa-customer-cost-micros-usd");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The API at one URL with one token.
#[derive(Debug)]
pub struct HttpApi {
    client: Client,
    endpoint: Url,
    balance: Url,
    authorization: HeaderValue,
    timeout: Duration,
    clock: Clock,
    bodies: Bodies,
}

impl HttpApi {
    /// Checks the URL and the token and sets up the connections; sends nothing.
    pub fn new(base: &str, token: &SecretString, timeout: Duration, clock: Clock) -> Result<Self, SetupError> {
        let (endpoint, balance) = (url(base, ENDPOINT)?, url(base, BALANCE)?);
        is_proxied(&endpoint)?;
        let mut authorization = HeaderValue::from_str(&format!("{SCHEME}{}", token.expose_secret().trim()))
            .map_err(|_| SetupError::Token)?;
        authorization.set_sensitive(true);
        // A header that strict parsers refuse is no reason to lose an answer that was paid for: browsers take these,
        // too.
        let mut client = client_builder()
            .connect_timeout(CONNECT)
            .http1_ignore_invalid_headers_in_responses(true)
            .http1_allow_spaces_after_header_name_in_responses(true)
            .http1_allow_obsolete_multiline_headers_in_responses(true)
            .http1_max_headers(MOST_HEADERS);
        if endpoint.scheme() == "http" {
            // A proxy from the environment would see the token; with https it only sees the host's name.
            client = client.no_proxy();
        }
        let client = client.build().map_err(|error| SetupError::Tls(chain(&error)))?;
        Ok(Self { client, endpoint, balance, authorization, timeout, clock, bodies: Bodies::default() })
    }

    /// Asks what is left on the account, which costs nothing.
    pub async fn balance(&self) -> Result<Reply, ApiError> {
        self.exchange(self.client.get(self.balance.clone())).await
    }

    /// One exchange within the time-out.
    async fn exchange(&self, request: RequestBuilder) -> Result<Reply, ApiError> {
        let deadline = Deadline::after(self.timeout);
        let request = request.header(header::AUTHORIZATION, self.authorization.clone());
        let request = request.header(header::ACCEPT_ENCODING, "gzip");
        let response = deadline.meet(request.send()).await?.map_err(|error| lost(&error))?;
        let reply = Reply {
            status: response.status().as_u16(),
            retry_after: retry_after(response.headers(), self.clock),
            debit: text(response.headers(), &DEBIT).and_then(debit),
            request_id: text(response.headers(), &REQUEST_ID).map(|id| {
                let mut id = id.as_bytes().to_vec();
                hide(self.token(), &mut id);
                String::from_utf8_lossy(&id).into_owned()
            }),
            date: date(response.headers()).and_then(|date| date.try_into().ok()),
            ..Reply::default()
        };
        let (mut body, cut) = self.bodies.read(response, &deadline).await;
        body.redact(self.token());
        Ok(Reply { body: body.into(), cut, ..reply })
    }

    fn token(&self) -> &[u8] {
        self.authorization.as_bytes().strip_prefix(SCHEME.as_bytes()).unwrap_or_default()
    }
}

impl Api for HttpApi {
    async fn post(&self, request: &Request) -> Result<Reply, ApiError> {
        let call = self.client.post(self.endpoint.clone()).header(header::CONTENT_TYPE, "application/json");
        let call = match request.max_price {
            Some(price) => call.header(MAX_PRICE, format!("{:.6}", price.dollars())),
            None => call,
        };
        self.exchange(call.body(request.body.clone())).await
    }
}

/// Connections as all of this program's are: TLS by ring, no redirects, nothing sent twice by itself.
pub fn client_builder() -> ClientBuilder {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // An error means that a provider is installed already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    Client::builder()
        .user_agent(concat!("backlinks-export/", env!("CARGO_PKG_VERSION")))
        .http1_only()
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .pool_idle_timeout(POOL_IDLE)
        .tcp_nodelay(true)
        // Whatever the system's files say of this name.
        .resolve_to_addrs(LOCALHOST, &LOOPBACK.map(|address| SocketAddr::new(address, 0)))
}

/// Redacts the token where a server repeats it: answers are kept, and their messages shown. Says whether it did.
fn hide(token: &[u8], body: &mut [u8]) -> bool {
    if token.len() < SHORTEST_SECRET {
        return false;
    }
    let finder = memmem::Finder::new(token);
    let mut from = 0;
    while let Some(found) = finder.find(&body[from..]) {
        let start = from + found;
        from = start + token.len();
        body[start..from].fill(b'*');
    }
    from > 0
}

fn lost(error: &reqwest::Error) -> ApiError {
    let kind = match error.is_connect() {
        true if error.is_timeout() || has_transport_failed(error) => ErrorKind::NotSent,
        true => ErrorKind::Unreachable,
        false => ErrorKind::Lost,
    };
    ApiError { kind, message: chain(error) }
}

/// Whether a connection could not be made because of the network or because nobody listens. Else it is the name, the
/// certificate or the proxy.
fn has_transport_failed(error: &reqwest::Error) -> bool {
    use std::io::ErrorKind::{
        AddrInUse, AddrNotAvailable, BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset,
        HostUnreachable, NetworkDown, NetworkUnreachable, TimedOut, UnexpectedEof,
    };
    let sources = std::iter::successors(std::error::Error::source(error), |inner| inner.source());
    sources.filter_map(|inner| inner.downcast_ref::<std::io::Error>()).any(|inner| {
        matches!(
            inner.kind(),
            AddrInUse
                | AddrNotAvailable
                | BrokenPipe
                | ConnectionAborted
                | ConnectionRefused
                | ConnectionReset
                | HostUnreachable
                | NetworkDown
                | NetworkUnreachable
                | TimedOut
                | UnexpectedEof
        )
    })
}

/// The innermost reasons of an error, without the URL that the outer text repeats.
pub fn chain(error: &reqwest::Error) -> String {
    let mut words = Vec::new();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        let text = inner.to_string();
        if words.last() != Some(&text) {
            words.push(text);
        }
        source = inner.source();
    }
    if words.is_empty() { "the connection failed".to_owned() } else { words.join(": ") }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// A debit in millionths of a dollar; below nothing it is none, or it would make room under a spending cap.
fn debit(micros: &str) -> Option<Usd> {
    micros.parse().ok().map(Usd::from_micros).filter(|price| *price >= Usd::ZERO)
}

/// The server's own clock.
fn date(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(text(headers, &header::DATE)?).ok()
}

/// `Retry-After`, in seconds or as a date; a date is measured against the server's own clock where it tells it.
pub fn retry_after(headers: &HeaderMap, clock: Clock) -> Option<Duration> {
    let written = text(headers, &header::RETRY_AFTER)?;
    if !written.is_empty() && written.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number beyond all numbers is a long time, too.
        return Some(Duration::from_secs(written.parse().unwrap_or(u64::MAX)));
    }
    if let Some(wait) = decimal_seconds(written) {
        return Some(wait);
    }
    let until = httpdate::parse_http_date(written).ok()?;
    let now = date(headers).or_else(|| clock.now().try_into().ok())?;
    Some(until.duration_since(now).unwrap_or_default())
}

/// Seconds with a fraction, rounded up to whole milliseconds: the wait is a floor. The standard has whole seconds only,
/// but some gateways send `3.5`.
fn decimal_seconds(written: &str) -> Option<Duration> {
    let (whole, fraction) = written.split_once('.')?;
    let are_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !are_digits(whole) || !are_digits(fraction) {
        return None;
    }
    let seconds = Duration::from_secs(whole.parse().unwrap_or(u64::MAX));
    let thousandths: u64 = format!("{fraction:0<3}")[..3].parse().ok()?;
    let rounded_up = u64::from(fraction.bytes().skip(3).any(|digit| digit != b'0'));
    Some(seconds.saturating_add(Duration::from_millis(thousandths + rounded_up)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_retry_after_is_a_floor() {
        let check = |value: &str, expected: Option<u64>| {
            let headers = HeaderMap::from_iter([(header::RETRY_AFTER, value.parse().expect("a header"))]);
            let clock = Clock::at("2026-11-24T12:00:00Z".parse().expect("a time"));
            assert_eq!(retry_after(&headers, clock), expected.map(Duration::from_millis), "{value}");
        };
        check("3.5", Some(3_500));
        check("0.0004", Some(1));
        check("2.9990", Some(2_999));
        check("1.9999", Some(2_000));
        for wrong in [".5", "3.", "3.5.1", "-3.5", "3.5s", "3,5", "1e3"] {
            check(wrong, None);
        }
        let huge =
            HeaderMap::from_iter([(header::RETRY_AFTER, "99999999999999999999999.5".parse().expect("a header"))]);
        let clock = Clock::at("2026-11-24T12:00:00Z".parse().expect("a time"));
        assert!(retry_after(&huge, clock) >= Some(Duration::from_secs(u64::MAX)));
    }

    #[test]
    fn a_debit_is_a_whole_number_of_millionths_and_never_a_credit() {
        let check = |text: &str, expected: Option<i64>| assert_eq!(debit(text).map(Usd::micros), expected, "{text}");
        check("36000", Some(36_000));
        check("0", Some(0));
        check("-1", None);
        check("0.5", None);
        check("9223372036854775808", None);
        check("", None);
    }

    #[test]
    fn a_token_that_a_server_repeats_is_redacted() {
        let check = |token: &str, body: &str, expected: &str| {
            let mut body = body.as_bytes().to_vec();
            hide(token.as_bytes(), &mut body);
            assert_eq!(String::from_utf8(body).unwrap(), expected);
        };
        check("sk-0123456789abcdef", "no sk-0123456789abcdef!", "no *******************!");
        check("sk-0123456789abcdef", "sk-0123456789abcde sk-", "sk-0123456789abcde sk-");
        check("aaaaaaaaaaaaaaaa", &"a".repeat(35), &format!("{}aaa", "*".repeat(32)));
        check("test", "a test", "a test");
        check("", "", "");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_nothing_else() {
        let clock = Clock::at("2026-11-24T12:00:00Z".parse().expect("a time"));
        let check = |value: &str, date: Option<&str>, expected: Option<u64>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, value.parse().expect("a header"));
            if let Some(date) = date {
                headers.insert(header::DATE, date.parse().expect("a header"));
            }
            let seconds = retry_after(&headers, clock).map(|wait| wait.as_secs_f64().round());
            #[expect(clippy::cast_precision_loss, reason = "numbers small enough, and one that is rounded alike")]
            let expected = expected.map(|seconds| seconds as f64);
            assert_eq!(seconds, expected, "{value}");
        };
        check("7", None, Some(7));
        check(" 0 ", None, Some(0));
        check("Tue, 24 Nov 2026 12:00:30 GMT", None, Some(30));
        check("Tue, 24 Nov 2026 11:00:00 GMT", None, Some(0));
        check("Tue, 24 Nov 2026 15:00:30 GMT", Some("Tue, 24 Nov 2026 15:00:00 GMT"), Some(30));
        check("-1", None, None);
        check("soon", None, None);
        check("", None, None);
        check("4294967296", None, Some(4_294_967_296));
        check("99999999999999999999999", None, Some(u64::MAX));
    }
}
