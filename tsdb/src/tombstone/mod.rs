#![doc = include_str!("FORMAT.md")]
//!
//! # Module
//!
//! Deleting samples rewrites nothing: what is deleted is written down, and reading leaves it out until a compaction
//! writes the samples that stay. [`Intervals`] are the deleted spans of one series, [`Tombstones`] those of a block.
//! The module does not know series or chunks, only ordinals and timestamps.
//!
//! 1. A deletion adds a span to the intervals of each series it selects; spans that touch become one.
//! 2. The block's file is replaced as a whole by what [`Tombstones::encode`] returns.
//! 3. A reader asks [`Intervals::covers_range`] whether a chunk need not be read at all, and hands decoded samples to
//!    [`Intervals::remove_from`].

mod file;
mod intervals;

pub use file::Tombstones;
pub use intervals::Intervals;
