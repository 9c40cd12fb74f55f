//! The API over HTTP: reqwest with rustls, HTTP/1.1, one attempt per call.
//!
//! Never follows a redirect, never repeats a call by itself, never sends the token to another host than its own, and
//! never keeps more of a body than [`MAX_BODY_BYTES`](super::MAX_BODY_BYTES). HTTP/2 is off because one lost connection
//! would make thirty paid calls uncertain at once.

mod base_url;
mod deadline;
mod decompress;
mod headers;
mod proxy;
mod response_body;

use std::{error::Error, net::SocketAddr, sync::Once, time::Duration};

use memchr::memmem;
use reqwest::{
    Client, ClientBuilder, RequestBuilder, Url,
    header::{self, HeaderName, HeaderValue},
    redirect, retry,
};
use secrecy::{ExposeSecret, SecretString};

pub use self::{
    base_url::{ApiEndpoint, SetupError, is_loopback},
    headers::retry_after,
    proxy::is_proxied,
    response_body::USUAL_BODY,
};
use self::{
    base_url::{BALANCE, LOCALHOST, LOOPBACK, url},
    deadline::Deadline,
    headers::{date, debit, text},
    response_body::Bodies,
};
use super::{Api, ApiError, ErrorKind, Reply, Request, endpoint};
use crate::clock::Clock;

/// How long an idle connection stays open: gateways close theirs after about a minute, and a call on a closed
/// connection may be billed without an answer.
const POOL_IDLE: Duration = Duration::from_secs(20);

/// Maximum number of response headers; an answer with more cannot be read. The parser's default is a hundred.
const MAX_HEADERS: usize = 400;
/// Time limit for connecting; a call that fails here was never sent.
const CONNECT: Duration = Duration::from_secs(15);

/// The authentication scheme that precedes the token in its header.
const SCHEME: &str = "Bearer ";

/// Shorter tokens are not redacted from answers: they may be ordinary words.
const MIN_SECRET_LENGTH: usize = 16;

const MAX_PRICE: HeaderName = HeaderName::from_static("x-aisa-max-price-usd");
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
        let (endpoint, balance) = (url(base, endpoint::PATH)?, url(base, BALANCE)?);
        is_proxied(&endpoint)?;
        let mut authorization = HeaderValue::from_str(&format!("{SCHEME}{}", token.expose_secret().trim()))
            .map_err(|_| SetupError::Token)?;
        authorization.set_sensitive(true);
        // Be as lenient as browsers: a paid answer must not be lost to a header that strict parsers reject.
        let mut client = client_builder()
            .connect_timeout(CONNECT)
            .http1_ignore_invalid_headers_in_responses(true)
            .http1_allow_spaces_after_header_name_in_responses(true)
            .http1_allow_obsolete_multiline_headers_in_responses(true)
            .http1_max_headers(MAX_HEADERS);
        if endpoint.scheme() == "http" {
            // Over plain http a proxy would see the token; over https it only sees the host's name.
            client = client.no_proxy();
        }
        let client = client.build().map_err(|error| SetupError::Tls(chain(&error)))?;
        Ok(Self { client, endpoint, balance, authorization, timeout, clock, bodies: Bodies::default() })
    }

    /// Requests the account's balance, which costs nothing.
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
            debit: debit(response.headers()),
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
        let call = match request.price_limit {
            Some(price) => call.header(MAX_PRICE, format!("{:.6}", price.dollars())),
            None => call,
        };
        self.exchange(call.body(request.body.clone())).await
    }
}

/// The settings of all HTTP clients in this program: TLS by ring, no redirects, no automatic retries.
pub fn client_builder() -> ClientBuilder {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // An error means that a provider is already installed, which is fine.
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
        // Even if the system's files map this name to another address.
        .resolve_to_addrs(LOCALHOST, &LOOPBACK.map(|address| SocketAddr::new(address, 0)))
}

/// Redacts the token if a server echoes it, since answers are stored and their messages shown. Returns whether it was
/// found.
fn hide(token: &[u8], body: &mut [u8]) -> bool {
    if token.len() < MIN_SECRET_LENGTH {
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
    let kind = if error.is_connect() { ErrorKind::NotSent } else { ErrorKind::Lost };
    ApiError { kind, message: chain(error) }
}

/// The messages of an error's source chain, without the URL that the outermost repeats.
pub fn chain(error: &reqwest::Error) -> String {
    let sources = std::iter::successors(error.source(), |inner| (*inner).source());
    let mut words: Vec<String> = sources.map(ToString::to_string).collect();
    words.dedup();
    if words.is_empty() { "the connection failed".to_owned() } else { words.join(": ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_echoed_by_the_server_is_redacted() {
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
}
