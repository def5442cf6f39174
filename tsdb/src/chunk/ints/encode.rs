//! Choosing how a stream of integers is written.

use crate::encoding::{put_varint, zigzag};

use super::block::{self, Layout, Widths, narrow_width};
use super::classes::{Estimate, Histogram};
use super::{BLOCK_LEN, CODED, Kind, SHIFTED};

/// What is spent to save bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Effort {
    /// For what is written anew before long: numbers are packed, in the kind that looks best.
    Quick,
    /// For what stays: several kinds are tried, and coded where that is shorter.
    #[default]
    Thorough,
}

/// Memory of the encoder, used again for each stream.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    effort: Effort,
    steps: Vec<i64>,
    some: Vec<i64>,
    trials: [Trial; TRIALS_MAX],
}

impl Encoder {
    /// Returns an encoder without memory.
    pub(crate) fn new(effort: Effort) -> Self {
        Self {
            effort,
            ..Self::default()
        }
    }

    /// Appends numbers that lie near each other, at least one, in a form that takes few bytes.
    ///
    /// Which kind that is shows in some of the numbers: those that take the fewest bits there are tried with all.
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
        if shift > 0 {
            for step in &mut self.steps {
                *step >>= shift;
            }
        }
        // Looking for a minimum of 64 bits takes as long as all else here; a counter begins with it.
        let is_rising = step_min >= 0 && numbers.last() >= Some(&first);
        let min = if is_rising {
            first
        } else {
            numbers.iter().copied().min().unwrap_or(first)
        };
        let median_of = self.effort.median_of();
        let step_median = median(&mut self.some, &self.steps, median_of);
        let level = median(&mut self.some, numbers, median_of);
        let bases = Bases {
            step_min: step_min >> shift,
            step_median,
            min,
            level,
        };
        let candidates = self.cheapest(numbers, shift, bases);
        if self.effort == Effort::Quick {
            let [trial, ..] = &mut self.trials;
            trial.fill(candidates[0], &self.steps, numbers, shift, bases);
            trial.lay_out();
            trial.estimate = None;
            return write(trial, trial, first, shift, out);
        }
        let near = candidates[0].bits + candidates[0].bits / WORTH_A_TRIAL;
        let count = candidates.partition_point(|candidate| candidate.bits <= near);
        let trials = &mut self.trials[..count.clamp(1, TRIALS_MAX)];
        for (trial, &candidate) in trials.iter_mut().zip(&candidates) {
            trial.fill(candidate, &self.steps, numbers, shift, bases);
            trial.measure();
        }
        let (mut packed, mut coded) = (&trials[0], &trials[0]);
        for trial in &trials[1..] {
            if trial.packed_len < packed.packed_len {
                packed = trial;
            }
            if trial.coded_len() < coded.coded_len() {
                coded = trial;
            }
        }
        write(packed, coded, first, shift, out);
    }

    /// Appends numbers that are near zero and in no order.
    pub(crate) fn encode_small(&mut self, numbers: &[i64], out: &mut Vec<u8>) {
        if numbers.iter().all(|&number| number == 0) {
            write_constant(0, out);
            return;
        }
        let [trial, ..] = &mut self.trials;
        let candidate = Candidate {
            kind: Kind::Level,
            base: 0,
            bits: 0,
        };
        trial.fill(candidate, &[], numbers, 0, Bases::default());
        trial.lay_out();
        // Many readers share a stream of this kind: what it takes to read counts, its bytes do not.
        trial.estimate = None;
        write(trial, trial, 0, 0, out);
    }

    /// Finds what takes the fewest bits for some of the numbers, the best first.
    fn cheapest(&self, numbers: &[i64], shift: u32, bases: Bases) -> [Candidate; 6] {
        let steps = self.steps.as_slice();
        let mut bits = [0; 6];
        // An odd stride meets every phase of what repeats each two or four or eight steps.
        for at in (0..steps.len()).step_by(steps.len().div_ceil(self.effort.sampled()) | 1) {
            let step = steps[at];
            let before = steps[at.saturating_sub(1)];
            let number = numbers[at + 1];
            let stored = [
                bases.above_min(step),
                zigzag(step),
                bases.around_median(step),
                zigzag(step.wrapping_sub(before)),
                bases.around_level(number, shift),
                bases.above_level(number, shift),
            ];
            for (sum, number) in bits.iter_mut().zip(stored) {
                // A number of all 64 bits counts as a narrow one: it is one of a stream that has no good kind.
                *sum += narrow_width(number);
            }
        }
        let mut at = 0;
        let mut candidates = [
            (Kind::StepsAboveMin, bases.step_min),
            (Kind::Steps, 0),
            (Kind::Steps, bases.step_median),
            (Kind::StepsOfSteps, steps[0]),
            (Kind::Level, bases.level),
            (Kind::LevelAboveMin, bases.min),
        ]
        .map(|(kind, base)| {
            at += 1;
            Candidate {
                kind,
                base,
                bits: bits[at - 1],
            }
        });
        // Stable: of equals the first, which is also the fastest to read.
        candidates.sort_by_key(|candidate| candidate.bits);
        candidates
    }
}

/// What a kind stores, and from where on.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    kind: Kind,
    base: i64,
    /// Bits of the numbers it was compared by.
    bits: u32,
}

/// What the numbers may be distances from.
#[derive(Debug, Clone, Copy, Default)]
struct Bases {
    step_min: i64,
    step_median: i64,
    min: i64,
    level: i64,
}

