//! From values to bytes: which form, which exponent.

use std::ops::Range;

use crate::chunk::ints::{self, Effort};
use crate::encoding::put_varint;
use crate::sample::is_stale;

use super::decimal::{POWERS, integer, mantissa, restore, smallest_exponent};
use super::{
    BIT_PATTERNS, BIT_PATTERNS_WITH_EXCEPTIONS, CONSTANT_BITS, CONSTANT_INTEGER, DECIMAL,
    DECIMAL_CORRECTED, DECIMAL_WITH_EXCEPTIONS, exceptions,
};

/// Encodes values and keeps its memory from one chunk to the next.
#[derive(Debug, Default)]
pub struct Encoder {
    /// The integers of the chunk encoded last.
    pub(super) integers: Vec<i64>,
    /// Where their stream is in the bytes of that chunk; empty if it has none.
    pub(super) stream: Range<usize>,
    pub(super) streams: ints::Encoder,
    pub(super) differences: Vec<i64>,
    integers_aside: Vec<i64>,
    corrections: Vec<i64>,
    exceptions: Vec<u32>,
    corrected: Vec<u8>,
}

impl Encoder {
    /// Returns an encoder without memory.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns an encoder without memory that spends less time and more bytes: for what is written anew before long.
    pub fn quick() -> Self {
        Self {
            streams: ints::Encoder::new(Effort::Quick),
            ..Self::default()
        }
    }

    /// Appends a chunk of `values`, any bit patterns, which [`decode`](fn@super::decode) gives back bit for bit.
    pub fn encode(&mut self, values: &[f64], out: &mut Vec<u8>) {
        self.stream = 0..0;
        let Some((&first, rest)) = values.split_first() else {
            return;
        };
        let first_bits = first.to_bits();
        if rest.iter().all(|value| value.to_bits() == first_bits) {
            encode_constant(first, out);
        } else if let Some(exponent) = self.find_decimal(values) {
            let tag = DECIMAL | exponent as u8 | self.flag(DECIMAL_WITH_EXCEPTIONS);
            self.write_integers(tag, out);
            self.write_exceptions(values, out);
        } else {
            self.encode_inexact(values, out);
        }
    }

    /// Appends a chunk of any number of values that are all `integer` with `exponent` digits behind the point.
    pub fn encode_constant(&mut self, integer: i64, exponent: u8, out: &mut Vec<u8>) {
        self.stream = 0..0;
        encode_constant(restore(integer, POWERS[usize::from(exponent)]), out);
    }

    /// Appends a chunk of the values that `integers` are with `exponent` digits behind the point, at most 15. The same
    /// as [`encode`](Self::encode) of these values, but for exceptions, without looking for what is known.
    pub fn encode_decimal(&mut self, integers: &[i64], exponent: u8, out: &mut Vec<u8>) {
        self.stream = 0..0;
        let Some((&first, rest)) = integers.split_first() else {
            return;
        };
        if rest.iter().all(|&integer| integer == first) {
            return encode_constant(restore(first, POWERS[usize::from(exponent)]), out);
        }
        self.exceptions.clear();
        self.integers.clear();
        self.integers.extend_from_slice(integers);
        let mut exponent = exponent;
        // A series that once needed more digits is written with as few as it needs here.
        while exponent > 0 && self.integers.iter().all(|&integer| is_shortened(integer)) {
            self.integers.iter_mut().for_each(|integer| *integer /= 10);
            exponent -= 1;
        }
        self.write_integers(DECIMAL | exponent, out);
    }

    /// Finds the smallest exponent that reproduces all values but a few bit for bit, and leaves the integers and the
    /// positions of those few behind.
    fn find_decimal(&mut self, values: &[f64]) -> Option<usize> {
        let allowed = values.len() / EXCEPTIONS_PER;
        let mut exponent = 0;
        loop {
            if self.quantize(values, exponent, allowed) {
                return Some(exponent);
            }
            // One more than allowed failed, so one of them at least must be exact with a larger exponent.
            let failed = &self.exceptions[..=allowed];
            exponent = failed
                .iter()
                .filter_map(|&position| smallest_exponent(values[position as usize], exponent + 1))
                .min()?;
        }
    }

    /// Turns values into integers; stops with the first exception that is one too many.
    fn quantize(&mut self, values: &[f64], exponent: usize, allowed: usize) -> bool {
        self.integers.clear();
        self.exceptions.clear();
        let power = POWERS[exponent];
        if exponent == 0 {
            self.quantize_by(values, allowed, integer, |integer| integer as f64)
        } else {
            self.quantize_by(
                values,
                allowed,
                |value| mantissa(value, power),
                |mantissa| restore(mantissa, power),
            )
        }
    }

    #[inline(always)]
    fn quantize_by(
        &mut self,
        values: &[f64],
        allowed: usize,
        quantized: impl Fn(f64) -> i64,
        restored: impl Fn(i64) -> f64,
    ) -> bool {
        for (position, &value) in values.iter().enumerate() {
            let integer = quantized(value);
            if restored(integer).to_bits() == value.to_bits() {
                self.integers.push(integer);
                continue;
            }
            self.exceptions.push(position as u32);
            if self.exceptions.len() > allowed {
                return false;
            }
            self.integers
                .push(self.integers.last().copied().unwrap_or(UNKNOWN));
        }
        self.fill_leading_exceptions();
        true
    }

