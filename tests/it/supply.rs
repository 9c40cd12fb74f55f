//! What the program is built of: every crate is from the registry, under a licence that deny.toml allows, and known by
//! number. A change of these lists is a change of the supply chain, and shows in review.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use serde_json::Value;

/// Crates that run code of theirs while the program is built. What else does is found here first: a build script may do
/// whatever its author wants.
const BUILD_SCRIPTS: &[&str] = &[
    "ahash",
    "crunchy",
    "flatbuffers",
    "generic-array",
    "getrandom",
    "getrandom",
    "httparse",
    "icu_normalizer_data",
    "icu_properties_data",
    "libc",
    "libm",
    "num-traits",
    "parking_lot_core",
    "portable-atomic",
    "proc-macro2",
    "quote",
    "ring",
    "rustix",
    "rustls",
    "serde",
    "serde_core",
    "serde_json",
    "snap",
    "thiserror",
    "tiny-keccak",
    "zerocopy",
    "zmij",
    "zstd-safe",
    "zstd-sys",
];

/// Crates of which more than one version is built in, for deny.toml says why.
fn skipped(deny: &str) -> BTreeSet<String> {
    let lines = deny.lines().filter(|line| line.contains("{ crate = \"") && line.contains('@'));
    lines
        .map(|line| line.split('"').nth(1).unwrap_or_default().split('@').next().unwrap_or_default().to_owned())
        .collect()
}

fn root(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect(name)
}

/// What cargo knows of all crates that are built for this kind of machine, without the network.
fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The packages in the program itself and in what builds it, without those of tests.
fn built(metadata: &Value) -> Vec<&Value> {
    let nodes: BTreeMap<&str, &Value> =
        list(&metadata["resolve"]["nodes"]).map(|node| (text(&node["id"]), node)).collect();
    let mut found = BTreeSet::new();
    let mut open = vec![text(&metadata["resolve"]["root"])];
    while let Some(id) = open.pop() {
        if !found.insert(id) {
            continue;
        }
        for dependency in list(&nodes[id]["deps"]) {
            if list(&dependency["dep_kinds"]).any(|kind| kind["kind"] != "dev") {
                open.push(text(&dependency["pkg"]));
            }
        }
    }
    list(&metadata["packages"]).filter(|package| found.contains(text(&package["id"]))).collect()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Whether an expression of licences can be met with those that are allowed.
fn is_allowed(expression: &str, allowed: &[&str]) -> bool {
    let expression = expression.replace('/', " OR ").replace(['(', ')'], " ");
    // None of these expressions nests deeper than `(A OR B) AND C`.
    expression.split(" AND ").all(|all| {
        all.split(" OR ").any(|one| allowed.contains(&one.split(" WITH ").next().unwrap_or_default().trim()))
    })
}

#[test]
fn every_crate_is_from_the_registry_under_an_allowed_licence() {
    let deny = root("deny.toml");
    let allowed = deny.split("allow = [").nth(1).and_then(|rest| rest.split(']').next()).expect("a list");
    let allowed: Vec<&str> = allowed.split('"').skip(1).step_by(2).collect();
    for package in list(&metadata()["packages"]) {
        let (name, licence) = (text(&package["name"]), text(&package["license"]));
        assert!(is_allowed(licence, &allowed), "{name} is under {licence:?}");
        let from_registry = text(&package["source"]).starts_with("registry+");
        assert!(from_registry || name == env!("CARGO_PKG_NAME"), "{name} is not from the registry");
    }
    for line in root("Cargo.lock").lines().filter(|line| line.starts_with("source = ")) {
        assert!(line.starts_with("source = \"registry+"), "{line}");
    }
}

#[test]
fn no_crate_is_there_twice_but_those_that_deny_toml_names() {
    let lock = root("Cargo.lock");
    let mut versions: BTreeMap<&str, u32> = BTreeMap::new();
    for line in lock.lines().filter_map(|line| line.strip_prefix("name = \"")) {
        *versions.entry(line.trim_end_matches('"')).or_default() += 1;
    }
    let twice: BTreeSet<String> =
        versions.into_iter().filter(|(_, count)| *count > 1).map(|(name, _)| name.to_owned()).collect();
    assert_eq!(twice, skipped(&root("deny.toml")));
}

#[test]
fn unmaintained_crates_serve_where_they_are_known_to_and_nowhere_else() {
    let metadata = metadata();
    let dependents = |name: &str| -> Vec<&str> {
        let uses = |package: &&Value| {
            list(&package["dependencies"]).any(|one| one["name"] == name && one["optional"] == false)
        };
        list(&metadata["packages"]).filter(uses).map(|package| text(&package["name"])).collect()
    };
    assert_eq!(dependents("backoff"), ["backlinks-export"]);
    assert_eq!(dependents("instant"), ["backoff"]);
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("fetch/retry.rs") {
                let code = fs::read_to_string(&path).expect("a file");
                assert!(!code.contains("backoff::"), "{} uses backoff", path.display());
            }
        }
    }
}

#[test]
fn the_crates_of_the_program_are_as_many_as_the_readme_says_and_build_scripts_are_known() {
    let metadata = metadata();
    let built = built(&metadata);
    let scripts: Vec<&str> = built
        .iter()
        .filter(|package| {
            list(&package["targets"]).any(|target| list(&target["kind"]).any(|kind| kind == "custom-build"))
        })
        .map(|package| text(&package["name"]))
        .collect();
    assert_eq!(scripts, BUILD_SCRIPTS, "crates with a build script");
    let sentence = format!("{} crates", built.len() - 1);
    assert!(root("README.md").contains(&sentence), "README.md does not say {sentence:?}");
}
