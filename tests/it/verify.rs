//! `verify` on directories that the real program made: sound ones agree, and whatever is changed is found and named.

use super::members::{gunzip, members};
use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, MapArray, StringArray, StructArray, UInt32Array},
    buffer::NullBuffer,
    compute::{concat_batches, take, take_record_batch},
    datatypes::{Float64Type, Int64Type},
    record_batch::RecordBatch,
};
use backlinks_export::{
    dataset,
    ledger::Lock,
    sandbox::{Sandbox, Settings},
    sha256,
    verify::{Verified, verify},
};
use clap::Parser;
use parquet::{
    arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
    file::properties::WriterProperties,
};
use serde_json::{Value, json};

const FAULTS: &str = "--latency none --fail-code 40501:0.15 --fail-502 0.05 --fail-garbage 0.1 --no-cost-header 0.3";

/// Runs the program with these words; whatever it should find in DIR is there.
fn program(words: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_backlinks-export"));
    command.args(words.split_whitespace()).env("AISA_API_KEY", "test").env_remove("RUST_LOG");
    command.stdin(Stdio::null()).output().expect("the program starts")
}

/// An API to run against, in this process.
struct Served {
    sandbox: Sandbox,
    _runtime: tokio::runtime::Runtime,
}

fn served(flags: &str) -> Served {
    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        settings: Settings,
    }
    let words = std::iter::once("sandbox").chain(flags.split_whitespace());
    let settings = Line::try_parse_from(words).expect("flags of the sandbox").settings;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let sandbox = runtime.block_on(Sandbox::start(address, settings)).expect("a free port");
    Served { sandbox, _runtime: runtime }
}

/// Exports some lines of all kinds; returns the exit code.
fn export(root: &Path, out: &str, targets: usize, sandbox: &str, flags: &str) -> i32 {
    let api = served(sandbox);
    let mut csv = "client,domain,note\n".to_owned();
    for number in 0..targets {
        let note = if number % 3 == 0 { "" } else { "=x" };
        writeln!(csv, "\"c, {number}\",site{number}.com,{note}").expect("a string");
    }
    csv.push_str("again,https://www.site1.com/,\nno,not a domain,\nno,=1+1,\"a\"\"b\"\n");
    let input = root.join("domains.csv");
    fs::write(&input, csv).expect("written");
    let out = root.join(out);
    let (input, out, url) = (input.display(), out.display(), api.sandbox.url());
    let ended = program(&format!(
        "run {input} --out {out} --api {url} --date-from 2023-11-01 --date-to 2024-02-29 --rate 1000/s \
         --max-attempts 2 --progress none {flags}"
    ));
    ended.status.code().unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&ended.stderr)))
}

/// A directory with faults of all kinds in it, which ended well all the same.
fn exported(targets: usize) -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().expect("a folder");
    assert_eq!(export(root.path(), "out", targets, FAULTS, "--max-failures 100%"), 0);
    let out = root.path().join("out");
    (root, out)
}

fn found(out: &Path) -> Verified {
    verify(out).expect("nobody runs here")
}

fn assert_sound(out: &Path) -> Verified {
    let verified = found(out);
    assert!(verified.ok && verified.differences.is_empty(), "{:#?}", verified.differences);
    verified
}

/// What is found has to name this file, and say this.
fn assert_named(out: &Path, file: &str, says: &str, what: &str) {
    let verified = found(out);
    let named = verified.differences.iter().any(|it| it.file.contains(file) && it.what.contains(says));
    assert!(!verified.ok && named, "{what}: {:#?}", verified.differences);
}

/// All files below a directory.
fn files(out: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders = vec![out.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path.strip_prefix(out).expect("below").display().to_string());
            }
        }
    }
    files.sort();
    files
}

/// The first file whose path begins so.
fn file(out: &Path, beginning: &str) -> String {
    files(out).into_iter().find(|file| file.starts_with(beginning)).expect(beginning)
}

/// Changes the record as somebody would who knows how it is protected.
fn change_record(out: &Path, change: impl FnOnce(&mut Value)) {
    let text = fs::read(out.join(dataset::RUN)).expect("a record");
    let mut record: Value = serde_json::from_slice(&text).expect("JSON");
    record.as_object_mut().expect("an object").remove("sha256");
    change(&mut record);
    dataset::write_run(out, &record).expect("written");
}

