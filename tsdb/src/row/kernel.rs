//! The inner loops of rows, four positions of lanes or a block of values at a time.
//!
//! Each loop is written once, for any processor. Where AVX2 and BMI2 are there, the same code is compiled for them a
//! second time, with two instructions in the place of two functions: `pext` gathers the bytes of a word that a mask
//! names, `pdep` scatters them back.

#![cfg_attr(
    target_arch = "x86_64",
    expect(
        unsafe_code,
        reason = "functions compiled for instructions beyond the baseline: encoding a row takes half of what it does without"
    )
)]

use crate::encoding::{unzigzag, zigzag};

use super::decimal::to_integer;

/// Positions that are worked on together: their lanes stay in registers and one cache line of mask bits.
pub(super) const BLOCK: usize = 64;

/// Bytes a block's lanes may be written to: the last word of eight is stored whole.
pub(super) const BLOCK_LANE_BYTES: usize = BLOCK * 2 + 8;

/// The values of a block beside the state they are compared with.
#[derive(Debug)]
pub(super) struct Block<'a> {
    pub(super) values: &'a [f64; BLOCK],
    pub(super) integers: &'a [i64; BLOCK],
    pub(super) scales: &'a [u8; BLOCK],
}

/// Which way a row is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Forward,
    Back,
}

/// The loops for one kind of processor.
#[derive(Debug)]
pub(super) struct Kernel {
    /// Fills the lanes of a block and returns a bit for each position whose step does not fit one.
    pub(super) quantise: fn(&Block<'_>, &mut [u16; BLOCK]) -> u64,
    /// Writes which lane bytes are not zero, and those bytes; returns how many.
    pub(super) compress:
        fn(&[u16; BLOCK], &mut [u8; BLOCK / 4], &mut [u8; BLOCK_LANE_BYTES]) -> usize,
    /// Adds the steps in lanes to integers, or takes them away. The mask has two bits for each integer.
    pub(super) step: fn(&[u8], &[u8], &mut [i64], Direction),
}

/// Runs anywhere.
pub(super) static PORTABLE: Kernel = Kernel {
    quantise: quantise_block,
    compress: |lanes, mask, bytes| compress_block(lanes, mask, bytes, gather),
    step: |mask, lanes, integers, direction| {
        step_all(mask, lanes, integers, direction, spread, scatter);
    },
};

/// Returns the fastest loops for this processor.
pub(super) fn kernel() -> &'static Kernel {
    #[cfg(target_arch = "x86_64")]
    if let Some(kernel) = x86::kernel() {
        return kernel;
    }
    &PORTABLE
}

#[inline(always)]
fn quantise_block(block: &Block<'_>, lanes: &mut [u16; BLOCK]) -> u64 {
    let mut misfit = [0u8; BLOCK];
    for index in 0..BLOCK {
        let (integer, exact) = to_integer(block.values[index], block.scales[index]);
        let step = zigzag(integer.wrapping_sub(block.integers[index]));
        lanes[index] = step as u16;
        misfit[index] = u8::from(!(exact & (step < 65536)));
    }
    let mut bits = 0;
    for (index, eight) in misfit.as_chunks::<8>().0.iter().enumerate() {
        // Eight bytes of 0 or 1 become eight bits: the product gathers them in its top byte.
        let gathered = u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        bits |= gathered << (index * 8);
    }
    bits
}

