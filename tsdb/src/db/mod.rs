//! One open database: the roof that introduces the parts below to each other.
//!
//! Lower modules return what they did and met; here it becomes events and counters. Only here threads start.

mod appender;
mod delete;
mod event;
mod flush;
mod inner;
mod inspect;
mod maintenance;
mod merge;
mod metrics;
mod open;
mod options;
#[cfg(feature = "remote-write")]
mod receive;
#[cfg(feature = "remote-write")]
mod sender;
mod spool;
mod stats;
mod verify;
mod view;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::{Error, Result};
use crate::fs::names;
use crate::labels::Matcher;
use crate::query::Querier;
use crate::time::TimeRange;

pub use appender::{Appender, Commit, SeriesRef, Target};
pub use event::{Event, EventListener};
pub use flush::FlushReport;
pub use inspect::{LogReport, LogSectionKind, LogSections, LogSegment, LogTear, inspect_log};
pub use maintenance::Task;
pub use merge::CompactReport;
pub use metrics::{Metric, MetricKind, write_metrics};
pub use options::{
    BLOCK_RANGE_MAX, Background, DEFAULT_BLOCK_RANGE, DEFAULT_CHECKPOINT_INTERVAL,
    DEFAULT_OUT_OF_ORDER_WINDOW, DEFAULT_RETENTION, DEFAULT_SEGMENT_BYTES, DEFAULT_SYNC_INTERVAL,
    Durability, Options, ReplayProgress,
};
#[cfg(feature = "remote-write")]
pub use sender::{Sender, SenderStatus};
pub use spool::{Spool, SpoolAck, SpoolBudget, SpoolStart, SpoolStatus};
pub use stats::{BlockStats, MemoryStats, Mode, Stats};
pub use verify::{VerifyDepth, VerifyReport};

use inner::Inner;
use maintenance::Threads;
use open::Access;

/// An open database. Clones are handles of the same one; the last to go ends the background threads.
///
/// Dropping it without [`Db::close`] is what a crash of the process would be: nothing acknowledged is lost, and the next
/// open replays a little more.
#[derive(Debug, Clone)]
pub struct Db {
    inner: Arc<Inner>,
    /// Ends the threads with the last handle; none with [`Background::Manual`] or when opened read-only.
    threads: Arc<parking_lot::Mutex<Option<Threads>>>,
}

