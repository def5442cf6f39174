//! Samples of one shard on their way, series by series.

use std::ops::Range;
use std::sync::Arc;

use super::prepare::Prepared;
use crate::sample::Sample;
use crate::time::Timestamp;

/// Collects samples as the log has them.
#[derive(Debug, Default)]
pub(crate) struct BatchBuilder {
    series: Vec<Arc<Prepared>>,
    /// Number of the series in `series`, and the sample.
    samples: Vec<(u32, Sample)>,
    oldest: Option<Timestamp>,
}

/// Samples sorted by series, each series once and its samples in the order of the log.
#[derive(Debug)]
pub(crate) struct Batch {
    series: Vec<Arc<Prepared>>,
    /// Where the samples of each series begin, and the number of all.
    starts: Vec<u32>,
    samples: Vec<Sample>,
}

impl BatchBuilder {
    /// Adds a series and returns its number in this batch.
    pub(crate) fn add_series(&mut self, series: &Arc<Prepared>) -> u32 {
        self.series.push(Arc::clone(series));
        (self.series.len() - 1) as u32
    }

    /// Adds a sample of a series that has been added.
    pub(crate) fn push(&mut self, series: u32, sample: Sample) {
        self.samples.push((series, sample));
    }

    /// Notes that a sample of this time waits here, for [`Self::oldest`].
    pub(crate) fn note_time(&mut self, timestamp: Timestamp) {
        self.oldest = Some(
            self.oldest
                .map_or(timestamp, |oldest| oldest.min(timestamp)),
        );
    }

    /// Adds what another has collected, of other series.
    pub(crate) fn append(&mut self, other: Self) {
        if self.is_empty() {
            *self = other;
            return;
        }
        let first = self.series.len() as u32;
        self.series.extend(other.series);
        let samples = other.samples.into_iter();
        self.samples
            .extend(samples.map(|(series, sample)| (first + series, sample)));
        if let Some(oldest) = other.oldest {
            self.note_time(oldest);
        }
    }

    /// Returns the oldest time noted.
    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        self.oldest
    }

    /// Returns the number of samples.
    pub(crate) fn len(&self) -> usize {
        self.samples.len()
    }

    /// Tells whether there is no sample.
    pub(crate) fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// Returns what was collected, sorted, and begins anew in the same memory.
    pub(crate) fn build(&mut self) -> Batch {
        let mut starts = vec![0_u32; self.series.len() + 1];
        for (series, _) in &self.samples {
            starts[*series as usize + 1] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        let mut next = starts.clone();
        let nothing = Sample {
            timestamp: 0,
            value: 0.0,
        };
        let mut samples = vec![nothing; self.samples.len()];
        for (series, sample) in self.samples.drain(..) {
            let place = &mut next[series as usize];
            samples[*place as usize] = sample;
            *place += 1;
        }
        self.oldest = None;
        Batch {
            series: std::mem::take(&mut self.series),
            starts,
            samples,
        }
    }
}

impl Batch {
    /// Returns the number of samples.
    pub(crate) fn len(&self) -> usize {
        self.samples.len()
    }

    /// Walks the series that have samples in a part of the batch, with these samples and the place of the first.
    pub(crate) fn series_in(
        &self,
        part: Range<usize>,
    ) -> impl Iterator<Item = (&Arc<Prepared>, &[Sample], usize)> {
        let first = self.series_at(part.start);
        self.series[first..]
            .iter()
            .zip(self.starts[first..].windows(2))
            .map(move |(series, bounds)| {
                let from = part.start.max(bounds[0] as usize);
                let to = part.end.min(bounds[1] as usize);
                (series, from, to)
            })
            .take_while(move |(_, from, _)| *from < part.end)
            .filter(|(_, from, to)| from < to)
            .map(|(series, from, to)| (series, &self.samples[from..to], from))
    }

    /// Returns the series and the sample at a place.
    pub(crate) fn sample(&self, at: usize) -> (&Arc<Prepared>, Sample) {
        (&self.series[self.series_at(at)], self.samples[at])
    }

    /// Returns the place of the first sample of the series at a place.
    pub(crate) fn start_of_series(&self, at: usize) -> usize {
        self.starts[self.series_at(at)] as usize
    }

    /// Returns the number of the series at a place.
    fn series_at(&self, at: usize) -> usize {
        let behind = self.starts.partition_point(|start| *start as usize <= at);
        behind.saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::remote::send::prepare::Form;

    proptest! {
        /// Whatever order samples come in, in one batch or in two of different series, and whatever part is asked for, each
        /// is there once, with its series, in order.
        #[test]
        fn parts_have_each_sample_once_by_series(
            samples in prop::collection::vec((0..7_u32, -9..9_i64), 0..40),
            others in 0..8_u32,
            cuts in prop::collection::vec(0..40_usize, 0..4),
        ) {
            let mut builders = [BatchBuilder::default(), BatchBuilder::default()];
            let mut numbers = Vec::new();
            for number in 0..7 {
                let labels = format!("metric{{number=\"{number}\"}}").parse().unwrap();
                let builder = usize::from(number >= others);
                let number = builders[builder].add_series(&Arc::new(Prepared { labels, form: Form::Numbers(Box::default()) }));
                numbers.push((builder, number));
            }
            for (order, (series, timestamp)) in samples.iter().enumerate() {
                let value = order as f64;
                let (builder, number) = numbers[*series as usize];
                builders[builder].push(number, Sample { timestamp: *timestamp, value });
                builders[builder].note_time(*timestamp);
            }
            let [mut builder, other] = builders;
            builder.append(other);
            prop_assert_eq!(builder.oldest(), samples.iter().map(|(_, at)| *at).min());
            let batch = builder.build();
            let mut cuts: Vec<_> = cuts.into_iter().filter(|cut| *cut <= samples.len()).collect();
            cuts.extend([0, samples.len()]);
            cuts.sort_unstable();
            let mut found = Vec::new();
            for bounds in cuts.windows(2) {
                let mut place = bounds[0];
                for (series, part, at) in batch.series_in(bounds[0]..bounds[1]) {
                    prop_assert_eq!(at, place);
                    place += part.len();
                    for (index, sample) in part.iter().enumerate() {
                        let (same, again) = batch.sample(at + index);
                        prop_assert!(Arc::ptr_eq(series, same));
                        prop_assert_eq!(again, *sample);
                        found.push((series.labels.to_string(), sample.value as usize));
                    }
                }
                prop_assert_eq!(place, bounds[1]);
            }
            let mut expected: Vec<_> = samples.iter().enumerate().map(|(order, (series, _))| (format!("metric{{number=\"{series}\"}}"), order)).collect();
            expected.sort();
            prop_assert_eq!(found, expected);
        }
    }
}
