//! What has left for elsewhere, and what has not.
//!
//! The log, and before it what is stored, is the only copy of what waits for a remote: there is no queue beside it. Each remote has a file of its own
//! that says how far it has come, and segments of the log stay for the slowest.
//!
//! 1. A [`LogReader`] follows the log behind what is durable and decodes frames without the head: a segment carries the
//!    bases of its groups. What a remote has acknowledged is left out.
//! 2. Whoever sends keeps the samples of one series in order by giving each series to one shard, and reports how far each
//!    shard has come ([`Progress`]).
//! 3. A [`CursorFile`] makes that durable before the shard goes on. After a crash each shard repeats what it had sent and
//!    not yet reported: one batch at most.
//!
//! The module does not know what a remote is, how samples are sent, or how much may be kept: that is the roof's business.
#![doc = include_str!("FORMAT.md")]

mod catalog;
mod cursor;
mod decode;
mod position;
mod progress;
mod reader;

pub(crate) use catalog::Keys;
pub(crate) use cursor::{CursorFile, Remembered};
pub(crate) use progress::{BackfillEnd, put_key_bytes, shard_key};
pub(crate) use reader::LogReader;

pub use cursor::DropReason;
pub use position::Position;
pub use progress::{Progress, SHARDS_MAX, shard_of};
pub use reader::{SpoolBatch, SpooledSample};
