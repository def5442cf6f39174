//! Values addressed by a `u32`, in pages: growing never moves what is there, and freed places are used again.

use std::ops::{Index, IndexMut};

/// Growing by pages; a freed place holds `T::default()` until it is given out again.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    pages: Vec<Vec<T>>,
    free: Vec<u32>,
}

/// Places of a page. The first one grows as an ordinary vector, so that a small index stays small.
const PAGE_LEN: usize = 1024;

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self {
            pages: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T: Default> Slab<T> {
    /// Puts `item` into the place freed last, or behind all others, and returns its id.
    pub(crate) fn insert(&mut self, item: T) -> u32 {
        if let Some(id) = self.free.pop() {
            self[id] = item;
            return id;
        }
        match self.pages.last_mut() {
            Some(page) if page.len() < PAGE_LEN => page.push(item),
            None => self.pages.push(vec![item]),
            Some(_) => {
                let mut page = Vec::with_capacity(PAGE_LEN);
                page.push(item);
                self.pages.push(page);
            }
        }
        let id = self.places() - 1;
        // The last id is kept free: sets of ids end below it.
        assert!(id < u32::MAX as usize, "ids are 32 bits wide");
        id as u32
    }

    /// Takes the item out and frees its place.
    pub(crate) fn remove(&mut self, id: u32) -> T {
        self.free.push(id);
        std::mem::take(&mut self[id])
    }

    /// Returns how many items there are.
    pub(crate) fn len(&self) -> usize {
        self.places() - self.free.len()
    }

    /// Returns the item, or `None` behind the last place.
    #[inline]
    pub(crate) fn get(&self, id: u32) -> Option<&T> {
        self.pages
            .get(id as usize / PAGE_LEN)?
            .get(id as usize % PAGE_LEN)
    }

    /// Returns how many places there are, free ones included: every id is smaller.
    pub(crate) fn places(&self) -> usize {
        match self.pages.as_slice() {
            [] => 0,
            [full @ .., last] => full.len() * PAGE_LEN + last.len(),
        }
    }

    /// Returns the bytes of all pages and of the free list, without what the items point to.
    pub(crate) fn heap_bytes(&self) -> usize {
        let first = self.pages.first().map_or(0, Vec::capacity);
        let items = first + self.pages.len().saturating_sub(1) * PAGE_LEN;
        items * size_of::<T>()
            + self.pages.capacity() * size_of::<Vec<T>>()
            + self.free.capacity() * 4
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;

    #[inline]
    fn index(&self, id: u32) -> &T {
        &self.pages[id as usize / PAGE_LEN][id as usize % PAGE_LEN]
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    #[inline]
    fn index_mut(&mut self, id: u32) -> &mut T {
        &mut self.pages[id as usize / PAGE_LEN][id as usize % PAGE_LEN]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freed_place_is_used_again() {
        let mut slab = Slab::default();
        let ids: Vec<u32> = (0..3000).map(|item| slab.insert(item)).collect();
        assert_eq!(slab.remove(ids[1500]), 1500);
        assert_eq!((slab.len(), slab.places()), (2999, 3000));
        assert_eq!(slab.insert(7), 1500);
        assert_eq!((slab[1500], slab[2999], slab.len()), (7, 2999, 3000));
        assert_eq!(slab.get(3000), None);
    }
}
