//! Putting alike series next to each other.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::fast::FixedState;

use crate::labels::Labels;

/// Reorders definitions so that those that differ only in their metric are neighbours; those and the groups of them
/// stay in the order in which they came first.
pub(super) fn cluster(definitions: &mut [(u64, &Labels)]) {
    let state = FixedState::with_seed(0);
    let mut first_seen: HashMap<u64, u32, FixedState> = HashMap::with_hasher(state.clone());
    let mut keys: Vec<(u32, u32)> = Vec::with_capacity(definitions.len());
    for (index, (_, labels)) in (0u32..).zip(definitions.iter()) {
        let mut hasher = state.build_hasher();
        for pair in labels.entity() {
            pair.hash(&mut hasher);
        }
        // Two entities with one hash become neighbours, which costs a few bytes and nothing else.
        keys.push((*first_seen.entry(hasher.finish()).or_insert(index), index));
    }
    keys.sort_unstable();
    let ordered: Vec<(u64, &Labels)> = keys
        .iter()
        .map(|&(_, index)| definitions[index as usize])
        .collect();
    definitions.copy_from_slice(&ordered);
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let mut definitions: Vec<_> = (1..).zip(&all).collect();
        cluster(&mut definitions);
        let ids: Vec<u64> = definitions.iter().map(|&(id, _)| id).collect();
        assert_eq!(ids, [1, 3, 2, 4, 5]);
    }
}
