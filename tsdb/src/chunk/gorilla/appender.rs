//! Streaming: one sample at a time to the end of a chunk.

use crate::encoding::{Malformed, put_uvarint, put_varint};
use crate::sample::Sample;
use crate::time::Timestamp;

use super::bits::BitWriter;
use super::reader::{Reader, Window};

/// Most samples of one chunk: the count has 16 bits.
pub const SAMPLES_MAX: usize = u16::MAX as usize;

/// A chunk that is being written.
#[derive(Debug, Clone)]
pub struct Appender {
    stream: BitWriter,
    count: u16,
    window: Option<Window>,
    timestamp: Timestamp,
    delta: u64,
    value_bits: u64,
}

// One per series in memory.
const _: () = assert!(size_of::<Appender>() <= 72);

impl Appender {
    /// Returns an empty chunk, which takes no memory of its own yet.
    pub const fn new() -> Self {
        Self {
            stream: BitWriter::new(),
            count: 0,
            window: None,
            timestamp: 0,
            delta: 0,
            value_bits: 0,
        }
    }

    /// Reads a chunk to its end to go on appending to it, as if it had never been put aside.
    pub fn resume(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes)?;
        let mut count = 0;
        while reader.advance()?.is_some() {
            count += 1;
        }
        let len_bits = reader.finish()?;
        Ok(Self {
            stream: BitWriter::resume(&bytes[COUNT_BYTES..], len_bits - 8 * COUNT_BYTES),
            count,
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
    #[inline]
    pub fn push(&mut self, timestamp: Timestamp, value: f64) {
        let value_bits = value.to_bits();
        let delta = timestamp.wrapping_sub(self.timestamp) as u64;
        if self.count < 2 {
            self.push_head(timestamp, delta, value_bits);
        } else {
            assert!(
                self.count() < SAMPLES_MAX,
                "a Gorilla chunk holds no more than {SAMPLES_MAX} samples"
            );
            let head = self.time_bits(delta.wrapping_sub(self.delta) as i64);
            self.put_behind(head, value_bits);
            self.delta = delta;
        }
        self.count += 1;
        self.timestamp = timestamp;
        self.value_bits = value_bits;
    }

    /// Appends the first or the second sample, whose times are whole bytes.
    #[inline(never)]
    fn push_head(&mut self, timestamp: Timestamp, delta: u64, value_bits: u64) {
        let mut time = Vec::with_capacity(10);
        if self.count == 0 {
            put_varint(&mut time, timestamp);
            self.stream.put_bytes(&time);
            self.stream.put(value_bits, 64);
        } else {
            put_uvarint(&mut time, delta);
            self.stream.put_bytes(&time);
            self.put_behind((0, 0), value_bits);
            self.delta = delta;
        }
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
        usize::from(self.count)
    }

    /// Returns how many bytes the chunk takes as it is now.
    pub fn len(&self) -> usize {
        COUNT_BYTES + self.stream.len()
    }

    /// Tells whether the chunk has no sample.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Appends the chunk as it is now to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.count.to_be_bytes());
        self.stream.write(out);
    }

    /// Returns the newest sample.
    pub fn last(&self) -> Option<Sample> {
        (self.count > 0).then(|| Sample {
            timestamp: self.timestamp,
            value: f64::from_bits(self.value_bits),
        })
    }

    /// Returns how much memory the chunk holds on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.stream.heap_bytes()
    }

    /// Closes the chunk and returns its bytes without slack.
    pub fn finish(self) -> Box<[u8]> {
        let mut bytes = Vec::with_capacity(self.len());
        self.write(&mut bytes);
        bytes.into_boxed_slice()
    }
}

impl Default for Appender {
    fn default() -> Self {
        Self::new()
    }
}

pub(super) const COUNT_BYTES: usize = 2;
