//! What retention takes before a backfill has walked it.

use std::sync::Arc;

use crate::block::{Block, BlockSource};
use crate::db::event::Event;
use crate::db::inner::Inner;
use crate::error::Result;
use crate::query::Querier;
use crate::sample::Samples;
use crate::ship::{DropReason, Position, Progress, shard_key};
use crate::time::TimeRange;

use super::backfill::undamaged;

impl Inner {
    /// Counts for each remote what a block has that its backfill has not acknowledged. The block is about to be removed,
    /// which nothing here prevents.
    pub(in crate::db) fn count_retired(&self, block: &Arc<Block>) {
        for remote in self.remotes.all() {
            let progress = remote.state.lock().remembered.progress.clone();
            let counted = self.count_unread(block, &progress).and_then(|samples| {
                if samples == 0 {
                    return Ok(());
                }
                self.emit(&Event::SpoolDropped {
                    remote: remote.name.clone(),
                    samples,
                    reason: DropReason::Retention,
                });
                remote.count_dropped(samples, DropReason::Retention)
            });
            if let Err(error) = counted {
                self.emit(&Event::Failed {
                    message: format!("count of what {} is not sent: {error}", remote.name),
                });
            }
        }
    }

    fn count_unread(&self, block: &Arc<Block>, progress: &Progress) -> Result<u64> {
        let (Position::Backfill { timestamp, .. }, Some(backfill)) =
            (progress.low(), progress.backfill())
        else {
            return Ok(0);
        };
        let left = TimeRange::new(timestamp, backfill.end);
        if !block.meta().range.overlaps(&left) {
            return Ok(0);
        }
        let source = Arc::new(BlockSource::new(Arc::clone(block)));
        let querier = Querier::new(vec![source], left, self.views.current());
        let (mut samples, mut damage) = (Samples::default(), None);
        let mut unread = 0;
        for series in querier.select(&[])? {
            let Some(series) = undamaged(series, &mut damage)? else {
                continue;
            };
            undamaged(series.read(&mut samples), &mut damage)?;
            let key = shard_key(series.labels().iter());
            let is_unread = |timestamp| {
                let position = Position::Backfill { timestamp, key };
                !progress.covers(key, position)
            };
            let timestamps = samples.iter().map(|sample| sample.timestamp);
            unread += timestamps.filter(|at| is_unread(*at)).count() as u64;
        }
        Ok(unread)
    }
}
