//! The account's balance for `plan`. Asking is free, and errors are shown rather than failing the plan.

use std::time::Duration;

use tokio::time::timeout;

use super::{Context, doctor::whose};
use crate::{
    api::http::{ApiEndpoint, HttpApi},
    cli::{CallArgs, TokenError},
    doctor::{self, ApiChecks, Level},
    money::Usd,
};

const BALANCE_TIMEOUT: Duration = Duration::from_secs(3);
/// Finding out why there is no answer included.
const LONGEST: Duration = Duration::from_secs(6);

/// The balance, or why it is unknown; `None`: there is no token to ask with.
pub(super) type Balance = Option<Result<Usd, String>>;

pub(super) fn balance(arguments: &CallArgs, context: &Context) -> Balance {
    if arguments.sandbox {
        return None;
    }
    let token = match arguments.token() {
        Ok(token) => token,
        Err(TokenError::Missing) => return None,
        Err(error) => return Some(Err(error.to_string())),
    };
    let endpoint = ApiEndpoint::parse(&arguments.api);
    let api = HttpApi::new(&arguments.api, &token.0, BALANCE_TIMEOUT, context.clock);
    let (endpoint, api) = match (endpoint, api) {
        (Ok(endpoint), Ok(api)) => (endpoint, api),
        (Err(error), _) | (_, Err(error)) => return Some(Err(error.to_string())),
    };
    let whose = whose(arguments);
    let runtime = match super::runtime() {
        Ok(runtime) => runtime,
        Err(failure) => return Some(Err(failure.error)),
    };
    let asked = runtime.block_on(async { timeout(LONGEST, doctor::ask(&api, &endpoint, &whose)).await });
    let Ok(ApiChecks { checks, balance, .. }) = asked else {
        return Some(Err(format!("no answer from {} in time", endpoint.origin)));
    };
    let problem = checks.into_iter().find(|check| check.level != Level::Ok).map(|check| check.message);
    Some(balance.ok_or_else(|| problem.unwrap_or_default()))
}
