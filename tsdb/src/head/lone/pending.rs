//! Samples on their way to their series.
//!
//! Commits bring a sample of each of thousands of series, and each series' chunk is in another place of the memory. So
//! samples of neighbours gather here, and go to their series together: then a chunk is fetched once for several samples.

use crate::time::Timestamp;

/// Samples that gather for each series of a page: more bring little and take memory.
const SAMPLES_PER_SERIES: usize = 4;

/// Samples that gather in any case.
const SAMPLES_MIN: usize = 64;

/// The samples of a page that are in no chunk yet, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Pending {
    places: Vec<u16>,
    timestamps: Vec<Timestamp>,
    values: Vec<f64>,
    /// Newest of these samples.
    sequence: u64,
}

impl Pending {
    /// Adds samples, of each its place, timestamp and value; the columns are of one length.
    #[inline]
    pub(super) fn extend(
        &mut self,
        places: impl Iterator<Item = u16>,
        timestamps: impl Iterator<Item = Timestamp>,
        values: &[f64],
        sequence: u64,
    ) {
        self.places.extend(places);
        self.timestamps.extend(timestamps);
        self.values.extend_from_slice(values);
        self.sequence = self.sequence.max(sequence);
    }

    /// Tells whether there are enough, for a page with so many series.
    #[inline]
    pub(super) fn is_due(&self, series: usize) -> bool {
        self.places.len() >= SAMPLES_MIN.max(SAMPLES_PER_SERIES * series)
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Returns the newest sequence of the samples.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Visits the first `count` samples series by series, those of each in the order in which they came: place, timestamp,
    /// value. Places are below `width`.
    #[inline]
    pub(super) fn for_each(
        &self,
        count: usize,
        width: usize,
        mut visit: impl FnMut(usize, Timestamp, f64),
    ) {
        let places = &self.places[..count];
        let (timestamps, values) = (&self.timestamps[..count], &self.values[..count]);
        for at in by_place(places, width) {
            let at = usize::from(at);
            visit(usize::from(places[at]), timestamps[at], values[at]);
        }
    }

    /// Drops the first `count` samples.
    pub(super) fn drop_first(&mut self, count: usize) {
        self.places.drain(..count);
        self.timestamps.drain(..count);
        self.values.drain(..count);
        if self.places.is_empty() {
            self.sequence = 0;
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.places.capacity() * size_of::<u16>()
            + self.timestamps.capacity() * size_of::<Timestamp>()
            + self.values.capacity() * size_of::<f64>()
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

    proptest! {
        #[test]
        fn samples_come_out_by_series_in_the_order_they_came(
            places in prop::collection::vec(0u16..70, 0..400),
            count in 0usize..400,
        ) {
            let mut pending = Pending::default();
            let mut expected = vec![Vec::new(); 70];
            for (at, &place) in places.iter().enumerate() {
                let place_of = std::iter::once(place);
                pending.extend(place_of, std::iter::once(at as i64), &[at as f64 / 2.0], at as u64);
                if at < count {
                    expected[usize::from(place)].push((at as i64, at as f64 / 2.0));
                }
            }
            let count = count.min(places.len());
            let mut taken = vec![Vec::new(); 70];
            let mut changes = 0;
            let mut last = None;
            prop_assert_eq!(pending.sequence(), (places.len() as u64).saturating_sub(1));
            pending.for_each(count, 70, |place, timestamp, value| {
                taken[place].push((timestamp, value));
                changes += usize::from(last != Some(place));
                last = Some(place);
            });
            pending.drop_first(count);
            prop_assert_eq!(pending.len(), places.len() - count);
            prop_assert_eq!(changes, taken.iter().filter(|taken| !taken.is_empty()).count());
            prop_assert_eq!(taken, expected);
        }
    }
}
