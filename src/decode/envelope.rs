//! The envelope of an answer: codes, message, cost, ids and counts. Read leniently, since in the API's specification
//! every field is nullable and none is required. Items are only counted here.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{answer, value};
use crate::{money::Usd, targets};

/// What an answer reports about itself. The task is the first one, unless exactly one result in another is about the
/// target.
#[derive(Debug, Default, PartialEq)]
pub struct Envelope {
    /// The code that decides: that of the task, or else the top-level one.
    pub code: Option<i64>,
    /// The top-level code.
    pub top_code: Option<i64>,
    /// The message that belongs to that code, or a gateway's error text.
    pub message: Option<String>,
    /// A gateway's error code (`insufficient_balance`, `quota_exceeded`, …).
    pub gateway_code: Option<String>,
    /// Whether the gateway reports an error.
    pub has_gateway_error: bool,
    /// Whether there is a task at all.
    pub has_task: bool,
    /// The task's id.
    pub task_id: Option<String>,
    /// The total upstream cost of all tasks.
    pub cost: Option<Usd>,
    /// Items that are objects, in all results of the task.
    pub items: u64,
    /// The number of items that these results report.
    pub items_count: Option<i64>,
    /// Elements of the task's list of results.
    pub results: u64,
    /// How many results that task reports.
    pub result_count: Option<i64>,
    /// How many tasks failed according to the API.
    pub tasks_error: Option<i64>,
    pub version: Option<String>,
    /// How long the task took, in seconds.
    pub seconds: Option<f64>,
    /// Whether the whole body is JSON in UTF-8: there are only blanks around the object.
    pub is_json: bool,
    pub about: About,
}

/// Whom an answer is about: according to its results, or else to the echo of the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum About {
    /// It names no target.
    #[default]
    Unnamed,
    /// Each name is that of the target.
    Target,
    /// At least one name is another one.
    Another,
}

impl About {
    /// What a name in an answer for `target`, as its JSON text, means. The API drops a `www.` that normalization keeps
    /// before a suffix, as in `www.gov.uk`.
    pub(super) fn of(named: Option<&str>, target: &str) -> Self {
        match string(named).map(|host| normalized(&host)) {
            None => Self::Unnamed,
            Some(host) if host == target || target.strip_prefix("www.") == Some(&host) => Self::Target,
            Some(_) => Self::Another,
        }
    }
}

impl Envelope {
    /// Reads the body of an answer for `target`; `None` if it has no JSON object, or if a task or a result is neither an
    /// object nor null. Anything that gateways put around the object is ignored; after other text, the object must have
    /// a task. A byte that is not UTF-8 is read as U+FFFD.
    pub fn read(target: &str, body: &[u8]) -> Option<Self> {
        answer::read(target, body, None).ok().flatten()
    }

    fn adopt(&mut self, task: &RawTask<'_>) {
        self.code = integer(task.status_code).or(self.code);
        self.message = string(task.status_message).or(self.message.take());
        self.task_id = string(task.id);
        self.seconds = seconds(task.time);
        self.result_count = integer(task.result_count);
        self.results = task.results.count;
        (self.items, self.items_count) = (task.results.items, task.results.items_count);
        self.about = task.results.about;
    }

    /// How the counts of an answer whose task succeeded differ from its content; `None`: they do not.
    pub fn mismatch(&self) -> Option<String> {
        let compare = |name: &str, stated: Option<i64>, found: u64, noun: &str| {
            let stated = stated.filter(|stated| u64::try_from(*stated) != Ok(found))?;
            let plural = if found == 1 { "" } else { "s" };
            Some(format!("{name} is {stated}, but the answer has {found} {noun}{plural}"))
        };
        let errors = self.tasks_error.filter(|errors| *errors > 0);
        let mismatches = [
            compare("items_count", self.items_count, self.items, "item"),
            compare("result_count", self.result_count, self.results, "result"),
            errors.map(|errors| format!("tasks_error is {errors}, but the task succeeded")),
        ];
        let mismatches: Vec<String> = mismatches.into_iter().flatten().collect();
        (!mismatches.is_empty()).then(|| mismatches.join("; "))
    }
}

