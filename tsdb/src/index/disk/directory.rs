//! The directory: what is where. And the header and footer that lead to it.

use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::page::PER_PAGE;
use super::set::{SetKind, SetRef};
use crate::encoding::{ByteReader, Malformed, crc32, put_uvarint, seal};
use crate::labels::{METRIC_NAME, PackedName, SLACK_BYTES, pack_label};

/// First bytes of an index.
const MAGIC: [u8; 4] = *b"TSIX";
/// Last bytes of an index.
const MAGIC_END: [u8; 4] = *b"XIST";
const VERSION: u8 = 1;
pub(super) const HEADER_BYTES: usize = 12;
pub(super) const FOOTER_BYTES: usize = 16;
const CRC_BYTES: usize = 4;

/// What is where.
#[derive(Debug, Default)]
pub(super) struct Directory {
    pub(super) series: u32,
    pub(super) entities: u32,
    pub(super) entity_pages: Vec<Page>,
    /// The metric name first, the others sorted.
    pub(super) labels: Vec<Label>,
}

impl Directory {
    /// Returns the bytes of memory behind it, without what the allocator adds.
    pub(super) fn memory_bytes(&self) -> usize {
        let labels: usize = self.labels.iter().map(Label::memory_bytes).sum();
        self.entity_pages.capacity() * size_of::<Page>()
            + self.labels.capacity() * size_of::<Label>()
            + labels
    }
}

/// A label name and the pages of its values.
#[derive(Debug)]
pub(super) struct Label {
    pub(super) name: String,
    pub(super) values: u32,
    /// The entities that have the label.
    pub(super) set: SetRef,
    pub(super) pages: Vec<LabelPage>,
    /// The name as label sets have it.
    pub(super) packed_name: PackedName,
    /// All values of a label that has few pages, once they were needed; `None` inside if they cannot be read.
    pub(super) packed: OnceLock<Option<PackedLabels>>,
}

impl Label {
    fn memory_bytes(&self) -> usize {
        let firsts: usize = self.pages.iter().map(|page| page.first.capacity()).sum();
        let packed = self.packed.get().and_then(Option::as_ref);
        self.name.capacity()
            + self.pages.capacity() * size_of::<LabelPage>()
            + firsts
            + packed.map_or(0, |packed| {
                packed.starts.len() * size_of::<u32>() + packed.bytes.len()
            })
    }
}

/// A label with each of its values, packed as label sets have them.
#[derive(Debug)]
pub(super) struct PackedLabels {
    /// Where each begins, and the last ends.
    starts: Box<[u32]>,
    /// With [`SLACK_BYTES`] behind them.
    pub(super) bytes: Box<[u8]>,
}

impl PackedLabels {
    /// Packs `name` with each of `values`.
    pub(super) fn new<'a>(
        name: &str,
        values: impl Iterator<Item = Result<&'a [u8], Malformed>>,
    ) -> Result<Self, Malformed> {
        let (mut starts, mut bytes) = (vec![0], Vec::new());
        for value in values {
            pack_label(name.as_bytes(), value?, &mut bytes);
            starts.push(bytes.len() as u32);
        }
        bytes.extend_from_slice(&[0; SLACK_BYTES]);
        Ok(Self {
            starts: starts.into(),
            bytes: bytes.into(),
        })
    }

    /// Returns where the label with the value of this ordinal stands in the bytes.
    #[inline]
    pub(super) fn find(&self, ordinal: u32) -> Option<Range<u32>> {
        let [start, end] = self.starts.get(ordinal as usize..)?.first_chunk()?;
        Some(*start..*end)
    }
}

/// A page of label values.
#[derive(Debug)]
pub(super) struct LabelPage {
    pub(super) page: Page,
    /// Entities of all values of earlier pages together; of metrics these are series.
    pub(super) before: u32,
    /// The first value, so that a search opens one page only.
    pub(super) first: String,
}

/// A range of bytes with a checksum at its end.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) offset: u32,
    pub(super) len: u32,
    verified: AtomicBool,
}

impl Page {
    pub(super) fn new(offset: u32, len: u32) -> Self {
        Self {
            offset,
            len,
            verified: AtomicBool::new(false),
        }
    }

