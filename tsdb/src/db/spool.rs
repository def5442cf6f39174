//! Samples wait in the log for remotes, within a budget.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::fs::names;
use crate::labels::Labels;
use crate::series::SeriesStore;
use crate::ship::{
    CursorFile, DropReason, LogReader, Position, Progress, Remembered, SHARDS_MAX, SpoolBatch,
    shard_key,
};
use crate::time::Timestamp;
use crate::wal::{SegmentInfo, Wal};

use super::Db;
use super::event::Event;
use super::inner::Inner;
use super::options::{Durability, to_ms};

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

/// Where a new remote begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpoolStart {
    /// With what is committed from now on.
    Now,
    /// With the oldest sample the log has.
    Oldest,
}

/// What is known of one remote.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpoolStatus {
    /// Its name.
    pub name: String,
    /// Everything below is acknowledged.
    pub acknowledged: Position,
    /// Sequence of the last commit; the difference is what waits.
    pub last_sequence: u64,
    /// Bytes of the log that it has not acknowledged, to a segment.
    pub pending_bytes: u64,
    /// Samples dropped so far because of the budget, by reason.
    pub dropped: [(DropReason, u64); DropReason::ALL.len()],
}

/// Reads what one remote has not acknowledged. Made by [`Db::spool`].
///
/// Samples come in the order of the log, and so in the order of time for each series except for those that were appended
/// out of order. Only what survives a power cut is read. What is read and not acknowledged before the handle is dropped
/// is read again by the next one.
#[derive(Debug)]
pub struct Spool {
    inner: Arc<Inner>,
    remote: Arc<Remote>,
    reader: Mutex<LogReader>,
    skips: u64,
}

/// Notes what a remote has acknowledged; any number of threads may share it.
#[derive(Debug, Clone)]
pub struct SpoolAck {
    inner: Arc<Inner>,
    remote: Arc<Remote>,
}

/// The remotes of a database.
#[derive(Debug, Default)]
pub(super) struct Remotes(Mutex<BTreeMap<String, Arc<Remote>>>);

#[derive(Debug)]
struct Remote {
    name: String,
    state: Mutex<State>,
    /// Taken before `state`, and held while the file is written.
    file: Mutex<File>,
    is_open: AtomicBool,
}

#[derive(Debug)]
struct State {
    remembered: Remembered,
    /// Counts changes of what is remembered.
    changes: u64,
    /// Counts how often the budget moved the place on.
    skips: u64,
    is_removed: bool,
}

#[derive(Debug)]
struct File {
    cursor: CursorFile,
    /// Changes that are durable.
    written: u64,
}

impl Db {
    /// Returns the spool of the remote called `name`, which is 1 to 64 of `a-z A-Z 0-9 _ -`. A new one begins at `start`; one
    /// that is known goes on where it was, and log is kept for it from the first call on, also while it is not open.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::error::ErrorKind::Invalid) for a bad name;
    /// [`ErrorKind::Locked`](crate::error::ErrorKind::Locked) if the remote's spool is open already; the disk's faults.
    pub fn spool(&self, name: &str, start: SpoolStart) -> Result<Spool> {
        let inner = &self.inner;
        inner.check_open()?;
        let wal = inner.writer()?;
        let remote = inner.remote(name, start)?;
        if remote.is_open.swap(true, Ordering::AcqRel) {
            return Err(Error::locked(inner.dir.join(names::SPOOL).join(name)));
        }
        let (progress, skips) = {
            let state = remote.state.lock();
            (state.remembered.progress.clone(), state.skips)
        };
        Ok(Spool {
            reader: Mutex::new(LogReader::new(wal, progress)),
            inner: Arc::clone(inner),
            remote,
            skips,
        })
    }

    /// Forgets a remote; nothing is kept for it any more. Answers whether it was known.
    pub fn remove_spool(&self, name: &str) -> Result<bool> {
        let inner = &self.inner;
        inner.writer()?;
        let Some(remote) = inner.remotes.0.lock().remove(name) else {
            return Ok(false);
        };
        let file = remote.file.lock();
        remote.state.lock().is_removed = true;
        let dir = inner.dir.join(names::SPOOL);
        let fs = &*inner.options.fs;
        let path = dir.join(name);
        fs.remove_file(&path)
            .map_err(|error| Error::io("remove", &path, error))?;
        drop(file);
        fs.sync_dir(&dir)
            .map_err(|error| Error::io("sync", &dir, error))?;
        Ok(true)
    }

