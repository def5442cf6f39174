//! Samples on their way to their series.
//!
//! Commits bring a sample of each of thousands of series, and each series' chunk is in another place of the memory. So
//! samples of neighbours gather here, and go to their series together: then a chunk is fetched once for several samples.

use crate::chunk::gorilla::{SHARED_MAX, SharedTimes};
use crate::time::Timestamp;

use super::PAGE;

/// Samples that gather for each series of a page: more bring little and take memory.
const SAMPLES_PER_SERIES: usize = 4;

/// The same where rounds are alike, and a sample takes half as much.
const ROUNDS: usize = 8;

/// Samples that gather in any case.
const SAMPLES_MIN: usize = 64;

/// Samples of one series that have gathered, [`SHARED_MAX`] at most.
#[derive(Debug, Clone, Copy)]
pub(super) enum Gathered<'a> {
    /// Each with a time of its own.
    Each(&'a [(Timestamp, f64)]),
    /// The first at a time, the others as the series beside have them too.
    Shared(Timestamp, &'a SharedTimes, &'a [f64]),
}

impl Gathered<'_> {
    /// Returns the sample at a place.
    #[inline]
    pub(super) fn get(&self, at: usize) -> (Timestamp, f64) {
        match *self {
            Self::Each(samples) => samples[at],
            Self::Shared(first, times, values) => (times.time(first, at), values[at]),
        }
    }

    /// Tells whether each sample is later than the one before.
    #[inline]
    pub(super) fn is_sorted(&self) -> bool {
        match self {
            Self::Each(samples) => samples.is_sorted_by(|a, b| a.0 < b.0),
            // So are the times, unless they end in between.
            Self::Shared(..) => self.get(0).0 <= self.get(self.len() - 1).0,
        }
    }

    /// Returns the number of samples, at least one.
    #[inline]
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Each(samples) => samples.len(),
            Self::Shared(_, _, values) => values.len(),
        }
    }
}

/// The samples of a page that are in no chunk yet, in the order in which they came.
///
/// Whoever scrapes brings the same series in the same order again and again, and the time between two rounds is the same
/// for all samples of a commit. As long as that is so, places and timestamps are kept for the first round alone.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Of all samples; if rounds are alike, of the first round.
    places: Vec<u16>,
    timestamps: Vec<Timestamp>,
    values: Vec<f64>,
    /// Where each run of the first round ends; empty if rounds are not alike.
    ends: Vec<u32>,
    /// How much later than its place in the first round each run of each round came.
    later: Vec<i64>,
    /// Places of the first round, until it ends.
    seen: [u64; PAGE / 64],
    /// Newest of these samples.
    sequence: u64,
}

impl Pending {
    /// Adds samples, of each its place and timestamp; there are as many values.
    #[inline]
    pub(super) fn extend(
        &mut self,
        samples: impl ExactSizeIterator<Item = (u16, Timestamp)> + Clone,
        values: &[f64],
        sequence: u64,
    ) {
        let is_first_round = self.values.len() == self.places.len()
            && self.is_alike_or_empty()
            && self.see(samples.clone());
        if is_first_round {
            self.ends.push((self.places.len() + values.len()) as u32);
            self.later.push(0);
        } else if let Some(later) = self.repeats(samples.clone()) {
            self.later.push(later);
            self.values.extend_from_slice(values);
            self.sequence = self.sequence.max(sequence);
            return;
        } else {
            self.unfold();
        }
        self.places.extend(samples.clone().map(|(place, _)| place));
        self.timestamps.extend(samples.map(|(_, time)| time));
        self.values.extend_from_slice(values);
        self.sequence = self.sequence.max(sequence);
    }

    fn is_alike_or_empty(&self) -> bool {
        !self.ends.is_empty() || self.values.is_empty()
    }

    /// Notes places of the first round; answers `false` if one was there already, which ends the round.
    fn see(&mut self, samples: impl Iterator<Item = (u16, Timestamp)>) -> bool {
        if self.values.is_empty() {
            self.seen = [0; PAGE / 64];
        }
        for (place, _) in samples {
            let word = &mut self.seen[usize::from(place) / 64];
            let bit = 1 << (place % 64);
            if *word & bit != 0 {
                return false;
            }
            *word |= bit;
        }
        true
    }

    /// Returns how much later than in the first round samples come, if it is their turn and that is the same for all.
    #[inline]
    fn repeats(
        &self,
        samples: impl ExactSizeIterator<Item = (u16, Timestamp)> + Clone,
    ) -> Option<i64> {
        let run = self.later.len().checked_rem(self.ends.len())?;
        let start = run.checked_sub(1).map_or(0, |before| self.ends[before]) as usize;
        let first = start..self.ends[run] as usize;
        let (places, timestamps) = (&self.places[first.clone()], &self.timestamps[first]);
        let later = samples.clone().next()?.1.wrapping_sub(*timestamps.first()?);
        let is_same = samples.len() == places.len()
            && samples
                .zip(places)
                .zip(timestamps)
                .all(|(((place, time), same), first)| {
                    place == *same && time.wrapping_sub(*first) == later
                });
        is_same.then_some(later)
    }

