//! What is left to send of a batch, and which of its samples a remote does not take.
//!
//! A piece is sent as one request. One that is refused for what is in it is sent as halves, if it is small or if halves are
//! asked for. A larger one is **sounded**: single samples are sent, each the first of its series that is left.
//!
//! 1. One that is taken is stored, and what lies on either side of it are pieces of their own; a side that is much the
//!    longer one is two. So a few bad samples are closed in on from both sides.
//! 2. One that is refused is given up, and another is sent from elsewhere in the piece.
//! 3. Once [`CONVINCING`] in a row are refused, so is whatever is not newer than the middle one of them. Then the next
//!    samples of the series are sounded; half as many of them are convincing now, and so on.
//!
//! No sample is sent before an older one of its series is stored or given up, and none is sent again that is stored. That
//! is why a piece is never sounded further on in time, and never given up as a whole: what a remote has, or has something
//! newer than, are the oldest samples of each series, and the others may be news to it.

use std::hash::BuildHasher;
use std::ops::Range;

use super::batch::Batch;
use crate::time::Timestamp;

/// What is left to send of a batch.
#[derive(Debug)]
pub(crate) struct Pieces {
    /// What comes next is last.
    stack: Vec<Piece>,
    /// Places of samples inside of pieces that are stored or given up. Empty until there is one.
    settled: Vec<bool>,
}

#[derive(Debug)]
struct Piece {
    range: Range<usize>,
    is_unsure: bool,
    soundings: Option<Soundings>,
}

#[derive(Debug)]
struct Soundings {
    /// The place that is sent next.
    at: usize,
    /// Times of those refused since something else happened.
    refused: Vec<Timestamp>,
    /// How many of them are enough.
    convincing: usize,
    drawn: u64,
}

/// How to find out what is bad in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Search {
    Halves,
    Soundings,
}

/// Samples that are given up.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct GivenUp {
    /// Their places in the batch.
    pub(crate) places: Vec<usize>,
    /// Whether an attempt of which nothing is known may have stored them.
    pub(crate) is_unsure: bool,
}

impl Pieces {
    /// Returns all of a batch as one piece, with or without an attempt before of which nothing is known.
    pub(crate) fn new(batch: &Batch, is_unsure: bool) -> Self {
        let mut pieces = Self {
            stack: Vec::new(),
            settled: Vec::new(),
        };
        pieces.push(0..batch.len(), is_unsure);
        pieces
    }

    /// Returns the part of the batch that is to be sent next, without what is settled of it.
    pub(crate) fn next(&mut self) -> Option<Range<usize>> {
        loop {
            let piece = self.stack.last()?;
            if let Some(soundings) = &piece.soundings {
                return Some(soundings.at..soundings.at + 1);
            }
            if piece.range.clone().any(|at| self.is_left(at)) {
                return Some(piece.range.clone());
            }
            self.stack.pop();
        }
    }

    /// Tells whether it is not known what became of an earlier attempt at what is sent next.
    pub(crate) fn is_unsure(&self) -> bool {
        self.stack.last().is_some_and(|piece| piece.is_unsure)
    }

    /// Tells whether nothing is known yet of the sample at a place.
    pub(crate) fn is_left(&self, at: usize) -> bool {
        self.settled.get(at) != Some(&true)
    }

    /// Tells whether that is so of all of them.
    pub(crate) fn are_whole(&self) -> bool {
        self.settled.is_empty()
    }

    /// Notes that the remote has stored what was sent, which was `taken`.
    pub(crate) fn stored(&mut self, taken: &Range<usize>) {
        let Some(piece) = self.stack.pop() else {
            return;
        };
        let Piece {
            range, is_unsure, ..
        } = piece;
        if piece.soundings.is_none() {
            self.push(taken.end..range.end, is_unsure);
            return;
        }
        // A series has only one place to be sounded at, which may be far from the middle.
        let middle = range.start + range.len() / 2;
        if taken.start.abs_diff(middle) <= range.len() / 4 {
            self.push(taken.end..range.end, is_unsure);
            self.push(range.start..taken.start, is_unsure);
        } else if taken.start < middle {
            self.push(middle..range.end, is_unsure);
            self.push(taken.end..middle, is_unsure);
            self.push(range.start..taken.start, is_unsure);
        } else {
            self.push(taken.end..range.end, is_unsure);
            self.push(middle..taken.start, is_unsure);
            self.push(range.start..middle, is_unsure);
        }
    }

