//! The packed form of a label set, and writing it label by label.
//!
//! Names and values follow each other in one string, each behind its length in bytes. The lengths are written in
//! ASCII, six bits to a character, so the whole is UTF-8 and is cut into `&str` without validating it again and
//! without unsafe code. Anything below 64 bytes, nearly every name and value, costs one byte of length.

use super::{EntityTexts, Labels};

/// Writes label sets in the packed form, in one allocation when the capacity is right.
///
/// For readers of formats that store labels sorted and checked. The builder trusts its caller: names ascend bytewise
/// without repetition, values are not empty. Labels pushed in another order are a set that equals no other, no more.
#[derive(Debug, Default)]
pub(crate) struct LabelsBuilder {
    packed: String,
}

impl LabelsBuilder {
    /// Returns a builder with room for `bytes`, as [`packed_len`] counts them.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self {
            packed: String::with_capacity(bytes),
        }
    }

    /// Appends a label behind the others.
    #[inline]
    pub(crate) fn push(&mut self, name: &str, value: &str) {
        put_str(&mut self.packed, name);
        put_str(&mut self.packed, value);
    }

    /// Appends labels that are packed already.
    #[inline]
    pub(crate) fn push_packed(&mut self, packed: &str) {
        self.packed.push_str(packed);
    }

    /// Makes room for more bytes.
    pub(crate) fn reserve(&mut self, bytes: usize) {
        self.packed.reserve(bytes);
    }

    /// Returns how many bytes were pushed.
    pub(crate) fn len(&self) -> usize {
        self.packed.len()
    }

    /// Returns what was pushed as the text of several entities, one behind the other.
    pub(crate) fn finish_entities(mut self) -> EntityTexts {
        self.packed.shrink_to_fit();
        EntityTexts::new(self.packed)
    }

    /// Returns the labels pushed since [`Self::with_capacity`].
    pub(crate) fn finish(self) -> Labels {
        Labels::from_packed(self.packed.into_boxed_str())
    }

    /// Returns the packed labels so far.
    pub(super) fn packed(&self) -> &str {
        &self.packed
    }
}

/// Returns the bytes a label takes in the packed form.
#[inline]
pub(crate) fn packed_len(name: &str, value: &str) -> usize {
    length_len(name.len()) + name.len() + length_len(value.len()) + value.len()
}

/// Takes the text off the front of packed labels, which stands behind its length; `None` at the end.
#[inline]
pub(super) fn take_str<'a>(packed: &mut &'a str) -> Option<&'a str> {
    let mut chars = packed.chars();
    let first = chars.next()? as usize;
    let (text, rest) = if first & usize::from(DIGIT_MORE) == 0 {
        chars.as_str().split_at_checked(first)?
    } else {
        long_str(packed)?
    };
    *packed = rest;
    Some(text)
}

/// Splits off the first text of packed labels whose length takes several digits.
#[cold]
fn long_str(packed: &str) -> Option<(&str, &str)> {
    let (start, end) = text_at(packed.as_bytes(), 0)?;
    Some((packed.get(start..end)?, packed.get(end..)?))
}

/// Returns where the label at `position` of packed labels ends; `None` behind the last.
#[inline]
pub(super) fn label_end(packed: &[u8], position: usize) -> Option<usize> {
    let (_, name_end) = text_at(packed, position)?;
    let (_, end) = text_at(packed, name_end)?;
    Some(end)
}

/// Returns where the value of the label at `position` of packed labels starts; `None` behind the last.
#[inline]
pub(super) fn value_start(packed: &[u8], position: usize) -> Option<usize> {
    let (_, name_end) = text_at(packed, position)?;
    let (start, _) = text_at(packed, name_end)?;
    Some(start)
}

/// Returns where the text that stands behind its length at `position` starts and ends.
#[inline]
fn text_at(packed: &[u8], position: usize) -> Option<(usize, usize)> {
    let first = *packed.get(position)?;
    let (start, len) = (position + 1, usize::from(first & DIGIT_MASK));
    if first & DIGIT_MORE == 0 {
        Some((start, start + len))
    } else {
        long_text_at(packed, start, len)
    }
}

/// Reads the digits of a length behind the first.
#[cold]
fn long_text_at(packed: &[u8], mut start: usize, mut len: usize) -> Option<(usize, usize)> {
    let mut bits = DIGIT_BITS;
    loop {
        let byte = *packed.get(start)?;
        start += 1;
        len |= usize::from(byte & DIGIT_MASK) << bits;
        bits += DIGIT_BITS;
        if byte & DIGIT_MORE == 0 {
            return Some((start, start + len));
        }
    }
}

pub(super) const DIGIT_BITS: usize = 6;
pub(super) const DIGIT_MASK: u8 = 0x3f;
pub(super) const DIGIT_MORE: u8 = 0x40;

#[inline]
fn put_str(packed: &mut String, text: &str) {
    let mut len = text.len();
    while len > usize::from(DIGIT_MASK) {
        packed.push(char::from(len as u8 & DIGIT_MASK | DIGIT_MORE));
        len >>= DIGIT_BITS;
    }
    packed.push(char::from(len as u8));
    packed.push_str(text);
}

#[inline]
fn length_len(len: usize) -> usize {
    let mut digits = 1;
    let mut rest = len >> DIGIT_BITS;
    while rest > 0 {
        digits += 1;
        rest >>= DIGIT_BITS;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_round_trips_and_is_counted() {
        for len in [0, 1, 63, 64, 127, 128, 4095, 4096, 300_000] {
            let text = "x".repeat(len);
            let mut builder = LabelsBuilder::with_capacity(packed_len("a", &text));
            builder.push("a", &text);
            assert_eq!(builder.packed().len(), packed_len("a", &text));
            let labels = builder.finish();
            assert_eq!(labels.get("a"), Some(text.as_str()));
        }
    }

    #[test]
    fn builder_and_pairs_agree() {
        let mut builder = LabelsBuilder::with_capacity(0);
        builder.push("__name__", "up");
        builder.push("job", "näme");
        assert_eq!(
            Ok(builder.finish()),
            Labels::from_pairs([("job", "näme"), ("__name__", "up")])
        );
    }
}
