//! The rows of `backlinks_history`, divided among their partitions, and apart from them those without a date; written
//! in bounded memory.
//!
//! Rows are gathered into frames of a fixed size before anything is decided, so that it does not matter how they were
//! cut into batches: page and row group boundaries depend on the sequence of rows alone. A partition's rows are held
//! until they make up a row group and then encoded at once. An encoder has buffers and a compressor for each of some
//! fifty columns, 9 MB together: with one in each of a hundred partitions, they would take more memory than the rows.
//! Never sorts: rows keep their order.

use std::{
    collections::HashMap,
    mem,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, AsArray},
    compute::interleave_record_batch,
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType},
    record_batch::RecordBatch,
};
use jiff::{civil::Date, tz::Offset};
use sha2::{Digest, Sha256};

use super::{
    DatasetError, Options, Part, PartitionBy, UNDATED,
    encoding::WriterConfig,
    held_rows::HeldRows,
    part::{OpenPart, first_number},
    partition::PartitionValues,
};

/// Rows that are divided among the partitions at once: some 5 MB in memory, about 43 full histories.
const FRAME_ROWS: usize = 4096;
/// Bytes of texts, lists and maps in a frame, of which a single row may have as many as an answer: past it the frame ends
/// early. Four times what usual rows have.
const FRAME_BYTES: usize = 12 << 20;
/// Memory for rows that are held, all partitions together, some 1.4 KB each. Past it the largest partition's make up
/// a row group of fewer rows than asked for: some 5,000 with nine years, at no cost in size.
const HELD_BYTES: usize = 32 << 20;
/// Row groups whose metadata waits for its file's end, all open files together: some 40 KB each.
const OPEN_ROW_GROUPS: usize = 512;
/// Partitions that hold rows or an open file at once. Past it the one without new rows for the longest time is closed.
const ACTIVE_PARTITIONS: usize = 192;
/// A file is followed by the next one past this size.
const ROLL_BYTES: usize = 512 << 20;

/// Writes `backlinks_history`. Dropped before [`finish`](Self::finish), it leaves files that are never published.
pub struct HistoryWriter {
    staging: PathBuf,
    recipe: WriterConfig,
    /// For the rows without a date: their schema allows it to be null.
    undated: WriterConfig,
    run_id: String,
    row_group_rows: usize,
    partition_by: PartitionBy,
    /// The column of a row's date.
    date: Option<usize>,
    /// Batches that make up less than a frame, of one run date.
    frame: Vec<RecordBatch>,
    frame_rows: usize,
    frame_bytes: usize,
    run_date: Option<Date>,
    /// Where the file of a table without rows goes.
    empty: Option<Date>,
    frames: u64,
    /// By partition; `None`: the rows without a date.
    places: HashMap<Option<PartitionValues>, usize>,
    partitions: Vec<Partition>,
    /// By folder, and by order in it.
    finished: Vec<((PathBuf, u32), Part)>,
}

/// The rows and the file of one directory.
struct Partition {
    /// Below the run's directory.
    folder: PathBuf,
    held: HeldRows,
    part: Option<OpenPart>,
    /// The number of its next file.
    next: u32,
    /// The last frame that had rows for it.
    last_frame: u64,
}

impl Partition {
    fn is_active(&self) -> bool {
        self.held.rows > 0 || self.part.is_some()
    }
}

impl HistoryWriter {
    pub(super) fn new(staging: PathBuf, schema: SchemaRef, options: &Options) -> Result<Self, DatasetError> {
        let partition_by = options.partition_by.clone();
        let date = schema.column_with_name("date").filter(|(_, field)| is_micros(field.data_type()));
        if partition_by.by_date() && date.is_none() {
            return Err(DatasetError::NoDate { by: partition_by });
        }
        let date = date.map(|(index, _)| index);
        let undated = WriterConfig::new(with_null_dates(&schema), options, &["target"]);
        let undated = undated.map_err(DatasetError::encode(&staging))?;
        let recipe = WriterConfig::new(schema, options, &["target", "date"]).map_err(DatasetError::encode(&staging))?;
        Ok(Self {
            staging,
            recipe,
            undated,
            run_id: options.run_id.clone(),
            row_group_rows: options.row_group_rows.max(1),
            partition_by,
            date,
            frame: Vec::new(),
            frame_rows: 0,
            frame_bytes: 0,
            run_date: None,
            empty: None,
            frames: 0,
            places: HashMap::new(),
            partitions: Vec::new(),
            finished: Vec::new(),
        })
    }

