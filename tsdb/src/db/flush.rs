//! The head becomes blocks, and is made durable without the log in between.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::block::{Block, BlockSpec};
use crate::chunk::ChunkEncoding;
use crate::compact::{write_block, write_head};
use crate::error::{Error, Result};
use crate::fs::names;
use crate::head::{FlushView, HeadView};
use crate::labels::SeriesLabels;
use crate::source::SeriesSource;
use crate::time::{TimeRange, Timestamp};

use super::event::Event;
use super::inner::{Deletion, FlushState, Inner, PendingTruncation};
use super::options::to_ms;

/// Definitions of series that are gone which the series store may hold beyond as many as there are live ones: fewer are
/// not worth a rewrite.
const SPARE_DEFINITIONS: u64 = 100_000;

/// What a flush did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FlushReport {
    /// Blocks written.
    pub blocks: usize,
    /// Samples in them.
    pub samples: u64,
    /// A querier made before the flush is still alive, so the head keeps what was flushed for now. Nothing can be
    /// flushed again before it is gone.
    pub is_waiting_for_readers: bool,
}

/// Intervals after which a checkpoint is made though it writes more of open chunks than the log has grown by since the one
/// before. Without a limit, who pushes few samples of many series would wait for hours of the log to be replayed.
const PATIENCE: i64 = 4;

impl Inner {
    /// Writes everything below `boundary` into blocks, one for each aligned range, and lets the head go of it.
    pub(super) fn flush_before(
        &self,
        boundary: Timestamp,
        state: &mut FlushState,
    ) -> Result<FlushReport> {
        let wal = Arc::clone(self.writer()?);
        self.truncate_pending(state)?;
        if state.pending.is_some() {
            return Ok(FlushReport {
                is_waiting_for_readers: true,
                ..FlushReport::default()
            });
        }
        // Before the sequence is fixed: a deletion behind it is not in the blocks and must not be missed.
        let deletions = self.begin_writing();
        let settled = self.head.settle(boundary, || wal.last_sequence());
        let written = settled.and_then(|sequence| {
            // Now, because a commit that looked at the boundary before it moved may have begun a range of its own.
            let ranges = self.head.ranges_before(boundary);
            let blocks = self.write_ranges(&ranges, sequence)?;
            Ok((blocks, (!ranges.is_empty()).then_some(sequence)))
        });
        let (written, sequence) = match written {
            Ok((blocks, sequence)) => (Ok(blocks), sequence),
            Err(error) => (Err(error), None),
        };
        let blocks = self.end_writing(deletions, sequence, written, &[])?;
        let Some(sequence) = sequence else {
            // What was there is deleted: the head has to notice, or it would be flushed for ever.
            self.head.update_span();
            return Ok(FlushReport::default());
        };
        let mut report = FlushReport {
            blocks: blocks.len(),
            ..FlushReport::default()
        };
        for block in &blocks {
            let meta = block.meta();
            report.samples += meta.samples;
            self.emit(&Event::Flushed {
                block: meta.ulid,
                range: meta.range,
                samples: meta.samples,
            });
        }
        self.counters.flushes.fetch_add(1, Ordering::Relaxed);
        state.pending = Some(PendingTruncation { boundary, sequence });
        drop(blocks);
        self.truncate_pending(state)?;
        report.is_waiting_for_readers = state.pending.is_some();
        Ok(report)
    }

