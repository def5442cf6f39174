//! Reading bytes that may be anything.

use std::fmt;

use super::varint::{VARINT_BYTES_MAX, unzigzag};

/// Bytes are not what the format says: what is wrong, and where in the slice that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed {
    /// What is wrong.
    pub what: &'static str,
    /// Position in the slice.
    pub offset: usize,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.what, self.offset)
    }
}

impl std::error::Error for Malformed {}

/// Takes numbers and slices from the front of a byte slice and never reads past its end.
#[derive(Debug, Clone)]
pub struct ByteReader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> ByteReader<'a> {
    /// Returns a reader of all of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// Returns how many bytes were taken.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Returns how many bytes are left.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// Tells whether every byte was taken.
    pub fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// Returns an error at the present position.
    #[cold]
    pub fn malformed(&self, what: &'static str) -> Malformed {
        Malformed {
            what,
            offset: self.position,
        }
    }

    /// Takes `len` bytes.
    #[inline]
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        // `len` may come from the input: compare it with what is left instead of adding to it.
        match self
            .bytes
            .get(self.position..)
            .and_then(|rest| rest.get(..len))
        {
            Some(taken) => {
                self.position += len;
                Ok(taken)
            }
            None => Err(self.malformed("unexpected end")),
        }
    }

    /// Takes everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        self.position = self.bytes.len();
        rest
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        match self
            .bytes
            .get(self.position..)
            .and_then(|rest| rest.first_chunk::<N>())
        {
            Some(taken) => {
                self.position += N;
                Ok(*taken)
            }
            None => Err(self.malformed("unexpected end")),
        }
    }

    /// Takes one byte.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Takes two bytes.
    #[inline]
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    /// Takes four bytes.
    #[inline]
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    /// Takes eight bytes.
    #[inline]
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    /// Takes eight bytes as a signed number.
    #[inline]
    pub fn i64(&mut self) -> Result<i64, Malformed> {
        self.array().map(i64::from_le_bytes)
    }

    /// Takes a variable-length number of at most ten bytes; an encoding with surplus bits is refused.
    #[inline]
    pub fn uvarint(&mut self) -> Result<u64, Malformed> {
        match self.bytes.get(self.position) {
            // Most numbers are small.
            Some(&byte) if byte < 0x80 => {
                self.position += 1;
                Ok(byte.into())
            }
            _ => self.long_uvarint(),
        }
    }

    fn long_uvarint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0u64;
        for index in 0..VARINT_BYTES_MAX {
            let byte = self.u8()?;
            if index == VARINT_BYTES_MAX - 1 && byte > 1 {
                // A tenth byte has room for one bit; more would be lost without a word.
                return Err(self.malformed("number exceeds 64 bits"));
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.malformed("number exceeds 64 bits"))
    }

    /// Takes a variable-length signed number.
    #[inline]
    pub fn varint(&mut self) -> Result<i64, Malformed> {
        self.uvarint().map(unzigzag)
    }

    /// Takes a variable-length number that must not exceed `max`: lengths and counts before anything is allocated.
    #[inline]
    pub fn uvarint_max(&mut self, max: usize, what: &'static str) -> Result<usize, Malformed> {
        let at = self.position;
        let value = self.uvarint()?;
        match usize::try_from(value) {
            Ok(value) if value <= max => Ok(value),
            _ => Err(Malformed { what, offset: at }),
        }
    }

    /// Takes a variable-length byte count and that many bytes.
    #[inline]
    pub fn sized_bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.uvarint_max(self.remaining(), "length exceeds what is left")?;
        self.bytes(len)
    }

    /// Takes a variable-length byte count and that many bytes of UTF-8.
    pub fn sized_str(&mut self) -> Result<&'a str, Malformed> {
        let at = self.position;
        let bytes = self.sized_bytes()?;
        std::str::from_utf8(bytes).map_err(|_not_utf8| Malformed {
            what: "text is not UTF-8",
            offset: at,
        })
    }

    /// Fails unless every byte was taken.
    pub fn expect_end(&self) -> Result<(), Malformed> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(self.malformed("surplus bytes"))
        }
    }

    /// Splits off the last four bytes of `bytes`, which must be the CRC-32 of the others, and reads the others.
    pub fn checked(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let Some((body, crc)) = bytes.split_last_chunk::<4>() else {
            return Err(Malformed {
                what: "unexpected end",
                offset: bytes.len(),
            });
        };
        if super::crc32(body) != u32::from_le_bytes(*crc) {
            return Err(Malformed {
                what: "checksum differs",
                offset: body.len(),
            });
        }
        Ok(Self::new(body))
    }
}

/// Appends the CRC-32 of what `out` holds from `start` on; [`ByteReader::checked`] is the other side.
pub(crate) fn seal(out: &mut Vec<u8>, start: usize) {
    let crc = super::crc32(&out[start..]);
    out.extend_from_slice(&crc.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::varint::{put_uvarint, put_varint, zigzag};

    #[test]
    fn varints_round_trip() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            put_uvarint(&mut out, value);
            put_varint(&mut out, value as i64);
            let mut reader = ByteReader::new(&out);
            assert_eq!(reader.uvarint(), Ok(value));
            assert_eq!(reader.varint(), Ok(value as i64));
            assert_eq!(reader.expect_end(), Ok(()));
        }
    }

    #[test]
    fn zigzag_keeps_small_magnitudes_small() {
        assert_eq!([0, -1, 1, -2].map(zigzag), [0, 1, 2, 3]);
        assert_eq!(unzigzag(zigzag(i64::MIN)), i64::MIN);
    }

    #[test]
    fn overlong_varint_is_refused() {
        assert!(ByteReader::new(&[0xff; 11]).uvarint().is_err());
        assert!(ByteReader::new(&[0x80, 0x80]).uvarint().is_err());
    }

    #[test]
    fn length_beyond_the_end_is_refused_before_anything_is_taken() {
        let mut out = Vec::new();
        put_uvarint(&mut out, u64::MAX);
        assert!(ByteReader::new(&out).sized_bytes().is_err());
    }

    #[test]
    fn every_flipped_bit_of_a_sealed_slice_is_noticed() {
        let mut out = b"some bytes".to_vec();
        seal(&mut out, 0);
        assert!(ByteReader::checked(&out).is_ok());
        for bit in 0..out.len() * 8 {
            out[bit / 8] ^= 1 << (bit % 8);
            assert!(ByteReader::checked(&out).is_err());
            out[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
