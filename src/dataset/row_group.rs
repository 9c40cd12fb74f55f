//! The open row group of a file: rows are encoded as they arrive, and their pages are compressed when it ends.
//!
//! An encoded row takes some 0.2 KB, so a row group can have many rows. `ArrowWriter` would also keep a compressor for
//! each column, together 4 MB with Zstandard. Here one compressor does all pages of a row group, and only while it
//! ends.

use std::{io::Write, mem, sync::Arc};

use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use parquet::{
    arrow::{ArrowWriter, arrow_writer::ArrowWriterOptions},
    basic::{self, PageType, ZstdLevel},
    column::{
        page::{CompressedPage, Page, PageWriter},
        page_store::{InMemoryPageStore, PageKey, PageStore, PageStoreArgs, PageStoreFactory},
        writer::ColumnCloseResult,
    },
    errors::ParquetError,
    file::{
        metadata::ParquetMetaData,
        serialized_reader::SerializedPageReader,
        writer::{SerializedFileWriter, SerializedPageWriter, TrackedWrite},
    },
};
use zstd::bulk::Compressor;

use super::encoding::WriterConfig;

/// Memory of the encoders of some fifty columns beside what they report.
const ENCODER_BYTES: usize = 160 << 10;

/// About the size of a row group's metadata.
const FOOTER_BYTES: usize = 128 << 10;

/// Rows of one future row group, encoded in memory.
pub(super) struct RowGroup {
    /// Writes a Parquet file with one row group.
    writer: ArrowWriter<Vec<u8>>,
}

impl RowGroup {
    pub(super) fn begin(config: &WriterConfig) -> Result<Self, ParquetError> {
        let options = ArrowWriterOptions::new()
            .with_properties(config.open_properties.as_ref().clone())
            .with_page_store_factory(Arc::new(TightPagesFactory))
            .with_skip_arrow_metadata(true);
        Ok(Self { writer: ArrowWriter::try_new_with_options(Vec::new(), config.schema.clone(), options)? })
    }

    pub(super) fn write(&mut self, rows: &RecordBatch) -> Result<(), ParquetError> {
        self.writer.write(rows)
    }

    pub(super) fn rows(&self) -> usize {
        self.writer.in_progress_rows()
    }

    pub(super) fn memory(&self) -> usize {
        ENCODER_BYTES + self.writer.memory_size()
    }

    /// Writes it to a file, its pages compressed at the level `zstd` if the encoders did not compress them.
    pub(super) fn append_to(
        mut self,
        file: &mut SerializedFileWriter<impl Write + Send>,
        zstd: Option<ZstdLevel>,
    ) -> Result<(), ParquetError> {
        // Reserve the size up front: growing the buffer would copy it, with both copies in memory.
        let size = self.writer.in_progress_size() + FOOTER_BYTES;
        self.writer.inner_mut().reserve(size);
        let metadata = self.writer.finish()?;
        let encoded = Bytes::from(mem::take(self.writer.inner_mut()));
        let mut compressor = zstd.map(ChunkCompressor::new).transpose()?;
        let mut row_group = file.next_row_group()?;
        for index in 0..metadata.row_group(0).num_columns() {
            let chunk = column_chunk(&metadata, index);
            match &mut compressor {
                None => row_group.append_column(&encoded, chunk)?,
                Some(compressor) => {
                    let (bytes, chunk) = compressor.compress(&encoded, chunk)?;
                    row_group.append_column(&bytes, chunk)?;
                }
            }
        }
        row_group.close()?;
        Ok(())
    }
}

/// Keeps pages in buffers of their size. The writer allocates 1 KB for each page header of some 30 bytes: 0.5 MB for a
/// row group.
#[derive(Default)]
struct TightPages(InMemoryPageStore);

impl PageStore for TightPages {
    fn put(&mut self, value: Bytes) -> Result<PageKey, ParquetError> {
        self.0.put(Bytes::copy_from_slice(&value))
    }

    fn take(&mut self, key: PageKey) -> Result<Bytes, ParquetError> {
        self.0.take(key)
    }

    fn memory_size(&self) -> usize {
        self.0.memory_size()
    }
}

#[derive(Debug)]
struct TightPagesFactory;

impl PageStoreFactory for TightPagesFactory {
    fn create(&self, _: &PageStoreArgs<'_>) -> Result<Box<dyn PageStore>, ParquetError> {
        Ok(Box::new(TightPages::default()))
    }
}

/// The metadata of a column of the only row group.
fn column_chunk(metadata: &ParquetMetaData, index: usize) -> ColumnCloseResult {
    let row_group = metadata.row_group(0);
    let column = row_group.column(index);
    let page_index = metadata.page_index();
    ColumnCloseResult {
        bytes_written: column.compressed_size().unsigned_abs(),
        rows_written: row_group.num_rows().unsigned_abs(),
        metadata: column.clone(),
        bloom_filter: None,
        column_index: page_index.and_then(|pages| pages.column_index(0, index)).cloned(),
        offset_index: page_index.and_then(|pages| pages.offset_index(0, index)).cloned(),
    }
}

struct ChunkCompressor {
    level: ZstdLevel,
    zstd: Compressor<'static>,
}

impl ChunkCompressor {
    fn new(level: ZstdLevel) -> Result<Self, ParquetError> {
        Ok(Self { level, zstd: Compressor::new(level.compression_level())? })
    }

    /// Compresses the pages of a column of `encoded`.
    fn compress(
        &mut self,
        encoded: &Bytes,
        mut chunk: ColumnCloseResult,
    ) -> Result<(Bytes, ColumnCloseResult), ParquetError> {
        let rows = usize::try_from(chunk.rows_written).unwrap_or(usize::MAX);
        let mut locations = chunk.offset_index.as_mut().map(|index| index.page_locations.iter_mut());
        let pages = SerializedPageReader::new(Arc::new(encoded.clone()), &chunk.metadata, rows, None)?;
        let mut bytes = TrackedWrite::new(Vec::new());
        let mut writer = SerializedPageWriter::new(&mut bytes);
        let (mut uncompressed, mut dictionary_offset, mut data_offset) = (0, None, None);
        for page in pages {
            let mut page = page?;
            let size = page.buffer().len();
            let (Page::DataPage { buf, .. } | Page::DictionaryPage { buf, .. }) = &mut page else {
                return Err(ParquetError::NYI("data pages of version 2".to_owned()));
            };
            *buf = self.zstd.compress(buf)?.into();
            let spec = writer.write_page(CompressedPage::new(page, size))?;
            uncompressed += spec.uncompressed_size;
            let offset = i64::try_from(spec.offset)?;
            if spec.page_type == PageType::DICTIONARY_PAGE {
                dictionary_offset = Some(offset);
                continue;
            }
            data_offset.get_or_insert(offset);
            if let Some(location) = locations.as_mut().and_then(Iterator::next) {
                location.offset = offset;
                location.compressed_page_size = i32::try_from(spec.compressed_size)?;
            }
        }
        let bytes = Bytes::from(bytes.into_inner()?);
        chunk.bytes_written = bytes.len() as u64;
        let metadata = chunk.metadata.into_builder().set_compression(basic::Compression::ZSTD(self.level));
        chunk.metadata = metadata
            .set_total_compressed_size(i64::try_from(bytes.len())?)
            .set_total_uncompressed_size(i64::try_from(uncompressed)?)
            .set_dictionary_page_offset(dictionary_offset)
            .set_data_page_offset(data_offset.unwrap_or_default())
            .build()?;
        Ok((bytes, chunk))
    }
}
