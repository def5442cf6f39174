//! Pages of label values and of entities: sixty-four of either, each behind one checksum.

use std::ops::Range;

use memchr::memmem::Finder;

use super::set::{SetKind, SetRef};
use crate::encoding::{ByteReader, Malformed, put_uvarint, seal};

/// Values or entities of a page: small enough that damage costs little, large enough that the checksum does too.
pub(super) const PER_PAGE: usize = 64;

/// Where a value's text ends.
const END_BYTES: usize = 4;

/// Kind, count and place of a value's set.
const SET_BYTES: usize = 9;

/// Returns where in its page it is said where the text of the value `index` stands.
#[inline]
pub(super) fn value_end_at(index: usize) -> usize {
    index.saturating_sub(1) * END_BYTES
}

/// Returns where the text of the value `index` of `count` stands in a page without its checksum: what [`ValuePage`]
/// knows, for one value and in a few instructions.
#[inline]
pub(super) fn text_range(body: &[u8], count: usize, index: usize) -> Option<Range<usize>> {
    let (start, end) = match index.checked_sub(1) {
        Some(before) => {
            let ends = body.get(before * END_BYTES..)?.first_chunk()?;
            let ends = u64::from_le_bytes(*ends);
            (ends as u32, (ends >> 32) as u32)
        }
        None => (0, u32::from_le_bytes(*body.first_chunk()?)),
    };
    let texts = count * (END_BYTES + SET_BYTES);
    let range = texts + start as usize..texts + end as usize;
    (index < count && start <= end && range.end <= body.len()).then_some(range)
}

/// Appends a page of values with the sets of entities that carry them.
pub(super) fn write_values<'a>(
    values: impl Iterator<Item = (&'a str, SetRef)> + Clone,
    out: &mut Vec<u8>,
) {
    let start = out.len();
    let mut end = 0;
    for (text, _) in values.clone() {
        end += text.len() as u32;
        out.extend_from_slice(&end.to_le_bytes());
    }
    for (_, set) in values.clone() {
        out.push(set.kind as u8);
        out.extend_from_slice(&set.count.to_le_bytes());
        out.extend_from_slice(&set.at.to_le_bytes());
    }
    for (text, _) in values {
        out.extend_from_slice(text.as_bytes());
    }
    seal(out, start);
}

/// A page of values whose checksum was right.
#[derive(Debug, Clone, Copy)]
pub(super) struct ValuePage<'a> {
    ends: &'a [u8],
    sets: &'a [u8],
    texts: &'a [u8],
}

impl<'a> ValuePage<'a> {
    /// Splits a page without its checksum.
    #[inline]
    pub(super) fn new(body: &'a [u8], count: usize) -> Result<Self, Malformed> {
        let mut reader = ByteReader::new(body);
        Ok(Self {
            ends: reader.bytes(count * END_BYTES)?,
            sets: reader.bytes(count * SET_BYTES)?,
            texts: reader.rest(),
        })
    }

    /// Returns how many values there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len() / END_BYTES
    }

    /// Returns where the set of the value is.
    #[inline]
    pub(super) fn set(&self, index: usize) -> Result<SetRef, Malformed> {
        let mut reader = ByteReader::new(self.sets.get(index * SET_BYTES..).unwrap_or_default());
        Ok(SetRef {
            kind: SetKind::read(&mut reader)?,
            count: reader.u32()?,
            at: reader.u32()?,
        })
    }

    /// Returns the text of the value.
    #[inline]
    pub(super) fn text(&self, index: usize) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes(index)?).map_err(|_not_text| Self::not_text(index))
    }

    /// Returns the bytes of the value's text, which nobody has looked at yet.
    #[inline]
    pub(super) fn bytes(&self, index: usize) -> Result<&'a [u8], Malformed> {
        self.start(index)
            .zip(self.start(index + 1))
            .and_then(|(start, end)| self.texts.get(start..end))
            .ok_or_else(|| Self::not_text(index))
    }

    #[cold]
    fn not_text(index: usize) -> Malformed {
        Malformed {
            what: "value is not text",
            offset: index * END_BYTES,
        }
    }

    /// Returns the first value from `index` on that has `word` in its text.
    pub(super) fn find_word(
        &self,
        mut index: usize,
        word: &Finder<'_>,
    ) -> Result<Option<usize>, Malformed> {
        while index < self.len() {
            let mut from = self.start(index).ok_or_else(|| Self::not_text(index))?;
            let Some(found) = self.texts.get(from..).and_then(|texts| word.find(texts)) else {
                return Ok(None);
            };
            from += found;
            while self.start(index + 1).is_some_and(|end| end <= from) {
                index += 1;
            }
            // Half of what was found may belong to the next value; the search goes on with that one.
            let text = self.bytes(index)?;
            let start = self.start(index).ok_or_else(|| Self::not_text(index))?;
            if from >= start && from - start + word.needle().len() <= text.len() {
                return Ok(Some(index));
            }
            if word.find(text).is_some() {
                return Ok(Some(index));
            }
            index += 1;
        }
        Ok(None)
    }

    /// Returns the position of `text`, if it is there.
    pub(super) fn find(&self, text: &str) -> Result<Option<usize>, Malformed> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.text(middle)?.cmp(text) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Ok(Some(middle)),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Ok(None)
    }

    /// Returns where the value's text starts: where that of the value before it ends.
    #[inline]
    fn start(&self, index: usize) -> Option<usize> {
        match index.checked_sub(1) {
            None => Some(0),
            Some(before) => self
                .ends
                .get(before * END_BYTES..)?
                .first_chunk()
                .map(|end| u32::from_le_bytes(*end) as usize),
        }
    }
}

