//! Columns of a piece as integers: what a flush reads.

use crate::chunk::unpack;
use crate::encoding::{ByteReader, Malformed, unzigzag};
use crate::row::{SCALE_BITS, SCALE_MAX};

use super::view::{Column, varint_len};
use super::{KIND_CONSTANT, KIND_PACKED, PieceView, SKIP, TAG_KIND, TAG_PRESENCE, TAG_STALENESS};

/// A column that has an integer in each row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntegerColumn {
    /// Its decimal scale.
    pub scale: u8,
    /// Bits of a difference.
    width: u8,
    /// Where the differences are in the body.
    start: u32,
    /// The integer of the first row.
    pub first: i64,
    smallest: i64,
}

impl IntegerColumn {
    /// Tells whether all integers are the first one.
    pub fn is_constant(&self) -> bool {
        self.width == 0 && self.smallest == 0
    }
}

/// Where a reader of columns in position order has come.
#[derive(Debug, Clone, Copy, Default)]
pub struct ColumnCursor {
    /// The next position, and where its column is in the body; 0 if that is not known.
    position: usize,
    start: usize,
}

impl PieceView<'_> {
    /// Finds the column of a position: `None` where a row is absent or stale, or a value no decimal. Cheapest in position
    /// order, with the same `cursor`.
    pub fn integer_column(
        &self,
        position: usize,
        cursor: &mut ColumnCursor,
    ) -> Result<Option<IntegerColumn>, Malformed> {
        let entry = position - position % SKIP;
        let is_near = cursor.start != 0 && (entry..=position).contains(&cursor.position);
        if !is_near {
            cursor.start = self.columns_from(position)?;
            cursor.position = entry;
        }
        for _ in cursor.position..position {
            let mut reader = self.reader_at(cursor.start)?;
            Column::skip(&mut reader, self.rows())?;
            cursor.start += reader.position();
        }
        cursor.position = position + 1;
        let rest = self.body_from(cursor.start);
        if let Some((mut column, len)) = plain_column(rest, self.rows()) {
            // The length of a body fits 32 bits, and so does what is in it.
            column.start += cursor.start as u32;
            cursor.start += len;
            return Ok(Some(column));
        }
        let mut reader = ByteReader::new(rest);
        let column = Column::read(&mut reader, self.rows())?;
        let start = cursor.start;
        cursor.start += reader.position();
        Ok(as_integers(&column).map(|found| IntegerColumn {
            start: (start + reader.position() - column.data.len()) as u32,
            ..found
        }))
    }

    /// Appends the integers of a column.
    pub fn read_integers(&self, column: IntegerColumn, out: &mut Vec<i64>) {
        let before = out.len();
        out.resize(before + usize::from(self.rows()), column.first);
        if column.is_constant() {
            return;
        }
        let mut integer = column.first;
        let mut packed = self.body_from(column.start as usize);
        let mut differences = [0; AT_ONCE];
        for integers in out[before + 1..].chunks_mut(AT_ONCE) {
            let differences = &mut differences[..integers.len()];
            // They were there when the column was found: no more than the piece has rows.
            unpack(packed, u32::from(column.width), differences);
            packed = packed
                .get(AT_ONCE * usize::from(column.width) / 8..)
                .unwrap_or_default();
            for (to, &difference) in integers.iter_mut().zip(&*differences) {
                integer = integer
                    .wrapping_add(difference as i64)
                    .wrapping_add(column.smallest);
                *to = integer;
            }
        }
    }
}