    /// Returns what is known of each remote, by name.
    pub fn spools(&self) -> Vec<SpoolStatus> {
        let Some(wal) = &self.inner.wal else {
            return Vec::new();
        };
        let remotes = self.inner.remotes.all();
        remotes.iter().map(|remote| remote.status(wal)).collect()
    }
}

impl Spool {
    /// Adds samples to `batch` until it has about `limit`, a commit more or less, or nothing durable is left. Answers
    /// whether more is there now. With [`Durability::Os`] the log is synced first.
    ///
    /// # Errors
    ///
    /// The disk's; the next call goes on where this one stopped.
    pub fn read(&mut self, limit: usize, batch: &mut SpoolBatch) -> Result<bool> {
        self.inner.check_open()?;
        let wal = self.inner.writer()?;
        if self.inner.options.durability == Durability::Os {
            wal.sync()?;
        }
        let reader = self.reader.get_mut();
        {
            let state = self.remote.state.lock();
            if state.skips != self.skips {
                self.skips = state.skips;
                let place = reader.position();
                if place < state.remembered.progress.low() {
                    *reader = LogReader::new(wal, state.remembered.progress.clone());
                }
            }
        }
        let inner = &self.inner;
        reader.read(wal, limit, &mut |id, keys| inner.find_keys(id, keys), batch)
    }

    /// Waits until there is something to read, or a sync has ended without it, at most for `timeout`. Answers whether there
    /// is.
    pub fn wait(&self, timeout: Duration) -> bool {
        let Some(wal) = &self.inner.wal else {
            return false;
        };
        let next = self.reader.lock().position().sequence;
        wal.wait_durable(next, timeout)
    }

