//! The API over the wire: reqwest with rustls, HTTP/1.1, one attempt a call.
//!
//! Never follows a redirect, never repeats a call by itself, never sends the token to another host
//! than the one it was built for, and never holds more of a body than [`LARGEST_BODY`]. HTTP/2 is off because one
//! lost connection would make thirty paid calls uncertain at once. A gzip body is decompressed here, whole, into one
//! buffer: the client's own way, in small steps through several layers, costs more than twice as much.

use std::{
    io::{self, Read},
    pin::pin,
    sync::Once,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use flate2::bufread::MultiGzDecoder;
use reqwest::{
    Client, RequestBuilder, Url,
    header::{self, HeaderMap, HeaderName, HeaderValue},
    redirect, retry,
};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Instant, timeout, timeout_at};

use super::{Api, ApiError, ErrorKind, Reply, Request};
use crate::{clock::Clock, money::Usd};

/// Path of the endpoint below the base URL.
pub const ENDPOINT: &str = "dataforseo/backlinks/history/live";

/// Path of the account's balance below the base URL.
const BALANCE: &str = "credits/balance";

/// The largest body that is read, after decompression: some 200 times a full history.
pub const LARGEST_BODY: usize = 32 * 1024 * 1024;

/// A usual body and some room: a full history is some 137 KB, 21 KB compressed.
const USUAL_BODY: usize = 160 * 1024;

/// Connections unused for longer are closed: gateways drop theirs after about a minute, and a call
/// on a dropped connection may be billed without an answer.
const POOL_IDLE: Duration = Duration::from_secs(20);

/// Reaching the server at all; a call that fails here was never sent.
const CONNECT: Duration = Duration::from_secs(15);

/// A time-out that comes so late shows that this process did not run meanwhile.
const OVERDUE: Duration = Duration::from_millis(500);
/// What such a process is given to read what has arrived while it did not run: it is paid for.
const CATCH_UP: Duration = Duration::from_secs(2);

const MAX_PRICE: HeaderName = HeaderName::from_static("x-aisa-max-price-usd");
const COST_MODE: HeaderName = HeaderName::from_static("x-aisa-cost-mode");
const DEBIT: HeaderName = HeaderName::from_static("x-aisa-customer-cost-micros-usd");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Why the API cannot be called at all; found before the first call.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The base URL is not one.
    #[error("--api {url:?} cannot be used: {reason}")]
    Url {
        /// As given.
        url: String,
        /// What the parser says.
        reason: String,
    },
    /// A token would travel in the clear.
    #[error("--api {url} would send the token unencrypted")]
    Unencrypted {
        /// As given.
        url: String,
    },
    /// The token cannot stand in a header.
    #[error("the token has characters that no API key has (line breaks or control characters)")]
    Token,
    /// The TLS set-up failed.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
}

impl SetupError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Url { .. } => {
                "write it as https://api.aisa.one/apis/v1; it comes from --api, or else from BACKLINKS_API_URL"
                    .to_owned()
            }
            Self::Unencrypted { .. } => "use https; plain http is for loopback addresses alone".to_owned(),
            Self::Token => "copy the token anew, on one line".to_owned(),
            Self::Tls(_) => "nothing was called; once that is mended, run the same command again".to_owned(),
        }
    }
}

/// The API at one URL with one token.
#[derive(Debug)]
pub struct HttpApi {
    client: Client,
    endpoint: Url,
    balance: Url,
    authorization: HeaderValue,
    timeout: Duration,
    clock: Clock,
}

