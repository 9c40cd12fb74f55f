//! The rows of `backlinks_history`, divided among their partitions and written in bounded memory.
//!
//! Rows are gathered into frames of a fixed size before anything is decided, so that it does not matter how they were
//! cut into batches: page and row group boundaries depend on the sequence of rows alone. Each partition holds back a
//! few rows until writing them pays, because a write has a cost for every column. Never sorts: rows keep their order.

use std::{collections::HashMap, mem, path::PathBuf};

use arrow::{
    array::{Array, AsArray, UInt32Array},
    compute::{concat_batches, take_record_batch},
    datatypes::{DataType, SchemaRef, TimeUnit, TimestampMicrosecondType},
    record_batch::RecordBatch,
};
use jiff::civil::Date;

use super::{DatasetError, HISTORY, Options, Part, PartitionBy, encoding::Recipe, part::OpenPart, partition::Place};

/// Rows that are divided among the partitions at once: some 6 MB in memory, about 43 full histories.
const FRAME_ROWS: usize = 4096;
/// Rows that a partition holds back at most.
const HELD_ROWS: usize = 256;
/// Pieces in which a partition holds them at most: a piece of one row costs 20 KB.
const HELD_PIECES: usize = 8;
/// Memory for open row groups, all partitions together. The largest is written early when it is exceeded.
const OPEN_BYTES: usize = 48 << 20;
/// Row groups whose metadata waits for its file's end, all open files together: some 30 KB each.
const OPEN_ROW_GROUPS: usize = 512;
/// Partitions that hold rows or an open file at once. Past it the one without new rows for the longest time is closed.
const ACTIVE_PARTITIONS: usize = 192;
/// A file is followed by the next one past this size.
const ROLL_BYTES: usize = 512 << 20;

/// Writes `backlinks_history`. Dropped before [`finish`](Self::finish), it leaves files that are never published.
pub struct HistoryWriter {
    staging: PathBuf,
    recipe: Recipe,
    run_id: String,
    partition_by: PartitionBy,
    /// The column of a row's date, where it decides.
    date: Option<usize>,
    /// Batches that make up less than a frame, of one run date.
    frame: Vec<RecordBatch>,
    frame_rows: usize,
    run_date: Option<Date>,
    frames: u64,
    places: HashMap<Place, usize>,
    partitions: Vec<Partition>,
    finished: Vec<Part>,
}

/// The rows and the file of one directory.
struct Partition {
    folder: String,
    held: Vec<RecordBatch>,
    held_rows: usize,
    part: Option<OpenPart>,
    /// The number of its next file.
    next: u32,
    /// The last frame that had rows for it.
    last_frame: u64,
}

impl Partition {
    fn is_active(&self) -> bool {
        self.held_rows > 0 || self.part.is_some()
    }
}

