//! What a plan asks the API when it has a token: the balance, and a quote where one is wanted. Neither buys anything,
//! and neither may fail the plan: what went wrong is told instead.

use std::time::Duration;

use super::{Context, Failure};
use crate::{
    api::{
        BodyForm, Parameters,
        account::{self, Quote},
        http::HttpApi,
        wire,
    },
    cli::{CallArgs, TokenError},
    money::Usd,
    targets::TargetRef,
};

/// A plan waits no longer than this for the balance.
const BALANCE_TIMEOUT: Duration = Duration::from_secs(3);
/// Nor than this for a quote, which may take the API some work.
const QUOTE_TIMEOUT: Duration = Duration::from_secs(15);

/// What the account has left; `None`: nobody was asked, for want of a token.
pub(super) type Balance = Option<Result<Usd, String>>;

/// Asks for the balance where there is a token.
pub(super) fn balance(arguments: &CallArgs, context: &Context) -> Balance {
    let api = match connect(arguments, BALANCE_TIMEOUT, context)? {
        Ok(api) => api,
        Err(reason) => return Some(Err(reason)),
    };
    let asked = super::runtime().map(|runtime| runtime.block_on(api.balance()));
    Some(match asked {
        Ok(Ok(reply)) => account::balance(&reply),
        Ok(Err(error)) => Err(error.to_string()),
        Err(failure) => Err(failure.error),
    })
}

/// Asks what a call for `target` would cost.
pub(super) fn quote(
    arguments: &CallArgs,
    target: TargetRef<'_>,
    parameters: &Parameters,
    context: &Context,
) -> Result<Quote, Failure> {
    let Some(api) = connect(arguments, QUOTE_TIMEOUT, context) else {
        return Ok(Quote::NoPrice("no API token".to_owned()));
    };
    let api = match api {
        Ok(api) => api,
        Err(reason) => return Ok(Quote::NoPrice(reason)),
    };
    let form = arguments.body_form().unwrap_or(BodyForm::Array);
    let body = wire::body(target.as_str(), parameters, form);
    let asked = super::runtime()?.block_on(api.quote(body));
    Ok(asked.map_or_else(|error| Quote::NoPrice(error.to_string()), |reply| account::quote(&reply)))
}

/// `None`: there is no token, or no server yet.
fn connect(arguments: &CallArgs, timeout: Duration, context: &Context) -> Option<Result<HttpApi, String>> {
    if arguments.sandbox {
        return None;
    }
    let token = match arguments.token() {
        Ok(token) => token,
        Err(TokenError::Missing) => return None,
        Err(error) => return Some(Err(error.to_string())),
    };
    Some(HttpApi::new(&arguments.api, &token.0, timeout, context.clock).map_err(|error| error.to_string()))
}
