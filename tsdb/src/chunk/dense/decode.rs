//! From bytes to values.

use crate::chunk::ints;
use crate::encoding::{ByteReader, Malformed};

use super::bases::Relation;
use super::decimal::{POWERS, restore};
use super::{
    BIT_PATTERNS, BIT_PATTERNS_WITH_EXCEPTIONS, CONSTANT_BITS, CONSTANT_INTEGER, DECIMAL,
    DECIMAL_CORRECTED, DECIMAL_EXPONENT, DECIMAL_WITH_EXCEPTIONS, DIFFERENCE, exceptions,
};

/// Appends the `count` values of a chunk to `out`, which stays as it was if the chunk is damaged or a difference.
///
/// Takes memory for `count` values whatever the bytes say: the caller knows a bound for it.
pub fn decode(bytes: &[u8], count: usize, out: &mut Vec<f64>) -> Result<(), Malformed> {
    let mut reader = ByteReader::new(bytes);
    if count == 0 {
        return reader.expect_end();
    }
    let tag = reader.u8()?;
    all_or_nothing(out, |out| {
        out.reserve(count);
        match tag {
            CONSTANT_INTEGER => out.resize(out.len() + count, reader.varint()? as f64),
            CONSTANT_BITS => out.resize(out.len() + count, f64::from_bits(reader.u64()?)),
            _ => {
                let Some(form) = Form::of(tag) else {
                    return Err(reader.malformed("unknown tag of a dense chunk"));
                };
                decode_integers(&mut reader, form, count, out, |_, _| {})?;
            }
        }
        reader.expect_end()
    })
}

/// Tells whether a chunk can only be read together with another one, by [`decode_difference`].
pub fn is_difference(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|tag| tag & DIFFERENCE != 0)
}

/// Appends the `count` values of a chunk that is the difference to the chunk `base` of as many values, like [`decode`].
pub fn decode_difference(
    bytes: &[u8],
    base: &[u8],
    count: usize,
    out: &mut Vec<f64>,
) -> Result<(), Malformed> {
    let mut reader = ByteReader::new(bytes);
    let tag = reader.u8()?;
    let form = Form::of(tag & !DIFFERENCE).filter(|_| is_difference(bytes));
    let (Some(form), Some(relation)) = (form, Relation::from_byte(reader.u8()?)) else {
        return Err(reader.malformed("no difference to a chunk"));
    };
    let base = integers_of(base, count)?;
    all_or_nothing(out, |out| {
        out.reserve(count);
        decode_integers(&mut reader, form, count, out, |start, integers| {
            for (integer, &base) in integers.iter_mut().zip(&base[start..]) {
                *integer = relation.restore(*integer, base);
            }
        })?;
        reader.expect_end()
    })
}

/// Tells whether a chunk holds, however many values it has, nothing but the one that `integer` is with `exponent` digits
/// behind the point.
pub fn holds_constant(bytes: &[u8], integer: i64, exponent: u8) -> bool {
    let mut reader = ByteReader::new(bytes);
    let value = match reader.u8() {
        Ok(CONSTANT_INTEGER) => reader.varint().map(|integer| integer as f64),
        Ok(CONSTANT_BITS) => reader.u64().map(f64::from_bits),
        _ => return false,
    };
    let expected = restore(integer, POWERS[usize::from(exponent)]);
    value.is_ok_and(|value| value.to_bits() == expected.to_bits()) && reader.expect_end().is_ok()
}

/// Tells whether a chunk, no difference, holds the values that `integers` are with `exponent` digits behind the point.
pub fn holds_decimal(bytes: &[u8], integers: &[i64], exponent: u8) -> bool {
    let mut reader = ByteReader::new(bytes);
    let mut is_equal = true;
    let outcome = match reader.u8() {
        Ok(CONSTANT_INTEGER | CONSTANT_BITS) => {
            let first = integers.first();
            return first.is_some_and(|&first| {
                integers.iter().all(|&integer| integer == first)
                    && holds_constant(bytes, first, exponent)
            });
        }
        Ok(tag) if tag & !DECIMAL_EXPONENT == DECIMAL && tag & DECIMAL_EXPONENT <= exponent => {
            // Fewer digits mean the same where none of the integers has lost its last bits in a float.
            let factor = 10i64.pow(u32::from(exponent - (tag & DECIMAL_EXPONENT)));
            let mut expected = integers;
            ints::decode(&mut reader, integers.len(), |decoded| {
                let (these, rest) = expected.split_at(decoded.len());
                expected = rest;
                is_equal &= if factor == 1 {
                    these == &*decoded
                } else {
                    (these.iter().zip(&*decoded)).all(|(&integer, &decoded)| {
                        integer.unsigned_abs() < 1 << 53
                            && decoded.checked_mul(factor) == Some(integer)
                    })
                };
            })
        }
        _ => return false,
    };
    outcome.is_ok() && is_equal && reader.expect_end().is_ok()
}

