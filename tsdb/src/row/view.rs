//! Reading a row: forward, back, and one position through many rows.

use crate::encoding::{ByteReader, Malformed, unzigzag};
use crate::sample::stale_marker;

use super::decimal::{is_valid_scale, to_value};
use super::kernel::{Direction, kernel};
use super::positions::Positions;
use super::{FLAG_ABSENT, FLAG_RAW, FLAG_STALE, FLAG_STEPS, FLAGS_KNOWN, RowState, mask_bytes};

/// A checked row over borrowed bytes.
#[derive(Debug, Clone, Copy)]
pub struct RowView<'a> {
    width: usize,
    absent: Positions<'a>,
    stale: Positions<'a>,
    raw: Positions<'a>,
    raw_xors: &'a [u8],
    steps: &'a [u8],
    pub(super) step_count: usize,
    mask: &'a [u8],
    lanes: &'a [u8],
}

/// A change that does not fit a lane.
#[derive(Debug, Clone, Copy)]
enum Step {
    Add(i64),
    Replace {
        scale: u8,
        integer: i64,
        scale_before: u8,
        integer_before: i64,
    },
}

impl<'a> RowView<'a> {
    /// Checks the bytes of a row over `n` positions. Whatever passes can be applied and inverted without a panic.
    pub fn parse(bytes: &'a [u8], n: usize) -> Result<Self, Malformed> {
        let view = Self::split(bytes, n)?;
        view.check(n, bytes.len())?;
        Ok(view)
    }

    /// Finds the sections of a row that [`parse`](Self::parse) has let pass before: what it compared is not compared
    /// again.
    pub(crate) fn split(bytes: &'a [u8], n: usize) -> Result<Self, Malformed> {
        let mut reader = ByteReader::new(bytes);
        let flags = reader.u8()?;
        let mut view = Self {
            width: n,
            absent: Positions::Empty,
            stale: Positions::Empty,
            raw: Positions::Empty,
            raw_xors: &[],
            steps: &[],
            step_count: 0,
            mask: &[],
            lanes: &[],
        };
        if flags != 0 {
            view.read_sections(flags, &mut reader, bytes, n)?;
        }
        view.mask = reader.bytes(mask_bytes(n))?;
        view.lanes = reader.rest();
        Ok(view)
    }

