//! A set of `u32`: small where label values are.
//!
//! Most label values belong to one entity or to a run of them, and a bitmap with a single element takes 190 bytes.
//! So a set starts as one run inside the 16 bytes it has on the stack, becomes a short sorted list, and only then a
//! bitmap. Set algebra is done a whole set at a time into a [`RoaringBitmap`].

use std::fmt;

use roaring::RoaringBitmap;

/// A set of `u32` below `u32::MAX`.
#[derive(Clone, Default)]
pub enum Postings {
    /// No element.
    #[default]
    Empty,
    /// `len >= 1` consecutive elements.
    Run {
        /// The smallest element.
        start: u32,
        /// How many there are.
        len: u32,
    },
    /// Two to [`LIST_LEN_MAX`] elements, ascending.
    #[expect(
        clippy::box_collection,
        reason = "a vector in place would make every set 24 bytes"
    )]
    List(Box<Vec<u32>>),
    /// Anything.
    Map(Box<Map>),
}

/// A bitmap that knows its length, and roughly its size, without counting.
#[derive(Clone)]
pub struct Map {
    bitmap: RoaringBitmap,
    len: u32,
    heap_bytes: usize,
}

/// Above this a bitmap is faster to change, and no larger by much.
pub(crate) const LIST_LEN_MAX: usize = 32;

/// A bitmap that shrinks to this becomes a list again; half the limit, so that a set at the limit does not flap.
const MAP_LEN_MIN: u32 = LIST_LEN_MAX as u32 / 2;

/// Changes of a bitmap between two measurements of its size, which take a walk over its containers.
const MEASURE_EVERY: u32 = 256;

const _: () = assert!(size_of::<Postings>() == 16);

impl Postings {
    /// Returns the set of `ids`, which ascend strictly.
    pub(crate) fn from_ascending(ids: &[u32]) -> Self {
        match ids {
            [] => Self::Empty,
            [first, .., last] if (last - first) as usize == ids.len() - 1 => Self::Run {
                start: *first,
                len: ids.len() as u32,
            },
            [only] => Self::Run {
                start: *only,
                len: 1,
            },
            _ if ids.len() <= LIST_LEN_MAX => Self::List(Box::new(ids.to_vec())),
            _ => Self::from_bitmap(ids.iter().copied().collect()),
        }
    }

    /// Returns the set of the elements of `bitmap`.
    pub(crate) fn from_bitmap(bitmap: RoaringBitmap) -> Self {
        match (bitmap.min(), bitmap.max(), bitmap.len()) {
            (Some(first), Some(last), len) if u64::from(last - first) == len - 1 => Self::Run {
                start: first,
                len: len as u32,
            },
            (_, _, 0) => Self::Empty,
            (_, _, len) if len <= LIST_LEN_MAX as u64 => {
                Self::List(Box::new(bitmap.iter().collect()))
            }
            (_, _, len) => {
                let heap_bytes = bitmap_bytes(&bitmap);
                Self::Map(Box::new(Map {
                    bitmap,
                    len: len as u32,
                    heap_bytes,
                }))
            }
        }
    }

    /// Returns how many elements there are, without counting them.
    #[inline]
    pub fn len(&self) -> u32 {
        match self {
            Self::Empty => 0,
            Self::Run { len, .. } => *len,
            Self::List(ids) => ids.len() as u32,
            Self::Map(map) => map.len,
        }
    }

    /// Tells whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// Tells whether `id` is an element.
    #[inline]
    pub fn contains(&self, id: u32) -> bool {
        match self {
            Self::Empty => false,
            Self::Run { start, len } => id.wrapping_sub(*start) < *len,
            Self::List(ids) => ids.binary_search(&id).is_ok(),
            Self::Map(map) => map.bitmap.contains(id),
        }
    }

    /// Adds `id`; amortised constant where ids arrive in ascending order.
    #[inline]
    pub fn insert(&mut self, id: u32) {
        match self {
            // A run's end cannot overflow: every element is below `u32::MAX`.
            Self::Run { start, len } if *start + *len == id => *len += 1,
            Self::List(ids)
                if ids.len() < LIST_LEN_MAX && ids.last().is_some_and(|last| *last < id) =>
            {
                push_tight(ids, id);
            }
            Self::Map(map) => map.insert(id),
            _ => self.insert_elsewhere(id),
        }
    }

