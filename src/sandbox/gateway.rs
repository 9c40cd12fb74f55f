//! What the gateway in front of the API refuses: tokens, rates, prices, credit; and how it words failures.
//!
//! Nothing here is ever debited. The bodies are the documented ones; where none is documented (429, credit used up),
//! code and text are assumed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::{
    answer,
    bill::Pages,
    decide::{Call, REFUSAL_SHARE, Reply, Service},
    faults::RetryAfter,
};
use crate::money::Usd;

/// Header with the highest price that the client allows.
pub(super) const MAX_PRICE: &str = "x-aisa-max-price-usd";

impl Service {
    /// Whether a request may come in at all.
    pub(super) fn knows(&self, authorization: Option<&str>) -> bool {
        let token = authorization.and_then(|value| value.strip_prefix("Bearer ")).map_or("", str::trim);
        !token.is_empty() && self.settings.token.as_deref().is_none_or(|known| known == token)
    }

    /// What is refused whatever the body says.
    pub(super) fn at_the_gate(&self, call: &Call<'_>, number: u64, request_id: &str) -> Option<Reply> {
        let faults = &self.settings.faults;
        let now = Instant::now();
        let mut reply = if !self.knows(call.authorization) || faults.unauthorized_after.is_some_and(|n| number > n) {
            Self::unauthorized(request_id)
        } else if self.settings.rate_limit.is_some_and(|limit| !self.books.open().admits(now, limit)) {
            self.failed(429, request_id)
        } else if faults.is_outage(now.duration_since(self.started)) {
            self.failed(503, request_id)
        } else {
            return None;
        };
        reply.after = self.latency("", number) / REFUSAL_SHARE;
        Some(reply)
    }

    pub(super) fn refused_for_money(
        &self,
        call: &Call<'_>,
        debit: Usd,
        pages: &Pages,
        request_id: &str,
    ) -> Option<Reply> {
        let faults = &self.settings.faults;
        if let Some(written) = call.max_price {
            let Some(most) = written.trim().parse().ok().and_then(Usd::from_dollars) else {
                return Some(Reply::json(400, answer::plain_error("request does not match the endpoint contract")));
            };
            if debit > most {
                let text = "The estimated request price exceeds the configured maximum.";
                let code = "estimated_price_exceeds_max_price";
                return Some(Reply::json(402, answer::nested_error(code, text, request_id, false)));
            }
        }
        let used = self.settings.credit.is_some_and(|credit| pages.bill.debited_micros.plus(debit) > credit);
        if used || faults.no_credit_after.is_some_and(|most| pages.bill.billed_calls >= most) {
            let text = "The account has not enough credit for this request.";
            return Some(Reply::json(402, answer::nested_error("insufficient_balance", text, request_id, false)));
        }
        faults.quota_after.is_some_and(|most| pages.bill.billed_calls >= most).then(|| Self::quota(request_id))
    }

    /// What the gateway says to a request without a good token.
    pub(super) fn unauthorized(request_id: &str) -> Reply {
        let text = "AISA API key is invalid. Check that you copied the complete key and are using an AISA key, \
                    not an upstream provider key.";
        Reply::json(401, answer::coded_error("invalid_api_key", text, request_id))
    }

    pub(super) fn quota(request_id: &str) -> Reply {
        Reply::json(429, answer::nested_error("quota_exceeded", "The account's quota is used up.", request_id, false))
    }

    /// An HTTP status with one of the gateway's bodies.
    pub(super) fn failed(&self, status: u16, request_id: &str) -> Reply {
        let body = match status {
            429 => answer::nested_error("rate_limit_exceeded", "Too many requests.", request_id, true),
            500 => answer::plain_error("internal server error"),
            502 => answer::plain_error("provider request failed"),
            503 => {
                let text = "The billing dependency timed out. Retry the request.";
                answer::nested_error("metered_v2_billing_dependency_timeout", text, request_id, true)
            }
            504 => answer::coded_error("provider_timeout", "provider request timed out", request_id),
            _ => answer::nested_error("simulated_failure", "This failure was requested.", request_id, false),
        };
        let mut reply = Reply::json(status, body);
        if let Some(retry_after) = self.settings.faults.retry_after.filter(|_| matches!(status, 429 | 503)) {
            reply.headers.push(("retry-after", self.retry_after(retry_after)));
        }
        reply
    }

    fn retry_after(&self, retry_after: RetryAfter) -> String {
        match retry_after {
            RetryAfter::Seconds(seconds) => seconds.to_string(),
            RetryAfter::Date(seconds) => {
                let now = SystemTime::try_from(self.clock.now()).unwrap_or(UNIX_EPOCH);
                httpdate::fmt_http_date(now + Duration::from_secs(seconds.into()))
            }
        }
    }
}
