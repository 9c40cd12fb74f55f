//! Writes the rows of `backlinks_history` to their partitions, and those without a date to `backlinks_undated`, in
//! bounded memory.
//!
//! Rows are first collected into blocks of a fixed number of rows, so that page and row group boundaries do not depend
//! on how small the batches were. A block ends early at another run date, and after a batch that makes it too large in
//! bytes; one answer is one batch, so the same answers always give the same files. A block is split by partition, and
//! each piece is encoded at once into the open row group of its partition's file. Rows are never sorted.

use std::{
    collections::HashMap,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{
    compute::concat_batches,
    datatypes::{Field, Schema, SchemaRef},
    record_batch::RecordBatch,
};
use jiff::{civil::Date, tz::Offset};
use sha2::{Digest, Sha256};

use super::{
    DatasetError, Options, Part, PartitionBy, UNDATED,
    encoding::WriterConfig,
    part::{OpenPart, first_number},
    partition::PartitionValues,
    row_block::RowBlock,
};

/// Maximum memory of the open row groups of all partitions; one of 20,000 rows takes about 5 MB. Above it, the largest
/// one is ended early.
const OPEN_BYTES: usize = 48 << 20;
/// Maximum row groups in all open files, whose metadata stays in memory until the file is closed: some 40 KB each.
const OPEN_ROW_GROUPS: usize = 512;
/// Maximum open files. Above it, the least recently used one is closed.
const OPEN_FILES: usize = 192;
/// A file larger than this is closed; the partition's next rows go to a new one.
const ROLL_BYTES: usize = 512 << 20;

/// Writes `backlinks_history`. Dropped before [`finish`](Self::finish), it leaves files that are never published.
pub struct HistoryWriter {
    staging: PathBuf,
    config: WriterConfig,
    /// For the rows without a date: their schema allows null dates.
    undated_config: WriterConfig,
    run_id: String,
    partition_by: PartitionBy,
    /// Rows of one run date that do not fill a block yet.
    block: RowBlock,
    run_date: Option<Date>,
    /// The day whose partition gets the file of a table without rows.
    empty_date: Option<Date>,
    blocks: u64,
    /// The index of each in `partitions`; `None`: the rows without a date.
    indexes: HashMap<Option<PartitionValues>, usize>,
    partitions: Vec<Partition>,
    /// By folder, and by their order in it.
    finished: Vec<((PathBuf, u32), Part)>,
}

/// A directory of files, one of them open at most.
struct Partition {
    /// Relative to the run's directory.
    folder: PathBuf,
    part: Option<OpenPart>,
    /// The number of its next file.
    next: u32,
    /// The last block that had rows for it.
    last_block: u64,
}

impl HistoryWriter {
    pub(super) fn new(staging: PathBuf, schema: SchemaRef, options: &Options) -> Result<Self, DatasetError> {
        let config = |schema, sorted_by: &[&str]| {
            WriterConfig::new(schema, options, sorted_by).map_err(DatasetError::encode(&staging))
        };
        let undated_config = config(with_null_dates(&schema), &["target"])?;
        let config = config(schema, &["target", "date"])?;
        Ok(Self {
            staging,
            config,
            undated_config,
            run_id: options.run_id.clone(),
            partition_by: options.layout.partition_by.clone(),
            block: RowBlock::default(),
            run_date: None,
            empty_date: None,
            blocks: 0,
            indexes: HashMap::new(),
            partitions: Vec::new(),
            finished: Vec::new(),
        })
    }

    /// Writes rows of the schema, sorted by target and date over all calls, of a run that started on `run_date`.
    pub fn write(&mut self, batch: &RecordBatch, run_date: Date) -> Result<(), DatasetError> {
        if self.run_date != Some(run_date) {
            self.write_block()?;
            self.run_date = Some(run_date);
        }
        let mut start = 0;
        while start < batch.num_rows() {
            start += self.block.push(batch, start)?;
            if self.block.is_full() {
                self.write_block()?;
            }
        }
        Ok(())
    }

    /// Sets the partition, that of `day`, of the file that a table without rows gets. In the null partition, engines would read the
    /// partition columns as text, and queries that compare them with numbers would fail.
    pub fn set_empty_date(&mut self, day: Date) {
        self.empty_date = Some(day);
    }

    /// Writes the remaining rows and the footers; returns all files in order of path. A table without rows has one file
    /// without rows, because readers need one.
    pub fn finish(mut self) -> Result<Vec<Part>, DatasetError> {
        self.write_block()?;
        if self.partitions.iter().all(|partition| is_undated(&partition.folder)) {
            let midnight = self.empty_date.and_then(|day| Offset::UTC.to_timestamp(day.at(0, 0, 0, 0)).ok());
            let micros = midnight.map(jiff::Timestamp::as_microsecond);
            let index = self.partition(Some(self.partition_by.values(micros, self.run_date.or(self.empty_date))));
            self.open(index)?;
        }
        for index in 0..self.partitions.len() {
            self.close(index)?;
        }
        self.finished.sort();
        self.name_by_content()
    }

    /// Renumbers the files from a number that depends on the content of all of them.
    fn name_by_content(self) -> Result<Vec<Part>, DatasetError> {
        let mut content = Sha256::new();
        for ((folder, number), part) in &self.finished {
            content.update(format!("{}/{number} {}\n", folder.display(), part.sha256));
        }
        let first = first_number(content);
        let undated = self.finished.iter().filter(|((folder, _), _)| is_undated(folder)).count();
        // Nobody can be reading `backlinks_undated` if it does not exist yet, so its only file needs no number.
        let is_new = undated == 1 && self.staging.parent().is_some_and(|dir| !dir.join(UNDATED).exists());
        let name = |((folder, number), part): ((PathBuf, u32), Part)| {
            if is_new && is_undated(&folder) {
                let path = folder.join(format!("part-{}.parquet", self.run_id));
                return part.renamed(&self.staging, path);
            }
            part.renamed(&self.staging, part_path(&folder, &self.run_id, first + u64::from(number)))
        };
        self.finished.into_iter().map(name).collect()
    }

    /// Writes each row of the block to its partition, in order of the partitions' first appearance.
    fn write_block(&mut self) -> Result<(), DatasetError> {
        let batches = self.block.take();
        if batches.is_empty() {
            return Ok(());
        }
        self.blocks += 1;
        let mut ranges: Vec<Vec<(usize, Range<usize>)>> = vec![Vec::new(); self.partitions.len()];
        for (number, batch) in batches.iter().enumerate() {
            for (values, range) in self.partition_by.ranges(batch, self.run_date) {
                let index = self.partition(values);
                if index == ranges.len() {
                    ranges.push(Vec::new());
                }
                ranges[index].push((number, range));
            }
        }
        for (index, ranges) in ranges.iter().enumerate().filter(|(_, ranges)| !ranges.is_empty()) {
            // One partition at a time: by month, each slice is a single row, and takes far more memory than the row.
            let slices: Vec<_> =
                ranges.iter().map(|(number, range)| batches[*number].slice(range.start, range.len())).collect();
            self.write_to(index, &concat_batches(&slices[0].schema(), &slices)?)?;
        }
        Ok(())
    }

    fn partition(&mut self, values: Option<PartitionValues>) -> usize {
        let next = self.partitions.len();
        let index = *self.indexes.entry(values).or_insert(next);
        if index == next {
            let folder = self.partition_by.table_folder(values.as_ref());
            self.partitions.push(Partition { folder, part: None, next: 0, last_block: 0 });
        }
        index
    }

    fn write_to(&mut self, index: usize, rows: &RecordBatch) -> Result<(), DatasetError> {
        if self.partitions[index].part.is_none() {
            self.make_room()?;
        }
        self.partitions[index].last_block = self.blocks;
        let part = self.open(index)?;
        part.write(rows)?;
        if part.bytes() > ROLL_BYTES {
            self.close(index)?;
        }
        while self.parts().map(|(_, part)| part.memory).sum::<usize>() > OPEN_BYTES {
            let Some(largest) = self.parts().max_by_key(|(_, part)| part.memory).map(|(index, _)| index) else {
                break;
            };
            self.open(largest)?.flush()?;
        }
        self.bound_metadata()
    }

    /// The open files, each with the number of its partition.
    fn parts(&self) -> impl Iterator<Item = (usize, &OpenPart)> {
        self.partitions.iter().enumerate().filter_map(|(index, partition)| Some((index, partition.part.as_ref()?)))
    }

    /// The open file of a partition, created if there is none.
    fn open(&mut self, index: usize) -> Result<&mut OpenPart, DatasetError> {
        let partition = &mut self.partitions[index];
        match &mut partition.part {
            Some(part) => Ok(part),
            none => {
                let path = part_path(&partition.folder, &self.run_id, partition.next.into());
                partition.next += 1;
                let config = if is_undated(&partition.folder) { &self.undated_config } else { &self.config };
                Ok(none.insert(OpenPart::create(&self.staging, path, config)?))
            }
        }
    }

    fn close(&mut self, index: usize) -> Result<(), DatasetError> {
        let partition = &mut self.partitions[index];
        if let Some(part) = partition.part.take() {
            self.finished.push(((partition.folder.clone(), partition.next - 1), part.close()?));
        }
        Ok(())
    }

    fn make_room(&mut self) -> Result<(), DatasetError> {
        if self.parts().count() < OPEN_FILES {
            return Ok(());
        }
        let oldest = self.parts().min_by_key(|(index, _)| self.partitions[*index].last_block).map(|(index, _)| index);
        oldest.map_or(Ok(()), |index| self.close(index))
    }

    /// Closes the file with the most row groups when there are too many in all files together.
    fn bound_metadata(&mut self) -> Result<(), DatasetError> {
        if self.parts().map(|(_, part)| part.row_groups()).sum::<usize>() <= OPEN_ROW_GROUPS {
            return Ok(());
        }
        let most = self.parts().max_by_key(|(_, part)| part.row_groups()).map(|(index, _)| index);
        most.map_or(Ok(()), |index| self.close(index))
    }
}

/// The path of a file in the run's directory.
fn part_path(folder: &Path, run_id: &str, number: u64) -> PathBuf {
    folder.join(format!("part-{run_id}-{number}.parquet"))
}

/// Whether a folder is the one of the rows without a date.
fn is_undated(folder: &Path) -> bool {
    folder == Path::new(UNDATED)
}

/// The schema for rows whose date and month are null.
fn with_null_dates(schema: &Schema) -> SchemaRef {
    let is_date = |field: &Field| matches!(field.name().as_str(), "date" | "month_start");
    let fields = schema.fields().iter().map(|field| {
        if is_date(field) { Arc::new(field.as_ref().clone().with_nullable(true)) } else { Arc::clone(field) }
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