/// Writes a Parquet file anew with other rows, and puts its digest into the record: only its content tells.
fn rewrite(out: &Path, file: &str, change: impl FnOnce(RecordBatch) -> RecordBatch) {
    let path = out.join(file);
    let builder = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(&path).expect("a file")).expect("Parquet");
    let metadata = builder.metadata().file_metadata().key_value_metadata().cloned();
    let schema = builder.schema().clone();
    let batches: Vec<RecordBatch> = builder.build().expect("a reader").map(|batch| batch.expect("rows")).collect();
    let changed = change(concat_batches(&schema, &batches).expect("rows"));
    let properties = WriterProperties::builder().set_key_value_metadata(metadata).set_coerce_types(true).build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, changed.schema(), Some(properties)).expect("a writer");
    writer.write(&changed).expect("rows");
    writer.close().expect("a footer");
    fs::write(&path, &bytes).expect("written");
    change_record(out, |record| {
        let entries = record["files"].as_array_mut().expect("files");
        let entry = entries.iter_mut().find(|entry| entry["path"] == *file).expect("the file");
        (entry["sha256"], entry["bytes"], entry["rows"]) =
            (json!(sha256::of(&bytes)), json!(bytes.len()), json!(changed.num_rows()));
        let total: u64 = entries.iter().map(|entry| entry["bytes"].as_u64().expect("bytes")).sum();
        record["summary"]["bytes"] = json!(total);
    });
}

/// The batch with another column of this name.
fn with(batch: &RecordBatch, name: &str, column: ArrayRef) -> RecordBatch {
    let (place, _) = batch.schema().column_with_name(name).map(|(place, field)| (place, field.clone())).expect(name);
    let mut columns = batch.columns().to_vec();
    columns[place] = column;
    RecordBatch::try_new(batch.schema(), columns).expect("the same shape")
}

/// A map column with other entries.
fn with_map(batch: &RecordBatch, change: impl Fn(&MapArray) -> MapArray) -> RecordBatch {
    const NAME: &str = "referring_links_tld";
    let map = change(batch.column_by_name(NAME).expect(NAME).as_map());
    with(batch, NAME, Arc::new(map))
}

fn map_of(map: &MapArray, entries: StructArray, nulls: Option<NullBuffer>) -> MapArray {
    let arrow::datatypes::DataType::Map(field, sorted) = map.data_type() else { panic!("a map") };
    MapArray::new(field.clone(), map.offsets().clone(), entries, nulls, *sorted)
}

/// The first row whose map has at least two entries.
fn row_with_entries(map: &MapArray) -> usize {
    (0..map.len()).find(|row| map.is_valid(*row) && map.value_length(*row) >= 2).expect("a row with entries")
}

#[test]
fn a_run_with_faults_of_all_kinds_agrees_with_itself() {
    let (_root, out) = exported(40);
    let verified = assert_sound(&out);
    assert_eq!(verified.checked.lines, 43);
    assert!(verified.checked.answers > 20 && verified.checked.rows > 40, "{:?}", verified.checked);
    assert!(verified.notes.is_empty(), "{:?}", verified.notes);
    let told = program(&format!("verify {} --format json", out.display()));
    assert_eq!(told.status.code(), Some(0));
    let told: Value = serde_json::from_slice(&told.stdout).expect("JSON");
    assert_eq!((&told["ok"], &told["checked"]["lines"]), (&json!(true), &json!(43)));
    fs::write(out.join("_rejected.csv"), "").expect("written");
    let told = program(&format!("verify {}", out.display()));
    assert_eq!(told.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&told.stdout).contains("_rejected.csv"));
    assert!(String::from_utf8_lossy(&told.stderr).starts_with("error: 1 difference found"));
}

