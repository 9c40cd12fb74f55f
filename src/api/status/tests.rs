use super::*;
use crate::targets::Target;

fn assess(result: &Result<Reply, ApiError>, target: &Target) -> Assessment {
    let envelope = result.as_ref().ok().and_then(|reply| Envelope::read(target.as_str(), &reply.body));
    super::assess(result, envelope)
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
fn every_class_has_its_own_name() {
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
fn a_bare_success_code_counts_only_under_a_success_status_and_other_codes_below_40000_never() {
    let check = |status: u16, code: i64, expected: Class| {
        for cost in ["", r#""cost":0,"#] {
            let body = format!(r#"{{"tasks":[{{"status_code":{code},{cost}"data":{{"target":"a.com"}}}}]}}"#);
            assert_eq!(assess(&reply(status, &body), &target()).class, expected, "{body} under HTTP {status}");
        }
    };
    check(200, 20000, Class::NoData);
    check(500, 20000, Class::Transient);
    check(404, 20000, Class::Fatal(Fatal::WrongUrl));
    check(200, 20100, Class::MaybeBilled);
    check(200, 0, Class::MaybeBilled);
    check(200, 39999, Class::MaybeBilled);
    check(502, 20100, Class::Transient);
}

#[test]
fn a_paid_complete_answer_is_accepted_under_any_http_status() {
    const ROWS: &str = r#"[{"target":"a.com","items":[{}]}]"#;
    let check = |top: &str, task: &str, result: &str, expected: Option<Class>| {
        let body = format!(
            r#"{{{top}"tasks":[{{"status_code":20000,"status_message":"Ok.",{task}"data":{{"target":"a.com"}},"result":{result}}}]}}"#
        );
        for (status, otherwise) in [
            (500, Class::Transient),
            (502, Class::Transient),
            (429, Class::SlowDown),
            (422, Class::Rejected),
            (401, Class::Fatal(Fatal::TokenRefused)),
            (302, Class::Fatal(Fatal::WrongUrl)),
        ] {
            let assessment = assess(&reply(status, &body), &target());
            assert_eq!(assessment.class, expected.unwrap_or(otherwise), "{body} under HTTP {status}");
            let note = format!("HTTP {status}, but the answer is complete: accepted");
            assert_eq!(assessment.message == Some(note), expected.is_some(), "{assessment:?}");
        }
    };
    let top = r#""status_code":20000,"#;
    let paid = r#""cost":0.024,"#;
    check(top, paid, ROWS, Some(Class::Data));
    check("", "", ROWS, Some(Class::Data));
    check(top, paid, "null", Some(Class::NoData));
    check(top, paid, r#"[{"target":"a.com","items":[]}]"#, Some(Class::NoData));
    check(top, "", "null", None);
    check(top, r#""cost":0,"#, "null", None);
    // About another target, or contradicted by the rest of the answer.
    check(top, paid, r#"[{"target":"b.com","items":[{}]}]"#, None);
    check(top, paid, r#"[{"target":"b.com","items":[]}]"#, None);
    check(r#""status_code":50000,"#, paid, ROWS, None);
    check(r#""error":"unavailable","#, paid, ROWS, None);
    let unnamed = r#"{"tasks":[{"status_code":20000,"cost":0.024,"result":null}]}"#;
    assert_eq!(assess(&reply(500, unnamed), &target()).class, Class::Transient);
    let named = unnamed.replace("\"cost\":0.024", "\"data\":{\"target\":\"a.com\"}");
    let debit = Some(Usd::from_micros(1));
    let debited = Reply { status: 500, body: named.into(), debit, ..Reply::default() };
    assert_eq!(assess(&Ok(debited), &target()).class, Class::NoData);
}

#[test]
fn every_http_status_has_its_class() {
    use Class::{Contract, Rejected, SlowDown, Transient};
    use Fatal::{NoCredit, WrongUrl};
    let check = |statuses: &[u16], expected: Class| {
        for &status in statuses {
            for body in ["", "<html>busy</html>", r#"{"error":"text"}"#, r#"{"error":{"code":"x","retryable":true}}"#] {
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
    let price = reply(402, r#"{"error":{"code":"estimated_price_exceeds_max_price","message":"too expensive"}}"#);
    assert_eq!(assess(&price, &target()).class, Class::PriceRefused);
}

#[test]
fn only_known_error_bodies_mean_that_the_token_or_the_url_is_wrong() {
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
fn only_an_answer_that_names_its_target_is_a_success() {
    let check = |result: &str, expected: Class| {
        let body =
            format!(r#"{{"status_code":20000,"tasks":[{{"status_code":20000,"cost":0.024,"result":{result}}}]}}"#);
        assert_eq!(assess(&reply(200, &body), &target()).class, expected, "{body}");
    };
    check(r#"[{"target":"a.com","items":[{}]}]"#, Class::Data);
    check(r#"[{"target":"WWW.A.COM","items":[{}]}]"#, Class::Data);
    check(r#"[{"target":"b.com","items":[{}]}]"#, Class::WrongTarget);
    check(r#"[{"target":"b.com","items":[]}]"#, Class::WrongTarget);
    check(r#"[{"target":"b.com","items":[{}]},{"target":"a.com","items":[{}]}]"#, Class::Data);
    check(r#"[{"target":"b.com","items":[{}]},{"target":"a.com","items":[]}]"#, Class::NoData);
    let two = r#"[{"target":"a.com","items":[{}]},{"target":"b.com","items":[{}]},{"target":"a.com","items":[{}]}]"#;
    check(two, Class::WrongTarget);
    check(r#"[{"items":[{}]}]"#, Class::WrongTarget);
    for empty in ["null", "[]", "[null]", r#"[{"items":null}]"#, r#"[{"target":"a.com","items":[]}]"#] {
        check(empty, Class::NoData);
    }
}

#[test]
fn an_answer_about_a_suffix_may_omit_the_www_of_its_target() {
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
fn a_lost_call_is_free_only_if_nothing_was_sent() {
    let check = |kind, class, cost| {
        let error = Err(ApiError { kind, message: "m".into() });
        let assessment = assess(&error, &target());
        assert_eq!((assessment.class, assessment.cost), (class, cost));
    };
    check(ErrorKind::NotSent, Class::Transient, Cost::Nothing);
    check(ErrorKind::Lost, Class::MaybeBilled, Cost::Unknown);
    check(ErrorKind::Unusable, Class::Rejected, Cost::Unknown);
}

#[test]
fn a_truncated_body_is_judged_by_the_part_that_arrived() {
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
    check(200, whole, ErrorKind::Unusable, Class::Data, upstream);
    check(200, &whole[..60], ErrorKind::Lost, Class::MaybeBilled, Cost::Unknown);
    check(200, &whole[..60], ErrorKind::Unusable, Class::Rejected, Cost::Unknown);
    check(200, "", ErrorKind::Lost, Class::MaybeBilled, Cost::Unknown);
    check(503, "<html", ErrorKind::Lost, Class::Transient, Cost::Nothing);
    check(429, "<html", ErrorKind::Unusable, Class::SlowDown, Cost::Nothing);
    check(422, "<html", ErrorKind::Lost, Class::Rejected, Cost::Nothing);
}

#[test]
fn an_answer_with_a_stray_byte_or_a_duplicate_key_is_still_read() {
    let check = |body: &[u8], json: bool| {
        let reply = Reply { status: 200, body: body.to_vec().into(), ..Reply::default() };
        let assessment = assess(&Ok(reply), &target());
        assert_eq!((assessment.class, assessment.items, assessment.json), (Class::Data, 1, json));
    };
    check(
        b"{\"tasks\":[{\"status_code\":20000,\"result\":[{\"target\":\"a.com\",\"items\":[{\"type\":\"\xff\"}]}]}]}",
        false,
    );
    check(
        br#"{"cost":1,"cost":2,"tasks":[{"\ud800":1,"status_code":1,"status_code":20000,"result":[{"target":"b.com","target":"a.com","items":[],"items":[{}]}]}]}"#,
        true,
    );
}

#[test]
fn cost_is_the_debit_or_else_that_of_the_body_or_else_unknown() {
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
fn what_a_reply_reports_about_itself_is_kept() {
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
fn counts_are_compared_only_in_accepted_answers() {
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
fn the_first_words_of_an_html_page_are_the_message() {
    let check = |page: &str, expected: Option<&str>| {
        assert_eq!(assess(&reply(502, page), &target()).message.as_deref(), expected, "{page:?}");
    };
    check("", None);
    check(" \r\n\t ", None);
    check("<html>\n  <b>busy</b>\r\n</html>", Some("<html> <b>busy</b> </html>"));
    check(&"x".repeat(1_000), Some(&"x".repeat(120)));
    // Four bytes per character
    check(&"😀".repeat(1_000), Some(&"😀".repeat(120)));
}

#[test]
fn every_reason_to_stop_explains_what_is_wrong_and_how_to_resume() {
    let all = [Fatal::TokenRefused, Fatal::NoCredit, Fatal::AccountBlocked, Fatal::WrongUrl];
    let words = [("token", "AISA_API_KEY"), ("credit", "top up"), ("blocked", "support"), ("URL", "--api")];
    for (fatal, (reason, hint)) in all.into_iter().zip(words) {
        assert!(fatal.reason().contains(reason) && fatal.hint().contains(hint), "{fatal:?}");
        assert!(fatal.hint().starts_with("all paid answers are saved; "), "{fatal:?}");
    }
}

#[test]
fn the_message_of_an_answer_without_a_task_is_not_that_of_a_success() {
    let body = r#"{"status_code":20000,"status_message":"Ok.","tasks":null}"#;
    assert_eq!(assess(&reply(200, body), &target()).message.as_deref(), Some("the answer has no task"));
}
