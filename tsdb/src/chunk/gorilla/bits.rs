//! Bits, most significant first, written to and read from bytes.

/// Appends bits to bytes. The last byte is always padded with zeros, so the bytes are a valid stream at any time.
#[derive(Debug, Clone, Default)]
pub(super) struct BitWriter {
    pub(super) bytes: Vec<u8>,
    /// Unused low bits of the last byte, 0 to 7.
    pub(super) free: u8,
}

impl BitWriter {
    /// Appends the low `count` bits of `bits`, 1 to 64; the others must be zero.
    #[inline]
    pub(super) fn put(&mut self, bits: u64, count: u32) {
        let free = u32::from(self.free);
        if count <= free {
            self.or_last((bits << (free - count)) as u8);
            self.free = (free - count) as u8;
            return;
        }
        let rest = count - free;
        if free > 0 {
            self.or_last((bits >> rest) as u8);
        }
        let len = rest.div_ceil(8);
        self.extend_partly(&(bits << (64 - rest)).to_be_bytes(), len as usize);
        self.free = (len * 8 - rest) as u8;
    }

    /// Appends the first `len` of eight bytes.
    #[inline]
    fn extend_partly(&mut self, bytes: &[u8; 8], len: usize) {
        if self.bytes.capacity() - self.bytes.len() < bytes.len() {
            return self.extend(&bytes[..len]);
        }
        // A copy of constant size is one instruction, one of variable size a call.
        let end = self.bytes.len() + len;
        self.bytes.extend_from_slice(bytes);
        self.bytes.truncate(end);
    }

    /// Appends whole bytes; the stream must be at a byte boundary.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        if self.bytes.capacity() - self.bytes.len() < bytes.len() {
            // An open chunk sits in memory once per series: growing by a quarter wastes an eighth on average, where
            // the doubling of `Vec` would waste a third.
            let step = (self.bytes.len() / 4).clamp(GROWTH_MIN, GROWTH_MAX);
            self.bytes.reserve_exact(step.max(bytes.len()));
        }
        self.bytes.extend_from_slice(bytes);
    }

    #[inline]
    fn or_last(&mut self, bits: u8) {
        if let Some(last) = self.bytes.last_mut() {
            *last |= bits;
        }
    }
}

const GROWTH_MIN: usize = 16;
const GROWTH_MAX: usize = 256;

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
                let mut writer = BitWriter::default();
                writer.put(1, offset);
                writer.put(bits, width);
                writer.put(1, 1);

                let mut reader = BitReader::new(&writer.bytes, 0);
                assert_eq!(reader.take(offset), 1);
                assert_eq!(reader.take(width), bits);
                assert_eq!(reader.take(1), 1);
                assert!(!reader.is_overrun());
                assert_eq!(reader.remaining(), usize::from(writer.free));
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

    #[test]
    fn open_chunk_grows_in_small_steps() {
        let mut writer = BitWriter::default();
        for _ in 0..10_000 {
            writer.put(0x1ff, 9);
            assert!(
                writer.bytes.capacity()
                    <= writer.bytes.len() + writer.bytes.len().div_ceil(4).max(16)
            );
        }
    }
}
