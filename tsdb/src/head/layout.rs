//! Which series stands where in a group.

use std::sync::OnceLock;

use super::memory::OVERHEAD_BYTES;

/// The series of a group in position order.
#[derive(Debug)]
pub(crate) struct Layout {
    ids: Box<[u64]>,
    /// Positions in order of id, made when somebody first looks for an id that is not where it was.
    by_id: OnceLock<Box<[u16]>>,
}

impl Layout {
    pub(crate) fn new(ids: Vec<u64>) -> Self {
        Self {
            ids: ids.into_boxed_slice(),
            by_id: OnceLock::new(),
        }
    }

    pub(crate) fn ids(&self) -> &[u64] {
        &self.ids
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Returns the position of a series, looking at `hint` first.
    pub(crate) fn position_of(&self, id: u64, hint: usize) -> Option<usize> {
        if self.ids.get(hint) == Some(&id) {
            return Some(hint);
        }
        let by_id = self.by_id.get_or_init(|| {
            let mut positions: Vec<u16> = (0..self.ids.len())
                .map(|position| position as u16)
                .collect();
            positions.sort_by_key(|&position| self.ids[usize::from(position)]);
            positions.into_boxed_slice()
        });
        let found = by_id
            .binary_search_by_key(&id, |&position| self.ids[usize::from(position)])
            .ok()?;
        Some(usize::from(by_id[found]))
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + OVERHEAD_BYTES
            + self.ids.len() * size_of::<u64>()
            + self
                .by_id
                .get()
                .map_or(0, |by_id| by_id.len() * size_of::<u16>())
    }
}
