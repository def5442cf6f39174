//! Reading the file of chunks.

use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use crate::block::FileMeta;
use crate::chunk::{dense, gorilla};
use crate::encoding::Malformed;
use crate::error::{Error, Result};
use crate::fs::{Fs, MappedFile, Ulid};
use crate::sample::Samples;
use crate::time::{TimeRange, Timestamp};

use super::columns::{ColumnsReader, is_ascending};
use super::directory::{ChunkEntry, Extent, Form, Place, RecordPlace, SeriesRecords};
use super::layout::{self, Footer, HeaderFault};
use super::pages::{Page, PagesReader, RECORDS_PER_PAGE, read, read_checked};

/// The file of chunks of one block, open.
#[derive(Debug)]
pub(crate) struct ChunksReader {
    path: PathBuf,
    file: MappedFile,
    series: PagesReader,
    columns: ColumnsReader,
    base: Timestamp,
}

/// The chunks of one series; borrows the page of the directory that names them.
pub(crate) struct SeriesChunks<'a> {
    reader: &'a ChunksReader,
    page: Page<'a>,
    series: u32,
    walk: &'a Walk,
}

/// Where the reader of the series before left off: who reads series in order passes each record of the directory once.
/// Only saves time; readers that share one or jump about lose it.
#[derive(Debug, Default)]
pub(crate) struct Walk(Mutex<Option<(u32, RecordPlace)>>);

impl ChunksReader {
    /// Opens the file and checks its length, header, footer and page tables. Pages and chunks are checked when read.
    pub(crate) fn open(fs: &dyn Fs, path: &Path, ulid: Ulid, expected: FileMeta) -> Result<Self> {
        let file = open_sized(fs, path, expected)?;
        match layout::check_header(&read(&file, path, 0, layout::HEADER_BYTES)?) {
            Ok(()) => {}
            Err(HeaderFault::Malformed(malformed)) => {
                return Err(Error::corruption(
                    path,
                    malformed.offset as u64,
                    malformed.what,
                ));
            }
            Err(HeaderFault::Version(version)) => {
                return Err(Error::unsupported(
                    path,
                    format!("version {version} of a file of chunks"),
                ));
            }
        }
        let start = file.len().saturating_sub(layout::FOOTER_BYTES as u64);
        let footer = Footer::decode(&read(&file, path, start, layout::FOOTER_BYTES)?).map_err(
            |malformed| Error::corruption(path, start + malformed.offset as u64, malformed.what),
        )?;
        if footer.ulid != ulid {
            return Err(Error::corruption(
                path,
                start,
                format!("belongs to block {}", footer.ulid),
            ));
        }
        Ok(Self {
            series: PagesReader::open(file.clone(), path, footer.series)?,
            columns: ColumnsReader::open(&file, path, footer.columns, footer.base)?,
            base: footer.base,
            path: path.to_owned(),
            file,
        })
    }

    pub(crate) fn file(&self) -> &MappedFile {
        &self.file
    }

    /// Returns the number of series.
    pub(crate) fn series(&self) -> u32 {
        self.series.records()
    }

    /// Finds the chunks of a series by its position in label order.
    pub(crate) fn chunks_of<'a>(&'a self, series: u32, walk: &'a Walk) -> Result<SeriesChunks<'a>> {
        let page = self.series.page_of(series)?;
        Ok(SeriesChunks {
            reader: self,
            page,
            series,
            walk,
        })
    }

    /// Reads everything once and returns every damaged unit: pages of the directories, columns, chunks.
    pub(crate) fn verify(&self) -> Vec<Error> {
        let mut damaged = Vec::new();
        self.columns.verify(&mut damaged);
        let mut samples = Samples::default();
        let walk = Walk::default();
        let mut last_bad_page = None;
        for series in 0..self.series() {
            let page = series / RECORDS_PER_PAGE;
            if last_bad_page == Some(page) {
                continue;
            }
            samples.clear();
            match self.chunks_of(series, &walk) {
                Ok(chunks) => {
                    // A damaged column was reported above, not once for each series that shares it.
                    let report = |error: Error| {
                        if !damaged.iter().any(|known| known.offset() == error.offset()) {
                            damaged.push(error);
                        }
                    };
                    chunks.read_reporting(TimeRange::ALL, &mut samples, report);
                }
                Err(error) => {
                    last_bad_page = Some(page);
                    damaged.push(error);
                }
            }
        }
        damaged
    }