/// The labels of an entity as (label id, value ordinal), ids ascending.
pub(super) type Key = [(u32, u32)];

/// Appends a page of entities.
pub(super) fn write_entities<'a>(keys: impl Iterator<Item = &'a Key> + Clone, out: &mut Vec<u8>) {
    let start = out.len();
    let mut bodies = Vec::new();
    for key in keys {
        let mut next = 1;
        for (label, value) in key {
            put_uvarint(&mut bodies, u64::from(label - next));
            put_uvarint(&mut bodies, u64::from(*value));
            next = label + 1;
        }
        // At most sixty-four labels of ten bytes each, sixty-four times.
        let end = u16::try_from(bodies.len()).expect("a page of entities is smaller than 64 KiB");
        out.extend_from_slice(&end.to_le_bytes());
    }
    out.extend_from_slice(&bodies);
    seal(out, start);
}

/// Returns where in its page it is said where the labels of the entity `index` stand.
#[inline]
pub(super) fn entity_end_at(index: usize) -> usize {
    index.saturating_sub(1) * 2
}

/// Returns where the labels of the entity `index` of `count` stand in a page without its checksum.
#[inline]
pub(super) fn entity_range(body: &[u8], count: usize, index: usize) -> Option<Range<usize>> {
    let (start, end) = match index.checked_sub(1) {
        Some(before) => {
            let ends = body.get(before * 2..)?.first_chunk()?;
            let ends = u32::from_le_bytes(*ends);
            (ends as u16, (ends >> 16) as u16)
        }
        None => (0, u16::from_le_bytes(*body.first_chunk()?)),
    };
    let bodies = count * 2;
    let range = bodies + usize::from(start)..bodies + usize::from(end);
    (index < count && start <= end && range.end <= body.len()).then_some(range)
}

/// A page of entities whose checksum was right.
#[derive(Debug, Clone, Copy)]
pub(super) struct EntityPage<'a> {
    ends: &'a [u8],
    bodies: &'a [u8],
}

impl<'a> EntityPage<'a> {
    /// Splits a page without its checksum.
    #[inline]
    pub(super) fn new(body: &'a [u8], count: usize) -> Result<Self, Malformed> {
        let mut reader = ByteReader::new(body);
        let ends = reader.bytes(count * 2)?;
        Ok(Self {
            ends,
            bodies: reader.rest(),
        })
    }

    /// Returns the labels of the entity.
    #[inline]
    pub(super) fn labels(&self, index: usize) -> Result<EntityLabels<'a>, Malformed> {
        let start = if index == 0 { 0 } else { self.end(index - 1)? };
        match self.bodies.get(start..self.end(index)?) {
            Some(body) => Ok(EntityLabels {
                reader: ByteReader::new(body),
                next: 1,
            }),
            None => Err(Malformed {
                what: "entity ends behind its page",
                offset: index * 2,
            }),
        }
    }

    fn end(&self, index: usize) -> Result<usize, Malformed> {
        ByteReader::new(self.ends.get(index * 2..).unwrap_or_default())
            .u16()
            .map(usize::from)
    }
}

/// Reads the labels of one entity.
#[derive(Debug, Clone)]
pub(super) struct EntityLabels<'a> {
    reader: ByteReader<'a>,
    next: u64,
}

impl EntityLabels<'_> {
    /// Returns the next label id and value ordinal.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<(u32, u32)>, Malformed> {
        if self.reader.is_empty() {
            return Ok(None);
        }
        let label = self
            .reader
            .uvarint()?
            .checked_add(self.next)
            .and_then(|label| u32::try_from(label).ok());
        let value = u32::try_from(self.reader.uvarint()?).ok();
        match (label, value) {
            (Some(label), Some(value)) => {
                self.next = u64::from(label) + 1;
                Ok(Some((label, value)))
            }
            _ => Err(self.reader.malformed("label of an entity exceeds 32 bits")),
        }
    }
}
