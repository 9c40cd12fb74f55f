//! The layering of the modules, checked against their own sources: which module may import which.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Rooms from the ground floor up, each with those that it may import. What is not named here may not be imported.
const MODULES: &[(&str, &[&str])] = &[
    ("money", &[]),
    ("clock", &[]),
    ("fs", &[]),
    ("sanitize", &[]),
    ("sha256", &[]),
    ("humanize", &["money"]),
    ("targets", &[]),
    ("decode", &["targets", "money"]),
    ("api", &["decode", "targets", "money", "clock"]),
    ("fetch", &["api", "decode", "targets", "money", "clock"]),
    ("dataset", &["money"]),
    ("ledger", &["api", "targets", "money", "clock", "fs"]),
    ("summary", &["api", "fetch", "ledger", "money", "targets", "humanize", "sanitize"]),
    ("progress", &["api", "fetch", "money", "humanize", "sanitize"]),
    (
        "export",
        &[
            "api", "clock", "dataset", "fetch", "decode", "fs", "ledger", "money", "progress", "summary", "targets",
            "humanize", "sanitize",
        ],
    ),
    ("doctor", &["api", "clock", "dataset", "export", "ledger", "money", "targets", "humanize", "sanitize"]),
    ("report", &["api", "dataset", "export", "decode", "fs", "money", "humanize", "sanitize"]),
    ("verify", &["dataset", "export", "decode", "fs", "ledger", "money", "summary", "targets"]),
    ("stores", &["api", "dataset", "export", "fs", "progress", "report", "summary", "humanize", "sanitize"]),
    ("sandbox", &["clock", "money"]),
    ("cli", &["api", "dataset", "fetch", "money", "progress", "sandbox", "stores", "summary", "targets"]),
    ("logging", &["cli", "progress"]),
    (
        "commands",
        &[
            "api", "cli", "clock", "dataset", "doctor", "export", "fetch", "decode", "ledger", "logging", "money",
            "progress", "report", "sandbox", "stores", "summary", "targets", "verify", "humanize", "sanitize",
        ],
    ),
    ("main", &["commands"]),
    ("lib", &[]),
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The module of a file: the first part of its path below `src`.
fn module(file: &Path) -> String {
    let below = file.strip_prefix(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).expect("below src");
    let first = below.components().next().expect("a part").as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// The code of a file without its tests and comments: they may look into other modules.
fn code(file: &Path) -> String {
    let text = fs::read_to_string(file).expect("a source file");
    let until = text.find("#[cfg(test)]").unwrap_or(text.len());
    text[..until].lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Names of modules that follow `crate::` (or the crate's name), alone or in braces.
fn imported(code: &str) -> BTreeSet<String> {
    let mut modules = BTreeSet::new();
    let is_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
    for (place, found) in code.match_indices("crate::").chain(code.match_indices("backlinks_export::")) {
        let rest = &code[place + found.len()..];
        let Some(inside) = rest.strip_prefix('{') else {
            modules.insert(rest.chars().take_while(|character| is_name(*character)).collect());
            continue;
        };
        let mut depth = 1;
        let mut name = String::new();
        let mut at_start = true;
        for character in inside.chars() {
            match character {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if at_start && depth == 1 && is_name(character) {
                name.push(character);
            } else if !name.is_empty() {
                modules.insert(std::mem::take(&mut name));
                at_start = false;
            }
            if depth == 1 && character == ',' {
                at_start = true;
            }
            if depth == 0 {
                break;
            }
        }
    }
    modules.retain(|name| !name.is_empty());
    modules
}

#[test]
fn imports_run_one_way() {
    let allowed: BTreeMap<&str, &[&str]> = MODULES.iter().copied().collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut checked = 0;
    for file in
        sources(&folder).iter().filter(|file| !file.ends_with("tests.rs") && !file.iter().any(|part| part == "tests"))
    {
        let module = module(file);
        let may =
            allowed.get(module.as_str()).unwrap_or_else(|| panic!("{module} is not in the table: add it to MODULES"));
        for other in
            imported(&code(file)).iter().filter(|other| **other != module && allowed.contains_key(other.as_str()))
        {
            assert!(may.contains(&other.as_str()), "{}: {module} may not import {other}", file.display());
            checked += 1;
        }
    }
    assert!(checked > 50, "the imports were read: {checked}");
}

#[test]
fn the_table_of_modules_has_no_circle() {
    for (place, (name, may)) in MODULES.iter().enumerate() {
        for other in *may {
            let below = MODULES.iter().position(|(module, _)| module == other).expect("a module");
            assert!(below < place, "{name} stands below {other}");
        }
    }
}

#[test]
fn the_unmaintained_crate_is_used_in_one_file() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let users: Vec<PathBuf> = sources(&folder).into_iter().filter(|file| code(file).contains("backoff::")).collect();
    assert_eq!(users, [folder.join("fetch/retry.rs")]);
}

#[test]
fn imports_are_found_in_every_form() {
    let check = |code: &str, expected: &[&str]| {
        assert_eq!(imported(code), expected.iter().map(|name| (*name).to_owned()).collect(), "{code}");
    };
    check("use crate::money::Usd;", &["money"]);
    check("use crate::{api::{self, Api}, money::Usd, words};", &["api", "money", "humanize", "sanitize"]);
    check("use crate::{\n    api,\n    fetch::{pace::Rate, x},\n};\ncrate::ledger::x()", &["api", "fetch", "ledger"]);
}
