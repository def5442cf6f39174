//! Samples that are no part of a row.

use crate::encoding::{ByteReader, Malformed, put_uvarint, unzigzag, write_uvarint, zigzag};
use crate::row::{SCALE_BITS, SCALE_MAX, fit, is_valid_scale, to_integer, to_value};

use super::TAG_LONE;

/// Set where the id is the one before plus one, and the timestamp goes on by the step before.
const CONTROL_NEXT: u8 = 0x80;

/// What stands for [`SCALE_BITS`] in four bits.
const CONTROL_BITS: u8 = 15;

/// One sample of one series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoneSample {
    /// The series.
    pub id: u64,
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// Its value.
    pub value: f64,
}

/// Appends a section of lone samples.
pub fn put_lone(out: &mut Vec<u8>, samples: &[LoneSample]) {
    let mut encoder = LoneEncoder::default();
    for sample in samples {
        encoder.push(sample.id, sample.timestamp, sample.value, &mut 0);
    }
    encoder.put(out);
}

/// Encodes a section of lone samples; the memory is used again.
#[derive(Debug, Default)]
pub struct LoneEncoder {
    /// The payload, and behind it room that is written to without asking whether it is there.
    bytes: Vec<u8>,
    len: usize,
    id: u64,
    timestamp: i64,
    step: i64,
}

/// Most bytes of a sample, rounded up: control, two numbers of ten bytes, value.
const SAMPLE_BYTES_MAX: usize = 32;

impl LoneEncoder {
    /// Begins a new section.
    pub fn clear(&mut self) {
        (self.len, self.id, self.timestamp, self.step) = (0, 0, 0, 0);
    }

    /// Adds a sample: id, timestamp, value, and the scale to try first, which becomes the one to try for the next sample
    /// of that series. A wrong one costs time and nothing else.
    pub fn push(&mut self, id: u64, timestamp: i64, value: f64, hint: &mut u8) {
        self.extend(std::iter::once((id, timestamp, value, hint)));
    }

    /// Adds samples, each like [`LoneEncoder::push`].
    #[inline]
    pub fn extend<'a>(
        &mut self,
        samples: impl ExactSizeIterator<Item = (u64, i64, f64, &'a mut u8)>,
    ) {
        let len_max = self.len + samples.len() * SAMPLE_BYTES_MAX;
        if self.bytes.len() < len_max {
            self.bytes.resize(len_max.next_power_of_two(), 0);
        }
        // Where they are known to be nobody else's they stay in registers.
        let (mut len, mut last_id, mut last_time, mut last_step) =
            (self.len, self.id, self.timestamp, self.step);
        for (id, timestamp, value, hint) in samples {
            let (scale, number) = scaled(value, hint);
            let (control, count) = if scale == SCALE_BITS {
                // The count is always the same and not said.
                (CONTROL_BITS << 3, 8)
            } else {
                let count = (71 - number.leading_zeros()) as usize / 8;
                (scale << 3 | count as u8, count)
            };
            let step = timestamp.wrapping_sub(last_time);
            let id_step = id.wrapping_sub(last_id);
            let room: &mut [u8; SAMPLE_BYTES_MAX] = self.bytes[len..]
                .first_chunk_mut()
                .expect("room was made for all samples");
            // A copy of constant size is one instruction, one of variable size a call.
            if id_step == 1 && step == last_step {
                room[0] = CONTROL_NEXT | control;
                room[1..9].copy_from_slice(&number.to_le_bytes());
                len += 1 + count;
            } else {
                room[0] = control;
                let at = 1 + put_place(room, id_step, step);
                room[at..at + 8].copy_from_slice(&number.to_le_bytes());
                len += at + count;
                last_step = step;
            }
            (last_id, last_time) = (id, timestamp);
        }
        (self.len, self.id, self.timestamp, self.step) = (len, last_id, last_time, last_step);
    }

    /// Appends the section to a frame.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.push(TAG_LONE);
        put_uvarint(out, self.len as u64);
        out.extend_from_slice(&self.bytes[..self.len]);
    }
}

/// Writes the steps to the next id and timestamp behind the control byte, and returns how many bytes they take.
fn put_place(room: &mut [u8; SAMPLE_BYTES_MAX], id_step: u64, step: i64) -> usize {
    let mut at = 0;
    for number in [zigzag(id_step as i64), zigzag(step)] {
        at += write_uvarint(&mut room[1 + at..], number);
    }
    at
}

/// Returns the scale of a value and the number that stands for it; `hint` is the scale to try first.
#[inline]
fn scaled(value: f64, hint: &mut u8) -> (u8, u64) {
    let (integer, is_exact) = to_integer(value, *hint);
    if is_exact {
        return (*hint, zigzag(integer));
    }
    let (scale, number, next_hint) = scaled_anew(value, *hint);
    *hint = next_hint;
    (scale, number)
}

#[inline(never)]
fn scaled_anew(value: f64, hint: u8) -> (u8, u64, u8) {
    if value.is_nan() {
        // A staleness marker says nothing of the values that may follow.
        return (SCALE_BITS, value.to_bits(), hint);
    }
    // What was a bit pattern mostly is one again: the ends of the scales tell without trying all of them.
    let is_hopeless =
        hint == SCALE_BITS && !to_integer(value, 0).1 && !to_integer(value, SCALE_MAX).1;
    if is_hopeless {
        return (SCALE_BITS, value.to_bits(), SCALE_BITS);
    }
    let (scale, integer) = fit(value);
    if scale == SCALE_BITS {
        return (scale, value.to_bits(), scale);
    }
    (scale, zigzag(integer), scale)
}

/// Walks the samples of a section.
#[derive(Debug)]
pub struct LoneReader<'a> {
    reader: ByteReader<'a>,
    id: u64,
    timestamp: i64,
    step: i64,
}

impl<'a> LoneReader<'a> {
    pub(super) fn new(reader: ByteReader<'a>) -> Self {
        Self {
            reader,
            id: 0,
            timestamp: 0,
            step: 0,
        }
    }

    /// Returns the next sample.
    pub fn next(&mut self) -> Result<Option<LoneSample>, Malformed> {
        if self.reader.is_empty() {
            return Ok(None);
        }
        let control = self.reader.u8()?;
        if control & CONTROL_NEXT != 0 {
            self.id = self.id.wrapping_add(1);
        } else {
            self.id = self.id.wrapping_add(self.reader.varint()? as u64);
            self.step = self.reader.varint()?;
        }
        self.timestamp = self.timestamp.wrapping_add(self.step);
        let (scale, count) = (control >> 3 & 15, usize::from(control & 7));
        let value = match scale {
            CONTROL_BITS if count == 0 => f64::from_bits(self.reader.u64()?),
            _ if is_valid_scale(scale) => {
                let mut number = [0; 8];
                number[..count].copy_from_slice(self.reader.bytes(count)?);
                to_value(unzigzag(u64::from_le_bytes(number)), scale)
            }
            _ => return Err(self.reader.malformed("unknown scale")),
        };
        Ok(Some(LoneSample {
            id: self.id,
            timestamp: self.timestamp,
            value,
        }))
    }
}
