//! Entities in order with their labels.
//!
//! Packing an entity is a chain of look-ups: its page, the pages of its values, their texts. In an index that is larger
//! than the caches each of them waits for memory. So a batch is packed in steps, each for all of its entities, and what
//! a step is going to look at is touched for all of them before it: the waits overlap instead of following each other.
//!
//! 1. Where the labels of each entity stand.
//! 2. Which labels these are. Neighbours mostly begin with the same ones: what the first and the last of the batch have in
//!    common is packed once.
//! 3. Where the text of each value stands: in the index, or in a table of the label that has all its values packed.
//! 4. Label by label, the text of all.

use std::ops::Range;
use std::sync::Arc;

use super::directory::{Label, PackedLabels};
use super::page::{PER_PAGE, ValuePage, entity_end_at, entity_range, text_range, value_end_at};
use super::reader::IndexReader;
use crate::encoding::ByteReader;
use crate::labels::{EntityPacker, EntityTexts, PackedName, SLACK_BYTES};

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
    lead: Lead,
    packer: EntityPacker,
}

/// The labels that entities of a batch begin with.
#[derive(Debug, Default)]
struct Lead {
    /// How many bytes they take in the index.
    body_len: usize,
    /// The least id of a label behind them.
    next: u32,
    /// Packed, with [`SLACK_BYTES`] behind them.
    packed: Vec<u8>,
}

/// A label of an entity.
#[derive(Debug)]
struct EntityLabel<'a> {
    /// `None` if the text is that of the label, packed.
    name: Option<&'a PackedName>,
    /// From the text on, in the index or in a table; until that is known, from its page on.
    source: &'a [u8],
    /// How long the text is, or the page.
    len: u32,
    /// Which value of the page it is, of how many.
    index: u8,
    count: u8,
}

/// Which labels an entity has, behind the lead.
#[derive(Debug)]
struct Entity {
    has_lead: bool,
    labels: Range<usize>,
}

impl BatchReader {
    /// Reads `entities` of `index`.
    pub(super) fn read(&mut self, index: &IndexReader, entities: Vec<u32>) -> Batch {
        self.find_bodies(index, &entities);
        let mut labels = Vec::with_capacity(entities.len() * LABELS_EXPECTED);
        let mut found = self.find_labels(index, &mut labels);
        find_texts(&mut found, &mut labels);
        let mut ranges = self.pack(&found, &labels);
        Batch {
            entities,
            texts: self.packer.finish(&mut ranges),
            ranges,
        }
    }

    fn find_bodies(&mut self, index: &IndexReader, entities: &[u32]) {
        let bytes = index.bytes.as_slice();
        touch(entities.iter().map(|entity| {
            let page = index.directory.entity_pages.get(page_of(*entity));
            let page = page.map_or(0, |page| page.offset as usize);
            (bytes, page + entity_end_at(in_page(*entity)))
        }));
        self.bodies.clear();
        self.bodies
            .extend(entities.iter().map(|entity| index.find_body(*entity)));
        let bodies = self.bodies.iter().flatten();
        touch(bodies.flat_map(|body| [(bytes, body.start), (bytes, body.end)]));
    }

