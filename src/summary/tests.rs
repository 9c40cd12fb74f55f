use std::fmt::Write;

use insta::assert_snapshot;

use super::*;
use crate::{
    api::status::Fatal,
    fetch::{self, StopReason},
};

fn summary() -> RunSummary {
    RunSummary {
        published: true,
        targets: 5_000,
        ok: 4_900,
        no_data: 100,
        rejected: 3,
        duplicates: 17,
        subdomains: 1,
        rows: 465_500,
        calls: 5_120,
        retries: 120,
        calls_this_run: 5_120,
        cost_usd: usd(137_204_000),
        cost_usd_this_run: usd(137_204_000),
        cost_source: CostSources { debit_usd: usd(137_204_000), ..CostSources::default() },
        elapsed: Duration::from_millis(512_345),
        out: "out".into(),
        files: 12,
        bytes: 12_345_678,
        ..RunSummary::default()
    }
}

fn usd(micros: i64) -> Dollars {
    Dollars(Usd::from_micros(micros))
}

/// The summary of a run that was not stopped.
fn finished(summary: RunSummary) -> RunSummary {
    summary.with_end(&RunEnd::Finished)
}

fn stopped(ended: &RunEnd) -> RunSummary {
    RunSummary { ok: 1_200, no_data: 4, pending: 3_796, ..summary() }.with_end(ended)
}

fn reason(reason: &str, count: u64) -> FailureReason {
    FailureReason { reason: reason.to_owned(), count }
}

fn fatal(fatal: Fatal) -> RunEnd {
    RunEnd::Stopped(StopReason::Fatal { fatal, message: None })
}

#[test]
fn every_end_has_its_exit_code() {
    let check_end = |ended: &RunEnd, summary: RunSummary, code: u8| {
        let summary = summary.with_end(ended);
        assert_eq!(summary.exit_code, code, "{ended:?}");
        assert_eq!(summary.success, code == 0);
        assert_eq!((summary.error.is_none(), summary.hint.is_none()), (code == 0, code == 0));
        assert_eq!(summary.stopped.is_none(), *ended == RunEnd::Finished);
    };
    let check = |summary: RunSummary, code: u8| check_end(&RunEnd::Finished, summary, code);
    check(summary(), 0);
    check(RunSummary { failed: 1, ok: 4_899, ..summary() }, 3);
    check(RunSummary { pending: 1, ok: 4_899, ..summary() }, 3);
    check(RunSummary { failed: 1, ok: 4_899, max_failures: MaxFailures::Count(1), ..summary() }, 0);
    check(RunSummary { failed: 101, ok: 4_799, max_failures: MaxFailures::Share(200), ..summary() }, 3);
    check(RunSummary { published: false, ..summary() }, 1);
    let check = |ended: RunEnd, code: u8| {
        check_end(&ended, stopped(&ended), code);
        // A stopped run is not a success, however few targets are left.
        check_end(&ended, RunSummary { max_failures: MaxFailures::Count(5_000), ..summary() }, code);
    };
    check(RunEnd::Unexpected { message: "disk full".to_owned(), hint: None }, 1);
    for reason in [Fatal::TokenRefused, Fatal::NoCredit, Fatal::AccountBlocked, Fatal::WrongUrl] {
        check(fatal(reason), 4);
    }
    check(RunEnd::Stopped(StopReason::Contract { message: None }), 4);
    check(RunEnd::Stopped(StopReason::BilledFailures { message: "20 targets in a row".to_owned() }), 4);
    check(RunEnd::Stopped(StopReason::Refused { message: "a.com: HTTP 403".to_owned() }), 4);
    check(RunEnd::Stopped(StopReason::Outage { message: None }), 4);
    check(RunEnd::Stopped(StopReason::Unreachable { message: None }), 4);
    check(RunEnd::Stopped(StopReason::Budget), 5);
    check(RunEnd::Stopped(StopReason::Limit), 5);
    check(RunEnd::Signal(Signal::Interrupt), 130);
    check(RunEnd::Signal(Signal::Terminate), 143);
}

