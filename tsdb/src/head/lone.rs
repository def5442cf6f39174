//! Samples that are in no row: each series has streamed chunks of its own.
//!
//! In order, samples go to an open Gorilla chunk; what is older than its newest sample goes to a short sorted buffer
//! that becomes a chunk when it is full. No chunk crosses a boundary of the block range, so a flush drops whole chunks.
//! A timestamp stands once in a series: whoever adds a sample has looked first.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::chunk::cut::{SAMPLES_TO_PREDICT, chunk_end, is_due};
use crate::chunk::gorilla;
use crate::encoding::{ByteReader, Malformed, put_uvarint, put_varint};
use crate::sample::Samples;
use crate::time::{TimeRange, Timestamp};

/// Stripes by slot: readers of some series do not wait for writers of others.
const STRIPES: usize = 16;

/// Late samples that are kept sorted before they become a chunk; Prometheus' default.
const LATE_MAX: usize = 32;

/// All lone samples.
#[derive(Debug)]
pub(crate) struct LoneStore {
    range_ms: i64,
    /// Taken after groups' locks, one at a time, and held for no I/O.
    stripes: Vec<Mutex<HashMap<u32, LoneSeries, foldhash::fast::RandomState>>>,
}

/// The lone samples of one series.
#[derive(Debug, Clone, Default)]
pub(crate) struct LoneSeries {
    newest: Option<Timestamp>,
    open: Option<Box<OpenChunk>>,
    late: Vec<LateSample>,
    closed: Vec<Arc<ClosedChunk>>,
}

#[derive(Debug, Clone)]
struct OpenChunk {
    appender: gorilla::Appender,
    first: Timestamp,
    /// The chunk takes no sample from here on.
    end: Timestamp,
    last_sequence: u64,
}

#[derive(Debug, Clone, Copy)]
struct LateSample {
    timestamp: Timestamp,
    value: f64,
    sequence: u64,
}

#[derive(Debug)]
struct ClosedChunk {
    first: Timestamp,
    last: Timestamp,
    last_sequence: u64,
    bytes: Box<[u8]>,
}

impl LoneStore {
    pub(crate) fn new(range_ms: i64) -> Self {
        Self {
            range_ms,
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
        }
    }

    fn stripe(&self, slot: u32) -> &Mutex<HashMap<u32, LoneSeries, foldhash::fast::RandomState>> {
        &self.stripes[slot as usize % STRIPES]
    }

    /// Returns the timestamp of a series' newest lone sample, or of its newest row in a group it left.
    pub(crate) fn newest(&self, slot: u32) -> Option<Timestamp> {
        self.stripe(slot).lock().get(&slot)?.newest
    }

    /// Notes that a series without a home has samples up to `newest`; [`i64::MIN`] for none.
    pub(crate) fn note_newest(&self, slot: u32, newest: Timestamp) {
        if newest == i64::MIN {
            return;
        }
        let mut stripe = self.stripe(slot).lock();
        let series = stripe.entry(slot).or_default();
        series.newest = series.newest.max(Some(newest));
    }

    /// Adds a sample.
    pub(crate) fn push(&self, slot: u32, timestamp: Timestamp, value: f64, sequence: u64) {
        let mut stripe = self.stripe(slot).lock();
        stripe
            .entry(slot)
            .or_default()
            .push(timestamp, value, sequence, self.range_ms);
    }

    /// Copies what a reader needs of a series.
    pub(crate) fn get(&self, slot: u32) -> Option<LoneSeries> {
        self.stripe(slot)
            .lock()
            .get(&slot)
            .filter(|series| series.has_samples())
            .cloned()
    }

    /// Tells whether a series has lone samples or a floor that is not below `boundary`.
    pub(crate) fn is_needed(&self, slot: u32, boundary: Timestamp) -> bool {
        let stripe = self.stripe(slot).lock();
        stripe.get(&slot).is_some_and(|series| {
            series.has_samples() || series.newest.is_some_and(|newest| newest >= boundary)
        })
    }

    /// Forgets a series.
    pub(crate) fn remove(&self, slot: u32) {
        self.stripe(slot).lock().remove(&slot);
    }

    /// Removes samples of a series inside a closed interval.
    pub(crate) fn delete(
        &self,
        slot: u32,
        first: Timestamp,
        last: Timestamp,
    ) -> Result<(), Malformed> {
        let mut stripe = self.stripe(slot).lock();
        match stripe.get_mut(&slot) {
            Some(series) => series.delete(first, last, self.range_ms),
            None => Ok(()),
        }
    }

    /// Closes every open chunk and late buffer, so that later samples go to chunks of their own.
    pub(crate) fn close_all(&self) {
        for stripe in &self.stripes {
            stripe.lock().values_mut().for_each(|series| {
                series.close();
                series.close_late(self.range_ms);
            });
        }
    }

