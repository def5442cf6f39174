#![doc = include_str!("FORMAT.md")]
//!
//! ## The module
//!
//! Writers append sections to a byte vector; [`sections`] takes a body apart again. Neither knows what a group or a
//! series is at the moment: meaning belongs to the head.

mod base;
mod definitions;
mod lone;
mod tombstones;

pub use base::{Base, put_base};
pub use definitions::{Definition, DefinitionReader, put_definitions};
pub use lone::{LoneEncoder, LoneReader, LoneSample, put_lone};
pub use tombstones::{DeletedRange, put_tombstones, read_tombstones, write_tombstones};

use crate::encoding::{ByteReader, Malformed, put_uvarint, put_varint};
use crate::limits::GROUP_SERIES_MAX;
use crate::piece::read_ids;
use crate::row::RowView;

const TAG_DEFINITIONS: u8 = 1;
const TAG_BASE: u8 = 2;
const TAG_ROW: u8 = 3;
const TAG_LONE: u8 = 4;
const TAG_TOMBSTONES: u8 = 5;
const TAG_JOINING_ROW: u8 = 6;

/// One section of a frame.
#[derive(Debug)]
pub enum Section<'a> {
    /// Names of series.
    Definitions(DefinitionReader<'a>),
    /// The full state of a group.
    Base(Base),
    /// One scrape of a group.
    Row(RowSection<'a>),
    /// Samples by themselves.
    Lone(LoneReader<'a>),
    /// Deleted spans of time.
    Tombstones(Vec<DeletedRange>),
    /// A section of a later version.
    Unknown,
}

/// One scrape of a group.
#[derive(Debug, Clone, Copy)]
pub struct RowSection<'a> {
    /// The group.
    pub group: u64,
    /// Milliseconds since the group's row before.
    pub timestamp_delta: i64,
    /// Number of the row among the rows and layouts of its group, modulo 65536.
    pub chain: u16,
    /// Series that join the group with this row.
    pub joiners: Joiners<'a>,
    /// The row, as wide as the group with those that join.
    pub row: &'a [u8],
}

/// Series that come behind those a group has.
#[derive(Debug, Clone, Copy, Default)]
pub struct Joiners<'a> {
    count: usize,
    /// As [`put_ids`](crate::piece::put_ids) writes them.
    ids: &'a [u8],
}

impl<'a> Joiners<'a> {
    /// Returns `count` series whose ids were written by [`put_ids`](crate::piece::put_ids).
    pub(crate) fn new(count: usize, ids: &'a [u8]) -> Self {
        Self { count, ids }
    }

    fn read(reader: &mut ByteReader<'a>) -> Result<Self, Malformed> {
        let count = reader.uvarint_max(GROUP_SERIES_MAX, "more series join than a group has")?;
        if count == 0 {
            return Err(reader.malformed("row with which no series joins"));
        }
        let mut ahead = reader.clone();
        read_ids(&mut ahead, count)?;
        let ids = reader.bytes(reader.remaining() - ahead.remaining())?;
        Ok(Self { count, ids })
    }

    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Tells whether there is none, as in most rows.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns their ids in the order of their positions.
    pub fn ids(&self) -> Vec<u64> {
        if self.is_empty() {
            return Vec::new();
        }
        read_ids(&mut ByteReader::new(self.ids), self.count)
            .expect("the same bytes were read before, or just written")
    }
}

impl<'a> RowSection<'a> {
    /// Takes the row apart. Without those that join, the group has `width` series.
    pub fn parse(&self, width: usize) -> Result<RowView<'a>, Malformed> {
        parse_row(self.row, width, self.joiners.len())
    }

    /// Returns the row's timestamp in a group whose newest row so far is at `newest`, [`i64::MIN`] if it has none.
    pub fn timestamp_after(&self, newest: i64) -> i64 {
        reference(newest).wrapping_add(self.timestamp_delta)
    }
}

