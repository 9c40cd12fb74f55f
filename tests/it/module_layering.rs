//! The layering of the modules, checked against their own sources: which module may import which.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::program::files;

/// Modules from the bottom up, each with those that it may import.
const MODULES: &[(&str, &[&str])] = &[
    ("as_text", &[]),
    ("money", &[]),
    ("clock", &[]),
    ("environment", &[]),
    ("fs", &[]),
    ("sanitize", &[]),
    ("sha256", &[]),
    ("humanize", &["money"]),
    ("targets", &["as_text", "sanitize"]),
    ("decode", &["targets", "money"]),
    ("api", &["as_text", "decode", "targets", "money", "clock", "environment"]),
    ("fetch", &["api", "decode", "targets", "money", "clock"]),
    ("dataset", &["as_text", "money", "fs", "sanitize", "sha256"]),
    ("ledger", &["api", "as_text", "targets", "money", "clock", "fs", "sha256"]),
    ("summary", &["api", "as_text", "fetch", "ledger", "money", "targets", "humanize", "sanitize"]),
    ("progress", &["api", "fetch", "money", "humanize", "sanitize"]),
    (
        "export",
        &[
            "api", "clock", "dataset", "fetch", "decode", "fs", "ledger", "money", "progress", "summary", "targets",
            "humanize", "sanitize", "sha256",
        ],
    ),
    ("doctor", &["api", "clock", "dataset", "export", "ledger", "money", "targets", "humanize"]),
    ("report", &["api", "dataset", "export", "decode", "fs", "money", "humanize", "sanitize"]),
    ("verify", &["dataset", "export", "decode", "fs", "ledger", "money", "summary", "targets", "humanize", "sha256"]),
    ("stores", &["api", "dataset", "export", "fs", "progress", "report", "summary", "humanize", "sanitize", "sha256"]),
    ("sandbox", &["clock", "money"]),
    ("cli", &["api", "dataset", "fetch", "fs", "money", "progress", "sandbox", "stores", "summary", "targets"]),
    ("logging", &["cli", "progress"]),
    (
        "commands",
        &[
            "api",
            "cli",
            "clock",
            "dataset",
            "doctor",
            "environment",
            "export",
            "fetch",
            "decode",
            "ledger",
            "logging",
            "money",
            "progress",
            "report",
            "sandbox",
            "stores",
            "summary",
            "targets",
            "verify",
            "humanize",
            "sanitize",
        ],
    ),
    ("main", &["commands"]),
    ("lib", &[]),
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let is_rust = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rs");
    files(folder).into_iter().filter(is_rust).collect()
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).expect("a source file")
}

