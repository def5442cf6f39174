//! The lone samples of one series.

use std::sync::Arc;

use crate::chunk::cut::{SAMPLES_TO_PREDICT, chunk_end, is_due};
use crate::chunk::gorilla;
use crate::encoding::Malformed;
use crate::sample::Samples;
use crate::time::{TimeRange, Timestamp};

/// Late samples that are kept sorted before they become a chunk; Prometheus' default.
const LATE_MAX: usize = 32;

/// The lone samples of one series.
#[derive(Debug, Clone)]
pub(crate) struct LoneSeries {
    /// Of the newest sample, of one that a commit has announced, or of the newest row in a group the series left;
    /// [`i64::MIN`] for none.
    newest: Timestamp,
    open: gorilla::Appender,
    /// Of the open chunk.
    first: Timestamp,
    /// The open chunk takes no sample from here on.
    end: Timestamp,
    /// Newest of the open chunk.
    last_sequence: u64,
    /// The decimal scale the latest value was written at.
    scale_hint: u8,
    rest: Option<Box<Rest>>,
}

// Two lines of the cache.
const _: () = assert!(size_of::<LoneSeries>() <= 128);

/// What most commits do not touch.
#[derive(Debug, Clone, Default)]
struct Rest {
    late: Vec<LateSample>,
    closed: Vec<Arc<ClosedChunk>>,
}

#[derive(Debug, Clone, Copy)]
struct LateSample {
    timestamp: Timestamp,
    value: f64,
    sequence: u64,
}

#[derive(Debug)]
pub(super) struct ClosedChunk {
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    pub(super) last_sequence: u64,
    pub(super) bytes: Box<[u8]>,
}

impl Default for LoneSeries {
    fn default() -> Self {
        Self {
            newest: i64::MIN,
            open: gorilla::Appender::new(),
            first: 0,
            end: 0,
            last_sequence: 0,
            scale_hint: 0,
            rest: None,
        }
    }
}

impl LoneSeries {
    /// Returns the timestamp of the newest sample, or of the newest row in a group the series left.
    pub(crate) fn newest(&self) -> Option<Timestamp> {
        (self.newest != i64::MIN || self.has_samples()).then_some(self.newest)
    }

    pub(super) fn note_newest(&mut self, newest: Timestamp) {
        self.newest = self.newest.max(newest);
    }

    /// Announces a sample if it is newer than all others; returns what [`LoneSeries::release`] needs to take it back.
    #[inline]
    pub(crate) fn reserve(&mut self, timestamp: Timestamp) -> Option<Timestamp> {
        if timestamp > self.newest {
            Some(std::mem::replace(&mut self.newest, timestamp))
        } else {
            None
        }
    }

    /// Takes an announcement back, unless a newer one has come.
    pub(crate) fn release(&mut self, timestamp: Timestamp, before: Timestamp) {
        if self.newest == timestamp {
            self.newest = before;
        }
    }

    #[inline]
    pub(crate) fn scale_hint(&self) -> u8 {
        self.scale_hint
    }

    #[inline]
    pub(crate) fn set_scale_hint(&mut self, scale: u8) {
        self.scale_hint = scale;
    }

    pub(super) fn has_samples(&self) -> bool {
        !self.open.is_empty()
            || self
                .rest
                .as_ref()
                .is_some_and(|rest| !rest.late.is_empty() || !rest.closed.is_empty())
    }

    pub(super) fn is_needed(&self, boundary: Timestamp) -> bool {
        self.has_samples() || self.newest().is_some_and(|newest| newest >= boundary)
    }

    pub(super) fn closed(&self) -> &[Arc<ClosedChunk>] {
        self.rest.as_ref().map_or(&[], |rest| &rest.closed)
    }

    pub(super) fn restore_closed(&mut self, chunk: Arc<ClosedChunk>) {
        self.rest().closed.push(chunk);
    }

    fn late(&self) -> &[LateSample] {
        self.rest.as_ref().map_or(&[], |rest| &rest.late)
    }

    fn rest(&mut self) -> &mut Rest {
        self.rest.get_or_insert_default()
    }

    /// Adds a sample, which may have been announced.
    #[inline]
    pub(crate) fn push(&mut self, timestamp: Timestamp, value: f64, sequence: u64, range_ms: i64) {
        let is_in_order = match self.open.last() {
            Some(last) => timestamp > last.timestamp,
            None => timestamp >= self.newest,
        };
        if !is_in_order {
            self.push_late(timestamp, value, sequence, range_ms);
            return;
        }
        let count = self.open.count();
        if count == 0 || is_due(count, self.open.len(), self.end, timestamp) {
            self.begin(timestamp, range_ms);
        } else if count == SAMPLES_TO_PREDICT {
            let newest = self.open.last().map_or(self.first, |last| last.timestamp);
            self.end = chunk_end(self.first, newest, self.end);
            if timestamp >= self.end {
                self.begin(timestamp, range_ms);
            }
        }
        self.open.push(timestamp, value);
        self.last_sequence = sequence;
        self.newest = self.newest.max(timestamp);
    }

    #[inline(never)]
    fn begin(&mut self, timestamp: Timestamp, range_ms: i64) {
        self.close();
        self.first = timestamp;
        self.end = TimeRange::aligned(timestamp, range_ms).end;
    }

    #[inline(never)]
    fn push_late(&mut self, timestamp: Timestamp, value: f64, sequence: u64, range_ms: i64) {
        self.newest = self.newest.max(timestamp);
        let late = &mut self.rest().late;
        let at = late.partition_point(|late| late.timestamp < timestamp);
        let sample = LateSample {
            timestamp,
            value,
            sequence,
        };
        late.insert(at, sample);
        if late.len() >= LATE_MAX {
            self.close_late(range_ms);
        }
    }

