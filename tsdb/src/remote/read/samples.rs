//! `prometheus.ReadResponse`: everything in one message.

use crate::limits::READ_ANSWER_BYTES_MAX;
use crate::remote::wire::{Compression, Compressor, WireError, put_header, put_labels, put_sample};
use crate::sample::Samples;

/// Builds an answer of samples.
#[derive(Debug, Default)]
pub struct SamplesWriter {
    message: Vec<u8>,
    /// Where the present query begins.
    query: usize,
    series: Vec<u8>,
}

impl SamplesWriter {
    /// Returns a writer of an answer to no query.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a series to the present query; nothing if it has no samples.
    ///
    /// # Errors
    ///
    /// The answer exceeds [`READ_ANSWER_BYTES_MAX`].
    pub fn push<'l>(
        &mut self,
        labels: impl IntoIterator<Item = (&'l str, &'l str)>,
        samples: &Samples,
    ) -> Result<(), WireError> {
        if samples.is_empty() {
            return Ok(());
        }
        self.series.clear();
        put_labels(&mut self.series, labels);
        for sample in samples.iter() {
            put_sample(&mut self.series, sample);
        }
        if self.message.len() + self.series.len() > READ_ANSWER_BYTES_MAX {
            return Err(WireError::too_large(
                "bytes of an answer",
                READ_ANSWER_BYTES_MAX,
            ));
        }
        put_header(&mut self.message, 1, self.series.len());
        self.message.extend_from_slice(&self.series);
        Ok(())
    }

    /// Ends the present query and begins the next.
    pub fn end_query(&mut self) -> Result<(), WireError> {
        let mut header = Vec::new();
        put_header(&mut header, 1, self.message.len() - self.query);
        self.message.splice(self.query..self.query, header);
        self.query = self.message.len();
        Ok(())
    }

    /// Returns the compressed answer.
    pub fn finish(self) -> Result<Vec<u8>, WireError> {
        Ok(Compressor::new(Compression::Snappy)?
            .compress(&self.message)?
            .to_vec())
    }
}
