//! The status table: what a reply, or the lack of one, means.
//!
//! One pure function, [`assess`], looks at the HTTP status and at the status inside the body alike.
//! What is done about it (wait, give up, stop) is decided in `fetch::judge`, which sees no bytes.
//! Messages vary, so codes decide. A message counts in two places only, where the API documents no
//! code of its own: `No Search Results`, and a gateway's word for a used-up quota.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{ApiError, ErrorKind, Reply};
use crate::{decode::Envelope, money::Usd, targets::Target};

/// The meaning of one call's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Items of this target.
    Data,
    /// The API knows nothing of this target; a final answer.
    NoData,
    /// A temporary fault; not billed as far as we know.
    Transient,
    /// Too many calls; everybody has to slow down.
    SlowDown,
    /// Answered too late, cut off, or unreadable: perhaps billed.
    MaybeBilled,
    /// An answer about another target.
    WrongTarget,
    /// The price would exceed the one that the call allowed; not billed.
    PriceRefused,
    /// The body's form or fields are not what the endpoint takes.
    Contract,
    /// This target's call cannot succeed.
    Rejected,
    /// HTTP 401, 403 or 404 with a body that neither the API nor its gateway writes. A firewall that dislikes the target
    /// answers like that. If the target is not the cause, no call can succeed, probably for the given reason.
    Refused(Fatal),
    /// No call can succeed until a person has acted.
    Fatal(Fatal),
}

impl Class {
    /// Every class with the word that the ledger keeps for it.
    const WORDS: [(Self, &str); 15] = [
        (Self::Data, "data"),
        (Self::NoData, "no_data"),
        (Self::Transient, "transient"),
        (Self::SlowDown, "slow_down"),
        (Self::MaybeBilled, "maybe_billed"),
        (Self::WrongTarget, "wrong_target"),
        (Self::PriceRefused, "price_refused"),
        (Self::Contract, "contract"),
        (Self::Rejected, "rejected"),
        (Self::Refused(Fatal::TokenRefused), "refused"),
        (Self::Refused(Fatal::WrongUrl), "not_found"),
        (Self::Fatal(Fatal::TokenRefused), "token_refused"),
        (Self::Fatal(Fatal::NoCredit), "no_credit"),
        (Self::Fatal(Fatal::AccountBlocked), "account_blocked"),
        (Self::Fatal(Fatal::WrongUrl), "wrong_url"),
    ];

    /// The word for it in files.
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(class, _)| *class == self).map_or("rejected", |(_, word)| word)
    }
}

impl FromStr for Class {
    type Err = UnknownClass;

    fn from_str(word: &str) -> Result<Self, UnknownClass> {
        let found = Self::WORDS.iter().find(|(_, known)| *known == word);
        found.map(|(class, _)| *class).ok_or_else(|| UnknownClass(word.to_owned()))
    }
}

/// A word that is not the name of a class.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a known class of answers")]
pub struct UnknownClass(String);

/// Why no further call can succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fatal {
    /// The token is missing, wrong, or not allowed here.
    TokenRefused,
    /// The account has no credit or its quota is used up.
    NoCredit,
    /// The account is blocked or paused.
    AccountBlocked,
    /// Nothing answers under this URL.
    WrongUrl,
}

impl Fatal {
    /// What is wrong, as the end of the sentence `export stopped: …`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::TokenRefused => "the API refused the token",
            Self::NoCredit => "the account has no credit",
            Self::AccountBlocked => "the account is blocked or paused",
            Self::WrongUrl => "there is no API at this URL",
        }
    }

    /// How to resume.
    pub fn hint(self) -> &'static str {
        match self {
            Self::TokenRefused => {
                "all paid answers are saved; set a valid AISA_API_KEY (or --token-file) and run the same command again"
            }
            Self::NoCredit => "all paid answers are saved; top up the account and run the same command again",
            Self::AccountBlocked => {
                "all paid answers are saved; contact the API's support, then run the same command again"
            }
            Self::WrongUrl => "all paid answers are saved; check --api and run the same command again",
        }
    }
}

