//! The account's balance for `plan`. Asking is free, and errors are shown rather than failing the plan.

use std::time::Duration;

use super::Context;
use crate::{
    api::{account, http::HttpApi},
    cli::{CallArgs, TokenError},
    money::Usd,
};

const BALANCE_TIMEOUT: Duration = Duration::from_secs(3);

/// The balance, or why it is unknown; `None`: there is no token to ask with.
pub(super) type Balance = Option<Result<Usd, String>>;

pub(super) fn balance(arguments: &CallArgs, context: &Context) -> Balance {
    let api = match connect(arguments, context)? {
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

/// `None`: there is no token, or no server yet.
fn connect(arguments: &CallArgs, context: &Context) -> Option<Result<HttpApi, String>> {
    if arguments.sandbox {
        return None;
    }
    let token = match arguments.token() {
        Ok(token) => token,
        Err(TokenError::Missing) => return None,
        Err(error) => return Some(Err(error.to_string())),
    };
    Some(HttpApi::new(&arguments.api, &token.0, BALANCE_TIMEOUT, context.clock).map_err(|error| error.to_string()))
}
