//! The fixed part of a piece: what it is about, without its data.

use crate::encoding::{ByteReader, Malformed, crc32};
use crate::limits::GROUP_SERIES_MAX;

/// Bytes of a header.
pub const HEADER_BYTES: usize = 64;

const VERSION: u8 = 1;

/// What stands behind a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Content {
    /// Rows of one group, as columns.
    Rows = 1,
    /// Chunks of series that are in no row.
    Chunks = 2,
}

/// What a piece covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PieceHeader {
    /// What it holds.
    pub content: Content,
    /// Series of the layout, or chunks.
    pub width: u16,
    /// Rows; 1 for chunks.
    pub rows: u16,
    /// Bytes that follow the header.
    pub body_bytes: u32,
    /// Bytes of the layout inside the body, or of the directory of the chunks at its front.
    pub layout_bytes: u32,
    /// The group; 0 for chunks.
    pub group: u64,
    /// Oldest timestamp.
    pub first_timestamp: i64,
    /// Newest timestamp.
    pub last_timestamp: i64,
    /// Sequence of the oldest frame; of chunks the smallest of their newest ones.
    pub first_sequence: u64,
    /// Sequence of the newest frame.
    pub last_sequence: u64,
    /// CRC-32 of the body.
    pub body_crc: u32,
}

const _: () = assert!(1 + 1 + 2 + 2 + 2 + 4 + 4 + 5 * 8 + 4 + 4 == HEADER_BYTES);

impl PieceHeader {
    /// Appends the header.
    pub fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[self.content as u8, VERSION]);
        out.extend_from_slice(&self.width.to_le_bytes());
        out.extend_from_slice(&self.rows.to_le_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&self.body_bytes.to_le_bytes());
        out.extend_from_slice(&self.layout_bytes.to_le_bytes());
        out.extend_from_slice(&self.group.to_le_bytes());
        out.extend_from_slice(&self.first_timestamp.to_le_bytes());
        out.extend_from_slice(&self.last_timestamp.to_le_bytes());
        out.extend_from_slice(&self.first_sequence.to_le_bytes());
        out.extend_from_slice(&self.last_sequence.to_le_bytes());
        out.extend_from_slice(&self.body_crc.to_le_bytes());
        let crc = crc32(&out[start..]);
        out.extend_from_slice(&crc.to_le_bytes());
    }

    /// Tells cheaply whether a header may be at the front of `bytes`.
    pub fn may_start(bytes: &[u8]) -> bool {
        matches!(bytes, [1 | 2, VERSION, ..])
    }

    /// Reads a header from the front of `bytes`.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let Some(bytes) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(Malformed {
                what: "unexpected end",
                offset: bytes.len(),
            });
        };
        let mut reader = ByteReader::checked(bytes)?;
        let content = match (reader.u8()?, reader.u8()?) {
            (1, VERSION) => Content::Rows,
            (2, VERSION) => Content::Chunks,
            _ => {
                return Err(Malformed {
                    what: "not a piece of version 1",
                    offset: 0,
                });
            }
        };
        let width = reader.u16()?;
        let rows = reader.u16()?;
        let reserved = reader.u16()?;
        let header = Self {
            content,
            width,
            rows,
            body_bytes: reader.u32()?,
            layout_bytes: reader.u32()?,
            group: reader.u64()?,
            first_timestamp: reader.i64()?,
            last_timestamp: reader.i64()?,
            first_sequence: reader.u64()?,
            last_sequence: reader.u64()?,
            body_crc: reader.u32()?,
        };
        let in_bounds =
            width > 0 && usize::from(width) <= GROUP_SERIES_MAX && rows > 0 && reserved == 0;
        let in_order = header.first_timestamp <= header.last_timestamp
            && header.first_sequence <= header.last_sequence;
        let front = match content {
            Content::Rows => header.columns_start(),
            Content::Chunks => header.layout_bytes as usize,
        };
        if !in_bounds || !in_order || front > header.body_bytes as usize {
            return Err(Malformed {
                what: "piece header contradicts itself",
                offset: 0,
            });
        }
        Ok(header)
    }

    /// Returns where the layout starts in the body.
    pub(super) fn layout_start(&self) -> usize {
        usize::from(self.rows) * 8 + usize::from(self.width).div_ceil(super::SKIP) * 4
    }

    /// Returns where the columns start in the body.
    pub(super) fn columns_start(&self) -> usize {
        self.layout_start() + self.layout_bytes as usize
    }
}
