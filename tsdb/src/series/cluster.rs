//! Putting alike series next to each other.

use std::collections::HashMap;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;

use crate::labels::SeriesLabels;

/// Returns the order of definitions in which those that differ only in their metric are neighbours; those and the groups of
/// them stay in the order in which they came first.
pub(super) fn cluster(definitions: &[(u64, SeriesLabels)]) -> Vec<u32> {
    let state = FixedState::with_seed(0);
    let mut first_seen: HashMap<u64, u32, FixedState> = HashMap::with_hasher(state.clone());
    let mut before = None;
    let mut keys: Vec<(u32, u32)> = Vec::with_capacity(definitions.len());
    for (index, (_, labels)) in (0u32..).zip(definitions) {
        let packed = labels.packed();
        let first = match before {
            // As they come, many are neighbours already.
            Some((known, first)) if known == packed => first,
            // Two entities with one hash become neighbours, which costs a few bytes and nothing else.
            _ => *first_seen.entry(state.hash_one(packed)).or_insert(index),
        };
        before = Some((packed, first));
        keys.push((first, index));
    }
    if !keys.is_sorted() {
        keys.sort_unstable();
    }
    keys.into_iter().map(|(_, index)| index).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::Labels;

    #[test]
    fn series_of_one_entity_become_neighbours() {
        let labels = |metric: &str, pod: &str| {
            Labels::from_pairs([("__name__", metric), ("pod", pod)]).unwrap()
        };
        let all = [
            labels("cpu", "b"),
            labels("cpu", "a"),
            labels("mem", "b"),
            labels("mem", "a"),
            labels("up", "c"),
        ];
        let definitions: Vec<_> = (1..).zip(all.iter().map(SeriesLabels::from)).collect();
        assert_eq!(cluster(&definitions), [0, 2, 1, 3, 4]);
        assert_eq!(cluster(&definitions[..2]), [0, 1]);
    }
}
