#![doc = include_str!("FORMAT.md")]
//!
//! ## The module
//!
//! [`PieceEncoder`] transposes rows into columns: it takes the group's state after the last row and walks back, so it
//! needs nothing else. [`PieceHeader`] and [`PieceView`] read. [`put_chunks`] and [`read_chunks`] are the other kind of
//! piece. The module opens no file.

mod chunks;
mod columns;
mod encode;
mod header;
mod view;

pub use chunks::{PieceChunk, put_chunks, read_chunks};
pub use columns::{ColumnCursor, IntegerColumn};
pub use encode::{PieceEncoder, PieceRow};
pub(crate) use encode::{put_ids, read_ids};
pub use header::{Content, HEADER_BYTES, PieceHeader};
pub use view::PieceView;

/// Series between two entries of the offset table. Every column that is passed to get to another one costs about as much
/// as decoding three samples, and an entry a byte for each series.
const SKIP: usize = 4;

const KIND_NOTHING: u8 = 0;
const KIND_CONSTANT: u8 = 1;
const KIND_PACKED: u8 = 2;
const KIND_VALUES: u8 = 3;
const SCALE_BITS_TAG: u8 = 15;
const TAG_KIND: u8 = 3;
const TAG_PRESENCE: u8 = 1 << 6;
const TAG_STALENESS: u8 = 1 << 7;
const TAG_NOTHING: u8 = KIND_NOTHING | SCALE_BITS_TAG << 2;

#[cfg(test)]
mod tests;
