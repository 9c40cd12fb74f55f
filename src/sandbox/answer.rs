//! Writes the answers: the envelope around a history or a status code, and the gateway's three kinds of error body.

use std::time::Duration;

use super::{
    item::ItemWriter,
    profile::{MonthCounts, NoData, Profile, profile_of},
    random::Random,
    request::HistoryRequest,
};
use crate::money::Usd;

/// The `version` of the envelope.
const VERSION: &str = "0.1.20260801";
/// The approximate size of a full history, in bytes.
const FULL_HISTORY: usize = 144 * 1024;
/// More than any client should read.
const OVERSIZED: usize = 40 * 1024 * 1024;

#[derive(Debug)]
pub(super) enum AnswerContent {
    /// A history; `about` is the host that the answer names.
    History {
        about: String,
        profile: Box<Profile>,
        months: Vec<MonthCounts>,
    },
    NoData(NoData),
    /// A status code inside the body, with its message.
    Code(i64, String),
}

impl AnswerContent {
    pub(super) fn of(request: &HistoryRequest, today: jiff::civil::Date) -> Self {
        match profile_of(&request.target) {
            Ok(profile) => Self::history(&request.target, profile, request, today),
            Err(nothing) => Self::NoData(nothing),
        }
    }

    /// An answer about another host.
    pub(super) fn of_another(request: &HistoryRequest, today: jiff::civil::Date) -> Self {
        let another = if request.target == "example.net" { "example.org" } else { "example.net" };
        Self::history(another, Box::new(Profile::new(another)), request, today)
    }

    /// A status code with its usual message.
    pub(super) fn code(code: i64) -> Self {
        Self::Code(code, message(code).to_owned())
    }

    fn history(about: &str, profile: Box<Profile>, request: &HistoryRequest, today: jiff::civil::Date) -> Self {
        let months = profile.months(request.date_from, request.date_to.min(today));
        if months.is_empty() {
            return Self::NoData(NoData::NoItems);
        }
        Self::History { about: about.to_owned(), profile, months }
    }

    /// Rows that are billed.
    pub(super) fn rows(&self) -> usize {
        if let Self::History { months, .. } = self { months.len() } else { 0 }
    }

    pub(super) fn status(&self) -> (i64, &str) {
        match self {
            Self::Code(code, message) => (*code, message),
            Self::NoData(NoData::Code40102) => (40102, message(40102)),
            Self::NoData(NoData::Code40501) => (40501, message(40102)),
            Self::History { .. } | Self::NoData(_) => (20000, message(20000)),
        }
    }
}

/// The fields of an envelope that do not depend on its content.
#[derive(Debug)]
pub(super) struct EnvelopeFields<'a> {
    /// The request's fields as JSON members, each after a comma.
    pub(super) echo: &'a str,
    pub(super) extra_tasks: usize,
    /// What the gateway pays; `None` is written as null.
    pub(super) cost: Option<Usd>,
    pub(super) took: Duration,
    /// For the task's id.
    pub(super) draws: Random,
}

pub(super) fn envelope(
    task: &EnvelopeFields<'_>,
    content: &AnswerContent,
    request: Option<&HistoryRequest>,
) -> Vec<u8> {
    let mut draws = task.draws;
    let (code, text) = content.status();
    let text = serde_json::Value::from(text);
    let cost = task.cost.map_or_else(|| "null".to_owned(), dollars);
    let took = task.took.as_secs_f64();
    let mut task_id = || {
        format!(
            "{:08}-1535-0{:03}-0000-{:012x}",
            draws.next() % 100_000_000,
            draws.next() % 1000,
            draws.next() & 0xffff_ffff_ffff
        )
    };
    let id = task_id();
    let result_count = usize::from(matches!(
        content,
        AnswerContent::History { .. } | AnswerContent::NoData(NoData::NullResult | NoData::NullItems | NoData::NoItems)
    ));
    let failed = usize::from(code >= 40000) + task.extra_tasks;
    let mut out = Vec::with_capacity(if content.rows() > 0 { FULL_HISTORY } else { 1024 });
    let head = format!(
        "{{\"version\":\"{VERSION}\",\"status_code\":20000,\"status_message\":\"Ok.\",\"time\":\"{:.4} sec.\",\
         \"cost\":{cost},\"tasks_count\":{},\"tasks_error\":{failed},\"tasks\":[{{\"id\":\"{id}\",\
         \"status_code\":{code},\"status_message\":{text},\"time\":\"{:.4} sec.\",\"cost\":{cost},\
         \"result_count\":{result_count},\"path\":[\"v3\",\"backlinks\",\"history\",\"live\"],\
         \"data\":{{\"api\":\"backlinks\",\"function\":\"history\"{}}},\"result\":",
        took + 0.0431,
        1 + task.extra_tasks,
        took,
        task.echo,
    );
    out.extend_from_slice(head.as_bytes());
    result(content, request, &mut out);
    out.push(b'}');
    for _ in 0..task.extra_tasks {
        let extra = format!(
            ",{{\"id\":\"{}\",\"status_code\":40000,\"status_message\":\"{}\",\"time\":\"0 sec.\",\"cost\":0,\
             \"result_count\":0,\"path\":[\"v3\",\"backlinks\",\"history\",\"live\"],\"data\":{{}},\"result\":null}}",
            task_id(),
            message(40000)
        );
        out.extend_from_slice(extra.as_bytes());
    }
    out.extend_from_slice(b"]}");
    out
}