    pub(super) fn close_all(&mut self, range_ms: i64) {
        self.close();
        self.close_late(range_ms);
    }

    fn close(&mut self) {
        let open = std::mem::take(&mut self.open);
        let Some(last) = open.last() else { return };
        let chunk = ClosedChunk {
            first: self.first,
            last: last.timestamp,
            last_sequence: self.last_sequence,
            bytes: open.finish(),
        };
        self.rest().closed.push(Arc::new(chunk));
    }

    fn close_late(&mut self, range_ms: i64) {
        let Some(rest) = &mut self.rest else { return };
        for run in rest
            .late
            .chunk_by(|a, b| TimeRange::aligned(a.timestamp, range_ms).contains(b.timestamp))
        {
            let samples = run.iter().map(|late| (late.timestamp, late.value));
            let last_sequence = run.iter().map(|late| late.sequence).max().unwrap_or(0);
            rest.closed.extend(close_run(samples, last_sequence));
        }
        rest.late = Vec::new();
    }

    pub(super) fn truncate(&mut self, boundary: Timestamp, sequence: u64) {
        if let Some(rest) = &mut self.rest {
            rest.closed
                .retain(|chunk| chunk.last >= boundary || chunk.last_sequence > sequence);
        }
    }

    pub(super) fn delete(
        &mut self,
        first: Timestamp,
        last: Timestamp,
        range_ms: i64,
    ) -> Result<(), Malformed> {
        self.close_all(range_ms);
        let Some(rest) = &mut self.rest else {
            return Ok(());
        };
        for chunk in &mut rest.closed {
            if chunk.last < first || chunk.first > last {
                continue;
            }
            let mut samples = Samples::default();
            gorilla::decode(&chunk.bytes, &mut samples)?;
            let left = samples
                .iter()
                .filter(|sample| sample.timestamp < first || sample.timestamp > last);
            let left = close_run(
                left.map(|sample| (sample.timestamp, sample.value)),
                chunk.last_sequence,
            );
            *chunk = left.unwrap_or_else(|| {
                Arc::new(ClosedChunk {
                    first: i64::MAX,
                    last: i64::MIN,
                    last_sequence: 0,
                    bytes: Box::default(),
                })
            });
        }
        rest.closed.retain(|chunk| !chunk.bytes.is_empty());
        Ok(())
    }

    /// Calls `visit` with the first and last timestamp of each run of samples.
    pub(super) fn for_each_span(&self, mut visit: impl FnMut(Timestamp, Timestamp)) {
        for chunk in self.closed() {
            visit(chunk.first, chunk.last);
        }
        if let Some(last) = self.open.last() {
            visit(self.first, last.timestamp);
        }
        for late in self.late() {
            visit(late.timestamp, late.timestamp);
        }
    }

    /// Calls `visit` with the first and last timestamp of each run of samples.
    pub(crate) fn for_each_timestamp_bound(&self, mut visit: impl FnMut(Timestamp)) {
        self.for_each_span(|first, last| {
            visit(first);
            visit(last);
        });
    }

    /// Tells whether a sample may lie in `range`.
    pub(crate) fn overlaps(&self, range: TimeRange) -> bool {
        let mut overlaps = false;
        self.for_each_span(|first, last| {
            overlaps |= TimeRange::closed(first, last).overlaps(&range);
        });
        overlaps
    }

    /// Appends the samples in `range` whose times are not `hidden`, in time order.
    pub(crate) fn read(
        &self,
        range: TimeRange,
        hidden: &[Timestamp],
        out: &mut Samples,
    ) -> Result<(), Malformed> {
        let mut decoded = Samples::default();
        for chunk in self.closed() {
            if TimeRange::closed(chunk.first, chunk.last).overlaps(&range) {
                gorilla::decode(&chunk.bytes, &mut decoded)?;
            }
        }
        if let Some(last) = self.open.last()
            && TimeRange::closed(self.first, last.timestamp).overlaps(&range)
        {
            let mut bytes = Vec::with_capacity(self.open.len());
            self.open.write(&mut bytes);
            gorilla::decode(&bytes, &mut decoded)?;
        }
        for late in self.late() {
            decoded.push(late.timestamp, late.value);
        }
        let visible = decoded.iter().filter(|sample| {
            range.contains(sample.timestamp) && !hidden.contains(&sample.timestamp)
        });
        let mut samples: Vec<_> = visible.collect();
        if !samples.is_sorted_by_key(|sample| sample.timestamp) {
            samples.sort_by_key(|sample| sample.timestamp);
        }
        for sample in samples {
            out.push(sample.timestamp, sample.value);
        }
        Ok(())
    }

    pub(super) fn chunk_count(&self) -> usize {
        self.closed().len() + usize::from(!self.open.is_empty())
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let rest = self.rest.as_ref().map_or(0, |rest| {
            let closed = rest.closed.iter();
            size_of::<Rest>()
                + rest.late.capacity() * size_of::<LateSample>()
                + rest.closed.capacity() * size_of::<usize>()
                + closed
                    .map(|chunk| chunk.bytes.len() + size_of::<ClosedChunk>() + 16)
                    .sum::<usize>()
        });
        self.open.heap_bytes() + rest
    }
}

fn close_run(
    samples: impl Iterator<Item = (Timestamp, f64)>,
    last_sequence: u64,
) -> Option<Arc<ClosedChunk>> {
    let mut appender = gorilla::Appender::new();
    let mut first = None;
    for (timestamp, value) in samples {
        first.get_or_insert(timestamp);
        appender.push(timestamp, value);
    }
    let last = appender.last()?.timestamp;
    Some(Arc::new(ClosedChunk {
        first: first?,
        last,
        last_sequence,
        bytes: appender.finish(),
    }))
}
