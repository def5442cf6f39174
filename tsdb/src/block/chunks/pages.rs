//! Many small records, found by number: sixty-four to a page, each page with its checksum, and a table of their ends.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::encoding::{ByteReader, Malformed, crc32, seal};
use crate::error::{Error, Result};
use crate::fs::MappedFile;

use super::directory::Extent;

/// Enough that checksum and table entry cost an eighth of a byte per record, few enough that a lookup which skips half a
/// page stays well below the time to decode one chunk.
pub(crate) const RECORDS_PER_PAGE: u32 = 64;

const TABLE_ENTRY_BYTES: u64 = 4;
const CRC_BYTES: u64 = 4;

/// Where a section of pages lies in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) start: u64,
    pub(crate) size_bytes: u64,
    pub(crate) records: u32,
}

impl Section {
    fn pages(&self) -> u64 {
        u64::from(self.records.div_ceil(RECORDS_PER_PAGE))
    }
}

/// Collects records in memory.
#[derive(Debug, Default)]
pub(crate) struct PagesWriter {
    bytes: Vec<u8>,
    page_start: usize,
    ends: Vec<u32>,
    records: u32,
}

impl PagesWriter {
    /// Begins the next record. Tells whether it is the first of its page, where deltas start anew, and gives the bytes
    /// to append it to.
    pub(crate) fn begin(&mut self) -> Result<(bool, &mut Vec<u8>)> {
        let is_first = self.records.is_multiple_of(RECORDS_PER_PAGE);
        if is_first && self.records > 0 {
            self.end_page()?;
        }
        self.records = self.records.checked_add(1).ok_or_else(|| {
            Error::limit("a block holds at most 2^32 series and timestamp columns")
        })?;
        Ok((is_first, &mut self.bytes))
    }

    pub(crate) fn records(&self) -> u32 {
        self.records
    }

    /// Ends the last page and appends the table. The answer goes into the file at `start`.
    pub(crate) fn finish(mut self, start: u64) -> Result<(Vec<u8>, Section)> {
        if self.records > 0 {
            self.end_page()?;
        }
        let table_start = self.bytes.len();
        for end in &self.ends {
            self.bytes.extend_from_slice(&end.to_le_bytes());
        }
        seal(&mut self.bytes, table_start);
        let section = Section {
            start,
            size_bytes: self.bytes.len() as u64,
            records: self.records,
        };
        Ok((self.bytes, section))
    }

    fn end_page(&mut self) -> Result<()> {
        seal(&mut self.bytes, self.page_start);
        self.page_start = self.bytes.len();
        let end = u32::try_from(self.page_start)
            .map_err(|_too_large| Error::limit("the directory of a block exceeds 4 GiB"))?;
        self.ends.push(end);
        Ok(())
    }
}

/// Reads pages out of a file.
#[derive(Debug)]
pub(crate) struct PagesReader {
    path: PathBuf,
    file: MappedFile,
    section: Section,
    table_start: u64,
    /// Whether the checksum of a page was right, one bit each.
    verified: Box<[AtomicU64]>,
}

impl PagesReader {
    /// Checks the section's bounds and the table, not the pages.
    pub(crate) fn open(file: MappedFile, path: &Path, section: Section) -> Result<Self> {
        let corruption = |what| Error::corruption(path, section.start, what);
        let table_bytes = section.pages() * TABLE_ENTRY_BYTES + CRC_BYTES;
        let end = section.start.checked_add(section.size_bytes);
        if end.is_none_or(|end| end > file.len()) || table_bytes > section.size_bytes {
            return Err(corruption("directory does not fit the file"));
        }
        let table_start = section.start + section.size_bytes - table_bytes;
        // Below the length of the file, so it fits a usize wherever the file can be mapped.
        let table = read(&file, path, table_start, table_bytes as usize)?;
        if ByteReader::checked(&table).is_err() {
            return Err(Error::corruption(
                path,
                table_start,
                "page table checksum differs",
            ));
        }
        let verified = (0..section.pages().div_ceil(64))
            .map(|_word| AtomicU64::new(0))
            .collect();
        Ok(Self {
            path: path.to_owned(),
            file,
            section,
            table_start,
            verified,
        })
    }