fn result(content: &AnswerContent, request: Option<&HistoryRequest>, out: &mut Vec<u8>) {
    let head = |about: &str, count: usize| {
        let (from, to) = request.map_or_else(Default::default, |request| (request.date_from, request.date_to));
        format!(
            "[{{\"target\":\"{about}\",\"date_from\":\"{from}\",\"date_to\":\"{to}\",\"items_count\":{count},\"items\":"
        )
    };
    let about = request.map_or("", |request| request.target.as_str());
    match content {
        AnswerContent::History { about, profile, months } => {
            out.extend_from_slice(head(about, months.len()).as_bytes());
            let writer = ItemWriter::new(profile, request.is_some_and(|request| request.one_hundred));
            for (index, month) in months.iter().enumerate() {
                out.push(if index == 0 { b'[' } else { b',' });
                writer.write(month, out);
            }
            out.extend_from_slice(b"]}]");
        }
        AnswerContent::NoData(NoData::NoResults) => out.extend_from_slice(b"[]"),
        AnswerContent::NoData(NoData::NullResult) => out.extend_from_slice(b"[null]"),
        AnswerContent::NoData(NoData::NullItems) => {
            out.extend_from_slice(head(about, 0).as_bytes());
            out.extend_from_slice(b"null}]");
        }
        AnswerContent::NoData(NoData::NoItems) => {
            out.extend_from_slice(head(about, 0).as_bytes());
            out.extend_from_slice(b"[]}]");
        }
        AnswerContent::NoData(_) | AnswerContent::Code(..) => out.extend_from_slice(b"null"),
    }
}

/// More white space than a client should read.
pub(super) fn oversized() -> Vec<u8> {
    let mut body = vec![b' '; OVERSIZED];
    body.extend_from_slice(b"{}");
    body
}

/// Dollars as JSON writes them: `0.02742`, `0`.
pub(super) fn dollars(amount: Usd) -> String {
    let micros = amount.micros();
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn message(code: i64) -> &'static str {
    match code {
        20000 => "Ok.",
        40000 => "You can set only one task at a time.",
        40100 => "You are not Authorized to Access this Resource.",
        40101 => "Internal Service Error. Timeout.",
        40102 => "No Search Results.",
        40200 => "Payment Required.",
        40201 => "Account access temporarily paused.",
        40202 => "Rate Limit Exceeded.",
        40203 => "Cost Limit per Day Exceeded.",
        40209 => "Too Many Simultaneous Requests.",
        40210 => "Insufficient Funds.",
        40400 => "Not Found.",
        40501 => "Invalid Field.",
        40502 => "POST Data Is Empty.",
        40503 => "POST Data Is Invalid.",
        40506 => "Unknown Fields in POST Data.",
        50000 => "Internal Error.",
        50401 => "Internal Service Timeout.",
        _ => "Error.",
    }
}

/// `{"error": "text"}`
pub(super) fn plain_error(text: &str) -> Vec<u8> {
    serde_json::json!({ "error": text }).to_string().into_bytes()
}

/// `{"code", "error": "text", "request_id"}`
pub(super) fn coded_error(code: &str, text: &str, request_id: &str) -> Vec<u8> {
    serde_json::json!({ "code": code, "error": text, "request_id": request_id }).to_string().into_bytes()
}

/// `{"error": {"code", "message", "request_id", "retryable"}}`
pub(super) fn nested_error(code: &str, text: &str, request_id: &str, retryable: bool) -> Vec<u8> {
    serde_json::json!({ "error": { "code": code, "message": text, "request_id": request_id, "retryable": retryable } })
        .to_string()
        .into_bytes()
}

#[cfg(test)]
mod tests {
    use jiff::civil::{Date, date};
    use serde_json::{Map, Value};

