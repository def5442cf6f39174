//! Samples that are in no row: each series has streamed chunks of its own.
//!
//! 1. Series lie in pages by slot, so a commit finds them without hashing, and series that were created together lie
//!    together. Pages belong to stripes, each with a lock: readers of some series do not wait for writers of others.
//! 2. A commit announces the times it brings ([`Front::reserve`](front::Front::reserve)), writes its frame, and adds its samples
//!    ([`LonePage::push`](cursor::LonePage::push)); no lock is held in between.
//! 3. Samples gather in their page and go to their series several at a time. Whoever looks at anything but a front has
//!    them go there first, so nobody else sees that they gather.
//! 4. In order, samples go to an open Gorilla chunk; what is older than its newest sample goes to a short sorted buffer
//!    that becomes a chunk when it is full. No chunk crosses a boundary of the block range, so a flush drops whole chunks.
//! 5. Closed chunks are written to piece files, many together ([`LoneStore::spill`]); a checkpoint stores what is open. It
//!    marks a moment while no commit goes on, and copies pages afterwards; whoever changes one before copies it first.
//!
//! A timestamp stands once in a series: whoever adds a sample has looked first. A deletion ends all chunks of its series,
//! so that the sequence of a chunk tells whether its samples came before the deletion. That sequence is at least the one
//! of the chunk's newest sample, and below that of the deletion that ended it.

mod blocks;
mod closed;
mod cursor;
mod front;
mod page;
mod pending;
mod series;
mod snapshot;
mod stored;
mod stream;

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::time::{TimeRange, Timestamp};

use blocks::Blocks;
pub(crate) use closed::ClosedChunk;
pub(crate) use cursor::Announced;
use cursor::LonePage;
pub(crate) use page::LoneView;
use page::Page;
pub(crate) use page::Row as LoneRow;
pub(crate) use series::LoneSeries;

/// More stripes than threads that write, so that they seldom meet.
const STRIPES: usize = 64;

/// Slots of a page: about a scraped target.
const PAGE: usize = 1024;

/// Series that are looked at to tell whether all are blank, some microseconds.
const BLANK_SERIES_MAX: usize = 1024;

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
#[derive(Debug)]
struct Stripe {
    pages: Vec<Option<Box<Page>>>,
    blocks: Blocks,
}

fn stripe_of(slot: u32) -> usize {
    slot as usize / PAGE % STRIPES
}

fn place_of_page(slot: u32) -> usize {
    slot as usize / PAGE / STRIPES
}

/// Returns the first slot of a page.
fn slot_of_page(stripe: usize, at: usize) -> u32 {
    ((at * STRIPES + stripe) * PAGE) as u32
}

impl LoneStore {
    pub(crate) fn new(range_ms: i64) -> Self {
        let stripe = || {
            Mutex::new(Stripe {
                pages: Vec::new(),
                blocks: Blocks::new(),
            })
        };
        Self {
            range_ms,
            stripes: (0..STRIPES).map(|_| stripe()).collect(),
            unspilled: Mutex::default(),
            unspilled_bytes: AtomicUsize::new(0),
            next_token: AtomicU32::new(1),
            restored_through: AtomicU64::new(0),
        }
    }

    /// Splits samples, slots and timestamps, into runs whose series lie in one page.
    pub(crate) fn runs(samples: &[(u32, Timestamp)]) -> impl Iterator<Item = &[(u32, Timestamp)]> {
        let page_of = |sample: &(u32, Timestamp)| sample.0 as usize / PAGE;
        let mut rest = samples;
        std::iter::from_fn(move || {
            let page = page_of(rest.first()?);
            let count = rest.iter().position(|sample| page_of(sample) != page);
            let (run, behind) = rest.split_at(count.unwrap_or(rest.len()));
            rest = behind;
            Some(run)
        })
    }

    /// Gives the samples that have gathered in a page to their series.
    fn drain(&self, first: u32, page: &mut Page, blocks: &mut Blocks) {
        page.drain(self.range_ms, blocks, &mut |slot, closed| {
            self.note_unspilled(first + u32::from(slot), closed);
        });
    }

