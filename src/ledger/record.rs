//! The ledger's records as lines of JSON.
//!
//! A reader with `DuckDB` or Spark sees one table: the column `record` is the kind of the line. An answer's line ends
//! in its body, verbatim where that is JSON on one line, else as a text. The gzip members that contain the lines are in
//! `members`.

use std::{fmt, io, time::Duration};

use jiff::{Timestamp, Unit, civil::Date};
use serde::{Deserialize, Serialize};

use super::members::BodyMember;
use crate::{
    api::{
        BodyForm, Parameters,
        call_events::{Answered, GaveUp, Sent},
        status::{Assessment, Class, Cost, Stated},
    },
    as_text::named,
    clock::{Moment, SinceBoot},
    money::Usd,
    targets::{Shard, Target},
};

/// The version of the format. A version of this program refuses ledgers with a higher one.
pub(super) const FORMAT: u32 = 2;

/// The parameters of a directory's run, fixed when it is first started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunHeader {
    /// Identifies the run in file names and columns.
    pub run_id: String,
    pub started_at: Timestamp,
    /// The request for every target.
    #[serde(flatten)]
    pub parameters: Parameters,
    /// The version of the program that started it.
    pub version: String,
    /// The shard that it was started for; `None`: all targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
    /// Whether it calls the simulated API of `--sandbox`: no answer is real.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub simulated: bool,
}

/// One line of the ledger, without an answer's body.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub(super) enum Record {
    /// The start of the run; the first record of a ledger.
    Run {
        /// The version of the format that the ledger is written in.
        format: u32,
        #[serde(flatten)]
        run: RunHeader,
    },
    /// The end of a set of input lines, which are in the last `chunks` members before it.
    Inputs(InputsEnd),
    /// A call about to be sent.
    Sent {
        target: Target,
        attempt: u32,
        at: Timestamp,
        #[serde(flatten)]
        since_boot: Option<SinceBoot>,
        form: BodyForm,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reserved_micros_usd: Option<Usd>,
        /// The last day that was requested, if it differs from the run's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        date_to: Option<Date>,
    },
    /// A call that was not sent after all.
    CalledOff { target: Target, attempt: u32, at: Timestamp },
    /// The result of a call.
    Answer(Box<AnswerRecord>),
    /// An answer that an earlier run paid for, copied from its ledger.
    TakenOver(Box<TakenOver>),
    /// A target that was given up in this run.
    GaveUp { target: Target, at: Timestamp, class: Class },
}

/// The record that closes a set of input lines.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct InputsEnd {
    pub(super) chunks: u64,
    pub(super) lines: u64,
    /// The columns other than that of the domain.
    pub(super) columns: Vec<String>,
    pub(super) sha256: String,
}

/// An answer's line without its body.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AnswerRecord {
    pub(super) target: Target,
    pub(super) attempt: u32,
    /// When it was complete.
    pub at: Timestamp,
    #[serde(flatten)]
    pub(super) since_boot: Option<SinceBoot>,
    /// From the first byte sent to the last received.
    pub latency_micros: u64,
    pub class: Class,
    pub http_status: Option<u16>,
    /// The status code inside the body.
    pub api_status_code: Option<i64>,
    /// The message of the API or of the network error.
    pub message: Option<String>,
    /// The API's id of the task.
    pub task_id: Option<String>,
    pub(super) request_id: Option<String>,
    pub(super) items: u64,
    /// Figures that the answer reports about itself.
    #[serde(flatten)]
    pub stated: Stated,
    pub(super) cost_micros_usd: Option<Usd>,
    pub(super) cost_source: Option<CostSource>,
    /// Bytes of the body as it arrived.
    pub(super) body_bytes: u64,
    #[serde(flatten)]
    pub(super) body_member: BodyMember,
    /// The last day that was requested, if it differs from the run's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date_to: Option<Date>,
}

