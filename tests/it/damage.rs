//! Ledgers of several files, whole and damaged, through the real program: damage is named, nothing is bought or published.

use std::{fs, path::Path};

use backlinks_export::ledger::Archive;
use zstd::zstd_safe::find_frame_compressed_size;

use super::program::{Place, ended, instant, sandbox, table, told};

/// Targets of a small run.
const TARGETS: usize = 60;

/// The byte that an error names.
fn named(words: &str) -> Option<usize> {
    words.split_once("damaged at byte ").and_then(|(_, rest)| rest.split(':').next()?.parse().ok())
}

/// Divides a ledger of one file into three, as one that has grown past the size of a file.
fn divide(out: &Path) {
    let path = |number: usize| out.join(format!("_raw/ledger-{number}.jsonl.zst"));
    let whole = fs::read(path(0)).expect("readable");
    let mut rest = whole;
    for number in 0..2 {
        let (mut end, least) = (0, rest.len() * (number + 1) / 3);
        // A frame that begins past this place begins a record, or the ledger says that it does not.
        loop {
            end += find_frame_compressed_size(&rest[end..]).expect("a frame");
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
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_of_several_files_is_one_and_is_gone_on_with() {
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

    // A record torn in a file that another one follows is no crash's doing.
    let middle = place.out().join("_raw/ledger-1.jsonl.zst");
    let whole = fs::read(&middle).expect("readable");
    fs::write(&middle, &whole[..whole.len() - 3]).expect("written");
    let output = ended(place.run(&api.url(), "--partition-by none"), 1).await;
    let words = told(&output);
    assert!(words.contains("ledger-1.jsonl.zst is damaged at byte"), "{words}");
    fs::write(&middle, &whole).expect("written");
    ended(place.run(&api.url(), "--partition-by none"), 0).await;
    assert_eq!(api.bill().billed_calls, TARGETS as u64 + 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_ledger_is_named_and_nothing_is_bought_or_published() {
    let (api, place) = (sandbox(instant()).await, Place::new(TARGETS));
    ended(place.run(&api.url(), ""), 0).await;
    divide(&place.out());
    let file = place.out().join("_raw/ledger-1.jsonl.zst");
    let whole = fs::read(&file).expect("readable");
    let published = table(&place.out(), "backlinks_history");
    let calls = api.bill().calls;
    let sound = zstd::decode_all(&*whole).expect("sound");
    for place_of_damage in (1..20).map(|part| whole.len() * part / 20) {
        let mut damaged = whole.clone();
        damaged[place_of_damage] ^= 0x10;
        // A few bits of a frame mean nothing: whichever they are, it holds the same, and its checksum says so.
        if zstd::decode_all(&*damaged).is_ok_and(|content| content == sound) {
            continue;
        }
        fs::write(&file, &damaged).expect("written");
        // Another form of the dataset makes it read every answer.
        let output = ended(place.run(&api.url(), "--partition-by none"), 1).await;
        let words = told(&output);
        assert!(words.contains("ledger-1.jsonl.zst is damaged at byte"), "{words}");
        assert!(named(&words).is_some_and(|offset| offset <= place_of_damage), "{words}");
    }
    assert_eq!(api.bill().calls, calls, "nothing was bought");
    assert!(table(&place.out(), "backlinks_history") == published, "what was published stands");
    fs::write(&file, &whole).expect("written");
    ended(place.run(&api.url(), "--partition-by none"), 0).await;
    assert_eq!(api.bill().calls, calls);
}
