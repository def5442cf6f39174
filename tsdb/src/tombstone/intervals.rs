//! The deleted spans of one series.

use crate::encoding::{ByteReader, Malformed, put_uvarint, put_varint};
use crate::sample::Samples;
#[cfg(test)]
use crate::time::TimeRange;
use crate::time::Timestamp;

/// A deleted span; both ends belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// First deleted millisecond.
    pub first: Timestamp,
    /// Last deleted millisecond, not before `first`.
    pub last: Timestamp,
}

/// The deleted spans of one series, in time order; at least one millisecond lies between two of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Intervals(Vec<Interval>);

impl Intervals {
    /// Returns no span.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.0.capacity() * size_of::<Interval>()
    }

    /// Adds the span from `first` to `last`, both included; spans that overlap or touch it become one with it. Nothing
    /// is added when `last` is before `first`.
    pub fn add(&mut self, first: Timestamp, last: Timestamp) {
        if last < first {
            return;
        }
        let start = self
            .0
            .partition_point(|interval| interval.last < first.saturating_sub(1));
        let end = self
            .0
            .partition_point(|interval| interval.first <= last.saturating_add(1));
        // Empty when nothing touches the span: it then goes in at `start`.
        let touched = self.0.get(start..end).unwrap_or_default();
        let merged = Interval {
            first: touched
                .first()
                .map_or(first, |interval| interval.first.min(first)),
            last: touched
                .last()
                .map_or(last, |interval| interval.last.max(last)),
        };
        self.0.splice(start..end.max(start), [merged]);
    }

    /// Tells whether `timestamp` is deleted.
    pub fn covers(&self, timestamp: Timestamp) -> bool {
        self.from(timestamp)
            .first()
            .is_some_and(|interval| interval.first <= timestamp)
    }

    /// Tells whether all of `range` is deleted, as nothing at all is.
    #[cfg(test)]
    pub fn covers_range(&self, range: TimeRange) -> bool {
        // Spans that touch are one, so a single span covers all of the range or none does.
        range.is_empty()
            || self.from(range.start).first().is_some_and(|interval| {
                interval.first <= range.start && range.end - 1 <= interval.last
            })
    }

    /// Tells whether a millisecond of `range` is deleted.
    #[cfg(test)]
    pub fn overlaps(&self, range: TimeRange) -> bool {
        !range.is_empty()
            && self
                .from(range.start)
                .first()
                .is_some_and(|interval| interval.first < range.end)
    }

    /// Takes the deleted samples out of `samples`, of which those before the index `start` are left alone.
    ///
    /// Searches for the ends of the spans and moves the samples between them, so a series without deletions among
    /// its samples costs two comparisons.
    pub fn remove_from(&self, samples: &mut Samples, start: usize) {
        let Some([oldest, .., newest] | [oldest @ newest]) = samples.timestamps.get(start..) else {
            return;
        };
        let (oldest, newest) = (*oldest, *newest);
        let len = samples.len();
        let mut kept = start;
        let mut read = start;
        for interval in self
            .from(oldest)
            .iter()
            .take_while(|interval| interval.first <= newest)
        {
            let unread = &samples.timestamps[read..];
            let cut_start = read + unread.partition_point(|&timestamp| timestamp < interval.first);
            let cut_end = read + unread.partition_point(|&timestamp| timestamp <= interval.last);
            samples.timestamps.copy_within(read..cut_start, kept);
            samples.values.copy_within(read..cut_start, kept);
            kept += cut_start - read;
            read = cut_end;
        }
        samples.timestamps.copy_within(read..len, kept);
        samples.values.copy_within(read..len, kept);
        samples.truncate(kept + len - read);
    }

    /// Tells whether nothing is deleted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Walks the spans in time order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Interval> + Clone + '_ {
        self.0.iter().copied()
    }

    /// Returns the spans that do not end before `timestamp`.
    fn from(&self, timestamp: Timestamp) -> &[Interval] {
        let start = self.0.partition_point(|interval| interval.last < timestamp);
        self.0.get(start..).unwrap_or_default()
    }

    /// Appends the number of spans and the spans.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_uvarint(out, self.0.len() as u64);
        let mut previous = None;
        for interval in &self.0 {
            match previous {
                None => put_varint(out, interval.first),
                // Spans do not touch, so the difference is at least 2, and it fits 64 bits without a sign.
                Some(last) => {
                    put_uvarint(out, interval.first.wrapping_sub(last) as u64 - SPACING_MIN);
                }
            }
            put_uvarint(out, interval.last.wrapping_sub(interval.first) as u64);
            previous = Some(interval.last);
        }
    }

    /// Takes what [`Self::encode`] wrote; at least one span.
    pub fn decode(reader: &mut ByteReader<'_>) -> Result<Self, Malformed> {
        // An interval takes two bytes or more: without the comparison a count could ask for any amount of memory.
        let count = reader.uvarint_max(
            reader.remaining() / INTERVAL_BYTES_MIN,
            "interval count exceeds what is left",
        )?;
        if count == 0 {
            return Err(reader.malformed("series without an interval"));
        }
        let mut intervals = Vec::with_capacity(count);
        let mut previous: Option<Timestamp> = None;
        for _ in 0..count {
            let first = match previous {
                None => Some(reader.varint()?),
                Some(last) => {
                    let gap = reader.uvarint()?;
                    last.checked_add_unsigned(gap)
                        .and_then(|first| first.checked_add_unsigned(SPACING_MIN))
                }
            };
            let length = reader.uvarint()?;
            let last = first.and_then(|first| first.checked_add_unsigned(length));
            let (Some(first), Some(last)) = (first, last) else {
                return Err(reader.malformed("interval leaves the range of timestamps"));
            };
            intervals.push(Interval { first, last });
            previous = Some(last);
        }
        Ok(Self(intervals))
    }
}

