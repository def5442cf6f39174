//! Deleting samples.

use std::sync::Arc;

use crate::error::Result;
use crate::frame::DeletedRange;
use crate::head::HeadView;
use crate::ingest::Committer;
use crate::labels::Matcher;
use crate::time::TimeRange;

use super::inner::{Deletion, Inner};

impl Inner {
    /// Deletes the samples in `range` of the series that match; returns how many series of the head and the blocks had
    /// some there.
    pub(super) fn delete(&self, range: TimeRange, matchers: &[Matcher]) -> Result<u64> {
        let wal = Arc::clone(self.writer()?);
        if range.is_empty() {
            return Ok(0);
        }
        let mut layout = self.layout.lock();
        if layout.writers > 0 {
            // If it fails half-way, it is repeated on every new block.
            layout.deleted.push(Deletion {
                range,
                matchers: matchers.to_vec(),
                sequence: u64::MAX,
            });
        }
        let view = HeadView::new(Arc::clone(&self.head));
        let ids = view.matching_ids(matchers, range)?;
        let mut sequence = 0;
        let mut touched = ids.len() as u64;
        if !ids.is_empty() {
            let ranges: Vec<DeletedRange> = ids
                .into_iter()
                .map(|id| DeletedRange {
                    id,
                    first: range.start,
                    last: range.end - 1,
                })
                .collect();
            sequence = Committer::new(Arc::clone(&self.head), wal, self.rules())
                .delete(&ranges)
                .inspect_err(|error| self.note_write_failure(error))?;
            self.head.publisher.publish(sequence);
            // A delete is rare and final: it is durable when it returns, whatever the policy for samples.
            self.sync_log()?;
        }
        if layout.writers > 0
            && let Some(noted) = layout.deleted.last_mut()
        {
            noted.sequence = sequence;
        }
        for block in self.views.current().blocks() {
            touched += block.delete(range, matchers)?;
        }
        drop(layout);
        Ok(touched)
    }
}