    /// Notes that `taken` is done with, though nothing of it has been stored just now.
    pub(crate) fn left_out(&mut self, batch: &Batch, taken: &Range<usize>) {
        let Some(mut piece) = self.stack.pop() else {
            return;
        };
        if let Some(soundings) = piece.soundings.take() {
            self.settle(batch, taken.start);
            self.sound_on(batch, piece, soundings);
        } else {
            self.push(taken.end..piece.range.end, piece.is_unsure);
        }
    }

    /// Notes that it is not known what became of `taken`.
    pub(crate) fn unsure(&mut self, taken: &Range<usize>) {
        // A single sample that is stored is taken again.
        if let Some(piece) = self.stack.pop_if(|piece| piece.soundings.is_none()) {
            self.push(taken.end..piece.range.end, piece.is_unsure);
            self.push(taken.clone(), true);
        }
    }

    /// Has a part sent next.
    pub(crate) fn again(&mut self, part: Range<usize>) {
        self.push(part, false);
    }

    /// Notes that `taken` was refused for what is in it. Returns what is given up; the rest of it is to be sent otherwise.
    pub(crate) fn refused(
        &mut self,
        batch: &Batch,
        taken: &Range<usize>,
        search: Search,
    ) -> GivenUp {
        let Some(mut piece) = self.stack.pop() else {
            return GivenUp::default();
        };
        let mut given_up = GivenUp {
            places: Vec::new(),
            is_unsure: piece.is_unsure,
        };
        if let Some(mut soundings) = piece.soundings.take() {
            self.settle(batch, taken.start);
            given_up.places.push(taken.start);
            soundings
                .refused
                .push(batch.sample(taken.start).1.timestamp);
            if soundings.refused.len() >= soundings.convincing {
                let limit = soundings.convinced();
                for at in piece.range.clone() {
                    if self.is_left(at) && batch.sample(at).1.timestamp <= limit {
                        self.settle(batch, at);
                        given_up.places.push(at);
                    }
                }
            }
            self.sound_on(batch, piece, soundings);
            return given_up;
        }
        self.push(taken.end..piece.range.end, piece.is_unsure);
        let left: Vec<usize> = taken.clone().filter(|at| self.is_left(*at)).collect();
        if left.len() <= 1 {
            given_up.places = left;
        } else if search == Search::Halves || left.len() <= HALVED {
            let middle = left[left.len() / 2];
            self.push(middle..taken.end, piece.is_unsure);
            self.push(taken.start..middle, piece.is_unsure);
        } else {
            piece.range = taken.clone();
            self.sound_on(batch, piece, Soundings::new());
        }
        given_up
    }

    /// Sounds a piece at another place, or has it sent as a whole if that is less work.
    fn sound_on(&mut self, batch: &Batch, mut piece: Piece, mut soundings: Soundings) {
        let range = piece.range.clone();
        let left = range.clone().filter(|at| self.is_left(*at)).count();
        if left > HALVED {
            let series = batch
                .start_of_series(soundings.draw(&range))
                .max(range.start);
            // The first that is left of this series, or of the next that has one.
            let mut places = (series..range.end).chain(range.start..series);
            soundings.at = places.find(|at| self.is_left(*at)).expect("some are left");
            piece.soundings = Some(soundings);
        }
        self.stack.push(piece);
    }

    fn settle(&mut self, batch: &Batch, at: usize) {
        self.settled.resize(batch.len(), false);
        self.settled[at] = true;
    }

    fn push(&mut self, range: Range<usize>, is_unsure: bool) {
        if !range.is_empty() {
            self.stack.push(Piece {
                range,
                is_unsure,
                soundings: None,
            });
        }
    }
}

impl Soundings {
    fn new() -> Self {
        Self {
            at: 0,
            refused: Vec::new(),
            convincing: CONVINCING,
            drawn: 0,
        }
    }

    /// Draws a place: first the middle, so that a single bad sample is soon found, then any.
    fn draw(&mut self, range: &Range<usize>) -> usize {
        let number = match self.drawn {
            0 => range.len() as u64 / 2,
            // Not in regular steps: bad samples may be as regular as the targets they come from.
            drawn => foldhash::fast::FixedState::with_seed(range.start as u64).hash_one(drawn),
        };
        self.drawn += 1;
        range.start + (number % range.len() as u64) as usize
    }

