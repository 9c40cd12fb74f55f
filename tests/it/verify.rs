//! `verify` on directories that the real program created: unchanged ones agree, and any change is found and named.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
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
    sha256,
    verify::{Verified, verify},
};
use parquet::{
    arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
    file::properties::WriterProperties,
};
use serde_json::{Value, json};

use super::{
    members::{gunzip, member, members},
    permissions::{as_nobody, set_mode},
    program::{self, is_root},
    shell::{Api, DATES, Ran, Shell},
};

const FAULTS: &str = "--fail-code 40501:0.15 --fail-502 0.05 --fail-garbage 0.1 --no-cost-header 0.3";

/// Exports various lines from a simulated API with these flags.
fn export(shell: &Shell, out: &str, targets: usize, sandbox: &str, flags: &str) -> Ran {
    let api = Api::new(sandbox);
    let mut csv = "client,domain,note\n".to_owned();
    for number in 0..targets {
        let note = if number % 3 == 0 { "" } else { "=x" };
        writeln!(csv, "\"c, {number}\",site{number}.com,{note}").expect("a string");
    }
    csv.push_str("again,https://www.site1.com/,\nno,not a domain,\nno,=1+1,\"a\"\"b\"\n");
    shell.write("domains.csv", csv);
    shell.run(&format!("run domains.csv --out {out} {} {DATES} --max-attempts 2 {flags}", api.flags()))
}

/// A successful run in `out` with all kinds of faults.
fn exported(targets: usize) -> (Shell, PathBuf) {
    let shell = Shell::new();
    export(&shell, "out", targets, FAULTS, "--max-failures 100%").expect(0);
    let out = shell.path("out");
    (shell, out)
}

fn found(out: &Path) -> Verified {
    verify(out).expect("no run is using the directory")
}

fn assert_sound(out: &Path) -> Verified {
    let verified = found(out);
    assert!(verified.ok && verified.differences.is_empty(), "{:#?}", verified.differences);
    verified
}

/// A difference must name this file and contain this text.
fn assert_named(out: &Path, file: &str, text: &str, case: &str) {
    let verified = found(out);
    let named = verified.differences.iter().any(|it| it.file.contains(file) && it.what.contains(text));
    assert!(!verified.ok && named, "{case}: {:#?}", verified.differences);
}

/// All files below a directory.
fn files(out: &Path) -> Vec<String> {
    let below = |path: PathBuf| path.strip_prefix(out).expect("below").display().to_string();
    program::files(out).into_iter().map(below).collect()
}

/// The first file whose path has this prefix.
fn file(out: &Path, beginning: &str) -> String {
    files(out).into_iter().find(|file| file.starts_with(beginning)).expect(beginning)
}

/// Changes the record and updates its digest.
fn change_record(out: &Path, change: impl FnOnce(&mut Value)) {
    let text = fs::read(out.join(dataset::RUN)).expect("a record");
    let mut record: Value = serde_json::from_slice(&text).expect("JSON");
    record.as_object_mut().expect("an object").remove("sha256");
    change(&mut record);
    dataset::write_run(out, &record).expect("written");
}

/// Rewrites a Parquet file with other rows and updates its digest in the record, so that only its content differs.
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

/// The batch with this column replaced.
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
    let (shell, out) = exported(40);
    let verified = assert_sound(&out);
    assert_eq!(verified.checked.lines, 43);
    assert!(verified.checked.answers > 20 && verified.checked.rows > 40, "{:?}", verified.checked);
    assert!(verified.notes.is_empty(), "{:?}", verified.notes);
    let json = shell.run("verify out --format json").expect(0).json();
    assert_eq!((&json["ok"], &json["checked"]["lines"]), (&json!(true), &json!(43)));
    shell.write("out/_rejected.csv", "");
    let ran = shell.run("verify out").expect(1);
    assert!(ran.stdout.contains("_rejected.csv"));
    assert!(ran.stderr.starts_with("error: 1 difference found"));
}

