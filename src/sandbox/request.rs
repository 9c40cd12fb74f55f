//! Parses and checks a request's body as strictly as the real API.
//!
//! The gateway refuses bodies of the wrong form (HTTP 400); the API behind it refuses fields (a status code inside the
//! body). A target with a scheme, `www.` or capitals is an error here, as it is there.

use jiff::civil::{Date, date};
use serde_json::{Map, Value};

use super::settings::AcceptedForm;

pub(super) const MAX_BODY_BYTES: usize = 1024 * 1024;
/// Tasks in one call; all after the first are answered with an error.
const MAX_TASKS: usize = 100;
const EARLIEST: Date = date(2019, 1, 1);
/// In characters, as the next two.
const MAX_TAG_LENGTH: usize = 255;
const MAX_TARGET_LENGTH: usize = 253;
const MAX_LABEL_LENGTH: usize = 63;
/// The fields of a task, in the order of the echo.
const FIELDS: [&str; 5] = ["target", "date_from", "date_to", "rank_scale", "tag"];

#[derive(Clone, Debug, PartialEq)]
pub(super) struct HistoryRequest {
    pub(super) target: String,
    pub(super) date_from: Date,
    pub(super) date_to: Date,
    pub(super) one_hundred: bool,
    /// The given fields, for the answer's `data`.
    pub(super) echo: String,
    /// Tasks after the first.
    pub(super) extra_tasks: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Refusal {
    /// HTTP 400.
    Contract,
    /// A status code inside the body.
    Task { code: i64, message: String, echo: String, extra_tasks: usize },
}

pub(super) fn read(body: &[u8], form: AcceptedForm, today: Date) -> Result<HistoryRequest, Refusal> {
    let body: Value = serde_json::from_slice(body).map_err(|_| Refusal::Contract)?;
    let (fields, extra_tasks) = match body {
        Value::Object(fields) if form != AcceptedForm::Array => (fields, 0),
        Value::Array(tasks) if form != AcceptedForm::Object && tasks.len() <= MAX_TASKS => {
            let extra_tasks = tasks.len().saturating_sub(1);
            match tasks.into_iter().next() {
                Some(Value::Object(fields)) => (fields, extra_tasks),
                _ => return Err(Refusal::Contract),
            }
        }
        _ => return Err(Refusal::Contract),
    };
    check(&fields, today)
        .map(|request| HistoryRequest { extra_tasks, ..request })
        .map_err(|(code, message)| Refusal::Task { code, message, echo: echo(&fields), extra_tasks })
}

fn check(fields: &Map<String, Value>, today: Date) -> Result<HistoryRequest, (i64, String)> {
    if let Some(unknown) = fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        return Err((40506, format!("Unknown Fields in POST Data: '{unknown}'.")));
    }
    let text = |name: &str| match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(invalid(name)),
    };
    let target = text("target")?.filter(|target| is_target(target)).ok_or_else(|| invalid("target"))?;
    let day = |name: &str, default: Date| match text(name)? {
        None => Ok(default),
        Some(text) => day(text).filter(|day| *day >= EARLIEST).ok_or_else(|| invalid(name)),
    };
    let date_from = day("date_from", EARLIEST)?;
    let date_to = day("date_to", today)?;
    if date_from > date_to {
        return Err(invalid("date_from"));
    }
    let one_hundred = match text("rank_scale")? {
        None | Some("one_thousand") => false,
        Some("one_hundred") => true,
        Some(_) => return Err(invalid("rank_scale")),
    };
    if text("tag")?.is_some_and(|tag| tag.chars().count() > MAX_TAG_LENGTH) {
        return Err(invalid("tag"));
    }
    Ok(HistoryRequest {
        target: target.to_owned(),
        date_from,
        date_to,
        one_hundred,
        echo: echo(fields),
        extra_tasks: 0,
    })
}

fn invalid(field: &str) -> (i64, String) {
    (40501, format!("Invalid Field: '{field}'."))
}

/// A day in the documented form.
fn day(text: &str) -> Option<Date> {
    let day: Date = text.parse().ok()?;
    (day.to_string() == text).then_some(day)
}

