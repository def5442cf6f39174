//! The samples of one series as they come in.

use crate::chunk::cut::{
    BYTES_MAX, SAMPLE_BYTES_MAX, SAMPLES_MAX, SAMPLES_TO_PREDICT, chunk_end, is_due,
};
use crate::chunk::gorilla::{self, SharedTimes};
use crate::time::{TimeRange, Timestamp};

use super::blocks::{Blocks, Chain};
use super::closed::{ChunkPlace, ClosedChunk};
use super::pending::Gathered;
use super::series::{LateSample, LoneSeries, OpenChunk, Rest};

/// Late samples that are kept sorted before they become a chunk; Prometheus' default.
const LATE_MAX: usize = 32;

/// The samples of one series; the words of its open chunk are in [`Blocks`].
#[derive(Debug)]
pub(super) struct Stream {
    encoder: gorilla::Encoder,
    chain: Chain,
    /// Of the open chunk.
    first: Timestamp,
    /// The open chunk takes no sample from here on.
    end: Timestamp,
    /// Newest of the open chunk.
    last_sequence: u64,
    /// Of the newest sample here, or of the newest row in a group the series left: what is older comes late. What commits
    /// have announced and not brought yet is not in it.
    newest: Timestamp,
    pub(super) rest: Option<Box<Rest>>,
}

const _: () = assert!(size_of::<Stream>() <= 88);

impl Stream {
    pub(super) const fn new() -> Self {
        Self {
            encoder: gorilla::Encoder::new(),
            chain: Chain::new(),
            first: 0,
            end: 0,
            last_sequence: 0,
            newest: i64::MIN,
            rest: None,
        }
    }

    /// Adds samples, each like [`Stream::push`].
    #[inline]
    pub(super) fn push_all(
        &mut self,
        samples: Gathered<'_>,
        sequence: u64,
        range_ms: i64,
        blocks: &mut Blocks,
    ) -> Option<usize> {
        if let Gathered::Shared(first, times, values) = samples
            && self.takes_whole(first, times)
        {
            self.push_whole(first, times, values, blocks);
            self.last_sequence = self.last_sequence.max(sequence);
            return None;
        }
        self.push_parts(samples, sequence, range_ms, blocks)
    }

    /// Tells whether samples at these times go to the open chunk without more ado, so that nobody need ask at each of them.
    #[inline]
    fn takes_whole(&self, first: Timestamp, times: &SharedTimes) -> bool {
        let last = times.time(first, times.len() - 1);
        let (before, after) = (self.encoder.count(), self.encoder.count() + times.len());
        before >= 2
            && (before > SAMPLES_TO_PREDICT || after <= SAMPLES_TO_PREDICT)
            && after <= SAMPLES_MAX
            && self.len() + times.len() * SAMPLE_BYTES_MAX <= BYTES_MAX
            && first > self.newest
            // They ascend, unless time ends in between.
            && last >= first
            && last < self.end
    }

    #[inline(never)]
    fn push_whole(
        &mut self,
        first: Timestamp,
        times: &SharedTimes,
        values: &[f64],
        blocks: &mut Blocks,
    ) {
        // A copy of its own stays in registers.
        let mut encoder = self.encoder;
        let chain = &mut self.chain;
        encoder.push_shared(first, times, values, &mut |word| blocks.push(chain, word));
        self.encoder = encoder;
        self.newest = times.time(first, times.len() - 1);
    }

    #[inline(never)]
    fn push_parts(
        &mut self,
        samples: Gathered<'_>,
        sequence: u64,
        range_ms: i64,
        blocks: &mut Blocks,
    ) -> Option<usize> {
        let (mut closed, mut from) = (None, 0);
        while from < samples.len() {
            let count = self.count_taken(samples, from);
            if count > 0 {
                self.push_part(samples, from, count, blocks);
                self.last_sequence = self.last_sequence.max(sequence);
                from += count;
                continue;
            }
            let (timestamp, value) = samples.get(from);
            if let Some(bytes) = self.push(timestamp, value, sequence, range_ms, blocks) {
                closed = Some(closed.unwrap_or(0) + bytes);
            }
            from += 1;
        }
        closed
    }

    /// Returns how many samples from `from` on go to the open chunk without more ado, so that nobody need ask at each of
    /// them.
    fn count_taken(&self, samples: Gathered<'_>, from: usize) -> usize {
        let before = self.encoder.count();
        if before < 2 || samples.get(from).0 <= self.newest || !samples.is_sorted() {
            return 0;
        }
        let goal = if before <= SAMPLES_TO_PREDICT {
            SAMPLES_TO_PREDICT
        } else {
            SAMPLES_MAX
        };
        let mut count = (samples.len() - from).min(goal.saturating_sub(before));
        if self.len() + count * SAMPLE_BYTES_MAX > BYTES_MAX {
            return 0;
        }
        while count > 0 && samples.get(from + count - 1).0 >= self.end {
            count -= 1;
        }
        count
    }

