//! A durable sequence of opaque frames.
//!
//! The log exists so that what was committed survives the process, and after a sync the power. It does not know what a
//! frame says, when it is time to sync, or what a checkpoint is; it starts no thread and reads no clock.
//!
//! 1. [`Wal::append`] gives a frame its sequence and writes it with one call. A full segment is left before the write,
//!    and the caller is told ([`Appended::Rotated`]): it encodes again, so that each segment decodes on its own.
//! 2. [`Wal::sync`] makes everything appended so far durable. One sync serves all that wait, and appends go on
//!    meanwhile. Copies of frames stay in memory until they are synced.
//! 3. Where a sync fails, those copies are written to a new segment that takes the place of the untrusted tail. Frames
//!    keep their sequences, so nobody above has to know. If this fails too, appends fail until it succeeds; each append
//!    or sync tries again.
//! 4. [`Wal::cut_before`] removes whole segments from the front.
//! 5. After a restart [`read_log`] scans the segments, tells a torn tail from damage, and yields the frames that stand.
//!    It changes nothing; [`Wal::open`] starts a new segment whose header voids the rest.
#![doc = include_str!("FORMAT.md")]

mod append;
mod buffer;
mod follow;
mod format;
mod judge;
mod log;
mod read;
mod scan;
mod segment;
mod sync;
mod tail;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod follow_tests;
#[cfg(test)]
mod golden;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use append::Appended;
pub(crate) use buffer::FrameBuffer;
pub(crate) use follow::{Followed, Follower};
pub(crate) use log::{SegmentInfo, Wal, WalConfig};
pub(crate) use read::{Damage, LAST_UNKNOWN, Log, SegmentFrames, Writers, read_log};
pub(crate) use scan::FrameRef;
