//! Prefix codes for the classes of a stream: Huffman's, with no code longer than [`LENGTH_MAX`].

/// Bits of the longest code: a class that occurs less than once in 128 numbers pays for a smaller table, which is built
/// for each stream.
pub(super) const LENGTH_MAX: usize = 7;

/// Entries of a table that is looked up by the next [`LENGTH_MAX`] bits.
pub(super) const TABLE_LEN: usize = 1 << LENGTH_MAX;

/// Classes a stream can have: one for each bit length of a number.
pub(super) const CLASSES_MAX: usize = 65;

/// Finds the lengths of the codes that make `counts` numbers of each class shortest in total; 0 for a class without
/// numbers. Two classes at least must have some.
///
/// Package-merge ("A Fast Algorithm for Optimal Length-Limited Huffman Codes", JACM 1990): in each round the classes,
/// ascending, are merged with the pairs of the round before. What the last round takes tells how many pairs it took of
/// the round before, and so on; each time a class is taken its code is a bit longer.
pub(super) fn lengths(counts: &[u32]) -> [u8; CLASSES_MAX] {
    let mut leaves: Vec<(u32, u8)> = (0..)
        .zip(counts)
        .filter(|&(_, &count)| count > 0)
        .map(|(class, &count)| (count, class))
        .collect();
    leaves.sort_unstable();

    let mut is_leaf = [[false; 2 * CLASSES_MAX]; LENGTH_MAX];
    let mut pairs: Vec<u32> = Vec::new();
    let mut merged: Vec<u32> = Vec::new();
    for round in &mut is_leaf {
        merged.clear();
        let (mut leaf, mut pair) = (0, 0);
        for taken in round.iter_mut().take(leaves.len() + pairs.len()) {
            *taken = pair == pairs.len() || (leaf < leaves.len() && leaves[leaf].0 <= pairs[pair]);
            if *taken {
                merged.push(leaves[leaf].0);
                leaf += 1;
            } else {
                merged.push(pairs[pair]);
                pair += 1;
            }
        }
        pairs.clear();
        pairs.extend(merged.chunks_exact(2).map(|two| two[0] + two[1]));
    }

    let mut lengths = [0; CLASSES_MAX];
    let mut take = 2 * (leaves.len() - 1);
    for round in is_leaf.iter().rev() {
        let taken = round[..take].iter().filter(|&&is_leaf| is_leaf).count();
        for &(_, class) in &leaves[..taken] {
            lengths[usize::from(class)] += 1;
        }
        take = 2 * (take - taken);
    }
    lengths
}

/// Gives each class its code, to be written from the least significant bit on: canonical, ascending in length and class.
///
/// The lengths, each at most [`LENGTH_MAX`], are those of a complete code.
pub(super) fn codes(lengths: &[u8]) -> [u8; CLASSES_MAX] {
    let mut of_length = [0u8; LENGTH_MAX + 1];
    for &length in lengths {
        of_length[usize::from(length)] += 1;
    }
    let mut next = [0u8; LENGTH_MAX + 1];
    for length in 2..=LENGTH_MAX {
        next[length] = (next[length - 1] + of_length[length - 1]) << 1;
    }
    let mut codes = [0; CLASSES_MAX];
    for (code, &length) in codes.iter_mut().zip(lengths) {
        if length > 0 {
            let canonical = &mut next[usize::from(length)];
            *code = canonical.reverse_bits() >> (8 - length);
            *canonical += 1;
        }
    }
    codes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn codes_are_as_long_as_they_should_be() {
        assert_eq!(lengths(&[5, 5])[..2], [1, 1]);
        assert_eq!(lengths(&[1, 0, 1, 2])[..4], [2, 0, 2, 1]);
        assert_eq!(lengths(&[8, 4, 2, 1, 1])[..5], [1, 2, 3, 4, 4]);
    }

    proptest! {
        #[test]
        fn codes_are_complete_and_no_code_begins_another(
            counts in prop::collection::vec(prop_oneof![Just(0u32), 1u32..10, 1u32..100_000], 2..=CLASSES_MAX),
        ) {
            prop_assume!(counts.iter().filter(|&&count| count > 0).count() >= 2);
            let lengths = lengths(&counts);
            let codes = codes(&lengths);
            let mut used = [false; TABLE_LEN];
            for (class, &length) in lengths.iter().enumerate() {
                prop_assert_eq!(length > 0, counts.get(class).is_some_and(|&count| count > 0));
                if length > 0 {
                    for entry in used.iter_mut().skip(codes[class].into()).step_by(1 << length) {
                        prop_assert!(!*entry);
                        *entry = true;
                    }
                }
            }
            prop_assert!(used.iter().all(|&used| used));
        }
    }
}
