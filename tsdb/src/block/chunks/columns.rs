//! Reading the timestamp columns.

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::chunk::column;
use crate::error::{Error, Result};
use crate::fs::MappedFile;
use crate::time::{TimeRange, Timestamp};

use super::directory::{self, ColumnEntry};
use super::pages::{PagesReader, RECORDS_PER_PAGE, Section, read_checked};

/// The columns of a file of chunks. Hundreds of series share one, so what is decoded stays for a while.
#[derive(Debug)]
pub(super) struct ColumnsReader {
    file: MappedFile,
    directory: PagesReader,
    base: Timestamp,
    /// The columns decoded last, each at its number modulo the length.
    cache: Box<[Mutex<Option<Arc<Column>>>]>,
}

/// A column, decoded; there is at least one timestamp, and they ascend.
#[derive(Debug)]
pub(super) struct Column {
    number: u32,
    pub(super) timestamps: Vec<Timestamp>,
}

impl ColumnsReader {
    pub(super) fn open(
        file: &MappedFile,
        path: &Path,
        section: Section,
        base: Timestamp,
    ) -> Result<Self> {
        Ok(Self {
            file: file.clone(),
            directory: PagesReader::open(file.clone(), path, section)?,
            base,
            cache: (0..CACHED_COLUMNS).map(|_slot| Mutex::new(None)).collect(),
        })
    }

    /// Returns the column with this number, or `None` if it has no timestamp inside `range`.
    pub(super) fn read(&self, number: u32, range: TimeRange) -> Result<Option<Arc<Column>>> {
        let slot = &self.cache[number as usize % CACHED_COLUMNS];
        let cached = slot.lock().clone();
        if let Some(column) = cached.filter(|column| column.number == number) {
            return Ok(Some(column));
        }
        let entry = self.entry(number)?;
        if !range.overlaps(&TimeRange::closed(entry.first, entry.last)) {
            return Ok(None);
        }
        let column = Arc::new(self.decode(number, &entry)?);
        *slot.lock() = Some(column.clone());
        Ok(Some(column))
    }

    /// Returns what the directory says about a column.
    pub(super) fn entry(&self, number: u32) -> Result<ColumnEntry> {
        let page = self.directory.page_of(number)?;
        directory::read_column(page.reader(), self.base, number % RECORDS_PER_PAGE)
            .map_err(|malformed| page.corruption(malformed))
    }

    /// Reads everything once and adds every damaged unit.
    pub(super) fn verify(&self, damaged: &mut Vec<Error>) {
        let records = self.directory.records();
        for first in (0..records).step_by(RECORDS_PER_PAGE as usize) {
            let end = first.saturating_add(RECORDS_PER_PAGE).min(records);
            if let Err(error) = self.directory.page_of(first) {
                damaged.push(error);
                continue;
            }
            damaged.extend((first..end).filter_map(|number| {
                let entry = self.entry(number);
                entry.and_then(|entry| self.decode(number, &entry)).err()
            }));
        }
    }

    fn decode(&self, number: u32, entry: &ColumnEntry) -> Result<Column> {
        let path = self.directory.path();
        let bytes = read_checked(&self.file, path, entry.extent)?;
        let corruption = |what| Error::corruption(path, entry.extent.offset, what);
        // The count was checked against the longest column there is.
        let mut timestamps = Vec::with_capacity(entry.count);
        column::decode(&bytes, entry.count, &mut timestamps)
            .map_err(|malformed| corruption(malformed.what))?;
        let is_as_listed = timestamps.len() == entry.count
            && timestamps.first() == Some(&entry.first)
            && timestamps.last() == Some(&entry.last)
            && is_ascending(&timestamps);
        if is_as_listed {
            Ok(Column { number, timestamps })
        } else {
            Err(corruption("column is not the one listed"))
        }
    }
}

pub(super) fn is_ascending(timestamps: &[Timestamp]) -> bool {
    timestamps.windows(2).all(|pair| pair[0] < pair[1])
}

/// Decoded columns that are kept: at most 4 MiB, and 1 MiB at 480 samples. Columns are numbered in the order of their
/// first use, so series that are read one after another use columns that do not share a slot.
const CACHED_COLUMNS: usize = 256;
