//! What all handles of one database share.

use std::any::Any;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use crate::block::{Block, BlockSource};
use crate::compact::Horizon;
use crate::error::{Error, Rejection, Result};
use crate::fs::Ulid;
use crate::head::{Head, HeadView};
use crate::ingest::{Committed, Rules};
use crate::labels::Matcher;
use crate::query::Querier;
use crate::series::SeriesStore;
use crate::source::SeriesSource;
use crate::time::{TimeRange, Timestamp};
use crate::wal::Wal;

use super::event::Event;
use super::maintenance::Lanes;
use super::options::{Options, to_ms};
use super::spool::Remotes;
use super::view::{View, Views};

/// One open database.
///
/// Locks, in the order in which they are taken: `flushing`, `merging`, `layout`, then the head's own.
pub(super) struct Inner {
    pub(super) dir: PathBuf,
    pub(super) options: Options,
    pub(super) head: Arc<Head>,
    /// None when the database was opened read-only.
    pub(super) wal: Option<Arc<Wal>>,
    pub(super) views: Views,
    /// Held by whoever flushes the head, truncates it or makes a checkpoint.
    pub(super) flushing: Mutex<FlushState>,
    /// Held by whoever merges or drops blocks.
    pub(super) merging: Mutex<MergeState>,
    /// Held while the set of blocks changes and while something is deleted, so that neither misses the other.
    pub(super) layout: Mutex<Layout>,
    pub(super) is_closed: AtomicBool,
    pub(super) remotes: Remotes,
    /// The first segment of the log that this process wrote.
    pub(super) first_segment: u64,
    /// Segments that are kept for remotes, by number, and how old they are.
    pub(super) closed_segments: Mutex<BTreeMap<u64, Timestamp>>,
    /// Bytes of the log that stay for remotes alone.
    pub(super) spool_bytes: AtomicU64,
    /// Sets the references of this open apart from those of others, which may have named series that no frame defined
    /// and whose ids are given out again: the upper 16 bits of every reference, drawn at random.
    pub(super) epoch: u64,
    pub(super) counters: Counters,
    /// Where the background threads wait.
    pub(super) lanes: Arc<Lanes>,
    /// Why writes fail at the moment.
    read_only: RwLock<Option<String>>,
    /// Ulids ascend even within a millisecond and when the clock goes back: where blocks disagree the older name wins.
    last_ulid: Mutex<Option<Ulid>>,
    /// Released when the last handle is gone.
    _lock: Option<Box<dyn Any + Send + Sync>>,
}

/// What the flush lane remembers.
#[derive(Default)]
pub(super) struct FlushState {
    pub(super) store: Option<SeriesStore>,
    /// Definitions in the store, of series that are gone too.
    pub(super) stored_definitions: u64,
    /// Flushed to blocks and still in the head, because a reader may come to it.
    pub(super) pending: Option<PendingTruncation>,
    pub(super) checkpoint_sequence: u64,
    pub(super) checkpoint_ms: Timestamp,
    pub(super) lone_file: u64,
    /// When the newest commit was first seen, to notice that none comes any more.
    pub(super) idle_since: Option<(u64, Timestamp)>,
}

/// A part of the head that blocks hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct PendingTruncation {
    pub(super) boundary: Timestamp,
    pub(super) sequence: u64,
}

/// What the merge lane remembers.
pub(super) struct MergeState {
    pub(super) horizon: Horizon,
    /// Blocks a merge failed on; they are left alone until the next start.
    pub(super) failed: std::collections::BTreeSet<Ulid>,
}

/// What was deleted while somebody was writing a block that may not know it.
#[derive(Default)]
pub(super) struct Layout {
    pub(super) deleted: Vec<Deletion>,
    /// Flushes and merges under way.
    pub(super) writers: usize,
}

/// A deletion by whoever asked for it.
pub(super) struct Deletion {
    pub(super) range: TimeRange,
    pub(super) matchers: Vec<Matcher>,
    /// That of its tombstones in the head, or 0 if there was nothing to delete there. What was committed later stays, and
    /// who reads the head at this sequence or a later one reads nothing of what is deleted.
    pub(super) sequence: u64,
}

/// What happened since the database was opened.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) samples_in_rows: AtomicU64,
    pub(super) samples_alone: AtomicU64,
    pub(super) samples_late: AtomicU64,
    pub(super) samples_repeated: AtomicU64,
    pub(super) commits: AtomicU64,
    pub(super) log_definition_bytes: AtomicU64,
    pub(super) rejected: [AtomicU64; Rejection::ALL.len()],
    pub(super) write_failures: AtomicU64,
    pub(super) flushes: AtomicU64,
    pub(super) flush_failures: AtomicU64,
    pub(super) merges: AtomicU64,
    pub(super) merge_failures: AtomicU64,
    pub(super) blocks_dropped_age: AtomicU64,
    pub(super) blocks_dropped_size: AtomicU64,
    pub(super) checkpoints: AtomicU64,
    pub(super) checkpoint_failures: AtomicU64,
    pub(super) truncations: AtomicU64,
    pub(super) damaged_units: AtomicU64,
    pub(super) quarantined: AtomicU64,
    pub(super) replayed_samples: AtomicU64,
    pub(super) replay_ms: AtomicU64,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

/// What opening a directory gave.
pub(super) struct Parts {
    pub(super) dir: PathBuf,
    pub(super) options: Options,
    pub(super) head: Arc<Head>,
    pub(super) wal: Option<Arc<Wal>>,
    pub(super) blocks: Vec<Arc<Block>>,
    pub(super) flush: FlushState,
    pub(super) counters: Counters,
    pub(super) lock: Option<Box<dyn Any + Send + Sync>>,
}