impl From<RawTop<'_>> for Envelope {
    fn from(top: RawTop<'_>) -> Self {
        let RawTasks { first, cost } = top.tasks;
        let top_code = integer(top.status_code);
        let mut envelope = Self {
            has_task: first.is_some(),
            code: top_code,
            top_code,
            message: string(top.status_message),
            cost: cost.or(money(top.cost)),
            tasks_error: integer(top.tasks_error),
            version: string(top.version),
            ..Self::default()
        };
        if let Some(task) = first {
            envelope.adopt(&task);
        }
        if let Some(error) = top.error {
            let (code, message) = gateway_error(error);
            envelope.has_gateway_error = true;
            envelope.gateway_code = string(top.code).or(code);
            envelope.message = envelope.message.or(message);
        }
        envelope
    }
}

/// Converts a host from an answer to the form of targets.
fn normalized(host: &str) -> String {
    targets::clean(host, targets::Accept::ALL)
        .map_or_else(|_| host.to_lowercase(), |cleaned| cleaned.target.to_string())
}

/// The fields that are read from an answer, each as its JSON text; null counts as missing.
#[derive(Default)]
pub(super) struct RawTop<'a> {
    pub(super) version: Option<&'a str>,
    pub(super) status_code: Option<&'a str>,
    pub(super) status_message: Option<&'a str>,
    pub(super) cost: Option<&'a str>,
    pub(super) tasks_error: Option<&'a str>,
    pub(super) tasks: RawTasks<'a>,
    pub(super) error: Option<&'a str>,
    pub(super) code: Option<&'a str>,
}

#[derive(Default)]
pub(super) struct RawTasks<'a> {
    pub(super) first: Option<RawTask<'a>>,
    /// The total cost of all tasks; `None`: unknown.
    pub(super) cost: Option<Usd>,
}

#[derive(Default)]
pub(super) struct RawTask<'a> {
    pub(super) id: Option<&'a str>,
    pub(super) status_code: Option<&'a str>,
    pub(super) status_message: Option<&'a str>,
    pub(super) time: Option<&'a str>,
    pub(super) cost: Option<&'a str>,
    pub(super) result_count: Option<&'a str>,
    pub(super) results: RawResults,
}

/// The results of a task, combined.
#[derive(Default)]
pub(super) struct RawResults {
    /// Elements of the list, including nulls.
    pub(super) count: u64,
    pub(super) about: About,
    pub(super) items: u64,
    pub(super) items_count: Option<i64>,
}

fn raw(value: Option<&RawValue>) -> Option<&str> {
    value.map(RawValue::get)
}

/// An integer, which may be written as a string, or as `20000.0` as in items.
pub(super) fn integer(text: Option<&str>) -> Option<i64> {
    let text = text?;
    match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(written) => value::integer_in_text(written),
        None if matches!(value::type_name(text.as_bytes().first().copied()?), "number") => value::integer(text).ok(),
        None => None,
    }
}

fn string(text: Option<&str>) -> Option<String> {
    serde_json::from_str(text?).ok()
}

/// `0.1571 sec.` as a number; `None` for anything else.
fn seconds(text: Option<&str>) -> Option<f64> {
    let written = string(text)?;
    let number = written.strip_suffix("sec.")?.trim_end();
    let is_decimal = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    number.parse().ok().filter(|seconds: &f64| is_decimal && seconds.is_finite())
}

/// Dollars, which may be written as a string.
pub(super) fn money(text: Option<&str>) -> Option<Usd> {
    let text = text?;
    let number = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    serde_json::from_str(number).ok().and_then(Usd::from_dollars)
}

