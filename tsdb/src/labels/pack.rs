//! Packs the labels of many entities into one text.

use std::ops::Range;
use std::sync::Arc;

use super::builder::{DIGIT_BITS, DIGIT_MASK, DIGIT_MORE};
use crate::limits::LABEL_SET_BYTES_MAX;

/// Packs entities, the labels beside the metric name, one behind the other into a text that series share.
///
/// Takes bytes that nobody has looked at yet: an entity becomes text as a whole, which is cheaper than label by label.
#[derive(Debug, Default)]
pub(crate) struct EntityPacker {
    /// The labels of the entity that has not ended.
    entity: Vec<u8>,
    texts: String,
}

impl EntityPacker {
    /// Appends a label to the entity that has not ended; names ascend.
    #[inline]
    pub(crate) fn push(&mut self, name: &[u8], value: &[u8]) {
        put(&mut self.entity, name);
        put(&mut self.entity, value);
    }

    /// Appends what [`pack_label`] or [`pack_text`] packed.
    #[inline]
    pub(crate) fn push_packed(&mut self, packed: &[u8]) {
        self.entity.extend_from_slice(packed);
    }

    /// Appends a text behind its length: the value of a label whose name was pushed packed.
    #[inline]
    pub(crate) fn push_text(&mut self, text: &[u8]) {
        put(&mut self.entity, text);
    }

    /// Ends the entity and returns where it stands; `None`, and nothing of it is kept, if it is not text or too long.
    #[inline]
    pub(crate) fn end(&mut self) -> Option<Range<u32>> {
        let start = self.texts.len();
        let text = std::str::from_utf8(&self.entity)
            .ok()
            .filter(|text| text.len() <= PACKED_BYTES_MAX);
        self.texts.push_str(text.unwrap_or_default());
        let is_text = text.is_some();
        self.entity.clear();
        let end = u32::try_from(self.texts.len()).ok()?;
        is_text.then_some(start as u32..end)
    }

    /// Drops the labels pushed since the last entity ended.
    pub(crate) fn abandon(&mut self) {
        self.entity.clear();
    }

    /// Returns the text of all entities and begins another one.
    pub(crate) fn finish(&mut self) -> Arc<str> {
        let texts = Arc::from(self.texts.as_str());
        self.texts.clear();
        texts
    }
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
    use crate::labels::{Labels, SeriesLabels};

    #[test]
    fn entities_stand_one_behind_the_other() {
        let mut packer = EntityPacker::default();
        packer.push(b"a", b"1");
        let first = packer.end().unwrap();
        packer.push(b"b", &[0xff]);
        assert_eq!(packer.end(), None);
        packer.push(b"c", b"lost");
        packer.abandon();
        packer.push_packed(&pack_label(b"b", &[b'x'; 5000]));
        packer.push_packed(&pack_text(b"c"));
        packer.push_text(b"3");
        let second = packer.end().unwrap();
        let texts = packer.finish();
        let labels = |range| SeriesLabels::new("".into(), Arc::clone(&texts), range).to_labels();
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
    }
}
