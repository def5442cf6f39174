//! Samples that are in no row: each series has streamed chunks of its own.
//!
//! 1. Series lie in pages by slot, so a commit finds them without hashing, and series that were created together lie
//!    together. Pages belong to stripes, each with a lock: readers of some series do not wait for writers of others.
//! 2. A commit reserves the times it brings ([`LoneSeries::reserve`]), writes its frame, and adds its samples
//!    ([`LoneSeries::push`]); no lock is held in between.
//! 3. In order, samples go to an open Gorilla chunk; what is older than its newest sample goes to a short sorted buffer
//!    that becomes a chunk when it is full. No chunk crosses a boundary of the block range, so a flush drops whole chunks.
//! 4. Closed chunks are written to piece files, many together ([`LoneStore::spill`]); a checkpoint stores what is open.
//!
//! A timestamp stands once in a series: whoever adds a sample has looked first. A deletion ends all chunks of its series,
//! so that the newest sequence of a chunk tells whether its samples came before the deletion.

mod closed;
mod series;
mod stored;

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};

use crate::time::{TimeRange, Timestamp};

pub(crate) use closed::ClosedChunk;
pub(crate) use series::LoneSeries;

/// More stripes than threads that write, so that they seldom meet.
const STRIPES: usize = 64;

/// Slots of a page: about a scraped target.
const PAGE: usize = 1024;

/// Series that are looked at to tell whether all are blank, some microseconds.
const BLANK_SERIES_MAX: usize = 1024;

/// No series of the page has this place.
const NO_PLACE: u16 = u16::MAX;

/// All lone samples.
#[derive(Debug)]
pub(crate) struct LoneStore {
    range_ms: i64,
    /// Taken after groups' locks, one at a time, and held for no I/O.
    stripes: Box<[Mutex<Stripe>]>,
    /// Slots of series with closed chunks in memory. Taken after a stripe; no other lock is taken under it.
    unspilled: Mutex<Vec<u32>>,
    /// Bytes of those chunks.
    unspilled_bytes: AtomicUsize,
    next_token: AtomicU32,
    /// A checkpoint has restored all lone samples up to this sequence.
    restored_through: AtomicU64,
}

/// Every [`STRIPES`]th page.
#[derive(Debug, Default)]
struct Stripe {
    pages: Vec<Option<Box<Page>>>,
}

/// The series of a run of slots.
#[derive(Debug)]
struct Page {
    /// Where in `series` a slot's is: most series are in rows only and take two bytes here.
    places: [u16; PAGE],
    series: Vec<LoneSeries>,
    free: Vec<u16>,
}

impl Page {
    fn new() -> Self {
        Self {
            places: [NO_PLACE; PAGE],
            series: Vec::new(),
            free: Vec::new(),
        }
    }

    fn get(&self, slot: u32) -> Option<&LoneSeries> {
        self.series
            .get(usize::from(self.places[slot as usize % PAGE]))
    }

    fn get_mut(&mut self, slot: u32) -> Option<&mut LoneSeries> {
        self.series
            .get_mut(usize::from(self.places[slot as usize % PAGE]))
    }

    #[inline]
    fn series(&mut self, slot: u32) -> &mut LoneSeries {
        let mut place = self.places[slot as usize % PAGE];
        if place == NO_PLACE {
            place = self.add(slot);
        }
        &mut self.series[usize::from(place)]
    }

    #[cold]
    fn add(&mut self, slot: u32) -> u16 {
        let place = self.free.pop().unwrap_or_else(|| {
            self.series.push(LoneSeries::default());
            (self.series.len() - 1) as u16
        });
        self.places[slot as usize % PAGE] = place;
        place
    }

    fn remove(&mut self, slot: u32) {
        let place = std::mem::replace(&mut self.places[slot as usize % PAGE], NO_PLACE);
        if let Some(series) = self.series.get_mut(usize::from(place)) {
            *series = LoneSeries::default();
            self.free.push(place);
        }
    }

