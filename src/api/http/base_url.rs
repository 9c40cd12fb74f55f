//! Which base URLs may receive the token, and how they are displayed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reqwest::Url;

use super::is_proxied;

/// Path of the account's balance, relative to the base URL.
pub(super) const BALANCE: &str = "credits/balance";

/// Why the API cannot be called at all; detected before the first call.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("invalid --api {url:?}: {reason}")]
    Url { url: String, reason: String },
    #[error("--api {url} would send the token unencrypted")]
    Unencrypted { url: String },
    #[error("the token contains line breaks or control characters")]
    Token,
    /// A proxy that the client library would silently ignore. Its URL may contain a password and is not shown.
    #[error("{variable} does not contain the URL of an http or https proxy")]
    Proxy { variable: &'static str },
    #[error("cannot set up TLS: {0}")]
    Tls(String),
}

impl SetupError {
    pub fn hint(&self) -> String {
        match self {
            Self::Url { .. } => {
                "use a URL such as https://api.aisa.one/apis/v1 in --api or BACKLINKS_API_URL".to_owned()
            }
            Self::Unencrypted { .. } => "use https; plain http is only allowed for loopback addresses".to_owned(),
            Self::Token => "copy the token again, on one line".to_owned(),
            Self::Proxy { variable } => format!(
                "set {variable} to a URL such as http://proxy.example.com:3128, or unset it; other kinds of proxies, such \
                 as SOCKS, are not supported"
            ),
            Self::Tls(_) => "no calls were made; fix the problem above and run the same command again".to_owned(),
        }
    }
}

/// Where an API is, without its paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiEndpoint {
    /// Scheme, host and port, for display.
    pub origin: String,
    /// The host to resolve.
    pub host: String,
    pub port: u16,
    pub is_encrypted: bool,
    /// Whether calls go through a proxy.
    pub is_proxied: bool,
}

impl ApiEndpoint {
    /// The server of a base URL, after the checks that a call makes.
    pub fn parse(base: &str) -> Result<Self, SetupError> {
        let url = url(base, BALANCE)?;
        let host = host(&url);
        Ok(Self {
            origin: url.origin().ascii_serialization(),
            host: if host == LOCALHOST { LOOPBACK[0].to_string() } else { host.to_owned() },
            port: url.port_or_known_default().unwrap_or_default(),
            is_encrypted: url.scheme() == "https",
            is_proxied: is_proxied(&url)?,
        })
    }
}

/// The URL of a path below `base`, if the token may be sent there.
pub(super) fn url(base: &str, path: &str) -> Result<Url, SetupError> {
    // Never show credentials.
    let shown = base.rsplit_once('@').map_or_else(|| base.to_owned(), |(_, behind)| format!("…@{behind}"));
    let refused = |reason: &str| SetupError::Url { url: shown.clone(), reason: reason.to_owned() };
    let base_url = base.trim();
    if base_url.is_empty() {
        return Err(refused("it is empty"));
    }
    if !base_url.contains("://") {
        return Err(refused("it must start with https:// or http://"));
    }
    let url = Url::parse(&format!("{}/{path}", base_url.trim_end_matches('/')))
        .map_err(|error| refused(&error.to_string()))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refused("it must not contain credentials; use AISA_API_KEY or --token-file for the token"));
    }
    if base_url.contains(['?', '#']) {
        return Err(refused("it must not have a query or fragment"));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => Err(SetupError::Unencrypted { url: shown }),
        _ => Err(refused("it must start with https:// or http://")),
    }
}

/// The only name that is accepted for this machine, and its addresses.
pub(super) const LOCALHOST: &str = "localhost";
pub(super) const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// Whether a URL points to this machine.
pub fn is_loopback(url: &Url) -> bool {
    host(url) == LOCALHOST || host(url).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A URL's host, without the brackets around an IPv6 address.
fn host(url: &Url) -> &str {
    url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::endpoint::PATH;

    #[test]
    fn the_token_is_sent_only_over_https_or_to_loopback() {
        let check = |base: &str, allowed: bool| assert_eq!(url(base, PATH).is_ok(), allowed, "{base}");
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
        check("https://api.example.com/v1?key=x", false);
        check("https://api.example.com/v1#part", false);
    }
}
