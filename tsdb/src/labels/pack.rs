//! Packs the labels of many entities into one text.

use std::ops::Range;
use std::sync::Arc;

use super::builder::{DIGIT_BITS, DIGIT_MASK, DIGIT_MORE};
use crate::limits::LABEL_SET_BYTES_MAX;

/// The packed labels of several entities, one behind the other.
#[derive(Debug, Default)]
pub(crate) struct EntityTexts(String);

impl EntityTexts {
    pub(super) fn new(packed: String) -> Self {
        Self(packed)
    }

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
    /// What is packed, and room behind it.
    packed: Vec<u8>,
    len: usize,
    /// Where the entity that has not ended begins.
    start: usize,
}

/// Texts up to this length are copied with the bytes behind them, which what comes next overwrites: copying as many bytes
/// each time takes a few instructions, asking how many takes a call.
pub(crate) const SLACK_BYTES: usize = 64;

/// Names up to this length, packed, are copied in the same way.
const NAME_BYTES: usize = 32;

/// What the longest label takes that is copied in that way.
const ROOM_BYTES: usize = NAME_BYTES + 1 + SLACK_BYTES;

/// A label name as label sets have it.
#[derive(Debug, Default)]
pub(crate) struct PackedName {
    /// The first bytes, so that there are always as many.
    start: [u8; NAME_BYTES],
    len: usize,
    bytes: Box<[u8]>,
}

impl PackedName {
    /// Packs a name.
    pub(crate) fn new(name: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(name.len() + 1);
        put(&mut bytes, name);
        let mut start = [0; NAME_BYTES];
        let len = bytes.len().min(NAME_BYTES);
        start[..len].copy_from_slice(&bytes[..len]);
        Self {
            start,
            len: bytes.len(),
            bytes: bytes.into(),
        }
    }
}

/// Copies `len` bytes, and some that come behind them.
#[inline]
fn copy_with_slack(from: &[u8; SLACK_BYTES], to: &mut [u8; SLACK_BYTES], len: usize) {
    const HALF: usize = SLACK_BYTES / 2;
    to[..HALF].copy_from_slice(&from[..HALF]);
    if len > HALF {
        to[HALF..].copy_from_slice(&from[HALF..]);
    }
}

impl EntityPacker {
    /// Appends a label to the entity that has not ended; names ascend.
    pub(crate) fn push(&mut self, name: &[u8], value: &[u8]) {
        self.push_text(name);
        self.push_text(value);
    }

    /// Appends what [`pack_label`] packed, in `range` of `source`; nothing if there is no such place.
    #[inline]
    pub(crate) fn push_packed(&mut self, source: &[u8], range: Range<usize>) {
        let len = range.len();
        let from = source.get(range.start..).and_then(<[u8]>::first_chunk);
        let room = self.packed.get_mut(self.len..);
        match (from, room.and_then(<[u8]>::first_chunk_mut)) {
            (Some(from), Some(room)) if len <= SLACK_BYTES => {
                copy_with_slack(from, room, len);
                self.len += len;
            }
            _ => self.push_bytes(source.get(range).unwrap_or_default()),
        }
    }

    /// Appends a label: its name, and the text in `range` of `source`; nothing if there is no such place.
    #[inline]
    pub(crate) fn push_label(&mut self, name: &PackedName, source: &[u8], range: Range<usize>) {
        let len = range.len();
        let from = source.get(range.start..).and_then(<[u8]>::first_chunk);
        let room = self.packed.get_mut(self.len..);
        let room: Option<&mut [u8; ROOM_BYTES]> = room.and_then(<[u8]>::first_chunk_mut);
        if let (Some(from), Some(room)) = (from, room)
            && len <= usize::from(DIGIT_MASK)
            && name.len <= NAME_BYTES
            && let Some(in_name) = room.first_chunk_mut()
        {
            *in_name = name.start;
            room[name.len] = len as u8;
            if let Some(room) = room[name.len + 1..].first_chunk_mut() {
                copy_with_slack(from, room, len);
                self.len += name.len + 1 + len;
                return;
            }
        }
        self.push_long(name, source, range);
    }

    #[inline(never)]
    fn push_long(&mut self, name: &PackedName, source: &[u8], range: Range<usize>) {
        if let Some(text) = source.get(range) {
            self.push_bytes(&name.bytes);
            self.push_text(text);
        }
    }

    #[inline]
    fn push_text(&mut self, text: &[u8]) {
        for_each_digit(text.len(), |digit| self.push_byte(digit));
        self.push_bytes(text);
    }

    #[inline]
    fn push_byte(&mut self, byte: u8) {
        match self.packed.get_mut(self.len) {
            Some(room) => {
                *room = byte;
                self.len += 1;
            }
            None => self.push_bytes(&[byte]),
        }
    }