    fn retain(&mut self, mut keep: impl FnMut(&mut LoneSeries) -> bool) {
        for at in 0..PAGE as u32 {
            if self.get_mut(at).is_some_and(|series| !keep(series)) {
                self.remove(at);
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.series.len() == self.free.len()
    }
}

impl Stripe {
    fn page(&self, slot: u32) -> Option<&Page> {
        self.pages.get(place_of_page(slot))?.as_deref()
    }

    fn page_mut(&mut self, slot: u32) -> Option<&mut Page> {
        self.pages.get_mut(place_of_page(slot))?.as_deref_mut()
    }

    #[inline]
    fn series(&mut self, slot: u32) -> &mut LoneSeries {
        let at = place_of_page(slot);
        if self.pages.len() <= at {
            self.pages.resize_with(at + 1, || None);
        }
        self.pages[at]
            .get_or_insert_with(|| Box::new(Page::new()))
            .series(slot)
    }
}

fn stripe_of(slot: u32) -> usize {
    slot as usize / PAGE % STRIPES
}

fn place_of_page(slot: u32) -> usize {
    slot as usize / PAGE / STRIPES
}

fn slots_of_page(stripe: usize, at: usize) -> impl Iterator<Item = u32> {
    let first = (at * STRIPES + stripe) * PAGE;
    (first..first + PAGE).map(|slot| slot as u32)
}

/// Goes from series to series and holds the lock of one stripe at a time.
#[derive(Debug)]
pub(crate) struct LoneCursor<'a> {
    store: &'a LoneStore,
    stripe: usize,
    guard: Option<MutexGuard<'a, Stripe>>,
}

impl LoneCursor<'_> {
    /// Returns the series in a slot; one that has no lone samples begins without any.
    #[inline]
    pub(crate) fn series(&mut self, slot: u32) -> &mut LoneSeries {
        let stripe = stripe_of(slot);
        if stripe != self.stripe {
            // Before the next one is locked: whoever holds two may meet somebody who holds them the other way round.
            self.guard = None;
            self.stripe = stripe;
        }
        let store = self.store;
        self.guard
            .get_or_insert_with(|| store.stripes[stripe].lock())
            .series(slot)
    }

    /// Adds a sample to the series in a slot, and returns the series.
    #[inline]
    pub(crate) fn push(
        &mut self,
        slot: u32,
        timestamp: Timestamp,
        value: f64,
        sequence: u64,
    ) -> &mut LoneSeries {
        let store = self.store;
        let series = self.series(slot);
        let closed = series.push(timestamp, value, sequence, store.range_ms);
        if closed > 0 {
            store.note_unspilled(slot, closed);
        }
        series
    }
}

impl LoneStore {
    pub(crate) fn new(range_ms: i64) -> Self {
        Self {
            range_ms,
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            unspilled: Mutex::default(),
            unspilled_bytes: AtomicUsize::new(0),
            next_token: AtomicU32::new(1),
            restored_through: AtomicU64::new(0),
        }
    }

