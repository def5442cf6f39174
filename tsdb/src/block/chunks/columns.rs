//! Reading the timestamp columns.

use std::path::Path;

use crate::chunk::column;
use crate::error::{Error, Result};
use crate::fs::MappedFile;
use crate::time::{TimeRange, Timestamp};

use super::directory::{self, ColumnEntry};
use super::pages::{PagesReader, RECORDS_PER_PAGE, Section, read_checked};
use super::reading::DecodedColumns;

/// The columns of a file of chunks.
#[derive(Debug)]
pub(super) struct ColumnsReader {
    file: MappedFile,
    directory: PagesReader,
    base: Timestamp,
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
        })
    }

    /// Returns the timestamps of the column with this number, which ascend, or none of them if none is inside `range`.
    pub(super) fn read<'a>(
        &self,
        number: u32,
        range: TimeRange,
        decoded: &'a mut DecodedColumns,
    ) -> Result<&'a [Timestamp]> {
        let place = match decoded.find(number) {
            Some(place) => place,
            None => {
                let entry = self.entry(number, decoded)?;
                if !range.overlaps(&TimeRange::closed(entry.first, entry.last)) {
                    return Ok(&[]);
                }
                decoded.add(number, |out| self.decode(&entry, out))?
            }
        };
        Ok(decoded.at(place))
    }

    /// Returns what the directory says about a column.
    pub(super) fn entry(&self, number: u32, decoded: &mut DecodedColumns) -> Result<ColumnEntry> {
        let page = number / RECORDS_PER_PAGE;
        let entries = match decoded.page(page) {
            Some(entries) => entries,
            None => {
                let entries = self.read_page(page * RECORDS_PER_PAGE)?;
                decoded.add_page(page, entries)
            }
        };
        match entries.get((number % RECORDS_PER_PAGE) as usize) {
            Some(entry) => Ok(*entry),
            None => Err(self.directory.out_of_bounds()),
        }
    }

    /// Returns the records of the page that begins with number `first`.
    fn read_page(&self, first: u32) -> Result<Vec<ColumnEntry>> {
        let page = self.directory.page_of(first)?;
        let count = (self.directory.records() - first).min(RECORDS_PER_PAGE);
        directory::read_columns(page.reader(), self.base, count)
            .map_err(|malformed| page.corruption(malformed))
    }

    /// Reads everything once and adds every damaged unit.
    pub(super) fn verify(&self, damaged: &mut Vec<Error>) {
        let records = self.directory.records();
        let mut timestamps = Vec::new();
        for first in (0..records).step_by(RECORDS_PER_PAGE as usize) {
            match self.read_page(first) {
                Ok(entries) => damaged.extend(entries.iter().filter_map(|entry| {
                    timestamps.clear();
                    self.decode(entry, &mut timestamps).err()
                })),
                Err(error) => damaged.push(error),
            }
        }
    }

    /// Appends the timestamps of a column.
    fn decode(&self, entry: &ColumnEntry, out: &mut Vec<Timestamp>) -> Result<()> {
        let path = self.directory.path();
        let bytes = read_checked(&self.file, path, entry.extent)?;
        let corruption = |what| Error::corruption(path, entry.extent.offset, what);
        let start = out.len();
        column::decode(&bytes, entry.count, out).map_err(|malformed| corruption(malformed.what))?;
        let timestamps = out.get(start..).unwrap_or_default();
        let is_as_listed = timestamps.len() == entry.count
            && timestamps.first() == Some(&entry.first)
            && timestamps.last() == Some(&entry.last);
        if is_as_listed {
            Ok(())
        } else {
            Err(corruption("column is not the one listed"))
        }
    }
}