    #[cold]
    fn insert_elsewhere(&mut self, id: u32) {
        if self.contains(id) {
            return;
        }
        match self {
            Self::Empty => *self = Self::Run { start: id, len: 1 },
            Self::Run { start, len } if id + 1 == *start => {
                *start = id;
                *len += 1;
            }
            Self::Run { start, len } if (*len as usize) < LIST_LEN_MAX => {
                let mut ids = Vec::with_capacity(*len as usize + 1);
                ids.extend(*start..*start + *len);
                ids.insert(ids.partition_point(|other| *other < id), id);
                *self = Self::List(Box::new(ids));
            }
            Self::List(ids) if ids.len() < LIST_LEN_MAX => {
                push_tight(ids, id);
                ids.sort_unstable();
            }
            Self::Run { .. } | Self::List(_) => {
                let mut bitmap = RoaringBitmap::new();
                self.union_into(&mut bitmap);
                bitmap.insert(id);
                *self = Self::from_bitmap(bitmap);
            }
            Self::Map(map) => map.insert(id),
        }
    }

    /// Takes `id` out, if it is there.
    pub fn remove(&mut self, id: u32) {
        if !self.contains(id) {
            return;
        }
        match self {
            Self::Empty => {}
            Self::Run { len: 1, .. } => *self = Self::Empty,
            Self::Run { start, len } if id == *start => {
                *start += 1;
                *len -= 1;
            }
            Self::Run { start, len } if id == *start + *len - 1 => *len -= 1,
            Self::Run { start, len } => {
                let mut bitmap = RoaringBitmap::new();
                bitmap.insert_range(*start..*start + *len);
                bitmap.remove(id);
                *self = Self::from_bitmap(bitmap);
            }
            Self::List(ids) => {
                ids.retain(|other| *other != id);
                if let [only] = ids[..] {
                    *self = Self::Run {
                        start: only,
                        len: 1,
                    };
                }
            }
            Self::Map(map) => {
                map.bitmap.remove(id);
                map.len -= 1;
                map.measure();
                if map.len <= MAP_LEN_MIN {
                    *self = Self::from_bitmap(std::mem::take(&mut map.bitmap));
                }
            }
        }
    }

    /// Returns how many elements are smaller than `id`, if `id` is one itself.
    pub(crate) fn rank(&self, id: u32) -> Option<u32> {
        match self {
            Self::Empty => None,
            Self::Run { start, len } => Some(id.wrapping_sub(*start)).filter(|rank| rank < len),
            Self::List(ids) => ids.binary_search(&id).ok().map(|rank| rank as u32),
            // The rank of the bitmap counts the element itself.
            Self::Map(map) => map
                .bitmap
                .contains(id)
                .then(|| map.bitmap.rank(id) as u32 - 1),
        }
    }

    /// Returns the element that has `rank` smaller ones before it.
    pub(crate) fn select(&self, rank: u32) -> Option<u32> {
        match self {
            Self::Empty => None,
            Self::Run { start, len } => (rank < *len).then(|| start + rank),
            Self::List(ids) => ids.get(rank as usize).copied(),
            Self::Map(map) => map.bitmap.select(rank),
        }
    }

    /// Returns the largest element.
    pub(crate) fn max(&self) -> Option<u32> {
        match self {
            Self::Empty => None,
            Self::Run { start, len } => Some(start + len - 1),
            Self::List(ids) => ids.last().copied(),
            Self::Map(map) => map.bitmap.max(),
        }
    }

