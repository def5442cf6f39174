//! Deleted spans of time.

use crate::encoding::{ByteReader, Malformed, put_uvarint, put_varint};

use super::{TAG_TOMBSTONES, put_section};

/// A closed span of time deleted from one series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeletedRange {
    /// The series.
    pub id: u64,
    /// First deleted millisecond.
    pub first: i64,
    /// Last deleted millisecond.
    pub last: i64,
}

/// Appends a tombstone section.
pub fn put_tombstones(out: &mut Vec<u8>, ranges: &[DeletedRange]) {
    put_section(out, TAG_TOMBSTONES, |out| write_tombstones(out, ranges));
}

/// Appends what a tombstone section says, without its tag: the checkpoint stores the same.
pub fn write_tombstones(out: &mut Vec<u8>, ranges: &[DeletedRange]) {
    put_uvarint(out, ranges.len() as u64);
    let mut id = 0u64;
    for range in ranges {
        put_varint(out, range.id.wrapping_sub(id) as i64);
        out.extend_from_slice(&range.first.to_le_bytes());
        out.extend_from_slice(&range.last.to_le_bytes());
        id = range.id;
    }
}

/// Reads what [`write_tombstones`] wrote.
pub fn read_tombstones(reader: &mut ByteReader<'_>) -> Result<Vec<DeletedRange>, Malformed> {
    let count = reader.uvarint_max(reader.remaining() / 17, "more tombstones than bytes")?;
    let mut ranges = Vec::with_capacity(count);
    let mut id = 0u64;
    for _ in 0..count {
        id = id.wrapping_add(reader.varint()? as u64);
        let (first, last) = (reader.i64()?, reader.i64()?);
        if first > last {
            return Err(reader.malformed("tombstone ends before it begins"));
        }
        ranges.push(DeletedRange { id, first, last });
    }
    Ok(ranges)
}