    fn write_ranges(&self, ranges: &[TimeRange], sequence: u64) -> Result<Vec<Arc<Block>>> {
        let blocks_dir = self.dir.join(names::BLOCKS);
        let mut blocks = Vec::new();
        for &range in ranges {
            let spec = BlockSpec {
                ulid: self.next_ulid(),
                range,
                level: 1,
                sources: Vec::new(),
                parents: Vec::new(),
                created_ms: self.options.clock.now_ms(),
                flushed_through: sequence,
                encoding: self.options.chunk_encoding,
            };
            let fs = Arc::clone(&self.options.fs);
            let written = match spec.encoding {
                ChunkEncoding::Dense => {
                    let view = FlushView::new(Arc::clone(&self.head), sequence, range);
                    write_head(fs, &blocks_dir, spec, &view)
                }
                ChunkEncoding::Gorilla => {
                    let view = HeadView::at(Arc::clone(&self.head), sequence);
                    let cursors = vec![view.select(&[], range)?];
                    let go_on = &mut |_: &_| ControlFlow::Continue(());
                    write_block(fs, &blocks_dir, spec, cursors, go_on)
                }
            };
            match written {
                Ok(block) => blocks.extend(block.map(Arc::new)),
                Err(error) => {
                    // Blocks of earlier ranges stand on disk: a second copy of what the head still holds, merged away
                    // later. They are not shown, so nothing is counted twice.
                    for block in &blocks {
                        drop(crate::block::remove(
                            &*self.options.fs,
                            &blocks_dir,
                            block.meta().ulid,
                        ));
                    }
                    return Err(error);
                }
            }
        }
        Ok(blocks)
    }

    /// Says that a block is being written; returns which deletions it knows.
    pub(super) fn begin_writing(&self) -> usize {
        let mut layout = self.layout.lock();
        layout.writers += 1;
        layout.deleted.len()
    }

    /// Deletes from new blocks what was deleted while they were written, and shows them in place of those they replace.
    /// What was read from the head at `sequence` lacks what was deleted up to there, and may hold what came again.
    pub(super) fn end_writing(
        &self,
        known: usize,
        sequence: Option<u64>,
        written: Result<Vec<Arc<Block>>>,
        replaced: &[crate::fs::Ulid],
    ) -> Result<Vec<Arc<Block>>> {
        let mut layout = self.layout.lock();
        layout.writers -= 1;
        let shown = written.and_then(|blocks| {
            let deleted = blocks.iter().try_for_each(|block| {
                let is_late =
                    |deletion: &&Deletion| sequence.is_none_or(|read| read < deletion.sequence);
                let mut late = layout.deleted[known..].iter().filter(is_late);
                late.try_for_each(|deletion| {
                    let touched = block.delete(deletion.range, &deletion.matchers);
                    touched.map(|_touched| ())
                })
            });
            if let Err(error) = deleted {
                // Not shown, and not left for the next start either, which would not know the deletions.
                let blocks_dir = self.dir.join(names::BLOCKS);
                for block in &blocks {
                    // If that fails too, the first error is still the one to report.
                    drop(crate::block::remove(
                        &*self.options.fs,
                        &blocks_dir,
                        block.meta().ulid,
                    ));
                }
                return Err(error);
            }
            self.views.swap(&blocks, replaced);
            Ok(blocks)
        });
        if layout.writers == 0 {
            layout.deleted.clear();
        }
        shown
    }

    /// Lets the head go of what was flushed, once nobody reads a view without the blocks.
    pub(super) fn truncate_pending(&self, state: &mut FlushState) -> Result<()> {
        let Some(pending) = state.pending else {
            return Ok(());
        };
        if self.views.are_older_read() {
            return Ok(());
        }
        if !self.remotes.is_empty() {
            // The head may let go of series that the log kept for a remote goes on naming.
            self.store_series(state)?;
        }
        self.head.truncate(pending.boundary, pending.sequence);
        state.pending = None;
        self.counters.truncations.fetch_add(1, Ordering::Relaxed);
        self.checkpoint(state)
    }

    /// Makes the head durable without the log and cuts the log.
    pub(super) fn checkpoint(&self, state: &mut FlushState) -> Result<()> {
        let result = self.try_checkpoint(state);
        let counter = if result.is_ok() {
            &self.counters.checkpoints
        } else {
            &self.counters.checkpoint_failures
        };
        counter.fetch_add(1, Ordering::Relaxed);
        result
    }