    fn find_labels<'a>(
        &mut self,
        index: &'a IndexReader,
        labels: &mut Vec<EntityLabel<'a>>,
    ) -> Vec<Option<Entity>> {
        self.pack_lead(index, labels);
        labels.clear();
        let bytes = index.bytes.as_slice();
        let first = self.bodies.first().cloned().flatten().unwrap_or_default();
        let lead = bytes.get(first.start..first.start + self.lead.body_len);
        let lead = lead.unwrap_or_default();

        let find = |body: &Option<Range<usize>>| {
            let body = body.clone()?;
            let has_lead = !lead.is_empty() && bytes.get(body.clone())?.starts_with(lead);
            let start = labels.len();
            let found = if has_lead {
                let behind = body.start + lead.len()..body.end;
                index.find_labels(behind, self.lead.next, labels)
            } else {
                index.find_labels(body, 1, labels)
            };
            if found.is_none() {
                labels.truncate(start);
                return None;
            }
            Some(Entity {
                has_lead,
                labels: start..labels.len(),
            })
        };
        let entities = self.bodies.iter().map(find).collect();
        touch((labels.iter()).map(|label| (label.source, value_end_at(label.index.into()))));
        entities
    }

    /// Packs the labels that the first and the last of the batch begin with.
    fn pack_lead<'a>(&mut self, index: &'a IndexReader, labels: &mut Vec<EntityLabel<'a>>) {
        self.lead.body_len = 0;
        if self.bodies.len() < LEAD_ENTITIES_MIN {
            return;
        }
        let (first, last) = (self.bodies.first(), self.bodies.last());
        let found = first.cloned().flatten().zip(last.cloned().flatten());
        let found = found.and_then(|(first, last)| {
            let place = common_labels(index.bytes.as_slice(), first, last)?;
            let next = index.find_labels(place.clone(), 1, labels)?;
            for label in labels.iter_mut() {
                label.find_text()?;
            }
            Some((place, next))
        });
        let Some((place, next)) = found else { return };
        pack_labels(labels, &mut self.packer);
        self.lead.packed.clear();
        self.lead.packed.extend_from_slice(self.packer.pushed());
        self.lead.packed.extend_from_slice(&[0; SLACK_BYTES]);
        self.packer.abandon();
        self.lead.body_len = place.len();
        self.lead.next = next;
    }

    /// Packs all entities and returns where each stands.
    fn pack(
        &mut self,
        entities: &[Option<Entity>],
        labels: &[EntityLabel<'_>],
    ) -> Vec<Option<Range<u32>>> {
        let Self { lead, packer, .. } = self;
        let pack = |entity: &Option<Entity>| {
            let entity = entity.as_ref()?;
            let labels = labels.get(entity.labels.clone())?;
            if entity.has_lead {
                packer.push_packed(&lead.packed, 0..lead.packed.len() - SLACK_BYTES);
            }
            pack_labels(labels, packer);
            packer.end()
        };
        entities.iter().map(pack).collect()
    }
}

