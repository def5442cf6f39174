//! What the benches and fuzz targets of this repository reach behind the public surface.
//!
//! Formats are re-exported as they are; stores, which are nobody's business outside, get the few functions a bench
//! needs. Anything here may change at any time.

#[cfg(feature = "testing")]
pub mod fuzz;
pub mod log;
mod merge;

pub use merge::merge_all_blocks;

/// Chunks: columns of timestamps and values.
pub mod chunk {
    pub use crate::chunk::{column, dense, gorilla};
}

/// Rows: one scrape of a group.
pub mod row {
    pub use crate::row::{RowEncoder, RowState, RowView, walk_back};
}
