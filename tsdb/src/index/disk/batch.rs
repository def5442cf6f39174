//! Entities in order with their labels.
//!
//! Packing an entity is a chain of look-ups: its page, the pages of its values, their texts. In an index that is larger
//! than the caches each of them waits for memory. So a batch is packed in steps, each for all of its entities, and what
//! a step is going to look at is touched for all of them before it: the waits overlap instead of following each other.
//!
//! 1. Where the labels of each entity stand.
//! 2. Which labels these are, and where the text of each value stands: in the index, or in a table of the label that has
//!    all its values packed.
//! 3. Label by label, the text of all.

use std::ops::Range;
use std::sync::Arc;

use super::directory::{Label, PackedLabels};
use super::page::{EntityPage, PER_PAGE, ValuePage};
use super::reader::IndexReader;
use crate::encoding::ByteReader;
use crate::labels::{EntityPacker, EntityTexts, SLACK_BYTES};

/// Entities in order with their labels.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) entities: Vec<u32>,
    pub(super) texts: Arc<EntityTexts>,
    /// Where the labels of each entity stand; `None` for one that cannot be read.
    pub(super) ranges: Vec<Option<Range<u32>>>,
}

/// Reads batch after batch.
#[derive(Debug, Default)]
pub(super) struct BatchReader {
    /// Where the labels of each entity stand in the index.
    bodies: Vec<Option<Range<usize>>>,
    /// Those of all entities, one behind the other.
    labels: Vec<EntityLabel>,
    /// Where those of each entity end; `None` for one that cannot be read.
    ends: Vec<Option<usize>>,
    packer: EntityPacker,
}

/// A label of an entity.
#[derive(Debug, Clone)]
struct EntityLabel {
    id: u32,
    /// Where it stands, packed, in the table of the label, or where its value does in the index.
    place: Range<u32>,
    is_in_table: bool,
}

impl BatchReader {
    /// Reads `entities` of `index`.
    pub(super) fn read(&mut self, index: &IndexReader, entities: Vec<u32>) -> Batch {
        self.find_bodies(index, &entities);
        self.find_labels(index);
        let mut ranges = self.pack(index);
        Batch {
            entities,
            texts: self.packer.finish(&mut ranges),
            ranges,
        }
    }

    fn find_bodies(&mut self, index: &IndexReader, entities: &[u32]) {
        self.bodies.clear();
        self.bodies
            .extend(entities.iter().map(|entity| index.find_body(*entity)));
        let starts = self.bodies.iter().flatten().map(|body| body.start);
        touch(index.bytes.as_slice(), starts);
    }

    fn find_labels(&mut self, index: &IndexReader) {
        let bytes = index.bytes.as_slice();
        self.labels.clear();
        self.ends.clear();
        for body in &self.bodies {
            let start = self.labels.len();
            let body = body.clone().and_then(|body| bytes.get(body));
            let is_read =
                body.is_some_and(|body| index.find_labels(body, &mut self.labels).is_some());
            if !is_read {
                self.labels.truncate(start);
            }
            self.ends.push(is_read.then_some(self.labels.len()));
        }
        let in_index = self.labels.iter().filter(|label| !label.is_in_table);
        let ends =
            in_index.flat_map(|label| [label.place.start, label.place.end.saturating_sub(1)]);
        touch(bytes, ends.map(|at| at as usize));
    }

    /// Packs all entities and returns where each stands.
    fn pack(&mut self, index: &IndexReader) -> Vec<Option<Range<u32>>> {
        let bytes = index.bytes.as_slice();
        let mut ranges = Vec::with_capacity(self.ends.len());
        let mut start = 0;
        for end in &self.ends {
            let Some(end) = *end else {
                ranges.push(None);
                continue;
            };
            for EntityLabel {
                id,
                place,
                is_in_table,
            } in self.labels.get(start..end).unwrap_or_default()
            {
                let label = &index.directory.labels[*id as usize];
                let place = place.start as usize..place.end as usize;
                match label.packed.get() {
                    Some(table) if *is_in_table => self.packer.push_packed(&table.bytes, place),
                    _ => {
                        let name_len = label.packed_name.len() - SLACK_BYTES;
                        self.packer.push_packed(&label.packed_name, 0..name_len);
                        self.packer.push_text(bytes, place);
                    }
                }
            }
            start = end;
            ranges.push(self.packer.end());
        }
        ranges
    }
}

