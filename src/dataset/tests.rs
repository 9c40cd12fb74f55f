//! What readers and the contract rely on, checked by reading the written files with Parquet's own reader.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    path::Path,
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, AsArray},
    compute::concat_batches,
    datatypes::{DataType, Int64Type, TimestampMicrosecondType},
    record_batch::RecordBatch,
    util::display::{ArrayFormatter, FormatOptions},
};
use jiff::civil::{Date, date};
use parquet::{
    arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector},
    basic::{Compression as PageCompression, Encoding},
    file::metadata::{ColumnChunkMetaData, PageIndexPolicy, ParquetMetaData, RowGroupMetaData},
};

use super::*;
use crate::money::Usd;

#[path = "../../benches/sample/mod.rs"]
mod sample;

const RUN_DATE: Date = date(2026, 11, 24);

fn options(partition_by: &str) -> Options {
    Options {
        layout: DatasetLayout { partition_by: partition_by.parse().unwrap(), ..DatasetLayout::default() },
        run_id: "r1".to_owned(),
        metadata: vec![("date_from".to_owned(), "2019-01-01".to_owned())],
    }
}

/// Paths of parts, with numbers relative to the first one's.
fn paths(parts: &[Part]) -> Vec<String> {
    let number = |part: &Part| -> Option<u64> {
        part.path.file_stem().unwrap().to_str().unwrap().rsplit_once('-').unwrap().1.parse().ok()
    };
    let first = parts.iter().filter_map(number).min().unwrap();
    let place = |part: &Part| {
        let path = part.path.to_str().unwrap();
        let number = number(part);
        number.map_or(path.to_owned(), |number| path.replace(&format!("-{number}."), &format!("-{}.", number - first)))
    };
    parts.iter().map(place).collect()
}

/// Publishes batches, each with its run date.
fn publish(dir: &Path, options: &Options, batches: &[(RecordBatch, Date)]) -> Vec<Part> {
    let stage = Stage::begin(dir).unwrap();
    let mut writer = stage.history(sample::schema(), options).unwrap();
    for (batch, run_date) in batches {
        writer.write(batch, *run_date).unwrap();
    }
    let parts = writer.finish().unwrap();
    stage.publish(&parts).unwrap();
    parts
}

fn publish_rows(dir: &Path, options: &Options, rows: &RecordBatch) -> Vec<Part> {
    publish(dir, options, &[(rows.clone(), RUN_DATE)])
}

fn read(path: &Path) -> (RecordBatch, ParquetMetaData) {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let (metadata, schema) = (reader.metadata().as_ref().clone(), reader.schema().clone());
    let batches: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
    (concat_batches(&schema, &batches).unwrap(), metadata)
}

/// Every file below a folder with its bytes.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            found.extend(files(&path).into_iter().map(|(below, bytes)| (format!("{name}/{below}"), bytes)));
        } else {
            found.insert(name, fs::read(path).unwrap());
        }
    }
    found
}

/// Rows as text, to compare them independently of how the reader names inner fields.
fn shown(rows: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("null");
    // Named time zones need a database that Arrow does not include; UTC as an offset does not.
    let columns: Vec<ArrayRef> = rows
        .columns()
        .iter()
        .map(|column| match column.as_primitive_opt::<TimestampMicrosecondType>() {
            Some(moments) => Arc::new(moments.clone().with_timezone("+00:00")),
            None => Arc::clone(column),
        })
        .collect();
    let columns: Vec<_> = columns.iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
    let line = |row: usize| columns.iter().map(|it| it.value(row).to_string() + "|").collect::<String>();
    (0..rows.num_rows()).map(line).collect()
}

fn pieces(rows: &RecordBatch, size: usize) -> Vec<(RecordBatch, Date)> {
    let starts = (0..rows.num_rows()).step_by(size);
    starts.map(|start| (rows.slice(start, size.min(rows.num_rows() - start)), RUN_DATE)).collect()
}

fn column<'a>(metadata: &'a ParquetMetaData, path: &str) -> &'a ColumnChunkMetaData {
    let all = metadata.row_group(0).columns();
    let found = all.iter().find(|column| column.column_path().string() == path);
    found.unwrap_or_else(|| {
        panic!("no column {path} among {:?}", all.iter().map(|it| it.column_path().string()).collect::<Vec<_>>())
    })
}

