//! The thread that reads the log and gives each shard what is its.
//!
//! Samples are collected part by part. A part that has a batch full is handed over by itself, so that it holds as many samples
//! of each of its series as there are; what is due earlier is handed over with what else the shard has.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::db::event::Event;
use crate::db::spool::Spool;
use crate::error::{ErrorKind, Result};
use crate::remote::{BatchBuilder, Preparer, UnsentReason};
use crate::ship::{Position, SpoolBatch, SpooledSample, shard_of};
use crate::time::Timestamp;

use super::lanes::Load;
use super::rate::Rate;
use super::series::{Known, SeriesTable};
use super::{Shared, now};

/// Reads the log for a sender until it is stopped.
pub(super) struct Reader {
    shared: Arc<Shared>,
    spool: Arc<Mutex<Spool>>,
    preparer: Preparer,
    /// What was read last, and how much of it the shards have.
    batch: SpoolBatch,
    taken: usize,
    /// The series of each of its samples.
    slots: Vec<u32>,
    series: SeriesTable,
    /// Series that are forgotten with their batch, as there were too many.
    passing: Vec<u32>,
    /// How many of them there may be before they are looked through, so that each is looked at a few times only.
    passing_max: usize,
    swept: Duration,
    pending: Vec<Pending>,
    newest: Timestamp,
    /// Samples up to this time may be added to what is pending.
    time_limit: Timestamp,
    rate: Rate,
}

