//! The two ends of the file: a header that says what it is and a footer that says where everything lies.

use crate::encoding::{ByteReader, Malformed, seal};
use crate::fs::Ulid;
use crate::time::Timestamp;

use super::pages::Section;

pub(super) const MAGIC: [u8; 8] = *b"TSDBCHNK";
pub(super) const VERSION: u32 = 1;
pub(super) const HEADER_BYTES: usize = 16;
pub(super) const FOOTER_BYTES: usize = 76;

/// What stands at the end of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) columns: Section,
    pub(super) series: Section,
    /// What the times in the directories are relative to.
    pub(super) base: Timestamp,
    pub(super) ulid: Ulid,
}

/// What is wrong with a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderFault {
    Malformed(Malformed),
    Version(u32),
}

pub(super) fn header() -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&VERSION.to_le_bytes());
    seal(&mut out, 0);
    out
}

pub(super) fn check_header(bytes: &[u8]) -> Result<(), HeaderFault> {
    let parse = || {
        let mut reader = ByteReader::checked(bytes)?;
        if reader.bytes(MAGIC.len())? != MAGIC {
            return Err(Malformed {
                what: "not a file of chunks",
                offset: 0,
            });
        }
        let version = reader.u32()?;
        reader.expect_end()?;
        Ok(version)
    };
    match parse().map_err(HeaderFault::Malformed)? {
        VERSION => Ok(()),
        other => Err(HeaderFault::Version(other)),
    }
}

impl Footer {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FOOTER_BYTES);
        for section in [self.columns, self.series] {
            out.extend_from_slice(&section.start.to_le_bytes());
            out.extend_from_slice(&section.size_bytes.to_le_bytes());
            out.extend_from_slice(&section.records.to_le_bytes());
        }
        out.extend_from_slice(&self.base.to_le_bytes());
        out.extend_from_slice(&self.ulid.to_u128().to_le_bytes());
        out.extend_from_slice(&MAGIC);
        seal(&mut out, 0);
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = ByteReader::checked(bytes)?;
        let mut section = || {
            Ok(Section {
                start: reader.u64()?,
                size_bytes: reader.u64()?,
                records: reader.u32()?,
            })
        };
        let (columns, series) = (section()?, section()?);
        let base = reader.i64()?;
        let (low, high) = (reader.u64()?, reader.u64()?);
        let ulid = Ulid::from_u128(u128::from(low) | u128::from(high) << 64);
        if reader.bytes(MAGIC.len())? != MAGIC {
            return Err(reader.malformed("footer does not end with the magic"));
        }
        reader.expect_end()?;
        Ok(Self {
            columns,
            series,
            base,
            ulid,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn footer_comes_back_and_every_flipped_bit_is_noticed() {
        let footer = Footer {
            columns: Section {
                start: 1,
                size_bytes: 2,
                records: 3,
            },
            series: Section {
                start: 4,
                size_bytes: 5,
                records: 6,
            },
            base: -7,
            ulid: Ulid::from_u128(u128::MAX - 8),
        };
        let mut bytes = footer.encode();
        assert_eq!(bytes.len(), FOOTER_BYTES);
        assert_eq!(Footer::decode(&bytes), Ok(footer));
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Footer::decode(&bytes).is_err());
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn newer_version_is_told_from_damage() {
        assert_eq!(header().len(), HEADER_BYTES);
        assert_eq!(check_header(&header()), Ok(()));
        let mut newer = header();
        newer[8] = 2;
        assert!(matches!(
            check_header(&newer),
            Err(HeaderFault::Malformed(_))
        ));
        newer.truncate(12);
        seal(&mut newer, 0);
        assert_eq!(check_header(&newer), Err(HeaderFault::Version(2)));
    }
}
