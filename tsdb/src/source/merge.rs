//! Several cursors as one.

use std::cmp::Ordering;
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
    Box::new(MergeCursor {
        inputs: cursors.into_iter().map(Input::new).collect(),
    })
}

/// Compares the next series of all inputs each time. They are few, and mostly have the same series, of which one pass
/// finds all.
struct MergeCursor {
    /// Those that are not at their end, in order of precedence.
    inputs: Vec<Input>,
}

struct Input {
    cursor: Box<dyn SeriesCursor>,
    /// Its next series, once it was asked for.
    next: Option<SourceSeries>,
}

impl Input {
    fn new(cursor: Box<dyn SeriesCursor>) -> Self {
        Self { cursor, next: None }
    }
}

impl MergeCursor {
    /// Asks the inputs for what is not known yet. An error of one of them does not hide a series that was already found:
    /// that input has passed the damage and is asked again at the next call.
    fn fill(&mut self) -> Result<()> {
        let mut index = 0;
        while let Some(input) = self.inputs.get_mut(index) {
            if input.next.is_none() {
                input.next = input.cursor.next()?;
                if input.next.is_none() {
                    self.inputs.remove(index);
                    continue;
                }
            }
            index += 1;
        }
        Ok(())
    }
}

impl SeriesCursor for MergeCursor {
    fn next(&mut self) -> Result<Option<SourceSeries>> {
        if let [only] = self.inputs.as_mut_slice()
            && only.next.is_none()
        {
            return only.cursor.next();
        }
        self.fill()?;
        let mut first: Option<&SourceSeries> = None;
        // Inputs that have the first series: the earliest of them, and the others.
        let (mut winner, mut equals) = (0, Vec::new());
        for (index, input) in self.inputs.iter().enumerate() {
            let Some(series) = &input.next else { continue };
            let order = first.map_or(Ordering::Less, |first| series.labels.cmp(&first.labels));
            match order {
                Ordering::Less => {
                    first = Some(series);
                    winner = index;
                    equals.clear();
                }
                Ordering::Equal => equals.push(index),
                Ordering::Greater => {}
            }
        }
        let Some(mut series) = self
            .inputs
            .get_mut(winner)
            .and_then(|input| input.next.take())
        else {
            return Ok(None);
        };
        if !equals.is_empty() {
            let others = equals
                .into_iter()
                .filter_map(|index| self.inputs[index].next.take());
            let parts = std::iter::once(series.data)
                .chain(others.map(|other| other.data))
                .collect();
            series.data = Arc::new(MergedData { parts });
        }
        Ok(Some(series))
    }
}

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
