//! Ledgers of several files, intact and damaged, with the real program: damage is named, and nothing is bought or
//! published.

use std::{fs, io::Write as _, path::Path, process::Command, time::Duration};

use backlinks_export::{
    ledger::Archive,
    sandbox::{Sandbox, Settings},
};

use super::members::{gunzip, gzip, member, members};
use super::program::{BINARY, Place, Running, ended, instant, latency, run, sandbox, stderr, table, verified};

/// Targets of a small run.
const TARGETS: usize = 60;

/// The byte offset in an error.
fn named(words: &str) -> Option<usize> {
    words.split_once("damaged at byte ").and_then(|(_, rest)| rest.split(':').next()?.parse().ok())
}

/// Splits a ledger of one file into three, like one that has exceeded the size of a file.
fn divide(out: &Path) {
    let path = |number: usize| out.join(format!("_raw/ledger-{number}.jsonl.gz"));
    let whole = fs::read(path(0)).expect("readable");
    let mut rest = whole;
    for number in 0..2 {
        let (mut end, least) = (0, rest.len() * (number + 1) / 3);
        // If the next member begins within a record, the ledger cannot be read.
        for (member, _) in members(&rest.clone()) {
            end += member.len();
            if end < least {
                continue;
            }
            fs::write(path(number), &rest[..end]).expect("written");
            fs::write(path(number + 1), &rest[end..]).expect("written");
            if Archive::read(out).is_ok() {
                break;
            }
        }
        rest.drain(..end);
    }
    assert!(fs::metadata(path(2)).expect("there").len() > 0);
    // The record contains the length of the one file.
    fs::remove_file(out.join("_run.json")).expect("removed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_of_several_files_is_read_as_one_and_extended() {
    let (api, place) = (sandbox(instant()).await, Place::new(TARGETS));
    ended(place.run(&api.url(), ""), 0).await;
    let published = table(&place.out(), "backlinks_history");
    divide(&place.out());
    ended(place.run(&api.url(), ""), 0).await;
    assert!(table(&place.out(), "backlinks_history") == published, "the same dataset");
    assert_eq!(api.bill().calls, TARGETS as u64, "nothing was bought again");
    place.list(TARGETS + 10);
    ended(place.run(&api.url(), ""), 0).await;
    assert_eq!(api.bill().billed_calls, TARGETS as u64 + 10);

    // No crash leaves an incomplete record in a file that is not the last.
    let middle = place.out().join("_raw/ledger-1.jsonl.gz");
    let whole = fs::read(&middle).expect("readable");
    fs::write(&middle, &whole[..whole.len() - 3]).expect("written");
    let output = ended(place.run(&api.url(), "--partition-by none"), 1).await;
    let words = stderr(&output);
    assert!(words.contains("ledger-1.jsonl.gz is damaged at byte"), "{words}");
    fs::write(&middle, &whole).expect("written");
    ended(place.run(&api.url(), "--partition-by none"), 0).await;
    assert_eq!(api.bill().billed_calls, TARGETS as u64 + 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_ledger_is_named_and_nothing_is_bought_or_published() {
    let (api, place) = (sandbox(instant()).await, Place::new(TARGETS));
    ended(place.run(&api.url(), ""), 0).await;
    divide(&place.out());
    let file = place.out().join("_raw/ledger-1.jsonl.gz");
    let whole = fs::read(&file).expect("readable");
    let published = table(&place.out(), "backlinks_history");
    let calls = api.bill().calls;
    let sound = gunzip(&whole).expect("sound");
    for place_of_damage in (1..20).map(|part| whole.len() * part / 20) {
        let mut damaged = whole.clone();
        damaged[place_of_damage] ^= 0x10;
        // A few bits of a member are insignificant: its content and checksum stay the same.
        if gunzip(&damaged).is_ok_and(|content| content == sound) {
            continue;
        }
        fs::write(&file, &damaged).expect("written");
        // With another layout it reads every answer.
        let output = ended(place.run(&api.url(), "--partition-by none"), 1).await;
        let words = stderr(&output);
        assert!(words.contains("ledger-1.jsonl.gz is damaged at byte"), "{words}");
        assert!(named(&words).is_some_and(|offset| offset <= place_of_damage), "{words}");
    }
    assert_eq!(api.bill().calls, calls, "nothing was bought");
    assert!(table(&place.out(), "backlinks_history") == published, "the published dataset is unchanged");
    fs::write(&file, &whole).expect("written");
    ended(place.run(&api.url(), "--partition-by none"), 0).await;
    assert_eq!(api.bill().calls, calls);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_missing_from_a_ledger_are_bought_again_only_on_request() {
    let (api, place) = (sandbox(instant()).await, Place::new(TARGETS));
    ended(place.run(&api.url(), ""), 0).await;
    let file = place.out().join("_raw/ledger-0.jsonl.gz");
    let whole = fs::read(&file).expect("readable");
    let published = table(&place.out(), "backlinks_history");
    for kept in [0, 1, whole.len() / 2, whole.len() - 1] {
        fs::write(&file, &whole[..kept]).expect("written");
        let output = ended(place.run(&api.url(), ""), 1).await;
        let words = stderr(&output);
        assert!(words.contains("ledger-0.jsonl.gz has lost paid answers"), "{kept} bytes: {words}");
        assert!(words.contains("restore a complete copy"), "{words}");
    }
    fs::remove_dir_all(place.out().join("_raw")).expect("removed");
    let words = stderr(&ended(place.run(&api.url(), ""), 2).await);
    let missing = format!("contains a dataset, but its ledger {} is missing", file.display());
    assert!(words.contains(&missing) && words.contains("hint: restore the file"), "{words}");
    // A folder of that name without a ledger does not count as one.
    fs::create_dir(place.out().join("_raw")).expect("made");
    fs::write(place.out().join("_raw/notes.txt"), "mine").expect("written");
    ended(place.run(&api.url(), ""), 2).await;
    assert_eq!(api.bill().calls, TARGETS as u64, "nothing was bought");
    assert!(table(&place.out(), "backlinks_history") == published, "the published dataset is unchanged");

    fs::remove_file(place.out().join("_raw/notes.txt")).expect("removed");
    fs::write(&file, &whole).expect("written");
    ended(place.run(&api.url(), ""), 0).await;
    assert_eq!(api.bill().calls, TARGETS as u64);
    // On request, half of it is bought again.
    fs::write(&file, &whole[..whole.len() / 2]).expect("written");
    fs::remove_file(place.out().join("_run.json")).expect("removed");
    ended(place.run(&api.url(), ""), 0).await;
    assert!(api.bill().calls > TARGETS as u64);
    assert!(table(&place.out(), "backlinks_history") == published, "the same dataset");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_end_is_cut_off_even_if_no_call_is_left() {
    let (api, place) = (sandbox(instant()).await, Place::new(TARGETS));
    ended(place.run(&api.url(), ""), 0).await;
    let file = place.out().join("_raw/ledger-0.jsonl.gz");
    let whole = fs::read(&file).expect("readable");
    fs::write(&file, [&whole[..], &whole[..20]].concat()).expect("written");
    ended(place.run(&api.url(), ""), 0).await;
    assert!(fs::read(&file).expect("readable") == whole, "as it was");
    verified(&place.out()).await;
    assert_eq!(api.bill().calls, TARGETS as u64);
    for side in ["_failures.csv", "_rejected.csv"] {
        fs::remove_file(place.out().join(side)).expect("removed");
        ended(place.run(&api.url(), ""), 0).await;
        verified(&place.out()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_that_another_program_has_written_to_is_named_and_left_unchanged() {
    let (api, place) = (sandbox(instant()).await, Place::new(TARGETS));
    ended(place.run(&api.url(), ""), 0).await;
    let file = place.out().join("_raw/ledger-0.jsonl.gz");
    let whole = fs::read(&file).expect("readable");
    let appended = [&whole[..], &gzip(b"{\"record\":\"refund\"}\n")].concat();
    for (changed, offset) in [(appended, whole.len()), (gzip(&gunzip(&whole).expect("sound")), 0)] {
        fs::write(&file, &changed).expect("written");
        for flags in ["", "--partition-by none"] {
            let words = stderr(&ended(place.run(&api.url(), flags), 1).await);
            let expected = format!("ledger-0.jsonl.gz is damaged at byte {offset}: no record begins here");
            assert!(words.contains(&expected) && words.contains("restore an intact copy of the file"), "{words}");
        }
        assert!(fs::read(&file).expect("readable") == changed, "left as it is");
    }
    assert_eq!(api.bill().calls, TARGETS as u64, "nothing was bought");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_of_a_newer_version_is_reported_as_such_and_left_unchanged() {
    let (api, place) = (sandbox(instant()).await, Place::new(TARGETS));
    ended(place.run(&api.url(), ""), 0).await;
    let file = place.out().join("_raw/ledger-0.jsonl.gz");
    let whole = fs::read(&file).expect("readable");
    let (first, run) = members(&whole).swap_remove(0);
    let later_format = String::from_utf8(run).expect("text").replace("\"format\":2", "\"format\":3");
    assert!(later_format.contains("\"format\":3"), "{later_format}");
    for newer in [
        [&whole[..], &member(b"{\"record\":\"summed_up\",\"target\":\"a.com\"}\n")].concat(),
        [&whole[..], &member(b"{\"record\":\"gave_up\",\"target\":\"a.com\",\"how\":7}\n")].concat(),
        [&member(later_format.as_bytes()), &whole[first.len()..]].concat(),
    ] {
        fs::write(&file, &newer).expect("written");
        for flags in ["", "--partition-by none"] {
            let words = stderr(&ended(place.run(&api.url(), flags), 1).await);
            assert!(words.contains("ledger-0.jsonl.gz was made by a newer version of backlinks-export"), "{words}");
            assert!(words.contains("upgrade backlinks-export"), "{words}");
            assert!(!words.contains("truncate") && !words.contains("damaged"), "{words}");
        }
        assert!(fs::read(&file).expect("readable") == newer, "left as it is");
    }
    assert_eq!(api.bill().calls, TARGETS as u64, "nothing was bought");
}

/// Does something to the directory of a run while it writes, and returns what the run says. It must stop at once.
async fn disturbed(api: &Sandbox, place: &Place, disturb: impl FnOnce(&Path)) -> String {
    const IN_FLIGHT: u64 = 4;
    let before = api.bill().calls;
    let mut running = Running::start(place.run(&api.url(), &format!("--concurrency {IN_FLIGHT}")));
    while api.bill().calls < before + 20 {
        assert!(!running.has_ended(), "it ended early");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    disturb(&place.out());
    let calls = api.bill().calls;
    let output = running.output().await;
    let words = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(api.bill().calls <= calls + IN_FLIGHT, "{} calls after it: {words}", api.bill().calls - calls);
    assert_eq!(api.bill().in_flight, 0, "calls in flight are finished");
    assert!(!words.contains("internal error"), "{words}");
    words
}

/// Makes something else at the path of a ledger's file, of which it gets the content.
fn replace(out: &Path, make: impl Fn(&Path, Vec<u8>)) {
    let file = out.join("_raw/ledger-0.jsonl.gz");
    let bytes = fs::read(&file).expect("readable");
    fs::remove_file(&file).expect("removed");
    make(&file, bytes);
}

/// Replaces a run's directory by that of another run.
fn replace_by_new(out: &Path) {
    fs::remove_dir_all(out).expect("removed");
    fs::create_dir_all(out.join("_raw")).expect("made");
    fs::write(out.join("_raw/ledger-0.jsonl.gz"), "of another run").expect("written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_deleted_or_moved_during_a_run_stops_it_and_no_answer_is_lost() {
    const MANY: usize = 150;
    type Disturb = fn(&Path);
    let check = async |what: &str, disturb: Disturb, error: &str, resumed_in: &str| {
        let settings = Settings { latency: latency(20, 40), ..Settings::default() };
        let (api, place) = (sandbox(settings).await, Place::new(MANY));
        let words = disturbed(&api, &place, disturb).await;
        assert!(words.contains(&format!("ledger-0.jsonl.gz was {error}")), "{what}: {words}");
        let dir = place.root.path().join(resumed_in);
        assert!(words.contains(&dir.display().to_string()), "{what}: {words}");
        ended(run(Command::new(BINARY), &place.inputs(), &dir, &api.url(), ""), 0).await;
        let bill = api.bill();
        assert_eq!((bill.calls, bill.billed_calls), (MANY as u64, MANY as u64), "{what}: nothing was bought twice");
        verified(&dir).await;
    };
    let remove: Disturb = |out| fs::remove_dir_all(out).expect("removed");
    let remove_file: Disturb = |out| fs::remove_file(out.join("_raw/ledger-0.jsonl.gz")).expect("removed");
    let remove_folder: Disturb = |out| fs::remove_dir_all(out.join("_raw")).expect("removed");
    let rename: Disturb = |out| {
        let moved = Command::new("mv").arg(out).arg(out.with_file_name("out2")).status().expect("mv is there");
        assert!(moved.success());
    };
    check("the directory", remove, "deleted or replaced while", "out").await;
    check("the folder", remove_folder, "deleted or replaced while", "out").await;
    check("the file", remove_file, "deleted or replaced while", "out").await;
    check("replaced", replace_by_new, "deleted or replaced while", "out.recovered").await;
    check("moved", rename, "moved to", "out2").await;

    // Another file at its path is left as it is, and the answers are saved beside it.
    let empty: Disturb = |out| replace(out, |file, _| fs::write(file, "").expect("written"));
    let older: Disturb = |out| replace(out, |file, bytes| fs::write(file, &bytes[..bytes.len() / 2]).expect("written"));
    let copy: Disturb = |out| replace(out, |file, bytes| fs::write(file, bytes).expect("written"));
    let folder: Disturb = |out| replace(out, |file, _| fs::create_dir(file).expect("made"));
    let no_folder: Disturb = |out| {
        fs::remove_dir_all(out.join("_raw")).expect("removed");
        fs::write(out.join("_raw"), "").expect("written");
    };
    check("an empty file", empty, "deleted or replaced while", "out.recovered").await;
    check("an older copy", older, "deleted or replaced while", "out.recovered").await;
    check("a copy", copy, "deleted or replaced while", "out.recovered").await;
    check("a folder", folder, "deleted or replaced while", "out.recovered").await;
    check("a file for the folder", no_folder, "deleted or replaced while", "out.recovered").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_appended_to_a_ledger_during_a_run_is_removed_and_no_answer_is_lost() {
    const MANY: usize = 150;
    let settings = Settings { latency: latency(20, 40), ..Settings::default() };
    let (api, place) = (sandbox(settings).await, Place::new(MANY));
    let append = |out: &Path| {
        let mut file = fs::OpenOptions::new().append(true).open(out.join("_raw/ledger-0.jsonl.gz")).expect("there");
        file.write_all(b"a line of somebody else\n").expect("written");
    };
    let words = disturbed(&api, &place, append).await;
    assert!(words.contains("ledger-0.jsonl.gz was changed while the run was writing to it: it has"), "{words}");
    assert!(words.contains("all paid answers are saved, and what was appended was removed"), "{words}");
    ended(place.run(&api.url(), ""), 0).await;
    assert_eq!(api.bill().calls, MANY as u64, "nothing was bought twice");
    verified(&place.out()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_files_of_a_deleted_ledger_are_saved() {
    const MANY: usize = TARGETS + 60;
    let settings = Settings { latency: latency(20, 40), ..Settings::default() };
    let (api, place) = (sandbox(settings).await, Place::new(TARGETS));
    ended(place.run(&api.url(), ""), 0).await;
    divide(&place.out());
    place.list(MANY);
    let words = disturbed(&api, &place, |out| fs::remove_dir_all(out).expect("removed")).await;
    assert!(words.contains("ledger-0.jsonl.gz was deleted or replaced while"), "{words}");
    ended(place.run(&api.url(), ""), 0).await;
    assert_eq!(api.bill().calls, MANY as u64, "nothing was bought twice");
    verified(&place.out()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_shortened_during_a_run_stops_it_and_what_is_left_is_used() {
    const MANY: usize = 150;
    for keep in [0, 100, 3_000] {
        let settings = Settings { latency: latency(20, 40), ..Settings::default() };
        let (api, place) = (sandbox(settings).await, Place::new(MANY));
        // Fewer calls are left in the ledger than earlier runs made.
        ended(place.run(&api.url(), "--limit 30"), 5).await;
        fs::remove_file(place.out().join("_run.json")).expect("removed");
        let cut = |out: &Path| {
            let file = fs::OpenOptions::new().write(true).open(out.join("_raw/ledger-0.jsonl.gz")).expect("there");
            file.set_len(keep).expect("cut");
        };
        let words = disturbed(&api, &place, cut).await;
        assert!(words.contains("ledger-0.jsonl.gz was changed while the run was writing to it: it has"), "{words}");
        assert!(!words.contains("all paid answers are saved"), "{words}");
        ended(place.run(&api.url(), ""), 0).await;
        assert!(api.bill().billed_targets.values().all(|times| *times <= 2), "{keep}");
        verified(&place.out()).await;
    }
}
