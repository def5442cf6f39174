//! The bytes of segment and frame headers.

use crate::encoding::{ByteReader, Malformed, crc32, crc32_seeded};
use crate::limits::FRAME_BYTES_MAX;

/// The fixed part of a segment, written twice at its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    /// Number in the file name.
    pub(super) number: u64,
    /// Where the checksums of frame headers start.
    pub(super) salt: u32,
    /// Whether it repeats the unsynced frames of its predecessor.
    pub(super) continues: bool,
    /// Sequence of its first frame.
    pub(super) first_sequence: u64,
    /// Last sequence of older segments that stands.
    pub(super) previous: u64,
    /// Sequence up to which the log was durable when this was written.
    pub(super) known_synced: u64,
}

/// Why a segment header was not taken.
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

impl SegmentHeader {
    /// Returns both copies.
    pub(super) fn encode(&self) -> [u8; SEGMENT_HEADERS_BYTES] {
        let mut out = Vec::with_capacity(SEGMENT_HEADERS_BYTES);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&u16::from(self.continues).to_le_bytes());
        out.extend_from_slice(&self.salt.to_le_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.first_sequence.to_le_bytes());
        out.extend_from_slice(&self.previous.to_le_bytes());
        out.extend_from_slice(&self.known_synced.to_le_bytes());
        crate::encoding::seal(&mut out, 0);
        out.extend_from_within(..);
        out.try_into().expect("the fields add up to two headers")
    }

    /// Reads the first copy that verifies from the start of a segment.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let mut reader = ByteReader::new(bytes);
        let first = reader
            .bytes(SEGMENT_HEADER_BYTES)
            .map_err(HeaderError::from)
            .and_then(Self::decode_copy);
        match first {
            // A header that verifies is the header, even if it is one that cannot be used.
            Ok(_) | Err(HeaderError::Version(_)) => first,
            Err(damaged) => {
                let second = reader
                    .bytes(SEGMENT_HEADER_BYTES)
                    .map_err(HeaderError::from)
                    .and_then(Self::decode_copy);
                match second {
                    Err(HeaderError::Malformed(_)) => Err(damaged),
                    verified => verified,
                }
            }
        }
    }

    /// Tells whether a header was written at the start of a segment, whether it verifies or not.
    ///
    /// A disk writes the sector of both copies as a whole or not at all, so what a power cut leaves there is a header, or
    /// nothing like one. Half of both magics is more than chance gives, and more than some flipped bits take.
    pub(super) fn is_there(bytes: &[u8]) -> bool {
        let copies = bytes.chunks_exact(SEGMENT_HEADER_BYTES).take(2);
        let alike = copies.clone().flat_map(|copy| copy.iter().zip(MAGIC));
        copies.len() == 2 && alike.filter(|(byte, magic)| byte == magic).count() >= MAGIC.len()
    }

    fn decode_copy(bytes: &[u8]) -> Result<Self, HeaderError> {
        let mut reader = ByteReader::checked(bytes)?;
        if reader.bytes(MAGIC.len())? != MAGIC {
            return Err(reader.malformed("not a log segment").into());
        }
        let version = reader.u16()?;
        if version > VERSION {
            return Err(HeaderError::Version(version));
        }
        let flags = reader.u16()?;
        let header = Self {
            continues: flags & 1 != 0,
            salt: reader.u32()?,
            number: reader.u64()?,
            first_sequence: reader.u64()?,
            previous: reader.u64()?,
            known_synced: reader.u64()?,
        };
        // A sequence of 0 or a `previous` at or above the first one would let a gap pass as none.
        if version == 0
            || flags > 1
            || header.number == 0
            || header.previous >= header.first_sequence
        {
            return Err(reader.malformed("impossible segment header").into());
        }
        Ok(header)
    }
}

/// What stands before a frame's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHeader {
    /// Bytes of the body.
    pub(super) body_len: u32,
    /// Sequence less the segment's first one.
    pub(super) sequence_offset: u32,
    /// Sequence less the last one known to be synced.
    pub(super) distance: u32,
    /// Checksum of the body.
    pub(super) body_crc: u32,
}

