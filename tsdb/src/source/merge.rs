//! Several cursors as one.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;

use crate::error::Result;
use crate::sample::{Sample, Samples};
use crate::source::{SeriesCursor, SeriesData, SourceSeries};
use crate::time::TimeRange;

/// Joins cursors into one in label order. Series with equal labels become one whose samples are merged when they are
/// read; where two of them disagree about a timestamp, the cursor that stands earlier in the list wins.
///
/// Reading is cheapest when the list is in order of time, because then nothing needs to be interleaved.
pub(crate) fn merge(mut cursors: Vec<Box<dyn SeriesCursor>>) -> Box<dyn SeriesCursor> {
    if cursors.len() == 1
        && let Some(only) = cursors.pop()
    {
        return only;
    }
    let pending = (0..cursors.len()).rev().collect();
    Box::new(MergeCursor {
        cursors,
        heap: BinaryHeap::new(),
        pending,
    })
}

struct MergeCursor {
    cursors: Vec<Box<dyn SeriesCursor>>,
    /// The next series of each cursor that has one.
    heap: BinaryHeap<Candidate>,
    /// Cursors whose next series is not known: they are asked at the next call, so that an error of one of them does
    /// not hide a series that was already found.
    pending: Vec<usize>,
}

struct Candidate {
    series: SourceSeries,
    cursor: usize,
}

impl SeriesCursor for MergeCursor {
    fn next(&mut self) -> Result<Option<SourceSeries>> {
        while let Some(&cursor) = self.pending.last() {
            // On an error the cursor stays pending: it has moved on and is asked again.
            let next = self.cursors[cursor].next()?;
            self.pending.pop();
            if let Some(series) = next {
                self.heap.push(Candidate { series, cursor });
            }
        }
        let Some(first) = self.heap.pop() else {
            return Ok(None);
        };
        self.pending.push(first.cursor);
        let mut series = first.series;
        let mut parts = Vec::new();
        while let Some(other) = self.heap.peek_mut() {
            if other.series.labels != series.labels {
                break;
            }
            let other = std::collections::binary_heap::PeekMut::pop(other);
            self.pending.push(other.cursor);
            parts.push(other.series.data);
        }
        if !parts.is_empty() {
            parts.insert(0, series.data);
            series.data = Arc::new(MergedData { parts });
        }
        Ok(Some(series))
    }
}

impl Ord for Candidate {
    /// The smallest labels are the greatest candidate, since the heap gives the greatest; then the earliest cursor.
    fn cmp(&self, other: &Self) -> Ordering {
        other
            .series
            .labels
            .cmp(&self.series.labels)
            .then_with(|| other.cursor.cmp(&self.cursor))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Candidate {}

/// The samples of one series in several sources, in order of precedence.
struct MergedData {
    parts: Vec<Arc<dyn SeriesData>>,
}

impl SeriesData for MergedData {
    fn read(&self, range: TimeRange, out: &mut Samples) -> Result<()> {
        let start = out.len();
        let mut first_error = Ok(());
        for part in &self.parts {
            let middle = out.len();
            let outcome = part.read(range, out);
            if first_error.is_ok() {
                first_error = outcome;
            }
            interleave(out, start, middle);
        }
        first_error
    }

    fn latest(&self, range: TimeRange) -> Result<Option<Sample>> {
        // Newest data usually stands last, and once it is found the other parts are asked for nothing older.
        let mut rest = range;
        let mut latest: Option<Sample> = None;
        for part in self.parts.iter().rev() {
            if let Some(sample) = part.latest(rest)? {
                rest.start = sample.timestamp;
                latest = Some(sample);
            }
        }
        Ok(latest)
    }
}

/// Brings `[start, middle)` and `[middle, ..)`, each in time order, into one order. At equal timestamps the sample of
/// the first part stays.
fn interleave(samples: &mut Samples, start: usize, middle: usize) {
    let Some(&boundary) = samples.timestamps.get(middle) else {
        return;
    };
    // What lies before the second part stays where it is: usually that is everything.
    let kept = start
        + samples.timestamps[start..middle].partition_point(|&timestamp| timestamp < boundary);
    if kept == middle {
        return;
    }
    let second = split_off(samples, middle);
    let first = split_off(samples, kept);
    let (mut i, mut j) = (0, 0);
    while i < first.len() && j < second.len() {
        let (left, right) = (first.timestamps[i], second.timestamps[j]);
        if left <= right {
            samples.push(left, first.values[i]);
            i += 1;
            j += usize::from(left == right);
        } else {
            samples.push(right, second.values[j]);
            j += 1;
        }
    }
    samples.timestamps.extend_from_slice(&first.timestamps[i..]);
    samples.values.extend_from_slice(&first.values[i..]);
    samples
        .timestamps
        .extend_from_slice(&second.timestamps[j..]);
    samples.values.extend_from_slice(&second.values[j..]);
}

fn split_off(samples: &mut Samples, at: usize) -> Samples {
    Samples {
        timestamps: samples.timestamps.split_off(at),
        values: samples.values.split_off(at),
    }
}
