//! The header of a series file.

use crate::encoding::{ByteReader, Malformed, seal};

/// What the start of a file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileHeader {
    /// Where the checksums of pages start.
    pub(super) salt: u32,
    /// Number in the file name.
    pub(super) number: u64,
}

/// Why a header was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderError {
    Malformed(Malformed),
    /// It verifies, and says that it is of this later version.
    Version(u16),
}

impl From<Malformed> for HeaderError {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl FileHeader {
    /// Returns the header's whole sector.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SECTOR_BYTES);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&0u16.to_le_bytes());
        out.extend_from_slice(&self.salt.to_le_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&0u32.to_le_bytes());
        seal(&mut out, 0);
        debug_assert_eq!(out.len(), HEADER_BYTES);
        out.extend_from_within(..);
        out.resize(SECTOR_BYTES, 0);
        out
    }

    /// Reads the first copy that verifies.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let mut reader = ByteReader::new(bytes);
        let mut copy = || {
            let bytes = reader.bytes(HEADER_BYTES)?;
            Self::decode_copy(bytes)
        };
        match copy() {
            Err(HeaderError::Malformed(damage)) => match copy() {
                Err(HeaderError::Malformed(_)) => Err(damage.into()),
                verified => verified,
            },
            verified => verified,
        }
    }

    fn decode_copy(bytes: &[u8]) -> Result<Self, HeaderError> {
        let mut reader = ByteReader::checked(bytes)?;
        if reader.bytes(MAGIC.len())? != MAGIC {
            return Err(reader.malformed("not a series file").into());
        }
        let version = reader.u16()?;
        if version > VERSION {
            return Err(HeaderError::Version(version));
        }
        let flags = reader.u16()?;
        let header = Self {
            salt: reader.u32()?,
            number: reader.u64()?,
        };
        let reserved = reader.u32()?;
        if version == 0 || flags != 0 || reserved != 0 || header.number == 0 {
            return Err(reader.malformed("impossible series file header").into());
        }
        Ok(header)
    }
}

const MAGIC: &[u8; 8] = b"tsdb-ser";
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 32;

/// Pages start at multiples of this; the header takes the first.
pub(super) const SECTOR_BYTES: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: FileHeader = FileHeader { salt: 5, number: 3 };

    #[test]
    fn one_flipped_bit_does_not_cost_the_header() {
        let mut bytes = HEADER.encode();
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FileHeader::decode(&bytes), Ok(HEADER));
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn damaged_truncated_and_newer_headers_are_told_apart() {
        let mut bytes = HEADER.encode();
        bytes[1] ^= 1;
        bytes[HEADER_BYTES + 1] ^= 1;
        let damaged = |result| matches!(result, Err(HeaderError::Malformed(_)));
        assert!(damaged(FileHeader::decode(&bytes)));
        for len in 0..HEADER_BYTES {
            assert!(damaged(FileHeader::decode(&HEADER.encode()[..len])));
        }
        let mut newer = HEADER.encode()[..28].to_vec();
        newer[8] = 2;
        seal(&mut newer, 0);
        assert_eq!(FileHeader::decode(&newer), Err(HeaderError::Version(2)));
    }
}
