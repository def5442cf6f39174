//! Definitions in a page: writer and reader.

use crate::encoding::{ByteReader, Malformed, crc32_seeded, put_uvarint, put_varint};
use crate::labels::{Labels, LabelsBuilder, METRIC_NAME, SeriesLabels};
use crate::limits::{
    LABEL_NAME_BYTES_MAX, LABEL_SET_BYTES_MAX, LABEL_VALUE_BYTES_MAX, LABELS_PER_SERIES_MAX,
};

use super::format::SECTOR_BYTES;
use super::texts::{TextIndex, Texts};

/// Packs definitions into pages.
#[derive(Debug)]
pub(super) struct PageWriter {
    salt: u32,
    /// Finished pages, each filled up to the next sector, and then the open one.
    out: Vec<u8>,
    page_start: usize,
    count: u32,
    last_id: u64,
    last: Vec<Pair>,
    /// The labels of the definition before, without its metric.
    last_entity: String,
    /// Where among its labels the metric is.
    metric_place: Option<usize>,
    texts: TextIndex,
    /// The labels of one definition that differ, until it is known which.
    changed: Vec<u8>,
}

/// A label as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Pair {
    name: String,
    value: String,
}

impl PageWriter {
    pub(super) fn new(salt: u32) -> Self {
        Self {
            salt,
            out: Vec::new(),
            page_start: 0,
            count: 0,
            last_id: 0,
            last: Vec::new(),
            last_entity: String::new(),
            metric_place: None,
            texts: TextIndex::new(),
            changed: Vec::new(),
        }
    }

    /// Adds a definition to the open page, or to a new one if it does not fit.
    pub(super) fn push(&mut self, id: u64, labels: &SeriesLabels) {
        if self.count == 0 {
            self.out.resize(self.page_start + PAGE_HEADER_BYTES, 0);
        }
        let before = self.out.len();
        self.put(id, labels);
        if self.count > 0 && self.out.len() - self.page_start > PAGE_BYTES_MAX {
            self.out.truncate(before);
            self.end_page();
            self.out.resize(self.page_start + PAGE_HEADER_BYTES, 0);
            self.put(id, labels);
        }
        self.count += 1;
    }

    /// Ends the open page and returns all pages; [`Self::clear`] forgets them.
    pub(super) fn finish(&mut self) -> &[u8] {
        self.end_page();
        &self.out
    }

    /// Returns the bytes of the finished pages.
    pub(super) fn finished_bytes(&self) -> usize {
        self.page_start
    }

    /// Starts over, keeping the memory.
    pub(super) fn clear(&mut self) {
        self.out.clear();
        self.page_start = 0;
        self.forget();
    }

    /// Writes a definition behind what is there, and makes it the one before.
    fn put(&mut self, id: u64, labels: &SeriesLabels) {
        put_varint(&mut self.out, id.wrapping_sub(self.last_id) as i64);
        self.last_id = id;
        self.changed.clear();
        let metric = labels.metric();
        let is_neighbour = self.count > 0 && self.last_entity == labels.packed();
        let place = match self.metric_place {
            Some(place) if is_neighbour && !metric.is_empty() => place,
            _ => return self.put_all(labels),
        };
        let changes = u64::from(self.put_pair(place, METRIC_NAME, metric)) << place;
        if changes == 0 {
            put_uvarint(&mut self.out, 0);
            put_uvarint(&mut self.out, self.last.len() as u64);
        }
        put_uvarint(&mut self.out, changes);
        self.out.extend_from_slice(&self.changed);
    }

    /// Writes all labels of a definition that differ from those before.
    fn put_all(&mut self, labels: &SeriesLabels) {
        self.last_entity.clear();
        self.last_entity.push_str(labels.packed());
        self.metric_place = None;
        let known = self.last.len();
        let mut changes = 0u64;
        let mut count = 0;
        for (index, (name, value)) in labels.iter().enumerate() {
            count += 1;
            if index == self.last.len() {
                self.last.push(Pair::default());
            }
            if name == METRIC_NAME {
                self.metric_place = Some(index);
            }
            changes |= u64::from(self.put_pair(index, name, value)) << index;
        }
        debug_assert!(count <= LABELS_PER_SERIES_MAX);
        self.last.truncate(count);
        if changes == 0 || count != known {
            put_uvarint(&mut self.out, 0);
            put_uvarint(&mut self.out, count as u64);
        }
        put_uvarint(&mut self.out, changes);
        self.out.extend_from_slice(&self.changed);
    }

