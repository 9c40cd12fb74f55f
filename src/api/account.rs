//! The account's balance, which can be requested without buying anything.
//!
//! Pure: a reply in, its meaning out. The shape of the answer is undocumented, so several shapes are understood and
//! nothing depends on them. Anything else is reported as not understood.

use serde_json::Value;

use super::Reply;
use crate::{decode::Envelope, money::Usd};

/// Names of the field with the balance, at the top or inside `data`.
const BALANCE_NAMES: [&str; 4] = ["balance_usd", "balance", "available_balance", "credits"];

/// The balance in a reply; `Err`: why there is none.
pub fn balance(reply: &Reply) -> Result<Usd, String> {
    if !(200..300).contains(&reply.status) {
        return Err(refusal(reply));
    }
    let balance = serde_json::from_slice(&reply.body).ok().and_then(|top| amount(&top));
    balance.ok_or_else(|| "the answer has no balance in a known format".to_owned())
}

/// `HTTP 404: no such page`
fn refusal(reply: &Reply) -> String {
    let reason = Envelope::read("", &reply.body).and_then(|envelope| envelope.message.or(envelope.gateway_code));
    reason.map_or_else(|| format!("HTTP {}", reply.status), |reason| format!("HTTP {}: {reason}", reply.status))
}

/// The first field with one of the known names that holds dollars, as a number or a text.
fn amount(top: &Value) -> Option<Usd> {
    let places = [Some(top), top.get("data")].into_iter().flatten();
    let dollars = |value: &Value| value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
    places
        .flat_map(|place| BALANCE_NAMES.iter().filter_map(move |name| place.get(name)))
        .find_map(|value| Usd::from_dollars(dollars(value)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, body: &str) -> Reply {
        Reply { status, body: body.as_bytes().to_vec().into(), ..Reply::default() }
    }

    #[test]
    fn a_balance_is_found_in_every_known_shape() {
        let check = |status: u16, body: &str, expected: Result<i64, &str>| {
            let found = balance(&reply(status, body)).map(Usd::micros);
            assert_eq!(found, expected.map_err(str::to_owned), "{body}");
        };
        check(200, r#"{"balance_usd": 12.5}"#, Ok(12_500_000));
        check(200, r#"{"data": {"balance": "3.25"}}"#, Ok(3_250_000));
        check(200, r#"{"credits": 0}"#, Ok(0));
        let unknown = Err("the answer has no balance in a known format");
        check(200, r#"{"status": "ok"}"#, unknown);
        check(200, "<html>", unknown);
        check(200, r#"{"balance_usd": null}"#, unknown);
        check(404, r#"{"error": "no such page"}"#, Err("HTTP 404: no such page"));
        check(500, "", Err("HTTP 500"));
    }
}
