//! How much log may stay for remotes, and what is dropped above.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::db::event::Event;
use crate::db::inner::Inner;
use crate::db::options::to_ms;
use crate::error::{Error, Result};
use crate::ship::{DropReason, Keys, LogReader, Position, Progress, SpoolBatch};
use crate::time::Timestamp;
use crate::wal::{SegmentInfo, Wal};

use super::remotes::Remote;

/// How much log may stay for remotes alone, after the head needs it no longer. What is over is dropped, the oldest
/// segment first, counted for each remote that had not acknowledged it, and reported as [`Event::SpoolDropped`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolBudget {
    /// Bytes of log. Defaults to 32 GiB: a day of 100,000 series at 15 seconds takes less than one.
    pub bytes: u64,
    /// Age of the newest sample of a segment. Defaults to 48 hours.
    pub age: Duration,
    /// Bytes of disk that stay free. Defaults to 1 GiB.
    pub free_bytes: u64,
}

impl Default for SpoolBudget {
    fn default() -> Self {
        Self {
            bytes: 32 << 30,
            age: Duration::from_secs(48 * 3600),
            free_bytes: 1 << 30,
        }
    }
}

impl Inner {
    /// Returns the oldest segment that a remote needs, at most `segment`.
    pub(in crate::db) fn segment_kept(&self, wal: &Wal, segment: u64) -> u64 {
        let low = self
            .remotes
            .all()
            .iter()
            .map(|remote| remote.state.lock().remembered.progress.low_in_log())
            .min();
        low.map_or(segment, |low| segment.min(wal.segment_of(low.sequence())))
    }

    /// Drops the oldest segments that are kept for remotes alone while there are more than the budget allows; the log up
    /// to `checkpoint` is.
    pub(in crate::db) fn keep_spool_budget(&self, wal: &Wal, checkpoint: u64) -> Result<()> {
        if self.remotes.is_empty() {
            self.spool_bytes.store(0, Ordering::Relaxed);
            return Ok(());
        }
        loop {
            let segments = wal.segments();
            let kept: Vec<_> = segments
                .iter()
                .take(segments.len() - 1)
                .take_while(|info| info.last_sequence <= checkpoint)
                .collect();
            let bytes = kept.iter().map(|info| info.bytes).sum();
            self.spool_bytes.store(bytes, Ordering::Relaxed);
            let Some(oldest) = kept.first() else {
                return Ok(());
            };
            let next = segments[1].first_sequence;
            let Some(reason) = self.over_budget(wal, bytes, oldest, next)? else {
                return Ok(());
            };
            for remote in self.remotes.all() {
                self.drop_before(wal, &remote, next, reason)?;
            }
            wal.cut_before(self.segment_kept(wal, segments[1].number))?;
            if wal.segments().first().map(|info| info.number) == Some(oldest.number) {
                // A segment that is continued stays with the one that continues it.
                return Ok(());
            }
        }
    }

    fn over_budget(
        &self,
        wal: &Wal,
        bytes: u64,
        oldest: &SegmentInfo,
        next: u64,
    ) -> Result<Option<DropReason>> {
        let budget = &self.options.spool_budget;
        if bytes > budget.bytes {
            return Ok(Some(DropReason::Bytes));
        }
        let free = self
            .options
            .fs
            .free_space(&self.dir)
            .map_err(|error| Error::io("measure", &self.dir, error))?;
        if free < budget.free_bytes {
            return Ok(Some(DropReason::FreeSpace));
        }
        let limit = self
            .options
            .clock
            .now_ms()
            .saturating_sub(to_ms(budget.age));
        let newest = self.newest_in(wal, oldest, next)?;
        Ok((newest < limit).then_some(DropReason::Age))
    }

    /// Notes that the segments before the open one are as old as the clock says now, unless it is known better.
    pub(in crate::db) fn note_closed_segments(&self, wal: &Wal) {
        let segments = wal.segments();
        let mut closed = self.closed_segments.lock();
        closed.retain(|number, _| segments.iter().any(|info| info.number == *number));
        let now = self.options.clock.now_ms();
        for info in &segments[..segments.len() - 1] {
            if info.number >= self.first_segment {
                closed.entry(info.number).or_insert(now);
            }
        }
    }

    /// Returns about the newest timestamp of a segment: when it was closed, or for one that an earlier process closed the
    /// newest it has.
    fn newest_in(&self, wal: &Wal, info: &SegmentInfo, next: u64) -> Result<Timestamp> {
        let known = self.closed_segments.lock().get(&info.number).copied();
        if let Some(newest) = known {
            return Ok(newest);
        }
        let mut newest = None;
        let all = Progress::new(Position::before(info.first_sequence), 1);
        read_between(self, wal, all, next, |batch| {
            let timestamps = batch.samples.iter().map(|spooled| spooled.sample.timestamp);
            newest = timestamps.chain(newest).max();
        })?;
        // One without samples is nobody's burden.
        let newest = newest.unwrap_or(Timestamp::MAX);
        self.closed_segments.lock().insert(info.number, newest);
        Ok(newest)
    }

    fn drop_before(&self, wal: &Wal, remote: &Remote, next: u64, reason: DropReason) -> Result<()> {
        let progress = remote.state.lock().remembered.progress.clone();
        if progress.low_in_log() >= Position::before(next) {
            return Ok(());
        }
        let mut dropped = 0;
        read_between(self, wal, progress, next, |batch| {
            dropped += batch.samples.len() as u64;
        })?;
        let mine = {
            let mut state = remote.state.lock();
            state.remembered.progress.skip_log_to(next);
            state.remembered.dropped[reason as usize] += dropped;
            state.skips += 1;
            state.changes += 1;
            state.changes
        };
        remote.write(mine)?;
        self.emit(&Event::SpoolDropped {
            remote: remote.name.clone(),
            samples: dropped,
            reason,
        });
        Ok(())
    }
}

/// Gives what `progress` does not cover, up to the frame `next`, to `visit`.
pub(super) fn read_between(
    inner: &Inner,
    wal: &Wal,
    progress: Progress,
    next: u64,
    mut visit: impl FnMut(&SpoolBatch),
) -> Result<()> {
    let needs_keys = progress.needs_keys();
    let mut find_keys = |ids: &[u64], keys: &mut Keys| {
        if needs_keys {
            inner.find_keys(ids, keys)
        } else {
            Ok(())
        }
    };
    let mut reader = LogReader::new(wal, progress);
    let mut batch = SpoolBatch::default();
    let mut more = true;
    while more && reader.position() < Position::before(next) {
        batch.clear();
        more = reader.read(wal, READ_SAMPLES, &mut find_keys, &mut batch)?;
        batch
            .samples
            .retain(|spooled| spooled.position.sequence() < next);
        visit(&batch);
    }
    Ok(())
}

/// Samples read at once where only their number matters.
const READ_SAMPLES: usize = 100_000;