    /// Calls `visit` with the page of a slot, drained, if there is one.
    fn with_page<R>(
        &self,
        slot: u32,
        visit: impl FnOnce(&mut Page, &mut Blocks) -> R,
    ) -> Option<R> {
        let (number, at) = (stripe_of(slot), place_of_page(slot));
        let stripe = &mut *self.stripes[number].lock();
        let page = stripe.pages.get_mut(at)?.as_mut()?;
        self.drain(slot_of_page(number, at), page, &mut stripe.blocks);
        Some(visit(page, &mut stripe.blocks))
    }

    /// Calls `visit` with each page, drained, and its first slot; a page that is empty afterwards goes.
    fn for_each_page(&self, mut visit: impl FnMut(u32, &mut Page, &mut Blocks)) {
        for (number, stripe) in self.stripes.iter().enumerate() {
            let stripe = &mut *stripe.lock();
            for at in 0..stripe.pages.len() {
                if let Some(page) = &mut stripe.pages[at] {
                    let first = slot_of_page(number, at);
                    self.drain(first, page, &mut stripe.blocks);
                    visit(first, page, &mut stripe.blocks);
                    if page.len() == 0 {
                        stripe.pages[at] = None;
                    }
                }
            }
            if stripe.pages.iter().all(Option::is_none) {
                stripe.blocks = Blocks::new();
            }
        }
    }

    /// Returns what tells one committer's announcements from another's; never 0.
    pub(crate) fn next_token(&self) -> u32 {
        // Odd numbers only. Relaxed: they only have to differ.
        self.next_token.fetch_add(2, Ordering::Relaxed)
    }

    /// Tells whether certainly no series has a sample in `range`; with many series nobody looks.
    pub(crate) fn is_blank(&self, range: TimeRange) -> bool {
        let mut looked = 0;
        self.stripes.iter().enumerate().all(|(number, stripe)| {
            let stripe = &mut *stripe.lock();
            (0..stripe.pages.len()).all(|at| {
                let Some(page) = &mut stripe.pages[at] else {
                    return true;
                };
                looked += page.len();
                if looked > BLANK_SERIES_MAX {
                    return false;
                }
                self.drain(slot_of_page(number, at), page, &mut stripe.blocks);
                page.streams().iter().all(|stream| {
                    let mut overlaps = false;
                    stream.for_each_span(|first, last| {
                        overlaps |= TimeRange::closed(first, last).overlaps(&range);
                    });
                    !overlaps
                })
            })
        })
    }

    /// Returns the timestamp of a series' newest lone sample, or of its newest row in a group it left.
    pub(crate) fn newest(&self, slot: u32) -> Option<Timestamp> {
        {
            let stripe = self.stripes[stripe_of(slot)].lock();
            let page = stripe.pages.get(place_of_page(slot))?.as_ref()?;
            let newest = page.get_front(slot)?.newest();
            if newest != i64::MIN {
                return Some(newest);
            }
        }
        // None, or one sample at the beginning of time.
        self.with_page(slot, |page, blocks| page.get(slot, blocks)?.newest())?
    }

    /// Notes that a series without a home has samples up to `newest`; [`i64::MIN`] for none.
    pub(crate) fn note_newest(&self, slot: u32, newest: Timestamp) {
        if newest != i64::MIN {
            let mut cursor = self.cursor();
            let LonePage {
                page,
                blocks,
                first,
                ..
            } = cursor.page(slot);
            self.drain(first, page, blocks);
            page.note_newest(slot, newest);
        }
    }

    /// Copies what a reader needs of a series.
    pub(crate) fn get(&self, slot: u32) -> Option<LoneSeries> {
        self.with_page(slot, |page, blocks| {
            let series = page.get(slot, blocks)?;
            series.has_samples().then(|| series.copy())
        })?
    }

    /// Tells whether a series has lone samples.
    pub(crate) fn has_samples(&self, slot: u32) -> bool {
        self.with_page(slot, |page, blocks| {
            page.get(slot, blocks)
                .is_some_and(|series| series.has_samples())
        })
        .unwrap_or(false)
    }

    /// Tells whether a series has lone samples or a floor that is not below `boundary`.
    pub(crate) fn is_needed(&self, slot: u32, boundary: Timestamp) -> bool {
        self.with_page(slot, |page, blocks| {
            page.get(slot, blocks)
                .is_some_and(|series| series.is_needed(boundary))
        })
        .unwrap_or(false)
    }

