//! From bytes to timestamps.

use crate::chunk::ints;
use crate::encoding::{ByteReader, Malformed};
use crate::time::Timestamp;

use super::{GRID, IRREGULAR};

/// Appends the timestamps of a column to `out`, which stays as it was if the column is damaged or holds more than
/// `count_max`. They ascend strictly.
pub fn decode(bytes: &[u8], count_max: usize, out: &mut Vec<Timestamp>) -> Result<(), Malformed> {
    let start = out.len();
    let result = decode_into(bytes, count_max, out);
    if result.is_err() {
        out.truncate(start);
    }
    result
}

fn decode_into(bytes: &[u8], count_max: usize, out: &mut Vec<Timestamp>) -> Result<(), Malformed> {
    if bytes.is_empty() {
        return Ok(());
    }
    let mut reader = ByteReader::new(bytes);
    let tag = reader.u8()?;
    // A few bytes can stand for any number of timestamps: only the caller can tell how many are too many.
    let count = reader.uvarint_max(count_max, "more timestamps than expected")?;
    if count == 0 {
        return Err(reader.malformed("a column without timestamps takes no bytes"));
    }
    let start = out.len();
    out.reserve(count);
    match tag {
        GRID => decode_grid(&mut reader, count, out)?,
        IRREGULAR => ints::decode(&mut reader, count, |timestamps| {
            out.extend_from_slice(timestamps);
        })?,
        _ => return Err(reader.malformed("unknown tag of a timestamp column")),
    }
    // Readers search in times: out of order they would miss samples without a word.
    if !out[start..].is_sorted_by(|before, after| before < after) {
        return Err(reader.malformed("timestamps do not ascend"));
    }
    reader.expect_end()
}

fn decode_grid(
    reader: &mut ByteReader<'_>,
    count: usize,
    out: &mut Vec<Timestamp>,
) -> Result<(), Malformed> {
    let start = out.len();
    let mut at = reader.varint()?;
    let interval = reader.uvarint()?;
    let mut until_end = count;
    let mut fill = |len: usize, at: &mut Timestamp| {
        out.extend((0..len).map(|_| {
            let timestamp = *at;
            *at = at.wrapping_add_unsigned(interval);
            timestamp
        }));
    };
    let shifts = reader.uvarint_max(count, "more shifts than timestamps")?;
    for index in 0..shifts {
        let gap = reader.uvarint_max(until_end, "shift behind the last timestamp")?;
        // The timestamp at the last shift is the first behind the gap.
        let len = gap + usize::from(index > 0);
        if len >= until_end {
            return Err(reader.malformed("shift behind the last timestamp"));
        }
        fill(len, &mut at);
        until_end -= len;
        at = at.wrapping_add(reader.varint()?);
    }
    fill(until_end, &mut at);

    let mut left = &mut out[start..];
    ints::decode(reader, count, |deviations| {
        let (timestamps, rest) = std::mem::take(&mut left).split_at_mut(deviations.len());
        for (timestamp, &deviation) in timestamps.iter_mut().zip(deviations.iter()) {
            *timestamp = timestamp.wrapping_add(deviation);
        }
        left = rest;
    })
}