/// Takes the bytes of a row apart with which `joiners` series join a group of `width`.
pub fn parse_row(row: &[u8], width: usize, joiners: usize) -> Result<RowView<'_>, Malformed> {
    let malformed = |what| Err(Malformed { what, offset: 0 });
    let grown = width + joiners;
    if grown > GROUP_SERIES_MAX {
        return malformed("more series join than a group may have");
    }
    let view = RowView::parse(row, grown)?;
    if !(width..grown).all(|position| view.has(position)) {
        return malformed("a series joins without a sample");
    }
    Ok(view)
}

/// Returns what a row section says so that the row comes out at `timestamp`: the way back of
/// [`RowSection::timestamp_after`].
pub fn timestamp_delta(newest: i64, timestamp: i64) -> i64 {
    timestamp.wrapping_sub(reference(newest))
}

fn reference(newest: i64) -> i64 {
    if newest == i64::MIN { 0 } else { newest }
}

/// Appends a row section.
pub fn put_row(out: &mut Vec<u8>, section: &RowSection<'_>) {
    let mut head = Vec::with_capacity(24);
    put_uvarint(&mut head, section.group);
    put_varint(&mut head, section.timestamp_delta);
    head.extend_from_slice(&section.chain.to_le_bytes());
    if section.joiners.is_empty() {
        out.push(TAG_ROW);
    } else {
        put_uvarint(&mut head, section.joiners.len() as u64);
        head.extend_from_slice(section.joiners.ids);
        out.push(TAG_JOINING_ROW);
    }
    put_uvarint(out, (head.len() + section.row.len()) as u64);
    out.extend_from_slice(&head);
    out.extend_from_slice(section.row);
}

/// Walks the sections of a frame's body in order.
pub fn sections(body: &[u8]) -> impl Iterator<Item = Result<Section<'_>, Malformed>> {
    sized_sections(body).map(|(section, _)| section)
}

/// Walks the sections of a frame's body in order, each with the bytes it takes, its tag and length included.
pub fn sized_sections(
    body: &[u8],
) -> impl Iterator<Item = (Result<Section<'_>, Malformed>, usize)> {
    let mut reader = ByteReader::new(body);
    std::iter::from_fn(move || {
        if reader.is_empty() {
            return None;
        }
        let before = reader.remaining();
        let section = read_section(&mut reader);
        if section.is_err() {
            // Nothing behind a section without an end can be trusted to be one.
            reader.rest();
        }
        Some((section, before - reader.remaining()))
    })
}

fn read_section<'a>(reader: &mut ByteReader<'a>) -> Result<Section<'a>, Malformed> {
    let tag = reader.u8()?;
    let mut payload = ByteReader::new(reader.sized_bytes()?);
    let section = match tag {
        0 => return Err(reader.malformed("section tag is 0")),
        TAG_DEFINITIONS => Section::Definitions(DefinitionReader::new(payload)?),
        TAG_BASE => Section::Base(Base::read(&mut payload)?),
        TAG_ROW | TAG_JOINING_ROW => {
            let group = payload.uvarint()?;
            let timestamp_delta = payload.varint()?;
            let chain = payload.u16()?;
            let joiners = if tag == TAG_ROW {
                Joiners::default()
            } else {
                Joiners::read(&mut payload)?
            };
            Section::Row(RowSection {
                group,
                timestamp_delta,
                chain,
                joiners,
                row: payload.rest(),
            })
        }
        TAG_LONE => Section::Lone(LoneReader::new(payload)),
        TAG_TOMBSTONES => Section::Tombstones(read_tombstones(&mut payload)?),
        _later => Section::Unknown,
    };
    Ok(section)
}

/// Appends a section whose payload `write` appends.
fn put_section(out: &mut Vec<u8>, tag: u8, write: impl FnOnce(&mut Vec<u8>)) {
    let mut payload = Vec::new();
    write(&mut payload);
    out.push(tag);
    put_uvarint(out, payload.len() as u64);
    out.extend_from_slice(&payload);
}

#[cfg(test)]
mod tests;
