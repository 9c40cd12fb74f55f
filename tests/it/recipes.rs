//! The recipes of docs/recipes.md, followed step by step.

use std::{fs, path::Path};

use super::shell::{Api, Shell};

/// A file of the project.
fn project(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect(name)
}

/// The blocks of a language under a heading of the page.
fn blocks(heading: &str, language: &str) -> Vec<String> {
    let page = project("docs/recipes.md");
    let section = page.split(&format!("\n## {heading}")).nth(1).unwrap_or_else(|| panic!("no heading {heading}"));
    let section = section.split("\n## ").next().unwrap_or_default();
    let fence = format!("\n```{language}\n");
    section.split(&fence).skip(1).map(|block| block.split("\n```").next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn the_file_of_flags_works_with_the_commands_named_there() {
    let (shell, api) = (Shell::new(), Api::new(""));
    fs::create_dir(shell.path("inputs")).expect("made");
    shell.write("inputs/portfolio.csv", project("inputs/portfolio.csv"));
    let [file] = &blocks("A file of flags", "toml")[..] else { panic!("one file") };
    shell.write("run.toml", file);
    let plan = shell.run(&format!("plan --config run.toml --format json --api {}", api.url())).expect(0).json();
    let targets = plan["targets"].as_u64().expect("a number");
    assert!(targets > 30, "{plan}");
    let ran = shell.run(&format!("run --config run.toml --summary json {}", api.flags())).expect(0).json();
    assert_eq!(
        (&ran["targets"], &ran["max_cost_usd"], &ran["max_failures"]),
        (&targets.into(), &50.0.into(), &"1%".into())
    );
    assert!(shell.path("out/audit/report.html").exists());
    assert_eq!(api.bill().calls, targets);
    // With --out for the other directory, replay uses the applicable flags; `_run.json` has the path of the report.
    shell.run("replay out/audit --config run.toml --out out/again").expect(0);
    for dir in ["out/audit", "out/again"] {
        let record: serde_json::Value = serde_json::from_str(&shell.read(&format!("{dir}/_run.json"))).expect("JSON");
        assert_eq!(record["summary"]["report"], format!("{dir}/report.html"));
        assert!(shell.path(dir).join("report.html").exists() && shell.is_complete(dir), "{dir}");
        shell.run(&format!("verify {dir}")).expect(0);
    }
    // The second time, nothing changes.
    let files = shell.files("out");
    shell.run(&format!("run --config run.toml {}", api.flags())).expect(0);
    shell.run("replay out/audit --config run.toml --out out/again").expect(0);
    assert_eq!(shell.files("out"), files);
}
