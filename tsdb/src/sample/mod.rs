//! What a series holds: samples, and the staleness marker among their values.

use crate::time::Timestamp;

/// One value at one time.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Milliseconds since the Unix epoch.
    pub timestamp: Timestamp,
    /// Any bit pattern of an `f64`; it comes back bit for bit.
    pub value: f64,
}

impl PartialEq for Sample {
    /// Values are compared by their bits: equal NaNs are equal, `0.0` and `-0.0` are not.
    fn eq(&self, other: &Self) -> bool {
        self.timestamp == other.timestamp && self.value.to_bits() == other.value.to_bits()
    }
}

impl Eq for Sample {}

/// The bits that mark a series as gone at a time, the same as Prometheus'.
pub const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;

/// Returns the value that marks a series as gone.
pub const fn stale_marker() -> f64 {
    f64::from_bits(STALE_BITS)
}

/// Tells whether `value` is the staleness marker; other NaNs are values.
pub const fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_BITS
}

/// Samples of one series in two columns of equal length, in time order.
#[derive(Debug, Clone, Default)]
pub struct Samples {
    /// Milliseconds since the Unix epoch, strictly ascending.
    pub timestamps: Vec<Timestamp>,
    /// The value at each timestamp.
    pub values: Vec<f64>,
}

impl Samples {
    /// Returns the number of samples.
    pub fn len(&self) -> usize {
        self.timestamps.len()
    }

    /// Tells whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.timestamps.is_empty()
    }

    /// Forgets the samples and keeps the memory.
    pub fn clear(&mut self) {
        self.timestamps.clear();
        self.values.clear();
    }

    /// Adds a sample; the caller keeps the order.
    pub fn push(&mut self, timestamp: Timestamp, value: f64) {
        self.timestamps.push(timestamp);
        self.values.push(value);
    }

    /// Keeps the first `len` samples.
    pub fn truncate(&mut self, len: usize) {
        self.timestamps.truncate(len);
        self.values.truncate(len);
    }

    /// Walks the samples in time order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Sample> + '_ {
        self.timestamps
            .iter()
            .zip(&self.values)
            .map(|(&timestamp, &value)| Sample { timestamp, value })
    }
}