/// What a call's result means.
#[derive(Clone, Debug, PartialEq)]
pub struct Assessment {
    pub class: Class,
    /// HTTP status, where there was one.
    pub http_status: Option<u16>,
    /// The code inside the body, where there was one.
    pub api_code: Option<i64>,
    /// What the API or the network said.
    pub message: Option<String>,
    /// The API's id of the task.
    pub task_id: Option<String>,
    /// Items in the answer.
    pub items: u64,
    /// Whether the body is one whole JSON object.
    pub json: bool,
    /// What was paid, as far as is known.
    pub cost: Cost,
    /// What else the answer reports.
    pub stated: Stated,
}

/// What an answer reports about itself, for information only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stated {
    /// How many items it has, in its own words.
    pub items_count: Option<i64>,
    pub api_version: Option<String>,
    /// How long the API worked on the task, in seconds.
    pub api_seconds: Option<f64>,
    /// How its counts contradict its content; only for accepted answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mismatch: Option<String>,
}

/// What one call cost, by where that is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// The gateway's debit header.
    Debit(Usd),
    /// The body's `cost`: the upstream price, of which the gateway debits a multiple.
    Upstream(Usd),
    /// Presumably billed; the price was not reported.
    Unknown,
    /// Nothing is billed for such a result.
    Nothing,
}

impl Cost {
    /// The reported price, of the gateway or upstream; zero if none was.
    pub fn known(self) -> Usd {
        match self {
            Self::Debit(price) | Self::Upstream(price) => price,
            Self::Unknown | Self::Nothing => Usd::ZERO,
        }
    }
}

/// Understands what came back for a call about `target`; `envelope` is that of the reply's body.
pub fn assess(result: &Result<Reply, ApiError>, envelope: Option<Envelope>, target: &Target) -> Assessment {
    match result {
        Ok(reply) => assess_reply(reply, envelope, target),
        Err(error) => Assessment {
            class: match error.kind {
                ErrorKind::Unreachable | ErrorKind::NotSent => Class::Transient,
                ErrorKind::Lost => Class::MaybeBilled,
                ErrorKind::TooLarge => Class::Rejected,
            },
            http_status: None,
            api_code: None,
            message: Some(error.message.clone()),
            task_id: None,
            items: 0,
            json: false,
            cost: match error.kind {
                ErrorKind::Unreachable | ErrorKind::NotSent => Cost::Nothing,
                ErrorKind::Lost | ErrorKind::TooLarge => Cost::Unknown,
            },
            stated: Stated::default(),
        },
    }
}

fn assess_reply(reply: &Reply, envelope: Option<Envelope>, target: &Target) -> Assessment {
    let success = (200..300).contains(&reply.status);
    let class = match (&envelope, &reply.cut) {
        (Some(envelope), _) => class_of_envelope(reply.status, success, envelope, target),
        (None, Some(ApiError { kind: ErrorKind::TooLarge, .. })) if success => Class::Rejected,
        (None, _) => of_http(reply.status, &Envelope::default()),
    };
    let json = envelope.as_ref().is_some_and(|envelope| envelope.is_json);
    let cut = reply.cut.as_ref().filter(|_| envelope.is_none()).map(|cut| cut.message.clone());
    let envelope = envelope.unwrap_or_default();
    let cost = match (reply.debit, envelope.cost, class) {
        (Some(debit), ..) => Cost::Debit(debit),
        // An answer that came too late reports no cost, but what the gateway debited is unknown.
        (None, Some(Usd::ZERO), Class::MaybeBilled) => Cost::Unknown,
        (None, Some(upstream), _) => Cost::Upstream(upstream),
        (None, None, Class::Data | Class::NoData | Class::WrongTarget | Class::MaybeBilled) => Cost::Unknown,
        (None, None, Class::Rejected) if success && cut.is_some() => Cost::Unknown,
        (None, None, _) => Cost::Nothing,
    };
    let is_good = envelope.code == Some(20000) && matches!(class, Class::Data | Class::NoData);
    let stated = Stated {
        mismatch: envelope.mismatch().filter(|_| is_good),
        items_count: envelope.items_count,
        api_version: envelope.version,
        api_seconds: envelope.seconds,
    };
    Assessment {
        class,
        http_status: Some(reply.status),
        api_code: envelope.code,
        message: cut.or(envelope.message).or_else(|| readable(reply)),
        task_id: envelope.task_id,
        items: envelope.items,
        json,
        cost,
        stated,
    }
}

