//! Puts entities into label order.

use super::MemIndex;

/// One entity to be sorted by its label at some depth.
struct Key<'a> {
    /// Empty once the labels have ended, which sorts first.
    name: &'a str,
    /// The first eight bytes behind what all values have in common, big endian.
    head: u64,
    /// The rest of the value behind these.
    tail: &'a [u8],
    value: u32,
    entity: u32,
}

impl MemIndex {
    /// Sorts `entities` by their labels.
    ///
    /// Goes label by label: entities with an equal label stay together and are told apart by the next one. So text is
    /// read once for each label that differs, in the order in which it lies in memory, and compared eight bytes at a
    /// time, behind what all values have in common; comparing whole label sets costs ten times as much.
    pub(super) fn sort_entities(&self, entities: &mut [u32]) {
        if entities.len() > 1 {
            self.sort_from(entities, 0);
        }
    }

    fn sort_from(&self, entities: &mut [u32], mut depth: usize) {
        let [first, others @ ..] = &*entities else {
            return;
        };
        // What all entities share needs no sorting. No two are equal, so they part before all of them have ended.
        while let Some(shared) = self.entities.values(*first).get(depth)
            && others
                .iter()
                .all(|other| self.entities.values(*other).get(depth) == Some(shared))
        {
            depth += 1;
        }

        let mut keys: Vec<Key<'_>> = entities
            .iter()
            .map(|entity| self.key(*entity, depth))
            .collect();
        cut_common(&mut keys);
        keys.sort_unstable_by(|one, other| {
            (one.name.cmp(other.name))
                .then(one.head.cmp(&other.head))
                .then_with(|| one.tail.cmp(other.tail))
        });
        let mut start = 0;
        for group in keys.chunk_by(|one, other| one.value == other.value) {
            let range = start..start + group.len();
            start = range.end;
            for (entity, key) in entities[range.clone()].iter_mut().zip(group) {
                *entity = key.entity;
            }
            if group.len() > 1 {
                self.sort_from(&mut entities[range], depth + 1);
            }
        }
    }

    fn key(&self, entity: u32, depth: usize) -> Key<'_> {
        match self.entities.values(entity).get(depth) {
            None => Key {
                name: "",
                head: 0,
                tail: &[],
                value: u32::MAX,
                entity,
            },
            Some(id) => {
                let value = self.dictionary.value(*id);
                Key {
                    name: &self.dictionary.label(value.label).name,
                    head: 0,
                    tail: value.text.as_bytes(),
                    value: *id,
                    entity,
                }
            }
        }
    }
}

/// Returns how many bytes two texts have in common at their beginning.
fn common_len(one: &[u8], other: &[u8]) -> usize {
    let (words, others) = (one.as_chunks::<8>().0, other.as_chunks::<8>().0);
    let words = words.iter().zip(others);
    let same = words.take_while(|(one, other)| one == other).count() * 8;
    let rest = one[same..].iter().zip(&other[same..]);
    same + rest.take_while(|(one, other)| one == other).count()
}

/// Takes from every value what all begin with, and moves eight bytes of the rest to where they compare as one number.
fn cut_common(keys: &mut [Key<'_>]) {
    let Some((first, others)) = keys.split_first() else {
        return;
    };
    let common = others.iter().fold(first.tail, |common, key| {
        &common[..common_len(common, key.tail)]
    });
    let common = common.len();
    for key in keys {
        let rest = &key.tail[common..];
        let (head, tail) = rest.split_at(rest.len().min(8));
        let mut bytes = [0; 8];
        bytes[..head.len()].copy_from_slice(head);
        key.head = u64::from_be_bytes(bytes);
        // A value that ends within the eight bytes would equal one that goes on with zeros: the lengths, put behind
        // them, are only needed then, and comparing the whole rest settles it.
        key.tail = if head.len() < 8 || key.head & 0xff == 0 {
            rest
        } else {
            tail
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_texts_have_in_common_ends_where_they_differ() {
        let text = b"0123456789abcdefghijklmnopqrstuv";
        for len in 0..text.len() {
            assert_eq!(common_len(&text[..len], text), len);
            assert_eq!(common_len(text, &text[..len]), len);
            let mut other = *text;
            other[len] = b'-';
            assert_eq!(common_len(text, &other), len);
        }
    }
}
