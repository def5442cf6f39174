//! Names of series: each says only what differs from the one before.

use crate::encoding::{ByteReader, Malformed, put_uvarint, put_varint};
use crate::labels::Labels;
use crate::limits::LABELS_PER_SERIES_MAX;

use super::{TAG_DEFINITIONS, put_section};

const _: () = assert!(
    LABELS_PER_SERIES_MAX <= 64,
    "the bitmap of pairs has 64 bits"
);

/// Appends a definitions section.
pub fn put_definitions<'a>(
    out: &mut Vec<u8>,
    definitions: impl ExactSizeIterator<Item = (u64, &'a Labels)>,
) {
    put_section(out, TAG_DEFINITIONS, |out| {
        put_uvarint(out, definitions.len() as u64);
        let mut previous_id = 0u64;
        let mut previous: Vec<(&str, &str)> = Vec::new();
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        for (id, labels) in definitions {
            pairs.clear();
            pairs.extend(labels.iter());
            put_varint(out, id.wrapping_sub(previous_id) as i64);
            put_uvarint(out, pairs.len() as u64);
            let differs = |index: usize| previous.get(index) != pairs.get(index);
            let bitmap = (0..pairs.len())
                .filter(|&index| differs(index))
                .fold(0u64, |bits, index| bits | 1 << index);
            put_uvarint(out, bitmap);
            for (index, (name, value)) in pairs.iter().enumerate() {
                if bitmap >> index & 1 == 0 {
                    continue;
                }
                let same_name = previous
                    .get(index)
                    .is_some_and(|(before, _)| before == name);
                put_text(out, if same_name { "" } else { name });
                put_text(out, value);
            }
            previous_id = id;
            std::mem::swap(&mut previous, &mut pairs);
        }
    });
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_uvarint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// A series id and its label pairs.
pub type Definition<'a, 'r> = (u64, &'r [(&'a str, &'a str)]);

/// Walks the definitions of a section.
#[derive(Debug)]
pub struct DefinitionReader<'a> {
    reader: ByteReader<'a>,
    left: usize,
    id: u64,
    pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> DefinitionReader<'a> {
    pub(super) fn new(mut reader: ByteReader<'a>) -> Result<Self, Malformed> {
        // A definition takes three bytes at the least.
        let left = reader.uvarint_max(reader.remaining() / 3, "more definitions than bytes")?;
        Ok(Self {
            reader,
            left,
            id: 0,
            pairs: Vec::new(),
        })
    }

    /// Returns the next id with its label pairs in order of name.
    pub fn next(&mut self) -> Result<Option<Definition<'a, '_>>, Malformed> {
        if self.left == 0 {
            self.reader.expect_end()?;
            return Ok(None);
        }
        self.left -= 1;
        self.id = self.id.wrapping_add(self.reader.varint()? as u64);
        let count = self
            .reader
            .uvarint_max(LABELS_PER_SERIES_MAX, "too many labels")?;
        let bitmap = self.reader.uvarint()?;
        let known = self.pairs.len().min(count);
        self.pairs.truncate(count);
        for index in 0..count {
            if bitmap >> index & 1 == 0 {
                if index >= known {
                    return Err(self.reader.malformed("label pair before it was given"));
                }
                continue;
            }
            let name = self.reader.sized_str()?;
            let value = self.reader.sized_str()?;
            match (name, self.pairs.get_mut(index)) {
                ("", Some(pair)) => pair.1 = value,
                ("", None) => return Err(self.reader.malformed("label name before it was given")),
                (name, Some(pair)) => *pair = (name, value),
                (name, None) => self.pairs.push((name, value)),
            }
        }
        Ok(Some((self.id, &self.pairs)))
    }
}