impl Bases {
    /// The distance of two i64 fits an u64 when the smaller is taken from the larger.
    #[inline(always)]
    fn above_min(&self, step: i64) -> u64 {
        step.wrapping_sub(self.step_min) as u64
    }

    #[inline(always)]
    fn around_median(&self, step: i64) -> u64 {
        zigzag(step.wrapping_sub(self.step_median))
    }

    /// A number that jumps about its level is as far from it as ever, and its steps are the sum of two distances.
    #[inline(always)]
    fn around_level(&self, number: i64, shift: u32) -> u64 {
        zigzag(number.wrapping_sub(self.level) >> shift)
    }

    #[inline(always)]
    fn above_level(&self, number: i64, shift: u32) -> u64 {
        number.wrapping_sub(self.min) as u64 >> shift
    }
}

fn write(packed: &Trial, coded: &Trial, first: i64, shift: u32, out: &mut Vec<u8>) {
    let code = coded
        .estimate
        .filter(|_| coded.coded_len() + packed.packed_len / SAVES_ONE_IN < packed.packed_len)
        .map(|estimate| coded.histogram.code(estimate))
        .filter(|code| code.len + packed.packed_len / SAVES_ONE_IN < packed.packed_len);
    let (trial, flag) = match code {
        Some(_) => (coded, CODED),
        None => (packed, 0),
    };
    let Candidate { kind, base, .. } = trial.candidate;
    if shift == 0 {
        out.push(kind as u8 | flag);
    } else {
        out.extend_from_slice(&[kind as u8 | flag | SHIFTED, shift as u8]);
    }
    if kind.has_first() {
        put_varint(out, first);
    }
    put_varint(out, base);
    match code {
        Some(code) => code.write(&trial.numbers, out),
        None => trial.write_blocks(out),
    }
}

/// Finds about the middle one of `numbers`.
fn median(some: &mut Vec<i64>, numbers: &[i64], of: usize) -> i64 {
    some.clear();
    some.extend(numbers.iter().step_by(numbers.len().div_ceil(of) | 1));
    let middle = some.len() / 2;
    *some.select_nth_unstable(middle).1
}

fn write_constant(number: i64, out: &mut Vec<u8>) {
    out.push(Kind::Constant as u8);
    put_varint(out, number);
}

/// What a kind would store, and how.
#[derive(Debug)]
struct Trial {
    candidate: Candidate,
    numbers: Vec<u64>,
    layouts: Vec<Layout>,
    /// Bytes of all blocks.
    packed_len: usize,
    histogram: Histogram,
    estimate: Option<Estimate>,
}

impl Default for Trial {
    fn default() -> Self {
        Self {
            candidate: Candidate {
                kind: Kind::Constant,
                base: 0,
                bits: 0,
            },
            numbers: Vec::new(),
            layouts: Vec::new(),
            packed_len: 0,
            histogram: Histogram::default(),
            estimate: None,
        }
    }
}

impl Trial {
    fn fill(
        &mut self,
        candidate: Candidate,
        steps: &[i64],
        numbers: &[i64],
        shift: u32,
        bases: Bases,
    ) {
        self.candidate = candidate;
        let base = candidate.base;
        self.numbers.clear();
        match candidate.kind {
            Kind::StepsAboveMin => {
                (self.numbers).extend(steps.iter().map(|&step| bases.above_min(step)));
            }
            Kind::Constant | Kind::Steps => {
                (self.numbers).extend(steps.iter().map(|&step| zigzag(step.wrapping_sub(base))));
            }
            Kind::StepsOfSteps => {
                let before = std::iter::once(&base).chain(steps);
                let changes = steps.iter().zip(before);
                (self.numbers)
                    .extend(changes.map(|(&step, &before)| zigzag(step.wrapping_sub(before))));
            }
            Kind::Level => (self.numbers).extend(
                numbers
                    .iter()
                    .map(|&number| zigzag(number.wrapping_sub(base) >> shift)),
            ),
            Kind::LevelAboveMin => {
                (self.numbers).extend(
                    numbers
                        .iter()
                        .map(|&number| bases.above_level(number, shift)),
                );
            }
        }
    }

    /// Finds out how the numbers are packed.
    fn lay_out(&mut self) {
        self.layouts.clear();
        for block in self.numbers.chunks(BLOCK_LEN) {
            self.layouts.push(Widths::of(block).layout());
        }
        self.packed_len = self.layouts.iter().map(|layout| layout.len).sum();
    }

    /// Finds out how the numbers are packed, and how long they are about when they are coded.
    fn measure(&mut self) {
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

    fn write_blocks(&self, out: &mut Vec<u8>) {
        out.reserve(self.packed_len);
        for (numbers, &layout) in self.numbers.chunks(BLOCK_LEN).zip(&self.layouts) {
            block::write(numbers, layout, out);
        }
    }
}

impl Effort {
    /// Returns how many numbers the kinds are compared by. On recorded scrapes 48 give 0.1 % fewer bytes than 40.
    fn sampled(self) -> usize {
        match self {
            Self::Quick => 16,
            Self::Thorough => 40,
        }
    }

    /// Returns how many numbers are enough for a median, which only has to lie among the many.
    fn median_of(self) -> usize {
        match self {
            Self::Quick => 7,
            Self::Thorough => 15,
        }
    }
}

/// Kinds that take a part of the bits more than the best are tried as well, up to so many: all six save 0.1 %.
const WORTH_A_TRIAL: u32 = 10;
const TRIALS_MAX: usize = 3;

/// Coded streams take longer to read, so they have to be shorter than packed ones by so much.
const SAVES_ONE_IN: usize = 64;
