//! The wire format: a call's fields to a body, an answer's envelope to what can be judged.
//!
//! The envelope is read leniently (every field of the API's spec is nullable, none required) and
//! the items are only counted here: turning them into rows is `flatten`'s work.

use std::fmt;

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{BodyForm, Parameters};
use crate::{money::Usd, targets};

/// The body of one call.
pub fn body(target: &str, parameters: &Parameters, form: BodyForm) -> Bytes {
    #[derive(Serialize)]
    struct Fields<'a> {
        target: &'a str,
        date_from: String,
        date_to: String,
        rank_scale: &'static str,
        tag: &'a str,
    }
    let fields = Fields {
        target,
        date_from: parameters.date_from.to_string(),
        date_to: parameters.date_to.to_string(),
        rank_scale: parameters.rank_scale.as_str(),
        tag: &parameters.tag,
    };
    let written = match form {
        BodyForm::Array => serde_json::to_vec(&[fields]),
        BodyForm::Object => serde_json::to_vec(&fields),
    };
    written.expect("strings always serialise").into()
}

/// What an answer says about itself.
#[derive(Debug, Default, PartialEq)]
pub struct Envelope {
    /// The code that decides: the first task's, else the top level's.
    pub code: Option<i64>,
    /// The message beside that code, or a gateway's error text.
    pub message: Option<String>,
    /// A gateway's word for its error (`insufficient_balance`, `quota_exceeded`, …).
    pub gateway_code: Option<String>,
    /// Whether there is a first task at all.
    pub has_task: bool,
    /// The first task's id.
    pub task_id: Option<String>,
    /// What the tasks cost upstream, all together.
    pub cost: Option<Usd>,
    /// Items under all results of the first task.
    pub items: u64,
    /// The hosts that the answer says it is about, normalised: each result's, else the request's echo.
    pub about: Vec<String>,
}

impl Envelope {
    /// Reads a body; `None` when it is no JSON object at all. A byte that is no UTF-8 stands for U+FFFD.
    pub fn read(body: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(body);
        // Checks it all first: a key that is read as bytes may hold what JSON forbids.
        let whole: &RawValue = serde_json::from_str(&text).ok()?;
        let top: Top<'_> = serde_json::from_str(whole.get()).ok()?;
        let mut tasks = top.tasks.0.into_iter().flatten();
        let first = tasks.next();
        let mut envelope = Self {
            has_task: first.is_some(),
            code: integer(top.status_code),
            message: string(top.status_message),
            cost: money(top.cost),
            ..Self::default()
        };
        if let Some(task) = first {
            let billed: Vec<Usd> =
                std::iter::once(money(task.cost)).chain(tasks.map(|other| money(other.cost))).flatten().collect();
            if !billed.is_empty() {
                envelope.cost = Some(billed.into_iter().fold(Usd::ZERO, Usd::plus));
            }
            envelope.adopt(task);
        }
        if let Some(error) = top.error {
            let (code, message) = gateway_error(error);
            envelope.gateway_code = string(top.code).or(code);
            envelope.message = envelope.message.or(message);
        }
        Some(envelope)
    }

    fn adopt(&mut self, task: Task<'_>) {
        self.code = integer(task.status_code).or(self.code);
        self.message = string(task.status_message).or(self.message.take());
        self.task_id = string(task.id);
        let results: Vec<ResultHead<'_>> = task.result.0.into_iter().flatten().collect();
        self.items = results.iter().map(|result| result.items.0).sum();
        self.about = results.iter().filter_map(|result| string(result.target)).map(|host| normalised(&host)).collect();
        if self.about.is_empty() {
            let echoed = task.data.and_then(|data| serde_json::from_str::<Echo<'_>>(data.get()).ok());
            self.about.extend(echoed.and_then(|echo| string(echo.target)).map(|host| normalised(&host)));
        }
    }
}

/// A host as the API may write it back, brought to the form in which targets are kept.
fn normalised(host: &str) -> String {
    targets::clean(host, true).map_or_else(|_| host.to_lowercase(), |cleaned| cleaned.target.to_string())
}

/// An object of which some fields are wanted.
trait Fields<'de>: Default {
    /// Takes the value of a key, or leaves it (`false`) to be skipped.
    fn take<A: MapAccess<'de>>(&mut self, key: &[u8], map: &mut A) -> Result<bool, A::Error>;
}