    /// Returns the page without its checksum, which is verified the first time.
    #[inline]
    pub(super) fn body<'a>(&self, index: &'a [u8]) -> Result<&'a [u8], Malformed> {
        // Relaxed: the flag guards no other memory; a thread that misses it verifies once more.
        if !self.verified.load(Ordering::Relaxed) {
            self.verify(index)?;
        }
        let (start, end) = (
            self.offset as usize,
            self.offset as usize + self.len as usize,
        );
        let body = index.get(start..end.saturating_sub(CRC_BYTES));
        body.ok_or(Malformed {
            what: "page ends behind the index",
            offset: 0,
        })
    }

    #[cold]
    fn verify(&self, index: &[u8]) -> Result<(), Malformed> {
        let page = ByteReader::new(index.get(self.offset as usize..).unwrap_or_default())
            .bytes(self.len as usize)?;
        ByteReader::checked(page)?;
        self.verified.store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// Appends the header.
pub(super) fn write_header(out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[VERSION, 0, 0, 0]);
    seal(out, start);
}

/// Why an index cannot be used at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Its bytes are not what was written.
    Damaged(Malformed),
    /// A later program wrote it in this version.
    Newer(u8),
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        Self::Damaged(malformed)
    }
}

fn read_header(index: &[u8]) -> Result<(), Refusal> {
    let header = ByteReader::new(index).bytes(HEADER_BYTES)?;
    let mut reader = ByteReader::checked(header)?;
    if reader.bytes(4)? != MAGIC {
        return Err(reader.malformed("not an index").into());
    }
    // The checksum was right: a version that is not known is a version to come, not damage.
    match reader.u8()? {
        VERSION => {}
        0 => return Err(reader.malformed("version is 0").into()),
        newer => return Err(Refusal::Newer(newer)),
    }
    if reader.rest() != [0; 3] {
        return Err(reader.malformed("reserved bytes are set").into());
    }
    Ok(())
}

impl Directory {
    /// Appends the directory, and the footer that leads to it; `out` starts at `offset` of the index.
    ///
    /// Returns `None` past 4 GiB.
    pub(super) fn write(&self, offset: u64, out: &mut Vec<u8>) -> Option<()> {
        let start = out.len();
        let at = u32::try_from(offset + start as u64).ok()?;
        out.extend_from_slice(&self.series.to_le_bytes());
        out.extend_from_slice(&self.entities.to_le_bytes());
        put_pages(out, self.entity_pages.first());
        for page in &self.entity_pages {
            put_uvarint(out, page.len.into());
        }
        put_uvarint(out, self.labels.len() as u64);
        for label in &self.labels {
            put_text(out, &label.name);
            put_uvarint(out, label.values.into());
            out.push(label.set.kind as u8);
            put_uvarint(out, label.set.count.into());
            put_uvarint(out, label.set.at.into());
            put_pages(out, label.pages.first().map(|page| &page.page));
            for page in &label.pages {
                put_uvarint(out, page.page.len.into());
                put_uvarint(out, page.before.into());
                put_text(out, &page.first);
            }
        }
        seal(out, start);
        let len = u32::try_from(out.len() - start).ok()?;

        let footer = out.len();
        out.extend_from_slice(&at.to_le_bytes());
        out.extend_from_slice(&len.to_le_bytes());
        let crc = crc32(&out[footer..]);
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&MAGIC_END);
        Some(())
    }

    /// Reads header, footer and directory of a whole index.
    pub(super) fn open(index: &[u8]) -> Result<Self, Refusal> {
        read_header(index)?;
        let Some(footer_at) = index
            .len()
            .checked_sub(FOOTER_BYTES)
            .filter(|at| *at >= HEADER_BYTES)
        else {
            return Err(Malformed {
                what: "no room for a footer",
                offset: index.len(),
            }
            .into());
        };
        let at_footer = |malformed: Malformed| Malformed {
            offset: footer_at + malformed.offset,
            ..malformed
        };
        let (inside, footer) = index.split_at(footer_at);
        let Some((checked, magic)) = footer.split_last_chunk::<4>() else {
            return Err(Malformed {
                what: "no room for a footer",
                offset: footer_at,
            }
            .into());
        };
        if *magic != MAGIC_END {
            return Err(Malformed {
                what: "footer does not end an index",
                offset: footer_at,
            }
            .into());
        }
        let mut reader = ByteReader::checked(checked).map_err(at_footer)?;
        let (at, len) = (
            reader.u32().map_err(at_footer)? as usize,
            reader.u32().map_err(at_footer)? as usize,
        );
        // The directory is all there is between the pages and the footer: another place would be another index's.
        let unit = inside.get(at..).filter(|unit| unit.len() == len);
        let Some(unit) = unit else {
            return Err(Malformed {
                what: "directory is not before the footer",
                offset: footer_at,
            }
            .into());
        };
        let at_directory = |malformed: Malformed| Malformed {
            offset: at + malformed.offset,
            ..malformed
        };
        let mut reader = ByteReader::checked(unit).map_err(at_directory)?;
        Ok(Self::read(&mut reader, at as u32).map_err(at_directory)?)
    }

    fn read(reader: &mut ByteReader<'_>, end: u32) -> Result<Self, Malformed> {
        let mut directory = Self {
            series: reader.u32()?,
            entities: reader.u32()?,
            ..Self::default()
        };
        let mut pages = Pages::read(reader, end)?;
        for _ in 0..page_count(reader, directory.entities)? {
            directory.entity_pages.push(pages.next(reader)?);
        }
        let labels = reader.uvarint_max(reader.remaining(), "more labels than bytes")?;
        for _ in 0..labels {
            let label = Label::read(reader, end)?;
            if let Some(last) = directory.labels.last()
                && last.name >= label.name
                && directory.labels.len() > 1
            {
                return Err(reader.malformed("label names are not sorted"));
            }
            directory.labels.push(label);
        }
        if directory
            .labels
            .first()
            .is_none_or(|label| label.name != METRIC_NAME)
        {
            return Err(reader.malformed("the metric name is not the first label"));
        }
        reader.expect_end()?;
        Ok(directory)
    }
}

