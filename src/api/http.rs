//! The API over the wire: reqwest with rustls, HTTP/1.1, one attempt a call.
//!
//! Never follows a redirect, never repeats a call by itself, never sends the token to another host
//! than the one it was built for, and never holds more of a body than [`LARGEST_BODY`]. HTTP/2 is off because one
//! lost connection would make thirty paid calls uncertain at once.
//!
//! What came of a body is kept, whatever ends it: it was perhaps paid for. Bodies beyond [`USUAL_BODY`] are read one
//! at a time, so that thirty of them at once take no more memory than one. A gzip body is decompressed here in one
//! piece: the client's own way goes in small steps through several layers.

use std::{
    io::{self, Read},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::pin,
    sync::{Arc, Once},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use memchr::memmem;
use reqwest::{
    Client, ClientBuilder, RequestBuilder, Response, Url,
    header::{self, HeaderMap, HeaderName, HeaderValue},
    redirect, retry,
};
use secrecy::{ExposeSecret, SecretString};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout, timeout_at},
};

use super::{Api, ApiError, ErrorKind, Reply, Request};
use crate::{clock::Clock, money::Usd};

/// Path of the endpoint below the base URL.
pub const ENDPOINT: &str = "dataforseo/backlinks/history/live";

/// Path of the account's balance below the base URL.
const BALANCE: &str = "credits/balance";

/// The largest body that is read, after decompression: some 200 times a full history.
pub const LARGEST_BODY: usize = 32 * 1024 * 1024;

/// Bodies up to this size are read side by side: seven times a full history.
pub const USUAL_BODY: usize = 1024 * 1024;

/// Larger bodies that are in memory at once, from their reading until the ledger has them.
const LARGE_AT_ONCE: usize = 1;

/// Room for a body of undeclared length: a full history is some 137 KB.
const FIRST_ROOM: usize = 160 * 1024;

/// Connections unused for longer are closed: gateways drop theirs after about a minute, and a call
/// on a dropped connection may be billed without an answer.
const POOL_IDLE: Duration = Duration::from_secs(20);

/// Reaching the server at all; a call that fails here was never sent.
const CONNECT: Duration = Duration::from_secs(15);

/// What stands before the token in its header.
const SCHEME: &str = "Bearer ";

/// Shorter tokens are looked for in no answer: they may be words.
const SHORTEST_SECRET: usize = 16;

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
    /// Who may read a large body.
    large: Arc<Semaphore>,
}

impl HttpApi {
    /// Checks the URL and the token and sets up the connections; sends nothing.
    pub fn new(base: &str, token: &SecretString, timeout: Duration, clock: Clock) -> Result<Self, SetupError> {
        let (endpoint, balance) = (url(base, ENDPOINT)?, url(base, BALANCE)?);
        let mut authorization = HeaderValue::from_str(&format!("{SCHEME}{}", token.expose_secret().trim()))
            .map_err(|_| SetupError::Token)?;
        authorization.set_sensitive(true);
        let mut client = client_builder().connect_timeout(CONNECT);
        if endpoint.scheme() == "http" {
            // A proxy from the environment would see the token; with https it sees the host's name alone.
            client = client.no_proxy();
        }
        let client = client.build().map_err(|error| SetupError::Tls(chain(&error)))?;
        let large = Arc::new(Semaphore::new(LARGE_AT_ONCE));
        Ok(Self { client, endpoint, balance, authorization, timeout, clock, large })
    }

    /// Asks what is left on the account, which costs nothing.
    pub async fn balance(&self) -> Result<Reply, ApiError> {
        self.exchange(self.client.get(self.balance.clone())).await
    }

    /// Asks what a call would cost. Two headers keep it from buying: the quote mode, and a highest price of nothing.
    pub async fn quote(&self, body: Bytes) -> Result<Reply, ApiError> {
        let request = self.call(body).header(COST_MODE, "quote");
        self.exchange(with_max_price(request, Usd::ZERO)).await
    }

    fn call(&self, body: Bytes) -> RequestBuilder {
        self.client.post(self.endpoint.clone()).header(header::CONTENT_TYPE, "application/json").body(body)
    }

    /// One exchange within the time-out.
    async fn exchange(&self, request: RequestBuilder) -> Result<Reply, ApiError> {
        let deadline = Instant::now() + self.timeout;
        let request = request.header(header::AUTHORIZATION, self.authorization.clone());
        let request = request.header(header::ACCEPT_ENCODING, "gzip");
        let sent = in_time(deadline, request.send()).await.ok_or_else(|| self.late())?;
        let response = sent.map_err(|error| lost(&error))?;
        let reply = Reply {
            status: response.status().as_u16(),
            retry_after: retry_after(response.headers(), self.clock),
            debit: text(response.headers(), &DEBIT).and_then(debit),
            request_id: text(response.headers(), &REQUEST_ID).map(|id| {
                let mut id = id.as_bytes().to_vec();
                hide(self.token(), &mut id);
                String::from_utf8_lossy(&id).into_owned()
            }),
            date: date(response.headers()).and_then(|told| told.try_into().ok()),
            ..Reply::default()
        };
        let (body, cut) = self.read_body(response, deadline).await;
        Ok(Reply { body, cut, ..reply })
    }

