//! Reading: all samples of a chunk at once, or one after the other.

use crate::encoding::{ByteReader, Malformed};
use crate::sample::{Sample, Samples};
use crate::time::Timestamp;

use super::bits::BitReader;
use super::encoder::COUNT_BYTES;

/// Appends all samples of the chunk to `out`, which stays as it was if the chunk is damaged.
pub fn decode(bytes: &[u8], out: &mut Samples) -> Result<(), Malformed> {
    let start = out.len();
    let result = decode_into(bytes, out);
    if result.is_err() {
        out.truncate(start);
    }
    result
}

fn decode_into(bytes: &[u8], out: &mut Samples) -> Result<(), Malformed> {
    let mut reader = Reader::new(bytes)?;
    let start = out.len();
    let count = reader.left;
    // `Reader::new` has compared the count with the number of bits.
    out.timestamps.resize(start + count, 0);
    out.values.resize(start + count, 0.0);
    let timestamps = &mut out.timestamps[start..];
    let values = &mut out.values[start..];
    for (timestamp, value) in timestamps.iter_mut().zip(values.iter_mut()).take(2) {
        reader.advance()?;
        *timestamp = reader.timestamp;
        *value = f64::from_bits(reader.value_bits);
    }
    let mut done = 2.min(count);
    while done < count {
        // Most series repeat their value at equal distances most of the time: two zero bits a sample, and one count of
        // leading zeros then stands for up to 32 samples.
        let run = reader.bits.take_zero_pairs(count - done);
        for timestamp in &mut timestamps[done..done + run] {
            reader.timestamp = reader.timestamp.wrapping_add_unsigned(reader.delta);
            *timestamp = reader.timestamp;
        }
        values[done..done + run].fill(f64::from_bits(reader.value_bits));
        done += run;
        if done < count {
            reader.take_sample()?;
            timestamps[done] = reader.timestamp;
            values[done] = f64::from_bits(reader.value_bits);
            done += 1;
        }
    }
    reader.finish().map(|_len_bits| ())
}

/// The samples of a chunk, one after the other; ends after the first error.
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    reader: Reader<'a>,
}

impl<'a> Iter<'a> {
    /// Reads the header of a chunk.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Malformed> {
        Reader::new(bytes).map(|reader| Self { reader })
    }
}

impl Iterator for Iter<'_> {
    type Item = Result<Sample, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.reader.advance().transpose();
        if let Some(Err(_)) = item {
            self.reader.left = 0;
        }
        item
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::from(self.reader.left > 0), Some(self.reader.left))
    }
}

/// Where the meaningful bits of a difference lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    /// Zero bits above, at most 31.
    pub(super) leading: u8,
    /// Zero bits below.
    pub(super) trailing: u8,
}

impl Window {
    const WHOLE: Window = Window {
        leading: 0,
        trailing: 0,
    };

    #[inline(always)]
    pub(super) fn width(self) -> u32 {
        64 - u32::from(self.leading) - u32::from(self.trailing)
    }
}

/// Which layout the next sample has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    First,
    Second,
    Later,
}

