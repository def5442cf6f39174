//! How a database behaves.

use std::sync::Arc;
use std::time::Duration;

use crate::chunk::ChunkEncoding;
use crate::error::{Error, Result};
use crate::fs::{DiskFs, Fs, IoMode};
use crate::limits::FUTURE_MS_MAX;
use crate::time::{Clock, SystemClock};

use super::event::EventListener;
use super::spool::SpoolBudget;

/// Default of [`Options::block_range`]: two hours, Prometheus' own.
pub const DEFAULT_BLOCK_RANGE: Duration = Duration::from_secs(2 * 3600);

/// Default of [`Options::out_of_order_window`].
pub const DEFAULT_OUT_OF_ORDER_WINDOW: Duration = Duration::from_secs(3600);

/// Default of [`Options::retention`]: fifteen days, Prometheus' own.
pub const DEFAULT_RETENTION: Duration = Duration::from_secs(15 * 24 * 3600);

/// Default of [`Durability::Interval`].
pub const DEFAULT_SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// Default of [`Options::segment_bytes`].
pub const DEFAULT_SEGMENT_BYTES: u64 = 64 << 20;

/// Default of [`Options::checkpoint_interval`].
pub const DEFAULT_CHECKPOINT_INTERVAL: Duration = Duration::from_secs(300);

/// Longest span of a merged block.
pub const BLOCK_RANGE_MAX: Duration = Duration::from_secs(31 * 24 * 3600);

/// What a power cut may take. The death of the process alone never takes what a commit acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Nothing that was acknowledged: a commit returns after the log is synced. Commits at the same time share one sync.
    Commit,
    /// What was acknowledged after the last sync; a timer of its own syncs at this interval.
    Interval(Duration),
    /// What the operating system has not written by itself.
    Os,
}

/// Who does the background work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Background {
    /// Threads of the database: one syncs, one flushes, one merges.
    Threads,
    /// The caller, through [`Db::step`](super::Db::step): then a run is a pure function of what the caller does.
    Manual,
}

/// Told how far a replay of the log is: bytes done, bytes in all. Answering `false` stops it.
pub type ReplayProgress = Arc<dyn Fn(u64, u64) -> bool + Send + Sync>;

/// How a database behaves. Checked once, when it is opened.
#[derive(Clone)]
#[non_exhaustive]
pub struct Options {
    /// The disk. Defaults to [`DiskFs`], which maps sealed files.
    pub fs: Arc<dyn Fs>,
    /// The clock. Defaults to [`SystemClock`]; who replays recorded data gives one that shows the data's time.
    pub clock: Arc<dyn Clock>,
    /// What a power cut may take. Defaults to [`Durability::Interval`] of [`DEFAULT_SYNC_INTERVAL`].
    pub durability: Durability,
    /// Width of the aligned ranges that blocks begin with. Defaults to [`DEFAULT_BLOCK_RANGE`].
    pub block_range: Duration,
    /// How far behind the newest sample late ones are taken; zero turns it off. Defaults to
    /// [`DEFAULT_OUT_OF_ORDER_WINDOW`].
    pub out_of_order_window: Duration,
    /// How far ahead of the clock samples are taken. Defaults to [`FUTURE_MS_MAX`].
    pub future_limit: Duration,
    /// Age at which blocks go; `None` keeps them. Defaults to [`DEFAULT_RETENTION`].
    pub retention: Option<Duration>,
    /// Bytes of the whole database, log and head included, above which the oldest blocks go. Defaults to none.
    pub retention_bytes: Option<u64>,
    /// Series in the head above which new ones are refused; known ones go on. Defaults to none.
    pub series_limit: Option<u64>,
    /// Accounted bytes of the head above which new series are refused; known ones go on. Defaults to none.
    pub memory_limit: Option<u64>,
    /// How much log may stay for remotes alone.
    pub spool_budget: SpoolBudget,
    /// How blocks store samples. Defaults to [`ChunkEncoding::Dense`].
    pub chunk_encoding: ChunkEncoding,
    /// Who does the background work. Defaults to [`Background::Threads`].
    pub background: Background,
    /// Whether background work merges blocks and applies retention. Defaults to true; flushes go on without it.
    pub compaction: bool,
    /// Bytes after which a segment of the log is closed. Defaults to [`DEFAULT_SEGMENT_BYTES`].
    pub segment_bytes: u64,
    /// Time between checkpoints, which bound what a restart replays. Up to four times as long while a checkpoint would
    /// write more, of open chunks of samples that are in no scrape, than a restart would read of the log. Defaults to
    /// [`DEFAULT_CHECKPOINT_INTERVAL`].
    pub checkpoint_interval: Duration,
    /// Threads that replay the log. Defaults to the number of processors, at most eight.
    pub replay_threads: usize,
    /// Told of what happens. Defaults to nobody.
    pub listener: Option<Arc<dyn EventListener>>,
    /// Told how far a replay is.
    pub replay_progress: Option<ReplayProgress>,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("fs", &self.fs)
            .field("clock", &self.clock)
            .field("durability", &self.durability)
            .field("block_range", &self.block_range)
            .field("out_of_order_window", &self.out_of_order_window)
            .field("retention", &self.retention)
            .field("retention_bytes", &self.retention_bytes)
            .field("series_limit", &self.series_limit)
            .field("memory_limit", &self.memory_limit)
            .field("chunk_encoding", &self.chunk_encoding)
            .field("background", &self.background)
            .finish_non_exhaustive()
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            fs: Arc::new(DiskFs::new(IoMode::Map)),
            clock: Arc::new(SystemClock),
            durability: Durability::Interval(DEFAULT_SYNC_INTERVAL),
            block_range: DEFAULT_BLOCK_RANGE,
            out_of_order_window: DEFAULT_OUT_OF_ORDER_WINDOW,
            future_limit: Duration::from_millis(FUTURE_MS_MAX as u64),
            retention: Some(DEFAULT_RETENTION),
            retention_bytes: None,
            series_limit: None,
            memory_limit: None,
            spool_budget: SpoolBudget::default(),
            chunk_encoding: ChunkEncoding::Dense,
            background: Background::Threads,
            compaction: true,
            segment_bytes: DEFAULT_SEGMENT_BYTES,
            checkpoint_interval: DEFAULT_CHECKPOINT_INTERVAL,
            replay_threads: std::thread::available_parallelism()
                .map_or(1, |count| count.get().min(8)),
            listener: None,
            replay_progress: None,
        }
    }
}