impl Inner {
    pub(super) fn new(parts: Parts) -> Self {
        let candidates = super::merge::candidates(&parts.blocks);
        let horizon = Horizon::start(
            &candidates,
            parts.options.clock.monotonic(),
            parts.options.block_range_ms(),
        );
        let newest = parts.blocks.iter().map(|block| block.meta().ulid).max();
        let first_segment = parts.wal.as_ref().map_or(0, |wal| wal.segment());
        Self {
            dir: parts.dir,
            views: Views::new(View::new(parts.blocks)),
            head: parts.head,
            wal: parts.wal,
            flushing: Mutex::new(parts.flush),
            merging: Mutex::new(MergeState {
                horizon,
                failed: std::collections::BTreeSet::new(),
            }),
            layout: Mutex::default(),
            is_closed: AtomicBool::new(false),
            remotes: Remotes::default(),
            first_segment,
            closed_segments: Mutex::default(),
            spool_bytes: AtomicU64::new(0),
            epoch: ((super::open::random_seed() | 1) & 0xffff) << 48,
            counters: parts.counters,
            lanes: Arc::default(),
            read_only: RwLock::new(None),
            last_ulid: Mutex::new(newest),
            _lock: parts.lock,
            options: parts.options,
        }
    }

    pub(super) fn check_open(&self) -> Result<()> {
        // Acquire pairs with the release in `close`.
        if self.is_closed.load(Ordering::Acquire) {
            Err(Error::closed("the database"))
        } else {
            Ok(())
        }
    }

    pub(super) fn writer(&self) -> Result<&Arc<Wal>> {
        self.check_open()?;
        self.wal
            .as_ref()
            .ok_or_else(|| Error::read_only("the database was opened read-only"))
    }

    pub(super) fn rules(&self) -> Rules {
        Rules {
            out_of_order_ms: to_ms(self.options.out_of_order_window),
        }
    }

    /// Returns a querier over the blocks and the head as they are now.
    pub(super) fn querier(&self, range: TimeRange) -> Result<Querier> {
        self.check_open()?;
        // The view first: what is truncated from the head after this is in it.
        let view = self.views.current();
        let mut sources: Vec<Arc<dyn SeriesSource>> = Vec::new();
        for block in view
            .blocks()
            .iter()
            .filter(|block| block.meta().range.overlaps(&range))
        {
            sources.push(Arc::new(BlockSource::new(Arc::clone(block))));
        }
        sources.push(Arc::new(HeadView::new(Arc::clone(&self.head))));
        Ok(Querier::new(sources, range, view))
    }

    pub(super) fn emit(&self, event: &Event) {
        if let Some(listener) = &self.options.listener {
            listener.event(event);
        }
    }

    pub(super) fn sync_log(&self) -> Result<()> {
        let wal = self.writer()?;
        let synced = wal.sync();
        if let Err(error) = &synced {
            self.note_write_failure(error);
        }
        synced.map(|_through| ())
    }

    /// Waits until everything the log has is visible.
    pub(super) fn wait_published(&self) {
        if let Some(wal) = &self.wal {
            self.head.publisher.wait(wal.last_sequence());
        }
    }

    pub(super) fn note_write_failure(&self, error: &Error) {
        self.counters.write_failures.fetch_add(1, Ordering::Relaxed);
        let was_healthy = self.read_only.write().replace(error.to_string()).is_none();
        if was_healthy {
            self.emit(&Event::ReadOnly {
                reason: error.to_string(),
            });
        }
    }

    pub(super) fn note_write_success(&self) {
        if self.read_only.read().is_none() {
            return;
        }
        if self.read_only.write().take().is_some() {
            self.emit(&Event::Healthy);
        }
    }

    pub(super) fn read_only_reason(&self) -> Option<String> {
        self.read_only.read().clone()
    }

    pub(super) fn count_rejection(&self, rejection: Rejection, count: u64) {
        if let Some(at) = Rejection::ALL.iter().position(|known| *known == rejection) {
            self.counters.rejected[at].fetch_add(count, Ordering::Relaxed);
        }
    }

    pub(super) fn count_commit(&self, committed: &Committed) {
        let counters = &self.counters;
        counters
            .commits
            .fetch_add(u64::from(committed.sequence.is_some()), Ordering::Relaxed);
        counters
            .samples_in_rows
            .fetch_add(committed.in_rows, Ordering::Relaxed);
        if committed.definition_bytes > 0 {
            counters
                .log_definition_bytes
                .fetch_add(committed.definition_bytes, Ordering::Relaxed);
        }
        if committed.alone + committed.repeated > 0 {
            counters
                .samples_alone
                .fetch_add(committed.alone, Ordering::Relaxed);
            counters
                .samples_late
                .fetch_add(committed.late, Ordering::Relaxed);
            counters
                .samples_repeated
                .fetch_add(committed.repeated, Ordering::Relaxed);
        }
        for (_, rejection) in &committed.rejected {
            self.count_rejection(*rejection, 1);
        }
    }

    /// Returns a name for a new block that sorts behind all names this process gave.
    pub(super) fn next_ulid(&self) -> Ulid {
        use std::hash::{BuildHasher, Hasher};
        let ms = u64::try_from(self.options.clock.now_ms()).unwrap_or(0);
        // The seed of a map is the standard library's door to the operating system's random numbers.
        let random = || {
            u128::from(
                std::collections::hash_map::RandomState::new()
                    .build_hasher()
                    .finish(),
            )
        };
        let fresh = Ulid::new(ms, random() << 64 | random());
        let mut last = self.last_ulid.lock();
        let next = match *last {
            Some(previous) if previous >= fresh => previous.next().unwrap_or(fresh),
            _ => fresh,
        };
        *last = Some(next);
        next
    }
}
