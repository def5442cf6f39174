//! The way down: what the head and the blocks hold becomes fewer, larger blocks, and old ones go.
//!
//! What to do is decided by pure functions of the blocks' metadata, [`plan()`] and [`retire`]; they touch nothing and can
//! be asked at any time. Acting on a step is somebody else's turn:
//!
//! 1. [`write_block()`] merges selections and writes what comes out as one block. Merging blocks,
//!    rewriting a block without its deleted samples and importing are all this one function.
//! 2. [`write_head()`] does the same for the head, group by group: that is how the head lies on disk.
//! 3. [`merge_blocks`] writes a block from blocks. Nothing is removed here: the parents are listed in the new block, and
//!    whoever opens the directory removes them once that block has verified.
//!
//! This module knows neither the log nor threads: when to flush, in which lane to run and when to truncate is `db`'s.

mod plan;
mod retention;
mod write_block;
mod write_head;

use crate::block::BlockMeta;
use crate::fs::Ulid;
use crate::time::TimeRange;

pub(crate) use plan::{PlanOptions, plan, ranges_ms};
pub(crate) use retention::{Horizon, RetentionOptions, retire};
pub(crate) use write_block::{MergeSpec, merge_blocks, write_block};
pub(crate) use write_head::write_head;

/// What the decisions need to know of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) ulid: Ulid,
    pub(crate) range: TimeRange,
    pub(crate) level: u32,
    pub(crate) series: u64,
    /// Series of which something is deleted.
    pub(crate) tombstoned_series: u64,
    /// All its files.
    pub(crate) size_bytes: u64,
}

impl Candidate {
    pub(crate) fn new(meta: &BlockMeta, tombstoned_series: u64, size_bytes: u64) -> Self {
        Self {
            ulid: meta.ulid,
            range: meta.range,
            level: meta.level,
            series: meta.series,
            tombstoned_series,
            size_bytes,
        }
    }
}

/// Something to be done. The steps of one answer touch each block at most once, so their order does not matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Write one block of `level` from all `sources`, in order of time.
    Merge {
        sources: Vec<Ulid>,
        range: TimeRange,
        level: u32,
    },
    /// Rewrite a block without what is deleted from it.
    Clean { block: Ulid },
    /// Remove a block.
    Drop { block: Ulid, reason: DropReason },
}

/// Why a block goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DropReason {
    /// All of it is older than the retention time.
    Age,
    /// The database is larger than its budget.
    Size,
}