/// Declares setters that consume and return the options.
macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident => $field:ident: $type:ty;)*) => {
        impl Options {
            $($(#[$doc])*
            #[must_use]
            pub fn $name(mut self, $field: $type) -> Self {
                self.$field = $field;
                self
            })*
        }
    };
}

setters! {
    /// Sets [`Options::fs`].
    with_fs => fs: Arc<dyn Fs>;
    /// Sets [`Options::clock`].
    with_clock => clock: Arc<dyn Clock>;
    /// Sets [`Options::durability`].
    with_durability => durability: Durability;
    /// Sets [`Options::block_range`].
    with_block_range => block_range: Duration;
    /// Sets [`Options::out_of_order_window`].
    with_out_of_order_window => out_of_order_window: Duration;
    /// Sets [`Options::future_limit`].
    with_future_limit => future_limit: Duration;
    /// Sets [`Options::retention`].
    with_retention => retention: Option<Duration>;
    /// Sets [`Options::retention_bytes`].
    with_retention_bytes => retention_bytes: Option<u64>;
    /// Sets [`Options::series_limit`].
    with_series_limit => series_limit: Option<u64>;
    /// Sets [`Options::memory_limit`].
    with_memory_limit => memory_limit: Option<u64>;
    /// Sets [`Options::spool_budget`].
    with_spool_budget => spool_budget: SpoolBudget;
    /// Sets [`Options::chunk_encoding`].
    with_chunk_encoding => chunk_encoding: ChunkEncoding;
    /// Sets [`Options::background`].
    with_background => background: Background;
    /// Sets [`Options::compaction`].
    with_compaction => compaction: bool;
    /// Sets [`Options::segment_bytes`].
    with_segment_bytes => segment_bytes: u64;
    /// Sets [`Options::checkpoint_interval`].
    with_checkpoint_interval => checkpoint_interval: Duration;
    /// Sets [`Options::replay_threads`].
    with_replay_threads => replay_threads: usize;
    /// Sets [`Options::listener`].
    with_listener => listener: Option<Arc<dyn EventListener>>;
    /// Sets [`Options::replay_progress`].
    with_replay_progress => replay_progress: Option<ReplayProgress>;
}

impl Options {
    /// Tells whether a thread of the database syncs the log.
    pub(super) fn syncs_in_background(&self) -> bool {
        self.background == Background::Threads && matches!(self.durability, Durability::Interval(_))
    }

    /// Refuses what cannot work.
    pub(super) fn check(&self) -> Result<()> {
        let refuse = |message: &str| Err(Error::invalid(message));
        if self.block_range < Duration::from_secs(1) || self.block_range > BLOCK_RANGE_MAX {
            return refuse("block_range must lie between a second and 31 days");
        }
        if self.durability == Durability::Interval(Duration::ZERO) {
            return refuse("a sync interval of zero is Durability::Commit");
        }
        if self.segment_bytes < 4096 || self.segment_bytes > 4 << 30 {
            return refuse("segment_bytes must lie between 4 KiB and 4 GiB");
        }
        if self.replay_threads == 0 {
            return refuse("replay_threads must be at least 1");
        }
        Ok(())
    }

    pub(super) fn block_range_ms(&self) -> i64 {
        to_ms(self.block_range)
    }
}

/// Returns a duration in milliseconds, as large as an `i64` allows.
pub(super) fn to_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
