//! Which proxy the environment names for a URL, by the rules of the client library.
//!
//! The library calls directly where it cannot use the proxy that is named; a user who set one would not want that, so it
//! is an error here. For plain http, which goes to this machine only, no proxy is used.

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::Url;

use super::SetupError;

/// The variables that name a proxy for https, the first that is set wins.
const VARIABLES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// Whether requests to `url` go through a proxy; an error where one is named that cannot be used.
pub fn is_proxied(url: &Url) -> Result<bool, SetupError> {
    let Some(destination) = url.as_str().parse().ok().filter(|_| url.scheme() == "https") else { return Ok(false) };
    let proxy = Matcher::from_env().intercept(&destination);
    if proxy.is_some_and(|proxy| matches!(proxy.uri().scheme_str(), Some("http" | "https"))) {
        return Ok(true);
    }
    let named = VARIABLES.into_iter().find(|name| variable(name).is_some());
    let excluded = variable("NO_PROXY").or_else(|| variable("no_proxy")).unwrap_or_default();
    let any = Matcher::builder().https("http://proxy").no(excluded).build();
    match named.filter(|_| any.intercept(&destination).is_some()) {
        Some(variable) => Err(SetupError::Proxy { variable }),
        None => Ok(false),
    }
}

#[expect(clippy::disallowed_methods, reason = "the client library reads these variables itself")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
