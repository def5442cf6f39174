//! Byte strings written lately, found by what they say.

use std::hash::{BuildHasher, Hash};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

/// Remembers byte strings with a value each, up to a budget. Which ones it still knows depends only on what was added
/// and found, never on the hash seed, so that equal input makes equal files.
///
/// There are two generations. When the young one holds half of the budget, it becomes the old one and what was old is
/// forgotten; what is found in the old one moves to the young. So a string stays as long as it is asked for.
#[derive(Debug)]
pub(super) struct Window<T> {
    hasher: RandomState,
    young: Generation<T>,
    old: Generation<T>,
    generation_bytes_max: usize,
}

#[derive(Debug)]
struct Generation<T> {
    entries: HashTable<Entry<T>>,
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct Entry<T> {
    hash: u64,
    value: T,
    start: usize,
    len: usize,
}

impl<T: Copy> Window<T> {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            hasher: RandomState::default(),
            young: Generation::default(),
            old: Generation::default(),
            generation_bytes_max: bytes_max / 2,
        }
    }

    pub(super) fn hash(&self, key: &(impl Hash + ?Sized)) -> u64 {
        self.hasher.hash_one(key)
    }

    /// Returns the value of the string with this hash that `is_equal` accepts.
    pub(super) fn find(
        &mut self,
        hash: u64,
        mut is_equal: impl FnMut(&[u8], T) -> bool,
    ) -> Option<T> {
        if let Some(entry) = self.young.find(hash, &mut is_equal) {
            return Some(entry.value);
        }
        let Entry {
            value, start, len, ..
        } = *self.old.find(hash, &mut is_equal)?;
        let old = std::mem::take(&mut self.old);
        self.add(hash, value, &old.bytes[start..start + len]);
        // Adding may have just begun a generation; then what was old is already forgotten.
        if self.old.bytes.is_empty() {
            self.old = old;
        }
        Some(value)
    }

    pub(super) fn add(&mut self, hash: u64, value: T, bytes: &[u8]) {
        if self.young.size_bytes() + size_of::<Entry<T>>() + bytes.len() > self.generation_bytes_max
        {
            self.old = std::mem::take(&mut self.young);
        }
        let start = self.young.bytes.len();
        self.young.bytes.extend_from_slice(bytes);
        let entry = Entry {
            hash,
            value,
            start,
            len: bytes.len(),
        };
        self.young
            .entries
            .insert_unique(hash, entry, |entry| entry.hash);
    }
}

impl<T> Default for Generation<T> {
    fn default() -> Self {
        Self {
            entries: HashTable::new(),
            bytes: Vec::new(),
        }
    }
}

impl<T: Copy> Generation<T> {
    fn find(&self, hash: u64, is_equal: &mut impl FnMut(&[u8], T) -> bool) -> Option<&Entry<T>> {
        self.entries.find(hash, |entry| {
            let bytes = &self.bytes[entry.start..entry.start + entry.len];
            entry.hash == hash && is_equal(bytes, entry.value)
        })
    }

    fn size_bytes(&self) -> usize {
        self.bytes.len() + self.entries.len() * size_of::<Entry<T>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(window: &mut Window<u64>, text: &str) -> Option<u64> {
        window.find(window.hash(text.as_bytes()), |bytes, _| {
            bytes == text.as_bytes()
        })
    }

    fn add(window: &mut Window<u64>, number: u64, text: &str) {
        window.add(window.hash(text.as_bytes()), number, text.as_bytes());
    }

    #[test]
    fn what_was_added_is_found_and_nothing_else() {
        let mut window = Window::new(1000);
        add(&mut window, 1, "one");
        add(&mut window, 2, "two");
        assert_eq!(
            (find(&mut window, "one"), find(&mut window, "two")),
            (Some(1), Some(2))
        );
        assert_eq!(find(&mut window, "three"), None);
    }

    #[test]
    fn equal_hash_alone_does_not_match() {
        let mut window = Window::new(1000);
        window.add(7, 1, b"one");
        assert_eq!(window.find(7, |bytes, _| bytes == b"two"), None);
        assert_eq!(
            window.find(7, |bytes, value| bytes == b"one" && value == 2),
            None
        );
    }

    #[test]
    fn memory_is_bounded_and_what_is_asked_for_stays() {
        let mut window = Window::new(1000);
        add(&mut window, 0, "kept");
        for number in 1..1000 {
            add(&mut window, number, &format!("string {number}"));
            assert_eq!(find(&mut window, "kept"), Some(0));
            assert!(window.young.size_bytes() <= 500 && window.old.size_bytes() <= 500);
        }
        assert_eq!(find(&mut window, "string 1"), None);
        assert_eq!(find(&mut window, "string 999"), Some(999));
    }
}
