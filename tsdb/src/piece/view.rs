//! A piece becomes samples.

use crate::chunk::{BLOCK_LEN, dense, unpack};
use crate::encoding::{ByteReader, Malformed, crc32};
use crate::row::{SCALE_BITS, to_value};
use crate::sample::{Samples, stale_marker};

use super::encode::read_ids;
use super::{
    KIND_CONSTANT, KIND_NOTHING, KIND_PACKED, PieceHeader, SCALE_BITS_TAG, SKIP, TAG_KIND,
    TAG_PRESENCE, TAG_STALENESS,
};

/// The body of a piece beside its header.
#[derive(Debug, Clone, Copy)]
pub struct PieceView<'a> {
    header: PieceHeader,
    body: &'a [u8],
}

impl<'a> PieceView<'a> {
    /// Takes a body that was verified before, or verifies it with [`PieceView::verify`] next.
    pub fn new(header: PieceHeader, body: &'a [u8]) -> Result<Self, Malformed> {
        if body.len() != header.body_bytes as usize {
            return Err(Malformed {
                what: "piece body does not have its length",
                offset: 0,
            });
        }
        Ok(Self { header, body })
    }

    /// Compares the body with its checksum.
    pub fn verify(&self) -> Result<(), Malformed> {
        if crc32(self.body) == self.header.body_crc {
            Ok(())
        } else {
            Err(Malformed {
                what: "piece checksum differs",
                offset: 0,
            })
        }
    }

    /// Returns the series ids in position order.
    pub fn ids(&self) -> Result<Vec<u64>, Malformed> {
        let mut reader = self.reader_at(self.header.layout_start())?;
        let mut layout = ByteReader::new(reader.bytes(self.header.layout_bytes as usize)?);
        let ids = read_ids(&mut layout, usize::from(self.header.width))?;
        layout.expect_end()?;
        Ok(ids)
    }

    /// Returns the timestamp of a row.
    pub fn timestamp(&self, row: usize) -> i64 {
        self.header
            .first_timestamp
            .wrapping_add(i64::from(self.offset(row)))
    }

    /// Returns the sequence of the frame a row came with.
    pub fn sequence(&self, row: usize) -> u64 {
        self.header
            .first_sequence
            .wrapping_add(u64::from(self.offset(usize::from(self.header.rows) + row)))
    }

    /// Appends the timestamps of all rows.
    pub fn timestamps(&self, out: &mut Vec<i64>) {
        out.extend((0..usize::from(self.header.rows)).map(|row| self.timestamp(row)));
    }

    fn offset(&self, index: usize) -> u32 {
        // The header's checks leave room for all offsets in the body.
        self.body
            .as_chunks::<4>()
            .0
            .get(index)
            .map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }

    pub(super) fn reader_at(&self, offset: usize) -> Result<ByteReader<'a>, Malformed> {
        match self.body.get(offset..) {
            Some(rest) => Ok(ByteReader::new(rest)),
            None => Err(Malformed {
                what: "offset beyond the piece",
                offset,
            }),
        }
    }

    /// Appends the samples of one position whose row `keep(timestamp, sequence)` accepts.
    pub fn read(
        &self,
        position: usize,
        keep: impl Fn(i64, u64) -> bool,
        scratch: &mut Vec<f64>,
        out: &mut Samples,
    ) -> Result<(), Malformed> {
        let column = self.column(position)?;
        scratch.clear();
        column.values(scratch)?;
        let mut values = scratch.iter();
        for row in 0..usize::from(self.header.rows) {
            if !column.has(row) {
                continue;
            }
            let value = if column.is_stale(row) {
                stale_marker()
            } else {
                *values.next().ok_or(Malformed {
                    what: "column has too few values",
                    offset: 0,
                })?
            };
            let timestamp = self.timestamp(row);
            if keep(timestamp, self.sequence(row)) {
                out.push(timestamp, value);
            }
        }
        Ok(())
    }

    /// Appends all samples of one position: the whole column at once if every row has a sample.
    pub fn read_all(
        &self,
        position: usize,
        scratch: &mut Vec<f64>,
        out: &mut Samples,
    ) -> Result<(), Malformed> {
        let column = self.column(position)?;
        if column.presence.is_some() || column.staleness.is_some() {
            return self.read(position, |_, _| true, scratch, out);
        }
        column.values(&mut out.values)?;
        let first = self.header.first_timestamp;
        let offsets = self
            .body
            .as_chunks::<4>()
            .0
            .iter()
            .take(usize::from(self.header.rows));
        out.timestamps.extend(
            offsets.map(|offset| first.wrapping_add(i64::from(u32::from_le_bytes(*offset)))),
        );
        if out.timestamps.len() == out.values.len() {
            return Ok(());
        }
        // A damaged column of dense values: keep both columns of equal length, whatever is in them.
        let len = out.timestamps.len().min(out.values.len());
        out.truncate(len);
        Err(Malformed {
            what: "column does not have a value for each row",
            offset: 0,
        })
    }

    /// Returns the timestamp of the last row that has a sample of a position.
    pub fn last_timestamp_of(&self, position: usize) -> Result<Option<i64>, Malformed> {
        let column = self.column(position)?;
        Ok((0..usize::from(self.header.rows))
            .rev()
            .find(|&row| column.has(row))
            .map(|row| self.timestamp(row)))
    }

    /// Returns the positions that have no sample in the last row.
    pub fn absent_from_last_row(&self) -> Result<Vec<u16>, Malformed> {
        let mut reader = self.reader_at(self.header.columns_start())?;
        let last = usize::from(self.header.rows).saturating_sub(1);
        let mut absent = Vec::new();
        for position in 0..self.header.width {
            if !Column::read(&mut reader, self.header.rows)?.has(last) {
                absent.push(position);
            }
        }
        Ok(absent)
    }

    /// Returns how many rows there are.
    pub(super) fn rows(&self) -> u16 {
        self.header.rows
    }

    /// Returns where in the body the column of the last position is that has an entry in the offset table, up to
    /// `position`.
    pub(super) fn columns_from(&self, position: usize) -> Result<usize, Malformed> {
        if position >= usize::from(self.header.width) {
            return Err(Malformed {
                what: "position beyond the layout",
                offset: position,
            });
        }
        let skip = self.offset(usize::from(self.header.rows) * 2 + position / SKIP) as usize;
        Ok(self.header.columns_start().saturating_add(skip))
    }

    /// Returns the body from `start` on.
    pub(super) fn body_from(&self, start: usize) -> &'a [u8] {
        self.body.get(start..).unwrap_or_default()
    }

    /// Touches what [`PieceView::read`] begins with, so that it is in a cache; the answer says nothing.
    pub fn fetch(&self, position: usize) -> u8 {
        let column = self.columns_from(position).ok();
        let column = column.and_then(|start| self.body.get(start));
        let timestamp = self.body.first();
        column.unwrap_or(&0) ^ timestamp.unwrap_or(&0)
    }

    fn column(&self, position: usize) -> Result<Column<'a>, Malformed> {
        let mut reader = self.reader_at(self.columns_from(position)?)?;
        for _ in 0..position % SKIP {
            Column::skip(&mut reader, self.header.rows)?;
        }
        Column::read(&mut reader, self.header.rows)
    }
}

