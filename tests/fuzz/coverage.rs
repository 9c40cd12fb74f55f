//! The same targets under libFuzzer; `tests/fuzz/coverage` builds and runs it, and cargo alone does not.
//!
//! One program for all of them, since building one takes minutes: `FUZZ_TARGET` selects one. With `FUZZ_SEEDS=DIR` it
//! writes the generated seeds to that directory and the dictionary next to it, and exits.

#![no_main]

use std::{env, fs, hash::Hash, path::Path, process, sync::OnceLock};

use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

mod engine {
    //! libFuzzer measures by itself what an input reaches.

    pub(crate) type Seen = ();

    pub(crate) fn seen(_: impl super::Hash) -> Seen {}
}
mod targets;

/// The name of the target and a directory for its files.
static TARGET: OnceLock<(String, TempDir)> = OnceLock::new();

fuzz_target!(init: {
    let name = env::var("FUZZ_TARGET").expect("FUZZ_TARGET");
    if let Some(folder) = env::var_os("FUZZ_SEEDS") {
        write_seeds(&name, Path::new(&folder));
        process::exit(0);
    }
    let _ = TARGET.set((name, tempfile::tempdir().expect("a directory")));
}, |bytes: &[u8]| {
    let (name, folder) = TARGET.get().expect("set");
    match name.as_str() {
        "clean" => targets::clean(bytes),
        "answer" => targets::answer(bytes),
        "ledger" => targets::ledger(folder.path(), bytes),
        "records" => targets::records(folder.path(), bytes),
        "retry_after" => targets::retry_after(bytes),
        "table" => targets::table(folder.path(), bytes),
        other => panic!("{other} is not a target"),
    }
});

fn write_seeds(name: &str, folder: &Path) {
    let (seeds, words) = match name {
        "clean" => (Vec::new(), targets::DOMAINS),
        "answer" => (Vec::new(), targets::JSON),
        "ledger" => (targets::some_ledgers(), [].as_slice()),
        "records" => (targets::some_records(), targets::RECORDS),
        "retry_after" => (Vec::new(), targets::DATES),
        "table" => (targets::some_tables(), targets::CELLS),
        other => panic!("{other} is not a target"),
    };
    for (number, seed) in seeds.iter().enumerate() {
        fs::write(folder.join(number.to_string()), seed).expect("written");
    }
    let escaped = |word: &&str| word.bytes().map(|byte| format!("\\x{byte:02x}")).collect::<String>();
    let lines: String = words.iter().map(|word| format!("\"{}\"\n", escaped(word))).collect();
    fs::write(folder.with_extension("dict"), lines).expect("written");
}
