//! Embedded time-series storage for Prometheus-class monitoring.
//!
//! A [`Db`] takes scrapes through an [`Appender`], keeps the recent past in memory and in a write-ahead log, turns it into
//! compressed blocks of two hours and more, and answers a [`Querier`] by [`Matcher`]s. It is a library: no server, no
//! runtime, no query language.
//!
//! ```
//! use tsdb::{Db, Labels, Options, Rejection, TimeRange, parse_selector};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = std::env::temp_dir().join(format!("tsdb-crate-{}", std::process::id()));
//! let db = Db::open(&dir, Options::default())?;
//! let load: Labels = r#"node_load1{instance="a:9100"}"#.parse()?;
//!
//! let mut appender = db.appender()?;
//! let series = appender.append(&load, 1_795_334_160_000, 0.25)?;
//! appender.append_ref(series, 1_795_334_175_000, 0.5)?;
//! appender.append_ref(series, 1_795_334_175_000, 0.75)?; // another value for the same time
//! let commit = appender.commit()?;
//! assert_eq!((commit.accepted, commit.rejected), (2, vec![(2, Rejection::Duplicate)]));
//!
//! let querier = db.querier(TimeRange::ALL)?;
//! for series in querier.select(&parse_selector("node_load1")?)? {
//!     assert_eq!(series?.samples()?.values, [0.25, 0.5]);
//! }
//! # drop((appender, querier));
//! # db.close()?;
//! # std::fs::remove_dir_all(&dir)?;
//! # Ok(())
//! # }
//! ```
//!
//! # What it promises
//!
//! 1. What [`Appender::commit`] acknowledges with `Ok` survives the death of the process, always.
//! 2. What a power cut may take is chosen: with [`Durability::Commit`] nothing that was acknowledged, with
//!    [`Durability::Interval`], the default of one second, what was acknowledged after the last completed sync, with
//!    [`Durability::Os`] what the operating system has not written by itself. [`Db::durable_sequence`] says how far that is.
//! 3. A commit is all or nothing after any crash, and recovery yields a prefix of the commits: no hole, nothing invented.
//! 4. A querier sees a commit entirely or not at all. A deletion hides samples from every querier that is made after it
//!    and from none that was made before; one that is made meanwhile may miss some of them.
//! 5. No byte from disk is believed before its checksum. Damage costs the unit it hit - a frame of the log, a piece, a
//!    chunk, a page of an index, at worst a block - and is reported: as [`Event::Damaged`] and in [`Stats`] when it is met
//!    at the open, as an [`Error`] of the query that meets it, by [`Db::verify`] when asked. It does not stop the open.
//!    Blocks and segments of the log that nothing can be read from are moved to `quarantine/`, not deleted.
//! 6. After an I/O error [`Stats::mode`] says what works and why the rest does not; reads go on, and the next write that
//!    succeeds makes the database healthy again. A file whose sync failed is not synced again: the log writes what it had
//!    to hold to another one.
//! 7. Limits protect what exists: over [`Options::series_limit`] or [`Options::memory_limit`], new series are refused with a
//!    [`Rejection`] while known ones go on.
//! 8. Every bit pattern of an `f64` comes back bit for bit: the [staleness marker](stale_marker), other NaNs, negative zero,
//!    infinities.
//! 9. What is committed after [`Db::spool`] named a remote is read by it once and in the order of each series, across
//!    restarts, flushes and changes of its shards, as long as it waits within the [`SpoolBudget`]; what the budget drops is
//!    counted. Nothing is handed out that a power cut could still take.
//!
//! Checksums are CRC-32: they find damage, they do not stop somebody who forges it.
//!
//! # What is different from Prometheus
//!
//! Labels, matchers, staleness, references, alignment of blocks, retention and deletion follow Prometheus' storage. On
//! purpose, these do not:
//!
//! - Timestamps further ahead of the clock than [`Options::future_limit`] are refused here, not by whoever scrapes.
//! - A sample is in order if it is newer than its own series' newest and than what was flushed; other series do not matter.
//! - Out-of-order samples are taken by default, within [`Options::out_of_order_window`] of the newest sample. They go
//!   through the same log and into the same kind of blocks.
//! - A sample that is there already is accepted silently, wherever it lies. With another value it is a
//!   [`Rejection::Duplicate`]. What is compared is what the head holds: once a time is in a block, the block's sample
//!   stays, whatever comes for it.
//! - Retention follows the smaller of the clock and the data, and neither's jump erases history.
//! - There are budgets for series, memory and bytes on disk, and a sync policy that is chosen.
//! - What cannot be read is set aside and reported; the open goes on.
//! - Series are ordered by metric name and then by the other labels.
//! - Deletions are durable when they return, whatever the policy for samples.
//! - There are only float samples: no native histograms, exemplars or metadata.
//!
//! # Features
//!
//! None is needed, and all are additive. `testing` adds `fs::SimFs`, a disk in memory that fails, fills up and crashes on
//! demand, and `testing`, a model of a database to compare one with. `remote-write` adds `remote`: remote write 1.0 and 2.0,
//! remote read, relabeling, OpenTSDB. `cli` builds the `tsdb` command. `internals` is for the fuzz targets and benches of this repository and
//! promises nothing.

#![cfg_attr(docsrs, feature(doc_cfg))]
// With all features nothing may be dead; that is what CI's lints see.
#![cfg_attr(
    not(all(feature = "internals", feature = "testing", feature = "remote-write")),
    allow(
        dead_code,
        unused_imports,
        reason = "fuzz targets, benches, the model and remotes reach what nothing else does"
    )
)]

pub mod error;
pub mod fs;
pub mod labels;
pub mod limits;
#[cfg(feature = "remote-write")]
pub mod remote;
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
mod ship;
mod source;
mod tombstone;
mod wal;

pub use chunk::ChunkEncoding;
pub use db::{
    Appender, BLOCK_RANGE_MAX, Background, BlockStats, Commit, CompactReport, DEFAULT_BLOCK_RANGE,
    DEFAULT_CHECKPOINT_INTERVAL, DEFAULT_OUT_OF_ORDER_WINDOW, DEFAULT_RETENTION,
    DEFAULT_SEGMENT_BYTES, DEFAULT_SYNC_INTERVAL, Db, Durability, Event, EventListener,
    FlushReport, LogReport, LogSectionKind, LogSections, LogSegment, LogTear, MemoryStats, Metric,
    MetricKind, Mode, Options, ReplayProgress, SeriesRef, Spool, SpoolAck, SpoolBudget, SpoolStart,
    SpoolStatus, Stats, Target, Task, VerifyDepth, VerifyReport, inspect_log, write_metrics,
};
#[cfg(feature = "remote-write")]
pub use db::{Sender, SenderStatus};
pub use error::{Error, ErrorKind, Rejection, Result};
pub use index::{Cardinality, Count};
pub use labels::{Labels, MatchOp, Matcher, SeriesLabels, parse_selector};
pub use query::{Chunk, LatestSample, Querier, Series, SeriesSet};
pub use sample::{Sample, Samples, is_stale, stale_marker};
pub use ship::{DropReason, Position, Progress, SHARDS_MAX, SpoolBatch, SpooledSample, shard_of};
pub use time::{Clock, ManualClock, SystemClock, TimeRange, Timestamp};

/// The examples of the front page are compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct FrontPage;
