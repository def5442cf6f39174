//! Writing protobuf field by field.

use crate::encoding::{put_uvarint, write_uvarint};
use crate::sample::Sample;

/// Wire types, the low bits of a tag.
const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const BYTES: u8 = 2;

/// Returns how many bytes a number takes.
#[inline]
pub(crate) const fn varint_len(value: u64) -> usize {
    // Seven bits to a byte; 0 takes one too.
    (70 - (value | 1).leading_zeros() as usize) / 7
}

/// Returns the tag of a field whose number is below 16.
#[inline]
const fn tag(number: u8, wire_type: u8) -> u8 {
    number << 3 | wire_type
}

/// Appends the tag and the length of a message or text.
#[inline]
pub(crate) fn put_header(out: &mut Vec<u8>, number: u8, len: usize) {
    out.push(tag(number, BYTES));
    put_uvarint(out, len as u64);
}

/// Appends a text or bytes; nothing if it is empty, as the default of a field is.
#[inline]
pub(crate) fn put_bytes(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    if !bytes.is_empty() {
        put_header(out, number, bytes.len());
        out.extend_from_slice(bytes);
    }
}

/// Appends a number; nothing if it is 0. Negative ones take ten bytes.
#[inline]
pub(crate) fn put_number(out: &mut Vec<u8>, number: u8, value: i64) {
    if value != 0 {
        out.push(tag(number, VARINT));
        put_uvarint(out, value as u64);
    }
}

/// Returns the bytes of `Sample{value=1, timestamp=2}`, the same in every message that has one.
#[inline]
pub(super) fn sample_len(sample: Sample) -> usize {
    let mut len = 0;
    if sample.value.to_bits() != 0 {
        len += 9;
    }
    if sample.timestamp != 0 {
        len += 1 + varint_len(sample.timestamp as u64);
    }
    len
}

/// Returns the bytes of samples as fields, tags and lengths included.
#[inline]
pub(super) fn samples_len(samples: &[Sample]) -> usize {
    // A sample takes at most 20 bytes, so its length takes one.
    samples.iter().map(|sample| 2 + sample_len(*sample)).sum()
}

/// Appends a sample as field 2, which it is in every message. What has all bits 0 is left out, as the default of a field is.
#[inline]
pub(crate) fn put_sample(out: &mut Vec<u8>, sample: Sample) {
    // Built aside, so that memory is looked for once.
    let mut field = [0; SAMPLE_BYTES_MAX];
    let mut len = 2;
    // Negative zero is not left out, or it would come back positive.
    if sample.value.to_bits() != 0 {
        field[len] = tag(1, FIXED64);
        field[len + 1..len + 9].copy_from_slice(&sample.value.to_le_bytes());
        len += 9;
    }
    if sample.timestamp != 0 {
        field[len] = tag(2, VARINT);
        len += 1;
        len += write_uvarint(&mut field[len..], sample.timestamp as u64);
    }
    field[0] = tag(2, BYTES);
    field[1] = (len - 2) as u8;
    out.extend_from_slice(&field[..len]);
}

/// Two tags and a length, the value, the tag of the timestamp and ten bytes of it.
const SAMPLE_BYTES_MAX: usize = 2 + 9 + 11;

/// Appends `Label{name=1, value=2}` for each pair as field 1.
pub(crate) fn put_labels<'l>(
    out: &mut Vec<u8>,
    labels: impl IntoIterator<Item = (&'l str, &'l str)>,
) {
    for (name, value) in labels {
        let field = |text: &str| match text.len() {
            0 => 0,
            len => 1 + varint_len(len as u64) + len,
        };
        put_header(out, 1, field(name) + field(value));
        put_bytes(out, 1, name.as_bytes());
        put_bytes(out, 2, value.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_counted_as_they_are_written() {
        for shift in 0..64 {
            for value in [1u64 << shift, (1 << shift) - 1] {
                let mut out = Vec::new();
                put_uvarint(&mut out, value);
                assert_eq!(varint_len(value), out.len(), "{value}");
            }
        }
        for (timestamp, value) in [
            (0, 0.0),
            (0, -0.0),
            (1, 0.0),
            (-1, 1.0),
            (i64::MIN, f64::NAN),
        ] {
            let sample = Sample { timestamp, value };
            let mut out = Vec::new();
            put_sample(&mut out, sample);
            assert_eq!(samples_len(&[sample]), out.len());
            let mut plain = vec![tag(2, BYTES), sample_len(sample) as u8];
            if sample.value.to_bits() != 0 {
                plain.push(tag(1, FIXED64));
                plain.extend_from_slice(&sample.value.to_le_bytes());
            }
            put_number(&mut plain, 2, sample.timestamp);
            assert_eq!(out, plain);
        }
    }
}
