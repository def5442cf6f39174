//! A scrape and a state become a row.

use crate::encoding::{put_uvarint, put_varint, zigzag};
use crate::sample::is_stale;

use super::decimal::{SCALE_BITS, fit, to_integer};
use super::positions::put_positions;
use super::{FLAG_ABSENT, FLAG_RAW, FLAG_STALE, FLAG_STEPS, RowState, mask_bytes};

/// Positions that are worked on together: their lanes stay in registers and one cache line of mask bits.
const BLOCK: usize = 64;

/// Writes rows; holds the scratch memory of one writer.
#[derive(Debug, Default)]
pub struct RowEncoder {
    mask: Vec<u8>,
    lanes: Vec<u8>,
    stale: Vec<u16>,
    raw: Vec<u16>,
    raw_xors: Vec<u64>,
    steps: Vec<u8>,
    step_count: u16,
    step_position: usize,
}

impl RowEncoder {
    /// Appends the row that leads from `state` to `values`.
    ///
    /// `absent` lists positions without a sample, ascending; their `values` are not looked at. All slices have the
    /// state's length, at most [`GROUP_SERIES_MAX`](crate::limits::GROUP_SERIES_MAX).
    pub fn encode(&mut self, values: &[f64], absent: &[u16], state: &RowState, out: &mut Vec<u8>) {
        let n = values.len();
        assert_eq!(n, state.len(), "a row is as wide as its state");
        self.reset(n);
        let mut absent_left = absent;
        let mut used = 0;
        for start in (0..n).step_by(BLOCK) {
            let end = (start + BLOCK).min(n);
            let mut lanes = [0u16; BLOCK];
            let mut misfits = quantise(
                &values[start..end],
                &state.integers[start..end],
                &state.scales[start..end],
                &mut lanes,
            );
            while let Some((&position, rest)) = absent_left.split_first() {
                let offset = usize::from(position) - start;
                if offset >= BLOCK {
                    break;
                }
                lanes[offset] = 0;
                misfits &= !(1 << offset);
                absent_left = rest;
            }
            while misfits != 0 {
                let offset = misfits.trailing_zeros() as usize;
                misfits &= misfits - 1;
                lanes[offset] = self.misfit(start + offset, values[start + offset], state);
            }
            used += compress(&lanes, &mut self.mask[start / 4..], &mut self.lanes[used..]);
        }
        self.write(n, absent, used, out);
    }

    fn reset(&mut self, n: usize) {
        self.stale.clear();
        self.raw.clear();
        self.raw_xors.clear();
        self.steps.clear();
        self.step_count = 0;
        self.step_position = 0;
        // A block writes all its mask bytes and may touch every lane byte, so the ends are rounded up.
        let blocks = n.div_ceil(BLOCK);
        self.mask.resize(blocks * mask_bytes(BLOCK), 0);
        self.lanes.resize(blocks * BLOCK * 2 + 8, 0);
    }

    /// Notes a value that is no small step of a decimal, and returns the lane it leaves.
    #[cold]
    #[inline(never)]
    fn misfit(&mut self, position: usize, value: f64, state: &RowState) -> u16 {
        let (before, scale) = (state.integers[position], state.scales[position]);
        if is_stale(value) {
            self.stale.push(position as u16);
            return 0;
        }
        if scale == SCALE_BITS {
            let xor = value.to_bits() ^ before as u64;
            if xor == 0 {
                return 0;
            }
            // Noise stays noise: only a value after a NaN is looked at anew, because NaN says nothing about the series.
            if !(f64::from_bits(before as u64).is_nan() && value.is_finite()) {
                self.raw.push(position as u16);
                self.raw_xors.push(xor);
                return 0;
            }
        } else {
            let (integer, exact) = to_integer(value, scale);
            if exact {
                self.put_gap(position, 0);
                put_varint(&mut self.steps, integer.wrapping_sub(before));
                return 0;
            }
        }
        let (new_scale, integer) = fit(value);
        self.put_gap(position, 1);
        self.steps.push(new_scale);
        put_varint(&mut self.steps, integer);
        self.steps.push(scale);
        put_varint(&mut self.steps, before);
        0
    }

    fn put_gap(&mut self, position: usize, kind: u64) {
        put_uvarint(
            &mut self.steps,
            ((position - self.step_position) as u64) << 1 | kind,
        );
        self.step_position = position;
        self.step_count += 1;
    }

    fn write(&self, n: usize, absent: &[u16], used: usize, out: &mut Vec<u8>) {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        out.push(
            flag(!absent.is_empty(), FLAG_ABSENT)
                | flag(!self.stale.is_empty(), FLAG_STALE)
                | flag(!self.raw.is_empty(), FLAG_RAW)
                | flag(self.step_count > 0, FLAG_STEPS),
        );
        if !absent.is_empty() {
            put_positions(out, absent, n);
        }
        if !self.stale.is_empty() {
            put_positions(out, &self.stale, n);
        }
        if !self.raw.is_empty() {
            put_positions(out, &self.raw, n);
            for xor in &self.raw_xors {
                out.extend_from_slice(&xor.to_le_bytes());
            }
        }
        if self.step_count > 0 {
            out.extend_from_slice(&self.step_count.to_le_bytes());
            out.extend_from_slice(&self.steps);
        }
        out.extend_from_slice(&self.mask[..mask_bytes(n)]);
        out.extend_from_slice(&self.lanes[..used]);
    }
}

/// Fills the lanes of up to [`BLOCK`] positions and returns a bit for each whose step does not fit one.
#[inline]
fn quantise(values: &[f64], integers: &[i64], scales: &[u8], lanes: &mut [u16; BLOCK]) -> u64 {
    let mut misfit = [0u8; BLOCK];
    let columns = values
        .iter()
        .zip(integers)
        .zip(scales)
        .zip(lanes.iter_mut())
        .zip(misfit.iter_mut());
    for ((((&value, &before), &scale), lane), misfit) in columns {
        let (integer, exact) = to_integer(value, scale);
        let step = zigzag(integer.wrapping_sub(before));
        *lane = step as u16;
        *misfit = u8::from(!(exact & (step < 65536)));
    }
    let mut bits = 0;
    for (index, eight) in misfit.as_chunks::<8>().0.iter().enumerate() {
        // Eight bytes of 0 or 1 become eight bits: the product gathers them in its top byte.
        let gathered = u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        bits |= gathered << (index * 8);
    }
    bits
}

/// Writes which lane bytes are not zero, and those bytes; returns how many.
#[inline]
fn compress(lanes: &[u16; BLOCK], mask: &mut [u8], bytes: &mut [u8]) -> usize {
    let mask: &mut [u8; BLOCK / 4] = mask
        .first_chunk_mut()
        .expect("reset rounds the mask up to whole blocks");
    let bytes: &mut [u8; BLOCK * 2] = bytes
        .first_chunk_mut()
        .expect("reset leaves room for a block of lanes");
    let mut used = 0;
    for (four, mask) in lanes.as_chunks::<4>().0.iter().zip(mask) {
        if *four == [0; 4] {
            *mask = 0;
            continue;
        }
        let mut bits = 0;
        for (index, lane) in four.iter().enumerate() {
            let [low, high] = lane.to_le_bytes();
            // Written always, kept if not zero: a branch here would be taken at random.
            bytes[used & 127] = low;
            used += usize::from(low != 0);
            bits |= u8::from(low != 0) << (2 * index);
            bytes[used & 127] = high;
            used += usize::from(high != 0);
            bits |= u8::from(high != 0) << (2 * index + 1);
        }
        *mask = bits;
    }
    used
}
