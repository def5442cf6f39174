//! What is known of a sender.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::remote::{SenderOptions, UnsentReason};
use crate::time::Timestamp;

/// What one sender has done since the database was opened, and what it is at.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SenderStatus {
    /// The remote.
    pub remote: String,
    /// Samples the remote has stored.
    pub sent: u64,
    /// Samples of requests that are sent again.
    pub retried: u64,
    /// Samples that were not sent or not taken, by reason.
    pub unsent: [(UnsentReason, u64); UnsentReason::ALL.len()],
    /// Requests, failed ones included.
    pub requests: u64,
    /// Requests that failed.
    pub requests_failed: u64,
    /// Bytes of bodies, as they were posted.
    pub bytes: u64,
    /// Samples of batches that are queued or under way. The log has the others, and those of batches that are still collected.
    pub queued: usize,
    /// Time of the oldest of them, late ones aside.
    pub oldest_queued: Option<Timestamp>,
    /// Time of the newest sample read from the log.
    pub newest_read: Option<Timestamp>,
    /// Time of the newest sample stored by the remote.
    pub newest_sent: Option<Timestamp>,
    /// When the remote last acknowledged something, by the database's clock.
    pub last_acknowledged: Option<Timestamp>,
    /// Requests that may be under way at the same time.
    pub shards: usize,
    /// What is spoken.
    pub dialect: &'static str,
    /// What went wrong last, unless the remote has taken something since.
    pub failing: Option<String>,
    /// Why nothing is sent at the moment, if somebody has to look or has paused it.
    pub paused: Option<String>,
}

/// Counts what a sender does; shared by its threads, and kept while the database is open.
#[derive(Debug, Default)]
pub(in crate::db) struct Counters {
    pub(super) sent: AtomicU64,
    pub(super) retried: AtomicU64,
    pub(super) unsent: [AtomicU64; UnsentReason::ALL.len()],
    pub(super) requests: AtomicU64,
    pub(super) requests_failed: AtomicU64,
    pub(super) bytes: AtomicU64,
    /// Counted by the lanes, under their lock.
    pub(super) queued: AtomicU64,
    pub(super) shards: AtomicU64,
    newest_read: Newest,
    newest_sent: Newest,
    last_acknowledged: Newest,
    pub(super) dialect: Mutex<&'static str>,
    pub(super) failing: Mutex<Option<String>>,
    /// Set if it takes somebody to look.
    pub(super) paused: Mutex<Option<String>>,
    /// Whether something may have been stored by a request that nothing is known of: one of an earlier process or sender.
    is_unsure: AtomicBool,
}

/// The largest timestamp noted so far.
#[derive(Debug)]
struct Newest(AtomicI64);

impl Default for Newest {
    fn default() -> Self {
        Self(AtomicI64::new(i64::MIN))
    }
}

impl Newest {
    fn note(&self, timestamp: Timestamp) {
        self.0.fetch_max(timestamp, Ordering::Relaxed);
    }

    fn get(&self) -> Option<Timestamp> {
        Some(self.0.load(Ordering::Relaxed)).filter(|&at| at != i64::MIN)
    }
}

impl Counters {
    pub(super) fn add_unsent(&self, reason: UnsentReason, samples: u64) {
        self.unsent[reason as usize].fetch_add(samples, Ordering::Relaxed);
    }

    pub(super) fn note_read(&self, timestamp: Timestamp) {
        self.newest_read.note(timestamp);
    }

    pub(super) fn note_sent(&self, timestamp: Timestamp) {
        self.newest_sent.note(timestamp);
    }

    pub(super) fn note_acknowledged(&self, now_ms: Timestamp) {
        self.last_acknowledged.note(now_ms);
    }

    /// Notes that what is sent next may have been sent before.
    pub(in crate::db) fn note_unsure(&self) {
        self.is_unsure.store(true, Ordering::Relaxed);
    }

    /// Tells whether that was noted since the last sender began.
    pub(super) fn is_unsure(&self) -> bool {
        self.is_unsure.load(Ordering::Relaxed)
    }

    /// Notes that a sender begins, whose shards know what is unsure.
    pub(super) fn begin(&self, options: &SenderOptions) {
        self.is_unsure.store(false, Ordering::Relaxed);
        self.shards.store(options.shards as u64, Ordering::Relaxed);
        *self.dialect.lock() = options.protocol.dialect();
    }

    /// Notes that it has ended.
    pub(super) fn end(&self) {
        self.shards.store(0, Ordering::Relaxed);
        self.queued.store(0, Ordering::Relaxed);
        self.end_trouble();
    }

    /// Notes that the remote has taken something, or is asked for nothing.
    pub(super) fn end_trouble(&self) {
        *self.failing.lock() = None;
        *self.paused.lock() = None;
    }

    /// Returns what is known without the sender itself.
    pub(in crate::db) fn status(&self, remote: &str) -> SenderStatus {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SenderStatus {
            remote: remote.to_owned(),
            sent: get(&self.sent),
            retried: get(&self.retried),
            unsent: std::array::from_fn(|at| (UnsentReason::ALL[at], get(&self.unsent[at]))),
            requests: get(&self.requests),
            requests_failed: get(&self.requests_failed),
            bytes: get(&self.bytes),
            queued: get(&self.queued) as usize,
            oldest_queued: None,
            newest_read: self.newest_read.get(),
            newest_sent: self.newest_sent.get(),
            last_acknowledged: self.last_acknowledged.get(),
            shards: get(&self.shards) as usize,
            dialect: *self.dialect.lock(),
            failing: self.failing.lock().clone(),
            paused: self.paused.lock().clone(),
        }
    }
}
