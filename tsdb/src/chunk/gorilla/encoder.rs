//! Streaming: what is known of a chunk between one sample and the next.

use crate::encoding::{Malformed, put_uvarint, put_varint};
use crate::sample::Sample;
use crate::time::Timestamp;

use super::bits::BitTail;
use super::reader::{Reader, Window};
use super::shared::SharedTimes;

/// Most samples of one chunk: the count has 16 bits.
pub const SAMPLES_MAX: usize = u16::MAX as usize;

/// A chunk that is being written, apart from its bytes: whoever appends keeps the words that are full.
#[derive(Debug, Clone, Copy)]
pub struct Encoder {
    tail: BitTail,
    count: u16,
    window: Option<Window>,
    timestamp: Timestamp,
    delta: u64,
    value_bits: u64,
}

// One per series in memory.
const _: () = assert!(size_of::<Encoder>() <= 40);

impl Encoder {
    /// Returns the encoder of an empty chunk.
    pub const fn new() -> Self {
        Self {
            tail: BitTail::new(),
            count: 0,
            window: None,
            timestamp: 0,
            delta: 0,
            value_bits: 0,
        }
    }

    /// Reads a chunk to its end to go on appending to it, as if it had never been put aside; returns its whole words,
    /// as bytes, too.
    pub fn resume(bytes: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let mut reader = Reader::new(bytes)?;
        let mut count = 0;
        while reader.advance()?.is_some() {
            count += 1;
        }
        let len_bits = reader.finish()?;
        let (whole, tail) = BitTail::split(&bytes[COUNT_BYTES..], len_bits - 8 * COUNT_BYTES);
        let encoder = Self {
            tail,
            count,
            window: reader.window,
            timestamp: reader.timestamp,
            delta: reader.delta,
            value_bits: reader.value_bits,
        };
        Ok((encoder, whole))
    }

    /// Appends a sample and hands words that are full to `words`. Any time and any bit pattern come back as they are;
    /// times that follow each other at equal distances and values that repeat cost one bit each.
    ///
    /// # Panics
    ///
    /// If the chunk holds [`SAMPLES_MAX`] samples: a count that wraps would lose them all.
    #[inline]
    pub fn push(&mut self, timestamp: Timestamp, value: f64, words: &mut impl FnMut(u64)) {
        if self.count < 2 {
            self.push_head(timestamp, value, words);
        } else {
            self.push_next(timestamp, value, words);
        }
    }

    /// Appends a sample behind two others at least, like [`Encoder::push`]. Calls nothing with the encoder, so that it can
    /// stay in registers from one sample to the next.
    #[inline(always)]
    pub fn push_next(&mut self, timestamp: Timestamp, value: f64, words: &mut impl FnMut(u64)) {
        assert!(
            (2..SAMPLES_MAX).contains(&self.count()),
            "a Gorilla chunk begins otherwise, and holds no more than {SAMPLES_MAX} samples"
        );
        let value_bits = value.to_bits();
        let delta = timestamp.wrapping_sub(self.timestamp) as u64;
        let head = self.time_bits(delta.wrapping_sub(self.delta) as i64, words);
        self.put_behind(head, value_bits, words);
        self.delta = delta;
        self.count += 1;
        self.timestamp = timestamp;
    }

    /// Appends the first or the second sample, whose times are whole bytes.
    #[inline(never)]
    fn push_head(&mut self, timestamp: Timestamp, value: f64, words: &mut impl FnMut(u64)) {
        let value_bits = value.to_bits();
        let delta = timestamp.wrapping_sub(self.timestamp) as u64;
        let mut time = Vec::with_capacity(10);
        if self.count == 0 {
            put_varint(&mut time, timestamp);
            self.tail.put_bytes(&time, words);
            self.tail.put(value_bits, 64, words);
        } else {
            put_uvarint(&mut time, delta);
            self.tail.put_bytes(&time, words);
            self.put_behind((0, 0), value_bits, words);
            self.delta = delta;
        }
        self.count += 1;
        self.timestamp = timestamp;
        self.value_bits = value_bits;
    }

