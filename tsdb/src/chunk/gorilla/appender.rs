//! Streaming: one sample at a time to the end of a chunk.

use crate::encoding::Malformed;
use crate::sample::Sample;
use crate::time::Timestamp;

use super::encoder::Encoder;

/// A chunk that is being written, with its bytes.
#[derive(Debug, Clone, Default)]
pub struct Appender {
    encoder: Encoder,
    /// Whole words, most significant byte first.
    bytes: Vec<u8>,
}

impl Appender {
    /// Returns an empty chunk, which takes no memory of its own yet.
    pub const fn new() -> Self {
        Self {
            encoder: Encoder::new(),
            bytes: Vec::new(),
        }
    }

    /// Reads a chunk to its end to go on appending to it, as if it had never been put aside.
    pub fn resume(bytes: &[u8]) -> Result<Self, Malformed> {
        let (encoder, whole) = Encoder::resume(bytes)?;
        Ok(Self {
            encoder,
            bytes: whole.to_vec(),
        })
    }

    /// Appends a sample: see [`Encoder::push`].
    ///
    /// # Panics
    ///
    /// If the chunk holds [`SAMPLES_MAX`](super::SAMPLES_MAX) samples: a count that wraps would lose them all.
    #[inline]
    pub fn push(&mut self, timestamp: Timestamp, value: f64) {
        let bytes = &mut self.bytes;
        self.encoder.push(timestamp, value, &mut |word| {
            bytes.extend_from_slice(&word.to_be_bytes());
        });
    }

    /// Returns the number of samples.
    pub fn count(&self) -> usize {
        self.encoder.count()
    }

    /// Returns how many bytes the chunk takes as it is now.
    pub fn len(&self) -> usize {
        self.encoder.len(self.bytes.len() / size_of::<u64>())
    }

    /// Tells whether the chunk has no sample.
    pub fn is_empty(&self) -> bool {
        self.encoder.is_empty()
    }

    /// Appends the chunk as it is now to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.encoder
            .write(out, |out| out.extend_from_slice(&self.bytes));
    }

    /// Returns the newest sample.
    pub fn last(&self) -> Option<Sample> {
        self.encoder.last()
    }

    /// Closes the chunk and returns its bytes without slack.
    pub fn finish(self) -> Box<[u8]> {
        let mut bytes = Vec::with_capacity(self.len());
        self.write(&mut bytes);
        bytes.into_boxed_slice()
    }
}
