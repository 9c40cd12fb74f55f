//! Fuzzing: mutated inputs for every parser of untrusted bytes. `FUZZ_SECONDS=600 cargo test --release --test fuzz`
//!
//! In-process and on the stable toolchain: seeds from `corpus/` and generated ones, a seeded generator, and as feedback
//! what each target reports: an input with a new result joins the seeds. Each target checks its own promises; no input
//! may cause a panic or a hang. A failing input is written to the test's temporary folder and named, with the seed.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a test reports its progress")]

mod engine;
mod targets;

use engine::fuzz;

#[test]
fn cleaning_a_name() {
    fuzz("clean", &[], targets::DOMAINS, targets::clean);
}

#[test]
fn judging_and_decoding_an_answer() {
    fuzz("answer", &[], targets::JSON, targets::answer);
}

#[test]
fn opening_a_ledger() {
    let folder = tempfile::tempdir().expect("a directory");
    let seeds = targets::some_ledgers();
    fuzz("ledger", &seeds, &[], |bytes| targets::ledger(folder.path(), bytes));
}

#[test]
fn reading_the_records_of_sound_frames() {
    let folder = tempfile::tempdir().expect("a directory");
    let seeds = targets::some_records();
    fuzz("records", &seeds, targets::RECORDS, |bytes| targets::records(folder.path(), bytes));
}

#[test]
fn reading_retry_after() {
    fuzz("retry_after", &[], targets::DATES, targets::retry_after);
}

#[test]
fn reading_a_table() {
    let folder = tempfile::tempdir().expect("a directory");
    let seeds = targets::some_tables();
    fuzz("table", &seeds, targets::CELLS, |bytes| targets::table(folder.path(), bytes));
}
