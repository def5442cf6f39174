//! Choosing how a stream of integers is written.

use crate::encoding::{put_varint, zigzag};

use super::block::{self, Layout, Widths};
use super::{BLOCK_LEN, Kind, SHIFTED};

/// Memory of the encoder, used again for each stream.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    steps: Vec<i64>,
    best: Plan,
    other: Plan,
}

impl Encoder {
    /// Appends numbers that lie near each other, at least one, in the cheapest of the kinds 1, 2, 3 and 5.
    pub(crate) fn encode(&mut self, numbers: &[i64], out: &mut Vec<u8>) {
        let (first, rest) = numbers.split_first().expect("a stream has a number");
        let (mut any, mut step_min) = (0, i64::MAX);
        self.steps.clear();
        self.steps
            .extend(numbers.iter().zip(rest).map(|(&before, &number)| {
                let step = number.wrapping_sub(before);
                any |= step;
                step_min = step_min.min(step);
                step
            }));
        if any == 0 {
            write_constant(*first, out);
            return;
        }

        // Bits that are zero in every step are so in every distance: each is a sum of steps.
        let shift = any.trailing_zeros();
        let step_min = step_min >> shift;
        let mut kind = Kind::StepsAboveMin;
        // The distance of two i64 fits an u64 when the smaller is taken from the larger.
        self.best.fill(
            self.steps
                .iter()
                .map(|step| (step >> shift).wrapping_sub(step_min) as u64),
        );
        // With no step down, zigzag only adds a bit.
        if step_min < 0 {
            self.other
                .fill(self.steps.iter().map(|step| zigzag(step >> shift)));
            if self.take_other_if_smaller() {
                kind = Kind::Steps;
            }
        }
        // A number that jumps about its level is as far from it as ever, and its steps are the sum of two distances.
        let min = numbers.iter().copied().fold(*first, i64::min);
        self.other.fill(
            numbers
                .iter()
                .map(|number| number.wrapping_sub(min) as u64 >> shift),
        );
        if self.take_other_if_smaller() {
            kind = Kind::AboveMin;
        }

        if shift == 0 {
            out.push(kind as u8);
        } else {
            out.extend_from_slice(&[kind as u8 | SHIFTED, shift as u8]);
        }
        match kind {
            Kind::AboveMin => put_varint(out, min),
            Kind::StepsAboveMin => {
                put_varint(out, *first);
                put_varint(out, step_min);
            }
            Kind::Constant | Kind::Steps | Kind::Small => put_varint(out, *first),
        }
        self.best.write(out);
    }

    /// Appends numbers that are near zero and in no order: they are stored as they are.
    pub(crate) fn encode_small(&mut self, numbers: &[i64], out: &mut Vec<u8>) {
        if numbers.iter().all(|&number| number == 0) {
            write_constant(0, out);
            return;
        }
        self.best.fill(numbers.iter().map(|&number| zigzag(number)));
        out.push(Kind::Small as u8);
        self.best.write(out);
    }

    fn take_other_if_smaller(&mut self) -> bool {
        let is_smaller = self.other.len < self.best.len;
        if is_smaller {
            std::mem::swap(&mut self.other, &mut self.best);
        }
        is_smaller
    }
}

fn write_constant(number: i64, out: &mut Vec<u8>) {
    out.push(Kind::Constant as u8);
    put_varint(out, number);
}

/// What a kind would store, and how.
#[derive(Debug, Default)]
struct Plan {
    numbers: Vec<u64>,
    layouts: Vec<Layout>,
    /// Bytes of all blocks.
    len: usize,
}

impl Plan {
    fn fill(&mut self, numbers: impl Iterator<Item = u64>) {
        self.numbers.clear();
        self.numbers.extend(numbers);
        self.layouts.clear();
        self.layouts.extend(
            self.numbers
                .chunks(BLOCK_LEN)
                .map(|block| Widths::of(block).layout()),
        );
        self.len = self.layouts.iter().map(|layout| layout.len).sum();
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.reserve(self.len);
        for (numbers, &layout) in self.numbers.chunks(BLOCK_LEN).zip(&self.layouts) {
            block::write(numbers, layout, out);
        }
    }
}