    /// Puts a label into what has changed, and into the place of the one before, unless it is the same. Tells whether it
    /// is not.
    fn put_pair(&mut self, index: usize, name: &str, value: &str) -> bool {
        let last = &mut self.last[index];
        if last.name == name && last.value == value {
            return false;
        }
        if last.name != name {
            put_uvarint(&mut self.changed, 0);
            put_text(&mut self.changed, name);
            last.name.clear();
            last.name.push_str(name);
            last.value.clear();
        }
        let shared = shared_prefix(&last.value, value);
        let rest = value
            .get(shared..)
            .expect("a prefix ends between characters");
        match self.texts.find_or_push(value) {
            Some(number) => put_uvarint(&mut self.changed, 2 + 2 * number as u64),
            None => {
                put_uvarint(&mut self.changed, 1 + 2 * shared as u64);
                put_text(&mut self.changed, rest);
            }
        }
        last.value.truncate(shared);
        last.value.push_str(rest);
        true
    }

    fn end_page(&mut self) {
        if self.count == 0 {
            return;
        }
        let body_start = self.page_start + PAGE_HEADER_BYTES;
        let len = u32::try_from(self.out.len() - body_start).expect("a page is shorter than 4 GiB");
        self.out[self.page_start..][..4].copy_from_slice(&len.to_le_bytes());
        self.out[self.page_start + 4..][..4].copy_from_slice(&self.count.to_le_bytes());
        let crc = page_crc(
            self.salt,
            &self.out[self.page_start..][..8],
            &self.out[body_start..],
        );
        self.out[self.page_start + 8..][..4].copy_from_slice(&crc.to_le_bytes());
        self.out
            .resize(self.out.len().next_multiple_of(SECTOR_BYTES), 0);
        self.page_start = self.out.len();
        self.forget();
    }

    fn forget(&mut self) {
        self.count = 0;
        self.last_id = 0;
        self.last.clear();
        self.texts.clear();
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_uvarint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Returns how many bytes both texts start with, as whole characters.
fn shared_prefix(a: &str, b: &str) -> usize {
    let mut shared = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    while !b.is_char_boundary(shared) {
        shared -= 1;
    }
    shared
}

fn page_crc(salt: u32, head: &[u8], body: &[u8]) -> u32 {
    crc32_seeded(crc32_seeded(salt, head), body)
}

/// One series as it is read: its id and its labels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Definition<'a> {
    id: u64,
    pairs: &'a [Pair],
}

impl<'a> Definition<'a> {
    /// Returns the id.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Walks the labels in the bytewise order of their names: what [`Labels`] asks for.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&'a str, &'a str)> + Clone + use<'a> {
        self.pairs
            .iter()
            .map(|pair| (pair.name.as_str(), pair.value.as_str()))
    }

    /// Returns the labels as a set of their own.
    pub(crate) fn labels(&self) -> Labels {
        let bytes = self
            .pairs()
            .map(|(name, value)| crate::labels::packed_len(name, value))
            .sum();
        let mut builder = LabelsBuilder::with_capacity(bytes);
        for (name, value) in self.pairs() {
            builder.push(name, value);
        }
        builder.finish()
    }
}

/// Takes pages apart; keeps its memory from one to the next.
#[derive(Debug, Default)]
pub(super) struct PageReader {
    pairs: Vec<Pair>,
    /// How many of `pairs` the present definition has.
    count: usize,
    texts: Texts,
}

/// A page that verifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Page<'a> {
    count: u32,
    body: &'a [u8],
}

impl<'a> Page<'a> {
    /// Returns a page as if its checksum held.
    #[cfg(test)]
    pub(super) fn new_for_test(count: u32, body: &'a [u8]) -> Self {
        Self { count, body }
    }

    /// Finds the page at the start of `bytes`, if one verifies there, and its length with its header.
    pub(super) fn find(bytes: &'a [u8], salt: u32) -> Option<(Self, usize)> {
        let mut reader = ByteReader::new(bytes);
        let head = reader.bytes(8).ok()?;
        let mut fields = ByteReader::new(head);
        let (len, count) = (fields.u32().ok()?, fields.u32().ok()?);
        let crc = reader.u32().ok()?;
        // Every definition takes two bytes at least; a length beyond any label set is no page of ours.
        if len == 0 || len as usize > PAGE_LEN_MAX || count == 0 || count > len / 2 {
            return None;
        }
        let body = reader.bytes(len as usize).ok()?;
        (page_crc(salt, head, body) == crc).then_some((Self { count, body }, reader.position()))
    }
}

