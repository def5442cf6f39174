//! Choosing how a stream of integers is written.

use crate::encoding::{put_varint, zigzag};

use super::block::{self, Layout, Widths};
use super::classes::{Estimate, Histogram};
use super::{BLOCK_LEN, CODED, Kind, SHIFTED};

/// Memory of the encoder, used again for each stream.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    steps: Vec<i64>,
    some: Vec<i64>,
    trial: Trial,
    packed: Trial,
    coded: Trial,
}

impl Encoder {
    /// Appends numbers that lie near each other, at least one, in the form that takes the fewest bytes.
    pub(crate) fn encode(&mut self, numbers: &[i64], out: &mut Vec<u8>) {
        let (&first, rest) = numbers.split_first().expect("a stream has a number");
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
            write_constant(first, out);
            return;
        }
        // Bits that are zero in every step are so in every distance: each is a sum of steps.
        let shift = any.trailing_zeros();
        for step in &mut self.steps {
            *step >>= shift;
        }
        let steps = std::mem::take(&mut self.steps);
        let step_min = step_min >> shift;
        let step_median = self.median(&steps);

        self.packed.len = usize::MAX;
        self.coded.len = usize::MAX;
        // The distance of two i64 fits an u64 when the smaller is taken from the larger.
        self.fill(
            Kind::StepsAboveMin,
            step_min,
            steps.iter().map(|step| step.wrapping_sub(step_min) as u64),
        );
        // With no step down, zigzag only adds a bit.
        if step_min < 0 {
            self.fill(Kind::Steps, 0, steps.iter().map(|&step| zigzag(step)));
        }
        if step_median != 0 {
            self.fill(
                Kind::Steps,
                step_median,
                steps
                    .iter()
                    .map(|step| zigzag(step.wrapping_sub(step_median))),
            );
        }
        let mut before = steps[0];
        self.fill(
            Kind::StepsOfSteps,
            before,
            steps.iter().map(|&step| {
                let change = zigzag(step.wrapping_sub(before));
                before = step;
                change
            }),
        );
        self.steps = steps;
        // A number that jumps about its level is as far from it as ever, and its steps are the sum of two distances.
        let level = self.median(numbers);
        self.fill(
            Kind::Level,
            level,
            numbers
                .iter()
                .map(|number| zigzag(number.wrapping_sub(level) >> shift)),
        );
        let min = numbers.iter().copied().fold(first, i64::min);
        self.fill(
            Kind::LevelAboveMin,
            min,
            numbers
                .iter()
                .map(|number| number.wrapping_sub(min) as u64 >> shift),
        );
        self.write(first, shift, out);
    }

    /// Appends numbers that are near zero and in no order.
    pub(crate) fn encode_small(&mut self, numbers: &[i64], out: &mut Vec<u8>) {
        if numbers.iter().all(|&number| number == 0) {
            write_constant(0, out);
            return;
        }
        self.packed.len = usize::MAX;
        self.coded.len = usize::MAX;
        self.fill(Kind::Level, 0, numbers.iter().map(|&number| zigzag(number)));
        self.write(0, 0, out);
    }

    /// Tries what a kind would store against the best that is packed and the best that is coded so far.
    fn fill(&mut self, kind: Kind, base: i64, numbers: impl Iterator<Item = u64>) {
        self.trial.fill(kind, base, numbers);
        if self.trial.coded_len() < self.coded.len {
            self.coded.len = self.trial.coded_len();
            self.coded.copy_from(&self.trial);
        }
        if self.trial.packed_len < self.packed.len {
            self.packed.len = self.trial.packed_len;
            self.packed.copy_from(&self.trial);
        }
    }

    fn write(&self, first: i64, shift: u32, out: &mut Vec<u8>) {
        let code = self
            .coded
            .estimate
            .filter(|_| self.coded.len < self.packed.len)
            .map(|estimate| self.coded.histogram.code(estimate))
            .filter(|code| code.len + self.packed.len / SAVES_ONE_IN < self.packed.len);
        let (trial, flag) = match code {
            Some(_) => (&self.coded, CODED),
            None => (&self.packed, 0),
        };
        if shift == 0 {
            out.push(trial.kind as u8 | flag);
        } else {
            out.extend_from_slice(&[trial.kind as u8 | flag | SHIFTED, shift as u8]);
        }
        if trial.kind.has_first() {
            put_varint(out, first);
        }
        put_varint(out, trial.base);
        match code {
            Some(code) => code.write(&trial.numbers, out),
            None => trial.write_blocks(out),
        }
    }

    /// Finds about the middle one of `numbers`.
    fn median(&mut self, numbers: &[i64]) -> i64 {
        self.some.clear();
        let stride = numbers.len().div_ceil(MEDIAN_OF);
        self.some.extend(numbers.iter().step_by(stride));
        let middle = self.some.len() / 2;
        *self.some.select_nth_unstable(middle).1
    }
}

fn write_constant(number: i64, out: &mut Vec<u8>) {
    out.push(Kind::Constant as u8);
    put_varint(out, number);
}

/// What a kind would store, and how.
#[derive(Debug)]
struct Trial {
    kind: Kind,
    base: i64,
    numbers: Vec<u64>,
    layouts: Vec<Layout>,
    /// Bytes of all blocks.
    packed_len: usize,
    histogram: Histogram,
    estimate: Option<Estimate>,
    /// Bytes in the form, packed or coded, that this is the best of.
    len: usize,
}

impl Default for Trial {
    fn default() -> Self {
        Self {
            kind: Kind::Constant,
            base: 0,
            numbers: Vec::new(),
            layouts: Vec::new(),
            packed_len: 0,
            histogram: Histogram::default(),
            estimate: None,
            len: usize::MAX,
        }
    }
}

impl Trial {
    fn fill(&mut self, kind: Kind, base: i64, numbers: impl Iterator<Item = u64>) {
        self.kind = kind;
        self.base = base;
        self.numbers.clear();
        self.numbers.extend(numbers);
        self.layouts.clear();
        self.histogram = Histogram::default();
        for block in self.numbers.chunks(BLOCK_LEN) {
            let widths = Widths::of(block);
            self.histogram.add(widths.counts());
            self.layouts.push(widths.layout());
        }
        self.packed_len = self.layouts.iter().map(|layout| layout.len).sum();
        self.estimate = self.histogram.estimate();
    }

    fn coded_len(&self) -> usize {
        self.estimate
            .map_or(usize::MAX, |estimate| estimate.bits.div_ceil(8) as usize)
    }

    fn copy_from(&mut self, other: &Self) {
        self.kind = other.kind;
        self.base = other.base;
        self.numbers.clone_from(&other.numbers);
        self.layouts.clone_from(&other.layouts);
        self.histogram = other.histogram.clone();
        self.estimate = other.estimate;
    }

    fn write_blocks(&self, out: &mut Vec<u8>) {
        out.reserve(self.packed_len);
        for (numbers, &layout) in self.numbers.chunks(BLOCK_LEN).zip(&self.layouts) {
            block::write(numbers, layout, out);
        }
    }
}

/// Enough for a median that only has to lie among the many.
const MEDIAN_OF: usize = 63;

/// Coded streams take longer to read, so they have to be shorter than packed ones by so much.
const SAVES_ONE_IN: usize = 64;