    fn try_checkpoint(&self, state: &mut FlushState) -> Result<()> {
        let wal = self.writer()?;
        let fs = &*self.options.fs;
        let segment = wal.rotate()?;
        let sequence = wal
            .segments()
            .iter()
            .find(|info| info.number == segment)
            .map_or_else(|| wal.last_sequence(), |info| info.first_sequence - 1);
        // Everything before the new segment is applied once the groups' locks have been taken and the lone samples'
        // lock as well; `checkpoint` takes them.
        let lone_file = state.lone_file + 1;
        let checkpoint = self
            .head
            .checkpoint(sequence, segment, lone_file, fs, &self.dir)?;
        state.lone_file = lone_file;
        wal.sync()?;
        self.head.pieces.sync()?;
        self.store_series(state)?;
        checkpoint.store(fs, &self.dir)?;
        state.checkpoint_sequence = sequence;
        state.checkpoint_ms = self.options.clock.now_ms();
        self.remove_lone_files(checkpoint.lone_file)?;
        self.head.pieces.remove_released()?;
        self.note_closed_segments(wal);
        self.keep_spool_budget(wal, sequence)?;
        wal.cut_before(self.segment_kept(wal, segment))?;
        self.renew_store(state)
    }

    /// Writes the series store anew once most of its definitions are of series that are gone. Not before the log is
    /// cut: older frames may name them.
    fn renew_store(&self, state: &mut FlushState) -> Result<()> {
        let Some(store) = &mut state.store else {
            return Ok(());
        };
        if state.stored_definitions <= 2 * self.head.series_count() + SPARE_DEFINITIONS {
            return Ok(());
        }
        let spooled = self.definitions_of_spool()?;
        state.stored_definitions = store.rewrite(self.head.all_definitions().chain(spooled))?;
        Ok(())
    }

    /// Returns the definitions of series that only the log kept for remotes still names.
    fn definitions_of_spool(&self) -> Result<impl Iterator<Item = (u64, SeriesLabels)>> {
        let named = self.series_of_spool(self.writer()?)?;
        let mut found = Vec::new();
        if !named.is_empty() {
            let stored = self.stored_definitions(&named)?;
            found.extend((stored.iter()).map(|(&id, labels)| (id, SeriesLabels::from(labels))));
            found.sort_unstable_by_key(|(id, _)| *id);
        }
        Ok(found.into_iter())
    }

    /// Appends the definitions the log has brought since the last time to the series store.
    fn store_series(&self, state: &mut FlushState) -> Result<()> {
        let Some(store) = &mut state.store else {
            return Ok(());
        };
        let ids = self.head.take_unstored();
        let stored = if store.is_distrusted() {
            self.definitions_of_spool()
                .and_then(|spooled| store.rewrite(self.head.all_definitions().chain(spooled)))
        } else {
            let before = state.stored_definitions;
            let added = store.append(self.head.shared_definitions(&ids));
            added.and_then(|added| store.sync().map(|()| before + added))
        };
        match stored {
            Ok(count) => state.stored_definitions = count,
            Err(error) => {
                self.head.put_unstored_back(ids);
                return Err(error);
            }
        }
        Ok(())
    }

    fn remove_lone_files(&self, keep: u64) -> Result<()> {
        let dir = self.dir.join(names::HEAD);
        let fs = &self.options.fs;
        for entry in fs
            .read_dir(&dir)
            .map_err(|error| Error::io("list", &dir, error))?
        {
            if names::parse_lone(&entry.name).is_some_and(|number| number != keep) {
                let path = dir.join(&entry.name);
                fs.remove_file(&path)
                    .map_err(|error| Error::io("remove", &path, error))?;
            }
        }
        Ok(())
    }

