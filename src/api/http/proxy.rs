//! The proxy that the environment names for a URL, by the client library's rules.
//!
//! The library connects directly if it cannot use that proxy. A user who set one would not want that, so it is an error
//! here. Plain http only goes to this machine and uses no proxy.

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::Url;

use super::SetupError;
use crate::environment;

/// Variables that name a proxy for https; the first one that is set takes precedence.
const VARIABLES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// Whether requests to `url` go through a proxy; an error if the one that is named cannot be used.
pub fn is_proxied(url: &Url) -> Result<bool, SetupError> {
    let Some(destination) = url.as_str().parse().ok().filter(|_| url.scheme() == "https") else { return Ok(false) };
    let proxy = Matcher::from_env().intercept(&destination);
    if proxy.is_some_and(|proxy| matches!(proxy.uri().scheme_str(), Some("http" | "https"))) {
        return Ok(true);
    }
    let named = VARIABLES.into_iter().find(|name| environment::variable(name).is_some());
    let excluded = ["NO_PROXY", "no_proxy"].into_iter().find_map(environment::variable).unwrap_or_default();
    let any = Matcher::builder().https("http://proxy").no(excluded).build();
    match named.filter(|_| any.intercept(&destination).is_some()) {
        Some(variable) => Err(SetupError::Proxy { variable }),
        None => Ok(false),
    }
}
