//! Finds ids by the hash of what they stand for.

use hashbrown::HashTable;

/// A hash table of ids whose keys live elsewhere, in shards: growing rehashes one shard, so that no single insertion
/// pays for all the others.
#[derive(Debug)]
pub(crate) struct IdTable {
    shards: Box<[HashTable<u32>]>,
    heap_bytes: usize,
}

/// Two hundred and fifty-six: at a million ids a shard has 4,000 of them and grows in some 50 microseconds.
const SHARDS: usize = 256;

impl Default for IdTable {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| HashTable::new()).collect(),
            heap_bytes: SHARDS * size_of::<HashTable<u32>>(),
        }
    }
}

impl IdTable {
    /// Returns the id under `hash` for which `is_it` holds.
    #[inline]
    pub(crate) fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        self.shards[shard(hash)]
            .find(hash, |id| is_it(*id))
            .copied()
    }

    /// Adds `id`, which is not there yet; `hash_of` returns the hash of any id of the table.
    #[inline]
    pub(crate) fn insert(&mut self, hash: u64, id: u32, hash_of: impl Fn(u32) -> u64) {
        let shard = &mut self.shards[shard(hash)];
        if shard.len() == shard.capacity() {
            let before = shard.allocation_size();
            shard.reserve(1, |id| hash_of(*id));
            self.heap_bytes += shard.allocation_size();
            self.heap_bytes -= before;
        }
        shard.insert_unique(hash, id, |id| hash_of(*id));
    }

    /// Takes `id` out.
    pub(crate) fn remove(&mut self, hash: u64, id: u32) {
        let entry = self.shards[shard(hash)].find_entry(hash, |other| *other == id);
        entry
            .expect("an id is removed under the hash it was inserted with")
            .remove();
    }

    /// Returns the bytes of all shards.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.heap_bytes
    }
}

/// Bits that a shard's own table looks at last.
fn shard(hash: u64) -> usize {
    (hash >> 48) as usize % SHARDS
}

/// Makes 64 bits of the 32 that are kept beside an item: tables look at the lowest and at the highest bits.
#[inline]
pub(crate) fn widen(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
