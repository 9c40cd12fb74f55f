//! The page and its data, from datasets written by the crate's own writers, compared with a simple second computation.

use std::{collections::BTreeMap, fmt::Write as _, fs};

use fastrand::Rng;
use jiff::civil::{Date, date};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    month::Month,
    movers::Movers,
    portfolio::{COMPARISON_MONTHS, Portfolio},
    read::Dataset,
    shares::Shares,
    *,
};
use crate::{
    api::{Parameters, RankScale},
    dataset::{DatasetLayout, LineOutcome, Options, Part, Stage, TargetRow},
    decode::{Decoder, schema},
    export::{Provenance, RunManifest},
    ledger::Spending,
    money::Usd,
    summary::Totals,
};

const RUN_DATE: Date = date(2026, 11, 24);

/// An input line with its outcome.
struct Given<'a> {
    row: TargetRow<'a>,
    cells: Vec<Option<&'a str>>,
    items: Vec<Value>,
}

fn ok(target: &str, items: Vec<Value>) -> Given<'_> {
    let row = TargetRow {
        input: target,
        target: Some(target),
        outcome: LineOutcome::Ok,
        source: "a.csv:1",
        ..TargetRow::default()
    };
    Given { row: TargetRow { cost: Some(Usd::from_micros(30_000)), ..row }, cells: vec![], items }
}

/// Publishes a dataset of `given`, which is sorted by target, with its manifest.
fn publish(partition_by: &str, columns: &[&str], given: &[Given<'_>]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        layout: DatasetLayout {
            partition_by: partition_by.parse().unwrap(),
            compression: "zstd:1".parse().unwrap(),
            row_group_rows: 50,
            ..DatasetLayout::default()
        },
        run_id: "r1".to_owned(),
        metadata: vec![],
    };
    let columns: Vec<String> = columns.iter().map(ToString::to_string).collect();
    let stage = Stage::begin(dir.path()).unwrap();
    let mut history = stage.history(schema::history(), &options).unwrap();
    let mut targets = stage.targets(&options, &columns).unwrap();
    let mut decoder = Decoder::new();
    for Given { row, cells, items } in given {
        targets.push(row, cells).unwrap();
        if row.outcome == LineOutcome::Ok {
            let result = json!([{"target": row.target, "items": items}]);
            let body = json!({"status_code": 20_000, "tasks": [{"id": "x", "status_code": 20_000, "result": result}]});
            let rows = decoder.decode(row.target.unwrap(), body.to_string().as_bytes()).rows.unwrap();
            history.write(&rows.batch, RUN_DATE).unwrap();
        }
    }
    let mut parts = history.finish().unwrap();
    parts.push(targets.finish().unwrap());
    stage.publish(&parts).unwrap();
    manifest(partition_by, parts).write(dir.path(), true).unwrap();
    dir
}

fn manifest(partition_by: &str, files: Vec<Part>) -> RunManifest {
    let parameters = Parameters {
        date_from: date(2019, 1, 1),
        date_to: RUN_DATE,
        rank_scale: RankScale::OneThousand,
        tag: "<b>tag</b>".to_owned(),
    };
    RunManifest {
        provenance: Provenance {
            program: "backlinks-export".to_owned(),
            run_id: "r1".to_owned(),
            parameters,
            layout: DatasetLayout { partition_by: partition_by.parse().unwrap(), ..DatasetLayout::default() },
            ..Provenance::default()
        },
        totals: Totals { ok: 1, failures: BTreeMap::from([("<i>reason</i>".to_owned(), 1)]), ..Totals::default() },
        spending: Spending { calls: 3, debited: Usd::from_micros(90_000), ..Spending::default() },
        drift: vec!["unknown key \"</script><script>alert(2)</script>\"".to_owned()],
        files,
        ..RunManifest::default()
    }
}

fn item(day: Date, referring_domains: impl Into<Value>) -> Value {
    let date = format!("{day} 00:00:00 +00:00");
    json!({"type": "backlinks_history", "date": date, "referring_domains": referring_domains.into()})
}

fn cell(numbers: &mut Rng) -> Value {
    if numbers.u32(..9) == 0 { Value::Null } else { json!(numbers.u32(..1_000_000)) }
}