    #[cold]
    fn make_room(&mut self, bytes: usize) {
        let len = (self.len + bytes + SLACK_BYTES).next_power_of_two();
        self.packed.resize(len.max(256), 0);
    }

    #[inline(never)]
    fn push_bytes(&mut self, bytes: &[u8]) {
        if self.packed.len() < self.len + bytes.len() {
            self.make_room(bytes.len());
        }
        self.packed[self.len..][..bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// Ends the entity and returns where it stands; `None`, and nothing of it is kept, if it is too long. Whether it is
    /// text is told by [`Self::finish`].
    #[inline]
    pub(crate) fn end(&mut self) -> Option<Range<u32>> {
        let (start, end) = (self.start, self.len);
        if end - start > PACKED_BYTES_MAX || u32::try_from(end).is_err() {
            self.abandon();
            return None;
        }
        self.start = end;
        Some(start as u32..end as u32)
    }

    /// Returns the labels pushed since the last entity ended.
    pub(crate) fn pushed(&self) -> &[u8] {
        self.packed.get(self.start..self.len).unwrap_or_default()
    }

    /// Drops the labels pushed since the last entity ended.
    pub(crate) fn abandon(&mut self) {
        self.len = self.start;
    }

    /// Returns the text of all entities and begins another one. Takes the place away of each of `ranges` that is not
    /// text.
    pub(crate) fn finish(&mut self, ranges: &mut [Option<Range<u32>>]) -> Arc<EntityTexts> {
        let mut packed = std::mem::take(&mut self.packed);
        packed.truncate(self.start);
        // What comes next is mostly about as long.
        if packed.len() > LENGTH_KEPT_MIN {
            self.packed = vec![0; packed.len() + packed.len() / 16 + ROOM_BYTES];
        } else {
            packed.shrink_to_fit();
        }
        (self.len, self.start) = (0, 0);
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

/// Appends a label as [`EntityPacker::push_packed`] takes it.
pub(crate) fn pack_label(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    put(out, name);
    put(out, value);
}

/// Shorter texts are not worth guessing how long the next will be.
const LENGTH_KEPT_MIN: usize = 4096;

/// The longest label set, and as much again for lengths: an index that says more is not believed.
const PACKED_BYTES_MAX: usize = 2 * LABEL_SET_BYTES_MAX;

#[inline]
fn put(out: &mut Vec<u8>, text: &[u8]) {
    for_each_digit(text.len(), |digit| out.push(digit));
    out.extend_from_slice(text);
}

/// Calls `put` with the digits of a length, the last of which says that it is the last.
#[inline]
fn for_each_digit(mut len: usize, mut put: impl FnMut(u8)) {
    while len > usize::from(DIGIT_MASK) {
        put(len as u8 & DIGIT_MASK | DIGIT_MORE);
        len >>= DIGIT_BITS;
    }
    put(len as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
        let mut packed = Vec::new();
        pack_label(b"b", &[b'x'; 5000], &mut packed);
        packer.push_packed(&packed, 0..packed.len());
        packer.push_packed(b"nothing is there", 9..90);
        packer.push_label(&PackedName::new(b"d"), b"nor there", 9..90);
        packer.push_label(&PackedName::new(b"d"), b"123", 2..3);
        let mut places = [first, not_text, packer.end()];
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
        assert_eq!(labels(second).iter().last(), Some(("d", "3")));
    }

    #[test]
    fn endless_entity_is_refused() {
        let mut packer = EntityPacker::default();
        packer.push(b"a", &vec![b'x'; PACKED_BYTES_MAX]);
        assert_eq!(packer.end(), None);
        packer.push(b"b", b"1");
        assert_eq!(packer.end(), Some(0..4), "nothing of it is kept");
    }

    proptest! {
        #[test]
        fn what_is_copied_in_steps_is_what_was_asked_for(
            labels in prop::collection::vec(("[a-z]{0,40}", "[A-Z]{0,80}", 0usize..90), 0..40),
        ) {
            let (mut plain, mut fast) = (EntityPacker::default(), EntityPacker::default());
            for (name, value, behind) in &labels {
                let (name, value) = (name.as_bytes(), value.as_bytes());
                plain.push(name, value);
                plain.push(name, value);
                let source = [b"before", value, &vec![b'?'; *behind]].concat();
                fast.push_label(&PackedName::new(name), &source, 6..6 + value.len());
                let mut packed = b"before".to_vec();
                pack_label(name, value, &mut packed);
                let end = packed.len();
                packed.resize(end + behind, b'?');
                fast.push_packed(&packed, 6..end);
                prop_assert_eq!(fast.pushed(), plain.pushed());
            }
        }
    }
}