/// Where reading stands, and the sample read last.
#[derive(Debug, Clone)]
pub(super) struct Reader<'a> {
    bits: BitReader<'a>,
    bytes: &'a [u8],
    /// None before the first difference.
    pub(super) window: Option<Window>,
    stage: Stage,
    left: usize,
    pub(super) timestamp: Timestamp,
    pub(super) delta: u64,
    pub(super) value_bits: u64,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let Some(count) = bytes.first_chunk::<COUNT_BYTES>() else {
            return Err(Malformed {
                what: "unexpected end",
                offset: bytes.len(),
            });
        };
        let left = usize::from(u16::from_be_bytes(*count));
        // A sample takes two bits at least: without this, four bytes could claim a megabyte.
        if left > bytes.len() * 4 {
            return Err(Malformed {
                what: "more samples than bits for them",
                offset: 0,
            });
        }
        Ok(Self {
            bits: BitReader::new(bytes, COUNT_BYTES),
            bytes,
            window: None,
            stage: Stage::First,
            left,
            timestamp: 0,
            delta: 0,
            value_bits: 0,
        })
    }

    /// Takes the next sample, if there is one.
    #[inline]
    pub(super) fn advance(&mut self) -> Result<Option<Sample>, Malformed> {
        if self.left == 0 {
            return Ok(None);
        }
        match self.stage {
            Stage::Later => self.take_sample()?,
            Stage::First | Stage::Second => self.take_head()?,
        }
        self.left -= 1;
        Ok(Some(Sample {
            timestamp: self.timestamp,
            value: f64::from_bits(self.value_bits),
        }))
    }

    /// Takes the first or second sample, whose times are bytes.
    #[inline(never)]
    fn take_head(&mut self) -> Result<(), Malformed> {
        let start = self.bits.position() / 8;
        let mut reader = ByteReader::new(self.bytes);
        reader.bytes(start)?;
        if self.stage == Stage::First {
            self.timestamp = reader.varint()?;
            self.value_bits = reader.u64()?.swap_bytes();
            self.bits = BitReader::new(self.bytes, reader.position());
            self.stage = Stage::Second;
            return Ok(());
        }
        self.delta = reader.uvarint()?;
        self.timestamp = self.timestamp.wrapping_add_unsigned(self.delta);
        self.bits = BitReader::new(self.bytes, reader.position());
        self.stage = Stage::Later;
        let word = self.bits.peek();
        self.take_value(word, 0)
    }

    #[inline(always)]
    fn take_sample(&mut self) -> Result<(), Malformed> {
        // The longest prefixes without a 64-bit field take 24 + 13 bits: one word shows both.
        let word = self.bits.peek();
        let (dod, taken, word) = match (!word).leading_zeros() {
            0 => (0, 1, word),
            1 => (signed(word << 2 >> 50, 14), 16, word),
            2 => (signed(word << 3 >> 47, 17), 20, word),
            3 => (signed(word << 4 >> 44, 20), 24, word),
            _ => {
                self.bits.skip(4);
                let dod = self.bits.take(64) as i64;
                (dod, 0, self.bits.peek())
            }
        };
        self.delta = self.delta.wrapping_add_signed(dod);
        self.timestamp = self.timestamp.wrapping_add_unsigned(self.delta);
        self.take_value(word, taken)
    }

    /// Takes a value whose prefix is in `word` after `taken` bits, which are not yet passed over.
    #[inline(always)]
    fn take_value(&mut self, word: u64, taken: u32) -> Result<(), Malformed> {
        let control = word << taken;
        if control >> 63 == 0 {
            self.bits.skip(taken + 1);
        } else {
            let window = if control >> 62 == 0b10 {
                self.bits.skip(taken + 2);
                // Prometheus writes this before any window when it has re-opened a chunk.
                self.window.unwrap_or(Window::WHOLE)
            } else {
                let leading = (control << 2 >> 59) as u32;
                let width = match (control << 7 >> 58) as u32 {
                    0 => 64,
                    width => width,
                };
                // The number of zero bits below would be negative.
                if leading + width > 64 {
                    return Err(self.malformed("window exceeds 64 bits"));
                }
                self.bits.skip(taken + 13);
                Window {
                    leading: leading as u8,
                    trailing: (64 - leading - width) as u8,
                }
            };
            self.window = Some(window);
            let bits = self.bits.take(window.width());
            self.value_bits ^= bits << window.trailing;
        }
        if self.bits.is_overrun() {
            return Err(self.malformed("unexpected end"));
        }
        Ok(())
    }

    /// Looks at what follows the last sample and returns how many bits the chunk takes.
    pub(super) fn finish(&self) -> Result<usize, Malformed> {
        // Prometheus up to 2.42 may leave one whole byte of zeros behind the last sample.
        let left = self.bits.remaining();
        if left >= 16 || (left > 0 && self.bits.peek() != 0) {
            return Err(self.malformed("surplus bytes"));
        }
        Ok(self.bits.position())
    }

    #[cold]
    fn malformed(&self, what: &'static str) -> Malformed {
        Malformed {
            what,
            offset: self.bits.position() / 8,
        }
    }
}

/// Reads a difference of `count` bits. Its range is one off two's complement: the highest bit alone is positive.
#[inline(always)]
fn signed(bits: u64, count: u32) -> i64 {
    if bits > 1 << (count - 1) {
        bits as i64 - (1 << count)
    } else {
        bits as i64
    }
}