/// Whether this is the name of a site, in the form that the API expects.
fn is_target(name: &str) -> bool {
    let label = |label: &str| {
        (1..=MAX_LABEL_LENGTH).contains(&label.len())
            && label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= MAX_TARGET_LENGTH
        && name.split('.').all(label)
        && (is_registered(name) || is_suffix(name))
        && !name.strip_prefix("www.").is_some_and(is_registered)
}

/// Whether a name is below a public suffix, or is a private suffix such as `github.io`, which is a site of its own.
fn is_registered(name: &str) -> bool {
    let suffix = psl::suffix(name.as_bytes()).filter(psl::Suffix::is_known);
    suffix.is_some_and(|suffix| {
        psl::domain(name.as_bytes()).is_some() || (suffix.typ() == Some(psl::Type::Private) && name.contains('.'))
    })
}

/// Whether a name is a public suffix. Some of them are sites (`gov.uk`).
fn is_suffix(name: &str) -> bool {
    name.contains('.') && psl::suffix(name.as_bytes()).is_some_and(|suffix| suffix.is_known() && suffix == name)
}

/// The known fields as JSON members, each after a comma.
fn echo(fields: &Map<String, Value>) -> String {
    let given = FIELDS.iter().filter_map(|name| fields.get(*name).map(|value| (name, value)));
    given.fold(String::new(), |echo, (name, value)| format!("{echo},\"{name}\":{value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TODAY: Date = date(2026, 11, 24);

    fn code(body: &str) -> Result<HistoryRequest, i64> {
        read(body.as_bytes(), AcceptedForm::Any, TODAY).map_err(|refusal| match refusal {
            Refusal::Contract => 400,
            Refusal::Task { code, .. } => code,
        })
    }

    #[test]
    fn both_forms_are_equal_and_missing_fields_have_defaults() {
        let request = code(r#"{"target":"a.com"}"#).expect("a good call");
        assert_eq!(code(r#"[{"target":"a.com"}]"#), Ok(request.clone()));
        assert_eq!((request.date_from, request.date_to, request.one_hundred), (EARLIEST, TODAY, false));
        let full = r#"{"tag":"x\"y","target":"a.com","date_from":"2020-01-01","date_to":"2020-12-31","rank_scale":"one_hundred"}"#;
        let request = code(full).expect("a good call");
        assert_eq!(
            (request.date_from, request.date_to, request.one_hundred),
            (date(2020, 1, 1), date(2020, 12, 31), true)
        );
        let echo = r#","target":"a.com","date_from":"2020-01-01","date_to":"2020-12-31","rank_scale":"one_hundred","tag":"x\"y""#;
        assert_eq!(request.echo, echo);
    }

    #[test]
    fn a_body_of_another_form_is_refused() {
        for body in ["", "null", "[]", "[[]]", "[null]", "\"a.com\"", "{\"target\"", "[{\"target\":\"a.com\"}"] {
            assert_eq!(code(body), Err(400), "{body}");
        }
        let of_form = |body: &str, form| read(body.as_bytes(), form, TODAY).is_ok();
        assert!(
            of_form(r#"[{"target":"a.com"}]"#, AcceptedForm::Array)
                && of_form(r#"{"target":"a.com"}"#, AcceptedForm::Object)
        );
        assert_eq!(read(br#"{"target":"a.com"}"#, AcceptedForm::Array, TODAY), Err(Refusal::Contract));
        assert_eq!(read(br#"[{"target":"a.com"}]"#, AcceptedForm::Object, TODAY), Err(Refusal::Contract));
    }

    #[test]
    fn extra_tasks_are_counted() {
        assert_eq!(code(r#"[{"target":"a.com"},{"target":"b.com"},{}]"#).map(|request| request.extra_tasks), Ok(2));
    }

    #[test]
    fn every_field_is_checked() {
        let check = |field: &str, expected: i64| {
            let body = format!(r#"[{{"target":"a.com",{field}}}]"#);
            assert_eq!(code(&body).err(), Some(expected), "{body}");
        };
        check(r#""limit":5"#, 40506);
        check(r#""Target":"a.com""#, 40506);
        check(r#""date_from":"2018-12-31""#, 40501);
        check(r#""date_from":"2020-1-1""#, 40501);
        check(r#""date_from":"2020-02-30""#, 40501);
        check(r#""date_from":"20200101""#, 40501);
        check(r#""date_from":20200101"#, 40501);
        check(r#""date_from":"2021-01-02","date_to":"2021-01-01""#, 40501);
        check(r#""date_to":"2020-01-01T00:00:00""#, 40501);
        check(r#""rank_scale":"one_million""#, 40501);
        check(r#""rank_scale":1000"#, 40501);
        check(&format!(r#""tag":"{}""#, "é".repeat(256)), 40501);
        assert!(code(&format!(r#"{{"target":"a.com","tag":"{}"}}"#, "é".repeat(255))).is_ok());
        assert!(code(r#"{"target":"a.com","tag":null,"date_from":"2021-01-01","date_to":"2021-01-01"}"#).is_ok());
    }

    #[test]
    fn a_target_is_a_registered_name_in_the_form_of_the_api() {
        let check = |target: &str, good: bool| {
            let body = format!(r#"[{{"target":"{target}"}}]"#);
            assert_eq!(code(&body).is_ok(), good, "{target}");
        };
        check("example.com", true);
        check("blog.example.co.uk", true);
        check("xn--bcher-kva.de", true);
        check("blogspot.com", true);
        check("www.com", true);
        check("gov.uk", true);
        check("www.gov.uk", true);
        check("", false);
        check("com", false);
        check("uk", false);
        check("https://example.com", false);
        check("www.example.com", false);
        check("Example.com", false);
        check("example.com.", false);
        check("example.com/path", false);
        check("bücher.de", false);
        check("192.0.2.7", false);
        check("example.nosuchsuffix", false);
        check("a_b.com", false);
        check("-a.com", false);
        check("a..com", false);
        check(&format!("{}.com", "a".repeat(64)), false);
        assert_eq!(code("[{}]"), Err(40501));
        assert_eq!(code(r#"{"target":7}"#), Err(40501));
    }
}