    /// Takes rows of the schema, sorted by target and date over all calls, of a run that began on `run_date`.
    pub fn write(&mut self, batch: &RecordBatch, run_date: Date) -> Result<(), DatasetError> {
        if self.run_date != Some(run_date) {
            self.divide_frame()?;
            self.run_date = Some(run_date);
        }
        let mut start = 0;
        while start < batch.num_rows() {
            let rows = (batch.num_rows() - start).min(FRAME_ROWS - self.frame_rows);
            let piece = batch.slice(start, rows);
            self.frame_bytes += loose_bytes(piece.columns());
            self.frame.push(piece);
            self.frame_rows += rows;
            start += rows;
            if self.frame_rows == FRAME_ROWS || self.frame_bytes > FRAME_BYTES {
                self.divide_frame()?;
            }
        }
        Ok(())
    }

    /// Says in which partition the one file of a table without rows goes: that of `day`. In the nulls' partition, engines
    /// take the partition columns for text, and a query that compares them with numbers fails.
    pub fn without_rows(&mut self, day: Date) {
        self.empty = Some(day);
    }

    /// Writes what is held back and the footers; returns all files in order of path. Without any rows that is one
    /// file with none, for no reader can do without.
    pub fn finish(mut self) -> Result<Vec<Part>, DatasetError> {
        self.divide_frame()?;
        if self.partitions.iter().all(|partition| is_undated(&partition.folder)) {
            let midnight = self.empty.and_then(|day| Offset::UTC.to_timestamp(day.at(0, 0, 0, 0)).ok());
            let micros = midnight.map(jiff::Timestamp::as_microsecond);
            let index = self.partition(Some(self.partition_by.place(micros, self.run_date.or(self.empty))));
            self.open(index)?;
        }
        for index in 0..self.partitions.len() {
            self.retire(index)?;
        }
        self.finished.sort();
        self.name_by_content()
    }