/// Histories with gaps, nulls, rows without a date, and repeated months.
fn histories(targets: usize) -> BTreeMap<String, Vec<Value>> {
    let mut numbers = Rng::with_seed(7);
    let mut histories = BTreeMap::new();
    for number in 0..targets {
        let mut items = Vec::new();
        let begin = 58 + numbers.u32(..22);
        for month in begin..=94 {
            let day = date(2019, 1, 31).checked_add(jiff::Span::new().months(month)).unwrap();
            let times = match numbers.u32(..25) {
                0 => 0,
                1 => 2,
                _ => 1,
            };
            for time in 0..times {
                let mut item = item(day.with().day(10 + time).build().unwrap(), cell(&mut numbers));
                for name in ["backlinks", "new_referring_domains", "lost_referring_domains", "new_backlinks", "rank"] {
                    item[name] = cell(&mut numbers);
                }
                item["referring_links_tld"] = json!({"com": numbers.u32(..100), "": numbers.u32(..10), ".de": 3});
                items.push(item);
            }
        }
        if number % 5 == 0 {
            items.push(json!({"type": "backlinks_history", "referring_domains": 5}));
        }
        histories.insert(format!("target{number}.com"), items);
    }
    // A single implausible date must not make all others stale.
    histories.get_mut("target3.com").unwrap().push(item(date(2031, 5, 1), 9));
    histories
}

fn month_of(item: &Value) -> Option<Month> {
    let day: Date = item["date"].as_str()?.get(..10)?.parse().ok()?;
    Some(Month::from_date(day))
}

#[test]
fn sums_by_month_and_target_equal_a_simple_count_for_any_partitioning() {
    let histories = histories(40);
    let given: Vec<_> = histories.iter().map(|(target, items)| ok(target, items.clone())).collect();
    let latest = Month::from_date(date(2026, 11, 1));
    // The last item served for a target and month
    let mut cells: BTreeMap<(Month, &str), &Value> = BTreeMap::new();
    for (target, items) in &histories {
        cells.extend(items.iter().filter_map(|item| Some(((month_of(item)?, target.as_str()), item))));
    }
    let check = |partition_by: &str| {
        let dir = publish(partition_by, &[], &given);
        let dataset = Dataset::open(dir.path(), &RunManifest::read(dir.path()).unwrap().unwrap()).unwrap();
        let months = dataset.months().unwrap();
        let portfolio = Portfolio::read(&dataset, &months).unwrap();
        assert_eq!((months.latest, months.undated, portfolio.outside), (Some(latest), 8, 1), "{partition_by}");
        for (month, totals) in &portfolio.months {
            let of_month: Vec<_> = cells.iter().filter(|((of, _), _)| of == month).map(|(_, item)| *item).collect();
            assert_eq!(totals.targets, of_month.len() as u64, "{month} {partition_by}");
            for (name, sum) in portfolio::COLUMNS.into_iter().zip(totals.sums) {
                let known: Vec<i64> = of_month.iter().filter_map(|item| item[name].as_i64()).collect();
                let total = known.iter().copied().map(i128::from).sum();
                assert_eq!(sum, (!known.is_empty()).then_some(total), "{name} {month} {partition_by}");
            }
        }
        assert_eq!(portfolio.months.last().map(|(month, _)| *month), Some(latest));
        for target in histories.keys() {
            let history = portfolio.history(target).unwrap();
            let of =
                |month: Month| cells.get(&(month, target.as_str())).and_then(|item| item["referring_domains"].as_i64());
            let compared: Vec<_> =
                (0..=COMPARISON_MONTHS).map(|place| of(latest.back(COMPARISON_MONTHS - place))).collect();
            assert_eq!(history.compared.as_slice(), compared, "{target} {partition_by}");
            let own: Vec<_> = cells.iter().filter(|((_, of), _)| of == target).collect();
            assert_eq!(history.months, own.len() as u64);
            let ((month, _), item) = own.last().unwrap();
            assert_eq!(
                (history.latest, history.cells[portfolio::RANK]),
                (Some(*month), item["rank"].as_i64()),
                "{target}"
            );
        }
        let shares = Shares::read(&dataset, &months).unwrap();
        let entries = |key: &str| {
            let rows = histories.values().flatten().filter(|item| month_of(item) == Some(latest));
            rows.filter_map(|item| item["referring_links_tld"][key].as_i64()).map(i128::from).sum::<i128>()
        };
        let mut expected = vec![("com", entries("com")), ("de", entries(".de"))];
        expected.sort_by_key(|(_, links)| std::cmp::Reverse(*links));
        assert_eq!(shares.tlds.top(9), (expected, 0), "{partition_by}");
        assert_eq!(shares.tlds.unknown, entries(""));
        assert_eq!(shares.countries.total(), 0);
    };
    check("year");
    check("none");
    check("month");
    check("year,month");
    check("year,month,run_date");
    check("run_date");
}