    /// Gives exceptions at the start, which have no integer before them to repeat, the first one behind.
    fn fill_leading_exceptions(&mut self) {
        let leading = self
            .exceptions
            .iter()
            .enumerate()
            .take_while(|&(index, &at)| at as usize == index)
            .count();
        let fill = self.integers.get(leading).copied().unwrap_or(UNKNOWN);
        self.integers[..leading].fill(fill);
    }

    /// Encodes values that are no decimals: near ones with corrections, or as bit patterns, whichever is smaller.
    fn encode_inexact(&mut self, values: &[f64], out: &mut Vec<u8>) {
        let mut corrected = std::mem::take(&mut self.corrected);
        corrected.clear();
        let is_corrected = self.encode_corrected(values, &mut corrected);
        let corrected_stream = self.stream.clone();
        std::mem::swap(&mut self.integers, &mut self.integers_aside);
        let start = out.len();
        self.encode_bit_patterns(values, out);
        if is_corrected && corrected.len() < out.len() - start {
            out.truncate(start);
            out.extend_from_slice(&corrected);
            std::mem::swap(&mut self.integers, &mut self.integers_aside);
            self.stream = corrected_stream;
        }
        self.corrected = corrected;
    }

    fn encode_corrected(&mut self, values: &[f64], out: &mut Vec<u8>) -> bool {
        let Some(exponent) = choose_exponent(values) else {
            return false;
        };
        let power = POWERS[exponent];
        let allowed = values.len() / EXCEPTIONS_PER;
        self.integers.clear();
        self.corrections.clear();
        self.exceptions.clear();
        for (position, &value) in values.iter().enumerate() {
            if value.is_finite() {
                let mantissa = mantissa(value, power);
                self.integers.push(mantissa);
                self.corrections.push(
                    value
                        .to_bits()
                        .wrapping_sub(restore(mantissa, power).to_bits())
                        as i64,
                );
                continue;
            }
            self.exceptions.push(position as u32);
            if self.exceptions.len() > allowed {
                return false;
            }
            self.integers
                .push(self.integers.last().copied().unwrap_or(UNKNOWN));
            self.corrections.push(0);
        }
        self.fill_leading_exceptions();
        let tag = DECIMAL | DECIMAL_CORRECTED | exponent as u8 | self.flag(DECIMAL_WITH_EXCEPTIONS);
        self.write_integers(tag, out);
        self.streams.encode(&self.corrections, out);
        self.write_exceptions(values, out);
        true
    }

    fn encode_bit_patterns(&mut self, values: &[f64], out: &mut Vec<u8>) {
        self.integers.clear();
        self.exceptions.clear();
        for (position, &value) in values.iter().enumerate() {
            if is_stale(value) {
                self.exceptions.push(position as u32);
                self.integers
                    .push(self.integers.last().copied().unwrap_or(UNKNOWN));
            } else {
                self.integers.push(value.to_bits() as i64);
            }
        }
        self.fill_leading_exceptions();
        let tag = if self.exceptions.is_empty() {
            BIT_PATTERNS
        } else {
            BIT_PATTERNS_WITH_EXCEPTIONS
        };
        self.write_integers(tag, out);
        self.write_exceptions(values, out);
    }

    fn write_integers(&mut self, tag: u8, out: &mut Vec<u8>) {
        let start = out.len();
        out.push(tag);
        self.streams.encode(&self.integers, out);
        self.stream = 1..out.len() - start;
    }

    fn flag(&self, flag: u8) -> u8 {
        if self.exceptions.is_empty() { 0 } else { flag }
    }

    fn write_exceptions(&self, values: &[f64], out: &mut Vec<u8>) {
        if !self.exceptions.is_empty() {
            exceptions::write(&self.exceptions, values, out);
        }
    }
}

fn encode_constant(value: f64, out: &mut Vec<u8>) {
    let integer = integer(value);
    if (integer as f64).to_bits() == value.to_bits() {
        out.push(CONSTANT_INTEGER);
        put_varint(out, integer);
    } else {
        out.push(CONSTANT_BITS);
        out.extend_from_slice(&value.to_bits().to_le_bytes());
    }
}

/// Tells whether an integer with one digit less behind the point is the same value: both have to be exact as floats.
fn is_shortened(integer: i64) -> bool {
    integer % 10 == 0 && integer.unsigned_abs() < 1 << 53
}

/// Chooses the exponent that makes the steps of the integers and the corrections smallest, by a few steps spread over
/// the values.
fn choose_exponent(values: &[f64]) -> Option<usize> {
    let stride = (values.len() / STEPS_SAMPLED).max(1);
    let cost = |exponent: usize| {
        let power = POWERS[exponent];
        let mut bits = 0;
        for pair in values.windows(2).step_by(stride) {
            let (before, value) = (pair[0], pair[1]);
            if !before.is_finite() || !value.is_finite() {
                continue;
            }
            let (from, to) = (mantissa(before, power), mantissa(value, power));
            let correction = value.to_bits().wrapping_sub(restore(to, power).to_bits()) as i64;
            bits += 128
                - to.wrapping_sub(from).unsigned_abs().leading_zeros()
                - correction.unsigned_abs().leading_zeros();
        }
        bits
    };
    (0..POWERS.len())
        .map(|exponent| (cost(exponent), exponent))
        .min()
        .map(|(_cost, exponent)| exponent)
}

/// One value in so many may be an exception.
const EXCEPTIONS_PER: usize = 16;

/// Enough: on recorded scrapes sampling every step gives not one byte less, sampling half as many 0.05 % more for counters of
/// floats.
const STEPS_SAMPLED: usize = 48;

/// Stands for an exception as long as there is no integer to repeat.
const UNKNOWN: i64 = 0;
