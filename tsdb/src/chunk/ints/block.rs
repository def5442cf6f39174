//! Up to [`BLOCK_LEN`] numbers with one width, and exceptions that are wider.

use crate::encoding::{ByteReader, Malformed};

use super::BLOCK_LEN;
use super::pack::{pack, packed_len, unpack};

/// How many of the numbers of a block have each width.
#[derive(Debug, Clone)]
pub(super) struct Widths {
    counts: [u8; 65],
    count: usize,
}

impl Widths {
    /// How many numbers have each width.
    pub(super) fn counts(&self) -> &[u8; 65] {
        &self.counts
    }

    /// Counts the widths of a block.
    pub(super) fn of(numbers: &[u64]) -> Self {
        let any = numbers.iter().fold(0, |any, number| any | number);
        let (counts, others) = if width(any) < u64::BITS {
            count(numbers, narrow_width)
        } else {
            count(numbers, width)
        };
        let counts = std::array::from_fn(|width| counts[width] + others[width]);
        Self {
            counts,
            count: numbers.len(),
        }
    }

    /// Finds the cheapest layout: narrower than the widest number if the exceptions cost less than they save.
    pub(super) fn layout(&self) -> Layout {
        let Some(widest) = self.counts.iter().rposition(|&count| count > 0) else {
            return Layout::default();
        };
        let widest = widest as u32;
        let mut best = Layout {
            width: widest,
            high_width: 0,
            exceptions: 0,
            len: 1 + packed_len(self.count, widest),
        };
        let mut exceptions = 0;
        for width in (0..widest).rev() {
            let wider = usize::from(self.counts[width as usize + 1]);
            exceptions += wider;
            // Between two widths that occur the narrower is never worse.
            if self.counts[width as usize] == 0 && width > 0 {
                continue;
            }
            let high_width = widest - width;
            let len = 1
                + packed_len(self.count, width)
                + 2
                + exceptions
                + packed_len(exceptions, high_width);
            if len < best.len {
                best = Layout {
                    width,
                    high_width,
                    exceptions,
                    len,
                };
            }
        }
        best
    }
}

/// Returns the bits of a number from its highest set one on.
#[inline(always)]
fn width(number: u64) -> u32 {
    u64::BITS - number.leading_zeros()
}

/// The same of a number below 2^63: with a bit that is always set, zero is no case of its own, which it is on machines
/// whose instruction leaves it undefined.
#[inline(always)]
pub(super) fn narrow_width(number: u64) -> u32 {
    (number << 1 | 1).ilog2()
}

/// Counts the numbers of each width, in two parts: adding to a counter that was just written waits for it.
#[inline(always)]
fn count(numbers: &[u64], width: impl Fn(u64) -> u32) -> ([u8; 128], [u8; 128]) {
    // As many counters as need no check of their place.
    let mut counts = ([0u8; 128], [0u8; 128]);
    let (pairs, last) = numbers.as_chunks::<2>();
    for &[one, other] in pairs {
        counts.0[width(one) as usize % 128] += 1;
        counts.1[width(other) as usize % 128] += 1;
    }
    for &number in last {
        counts.0[width(number) as usize % 128] += 1;
    }
    counts
}

/// How a block is written.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Layout {
    width: u32,
    high_width: u32,
    exceptions: usize,
    /// Bytes of the whole block.
    pub(super) len: usize,
}

/// Appends a block.
pub(super) fn write(numbers: &[u64], layout: Layout, out: &mut Vec<u8>) {
    let Layout {
        width,
        high_width,
        exceptions,
        ..
    } = layout;
    if exceptions == 0 {
        out.push(width as u8);
        pack(numbers, width, out);
        return;
    }
    out.extend_from_slice(&[
        width as u8 | HAS_EXCEPTIONS,
        exceptions as u8,
        high_width as u8,
    ]);
    pack(numbers, width, out);
    let mut highs = [0; BLOCK_LEN];
    let mut found = 0;
    for (position, number) in numbers.iter().enumerate() {
        // At least one bit is left for the high part, so the shift is below 64.
        let high = number >> width;
        if high != 0 {
            out.push(position as u8);
            highs[found] = high;
            found += 1;
        }
    }
    pack(&highs[..found], high_width, out);
}

/// Fills `numbers` with a block of that many.
#[inline]
pub(super) fn read(reader: &mut ByteReader<'_>, numbers: &mut [u64]) -> Result<(), Malformed> {
    let head = reader.u8()?;
    let width = u32::from(head & !HAS_EXCEPTIONS);
    if width > 64 {
        return Err(reader.malformed("width exceeds 64 bits"));
    }
    if head & HAS_EXCEPTIONS != 0 {
        return read_with_exceptions(reader, width, numbers);
    }
    read_packed(reader, width, numbers)
}

#[inline]
fn read_packed(
    reader: &mut ByteReader<'_>,
    width: u32,
    numbers: &mut [u64],
) -> Result<(), Malformed> {
    let rest = reader.clone().rest();
    let len = packed_len(numbers.len(), width);
    let packed = reader.bytes(len)?;
    // Bits that nobody looks at could be flipped without notice.
    let used = numbers.len() * width as usize % 8;
    if used != 0 && packed.last().is_some_and(|last| last >> used != 0) {
        return Err(reader.malformed("padding is not zero"));
    }
    unpack(rest, width, numbers);
    Ok(())
}

#[inline(never)]
fn read_with_exceptions(
    reader: &mut ByteReader<'_>,
    width: u32,
    numbers: &mut [u64],
) -> Result<(), Malformed> {
    let count = usize::from(reader.u8()?);
    let high_width = u32::from(reader.u8()?);
    if count == 0 || count > numbers.len() || high_width == 0 || width + high_width > 64 {
        return Err(reader.malformed("exceptions of a block do not fit it"));
    }
    read_packed(reader, width, numbers)?;
    let positions = reader.bytes(count)?;
    let mut highs = [0; BLOCK_LEN];
    let highs = &mut highs[..count];
    read_packed(reader, high_width, highs)?;
    let mut next = 0;
    for (&position, &high) in positions.iter().zip(highs.iter()) {
        let position = usize::from(position);
        match numbers.get_mut(position) {
            // Ascending positions: the same one twice would mix two numbers.
            Some(number) if position >= next => *number |= high << width,
            _ => return Err(reader.malformed("position of an exception is out of order")),
        }
        next = position + 1;
    }
    Ok(())
}

const HAS_EXCEPTIONS: u8 = 0x80;