    /// Reads the chunk's samples inside `range` to the end of `out`.
    fn read(&self, chunk: &ChunkEntry, range: TimeRange, out: &mut Samples) -> Result<()> {
        match chunk.form {
            Form::Dense { column, base } => self.read_dense(column, base, &chunk.place, range, out),
            Form::Gorilla { first, last } => {
                if !range.overlaps(&TimeRange::closed(first, last)) {
                    return Ok(());
                }
                self.read_gorilla(&chunk.place, range, out)
            }
        }
    }

    fn read_dense(
        &self,
        column: u32,
        base: Option<Extent>,
        place: &Place,
        range: TimeRange,
        out: &mut Samples,
    ) -> Result<()> {
        let Some(column) = self.columns.read(column, range)? else {
            return Ok(());
        };
        let timestamps = column.timestamps.as_slice();
        let from = timestamps.partition_point(|&timestamp| timestamp < range.start);
        let to = timestamps.partition_point(|&timestamp| timestamp < range.end);
        if from >= to {
            return Ok(());
        }
        let start = out.values.len();
        match base {
            None => self.with_bytes(place, |bytes| {
                dense::decode(bytes, timestamps.len(), &mut out.values)
            })?,
            Some(base) => {
                let base = read_checked(&self.file, &self.path, base)?;
                self.with_bytes(place, |bytes| {
                    dense::decode_difference(bytes, &base, timestamps.len(), &mut out.values)
                })?;
            }
        }
        out.values.truncate(start + to);
        if from > 0 {
            out.values.drain(start..start + from);
        }
        out.timestamps.extend_from_slice(&timestamps[from..to]);
        Ok(())
    }

    fn read_gorilla(&self, place: &Place, range: TimeRange, out: &mut Samples) -> Result<()> {
        let mut decoded = Samples::default();
        self.with_bytes(place, |bytes| gorilla::decode(bytes, &mut decoded))?;
        if !is_ascending(&decoded.timestamps) {
            return Err(self.corruption_at(place, "timestamps do not ascend"));
        }
        let from = decoded
            .timestamps
            .partition_point(|&timestamp| timestamp < range.start);
        let to = decoded
            .timestamps
            .partition_point(|&timestamp| timestamp < range.end);
        if from < to {
            out.timestamps
                .extend_from_slice(&decoded.timestamps[from..to]);
            out.values.extend_from_slice(&decoded.values[from..to]);
        }
        Ok(())
    }

    /// Decodes the bytes of a chunk; they are verified before: here, or with the page they stand in.
    fn with_bytes(
        &self,
        place: &Place,
        decode: impl FnOnce(&[u8]) -> Result<(), Malformed>,
    ) -> Result<()> {
        let decoded = match place {
            Place::Inline(inline) => decode(inline.bytes()),
            Place::File(extent) => decode(&read_checked(&self.file, &self.path, *extent)?),
        };
        decoded.map_err(|malformed| self.corruption_at(place, malformed.what))
    }

    fn corruption_at(&self, place: &Place, what: &str) -> Error {
        let offset = match place {
            Place::File(extent) => extent.offset,
            Place::Inline(_) => 0,
        };
        Error::corruption(&self.path, offset, what)
    }
}