/// Reads an object whatever its keys are: one that comes twice counts with its last value, one that is no Unicode is
/// another's. The derived way would give the whole answer up for either.
fn fields<'de, F: Fields<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<F, D::Error> {
    struct Gather<F>(F);
    impl<'de, F: Fields<'de>> Visitor<'de> for Gather<F> {
        type Value = F;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<F, A::Error> {
            while let Some(Key(key)) = map.next_key()? {
                if !self.0.take(&key, &mut map)? {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(self.0)
        }
    }
    deserializer.deserialize_map(Gather(F::default()))
}

/// A key as it stands there; half a surrogate pair is no error.
struct Key(Vec<u8>);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Letters;
        impl Visitor<'_> for Letters {
            type Value = Key;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Key, E> {
                Ok(Key(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Letters)
    }
}

#[derive(Default)]
struct Top<'a> {
    status_code: Option<&'a RawValue>,
    status_message: Option<&'a RawValue>,
    cost: Option<&'a RawValue>,
    tasks: Lenient<Option<Task<'a>>>,
    error: Option<&'a RawValue>,
    code: Option<&'a RawValue>,
}

impl<'de> Fields<'de> for Top<'de> {
    fn take<A: MapAccess<'de>>(&mut self, key: &[u8], map: &mut A) -> Result<bool, A::Error> {
        match key {
            b"status_code" => self.status_code = map.next_value()?,
            b"status_message" => self.status_message = map.next_value()?,
            b"cost" => self.cost = map.next_value()?,
            b"tasks" => self.tasks = map.next_value()?,
            b"error" => self.error = map.next_value()?,
            b"code" => self.code = map.next_value()?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl<'de> Deserialize<'de> for Top<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        fields(deserializer)
    }
}

#[derive(Default)]
struct Task<'a> {
    id: Option<&'a RawValue>,
    status_code: Option<&'a RawValue>,
    status_message: Option<&'a RawValue>,
    cost: Option<&'a RawValue>,
    data: Option<&'a RawValue>,
    result: Lenient<Option<ResultHead<'a>>>,
}

impl<'de> Fields<'de> for Task<'de> {
    fn take<A: MapAccess<'de>>(&mut self, key: &[u8], map: &mut A) -> Result<bool, A::Error> {
        match key {
            b"id" => self.id = map.next_value()?,
            b"status_code" => self.status_code = map.next_value()?,
            b"status_message" => self.status_message = map.next_value()?,
            b"cost" => self.cost = map.next_value()?,
            b"data" => self.data = map.next_value()?,
            b"result" => self.result = map.next_value()?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl<'de> Deserialize<'de> for Task<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        fields(deserializer)
    }
}

#[derive(Default)]
struct ResultHead<'a> {
    target: Option<&'a RawValue>,
    items: Count,
}

impl<'de> Fields<'de> for ResultHead<'de> {
    fn take<A: MapAccess<'de>>(&mut self, key: &[u8], map: &mut A) -> Result<bool, A::Error> {
        match key {
            b"target" => self.target = map.next_value()?,
            b"items" => self.items = map.next_value()?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl<'de> Deserialize<'de> for ResultHead<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        fields(deserializer)
    }
}

#[derive(Deserialize)]
struct Echo<'a> {
    #[serde(borrow, default)]
    target: Option<&'a RawValue>,
}

/// A list where the API may write null, or anything else, in its place: that counts as empty.
struct Lenient<T>(Vec<T>);

impl<T> Default for Lenient<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Lenient<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<T>(Vec<T>);
        impl<'de, T: Deserialize<'de>> Elements<'de> for List<T> {
            fn take<A: SeqAccess<'de>>(&mut self, mut seq: A) -> Result<(), A::Error> {
                while let Some(element) = seq.next_element()? {
                    self.0.push(element);
                }
                Ok(())
            }
        }
        deserializer.deserialize_any(AnyOr(List(Vec::new()))).map(|list| Self(list.0))
    }
}

/// The length of a list whose elements are skipped; 0 for anything else.
#[derive(Default)]
struct Count(u64);

impl<'de> Elements<'de> for Count {
    fn take<A: SeqAccess<'de>>(&mut self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {
            self.0 += 1;
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyOr(Self(0)))
    }
}

/// What is done with the elements of a list, if there is a list.
trait Elements<'de> {
    fn take<A: SeqAccess<'de>>(&mut self, seq: A) -> Result<(), A::Error>;
}

/// Visits any JSON value, and acts on a list alone.
struct AnyOr<E>(E);