#[inline(always)]
fn compress_block(
    lanes: &[u16; BLOCK],
    mask: &mut [u8; BLOCK / 4],
    bytes: &mut [u8; BLOCK_LANE_BYTES],
    gather: impl Fn(u64, u64) -> u64,
) -> usize {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let mut used = 0;
    for ([a, b, c, d], mask) in lanes.as_chunks::<4>().0.iter().zip(mask) {
        let word = u64::from(*a) | u64::from(*b) << 16 | u64::from(*c) << 32 | u64::from(*d) << 48;
        // The top bit of each byte that is not zero, moved to its lowest.
        let set = ((((word & LOW) + LOW) | word) & !LOW) >> 7;
        *mask = (set.wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8;
        // The bound says nothing new: a block has 128 lane bytes.
        let at = used & (BLOCK * 2 - 1);
        bytes[at..at + 8].copy_from_slice(&gather(word, set * 255).to_le_bytes());
        used += set.count_ones() as usize;
    }
    used
}

#[inline(always)]
fn step_all(
    mask: &[u8],
    lanes: &[u8],
    integers: &mut [i64],
    direction: Direction,
    spread: impl Fn(u8) -> u64,
    scatter: impl Fn(u64, u64) -> u64,
) {
    let mut rest = lanes;
    let mut next = |mask: u8| {
        let word = match rest.first_chunk::<8>() {
            Some(word) => u64::from_le_bytes(*word),
            None => short_word(rest),
        };
        rest = rest.get(mask.count_ones() as usize..).unwrap_or_default();
        let word = scatter(word, spread(mask));
        let step = |index: usize| unzigzag(word >> (16 * index) & 0xffff);
        match direction {
            Direction::Forward => [step(0), step(1), step(2), step(3)],
            Direction::Back => [-step(0), -step(1), -step(2), -step(3)],
        }
    };
    let (fours, end) = integers.as_chunks_mut::<4>();
    for (four, &mask) in fours.iter_mut().zip(mask) {
        // Most series of a scrape do not change: whole mask bytes are zero.
        if mask != 0 {
            let steps = next(mask);
            for (integer, step) in four.iter_mut().zip(steps) {
                *integer = integer.wrapping_add(step);
            }
        }
    }
    if let Some(&mask) = mask.get(fours.len()) {
        for (integer, step) in end.iter_mut().zip(next(mask)) {
            *integer = integer.wrapping_add(step);
        }
    }
}

/// Returns up to eight bytes as a word.
#[cold]
fn short_word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(word)
}

/// Returns a byte of ones for each bit of `mask`.
#[inline(always)]
fn spread(mask: u8) -> u64 {
    // A copy of the mask in each byte, of which each keeps a bit of its own; one that kept it carries to the top.
    let own = (u64::from(mask) * 0x0101_0101_0101_0101) & 0x8040_2010_0804_0201;
    let set = ((own & 0x7f7f_7f7f_7f7f_7f7f) + 0x7f7f_7f7f_7f7f_7f7f) | own;
    (set >> 7 & 0x0101_0101_0101_0101) * 255
}

/// Moves the bytes of `word` that `bytes` names, each by a byte of ones, to the low end.
#[inline(always)]
fn gather(word: u64, bytes: u64) -> u64 {
    let mut gathered = 0;
    let mut filled = 0;
    let mut left = bytes & 0x0101_0101_0101_0101;
    while left != 0 {
        let at = left.trailing_zeros();
        gathered |= (word >> at & 255) << filled;
        filled += 8;
        left &= left - 1;
    }
    gathered
}