    fn read_sections(
        &mut self,
        flags: u8,
        reader: &mut ByteReader<'a>,
        bytes: &'a [u8],
        n: usize,
    ) -> Result<(), Malformed> {
        if flags & !FLAGS_KNOWN != 0 {
            return Err(reader.malformed("unknown row flags"));
        }
        let set = |flag: u8, reader: &mut ByteReader<'a>| {
            if flags & flag == 0 {
                Ok(Positions::Empty)
            } else {
                Positions::read(reader, n)
            }
        };
        self.absent = set(FLAG_ABSENT, reader)?;
        self.stale = set(FLAG_STALE, reader)?;
        self.raw = set(FLAG_RAW, reader)?;
        let mut raw_count = 0;
        self.raw.for_each(|_| raw_count += 1);
        self.raw_xors = reader.bytes(raw_count * 8)?;
        if flags & FLAG_STEPS != 0 {
            self.step_count = usize::from(reader.u16()?);
            self.steps = read_steps(reader, bytes, self.step_count, n)?;
        }
        Ok(())
    }

    fn check(&self, n: usize, len: usize) -> Result<(), Malformed> {
        let malformed = |what| Malformed { what, offset: len };
        let used_bits = 2 * (n - (self.mask.len().max(1) - 1) * 4);
        let beyond = self
            .mask
            .last()
            .map_or(0, |last| if used_bits >= 8 { 0 } else { last >> used_bits });
        if beyond != 0 || count_ones(self.mask) != self.lanes.len() {
            return Err(malformed("lane bytes do not match the mask"));
        }
        if self.is_disjoint() {
            Ok(())
        } else {
            Err(malformed("a position changes twice"))
        }
    }

    /// Tells whether each position has one kind of change only: otherwise going back would not undo going forward.
    fn is_disjoint(&self) -> bool {
        let mut clash = false;
        let has_lane = |position: usize| self.mask[position / 4] >> (position % 4 * 2) & 3 != 0;
        self.absent.for_each(|position| {
            clash |=
                has_lane(position) || self.stale.contains(position) || self.raw.contains(position);
        });
        self.stale
            .for_each(|position| clash |= has_lane(position) || self.raw.contains(position));
        self.raw.for_each(|position| {
            clash |= has_lane(position);
        });
        self.for_each_step(|position, _| {
            clash |= has_lane(position)
                || self.absent.contains(position)
                || self.stale.contains(position)
                || self.raw.contains(position);
        });
        !clash
    }

    /// Returns the number of positions. A group that grows has rows that are narrower than it: what joined later has no
    /// sample in them.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Tells whether a position has a sample in this row.
    pub fn has(&self, position: usize) -> bool {
        position < self.width && !self.absent.contains(position)
    }

    /// Tells whether every position has a sample in this row.
    pub fn is_full(&self) -> bool {
        self.absent.is_empty()
    }

    /// Calls `visit` for each position without a sample, in ascending order.
    pub fn for_each_absent(&self, visit: impl FnMut(usize)) {
        self.absent.for_each(visit);
    }

    /// Tells whether a position's sample is the staleness marker.
    pub fn is_stale(&self, position: usize) -> bool {
        position < self.width && self.stale.contains(position)
    }

    /// Calls `visit` for each position whose sample is the staleness marker, in ascending order.
    pub fn for_each_stale(&self, visit: impl FnMut(usize)) {
        self.stale.for_each(visit);
    }

    /// Takes `state` from before the row to after it. A state that is wider keeps what lies behind.
    pub fn apply(&self, state: &mut RowState) {
        (kernel().step)(
            self.mask,
            self.lanes,
            &mut state.integers,
            Direction::Forward,
        );
        self.for_each_raw(|position, xor| {
            state.integers[position] ^= xor;
        });
        self.for_each_step(|position, step| match step {
            Step::Add(difference) => {
                state.integers[position] = state.integers[position].wrapping_add(difference);
            }
            Step::Replace { scale, integer, .. } => {
                state.scales[position] = scale;
                state.integers[position] = integer;
            }
        });
    }

    /// Takes `state` from after the row to before it. A state that is wider keeps what lies behind.
    pub fn invert(&self, state: &mut RowState) {
        (kernel().step)(self.mask, self.lanes, &mut state.integers, Direction::Back);
        self.for_each_raw(|position, xor| {
            state.integers[position] ^= xor;
        });
        self.for_each_step(|position, step| match step {
            Step::Add(difference) => {
                state.integers[position] = state.integers[position].wrapping_sub(difference);
            }
            Step::Replace {
                scale_before,
                integer_before,
                ..
            } => {
                state.scales[position] = scale_before;
                state.integers[position] = integer_before;
            }
        });
    }

    /// Adds to `mask` the positions whose integers change by a small step: two bits each, of which either may be set.
    pub fn merge_steps(&self, mask: &mut [u8]) {
        for (merged, mask) in mask.iter_mut().zip(self.mask) {
            *merged |= mask;
        }
    }

    /// Calls `visit` for each position whose integer or scale changes otherwise, and tells whether the scale does.
    pub fn for_each_other_change(&self, mut visit: impl FnMut(usize, bool)) {
        self.raw.for_each(|position| visit(position, false));
        self.for_each_step(|position, step| visit(position, matches!(step, Step::Replace { .. })));
    }

    fn for_each_raw(&self, mut visit: impl FnMut(usize, i64)) {
        let mut xors = self.raw_xors.as_chunks::<8>().0.iter();
        self.raw.for_each(|position| {
            if let Some(xor) = xors.next() {
                visit(position, i64::from_le_bytes(*xor));
            }
        });
    }

    fn for_each_step(&self, mut visit: impl FnMut(usize, Step)) {
        let mut reader = ByteReader::new(self.steps);
        let mut position = 0;
        for _ in 0..self.step_count {
            // `parse` read the same bytes, so none of them is malformed.
            let Ok((gap, step)) = read_step(&mut reader) else {
                return;
            };
            position += gap;
            visit(position, step);
        }
    }

    /// Returns the step of one position's lane.
    fn lane(&self, position: usize) -> i64 {
        let bits = self.mask[position / 4] >> (position % 4 * 2);
        if bits & 3 == 0 {
            return 0;
        }
        let before = self.mask[position / 4] & ((1u8 << (position % 4 * 2)) - 1);
        let rank = count_ones(&self.mask[..position / 4]) + before.count_ones() as usize;
        let byte = |index: usize| self.lanes.get(index).copied().unwrap_or(0);
        let low = if bits & 1 == 0 { 0 } else { byte(rank) };
        let high = if bits & 2 == 0 {
            0
        } else {
            byte(rank + usize::from(bits & 1))
        };
        lane_step(u16::from_le_bytes([low, high]))
    }

    /// Undoes the row for one position.
    fn invert_position(&self, position: usize, integer: &mut i64, scale: &mut u8) {
        let step = self.lane(position);
        if step != 0 {
            *integer = integer.wrapping_sub(step);
            return;
        }
        if let Some(rank) = self.raw.rank(position) {
            if let Some(xor) = self.raw_xors.as_chunks::<8>().0.get(rank) {
                *integer ^= i64::from_le_bytes(*xor);
            }
            return;
        }
        self.for_each_step(|at, step| {
            if at == position {
                match step {
                    Step::Add(difference) => *integer = integer.wrapping_sub(difference),
                    Step::Replace {
                        scale_before,
                        integer_before,
                        ..
                    } => {
                        *scale = scale_before;
                        *integer = integer_before;
                    }
                }
            }
        });
    }
}

