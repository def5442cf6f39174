//! How commits go over the pages of the series they have samples of.

use parking_lot::MutexGuard;

use crate::time::Timestamp;

use super::blocks::Blocks;
use super::front::Front;
use super::page::{Page, Row};
use super::{LoneStore, PAGE, Stripe, place_of_page, slot_of_page, stripe_of};

/// Goes from page to page and holds the lock of one stripe at a time.
#[derive(Debug)]
pub(crate) struct LoneCursor<'a> {
    store: &'a LoneStore,
    stripe: usize,
    guard: Option<MutexGuard<'a, Stripe>>,
}

impl LoneCursor<'_> {
    /// Returns the page of a slot.
    #[inline]
    pub(crate) fn page(&mut self, slot: u32) -> LonePage<'_> {
        let number = stripe_of(slot);
        if number != self.stripe {
            // Before the next one is locked: whoever holds two may meet somebody who holds them the other way round.
            self.guard = None;
            self.stripe = number;
        }
        let store = self.store;
        let stripe = &mut **self
            .guard
            .get_or_insert_with(|| store.stripes[number].lock());
        let at = place_of_page(slot);
        if stripe.pages.len() <= at {
            stripe.pages.resize_with(at + 1, || None);
        }
        LonePage {
            store,
            first: slot_of_page(number, at),
            page: stripe.pages[at].get_or_insert_with(|| Box::new(Page::new())),
            blocks: &mut stripe.blocks,
        }
    }

    /// Adds samples, as many values as slots and timestamps.
    pub(crate) fn push_all(
        &mut self,
        samples: &[(u32, Timestamp)],
        mut values: &[f64],
        sequence: u64,
    ) {
        for run in LoneStore::runs(samples) {
            let (own, rest) = values.split_at(run.len());
            self.page(run[0].0).push(run, own, sequence);
            values = rest;
        }
    }

    /// Adds a sample to the series in a slot.
    pub(crate) fn push(&mut self, slot: u32, timestamp: Timestamp, value: f64, sequence: u64) {
        self.page(slot)
            .push(&[(slot, timestamp)], &[value], sequence);
    }
}

/// A page while its stripe is locked. Its slots are those that [`LoneStore::page_of`] tells the same of.
#[derive(Debug)]
pub(crate) struct LonePage<'a> {
    store: &'a LoneStore,
    pub(super) first: u32,
    pub(super) page: &'a mut Page,
    pub(super) blocks: &'a mut Blocks,
}

impl LonePage<'_> {
    /// Returns the front of the series in a slot; one that has no lone samples begins without any.
    #[inline]
    pub(crate) fn front(&mut self, slot: u32) -> &mut Front {
        self.page.front(slot)
    }

    /// Returns where the series of samples are, if they follow each other.
    #[inline]
    pub(crate) fn find_row(&self, samples: &[(u32, Timestamp)]) -> Option<Row> {
        self.page.find_row(samples)
    }

    /// Announces samples for `by` and puts what is known of each then into `announced`, of which there are as many; answers
    /// how many are in order, up to the first one that is not.
    pub(crate) fn announce(
        &mut self,
        samples: &[(u32, Timestamp)],
        row: Option<Row>,
        by: u32,
        announced: &mut [Announced],
    ) -> usize {
        self.page.announce(samples, row, by, announced)
    }

    /// Adds samples, as many values as slots and timestamps.
    pub(crate) fn push(&mut self, samples: &[(u32, Timestamp)], values: &[f64], sequence: u64) {
        // A commit may bring any number, and what gathers has a limit.
        for (samples, values) in samples.chunks(PAGE).zip(values.chunks(PAGE)) {
            self.drain_if_due();
            self.page.push(samples, values, sequence);
        }
    }

    /// Adds the samples that `by` has announced, and lets others announce some.
    pub(crate) fn push_announced(
        &mut self,
        samples: &[(u32, Timestamp)],
        row: Option<Row>,
        announced: &[Announced],
        values: &[f64],
        sequence: u64,
        by: u32,
    ) {
        let announced = announced.chunks(PAGE);
        let columns = samples.chunks(PAGE).zip(announced).zip(values.chunks(PAGE));
        // A row is no longer than a page, so it is one of these as a whole.
        for ((samples, announced), values) in columns {
            self.drain_if_due();
            self.page
                .push_announced(samples, row, announced, values, sequence, by);
        }
    }

    #[inline]
    fn drain_if_due(&mut self) {
        if self.page.is_due() {
            self.store.drain(self.first, self.page, self.blocks);
        }
    }
}

/// What a commit keeps of a sample that it has announced.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Announced {
    /// Newest of the series before.
    pub(crate) before: Timestamp,
    /// Where the series is in its page; it stays there as long as the announcement does.
    pub(super) place: u16,
    /// The decimal scale its latest value was written at; then, of the announced one.
    pub(crate) scale_hint: u8,
}

impl LoneStore {
    /// Returns a cursor, which holds no lock yet.
    pub(crate) fn cursor(&self) -> LoneCursor<'_> {
        LoneCursor {
            store: self,
            stripe: 0,
            guard: None,
        }
    }
}