impl PageReader {
    /// Gives each definition of a page to `visit`. Returns how many there are.
    pub(super) fn read(
        &mut self,
        page: Page<'_>,
        mut visit: impl FnMut(Definition<'_>),
    ) -> Result<u32, Malformed> {
        let mut reader = ByteReader::new(page.body);
        let mut id = 0u64;
        self.count = 0;
        self.texts.clear();
        for _ in 0..page.count {
            id = id.wrapping_add(reader.varint()? as u64);
            self.read_pairs(&mut reader)?;
            visit(Definition {
                id,
                pairs: self.pairs.get(..self.count).unwrap_or_default(),
            });
        }
        reader.expect_end()?;
        Ok(page.count)
    }

    fn read_pairs(&mut self, reader: &mut ByteReader<'_>) -> Result<(), Malformed> {
        let known = self.count;
        let mut changes = reader.uvarint()?;
        if changes == 0 {
            self.count = reader.uvarint_max(LABELS_PER_SERIES_MAX, "too many labels")?;
            if self.count > self.pairs.len() {
                self.pairs.resize_with(self.count, Pair::default);
            }
            changes = reader.uvarint()?;
        }
        // Pairs the definition before did not have are still there from an older one: all of them must be given now.
        let new = !low_bits(known) & low_bits(self.count);
        if self.count == 0 || changes & !low_bits(self.count) != 0 || new & !changes != 0 {
            return Err(reader.malformed("impossible set of changed labels"));
        }
        let mut left = changes;
        let mut names_changed = self.count < known;
        while left != 0 {
            let index = left.trailing_zeros() as usize;
            left &= left - 1;
            let Some(pair) = self.pairs.get_mut(index) else {
                return Err(reader.malformed("label behind the last"));
            };
            names_changed |= pair.read(reader, index < known, &mut self.texts)?;
        }
        if names_changed {
            self.check_names(reader)?;
        }
        Ok(())
    }

    /// [`Labels`] takes the order of names for granted.
    fn check_names(&self, reader: &ByteReader<'_>) -> Result<(), Malformed> {
        let pairs = self.pairs.get(..self.count).unwrap_or_default();
        if pairs
            .windows(2)
            .all(|two| matches!(two, [a, b] if a.name < b.name))
        {
            Ok(())
        } else {
            Err(reader.malformed("label names do not ascend"))
        }
    }
}

impl Pair {
    /// Returns whether the name is another one.
    fn read(
        &mut self,
        reader: &mut ByteReader<'_>,
        has_before: bool,
        texts: &mut Texts,
    ) -> Result<bool, Malformed> {
        let mut start = reader.uvarint()?;
        let renamed = start == 0;
        if renamed {
            self.name.clear();
            self.name.push_str(reader.sized_str()?);
            self.value.clear();
            start = reader.uvarint()?;
        } else if !has_before {
            return Err(reader.malformed("label name before it was given"));
        }
        let number = usize::try_from(start / 2).unwrap_or(usize::MAX);
        if start % 2 == 1 {
            if number > self.value.len() || !self.value.is_char_boundary(number) {
                return Err(reader.malformed("shared text is not there"));
            }
            self.value.truncate(number);
            self.value.push_str(reader.sized_str()?);
            texts.push(&self.value);
        } else {
            let known = number.checked_sub(1).and_then(|number| texts.get(number));
            let Some(text) = known else {
                return Err(reader.malformed("value before it was given"));
            };
            self.value.clear();
            self.value.push_str(text);
        }
        if self.name.is_empty()
            || self.value.is_empty()
            || self.name.len() > LABEL_NAME_BYTES_MAX
            || self.value.len() > LABEL_VALUE_BYTES_MAX
        {
            return Err(reader.malformed("label is empty or too long"));
        }
        Ok(renamed)
    }
}

/// Returns the number whose `count` lowest bits are set.
fn low_bits(count: usize) -> u64 {
    if count >= 64 {
        u64::MAX
    } else {
        (1 << count) - 1
    }
}

/// A page holds as many definitions as fit, and one if that does not.
const PAGE_BYTES_MAX: usize = 4096;

const PAGE_HEADER_BYTES: usize = 12;

/// Longest body of a page.
const PAGE_LEN_MAX: usize = 65_536;

/// Longest page with its header, filled up to the next sector.
pub(super) const FILLED_PAGE_BYTES_MAX: usize = PAGE_LEN_MAX + SECTOR_BYTES;

const _: () = assert!(
    LABEL_SET_BYTES_MAX + LABELS_PER_SERIES_MAX * 12 + 32 <= PAGE_LEN_MAX,
    "the longest label set fits a page"
);
const _: () = assert!(
    LABELS_PER_SERIES_MAX <= 64,
    "the set of changes has room for 64 labels"
);
