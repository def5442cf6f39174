//! The samples a remote has not acknowledged, in the order of the log.

use std::collections::HashMap;

use crate::error::Result;
use crate::labels::{Labels, METRIC_NAME};
use crate::sample::Sample;
use crate::wal::{Followed, Follower, Wal};

use super::decode::{FrameVisitor, LogDecoder};
use super::progress::{Position, Progress, shard_key};

/// A sample on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpooledSample {
    /// Id of its series.
    pub series: u64,
    /// What [`shard_of`](super::shard_of) takes: the same for all samples with these labels.
    pub key: u32,
    /// When, and what.
    pub sample: Sample,
    /// Where it stands in the log.
    pub position: Position,
}

/// Samples in the order of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpoolBatch {
    /// Those that are not acknowledged.
    pub samples: Vec<SpooledSample>,
    /// Everything of the log below has been read.
    pub end: Position,
}

impl SpoolBatch {
    /// Forgets the samples and keeps the memory.
    pub fn clear(&mut self) {
        self.samples.clear();
    }
}

/// Adds the key of a series.
pub(crate) type FindKeys<'a> = dyn FnMut(u64, &mut HashMap<u64, u32>) + 'a;

/// Reads the log for one remote.
pub(crate) struct LogReader {
    follower: Follower,
    decoder: LogDecoder,
    progress: Progress,
    /// Names that passed by. A series may be gone from everywhere else by the time it is read here.
    names: HashMap<u64, Labels>,
    keys: HashMap<u64, u32>,
    lost_frames: u64,
    lost_rows: u64,
}

impl LogReader {
    /// Returns a reader of what `progress` does not cover.
    pub(crate) fn new(wal: &Wal, progress: Progress) -> Self {
        let from = wal.decodable_from(progress.low().sequence);
        Self {
            follower: Follower::new(wal, from),
            decoder: LogDecoder::default(),
            progress,
            names: HashMap::new(),
            keys: HashMap::new(),
            lost_frames: 0,
            lost_rows: 0,
        }
    }

    /// Returns the place before which everything has been read.
    pub(crate) fn position(&self) -> Position {
        Position::before(self.follower.sequence()).max(self.progress.low())
    }

    /// Adds samples to `batch` until it has `limit`, which a single commit may exceed, or nothing durable is left.
    /// Answers whether more is there now. `find_keys` is asked for a series that the log does not name on the way: it adds its [key](shard_key), and others' if
    /// they come at no cost.
    pub(crate) fn read(
        &mut self,
        wal: &Wal,
        limit: usize,
        find_keys: &mut FindKeys<'_>,
        batch: &mut SpoolBatch,
    ) -> Result<bool> {
        let low = self.progress.low();
        let more = loop {
            if batch.samples.len() >= limit {
                break true;
            }
            match self.follower.next(wal)? {
                Followed::CaughtUp => break false,
                Followed::Lost { first, last } => {
                    self.lost_frames += last - first + 1;
                    self.decoder.note_gap();
                }
                Followed::Frame {
                    sequence,
                    body,
                    is_fresh,
                } => {
                    if is_fresh {
                        self.decoder.restart();
                    }
                    let mut collector = Collector {
                        progress: &self.progress,
                        names: &mut self.names,
                        keys: &mut self.keys,
                        find_keys,
                        next: Position::before(sequence),
                        is_passed: sequence < low.sequence,
                        samples: &mut batch.samples,
                    };
                    let loss = self.decoder.read(body, &mut collector);
                    if !collector.is_passed {
                        self.lost_rows += loss.rows + loss.malformed;
                    }
                }
            }
        };
        batch.end = self.position();
        Ok(more)
    }

    /// Takes the labels of a series that the log named since they were last taken.
    pub(crate) fn take_name(&mut self, series: u64) -> Option<Labels> {
        self.names.remove(&series)
    }

    /// Returns how many frames are gone and how many rows could not be decoded for want of them.
    pub(crate) fn losses(&self) -> (u64, u64) {
        (self.lost_frames, self.lost_rows)
    }
}

impl std::fmt::Debug for LogReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogReader")
            .field("position", &self.position())
            .finish_non_exhaustive()
    }
}

struct Collector<'a> {
    progress: &'a Progress,
    names: &'a mut HashMap<u64, Labels>,
    keys: &'a mut HashMap<u64, u32>,
    find_keys: &'a mut FindKeys<'a>,
    next: Position,
    /// The frame is acknowledged by all shards and only goes by.
    is_passed: bool,
    samples: &'a mut Vec<SpooledSample>,
}

impl FrameVisitor for Collector<'_> {
    fn define(&mut self, id: u64, metric: &str, entity: &[(&str, &str)]) {
        let pairs = [(METRIC_NAME, metric)]
            .into_iter()
            .chain(entity.iter().copied());
        // Labels that are none would have been refused before they came to the log.
        if let Ok(labels) = Labels::from_pairs(pairs) {
            self.names.insert(id, labels);
        }
    }

    fn key(&mut self, id: u64) -> u32 {
        if let Some(&key) = self.keys.get(&id) {
            return key;
        }
        match self.names.get(&id) {
            Some(labels) => drop(self.keys.insert(id, shard_key(labels))),
            None => (self.find_keys)(id, self.keys),
        }
        // Without labels it is lost anyhow, whatever its shard.
        *self.keys.entry(id).or_insert(0)
    }

    fn sample(&mut self, id: u64, key: u32, sample: Sample) {
        if self.is_passed {
            return;
        }
        let position = self.next;
        self.next = position.next();
        if !self.progress.covers(key, position) {
            self.samples.push(SpooledSample {
                series: id,
                key,
                sample,
                position,
            });
        }
    }
}
