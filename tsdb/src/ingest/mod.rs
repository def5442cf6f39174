//! The way in: staged samples become a frame, the frame is logged, applied and published.
//!
//! 1. An appender stages samples: a reference, a value, and a timestamp for each run of them.
//! 2. [`Committer::commit`] judges each sample, encodes rows and lone samples into a frame, and appends it to the log.
//!    Encoding is pure: nothing in the head changes before the log has the frame.
//! 3. The head applies the frame, under the locks that were taken before judging.
//! 4. The caller waits for what its durability asks for and publishes.
//!
//! The common case is one scrape of a group, exactly the series of the scrape before (`row.rs`): one comparison judges all
//! of it, and no lock is taken but the group's. A scrape in which series come and go is compared with the one before
//! run by run (`scrape.rs`). Samples of known series that are in no group and in order are one comparison each
//! (`alone.rs`). Everything else goes through `plan.rs`, one such commit at a time. After a crash [`replay`] reads the log back through the same functions of the head.

mod alone;
mod commit;
mod judge;
mod members;
mod plan;
mod replay;
mod row;
mod scrape;
mod staged;

pub(crate) use commit::{Committed, Committer, Rules};
pub(crate) use replay::{Lane, replay};
pub(crate) use staged::{Staged, TargetGroup};