/// Undoes [`gather`]; other bytes become 0.
#[inline(always)]
fn scatter(word: u64, bytes: u64) -> u64 {
    let mut scattered = 0;
    let mut from = word;
    let mut left = bytes & 0x0101_0101_0101_0101;
    while left != 0 {
        scattered |= (from & 255) << left.trailing_zeros();
        from >>= 8;
        left &= left - 1;
    }
    scattered
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{_pdep_u64, _pext_u64};

    use super::{
        BLOCK, BLOCK_LANE_BYTES, Block, Direction, Kernel, compress_block, quantise_block, step_all,
    };

    /// Given out by [`kernel`] only.
    static AVX2: Kernel = Kernel {
        // SAFETY: `kernel` has asked the processor.
        quantise: |block, lanes| unsafe { quantise(block, lanes) },
        // SAFETY: as above.
        compress: |lanes, mask, bytes| unsafe { compress(lanes, mask, bytes) },
        // SAFETY: as above.
        step: |mask, lanes, integers, direction| unsafe { step(mask, lanes, integers, direction) },
    };

    pub(super) fn kernel() -> Option<&'static Kernel> {
        let is_there = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("popcnt");
        is_there.then_some(&AVX2)
    }

    #[target_feature(enable = "avx2")]
    fn quantise(block: &Block<'_>, lanes: &mut [u16; BLOCK]) -> u64 {
        quantise_block(block, lanes)
    }

    #[target_feature(enable = "bmi2,popcnt")]
    fn compress(
        lanes: &[u16; BLOCK],
        mask: &mut [u8; BLOCK / 4],
        bytes: &mut [u8; BLOCK_LANE_BYTES],
    ) -> usize {
        compress_block(lanes, mask, bytes, |word, bytes| _pext_u64(word, bytes))
    }

    #[target_feature(enable = "avx2,bmi2,popcnt")]
    fn step(mask: &[u8], lanes: &[u8], integers: &mut [i64], direction: Direction) {
        let spread = |mask| _pdep_u64(u64::from(mask), 0x0101_0101_0101_0101) * 255;
        step_all(mask, lanes, integers, direction, spread, |word, bytes| {
            _pdep_u64(word, bytes)
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Runs a block through a kernel and back; returns all it says.
    fn run(kernel: &Kernel, block: &Block<'_>) -> (Vec<u16>, u64, Vec<u8>, Vec<u8>, Vec<i64>) {
        let mut lanes = [0; BLOCK];
        let misfits = (kernel.quantise)(block, &mut lanes);
        let (mut mask, mut bytes) = ([0; BLOCK / 4], [0; BLOCK_LANE_BYTES]);
        let used = (kernel.compress)(&lanes, &mut mask, &mut bytes);
        let mut integers = *block.integers;
        (kernel.step)(&mask, &bytes[..used], &mut integers, Direction::Forward);
        let stepped = integers.to_vec();
        (kernel.step)(&mask, &bytes[..used], &mut integers, Direction::Back);
        assert_eq!(&integers, block.integers);
        let bytes = bytes[..used].to_vec();
        (lanes.to_vec(), misfits, mask.to_vec(), bytes, stepped)
    }

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            4 => Just(0.0),
            4 => (-70_000i32..70_000).prop_map(f64::from),
            4 => (-70_000i32..70_000).prop_map(|value| f64::from(value) / 1000.0),
            1 => any::<u64>().prop_map(f64::from_bits),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn every_kernel_says_the_same(
            values in prop::collection::vec(value(), BLOCK),
            integers in prop::collection::vec(prop_oneof![4 => -300i64..300, 1 => any::<i64>()], BLOCK),
            scales in prop::collection::vec(prop_oneof![4 => Just(0u8), 2 => Just(3), 1 => 0u8..32], BLOCK),
        ) {
            let block = Block {
                values: values.first_chunk().unwrap(),
                integers: integers.first_chunk().unwrap(),
                scales: scales.first_chunk().unwrap(),
            };
            let plain = run(&PORTABLE, &block);
            prop_assert_eq!(run(kernel(), &block), plain.clone());
            let (lanes, misfits, _, _, stepped) = plain;
            for index in 0..BLOCK {
                let (integer, exact) = to_integer(values[index], scales[index]);
                let step = zigzag(integer.wrapping_sub(integers[index]));
                prop_assert_eq!(misfits >> index & 1 == 1, !exact || step > 65535);
                prop_assert_eq!(lanes[index], step as u16);
                let lane = unzigzag(u64::from(lanes[index]));
                prop_assert_eq!(stepped[index], integers[index].wrapping_add(lane));
            }
        }
    }

    #[test]
    fn bytes_are_gathered_and_scattered_by_every_mask() {
        let word = 0x8877_6655_4433_2211;
        for mask in 0..=255u8 {
            let bytes = spread(mask);
            for bit in 0..8 {
                let byte = bytes >> (8 * bit) & 255;
                assert_eq!(byte, if mask >> bit & 1 == 1 { 255 } else { 0 });
            }
            assert_eq!(scatter(gather(word, bytes), bytes), word & bytes);
        }
    }
}
