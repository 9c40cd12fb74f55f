//! `replay … --partition-by run_date,…`: each run's rows are kept and not counted twice.

use std::fs;

use super::{age, records, rows_by_partition, target_rows, verified};
use crate::shell::{Api, DATES, Shell};

/// The folders of one day's snapshot with their rows.
fn of_day(shell: &Shell, out: &str, day: &str) -> (usize, usize) {
    let folders = rows_by_partition(&shell.path(out));
    let own = folders.iter().filter(|(folder, _)| folder.contains(&format!("run_date={day}")));
    own.fold((0, 0), |(count, rows), (_, more)| (count + 1, rows + more))
}

fn total(shell: &Shell, out: &str) -> usize {
    rows_by_partition(&shell.path(out)).values().sum()
}

fn day(shell: &Shell, out: &str) -> String {
    let started = records(&shell.path(out))[0]["started_at"].as_str().expect("a time").to_owned();
    started[..10].to_owned()
}

#[test]
fn each_runs_rows_are_kept_and_targets_have_the_newest_answer() {
    let (shell, api) = (Shell::with_domains(20), Api::new("--fail-code 40102:0.1"));
    let run = |out: &str, more: &str| format!("run domains.txt --out {out} {} {more}", api.flags());
    shell.run(&run("october", DATES)).expect(0);
    age(&shell.path("october"), 40);
    shell.run(&run("october", DATES)).expect(0);
    shell.list(10..30);
    shell.run(&run("november", "--date-from 2023-11-01 --date-to 2024-04-30")).expect(0);
    let days = ["october", "november"].map(|out| day(&shell, out));
    for by in ["run_date,year", "year,run_date", "run_date", "run_date,year,month"] {
        let out = format!("both-{}", by.replace(',', "-"));
        shell.run(&format!("replay october november --out {out} --partition-by {by}")).expect(0);
        verified(&shell, &out);
        assert_eq!(of_day(&shell, &out, &days[0]).1, total(&shell, "october"), "{by}");
        assert_eq!(of_day(&shell, &out, &days[1]).1, total(&shell, "november"), "{by}");
        let rows = |out: &str, target: &str| {
            target_rows(&shell.path(out)).get(target).map_or(0, |row| row["rows"].parse::<u64>().expect("a number"))
        };
        let both = target_rows(&shell.path(&out));
        assert_eq!(both.len(), 30);
        for (target, row) in &both {
            let expected = rows("october", target) + rows("november", target);
            assert_eq!(row["rows"], expected.to_string(), "{by}: {target}");
        }
        let newest = target_rows(&shell.path("november"));
        assert!(newest.iter().all(|(target, row)| both[target]["fetched_at"] == row["fetched_at"]));
    }
    // The order of the directories changes nothing.
    shell.run("replay november october --out turned --partition-by run_date,year").expect(0);
    assert!(shell.bytes("turned/backlinks_history") == shell.bytes("both-run_date-year/backlinks_history"));
    // Without run_date only the newest answer counts.
    shell.run("replay october november --out newest").expect(0);
    verified(&shell, "newest");
    assert!(total(&shell, "newest") < total(&shell, "both-run_date"));
    // A report shows the newest snapshot and names it.
    shell.run("report both-run_date-year").expect(0);
    let page = shell.read("both-run_date-year/report.html");
    assert!(page.contains(&format!("{}, the newest of 2", days[1])));
    // A changed dataset is still found.
    let folder = shell.path(&format!("both-run_date-year/backlinks_history/run_date={}", days[0]));
    fs::remove_dir_all(folder).expect("removed");
    shell.run("verify both-run_date-year").expect(1);
}

#[test]
fn runs_of_one_day_are_one_snapshot_in_which_the_newest_answer_counts() {
    let (shell, api) = (Shell::with_domains(8), Api::new(""));
    let run = |out: &str, more: &str| format!("run domains.txt --out {out} {} {more}", api.flags());
    shell.run(&run("morning", DATES)).expect(0);
    shell.list(4..12);
    shell.run(&run("evening", "--date-from 2023-11-01 --date-to 2024-04-30")).expect(0);
    shell.run("replay evening morning --out day --partition-by run_date,year").expect(0);
    verified(&shell, "day");
    shell.run("replay evening morning --out newest").expect(0);
    // Both began on the same day, unless midnight came between.
    if day(&shell, "morning") == day(&shell, "evening") {
        assert_eq!(total(&shell, "day"), total(&shell, "newest"));
    }
    // A run's own dataset is one snapshot, regardless of what was refreshed or copied.
    age(&shell.path("morning"), 40);
    shell.list(0..12);
    let refresh = "--date-from 2023-11-01 --max-age 30d --previous evening --partition-by run_date,year";
    shell.run(&run("morning", refresh)).expect(0);
    verified(&shell, "morning");
    assert_eq!(of_day(&shell, "morning", &day(&shell, "morning")).1, total(&shell, "morning"));
    shell.run("replay morning evening --out three --partition-by run_date").expect(0);
    verified(&shell, "three");
}
