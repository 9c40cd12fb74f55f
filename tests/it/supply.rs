//! What the program is built of: every crate is from the registry, under a licence that deny.toml allows, and known by
//! number. A change of these lists is a change of the supply chain, and shows in review.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use serde_json::Value;

/// Crates that run a script while the program is built, which may do whatever its author wants; what these do is said in
/// docs/security.md. What else runs one is found here first.
const BUILD_SCRIPTS: &[&str] = &[
    "ahash",
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
    "zerocopy",
    "zmij",
    "zstd-safe",
    "zstd-sys",
];

/// Crates that the compiler runs to write code: they too may do whatever their authors want.
const MACROS: &[&str] = &[
    "async-trait",
    "clap_derive",
    "displaydoc",
    "futures-macro",
    "seq-macro",
    "serde_derive",
    "thiserror-impl",
    "tokio-macros",
    "tracing-attributes",
    "yoke-derive",
    "zerocopy-derive",
    "zerofrom-derive",
    "zerovec-derive",
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

/// The kind of machine that is looked at, whichever this one is.
const MACHINE: &str = "x86_64-unknown-linux-gnu";

/// What cargo says of all crates, without the network.
fn cargo(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .args(["--locked", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn metadata() -> Value {
    serde_json::from_slice(&cargo(&["metadata", "--format-version", "1", "--filter-platform", MACHINE])).expect("JSON")
}

/// The packages in the program itself and in what builds it, without those of tests.
fn built(metadata: &Value) -> Vec<&Value> {
    // From the tree: the metadata also name crates that stand behind a feature which nobody asks for.
    let tree = cargo(&["tree", "--edges", "no-dev", "--target", MACHINE, "--prefix", "none", "--format", "{p}"]);
    let tree = String::from_utf8(tree).expect("text");
    let built: BTreeSet<(&str, &str)> =
        tree.lines().filter_map(|line| line.split(" (").next()?.split_once(" v")).collect();
    let packages: Vec<&Value> = list(&metadata["packages"])
        .filter(|package| built.contains(&(text(&package["name"]), text(&package["version"]))))
        .collect();
    assert_eq!(packages.len(), built.len(), "each crate of the tree is known");
    packages
}

/// Names of the packages with a target of that kind.
fn with_a<'a>(kind: &str, packages: &[&'a Value]) -> Vec<&'a str> {
    let has = |target: &Value| list(&target["kind"]).any(|one| one == kind);
    packages.iter().filter(|package| list(&package["targets"]).any(has)).map(|package| text(&package["name"])).collect()
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
fn the_crates_of_the_program_are_as_many_as_the_readme_says_and_what_runs_while_it_is_built_is_known() {
    let metadata = metadata();
    let built = built(&metadata);
    assert_eq!(with_a("custom-build", &built), BUILD_SCRIPTS, "crates with a build script");
    assert_eq!(with_a("proc-macro", &built), MACROS, "crates of macros");
    let sentence = format!("{} crates", built.len() - 1);
    assert!(root("README.md").contains(&sentence), "README.md does not say {sentence:?}");
}