/// An answer copied from another ledger, where it was paid for. It has its own kind of record, so that its cost is not
/// counted twice.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct TakenOver {
    /// The run that paid for it.
    pub(super) from_run_id: String,
    #[serde(rename = "taken_over_at")]
    pub(super) copied_at: Timestamp,
    /// That run's record of it, with the last day that it requested.
    #[serde(flatten)]
    pub(super) answer: AnswerRecord,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CostSource {
    /// Nothing was paid here: an earlier run paid for the answer. Not used in records.
    Previous,
    /// The gateway's debit header.
    Debit,
    /// The body's `cost`.
    Upstream,
    Unknown,
}

named!(CostSource: Previous = "previous", Debit = "debit", Upstream = "upstream", Unknown = "unknown");

impl Record {
    /// The record of a call about to be sent, by both clocks; `date_to` if it differs from the run's.
    pub(super) fn sent(sent: &Sent, since_boot: Option<SinceBoot>, date_to: Option<Date>) -> Self {
        let Sent { target, attempt, at, form, price_limit } = sent.clone();
        Self::Sent { target, attempt, at, since_boot, form, reserved_micros_usd: price_limit, date_to }
    }

    /// The answer in it, whichever run paid for it.
    pub(super) fn answer(&self) -> Option<&AnswerRecord> {
        match self {
            Self::Answer(answer) => Some(answer),
            Self::TakenOver(taken) => Some(&taken.answer),
            _ => None,
        }
    }
}

impl From<&GaveUp> for Record {
    fn from(gave_up: &GaveUp) -> Self {
        let GaveUp { target, at, class } = gave_up.clone();
        Self::GaveUp { target, at, class }
    }
}

impl AnswerRecord {
    /// The line of a call's result whose body is in `member`; `date_to` if it differs from the run's.
    pub(super) fn of(
        answered: &Answered,
        member: BodyMember,
        since_boot: Option<SinceBoot>,
        date_to: Option<Date>,
    ) -> Self {
        let Assessment { class, http_status, api_code, message, task_id, items, cost, stated, json: _ } =
            &answered.assessment;
        let (cost_micros_usd, cost_source) = match *cost {
            Cost::Debit(price) => (Some(price), Some(CostSource::Debit)),
            Cost::Upstream(price) => (Some(price), Some(CostSource::Upstream)),
            Cost::Unknown => (None, Some(CostSource::Unknown)),
            Cost::Nothing => (None, None),
        };
        Self {
            target: answered.target.clone(),
            attempt: answered.attempt,
            at: answered.at,
            since_boot,
            latency_micros: u64::try_from(answered.latency.as_micros()).unwrap_or(u64::MAX),
            class: *class,
            http_status: *http_status,
            api_status_code: *api_code,
            message: message.clone(),
            task_id: task_id.clone(),
            request_id: answered.request_id.clone(),
            items: *items,
            stated: stated.clone(),
            cost_micros_usd,
            cost_source,
            body_bytes: answered.body.as_ref().map_or(0, |body| body.len() as u64),
            body_member: member,
            date_to,
        }
    }

    pub(super) fn sent_at(&self) -> Moment {
        let latency = Duration::from_micros(self.latency_micros);
        let left = self.at.checked_sub(latency).and_then(|moment| moment.round(Unit::Microsecond));
        Moment { wall: left.unwrap_or(self.at), since_boot: self.since_boot.map(|since| since.earlier(latency)) }
    }

    /// Whether it may have been billed without a usable answer.
    pub(super) fn possibly_billed(&self) -> bool {
        let of_no_use = matches!(self.class, Class::MaybeBilled | Class::Rejected);
        self.cost_source == Some(CostSource::Unknown) && (of_no_use || self.body_member.bytes == 0)
    }
}

/// The key of a body, by its form.
const JSON: &str = "body";
const TEXT: &str = "body_text";
const LATIN_1: &str = "body_latin1";

pub(super) fn to_line(record: &Record) -> Vec<u8> {
    let mut line = serde_json::to_vec(record).expect("records always serialize");
    line.push(b'\n');
    line
}

