//! Background work: three threads, or whoever calls [`Db::step`](super::Db::step).
//!
//! One thread syncs the log at the interval of the durability, and earlier when much has come, and notes in it what is
//! synced. One flushes the head and makes checkpoints, so that a long merge never delays it. One merges blocks and applies
//! retention. Each waits on a condition and ends when the last handle goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::error::Result;

use super::event::Event;
use super::inner::Inner;
use super::options::{DEFAULT_SYNC_INTERVAL, Durability, Options};

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
        // A mark says what is synced, so that damage is told from a torn tail. It takes sequences like any frames.
        if let Some(sequences) = wal.note_synced()? {
            sequences.for_each(|sequence| self.head.publisher.publish(sequence));
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
    lanes: Arc<Lanes>,
    handles: Vec<JoinHandle<()>>,
}

/// What the threads wait for.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    is_stopped: Mutex<bool>,
    stopped: Condvar,
    sync_wanted: Condvar,
    /// Somebody has asked for a sync since the sync thread began to wait.
    is_sync_wanted: AtomicBool,
}

impl Lanes {
    /// Wakes the thread that syncs, if there is one.
    pub(super) fn want_sync(&self) {
        // Relaxed: a request that comes while the thread is not waiting yet may be lost, and the next commit repeats it.
        if !self.is_sync_wanted.swap(true, Ordering::Relaxed) {
            let _is_stopped = self.is_stopped.lock();
            self.sync_wanted.notify_one();
        }
    }

    /// Waits until a task is due; tells whether to stop.
    fn wait(&self, task: Task, time: Duration) -> bool {
        let mut is_stopped = self.is_stopped.lock();
        let condition = match task {
            Task::Sync => {
                self.is_sync_wanted.store(false, Ordering::Relaxed);
                &self.sync_wanted
            }
            Task::Flush | Task::Compact => &self.stopped,
        };
        if !*is_stopped {
            condition.wait_for(&mut is_stopped, time);
        }
        *is_stopped
    }

    fn stop(&self) {
        *self.is_stopped.lock() = true;
        self.stopped.notify_all();
        self.sync_wanted.notify_all();
    }
}

impl Threads {
    pub(super) fn start(inner: &Arc<Inner>, options: &Options) -> Self {
        let mut handles = Vec::new();
        if let Some(interval) = sync_interval(options.durability) {
            handles.push(start_lane("tsdb-sync", inner, interval, Task::Sync));
        }
        handles.push(start_lane("tsdb-flush", inner, FLUSH_TICK, Task::Flush));
        if options.compaction {
            handles.push(start_lane("tsdb-merge", inner, MERGE_TICK, Task::Compact));
        }
        Self {
            lanes: Arc::clone(&inner.lanes),
            handles: handles.into_iter().flatten().collect(),
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.lanes.stop();
        for handle in self.handles.drain(..) {
            // A lane that panicked has nothing more to say, and the others end all the same.
            drop(handle.join());
        }
    }
}

fn sync_interval(durability: Durability) -> Option<Duration> {
    match durability {
        Durability::Interval(interval) => Some(interval),
        // Commits sync by themselves, but no frame behind the last one says so.
        Durability::Commit => Some(DEFAULT_SYNC_INTERVAL),
        Durability::Os => None,
    }
}

fn start_lane(
    name: &str,
    inner: &Arc<Inner>,
    tick: Duration,
    task: Task,
) -> Option<JoinHandle<()>> {
    let inner = Arc::clone(inner);
    let lane = move || {
        while !inner.lanes.wait(task, tick) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sync_thread_is_woken_long_before_its_interval_ends() {
        let lanes = Lanes::default();
        let is_awake = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                assert!(!lanes.wait(Task::Sync, Duration::from_secs(3600)));
                is_awake.store(true, Ordering::Release);
            });
            // A request before the thread waits is lost, and commits go on asking.
            while !is_awake.load(Ordering::Acquire) {
                lanes.want_sync();
                std::thread::yield_now();
            }
        });
    }

    #[test]
    fn what_commits_have_synced_is_noted_as_well() {
        assert!(sync_interval(Durability::Commit).is_some());
        assert!(sync_interval(Durability::Os).is_none());
    }

    #[test]
    fn every_thread_ends_at_once() {
        let lanes = Lanes::default();
        std::thread::scope(|scope| {
            for task in [Task::Sync, Task::Flush, Task::Compact] {
                let lanes = &lanes;
                scope.spawn(move || while !lanes.wait(task, Duration::from_secs(3600)) {});
            }
            lanes.stop();
        });
    }
}
