//! One series of an answer.

use std::fmt;

use crate::chunk::cut::SAMPLES_AIMED;
use crate::chunk::gorilla;
use crate::error::Result;
use crate::labels::{Labels, SeriesLabels};
use crate::sample::{Sample, Samples};
use crate::source::SourceSeries;
use crate::time::{TimeRange, Timestamp};

/// A series and the way to its samples; it owns what it reads.
pub struct Series {
    series: SourceSeries,
    range: TimeRange,
}

impl fmt::Debug for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Series")
            .field("labels", &self.series.labels)
            .finish_non_exhaustive()
    }
}

impl Series {
    pub(super) fn new(series: SourceSeries, range: TimeRange) -> Self {
        Self { series, range }
    }

    /// Returns the labels; [`SeriesLabels::to_labels`] makes a set of their own of them.
    pub fn labels(&self) -> &SeriesLabels {
        &self.series.labels
    }

    /// Decodes the samples in the querier's span.
    ///
    /// # Errors
    ///
    /// The first damaged unit. [`Series::read`] keeps what the others gave.
    pub fn samples(&self) -> Result<Samples> {
        let mut samples = Samples::default();
        self.read(&mut samples)?;
        Ok(samples)
    }

    /// Replaces the content of `samples` by those in the querier's span: whole columns at a time, the cheapest way to
    /// read many series.
    ///
    /// # Errors
    ///
    /// The first damaged unit. `samples` then holds what the undamaged ones gave, in order.
    pub fn read(&self, samples: &mut Samples) -> Result<()> {
        samples.clear();
        self.series.read(self.range, samples)
    }

    /// Walks the samples in time order; they are decoded first.
    pub fn iter(&self) -> Result<impl Iterator<Item = Sample> + use<>> {
        let samples = self.samples()?;
        Ok(samples
            .timestamps
            .into_iter()
            .zip(samples.values)
            .map(|(timestamp, value)| Sample { timestamp, value }))
    }

    /// Returns the newest sample in the querier's span.
    pub fn latest(&self) -> Result<Option<Sample>> {
        self.series.latest(self.range)
    }

    /// Walks the samples as chunks in Prometheus' XOR encoding of about 120 samples each, for exchange with others.
    pub fn chunks(&self) -> Result<impl Iterator<Item = Chunk> + use<>> {
        let samples = self.samples()?;
        let mut start = 0;
        Ok(std::iter::from_fn(move || {
            let end = (start + SAMPLES_AIMED).min(samples.len());
            let (first, last) = (
                *samples.timestamps.get(start)?,
                *samples.timestamps.get(end.checked_sub(1)?)?,
            );
            let mut appender = gorilla::Appender::new();
            for index in start..end {
                appender.push(samples.timestamps[index], samples.values[index]);
            }
            let chunk = Chunk {
                first,
                last,
                count: end - start,
                bytes: appender.finish(),
            };
            start = end;
            Some(chunk)
        }))
    }
}

/// Consecutive samples of one series in Prometheus' XOR encoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Timestamp of the first sample.
    pub first: Timestamp,
    /// Timestamp of the last sample.
    pub last: Timestamp,
    /// Number of samples.
    pub count: usize,
    /// The chunk, bit for bit as Prometheus writes it.
    pub bytes: Box<[u8]>,
}

/// The newest sample of a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatestSample {
    /// The series.
    pub labels: Labels,
    /// Its newest sample, with the timestamp it was taken at.
    pub sample: Sample,
}
