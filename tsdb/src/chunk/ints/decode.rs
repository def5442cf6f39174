//! Reading a stream of integers, a block at a time.

use crate::encoding::{ByteReader, Malformed, unzigzag};

use super::{BLOCK_LEN, Kind, SHIFTED, block};

/// Takes a stream of `count` numbers and hands them to `sink` in order, up to [`BLOCK_LEN`] at a time.
#[inline]
pub(crate) fn decode(
    reader: &mut ByteReader<'_>,
    count: usize,
    mut sink: impl FnMut(&[i64]),
) -> Result<(), Malformed> {
    let head = reader.u8()?;
    let Some(kind) = Kind::from_byte(head & !SHIFTED) else {
        return Err(reader.malformed("unknown kind of integers"));
    };
    let shift = match head & SHIFTED {
        0 => 0,
        _ => u32::from(reader.u8()?),
    };
    if shift > 63 || (head & SHIFTED != 0 && (shift == 0 || !kind.can_be_shifted())) {
        return Err(reader.malformed("illegal shift"));
    }
    match kind {
        Kind::Constant => {
            let numbers = [reader.varint()?; BLOCK_LEN];
            blocks(count, |len| {
                sink(&numbers[..len]);
                Ok(())
            })
        }
        Kind::Small => each(reader, count, unzigzag, sink),
        Kind::AboveMin => {
            let min = reader.varint()?;
            each(
                reader,
                count,
                |stored| min.wrapping_add((stored << shift) as i64),
                sink,
            )
        }
        Kind::Steps => {
            let first = reader.varint()?;
            steps(
                reader,
                count,
                first,
                |stored| unzigzag(stored) << shift,
                sink,
            )
        }
        Kind::StepsAboveMin => {
            let first = reader.varint()?;
            let min = reader.varint()?;
            steps(
                reader,
                count,
                first,
                |stored| min.wrapping_add(stored as i64) << shift,
                sink,
            )
        }
    }
}

/// Takes numbers, each of which `restore` makes of what is stored.
#[inline(always)]
fn each(
    reader: &mut ByteReader<'_>,
    count: usize,
    restore: impl Fn(u64) -> i64,
    mut sink: impl FnMut(&[i64]),
) -> Result<(), Malformed> {
    let mut stored = [0; BLOCK_LEN];
    let mut numbers = [0; BLOCK_LEN];
    blocks(count, |len| {
        block::read(reader, &mut stored[..len])?;
        for (number, &stored) in numbers.iter_mut().zip(&stored[..len]) {
            *number = restore(stored);
        }
        sink(&numbers[..len]);
        Ok(())
    })
}

/// Sums up steps, each of which `restore` makes of what is stored.
#[inline(always)]
fn steps(
    reader: &mut ByteReader<'_>,
    count: usize,
    first: i64,
    restore: impl Fn(u64) -> i64,
    mut sink: impl FnMut(&[i64]),
) -> Result<(), Malformed> {
    let Some(left) = count.checked_sub(1) else {
        return Err(reader.malformed("integers without a number"));
    };
    let mut last = first;
    sink(&[first]);
    let mut stored = [0; BLOCK_LEN];
    let mut numbers = [0; BLOCK_LEN];
    blocks(left, |len| {
        block::read(reader, &mut stored[..len])?;
        for (number, &stored) in numbers.iter_mut().zip(&stored[..len]) {
            last = last.wrapping_add(restore(stored));
            *number = last;
        }
        sink(&numbers[..len]);
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
