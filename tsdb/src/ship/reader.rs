//! The samples a remote has not acknowledged, in the order of the log.

use crate::error::Result;
use crate::labels::Labels;
use crate::sample::Sample;
use crate::wal::{Followed, Follower, Wal};

use super::catalog::{Catalog, FindKeys};
use super::decode::{FrameVisitor, LogDecoder};
use super::position::Position;
use super::progress::Progress;

/// A sample on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpooledSample {
    /// Id of its series. In a backfill it has the highest bit set, and means the same only to the spool it came from.
    pub series: u64,
    /// What [`shard_of`](super::shard_of) takes: the same for all samples with these labels.
    pub key: u32,
    /// When, and what.
    pub sample: Sample,
    /// Where it stands.
    pub position: Position,
}

/// Samples in the order of their positions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpoolBatch {
    /// Those that are not acknowledged.
    pub samples: Vec<SpooledSample>,
    /// Everything below has been read.
    pub end: Position,
}

impl SpoolBatch {
    /// Forgets the samples and keeps the memory.
    pub fn clear(&mut self) {
        self.samples.clear();
    }
}

/// Reads the log for one remote.
pub(crate) struct LogReader {
    follower: Follower,
    decoder: LogDecoder,
    progress: Progress,
    /// Of the frames behind this one nothing is acknowledged.
    last_touched: u64,
    catalog: Catalog,
    lost_frames: u64,
    lost_rows: u64,
}

impl LogReader {
    /// Returns a reader of what `progress` does not cover.
    pub(crate) fn new(wal: &Wal, progress: Progress) -> Self {
        let from = wal.decodable_from(progress.low_in_log().sequence());
        Self {
            follower: Follower::new(wal, from),
            decoder: LogDecoder::default(),
            last_touched: progress.last_touched(),
            progress,
            catalog: Catalog::default(),
            lost_frames: 0,
            lost_rows: 0,
        }
    }

    /// Returns the place before which everything has been read.
    pub(crate) fn position(&self) -> Position {
        Position::before(self.follower.sequence()).max(self.progress.low_in_log())
    }

    /// Adds samples to `batch` until it has `limit`, which a single commit may exceed, or nothing durable is left.
    /// Answers whether more is there now. `find_keys` adds the [keys](shard_key) of series that the log does not name on
    /// the way.
    ///
    /// # Errors
    ///
    /// The disk's, or what `find_keys` says; the next call goes on with the frame that could not be read.
    pub(crate) fn read(
        &mut self,
        wal: &Wal,
        limit: usize,
        find_keys: &mut FindKeys<'_>,
        batch: &mut SpoolBatch,
    ) -> Result<bool> {
        let found = self.read_frames(wal, limit, find_keys, batch);
        batch.end = self.position();
        found
    }

    fn read_frames(
        &mut self,
        wal: &Wal,
        limit: usize,
        find_keys: &mut FindKeys<'_>,
        batch: &mut SpoolBatch,
    ) -> Result<bool> {
        let low = self.progress.low_in_log().sequence();
        while batch.samples.len() < limit {
            match self.follower.next(wal)? {
                Followed::CaughtUp => return Ok(false),
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
                        self.catalog.age();
                    }
                    if let Err(error) = self.catalog.learn(body, find_keys) {
                        self.follower.return_to(sequence);
                        return Err(error);
                    }
                    let mut collector = Collector {
                        progress: &self.progress,
                        catalog: &self.catalog,
                        next: Position::before(sequence),
                        is_passed: sequence < low,
                        is_untouched: sequence > self.last_touched,
                        samples: &mut batch.samples,
                    };
                    let loss = self.decoder.read(body, &mut collector);
                    if !collector.is_passed {
                        self.lost_rows += loss.rows + loss.malformed;
                    }
                }
            }
        }
        Ok(true)
    }

    /// Takes the labels of a series that the log named since they were last taken.
    pub(crate) fn take_name(&mut self, series: u64) -> Option<Labels> {
        self.catalog.names.remove(&series)
    }

    /// Forgets the labels that nobody has taken.
    pub(crate) fn forget_names(&mut self) {
        self.catalog.names.clear();
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
    catalog: &'a Catalog,
    next: Position,
    /// The frame is acknowledged by all shards and only goes by.
    is_passed: bool,
    /// Nothing of the frame is acknowledged.
    is_untouched: bool,
    samples: &'a mut Vec<SpooledSample>,
}

impl FrameVisitor for Collector<'_> {
    fn key(&mut self, id: u64) -> u32 {
        self.catalog.key(id)
    }

    fn sample(&mut self, id: u64, key: u32, sample: Sample) {
        if self.is_passed {
            return;
        }
        let position = self.next;
        self.next = position.next();
        if self.is_untouched || !self.progress.covers(key, position) {
            self.samples.push(SpooledSample {
                series: id,
                key,
                sample,
                position,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::frame::{LoneSample, put_lone};
    use crate::ship::Keys;
    use crate::wal::tests::{append, disk, open};

    #[test]
    fn keys_that_cannot_be_found_stop_the_reader_where_it_is() {
        let fs = disk();
        let wal = open(&fs).unwrap();
        for round in 0..3_u64 {
            let samples = [round, 7].map(|id| LoneSample {
                id,
                timestamp: 1_000 + round as i64,
                value: 1.0,
            });
            let mut body = Vec::new();
            put_lone(&mut body, &samples);
            append(&wal, &body).unwrap();
        }
        wal.sync().unwrap();
        let mut reader = LogReader::new(&wal, Progress::new(Position::before(1), 2));
        let mut batch = SpoolBatch::default();
        for read in 1..=3 {
            let mut fail = |_: &[u64], _: &mut Keys| Err(Error::closed("disk"));
            reader
                .read(&wal, usize::MAX, &mut fail, &mut batch)
                .unwrap_err();
            assert_eq!(batch.samples.len(), (read - 1) * 2);
            let mut find = |ids: &[u64], keys: &mut Keys| {
                keys.extend(ids.iter().map(|&id| (id, id as u32 * 0x1000_0000)));
                Ok(())
            };
            // Each round has a series of its own, so each frame asks.
            assert!(reader.read(&wal, read * 2, &mut find, &mut batch).unwrap());
        }
        let ids: Vec<u64> = batch.samples.iter().map(|sample| sample.series).collect();
        assert_eq!(ids, [0, 7, 1, 7, 2, 7]);
        assert!(
            batch
                .samples
                .iter()
                .all(|sample| sample.key == sample.series as u32 * 0x1000_0000)
        );
    }
}
