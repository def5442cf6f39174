//! Reading the file of chunks.

use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::block::FileMeta;
use crate::chunk::{dense, gorilla};
use crate::encoding::{ByteReader, Malformed};
use crate::error::{Error, Result};
use crate::fs::{Fs, MappedFile, Ulid};
use crate::sample::Samples;
use crate::time::{TimeRange, Timestamp};

use super::columns::ColumnsReader;
use super::directory::{ChunkEntry, Extent, Form, Place, SeriesRecords};
use super::layout::{self, Footer, HeaderFault};
use super::pages::{PagesReader, RECORDS_PER_PAGE, read, read_checked};
use super::reading::{DecodedColumns, Reading, Walk};

/// The file of chunks of one block, open.
#[derive(Debug)]
pub(crate) struct ChunksReader {
    path: PathBuf,
    file: MappedFile,
    series: PagesReader,
    columns: ColumnsReader,
    base: Timestamp,
}

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

    /// Appends the samples of a series, named by its position in label order, inside `range` to `out`. A damaged chunk
    /// is left out, the others are read, and the first damage is returned.
    pub(crate) fn read(
        &self,
        series: u32,
        range: TimeRange,
        reading: &mut Reading,
        out: &mut Samples,
    ) -> Result<()> {
        let mut first = Ok(());
        self.read_reporting(series, range, reading, out, |error| {
            if first.is_ok() {
                first = Err(error);
            }
        });
        first
    }

    /// Reads the newest chunk of a series that has samples inside `range`, and of that all of them; `is_enough` may ask
    /// for the one before.
    pub(crate) fn read_latest(
        &self,
        series: u32,
        range: TimeRange,
        reading: &mut Reading,
        out: &mut Samples,
        mut is_enough: impl FnMut(&mut Samples) -> bool,
    ) -> Result<()> {
        let Reading {
            walk,
            chunks,
            columns,
        } = reading;
        self.find(series, walk, chunks)?;
        for chunk in chunks.iter().rev() {
            out.clear();
            self.read_chunk(chunk, range, columns, out)?;
            if !out.is_empty() && is_enough(out) {
                return Ok(());
            }
        }
        out.clear();
        Ok(())
    }

    /// Returns the span of a series from its first sample to its last.
    pub(crate) fn extent(&self, series: u32, reading: &mut Reading) -> Result<TimeRange> {
        let mut extent: Option<TimeRange> = None;
        let Reading {
            walk,
            chunks,
            columns,
        } = reading;
        self.find(series, walk, chunks)?;
        for chunk in chunks.iter() {
            let (first, last) = match chunk.form {
                Form::Dense { column, .. } => {
                    let entry = self.columns.entry(column, columns)?;
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

    /// Reads everything once and returns every damaged unit: pages of the directories, columns, chunks.
    pub(crate) fn verify(&self) -> Vec<Error> {
        let mut damaged = Vec::new();
        self.columns.verify(&mut damaged);
        let mut samples = Samples::default();
        let mut reading = Reading::default();
        let mut last_bad_page = None;
        for series in 0..self.series() {
            let page = series / RECORDS_PER_PAGE;
            if last_bad_page == Some(page) {
                continue;
            }
            if let Err(error) = self.series.page_of(series) {
                last_bad_page = Some(page);
                damaged.push(error);
                continue;
            }
            samples.clear();
            // A damaged column was reported above, not once for each series that shares it.
            let report = |error: Error| {
                if !damaged.iter().any(|known| known.offset() == error.offset()) {
                    damaged.push(error);
                }
            };
            self.read_reporting(series, TimeRange::ALL, &mut reading, &mut samples, report);
        }
        damaged
    }

    fn read_reporting(
        &self,
        series: u32,
        range: TimeRange,
        reading: &mut Reading,
        out: &mut Samples,
        mut report: impl FnMut(Error),
    ) {
        let Reading {
            walk,
            chunks,
            columns,
        } = reading;
        if let Err(error) = self.find(series, walk, chunks) {
            return report(error);
        }
        let mut last = None;
        for chunk in chunks.iter() {
            let start = out.len();
            if let Err(error) = self.read_chunk(chunk, range, columns, out) {
                report(error);
                continue;
            }
            let first = out.timestamps.get(start).copied();
            if first.is_some() && first <= last {
                out.truncate(start);
                report(self.corruption_at(&chunk.place, "chunk begins before its neighbour ends"));
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

    /// Fills `chunks` with those of a series.
    fn find(&self, series: u32, walk: &mut Walk, chunks: &mut Vec<ChunkEntry>) -> Result<()> {
        let page = self.series.page_of(series)?;
        chunks.clear();
        self.find_in(page.reader(), series, walk, chunks)
            .map_err(|malformed| page.corruption(malformed))
    }

    fn find_in(
        &self,
        page: ByteReader<'_>,
        series: u32,
        walk: &mut Walk,
        chunks: &mut Vec<ChunkEntry>,
    ) -> Result<(), Malformed> {
        let first_of_page = series - series % RECORDS_PER_PAGE;
        let left_off = walk.0.take();
        let left_off = left_off.filter(|(next, _)| (first_of_page..=series).contains(next));
        let (next, mut records) = match left_off {
            Some((next, place)) => (next, SeriesRecords::resume(page, place)?),
            None => (first_of_page, SeriesRecords::new(page, self.base)),
        };
        records.skip(series - next)?;
        records.read(chunks)?;
        // What follows the last record of a page is the first of the next, where everything begins anew.
        walk.0 = Some((series + 1, records.place()))
            .filter(|(next, _)| !next.is_multiple_of(RECORDS_PER_PAGE));
        Ok(())
    }

    /// Reads the chunk's samples inside `range` to the end of `out`.
    fn read_chunk(
        &self,
        chunk: &ChunkEntry,
        range: TimeRange,
        columns: &mut DecodedColumns,
        out: &mut Samples,
    ) -> Result<()> {
        match chunk.form {
            Form::Dense { column, base } => {
                let timestamps = self.columns.read(column, range, columns)?;
                self.read_dense(timestamps, base, &chunk.place, range, out)
            }
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
        timestamps: &[Timestamp],
        base: Option<Extent>,
        place: &Place,
        range: TimeRange,
        out: &mut Samples,
    ) -> Result<()> {
        let inside = inside(timestamps, range);
        if inside.is_empty() {
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
        out.values.truncate(start + inside.end);
        if inside.start > 0 {
            out.values.drain(start..start + inside.start);
        }
        out.timestamps.extend_from_slice(&timestamps[inside]);
        Ok(())
    }

    fn read_gorilla(&self, place: &Place, range: TimeRange, out: &mut Samples) -> Result<()> {
        let mut decoded = Samples::default();
        self.with_bytes(place, |bytes| gorilla::decode(bytes, &mut decoded))?;
        let is_ascending = decoded
            .timestamps
            .is_sorted_by(|before, after| before < after);
        if !is_ascending {
            return Err(self.corruption_at(place, "timestamps do not ascend"));
        }
        let inside = inside(&decoded.timestamps, range);
        out.timestamps
            .extend_from_slice(&decoded.timestamps[inside.clone()]);
        out.values.extend_from_slice(&decoded.values[inside]);
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

/// Returns where the timestamps inside `range` are among those of a chunk.
fn inside(timestamps: &[Timestamp], range: TimeRange) -> Range<usize> {
    // Mostly all are, which takes no search through memory that nobody has looked at lately.
    if let (Some(first), Some(last)) = (timestamps.first(), timestamps.last())
        && range.contains(*first)
        && range.contains(*last)
    {
        return 0..timestamps.len();
    }
    let start = timestamps.partition_point(|&timestamp| timestamp < range.start);
    let rest = &timestamps[start..];
    start..start + rest.partition_point(|&timestamp| timestamp < range.end)
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