    /// Numbers the files anew, from a number that is drawn from what all of them hold.
    fn name_by_content(self) -> Result<Vec<Part>, DatasetError> {
        let mut content = Sha256::new();
        for ((folder, number), part) in &self.finished {
            content.update(format!("{}/{number} {}\n", folder.display(), part.sha256));
        }
        let first = first_number(content);
        let undated = self.finished.iter().filter(|((folder, _), _)| is_undated(folder)).count();
        // Nobody can be reading a table that is not there yet, so its one file needs no number.
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

    /// Hands each row of the frame to its partition.
    fn divide_frame(&mut self) -> Result<(), DatasetError> {
        if self.frame_rows == 0 {
            return Ok(());
        }
        let frame = mem::take(&mut self.frame);
        (self.frame_rows, self.frame_bytes) = (0, 0);
        self.frames += 1;
        for (index, rows) in self.rows_by_partition(&frame) {
            let piece = interleave_record_batch(&frame.iter().collect::<Vec<_>>(), &rows)?;
            self.hold(index, piece)?;
        }
        Ok(())
    }

    /// The rows of a frame, by batch and row in it, for each partition that has any, in order of the partitions' first
    /// appearance.
    fn rows_by_partition(&mut self, frame: &[RecordBatch]) -> Vec<(usize, Vec<(usize, usize)>)> {
        let mut rows: Vec<Vec<(usize, usize)>> = vec![Vec::new(); self.partitions.len()];
        let mut latest: Option<(Option<PartitionValues>, usize)> = None;
        for (number, batch) in frame.iter().enumerate() {
            let dates = self.date.map(|column| batch.column(column).as_primitive::<TimestampMicrosecondType>());
            for row in 0..batch.num_rows() {
                let micros = dates.filter(|dates| dates.is_valid(row)).map(|dates| dates.value(row));
                let is_undated = dates.is_some() && micros.is_none();
                let place = (!is_undated).then(|| self.partition_by.place(micros, self.run_date));
                let index = match latest {
                    Some((same, index)) if same == place => index,
                    _ => self.partition(place),
                };
                latest = Some((place, index));
                if index == rows.len() {
                    rows.push(Vec::new());
                }
                rows[index].push((number, row));
            }
        }
        rows.into_iter().enumerate().filter(|(_, rows)| !rows.is_empty()).collect()
    }

    fn partition(&mut self, place: Option<PartitionValues>) -> usize {
        let next = self.partitions.len();
        let index = *self.places.entry(place).or_insert(next);
        if index == next {
            let folder = self.partition_by.table_folder(place.as_ref());
            self.partitions.push(Partition { folder, held: HeldRows::default(), part: None, next: 0, last_frame: 0 });
        }
        index
    }

    fn hold(&mut self, index: usize, piece: RecordBatch) -> Result<(), DatasetError> {
        if !self.partitions[index].is_active() {
            self.make_room()?;
        }
        let partition = &mut self.partitions[index];
        partition.last_frame = self.frames;
        partition.held.push(piece)?;
        while self.partitions[index].held.rows >= self.row_group_rows {
            self.write_row_group(index)?;
        }
        while self.partitions.iter().map(|partition| partition.held.bytes).sum::<usize>() > HELD_BYTES {
            let sizes = self.partitions.iter().enumerate().map(|(index, partition)| (partition.held.bytes, index));
            let Some((_, largest)) = sizes.max() else { break };
            self.write_row_group(largest)?;
        }
        Ok(())
    }

    /// Makes a row group of what a partition holds, as far as it goes into one.
    fn write_row_group(&mut self, index: usize) -> Result<(), DatasetError> {
        let mut left = self.row_group_rows;
        while left > 0
            && let Some(rows) = self.partitions[index].held.pop(left)?
        {
            left -= rows.num_rows();
            self.open(index)?.write(&rows)?;
        }
        let part = self.open(index)?;
        part.flush()?;
        if part.bytes() > ROLL_BYTES {
            self.close(index)?;
        }
        self.bound_metadata()
    }

    /// The file of a partition, which is made when the first rows are there to write.
    fn open(&mut self, index: usize) -> Result<&mut OpenPart, DatasetError> {
        let partition = &mut self.partitions[index];
        let part = if let Some(part) = partition.part.take() {
            part
        } else {
            let path = part_path(&partition.folder, &self.run_id, partition.next.into());
            partition.next += 1;
            let recipe = if is_undated(&partition.folder) { &self.undated } else { &self.recipe };
            OpenPart::create(&self.staging, path, recipe)?
        };
        Ok(partition.part.insert(part))
    }

    fn close(&mut self, index: usize) -> Result<(), DatasetError> {
        let partition = &mut self.partitions[index];
        if let Some(part) = partition.part.take() {
            self.finished.push(((partition.folder.clone(), partition.next - 1), part.close()?));
        }
        Ok(())
    }

    /// Writes all that a partition holds and ends its file.
    fn retire(&mut self, index: usize) -> Result<(), DatasetError> {
        while self.partitions[index].held.rows > 0 {
            self.write_row_group(index)?;
        }
        self.close(index)
    }

    /// Makes room for one more partition with rows or an open file.
    fn make_room(&mut self) -> Result<(), DatasetError> {
        let active = self.partitions.iter().enumerate().filter(|(_, partition)| partition.is_active());
        if active.clone().count() < ACTIVE_PARTITIONS {
            return Ok(());
        }
        let oldest = active.min_by_key(|(index, partition)| (partition.last_frame, *index)).map(|(index, _)| index);
        oldest.map_or(Ok(()), |index| self.retire(index))
    }

    /// Ends the file with the most row groups when all have too many together.
    fn bound_metadata(&mut self) -> Result<(), DatasetError> {
        let parts = self.partitions.iter().enumerate().filter_map(|(index, it)| Some((it.part.as_ref()?, index)));
        let row_groups = parts.map(|(part, index)| (part.row_groups(), index));
        if row_groups.clone().map(|(row_groups, _)| row_groups).sum::<usize>() <= OPEN_ROW_GROUPS {
            return Ok(());
        }
        row_groups.max().map_or(Ok(()), |(_, index)| self.close(index))
    }
}

/// Where a file lies in the run's directory.
fn part_path(folder: &Path, run_id: &str, number: u64) -> PathBuf {
    folder.join(format!("part-{run_id}-{number}.parquet"))
}

/// Whether a folder is that of the rows without a date.
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

/// Bytes of a batch's texts, lists and maps: what has no fixed size. Counted by rows alone, however they were cut.
fn loose_bytes(columns: &[ArrayRef]) -> usize {
    /// An entry's value and its key's offset.
    const ENTRY: usize = 12;
    let text = |array: &ArrayRef| array.as_string_opt::<i32>().map_or(0, |texts| span(texts.value_offsets()).len());
    let of = |column: &ArrayRef| match column.data_type() {
        DataType::List(_) => {
            let list = column.as_list::<i32>();
            let entries = span(list.value_offsets());
            ENTRY * entries.len() + text(&list.values().slice(entries.start, entries.len()))
        }
        DataType::Map(..) => {
            let map = column.as_map();
            let entries = span(map.value_offsets());
            ENTRY * entries.len() + text(&map.keys().slice(entries.start, entries.len()))
        }
        _ => text(column),
    };
    columns.iter().map(of).sum()
}

/// From the first offset to the last.
fn span(offsets: &[i32]) -> std::ops::Range<usize> {
    let place = |offset: Option<&i32>| offset.and_then(|offset| usize::try_from(*offset).ok()).unwrap_or(0);
    place(offsets.first())..place(offsets.last())
}

fn is_micros(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(TimeUnit::Microsecond, _))
}