    /// Reads a body until its end, the deadline or the limit; what came by then, and why it is not all.
    async fn read_body(&self, mut response: Response, deadline: Instant) -> (Bytes, Option<ApiError>) {
        let is_gzip = text(response.headers(), &header::CONTENT_ENCODING).is_some_and(is_gzip);
        let declared = response.content_length().and_then(|length| usize::try_from(length).ok());
        let mut large = Large {
            bytes: Vec::with_capacity(declared.map_or(FIRST_ROOM, |length| length.min(USUAL_BODY))),
            permit: None,
        };
        let reading = async {
            while let Some(chunk) = response.chunk().await.map_err(|error| lost(&error))? {
                if large.bytes.len() + chunk.len() > USUAL_BODY && large.permit.is_none() {
                    large.permit = Arc::clone(&self.large).acquire_owned().await.ok();
                }
                let room = LARGEST_BODY - large.bytes.len();
                large.bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if chunk.len() > room {
                    return Err(too_large());
                }
            }
            Ok(())
        };
        let end = in_time(deadline, reading).await.unwrap_or_else(|| Err(self.late()));
        let end = if is_gzip { end.and(self.decompress(&mut large).await) } else { end };
        hide(self.token(), &mut large.bytes);
        (large.into_bytes(), end.err())
    }

    /// Puts a gzip body's content in its place, as far as the body goes.
    async fn decompress(&self, large: &mut Large) -> Result<(), ApiError> {
        let compressed = std::mem::replace(&mut large.bytes, Vec::with_capacity(FIRST_ROOM));
        if compressed.is_empty() {
            return Ok(());
        }
        let mut decoder = MultiGzDecoder::new(compressed.as_slice());
        let mut read = decoder.by_ref().take(USUAL_BODY as u64).read_to_end(&mut large.bytes);
        if large.bytes.len() == USUAL_BODY && read.is_ok() {
            if large.permit.is_none() {
                large.permit = Arc::clone(&self.large).acquire_owned().await.ok();
            }
            // One byte more than may be tells whether there are more.
            let most = LARGEST_BODY - USUAL_BODY + 1;
            read = decoder.take(most as u64).read_to_end(&mut large.bytes);
        }
        if large.bytes.len() > LARGEST_BODY {
            large.bytes.truncate(LARGEST_BODY);
            return Err(too_large());
        }
        read.map(drop).map_err(|error| {
            let reason =
                if error.kind() == io::ErrorKind::UnexpectedEof { "it ends too soon" } else { "it is damaged" };
            ApiError { kind: ErrorKind::Lost, message: format!("the compressed body cannot be read: {reason}") }
        })
    }

    fn token(&self) -> &[u8] {
        self.authorization.as_bytes().strip_prefix(SCHEME.as_bytes()).unwrap_or_default()
    }

    fn late(&self) -> ApiError {
        ApiError { kind: ErrorKind::Lost, message: format!("no whole answer within {:?}", self.timeout) }
    }
}

impl Api for HttpApi {
    async fn post(&self, request: &Request) -> Result<Reply, ApiError> {
        let call = self.call(request.body.clone());
        self.exchange(match request.max_price {
            Some(price) => with_max_price(call, price),
            None => call,
        })
        .await
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

/// Waits until the deadline, and a little longer if that came so late that this process cannot have run meanwhile.
async fn in_time<T>(deadline: Instant, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    if let Ok(output) = timeout_at(deadline, &mut future).await {
        return Some(output);
    }
    if deadline.elapsed() < OVERDUE {
        return None;
    }
    timeout(CATCH_UP, future).await.ok()
}

/// A body with the permit to be large, which it gives back when its last reader is done.
struct Large {
    bytes: Vec<u8>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Large {
    fn into_bytes(self) -> Bytes {
        if self.permit.is_some() { Bytes::from_owner(self) } else { self.bytes.into() }
    }
}

impl AsRef<[u8]> for Large {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn is_gzip(encoding: &str) -> bool {
    encoding.eq_ignore_ascii_case("gzip") || encoding.eq_ignore_ascii_case("x-gzip")
}

fn too_large() -> ApiError {
    let message = format!("the body is larger than {} MiB; it is cut there", LARGEST_BODY >> 20);
    ApiError { kind: ErrorKind::TooLarge, message }
}

/// Blackens the token where a server repeats it: answers are kept, and their messages shown.
fn hide(token: &[u8], body: &mut [u8]) {
    if token.len() < SHORTEST_SECRET {
        return;
    }
    let finder = memmem::Finder::new(token);
    let mut from = 0;
    while let Some(found) = finder.find(&body[from..]) {
        let start = from + found;
        from = start + token.len();
        body[start..from].fill(b'*');
    }
}

fn with_max_price(request: RequestBuilder, price: Usd) -> RequestBuilder {
    request.header(MAX_PRICE, format!("{:.6}", price.dollars()))
}

/// Where an API is, without its paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Scheme, host and port, to be shown.
    pub origin: String,
    /// The host, as it is looked up.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether TLS is spoken.
    pub is_encrypted: bool,
}

/// Where the API of a base URL is; the URL is checked as for a call.
pub fn place(base: &str) -> Result<Place, SetupError> {
    let url = url(base, BALANCE)?;
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    Ok(Place {
        origin: url.origin().ascii_serialization(),
        host: if host == LOCALHOST { LOOPBACK[0].to_string() } else { host.to_owned() },
        port: url.port_or_known_default().unwrap_or_default(),
        is_encrypted: url.scheme() == "https",
    })
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

/// The one name that may stand for this machine, and what it stands for.
const LOCALHOST: &str = "localhost";
const LOOPBACK: [std::net::IpAddr; 2] =
    [std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), std::net::IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// Whether a URL is of this machine.
pub fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == LOCALHOST || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn lost(error: &reqwest::Error) -> ApiError {
    let kind = if error.is_connect() { ErrorKind::NotSent } else { ErrorKind::Lost };
    ApiError { kind, message: chain(error) }
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
    if let Ok(seconds) = written.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(written).ok()?;
    let now = date(headers).or_else(|| clock.now().try_into().ok())?;
    Some(until.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_token_that_a_server_repeats_is_blackened() {
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