#[test]
fn every_row_is_in_its_partition_in_the_given_order() {
    let dir = tempfile::tempdir().unwrap();
    let rows = sample::rows(40..90);
    let parts = publish_rows(dir.path(), &options("year"), &rows);

    let mut expected: Vec<_> =
        (2019..=2026).map(|year| format!("backlinks_history/year={year}/part-r1-0.parquet")).collect();
    expected.push("backlinks_undated/part-r1.parquet".to_owned());
    assert_eq!(paths(&parts), expected);

    let dates = rows.column(2).as_primitive::<TimestampMicrosecondType>();
    let years = options("year").layout.partition_by;
    let mut by_folder: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (row, line) in shown(&rows).into_iter().enumerate() {
        let micros = dates.is_valid(row).then(|| dates.value(row));
        let folder = micros.map_or(UNDATED.to_owned(), |micros| years.folder(&years.values(Some(micros), None)));
        by_folder.entry(folder).or_default().push(line);
    }
    let undated = by_folder.remove(UNDATED).map(|lines| (UNDATED.to_owned(), lines));
    for (part, (folder, lines)) in parts.iter().zip(by_folder.into_iter().chain(undated)) {
        let path = dir.path().join(&part.path);
        assert!(path.parent().unwrap().ends_with(folder));
        let (rows_read, _) = read(&path);
        assert_eq!(shown(&rows_read), lines);
        assert_eq!(part.rows, rows_read.num_rows() as u64);
    }
}

#[test]
fn parts_have_the_size_and_digest_of_the_published_files() {
    use sha2::{Digest, Sha256};
    let dir = tempfile::tempdir().unwrap();
    let parts = publish_rows(dir.path(), &options("year"), &sample::rows(0..5));
    for part in parts {
        let bytes = fs::read(dir.path().join(&part.path)).unwrap();
        let digest = Sha256::digest(&bytes);
        assert_eq!(part.bytes, bytes.len() as u64);
        let hexadecimal = (0..digest.len()).map(|at| u8::from_str_radix(&part.sha256[2 * at..2 * at + 2], 16).unwrap());
        assert_eq!(hexadecimal.collect::<Vec<_>>(), digest.as_slice());
    }
}

#[test]
fn types_and_nulls_are_read_back_without_arrow_metadata() {
    let dir = tempfile::tempdir().unwrap();
    let parts = publish_rows(dir.path(), &options("none"), &sample::rows(49..50));
    assert_eq!(paths(&parts), ["backlinks_history/part-r1-0.parquet", "backlinks_undated/part-r1.parquet"]);
    let (rows_read, metadata) = read(&dir.path().join(&parts[0].path));
    let field = |name: &str| rows_read.schema_ref().field_with_name(name).unwrap().clone();
    let written = sample::schema();
    for name in ["target", "date", "rank", "info_is_ip"] {
        assert_eq!(field(name), *written.field_with_name(name).unwrap());
    }
    assert!(matches!(field("referring_links_tld").data_type(), DataType::Map(..)));
    assert!(matches!(field("info_platform_type").data_type(), DataType::List(_)));
    let attributes = rows_read.column_by_name("referring_links_attributes").unwrap();
    assert!(attributes.null_count() > 0 && attributes.null_count() < rows_read.num_rows());
    let pairs: Vec<_> = metadata
        .file_metadata()
        .key_value_metadata()
        .unwrap()
        .iter()
        .map(|pair| (pair.key.as_str(), pair.value.as_deref().unwrap()))
        .collect();
    assert_eq!(pairs, [("date_from", "2019-01-01")]);
    let expected = format!("backlinks-export version {}", env!("CARGO_PKG_VERSION"));
    assert_eq!(metadata.file_metadata().created_by(), Some(expected.as_str()));
}