impl HttpApi {
    /// Checks the URL and the token and sets up the connections; sends nothing.
    pub fn new(base: &str, token: &SecretString, timeout: Duration, clock: Clock) -> Result<Self, SetupError> {
        static PROVIDER: Once = Once::new();
        let (endpoint, balance) = (url(base, ENDPOINT)?, url(base, BALANCE)?);
        let mut authorization = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret().trim()))
            .map_err(|_| SetupError::Token)?;
        authorization.set_sensitive(true);
        PROVIDER.call_once(|| {
            // An error means that a provider is installed already, which serves as well.
            let _ = rustls::crypto::ring::default_provider().install_default();
        });
        let client = Client::builder()
            .user_agent(concat!("backlinks-export/", env!("CARGO_PKG_VERSION")))
            .http1_only()
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            .connect_timeout(CONNECT)
            .pool_idle_timeout(POOL_IDLE)
            .tcp_nodelay(true)
            .build()
            .map_err(|error| SetupError::Tls(chain(&error)))?;
        Ok(Self { client, endpoint, balance, authorization, timeout, clock })
    }

    /// Asks what is left on the account, which costs nothing.
    pub async fn balance(&self) -> Result<Reply, ApiError> {
        self.whole(self.client.get(self.balance.clone())).await
    }

    /// Asks what a call would cost. Two headers keep it from buying: the quote mode, and a highest price of nothing.
    pub async fn quote(&self, body: Bytes) -> Result<Reply, ApiError> {
        let request = self.call(body).header(COST_MODE, "quote");
        self.whole(with_max_price(request, Usd::ZERO)).await
    }

    fn call(&self, body: Bytes) -> RequestBuilder {
        self.client.post(self.endpoint.clone()).header(header::CONTENT_TYPE, "application/json").body(body)
    }

    /// One exchange within the time-out.
    async fn whole(&self, request: RequestBuilder) -> Result<Reply, ApiError> {
        let mut exchange = pin!(self.exchange(request));
        let deadline = Instant::now() + self.timeout;
        if let Ok(result) = timeout_at(deadline, &mut exchange).await {
            return result;
        }
        let was_stopped = deadline.elapsed() >= OVERDUE;
        if was_stopped && let Ok(result) = timeout(CATCH_UP, exchange).await {
            return result;
        }
        Err(ApiError { kind: ErrorKind::Lost, message: format!("no whole answer within {:?}", self.timeout) })
    }

    async fn exchange(&self, request: RequestBuilder) -> Result<Reply, ApiError> {
        let request = request.header(header::AUTHORIZATION, self.authorization.clone());
        let request = request.header(header::ACCEPT_ENCODING, "gzip");
        let mut response = request.send().await.map_err(|error| lost(&error))?;
        let mut reply = Reply {
            status: response.status().as_u16(),
            body: Bytes::new(),
            retry_after: retry_after(response.headers(), self.clock),
            debit: text(response.headers(), &DEBIT).and_then(|micros| micros.parse().ok()).map(Usd::from_micros),
            request_id: text(response.headers(), &REQUEST_ID).map(str::to_owned),
        };
        let is_gzip = text(response.headers(), &header::CONTENT_ENCODING).is_some_and(is_gzip);
        // One allocation of about the right size.
        let expected = response.content_length().map_or(USUAL_BODY, |told| usize::try_from(told).unwrap_or(usize::MAX));
        let mut body = BytesMut::with_capacity(expected.min(LARGEST_BODY));
        while let Some(chunk) = response.chunk().await.map_err(|error| lost(&error))? {
            if body.len() + chunk.len() > LARGEST_BODY {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        reply.body = if is_gzip && !body.is_empty() { decompressed(&body)? } else { body.freeze() };
        Ok(reply)
    }
}

impl Api for HttpApi {
    async fn post(&self, request: &Request) -> Result<Reply, ApiError> {
        let call = self.call(request.body.clone());
        self.whole(match request.max_price {
            Some(price) => with_max_price(call, price),
            None => call,
        })
        .await
    }
}

fn with_max_price(request: RequestBuilder, price: Usd) -> RequestBuilder {
    request.header(MAX_PRICE, format!("{:.6}", price.dollars()))
}

/// A path under a base URL to which a token may be sent.
fn url(base: &str, path: &str) -> Result<Url, SetupError> {
    // Credentials are not repeated, least of all where they do not belong.
    let shown = base.rsplit_once('@').map_or_else(|| base.to_owned(), |(_, behind)| format!("…@{behind}"));
    let refused = |reason: &str| SetupError::Url { url: shown.clone(), reason: reason.to_owned() };
    let base_url = base.trim();
    if base_url.is_empty() {
        return Err(refused("it is empty"));
    }
    if !base_url.contains("://") {
        return Err(refused("it begins with neither https:// nor http://"));
    }
    let url = Url::parse(&format!("{}/{path}", base_url.trim_end_matches('/')))
        .map_err(|error| refused(&error.to_string()))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refused("credentials do not belong in it; the token comes from AISA_API_KEY or --token-file"));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => Err(SetupError::Unencrypted { url: shown }),
        _ => Err(refused("it begins with neither https:// nor http://")),
    }
}

fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn lost(error: &reqwest::Error) -> ApiError {
    let kind = if error.is_connect() { ErrorKind::NotSent } else { ErrorKind::Lost };
    ApiError { kind, message: chain(error) }
}

fn is_gzip(encoding: &str) -> bool {
    encoding.eq_ignore_ascii_case("gzip") || encoding.eq_ignore_ascii_case("x-gzip")
}

/// A gzip body's content.
fn decompressed(body: &[u8]) -> Result<Bytes, ApiError> {
    let mut content = Vec::with_capacity(USUAL_BODY);
    // One byte more than may be tells whether there are more.
    let read = MultiGzDecoder::new(body).take(LARGEST_BODY as u64 + 1).read_to_end(&mut content);
    match read {
        Ok(length) if length > LARGEST_BODY => Err(too_large()),
        Ok(_) => Ok(content.into()),
        Err(error) => {
            let reason = if error.kind() == io::ErrorKind::UnexpectedEof { "it is cut off" } else { "it is damaged" };
            let message = format!("the body cannot be decompressed: {reason}");
            Err(ApiError { kind: ErrorKind::Lost, message })
        }
    }
}

fn too_large() -> ApiError {
    let message = format!("the body is larger than {} MiB", LARGEST_BODY >> 20);
    ApiError { kind: ErrorKind::TooLarge, message }
}

/// The innermost reasons of an error, without the URL that the outer text repeats.
fn chain(error: &reqwest::Error) -> String {
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

/// `Retry-After`, in seconds or as a date; a date is measured against the server's own clock where it tells it.
fn retry_after(headers: &HeaderMap, clock: Clock) -> Option<Duration> {
    let written = text(headers, &header::RETRY_AFTER)?;
    if let Ok(seconds) = written.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(written).ok()?;
    let told = text(headers, &header::DATE).and_then(|date| httpdate::parse_http_date(date).ok());
    let now = told.or_else(|| clock.now().try_into().ok())?;
    Some(until.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_travels_encrypted_or_to_loopback() {
        let check = |base: &str, allowed: bool| assert_eq!(url(base, ENDPOINT).is_ok(), allowed, "{base}");
        check("https://api.example.com/apis/v1", true);
        check("https://api.example.com/apis/v1/", true);
        check("http://127.0.0.1:8080/apis/v1", true);
        check("http://localhost:8080", true);
        check("http://[::1]:8080", true);
        check("http://api.example.com", false);
        check("http://127.0.0.1.example.com", false);
        check("http://10.0.0.1", false);
        check("https://user:pass@api.example.com", false);
        check("ftp://127.0.0.1", false);
        check("api.example.com", false);
    }

    #[test]
    fn a_gzip_body_is_read_whole_or_not_at_all() {
        use flate2::{Compression, write::GzEncoder};
        let gzip = |content: &[u8]| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            io::Write::write_all(&mut encoder, content).expect("in memory");
            encoder.finish().expect("in memory")
        };
        let content = b"{\"tasks\":[]}".repeat(50_000);
        let body = gzip(&content);
        assert_eq!(decompressed(&body).expect("its content"), content);
        assert_eq!(decompressed(&[gzip(b"{}"), gzip(b"\n")].concat()).expect("both members"), &b"{}\n"[..]);
        let kind = |body: &[u8]| decompressed(body).expect_err("no content").kind;
        for cut in [1, 10, body.len() / 2, body.len() - 1] {
            assert_eq!(kind(&body[..cut]), ErrorKind::Lost, "cut at {cut}");
        }
        let mut damaged = body.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0x10;
        assert_eq!(kind(&damaged), ErrorKind::Lost);
        assert_eq!(kind(&gzip(&vec![0; LARGEST_BODY + 1])), ErrorKind::TooLarge);
        assert_eq!(decompressed(&gzip(&vec![0; LARGEST_BODY])).expect("just as much as may be").len(), LARGEST_BODY);
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
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
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
        check("99999999999999999999999", None, None);
    }
}
