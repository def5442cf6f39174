//! To be written.

mod chunks;
mod meta;

pub use meta::{BlockMeta, FileMeta};
