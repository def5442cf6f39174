//! Samples wait in the log for remotes, within a budget.
//!
//! [`remotes`] keeps what is durable of each remote, [`backfill`] reads what is older than a remote, [`retired`] counts what
//! retention takes of it, [`budget`] lets go of log that nobody needs or nobody may keep, [`names`] finds the labels of
//! series that are in the log and perhaps no longer in the head, [`metrics`] counts.

mod backfill;
mod budget;
mod metrics;
mod names;
mod remotes;
mod retired;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::fs;
use crate::labels::Labels;
use crate::ship::{DropReason, LogReader, Position, Progress, SHARDS_MAX, SpoolBatch};

use super::Db;
use super::inner::Inner;
use super::options::Durability;
#[cfg(feature = "remote-write")]
use super::sender::Counters;
use crate::time::{TimeRange, Timestamp};
use crate::wal::Wal;
use backfill::{Backfill, is_own_id};
use remotes::Remote;

pub use budget::SpoolBudget;
pub(super) use metrics::visit_metrics;
#[cfg(feature = "remote-write")]
pub(super) use metrics::{Described, visit_each};
pub(super) use remotes::Remotes;

/// Where a new remote begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpoolStart {
    /// With what is committed from now on.
    Now,
    /// With the oldest sample the log has.
    Oldest,
    /// With everything stored now that is as new as this, then with what is committed from now on: a backfill. It comes in
    /// the order of time from blocks and head, so that each series is in order, and the log is kept meanwhile. What a
    /// deletion, retention or damage takes before it was read is not sent; what retention takes is counted
    /// ([`DropReason::Retention`]). Without anything that new it is [`Self::Now`].
    At(Timestamp),
}

/// What is known of one remote.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpoolStatus {
    /// Its name.
    pub name: String,
    /// Everything below is acknowledged.
    pub acknowledged: Position,
    /// What is left of the backfill of a remote that started at a time.
    pub backfill: Option<TimeRange>,
    /// Sequence of the last commit; the difference is what waits.
    pub last_sequence: u64,
    /// Bytes of the log that it has not acknowledged, to a segment.
    pub pending_bytes: u64,
    /// Samples dropped so far before they were acknowledged, by reason. Those that were under way may arrive all the same.
    pub dropped: [(DropReason, u64); DropReason::ALL.len()],
    /// Frames of the log that were lost to damage before they were read for it, since the database was opened.
    pub lost_frames: u64,
    /// Rows that could not be decoded for want of them.
    pub lost_rows: u64,
}

/// Reads what one remote has not acknowledged. Made by [`Db::spool`].
///
/// Samples come in the order of the log, and so in the order of time for each series except for those that were appended
/// out of order. A backfill comes first, in the order of time. Only what survives a power cut is read. What is read and not acknowledged before the handle is dropped
/// is read again by the next one.
#[derive(Debug)]
pub struct Spool {
    inner: Arc<Inner>,
    remote: Arc<Remote>,
    /// What comes before the log, and what its series are called.
    backfill: Option<Backfill>,
    reader: LogReader,
    skips: u64,
}

/// Notes what a remote has acknowledged; any number of threads may share it.
#[derive(Debug, Clone)]
pub struct SpoolAck {
    inner: Arc<Inner>,
    remote: Arc<Remote>,
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
            return Err(Error::locked(inner.dir.join(fs::names::SPOOL).join(name)));
        }
        let (progress, skips) = {
            let state = remote.state.lock();
            (state.remembered.progress.clone(), state.skips)
        };
        Ok(Spool {
            backfill: Backfill::new(wal, progress.clone()),
            reader: LogReader::new(wal, progress),
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
        let dir = inner.dir.join(fs::names::SPOOL);
        let fs = &*inner.options.fs;
        let others = [
            fs::names::dead_letters(name),
            fs::names::old_dead_letters(name),
        ];
        for file in [name].into_iter().chain(others.iter().map(String::as_str)) {
            let path = dir.join(file);
            match fs.remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io("remove", &path, error));
                }
                _ => {}
            }
        }
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
        let inner = Arc::clone(&self.inner);
        inner.check_open()?;
        let wal = inner.writer()?;
        if inner.options.durability == Durability::Os {
            wal.sync()?;
        }
        self.follow_budget(wal);
        if let Some(backfill) = &mut self.backfill {
            if !backfill.is_done() {
                backfill.read(&inner, wal, limit, batch)?;
                return Ok(true);
            }
            backfill.release();
        }
        let find_keys = &mut |ids: &[u64], keys: &mut _| inner.find_keys(ids, keys);
        let before = self.reader.losses();
        let read = self.reader.read(wal, limit, find_keys, batch);
        let losses = self.reader.losses();
        self.remote
            .count_lost(losses.0 - before.0, losses.1 - before.1);
        read
    }

    /// Goes on where the log begins for the remote, if the budget has dropped what would come next.
    fn follow_budget(&mut self, wal: &Wal) {
        let state = self.remote.state.lock();
        let progress = &state.remembered.progress;
        if state.skips != self.skips && self.reader.position() < progress.low_in_log() {
            self.skips = state.skips;
            self.reader = LogReader::new(wal, progress.clone());
        }
    }

    /// Goes back to the first sample that is not acknowledged.
    ///
    /// # Errors
    ///
    /// The database was opened read-only.
    pub fn rewind(&mut self) -> Result<()> {
        let wal = self.inner.writer()?;
        let state = self.remote.state.lock();
        self.skips = state.skips;
        let progress = &state.remembered.progress;
        self.backfill = Backfill::new(wal, progress.clone());
        self.reader = LogReader::new(wal, progress.clone());
        Ok(())
    }

    /// Waits until there is something to read, or a sync has ended without it, at most for `timeout`. Answers whether there
    /// is.
    pub fn wait(&self, timeout: Duration) -> bool {
        let Some(wal) = &self.inner.wal else {
            return false;
        };
        if self.backfill.as_ref().is_some_and(|one| !one.is_done()) {
            return true;
        }
        let next = self.reader.position().sequence();
        wal.wait_durable(next, timeout)
    }

    /// Calls `visit` with the labels of each of these series; `None` for one whose definition is lost to damage. Labels
    /// of series that left the head are read from the disk, for all of them at once: ask for many, and keep the answer.
    pub fn labels(
        &mut self,
        series: &[u64],
        visit: &mut dyn FnMut(u64, Option<&Labels>),
    ) -> Result<()> {
        let (own, logged): (Vec<u64>, Vec<u64>) = series.iter().partition(|id| is_own_id(**id));
        if let Some(backfill) = &mut self.backfill {
            backfill.labels(&self.inner, &own, visit)?;
        } else {
            own.iter().for_each(|&id| visit(id, None));
        }
        self.inner.series_labels(&mut self.reader, &logged, visit)
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
        match &self.backfill {
            Some(backfill) if !backfill.is_done() => backfill.position(),
            _ => self.reader.position(),
        }
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
        Self::check_shards(shards)?;
        self.change(|progress| progress.reshard(shards))
    }

    pub(super) fn check_shards(shards: usize) -> Result<()> {
        if shards == 0 || shards > SHARDS_MAX {
            return Err(Error::invalid(format!(
                "{shards} shards of 1 to {SHARDS_MAX}"
            )));
        }
        Ok(())
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

    /// Returns what senders to this remote count.
    #[cfg(feature = "remote-write")]
    pub(in crate::db) fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.remote.counters)
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