/// A body as written in its answer's line, without a copy: as a string it may take six times as many bytes.
pub(super) struct WrittenBody<'a> {
    /// The key that precedes it.
    pub(super) key: &'static str,
    body: &'a [u8],
}

impl<'a> WrittenBody<'a> {
    /// Finds the form of a body; `json`: it is JSON, in UTF-8.
    pub(super) fn of(body: &'a [u8], json: bool) -> Self {
        let key = if json && is_one_line(body) {
            JSON
        } else if std::str::from_utf8(body).is_ok() {
            TEXT
        } else {
            // One character per byte, so that nothing is lost and a person can still read most of it.
            LATIN_1
        };
        Self { key, body }
    }

    /// Whether it is written unchanged.
    pub(super) fn is_verbatim(&self) -> bool {
        self.key == JSON
    }

    pub(super) fn write(&self, out: &mut dyn io::Write) -> io::Result<()> {
        if self.is_verbatim() {
            return out.write_all(self.body);
        }
        // The serializer writes in small pieces, which compress badly.
        let mut out = io::BufWriter::with_capacity(64 * 1024, out);
        match std::str::from_utf8(self.body) {
            Ok(text) => serde_json::to_writer(&mut out, text)?,
            Err(_) => serde_json::to_writer(&mut out, &Latin1(self.body))?,
        }
        io::Write::flush(&mut out)
    }
}

fn is_one_line(body: &[u8]) -> bool {
    let is_break = |byte: u8| u8::from(byte == b'\n') | u8::from(byte == b'\r');
    // Without an early exit from the inner loop, the compiler processes many bytes at once.
    let breaks = |block: &[u8]| block.iter().fold(0, |found, byte| found | is_break(*byte)) > 0;
    !body.chunks(1024).any(breaks)
}

/// Each byte as the character with the same number.
struct Latin1<'a>(&'a [u8]);

impl fmt::Display for Latin1<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Large enough to make a call worthwhile.
        const AT_ONCE: usize = 4096;
        self.0.chunks(AT_ONCE).try_for_each(|bytes| {
            let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
            f.write_str(&text)
        })
    }
}

impl Serialize for Latin1<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The beginning of an answer's line, up to its body, which follows in its own member.
pub(super) fn answer_head(answer: &Record, key: &str) -> Vec<u8> {
    let mut head = serde_json::to_vec(answer).expect("records always serialize");
    head.pop();
    head.extend_from_slice(format!(",\"{key}\":").as_bytes());
    head
}

/// The key that the beginning of an answer's line ends with; `None`: no body follows.
pub(super) fn body_key(head: &[u8]) -> Option<&'static str> {
    [JSON, TEXT, LATIN_1].into_iter().find(|key| head.ends_with(format!(",\"{key}\":").as_bytes()))
}

/// Reads a member's record: a whole line, or an answer's beginning.
pub(super) fn parse(content: &[u8]) -> Result<Record, serde_json::Error> {
    parse_as(content)
}

/// Whether a member contains a record of any kind, even one that this version does not know.
pub(super) fn is_record(content: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct AnyRecord {
        #[serde(rename = "record")]
        _record: String,
    }
    parse_as::<AnyRecord>(content).is_ok()
}

fn parse_as<T: serde::de::DeserializeOwned>(content: &[u8]) -> Result<T, serde_json::Error> {
    match content.last() {
        Some(b':') => {
            let mut whole = content.to_vec();
            whole.extend_from_slice(b"null}");
            serde_json::from_slice(&whole)
        }
        _ => serde_json::from_slice(content),
    }
}

