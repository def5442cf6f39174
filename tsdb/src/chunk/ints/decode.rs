//! Reading a stream of integers, a block at a time.

use crate::encoding::{ByteReader, Malformed, unzigzag};

use super::{BLOCK_LEN, CODED, Kind, SHIFTED, block, classes};

/// Takes a stream of `count` numbers and hands them to `sink` in order, up to [`BLOCK_LEN`] at a time, to do with
/// as it likes.
#[inline]
pub(crate) fn decode(
    reader: &mut ByteReader<'_>,
    count: usize,
    mut sink: impl FnMut(&mut [i64]),
) -> Result<(), Malformed> {
    let head = reader.u8()?;
    let Some(kind) = Kind::from_byte(head & !(SHIFTED | CODED)) else {
        return Err(reader.malformed("unknown kind of integers"));
    };
    if kind == Kind::Constant {
        if head & (SHIFTED | CODED) != 0 {
            return Err(reader.malformed("constant integers are neither shifted nor coded"));
        }
        let number = reader.varint()?;
        let mut numbers = [0; BLOCK_LEN];
        return blocks(count, |len| {
            numbers[..len].fill(number);
            sink(&mut numbers[..len]);
            Ok(())
        });
    }
    let shift = match head & SHIFTED {
        0 => 0,
        _ => u32::from(reader.u8()?),
    };
    if shift > 63 || (head & SHIFTED != 0 && shift == 0) {
        return Err(reader.malformed("illegal shift"));
    }
    let mut left = count;
    let mut first = 0;
    if kind.has_first() {
        let Some(behind) = count.checked_sub(1) else {
            return Err(reader.malformed("integers without a number"));
        };
        left = behind;
        first = reader.varint()?;
        sink(&mut [first]);
    }
    let terms = Terms {
        kind,
        shift,
        first,
        base: reader.varint()?,
    };
    if head & CODED == 0 {
        terms.restore(left, |stored| block::read(reader, stored), sink)
    } else {
        let mut coded = classes::Reader::open(reader)?;
        terms.restore(
            left,
            |stored| {
                coded.read(stored);
                Ok(())
            },
            sink,
        )?;
        coded.finish(reader)
    }
}

/// What makes numbers of what is stored.
struct Terms {
    kind: Kind,
    shift: u32,
    first: i64,
    base: i64,
}

impl Terms {
    #[inline(always)]
    fn restore(
        self,
        count: usize,
        read: impl FnMut(&mut [u64]) -> Result<(), Malformed>,
        sink: impl FnMut(&mut [i64]),
    ) -> Result<(), Malformed> {
        let Self {
            kind,
            shift,
            first,
            base,
        } = self;
        let mut number = first;
        match kind {
            Kind::Constant => Ok(()),
            Kind::Level => each(count, read, sink, |stored| {
                base.wrapping_add(unzigzag(stored) << shift)
            }),
            Kind::LevelAboveMin => each(count, read, sink, |stored| {
                base.wrapping_add((stored << shift) as i64)
            }),
            Kind::Steps => each(count, read, sink, |stored| {
                number = number.wrapping_add(base.wrapping_add(unzigzag(stored)) << shift);
                number
            }),
            Kind::StepsAboveMin => each(count, read, sink, |stored| {
                number = number.wrapping_add(base.wrapping_add(stored as i64) << shift);
                number
            }),
            Kind::StepsOfSteps => {
                let mut step = base;
                each(count, read, sink, |stored| {
                    step = step.wrapping_add(unzigzag(stored));
                    number = number.wrapping_add(step << shift);
                    number
                })
            }
        }
    }
}

/// Reads blocks and makes a number of each that is stored.
#[inline(always)]
fn each(
    count: usize,
    mut read: impl FnMut(&mut [u64]) -> Result<(), Malformed>,
    mut sink: impl FnMut(&mut [i64]),
    mut restore: impl FnMut(u64) -> i64,
) -> Result<(), Malformed> {
    let mut stored = [0; BLOCK_LEN];
    let mut numbers = [0; BLOCK_LEN];
    blocks(count, |len| {
        read(&mut stored[..len])?;
        for (number, &stored) in numbers.iter_mut().zip(&stored[..len]) {
            *number = restore(stored);
        }
        sink(&mut numbers[..len]);
        Ok(())
    })
}

#[inline(always)]
fn blocks(
    count: usize,
    mut read: impl FnMut(usize) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    for _ in 0..count / BLOCK_LEN {
        read(BLOCK_LEN)?;
    }
    match count % BLOCK_LEN {
        0 => Ok(()),
        len => read(len),
    }
}
