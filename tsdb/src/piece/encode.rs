//! Rows become a piece.

use crate::chunk::dense;
use crate::encoding::{Malformed, crc32, put_uvarint, put_varint};
use crate::row::{RowState, RowView, SCALE_MAX, to_integer, walk_back};

use super::{
    Content, HEADER_BYTES, KIND_CONSTANT, KIND_PACKED, KIND_VALUES, PieceHeader, SCALE_BITS_TAG,
    SKIP, TAG_NOTHING, TAG_PRESENCE, TAG_STALENESS,
};

/// One row to seal.
#[derive(Debug, Clone, Copy)]
pub struct PieceRow<'a> {
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// Sequence of the frame it came with.
    pub sequence: u64,
    /// Its bytes.
    pub row: RowView<'a>,
}

/// The row changes this position's integer.
const CHANGED: u8 = 1;
/// The position is absent or stale in some row.
const IRREGULAR: u8 = 2;
/// The position changes its scale.
const RESCALED: u8 = 4;

/// Positions whose columns are gathered together: one cache line of integers from each row.
const TILE: usize = 8;

/// Writes pieces; holds the scratch memory of one writer.
#[derive(Debug, Default)]
pub struct PieceEncoder {
    /// The integers of each row, row after row.
    matrix: Vec<i64>,
    marks: Vec<u8>,
    /// Two bits for each position: whether any row changes it by a small step.
    stepped: Vec<u8>,
    /// A bit for each row, position after position: whether the position is absent.
    absent: RowBits,
    /// The same: whether its sample is the staleness marker.
    stale: RowBits,
    state: RowState,
    column: Vec<i64>,
    values: Vec<f64>,
    dense: dense::Encoder,
    chunk: Vec<u8>,
}

