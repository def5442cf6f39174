//! The lone samples of one series, for who reads them or stores them.

use crate::chunk::gorilla;
use crate::encoding::Malformed;
use crate::error::{Error, Result};
use crate::sample::Samples;
use crate::time::{TimeRange, Timestamp};

use super::closed::ClosedChunk;
use crate::head::recent::HiddenSample;

/// A copy of the lone samples of one series.
#[derive(Debug, Clone)]
pub(crate) struct LoneSeries {
    /// Of the newest sample, or of the newest row in a group the series left; [`i64::MIN`] for none.
    pub(super) newest: Timestamp,
    pub(super) open: Option<OpenChunk>,
    pub(super) rest: Rest,
}

/// A chunk that takes more samples.
#[derive(Debug, Clone)]
pub(super) struct OpenChunk {
    pub(super) bytes: Vec<u8>,
    pub(super) encoder: gorilla::Encoder,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    /// It takes no sample from here on.
    pub(super) end: Timestamp,
    pub(super) last_sequence: u64,
}

/// What most commits do not touch.
#[derive(Debug, Clone, Default)]
pub(super) struct Rest {
    pub(super) late: Vec<LateSample>,
    pub(super) closed: Vec<ClosedChunk>,
}

/// A sample that is older than the newest of its series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct LateSample {
    pub(super) timestamp: Timestamp,
    pub(super) value: f64,
    pub(super) sequence: u64,
}

impl OpenChunk {
    /// Returns the whole words of the chunk.
    pub(super) fn words(&self) -> impl Iterator<Item = u64> + '_ {
        let words = self.encoder.whole_words(&self.bytes);
        words
            .as_chunks()
            .0
            .iter()
            .map(|word| u64::from_be_bytes(*word))
    }
}

impl LoneSeries {
    /// Calls `visit` with the first and last timestamp of each run of samples.
    pub(crate) fn for_each_timestamp_bound(&self, mut visit: impl FnMut(Timestamp)) {
        self.for_each_span(|first, last| {
            visit(first);
            visit(last);
        });
    }

    fn for_each_span(&self, visit: impl FnMut(Timestamp, Timestamp)) {
        let open = self.open.as_ref().map(|open| (open.first, open.last));
        for_each_span(&self.rest.closed, open, &self.rest.late, visit);
    }

    /// Returns the newest sequence of all samples.
    pub(super) fn newest_sequence(&self) -> u64 {
        let open = self.open.iter().map(|open| open.last_sequence);
        let closed = self.rest.closed.iter().map(|chunk| chunk.last_sequence);
        let late = self.rest.late.iter().map(|late| late.sequence);
        open.chain(closed).chain(late).max().unwrap_or(0)
    }

    /// Tells whether a sample may lie in `range`.
    pub(crate) fn overlaps(&self, range: TimeRange) -> bool {
        let mut overlaps = false;
        self.for_each_span(|first, last| {
            overlaps |= TimeRange::closed(first, last).overlaps(&range);
        });
        overlaps
    }

    /// Appends the samples in `range` that are not `hidden` and that `is_deleted(timestamp, sequence)` does not
    /// tell, in time order. The sequence is one between that of the newest sample of a chunk and of the next deletion:
    /// deletions end all chunks.
    pub(crate) fn read(
        &self,
        range: TimeRange,
        hidden: &[HiddenSample],
        is_deleted: impl Fn(Timestamp, u64) -> bool,
        out: &mut Samples,
    ) -> Result<()> {
        let start = out.len();
        let mut decoded = Samples::default();
        let mut take = |decoded: &Samples, sequence: u64| {
            for sample in decoded.iter() {
                let timestamp = sample.timestamp;
                if range.contains(timestamp)
                    && !hidden
                        .iter()
                        .any(|hidden| hidden.is_at(timestamp, sequence))
                    && !is_deleted(timestamp, sequence)
                {
                    out.push(timestamp, sample.value);
                }
            }
        };
        for chunk in &self.rest.closed {
            if TimeRange::closed(chunk.first, chunk.last).overlaps(&range) {
                decoded.clear();
                chunk.decode(&mut decoded)?;
                take(&decoded, chunk.last_sequence);
            }
        }
        if let Some(open) = &self.open
            && TimeRange::closed(open.first, open.last).overlaps(&range)
        {
            decoded.clear();
            gorilla::decode(&open.bytes, &mut decoded).map_err(in_memory)?;
            take(&decoded, open.last_sequence);
        }
        for late in &self.rest.late {
            decoded.clear();
            decoded.push(late.timestamp, late.value);
            take(&decoded, late.sequence);
        }
        if !out.timestamps[start..].is_sorted() {
            let mut samples: Vec<_> = out.iter().skip(start).collect();
            samples.sort_by_key(|sample| sample.timestamp);
            out.truncate(start);
            for sample in samples {
                out.push(sample.timestamp, sample.value);
            }
        }
        Ok(())
    }
}

/// Calls `visit` with the first and last timestamp of each run of samples.
pub(super) fn for_each_span(
    closed: &[ClosedChunk],
    open: Option<(Timestamp, Timestamp)>,
    late: &[LateSample],
    mut visit: impl FnMut(Timestamp, Timestamp),
) {
    for chunk in closed {
        visit(chunk.first, chunk.last);
    }
    if let Some((first, last)) = open {
        visit(first, last);
    }
    for late in late {
        visit(late.timestamp, late.timestamp);
    }
}

pub(super) fn in_memory(malformed: Malformed) -> Error {
    Error::invalid(format!("lone samples in memory: {malformed}"))
}
