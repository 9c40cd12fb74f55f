//! Checks the API by requesting the balance, which is free: whether it answers and accepts the token, the balance
//! itself and the server's time. Without an answer, DNS and the connection are tried one by one to name the step that
//! fails.

use std::time::Duration;

use jiff::Timestamp;
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

use super::{Check, Level};
use crate::{
    api::{
        Reply, account,
        http::{ApiEndpoint, HttpApi},
    },
    money::Usd,
};

/// The longest DNS lookup or connection attempt.
const STEP: Duration = Duration::from_secs(5);
/// Addresses of a host that are tried.
const MAX_ADDRESSES: usize = 4;
const NO_ANSWER: &str = "no answer in time";

#[derive(Debug)]
pub struct ApiChecks {
    pub checks: Vec<Check>,
    pub balance: Option<Usd>,
    /// The server's time: `None` without an answer, `Some(None)` if the answer has no date.
    pub date: Option<Option<Timestamp>>,
}

/// Asks for the balance. `whose` names the token's source.
pub async fn ask(api: &HttpApi, endpoint: &ApiEndpoint, whose: &str) -> ApiChecks {
    match api.balance().await {
        Ok(reply) => answered(&reply, endpoint, whose),
        Err(error) => {
            let reached = reach(endpoint).await;
            let ApiEndpoint { origin, is_encrypted, is_proxied, .. } = endpoint;
            let (message, hint) = match reached.level {
                Level::Failed => return unanswered(reached, whose),
                _ if *is_proxied => (
                    format!("cannot reach {origin} through the proxy: {error}"),
                    "check HTTPS_PROXY and ALL_PROXY, then --api",
                ),
                _ if *is_encrypted => (
                    format!("connected to {origin}, but TLS or the request failed: {error}"),
                    "check --api and this machine's clock; if a firewall inspects TLS, put its certificate in \
                     SSL_CERT_FILE",
                ),
                _ => (
                    format!("connected to {origin}, but it did not answer: {error}"),
                    "check --api and the service at that address",
                ),
            };
            unanswered(Check::failed("api", message, hint), whose)
        }
    }
}

fn unanswered(reached: Check, whose: &str) -> ApiChecks {
    ApiChecks { checks: vec![reached, not_tried(whose)], balance: None, date: None }
}

/// Looks the host up and connects to it, to find the step that fails.
pub async fn reach(endpoint: &ApiEndpoint) -> Check {
    const NAME: &str = "api";
    let ApiEndpoint { origin, host, port, is_proxied, .. } = endpoint;
    if *is_proxied {
        return Check::ok(NAME, format!("{origin} is reached through a proxy; the connection was not tested"));
    }
    let unknown = |reason: &str| {
        let message = format!("cannot reach {origin}, the DNS lookup failed: {reason}");
        Check::failed(NAME, message, "check the name in --api, this machine's DNS (resolv.conf) and its network")
    };
    let addresses = match timeout(STEP, lookup_host((host.as_str(), *port))).await {
        Ok(Ok(addresses)) => addresses.take(MAX_ADDRESSES),
        Ok(Err(error)) => {
            let reason = error.to_string();
            // The sentence already states this part of the system's reason.
            return unknown(reason.strip_prefix("failed to lookup address information: ").unwrap_or(&reason));
        }
        Err(_) => return unknown(NO_ANSWER),
    };
    let mut failure = format!("cannot reach {origin}: the host name has no address");
    for address in addresses {
        let reason = match timeout(STEP, TcpStream::connect(address)).await {
            Ok(Ok(_)) => return Check::ok(NAME, format!("connected to {origin} at {address}")),
            Ok(Err(error)) => error.to_string(),
            Err(_) => NO_ANSWER.to_owned(),
        };
        failure = format!("cannot reach {origin} at {address}: {reason}");
    }
    Check::failed(NAME, failure, "check --api, the network and its firewall; behind a proxy set HTTPS_PROXY")
}

fn answered(reply: &Reply, endpoint: &ApiEndpoint, whose: &str) -> ApiChecks {
    let balance = account::balance(reply);
    let status = format!("{} answered with HTTP {}", endpoint.origin, reply.status);
    let is_page = reply.body.trim_ascii_start().starts_with(b"<");
    let problem = balance.as_ref().err().map_or("", String::as_str);
    let checks = match &reply.cut {
        Some(error) => {
            let api = Check::failed(
                "api",
                format!("{status}, but the answer was cut off: {error}"),
                "check --api and the network",
            );
            vec![api, not_tried(whose)]
        }
        None if is_page && (200..300).contains(&reply.status) => {
            let hint = "check --api; there may be a captive portal or proxy in between";
            vec![Check::failed("api", format!("{status}, but with a web page instead of JSON"), hint), not_tried(whose)]
        }
        None => judged(reply.status, &endpoint.origin, whose, problem),
    };
    ApiChecks { checks, balance: balance.ok().filter(|_| !is_page && reply.cut.is_none()), date: Some(reply.date) }
}

fn not_tried(whose: &str) -> Check {
    Check::warning("token", format!("{whose} could not be checked"), "a run will stop if the API refuses it")
}

/// The checks of a whole answer by its status. `problem` is why it contains no balance; empty if it does.
fn judged(code: u16, origin: &str, whose: &str, problem: &str) -> Vec<Check> {
    let status = format!("{origin} answered with HTTP {code}");
    let answered = format!("{origin} answered with {problem}");
    let api = |level: fn(_, _, _) -> Check, message: String, hint: &str| {
        vec![level("api", message, hint.to_owned()), not_tried(whose)]
    };
    let with = |token: Check, balance: Option<Check>| {
        [Check::ok("api", status.as_str()), token].into_iter().chain(balance).collect()
    };
    let not_refused = || Check::ok("token", format!("{whose} was not refused"));
    match code {
        200..300 if problem.is_empty() => with(Check::ok("token", format!("{whose} is accepted")), None),
        200..300 => {
            with(not_refused(), Some(Check::warning("balance", problem, "check the balance on the account page")))
        }
        401 | 403 => {
            let refused = format!("{whose} is refused: {problem}");
            with(Check::failed("token", refused, "copy the token again from the account page"), None)
        }
        402 => {
            with(not_refused(), Some(Check::failed("balance", format!("no credit: {problem}"), "top up the account")))
        }
        300..=399 => api(
            Check::failed,
            format!("{status}, a redirect; redirects are not followed, to protect the token"),
            "set --api to the URL it redirects to",
        ),
        404 | 405 => api(
            Check::warning,
            answered,
            "check --api; if this API reports no balance, the first call of a run shows whether the URL is right",
        ),
        429 => api(Check::warning, answered, "lower --rate, or wait; the token may also be in use elsewhere"),
        500.. => api(Check::failed, answered, "try again later; a run waits for the API for up to --max-outage"),
        _ => api(Check::warning, answered, "check --api"),
    }
}
