//! How commits go over the pages of the series they have samples of.

use parking_lot::MutexGuard;

use crate::time::Timestamp;

use super::blocks::Blocks;
use super::front::Front;
use super::page::Page;
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

    /// Adds a sample to the series in a slot.
    pub(crate) fn push(&mut self, slot: u32, timestamp: Timestamp, value: f64, sequence: u64) {
        self.page(slot)
            .push(&[(slot, timestamp)], &[value], sequence, NOBODY);
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

    /// Adds samples, as many values as slots and timestamps, and settles what `by` has announced of them.
    #[inline]
    pub(crate) fn push(
        &mut self,
        samples: &[(u32, Timestamp)],
        values: &[f64],
        sequence: u64,
        by: u32,
    ) {
        // A commit may bring any number, and what gathers has a limit.
        for (samples, values) in samples.chunks(PAGE).zip(values.chunks(PAGE)) {
            if self.page.is_due() {
                self.store.drain(self.first, self.page, self.blocks);
            }
            self.page.push(samples, values, sequence, by);
        }
    }
}

/// Announces nothing.
const NOBODY: u32 = 0;

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