impl SeriesChunks<'_> {
    /// Appends the samples inside `range` to `out`. A damaged chunk is left out, the others are read, and the first
    /// damage is returned.
    pub(crate) fn read(&self, range: TimeRange, out: &mut Samples) -> Result<()> {
        let mut first = Ok(());
        self.read_reporting(range, out, |error| {
            if first.is_ok() {
                first = Err(error);
            }
        });
        first
    }

    /// Reads the newest chunk that has samples inside `range`, and of that all of them; `is_enough` may ask for the
    /// one before.
    pub(crate) fn read_latest(
        &self,
        range: TimeRange,
        out: &mut Samples,
        mut is_enough: impl FnMut(&mut Samples) -> bool,
    ) -> Result<()> {
        for chunk in self.entries()?.iter().rev() {
            out.clear();
            self.reader.read(chunk, range, out)?;
            if !out.is_empty() && is_enough(out) {
                return Ok(());
            }
        }
        out.clear();
        Ok(())
    }

    /// Returns the span from the first sample to the last.
    pub(crate) fn extent(&self) -> Result<TimeRange> {
        let mut extent: Option<TimeRange> = None;
        for chunk in self.entries()? {
            let (first, last) = match chunk.form {
                Form::Dense { column, .. } => {
                    let entry = self.reader.columns.entry(column)?;
                    (entry.first, entry.last)
                }
                Form::Gorilla { first, last } => (first, last),
            };
            let start = extent.map_or(first, |extent| extent.start);
            extent = Some(TimeRange::closed(start, last));
        }
        // A record has at least one chunk.
        Ok(extent.unwrap_or(TimeRange::new(0, 0)))
    }

    fn read_reporting(&self, range: TimeRange, out: &mut Samples, mut report: impl FnMut(Error)) {
        let entries = match self.entries() {
            Ok(entries) => entries,
            Err(error) => return report(error),
        };
        let mut last = None;
        for chunk in &entries {
            let start = out.len();
            if let Err(error) = self.reader.read(chunk, range, out) {
                report(error);
                continue;
            }
            let first = out.timestamps.get(start).copied();
            if first.is_some() && first <= last {
                out.truncate(start);
                report(
                    self.reader
                        .corruption_at(&chunk.place, "chunk begins before its neighbour ends"),
                );
                continue;
            }
            last = out
                .timestamps
                .get(start..)
                .and_then(<[_]>::last)
                .copied()
                .or(last);
        }
    }

    fn entries(&self) -> Result<Vec<ChunkEntry>> {
        let mut entries = Vec::with_capacity(1);
        self.read_entries(&mut entries)
            .map_err(|malformed| self.page.corruption(malformed))?;
        Ok(entries)
    }

    fn read_entries(&self, out: &mut Vec<ChunkEntry>) -> Result<(), Malformed> {
        let first_of_page = self.series - self.series % RECORDS_PER_PAGE;
        let left_off = *self.walk.0.lock();
        let left_off = left_off.filter(|(next, _)| (first_of_page..=self.series).contains(next));
        let (next, mut records) = match left_off {
            Some((next, place)) => (next, SeriesRecords::resume(self.page.reader(), place)?),
            None => (
                first_of_page,
                SeriesRecords::new(self.page.reader(), self.reader.base),
            ),
        };
        records.skip(self.series - next)?;
        records.read(out)?;
        // What follows the last record of a page is the first of the next, where everything begins anew.
        *self.walk.0.lock() = Some((self.series + 1, records.place()))
            .filter(|(next, _)| !next.is_multiple_of(RECORDS_PER_PAGE));
        Ok(())
    }
}

/// Opens a file that must have the length that was written.
pub(crate) fn open_sized(fs: &dyn Fs, path: &Path, expected: FileMeta) -> Result<MappedFile> {
    let size_bytes = fs
        .open_read(path)
        .and_then(|file| file.len())
        .map_err(|error| Error::io("open", path, error))?;
    if size_bytes != expected.size_bytes {
        let message = format!(
            "file has {size_bytes} bytes, expected {}",
            expected.size_bytes
        );
        return Err(Error::corruption(
            path,
            size_bytes.min(expected.size_bytes),
            message,
        ));
    }
    fs.map(path, size_bytes)
        .map_err(|error| Error::io("map", path, error))
}