/// The code and text of a gateway's `error`, which is a string or an object.
fn gateway_error(text: &str) -> (Option<String>, Option<String>) {
    #[derive(Deserialize)]
    struct ErrorObject<'a> {
        #[serde(borrow, default)]
        code: Option<&'a RawValue>,
        #[serde(borrow, default)]
        message: Option<&'a RawValue>,
    }
    match serde_json::from_str::<ErrorObject<'_>>(text) {
        Ok(error) => (string(raw(error.code)), string(raw(error.message))),
        Err(_) => (None, string(Some(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::lenient, *};

    #[test]
    fn the_first_task_decides_and_costs_add_up() {
        let envelope = Envelope::read(
            "a.com",
            br#"{"status_code":20000,"cost":9,"tasks":[{"id":"x","status_code":40501,"status_message":"Invalid Field.","cost":0.01},{"cost":0.02}]}"#,
        )
        .expect("an object");
        assert_eq!(envelope.code, Some(40501));
        assert_eq!(envelope.message.as_deref(), Some("Invalid Field."));
        assert_eq!(envelope.cost, Some(Usd::from_micros(30_000)));
        assert_eq!(envelope.task_id.as_deref(), Some("x"));
    }

    #[test]
    fn missing_null_and_odd_fields_are_accepted() {
        let check = |body: &str, has_task: bool, items: u64| {
            let envelope = Envelope::read("a.com", body.as_bytes()).unwrap_or_else(|| panic!("{body}"));
            assert_eq!((envelope.has_task, envelope.items), (has_task, items), "{body}");
        };
        check("{}", false, 0);
        check(r#"{"tasks":null}"#, false, 0);
        check(r#"{"tasks":{}}"#, false, 0);
        check(r#"{"tasks":[null]}"#, false, 0);
        check(r#"{"tasks":[{}]}"#, true, 0);
        check(r#"{"tasks":[{"status_code":"20000","cost":"x","id":7,"result":null}]}"#, true, 0);
        check(r#"{"tasks":[{"result":[]}]}"#, true, 0);
        check(r#"{"tasks":[{"result":[null]}]}"#, true, 0);
        check(r#"{"tasks":[{"result":[{"items":null}]}]}"#, true, 0);
        check(r#"{"tasks":[{"result":[{"items":{"a":[1]}}]}]}"#, true, 0);
        check(r#"{"tasks":[{"result":[{"items":[null,3]}]}]}"#, true, 0);
        check(r#"{"tasks":[{"result":[{"items":[{},{}]},{"items":[{},null]}]}]}"#, true, 3);
    }

    #[test]
    fn a_body_without_a_json_object_has_no_envelope() {
        for body in
            ["", "<html>", "null", "{\"tasks\":[", "\u{feff}", "x {}", "[{}]", "x {} {\"tasks\":[{}]}", "{\"a\tb\":1}"]
        {
            assert_eq!(Envelope::read("a.com", body.as_bytes()), None, "{body}");
        }
    }

    /// The same, from a tree of the answer's values.
    fn by_tree(body: &[u8]) -> Option<(Option<i64>, Option<String>, bool, u64)> {
        // Anything before and after the first object is ignored, if it has a task or only white space before it.
        let start = body.iter().position(|byte| *byte == b'{')?;
        let (before, body) = body.split_at(start);
        let mut values = serde_json::Deserializer::from_slice(body).into_iter::<serde_json::Value>();
        let tree = values.next()?.ok()?;
        let top = tree.as_object()?;
        let list =
            |value: Option<&serde_json::Value>| value.and_then(|value| value.as_array().cloned()).unwrap_or_default();
        let mut tasks = list(top.get("tasks")).into_iter().filter(|task| !task.is_null()).collect::<Vec<_>>();
        let results = tasks.first().map(|task| list(task.get("result"))).unwrap_or_default();
        let other = |value: &serde_json::Value| !value.is_object() && !value.is_null();
        let odd = tasks.iter().any(|task| other(task) || list(task.get("result")).iter().any(other));
        let items = results
            .iter()
            .map(|result| list(result.get("items")).iter().filter(|item| item.is_object()).count() as u64)
            .sum();
        tasks.truncate(1);
        if !before.trim_ascii().is_empty() && !tasks.first()?.is_object() {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, reason = "codes of five digits")]
        let integer = |code: &serde_json::Value| {
            code.as_i64().or_else(|| code.as_f64().filter(|code| code.fract() == 0.0).map(|code| code as i64))
        };
        let code = tasks.first().and_then(|task| integer(task.get("status_code")?));
        let id = tasks.first().and_then(|task| Some(task.get("id")?.as_str()?.to_owned()));
        (!odd).then_some((code.or_else(|| integer(top.get("status_code")?)), id, !tasks.is_empty(), items))
    }

    #[test]
    fn any_changed_or_truncated_body_is_read_like_a_tree_of_its_values() {
        const BODY: &str = r#" {"status_code":20000,"tasks":[null,{"id":"a\u0062","cost":0.5,"status_code":20000,"data":{"target":"a.com"},
            "result":[{"target":"a.com","items":[{"rank":-1.5e3,"info":{"ip":null}},{"t\u0061g":[true,{}]},null]}]}]}"#;
        let check = |body: &[u8]| {
            let read = Envelope::read("a.com", body).map(|read| (read.code, read.task_id, read.has_task, read.items));
            let expected = by_tree(body).or_else(|| by_tree(&lenient::repaired(body, 0)?));
            assert_eq!(read, expected, "{}", String::from_utf8_lossy(body));
        };
        for at in 0..BODY.len() {
            check(&BODY.as_bytes()[..at]);
            for byte in 0..0x80 {
                let mut body = BODY.as_bytes().to_vec();
                body[at] = byte;
                check(&body);
            }
        }
    }

    #[test]
    fn a_key_may_have_escapes_or_invalid_unicode_or_be_repeated() {
        let check = |body: &str, code: Option<i64>, items: u64| {
            let envelope = Envelope::read("a.com", body.as_bytes()).unwrap_or_else(|| panic!("{body}"));
            assert_eq!((envelope.code, envelope.items), (code, items), "{body}");
        };
        check(r#"{"st\u0061tus_code":1}"#, Some(1), 0);
        check(r#"{"status_code":1,"status_code":2}"#, Some(2), 0);
        check(r#"{"status_code":1,"\ud800":2}"#, Some(1), 0);
        check(r#"{"tasks":[{"result":[{"items":[{},{}],"items":[{}]}]}],"x":"\ud800"}"#, None, 1);
    }

    #[test]
    fn an_answer_is_about_the_target_if_every_name_in_it_is() {
        let check = |body: &str, about: About| {
            assert_eq!(Envelope::read("a.com", body.as_bytes()).expect("an object").about, about, "{body}");
        };
        let ours = r#"{"tasks":[{"data":{"target":"b.com"},"result":[{"target":"WWW.A.com.","items":[]}]}]}"#;
        check(ours, About::Target);
        check(r#"{"tasks":[{"data":{"target":"https:\/\/a.com\/x"},"result":null}]}"#, About::Target);
        check(r#"{"tasks":[{"data":{"target":"b.com","target":"a.com"}}]}"#, About::Target);
        check(r#"{"tasks":[{"data":{"target":"b.com"},"result":null}]}"#, About::Another);
        check(r#"{"tasks":[{"result":[{"target":"a.com"},{"target":"a.com"},{"target":"b.com"}]}]}"#, About::Another);
        check(r#"{"tasks":[{"data":"a.com","result":[{"target":null}]}]}"#, About::Unnamed);
    }

    #[test]
    fn the_stated_counts_are_compared_with_the_content() {
        let check = |top: &str, task: &str, result: &str, expected: Option<&str>| {
            let body = format!(r#"{{{top}"tasks":[{{{task}"result":{result}}},{{}}]}}"#);
            let envelope = Envelope::read("a.com", body.as_bytes()).unwrap_or_else(|| panic!("{body}"));
            assert_eq!(envelope.mismatch().as_deref(), expected, "{body}");
        };
        let one = r#"[{"items_count":1,"items":[{}]}]"#;
        check(r#""tasks_error":0,"#, r#""result_count":1,"#, one, None);
        check("", "", one, None);
        check("", "", r#"[{"items":[{}]}]"#, None);
        check("", r#""result_count":1,"#, "[null]", None);
        check("", r#""result_count":0,"#, "null", None);
        check("", "", r#"[{"items_count":null,"items":[{}]}]"#, None);
        check("", "", r#"[{"items_count":"many","items":[{}]}]"#, None);
        let null = "items_count is 2, but the answer has 1 item";
        check("", "", r#"[{"items_count":2,"items":[{},null]}]"#, Some(null));
        let items = "items_count is 95, but the answer has 1 item";
        check("", "", r#"[{"items_count":95,"items":[{}]}]"#, Some(items));
        check("", "", r#"[{"items_count":95,"items":null}]"#, Some("items_count is 95, but the answer has 0 items"));
        check("", "", r#"[{"items_count":-1,"items":[]}]"#, Some("items_count is -1, but the answer has 0 items"));
        check("", "", r#"[{"items_count":1,"items":[{}]},{"items_count":1,"items":[{}]}]"#, None);
        check("", r#""result_count":2,"#, one, Some("result_count is 2, but the answer has 1 result"));
        check(r#""tasks_error":1,"#, "", one, Some("tasks_error is 1, but the task succeeded"));
        let all = "items_count is 2, but the answer has 1 item; result_count is 0, but the answer has 1 result; \
                   tasks_error is 3, but the task succeeded";
        let two = r#"[{"items_count":2,"items":[{}]}]"#;
        check(r#""tasks_error":3,"#, r#""result_count":0,"#, two, Some(all));
    }

    #[test]
    fn the_execution_time_is_a_number_of_seconds_or_none() {
        let check = |time: &str, expected: Option<f64>| {
            let body = format!(r#"{{"time":"9 sec.","tasks":[{{"time":{time}}}]}}"#);
            assert_eq!(Envelope::read("a.com", body.as_bytes()).expect("an object").seconds, expected, "{time}");
        };
        check(r#""0.1571 sec.""#, Some(0.1571));
        check(r#""0 sec.""#, Some(0.0));
        check(r#""12sec.""#, Some(12.0));
        let beyond = format!("\"{} sec.\"", "9".repeat(400));
        for odd in
            ["null", "0.1571", r#""0.1571""#, r#""fast""#, r#""-1 sec.""#, r#""1e3 sec.""#, r#"" sec.""#, &beyond]
        {
            check(odd, None);
        }
    }

    #[test]
    fn the_three_shapes_of_gateway_errors_are_understood() {
        let check = |body: &str, code: Option<&str>, message: &str| {
            let envelope = Envelope::read("a.com", body.as_bytes()).expect("an object");
            assert_eq!(envelope.gateway_code.as_deref(), code, "{body}");
            assert_eq!(envelope.message.as_deref(), Some(message), "{body}");
        };
        check(r#"{"error":"provider request failed"}"#, None, "provider request failed");
        check(
            r#"{"code":"invalid_api_key","error":"the key is invalid","request_id":"r"}"#,
            Some("invalid_api_key"),
            "the key is invalid",
        );
        check(
            r#"{"error":{"code":"estimated_price_exceeds_max_price","message":"too expensive","retryable":false}}"#,
            Some("estimated_price_exceeds_max_price"),
            "too expensive",
        );
    }
}