/// One series of a piece, not decoded yet.
pub(super) struct Column<'a> {
    rows: u16,
    pub(super) kind: u8,
    pub(super) scale: u8,
    count: usize,
    presence: Option<&'a [u8]>,
    staleness: Option<&'a [u8]>,
    pub(super) first: i64,
    pub(super) smallest: i64,
    pub(super) width: u32,
    pub(super) data: &'a [u8],
    /// The differences with all that is behind them in the piece: unpacking reads whole words.
    packed: &'a [u8],
}

impl<'a> Column<'a> {
    /// Passes a column.
    #[inline(always)]
    pub(super) fn skip(reader: &mut ByteReader<'a>, rows: u16) -> Result<(), Malformed> {
        match plain_len(reader.clone().rest(), rows) {
            Some(len) => reader.bytes(len).map(|_bytes| ()),
            None => Self::read(reader, rows).map(|_column| ()),
        }
    }

    pub(super) fn read(reader: &mut ByteReader<'a>, rows: u16) -> Result<Self, Malformed> {
        let tag = reader.u8()?;
        let k = usize::from(rows);
        let scale = tag >> 2 & 15;
        let mut column = Self {
            rows,
            kind: tag & TAG_KIND,
            scale: if scale == SCALE_BITS_TAG {
                SCALE_BITS
            } else {
                scale
            },
            count: k,
            presence: None,
            staleness: None,
            first: 0,
            smallest: 0,
            width: 0,
            data: &[],
            packed: &[],
        };
        if scale != SCALE_BITS_TAG && scale > crate::row::SCALE_MAX {
            return Err(reader.malformed("unknown scale"));
        }
        if tag & (TAG_PRESENCE | TAG_STALENESS) != 0 {
            column.read_sets(tag, reader, k)?;
        } else if column.kind == KIND_NOTHING {
            column.presence = Some(&[]);
            column.count = 0;
        }
        if (column.kind == KIND_NOTHING) != (column.count == 0)
            || (column.kind == KIND_NOTHING && scale != SCALE_BITS_TAG)
        {
            return Err(reader.malformed("column kind contradicts its samples"));
        }
        match column.kind {
            KIND_NOTHING => {}
            KIND_CONSTANT => column.first = reader.varint()?,
            KIND_PACKED => {
                column.first = reader.varint()?;
                column.smallest = reader.varint()?;
                column.width = u32::from(reader.u8()?);
                if column.width > 64 {
                    return Err(reader.malformed("bit width exceeds 64"));
                }
                column.packed = reader.clone().rest();
                column.data =
                    reader.bytes(((column.count - 1) * column.width as usize).div_ceil(8))?;
            }
            _ => column.data = reader.sized_bytes()?,
        }
        Ok(column)
    }

