//! Choosing how a stream of integers is written.

use crate::encoding::{put_varint, zigzag};

use super::block::{self, Layout, Widths};
use super::{BLOCK_LEN, Kind, SHIFTED};

/// Memory of the encoder, used again for each stream.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    steps: Vec<i64>,
    residuals: Vec<u64>,
    others: Vec<u64>,
    layouts: Vec<Layout>,
    other_layouts: Vec<Layout>,
}

impl Encoder {
    /// Appends numbers that lie near each other in their order: their differences are stored. There must be one.
    pub(crate) fn encode(&mut self, numbers: &[i64], out: &mut Vec<u8>) {
        let first = numbers[0];
        let (mut any, mut min) = (0, i64::MAX);
        self.steps.clear();
        self.steps.extend(numbers.iter().zip(&numbers[1..]).map(|(&before, &number)| {
            let step = number.wrapping_sub(before);
            any |= step;
            min = min.min(step);
            step
        }));
        if any == 0 {
            out.push(Kind::Constant as u8);
            put_varint(out, first);
            return;
        }
        let shift = any.trailing_zeros();
        let min = min >> shift;
        // The difference of two i64 fits an u64 when the smaller is taken from the larger.
        self.residuals.clear();
        self.residuals.extend(self.steps.iter().map(|step| (step >> shift).wrapping_sub(min) as u64));
        let mut kind = Kind::StepsAboveMin;
        let mut len = plan(&self.residuals, &mut self.layouts);
        // With no step down, zigzag only adds a bit.
        if min < 0 {
            self.others.clear();
            self.others.extend(self.steps.iter().map(|step| zigzag(step >> shift)));
            let other_len = plan(&self.others, &mut self.other_layouts);
            if other_len < len {
                std::mem::swap(&mut self.residuals, &mut self.others);
                std::mem::swap(&mut self.layouts, &mut self.other_layouts);
                (kind, len) = (Kind::Steps, other_len);
            }
        }
        out.reserve(len + 32);
        if shift == 0 {
            out.push(kind as u8);
        } else {
            out.extend_from_slice(&[kind as u8 | SHIFTED, shift as u8]);
        }
        put_varint(out, first);
        if kind == Kind::StepsAboveMin {
            put_varint(out, min);
        }
        self.write_blocks(out);
    }

    /// Appends numbers that are near zero and in no order: they are stored as they are.
    pub(crate) fn encode_small(&mut self, numbers: &[i64], out: &mut Vec<u8>) {
        if numbers.iter().all(|&number| number == 0) {
            out.push(Kind::Constant as u8);
            put_varint(out, 0);
            return;
        }
        self.residuals.clear();
        self.residuals.extend(numbers.iter().map(|&number| zigzag(number)));
        let len = plan(&self.residuals, &mut self.layouts);
        out.reserve(len + 1);
        out.push(Kind::Small as u8);
        self.write_blocks(out);
    }

    fn write_blocks(&self, out: &mut Vec<u8>) {
        for (numbers, &layout) in self.residuals.chunks(BLOCK_LEN).zip(&self.layouts) {
            block::write(numbers, layout, out);
        }
    }
}

/// Finds the layout of each block and returns the length of all.
fn plan(numbers: &[u64], layouts: &mut Vec<Layout>) -> usize {
    layouts.clear();
    layouts.extend(numbers.chunks(BLOCK_LEN).map(|block| Widths::of(block).layout()));
    layouts.iter().map(|layout| layout.len).sum()
}
