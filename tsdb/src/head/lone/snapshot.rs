//! All series at one moment, for a lone file, while commits go on.
//!
//! 1. [`LoneStore::mark`] sets the moment, in which no commit is being added.
//! 2. [`LoneStore::write_snapshot`] copies one page after the other and hands them to the file.
//! 3. Whoever has a page drained or changes it meanwhile has it copied before.

use crate::encoding::put_uvarint;

use super::{LoneStore, slot_of_page};

/// Bytes of series that a lone file takes together.
const WRITE_BYTES: usize = 64 * 1024;

/// The series of a page as a lone file holds them, at the moment that [`Page::mark`](super::page::Page::mark) has set.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    /// Slots within the page, and where what is stored of each ends.
    ends: Vec<(u16, u32)>,
    bytes: Vec<u8>,
}

impl Snapshot {
    /// Adds a series, if `write` answers that it has written one.
    pub(super) fn add(&mut self, slot: u16, write: impl FnOnce(&mut Vec<u8>) -> bool) {
        if write(&mut self.bytes) {
            self.ends.push((slot, self.bytes.len() as u32));
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<(u16, u32)>()
    }

    /// Walks the series: slot within the page, and what is stored of it.
    pub(super) fn series(&self) -> impl Iterator<Item = (u16, &[u8])> {
        let mut start = 0;
        self.ends.iter().map(move |&(slot, end)| {
            let stored = &self.bytes[start as usize..end as usize];
            start = end;
            (slot, stored)
        })
    }
}

impl LoneStore {
    /// Sets the moment of a snapshot, which [`LoneStore::write_snapshot`] takes, and returns the newest sequence of the
    /// samples in it; `None` if there are no series. Nobody adds samples meanwhile. What changes afterwards, page by page,
    /// has the snapshot of its page taken first.
    pub(crate) fn mark(&self) -> Option<u64> {
        let mut newest = None;
        for stripe in &self.stripes {
            for page in stripe.lock().pages.iter_mut().flatten() {
                page.mark();
                newest = newest.max(Some(page.newest_sequence()));
            }
        }
        newest
    }

    /// Hands the series that [`LoneStore::mark`] has found to `write`, as a lone file stores them, those of a page at a
    /// time.
    pub(crate) fn write_snapshot<E>(
        &self,
        id_of: impl Fn(u32) -> u64,
        mut write: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut bytes = Vec::new();
        for (number, stripe) in self.stripes.iter().enumerate() {
            for at in 0.. {
                let snapshot = {
                    let stripe = &mut *stripe.lock();
                    if at == 0 {
                        stripe.blocks.fetch();
                    }
                    let Some(page) = stripe.pages.get_mut(at) else {
                        break;
                    };
                    let Some(page) = page else { continue };
                    let first = slot_of_page(number, at);
                    page.take_snapshot(self.range_ms, &mut stripe.blocks, &mut |slot, closed| {
                        self.note_unspilled(first + u32::from(slot), closed);
                    })
                };
                for (slot, stored) in snapshot.iter().flat_map(Snapshot::series) {
                    put_uvarint(
                        &mut bytes,
                        id_of(slot_of_page(number, at) + u32::from(slot)),
                    );
                    bytes.extend_from_slice(stored);
                    if bytes.len() >= WRITE_BYTES {
                        write(&bytes)?;
                        bytes.clear();
                    }
                }
            }
        }
        if !bytes.is_empty() {
            write(&bytes)?;
        }
        Ok(())
    }

    /// Forgets that a snapshot was wanted.
    pub(crate) fn unmark(&self) {
        for stripe in &self.stripes {
            for page in stripe.lock().pages.iter_mut().flatten() {
                page.unmark();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGE_MS: i64 = 7_200_000;

    #[test]
    fn snapshot_is_of_the_moment_it_was_marked_whatever_comes_then() {
        let bytes_of = |store: &LoneStore| {
            let mut bytes = Vec::new();
            let write = |page: &[u8]| {
                bytes.extend_from_slice(page);
                Ok::<_, ()>(())
            };
            store.write_snapshot(u64::from, write).unwrap();
            bytes
        };
        let (store, twin) = (LoneStore::new(RANGE_MS), LoneStore::new(RANGE_MS));
        for store in [&store, &twin] {
            for number in 0..5000u32 {
                store.cursor().push(
                    number * 31 % 3000,
                    i64::from(number) * 100,
                    f64::from(number),
                    u64::from(number),
                );
            }
        }
        twin.mark();
        let expected = bytes_of(&twin);
        assert_eq!(store.mark(), Some(4999));
        for number in 0..20_000 {
            store
                .cursor()
                .push(number % 2000, 1_000_000 + i64::from(number), 0.5, 9000);
        }
        store.close(2500);
        store.remove(2501);
        store.note_newest(2502, i64::MAX);
        store.note_newest(3500, 1);
        assert_eq!(bytes_of(&store), expected);
        assert!(bytes_of(&store).is_empty(), "it is taken once");
        store.mark();
        store.unmark();
        assert!(bytes_of(&store).is_empty());
    }
}