    /// Drops closed chunks that lie before `boundary` and hold nothing after `sequence`.
    pub(crate) fn truncate(&self, boundary: Timestamp, sequence: u64) {
        for stripe in &self.stripes {
            stripe.lock().retain(|_, series| {
                series
                    .closed
                    .retain(|chunk| chunk.last >= boundary || chunk.last_sequence > sequence);
                series.has_samples() || series.newest.is_some_and(|newest| newest >= boundary)
            });
        }
    }

    /// Returns the spans of time that lone samples before `boundary` lie in.
    pub(crate) fn ranges_before(&self, boundary: Timestamp) -> Vec<TimeRange> {
        let mut ranges = Vec::new();
        self.for_each(|_, series| {
            series.for_each_span(|first, _| {
                let range = TimeRange::aligned(first, self.range_ms);
                if first < boundary && !ranges.contains(&range) {
                    ranges.push(range);
                }
            });
        });
        ranges
    }

    /// Returns the first and last timestamp of all lone samples.
    pub(crate) fn span(&self) -> Option<(Timestamp, Timestamp)> {
        let mut span: Option<(Timestamp, Timestamp)> = None;
        self.for_each(|_, series| {
            series.for_each_span(|first, last| {
                span = Some(span.map_or((first, last), |(low, high)| {
                    (low.min(first), high.max(last))
                }));
            });
        });
        span
    }

    /// Calls `visit` with each series that has samples or a floor, in the same order every time.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(u32, &LoneSeries)) {
        for stripe in &self.stripes {
            let stripe = stripe.lock();
            let mut slots: Vec<u32> = stripe.keys().copied().collect();
            slots.sort_unstable();
            for slot in slots {
                visit(slot, &stripe[&slot]);
            }
        }
    }

    /// Puts a series back that a checkpoint stored.
    pub(crate) fn restore(&self, slot: u32, series: LoneSeries) {
        self.stripe(slot).lock().insert(slot, series);
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let mut bytes = 0;
        for stripe in &self.stripes {
            let stripe = stripe.lock();
            bytes += stripe.capacity() * (size_of::<(u32, LoneSeries)>() + 1);
            bytes += stripe.values().map(LoneSeries::heap_bytes).sum::<usize>();
        }
        bytes
    }

    /// Returns the number of chunks.
    pub(crate) fn chunk_count(&self) -> usize {
        let mut chunks = 0;
        self.for_each(|_, series| {
            chunks += series.closed.len() + usize::from(series.open.is_some());
        });
        chunks
    }
}

impl LoneSeries {
    /// Returns the timestamp of the newest sample, or of the newest row in a group the series left.
    pub(crate) fn newest(&self) -> Option<Timestamp> {
        self.newest
    }

    fn has_samples(&self) -> bool {
        self.open.is_some() || !self.late.is_empty() || !self.closed.is_empty()
    }

    fn push(&mut self, timestamp: Timestamp, value: f64, sequence: u64, range_ms: i64) {
        let newest = self
            .open
            .as_ref()
            .and_then(|open| open.appender.last())
            .map(|last| last.timestamp);
        let in_order = newest.map_or_else(
            || self.newest.is_none_or(|floor| timestamp > floor),
            |newest| timestamp > newest,
        );
        if in_order {
            self.push_in_order(timestamp, value, sequence, range_ms);
        } else {
            let at = self.late.partition_point(|late| late.timestamp < timestamp);
            self.late.insert(
                at,
                LateSample {
                    timestamp,
                    value,
                    sequence,
                },
            );
            if self.late.len() >= LATE_MAX {
                self.close_late(range_ms);
            }
        }
        self.newest = self.newest.max(Some(timestamp));
    }