impl Label {
    fn read(reader: &mut ByteReader<'_>, end: u32) -> Result<Self, Malformed> {
        let name = reader.sized_str()?.to_owned();
        let values = read_u32(reader)?;
        let set = SetRef {
            kind: SetKind::read(reader)?,
            count: read_u32(reader)?,
            at: read_u32(reader)?,
        };
        let mut pages = Pages::read(reader, end)?;
        let mut label = Self {
            packed_name: PackedName::new(name.as_bytes()),
            name,
            values,
            set,
            pages: Vec::new(),
            packed: OnceLock::new(),
        };
        for _ in 0..page_count(reader, values)? {
            let page = pages.next(reader)?;
            let before = read_u32(reader)?;
            if label.pages.last().is_some_and(|last| last.before > before) {
                return Err(reader.malformed("pages are not in order"));
            }
            label.pages.push(LabelPage {
                page,
                before,
                first: reader.sized_str()?.to_owned(),
            });
        }
        Ok(label)
    }
}

/// Pages follow each other: the place of the first and the length of each say where all are.
struct Pages {
    next: u32,
    end: u32,
}

impl Pages {
    fn read(reader: &mut ByteReader<'_>, end: u32) -> Result<Self, Malformed> {
        Ok(Self {
            next: read_u32(reader)?,
            end,
        })
    }

    fn next(&mut self, reader: &mut ByteReader<'_>) -> Result<Page, Malformed> {
        let len = read_u32(reader)?;
        let end = self.next.checked_add(len).filter(|end| *end <= self.end);
        match end {
            Some(end) => Ok(Page::new(std::mem::replace(&mut self.next, end), len)),
            None => Err(reader.malformed("page ends behind the directory")),
        }
    }
}

fn put_pages(out: &mut Vec<u8>, first: Option<&Page>) {
    put_uvarint(out, first.map_or(0, |page| page.offset.into()));
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_uvarint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn read_u32(reader: &mut ByteReader<'_>) -> Result<u32, Malformed> {
    let value = reader.uvarint()?;
    u32::try_from(value).map_err(|_too_large| reader.malformed("number exceeds 32 bits"))
}

/// Every page takes at least a byte of the directory: more cannot be there.
fn page_count(reader: &ByteReader<'_>, items: u32) -> Result<usize, Malformed> {
    let pages = (items as usize).div_ceil(PER_PAGE);
    if pages > reader.remaining() {
        Err(reader.malformed("more pages than bytes"))
    } else {
        Ok(pages)
    }
}