    /// Adds samples that [`Stream::count_taken`] has counted to the open chunk.
    fn push_part(&mut self, samples: Gathered<'_>, from: usize, count: usize, blocks: &mut Blocks) {
        let mut encoder = self.encoder;
        let chain = &mut self.chain;
        for at in from..from + count {
            let (timestamp, value) = samples.get(at);
            encoder.push_next(timestamp, value, &mut |word| blocks.push(chain, word));
            self.newest = timestamp;
        }
        self.encoder = encoder;
    }

    /// Adds a sample. Returns the bytes of chunks that were closed for it, unless it only went to the open chunk.
    fn push(
        &mut self,
        timestamp: Timestamp,
        value: f64,
        sequence: u64,
        range_ms: i64,
        blocks: &mut Blocks,
    ) -> Option<usize> {
        if timestamp <= self.newest {
            return Some(self.push_late(timestamp, value, sequence, range_ms));
        }
        let count = self.encoder.count();
        let mut closed = None;
        if count == 0 || is_due(count, self.len(), self.end, timestamp) {
            closed = Some(self.begin(timestamp, range_ms, blocks));
        } else if count == SAMPLES_TO_PREDICT {
            self.end = chunk_end(self.first, self.last().unwrap_or(self.first), self.end);
            if timestamp >= self.end {
                closed = Some(self.begin(timestamp, range_ms, blocks));
            }
        }
        let chain = &mut self.chain;
        self.encoder
            .push(timestamp, value, &mut |word| blocks.push(chain, word));
        // A commit that came to the log first may come here second.
        self.last_sequence = self.last_sequence.max(sequence);
        self.newest = timestamp;
        closed
    }

