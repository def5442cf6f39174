//! All columns of a piece, one after another, as integers: what a flush reads.

use crate::chunk::{BLOCK_LEN, unpack};
use crate::encoding::Malformed;
use crate::row::SCALE_BITS;

use super::view::Column;
use super::{KIND_CONSTANT, KIND_PACKED, PieceView};

/// A column that has an integer in each row.
#[derive(Debug, Clone, Copy)]
pub struct IntegerColumn {
    /// Its decimal scale.
    pub scale: u8,
    /// Bits of a difference; all integers are the first one if there are none and `smallest` is 0.
    width: u8,
    /// Where the differences are in the body.
    start: u32,
    first: i64,
    smallest: i64,
}

impl PieceView<'_> {
    /// Finds each column in position order: `None` where a row is absent or stale, or a value no decimal.
    pub fn integer_columns(&self, out: &mut Vec<Option<IntegerColumn>>) -> Result<(), Malformed> {
        out.clear();
        let (mut reader, columns_start) = self.columns()?;
        for _ in 0..self.width() {
            let column = Column::read(&mut reader, self.rows())?;
            let is_decimal = !column.is_partial()
                && column.scale != SCALE_BITS
                && matches!(column.kind, KIND_CONSTANT | KIND_PACKED);
            out.push(is_decimal.then(|| IntegerColumn {
                scale: column.scale,
                width: column.width as u8,
                // The differences come last. The length of a body fits 32 bits, and so does what is in it.
                start: (columns_start + reader.position() - column.data.len()) as u32,
                first: column.first,
                smallest: column.smallest,
            }));
        }
        Ok(())
    }

    /// Appends the integers of a column.
    pub fn read_integers(&self, column: IntegerColumn, out: &mut Vec<i64>) {
        let before = out.len();
        out.resize(before + usize::from(self.rows()), column.first);
        let width = u32::from(column.width);
        if width == 0 && column.smallest == 0 {
            return;
        }
        let mut integer = column.first;
        let mut packed = self.body_from(column.start as usize);
        let mut differences = [0; BLOCK_LEN];
        for integers in out[before + 1..].chunks_mut(BLOCK_LEN) {
            let differences = &mut differences[..integers.len()];
            // They were there when the column was found: no more than the piece has rows.
            unpack(packed, width, differences);
            packed = packed
                .get(BLOCK_LEN * column.width as usize / 8..)
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
