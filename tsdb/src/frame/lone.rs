//! Samples that are no part of a row.

use crate::encoding::{ByteReader, Malformed, put_uvarint, unzigzag, zigzag};
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
        encoder.push(sample.id, sample.timestamp, sample.value, 0);
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

    /// Adds a sample and returns the scale it is written at: the hint for the next sample of that series. A wrong hint
    /// costs time and nothing else.
    #[inline]
    pub fn push(&mut self, id: u64, timestamp: i64, value: f64, hint: u8) -> u8 {
        let (scale, integer, next_hint) = scaled(value, hint);
        let step = timestamp.wrapping_sub(self.timestamp);
        let is_next = id == self.id.wrapping_add(1) && step == self.step;
        let (scale, number, count) = if scale == SCALE_BITS {
            (CONTROL_BITS, value.to_bits(), 8)
        } else {
            let number = zigzag(integer);
            (scale, number, (71 - number.leading_zeros()) as usize / 8)
        };
        // Of a bit pattern the count is always the same and not said.
        let control = scale << 3
            | if scale == CONTROL_BITS {
                0
            } else {
                count as u8
            };
        let id_step = id.wrapping_sub(self.id);
        let room = self.room();
        let mut at = 1;
        if is_next {
            room[0] = CONTROL_NEXT | control;
        } else {
            room[0] = control;
            at += put_place(room, id_step, step);
            self.step = step;
        }
        // A copy of constant size is one instruction, one of variable size a call.
        self.room()[at..at + 8].copy_from_slice(&number.to_le_bytes());
        self.len += at + count;
        (self.id, self.timestamp) = (id, timestamp);
        next_hint
    }

    #[inline]
    fn room(&mut self) -> &mut [u8; SAMPLE_BYTES_MAX] {
        if self.bytes.len() < self.len + SAMPLE_BYTES_MAX {
            let len = (2 * self.bytes.len()).max(self.len + SAMPLE_BYTES_MAX);
            self.bytes.resize(len, 0);
        }
        self.bytes[self.len..]
            .first_chunk_mut()
            .expect("room was made for a sample")
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
        let mut rest = number;
        while rest >= 0x80 {
            room[1 + at] = rest as u8 | 0x80;
            rest >>= 7;
            at += 1;
        }
        room[1 + at] = rest as u8;
        at += 1;
    }
    at
}

/// Returns the scale and integer of a value, and the scale to try first for the next one of its series.
#[inline]
fn scaled(value: f64, hint: u8) -> (u8, i64, u8) {
    let (integer, is_exact) = to_integer(value, hint);
    if is_exact {
        return (hint, integer, hint);
    }
    scaled_anew(value, hint)
}

#[inline(never)]
fn scaled_anew(value: f64, hint: u8) -> (u8, i64, u8) {
    if value.is_nan() {
        // A staleness marker says nothing of the values that may follow.
        return (SCALE_BITS, 0, hint);
    }
    // What was a bit pattern mostly is one again: the ends of the scales tell without trying all of them.
    let is_hopeless =
        hint == SCALE_BITS && !to_integer(value, 0).1 && !to_integer(value, SCALE_MAX).1;
    if is_hopeless {
        return (SCALE_BITS, 0, SCALE_BITS);
    }
    let (scale, integer) = fit(value);
    (scale, integer, scale)
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