    #[inline(never)]
    fn begin(&mut self, timestamp: Timestamp, range_ms: i64, blocks: &mut Blocks) -> usize {
        let closed = self.close(blocks);
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
    pub(super) fn close_all(&mut self, range_ms: i64, blocks: &mut Blocks) -> usize {
        self.close(blocks) + self.close_late(range_ms)
    }

    fn close(&mut self, blocks: &mut Blocks) -> usize {
        let Some(last) = self.last() else { return 0 };
        let bytes = self.open_bytes(blocks);
        self.push_closed(ClosedChunk {
            first: self.first,
            last,
            last_sequence: self.last_sequence,
            place: ChunkPlace::Memory(bytes.as_slice().into()),
        });
        self.drop_open(blocks);
        bytes.len()
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

    /// Forgets the open chunk.
    pub(super) fn drop_open(&mut self, blocks: &mut Blocks) {
        self.encoder = gorilla::Encoder::new();
        blocks.release(&mut self.chain);
    }

    pub(super) fn note_newest(&mut self, newest: Timestamp) {
        self.newest = self.newest.max(newest);
    }

    /// Puts a chunk back.
    pub(super) fn restore_closed(&mut self, chunk: ClosedChunk) {
        self.note_newest(chunk.last);
        self.push_closed(chunk);
    }

    /// Adds what another part of a checkpoint knows of the series.
    pub(super) fn restore(&mut self, series: LoneSeries, blocks: &mut Blocks) {
        self.note_newest(series.newest);
        self.drop_open(blocks);
        if let Some(open) = series.open {
            for word in open.words() {
                blocks.push(&mut self.chain, word);
            }
            self.encoder = open.encoder;
            (self.first, self.end) = (open.first, open.end);
            self.last_sequence = open.last_sequence;
        }
        if !series.rest.late.is_empty() {
            self.rest().late = series.rest.late;
        }
        for chunk in series.rest.closed {
            self.push_closed(chunk);
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

    pub(super) fn truncate(&mut self, boundary: Timestamp, sequence: u64) {
        if let Some(rest) = &mut self.rest {
            rest.closed
                .retain(|chunk| chunk.last >= boundary || chunk.last_sequence > sequence);
        }
    }

    pub(super) fn has_samples(&self) -> bool {
        !self.encoder.is_empty()
            || self
                .rest
                .as_ref()
                .is_some_and(|rest| !rest.late.is_empty() || !rest.closed.is_empty())
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

    /// Returns the timestamp of the newest sample, or of the newest row in a group the series left.
    pub(super) fn newest(&self) -> Option<Timestamp> {
        (self.newest != i64::MIN).then_some(self.newest)
    }

    /// Returns the timestamp of the newest sample of the open chunk.
    fn last(&self) -> Option<Timestamp> {
        self.encoder.last().map(|last| last.timestamp)
    }

    /// Returns the first and last timestamp of the open chunk.
    pub(super) fn open_span(&self) -> Option<(Timestamp, Timestamp)> {
        self.last().map(|last| (self.first, last))
    }

    /// Returns how many bytes the open chunk takes.
    pub(super) fn len(&self) -> usize {
        self.encoder.len(self.chain.words())
    }

    /// Returns where the open chunk ends and its newest sequence, if there is one.
    pub(super) fn open(&self) -> Option<(Timestamp, u64)> {
        (!self.encoder.is_empty()).then_some((self.end, self.last_sequence))
    }

    /// Appends the open chunk to `out`.
    pub(super) fn write_open(&self, blocks: &Blocks, out: &mut Vec<u8>) {
        self.encoder
            .write(out, |out| blocks.write(&self.chain, out));
    }

    fn open_bytes(&self, blocks: &Blocks) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len());
        self.write_open(blocks, &mut bytes);
        bytes
    }

    /// Copies what a reader needs.
    pub(super) fn copy(&self, blocks: &Blocks) -> LoneSeries {
        let open = self.open_span().map(|(first, last)| OpenChunk {
            bytes: self.open_bytes(blocks),
            encoder: self.encoder,
            first,
            last,
            end: self.end,
            last_sequence: self.last_sequence,
        });
        LoneSeries {
            newest: self.newest,
            open,
            rest: self.rest.as_deref().cloned().unwrap_or_default(),
        }
    }

    /// Calls `visit` with the first and last timestamp of each run of samples.
    pub(super) fn for_each_span(&self, visit: impl FnMut(Timestamp, Timestamp)) {
        super::series::for_each_span(self.closed(), self.open_span(), self.late(), visit);
    }

    pub(super) fn chunk_count(&self) -> usize {
        self.closed().len() + usize::from(!self.encoder.is_empty())
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.rest.as_ref().map_or(0, |rest| {
            let chunks = rest.closed.iter().map(ClosedChunk::heap_bytes);
            size_of::<Rest>()
                + rest.late.capacity() * size_of::<LateSample>()
                + rest.closed.capacity() * size_of::<ClosedChunk>()
                + chunks.sum::<usize>()
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn samples_that_come_together_end_up_as_if_each_had_come_alone(
            parts in prop::collection::vec((1usize..17, -1i64..3, 0u8..4, any::<bool>()), 0..60),
        ) {
            const RANGE_MS: i64 = 7_200_000;
            let (mut blocks, mut other_blocks) = (Blocks::new(), Blocks::new());
            let (mut together, mut alone) = (Stream::new(), Stream::new());
            let mut timestamp = 7_000_000i64;
            for (sequence, (count, step, kind, is_shared)) in (1..).zip(parts) {
                let samples: Vec<(Timestamp, f64)> = (0..count as i64)
                    .map(|number| {
                        timestamp += step * 15_000 + number % 2;
                        let value = match kind {
                            0 => 7.0,
                            1 => timestamp as f64,
                            _ => f64::from_bits((timestamp as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)),
                        };
                        (timestamp, value)
                    })
                    .collect();
                let later: Vec<i64> = samples.iter().map(|sample| sample.0 - samples[0].0).collect();
                let values: Vec<f64> = samples.iter().map(|sample| sample.1).collect();
                let shared = SharedTimes::new(&later).filter(|_| is_shared);
                let gathered = match &shared {
                    Some(times) => Gathered::Shared(samples[0].0, times, &values),
                    None => Gathered::Each(&samples),
                };
                let closed = together.push_all(gathered, sequence, RANGE_MS, &mut blocks);
                let mut closed_alone = None;
                for &(timestamp, value) in &samples {
                    if let Some(bytes) = alone.push(timestamp, value, sequence, RANGE_MS, &mut other_blocks) {
                        closed_alone = Some(closed_alone.unwrap_or(0) + bytes);
                    }
                }
                prop_assert_eq!(closed, closed_alone);
                prop_assert_eq!(together.newest(), alone.newest());
                let (mut bytes, mut other_bytes) = (Vec::new(), Vec::new());
                together.write(&blocks, &mut bytes);
                alone.write(&other_blocks, &mut other_bytes);
                prop_assert_eq!(bytes, other_bytes);
            }
        }
    }
}
