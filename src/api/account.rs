//! What a plan may ask without buying: what is left on the account, and what one call would cost.
//!
//! Pure: replies in, meaning out. No page documents the shape of either answer, so several are understood and nothing
//! depends on them: what is not understood is told as such. Nothing here takes a price for truth.

use serde_json::Value;

use super::{Reply, wire::Envelope};
use crate::money::Usd;

/// Names of the field with the balance, at the top or inside `data`.
const BALANCE_NAMES: [&str; 4] = ["balance_usd", "balance", "available_balance", "credits"];
/// Names of the field with the price, at the top, or inside `data`, `quote` or `error`.
const PRICE_NAMES: [&str; 5] = ["estimated_price_usd", "estimated_cost_usd", "price_usd", "quote_usd", "cost_usd"];

/// The balance in a reply; `Err`: why none is there.
pub fn balance(reply: &Reply) -> Result<Usd, String> {
    if !(200..300).contains(&reply.status) {
        return Err(refusal(reply));
    }
    let told = serde_json::from_slice(&reply.body).ok().and_then(|top| amount(&top, &["data"], &BALANCE_NAMES));
    told.ok_or_else(|| "the answer has no balance that this version understands".to_owned())
}

/// What came of asking for a quote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Quote {
    /// A call would cost so much.
    Price(Usd),
    /// Nothing was bought, and no price was told.
    NoPrice(String),
    /// An answer came instead, and may have been debited: the quote mode does not exist here.
    Bought(Option<Usd>),
}

/// What a reply to a call in quote mode with a highest price of nothing means.
pub fn quote(reply: &Reply) -> Quote {
    let top: Option<Value> = serde_json::from_slice(&reply.body).ok();
    let has_task = Envelope::read(&reply.body).is_some_and(|envelope| envelope.has_task);
    let is_debited = reply.debit.is_some_and(|debit| debit > Usd::ZERO);
    if is_debited || (has_task && (200..300).contains(&reply.status)) {
        return Quote::Bought(reply.debit);
    }
    match top.and_then(|top| amount(&top, &["data", "quote", "error"], &PRICE_NAMES)) {
        Some(price) => Quote::Price(price),
        None => Quote::NoPrice(refusal(reply)),
    }
}

/// `HTTP 402: The estimated request price exceeds …`
fn refusal(reply: &Reply) -> String {
    let said = Envelope::read(&reply.body).and_then(|envelope| envelope.message.or(envelope.gateway_code));
    said.map_or_else(|| format!("HTTP {}", reply.status), |said| format!("HTTP {}: {said}", reply.status))
}

/// The first field with one of these names that holds dollars, as a number or a text.
fn amount(top: &Value, inside: &[&str], names: &[&str]) -> Option<Usd> {
    let places = std::iter::once(Some(top)).chain(inside.iter().map(|name| top.get(name))).flatten();
    let dollars = |value: &Value| value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
    places
        .flat_map(|place| names.iter().filter_map(move |name| place.get(name)))
        .find_map(|value| Usd::from_dollars(dollars(value)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, body: &str) -> Reply {
        Reply { status, body: body.as_bytes().to_vec().into(), ..Reply::default() }
    }

    #[test]
    fn a_balance_is_found_where_it_may_stand() {
        let check = |status: u16, body: &str, expected: Result<i64, &str>| {
            let found = balance(&reply(status, body)).map(Usd::micros);
            assert_eq!(found, expected.map_err(str::to_owned), "{body}");
        };
        check(200, r#"{"balance_usd": 12.5}"#, Ok(12_500_000));
        check(200, r#"{"data": {"balance": "3.25"}}"#, Ok(3_250_000));
        check(200, r#"{"credits": 0}"#, Ok(0));
        let unknown = Err("the answer has no balance that this version understands");
        check(200, r#"{"status": "ok"}"#, unknown);
        check(200, "<html>", unknown);
        check(200, r#"{"balance_usd": null}"#, unknown);
        check(404, r#"{"error": "no such page"}"#, Err("HTTP 404: no such page"));
        check(500, "", Err("HTTP 500"));
    }

    #[test]
    fn a_quote_is_a_price_or_a_refusal_and_an_answer_is_an_alarm() {
        let check = |status: u16, body: &str, expected: Quote| {
            assert_eq!(quote(&reply(status, body)), expected, "{body}");
        };
        check(200, r#"{"estimated_price_usd": 0.04113}"#, Quote::Price(Usd::from_micros(41_130)));
        check(402, r#"{"error": {"code": "x", "price_usd": "0.05"}}"#, Quote::Price(Usd::from_micros(50_000)));
        let refused = r#"{"error": {"code": "estimated_price_exceeds_max_price", "message": "Too dear."}}"#;
        check(402, refused, Quote::NoPrice("HTTP 402: Too dear.".to_owned()));
        check(404, "", Quote::NoPrice("HTTP 404".to_owned()));
        check(200, r#"{"tasks": [{"status_code": 20000, "result": [{"items": []}]}]}"#, Quote::Bought(None));
        let debited = Reply { debit: Some(Usd::from_micros(7)), ..reply(500, "") };
        assert_eq!(quote(&debited), Quote::Bought(Some(Usd::from_micros(7))));
    }
}