    #[cold]
    fn read_sets(
        &mut self,
        tag: u8,
        reader: &mut ByteReader<'a>,
        k: usize,
    ) -> Result<(), Malformed> {
        let ones = |bytes: &[u8]| {
            bytes
                .iter()
                .map(|byte| byte.count_ones() as usize)
                .sum::<usize>()
        };
        if tag & TAG_PRESENCE != 0 {
            let presence = reader.bytes(k.div_ceil(8))?;
            self.count = ones(presence);
            self.presence = Some(presence);
        }
        if tag & TAG_STALENESS != 0 {
            let staleness = reader.bytes(k.div_ceil(8))?;
            self.staleness = Some(staleness);
            self.count = (0..k)
                .filter(|&row| self.has(row) && !self.is_stale(row))
                .count();
        }
        Ok(())
    }

    /// Tells whether a row may have no sample, or a staleness marker.
    pub(super) fn is_partial(&self) -> bool {
        self.presence.is_some() || self.staleness.is_some()
    }

    fn has(&self, row: usize) -> bool {
        self.presence.is_none_or(|bits| bit(bits, row))
    }

    fn is_stale(&self, row: usize) -> bool {
        self.staleness.is_some_and(|bits| bit(bits, row))
    }

    /// Appends the values that are no staleness markers.
    fn values(&self, out: &mut Vec<f64>) -> Result<(), Malformed> {
        match self.kind {
            KIND_NOTHING => {}
            KIND_CONSTANT => out.resize(out.len() + self.count, to_value(self.first, self.scale)),
            KIND_PACKED => self.unpack(out),
            _ => dense::decode(self.data, self.count.min(usize::from(self.rows)), out)?,
        }
        Ok(())
    }

    fn unpack(&self, out: &mut Vec<f64>) {
        out.reserve(self.count);
        out.push(to_value(self.first, self.scale));
        let mut integer = self.first;
        let mut left = self.count - 1;
        let mut packed = self.packed;
        let mut numbers = [0; BLOCK_LEN];
        while left > 0 {
            let numbers = &mut numbers[..left.min(BLOCK_LEN)];
            unpack(packed, self.width, numbers);
            for number in numbers.iter_mut() {
                integer = integer
                    .wrapping_add(*number as i64)
                    .wrapping_add(self.smallest);
                *number = integer as u64;
            }
            extend(out, numbers, self.scale);
            left -= numbers.len();
            // A whole block ends with a byte; behind the last there is none to read.
            packed = packed
                .get(BLOCK_LEN / 8 * self.width as usize..)
                .unwrap_or_default();
        }
    }
}

/// Returns the length of the column at the front of `bytes` if it is of the usual kinds and easily told.
#[inline(always)]
fn plain_len(bytes: &[u8], rows: u16) -> Option<usize> {
    let word = u64::from_le_bytes(*bytes.first_chunk()?);
    let kind = word as u8 & (TAG_KIND | TAG_PRESENCE | TAG_STALENESS);
    let first_end = 1 + varint_len(word >> 8)?;
    if kind == KIND_CONSTANT {
        return Some(first_end);
    }
    if kind != KIND_PACKED {
        return None;
    }
    let word = u64::from_le_bytes(*bytes.get(first_end..)?.first_chunk()?);
    let smallest_len = varint_len(word & (u64::MAX >> 8))?;
    let width = usize::from((word >> (8 * smallest_len)) as u8);
    let differences = usize::from(rows).saturating_sub(1);
    Some(first_end + smallest_len + 1 + (differences * width).div_ceil(8))
}

/// Returns the length of the varint in the low seven bytes of `word`, if it ends there.
#[inline(always)]
pub(super) fn varint_len(word: u64) -> Option<usize> {
    let ends = !word & 0x0080_8080_8080_8080;
    (ends != 0).then(|| ends.trailing_zeros() as usize / 8 + 1)
}

/// Appends the values of integers at one scale.
fn extend(out: &mut Vec<f64>, integers: &[u64], scale: u8) {
    match scale {
        SCALE_BITS => out.extend(integers.iter().map(|&bits| f64::from_bits(bits))),
        // A division by one is exact, and one of the slower instructions.
        0 => out.extend(integers.iter().map(|&integer| integer as i64 as f64)),
        _ => out.extend(
            integers
                .iter()
                .map(|&integer| to_value(integer as i64, scale)),
        ),
    }
}

fn bit(bits: &[u8], index: usize) -> bool {
    bits.get(index / 8)
        .is_some_and(|byte| byte >> (index % 8) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn passing_a_column_leads_to_where_reading_it_does(
            tag in prop_oneof![3 => 0u8..64, 1 => any::<u8>()],
            rest in prop::collection::vec(prop_oneof![any::<u8>(), 0x80u8..], 0..60),
            rows in 1u16..40,
        ) {
            let mut bytes = vec![tag];
            bytes.extend(rest);
            let (mut passing, mut reading) = (ByteReader::new(&bytes), ByteReader::new(&bytes));
            let passed = Column::skip(&mut passing, rows);
            if Column::read(&mut reading, rows).is_ok() {
                prop_assert_eq!(passed, Ok(()));
                prop_assert_eq!(passing.position(), reading.position());
            }
        }
    }
}