    /// Returns the elements in ascending order.
    pub fn iter(&self) -> Iter<'_> {
        match self {
            Self::Empty => Iter::Run(0..0),
            Self::Run { start, len } => Iter::Run(*start..*start + *len),
            Self::List(ids) => Iter::List(ids.iter()),
            Self::Map(map) => Iter::Map(Box::new(map.bitmap.iter())),
        }
    }

    /// Adds every element to `bitmap`.
    pub fn union_into(&self, bitmap: &mut RoaringBitmap) {
        match self {
            Self::Empty => {}
            Self::Run { start, len: 1 } => {
                bitmap.insert(*start);
            }
            Self::Run { start, len } => {
                bitmap.insert_range(*start..*start + *len);
            }
            Self::List(ids) => bitmap.extend(ids.iter().copied()),
            Self::Map(map) => *bitmap |= &map.bitmap,
        }
    }

    /// Keeps of `ids`, which ascend, those that are elements, or those that are not.
    pub(crate) fn retain_in(&self, ids: &mut Vec<u32>, elements: bool) {
        match self {
            Self::Empty => {
                if elements {
                    ids.clear();
                }
            }
            Self::Run { start, len } => {
                let first = ids.partition_point(|id| id < start);
                let end = ids.partition_point(|id| *id < *start + *len);
                if elements {
                    ids.truncate(end);
                    ids.drain(..first);
                } else {
                    ids.drain(first..end);
                }
            }
            Self::Map(map) if ids.len() < map.len as usize / PASSED_PER_LOOKUP => {
                ids.retain(|id| map.bitmap.contains(*id) == elements);
            }
            Self::List(_) | Self::Map(_) => retain_sorted(ids, self.iter(), elements),
        }
    }

    /// Tells whether some element is in `bitmap`.
    pub(crate) fn intersects(&self, bitmap: &RoaringBitmap) -> bool {
        match self {
            Self::Empty => false,
            Self::Run { start, len } => bitmap.range(*start..*start + *len).next().is_some(),
            Self::List(ids) => ids.iter().any(|id| bitmap.contains(*id)),
            Self::Map(map) => !map.bitmap.is_disjoint(bitmap),
        }
    }

    /// Returns the bytes on the heap: exact for runs and lists, at most 256 changes behind for bitmaps.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Self::Empty | Self::Run { .. } => 0,
            Self::List(ids) => size_of::<Vec<u32>>() + ids.capacity() * 4,
            Self::Map(map) => size_of::<Map>() + map.heap_bytes,
        }
    }
}

impl Map {
    #[inline]
    fn insert(&mut self, id: u32) {
        if self.bitmap.insert(id) {
            self.len += 1;
            self.measure();
        }
    }

    #[inline]
    fn measure(&mut self) {
        if self.len.is_multiple_of(MEASURE_EVERY) {
            self.heap_bytes = bitmap_bytes(&self.bitmap);
        }
    }
}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bitmap.fmt(f)
    }
}

impl fmt::Debug for Postings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// The elements of a [`Postings`], ascending.
#[derive(Clone)]
pub enum Iter<'a> {
    /// Of a run.
    Run(std::ops::Range<u32>),
    /// Of a list.
    List(std::slice::Iter<'a, u32>),
    /// Of a bitmap.
    Map(Box<roaring::bitmap::Iter<'a>>),
}

impl fmt::Debug for Iter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl Iterator for Iter<'_> {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        match self {
            Self::Run(range) => range.next(),
            Self::List(ids) => ids.next().copied(),
            Self::Map(ids) => ids.next(),
        }
    }
}

/// A look-up in a bitmap costs what passing this many elements does.
const PASSED_PER_LOOKUP: usize = 8;

/// Keeps of `ids`, which ascend, those that are among `others`, which ascend too, or those that are not.
pub(crate) fn retain_sorted(ids: &mut Vec<u32>, others: impl Iterator<Item = u32>, is_among: bool) {
    let mut others = others.peekable();
    ids.retain(|id| {
        while others.next_if(|other| other < id).is_some() {}
        (others.peek() == Some(id)) == is_among
    });
}