/// The module of a file: the first part of its path below `src`.
fn module(file: &Path) -> String {
    let below = file.strip_prefix(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).expect("below src");
    let first = below.components().next().expect("a part").as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// The code of a file as tokens, without comments and without items that only tests have.
fn code(text: &str) -> Vec<TokenTree> {
    let tokens: TokenStream = text.parse().expect("Rust");
    let mut tokens = tokens.into_iter().peekable();
    let mut code = Vec::new();
    while let Some(token) = tokens.next() {
        let is_attribute = matches!(&token, TokenTree::Punct(sign) if sign.as_char() == '#');
        // How tokens are spaced as text is not defined
        let is_test = |next: &TokenTree| next.to_string().replace(' ', "") == "[cfg(test)]";
        if is_attribute && tokens.next_if(is_test).is_some() {
            let ends_item = |token: &TokenTree| match token {
                TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
                other => other.to_string() == ";",
            };
            let _item = tokens.find(ends_item);
        } else {
            code.push(token);
        }
    }
    code
}

/// Names of the modules of this crate that code imports or names in a path. `depth` is that of its own module: this
/// many `super` lead to the root of the crate.
fn imported(code: Vec<TokenTree>, depth: usize) -> BTreeSet<String> {
    let mut modules = BTreeSet::new();
    // How many modules the path so far is below the root of the crate.
    let mut at = None;
    for token in code {
        let text = token.to_string();
        match token {
            TokenTree::Ident(_) if text == "crate" || text == "backlinks_export" => at = Some(0),
            TokenTree::Ident(_) if text == "super" => at = at.unwrap_or(depth).checked_sub(1),
            TokenTree::Ident(_) if at == Some(0) => {
                modules.insert(text);
                at = None;
            }
            TokenTree::Punct(sign) if sign.as_char() == ':' => {}
            TokenTree::Group(group) => {
                if at == Some(0) {
                    let inside: Vec<_> = group.stream().into_iter().collect();
                    let names = inside.split(|token| token.to_string() == ",").filter_map(<[_]>::first);
                    modules.extend(names.map(ToString::to_string));
                }
                at = None;
                modules.append(&mut imported(group.stream().into_iter().collect(), depth));
            }
            _ => at = None,
        }
    }
    modules
}

/// How many modules a file is below the root of the crate.
fn depth(file: &Path) -> usize {
    let below = file.strip_prefix(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).expect("below src");
    below.components().count() - usize::from(file.ends_with("mod.rs"))
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
        for other in imported(code(&read(file)), depth(file))
            .iter()
            .filter(|other| **other != module && allowed.contains_key(other.as_str()))
        {
            assert!(may.contains(&other.as_str()), "{}: {module} may not import {other}", file.display());
            checked += 1;
        }
    }
    assert!(checked > 50, "the imports were read: {checked}");
}

#[test]
fn the_table_of_modules_has_no_cycle() {
    for (place, (name, may)) in MODULES.iter().enumerate() {
        for other in *may {
            let below = MODULES.iter().position(|(module, _)| module == other).expect("a module");
            assert!(below < place, "{name} is below {other}");
        }
    }
}

#[test]
fn what_only_some_files_may_use_is_used_in_each_of_them_and_nowhere_else() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let check = |name: &str, users: &[&str]| {
        let path = format!("{name}::");
        let found = sources(&folder).into_iter().filter(|file| read(file).contains(&path));
        let found: Vec<PathBuf> = found.map(|file| file.strip_prefix(&folder).expect("below src").to_owned()).collect();
        for file in &found {
            assert!(users.iter().any(|user| file.starts_with(user)), "{} may not use {name}", file.display());
        }
        for user in users {
            assert!(found.iter().any(|file| file.starts_with(user)), "{user} does not use {name}");
        }
    };
    // Unmaintained: only its schedule of waits is used.
    check("backoff", &["fetch/retry.rs"]);
    // The API over the network. Everything else sees the trait `Api`.
    check("http", &["commands", "doctor", "stores"]);
    // Types outside `cli` and `commands` whose values are flags: each name is then written once, beside its value.
    let flags = ["api/mod.rs", "progress/mode.rs", "sandbox/faults.rs", "sandbox/settings.rs", "targets/read/mod.rs"];
    check("clap", &[&["cli", "commands"], &flags[..]].concat());
}

#[test]
fn imports_are_found_in_every_form() {
    let check = |text: &str, expected: &[&str]| {
        assert_eq!(imported(code(text), 2), expected.iter().map(|name| (*name).to_owned()).collect(), "{text}");
    };
    check("use crate::money::Usd;", &["money"]);
    check("use crate::{api::{self, Api}, money::Usd, sanitize};", &["api", "money", "sanitize"]);
    check("use crate::{\n    api,\n    fetch::{pace::Rate, x},\n};\ncrate::ledger::x()", &["api", "fetch", "ledger"]);
    check("fn a() { if b { crate::api::x() } }", &["api"]);
    check(
        "use super::a; use super::super::ledger::x; use super::super::{clock, money::Usd};",
        &["clock", "ledger", "money"],
    );
    check("#[cfg(test)]\nmod tests;\nuse crate::api;", &["api"]);
    check("#[cfg(test)]\nmod tests { use crate::api; }\n#[cfg(test)]\nuse crate::fetch;\n// crate::money\n", &[]);
    check("let text = \"crate::money\";", &[]);
}
