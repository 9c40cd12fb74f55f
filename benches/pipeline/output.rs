//! What a run has written: sizes, row groups, and when the last answer came.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use arrow::{array::AsArray as _, compute, datatypes::TimestampMicrosecondType};
use parquet::{
    arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
    basic::{Compression, ZstdLevel},
    file::{metadata::RowGroupMetaData, properties::WriterProperties},
};

/// All files in a folder and those below it, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut found: Vec<PathBuf> =
        entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect();
    found.sort();
    found
}

fn open(path: &Path) -> ParquetRecordBatchReaderBuilder<File> {
    ParquetRecordBatchReaderBuilder::try_new(File::open(path).expect("readable"))
        .expect("Parquet")
        .with_batch_size(8192)
}

/// Bytes of all files in a folder.
pub(crate) fn bytes(folder: &Path) -> u64 {
    files(folder).iter().map(|path| fs::metadata(path).expect("metadata").len()).sum()
}

/// Bytes of a table's Parquet files, each rewritten with the writer's defaults at zstd 3.
pub(crate) fn with_defaults(table: &Path) -> u64 {
    let size = |path: &PathBuf| {
        let reader = open(path);
        let level = ZstdLevel::try_new(3).expect("a level");
        let properties = WriterProperties::builder().set_compression(Compression::ZSTD(level)).build();
        let mut writer = ArrowWriter::try_new(Vec::new(), reader.schema().clone(), Some(properties)).expect("a writer");
        for batch in reader.build().expect("a reader") {
            writer.write(&batch.expect("rows")).expect("written");
        }
        writer.into_inner().expect("a footer").len() as u64
    };
    files(table).iter().map(size).sum()
}

/// How large a table's row groups are. The last one of a file has the remaining rows and is not representative.
pub(crate) fn row_groups(table: &Path) -> String {
    let mut full = Vec::new();
    let mut all = 0;
    for path in files(table) {
        let metadata = open(&path).metadata().clone();
        let mut rows: Vec<i64> = metadata.row_groups().iter().map(RowGroupMetaData::num_rows).collect();
        all += rows.len();
        rows.pop();
        full.extend(rows);
    }
    full.sort_unstable();
    match full.get(full.len() / 2) {
        Some(median) => format!("{all}; the median of full ones has {median} rows"),
        None => format!("{all}, one per file"),
    }
}

/// When a run's last answer was complete.
pub(crate) fn last_answer(out: &Path) -> SystemTime {
    let latest = files(&out.join("targets"))
        .into_iter()
        .flat_map(|path| open(&path).build().expect("a reader"))
        .filter_map(|batch| {
            let batch = batch.expect("rows");
            compute::max(batch.column_by_name("fetched_at")?.as_primitive::<TimestampMicrosecondType>())
        });
    let micros = latest.max().expect("an answer");
    SystemTime::UNIX_EPOCH + Duration::from_micros(micros.try_into().expect("after 1970"))
}