#[test]
fn the_end_of_the_fetch_is_that_of_the_run() {
    let check = |ended: fetch::FetchEnd, expected: RunEnd| assert_eq!(RunEnd::new(ended, Signal::Terminate), expected);
    check(fetch::FetchEnd::Done, RunEnd::Finished);
    check(fetch::FetchEnd::Shutdown, RunEnd::Signal(Signal::Terminate));
    let message = Some("why".to_owned());
    for reason in [
        StopReason::Budget,
        StopReason::Outage { message: message.clone() },
        StopReason::Refused { message: "why".to_owned() },
        StopReason::Unreachable { message: message.clone() },
        StopReason::Contract { message },
        StopReason::Fatal { fatal: Fatal::NoCredit, message: None },
    ] {
        check(fetch::FetchEnd::Stopped(reason.clone()), RunEnd::Stopped(reason));
    }
}

#[test]
fn every_end_explains_what_happened_and_how_to_resume() {
    let mut text = String::new();
    let mut add = |summary: RunSummary| {
        let _ =
            write!(text, "error: {}\nhint: {}\n\n", summary.error.expect("an error"), summary.hint.expect("a hint"));
    };
    add(finished(RunSummary { failed: 12, ok: 4_888, ..summary() }));
    add(finished(RunSummary { published: false, ..summary() }));
    add(stopped(&fatal(Fatal::NoCredit)));
    add(stopped(&RunEnd::Stopped(StopReason::Fatal {
        fatal: Fatal::TokenRefused,
        message: Some("invalid_api_key:\u{1b}[31m unknown\nkey ".to_owned()),
    })));
    add(stopped(&RunEnd::Stopped(StopReason::Contract { message: Some("Invalid Field: 'tag'.".to_owned()) })));
    add(stopped(&RunEnd::Stopped(StopReason::BilledFailures {
        message: "20 targets in a row, the last a.com: Invalid\u{1b}[31m Field: 'date_to'.".to_owned(),
    })));
    add(stopped(&RunEnd::Stopped(StopReason::Refused { message: "a.com: HTTP 403: <html>\u{1b}[31mno".to_owned() })));
    add(stopped(&RunEnd::Stopped(StopReason::Outage { message: Some("connection refused".to_owned()) })));
    let unreachable = RunEnd::Stopped(StopReason::Unreachable { message: Some("dns error".to_owned()) });
    add(RunSummary { ok: 0, no_data: 0, ..stopped(&unreachable) }.with_end(&unreachable));
    let capped = RunSummary {
        cost_usd: usd(49_980_000),
        cost_source: CostSources { upstream_usd: usd(49_980_000), ..CostSources::default() },
        max_cost_usd: Some(usd(50_000_000)),
        ..stopped(&RunEnd::Stopped(StopReason::Budget))
    };
    add(capped.clone().with_end(&RunEnd::Stopped(StopReason::Budget)));
    let cost_source = CostSources { set_aside_usd: usd(40_000), ..capped.cost_source };
    add(RunSummary { cost_source, ..capped }.with_end(&RunEnd::Stopped(StopReason::Budget)));
    add(stopped(&RunEnd::Signal(Signal::Interrupt)));
    add(stopped(&RunEnd::Signal(Signal::Terminate)));
    add(stopped(&RunEnd::Unexpected {
        message: "cannot write out/_raw: no space left on device".to_owned(),
        hint: None,
    }));
    assert_snapshot!(text, @r#"
    error: finished, but 12 of 5,000 targets failed (more than --max-failures 0)
    hint: see out/_failures.csv; run the same command again to retry them

    error: export stopped after 5,000 of 5,000 targets: the dataset was not published
    hint: all paid answers are saved; run the same command again

    error: export stopped after 1,204 of 5,000 targets: the account has no credit
    hint: all paid answers are saved; top up the account and run the same command again

    error: export stopped after 1,204 of 5,000 targets: the API refused the token (last message: invalid_api_key: unknown key)
    hint: all paid answers are saved; set a valid AISA_API_KEY (or --token-file) and run the same command again

    error: export stopped after 1,204 of 5,000 targets: the API rejects the format of the requests (last message: Invalid Field: 'tag'.)
    hint: all paid answers are saved; check --body, --api, --date-from and --date-to, then run the same command again

    error: export stopped after 1,204 of 5,000 targets: too many calls were billed without a usable answer (20 targets in a row, the last a.com: Invalid Field: 'date_to'.)
    hint: all paid answers are saved; check the input, --api, --date-from and --date-to, then run the same command again

    error: export stopped after 1,204 of 5,000 targets: several targets in a row were refused by something other than the API (last message: a.com: HTTP 403: <html>no)
    hint: all paid answers are saved; check the token, --api, and any proxy or firewall in between, then run the same command again

    error: export stopped after 1,204 of 5,000 targets: the API has been down for too long (last message: connection refused)
    hint: all paid answers are saved; run the same command again when the API is back

    error: export stopped after 0 of 5,000 targets: the API cannot be reached (last message: dns error)
    hint: all paid answers are saved; check --api, the network, HTTPS_PROXY and SSL_CERT_FILE, then run the same command again

    error: export stopped after 1,204 of 5,000 targets: --max-cost $50.00 does not cover another call ($49.98 spent; 3,796 targets left)
    hint: all paid answers are saved; run the same command again with a higher --max-cost

    error: export stopped after 1,204 of 5,000 targets: --max-cost $50.00 does not cover another call ($49.98 spent, $0.0400 reserved for calls of unknown price; 3,796 targets left)
    hint: all paid answers are saved; run the same command again with a higher --max-cost

    error: export stopped after 1,204 of 5,000 targets: interrupted by SIGINT
    hint: all paid answers are saved, including the calls in flight; run the same command again to resume

    error: export stopped after 1,204 of 5,000 targets: interrupted by SIGTERM
    hint: all paid answers are saved, including the calls in flight; run the same command again to resume

    error: export stopped after 1,204 of 5,000 targets: cannot write out/_raw: no space left on device
    hint: all paid answers are saved; fix the problem above and run the same command again
    "#);
}

#[test]
fn a_success_reads_well_on_a_terminal() {
    assert_snapshot!(finished(summary()).text(80, false), @r#"
    Done: 5,000 of 5,000 targets answered

      targets   4,900 ok, 100 without data
      input     3 lines rejected (out/_rejected.csv), 17 duplicates, 1 subdomain
      rows      465,500
      calls     5,120, including 120 retries
      cost      $137.20, as debited
      time      8 min 32 s
      dataset   out/backlinks_history (12 files, 12.3 MB)
      read it   duckdb -c "SELECT * FROM 'out/backlinks_history/**/*.parquet' LIMIT 5"
    "#);
}

#[test]
fn a_stopped_run_shows_the_sources_of_its_cost() {
    let summary = RunSummary {
        cost_usd: usd(32_880_000),
        cost_source: CostSources {
            debit_usd: usd(20_000_000),
            upstream_usd: usd(12_880_000),
            unknown_calls: 3,
            set_aside_usd: usd(0),
        },
        possibly_billed: 2,
        max_cost_usd: Some(usd(50_000_000)),
        failed: 12,
        failure_reasons: vec![reason("40501 Invalid\u{1b}[2J Field", 11), reason("50401 timeout", 1)],
        calls_this_run: 1_000,
        cost_usd_this_run: usd(2_740_000),
        drift: vec!["the API sends a field that this version does not know: 'trust_score'".to_owned()],
        report: Some("out/report.html".into()),
        out: "it's $out".into(),
        ..stopped(&fatal(Fatal::NoCredit))
    };
    assert_snapshot!(summary.text(60, false), @r#"
    Stopped early: 1,204 of 5,000 targets answered

      targets   1,200 ok, 4 without data, 12 failed, 3,796
                pending
      input     3 lines rejected (it's $out/_rejected.csv), 17
                duplicates, 1 subdomain
      rows      465,500
      calls     5,120, including 120 retries; 1,000 in this run
      cost      $32.88 of $50.00: $20.00 as debited, $12.88 at
                the upstream price (the actual debit may be
                higher); not counted: 3 calls of unknown price;
                $2.74 in this run
      billed?   2 calls got no answer and may have been billed
      time      8 min 32 s
      failure   11 targets: 40501 Invalid Field
      failure   1 target: 50401 timeout
      failures  it's $out/_failures.csv
      note      the API sends a field that this version does not
                know: 'trust_score'
      dataset   it's $out/backlinks_history (12 files, 12.3 MB,
                without _SUCCESS)
      report    out/report.html
      read it   duckdb -c "SELECT * FROM 'it''s \$out/backlinks_history/**/*.parquet' LIMIT 5"
    "#);
    assert_snapshot!(summary.markdown(), @r#"
    **Stopped early: 1,204 of 5,000 targets answered**

    | | |
    | --- | --- |
    | targets | 1,200 ok, 4 without data, 12 failed, 3,796 pending |
    | input | 3 lines rejected (it's $out/\_rejected.csv), 17 duplicates, 1 subdomain |
    | rows | 465,500 |
    | calls | 5,120, including 120 retries; 1,000 in this run |
    | cost | $32.88 of $50.00: $20.00 as debited, $12.88 at the upstream price (the actual debit may be higher); not counted: 3 calls of unknown price; $2.74 in this run |
    | billed? | 2 calls got no answer and may have been billed |
    | time | 8 min 32 s |
    | failure | 11 targets: 40501 Invalid Field |
    | failure | 1 target: 50401 timeout |
    | failures | it's $out/\_failures.csv |
    | note | the API sends a field that this version does not know: 'trust\_score' |
    | dataset | it's $out/backlinks\_history (12 files, 12.3 MB, without \_SUCCESS) |
    | report | out/report.html |
    | read it | `duckdb -c "SELECT * FROM 'it''s \$out/backlinks_history/**/*.parquet' LIMIT 5"` |

    Error: export stopped after 1,204 of 5,000 targets: the account has no credit

    Hint: all paid answers are saved; top up the account and run the same command again
    "#);
}

#[test]
fn an_upload_is_shown_with_the_number_of_uploaded_files() {
    let check = |files_sent: u64, success: bool, expected: &str| {
        let uploaded = UploadSummary {
            url: "s3://bucket/audit".to_owned(),
            files: 12,
            files_sent,
            bytes_sent: 2_500_000,
            success,
        };
        let summary = RunSummary { published_to: Some(uploaded), ..summary() };
        let text = summary.text(200, false);
        let line = text.lines().find(|line| line.starts_with("  uploaded")).expect("a line");
        assert_eq!(line.trim(), expected);
        let json = &summary.json()["published_to"];
        assert_eq!((&json["url"], &json["files_sent"]), (&"s3://bucket/audit".into(), &files_sent.into()));
        assert_eq!((&json["success"], &json["bytes_sent"]), (&success.into(), &2_500_000.into()));
    };
    check(0, true, "uploaded  s3://bucket/audit (12 files, already up to date)");
    check(3, true, "uploaded  s3://bucket/audit (12 files, 3 uploaded: 2.5 MB)");
    check(11, false, "uploaded  s3://bucket/audit (12 files, 11 uploaded: 2.5 MB, without _SUCCESS)");
}

#[test]
fn color_changes_nothing_but_color() {
    let summary = stopped(&RunEnd::Signal(Signal::Interrupt));
    let colored = summary.text(80, true);
    let without: String = colored.replace("\x1b[1;33m", "").replace("\x1b[2m", "").replace("\x1b[0m", "");
    assert_ne!(colored, without);
    assert_eq!(without, summary.text(80, false));
}

#[test]
fn json_has_the_promised_keys() {
    let summary = finished(RunSummary { failed: 12, ok: 4_888, failure_reasons: vec![reason("x", 12)], ..summary() });
    let json = summary.json();
    assert_eq!(serde_json::from_value::<RunSummary>(json.clone()).expect("a summary"), summary, "it can be read back");
    for key in "targets ok no_data failed pending rejected duplicates rows calls retries cost_usd possibly_billed \
                elapsed_s out success"
        .split_whitespace()
    {
        assert!(!json[key].is_null(), "{key}");
    }
    assert_snapshot!(serde_json::to_string_pretty(&json).expect("JSON"), @r#"
    {
      "bytes": 12345678,
      "calls": 5120,
      "calls_this_run": 5120,
      "cost_source": {
        "debit_usd": 137.204,
        "set_aside_usd": 0.0,
        "unknown_calls": 0,
        "upstream_usd": 0.0
      },
      "cost_usd": 137.204,
      "cost_usd_this_run": 137.204,
      "count_mismatches": 0,
      "drift": [],
      "duplicates": 17,
      "elapsed_s": 512.345,
      "error": "finished, but 12 of 5,000 targets failed (more than --max-failures 0)",
      "exit_code": 3,
      "failed": 12,
      "failure_reasons": [
        {
          "count": 12,
          "reason": "x"
        }
      ],
      "files": 12,
      "fresh_since": null,
      "hint": "see out/_failures.csv; run the same command again to retry them",
      "max_cost_usd": null,
      "max_failures": "0",
      "no_data": 100,
      "ok": 4888,
      "out": "out",
      "pending": 0,
      "possibly_billed": 0,
      "published": true,
      "published_to": null,
      "refreshed": 0,
      "refreshed_this_run": 0,
      "rejected": 3,
      "report": null,
      "retries": 120,
      "rows": 465500,
      "stale": 0,
      "stopped": null,
      "subdomains": 1,
      "success": false,
      "taken_over": 0,
      "taken_over_this_run": 0,
      "targets": 5000,
      "undated": 0
    }
    "#);
}

#[test]
fn answers_that_are_too_old_are_shown_and_count_like_failures() {
    let check = |failed, stale, limit: &str, exit: u8, words: &str| {
        let ok = 4_900 - failed;
        let max_failures = limit.parse().expect("a limit");
        let summary = finished(RunSummary { ok, failed, stale, max_failures, ..summary() });
        assert_eq!((summary.exit_code, summary.success), (exit, exit == 0), "{words}");
        let text = summary.error.clone().unwrap_or_else(|| summary.text(200, false));
        assert!(text.contains(words), "{text}");
    };
    check(0, 3, "0", 3, "3 of 5,000 targets could not be refreshed: their older answers are used");
    check(2, 3, "0", 3, "2 of 5,000 targets failed and 3 could not be refreshed (more than --max-failures 0)");
    check(2, 3, "4", 3, "(more than --max-failures 4)");
    check(2, 3, "5", 0, "Done, with failures within the limit");
    check(0, 1, "1", 0, "1 target still has an answer older than --max-age");
    let summary = RunSummary { refreshed: 60, refreshed_this_run: 20, taken_over: 7, ..summary() };
    let text = summary.text(200, false);
    assert!(text.contains("refreshed 60 answers; 20 in this run"), "{text}");
    assert!(text.contains("reused    7 answers from earlier runs, at no cost, none in this run"), "{text}");
}

#[test]
fn count_mismatches_are_shown_once() {
    let check = |mismatches: u64, expected: &str| {
        let summary = finished(RunSummary { count_mismatches: mismatches, ..summary() });
        let (text, json) = (summary.text(200, false), summary.json());
        assert_eq!(text.matches("counts    ").count(), usize::from(mismatches > 0), "{text}");
        assert!(text.contains(expected), "{text}");
        assert_eq!((&json["count_mismatches"], summary.exit_code), (&mismatches.into(), 0));
    };
    check(0, "");
    check(1, "counts    1 answer has counts that do not match its content (see message in targets)");
    check(7, "counts    7 answers have counts that do not match");
}