    /// Returns the time up to which everything is given up, and begins anew.
    fn convinced(&mut self) -> Timestamp {
        self.refused.sort_unstable();
        // Not the newest: that of a series which has only begun says nothing about the others.
        let limit = self.refused[(self.refused.len() - 1) / 2];
        self.refused.clear();
        self.convincing = (self.convincing / 2).max(CONVINCING_MIN);
        limit
    }
}

/// Refusals in a row that say that all samples as old as these are refused. If half of them are bad, by chance, the
/// other half is missed once in 2^32 times; if nine of ten are, in three of a hundred.
const CONVINCING: usize = 32;

/// Refusals in a row that say so of samples when all older ones were refused like that: some may be of series that have
/// trouble of their own.
const CONVINCING_MIN: usize = 4;

/// Pieces up to this size are halved: all of one are refused in no more requests than soundings take.
const HALVED: usize = CONVINCING / 2;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::remote::send::batch::BatchBuilder;
    use crate::remote::send::prepare::{Form, Prepared};
    use crate::sample::Sample;

    /// Takes all of a request or nothing, and of each series only what is newer than its newest, or that again.
    #[derive(Default)]
    struct Strict {
        /// Of each series, by the place of its first sample.
        newest: BTreeMap<usize, Timestamp>,
        requests: usize,
        stored: Vec<usize>,
    }

    /// Returns a batch of so many series with samples at these times.
    fn batch(series: usize, times: &[Timestamp]) -> Batch {
        let mut builder = BatchBuilder::default();
        for number in 0..series {
            let labels = format!("metric{{number=\"{number:05}\"}}").parse().unwrap();
            let form = Form::Numbers(Box::default());
            builder.add_series(&Arc::new(Prepared { labels, form }));
        }
        for &timestamp in times {
            for number in 0..series {
                let value = 0.0;
                builder.push(number as u32, Sample { timestamp, value });
            }
        }
        builder.build()
    }

    fn columns(count: i64) -> Vec<Timestamp> {
        (1..=count).collect()
    }

    impl Strict {
        /// Has everything up to a time already.
        fn with_all_up_to(batch: &Batch, time: Timestamp) -> Self {
            let mut strict = Self::default();
            for at in 0..batch.len() {
                let timestamp = batch.sample(at).1.timestamp;
                if timestamp <= time {
                    let newest = strict.newest.entry(batch.start_of_series(at));
                    newest
                        .and_modify(|old| *old = timestamp.max(*old))
                        .or_insert(timestamp);
                }
            }
            strict
        }

        fn takes(
            &mut self,
            batch: &Batch,
            places: &[usize],
            is_bad: &dyn Fn(usize) -> bool,
        ) -> bool {
            self.requests += 1;
            let mut newest: BTreeMap<usize, Timestamp> = BTreeMap::new();
            for &at in places {
                let series = batch.start_of_series(at);
                let timestamp = batch.sample(at).1.timestamp;
                let known = self.newest.get(&series).copied();
                let last = newest.insert(series, timestamp).or(known);
                if is_bad(at) || last > Some(timestamp) {
                    return false;
                }
            }
            self.newest.extend(newest);
            self.stored.extend(places);
            true
        }

        /// Sends all of a batch and returns what is given up of it.
        fn deliver(
            &mut self,
            batch: &Batch,
            search: Search,
            is_bad: &dyn Fn(usize) -> bool,
        ) -> Vec<usize> {
            let mut pieces = Pieces::new(batch, false);
            let mut given_up = Vec::new();
            while let Some(part) = pieces.next() {
                let left = part.clone().filter(|at| pieces.is_left(*at));
                let places: Vec<usize> = left.collect();
                if self.takes(batch, &places, is_bad) {
                    pieces.stored(&part);
                } else {
                    given_up.extend(pieces.refused(batch, &part, search).places);
                }
            }
            let mut all = [given_up.as_slice(), &self.stored].concat();
            all.sort_unstable();
            assert!(all.into_iter().eq(0..batch.len()), "each is settled once");
            given_up.sort_unstable();
            given_up
        }
    }

    const NOTHING: &dyn Fn(usize) -> bool = &|_| false;

    #[test]
    fn few_bad_samples_are_found_among_many_in_few_requests() {
        for (series, times, bad) in [
            (10_000, 1, vec![0]),
            (10_000, 1, vec![9_999]),
            (10_000, 1, vec![1_234, 5_678]),
            (100, 100, vec![4_567]),
            (1, 2_000, vec![777]),
        ] {
            let batch = batch(series, &columns(times));
            let mut remote = Strict::default();
            let given_up = remote.deliver(&batch, Search::Soundings, &|at| bad.contains(&at));
            assert_eq!(given_up, bad);
            let requests = remote.requests;
            assert!(
                requests <= 50 * bad.len(),
                "{requests} for {bad:?} of {series}"
            );
        }
    }

    /// As after an answer that was lost: the newest of each series is taken again.
    #[test]
    fn what_a_remote_has_is_given_up_by_time_and_what_is_news_to_it_is_stored() {
        for (series, times, has) in [(100, 100, 100), (100, 100, 37), (1_000, 3, 2), (7, 50, 30)] {
            let batch = batch(series, &columns(times));
            let mut remote = Strict::with_all_up_to(&batch, has);
            let given_up = remote.deliver(&batch, Search::Soundings, NOTHING);
            let is_old = |at: &usize| batch.sample(*at).1.timestamp < has;
            let old: Vec<usize> = (0..batch.len()).filter(is_old).collect();
            assert!(given_up == old, "{} of {}", given_up.len(), old.len());
            let steps = usize::try_from(has).unwrap();
            let requests = remote.requests;
            assert!(
                requests <= CONVINCING * 2 + CONVINCING_MIN * steps,
                "{requests} requests for {steps} steps of {series} series"
            );
        }
    }

    #[test]
    fn what_is_refused_as_a_whole_costs_no_more_the_more_series_there_are() {
        for series in [100, 1_000, 10_000] {
            let batch = batch(series, &columns(1));
            let mut remote = Strict::default();
            assert_eq!(
                remote.deliver(&batch, Search::Soundings, &|_| true).len(),
                series
            );
            assert_eq!(remote.requests, 1 + CONVINCING);
        }
        let batch = batch(100, &columns(100));
        let mut remote = Strict::default();
        remote.deliver(&batch, Search::Soundings, &|_| true);
        let requests = remote.requests;
        assert!(
            requests <= CONVINCING * 2 + CONVINCING_MIN * 100,
            "{requests}"
        );
    }

    /// Targets have as many metrics each, and the same of them may be bad.
    #[test]
    fn every_good_series_among_as_many_bad_ones_is_found() {
        let batch = batch(1_024, &columns(4));
        for step in [2, 3, 8, 64] {
            let is_bad = |at: usize| at / 4 % step != 1;
            let mut remote = Strict::default();
            let given_up = remote.deliver(&batch, Search::Soundings, &is_bad);
            let bad: Vec<usize> = (0..batch.len()).filter(|at| is_bad(*at)).collect();
            if step <= 3 {
                assert!(given_up == bad);
            }
            assert!(remote.requests <= 2 * batch.len(), "{}", remote.requests);
        }
    }

    proptest! {
        /// Whatever is refused: each sample is stored or given up, once, each series in order, and in no more requests than
        /// halves would take. Halves give up nothing that is good.
        #[test]
        fn all_samples_are_settled_in_order(
            series in 1..200_usize,
            times in prop::collection::vec(0..50_i64, 1..20),
            has in 0..50_i64,
            bad in 0..101_u64,
        ) {
            let batch = batch(series, &times);
            let is_bad = |at: usize| foldhash::fast::FixedState::with_seed(7).hash_one(at) % 100 < bad;
            for search in [Search::Halves, Search::Soundings] {
                let mut remote = Strict::with_all_up_to(&batch, has);
                remote.deliver(&batch, search, &is_bad);
                prop_assert!(remote.requests <= 2 * batch.len() + 1, "{}", remote.requests);
            }
            let mut remote = Strict::default();
            let mut sorted = times;
            sorted.sort_unstable();
            let batch = self::batch(series, &sorted);
            let given_up = remote.deliver(&batch, Search::Halves, &is_bad);
            prop_assert!(given_up.iter().all(|at| is_bad(*at)));
        }
    }
}
