//! Fetching on paused time: thousands of targets against a scripted API that keeps a bill.

use std::{
    collections::HashMap,
    future::Future,
    num::NonZeroU32,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use backlinks_export::{
    api::{
        Api, ApiError, BodyForm, ErrorKind, Parameters, RankScale, Reply, Request,
        call_events::{Answered, GaveUp, Sent},
        status::{Class, Fatal},
    },
    decode::{DecodeError, DecodedRows},
    fetch::{FetchContext, FetchEnd, FetchLimits, Journal, PriorCalls, StopReason, fetch},
    money::Usd,
    targets::{Accept, Target, clean},
};
use tokio::time::Instant;

use super::{
    market::{clock, limits, most_in_a_minute},
    program::number_of,
};

/// What the scripted API does with one call.
#[derive(Clone, Copy, Debug)]
enum Word {
    /// Answers with one item, billed.
    Answer,
    /// Answers without data, billed.
    Nothing,
    /// Answers about another target, billed.
    WrongTarget,
    /// Refuses with a status, unbilled.
    Reject(u16),
    /// Refuses with a status and an HTML page that is not the API's, unbilled.
    Page(u16),
    /// Refuses with a code inside the body, unbilled.
    Code(i64),
    /// Refuses with a code inside the body, billed.
    BilledCode(i64),
    /// Refuses because the call would exceed its price limit, unbilled.
    TooExpensive,
    /// 429 with `Retry-After`, unbilled.
    Hold(Duration),
    /// The same with an answer of one item, billed.
    AnswerAndHold(Duration),
    /// Answers, but the answer is lost in transit: billed.
    AnswerLost,
    /// Cannot be connected to.
    ConnectionRefused,
    /// Has a host name that does not resolve.
    UnknownHost,
    /// A body that is not JSON, billed.
    Garbage,
}

/// An API with a scripted response to each call, which keeps a bill.
struct Scripted<S> {
    script: S,
    latency: Duration,
    price: i64,
    books: Mutex<Books>,
}

#[derive(Default)]
struct Books {
    calls: HashMap<String, u32>,
    billed: HashMap<String, u32>,
    arrivals: Vec<Instant>,
    in_flight: usize,
    most_in_flight: usize,
    spent: i64,
    bodies: Vec<String>,
}

/// The response to a call, by target, number of the call for this target, and request.
trait Script: Fn(&str, u32, &Request) -> Word + Send + Sync + 'static {}

impl<S: Fn(&str, u32, &Request) -> Word + Send + Sync + 'static> Script for S {}

impl<S: Script> Scripted<S> {
    fn new(script: S) -> Arc<Self> {
        Arc::new(Self { script, latency: Duration::from_millis(400), price: 36_000, books: Mutex::default() })
    }

    fn most_in_a_minute(&self) -> usize {
        most_in_a_minute(&self.books.lock().expect("sound").arrivals)
    }
}

impl<S: Script> Api for Scripted<S> {
    async fn post(&self, request: &Request) -> Result<Reply, ApiError> {
        let name = request.target.as_str();
        let word = {
            let mut books = self.books.lock().expect("sound");
            let calls = books.calls.entry(name.to_owned()).or_default();
            *calls += 1;
            let number = *calls;
            books.arrivals.push(Instant::now());
            books.in_flight += 1;
            books.most_in_flight = books.most_in_flight.max(books.in_flight);
            books.bodies.push(String::from_utf8_lossy(&request.body).into_owned());
            let is_too_expensive = request.price_limit.is_some_and(|limit| limit.micros() < self.price);
            if is_too_expensive { Word::TooExpensive } else { (self.script)(name, number, request) }
        };
        // Between a half and one and a half of the usual price, by target.
        let share = name.bytes().map(u32::from).sum::<u32>() % 100;
        tokio::time::sleep(self.latency * (50 + share) / 100).await;
        let mut books = self.books.lock().expect("sound");
        books.in_flight -= 1;
        if matches!(
            word,
            Word::Answer
                | Word::AnswerAndHold(_)
                | Word::Nothing
                | Word::WrongTarget
                | Word::AnswerLost
                | Word::Garbage
                | Word::BilledCode(_)
        ) {
            *books.billed.entry(name.to_owned()).or_default() += 1;
            books.spent += self.price;
        }
        reply(word, name, self.price)
    }
}

fn reply(word: Word, name: &str, price: i64) -> Result<Reply, ApiError> {
    let task =
        |rest: &str| format!(r#"{{"status_code":20000,"tasks":[{{"id":"1","data":{{"target":"{name}"}},{rest}}}]}}"#);
    let about = |name: &str| task(&format!(r#""status_code":20000,"result":[{{"target":"{name}","items":[{{}}]}}]"#));
    let debit = Some(Usd::from_micros(price));
    let billed = |body: String| Ok(Reply { status: 200, body: body.into(), debit, ..Reply::default() });
    let plain =
        |status, body: String, retry_after| Ok(Reply { status, body: body.into(), retry_after, ..Reply::default() });
    match word {
        Word::Answer => billed(about(name)),
        Word::Nothing => billed(task(r#""status_code":20000,"result":null"#)),
        Word::WrongTarget => billed(about("other.com")),
        Word::Garbage => plain(200, "<html>".to_owned(), None),
        Word::Reject(status) => plain(status, r#"{"error":"busy"}"#.to_owned(), None),
        Word::Page(status) => plain(status, "<html>Request blocked</html>".to_owned(), None),
        Word::Code(code) => plain(200, task(&format!(r#""status_code":{code},"status_message":"Any.""#)), None),
        Word::BilledCode(code) => {
            billed(task(&format!(r#""status_code":{code},"status_message":"Invalid Field: 'date_to'.""#)))
        }
        Word::TooExpensive => {
            plain(402, r#"{"code":"estimated_price_exceeds_max_price","error":"x"}"#.to_owned(), None)
        }
        Word::Hold(wait) => plain(429, String::new(), Some(wait)),
        Word::AnswerAndHold(wait) => {
            billed(about(name)).map(|reply| Reply { status: 429, retry_after: Some(wait), ..reply })
        }
        Word::AnswerLost => Err(ApiError { kind: ErrorKind::Lost, message: "connection reset".to_owned() }),
        Word::ConnectionRefused => Err(ApiError { kind: ErrorKind::NotSent, message: "connection refused".to_owned() }),
        Word::UnknownHost => Err(ApiError { kind: ErrorKind::NotSent, message: "dns error".to_owned() }),
    }
}

/// A journal in memory.
#[derive(Default)]
struct Notes {
    sent: Mutex<Vec<Sent>>,
    answered: Mutex<Vec<Answered>>,
    gave_up: Mutex<Vec<GaveUp>>,
    /// If true, nothing can be recorded any more.
    broken: AtomicBool,
}

impl Notes {
    fn check(&self) -> Result<(), &'static str> {
        if self.broken.load(Ordering::SeqCst) { Err("disk full") } else { Ok(()) }
    }

    fn with(&self, class: Class) -> usize {
        self.answered.lock().expect("sound").iter().filter(|answered| answered.assessment.class == class).count()
    }
}

impl Journal for Notes {
    type Error = &'static str;

    async fn sent(&self, sent: &Sent) -> Result<(), Self::Error> {
        self.check()?;
        self.sent.lock().expect("sound").push(sent.clone());
        Ok(())
    }

    async fn called_off(&self, _: &Sent) -> Result<(), Self::Error> {
        self.check()
    }

    async fn answered(
        &self,
        answered: &Answered,
        _: Option<Result<DecodedRows, DecodeError>>,
    ) -> Result<(), Self::Error> {
        self.check()?;
        self.answered.lock().expect("sound").push(answered.clone());
        Ok(())
    }

    async fn gave_up(&self, gave_up: &GaveUp) -> Result<(), Self::Error> {
        self.gave_up.lock().expect("sound").push(gave_up.clone());
        Ok(())
    }
}

/// A script by the number of the call over all targets, from 1.
fn in_order(script: impl Fn(u32) -> Word + Send + Sync + 'static) -> impl Script {
    let calls = AtomicU32::new(0);
    move |_: &str, _: u32, _: &Request| script(1 + calls.fetch_add(1, Ordering::SeqCst))
}

fn names(count: usize) -> Vec<Target> {
    (0..count).map(|number| clean(&format!("site{number}.com"), Accept::DOMAINS).expect("a domain").target).collect()
}

/// A fetch that has ended.
struct Fetched<S> {
    api: Arc<Scripted<S>>,
    notes: Arc<Notes>,
    end: Result<FetchEnd, &'static str>,
}

impl<S: Script> Fetched<S> {
    fn calls(&self) -> usize {
        self.api.books.lock().expect("sound").arrivals.len()
    }

    fn given_up(&self) -> usize {
        self.notes.gave_up.lock().expect("sound").len()
    }

    fn rows(&self) -> usize {
        self.notes.with(Class::Data)
    }
}

/// Fetches this many targets from an API with this script.
async fn fetched<S: Script>(script: S, targets: usize, limits: FetchLimits) -> Fetched<S> {
    fetched_from(Scripted::new(script), Arc::default(), targets, limits, std::future::pending()).await
}

async fn fetched_from<S: Script>(
    api: Arc<Scripted<S>>,
    notes: Arc<Notes>,
    targets: usize,
    limits: FetchLimits,
    shutdown: impl Future<Output = ()>,
) -> Fetched<S> {
    fetched_after(PriorCalls::default(), api, notes, targets, limits, shutdown).await
}

/// Like [`fetched_from`], after other calls in earlier runs.
async fn fetched_after<S: Script>(
    earlier: PriorCalls,
    api: Arc<Scripted<S>>,
    notes: Arc<Notes>,
    targets: usize,
    limits: FetchLimits,
    shutdown: impl Future<Output = ()>,
) -> Fetched<S> {
    let parameters = Parameters {
        date_from: jiff::civil::date(2019, 1, 1),
        date_to: jiff::civil::date(2026, 11, 24),
        rank_scale: RankScale::OneThousand,
        tag: "t".to_owned(),
    };
    let context = FetchContext {
        api: Arc::clone(&api),
        journal: Arc::clone(&notes),
        clock: clock(),
        parameters,
        limits,
        earlier,
    };
    let end = fetch(names(targets).into_iter(), context, shutdown).await;
    Fetched { api, notes, end }
}

/// Faults on the first calls of some targets, by their number.
fn faulty(name: &str, call: u32, _: &Request) -> Word {
    let number = number_of(name);
    match (number % 100, call) {
        (0..=3, 1) => Word::Reject(503),
        (4, 1..=2) => Word::Code(50_000),
        (5, 1) => Word::AnswerLost,
        (6, 1) => Word::Garbage,
        (7, 1) => Word::WrongTarget,
        (8, 1) => Word::ConnectionRefused,
        (9, _) => Word::Nothing,
        (10, _) => Word::Code(40_501),
        (11, _) => Word::AnswerLost,
        (12, 1) => Word::Code(40_202),
        _ => Word::Answer,
    }
}

#[tokio::test(start_paused = true)]
async fn five_thousand_targets_with_faults_end_as_expected() {
    let run = fetched(faulty, 5_000, limits(6_000, 30)).await;
    assert_eq!(run.end, Ok(FetchEnd::Done));
    assert_eq!(run.rows(), 97 * 50, "all but three in a hundred have rows");
    assert_eq!(run.notes.with(Class::NoData), 50);
    let gave_up: Vec<Class> = run.notes.gave_up.lock().expect("sound").iter().map(|gave_up| gave_up.class).collect();
    assert_eq!(gave_up.iter().filter(|class| **class == Class::Rejected).count(), 50);
    assert_eq!(gave_up.iter().filter(|class| **class == Class::MaybeBilled).count(), 50);
    let (sent, answered) =
        (run.notes.sent.lock().expect("sound").len(), run.notes.answered.lock().expect("sound").len());
    let books = run.api.books.lock().expect("sound");
    assert_eq!((sent, answered), (books.arrivals.len(), books.arrivals.len()), "every call has its two records");
    let twice = books.billed.iter().filter(|(name, bills)| {
        let number = number_of(name);
        **bills > 1 && ![5, 6, 7, 11].contains(&(number % 100))
    });
    assert_eq!(twice.count(), 0, "no target whose answer arrived is billed twice");
    assert!(books.billed.values().all(|bills| *bills <= 3), "what may have been billed is tried at most twice more");
    assert!(books.most_in_flight <= 30);
    drop(books);
    assert!(run.api.most_in_a_minute() <= 6_000);
}

#[tokio::test(start_paused = true)]
async fn no_window_has_more_calls_than_the_rate_at_any_latency() {
    for latency in [0, 50, 1_000, 5_000] {
        let latency = Duration::from_millis(latency);
        let api = Arc::new(Scripted { script: faulty, latency, price: 1, books: Mutex::default() });
        let run = fetched_from(api, Arc::default(), 1_500, limits(600, 100), std::future::pending()).await;
        assert_eq!(run.end, Ok(FetchEnd::Done));
        assert!(run.api.most_in_a_minute() <= 600, "{latency:?}: {}", run.api.most_in_a_minute());
    }
}

#[tokio::test(start_paused = true)]
async fn nearly_all_of_the_rate_is_used_where_nothing_else_limits() {
    let start = Instant::now();
    fetched(|_, _, _| Word::Answer, 6_000, limits(3_000, 60)).await.end.expect("sound");
    let minutes = start.elapsed().as_secs_f64() / 60.0;
    assert!(6_000.0 / minutes >= 0.97 * 3_000.0, "{minutes} min");
}

#[tokio::test(start_paused = true)]
async fn fatal_answers_stop_the_run_after_one_call() {
    let check = async |word: Word, expected: Fatal| {
        let script = move |_: &str, _: u32, _: &Request| word;
        let run = fetched(script, 1_000, limits(6_000, 30)).await;
        assert!(
            matches!(run.end, Ok(FetchEnd::Stopped(StopReason::Fatal { fatal, .. })) if fatal == expected),
            "{word:?}: {:?}",
            run.end
        );
        assert_eq!(run.calls(), 1, "{word:?}: one call shows it");
    };
    check(Word::Reject(401), Fatal::TokenRefused).await;
    check(Word::Reject(402), Fatal::NoCredit).await;
    check(Word::Reject(404), Fatal::WrongUrl).await;
    check(Word::Code(40_200), Fatal::NoCredit).await;
    check(Word::Code(40_201), Fatal::AccountBlocked).await;
}

#[tokio::test(start_paused = true)]
async fn billed_failures_without_an_answer_between_stop_the_run() {
    let check = async |word: fn(u32) -> Word, end: &str, answers: u32, costly_failures: u32, max_calls: u32| {
        let script = in_order(move |call| if call > answers { word(call) } else { Word::Answer });
        let earlier = PriorCalls { costly_failures, ..PriorCalls::default() };
        let (api, limits) = (Scripted::new(script), limits(6_000, 20));
        let run = fetched_after(earlier, api, Arc::default(), 300, limits, std::future::pending()).await;
        let Ok(FetchEnd::Stopped(StopReason::BilledFailures { message })) = &run.end else { panic!("{:?}", run.end) };
        assert!(message.starts_with("20 targets in a row, the last site"), "{message}");
        assert!(message.ends_with(end), "{message}");
        let calls = u32::try_from(run.calls()).expect("few") - answers;
        assert!((10..=max_calls).contains(&calls), "{calls} calls, {answers} answers, {costly_failures} before");
    };
    for (answers, costly_failures, max_calls) in [(0, 0, 20), (0, 20, 10), (100, 0, 40), (100, 20, 40)] {
        let invalid = ".com: Invalid Field: 'date_to'.";
        check(|_| Word::BilledCode(40_501), invalid, answers, costly_failures, max_calls).await;
        let mixed = |call| Word::BilledCode([40_501, 40_401, 40_205][call as usize % 3]);
        check(mixed, invalid, answers, costly_failures, max_calls).await;
        // Each is tried twice.
        let other = ".com: answered about another target";
        check(|_| Word::WrongTarget, other, answers, costly_failures, 2 * max_calls).await;
    }

    // One answer among twenty calls shows that nothing is wrong with the calls.
    let script = in_order(|call| if call % 15 == 0 { Word::Answer } else { Word::BilledCode(40_501) });
    let run = fetched(script, 300, limits(6_000, 1)).await;
    assert_eq!((run.rows(), &run.end), (20, &Ok(FetchEnd::Done)));
}

#[tokio::test(start_paused = true)]
async fn targets_refused_by_an_unknown_party_are_given_up_and_the_others_fetched() {
    let check = async |status: u16, refused: &'static [&'static str]| {
        let script = move |name: &str, _: u32, _: &Request| {
            if refused.contains(&name) { Word::Page(status) } else { Word::Answer }
        };
        let run = fetched(script, 120, limits(6_000, 5)).await;
        assert_eq!((run.rows(), &run.end), (120 - refused.len(), &Ok(FetchEnd::Done)), "{status} {refused:?}");
        let gave_up = run.notes.gave_up.lock().expect("sound");
        assert!(gave_up.iter().all(|gave_up| matches!(gave_up.class, Class::Refused(_))), "{gave_up:?}");
        let mut names: Vec<&str> = gave_up.iter().map(|gave_up| gave_up.target.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, refused, "{status}");
        let books = run.api.books.lock().expect("sound");
        assert!(refused.iter().all(|name| books.calls[*name] == 6), "{status}: each is tried as often as any");
    };
    check(401, &["site7.com"]).await;
    check(403, &["site7.com"]).await;
    check(404, &["site7.com"]).await;
    check(403, &["site119.com"]).await;
    check(403, &["site7.com", "site8.com"]).await;
    check(403, &["site110.com", "site20.com", "site50.com", "site80.com"]).await;
}

#[tokio::test(start_paused = true)]
async fn several_targets_in_a_row_refused_by_an_unknown_party_stop_the_run() {
    let check = async |word: Word, expected: fn(&FetchEnd) -> bool, most: usize| {
        let script = in_order(move |call| if call > 50 { word } else { Word::Answer });
        let run = fetched(script, 300, limits(6_000, 5)).await;
        assert!(run.end.as_ref().is_ok_and(expected), "{word:?}: {:?}", run.end);
        assert_eq!(run.rows(), 50, "{word:?}");
        assert!(run.calls() <= most, "{word:?}: {} calls", run.calls());
    };
    let is_quoted = |ended: &FetchEnd| {
        let FetchEnd::Stopped(StopReason::Refused { message }) = ended else { return false };
        let (name, quote) = message.split_once(": ").expect("a target");
        name.starts_with("site") && quote == "HTTP 403: <html>Request blocked</html>"
    };
    check(Word::Page(403), is_quoted, 50 + 3 + 5).await;
    // What the gateway reports about the token or the account applies to all targets.
    let is_token =
        |ended: &FetchEnd| matches!(ended, FetchEnd::Stopped(StopReason::Fatal { fatal: Fatal::TokenRefused, .. }));
    check(Word::Reject(401), is_token, 50 + 1 + 5).await;
    let is_credit =
        |ended: &FetchEnd| matches!(ended, FetchEnd::Stopped(StopReason::Fatal { fatal: Fatal::NoCredit, .. }));
    check(Word::Reject(402), is_credit, 50 + 1 + 5).await;
}

#[tokio::test(start_paused = true)]
async fn before_any_answer_unknown_refusals_of_three_or_all_targets_end_the_run_and_are_quoted() {
    let check = async |targets: usize, calls: usize, last: &str| {
        // Without retries, which would be further calls at random times.
        let limits = FetchLimits { max_attempts: NonZeroU32::MIN, ..limits(6_000, 1) };
        let run = fetched(|_, _, _| Word::Page(404), targets, limits).await;
        let message = Some(format!("{last}: HTTP 404: <html>Request blocked</html>"));
        assert_eq!(run.end, Ok(FetchEnd::Stopped(StopReason::Fatal { fatal: Fatal::WrongUrl, message })), "{targets}");
        assert_eq!(run.calls(), calls, "{targets}");
    };
    check(1, 1, "site0.com").await;
    check(2, 2, "site1.com").await;
    check(300, 3, "site2.com").await;
    // A firewall that blocks only the first target does not stop the others.
    let script = |name: &str, _: u32, _: &Request| if name == "site0.com" { Word::Page(403) } else { Word::Answer };
    let run = fetched(script, 120, limits(6_000, 5)).await;
    assert_eq!((run.rows(), &run.end), (119, &Ok(FetchEnd::Done)));
}

#[tokio::test(start_paused = true)]
async fn credit_that_runs_out_midway_costs_no_more_than_the_calls_in_flight() {
    let script = in_order(|call| if call > 200 { Word::Reject(402) } else { Word::Answer });
    let run = fetched(script, 1_000, limits(60_000, 30)).await;
    assert!(
        matches!(run.end, Ok(FetchEnd::Stopped(StopReason::Fatal { fatal: Fatal::NoCredit, .. }))),
        "{:?}",
        run.end
    );
    assert_eq!(run.rows(), 200);
    assert!(run.calls() <= 230);
    assert_eq!(run.given_up(), 0, "they are left for the next run");
}

#[tokio::test(start_paused = true)]
async fn the_body_form_is_detected_on_the_first_call() {
    let takes = |form: &'static str| {
        move |_: &str, _: u32, request: &Request| {
            if request.body.starts_with(form.as_bytes()) { Word::Answer } else { Word::Reject(400) }
        }
    };
    let check = async |form: &'static str, calls: usize| {
        let run = fetched(takes(form), 100, limits(6_000, 10)).await;
        assert_eq!((run.rows(), &run.end), (100, &Ok(FetchEnd::Done)), "{form}");
        assert_eq!(run.calls(), calls, "{form}");
    };
    check("[", 100).await;
    check("{", 101).await;

    let run = fetched(|_, _, _| Word::Reject(400), 100, limits(6_000, 10)).await;
    assert!(matches!(run.end, Ok(FetchEnd::Stopped(StopReason::Contract { .. }))), "{:?}", run.end);
    assert_eq!(run.calls(), 2, "each form once");

    let fixed = FetchLimits { body: Some(BodyForm::Array), ..limits(6_000, 10) };
    let run = fetched(takes("{"), 9, fixed).await;
    assert!(matches!(run.end, Ok(FetchEnd::Stopped(StopReason::Contract { .. }))), "{:?}", run.end);
    assert_eq!(run.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_cap_is_never_exceeded_and_is_used_up_to_one_price() {
    for cap in [1, 35_999, 36_000, 100_000, 1_000_000, 5_000_000] {
        let capped = FetchLimits { max_cost: Some(Usd::from_micros(cap)), ..limits(6_000, 30) };
        let run = fetched(faulty, 500, capped).await;
        assert_eq!(run.end, Ok(FetchEnd::Stopped(StopReason::Budget)), "{cap}");
        let spent = run.api.books.lock().expect("sound").spent;
        assert!(spent <= cap, "{spent} of {cap}");
        // Lost calls count their limit: a quarter above the price, or for the first call its own.
        let lost = i64::try_from(run.notes.with(Class::MaybeBilled)).expect("small");
        assert!(cap - spent < 36_000 * (1 + lost) || cap < 36_000, "{spent} of {cap} with {lost} lost");
    }
}

#[tokio::test(start_paused = true)]
async fn a_total_outage_is_probed_at_intervals_and_stops_the_run() {
    for word in [Word::Reject(503), Word::AnswerLost] {
        let script = move |_: &str, _: u32, _: &Request| word;
        let start = Instant::now();
        let run = fetched(script, 10_000, limits(6_000, 30)).await;
        assert!(matches!(run.end, Ok(FetchEnd::Stopped(StopReason::Outage { .. }))), "{word:?}: {:?}", run.end);
        assert!((600.0..700.0).contains(&start.elapsed().as_secs_f64()), "{:?}", start.elapsed());
        let books = run.api.books.lock().expect("sound");
        let (tried, calls) = (books.calls.len(), books.arrivals.len());
        assert!((calls - tried) * 10 <= tried, "{word:?}: {calls} calls for {tried} targets");
        assert!(calls < 130, "{word:?}: {calls} calls");
        assert_eq!(run.given_up(), 0, "{word:?}: an outage fails no target");
    }
}

/// An outage whose calls are billed, or may be, costs about as much as one round of calls and a few probes.
#[tokio::test(start_paused = true)]
async fn an_outage_that_costs_money_gets_few_calls() {
    let check = async |word: Word, answers: u32, concurrency: u32, costly_failures: u32, max_calls: usize| {
        let script = in_order(move |call| if call > answers { word } else { Word::Answer });
        let earlier = PriorCalls { costly_failures, ..PriorCalls::default() };
        let (api, limits) = (Scripted::new(script), limits(6_000, concurrency));
        let run = fetched_after(earlier, api, Arc::default(), 1_000, limits, std::future::pending()).await;
        let case = format!("{word:?} after {answers}, {concurrency} in flight, {costly_failures} before");
        assert!(matches!(run.end, Ok(FetchEnd::Stopped(StopReason::Outage { .. }))), "{case}: {:?}", run.end);
        let failed = run.calls() - answers as usize;
        assert!(failed <= max_calls, "{case}: {failed} calls");
        assert_eq!((run.given_up(), run.rows()), (0, answers as usize), "{case}");
    };
    for word in [Word::AnswerLost, Word::Garbage, Word::BilledCode(50_401), Word::BilledCode(50_000)] {
        for concurrency in [1, 5, 20, 30] {
            check(word, 0, concurrency, 0, 22).await;
            check(word, 0, concurrency, 30, 13).await;
            check(word, 100, concurrency, 0, 13 + concurrency.max(10) as usize).await;
        }
    }
}

/// A few targets that always fail are given up after their tries, also where they are all that is left.
#[tokio::test(start_paused = true)]
async fn a_few_targets_that_always_cost_money_are_not_an_outage() {
    let check = async |word: Word, targets: usize, bad: usize, concurrency: u32, costly_failures: u32| {
        // Calls are made in input order, so the bad ones are last.
        let script = move |name: &str, _: u32, _: &Request| {
            if number_of(name) as usize >= targets - bad { word } else { Word::Answer }
        };
        let earlier = PriorCalls { costly_failures, ..PriorCalls::default() };
        let (start, api, limits) = (Instant::now(), Scripted::new(script), limits(6_000, concurrency));
        let run = fetched_after(earlier, api, Arc::default(), targets, limits, std::future::pending()).await;
        let case = format!("{word:?}: {bad} of {targets} bad, {concurrency} in flight, {costly_failures} before");
        assert_eq!((&run.end, run.given_up()), (&Ok(FetchEnd::Done), bad), "{case}");
        assert!(start.elapsed() < Duration::from_mins(3), "{case}: {:?}", start.elapsed());
        assert_eq!(run.calls(), targets + 2 * bad, "{case}");
    };
    for word in [Word::AnswerLost, Word::BilledCode(50_401)] {
        for concurrency in [1, 5, 20] {
            check(word, 3, 3, concurrency, 0).await;
            check(word, 3, 3, concurrency, 9).await;
            check(word, 4, 4, concurrency, 12).await;
            check(word, 60, 4, concurrency, 0).await;
            check(word, 200, 9, concurrency, 0).await;
        }
        check(word, 10, 10, 20, 30).await;
    }
}

/// An outage whose calls are billed, and that ends after a minute, fails no target.
#[tokio::test(start_paused = true)]
async fn an_outage_of_a_minute_that_costs_money_fails_no_target() {
    for word in [Word::AnswerLost, Word::BilledCode(50_401), Word::BilledCode(50_000)] {
        for (from, concurrency) in [(0, 5), (0, 20), (4, 5), (4, 20)] {
            let start = Instant::now();
            let script = move |_: &str, _: u32, _: &Request| {
                if (from..from + 60).contains(&start.elapsed().as_secs()) { word } else { Word::Answer }
            };
            let run = fetched(script, 1_000, limits(6_000, concurrency)).await;
            let case = format!("{word:?} after {from} s, {concurrency} in flight");
            assert_eq!((&run.end, run.rows(), run.given_up()), (&Ok(FetchEnd::Done), 1_000, 0), "{case}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_api_that_was_never_reached_is_given_up_after_a_few_tries() {
    let check = async |word: Word, message: &str, targets: usize, max_outage: Duration| {
        let (start, limits) = (Instant::now(), FetchLimits { max_outage, ..limits(600, 20) });
        let run = fetched(move |_: &str, _: u32, _: &Request| word, targets, limits).await;
        assert_eq!(
            run.end,
            Ok(FetchEnd::Stopped(StopReason::Unreachable { message: Some(message.to_owned()) })),
            "{word:?}, {targets} targets"
        );
        assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
        let calls = run.calls();
        assert!((2..=6).contains(&calls), "{word:?}, {targets} targets: {calls} calls");
        assert_eq!(run.given_up(), 0, "no target is to blame");
    };
    for (word, message) in [(Word::UnknownHost, "dns error"), (Word::ConnectionRefused, "connection refused")] {
        check(word, message, 1, Duration::from_mins(10)).await;
        check(word, message, 30, Duration::from_mins(10)).await;
        check(word, message, 300, Duration::from_mins(10)).await;
        check(word, message, 300, Duration::from_secs(2)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn once_the_api_has_answered_an_unknown_host_is_an_ordinary_outage() {
    let (start, first) = (Instant::now(), AtomicBool::new(true));
    let script = move |_: &str, _: u32, _: &Request| match start.elapsed().as_secs() {
        _ if first.swap(false, Ordering::SeqCst) => Word::Answer,
        0..300 => Word::UnknownHost,
        _ => Word::Answer,
    };
    let run = fetched(script, 200, limits(6_000, 20)).await;
    assert_eq!((run.rows(), &run.end), (200, &Ok(FetchEnd::Done)));

    // At the beginning, too, the API may recover before it is given up.
    let start = Instant::now();
    let script = move |_: &str, _: u32, _: &Request| {
        if start.elapsed() < Duration::from_secs(5) { Word::UnknownHost } else { Word::Answer }
    };
    let run = fetched(script, 200, limits(6_000, 20)).await;
    assert_eq!((run.rows(), &run.end), (200, &Ok(FetchEnd::Done)));
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_a_minute_fails_no_target() {
    let start = Instant::now();
    let script = move |_: &str, _: u32, _: &Request| {
        let down = (10..70).contains(&start.elapsed().as_secs());
        if down { Word::Reject(503) } else { Word::Answer }
    };
    let run = fetched(script, 5_000, limits(6_000, 30)).await;
    assert_eq!((run.rows(), &run.end), (5_000, &Ok(FetchEnd::Done)));
    assert_eq!(run.given_up(), 0);
}

#[tokio::test(start_paused = true)]
async fn retry_after_delays_every_call() {
    retry_after_delays(Word::Hold).await;
    retry_after_delays(Word::AnswerAndHold).await;
}

async fn retry_after_delays(word: fn(Duration) -> Word) {
    let asked = Arc::new(Mutex::new(None));
    let script = {
        let asked = Arc::clone(&asked);
        move |name: &str, call: u32, _: &Request| {
            if name == "site50.com" && call == 1 {
                *asked.lock().expect("sound") = Some(Instant::now());
                word(Duration::from_secs(20))
            } else {
                Word::Answer
            }
        }
    };
    let run = fetched(script, 200, limits(6_000, 5)).await;
    assert_eq!((run.rows(), &run.end), (200, &Ok(FetchEnd::Done)));
    // The answer took some time to arrive; from then on, no call was made for the requested time.
    let since = asked.lock().expect("sound").expect("asked") + Duration::from_millis(700);
    let books = run.api.books.lock().expect("sound");
    let called = |at: &&Instant| **at > since && **at < since + Duration::from_secs(19);
    assert_eq!(books.arrivals.iter().filter(called).count(), 0);
}

#[tokio::test(start_paused = true)]
async fn after_a_stop_no_call_is_made_and_those_in_flight_are_kept() {
    let start = Instant::now();
    let api = Scripted::new(|_, _, _| Word::Answer);
    let stop = tokio::time::sleep(Duration::from_secs(3));
    let run = fetched_from(api, Arc::default(), 5_000, limits(60_000, 30), stop).await;
    assert_eq!(run.end, Ok(FetchEnd::Shutdown));
    assert!(start.elapsed() < Duration::from_secs(4));
    let books = run.api.books.lock().expect("sound");
    let late = books.arrivals.iter().filter(|at| **at - start > Duration::from_secs(3)).count();
    assert_eq!((late, books.in_flight), (0, 0));
    assert_eq!(run.rows(), books.arrivals.len(), "every answer in flight is kept");
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_written_ends_the_calls() {
    let notes = Arc::new(Notes::default());
    let script = {
        let notes = Arc::clone(&notes);
        move |name: &str, _: u32, _: &Request| {
            if name == "site100.com" {
                notes.broken.store(true, Ordering::SeqCst);
            }
            Word::Answer
        }
    };
    let run = fetched_from(Scripted::new(script), notes, 1_000, limits(60_000, 30), std::future::pending()).await;
    assert_eq!(run.end, Err("disk full"));
    assert!(run.calls() <= 131);
}

#[tokio::test(start_paused = true)]
async fn targets_that_always_fail_are_given_up_and_do_not_count_as_an_outage() {
    let check = async |targets: usize, every: u32| {
        let script = move |name: &str, _: u32, _: &Request| {
            let number = number_of(name);
            if number.is_multiple_of(every) { Word::Reject(503) } else { Word::Answer }
        };
        let start = Instant::now();
        let run = fetched(script, targets, limits(6_000, 20)).await;
        let bad = targets.div_ceil(every as usize);
        assert_eq!(run.end, Ok(FetchEnd::Done), "{targets} targets, every {every}th bad, after {:?}", start.elapsed());
        assert_eq!(run.given_up(), bad, "{targets} targets, every {every}th bad");
        assert!(start.elapsed() < Duration::from_mins(10), "{:?}", start.elapsed());
    };
    for (targets, every) in [(3, 3), (30, 3), (100, 10), (300, 10), (1_000, 10), (1_000, 3), (5_000, 50)] {
        check(targets, every).await;
    }
}