    /// Gives each sample a place and a timestamp of its own: rounds are not alike.
    fn unfold(&mut self) {
        if self.ends.is_empty() {
            return;
        }
        let len = self.len();
        let (mut places, mut timestamps) = (Vec::with_capacity(len), Vec::with_capacity(len));
        let runs = self.ends.len();
        for (number, later) in self.later.iter().enumerate() {
            let run = number % runs;
            let start = run.checked_sub(1).map_or(0, |before| self.ends[before]) as usize;
            let first = start..self.ends[run] as usize;
            places.extend_from_slice(&self.places[first.clone()]);
            let first = self.timestamps[first].iter();
            timestamps.extend(first.map(|first| first.wrapping_add(*later)));
        }
        (self.places, self.timestamps) = (places, timestamps);
        self.ends.clear();
        self.later.clear();
    }

    /// Tells whether there are enough, for a page with so many series.
    #[inline]
    pub(super) fn is_due(&self, series: usize) -> bool {
        let per_series = if self.ends.is_empty() {
            SAMPLES_PER_SERIES
        } else {
            ROUNDS
        };
        self.len() >= SAMPLES_MIN.max(per_series * series)
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Returns the newest sequence of the samples.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Takes the first `count` samples out and hands them to `visit` series by series: the place, and the samples in the
    /// order in which they came; a series with many may come several times. Places are below `width`.
    pub(super) fn take(
        &mut self,
        count: usize,
        width: usize,
        mut visit: impl FnMut(usize, Gathered<'_>),
    ) {
        if count < self.len() {
            self.unfold();
        }
        if self.ends.is_empty() {
            self.visit_each(count, width, &mut visit);
            self.places.drain(..count);
            self.timestamps.drain(..count);
        } else {
            self.visit_alike(&mut visit);
            self.places.clear();
            self.timestamps.clear();
            self.ends.clear();
            self.later.clear();
        }
        self.values.drain(..count);
        if self.values.is_empty() {
            self.sequence = 0;
        }
    }

    /// Hands the first `count` samples to `visit` series by series.
    fn visit_each(&self, count: usize, width: usize, visit: &mut impl FnMut(usize, Gathered<'_>)) {
        let mut samples = [(0, 0.0); SHARED_MAX];
        let order = by_place(&self.places[..count], width);
        let place = |at: &u16| self.places[usize::from(*at)];
        for series in order.chunk_by(|a, b| place(a) == place(b)) {
            for part in series.chunks(SHARED_MAX) {
                for (sample, &at) in samples.iter_mut().zip(part) {
                    *sample = (
                        self.timestamps[usize::from(at)],
                        self.values[usize::from(at)],
                    );
                }
                visit(
                    usize::from(place(&part[0])),
                    Gathered::Each(&samples[..part.len()]),
                );
            }
        }
    }

    /// Hands the samples of rounds that are alike to `visit` series by series.
    #[inline]
    fn visit_alike(&self, visit: &mut impl FnMut(usize, Gathered<'_>)) {
        let (width, runs) = (self.places.len(), self.ends.len());
        let mut start = 0;
        for (run, &end) in self.ends.iter().enumerate() {
            let later: Vec<i64> = self.later[run..].iter().step_by(runs).copied().collect();
            let parts = later.chunks(SHARED_MAX);
            let parts: Vec<_> = parts.map(|part| (part, SharedTimes::new(part))).collect();
            for at in start..end as usize {
                let (place, first) = (usize::from(self.places[at]), self.timestamps[at]);
                let mut next = at;
                for (later, times) in &parts {
                    let mut own = [0.0; SHARED_MAX];
                    let own = &mut own[..later.len()];
                    for value in &mut *own {
                        *value = self.values[next];
                        next += width;
                    }
                    let own = &*own;
                    if let Some(times) = times {
                        visit(
                            place,
                            Gathered::Shared(first.wrapping_add(later[0]), times, own),
                        );
                        continue;
                    }
                    let mut samples = [(0, 0.0); SHARED_MAX];
                    for ((sample, &later), &value) in samples.iter_mut().zip(*later).zip(own) {
                        *sample = (first.wrapping_add(later), value);
                    }
                    visit(place, Gathered::Each(&samples[..own.len()]));
                }
            }
            start = end as usize;
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.places.capacity() * size_of::<u16>()
            + self.timestamps.capacity() * size_of::<Timestamp>()
            + self.values.capacity() * size_of::<f64>()
            + self.ends.capacity() * size_of::<u32>()
            + self.later.capacity() * size_of::<i64>()
    }
}

/// Returns the indexes of `places` sorted by place, equal ones in their order; places are below `width`.
fn by_place(places: &[u16], width: usize) -> Vec<u16> {
    let mut order: Vec<u16> = (0..).take(places.len()).collect();
    if places.len() < width / 4 {
        order.sort_by_key(|&at| places[usize::from(at)]);
        return order;
    }
    let mut next = vec![0u16; width + 1];
    for &place in places {
        next[usize::from(place) + 1] += 1;
    }
    for place in 1..width {
        next[place + 1] += next[place];
    }
    for (at, &place) in (0..).zip(places) {
        let next = &mut next[usize::from(place)];
        order[usize::from(*next)] = at;
        *next += 1;
    }
    order
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn take(pending: &mut Pending, count: usize) -> Vec<(u16, i64, f64)> {
        let mut taken = Vec::new();
        pending.take(count, 70, |place, samples| {
            let samples = (0..samples.len()).map(|at| samples.get(at));
            taken.extend(samples.map(|(time, value)| (place as u16, time, value)));
        });
        taken
    }

    /// Runs of places, most of which repeat in the same order and at steady distances.
    fn runs() -> impl Strategy<Value = Vec<(Vec<u16>, i64)>> {
        let shape = prop::collection::vec(prop::collection::vec(0u16..70, 1..30), 1..4);
        let odd = prop_oneof![20 => Just(None), 1 => prop::collection::vec(0u16..70, 1..30).prop_map(Some)];
        (
            shape,
            prop::collection::vec((odd, 0i64..1000), 0..30),
            any::<bool>(),
        )
            .prop_map(|(mut shape, steps, is_distinct)| {
                if is_distinct {
                    let mut seen = [false; 70];
                    for run in &mut shape {
                        run.retain(|&place| {
                            !std::mem::replace(&mut seen[usize::from(place)], true)
                        });
                    }
                }
                let runs = steps.into_iter().enumerate().map(|(number, (odd, step))| {
                    let usual = shape[number % shape.len()].clone();
                    (odd.unwrap_or(usual), step)
                });
                runs.filter(|(run, _)| !run.is_empty()).collect()
            })
    }

    proptest! {
        #[test]
        fn samples_come_out_by_series_in_the_order_they_came(
            runs in runs(),
            jitter in prop::collection::vec(0usize..900, 0..3),
            takes in prop::collection::vec((0usize..30, 0.0..1.2f64), 0..3),
        ) {
            let mut pending = Pending::default();
            let mut waiting: Vec<(u16, i64, f64)> = Vec::new();
            let mut number = 0;
            for (run_number, (places, step)) in runs.iter().enumerate() {
                let samples: Vec<(u16, i64)> = (0i64..)
                    .zip(places)
                    .map(|(at, &place)| {
                        number += 1;
                        (place, step + at * 7 + i64::from(jitter.contains(&number)))
                    })
                    .collect();
                let values: Vec<f64> = samples.iter().map(|(_, time)| *time as f64 / 2.0).collect();
                waiting.extend(samples.iter().zip(&values).map(|(&(place, time), &value)| (place, time, value)));
                pending.extend(samples.iter().copied(), &values, run_number as u64 + 1);
                prop_assert_eq!(pending.len(), waiting.len());
                prop_assert_eq!(pending.sequence(), run_number as u64 + 1);
                for (_, part) in takes.iter().filter(|(at, _)| *at == run_number) {
                    let count = ((waiting.len() as f64 * part) as usize).min(waiting.len());
                    let mut expected: Vec<_> = waiting.drain(..count).collect();
                    expected.sort_by_key(|sample| sample.0);
                    let mut taken = take(&mut pending, count);
                    let mut changes = taken.chunk_by(|a, b| a.0 == b.0).map(|run| run[0].0).collect::<Vec<_>>();
                    let visits = changes.len();
                    changes.sort_unstable();
                    changes.dedup();
                    prop_assert_eq!(changes.len(), visits, "a series is visited once");
                    taken.sort_by_key(|sample| sample.0);
                    prop_assert_eq!(taken, expected);
                    if waiting.is_empty() {
                        prop_assert_eq!(pending.sequence(), 0);
                        pending.sequence = run_number as u64 + 1;
                    }
                }
            }
            let mut taken = take(&mut pending, waiting.len());
            taken.sort_by_key(|sample| sample.0);
            waiting.sort_by_key(|sample| sample.0);
            prop_assert_eq!(taken, waiting);
            prop_assert!(pending.is_empty());
        }
    }

    #[test]
    fn rounds_that_are_alike_keep_places_and_times_once() {
        let mut pending = Pending::default();
        let runs = [(0u16..40, 0i64), (40..60, 3)];
        for round in 0..5 {
            for (places, offset) in &runs {
                let samples = places
                    .clone()
                    .map(|place| (place, round * 1000 + offset + i64::from(place)));
                pending.extend(samples, &vec![1.5; places.len()], 1);
            }
        }
        assert_eq!(pending.len(), 300);
        assert_eq!((pending.places.len(), pending.timestamps.len()), (60, 60));
        assert_eq!(take(&mut pending, 300)[4], (0, 4000, 1.5));
        pending.extend((0..40).map(|place| (place, 1)), &[0.0; 40], 2);
        pending.extend(
            (0..40).map(|place| (place, i64::from(place))),
            &[0.0; 40],
            2,
        );
        assert_eq!(pending.places.len(), 80, "the distance differs");
    }
}
