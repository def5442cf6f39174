//! What may happen to a database, drawn from a seed.

use crate::labels::Labels;
use crate::sample::stale_marker;
use crate::time::{TimeRange, Timestamp};

use super::random::Random;

/// One thing that happens. Series are indexes into [`Life::series`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// A commit; all of it for one target if there is one.
    Commit {
        /// In the order of appending.
        samples: Vec<StagedSample>,
        /// Which target.
        target: Option<usize>,
    },
    /// Samples are staged and given up.
    Rollback(Vec<StagedSample>),
    /// A span of time of one series, or of all.
    Delete(TimeRange, Option<usize>),
    /// Everything into blocks.
    Flush,
    /// What the flush lane does at a turn.
    StepFlush,
    /// Merges and retention.
    Compact,
    /// The head durable without the log.
    Checkpoint,
    /// The log synced.
    Sync,
    /// Dropped or closed, and opened again.
    Reopen {
        /// Closed in order.
        is_closed: bool,
    },
    /// The power goes during the operation before; the numbers choose the moment and what is left.
    Crash(u64, u64),
    /// The clock moves, perhaps back.
    Advance(i64),
    /// A copy that is opened.
    Snapshot,
}

/// A sample to append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StagedSample {
    /// Which series.
    pub series: usize,
    /// When.
    pub timestamp: Timestamp,
    /// The value's bits.
    pub bits: u64,
}

/// Draws operations: four targets of different size whose members come and go, and series of no target.
#[derive(Debug)]
pub struct Life {
    random: Random,
    now: Timestamp,
    series: Vec<Labels>,
    groups: Vec<Vec<usize>>,
    counters: Vec<i64>,
    /// A commit to send again.
    remembered: Vec<StagedSample>,
}

/// How many series each target starts with; the last is too small to be a group by itself.
const GROUP_SIZES: [usize; 4] = [24, 18, 17, 5];

/// Series that join targets, or are appended alone.
const LOOSE: usize = 12;

/// Time between two operations.
const TICK_MS: i64 = 5_000;

impl Life {
    /// Returns the life of a seed, beginning at `now`.
    pub fn new(seed: u64, now: Timestamp) -> Self {
        let count = GROUP_SIZES.iter().sum::<usize>() + LOOSE;
        let labels = |index: usize| {
            let (metric, number) = (format!("metric_{}", index % 7), index.to_string());
            Labels::from_pairs([("__name__", metric.as_str()), ("number", number.as_str())])
                .expect("two short labels")
        };
        let mut groups = Vec::new();
        let mut next = 0;
        for size in GROUP_SIZES {
            groups.push((next..next + size).collect());
            next += size;
        }
        Self {
            random: Random::new(seed),
            now,
            series: (0..count).map(labels).collect(),
            groups,
            counters: vec![0; count],
            remembered: Vec::new(),
        }
    }

    /// Returns the labels of all series.
    pub fn series(&self) -> &[Labels] {
        &self.series
    }

    /// Returns the time of the clock.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Draws the next operation.
    pub fn operation(&mut self) -> Operation {
        match self.random.below(100) {
            0 => Operation::Flush,
            1..=4 => Operation::StepFlush,
            5 | 6 => Operation::Compact,
            7 | 8 => Operation::Checkpoint,
            9 | 10 => Operation::Sync,
            11 | 12 => Operation::Reopen {
                is_closed: self.random.one_in(2),
            },
            13..=16 => Operation::Crash(self.random.bits(), self.random.bits()),
            17 => self.clock_step(),
            18 => Operation::Snapshot,
            19 | 20 => self.delete(),
            21 => Operation::Rollback(self.scrape(self.now)),
            22..=33 => self.alone(),
            34..=38 => self.again(),
            39..=43 => self.several(),
            _ => {
                self.now += TICK_MS;
                let group = self.random.below(self.groups.len() as u64) as usize;
                let samples = self.scrape_of(group, self.now);
                self.remembered.clone_from(&samples);
                let target = (group % 2 == 1 && !self.random.one_in(8)).then_some(group);
                Operation::Commit { samples, target }
            }
        }
    }

    fn clock_step(&mut self) -> Operation {
        let step = match self.random.below(4) {
            0 => -120_000,
            1 => 3_600_000,
            _ => 600_000,
        };
        self.now += step;
        Operation::Advance(step)
    }

    fn delete(&mut self) -> Operation {
        let start = self.now - self.random.below(1_200_000) as i64;
        let range = TimeRange::new(start, start + 1 + self.random.below(400_000) as i64);
        let one = self.random.below(self.series.len() as u64) as usize;
        Operation::Delete(range, (!self.random.one_in(3)).then_some(one))
    }

