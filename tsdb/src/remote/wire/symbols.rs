//! The table of symbols of a request that is being built.

use std::hash::BuildHasher;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::put::put_header;

/// Texts by number, each once, as the fields of the message they are going to be.
pub(super) struct Symbols {
    /// Fields, ready to be sent.
    fields: Vec<u8>,
    /// Where the text of each lies in `fields`.
    spans: Vec<(u32, u32)>,
    numbers: HashTable<u32>,
    // Seeded per process: label values cannot be chosen to collide.
    hasher: foldhash::fast::RandomState,
}

impl Default for Symbols {
    fn default() -> Self {
        let mut symbols = Self {
            fields: Vec::new(),
            spans: Vec::new(),
            numbers: HashTable::new(),
            hasher: foldhash::fast::RandomState::default(),
        };
        symbols.clear();
        symbols
    }
}

impl Symbols {
    /// Forgets all but the empty text, which is number 0 by definition.
    pub(super) fn clear(&mut self) {
        self.fields.clear();
        self.spans.clear();
        self.numbers.clear();
        self.intern("");
    }

    /// Returns the fields.
    pub(super) fn fields(&self) -> &[u8] {
        &self.fields
    }

    /// Returns the text of a number that [`Self::intern`] gave.
    #[inline]
    pub(super) fn text(&self, number: u32) -> &[u8] {
        text(&self.fields, &self.spans, number)
    }

    /// Returns how many there are.
    pub(super) fn len(&self) -> usize {
        self.spans.len()
    }

    /// Returns the number of a text.
    #[inline]
    pub(super) fn intern(&mut self, symbol: &str) -> u32 {
        let Self {
            fields,
            spans,
            numbers,
            hasher,
        } = self;
        let symbol = symbol.as_bytes();
        let entry = numbers.entry(
            hasher.hash_one(symbol),
            |number| text(fields, spans, *number) == symbol,
            |number| hasher.hash_one(text(fields, spans, *number)),
        );
        match entry {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                let number = spans.len() as u32;
                entry.insert(number);
                put_header(fields, SYMBOLS, symbol.len());
                spans.push((fields.len() as u32, symbol.len() as u32));
                fields.extend_from_slice(symbol);
                number
            }
        }
    }
}

#[inline]
fn text<'f>(fields: &'f [u8], spans: &[(u32, u32)], number: u32) -> &'f [u8] {
    let (start, len) = spans[number as usize];
    &fields[start as usize..][..len as usize]
}

/// `Request.symbols`.
pub(super) const SYMBOLS: u8 = 4;
