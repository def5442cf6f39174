//! Blocks become fewer and larger, and old ones go.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::block::Block;
use crate::compact::{
    Candidate, DropReason, MergeSpec, PlanOptions, RetentionOptions, Step, merge_blocks, plan,
    ranges_ms, retire,
};
use crate::error::{Error, Result};
use crate::fs::{Ulid, names};

use super::event::Event;
use super::inner::{Inner, MergeState};
use super::options::{BLOCK_RANGE_MAX, to_ms};

/// What compaction did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompactReport {
    /// Merges and rewrites.
    pub merged: usize,
    /// Blocks that retention removed.
    pub dropped: usize,
}

/// Returns what the planner needs to know of blocks.
pub(super) fn candidates(blocks: &[Arc<Block>]) -> Vec<Candidate> {
    let of = |block: &Arc<Block>| {
        Candidate::new(
            block.meta(),
            block.tombstones().len() as u64,
            block.size_bytes(),
        )
    };
    blocks.iter().map(of).collect()
}

impl Inner {
    /// Does what the planner asks for until it asks for nothing, then applies retention.
    pub(super) fn compact(&self) -> Result<CompactReport> {
        self.writer()?;
        let mut state = self.merging.lock();
        let mut report = CompactReport::default();
        while self.compact_once(&mut state, &mut report)? {}
        self.retire(&mut state, &mut report)?;
        Ok(report)
    }

    /// Writes one block in place of all there are.
    pub(super) fn compact_all(&self) -> Result<CompactReport> {
        self.writer()?;
        let state = self.merging.lock();
        let all: Vec<Ulid> = self
            .views
            .current()
            .blocks()
            .iter()
            .map(|block| block.meta().ulid)
            .collect();
        let mut report = CompactReport::default();
        if all.len() > 1 {
            self.replace_blocks(&all).inspect_err(|_| {
                self.counters.merge_failures.fetch_add(1, Ordering::Relaxed);
            })?;
            report.merged = 1;
        }
        drop(state);
        Ok(report)
    }

    fn compact_once(&self, state: &mut MergeState, report: &mut CompactReport) -> Result<bool> {
        self.check_open()?;
        let retention = self
            .options
            .retention
            .map_or(i64::MAX, |age| to_ms(age) / 10);
        let options = PlanOptions {
            ranges_ms: ranges_ms(
                self.options.block_range_ms(),
                retention.min(to_ms(BLOCK_RANGE_MAX)),
            ),
            excluded: state.failed.clone(),
        };
        let view = self.views.current();
        let steps = plan(&candidates(view.blocks()), &options);
        drop(view);
        for step in &steps {
            let sources = match step {
                Step::Merge { sources, .. } => sources.clone(),
                Step::Clean { block } => vec![*block],
                Step::Drop { .. } => continue,
            };
            if let Err(error) = self.replace_blocks(&sources) {
                self.counters.merge_failures.fetch_add(1, Ordering::Relaxed);
                // Damage stays damage, so the same blocks are not tried for ever; a full disk is another matter.
                if error.kind() == crate::error::ErrorKind::Corruption {
                    state.failed.extend(sources);
                    self.emit(&Event::Failed {
                        message: format!("merge of blocks: {error}"),
                    });
                    return Ok(true);
                }
                return Err(error);
            }
            report.merged += 1;
        }
        Ok(!steps.is_empty())
    }