    use super::*;
    use crate::sandbox::{request, settings::AcceptedForm};

    const TODAY: Date = date(2026, 11, 24);
    /// The documented keys of an item.
    const KEYS: &str = "type date rank backlinks new_backlinks lost_backlinks new_referring_domains \
        lost_referring_domains crawled_pages info internal_links_count external_links_count broken_backlinks broken_pages \
        referring_domains referring_domains_nofollow referring_main_domains referring_main_domains_nofollow \
        referring_ips referring_subnets referring_pages referring_links_tld referring_links_types \
        referring_links_attributes referring_links_platform_types referring_links_semantic_locations \
        referring_links_countries referring_pages_nofollow";

    fn request(target: &str, more: &str) -> HistoryRequest {
        let body = format!(r#"[{{"target":"{target}"{more}}}]"#);
        request::read(body.as_bytes(), AcceptedForm::Any, TODAY).expect("a good call")
    }

    fn body(request: &HistoryRequest) -> Vec<u8> {
        let content = AnswerContent::of(request, TODAY);
        let task = EnvelopeFields {
            echo: &request.echo,
            extra_tasks: request.extra_tasks,
            cost: Some(Usd::from_micros(27_420)),
            took: Duration::from_millis(157),
            draws: Random::new(&request.target, &[]),
        };
        envelope(&task, &content, Some(request))
    }

    fn read(body: &[u8]) -> Value {
        serde_json::from_slice(body).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(body)))
    }

    fn items(answer: &Value) -> &[Value] {
        answer["tasks"][0]["result"][0]["items"].as_array().map_or(&[], Vec::as_slice)
    }

    #[test]
    fn the_envelope_is_the_documented_one() {
        let target = "site1.com";
        let request = request(target, r#","date_from":"2024-01-01","tag":"t\"1""#);
        let answer = read(&body(&request));
        assert_eq!(
            (&answer["status_code"], &answer["cost"], &answer["time"]),
            (&20000.into(), &0.02742.into(), &"0.2001 sec.".into())
        );
        assert_eq!((&answer["tasks_count"], &answer["tasks_error"]), (&1.into(), &0.into()));
        let task = &answer["tasks"][0];
        assert_eq!(task["path"], serde_json::json!(["v3", "backlinks", "history", "live"]));
        let data = serde_json::json!({
            "api": "backlinks", "function": "history", "target": target, "date_from": "2024-01-01", "tag": "t\"1"
        });
        assert_eq!((&task["data"], &task["cost"]), (&data, &0.02742.into()));
        let result = &task["result"][0];
        let head = (&result["target"], &result["date_from"], &result["date_to"]);
        assert_eq!(head, (&target.into(), &"2024-01-01".into(), &"2026-11-24".into()));
        assert_eq!(result["items_count"], items(&answer).len());
        assert!(items(&answer).len() > 30);
    }

    #[test]
    fn items_have_the_documented_keys_except_for_the_known_gaps() {
        let keys: Vec<_> = KEYS.split_whitespace().collect();
        let (mut whole, mut all) = (0, 0);
        for n in 0..200 {
            let answer = read(&body(&request(&format!("site{n}.com"), "")));
            for item in items(&answer) {
                let item = item.as_object().expect("an object");
                let unknown: Vec<_> = item.keys().filter(|key| !keys.contains(&key.as_str())).collect();
                assert!(unknown.iter().all(|key| key.ends_with("_reffering_domains")), "{unknown:?}");
                all += 1;
                whole += usize::from(unknown.is_empty() && item.len() == keys.len());
                let date = item["date"].as_str().expect("a text");
                assert!(date.len() == 26 && date.ends_with(" +00:00"), "{date}");
                for (key, value) in item {
                    assert!(
                        value.is_u64()
                            || ["type", "date", "info"].contains(&key.as_str())
                            || key.starts_with("referring_links"),
                        "{key}: {value}"
                    );
                }
            }
        }
        assert!(whole * 100 > all * 94 && whole < all, "{whole} of {all}");
    }

    #[test]
    fn map_entries_are_sorted_by_count() {
        for n in 0..50 {
            let text = String::from_utf8(body(&request(&format!("site{n}.com"), ""))).expect("text");
            for map in text.split("\"referring_links_tld\":{").skip(1) {
                let entries = map.split('}').next().unwrap_or_default().split(',');
                let counts: Vec<u64> = entries.filter_map(|entry| entry.rsplit(':').next()?.parse().ok()).collect();
                assert!(counts.is_sorted_by(|larger, smaller| larger >= smaller), "site{n}.com: {counts:?}");
            }
        }
    }

    #[test]
    fn maps_are_parts_of_the_backlinks() {
        let mut nulls = 0;
        for n in 0..200 {
            let body = body(&request(&format!("site{n}.com"), ""));
            let answer = read(&body);
            for item in items(&answer) {
                let backlinks = item["backlinks"].as_u64().expect("a count");
                let maps =
                    item.as_object().expect("an object").iter().filter(|(key, _)| key.starts_with("referring_links_"));
                for (key, map) in maps {
                    let empty = Map::new();
                    let map = map.as_object().unwrap_or(&empty);
                    nulls += map.values().filter(|value| value.is_null()).count();
                    let sum: u64 = map.values().filter_map(Value::as_u64).sum();
                    assert!(sum <= backlinks && map.len() <= 10, "site{n}.com {key}: {sum} of {backlinks}");
                    assert!(map.values().all(|value| value.is_null() || value.as_u64() > Some(0)), "{key}");
                }
            }
        }
        assert!(nulls > 0);
    }

    #[test]
    fn ranks_are_on_the_requested_scale() {
        let thousand = read(&body(&request("site1.com", "")));
        let hundred = read(&body(&request("site1.com", r#","rank_scale":"one_hundred""#)));
        for (on_thousand, on_hundred) in items(&thousand).iter().zip(items(&hundred)) {
            let (on_thousand, on_hundred) = (on_thousand["rank"].as_u64(), on_hundred["rank"].as_u64());
            assert_eq!(on_thousand.map(|rank| (rank + 5) / 10), on_hundred);
            assert!(on_hundred <= Some(100));
        }
    }

    #[test]
    fn a_full_history_is_as_large_as_a_real_one() {
        let sizes: Vec<usize> = (0..400)
            .map(|n| request(&format!("site{n}.com"), ""))
            .map(|request| (AnswerContent::of(&request, TODAY).rows(), body(&request).len()))
            .filter(|(rows, _)| *rows == 95)
            .map(|(_, size)| size)
            .collect();
        let mean = sizes.iter().sum::<usize>() / sizes.len();
        assert!((130_000..145_000).contains(&mean), "{mean} bytes");
        let within = sizes.iter().filter(|size| (115_000..155_000).contains(*size)).count();
        assert!(within * 100 >= sizes.len() * 95, "{within} of {}", sizes.len());
    }

    #[test]
    fn each_form_of_no_data_is_written() {
        let request = request("site1.com", "");
        let check = |nothing: NoData, code: i64, result: &str| {
            let task = EnvelopeFields {
                echo: "",
                extra_tasks: 0,
                cost: Some(Usd::from_micros(24_000)),
                took: Duration::ZERO,
                draws: Random::new("", &[]),
            };
            let answer = read(&envelope(&task, &AnswerContent::NoData(nothing), Some(&request)));
            let task = &answer["tasks"][0];
            assert_eq!((&task["status_code"], &task["cost"]), (&code.into(), &0.024.into()), "{nothing:?}");
            assert_eq!(answer["tasks_error"], i64::from(code >= 40000), "{nothing:?}");
            assert!(task["result"].to_string().ends_with(result), "{nothing:?}: {}", task["result"]);
        };
        check(NoData::NoResult, 20000, "null");
        check(NoData::NoResults, 20000, "[]");
        check(NoData::NullResult, 20000, "[null]");
        check(NoData::NullItems, 20000, r#""items":null,"items_count":0,"target":"site1.com"}]"#);
        check(NoData::NoItems, 20000, r#""items":[],"items_count":0,"target":"site1.com"}]"#);
        check(NoData::Code40102, 40102, "null");
        check(NoData::Code40501, 40501, "null");
    }

    #[test]
    fn each_extra_task_gets_an_error() {
        let many = request::read(br#"[{"target":"site1.com"},{"target":"b.com"},{}]"#, AcceptedForm::Any, TODAY);
        let answer = read(&body(&many.expect("a good call")));
        assert_eq!((&answer["tasks_count"], &answer["tasks_error"]), (&3.into(), &2.into()));
        let codes: Vec<_> =
            answer["tasks"].as_array().expect("a list").iter().map(|task| task["status_code"].as_i64()).collect();
        assert_eq!(codes, [Some(20000), Some(40000), Some(40000)]);
    }

    #[test]
    fn dollars_are_written_as_json_numbers() {
        let check = |micros: i64, expected: &str| assert_eq!(dollars(Usd::from_micros(micros)), expected);
        check(0, "0");
        check(27_420, "0.02742");
        check(1_000_000, "1");
        check(12_340_000, "12.34");
        check(1, "0.000001");
    }
}