impl Db {
    /// Opens the database in `path`, making the directory if it does not exist; its parent must.
    ///
    /// Blocks until everything that was committed is queryable. Damage does not stop it: what is damaged is left out,
    /// moved to `quarantine/` where it would be in the way, reported as [`Event::Damaged`] and counted in [`Stats`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Locked`](crate::error::ErrorKind::Locked) if it is open already, also in this process;
    /// [`ErrorKind::Unsupported`](crate::error::ErrorKind::Unsupported) if a newer version wrote it; the disk's faults.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "options are made for one database and handed over"
    )]
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self> {
        let inner = Arc::new(open::open(path.as_ref(), &options, Access::Write)?);
        let threads = match inner.options.background {
            Background::Threads => Some(Threads::start(&inner, &inner.options)),
            Background::Manual => None,
        };
        Ok(Self {
            inner,
            threads: Arc::new(parking_lot::Mutex::new(threads)),
        })
    }

    /// Opens the database in `path` to read what it holds now; another process may be writing it. Takes no lock, changes
    /// nothing and opens no file to write. What is committed later is not seen.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::error::ErrorKind::Invalid) if there is no database; the disk's faults;
    /// [`ErrorKind::Io`](crate::error::ErrorKind::Io) if a writer has made a checkpoint or changed blocks in each of
    /// several tries.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "options are made for one database and handed over"
    )]
    pub fn open_read_only(path: impl AsRef<Path>, options: Options) -> Result<Self> {
        let inner = Arc::new(open::open(path.as_ref(), &options, Access::Read)?);
        Ok(Self {
            inner,
            threads: Arc::default(),
        })
    }

    /// Returns an appender. Any number may be in use at the same time.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ReadOnly`](crate::error::ErrorKind::ReadOnly) if the database was opened read-only.
    pub fn appender(&self) -> Result<Appender> {
        Appender::new(Arc::clone(&self.inner))
    }

    /// Returns a new scraped target.
    pub fn target(&self) -> Target {
        Target::default()
    }

    /// Returns a querier over what is visible now, for samples in `range`.
    pub fn querier(&self, range: TimeRange) -> Result<Querier> {
        self.inner.querier(range)
    }

    /// Deletes the samples in `range` of the series that match all `matchers`. Returns how many series of the head and
    /// of each block had data there. Durable when it returns; disk space is freed by later merges.
    ///
    /// Samples appended afterwards are not affected, whatever their timestamps; queriers that were made before still see
    /// what is deleted.
    pub fn delete(&self, range: TimeRange, matchers: &[Matcher]) -> Result<u64> {
        self.inner.delete(range, matchers)
    }

    /// Writes everything committed so far into blocks. Later samples for the same time go to further blocks, which a
    /// merge joins.
    pub fn flush(&self) -> Result<FlushReport> {
        let mut state = self.inner.flushing.lock();
        let boundary = self.inner.head.max_time().saturating_add(1);
        if boundary == i64::MIN + 1 {
            return Ok(FlushReport::default());
        }
        self.inner.flush_before(boundary, &mut state)
    }

    /// Merges blocks as far as the planner goes and applies retention.
    pub fn compact(&self) -> Result<CompactReport> {
        self.inner.compact()
    }

    /// Merges all blocks into one, whatever their spans: for an archive that gets no more samples. Blocks until it is
    /// done; reading needs memory for one series at a time.
    pub fn compact_all(&self) -> Result<CompactReport> {
        self.inner.compact_all()
    }

    /// Makes the head durable without the log, so that the next open replays nothing of what is committed now.
    pub fn checkpoint(&self) -> Result<()> {
        let mut state = self.inner.flushing.lock();
        self.inner.checkpoint(&mut state)
    }

    /// Makes everything committed so far survive a power cut.
    pub fn sync(&self) -> Result<()> {
        self.inner.sync_log()
    }

    /// Returns the sequence of the last commit that survives a power cut.
    pub fn durable_sequence(&self) -> u64 {
        self.inner
            .wal
            .as_ref()
            .map_or(0, |wal| wal.synced_sequence())
    }

    /// Does one piece of background work now: what [`Background::Manual`] leaves to the caller. Tells whether there was
    /// something to do.
    pub fn step(&self, task: Task) -> Result<bool> {
        self.inner.step(task)
    }

    /// Makes a copy in the new directory `target` that opens as a database: blocks by hard links, the head as blocks.
    ///
    /// `target` must not exist and lie on the same file system.
    pub fn snapshot(&self, target: impl AsRef<Path>) -> Result<()> {
        let target = target.as_ref();
        let inner = &self.inner;
        inner.check_open()?;
        if target.starts_with(&inner.dir) {
            return Err(Error::invalid("a snapshot cannot lie inside the database"));
        }
        let fs = &*inner.options.fs;
        fs.create_dir(target)
            .map_err(|error| Error::io("create", target, error))?;
        // Neither lane may move samples from the head to blocks, or remove blocks, between the two halves.
        let flushing = inner.flushing.lock();
        let merging = inner.merging.lock();
        inner.link_blocks(target)?;
        inner.write_head_blocks(&target.join(names::BLOCKS))?;
        drop(merging);
        drop(flushing);
        for name in [names::LOG, names::HEAD, names::SERIES, names::QUARANTINE] {
            let dir = target.join(name);
            fs.create_dir(&dir)
                .map_err(|error| Error::io("create", &dir, error))?;
        }
        fs.sync_dir(target)
            .map_err(|error| Error::io("sync", target, error))
    }

    /// Returns what the database holds and has done.
    pub fn stats(&self) -> Stats {
        self.inner.stats()
    }

    /// Calls `visit` with each metric, under the names dashboards for Prometheus' storage use. [`write_metrics`] makes a
    /// scrapable text of them.
    pub fn metrics(&self, visit: &mut dyn FnMut(Metric<'_>)) {
        metrics::visit(&self.inner.stats(), visit);
        spool::visit_metrics(&self.inner, visit);
    }

    /// Reads every file and compares it with its checksums; [`VerifyDepth::Decode`] decodes every sample too.
    pub fn verify(&self, depth: VerifyDepth) -> Result<VerifyReport> {
        self.inner.verify(depth)
    }

    /// Ends background work, makes everything durable without the log and releases the directory. Other handles,
    /// appenders and queriers answer [`ErrorKind::Closed`](crate::error::ErrorKind::Closed) from now on.
    pub fn close(self) -> Result<()> {
        drop(self.threads.lock().take());
        if self.inner.wal.is_none() {
            return Ok(());
        }
        let mut state = self.inner.flushing.lock();
        let result = self.inner.checkpoint(&mut state);
        // Release pairs with the acquire in `check_open`.
        self.inner.is_closed.store(true, Ordering::Release);
        result
    }
}
