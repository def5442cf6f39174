//! Samples that are no part of a row.

use crate::encoding::{ByteReader, Malformed, put_varint};
use crate::row::{SCALE_BITS, fit, is_valid_scale, to_value};

use super::{TAG_LONE, put_section};

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
    put_section(out, TAG_LONE, |out| {
        let mut id = 0u64;
        let mut timestamp = samples.first().map_or(0, |sample| sample.timestamp);
        out.extend_from_slice(&timestamp.to_le_bytes());
        for sample in samples {
            put_varint(out, sample.id.wrapping_sub(id) as i64);
            put_varint(out, sample.timestamp.wrapping_sub(timestamp));
            let (scale, integer) = fit(sample.value);
            out.push(scale);
            if scale == SCALE_BITS {
                out.extend_from_slice(&sample.value.to_bits().to_le_bytes());
            } else {
                put_varint(out, integer);
            }
            id = sample.id;
            timestamp = sample.timestamp;
        }
    });
}

/// Walks the samples of a section.
#[derive(Debug)]
pub struct LoneReader<'a> {
    reader: ByteReader<'a>,
    id: u64,
    timestamp: i64,
}

impl<'a> LoneReader<'a> {
    pub(super) fn new(mut reader: ByteReader<'a>) -> Result<Self, Malformed> {
        let timestamp = reader.i64()?;
        Ok(Self {
            reader,
            id: 0,
            timestamp,
        })
    }

    /// Returns the next sample.
    pub fn next(&mut self) -> Result<Option<LoneSample>, Malformed> {
        if self.reader.is_empty() {
            return Ok(None);
        }
        self.id = self.id.wrapping_add(self.reader.varint()? as u64);
        self.timestamp = self.timestamp.wrapping_add(self.reader.varint()?);
        let scale = self.reader.u8()?;
        if !is_valid_scale(scale) {
            return Err(self.reader.malformed("unknown scale"));
        }
        let value = if scale == SCALE_BITS {
            f64::from_bits(self.reader.u64()?)
        } else {
            to_value(self.reader.varint()?, scale)
        };
        Ok(Some(LoneSample {
            id: self.id,
            timestamp: self.timestamp,
            value,
        }))
    }
}
