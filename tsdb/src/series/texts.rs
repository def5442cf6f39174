//! The values a page has spelled out so far, so that they can be named again by number.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

/// Values in the order in which they came, for a reader.
#[derive(Debug, Default)]
pub(super) struct Texts {
    text: String,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Texts {
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }

    pub(super) fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.ends.push(self.text.len());
    }

    /// Returns the value with this number.
    pub(super) fn get(&self, number: usize) -> Option<&str> {
        let end = *self.ends.get(number)?;
        let start = match number.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        self.text.get(start..end)
    }
}

/// Values with a way back from the text to the number, for a writer.
#[derive(Debug)]
pub(super) struct TextIndex {
    texts: Texts,
    numbers: HashTable<usize>,
    /// The same pages come from the same definitions, so the hash has no seed of the process.
    hasher: FixedState,
}

impl TextIndex {
    pub(super) fn new() -> Self {
        Self {
            texts: Texts::default(),
            numbers: HashTable::new(),
            hasher: FixedState::with_seed(0),
        }
    }

    pub(super) fn clear(&mut self) {
        self.texts.clear();
        self.numbers.clear();
    }

    /// Returns the number of `text` if it is known, and remembers it otherwise.
    pub(super) fn find_or_push(&mut self, text: &str) -> Option<usize> {
        let (texts, hasher) = (&mut self.texts, &self.hasher);
        let hash = |text: &str| hasher.hash_one(text);
        let found = self
            .numbers
            .find(hash(text), |&number| texts.get(number) == Some(text));
        if let Some(&number) = found {
            return Some(number);
        }
        let number = texts.ends.len();
        texts.push(text);
        self.numbers.insert_unique(hash(text), number, |&number| {
            hash(texts.get(number).unwrap_or_default())
        });
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_texts_have_numbers_in_order() {
        let mut index = TextIndex::new();
        assert_eq!(
            ["a", "bb", "a", "", "bb", ""].map(|text| index.find_or_push(text)),
            [None, None, Some(0), None, Some(1), Some(2)]
        );
        assert_eq!(
            [0, 1, 2, 3].map(|number| index.texts.get(number)),
            [Some("a"), Some("bb"), Some(""), None]
        );
        index.clear();
        assert_eq!(index.find_or_push("bb"), None);
    }
}
