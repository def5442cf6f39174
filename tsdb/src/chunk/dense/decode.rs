//! From bytes to values.

use crate::chunk::ints;
use crate::encoding::{ByteReader, Malformed};

use super::decimal::{POWERS, restore};
use super::{
    BIT_PATTERNS, BIT_PATTERNS_WITH_EXCEPTIONS, CONSTANT_BITS, CONSTANT_INTEGER, DECIMAL,
    DECIMAL_CORRECTED, DECIMAL_EXPONENT, DECIMAL_WITH_EXCEPTIONS, exceptions,
};

/// Appends the `count` values of a chunk to `out`, which stays as it was if the chunk is damaged.
///
/// Takes memory for `count` values whatever the bytes say: the caller knows a bound for it.
pub fn decode(bytes: &[u8], count: usize, out: &mut Vec<f64>) -> Result<(), Malformed> {
    let start = out.len();
    let result = decode_into(bytes, count, out);
    if result.is_err() {
        out.truncate(start);
    }
    result
}

fn decode_into(bytes: &[u8], count: usize, out: &mut Vec<f64>) -> Result<(), Malformed> {
    let mut reader = ByteReader::new(bytes);
    if count == 0 {
        return reader.expect_end();
    }
    let start = out.len();
    let tag = reader.u8()?;
    out.reserve(count);
    match tag {
        CONSTANT_INTEGER => out.resize(start + count, reader.varint()? as f64),
        CONSTANT_BITS => out.resize(start + count, f64::from_bits(reader.u64()?)),
        BIT_PATTERNS | BIT_PATTERNS_WITH_EXCEPTIONS => {
            ints::decode(&mut reader, count, |bits| {
                out.extend(bits.iter().map(|&bits| f64::from_bits(bits as u64)));
            })?;
            if tag == BIT_PATTERNS_WITH_EXCEPTIONS {
                exceptions::read(&mut reader, &mut out[start..])?;
            }
        }
        _ if tag & !(DECIMAL_EXPONENT | DECIMAL_CORRECTED | DECIMAL_WITH_EXCEPTIONS) == DECIMAL => {
            decode_decimal(&mut reader, tag, count, out)?;
        }
        _ => return Err(reader.malformed("unknown tag of a dense chunk")),
    }
    reader.expect_end()
}

fn decode_decimal(
    reader: &mut ByteReader<'_>,
    tag: u8,
    count: usize,
    out: &mut Vec<f64>,
) -> Result<(), Malformed> {
    let start = out.len();
    let exponent = usize::from(tag & DECIMAL_EXPONENT);
    if exponent == 0 {
        // A division by one is exact, and one of the slower instructions.
        ints::decode(reader, count, |integers| {
            out.extend(integers.iter().map(|&integer| integer as f64));
        })?;
    } else {
        let power = POWERS[exponent];
        ints::decode(reader, count, |mantissas| {
            out.extend(mantissas.iter().map(|&mantissa| restore(mantissa, power)));
        })?;
    }
    if tag & DECIMAL_CORRECTED != 0 {
        let mut left = &mut out[start..];
        ints::decode(reader, count, |corrections| {
            let (values, rest) = std::mem::take(&mut left).split_at_mut(corrections.len());
            for (value, &correction) in values.iter_mut().zip(corrections) {
                *value = f64::from_bits(value.to_bits().wrapping_add_signed(correction));
            }
            left = rest;
        })?;
    }
    if tag & DECIMAL_WITH_EXCEPTIONS != 0 {
        exceptions::read(reader, &mut out[start..])?;
    }
    Ok(())
}