#[test]
fn columns_are_encoded_by_their_type() {
    let dir = tempfile::tempdir().unwrap();
    let mut snappy = options("none");
    snappy.layout.compression = Compression::Snappy;
    let parts = publish_rows(dir.path(), &snappy, &sample::rows(0..3));
    let (_, metadata) = read(&dir.path().join(&parts[0].path));
    let check = |path: &str, dictionary: bool, delta: bool, statistics: bool| {
        let chunk = column(&metadata, path);
        assert_eq!(chunk.dictionary_page_offset().is_some(), dictionary, "{path}");
        assert_eq!(chunk.encodings().any(|it| it == Encoding::DELTA_BINARY_PACKED), delta, "{path}");
        assert_eq!(chunk.statistics().is_some(), statistics, "{path}");
        assert_eq!(chunk.compression(), PageCompression::SNAPPY, "{path}");
    };
    check("target", true, false, true);
    check("date", false, true, true);
    check("rank", false, true, true);
    check("info_is_ip", false, false, true);
    check("info_platform_type.list.element", true, false, false);
    check("referring_links_tld.key_value.key", true, false, false);
    check("referring_links_tld.key_value.value", false, true, false);
    let mut plain = options("none");
    plain.layout.integer_encoding = IntegerEncoding::Plain;
    let (rows, metadata) = {
        let parts = publish_rows(dir.path(), &plain, &sample::rows(0..3));
        read(&dir.path().join(&parts[0].path))
    };
    let of_all: Vec<_> = metadata.row_group(0).columns().iter().flat_map(ColumnChunkMetaData::encodings).collect();
    assert!(!of_all.contains(&Encoding::DELTA_BINARY_PACKED), "{of_all:?}");
    assert_eq!(rows.num_rows(), sample::rows(0..3).num_rows());
    let sorted: Vec<_> = metadata.row_group(0).sorting_columns().unwrap().iter().map(|it| it.column_idx).collect();
    assert_eq!(sorted, [0, 2]);
}

#[test]
fn batch_boundaries_do_not_affect_the_files() {
    let rows = sample::rows(0..60);
    let mut small = options("year");
    small.layout.row_group_rows = 1000;
    let written = |options: &Options, batches: &[(RecordBatch, Date)]| {
        let dir = tempfile::tempdir().unwrap();
        publish(dir.path(), options, batches);
        files(dir.path())
    };
    for options in [options("year"), small, options("year,month"), options("none")] {
        let whole = written(&options, &[(rows.clone(), RUN_DATE)]);
        assert!(whole == written(&options, &[(rows.clone(), RUN_DATE)]), "the same batch twice");
        for size in [95, 4096, 5000, 333] {
            let cut = written(&options, &pieces(&rows, size));
            assert!(whole == cut, "{} in batches of {size}", options.layout.partition_by);
        }
    }
}

#[test]
fn row_groups_limited_by_memory_end_at_the_same_rows() {
    let rows = sample::rows(0..500);
    let [whole, cut] = [rows.num_rows(), 333].map(|size| {
        let dir = tempfile::tempdir().unwrap();
        let parts = publish(dir.path(), &options("year,month"), &pieces(&rows, size));
        let row_groups = parts.iter().map(|part| read(&dir.path().join(&part.path)).1.num_row_groups());
        assert!(row_groups.sum::<usize>() > parts.len());
        files(dir.path())
    });
    assert!(whole == cut);
}

#[test]
fn row_groups_have_the_requested_number_of_rows() {
    let dir = tempfile::tempdir().unwrap();
    let mut small = options("none");
    small.layout.row_group_rows = 1000;
    let parts = publish_rows(dir.path(), &small, &sample::rows(0..30));
    let (_, metadata) = read(&dir.path().join(&parts[0].path));
    let rows: Vec<_> = metadata.row_groups().iter().map(RowGroupMetaData::num_rows).collect();
    assert_eq!(rows, [1000, 1000, 850]);
}