fn class_of_envelope(status: u16, success: bool, envelope: &Envelope, target: &Target) -> Class {
    let message = envelope.message.as_deref().unwrap_or_default();
    match envelope.code {
        Some(20000) if success => {
            if !envelope.about.iter().all(|host| is_about(host, target)) {
                Class::WrongTarget
            } else if envelope.items > 0 {
                // Rows are only taken when the answer names its target.
                if envelope.about.is_empty() { Class::WrongTarget } else { Class::Data }
            } else if envelope.has_task {
                Class::NoData
            } else {
                Class::MaybeBilled
            }
        }
        Some(code) if code >= 40000 => of_code(code, message),
        _ => of_http(status, envelope),
    }
}

/// Whether an answer about `host` is one about `target`. The API drops a `www.` that cleaning keeps before a suffix, as in
/// `www.gov.uk`.
fn is_about(host: &str, target: &Target) -> bool {
    host == target.as_str() || target.as_str().strip_prefix("www.") == Some(host)
}

/// The meaning of a status code inside the body.
fn of_code(code: i64, message: &str) -> Class {
    match code {
        40102 => Class::NoData,
        40501 if message.contains("No Search Results") => Class::NoData,
        40103 | 40601 | 40602 => Class::Transient,
        40202 | 40209 => Class::SlowDown,
        40101 | 50401 | 50402 => Class::MaybeBilled,
        40001..=40006 | 40502..=40506 => Class::Contract,
        40100 | 40104 => Class::Fatal(Fatal::TokenRefused),
        40200 | 40203 | 40210 => Class::Fatal(Fatal::NoCredit),
        40201 | 40204 | 40207 => Class::Fatal(Fatal::AccountBlocked),
        40400 | 40402 => Class::Fatal(Fatal::WrongUrl),
        50100 => Class::Rejected,
        50000..=59999 => Class::Transient,
        _ => Class::Rejected,
    }
}

/// The meaning of an HTTP status where the body's code does not decide.
fn of_http(status: u16, envelope: &Envelope) -> Class {
    let says = |word: &str| envelope.gateway_code.as_deref().is_some_and(|code| code.contains(word));
    let is_known = envelope.has_gateway_error || envelope.code.is_some();
    match status {
        400 => Class::Contract,
        401 | 403 if !is_known => Class::Refused(Fatal::TokenRefused),
        404 if !is_known => Class::Refused(Fatal::WrongUrl),
        401 | 403 => Class::Fatal(Fatal::TokenRefused),
        402 if says("exceeds_max_price") => Class::PriceRefused,
        402 => Class::Fatal(Fatal::NoCredit),
        429 if says("quota_exceeded") => Class::Fatal(Fatal::NoCredit),
        429 => Class::SlowDown,
        // Redirects are not followed: a body and a token are meant for one host.
        300..=399 | 404 | 405 => Class::Fatal(Fatal::WrongUrl),
        408 | 425 | 500..=599 => Class::Transient,
        // A success status over a body that is not an answer.
        200..=299 => Class::MaybeBilled,
        _ => Class::Rejected,
    }
}

