//! Embedded time-series storage.

pub mod error;
pub mod fs;
pub mod labels;
pub mod limits;
pub mod sample;
#[cfg(feature = "testing")]
pub mod testing;
pub mod time;

mod block;
mod chunk;
mod compact;
mod db;
mod encoding;
mod frame;
mod head;
mod index;
mod ingest;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals;
mod piece;
mod query;
mod row;
mod series;
mod source;
mod tombstone;
mod wal;

pub use chunk::ChunkEncoding;
pub use db::{
    Appender, BLOCK_RANGE_MAX, Background, BlockStats, Commit, CompactReport, DEFAULT_BLOCK_RANGE, DEFAULT_CHECKPOINT_INTERVAL,
    DEFAULT_OUT_OF_ORDER_WINDOW, DEFAULT_RETENTION, DEFAULT_SEGMENT_BYTES, DEFAULT_SYNC_INTERVAL, Db, Durability, Event,
    EventListener, FlushReport, LogReport, LogSectionKind, LogSections, LogSegment, LogTear, MemoryStats, Metric, MetricKind, Mode, Options, ReplayProgress, SeriesRef, Stats, Target, Task,
    VerifyDepth, VerifyReport, inspect_log, write_metrics,
};
pub use error::{Error, ErrorKind, Rejection, Result};
pub use index::{Cardinality, Count};
pub use labels::{Labels, MatchOp, Matcher, parse_selector};
pub use query::{Chunk, LatestSample, Querier, Series, SeriesSet};
pub use sample::{Sample, Samples, is_stale, stale_marker};
pub use time::{Clock, ManualClock, SystemClock, TimeRange, Timestamp};