#[test]
fn winners_and_losers_are_those_with_the_greatest_changes_and_a_value_at_both_ends() {
    let two = |before: Value, now: Value| vec![item(date(2025, 11, 30), before), item(date(2026, 11, 30), now)];
    let given = [
        ok("a.com", two(json!(100), json!(150))),
        ok("b.com", two(json!(1_000), json!(900))),
        ok("c.com", two(json!(5), json!(55))),
        ok("d.com", two(Value::Null, json!(9_000))),
        ok("e.com", two(json!(7), json!(7))),
        ok("f.com", vec![item(date(2026, 11, 30), 5)]),
        ok("g.com", two(json!(0), json!(i64::MAX))),
    ];
    let dir = publish("year", &[], &given);
    let dataset = Dataset::open(dir.path(), &RunManifest::read(dir.path()).unwrap().unwrap()).unwrap();
    let portfolio = Portfolio::read(&dataset, &dataset.months().unwrap()).unwrap();
    let movers = Movers::new(&portfolio);
    let shown = |list: &[movers::Mover<'_>]| {
        list.iter().fold(String::new(), |mut shown, mover| {
            let _ = write!(shown, "{} {:+};", mover.target, mover.change);
            shown
        })
    };
    assert_eq!(shown(&movers.winners), format!("g.com +{};a.com +50;c.com +50;", i64::MAX));
    assert_eq!(shown(&movers.losers), "b.com -100;");
    assert_eq!(movers.compared, 5);
}

/// Text that does harm if it becomes markup, or escapes its element.
const HOSTILE: &str = "</script><img src=x onerror=alert(1)><!--<script>\"'&\u{202e}=1+1";

#[test]
fn untrusted_text_is_text_everywhere() {
    let failed = TargetRow {
        outcome: LineOutcome::Failed,
        target: Some("c.com"),
        message: Some(HOSTILE),
        ..TargetRow::default()
    };
    let rejected = TargetRow { outcome: LineOutcome::Rejected, message: Some(HOSTILE), ..TargetRow::default() };
    let mut hostile = item(date(2026, 11, 30), 5);
    hostile["referring_links_tld"] = json!({HOSTILE: 5, "com": 1});
    hostile["referring_links_countries"] = json!({HOSTILE: 5});
    let mut given = vec![ok("a.com", vec![hostile])];
    given.push(Given { row: failed, cells: vec![Some(HOSTILE), Some("Berlin")], items: vec![] });
    given.push(Given { row: rejected, cells: vec![], items: vec![] });
    let dir = publish("year", &[HOSTILE, "market"], &given);
    let page = render(dir.path()).unwrap();
    let check = |markup: &str, times: usize| assert_eq!(page.matches(markup).count(), times, "{markup}");
    check("<script", 2);
    check("</script>", 2);
    check("<img", 0);
    check("<!--", 0);
    check("<b>tag", 0);
    check("<i>reason", 0);
    check("\u{202e}", 0);
    // Reason, heading, message, cell, both keys, and the rejection
    assert!(page.matches("&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;").count() >= 6);
    let data = page.split("id=data>").nth(1).unwrap().split("</script>").next().unwrap();
    let data: Value = serde_json::from_str(data).unwrap();
    assert_eq!(data["columns"][1]["texts"][0], HOSTILE.replace('\u{202e}', ""));
}

#[test]
fn a_thin_month_names_the_largest_target_that_it_lacks() {
    let months = |backlinks: u64, months: &[i8]| {
        let items = months.iter().map(|month| {
            let mut item = item(date(2026, *month, 1), 5);
            item["backlinks"] = json!(backlinks);
            item
        });
        items.collect::<Vec<_>>()
    };
    let check = |giant: &[i8], expected: &str| {
        let given = [
            ok("ended.com", months(5_000, &[7])),
            ok("giant.com", months(980, giant)),
            ok("other.com", months(20, &[7, 8, 9, 10])),
            ok("small.com", months(20, &[7, 8, 9, 10])),
        ];
        let dir = publish("year", &[], &given);
        let page = render(dir.path()).unwrap();
        assert!(page.contains(expected), "{giant:?}: {}", page.split("Months are sums").nth(1).unwrap_or(&page));
    };
    // A history that has ended lacks no month.
    check(&[7, 8, 10], "2 of 3 in Sep 2026 (without giant.com, 16.3 % of all backlinks)");
    check(&[7, 8, 9], "2 of 3 in Oct 2026 (without giant.com, 16.3 % of all backlinks)");
}

