//! Numbers as their bit lengths, prefix coded, and their other bits as they are.

use crate::encoding::{ByteReader, Malformed};

use super::BLOCK_LEN;
use super::code::{CLASSES_MAX, LENGTH_MAX, TABLE_LEN, codes, lengths};

/// How many of the numbers of a stream have each bit length.
#[derive(Debug, Clone)]
pub(super) struct Histogram {
    counts: [u32; CLASSES_MAX],
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: [0; CLASSES_MAX],
        }
    }
}

impl Histogram {
    /// Adds the counts of a block.
    pub(super) fn add(&mut self, counts: &[u8; CLASSES_MAX]) {
        for (sum, &count) in self.counts.iter_mut().zip(counts) {
            *sum += u32::from(count);
        }
    }

    /// Estimates the cheapest way to code these numbers. `None` if they are all of one class, for which there is no code.
    pub(super) fn estimate(&self) -> Option<Estimate> {
        let widest = self.counts.iter().rposition(|&count| count > 0)?;
        let narrowest = self.counts.iter().position(|&count| count > 0)?;
        // What the classes above the lowest cost: theirs is a suffix sum, so it is kept while the lowest descends.
        let mut above = 0;
        let mut information_above = 0;
        let mut wider_bits = 0;
        let total: u32 = self.counts.iter().sum();
        let mut best: Option<Estimate> = None;
        for lowest in (narrowest..widest).rev() {
            let count = self.counts[lowest + 1];
            above += count;
            information_above += information(count);
            wider_bits += u64::from(count) * lowest as u64;
            let below = total - above;
            let code_bits = information(total)
                .saturating_sub(information_above + information(below))
                >> FRACTION_BITS;
            let bits = code_bits
                + wider_bits
                + u64::from(below) * lowest as u64
                + LOWEST_BITS as u64
                + (LENGTH_BITS * (widest - lowest + 1)) as u64;
            if best.is_none_or(|best| bits < best.bits) {
                best = Some(Estimate { lowest, bits });
            }
        }
        best
    }

    /// Makes the code of an estimate.
    pub(super) fn code(&self, estimate: Estimate) -> Code {
        let mut counts = self.counts;
        let (below, rest) = counts.split_at_mut(estimate.lowest);
        rest[0] += below.iter().sum::<u32>();
        below.fill(0);
        let lengths = lengths(&counts);
        let bits: usize = (0..CLASSES_MAX)
            .map(|class| {
                let raw = raw_width(class, estimate.lowest);
                counts[class] as usize * (raw + usize::from(lengths[class]))
            })
            .sum();
        let widest = lengths.iter().rposition(|&length| length > 0).unwrap_or(0);
        let head_bits = LOWEST_BITS + LENGTH_BITS * (widest - estimate.lowest + 1);
        Code {
            lowest: estimate.lowest,
            widest,
            lengths,
            len: (head_bits + bits).div_ceil(8),
        }
    }
}

/// The class from which on numbers are told apart, and about how many bits it all takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Estimate {
    lowest: usize,
    pub(super) bits: u64,
}

/// How a stream is coded.
#[derive(Debug)]
pub(super) struct Code {
    lowest: usize,
    widest: usize,
    lengths: [u8; CLASSES_MAX],
    /// Bytes of everything.
    pub(super) len: usize,
}

impl Code {
    /// Appends the code and the numbers.
    pub(super) fn write(&self, numbers: &[u64], out: &mut Vec<u8>) {
        let codes = codes(&self.lengths);
        let mut bits = BitWriter::new(out);
        bits.put(self.lowest as u64, LOWEST_BITS);
        for &length in &self.lengths[self.lowest..=self.widest] {
            bits.put(u64::from(length), LENGTH_BITS);
        }
        for block in numbers.chunks(BLOCK_LEN) {
            for &number in block {
                let class = self.class(number);
                bits.put(u64::from(codes[class]), self.lengths[class].into());
            }
            for &number in block {
                let width = raw_width(self.class(number), self.lowest);
                bits.put(number & !(u64::MAX << width), width);
            }
        }
        bits.finish();
    }

    fn class(&self, number: u64) -> usize {
        (64 - number.leading_zeros() as usize).max(self.lowest)
    }
}

/// Bits of a number that its class does not tell: all but the highest, which is set, unless narrower ones are in the class.
fn raw_width(class: usize, lowest: usize) -> usize {
    if class == lowest {
        lowest
    } else {
        class.saturating_sub(1)
    }
}

/// Takes a coded stream, a block at a time.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    bit: usize,
    table: [Entry; TABLE_LEN],
    is_wide: bool,
}

/// What the next bits begin with.
#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    /// Bits of the code.
    length: u8,
    /// Bits of the number that follow elsewhere, and [`HAS_TOP`] if a set bit is above them.
    shape: u8,
}