#[test]
fn rows_are_found_by_the_page_index_with_every_compression() {
    let rows = sample::rows(0..80);
    // The last row of target 49 has no date.
    let dated = concat_batches(&sample::schema(), &[rows.slice(0, 4749), rows.slice(4750, 2850)]).unwrap();
    let check = |compression: &str| {
        let dir = tempfile::tempdir().unwrap();
        let mut options = options("none");
        options.layout.compression = compression.parse().unwrap();
        options.layout.row_group_rows = 7000;
        let parts = publish_rows(dir.path(), &options, &rows);
        let history = parts.iter().find(|part| part.path.starts_with(HISTORY)).unwrap();
        let file = File::open(dir.path().join(&history.path)).unwrap();
        let with_pages = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
        let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(file, with_pages).unwrap();
        let metadata = reader.metadata().clone();
        for (group, column) in
            (0..2).flat_map(|group| (0..metadata.row_group(0).num_columns()).map(move |it| (group, it)))
        {
            let chunk = metadata.row_group(group).column(column);
            let pages = metadata.page_index().unwrap().offset_index(group, column).unwrap().page_locations();
            let size: i64 = pages.iter().map(|page| i64::from(page.compressed_page_size)).sum();
            let dictionary = chunk.dictionary_page_offset().map_or(0, |start| chunk.data_page_offset() - start);
            assert_eq!((pages[0].offset, dictionary + size), (chunk.data_page_offset(), chunk.compressed_size()));
            assert!(pages.len() > 2 || group == 1, "{compression}: {} pages", pages.len());
        }
        let some = RowSelection::from(vec![RowSelector::skip(4500), RowSelector::select(10)]);
        let found: Vec<_> = reader.with_row_selection(some).build().unwrap().map(Result::unwrap).collect();
        let expected = shown(&dated.slice(4500, 10));
        assert_eq!(found.iter().flat_map(shown).collect::<Vec<_>>(), expected, "{compression}");
    };
    for compression in ["zstd:1", "zstd:19", "snappy", "lz4", "none"] {
        check(compression);
    }
}

#[test]
fn a_dataset_without_rows_has_one_part_with_the_full_schema() {
    let check = |by: &str, path: &str| {
        let dir = tempfile::tempdir().unwrap();
        let parts = publish(dir.path(), &options(by), &[]);
        assert_eq!(paths(&parts), [path]);
        let (rows_read, _) = read(&dir.path().join(&parts[0].path));
        assert_eq!((rows_read.num_rows(), rows_read.num_columns()), (0, sample::schema().fields().len()));
    };
    check("none", "backlinks_history/part-r1-0.parquet");
    check("year", "backlinks_history/year=__HIVE_DEFAULT_PARTITION__/part-r1-0.parquet");
    check(
        "month,run_date",
        "backlinks_history/month=__HIVE_DEFAULT_PARTITION__/run_date=__HIVE_DEFAULT_PARTITION__/part-r1-0.parquet",
    );
}

#[test]
fn a_part_without_rows_is_in_the_given_partition_so_that_partition_columns_keep_their_types() {
    let check = |by: &str, path: &str| {
        let dir = tempfile::tempdir().unwrap();
        let stage = Stage::begin(dir.path()).unwrap();
        let mut writer = stage.history(sample::schema(), &options(by)).unwrap();
        writer.set_empty_date(date(2026, 11, 24));
        let parts = writer.finish().unwrap();
        assert_eq!(paths(&parts), [path]);
    };
    check("none", "backlinks_history/part-r1-0.parquet");
    check("year", "backlinks_history/year=2026/part-r1-0.parquet");
    check("year,month,run_date", "backlinks_history/year=2026/month=11/run_date=2026-11-24/part-r1-0.parquet");
}

#[test]
fn rows_of_several_runs_are_divided_by_run_date() {
    let dir = tempfile::tempdir().unwrap();
    let batches = [
        (sample::rows(0..1), date(2026, 11, 1)),
        (sample::rows(1..2), date(2026, 11, 2)),
        (sample::rows(2..3), date(2026, 11, 1)),
    ];
    let parts = publish(dir.path(), &options("run_date"), &batches);
    assert_eq!(parts.iter().map(|part| part.rows).collect::<Vec<_>>(), [190, 95]);
    assert_eq!(
        paths(&parts),
        [
            "backlinks_history/run_date=2026-11-01/part-r1-0.parquet",
            "backlinks_history/run_date=2026-11-02/part-r1-0.parquet",
        ]
    );
}

#[test]
fn any_number_of_partitions_is_written_with_few_open_files() {
    let dir = tempfile::tempdir().unwrap();
    let one = sample::rows(0..1).slice(0, 2);
    let days = |index: u64| RUN_DATE.checked_add(jiff::Span::new().days(i64::try_from(index % 250).unwrap())).unwrap();
    let batches: Vec<_> = (0..500).map(|index| (one.clone(), days(index))).collect();
    let parts = publish(dir.path(), &options("run_date"), &batches);
    assert_eq!(parts.iter().map(|part| part.rows).sum::<u64>(), 500 * 2);
    // Closed in between to open others, so its rows are in two files.
    assert!(paths(&parts).iter().any(|place| place.ends_with("run_date=2026-11-24/part-r1-1.parquet")));
    assert_eq!(files(dir.path()).len(), parts.len());
}

