//! Bits, most significant first, written to and read from bytes.

/// The end of a stream of bits, less than a word of them: whole words go to whoever appends.
///
/// A chunk takes two or three bytes a sample, so the memory behind most samples is not touched at all.
///
/// Packed, as it stands in memory for each series and would grow by seven bytes of padding.
#[derive(Debug, Clone, Copy)]
#[repr(Rust, packed)]
pub(super) struct BitTail {
    /// The bits from the most significant on, then zeros.
    word: u64,
    /// Their number, at most 63.
    used: u8,
}

impl BitTail {
    pub(super) const fn new() -> Self {
        Self { word: 0, used: 0 }
    }

    /// Splits the first `len_bits` bits of `bytes` into whole words and the tail behind them; what follows those bits
    /// must be zero.
    pub(super) fn split(bytes: &[u8], len_bits: usize) -> (&[u8], Self) {
        let whole = len_bits / 64 * 8;
        let mut word = [0; 8];
        let rest = bytes.get(whole..len_bits.div_ceil(8)).unwrap_or_default();
        for (to, &from) in word.iter_mut().zip(rest) {
            *to = from;
        }
        let tail = Self {
            word: u64::from_be_bytes(word),
            used: (len_bits % 64) as u8,
        };
        (&bytes[..whole], tail)
    }

    /// Appends the low `count` bits of `bits`, 1 to 64; the others must be zero.
    #[inline(always)]
    pub(super) fn put(&mut self, bits: u64, count: u32, words: &mut impl FnMut(u64)) {
        let room = 64 - u32::from(self.used);
        if count < room {
            self.word |= bits << (room - count);
            self.used += count as u8;
        } else {
            let left = count - room;
            words(self.word | bits >> left);
            // None is left if all fit: shifted in two steps, as 64 is no distance.
            self.word = bits << 1 << (63 - left);
            self.used = left as u8;
        }
    }

    /// Appends whole bytes.
    pub(super) fn put_bytes(&mut self, bytes: &[u8], words: &mut impl FnMut(u64)) {
        for &byte in bytes {
            self.put(u64::from(byte), 8, words);
        }
    }

    /// Returns how many bytes the bits take, the last one padded with zeros.
    pub(super) fn len(&self) -> usize {
        usize::from(self.used.div_ceil(8))
    }

    /// Appends the bits to `out`, the last byte padded with zeros.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.word.to_be_bytes()[..self.len()]);
    }
}

/// Reads bits from bytes by their position. Reading past the end gives zeros; [`BitReader::is_overrun`] tells
/// afterwards, so that a sample needs one check instead of one per field.
#[derive(Debug, Clone)]
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    /// In bits.
    position: usize,
}

impl<'a> BitReader<'a> {
    /// Reads `bytes` from the byte at `start` on.
    pub(super) fn new(bytes: &'a [u8], start: usize) -> Self {
        Self {
            bytes,
            position: start * 8,
        }
    }

    /// Returns the next bits in the high end of a word: at least 57 of them, followed by zeros.
    #[inline(always)]
    pub(super) fn peek(&self) -> u64 {
        let start = self.position / 8;
        let word = match self.bytes.get(start..).and_then(|rest| rest.first_chunk()) {
            Some(word) => u64::from_be_bytes(*word),
            None => self.peek_tail(start),
        };
        word << (self.position % 8)
    }

    #[inline(never)]
    fn peek_tail(&self, start: usize) -> u64 {
        let mut word = [0; 8];
        let rest = self.bytes.get(start..).unwrap_or_default();
        for (to, &from) in word.iter_mut().zip(rest) {
            *to = from;
        }
        u64::from_be_bytes(word)
    }

    /// Passes over `count` bits that [`BitReader::peek`] has shown.
    #[inline(always)]
    pub(super) fn skip(&mut self, count: u32) {
        self.position += count as usize;
    }

    /// Takes `count` bits, 1 to 64.
    #[inline(always)]
    pub(super) fn take(&mut self, count: u32) -> u64 {
        if count <= 57 {
            let bits = self.peek() >> (64 - count);
            self.skip(count);
            return bits;
        }
        let high = self.peek() >> 32;
        self.skip(32);
        let low = self.peek() >> (96 - count);
        self.skip(count - 32);
        high << (count - 32) | low
    }

    /// Takes pairs of zero bits, as many as the next word shows but no more than `max`, and returns their number.
    #[inline(always)]
    pub(super) fn take_zero_pairs(&mut self, max: usize) -> usize {
        let shown = (64 - self.position % 8).min(self.remaining());
        let zeros = (self.peek().leading_zeros() as usize).min(shown);
        let pairs = (zeros / 2).min(max);
        self.position += pairs * 2;
        pairs
    }

    /// Returns how many bits are left.
    #[inline(always)]
    pub(super) fn remaining(&self) -> usize {
        (self.bytes.len() * 8).saturating_sub(self.position)
    }

    /// Tells whether more bits were taken than there are.
    #[inline(always)]
    pub(super) fn is_overrun(&self) -> bool {
        self.position > self.bytes.len() * 8
    }

    /// Returns the position in bits.
    pub(super) fn position(&self) -> usize {
        self.position
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_of_every_width_at_every_offset_come_back() {
        for offset in 1..=16 {
            for width in 1..=64 {
                let bits = 0xdead_beef_0bad_cafe >> (64 - width);
                let (mut tail, mut bytes) = (BitTail::new(), Vec::new());
                let mut words = |word: u64| bytes.extend_from_slice(&word.to_be_bytes());
                tail.put(1, offset, &mut words);
                tail.put(bits, width, &mut words);
                tail.put(1, 1, &mut words);

                tail.write(&mut bytes);
                let mut reader = BitReader::new(&bytes, 0);
                assert_eq!(reader.take(offset), 1);
                assert_eq!(reader.take(width), bits);
                assert_eq!(reader.take(1), 1);
                assert!(!reader.is_overrun());
                assert!(reader.remaining() < 8);
            }
        }
    }

    #[test]
    fn reading_past_the_end_gives_zeros_and_is_noticed() {
        let mut reader = BitReader::new(&[0xff], 0);
        assert_eq!(reader.take(16), 0xff00);
        assert!(reader.is_overrun());
        assert_eq!(reader.remaining(), 0);
    }

    #[test]
    fn zero_pairs_stop_at_the_end_at_a_one_and_at_the_limit() {
        assert_eq!(BitReader::new(&[0; 3], 0).take_zero_pairs(100), 12);
        assert_eq!(BitReader::new(&[0, 0b0001_0000], 0).take_zero_pairs(100), 5);
        assert_eq!(BitReader::new(&[0; 3], 0).take_zero_pairs(7), 7);
        assert_eq!(BitReader::new(&[0; 30], 0).take_zero_pairs(100), 32);
    }
}
