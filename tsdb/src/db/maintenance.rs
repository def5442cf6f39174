//! Background work: three threads, or whoever calls [`Db::step`](super::Db::step).
//!
//! One thread syncs the log at the interval of the durability. One flushes the head and makes checkpoints, so that a
//! long merge never delays it. One merges blocks and applies retention. Each waits on a condition and ends when the last
//! handle goes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::error::Result;

use super::event::Event;
use super::inner::Inner;
use super::options::{Durability, Options};

/// How often the flush lane looks whether something is due.
const FLUSH_TICK: Duration = Duration::from_secs(1);

/// How often the merge lane does.
const MERGE_TICK: Duration = Duration::from_secs(10);

/// A piece of background work that a caller can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Task {
    /// Sync the log.
    Sync,
    /// Flush what is complete; make a checkpoint if one is due.
    Flush,
    /// Merge blocks and apply retention.
    Compact,
}

impl Inner {
    /// Does one piece of background work; tells whether there was something to do.
    pub(super) fn step(&self, task: Task) -> Result<bool> {
        match task {
            Task::Sync => self.sync_step(),
            Task::Flush => {
                let had_work = self.flush_step()?;
                // Whatever the durability is, this lane always runs: the budget follows what seals and truncations free.
                self.head.update_memory_estimate();
                Ok(had_work)
            }
            Task::Compact => self
                .compact()
                .map(|report| report.merged + report.dropped > 0),
        }
    }

    fn sync_step(&self) -> Result<bool> {
        let wal = Arc::clone(self.writer()?);
        let had_work = wal.synced_sequence() < wal.last_sequence();
        self.sync_log()?;
        // A mark says what is synced, so that damage is told from a torn tail. It takes a sequence like any frame.
        if let Some(sequence) = wal.note_synced()? {
            self.head.publisher.publish(sequence);
        }
        if had_work {
            self.note_write_success();
        }
        Ok(had_work)
    }
}

/// The threads of a database. Dropping it ends them.
#[derive(Debug)]
pub(super) struct Threads {
    stop: Arc<Stop>,
    handles: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Stop {
    is_stopped: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    /// Waits; tells whether to stop.
    fn wait(&self, time: Duration) -> bool {
        let mut is_stopped = self.is_stopped.lock();
        if !*is_stopped {
            self.changed.wait_for(&mut is_stopped, time);
        }
        *is_stopped
    }
}

impl Threads {
    pub(super) fn start(inner: &Arc<Inner>, options: &Options) -> Self {
        let stop = Arc::new(Stop::default());
        let mut handles = Vec::new();
        if let Durability::Interval(interval) = options.durability {
            handles.push(start_lane("tsdb-sync", inner, &stop, interval, Task::Sync));
        }
        handles.push(start_lane(
            "tsdb-flush",
            inner,
            &stop,
            FLUSH_TICK,
            Task::Flush,
        ));
        if options.compaction {
            handles.push(start_lane(
                "tsdb-merge",
                inner,
                &stop,
                MERGE_TICK,
                Task::Compact,
            ));
        }
        Self {
            stop,
            handles: handles.into_iter().flatten().collect(),
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        *self.stop.is_stopped.lock() = true;
        self.stop.changed.notify_all();
        for handle in self.handles.drain(..) {
            // A lane that panicked has nothing more to say, and the others end all the same.
            drop(handle.join());
        }
    }
}

fn start_lane(
    name: &str,
    inner: &Arc<Inner>,
    stop: &Arc<Stop>,
    tick: Duration,
    task: Task,
) -> Option<JoinHandle<()>> {
    let (inner, stop) = (Arc::clone(inner), Arc::clone(stop));
    let lane = move || {
        while !stop.wait(tick) {
            if inner.is_closed.load(Ordering::Acquire) {
                return;
            }
            if let Err(error) = inner.step(task) {
                match task {
                    Task::Flush => inner
                        .counters
                        .flush_failures
                        .fetch_add(1, Ordering::Relaxed),
                    Task::Compact => inner
                        .counters
                        .merge_failures
                        .fetch_add(1, Ordering::Relaxed),
                    Task::Sync => 0,
                };
                inner.emit(&Event::Failed {
                    message: format!(
                        "{name}: {error}",
                        name = std::thread::current().name().unwrap_or("lane")
                    ),
                });
            }
        }
    };
    // Without a thread the work is left to the caller's own steps; nothing that was promised on commit depends on it.
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(lane)
        .ok()
}