impl FrameHeader {
    /// Returns the header as it stands in a segment with this salt.
    pub(super) fn encode(&self, salt: u32) -> [u8; FRAME_HEADER_BYTES] {
        let mut out = [0; FRAME_HEADER_BYTES];
        out[0..4].copy_from_slice(&self.body_len.to_le_bytes());
        out[4..8].copy_from_slice(&self.sequence_offset.to_le_bytes());
        out[8..12].copy_from_slice(&self.distance.to_le_bytes());
        out[12..16].copy_from_slice(&self.body_crc.to_le_bytes());
        let crc = crc32_seeded(salt, &out[..16]);
        out[16..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads the fields without believing them yet.
    #[inline]
    pub(super) fn decode_unverified(bytes: &[u8; FRAME_HEADER_BYTES]) -> Self {
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Self {
            body_len: word(0),
            sequence_offset: word(4),
            distance: word(8),
            body_crc: word(12),
        }
    }

    /// Tells whether the header's checksum holds and its length is legal.
    #[inline]
    pub(super) fn verify(&self, bytes: &[u8; FRAME_HEADER_BYTES], salt: u32) -> bool {
        let [fields @ .., a, b, c, d] = bytes;
        crc32_seeded(salt, fields) == u32::from_le_bytes([*a, *b, *c, *d])
            && self.body_len as usize <= FRAME_BYTES_MAX
    }

    /// Returns the sequence known to be synced when this frame, the `sequence`-th, was written; 0 if it does not say.
    #[inline]
    pub(super) fn known_synced(&self, sequence: u64) -> u64 {
        if self.distance == u32::MAX {
            0
        } else {
            sequence.saturating_sub(u64::from(self.distance))
        }
    }
}

/// Returns the checksum of a body.
#[inline]
pub(super) fn body_crc(body: &[u8]) -> u32 {
    crc32(body)
}

pub(super) const MAGIC: &[u8; 8] = b"tsdb-log";
pub(super) const VERSION: u16 = 1;

/// Bytes of one copy of the segment header.
pub(super) const SEGMENT_HEADER_BYTES: usize = 52;

/// Where the frames of a segment start.
pub(super) const SEGMENT_HEADERS_BYTES: usize = 2 * SEGMENT_HEADER_BYTES;

/// Bytes before the body of a frame.
pub(super) const FRAME_HEADER_BYTES: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: SegmentHeader = SegmentHeader {
        number: 7,
        salt: 0x0102_0304,
        continues: false,
        first_sequence: 100,
        previous: 99,
        known_synced: 98,
    };

    #[test]
    fn segment_header_round_trips() {
        for continues in [false, true] {
            let header = SegmentHeader {
                continues,
                ..HEADER
            };
            assert_eq!(SegmentHeader::decode(&header.encode()), Ok(header));
        }
    }

    #[test]
    fn one_flipped_bit_does_not_cost_the_segment_header() {
        let mut bytes = HEADER.encode();
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&bytes), Ok(HEADER));
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn segment_header_with_both_copies_damaged_is_refused() {
        let mut bytes = HEADER.encode();
        bytes[20] ^= 1;
        bytes[SEGMENT_HEADER_BYTES + 1] ^= 1;
        assert!(matches!(
            SegmentHeader::decode(&bytes),
            Err(HeaderError::Malformed(_))
        ));
    }

    #[test]
    fn newer_version_is_told_only_by_a_header_that_verifies() {
        let mut copy = HEADER.encode()[..48].to_vec();
        copy[8] = 2;
        let mut sealed = copy.clone();
        crate::encoding::seal(&mut sealed, 0);
        assert_eq!(SegmentHeader::decode(&sealed), Err(HeaderError::Version(2)));
        copy.extend_from_slice(&[0; 4]);
        assert!(matches!(
            SegmentHeader::decode(&copy),
            Err(HeaderError::Malformed(_))
        ));
    }

    #[test]
    fn every_flipped_bit_of_a_frame_header_is_noticed() {
        let frame = FrameHeader {
            body_len: 3,
            sequence_offset: 9,
            distance: 2,
            body_crc: 0xabcd,
        };
        let mut bytes = frame.encode(5);
        assert!(FrameHeader::decode_unverified(&bytes).verify(&bytes, 5));
        assert!(!FrameHeader::decode_unverified(&bytes).verify(&bytes, 6));
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(!FrameHeader::decode_unverified(&bytes).verify(&bytes, 5));
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