impl HistoryWriter {
    pub(super) fn new(staging: PathBuf, schema: SchemaRef, options: &Options) -> Result<Self, DatasetError> {
        let partition_by = options.partition_by.clone();
        let date = schema.column_with_name("date").filter(|(_, field)| is_micros(field.data_type()));
        if partition_by.by_date() && date.is_none() {
            return Err(DatasetError::NoDate { by: partition_by });
        }
        let date = date.map(|(index, _)| index).filter(|_| partition_by.by_date());
        let recipe = Recipe::new(schema, options, &["target", "date"]).map_err(DatasetError::encode(&staging))?;
        Ok(Self {
            staging,
            recipe,
            run_id: options.run_id.clone(),
            partition_by,
            date,
            frame: Vec::new(),
            frame_rows: 0,
            run_date: None,
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
            self.frame.push(batch.slice(start, rows));
            self.frame_rows += rows;
            start += rows;
            if self.frame_rows == FRAME_ROWS {
                self.divide_frame()?;
            }
        }
        Ok(())
    }

    /// Writes what is held back and the footers; returns all files in order of path. Without any rows that is one
    /// file with none, for no reader can do without.
    pub fn finish(mut self) -> Result<Vec<Part>, DatasetError> {
        self.divide_frame()?;
        if self.places.is_empty() {
            let index = self.partition(self.partition_by.place(None, self.run_date));
            self.open(index)?;
        }
        for index in 0..self.partitions.len() {
            self.write_held(index)?;
            self.close(index)?;
        }
        self.finished.sort();
        Ok(self.finished)
    }

    /// Hands each row of the frame to its partition.
    fn divide_frame(&mut self) -> Result<(), DatasetError> {
        if self.frame_rows == 0 {
            return Ok(());
        }
        let frame = match mem::take(&mut self.frame).as_slice() {
            [whole] => whole.clone(),
            pieces => concat_batches(&self.recipe.schema, pieces)?,
        };
        self.frame_rows = 0;
        self.frames += 1;
        for (index, rows) in self.rows_by_partition(&frame) {
            let piece = take_record_batch(&frame, &UInt32Array::from(rows))?;
            self.hold(index, piece)?;
        }
        Ok(())
    }

    /// The rows of a frame for each partition that has any, in order of the partitions' first appearance.
    fn rows_by_partition(&mut self, frame: &RecordBatch) -> Vec<(usize, Vec<u32>)> {
        let dates = self.date.map(|column| frame.column(column).as_primitive::<TimestampMicrosecondType>().clone());
        let mut rows: Vec<Vec<u32>> = vec![Vec::new(); self.partitions.len()];
        let mut latest: Option<(Place, usize)> = None;
        for row in 0..frame.num_rows() {
            let micros = dates.as_ref().filter(|dates| dates.is_valid(row)).map(|dates| dates.value(row));
            let place = self.partition_by.place(micros, self.run_date);
            let index = match latest {
                Some((same, index)) if same == place => index,
                _ => self.partition(place),
            };
            latest = Some((place, index));
            if index == rows.len() {
                rows.push(Vec::new());
            }
            rows[index].push(u32::try_from(row).expect("a frame is small"));
        }
        rows.into_iter().enumerate().filter(|(_, rows)| !rows.is_empty()).collect()
    }

    fn partition(&mut self, place: Place) -> usize {
        let next = self.partitions.len();
        let index = *self.places.entry(place).or_insert(next);
        if index == next {
            let folder = self.partition_by.folder(&place);
            let (held, held_rows, part, last_frame) = (Vec::new(), 0, None, 0);
            self.partitions.push(Partition { folder, held, held_rows, part, next: 0, last_frame });
        }
        index
    }

    fn hold(&mut self, index: usize, piece: RecordBatch) -> Result<(), DatasetError> {
        if !self.partitions[index].is_active() {
            self.make_room()?;
        }
        let partition = &mut self.partitions[index];
        partition.last_frame = self.frames;
        partition.held_rows += piece.num_rows();
        partition.held.push(piece);
        if partition.held_rows >= HELD_ROWS {
            return self.write_held(index);
        }
        if partition.held.len() >= HELD_PIECES {
            partition.held = vec![concat_batches(&self.recipe.schema, &partition.held)?];
        }
        Ok(())
    }

    fn write_held(&mut self, index: usize) -> Result<(), DatasetError> {
        let partition = &mut self.partitions[index];
        if partition.held_rows == 0 {
            return Ok(());
        }
        partition.held_rows = 0;
        let rows = match mem::take(&mut partition.held).as_slice() {
            [whole] => whole.clone(),
            pieces => concat_batches(&self.recipe.schema, pieces)?,
        };
        self.open(index)?.write(&rows)?;
        if self.partitions[index].part.as_ref().is_some_and(|part| part.bytes() > ROLL_BYTES) {
            self.close(index)?;
        }
        self.bound_memory()
    }

    /// The file of a partition, which is made when the first rows are there to write.
    fn open(&mut self, index: usize) -> Result<&mut OpenPart, DatasetError> {
        let partition = &mut self.partitions[index];
        let part = if let Some(part) = partition.part.take() {
            part
        } else {
            let name = format!("part-{}-{}.parquet", self.run_id, partition.next);
            let path: PathBuf = [HISTORY, &partition.folder, &name].iter().collect();
            partition.next += 1;
            OpenPart::create(&self.staging, path, &self.recipe)?
        };
        Ok(partition.part.insert(part))
    }

    fn close(&mut self, index: usize) -> Result<(), DatasetError> {
        if let Some(part) = self.partitions[index].part.take() {
            self.finished.push(part.close()?);
        }
        Ok(())
    }

    /// Ends the largest row groups until the rest may stay, and the files that hold the most metadata likewise.
    fn bound_memory(&mut self) -> Result<(), DatasetError> {
        while self.parts().map(|(_, part)| part.memory()).sum::<usize>() > OPEN_BYTES {
            let Some(index) = self.largest(OpenPart::memory) else { break };
            self.partitions[index].part.as_mut().map_or(Ok(()), OpenPart::flush)?;
        }
        while self.parts().map(|(_, part)| part.row_groups()).sum::<usize>() > OPEN_ROW_GROUPS {
            let Some(index) = self.largest(OpenPart::row_groups) else { break };
            self.close(index)?;
        }
        Ok(())
    }

    /// Makes room for one more partition with rows or an open file.
    fn make_room(&mut self) -> Result<(), DatasetError> {
        let active = self.partitions.iter().enumerate().filter(|(_, partition)| partition.is_active());
        if active.clone().count() < ACTIVE_PARTITIONS {
            return Ok(());
        }
        let oldest = active.min_by_key(|(index, partition)| (partition.last_frame, *index)).map(|(index, _)| index);
        let Some(oldest) = oldest else { return Ok(()) };
        self.write_held(oldest)?;
        self.close(oldest)
    }

    fn parts(&self) -> impl Iterator<Item = (usize, &OpenPart)> {
        self.partitions.iter().enumerate().filter_map(|(index, partition)| Some((index, partition.part.as_ref()?)))
    }

    /// The open file with the most of something; of several, the one opened last.
    fn largest(&self, measure: impl Fn(&OpenPart) -> usize) -> Option<usize> {
        self.parts().max_by_key(|(index, part)| (measure(part), *index)).map(|(index, _)| index)
    }
}

fn is_micros(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(TimeUnit::Microsecond, _))
}
