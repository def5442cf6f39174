//! What a sender knows of the series it has met.

use std::collections::HashMap;
use std::sync::Arc;

use crate::remote::{Prepared, UnsentReason};

/// The series that were met. Those of a scrape follow each other here as they do in the log, so that most are found without
/// a look at their id's hash.
#[derive(Default)]
pub(super) struct SeriesTable {
    pub(super) slots: Vec<Known>,
    /// Slots that nothing is in.
    free: Vec<u32>,
    by_id: HashMap<u64, u32, foldhash::fast::RandomState>,
}

/// A series that was met.
pub(super) struct Known {
    id: u64,
    /// What goes out for it, or why nothing does.
    pub(super) prepared: Result<Arc<Prepared>, UnsentReason>,
    /// The batch of its part that it was last added to, and its number there.
    pub(super) batch: u64,
    pub(super) number: u32,
    /// Whether it was met since the last sweep.
    pub(super) is_used: bool,
    /// Whether it is among those that are forgotten with their batch.
    pub(super) is_passing: bool,
}

impl SeriesTable {
    /// Returns how many series are known.
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Returns the slot of a series, which may well be `guess`.
    #[inline]
    pub(super) fn find(&self, id: u64, guess: u32) -> Option<u32> {
        match self.slots.get(guess as usize) {
            Some(known) if known.id == id => Some(guess),
            _ => self.by_id.get(&id).copied(),
        }
    }

    pub(super) fn insert(&mut self, id: u64, prepared: Result<Arc<Prepared>, UnsentReason>) -> u32 {
        let known = Known {
            id,
            prepared,
            batch: 0,
            number: 0,
            is_used: true,
            is_passing: false,
        };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = known;
                slot
            }
            None => {
                self.slots.push(known);
                (self.slots.len() - 1) as u32
            }
        };
        self.by_id.insert(id, slot);
        slot
    }

    /// Empties a slot; nothing happens if it is empty.
    pub(super) fn remove(&mut self, slot: u32) {
        let known = &mut self.slots[slot as usize];
        if self.by_id.remove(&known.id).is_some() {
            known.id = NO_SERIES;
            known.prepared = Err(UnsentReason::Unnamed);
            self.free.push(slot);
        }
    }
}

/// The id of no series.
const NO_SERIES: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_that_is_used_again_answers_for_its_new_series_only() {
        let mut series = SeriesTable::default();
        let unnamed = || Err(UnsentReason::Unnamed);
        let slot = series.insert(7, unnamed());
        assert_eq!(series.find(7, u32::MAX), Some(slot));
        series.remove(slot);
        series.remove(slot);
        assert_eq!((series.find(7, slot), series.len()), (None, 0));
        assert_eq!(series.insert(8, unnamed()), slot);
        assert_eq!(series.find(7, slot), None);
        assert_eq!(series.find(8, slot), Some(slot));
        assert_ne!(series.insert(9, unnamed()), slot);
    }
}