#[test]
fn the_same_dataset_gives_the_same_page_which_is_not_rewritten() {
    let histories = histories(10);
    let given: Vec<_> = histories.iter().map(|(target, items)| ok(target, items.clone())).collect();
    let dir = publish("year", &[], &given);
    let report = write(dir.path(), None).unwrap();
    let first = fs::read(&report.path).unwrap();
    assert_eq!((report.path.as_path(), report.bytes), (dir.path().join(FILE).as_path(), first.len() as u64));
    let modified = fs::metadata(&report.path).unwrap().modified().unwrap();
    assert_eq!(write(dir.path(), None).unwrap(), report);
    assert_eq!(fs::metadata(&report.path).unwrap().modified().unwrap(), modified);
    let other = dir.path().join("other.html");
    assert_eq!(write(dir.path(), Some(&other)).unwrap().path, other);
    assert_eq!(fs::read(&other).unwrap(), first);
}

#[test]
fn the_page_of_an_empty_dataset_explains_that() {
    let no_data = TargetRow { outcome: LineOutcome::NoData, target: Some("a.com"), ..TargetRow::default() };
    let dir = publish("year", &[], &[Given { row: no_data, cells: vec![], items: vec![] }]);
    let page = render(dir.path()).unwrap();
    assert!(page.contains("The dataset has no dated rows, so there is nothing to plot."));
    assert!(page.contains("<td>a.com<td>no data"));
}

#[test]
fn a_missing_or_changed_dataset_is_an_error_with_a_hint() {
    let check = |dir: &Path, error: &str, is_usage: bool| {
        let found = render(dir).unwrap_err();
        let shown = found.to_string().replace(&dir.display().to_string(), "DIR");
        assert!(shown.contains(error), "{shown}");
        assert_eq!(found.is_usage(), is_usage, "{shown}");
        assert!(found.hint().is_some());
    };
    let empty = tempfile::tempdir().unwrap();
    check(empty.path(), "DIR does not contain a dataset", true);
    check(&empty.path().join("none"), "DIR does not contain a dataset", true);
    let dir = publish("year", &[], &[ok("a.com", vec![item(date(2026, 11, 30), 5)])]);
    let part = RunManifest::read(dir.path()).unwrap().unwrap().files[0].path.clone();
    let bytes = fs::read(dir.path().join(&part)).unwrap();
    fs::write(dir.path().join(&part), vec![7; bytes.len()]).unwrap();
    check(dir.path(), &format!("cannot read DIR/{}", part.display()), false);
    fs::write(dir.path().join(&part), b"PAR1").unwrap();
    check(dir.path(), "was changed after publishing", false);
    fs::remove_file(dir.path().join(&part)).unwrap();
    check(dir.path(), &format!("{} is missing", part.file_name().unwrap().display()), false);
    fs::remove_dir_all(dir.path().join("backlinks_history")).unwrap();
    check(dir.path(), "DIR does not contain a dataset", true);
}

#[test]
fn input_columns_are_shown_unless_they_are_empty_or_too_large() {
    let long = "x".repeat(500);
    let many: Vec<String> = (0..400).map(|number| format!("{number}{long}")).collect();
    let given: Vec<_> = (0..400)
        .map(|number| Given {
            cells: vec![Some("Acme"), Some(&many[number]), None, Some("c"), Some("d")],
            ..ok("a.com", vec![])
        })
        .collect();
    let dir = publish("year", &["client", "notes", "empty", "market", "fifth"], &given);
    let dataset = Dataset::open(dir.path(), &RunManifest::read(dir.path()).unwrap().unwrap()).unwrap();
    let lines = Lines::read(&dataset).unwrap();
    let names: Vec<_> = lines.columns.iter().map(|column| column.name.as_str()).collect();
    // 400 texts of 60 characters are within what is shown; what is empty is not shown.
    assert_eq!(names, ["input_client", "input_notes", "input_market"]);
    assert_eq!(lines.left_out, ["input_empty", "input_fifth"]);
    assert_eq!(lines.columns[0].texts, ["Acme"]);
    assert_eq!(lines.columns[1].texts[399].chars().count(), 61);
    assert_eq!(lines.targets[399].cells, [Some(0), Some(399), Some(0)]);
}