    fn push_in_order(&mut self, timestamp: Timestamp, value: f64, sequence: u64, range_ms: i64) {
        if let Some(open) = &self.open
            && is_due(
                open.appender.count(),
                open.appender.bytes().len(),
                open.end,
                timestamp,
            )
        {
            self.close();
        }
        let range_end = TimeRange::aligned(timestamp, range_ms).end;
        let open = self.open.get_or_insert_with(|| {
            Box::new(OpenChunk {
                appender: gorilla::Appender::new(),
                first: timestamp,
                end: range_end,
                last_sequence: 0,
            })
        });
        open.appender.push(timestamp, value);
        open.last_sequence = sequence;
        if open.appender.count() == SAMPLES_TO_PREDICT {
            open.end = chunk_end(open.first, timestamp, open.end);
        }
    }

    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        let Some(last) = open.appender.last() else {
            return;
        };
        self.closed.push(Arc::new(ClosedChunk {
            first: open.first,
            last: last.timestamp,
            last_sequence: open.last_sequence,
            bytes: open.appender.finish(),
        }));
    }

    fn close_late(&mut self, range_ms: i64) {
        for run in self
            .late
            .chunk_by(|a, b| TimeRange::aligned(a.timestamp, range_ms).contains(b.timestamp))
        {
            let samples = run.iter().map(|late| (late.timestamp, late.value));
            let last_sequence = run.iter().map(|late| late.sequence).max().unwrap_or(0);
            self.closed.extend(close_run(samples, last_sequence));
        }
        self.late = Vec::new();
    }

    fn delete(
        &mut self,
        first: Timestamp,
        last: Timestamp,
        range_ms: i64,
    ) -> Result<(), Malformed> {
        self.close();
        self.close_late(range_ms);
        for chunk in &mut self.closed {
            if chunk.last < first || chunk.first > last {
                continue;
            }
            let mut samples = Samples::default();
            gorilla::decode(&chunk.bytes, &mut samples)?;
            let left = samples
                .iter()
                .filter(|sample| sample.timestamp < first || sample.timestamp > last);
            let rest = close_run(
                left.map(|sample| (sample.timestamp, sample.value)),
                chunk.last_sequence,
            );
            *chunk = rest.unwrap_or_else(|| {
                Arc::new(ClosedChunk {
                    first: i64::MAX,
                    last: i64::MIN,
                    last_sequence: 0,
                    bytes: Box::default(),
                })
            });
        }
        self.closed.retain(|chunk| chunk.first <= chunk.last);
        Ok(())
    }

    fn for_each_span(&self, mut visit: impl FnMut(Timestamp, Timestamp)) {
        for chunk in &self.closed {
            visit(chunk.first, chunk.last);
        }
        if let Some(open) = &self.open
            && let Some(last) = open.appender.last()
        {
            visit(open.first, last.timestamp);
        }
        for late in &self.late {
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
        let start = out.len();
        let mut chunks: Vec<&[u8]> = Vec::new();
        for chunk in &self.closed {
            if TimeRange::closed(chunk.first, chunk.last).overlaps(&range) {
                chunks.push(&chunk.bytes);
            }
        }
        if let Some(open) = &self.open {
            chunks.push(open.appender.bytes());
        }
        let mut decoded = Samples::default();
        for chunk in chunks {
            gorilla::decode(chunk, &mut decoded)?;
        }
        for late in &self.late {
            decoded.push(late.timestamp, late.value);
        }
        let visible = decoded.iter().filter(|sample| {
            range.contains(sample.timestamp) && !hidden.contains(&sample.timestamp)
        });
        let mut samples: Vec<_> = visible.collect();
        if !samples.is_sorted_by_key(|sample| sample.timestamp) {
            samples.sort_by_key(|sample| sample.timestamp);
        }
        debug_assert!(start <= out.len());
        for sample in samples {
            out.push(sample.timestamp, sample.value);
        }
        Ok(())
    }

    /// Appends the series as a lone file stores it.
    pub(crate) fn write(&self, id: u64, range_ms: i64, out: &mut Vec<u8>) {
        let mut settled = self.clone();
        settled.close();
        settled.close_late(range_ms);
        put_uvarint(out, id);
        out.push(u8::from(settled.newest.is_some()));
        if let Some(newest) = settled.newest {
            put_varint(out, newest);
        }
        put_uvarint(out, settled.closed.len() as u64);
        for chunk in &settled.closed {
            out.extend_from_slice(&chunk.last_sequence.to_le_bytes());
            put_uvarint(out, chunk.bytes.len() as u64);
            out.extend_from_slice(&chunk.bytes);
        }
    }

    /// Reads a series that [`LoneSeries::write`] wrote, with its id.
    pub(crate) fn read_stored(reader: &mut ByteReader<'_>) -> Result<(u64, Self), Malformed> {
        let id = reader.uvarint()?;
        let mut series = Self::default();
        match reader.u8()? {
            0 => {}
            1 => series.newest = Some(reader.varint()?),
            _ => return Err(reader.malformed("unknown flags of a lone series")),
        }
        let count = reader.uvarint_max(reader.remaining(), "more chunks than bytes")?;
        for _ in 0..count {
            let last_sequence = reader.u64()?;
            let bytes = reader.sized_bytes()?;
            let mut samples = Samples::default();
            gorilla::decode(bytes, &mut samples)?;
            let (Some(&first), Some(&last)) =
                (samples.timestamps.first(), samples.timestamps.last())
            else {
                return Err(reader.malformed("empty chunk of a lone series"));
            };
            series.closed.push(Arc::new(ClosedChunk {
                first,
                last,
                last_sequence,
                bytes: bytes.into(),
            }));
        }
        Ok((id, series))
    }

    fn heap_bytes(&self) -> usize {
        let open = self.open.as_ref().map_or(0, |open| {
            size_of::<OpenChunk>() + open.appender.heap_bytes()
        });
        let closed: usize = self
            .closed
            .iter()
            .map(|chunk| chunk.bytes.len() + size_of::<ClosedChunk>() + 16)
            .sum();
        open + closed + self.closed.capacity() * 8 + self.late.capacity() * size_of::<LateSample>()
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
