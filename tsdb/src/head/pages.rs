//! A growing array whose elements never move.

/// Elements of a page.
const PAGE: usize = 4096;

/// An array in pages: growing it copies nothing, so no append waits for a reallocation of millions of elements.
#[derive(Debug)]
pub(super) struct Pages<T> {
    pages: Vec<Box<[T; PAGE]>>,
    len: usize,
}

impl<T: Clone + Default> Pages<T> {
    pub(super) const fn new() -> Self {
        Self {
            pages: Vec::new(),
            len: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Returns an element; behind the last one there may be some that are as by default.
    #[inline]
    pub(super) fn get(&self, index: usize) -> Option<&T> {
        Some(&self.pages.get(index / PAGE)?[index % PAGE])
    }

    /// Returns an element and those behind it, to the end of its page.
    pub(super) fn rest_of_page(&self, index: usize) -> Option<&[T]> {
        Some(&self.pages.get(index / PAGE)?[index % PAGE..])
    }

    /// Returns an element to change, growing the array to hold it.
    pub(super) fn slot(&mut self, index: usize) -> &mut T {
        while self.pages.len() <= index / PAGE {
            let page = vec![T::default(); PAGE].into_boxed_slice();
            self.pages.extend(page.try_into());
        }
        self.len = self.len.max(index + 1);
        &mut self.pages[index / PAGE][index % PAGE]
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.pages.len() * PAGE * size_of::<T>() + self.pages.capacity() * size_of::<usize>()
    }
}
