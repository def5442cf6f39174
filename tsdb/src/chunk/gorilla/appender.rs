//! Streaming: one sample at a time to the end of a chunk.

use crate::encoding::{Malformed, put_uvarint, put_varint};
use crate::sample::Sample;
use crate::time::Timestamp;

use super::bits::BitWriter;
use super::reader::{Reader, Window};

/// Most samples of one chunk: the count has 16 bits.
pub const SAMPLES_MAX: usize = u16::MAX as usize;

/// A chunk that is being written. Its bytes are complete after every sample.
#[derive(Debug, Clone)]
pub struct Appender {
    stream: BitWriter,
    window: Option<Window>,
    timestamp: Timestamp,
    delta: u64,
    value_bits: u64,
}

// One per series in memory.
const _: () = assert!(size_of::<Appender>() <= 64);

impl Appender {
    /// Returns an empty chunk.
    pub fn new() -> Self {
        let mut bytes = Vec::with_capacity(FIRST_CAPACITY);
        bytes.extend_from_slice(&[0; COUNT_BYTES]);
        Self {
            stream: BitWriter { bytes, free: 0 },
            window: None,
            timestamp: 0,
            delta: 0,
            value_bits: 0,
        }
    }

    /// Reads a chunk to its end to go on appending to it, as if it had never been put aside.
    pub fn resume(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes)?;
        while reader.advance()?.is_some() {}
        let len_bits = reader.finish()?;
        // What is kept of the last byte is known to be followed by zeros: `finish` has looked.
        let len = len_bits.div_ceil(8);
        let mut kept = Vec::with_capacity(len.max(FIRST_CAPACITY));
        kept.extend_from_slice(&bytes[..len]);
        Ok(Self {
            stream: BitWriter {
                bytes: kept,
                free: (len * 8 - len_bits) as u8,
            },
            window: reader.window,
            timestamp: reader.timestamp,
            delta: reader.delta,
            value_bits: reader.value_bits,
        })
    }

    /// Appends a sample. Any time and any bit pattern come back as they are; times that follow each other at equal
    /// distances and values that repeat cost one bit each.
    ///
    /// # Panics
    ///
    /// If the chunk holds [`SAMPLES_MAX`] samples: a count that wraps would lose them all.
    pub fn push(&mut self, timestamp: Timestamp, value: f64) {
        let count = self.count();
        assert!(
            count < SAMPLES_MAX,
            "a Gorilla chunk holds no more than {SAMPLES_MAX} samples"
        );
        let value_bits = value.to_bits();
        let delta = timestamp.wrapping_sub(self.timestamp) as u64;
        match count {
            // `FIRST_CAPACITY` has room for these, so that nothing grows here.
            0 => {
                put_varint(&mut self.stream.bytes, timestamp);
                self.stream
                    .bytes
                    .extend_from_slice(&value_bits.to_be_bytes());
            }
            1 => {
                put_uvarint(&mut self.stream.bytes, delta);
                self.put_behind((0, 0), value_bits);
                self.delta = delta;
            }
            _ => {
                let head = self.time_bits(delta.wrapping_sub(self.delta) as i64);
                self.put_behind(head, value_bits);
                self.delta = delta;
            }
        }
        self.timestamp = timestamp;
        self.value_bits = value_bits;
        self.stream.bytes[..COUNT_BYTES].copy_from_slice(&(count as u16 + 1).to_be_bytes());
    }

    /// Returns the bits of a difference of two distances and their number, up to 24; longer ones are written at once.
    /// The ranges reach one further up than down: see the format.
    #[inline]
    fn time_bits(&mut self, dod: i64) -> (u64, u32) {
        let low = |count: u32| dod as u64 & ((1 << count) - 1);
        match dod {
            0 => (0, 1),
            -8_191..=8_192 => (0b10 << 14 | low(14), 16),
            -65_535..=65_536 => (0b110 << 17 | low(17), 20),
            -524_287..=524_288 => (0b1110 << 20 | low(20), 24),
            _ => {
                self.stream.put(0b1111, 4);
                self.stream.put(dod as u64, 64);
                (0, 0)
            }
        }
    }

    /// Writes a value behind `head`, bits and their number, which are not written yet.
    #[inline]
    fn put_behind(&mut self, head: (u64, u32), value_bits: u64) {
        let (bits, count) = head;
        let xor = value_bits ^ self.value_bits;
        if xor == 0 {
            self.stream.put(bits << 1, count + 1);
            return;
        }
        let leading = xor.leading_zeros().min(31) as u8;
        let trailing = xor.trailing_zeros() as u8;
        match self.window {
            Some(window) if leading >= window.leading && trailing >= window.trailing => {
                self.stream.put(bits << 2 | 0b10, count + 2);
                self.stream.put(xor >> window.trailing, window.width());
            }
            _ => {
                let window = Window { leading, trailing };
                let width = window.width();
                let control = 0b11 << 11 | u64::from(leading) << 6 | u64::from(width) & 63;
                self.stream.put(bits << 13 | control, count + 13);
                self.stream.put(xor >> trailing, width);
                self.window = Some(window);
            }
        }
    }

    /// Returns the number of samples.
    pub fn count(&self) -> usize {
        match self.stream.bytes.first_chunk() {
            Some(count) => usize::from(u16::from_be_bytes(*count)),
            None => 0,
        }
    }

    /// Returns the chunk as it is now.
    pub fn bytes(&self) -> &[u8] {
        &self.stream.bytes
    }

    /// Returns the newest sample.
    pub fn last(&self) -> Option<Sample> {
        (self.count() > 0).then(|| Sample {
            timestamp: self.timestamp,
            value: f64::from_bits(self.value_bits),
        })
    }

    /// Returns how much memory the chunk holds on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.stream.bytes.capacity()
    }

    /// Closes the chunk and returns its bytes without slack.
    pub fn finish(self) -> Box<[u8]> {
        self.stream.bytes.into_boxed_slice()
    }
}

impl Default for Appender {
    fn default() -> Self {
        Self::new()
    }
}

pub(super) const COUNT_BYTES: usize = 2;

/// Room for what is written in whole bytes, 2 + 10 + 8 + 10, and a few samples that do not change.
const FIRST_CAPACITY: usize = 32;