/// Least difference between the end of a span and the start of the next.
const SPACING_MIN: u64 = 2;

/// Bytes of the shortest interval.
pub(super) const INTERVAL_BYTES_MIN: usize = 2;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn intervals(spans: &[(i64, i64)]) -> Intervals {
        let mut intervals = Intervals::new();
        for &(first, last) in spans {
            intervals.add(first, last);
        }
        intervals
    }

    fn spans(intervals: &Intervals) -> Vec<(i64, i64)> {
        intervals
            .iter()
            .map(|interval| (interval.first, interval.last))
            .collect()
    }

    #[test]
    fn spans_that_touch_become_one() {
        assert_eq!(spans(&intervals(&[(10, 20), (21, 30)])), [(10, 30)]);
        assert_eq!(
            spans(&intervals(&[(10, 20), (22, 30)])),
            [(10, 20), (22, 30)]
        );
        assert_eq!(
            spans(&intervals(&[(10, 20), (30, 40), (50, 60), (19, 49)])),
            [(10, 60)]
        );
        assert_eq!(spans(&intervals(&[(10, 20), (12, 13), (5, 4)])), [(10, 20)]);
        assert_eq!(
            spans(&intervals(&[(50, 60), (10, 20), (30, 40)])),
            [(10, 20), (30, 40), (50, 60)]
        );
    }

    #[test]
    fn ends_of_time_do_not_overflow() {
        let all = intervals(&[(i64::MIN, -1), (1, i64::MAX), (0, 0)]);
        assert_eq!(spans(&all), [(i64::MIN, i64::MAX)]);
        assert!(all.covers(i64::MIN) && all.covers(i64::MAX) && all.covers_range(TimeRange::ALL));
    }

    #[test]
    fn ranges_end_before_their_end() {
        let some = intervals(&[(10, 20)]);
        assert!(
            some.covers_range(TimeRange::new(10, 21)) && !some.covers_range(TimeRange::new(10, 22))
        );
        assert!(some.overlaps(TimeRange::new(20, 21)) && !some.overlaps(TimeRange::new(21, 30)));
        assert!(!some.overlaps(TimeRange::new(0, 10)) && !some.overlaps(TimeRange::new(15, 15)));
        assert!(
            some.covers_range(TimeRange::new(5, 5)) && !some.covers_range(TimeRange::new(9, 11))
        );
    }

    #[test]
    fn samples_before_the_start_index_stay() {
        let mut samples = Samples::default();
        for timestamp in 0..10 {
            samples.push(timestamp, timestamp as f64);
        }
        intervals(&[(1, 5), (7, 7), (9, 20)]).remove_from(&mut samples, 3);
        assert_eq!(samples.timestamps, [0, 1, 2, 6, 8]);
        assert_eq!(samples.values, [0.0, 1.0, 2.0, 6.0, 8.0]);
        intervals(&[(0, 99)]).remove_from(&mut samples, 5);
        intervals(&[(0, 99)]).remove_from(&mut samples, 6);
        assert_eq!(samples.len(), 5);
        intervals(&[(0, 99)]).remove_from(&mut samples, 0);
        assert!(samples.is_empty());
    }

    proptest! {
        #[test]
        fn spans_are_the_set_of_their_milliseconds(
            added in prop::collection::vec((-20i64..20, 0i64..6), 0..12),
            times in prop::collection::btree_set(-25i64..25, 0..50),
            (start, end) in (-25i64..25, -25i64..25),
        ) {
            let mut deleted = BTreeSet::new();
            let mut intervals = Intervals::new();
            for (first, length) in added {
                intervals.add(first, first + length);
                deleted.extend(first..=first + length);
            }
            prop_assert!(spans(&intervals).windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
            prop_assert_eq!(intervals.iter().flat_map(|span| span.first..=span.last).collect::<BTreeSet<_>>(), deleted.clone());
            for timestamp in -30..30 {
                prop_assert_eq!(intervals.covers(timestamp), deleted.contains(&timestamp));
            }
            let range = TimeRange::new(start, end);
            prop_assert_eq!(intervals.overlaps(range), (start..end).any(|timestamp| deleted.contains(&timestamp)));
            prop_assert_eq!(intervals.covers_range(range), (start..end).all(|timestamp| deleted.contains(&timestamp)));

            let mut samples = Samples::default();
            times.iter().for_each(|&timestamp| samples.push(timestamp, timestamp as f64));
            intervals.remove_from(&mut samples, 0);
            let left: Vec<i64> = times.difference(&deleted).copied().collect();
            prop_assert_eq!(&samples.timestamps, &left);
            prop_assert!(samples.values.iter().zip(&left).all(|(&value, &timestamp)| value == timestamp as f64));
        }

        #[test]
        fn encoding_round_trips(added in prop::collection::vec((any::<i64>(), any::<i64>()), 1..12)) {
            let mut intervals = Intervals::new();
            for (one, other) in added {
                intervals.add(one.min(other), one.min(other).saturating_add(other >> 40 & 0xff));
            }
            let mut out = Vec::new();
            intervals.encode(&mut out);
            let mut reader = ByteReader::new(&out);
            prop_assert_eq!(Intervals::decode(&mut reader), Ok(intervals));
            prop_assert!(reader.is_empty());
        }
    }
}
