//! The cost of encoding and writing a target's 95 rows: Parquet's defaults compared with the dataset's writer.
//!
//! Items are rows: 95 of them make a target. Sizes are printed once at the beginning.

#![expect(clippy::print_stdout, reason = "its result")]
#![allow(missing_docs, reason = "a benchmark has no readers of its items")]

use std::path::Path;

use arrow::record_batch::RecordBatch;
use backlinks_export::dataset::{DatasetLayout, Options, Stage};
use divan::{Bencher, counter::ItemsCount};
use jiff::civil::date;
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};

mod sample;

const TARGETS: u64 = 2_000;
/// Targets in a batch.
const BATCH: u64 = 40;

fn main() {
    let batches = batches();
    let dir = tempfile::tempdir().expect("a folder");
    let rows = u64::try_from(rows(&batches)).expect("small");
    for (partition_by, compression) in [("year", "zstd:1"), ("year", "snappy"), ("none", "zstd:1"), ("month", "zstd:1")]
    {
        let bytes = dataset(dir.path(), &batches, partition_by, compression);
        println!("dataset, by {partition_by}, {compression}: {} bytes a row", bytes / rows);
    }
    println!("defaults, zstd:3: {} bytes a row", defaults(&batches).len() as u64 / rows);
    divan::main();
}

fn batches() -> Vec<RecordBatch> {
    let starts = (0..TARGETS).step_by(usize::try_from(BATCH).expect("small"));
    starts.map(|start| sample::rows(start..(start + BATCH).min(TARGETS))).collect()
}

fn rows(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

fn dataset(dir: &Path, batches: &[RecordBatch], partition_by: &str, compression: &str) -> u64 {
    let options = Options {
        layout: DatasetLayout {
            partition_by: partition_by.parse().expect("a partitioning"),
            compression: compression.parse().expect("a compression"),
            ..DatasetLayout::default()
        },
        run_id: "bench".to_owned(),
        metadata: Vec::new(),
    };
    let stage = Stage::begin(dir).expect("a stage");
    let mut writer = stage.history(sample::schema(), &options).expect("a writer");
    for batch in batches {
        writer.write(batch, date(2026, 11, 24)).expect("written");
    }
    writer.finish().expect("finished").iter().map(|part| part.bytes).sum()
}

fn defaults(batches: &[RecordBatch]) -> Vec<u8> {
    let level = ZstdLevel::try_new(3).expect("a level");
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(level)).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), sample::schema(), Some(properties)).expect("a writer");
    for batch in batches {
        writer.write(batch).expect("written");
    }
    writer.into_inner().expect("finished")
}

#[divan::bench(args = ["year", "none", "month"], sample_count = 3, sample_size = 1)]
fn dataset_by(bencher: Bencher<'_, '_>, partition_by: &str) {
    let batches = batches();
    let dir = tempfile::tempdir().expect("a folder");
    let items = ItemsCount::new(rows(&batches));
    bencher.counter(items).bench_local(|| dataset(dir.path(), &batches, partition_by, "zstd:1"));
}

#[divan::bench(sample_count = 3, sample_size = 1)]
fn parquet_defaults_at_zstd_3(bencher: Bencher<'_, '_>) {
    let batches = batches();
    bencher.counter(ItemsCount::new(rows(&batches))).bench_local(|| defaults(&batches).len());
}