    /// Writes one block from `sources` and shows it in their place.
    fn replace_blocks(&self, sources: &[Ulid]) -> Result<()> {
        let view = self.views.current();
        let blocks: Vec<Arc<Block>> = view
            .blocks()
            .iter()
            .filter(|block| sources.contains(&block.meta().ulid))
            .cloned()
            .collect();
        drop(view);
        let spec = MergeSpec {
            ulid: self.next_ulid(),
            created_ms: self.options.clock.now_ms(),
            encoding: self.options.chunk_encoding,
        };
        let known = self.begin_writing();
        let blocks_dir = self.dir.join(names::BLOCKS);
        let mut progress = |_: &_| {
            if self.check_open().is_ok() {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        };
        let merged = merge_blocks(
            Arc::clone(&self.options.fs),
            &blocks_dir,
            &blocks,
            spec,
            &mut progress,
        );
        let merged = self.end_writing(
            known,
            None,
            merged.map(|block| block.map(Arc::new).into_iter().collect()),
            sources,
        )?;
        self.counters.merges.fetch_add(1, Ordering::Relaxed);
        self.remove_blocks(sources)?;
        self.emit(&Event::Merged {
            block: merged.first().map(|block| block.meta().ulid),
            parents: sources.to_vec(),
        });
        Ok(())
    }

    /// Removes blocks that no view shows. Readers that hold one go on.
    fn remove_blocks(&self, ulids: &[Ulid]) -> Result<()> {
        let blocks_dir = self.dir.join(names::BLOCKS);
        ulids
            .iter()
            .try_for_each(|&ulid| crate::block::remove(&*self.options.fs, &blocks_dir, ulid))
    }

    fn retire(&self, state: &mut MergeState, report: &mut CompactReport) -> Result<()> {
        let view = self.views.current();
        let candidates = candidates(view.blocks());
        drop(view);
        let clock = &self.options.clock;
        let (horizon, held_back) = state.horizon.advance(
            &candidates,
            clock.now_ms(),
            clock.monotonic(),
            self.options.block_range_ms(),
        );
        state.horizon = horizon;
        if held_back {
            self.emit(&Event::Failed {
                message: "the clock and the data jumped ahead: retention follows slowly".to_owned(),
            });
        }
        let options = RetentionOptions {
            age_ms: self.options.retention.map(to_ms),
            size_bytes: self.options.retention_bytes,
        };
        let other_bytes =
            self.wal.as_ref().map_or(0, |wal| wal.size_bytes()) + self.head.pieces.size_bytes();
        // What is kept for remotes alone has a budget of its own.
        let other_bytes = other_bytes.saturating_sub(self.spool_bytes.load(Ordering::Relaxed));
        for step in retire(&candidates, options, horizon, other_bytes) {
            let Step::Drop { block, reason } = step else {
                continue;
            };
            let layout = self.layout.lock();
            let left = self.views.swap(&[], &[block]);
            drop(layout);
            left.iter().for_each(|block| self.count_retired(block));
            self.remove_blocks(&[block])?;
            let counter = match reason {
                DropReason::Age => &self.counters.blocks_dropped_age,
                DropReason::Size => &self.counters.blocks_dropped_size,
            };
            counter.fetch_add(1, Ordering::Relaxed);
            report.dropped += 1;
            self.emit(&Event::Dropped { block });
        }
        Ok(())
    }

    /// Copies nothing: every file of every block gets a second name under `target`, and the head becomes a block there.
    pub(super) fn link_blocks(&self, target: &std::path::Path) -> Result<()> {
        let fs = &*self.options.fs;
        let failed =
            |operation: &str, path: &std::path::Path, error| Error::io(operation, path, error);
        let to_dir = target.join(names::BLOCKS);
        fs.create_dir(&to_dir)
            .map_err(|error| failed("create", &to_dir, error))?;
        let view = self.views.current();
        for block in view.blocks() {
            let from = block.dir();
            let to = to_dir.join(block.meta().ulid.to_string());
            fs.create_dir(&to)
                .map_err(|error| failed("create", &to, error))?;
            for entry in fs
                .read_dir(from)
                .map_err(|error| failed("list", from, error))?
            {
                let (from, to) = (from.join(&entry.name), to.join(&entry.name));
                fs.hard_link(&from, &to)
                    .map_err(|error| failed("link", &from, error))?;
            }
            fs.sync_dir(&to)
                .map_err(|error| failed("sync", &to, error))?;
        }
        fs.sync_dir(&to_dir)
            .map_err(|error| failed("sync", &to_dir, error))
    }
}