impl PieceEncoder {
    /// Appends the piece of `rows` to `out`, header first.
    ///
    /// `state` is the group's state after the last row and `ids` its layout; rows may be narrower, but none is than the
    /// one before. The timestamps ascend and span less than 2^32 milliseconds, and so do the sequences.
    pub fn encode(
        &mut self,
        group: u64,
        ids: &[u64],
        rows: &[PieceRow<'_>],
        state: &RowState,
        out: &mut Vec<u8>,
    ) {
        let n = ids.len();
        let (first, last) = (
            rows.first().expect("a piece has a row"),
            rows.last().expect("a piece has a row"),
        );
        self.walk(rows, state);
        let start = out.len();
        out.resize(start + HEADER_BYTES, 0);
        for row in rows {
            let offset = u32::try_from(row.timestamp - first.timestamp)
                .expect("a piece spans less than 2^32 ms");
            out.extend_from_slice(&offset.to_le_bytes());
        }
        for row in rows {
            let offset = u32::try_from(row.sequence - first.sequence)
                .expect("a piece spans less than 2^32 frames");
            out.extend_from_slice(&offset.to_le_bytes());
        }
        let skips = out.len();
        out.resize(skips + n.div_ceil(SKIP) * 4, 0);
        let layout = out.len();
        put_ids(out, ids);
        let columns = out.len();
        for tile in (0..n).step_by(TILE) {
            for position in tile..(tile + TILE).min(n) {
                if position % SKIP == 0 {
                    let offset =
                        u32::try_from(out.len() - columns).expect("a piece is smaller than 4 GiB");
                    let at = skips + position / SKIP * 4;
                    out[at..at + 4].copy_from_slice(&offset.to_le_bytes());
                }
                self.put_column(position, n, rows, state, out);
            }
        }
        let body = &out[start + HEADER_BYTES..];
        let header = PieceHeader {
            content: Content::Rows,
            width: n as u16,
            rows: rows.len() as u16,
            body_bytes: u32::try_from(body.len()).expect("a piece is smaller than 4 GiB"),
            layout_bytes: (columns - layout) as u32,
            group,
            first_timestamp: first.timestamp,
            last_timestamp: last.timestamp,
            first_sequence: first.sequence,
            last_sequence: last.sequence,
            body_crc: crc32(body),
        };
        self.chunk.clear();
        header.write(&mut self.chunk);
        out[start..start + HEADER_BYTES].copy_from_slice(&self.chunk);
    }

    /// Fills the matrix with the integers of each row and marks what is not a plain column.
    fn walk(&mut self, rows: &[PieceRow<'_>], state: &RowState) {
        let n = state.len();
        self.matrix.resize(n * rows.len(), 0);
        self.marks.clear();
        self.marks.resize(n, 0);
        self.absent.clear(n, rows.len());
        self.stale.clear(n, rows.len());
        self.state.integers.clone_from(&state.integers);
        self.state.scales.clone_from(&state.scales);
        self.stepped.clear();
        self.stepped.resize(n.div_ceil(4), 0);
        for (index, row) in rows.iter().enumerate().rev() {
            self.matrix[index * n..][..n].copy_from_slice(&self.state.integers);
            let marks = &mut self.marks;
            let mut note = |bits: &mut RowBits, position: usize| {
                marks[position] |= IRREGULAR;
                bits.set(position, index);
            };
            row.row
                .for_each_absent(|position| note(&mut self.absent, position));
            (row.row.width()..n).for_each(|position| note(&mut self.absent, position));
            row.row
                .for_each_stale(|position| note(&mut self.stale, position));
            // The first row's changes lie before the piece.
            if index > 0 {
                row.row.merge_steps(&mut self.stepped);
                // What joins in this row had nothing before whose scale could differ.
                let joined = rows[index - 1].row.width();
                row.row.for_each_other_change(|position, scale_changes| {
                    marks[position] |= if scale_changes && position < joined {
                        CHANGED | RESCALED
                    } else {
                        CHANGED
                    };
                });
                row.row.invert(&mut self.state);
            }
        }
        for (marks, &stepped) in self.marks.chunks_mut(4).zip(&self.stepped) {
            for (index, mark) in marks.iter_mut().enumerate() {
                *mark |= u8::from(stepped >> (2 * index) & 3 != 0) * CHANGED;
            }
        }
    }

    fn put_column(
        &mut self,
        position: usize,
        n: usize,
        rows: &[PieceRow<'_>],
        state: &RowState,
        out: &mut Vec<u8>,
    ) {
        let scale = state.scales[position];
        match self.marks[position] {
            0 => put_constant(out, scale, state.integers[position], 0),
            CHANGED => {
                self.column.clear();
                self.column
                    .extend(self.matrix.chunks_exact(n).map(|row| row[position]));
                put_integers(out, scale, &self.column, 0, &[]);
            }
            _ => self.put_irregular(position, rows, state, out),
        }
    }

    #[cold]
    fn put_irregular(
        &mut self,
        position: usize,
        rows: &[PieceRow<'_>],
        state: &RowState,
        out: &mut Vec<u8>,
    ) {
        let (absent, stale) = (self.absent.of(position), self.stale.of(position));
        let mut flags = 0;
        let mut sets = Vec::new();
        let absences: u32 = absent.iter().map(|byte| byte.count_ones()).sum();
        if absences as usize == rows.len() {
            out.push(TAG_NOTHING);
            return;
        }
        if absences > 0 {
            flags |= TAG_PRESENCE;
            sets.extend(absent.iter().map(|byte| !byte));
            let used = rows.len() % 8;
            if let (Some(last), 1..) = (sets.last_mut(), used) {
                *last &= (1 << used) - 1;
            }
        }
        if stale.iter().any(|byte| *byte != 0) {
            flags |= TAG_STALENESS;
            sets.extend_from_slice(stale);
        }
        let scale = state.scales[position];
        let integers = if self.marks[position] & RESCALED == 0 && scale <= SCALE_MAX {
            let integers = self.matrix.chunks_exact(state.len()).enumerate();
            let has_value = |index| !is_set(absent, index) && !is_set(stale, index);
            self.column.clear();
            self.column.extend(
                integers
                    .filter(|(index, _)| has_value(*index))
                    .map(|(_, row)| row[position]),
            );
            true
        } else {
            self.read_values(position, rows, state);
            self.is_decimal(scale)
        };
        if self.column.is_empty() && integers {
            out.push(TAG_NOTHING | flags);
            out.extend_from_slice(&sets);
        } else if integers {
            put_integers(out, scale, &self.column, flags, &sets);
        } else {
            self.chunk.clear();
            self.dense.encode(&self.values, &mut self.chunk);
            out.push(KIND_VALUES | flags);
            out.extend_from_slice(&sets);
            put_uvarint(out, self.chunk.len() as u64);
            out.extend_from_slice(&self.chunk);
        }
    }

    /// Reads the values of a position whose integers do not all have the same scale.
    fn read_values(&mut self, position: usize, rows: &[PieceRow<'_>], state: &RowState) {
        let stale = self.stale.of(position);
        let values = &mut self.values;
        values.clear();
        walk_back(
            rows.iter().rev().map(|row| row.row),
            position,
            state.integers[position],
            state.scales[position],
            |back, value| {
                if !is_set(stale, rows.len() - 1 - back) {
                    values.push(value);
                }
            },
        );
        values.reverse();
    }

    /// Turns the values into integers of one scale; tells whether it holds them all.
    fn is_decimal(&mut self, scale: u8) -> bool {
        self.column.clear();
        self.values.iter().all(|&value| {
            let (integer, exact) = to_integer(value, scale);
            self.column.push(integer);
            exact
        })
    }
}

/// A set of rows for each position.
#[derive(Debug, Default)]
struct RowBits {
    bits: Vec<u8>,
    /// Bytes of a position.
    stride: usize,
}

impl RowBits {
    fn clear(&mut self, positions: usize, rows: usize) {
        self.stride = rows.div_ceil(8);
        self.bits.clear();
        self.bits.resize(positions * self.stride, 0);
    }

    fn set(&mut self, position: usize, row: usize) {
        self.bits[position * self.stride + row / 8] |= 1 << (row % 8);
    }

    fn of(&self, position: usize) -> &[u8] {
        &self.bits[position * self.stride..][..self.stride]
    }
}

fn is_set(bits: &[u8], row: usize) -> bool {
    bits[row / 8] >> (row % 8) & 1 != 0
}

fn tag_scale(scale: u8) -> u8 {
    if scale > SCALE_MAX {
        SCALE_BITS_TAG << 2
    } else {
        scale << 2
    }
}

fn put_constant(out: &mut Vec<u8>, scale: u8, integer: i64, flags: u8) {
    out.push(KIND_CONSTANT | tag_scale(scale) | flags);
    put_varint(out, integer);
}

fn put_integers(out: &mut Vec<u8>, scale: u8, integers: &[i64], flags: u8, sets: &[u8]) {
    let (mut smallest, mut largest) = (i64::MAX, i64::MIN);
    for pair in integers.windows(2) {
        let difference = pair[1].wrapping_sub(pair[0]);
        smallest = smallest.min(difference);
        largest = largest.max(difference);
    }
    let constant = integers.len() < 2 || (smallest == 0 && largest == 0);
    out.push(if constant { KIND_CONSTANT } else { KIND_PACKED } | tag_scale(scale) | flags);
    out.extend_from_slice(sets);
    put_varint(out, integers[0]);
    if constant {
        return;
    }
    let width = 64 - (largest.wrapping_sub(smallest) as u64).leading_zeros();
    put_varint(out, smallest);
    out.push(width as u8);
    let mut bits = 0u64;
    let mut filled = 0;
    for pair in integers.windows(2) {
        let offset = pair[1].wrapping_sub(pair[0]).wrapping_sub(smallest) as u64;
        bits |= offset << filled;
        filled += width;
        if filled >= 64 {
            out.extend_from_slice(&bits.to_le_bytes());
            filled -= 64;
            // What did not fit; nothing if the word ended with this one.
            bits = offset.checked_shr(width - filled).unwrap_or(0);
        }
    }
    out.extend_from_slice(&bits.to_le_bytes()[..filled.div_ceil(8) as usize]);
}

/// Appends series ids as runs of consecutive numbers.
pub(crate) fn put_ids(out: &mut Vec<u8>, ids: &[u64]) {
    let mut previous = 0u64;
    for run in ids.chunk_by(|a, b| a.checked_add(1) == Some(*b)) {
        put_varint(out, run[0].wrapping_sub(previous) as i64);
        put_uvarint(out, run.len() as u64);
        previous = run[run.len() - 1];
    }
}

/// Reads `count` series ids written by [`put_ids`].
pub(crate) fn read_ids(
    reader: &mut crate::encoding::ByteReader<'_>,
    count: usize,
) -> Result<Vec<u64>, Malformed> {
    let mut ids = Vec::new();
    let mut previous = 0u64;
    while ids.len() < count {
        let first = previous.wrapping_add(reader.varint()? as u64);
        let length = reader.uvarint_max(count - ids.len(), "more ids than announced")? as u64;
        let Some(last) = length
            .checked_sub(1)
            .and_then(|more| first.checked_add(more))
        else {
            return Err(reader.malformed("run of ids is empty or overflows"));
        };
        ids.extend(first..=last);
        previous = last;
    }
    Ok(ids)
}