/// What is collected of one part.
#[derive(Default)]
struct Pending {
    builder: BatchBuilder,
    /// Tells this batch from those before.
    batch: u64,
    /// When the first sample was added.
    since: Option<Duration>,
    /// Behind the last sample.
    end: Position,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, spool: Arc<Mutex<Spool>>) -> Self {
        let parts = shared.options.shards * shared.parts;
        let pending = |part: usize| Pending {
            // Batches of different parts have different numbers, so that a series never seems to be in another's.
            batch: part as u64 + 1,
            ..Pending::default()
        };
        Self {
            preparer: Preparer::new(&shared.options),
            rate: Rate::new(shared.options.samples_per_second),
            shared,
            spool,
            batch: SpoolBatch::default(),
            taken: 0,
            slots: Vec::new(),
            series: SeriesTable::default(),
            passing: Vec::new(),
            passing_max: 0,
            swept: now(),
            pending: (0..parts).map(pending).collect(),
            newest: Timestamp::MIN,
            time_limit: Timestamp::MIN,
        }
    }

    /// Reads until the sender is stopped or the database closed.
    pub(super) fn run(mut self) {
        let spool = Arc::clone(&self.spool);
        let mut spool = spool.lock();
        // What somebody has read before and not acknowledged is read again.
        if spool.rewind().is_err() {
            return;
        }
        let mut has_failed = false;
        while self.shared.lanes.wait_resumed() {
            match self.round(&mut spool) {
                Ok(true) => has_failed = false,
                Ok(false) => break,
                Err(error) if error.kind() == ErrorKind::Closed => break,
                Err(error) => {
                    if !std::mem::replace(&mut has_failed, true) {
                        self.shared.inner.emit(&Event::Failed {
                            message: format!("reading for {}: {error}", self.shared.remote),
                        });
                    }
                    if !self.shared.lanes.sleep(FAILED_WAIT) {
                        break;
                    }
                }
            }
        }
    }

    /// Reads once and hands over what is due. False if the sender is being stopped.
    fn round(&mut self, spool: &mut Spool) -> Result<bool> {
        let mut read = Ok(true);
        if self.taken == self.batch.samples.len() {
            self.batch.clear();
            self.taken = 0;
            // Samples may come even with an error, and are not read again.
            read = spool.read(READ_SAMPLES, &mut self.batch);
        }
        self.learn(spool)?;
        while let Some(sample) = self.batch.samples.get(self.taken).copied() {
            let slot = self.slots[self.taken];
            self.taken += 1;
            if !self.add(sample, slot) {
                return Ok(false);
            }
        }
        if !self.hand_over_due(matches!(read, Ok(false))) {
            return Ok(false);
        }
        let parts = self.pending.iter().enumerate();
        let empty = parts.filter(|(_, one)| one.builder.is_empty());
        let empty = empty.map(|(part, _)| part);
        self.shared.lanes.clear(empty, self.batch.end);
        if !self.sweep() {
            return Ok(false);
        }
        if read? {
            return Ok(true);
        }
        self.note_idle()?;
        spool.wait(self.time_to_wait());
        Ok(!self.shared.lanes.is_stopping())
    }

    /// Finds the series of all samples, and out what goes out for those that were not met before.
    fn learn(&mut self, spool: &mut Spool) -> Result<()> {
        let mut unknown = self.find_series();
        if unknown.is_empty() {
            return Ok(());
        }
        unknown.sort_unstable();
        unknown.dedup();
        let Self {
            series,
            passing,
            preparer,
            shared,
            ..
        } = self;
        spool.labels(&unknown, &mut |id, labels| {
            let prepared = match labels {
                Some(labels) => preparer.prepare(labels).map(Arc::new),
                None => Err(UnsentReason::Unnamed),
            };
            let slot = series.insert(id, prepared);
            if series.len() > shared.options.cached_series {
                series.slots[slot as usize].is_passing = true;
                passing.push(slot);
            }
        })?;
        self.find_series();
        Ok(())
    }

    /// Notes the slot of each sample's series. Returns those that have none.
    fn find_series(&mut self) -> Vec<u64> {
        let mut unknown = Vec::new();
        self.slots.clear();
        let mut next = 0;
        for sample in &self.batch.samples {
            let slot = match self.series.find(sample.series, next) {
                Some(slot) => slot,
                None => {
                    unknown.push(sample.series);
                    next
                }
            };
            self.slots.push(slot);
            next = slot.wrapping_add(1);
        }
        unknown
    }

    /// Adds a sample to what is pending of its part. False if the sender is being stopped.
    fn add(&mut self, spooled: SpooledSample, slot: u32) -> bool {
        let sample = spooled.sample;
        let spread = self.shared.time_spread_ms;
        if sample.timestamp > self.time_limit && !self.make_time(sample.timestamp) {
            return false;
        }
        // A late one may be as old as it likes: it says nothing about how far its shard is behind.
        let is_late = sample.timestamp < self.newest.saturating_sub(spread);
        if sample.timestamp > self.newest {
            self.newest = sample.timestamp;
            self.shared.counters.note_read(sample.timestamp);
        }
        let part = shard_of(spooled.key, self.pending.len());
        // A backfill has ids of its own: together, a series would be in the batch twice.
        let is_turn = self.pending[part].end.is_backfill() != spooled.position.is_backfill();
        if is_turn && !self.pending[part].builder.is_empty() && !self.hand_over_part(part) {
            return false;
        }
        let known = &mut self.series.slots[slot as usize];
        known.is_used = true;
        let prepared = match &known.prepared {
            Ok(prepared) => prepared,
            Err(reason) => {
                self.shared.counters.add_unsent(*reason, 1);
                return true;
            }
        };
        let pending = &mut self.pending[part];
        if known.batch != pending.batch {
            known.batch = pending.batch;
            known.number = pending.builder.add_series(prepared);
        }
        if pending.builder.is_empty() {
            pending.since = Some(now());
        }
        pending.builder.push(known.number, sample);
        pending.end = spooled.position.next();
        if !is_late {
            pending.builder.note_time(sample.timestamp);
            let limit = sample.timestamp.saturating_add(spread);
            self.time_limit = self.time_limit.min(limit);
        }
        let is_full = pending.builder.len() >= self.shared.options.batch_samples;
        !is_full || self.hand_over_part(part)
    }

    /// Waits until a sample of this time may be under way together with what is. False if the sender is being stopped.
    fn make_time(&mut self, timestamp: Timestamp) -> bool {
        let spread = self.shared.time_spread_ms;
        let bound = timestamp.saturating_sub(spread);
        let is_older = |one: &Pending| one.builder.oldest().is_some_and(|oldest| oldest < bound);
        if !self.hand_over_all(is_older) || !self.shared.lanes.wait_newer(bound) {
            return false;
        }
        let pending = self.pending.iter().filter_map(|one| one.builder.oldest());
        let oldest = pending.chain(self.shared.lanes.oldest()).min();
        self.time_limit = oldest.unwrap_or(timestamp).saturating_add(spread);
        true
    }

    /// Queues what is pending of a part. False if the sender is being stopped.
    fn hand_over_part(&mut self, part: usize) -> bool {
        let mut builder = self.begin_next(part);
        let ends = vec![(part, self.pending[part].end)];
        let is_running = self.push(part / self.shared.parts, &mut builder, ends);
        // The next one is as large, most likely.
        self.pending[part].builder = builder;
        is_running
    }

    /// Queues what shards have had for too long, or everything if somebody waits for it. False if the sender is being
    /// stopped.
    fn hand_over_due(&mut self, is_caught_up: bool) -> bool {
        let in_hurry = is_caught_up && self.shared.lanes.is_in_hurry();
        let mut deadline = self.shared.options.batch_deadline;
        if !is_caught_up {
            // There is more to come with which it makes fuller batches.
            deadline = deadline.saturating_mul(BEHIND_DEADLINES);
        }
        let now = now();
        let is_due = |one: &Pending| {
            let since = one.since;
            since.is_some_and(|since| in_hurry || now - since >= deadline)
        };
        for shard in 0..self.shared.options.shards {
            let any_is_due = self.parts_of(shard).any(|part| is_due(&self.pending[part]));
            if any_is_due && !self.hand_over(shard, |_| true) {
                return false;
            }
        }
        true
    }

    /// Queues what is wanted of what is pending for any shard. False if the sender is being stopped.
    fn hand_over_all(&mut self, is_wanted: impl Fn(&Pending) -> bool) -> bool {
        (0..self.shared.options.shards).all(|shard| self.hand_over(shard, &is_wanted))
    }

    /// Queues what is wanted of what is pending for a shard, in as few batches as it fits in. False if the sender is being
    /// stopped.
    fn hand_over(&mut self, shard: usize, is_wanted: impl Fn(&Pending) -> bool) -> bool {
        let mut gathered = BatchBuilder::default();
        let mut ends = Vec::new();
        for part in self.parts_of(shard) {
            let pending = &self.pending[part];
            if pending.builder.is_empty() || !is_wanted(pending) {
                continue;
            }
            let samples = gathered.len() + pending.builder.len();
            if samples > self.shared.options.batch_samples
                && !self.push(shard, &mut gathered, std::mem::take(&mut ends))
            {
                return false;
            }
            gathered.append(self.begin_next(part));
            ends.push((part, self.pending[part].end));
        }
        self.push(shard, &mut gathered, ends)
    }

    /// Queues a batch for a shard; nothing happens if it is empty. False if the sender is being stopped.
    fn push(
        &mut self,
        shard: usize,
        builder: &mut BatchBuilder,
        ends: Vec<(usize, Position)>,
    ) -> bool {
        if builder.is_empty() {
            return true;
        }
        let wait = self.rate.take(builder.len(), now());
        if !wait.is_zero() && !self.shared.lanes.sleep(wait) {
            return false;
        }
        self.shared.lanes.push(shard, Load::new(builder, ends))
    }

    /// Begins another batch of a part and returns the one before.
    fn begin_next(&mut self, part: usize) -> BatchBuilder {
        let parts = self.pending.len() as u64;
        let pending = &mut self.pending[part];
        pending.since = None;
        pending.batch += parts;
        std::mem::take(&mut pending.builder)
    }

    fn parts_of(&self, shard: usize) -> std::ops::Range<usize> {
        shard * self.shared.parts..(shard + 1) * self.shared.parts
    }

    /// Returns how long nothing is due. Short, as only a sync of the log ends the wait before.
    fn time_to_wait(&self) -> Duration {
        let deadline = self.shared.options.batch_deadline;
        let due = |since: Duration| deadline.saturating_sub(now() - since);
        let first = self
            .pending
            .iter()
            .filter_map(|one| one.since)
            .map(due)
            .min();
        first.map_or(WAIT_MAX, |first| first.min(WAIT_MAX))
    }

    /// Notes how far the parts have come if nothing is under way of any, so that the log is let go of. What is under way
    /// notes that when it is delivered, perhaps before the reader has said that the part has nothing more.
    fn note_idle(&mut self) -> Result<()> {
        let places = self.shared.lanes.idle_places();
        let low = places.iter().map(|(_, place)| *place).min();
        let all_idle = places.len() == self.pending.len();
        if all_idle && low > Some(self.shared.ack.progress().low()) {
            self.shared.ack.advance(&places)?;
        }
        Ok(())
    }

    /// Forgets series: those there was no room for, and now and then those that have no samples any more. False if the
    /// sender is being stopped.
    fn sweep(&mut self) -> bool {
        let texts_max = TEXTS_MAX.max(4 * self.shared.options.cached_series);
        if self.preparer.texts() > texts_max {
            // Numbers of texts begin anew, so no batch may have series of both times.
            if !self.hand_over_all(|_| true) {
                return false;
            }
            self.preparer.forget_texts();
            self.passing.clear();
            self.series = SeriesTable::default();
        }
        let parts = self.pending.len() as u64;
        let pending = &self.pending;
        // A series of a batch that is being collected must not be added to it again.
        let is_pending = |known: &Known| {
            known.batch > 0 && pending[((known.batch - 1) % parts) as usize].batch == known.batch
        };
        let series = &mut self.series;
        if self.passing.len() > self.passing_max {
            self.passing.retain(|&slot| {
                let stays = is_pending(&series.slots[slot as usize]);
                if !stays {
                    series.remove(slot);
                }
                stays
            });
            self.passing_max = 2 * self.passing.len();
        }
        if now() - self.swept >= SWEEP_INTERVAL {
            self.swept = now();
            for slot in 0..series.slots.len() as u32 {
                let known = &mut series.slots[slot as usize];
                let is_used = std::mem::take(&mut known.is_used);
                if !is_used && !is_pending(known) && !known.is_passing {
                    series.remove(slot);
                }
            }
        }
        true
    }
}

