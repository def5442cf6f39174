//! Embedded time-series storage.

pub mod error;
pub mod fs;
pub mod labels;
pub mod limits;
pub mod sample;
pub mod time;

mod block;
mod chunk;
mod compact;
mod db;
mod encoding;
mod frame;
mod head;
mod index;
mod ingest;
mod piece;
mod query;
mod row;
mod series;
mod source;
mod tombstone;
mod wal;
