//! Samples on their way into a commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::time::Timestamp;

/// Samples in the order in which they were appended.
#[derive(Debug, Default)]
pub(crate) struct Staged {
    pub(super) ids: Vec<u64>,
    pub(super) values: Vec<f64>,
    runs: Vec<Run>,
    /// Timestamp of the last run.
    last: Timestamp,
    /// The scraped target all samples belong to, if the caller said so.
    pub(super) target: Option<Arc<TargetGroup>>,
}

/// Consecutive samples with one timestamp.
#[derive(Debug, Clone, Copy)]
struct Run {
    timestamp: Timestamp,
    start: usize,
}

/// Samples with one timestamp, as indexes into the staged columns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch {
    pub(super) timestamp: Timestamp,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// The group of a scraped target, once it has one.
#[derive(Debug, Default)]
pub(crate) struct TargetGroup {
    group: AtomicU64,
}

impl TargetGroup {
    pub(super) fn group(&self) -> Option<u64> {
        // Relaxed: a stale answer only sends the commit the slow way.
        let group = self.group.load(Ordering::Relaxed);
        (group != 0).then_some(group)
    }

    pub(super) fn set_group(&self, group: u64) {
        self.group.store(group, Ordering::Relaxed);
    }
}

impl Staged {
    /// Adds one sample.
    #[inline]
    pub(crate) fn push(&mut self, id: u64, timestamp: Timestamp, value: f64) {
        self.begin(timestamp);
        self.ids.push(id);
        self.values.push(value);
    }

    /// Adds samples that share a timestamp; both slices have the same length.
    pub(crate) fn extend(
        &mut self,
        timestamp: Timestamp,
        ids: impl ExactSizeIterator<Item = u64>,
        values: &[f64],
    ) {
        self.begin(timestamp);
        self.ids.extend(ids);
        self.values.extend_from_slice(values);
    }

    #[inline]
    fn begin(&mut self, timestamp: Timestamp) {
        if timestamp != self.last || self.runs.is_empty() {
            let start = self.ids.len();
            self.runs.push(Run { timestamp, start });
            self.last = timestamp;
        }
    }

    pub(crate) fn set_target(&mut self, target: Arc<TargetGroup>) {
        self.target = Some(target);
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.ids.clear();
        self.values.clear();
        self.runs.clear();
        self.target = None;
    }

    /// Puts the timestamp of each sample into `out`, in the order in which they were appended.
    pub(super) fn timestamps(&self, out: &mut Vec<Timestamp>) {
        out.clear();
        if self.runs.len() == self.len() {
            out.extend(self.runs.iter().map(|run| run.timestamp));
            return;
        }
        for (run, end) in self.runs() {
            out.resize(end, run.timestamp);
        }
    }

    /// Walks the runs and where each ends.
    fn runs(&self) -> impl Iterator<Item = (Run, usize)> + '_ {
        let ends = self.runs.iter().skip(1).map(|run| run.start);
        self.runs.iter().copied().zip(ends.chain([self.len()]))
    }

    /// Tells whether `count` samples or more share a timestamp.
    pub(super) fn shares_timestamp(&self, count: usize) -> bool {
        // The longest run has what the others, of one sample at least, leave.
        let longest_max = (self.len() + 1).saturating_sub(self.runs.len());
        if longest_max >= count && self.runs().any(|(run, end)| end - run.start >= count) {
            return true;
        }
        // Looks at all of them: an end on the way would cost more than it saves.
        let steps = self.runs.iter().zip(self.runs.iter().skip(1));
        if steps.fold(true, |is_sorted, (a, b)| {
            is_sorted & (a.timestamp <= b.timestamp)
        }) {
            // Runs next to each other differ, so all do.
            return false;
        }
        let mut lengths: Vec<(Timestamp, usize)> = self
            .runs()
            .map(|(run, end)| (run.timestamp, end - run.start))
            .collect();
        lengths.sort_unstable();
        lengths
            .chunk_by(|a, b| a.0 == b.0)
            .any(|same| same.iter().map(|(_, length)| length).sum::<usize>() >= count)
    }

    /// Returns the one batch, if all samples share a timestamp.
    pub(super) fn single(&self) -> Option<Batch> {
        match *self.runs.as_slice() {
            [run] => Some(Batch {
                timestamp: run.timestamp,
                start: 0,
                end: self.ids.len(),
            }),
            _ => None,
        }
    }

    /// Returns the batches in order of time; several may have the same timestamp.
    pub(super) fn batches(&self) -> Vec<Batch> {
        let mut batches: Vec<Batch> = self
            .runs()
            .map(|(run, end)| Batch {
                timestamp: run.timestamp,
                start: run.start,
                end,
            })
            .collect();
        if !batches.is_sorted_by_key(|batch| batch.timestamp) {
            batches.sort_by_key(|batch| batch.timestamp);
        }
        batches
    }
}