    /// Forgets a series.
    pub(crate) fn remove(&self, slot: u32) {
        self.with_page(slot, |page, blocks| page.remove(slot, blocks));
    }

    /// Ends the open chunk of a series, because some of its samples are being deleted.
    pub(crate) fn close(&self, slot: u32) {
        let closed = self.with_page(slot, |page, blocks| {
            let stream = page.stream_mut(slot)?;
            Some(stream.close_all(self.range_ms, blocks))
        });
        self.note_unspilled(slot, closed.flatten().unwrap_or(0));
    }

    /// Closes every open chunk and late buffer, so that later samples go to chunks of their own.
    pub(crate) fn close_all(&self) {
        self.for_each_page(|first, page, blocks| {
            for slot in first..first + PAGE as u32 {
                if let Some(stream) = page.stream_mut(slot) {
                    let closed = stream.close_all(self.range_ms, blocks);
                    self.note_unspilled(slot, closed);
                }
            }
        });
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
        self.for_each_page(|_, page, blocks| page.truncate(boundary, sequence, blocks));
    }

    /// Returns the spans of time that lone samples before `boundary` lie in.
    pub(crate) fn ranges_before(&self, boundary: Timestamp) -> Vec<TimeRange> {
        let mut ranges = Vec::new();
        self.for_each(|_, series| {
            series.stream.for_each_span(|first, _| {
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
            series.stream.for_each_span(|first, last| {
                span = Some(span.map_or((first, last), |(low, high)| {
                    (low.min(first), high.max(last))
                }));
            });
        });
        span
    }

    /// Calls `visit` with each series that has samples or a floor, in the same order every time.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(u32, LoneView<'_>)) {
        self.for_each_page(|first, page, blocks| {
            page.for_each(blocks, |slot, series| {
                visit(first + u32::from(slot), series);
            });
        });
    }

    /// Puts a chunk back that a piece holds.
    pub(crate) fn restore_chunk(&self, slot: u32, chunk: ClosedChunk) {
        self.cursor().page(slot).page.restore_closed(slot, chunk);
    }

    /// Puts back what a lone file knows of a series.
    pub(crate) fn restore(&self, slot: u32, series: LoneSeries) {
        let mut cursor = self.cursor();
        let LonePage { page, blocks, .. } = cursor.page(slot);
        page.restore(slot, series, blocks);
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

    /// Returns the bytes of open chunks, which each checkpoint writes.
    pub(crate) fn open_bytes(&self) -> usize {
        let stripes = self.stripes.iter();
        stripes
            .map(|stripe| stripe.lock().blocks.used_bytes())
            .sum()
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let mut bytes = self.stripes.len() * size_of::<Mutex<Stripe>>();
        for stripe in &self.stripes {
            let mut stripe = stripe.lock();
            bytes += stripe.pages.capacity() * size_of::<usize>() + stripe.blocks.memory_bytes();
            let pages = stripe.pages.iter_mut().flatten();
            bytes += pages.map(|page| page.memory_bytes()).sum::<usize>();
        }
        bytes
    }

    /// Returns the number of chunks.
    pub(crate) fn chunk_count(&self) -> usize {
        let mut chunks = 0;
        self.for_each(|_, series| chunks += series.stream.chunk_count());
        chunks
    }
}

#[cfg(test)]
mod tests {
    use crate::sample::Samples;

    use super::*;

    const RANGE_MS: i64 = 7_200_000;

    #[test]
    fn slots_of_all_pages_and_stripes_are_kept_apart_and_come_in_order() {
        let store = LoneStore::new(RANGE_MS);
        let slots: Vec<u32> = (0..200u32).map(|number| number * 977 % 200_003).collect();
        for &slot in &slots {
            store.note_newest(slot, i64::from(slot) + 1);
        }
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

    fn read(store: &LoneStore, slot: u32) -> Vec<(Timestamp, u64)> {
        let mut samples = Samples::default();
        if let Some(series) = store.get(slot) {
            let range = TimeRange::ALL;
            series.read(range, &[], |_, _| false, &mut samples).unwrap();
        }
        let samples = samples.iter();
        samples
            .map(|sample| (sample.timestamp, sample.value.to_bits()))
            .collect()
    }

    #[test]
    fn samples_that_gather_end_up_as_if_each_had_gone_to_its_series_at_once() {
        let (gathered, direct) = (LoneStore::new(RANGE_MS), LoneStore::new(RANGE_MS));
        let mut cursor = gathered.cursor();
        for number in 0..200_000u32 {
            let slot = number * 7919 % 1500;
            let (timestamp, value) = (
                i64::from(number) * 40 - if number % 97 == 3 { 90_000 } else { 0 },
                f64::from(number % 1013) / 8.0,
            );
            cursor.push(slot, timestamp, value, u64::from(number));
            direct
                .cursor()
                .push(slot, timestamp, value, u64::from(number));
            // Whoever looks has them go to their series.
            direct.has_samples(slot);
        }
        drop(cursor);
        assert_eq!(gathered.newest(7), direct.newest(7));
        assert_eq!(gathered.chunk_count(), direct.chunk_count());
        assert_eq!(gathered.span(), direct.span());
        assert_eq!(gathered.mark(), direct.mark());
        for slot in 0..1500 {
            let samples = read(&gathered, slot);
            assert!(samples.len() > 100);
            assert_eq!(samples, read(&direct, slot));
        }
    }

    /// Announces and adds samples as a commit does; answers how many were in order.
    fn commit(store: &LoneStore, samples: &[(u32, Timestamp)], sequence: u64, by: u32) -> usize {
        let mut cursor = store.cursor();
        let mut page = cursor.page(samples[0].0);
        let mut announced = vec![Announced::default(); samples.len()];
        let row = page.find_row(samples);
        let count = page.announce(samples, row, by, &mut announced);
        if count == samples.len() {
            let values: Vec<f64> = samples.iter().map(|sample| sample.1 as f64).collect();
            page.push_announced(samples, row, &announced, &values, sequence, by);
        }
        count
    }

    #[test]
    fn series_that_follow_each_other_take_the_same_as_those_in_any_order() {
        let (rows, single) = (LoneStore::new(RANGE_MS), LoneStore::new(RANGE_MS));
        for round in 0..200u32 {
            // Places and slots are the same, next to each other, and then not, as a series came in between.
            let (first, last) = (round % 3 * 100, 700 + round % 2);
            let slots = (first..last).filter(|slot| round > 40 || *slot != 450);
            let samples: Vec<_> = slots
                .map(|slot| (slot, i64::from(round * 50 + slot)))
                .collect();
            let sequence = u64::from(round);
            assert_eq!(commit(&rows, &samples, sequence, 1), samples.len());
            for sample in samples.iter().rev() {
                assert_eq!(commit(&single, &[*sample], sequence, 1), 1);
            }
        }
        for slot in 0..701 {
            assert_eq!(rows.newest(slot), single.newest(slot));
            assert_eq!(read(&rows, slot), read(&single, slot));
        }
        assert_eq!(read(&rows, 450).len(), 159);
    }

    #[test]
    fn announcement_of_a_row_ends_where_a_series_is_not_in_order() {
        let store = LoneStore::new(RANGE_MS);
        let samples: Vec<_> = (10..50).map(|slot| (slot, 100)).collect();
        assert_eq!(commit(&store, &samples, 1, 1), 40);
        assert_eq!(commit(&store, &[(30, 150)], 2, 1), 1);
        let later: Vec<_> = (10..50).map(|slot| (slot, 120)).collect();
        assert!(store.cursor().page(10).find_row(&later).is_some());
        assert_eq!(commit(&store, &later, 3, 1), 20);
    }

    #[test]
    fn a_deletion_finds_what_has_gathered_in_a_chunk_of_its_own() {
        let store = LoneStore::new(RANGE_MS);
        store.cursor().push(3, 10, 1.0, 5);
        store.close(3);
        store.cursor().push(3, 20, 1.0, 7);
        let series = store.get(3).unwrap();
        let mut samples = Samples::default();
        let is_deleted = |_, sequence| sequence < 6;
        series
            .read(TimeRange::ALL, &[], is_deleted, &mut samples)
            .unwrap();
        assert_eq!(samples.timestamps, [20]);
    }
}