#[test]
fn file_names_repeat_only_if_all_content_is_the_same() {
    let names = |run_id: &str, metadata: &str, rows: &RecordBatch| {
        let dir = tempfile::tempdir().unwrap();
        let mut options = options("year");
        options.run_id = run_id.to_owned();
        options.metadata[0].1 = metadata.to_owned();
        publish_rows(dir.path(), &options, rows);
        files(dir.path()).into_keys().map(|name| name.replace(run_id, "RUN")).collect::<BTreeSet<_>>()
    };
    let rows = sample::rows(0..2);
    let first = names("r1", "2019-01-01", &rows);
    assert_eq!(names("r2", "2019-01-01", &rows), first);
    for other in [names("r1", "2019-01-02", &rows), names("r1", "2019-01-01", &sample::rows(0..3))] {
        assert!(first.is_disjoint(&other), "{first:?} {other:?}");
    }
    // One more row, in one year only
    let more = rows.slice(0, rows.num_rows() - 1);
    assert!(first.is_disjoint(&names("r1", "2019-01-01", &more)));
}

#[test]
fn publishing_replaces_the_whole_table_and_removes_success() {
    let dir = tempfile::tempdir().unwrap();
    publish_rows(dir.path(), &options("year"), &sample::rows(0..2));
    mark_success(dir.path()).unwrap();
    let mut second = options("none");
    second.run_id = "r2".to_owned();
    let parts = publish_rows(dir.path(), &second, &sample::rows(0..2));
    assert_eq!(paths(&parts), ["backlinks_history/part-r2-0.parquet"]);
    assert_eq!(files(dir.path()).into_keys().collect::<Vec<_>>(), [parts[0].path.to_str().unwrap()]);
    assert!(!dir.path().join(STAGING).exists());
}

#[test]
fn no_file_is_named_parquet_before_it_is_published() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::begin(dir.path()).unwrap();
    let mut writer = stage.history(sample::schema(), &options("year")).unwrap();
    writer.write(&sample::rows(0..50), RUN_DATE).unwrap();
    let parts = writer.finish().unwrap();
    let staged = files(dir.path());
    assert!(staged.keys().all(|name| name.starts_with("_staging/") && name.ends_with(".unfinished")), "{staged:?}");
    stage.publish(&parts).unwrap();
    assert!(files(dir.path()).keys().all(|name| !name.starts_with("_staging/") && name.ends_with(".parquet")));
}

#[test]
fn a_table_with_an_unfinished_file_is_not_published() {
    let dir = tempfile::tempdir().unwrap();
    publish_rows(dir.path(), &options("year"), &sample::rows(0..1));
    let before = files(dir.path());
    let stage = Stage::begin(dir.path()).unwrap();
    let mut writer = stage.history(sample::schema(), &options("none")).unwrap();
    writer.write(&sample::rows(0..50), RUN_DATE).unwrap();
    let dropped = stage.history(sample::schema(), &options("month")).unwrap();
    dropped.finish().unwrap();
    let parts = writer.finish().unwrap();
    let error = stage.publish(&parts).unwrap_err().to_string();
    assert!(error.ends_with(".unfinished was not finished; its table was not published"), "{error}");
    let after: BTreeMap<_, _> = files(dir.path()).into_iter().filter(|(name, _)| !name.starts_with(STAGING)).collect();
    assert!(before == after);
}

#[test]
fn the_targets_file_is_numbered_if_it_replaces_another_one() {
    let dir = tempfile::tempdir().unwrap();
    let name = |outcome| {
        let stage = Stage::begin(dir.path()).unwrap();
        let mut writer = stage.targets(&options("year"), &[]).unwrap();
        writer.push(&TargetRow { outcome, ..ROW }, &[]).unwrap();
        let part = writer.finish().unwrap();
        stage.publish(std::slice::from_ref(&part)).unwrap();
        assert_eq!(files(dir.path()).into_keys().collect::<Vec<_>>(), [part.path.to_str().unwrap()]);
        part.path.display().to_string()
    };
    assert_eq!(name(LineOutcome::Ok), "targets/part-r1.parquet");
    assert_eq!(name(LineOutcome::Ok), "targets/part-r1.parquet");
    let (failed, again, ok) = (name(LineOutcome::Failed), name(LineOutcome::Failed), name(LineOutcome::Ok));
    assert!(failed.starts_with("targets/part-r1-") && failed == again, "{failed} {again}");
    assert!(ok.starts_with("targets/part-r1-") && ok != failed, "{ok} {failed}");
}

