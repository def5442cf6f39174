//! What was deleted from samples that are still in the head.
//!
//! A tombstone hides what was committed before it and nothing later.

use std::collections::HashMap;

use crate::time::Timestamp;

use super::memory::{OVERHEAD_BYTES, shrink_table, table_bytes};

/// Deleted spans by slot.
#[derive(Debug, Default, Clone)]
pub(crate) struct HeadTombstones {
    by_slot: HashMap<u32, Vec<Deleted>>,
}

/// A closed span of time, deleted by the frame `sequence`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deleted {
    pub(crate) sequence: u64,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
}

impl Deleted {
    /// Tells whether this hides a sample that came with the frame `sequence`.
    pub(crate) fn hides(&self, timestamp: Timestamp, sequence: u64) -> bool {
        sequence < self.sequence && self.first <= timestamp && timestamp <= self.last
    }
}

impl HeadTombstones {
    pub(crate) fn add(&mut self, slot: u32, deleted: Deleted) {
        self.by_slot.entry(slot).or_default().push(deleted);
    }

    /// Returns what was deleted from a series.
    pub(crate) fn get(&self, slot: u32) -> &[Deleted] {
        self.by_slot.get(&slot).map_or(&[], Vec::as_slice)
    }

    /// Forgets tombstones that end before `boundary` and hide nothing that came after `sequence`, and series that are
    /// gone.
    pub(crate) fn truncate(
        &mut self,
        boundary: Timestamp,
        sequence: u64,
        is_gone: impl Fn(u32) -> bool,
    ) {
        self.by_slot.retain(|&slot, deleted| {
            deleted.retain(|deleted| deleted.last >= boundary || deleted.sequence > sequence + 1);
            !deleted.is_empty() && !is_gone(slot)
        });
        shrink_table(&mut self.by_slot);
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let spans = self.by_slot.values();
        let spans = spans.map(|deleted| deleted.capacity() * size_of::<Deleted>() + OVERHEAD_BYTES);
        table_bytes(&self.by_slot) + spans.sum::<usize>()
    }

    /// Returns every tombstone, ordered by sequence and slot.
    pub(crate) fn all(&self) -> Vec<(u32, Deleted)> {
        let mut all: Vec<(u32, Deleted)> = self
            .by_slot
            .iter()
            .flat_map(|(&slot, deleted)| deleted.iter().map(move |deleted| (slot, *deleted)))
            .collect();
        all.sort_by_key(|(slot, deleted)| (deleted.sequence, *slot, deleted.first));
        all
    }
}