    fn scrape(&mut self, timestamp: Timestamp) -> Vec<StagedSample> {
        let group = self.random.below(self.groups.len() as u64) as usize;
        self.scrape_of(group, timestamp)
    }

    fn scrape_of(&mut self, group: usize, timestamp: Timestamp) -> Vec<StagedSample> {
        self.change_members(group);
        let is_stale = self.random.one_in(25);
        // Nearly always everything; sometimes a few are missing, sometimes nearly all.
        let absent_of_eight = match self.random.below(12) {
            0 | 1 => 1,
            2 => 7,
            _ => 0,
        };
        let members = self.groups[group].clone();
        let mut samples = Vec::new();
        for series in members {
            if self.random.below(8) >= absent_of_eight {
                let bits = if is_stale {
                    stale_marker().to_bits()
                } else {
                    self.value(series)
                };
                samples.push(StagedSample {
                    series,
                    timestamp,
                    bits,
                });
            }
        }
        samples
    }

    fn change_members(&mut self, group: usize) {
        let count = self.series.len() as u64;
        match self.random.below(24) {
            0 => {
                let leaver = self.random.below(self.groups[group].len() as u64) as usize;
                if self.groups[group].len() > 3 {
                    self.groups[group].remove(leaver);
                }
            }
            1 => {
                let joiner = self.random.below(count) as usize;
                if self.groups.iter().all(|members| !members.contains(&joiner)) {
                    self.groups[group].push(joiner);
                }
            }
            2 => self.groups[group].reverse(),
            3 if self.random.one_in(4) => {
                // A new version of the target: half of its series are others from now on.
                let others = (self.random.below(2) as usize * GROUP_SIZES[0]) % self.series.len();
                let keep = self.groups[group].len() / 2;
                let taken: Vec<usize> = self.groups.concat();
                self.groups[group].truncate(keep.max(2));
                let free = (0..self.series.len()).map(|index| (index + others) % self.series.len());
                let free: Vec<usize> = free
                    .filter(|index| !taken.contains(index))
                    .take(keep)
                    .collect();
                self.groups[group].extend(free);
            }
            _ => {}
        }
    }

    fn value(&mut self, series: usize) -> u64 {
        self.counters[series] += self.random.below(50) as i64;
        let counter = self.counters[series] as f64;
        let value = match series % 8 {
            0..=2 => counter,
            3 => counter / 10.0,
            4 => 1.0,
            5 => self.random.bits() as f64 / 3.0,
            6 => return self.random.bits(),
            _ => match self.random.below(8) {
                0 => f64::INFINITY,
                1 => -0.0,
                2 => f64::NEG_INFINITY,
                3 => f64::NAN,
                4 => f64::MIN_POSITIVE / 2.0,
                5 => 1e300,
                6 => stale_marker(),
                _ => 0.1 + 0.2,
            },
        };
        value.to_bits()
    }

    /// One to six samples of any series at any time near now.
    fn alone(&mut self) -> Operation {
        let mut samples = Vec::new();
        for _ in 0..=self.random.below(6) {
            let series = self.random.below(self.series.len() as u64) as usize;
            let timestamp = match self.random.below(10) {
                0..=5 => self.now - self.random.below(500_000) as i64,
                6 => self.now + 1_000_000,
                7 => self.now - self.random.below(5_000_000) as i64,
                _ => self.now,
            };
            samples.push(StagedSample {
                series,
                timestamp,
                bits: self.value(series),
            });
        }
        Operation::Commit {
            samples,
            target: None,
        }
    }

    /// The last scrape again, perhaps with other values, perhaps in another order.
    fn again(&mut self) -> Operation {
        let mut samples = self.remembered.clone();
        match self.random.below(4) {
            0 => samples
                .iter_mut()
                .step_by(3)
                .for_each(|sample| sample.bits ^= 1),
            1 => samples.reverse(),
            2 => samples.extend_from_within(..),
            _ => samples
                .iter_mut()
                .for_each(|sample| sample.timestamp -= 1_000),
        }
        Operation::Commit {
            samples,
            target: None,
        }
    }

    /// Two targets at up to three timestamps in one commit, not in order.
    fn several(&mut self) -> Operation {
        self.now += TICK_MS;
        let mut samples = Vec::new();
        for _ in 0..=self.random.below(3) {
            let timestamp = self.now - 1_000 * self.random.below(3) as i64;
            samples.extend(self.scrape(timestamp));
        }
        Operation::Commit {
            samples,
            target: None,
        }
    }
}
