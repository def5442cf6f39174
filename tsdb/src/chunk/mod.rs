//! What samples are stored as: two encodings of values, and the columns of timestamps beside one of them.
//!
//! This module knows numbers and bytes. It does not know series, files or checksums: whoever stores a chunk names its
//! [`ChunkEncoding`], its count, and the checksum of its bytes.
//!
//! 1. A sample that comes alone goes to a [`gorilla`] chunk: times and values in one stream that takes one more sample at
//!    any time, in Prometheus' layout. [`cut`] tells when such a chunk ends.
//! 2. When many samples of a series are together, their values become a [`dense`] chunk, four to seven times smaller and
//!    several times faster to read, but written at once.
//! 3. Dense chunks hold no times. Those are a [`mod@column`], stored once for all series of a scrape.
//! 4. Series that move alike have dense chunks that are [differences](dense::Encoder::relate) to one another.
//! 5. All of these come down to streams of integers, which [`ints`] packs or codes.

pub mod column;
pub mod cut;
pub mod dense;
#[cfg(test)]
mod fixtures;
pub mod gorilla;
mod ints;

pub(crate) use ints::{BLOCK_LEN, unpack};

/// How the bytes of a chunk are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ChunkEncoding {
    /// Values only, as [`dense`]; times are in a [`mod@column`].
    Dense = 1,
    /// Times and values, as [`gorilla`].
    Gorilla = 2,
}

impl ChunkEncoding {
    /// Reads the byte that formats store; 0 is no encoding, so that zeroed bytes are none.
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Dense),
            2 => Some(Self::Gorilla),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_come_back_from_their_byte_and_no_other_does() {
        for byte in 0..=u8::MAX {
            match ChunkEncoding::from_byte(byte) {
                Some(encoding) => assert_eq!(encoding as u8, byte),
                None => assert!(byte == 0 || byte > 2),
            }
        }
    }
}