#[test]
fn any_changed_byte_of_any_file_is_found_and_the_file_named() {
    let (_root, out) = exported(8);
    for file in files(&out).iter().filter(|file| *file != "_SUCCESS") {
        let sound = fs::read(out.join(file)).expect("a file");
        // Every byte of a small file, and some of a larger one, its ends among them.
        let step = (sound.len() / 30).max(1);
        let ends = sound.len().saturating_sub(12)..sound.len();
        for place in (0..12.min(sound.len())).chain((0..sound.len()).step_by(step)).chain(ends) {
            let mut changed = sound.clone();
            changed[place] ^= 1 << (place % 8);
            fs::write(out.join(file), &changed).expect("written");
            assert_named(&out, file, "", &format!("byte {place} of {file}"));
        }
        fs::write(out.join(file), &sound[..sound.len() - 1]).expect("written");
        assert_named(&out, file, "", &format!("{file} without its end"));
        fs::remove_file(out.join(file)).expect("removed");
        assert_named(&out, file, "is missing", &format!("{file} removed"));
        fs::write(out.join(file), &sound).expect("written");
    }
    fs::write(out.join("_SUCCESS"), "x").expect("written");
    assert_named(&out, "_SUCCESS", "not empty", "_SUCCESS with content");
    fs::remove_file(out.join("_SUCCESS")).expect("removed");
    assert_named(&out, "_SUCCESS", "missing", "_SUCCESS removed");
    fs::write(out.join("_SUCCESS"), "").expect("written");
    assert_sound(&out);
}

#[test]
fn files_that_belong_to_nobody_are_found() {
    let (_root, out) = exported(4);
    let check = |name: &str, is_difference: bool| {
        let path = out.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::copy(out.join(file(&out, "targets/")), &path).expect("copied");
        if is_difference {
            assert_named(&out, name, "not part of the export", name);
        } else {
            assert!(assert_sound(&out).notes.iter().any(|note| note.contains(name)), "{name}");
        }
        fs::remove_file(&path).expect("removed");
    };
    check("backlinks_history/year=2024/part-x-0.parquet", true);
    check("backlinks_history/year=2030/part-x-0.parquet", true);
    check("backlinks_history/notes.txt", true);
    check("targets/.hidden.parquet", true);
    check("_raw/ledger-1.jsonl.gz", true);
    check("_staging/targets/part-x.parquet", true);
    check("more.parquet", true);
    check("_staging/targets/part-x.unfinished", false);
    check("targets/.DS_Store", false);
    check("notes.txt", false);
}