    /// Calls `visit` with the labels of each of these series; `None` for one whose definition is lost to damage. Labels
    /// of series that left the head are read from the disk, for all of them at once: ask for many, and keep the answer.
    pub fn labels(
        &self,
        series: &[u64],
        visit: &mut dyn FnMut(u64, Option<&Labels>),
    ) -> Result<()> {
        let mut missing = HashSet::new();
        {
            let mut reader = self.reader.lock();
            for &id in series {
                match reader.take_name(id) {
                    Some(labels) => visit(id, Some(&labels)),
                    None => match self.inner.head.definitions(&[id]).next() {
                        Some((_, labels)) => visit(id, Some(&labels)),
                        None => drop(missing.insert(id)),
                    },
                }
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let found = self.inner.stored_definitions(&missing)?;
        for &id in series.iter().filter(|id| missing.contains(id)) {
            visit(id, found.get(&id));
        }
        Ok(())
    }

    /// Returns what to tell acknowledgements to.
    pub fn ack(&self) -> SpoolAck {
        SpoolAck {
            inner: Arc::clone(&self.inner),
            remote: Arc::clone(&self.remote),
        }
    }

    /// Returns the place before which everything has been read.
    pub fn position(&self) -> Position {
        self.reader.lock().position()
    }

    /// Returns how many frames of the log are lost to damage since the spool was opened, and how many rows could not be
    /// decoded for want of them.
    pub fn losses(&self) -> (u64, u64) {
        self.reader.lock().losses()
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.remote.is_open.store(false, Ordering::Release);
    }
}

impl SpoolAck {
    /// Returns how many shards the remote's progress has; see [`shard_of`](crate::shard_of).
    pub fn shards(&self) -> usize {
        self.remote.state.lock().remembered.progress.shards()
    }

    /// Changes the number of shards. What is acknowledged stays so. Not while something is on its way: a sample that is
    /// sent under the old number and acknowledged under the new one may count for another shard.
    pub fn reshard(&self, shards: usize) -> Result<()> {
        if shards == 0 || shards > SHARDS_MAX {
            return Err(Error::invalid(format!(
                "{shards} shards of 1 to {SHARDS_MAX}"
            )));
        }
        self.change(|progress| progress.reshard(shards))
    }

    /// Notes that a shard's samples below a place are acknowledged, for each shard given, and returns when that survives a
    /// power cut. Callers at the same time share one write.
    ///
    /// # Errors
    ///
    /// The disk's. What was acknowledged counts all the same while the process lives, and is written with the next call.
    pub fn advance(&self, places: &[(usize, Position)]) -> Result<()> {
        self.change(|progress| {
            for &(shard, position) in places {
                if shard < progress.shards() {
                    progress.advance(shard, position);
                }
            }
        })
    }

    /// Returns which samples are acknowledged.
    pub fn progress(&self) -> Progress {
        self.remote.state.lock().remembered.progress.clone()
    }

    fn change(&self, change: impl FnOnce(&mut Progress)) -> Result<()> {
        self.inner.check_open()?;
        let mine = {
            let mut state = self.remote.state.lock();
            change(&mut state.remembered.progress);
            state.changes += 1;
            state.changes
        };
        self.remote.write(mine)
    }
}

impl Remote {
    /// Makes everything remembered durable, unless somebody has done so since the change numbered `wanted`.
    fn write(&self, wanted: u64) -> Result<()> {
        let mut file = self.file.lock();
        if file.written >= wanted {
            return Ok(());
        }
        let (remembered, changes) = {
            let state = self.state.lock();
            if state.is_removed {
                return Err(Error::closed("remote"));
            }
            (state.remembered.clone(), state.changes)
        };
        file.cursor.write(&remembered)?;
        file.written = changes;
        Ok(())
    }

    fn status(&self, wal: &Wal) -> SpoolStatus {
        let state = self.state.lock();
        let acknowledged = state.remembered.progress.low();
        let dropped = state.remembered.dropped;
        drop(state);
        let segments = wal.segments();
        let pending = segments
            .iter()
            .filter(|info| info.last_sequence >= acknowledged.sequence.max(info.first_sequence));
        SpoolStatus {
            name: self.name.clone(),
            acknowledged,
            last_sequence: wal.last_sequence(),
            pending_bytes: pending.map(|info| info.bytes).sum(),
            dropped: std::array::from_fn(|at| (DropReason::ALL[at], dropped[at])),
        }
    }
}

impl Remotes {
    fn all(&self) -> Vec<Arc<Remote>> {
        self.0.lock().values().cloned().collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}

impl Inner {
    /// Finds the remotes the directory knows. One whose file says nothing begins with the oldest sample: to send twice is
    /// better than to lose.
    pub(super) fn load_remotes(&self) -> Result<()> {
        let Some(wal) = &self.wal else {
            return Ok(());
        };
        let dir = self.dir.join(names::SPOOL);
        let fs = &self.options.fs;
        let entries = fs
            .read_dir(&dir)
            .map_err(|error| Error::io("list", &dir, error))?;
        for entry in entries {
            if entry.is_dir || !names::is_remote(&entry.name) {
                continue;
            }
            let path = dir.join(&entry.name);
            let remembered = match CursorFile::read(&**fs, &path)? {
                Some(remembered) => remembered,
                None => {
                    self.counters.damaged_units.fetch_add(1, Ordering::Relaxed);
                    self.emit(&Event::Damaged {
                        message: format!("{} remembers nothing", path.display()),
                    });
                    begin(oldest(wal))
                }
            };
            self.add_remote(entry.name, remembered)?;
        }
        Ok(())
    }

    fn remote(&self, name: &str, start: SpoolStart) -> Result<Arc<Remote>> {
        if !names::is_remote(name) {
            return Err(Error::invalid(format!("{name:?} is no name for a remote")));
        }
        // Held until the new remote is there: no checkpoint may cut what it begins with.
        let _flushing = self.flushing.lock();
        if let Some(remote) = self.remotes.0.lock().get(name) {
            return Ok(Arc::clone(remote));
        }
        let wal = self.writer()?;
        let position = match start {
            SpoolStart::Now => Position::before(wal.last_sequence() + 1),
            SpoolStart::Oldest => oldest(wal),
        };
        self.add_remote(name.to_owned(), begin(position))
    }

    fn add_remote(&self, name: String, remembered: Remembered) -> Result<Arc<Remote>> {
        let path = self.dir.join(names::SPOOL).join(&name);
        let cursor = CursorFile::create(Arc::clone(&self.options.fs), path, &remembered)?;
        let remote = Arc::new(Remote {
            name: name.clone(),
            state: Mutex::new(State {
                remembered,
                changes: 0,
                skips: 0,
                is_removed: false,
            }),
            file: Mutex::new(File { cursor, written: 0 }),
            is_open: AtomicBool::new(false),
        });
        self.remotes.0.lock().insert(name, Arc::clone(&remote));
        Ok(remote)
    }

    /// Returns the oldest segment that a remote needs, at most `segment`.
    pub(super) fn segment_kept(&self, wal: &Wal, segment: u64) -> u64 {
        let low = self
            .remotes
            .all()
            .iter()
            .map(|remote| remote.state.lock().remembered.progress.low().sequence)
            .min();
        low.map_or(segment, |low| segment.min(wal.segment_of(low)))
    }

    /// Drops the oldest segments that are kept for remotes alone while there are more than the budget allows; the log up
    /// to `checkpoint` is.
    pub(super) fn keep_spool_budget(&self, wal: &Wal, checkpoint: u64) -> Result<()> {
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
    pub(super) fn note_closed_segments(&self, wal: &Wal) {
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
        let place = Position::before(next);
        if progress.low() >= place {
            return Ok(());
        }
        let mut dropped = 0;
        read_between(self, wal, progress, next, |batch| {
            dropped += batch.samples.len() as u64;
        })?;
        let mine = {
            let mut state = remote.state.lock();
            state.remembered.progress.skip_to(place);
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

    /// Adds the key of a series. If the head does not know it, all of the series store is read, and all keys there added: a
    /// remote that is far behind asks for many.
    fn find_keys(&self, id: u64, keys: &mut HashMap<u64, u32>) {
        if let Some((_, labels)) = self.head.definitions(&[id]).next() {
            keys.insert(id, shard_key(&labels));
            return;
        }
        let dir = self.dir.join(names::SERIES);
        let read = SeriesStore::read(Arc::clone(&self.options.fs), &dir, |definition| {
            if let Ok(labels) = Labels::from_pairs(definition.pairs()) {
                keys.entry(definition.id())
                    .or_insert_with(|| shard_key(&labels));
            }
        });
        // What could not be read is asked for again with the labels, and the error told there.
        drop(read);
    }

    /// Returns the definitions of series that are in the series store and perhaps nowhere else.
    pub(super) fn stored_definitions(&self, wanted: &HashSet<u64>) -> Result<HashMap<u64, Labels>> {
        let dir = self.dir.join(names::SERIES);
        let mut tries = 0;
        loop {
            let mut found = HashMap::new();
            let read = SeriesStore::read(Arc::clone(&self.options.fs), &dir, |definition| {
                if wanted.contains(&definition.id())
                    && let Ok(labels) = Labels::from_pairs(definition.pairs())
                {
                    found.insert(definition.id(), labels);
                }
            });
            match read {
                Ok(_) => return Ok(found),
                // The store is being rewritten.
                Err(error)
                    if error.io_kind() == Some(std::io::ErrorKind::NotFound)
                        && tries < READ_TRIES =>
                {
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns the series that the log kept for remotes names and the head does not know.
    pub(super) fn series_of_spool(&self, wal: &Wal) -> Result<HashSet<u64>> {
        let mut named = HashSet::new();
        if self.remotes.is_empty() {
            return Ok(named);
        }
        let first = oldest(wal);
        let next = wal.synced_sequence() + 1;
        read_between(self, wal, Progress::new(first, 1), next, |batch| {
            named.extend(batch.samples.iter().map(|spooled| spooled.series));
        })?;
        named.retain(|&id| self.head.definitions(&[id]).next().is_none());
        Ok(named)
    }
}

/// Gives what `progress` does not cover, up to the frame `next`, to `visit`.
fn read_between(
    inner: &Inner,
    wal: &Wal,
    progress: Progress,
    next: u64,
    mut visit: impl FnMut(&SpoolBatch),
) -> Result<()> {
    let mut reader = LogReader::new(wal, progress);
    let mut batch = SpoolBatch::default();
    let mut more = true;
    while more && reader.position() < Position::before(next) {
        batch.clear();
        more = reader.read(
            wal,
            READ_SAMPLES,
            &mut |id, keys| inner.find_keys(id, keys),
            &mut batch,
        )?;
        batch
            .samples
            .retain(|spooled| spooled.position.sequence < next);
        visit(&batch);
    }
    Ok(())
}

fn begin(position: Position) -> Remembered {
    Remembered {
        progress: Progress::new(position, 1),
        dropped: Default::default(),
    }
}

/// Returns the first place of the log.
fn oldest(wal: &Wal) -> Position {
    let segments = wal.segments();
    Position::before(segments.first().map_or(1, |info| info.first_sequence))
}

/// Samples read at once where only their number matters.
const READ_SAMPLES: usize = 100_000;

/// Attempts to read the series store while it is rewritten.
const READ_TRIES: usize = 5;