impl IndexReader {
    /// Returns where the labels of an entity stand in the index; `None` if its page cannot be read.
    #[inline]
    fn find_body(&self, entity: u32) -> Option<Range<usize>> {
        let number = entity as usize / PER_PAGE;
        let page = self.directory.entity_pages.get(number)?;
        let count = (self.directory.entities as usize - number * PER_PAGE).min(PER_PAGE);
        let body = page.body(self.bytes.as_slice()).ok()?;
        let labels = EntityPage::new(body, count).ok()?;
        let range = labels.range(entity as usize % PER_PAGE)?;
        let start = page.offset as usize;
        Some(start + range.start..start + range.end)
    }

    /// Appends the labels of an entity; `None` if one of them cannot be read.
    #[inline]
    fn find_labels(&self, mut body: &[u8], out: &mut Vec<EntityLabel>) -> Option<()> {
        let mut next = 1;
        while !body.is_empty() {
            let id = take_number(&mut body)?.checked_add(next)?;
            let ordinal = take_number(&mut body)?;
            let label = self.directory.labels.get(id as usize)?;
            next = id + 1;
            let table = match label.packed.get() {
                None if label.pages.len() == 1 => self.make_table(label),
                table => table,
            };
            let place = match table {
                Some(table) => table.find(ordinal)?,
                None => self.find_text(label, ordinal)?,
            };
            out.push(EntityLabel {
                id,
                place,
                is_in_table: table.is_some(),
            });
        }
        Some(())
    }

    /// Returns where the text of a value stands in the index; `None` if it cannot be read.
    #[inline]
    fn find_text(&self, label: &Label, ordinal: u32) -> Option<Range<u32>> {
        let number = ordinal as usize / PER_PAGE;
        let page = &label.pages.get(number)?.page;
        let count = (label.values as usize - number * PER_PAGE).min(PER_PAGE);
        let values = ValuePage::new(page.body(self.bytes.as_slice()).ok()?, count).ok()?;
        let range = values.range(ordinal as usize % PER_PAGE)?;
        Some(page.offset + range.start as u32..page.offset + range.end as u32)
    }

    /// Packs all values of a label that has a single page: they are in most label sets.
    #[cold]
    fn make_table<'a>(&self, label: &'a Label) -> Option<&'a PackedLabels> {
        let page = &label.pages.first()?.page;
        let values = page.body(self.bytes.as_slice()).ok()?;
        let values = ValuePage::new(values, label.values as usize).ok()?;
        let texts = (0..values.len()).map(|index| values.bytes(index));
        let table = PackedLabels::new(&label.name, texts).ok()?;
        Some(label.packed.get_or_init(|| table))
    }
}

/// Takes a number of 32 bits off the front, most of which are short.
#[inline]
fn take_number(bytes: &mut &[u8]) -> Option<u32> {
    match **bytes {
        [first @ ..0x80, ref rest @ ..] => {
            *bytes = rest;
            Some(first.into())
        }
        [first, second @ ..0x80, ref rest @ ..] => {
            *bytes = rest;
            Some(u32::from(first & 0x7f) | u32::from(second) << 7)
        }
        _ => {
            let mut reader = ByteReader::new(bytes);
            let number = u32::try_from(reader.uvarint().ok()?).ok()?;
            *bytes = reader.rest();
            Some(number)
        }
    }
}

/// Reads a byte at each of `places`, for no other purpose than that they are in the cache afterwards. None of these reads
/// depends on another one, so the processor has many of them under way at a time.
#[inline]
fn touch(bytes: &[u8], places: impl Iterator<Item = usize>) {
    let sum = places.fold(0u8, |sum, at| {
        sum.wrapping_add(bytes.get(at).copied().unwrap_or_default())
    });
    std::hint::black_box(sum);
}