const ROW: TargetRow<'static> = TargetRow {
    run_id: "r1",
    input: "https://A.com",
    target: Some("a.com"),
    outcome: LineOutcome::Ok,
    rows: Some(95),
    cost: Some(Usd::from_micros(27_384)),
    cost_source: Some("debit"),
    attempts: Some(2),
    possibly_billed: Some(0),
    http_status: Some(200),
    api_status_code: Some(20_000),
    message: None,
    task_id: Some("09291844-1535"),
    items_count: Some(95),
    api_version: Some("0.1.20260801"),
    api_seconds: Some(0.1571),
    latency_ms: Some(157),
    fetched_at: Some(jiff::Timestamp::UNIX_EPOCH),
    date_from: Some(date(2019, 1, 1)),
    date_to: Some(date(1969, 12, 31)),
    rank_scale: Some("one_thousand"),
    source: "a.csv:2",
};

#[test]
fn the_targets_table_has_a_row_for_each_line_and_the_inputs_own_columns() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::begin(dir.path()).unwrap();
    let mut writer = stage.targets(&options("year"), &["Client".to_owned(), "cli\u{0}ent".to_owned()]).unwrap();
    writer.push(&ROW, &[Some("Ünal"), None]).unwrap();
    writer
        .push(&TargetRow { target: None, outcome: LineOutcome::Rejected, rows: None, cost: None, ..ROW }, &[])
        .unwrap();
    for _ in 0..10_000 {
        writer.push(&ROW, &[None, Some("x")]).unwrap();
    }
    let part = writer.finish().unwrap();
    assert_eq!((part.path.to_str(), part.rows), (Some("targets/part-r1.parquet"), 10_002));
    stage.publish(std::slice::from_ref(&part)).unwrap();

    let (rows_read, _) = read(&dir.path().join(&part.path));
    let names: Vec<_> = rows_read.schema_ref().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(
        names.join(" "),
        "run_id input target outcome rows cost_usd cost_source attempts possibly_billed http_status api_status_code \
         message task_id items_count api_version api_seconds latency_ms fetched_at date_from date_to rank_scale source \
         input_Client input_client_2"
    );
    let lines = shown(&rows_read);
    assert_eq!(
        lines[0],
        "r1|https://A.com|a.com|ok|95|0.027384|debit|2|0|200|20000|null|09291844-1535|95|0.1.20260801|0.1571|157|\
         1970-01-01T00:00:00Z|2019-01-01|1969-12-31|one_thousand|a.csv:2|Ünal|null|"
    );
    assert!(lines[1].starts_with("r1|https://A.com|null|rejected|null|null|debit|"));
    let total: i64 = rows_read.column_by_name("rows").unwrap().as_primitive::<Int64Type>().iter().flatten().sum();
    assert_eq!((rows_read.num_rows(), total), (10_002, 95 * 10_001));
}

#[test]
fn a_targets_table_without_lines_is_still_a_table() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::begin(dir.path()).unwrap();
    let part = stage.targets(&options("year"), &[]).unwrap().finish().unwrap();
    stage.publish(std::slice::from_ref(&part)).unwrap();
    let (rows_read, _) = read(&dir.path().join(&part.path));
    assert_eq!((rows_read.num_rows(), rows_read.num_columns()), (0, 22));
}

#[test]
fn names_of_input_columns_are_unique_ignoring_case() {
    let check = |columns: &[&str], expected: &[&str]| {
        let columns: Vec<_> = columns.iter().map(|column| (*column).to_owned()).collect();
        assert_eq!(input_column_names(&columns), expected);
    };
    check(&["client", "since"], &["input_client", "input_since"]);
    check(
        &["client", "CLIENT", "client_2", "client"],
        &["input_client", "input_CLIENT_2", "input_client_2_2", "input_client_3"],
    );
    check(&["", "a\nb\u{1b}", " x "], &["input_", "input_ab", "input_x"]);
}
