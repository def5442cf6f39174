//! Packs the labels of many entities into one text.

use std::ops::Range;
use std::sync::Arc;

use super::builder::{DIGIT_BITS, DIGIT_MASK, DIGIT_MORE};
use crate::limits::LABEL_SET_BYTES_MAX;

/// The packed labels of several entities, one behind the other.
#[derive(Debug, Default)]
pub(crate) struct EntityTexts(String);

impl EntityTexts {
    /// Returns the labels of the entity in `range`; none if there is no such place.
    #[inline]
    pub(crate) fn get(&self, range: Range<u32>) -> &str {
        self.0
            .get(range.start as usize..range.end as usize)
            .unwrap_or_default()
    }
}

/// Packs entities, the labels beside the metric name, one behind the other into a text that series share.
///
/// Takes bytes that nobody has looked at yet: all entities become text at once, which is cheaper than label by label.
#[derive(Debug, Default)]
pub(crate) struct EntityPacker {
    packed: Vec<u8>,
    /// Where the entity that has not ended begins.
    start: usize,
}

impl EntityPacker {
    /// Appends a label to the entity that has not ended; names ascend.
    #[inline]
    pub(crate) fn push(&mut self, name: &[u8], value: &[u8]) {
        put(&mut self.packed, name);
        put(&mut self.packed, value);
    }

    /// Appends what [`pack_label`] or [`pack_text`] packed.
    #[inline]
    pub(crate) fn push_packed(&mut self, packed: &[u8]) {
        self.packed.extend_from_slice(packed);
    }

    /// Appends a text behind its length: the value of a label whose name was pushed packed.
    #[inline]
    pub(crate) fn push_text(&mut self, text: &[u8]) {
        put(&mut self.packed, text);
    }

    /// Ends the entity and returns where it stands; `None`, and nothing of it is kept, if it is too long. Whether it is
    /// text is told by [`Self::finish`].
    #[inline]
    pub(crate) fn end(&mut self) -> Option<Range<u32>> {
        let (start, end) = (self.start, self.packed.len());
        if end - start > PACKED_BYTES_MAX || u32::try_from(end).is_err() {
            self.abandon();
            return None;
        }
        self.start = end;
        Some(start as u32..end as u32)
    }

    /// Drops the labels pushed since the last entity ended.
    pub(crate) fn abandon(&mut self) {
        self.packed.truncate(self.start);
    }

    /// Tells whether the labels pushed since the last entity ended are text.
    pub(crate) fn is_text(&self) -> bool {
        let entity = self.packed.get(self.start..).unwrap_or_default();
        std::str::from_utf8(entity).is_ok()
    }

    /// Returns the text of all entities and begins another one. Takes the place away of each of `ranges` that is not
    /// text.
    pub(crate) fn finish(&mut self, ranges: &mut [Option<Range<u32>>]) -> Arc<EntityTexts> {
        self.abandon();
        self.start = 0;
        // What comes next is mostly about as long.
        let room = Vec::with_capacity(self.packed.len());
        let packed = std::mem::replace(&mut self.packed, room);
        // Every text stands between lengths in ASCII, so all is text if each by itself is.
        let texts = String::from_utf8(packed)
            .unwrap_or_else(|error| without_damaged(error.as_bytes(), ranges));
        Arc::new(EntityTexts(texts))
    }
}

/// Returns a text of as many bytes in which those of `ranges` that are text stand where they did.
#[cold]
fn without_damaged(packed: &[u8], ranges: &mut [Option<Range<u32>>]) -> String {
    let mut texts = vec![0; packed.len()];
    for place in ranges {
        let entity = place
            .as_ref()
            .map(|range| range.start as usize..range.end as usize)
            .filter(|range| std::str::from_utf8(&packed[range.clone()]).is_ok());
        match entity {
            Some(range) => texts[range.clone()].copy_from_slice(&packed[range]),
            None => *place = None,
        }
    }
    String::from_utf8(texts).expect("zeros are text, and so is what was copied")
}

/// Returns a label as [`EntityPacker::push_packed`] takes it.
pub(crate) fn pack_label(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut packed = pack_text(name);
    put(&mut packed, value);
    packed
}

/// Returns a text behind its length.
pub(crate) fn pack_text(text: &[u8]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(text.len() + 1);
    put(&mut packed, text);
    packed
}

/// The longest label set, and as much again for lengths: an index that says more is not believed.
const PACKED_BYTES_MAX: usize = 2 * LABEL_SET_BYTES_MAX;

#[inline]
fn put(out: &mut Vec<u8>, text: &[u8]) {
    let mut len = text.len();
    while len > usize::from(DIGIT_MASK) {
        out.push(len as u8 & DIGIT_MASK | DIGIT_MORE);
        len >>= DIGIT_BITS;
    }
    out.push(len as u8);
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::{Labels, SeriesLabels, SharedLabels};

    #[test]
    fn entities_stand_one_behind_the_other() {
        let mut packer = EntityPacker::default();
        packer.push(b"a", b"1");
        let first = packer.end();
        packer.push(b"b", &[0xff]);
        let not_text = packer.end();
        packer.push(b"c", b"lost");
        packer.abandon();
        packer.push_packed(&pack_label(b"b", &[b'x'; 5000]));
        packer.push_packed(&pack_text(b"c"));
        packer.push_text(b"3");
        let mut places = [first, not_text, packer.end()];
        packer.push(b"d", &[0xff]);
        assert!(!packer.is_text());
        let shared = Arc::new(SharedLabels {
            metric: "".into(),
            texts: packer.finish(&mut places),
        });
        let labels = |range| SeriesLabels::new(Arc::clone(&shared), range).to_labels();
        let [Some(first), None, Some(second)] = places else {
            panic!("{places:?}");
        };
        assert_eq!(labels(first), Labels::from_pairs([("a", "1")]).unwrap());
        let long = "x".repeat(5000);
        // Longer than a value may be, which a packer does not judge.
        assert_eq!(labels(second.clone()).get("b"), Some(long.as_str()));
        assert_eq!(labels(second).get("c"), Some("3"));
    }

    #[test]
    fn endless_entity_is_refused() {
        let mut packer = EntityPacker::default();
        packer.push(b"a", &vec![b'x'; PACKED_BYTES_MAX]);
        assert_eq!(packer.end(), None);
        packer.push(b"b", b"1");
        assert_eq!(packer.end(), Some(0..4), "nothing of it is kept");
    }
}
