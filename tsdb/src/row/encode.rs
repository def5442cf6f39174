//! A scrape and a state become a row.

use crate::encoding::{put_uvarint, put_varint};
use crate::sample::is_stale;

use super::decimal::{SCALE_BITS, fit, to_integer};
use super::kernel::{BLOCK, BLOCK_LANE_BYTES, Block, kernel};
use super::positions::put_positions;
use super::{FLAG_ABSENT, FLAG_RAW, FLAG_STALE, FLAG_STEPS, RowState, mask_bytes};

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
        let kernel = kernel();
        for start in (0..n).step_by(BLOCK) {
            let mut lanes = [0u16; BLOCK];
            let (mut ends, mut end_integers, mut end_scales) =
                ([0.0; BLOCK], [0; BLOCK], [0; BLOCK]);
            let block = Block {
                values: block(values, start, &mut ends),
                integers: block(&state.integers, start, &mut end_integers),
                scales: block(&state.scales, start, &mut end_scales),
            };
            let mut misfits = (kernel.quantise)(&block, &mut lanes);
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
                // No bit pattern is a lane.
                lanes[offset] = 0;
                self.misfit(start + offset, values[start + offset], state);
            }
            used += (kernel.compress)(
                &lanes,
                self.mask[start / 4..]
                    .first_chunk_mut()
                    .expect("reset rounds the mask up to whole blocks"),
                self.lanes[used..]
                    .first_chunk_mut()
                    .expect("reset leaves room for a block of lanes"),
            );
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
        self.lanes.resize(blocks * BLOCK * 2 + BLOCK_LANE_BYTES, 0);
    }

    /// Notes a value that is no small step of a decimal.
    #[inline]
    fn misfit(&mut self, position: usize, value: f64, state: &RowState) {
        let before = state.integers[position];
        let xor = value.to_bits() ^ before as u64;
        // Noise stays noise: only a value after a NaN is looked at anew, because NaN says nothing about the series.
        if state.scales[position] == SCALE_BITS && !value.is_nan() {
            if xor == 0 {
                return;
            }
            if !f64::from_bits(before as u64).is_nan() || value.is_infinite() {
                self.raw.push(position as u16);
                self.raw_xors.push(xor);
                return;
            }
        }
        self.rare_misfit(position, value, state);
    }

    #[cold]
    #[inline(never)]
    fn rare_misfit(&mut self, position: usize, value: f64, state: &RowState) {
        let (before, scale) = (state.integers[position], state.scales[position]);
        if is_stale(value) {
            self.stale.push(position as u16);
            return;
        }
        if scale == SCALE_BITS {
            let xor = value.to_bits() ^ before as u64;
            if xor == 0 {
                return;
            }
            if !(f64::from_bits(before as u64).is_nan() && value.is_finite()) {
                self.raw.push(position as u16);
                self.raw_xors.push(xor);
                return;
            }
        } else {
            let (integer, exact) = to_integer(value, scale);
            if exact {
                self.put_gap(position, 0);
                put_varint(&mut self.steps, integer.wrapping_sub(before));
                return;
            }
        }
        let (new_scale, integer) = fit(value);
        self.put_gap(position, 1);
        self.steps.push(new_scale);
        put_varint(&mut self.steps, integer);
        self.steps.push(scale);
        put_varint(&mut self.steps, before);
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

/// Returns a whole block of `values` beginning at `start`; behind the end it is filled with zeros.
#[inline]
fn block<'a, T: Copy + Default>(
    values: &'a [T],
    start: usize,
    filled: &'a mut [T; BLOCK],
) -> &'a [T; BLOCK] {
    let rest = &values[start..];
    match rest.first_chunk() {
        Some(whole) => whole,
        None => {
            filled[..rest.len()].copy_from_slice(rest);
            filled
        }
    }
}