#[test]
fn rows_that_differ_from_the_answers_are_found_by_their_content() {
    let (_root, sound) = exported(10);
    let history = file(&sound, "backlinks_history/year=2023");
    let targets = file(&sound, "targets/");
    let check = |file: &str, says: &str, change: &dyn Fn(RecordBatch) -> RecordBatch| {
        let root = tempfile::tempdir().expect("a folder");
        let out = root.path().join("copy");
        for name in files(&sound) {
            fs::create_dir_all(out.join(&name).parent().expect("a folder")).expect("made");
            fs::copy(sound.join(&name), out.join(&name)).expect("copied");
        }
        rewrite(&out, file, change);
        if says.is_empty() {
            assert_sound(&out);
        } else {
            assert_named(&out, file, says, says);
        }
    };
    let rows = |batch: &RecordBatch, rows: Vec<u32>| take_record_batch(batch, &UInt32Array::from(rows)).expect("rows");
    let all = |batch: &RecordBatch| (0..u32::try_from(batch.num_rows()).expect("few")).collect::<Vec<_>>();
    check(&history, "", &|batch| batch);
    check(&history, "the number of rows is", &|batch| rows(&batch, all(&batch)[1..].to_vec()));
    check(&history, "the number of rows is", &|batch| rows(&batch, [vec![0], all(&batch)].concat()));
    check(&history, "do not belong to an answer", &|batch| {
        let last = all(&batch).len() - 1;
        rows(&batch, [vec![u32::try_from(last).expect("few")], all(&batch)].concat())
    });
    check(&history, "date is", &|batch| {
        let mut order = all(&batch);
        order.swap(0, 1);
        rows(&batch, order)
    });
    check(&history, "backlinks is", &|batch| {
        let mut order = all(&batch);
        order.swap(0, 1);
        let swapped = take(batch.column_by_name("backlinks").expect("it"), &UInt32Array::from(order), None);
        with(&batch, "backlinks", swapped.expect("values"))
    });
    check(&history, "rank is null", &|batch| {
        let values = batch.column_by_name("rank").expect("it").as_primitive::<Int64Type>();
        let nulled = values.iter().enumerate().map(|(row, value)| value.filter(|_| row != 0));
        with(&batch, "rank", Arc::new(nulled.collect::<Int64Array>()))
    });
    check(&history, "as entry 1", &|batch| {
        with_map(&batch, |map| {
            let first = usize::try_from(map.value_offsets()[row_with_entries(map)]).expect("small");
            let counts = map.values().as_primitive::<Int64Type>();
            let more = counts.iter().enumerate().map(|(at, count)| count.map(|count| count + i64::from(at == first)));
            let columns: Vec<ArrayRef> = vec![map.keys().clone(), Arc::new(more.collect::<Int64Array>())];
            map_of(map, StructArray::new(map.entries().fields().clone(), columns, None), map.nulls().cloned())
        })
    });
    check(&history, "as entry 1", &|batch| {
        with_map(&batch, |map| {
            let first = usize::try_from(map.value_offsets()[row_with_entries(map)]).expect("small");
            let mut order: Vec<u32> = (0..u32::try_from(map.entries().len()).expect("few")).collect();
            order.swap(first, first + 1);
            let entries = take(map.entries(), &UInt32Array::from(order), None).expect("entries");
            map_of(map, entries.as_struct().clone(), map.nulls().cloned())
        })
    });
    check(&history, "is null, should be {", &|batch| {
        with_map(&batch, |map| {
            let row = row_with_entries(map);
            let valid: Vec<bool> = (0..map.len()).map(|at| map.is_valid(at) && at != row).collect();
            let nulls = Some(NullBuffer::from(valid));
            map_of(map, map.entries().clone(), nulls)
        })
    });
    check(&targets, "cost_usd is", &|batch| {
        let costs = batch.column_by_name("cost_usd").expect("it").as_primitive::<Float64Type>();
        let dearer =
            costs.iter().enumerate().map(|(row, cost)| cost.map(|cost| if row == 0 { cost + 1e-6 } else { cost }));
        with(&batch, "cost_usd", Arc::new(dearer.collect::<Float64Array>()))
    });
    check(&targets, "outcome is", &|batch| {
        let outcomes = batch.column_by_name("outcome").expect("it").as_string::<i32>();
        let other = outcomes.iter().map(|outcome| if outcome == Some("ok") { Some("no_data") } else { outcome });
        with(&batch, "outcome", Arc::new(other.collect::<StringArray>()))
    });
    check(&targets, "input_client is", &|batch| {
        let mut cells: Vec<_> = batch.column_by_name("input_client").expect("it").as_string::<i32>().iter().collect();
        cells.swap(0, 1);
        with(&batch, "input_client", Arc::new(StringArray::from(cells)))
    });
    check(&targets, "is missing the row of the last input line", &|batch| batch.slice(0, batch.num_rows() - 1));
    check(&targets, "more rows than", &|batch| {
        let more = [all(&batch), vec![0]].concat();
        rows(&batch, more)
    });
}

#[test]
fn a_record_that_says_something_else_is_found_whatever_its_digest() {
    let (_root, out) = exported(6);
    let sound = fs::read(out.join(dataset::RUN)).expect("a record");
    let check = |says: &str, change: &dyn Fn(&mut Value)| {
        change_record(&out, change);
        assert_named(&out, "", says, says);
        fs::write(out.join(dataset::RUN), &sound).expect("written");
    };
    let more = |value: &mut Value| *value = json!(value.as_u64().expect("a number") + 1);
    check("spending.debited is", &|record| more(&mut record["spending"]["debited"]));
    check("spending.retries is", &|record| more(&mut record["spending"]["retries"]));
    check("totals.rows is", &|record| more(&mut record["totals"]["rows"]));
    check("summary.cost_usd is", &|record| record["summary"]["cost_usd"] = json!(0.0));
    check("summary.subdomains is", &|record| more(&mut record["summary"]["subdomains"]));
    check("summary.possibly_billed is", &|record| more(&mut record["summary"]["possibly_billed"]));
    check("the number of rows is", &|record| more(&mut record["files"][0]["rows"]));
    check("inputs_sha256 is", &|record| record["inputs_sha256"] = json!("0"));
    check("run_id is", &|record| record["ledgers"][0]["run_id"] = json!("x"));
    check("parameters.date_to is", &|record| record["parameters"]["date_to"] = json!("2024-03-01"));
    check("not a valid path", &|record| record["partition_by"] = json!("year,month"));
    check("is not part of the export", &|record| drop(record["files"].as_array_mut().map(|files| files.remove(0))));
    check("but the run did not complete", &|record| record["summary"]["stopped"] = json!("budget"));
    assert_sound(&out);
}