impl<'de, E: Elements<'de>> Visitor<'de> for AnyOr<E> {
    type Value = E;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_seq<A: SeqAccess<'de>>(mut self, seq: A) -> Result<E, A::Error> {
        self.0.take(seq)?;
        Ok(self.0)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<E, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(self.0)
    }
    fn visit_bool<Err>(self, _: bool) -> Result<E, Err> {
        Ok(self.0)
    }
    fn visit_i64<Err>(self, _: i64) -> Result<E, Err> {
        Ok(self.0)
    }
    fn visit_u64<Err>(self, _: u64) -> Result<E, Err> {
        Ok(self.0)
    }
    fn visit_f64<Err>(self, _: f64) -> Result<E, Err> {
        Ok(self.0)
    }
    fn visit_str<Err>(self, _: &str) -> Result<E, Err> {
        Ok(self.0)
    }
    fn visit_unit<Err>(self) -> Result<E, Err> {
        Ok(self.0)
    }
}

fn integer(raw: Option<&RawValue>) -> Option<i64> {
    serde_json::from_str(raw?.get()).ok()
}

fn string(raw: Option<&RawValue>) -> Option<String> {
    serde_json::from_str(raw?.get()).ok()
}

fn money(raw: Option<&RawValue>) -> Option<Usd> {
    serde_json::from_str(raw?.get()).ok().and_then(Usd::from_dollars)
}

/// The code and text of a gateway's `error`, which is a text or an object of its own.
fn gateway_error(raw: &RawValue) -> (Option<String>, Option<String>) {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow, default)]
        code: Option<&'a RawValue>,
        #[serde(borrow, default)]
        message: Option<&'a RawValue>,
    }
    match serde_json::from_str::<Body<'_>>(raw.get()) {
        Ok(body) => (string(body.code), string(body.message)),
        Err(_) => (None, string(Some(raw))),
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::api::RankScale;

    #[test]
    fn a_call_carries_all_five_fields_in_either_form() {
        let parameters = Parameters {
            date_from: date(2019, 1, 1),
            date_to: date(2026, 11, 24),
            rank_scale: RankScale::OneHundred,
            tag: "q\"1".into(),
        };
        let object = r#"{"target":"a.com","date_from":"2019-01-01","date_to":"2026-11-24","rank_scale":"one_hundred","tag":"q\"1"}"#;
        assert_eq!(body("a.com", &parameters, BodyForm::Object), object);
        assert_eq!(body("a.com", &parameters, BodyForm::Array), format!("[{object}]"));
    }

    #[test]
    fn the_first_task_decides_and_costs_add_up() {
        let envelope = Envelope::read(
            br#"{"status_code":20000,"cost":9,"tasks":[{"id":"x","status_code":40501,"status_message":"Invalid Field.","cost":0.01},{"cost":0.02}]}"#,
        )
        .expect("an object");
        assert_eq!(envelope.code, Some(40501));
        assert_eq!(envelope.message.as_deref(), Some("Invalid Field."));
        assert_eq!(envelope.cost, Some(Usd::from_micros(30_000)));
        assert_eq!(envelope.task_id.as_deref(), Some("x"));
    }

    #[test]
    fn missing_null_and_odd_fields_are_no_error() {
        let check = |body: &str, has_task: bool, items: u64| {
            let envelope = Envelope::read(body.as_bytes()).unwrap_or_else(|| panic!("{body}"));
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
        check(r#"{"tasks":[{"result":[{"items":[{},{}]},{"items":[{}]}]}]}"#, true, 3);
    }

    #[test]
    fn what_is_no_json_object_is_no_envelope() {
        for body in ["", "<html>", "null", "{\"tasks\":[", "\u{feff}{}", "{\"a\tb\":1}"] {
            assert_eq!(Envelope::read(body.as_bytes()), None, "{body}");
        }
    }

    #[test]
    fn an_answer_says_whom_it_is_about() {
        let check = |body: &str, about: &[&str]| {
            assert_eq!(Envelope::read(body.as_bytes()).expect("an object").about, about, "{body}");
        };
        check(r#"{"tasks":[{"data":{"target":"b.com"},"result":[{"target":"WWW.A.com.","items":[]}]}]}"#, &["a.com"]);
        check(r#"{"tasks":[{"data":{"target":"https:\/\/b.com\/x"},"result":null}]}"#, &["b.com"]);
        check(r#"{"tasks":[{"result":[{"target":"a.com"},{"target":"b.com"}]}]}"#, &["a.com", "b.com"]);
        check(r#"{"tasks":[{"result":[{"target":null}]}]}"#, &[]);
    }

    #[test]
    fn the_three_shapes_of_gateway_errors_are_understood() {
        let check = |body: &str, code: Option<&str>, message: &str| {
            let envelope = Envelope::read(body.as_bytes()).expect("an object");
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
            r#"{"error":{"code":"estimated_price_exceeds_max_price","message":"too dear","retryable":false}}"#,
            Some("estimated_price_exceeds_max_price"),
            "too dear",
        );
    }
}
