//! The lone samples of one series.

use crate::chunk::cut::{SAMPLES_TO_PREDICT, chunk_end, is_due};
use crate::chunk::gorilla;
use crate::encoding::Malformed;
use crate::error::{Error, Result};
use crate::sample::Samples;
use crate::time::{TimeRange, Timestamp};

use super::closed::{ChunkPlace, ClosedChunk};
use crate::head::recent::HiddenSample;

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
    /// Whose announcement is not settled yet; 0 for nobody's. Only one at a time: if two were taken back in the order they
    /// were made, the time of the first would stay.
    announced_by: u32,
    rest: Option<Box<Rest>>,
}

// Two lines of the cache.
const _: () = assert!(size_of::<LoneSeries>() <= 128);

/// What most commits do not touch.
#[derive(Debug, Clone, Default)]
struct Rest {
    late: Vec<LateSample>,
    closed: Vec<ClosedChunk>,
}

/// A sample that is older than the newest of its series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct LateSample {
    pub(super) timestamp: Timestamp,
    pub(super) value: f64,
    pub(super) sequence: u64,
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
            announced_by: 0,
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

    /// Announces a sample if it is newer than all others and nobody else has announced one; returns what
    /// [`LoneSeries::release`] needs to take it back.
    #[inline]
    pub(crate) fn reserve(&mut self, timestamp: Timestamp, by: u32) -> Option<Timestamp> {
        if timestamp > self.newest && (self.announced_by == 0 || self.announced_by == by) {
            self.announced_by = by;
            Some(std::mem::replace(&mut self.newest, timestamp))
        } else {
            None
        }
    }

    /// Takes the latest announcement back. [`LoneSeries::settle`] follows once all of a commit are.
    pub(crate) fn release(&mut self, before: Timestamp) {
        self.newest = before;
    }

    /// Lets others announce samples, unless somebody else has already.
    #[inline]
    pub(crate) fn settle(&mut self, by: u32) {
        if self.announced_by == by {
            self.announced_by = 0;
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

    pub(super) fn closed(&self) -> &[ClosedChunk] {
        self.rest.as_ref().map_or(&[], |rest| &rest.closed)
    }

    pub(super) fn closed_mut(&mut self) -> &mut [ClosedChunk] {
        self.rest.as_mut().map_or(&mut [], |rest| &mut rest.closed)
    }

    pub(super) fn late(&self) -> &[LateSample] {
        self.rest.as_ref().map_or(&[], |rest| &rest.late)
    }

    /// Returns the open chunk, where it ends, and its newest sequence.
    pub(super) fn open(&self) -> Option<(&gorilla::Appender, Timestamp, u64)> {
        (!self.open.is_empty()).then_some((&self.open, self.end, self.last_sequence))
    }

    /// Puts a chunk back; returns the bytes it takes in memory.
    pub(super) fn restore_closed(&mut self, chunk: ClosedChunk) {
        self.note_newest(chunk.last);
        self.push_closed(chunk);
    }

    pub(super) fn restore_open(
        &mut self,
        open: gorilla::Appender,
        first: Timestamp,
        end: Timestamp,
        last_sequence: u64,
    ) {
        self.open = open;
        self.first = first;
        self.end = end;
        self.last_sequence = last_sequence;
    }

    pub(super) fn restore_late(&mut self, late: Vec<LateSample>) {
        self.rest().late = late;
    }

    /// Adds what another part of a checkpoint knows of the series.
    pub(super) fn add_restored(&mut self, mut other: Self) {
        self.newest = self.newest.max(other.newest);
        self.scale_hint = other.scale_hint;
        (self.first, self.end) = (other.first, other.end);
        self.last_sequence = other.last_sequence;
        self.open = std::mem::take(&mut other.open);
        if let Some(mut rest) = other.rest {
            self.rest().late = std::mem::take(&mut rest.late);
            rest.closed
                .into_iter()
                .for_each(|chunk| self.push_closed(chunk));
        }
    }

    fn push_closed(&mut self, chunk: ClosedChunk) {
        let closed = &mut self.rest().closed;
        if closed.len() == closed.capacity() {
            // Most series have few: doubling would leave half of the room unused.
            closed.reserve_exact(1);
        }
        closed.push(chunk);
    }

    fn rest(&mut self) -> &mut Rest {
        self.rest.get_or_insert_default()
    }

    /// Adds a sample, which may have been announced; returns the bytes of chunks that were closed for it.
    #[inline]
    pub(super) fn push(
        &mut self,
        timestamp: Timestamp,
        value: f64,
        sequence: u64,
        range_ms: i64,
    ) -> usize {
        let is_in_order = match self.open.last() {
            Some(last) => timestamp > last.timestamp,
            None => timestamp >= self.newest,
        };
        if !is_in_order {
            return self.push_late(timestamp, value, sequence, range_ms);
        }
        let count = self.open.count();
        let mut closed = 0;
        if count == 0 || is_due(count, self.open.len(), self.end, timestamp) {
            closed = self.begin(timestamp, range_ms);
        } else if count == SAMPLES_TO_PREDICT {
            let newest = self.open.last().map_or(self.first, |last| last.timestamp);
            self.end = chunk_end(self.first, newest, self.end);
            if timestamp >= self.end {
                closed = self.begin(timestamp, range_ms);
            }
        }
        self.open.push(timestamp, value);
        // A commit that came to the log first may come here second.
        self.last_sequence = self.last_sequence.max(sequence);
        self.newest = self.newest.max(timestamp);
        closed
    }

    #[inline(never)]
    fn begin(&mut self, timestamp: Timestamp, range_ms: i64) -> usize {
        let closed = self.close();
        self.first = timestamp;
        self.end = TimeRange::aligned(timestamp, range_ms).end;
        closed
    }

    #[inline(never)]
    fn push_late(
        &mut self,
        timestamp: Timestamp,
        value: f64,
        sequence: u64,
        range_ms: i64,
    ) -> usize {
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
            self.close_late(range_ms)
        } else {
            0
        }
    }

    /// Ends the open chunk and the late buffer; returns the bytes of the chunks they became.
    pub(super) fn close_all(&mut self, range_ms: i64) -> usize {
        self.close() + self.close_late(range_ms)
    }

    fn close(&mut self) -> usize {
        let open = std::mem::take(&mut self.open);
        let Some(last) = open.last() else { return 0 };
        let len = open.len();
        self.push_closed(ClosedChunk {
            first: self.first,
            last: last.timestamp,
            last_sequence: self.last_sequence,
            place: ChunkPlace::Memory(open.finish().into()),
        });
        len
    }

    fn close_late(&mut self, range_ms: i64) -> usize {
        let Some(rest) = &mut self.rest else { return 0 };
        let late = std::mem::take(&mut rest.late);
        let mut closed = 0;
        for run in
            late.chunk_by(|a, b| TimeRange::aligned(a.timestamp, range_ms).contains(b.timestamp))
        {
            let mut appender = gorilla::Appender::new();
            for sample in run {
                appender.push(sample.timestamp, sample.value);
            }
            closed += appender.len();
            let sequences = run.iter().map(|sample| sample.sequence);
            self.push_closed(ClosedChunk {
                first: run[0].timestamp,
                last: run[run.len() - 1].timestamp,
                last_sequence: sequences.max().unwrap_or(0),
                place: ChunkPlace::Memory(appender.finish().into()),
            });
        }
        closed
    }

    pub(super) fn truncate(&mut self, boundary: Timestamp, sequence: u64) {
        if let Some(rest) = &mut self.rest {
            rest.closed
                .retain(|chunk| chunk.last >= boundary || chunk.last_sequence > sequence);
        }
    }

    /// Returns the newest sequence of all samples.
    pub(super) fn newest_sequence(&self) -> u64 {
        let closed = self.closed().iter().map(|chunk| chunk.last_sequence);
        let late = self.late().iter().map(|late| late.sequence);
        closed.chain(late).fold(self.last_sequence, u64::max)
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

    /// Appends the samples in `range` that are not `hidden` and that `is_deleted(timestamp, sequence)` does not
    /// tell, in time order. The sequence is that of the newest sample of a chunk: a deletion ends all chunks.
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
        for chunk in self.closed() {
            if TimeRange::closed(chunk.first, chunk.last).overlaps(&range) {
                decoded.clear();
                chunk.decode(&mut decoded)?;
                take(&decoded, chunk.last_sequence);
            }
        }
        if let Some(last) = self.open.last()
            && TimeRange::closed(self.first, last.timestamp).overlaps(&range)
        {
            let mut bytes = Vec::with_capacity(self.open.len());
            self.open.write(&mut bytes);
            decoded.clear();
            gorilla::decode(&bytes, &mut decoded).map_err(in_memory)?;
            take(&decoded, self.last_sequence);
        }
        for late in self.late() {
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

    pub(super) fn chunk_count(&self) -> usize {
        self.closed().len() + usize::from(!self.open.is_empty())
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let rest = self.rest.as_ref().map_or(0, |rest| {
            size_of::<Rest>()
                + rest.late.capacity() * size_of::<LateSample>()
                + rest.closed.capacity() * size_of::<ClosedChunk>()
                + rest
                    .closed
                    .iter()
                    .map(ClosedChunk::heap_bytes)
                    .sum::<usize>()
        });
        self.open.heap_bytes() + rest
    }
}

pub(super) fn in_memory(malformed: Malformed) -> Error {
    Error::invalid(format!("lone samples in memory: {malformed}"))
}
