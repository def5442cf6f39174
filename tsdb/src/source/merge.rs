//! Several selections as one.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::Result;
use crate::sample::{Sample, Samples};
use crate::source::{SeriesCursor, SeriesData, SeriesWalk, SourceSeries};
use crate::time::TimeRange;

/// Joins selections into one in label order. Series with equal labels become one whose samples are merged when they are
/// read; where two of them disagree about a timestamp, the one that stands earlier in the list wins.
///
/// Reading is cheapest when the list is in order of time, because then nothing needs to be interleaved.
pub(crate) fn merge(mut inputs: Vec<SeriesWalk>) -> SeriesWalk {
    if inputs.len() == 1
        && let Some(only) = inputs.pop()
    {
        return only;
    }
    SeriesWalk::new(Box::new(MergeCursor { inputs }))
}

/// Compares the next series of all inputs, then takes from the one that has the first of them as many as come before
/// all others have. Mostly the inputs have the same series, of which one pass finds all, or one has few.
struct MergeCursor {
    /// Those that are not at their end, in order of precedence.
    inputs: Vec<SeriesWalk>,
}

/// Where the inputs stand.
struct Heads {
    /// The earliest input that has the first series.
    winner: usize,
    /// Others that have it too.
    equals: Vec<usize>,
    /// The input whose series comes first of those that have another.
    second: Option<usize>,
}

impl MergeCursor {
    /// Asks the inputs for what is not known yet. An error of one of them does not hide a series that was already found:
    /// that input has passed the damage and is asked again at the next call.
    fn fill(&mut self) -> Result<()> {
        let mut index = 0;
        while let Some(input) = self.inputs.get_mut(index) {
            if input.batch.is_empty() && !input.cursor.next_batch(&mut input.batch)? {
                self.inputs.remove(index);
            } else if !input.batch.is_empty() {
                index += 1;
            }
        }
        Ok(())
    }

    /// Compares the next series of the inputs; `None` once one of them has to be asked for more.
    fn heads(&self) -> Option<Heads> {
        let mut heads = Heads {
            winner: 0,
            equals: Vec::new(),
            second: None,
        };
        let labels = |index: usize| Some(&self.inputs.get(index)?.batch.front()?.labels);
        let mut first = labels(0)?;
        for index in 1..self.inputs.len() {
            let next = labels(index)?;
            match next.cmp(first) {
                Ordering::Less => {
                    heads.second = Some(heads.winner);
                    heads.equals.clear();
                    (heads.winner, first) = (index, next);
                }
                Ordering::Equal => heads.equals.push(index),
                Ordering::Greater => {
                    let second = heads.second.and_then(labels);
                    if second.is_none_or(|second| next < second) {
                        heads.second = Some(index);
                    }
                }
            }
        }
        Some(heads)
    }

    /// Appends the next series to `out`; `false` once one of the inputs has to be asked for more.
    fn take(&mut self, out: &mut VecDeque<SourceSeries>) -> bool {
        let Some(Heads {
            winner,
            equals,
            second,
        }) = self.heads()
        else {
            return false;
        };
        if equals.is_empty() {
            let run = match second.and_then(|second| self.inputs[second].batch.front()) {
                Some(bound) => run_below(&self.inputs[winner].batch, bound),
                None => self.inputs[winner].batch.len(),
            };
            take_first(&mut self.inputs[winner].batch, run, out);
            return true;
        }
        let holders = std::iter::once(winner).chain(equals);
        let parts: Vec<SourceSeries> = holders
            .filter_map(|index| self.inputs[index].batch.pop_front())
            .collect();
        let labels = parts[0].labels.clone();
        out.push_back(SourceSeries {
            labels,
            data: Arc::new(MergedData { parts }),
            number: 0,
        });
        true
    }
}

impl SeriesCursor for MergeCursor {
    fn next_batch(&mut self, out: &mut VecDeque<SourceSeries>) -> Result<bool> {
        self.fill()?;
        if self.inputs.is_empty() {
            return Ok(false);
        }
        while self.take(out) {}
        Ok(true)
    }
}

/// Returns how many series of `batch` come before `bound`, which the first does: looks in steps that double, then
/// between the last two.
fn run_below(batch: &VecDeque<SourceSeries>, bound: &SourceSeries) -> usize {
    let is_below = |index: usize| {
        batch
            .get(index)
            .is_some_and(|series| series.labels < bound.labels)
    };
    let mut step = 1;
    while is_below(step) {
        step *= 2;
    }
    let (mut low, mut high) = (step / 2 + 1, step.min(batch.len()));
    while low < high {
        let middle = low.midpoint(high);
        if is_below(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// Moves the first `count` series of `batch` to the end of `out`.
fn take_first(batch: &mut VecDeque<SourceSeries>, count: usize, out: &mut VecDeque<SourceSeries>) {
    if out.is_empty() && count == batch.len() {
        std::mem::swap(batch, out);
    } else {
        out.extend(batch.drain(..count));
    }
}

/// One series in several sources, in order of precedence.
struct MergedData {
    parts: Vec<SourceSeries>,
}

impl SeriesData for MergedData {
    fn read(&self, _number: u32, range: TimeRange, out: &mut Samples) -> Result<()> {
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

    fn latest(&self, _number: u32, range: TimeRange) -> Result<Option<Sample>> {
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