fn find_texts(entities: &mut [Option<Entity>], labels: &mut [EntityLabel<'_>]) {
    for entity in entities {
        let Some(Entity { labels: place, .. }) = entity else {
            continue;
        };
        for label in labels.get_mut(place.clone()).unwrap_or_default() {
            if label.find_text().is_none() {
                *entity = None;
                break;
            }
        }
    }
    touch(labels.iter().flat_map(|label| {
        let last = (label.len as usize).saturating_sub(1);
        [(label.source, 0), (label.source, last)]
    }));
}

#[inline]
fn pack_labels(labels: &[EntityLabel<'_>], packer: &mut EntityPacker) {
    for label in labels {
        let text = 0..label.len as usize;
        match label.name {
            Some(name) => packer.push_label(name, label.source, text),
            None => packer.push_packed(label.source, text),
        }
    }
}

impl EntityLabel<'_> {
    /// Goes from the page of the text to the text; `None` if it cannot be read.
    #[inline]
    fn find_text(&mut self) -> Option<()> {
        if self.name.is_some() {
            let page = self.source.get(..self.len as usize)?;
            let text = text_range(page, self.count.into(), self.index.into())?;
            self.source = self.source.get(text.start..)?;
            self.len = text.len() as u32;
        }
        Some(())
    }
}

/// Pages of a label, up to which all its values are packed: a thousand values, some tens of kilobytes.
const TABLE_PAGES_MAX: usize = 16;

/// Labels of an entity that there is room for at first.
const LABELS_EXPECTED: usize = 12;

/// Returns where the labels stand in `first` that `last` begins with as well.
fn common_labels(bytes: &[u8], first: Range<usize>, last: Range<usize>) -> Option<Range<usize>> {
    let pairs = bytes.get(first.clone())?.iter().zip(bytes.get(last)?);
    let common = pairs.take_while(|(one, other)| one == other).count();
    let mut numbers = Numbers::new(bytes, first.clone());
    let mut end = first.start;
    while end < first.start + common {
        numbers.take()?;
        if numbers.at > first.start + common {
            break;
        }
        end = numbers.at;
    }
    Some(first.start..end)
}

/// In smaller batches it takes longer to find what all begin with.
const LEAD_ENTITIES_MIN: usize = 4;

impl IndexReader {
    /// Returns where the labels of an entity stand in the index; `None` if its page cannot be read.
    #[inline]
    fn find_body(&self, entity: u32) -> Option<Range<usize>> {
        let number = page_of(entity);
        let page = self.directory.entity_pages.get(number)?;
        let count = (self.directory.entities as usize - number * PER_PAGE).min(PER_PAGE);
        let body = page.body(self.bytes.as_slice()).ok()?;
        let range = entity_range(body, count, in_page(entity))?;
        let start = page.offset as usize;
        Some(start + range.start..start + range.end)
    }

    /// Appends the labels that stand in `body`, whose ids are `next` and above. Returns the least id of what may come
    /// behind them; `None` if one of them cannot be read.
    #[inline]
    fn find_labels<'a>(
        &'a self,
        body: Range<usize>,
        mut next: u32,
        out: &mut Vec<EntityLabel<'a>>,
    ) -> Option<u32> {
        let (bytes, labels) = (self.bytes.as_slice(), self.directory.labels.as_slice());
        let mut numbers = Numbers::new(bytes, body);
        while !numbers.is_empty() {
            let (delta, ordinal) = numbers.take()?;
            let id = delta.checked_add(next)?;
            let label = labels.get(id as usize)?;
            next = id + 1;
            out.push(match self.table(label) {
                Some(table) => {
                    let place = table.find(ordinal)?;
                    EntityLabel {
                        name: None,
                        source: table.bytes.get(place.start as usize..)?,
                        len: place.end - place.start,
                        index: 0,
                        count: 0,
                    }
                }
                None => {
                    let number = page_of(ordinal);
                    let page = &label.pages.get(number)?.page;
                    let count = (label.values as usize - number * PER_PAGE).min(PER_PAGE);
                    EntityLabel {
                        name: Some(&label.packed_name),
                        len: page.body(bytes).ok()?.len() as u32,
                        source: bytes.get(page.offset as usize..)?,
                        index: in_page(ordinal) as u8,
                        count: count as u8,
                    }
                }
            });
        }
        Some(next)
    }

    /// Reads every page once, so that whoever comes first does not wait for the operating system to map them, nor for their
    /// checksums. Damage is left for those who ask for what is there.
    pub fn warm(&self) {
        let bytes = self.bytes.as_slice();
        let of_labels = (self.directory.labels.iter()).flat_map(|label| &label.pages);
        let pages = of_labels
            .map(|page| &page.page)
            .chain(&self.directory.entity_pages);
        for page in pages {
            let _verified = page.body(bytes);
        }
        for label in self.directory.labels.iter().skip(1) {
            self.table(label);
        }
    }

    /// Returns all values of a label, packed, if it has few pages: what most label sets have is found and copied as one.
    #[inline]
    fn table<'a>(&self, label: &'a Label) -> Option<&'a PackedLabels> {
        if label.pages.len() > TABLE_PAGES_MAX {
            return None;
        }
        let table = label.packed.get_or_init(|| self.make_table(label));
        table.as_ref()
    }

    /// Packs all values of a label; none if one of its pages cannot be read.
    #[cold]
    fn make_table(&self, label: &Label) -> Option<PackedLabels> {
        let mut pages = Vec::with_capacity(label.pages.len());
        for (number, page) in label.pages.iter().enumerate() {
            let body = page.page.body(self.bytes.as_slice()).ok()?;
            let count = (label.values as usize - number * PER_PAGE).min(PER_PAGE);
            pages.push(ValuePage::new(body, count).ok()?);
        }
        let texts = (pages.iter()).flat_map(|page| (0..page.len()).map(|index| page.bytes(index)));
        PackedLabels::new(&label.name, texts).ok()
    }
}