    /// Flushes what is complete and makes a checkpoint if one is due: what the flush lane does at each turn.
    pub(super) fn flush_step(&self) -> Result<bool> {
        let mut state = self.flushing.lock();
        self.truncate_pending(&mut state)?;
        let range_ms = self.options.block_range_ms();
        let now = self.options.clock.now_ms();
        let boundary = self.complete_before(&mut state, now, range_ms);
        if let Some(boundary) = boundary
            && state.pending.is_none()
        {
            self.flush_before(boundary, &mut state)?;
            return Ok(true);
        }
        let wal = self.writer()?;
        self.keep_spool_budget(wal, state.checkpoint_sequence)?;
        let interval_ms = to_ms(self.options.checkpoint_interval);
        let elapsed_ms = now.saturating_sub(state.checkpoint_ms);
        let log_bytes = wal.bytes_above(state.checkpoint_sequence);
        let is_due = elapsed_ms >= interval_ms
            && (log_bytes >= self.head.lone.open_bytes() as u64
                || elapsed_ms >= interval_ms.saturating_mul(PATIENCE))
            || now < state.checkpoint_ms
            || log_bytes > 4 * self.options.segment_bytes;
        if is_due && wal.last_sequence() > state.checkpoint_sequence {
            self.checkpoint(&mut state)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Returns the time before which the head is complete and worth a block.
    fn complete_before(
        &self,
        state: &mut FlushState,
        now: Timestamp,
        range_ms: i64,
    ) -> Option<Timestamp> {
        let (oldest, newest) = (self.head.min_time(), self.head.max_time());
        if oldest > newest {
            return None;
        }
        let sequence = self.head.publisher.published();
        let since = match state.idle_since {
            Some((known, since)) if known == sequence => since,
            _ => {
                state.idle_since = Some((sequence, now));
                now
            }
        };
        if newest.saturating_sub(oldest) > range_ms + range_ms / 2 {
            // Half a range stays open for what comes a little late.
            let boundary = TimeRange::aligned(newest - range_ms / 2, range_ms).start;
            return (boundary > oldest).then_some(boundary);
        }
        // Nothing comes any more: what is there would wait in the log for ever.
        (now.saturating_sub(since) >= range_ms).then(|| TimeRange::aligned(newest, range_ms).end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{Background, Db, Options};
    use crate::fs::SimFs;
    use crate::labels::Labels;
    use crate::sample::Samples;
    use crate::time::ManualClock;

    fn append(db: &Db, timestamp: Timestamp) {
        let labels = Labels::from_pairs([("__name__", "up")]).unwrap();
        let mut appender = db.appender().unwrap();
        appender.append(&labels, timestamp, 1.0).unwrap();
        assert_eq!(appender.commit().unwrap().accepted, 1);
    }

    fn timestamps(db: &Db) -> Vec<Timestamp> {
        let mut samples = Samples::default();
        let mut found = Vec::new();
        for series in db.querier(TimeRange::ALL).unwrap().select(&[]).unwrap() {
            series.unwrap().read(&mut samples).unwrap();
            found.extend(samples.iter().map(|sample| sample.timestamp));
        }
        found
    }

    /// The steps of a flush, with deletions and commits in between.
    #[test]
    fn sample_that_follows_a_deletion_during_a_flush_stays() {
        for begins_blank in [false, true] {
            let options = Options::default()
                .with_fs(Arc::new(SimFs::new()))
                .with_clock(Arc::new(ManualClock::new(1_000_000)))
                .with_background(Background::Manual);
            let db = Db::open("/db", options).unwrap();
            let delete = |first, last| {
                db.delete(TimeRange::closed(first, last), &[]).unwrap();
            };
            let inner = &db.inner;
            let wal = inner.writer().unwrap();
            if !begins_blank {
                append(&db, 1000);
                append(&db, 2000);
            }
            let known = inner.begin_writing();
            delete(1500, 5000);
            append(&db, 3000);
            append(&db, 4000);
            let settled = inner.head.settle(10_000, || wal.last_sequence());
            let sequence = settled.unwrap();
            delete(4000, 4000);
            let ranges = inner.head.ranges_before(10_000);
            let blocks = inner.write_ranges(&ranges, sequence);
            assert_eq!(blocks.as_ref().unwrap().len(), 1);
            inner
                .end_writing(known, Some(sequence), blocks, &[])
                .unwrap();
            let left = if begins_blank {
                vec![3000]
            } else {
                vec![1000, 3000]
            };
            assert_eq!(timestamps(&db), left);
            inner.head.truncate(10_000, sequence);
            assert_eq!(timestamps(&db), left, "the block alone");
        }
    }
}