/// What [`Column::read`] and [`as_integers`] give of the column at the front of `bytes`, and its length, if it is of the
/// usual kinds and easily told. Where the differences start is counted from there.
#[inline(always)]
fn plain_column(bytes: &[u8], rows: u16) -> Option<(IntegerColumn, usize)> {
    let word = u64::from_le_bytes(*bytes.first_chunk()?);
    let tag = word as u8;
    let scale = tag >> 2 & 15;
    if scale > SCALE_MAX {
        return None;
    }
    let (first, first_len) = short_varint(word >> 8)?;
    let mut len = 1 + first_len;
    let mut column = IntegerColumn {
        scale,
        width: 0,
        start: len as u32,
        first,
        smallest: 0,
    };
    match tag & (TAG_KIND | TAG_PRESENCE | TAG_STALENESS) {
        KIND_CONSTANT => return Some((column, len)),
        KIND_PACKED => {}
        _ => return None,
    }
    let word = u64::from_le_bytes(*bytes.get(len..)?.first_chunk()?);
    let (smallest, smallest_len) = short_varint(word & (u64::MAX >> 8))?;
    column.smallest = smallest;
    column.width = (word >> (8 * smallest_len)) as u8;
    len += smallest_len + 1;
    column.start = len as u32;
    len += (usize::from(rows - 1) * usize::from(column.width)).div_ceil(8);
    (column.width <= 64 && len <= bytes.len()).then_some((column, len))
}

/// Returns the varint in the low seven bytes of `word` and its length, if it ends there.
#[inline(always)]
fn short_varint(word: u64) -> Option<(i64, usize)> {
    let len = varint_len(word)?;
    // Seven bits of each byte, then fourteen of each pair, then twenty-eight of each half move together.
    let bits = word & 0x7f7f_7f7f_7f7f_7f7f & (u64::MAX >> (64 - 8 * len));
    let bits = bits & 0x007f_007f_007f_007f | (bits & 0x7f00_7f00_7f00_7f00) >> 1;
    let bits = bits & 0x0000_3fff_0000_3fff | (bits & 0x3fff_0000_3fff_0000) >> 2;
    let bits = bits & 0x0fff_ffff | (bits & 0x0fff_ffff_0000_0000) >> 4;
    Some((unzigzag(bits), len))
}

/// Returns what a column says if it has an integer in each row; where its differences start is not known here.
fn as_integers(column: &Column<'_>) -> Option<IntegerColumn> {
    let is_decimal = !column.is_partial()
        && column.scale != SCALE_BITS
        && matches!(column.kind, KIND_CONSTANT | KIND_PACKED);
    is_decimal.then_some(IntegerColumn {
        scale: column.scale,
        width: column.width as u8,
        start: 0,
        first: column.first,
        smallest: column.smallest,
    })
}

/// Differences unpacked at a time: those of a piece of the usual length, and whole bytes of any width.
const AT_ONCE: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn plain_columns_are_what_reading_them_gives(
            tag in prop_oneof![3 => 0u8..64, 1 => any::<u8>()],
            rest in prop::collection::vec(prop_oneof![any::<u8>(), 0u8..4, 0x80u8..], 0..60),
            rows in 1u16..40,
        ) {
            let mut bytes = vec![tag];
            bytes.extend(rest);
            let Some((plain, len)) = plain_column(&bytes, rows) else {
                return Ok(());
            };
            let mut reader = ByteReader::new(&bytes);
            let column = Column::read(&mut reader, rows).unwrap();
            let start = reader.position() - column.data.len();
            let expected = as_integers(&column).map(|found| IntegerColumn { start: start as u32, ..found });
            prop_assert_eq!(Some(plain), expected);
            prop_assert_eq!(len, reader.position());
        }
    }

    #[test]
    fn varints_of_every_length_are_read_from_a_word() {
        for bits in 0..49 {
            for value in [
                1i64 << bits >> 1,
                -(1i64 << bits >> 1),
                (1 << bits >> 1) - 1,
            ] {
                let mut bytes = Vec::new();
                crate::encoding::put_varint(&mut bytes, value);
                let len = bytes.len();
                bytes.resize(8, 0xff);
                let word = u64::from_le_bytes(*bytes.first_chunk().unwrap());
                let expected = (len <= 7).then_some((value, len));
                assert_eq!(short_varint(word & (u64::MAX >> 8)), expected);
            }
        }
    }
}