    pub(crate) fn records(&self) -> u32 {
        self.section.records
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the verified page that holds `record`.
    pub(crate) fn page_of(&self, record: u32) -> Result<Page<'_>> {
        if record >= self.section.records {
            return Err(self.out_of_bounds());
        }
        let number = u64::from(record / RECORDS_PER_PAGE);
        let (start, end) = self.bounds_of(number)?;
        let offset = self.section.start + u64::from(start);
        if end < start || self.section.start + u64::from(end) > self.table_start {
            return Err(self.corruption(offset, "page has no valid bounds"));
        }
        let bytes = read(&self.file, &self.path, offset, (end - start) as usize)?;
        // Relaxed: the bit guards no other memory; a thread that misses it verifies once more.
        let (word, bit) = (&self.verified[(number / 64) as usize], 1 << (number % 64));
        // What is mapped is verified once, what is read into memory each time.
        let is_known = matches!(bytes, Cow::Borrowed(_)) && word.load(Ordering::Relaxed) & bit != 0;
        if !is_known {
            ByteReader::checked(&bytes)
                .map_err(|malformed| self.corruption(offset, malformed.what))?;
            word.fetch_or(bit, Ordering::Relaxed);
        }
        Ok(Page {
            bytes,
            offset,
            path: &self.path,
        })
    }

    /// Returns where a page starts and ends. The table was verified when the section was opened.
    fn bounds_of(&self, page: u64) -> Result<(u32, u32)> {
        // The first page starts at 0, any other where the one before it ends.
        let skipped = page.saturating_sub(1) * TABLE_ENTRY_BYTES;
        let entries = if page == 0 { 1 } else { 2 };
        let offset = self.table_start + skipped;
        let len = TABLE_ENTRY_BYTES as usize * entries;
        let bytes = read(&self.file, &self.path, offset, len)?;
        match *bytes.as_chunks::<4>().0 {
            [end] => Ok((0, u32::from_le_bytes(end))),
            [start, end] => Ok((u32::from_le_bytes(start), u32::from_le_bytes(end))),
            _ => Err(self.corruption(offset, "page has no entry in the table")),
        }
    }

    /// Returns the error for a number that no record has.
    pub(crate) fn out_of_bounds(&self) -> Error {
        self.corruption(self.section.start, "number of a record is out of bounds")
    }

    fn corruption(&self, offset: u64, what: &str) -> Error {
        Error::corruption(&self.path, offset, what)
    }
}

/// A page whose checksum is right.
#[derive(Debug)]
pub(crate) struct Page<'a> {
    bytes: Cow<'a, [u8]>,
    offset: u64,
    path: &'a Path,
}

impl Page<'_> {
    /// Returns a reader of the records.
    pub(crate) fn reader(&self) -> ByteReader<'_> {
        let records = self.bytes.len().saturating_sub(CRC_BYTES as usize);
        ByteReader::new(self.bytes.get(..records).unwrap_or_default())
    }

    /// Returns the error for a record that does not parse although the checksum is right.
    pub(crate) fn corruption(&self, malformed: Malformed) -> Error {
        Error::corruption(self.path, self.offset, malformed.what)
    }
}

/// Reads bytes that the file's length was checked to hold.
pub(crate) fn read<'a>(
    file: &'a MappedFile,
    path: &Path,
    offset: u64,
    len: usize,
) -> Result<Cow<'a, [u8]>> {
    file.bytes(offset, len).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => {
            Error::corruption(path, offset, "points beyond the end of the file")
        }
        _ => Error::io("read", path, error),
    })
}

/// Reads bytes that are followed by their CRC-32, and checks it.
pub(crate) fn read_checked<'a>(
    file: &'a MappedFile,
    path: &Path,
    Extent { offset, len }: Extent,
) -> Result<Cow<'a, [u8]>> {
    let sealed_len = len
        .checked_add(CRC_BYTES as usize)
        .ok_or_else(|| Error::corruption(path, offset, "points beyond the end of the file"))?;
    let mut bytes = read(file, path, offset, sealed_len)?;
    let stored = ByteReader::new(bytes.get(len..).unwrap_or_default()).u32();
    if stored != Ok(crc32(bytes.get(..len).unwrap_or_default())) {
        return Err(Error::corruption(path, offset, "checksum differs"));
    }
    match &mut bytes {
        Cow::Borrowed(slice) => *slice = slice.get(..len).unwrap_or_default(),
        Cow::Owned(vec) => vec.truncate(len),
    }
    Ok(bytes)
}