#[test]
fn a_ledger_that_went_on_makes_the_dataset_old_and_a_torn_end_is_named() {
    let (_root, out) = exported(6);
    let ledger = out.join("_raw/ledger-0.jsonl.gz");
    let sound = fs::read(&ledger).expect("a ledger");
    let first = members(&sound)[0].0.len();
    for added in [&sound[..first - 1], b"\n", b"a line", &[0; 4096]] {
        fs::write(&ledger, [&sound[..], added].concat()).expect("written");
        assert_named(&out, "_raw/ledger-0", "ends within a line", "a torn end");
    }
    fs::write(&ledger, [&sound[..], &sound[..first]].concat()).expect("written");
    assert_named(&out, "_raw/ledger-0", "older than the ledger", "a ledger that went on");
}

#[test]
fn runs_that_ended_early_are_checked_as_far_as_they_got() {
    let root = tempfile::tempdir().expect("a folder");
    assert_eq!(export(root.path(), "capped", 30, "--latency none", "--max-cost 0.4"), 5);
    let capped = root.path().join("capped");
    let verified = assert_sound(&capped);
    assert!(verified.checked.answers > 0 && verified.checked.answers < 30);
    fs::write(capped.join("_SUCCESS"), "").expect("written");
    assert_named(&capped, "_SUCCESS", "but the run did not complete", "a _SUCCESS that was not deserved");

    assert_eq!(export(root.path(), "failed", 30, FAULTS, ""), 3);
    assert_sound(&root.path().join("failed"));

    let empty = root.path().join("empty");
    fs::create_dir(&empty).expect("made");
    assert_named(&empty, "_run.json", "not the directory of a run", "an empty directory");
    assert_eq!(program(&format!("verify {}", root.path().join("nowhere").display())).status.code(), Some(1));
}

#[test]
fn other_partitions_and_empty_datasets_agree_too() {
    let root = tempfile::tempdir().expect("a folder");
    for by in ["none", "year,month", "month,run_date,year"] {
        assert_eq!(
            export(root.path(), by, 12, "--latency none", &format!("--partition-by {by} --row-group-rows 7")),
            0
        );
        assert_sound(&root.path().join(by));
    }
    assert_eq!(export(root.path(), "nothing", 5, "--latency none --fail-code 40102:1", ""), 0);
    assert_eq!(assert_sound(&root.path().join("nothing")).checked.rows, 0);
}

