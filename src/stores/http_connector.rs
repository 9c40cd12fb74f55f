//! Sends the client library's requests over this program's own connections: TLS by ring, no redirects, answers of
//! limited size, and plain http only to this machine and to the metadata services of clouds.
//!
//! The library does the retries. Answers are read whole: the largest are listings and `_run.json`.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use object_store::{
    ClientOptions,
    client::{HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService},
};
use reqwest::{Body, Client, Request, Response, Url};

use crate::api::http::{SetupError, chain, client_builder, is_loopback, is_proxied};

/// One request, from connecting to the last byte: a piece of 8 MiB at half a megabit a second.
const EXCHANGE: Duration = Duration::from_mins(2);
const CONNECT: Duration = Duration::from_secs(10);
/// This machine and metadata services answer at once or do not exist.
const CONNECT_NEAR: Duration = Duration::from_secs(1);
/// The largest answer that is read: twice the largest `_run.json`, thirty times a page of a listing.
const MAX_ANSWER_BYTES: usize = 32 << 20;

const GOOGLE_METADATA: &str = "metadata.google.internal";
/// For machines and for containers, by IPv6; the IPv4 addresses are link-local.
const AMAZON_METADATA: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)];

#[derive(Clone, Debug)]
pub(super) struct Wire {
    secure: Client,
    plain: Client,
}

#[derive(Debug, thiserror::Error)]
enum WireError {
    #[error("{host} is not encrypted; plain http is only allowed for loopback addresses")]
    Unencrypted { host: String },
    #[error("cannot reach {host}: {reason}")]
    Unreached { host: String, reason: String },
    #[error("the connection to {host} failed: {reason}")]
    Broken { host: String, reason: String },
    #[error("the answer from {host} is larger than {} MiB", MAX_ANSWER_BYTES >> 20)]
    TooLarge { host: String },
    #[error("the request has no URL")]
    NoUrl,
}

impl Wire {
    pub(super) fn new() -> Result<Self, SetupError> {
        let tls = |error: reqwest::Error| SetupError::Tls(chain(&error));
        let secure = client_builder().connect_timeout(CONNECT).timeout(EXCHANGE).build().map_err(tls)?;
        // A proxy would see the content.
        let plain = client_builder().no_proxy().connect_timeout(CONNECT_NEAR).timeout(EXCHANGE);
        Ok(Self { secure, plain: plain.build().map_err(tls)? })
    }

    async fn exchange(&self, client: &Client, request: Request, host: &str) -> Result<HttpResponse, HttpError> {
        let response = client.execute(request).await.map_err(|error| failed(&error, host))?;
        let (status, version, headers) = (response.status(), response.version(), response.headers().clone());
        let mut answer = HttpResponse::new(read(response, host).await?.into());
        *answer.status_mut() = status;
        *answer.version_mut() = version;
        *answer.headers_mut() = headers;
        Ok(answer)
    }
}

impl HttpConnector for Wire {
    /// The options are for the library's own connections.
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Wire {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let Ok(url) = Url::parse(&parts.uri.to_string()) else {
            return Err(HttpError::new(HttpErrorKind::Unknown, WireError::NoUrl));
        };
        let host = url.host_str().unwrap_or_default().to_owned();
        let client = match url.scheme() {
            "https" => {
                let proxied = is_proxied(&url).map_err(|error| HttpError::new(HttpErrorKind::Unknown, error));
                proxied.map(|_| &self.secure)?
            }
            "http" if may_be_plain(&url) => &self.plain,
            _ => return Err(HttpError::new(HttpErrorKind::Unknown, WireError::Unencrypted { host })),
        };
        let mut sent = Request::new(parts.method, url);
        *sent.headers_mut() = parts.headers;
        *sent.body_mut() = Some(Body::wrap(body));
        self.exchange(client, sent, &host).await
    }
}

/// Whether no third party can read the traffic: this machine, and addresses that are on the same link by definition.
fn may_be_plain(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    if is_loopback(url) || host == GOOGLE_METADATA {
        return true;
    }
    match host.trim_start_matches('[').trim_end_matches(']').parse() {
        Ok(IpAddr::V4(address)) => address.is_link_local(),
        Ok(IpAddr::V6(address)) => AMAZON_METADATA.contains(&address),
        Err(_) => false,
    }
}

async fn read(mut response: Response, host: &str) -> Result<Bytes, HttpError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failed(&error, host))? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(HttpError::new(HttpErrorKind::Unknown, WireError::TooLarge { host: host.to_owned() }));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.into())
}

/// The kind decides whether the library retries.
fn failed(error: &reqwest::Error, host: &str) -> HttpError {
    let (host, reason) = (host.to_owned(), chain(error));
    match error {
        error if error.is_connect() => HttpError::new(HttpErrorKind::Connect, WireError::Unreached { host, reason }),
        error if error.is_timeout() => HttpError::new(HttpErrorKind::Timeout, WireError::Broken { host, reason }),
        _ => HttpError::new(HttpErrorKind::Interrupted, WireError::Broken { host, reason }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_goes_only_to_this_machine_and_to_metadata_services() {
        let check = |url: &str, expected: bool| assert_eq!(may_be_plain(&Url::parse(url).unwrap()), expected, "{url}");
        check("http://127.0.0.1:9000/bucket", true);
        check("http://localhost:9000/bucket", true);
        check("http://[::1]:9000/bucket", true);
        check("http://169.254.169.254/latest/api/token", true);
        check("http://[fd00:ec2::23]/v1/credentials", true);
        check("http://metadata.google.internal/x", true);
        check("http://s3.amazonaws.com/bucket", false);
        check("http://10.0.0.1:9000/bucket", false);
        check("http://localhost.example.com/bucket", false);
    }
}