/// Returns the number of the page on which an entity or a value is.
#[inline]
fn page_of(ordinal: u32) -> usize {
    ordinal as usize / PER_PAGE
}

/// Returns which one on its page an entity or a value is.
#[inline]
fn in_page(ordinal: u32) -> usize {
    ordinal as usize % PER_PAGE
}

/// The numbers that the labels of an entity are.
struct Numbers<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Numbers<'a> {
    /// Begins with those at `place`.
    #[inline]
    fn new(bytes: &'a [u8], place: Range<usize>) -> Self {
        Self {
            bytes,
            at: place.start,
            end: place.end,
        }
    }

    #[inline]
    fn is_empty(&self) -> bool {
        self.at >= self.end
    }

    /// Takes the two numbers of a label; `None` if there is no label.
    #[inline]
    fn take(&mut self) -> Option<(u32, u32)> {
        // Both together mostly take three bytes or four.
        let word = u64::from_le_bytes(*self.bytes.get(self.at..)?.first_chunk()?);
        let (delta, rest) = (word & 0x7f, word >> 8);
        let ends = !rest & 0x80_8080;
        if word & 0x80 != 0 || ends == 0 {
            return self.take_long();
        }
        let bits = ends.trailing_zeros() + 1;
        let groups = rest & ((1 << bits) - 1);
        let ordinal = groups & 0x7f | groups >> 1 & 0x3f80 | groups >> 2 & 0x1f_c000;
        self.at += 1 + bits as usize / 8;
        (self.at <= self.end).then_some((delta as u32, ordinal as u32))
    }

    #[inline(never)]
    fn take_long(&mut self) -> Option<(u32, u32)> {
        let mut reader = ByteReader::new(self.bytes.get(self.at..self.end)?);
        let mut take = || u32::try_from(reader.uvarint().ok()?).ok();
        let numbers = (take()?, take()?);
        self.at += reader.position();
        Some(numbers)
    }
}

/// Reads a byte at each of `places`, for no other purpose than that they are in the cache afterwards. None of these reads
/// depends on another one, so the processor has many of them under way at a time.
#[inline]
fn touch<'a>(places: impl Iterator<Item = (&'a [u8], usize)>) {
    let sum = places.fold(0u8, |sum, (bytes, at)| {
        sum.wrapping_add(bytes.get(at).copied().unwrap_or_default())
    });
    std::hint::black_box(sum);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::encoding::put_uvarint;

    proptest! {
        #[test]
        fn numbers_are_those_that_were_put(
            pairs in prop::collection::vec((0u32..300, prop_oneof![0u32..200, 0u32..70_000, any::<u32>()]), 0..20),
            behind in prop::collection::vec(any::<u8>(), 0..12),
        ) {
            let mut bytes = vec![7; 3];
            for (delta, ordinal) in &pairs {
                put_uvarint(&mut bytes, u64::from(*delta));
                put_uvarint(&mut bytes, u64::from(*ordinal));
            }
            let end = bytes.len();
            bytes.extend_from_slice(&behind);
            bytes.extend_from_slice(&[0xff; 8]);
            let mut numbers = Numbers::new(&bytes, 3..end);
            for pair in pairs {
                prop_assert!(!numbers.is_empty());
                prop_assert_eq!(numbers.take(), Some(pair));
            }
            prop_assert!(numbers.is_empty());
        }

        #[test]
        fn numbers_end_with_their_place(
            bytes in prop::collection::vec(any::<u8>(), 0..40),
            end in 0usize..60,
        ) {
            let mut numbers = Numbers::new(&bytes, 0..end);
            while !numbers.is_empty() {
                let before = numbers.at;
                if numbers.take().is_none() {
                    break;
                }
                prop_assert!(numbers.at > before && numbers.at <= end);
            }
        }
    }
}