#[test]
fn datasets_of_several_ledgers_are_compared_with_all_of_them() {
    let root = tempfile::tempdir().expect("a folder");
    for shard in ["1/2", "2/2"] {
        let flags = format!("--shard {shard} --max-failures 100%");
        assert_eq!(export(root.path(), &shard.replace('/', "of"), 30, FAULTS, &flags), 0);
    }
    // A target that both know: the newer answer counts.
    assert_eq!(export(root.path(), "again", 9, "--latency none --seed 2", ""), 0);
    let [one, two, again, out] = ["1of2", "2of2", "again", "merged"].map(|name| root.path().join(name));
    let (shown_one, shown_two, shown_again) = (one.display(), two.display(), again.display());
    let words =
        format!("replay {shown_one} {shown_two} {shown_again} --out {} --partition-by run_date,year", out.display());
    let ended = program(&format!("{words} --max-failures 100% --progress none"));
    assert_eq!(ended.status.code(), Some(0), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_sound(&out);
    let ledger = two.join("_raw/ledger-0.jsonl.gz");
    let sound = fs::read(&ledger).expect("a ledger");
    let mut changed = sound.clone();
    changed[sound.len() / 2] ^= 1;
    fs::write(&ledger, changed).expect("written");
    assert_named(&out, "2of2/_raw/ledger-0.jsonl.gz", "", "a changed byte of another directory's ledger");
    fs::remove_file(&ledger).expect("removed");
    assert_named(&out, "2of2/_raw/ledger-0.jsonl.gz", "is missing", "another directory's ledger removed");
}

#[test]
fn without_its_ledger_a_dataset_is_compared_with_itself() {
    let root = tempfile::tempdir().expect("a folder");
    assert_eq!(export(root.path(), "out", 12, FAULTS, "--max-failures 100% --discard-raw"), 0);
    let out = root.path().join("out");
    let verified = assert_sound(&out);
    assert!(verified.notes[0].contains("--discard-raw") && verified.checked.rows > 0, "{verified:?}");
    let history = file(&out, "backlinks_history/year=2023");
    rewrite(&out, &history, |batch| batch.slice(1, batch.num_rows() - 1));
    assert_named(&out, "targets/", ", but there are", "a row less");
}

#[test]
fn a_directory_in_which_a_run_is_under_way_is_left_alone() {
    let (_root, out) = exported(3);
    let lock = Lock::take(&out).expect("nobody runs here");
    assert!(verify(&out).expect_err("a run is under way").to_string().contains("in use by another run"));
    drop(lock);
    assert_sound(&out);
}

#[test]
fn without_digests_every_body_is_still_checked_and_damage_has_its_offset() {
    let (_root, out) = exported(12);
    change_record(&out, |record| record["raw_sha256"] = json!([]));
    assert!(assert_sound(&out).notes.iter().any(|note| note.contains("no digest of _raw/ledger-0")));
    let name = file(&out, "_raw/ledger-0");
    let sound = fs::read(out.join(&name)).expect("a ledger");
    let content = gunzip(&sound).expect("sound");
    // Bodies of failed calls are among them: one answer in ten was garbage.
    for place in (0..sound.len()).step_by((sound.len() / 60).max(1)) {
        let mut changed = sound.clone();
        changed[place] ^= 0x10;
        // A few bits of a member mean nothing: without digests, that they changed shows nowhere.
        if gunzip(&changed).is_ok_and(|changed| changed == content) {
            continue;
        }
        fs::write(out.join(&name), &changed).expect("written");
        assert_named(&out, &name, "is damaged at byte", &format!("byte {place}"));
    }
    fs::write(out.join(&name), &sound).expect("written");
    assert_sound(&out);
}

#[test]
fn no_hint_leads_to_buying_again_or_to_the_same_command() {
    let (_root, out) = exported(3);
    let hint = || {
        let told = program(&format!("verify {}", out.display()));
        assert_eq!(told.status.code(), Some(1));
        let told = [told.stdout, told.stderr].concat();
        String::from_utf8(told).expect("text").split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let check = |name: &str, content: Option<&[u8]>, says: &str| {
        let path = out.join(name);
        let sound = fs::read(&path).expect("a file");
        match content {
            Some(content) => fs::write(&path, content).expect("written"),
            None => fs::remove_file(&path).expect("removed"),
        }
        let told = hint();
        assert!(told.contains(says) && !told.contains("same command"), "{name}: {told}");
        fs::write(&path, sound).expect("written");
    };
    let ledger = file(&out, "_raw/ledger-0");
    check(&ledger, Some(b"x"), "restore intact copies of the named ledger files");
    check(&ledger, None, "restore intact copies of the named ledger files");
    check("_rejected.csv", Some(b"x"), "`backlinks-export run …` on this directory again");
    check("_run.json", None, "no dataset was published; run `backlinks-export run …` again");
    assert_sound(&out);
}

#[test]
fn files_that_another_user_may_not_read_are_called_that() {
    use std::os::unix::{fs::PermissionsExt, process::CommandExt};
    let (root, out) = exported(3);
    if !rustix::fs::stat("/proc/self").is_ok_and(|stat| stat.st_uid == 0) {
        return;
    }
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("changed");
    mode(root.path(), 0o755);
    let ledger = file(&out, "_raw/ledger-0");
    mode(&out.join(&ledger), 0o600);
    // Where other users may go: the program may lie in a folder of root's.
    let copy = root.path().join("backlinks-export");
    fs::copy(env!("CARGO_BIN_EXE_backlinks-export"), &copy).expect("copied");
    mode(&copy, 0o755);
    let told = Command::new(&copy).arg("verify").arg(&out).uid(65534).gid(65534).output().expect("the program starts");
    let (stdout, stderr) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    assert_eq!(told.status.code(), Some(1), "{stdout}{stderr}");
    assert!(stdout.contains(&ledger) && stdout.contains("cannot be read: permission denied"), "{stdout}");
    assert!(stderr.contains("run as a user who can read the named files"), "{stderr}");
}