/// The beginning of a body that is not JSON, for a message.
fn readable(reply: &Reply) -> Option<String> {
    /// Enough to recognize a gateway's page by.
    const SHOWN: usize = 120;
    let text = String::from_utf8_lossy(&reply.body[..reply.body.len().min(4 * SHOWN)]);
    let words: Vec<&str> = text.split_whitespace().collect();
    let shown: String = words.join(" ").chars().take(SHOWN).collect();
    (!shown.is_empty()).then_some(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assess(result: &Result<Reply, ApiError>, target: &Target) -> Assessment {
        let envelope = result.as_ref().ok().and_then(|reply| Envelope::read(&reply.body));
        super::assess(result, envelope, target)
    }

    fn target() -> Target {
        crate::targets::clean("a.com", crate::targets::Accept::DOMAINS).expect("a domain").target
    }

    #[expect(clippy::unnecessary_wraps, reason = "what assess takes")]
    fn reply(status: u16, body: &str) -> Result<Reply, ApiError> {
        Ok(Reply { status, body: body.to_owned().into(), ..Reply::default() })
    }

    fn answer(code: i64, message: &str) -> String {
        format!(
            r#"{{"status_code":20000,"status_message":"Ok.","tasks":[{{"status_code":{code},"status_message":"{message}","result":null}}]}}"#
        )
    }

    #[test]
    fn every_class_has_a_word_of_its_own() {
        for (class, word) in Class::WORDS {
            assert_eq!((class.as_str(), word.parse::<Class>().ok()), (word, Some(class)));
        }
        assert!("other".parse::<Class>().is_err());
    }

    #[test]
    fn every_code_inside_the_body_has_its_class() {
        use Class::{Contract, MaybeBilled, NoData, Rejected, SlowDown, Transient};
        use Fatal::{AccountBlocked, NoCredit, TokenRefused, WrongUrl};
        let check = |codes: &[i64], expected: Class| {
            for &code in codes {
                assert_eq!(assess(&reply(200, &answer(code, "Any.")), &target()).class, expected, "{code} in a task");
                let top = format!(r#"{{"status_code":{code},"status_message":"Any.","tasks":null}}"#);
                assert_eq!(assess(&reply(200, &top), &target()).class, expected, "{code} at the top");
                assert_eq!(assess(&reply(500, &top), &target()).class, expected, "{code} under HTTP 500");
            }
        };
        check(&[40103, 40601, 40602, 50000, 50301, 50302, 50303, 50304, 50999, 59999], Transient);
        check(&[40202, 40209], SlowDown);
        check(&[40101, 50401, 50402], MaybeBilled);
        check(&[40000, 40205, 40206, 40401, 40403, 40404, 40408, 40501, 50100, 40777, 49999], Rejected);
        check(&[40001, 40002, 40003, 40004, 40005, 40006, 40502, 40503, 40504, 40505, 40506], Contract);
        check(&[40102], NoData);
        check(&[40100, 40104], Class::Fatal(TokenRefused));
        check(&[40200, 40203, 40210], Class::Fatal(NoCredit));
        check(&[40201, 40204, 40207], Class::Fatal(AccountBlocked));
        check(&[40400, 40402], Class::Fatal(WrongUrl));
        assert_eq!(assess(&reply(200, &answer(40501, "No Search Results.")), &target()).class, NoData);
    }

    #[test]
    fn a_success_within_is_one_only_under_a_success_without_and_other_words_for_it_are_none() {
        let body = |code: i64| {
            format!(r#"{{"tasks":[{{"status_code":{code},"result":[{{"target":"a.com","items":[{{}}]}}]}}]}}"#)
        };
        let check = |status: u16, code: i64, expected: Class| {
            assert_eq!(assess(&reply(status, &body(code)), &target()).class, expected, "{code} under HTTP {status}");
        };
        check(200, 20000, Class::Data);
        check(500, 20000, Class::Transient);
        check(404, 20000, Class::Fatal(Fatal::WrongUrl));
        check(200, 20100, Class::MaybeBilled);
        check(200, 0, Class::MaybeBilled);
        check(200, 39999, Class::MaybeBilled);
        check(502, 20100, Class::Transient);
    }

    #[test]
    fn every_http_status_has_its_class() {
        use Class::{Contract, Rejected, SlowDown, Transient};
        use Fatal::{NoCredit, WrongUrl};
        let check = |statuses: &[u16], expected: Class| {
            for &status in statuses {
                for body in
                    ["", "<html>busy</html>", r#"{"error":"text"}"#, r#"{"error":{"code":"x","retryable":true}}"#]
                {
                    assert_eq!(assess(&reply(status, body), &target()).class, expected, "{status} {body}");
                }
            }
        };
        check(&[408, 425, 500, 501, 502, 503, 504, 520, 599], Transient);
        check(&[429], SlowDown);
        check(&[400], Contract);
        check(&[409, 410, 413, 422, 451], Rejected);
        check(&[402], Class::Fatal(NoCredit));
        check(&[301, 302, 307, 308, 405], Class::Fatal(WrongUrl));
        let quota = reply(429, r#"{"error":{"code":"quota_exceeded","message":"used up"}}"#);
        assert_eq!(assess(&quota, &target()).class, Class::Fatal(NoCredit));
        let price = reply(402, r#"{"error":{"code":"estimated_price_exceeds_max_price","message":"dear"}}"#);
        assert_eq!(assess(&price, &target()).class, Class::PriceRefused);
    }

    #[test]
    fn only_known_error_bodies_say_that_the_token_or_the_url_is_wrong() {
        use Fatal::{TokenRefused, WrongUrl};
        let check = |body: &str, is_known: bool| {
            for (status, fatal) in [(401, TokenRefused), (403, TokenRefused), (404, WrongUrl)] {
                let expected = if is_known { Class::Fatal(fatal) } else { Class::Refused(fatal) };
                assert_eq!(assess(&reply(status, body), &target()).class, expected, "{status} {body}");
            }
        };
        check(r#"{"error":"text"}"#, true);
        check(r#"{"code":"invalid_api_key","error":"AISA API key is invalid.","request_id":"r"}"#, true);
        check(r#"{"error":{"code":"x","message":"text","retryable":false}}"#, true);
        check(r#"{"status_code":20000,"tasks":null}"#, true);
        for foreign in
            ["", "<html>Forbidden</html>", "Forbidden", r#"{"message":"Forbidden"}"#, "{}", "[]", r#"{"error":null}"#]
        {
            check(foreign, false);
        }
    }

    #[test]
    fn success_is_what_names_its_target() {
        let check = |result: &str, expected: Class| {
            let body =
                format!(r#"{{"status_code":20000,"tasks":[{{"status_code":20000,"cost":0.024,"result":{result}}}]}}"#);
            assert_eq!(assess(&reply(200, &body), &target()).class, expected, "{body}");
        };
        check(r#"[{"target":"a.com","items":[{}]}]"#, Class::Data);
        check(r#"[{"target":"WWW.A.COM","items":[{}]}]"#, Class::Data);
        check(r#"[{"target":"b.com","items":[{}]}]"#, Class::WrongTarget);
        check(r#"[{"target":"b.com","items":[]}]"#, Class::WrongTarget);
        check(r#"[{"target":"a.com","items":[{}]},{"target":"b.com","items":[{}]}]"#, Class::WrongTarget);
        check(r#"[{"items":[{}]}]"#, Class::WrongTarget);
        for empty in ["null", "[]", "[null]", r#"[{"items":null}]"#, r#"[{"target":"a.com","items":[]}]"#] {
            check(empty, Class::NoData);
        }
    }

    #[test]
    fn a_site_under_a_suffix_is_answered_for_with_and_without_its_www() {
        use crate::targets::{Accept, clean};
        let check = |target: &str, about: &str, expected: Class| {
            let target = clean(target, Accept::ALL).expect("a target").target;
            let body = answer(20000, "Ok.").replace("null", &format!(r#"[{{"target":"{about}","items":[{{}}]}}]"#));
            assert_eq!(assess(&reply(200, &body), &target).class, expected, "{target} {about}");
        };
        check("gov.uk", "gov.uk", Class::Data);
        check("www.gov.uk", "www.gov.uk", Class::Data);
        check("www.gov.uk", "gov.uk", Class::Data);
        check("www.gov.uk", "nhs.uk", Class::WrongTarget);
        check("gov.uk", "co.uk", Class::WrongTarget);
    }

    #[test]
    fn a_2xx_that_cannot_be_read_may_have_been_billed() {
        for body in [
            "",
            "<html>",
            "{\"tasks\":[",
            "{}",
            r#"{"status_code":20000,"tasks":null}"#,
            r#"{"status_code":20000,"tasks":[]}"#,
        ] {
            let assessment = assess(&reply(200, body), &target());
            assert_eq!((assessment.class, assessment.cost), (Class::MaybeBilled, Cost::Unknown), "{body}");
        }
    }

    #[test]
    fn no_reply_is_free_only_when_nothing_was_sent() {
        let check = |kind, class, cost| {
            let error = Err(ApiError { kind, message: "m".into() });
            let assessment = assess(&error, &target());
            assert_eq!((assessment.class, assessment.cost), (class, cost));
        };
        check(ErrorKind::Unreachable, Class::Transient, Cost::Nothing);
        check(ErrorKind::NotSent, Class::Transient, Cost::Nothing);
        check(ErrorKind::Lost, Class::MaybeBilled, Cost::Unknown);
        check(ErrorKind::TooLarge, Class::Rejected, Cost::Unknown);
    }

    #[test]
    fn a_body_that_was_cut_off_is_judged_by_what_came() {
        let whole = r#"{"status_code":20000,"tasks":[{"status_code":20000,"cost":0.024,"result":[{"target":"a.com","items":[{}]}]}]}"#;
        let check = |status, body: &str, kind, class, cost| {
            let cut = Some(ApiError { kind, message: "cut".into() });
            let assessment =
                assess(&Ok(Reply { status, body: body.to_owned().into(), cut, ..Reply::default() }), &target());
            assert_eq!((assessment.class, assessment.cost), (class, cost), "{status} {body}");
            assert_eq!(assessment.message.as_deref() == Some("cut"), !assessment.json, "{assessment:?}");
        };
        let upstream = Cost::Upstream(Usd::from_micros(24_000));
        check(200, whole, ErrorKind::Lost, Class::Data, upstream);
        check(200, whole, ErrorKind::TooLarge, Class::Data, upstream);
        check(200, &whole[..60], ErrorKind::Lost, Class::MaybeBilled, Cost::Unknown);
        check(200, &whole[..60], ErrorKind::TooLarge, Class::Rejected, Cost::Unknown);
        check(200, "", ErrorKind::Lost, Class::MaybeBilled, Cost::Unknown);
        check(503, "<html", ErrorKind::Lost, Class::Transient, Cost::Nothing);
        check(429, "<html", ErrorKind::TooLarge, Class::SlowDown, Cost::Nothing);
        check(422, "<html", ErrorKind::Lost, Class::Rejected, Cost::Nothing);
    }

    #[test]
    fn an_answer_with_a_stray_byte_or_a_key_twice_is_read_all_the_same() {
        let check = |body: &[u8], json: bool| {
            let reply = Reply { status: 200, body: body.to_vec().into(), ..Reply::default() };
            let assessment = assess(&Ok(reply), &target());
            assert_eq!((assessment.class, assessment.items, assessment.json), (Class::Data, 1, json));
        };
        check(b"{\"tasks\":[{\"status_code\":20000,\"result\":[{\"target\":\"a.com\",\"items\":[{\"type\":\"\xff\"}]}]}]}", false);
        check(
            br#"{"cost":1,"cost":2,"tasks":[{"\ud800":1,"status_code":1,"status_code":20000,"result":[{"target":"b.com","target":"a.com","items":[],"items":[{}]}]}]}"#,
            true,
        );
    }

    #[test]
    fn cost_is_the_debit_else_the_body_else_unknown() {
        let body = r#"{"tasks":[{"status_code":20000,"cost":0.024,"result":null}]}"#;
        assert_eq!(assess(&reply(200, body), &target()).cost, Cost::Upstream(Usd::from_micros(24_000)));
        let debited =
            Ok(Reply { status: 200, body: body.into(), debit: Some(Usd::from_micros(36_000)), ..Reply::default() });
        assert_eq!(assess(&debited, &target()).cost, Cost::Debit(Usd::from_micros(36_000)));
        assert_eq!(assess(&reply(200, &answer(20000, "Ok.")), &target()).cost, Cost::Unknown);
        assert_eq!(assess(&reply(503, r#"{"error":"busy"}"#), &target()).cost, Cost::Nothing);
        assert_eq!(assess(&reply(200, &answer(50100, "No.")), &target()).cost, Cost::Nothing);
        let free = |code: i64| format!(r#"{{"tasks":[{{"status_code":{code},"cost":0,"result":null}}]}}"#);
        assert_eq!(assess(&reply(200, &free(20000)), &target()).cost, Cost::Upstream(Usd::ZERO));
        assert_eq!(assess(&reply(200, &free(50401)), &target()).cost, Cost::Unknown, "perhaps debited all the same");
    }

    #[test]
    fn what_a_reply_says_of_itself_is_kept() {
        let body = r#"{"version":"0.1","status_code":20000,"tasks_error":0,"tasks":[{"id":"7-x","status_code":20000,"status_message":"Ok.","time":"0.1571 sec.","cost":0.024,"result":[{"target":"a.com","items_count":3,"items":[{},{}]}]}]}"#;
        let expected = Assessment {
            class: Class::Data,
            http_status: Some(202),
            api_code: Some(20000),
            message: Some("Ok.".into()),
            task_id: Some("7-x".into()),
            items: 2,
            json: true,
            cost: Cost::Upstream(Usd::from_micros(24_000)),
            stated: Stated {
                items_count: Some(3),
                api_version: Some("0.1".into()),
                api_seconds: Some(0.1571),
                mismatch: Some("items_count is 3, but the answer has 2 items".into()),
            },
        };
        assert_eq!(assess(&reply(202, body), &target()), expected);
        let lost = assess(&Err(ApiError { kind: ErrorKind::Lost, message: "no route".into() }), &target());
        assert_eq!((lost.message.as_deref(), lost.http_status, lost.items), (Some("no route"), None, 0));
    }

    #[test]
    fn counts_are_compared_only_in_answers_that_are_taken() {
        let check = |code: i64, result: &str, is_told: bool| {
            let body = format!(r#"{{"tasks_error":1,"tasks":[{{"status_code":{code},"result":{result}}}]}}"#);
            let assessment = assess(&reply(200, &body), &target());
            assert_eq!(assessment.stated.mismatch.is_some(), is_told, "{body}");
        };
        check(20000, r#"[{"target":"a.com","items":[{}]}]"#, true);
        check(20000, "null", true);
        check(20000, r#"[{"target":"b.com","items":[{}]}]"#, false);
        check(40102, "null", false);
        check(40501, "null", false);
    }

    #[test]
    fn a_page_instead_of_an_answer_is_told_by_its_first_words() {
        let check = |page: &str, expected: Option<&str>| {
            assert_eq!(assess(&reply(502, page), &target()).message.as_deref(), expected, "{page:?}");
        };
        check("", None);
        check(" \r\n\t ", None);
        check("<html>\n  <b>busy</b>\r\n</html>", Some("<html> <b>busy</b> </html>"));
        check(&"x".repeat(1_000), Some(&"x".repeat(120)));
        // Four bytes a character
        check(&"😀".repeat(1_000), Some(&"😀".repeat(120)));
    }

    #[test]
    fn every_reason_to_stop_says_what_is_wrong_and_how_to_go_on() {
        let all = [Fatal::TokenRefused, Fatal::NoCredit, Fatal::AccountBlocked, Fatal::WrongUrl];
        let words = [("token", "AISA_API_KEY"), ("credit", "top up"), ("blocked", "support"), ("URL", "--api")];
        for (fatal, (reason, hint)) in all.into_iter().zip(words) {
            assert!(fatal.reason().contains(reason) && fatal.hint().contains(hint), "{fatal:?}");
            assert!(fatal.hint().starts_with("all paid answers are saved; "), "{fatal:?}");
        }
    }
}
