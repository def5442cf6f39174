//! Values that the integers of a chunk do not stand for.

use crate::encoding::{ByteReader, Malformed, put_uvarint};
use crate::sample::STALE_BITS;

/// Appends the exceptions: ascending positions, and the values there.
pub(super) fn write(positions: &[u32], values: &[f64], out: &mut Vec<u8>) {
    put_uvarint(out, positions.len() as u64);
    let mut next = 0;
    for &position in positions {
        let bits = values[position as usize].to_bits();
        let is_raw = bits != STALE_BITS;
        put_uvarint(out, u64::from(position - next) << 1 | u64::from(is_raw));
        if is_raw {
            out.extend_from_slice(&bits.to_le_bytes());
        }
        next = position + 1;
    }
}

/// Takes exceptions and puts them into `values`.
pub(super) fn read(reader: &mut ByteReader<'_>, values: &mut [f64]) -> Result<(), Malformed> {
    let count = reader.uvarint_max(values.len(), "more exceptions than values")?;
    if count == 0 {
        return Err(reader.malformed("no exceptions where some are announced"));
    }
    let mut rest = values;
    for _ in 0..count {
        let head = reader.uvarint()?;
        let bits = if head & 1 == 0 {
            STALE_BITS
        } else {
            reader.u64()?
        };
        let position = usize::try_from(head >> 1).unwrap_or(usize::MAX);
        let Some((value, behind)) = rest.get_mut(position..).and_then(<[f64]>::split_first_mut)
        else {
            return Err(reader.malformed("exception behind the last value"));
        };
        *value = f64::from_bits(bits);
        rest = behind;
    }
    Ok(())
}