/// Restores a body from the form in which it was `written`; `head` is the beginning of its line, which ends with its
/// key.
pub(super) fn body(head: &[u8], written: Vec<u8>) -> io::Result<Vec<u8>> {
    let broken = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let key = body_key(head).ok_or_else(|| broken("an answer in an unknown format"))?;
    if key == JSON {
        return Ok(written);
    }
    let text: String = serde_json::from_slice(&written)?;
    drop(written);
    if key == TEXT {
        return Ok(text.into_bytes());
    }
    let bytes: Result<Vec<u8>, _> = text.chars().map(u8::try_from).collect();
    bytes.map_err(|_| broken("a body with a character that is not a byte"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_body_is_read_back_unchanged_and_is_a_line_of_json() {
        let check = |body_: &[u8], json: bool, key: &str| {
            let found = WrittenBody::of(body_, json);
            assert_eq!(found.key, key);
            let mut written = Vec::new();
            found.write(&mut written).expect("room");
            let head = format!("{{\"record\":\"answer\",\"{key}\":");
            let line = [head.as_bytes(), &written, b"}\n"].concat();
            assert_eq!(line.split(|byte| *byte == b'\n').count(), 2);
            assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&line).is_ok());
            assert_eq!(body(head.as_bytes(), written).expect("the body"), body_);
        };
        check(br#"{"a":1}"#, true, JSON);
        check(b"{\"a\":\n1}", true, TEXT);
        check(b"{\"a\":\r1}", true, TEXT);
        check(b"{\"a\":\n1\n}", true, TEXT);
        check(b"{\"a\":\r\n1}", true, TEXT);
        check(br#"{"a":1}"#, false, TEXT);
        check(b"<html>\r\n\"busy\"</html>", false, TEXT);
        check(b"", false, TEXT);
        check(&(0..=255).collect::<Vec<u8>>(), false, LATIN_1);
        check(&(0..=255).cycle().take(10_000).collect::<Vec<u8>>(), false, LATIN_1);
    }

    const MEMBER: BodyMember = BodyMember { bytes: 11, crc32: 8, content_bytes: 2, content_crc32: 7 };

    fn answered(cost: Cost, body: Option<&str>) -> Answered {
        let assessment = Assessment {
            class: Class::Data,
            http_status: Some(200),
            api_code: Some(20000),
            message: Some("Ok.".into()),
            task_id: Some("7-x".into()),
            items: 3,
            json: true,
            cost,
            stated: Stated {
                items_count: Some(5),
                api_version: Some("0.1".into()),
                api_seconds: Some(0.1571),
                mismatch: Some("items_count is 5, but the answer has 3 items".into()),
            },
        };
        Answered {
            target: crate::targets::clean("a.com", crate::targets::Accept::DOMAINS).expect("a domain").target,
            attempt: 2,
            at: "2026-11-24T12:00:00.5Z".parse().expect("a time"),
            latency: Duration::from_millis(1_500),
            assessment,
            request_id: Some("r-1".into()),
            body: body.map(|body| body.to_owned().into()),
        }
    }

    #[test]
    fn a_line_contains_the_result_of_its_call() {
        let check = |cost: Cost, expected: serde_json::Value| {
            let answer = AnswerRecord::of(&answered(cost, Some("{}")), MEMBER, None, None);
            assert_eq!(answer.class, Class::Data);
            let line: serde_json::Value =
                serde_json::from_slice(&to_line(&Record::Answer(Box::new(answer)))).expect("JSON");
            let mut whole = serde_json::json!({
                "record": "answer", "target": "a.com", "attempt": 2, "at": "2026-11-24T12:00:00.5Z",
                "latency_micros": 1_500_000, "class": "data", "http_status": 200, "api_status_code": 20000,
                "message": "Ok.", "task_id": "7-x", "request_id": "r-1", "items": 3, "items_count": 5,
                "api_version": "0.1", "api_seconds": 0.1571,
                "mismatch": "items_count is 5, but the answer has 3 items", "body_bytes": 2, "frame_bytes": 11,
                "frame_crc32": 8, "content_bytes": 2, "content_crc32": 7,
            });
            let members = whole.as_object_mut().expect("an object");
            members.extend(expected.as_object().expect("an object").clone());
            assert_eq!(line, whole);
        };
        let price = Usd::from_micros(24_000);
        check(Cost::Debit(price), serde_json::json!({"cost_micros_usd": 24_000, "cost_source": "debit"}));
        check(Cost::Upstream(price), serde_json::json!({"cost_micros_usd": 24_000, "cost_source": "upstream"}));
        check(Cost::Unknown, serde_json::json!({"cost_micros_usd": null, "cost_source": "unknown"}));
        check(Cost::Nothing, serde_json::json!({"cost_micros_usd": null, "cost_source": null}));
        assert_eq!(AnswerRecord::of(&answered(Cost::Nothing, None), BodyMember::default(), None, None).body_bytes, 0);
    }

    #[test]
    fn a_call_was_sent_its_latency_before_its_answer_by_both_clocks() {
        let since_boot = serde_json::from_str(r#"{"boot":7,"since_boot_micros":9000000}"#).expect("a moment");
        let answer = AnswerRecord::of(&answered(Cost::Nothing, None), BodyMember::default(), Some(since_boot), None);
        let left = answer.sent_at();
        assert_eq!(left.wall, "2026-11-24T11:59:59Z".parse().expect("a time"));
        assert_eq!(left.since_boot, Some(since_boot.earlier(Duration::from_millis(1_500))));
    }

    #[test]
    fn a_useless_answer_at_an_unknown_price_may_have_been_billed() {
        let check = |class: Class, cost: Cost, frame_bytes: u64, expected: bool| {
            let mut answer =
                AnswerRecord::of(&answered(cost, None), BodyMember { bytes: frame_bytes, ..MEMBER }, None, None);
            answer.class = class;
            assert_eq!(answer.possibly_billed(), expected, "{class:?} {cost:?} {frame_bytes}");
        };
        check(Class::MaybeBilled, Cost::Unknown, 0, true);
        check(Class::MaybeBilled, Cost::Unknown, 9, true);
        check(Class::Rejected, Cost::Unknown, 9, true);
        check(Class::Data, Cost::Unknown, 0, true);
        check(Class::Data, Cost::Unknown, 9, false);
        check(Class::WrongTarget, Cost::Unknown, 9, false);
        check(Class::MaybeBilled, Cost::Debit(Usd::from_micros(1)), 0, false);
        check(Class::MaybeBilled, Cost::Nothing, 0, false);
    }

    #[test]
    fn the_beginning_of_an_answer_is_parsed_like_its_whole_line() {
        let record =
            Record::Answer(Box::new(AnswerRecord::of(&answered(Cost::Unknown, Some("{}")), MEMBER, None, None)));
        let whole = to_line(&record);
        assert_eq!(to_line(&parse(&whole).expect("a record")), whole);
        for key in [JSON, TEXT, LATIN_1] {
            let head = answer_head(&record, key);
            assert_eq!(body_key(&head), Some(key));
            assert_eq!(to_line(&parse(&head).expect("a record")), whole);
        }
        assert_eq!(body_key(&whole), None);
    }

    #[test]
    fn an_answer_is_found_whichever_run_paid_for_it() {
        let answer = AnswerRecord::of(&answered(Cost::Unknown, None), BodyMember::default(), None, None);
        let at = answer.at;
        let taken = TakenOver { from_run_id: "r".into(), copied_at: at, answer: answer.clone() };
        let check = |record: Record, expected: bool| {
            assert_eq!(record.answer().map(|answer| answer.items), expected.then_some(3), "{record:?}");
        };
        check(Record::TakenOver(Box::new(taken)), true);
        check(Record::CalledOff { target: answer.target.clone(), attempt: 1, at }, false);
        check(Record::Answer(Box::new(answer)), true);
    }

    #[test]
    fn a_body_in_an_unknown_form_is_an_error() {
        let check = |head: &str, tail: &str, expected: &str| {
            let error = body(head.as_bytes(), tail.as_bytes().to_vec()).expect_err(expected).to_string();
            assert!(error.contains(expected), "{head} {tail}: {error}");
        };
        check(r#"{"a":1,"other":"#, "{}", "an answer in an unknown format");
        check(r#"{"a":1,"body_text":"#, "{}", "invalid type");
        check(r#"{"a":1,"body_latin1":"#, "\"\u{100}\"", "a body with a character that is not a byte");
    }
}
