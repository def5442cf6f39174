//! Building `prometheus.WriteRequest`.

use super::put::{put_header, put_labels, put_sample, samples_len};
use crate::sample::Sample;

/// Builds requests of remote write 1.0, one after the other in the same memory.
///
/// ```
/// use tsdb::remote::wire::{EncoderV1, Message, WriteRequest};
/// use tsdb::{Labels, Sample};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let labels: Labels = r#"up{job="node"}"#.parse()?;
/// let mut encoder = EncoderV1::new();
/// encoder.push(&labels, &[Sample { timestamp: 1_795_334_160_000, value: 1.0 }]);
/// let request = WriteRequest::parse(Message::V1, encoder.message())?;
/// assert_eq!(request.totals().samples, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct EncoderV1 {
    message: Vec<u8>,
    labels: Vec<u8>,
}

impl EncoderV1 {
    /// Returns an encoder of an empty request.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets the request and keeps the memory.
    pub fn clear(&mut self) {
        self.message.clear();
    }

    /// Adds a series with its samples, oldest first. The labels are sorted by name, and a series is pushed once in a
    /// request: receivers may refuse what is not.
    pub fn push<'l>(
        &mut self,
        labels: impl IntoIterator<Item = (&'l str, &'l str)>,
        samples: &[Sample],
    ) {
        let mut fields = std::mem::take(&mut self.labels);
        fields.clear();
        put_labels(&mut fields, labels);
        self.push_encoded(&fields, samples);
        self.labels = fields;
    }

    /// Adds a series whose labels are the fields of a message already, as [`Self::encode_labels`] makes them: for who sends
    /// the same series again and again.
    pub fn push_encoded(&mut self, labels: &[u8], samples: &[Sample]) {
        put_header(
            &mut self.message,
            TIMESERIES,
            labels.len() + samples_len(samples),
        );
        self.message.extend_from_slice(labels);
        for sample in samples {
            put_sample(&mut self.message, *sample);
        }
    }

    /// Returns the labels of a series, sorted by name, as fields of a message.
    pub fn encode_labels<'l>(labels: impl IntoIterator<Item = (&'l str, &'l str)>) -> Vec<u8> {
        let mut fields = Vec::new();
        put_labels(&mut fields, labels);
        fields
    }

    /// Returns the bytes of the message so far, before compression.
    pub fn size(&self) -> usize {
        self.message.len()
    }

    /// Tells whether no series was pushed.
    pub fn is_empty(&self) -> bool {
        self.message.is_empty()
    }

    /// Returns the message.
    pub fn message(&self) -> &[u8] {
        &self.message
    }
}

/// `WriteRequest.timeseries`.
const TIMESERIES: u8 = 1;