impl<'a> Reader<'a> {
    /// Reads the code from what `reader` has left.
    pub(super) fn open(reader: &ByteReader<'a>) -> Result<Self, Malformed> {
        let bytes = reader.clone().rest();
        let lowest = (bits_at(bytes, 0) & !(u64::MAX << LOWEST_BITS)) as usize;
        let mut bit = LOWEST_BITS;
        let mut lengths = [0; CLASSES_MAX];
        // A code is complete: the shares of all entries that its lengths stand for add up to the whole table.
        let mut entries = 0;
        for length in &mut lengths[lowest..] {
            *length = (bits_at(bytes, bit) & !(u64::MAX << LENGTH_BITS)) as u8;
            bit += LENGTH_BITS;
            if *length > 0 {
                entries += TABLE_LEN >> *length;
            }
            if entries >= TABLE_LEN {
                break;
            }
        }
        if entries != TABLE_LEN || bit > bytes.len() * 8 {
            return Err(reader.malformed("lengths of codes do not make a code"));
        }

        let codes = codes(&lengths);
        let mut table = [Entry::default(); TABLE_LEN];
        let mut is_wide = false;
        for (class, &length) in lengths
            .iter()
            .enumerate()
            .filter(|&(_, &length)| length > 0)
        {
            let width = raw_width(class, lowest);
            is_wide |= width > WORD_BITS;
            let top = if class == lowest { 0 } else { HAS_TOP };
            let entry = Entry {
                length,
                shape: width as u8 | top,
            };
            for place in table
                .iter_mut()
                .skip(codes[class].into())
                .step_by(1 << length)
            {
                *place = entry;
            }
        }
        Ok(Self {
            bytes,
            bit,
            table,
            is_wide,
        })
    }

    /// Fills `numbers`, at most [`BLOCK_LEN`], with the next block of that many. Behind the end it reads zeros, which
    /// [`finish`](Self::finish) notices.
    #[inline]
    pub(super) fn read(&mut self, numbers: &mut [u64]) {
        let mut shapes = [0; BLOCK_LEN];
        let shapes = &mut shapes[..numbers.len()];
        for group in shapes.chunks_mut(WORD_BITS / LENGTH_MAX) {
            let mut word = bits_at(self.bytes, self.bit);
            for shape in group {
                let entry = self.table[word as usize % TABLE_LEN];
                *shape = entry.shape;
                word >>= entry.length;
                self.bit += usize::from(entry.length);
            }
        }
        if self.is_wide {
            self.read_raw(shapes, numbers, wide_bits_at);
        } else {
            self.read_raw(shapes, numbers, bits_at);
        }
    }

    #[inline(always)]
    fn read_raw(&mut self, shapes: &[u8], numbers: &mut [u64], at: impl Fn(&[u8], usize) -> u64) {
        for (number, &shape) in numbers.iter_mut().zip(shapes) {
            let width = shape & !HAS_TOP;
            let raw = at(self.bytes, self.bit) & !(u64::MAX << width);
            *number = raw | u64::from(shape >> HAS_TOP.trailing_zeros()) << width;
            self.bit += usize::from(width);
        }
    }

    /// Takes the bytes that were read from `reader`.
    pub(super) fn finish(self, reader: &mut ByteReader<'_>) -> Result<(), Malformed> {
        let last = reader.bytes(self.bit.div_ceil(8))?.last();
        let used = self.bit % 8;
        if used != 0 && last.is_some_and(|last| last >> used != 0) {
            return Err(reader.malformed("padding is not zero"));
        }
        Ok(())
    }
}

/// Returns at least [`WORD_BITS`] bits from bit `bit` on, zeros behind the end.
#[inline(always)]
fn bits_at(bytes: &[u8], bit: usize) -> u64 {
    let word = match bytes.get(bit / 8..).and_then(|rest| rest.first_chunk()) {
        Some(word) => u64::from_le_bytes(*word),
        None => last_word(bytes, bit / 8),
    };
    word >> (bit % 8)
}

#[inline(always)]
fn wide_bits_at(bytes: &[u8], bit: usize) -> u64 {
    bits_at(bytes, bit) & !(u64::MAX << 32) | bits_at(bytes, bit + 32) << 32
}

#[cold]
fn last_word(bytes: &[u8], start: usize) -> u64 {
    let mut word = [0; 8];
    for (to, &from) in word.iter_mut().zip(bytes.get(start..).unwrap_or_default()) {
        *to = from;
    }
    u64::from_le_bytes(word)
}

/// Appends numbers of few bits, from the least significant bit on.
struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    word: u64,
    used: usize,
}

impl<'a> BitWriter<'a> {
    fn new(out: &'a mut Vec<u8>) -> Self {
        Self {
            out,
            word: 0,
            used: 0,
        }
    }

    /// Appends the `width` bits of `number`, fewer than 64 and none above them set.
    #[inline(always)]
    fn put(&mut self, number: u64, width: usize) {
        self.word |= number << self.used;
        self.used += width;
        if self.used >= 64 {
            self.out.extend_from_slice(&self.word.to_le_bytes());
            self.used -= 64;
            // Of fewer than 64 bits, at least one was written: the shift is at least 1 and, `width` being what it is,
            // at most 63.
            self.word = if self.used == 0 {
                0
            } else {
                number >> (width - self.used)
            };
        }
    }

    fn finish(self) {
        let len = self.used.div_ceil(8);
        self.out.extend_from_slice(&self.word.to_le_bytes()[..len]);
    }
}

/// Returns `count` * log2(`count`) with [`FRACTION_BITS`] bits behind the point, within a hundredth of a bit per number.
fn information(count: u32) -> u64 {
    let Some(whole) = count.checked_ilog2() else {
        return 0;
    };
    // Between two powers of two the logarithm is a line and, above it, nearly a parabola.
    let one = 1u64 << FRACTION_BITS;
    let line = (u64::from(count) << FRACTION_BITS >> whole) - one;
    let curve = ((line * (one - line)) >> FRACTION_BITS) * 11 / 32;
    u64::from(count) * ((u64::from(whole) << FRACTION_BITS) + line + curve)
}

const FRACTION_BITS: u32 = 12;

/// Bits of a word that are left when it is read at any bit.
const WORD_BITS: usize = 57;

/// Bits of the lowest class.
const LOWEST_BITS: usize = 6;

/// Bits of the length of a code.
const LENGTH_BITS: usize = 3;

/// The number has a set bit above those that follow.
const HAS_TOP: u8 = 0x40;