/// Sorts ids and drops those that come again. Where they lie close together, each is a bit and the bits are walked.
pub(crate) fn sort(ids: &mut Vec<u32>) {
    let bound = ids.iter().max().map_or(0, |max| *max as usize + 1);
    if bound / 64 > ids.len() {
        ids.sort_unstable();
        ids.dedup();
        return;
    }
    let mut words = vec![0u64; bound.div_ceil(64)];
    for id in ids.iter() {
        words[*id as usize / 64] |= 1 << (id % 64);
    }
    ids.clear();
    for (number, mut word) in (0u32..).zip(words) {
        while word != 0 {
            ids.push(number * 64 + word.trailing_zeros());
            word &= word - 1;
        }
    }
}

/// Grows in small steps: there are as many lists as label values, and doubling would leave a third of them empty.
fn push_tight(ids: &mut Vec<u32>, id: u32) {
    if ids.len() == ids.capacity() {
        ids.reserve_exact(ids.len().min(8));
    }
    ids.push(id);
}

fn bitmap_bytes(bitmap: &RoaringBitmap) -> usize {
    /// A container beside its elements: key, store, capacity.
    const CONTAINER_BYTES: usize = 40;
    let statistics = bitmap.statistics();
    let elements = statistics.n_bytes_array_containers
        + statistics.n_bytes_run_containers
        + statistics.n_bytes_bitset_containers;
    elements as usize + statistics.n_containers as usize * CONTAINER_BYTES
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn agrees(set: &Postings, model: &BTreeSet<u32>) {
        assert_eq!(set.len() as usize, model.len());
        assert_eq!(set.is_empty(), model.is_empty());
        assert!(set.iter().eq(model.iter().copied()));
        assert_eq!(set.max(), model.last().copied());
        for (rank, id) in model.iter().enumerate() {
            assert_eq!(set.rank(*id), Some(rank as u32));
            assert_eq!(set.select(rank as u32), Some(*id));
        }
        assert_eq!(set.select(set.len()), None);
        let mut bitmap = RoaringBitmap::new();
        set.union_into(&mut bitmap);
        assert!(bitmap.iter().eq(model.iter().copied()));
    }

    #[test]
    fn ascending_ids_stay_one_run() {
        let mut set = Postings::default();
        (5..5000).for_each(|id| set.insert(id));
        assert!(matches!(
            set,
            Postings::Run {
                start: 5,
                len: 4995
            }
        ));
        assert_eq!(set.heap_bytes(), 0);
    }

    #[test]
    fn shrinking_bitmap_becomes_a_list_again() {
        let mut set: Postings =
            Postings::from_ascending(&(0..100).map(|id| id * 3).collect::<Vec<_>>());
        assert!(matches!(set, Postings::Map(_)));
        (16..100).for_each(|id| set.remove(id * 3));
        assert!(matches!(set, Postings::List(_)));
        (0..16).for_each(|id| set.remove(id * 3));
        assert!(set.is_empty());
    }

    proptest! {
        #[test]
        fn behaves_like_an_ordered_set(
            changes in prop::collection::vec((any::<bool>(), prop_oneof![0u32..70, 0u32..400, 65_500u32..65_600]), 0..300),
            other in prop::collection::btree_set(0u32..400, 0..200),
        ) {
            let (mut set, mut model) = (Postings::default(), BTreeSet::new());
            for (add, id) in changes {
                if add {
                    set.insert(id);
                    model.insert(id);
                } else {
                    set.remove(id);
                    model.remove(&id);
                }
                prop_assert_eq!(set.contains(id), add);
            }
            agrees(&set, &model);
            agrees(&Postings::from_ascending(&model.iter().copied().collect::<Vec<_>>()), &model);
            agrees(&Postings::from_bitmap(model.iter().copied().collect()), &model);

            let bitmap: RoaringBitmap = other.iter().copied().collect();
            prop_assert_eq!(set.intersects(&bitmap), model.intersection(&other).next().is_some());
            for elements in [true, false] {
                let mut ids: Vec<u32> = other.iter().copied().collect();
                set.retain_in(&mut ids, elements);
                let expected = other.iter().filter(|id| model.contains(id) == elements);
                prop_assert!(ids.iter().eq(expected));
            }
            let mut shuffled: Vec<u32> = model.iter().rev().copied().collect();
            sort(&mut shuffled);
            prop_assert!(shuffled.iter().eq(&model));
        }
    }
}
