//! The refusals of the gateway in front of the API, for tokens, rates, prices and credit. They are never debited.
//!
//! The bodies are the documented ones; where none is documented (429, credit used up), code and text are assumed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::{
    answer,
    bill::BillState,
    decide::{CallReply, REFUSAL_SPEEDUP, ReceivedCall, SimulatedApi},
    faults::RetryAfter,
};
use crate::money::Usd;

/// The header with the highest price that the client accepts.
pub(super) const MAX_PRICE: &str = "x-aisa-max-price-usd";

impl SimulatedApi {
    pub(super) fn is_authorized(&self, authorization: Option<&str>) -> bool {
        let token = authorization.and_then(|value| value.strip_prefix("Bearer ")).map_or("", str::trim);
        !token.is_empty() && self.settings.token.as_deref().is_none_or(|known| known == token)
    }

    /// Refusals that do not depend on the body.
    pub(super) fn refused_early(&self, call: &ReceivedCall<'_>, number: u64, request_id: &str) -> Option<CallReply> {
        let faults = &self.settings.faults;
        let now = Instant::now();
        let mut reply =
            if !self.is_authorized(call.authorization) || faults.unauthorized_after.is_some_and(|n| number > n) {
                Self::unauthorized(request_id)
            } else if self.settings.rate_limit.is_some_and(|limit| !self.bill.lock().admits(now, limit)) {
                self.failed(429, request_id)
            } else if faults.is_outage(now.duration_since(self.started)) {
                self.failed(503, request_id)
            } else {
                return None;
            };
        reply.delay = self.latency("", number) / REFUSAL_SPEEDUP;
        Some(reply)
    }

    pub(super) fn refused_for_cost(
        &self,
        call: &ReceivedCall<'_>,
        debit: Usd,
        state: &BillState,
        request_id: &str,
    ) -> Option<CallReply> {
        let faults = &self.settings.faults;
        if let Some(written) = call.max_price {
            let Some(max) = written.trim().parse().ok().and_then(Usd::from_dollars) else {
                return Some(CallReply::json(400, answer::plain_error("request does not match the endpoint contract")));
            };
            if debit > max {
                let text = "The estimated request price exceeds the configured maximum.";
                let code = "estimated_price_exceeds_max_price";
                return Some(CallReply::json(402, answer::nested_error(code, text, request_id, false)));
            }
        }
        let used = self.settings.credit.is_some_and(|credit| state.bill.debited_micros.plus(debit) > credit);
        if used || faults.no_credit_after.is_some_and(|max| state.bill.billed_calls >= max) {
            let text = "The account has not enough credit for this request.";
            return Some(CallReply::json(402, answer::nested_error("insufficient_balance", text, request_id, false)));
        }
        faults.quota_after.is_some_and(|max| state.bill.billed_calls >= max).then(|| Self::quota(request_id))
    }

    pub(super) fn unauthorized(request_id: &str) -> CallReply {
        let text = "AISA API key is invalid. Check that you copied the complete key and are using an AISA key, \
                    not an upstream provider key.";
        CallReply::json(401, answer::coded_error("invalid_api_key", text, request_id))
    }

    pub(super) fn quota(request_id: &str) -> CallReply {
        CallReply::json(
            429,
            answer::nested_error("quota_exceeded", "The account's quota is used up.", request_id, false),
        )
    }

    /// A failure with one of the gateway's error bodies.
    pub(super) fn failed(&self, status: u16, request_id: &str) -> CallReply {
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
        let mut reply = CallReply::json(status, body);
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