#[test]
fn any_changed_byte_of_any_file_is_found_and_the_file_named() {
    let (_root, out) = exported(8);
    for file in files(&out).iter().filter(|file| *file != "_SUCCESS") {
        let sound = fs::read(out.join(file)).expect("a file");
        // Every byte of a small file, and some of a larger one, including its ends.
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
fn files_that_are_not_part_of_the_export_are_found() {
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
    let check = |file: &str, text: &str, change: &dyn Fn(RecordBatch) -> RecordBatch| {
        let root = tempfile::tempdir().expect("a folder");
        let out = root.path().join("copy");
        for name in files(&sound) {
            fs::create_dir_all(out.join(&name).parent().expect("a folder")).expect("made");
            fs::copy(sound.join(&name), out.join(&name)).expect("copied");
        }
        rewrite(&out, file, change);
        if text.is_empty() {
            assert_sound(&out);
        } else {
            assert_named(&out, file, text, text);
        }
    };
    let rows = |batch: &RecordBatch, rows: Vec<u32>| take_record_batch(batch, &UInt32Array::from(rows)).expect("rows");
    let all = |batch: &RecordBatch| (0..u32::try_from(batch.num_rows()).expect("few")).collect::<Vec<_>>();
    check(&history, "", &|batch| batch);
    check(&history, ", expected ", &|batch| rows(&batch, all(&batch)[1..].to_vec()));
    check(&history, ", expected ", &|batch| rows(&batch, [vec![0], all(&batch)].concat()));
    check(&history, "without a stored answer or out of order", &|batch| {
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
    check(&history, "entry 1 is", &|batch| {
        with_map(&batch, |map| {
            let first = usize::try_from(map.value_offsets()[row_with_entries(map)]).expect("small");
            let counts = map.values().as_primitive::<Int64Type>();
            let more = counts.iter().enumerate().map(|(at, count)| count.map(|count| count + i64::from(at == first)));
            let columns: Vec<ArrayRef> = vec![map.keys().clone(), Arc::new(more.collect::<Int64Array>())];
            map_of(map, StructArray::new(map.entries().fields().clone(), columns, None), map.nulls().cloned())
        })
    });
    check(&history, "entry 1 is", &|batch| {
        with_map(&batch, |map| {
            let first = usize::try_from(map.value_offsets()[row_with_entries(map)]).expect("small");
            let mut order: Vec<u32> = (0..u32::try_from(map.entries().len()).expect("few")).collect();
            order.swap(first, first + 1);
            let entries = take(map.entries(), &UInt32Array::from(order), None).expect("entries");
            map_of(map, entries.as_struct().clone(), map.nulls().cloned())
        })
    });
    check(&history, "is null, expected {", &|batch| {
        with_map(&batch, |map| {
            let row = row_with_entries(map);
            let valid: Vec<bool> = (0..map.len()).map(|at| map.is_valid(at) && at != row).collect();
            let nulls = Some(NullBuffer::from(valid));
            map_of(map, map.entries().clone(), nulls)
        })
    });
    check(&targets, "cost_usd is", &|batch| {
        let costs = batch.column_by_name("cost_usd").expect("it").as_primitive::<Float64Type>();
        let raised =
            costs.iter().enumerate().map(|(row, cost)| cost.map(|cost| if row == 0 { cost + 1e-6 } else { cost }));
        with(&batch, "cost_usd", Arc::new(raised.collect::<Float64Array>()))
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
fn a_changed_record_is_found_even_if_its_digest_matches() {
    let (_root, out) = exported(6);
    let sound = fs::read(out.join(dataset::RUN)).expect("a record");
    let check = |text: &str, change: &dyn Fn(&mut Value)| {
        change_record(&out, change);
        assert_named(&out, "", text, text);
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
fn a_dataset_older_than_its_ledger_and_a_torn_end_are_named() {
    let (_root, out) = exported(6);
    let ledger = out.join("_raw/ledger-0.jsonl.gz");
    let sound = fs::read(&ledger).expect("a ledger");
    let first = members(&sound)[0].0.len();
    for added in [&sound[..first - 1], &[0; 4096]] {
        fs::write(&ledger, [&sound[..], added].concat()).expect("written");
        assert_named(&out, "_raw/ledger-0", "ends within a line", "a torn end");
    }
    for added in [b"\n", &b"a line"[..]] {
        fs::write(&ledger, [&sound[..], added].concat()).expect("written");
        let words = format!("is damaged at byte {}: no record begins here", sound.len());
        assert_named(&out, "_raw/ledger-0", &words, "foreign data");
    }
    fs::write(&ledger, [&sound[..], &sound[..first]].concat()).expect("written");
    assert_named(&out, "_raw/ledger-0", "older than the ledger", "a record added to the ledger");
}

#[test]
fn runs_that_ended_early_are_checked_as_far_as_they_got() {
    let shell = Shell::new();
    export(&shell, "capped", 30, "", "--max-cost 0.4").expect(5);
    let capped = shell.path("capped");
    let verified = assert_sound(&capped);
    assert!(verified.checked.answers > 0 && verified.checked.answers < 30);
    fs::write(capped.join("_SUCCESS"), "").expect("written");
    assert_named(&capped, "_SUCCESS", "but the run did not complete", "a _SUCCESS after an incomplete run");

    export(&shell, "failed", 30, FAULTS, "").expect(3);
    assert_sound(&shell.path("failed"));

    // Without a dataset, such as after a kill, the ledger is still checked.
    let killed = shell.path("killed");
    export(&shell, "killed", 30, "", "").expect(0);
    let whole = found(&killed).checked;
    for name in ["_run.json", "_SUCCESS"] {
        fs::remove_file(killed.join(name)).expect("removed");
    }
    assert_named(&killed, "_run.json", "no dataset was published", "a run that was killed");
    let checked = found(&killed).checked;
    assert_eq!((checked.lines, checked.answers, checked.rows), (whole.lines, 30, 0));
    assert_eq!((checked.calls, checked.cost, checked.ledger_bytes), (whole.calls, whole.cost, whole.ledger_bytes));
    let ledger = killed.join("_raw/ledger-0.jsonl.gz");
    let mut damaged = fs::read(&ledger).expect("a ledger");
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(&ledger, damaged).expect("written");
    assert_named(&killed, "_raw/ledger-0.jsonl.gz", "is damaged at byte", "a damaged ledger without a dataset");
    let stderr = shell.run("verify killed").expect(1).stderr;
    assert!(stderr.contains("hint: restore intact copies of the named ledger files"), "{stderr}");

    let empty = shell.path("empty");
    fs::create_dir(&empty).expect("made");
    assert_named(&empty, "_run.json", "not the directory of a run", "an empty directory");
    shell.run("verify nowhere").expect(1);
}

#[test]
fn other_partitions_and_empty_datasets_agree_too() {
    let shell = Shell::new();
    for by in ["none", "year,month", "month,run_date,year"] {
        export(&shell, by, 12, "", &format!("--partition-by {by} --row-group-rows 7")).expect(0);
        assert_sound(&shell.path(by));
    }
    export(&shell, "nothing", 5, "--fail-code 40102:1", "").expect(0);
    assert_eq!(assert_sound(&shell.path("nothing")).checked.rows, 0);
}

#[test]
fn datasets_of_several_ledgers_are_compared_with_all_of_them() {
    let shell = Shell::new();
    for shard in ["1/2", "2/2"] {
        let flags = format!("--shard {shard} --max-failures 100%");
        export(&shell, &shard.replace('/', "of"), 30, FAULTS, &flags).expect(0);
    }
    // Targets that both have: the newer answer counts.
    export(&shell, "again", 9, "--seed 2", "").expect(0);
    shell
        .run("replay 1of2 2of2 again --out merged --partition-by run_date,year --max-failures 100% --progress none")
        .expect(0);
    let out = shell.path("merged");
    assert_sound(&out);
    let ledger = shell.path("2of2/_raw/ledger-0.jsonl.gz");
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
    let shell = Shell::new();
    export(&shell, "out", 12, FAULTS, "--max-failures 100% --discard-raw").expect(0);
    let out = shell.path("out");
    let verified = assert_sound(&out);
    assert!(verified.notes[0].contains("--discard-raw") && verified.checked.rows > 0, "{verified:?}");
    let history = file(&out, "backlinks_history/year=2023");
    rewrite(&out, &history, |batch| batch.slice(1, batch.num_rows() - 1));
    assert_named(&out, "targets/", ", but there are", "a row less");
}

#[test]
fn a_directory_in_use_by_a_run_is_not_verified() {
    let (_root, out) = exported(3);
    let lock = Lock::take(&out).expect("free");
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
    // This includes bodies of failed calls: one answer in ten was garbage.
    for place in (0..sound.len()).step_by((sound.len() / 60).max(1)) {
        let mut changed = sound.clone();
        changed[place] ^= 0x10;
        // A few bits of a member are insignificant: without digests, a change of them cannot be found.
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
fn no_hint_advises_buying_again_or_the_same_command() {
    let (shell, out) = exported(3);
    let check = |name: &str, content: Option<&[u8]>, hint: &str| {
        let path = out.join(name);
        let sound = fs::read(&path).expect("a file");
        match content {
            Some(content) => fs::write(&path, content).expect("written"),
            None => fs::remove_file(&path).expect("removed"),
        }
        let ran = shell.run("verify out").expect(1);
        let text = [ran.stdout, ran.stderr].concat().split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(hint) && !text.contains("same command"), "{name}: {text}");
        fs::write(&path, sound).expect("written");
    };
    let ledger = file(&out, "_raw/ledger-0");
    check(&ledger, Some(b"x"), "restore intact copies of the named ledger files");
    check(&ledger, None, "restore intact copies of the named ledger files");
    check("_rejected.csv", Some(b"x"), "`backlinks-export run …` on this directory again");
    check("_run.json", None, "no dataset was published");
    let refund = [fs::read(out.join(&ledger)).expect("a ledger"), member(b"{\"record\":\"refund\"}\n")].concat();
    check(&ledger, Some(&refund), "hint: upgrade backlinks-export and verify again");
    assert_sound(&out);
    fs::create_dir(shell.path("empty")).expect("made");
    let ran = shell.run("verify empty").expect(1);
    assert!(ran.stderr.contains("hint: use a directory that was the --out of a run or a replay"), "{ran:?}");
}

#[test]
fn files_that_another_user_may_not_read_are_named_with_the_reason() {
    let (shell, out) = exported(3);
    if !is_root() {
        return;
    }
    set_mode(&shell.path(""), 0o755);
    let ledger = file(&out, "_raw/ledger-0");
    set_mode(&out.join(&ledger), 0o600);
    let mut command = as_nobody(&shell.path(""));
    let ran = Ran::of(command.arg("verify").arg(&out).output().expect("the program starts")).expect(1);
    assert!(ran.stdout.contains(&ledger) && ran.stdout.contains("cannot be read: permission denied"), "{ran:?}");
    assert!(ran.stderr.contains("run as a user who can read the named files"), "{ran:?}");
}
