//! What the head takes of memory, added up by part.
//!
//! Capacities count, not what is in them: that is what the allocator gave. What it adds to each allocation is counted where
//! allocations are small and many; holes between them, which it keeps for itself, are not.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Head;

/// A part of the head's series; after so many refusals the memory is added up again, so that a refusal costs a constant
/// share of it however many series there are.
const REFUSALS_PER_SERIES: u64 = 8;

/// Bytes of memory by part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadMemory {
    /// Labels, postings and the tables that find series by them.
    pub(crate) index: usize,
    /// Where each series is, what is deleted of it, and which are not stored yet.
    pub(crate) slots: usize,
    /// Layouts, states, open rows and piece directories.
    pub(crate) groups: usize,
    /// Lone samples.
    pub(crate) lone: usize,
}

impl HeadMemory {
    fn total(&self) -> usize {
        self.index + self.slots + self.groups + self.lone
    }
}

/// What the allocator adds to a small allocation, or a reference count to what it counts.
pub(super) const OVERHEAD_BYTES: usize = 16;

/// Returns the bytes of a map without what its entries point to: a power of two of places, of which seven eighths may be
/// taken, and a byte for each.
pub(super) fn table_bytes<K, V, S>(map: &HashMap<K, V, S>) -> usize {
    match map.capacity() {
        0 => 0,
        capacity => (capacity * 8 / 7).next_power_of_two() * (size_of::<(K, V)>() + 1),
    }
}

/// Gives the memory of most entries back where few are left: a map keeps what it once had otherwise.
pub(super) fn shrink_table<K: Eq + Hash, V, S: BuildHasher>(map: &mut HashMap<K, V, S>) {
    if map.len() < map.capacity() / 4 {
        map.shrink_to_fit();
    }
}

impl Head {
    /// Adds up the bytes the head accounts for. Walks the groups and what is lone, one lock at a time.
    pub(crate) fn memory(&self) -> HeadMemory {
        let groups = self.all_groups();
        let (mut layouts, mut shared) = (HashMap::new(), HashMap::new());
        let mut group_bytes = self.groups.read().memory_bytes();
        for (_, group) in groups {
            let state = group.state.read();
            group_bytes += state.memory_bytes();
            let of_pieces = state.pieces.iter().map(|piece| &piece.layout);
            for layout in of_pieces.chain([&state.layout]) {
                layouts.insert(Arc::as_ptr(layout) as usize, layout.own_bytes());
                let (body, bytes) = layout.shared_bytes();
                shared.insert(body, bytes);
            }
        }
        group_bytes += layouts.values().chain(shared.values()).sum::<usize>();
        // Each guard ends with its statement: a commit holds some of these while it waits for others.
        let slots = self.slots.read().memory_bytes();
        let tombstones = self.tombstones.read().memory_bytes();
        let unstored = self.unstored.lock().capacity() * size_of::<u64>();
        let index = self.index.read().memory_bytes();
        let lone = self.lone.memory_bytes();
        let recent = self.recent.memory_bytes();
        HeadMemory {
            index,
            slots: slots + tombstones + unstored,
            groups: group_bytes,
            lone: lone + recent,
        }
    }

    /// Adds up the bytes the head accounts for, and compares new series with the budget by them from now on.
    pub(crate) fn update_memory_estimate(&self) -> u64 {
        let bytes = self.memory().total() as u64;
        self.memory_estimate.store(bytes, Ordering::Relaxed);
        bytes
    }

    /// Tells whether the head takes `limit` bytes or more. Seals and truncations may have made room since the bytes were
    /// last added up, so refusals add them up again; not each of them, because adding up walks the head.
    pub(super) fn is_beyond_memory(&self, limit: u64) -> bool {
        // Relaxed, all of them: the answer is an estimate.
        if self.memory_estimate.load(Ordering::Relaxed) < limit {
            return false;
        }
        let refused = self.refused_for_memory.fetch_add(1, Ordering::Relaxed);
        if refused < self.series_count() / REFUSALS_PER_SERIES {
            return true;
        }
        self.refused_for_memory.store(0, Ordering::Relaxed);
        self.update_memory_estimate() >= limit
    }
}