    fn stripe(&self, slot: u32) -> MutexGuard<'_, Stripe> {
        self.stripes[stripe_of(slot)].lock()
    }

    /// Returns what tells one committer's announcements from another's; never 0.
    pub(crate) fn next_token(&self) -> u32 {
        // Odd numbers only. Relaxed: they only have to differ.
        self.next_token.fetch_add(2, Ordering::Relaxed)
    }

    /// Returns a cursor, which holds no lock yet.
    pub(crate) fn cursor(&self) -> LoneCursor<'_> {
        LoneCursor {
            store: self,
            stripe: 0,
            guard: None,
        }
    }

    /// Tells whether certainly no series has a sample in `range`; with many series nobody looks.
    pub(crate) fn is_blank(&self, range: TimeRange) -> bool {
        let mut looked = 0;
        self.stripes.iter().all(|stripe| {
            let stripe = stripe.lock();
            stripe.pages.iter().flatten().all(|page| {
                looked += page.series.len();
                looked <= BLANK_SERIES_MAX
                    && page.series.iter().all(|series| !series.overlaps(range))
            })
        })
    }

    /// Returns the timestamp of a series' newest lone sample, or of its newest row in a group it left.
    pub(crate) fn newest(&self, slot: u32) -> Option<Timestamp> {
        self.stripe(slot).page(slot)?.get(slot)?.newest()
    }

    /// Notes that a series without a home has samples up to `newest`; [`i64::MIN`] for none.
    pub(crate) fn note_newest(&self, slot: u32, newest: Timestamp) {
        if newest != i64::MIN {
            self.stripe(slot).series(slot).note_newest(newest);
        }
    }

    /// Copies what a reader needs of a series.
    pub(crate) fn get(&self, slot: u32) -> Option<LoneSeries> {
        let stripe = self.stripe(slot);
        let series = stripe.page(slot)?.get(slot)?;
        series.has_samples().then(|| series.clone())
    }

    /// Tells whether a series has lone samples.
    pub(crate) fn has_samples(&self, slot: u32) -> bool {
        let stripe = self.stripe(slot);
        let series = stripe.page(slot).and_then(|page| page.get(slot));
        series.is_some_and(LoneSeries::has_samples)
    }

    /// Tells whether a series has lone samples or a floor that is not below `boundary`.
    pub(crate) fn is_needed(&self, slot: u32, boundary: Timestamp) -> bool {
        let stripe = self.stripe(slot);
        let series = stripe.page(slot).and_then(|page| page.get(slot));
        series.is_some_and(|series| series.is_needed(boundary))
    }

    /// Forgets a series.
    pub(crate) fn remove(&self, slot: u32) {
        if let Some(page) = self.stripe(slot).page_mut(slot) {
            page.remove(slot);
        }
    }

    /// Ends the open chunk of a series, because some of its samples are being deleted.
    pub(crate) fn close(&self, slot: u32) {
        let mut stripe = self.stripe(slot);
        if let Some(series) = stripe.page_mut(slot).and_then(|page| page.get_mut(slot)) {
            let closed = series.close_all(self.range_ms);
            self.note_unspilled(slot, closed);
        }
    }

    /// Closes every open chunk and late buffer, so that later samples go to chunks of their own.
    pub(crate) fn close_all(&self) {
        for (number, stripe) in self.stripes.iter().enumerate() {
            for (at, page) in stripe.lock().pages.iter_mut().enumerate() {
                let Some(page) = page else { continue };
                for slot in slots_of_page(number, at) {
                    if let Some(series) = page.get_mut(slot) {
                        let closed = series.close_all(self.range_ms);
                        self.note_unspilled(slot, closed);
                    }
                }
            }
        }
    }

    fn note_unspilled(&self, slot: u32, bytes: usize) {
        if bytes > 0 {
            // Relaxed: it only says when to look.
            self.unspilled_bytes.fetch_add(bytes, Ordering::Relaxed);
            self.unspilled.lock().push(slot);
        }
    }

    /// Tells whether enough chunks are closed to write them to a file.
    pub(crate) fn is_spill_due(&self) -> bool {
        self.unspilled_bytes.load(Ordering::Relaxed) >= closed::SPILL_BYTES
    }

    fn take_unspilled(&self) -> Vec<u32> {
        self.unspilled_bytes.store(0, Ordering::Relaxed);
        std::mem::take(&mut *self.unspilled.lock())
    }

    fn put_unspilled_back(&self, slots: Vec<u32>) {
        self.unspilled.lock().extend(slots);
        self.unspilled_bytes
            .fetch_add(closed::SPILL_BYTES, Ordering::Relaxed);
    }

    /// Drops closed chunks that lie before `boundary` and hold nothing after `sequence`.
    pub(crate) fn truncate(&self, boundary: Timestamp, sequence: u64) {
        for stripe in &self.stripes {
            for place in &mut stripe.lock().pages {
                let Some(page) = place else { continue };
                page.retain(|series| {
                    series.truncate(boundary, sequence);
                    series.is_needed(boundary)
                });
                if page.is_empty() {
                    *place = None;
                }
            }
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
        for (number, stripe) in self.stripes.iter().enumerate() {
            for (at, page) in stripe.lock().pages.iter().enumerate() {
                let Some(page) = page else { continue };
                for slot in slots_of_page(number, at) {
                    if let Some(series) = page.get(slot) {
                        visit(slot, series);
                    }
                }
            }
        }
    }

    fn for_each_mut(&self, mut visit: impl FnMut(&mut LoneSeries)) {
        for stripe in &self.stripes {
            for page in stripe.lock().pages.iter_mut().flatten() {
                page.series.iter_mut().for_each(&mut visit);
            }
        }
    }

    /// Puts a chunk back that a piece holds.
    pub(crate) fn restore_chunk(&self, slot: u32, chunk: ClosedChunk) {
        self.stripe(slot).series(slot).restore_closed(chunk);
    }

    /// Puts back what a lone file knows of a series.
    pub(crate) fn restore(&self, slot: u32, series: LoneSeries) {
        self.stripe(slot).series(slot).add_restored(series);
    }

    /// Notes that all samples up to `sequence` are restored.
    pub(crate) fn set_restored_through(&self, sequence: u64) {
        // Relaxed: replay begins after it.
        self.restored_through.store(sequence, Ordering::Relaxed);
    }

    /// Tells whether the samples of a frame are there already.
    pub(crate) fn has_restored(&self, sequence: u64) -> bool {
        sequence <= self.restored_through.load(Ordering::Relaxed)
    }

    /// Returns the newest sequence of all samples.
    pub(crate) fn newest_sequence(&self) -> u64 {
        let mut newest = 0;
        self.for_each(|_, series| newest = newest.max(series.newest_sequence()));
        newest
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let mut bytes = self.stripes.len() * size_of::<Mutex<Stripe>>();
        for stripe in &self.stripes {
            let stripe = stripe.lock();
            bytes += stripe.pages.capacity() * size_of::<usize>();
            for page in stripe.pages.iter().flatten() {
                bytes += size_of::<Page>() + page.series.capacity() * size_of::<LoneSeries>();
                bytes += page
                    .series
                    .iter()
                    .map(LoneSeries::heap_bytes)
                    .sum::<usize>();
            }
        }
        bytes
    }

    /// Returns the number of chunks.
    pub(crate) fn chunk_count(&self) -> usize {
        let mut chunks = 0;
        self.for_each(|_, series| chunks += series.chunk_count());
        chunks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_of_all_pages_and_stripes_are_kept_apart_and_come_in_order() {
        let store = LoneStore::new(7_200_000);
        let slots: Vec<u32> = (0..200u32).map(|number| number * 977 % 200_003).collect();
        let mut cursor = store.cursor();
        for &slot in &slots {
            cursor.series(slot).note_newest(i64::from(slot) + 1);
        }
        drop(cursor);
        for &slot in &slots {
            assert_eq!(store.newest(slot), Some(i64::from(slot) + 1));
        }
        let mut seen = Vec::new();
        store.for_each(|slot, _| seen.push(slot));
        seen.sort_unstable();
        let mut expected = slots.clone();
        expected.sort_unstable();
        assert_eq!(seen, expected);
        store.remove(slots[7]);
        assert_eq!(store.newest(slots[7]), None);
        store.truncate(i64::MAX, 0);
        assert_eq!(store.newest(slots[8]), None);
        assert!(
            store
                .stripes
                .iter()
                .all(|stripe| stripe.lock().pages.iter().all(Option::is_none))
        );
    }

    #[test]
    fn announcements_that_are_taken_back_leave_the_newest_time_as_it_was() {
        let (one, other) = (1, 3);
        let mut series = LoneSeries::default();
        series.note_newest(10);
        assert_eq!(series.reserve(20, one), Some(10));
        assert_eq!(series.reserve(40, one), Some(20));
        assert_eq!(series.reserve(50, other), None, "one at a time");
        series.release(20);
        series.release(10);
        assert_eq!(series.reserve(50, other), None, "not before it is settled");
        series.settle(one);
        assert_eq!(series.newest(), Some(10));
        assert_eq!(series.reserve(20, other), Some(10));
    }

    #[test]
    fn who_settles_does_not_end_the_announcement_of_another() {
        let (one, other, third) = (1, 3, 5);
        let mut series = LoneSeries::default();
        series.reserve(20, one);
        series.reserve(30, one);
        series.push(20, 0.0, 1, 7_200_000);
        series.settle(one);
        assert_eq!(series.reserve(40, other), Some(30));
        series.push(30, 0.0, 1, 7_200_000);
        series.settle(one);
        assert_eq!(series.reserve(50, third), None);
        series.release(30);
        series.settle(other);
        assert_eq!(series.newest(), Some(30));
        assert_eq!(series.reserve(40, third), Some(30));
    }
}