/// Reads the integers of a chunk that others are the difference to. It is none itself: reading never takes a third.
fn integers_of(bytes: &[u8], count: usize) -> Result<Vec<i64>, Malformed> {
    let mut reader = ByteReader::new(bytes);
    if Form::of(reader.u8()?).is_none() {
        return Err(reader.malformed("base of a difference has no integers"));
    }
    let mut base = Vec::with_capacity(count);
    ints::decode(&mut reader, count, |integers| {
        base.extend_from_slice(integers);
    })?;
    Ok(base)
}

fn all_or_nothing(
    out: &mut Vec<f64>,
    decode: impl FnOnce(&mut Vec<f64>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    let start = out.len();
    let result = decode(out);
    if result.is_err() {
        out.truncate(start);
    }
    result
}

/// What a tag says about a chunk of integers.
#[derive(Debug, Clone, Copy)]
struct Form {
    /// `None` if the integers are bit patterns.
    exponent: Option<u8>,
    is_corrected: bool,
    has_exceptions: bool,
}

impl Form {
    fn of(tag: u8) -> Option<Self> {
        const FIELDS: u8 = DECIMAL_EXPONENT | DECIMAL_CORRECTED | DECIMAL_WITH_EXCEPTIONS;
        if tag & !FIELDS == DECIMAL {
            return Some(Self {
                exponent: Some(tag & DECIMAL_EXPONENT),
                is_corrected: tag & DECIMAL_CORRECTED != 0,
                has_exceptions: tag & DECIMAL_WITH_EXCEPTIONS != 0,
            });
        }
        matches!(tag, BIT_PATTERNS | BIT_PATTERNS_WITH_EXCEPTIONS).then_some(Self {
            exponent: None,
            is_corrected: false,
            has_exceptions: tag == BIT_PATTERNS_WITH_EXCEPTIONS,
        })
    }
}

/// Takes everything behind the tag and the relation. `adjust` changes the integers, told the position of their first.
#[inline(always)]
fn decode_integers(
    reader: &mut ByteReader<'_>,
    form: Form,
    count: usize,
    out: &mut Vec<f64>,
    mut adjust: impl FnMut(usize, &mut [i64]),
) -> Result<(), Malformed> {
    let start = out.len();
    match form.exponent {
        None => ints::decode(reader, count, |bits| {
            adjust(out.len() - start, bits);
            out.extend(bits.iter().map(|&bits| f64::from_bits(bits as u64)));
        })?,
        // A division by one is exact, and one of the slower instructions.
        Some(0) => ints::decode(reader, count, |integers| {
            adjust(out.len() - start, integers);
            out.extend(integers.iter().map(|&integer| integer as f64));
        })?,
        Some(exponent) => {
            let power = POWERS[usize::from(exponent)];
            ints::decode(reader, count, |mantissas| {
                adjust(out.len() - start, mantissas);
                out.extend(mantissas.iter().map(|&mantissa| restore(mantissa, power)));
            })?;
        }
    }
    if form.is_corrected {
        let mut left = &mut out[start..];
        ints::decode(reader, count, |corrections| {
            let (values, rest) = std::mem::take(&mut left).split_at_mut(corrections.len());
            for (value, &correction) in values.iter_mut().zip(corrections.iter()) {
                *value = f64::from_bits(value.to_bits().wrapping_add_signed(correction));
            }
            left = rest;
        })?;
    }
    if form.has_exceptions {
        exceptions::read(reader, &mut out[start..])?;
    }
    Ok(())
}
