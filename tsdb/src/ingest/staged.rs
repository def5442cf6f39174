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
    /// The longest of the runs that have ended.
    run_max: usize,
    /// Whether a run is older than the one before.
    are_runs_unordered: bool,
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
        let start = self.ids.len();
        if let Some(last) = self.runs.last() {
            if last.timestamp == timestamp {
                return;
            }
            self.run_max = self.run_max.max(start - last.start);
            self.are_runs_unordered |= timestamp < last.timestamp;
        }
        self.runs.push(Run { timestamp, start });
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
        self.run_max = 0;
        self.are_runs_unordered = false;
        self.target = None;
    }

    /// Walks the samples as id, timestamp and value, in the order in which they were appended.
    #[inline]
    pub(super) fn samples(&self) -> impl ExactSizeIterator<Item = (u64, Timestamp, f64)> + '_ {
        let mut runs = self.runs.iter().copied().peekable();
        let mut timestamp = 0;
        let samples = self.ids.iter().zip(&self.values).enumerate();
        samples.map(move |(index, (&id, &value))| {
            if let Some(run) = runs.next_if(|run| run.start == index) {
                timestamp = run.timestamp;
            }
            (id, timestamp, value)
        })
    }

    /// Tells whether `count` samples or more share a timestamp.
    pub(super) fn shares_timestamp(&self, count: usize) -> bool {
        let open = self.runs.last().map_or(0, |run| self.ids.len() - run.start);
        if self.run_max.max(open) >= count {
            return true;
        }
        if !self.are_runs_unordered {
            return false;
        }
        let ends = self.runs.iter().skip(1).map(|run| run.start);
        let mut lengths: Vec<(Timestamp, usize)> = self
            .runs
            .iter()
            .zip(ends.chain([self.ids.len()]))
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
        let ends = self
            .runs
            .iter()
            .skip(1)
            .map(|run| run.start)
            .chain([self.ids.len()]);
        let mut batches: Vec<Batch> = self
            .runs
            .iter()
            .zip(ends)
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