/// Samples read at once.
const READ_SAMPLES: usize = 20_000;

/// How many times longer than [`SenderOptions::batch_deadline`](crate::remote::SenderOptions::batch_deadline) samples wait
/// for a full batch while the reader is behind.
const BEHIND_DEADLINES: u32 = 10;

/// Wait after the log could not be read.
const FAILED_WAIT: Duration = Duration::from_secs(1);

/// Longest wait for something to read.
const WAIT_MAX: Duration = Duration::from_millis(100);

/// Time after which series without samples are forgotten; at most twice that.
const SWEEP_INTERVAL: Duration = Duration::from_secs(600);

/// Texts of labels that have numbers, at least, before they begin anew.
const TEXTS_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::db::sender::dead_letter::DeadLetters;
    use crate::db::sender::lanes::Lanes;
    use crate::db::spool::SpoolStart;
    use crate::db::{Background, Db, Options};
    use crate::fs::SimFs;
    use crate::remote::SenderOptions;
    use crate::remote::transport::{Request, Response, Transport, TransportError};

    struct Nobody;

    impl Transport for Nobody {
        fn send(&self, _: &Request<'_>) -> Result<Response, TransportError> {
            Err(TransportError::Connection("nobody".into()))
        }
    }

    /// Returns a reader whose only shard, of two parts, is the caller.
    fn reader(db: &Db) -> Reader {
        let spool = db.spool("far-away", SpoolStart::Now).unwrap();
        let ack = spool.ack();
        ack.reshard(2).unwrap();
        let counters = ack.counters();
        let fs = Arc::clone(&db.inner.options.fs);
        let shared = Shared {
            inner: Arc::clone(&db.inner),
            remote: "far-away".into(),
            options: SenderOptions {
                shards: 1,
                batch_samples: 10,
                batch_deadline: Duration::from_secs(3_600),
                ..SenderOptions::default()
            },
            parts: 2,
            time_spread_ms: 3_600_000,
            transport: Arc::new(Nobody),
            lanes: Lanes::new(1, 2, ack.progress().low(), Arc::clone(&counters)),
            ack,
            counters,
            dead_letters: DeadLetters::new(fs, "/db/spool".into(), "far-away", 1 << 20),
        };
        Reader::new(Arc::new(shared), Arc::new(Mutex::new(spool)))
    }

    /// A shard may be done before the reader says up to where it had everything.
    #[test]
    fn a_part_that_was_busy_when_the_others_were_noted_is_noted_later() {
        let options = Options::default()
            .with_fs(Arc::new(SimFs::new()))
            .with_background(Background::Manual);
        let db = Db::open(Path::new("/db"), options).unwrap();
        let mut reader = reader(&db);
        let spool = Arc::clone(&reader.spool);
        let mut spool = spool.lock();
        let labels = "up".parse().unwrap();
        for round in 0..15 {
            let mut appender = db.appender().unwrap();
            appender.append(&labels, round * 15_000, 1.0).unwrap();
            appender.commit().unwrap();
        }
        db.sync().unwrap();
        let shared = Arc::clone(&reader.shared);
        let deliver = || {
            let load = shared.lanes.take(0).unwrap();
            let places = shared.lanes.delivered(0, &load.ends);
            shared.ack.advance(&places).unwrap();
            load.batch.len()
        };
        assert!(reader.round(&mut spool).unwrap());
        assert_eq!(deliver(), 10);
        shared.lanes.hurry(true);
        assert!(reader.hand_over_due(true));
        assert_eq!(deliver(), 5);
        assert!(reader.round(&mut spool).unwrap());
        assert_eq!(shared.ack.progress().low(), reader.batch.end);
    }
}