/// Follows one position back through rows, newest first, from its integer and scale after the newest.
///
/// `visit` gets the index of the row and the position's value in it; rows in which it is absent are passed over.
pub fn walk_back<'a>(
    rows: impl Iterator<Item = RowView<'a>>,
    position: usize,
    mut integer: i64,
    mut scale: u8,
    mut visit: impl FnMut(usize, f64),
) {
    // In rows before it joined a position is neither stale nor there.
    for (index, row) in rows.take_while(|row| position < row.width).enumerate() {
        if row.is_stale(position) {
            visit(index, stale_marker());
        } else if row.has(position) {
            visit(index, to_value(integer, scale));
            row.invert_position(position, &mut integer, &mut scale);
        }
    }
}

#[inline(always)]
fn lane_step(lane: u16) -> i64 {
    unzigzag(u64::from(lane))
}

fn count_ones(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    // Bits are counted within each byte, and bytes added up side by side as long as none can overflow: what a
    // processor counts in one instruction takes a dozen where that instruction is not known to exist.
    let mut count = 0;
    for words in words.chunks(BYTE_SUMS_MAX) {
        let mut sums = 0u64;
        for word in words {
            let word = u64::from_le_bytes(*word);
            let pairs = word - (word >> 1 & 0x5555_5555_5555_5555);
            let fours = (pairs & 0x3333_3333_3333_3333) + (pairs >> 2 & 0x3333_3333_3333_3333);
            sums += (fours + (fours >> 4)) & 0x0f0f_0f0f_0f0f_0f0f;
        }
        let halves = (sums & 0x00ff_00ff_00ff_00ff) + (sums >> 8 & 0x00ff_00ff_00ff_00ff);
        count += (halves.wrapping_mul(0x0001_0001_0001_0001) >> 48) as usize;
    }
    let rest: u32 = rest.iter().map(|byte| byte.count_ones()).sum();
    count + rest as usize
}

/// Words whose bits, counted byte by byte, fit a byte each.
const BYTE_SUMS_MAX: usize = 31;

fn read_steps<'a>(
    reader: &mut ByteReader<'a>,
    bytes: &'a [u8],
    count: usize,
    n: usize,
) -> Result<&'a [u8], Malformed> {
    if count == 0 {
        return Err(reader.malformed("step section without a step"));
    }
    let start = reader.position();
    let mut position = 0;
    for index in 0..count {
        let (gap, _) = read_step(reader)?;
        position += gap;
        if position >= n || (index > 0 && gap == 0) {
            return Err(reader.malformed("steps do not ascend below the row's width"));
        }
    }
    Ok(&bytes[start..reader.position()])
}

fn read_step(reader: &mut ByteReader<'_>) -> Result<(usize, Step), Malformed> {
    // A gap never exceeds the largest group, so the sum of two positions cannot overflow.
    let tagged = reader.uvarint_max(1 << 17, "step gap is out of bounds")?;
    let step = if tagged & 1 == 0 {
        Step::Add(reader.varint()?)
    } else {
        let scale = reader.u8()?;
        let integer = reader.varint()?;
        let scale_before = reader.u8()?;
        let integer_before = reader.varint()?;
        if !is_valid_scale(scale) || !is_valid_scale(scale_before) {
            return Err(reader.malformed("unknown scale"));
        }
        Step::Replace {
            scale,
            integer,
            scale_before,
            integer_before,
        }
    };
    Ok((tagged >> 1, step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ones_are_counted_at_every_length() {
        let bytes: Vec<u8> = (0..1000u32)
            .map(|index| {
                if index < 600 {
                    0xff
                } else {
                    (index * 37) as u8
                }
            })
            .collect();
        let mut expected = 0;
        for len in 0..bytes.len() {
            assert_eq!(count_ones(&bytes[..len]), expected);
            expected += bytes[len].count_ones() as usize;
        }
    }
}