    /// Appends samples behind two others at least, with the times that they share with those of other series. The chunk is
    /// the same as after [`Encoder::push_next`] of each.
    ///
    /// # Panics
    ///
    /// If there is not a value for each time, or no room for all.
    #[inline(always)]
    pub(crate) fn push_shared(
        &mut self,
        first: Timestamp,
        times: &SharedTimes,
        values: &[f64],
        words: &mut impl FnMut(u64),
    ) {
        assert!(
            self.count >= 2
                && values.len() == times.len()
                && self.count() + values.len() <= SAMPLES_MAX,
            "there is a time for each sample, and room in the chunk"
        );
        let delta = first.wrapping_sub(self.timestamp) as u64;
        let own = (
            time_head(delta.wrapping_sub(self.delta) as i64),
            time_head(times.first_step().wrapping_sub(delta) as i64),
        );
        let ([first_value, second_value, rest @ ..], (Some(one), Some(two))) = (values, own) else {
            for (at, &value) in values.iter().enumerate() {
                self.push_next(times.time(first, at), value, words);
            }
            return;
        };
        let before = self.value_bits;
        let others = values
            .iter()
            .fold(0, |others, value| others | value.to_bits() ^ before);
        match times.repeated() {
            Some(heads) if others == 0 => {
                let own = (one.0 << (two.1 + 2) | two.0 << 1, one.1 + two.1 + 2);
                self.put_both(own, heads, words);
            }
            _ => {
                self.put_behind(one, first_value.to_bits(), words);
                self.put_behind(two, second_value.to_bits(), words);
                for (&head, value) in times.heads().iter().zip(rest) {
                    self.put_behind(head, value.to_bits(), words);
                }
            }
        }
        self.delta = times.last_step();
        self.timestamp = times.time(first, values.len() - 1);
        self.count += values.len() as u16;
    }

    /// Returns the bits of a difference of two distances and their number, up to 24; longer ones are written at once.
    #[inline(always)]
    fn time_bits(&mut self, dod: i64, words: &mut impl FnMut(u64)) -> (u64, u32) {
        if let Some(head) = time_head(dod) {
            return head;
        }
        self.tail.put(0b1111, 4, words);
        self.tail.put(dod as u64, 64, words);
        (0, 0)
    }

    /// Writes a value behind `head`, bits and their number, which are not written yet.
    #[inline(always)]
    fn put_behind(&mut self, head: (u64, u32), value_bits: u64, words: &mut impl FnMut(u64)) {
        let (bits, count) = head;
        let xor = value_bits ^ self.value_bits;
        self.value_bits = value_bits;
        if xor == 0 {
            self.tail.put(bits << 1, count + 1, words);
            return;
        }
        let leading = xor.leading_zeros().min(31) as u8;
        let trailing = xor.trailing_zeros() as u8;
        match self.window {
            Some(window) if leading >= window.leading && trailing >= window.trailing => {
                let control = (bits << 2 | 0b10, count + 2);
                self.put_both(control, (xor >> window.trailing, window.width()), words);
            }
            _ => {
                let window = Window { leading, trailing };
                let width = window.width();
                let control = 0b11 << 11 | u64::from(leading) << 6 | u64::from(width) & 63;
                let control = (bits << 13 | control, count + 13);
                self.put_both(control, (xor >> trailing, width), words);
                self.window = Some(window);
            }
        }
    }

    /// Writes two runs of bits, at once if they make up a word at most: whether a word is full is a guess of the processor
    /// that often fails.
    #[inline(always)]
    fn put_both(&mut self, one: (u64, u32), two: (u64, u32), words: &mut impl FnMut(u64)) {
        if one.1 + two.1 < 64 {
            self.tail.put(one.0 << two.1 | two.0, one.1 + two.1, words);
        } else {
            self.tail.put(one.0, one.1, words);
            self.tail.put(two.0, two.1, words);
        }
    }

    /// Returns the number of samples.
    pub fn count(&self) -> usize {
        usize::from(self.count)
    }

    /// Tells whether the chunk has no sample.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns how many bytes the chunk takes as it is now, with so many whole words.
    pub fn len(&self, words: usize) -> usize {
        COUNT_BYTES + words * size_of::<u64>() + self.tail.len()
    }

    /// Appends the chunk as it is now to `out`; `words` appends its whole words.
    pub fn write(&self, out: &mut Vec<u8>, words: impl FnOnce(&mut Vec<u8>)) {
        out.extend_from_slice(&self.count.to_be_bytes());
        words(out);
        self.tail.write(out);
    }

    /// Returns the whole words in the bytes of the chunk as it is now.
    pub fn whole_words<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[COUNT_BYTES..bytes.len() - self.tail.len()]
    }

    /// Returns the newest sample.
    pub fn last(&self) -> Option<Sample> {
        (self.count > 0).then(|| Sample {
            timestamp: self.timestamp,
            value: f64::from_bits(self.value_bits),
        })
    }
}

/// Returns the bits of a difference of two distances and their number, unless they are more than 24. The ranges reach one
/// further up than down: see the format.
#[inline(always)]
pub(super) fn time_head(dod: i64) -> Option<(u64, u32)> {
    let low = |count: u32| dod as u64 & ((1 << count) - 1);
    match dod {
        0 => Some((0, 1)),
        -8_191..=8_192 => Some((0b10 << 14 | low(14), 16)),
        -65_535..=65_536 => Some((0b110 << 17 | low(17), 20)),
        -524_287..=524_288 => Some((0b1110 << 20 | low(20), 24)),
        _ => None,
    }
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

pub(super) const COUNT_BYTES: usize = 2;
