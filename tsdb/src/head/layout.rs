//! Which series stands where in a group.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use super::memory::OVERHEAD_BYTES;

/// The series of a group in position order. Layouts that grew from each other share what they have in common.
#[derive(Debug)]
pub(crate) struct Layout {
    body: Arc<Body>,
    /// Series that joined since: few.
    tail: Box<[u64]>,
}

#[derive(Debug)]
struct Body {
    ids: Box<[u64]>,
    /// Positions in order of id, made when somebody first looks for an id that is not where it was.
    by_id: OnceLock<Box<[u16]>>,
}

impl Layout {
    pub(crate) fn new(ids: Vec<u64>) -> Self {
        Self {
            body: Arc::new(Body {
                ids: ids.into_boxed_slice(),
                by_id: OnceLock::new(),
            }),
            tail: Box::default(),
        }
    }

    /// Returns this layout with `joiners` behind.
    pub(crate) fn grown(&self, joiners: &[u64]) -> Self {
        Self {
            body: Arc::clone(&self.body),
            tail: [&self.tail, joiners].concat().into_boxed_slice(),
        }
    }

    /// Returns the layout of `ids`, which shares what it can with this one.
    pub(crate) fn changed_to(&self, ids: Vec<u64>) -> Self {
        match ids.strip_prefix(&*self.body.ids) {
            Some(tail) if tail.len() <= self.body.ids.len() => Self {
                body: Arc::clone(&self.body),
                tail: tail.into(),
            },
            _ => Self::new(ids),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.body.ids.len() + self.tail.len()
    }

    /// Returns how many series have joined since the layout was made.
    pub(crate) fn joined(&self) -> usize {
        self.tail.len()
    }

    /// Tells whether the layout is that of `ids`.
    pub(crate) fn is(&self, ids: &[u64]) -> bool {
        ids.strip_prefix(&*self.body.ids) == Some(&self.tail)
    }

    /// Tells whether both have the same series at the same positions.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        if Arc::ptr_eq(&self.body, &other.body) {
            return self.tail == other.tail;
        }
        self.iter().eq(other.iter())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.body.ids.iter().chain(&self.tail).copied()
    }

    pub(crate) fn to_vec(&self) -> Vec<u64> {
        [&self.body.ids[..], &self.tail].concat()
    }

    /// Returns the series at consecutive positions, in two parts.
    pub(crate) fn range(&self, positions: Range<usize>) -> (&[u64], &[u64]) {
        let end = self.body.ids.len();
        let Range { start, end: last } = positions;
        (
            &self.body.ids[start.min(end)..last.min(end)],
            &self.tail[start.max(end) - end..last.max(end) - end],
        )
    }

    /// Returns the series at a position.
    pub(crate) fn get(&self, position: usize) -> Option<u64> {
        let body = &self.body.ids;
        let found = body
            .get(position)
            .or_else(|| self.tail.get(position.checked_sub(body.len())?));
        found.copied()
    }

    /// Returns the position of a series, looking at `hint` first.
    pub(crate) fn position_of(&self, id: u64, hint: usize) -> Option<usize> {
        if self.get(hint) == Some(id) {
            return Some(hint);
        }
        self.body.position_of(id).or_else(|| {
            let joined = self.tail.iter().position(|joined| *joined == id)?;
            Some(self.body.ids.len() + joined)
        })
    }

    /// Returns what is shared with other layouts: where it lies, and how many bytes it takes.
    pub(super) fn shared_bytes(&self) -> (usize, usize) {
        let Body { ids, by_id } = &*self.body;
        let by_id = by_id
            .get()
            .map_or(0, |by_id| by_id.len() * size_of::<u16>());
        (
            Arc::as_ptr(&self.body) as usize,
            size_of::<Body>() + OVERHEAD_BYTES + size_of_val(&**ids) + by_id,
        )
    }

    /// Returns the bytes of this layout alone.
    pub(super) fn own_bytes(&self) -> usize {
        size_of::<Self>() + OVERHEAD_BYTES + size_of_val(&*self.tail)
    }
}

impl Body {
    fn position_of(&self, id: u64) -> Option<usize> {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_that_grew_is_the_list_of_its_series() {
        let first = Layout::new(vec![5, 3, 9]);
        let grown = first.grown(&[7]).grown(&[1, 2]);
        let ids = [5, 3, 9, 7, 1, 2];
        assert_eq!((grown.len(), grown.joined()), (6, 3));
        assert_eq!(grown.to_vec(), ids);
        assert!(grown.iter().eq(ids));
        assert!(grown.is(&ids) && !grown.is(&ids[..5]) && !first.is(&ids));
        for (position, id) in ids.into_iter().enumerate() {
            assert_eq!(grown.get(position), Some(id));
            for hint in 0..8 {
                assert_eq!(grown.position_of(id, hint), Some(position));
            }
        }
        assert_eq!((grown.get(6), grown.position_of(4, 0)), (None, None));
        for start in 0..=6 {
            for end in start..=6 {
                let (body, tail) = grown.range(start..end);
                assert_eq!([body, tail].concat(), ids[start..end]);
            }
        }
        assert_eq!(grown.shared_bytes(), first.shared_bytes());
    }

    #[test]
    fn layout_shares_what_it_begins_with() {
        let first = Layout::new(vec![5, 3, 9]);
        for (ids, shares) in [
            (vec![5, 3, 9, 7], true),
            (vec![5, 3, 9], true),
            (vec![5, 3], false),
            (vec![5, 4, 9, 7], false),
        ] {
            let changed = first.changed_to(ids.clone());
            assert!(changed.is(&ids));
            assert_eq!(changed.shared_bytes().0 == first.shared_bytes().0, shares);
        }
    }
}
